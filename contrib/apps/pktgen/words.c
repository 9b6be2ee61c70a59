#include "contrib/apps/pktgen/words.h"

#include <stdlib.h>
#include <string.h>

#include "contrib/apps/pktgen/frame.h"

#define SHORTEST   64
#define MAX_WEIGHT 1000

/* --- lengths ------------------------------------------------------------------------------------------------------ */

/* Decimal digits of a number up to max; false if there are none or too many. */
static bool number(const char **text, unsigned long max, uint32_t *value)
{
	size_t digits = strspn(*text, "0123456789");
	unsigned long n = digits && digits < 9 ? strtoul(*text, NULL, 10) : max + 1;

	*text += digits;
	*value = (uint32_t)n;
	return n <= max;
}

bool sizes_parse(const char *text, struct sizes *sizes)
{
	/* What is common on the Internet, "simple IMIX": IP packets of 40, 576 and 1500 bytes, 7:4:1. */
	if (!strcmp(text, "imix"))
		text = "64:7,594:4,1518:1";
	*sizes = (struct sizes){0};
	for (;;) {
		uint32_t size, weight = 1;

		if (sizes->count == WORDS_SIZES || !number(&text, FRAME_MAX, &size) || size < SHORTEST)
			return false;
		if (*text == ':') {
			text++;
			if (!number(&text, MAX_WEIGHT, &weight) || !weight)
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

/* --- rates -------------------------------------------------------------------------------------------------------- */

/* k, M or G, if there is one. */
static double prefix(char **text)
{
	switch (**text) {
	case 'k':
	case 'K': ++*text; return 1e3;
	case 'M': ++*text; return 1e6;
	case 'G': ++*text; return 1e9;
	default: return 1;
	}
}

bool rate_parse(const char *text, struct rate *rate)
{
	size_t digits = strspn(text, "0123456789.");
	char *end;

	if (!strcmp(text, "max")) {
		*rate = (struct rate){.kind = RATE_MAX};
		return true;
	}
	if (!digits || digits > 20)
		return false;
	rate->value = strtod(text, &end);
	if (end != text + digits) /* two points; or an exponent, or hexadecimal */
		return false;
	rate->kind = RATE_FRAMES;
	if (!strcmp(end, "%")) {
		rate->kind = RATE_PERCENT;
		return rate->value >= 0.0001 && rate->value <= 100;
	}
	rate->value *= prefix(&end);
	if (!strcmp(end, "bit")) {
		rate->kind = RATE_BITS;
		end += 3;
	}
	/* A frame each quarter of an hour; and what a schedule counts in. */
	return !*end && rate->value >= 0.001 && rate->value <= 1e12;
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
