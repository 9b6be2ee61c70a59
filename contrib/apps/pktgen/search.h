/*
 * The search for the highest value, a rate or the length of a burst, at which a trial passes.
 *
 * In the end it is bisection between the highest value that passed and the lowest that failed, until these are as close
 * as the resolution. But the range is large, a link's whole rate, and trials take long; so a trial that failed says how
 * much came through in spite of it, and the next one tries that. From there steps double until they have gone past the
 * mark.
 */
#ifndef PKTGEN_SEARCH_H
#define PKTGEN_SEARCH_H

#include <stdbool.h>

struct search {
	double max;        /* the first value to try */
	double least;      /* below this nothing is tried */
	double resolution; /* part of the value, 0.005: half a percent */
	double passed;     /* the highest that passed; 0: none has */
	double failed;     /* the lowest that failed; 0: none has */
	double hint;       /* what came through when it failed last; 0: nothing is known */
	double step;       /* of the next try, as part of the value */
	unsigned trials;
};

void search_start(struct search *search, double max, double least, double resolution);
/* The next value to try; 0: the search is over, and search->passed its result. */
double search_next(const struct search *search);
/* How the trial of that value went. hint: what came through of one that failed, 0 if that is not known. */
void search_tell(struct search *search, double value, bool passed, double hint);

#endif
