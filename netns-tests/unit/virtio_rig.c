/*
 * The registers of the virtio function that a test plays. See virtio_rig.h.
 */
#include "virtio_rig.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <linux/pci_regs.h>
#include <linux/virtio_config.h>
#include <linux/virtio_ring.h>
#include <sys/eventfd.h>

#define MSIX_ENABLE (PCI_MSIX_FLAGS_ENABLE >> 8) /* in the second byte of the flags */
#define MSIX_FLAGS  (RIG_CAP_MSIX + PCI_MSIX_FLAGS)

static struct virtio_rig *rig_of(struct pci_device *pci)
{
	return (struct virtio_rig *)pci; /* its first member */
}

void virtio_rig_violation(struct virtio_rig *rig, const char *format, ...)
{
	va_list arguments;

	va_start(arguments, format);
	vsnprintf(rig->violation, sizeof(rig->violation), format, arguments);
	va_end(arguments);
	rig->violations++;
}

void virtio_rig_assert_clean(const struct virtio_rig *rig)
{
	if (rig->violations)
		fail_msg("%u violations, the last: %s", rig->violations, rig->violation);
}

void virtio_rig_signal(struct virtio_rig *rig, uint16_t vector)
{
	if (vector < rig->irq_count && rig->irq_fds[vector] >= 0)
		eventfd_write(rig->irq_fds[vector], 1);
}

static bool msix_on(const struct virtio_rig *rig)
{
	return rig->space[MSIX_FLAGS + 1] & MSIX_ENABLE;
}

/* --- status and features ------------------------------------------------------------------------- */

static void reset(struct virtio_rig *rig)
{
	rig->status = 0;
	rig->accepted = 0;
	rig->config_vector = VIRTIO_MSI_NO_VECTOR;
	rig->isr = 0;
	for (unsigned i = 0; i < RIG_QUEUES; i++) {
		struct rig_queue *q = &rig->queues[i];

		*q = (struct rig_queue){.max_size = q->max_size,
			.size = q->max_size,
			.vector = VIRTIO_MSI_NO_VECTOR,
			.notify_off = q->notify_off,
			.notified = q->notified,
			.signals = q->signals,
			.kick_off = q->kick_off};
	}
}

static uint8_t read_status(struct virtio_rig *rig)
{
	if (rig->resetting && rig->resetting != UINT_MAX && --rig->resetting == 0)
		reset(rig);
	return rig->status;
}

static void write_status(struct virtio_rig *rig, uint8_t status)
{
	const bool modern = rig->pci.bars[RIG_COMMON_BAR].size != 0 && !rig->legacy_used;
	const uint8_t features_ok = VIRTIO_CONFIG_S_FEATURES_OK, live = VIRTIO_CONFIG_S_DRIVER_OK;

	if (rig->status_count < sizeof(rig->statuses))
		rig->statuses[rig->status_count++] = status;
	if (status == 0) {
		rig->resetting = rig->reset_takes;
		if (!rig->resetting)
			reset(rig);
		return;
	}
	if (rig->status & ~status & 0x0f)
		virtio_rig_violation(rig, "status 0x%02x written over 0x%02x", status, rig->status);
	if (modern && status & live && !(rig->status & features_ok))
		virtio_rig_violation(rig, "DRIVER_OK without FEATURES_OK");
	if (status & ~rig->status & features_ok && rig->accepted & rig->refused)
		status &= (uint8_t)~features_ok;
	rig->status = status;
}

static void accept_features(struct virtio_rig *rig, uint64_t features)
{
	if (rig->status & (VIRTIO_CONFIG_S_FEATURES_OK | VIRTIO_CONFIG_S_DRIVER_OK))
		virtio_rig_violation(rig, "features written after FEATURES_OK");
	if (features & ~rig->offered)
		virtio_rig_violation(rig, "features 0x%llx accepted, 0x%llx offered",
			(unsigned long long)features, (unsigned long long)rig->offered);
	rig->accepted = features;
}

