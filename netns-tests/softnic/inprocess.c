#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "driver/error.h"
#include "inprocess.h"

struct inprocess {
	struct pci_device pci;
	struct nic *nic;
	uint32_t irq_count;
	int irq_fds[NIC_MSIX_VECTORS];
};

static struct nic *nic_of(struct pci_device *pci)
{
	return ((struct inprocess *)pci)->nic;
}

static int config_read(struct pci_device *pci, uint32_t offset, void *buf, uint32_t len)
{
	uint32_t value = nic_config_read(nic_of(pci), offset, len);
	uint8_t *p = buf;

	for (uint32_t i = 0; i < len; i++)
		p[i] = (uint8_t)(value >> (8 * i));
	return 0;
}

static int config_write(struct pci_device *pci, uint32_t offset, const void *buf, uint32_t len)
{
	const uint8_t *p = buf;
	uint32_t value = 0;

	for (uint32_t i = 0; i < len; i++)
		value |= (uint32_t)p[i] << (8 * i);
	nic_config_write(nic_of(pci), offset, len, value);
	return 0;
}

/* The NIC has BAR 0, and its registers have 32 bits. */
static void bar_read(struct pci_device *pci, unsigned bar, uint32_t offset, void *data, uint32_t len)
{
	uint32_t value = nic_read32(nic_of(pci), offset);

	(void)bar;
	memcpy(data, &value, len);
}

static void bar_write(struct pci_device *pci, unsigned bar, uint32_t offset, const void *data, uint32_t len)
{
	uint32_t value = 0;

	(void)bar;
	memcpy(&value, data, len);
	nic_write32(nic_of(pci), offset, value);
}

static int dma_map(struct pci_device *pci, struct dma_region *region)
{
	int fd = fcntl(region->fd, F_DUPFD_CLOEXEC, 0);

	if (fd < 0)
		return ixy_fail(errno, "%s: cannot duplicate a memory descriptor: %m", pci->name);
	return nic_dma_map(nic_of(pci), dma_iova(region, region->virt), region->size, fd, 0, true, true);
}

static void dma_unmap(struct pci_device *pci, struct dma_region *region)
{
	nic_dma_unmap(nic_of(pci), dma_iova(region, region->virt), region->size);
}

static void raise_vector(void *context, unsigned vector)
{
	struct inprocess *p = context;
	uint64_t one = 1;

	if (vector < p->irq_count && write(p->irq_fds[vector], &one, sizeof(one)) < 0 && errno != EAGAIN)
		perror("inprocess: eventfd");
}

/* As a VMM does for its guest: the table entries of vectors with a receiver are unmasked, MSI-X is enabled. */
static int irq_set(struct pci_device *pci, uint32_t count, const int fds[])
{
	struct inprocess *p = (struct inprocess *)pci;

	if (count > NIC_MSIX_VECTORS)
		return ixy_fail(
			EINVAL, "%s: %u vectors, but there are %u", pci->name, count, NIC_MSIX_VECTORS);
	p->irq_count = count;
	for (uint32_t i = 0; i < count; i++)
		p->irq_fds[i] = fds[i];
	nic_msix_enable(p->nic, count == 64 ? UINT64_MAX : (1ull << count) - 1);
	return 0;
}

static int reset(struct pci_device *pci)
{
	nic_reset_function(nic_of(pci));
	return 0;
}

static void doorbell_init(struct pci_device *pci, uint32_t offset, struct pci_doorbell *doorbell)
{
	*doorbell = (struct pci_doorbell){
		.reg = &nic_of(pci)->regs[offset / 4],
		.eventfd = -1,
		.offset = offset,
		.pci = pci,
	};
}

static void close_function(struct pci_device *pci)
{
	nic_client_gone(nic_of(pci));
	nic_of(pci)->frontend.raise = NULL;
	free(pci);
}

int inprocess_open(struct nic *nic, struct pci_device **pci)
{
	static const struct pci_ops ops = {
		.config_read = config_read,
		.config_write = config_write,
		.bar_read = bar_read,
		.bar_write = bar_write,
		.dma_map = dma_map,
		.dma_unmap = dma_unmap,
		.irq_set = irq_set,
		.reset = reset,
		.close = close_function,
	};
	struct inprocess *p = calloc(1, sizeof(*p));

	if (!p)
		return ixy_fail(ENOMEM, "out of memory");
	p->nic = nic;
	p->pci.ops = &ops;
	snprintf(p->pci.name, sizeof(p->pci.name), "inprocess:%s", nic->name);
	p->pci.vendor = (uint16_t)nic_config_read(nic, 0, 2);
	p->pci.device = (uint16_t)nic_config_read(nic, 2, 2);
	p->pci.bars[0].size = NIC_BAR0_SIZE;
	p->pci.iova_mode = DMA_IOVA_VA;
	p->pci.irq_count = NIC_MSIX_VECTORS;
	p->pci.doorbell_init = doorbell_init;
	nic->frontend.raise = raise_vector;
	nic->frontend.context = p;
	*pci = &p->pci;
	return 0;
}
