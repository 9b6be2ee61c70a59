/*
 * The life of a virtio device, as far as it is the same for both layouts (virtio 1.2, 3.1 and 2.1 to 2.5).
 */
#include "driver/virtio/virtio.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "driver/clock.h"
#include "driver/virtio/layout.h"

#define FIRST_MODERN_ID 0x1040 /* 4.1.2: below are transitional devices, from here on modern ones only */
#define RESET_MS        2000
#define CONFIG_TRIES    100
#define CONFIG_MAX      256 /* bytes in one reading; no field has as many */

/* --- reset --------------------------------------------------------------------------------------- */

static int fail_gone(const struct virtio_device *dev)
{
	return ixy_fail(ENODEV, "%s: the device has gone (its status reads all-ones)", dev->pci->name);
}

/* 4.1.4.3.1: after a 0 is written the status reads 0 when, and not before, the reset is done. */
static int reset_once(struct virtio_device *dev)
{
	int64_t end = clock_ms() + RESET_MS;

	dev->ops->set_status(dev, 0);
	for (;;) {
		bool last = clock_ms() >= end; /* before the register: a late wake-up gets its look */
		uint8_t status = dev->ops->status(dev);

		if (status == 0)
			return 0;
		if (status == VIRTIO_GONE)
			return fail_gone(dev);
		if (last)
			return ixy_fail(ETIMEDOUT,
				"%s: the device's reset does not end (status 0x%02x after %u ms)",
				dev->pci->name, status, RESET_MS);
		sleep_us(100);
	}
}

int virtio_reset(struct virtio_device *dev)
{
	int err = reset_once(dev);
	int mended;

	if (err != -ENODEV)
		return err;
	/* It may only sleep, or have lost its BARs. */
	mended = pci_revive(dev->pci);
	if (mended < 0)
		return mended;
	return mended ? reset_once(dev) : fail_gone(dev);
}

/* 3.1.1, steps 2 to 4: after the reset. */
static int begin(struct virtio_device *dev)
{
	const uint8_t status = VIRTIO_CONFIG_S_ACKNOWLEDGE | VIRTIO_CONFIG_S_DRIVER;
	uint8_t now;
	/* From the start: hypervisors take a device without it for one that sleeps, and forget its rings. */
	int err = pci_bus_master(dev->pci, true);

	if (err)
		return err;
	dev->ops->set_status(dev, VIRTIO_CONFIG_S_ACKNOWLEDGE);
	dev->ops->set_status(dev, status);
	dev->offered = dev->ops->offered(dev);
	dev->features = 0;
	now = dev->ops->status(dev);
	if (now == VIRTIO_GONE)
		return fail_gone(dev);
	if (now != status)
		return ixy_fail(EIO, "%s: the device's status is 0x%02x where 0x%02x was written",
			dev->pci->name, now, status);
	if (dev->modern && !(dev->offered & virtio_feature(VIRTIO_F_VERSION_1)))
		return ixy_fail(EPROTO,
			"%s: the device has the registers of virtio 1.0, but does not offer "
			"VIRTIO_F_VERSION_1 (features 0x%llx)",
			dev->pci->name, (unsigned long long)dev->offered);
	return 0;
}

/* --- open and close ------------------------------------------------------------------------------ */

static int find_registers(struct pci_device *pci, struct virtio_device **dev)
{
	int err = virtio_modern_open(pci, dev);

	if (err != -ENOENT)
		return err;
	if (pci->device >= FIRST_MODERN_ID)
		return ixy_fail(EPROTO, "%s: the device has no capability that leads to its virtio registers",
			pci->name);
	return virtio_legacy_open(pci, dev);
}

int virtio_open(struct pci_device *pci, struct virtio_device **out)
{
	struct virtio_device *dev;
	int err = find_registers(pci, &dev);

	if (err)
		return err;
	err = virtio_reset(dev);
	if (!err)
		err = begin(dev);
	if (err) {
		virtio_close(dev);
		return err;
	}
	*out = dev;
	return 0;
}

