#include "contrib/apps/pktgen/schedule.h"

#include <math.h>

#define SECOND UINT64_C(1000000000)

void schedule_start(struct schedule *schedule, const struct schedule_config *config, uint64_t now_ns)
{
	*schedule = (struct schedule){.config = *config,
		.start_ns = now_ns,
		.next_ns = now_ns,
		.divisor = (uint64_t)llround(config->rate * 1000),
		/* xorshift gets nowhere from 0. */
		.random = config->seed * UINT64_C(0x9e3779b97f4a7c15) + 1};
	if (!schedule->divisor)
		schedule->divisor = 1;
	if (!schedule->random)
		schedule->random = 1;
}

/* Exponentially distributed with mean 1: xorshift64* (Vigna), its upper 53 bits. */
static double exponential(uint64_t *state)
{
	uint64_t x = *state;

	x ^= x >> 12;
	x ^= x << 25;
	x ^= x >> 27;
	*state = x;
	return -log1p(-(double)((x * UINT64_C(0x2545f4914f6cdd1d)) >> 11) * 0x1p-53);
}

void schedule_advance(struct schedule *schedule, uint32_t wire_bytes)
{
	const struct schedule_config *config = &schedule->config;
	uint64_t units = config->unit == SCHEDULE_BITS ? UINT64_C(8) * wire_bytes : 1, time;

	if (config->unit == SCHEDULE_MAX)
		return;
	time = units * SECOND * 1000; /* in 1/divisor ns */
	if (config->poisson)
		time = (uint64_t)((double)time * exponential(&schedule->random));
	time += schedule->remainder;
	schedule->gap_ns += time / schedule->divisor;
	schedule->remainder = time % schedule->divisor;
	if (++schedule->in_burst < config->burst)
		return;
	schedule->next_ns += schedule->gap_ns;
	schedule->gap_ns = 0;
	schedule->in_burst = 0;
}

void schedule_at(struct schedule *schedule, uint64_t offset_ns)
{
	schedule->next_ns = schedule->start_ns + schedule->moved_ns + offset_ns;
}
