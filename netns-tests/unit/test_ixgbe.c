/*
 * The 82599 driver on the software 82599, in one process and one step at a time: what the driver writes, the
 * NIC takes, and the wire is a list of frames. Every test ends with no violation counted by the NIC, and with
 * every packet buffer back in its pool.
 */
#include <errno.h>
#include <poll.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <cmocka.h>

#include "driver/checksum.h"
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

static void record(struct wire *wire, const uint8_t *frame, size_t size)
{
	struct recording *r = (struct recording *)wire;

	assert_in_range(r->count, 0, WIRE_FRAMES - 1);
	r->frames[r->count] = malloc(size);
	assert_non_null(r->frames[r->count]);
	memcpy(r->frames[r->count], frame, size);
	r->sizes[r->count++] = size;
}

static void forget(struct recording *r)
{
	while (r->count)
		free(r->frames[--r->count]);
}

static void wire_nothing(struct wire *wire)
{
	(void)wire;
}

static const struct wire_ops recording_ops = {
	.send = record,
	.flush = wire_nothing,
};

/* --- the rig ------------------------------------------------------------------------------------- */

static struct ixy_options defaults(void)
{
	return (struct ixy_options){.rx_queues = 1,
		.tx_queues = 1,
		.rx_ring = 64,
		.tx_ring = 64,
		.mtu = 1500,
		.irq_interval_us = 20};
}

static void plug(struct rig *rig)
{
	memset(rig, 0, sizeof(*rig));
	rig->nic = nic_create(0, "test", nic_mac);
	assert_non_null(rig->nic);
	rig->wire.wire.ops = &recording_ops;
	rig->wire.wire.nic = rig->nic;
	rig->nic->wire = &rig->wire.wire;
	nic_wire_carrier(rig->nic, true);
}

static void open_with(struct rig *rig, struct ixy_options options)
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

static void close_rig(struct rig *rig)
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
static size_t make_frame(uint8_t *frame, bool to_nic, uint32_t number, size_t size)
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

static void arrive(struct rig *rig, uint32_t number, size_t size)
{
	uint8_t frame[NIC_FRAME_MAX];

	make_frame(frame, true, number, size);
	nic_receive(rig->nic, frame, size);
	nic_receive_flush(rig->nic);
}

static void step(struct rig *rig)
{
	nic_tx_poll(rig->nic, 4096);
}

/* A frame of the pool's buffers, chained as its size needs. */
static struct pkt_buf *outgoing(struct rig *rig, uint32_t number, size_t size)
{
	uint8_t bytes[NIC_FRAME_MAX];
	struct pkt_buf *first = NULL, *last = NULL;

	make_frame(bytes, false, number, size);
	for (size_t at = 0; at < size;) {
		struct pkt_buf *buf = pkt_buf_alloc(rig->pool);
		size_t n = size - at < rig->pool->data_size ? size - at : rig->pool->data_size;

		assert_non_null(buf);
		memcpy(buf->data, bytes + at, n);
		buf->size = (uint32_t)n;
		at += n;
		if (first) {
			last->next = buf;
			first->segments++;
		} else {
			first = buf;
		}
		last = buf;
	}
	first->frame_size = (uint32_t)size;
	return first;
}

static void assert_on_wire(const struct rig *rig, size_t index, uint32_t number, size_t size)
{
	uint8_t expected[NIC_FRAME_MAX];

	make_frame(expected, false, number, size);
	assert_in_range(index, 0, rig->wire.count - 1);
	assert_int_equal(rig->wire.sizes[index], size);
	assert_memory_equal(rig->wire.frames[index], expected, size);
}

static void assert_received(struct rig *rig, uint16_t queue, uint32_t number, size_t size)
{
	uint8_t expected[NIC_FRAME_MAX], got[NIC_FRAME_MAX];
	struct pkt_buf *frame;
	size_t n = 0;

	make_frame(expected, true, number, size);
	assert_int_equal(ixy_rx_batch(rig->dev, queue, &frame, 1), 1);
	assert_int_equal(frame->frame_size, size);
	for (struct pkt_buf *buf = frame; buf; buf = buf->next) {
		memcpy(got + n, buf->data, buf->size);
		n += buf->size;
	}
	assert_int_equal(n, size);
	assert_memory_equal(got, expected, size);
	pkt_buf_free(frame);
}

static void assert_nothing_received(struct rig *rig)
{
	struct pkt_buf *frame;

	assert_int_equal(ixy_rx_batch(rig->dev, 0, &frame, 1), 0);
}

static uint64_t drops(const struct rig *rig, enum ixy_drop reason)
{
	struct ixy_stats stats;

	ixy_poll_events(rig->dev);
	ixy_read_stats(rig->dev, &stats);
	return stats.drops[reason];
}

static void assert_traffic_flows(struct rig *rig)
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
static bool event_within_a_second(struct rig *rig, uint32_t event, void (*work)(struct rig *))
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

static uint32_t lying_read32(struct pci_device *pci, uint32_t offset)
{
	uint32_t value = liar.honest->read32(pci, offset);

	return liar.reg && offset == liar.reg ? liar.value : value;
}

static void counting_write32(struct pci_device *pci, uint32_t offset, uint32_t value)
{
	liar.count += offset == liar.counted;
	liar.honest->write32(pci, offset, value);
}

static int failing_config_write(struct pci_device *pci, uint32_t offset, const void *data, uint32_t len)
{
	if (liar.config_fails)
		return ixy_fail(EIO, "config space is out of order");
	return liar.honest->config_write(pci, offset, data, len);
}

static void make_liar(struct pci_device *pci)
{
	memset(&liar, 0, sizeof(liar));
	liar.honest = pci->ops;
	liar.ops = *pci->ops;
	liar.ops.read32 = lying_read32;
	liar.ops.write32 = counting_write32;
	liar.ops.config_write = failing_config_write;
	pci->ops = &liar.ops;
}

/* --- tests --------------------------------------------------------------------------------------- */

static void an_opened_device_has_the_eeprom_mac_and_a_link(void **state)
{
	struct rig rig;
	(void)state;

	open_with(&rig, defaults());
	assert_memory_equal(ixy_mac_get(rig.dev).addr, nic_mac, 6);
	assert_int_equal(ixy_link_get(rig.dev).speed, 10000);
	assert_int_equal(ixy_max_mtu(rig.dev), 9710);
	assert_true(ixy_capabilities(rig.dev) & IXY_CAP_INTERRUPTS);
	assert_string_equal(ixy_driver_name(rig.dev), "ixgbe");
	close_rig(&rig);
}

