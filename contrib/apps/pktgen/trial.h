/* One trial: so many frames at a rate, and what became of them. */
#ifndef PKTGEN_TRIAL_H
#define PKTGEN_TRIAL_H

#include <stdbool.h>
#include <stdint.h>

#include "contrib/apps/pktgen/report.h"
#include "contrib/apps/pktgen/run.h"

struct trial {
	double rate;         /* frames a second */
	uint64_t frames;     /* at most */
	uint64_t time_ns;    /* at most: a sender that is too slow must not take for ever */
	uint64_t silence_ns; /* the end is when nothing came for so long */
	double tolerance;    /* part by which the rate may be missed */
};

struct trial_result {
	struct report_sent sent;
	struct received received;
	uint64_t lost;
	double forwarded; /* frames a second that came out, from the first to the last; 0: under two */
	/*
	 * The sender did not reach the rate, by itself or because its own link does not carry more: the trial says
	 * nothing about what is behind.
	 */
	bool sender_limited;
	/*
	 * Nothing was lost yet, but frames waited longer and longer: they come out more slowly than they go in, and a
	 * buffer is going to overflow. Longer trials would show it by loss.
	 */
	bool backlog;
	bool interrupted; /* by a signal, or a device went */
};

/* Run it. The receiver's histogram holds the latencies until the next one. */
struct trial_result trial_run(struct run *run, const struct trial *trial);

static inline bool trial_passed(const struct trial_result *result)
{
	return !result->lost && !result->sender_limited && !result->backlog && !result->interrupted;
}

#endif
