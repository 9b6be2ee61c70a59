/*
 * The ixy device on AF_XDP, against the real kernel: frames byte by byte in both directions, whose each buffer is
 * at any time, filters, life and death.
 */
#include "xdp_rig.h"

#include <poll.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <linux/capability.h>

#define JUMBO 9014

/* --- receiving --------------------------------------------------------------------------------------- */

static void frames_of_all_sizes_arrive_byte_for_byte(void **state)
{
	struct xdp_rig *rig = *state;
	uint8_t frame[1600], got[1600];

	rig_open(rig, "xdp:d0", NULL);
	for (size_t size = 14; size <= 1518; size += size < 70 ? 1 : 37) {
		struct pkt_buf *buf;

		make_frame(frame, size, &rig->mac, (uint32_t)size);
		if (size > 1514) { /* what is longer than the MTU allows has a VLAN tag */
			frame[12] = 0x81;
			frame[13] = 0x00;
		}
		rig_send(rig, frame, size);
		buf = rig_take(rig);
		assert_non_null(buf);
		assert_int_equal(buf->segments, 1);
		assert_int_equal(flatten(buf, got, sizeof(got)), size);
		assert_memory_equal(got, frame, size);
		assert_int_equal(buf->flags, 0);
		pkt_buf_free(buf);
	}
	assert_int_equal(rig_missing(rig), 0);
}

/* Strict ownership: under load no frame comes twice, none is lost unless counted, no buffer has two holders. */
static void under_load_every_frame_comes_once_and_each_buffer_has_one_holder(void **state)
{
	enum { TOTAL = 20000, HELD = 700 };
	struct xdp_rig *rig = *state;
	const struct ixy_options options = {.rx_ring = 256};
	struct pkt_buf *held[HELD] = {0};
	static bool seen[TOTAL];
	struct ixy_stats stats;
	uint32_t sent = 0, got = 0, slot = 0;
	uint64_t quiet = 0;

	memset(seen, 0, sizeof(seen));
	rig_open(rig, "xdp:d0", &options);
	while (!quiet || rig_now_ms() < quiet + 300) {
		struct pkt_buf *bufs[64];
		uint32_t n;

		for (unsigned i = 0; i < 100 && sent < TOTAL; i++) {
			uint8_t frame[200];

			make_frame(frame, sizeof(frame), &rig->mac, sent++);
			rig_send(rig, frame, sizeof(frame));
		}
		n = ixy_rx_batch(rig->dev, 0, bufs, 64);
		if (n > 0 || sent < TOTAL)
			quiet = rig_now_ms();
		for (uint32_t i = 0; i < n; i++) {
			uint8_t want[200];
			uint32_t number;

			memcpy(&number, bufs[i]->data + 14, 4);
			assert_true(number < TOTAL);
			assert_false(seen[number]);
			seen[number] = true;
			make_frame(want, sizeof(want), &rig->mac, number);
			assert_int_equal(bufs[i]->size, sizeof(want));
			assert_memory_equal(bufs[i]->data, want, sizeof(want));
			/* Keep the last ones for a while, marked: nobody else may write there. */
			if (held[slot]) {
				for (unsigned j = 0; j < 200; j++)
					assert_int_equal(held[slot]->data[j], 0xEE);
				pkt_buf_free(held[slot]);
			}
			memset(bufs[i]->data, 0xEE, 200);
			held[slot] = bufs[i];
			slot = (slot + 1) % HELD;
		}
		got += n;
	}
	ixy_read_stats(rig->dev, &stats);
	assert_true(got > TOTAL / 10);
	/* The socket's losses are counted; what the veth's own ring dropped, at the sender. */
	assert_int_equal(stats.rx_frames, got);
	assert_int_equal(stats.wire_rx_frames, got + stats.drops[IXY_DROP_RX_NO_DESCRIPTOR]);
	assert_true(shell(
		"test $(($(cat /sys/class/net/p0/statistics/tx_dropped 2>/dev/null || echo 0))) -ge 0"));
	for (uint32_t i = 0; i < HELD; i++)
		pkt_buf_free(held[i]);
	assert_int_equal(rig_missing(rig), 0);
}

static void a_caller_that_keeps_all_buffers_starves_and_recovers(void **state)
{
	struct xdp_rig *rig = *state;
	const struct ixy_options options = {.rx_ring = 64};
	struct pkt_buf **held = calloc(4096, sizeof(*held));
	uint32_t count = 0, pool;
	uint8_t frame[100];

	rig_open(rig, "xdp:d0", &options);
	pool = rig_queue(rig)->pool->buf_count;
	make_frame(frame, sizeof(frame), &rig->mac, 1);
	for (uint32_t i = 0; i < pool + 500; i++) {
		rig_send(rig, frame, sizeof(frame));
		count += ixy_rx_batch(rig->dev, 0, held + count, 64);
	}
	assert_true(count > pool / 2 && count <= pool);
	pkt_buf_free_batch(held, count);
	while ((count = ixy_rx_batch(rig->dev, 0, held, 64)))
		pkt_buf_free_batch(held, count);
	rig_send(rig, frame, sizeof(frame));
	held[0] = rig_take(rig);
	assert_non_null(held[0]);
	pkt_buf_free(held[0]);
	assert_int_equal(rig_missing(rig), 0);
	free(held);
}

