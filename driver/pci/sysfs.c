/*
 * A PCI function of this host, reached through sysfs: no kernel driver, no kernel module.
 *
 * What the kernel offers under /sys/bus/pci/devices/ADDRESS/ is all there is to it:
 *	driver/unbind    takes the function from its driver
 *	driver_override  set to a name that no driver has, it keeps drivers that are loaded later from taking it
 *	enable           powers the function up and turns memory decoding on
 *	resource0 ...    BARs: memory for mmap, I/O ports for pread and pwrite
 *	config           config space, for pread and pwrite
 *	reset            function-level reset
 * There are no interrupts, and no IOMMU protects memory: the function is given physical addresses.
 *
 * On the way out all is undone in reverse, and the driver of before gets the function back. After a crash
 * driver_override still carries our name; the next open finds it and its close has the kernel find a driver.
 */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <linux/pci_regs.h>
#include <sys/stat.h>

#include "driver/ixy.h"
#include "driver/pci/sysfs_file.h"
#include "driver/pci/sysfs_live.h"
#include "driver/pci/transport.h"

#define OVERRIDE "ixy-userspace"

struct sysfs_device {
	struct pci_device pci;
	char address[SYSFS_ADDRESS_SIZE];
	int dir;                      /* /sys/bus/pci/devices/ADDRESS */
	int config;                   /* open and locked for as long as the function is ours */
	char driver[SYSFS_NAME_SIZE]; /* the one that it was taken from, "" if none */
	bool orphan;                  /* an earlier owner of our kind did not give it back */
	bool overridden, enabled;
};

static struct sysfs_device *device_of(struct pci_device *pci)
{
	return (struct sysfs_device *)pci; /* its first member */
}

/* --- what the function is ------------------------------------------------------------------------ */

static int read_id(struct sysfs_device *device, const char *name, uint16_t *id)
{
	char text[16], *end;
	int err = sysfs_read(device->dir, name, text, sizeof(text));
	unsigned long value;

	if (err)
		return ixy_fail(
			-err, "%s: cannot read its %s id: %s", device->pci.name, name, strerror(-err));
	value = strtoul(text, &end, 16);
	if (end == text || *end || value > 0xffff)
		return ixy_fail(EIO, "%s: odd %s id \"%s\"", device->pci.name, name, text);
	*id = (uint16_t)value;
	return 0;
}

/* --- config space -------------------------------------------------------------------------------- */

static int config_read(struct pci_device *pci, uint32_t offset, void *data, uint32_t len)
{
	return transport_config_read(pci, device_of(pci)->config, 0, offset, data, len);
}

static int config_write(struct pci_device *pci, uint32_t offset, const void *data, uint32_t len)
{
	return transport_config_write(pci, device_of(pci)->config, 0, offset, data, len);
}

/* Physical memory is all reachable: there is nothing to map. */
static int dma_map(struct pci_device *pci, struct dma_region *region)
{
	(void)pci;
	(void)region;
	return 0;
}

static void dma_unmap(struct pci_device *pci, struct dma_region *region)
{
	(void)pci;
	(void)region;
}

static int irq_set(struct pci_device *pci, uint32_t count, const int fds[])
{
	(void)fds;
	return count ? ixy_fail(ENOTSUP, "%s: there are no interrupts through sysfs", pci->name) : 0;
}

/* The kernel takes the folder away with the function; a new one in the slot gets a new folder. */
static bool removed(struct pci_device *pci)
{
	if (faccessat(device_of(pci)->dir, "vendor", F_OK, 0) == 0 || errno != ENOENT)
		return false;
	ixy_fail(ENODEV, "%s: the device was removed", pci->name);
	return true;
}

static int reset(struct pci_device *pci)
{
	int err = sysfs_write(device_of(pci)->dir, "reset", "1");

	if (err == -ENOENT)
		return ixy_fail(ENOTSUP, "%s: the device has no function-level reset", pci->name);
	return err ? ixy_fail(-err, "%s: reset: %s", pci->name, strerror(-err)) : 0;
}

/* --- taking the function, giving it back --------------------------------------------------------- */

static int fail_permission(struct sysfs_device *device, int err, const char *what)
{
	if (err == -EACCES || err == -EPERM)
		return ixy_fail(-err,
			"%s: not permitted to %s: this needs root; behind an IOMMU it goes without, once "
			"root has said: ixy-bind vfio --user USER %s",
			device->pci.name, what, device->address);
	return ixy_fail(-err, "%s: cannot %s: %s", device->pci.name, what, strerror(-err));
}

