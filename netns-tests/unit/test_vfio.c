/*
 * VFIO with a kernel that the test plays: sysfs and /dev/vfio are trees of plain files, and what would be ioctls
 * comes here. The device's file holds config space and BAR 0 as the kernel's would, at offsets of its choice.
 */
#include "sysfs_tree.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/pci_regs.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/resource.h>

#include "driver/dma.h"
#include "driver/dma_place.h"
#include "driver/ixy.h"
#include "driver/pci/transport.h"
#include "driver/pci/vfio.h"

#define OTHER      "0000:03:00.1"
#define CONFIG_AT  0x70000
#define BAR_AT     0
#define PORTS_AT   0x60000
#define PORTS_SIZE 64
#define MIB        (1ull << 20)
#define MAX_MAPS   64

/* --- the kernel's side --------------------------------------------------------------------------- */

static struct {
	char dev[96]; /* what stands for /dev/vfio */
	/* What the user got wrong. */
	bool not_viable, no_type1v2, no_type1;
	int version, attach_error, map_error;
	/* What there is. */
	uint64_t bar_size;
	uint32_t bar_flags;
	struct vfio_region_sparse_mmap_area area; /* size 0: no such capability */
	unsigned vectors, vectors_left, request_irqs;
	struct vfio_iova_range ranges[4];
	uint32_t range_count;
	uint64_t page_sizes;
	/* What came of it. */
	unsigned groups, iommus, devices, resets;
	unsigned long type;
	struct {
		uint64_t vaddr, iova, size;
	} maps[MAX_MAPS];
	unsigned map_count, map_calls;
	unsigned msix; /* vectors that are on */
	int irq_fds[16], request_fd;
} kernel;

static void dev_path(char *path, size_t size, const char *name)
{
	snprintf(path, size, "%s/%s", kernel.dev, name);
}

static int open_device(const char *address)
{
	char path[128];

	dev_path(path, sizeof(path), address);
	kernel.devices++;
	return open(path, O_RDWR);
}

static int fail_with(int error)
{
	errno = error;
	return -1;
}

static int answer_iommu(struct vfio_iommu_type1_info *info)
{
	struct vfio_iommu_type1_info_cap_iova_range *cap;
	struct vfio_info_cap_header *first;
	/* Another capability comes first. */
	uint32_t needed = (uint32_t)(sizeof(*info) + 16 + sizeof(*cap) +
				     kernel.range_count * sizeof(kernel.ranges[0])),
		 room = info->argsz;

	info->flags = VFIO_IOMMU_INFO_PGSIZES | (kernel.range_count ? VFIO_IOMMU_INFO_CAPS : 0);
	info->iova_pgsizes = kernel.page_sizes;
	if (!kernel.range_count)
		return 0;
	info->argsz = needed;
	if (room < needed)
		return 0;
	info->cap_offset = sizeof(*info);
	first = (struct vfio_info_cap_header *)(info + 1);
	*first = (struct vfio_info_cap_header){.id = 77, .version = 1, .next = sizeof(*info) + 16};
	cap = (void *)((uint8_t *)info + first->next);
	cap->header = (struct vfio_info_cap_header){.id = VFIO_IOMMU_TYPE1_INFO_CAP_IOVA_RANGE, .version = 1};
	cap->nr_iovas = kernel.range_count;
	memcpy(cap->iova_ranges, kernel.ranges, kernel.range_count * sizeof(kernel.ranges[0]));
	return 0;
}

static int answer_region(struct vfio_region_info *info)
{
	struct vfio_region_info_cap_sparse_mmap *sparse;
	uint32_t room = info->argsz;

	if (info->index == VFIO_PCI_CONFIG_REGION_INDEX) {
		info->offset = CONFIG_AT;
		info->size = 256;
		return 0;
	}
	/* BAR 1 has I/O ports, BARs 2 and up are not there. */
	if (info->index == VFIO_PCI_BAR1_REGION_INDEX) {
		info->offset = PORTS_AT;
		info->size = PORTS_SIZE;
		info->flags = VFIO_REGION_INFO_FLAG_READ | VFIO_REGION_INFO_FLAG_WRITE;
		return 0;
	}
	if (info->index != VFIO_PCI_BAR0_REGION_INDEX) {
		info->size = 0;
		return 0;
	}
	info->offset = BAR_AT;
	info->size = kernel.bar_size;
	info->flags = kernel.bar_flags;
	if (!kernel.area.size)
		return 0;
	info->flags |= VFIO_REGION_INFO_FLAG_CAPS;
	info->argsz = sizeof(*info) + sizeof(*sparse) + sizeof(sparse->areas[0]);
	if (room < info->argsz)
		return 0;
	info->cap_offset = sizeof(*info);
	sparse = (void *)(info + 1);
	sparse->header = (struct vfio_info_cap_header){.id = VFIO_REGION_INFO_CAP_SPARSE_MMAP};
	sparse->nr_areas = 1;
	sparse->areas[0] = kernel.area;
	return 0;
}

