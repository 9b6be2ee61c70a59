/*
 * A virtio network card that a test plays (virtio 1.2, 5.1), on the function of virtio_rig.h, with our driver on it as an
 * ixy device. The card does nothing by itself, but for the control queue, whose commands it answers as they come.
 *
 *	net_rig_init(&n, RIG_MODERN, FEATURES);          // and what else it is to be
 *	net_rig_open(&n, &options);
 *	net_rig_arrive(&n, 0, NULL, frame, size);        // a frame comes from the wire
 *	net_rig_sent(&n, 0, &sent);                      // what the driver has queued goes onto it
 *	net_rig_close(&n);
 *
 * net_rig_close() asserts that the driver has done nothing wrong, and that no buffer is missing.
 */
#ifndef UNIT_VIRTIO_NET_RIG_H
#define UNIT_VIRTIO_NET_RIG_H

#include "virtio_rig.h"

#include <linux/virtio_config.h>
#include <linux/virtio_ring.h>

#include "driver/virtio/net.h"

#define NET_RIG_BUFFERS 2048  /* of the pool that tests send from */
#define NET_RIG_FRAME   70000 /* bytes of the longest frame */

#define F(bit) (UINT64_C(1) << (bit))

/* What QEMU's card offers. */
#define NET_RIG_USUAL                                                                                        \
	(F(VIRTIO_NET_F_MAC) | F(VIRTIO_NET_F_STATUS) | F(VIRTIO_NET_F_MRG_RXBUF) | F(VIRTIO_NET_F_CSUM) |   \
		F(VIRTIO_NET_F_HOST_TSO4) | F(VIRTIO_NET_F_HOST_TSO6) | F(VIRTIO_NET_F_HOST_ECN) |           \
		F(VIRTIO_NET_F_GUEST_CSUM) | F(VIRTIO_NET_F_GUEST_TSO4) | F(VIRTIO_NET_F_GUEST_TSO6) |       \
		F(VIRTIO_NET_F_GUEST_ECN) | F(VIRTIO_NET_F_CTRL_VQ) | F(VIRTIO_NET_F_CTRL_RX) |              \
		F(VIRTIO_NET_F_CTRL_VLAN) | F(VIRTIO_NET_F_CTRL_MAC_ADDR) | F(VIRTIO_NET_F_GUEST_ANNOUNCE) | \
		F(VIRTIO_NET_F_CTRL_GUEST_OFFLOADS) | F(VIRTIO_NET_F_GUEST_UFO) | F(VIRTIO_NET_F_HOST_UFO))

/* What came over the control queue. */
struct net_rig_control {
	unsigned commands;
	bool promisc, allmulti;
	uint16_t pairs;
	uint8_t mac[6];
	unsigned unicast_count, multicast_count;
	uint8_t unicast[NET_MAX_UNICAST + 1][6], multicast[NET_MAX_MULTICAST][6];
	/* How it answers. */
	bool silent;
	uint8_t refused_class; /* + 1; 0: none */
	struct rig_chain owed; /* the command that it was silent upon */
	bool owes;
};

struct net_rig {
	struct virtio_rig rig; /* first: the PCI function is this */
	struct pci_ops ops;    /* the rig's, and a look at what is notified */
	const struct pci_ops *honest;
	unsigned kicks[RIG_QUEUES];
	struct net_rig_control control;
	struct ixy_device *dev;
	struct mempool *pool; /* for frames to be sent */
};

/* A frame that the driver sent. */
struct net_rig_frame {
	struct virtio_net_hdr_v1 header;
	size_t size;
	unsigned pieces; /* of memory, its header included */
	uint8_t bytes[NET_RIG_FRAME];
};

extern const uint8_t net_rig_mac[6], net_rig_peer[6];

/* A card with one queue pair, these features and those of virtio_rig_init(), a link that is up. */
void net_rig_init(struct net_rig *n, enum rig_layout layout, uint64_t features);
/* With so many queue pairs (VIRTIO_NET_F_MQ), rings of so many entries; before it is opened. */
void net_rig_pairs(struct net_rig *n, uint16_t pairs);
void net_rig_ring(struct net_rig *n, uint16_t entries);
/* A field of struct virtio_net_config, 16 bits. A change is signalled. */
void net_rig_config(struct net_rig *n, size_t offset, uint16_t value);

/* Options with all members set as ixy_open() does. */
struct ixy_options net_rig_options(void);
/* Open the driver on it; options NULL: net_rig_options(). net_rig_try() returns what opening came to. */
void net_rig_open(struct net_rig *n, const struct ixy_options *options);
int net_rig_try(struct net_rig *n, const struct ixy_options *options);
void net_rig_close(struct net_rig *n);

/*
 * A frame comes: into as many buffers as it takes, which the header says (header NULL: nothing to say). False: there
 * are not enough buffers.
 */
bool net_rig_arrive(struct net_rig *n, uint16_t pair, const struct virtio_net_hdr_v1 *header,
	const uint8_t *frame, size_t size);
/* One buffer with these bytes in it, header included, and so many bytes claimed. */
void net_rig_arrive_raw(struct net_rig *n, uint16_t pair, const void *bytes, size_t size, uint32_t claimed);

/* The next frame that the driver has queued; it is sent, and its buffers go back. False: there is none. */
bool net_rig_sent(struct net_rig *n, uint16_t pair, struct net_rig_frame *frame);

/* The answer that the card owes on its control queue. */
void net_rig_answer(struct net_rig *n);

/* A frame of the pool's buffers with these bytes in it, chained as its size needs. */
struct pkt_buf *net_rig_frame(struct net_rig *n, const void *bytes, size_t size);
/* An Ethernet frame that is not IP, distinct by number. Returns its size. */
size_t net_rig_fill(uint8_t *frame, uint32_t number, size_t size);

/* Receive one frame and compare it; the frame is returned, its buffers still taken. */
struct pkt_buf *net_rig_received(struct net_rig *n, uint16_t pair, const uint8_t *bytes, size_t size);
void net_rig_nothing_received(struct net_rig *n, uint16_t pair);
uint64_t net_rig_drops(struct net_rig *n, enum ixy_drop reason);
/* A frame each way. */
void net_rig_traffic(struct net_rig *n, uint16_t pair);

#endif
