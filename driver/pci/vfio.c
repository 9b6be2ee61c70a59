/*
 * A PCI function of this host that is bound to vfio-pci.
 *
 * The kernel gives three things: a group, which stands for the function's place behind the IOMMU; a container, the
 * address space that the IOMMU gives it; and the device, whose file has config space and BARs at the offsets of
 * regions. Config space goes by pread and pwrite, as the kernel watches over it; memory BARs are mapped.
 *
 * Nothing here needs root: who owns /dev/vfio/GROUP and may lock enough memory may do all of it. The IOMMU keeps
 * the function away from memory that we have not mapped for it.
 */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <linux/pci_regs.h>
#include <sys/eventfd.h>

#include "driver/pci/transport.h"
#include "driver/pci/vfio.h"

#define MAX_VECTORS 2048 /* of MSI-X, as PCI has it */

struct vfio_device {
	struct pci_device pci;
	char address[SYSFS_ADDRESS_SIZE];
	struct vfio_group *group;
	int lock; /* config space as sysfs shows it, locked for as long as the function is ours */
	int fd;
	uint64_t config; /* where it is in the file */
	bool resettable;
	uint32_t irqs_set;
	int request_fd; /* eventfd: the kernel wants the function back; -1 where it cannot say so */
	bool requested;
};

static struct vfio_device *device_of(struct pci_device *pci)
{
	return (struct vfio_device *)pci; /* its first member */
}

/* --- config space -------------------------------------------------------------------------------- */

static int config_read(struct pci_device *pci, uint32_t offset, void *data, uint32_t len)
{
	const struct vfio_device *device = device_of(pci);

	return transport_config_read(pci, device->fd, device->config, offset, data, len);
}

static int config_write(struct pci_device *pci, uint32_t offset, const void *data, uint32_t len)
{
	const struct vfio_device *device = device_of(pci);

	return transport_config_write(pci, device->fd, device->config, offset, data, len);
}

/* --- DMA ----------------------------------------------------------------------------------------- */

static int dma_map(struct pci_device *pci, struct dma_region *region)
{
	return vfio_group_map(device_of(pci)->group, pci->name, region);
}

static void dma_unmap(struct pci_device *pci, struct dma_region *region)
{
	vfio_group_unmap(device_of(pci)->group, region);
}

/* --- interrupts ---------------------------------------------------------------------------------- */

/* Signal the eventfds on interrupts 0 .. count-1 of the kind `index`; count 0 turns that kind off. */
static int set_irqs(struct vfio_device *device, uint32_t index, uint32_t count, const int fds[])
{
	union {
		struct vfio_irq_set set; /* ends with the descriptors */
		uint8_t room[sizeof(struct vfio_irq_set) + MAX_VECTORS * sizeof(int32_t)];
	} request = {.set = {
			     .argsz = (uint32_t)(sizeof(request.set) + count * sizeof(int32_t)),
			     .flags = VFIO_IRQ_SET_ACTION_TRIGGER |
				      (count ? VFIO_IRQ_SET_DATA_EVENTFD : VFIO_IRQ_SET_DATA_NONE),
			     .index = index,
			     .count = count,
		     }};
	int given;

	if (count)
		memcpy(request.set.data, fds, count * sizeof(int32_t));
	given = vfio_ioctl(device->fd, VFIO_DEVICE_SET_IRQS, &request);
	if (given < 0)
		return -errno;
	return given > 0 ? -ENOSPC : 0; /* fewer are left in the machine: so many */
}

static int irq_set(struct pci_device *pci, uint32_t count, const int fds[])
{
	struct vfio_device *device = device_of(pci);
	int err = 0;

	if (count > pci->irq_count)
		return ixy_fail(EINVAL, "%s: %u interrupt vectors wanted, it has %u", pci->name, count,
			pci->irq_count);
	/* How many there are is settled when MSI-X is switched on. */
	if (device->irqs_set && device->irqs_set != count)
		err = set_irqs(device, VFIO_PCI_MSIX_IRQ_INDEX, 0, NULL);
	device->irqs_set = 0;
	if (!err && count)
		err = set_irqs(device, VFIO_PCI_MSIX_IRQ_INDEX, count, fds);
	if (err)
		return ixy_fail(
			-err, "%s: cannot have %u interrupt vectors: %s", pci->name, count, strerror(-err));
	device->irqs_set = count;
	return 0;
}

