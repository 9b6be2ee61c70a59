/*
 * The four rings: on memory that the test plays the kernel's part of, and against the real kernel on a veth
 * pair.
 */
#include <errno.h>
#include <stdarg.h>
#include <setjmp.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <cmocka.h>

#include "driver/xdp/ring.h"
#include "xsk_rig.h"

/* --- a ring of eight whose other side is the test ------------------------------------------------------- */

struct fake_ring {
	struct xsk_ring ring;
	uint32_t producer, consumer, flags;
	uint64_t entries[8];
};

static void fake(struct fake_ring *f, uint32_t start)
{
	*f = (struct fake_ring){.producer = start, .consumer = start};
	f->ring = (struct xsk_ring){
		.producer = &f->producer,
		.consumer = &f->consumer,
		.flags = &f->flags,
		.addrs = f->entries,
		.size = 8,
		.mask = 7,
		.own = start,
		.other = start,
	};
}

static void what_is_produced_is_seen_with_the_index_and_not_before(void **state)
{
	struct fake_ring f;

	(void)state;
	fake(&f, 0);
	assert_true(ring_can_produce(&f.ring, 8));
	assert_false(ring_can_produce(&f.ring, 9));
	assert_int_equal(f.producer, 0);
	ring_produce(&f.ring, 8);
	assert_int_equal(f.producer, 8);
	assert_false(ring_can_produce(&f.ring, 1));
	f.consumer = 3;
	assert_true(ring_can_produce(&f.ring, 3));
	assert_false(ring_can_produce(&f.ring, 4));
}

static void what_is_consumed_is_given_back_with_the_index_and_not_before(void **state)
{
	struct fake_ring f;

	(void)state;
	fake(&f, 0);
	assert_int_equal(ring_can_consume(&f.ring, 8), 0);
	f.producer = 5;
	assert_int_equal(ring_can_consume(&f.ring, 8), 5);
	assert_int_equal(ring_can_consume(&f.ring, 2), 2);
	assert_int_equal(f.consumer, 0);
	ring_consume(&f.ring, 2);
	assert_int_equal(f.consumer, 2);
	assert_int_equal(ring_can_consume(&f.ring, 8), 3);
}

static void indices_wrap_past_32_bits(void **state)
{
	struct fake_ring f;

	(void)state;
	fake(&f, UINT32_MAX - 2);
	for (int i = 0; i < 100; i++) {
		assert_true(ring_can_produce(&f.ring, 8));
		assert_false(ring_can_produce(&f.ring, 9));
		ring_produce(&f.ring, 5);
		assert_int_equal(ring_count(&f.ring), 5);
		assert_true(ring_can_produce(&f.ring, 3));
		assert_false(ring_can_produce(&f.ring, 4));
		f.consumer += 5;
	}
	fake(&f, UINT32_MAX - 2);
	for (int i = 0; i < 100; i++) {
		f.producer += 7;
		assert_int_equal(ring_count(&f.ring), 7);
		assert_int_equal(ring_can_consume(&f.ring, 100), 7);
		ring_consume(&f.ring, 7);
		assert_int_equal(ring_can_consume(&f.ring, 100), 0);
	}
}

static void an_index_that_cannot_be_ends_in_nothing_not_out_of_bounds(void **state)
{
	static const uint32_t lies[] = {9, 1000, INT32_MAX};
	struct fake_ring f;

	(void)state;
	for (size_t i = 0; i < sizeof(lies) / sizeof(lies[0]); i++) {
		fake(&f, 0);
		f.producer = lies[i];
		assert_int_equal(ring_can_consume(&f.ring, 8), 0);
		fake(&f, 8); /* full: the consumer is at 0 */
		f.ring.other = 0;
		f.consumer = 8 + lies[i];
		assert_false(ring_can_produce(&f.ring, 1));
		assert_in_range(ring_count(&f.ring), 0, 8);
	}
}

static void the_wakeup_flag_is_the_kernels(void **state)
{
	struct fake_ring f;

	(void)state;
	fake(&f, 0);
	assert_false(ring_needs_wakeup(&f.ring));
	f.flags = XDP_RING_NEED_WAKEUP;
	assert_true(ring_needs_wakeup(&f.ring));
	f.ring.size = 0;
	assert_false(ring_needs_wakeup(&f.ring)); /* there is no such ring */
}