static void frames_leave_as_they_were_queued(void **state)
{
	struct rig rig;
	(void)state;

	open_with(&rig, defaults());
	for (uint32_t size = 60; size <= 1514; size += 97) {
		struct pkt_buf *frame = outgoing(&rig, size, size);

		assert_int_equal(ixy_tx_batch(rig.dev, 0, &frame, 1), 1);
		step(&rig);
		assert_on_wire(&rig, rig.wire.count - 1, size, size);
	}
	ixy_tx_batch(rig.dev, 0, NULL, 0);
	assert_int_equal(ixy_tx_pending(rig.dev, 0), 0);
	close_rig(&rig);
}

static void a_short_frame_is_padded_with_zeroes(void **state)
{
	struct rig rig;
	struct pkt_buf *frame;
	(void)state;

	open_with(&rig, defaults());
	for (size_t size = 14; size < 60; size++) {
		frame = pkt_buf_alloc(rig.pool);
		memset(frame->data, 0xEE, 2048);
		memcpy(frame->data, peer_mac, 6);
		frame->size = frame->frame_size = (uint32_t)size;
		assert_int_equal(ixy_tx_batch(rig.dev, 0, &frame, 1), 1);
		step(&rig);
		assert_int_equal(rig.wire.sizes[rig.wire.count - 1], 60);
		for (size_t i = size; i < 60; i++)
			assert_int_equal(rig.wire.frames[rig.wire.count - 1][i], 0);
	}
	close_rig(&rig);
}

static void transmit_wraps_around_the_ring_in_any_batch_size(void **state)
{
	static const uint32_t batches[] = {1, 2, 3, 7, 31, 32, 33, 40, 63};
	struct rig rig;
	uint32_t number = 0;
	(void)state;

	open_with(&rig, defaults());
	for (unsigned round = 0; round < 45; round++) {
		struct pkt_buf *frames[64];
		uint32_t n = batches[round % 9];

		for (uint32_t i = 0; i < n; i++)
			frames[i] = outgoing(&rig, number + i, 64 + (number + i) % 500);
		assert_int_equal(ixy_tx_batch(rig.dev, 0, frames, n), n);
		step(&rig);
		number += n;
		ixy_tx_batch(rig.dev, 0, NULL, 0);
		assert_int_equal(ixy_tx_pending(rig.dev, 0), 0);
	}
	assert_int_equal(rig.wire.count, number);
	for (uint32_t i = 0; i < number; i++)
		assert_on_wire(&rig, i, i, 64 + i % 500);
	close_rig(&rig);
}

static void a_full_transmit_ring_takes_what_fits_and_the_caller_keeps_the_rest(void **state)
{
	struct rig rig;
	struct pkt_buf *frames[100];
	(void)state;

	open_with(&rig, defaults());
	for (uint32_t i = 0; i < 100; i++)
		frames[i] = outgoing(&rig, i, 64);
	assert_int_equal(ixy_tx_batch(rig.dev, 0, frames, 100), 63);
	assert_int_equal(ixy_tx_batch(rig.dev, 0, frames + 63, 37), 0);
	step(&rig);
	assert_int_equal(ixy_tx_batch(rig.dev, 0, frames + 63, 37), 37);
	step(&rig);
	for (uint32_t i = 0; i < 100; i++)
		assert_on_wire(&rig, i, i, 64);
	close_rig(&rig);
}

static void a_busy_wait_on_a_dead_ring_ends_and_counts_what_it_gave_up(void **state)
{
	struct rig rig;
	struct pkt_buf *frames[100];
	(void)state;

	open_with(&rig, defaults());
	for (uint32_t i = 0; i < 100; i++)
		frames[i] = outgoing(&rig, i, 64);
	assert_int_equal(ixy_tx_batch_busy_wait(rig.dev, 0, frames, 100), 63);
	assert_int_equal(drops(&rig, IXY_DROP_TX_RING_FULL), 37);
	close_rig(&rig);
}

static void frames_that_cannot_be_sent_are_counted_by_reason(void **state)
{
	struct rig rig;
	struct pkt_buf *frame;
	(void)state;

	open_with(&rig, defaults());
	frame = outgoing(&rig, 1, 1519);
	assert_int_equal(ixy_tx_batch(rig.dev, 0, &frame, 1), 1);
	frame = outgoing(&rig, 1, 100);
	frame->size = frame->frame_size = 13;
	assert_int_equal(ixy_tx_batch(rig.dev, 0, &frame, 1), 1);
	frame = outgoing(&rig, 1, 100);
	frame->flags = PKT_TX_USO;
	assert_int_equal(ixy_tx_batch(rig.dev, 0, &frame, 1), 1);
	step(&rig);
	assert_int_equal(rig.wire.count, 0);
	assert_int_equal(drops(&rig, IXY_DROP_TX_TOO_LONG), 1);
	assert_int_equal(drops(&rig, IXY_DROP_TX_TOO_SHORT), 1);
	assert_int_equal(drops(&rig, IXY_DROP_TX_BAD_OFFLOAD), 1);
	close_rig(&rig);
}

static void a_frame_of_too_many_segments_is_dropped_even_when_the_ring_is_nearly_full(void **state)
{
	struct rig rig;
	struct pkt_buf *frames[30], *frame;
	(void)state;

	open_with(&rig, defaults());
	for (uint32_t i = 0; i < 30; i++)
		frames[i] = outgoing(&rig, i, 64);
	assert_int_equal(ixy_tx_batch(rig.dev, 0, frames, 30), 30);
	frame = outgoing(&rig, 1, 64);
	for (struct pkt_buf *last = frame; frame->segments < 70; last = last->next, frame->segments++) {
		last->next = pkt_buf_alloc(rig.pool);
		last->next->size = 1;
		frame->frame_size++;
	}
	assert_int_equal(ixy_tx_batch(rig.dev, 0, &frame, 1), 1);
	assert_int_equal(drops(&rig, IXY_DROP_TX_TOO_LONG), 1);
	close_rig(&rig);
}

/* --- offloads ------------------------------------------------------------------------------------ */

#define TCP_HEADER 32 /* with options */

/*
 * A TCP frame as the kernel hands it over for offload: lengths filled in, the checksum field holds the
 * pseudo-header sum with the length. Payload bytes count up. Returns the size of the headers.
 */
