/*
 * The client's memory: what it mapped, and the only door to it.
 *
 * Everything the model reads or writes by DMA goes through nic_dma() and its like, which translate an I/O address
 * as an IOMMU does: inside the mapped regions, in an allowed direction, bus mastering on, or not at all. Behind a
 * guest's own IOMMU (vtd.c) the regions are the guest's memory, and its tables come first.
 *
 * The memory is the client's file (memfd, hugetlbfs, tmpfs), so the client can take it away while we use it:
 * by ftruncate(), by punching a hole where no huge page is left. Seals would help where clients set them, but
 * they do not cover huge pages that run out. So a SIGBUS is survived instead: its handler puts anonymous
 * memory in the region's place, the access goes on with zeros, and the region is refused from then on.
 */
#include <errno.h>
#include <inttypes.h>
#include <linux/magic.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <unistd.h>

#include "vtd.h"

#define IO_PAGE 4096u

static struct nic_dma *all; /* every port of the process */

/* --- SIGBUS --------------------------------------------------------------------------------------- */

static bool replace_region(struct nic_dma *dma, uintptr_t address)
{
	for (unsigned i = 0; i < dma->count; i++) {
		struct nic_dma_region *r = &dma->regions[i];
		if (address - (uintptr_t)r->map >= r->map_size)
			continue;
		r->lost = true;
		return mmap(r->map, r->map_size, PROT_READ | PROT_WRITE,
			       MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_FIXED, -1, 0) != MAP_FAILED;
	}
	return false;
}

static void on_sigbus(int signal_number, siginfo_t *info, void *context)
{
	(void)context;
	int saved = errno;
	for (struct nic_dma *dma = all; dma; dma = dma->next) {
		if (replace_region(dma, (uintptr_t)info->si_addr)) {
			errno = saved;
			return;
		}
	}
	/* Not ours: the access is repeated and ends the process as it should. */
	signal(signal_number, SIG_DFL);
}

/* Set with each map, not once: test harnesses change handlers under us. */
static void survive_sigbus(void)
{
	struct sigaction action = {.sa_sigaction = on_sigbus, .sa_flags = SA_SIGINFO};
	sigemptyset(&action.sa_mask);
	sigaction(SIGBUS, &action, NULL);
}

void nic_dma_init(struct nic *nic)
{
	nic->dma.next = all;
	all = &nic->dma;
}

void nic_dma_exit(struct nic *nic)
{
	nic_dma_unmap_all(nic);
	for (struct nic_dma **link = &all; *link; link = &(*link)->next) {
		if (*link == &nic->dma) {
			*link = nic->dma.next;
			return;
		}
	}
}

/* --- map and unmap ---------------------------------------------------------------------------------- */

static bool is_register_memory(const struct stat *st)
{
	for (const struct nic_dma *dma = all; dma; dma = dma->next) {
		if (st->st_dev == dma->bar_device && st->st_ino == dma->bar_inode)
			return true;
	}
	return false;
}

/* The file must be memory, hold the range, and not be ours. *page: its page size, for mmap. */
static int check_file(int fd, uint64_t offset, uint64_t size, uint64_t *page)
{
	struct stat st;
	struct statfs fs;
	if (fstat(fd, &st) || fstatfs(fd, &fs))
		return -errno;
	if (!S_ISREG(st.st_mode) || is_register_memory(&st))
		return -EINVAL;
	if (offset > (uint64_t)st.st_size || size > (uint64_t)st.st_size - offset)
		return -EINVAL;
	*page = fs.f_type == HUGETLBFS_MAGIC ? (uint64_t)fs.f_bsize : IO_PAGE;
	return 0;
}

/* 0 if [iova, iova + size) is free. */
static int check_free(const struct nic_dma *dma, uint64_t iova, uint64_t size)
{
	if (dma->count == NIC_DMA_REGIONS)
		return -ENOSPC;
	for (unsigned i = 0; i < dma->count; i++) {
		const struct nic_dma_region *r = &dma->regions[i];
		/* Whichever starts first must end before the other. */
		if (iova < r->iova ? size > r->iova - iova : r->size > iova - r->iova)
			return -EEXIST;
	}
	return 0;
}

