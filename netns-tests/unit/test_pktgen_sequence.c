/* ixy-pktgen's account of numbered frames, by hand and against a slow one with perfect memory. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "contrib/apps/pktgen/sequence.h"

static struct sequence sequence;

static int fresh(void **state)
{
	(void)state;
	memset(&sequence, 0, sizeof(sequence));
	return 0;
}

static void add(const uint32_t *numbers, size_t count)
{
	for (size_t i = 0; i < count; i++)
		sequence_add(&sequence, numbers[i]);
}

#define ADD(...) add((const uint32_t[]){__VA_ARGS__}, sizeof((uint32_t[]){__VA_ARGS__}) / sizeof(uint32_t))

static void assert_account(uint64_t received, uint64_t lost, uint64_t reordered, uint64_t duplicates)
{
	assert_int_equal(sequence.received, received);
	assert_int_equal(sequence_lost(&sequence), lost);
	assert_int_equal(sequence.reordered, reordered);
	assert_int_equal(sequence.duplicates, duplicates);
}

static void nothing_came_and_nothing_is_known_to_be_missing(void **state)
{
	(void)state;
	assert_account(0, 0, 0, 0);
}

static void frames_in_order_are_all_there(void **state)
{
	(void)state;
	ADD(0, 1, 2, 3, 4);
	assert_account(5, 0, 0, 0);
}

static void a_gap_is_a_loss_until_it_is_filled(void **state)
{
	(void)state;
	ADD(0, 1, 4);
	assert_account(3, 2, 0, 0);
	ADD(2);
	assert_account(4, 1, 1, 0);
	ADD(3);
	assert_account(5, 0, 2, 0);
}

static void two_that_changed_places_are_one_reordered(void **state)
{
	(void)state;
	ADD(0, 2, 1, 3);
	assert_account(4, 0, 1, 0);
}

static void a_second_copy_is_a_duplicate_and_hides_no_loss(void **state)
{
	(void)state;
	ADD(0, 0, 2, 2, 2, 0);
	assert_account(2, 1, 0, 4);
}

static void counting_begins_with_what_comes_first(void **state)
{
	(void)state;
	ADD(1000, 1001);
	assert_account(2, 0, 0, 0);
	ADD(998); /* was on its way when we began to listen */
	assert_account(3, 1, 1, 0);
}

static void numbers_go_round(void **state)
{
	(void)state;
	ADD(0xfffffffe, 0, 0xffffffff, 1);
	assert_account(4, 0, 1, 0);
	ADD(0xffffffff);
	assert_account(4, 0, 1, 1);
}

static void numbers_go_round_more_than_once(void **state)
{
	(void)state;
	for (uint64_t number = 0; number < UINT64_C(9) << 30; number += UINT64_C(1) << 30)
		sequence_add(&sequence, (uint32_t)number);
	assert_account(9, (UINT64_C(8) << 30) + 1 - 9, 0, 0);
}

static void what_is_older_than_the_window_counts_as_reordered(void **state)
{
	(void)state;
	ADD(0, 5000, 5000 - SEQUENCE_WINDOW, 5000 - SEQUENCE_WINDOW + 1, 5000 - SEQUENCE_WINDOW + 1);
	assert_account(4, 5001 - 4, 2, 1);
}

static void a_leap_forgets_what_was_seen_at_the_same_place_of_the_window(void **state)
{
	(void)state;
	ADD(1, SEQUENCE_WINDOW + 2, SEQUENCE_WINDOW + 1);
	assert_account(3, SEQUENCE_WINDOW + 2 - 3, 1, 0);
}

#define FRAMES 5000
#define NEAR   200

/* Frames of which some are dropped, doubled, and moved by up to NEAR places. */
static void a_random_network_is_accounted_for(void **state)
{
	static uint32_t arriving[2 * FRAMES];
	static bool seen[FRAMES];
	uint64_t unique = 0, reordered = 0, duplicates = 0, next = 0, first;
	unsigned count = 0;

	(void)state;
	srand(7);
	for (uint32_t i = 0; i < FRAMES; i++) {
		if (rand() % 10 == 0)
			continue;
		arriving[count++] = i;
		if (rand() % 20 == 0)
			arriving[count++] = i;
	}
	for (unsigned i = 0; i + NEAR < count; i++) {
		unsigned other = i + (unsigned)rand() % NEAR;
		uint32_t swapped = arriving[i];

		if (rand() % 5)
			continue;
		arriving[i] = arriving[other];
		arriving[other] = swapped;
	}
	first = arriving[0];
	for (unsigned i = 0; i < count; i++) {
		uint32_t number = arriving[i];

		sequence_add(&sequence, number);
		first = number < first ? number : first;
		if (seen[number]) {
			duplicates++;
		} else {
			unique++;
			reordered += number < next;
		}
		seen[number] = true;
		next = number >= next ? number + 1u : next;
		/* The model's memory is perfect; the window must have been enough for it to be a fair one. */
		assert_true(number + SEQUENCE_WINDOW > next);
	}
	assert_true(reordered > 100 && duplicates > 100);
	assert_account(unique, next - first - unique, reordered, duplicates);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup(nothing_came_and_nothing_is_known_to_be_missing, fresh),
		cmocka_unit_test_setup(frames_in_order_are_all_there, fresh),
		cmocka_unit_test_setup(a_gap_is_a_loss_until_it_is_filled, fresh),
		cmocka_unit_test_setup(two_that_changed_places_are_one_reordered, fresh),
		cmocka_unit_test_setup(a_second_copy_is_a_duplicate_and_hides_no_loss, fresh),
		cmocka_unit_test_setup(counting_begins_with_what_comes_first, fresh),
		cmocka_unit_test_setup(numbers_go_round, fresh),
		cmocka_unit_test_setup(numbers_go_round_more_than_once, fresh),
		cmocka_unit_test_setup(what_is_older_than_the_window_counts_as_reordered, fresh),
		cmocka_unit_test_setup(a_leap_forgets_what_was_seen_at_the_same_place_of_the_window, fresh),
		cmocka_unit_test_setup(a_random_network_is_accounted_for, fresh),
	};
	return cmocka_run_group_tests_name("pktgen sequence", tests, NULL, NULL);
}
