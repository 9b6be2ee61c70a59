/*
 * Register semantics as data: the table's row, and the hooks for effects that a row cannot say.
 */
#ifndef SOFTNIC_REGISTERS_H
#define SOFTNIC_REGISTERS_H

#include "nic.h"

#define EICR_EX(n)       (0x00A80 + 4 * (n)) /* n 0..1; the 64 queue causes */
#define NIC_SECURITY_OFF BIT(1)              /* SECRXSTAT, SECTXSTAT: no encryption in this device */

enum register_kind {
	RW,            /* a write changes the bits of mask */
	RO,            /* writes are ignored */
	CLEAR_ON_READ, /* a counter; writes are ignored */
	SET_ON_READ,   /* RW, and a read sets the bits of read_sets after it has seen them: a semaphore */
	W1C,           /* a one clears the bit, within mask */
	HOOKED,        /* the write hook does it all */
	ALIAS,         /* another name for the registers at alias */
};

/* One write, as its hook sees it; the register has the new value already (but for HOOKED). */
struct register_write {
	uint32_t offset;
	unsigned index;   /* in the row's array */
	uint32_t written; /* as it came from the driver */
	uint32_t old, now;
};

/* Rows of count registers, stride bytes apart (0: 4). */
struct register_row {
	const char *name;
	uint32_t offset;
	uint16_t count, stride;
	enum register_kind kind;
	uint32_t mask;  /* writable bits; RW with mask 0 has all of them */
	uint32_t reset; /* of the first register, and of the others unless first_only */
	bool first_only;
	bool kept; /* CTRL.RST and LRST leave it alone */
	uint32_t read_sets;
	uint32_t alias;
	uint16_t alias_stride;
	uint32_t (*read)(struct nic *nic, uint32_t offset); /* instead of the stored value */
	void (*write)(struct nic *nic, const struct register_write *w);
};

extern const struct register_row nic_register_table[];
extern const unsigned nic_register_rows;

/* The row of a register and its index therein, aliases followed (*offset changes then), or NULL. */
const struct register_row *nic_register_find(uint32_t *offset, unsigned *index);

/* register_hooks.c */
uint32_t nic_status_read(struct nic *nic, uint32_t offset);
uint32_t nic_timer_read(struct nic *nic, uint32_t offset);
uint32_t nic_ring_base_read(struct nic *nic, uint32_t offset);
uint32_t nic_ring_length_read(struct nic *nic, uint32_t offset);
void nic_ctrl_write(struct nic *nic, const struct register_write *w);
void nic_esdp_write(struct nic *nic, const struct register_write *w);
void nic_mac_write(struct nic *nic, const struct register_write *w);
void nic_autoc_write(struct nic *nic, const struct register_write *w);
void nic_msca_write(struct nic *nic, const struct register_write *w);
void nic_rxctrl_write(struct nic *nic, const struct register_write *w);
void nic_secrxctrl_write(struct nic *nic, const struct register_write *w);
void nic_sectxctrl_write(struct nic *nic, const struct register_write *w);
void nic_arbitrated_write(struct nic *nic, const struct register_write *w);
void nic_rxdctl_write(struct nic *nic, const struct register_write *w);
void nic_txdctl_write(struct nic *nic, const struct register_write *w);
void nic_eec_hook(struct nic *nic, const struct register_write *w);
void nic_eerd_hook(struct nic *nic, const struct register_write *w);
void nic_i2cctl_hook(struct nic *nic, const struct register_write *w);
uint32_t nic_i2cctl_hook_read(struct nic *nic, uint32_t offset);

/* irq.c */
uint32_t nic_eicr_read(struct nic *nic, uint32_t offset);
uint32_t nic_eics_read(struct nic *nic, uint32_t offset);
void nic_eicr_write(struct nic *nic, const struct register_write *w);
void nic_eics_write(struct nic *nic, const struct register_write *w);
void nic_eims_write(struct nic *nic, const struct register_write *w);
void nic_eimc_write(struct nic *nic, const struct register_write *w);
void nic_eiam_write(struct nic *nic, const struct register_write *w);
void nic_eitr_write(struct nic *nic, const struct register_write *w);
void nic_ivar_write(struct nic *nic, const struct register_write *w);

#endif
