/*
 * Inside driver/virtio: what the two PCI layouts (modern.c, legacy.c) do each in their own way.
 */
#ifndef IXY_VIRTIO_LAYOUT_H
#define IXY_VIRTIO_LAYOUT_H

#include "driver/error.h"
#include "driver/virtio/virtio.h"

/* Functions that return int: 0, or what is said, or a negative errno with a text. virtio.c has checked arguments. */
struct virtio_ops {
	uint8_t (*status)(struct virtio_device *dev);
	void (*set_status)(struct virtio_device *dev, uint8_t status);
	uint64_t (*offered)(struct virtio_device *dev);
	void (*accept)(struct virtio_device *dev, uint64_t features);
	/* How many queues there are; which may depend on the features. */
	int (*count_queues)(struct virtio_device *dev);
	/* Select the queue for the calls that follow; returns its size register. */
	uint16_t (*select_queue)(struct virtio_device *dev, uint16_t index);
	/* The queue is selected; fills in *notify. */
	int (*set_up_queue)(struct virtio_device *dev, const struct virtqueue *vq, uint64_t ring_iova,
		uint16_t vector, struct virtio_notify *notify);
	int (*config_vector)(struct virtio_device *dev, uint16_t vector);
	/* Bytes of the configuration of this kind of device. */
	uint32_t (*config_size)(struct virtio_device *dev);
	/* One reading. */
	void (*config_get)(struct virtio_device *dev, uint32_t offset, void *buf, uint32_t len);
	void (*config_set)(struct virtio_device *dev, uint32_t offset, const void *buf, uint32_t len);
	/* Changes with the configuration. NULL: there is no such counter. */
	uint8_t (*generation)(struct virtio_device *dev);
};

/*
 * Find the registers. -ENOENT, without a text: the function has no modern ones. The device is to be freed with free();
 * nothing has been written to it.
 */
int virtio_modern_open(struct pci_device *pci, struct virtio_device **dev);
int virtio_legacy_open(struct pci_device *pci, struct virtio_device **dev);

#endif