static void the_descriptor_is_readable_while_frames_wait(void **state)
{
	struct xdp_rig *rig = *state;
	struct pollfd p = {.events = POLLIN};
	uint8_t frame[100];

	rig_open(rig, "xdp:d0", NULL);
	p.fd = ixy_rx_irq_fd(rig->dev, 0);
	assert_true(p.fd >= 0);
	ixy_rx_irq_arm(rig->dev, 0);
	assert_int_equal(poll(&p, 1, 0), 0);
	make_frame(frame, sizeof(frame), &rig->mac, 1);
	rig_send(rig, frame, sizeof(frame));
	assert_int_equal(poll(&p, 1, 2000), 1);
	pkt_buf_free(rig_take(rig));
	assert_int_equal(poll(&p, 1, 0), 0);
}

static bool arrives(struct xdp_rig *rig, struct ixy_mac to)
{
	const struct ixy_mac broadcast = {{0xff, 0xff, 0xff, 0xff, 0xff, 0xff}};
	uint8_t frame[100];
	bool found = false;

	make_frame(frame, sizeof(frame), &to, 4711);
	rig_send(rig, frame, sizeof(frame));
	make_frame(frame, sizeof(frame), &broadcast, 4712); /* comes in any case, and after it */
	rig_send(rig, frame, sizeof(frame));
	for (;;) {
		struct pkt_buf *buf = rig_take(rig);
		uint32_t number;

		assert_non_null(buf);
		memcpy(&number, buf->data + 14, 4);
		pkt_buf_free(buf);
		if (number == 4712)
			return found;
		found = true;
	}
}

static void only_frames_for_us_come_unless_promiscuous(void **state)
{
	static const struct ixy_mac other = {{2, 1, 2, 3, 4, 5}}, group = {{1, 0, 0x5e, 1, 2, 3}};
	struct xdp_rig *rig = *state;
	struct ixy_stats stats;

	rig_open(rig, "xdp:d0", NULL);
	assert_true(arrives(rig, rig->mac));
	assert_false(arrives(rig, other));
	assert_false(arrives(rig, group));
	assert_int_equal(ixy_set_promisc(rig->dev, true), 0);
	assert_true(arrives(rig, other) && arrives(rig, group));
	assert_int_equal(ixy_set_promisc(rig->dev, false), 0);
	assert_int_equal(ixy_set_allmulti(rig->dev, true), 0);
	assert_false(arrives(rig, other));
	assert_true(arrives(rig, group));
	assert_int_equal(ixy_set_allmulti(rig->dev, false), 0);
	assert_int_equal(ixy_set_multicast(rig->dev, &group, 1), 0);
	assert_true(arrives(rig, group));
	assert_int_equal(ixy_set_multicast(rig->dev, NULL, 0), 0);
	assert_false(arrives(rig, group));
	assert_int_equal(ixy_set_unicast(rig->dev, &other, 1), 0);
	assert_true(arrives(rig, other));
	assert_int_equal(ixy_set_unicast(rig->dev, NULL, 0), 0);
	assert_false(arrives(rig, other));
	assert_int_equal(ixy_mac_set(rig->dev, other), 0);
	assert_true(arrives(rig, other));
	assert_false(arrives(rig, rig->mac));
	/* Filtered is not lost. */
	ixy_read_stats(rig->dev, &stats);
	for (unsigned i = 0; i < IXY_DROP_COUNT; i++)
		assert_int_equal(stats.drops[i], 0);
	assert_int_equal(rig_missing(rig), 0);
}

/* --- sending ----------------------------------------------------------------------------------------- */

static void frames_from_other_pools_are_copied_and_given_back(void **state)
{
	struct xdp_rig *rig = *state;
	struct mempool *pool;
	uint8_t want[1600], got[2048];

	rig_open(rig, "xdp:d0", NULL);
	pool = ixy_mempool_create(rig->dev, 16, 1024);
	assert_non_null(pool);
	for (uint32_t size = 14; size <= 1514; size += size < 70 ? 1 : 37) {
		struct pkt_buf *bufs[2];
		size_t n;

		/* In one piece, or cut at an odd place into two. */
		make_frame(want, size, &rig->mac, size);
		assert_int_equal(pkt_buf_alloc_batch(pool, bufs, 2), 2);
		bufs[0]->frame_size = size;
		bufs[0]->size = size > 900 ? 555 : size;
		memcpy(bufs[0]->data, want, bufs[0]->size);
		if (bufs[0]->size < size) {
			bufs[0]->next = bufs[1];
			bufs[0]->segments = 2;
			bufs[1]->size = size - bufs[0]->size;
			memcpy(bufs[1]->data, want + bufs[0]->size, bufs[1]->size);
		} else {
			pkt_buf_free(bufs[1]);
		}
		assert_int_equal(ixy_tx_batch(rig->dev, 0, bufs, 1), 1);
		assert_int_equal(pool->free_count, 16);
		n = rig_receive(rig, got, sizeof(got));
		assert_int_equal(n, size < 60 ? 60 : size);
		assert_memory_equal(got, want, size);
		for (size_t i = size; i < n; i++)
			assert_int_equal(got[i], 0);
	}
	assert_true(rig_drained(rig));
	assert_int_equal(ixy_mempool_free(pool), 0);
}

