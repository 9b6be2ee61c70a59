/*
 * The ixy device on AF_XDP: what its files share.
 *
 *	xdp.c         life and link
 *	xdp_rx.c      receiving
 *	xdp_tx.c      sending; and super_tx.c, super-frames past AF_XDP
 *	xdp_filter.c  addresses, MTU, up and down
 *	xdp_stats.c   counters
 *
 * A queue pair is one AF_XDP socket with a UMEM of its own. The UMEM's chunks are the entries of a mempool, so
 * that what the kernel receives into is a pkt_buf already:
 *
 *	pkt_buf (64 bytes, the UMEM's headroom) | the kernel's headroom (256) | data          receiving
 *	pkt_buf (64)    | PKT_BUF_HEADROOM (64) | data                                        sending a copy
 *
 * The last chunks are set apart for frames that have to be copied because they come from other pools, or become
 * several by segmentation; the pool never hands those out. Hence receiving and sending share no state but
 * `place`, in which they own different bytes, and may be done by two threads.
 */
#ifndef IXY_XDP_XDP_H
#define IXY_XDP_XDP_H

#include "driver/device.h"
#include "driver/gso.h"
#include "driver/xdp/netif.h"
#include "driver/xdp/xsk.h"

#define XDP_BURST       64    /* descriptors moved between us and a ring at a time */
#define XDP_MAX_MTU     16128 /* with frames of several chunks; more than any NIC's jumbo frames */
#define XDP_MAX_PIECES  17    /* chunks a frame: the kernel's MAX_SKB_FRAGS */
#define XDP_SUPER_IOV   64    /* buffers that a super-frame may be scattered over */
#define XDP_MAX_UNICAST 127
#define XDP_GROUP_WORDS 64 /* a hash of 4096 bits, as NICs have it */

#define XDP_ETH_HEADER 14
#define XDP_VLAN_TAG   4
#define XDP_MIN_FRAME  60

/* Where a chunk is. Only what is with the kernel may come back from it: no frame twice, none of another's. */
enum xdp_place {
	XDP_FREE,      /* in the pool, with the user, or free for copies */
	XDP_FILLED,    /* with the kernel, to receive into */
	XDP_SENT,      /* with the kernel, to be sent */
	XDP_SENT_LAST, /* the same, and the last chunk of its frame */
};

struct xdp_device;

/* The other way out, a packet socket for super-frames. */
struct xdp_super_tx {
	int fd;    /* -1: none */
	bool busy; /* since xdp_super_pending() was false something has gone this way */
};

struct xdp_queue {
	struct xdp_device *dev;
	struct xsk_socket *socket; /* NULL while the device is stopped */
	struct xsk_queues *rings;
	struct xsk_umem *umem;
	struct mempool *pool;
	uint8_t *memory; /* of the UMEM, and its chunks */
	uint32_t chunk_size, chunk_shift, chunks, first_copy_chunk;
	uint8_t *place; /* enum xdp_place of each chunk */

	/* Receiving. */
	struct pkt_buf *chain,
		*chain_last __attribute__((aligned(64))); /* a frame that is not complete yet */
	bool discard;                                     /* the rest of a frame that was given up */
	uint32_t fill_short;                              /* chunks that the fill ring lacks */
	uint32_t fill_batch;                              /* how many make it worth refilling */
	struct ixy_queue_stats rx_stats;

	/* Sending. */
	uint32_t *copy_chunks __attribute__((aligned(64))); /* a stack of those that are free */
	uint32_t copy_free;
	uint32_t outstanding; /* descriptors with the kernel, or staged */
	uint32_t staged_count;
	struct xdp_desc staged[XDP_BURST + XDP_MAX_PIECES];
	bool unsent;        /* the kernel has not been told of, or not taken, all of the ring */
	uint64_t refused;   /* frames that the interface below has dropped, as told by wake-ups */
	uint64_t completed; /* frames that have left; with those refused */
	/* A super-frame in the middle of being cut: the ring had no room for all of it. */
	struct pkt_buf *super;
	struct gso gso;
	struct iovec super_iov[XDP_SUPER_IOV];
	struct xdp_super_tx by_socket;
	struct ixy_queue_stats tx_stats;

	struct xdp_statistics past; /* the kernel's counters of sockets that have been closed */
} __attribute__((aligned(64)));

/*
 * Which frames are for us. The control thread writes, the queues' threads read: single words, and while a list
 * changes everything passes.
 */
struct xdp_filter {
	bool promisc, allmulti, changing;
	uint64_t mac;
	uint32_t unicast_count;
	uint64_t unicast[XDP_MAX_UNICAST];
	uint64_t groups[XDP_GROUP_WORDS];
};