/* --- against the kernel: rings of 16 on va, of 32 on vb ------------------------------------------------- */

static int setup(void **state)
{
	static const struct xsk_umem_config a = {.frames = 64, .fill_size = 16, .completion_size = 16};
	static const struct xsk_umem_config b = {
		.frames = 64, .fill_size = 32, .completion_size = 32, .headroom = 128};
	struct xsk_rig *rig = calloc(1, sizeof(*rig));

	if (!rig || !make_veth())
		return -1;
	end_open(&rig->a, &a, &(struct xsk_socket_config){.ifname = "va", .rx_size = 16, .tx_size = 16});
	end_open(&rig->b, &b, &(struct xsk_socket_config){.ifname = "vb", .rx_size = 32, .tx_size = 32});
	*state = rig;
	return 0;
}

static int teardown(void **state)
{
	struct xsk_rig *rig = *state;

	end_close(&rig->a);
	end_close(&rig->b);
	delete_veth();
	free(rig);
	return 0;
}

/* The fill ring. Nothing arrives in these tests, so the kernel takes nothing out. */

static void a_fill_ring_takes_as_many_frames_as_it_has_entries(void **state)
{
	struct xsk_end *a = &((struct xsk_rig *)*state)->a;
	uint64_t addrs[17];

	xsk_frame_alloc_batch(a->umem, addrs, 17);
	assert_int_equal(xsk_num_free_fill_slots(a->queues), 16);
	assert_int_equal(xsk_fill(a->queues, addrs, 16), 16);
	assert_int_equal(xsk_num_free_fill_slots(a->queues), 0);
	assert_int_equal(xsk_num_filled(a->queues), 16);
}

static void a_fill_ring_takes_none_of_one_frame_too_many(void **state)
{
	struct xsk_end *a = &((struct xsk_rig *)*state)->a;
	uint64_t addrs[17];

	xsk_frame_alloc_batch(a->umem, addrs, 17);
	assert_int_equal(xsk_fill(a->queues, addrs, 17), 0);
	assert_int_equal(xsk_num_free_fill_slots(a->queues), 16);
	assert_int_equal(xsk_num_filled(a->queues), 0);
}

static void a_fill_ring_takes_frames_until_it_is_full(void **state)
{
	struct xsk_end *a = &((struct xsk_rig *)*state)->a;
	uint64_t addrs[17];

	xsk_frame_alloc_batch(a->umem, addrs, 17);
	assert_int_equal(xsk_fill(a->queues, addrs, 8), 8);
	assert_int_equal(xsk_fill(a->queues, addrs + 8, 9), 0);
	assert_int_equal(xsk_fill(a->queues, addrs + 8, 7), 7);
	assert_int_equal(xsk_fill_and_wake(a->xsk, addrs + 15, 2), 0);
	assert_int_equal(xsk_fill_and_wake(a->xsk, addrs + 15, 1), 1);
	assert_int_equal(xsk_fill_one(a->queues, addrs[16]), 0);
}

static void a_fill_ring_takes_one_frame(void **state)
{
	struct xsk_end *a = &((struct xsk_rig *)*state)->a;

	assert_int_equal(xsk_fill_one(a->queues, xsk_frame_alloc(a->umem)), 1);
	assert_int_equal(xsk_num_free_fill_slots(a->queues), 15);
	assert_int_equal(xsk_fill(a->queues, NULL, 0), 0);
}

static void a_fill_ring_refuses_addresses_outside_the_umem(void **state)
{
	struct xsk_end *a = &((struct xsk_rig *)*state)->a;
	const uint64_t bad[] = {a->umem->size, UINT64_MAX, (uint64_t)1 << 47};

	for (size_t i = 0; i < 3; i++) {
		uint64_t addrs[2] = {0, bad[i]};
		struct xdp_desc descs[2] = {{.addr = 0}, {.addr = bad[i]}};

		assert_int_equal(xsk_fill(a->queues, addrs, 2), -EINVAL);
		assert_int_equal(xsk_fill_descs(a->queues, descs, 2), -EINVAL);
	}
	assert_int_equal(xsk_num_free_fill_slots(a->queues), 16);
}

/* The TX ring. In copy mode the kernel takes nothing out before it is woken up. */

static void make_frames(struct xsk_end *end, struct xdp_desc descs[], uint32_t count)
{
	for (uint32_t i = 0; i < count; i++)
		descs[i] = test_frame(end, 60 + i, (uint8_t)i);
}