static void received_buffers_are_sent_on_as_they_are(void **state)
{
	struct xdp_rig *rig = *state;
	uint8_t frame[1600], got[2048];

	rig_open(rig, "xdp:d0", NULL);
	for (uint32_t round = 0; round < 5000; round += 50) {
		for (uint32_t i = 0; i < 50; i++) {
			struct pkt_buf *buf;
			uint32_t size = 14 + (round + i) % 1500;

			make_frame(frame, size, &rig->mac, round + i);
			rig_send(rig, frame, size);
			buf = rig_take(rig);
			assert_non_null(buf);
			buf->data[0] = 2; /* what a router does, more or less */
			frame[0] = 2;
			assert_int_equal(ixy_tx_batch(rig->dev, 0, &buf, 1), 1);
			assert_int_equal(rig_receive(rig, got, sizeof(got)), size < 60 ? 60 : size);
			assert_memory_equal(got, frame, size);
		}
	}
	assert_true(rig_drained(rig));
	assert_int_equal(rig_missing(rig), 0);
}

/* An IPv4 TCP super-frame in buffers of `pool`; the same bytes go to flat. */
static struct pkt_buf *make_super(struct mempool *pool, const struct ixy_mac *to, uint8_t *flat,
	uint32_t payload, uint16_t mss, struct virtio_net_hdr *vnet)
{
	static const uint8_t headers[54] = {[6] = 2,
		[11] = 9,
		[12] = 8,
		[14] = 0x45,
		[18] = 0xff,
		[19] = 0xfe,
		[20] = 0x40,
		[22] = 64,
		[23] = 6, /* IPv4 */
		[26] = 192,
		[28] = 2,
		[29] = 1,
		[30] = 192,
		[32] = 2,
		[33] = 2,
		[34] = 0x12,
		[35] = 0x34,
		[36] = 0x56,
		[37] = 0x78,
		[38] = 0xff,
		[39] = 0xff,
		[40] = 0xf0, /* TCP */
		[46] = 0x50,
		[47] = 0x18,
		[48] = 0x20};
	uint32_t size = 54 + payload, at = 0;
	struct pkt_buf *first = NULL, *last = NULL;
	uint16_t sum;

	memcpy(flat, headers, sizeof(headers));
	memcpy(flat, to->addr, 6);
	for (uint32_t i = 54; i < size; i++)
		flat[i] = (uint8_t)(i * 13 + (i >> 8));
	flat[16] = (uint8_t)((size - 14) >> 8);
	flat[17] = (uint8_t)(size - 14);
	sum = checksum_fold(checksum_pseudo4(flat + 26, flat + 30, 6, size - 34));
	memcpy(flat + 50, &sum, 2);
	while (at < size) {
		struct pkt_buf *buf = pkt_buf_alloc(pool);

		assert_non_null(buf);
		buf->size = size - at < pool->data_size - 1 ? size - at : pool->data_size - 1;
		memcpy(buf->data, flat + at, buf->size);
		at += buf->size;
		if (last)
			last->next = buf;
		else
			first = buf;
		last = buf;
		first->segments = (uint16_t)(first->segments + (buf != first));
	}
	first->frame_size = size;
	first->flags = PKT_TX_L4_CSUM | PKT_TX_TSO4;
	first->csum_start = 34;
	first->csum_offset = 16;
	first->gso_size = mss;
	first->header_size = 54;
	*vnet = (struct virtio_net_hdr){.flags = VIRTIO_NET_HDR_F_NEEDS_CSUM,
		.gso_type = VIRTIO_NET_HDR_GSO_TCPV4,
		.hdr_len = 54,
		.gso_size = mss,
		.csum_start = 34,
		.csum_offset = 16};
	return first;
}

/* What gso.c makes of the super-frame is what the peer must get. */
static void expect(void *context, const uint8_t *frame, size_t size)
{
	struct xdp_rig *rig = context;
	uint8_t got[JUMBO + 64];
	size_t n = rig_receive(rig, got, sizeof(got));

	if (n == 0) { /* the ring may be shorter than the super-frame */
		ixy_tx_batch(rig->dev, 0, NULL, 0);
		n = rig_receive(rig, got, sizeof(got));
	}
	assert_int_equal(n, size < 60 ? 60 : size);
	assert_memory_equal(got, frame, size);
}

static void cut_and_compare(struct xdp_rig *rig, uint32_t payload, uint16_t mss)
{
	static uint8_t flat[70000];
	struct mempool *pool = ixy_mempool_create(rig->dev, 16, 14 * 1024);
	struct virtio_net_hdr vnet;
	struct pkt_buf *super;
	struct ixy_queue_stats before, after;
	uint32_t segments = (payload + mss - 1u) / mss;

	assert_non_null(pool);
	ixy_read_queue_stats(rig->dev, 0, &before);
	super = make_super(pool, &rig->mac, flat, payload, mss, &vnet);
	assert_int_equal(ixy_tx_batch(rig->dev, 0, &super, 1), 1);
	assert_int_equal(gso_segment(&vnet, flat, 54 + payload, expect, rig), segments);
	assert_true(rig_drained(rig));
	ixy_read_queue_stats(rig->dev, 0, &after);
	assert_int_equal(after.tx_frames - before.tx_frames, segments);
	assert_int_equal(after.tx_bytes - before.tx_bytes, payload + segments * 54);
	assert_int_equal(ixy_mempool_free(pool), 0);
}

