/*
 * Memory that a device reads and writes on its own.
 *
 * A dma_region is memfd-backed, locked, and mapped into the device's address space. Its device address (IOVA)
 * is either the process's virtual address (an IOMMU or a vfio-user server translates) or the physical address
 * (sysfs: nothing translates, so only huge pages will do, whose 2 MiB are contiguous). dma_iova() hides
 * which. Where the IOMMU takes fewer addresses than the process has, the memory is put where they fit.
 */
#ifndef IXY_DMA_H
#define IXY_DMA_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct pci_device;

#define DMA_HUGE_PAGE ((size_t)2 << 20)

enum dma_iova_mode {
	DMA_IOVA_VA, /* device address = virtual address */
	DMA_IOVA_PA, /* device address = physical address; needs huge pages and /proc/self/pagemap */
};

/* Device addresses from first to last, both included. */
struct dma_window {
	uint64_t first, last;
};

struct dma_region {
	uint8_t *virt;
	size_t size;      /* a multiple of page_size */
	size_t page_size; /* DMA_HUGE_PAGE, or the ordinary page size */
	int fd;           /* the memfd, which a vfio-user server maps */
	enum dma_iova_mode mode;
	uint64_t *page_iova; /* DMA_IOVA_PA: device address of each page_size page; otherwise NULL */
};

/*
 * Allocate size bytes, zeroed, for pci and map them there. Huge pages where there are free ones; ordinary
 * pages where there are none and the transport does not need physical contiguity. pci may be NULL: memory for
 * a device that is no PCI function (AF_XDP), addressed by virtual address; dma_share() may map it at one later.
 * Returns 0, -ENOMEM (the text says how many huge pages are needed and the command that reserves them),
 * or what the transport's map said.
 */
int dma_alloc(struct pci_device *pci, size_t size, struct dma_region **region);

/* Unmap from pci (NULL: as it was made) and release. The device must have stopped using it. NULL is allowed. */
void dma_free(struct pci_device *pci, struct dma_region *region);

/* Map, unmap an existing region at a further device (mempool sharing). -ENOTSUP if its IOVA mode differs. */
int dma_share(struct pci_device *pci, struct dma_region *region);
void dma_unshare(struct pci_device *pci, struct dma_region *region);

/*
 * Device address of a byte in the region. For a span, the caller makes sure that it does not cross a
 * page_size boundary in DMA_IOVA_PA mode (dma_contiguous() tells).
 */
static inline uint64_t dma_iova(const struct dma_region *region, const void *p)
{
	size_t offset = (size_t)((const uint8_t *)p - region->virt);

	if (region->mode == DMA_IOVA_VA)
		return (uint64_t)(uintptr_t)p;
	return region->page_iova[offset / region->page_size] + offset % region->page_size;
}

/* 1 when [p, p + size) is one stretch for the device. */
static inline int dma_contiguous(const struct dma_region *region, const void *p, size_t size)
{
	size_t offset = (size_t)((const uint8_t *)p - region->virt);

	return region->mode == DMA_IOVA_VA ||
	       offset / region->page_size == (offset + size - 1) / region->page_size;
}

/* A stretch of a region that is contiguous for the device. */
struct dma_run {
	size_t offset, size; /* in the region */
	uint64_t iova;
};

/*
 * The region's runs from its start: one in DMA_IOVA_VA mode, else one for all pages that follow each other in
 * physical memory, too. Begin with a run of zeros; false when there are no more.
 */
bool dma_next_run(const struct dma_region *region, struct dma_run *run);

/* How many 2 MiB huge pages size bytes take: for messages and for reserving. */
static inline size_t dma_huge_pages(size_t size)
{
	return (size + DMA_HUGE_PAGE - 1) / DMA_HUGE_PAGE;
}

/*
 * Free 2 MiB huge pages now; reserve count more (needs root). Both return a count, which may be less than
 * asked, or a negative errno, and leave no text.
 */
long dma_huge_pages_free(void);
int dma_huge_pages_reserve(size_t count);

#endif
