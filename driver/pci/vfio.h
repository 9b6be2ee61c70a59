/*
 * Inside the VFIO transport: the group with its container (vfio_group.c), the IOMMU behind that (vfio_iommu.c), and
 * the device (vfio.c).
 *
 * A container is an address space of the IOMMU, a group is what the IOMMU cannot tell apart: all functions of a
 * group share one address space, so they go to one owner together. A process that opens two functions of a group
 * gets one struct vfio_group for both.
 */
#ifndef IXY_VFIO_H
#define IXY_VFIO_H

#include <stddef.h>
#include <stdint.h>
#include <linux/vfio.h>

#include "driver/pci/pci.h"
#include "driver/pci/sysfs_file.h"

struct vfio_mapping;

struct vfio_group {
	struct vfio_group *next; /* in the list of this process's groups */
	unsigned users;          /* devices that are open in it */
	char number[SYSFS_NAME_SIZE];
	int fd, container;
	struct dma_window windows[PCI_DMA_WINDOWS]; /* see struct pci_device */
	uint32_t window_count;
	uint64_t page_sizes; /* of the IOMMU: bit n for pages of 2^n bytes; 0: not known */
	struct vfio_mapping *mappings;
};

/* Where the device nodes are: "/dev/vfio". Only a unit test changes it and the call below, to play the kernel. */
extern const char *vfio_root;
extern int (*vfio_ioctl)(int fd, unsigned long request, void *argument);

/*
 * The group of the function in the folder dir (sysfs_open_function()), opened, with an IOMMU and checked. name is
 * what the user calls the function, for texts. Returns 0 or a negative errno with a text.
 */
int vfio_group_get(const char *name, const char *address, int dir, struct vfio_group **group);
void vfio_group_put(struct vfio_group *group);

/*
 * Ask the container what its IOMMU can do: group->windows, page_sizes. dir as above. 0 or a negative errno with a
 * text.
 */
int vfio_iommu_read(struct vfio_group *group, const char *name, int dir);

/*
 * Map the region at its dma_iova() addresses for all devices of the group, and take the map away again. A region
 * may be mapped by several devices of the group: the last unmap counts.
 */
int vfio_group_map(struct vfio_group *group, const char *name, const struct dma_region *region);
void vfio_group_unmap(struct vfio_group *group, const struct dma_region *region);

/*
 * A capability in a structure that the kernel has filled in (size bytes, the chain begins at offset `first`), of
 * which at least min bytes must be there. NULL if there is none, or if the chain is malformed.
 */
const void *vfio_capability(const void *info, size_t size, uint32_t first, uint16_t id, size_t min);

/*
 * An ioctl whose structure begins with argsz, and which the kernel may want larger for what comes behind it: as
 * large as it wants it, up to 64 KiB. *info is the caller's to free, info->argsz its true size. Returns 0 or a
 * negative errno without a text. `start` is the structure of size bytes to begin with.
 */
int vfio_get_info(int fd, unsigned long request, const void *start, size_t size, void **info);

#endif
