#include "contrib/apps/pktgen/histogram.h"

#include <math.h>

uint64_t histogram_bucket_end(unsigned bucket)
{
	unsigned shift = bucket / HISTOGRAM_STEPS;

	if (shift < 2)
		return bucket;
	shift--; /* the first two groups of buckets have shift 0 */
	return ((uint64_t)(bucket - shift * HISTOGRAM_STEPS) + 1) * (UINT64_C(1) << shift) - 1;
}

uint64_t histogram_quantile(const struct histogram *histogram, double part)
{
	uint64_t rank = (uint64_t)ceil(part * (double)histogram->count), seen = 0, end;

	if (!histogram->count)
		return 0;
	if (rank < 1)
		rank = 1;
	for (unsigned i = 0; i < HISTOGRAM_BUCKETS; i++) {
		seen += histogram->bucket[i];
		if (seen < rank)
			continue;
		end = i == HISTOGRAM_BUCKETS - 1 ? histogram->max : histogram_bucket_end(i);
		return end < histogram->max ? end : histogram->max;
	}
	return histogram->max;
}

uint64_t histogram_mean(const struct histogram *histogram)
{
	return histogram->count ? histogram->sum / histogram->count : 0;
}
