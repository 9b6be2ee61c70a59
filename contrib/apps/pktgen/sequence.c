#include "contrib/apps/pktgen/sequence.h"

#include <string.h>

static uint64_t *word(struct sequence *sequence, uint64_t number)
{
	return &sequence->seen[number % SEQUENCE_WINDOW / 64];
}

static uint64_t bit(uint64_t number)
{
	return UINT64_C(1) << number % 64;
}

/* Numbers that enter the window have not been seen. */
static void move_window(struct sequence *sequence, uint64_t next)
{
	if (next - sequence->next >= SEQUENCE_WINDOW)
		memset(sequence->seen, 0, sizeof(sequence->seen));
	else
		for (uint64_t number = sequence->next; number < next; number++)
			*word(sequence, number) &= ~bit(number);
	sequence->next = next;
}

void sequence_add(struct sequence *sequence, uint32_t number)
{
	/* Begun at 2^32, so that one that is earlier than the first is no negative number. */
	uint64_t full;

	if (!sequence->started) {
		sequence->started = true;
		sequence->first = sequence->next = (UINT64_C(1) << 32) + number;
	}
	full = sequence->next + (uint64_t)(int64_t)(int32_t)(number - (uint32_t)sequence->next);
	if (full >= sequence->next) {
		move_window(sequence, full + 1);
	} else if (sequence->next - full > SEQUENCE_WINDOW) {
		sequence->reordered++;
	} else if (*word(sequence, full) & bit(full)) {
		sequence->duplicates++;
		return;
	} else {
		sequence->reordered++;
	}
	if (full < sequence->first)
		sequence->first = full;
	*word(sequence, full) |= sequence->next - full <= SEQUENCE_WINDOW ? bit(full) : 0;
	sequence->received++;
}

uint64_t sequence_lost(const struct sequence *sequence)
{
	uint64_t expected = sequence->next - sequence->first;

	return expected > sequence->received ? expected - sequence->received : 0;
}
