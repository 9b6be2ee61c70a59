/*
 * BARs of functions whose transport has them in files: VFIO's device file, sysfs's resource0 to resource5.
 *
 * A memory BAR is mapped as a whole, under the guard that survives its removal (bar_guard.c). I/O ports cannot be
 * mapped, nor can a BAR of which the kernel keeps a part to itself: these are read and written in the file, a
 * system call each. They are opened when the driver asks for them, as only it knows which it needs.
 */
#include <errno.h>
#include <string.h>
#include <unistd.h>
#include <linux/pci_regs.h>
#include <sys/mman.h>

#include "driver/pci/bar_guard.h"
#include "driver/pci/transport.h"

/* --- opening and closing ------------------------------------------------------------------------- */

static int map(struct pci_device *pci, unsigned index, const struct bar_place *place)
{
	const size_t page = (size_t)sysconf(_SC_PAGESIZE);
	struct pci_bar *bar = &pci->bars[index];
	size_t size;
	void *virt;
	int err;

	if (place->size > SIZE_MAX / 2)
		return ixy_fail(EINVAL, "%s: BAR %u is too large to be mapped", pci->name, index);
	size = ((size_t)place->size + place->lead + page - 1) & ~(page - 1);
	virt = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, place->fd, (off_t)place->offset);
	if (virt == MAP_FAILED && errno == EPERM)
		return ixy_fail(EPERM,
			"%s: the kernel does not let BAR %u be mapped (lockdown, as with Secure Boot?)",
			pci->name, index);
	if (virt == MAP_FAILED)
		return ixy_fail(errno, "%s: cannot map BAR %u: %s", pci->name, index, strerror(errno));
	err = bar_guard_add(virt, size);
	if (err) {
		munmap(virt, size);
		return err;
	}
	bar->map = virt;
	bar->map_size = size;
	bar->virt = (volatile uint8_t *)virt + place->lead;
	return 0;
}

/* Ports answer only while the function decodes them, which a kernel without a driver for it may not have asked for. */
static int decode_ports(struct pci_device *pci)
{
	uint8_t command[2];
	int err = pci->ops->config_read(pci, PCI_COMMAND, command, sizeof(command));

	if (err || command[0] & PCI_COMMAND_IO)
		return err;
	command[0] |= PCI_COMMAND_IO;
	return pci->ops->config_write(pci, PCI_COMMAND, command, sizeof(command));
}

int pci_bar_open(struct pci_device *pci, unsigned index)
{
	struct bar_place place = {.fd = -1};
	struct pci_bar *bar;
	int err = 0;

	if (index >= PCI_BARS)
		return ixy_fail(EINVAL, "%s: there is no BAR %u in PCI", pci->name, index);
	bar = &pci->bars[index];
	if (bar->size)
		return 0;
	if (pci->ops->bar_find)
		err = pci->ops->bar_find(pci, index, &place);
	if (err)
		return err;
	if (!place.size)
		return ixy_fail(ENODEV, "%s: the device has no BAR %u", pci->name, index);
	if (place.io) {
		err = decode_ports(pci);
	} else if (place.mappable) {
		err = map(pci, index, &place);
	} else {
		/* Every register costs a system call, the doorbells too. */
		ixy_log(IXY_LOG_WARNING, "%s: the kernel does not let BAR %u be mapped: this will be slow",
			pci->name, index);
	}
	if (place.owned && (err || bar->map)) {
		close(place.fd);
		place.fd = -1;
		place.owned = false;
	}
	if (err)
		return err;
	bar->io = place.io;
	bar->fd = place.fd;
	bar->owns_fd = place.owned;
	bar->file_offset = place.offset;
	bar->size = place.size;
	return 0;
}

void transport_bars_close(struct pci_device *pci)
{
	for (unsigned i = 0; i < PCI_BARS; i++) {
		struct pci_bar *bar = &pci->bars[i];

		if (bar->map) {
			bar_guard_remove(bar->map);
			munmap(bar->map, bar->map_size);
		}
		if (bar->owns_fd)
			close(bar->fd);
		*bar = (struct pci_bar){.fd = -1};
	}
}

/* --- access by call ------------------------------------------------------------------------------ */

void transport_bar_read(struct pci_device *pci, unsigned index, uint32_t offset, void *data, uint32_t len)
{
	const struct pci_bar *bar = &pci->bars[index];

	/* As on the bus: nobody answers, so the lines stay high. */
	if (bar->size == 0 || pread(bar->fd, data, len, (off_t)(bar->file_offset + offset)) != (ssize_t)len)
		memset(data, 0xff, len);
}

void transport_bar_write(
	struct pci_device *pci, unsigned index, uint32_t offset, const void *data, uint32_t len)
{
	const struct pci_bar *bar = &pci->bars[index];

	if (bar->size == 0 || pwrite(bar->fd, data, len, (off_t)(bar->file_offset + offset)) != (ssize_t)len)
		return; /* as on the bus: who writes to a device that has gone does not hear of it */
}
