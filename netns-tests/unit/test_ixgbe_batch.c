/*
 * The 82599 driver's batches: the short ways of the hot path, and whatever may come among the plain frames that
 * they are for. close_rig() asserts that every buffer is back in its pool.
 */
#include "ixgbe_rig.h"

#define BURST 12u

/* --- receiving ----------------------------------------------------------------------------------- */

static void assert_frame(struct pkt_buf *frame, uint32_t number, size_t size)
{
	uint8_t expected[NIC_FRAME_MAX];

	make_frame(expected, true, number, size);
	assert_ptr_equal(frame->data, pkt_buf_start(frame));
	assert_null(frame->next);
	assert_int_equal(frame->segments, 1);
	assert_int_equal(frame->size, size);
	assert_int_equal(frame->frame_size, size);
	assert_int_equal(frame->flags & ~PKT_RX_RSS_HASH, PKT_RX_IP_CSUM_GOOD); /* UDP without a checksum */
	assert_memory_equal(frame->data, expected, size);
}

static void receive_wraps_around_the_ring_in_any_batch_size(void **state)
{
	static const uint32_t batches[] = {1, 2, 3, 4, 5, 7, 8, 31, 32, 33, 55};
	struct rig rig;
	uint32_t number = 0;
	(void)state;

	open_with(&rig, defaults());
	for (unsigned round = 0; round < 55; round++) {
		struct pkt_buf *frames[64];
		uint32_t n = batches[round % 11], got = 0;

		for (uint32_t i = 0; i < n; i++)
			arrive(&rig, number + i, 60 + (number + i) % 700);
		while (got < n) {
			uint32_t more = ixy_rx_batch(rig.dev, 0, frames + got, n - got);

			assert_int_not_equal(more, 0);
			got += more;
		}
		for (uint32_t i = 0; i < n; i++) {
			assert_frame(frames[i], number + i, 60 + (number + i) % 700);
			/* What the user does to a buffer must not show when it is used again. */
			frames[i]->data += 14;
			frames[i]->flags = PKT_TX_L4_CSUM;
			frames[i]->segments = 9;
			frames[i]->rss_hash = 0xDEADBEEF;
		}
		pkt_buf_free_batch(frames, n);
		number += n;
	}
	assert_nothing_received(&rig);
	close_rig(&rig);
}

static void good_frames_around_a_bad_descriptor_all_arrive(void **state)
{
	static const struct {
		const char *fault;
		enum ixy_drop reason;
	} cases[] = {
		{"rx-length-zero", IXY_DROP_RX_BAD_DESCRIPTOR},
		{"rx-length-over", IXY_DROP_RX_BAD_DESCRIPTOR},
		{"rx-bad-status", IXY_DROP_RX_ERROR},
		{"rx-no-eop", IXY_DROP_RX_BAD_DESCRIPTOR},
	};
	struct rig rig;
	(void)state;

	open_with(&rig, defaults());
	for (unsigned c = 0; c < sizeof(cases) / sizeof(cases[0]); c++) {
		for (uint32_t bad = 0; bad < BURST; bad++) {
			uint64_t before = drops(&rig, cases[c].reason);
			struct pkt_buf *frames[2 * BURST];

			for (uint32_t i = 0; i < BURST; i++) {
				if (i == bad)
					assert_int_equal(nic_fault_set(rig.nic, cases[c].fault, 1), 0);
				arrive(&rig, i, 64);
			}
			assert_int_equal(ixy_rx_batch(rig.dev, 0, frames, 2 * BURST), BURST - 1);
			for (uint32_t i = 0; i < BURST - 1; i++)
				assert_frame(frames[i], i < bad ? i : i + 1, 64);
			pkt_buf_free_batch(frames, BURST - 1);
			assert_int_equal(drops(&rig, cases[c].reason), before + 1);
		}
	}
	close_rig(&rig);
}

