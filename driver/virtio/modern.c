/*
 * The PCI layout of virtio 1.0 and later (virtio 1.2, 4.1.4).
 *
 * Capabilities in config space say where the structures are: in which BAR, at which offset, how long. Of use here are
 * the common configuration (status, features, queues), notifications (a register for each queue, or one for all), and
 * the configuration of this kind of device. The interrupt status is not: an MSI-X vector says as much. The first of
 * each kind counts, and it must lie within its BAR. Each field is accessed in its own width, 64-bit ones as two
 * halves (4.1.3.1).
 */
#include <endian.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <linux/pci_regs.h>
#include <linux/virtio_pci.h>

#include "driver/virtio/layout.h"

#define CONFIG_SPACE     256
#define MAX_CAPABILITIES 48 /* that fit there */

struct area {
	bool found;
	unsigned bar;
	uint32_t offset, length; /* in the BAR */
};

#define AREAS (VIRTIO_PCI_CAP_DEVICE_CFG + 1)

static const struct {
	const char *name;
	uint32_t min_length, align;
	bool required;
} kinds[AREAS] = {
	[VIRTIO_PCI_CAP_COMMON_CFG] = {"common configuration", sizeof(struct virtio_pci_common_cfg), 4, true},
	[VIRTIO_PCI_CAP_NOTIFY_CFG] = {"notifications", sizeof(uint16_t), 2, true},
	[VIRTIO_PCI_CAP_DEVICE_CFG] = {"device configuration", 1, 4, false},
};

struct modern_device {
	struct virtio_device dev;
	struct area areas[AREAS]; /* by the capability's type */
	uint32_t multiplier;      /* bytes from one notification register to the next; 0: one for all */
};

static const struct modern_device *modern_of(const struct virtio_device *dev)
{
	return (const struct modern_device *)dev; /* its first member */
}

/* --- registers ----------------------------------------------------------------------------------- */

static uint8_t get8(struct virtio_device *dev, unsigned kind, uint32_t offset)
{
	const struct area *area = &modern_of(dev)->areas[kind];

	return pci_bar_read8(dev->pci, area->bar, area->offset + offset);
}

static uint16_t get16(struct virtio_device *dev, unsigned kind, uint32_t offset)
{
	const struct area *area = &modern_of(dev)->areas[kind];

	return pci_bar_read16(dev->pci, area->bar, area->offset + offset);
}

static uint32_t get32(struct virtio_device *dev, unsigned kind, uint32_t offset)
{
	const struct area *area = &modern_of(dev)->areas[kind];

	return pci_bar_read32(dev->pci, area->bar, area->offset + offset);
}

static void set8(struct virtio_device *dev, unsigned kind, uint32_t offset, uint8_t value)
{
	const struct area *area = &modern_of(dev)->areas[kind];

	pci_bar_write8(dev->pci, area->bar, area->offset + offset, value);
}

static void set16(struct virtio_device *dev, unsigned kind, uint32_t offset, uint16_t value)
{
	const struct area *area = &modern_of(dev)->areas[kind];

	pci_bar_write16(dev->pci, area->bar, area->offset + offset, value);
}

static void set32(struct virtio_device *dev, unsigned kind, uint32_t offset, uint32_t value)
{
	const struct area *area = &modern_of(dev)->areas[kind];

	pci_bar_write32(dev->pci, area->bar, area->offset + offset, value);
}

#define COMMON VIRTIO_PCI_CAP_COMMON_CFG

/* --- the device ---------------------------------------------------------------------------------- */

static uint8_t status(struct virtio_device *dev)
{
	return get8(dev, COMMON, VIRTIO_PCI_COMMON_STATUS);
}

static void set_status(struct virtio_device *dev, uint8_t value)
{
	set8(dev, COMMON, VIRTIO_PCI_COMMON_STATUS, value);
}