int nic_dma_map(
	struct nic *nic, uint64_t iova, uint64_t size, int fd, uint64_t offset, bool readable, bool writeable)
{
	struct nic_dma *dma = &nic->dma;
	uint64_t page;
	int err = -EINVAL;
	if (!size || (iova | size | offset) % IO_PAGE || size - 1 > UINT64_MAX - iova ||
		!(readable || writeable))
		goto out;
	err = check_free(dma, iova, size);
	if (!err)
		err = check_file(fd, offset, size, &page);
	if (err)
		goto out;

	/* Huge pages are mapped whole, even where the client maps a part of one. */
	uint64_t start = offset / page * page;
	uint64_t end = offset + size + (page - (offset + size) % page) % page;
	int protection = PROT_READ | (writeable ? PROT_WRITE : 0);
	uint8_t *map = mmap(NULL, end - start, protection, MAP_SHARED | MAP_NORESERVE, fd, (off_t)start);
	if (map == MAP_FAILED) {
		err = -errno;
		goto out;
	}
	survive_sigbus();
	dma->regions[dma->count++] = (struct nic_dma_region){
		.iova = iova,
		.size = size,
		.virt = map + (offset - start),
		.readable = readable,
		.writeable = writeable,
		.map = map,
		.map_size = end - start,
	};
out:
	if (fd >= 0)
		close(fd);
	return err;
}

static void remove_region(struct nic_dma *dma, unsigned i)
{
	struct nic_dma_region gone = dma->regions[i];
	dma->regions[i] = dma->regions[--dma->count];
	dma->last = 0;
	munmap(gone.map, gone.map_size);
}

int nic_dma_unmap(struct nic *nic, uint64_t iova, uint64_t size)
{
	struct nic_dma *dma = &nic->dma;
	unsigned inside = 0;
	nic_receive_flush(nic); /* a burst holds translations */
	if (!size || size - 1 > UINT64_MAX - iova)
		return -EINVAL;
	for (unsigned i = 0; i < dma->count; i++) {
		const struct nic_dma_region *r = &dma->regions[i];
		bool first_in = r->iova - iova < size;
		bool last_in = r->iova + (r->size - 1) - iova < size;
		bool around = iova - r->iova < r->size;
		if (first_in && last_in)
			inside++;
		else if (first_in || last_in || around)
			return -EINVAL;
	}
	if (!inside)
		return -ENOENT;
	for (unsigned i = dma->count; i--;) {
		if (dma->regions[i].iova - iova < size)
			remove_region(dma, i);
	}
	return 0;
}

void nic_dma_unmap_all(struct nic *nic)
{
	nic_receive_flush(nic);
	while (nic->dma.count)
		remove_region(&nic->dma, nic->dma.count - 1);
}

/* --- access ----------------------------------------------------------------------------------------- */

/* The region that the byte at address lies in. */
static struct nic_dma_region *find(struct nic_dma *dma, uint64_t address)
{
	if (dma->last < dma->count && address - dma->regions[dma->last].iova < dma->regions[dma->last].size)
		return &dma->regions[dma->last];
	for (unsigned i = 0; i < dma->count; i++) {
		if (address - dma->regions[i].iova < dma->regions[i].size) {
			dma->last = i;
			return &dma->regions[i];
		}
	}
	return NULL;
}

const void *nic_dma_physical(struct nic_dma *dma, uint64_t address, size_t size)
{
	const struct nic_dma_region *r = find(dma, address);
	if (!r || r->lost || !r->readable || size > r->size - (address - r->iova))
		return NULL;
	return r->virt + (address - r->iova);
}

static void *refuse(
	struct nic *nic, enum nic_violation v, uint64_t iova, size_t size, bool write, const char *why)
{
	nic_violate(
		nic, v, "%s of %zu bytes at 0x%" PRIx64 ": %s", write ? "write" : "read", size, iova, why);
	return NULL;
}