/* --- queues -------------------------------------------------------------------------------------- */

static uint16_t take_vector(const struct virtio_rig *rig, uint16_t vector)
{
	return vector < rig->vectors ? vector : VIRTIO_MSI_NO_VECTOR;
}

/* The queue that is selected, to be configured; what is not there takes nothing. */
static struct rig_queue *configured(struct virtio_rig *rig)
{
	static struct rig_queue nowhere;

	if (rig->queue_select >= RIG_QUEUES || !rig->queues[rig->queue_select].max_size) {
		virtio_rig_violation(rig, "queue %u configured, which is not there", rig->queue_select);
		return &nowhere;
	}
	if (rig->queues[rig->queue_select].enabled)
		virtio_rig_violation(rig, "queue %u configured while it is enabled", rig->queue_select);
	if (!(rig->status & VIRTIO_CONFIG_S_DRIVER))
		virtio_rig_violation(rig, "queue %u configured before DRIVER", rig->queue_select);
	return &rig->queues[rig->queue_select];
}

static void enable(struct virtio_rig *rig, struct rig_queue *q, uint16_t value)
{
	if (value != 1)
		virtio_rig_violation(rig, "%u written to queue_enable", value);
	if (!(rig->status & VIRTIO_CONFIG_S_FEATURES_OK))
		virtio_rig_violation(rig, "queue enabled before FEATURES_OK");
	if (q->desc % 16 || q->avail % 2 || q->used % 4)
		virtio_rig_violation(rig, "misaligned ring");
	q->enabled = !rig->loses_enable;
}

static void set_page(struct virtio_rig *rig, struct rig_queue *q, uint32_t page)
{
	if (rig->loses_page)
		return;
	q->page = page;
	q->enabled = page != 0;
	q->desc = (uint64_t)page << VIRTIO_PCI_QUEUE_ADDR_SHIFT;
	q->avail = q->desc + 16ull * q->size;
	q->used = (q->avail + 2ull * (3 + q->size) + 4095) & ~4095ull;
}

static void notified(struct virtio_rig *rig, uint16_t index)
{
	if (index >= RIG_QUEUES || !rig->queues[index].enabled)
		virtio_rig_violation(rig, "queue %u notified, which is not enabled", index);
	else if (!(rig->status & VIRTIO_CONFIG_S_DRIVER_OK))
		virtio_rig_violation(rig, "queue %u notified before DRIVER_OK", index);
	else
		rig->queues[index].notified++;
}

/* --- the common configuration (4.1.4.3) ---------------------------------------------------------- */

/* The width of the field at offset, or 0: two halves for 64 bits. */
static uint32_t common_width(uint32_t offset)
{
	if (offset < 16 || (offset >= VIRTIO_PCI_COMMON_Q_DESCLO && offset < VIRTIO_PCI_COMMON_Q_NDATA))
		return offset % 4 ? 0 : 4;
	if (offset == VIRTIO_PCI_COMMON_STATUS || offset == VIRTIO_PCI_COMMON_CFGGENERATION)
		return 1;
	return offset % 2 ? 0 : 2;
}

static uint16_t count_queues(const struct virtio_rig *rig)
{
	uint16_t count = 0;

	for (unsigned i = 0; i < RIG_QUEUES; i++)
		count += rig->queues[i].max_size != 0;
	return count;
}

