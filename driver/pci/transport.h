/*
 * Inside driver/pci: the ways to reach a PCI function, each of which fills in a struct pci_device.
 */
#ifndef IXY_PCI_TRANSPORT_H
#define IXY_PCI_TRANSPORT_H

#include "driver/error.h"
#include "driver/ixy.h"
#include "driver/pci/pci.h"

/*
 * Each takes what follows the spec's prefix and returns 0 or a negative errno with a text; pci->name is set
 * to the whole spec by the caller beforehand through `name`.
 */
int sysfs_device_open(
	const char *name, const char *address, const struct ixy_options *options, struct pci_device **pci);
int vfio_open(
	const char *name, const char *address, const struct ixy_options *options, struct pci_device **pci);
int vfio_user_open(
	const char *name, const char *path, const struct ixy_options *options, struct pci_device **pci);
int soft_open(const char *name, const char *wire, const struct ixy_options *options, struct pci_device **pci);

/*
 * No pin interrupt from the function: there is nobody who would quiet it, and the kernel switches a line off that
 * others may share. A kernel driver that gets the function back switches it on again, by enabling the function.
 */
int pci_intx_off(struct pci_device *pci);

/* Note the function's BARs down, for pci_revive(). For transports on whose way they can get lost. */
void pci_remember(struct pci_device *pci);

/*
 * Where a BAR lies, for transports that have it in a file: what ops->bar_find() gives. pci_bar_open() maps it, or
 * else it is read and written there: then transport_bar_read() and _write() are the transport's bar_read and
 * bar_write.
 */
struct bar_place {
	uint64_t size; /* 0: there is no such BAR */
	int fd;
	bool owned; /* fd is closed when it is not needed any more */
	bool io;    /* I/O ports */
	bool mappable;
	uint64_t offset; /* of the BAR in the file; what is mapped begins there */
	uint32_t lead;   /* bytes in front of the BAR in what is mapped, as its address is amid a page */
};

void transport_bar_read(struct pci_device *pci, unsigned bar, uint32_t offset, void *data, uint32_t len);
void transport_bar_write(
	struct pci_device *pci, unsigned bar, uint32_t offset, const void *data, uint32_t len);

/* Close all BARs that pci_bar_open() has opened: a part of ops->close(). */
void transport_bars_close(struct pci_device *pci);

/*
 * Config space in a file of the kernel's, from `start` on: ops->config_read() and ops->config_write() for those that
 * have one. What cannot be read is all-ones.
 */
int transport_config_read(
	struct pci_device *pci, int fd, uint64_t start, uint32_t offset, void *data, uint32_t len);
int transport_config_write(
	struct pci_device *pci, int fd, uint64_t start, uint32_t offset, const void *data, uint32_t len);

/*
 * Which addresses the function is given: what the user asked for, or else `usual`. For ways on which both are
 * possible.
 */
static inline enum dma_iova_mode transport_iova(const struct ixy_options *options, enum dma_iova_mode usual)
{
	if (options->iova == IXY_IOVA_AUTO)
		return usual;
	return options->iova == IXY_IOVA_PA ? DMA_IOVA_PA : DMA_IOVA_VA;
}

/*
 * Become the client of the vfio-user server at the other end of a connected AF_UNIX stream socket, which the
 * function owns from here on, also when it fails. timeout_ms bounds each answer (0: the default, 5 s).
 * iova_mode 0 is DMA_IOVA_VA.
 * released(arg) is called at the end of close(), and not when this function fails; NULL is allowed.
 */
struct vfio_user_attach {
	const char *name;
	unsigned timeout_ms;
	enum dma_iova_mode iova_mode;
	void (*released)(void *arg);
	void *arg;
};
int vfio_user_attach(int fd, const struct vfio_user_attach *how, struct pci_device **pci);

#endif
