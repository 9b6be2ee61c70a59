/*
 * The IOMMU behind a VFIO container (<linux/vfio.h>, type 1): which addresses it takes, and what is mapped in it.
 */
#include <errno.h>
#include <inttypes.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>

#include "driver/dma_place.h"
#include "driver/error.h"
#include "driver/pci/vfio.h"

struct vfio_mapping {
	struct vfio_mapping *next;
	const struct dma_region *region;
	unsigned users;
};

/* For the mappings of all groups: memory is shared seldom, so one will do. */
static pthread_mutex_t mappings_lock = PTHREAD_MUTEX_INITIALIZER;
static uint64_t mapped; /* bytes in all groups: the limit of locked memory is the process's */

/* --- what it can do ------------------------------------------------------------------------------ */

static void take_windows(struct vfio_group *group, const struct vfio_iommu_type1_info *info)
{
	const struct vfio_iommu_type1_info_cap_iova_range *ranges;
	const size_t head = sizeof(*ranges);
	size_t room;

	if (info->argsz < sizeof(*info) || !(info->flags & VFIO_IOMMU_INFO_CAPS))
		return;
	ranges = vfio_capability(
		info, info->argsz, info->cap_offset, VFIO_IOMMU_TYPE1_INFO_CAP_IOVA_RANGE, head);
	if (!ranges)
		return;
	room = (info->argsz - (size_t)((const uint8_t *)ranges - (const uint8_t *)info) - head) /
	       sizeof(ranges->iova_ranges[0]);
	for (uint32_t i = 0; i < ranges->nr_iovas && i < room && group->window_count < PCI_DMA_WINDOWS; i++) {
		struct dma_window window = {ranges->iova_ranges[i].start, ranges->iova_ranges[i].end};

		if (window.first < window.last)
			group->windows[group->window_count++] = window;
	}
}

/*
 * How many address bits the function's IOMMU translates; 64 where it does not say. Intel's has that in its
 * capability register, and a kernel such as 6.1 lets VFIO promise more than that.
 */
static unsigned address_width(int dir)
{
	char text[32], *end;
	uint64_t capability;
	unsigned supported, levels, width;

	if (sysfs_read(dir, "iommu/intel-iommu/cap", text, sizeof(text)) < 0)
		return 64;
	capability = strtoull(text, &end, 16);
	if (end == text || *end)
		return 64;
	width = (unsigned)(capability >> 16 & 0x3f) + 1; /* MGAW */
	supported = capability >> 8 & 0x1f; /* SAGAW: bit 1 for 39 bits, and 9 more for each above */
	for (levels = 4; levels > 0 && !(supported & 1u << levels); levels--)
		;
	return levels && 30 + 9 * levels < width ? 30 + 9 * levels : width;
}

static void limit_windows(struct vfio_group *group, unsigned width)
{
	uint64_t last = width < 64 ? (UINT64_C(1) << width) - 1 : UINT64_MAX;
	uint32_t count = 0;

	if (group->window_count == 0 && width < 64)
		group->windows[group->window_count++] = (struct dma_window){0, last};
	for (uint32_t i = 0; i < group->window_count; i++) {
		struct dma_window window = group->windows[i];

		if (window.first >= last)
			continue;
		if (window.last > last)
			window.last = last;
		group->windows[count++] = window;
	}
	group->window_count = count;
}

int vfio_iommu_read(struct vfio_group *group, const char *name, int dir)
{
	struct vfio_iommu_type1_info start = {0}, *info;
	void *answer;
	/* Kernels before 5.8 refuse nothing, they just say less. */
	int err = vfio_get_info(group->container, VFIO_IOMMU_GET_INFO, &start, sizeof(start), &answer);

	if (err)
		return ixy_fail(-err, "%s: cannot learn what its IOMMU can do: %s", name, strerror(-err));
	info = answer;
	if (info->flags & VFIO_IOMMU_INFO_PGSIZES)
		group->page_sizes = info->iova_pgsizes;
	take_windows(group, info);
	limit_windows(group, address_width(dir));
	free(answer);
	return 0;
}

/* --- DMA maps ------------------------------------------------------------------------------------ */

/* The link that points to the region's mapping, or the end of the list. */
static struct vfio_mapping **find_mapping(struct vfio_group *group, const struct dma_region *region)
{
	struct vfio_mapping **link = &group->mappings;

	while (*link && (*link)->region != region)
		link = &(*link)->next;
	return link;
}

