/*
 * MSI-X: the table and the pending bits in BAR 4, and the way from a vector to the front end.
 *
 * A vector is delivered when MSI-X is enabled, the function mask is clear and the entry's own mask is clear;
 * else its pending bit is set and the message goes out as soon as they are (PCI 3.0, 6.8.2). A message is a
 * write to memory, so it waits for the Bus Master Enable bit too (PCI Express 3.0, 7.5.1.1).
 */
#include "nic.h"

#define CONTROL_MASKED BIT(0)
#define TABLE_SIZE     (NIC_MSIX_VECTORS * (uint32_t)sizeof(struct nic_msix_entry))
#define PBA_SIZE       (NIC_MSIX_VECTORS / 8)

static void deliver(struct nic *nic, unsigned vector)
{
	if (!(nic->msix_pending >> vector & 1) || !nic_msix_enabled(nic) || nic_msix_masked(nic) ||
		nic->msix[vector].control & CONTROL_MASKED || !nic_bus_master(nic))
		return;
	nic->msix_pending &= ~(1ull << vector);
	if (nic->frontend.raise)
		nic->frontend.raise(nic->frontend.context, vector);
}

void nic_msix_raise(struct nic *nic, unsigned vector)
{
	/* While MSI-X is off there is no message and nothing to remember: EICR keeps the cause. */
	if (vector >= NIC_MSIX_VECTORS || !nic_msix_enabled(nic))
		return;
	nic->msix_pending |= 1ull << vector;
	deliver(nic, vector);
}

void nic_msix_deliver(struct nic *nic)
{
	for (uint64_t left = nic->msix_pending; left; left &= left - 1)
		deliver(nic, (unsigned)__builtin_ctzll(left));
}

void nic_msix_update(struct nic *nic)
{
	if (!nic_msix_enabled(nic)) {
		nic->msix_pending = 0;
		return;
	}
	nic_msix_deliver(nic);
	/* Causes that came while MSI-X was off. */
	nic_irq_evaluate(nic);
}

void nic_msix_enable(struct nic *nic, uint64_t vectors)
{
	for (unsigned i = 0; i < NIC_MSIX_VECTORS; i++)
		nic->msix[i].control = vectors >> i & 1 ? 0 : CONTROL_MASKED;
	nic_msix_control(nic, vectors != 0);
	nic_msix_update(nic);
}

void nic_msix_reset(struct nic *nic)
{
	for (unsigned i = 0; i < NIC_MSIX_VECTORS; i++)
		nic->msix[i] = (struct nic_msix_entry){.control = CONTROL_MASKED};
	nic->msix_pending = 0;
}

uint32_t nic_msix_read32(struct nic *nic, uint32_t offset)
{
	if (nic_fault(nic, NIC_FAULT_REMOVED) || nic_asleep(nic))
		return UINT32_MAX;
	if (offset % 4)
		return 0;
	if (offset < TABLE_SIZE)
		return ((const uint32_t *)nic->msix)[offset / 4];
	if (offset - NIC_MSIX_PBA < PBA_SIZE)
		return (uint32_t)(nic->msix_pending >> (8 * (offset - NIC_MSIX_PBA)));
	return 0;
}

void nic_msix_write32(struct nic *nic, uint32_t offset, uint32_t value)
{
	if (offset % 4 || offset >= TABLE_SIZE || nic_fault(nic, NIC_FAULT_REMOVED) || nic_asleep(nic))
		return;
	struct nic_msix_entry *entry = &nic->msix[offset / sizeof *entry];
	switch (offset % sizeof *entry) {
	case 0: entry->address_low = value & ~3u; break;
	case 4: entry->address_high = value; break;
	case 8: entry->data = value; break;
	case 12:
		entry->control = value & CONTROL_MASKED;
		deliver(nic, offset / sizeof *entry);
		break;
	}
}