static void a_frame_with_a_wrong_checksum_among_good_ones_is_no_good_one(void **state)
{
	struct rig rig;
	(void)state;

	open_with(&rig, defaults());
	for (uint32_t bad = 0; bad < BURST; bad++) {
		struct pkt_buf *frames[BURST];
		uint8_t frame[64];

		for (uint32_t i = 0; i < BURST; i++) {
			make_frame(frame, true, i, sizeof(frame));
			frame[24] ^= i == bad; /* the IP header's checksum */
			nic_receive(rig.nic, frame, sizeof(frame));
		}
		nic_receive_flush(rig.nic);
		assert_int_equal(ixy_rx_batch(rig.dev, 0, frames, BURST), BURST);
		for (uint32_t i = 0; i < BURST; i++)
			assert_int_equal(frames[i]->flags, i == bad ? 0 : PKT_RX_IP_CSUM_GOOD);
		pkt_buf_free_batch(frames, BURST);
	}
	close_rig(&rig);
}

static void long_and_short_frames_in_one_burst_arrive_in_order(void **state)
{
	struct ixy_options options = defaults();
	struct pkt_buf *frames[BURST];
	struct rig rig;
	(void)state;

	options.mtu = 9000;
	open_with(&rig, options);
	for (unsigned round = 0; round < 40; round++) {
		uint32_t n;

		for (uint32_t i = 0; i < BURST; i++)
			arrive(&rig, i, i % 3 == 1 ? 2048 + i * 300 : 64);
		n = ixy_rx_batch(rig.dev, 0, frames, BURST);
		assert_int_equal(n, BURST);
		for (uint32_t i = 0; i < n; i++) {
			size_t size = i % 3 == 1 ? 2048 + i * 300 : 64;

			assert_int_equal(frames[i]->frame_size, size);
			assert_int_equal(frames[i]->segments, (size + 2047) / 2048);
			assert_int_equal(frames[i]->data[35], i);
		}
		pkt_buf_free_batch(frames, n);
	}
	close_rig(&rig);
}

static void a_nearly_dry_pool_refills_what_it_can(void **state)
{
	struct rig rig;
	struct ixgbe_rx_queue *q;
	struct pkt_buf *held[2048], *frames[64];
	(void)state;

	open_with(&rig, defaults());
	q = &ixgbe(rig.dev)->rx[0];
	for (uint32_t left = 0; left < 14; left++) {
		uint32_t n, posted, held_count;

		/* The whole ring comes back used, and the pool has that few to put in. */
		for (uint32_t i = 0; i < 63; i++)
			arrive(&rig, i, 64);
		held_count = pkt_buf_alloc_batch(q->pool, held, q->pool->free_count - left);
		posted = (q->fill - q->next) & q->mask;
		n = ixy_rx_batch(rig.dev, 0, frames, 64);
		assert_int_equal(n, posted);
		assert_int_equal((q->fill - q->next) & q->mask, left);
		pkt_buf_free_batch(frames, n);
		pkt_buf_free_batch(held, held_count);
		assert_nothing_received(&rig); /* but this look filled the ring */
		assert_int_equal((q->fill - q->next) & q->mask, 63);
		assert_traffic_flows(&rig);
	}
	close_rig(&rig);
}

/* --- sending --------------------------------------------------------------------------------------- */

