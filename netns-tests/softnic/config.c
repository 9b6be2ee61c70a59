/*
 * PCI configuration space, as an 82599 card shows it (9.3).
 *
 *	0x40 power management   0x50 MSI   0x70 MSI-X   0xA0 PCI Express (FLR)   0x100 AER   0x140 serial number
 *
 * The offsets are part of the interface: Intel's drivers read 0xAA, 0xB2 and 0xC8 without looking for the
 * capability. Next to the bytes lies a mask of those bits that a write changes; BAR sizing falls out of it.
 */
#include <stdio.h>
#include <string.h>

#include "nic.h"

#define COMMAND             0x04
#define COMMAND_MASTER      BIT(2)
#define COMMAND_WRITABLE    0x0547 /* I/O, memory, master, parity, SERR, INTx disable */
#define STATUS_CAPABILITIES 0x0010
#define BAR(n)              (0x10 + 4 * (n))
#define BAR_64BIT           0x4u
#define BAR_PREFETCHABLE    0x8u
#define PM                  0x40
#define PMCSR               (PM + 4)
#define PMCSR_STATE         3u
#define PMCSR_D3HOT         3u
#define PMCSR_PME_ENABLE    BIT(8)
#define MSI                 0x50
#define MSIX                0x70
#define MSIX_CONTROL        (MSIX + 2)
#define MSIX_ENABLE         BIT(15)
#define MSIX_MASKALL        BIT(14)
#define PCIE                0xA0
#define PCIE_DEVICE_CONTROL (PCIE + 8)
#define DEVICE_CONTROL_FLR  BIT(15) /* reads 0 */
#define AER                 0x100
#define SERIAL              0x140

static uint32_t get(const uint8_t *bytes, unsigned size)
{
	uint32_t value = 0;
	for (unsigned i = 0; i < size; i++)
		value |= (uint32_t)bytes[i] << (8 * i);
	return value;
}

static void put(uint8_t *bytes, unsigned size, uint32_t value)
{
	for (unsigned i = 0; i < size; i++)
		bytes[i] = (uint8_t)(value >> (8 * i));
}

struct config_field {
	uint16_t offset;
	uint8_t size;
	uint32_t value;
	uint32_t mask; /* writable bits */
};

static const struct config_field fields[] = {
	{0x00, 2, PCI_VENDOR_INTEL, 0},
	{0x02, 2, PCI_DEVICE_82599_SFP, 0},
	{COMMAND, 2, 0, COMMAND_WRITABLE},
	{0x06, 2, STATUS_CAPABILITIES, 0},
	{0x08, 4, 0x02000001, 0}, /* Ethernet controller, revision 1 */
	{0x0C, 1, 0, 0xFF},       /* cache line size */
	{0x2C, 2, PCI_VENDOR_INTEL, 0},
	{0x2E, 2, 0x0003, 0}, /* X520-2 */
	{0x34, 1, PM, 0},
	{0x3C, 1, 0, 0xFF}, /* interrupt line: software's notepad */
	{0x3D, 1, 1, 0},    /* INTA */

	/* PME from D0 and D3hot, device specific initialization, version 3; neither D1 nor D2 */
	{PM, 4, 0x48230000 | MSI << 8 | 0x01, 0},
	/* No_Soft_Reset is 0: the way back from D3hot resets the function (9.3, PMCSR). */
	{PMCSR, 2, 0, PMCSR_STATE | PMCSR_PME_ENABLE},

	/* MSI: one vector, 64-bit address, maskable */
	{MSI, 4, 0x01800000 | MSIX << 8 | 0x05, 0x00010000},
	{MSI + 4, 4, 0, 0xFFFFFFFC},
	{MSI + 8, 4, 0, 0xFFFFFFFF},
	{MSI + 12, 2, 0, 0xFFFF},
	{MSI + 16, 4, 0, 1},

	{MSIX, 2, PCIE << 8 | 0x11, 0},
	{MSIX_CONTROL, 2, NIC_MSIX_VECTORS - 1, MSIX_ENABLE | MSIX_MASKALL},
	{MSIX + 4, 4, NIC_MSIX_BAR, 0},
	{MSIX + 8, 4, NIC_MSIX_PBA | NIC_MSIX_BAR, 0},

	/* PCI Express endpoint, 5 GT/s x8, function-level reset */
	{PCIE, 4, 0x00020010, 0},
	{PCIE + 4, 4, 0x10008CC2, 0},
	{PCIE_DEVICE_CONTROL, 2, 0x2810, 0x78FF},
	{PCIE + 0x0C, 4, 0x00000482, 0},
	{PCIE + 0x10, 2, 0, 0x00C3},
	{PCIE + 0x12, 2, 0x1082, 0},
	{PCIE + 0x24, 4, 0x0000001F, 0},
	{PCIE + 0x28, 2, 0, 0x001F},
	{PCIE + 0x30, 2, 0x0002, 0},

	{AER, 4, SERIAL << 20 | 0x00010001, 0},
	{AER + 0x08, 4, 0, 0x003FF030},
	{AER + 0x0C, 4, 0x00062030, 0x003FF030},
	{AER + 0x14, 4, 0x00002000, 0x000031C1},

	{SERIAL, 4, 0x00010003, 0},
};

