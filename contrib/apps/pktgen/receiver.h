/*
 * The receiving half: frames from all receive queues of a device, told apart, counted and timed. One thread.
 *
 * A frame's latency is from the clock reading of the batch that it was made in to that of the batch that it was received
 * in, so it holds what waits on both sides, the rings and the wire. It means something only where both are of one
 * machine; stamps that cannot be are counted and said.
 */
#ifndef PKTGEN_RECEIVER_H
#define PKTGEN_RECEIVER_H

#include <stdbool.h>
#include <stdint.h>

#include "contrib/apps/app.h"
#include "contrib/apps/pktgen/histogram.h"
#include "contrib/apps/pktgen/sequence.h"
#include "driver/ixy.h"

/* Of a run, or of all runs that came. */
struct received {
	uint64_t frames, bytes; /* numbered ones of the run; bytes without CRC */
	uint64_t unique;        /* without duplicates */
	uint64_t lost;          /* as far as numbers tell: gaps */
	uint64_t reordered, duplicates;
	uint64_t other;        /* somebody else's frames, or another run's */
	uint64_t bad_checksum; /* numbered, and changed on the way: counts for nothing else */
	uint64_t other_clock;  /* of the numbered ones: no latency */
	uint64_t first_ns, last_ns;
};

struct receiver {
	struct ixy_device *dev;
	struct app_rate *rate; /* counts all frames, and as dropped what is missing; may be NULL */
	bool any_run;          /* take whichever comes, one after the other */
	bool started;          /* there is a run */
	uint16_t run;
	uint32_t flows; /* that have been seen: 0 .. flows - 1 */
	struct sequence *sequences;
	struct received total; /* of earlier runs, and of this one but for what `sequences` knows */
	uint64_t missing;      /* frames of this run as yet, as gaps tell */
	struct histogram *latency;
	/* The least latency of frames sent before and after these times: does a queue grow? UINT64_MAX: no frame. */
	uint64_t early_end_ns, late_begin_ns, early_min, late_min;
};

/* dev and rate are set. Ends the program when there is no memory. */
void receiver_open(struct receiver *receiver);
void receiver_close(struct receiver *receiver);
/* Forget what has come and expect this run; with any_run, whichever comes. */
void receiver_start(struct receiver *receiver, uint16_t run);
/* Returns whether anything came. */
bool receiver_step(struct receiver *receiver);
/* All that is known by now. */
struct received receiver_total(const struct receiver *receiver);

#endif
