/*
 * The PCI layout from before virtio 1.0 (virtio 1.2, 4.1.4.10 and the other "Legacy Interface" sections).
 *
 * One structure at the start of BAR 0, which has I/O ports in almost all devices. The ring lies in one piece, aligned
 * to 4096 bytes, and its address is given as a page number: 32 bits of it, so 44 of the address. Its size is the
 * device's choice. There are 32 features, and no FEATURES_OK. With MSI-X on, two registers more are in front of the
 * configuration of this kind of device, which moves by four bytes. Fields are little-endian, as the machine is.
 */
#include <errno.h>
#include <stdlib.h>
#include <linux/pci_regs.h>
#include <linux/virtio_pci.h>

#include "driver/virtio/layout.h"

#define BAR        0
#define MAX_QUEUES 1024 /* the most that any hypervisor has */

struct legacy_device {
	struct virtio_device dev;
	uint32_t msix; /* the capability in config space; 0: none */
};

/* --- the device ---------------------------------------------------------------------------------- */

static uint8_t status(struct virtio_device *dev)
{
	return pci_bar_read8(dev->pci, BAR, VIRTIO_PCI_STATUS);
}

static void set_status(struct virtio_device *dev, uint8_t value)
{
	pci_bar_write8(dev->pci, BAR, VIRTIO_PCI_STATUS, value);
}

static uint64_t offered(struct virtio_device *dev)
{
	return pci_bar_read32(dev->pci, BAR, VIRTIO_PCI_HOST_FEATURES);
}

static void accept_features(struct virtio_device *dev, uint64_t features)
{
	pci_bar_write32(dev->pci, BAR, VIRTIO_PCI_GUEST_FEATURES, (uint32_t)features);
}

/* --- interrupt vectors --------------------------------------------------------------------------- */

/* Asked anew each time: it is the transport's irq_set() that switches it on and off. */
static bool msix_on(struct virtio_device *dev)
{
	uint32_t msix = ((const struct legacy_device *)dev)->msix;
	uint8_t flags[2];

	return msix &&
	       dev->pci->ops->config_read(dev->pci, msix + PCI_MSIX_FLAGS, flags, sizeof(flags)) == 0 &&
	       (flags[0] | flags[1] << 8) & PCI_MSIX_FLAGS_ENABLE;
}

/* reg: VIRTIO_MSI_CONFIG_VECTOR or, for the selected queue, VIRTIO_MSI_QUEUE_VECTOR. */
static int set_vector(struct virtio_device *dev, uint32_t reg, uint16_t vector)
{
	if (!msix_on(dev)) {
		if (vector == VIRTIO_NO_VECTOR)
			return 0;
		return ixy_fail(EINVAL, "%s: vector %u while MSI-X is off", dev->pci->name, vector);
	}
	pci_bar_write16(dev->pci, BAR, reg, vector);
	if (pci_bar_read16(dev->pci, BAR, reg) == vector)
		return 0;
	return ixy_fail(ENOSPC, "%s: the device has no room for vector %u", dev->pci->name, vector);
}

static int config_vector(struct virtio_device *dev, uint16_t vector)
{
	return set_vector(dev, VIRTIO_MSI_CONFIG_VECTOR, vector);
}

/* --- queues -------------------------------------------------------------------------------------- */

static uint16_t select_queue(struct virtio_device *dev, uint16_t index)
{
	pci_bar_write16(dev->pci, BAR, VIRTIO_PCI_QUEUE_SEL, index);
	return pci_bar_read16(dev->pci, BAR, VIRTIO_PCI_QUEUE_NUM);
}

/* Nothing says how many there are: the first that has no entries is none (4.1.5.1.3). */
static int count_queues(struct virtio_device *dev)
{
	uint16_t index = 0;

	while (index < MAX_QUEUES && select_queue(dev, index) != 0)
		index++;
	return index;
}

