/*
 * DMA memory: a memfd, populated and locked, mapped once into this process and made reachable for the device.
 *
 * Huge pages first: they are physically contiguous for 2 MiB, which a device without an IOMMU in front of it
 * needs, and they cost one TLB entry where ordinary pages cost 512. Where they run out and the transport
 * translates addresses, ordinary pages do as well.
 *
 * The memfd is sealed against resizing. Another process that is given it (a vfio-user server) can then map it
 * without the fear that a later truncation turns its accesses into SIGBUS.
 */
#include "driver/dma.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <linux/memfd.h>
#include <sys/mman.h>

#include "driver/dma_place.h"
#include "driver/error.h"
#include "driver/pci/pci.h"

#define HUGE_PAGES "/sys/kernel/mm/hugepages/hugepages-2048kB/"

/* --- the kernel's stock of huge pages ------------------------------------------------------------ */

static long read_count(const char *path)
{
	FILE *file = fopen(path, "re");
	long count;
	int err;

	if (!file)
		return -errno;
	err = fscanf(file, "%ld", &count) == 1 && count >= 0 ? 0 : -EIO;
	fclose(file);
	return err ? err : count;
}

static int write_count(const char *path, long count)
{
	FILE *file = fopen(path, "we");
	int err = 0;

	if (!file)
		return -errno;
	if (fprintf(file, "%ld\n", count) < 0)
		err = -errno;
	if (fclose(file) != 0 && !err)
		err = -errno;
	return err;
}

/* Pages that a mapping has reserved but not touched yet still count as free in the kernel's figure. */
long dma_huge_pages_free(void)
{
	long free_pages = read_count(HUGE_PAGES "free_hugepages");
	long reserved = read_count(HUGE_PAGES "resv_hugepages");

	if (free_pages < 0)
		return free_pages;
	return reserved > 0 && reserved <= free_pages ? free_pages - reserved : free_pages;
}

int dma_huge_pages_reserve(size_t count)
{
	long before = read_count(HUGE_PAGES "nr_hugepages"), after;
	int err;

	if (before < 0)
		return (int)before;
	err = write_count(HUGE_PAGES "nr_hugepages", before + (long)count);
	if (err)
		return err;
	/* The kernel gives as many as it finds in one piece, and does not call fewer an error. */
	after = read_count(HUGE_PAGES "nr_hugepages");
	if (after < 0)
		return (int)after;
	return after > before ? (int)(after - before) : 0;
}

static int fail_huge_pages(size_t size)
{
	size_t needed = dma_huge_pages(size);
	long available = dma_huge_pages_free(), total = read_count(HUGE_PAGES "nr_hugepages");

	if (available < 0 || total < 0)
		return ixy_fail(ENOMEM, "this kernel has no huge pages of 2 MiB (no " HUGE_PAGES ")");
	/* Free yet refused: a limit of the control group, or pages on the wrong memory node. */
	if ((size_t)available >= needed)
		return ixy_fail(ENOMEM,
			"%zu huge pages of 2 MiB are needed and %ld are free, but the kernel refuses them: "
			"look at the hugetlb limit of this control group",
			needed, available);
	return ixy_fail(ENOMEM,
		"%zu huge pages of 2 MiB are needed and %ld are free: "
		"echo %zu > " HUGE_PAGES "nr_hugepages",
		needed, available, (size_t)total + needed - (size_t)available);
}

/* --- the memory ---------------------------------------------------------------------------------- */

#define PLACE_TRIES 8 /* another thread may take the place that has just been found */

/* Where the device can address it, if the kernel's own choice is nowhere there. */
static int map_in_window(const struct pci_device *pci, struct dma_region *region)
{
	for (unsigned i = 0; i < PLACE_TRIES; i++) {
		FILE *maps = fopen("/proc/self/maps", "re");
		uintptr_t place;

		if (!maps)
			return -errno;
		place = dma_place(maps, pci->windows, pci->window_count, region->size, DMA_HUGE_PAGE);
		fclose(maps);
		if (!place)
			break;
		region->virt = mmap((void *)place, region->size, PROT_READ | PROT_WRITE,
			MAP_SHARED | MAP_POPULATE | MAP_FIXED_NOREPLACE, region->fd, 0);
		if (region->virt == (uint8_t *)place)
			return 0;
		/* Kernels before 4.17 do not know the flag and may have put it anywhere. */
		if (region->virt != MAP_FAILED)
			munmap(region->virt, region->size);
		else if (errno != EEXIST)
			return -errno;
	}
	return -EADDRNOTAVAIL;
}

