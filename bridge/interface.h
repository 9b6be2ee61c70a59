/*
 * The kernel's side of the interface, as `ip link` and `ethtool` see it: asked, changed and watched through
 * netlink (libnl-3, libnl-route-3) and an ethtool ioctl.
 *
 * The sockets belong to the namespace in which interface_open() ran; the functions work from any.
 */
#ifndef BRIDGE_INTERFACE_H
#define BRIDGE_INTERFACE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "driver/ixy.h"

struct interface;

/* What the kernel says of an interface. */
struct interface_state {
	char name[16];
	int index;
	bool up;       /* admin state: ip link set up */
	bool promisc;  /* somebody wants all frames: a user, tcpdump, a bridge on top */
	bool allmulti; /* somebody wants all multicast frames */
	uint32_t mtu;
	uint32_t tx_queue; /* frames that wait to be sent, at most: txqueuelen */
	struct ixy_mac mac;
	/* What kind it is; the tap members are meaningful only with is_tap. */
	bool is_tap;
	bool tap_persistent;
	bool tap_multi_queue;
	uint32_t tap_queues; /* queues that processes hold, attached or not */
};

/* Ask once, by name, in the current namespace. 0, -ENODEV where there is none, or a negative errno. */
int interface_lookup(const char *name, struct interface_state *state);

/* Watch and change interface `name` of the current namespace. 0 or a negative errno. */
int interface_open(const char *name, struct interface **interface);
void interface_close(struct interface *interface);

/* Ask the kernel now. 0, -ENODEV where the interface has gone from its namespace, or a negative errno. */
int interface_get(struct interface *interface, struct interface_state *state);

/*
 * `ethtool -K NAME gro on|off`, by the name that the interface has now (interface_get()): 1 or 0; or a negative
 * errno, -ENODEV where it has just got another name.
 */
int interface_gro(const struct interface *interface, const char *name);

/* Readable when some interface of the namespace changed; then call interface_changed(). */
int interface_fd(const struct interface *interface);

/* Take in the notifications that wait. True if one of them was about this interface (or some were lost). */
bool interface_changed(struct interface *interface);

/* 0, -EPERM without CAP_NET_ADMIN, or another negative errno. */
int interface_set_mtu(struct interface *interface, uint32_t mtu);
/* What `ethtool NAME` shows: speed in Mbit/s, 0 for unknown; always full duplex. The same results. */
int interface_set_speed(struct interface *interface, uint32_t speed);

/*
 * The multicast groups of the interface, link layer addresses, at most max of them. Returns how many there
 * are, which may be more than max; or a negative errno.
 */
int interface_multicast(struct interface *interface, struct ixy_mac groups[], size_t max);

/* Read /proc/net/dev_mcast's text: the groups of interface `index`. Returns as interface_multicast(). */
int interface_parse_multicast(const char *text, int index, struct ixy_mac groups[], size_t max);

#endif