static uint32_t common_read(struct virtio_rig *rig, uint32_t offset)
{
	static const struct rig_queue none;
	const struct rig_queue *q = rig->queue_select < RIG_QUEUES ? &rig->queues[rig->queue_select] : &none;

	switch (offset) {
	case VIRTIO_PCI_COMMON_DFSELECT: return rig->device_select;
	case VIRTIO_PCI_COMMON_DF:
		return rig->device_select < 2 ? (uint32_t)(rig->offered >> (32 * rig->device_select)) : 0;
	case VIRTIO_PCI_COMMON_GFSELECT: return rig->driver_select;
	case VIRTIO_PCI_COMMON_GF:
		return rig->driver_select < 2 ? (uint32_t)(rig->accepted >> (32 * rig->driver_select)) : 0;
	case VIRTIO_PCI_COMMON_MSIX: return rig->config_vector;
	case VIRTIO_PCI_COMMON_NUMQ: return count_queues(rig);
	case VIRTIO_PCI_COMMON_STATUS: return read_status(rig);
	case VIRTIO_PCI_COMMON_CFGGENERATION: return rig->generation;
	case VIRTIO_PCI_COMMON_Q_SELECT: return rig->queue_select;
	case VIRTIO_PCI_COMMON_Q_SIZE: return q->size;
	case VIRTIO_PCI_COMMON_Q_MSIX: return q->vector;
	case VIRTIO_PCI_COMMON_Q_ENABLE: return q->enabled;
	case VIRTIO_PCI_COMMON_Q_NOFF: return q->notify_off;
	case VIRTIO_PCI_COMMON_Q_DESCLO: return (uint32_t)q->desc;
	case VIRTIO_PCI_COMMON_Q_DESCHI: return (uint32_t)(q->desc >> 32);
	case VIRTIO_PCI_COMMON_Q_AVAILLO: return (uint32_t)q->avail;
	case VIRTIO_PCI_COMMON_Q_AVAILHI: return (uint32_t)(q->avail >> 32);
	case VIRTIO_PCI_COMMON_Q_USEDLO: return (uint32_t)q->used;
	case VIRTIO_PCI_COMMON_Q_USEDHI: return (uint32_t)(q->used >> 32);
	}
	virtio_rig_violation(rig, "common configuration read at %u", offset);
	return 0;
}

static void set_half(uint64_t *address, bool high, uint32_t value)
{
	*address =
		high ? (*address & UINT32_MAX) | (uint64_t)value << 32 : (*address & ~0xffffffffull) | value;
}

static void set_feature_half(struct virtio_rig *rig, uint32_t value)
{
	uint64_t features = rig->accepted;

	set_half(&features, rig->driver_select, value);
	accept_features(rig, features);
}

static void common_write(struct virtio_rig *rig, uint32_t offset, uint32_t value)
{
	switch (offset) {
	case VIRTIO_PCI_COMMON_DFSELECT: rig->device_select = value; return;
	case VIRTIO_PCI_COMMON_GFSELECT: rig->driver_select = value; return;
	case VIRTIO_PCI_COMMON_GF: set_feature_half(rig, value); return;
	case VIRTIO_PCI_COMMON_MSIX: rig->config_vector = take_vector(rig, (uint16_t)value); return;
	case VIRTIO_PCI_COMMON_STATUS: write_status(rig, (uint8_t)value); return;
	case VIRTIO_PCI_COMMON_Q_SELECT: rig->queue_select = value; return;
	case VIRTIO_PCI_COMMON_Q_SIZE:
		if (!rig->loses_size)
			configured(rig)->size = (uint16_t)value;
		return;
	case VIRTIO_PCI_COMMON_Q_MSIX: configured(rig)->vector = take_vector(rig, (uint16_t)value); return;
	case VIRTIO_PCI_COMMON_Q_ENABLE: enable(rig, configured(rig), (uint16_t)value); return;
	case VIRTIO_PCI_COMMON_Q_DESCLO:
	case VIRTIO_PCI_COMMON_Q_DESCHI: set_half(&configured(rig)->desc, offset & 4, value); return;
	case VIRTIO_PCI_COMMON_Q_AVAILLO:
	case VIRTIO_PCI_COMMON_Q_AVAILHI: set_half(&configured(rig)->avail, offset & 4, value); return;
	case VIRTIO_PCI_COMMON_Q_USEDLO:
	case VIRTIO_PCI_COMMON_Q_USEDHI: set_half(&configured(rig)->used, offset & 4, value); return;
	}
	virtio_rig_violation(rig, "common configuration written at %u", offset);
}

