/*
 * A histogram of times, small and of a bounded error: what latency needs, where the worst of a million frames matters
 * as much as the middle one.
 *
 * Log-linear: each doubling of the value has the same number of buckets, so a bucket is at most 1/128 of its value wide
 * wherever it lies; up to 255 ns each value has one of its own. Adding costs a few instructions and no memory is ever
 * asked for, so the receiver does it for every frame.
 */
#ifndef PKTGEN_HISTOGRAM_H
#define PKTGEN_HISTOGRAM_H

#include <stdint.h>

#define HISTOGRAM_STEPS   128 /* buckets a doubling */
#define HISTOGRAM_LIMIT   40  /* values of 2^40 ns (18 minutes) and more count as that */
#define HISTOGRAM_BUCKETS ((HISTOGRAM_LIMIT - 6) * HISTOGRAM_STEPS)

/* All zeroes is an empty one. */
struct histogram {
	uint64_t count, sum;
	uint64_t min, max; /* exact; of an empty one 0 */
	uint64_t bucket[HISTOGRAM_BUCKETS];
};

/* Which bucket a value falls into, and the largest value that does. */
static inline unsigned histogram_bucket(uint64_t value)
{
	unsigned shift;

	if (value < 2 * HISTOGRAM_STEPS)
		return (unsigned)value;
	if (value >> HISTOGRAM_LIMIT)
		return HISTOGRAM_BUCKETS - 1;
	shift = 56 - (unsigned)__builtin_clzll(value); /* so that 128 .. 255 is left of it */
	return shift * HISTOGRAM_STEPS + (unsigned)(value >> shift);
}
uint64_t histogram_bucket_end(unsigned bucket);

static inline void histogram_add(struct histogram *histogram, uint64_t value)
{
	histogram->bucket[histogram_bucket(value)]++;
	if (value < histogram->min || !histogram->count)
		histogram->min = value;
	if (value > histogram->max)
		histogram->max = value;
	histogram->sum += value;
	histogram->count++;
}

/*
 * The value that this part of all values does not exceed, 0 to 1: 0.99 is p99. Never smaller than the true one, and
 * larger by 1/128 at most. 0 for an empty histogram.
 */
uint64_t histogram_quantile(const struct histogram *histogram, double part);
uint64_t histogram_mean(const struct histogram *histogram);

#endif
