/*
 * The 82599 driver on the software 82599, in one process and one step at a time: what the driver writes, the
 * NIC takes, and the wire is a list of frames. close_rig() asserts that the NIC has counted no violation and that
 * every packet buffer is back in its pool.
 */
#ifndef IXGBE_RIG_H
#define IXGBE_RIG_H

#include <errno.h>
#include <poll.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <cmocka.h>

#include "chain.h"
#include "driver/ixgbe/ixgbe.h"
#include "netns-tests/softnic/inprocess.h"
#include "netns-tests/softnic/wire.h"

#define WIRE_FRAMES 4096

struct recording {
	struct wire wire; /* first: the model holds a pointer to it */
	size_t count;
	size_t sizes[WIRE_FRAMES];
	uint8_t *frames[WIRE_FRAMES];
};

struct rig {
	struct nic *nic;
	struct ixy_device *dev;
	struct mempool *pool;
	struct recording wire;
};

static const uint8_t nic_mac[6] = {0x02, 0x11, 0x22, 0x33, 0x44, 0x55};
static const uint8_t peer_mac[6] = {0x02, 0xaa, 0xbb, 0xcc, 0xdd, 0xee};

/* --- the wire ------------------------------------------------------------------------------------ */

static inline void record(struct wire *wire, const uint8_t *frame, size_t size)
{
	struct recording *r = (struct recording *)wire;

	assert_in_range(r->count, 0, WIRE_FRAMES - 1);
	r->frames[r->count] = malloc(size);
	assert_non_null(r->frames[r->count]);
	memcpy(r->frames[r->count], frame, size);
	r->sizes[r->count++] = size;
}

static inline void forget(struct recording *r)
{
	while (r->count)
		free(r->frames[--r->count]);
}

static inline void wire_nothing(struct wire *wire)
{
	(void)wire;
}

static const struct wire_ops recording_ops = {
	.send = record,
	.flush = wire_nothing,
};

/* --- the rig ------------------------------------------------------------------------------------- */

static inline struct ixy_options defaults(void)
{
	return (struct ixy_options){.rx_queues = 1,
		.tx_queues = 1,
		.rx_ring = 64,
		.tx_ring = 64,
		.mtu = 1500,
		.irq_interval_us = 20};
}

static inline void plug(struct rig *rig)
{
	memset(rig, 0, sizeof(*rig));
	rig->nic = nic_create(0, "test", nic_mac);
	assert_non_null(rig->nic);
	rig->wire.wire.ops = &recording_ops;
	rig->wire.wire.nic = rig->nic;
	rig->nic->wire = &rig->wire.wire;
	nic_wire_carrier(rig->nic, true);
}

static inline void open_with(struct rig *rig, struct ixy_options options)
{
	struct pci_device *pci;

	plug(rig);
	assert_int_equal(inprocess_open(rig->nic, &pci), 0);
	if (ixgbe_driver.open(pci, &options, &rig->dev) < 0)
		fail_msg("%s", ixy_last_error());
	rig->pool = ixy_mempool_create(rig->dev, 1024, 0);
	assert_non_null(rig->pool);
	ixy_poll_events(rig->dev);
	assert_true(ixy_link_get(rig->dev).up);
}

static inline void close_rig(struct rig *rig)
{
	ixy_stop(rig->dev);
	for (unsigned i = 0; i < rig->dev->rx_queues; i++) {
		const struct mempool *pool = ixgbe(rig->dev)->rx[i].pool;

		assert_int_equal(pool->free_count, pool->buf_count);
	}
	assert_int_equal(rig->pool->free_count, rig->pool->buf_count);
	assert_int_equal(ixy_mempool_free(rig->pool), 0);
	ixy_close(rig->dev);
	for (unsigned i = 0; i < NIC_VIOLATION_COUNT; i++) {
		if (rig->nic->violation[i])
			fail_msg("violation: %s", nic_violation_name(i));
	}
	forget(&rig->wire);
	rig->nic->wire = NULL;
	nic_free(rig->nic);
}

/* An IPv4 UDP frame without a UDP checksum, distinct by number, from peer to NIC or back. */
static inline size_t make_frame(uint8_t *frame, bool to_nic, uint32_t number, size_t size)
{
	size_t ip_size = size - 14;
	uint64_t sum;

	memset(frame, 0, size);
	memcpy(frame, to_nic ? nic_mac : peer_mac, 6);
	memcpy(frame + 6, to_nic ? peer_mac : nic_mac, 6);
	frame[12] = 8;
	frame[14] = 0x45;
	frame[16] = (uint8_t)(ip_size >> 8);
	frame[17] = (uint8_t)ip_size;
	frame[22] = 64;
	frame[23] = 17;
	memcpy(frame + 26, (uint8_t[]){10, 0, 0, 1, 10, 0, 0, 2}, 8);
	sum = 0;
	for (int i = 14; i < 34; i += 2)
		sum += (uint32_t)frame[i] << 8 | frame[i + 1];
	sum = (sum & 0xFFFF) + (sum >> 16);
	sum = (sum & 0xFFFF) + (sum >> 16);
	frame[24] = (uint8_t)(~sum >> 8);
	frame[25] = (uint8_t)~sum;
	frame[34] = (uint8_t)(number >> 8); /* source port: flows differ */
	frame[35] = (uint8_t)number;
	frame[37] = 9;
	frame[38] = (uint8_t)((ip_size - 20) >> 8);
	frame[39] = (uint8_t)(ip_size - 20);
	for (size_t i = 42; i < size; i++)
		frame[i] = (uint8_t)(number * 31 + i);
	return size;
}