/* --- the configuration of its kind --------------------------------------------------------------- */

/* After an access: all bytes of the configuration count up together. */
static void change_config(struct virtio_rig *rig)
{
	if (!rig->config_changes)
		return;
	if (rig->config_changes != UINT_MAX)
		rig->config_changes--;
	for (unsigned i = 0; i < RIG_CONFIG; i++)
		rig->config[i]++;
	rig->generation++;
}

static void config_access(struct virtio_rig *rig, uint32_t offset, void *data, uint32_t len, bool write)
{
	if (offset >= RIG_CONFIG || len > RIG_CONFIG - offset) {
		virtio_rig_violation(rig, "%u bytes of configuration accessed at %u", len, offset);
		return;
	}
	if (write)
		memcpy(rig->config + offset, data, len);
	else
		memcpy(data, rig->config + offset, len);
	change_config(rig);
}

static uint8_t read_isr(struct virtio_rig *rig)
{
	uint8_t isr = rig->isr;

	rig->isr = 0;
	return isr;
}

void virtio_rig_set_config(struct virtio_rig *rig, size_t offset, const void *data, size_t size)
{
	memcpy(rig->config + offset, data, size);
	rig->generation++;
	rig->isr |= VIRTIO_PCI_ISR_CONFIG;
	virtio_rig_signal(rig, rig->config_vector);
}

void virtio_rig_needs_reset(struct virtio_rig *rig)
{
	rig->status |= VIRTIO_CONFIG_S_NEEDS_RESET;
	rig->isr |= VIRTIO_PCI_ISR_CONFIG;
	virtio_rig_signal(rig, rig->config_vector);
}

/* --- the legacy layout (4.1.4.10) ---------------------------------------------------------------- */

static uint32_t legacy_width(uint32_t offset)
{
	if (offset <= VIRTIO_PCI_QUEUE_PFN)
		return offset % 4 ? 0 : 4;
	return offset >= VIRTIO_PCI_STATUS && offset <= VIRTIO_PCI_ISR ? 1 : 2;
}

static uint32_t legacy_read(struct virtio_rig *rig, uint32_t offset)
{
	static const struct rig_queue none;
	const struct rig_queue *q = rig->queue_select < RIG_QUEUES ? &rig->queues[rig->queue_select] : &none;

	switch (offset) {
	case VIRTIO_PCI_HOST_FEATURES: return (uint32_t)rig->offered;
	case VIRTIO_PCI_GUEST_FEATURES: return (uint32_t)rig->accepted;
	case VIRTIO_PCI_QUEUE_PFN: return q->page;
	case VIRTIO_PCI_QUEUE_NUM: return q->max_size;
	case VIRTIO_PCI_QUEUE_SEL: return rig->queue_select;
	case VIRTIO_PCI_STATUS: return read_status(rig);
	case VIRTIO_PCI_ISR: return read_isr(rig);
	case VIRTIO_MSI_CONFIG_VECTOR: return rig->config_vector;
	case VIRTIO_MSI_QUEUE_VECTOR: return q->vector;
	}
	virtio_rig_violation(rig, "legacy register %u read", offset);
	return 0;
}

static void legacy_write(struct virtio_rig *rig, uint32_t offset, uint32_t value)
{
	switch (offset) {
	case VIRTIO_PCI_GUEST_FEATURES: accept_features(rig, value); return;
	case VIRTIO_PCI_QUEUE_PFN: set_page(rig, configured(rig), value); return;
	case VIRTIO_PCI_QUEUE_SEL: rig->queue_select = value; return;
	case VIRTIO_PCI_QUEUE_NOTIFY: notified(rig, (uint16_t)value); return;
	case VIRTIO_PCI_STATUS: write_status(rig, (uint8_t)value); return;
	case VIRTIO_MSI_CONFIG_VECTOR: rig->config_vector = take_vector(rig, (uint16_t)value); return;
	case VIRTIO_MSI_QUEUE_VECTOR: configured(rig)->vector = take_vector(rig, (uint16_t)value); return;
	}
	virtio_rig_violation(rig, "legacy register %u written", offset);
}

