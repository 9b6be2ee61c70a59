/*
 * The ixy device on AF_XDP: what it sends, byte by byte, from whose buffers ever; super-frames, jumbo frames and
 * checksums in both directions.
 */
#include "xdp_rig.h"

#define JUMBO 9014

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

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, rig_setup, rig_teardown)
	const struct CMUnitTest tests[] = {
		TEST(frames_from_other_pools_are_copied_and_given_back),
		TEST(received_buffers_are_sent_on_as_they_are),
		TEST(super_frames_leave_as_the_segments_that_gso_makes),
		TEST(a_super_frame_of_more_segments_than_the_ring_is_sent_in_turns),
		TEST(a_full_ring_pushes_back_and_all_frames_leave_in_order),
		TEST(what_cannot_be_sent_is_dropped_under_its_reason),
		TEST(jumbo_frames_pass_in_several_buffers),
		TEST(checksums_are_judged_as_a_nic_would),
		TEST(what_has_no_checksum_to_judge_is_not_judged),
	};

	if (!own_netns()) {
		puts("xdp: sending: skipped: network namespaces need root");
		return 0;
	}
	return cmocka_run_group_tests_name("xdp: sending", tests, NULL, NULL);
}
