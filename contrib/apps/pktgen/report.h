/* Results in words and as JSON. */
#ifndef PKTGEN_REPORT_H
#define PKTGEN_REPORT_H

#include <stdint.h>

#include "contrib/apps/pktgen/histogram.h"
#include "contrib/apps/pktgen/receiver.h"
#include "contrib/apps/pktgen/sender.h"

struct report_sent {
	double asked, achieved; /* frames a second; asked 0: as many as go */
	uint64_t frames, bytes; /* that have left */
	uint64_t dropped;       /* after the ring had taken them */
	uint64_t time_ns, held_up_ns;
};

/* asked: frames a second, or 0. Asks the device what it has dropped. */
struct report_sent report_sent(const struct sender *sender, double asked);
/* Frames that are missing at the receiver, of all that have left. */
uint64_t report_lost(const struct report_sent *sent, const struct received *received);

void report_print_sent(const struct report_sent *sent);
/* sent: NULL where somebody else sends. */
void report_print_received(
	const struct received *received, const struct report_sent *sent, const struct histogram *latency);

/* As an object each, or "null" where there is none. */
void report_json_sent(const struct report_sent *sent);
void report_json_received(const struct received *received, uint64_t lost);
void report_json_latency(const struct histogram *latency); /* microseconds */

#endif