static size_t make_tcp(uint8_t *f, bool v6, bool vlan, size_t payload)
{
	size_t l3 = vlan ? 18 : 14, l4 = l3 + (v6 ? 40 : 20), l4_size = TCP_HEADER + payload;
	uint16_t sum;

	memset(f, 0, l4 + TCP_HEADER);
	memcpy(f, peer_mac, 6);
	memcpy(f + 6, nic_mac, 6);
	if (vlan)
		memcpy(f + 12, (uint8_t[]){0x81, 0, 0, 42}, 4);
	memcpy(f + l3 - 2, v6 ? (uint8_t[]){0x86, 0xdd} : (uint8_t[]){8, 0}, 2);
	if (v6) {
		f[l3] = 0x60;
		f[l3 + 4] = (uint8_t)(l4_size >> 8);
		f[l3 + 5] = (uint8_t)l4_size;
		f[l3 + 6] = 6;
		f[l3 + 7] = 64;
		f[l3 + 23] = 1;
		f[l3 + 39] = 2;
		sum = checksum_fold(checksum_pseudo6(f + l3 + 8, f + l3 + 24, 6, (uint32_t)l4_size));
	} else {
		f[l3] = 0x45;
		f[l3 + 2] = (uint8_t)((l4_size + 20) >> 8);
		f[l3 + 3] = (uint8_t)(l4_size + 20);
		f[l3 + 4] = 0x12;
		f[l3 + 5] = 0xfe;
		f[l3 + 8] = 64;
		f[l3 + 9] = 6;
		memcpy(f + l3 + 12, (uint8_t[]){10, 0, 0, 1, 10, 0, 0, 2}, 8);
		sum = checksum_finish(checksum_add(0, f + l3, 20));
		memcpy(f + l3 + 10, &sum, 2);
		sum = checksum_fold(checksum_pseudo4(f + l3 + 12, f + l3 + 16, 6, (uint32_t)l4_size));
	}
	memcpy(f + l4, (uint8_t[]){0x30, 0x39, 0, 80, 0xff, 0xff, 0xff, 0x00},
		8); /* the sequence number wraps */
	f[l4 + 12] = TCP_HEADER / 4 << 4;
	f[l4 + 13] = 0x19; /* ACK PSH FIN */
	memcpy(f + l4 + 16, &sum, 2);
	memcpy(f + l4 + 20, (uint8_t[]){1, 1, 8, 10, 1, 2, 3, 4, 5, 6, 7, 8}, 12);
	for (size_t i = 0; i < payload; i++)
		f[l4 + TCP_HEADER + i] = (uint8_t)(i * 7 + i / 256);
	return l4 + TCP_HEADER;
}

static struct pkt_buf *offload_frame(
	struct rig *rig, bool v6, bool vlan, size_t payload, uint16_t flags, uint16_t mss, size_t *headers)
{
	static uint8_t bytes[70000];
	struct pkt_buf *first = NULL, *last = NULL;
	size_t at = 0, size;

	*headers = make_tcp(bytes, v6, vlan, payload);
	size = *headers + payload;
	while (at < size) {
		struct pkt_buf *buf = pkt_buf_alloc(rig->pool);
		size_t n = size - at < 2048 ? size - at : 2048;

		memcpy(buf->data, bytes + at, n);
		buf->size = (uint32_t)n;
		at += n;
		if (first) {
			last->next = buf;
			first->segments++;
		} else {
			first = buf;
		}
		last = buf;
	}
	first->frame_size = (uint32_t)size;
	first->flags = flags;
	first->csum_start = (uint16_t)(*headers - TCP_HEADER);
	first->csum_offset = 16;
	first->gso_size = mss;
	first->header_size = (uint16_t)*headers;
	return first;
}

/* Every frame on the wire is whole: IP length, IP checksum, TCP checksum; payloads make up the sent bytes. */
static void assert_segments(const struct rig *rig, bool v6, bool vlan, size_t payload, size_t mss)
{
	size_t l3 = vlan ? 18 : 14, l4 = l3 + (v6 ? 40 : 20), at = 0;

	assert_int_equal(rig->wire.count, (payload + mss - 1) / mss);
	for (size_t i = 0; i < rig->wire.count; i++) {
		const uint8_t *f = rig->wire.frames[i];
		size_t n = payload - at < mss ? payload - at : mss, l4_size = TCP_HEADER + n;
		bool last = i == rig->wire.count - 1;
		uint32_t seq = (uint32_t)f[l4 + 4] << 24 | (uint32_t)f[l4 + 5] << 16 |
			       (uint32_t)f[l4 + 6] << 8 | f[l4 + 7];
		uint64_t pseudo;

		assert_int_equal(rig->wire.sizes[i], l4 + l4_size);
		if (v6) {
			assert_int_equal(f[l3 + 4] << 8 | f[l3 + 5], l4_size);
			pseudo = checksum_pseudo6(f + l3 + 8, f + l3 + 24, 6, (uint32_t)l4_size);
		} else {
			assert_int_equal(f[l3 + 2] << 8 | f[l3 + 3], l4_size + 20);
			assert_int_equal((uint16_t)(f[l3 + 4] << 8 | f[l3 + 5]), (uint16_t)(0x12fe + i));
			assert_int_equal(checksum_finish(checksum_add(0, f + l3, 20)), 0);
			pseudo = checksum_pseudo4(f + l3 + 12, f + l3 + 16, 6, (uint32_t)l4_size);
		}
		assert_int_equal(checksum_finish(checksum_add(pseudo, f + l4, l4_size)), 0);
		assert_int_equal(seq, (uint32_t)(0xffffff00 + at));
		assert_int_equal(f[l4 + 13], last ? 0x19 : 0x10);
		for (size_t j = 0; j < n; j++, at++)
			assert_int_equal(f[l4 + TCP_HEADER + j], (uint8_t)(at * 7 + at / 256));
	}
	assert_int_equal(at, payload);
}

static void a_partial_checksum_is_completed_by_the_nic(void **state)
{
	struct rig rig;
	size_t headers;
	(void)state;

	open_with(&rig, defaults());
	for (unsigned i = 0; i < 4; i++) {
		struct pkt_buf *frame = offload_frame(&rig, i & 1, i & 2, 999, PKT_TX_L4_CSUM, 0, &headers);

		assert_int_equal(ixy_tx_batch(rig.dev, 0, &frame, 1), 1);
		step(&rig);
		/* One segment: the IPv4 id stays, flags stay. */
		assert_segments(&rig, i & 1, i & 2, 999, 1000);
		forget(&rig.wire);
	}
	ixy_tx_batch(rig.dev, 0, NULL, 0);
	close_rig(&rig);
}

static void a_super_frame_is_cut_by_the_nic(void **state)
{
	static const size_t payloads[] = {1, 1000, 1001, 5000, 60000};
	struct rig rig;
	size_t headers;
	(void)state;

	open_with(&rig, defaults());
	for (unsigned i = 0; i < 4; i++) {
		for (unsigned j = 0; j < 5; j++) {
			bool v6 = i & 1, vlan = i & 2;
			struct pkt_buf *frame = offload_frame(
				&rig, v6, vlan, payloads[j], v6 ? PKT_TX_TSO6 : PKT_TX_TSO4, 1000, &headers);

			assert_int_equal(ixy_tx_batch(rig.dev, 0, &frame, 1), 1);
			step(&rig);
			assert_segments(&rig, v6, vlan, payloads[j], 1000);
			forget(&rig.wire);
			ixy_tx_batch(rig.dev, 0, NULL, 0);
		}
	}
	close_rig(&rig);
}