static void super_frames_leave_as_the_segments_that_gso_makes(void **state)
{
	struct xdp_rig *rig = *state;

	rig_open(rig, "xdp:d0", NULL);
	cut_and_compare(rig, 64000, 1460);
	cut_and_compare(rig, 1461, 1460);
	cut_and_compare(rig, 20001, 999);
	cut_and_compare(rig, 10, 3);
}

static void a_super_frame_of_more_segments_than_the_ring_is_sent_in_turns(void **state)
{
	struct xdp_rig *rig = *state;
	const struct ixy_options options = {.tx_ring = 64};

	rig_open(rig, "xdp:d0", &options);
	cut_and_compare(rig, 60000, 200);
	cut_and_compare(rig, 64 * 200, 200);
}

static void a_full_ring_pushes_back_and_all_frames_leave_in_order(void **state)
{
	struct xdp_rig *rig = *state;
	const struct ixy_options options = {.tx_ring = 64};
	struct pkt_buf *bufs[200];
	struct mempool *pool;
	uint8_t want[100], got[2048];
	uint32_t sent = 0, refused = 0;
	uint64_t end = rig_now_ms() + 5000;

	rig_open(rig, "xdp:d0", &options);
	pool = ixy_mempool_create(rig->dev, 200, 0);
	assert_int_equal(pkt_buf_alloc_batch(pool, bufs, 200), 200);
	for (uint32_t i = 0; i < 200; i++) {
		make_frame(bufs[i]->data, 100, &rig->mac, i);
		bufs[i]->size = bufs[i]->frame_size = 100;
	}
	while (sent < 200 && rig_now_ms() < end) {
		uint32_t n = ixy_tx_batch(rig->dev, 0, bufs + sent, 200 - sent);

		assert_true(n <= 64);
		refused += n < 200 - sent;
		sent += n;
		assert_true(ixy_tx_pending(rig->dev, 0) <= 64);
	}
	assert_int_equal(sent, 200);
	assert_true(refused > 0);
	for (uint32_t i = 0; i < 200; i++) {
		make_frame(want, sizeof(want), &rig->mac, i);
		assert_int_equal(rig_receive(rig, got, sizeof(got)), 100);
		assert_memory_equal(got, want, 100);
	}
	assert_true(rig_drained(rig));
	assert_int_equal(ixy_mempool_free(pool), 0);
}

static void what_cannot_be_sent_is_dropped_under_its_reason(void **state)
{
	struct xdp_rig *rig = *state;
	struct ixy_queue_stats stats;
	struct pkt_buf *bufs[6];
	struct mempool *pool;
	uint8_t got[2048];

	rig_open(rig, "xdp:d0", NULL);
	pool = ixy_mempool_create(rig->dev, 8, 0);
	assert_int_equal(pkt_buf_alloc_batch(pool, bufs, 6), 6);
	for (unsigned i = 0; i < 6; i++) {
		make_frame(bufs[i]->data, 1600, &rig->mac, i);
		bufs[i]->size = bufs[i]->frame_size = 100;
	}
	bufs[0]->size = bufs[0]->frame_size = 13;
	bufs[1]->size = bufs[1]->frame_size = 1519;
	bufs[2]->frame_size = 101; /* a chain that does not add up */
	bufs[3]->flags = PKT_TX_L4_CSUM;
	bufs[3]->csum_start = 99;
	bufs[4]->flags = PKT_TX_L4_CSUM | PKT_TX_TSO4; /* no TCP in it */
	bufs[4]->gso_size = 10;
	assert_int_equal(ixy_tx_batch(rig->dev, 0, bufs, 6), 6);
	assert_int_equal(rig_receive(rig, got, sizeof(got)), 100);
	assert_true(rig_drained(rig));
	ixy_read_queue_stats(rig->dev, 0, &stats);
	assert_int_equal(stats.drops[IXY_DROP_TX_TOO_SHORT], 1);
	assert_int_equal(stats.drops[IXY_DROP_TX_TOO_LONG], 1);
	assert_true(stats.drops[IXY_DROP_TX_BAD_OFFLOAD] >= 3);
	assert_int_equal(stats.tx_frames, 1);
	assert_int_equal(ixy_mempool_free(pool), 0);
}

/* --- jumbo frames ------------------------------------------------------------------------------------ */

static void jumbo_frames_pass_in_several_buffers(void **state)
{
	struct xdp_rig *rig = *state;
	static uint8_t want[JUMBO], got[JUMBO + 64];
	const uint16_t opened_with[] = {9000, 1500}; /* chunks of 4096 bytes, and of 2048 */

	for (size_t i = 0; i < 2; i++) {
		const struct ixy_options options = {.mtu = opened_with[i]};

		assert_true(shell("ip link set p0 mtu 9000"));
		rig_open(rig, "xdp:d0", &options);
		assert_int_equal(ixy_mtu_set(rig->dev, 9000), 0);
		for (uint32_t size = 1700; size <= JUMBO; size += 61) {
			struct pkt_buf *buf;

			make_frame(want, size, &rig->mac, size);
			rig_send(rig, want, size);
			buf = rig_take(rig);
			assert_non_null(buf);
			assert_int_equal(flatten(buf, got, sizeof(got)), size);
			assert_memory_equal(got, want, size);
			assert_int_equal(ixy_tx_batch(rig->dev, 0, &buf, 1), 1);
			assert_int_equal(rig_receive(rig, got, sizeof(got)), size);
			assert_memory_equal(got, want, size);
		}
		cut_and_compare(rig, 60000, 8960);
		assert_true(rig_drained(rig));
		assert_int_equal(rig_missing(rig), 0);
		ixy_close(rig->dev);
		rig->dev = NULL;
	}
}

