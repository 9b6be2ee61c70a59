/* Results in words and as JSON. */
#ifndef PKTGEN_REPORT_H
#define PKTGEN_REPORT_H

#include <stdio.h>

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

/* A number with a comma and a name before it, "null" for what is no number. */
void report_json_sent(FILE *out, const struct report_sent *sent);
void report_json_received(FILE *out, const struct received *received, uint64_t lost);
void report_json_latency(FILE *out, const struct histogram *latency); /* microseconds */
/* Text as a JSON string with its quotes. */
void report_json_string(FILE *out, const char *text);

#endif