/* --- BARs and config space ----------------------------------------------------------------------- */

static void access_legacy(struct virtio_rig *rig, uint32_t offset, void *data, uint32_t len, bool write)
{
	uint32_t value = 0, config = msix_on(rig) ? 24 : 20;

	rig->legacy_used = true;
	if (offset >= config) {
		config_access(rig, offset - config, data, len, write);
		return;
	}
	if (len != legacy_width(offset))
		virtio_rig_violation(rig, "legacy register %u accessed with %u bytes", offset, len);
	if (write) {
		memcpy(&value, data, len);
		legacy_write(rig, offset, value);
	} else {
		value = legacy_read(rig, offset);
		memcpy(data, &value, len);
	}
}

static void access_common(struct virtio_rig *rig, uint32_t offset, void *data, uint32_t len, bool write)
{
	uint32_t value = 0;

	if (len != common_width(offset))
		virtio_rig_violation(rig, "common configuration accessed at %u with %u bytes", offset, len);
	if (write) {
		memcpy(&value, data, len);
		common_write(rig, offset, value);
	} else {
		value = common_read(rig, offset);
		memcpy(data, &value, len);
	}
}

static void access_bar(
	struct virtio_rig *rig, unsigned bar, uint32_t offset, void *data, uint32_t len, bool write)
{
	const uint8_t decoded = bar == 0 ? PCI_COMMAND_IO : PCI_COMMAND_MEMORY;

	if (!write)
		memset(data, 0xff, len);
	if (rig->gone || !(rig->space[PCI_COMMAND] & decoded))
		return;
	if (bar == 0 && rig->layout & RIG_LEGACY)
		access_legacy(rig, offset, data, len, write);
	else if (bar == RIG_COMMON_BAR && offset < RIG_ISR_AT)
		access_common(rig, offset - RIG_COMMON_AT, data, len, write);
	else if (bar == RIG_COMMON_BAR && offset == RIG_ISR_AT && !write && len == 1)
		*(uint8_t *)data = read_isr(rig);
	else if (bar == RIG_COMMON_BAR && offset >= RIG_CONFIG_AT)
		config_access(rig, offset - RIG_CONFIG_AT, data, len, write);
	else if (bar == RIG_NOTIFY_BAR && write && len == 2 && offset >= RIG_NOTIFY_AT &&
		 offset - RIG_NOTIFY_AT <= RIG_NOTIFY_LEN - len)
		notified(rig, *(uint16_t *)data);
	else
		virtio_rig_violation(rig, "%u bytes accessed at 0x%x of BAR %u", len, offset, bar);
}

static void bar_read(struct pci_device *pci, unsigned bar, uint32_t offset, void *data, uint32_t len)
{
	access_bar(rig_of(pci), bar, offset, data, len, false);
}

static void bar_write(struct pci_device *pci, unsigned bar, uint32_t offset, const void *data, uint32_t len)
{
	uint32_t copy = 0;

	memcpy(&copy, data, len);
	access_bar(rig_of(pci), bar, offset, &copy, len, true);
}

static int config_read(struct pci_device *pci, uint32_t offset, void *data, uint32_t len)
{
	struct virtio_rig *rig = rig_of(pci);

	if (offset > sizeof(rig->space) || len > sizeof(rig->space) - offset)
		return ixy_fail(EINVAL, "config space read at 0x%x", offset);
	memcpy(data, rig->space + offset, len);
	if (rig->gone)
		memset(data, 0xff, len);
	return 0;
}

