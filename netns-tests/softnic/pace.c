#include "pace.h"

#include <stdlib.h>
#include <string.h>

#include "nic.h"

/* The segments of one packet are sent in one go, so the last packet that is let in may go past PACE_BUFFER. */
#define MEMORY   (1u << 20) /* a power of two */
#define ALIGN(n) (((n) + sizeof(struct record) - 1) / sizeof(struct record) * sizeof(struct record))

_Static_assert(PACE_BUFFER == TXPB_TOTAL_KIB << 10, "as the card has it");

struct record { /* in the memory, followed by the frame */
	int64_t gone_ns;
	uint32_t size; /* 0: no frame, the next one is at the beginning */
	uint32_t skip; /* bytes from here to the next record */
};

struct pace {
	uint32_t mbit;
	bool waiting;
	int64_t free_ns;   /* when the wire is through with the frames that it was given */
	uint64_t fraction; /* and this many mbit-ths of a nanosecond later */
	size_t head, tail; /* bytes of memory ever freed and taken */
	size_t held;       /* bytes of frames */
	uint64_t frames;
	uint8_t *memory;
};

struct pace *pace_create(uint32_t mbit)
{
	struct pace *pace = calloc(1, sizeof *pace);
	if (!pace)
		return NULL;
	pace->mbit = mbit;
	pace->memory = malloc(MEMORY);
	if (!pace->memory) {
		free(pace);
		return NULL;
	}
	return pace;
}

void pace_free(struct pace *pace)
{
	if (!pace)
		return;
	free(pace->memory);
	free(pace);
}

bool pace_full(const struct pace *pace)
{
	return pace->held > PACE_BUFFER - NIC_FRAME_MAX;
}

/* Room for one frame in one piece, or NULL. */
static struct record *find_room(struct pace *pace, size_t size)
{
	size_t needed = ALIGN(sizeof(struct record) + size);
	size_t at = pace->tail % MEMORY;
	size_t lost = MEMORY - at < needed ? MEMORY - at : 0; /* does not fit before the end: start over */
	if (needed + lost > MEMORY - (pace->tail - pace->head))
		return NULL;
	if (lost) {
		*(struct record *)(pace->memory + at) = (struct record){.skip = (uint32_t)lost};
		at = 0;
	}
	pace->tail += lost + needed;
	struct record *record = (struct record *)(pace->memory + at);
	*record = (struct record){.size = (uint32_t)size, .skip = (uint32_t)needed};
	return record;
}

/* When a frame that comes now can begin. */
static void begin(struct pace *pace, int64_t now_ns)
{
	int64_t earliest_ns = pace->waiting ? now_ns - PACE_LATE_NS : now_ns;
	if (pace->free_ns >= earliest_ns)
		return;
	pace->free_ns = earliest_ns;
	pace->fraction = 0;
}

bool pace_put(struct pace *pace, const uint8_t *frame, size_t size, int64_t now_ns)
{
	struct record *record = find_room(pace, size);
	if (!record)
		return false;
	begin(pace, now_ns);
	/* One Mbit/s is one bit in 1000 ns. */
	uint64_t time = (uint64_t)(size + PACE_OVERHEAD) * 8 * 1000 + pace->fraction;
	pace->free_ns += (int64_t)(time / pace->mbit);
	pace->fraction = time % pace->mbit;
	record->gone_ns = pace->free_ns + (pace->fraction > 0);
	memcpy(record + 1, frame, size);
	pace->held += size;
	pace->frames++;
	return true;
}

static struct record *oldest(const struct pace *pace)
{
	if (pace->frames == 0)
		return NULL;
	struct record *record = (struct record *)(pace->memory + pace->head % MEMORY);
	return record->size ? record : (struct record *)pace->memory;
}

const uint8_t *pace_take(struct pace *pace, int64_t now_ns, size_t *size)
{
	const struct record *record = oldest(pace);
	if (!record || record->gone_ns > now_ns)
		return NULL;
	if ((const uint8_t *)record == pace->memory && pace->head % MEMORY)
		pace->head += MEMORY - pace->head % MEMORY;
	pace->head += record->skip;
	pace->held -= record->size;
	pace->frames--;
	*size = record->size;
	return (const uint8_t *)(record + 1);
}

int64_t pace_due_ns(const struct pace *pace)
{
	const struct record *record = oldest(pace);
	return record ? record->gone_ns : -1;
}

void pace_backlog(struct pace *pace, bool waiting)
{
	pace->waiting = waiting;
}
