/* ixy-pktgen's histogram against sorting. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "contrib/apps/pktgen/histogram.h"

static struct histogram histogram;

static int empty(void **state)
{
	(void)state;
	memset(&histogram, 0, sizeof(histogram));
	return 0;
}

static void an_empty_histogram_says_nothing_but_zero(void **state)
{
	(void)state;
	assert_int_equal(histogram_quantile(&histogram, 0.5), 0);
	assert_int_equal(histogram_mean(&histogram), 0);
}

static void one_value_is_every_quantile_of_itself(void **state)
{
	static const double parts[] = {0, 0.001, 0.5, 0.999, 1};

	(void)state;
	histogram_add(&histogram, 1234567);
	for (size_t i = 0; i < sizeof(parts) / sizeof(parts[0]); i++)
		assert_int_equal(histogram_quantile(&histogram, parts[i]), 1234567);
	assert_int_equal(histogram_mean(&histogram), 1234567);
	assert_int_equal(histogram.min, 1234567);
	assert_int_equal(histogram.max, 1234567);
}

static void buckets_follow_each_other_without_a_gap(void **state)
{
	(void)state;
	for (unsigned i = 0; i + 1 < HISTOGRAM_BUCKETS; i++) {
		uint64_t end = histogram_bucket_end(i);

		assert_int_equal(histogram_bucket(end), i);
		assert_int_equal(histogram_bucket(end + 1), i + 1);
	}
	assert_int_equal(histogram_bucket(UINT64_MAX), HISTOGRAM_BUCKETS - 1);
	assert_int_equal(histogram_bucket((UINT64_C(1) << HISTOGRAM_LIMIT) - 1), HISTOGRAM_BUCKETS - 1);
}

static int ascending(const void *a, const void *b)
{
	uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

	return x < y ? -1 : x > y;
}

static void quantiles_are_those_of_the_sorted_values_within_a_bucket(void **state)
{
	static uint64_t values[20000];
	static const double parts[] = {0.01, 0.25, 0.5, 0.9, 0.99, 0.999, 0.9999, 1};
	uint64_t random = 1;

	(void)state;
	for (size_t i = 0; i < 20000; i++) {
		random = random * UINT64_C(6364136223846793005) + 1442695040888963407;
		values[i] = (random >> 33) >> (random >> 59 & 31); /* of all orders of magnitude */
		histogram_add(&histogram, values[i]);
	}
	qsort(values, 20000, sizeof(values[0]), ascending);
	assert_int_equal(histogram.min, values[0]);
	assert_int_equal(histogram.max, values[19999]);
	for (size_t i = 0; i < sizeof(parts) / sizeof(parts[0]); i++) {
		uint64_t right = values[(size_t)ceil(parts[i] * 20000) - 1];

		assert_in_range(histogram_quantile(&histogram, parts[i]), right, right + right / 128);
	}
}

static void what_is_beyond_the_range_is_not_lost(void **state)
{
	(void)state;
	histogram_add(&histogram, 5);
	histogram_add(&histogram, UINT64_C(1) << 50);
	assert_int_equal(histogram.count, 2);
	assert_int_equal(histogram_quantile(&histogram, 0.5), 5);
	assert_int_equal(histogram_quantile(&histogram, 1), UINT64_C(1) << 50);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup(an_empty_histogram_says_nothing_but_zero, empty),
		cmocka_unit_test_setup(one_value_is_every_quantile_of_itself, empty),
		cmocka_unit_test_setup(buckets_follow_each_other_without_a_gap, empty),
		cmocka_unit_test_setup(quantiles_are_those_of_the_sorted_values_within_a_bucket, empty),
		cmocka_unit_test_setup(what_is_beyond_the_range_is_not_lost, empty),
	};
	return cmocka_run_group_tests_name("pktgen histogram", tests, NULL, NULL);
}