void virtio_close(struct virtio_device *dev)
{
	struct ixy_error error;

	if (!dev)
		return;
	ixy_error_save(&error);
	/* A device that cannot be stopped must not reach memory any more. */
	if (reset_once(dev) < 0)
		pci_bus_master(dev->pci, false);
	ixy_error_restore(&error);
	free(dev->notify);
	free(dev);
}

/* --- features ------------------------------------------------------------------------------------ */

/* Those that are not the driver's to choose. ORDER_PLATFORM: the barriers here are those that real hardware needs. */
static const uint64_t transport_features = UINT64_C(1) << VIRTIO_F_VERSION_1 |
					   UINT64_C(1) << VIRTIO_F_ACCESS_PLATFORM |
					   UINT64_C(1) << VIRTIO_F_ORDER_PLATFORM;

/*
 * A hypervisor's device that does not offer VIRTIO_F_ACCESS_PLATFORM takes addresses for physical ones, whatever the
 * IOMMU in front of it has been told (6.1). It would write over memory that has nothing to do with us.
 */
static int check_iommu(const struct virtio_device *dev)
{
	if (!dev->pci->behind_iommu || dev->pci->iova_mode != DMA_IOVA_VA ||
		dev->offered & virtio_feature(VIRTIO_F_ACCESS_PLATFORM))
		return 0;
	return ixy_fail(ENOTSUP,
		"%s: the device's DMA goes past the IOMMU (no VIRTIO_F_ACCESS_PLATFORM): use --iova pa, as "
		"root; or "
		"have the virtual machine made with %siommu_platform=on for it (QEMU)",
		dev->pci->name, dev->modern ? "" : "disable-legacy=on,");
}

static int count_queues(struct virtio_device *dev)
{
	int count = dev->ops->count_queues(dev);

	if (count < 0)
		return count;
	if (count == 0)
		return ixy_fail(EPROTO, "%s: the device has no queues", dev->pci->name);
	free(dev->notify);
	dev->queue_count = 0;
	dev->notify = calloc((size_t)count, sizeof(dev->notify[0]));
	if (!dev->notify)
		return ixy_fail(ENOMEM, "%s: out of memory", dev->pci->name);
	dev->queue_count = (uint16_t)count;
	return 0;
}

int virtio_negotiate(struct virtio_device *dev, uint64_t wanted)
{
	uint8_t status = dev->ops->status(dev);
	int err = status == 0 ? begin(dev) : 0;

	if (!err)
		err = check_iommu(dev);
	if (err)
		return err;
	dev->features = dev->offered & (wanted | transport_features);
	dev->ops->accept(dev, dev->features);
	if (dev->modern) {
		status = VIRTIO_CONFIG_S_ACKNOWLEDGE | VIRTIO_CONFIG_S_DRIVER | VIRTIO_CONFIG_S_FEATURES_OK;
		dev->ops->set_status(dev, status);
	}
	status = dev->ops->status(dev);
	if (status == VIRTIO_GONE)
		return fail_gone(dev);
	if (dev->modern && !(status & VIRTIO_CONFIG_S_FEATURES_OK))
		return ixy_fail(ENOTSUP, "%s: the device does not agree to the features 0x%llx of its 0x%llx",
			dev->pci->name, (unsigned long long)dev->features, (unsigned long long)dev->offered);
	return count_queues(dev);
}

int virtio_start(struct virtio_device *dev)
{
	uint8_t status = VIRTIO_CONFIG_S_ACKNOWLEDGE | VIRTIO_CONFIG_S_DRIVER | VIRTIO_CONFIG_S_DRIVER_OK;

	if (dev->modern)
		status |= VIRTIO_CONFIG_S_FEATURES_OK;
	dev->ops->set_status(dev, status);
	return dev->ops->status(dev) == VIRTIO_GONE ? fail_gone(dev) : 0;
}

