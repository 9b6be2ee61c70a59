/*
 * Inside driver/pci: the ways to reach a PCI function, each of which fills in a struct pci_device.
 */
#ifndef IXY_PCI_TRANSPORT_H
#define IXY_PCI_TRANSPORT_H

#include "driver/error.h"
#include "driver/pci/pci.h"

/*
 * Each takes what follows the spec's prefix and returns 0 or a negative errno with a text; pci->name is set
 * to the whole spec by the caller beforehand through `name`.
 */
int sysfs_open(
	const char *name, const char *address, const struct ixy_options *options, struct pci_device **pci);
int vfio_user_open(
	const char *name, const char *path, const struct ixy_options *options, struct pci_device **pci);
int soft_open(const char *name, const char *wire, const struct ixy_options *options, struct pci_device **pci);

/* True for 0000:03:00.0 and for the short form 03:00.0. */
bool sysfs_address(const char *text);

/* Where sysfs is mounted: "/sys", which only a unit test with a tree of its own changes. */
extern const char *sysfs_root;

/*
 * Become the client of the vfio-user server at the other end of a connected AF_UNIX stream socket, which the
 * function owns from here on, also when it fails. timeout_ms bounds each answer (0: the default, 5 s).
 * released(arg) is called at the end of close(), and not when this function fails; NULL is allowed.
 */
struct vfio_user_attach {
	const char *name;
	unsigned timeout_ms;
	void (*released)(void *arg);
	void *arg;
};
int vfio_user_attach(int fd, const struct vfio_user_attach *how, struct pci_device **pci);

#endif