static void one_flow_needs_one_context(void **state)
{
	struct rig rig;
	size_t headers;
	uint32_t first;
	(void)state;

	open_with(&rig, defaults());
	for (unsigned i = 0; i < 5; i++) {
		struct pkt_buf *frame = offload_frame(&rig, false, false, 500, PKT_TX_L4_CSUM, 0, &headers);

		assert_int_equal(ixy_tx_batch(rig.dev, 0, &frame, 1), 1);
	}
	first = ixy_tx_pending(rig.dev, 0);
	assert_int_equal(first, 5 + 1);
	step(&rig);
	assert_int_equal(rig.wire.count, 5);
	close_rig(&rig);
}

static void an_offload_request_that_does_not_fit_its_frame_is_dropped(void **state)
{
	struct rig rig;
	uint64_t bad = 0, last = 0;
	size_t headers;
	(void)state;

	open_with(&rig, defaults());
	for (unsigned i = 0; i < 8; i++) {
		struct pkt_buf *frame = offload_frame(&rig, false, false, 3000, PKT_TX_TSO4, 1000, &headers);

		switch (i) {
		case 0: frame->csum_start = 60000; break;
		case 1: frame->csum_start = 5; break;
		case 2: frame->csum_offset = 7; break;
		case 3: frame->gso_size = 0; break;
		case 4: frame->flags = PKT_TX_TSO6; break;
		case 5: frame->data[12] = 0x12; break;
		case 6: frame->data[46] = 0x10; break; /* TCP data offset 1 */
		case 7: frame->flags = PKT_TX_USO; break;
		}
		last = pkt_buf_wire_frames(frame);
		bad += last;
		assert_int_equal(ixy_tx_batch(rig.dev, 0, &frame, 1), 1);
	}
	step(&rig);
	assert_int_equal(rig.wire.count, 0);
	/* Each counts as the frames that it stands for. Nobody cuts the last, so it is just too long. */
	assert_int_equal(drops(&rig, IXY_DROP_TX_BAD_OFFLOAD), bad - last);
	assert_int_equal(drops(&rig, IXY_DROP_TX_TOO_LONG), last);
	assert_traffic_flows(&rig);
	close_rig(&rig);
}

/* --- receiving ----------------------------------------------------------------------------------- */

static void frames_arrive_as_they_were_on_the_wire(void **state)
{
	struct rig rig;
	(void)state;

	open_with(&rig, defaults());
	for (uint32_t i = 0; i < 500; i++) {
		arrive(&rig, i, 60 + i * 7 % 1455);
		assert_received(&rig, 0, i, 60 + i * 7 % 1455);
	}
	assert_nothing_received(&rig);
	close_rig(&rig);
}

static void a_burst_fills_the_ring_and_the_rest_is_counted_by_the_nic(void **state)
{
	struct rig rig;
	struct pkt_buf *frames[128];
	uint32_t n;
	(void)state;

	open_with(&rig, defaults());
	for (uint32_t i = 0; i < 100; i++)
		arrive(&rig, i, 64);
	n = ixy_rx_batch(rig.dev, 0, frames, 128);
	assert_int_equal(n, 63);
	pkt_buf_free_batch(frames, n);
	assert_int_equal(drops(&rig, IXY_DROP_RX_NO_DESCRIPTOR), 37);
	assert_traffic_flows(&rig);
	close_rig(&rig);
}

static void an_exhausted_pool_shortens_the_ring_and_recovers(void **state)
{
	struct rig rig;
	struct pkt_buf *held[2048];
	uint32_t n = 0, arrived = 0;
	(void)state;

	open_with(&rig, defaults());
	for (unsigned i = 0; i < 200; i++) {
		for (unsigned j = 0; j < 10; j++)
			arrive(&rig, arrived++, 64);
		n += ixy_rx_batch(rig.dev, 0, held + n, 2048 - n);
	}
	assert_int_equal(n, ixgbe(rig.dev)->rx[0].pool->buf_count);
	assert_int_equal(drops(&rig, IXY_DROP_RX_NO_DESCRIPTOR), arrived - n);
	assert_true(ixgbe(rig.dev)->rx[0].pool->exhausted > 0);
	pkt_buf_free_batch(held, n);
	assert_nothing_received(&rig); /* but this look refilled the ring */
	assert_traffic_flows(&rig);
	close_rig(&rig);
}

static void a_dry_pool_does_not_ring_the_doorbell(void **state)
{
	struct rig rig;
	struct pkt_buf *held[2048];
	struct ixgbe_rx_queue *q;
	uint32_t n = 0;
	(void)state;

	open_with(&rig, defaults());
	q = &ixgbe(rig.dev)->rx[0];
	while (n < q->pool->buf_count) {
		arrive(&rig, n, 64);
		n += ixy_rx_batch(rig.dev, 0, held + n, 2048 - n);
	}
	make_liar(rig.dev->pci);
	liar.counted = RDT(0);
	q->tail.reg = NULL; /* from here on by message */
	for (unsigned i = 0; i < 100; i++)
		assert_nothing_received(&rig);
	assert_int_equal(liar.count, 0);
	pkt_buf_free_batch(held, n);
	assert_nothing_received(&rig);
	assert_int_equal(liar.count, 1);
	close_rig(&rig);
}

static void jumbo_frames_are_chains_both_ways(void **state)
{
	struct rig rig;
	struct ixy_options options = defaults();
	(void)state;

	options.mtu = 9710;
	open_with(&rig, options);
	for (size_t size = 2000; size <= 9724; size += 1) {
		struct pkt_buf *frame;

		if (size == 2100)
			size = 4090;
		if (size == 4110)
			size = 9720;
		frame = outgoing(&rig, (uint32_t)size, size);
		assert_int_equal(ixy_tx_batch(rig.dev, 0, &frame, 1), 1);
		step(&rig);
		assert_on_wire(&rig, rig.wire.count - 1, (uint32_t)size, size);
		arrive(&rig, (uint32_t)size, size);
		assert_received(&rig, 0, (uint32_t)size, size);
	}
	close_rig(&rig);
}