static void a_tx_ring_takes_as_many_frames_as_it_has_entries(void **state)
{
	struct xsk_end *a = &((struct xsk_rig *)*state)->a;
	struct xdp_desc descs[16];

	make_frames(a, descs, 16);
	assert_int_equal(xsk_num_free_tx_slots(a->xsk), 16);
	assert_int_equal(xsk_transmit(a->xsk, descs, 16), 16);
	assert_int_equal(xsk_num_free_tx_slots(a->xsk), 0);
	assert_int_equal(xsk_num_transmitted(a->queues), 16);
}

static void a_tx_ring_takes_none_of_one_frame_too_many(void **state)
{
	struct xsk_end *a = &((struct xsk_rig *)*state)->a;
	struct xdp_desc descs[17];

	make_frames(a, descs, 17);
	assert_int_equal(xsk_transmit(a->xsk, descs, 17), 0);
	assert_int_equal(xsk_num_free_tx_slots(a->xsk), 16);
	assert_int_equal(xsk_num_transmitted(a->queues), 0);
}

static void a_tx_ring_takes_frames_until_it_is_full(void **state)
{
	struct xsk_end *a = &((struct xsk_rig *)*state)->a;
	struct xdp_desc descs[17];

	make_frames(a, descs, 17);
	assert_int_equal(xsk_transmit(a->xsk, descs, 8), 8);
	assert_int_equal(xsk_transmit(a->xsk, descs + 8, 9), 0);
	assert_int_equal(xsk_transmit(a->xsk, descs + 8, 8), 8);
	assert_int_equal(xsk_transmit_one(a->xsk, &descs[16]), 0);
}

static void a_tx_ring_takes_one_frame(void **state)
{
	struct xsk_end *a = &((struct xsk_rig *)*state)->a;
	struct xdp_desc desc = test_frame(a, 60, 0);

	assert_int_equal(xsk_transmit_one(a->xsk, &desc), 1);
	assert_int_equal(xsk_num_free_tx_slots(a->xsk), 15);
	assert_int_equal(xsk_num_transmitted(a->queues), 1);
}

static void descriptors_that_the_kernel_would_swallow_are_refused(void **state)
{
	struct xsk_end *a = &((struct xsk_rig *)*state)->a;
	struct xdp_statistics statistics;
	const struct xdp_desc bad[] = {
		{.addr = 0, .len = 0},
		{.addr = a->umem->size, .len = 60},
		{.addr = a->umem->size - 59, .len = 60},
		{.addr = 0, .len = 2049},
		{.addr = 2000, .len = 60}, /* over the end of its frame */
		{.addr = UINT64_MAX, .len = 60},
		{.addr = 0, .len = UINT32_MAX},
		{.addr = 0, .len = 60, .options = XDP_PKT_CONTD},   /* not a multi-buffer socket */
		{.addr = 0, .len = 60, .options = XDP_TX_METADATA}, /* not a UMEM with metadata */
		{.addr = 0, .len = 60, .options = 1u << 31},
	};

	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		struct xdp_desc descs[2] = {test_frame(a, 60, 0), bad[i]};

		assert_int_equal(xsk_transmit(a->xsk, descs, 2), -EINVAL);
	}
	assert_int_equal(xsk_num_free_tx_slots(a->xsk), 16);
	assert_int_equal(xsk_flush_tx(a->xsk, NULL), 0);
	assert_int_equal(xsk_socket_statistics(a->xsk, &statistics), 0);
	assert_int_equal(statistics.tx_invalid_descs, 0);
}

/* The completion ring. */

static void nothing_completes_where_nothing_was_sent(void **state)
{
	struct xsk_end *a = &((struct xsk_rig *)*state)->a;
	uint64_t addrs[16];

	assert_int_equal(xsk_flush_tx(a->xsk, NULL), 0);
	assert_int_equal(xsk_num_completed(a->queues), 0);
	assert_int_equal(xsk_complete(a->queues, addrs, 16), 0);
	assert_int_equal(xsk_complete_one(a->queues, addrs), 0);
}