static inline void arrive(struct rig *rig, uint32_t number, size_t size)
{
	uint8_t frame[NIC_FRAME_MAX];

	make_frame(frame, true, number, size);
	nic_receive(rig->nic, frame, size);
	nic_receive_flush(rig->nic);
}

static inline void step(struct rig *rig)
{
	nic_tx_poll(rig->nic, 4096);
}

/* A frame of the pool's buffers, chained as its size needs. */
static inline struct pkt_buf *outgoing(struct rig *rig, uint32_t number, size_t size)
{
	uint8_t bytes[NIC_FRAME_MAX];

	make_frame(bytes, false, number, size);
	return chain_of(rig->pool, bytes, size);
}

static inline void assert_on_wire(const struct rig *rig, size_t index, uint32_t number, size_t size)
{
	uint8_t expected[NIC_FRAME_MAX];

	make_frame(expected, false, number, size);
	assert_in_range(index, 0, rig->wire.count - 1);
	assert_int_equal(rig->wire.sizes[index], size);
	assert_memory_equal(rig->wire.frames[index], expected, size);
}

static inline void assert_received(struct rig *rig, uint16_t queue, uint32_t number, size_t size)
{
	uint8_t expected[NIC_FRAME_MAX], got[NIC_FRAME_MAX];
	struct pkt_buf *frame;
	size_t n = 0;

	make_frame(expected, true, number, size);
	assert_int_equal(ixy_rx_batch(rig->dev, queue, &frame, 1), 1);
	assert_int_equal(frame->frame_size, size);
	for (struct pkt_buf *buf = frame; buf; buf = buf->next) {
		assert_ptr_equal(buf->pool, ixy_rx_pool(rig->dev, queue));
		memcpy(got + n, buf->data, buf->size);
		n += buf->size;
	}
	assert_int_equal(n, size);
	assert_memory_equal(got, expected, size);
	pkt_buf_free(frame);
}

static inline void assert_nothing_received(struct rig *rig)
{
	struct pkt_buf *frame;

	assert_int_equal(ixy_rx_batch(rig->dev, 0, &frame, 1), 0);
}

static inline uint64_t drops(const struct rig *rig, enum ixy_drop reason)
{
	struct ixy_stats stats;

	ixy_poll_events(rig->dev);
	ixy_read_stats(rig->dev, &stats);
	return stats.drops[reason];
}

static inline void assert_traffic_flows(struct rig *rig)
{
	struct pkt_buf *frame = outgoing(rig, 77, 100);
	size_t before = rig->wire.count;

	assert_int_equal(ixy_tx_batch(rig->dev, 0, &frame, 1), 1);
	step(rig);
	assert_int_equal(rig->wire.count, before + 1);
	assert_on_wire(rig, before, 77, 100);
	ixy_tx_batch(rig->dev, 0, NULL, 0);
	assert_int_equal(ixy_tx_pending(rig->dev, 0), 0);
	arrive(rig, 78, 100);
	assert_received(rig, 0, 78, 100);
}

/* Let the driver judge until it sees the event or a second has passed; work() is what the user does meanwhile. */
static inline bool event_within_a_second(struct rig *rig, uint32_t event, void (*work)(struct rig *))
{
	for (unsigned i = 0; i < 20; i++) {
		work(rig);
		if (ixy_poll_events(rig->dev) & event)
			return true;
		usleep(50000);
	}
	return false;
}

/* --- a PCI function that lies -------------------------------------------------------------------- */

/* One register reads as something else, writes to one are counted, config space cannot be written. */
static struct {
	struct pci_ops ops;
	const struct pci_ops *honest;
	uint32_t reg, value; /* reg 0: none */
	uint32_t counted, count;
	bool config_fails;
} liar;

static inline void lying_bar_read(
	struct pci_device *pci, unsigned bar, uint32_t offset, void *data, uint32_t len)
{
	liar.honest->bar_read(pci, bar, offset, data, len);
	if (liar.reg && offset == liar.reg)
		memcpy(data, &liar.value, len);
}

static inline void counting_bar_write(
	struct pci_device *pci, unsigned bar, uint32_t offset, const void *data, uint32_t len)
{
	liar.count += offset == liar.counted;
	liar.honest->bar_write(pci, bar, offset, data, len);
}

static inline int failing_config_write(
	struct pci_device *pci, uint32_t offset, const void *data, uint32_t len)
{
	if (liar.config_fails)
		return ixy_fail(EIO, "config space is out of order");
	return liar.honest->config_write(pci, offset, data, len);
}

static inline void make_liar(struct pci_device *pci)
{
	memset(&liar, 0, sizeof(liar));
	liar.honest = pci->ops;
	liar.ops = *pci->ops;
	liar.ops.bar_read = lying_bar_read;
	liar.ops.bar_write = counting_bar_write;
	liar.ops.config_write = failing_config_write;
	pci->ops = &liar.ops;
}

#endif