static int map(const struct vfio_iommu_type1_dma_map *m)
{
	kernel.map_calls++;
	assert_int_equal(m->flags, VFIO_DMA_MAP_FLAG_READ | VFIO_DMA_MAP_FLAG_WRITE);
	if (kernel.map_error && kernel.map_count >= 1)
		return fail_with(kernel.map_error);
	assert_in_range(kernel.map_count, 0, MAX_MAPS - 1);
	kernel.maps[kernel.map_count].vaddr = m->vaddr;
	kernel.maps[kernel.map_count].iova = m->iova;
	kernel.maps[kernel.map_count++].size = m->size;
	return 0;
}

static int unmap(const struct vfio_iommu_type1_dma_unmap *u)
{
	for (unsigned i = 0; i < kernel.map_count; i++) {
		if (kernel.maps[i].iova == u->iova && kernel.maps[i].size == u->size) {
			kernel.maps[i] = kernel.maps[--kernel.map_count];
			return 0;
		}
	}
	return fail_with(ENOENT);
}

static int set_irqs(const struct vfio_irq_set *set)
{
	const int *fds = (const int *)set->data;

	assert_true(set->flags & VFIO_IRQ_SET_ACTION_TRIGGER);
	if (set->index == VFIO_PCI_REQ_IRQ_INDEX) {
		kernel.request_fd = fds[0];
		return 0;
	}
	assert_int_equal(set->index, VFIO_PCI_MSIX_IRQ_INDEX);
	if (set->count == 0) {
		assert_true(set->flags & VFIO_IRQ_SET_DATA_NONE);
		kernel.msix = 0;
		return 0;
	}
	if (set->count > kernel.vectors_left)
		return (int)kernel.vectors_left;
	/* As in the kernel: how many there are is settled when they are switched on. */
	if (kernel.msix && kernel.msix != set->count)
		return fail_with(EINVAL);
	assert_true(set->argsz == sizeof(*set) + set->count * sizeof(int));
	kernel.msix = set->count;
	memcpy(kernel.irq_fds, fds, set->count * sizeof(int));
	return 0;
}

static int get_irq_info(struct vfio_irq_info *info)
{
	info->flags = VFIO_IRQ_INFO_EVENTFD;
	info->count = info->index == VFIO_PCI_MSIX_IRQ_INDEX ? kernel.vectors : kernel.request_irqs;
	return 0;
}

static int play(int fd, unsigned long request, void *argument)
{
	(void)fd;
	switch (request) {
	case VFIO_GET_API_VERSION: return kernel.version;
	case VFIO_CHECK_EXTENSION:
		if ((unsigned long)argument == VFIO_TYPE1v2_IOMMU)
			return !kernel.no_type1v2 && !kernel.no_type1;
		return (unsigned long)argument == VFIO_TYPE1_IOMMU && !kernel.no_type1;
	case VFIO_GROUP_GET_STATUS:
		((struct vfio_group_status *)argument)->flags =
			kernel.not_viable ? 0 : VFIO_GROUP_FLAGS_VIABLE;
		return 0;
	case VFIO_GROUP_SET_CONTAINER: kernel.groups++; return 0;
	case VFIO_GROUP_UNSET_CONTAINER: kernel.groups--; return 0;
	case VFIO_SET_IOMMU:
		if (kernel.attach_error)
			return fail_with(kernel.attach_error);
		kernel.type = (unsigned long)argument;
		kernel.iommus++;
		return 0;
	case VFIO_IOMMU_GET_INFO: return answer_iommu(argument);
	case VFIO_IOMMU_MAP_DMA: return map(argument);
	case VFIO_IOMMU_UNMAP_DMA: return unmap(argument);
	case VFIO_GROUP_GET_DEVICE_FD: return open_device(argument);
	case VFIO_DEVICE_GET_INFO:
		((struct vfio_device_info *)argument)->flags =
			VFIO_DEVICE_FLAGS_PCI | VFIO_DEVICE_FLAGS_RESET;
		((struct vfio_device_info *)argument)->num_regions = VFIO_PCI_NUM_REGIONS;
		((struct vfio_device_info *)argument)->num_irqs = VFIO_PCI_NUM_IRQS;
		return 0;
	case VFIO_DEVICE_GET_REGION_INFO: return answer_region(argument);
	case VFIO_DEVICE_GET_IRQ_INFO: return get_irq_info(argument);
	case VFIO_DEVICE_SET_IRQS: return set_irqs(argument);
	case VFIO_DEVICE_RESET: kernel.resets++; return 0;
	}
	fail_msg("the kernel does not know ioctl 0x%lx", request);
	return -1;
}

/* A device's file: config space of an 82599 at CONFIG_AT, BAR 0 at BAR_AT. */
static void make_device_file(const char *address)
{
	char path[128];
	int fd;

	dev_path(path, sizeof(path), address);
	fd = open(path, O_RDWR | O_CREAT, 0600);
	assert_true(fd >= 0);
	assert_int_equal(ftruncate(fd, CONFIG_AT + 4096), 0);
	assert_int_equal(pwrite(fd, "\x86\x80\xfb\x10", 4, CONFIG_AT), 4);
	assert_int_equal(pwrite(fd, "\x01\xe0\0\0", 4, CONFIG_AT + PCI_BASE_ADDRESS_1), 4);
	close(fd);
}