static void as_many_complete_as_were_sent_and_their_addresses_are_the_same(void **state)
{
	struct xsk_end *a = &((struct xsk_rig *)*state)->a;
	struct xdp_desc descs[16];
	uint64_t addrs[16];

	make_frames(a, descs, 16);
	send_and_complete(a, descs, 16, addrs);
	for (int i = 0; i < 16; i++)
		assert_int_equal(addrs[i], descs[i].addr);
	assert_int_equal(xsk_complete(a->queues, addrs, 16), 0);
	assert_int_equal(xsk_num_transmitted(a->queues), 0);
	assert_int_equal(xsk_num_free_tx_slots(a->xsk), 16);
}

static void one_completes_at_a_time_where_one_is_asked_for(void **state)
{
	struct xsk_end *a = &((struct xsk_rig *)*state)->a;
	struct xdp_desc descs[4];
	uint64_t addr;

	make_frames(a, descs, 4);
	assert_int_equal(xsk_transmit_and_wake(a->xsk, descs, 4), 4);
	assert_int_equal(xsk_num_completed(a->queues), 4); /* a veth lets go of a frame at once */
	for (uint32_t i = 0; i < 4; i++) {
		assert_int_equal(xsk_complete_one(a->queues, &addr), 1);
		assert_int_equal(addr, descs[i].addr);
		assert_int_equal(xsk_num_completed(a->queues), 3 - i);
	}
	assert_int_equal(xsk_complete_one(a->queues, &addr), 0);
}

/* A completion ring that nobody empties holds frames up, and loses none. */
static void a_full_completion_ring_holds_frames_up_until_it_is_emptied(void **state)
{
	struct xsk_end *a = &((struct xsk_rig *)*state)->a;
	struct xdp_desc descs[16], more = test_frame(a, 60, 0);
	uint64_t addrs[16];

	make_frames(a, descs, 16);
	assert_int_equal(xsk_transmit_and_wake(a->xsk, descs, 16), 16);
	assert_int_equal(xsk_num_completed(a->queues), 16);
	assert_int_equal(xsk_transmit_one(a->xsk, &more), 1);
	assert_int_equal(xsk_wake_tx(a->xsk), -EAGAIN);
	assert_int_equal(xsk_flush_tx(a->xsk, NULL), -EAGAIN);
	assert_int_equal(xsk_num_transmitted(a->queues), 17);
	assert_int_equal(xsk_complete(a->queues, addrs, 16), 16);
	assert_int_equal(xsk_flush_tx(a->xsk, NULL), 0);
	assert_int_equal(xsk_complete(a->queues, addrs, 16), 1);
	assert_int_equal(addrs[0], more.addr);
}

/* The RX ring. */

static void nothing_is_received_where_nothing_was_sent_nor_filled(void **state)
{
	struct xsk_end *b = &((struct xsk_rig *)*state)->b;
	struct xdp_desc descs[4];

	assert_int_equal(xsk_receive(b->xsk, descs, 4), 0);
	assert_int_equal(xsk_receive_one(b->xsk, descs), 0);
	assert_int_equal(xsk_num_received(b->xsk), 0);
	fill_some(b, 4);
	assert_int_equal(xsk_receive(b->xsk, descs, 4), 0);
	assert_int_equal(xsk_receive_wait(b->xsk, descs, 4, 20), 0);
	assert_int_equal(xsk_receive_wait(b->xsk, descs, 4, 0), 0);
	assert_int_equal(xsk_socket_poll(b->xsk, POLLIN, 0), 0);
}

/* Wait until the kernel counts as many frames lost for want of a place to put them. */
static uint64_t lost_for_want_of_frames(struct xsk_end *end, uint64_t expected)
{
	struct xdp_statistics statistics = {0};

	for (int i = 0; i < XSK_PATIENCE_MS && statistics.rx_fill_ring_empty_descs < expected; i++) {
		assert_int_equal(xsk_socket_statistics(end->xsk, &statistics), 0);
		nanosleep(&(struct timespec){.tv_nsec = 1000000}, NULL);
	}
	return statistics.rx_fill_ring_empty_descs;
}

static void nothing_is_received_into_an_empty_fill_ring_and_the_loss_is_counted(void **state)
{
	struct xsk_rig *rig = *state;
	struct xdp_desc descs[4], got[4];

	make_frames(&rig->a, descs, 4);
	send_and_complete(&rig->a, descs, 4, NULL);
	assert_int_equal(lost_for_want_of_frames(&rig->b, 4), 4);
	assert_int_equal(xsk_receive(rig->b.xsk, got, 4), 0);
}