static void the_mtu_decides_what_the_nic_lets_in(void **state)
{
	struct rig rig;
	(void)state;

	open_with(&rig, defaults());
	arrive(&rig, 1, 1514);
	assert_received(&rig, 0, 1, 1514);
	arrive(&rig, 2, 1515);
	assert_nothing_received(&rig);
	assert_int_equal(drops(&rig, IXY_DROP_RX_ERROR), 1);
	assert_int_equal(ixy_mtu_set(rig.dev, 3000), 0);
	arrive(&rig, 3, 3014);
	assert_received(&rig, 0, 3, 3014);
	assert_int_equal(ixy_mtu_set(rig.dev, 9711), -EINVAL);
	assert_int_equal(ixy_mtu_set(rig.dev, 67), -EINVAL);
	assert_int_equal(ixy_mtu_get(rig.dev), 3000);
	close_rig(&rig);
}

static void only_frames_for_this_nic_come_in(void **state)
{
	static const struct ixy_mac other = {{0x02, 1, 2, 3, 4, 5}}, group = {{0x01, 0, 0x5e, 1, 2, 3}};
	struct rig rig;
	uint8_t frame[64];
	(void)state;

	open_with(&rig, defaults());
#define ARRIVES(mac, yes)                                                 \
	do {                                                              \
		struct pkt_buf *buf;                                      \
		make_frame(frame, true, 5, 64);                           \
		memcpy(frame, mac, 6);                                    \
		nic_receive(rig.nic, frame, 64);                          \
		nic_receive_flush(rig.nic);                               \
		assert_int_equal(ixy_rx_batch(rig.dev, 0, &buf, 1), yes); \
		if (yes)                                                  \
			pkt_buf_free(buf);                                \
	} while (0)
	ARRIVES(nic_mac, 1);
	ARRIVES("\xff\xff\xff\xff\xff\xff", 1);
	ARRIVES(other.addr, 0);
	ARRIVES(group.addr, 0);
	assert_int_equal(ixy_set_promisc(rig.dev, true), 0);
	ARRIVES(other.addr, 1);
	ARRIVES(group.addr, 1);
	assert_int_equal(ixy_set_promisc(rig.dev, false), 0);
	ARRIVES(other.addr, 0);
	assert_int_equal(ixy_set_allmulti(rig.dev, true), 0);
	ARRIVES(group.addr, 1);
	ARRIVES(other.addr, 0);
	assert_int_equal(ixy_set_allmulti(rig.dev, false), 0);
	assert_int_equal(ixy_set_multicast(rig.dev, &group, 1), 0);
	ARRIVES(group.addr, 1);
	assert_int_equal(ixy_reset(rig.dev), 0); /* filters survive a reset */
	nic_wire_carrier(rig.nic, true);
	ARRIVES(group.addr, 1);
	assert_int_equal(ixy_set_multicast(rig.dev, NULL, 0), 0);
	ARRIVES(group.addr, 0);
	assert_int_equal(ixy_set_unicast(rig.dev, &other, 1), 0);
	ARRIVES(other.addr, 1);
	ARRIVES(nic_mac, 1);
	assert_int_equal(ixy_set_unicast(rig.dev, NULL, 0), 0);
	ARRIVES(other.addr, 0);
	assert_int_equal(ixy_mac_set(rig.dev, other), 0);
	ARRIVES(other.addr, 1);
	ARRIVES(nic_mac, 0);
	assert_int_equal(ixy_mac_set(rig.dev, group), -EINVAL);
	assert_int_equal(ixy_mac_set(rig.dev, (struct ixy_mac){{0}}), -EINVAL);
	close_rig(&rig);
}

static void flows_spread_over_the_queues_and_stay_on_theirs(void **state)
{
	struct rig rig;
	struct ixy_options options = defaults();
	unsigned used = 0;
	(void)state;

	options.rx_queues = options.tx_queues = 4;
	open_with(&rig, options);
	for (uint32_t flow = 0; flow < 64; flow++) {
		int queue = -1;

		for (unsigned again = 0; again < 3; again++) {
			struct pkt_buf *buf;

			arrive(&rig, flow, 100);
			for (uint16_t q = 0; q < 4; q++) {
				if (!ixy_rx_batch(rig.dev, q, &buf, 1))
					continue;
				assert_true(queue < 0 || queue == q);
				assert_true(buf->flags & PKT_RX_RSS_HASH);
				queue = q;
				pkt_buf_free(buf);
			}
			assert_true(queue >= 0);
		}
		used |= 1u << queue;
	}
	assert_int_equal(used, 0xF);
	for (uint16_t q = 0; q < 4; q++) {
		struct pkt_buf *frame = outgoing(&rig, q, 80);

		assert_int_equal(ixy_tx_batch(rig.dev, q, &frame, 1), 1);
		step(&rig);
		assert_on_wire(&rig, q, q, 80);
	}
	close_rig(&rig);
}

static void sixteen_queues_work(void **state)
{
	struct rig rig;
	struct ixy_options options = defaults();
	(void)state;

	options.rx_queues = options.tx_queues = 16;
	open_with(&rig, options);
	for (uint16_t q = 0; q < 16; q++) {
		struct pkt_buf *frame = outgoing(&rig, q, 80);

		assert_int_equal(ixy_tx_batch(rig.dev, q, &frame, 1), 1);
		step(&rig);
		assert_on_wire(&rig, q, q, 80);
	}
	close_rig(&rig);
}

static bool readable(int fd)
{
	struct pollfd p = {.fd = fd, .events = POLLIN};

	return poll(&p, 1, 0) == 1;
}

static void an_interrupt_tells_of_every_frame_after_arming(void **state)
{
	struct rig rig;
	int fd;
	(void)state;

	open_with(&rig, defaults());
	fd = ixy_rx_irq_fd(rig.dev, 0);
	assert_true(fd >= 0);
	for (uint32_t i = 0; i < 20; i++) {
		ixy_rx_irq_arm(rig.dev, 0);
		assert_nothing_received(&rig);
		assert_false(readable(fd));
		arrive(&rig, i, 64);
		/* The interval of EITR may hold the interrupt back, but not for ever. */
		for (unsigned tries = 0; tries < 1000 && !readable(fd); tries++) {
			usleep(100);
			nic_irq_poll(rig.nic, nic_now_us());
		}
		assert_true(readable(fd));
		assert_received(&rig, 0, i, 64);
	}
	close_rig(&rig);
}

static void a_long_interrupt_interval_is_the_longest_that_there_is(void **state)
{
	struct rig rig;
	struct ixy_options options = defaults();
	(void)state;

	options.irq_interval_us = 1024;
	open_with(&rig, options);
	assert_int_equal(nic_reg(rig.nic, EITR(0)) & EITR_INTERVAL_MASK, EITR_INTERVAL_MASK);
	close_rig(&rig);
}

