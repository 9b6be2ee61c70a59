/* ixy-pktgen's search for a rate, against devices of known capacity, and the words of its command line. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "contrib/apps/pktgen/search.h"
#include "contrib/apps/pktgen/words.h"

/* Play a device that forwards so much and no more. Returns the trials it took. */
static unsigned search_for(struct search *search, double capacity, bool hints)
{
	double value;

	while ((value = search_next(search)) > 0) {
		assert_true(value <= search->max);
		search_tell(search, value, value <= capacity, hints && value > capacity ? capacity : 0);
	}
	return search->trials;
}

static void a_capacity_is_found_within_the_resolution(void **state)
{
	static const double capacities[] = {1, 17, 1234.5, 8445.9, 29761.9, 1e6, 14880000, 14880951};
	struct search search;

	(void)state;
	for (size_t i = 0; i < sizeof(capacities) / sizeof(capacities[0]); i++) {
		for (unsigned hints = 0; hints < 2; hints++) {
			search_start(&search, 14880952, 1, 0.005);
			unsigned trials = search_for(&search, capacities[i], hints);

			assert_true(search.passed <= capacities[i]);
			assert_true(search.passed >= capacities[i] * 0.995);
			assert_true(trials <= (hints ? 4 : 40));
		}
	}
}

static void what_passes_at_the_highest_rate_takes_one_trial(void **state)
{
	struct search search;

	(void)state;
	search_start(&search, 1000, 1, 0.005);
	assert_int_equal(search_for(&search, 1000, true), 1);
	assert_true(search.passed == 1000);
}

static void what_passes_at_no_rate_ends_with_nothing(void **state)
{
	struct search search;

	(void)state;
	search_start(&search, 1000000, 1, 0.005);
	assert_true(search_for(&search, 0, false) < 30);
	assert_true(search.passed == 0);
}

static void a_hint_that_promises_too_much_or_too_little_does_not_mislead(void **state)
{
	static const double lies[] = {0.1, 0.9, 1.1, 3};
	struct search search;
	double value;

	(void)state;
	for (size_t i = 0; i < sizeof(lies) / sizeof(lies[0]); i++) {
		search_start(&search, 14880952, 1, 0.005);
		while ((value = search_next(&search)) > 0)
			search_tell(&search, value, value <= 50000, value > 50000 ? 50000 * lies[i] : 0);
		assert_true(search.passed <= 50000 && search.passed >= 50000 * 0.995);
		assert_true(search.trials < 40);
	}
}

static void a_device_that_passes_as_it_likes_comes_to_an_end(void **state)
{
	struct search search;
	double value;

	(void)state;
	srand(3);
	for (unsigned i = 0; i < 1000; i++) {
		search_start(&search, 1e7, 1, 0.0001);
		while ((value = search_next(&search)) > 0)
			search_tell(&search, value, rand() % 2, rand() % 2 ? value * 0.9999 : 0);
		assert_true(search.trials <= 100);
	}
}

/* --- words ---------------------------------------------------------------------------------------------- */

static void lengths_are_numbers_with_weights(void **state)
{
	static const char *const wrong[] = {"", "63", "9729", "64,", ",64", "64:", "64:0", "64:1001", "64 ",
		"-64", "64;65", "6x4", "1e3", "99999999999999999999"};
	char many[3 * (WORDS_SIZES + 1)];
	struct sizes sizes;

	(void)state;
	for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++)
		assert_false(sizes_parse(wrong[i], &sizes));
	for (unsigned i = 0; i <= WORDS_SIZES; i++)
		memcpy(many + 3 * i, "64,", 3);
	many[3 * WORDS_SIZES + 2] = '\0';
	assert_false(sizes_parse(many, &sizes));
	many[3 * WORDS_SIZES - 1] = '\0';
	assert_true(sizes_parse(many, &sizes));
	assert_true(sizes_parse("64", &sizes) && sizes.count == 1 && sizes.of[0].size == 64);
	assert_true(sizes_parse("9728,1000:3", &sizes) && sizes.weights == 4);
	assert_int_equal(sizes_longest(&sizes), 9728);
	assert_int_equal(sizes_shortest(&sizes), 1000);
	assert_true(sizes_mean_wire(&sizes) == (9748 + 3 * 1020) / 4.0);
}

static void a_mix_keeps_its_weights_and_is_spread_out(void **state)
{
	struct sizes sizes;
	unsigned counts[3] = {0}, row = 0, longest_row = 0, before = 3;

	(void)state;
	assert_true(sizes_parse("imix", &sizes));
	for (unsigned i = 0; i < 12 * 1000; i++) {
		unsigned kind = sizes_next(&sizes);

		assert_true(kind < 3);
		counts[kind]++;
		row = kind == before ? row + 1 : 1;
		before = kind;
		longest_row = row > longest_row ? row : longest_row;
	}
	assert_int_equal(counts[0], 7000);
	assert_int_equal(counts[1], 4000);
	assert_int_equal(counts[2], 1000);
	assert_true(longest_row <= 3);
}

static void rates_have_units(void **state)
{
	static const struct {
		const char *text;
		int kind;
		double value;
	} right[] = {{"max", RATE_MAX, 0}, {"1", RATE_FRAMES, 1}, {"1.5M", RATE_FRAMES, 1.5e6},
		{"100k", RATE_FRAMES, 1e5}, {"50%", RATE_PERCENT, 50}, {"0.5%", RATE_PERCENT, 0.5},
		{"20Mbit", RATE_BITS, 20e6}, {"2.5Gbit", RATE_BITS, 2.5e9}, {"100bit", RATE_BITS, 100}};
	static const char *const wrong[] = {"", "0", "-1", "k", "1x", "101%", "0%", "1kb", "1Mbits", "1.2.3",
		"maximum", "1e5", "nan", "inf", "0x10", "5 %", "10000000G"};
	struct rate rate;

	(void)state;
	for (size_t i = 0; i < sizeof(right) / sizeof(right[0]); i++) {
		assert_true(rate_parse(right[i].text, &rate));
		assert_int_equal(rate.kind, right[i].kind);
		assert_true(rate.value == right[i].value);
	}
	for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++)
		assert_false(rate_parse(wrong[i], &rate));
}

static void a_percentage_is_of_the_links_speed(void **state)
{
	struct schedule_config config = {0};
	struct rate rate;

	(void)state;
	assert_true(rate_parse("10%", &rate));
	rate_schedule(&rate, 1000, &config);
	assert_int_equal(config.unit, SCHEDULE_BITS);
	assert_true(fabs(config.rate - 100e6) < 1);
	assert_int_equal((int)rate_line(10000, 84), 14880952);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_capacity_is_found_within_the_resolution),
		cmocka_unit_test(what_passes_at_the_highest_rate_takes_one_trial),
		cmocka_unit_test(what_passes_at_no_rate_ends_with_nothing),
		cmocka_unit_test(a_hint_that_promises_too_much_or_too_little_does_not_mislead),
		cmocka_unit_test(a_device_that_passes_as_it_likes_comes_to_an_end),
		cmocka_unit_test(lengths_are_numbers_with_weights),
		cmocka_unit_test(a_mix_keeps_its_weights_and_is_spread_out),
		cmocka_unit_test(rates_have_units),
		cmocka_unit_test(a_percentage_is_of_the_links_speed),
	};
	return cmocka_run_group_tests_name("pktgen search and words", tests, NULL, NULL);
}
