/*
 * Where in the process's address space memory may lie whose virtual address is its device address.
 */
#ifndef IXY_DMA_PLACE_H
#define IXY_DMA_PLACE_H

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

#include "driver/dma.h"

/* True if the addresses [first, first + size) lie within one of the windows; without windows all do. */
bool dma_fits(const struct dma_window windows[], uint32_t count, uint64_t first, uint64_t size);

/*
 * The highest address, a multiple of align (a power of two), from which size bytes are free and lie in one of the
 * windows; 0 where there is none. maps: what /proc/self/maps says is taken, in its format.
 */
uintptr_t dma_place(
	FILE *maps, const struct dma_window windows[], uint32_t count, uint64_t size, uint64_t align);

#endif
