/*
 * Counting instructions without a profiler: between steps_begin() and steps_end() the processor traps after each
 * instruction (the trap flag), and a signal handler counts. Exact, in any build, also where callgrind cannot go
 * (AddressSanitizer), and slow: about a microsecond an instruction.
 *
 * A string instruction (rep movsb) counts once for each repetition.
 */
#ifndef BENCH_STEPS_H
#define BENCH_STEPS_H

#include <stdint.h>

extern volatile uint64_t steps_taken; /* since the program's start, some of them the counting's own */

void steps_init(void);

/* The red zone below the stack pointer may hold something, so the flags go below that. */
static inline __attribute__((always_inline)) void steps_begin(void)
{
	__asm__ volatile(
		"lea -128(%%rsp), %%rsp\n\tpushfq\n\torq $0x100, (%%rsp)\n\tpopfq\n\tlea 128(%%rsp), %%rsp" ::
			: "memory", "cc");
}

static inline __attribute__((always_inline)) void steps_end(void)
{
	__asm__ volatile("lea -128(%%rsp), %%rsp\n\tpushfq\n\tandq $~0x100, (%%rsp)\n\tpopfq\n\tlea "
			 "128(%%rsp), %%rsp" ::
				 : "memory", "cc");
}

#endif
