/*
 * What became of a flow's numbered frames: lost, duplicated, out of order.
 *
 * A frame is reordered if one with a higher number has come before it (RFC 4737). Whether its number has been seen
 * before is kept for the last SEQUENCE_WINDOW numbers; a frame that is later than that cannot be told from a duplicate
 * and counts as reordered.
 *
 * Numbers are 32 bits and go round; between two frames of a flow they move by less than 2^31.
 */
#ifndef PKTGEN_SEQUENCE_H
#define PKTGEN_SEQUENCE_H

#include <stdbool.h>
#include <stdint.h>

#define SEQUENCE_WINDOW 1024

/* All zeroes: nothing has come yet. */
struct sequence {
	uint64_t first, next;           /* numbers unwrapped: of the first frame; the highest and one */
	uint64_t received;              /* without duplicates */
	uint64_t reordered, duplicates; /* a duplicate is not counted as reordered as well */
	bool started;
	uint64_t seen[SEQUENCE_WINDOW /
		      64]; /* numbers next - SEQUENCE_WINDOW .. next - 1, bit number % window */
};

void sequence_add(struct sequence *sequence, uint32_t number);

/* Frames that are missing, of those from the first to the highest that came. */
uint64_t sequence_lost(const struct sequence *sequence);

#endif
