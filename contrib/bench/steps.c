/* See steps.h. */
#include "contrib/bench/steps.h"

#include <signal.h>

volatile uint64_t steps_taken;

/* The kernel clears the trap flag for a handler and sets it again when that returns. */
static void on_step(int signal_number)
{
	(void)signal_number;
	steps_taken++;
}

void steps_init(void)
{
	struct sigaction action = {.sa_handler = on_step};

	sigaction(SIGTRAP, &action, NULL);
}
