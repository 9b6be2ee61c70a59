/*
 * The virtio network device (virtio 1.2, 5.1) as an ixy device: what its files share.
 *
 * It stands on two layers, which are told in their headers and know nothing of networks:
 *
 *	virtqueue.h     the ring: buffers to a device and back
 *	virtio.h        a virtio device of any kind on PCI: reset, features, queues, notifications
 *
 * Above them, in the order in which to read it:
 *
 *	net.c           life: queues, start, stop, reset, events
 *	net_features.c  what the device can do, and what of it is used
 *	net_rx.c        receiving: buffers that the device may join to longer frames
 *	net_tx.c        sending: what the device leaves to us (checksums, super-frames) is finished in software
 *	net_ctrl.c      the control queue: addresses, promiscuity, queue pairs
 *
 * Receive queue q is virtqueue 2q, transmit queue q is 2q + 1, and behind those of all pairs that the device has
 * comes the control queue. In front of each frame, in its buffer's headroom, stands a header of 12 bytes (10 with a
 * legacy device that cannot merge buffers): the request for offloads, and how many buffers the frame takes.
 *
 * The ring of a queue belongs to the queue's thread while the device runs, and to the control thread while it is being
 * started, stopped or reset, when no other thread is inside. What crosses between them otherwise are counters and
 * flags, single words.
 *
 * Nothing that the device writes is believed. virtqueue.c judges the rings; here it is the header, lengths and numbers
 * of buffers. A ring that has gone wrong (`broken`) is left alone until ixy_reset(), which IXY_EVENT_RESET asks for.
 */
#ifndef IXY_VIRTIO_NET_H
#define IXY_VIRTIO_NET_H

#include <linux/virtio_net.h>

#include "driver/clock.h"
#include "driver/device.h"
#include "driver/gso.h"
#include "driver/virtio/virtio.h"

/* Debian 12's headers are older than UDP super-frames (virtio 1.3). */
#ifndef VIRTIO_NET_F_HOST_USO
#define VIRTIO_NET_F_GUEST_USO4 54
#define VIRTIO_NET_F_GUEST_USO6 55
#define VIRTIO_NET_F_HOST_USO   56
#endif

#define NET_BURST         64    /* chains moved between us and a ring at a time */
#define NET_MAX_MTU       16128 /* where frames of several buffers are; more than any NIC's jumbo frames */
#define NET_ETH_HEADER    14
#define NET_VLAN_TAG      4
#define NET_TX_PIECES     (VIRTQUEUE_INDIRECT_MAX - 1) /* buffers a frame, at most; a header may come on top */
#define NET_MAX_UNICAST   127
#define NET_MAX_MULTICAST 512 /* with more, all multicast frames are let in */
/*
 * Bytes of a receive buffer where super-frames come: five to the longest, so that each takes few descriptors, and one
 * writev() into a tap stays within the eight pieces for which the kernel allocates nothing.
 */
#define NET_SUPER_BUFFER (14 * 1024)

#define NET_HEADER_SIZE 12 /* struct virtio_net_hdr_v1 */
_Static_assert(sizeof(struct virtio_net_hdr_v1) == NET_HEADER_SIZE, "5.1.6");
_Static_assert(NET_HEADER_SIZE <= PKT_BUF_HEADROOM, "the header lives in the headroom");

struct net_rx_queue {
	/* Each batch uses these. */
	struct virtqueue vq;
	struct mempool *pool;
	uint32_t buffer_size; /* bytes of frame data in one buffer */
	uint16_t index;       /* of the virtqueue */
	bool running;         /* buffers may be posted */
	bool broken;          /* written here, read by the control thread, too */
	bool armed;
	uint16_t missing;                   /* buffers that the frame in hand still lacks */
	struct pkt_buf *chain, *chain_last; /* and those that have come; NULL: it was given up */
	struct virtio_net_hdr_v1 header;    /* of the frame in hand */
	struct gso gso;                     /* to judge super-frames by */
	struct ixy_queue_stats stats;       /* drops of what came in */
	uint64_t multicast, broadcast;      /* frames */
	int irq_fd;                         /* -1: none */
} __attribute__((aligned(64)));

struct net_tx_queue {
	struct virtqueue vq;
	uint16_t index;
	bool running;
	bool broken; /* as above */
	/* A super-frame in the middle of being cut: the ring had no room for all of it. */
	struct pkt_buf *super;
	struct gso gso;
	struct iovec super_iov[NET_TX_PIECES];
	struct mempool *segments; /* what it is cut into; NULL where the device cuts everything */
	struct ixy_queue_stats stats;
	uint64_t completed; /* frames that have left */
	uint8_t *tables;    /* for the ring's indirect descriptors; NULL: none */
} __attribute__((aligned(64)));

/* The control queue (5.1.6.5): one command at a time. */
struct net_ctrl {
	struct virtqueue vq;
	uint16_t index, size;
	bool unanswered;                /* the device still has the memory below */
	struct net_ctrl_memory *memory; /* header, data and answer, for DMA */
};

#define NET_CTRL_DATA \
	(2 * sizeof(uint32_t) + (NET_MAX_UNICAST + 1 + NET_MAX_MULTICAST) * sizeof(struct ixy_mac))

struct net_ctrl_memory {
	struct virtio_net_ctrl_hdr header;
	virtio_net_ctrl_ack ack;
	uint8_t data[NET_CTRL_DATA] __attribute__((aligned(16)));
};