/* Where the byte at iova lies, and in *size, how much of what follows lies behind it. */
static uint8_t *reach(struct nic *nic, uint64_t iova, size_t *size, bool write)
{
	struct nic_dma *dma = &nic->dma;
	uint64_t address = iova;
	const size_t wanted = *size;
	const char *why = dma->iommu ? vtd_translate(dma->iommu, dma, iova, size, write, &address) : NULL;
	if (why)
		return refuse(nic, NIC_VIOLATION_DMA_IOMMU, iova, wanted, write, why);
	const struct nic_dma_region *r = find(dma, address);
	if (!r || r->lost || !(write ? r->writeable : r->readable))
		return refuse(nic, NIC_VIOLATION_DMA_UNMAPPED, iova, wanted, write,
			!r        ? "not mapped"
			: r->lost ? "the client's file has shrunk"
				  : "not mapped in this direction");
	if (*size > r->size - (address - r->iova))
		*size = r->size - (address - r->iova);
	return r->virt + (address - r->iova);
}

/* What holds for any DMA, wherever it goes. */
static bool may(struct nic *nic, uint64_t iova, size_t size, bool write)
{
	if (nic_fault(nic, NIC_FAULT_REMOVED))
		return false;
	if (!nic_bus_master(nic))
		return refuse(nic, NIC_VIOLATION_DMA_NO_MASTER, iova, size, write, "refused");
	if (!size || size - 1 > UINT64_MAX - iova)
		return refuse(nic, NIC_VIOLATION_DMA_UNMAPPED, iova, size, write, "no such range");
	return true;
}

/* What an access mostly is: within the region of the one before, and nothing forbids it. */
static inline uint8_t *at_hand(const struct nic *nic, uint64_t iova, size_t size, bool write)
{
	const struct nic_dma *dma = &nic->dma;
	const struct nic_dma_region *r = &dma->regions[dma->last];
	uint64_t offset = iova - r->iova;
	if (dma->iommu || dma->last >= dma->count || offset >= r->size || size > r->size - offset || !size ||
		size > NIC_DMA_MAX || r->lost || !(write ? r->writeable : r->readable) ||
		nic->fault[NIC_FAULT_REMOVED] || !nic_bus_master(nic))
		return NULL;
	return r->virt + offset;
}

unsigned nic_dma(struct nic *nic, uint64_t iova, size_t size, bool write, struct iovec spans[NIC_DMA_SPANS])
{
	unsigned n = 0;
	uint8_t *near = at_hand(nic, iova, size, write);
	if (__builtin_expect(near != NULL, 1)) {
		spans[0] = (struct iovec){near, size};
		return 1;
	}
	if (!may(nic, iova, size, write))
		return 0;
	if (size > NIC_DMA_MAX) {
		refuse(nic, NIC_VIOLATION_DMA_UNMAPPED, iova, size, write, "longer than any one access");
		return 0;
	}
	/* Each part but the last ends with a page, so there is room for all. */
	while (size) {
		size_t part = size;
		uint8_t *at = reach(nic, iova, &part, write);
		if (!at)
			return 0;
		if (n && (uint8_t *)spans[n - 1].iov_base + spans[n - 1].iov_len == at)
			spans[n - 1].iov_len += part;
		else
			spans[n++] = (struct iovec){at, part};
		iova += part;
		size -= part;
	}
	return n;
}

bool nic_dma_read(struct nic *nic, uint64_t iova, void *to, size_t size)
{
	struct iovec spans[NIC_DMA_SPANS];
	unsigned n = nic_dma(nic, iova, size, false, spans);
	for (unsigned i = 0; i < n; i++)
		to = mempcpy(to, spans[i].iov_base, spans[i].iov_len);
	return n;
}

void *nic_dma_move_window(struct nic *nic, struct nic_dma_window *window, uint64_t iova, size_t size)
{
	size_t readable = size, writeable = size;
	window->size = 0;
	if (!may(nic, iova, size, true) || !reach(nic, iova, &readable, false))
		return NULL;
	window->virt = reach(nic, iova, &writeable, true);
	if (!window->virt)
		return NULL;
	window->start = iova;
	window->size = readable < writeable ? readable : writeable;
	return window->virt;
}

void nic_dma_new_burst(struct nic *nic)
{
	if (nic->dma.iommu)
		vtd_new_burst(nic->dma.iommu);
}

bool nic_dma_held(const struct nic *nic)
{
	return nic->dma.iommu && nic->dma.iommu->state == VTD_UNKNOWN;
}
