/* How long to poll in vain, and how long to let frames gather: what is learnt from which experience. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "bridge/worker_parts.h"

#define US 1000u

static void time_to_poll_doubles_while_waiting_pays_and_halves_when_it_does_not(void **state)
{
	struct spin spin = {.max_ns = 100 * US};

	(void)state;
	spin_learn(&spin, 100 * US);
	assert_int_equal(spin.ns, SPIN_FIRST_NS);
	for (unsigned i = 0; i < 20; i++)
		spin_learn(&spin, 1);
	assert_int_equal(spin.ns, 100 * US);
	spin_learn(&spin, 100 * US + 1);
	assert_int_equal(spin.ns, 50 * US);
	for (unsigned i = 0; i < 20; i++)
		spin_learn(&spin, UINT64_MAX);
	assert_int_equal(spin.ns, 0);
}

static void who_must_not_poll_never_does(void **state)
{
	struct spin spin = {.max_ns = 0};

	(void)state;
	for (unsigned i = 0; i < 20; i++)
		spin_learn(&spin, 0);
	assert_false(spin_on(&spin, clock_ns(), 0));
}

static void polling_ends_after_what_was_learnt(void **state)
{
	struct spin spin = {.max_ns = 100 * US, .ns = 30 * US};

	(void)state;
	assert_true(spin_on(&spin, clock_ns(), 0));
	assert_true(spin_on(&spin, clock_ns(), 30 * US - 1));
	assert_false(spin_on(&spin, clock_ns(), 30 * US));
}

static void where_others_want_the_cpu_only_the_first_stretch_is_polled(void **state)
{
	struct spin spin = {.max_ns = 1000 * US, .ns = 1000 * US};
	uint64_t now = clock_ns();

	(void)state;
	/* A yield from which it is late already: as if others had run since `now`. */
	assert_true(spin_on(&spin, now - SPIN_GIVEN_NS - 1, SPIN_UNASKED_NS));
	assert_true(spin.crowded_until_ns >= now + SPIN_CROWDED_NS);
	assert_false(spin_on(&spin, spin.crowded_until_ns - 1, SPIN_UNASKED_NS));
	assert_true(spin_on(&spin, spin.crowded_until_ns - 1, SPIN_UNASKED_NS - 1));
	assert_true(spin_on(&spin, spin.crowded_until_ns, SPIN_UNASKED_NS));
}

static void frames_gather_longer_until_they_would_fill_the_ring(void **state)
{
	const uint64_t max = 800 * US;
	const uint32_t most = 100;
	uint64_t ns = NAP_MIN_NS;

	(void)state;
	assert_int_equal(gather_time(ns, 0, most, max), 2 * ns);
	for (unsigned i = 0; i < 20; i++)
		ns = gather_time(ns, most / 2, most, max);
	assert_int_equal(ns, max);
	assert_int_equal(gather_time(ns, most / 2 + 1, most, max), max);
	ns = gather_time(ns, most, most, max);
	assert_int_equal(ns, max / 2);
	assert_int_equal(gather_time(ns, most / 2 + 1, most, max), ns);
	for (unsigned i = 0; i < 20; i++)
		ns = gather_time(ns, most, most, max);
	assert_int_equal(ns, NAP_MIN_NS);
	/* What the user allows is less than the shortest nap. */
	assert_int_equal(gather_time(ns, most, most, 5 * US), 5 * US);
}

static void a_quarter_of_a_ring_may_gather_and_of_a_large_one_two_bursts(void **state)
{
	(void)state;
	assert_int_equal(gather_most(64), 16);
	assert_int_equal(gather_most(256), 64);
	assert_int_equal(gather_most(512), GATHER_MOST);
	assert_int_equal(gather_most(4096), GATHER_MOST);
	assert_int_equal(gather_most(0), gather_most(512));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(time_to_poll_doubles_while_waiting_pays_and_halves_when_it_does_not),
		cmocka_unit_test(who_must_not_poll_never_does),
		cmocka_unit_test(polling_ends_after_what_was_learnt),
		cmocka_unit_test(where_others_want_the_cpu_only_the_first_stretch_is_polled),
		cmocka_unit_test(frames_gather_longer_until_they_would_fill_the_ring),
		cmocka_unit_test(a_quarter_of_a_ring_may_gather_and_of_a_large_one_two_bursts),
	};

	return cmocka_run_group_tests_name("spin", tests, NULL, NULL);
}
