/*
 * When the next frame is to leave.
 *
 * Each frame has a deadline of its own, worked out from the one before it, with the remainder of the division carried
 * on: whatever the sender does in between, the millionth frame is due when it should be, and a rate does not drift. A
 * sender that looks late finds several frames due and sends them in one batch.
 *
 * A sender that was stopped for long must not answer with a burst that the receiver would have to pay for. What is
 * older than SCHEDULE_LATE_NS is forgotten: the rest of the schedule moves.
 */
#ifndef PKTGEN_SCHEDULE_H
#define PKTGEN_SCHEDULE_H

#include <stdbool.h>
#include <stdint.h>

#define SCHEDULE_LATE_NS 10000000

enum schedule_unit {
	SCHEDULE_MAX,    /* no rate: all frames are due at once */
	SCHEDULE_FRAMES, /* frames a second */
	SCHEDULE_BITS,   /* bits a second on the wire: with CRC, preamble and gap */
	SCHEDULE_TIMES,  /* no rate either: schedule_at() */
};

struct schedule_config {
	enum schedule_unit unit;
	double rate;
	uint32_t burst; /* so many frames at once, then a gap that makes up for them; 0 and 1: none */
	bool poisson;   /* gaps as of independent senders: exponential, the rate is their mean */
	uint64_t seed;  /* of the gaps; the same gives the same */
};

struct schedule {
	struct schedule_config config;
	uint64_t start_ns;
	uint64_t next_ns;   /* the next frame's deadline */
	uint64_t moved_ns;  /* by how much the schedule has moved */
	uint64_t divisor;   /* thousandths of the rate */
	uint64_t remainder; /* of next_ns, in 1/divisor ns */
	uint64_t gap_ns;    /* of this burst, so far */
	uint32_t in_burst;  /* frames of it that have been given out */
	uint64_t random;
};

void schedule_start(struct schedule *schedule, const struct schedule_config *config, uint64_t now_ns);

/* A frame is due. */
static inline bool schedule_due(const struct schedule *schedule, uint64_t now_ns)
{
	return now_ns >= schedule->next_ns;
}

/* Before a batch: forget what is too late by now. Returns by how much the schedule has moved. */
static inline uint64_t schedule_catch_up(struct schedule *schedule, uint64_t now_ns)
{
	uint64_t late = now_ns > schedule->next_ns ? now_ns - schedule->next_ns : 0;

	if (late <= SCHEDULE_LATE_NS || schedule->config.unit == SCHEDULE_MAX)
		return 0;
	late -= SCHEDULE_LATE_NS;
	schedule->moved_ns += late;
	schedule->next_ns += late;
	return late;
}

/* The frame that was due goes now; wire_bytes: what it takes up on the wire, with CRC, preamble and gap. */
void schedule_advance(struct schedule *schedule, uint32_t wire_bytes);

/* The next frame comes so long after the start, whatever the rate: a capture's own times. */
void schedule_at(struct schedule *schedule, uint64_t offset_ns);

#endif