/* Read-only checks: whatever speaks against taking the function is found before anything is changed. */
static int check_takeable(struct sysfs_device *device, const struct ixy_options *options)
{
	char text[80];
	int err;

	/* Physical addresses mean nothing to a function whose accesses are translated. */
	if (sysfs_read(device->dir, "iommu_group/type", text, sizeof(text)) == 0 &&
		strncmp(text, "DMA", 3) == 0)
		return ixy_fail(ENODEV,
			"%s: an IOMMU translates the device's DMA, so physical addresses do not reach it: "
			"bind it to vfio-pci (ixy-bind vfio %s), or boot with iommu=pt on the kernel's "
			"command line",
			device->pci.name, device->address);
	/* A wrong address must not take a disk away. */
	err = sysfs_read(device->dir, "class", text, sizeof(text));
	if (err)
		return ixy_fail(-err, "%s: cannot read its PCI class: %s", device->pci.name, strerror(-err));
	if (strncmp(text, "0x02", 4) != 0)
		return ixy_fail(EINVAL, "%s: is no network card (PCI class %s)", device->pci.name, text);
	if (options->force)
		return 0;
	return sysfs_refuse_live(device->dir, device->pci.name);
}

static void give_back(struct sysfs_device *device)
{
	int err = 0, bus = -1;

	if (removed(&device->pci)) /* nobody can have it back */
		return;
	if (device->enabled)
		sysfs_write(device->dir, "enable", "0");
	if (device->overridden)
		sysfs_write(device->dir, "driver_override", "\n");
	if (device->driver[0]) {
		char path[128];

		snprintf(path, sizeof(path), "bus/pci/drivers/%s", device->driver);
		bus = sysfs_open(path, O_PATH | O_DIRECTORY);
		err = bus < 0 ? bus : sysfs_write(bus, "bind", device->address);
	} else if (device->orphan) {
		bus = sysfs_open("bus/pci", O_PATH | O_DIRECTORY);
		err = bus < 0 ? bus : sysfs_write(bus, "drivers_probe", device->address);
	}
	if (bus >= 0)
		close(bus);
	if (err)
		ixy_log(IXY_LOG_WARNING, "%s: cannot give it back to %s: %s", device->pci.name,
			device->driver[0] ? device->driver : "a kernel driver", strerror(-err));
}

static int take(struct sysfs_device *device)
{
	char override[64];
	int err;

	if (sysfs_read(device->dir, "driver_override", override, sizeof(override)) == 0)
		device->orphan = !device->driver[0] && strcmp(override, OVERRIDE) == 0;
	/* Before the unbind: a function without a driver is up for grabs. */
	err = sysfs_write(device->dir, "driver_override", OVERRIDE);
	if (err)
		return fail_permission(device, err, "set its driver_override");
	device->overridden = true;
	if (device->driver[0]) {
		err = sysfs_write(device->dir, "driver/unbind", device->address);
		if (err) {
			char driver[sizeof(device->driver)];

			/* It still has its driver: there is nothing to bind. */
			snprintf(driver, sizeof(driver), "%s", device->driver);
			device->driver[0] = '\0';
			give_back(device);
			fail_permission(device, err, "take it from its kernel driver");
			return ixy_fail_context(err, "driver %s", driver);
		}
		ixy_log(IXY_LOG_INFO, "%s: taken from kernel driver %s", device->pci.name, device->driver);
	}
	err = sysfs_write(device->dir, "enable", "1");
	if (err) {
		give_back(device);
		return fail_permission(device, err, "enable it");
	}
	device->enabled = true;
	return 0;
}

/* --- BARs ---------------------------------------------------------------------------------------- */