static void make_node(const char *name)
{
	char path[128];
	int fd;

	dev_path(path, sizeof(path), name);
	fd = open(path, O_RDWR | O_CREAT, 0600);
	assert_true(fd >= 0);
	close(fd);
}

/* Two functions of a card in group 7: the first is bound to vfio-pci, the second exists. */
static int setup(void **state)
{
	if (tree_setup(state) != 0)
		return -1;
	memset(&kernel, 0, sizeof(kernel));
	kernel.version = VFIO_API_VERSION;
	kernel.bar_size = BAR_SIZE;
	kernel.bar_flags =
		VFIO_REGION_INFO_FLAG_READ | VFIO_REGION_INFO_FLAG_WRITE | VFIO_REGION_INFO_FLAG_MMAP;
	kernel.vectors = kernel.vectors_left = 8;
	kernel.request_irqs = 1;
	kernel.page_sizes = 4096 | 2 * MIB;
	kernel.request_fd = -1;
	make_dir("dev");
	path_of(kernel.dev, sizeof(kernel.dev), "dev");
	make_node("vfio");
	make_node("7");
	make_device_file(ADDRESS);
	make_device_file(OTHER);
	bind_to("vfio-pci");
	make_dir("bus/pci/devices/" OTHER);
	put("bus/pci/devices/" OTHER "/config", "");
	make_dir("iommu_groups");
	make_dir("iommu_groups/7");
	make_dir("iommu_groups/7/devices");
	make_link(DEVICE "iommu_group", "../../../../iommu_groups/7");
	make_link("bus/pci/devices/" OTHER "/iommu_group", "../../../../iommu_groups/7");
	make_link("iommu_groups/7/devices/" ADDRESS, "../../../bus/pci/devices/" ADDRESS);
	make_link("iommu_groups/7/devices/" OTHER, "../../../bus/pci/devices/" OTHER);
	vfio_root = kernel.dev;
	vfio_ioctl = play;
	return 0;
}

/* Whatever a test did, nothing may stay behind in the kernel. */
static int teardown(void **state)
{
	int leaks = (int)(kernel.groups + kernel.map_count);

	if (leaks)
		print_message("%u groups and %u maps are left\n", kernel.groups, kernel.map_count);
	return tree_teardown(state) | leaks;
}

static struct pci_device *open_ok(const char *address, enum ixy_iova iova)
{
	struct ixy_options options = {.iova = iova};
	struct pci_device *pci;

	if (pci_open(address, &options, &pci) != 0 || pci_bar_open(pci, 0) != 0)
		fail_msg("%s", ixy_last_error());
	return pci;
}

static void expect_refusal(int error, const char *text)
{
	struct pci_device *pci;
	int before = dup(0), after, err;

	close(before);
	err = pci_open(ADDRESS, NULL, &pci);
	if (err != -error || !strstr(ixy_last_error(), text) || strlen(ixy_last_error()) > 500)
		fail_msg("%d, and \"%s\" does not say \"%s\"", err, ixy_last_error(), text);
	after = dup(0);
	close(after);
	assert_int_equal(before, after); /* no descriptor was left open */
	assert_int_equal(kernel.groups, 0);
}

/* --- what works ---------------------------------------------------------------------------------- */

static void a_function_bound_to_vfio_goes_by_vfio_and_is_left_bound(void **state)
{
	struct pci_device *pci = open_ok(ADDRESS, IXY_IOVA_AUTO);
	uint8_t command[2];

	(void)state;
	assert_int_equal(pci->vendor, 0x8086);
	assert_int_equal(pci->device, 0x10fb);
	assert_int_equal(pci->bars[0].size, BAR_SIZE);
	assert_int_equal(pci->iova_mode, DMA_IOVA_VA);
	assert_int_equal(pci->irq_count, 8);
	assert_int_equal(kernel.type, VFIO_TYPE1v2_IOMMU);
	/* Its registers answer, but it does not write to memory yet. */
	assert_int_equal(pci->ops->config_read(pci, PCI_COMMAND, command, 2), 0);
	assert_int_equal(command[0], PCI_COMMAND_MEMORY);
	pci_close(pci);
	assert_string_equal(get(DEVICE "driver_override"), "(null)");
	assert_string_equal(get("bus/pci/drivers_probe"), "");
	assert_string_equal(get(DEVICE "enable"), "");
}