static void without_interrupts_there_is_nothing_to_wait_on(void **state)
{
	struct rig rig;
	struct ixy_options options = defaults();
	(void)state;

	options.no_interrupts = true;
	open_with(&rig, options);
	assert_int_equal(ixy_rx_irq_fd(rig.dev, 0), -ENOTSUP);
	assert_non_null(strstr(ixy_last_error(), "no interrupts"));
	assert_int_equal(ixy_event_fd(rig.dev), -ENOTSUP);
	assert_false(ixy_capabilities(rig.dev) & IXY_CAP_INTERRUPTS);
	assert_traffic_flows(&rig);
	close_rig(&rig);
}

static void a_cable_pull_is_an_event_and_frames_are_dropped_by_name(void **state)
{
	struct rig rig;
	struct pkt_buf *frame;
	(void)state;

	open_with(&rig, defaults());
	ixy_poll_events(rig.dev);
	nic_wire_carrier(rig.nic, false);
	assert_true(readable(ixy_event_fd(rig.dev)));
	assert_int_equal(ixy_poll_events(rig.dev), IXY_EVENT_LINK);
	assert_false(ixy_link_get(rig.dev).up);
	frame = outgoing(&rig, 1, 64);
	assert_int_equal(ixy_tx_batch(rig.dev, 0, &frame, 1), 1);
	assert_int_equal(drops(&rig, IXY_DROP_TX_LINK_DOWN), 1);
	nic_wire_carrier(rig.nic, true);
	assert_int_equal(ixy_poll_events(rig.dev), IXY_EVENT_LINK);
	assert_true(ixy_link_get(rig.dev).up);
	assert_traffic_flows(&rig);
	close_rig(&rig);
}

static void admin_down_turns_the_laser_off(void **state)
{
	struct rig rig;
	(void)state;

	open_with(&rig, defaults());
	assert_true(nic_laser_on(rig.nic));
	assert_int_equal(ixy_set_up(rig.dev, false), 0);
	assert_false(nic_laser_on(rig.nic));
	ixy_poll_events(rig.dev);
	assert_false(ixy_link_get(rig.dev).up);
	arrive(&rig, 1, 64);
	assert_nothing_received(&rig);
	assert_int_equal(ixy_reset(rig.dev), 0); /* a reset does not bring it up */
	assert_false(nic_laser_on(rig.nic));
	assert_int_equal(ixy_set_up(rig.dev, true), 0);
	ixy_poll_events(rig.dev);
	assert_true(ixy_link_get(rig.dev).up);
	assert_traffic_flows(&rig);
	close_rig(&rig);
}

static void an_attempt_to_come_up_that_failed_can_be_repeated(void **state)
{
	struct rig rig;
	(void)state;

	open_with(&rig, defaults());
	make_liar(rig.dev->pci);
	assert_int_equal(ixy_set_up(rig.dev, false), 0);
	liar.reg = SECRXSTAT;
	assert_int_equal(ixy_set_up(rig.dev, true), -ETIMEDOUT);
	assert_false(nic_laser_on(rig.nic));
	liar.reg = 0;
	assert_int_equal(ixy_set_up(rig.dev, true), 0);
	assert_true(nic_laser_on(rig.nic));
	ixy_poll_events(rig.dev);
	assert_traffic_flows(&rig);
	close_rig(&rig);
}

/* --- faults -------------------------------------------------------------------------------------- */

static void a_bad_write_back_is_counted_and_nothing_leaks(void **state)
{
	static const struct {
		const char *fault;
		enum ixy_drop reason;
		unsigned frames; /* to send; the fault strikes on the first */
	} cases[] = {
		{"rx-length-zero", IXY_DROP_RX_BAD_DESCRIPTOR, 1},
		{"rx-length-over", IXY_DROP_RX_BAD_DESCRIPTOR, 1},
		{"rx-bad-status", IXY_DROP_RX_ERROR, 1},
	};
	struct rig rig;
	(void)state;

	open_with(&rig, defaults());
	for (unsigned i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		uint64_t before = drops(&rig, cases[i].reason);

		assert_int_equal(nic_fault_set(rig.nic, cases[i].fault, 1), 0);
		arrive(&rig, 1, 64);
		assert_nothing_received(&rig);
		assert_int_equal(drops(&rig, cases[i].reason), before + 1);
		assert_traffic_flows(&rig);
	}
	close_rig(&rig);
}

static void a_short_buffer_without_eop_is_dropped_and_the_next_frame_is_whole(void **state)
{
	struct rig rig;
	struct pkt_buf *frame;
	(void)state;

	open_with(&rig, defaults());
	assert_int_equal(nic_fault_set(rig.nic, "rx-no-eop", 200), 0);
	for (uint32_t i = 0; i < 200; i++) {
		arrive(&rig, i, 64);
		assert_int_equal(ixy_rx_batch(rig.dev, 0, &frame, 1), 0);
	}
	assert_int_equal(drops(&rig, IXY_DROP_RX_BAD_DESCRIPTOR), 200);
	assert_traffic_flows(&rig);
	close_rig(&rig);
}

static void a_frame_that_never_ends_is_given_up(void **state)
{
	struct ixy_options options = defaults();
	struct rig rig;
	struct pkt_buf *frame;
	(void)state;

	options.mtu = 9000;
	open_with(&rig, options);
	/* Full buffers, so that each may well go on in the next. */
	assert_int_equal(nic_fault_set(rig.nic, "rx-no-eop", 200), 0);
	for (uint32_t i = 0; i < 200; i++) {
		arrive(&rig, i, 2048);
		assert_int_equal(ixy_rx_batch(rig.dev, 0, &frame, 1), 0);
	}
	assert_true(drops(&rig, IXY_DROP_RX_BAD_DESCRIPTOR) > 0);
	arrive(&rig, 1, 64); /* its EOP ends what was given up */
	assert_nothing_received(&rig);
	assert_traffic_flows(&rig);
	close_rig(&rig);
}

static void keep_sending(struct rig *rig)
{
	struct pkt_buf *frame = outgoing(rig, 1, 64);

	if (ixy_tx_batch(rig->dev, 0, &frame, 1) == 0)
		pkt_buf_free(frame);
	step(rig);
}

static void a_hung_transmit_queue_is_reset(void **state)
{
	static const char *const faults[] = {"tx-hang", "tx-stall"};
	struct rig rig;
	(void)state;

	open_with(&rig, defaults());
	for (unsigned i = 0; i < 2; i++) {
		assert_int_equal(nic_fault_set(rig.nic, faults[i], UINT64_MAX), 0);
		assert_true(event_within_a_second(&rig, IXY_EVENT_RESET, keep_sending));
		assert_int_equal(ixy_reset(rig.dev), 0);
		nic_fault_set(rig.nic, faults[i], 0);
		ixy_poll_events(rig.dev);
		assert_true(ixy_link_get(rig.dev).up);
		assert_true(drops(&rig, IXY_DROP_TX_RESET) > 0);
		assert_traffic_flows(&rig);
	}
	close_rig(&rig);
}

