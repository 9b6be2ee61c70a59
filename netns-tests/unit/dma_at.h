/* Client memory as the software NIC's DMA reaches it, for tests that look at one piece of it. */
#ifndef UNIT_DMA_AT_H
#define UNIT_DMA_AT_H

#include "netns-tests/softnic/nic.h"

/* Where size bytes at iova lie, or NULL if they are refused or lie apart. */
static inline void *dma_at(struct nic *nic, uint64_t iova, size_t size, bool write)
{
	struct iovec spans[NIC_DMA_SPANS];

	return nic_dma(nic, iova, size, write, spans) == 1 ? spans[0].iov_base : NULL;
}

#endif
