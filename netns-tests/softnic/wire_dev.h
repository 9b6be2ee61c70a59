/*
 * The parts of the wire into an existing interface (wire_dev.c), one for each direction, and of the one out the
 * two ways that there are.
 *
 * All of it is one thread's: the loop's. The counters and tx_pending are those of the wire that the part was opened
 * for.
 */
#ifndef SOFTNIC_WIRE_DEV_H
#define SOFTNIC_WIRE_DEV_H

#include <linux/if_ether.h>
#include <linux/if_packet.h>
#include <linux/virtio_net.h>
#include <sys/socket.h>
#include <sys/uio.h>

#include "wire.h"

/* --- in: wire_dev_rx.c ------------------------------------------------------------------------------------------ */

#define DEV_RX_BATCH 16

struct dev_rx {
	struct wire *wire;
	int fd;
	uint8_t *memory; /* a buffer for each message */
	struct virtio_net_hdr vnet[DEV_RX_BATCH];
	struct iovec iov[DEV_RX_BATCH][2];
	union {
		char bytes[CMSG_SPACE(sizeof(struct tpacket_auxdata))];
		struct cmsghdr align;
	} control[DEV_RX_BATCH];
	struct mmsghdr msgs[DEV_RX_BATCH];
	unsigned next, have; /* messages next..have-1 are still to be delivered */
};

/* Hear all that comes in on the interface. Returns 0 or a negative errno; dev_rx_close() is due in either case. */
int dev_rx_open(struct dev_rx *rx, struct wire *wire, int ifindex);
/* Hand about budget frames to nic_receive(); never blocks. Returns how many. */
unsigned dev_rx_poll(struct dev_rx *rx, unsigned budget);
/* Forget what has been fetched and not been delivered: the interface has gone. */
void dev_rx_forget(struct dev_rx *rx);
/* Add to the wire's rx_dropped what the kernel has dropped for want of room since the last time. */
void dev_rx_count(struct dev_rx *rx);
void dev_rx_close(struct dev_rx *rx);

/* --- out: wire_dev_tx.c ----------------------------------------------------------------------------------------- */

#define DEV_TX_BATCH 64 /* frames that are handed over at once */

struct dev_xdp;

struct dev_tx {
	struct wire *wire;
	bool carrier;
	unsigned mtu;
	struct dev_xdp *xdp; /* NULL: by the packet socket */
	bool xdp_wanted;     /* to be tried when there is a carrier */
	bool told;           /* why it was not to be had */
	int fd;              /* the packet socket */
	uint8_t *memory;
	size_t used;
	unsigned first, count; /* frames first..count-1 are still to be sent */
	unsigned tries;
	struct iovec iov[DEV_TX_BATCH];
	struct mmsghdr msgs[DEV_TX_BATCH];
};

/* Returns 0 or a negative errno; dev_tx_close() is due in either case. */
int dev_tx_open(struct dev_tx *tx, struct wire *wire, int ifindex);
/*
 * What the interface is now: its name, whether it is up and has a carrier, its MTU. Without carrier nothing is sent,
 * and what has not been sent yet is dropped.
 */
void dev_tx_link(struct dev_tx *tx, const char *ifname, bool carrier, unsigned mtu);
/* As wire_ops. */
void dev_tx_send(struct dev_tx *tx, const uint8_t *frame, size_t size);
void dev_tx_flush(struct dev_tx *tx);
void dev_tx_close(struct dev_tx *tx);

/* --- out by AF_XDP: wire_dev_xdp.c ------------------------------------------------------------------------------ */

/*
 * The interface must be up. Waits for a queue that was in use a moment ago, at most half a second. Returns 0 or a
 * negative errno, with a reason in ixy_last_error(), where it is not to be had.
 */
int dev_xdp_open(struct dev_xdp **xdp, struct wire *wire, const char *ifname);
void dev_xdp_send(struct dev_xdp *xdp, const uint8_t *frame, size_t size);
/*
 * Returns 0: all has been sent, or wire->tx_pending is set. A negative errno where this socket will not send what it
 * still has: -ENETDOWN, -ENXIO, -EAGAIN for too long. Close it then.
 */
int dev_xdp_flush(struct dev_xdp *xdp);
/* What it has not sent yet is dropped, and counted. NULL is allowed. */
void dev_xdp_close(struct dev_xdp *xdp);

/* --- for both directions: wire_dev.c -------------------------------------------------------------------- */

/* A packet socket's address: an interface, and the protocol to receive (host byte order; 0: nothing). 0 or -1, errno. */
int dev_bind_packet(int fd, int ifindex, uint16_t protocol);
/* Beyond the system's limit where that is allowed. */
void dev_set_buffer(int fd, int force, int option, int size);
void *dev_pages(size_t size); /* zeroed; NULL: out of memory */

#endif