static int map_memory(const struct pci_device *pci, struct dma_region *region)
{
	region->virt =
		mmap(NULL, region->size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_POPULATE, region->fd, 0);
	if (region->virt == MAP_FAILED)
		return -errno;
	if (!pci || region->mode != DMA_IOVA_VA ||
		dma_fits(pci->windows, pci->window_count, (uintptr_t)region->virt, region->size))
		return 0;
	munmap(region->virt, region->size);
	return map_in_window(pci, region);
}

/* Returns 0 or a negative errno without a text: that huge pages are missing is not yet a failure. */
static int create_memory(
	const struct pci_device *pci, struct dma_region *region, size_t size, size_t page_size)
{
	unsigned flags = MFD_CLOEXEC | MFD_ALLOW_SEALING;
	int err;

	if (page_size == DMA_HUGE_PAGE)
		flags |= MFD_HUGETLB | MFD_HUGE_2MB;
	region->page_size = page_size;
	region->size = (size + page_size - 1) / page_size * page_size;
	region->fd = memfd_create("ixy-dma", flags);
	if (region->fd < 0)
		return -errno;
	/* fallocate() takes the pages now and says so when there are too few; a fault would be SIGBUS. */
	if (ftruncate(region->fd, (off_t)region->size) < 0 ||
		fallocate(region->fd, 0, 0, (off_t)region->size) < 0 ||
		fcntl(region->fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL) < 0)
		err = -errno;
	else
		err = map_memory(pci, region);
	if (err)
		close(region->fd);
	return err;
}

static void destroy_memory(struct dma_region *region)
{
	munmap(region->virt, region->size);
	close(region->fd);
}

/* For messages: memory of a device that is no PCI function has no name here. */
static const char *name_of(const struct pci_device *pci)
{
	return pci ? pci->name : "packet memory";
}

static int try_huge_pages(struct pci_device *pci, struct dma_region *region, size_t size)
{
	int err = create_memory(pci, region, size, DMA_HUGE_PAGE);

	if (err && pci && pci->reserve_huge_pages) {
		size_t needed = dma_huge_pages(size);
		long available = dma_huge_pages_free();

		if (available >= 0 && (size_t)available < needed) {
			int gained = dma_huge_pages_reserve(needed - (size_t)available);

			if (gained < 0)
				ixy_log(IXY_LOG_WARNING, "%s: cannot reserve %zu huge pages: %s", pci->name,
					needed - (size_t)available, strerror(-gained));
			else
				ixy_log(IXY_LOG_INFO, "%s: reserved %d more huge pages of 2 MiB", pci->name,
					gained);
			err = create_memory(pci, region, size, DMA_HUGE_PAGE);
		}
	}
	return err;
}

static int allocate(struct pci_device *pci, struct dma_region *region, size_t size)
{
	int err = try_huge_pages(pci, region, size);

	if (err && region->mode == DMA_IOVA_PA)
		return fail_huge_pages(size);
	if (err) {
		err = create_memory(pci, region, size, (size_t)sysconf(_SC_PAGESIZE));
		if (pci && err == -EADDRNOTAVAIL)
			return ixy_fail(ENOMEM,
				"no room for %zu KiB of DMA memory among the addresses that the IOMMU takes, "
				"up to 0x%" PRIx64,
				size / 1024, pci->windows[pci->window_count - 1].last);
		if (err)
			return ixy_fail(-err, "no DMA memory of %zu KiB: %s", size / 1024, strerror(-err));
		if (pci && !pci->ordinary_pages) {
			ixy_log(IXY_LOG_INFO,
				"%s: no free huge pages, so DMA memory is in ordinary pages (slower)",
				pci->name);
			pci->ordinary_pages = true;
		}
	}
	/*
	 * Huge pages are never swapped, and what the transport pins is not either: locking it as well would count
	 * twice towards the user's limit. Other ordinary pages may be under memory pressure; that costs time, but
	 * not correctness, as only processes reach them.
	 */
	if (region->page_size == DMA_HUGE_PAGE || (pci && pci->pins_memory))
		return 0;
	if (mlock(region->virt, region->size) < 0)
		ixy_log(IXY_LOG_DEBUG, "%s: DMA memory is not locked: %s (ulimit -l)", name_of(pci),
			strerror(errno));
	return 0;
}

/* --- physical addresses -------------------------------------------------------------------------- */

