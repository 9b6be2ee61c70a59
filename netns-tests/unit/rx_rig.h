/*
 * What tests of the receive side share: a queue that listens, frames for it, a look at what they became.
 */
#ifndef UNIT_RX_RIG_H
#define UNIT_RX_RIG_H

#include "nic_rig.h"

#define RING       64
#define RING_AT(n) ((n)*0x1000u)
#define MAC                                        \
	{                                          \
		0x02, 0x11, 0x22, 0x33, 0x44, 0x55 \
	} /* the rig's */

static inline union ixgbe_rx_desc *ring(struct rig *rig, unsigned n)
{
	return (union ixgbe_rx_desc *)(rig->memory + RING_AT(n));
}

/* Each descriptor has a packet buffer and a header buffer of its own. */
static inline uint32_t buffer_at(unsigned n, unsigned i)
{
	return RIG_BUFFERS + (n * RING + i) * 0x4000u;
}

static inline uint8_t *buffer(struct rig *rig, unsigned n, unsigned i)
{
	return rig->memory + buffer_at(n, i);
}

static inline uint8_t *header_buffer(struct rig *rig, unsigned i)
{
	return rig->memory + 0x100000u + i * 0x400u;
}

/* Make descriptor i ready to be filled. */
static inline void prepare(struct rig *rig, unsigned n, unsigned i)
{
	ring(rig, n)[i].read.packet_addr = RIG_IOVA + buffer_at(n, i);
	ring(rig, n)[i].read.header_addr = RIG_IOVA + 0x100000u + i * 0x400u;
}

static inline void configure_queue(struct rig *rig, unsigned n, uint32_t srrctl)
{
	rig_write(rig, RDBAL(n), (uint32_t)(RIG_IOVA + RING_AT(n)));
	rig_write(rig, RDBAH(n), (uint32_t)((RIG_IOVA + RING_AT(n)) >> 32));
	rig_write(rig, RDLEN(n), RING * 16);
	rig_write(rig, RDH(n), 0);
	rig_write(rig, RDT(n), 0);
	rig_write(rig, SRRCTL(n), srrctl);
}

#define ONEBUF_2K (SRRCTL_DESCTYPE_ADV_ONEBUF | 2)

static inline void start_queue(struct rig *rig, unsigned n, uint32_t srrctl)
{
	rig_write(rig, RXDCTL(n), 0);
	configure_queue(rig, n, srrctl);
	rig_write(rig, RXDCTL(n), RXDCTL_ENABLE);
	assert_true(nic_peek32(rig->nic, RXDCTL(n)) & RXDCTL_ENABLE);
	for (unsigned i = 0; i < RING; i++)
		prepare(rig, n, i);
	rig_write(rig, RDT(n), RING - 1);
}

static inline int setup_receiving(void **state)
{
	rig_setup(state);
	struct rig *rig = *state;

	start_queue(rig, 0, ONEBUF_2K);
	rig_set(rig, FCTRL, FCTRL_BAM);
	rig_set(rig, SECRXCTRL, SECRXCTRL_RX_DIS);
	rig_set(rig, RXCTRL, RXCTRL_RXEN);
	rig_clear(rig, SECRXCTRL, SECRXCTRL_RX_DIS);
	return 0;
}

static inline void receive(struct rig *rig, const uint8_t *frame, size_t size)
{
	nic_receive(rig->nic, frame, size);
	nic_receive_flush(rig->nic);
}

/* A frame to us, of TCP over IPv4, payload bytes. Returns its size. */
static inline size_t tcp_frame(uint8_t *frame, size_t payload)
{
	return build_frame(frame, &(struct frame_spec){.protocol = TCP, .payload = payload, .dst = MAC}).size;
}

static inline bool done(struct rig *rig, unsigned n, unsigned i)
{
	return ring(rig, n)[i].wb.status_error & RXD_STAT_DD;
}

#endif