static void registers_config_and_doorbells_reach_the_function(void **state)
{
	struct pci_device *pci = open_ok(ADDRESS, IXY_IOVA_AUTO);
	struct pci_doorbell doorbell;
	uint32_t bar[2];
	uint8_t value[4] = {1, 2, 3, 4}, back[4];
	char path[128];
	int fd;

	(void)state;
	dev_path(path, sizeof(path), ADDRESS);
	fd = open(path, O_RDONLY);
	assert_non_null((const void *)(uintptr_t)pci->bars[0].virt);
	pci_write32(pci, 0x1000, 0xdeadbeef);
	assert_int_equal(pci_read32(pci, 0x1000), 0xdeadbeef);
	pci_doorbell_init(pci, 0x1004, &doorbell);
	assert_non_null((const void *)(uintptr_t)doorbell.reg);
	pci_doorbell_ring(&doorbell, 77);
	assert_int_equal(pread(fd, bar, sizeof(bar), BAR_AT + 0x1000), sizeof(bar));
	assert_int_equal(bar[0], 0xdeadbeef);
	assert_int_equal(bar[1], 77);
	assert_int_equal(pci->ops->config_write(pci, 0x60, value, 4), 0);
	assert_int_equal(pread(fd, back, 4, CONFIG_AT + 0x60), 4);
	assert_memory_equal(back, value, 4);
	assert_true(pci->ops->config_read(pci, 4096, back, 4) < 0);
	assert_int_equal(back[0], 0xff);
	assert_non_null(strstr(ixy_last_error(), "0x1000: ")); /* and why */
	assert_int_equal(pci->ops->reset(pci), 0);
	assert_int_equal(kernel.resets, 1);
	close(fd);
	pci_close(pci);
}

static void expect_calls_instead_of_a_mapping(void)
{
	struct pci_device *pci = open_ok(ADDRESS, IXY_IOVA_AUTO);
	struct pci_doorbell doorbell;

	assert_null((const void *)(uintptr_t)pci->bars[0].virt);
	pci_write32(pci, 0x1000, 0xdeadbeef);
	assert_int_equal(pci_read32(pci, 0x1000), 0xdeadbeef);
	pci_doorbell_init(pci, 0x1004, &doorbell);
	pci_doorbell_ring(&doorbell, 78);
	assert_int_equal(pci_read32(pci, 0x1004), 78);
	assert_int_equal(pci_read32(pci, CONFIG_AT + 8192), UINT32_MAX); /* nobody answers there */
	pci_close(pci);
}

static void a_bar_that_cannot_be_mapped_is_reached_by_calls(void **state)
{
	struct pci_device *pci;

	(void)state;
	/* The capability says that all may be mapped, after all. */
	kernel.area.size = BAR_SIZE;
	pci = open_ok(ADDRESS, IXY_IOVA_AUTO);
	assert_non_null((const void *)(uintptr_t)pci->bars[0].virt);
	pci_close(pci);

	kernel.area.size = BAR_SIZE / 2;
	expect_calls_instead_of_a_mapping();
	kernel.area.size = 0;
	kernel.bar_flags &= ~(uint32_t)VFIO_REGION_INFO_FLAG_MMAP;
	expect_calls_instead_of_a_mapping();
}

static void ports_are_read_and_written_by_call(void **state)
{
	struct pci_device *pci = open_ok(ADDRESS, IXY_IOVA_AUTO);
	uint8_t back[4], command;
	char path[128];
	int fd;

	(void)state;
	assert_int_equal(pci_bar_open(pci, 1), 0);
	assert_true(pci->bars[1].io);
	assert_false(pci->bars[0].io);
	assert_int_equal(pci->bars[1].size, PORTS_SIZE);
	assert_null((const void *)(uintptr_t)pci->bars[1].virt);
	assert_int_equal(pci->ops->config_read(pci, PCI_COMMAND, &command, 1), 0);
	assert_int_equal(command, PCI_COMMAND_IO | PCI_COMMAND_MEMORY);
	pci_bar_write16(pci, 1, 16, 0x1234);
	pci_bar_write8(pci, 1, 18, 0x56);
	assert_int_equal(pci_bar_read32(pci, 1, 16), 0x561234);
	dev_path(path, sizeof(path), ADDRESS);
	fd = open(path, O_RDONLY);
	assert_int_equal(pread(fd, back, 4, PORTS_AT + 16), 4);
	close(fd);
	assert_memory_equal(back, "\x34\x12\x56\0", 4);
	pci_close(pci);
}

static void an_old_iommu_driver_will_do(void **state)
{
	struct pci_device *pci;

	(void)state;
	kernel.no_type1v2 = true;
	pci = open_ok(ADDRESS, IXY_IOVA_AUTO);
	assert_int_equal(kernel.type, VFIO_TYPE1_IOMMU);
	pci_close(pci);
}

static void interrupts_are_settled_anew_when_their_number_changes(void **state)
{
	struct pci_device *pci = open_ok(ADDRESS, IXY_IOVA_AUTO);
	int fds[9] = {10, 11, 12, 13, 14, 15, 16, 17, 18};

	(void)state;
	assert_int_equal(pci->ops->irq_set(pci, 3, fds), 0);
	assert_int_equal(kernel.msix, 3);
	assert_int_equal(kernel.irq_fds[2], 12);
	assert_int_equal(pci->ops->irq_set(pci, 5, fds + 1), 0);
	assert_int_equal(kernel.msix, 5);
	assert_int_equal(kernel.irq_fds[0], 11);
	assert_int_equal(pci->ops->irq_set(pci, 2, fds), 0);
	assert_int_equal(kernel.msix, 2);
	assert_int_equal(pci->ops->irq_set(pci, 9, fds), -EINVAL);
	assert_int_equal(pci->ops->irq_set(pci, 0, NULL), 0);
	assert_int_equal(kernel.msix, 0);
	/* The machine has run out of vectors: the kernel says how many it could give. */
	kernel.vectors_left = 3;
	assert_int_equal(pci->ops->irq_set(pci, 4, fds), -ENOSPC);
	assert_int_equal(pci->ops->irq_set(pci, 3, fds), 0);
	pci_close(pci);
	assert_int_equal(kernel.msix, 0);
}

