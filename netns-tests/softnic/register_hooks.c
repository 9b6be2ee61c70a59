/*
 * Effects of registers that a row of the table cannot say: resets, the start and stop of the data paths, pins
 * and buses behind a register, and the checks of order.
 */
#include <inttypes.h>

#include "registers.h"

#define MSRWD_NO_ANSWER 0xFFFF0000u
#define ANLP1_AN_STATE  BIT(16) /* any value but 0 in 19:16: auto-negotiation has begun */

/* GIO tells the driver that no DMA is under way any more: at once, as none outlives an event of the loop. */
uint32_t nic_status_read(struct nic *nic, uint32_t offset)
{
	(void)offset;
	uint32_t status = nic->port << 2 & STATUS_LAN_ID;
	if (!(nic_reg(nic, CTRL) & CTRL_GIO_DIS) || nic_fault(nic, NIC_FAULT_NO_MASTER_DONE))
		status |= STATUS_GIO;
	return status;
}

/* Free running, microseconds. */
uint32_t nic_timer_read(struct nic *nic, uint32_t offset)
{
	(void)nic;
	(void)offset;
	return (uint32_t)clock_us();
}

/* The word keeps what was written, so that a misaligned ring is found when its queue is enabled. */
uint32_t nic_ring_base_read(struct nic *nic, uint32_t offset)
{
	return nic_reg(nic, offset) & ~0x7Fu;
}

uint32_t nic_ring_length_read(struct nic *nic, uint32_t offset)
{
	return nic_reg(nic, offset) & ~0x7Fu;
}

/* --- control, link ------------------------------------------------------------------------------------ */

static bool queues_run(const struct nic *nic)
{
	bool rx = nic_reg(nic, RXCTRL) & RXCTRL_RXEN, tx = nic_reg(nic, DMATXCTL) & DMATXCTL_TE;
	for (unsigned q = 0; q < NIC_QUEUES; q++) {
		if ((rx && nic->rxq[q].enabled) || (tx && nic->txq[q].enabled))
			return true;
	}
	return false;
}

void nic_ctrl_write(struct nic *nic, const struct register_write *w)
{
	const uint32_t reset = CTRL_RST | CTRL_LRST;
	if (!(w->written & reset)) {
		nic_reg_set(nic, CTRL, w->written | (w->old & reset));
		return;
	}
	if (!(w->old & (CTRL_GIO_DIS | reset)) && queues_run(nic))
		nic_violate(nic, NIC_VIOLATION_MASTER_RESET, "CTRL written 0x%08x", w->written);
	if (nic_fault(nic, NIC_FAULT_RESET_STUCK))
		nic_reg_set(nic, CTRL, w->written);
	else
		nic_reset_device(nic);
}

/* A pin that is an input shows what the cage drives, whatever is written: SDP2 says that a module is there. */
void nic_esdp_write(struct nic *nic, const struct register_write *w)
{
	const uint32_t pins = 0xFF, outputs = w->now >> 8 & pins, inputs = pins & ~outputs;
	nic_reg_set(nic, ESDP, (w->now & ~inputs) | (inputs & ESDP_SDP2));
	nic_link_update(nic);
}

void nic_mac_write(struct nic *nic, const struct register_write *w)
{
	(void)w;
	nic_link_update(nic);
}

void nic_autoc_write(struct nic *nic, const struct register_write *w)
{
	if (w->written & AUTOC_AN_RESTART)
		nic_reg_set(nic, ANLP1, ANLP1_AN_STATE);
	nic_link_update(nic);
}

/* No PHY is on the MDIO bus: the command ends at once and reads the bus's pull-ups. */
void nic_msca_write(struct nic *nic, const struct register_write *w)
{
	if (w->written & MSCA_MDI_COMMAND)
		nic_reg_set(nic, MSRWD, nic_reg(nic, MSRWD) | MSRWD_NO_ANSWER);
}

void nic_eec_hook(struct nic *nic, const struct register_write *w)
{
	nic_reg_set(nic, EEC, nic_eec_write(nic, w->written));
}

void nic_eerd_hook(struct nic *nic, const struct register_write *w)
{
	nic_reg_set(nic, EERD, nic_eerd_write(nic, w->written));
}

void nic_i2cctl_hook(struct nic *nic, const struct register_write *w)
{
	nic_reg_set(nic, I2CCTL, nic_i2cctl_write(nic, w->written));
}

uint32_t nic_i2cctl_hook_read(struct nic *nic, uint32_t offset)
{
	(void)offset;
	return nic_i2cctl_read(nic);
}

/* --- data paths ----------------------------------------------------------------------------------------- */

static uint64_t arrived(const struct nic *nic)
{
	return nic->stats.rx_frames + nic->stats.rx_missed;
}

static bool rx_quiet(const struct nic *nic)
{
	return nic_reg(nic, SECRXSTAT) & SECRXSTAT_RDY;
}

/*
 * Frames that come in while receive is being turned on can hang the receive DMA (erratum; 4.6.7), unless the
 * security block holds them back. Drivers that skip this get away with it on a quiet wire, and here too.
 */
void nic_rxctrl_write(struct nic *nic, const struct register_write *w)
{
	bool on = w->now & ~w->old & RXCTRL_RXEN, off = w->old & ~w->now & RXCTRL_RXEN;
	if (on && !rx_quiet(nic) && nic->link.up && arrived(nic) != nic->rx_arrived)
		nic_violate(nic, NIC_VIOLATION_RXEN_UNQUIESCED, "%" PRIu64 " frames had come in",
			arrived(nic) - nic->rx_arrived);
	if (on || off)
		nic->rx_arrived = arrived(nic);
	for (unsigned n = 0; on && n < NIC_QUEUES; n++)
		if (nic_reg(nic, RXDCTL(n)) & RXDCTL_ENABLE)
			nic_rx_queue_update(nic, n);
}

void nic_secrxctrl_write(struct nic *nic, const struct register_write *w)
{
	nic_reg_set(nic, SECRXSTAT, NIC_SECURITY_OFF | (w->now & SECRXCTRL_RX_DIS ? SECRXSTAT_RDY : 0));
}

void nic_sectxctrl_write(struct nic *nic, const struct register_write *w)
{
	const uint32_t tx_dis = BIT(1), ready = BIT(0);
	nic_reg_set(nic, SECTXSTAT, NIC_SECURITY_OFF | (w->now & tx_dis ? ready : 0));
}

/* The transmit arbiter must stand still while these change, if there is anything to arbitrate. */
void nic_arbitrated_write(struct nic *nic, const struct register_write *w)
{
	if (w->now != w->old && nic_reg(nic, DMATXCTL) & DMATXCTL_TE &&
		!(nic_reg(nic, RTTDCS) & RTTDCS_ARBDIS))
		nic_violate(nic, NIC_VIOLATION_ARBITER, "register 0x%05x changed from 0x%08x to 0x%08x",
			w->offset, w->old, w->now);
}

void nic_rxdctl_write(struct nic *nic, const struct register_write *w)
{
	nic_rx_queue_update(nic, w->offset < RXQ(64) ? w->index : w->index + 64);
}

void nic_txdctl_write(struct nic *nic, const struct register_write *w)
{
	nic_tx_queue_update(nic, w->index);
}
