/*
 * mmap() hands out addresses of 47 bits, from the top. An IOMMU often takes fewer: 39 bits is QEMU's default and
 * that of many a desktop, and all have a hole where interrupt messages go (0xfee00000). So where the kernel's choice
 * does not fit, we look for a gap between the process's mappings that does.
 *
 * The highest gap is taken: at the low end lie the program and its growing heap.
 */
#include "driver/dma_place.h"

#include <inttypes.h>

#define FIRST_ADDRESS UINT64_C(0x10000)        /* below, vm.mmap_min_addr keeps unprivileged processes out */
#define LAST_ADDRESS  UINT64_C(0x7fffffffefff) /* of user space on x86-64: 47 bits, less a guard page */

bool dma_fits(const struct dma_window windows[], uint32_t count, uint64_t first, uint64_t size)
{
	for (uint32_t i = 0; i < count; i++) {
		if (first >= windows[i].first && first <= windows[i].last &&
			size - 1 <= windows[i].last - first)
			return true;
	}
	return count == 0;
}

/* The highest place for size bytes in first .. last, or 0. */
static uint64_t highest(uint64_t first, uint64_t last, uint64_t size, uint64_t align)
{
	uint64_t place;

	if (first > last || last - first < size - 1)
		return 0;
	place = (last - (size - 1)) & ~(align - 1);
	return place >= first ? place : 0;
}

uintptr_t dma_place(
	FILE *maps, const struct dma_window windows[], uint32_t count, uint64_t size, uint64_t align)
{
	uint64_t gap = FIRST_ADDRESS, start, end, best = 0;
	bool more = true;

	if (size == 0)
		return 0;
	while (more) {
		more = fscanf(maps, "%" SCNx64 "-%" SCNx64 "%*[^\n]", &start, &end) == 2 &&
		       start <= LAST_ADDRESS;
		if (!more)
			start = LAST_ADDRESS + 1;
		for (uint32_t i = 0; i < count && start > gap; i++) {
			uint64_t first = windows[i].first > gap ? windows[i].first : gap;
			uint64_t last = windows[i].last < start - 1 ? windows[i].last : start - 1;
			uint64_t place = highest(first, last, size, align);

			if (place > best)
				best = place;
		}
		if (more && end > gap)
			gap = end;
	}
	return (uintptr_t)best;
}
