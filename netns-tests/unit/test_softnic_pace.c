/*
 * The rate-limited wire: its clock and its packet buffer with times that the test makes up, and the transmit engine
 * behind it.
 */
#include "tx_rig.h"

#include <inttypes.h>

#include "netns-tests/softnic/log.h"
#include "netns-tests/softnic/pace.h"

static uint8_t frame[NIC_FRAME_MAX];

static unsigned take_all(struct pace *pace, int64_t now_ns)
{
	unsigned frames = 0;
	size_t size;

	while (pace_take(pace, now_ns, &size))
		frames++;
	return frames;
}

/* --- the clock ------------------------------------------------------------------------------------------ */

static void a_frame_has_left_after_its_bits_and_what_the_wire_adds(void **state)
{
	struct pace *pace = pace_create(100);
	size_t size;

	(void)state;
	assert_int_equal(pace_due_ns(pace), -1);
	assert_true(pace_put(pace, frame, 60, 1000));
	/* 84 bytes at 10 ns a bit */
	assert_int_equal(pace_due_ns(pace), 1000 + 6720);
	assert_null(pace_take(pace, 1000 + 6719, &size));
	assert_non_null(pace_take(pace, 1000 + 6720, &size));
	assert_int_equal(size, 60);
	assert_int_equal(pace_due_ns(pace), -1);
	pace_free(pace);
}

static void a_rate_that_divides_nothing_evenly_does_not_drift(void **state)
{
	struct pace *pace = pace_create(37);
	const int64_t start = 12345;
	int64_t last = 0;

	(void)state;
	/* 84 bytes are 672,000 / 37 ns, so 37 times 100,000 frames are 672,000 times 100,000 ns, with nothing left. */
	for (unsigned i = 0; i < 3700000; i++) {
		assert_true(pace_put(pace, frame, 60, start));
		last = pace_due_ns(pace);
		assert_int_equal(take_all(pace, last), 1);
	}
	assert_int_equal(last - start, INT64_C(84) * 8 * 1000 * 100000);
	pace_free(pace);
}

static void a_wire_that_was_idle_has_saved_nothing(void **state)
{
	struct pace *pace = pace_create(100);

	(void)state;
	assert_true(pace_put(pace, frame, 60, 1000));
	take_all(pace, INT64_C(5000000000));
	pace_backlog(pace, false);
	assert_true(pace_put(pace, frame, 60, INT64_C(5000000000)));
	assert_true(pace_put(pace, frame, 60, INT64_C(5000000000)));
	assert_int_equal(take_all(pace, INT64_C(5000000000) + 6719), 0);
	assert_int_equal(take_all(pace, INT64_C(5000000000) + 6720), 1);
	assert_int_equal(take_all(pace, INT64_C(5000000000) + 13440), 1);
	pace_free(pace);
}

static void what_waited_in_the_rings_leaves_as_if_it_had_been_fetched_in_time(void **state)
{
	struct pace *pace = pace_create(100);

	(void)state;
	assert_true(pace_put(pace, frame, 60, 1000));
	pace_backlog(pace, true);
	/* The process comes back 1 ms later, and has a minute's stop after that. */
	assert_true(pace_put(pace, frame, 60, 1001000));
	assert_int_equal(take_all(pace, 1000 + 2 * 6720), 2);
	assert_true(pace_put(pace, frame, 60, INT64_C(60000000000)));
	assert_int_equal(pace_due_ns(pace), INT64_C(60000000000) - PACE_LATE_NS + 6720);
	pace_free(pace);
}

static void the_slowest_and_the_fastest_wire_keep_time(void **state)
{
	struct pace *slow = pace_create(1), *fast = pace_create(PACE_MBIT_MAX);

	(void)state;
	assert_true(pace_put(slow, frame, NIC_FRAME_MAX, 0));
	assert_int_equal(pace_due_ns(slow), (NIC_FRAME_MAX + 24) * 8000);
	/* 6.72 ns each: rounded up for the one, exact for many */
	for (unsigned i = 0; i < 100; i++)
		assert_true(pace_put(fast, frame, 60, 0));
	assert_int_equal(pace_due_ns(fast), 7);
	assert_int_equal(take_all(fast, 671), 99);
	assert_int_equal(take_all(fast, 672), 1);
	pace_free(slow);
	pace_free(fast);
}

/* --- the packet buffer ---------------------------------------------------------------------------------- */

static void frames_come_out_in_order_and_as_they_went_in(void **state)
{
	struct pace *pace = pace_create(1000);
	unsigned in = 0, out = 0;
	int64_t now = 0;

	(void)state;
	/* Sizes that hit the end of the memory in different ways, many times round. */
	while (out < 20000) {
		while (!pace_full(pace) && in < 20000) {
			memset(frame, (int)(in & 0xff), 60 + in * 7919 % 9000);
			assert_true(pace_put(pace, frame, 60 + in * 7919 % 9000, now));
			in++;
		}
		now += 1000000;
		size_t size;
		for (const uint8_t *got; (got = pace_take(pace, now, &size)); out++) {
			assert_int_equal(size, 60 + out * 7919 % 9000);
			assert_int_equal(got[0], out & 0xff);
			assert_int_equal(got[size - 1], out & 0xff);
		}
	}
	assert_int_equal(in, 20000);
	pace_free(pace);
}

static void the_buffer_holds_as_much_as_the_cards(void **state)
{
	struct pace *pace = pace_create(10);
	unsigned frames = 0;

	(void)state;
	while (!pace_full(pace)) {
		assert_true(pace_put(pace, frame, 1000, 0));
		frames++;
	}
	assert_in_range(frames * 1000, PACE_BUFFER - NIC_FRAME_MAX, PACE_BUFFER);
	pace_free(pace);
}

