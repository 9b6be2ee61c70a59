/* ixy-pktgen's schedule: rates that do not drift, bursts, random gaps, and what happens to a sender that is late. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "contrib/apps/pktgen/schedule.h"

#define SECOND UINT64_C(1000000000)
#define START  UINT64_C(777)

/* When frame number n is due, after n of these sizes have gone. */
static uint64_t due(
	struct schedule *schedule, const struct schedule_config *config, unsigned n, uint32_t wire)
{
	schedule_start(schedule, config, START);
	for (unsigned i = 0; i < n; i++)
		schedule_advance(schedule, wire);
	return schedule->next_ns - START;
}

static void the_first_frame_is_due_at_once(void **state)
{
	struct schedule schedule;
	struct schedule_config config = {.unit = SCHEDULE_FRAMES, .rate = 1};

	(void)state;
	schedule_start(&schedule, &config, START);
	assert_true(schedule_due(&schedule, START));
	schedule_advance(&schedule, 84);
	assert_false(schedule_due(&schedule, START + SECOND - 1));
	assert_true(schedule_due(&schedule, START + SECOND));
}

static void a_rate_whose_gap_is_no_whole_number_does_not_drift(void **state)
{
	static const double rates[] = {3, 7, 29761.904, 333333, 14880952.381};
	struct schedule schedule;

	(void)state;
	for (size_t i = 0; i < sizeof(rates) / sizeof(rates[0]); i++) {
		struct schedule_config config = {.unit = SCHEDULE_FRAMES, .rate = rates[i]};
		double right = 3000000 / rates[i] * SECOND;

		assert_true(fabs((double)due(&schedule, &config, 3000000, 84) - right) <= 1 + right * 1e-12);
	}
}

static void bits_a_second_count_what_the_wire_counts(void **state)
{
	struct schedule_config config = {.unit = SCHEDULE_BITS, .rate = 10e9};
	struct schedule schedule;

	(void)state;
	/* 84 bytes at 10 Gbit/s are 67.2 ns. */
	assert_int_equal(due(&schedule, &config, 1, 84), 67);
	assert_int_equal(due(&schedule, &config, 10, 84), 672);
	assert_int_equal(due(&schedule, &config, 1, 1538), 1230);
}

static void without_a_rate_all_is_due_at_once(void **state)
{
	struct schedule_config config = {.unit = SCHEDULE_MAX};
	struct schedule schedule;

	(void)state;
	assert_int_equal(due(&schedule, &config, 1000, 84), 0);
	assert_int_equal(schedule_catch_up(&schedule, START + 100 * SECOND), 0);
}

static void a_burst_is_due_together_and_keeps_the_rate(void **state)
{
	struct schedule_config config = {.unit = SCHEDULE_FRAMES, .rate = 1000, .burst = 32};
	struct schedule schedule;

	(void)state;
	for (unsigned n = 0; n < 32; n++)
		assert_int_equal(due(&schedule, &config, n, 84), 0);
	assert_int_equal(due(&schedule, &config, 32, 84), 32000000);
	assert_int_equal(due(&schedule, &config, 63, 84), 32000000);
	assert_int_equal(due(&schedule, &config, 32000, 84), 32 * SECOND);
}

static void random_gaps_have_the_mean_and_the_spread_of_a_poisson_process(void **state)
{
	struct schedule_config config = {.unit = SCHEDULE_FRAMES, .rate = 1e6, .poisson = true, .seed = 42};
	double sum = 0, squares = 0;
	struct schedule schedule;
	uint64_t last = START;

	(void)state;
	schedule_start(&schedule, &config, START);
	for (unsigned i = 0; i < 1000000; i++) {
		schedule_advance(&schedule, 84);
		double gap = (double)(schedule.next_ns - last);

		sum += gap;
		squares += gap * gap;
		last = schedule.next_ns;
	}
	/* Mean and standard deviation of 1000 ns: within 5 standard errors, for this seed and for most others. */
	assert_true(fabs(sum / 1e6 - 1000) < 5);
	assert_true(fabs(sqrt(squares / 1e6 - (sum / 1e6) * (sum / 1e6)) - 1000) < 10);
}

static void the_same_seed_gives_the_same_gaps(void **state)
{
	struct schedule_config one = {.unit = SCHEDULE_FRAMES, .rate = 1e3, .poisson = true, .seed = 1},
			       other = one;
	struct schedule schedule;

	(void)state;
	other.seed = 2;
	assert_int_equal(due(&schedule, &one, 100, 84), due(&schedule, &one, 100, 84));
	assert_int_not_equal(due(&schedule, &one, 100, 84), due(&schedule, &other, 100, 84));
}

static void a_sender_that_is_a_little_late_catches_up(void **state)
{
	struct schedule_config config = {.unit = SCHEDULE_FRAMES, .rate = 1000};
	struct schedule schedule;
	unsigned frames = 0;

	(void)state;
	schedule_start(&schedule, &config, START);
	assert_int_equal(schedule_catch_up(&schedule, START + 5000000), 0);
	for (; schedule_due(&schedule, START + 5000000); frames++)
		schedule_advance(&schedule, 84);
	assert_int_equal(frames, 6);
}

static void a_sender_that_is_very_late_does_not_make_up_for_it(void **state)
{
	struct schedule_config config = {.unit = SCHEDULE_FRAMES, .rate = 1000};
	struct schedule schedule;
	unsigned frames = 0;

	(void)state;
	schedule_start(&schedule, &config, START);
	assert_int_equal(schedule_catch_up(&schedule, START + SECOND), SECOND - SCHEDULE_LATE_NS);
	assert_int_equal(schedule.moved_ns, SECOND - SCHEDULE_LATE_NS);
	for (; schedule_due(&schedule, START + SECOND); frames++)
		schedule_advance(&schedule, 84);
	assert_int_equal(frames, SCHEDULE_LATE_NS / 1000000 + 1);
}

static void a_captures_own_times_move_with_the_schedule(void **state)
{
	struct schedule_config config = {.unit = SCHEDULE_TIMES};
	struct schedule schedule;

	(void)state;
	schedule_start(&schedule, &config, START);
	schedule_at(&schedule, 500);
	assert_int_equal(schedule.next_ns, START + 500);
	schedule_catch_up(&schedule, START + 500 + SCHEDULE_LATE_NS + 1000);
	schedule_at(&schedule, 600);
	assert_int_equal(schedule.next_ns, START + 600 + 1000);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(the_first_frame_is_due_at_once),
		cmocka_unit_test(a_rate_whose_gap_is_no_whole_number_does_not_drift),
		cmocka_unit_test(bits_a_second_count_what_the_wire_counts),
		cmocka_unit_test(without_a_rate_all_is_due_at_once),
		cmocka_unit_test(a_burst_is_due_together_and_keeps_the_rate),
		cmocka_unit_test(random_gaps_have_the_mean_and_the_spread_of_a_poisson_process),
		cmocka_unit_test(the_same_seed_gives_the_same_gaps),
		cmocka_unit_test(a_sender_that_is_a_little_late_catches_up),
		cmocka_unit_test(a_sender_that_is_very_late_does_not_make_up_for_it),
		cmocka_unit_test(a_captures_own_times_move_with_the_schedule),
	};
	return cmocka_run_group_tests_name("pktgen schedule", tests, NULL, NULL);
}
