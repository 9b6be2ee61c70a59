/* What the command line says of lengths and rates. */
#ifndef PKTGEN_WORDS_H
#define PKTGEN_WORDS_H

#include <stdbool.h>
#include <stdint.h>

#include "contrib/apps/pktgen/schedule.h"

#define WORDS_SIZES 32 /* lengths in a mix */

/* A mix of lengths: 64, 64:7,594:4,1518:1, imix. */
struct sizes {
	unsigned count;
	struct {
		uint32_t size;   /* with CRC */
		uint32_t weight; /* frames of each round */
		int32_t credit;
	} of[WORDS_SIZES];
	uint32_t weights; /* their sum: a round */
};

/* False: no list of lengths from 64 to FRAME_MAX with weights from 1 to 1000. */
bool sizes_parse(const char *text, struct sizes *sizes);
/* The index of the next frame's length: as spread out as the weights allow, the same in each round. */
unsigned sizes_next(struct sizes *sizes);
uint32_t sizes_longest(const struct sizes *sizes);
uint32_t sizes_shortest(const struct sizes *sizes);
double sizes_mean_wire(const struct sizes *sizes); /* bytes on the wire, with CRC, preamble and gap */

/* A rate: max, N (frames a second), N%, Nbit (bits a second on the wire); N with k, M, G. */
struct rate {
	enum { RATE_MAX, RATE_FRAMES, RATE_BITS, RATE_PERCENT } kind;
	double value;
};

bool rate_parse(const char *text, struct rate *rate);
/* As a schedule has it; mbit: the link's speed, which a percentage is of. */
void rate_schedule(const struct rate *rate, uint32_t mbit, struct schedule_config *config);
/* Frames of so many bytes on the wire that a link carries in a second. */
double rate_line(uint32_t mbit, double wire_bytes);

#endif