/*
 * Documentation/admin-guide/mm/pagemap.rst: 64 bits for each ordinary page of the address space; bit 63 says
 * present, bits 0-54 are the page frame number, which reads 0 without CAP_SYS_ADMIN.
 */
#define PAGEMAP_PRESENT  (UINT64_C(1) << 63)
#define PAGEMAP_PFN_MASK ((UINT64_C(1) << 55) - 1)

static int physical_addresses(struct dma_region *region)
{
	size_t pages = region->size / region->page_size;
	uint64_t small_page = (uint64_t)sysconf(_SC_PAGESIZE);
	int fd, err = 0;

	region->page_iova = calloc(pages, sizeof(region->page_iova[0]));
	if (!region->page_iova)
		return ixy_fail(ENOMEM, "out of memory");
	fd = open("/proc/self/pagemap", O_RDONLY | O_CLOEXEC);
	if (fd < 0) {
		err = ixy_fail(errno, "cannot learn physical addresses from /proc/self/pagemap: %s",
			strerror(errno));
		goto fail;
	}
	for (size_t i = 0; i < pages && !err; i++) {
		uint64_t page = (uint64_t)(uintptr_t)(region->virt + i * region->page_size) / small_page,
			 entry;

		if (pread(fd, &entry, sizeof(entry), (off_t)(page * sizeof(entry))) != sizeof(entry))
			err = ixy_fail(EIO, "cannot read /proc/self/pagemap");
		else if (!(entry & PAGEMAP_PRESENT))
			err = ixy_fail(EIO, "a page of DMA memory is not in memory");
		else if (!(entry & PAGEMAP_PFN_MASK))
			err = ixy_fail(EPERM, "physical addresses are hidden from this process: "
					      "it needs CAP_SYS_ADMIN (run it as root), or --iova va behind "
					      "an IOMMU");
		else
			region->page_iova[i] = (entry & PAGEMAP_PFN_MASK) * small_page;
	}
	close(fd);
	if (err)
		goto fail;
	return 0;

fail:
	free(region->page_iova);
	return err;
}

bool dma_next_run(const struct dma_region *region, struct dma_run *run)
{
	size_t at = run->offset + run->size, end = at + region->page_size;

	if (at >= region->size)
		return false;
	run->offset = at;
	run->iova = dma_iova(region, region->virt + at);
	if (region->mode == DMA_IOVA_VA)
		end = region->size;
	while (end < region->size && dma_iova(region, region->virt + end) == run->iova + (end - run->offset))
		end += region->page_size;
	run->size = end - at;
	return true;
}

/* --- regions ------------------------------------------------------------------------------------- */

int dma_alloc(struct pci_device *pci, size_t size, struct dma_region **out)
{
	struct dma_region *region;
	int err;

	if (size == 0 || size > SIZE_MAX / 2)
		return ixy_fail(EINVAL, "%s: no DMA memory of %zu bytes", name_of(pci), size);
	region = calloc(1, sizeof(*region));
	if (!region)
		return ixy_fail(ENOMEM, "%s: out of memory", name_of(pci));
	region->mode = pci ? pci->iova_mode : DMA_IOVA_VA;
	err = allocate(pci, region, size);
	if (err)
		goto fail_region;
	if (region->mode == DMA_IOVA_PA) {
		err = physical_addresses(region);
		if (err)
			goto fail_memory;
	}
	if (pci) {
		err = pci->ops->dma_map(pci, region);
		if (err)
			goto fail_iova;
	}
	*out = region;
	return 0;

fail_iova:
	free(region->page_iova);
fail_memory:
	destroy_memory(region);
fail_region:
	free(region);
	return ixy_fail_context(err, "%s", name_of(pci));
}

void dma_free(struct pci_device *pci, struct dma_region *region)
{
	struct ixy_error error;

	if (!region)
		return;
	if (pci) {
		ixy_error_save(&error);
		pci->ops->dma_unmap(pci, region);
		ixy_error_restore(&error);
	}
	free(region->page_iova);
	destroy_memory(region);
	free(region);
}

int dma_share(struct pci_device *pci, struct dma_region *region)
{
	if (pci->iova_mode != region->mode)
		return ixy_fail(ENOTSUP,
			"%s addresses memory differently than the device that the memory is for", pci->name);
	return pci->ops->dma_map(pci, region);
}

void dma_unshare(struct pci_device *pci, struct dma_region *region)
{
	pci->ops->dma_unmap(pci, region);
}