/* --- checksums --------------------------------------------------------------------------------------- */

/* An IP frame with a UDP or TCP payload of this many bytes, its checksum complete. Returns its size. */
static uint32_t make_ip(
	uint8_t *frame, const struct ixy_mac *to, bool ipv6, uint8_t protocol, bool vlan, uint32_t payload)
{
	uint32_t l3 = vlan ? 18 : 14, l4 = l3 + (ipv6 ? 40 : 20), header = protocol == 6 ? 20 : 8;
	uint32_t field = l4 + (protocol == 6 ? 16 : 6), l4_size = header + payload;
	uint64_t pseudo;
	uint16_t sum;

	memset(frame, 0, l4 + header);
	memcpy(frame, to->addr, 6);
	frame[6] = 2;
	if (vlan)
		memcpy(frame + 12, (const uint8_t[]){0x81, 0, 0, 100}, 4);
	memcpy(frame + l3 - 2, ipv6 ? "\x86\xdd" : "\x08\x00", 2);
	for (uint32_t i = 0; i < payload; i++)
		frame[l4 + header + i] = (uint8_t)(i * 11 + 3);
	if (ipv6) {
		frame[l3] = 0x60;
		frame[l3 + 4] = (uint8_t)(l4_size >> 8);
		frame[l3 + 5] = (uint8_t)l4_size;
		frame[l3 + 6] = protocol;
		frame[l3 + 8] = 0xfd;
		frame[l3 + 24] = 0xfd;
		pseudo = checksum_pseudo6(frame + l3 + 8, frame + l3 + 24, protocol, l4_size);
	} else {
		memcpy(frame + l3,
			(const uint8_t[]){0x45, 0, (uint8_t)((20 + l4_size) >> 8), (uint8_t)(20 + l4_size)},
			4);
		frame[l3 + 8] = 64;
		frame[l3 + 9] = protocol;
		memcpy(frame + l3 + 12, (const uint8_t[]){192, 0, 2, 1, 192, 0, 2, 2}, 8);
		sum = checksum_finish(checksum_add(0, frame + l3, 20));
		memcpy(frame + l3 + 10, &sum, 2);
		pseudo = checksum_pseudo4(frame + l3 + 12, frame + l3 + 16, protocol, l4_size);
	}
	frame[l4] = 0x12;
	if (protocol == 6)
		frame[l4 + 12] = 0x50;
	else
		memcpy(frame + l4 + 4, (const uint8_t[]){(uint8_t)(l4_size >> 8), (uint8_t)l4_size}, 2);
	sum = checksum_finish(checksum_add(pseudo, frame + l4, l4_size));
	memcpy(frame + field, &sum, 2);
	return l4 + l4_size;
}

static void checksums_are_judged_as_a_nic_would(void **state)
{
	struct xdp_rig *rig = *state;
	uint8_t frame[1600], got[2048];

	rig_open(rig, "xdp:d0", NULL);
	for (unsigned kind = 0; kind < 8; kind++) {
		bool ipv6 = kind & 1, vlan = kind & 4;
		uint8_t protocol = kind & 2 ? 6 : 17;
		uint16_t ip = ipv6 ? 0 : PKT_RX_IP_CSUM_GOOD;

		for (uint32_t payload = 20; payload < 1400; payload += 97) {
			uint32_t size = make_ip(frame, &rig->mac, ipv6, protocol, vlan, payload);
			uint32_t l4 = (vlan ? 18u : 14u) + (ipv6 ? 40u : 20u);
			uint32_t field = l4 + (protocol == 6 ? 16u : 6u);
			uint16_t good, pseudo;
			struct pkt_buf *buf;

			memcpy(&good, frame + field, 2);
			rig_send(rig, frame, size);
			buf = rig_take(rig);
			assert_int_equal(buf->flags, ip | PKT_RX_L4_CSUM_GOOD);
			pkt_buf_free(buf);

			frame[size - 1] ^= 0x40;
			rig_send(rig, frame, size);
			buf = rig_take(rig);
			assert_int_equal(buf->flags, ip | PKT_RX_L4_CSUM_BAD);
			pkt_buf_free(buf);
			frame[size - 1] ^= 0x40;

			/* Only the pseudo-header's sum: yet to be completed, and so it is on its way out. */
			pseudo = ipv6 ? checksum_fold(checksum_pseudo6(
						frame + l4 - 32, frame + l4 - 16, protocol, size - l4))
				      : checksum_fold(checksum_pseudo4(
						frame + l4 - 8, frame + l4 - 4, protocol, size - l4));
			memcpy(frame + field, &pseudo, 2);
			rig_send(rig, frame, size);
			buf = rig_take(rig);
			assert_int_equal(buf->flags, ip | PKT_TX_L4_CSUM);
			assert_int_equal(buf->csum_start, l4);
			assert_int_equal(buf->csum_offset, field - l4);
			assert_int_equal(ixy_tx_batch(rig->dev, 0, &buf, 1), 1);
			assert_true(rig_receive(rig, got, sizeof(got)) >= size - (vlan ? 4 : 0));
			/* The packet socket has taken the VLAN tag out. */
			assert_memory_equal(got + field - (vlan ? 4 : 0), &good, 2);
		}
	}
	assert_true(rig_drained(rig));
	assert_int_equal(rig_missing(rig), 0);
}