static void a_function_that_the_kernel_asks_for_is_removed(void **state)
{
	struct pci_device *pci = open_ok(ADDRESS, IXY_IOVA_AUTO);

	(void)state;
	assert_false(pci->ops->removed(pci));
	assert_int_equal(eventfd_write(kernel.request_fd, 1), 0);
	assert_true(pci->ops->removed(pci));
	assert_non_null(strstr(ixy_last_error(), "has to go"));
	assert_true(pci->ops->removed(pci)); /* and stays so */
	pci_close(pci);

	kernel.request_irqs = 0; /* a kernel that cannot ask */
	pci = open_ok(ADDRESS, IXY_IOVA_AUTO);
	assert_false(pci->ops->removed(pci));
	pci_close(pci);
}

/* --- memory -------------------------------------------------------------------------------------- */

static void memory_is_mapped_in_one_piece_at_its_virtual_address(void **state)
{
	struct pci_device *pci = open_ok(ADDRESS, IXY_IOVA_AUTO);
	struct dma_region *region;

	(void)state;
	assert_int_equal(dma_alloc(pci, 3 * MIB, &region), 0);
	assert_int_equal(kernel.map_count, 1);
	assert_int_equal(kernel.maps[0].vaddr, (uintptr_t)region->virt);
	assert_int_equal(kernel.maps[0].iova, (uintptr_t)region->virt);
	assert_int_equal(kernel.maps[0].size, region->size);
	dma_free(pci, region);
	assert_int_equal(kernel.map_count, 0);
	pci_close(pci);
}

/* Intel's client chips, and QEMU's default. The hole is for interrupt messages. */
static void memory_lies_where_an_iommu_of_39_bits_reaches(void **state)
{
	struct dma_region *regions[20];
	struct pci_device *pci;

	(void)state;
	kernel.ranges[0] = (struct vfio_iova_range){0, 0xfedfffff};
	kernel.ranges[1] = (struct vfio_iova_range){0xfef00000, 0x7fffffffff};
	kernel.range_count = 2;
	pci = open_ok(ADDRESS, IXY_IOVA_AUTO);
	assert_int_equal(pci->window_count, 2);
	for (unsigned i = 0; i < 20; i++) {
		assert_int_equal(dma_alloc(pci, (i + 1) * 300000, &regions[i]), 0);
		assert_true(dma_fits(
			pci->windows, pci->window_count, (uintptr_t)regions[i]->virt, regions[i]->size));
		assert_int_equal((uintptr_t)regions[i]->virt % DMA_HUGE_PAGE, 0);
		memset(regions[i]->virt, (int)i, regions[i]->size);
		assert_int_equal(dma_iova(regions[i], regions[i]->virt), (uintptr_t)regions[i]->virt);
	}
	for (unsigned i = 0; i < 20; i++) {
		assert_int_equal(regions[i]->virt[0], i);
		assert_int_equal(regions[i]->virt[regions[i]->size - 1], i);
		dma_free(pci, regions[i]);
	}
	pci_close(pci);
}

/* Whatever VFIO promises, Intel's capability register has the last word: MGAW and SAGAW. */
static void the_iommus_own_width_is_honoured(void **state)
{
	static const struct {
		const char *cap;
		uint64_t last; /* 0: no limit */
	} cases[] = {
		{"d2008c22260206\n", UINT64_C(0x7fffffffff)},    /* QEMU's default: 39 bits, three levels */
		{"d2008c222f0606\n", UINT64_C(0xffffffffffff)},  /* 48 bits, four levels */
		{"8d2078c106f0466\n", UINT64_C(0xffffffffffff)}, /* a server: MGAW 48 */
		{"2f0206\n", UINT64_C(0x7fffffffff)},            /* 48 bits of bus, but three levels only */
		{"260406\n", UINT64_C(0x7fffffffff)},            /* four levels, but 39 bits of bus */
		{"nonsense\n", 0},
	};

	(void)state;
	make_dir(DEVICE "iommu");
	make_dir(DEVICE "iommu/intel-iommu");
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		for (unsigned told = 0; told < 2; told++) {
			struct pci_device *pci;

			put(DEVICE "iommu/intel-iommu/cap", cases[i].cap);
			kernel.ranges[0] = (struct vfio_iova_range){0, 0xfedfffff};
			kernel.ranges[1] = (struct vfio_iova_range){0xfef00000, UINT64_C(0x1ffffffffffffff)};
			kernel.range_count = told ? 2 : 0;
			pci = open_ok(ADDRESS, IXY_IOVA_AUTO);
			if (cases[i].last)
				assert_int_equal(pci->windows[pci->window_count - 1].last, cases[i].last);
			else if (!told)
				assert_int_equal(pci->window_count, 0);
			if (told)
				assert_int_equal(pci->windows[0].last, 0xfedfffff);
			pci_close(pci);
		}
	}
}