static uint64_t offered(struct virtio_device *dev)
{
	uint64_t low;

	set32(dev, COMMON, VIRTIO_PCI_COMMON_DFSELECT, 0);
	low = get32(dev, COMMON, VIRTIO_PCI_COMMON_DF);
	set32(dev, COMMON, VIRTIO_PCI_COMMON_DFSELECT, 1);
	return low | (uint64_t)get32(dev, COMMON, VIRTIO_PCI_COMMON_DF) << 32;
}

static void accept_features(struct virtio_device *dev, uint64_t features)
{
	set32(dev, COMMON, VIRTIO_PCI_COMMON_GFSELECT, 0);
	set32(dev, COMMON, VIRTIO_PCI_COMMON_GF, (uint32_t)features);
	set32(dev, COMMON, VIRTIO_PCI_COMMON_GFSELECT, 1);
	set32(dev, COMMON, VIRTIO_PCI_COMMON_GF, (uint32_t)(features >> 32));
}

static int config_vector(struct virtio_device *dev, uint16_t vector)
{
	set16(dev, COMMON, VIRTIO_PCI_COMMON_MSIX, vector);
	if (get16(dev, COMMON, VIRTIO_PCI_COMMON_MSIX) == vector)
		return 0;
	return ixy_fail(ENOSPC, "%s: the device has no room for vector %u, for changes of its configuration",
		dev->pci->name, vector);
}

/* --- queues -------------------------------------------------------------------------------------- */

static int count_queues(struct virtio_device *dev)
{
	return get16(dev, COMMON, VIRTIO_PCI_COMMON_NUMQ);
}

static uint16_t select_queue(struct virtio_device *dev, uint16_t index)
{
	set16(dev, COMMON, VIRTIO_PCI_COMMON_Q_SELECT, index);
	return get16(dev, COMMON, VIRTIO_PCI_COMMON_Q_SIZE);
}

static void set_address(struct virtio_device *dev, uint32_t offset, uint64_t address)
{
	set32(dev, COMMON, offset, (uint32_t)address);
	set32(dev, COMMON, offset + 4, (uint32_t)(address >> 32));
}

/* 4.1.4.4: the selected queue's register lies at queue_notify_off * notify_off_multiplier. */
static int find_notify(struct virtio_device *dev, struct virtio_notify *notify)
{
	const struct modern_device *modern = modern_of(dev);
	const struct area *area = &modern->areas[VIRTIO_PCI_CAP_NOTIFY_CFG];
	uint64_t at = (uint64_t)get16(dev, COMMON, VIRTIO_PCI_COMMON_Q_NOFF) * modern->multiplier;
	volatile uint8_t *virt = dev->pci->bars[area->bar].virt;

	if (at % sizeof(uint16_t) || at > area->length - sizeof(uint16_t))
		return ixy_fail(EPROTO,
			"%s: the device has a notification register at %llu of a structure of %u bytes",
			dev->pci->name, (unsigned long long)at, area->length);
	notify->bar = (uint8_t)area->bar;
	notify->offset = area->offset + (uint32_t)at;
	notify->reg = virt ? (volatile uint16_t *)(virt + notify->offset) : NULL;
	return 0;
}