/* Take away the runs below `end`. A map that cannot be taken away ends with the container. */
static void unmap_runs(const struct vfio_group *group, const struct dma_region *region, size_t end)
{
	struct dma_run run = {0};

	while (dma_next_run(region, &run) && run.offset < end) {
		struct vfio_iommu_type1_dma_unmap unmap = {
			.argsz = sizeof(unmap), .iova = run.iova, .size = run.size};

		vfio_ioctl(group->container, VFIO_IOMMU_UNMAP_DMA, &unmap);
	}
}

static int fail_map(const char *name, const struct vfio_group *group, const struct dma_region *region,
	const struct dma_run *run, int error)
{
	const uint64_t mib = 1 << 20;
	uint64_t needed = (mapped + region->size + mib - 1) / mib;
	struct rlimit limit = {RLIM_INFINITY, RLIM_INFINITY};

	getrlimit(RLIMIT_MEMLOCK, &limit);
	if (error == ENOMEM && limit.rlim_cur != RLIM_INFINITY && limit.rlim_cur / mib < needed)
		return ixy_fail(ENOMEM,
			"%s: at least %" PRIu64
			" MiB of memory are to be locked for DMA, the limit (RLIMIT_MEMLOCK) "
			"is %" PRIu64 " KiB: as root: prlimit --pid $$ --memlock=unlimited; for good: "
			"LimitMEMLOCK=infinity in the systemd unit, or \"USER - memlock unlimited\" in "
			"/etc/security/limits.conf",
			name, needed, (uint64_t)limit.rlim_cur / 1024);
	if (!dma_fits(group->windows, group->window_count, run->iova, run->size))
		return ixy_fail(error,
			"%s: the IOMMU does not take the device addresses 0x%" PRIx64 " to 0x%" PRIx64, name,
			run->iova, run->iova + run->size - 1);
	return ixy_fail(error, "%s: cannot map %zu KiB for DMA at 0x%" PRIx64 ": %s", name, run->size / 1024,
		run->iova, strerror(error));
}

/*
 * One call for each run: the kernel pins the memory and builds the IOMMU's tables with the largest pages that fit,
 * which huge pages of ours let it do.
 */
static int map_runs(const struct vfio_group *group, const char *name, const struct dma_region *region)
{
	struct dma_run run = {0};

	/* The IOMMU's smallest page: ours may not be smaller. */
	if (group->page_sizes && region->page_size & ((group->page_sizes & -group->page_sizes) - 1))
		return ixy_fail(
			EINVAL, "%s: the IOMMU has no pages as small as %zu bytes", name, region->page_size);
	while (dma_next_run(region, &run)) {
		struct vfio_iommu_type1_dma_map map = {
			.argsz = sizeof(map),
			.flags = VFIO_DMA_MAP_FLAG_READ | VFIO_DMA_MAP_FLAG_WRITE,
			.vaddr = (uintptr_t)region->virt + run.offset,
			.iova = run.iova,
			.size = run.size,
		};

		if (vfio_ioctl(group->container, VFIO_IOMMU_MAP_DMA, &map) < 0) {
			int error = errno;

			unmap_runs(group, region, run.offset);
			return fail_map(name, group, region, &run, error);
		}
	}
	return 0;
}

/* NULL with *err on failure. */
static struct vfio_mapping *new_mapping(
	struct vfio_group *group, const char *name, const struct dma_region *region, int *err)
{
	struct vfio_mapping *mapping = calloc(1, sizeof(*mapping));

	if (!mapping) {
		*err = ixy_fail(ENOMEM, "%s: out of memory", name);
		return NULL;
	}
	*err = map_runs(group, name, region);
	if (*err) {
		free(mapping);
		return NULL;
	}
	mapping->region = region;
	mapping->next = group->mappings;
	group->mappings = mapping;
	mapped += region->size;
	return mapping;
}

int vfio_group_map(struct vfio_group *group, const char *name, const struct dma_region *region)
{
	struct vfio_mapping *mapping;
	int err = 0;

	pthread_mutex_lock(&mappings_lock);
	mapping = *find_mapping(group, region);
	if (!mapping)
		mapping = new_mapping(group, name, region, &err);
	if (mapping)
		mapping->users++;
	pthread_mutex_unlock(&mappings_lock);
	return err;
}

void vfio_group_unmap(struct vfio_group *group, const struct dma_region *region)
{
	struct vfio_mapping **link, *mapping;

	pthread_mutex_lock(&mappings_lock);
	link = find_mapping(group, region);
	mapping = *link;
	if (mapping && --mapping->users == 0) {
		unmap_runs(group, region, region->size);
		mapped -= region->size;
		*link = mapping->next;
		free(mapping);
	}
	pthread_mutex_unlock(&mappings_lock);
}