static int config_write(struct pci_device *pci, uint32_t offset, const void *data, uint32_t len)
{
	struct virtio_rig *rig = rig_of(pci);

	if (offset > sizeof(rig->space) || len > sizeof(rig->space) - offset)
		return ixy_fail(EINVAL, "config space written at 0x%x", offset);
	if (!rig->gone)
		memcpy(rig->space + offset, data, len);
	return 0;
}

/* --- memory, interrupts -------------------------------------------------------------------------- */

static int dma_map(struct pci_device *pci, struct dma_region *region)
{
	struct virtio_rig *rig = rig_of(pci);

	if (rig->region_count == RIG_REGIONS)
		return ixy_fail(ENOSPC, "the rig has room for %u regions", RIG_REGIONS);
	rig->regions[rig->region_count++] = region;
	return 0;
}

static void dma_unmap(struct pci_device *pci, struct dma_region *region)
{
	struct virtio_rig *rig = rig_of(pci);

	for (unsigned i = 0; i < rig->region_count; i++)
		if (rig->regions[i] == region) {
			rig->regions[i] = rig->regions[--rig->region_count];
			return;
		}
	virtio_rig_violation(rig, "memory unmapped that was not mapped");
}

static int irq_set(struct pci_device *pci, uint32_t count, const int fds[])
{
	struct virtio_rig *rig = rig_of(pci);

	if (count > RIG_VECTORS)
		return ixy_fail(EINVAL, "%u vectors", count);
	for (uint32_t i = 0; i < count; i++)
		rig->irq_fds[i] = fds[i];
	rig->irq_count = count;
	rig->space[MSIX_FLAGS + 1] = count ? MSIX_ENABLE : 0;
	return 0;
}

static int reset_function(struct pci_device *pci)
{
	reset(rig_of(pci));
	rig_of(pci)->resets++;
	return 0;
}

static void close_function(struct pci_device *pci)
{
	(void)pci;
}

static const struct pci_ops rig_ops = {
	.config_read = config_read,
	.config_write = config_write,
	.bar_read = bar_read,
	.bar_write = bar_write,
	.dma_map = dma_map,
	.dma_unmap = dma_unmap,
	.irq_set = irq_set,
	.reset = reset_function,
	.close = close_function,
};

/* --- life ---------------------------------------------------------------------------------------- */

static void put_cap(struct virtio_rig *rig, uint32_t at, uint32_t next, uint8_t type, uint8_t bar,
	uint32_t offset, uint32_t length)
{
	const struct virtio_pci_cap cap = {
		.cap_vndr = PCI_CAP_ID_VNDR,
		.cap_next = (uint8_t)next,
		.cap_len = type == VIRTIO_PCI_CAP_NOTIFY_CFG ? sizeof(struct virtio_pci_notify_cap)
							     : sizeof(struct virtio_pci_cap),
		.cfg_type = type,
		.bar = bar,
		.offset = offset,
		.length = length,
	};

	memcpy(rig->space + at, &cap, sizeof(cap));
}