static void memory_that_fits_nowhere_is_refused_with_the_limit(void **state)
{
	struct dma_region *region;
	struct pci_device *pci;

	(void)state;
	kernel.ranges[0] = (struct vfio_iova_range){0, 0xffff}; /* where no process may have memory */
	kernel.range_count = 1;
	pci = open_ok(ADDRESS, IXY_IOVA_AUTO);
	assert_int_equal(dma_alloc(pci, 4096, &region), -ENOMEM);
	assert_non_null(strstr(ixy_last_error(), "up to 0xffff"));
	pci_close(pci);
}

/* A region of four pages of 2 MiB, the middle two next to each other in physical memory. */
static void physical_memory_is_mapped_by_its_runs(void **state)
{
	uint64_t pages[4] = {64 * MIB, 32 * MIB, 34 * MIB, 96 * MIB};
	struct dma_region region = {.virt = (uint8_t *)(uintptr_t)(1ull << 40),
		.size = 8 * MIB,
		.page_size = 2 * MIB,
		.mode = DMA_IOVA_PA,
		.page_iova = pages};
	struct pci_device *pci = open_ok(ADDRESS, IXY_IOVA_PA);

	(void)state;
	assert_int_equal(pci->iova_mode, DMA_IOVA_PA);
	assert_int_equal(pci->ops->dma_map(pci, &region), 0);
	assert_int_equal(kernel.map_count, 3);
	assert_int_equal(kernel.maps[1].iova, 32 * MIB);
	assert_int_equal(kernel.maps[1].size, 4 * MIB);
	assert_int_equal(kernel.maps[1].vaddr, (uintptr_t)region.virt + 2 * MIB);
	assert_int_equal(kernel.maps[2].iova, 96 * MIB);
	pci->ops->dma_unmap(pci, &region);
	assert_int_equal(kernel.map_count, 0);
	/* What is refused half way is taken back. */
	kernel.map_error = EINVAL;
	assert_int_equal(pci->ops->dma_map(pci, &region), -EINVAL);
	assert_int_equal(kernel.map_count, 0);
	kernel.map_error = 0;
	pci_close(pci);
}

static void two_functions_of_a_group_share_it_and_its_maps(void **state)
{
	struct pci_device *first = open_ok(ADDRESS, IXY_IOVA_AUTO), *second, *again;
	struct dma_region *region;

	(void)state;
	make_link("bus/pci/devices/" OTHER "/driver", "../../drivers/vfio-pci");
	second = open_ok(OTHER, IXY_IOVA_AUTO);
	assert_int_equal(kernel.groups, 1);
	assert_int_equal(kernel.iommus, 1);
	assert_int_equal(kernel.devices, 2);
	assert_int_equal(dma_alloc(first, MIB, &region), 0);
	assert_int_equal(dma_share(second, region), 0);
	assert_int_equal(kernel.map_calls, 1); /* the second map would be one too many */
	dma_unshare(second, region);
	assert_int_equal(kernel.map_count, 1);
	pci_close(second);
	assert_int_equal(kernel.map_count, 1);
	assert_int_equal(kernel.groups, 1);
	dma_free(first, region);
	/* But the same function is nobody's twice. */
	assert_int_equal(pci_open(ADDRESS, NULL, &again), -EBUSY);
	assert_non_null(strstr(ixy_last_error(), "in use"));
	pci_close(first);
	assert_int_equal(kernel.groups, 0);
}

static void a_page_that_the_iommu_does_not_have_is_refused(void **state)
{
	struct dma_region *region;
	struct pci_device *pci;

	(void)state;
	if (dma_huge_pages_free() != 0)
		skip();
	kernel.page_sizes = 65536 | 2 * MIB;
	pci = open_ok(ADDRESS, IXY_IOVA_AUTO);
	assert_int_equal(dma_alloc(pci, 8192, &region), -EINVAL);
	assert_non_null(strstr(ixy_last_error(), "no pages as small as 4096"));
	pci_close(pci);
}

static void remove_path(const char *name)
{
	char path[256];

	path_of(path, sizeof(path), name);
	assert_int_equal(remove(path), 0);
}