uint8_t virtio_status(struct virtio_device *dev)
{
	return dev->ops->status(dev);
}

/* --- queues -------------------------------------------------------------------------------------- */

int virtio_queue_size(struct virtio_device *dev, uint16_t index)
{
	uint16_t size, power = VIRTQUEUE_MAX_SIZE;

	if (index >= dev->queue_count)
		return 0;
	size = dev->ops->select_queue(dev, index);
	if (size == UINT16_MAX && dev->ops->status(dev) == VIRTIO_GONE)
		return fail_gone(dev);
	if (size > VIRTQUEUE_MAX_SIZE)
		return ixy_fail(
			EPROTO, "%s: the device's queue %u has %u entries", dev->pci->name, index, size);
	/* Only a packed ring, or a legacy device, may have another number; the latter gets no other. */
	while (power > size)
		power /= 2;
	if (size != power && !dev->modern)
		return ixy_fail(EPROTO, "%s: the device's queue %u has %u entries, no power of two",
			dev->pci->name, index, size);
	return power;
}

int virtio_queue_set_up(struct virtio_device *dev, uint16_t index, const struct virtqueue *vq,
	uint64_t ring_iova, uint16_t vector)
{
	uint16_t num = virtqueue_num(vq);
	int size = virtio_queue_size(dev, index);

	if (size < 0)
		return size;
	if (size == 0)
		return ixy_fail(EINVAL, "%s: the device has no queue %u", dev->pci->name, index);
	if (num > size || (num != size && !dev->modern))
		return ixy_fail(EINVAL, "%s: a ring of %u entries for queue %u, which has %s%d",
			dev->pci->name, num, index, dev->modern ? "at most " : "", size);
	return dev->ops->set_up_queue(dev, vq, ring_iova, vector, &dev->notify[index]);
}

int virtio_config_vector(struct virtio_device *dev, uint16_t vector)
{
	return dev->ops->config_vector(dev, vector);
}

void virtio_notify_by_call(struct virtio_device *dev, uint16_t index)
{
	const struct virtio_notify *notify = &dev->notify[index];

	pci_bar_write16(dev->pci, notify->bar, notify->offset, index);
}

/* --- configuration of this kind of device -------------------------------------------------------- */

static int check_config(struct virtio_device *dev, uint32_t offset, uint32_t len)
{
	uint32_t size = dev->ops->config_size(dev);

	if (len > CONFIG_MAX)
		return ixy_fail(EINVAL, "%s: %u bytes of configuration at once", dev->pci->name, len);
	if (offset > size || len > size - offset)
		return ixy_fail(EPROTO, "%s: %u bytes at %u are beyond the device's configuration of %u",
			dev->pci->name, len, offset, size);
	return 0;
}

/* Two readings that agree will do where the device does not count its changes. */
static bool read_once(struct virtio_device *dev, uint32_t offset, void *buf, uint32_t len)
{
	uint8_t again[CONFIG_MAX], before;

	if (dev->ops->generation) {
		before = dev->ops->generation(dev);
		dev->ops->config_get(dev, offset, buf, len);
		return dev->ops->generation(dev) == before;
	}
	dev->ops->config_get(dev, offset, buf, len);
	dev->ops->config_get(dev, offset, again, len);
	return memcmp(buf, again, len) == 0;
}

int virtio_config_read(struct virtio_device *dev, uint32_t offset, void *buf, uint32_t len)
{
	int err = check_config(dev, offset, len);

	for (unsigned i = 0; i < CONFIG_TRIES && !err; i++)
		if (read_once(dev, offset, buf, len))
			return 0;
	memset(buf, 0, len);
	return err ? err : ixy_fail(EIO, "%s: the device's configuration never holds still", dev->pci->name);
}

int virtio_config_write(struct virtio_device *dev, uint32_t offset, const void *buf, uint32_t len)
{
	int err = check_config(dev, offset, len);

	if (!err)
		dev->ops->config_set(dev, offset, buf, len);
	return err;
}