static void put_space(struct virtio_rig *rig)
{
	uint8_t *space = rig->space;
	const uint16_t device = rig->layout & RIG_LEGACY ? 0x1000 : 0x1041;
	const uint32_t multiplier = RIG_MULTIPLIER;

	memcpy(space + PCI_VENDOR_ID, "\xf4\x1a", 2);
	memcpy(space + PCI_DEVICE_ID, &device, 2);
	space[PCI_REVISION_ID] = rig->layout & RIG_LEGACY ? 0 : 1;
	space[PCI_COMMAND] = PCI_COMMAND_MEMORY | PCI_COMMAND_IO;
	space[PCI_STATUS] = PCI_STATUS_CAP_LIST;
	space[PCI_CAPABILITY_LIST] = RIG_CAP_MSIX;
	space[RIG_CAP_MSIX] = PCI_CAP_ID_MSIX;
	space[MSIX_FLAGS] = RIG_VECTORS - 1;
	if (!(rig->layout & RIG_MODERN))
		return;
	space[RIG_CAP_MSIX + PCI_CAP_LIST_NEXT] = RIG_CAP_COMMON;
	put_cap(rig, RIG_CAP_COMMON, RIG_CAP_NOTIFY, VIRTIO_PCI_CAP_COMMON_CFG, RIG_COMMON_BAR, RIG_COMMON_AT,
		sizeof(struct virtio_pci_common_cfg));
	put_cap(rig, RIG_CAP_NOTIFY, RIG_CAP_ISR, VIRTIO_PCI_CAP_NOTIFY_CFG, RIG_NOTIFY_BAR, RIG_NOTIFY_AT,
		RIG_NOTIFY_LEN);
	memcpy(space + RIG_CAP_NOTIFY + VIRTIO_PCI_NOTIFY_CAP_MULT, &multiplier, 4);
	put_cap(rig, RIG_CAP_ISR, RIG_CAP_CONFIG, VIRTIO_PCI_CAP_ISR_CFG, RIG_COMMON_BAR, RIG_ISR_AT, 1);
	put_cap(rig, RIG_CAP_CONFIG, 0, VIRTIO_PCI_CAP_DEVICE_CFG, RIG_COMMON_BAR, RIG_CONFIG_AT, RIG_CONFIG);
}

void virtio_rig_init(struct virtio_rig *rig, enum rig_layout layout)
{
	memset(rig, 0, sizeof(*rig));
	rig->layout = layout;
	rig->pci.ops = &rig_ops;
	snprintf(rig->pci.name, sizeof(rig->pci.name), "virtio-rig");
	put_space(rig);
	rig->pci.vendor = 0x1af4;
	rig->pci.device = layout & RIG_LEGACY ? 0x1000 : 0x1041;
	rig->pci.iova_mode = DMA_IOVA_VA;
	rig->pci.irq_count = RIG_VECTORS;
	rig->pci.pins_memory = true;
	/* What page numbers of 32 bits reach. */
	if (layout & RIG_LEGACY) {
		rig->pci.windows[0] = (struct dma_window){4096, (1ull << 44) - 1};
		rig->pci.window_count = 1;
		rig->pci.bars[0] = (struct pci_bar){.size = RIG_PORTS, .io = true};
	}
	if (layout & RIG_MODERN) {
		rig->pci.bars[RIG_COMMON_BAR].size = RIG_BAR_SIZE;
		rig->pci.bars[RIG_NOTIFY_BAR].size = sizeof(rig->notify_page);
		rig->offered |= 1ull << VIRTIO_F_VERSION_1 | 1ull << VIRTIO_F_ACCESS_PLATFORM;
	}
	rig->offered |= 1ull << VIRTIO_RING_F_INDIRECT_DESC | 1ull << VIRTIO_RING_F_EVENT_IDX;
	rig->vectors = RIG_VECTORS;
	for (unsigned i = 0; i < RIG_QUEUES; i++) {
		rig->queues[i].max_size = i < 3 ? 256 : 0;
		rig->queues[i].notify_off = (uint16_t)i;
	}
	memset(rig->notify_page, 0xff, sizeof(rig->notify_page));
	reset(rig);
}

void virtio_rig_close(struct virtio_rig *rig)
{
	assert_int_equal(rig->region_count, 0);
}

void virtio_rig_map_notify(struct virtio_rig *rig)
{
	rig->pci.bars[RIG_NOTIFY_BAR].virt = (volatile uint8_t *)rig->notify_page;
}

uint16_t virtio_rig_stored(const struct virtio_rig *rig, uint16_t queue)
{
	const uint32_t at = RIG_NOTIFY_AT + rig->queues[queue].notify_off * RIG_MULTIPLIER;

	return __atomic_load_n(&rig->notify_page[at / sizeof(uint16_t)], __ATOMIC_ACQUIRE);
}

void virtio_rig_capability(
	struct virtio_rig *rig, uint32_t capability, size_t offset, size_t size, uint32_t value)
{
	memcpy(rig->space + capability + offset, &value, size);
}
