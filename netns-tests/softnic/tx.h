/*
 * Between the two halves of the transmit engine: tx.c takes packets off the rings, tx_packet.c makes frames
 * of them.
 */
#ifndef SOFTNIC_TX_H
#define SOFTNIC_TX_H

#include "datapath.h"

#define TX_PIECES  40         /* descriptors a packet, with the on-chip limit */
#define TX_LARGEST (31u << 9) /* 15.5 KiB, of a frame */

struct tx_counters {
	struct mac_counters good;
	uint64_t dma_octets;
	uint32_t dma_frames;
	uint32_t queue_frames[STATISTIC_UNITS];
	uint64_t queue_octets[STATISTIC_UNITS];
};

struct nic_tx_state {
	uint8_t active[NIC_QUEUES]; /* enabled queues, in no order */
	unsigned actives, turn;
	/* Registers as they stand in this poll */
	bool loopback, pad, crc;
	uint16_t vlan_type;
	size_t max_frame;
	struct tx_counters counters;
	/* The frame under construction. It begins VLAN_TAG in, so that a tag is inserted by moving 12 bytes. */
	uint8_t frame[VLAN_TAG + TX_LARGEST];
};

/* A packet as its descriptors describe it. */
struct tx_packet {
	struct {
		uint64_t iova;
		uint32_t size;
	} piece[TX_PIECES];
	unsigned pieces, descriptors;
	uint32_t size; /* sum of the pieces */
	union ixgbe_tx_desc first;
	bool advanced, rs; /* rs: of the last descriptor */
	/* Why it is refused, if it is */
	bool refused;
	enum nic_violation violation;
	const char *reason;
};

/* The first reason counts. */
static inline void tx_refuse(struct tx_packet *packet, enum nic_violation v, const char *reason)
{
	if (packet->refused)
		return;
	packet->refused = true;
	packet->violation = v;
	packet->reason = reason;
}

/* Read the packet's data and send what it asks for. Returns the frames it made; 0: it was dropped. */
uint32_t tx_send_packet(struct nic *nic, unsigned n, const struct tx_queue *q, struct tx_packet *packet);

#endif