/* Older kernels do not ask for a function back: they wait until it is closed. */
static void listen_for_request(struct vfio_device *device)
{
	struct vfio_irq_info info = {.argsz = sizeof(info), .index = VFIO_PCI_REQ_IRQ_INDEX};

	device->request_fd = -1;
	if (vfio_ioctl(device->fd, VFIO_DEVICE_GET_IRQ_INFO, &info) < 0 || info.count < 1)
		return;
	device->request_fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
	if (device->request_fd < 0)
		return;
	if (set_irqs(device, VFIO_PCI_REQ_IRQ_INDEX, 1, &device->request_fd) < 0) {
		close(device->request_fd);
		device->request_fd = -1;
	}
}

static bool removed(struct pci_device *pci)
{
	struct vfio_device *device = device_of(pci);
	uint64_t times;

	if (device->request_fd >= 0 && read(device->request_fd, &times, sizeof(times)) == sizeof(times))
		device->requested = true;
	if (device->requested)
		ixy_fail(ENODEV, "%s: the device has to go: it is being removed, or taken from vfio-pci",
			pci->name);
	return device->requested;
}

/* --- reset --------------------------------------------------------------------------------------- */

static int reset(struct pci_device *pci)
{
	struct vfio_device *device = device_of(pci);

	if (!device->resettable)
		return ixy_fail(ENOTSUP, "%s: the device has no function-level reset", pci->name);
	if (vfio_ioctl(device->fd, VFIO_DEVICE_RESET, NULL) < 0)
		return ixy_fail(errno, "%s: reset: %s", pci->name, strerror(errno));
	return 0;
}

/* --- bring-up ------------------------------------------------------------------------------------ */

/* What the device has: the kernel's answer, the caller's to free. NULL with *err and a text on failure. */
static struct vfio_region_info *get_region(struct vfio_device *device, uint32_t index, int *err)
{
	struct vfio_region_info start = {.index = index};
	void *info;

	*err = vfio_get_info(device->fd, VFIO_DEVICE_GET_REGION_INFO, &start, sizeof(start), &info);
	if (!*err)
		return info;
	ixy_fail(-*err, "%s: region %u: %s", device->pci.name, index, strerror(-*err));
	return NULL;
}

/* Where the kernel lets only parts of a BAR be mapped: is all of it in one? */
static bool mappable(const struct vfio_region_info *info)
{
	const struct vfio_region_info_cap_sparse_mmap *sparse = NULL;

	if (!(info->flags & VFIO_REGION_INFO_FLAG_MMAP))
		return false;
	if (info->flags & VFIO_REGION_INFO_FLAG_CAPS)
		sparse = vfio_capability(info, info->argsz, info->cap_offset,
			VFIO_REGION_INFO_CAP_SPARSE_MMAP, sizeof(*sparse) + sizeof(sparse->areas[0]));
	return !sparse ||
	       (sparse->nr_areas == 1 && sparse->areas[0].offset == 0 && sparse->areas[0].size == info->size);
}

static int find_config(struct vfio_device *device)
{
	int err;
	struct vfio_region_info *info = get_region(device, VFIO_PCI_CONFIG_REGION_INDEX, &err);
	uint8_t ids[4];

	if (!info)
		return err;
	device->config = info->offset;
	free(info);
	err = config_read(&device->pci, PCI_VENDOR_ID, ids, sizeof(ids));
	device->pci.vendor = (uint16_t)(ids[0] | ids[1] << 8);
	device->pci.device = (uint16_t)(ids[2] | ids[3] << 8);
	return err;
}

static int bar_find(struct pci_device *pci, unsigned bar, struct bar_place *place)
{
	struct vfio_device *device = device_of(pci);
	uint8_t address;
	int err;
	struct vfio_region_info *info = get_region(device, VFIO_PCI_BAR0_REGION_INDEX + bar, &err);

	if (!info)
		return err;
	place->size = info->size;
	place->fd = device->fd;
	place->offset = info->offset;
	place->mappable = mappable(info);
	free(info);
	/* The kernel tells by the region's size alone whether there is one; of which kind, config space says. */
	if (place->size)
		err = config_read(pci, PCI_BASE_ADDRESS_0 + 4 * bar, &address, sizeof(address));
	place->io = !err && place->size && address & PCI_BASE_ADDRESS_SPACE_IO;
	return err;
}