static void a_full_rx_ring_loses_frames_and_counts_them(void **state)
{
	struct xsk_rig *rig = *state;
	struct xdp_statistics statistics = {0};
	struct xdp_desc descs[16];

	/* 32 entries, 40 frames to receive into, 48 frames sent. */
	fill_some(&rig->b, 32);
	make_frames(&rig->a, descs, 16);
	for (int i = 0; i < 2; i++)
		send_and_complete(&rig->a, descs, 16, NULL);
	for (int i = 0; i < XSK_PATIENCE_MS && xsk_num_received(rig->b.xsk) < 32; i++)
		nanosleep(&(struct timespec){.tv_nsec = 1000000}, NULL);
	assert_int_equal(xsk_num_received(rig->b.xsk), 32);
	fill_some(&rig->b, 8);
	send_and_complete(&rig->a, descs, 16, NULL);
	for (int i = 0; i < XSK_PATIENCE_MS && statistics.rx_ring_full < 16; i++) {
		assert_int_equal(xsk_socket_statistics(rig->b.xsk, &statistics), 0);
		nanosleep(&(struct timespec){.tv_nsec = 1000000}, NULL);
	}
	assert_int_equal(statistics.rx_ring_full, 16);
	assert_int_equal(statistics.rx_fill_ring_empty_descs, 0);
	/* What had no place has given its memory back: all 8 frames are still the kernel's. */
	assert_int_equal(xsk_num_filled(rig->b.queues), 40);
}

static void what_is_received_is_what_was_sent_behind_both_headrooms(void **state)
{
	struct xsk_rig *rig = *state;
	struct xdp_desc descs[16], got[16];
	bool seen[64] = {false};

	fill_some(&rig->b, 16);
	make_frames(&rig->a, descs, 16);
	assert_int_equal(xsk_transmit_and_wake(rig->a.xsk, descs, 16), 16);
	receive_all(&rig->b, got, 16);
	for (int i = 0; i < 16; i++) {
		uint32_t frame = xsk_addr_index(rig->b.umem, got[i].addr);

		assert_int_equal(got[i].len, descs[i].len);
		assert_memory_equal(
			xsk_data(rig->b.umem, &got[i]), xsk_data(rig->a.umem, &descs[i]), got[i].len);
		/* The kernel's 256 bytes, and the UMEM's 128. */
		assert_int_equal(got[i].addr, xsk_frame_addr(rig->b.umem, frame) + XSK_KERNEL_HEADROOM + 128);
		assert_int_equal(got[i].options, 0);
		if (seen[frame])
			fail_msg("frame %u has been received twice, the second time as number %d", frame, i);
		seen[frame] = true;
	}
	assert_int_equal(xsk_num_filled(rig->b.queues), 0);
	assert_int_equal(xsk_socket_bad_entries(rig->b.xsk), 0);

	struct xsk_counters a, b;

	xsk_socket_counters(rig->a.xsk, &a);
	xsk_socket_counters(rig->b.xsk, &b);
	assert_int_equal(a.transmitted, 16);
	assert_int_equal(a.filled + a.received + a.completed, 0);
	assert_int_equal(b.filled, 16);
	assert_int_equal(b.received, 16);
	assert_int_equal(b.transmitted + b.completed, 0);
}

static void one_is_received_at_a_time_where_one_is_asked_for(void **state)
{
	struct xsk_rig *rig = *state;
	struct xdp_desc descs[3], got;

	fill_some(&rig->b, 3);
	make_frames(&rig->a, descs, 3);
	assert_int_equal(xsk_transmit_and_wake(rig->a.xsk, descs, 3), 3);
	for (int i = 0; i < XSK_PATIENCE_MS && xsk_num_received(rig->b.xsk) < 3; i++)
		nanosleep(&(struct timespec){.tv_nsec = 1000000}, NULL);
	assert_int_equal(xsk_socket_poll(rig->b.xsk, POLLIN, 0), POLLIN);
	for (uint32_t i = 0; i < 3; i++) {
		assert_int_equal(xsk_receive_one(rig->b.xsk, &got), 1);
		assert_int_equal(got.len, descs[i].len);
		assert_int_equal(xsk_num_received(rig->b.xsk), 2 - i);
	}
	assert_int_equal(xsk_receive_one(rig->b.xsk, &got), 0);
}

