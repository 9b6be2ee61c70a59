/* What the benchmarks of RFC 2544 come to, as tables and as JSON. */
#ifndef PKTGEN_RFC2544_RESULT_H
#define PKTGEN_RFC2544_RESULT_H

#include <stdbool.h>
#include <stdint.h>

#include "contrib/apps/pktgen/histogram.h"

#define RFC2544_POINTS 10 /* of the loss curve */

/* The tests, as bits. */
enum { THROUGHPUT = 1, LATENCY = 2, LOSS = 4, BACK_TO_BACK = 8 };

/* Why throughput is no higher. */
enum bound { BOUND_NONE, BOUND_LINK, BOUND_LOSS, BOUND_BACKLOG, BOUND_SENDER };

struct result {
	uint32_t size; /* with CRC */
	double line;   /* frames a second of the link */
	double max;    /* that were asked for at most */
	struct {
		double asked, achieved; /* achieved: at which they came out, or went in if that is less */
		enum bound bound;
		unsigned trials;
	} throughput;
	struct histogram *latency;
	uint64_t latency_lost; /* of the trial that measured it */
	struct {
		double frames, rate; /* means; rate: at which they were sent */
		uint64_t longest;
		bool sender_limited;
	} burst;
	struct {
		double percent, asked, achieved, lost;
		bool sender_limited;
	} loss[RFC2544_POINTS];
	unsigned points;
};

/* What all results have in common. */
struct results {
	const char *from, *to; /* the devices */
	unsigned tests;        /* that were wanted */
	double seconds;        /* of a trial */
	uint64_t bursts;       /* searches for the longest one */
	bool complete;         /* it was not interrupted */
	const struct result *sizes;
	unsigned count;
};

void rfc2544_print_tables(const struct results *results);
void rfc2544_print_json(const struct results *results);

#endif