/* 4.1.5.1.3. What the device keeps otherwise than it was told is found here, not by what its DMA writes over. */
static int set_up_queue(struct virtio_device *dev, const struct virtqueue *vq, uint64_t ring_iova,
	uint16_t vector, struct virtio_notify *notify)
{
	const char *name = dev->pci->name;
	uint16_t num = virtqueue_num(vq);
	uint16_t index = get16(dev, COMMON, VIRTIO_PCI_COMMON_Q_SELECT);
	int err;

	if (get16(dev, COMMON, VIRTIO_PCI_COMMON_Q_ENABLE))
		return ixy_fail(EPROTO, "%s: queue %u is in use already", name, index);
	set16(dev, COMMON, VIRTIO_PCI_COMMON_Q_SIZE, num);
	if (get16(dev, COMMON, VIRTIO_PCI_COMMON_Q_SIZE) != num)
		return ixy_fail(
			EPROTO, "%s: the device does not take %u entries for queue %u", name, num, index);
	err = find_notify(dev, notify);
	if (err)
		return err;
	set_address(dev, VIRTIO_PCI_COMMON_Q_DESCLO, ring_iova + virtqueue_desc_offset(vq));
	set_address(dev, VIRTIO_PCI_COMMON_Q_AVAILLO, ring_iova + virtqueue_avail_offset(vq));
	set_address(dev, VIRTIO_PCI_COMMON_Q_USEDLO, ring_iova + virtqueue_used_offset(vq));
	set16(dev, COMMON, VIRTIO_PCI_COMMON_Q_MSIX, vector);
	if (get16(dev, COMMON, VIRTIO_PCI_COMMON_Q_MSIX) != vector)
		return ixy_fail(
			ENOSPC, "%s: the device has no room for vector %u, of queue %u", name, vector, index);
	set16(dev, COMMON, VIRTIO_PCI_COMMON_Q_ENABLE, 1);
	if (get16(dev, COMMON, VIRTIO_PCI_COMMON_Q_ENABLE) != 1)
		return ixy_fail(EPROTO, "%s: the device does not enable queue %u", name, index);
	return 0;
}

/* --- configuration of this kind of device -------------------------------------------------------- */

#define CONFIG VIRTIO_PCI_CAP_DEVICE_CFG

static uint32_t config_size(struct virtio_device *dev)
{
	return modern_of(dev)->areas[CONFIG].length; /* 0 if there is none */
}

static void config_get(struct virtio_device *dev, uint32_t offset, void *buf, uint32_t len)
{
	uint8_t *bytes = buf;
	uint16_t half;
	uint32_t word;

	if (len == sizeof(half) && offset % sizeof(half) == 0) {
		half = get16(dev, CONFIG, offset);
		memcpy(buf, &half, sizeof(half));
	} else if ((len == 4 || len == 8) && offset % sizeof(word) == 0) {
		for (uint32_t i = 0; i < len; i += sizeof(word)) {
			word = get32(dev, CONFIG, offset + i);
			memcpy(bytes + i, &word, sizeof(word));
		}
	} else {
		for (uint32_t i = 0; i < len; i++)
			bytes[i] = get8(dev, CONFIG, offset + i);
	}
}

static void config_set(struct virtio_device *dev, uint32_t offset, const void *buf, uint32_t len)
{
	const uint8_t *bytes = buf;
	uint16_t half;
	uint32_t word;

	if (len == sizeof(half) && offset % sizeof(half) == 0) {
		memcpy(&half, buf, sizeof(half));
		set16(dev, CONFIG, offset, half);
	} else if ((len == 4 || len == 8) && offset % sizeof(word) == 0) {
		for (uint32_t i = 0; i < len; i += sizeof(word)) {
			memcpy(&word, bytes + i, sizeof(word));
			set32(dev, CONFIG, offset + i, word);
		}
	} else {
		for (uint32_t i = 0; i < len; i++)
			set8(dev, CONFIG, offset + i, bytes[i]);
	}
}

static uint8_t generation(struct virtio_device *dev)
{
	return get8(dev, COMMON, VIRTIO_PCI_COMMON_CFGGENERATION);
}

static const struct virtio_ops modern_ops = {
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
	.generation = generation,
};

/* --- capabilities -------------------------------------------------------------------------------- */

/* All of config space that the function below looks at, in words as they can be read everywhere. */
static int read_config(struct pci_device *pci, uint32_t at, void *buf, uint32_t len)
{
	int err = 0;

	for (uint32_t i = 0; i < len && !err; i += 4)
		err = pci->ops->config_read(pci, at + i, (uint8_t *)buf + i, 4);
	return err;
}

