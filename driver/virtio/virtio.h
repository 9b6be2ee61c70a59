/*
 * A virtio device (virtio 1.2, chapters 2 to 4) as its driver sees it, whichever of the two PCI layouts it has:
 *
 *	modern.c   virtio 1.0 and later: structures in BARs that PCI capabilities point at (4.1.4)
 *	legacy.c   before that: registers in BAR 0, mostly I/O ports (4.1.4.10); transitional devices have both
 *
 * The life of one (3.1.1), which the driver of a kind of device (net.c) goes through:
 *
 *	virtio_open(pci, &dev)           reset; ACKNOWLEDGE, DRIVER; offered features are in dev->offered
 *	virtio_negotiate(dev, wanted)    FEATURES_OK; dev->features is what both have
 *	pci->ops->irq_set(...)           vectors exist from here on: 0 for config changes, 1 .. for queues
 *	virtio_config_vector(), virtio_queue_set_up() for each queue
 *	virtio_start(dev)                DRIVER_OK
 *	virtio_reset(dev)                back to the first state; DMA has stopped when it returns 0.
 *	                                 virtio_negotiate() begins anew
 *	virtio_close(dev)
 *
 * What the device says is not believed: structures must lie within their BARs, sizes within the spec's limits. What
 * is written and has an effect on memory safety is read back. All waits are bounded. A device that has gone reads
 * all-ones, which no call takes for an answer: -ENODEV.
 *
 * Threads: all belong to the control thread but virtio_notify(), which is the queue's thread's.
 *
 * All functions that return int give 0 (or what is said) or a negative errno, with a text.
 */
#ifndef IXY_VIRTIO_H
#define IXY_VIRTIO_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <linux/virtio_config.h>

#include "driver/pci/pci.h"
#include "driver/virtio/virtqueue.h"

#define VIRTIO_PCI_VENDOR 0x1af4
#define VIRTIO_NO_VECTOR  0xffff /* this event raises no interrupt */
#define VIRTIO_GONE       0xff   /* virtio_status() of a device that has gone */

/* How a ring of a legacy device lies in memory: align for virtqueue_init() (2.7.2); a modern one's used ring takes 4. */
#define VIRTIO_LEGACY_ALIGN 4096

struct virtio_ops;

/* Where a queue is notified: a store of its index where that is mapped. */
struct virtio_notify {
	volatile uint16_t *reg; /* NULL: by call, at offset in BAR bar */
	uint8_t bar;
	uint32_t offset;
};

struct virtio_device {
	const struct virtio_ops *ops;
	struct pci_device *pci;
	uint64_t offered, features; /* bit n is VIRTIO_..._F_... number n */
	bool modern;
	uint16_t queue_count;         /* of all kinds, with these features: since virtio_negotiate() */
	struct virtio_notify *notify; /* [queue_count]; valid once the queue is set up */
};

/* A feature by its number, as the headers <linux/virtio_*.h> have them. */
static inline uint64_t virtio_feature(unsigned bit)
{
	return UINT64_C(1) << bit;
}

/* Negotiated? */
static inline bool virtio_has(const struct virtio_device *dev, unsigned bit)
{
	return dev->features & virtio_feature(bit);
}

/*
 * Take over a virtio function: modern if it has the capabilities for it, else legacy. Resets it, switches bus
 * mastering on (a queue is of no use without) and reads what it offers. Does not own pci. -EPROTO for malformed
 * capabilities or registers that make no sense, -ENODEV if it has gone, -ETIMEDOUT if its reset does not end.
 */
int virtio_open(struct pci_device *pci, struct virtio_device **dev);

/*
 * Reset it, bus mastering off where that fails, and free. The memory of its queues is ours again afterwards. Never
 * closes pci. NULL is allowed.
 */
void virtio_close(struct virtio_device *dev);

/*
 * Settle the features: dev->features becomes what is offered and wanted. VIRTIO_F_VERSION_1, ACCESS_PLATFORM and
 * ORDER_PLATFORM, which are between the device and this layer, are added where they are offered. A legacy device
 * knows only the low 32. After a reset it is called again. -ENOTSUP if the device does not agree, or if it would go
 * past the IOMMU (QEMU's do without iommu_platform=on) while addresses are given for use behind one.
 */
int virtio_negotiate(struct virtio_device *dev, uint64_t wanted);

/* Entries that queue `index` has at most (legacy: exactly); a power of two. 0: there is no such queue. */
int virtio_queue_size(struct virtio_device *dev, uint16_t index);

/*
 * Give the device a queue: vq is initialised and empty, its memory is for the device at ring_iova, in one piece;
 * align as for virtqueue_init(): VIRTIO_LEGACY_ALIGN where the device is not modern. vector: the MSI-X vector that
 * signals used buffers, or VIRTIO_NO_VECTOR. After virtio_negotiate(), before virtio_start(), once a reset.
 * -EINVAL: not a size or address that the device takes. -ENOSPC: the device has no room for the vector.
 */
int virtio_queue_set_up(struct virtio_device *dev, uint16_t index, const struct virtqueue *vq,
	uint64_t ring_iova, uint16_t vector);

/* The vector that signals changes of its configuration, needs-reset among them. -ENOSPC as above. */
int virtio_config_vector(struct virtio_device *dev, uint16_t vector);

/* The device lives from here on (DRIVER_OK). */
int virtio_start(struct virtio_device *dev);

/*
 * The device's status: VIRTIO_CONFIG_S_*; VIRTIO_CONFIG_S_NEEDS_RESET if it is in trouble that a reset ends;
 * VIRTIO_GONE.
 */
uint8_t virtio_status(struct virtio_device *dev);

/*
 * Reset, and wait until the device says that it is done (4.1.4.3.1): it touches no memory of ours any more.
 * -ETIMEDOUT, -ENODEV: it may still do so, unless bus mastering is taken from it.
 */
int virtio_reset(struct virtio_device *dev);

/*
 * Read len bytes at `offset` of the configuration of this kind of device (for a NIC: struct virtio_net_config), as they
 * all were at one time. A field at a time: 2, 4 or 8 bytes are accessed as fields of that width, any other number as
 * bytes (4.1.3.1). Which fields are there depends on the features: -EPROTO past the end of what the device has; buf is
 * filled with zeros then. -EIO if it never holds still.
 */
int virtio_config_read(struct virtio_device *dev, uint32_t offset, void *buf, uint32_t len);

/* The same for writing, which few fields can be: a legacy NIC's MAC address. */
int virtio_config_write(struct virtio_device *dev, uint32_t offset, const void *buf, uint32_t len);

/* virtio_notify() where there is no register to store to. */
void virtio_notify_by_call(struct virtio_device *dev, uint16_t index);

/*
 * Tell the device that queue `index` has new buffers: to be called when virtqueue_publish() says so. One store, which
 * is an exit from the virtual machine all the same: a microsecond or several. The release orders it behind the ring's
 * writes. Where the register is an I/O port (legacy) a system call comes on top, pwrite(): one to three microseconds
 * more, so that it is EVENT_IDX, by which devices ask for few of them, that makes such a device bearable.
 */
static inline void virtio_notify(struct virtio_device *dev, uint16_t index)
{
	const struct virtio_notify *notify = &dev->notify[index];

	if (__builtin_expect(notify->reg != NULL, 1))
		__atomic_store_n(notify->reg, index, __ATOMIC_RELEASE);
	else
		virtio_notify_by_call(dev, index);
}

#endif