static void what_has_no_checksum_to_judge_is_not_judged(void **state)
{
	struct xdp_rig *rig = *state;
	uint8_t frame[1600];
	uint32_t size;
	struct pkt_buf *buf;

	rig_open(rig, "xdp:d0", NULL);
	size = make_ip(frame, &rig->mac, false, 17, false, 100);
	memset(frame + 40, 0, 2); /* UDP without */
	rig_send(rig, frame, size);
	buf = rig_take(rig);
	assert_int_equal(buf->flags, PKT_RX_IP_CSUM_GOOD);
	pkt_buf_free(buf);
	frame[24] ^= 1; /* the IP header's own is wrong: nothing behind it is believed */
	rig_send(rig, frame, size);
	buf = rig_take(rig);
	assert_int_equal(buf->flags, 0);
	pkt_buf_free(buf);
	/* Every length cut, and every length that lies: no more than a look. */
	for (uint32_t cut = 14; cut < 60; cut++) {
		size = make_ip(frame, &rig->mac, cut & 1, cut & 2 ? 6 : 17, cut & 4, 100);
		rig_send(rig, frame, cut);
		buf = rig_take(rig);
		assert_non_null(buf);
		assert_int_equal(buf->flags & (PKT_RX_L4_CSUM_GOOD | PKT_TX_L4_CSUM), 0);
		pkt_buf_free(buf);
		frame[16] ^= 0x40;
		rig_send(rig, frame, size);
		pkt_buf_free(rig_take(rig));
	}
	assert_int_equal(rig_missing(rig), 0);
}

/* --- life -------------------------------------------------------------------------------------------- */

static void specs_that_cannot_be_are_refused(void **state)
{
	static const struct {
		const char *spec, *words;
		int error;
	} wrong[] = {
		{"xdp:", "xdp:IFNAME", -EINVAL}, {"xdp:sixteen-letters-", "too long", -EINVAL},
		{"xdp:nosuch0", "nosuch0", -ENODEV}, {"xdp:d0,mode=fast", "mode=fast", -EINVAL},
		{"xdp:d0,queues=0", "queues=0", -EINVAL}, {"xdp:d0,queues=17", "queues=17", -EINVAL},
		{"xdp:d0,queues=", "queues=", -EINVAL}, {"xdp:d0,speed=1", "speed=1", -EINVAL},
		{"xdp:d0,", "xdp:IFNAME", -EINVAL}, {"xdp:d0,queues=2", "ethtool -L d0", -EINVAL},
		{"xdp:d0,mode=zc", "xdp:d0", -EOPNOTSUPP}, /* not on a veth */
	};
	struct ixy_device *dev;

	(void)state;
	for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++) {
		assert_int_equal(ixy_open(wrong[i].spec, NULL, &dev), wrong[i].error);
		if (!strstr(ixy_last_error(), wrong[i].words))
			fail_msg("%s: %s", wrong[i].spec, ixy_last_error());
	}
	assert_int_equal(ixy_open("xdp:d0", &(struct ixy_options){.mtu = 17000}, &dev), -EINVAL);
	assert_int_equal(ixy_open("xdp:d0", &(struct ixy_options){.rx_queues = 2}, &dev), -EINVAL);
	assert_int_equal(ixy_spec_queues("xdp:d0,mode=native,queues=3"), 3);
	assert_int_equal(ixy_spec_queues("xdp:d0"), 0);
	/* And none of it leaves anything. */
	assert_true(shell(
		"ip -d link show d0 | grep -q 'promiscuity 0 ' && ! ip link show d0 | grep -q prog/xdp"));
}

static void an_interface_with_more_queues_than_sockets_is_refused_with_the_command(void **state)
{
	struct xdp_rig *rig = *state;
	struct ixy_device *dev;

	assert_true(shell("ip link del p0") && make_pair(4, 1500));
	assert_int_equal(ixy_open("xdp:d0,queues=2", NULL, &dev), -EINVAL);
	assert_non_null(strstr(ixy_last_error(), "ethtool -L d0 combined 2"));
	assert_true(shell("ethtool -L p0 rx 2 tx 2 && ethtool -L d0 rx 2 tx 2"));
	rig_open(rig, "xdp:d0,queues=2", NULL);
	assert_int_equal(ixy_rx_queues(rig->dev), 2);
}

static bool echoes(struct xdp_rig *rig)
{
	uint8_t frame[200], got[2048];
	struct pkt_buf *buf;

	make_frame(frame, sizeof(frame), &rig->mac, 99);
	rig_send(rig, frame, sizeof(frame));
	buf = rig_take(rig);
	return buf && ixy_tx_batch(rig->dev, 0, &buf, 1) == 1 &&
	       rig_receive(rig, got, sizeof(got)) == sizeof(frame) && memcmp(got, frame, sizeof(frame)) == 0;
}

static void each_mode_works(void **state)
{
	struct xdp_rig *rig = *state;

	rig_open(rig, "xdp:d0,mode=native", NULL);
	assert_true(shell("ip link show d0 | grep -q ' xdp '"));
	assert_true(echoes(rig));
	ixy_close(rig->dev);
	rig_open(rig, "xdp:d0,mode=generic", NULL);
	assert_true(shell("ip link show d0 | grep -q xdpgeneric"));
	assert_true(echoes(rig));
	ixy_close(rig->dev);
	rig_open(rig, "xdp:d0", NULL);
	assert_true(echoes(rig));
}