static void segments_without_end_are_lost_and_said_to_be(void **state)
{
	struct pace *pace = pace_create(10);
	unsigned frames = 0;

	(void)state;
	while (pace_put(pace, frame, 60, 0))
		assert_true(++frames < 1000000);
	assert_true(frames > PACE_BUFFER / 60);
	assert_int_equal(take_all(pace, INT64_MAX), frames);
	assert_int_equal(pace_due_ns(pace), -1);
	assert_false(pace_full(pace));
	pace_free(pace);
}

/* --- behind the transmit engine ------------------------------------------------------------------------- */

static int setup_paced(void **state)
{
	setup_with_queue(state);
	struct rig *rig = *state;

	rig->wire.pace = pace_create(1);
	return rig->wire.pace ? 0 : -1;
}

static int teardown_paced(void **state)
{
	struct rig *rig = *state;

	pace_free(rig->wire.pace);
	rig->wire.pace = NULL;
	return rig_teardown(state);
}

static void what_the_full_buffer_does_not_take_waits_in_the_ring(void **state)
{
	struct rig *rig = *state;
	unsigned taken = 0;

	/* At 1 Mbit/s a frame of 10,000 bytes takes 80 ms. */
	rig_write(rig, MAXFRS, 10100u << MAXFRS_SHIFT);
	rig_set(rig, HLREG0, HLREG0_JUMBOEN);
	for (unsigned i = 0; i < RING - 1; i++)
		put_data(rig, i, i, 0, 10000, TXD_CMD_EOP | TXD_CMD_RS, 10000u << TXD_OL_PAYLEN_SHIFT);
	rig_write(rig, TDT(0), RING - 1);
	for (unsigned n; (n = nic_tx_poll(rig->nic, 1000)); taken += n)
		;
	assert_int_equal(taken, (PACE_BUFFER - NIC_FRAME_MAX) / 10000 + 1);
	assert_int_equal(nic_peek32(rig->nic, TDH(0)), taken);
	assert_true(done(rig, taken - 1));
	assert_false(done(rig, taken));
	assert_true(wire_full(&rig->wire));
	assert_true(wire_due_us(&rig->wire) > 0);
	assert_int_equal(rig->sent_count, 0);
}

static void what_was_sent_leaves_although_the_card_is_reset(void **state)
{
	struct rig *rig = *state;

	put_single(rig, 0, 0, 300);
	ring_doorbell(rig, 1);
	nic_reset_device(rig->nic);
	assert_true(wire_due_us(&rig->wire) >= 0);
	assert_int_equal(rig->wire.tx_dropped, 0);
}

/* --- the command line's words --------------------------------------------------------------------------- */

static void the_rate_is_the_last_part_of_a_spec(void **state)
{
	static const struct {
		const char *spec;
		size_t length;
		uint32_t mbit;
		int result;
	} cases[] = {
		{"cable", 5, 0, 0},
		{"cable,rate=100", 5, 100, 0},
		{"dev:veth1,rate=1", 9, 1, 0},
		{"dev:a,rate=5,rate=100000", 12, 100000, 0},
		{"cable,rate=0", 5, 0, -1},
		{"cable,rate=", 5, 0, -1},
		{"cable,rate=-5", 5, 0, -1},
		{"cable,rate=10x", 5, 0, -1},
		{"cable,rate=100001", 5, 0, -1},
		{"cable,rate=99999999999999999999", 5, 0, -1},
	};

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		size_t length;
		uint32_t mbit;

		assert_int_equal(wire_parse_rate(cases[i].spec, &length, &mbit), cases[i].result);
		assert_int_equal(length, cases[i].length);
		assert_int_equal(mbit, cases[i].mbit);
	}
}

static void a_wire_without_a_clock_refuses_a_rate(void **state)
{
	static const char *const wrong[] = {"none,rate=10", "cable,rate=x", "cable,rate=0", "cable:x,rate=10",
		",rate=10", "dev:,rate=10"};
	static const uint8_t mac[6] = {2};
	struct nic *nic = nic_create(0, "test", mac);
	struct ev_loop *loop = ev_loop_new(EVFLAG_AUTO);

	(void)state;
	softnic_log_level(LOG_LEVEL_ERROR);
	for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++)
		assert_null(wire_open(wrong[i], nic, loop));
	struct wire *wire = wire_open("cable,rate=10", nic, loop);
	assert_non_null(wire);
	wire_close(wire);
	nic_free(nic);
	ev_loop_destroy(loop);
}

int main(void)
{
#define TEST_PACED(name) cmocka_unit_test_setup_teardown(name, setup_paced, teardown_paced)
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_frame_has_left_after_its_bits_and_what_the_wire_adds),
		cmocka_unit_test(a_rate_that_divides_nothing_evenly_does_not_drift),
		cmocka_unit_test(a_wire_that_was_idle_has_saved_nothing),
		cmocka_unit_test(what_waited_in_the_rings_leaves_as_if_it_had_been_fetched_in_time),
		cmocka_unit_test(the_slowest_and_the_fastest_wire_keep_time),
		cmocka_unit_test(frames_come_out_in_order_and_as_they_went_in),
		cmocka_unit_test(the_buffer_holds_as_much_as_the_cards),
		cmocka_unit_test(segments_without_end_are_lost_and_said_to_be),
		TEST_PACED(what_the_full_buffer_does_not_take_waits_in_the_ring),
		TEST_PACED(what_was_sent_leaves_although_the_card_is_reset),
		cmocka_unit_test(the_rate_is_the_last_part_of_a_spec),
		cmocka_unit_test(a_wire_without_a_clock_refuses_a_rate),
	};
	return cmocka_run_group_tests_name("softnic pace", tests, NULL, NULL);
}
