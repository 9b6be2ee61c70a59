/*
 * How long to poll in vain before going to sleep. For one thread.
 *
 * Learnt from whether waiting paid, the way KVM halts a virtual CPU: if what ended a sleep came so soon that polling
 * for max_ns would have met it, double the time to poll; if it came much later, halve it. A stream and a quick dialogue
 * are polled then, a lone ping does not cost a core.
 *
 * Polling is free only as long as nobody else wants the CPU. So past the first stretch, which is about what a
 * sleep and a wake take anyway, each look is followed by sched_yield(). Where that does not come back at once somebody
 * else had work to do, and for a while there is no more polling than that first stretch. To yield in the first stretch
 * as well would cost a thread that is behind with its work a whole time slice each time.
 *
 * Measured on two shared cores, where a sleeping core takes some 40 us to wake: with 200 us instead of 50 at most, a
 * round trip through the daemon fell from 177 to 89 us over AF_XDP, from 197 to 138 us over the software NIC.
 */
#ifndef IXY_SPIN_H
#define IXY_SPIN_H

#include <sched.h>
#include <stdbool.h>

#include "driver/clock.h"

#define SPIN_FIRST_NS   5000      /* what a first doubling starts from */
#define SPIN_UNASKED_NS 50000     /* without asking whether somebody else wants the CPU */
#define SPIN_GIVEN_NS   20000     /* a yield that took longer gave the CPU away */
#define SPIN_CROWDED_NS 100000000 /* how long to remember that */

struct spin {
	uint64_t max_ns;           /* the most to poll; set by the user, the rest starts as 0 */
	uint64_t ns;               /* as learnt */
	uint64_t crowded_until_ns; /* CLOCK_MONOTONIC */
};

static inline void spin_relax(void)
{
#if defined(__x86_64__) || defined(__i386__)
	__builtin_ia32_pause();
#elif defined(__aarch64__)
	__asm__ volatile("yield");
#endif
}

/* Nothing has come for quiet_ns, it is now_ns. Whether to look again; false: sleep. */
static inline bool spin_on(struct spin *spin, uint64_t now_ns, uint64_t quiet_ns)
{
	uint64_t after;

	if (quiet_ns >= spin->ns)
		return false;
	if (quiet_ns < SPIN_UNASKED_NS) {
		spin_relax();
		return true;
	}
	if (now_ns < spin->crowded_until_ns)
		return false;
	sched_yield();
	after = clock_ns();
	if (after - now_ns > SPIN_GIVEN_NS)
		spin->crowded_until_ns = after + SPIN_CROWDED_NS;
	return true;
}

/* Something has come after a sleep, quiet_ns after the last. */
static inline void spin_learn(struct spin *spin, uint64_t quiet_ns)
{
	if (quiet_ns > spin->max_ns)
		spin->ns /= 2;
	else if (spin->ns < spin->max_ns)
		spin->ns = spin->ns ? spin->ns * 2 : SPIN_FIRST_NS;
	if (spin->ns > spin->max_ns)
		spin->ns = spin->max_ns;
}

#endif