static void keep_receiving(struct rig *rig)
{
	struct pkt_buf *frame;

	arrive(rig, 1, 64);
	if (ixy_rx_batch(rig->dev, 0, &frame, 1))
		pkt_buf_free(frame);
}

static void a_hung_receive_queue_is_reset(void **state)
{
	struct rig rig;
	(void)state;

	open_with(&rig, defaults());
	assert_int_equal(nic_fault_set(rig.nic, "rx-hang", UINT64_MAX), 0);
	assert_true(event_within_a_second(&rig, IXY_EVENT_RESET, keep_receiving));
	assert_int_equal(ixy_reset(rig.dev), 0);
	ixy_poll_events(rig.dev);
	assert_traffic_flows(&rig);
	close_rig(&rig);
}

/* One frame, then a time in which nothing comes: 600 ms, three looks of the driver. */
static void receive_now_and_then(struct rig *rig)
{
	static unsigned turn;

	if (turn++ % 12 == 0)
		arrive(rig, 1, 64);
}

static void a_hung_receive_queue_on_a_quiet_wire_is_reset(void **state)
{
	struct rig rig;
	bool found = false;
	(void)state;

	open_with(&rig, defaults());
	assert_int_equal(nic_fault_set(rig.nic, "rx-hang", UINT64_MAX), 0);
	for (unsigned seconds = 0; seconds < 5 && !found; seconds++)
		found = event_within_a_second(&rig, IXY_EVENT_RESET, receive_now_and_then);
	assert_true(found);
	assert_int_equal(ixy_reset(rig.dev), 0);
	ixy_poll_events(rig.dev);
	assert_traffic_flows(&rig);
	close_rig(&rig);
}

static void an_idle_or_busy_queue_is_not_taken_for_hung(void **state)
{
	struct rig rig;
	(void)state;

	open_with(&rig, defaults());
	assert_false(event_within_a_second(&rig, IXY_EVENT_RESET, step));
	assert_false(event_within_a_second(&rig, IXY_EVENT_RESET, keep_sending));
	forget(&rig.wire);
	close_rig(&rig);
}

static void overload_one_queue(struct rig *rig)
{
	for (unsigned i = 0; i < 70; i++)
		arrive(rig, 1, 64);
}

static void an_idle_queue_beside_an_overloaded_one_is_not_taken_for_hung(void **state)
{
	struct ixy_options options = defaults();
	struct rig rig;
	(void)state;

	options.rx_queues = options.tx_queues = 4;
	open_with(&rig, options);
	assert_false(event_within_a_second(&rig, IXY_EVENT_RESET, overload_one_queue));
	assert_true(drops(&rig, IXY_DROP_RX_NO_DESCRIPTOR) > 0);
	close_rig(&rig);
}

static void a_removed_device_is_noticed_and_can_be_closed(void **state)
{
	struct rig rig;
	(void)state;

	open_with(&rig, defaults());
	assert_int_equal(nic_fault_set(rig.nic, "removed", UINT64_MAX), 0);
	assert_int_equal(ixy_poll_events(rig.dev), IXY_EVENT_GONE);
	assert_int_equal(ixy_poll_events(rig.dev), IXY_EVENT_GONE);
	assert_false(ixy_link_get(rig.dev).up);
	assert_int_equal(ixy_reset(rig.dev), -ENODEV);
	close_rig(&rig);
}

static void all_ones_from_a_statistics_register_are_no_count(void **state)
{
	static const uint32_t registers[] = {GPRC, CRCERRS, RUC, MPC(3), QPRDC(0)};
	struct rig rig;
	struct ixy_stats stats;
	(void)state;

	open_with(&rig, defaults());
	make_liar(rig.dev->pci);
	liar.value = UINT32_MAX;
	for (unsigned i = 0; i < sizeof(registers) / sizeof(registers[0]); i++) {
		liar.reg = registers[i];
		ixy_poll_events(rig.dev);
		ixy_read_stats(rig.dev, &stats);
		assert_int_equal(stats.wire_rx_frames, 0);
		assert_int_equal(stats.drops[IXY_DROP_RX_ERROR], 0);
		assert_int_equal(stats.drops[IXY_DROP_RX_NO_DESCRIPTOR], 0);
	}
	liar.reg = 0;
	close_rig(&rig);
}

static void the_first_failure_is_the_one_that_is_told(void **state)
{
	struct rig rig;
	struct pci_device *pci;
	struct ixy_options options = defaults();
	(void)state;

	plug(&rig);
	assert_int_equal(inprocess_open(rig.nic, &pci), 0);
	make_liar(pci);
	liar.reg = RDRXCTL; /* its DMA never gets ready */
	liar.config_fails = false;
	assert_int_equal(ixgbe_driver.open(pci, &options, &rig.dev), -ETIMEDOUT);
	assert_non_null(strstr(ixy_last_error(), "DMA initialisation"));
	liar.config_fails = true; /* so bus mastering cannot be turned off in the end */
	pci_close(pci);
	assert_non_null(strstr(ixy_last_error(), "DMA initialisation"));
	rig.nic->wire = NULL;
	nic_free(rig.nic);
}

static void a_nic_without_a_mac_address_is_refused(void **state)
{
	static const uint8_t none[6] = {0}, group[6] = {0x03, 1, 2, 3, 4, 5};
	struct ixy_options options = defaults();
	(void)state;

	for (unsigned i = 0; i < 2; i++) {
		struct nic *nic = nic_create(0, "test", i ? group : none);
		struct ixy_device *dev;
		struct pci_device *pci;

		assert_non_null(nic);
		assert_int_equal(inprocess_open(nic, &pci), 0);
		assert_int_equal(ixgbe_driver.open(pci, &options, &dev), -EIO);
		assert_non_null(strstr(ixy_last_error(), "MAC address"));
		pci_close(pci);
		nic_free(nic);
	}
}

static void a_device_that_does_not_reset_is_refused(void **state)
{
	struct rig rig;
	struct pci_device *pci;
	struct ixy_options options = defaults();
	(void)state;

	plug(&rig);
	assert_int_equal(nic_fault_set(rig.nic, "reset-stuck", UINT64_MAX), 0);
	assert_int_equal(inprocess_open(rig.nic, &pci), 0);
	assert_int_equal(ixgbe_driver.open(pci, &options, &rig.dev), -ETIMEDOUT);
	assert_non_null(strstr(ixy_last_error(), "reset"));
	pci_close(pci);
	rig.nic->wire = NULL;
	nic_free(rig.nic);
}