static void buffers_of_several_pools_go_home_each_to_its_own(void **state)
{
	struct rig rig;
	struct mempool *first, *second;
	(void)state;

	open_with(&rig, defaults());
	first = rig.pool;
	second = ixy_mempool_create(rig.dev, 64, 0);
	assert_non_null(second);
	/* Alternating, in blocks, and one stranger at each place. */
	for (unsigned pattern = 0; pattern < 40; pattern++) {
		struct pkt_buf *frames[36];
		uint32_t before = (uint32_t)rig.wire.count;

		for (uint32_t i = 0; i < 36; i++) {
			bool stranger = pattern == 36   ? i % 2
					: pattern == 37 ? i / 4 % 2
					: pattern == 38 ? i / 16 % 2
					: pattern == 39 ? true
							: i == pattern;

			rig.pool = stranger ? second : first;
			frames[i] = outgoing(&rig, i, 64);
		}
		rig.pool = first;
		assert_int_equal(ixy_tx_batch(rig.dev, 0, frames, 36), 36);
		step(&rig);
		for (uint32_t i = 0; i < 36; i++)
			assert_on_wire(&rig, before + i, i, 64);
		ixy_tx_batch(rig.dev, 0, NULL, 0);
		assert_int_equal(ixy_tx_pending(rig.dev, 0), 0);
		assert_int_equal(first->free_count, first->buf_count);
		assert_int_equal(second->free_count, second->buf_count);
	}
	assert_int_equal(ixy_mempool_free(second), 0);
	close_rig(&rig);
}

static void segments_of_several_pools_go_home_around_the_rings_end_too(void **state)
{
	struct ixy_options options = defaults();
	struct rig rig;
	struct mempool *first, *second;
	(void)state;

	options.mtu = 9000;
	open_with(&rig, options);
	first = rig.pool;
	second = ixy_mempool_create(rig.dev, 64, 0);
	assert_non_null(second);
	for (uint32_t i = 0; i < 100; i++) {
		struct pkt_buf *frame = outgoing(&rig, i, 2048 * 4 + 100);

		if (i % 2) { /* its last segment from elsewhere */
			struct pkt_buf *before = frame, *other = pkt_buf_alloc(second);

			while (before->next->next)
				before = before->next;
			memcpy(other->data, before->next->data, before->next->size);
			other->size = before->next->size;
			pkt_buf_free(before->next);
			before->next = other;
		}
		assert_int_equal(ixy_tx_batch(rig.dev, 0, &frame, 1), 1);
		step(&rig);
		assert_on_wire(&rig, i, i, 2048 * 4 + 100);
		ixy_tx_batch(rig.dev, 0, NULL, 0);
		assert_int_equal(first->free_count, first->buf_count);
		assert_int_equal(second->free_count, second->buf_count);
	}
	assert_int_equal(ixy_mempool_free(second), 0);
	close_rig(&rig);
}

static void frames_of_all_kinds_in_one_batch_leave_in_order(void **state)
{
	struct ixy_options options = defaults();
	struct rig rig;
	unsigned seed = 1;
	(void)state;

	options.mtu = 4000;
	open_with(&rig, options);
	for (unsigned round = 0; round < 60; round++) {
		size_t sizes[20], sent = 0;
		struct pkt_buf *frames[20];
		uint32_t before = (uint32_t)rig.wire.count;

		for (uint32_t i = 0; i < 20; i++) {
			size_t size = 64 + i;

			switch (rand_r(&seed) % 6) {
			case 0: size = 3000; break; /* a chain */
			case 1: size = 50; break;   /* to be padded */
			case 2: size = 5000; break; /* too long: dropped */
			}
			frames[i] = outgoing(&rig, i, size);
			if (size == 3000 &&
				i % 2) { /* its checksum field is zero: the NIC has it to fill in */
				frames[i]->flags = PKT_TX_L4_CSUM;
				frames[i]->csum_start = 34;
				frames[i]->csum_offset = 6;
			}
			if (size != 5000)
				sizes[sent++] = size << 8 | i;
		}
		assert_int_equal(ixy_tx_batch(rig.dev, 0, frames, 20), 20);
		step(&rig);
		ixy_tx_batch(rig.dev, 0, NULL, 0);
		assert_int_equal(rig.wire.count, before + sent);
		for (size_t i = 0; i < sent; i++) {
			size_t size = sizes[i] >> 8;

			assert_int_equal(rig.wire.sizes[before + i], size < 60 ? 60 : size);
			assert_int_equal(rig.wire.frames[before + i][35], sizes[i] & 0xFF);
		}
		assert_int_equal(ixy_tx_pending(rig.dev, 0), 0);
		assert_int_equal(rig.pool->free_count, rig.pool->buf_count);
	}
	close_rig(&rig);
}