struct net_device {
	struct ixy_device ixy;
	struct virtio_device *virtio;
	struct net_rx_queue rx[IXY_MAX_QUEUES];
	struct net_tx_queue tx[IXY_MAX_QUEUES];
	struct net_ctrl ctrl;
	struct dma_region *memory;              /* of all rings, and what comes with them */
	uint8_t *rings[2 * IXY_MAX_QUEUES + 1]; /* in memory, by virtqueue; the control queue's is the last */
	uint64_t wanted;                        /* features */
	uint32_t rx_kinds;                      /* super-frames that may come: 1 << gso_type */
	uint32_t tx_kinds;                      /* those that the device cuts */
	uint16_t rx_size, tx_size;              /* entries that the rings should have */
	uint16_t header_size;
	bool merge;           /* VIRTIO_NET_F_MRG_RXBUF */
	bool split_header;    /* a legacy device that wants the header in a descriptor of its own */
	bool tx_ecn;          /* it cuts super-frames with CWR, too */
	uint8_t *zero_header; /* in memory: for frames without offloads whose buffer has no headroom */
	bool begun;           /* from the negotiation of features to the next reset */
	bool live;            /* from virtio_start() on */
	bool gone;
	bool up; /* admin state: read by the queues' threads */
	/* What a reset has to bring back. */
	bool promisc, allmulti, mac_changed;
	struct ixy_mac unicast[NET_MAX_UNICAST], multicast[NET_MAX_MULTICAST];
	size_t unicast_count, multicast_count;
	bool too_many_groups;
	/* Interrupts. */
	bool interrupts;
	int event_fd;
	uint64_t resets, link_changes;
};

static inline struct net_device *net_device(struct ixy_device *dev)
{
	return (struct net_device *)dev;
}

static inline const struct net_device *net_device_const(const struct ixy_device *dev)
{
	return (const struct net_device *)dev;
}

/* --- net.c -------------------------------------------------------------------------------------------- */

/* The queue's thread found its ring broken (virtqueue.h, or reason): tell the control thread. */
void net_queue_broke(struct net_device *dev, bool *broken, const char *reason);
/* Settle dev->wanted with a device that has been reset. */
int net_negotiate(struct net_device *dev);

/* --- net_features.c ----------------------------------------------------------------------------------- */

/*
 * After virtio_open(): settle features, MTU, queues and their sizes, MAC address and capabilities. -EINVAL for options
 * that the device cannot do, -EPROTO for a device that makes no sense.
 */
int net_learn(struct net_device *dev, const struct ixy_options *options);

static inline bool net_wants(const struct net_device *dev, unsigned feature)
{
	return dev->wanted & virtio_feature(feature);
}

/* A field of the device's configuration, host order; what cannot be read is 0, with a text. */
uint32_t net_config_field(struct net_device *dev, size_t offset, uint32_t size);
#define NET_CONFIG(dev, field)                                           \
	net_config_field(dev, offsetof(struct virtio_net_config, field), \
		sizeof(((struct virtio_net_config *)NULL)->field))

/* --- net_rx.c ----------------------------------------------------------------------------------------- */

uint32_t net_rx_batch(struct ixy_device *dev, uint16_t queue, struct pkt_buf *bufs[], uint32_t count);
int net_rx_alloc(struct net_device *dev, uint16_t queue); /* the pool */
void net_rx_free(struct net_device *dev, uint16_t queue);
void net_rx_start(
	struct net_device *dev, uint16_t queue); /* the first buffers; notifies after virtio_start() only */
/* The device has stopped: buffers back to the pool, frames that nobody has fetched counted under reason. */
void net_rx_empty(struct net_device *dev, uint16_t queue, enum ixy_drop reason);
int net_rx_irq_fd(const struct ixy_device *dev, uint16_t queue);
void net_rx_irq_arm(struct ixy_device *dev, uint16_t queue);

/* --- net_tx.c ----------------------------------------------------------------------------------------- */

uint32_t net_tx_batch(struct ixy_device *dev, uint16_t queue, struct pkt_buf *bufs[], uint32_t count);
void net_tx_drop(struct ixy_device *dev, uint16_t queue, enum ixy_drop reason);
uint32_t net_tx_pending(struct ixy_device *dev, uint16_t queue);
int net_tx_alloc(struct net_device *dev, uint16_t queue); /* buffers to cut super-frames into */
void net_tx_free(struct net_device *dev, uint16_t queue);
/* The device has stopped: frames that have not left are freed and counted under reason. */
void net_tx_empty(struct net_device *dev, uint16_t queue, enum ixy_drop reason);

/* --- net_ctrl.c --------------------------------------------------------------------------------------- */

/*
 * After virtio_start(): queue pairs, and all filters as they were set. -ETIMEDOUT if the device does not answer; a
 * filter that it refuses is told in the log.
 */
int net_ctrl_start(struct net_device *dev);
int net_mac_set(struct ixy_device *dev, struct ixy_mac mac);
int net_set_unicast(struct ixy_device *dev, const struct ixy_mac macs[], size_t count);
int net_set_multicast(struct ixy_device *dev, const struct ixy_mac macs[], size_t count);
int net_set_promisc(struct ixy_device *dev, bool on);
int net_set_allmulti(struct ixy_device *dev, bool on);

#endif
