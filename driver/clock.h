/* CLOCK_MONOTONIC, and pauses: for time-outs and for what waits on hardware. Any thread. */
#ifndef IXY_CLOCK_H
#define IXY_CLOCK_H

#include <errno.h>
#include <stdint.h>
#include <time.h>

/* By the vDSO: some 20 ns, no system call. */
static inline uint64_t clock_ns(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (uint64_t)now.tv_sec * 1000000000 + (uint64_t)now.tv_nsec;
}

/* Signed, because what is left until a deadline may be negative. */
static inline int64_t clock_us(void)
{
	return (int64_t)(clock_ns() / 1000);
}

static inline int64_t clock_ms(void)
{
	return (int64_t)(clock_ns() / 1000000);
}

/* All of it, signals or not. */
static inline void sleep_us(unsigned microseconds)
{
	struct timespec left = {.tv_sec = microseconds / 1000000, .tv_nsec = microseconds % 1000000 * 1000L};

	while (nanosleep(&left, &left) < 0 && errno == EINTR)
		;
}

#endif