static int check_area(struct pci_device *pci, unsigned kind, const struct area *area)
{
	const uint64_t size = pci->bars[area->bar].size;

	if (area->length < kinds[kind].min_length)
		return ixy_fail(EPROTO, "%s: the device's %s has %u bytes, %u are the least", pci->name,
			kinds[kind].name, area->length, kinds[kind].min_length);
	if (area->offset % kinds[kind].align)
		return ixy_fail(EPROTO, "%s: the device's %s is at 0x%x, no multiple of %u", pci->name,
			kinds[kind].name, area->offset, kinds[kind].align);
	if (area->offset > size || area->length > size - area->offset ||
		area->length > UINT32_MAX - area->offset)
		return ixy_fail(EPROTO,
			"%s: the device's %s of %u bytes at 0x%x is not within BAR %u of %llu bytes",
			pci->name, kinds[kind].name, area->length, area->offset, area->bar,
			(unsigned long long)size);
	return 0;
}

/* The capability at `at` of config space, if it is one of those that we look for and the first of its kind. */
static int take_capability(struct pci_device *pci, struct modern_device *modern, uint32_t at)
{
	struct virtio_pci_notify_cap cap;
	struct area *area;
	uint32_t needed = sizeof(cap.cap);
	unsigned kind;
	int err;

	if (at > CONFIG_SPACE - sizeof(cap.cap))
		return ixy_fail(
			EPROTO, "%s: a virtio capability at 0x%x runs past config space", pci->name, at);
	err = read_config(pci, at, &cap.cap, sizeof(cap.cap));
	if (err)
		return err;
	kind = cap.cap.cfg_type;
	/* 4.1.4.1: other types, and BARs that there are not, belong to a later version. */
	if (kind >= AREAS || !kinds[kind].name || cap.cap.bar >= PCI_BARS || modern->areas[kind].found)
		return 0;
	if (kind == VIRTIO_PCI_CAP_NOTIFY_CFG)
		needed = sizeof(cap);
	if (cap.cap.cap_len < needed || at > CONFIG_SPACE - needed)
		return ixy_fail(EPROTO,
			"%s: the virtio capability at 0x%x (%s) has %u bytes, %u are the least", pci->name,
			at, kinds[kind].name, cap.cap.cap_len, needed);
	if (kind == VIRTIO_PCI_CAP_NOTIFY_CFG) {
		err = read_config(pci, at + VIRTIO_PCI_NOTIFY_CAP_MULT, &cap.notify_off_multiplier, 4);
		if (err)
			return err;
		modern->multiplier = le32toh(cap.notify_off_multiplier);
	}
	area = &modern->areas[kind];
	*area = (struct area){true, cap.cap.bar, le32toh(cap.cap.offset), le32toh(cap.cap.length)};
	err = pci_bar_open(pci, area->bar);
	if (err)
		return ixy_fail_context(err == -ENODEV ? -EPROTO : err, "virtio capability at 0x%x", at);
	return check_area(pci, kind, area);
}

static int take_capabilities(struct pci_device *pci, struct modern_device *modern)
{
	uint32_t at = 0;
	int err = 0;

	/* Bounded, as a chain that leads back into itself gives the same ones over and over. */
	for (unsigned i = 0; i < MAX_CAPABILITIES && !err; i++) {
		at = pci_find_capability(pci, PCI_CAP_ID_VNDR, at);
		if (!at)
			break;
		err = take_capability(pci, modern, at);
	}
	if (err)
		return err;
	if (!modern->areas[COMMON].found)
		return -ENOENT;
	for (unsigned kind = COMMON; kind < AREAS; kind++)
		if (!modern->areas[kind].found && kinds[kind].required)
			return ixy_fail(EPROTO, "%s: the device has no virtio capability for its %s",
				pci->name, kinds[kind].name);
	return 0;
}

int virtio_modern_open(struct pci_device *pci, struct virtio_device **dev)
{
	struct modern_device *modern = calloc(1, sizeof(*modern));
	int err;

	if (!modern)
		return ixy_fail(ENOMEM, "%s: out of memory", pci->name);
	err = take_capabilities(pci, modern);
	if (err) {
		free(modern);
		return err;
	}
	modern->dev.ops = &modern_ops;
	modern->dev.pci = pci;
	modern->dev.modern = true;
	*dev = &modern->dev;
	return 0;
}