static void a_second_device_on_the_interface_is_busy_until_the_first_is_closed(void **state)
{
	struct xdp_rig *rig = *state;
	struct ixy_device *second;

	rig_open(rig, "xdp:d0", NULL);
	assert_int_equal(ixy_open("xdp:d0", NULL, &second), -EBUSY);
	assert_true(echoes(rig));
	/* Closed and opened again at once, many times: nothing of the old is in the way. */
	for (unsigned i = 0; i < 10; i++) {
		ixy_close(rig->dev);
		rig_open(rig, "xdp:d0", NULL);
	}
	assert_true(echoes(rig));
}

static void a_stopped_device_has_given_everything_back(void **state)
{
	struct xdp_rig *rig = *state;
	struct ixy_stats stats;
	struct pkt_buf *held, *buf;
	uint8_t frame[100];

	rig_open(rig, "xdp:d0", NULL);
	make_frame(frame, sizeof(frame), &rig->mac, 5);
	for (unsigned i = 0; i < 30; i++)
		rig_send(rig, frame, sizeof(frame));
	held = rig_take(rig);
	assert_non_null(held);
	ixy_stop(rig->dev);
	assert_int_equal(rig_queue(rig)->pool->free_count, rig_queue(rig)->pool->buf_count - 1);
	ixy_read_stats(rig->dev, &stats);
	assert_int_equal(stats.drops[IXY_DROP_SHUTDOWN], 29);
	assert_false(ixy_link_get(rig->dev).up);
	assert_int_equal(ixy_rx_batch(rig->dev, 0, &buf, 1), 0);
	assert_int_equal(ixy_tx_batch(rig->dev, 0, &held, 1), 1);
	ixy_read_stats(rig->dev, &stats);
	assert_int_equal(stats.drops[IXY_DROP_TX_LINK_DOWN], 1);
	assert_int_equal(rig_queue(rig)->pool->free_count, rig_queue(rig)->pool->buf_count);
}

static void a_reset_device_goes_on_as_it_was(void **state)
{
	static const struct ixy_mac other = {{2, 1, 2, 3, 4, 5}};
	struct xdp_rig *rig = *state;
	struct ixy_stats stats;

	rig_open(rig, "xdp:d0", NULL);
	assert_int_equal(ixy_mac_set(rig->dev, other), 0);
	rig->mac = other;
	assert_true(echoes(rig));
	assert_int_equal(ixy_reset(rig->dev), 0);
	assert_true(echoes(rig));
	ixy_read_stats(rig->dev, &stats);
	assert_int_equal(stats.resets, 1);
	assert_int_equal(stats.rx_frames, 2);
	assert_int_equal(stats.tx_frames, 2);
	assert_true(rig_drained(rig));
	assert_int_equal(rig_missing(rig), 0);
}

static void what_has_come_before_the_port_was_shut_can_be_taken(void **state)
{
	struct xdp_rig *rig = *state;
	uint8_t frame[100];
	struct pollfd p = {.events = POLLIN};
	struct pkt_buf *buf;

	rig_open(rig, "xdp:d0", NULL);
	make_frame(frame, sizeof(frame), &rig->mac, 5);
	rig_send(rig, frame, sizeof(frame));
	p.fd = ixy_rx_irq_fd(rig->dev, 0);
	assert_int_equal(poll(&p, 1, 2000), 1);
	ixy_shut(rig->dev);
	assert_true(shell("! ip link show d0 | grep -q prog/xdp"));
	rig_send(rig, frame, sizeof(frame));
	buf = rig_take(rig);
	assert_non_null(buf);
	pkt_buf_free(buf);
	assert_int_equal(ixy_rx_batch(rig->dev, 0, &buf, 1), 0);
}

static void the_end_of_the_interface_is_told(void **state)
{
	struct xdp_rig *rig = *state;
	struct pollfd p = {.events = POLLIN};
	uint32_t events = 0;

	rig_open(rig, "xdp:d0", NULL);
	ixy_poll_events(rig->dev);
	p.fd = ixy_event_fd(rig->dev);
	assert_true(p.fd >= 0);
	assert_true(shell("ip link del d0"));
	while (!(events & IXY_EVENT_GONE)) {
		assert_int_equal(poll(&p, 1, 2000), 1);
		events |= ixy_poll_events(rig->dev);
	}
	assert_false(ixy_link_get(rig->dev).up);
	assert_int_equal(ixy_reset(rig->dev), -ENODEV);
}

static void a_killed_process_leaves_no_program_and_no_filter(void **state)
{
	struct xdp_rig *rig = *state;
	int ready[2];
	char byte;
	pid_t child;

	assert_int_equal(pipe(ready), 0);
	child = fork();
	if (child == 0) {
		struct ixy_device *dev;

		if (ixy_open("xdp:d0", NULL, &dev) == 0 && ixy_set_promisc(dev, true) == 0 &&
			write(ready[1], "x", 1) == 1)
			pause();
		_exit(1);
	}
	close(ready[1]);
	assert_int_equal(read(ready[0], &byte, 1), 1);
	assert_true(
		shell("ip -d link show d0 | grep -q 'promiscuity 1 ' && ip link show d0 | grep -q prog/xdp"));
	kill(child, SIGKILL);
	assert_int_equal(waitpid(child, NULL, 0), child);
	assert_true(shell(
		"ip -d link show d0 | grep -q 'promiscuity 0 ' && ! ip link show d0 | grep -q prog/xdp"));
	close(ready[0]);
	rig_open(rig, "xdp:d0", NULL);
	assert_true(echoes(rig));
}