/* resource: a line a BAR with first address, last address and flags, all 0 for a BAR that is not there. */
static int read_resource(struct sysfs_device *device, unsigned bar, struct bar_place *place)
{
	uint64_t first, last, flags;
	const uint64_t io_space = 0x100; /* IORESOURCE_IO */
	char text[PCI_BARS * 64], *line, *rest = NULL;
	int fd = openat(device->dir, "resource", O_RDONLY | O_CLOEXEC);
	ssize_t got = fd < 0 ? -1 : read(fd, text, sizeof(text) - 1);
	int error = errno;

	if (fd >= 0)
		close(fd);
	if (got < 0)
		return ixy_fail(error, "%s: cannot read its BARs: %s", device->pci.name, strerror(error));
	text[got] = '\0';
	line = strtok_r(text, "\n", &rest);
	while (bar-- && line)
		line = strtok_r(NULL, "\n", &rest);
	if (!line || sscanf(line, "%" SCNx64 " %" SCNx64 " %" SCNx64, &first, &last, &flags) != 3)
		return ixy_fail(
			EIO, "%s: odd line \"%s\" in its resource file", device->pci.name, line ? line : "");
	if (first == 0 || last <= first)
		return 0;
	place->size = last - first + 1;
	place->io = flags & io_space;
	place->lead = (uint32_t)(first & ((uint64_t)sysconf(_SC_PAGESIZE) - 1));
	return 0;
}

static int bar_find(struct pci_device *pci, unsigned bar, struct bar_place *place)
{
	struct sysfs_device *device = device_of(pci);
	char name[16], what[32];
	struct stat stat;
	int err = read_resource(device, bar, place);

	if (err || !place->size)
		return err;
	snprintf(name, sizeof(name), "resource%u", bar);
	snprintf(what, sizeof(what), "open its BAR %u", bar);
	place->fd = openat(device->dir, name, O_RDWR | O_SYNC | O_CLOEXEC);
	if (place->fd < 0)
		return fail_permission(device, -errno, what);
	if (fstat(place->fd, &stat) < 0 || stat.st_size < 0 || (uint64_t)stat.st_size < place->size) {
		close(place->fd);
		return ixy_fail(EIO, "%s: %s is shorter than BAR %u", pci->name, name, bar);
	}
	place->owned = true;
	place->mappable = !place->io;
	return 0;
}

static void close_device(struct pci_device *pci)
{
	struct sysfs_device *device = device_of(pci);

	transport_bars_close(pci);
	give_back(device);
	close(device->config);
	close(device->dir);
	free(device);
}

static const struct pci_ops sysfs_ops = {
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

/* --- by its address ------------------------------------------------------------------------------ */

int sysfs_device_open(
	const char *name, const char *address, const struct ixy_options *options, struct pci_device **pci)
{
	struct sysfs_device *device;
	int err;

	if (options->iova == IXY_IOVA_VA)
		return ixy_fail(EINVAL,
			"%s: through sysfs nothing translates virtual addresses (--iova va): "
			"bind it to vfio-pci for that (ixy-bind vfio %s)",
			name, address);
	device = calloc(1, sizeof(*device));
	if (!device)
		return ixy_fail(ENOMEM, "%s: out of memory", name);
	snprintf(device->pci.name, sizeof(device->pci.name), "%s", name);
	sysfs_normalize(address, device->address);
	device->pci.ops = &sysfs_ops;
	device->pci.iova_mode = DMA_IOVA_PA;

	device->dir = sysfs_open_function(name, device->address);
	if (device->dir < 0) {
		err = device->dir;
		goto fail_device;
	}
	err = read_id(device, "vendor", &device->pci.vendor);
	if (!err)
		err = read_id(device, "device", &device->pci.device);
	if (err)
		goto fail_dir;
	/* First of all: another one of us may be giving the function back at this moment. */
	device->config = sysfs_lock(name, device->dir, O_RDWR);
	if (device->config == -EACCES || device->config == -EPERM)
		fail_permission(device, device->config, "open its config space");
	if (device->config < 0) {
		err = device->config;
		goto fail_dir;
	}
	if (sysfs_link(device->dir, "driver", device->driver, sizeof(device->driver)) < 0)
		device->driver[0] = '\0'; /* it has none */
	err = check_takeable(device, options);
	if (err)
		goto fail_lock;
	err = take(device);
	if (err)
		goto fail_lock;
	/* An owner that crashed may have left the function writing to memory that is not its any more. */
	err = pci_bus_master(&device->pci, false);
	if (!err)
		err = pci_intx_off(&device->pci);
	if (err)
		goto fail_taken;
	pci_remember(&device->pci);
	*pci = &device->pci;
	return 0;

fail_taken:
	give_back(device);
fail_lock:
	close(device->config);
fail_dir:
	close(device->dir);
fail_device:
	free(device);
	return err;
}