/* What was done with a frame before leaves no trace in where the next one begins. */
static void the_headroom_is_whole_again_in_a_frame_received_into_anew(void **state)
{
	struct xsk_rig *rig = *state;
	struct xdp_desc desc = test_frame(&rig->a, 100, 0), got;

	fill_some(&rig->b, 1);
	for (int i = 0; i < 3; i++) {
		send_and_complete(&rig->a, &desc, 1, NULL);
		receive_all(&rig->b, &got, 1);
		assert_int_equal(xsk_headroom(rig->b.umem, &got).size, XSK_KERNEL_HEADROOM + 128);
		assert_int_equal(xsk_user_headroom(rig->b.umem, &got).size, 128);
		assert_int_equal(xsk_data_cursor(rig->b.umem, &got).length, 100);
		/* The data begins elsewhere now; any address within the frame gives the frame back. */
		assert_non_null(
			i == 1 ? xsk_desc_push(rig->b.umem, &got, 64) : xsk_desc_pull(rig->b.umem, &got, 64));
		assert_int_equal(xsk_fill_descs(rig->b.queues, &got, 1), 1);
	}
}

/* asavie/xdp#9: sending on a veth stopped after 16 frames; copy mode itself stops after 32 a call. */
static void sending_does_not_stop_after_a_ring_or_a_budget_of_frames(void **state)
{
	struct xsk_rig *rig = *state;
	struct xsk_end *b = &rig->b;
	uint64_t sent = 0, addrs[32];
	struct xdp_desc descs[32];

	make_frames(b, descs, 32);
	while (sent < 1000) {
		assert_int_equal(xsk_transmit(b->xsk, descs, 32), 32);
		assert_int_equal(xsk_flush_tx(b->xsk, NULL), 0);
		assert_int_equal(xsk_num_free_tx_slots(b->xsk), 32);
		assert_int_equal(xsk_complete(b->queues, addrs, 32), 32);
		sent += 32;
	}
}

#define KERNEL(test) cmocka_unit_test_setup_teardown(test, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(what_is_produced_is_seen_with_the_index_and_not_before),
		cmocka_unit_test(what_is_consumed_is_given_back_with_the_index_and_not_before),
		cmocka_unit_test(indices_wrap_past_32_bits),
		cmocka_unit_test(an_index_that_cannot_be_ends_in_nothing_not_out_of_bounds),
		cmocka_unit_test(the_wakeup_flag_is_the_kernels),
		KERNEL(a_fill_ring_takes_as_many_frames_as_it_has_entries),
		KERNEL(a_fill_ring_takes_none_of_one_frame_too_many),
		KERNEL(a_fill_ring_takes_frames_until_it_is_full),
		KERNEL(a_fill_ring_takes_one_frame),
		KERNEL(a_fill_ring_refuses_addresses_outside_the_umem),
		KERNEL(a_tx_ring_takes_as_many_frames_as_it_has_entries),
		KERNEL(a_tx_ring_takes_none_of_one_frame_too_many),
		KERNEL(a_tx_ring_takes_frames_until_it_is_full),
		KERNEL(a_tx_ring_takes_one_frame),
		KERNEL(descriptors_that_the_kernel_would_swallow_are_refused),
		KERNEL(nothing_completes_where_nothing_was_sent),
		KERNEL(as_many_complete_as_were_sent_and_their_addresses_are_the_same),
		KERNEL(one_completes_at_a_time_where_one_is_asked_for),
		KERNEL(a_full_completion_ring_holds_frames_up_until_it_is_emptied),
		KERNEL(nothing_is_received_where_nothing_was_sent_nor_filled),
		KERNEL(nothing_is_received_into_an_empty_fill_ring_and_the_loss_is_counted),
		KERNEL(a_full_rx_ring_loses_frames_and_counts_them),
		KERNEL(what_is_received_is_what_was_sent_behind_both_headrooms),
		KERNEL(one_is_received_at_a_time_where_one_is_asked_for),
		KERNEL(the_headroom_is_whole_again_in_a_frame_received_into_anew),
		KERNEL(sending_does_not_stop_after_a_ring_or_a_budget_of_frames),
	};
	if (!own_netns()) {
		puts("AF_XDP rings: skipped: network namespaces need root");
		return 0;
	}
	return cmocka_run_group_tests_name("AF_XDP rings", tests, NULL, NULL);
}
