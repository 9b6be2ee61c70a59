/* Waiting for what another thread does. */
#ifndef UNIT_EVENTUALLY_H
#define UNIT_EVENTUALLY_H

#include <stdbool.h>
#include <unistd.h>

/* True as soon as the condition holds, false if it does not within five seconds. */
#define eventually(condition)                                                        \
	({                                                                           \
		bool holds = false;                                                  \
		for (int tries = 0; tries < 5000 && !(holds = (condition)); tries++) \
			usleep(1000);                                                \
		holds;                                                               \
	})

#endif
