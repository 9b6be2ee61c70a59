/*
 * BAR 0: reads and writes of registers, with the semantics that register_table.c lists.
 *
 * The table's rows are expanded once into a map from word to row, so that an access finds its register at
 * once. Registers that do not exist read 0 (all-ones would mean a removed device) and ignore writes.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdint.h>
#include <string.h>

#include "registers.h"

/* The drivers' registers lie in the first 128 KiB; the rest of the BAR is the flash window, not here. */
#define WORDS (0x20000 / 4)

static uint16_t row_of_word[WORDS]; /* row number + 1, or 0 */

static unsigned stride(const struct register_row *row)
{
	return row->stride ? row->stride : 4;
}

static uint32_t register_offset(const struct register_row *row, unsigned index)
{
	return row->offset + index * stride(row);
}

static void expand_table(void)
{
	static bool expanded;
	if (expanded)
		return;
	expanded = true;
	for (unsigned r = 0; r < nic_register_rows; r++) {
		const struct register_row *row = &nic_register_table[r];
		for (unsigned i = 0; i < row->count; i++)
			row_of_word[register_offset(row, i) / 4] = (uint16_t)(r + 1);
	}
}

const struct register_row *nic_register_find(uint32_t *offset, unsigned *index)
{
	for (;;) {
		if (*offset / 4 >= WORDS || !row_of_word[*offset / 4])
			return NULL;
		const struct register_row *row = &nic_register_table[row_of_word[*offset / 4] - 1];
		*index = (*offset - row->offset) / stride(row);
		if (row->kind != ALIAS)
			return row;
		*offset = row->alias + *index * (row->alias_stride ? row->alias_stride : 4);
	}
}

void nic_registers_reset(struct nic *nic, bool power_on)
{
	expand_table();
	for (unsigned r = 0; r < nic_register_rows; r++) {
		const struct register_row *row = &nic_register_table[r];
		if (row->kind == ALIAS || (row->kept && !power_on))
			continue;
		for (unsigned i = 0; i < row->count; i++)
			nic_reg_set(nic, register_offset(row, i), i && row->first_only ? 0 : row->reset);
	}
}

/* --- access ----------------------------------------------------------------------------------------- */

static bool acceptable(struct nic *nic, uint32_t offset, const char *what)
{
	if (offset % 4 == 0 && offset < NIC_BAR0_SIZE)
		return true;
	nic_violate(nic, NIC_VIOLATION_REG_UNALIGNED, "%s at BAR 0 + 0x%x", what, offset);
	return false;
}

uint32_t nic_read32(struct nic *nic, uint32_t offset)
{
	if (nic_fault(nic, NIC_FAULT_REMOVED) || nic_asleep(nic))
		return UINT32_MAX;
	unsigned index;
	const struct register_row *row =
		acceptable(nic, offset, "read") ? nic_register_find(&offset, &index) : NULL;
	if (!row)
		return 0;

	uint32_t value = row->read ? row->read(nic, offset) : nic_reg(nic, offset);
	if (row->kind == CLEAR_ON_READ)
		nic_reg_set(nic, offset, 0);
	else if (row->kind == SET_ON_READ)
		nic_reg_set(nic, offset, value | row->read_sets);
	return value;
}

void nic_write32(struct nic *nic, uint32_t offset, uint32_t value)
{
	if (nic_fault(nic, NIC_FAULT_REMOVED) || nic_asleep(nic) || !acceptable(nic, offset, "write"))
		return;
	struct register_write w = {.offset = offset, .written = value};
	const struct register_row *row = nic_register_find(&w.offset, &w.index);
	if (!row) {
		if (value)
			nic_violate(
				nic, NIC_VIOLATION_REG_RESERVED, "0x%08x to BAR 0 + 0x%05x", value, offset);
		return;
	}

	nic->register_writes++;
	uint32_t mask = row->mask ? row->mask : UINT32_MAX;
	w.old = w.now = nic_reg(nic, w.offset);
	switch (row->kind) {
	case RW:
	case SET_ON_READ: w.now = (w.old & ~mask) | (value & mask); break;
	case W1C: w.now = w.old & ~(value & mask); break;
	default: break;
	}
	if (w.now != w.old)
		nic_reg_set(nic, w.offset, w.now);
	if (row->write)
		row->write(nic, &w);
}

/* Registers are 32 bits wide (8.1.3); a 64-bit access is two of them, anything else silicon does not take. */
int nic_bar_access(struct nic *nic, unsigned bar, uint64_t offset, void *data, uint32_t count, bool write)
{
	bool msix = bar == NIC_MSIX_BAR;
	if ((count != 4 && count != 8) || offset % 4) {
		nic_violate(nic, NIC_VIOLATION_REG_UNALIGNED, "%s of %u bytes at BAR %u + 0x%" PRIx64,
			write ? "write" : "read", count, bar, offset);
		return -EINVAL;
	}
	for (uint32_t i = 0; i < count; i += 4) {
		uint32_t value, at = (uint32_t)offset + i;
		if (write) {
			memcpy(&value, (uint8_t *)data + i, sizeof value);
			if (msix)
				nic_msix_write32(nic, at, value);
			else
				nic_write32(nic, at, value);
		} else {
			value = msix ? nic_msix_read32(nic, at) : nic_read32(nic, at);
			memcpy((uint8_t *)data + i, &value, sizeof value);
		}
	}
	return 0;
}

uint32_t nic_peek32(const struct nic *nic, uint32_t offset)
{
	unsigned index;
	return offset % 4 == 0 && nic_register_find(&offset, &index) ? nic_reg(nic, offset) : 0;
}

/* --- counters --------------------------------------------------------------------------------------- */

void nic_count(struct nic *nic, uint32_t reg, uint32_t n)
{
	unsigned index;
	if (!nic_register_find(&reg, &index))
		return;
	uint32_t value;
	if (__builtin_add_overflow(nic_reg(nic, reg), n, &value))
		value = UINT32_MAX;
	nic_reg_set(nic, reg, value);
}

void nic_count64(struct nic *nic, uint32_t reg_low, uint64_t n)
{
	const uint64_t max = (1ull << 36) - 1;
	uint64_t value = nic_reg(nic, reg_low) | (uint64_t)nic_reg(nic, reg_low + 4) << 32;
	if (__builtin_add_overflow(value, n, &value) || value > max)
		value = max;
	nic_reg_set(nic, reg_low, (uint32_t)value);
	nic_reg_set(nic, reg_low + 4, (uint32_t)(value >> 32));
}