/* Only these capabilities, in a process of its own; what it returns is the status. */
static int with_capabilities(uint64_t set, int (*body)(struct xdp_rig *rig), struct xdp_rig *rig)
{
	pid_t child = fork();
	int status;

	if (child == 0) {
		struct __user_cap_header_struct header = {.version = _LINUX_CAPABILITY_VERSION_3};
		struct __user_cap_data_struct data[2] = {0};

		for (unsigned i = 0; i < 2; i++)
			data[i].effective = data[i].permitted = (uint32_t)(set >> (32 * i));
		_exit(syscall(SYS_capset, &header, data) < 0 ? 99 : body(rig));
	}
	assert_int_equal(waitpid(child, &status, 0), child);
	return WIFEXITED(status) ? WEXITSTATUS(status) : 98;
}

#define CAP(name) (UINT64_C(1) << CAP_##name)

static int opens_and_echoes(struct xdp_rig *rig)
{
	if (ixy_open("xdp:d0", NULL, &rig->dev) < 0) {
		fprintf(stderr, "%s\n", ixy_last_error());
		return 1;
	}
	rig->mac = ixy_mac_get(rig->dev);
	if (ixy_set_promisc(rig->dev, true) < 0 || ixy_mtu_set(rig->dev, 1400) < 0 || !echoes(rig))
		return 2;
	ixy_close(rig->dev);
	return 0;
}

static int is_refused_by_name(struct xdp_rig *rig)
{
	return ixy_open("xdp:d0", NULL, &rig->dev) == -EPERM && strstr(ixy_last_error(), "CAP_") ? 0 : 1;
}

static int is_refused_for_memlock(struct xdp_rig *rig)
{
	struct rlimit little = {.rlim_cur = 1 << 20, .rlim_max = 1 << 20};

	setrlimit(RLIMIT_MEMLOCK, &little);
	return ixy_open("xdp:d0", NULL, &rig->dev) == -ENOBUFS && strstr(ixy_last_error(), "MEMLOCK") ? 0 : 1;
}

static void three_capabilities_are_enough_and_each_is_named_where_it_is_missing(void **state)
{
	const uint64_t enough = CAP(NET_RAW) | CAP(NET_ADMIN) | CAP(BPF);
	struct xdp_rig *rig = *state;

	assert_int_equal(with_capabilities(enough, opens_and_echoes, rig), 0);
	assert_int_equal(with_capabilities(enough & ~CAP(NET_RAW), is_refused_by_name, rig), 0);
	assert_int_equal(with_capabilities(enough & ~CAP(NET_ADMIN), is_refused_by_name, rig), 0);
	assert_int_equal(with_capabilities(enough & ~CAP(BPF), is_refused_by_name, rig), 0);
}

static void too_little_locked_memory_is_explained(void **state)
{
	struct xdp_rig *rig = *state;

	assert_int_equal(
		with_capabilities(CAP(NET_RAW) | CAP(NET_ADMIN) | CAP(BPF), is_refused_for_memlock, rig), 0);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, rig_setup, rig_teardown)
	const struct CMUnitTest tests[] = {
		TEST(frames_of_all_sizes_arrive_byte_for_byte),
		TEST(under_load_every_frame_comes_once_and_each_buffer_has_one_holder),
		TEST(a_caller_that_keeps_all_buffers_starves_and_recovers),
		TEST(the_descriptor_is_readable_while_frames_wait),
		TEST(only_frames_for_us_come_unless_promiscuous),
		TEST(frames_from_other_pools_are_copied_and_given_back),
		TEST(received_buffers_are_sent_on_as_they_are),
		TEST(super_frames_leave_as_the_segments_that_gso_makes),
		TEST(a_super_frame_of_more_segments_than_the_ring_is_sent_in_turns),
		TEST(a_full_ring_pushes_back_and_all_frames_leave_in_order),
		TEST(what_cannot_be_sent_is_dropped_under_its_reason),
		TEST(jumbo_frames_pass_in_several_buffers),
		TEST(checksums_are_judged_as_a_nic_would),
		TEST(what_has_no_checksum_to_judge_is_not_judged),
		TEST(specs_that_cannot_be_are_refused),
		TEST(an_interface_with_more_queues_than_sockets_is_refused_with_the_command),
		TEST(each_mode_works),
		TEST(a_second_device_on_the_interface_is_busy_until_the_first_is_closed),
		TEST(a_stopped_device_has_given_everything_back),
		TEST(a_reset_device_goes_on_as_it_was),
		TEST(what_has_come_before_the_port_was_shut_can_be_taken),
		TEST(the_end_of_the_interface_is_told),
		TEST(a_killed_process_leaves_no_program_and_no_filter),
		TEST(three_capabilities_are_enough_and_each_is_named_where_it_is_missing),
		TEST(too_little_locked_memory_is_explained),
	};

	if (!own_netns()) {
		puts("xdp: skipped: network namespaces need root");
		return 0;
	}
	return cmocka_run_group_tests_name("xdp", tests, NULL, NULL);
}
