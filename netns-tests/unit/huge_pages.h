/*
 * The machine's stock of huge pages, for tests that take some and give them back.
 */
#ifndef UNIT_HUGE_PAGES_H
#define UNIT_HUGE_PAGES_H

#include <stdio.h>

#define NR_HUGE_PAGES "/sys/kernel/mm/hugepages/hugepages-2048kB/nr_hugepages"

static inline long huge_pages(void)
{
	FILE *file = fopen(NR_HUGE_PAGES, "r");
	long count = -1;

	if (file && fscanf(file, "%ld", &count) != 1)
		count = -1;
	if (file)
		fclose(file);
	return count;
}

static inline int set_huge_pages(long count)
{
	FILE *file = fopen(NR_HUGE_PAGES, "w");

	if (!file)
		return -1;
	fprintf(file, "%ld\n", count);
	return fclose(file);
}

#endif