static void a_device_whose_dma_does_not_get_quiet_is_reset_twice(void **state)
{
	struct rig rig;
	struct pci_device *pci;
	struct ixy_options options = defaults();
	(void)state;

	plug(&rig);
	assert_int_equal(nic_fault_set(rig.nic, "no-master-done", UINT64_MAX), 0);
	assert_int_equal(inprocess_open(rig.nic, &pci), 0);
	assert_int_equal(ixgbe_driver.open(pci, &options, &rig.dev), 0);
	rig.pool = ixy_mempool_create(rig.dev, 64, 0);
	nic_fault_set(rig.nic, "no-master-done", 0);
	ixy_poll_events(rig.dev);
	assert_traffic_flows(&rig);
	close_rig(&rig);
}

static void bad_options_are_refused_with_a_reason(void **state)
{
	static const struct ixy_options bad[] = {
		{.rx_queues = 17},
		{.tx_queues = 1000},
		{.rx_ring = 100},
		{.tx_ring = 8192},
		{.rx_ring = 32},
		{.mtu = 67},
	};
	struct ixy_device *dev;
	(void)state;

	for (unsigned i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		assert_int_equal(ixy_open("0000:00:00.0", &bad[i], &dev), -EINVAL);
		assert_string_not_equal(ixy_last_error(), "");
	}
	assert_int_equal(ixy_open("nonsense", NULL, &dev), -EINVAL);
	assert_non_null(strstr(ixy_last_error(), "nonsense"));
}

static void statistics_add_up(void **state)
{
	struct rig rig;
	struct ixy_stats stats;
	struct ixy_queue_stats queue;
	struct pkt_buf *frame;
	(void)state;

	open_with(&rig, defaults());
	for (uint32_t i = 0; i < 10; i++) {
		frame = outgoing(&rig, i, 100);
		ixy_tx_batch(rig.dev, 0, &frame, 1);
		step(&rig);
		arrive(&rig, i, 200);
		assert_received(&rig, 0, i, 200);
	}
	ixy_poll_events(rig.dev);
	ixy_read_stats(rig.dev, &stats);
	ixy_read_queue_stats(rig.dev, 0, &queue);
	assert_int_equal(stats.rx_frames, 10);
	assert_int_equal(stats.rx_bytes, 2000);
	assert_int_equal(stats.tx_frames, 10);
	assert_int_equal(stats.tx_bytes, 1000);
	assert_int_equal(stats.wire_rx_frames, 10);
	assert_int_equal(stats.wire_tx_frames, 10);
	assert_int_equal(queue.rx_frames, 10);
	assert_int_equal(queue.tx_bytes, 1000);
	for (unsigned i = 0; i < IXY_DROP_COUNT; i++)
		assert_int_equal(stats.drops[i], 0);
	close_rig(&rig);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(an_opened_device_has_the_eeprom_mac_and_a_link),
		cmocka_unit_test(frames_leave_as_they_were_queued),
		cmocka_unit_test(a_short_frame_is_padded_with_zeroes),
		cmocka_unit_test(transmit_wraps_around_the_ring_in_any_batch_size),
		cmocka_unit_test(a_full_transmit_ring_takes_what_fits_and_the_caller_keeps_the_rest),
		cmocka_unit_test(a_busy_wait_on_a_dead_ring_ends_and_counts_what_it_gave_up),
		cmocka_unit_test(frames_that_cannot_be_sent_are_counted_by_reason),
		cmocka_unit_test(a_frame_of_too_many_segments_is_dropped_even_when_the_ring_is_nearly_full),
		cmocka_unit_test(a_partial_checksum_is_completed_by_the_nic),
		cmocka_unit_test(a_super_frame_is_cut_by_the_nic),
		cmocka_unit_test(one_flow_needs_one_context),
		cmocka_unit_test(an_offload_request_that_does_not_fit_its_frame_is_dropped),
		cmocka_unit_test(frames_arrive_as_they_were_on_the_wire),
		cmocka_unit_test(a_burst_fills_the_ring_and_the_rest_is_counted_by_the_nic),
		cmocka_unit_test(an_exhausted_pool_shortens_the_ring_and_recovers),
		cmocka_unit_test(a_dry_pool_does_not_ring_the_doorbell),
		cmocka_unit_test(jumbo_frames_are_chains_both_ways),
		cmocka_unit_test(the_mtu_decides_what_the_nic_lets_in),
		cmocka_unit_test(only_frames_for_this_nic_come_in),
		cmocka_unit_test(flows_spread_over_the_queues_and_stay_on_theirs),
		cmocka_unit_test(sixteen_queues_work),
		cmocka_unit_test(an_interrupt_tells_of_every_frame_after_arming),
		cmocka_unit_test(a_long_interrupt_interval_is_the_longest_that_there_is),
		cmocka_unit_test(without_interrupts_there_is_nothing_to_wait_on),
		cmocka_unit_test(a_cable_pull_is_an_event_and_frames_are_dropped_by_name),
		cmocka_unit_test(admin_down_turns_the_laser_off),
		cmocka_unit_test(an_attempt_to_come_up_that_failed_can_be_repeated),
		cmocka_unit_test(a_bad_write_back_is_counted_and_nothing_leaks),
		cmocka_unit_test(a_short_buffer_without_eop_is_dropped_and_the_next_frame_is_whole),
		cmocka_unit_test(a_frame_that_never_ends_is_given_up),
		cmocka_unit_test(a_hung_transmit_queue_is_reset),
		cmocka_unit_test(a_hung_receive_queue_is_reset),
		cmocka_unit_test(a_hung_receive_queue_on_a_quiet_wire_is_reset),
		cmocka_unit_test(an_idle_or_busy_queue_is_not_taken_for_hung),
		cmocka_unit_test(an_idle_queue_beside_an_overloaded_one_is_not_taken_for_hung),
		cmocka_unit_test(a_removed_device_is_noticed_and_can_be_closed),
		cmocka_unit_test(all_ones_from_a_statistics_register_are_no_count),
		cmocka_unit_test(the_first_failure_is_the_one_that_is_told),
		cmocka_unit_test(a_nic_without_a_mac_address_is_refused),
		cmocka_unit_test(a_device_that_does_not_reset_is_refused),
		cmocka_unit_test(a_device_whose_dma_does_not_get_quiet_is_reset_twice),
		cmocka_unit_test(bad_options_are_refused_with_a_reason),
		cmocka_unit_test(statistics_add_up),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
