/*
 * The kernel's network interface under an AF_XDP device: everything about it that is not a frame.
 *
 * What is changed is put back by netif_close(): MTU, and whether it was up. What filters let through is asked
 * for with memberships of a packet socket, which the kernel takes back by itself when the process ends. (So a
 * killed process leaves the MTU as it was last.)
 *
 * The interface is known by its index: it may be renamed. When it is deleted or moves to another network
 * namespace it has gone for us.
 *
 * Threads: one control thread, except netif_read_counters().
 */
#ifndef IXY_XDP_NETIF_H
#define IXY_XDP_NETIF_H

#include <net/if.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "driver/ixy.h"

/* What the interface's driver has counted since netif_open(): losses before a frame reaches any socket. */
struct netif_counters {
	uint64_t multicast;
	uint64_t crc_errors, length_errors, other_errors;
	uint64_t missed; /* no room in the NIC's rings or buffers */
};

struct netif {
	char name[IFNAMSIZ]; /* as of the last netif_state() */
	unsigned index;
	struct ixy_mac mac;                /* its own */
	uint16_t mtu, max_mtu;             /* mtu: as set last */
	uint16_t rx_channels, tx_channels; /* queues in use; 0: its driver does not tell */
	bool has_qdisc;                    /* as of the last netif_state(); atomic */
	/* The rest is private. */
	int control, members, events;
	bool was_up, promisc, allmulti;
	uint16_t first_mtu;
	struct ixy_mac *unicast, *multicast;
	size_t unicast_count, multicast_count;
	struct netif_counters base, counters; /* counters: atomics, since base */
};

/*
 * Open an interface of this thread's network namespace, and bring it up if it is down. One that is up and has an
 * address (other than an IPv6 link-local one, which the kernel gives to every interface), or is a port of a
 * bridge or bond, is refused unless force is set.
 * Returns 0 or -ENODEV, -EINVAL (no Ethernet), -EBUSY, -EPERM (CAP_NET_ADMIN or CAP_NET_RAW is missing).
 */
int netif_open(const char *name, bool force, struct netif **netif);

/* Put back what was changed and free it. NULL is allowed. */
void netif_close(struct netif *netif);

/*
 * Ask the kernel how things are; netif->name and the counters are renewed too. speed is 0 where the driver does
 * not tell. Returns 0, -ENODEV when the interface has gone, or another negative errno.
 */
int netif_state(struct netif *netif, struct ixy_link *link);

/* Readable when an interface has changed; netif_drain() makes it quiet again. */
int netif_event_fd(const struct netif *netif);
void netif_drain(struct netif *netif);

/* As ip link set does. 0 or a negative errno with its reason. */
int netif_set_up(struct netif *netif, bool up);
int netif_set_mtu(struct netif *netif, uint16_t mtu);

/* Which frames its hardware lets through besides those for its own address. A list replaces the one before. */
int netif_set_promisc(struct netif *netif, bool on);
int netif_set_allmulti(struct netif *netif, bool on);
int netif_set_unicast(struct netif *netif, const struct ixy_mac macs[], size_t count);
int netif_set_multicast(struct netif *netif, const struct ixy_mac macs[], size_t count);

/* As of the last netif_state(). Any thread. */
void netif_read_counters(const struct netif *netif, struct netif_counters *counters);

#endif