static void set_bar(struct nic *nic, unsigned bar, uint32_t size)
{
	put(nic->config + BAR(bar), 4, nic->bar32 ? 0 : BAR_64BIT | BAR_PREFETCHABLE);
	put(nic->config_mask + BAR(bar), 4, ~(size - 1));
	if (!nic->bar32)
		put(nic->config_mask + BAR(bar + 1), 4, UINT32_MAX);
}

void nic_config_reset(struct nic *nic)
{
	memset(nic->config, 0, sizeof nic->config);
	memset(nic->config_mask, 0, sizeof nic->config_mask);
	for (size_t i = 0; i < sizeof fields / sizeof *fields; i++) {
		put(nic->config + fields[i].offset, fields[i].size, fields[i].value);
		put(nic->config_mask + fields[i].offset, fields[i].size, fields[i].mask);
	}
	set_bar(nic, 0, NIC_BAR0_SIZE);
	set_bar(nic, NIC_MSIX_BAR, NIC_MSIX_SIZE);

	/* The serial number is the MAC address as an EUI-64, lowest byte first. */
	const uint8_t *mac = nic->mac;
	const uint8_t serial[8] = {mac[5], mac[4], mac[3], 0xFF, 0xFF, mac[2], mac[1], mac[0]};
	memcpy(nic->config + SERIAL + 4, serial, sizeof serial);
}

static bool in_range(uint32_t offset, unsigned size)
{
	return (size == 1 || size == 2 || size == 4) && offset <= NIC_CONFIG_SIZE - size;
}

uint32_t nic_config_read(struct nic *nic, uint32_t offset, unsigned size)
{
	if (!in_range(offset, size) || nic_fault(nic, NIC_FAULT_REMOVED))
		return UINT32_MAX >> (size < 4 ? 32 - 8 * size : 0);
	return get(nic->config + offset, size);
}

/* True if a write of size bytes at offset covers the byte at. */
static bool covers(uint32_t offset, unsigned size, uint32_t at)
{
	return at - offset < size;
}

/*
 * D3hot (5.2.5.3): the function answers configuration accesses and nothing else, and starts nothing of its own.
 * The parts ask nic_asleep() for that; whatever a driver left running ends with the reset on the way back to D0.
 * D1 and D2 do not exist, and a state that does not exist is not entered (PCI PM 1.2, 3.2.4).
 */
static void change_power_state(struct nic *nic, uint8_t before)
{
	uint8_t now = nic->config[PMCSR] & PMCSR_STATE;
	if (now != 0 && now != PMCSR_D3HOT) {
		nic->config[PMCSR] = (uint8_t)((nic->config[PMCSR] & ~PMCSR_STATE) | before);
	} else if (before == PMCSR_D3HOT && now == 0) {
		/* What would wake the system outlasts the reset. */
		uint32_t pme = get(nic->config + PMCSR, 2) & PMCSR_PME_ENABLE;
		nic_reset_function(nic);
		put(nic->config + PMCSR, 2, pme);
	}
}

void nic_config_write(struct nic *nic, uint32_t offset, unsigned size, uint32_t value)
{
	if (!in_range(offset, size) || nic_fault(nic, NIC_FAULT_REMOVED))
		return;
	uint8_t power_state = nic->config[PMCSR] & PMCSR_STATE;
	bool master = nic_bus_master(nic);
	for (unsigned i = 0; i < size; i++) {
		uint8_t *byte = nic->config + offset + i, mask = nic->config_mask[offset + i];
		*byte = (*byte & ~mask) | ((uint8_t)(value >> (8 * i)) & mask);
	}

	uint32_t flr = PCIE_DEVICE_CONTROL + 1;
	if (covers(offset, size, flr) && value >> (8 * (flr - offset)) & DEVICE_CONTROL_FLR >> 8) {
		nic_reset_function(nic);
		return;
	}
	change_power_state(nic, power_state);
	if (covers(offset, size, MSIX_CONTROL + 1))
		nic_msix_update(nic);
	else if (!master && nic_bus_master(nic))
		nic_msix_deliver(nic);
}

bool nic_bus_master(const struct nic *nic)
{
	return nic->config[COMMAND] & COMMAND_MASTER && !nic_asleep(nic);
}

bool nic_asleep(const struct nic *nic)
{
	return nic->config[PMCSR] & PMCSR_STATE;
}

bool nic_msix_enabled(const struct nic *nic)
{
	return get(nic->config + MSIX_CONTROL, 2) & MSIX_ENABLE;
}

bool nic_msix_masked(const struct nic *nic)
{
	return get(nic->config + MSIX_CONTROL, 2) & MSIX_MASKALL;
}

void nic_msix_control(struct nic *nic, bool enable)
{
	put(nic->config + MSIX_CONTROL, 2, (NIC_MSIX_VECTORS - 1) | (enable ? MSIX_ENABLE : 0));
}
