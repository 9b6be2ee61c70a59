#include "contrib/apps/pktgen/search.h"

#define MAX_TRIALS 100

void search_start(struct search *search, double max, double least, double resolution)
{
	*search = (struct search){.max = max, .least = least, .resolution = resolution, .step = resolution};
}

static double smaller(double a, double b)
{
	return a < b ? a : b;
}

double search_next(const struct search *search)
{
	double next;

	if (search->trials == MAX_TRIALS)
		return 0;
	if (!search->failed)
		return search->passed ? 0 : search->max; /* the very first passed: there is no more to find */
	if (search->failed - search->passed <= search->failed * search->resolution)
		return 0;
	if (!search->passed) {
		/* Down, by what is known, but by a step at least: what came through may be all but one frame. */
		next = search->failed * (1 - smaller(search->step, 0.5));
		if (search->hint > 0)
			next = smaller(next, search->hint);
		if (next < search->least && search->failed > search->least)
			next = search->least;
		return next >= search->least ? next : 0;
	}
	return smaller(search->passed * (1 + search->step), (search->passed + search->failed) / 2);
}

void search_tell(struct search *search, double value, bool passed, double hint)
{
	bool turned = passed ? !search->passed : search->passed > 0;

	search->trials++;
	if (passed)
		search->passed = value;
	else
		search->failed = value;
	search->hint = hint;
	/* Steps grow as long as they go one way. Having gone past the mark, they are bisection's. */
	if (!passed && search->passed > 0)
		search->step = 1;
	else if (turned)
		search->step = search->resolution;
	else if (search->step < 1)
		search->step *= 2;
}
