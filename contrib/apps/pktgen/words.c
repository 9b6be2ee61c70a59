#include "contrib/apps/pktgen/words.h"

#include <string.h>

#include "contrib/apps/app.h"
#include "contrib/apps/pktgen/frame.h"

#define SHORTEST   64
#define MAX_WEIGHT 1000

/* --- lengths -------------------------------------------------------------------------------------------- */

bool sizes_parse(const char *text, struct sizes *sizes)
{
	/* What is common on the Internet, "simple IMIX": IP packets of 40, 576 and 1500 bytes, 7:4:1. */
	if (!strcmp(text, "imix"))
		text = "64:7,594:4,1518:1";
	*sizes = (struct sizes){0};
	for (;;) {
		uint32_t size, weight = 1;

		if (sizes->count == WORDS_SIZES || !app_digits(&text, FRAME_MAX, &size) || size < SHORTEST)
			return false;
		if (*text == ':') {
			text++;
			if (!app_digits(&text, MAX_WEIGHT, &weight) || !weight)
				return false;
		}
		sizes->of[sizes->count].size = size;
		sizes->of[sizes->count++].weight = weight;
		sizes->weights += weight;
		if (!*text)
			return true;
		if (*text++ != ',')
			return false;
	}
}

/* Each length gets its weight as credit; the richest goes, and pays what all have got. */
unsigned sizes_next(struct sizes *sizes)
{
	unsigned best = 0;

	if (sizes->count == 1)
		return 0;
	for (unsigned i = 0; i < sizes->count; i++) {
		sizes->of[i].credit += (int32_t)sizes->of[i].weight;
		if (sizes->of[i].credit > sizes->of[best].credit)
			best = i;
	}
	sizes->of[best].credit -= (int32_t)sizes->weights;
	return best;
}

uint32_t sizes_longest(const struct sizes *sizes)
{
	uint32_t longest = 0;

	for (unsigned i = 0; i < sizes->count; i++)
		if (sizes->of[i].size > longest)
			longest = sizes->of[i].size;
	return longest;
}

uint32_t sizes_shortest(const struct sizes *sizes)
{
	uint32_t shortest = UINT32_MAX;

	for (unsigned i = 0; i < sizes->count; i++)
		if (sizes->of[i].size < shortest)
			shortest = sizes->of[i].size;
	return shortest;
}

double sizes_mean_wire(const struct sizes *sizes)
{
	double bytes = 0;

	for (unsigned i = 0; i < sizes->count; i++)
		bytes += (double)sizes->of[i].weight * (sizes->of[i].size + FRAME_GAP);
	return bytes / sizes->weights;
}

/* --- rates ---------------------------------------------------------------------------------------------- */

bool rate_parse(const char *text, struct rate *rate)
{
	if (!strcmp(text, "max")) {
		*rate = (struct rate){.kind = RATE_MAX};
		return true;
	}
	if (!app_decimal(&text, &rate->value))
		return false;
	rate->kind = RATE_FRAMES;
	if (!strcmp(text, "%")) {
		rate->kind = RATE_PERCENT;
		return rate->value >= 0.0001 && rate->value <= 100;
	}
	rate->value *= app_prefix(&text, 1000);
	if (!strcmp(text, "bit")) {
		rate->kind = RATE_BITS;
		text += 3;
	}
	/* A frame each quarter of an hour; and what a schedule counts in. */
	return !*text && rate->value >= 0.001 && rate->value <= 1e12;
}

void rate_schedule(const struct rate *rate, uint32_t mbit, struct schedule_config *config)
{
	switch (rate->kind) {
	case RATE_MAX: config->unit = SCHEDULE_MAX; break;
	case RATE_FRAMES: config->unit = SCHEDULE_FRAMES; break;
	case RATE_BITS:
	case RATE_PERCENT: config->unit = SCHEDULE_BITS; break;
	}
	config->rate = rate->kind == RATE_PERCENT ? rate->value / 100 * mbit * 1e6 : rate->value;
}

double rate_line(uint32_t mbit, double wire_bytes)
{
	return (double)mbit * 1e6 / (wire_bytes * 8);
}