static void a_frame_that_hides_a_segment_is_dropped_whole_and_the_others_leave(void **state)
{
	struct rig rig;
	(void)state;

	open_with(&rig, defaults());
	for (uint32_t bad = 0; bad < BURST; bad++) {
		struct pkt_buf *frames[BURST];
		uint32_t before = (uint32_t)rig.wire.count;
		uint64_t dropped = drops(&rig, IXY_DROP_TX_BAD_OFFLOAD);
		struct ixy_stats was, is;

		ixy_read_stats(rig.dev, &was);
		for (uint32_t i = 0; i < BURST; i++)
			frames[i] = outgoing(&rig, i, 64 + i);
		frames[bad]->next = pkt_buf_alloc(rig.pool); /* but it says: one segment */
		assert_int_equal(ixy_tx_batch(rig.dev, 0, frames, BURST), BURST);
		step(&rig);
		assert_int_equal(rig.wire.count, before + BURST - 1);
		for (uint32_t i = 0; i < BURST - 1; i++)
			assert_on_wire(&rig, before + i, i < bad ? i : i + 1, 64 + (i < bad ? i : i + 1));
		assert_int_equal(drops(&rig, IXY_DROP_TX_BAD_OFFLOAD), dropped + 1);
		ixy_read_stats(rig.dev, &is);
		assert_int_equal(is.tx_frames - was.tx_frames, BURST - 1);
		assert_int_equal(
			is.tx_bytes - was.tx_bytes, 64 * BURST + BURST * (BURST - 1) / 2 - (64 + bad));
		ixy_tx_batch(rig.dev, 0, NULL, 0);
		assert_int_equal(rig.pool->free_count, rig.pool->buf_count);
	}
	close_rig(&rig);
}

static void what_was_queued_when_the_device_stops_is_counted_by_frames(void **state)
{
	struct ixy_options options = defaults();
	struct pkt_buf *frames[6];
	struct rig rig;
	(void)state;

	options.mtu = 9000;
	open_with(&rig, options);
	for (uint32_t i = 0; i < 6; i++)
		frames[i] = outgoing(&rig, i, i % 2 ? 9000 : 64);
	assert_int_equal(ixy_tx_batch(rig.dev, 0, frames, 6), 6);
	assert_int_equal(ixy_tx_pending(rig.dev, 0), 18);
	assert_int_equal(ixy_reset(rig.dev), 0);
	assert_int_equal(drops(&rig, IXY_DROP_TX_RESET), 6);
	assert_int_equal(rig.pool->free_count, rig.pool->buf_count);
	ixy_poll_events(rig.dev);
	assert_traffic_flows(&rig);
	close_rig(&rig);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(receive_wraps_around_the_ring_in_any_batch_size),
		cmocka_unit_test(good_frames_around_a_bad_descriptor_all_arrive),
		cmocka_unit_test(a_frame_with_a_wrong_checksum_among_good_ones_is_no_good_one),
		cmocka_unit_test(long_and_short_frames_in_one_burst_arrive_in_order),
		cmocka_unit_test(a_nearly_dry_pool_refills_what_it_can),
		cmocka_unit_test(buffers_of_several_pools_go_home_each_to_its_own),
		cmocka_unit_test(segments_of_several_pools_go_home_around_the_rings_end_too),
		cmocka_unit_test(frames_of_all_kinds_in_one_batch_leave_in_order),
		cmocka_unit_test(a_frame_that_hides_a_segment_is_dropped_whole_and_the_others_leave),
		cmocka_unit_test(what_was_queued_when_the_device_stops_is_counted_by_frames),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