struct xdp_device {
	struct ixy_device ixy;
	struct xdp_queue *queues;
	struct netif *netif;
	struct xsk_program *program;
	struct xdp_filter filter;
	enum xsk_mode mode; /* as asked for */
	bool multi_buffer;
	bool running, gone, promisc, allmulti;
	uint16_t rx_ring, tx_ring;
	struct ixy_mac *unicast; /* the user's list, without the device's own address */
	size_t unicast_count;
	uint64_t resets, link_changes;
	unsigned
		super_refused; /* kinds of super-frames that the kernel does not segment here: 1 << gso_type */
};

static inline struct xdp_device *xdp_device(struct ixy_device *dev)
{
	return (struct xdp_device *)dev;
}

static inline const struct xdp_device *xdp_device_const(const struct ixy_device *dev)
{
	return (const struct xdp_device *)dev;
}

static inline struct pkt_buf *xdp_chunk(const struct xdp_queue *q, uint32_t chunk)
{
	return (struct pkt_buf *)(void *)(q->memory + ((size_t)chunk << q->chunk_shift));
}

/* An Ethernet address as a number, for comparing. */
static inline uint64_t xdp_mac_number(const uint8_t mac[6])
{
	uint32_t high;
	uint16_t low;

	__builtin_memcpy(&high, mac, sizeof(high));
	__builtin_memcpy(&low, mac + 4, sizeof(low));
	return (uint64_t)high << 16 | low;
}

static inline unsigned xdp_group_hash(const uint8_t mac[6])
{
	return (unsigned)(mac[4] >> 4 | mac[5] << 4);
}

/* --- xdp_rx.c ---------------------------------------------------------------------------------------- */

uint32_t xdp_rx_batch(struct ixy_device *dev, uint16_t queue, struct pkt_buf *bufs[], uint32_t count);
void xdp_rx_refill(struct xdp_queue *q);
/* The socket is closed: take everything out of the ring that was never received. */
void xdp_rx_empty(struct xdp_queue *q, uint32_t waiting, enum ixy_drop reason);

/* --- xdp_tx.c ---------------------------------------------------------------------------------------- */

uint32_t xdp_tx_batch(struct ixy_device *dev, uint16_t queue, struct pkt_buf *bufs[], uint32_t count);
uint32_t xdp_tx_pending(struct ixy_device *dev, uint16_t queue);
void xdp_tx_drop(struct ixy_device *dev, uint16_t queue, enum ixy_drop reason);
/* Take back what the kernel is done with. */
void xdp_tx_reclaim(struct xdp_queue *q);
/* The socket is closed: what was not sent is given up. */
void xdp_tx_empty(struct xdp_queue *q, enum ixy_drop reason);

/* --- super_tx.c -------------------------------------------------------------------------------------- */

/* With the AF_XDP socket, which is open. Where there is no packet socket, all is cut in software. */
void xdp_super_open(struct xdp_queue *q);
void xdp_super_close(struct xdp_queue *q);
/* Whether something that has gone this way has not left the machine yet. */
bool xdp_super_pending(struct xdp_queue *q);
/* Whether the super-frame that q->gso was begun on is to go this way. */
bool xdp_super_takes(struct xdp_queue *q, const struct virtio_net_hdr *request);
/*
 * Send it; its pieces are the caller's again at once. 0: it is on its way, apart from what is counted as dropped;
 * -EAGAIN: there is no room now; -ENETDOWN; -ENOTSUP: it has to be cut in software.
 */
int xdp_super_send(struct xdp_queue *q, const struct iovec *iov, uint32_t count);
/* The same for any other frame, complete, of `size` bytes: 0, -EAGAIN or -ENETDOWN. */
int xdp_super_follow(struct xdp_queue *q, const struct iovec *iov, uint32_t count, uint32_t size);

/* --- xdp_filter.c ------------------------------------------------------------------------------------ */

int xdp_mac_set(struct ixy_device *dev, struct ixy_mac mac);
int xdp_set_unicast(struct ixy_device *dev, const struct ixy_mac macs[], size_t count);
int xdp_set_multicast(struct ixy_device *dev, const struct ixy_mac macs[], size_t count);
int xdp_set_promisc(struct ixy_device *dev, bool on);
int xdp_set_allmulti(struct ixy_device *dev, bool on);
int xdp_mtu_set(struct ixy_device *dev, uint16_t mtu);
int xdp_set_up(struct ixy_device *dev, bool up);

/* --- xdp_stats.c ------------------------------------------------------------------------------------- */

/* The kernel's counters of this queue's socket, and of those that it had before. */
void xdp_kernel_statistics(const struct xdp_queue *q, struct xdp_statistics *sum);
void xdp_read_stats(const struct ixy_device *dev, struct ixy_stats *stats);
void xdp_read_queue_stats(const struct ixy_device *dev, uint16_t queue, struct ixy_queue_stats *stats);

/* --- xdp.c ------------------------------------------------------------------------------------------- */

uint32_t xdp_poll_events(struct ixy_device *dev);

#endif