/* The limit is the process's: what it has mapped for a function of another group counts, too. */
static void a_low_limit_of_locked_memory_is_named_with_what_is_needed(void **state)
{
	struct dma_region *first, *second;
	struct pci_device *pci = open_ok(ADDRESS, IXY_IOVA_AUTO), *other;
	struct rlimit before, low;

	(void)state;
	remove_path("bus/pci/devices/" OTHER "/iommu_group");
	make_link("bus/pci/devices/" OTHER "/iommu_group", "../../../../iommu_groups/8");
	make_link("bus/pci/devices/" OTHER "/driver", "../../drivers/vfio-pci");
	make_node("8");
	other = open_ok(OTHER, IXY_IOVA_AUTO);
	assert_int_equal(kernel.groups, 2);
	assert_int_equal(getrlimit(RLIMIT_MEMLOCK, &before), 0);
	low = (struct rlimit){MIB, before.rlim_max};
	assert_int_equal(dma_alloc(other, 8 * MIB, &first), 0);
	assert_int_equal(setrlimit(RLIMIT_MEMLOCK, &low), 0);
	kernel.map_error = ENOMEM;
	assert_int_equal(dma_alloc(pci, 4 * MIB, &second), -ENOMEM);
	assert_int_equal(setrlimit(RLIMIT_MEMLOCK, &before), 0);
	assert_non_null(strstr(ixy_last_error(), "12 MiB"));
	assert_non_null(strstr(ixy_last_error(), "(RLIMIT_MEMLOCK) is 1024 KiB"));
	assert_non_null(strstr(ixy_last_error(), "LimitMEMLOCK"));
	assert_non_null(strstr(ixy_last_error(), "limits.conf"));
	/* Without that the limit is not to blame. */
	kernel.map_error = ENOSPC;
	assert_int_equal(dma_alloc(pci, 4 * MIB, &second), -ENOSPC);
	assert_null(strstr(ixy_last_error(), "limit"));
	kernel.map_error = 0;
	dma_free(other, first);
	pci_close(other);
	pci_close(pci);
}

/* --- what users get wrong ------------------------------------------------------------------------ */

static void no_iommu_is_named(void **state)
{
	(void)state;
	remove_path(DEVICE "iommu_group");
	expect_refusal(ENODEV, "intel_iommu=on");
	assert_non_null(strstr(ixy_last_error(), "ixy-bind kernel " ADDRESS));
}

static void missing_nodes_are_named(void **state)
{
	(void)state;
	remove_path("dev/7");
	expect_refusal(ENODEV, "dev/7: modprobe vfio-pci");
	remove_path("dev/vfio");
	expect_refusal(ENODEV, "dev/vfio: modprobe vfio-pci");
}

static void set_mode(const char *name, mode_t mode)
{
	char path[256];

	path_of(path, sizeof(path), name);
	assert_int_equal(chmod(path, mode), 0);
}

/* Root, whom no mode stops, turns into somebody else for this. */
static void a_missing_permission_is_named_with_the_command(void **state)
{
	struct pci_device *pci;
	char text[2][512];
	int err[2];

	(void)state;
	set_mode("", 0755);
	for (unsigned i = 0; i < 2; i++) {
		set_mode("dev/vfio", i ? 0666 : 0);
		set_mode("dev/7", 0);
		assert_int_equal(geteuid() ? 0 : seteuid(65534), 0);
		err[i] = pci_open(ADDRESS, NULL, &pci);
		assert_int_equal(seteuid(getuid()), 0);
		snprintf(text[i], sizeof(text[i]), "%s", ixy_last_error());
	}
	assert_int_equal(err[0], -EACCES);
	assert_non_null(strstr(text[0], "dev/vfio: as root: chown USER "));
	assert_int_equal(err[1], -EACCES);
	assert_non_null(strstr(text[1], "dev/7: as root: chown USER "));
}

static void a_group_that_is_half_free_names_the_other_half(void **state)
{
	(void)state;
	kernel.not_viable = true;
	make_link("bus/pci/devices/" OTHER "/driver", "../../drivers/ixgbe");
	expect_refusal(EBUSY, OTHER " (ixgbe)");
	assert_non_null(strstr(ixy_last_error(), "group 7"));
	assert_non_null(strstr(ixy_last_error(), "ixy-bind vfio " OTHER));
	assert_null(strstr(ixy_last_error(), ADDRESS " ("));
}

/* A bus with many functions: the text is cut, not overrun. */
static void a_large_group_makes_no_endless_text(void **state)
{
	(void)state;
	kernel.not_viable = true;
	for (unsigned i = 1; i < 40; i++) {
		char path[128];

		snprintf(path, sizeof(path), "iommu_groups/7/devices/0000:04:%02x.0", i);
		make_dir(path);
		strcat(path, "/driver");
		make_link(path, "../drivers/a_driver_with_a_name_that_goes_on_and_on_and_on_and_on");
	}
	expect_refusal(EBUSY, "a_driver_with");
}

static void missing_interrupt_remapping_is_named_with_the_setting(void **state)
{
	(void)state;
	kernel.attach_error = EPERM;
	expect_refusal(EPERM, "allow_unsafe_interrupts");
	kernel.attach_error = EBUSY;
	expect_refusal(EBUSY, "cannot attach it to the IOMMU");
}

static void another_kind_of_vfio_is_refused(void **state)
{
	(void)state;
	kernel.version = 7;
	expect_refusal(EPROTO, "version 7");
	kernel.version = VFIO_API_VERSION;
	kernel.no_type1 = true;
	expect_refusal(ENODEV, "vfio_iommu_type1");
}