static int open_in_group(struct vfio_device *device)
{
	struct vfio_device_info info = {.argsz = sizeof(info)};
	struct vfio_irq_info irqs = {.argsz = sizeof(irqs), .index = VFIO_PCI_MSIX_IRQ_INDEX};
	int error;

	device->fd = vfio_ioctl(device->group->fd, VFIO_GROUP_GET_DEVICE_FD, device->address);
	if (device->fd < 0)
		return ixy_fail(errno, "%s: VFIO does not give the device out: %s", device->pci.name,
			strerror(errno));
	fcntl(device->fd, F_SETFD, FD_CLOEXEC);
	if (vfio_ioctl(device->fd, VFIO_DEVICE_GET_INFO, &info) < 0) {
		error = ixy_fail(errno, "%s: device information: %s", device->pci.name, strerror(errno));
		close(device->fd);
		return error;
	}
	if (!(info.flags & VFIO_DEVICE_FLAGS_PCI) || info.num_regions <= VFIO_PCI_CONFIG_REGION_INDEX) {
		close(device->fd);
		return ixy_fail(ENODEV, "%s: VFIO knows it, but not as a PCI function", device->pci.name);
	}
	device->resettable = info.flags & VFIO_DEVICE_FLAGS_RESET;
	if (info.num_irqs > VFIO_PCI_MSIX_IRQ_INDEX &&
		vfio_ioctl(device->fd, VFIO_DEVICE_GET_IRQ_INFO, &irqs) == 0 &&
		irqs.flags & VFIO_IRQ_INFO_EVENTFD && irqs.count <= MAX_VECTORS)
		device->pci.irq_count = irqs.count;
	return 0;
}

static void close_device(struct pci_device *pci)
{
	struct vfio_device *device = device_of(pci);

	transport_bars_close(pci);
	if (device->request_fd >= 0)
		close(device->request_fd);
	close(device->fd); /* the kernel resets the function, and lets it sleep */
	vfio_group_put(device->group);
	close(device->lock);
	free(device);
}

static const struct pci_ops vfio_ops = {
	.config_read = config_read,
	.config_write = config_write,
	.bar_find = bar_find,
	.bar_read = transport_bar_read,
	.bar_write = transport_bar_write,
	.dma_map = dma_map,
	.dma_unmap = dma_unmap,
	.irq_set = irq_set,
	.reset = reset,
	.removed = removed,
	.close = close_device,
};

/* The device's file is open: what it is; awake, quiet. */
static int set_up(struct vfio_device *device)
{
	struct vfio_group *group = device->group;
	int err = find_config(device);

	if (err)
		return err;
	/* The kernel has woken it. Registers answer only with memory decoding on, and DMA is to wait. */
	err = pci_revive(&device->pci);
	if (err < 0)
		return err;
	err = pci_bus_master(&device->pci, false);
	if (err)
		return err;
	memcpy(device->pci.windows, group->windows, sizeof(group->windows));
	device->pci.window_count = group->window_count;
	return 0;
}

int vfio_open(
	const char *name, const char *address, const struct ixy_options *options, struct pci_device **pci)
{
	struct vfio_device *device = calloc(1, sizeof(*device));
	int dir, err;

	if (!device)
		return ixy_fail(ENOMEM, "%s: out of memory", name);
	snprintf(device->pci.name, sizeof(device->pci.name), "%s", name);
	snprintf(device->address, sizeof(device->address), "%s", address);
	device->pci.ops = &vfio_ops;
	device->pci.iova_mode = transport_iova(options, DMA_IOVA_VA);
	device->pci.pins_memory = true;
	device->pci.behind_iommu = true;

	dir = sysfs_open_function(name, address);
	if (dir < 0) {
		err = dir;
		goto fail_device;
	}
	/* A group gives a device out as often as it is asked for, to one process. Two drivers would not do. */
	device->lock = sysfs_lock(name, dir, O_RDONLY);
	if (device->lock < 0) {
		err = device->lock;
		goto fail_dir;
	}
	err = vfio_group_get(name, address, dir, &device->group);
	if (err)
		goto fail_lock;
	err = open_in_group(device);
	if (err)
		goto fail_group;
	err = set_up(device);
	if (err)
		goto fail_fd;
	listen_for_request(device);
	close(dir);
	*pci = &device->pci;
	return 0;

fail_fd:
	close(device->fd);
fail_group:
	vfio_group_put(device->group);
fail_lock:
	close(device->lock);
fail_dir:
	close(dir);
fail_device:
	free(device);
	return err;
}