static int set_up_queue(struct virtio_device *dev, const struct virtqueue *vq, uint64_t ring_iova,
	uint16_t vector, struct virtio_notify *notify)
{
	volatile uint8_t *virt = dev->pci->bars[BAR].virt;
	const uint64_t page = ring_iova >> VIRTIO_PCI_QUEUE_ADDR_SHIFT;
	uint16_t index = pci_bar_read16(dev->pci, BAR, VIRTIO_PCI_QUEUE_SEL);
	int err;

	if (ring_iova % VIRTIO_LEGACY_ALIGN || virtqueue_used_offset(vq) % VIRTIO_LEGACY_ALIGN)
		return ixy_fail(EINVAL, "%s: a legacy device's ring is aligned to %d bytes", dev->pci->name,
			VIRTIO_LEGACY_ALIGN);
	if (page == 0 || page > UINT32_MAX)
		return ixy_fail(EINVAL,
			"%s: a legacy device cannot have a ring at 0x%llx: it takes 44 address bits",
			dev->pci->name, (unsigned long long)ring_iova);
	if (pci_bar_read32(dev->pci, BAR, VIRTIO_PCI_QUEUE_PFN))
		return ixy_fail(EPROTO, "%s: queue %u is in use already", dev->pci->name, index);
	err = set_vector(dev, VIRTIO_MSI_QUEUE_VECTOR, vector);
	if (err)
		return ixy_fail_context(err, "queue %u", index);
	pci_bar_write32(dev->pci, BAR, VIRTIO_PCI_QUEUE_PFN, (uint32_t)page);
	if (pci_bar_read32(dev->pci, BAR, VIRTIO_PCI_QUEUE_PFN) != page)
		return ixy_fail(EPROTO, "%s: the device does not take queue %u", dev->pci->name, index);
	*notify = (struct virtio_notify){
		.reg = virt ? (volatile uint16_t *)(virt + VIRTIO_PCI_QUEUE_NOTIFY) : NULL,
		.bar = BAR,
		.offset = VIRTIO_PCI_QUEUE_NOTIFY,
	};
	return 0;
}

/* --- configuration of this kind of device -------------------------------------------------------- */

static uint32_t config_start(struct virtio_device *dev)
{
	return VIRTIO_PCI_CONFIG_OFF(msix_on(dev));
}

static uint32_t config_size(struct virtio_device *dev)
{
	const uint64_t size = dev->pci->bars[BAR].size;

	return (uint32_t)(size > UINT32_MAX ? UINT32_MAX : size) - config_start(dev);
}

static void config_get(struct virtio_device *dev, uint32_t offset, void *buf, uint32_t len)
{
	uint32_t start = config_start(dev);
	uint8_t *bytes = buf;

	for (uint32_t i = 0; i < len; i++)
		bytes[i] = pci_bar_read8(dev->pci, BAR, start + offset + i);
}

static void config_set(struct virtio_device *dev, uint32_t offset, const void *buf, uint32_t len)
{
	uint32_t start = config_start(dev);
	const uint8_t *bytes = buf;

	for (uint32_t i = 0; i < len; i++)
		pci_bar_write8(dev->pci, BAR, start + offset + i, bytes[i]);
}

static const struct virtio_ops legacy_ops = {
	.status = status,
	.set_status = set_status,
	.offered = offered,
	.accept = accept_features,
	.count_queues = count_queues,
	.select_queue = select_queue,
	.set_up_queue = set_up_queue,
	.config_vector = config_vector,
	.config_size = config_size,
	.config_get = config_get,
	.config_set = config_set,
};

int virtio_legacy_open(struct pci_device *pci, struct virtio_device **dev)
{
	struct legacy_device *legacy;
	uint8_t revision;
	int err = pci->ops->config_read(pci, PCI_REVISION_ID, &revision, sizeof(revision));

	if (err)
		return err;
	if (revision != VIRTIO_PCI_ABI_VERSION)
		return ixy_fail(EPROTO, "%s: legacy virtio devices are of revision %d, this one is of %u",
			pci->name, VIRTIO_PCI_ABI_VERSION, revision);
	err = pci_bar_open(pci, BAR);
	if (err)
		return err == -ENODEV ? -EPROTO : err;
	if (pci->bars[BAR].size < VIRTIO_PCI_CONFIG_OFF(true))
		return ixy_fail(EPROTO,
			"%s: a legacy virtio device has more than the %llu bytes of this one's BAR 0",
			pci->name, (unsigned long long)pci->bars[BAR].size);
	legacy = calloc(1, sizeof(*legacy));
	if (!legacy)
		return ixy_fail(ENOMEM, "%s: out of memory", pci->name);
	legacy->dev.ops = &legacy_ops;
	legacy->dev.pci = pci;
	legacy->msix = pci_find_capability(pci, PCI_CAP_ID_MSIX, 0);
	*dev = &legacy->dev;
	return 0;
}