static void a_bar_that_is_not_there_is_refused(void **state)
{
	struct pci_device *pci;

	(void)state;
	kernel.bar_size = 0;
	assert_int_equal(pci_open(ADDRESS, NULL, &pci), 0);
	assert_int_equal(pci_bar_open(pci, 0), -ENODEV);
	assert_non_null(strstr(ixy_last_error(), "no BAR 0"));
	assert_int_equal(pci_bar_open(pci, 5), -ENODEV);
	assert_int_equal(pci_bar_open(pci, 6), -EINVAL);
	pci_close(pci);
}

/* --- what the kernel says is checked ------------------------------------------------------------- */

static void put_capability(uint8_t *info, uint32_t at, uint16_t id, uint32_t next)
{
	struct vfio_info_cap_header header = {.id = id, .version = 1, .next = next};

	memcpy(info + at, &header, sizeof(header));
}

static void a_capability_is_found_and_a_bad_chain_ends(void **state)
{
	uint8_t info[64] = {0};

	(void)state;
	put_capability(info, 16, 5, 32);
	put_capability(info, 32, 6, 0);
	assert_ptr_equal(vfio_capability(info, 64, 16, 5, 8), info + 16);
	assert_ptr_equal(vfio_capability(info, 64, 16, 6, 8), info + 32);
	assert_ptr_equal(vfio_capability(info, 64, 16, 6, 32), info + 32);
	assert_null(vfio_capability(info, 64, 16, 6, 33)); /* cut off */
	assert_null(vfio_capability(info, 64, 16, 7, 8));
	assert_null(vfio_capability(info, 64, 0, 5, 8)); /* there are none */
	assert_null(vfio_capability(info, 39, 16, 6, 8));
	assert_null(vfio_capability(info, 64, 57, 0, 8));
	assert_null(vfio_capability(info, 64, UINT32_MAX, 0, 8));
	put_capability(info, 32, 6, 16); /* in a circle */
	assert_null(vfio_capability(info, 64, 16, 7, 8));
	put_capability(info, 32, 6, 32);
	assert_null(vfio_capability(info, 64, 16, 7, 8));
	put_capability(info, 32, 6, 60);
	assert_null(vfio_capability(info, 64, 16, 7, 8));
}

static uint32_t wanted_size;
static unsigned asked;

static int want(int fd, unsigned long request, void *argument)
{
	uint32_t *info = argument;

	(void)fd;
	(void)request;
	asked++;
	memset(info + 1, 0xaa, *info - sizeof(*info)); /* all of what we were offered */
	*info = wanted_size;
	return 0;
}

static void an_answer_gets_the_room_that_it_wants_within_reason(void **state)
{
	uint32_t start[4] = {0}, *info;
	void *answer;

	(void)state;
	vfio_ioctl = want;
	wanted_size = 1000;
	asked = 0;
	assert_int_equal(vfio_get_info(0, 0, start, sizeof(start), &answer), 0);
	info = answer;
	assert_int_equal(info[0], 1000);
	assert_int_equal(asked, 2);
	free(answer);
	wanted_size = 4;
	assert_int_equal(vfio_get_info(0, 0, start, sizeof(start), &answer), 0);
	free(answer);
	wanted_size = UINT32_MAX;
	assert_int_equal(vfio_get_info(0, 0, start, sizeof(start), &answer), -EPROTO);
	vfio_ioctl = play;
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(a_function_bound_to_vfio_goes_by_vfio_and_is_left_bound),
		TEST(registers_config_and_doorbells_reach_the_function),
		TEST(a_bar_that_cannot_be_mapped_is_reached_by_calls),
		TEST(a_bar_that_is_not_there_is_refused),
		TEST(ports_are_read_and_written_by_call),
		TEST(an_old_iommu_driver_will_do),
		TEST(interrupts_are_settled_anew_when_their_number_changes),
		TEST(a_function_that_the_kernel_asks_for_is_removed),
		TEST(memory_is_mapped_in_one_piece_at_its_virtual_address),
		TEST(memory_lies_where_an_iommu_of_39_bits_reaches),
		TEST(the_iommus_own_width_is_honoured),
		TEST(memory_that_fits_nowhere_is_refused_with_the_limit),
		TEST(physical_memory_is_mapped_by_its_runs),
		TEST(two_functions_of_a_group_share_it_and_its_maps),
		TEST(a_page_that_the_iommu_does_not_have_is_refused),
		TEST(a_low_limit_of_locked_memory_is_named_with_what_is_needed),
		TEST(no_iommu_is_named),
		TEST(missing_nodes_are_named),
		TEST(a_missing_permission_is_named_with_the_command),
		TEST(a_group_that_is_half_free_names_the_other_half),
		TEST(a_large_group_makes_no_endless_text),
		TEST(missing_interrupt_remapping_is_named_with_the_setting),
		TEST(another_kind_of_vfio_is_refused),
		TEST(a_capability_is_found_and_a_bad_chain_ends),
		TEST(an_answer_gets_the_room_that_it_wants_within_reason),
	};

	return cmocka_run_group_tests_name("vfio", tests, NULL, NULL);
}
