/*
 * For tests of a virtio device's life: the one that is played (virtio_rig.h), opened and closed, and a ring for it.
 */
#ifndef UNIT_VIRTIO_PCI_RIG_H
#define UNIT_VIRTIO_PCI_RIG_H

#include <string.h>

#include "driver/virtio/virtio.h"
#include "virtio_rig.h"

#define F(bit) (1ull << (bit))

/* Offset and size of a field of a capability, for virtio_rig_capability(). */
#define FIELD(name) offsetof(struct virtio_pci_cap, name), sizeof(((struct virtio_pci_cap *)0)->name)

static struct virtio_rig rig;

static inline void assert_says(const char *text)
{
	if (!strstr(ixy_last_error(), text))
		fail_msg("\"%s\" does not say \"%s\"", ixy_last_error(), text);
}

static inline struct virtio_device *open_ok(void)
{
	struct virtio_device *dev;

	if (virtio_open(&rig.pci, &dev) != 0)
		fail_msg("%s", ixy_last_error());
	return dev;
}

static inline struct virtio_device *negotiated(uint64_t wanted)
{
	struct virtio_device *dev = open_ok();

	if (virtio_negotiate(dev, wanted) != 0)
		fail_msg("%s", ixy_last_error());
	return dev;
}

static inline void expect_refusal(int error, const char *text)
{
	struct virtio_device *dev;

	assert_int_equal(virtio_open(&rig.pci, &dev), -error);
	assert_says(text);
}

/* A ring with its memory. */
struct ring {
	struct virtqueue vq;
	struct dma_region *memory;
	uint64_t iova;
};

static inline void make_ring(struct ring *ring, const struct virtio_device *dev, uint16_t num)
{
	size_t align = dev->modern ? 64 : VIRTIO_LEGACY_ALIGN;

	assert_int_equal(dma_alloc(&rig.pci, virtqueue_bytes(num, align) + 65536, &ring->memory), 0);
	assert_int_equal(virtqueue_init(&ring->vq, num, ring->memory->virt, align, dev->features), 0);
	ring->iova = dma_iova(ring->memory, ring->memory->virt);
}

/* Memory behind the ring, for buffers. */
static inline uint8_t *spare(const struct ring *ring)
{
	return ring->memory->virt + ring->memory->size - 65536;
}

static inline void free_ring(struct ring *ring)
{
	virtqueue_free(&ring->vq);
	dma_free(&rig.pci, ring->memory);
}

static inline void finish(struct virtio_device *dev)
{
	virtio_close(dev);
	virtio_rig_assert_clean(&rig);
	virtio_rig_close(&rig);
}

#endif
