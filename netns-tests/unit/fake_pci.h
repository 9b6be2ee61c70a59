/*
 * A PCI function that is only remembered: for tests of what sits on top of one.
 */
#ifndef UNIT_FAKE_PCI_H
#define UNIT_FAKE_PCI_H

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "driver/device.h"

struct fake_pci {
	struct pci_device pci;
	unsigned mapped; /* regions that are mapped now */
	int map_error;   /* what the next dma_map() says, positive; 0: it works */
	uint8_t config[256];
	uint32_t written; /* by the last bar_write() */
	unsigned irqs_off, closed;
};

static int fake_dma_map(struct pci_device *pci, struct dma_region *region)
{
	struct fake_pci *fake = (struct fake_pci *)pci;

	(void)region;
	if (fake->map_error)
		return ixy_fail(fake->map_error, "the device refuses");
	fake->mapped++;
	return 0;
}

static void fake_dma_unmap(struct pci_device *pci, struct dma_region *region)
{
	(void)region;
	((struct fake_pci *)pci)->mapped--;
}

static int fake_config_read(struct pci_device *pci, uint32_t offset, void *data, uint32_t len)
{
	memcpy(data, ((struct fake_pci *)pci)->config + offset, len);
	return 0;
}

static int fake_config_write(struct pci_device *pci, uint32_t offset, const void *data, uint32_t len)
{
	memcpy(((struct fake_pci *)pci)->config + offset, data, len);
	return 0;
}

static void fake_bar_read(struct pci_device *pci, unsigned bar, uint32_t offset, void *data, uint32_t len)
{
	const uint32_t value = offset + 1;

	(void)pci;
	(void)bar;
	memcpy(data, &value, len);
}

static void fake_bar_write(
	struct pci_device *pci, unsigned bar, uint32_t offset, const void *data, uint32_t len)
{
	(void)bar;
	(void)offset;
	memcpy(&((struct fake_pci *)pci)->written, data, len);
}

static int fake_irq_set(struct pci_device *pci, uint32_t count, const int fds[])
{
	(void)fds;
	((struct fake_pci *)pci)->irqs_off += count == 0;
	return 0;
}

static void fake_close(struct pci_device *pci)
{
	((struct fake_pci *)pci)->closed++;
}

static const struct pci_ops fake_ops = {
	.config_read = fake_config_read,
	.config_write = fake_config_write,
	.bar_read = fake_bar_read,
	.bar_write = fake_bar_write,
	.dma_map = fake_dma_map,
	.dma_unmap = fake_dma_unmap,
	.irq_set = fake_irq_set,
	.close = fake_close,
};

static inline void fake_pci_init(struct fake_pci *fake, enum dma_iova_mode mode)
{
	*fake = (struct fake_pci){.pci = {.ops = &fake_ops, .name = "fake", .iova_mode = mode}};
}

#endif
