/*
 * The software NIC's registers: what each kind of register does on a read and on a write, resets, and the
 * checks of order.
 */
#include <sys/mman.h>
#include <unistd.h>

#include "netns-tests/softnic/registers.h"
#include "nic_fixture.h"

#define FLUSH_LOW  0xFFFFFF80u
#define ANY_FRAMES 3

static uint64_t violated(const struct nic *nic, enum nic_violation v)
{
	assert_int_equal(nic_violations(nic), nic->violation[v]);
	return nic->violation[v];
}

static void test_a_register_that_does_not_exist_reads_0_and_a_write_to_it_is_counted(void **state)
{
	struct nic *nic = fixture_nic(state);
	assert_int_equal(nic_read32(nic, 0x05FFC), 0);
	assert_int_equal(nic_read32(nic, 0x7FFFC), 0);
	nic_write32(nic, 0x05FFC, 0);
	assert_int_equal(nic_violations(nic), 0);
	nic_write32(nic, 0x05FFC, 1);
	assert_int_equal(violated(nic, NIC_VIOLATION_REG_RESERVED), 1);
	assert_int_equal(nic_read32(nic, 0x05FFC), 0);
}

static void test_an_access_that_is_not_aligned_or_outside_is_counted_and_has_no_effect(void **state)
{
	struct nic *nic = fixture_nic(state);
	nic_write32(nic, FCTRL + 2, UINT32_MAX);
	nic_write32(nic, NIC_BAR0_SIZE, UINT32_MAX);
	nic_write32(nic, UINT32_MAX - 3, UINT32_MAX);
	assert_int_equal(nic_read32(nic, NIC_BAR0_SIZE), 0);
	assert_int_equal(nic_read32(nic, FCTRL), 0);
	assert_int_equal(violated(nic, NIC_VIOLATION_REG_UNALIGNED), 4);
}

static void test_each_word_of_the_table_belongs_to_one_register(void **state)
{
	struct nic *nic = fixture_nic(state);
	(void)nic;
	for (unsigned r = 0; r < nic_register_rows; r++) {
		const struct register_row *row = &nic_register_table[r];
		if (row->kind == ALIAS)
			continue;
		for (unsigned i = 0; i < row->count; i++) {
			uint32_t offset = row->offset + i * (row->stride ? row->stride : 4), found = offset;
			unsigned index;
			assert_ptr_equal(nic_register_find(&found, &index), row);
			assert_int_equal(found, offset);
			assert_int_equal(index, i);
		}
	}
}

static void test_an_alias_is_the_same_register(void **state)
{
	static const struct {
		uint32_t name, other;
	} pairs[] = {
		{SRRCTL(15), SRRCTL_LEGACY(15)},
		{DCA_RXCTRL(3), DCA_RXCTRL_LEGACY(3)},
		{RAL(15), RAL_LEGACY(15)},
		{RAH(1), RAH_LEGACY(1)},
		{PSRTYPE(15), PSRTYPE_LEGACY(15)},
		{RETA(31), RETA_LEGACY(31)},
		{RSSRK(9), RSSRK_LEGACY(9)},
		{MRQC, MRQC_ALIAS},
		{CTRL, CTRL_ALIAS},
	};
	struct nic *nic = fixture_nic(state);
	for (size_t i = 0; i < sizeof pairs / sizeof *pairs; i++) {
		nic_write32(nic, pairs[i].other, 0x00001004);
		assert_int_equal(nic_read32(nic, pairs[i].name), 0x00001004);
		nic_write32(nic, pairs[i].name, 0x00000104);
		assert_int_equal(nic_read32(nic, pairs[i].other), 0x00000104);
		assert_int_equal(nic_peek32(nic, pairs[i].other), 0x00000104);
	}
}

static void test_a_counter_clears_on_read_by_either_of_its_names(void **state)
{
	struct nic *nic = fixture_nic(state);
	nic_count(nic, QPTC(5), 7);
	assert_int_equal(nic_peek32(nic, QPTC(5)), 7);
	assert_int_equal(nic_read32(nic, QPTC_ALIAS(5)), 7);
	assert_int_equal(nic_read32(nic, QPTC(5)), 0);
	nic_count(nic, QPTC_ALIAS(5), 2);
	assert_int_equal(nic_read32(nic, QPTC(5)), 2);
	nic_write32(nic, GPRC, 5);
	assert_int_equal(nic_read32(nic, GPRC), 0);
}

static void test_a_counter_sticks_at_its_end_instead_of_wrapping(void **state)
{
	struct nic *nic = fixture_nic(state);
	nic_count(nic, GPRC, UINT32_MAX - 1);
	nic_count(nic, GPRC, 5);
	assert_int_equal(nic_read32(nic, GPRC), UINT32_MAX);

	nic_count64(nic, GORCL, UINT32_MAX);
	nic_count64(nic, GORCL, 2);
	assert_int_equal(nic_read32(nic, GORCL), 1);
	assert_int_equal(nic_read32(nic, GORCH), 1);
	nic_count64(nic, GORCL, UINT64_MAX);
	assert_int_equal(nic_read32(nic, GORCL), UINT32_MAX);
	assert_int_equal(nic_read32(nic, GORCH), 0xF);
}

static void test_reading_the_semaphore_takes_it(void **state)
{
	struct nic *nic = fixture_nic(state);
	assert_int_equal(nic_read32(nic, SWSM) & SWSM_SMBI, 0);
	assert_int_equal(nic_read32(nic, SWSM) & SWSM_SMBI, SWSM_SMBI);
	nic_write32(nic, SWSM, SWSM_SMBI | SWSM_SWESMBI);
	assert_int_equal(nic_read32(nic, SWSM), SWSM_SMBI | SWSM_SWESMBI);
	nic_write32(nic, SWSM, 0);
	assert_int_equal(nic_read32(nic, SWSM) & SWSM_SMBI, 0);
}

/* What `ethtool -t` of the Linux driver expects of the bits of a register. */
static void test_registers_store_the_bits_that_silicon_has(void **state)
{
	static const struct {
		uint32_t offset, written, kept;
	} registers[] = {
		{FCRTL(0), 0x8007FFF0, 0x8007FFF0},
		{FCRTH(0), 0x8007FFF0, 0x8007FFF0},
		{0x03008, 0xFFFFFFFF, 0xFFFFFFFF}, /* PFCTOP */
		{RDBAL(0), 0xFFFFFFFF, FLUSH_LOW},
		{RDBAH(1), 0xFFFFFFFF, 0xFFFFFFFF},
		{RDLEN(2), 0x000FFFFF, 0x000FFF80},
		{RDT(3), 0x0000FFFF, 0x0000FFFF},
		{FCTTV(0), 0xFFFFFFFF, 0xFFFFFFFF},
		{TDBAL(0), 0xFFFFFFFF, FLUSH_LOW},
		{TDBAH(3), 0xFFFFFFFF, 0xFFFFFFFF},
		{TDLEN(1), 0x000FFF80, 0x000FFF80},
		{RAL(15), 0xFFFFFFFF, 0xFFFFFFFF},
		{RAH(15), 0x800CFFFF, 0x8000FFFF},
		{MTA(127), 0xFFFFFFFF, 0xFFFFFFFF},
		{MAXFRS, 0xFFFFFFFF, 0xFFFF0000},
		{DTXMXSZRQ, 0xFFFFFFFF, 0x00000FFF},
	};
	static const uint32_t patterns[] = {0x5A5A5A5A, 0xA5A5A5A5, 0, UINT32_MAX};
	struct nic *nic = fixture_nic(state);
	for (size_t i = 0; i < sizeof registers / sizeof *registers; i++) {
		for (size_t p = 0; p < sizeof patterns / sizeof *patterns; p++) {
			uint32_t value = patterns[p] & registers[i].written;
			nic_write32(nic, registers[i].offset, value);
			assert_int_equal(nic_read32(nic, registers[i].offset), value & registers[i].kept);
		}
	}
	assert_int_equal(nic_violations(nic), 0);
}

static void test_read_only_registers_ignore_writes(void **state)
{
	static const uint32_t offsets[] = {STATUS, LINKS, FWSM, FACTPS, ANLP1, SECRXSTAT, EEMNGCTL};
	struct nic *nic = fixture_nic(state);
	for (size_t i = 0; i < sizeof offsets / sizeof *offsets; i++) {
		uint32_t before = nic_read32(nic, offsets[i]);
		nic_write32(nic, offsets[i], ~before);
		assert_int_equal(nic_read32(nic, offsets[i]), before);
	}
	nic_write32(nic, RDRXCTL, 0);
	assert_int_equal(nic_read32(nic, RDRXCTL), RDRXCTL_DMAIDONE);
}

static void test_peeking_changes_nothing(void **state)
{
	struct nic *nic = fixture_nic(state);
	nic_count(nic, GPRC, 4);
	assert_int_equal(nic_peek32(nic, GPRC), 4);
	assert_int_equal(nic_peek32(nic, GPRC), 4);
	assert_int_equal(nic_peek32(nic, SWSM), 0);
	assert_int_equal(nic_peek32(nic, SWSM), 0);
	assert_int_equal(nic_peek32(nic, 3), 0);
	assert_int_equal(nic_peek32(nic, UINT32_MAX - 3), 0);
}

static void test_a_device_reset_is_over_at_once_and_restores_the_registers(void **state)
{
	struct nic *nic = fixture_nic(state);
	nic_write32(nic, FCTRL, FCTRL_UPE);
	nic_write32(nic, RAL(0), 0x12345678);
	nic_write32(nic, RAH(0), 0);
	nic_write32(nic, RDLEN(64), 0x1000);
	nic_count(nic, GPRC, 9);
	nic_write32(nic, CTRL, CTRL_RST);
	assert_int_equal(nic_read32(nic, CTRL), 0);
	assert_int_equal(nic_read32(nic, FCTRL), 0);
	assert_int_equal(nic_read32(nic, RDLEN(64)), 0);
	assert_int_equal(nic_read32(nic, GPRC), 0);
	assert_int_equal(nic_read32(nic, RAL(0)), 0x33221102);
	assert_int_equal(nic_read32(nic, RAH(0)), RAH_AV | 0x5544);
	assert_int_equal(nic_read32(nic, RAH(1)), 0);
	assert_int_equal(nic_violations(nic), 0);
}

static void test_a_device_reset_leaves_pins_and_semaphores_alone_but_a_function_reset_does_not(void **state)
{
	struct nic *nic = fixture_nic(state);
	nic_write32(nic, ESDP, ESDP_SDP3_DIR | ESDP_SDP3);
	nic_write32(nic, SW_FW_SYNC, 5);
	nic_write32(nic, CTRL, CTRL_LRST);
	assert_int_equal(nic_read32(nic, ESDP), ESDP_SDP3_DIR | ESDP_SDP3 | ESDP_SDP2);
	assert_int_equal(nic_read32(nic, SW_FW_SYNC), 5);
	nic_reset_function(nic);
	assert_int_equal(nic_read32(nic, ESDP), ESDP_SDP3_DIR | ESDP_SDP2);
	assert_int_equal(nic_read32(nic, SW_FW_SYNC), 0);
}

static void test_status_shows_when_the_master_is_disabled(void **state)
{
	struct nic *nic = fixture_nic(state);
	assert_int_equal(nic_read32(nic, STATUS), STATUS_GIO);
	nic_write32(nic, CTRL, CTRL_GIO_DIS);
	assert_int_equal(nic_read32(nic, STATUS), 0);
	assert_int_equal(nic_fault_set(nic, "no-master-done", 1), 0);
	assert_int_equal(nic_read32(nic, STATUS), STATUS_GIO);
	assert_int_equal(nic_read32(nic, STATUS), STATUS_GIO);
	nic_write32(nic, CTRL, CTRL_RST);
	assert_int_equal(nic_read32(nic, STATUS), STATUS_GIO);
}

static void test_a_stuck_reset_ends_when_the_fault_is_cleared(void **state)
{
	struct nic *nic = fixture_nic(state);
	nic_fault_set(nic, "reset-stuck", UINT64_MAX);
	nic_write32(nic, FCTRL, FCTRL_UPE);
	nic_write32(nic, CTRL, CTRL_RST);
	assert_int_equal(nic_read32(nic, CTRL), CTRL_RST);
	nic_write32(nic, CTRL, 0);
	assert_int_equal(nic_read32(nic, CTRL), CTRL_RST);
	assert_int_equal(nic_read32(nic, FCTRL), FCTRL_UPE);
	nic_fault_set(nic, "reset-stuck", 0);
	assert_int_equal(nic_read32(nic, CTRL), 0);
	assert_int_equal(nic_read32(nic, FCTRL), 0);
}

static void test_a_reset_under_running_queues_is_a_violation_unless_the_master_is_disabled(void **state)
{
	struct nic *nic = fixture_nic(state);
	nic_reg_set(nic, RXCTRL, RXCTRL_RXEN);
	nic->rxq[100].enabled = true;
	nic_write32(nic, CTRL, CTRL_RST);
	assert_int_equal(violated(nic, NIC_VIOLATION_MASTER_RESET), 1);

	nic_reg_set(nic, DMATXCTL, DMATXCTL_TE);
	nic->txq[0].enabled = true;
	nic_write32(nic, CTRL, CTRL_GIO_DIS);
	nic_write32(nic, CTRL, CTRL_GIO_DIS | CTRL_RST);
	nic_write32(nic, CTRL, CTRL_RST); /* nothing runs any more */
	assert_int_equal(violated(nic, NIC_VIOLATION_MASTER_RESET), 1);
}

static void link_up_with_frames_arriving(struct nic *nic)
{
	nic_wire_carrier(nic, true);
	nic->stats.rx_missed += ANY_FRAMES;
}

static void test_turning_receive_on_amid_traffic_needs_the_security_block_to_hold_it_back(void **state)
{
	struct nic *nic = fixture_nic(state);
	nic_write32(nic, RXCTRL, RXCTRL_RXEN); /* a quiet wire */
	nic_write32(nic, RXCTRL, 0);
	assert_int_equal(nic_violations(nic), 0);

	link_up_with_frames_arriving(nic);
	nic_write32(nic, SECRXCTRL, SECRXCTRL_RX_DIS | SECRXCTRL_SECRX_DIS);
	assert_true(nic_read32(nic, SECRXSTAT) & SECRXSTAT_RDY);
	nic_write32(nic, RXCTRL, RXCTRL_RXEN);
	nic_write32(nic, SECRXCTRL, SECRXCTRL_SECRX_DIS);
	assert_false(nic_read32(nic, SECRXSTAT) & SECRXSTAT_RDY);
	nic_write32(nic, RXCTRL, 0);
	assert_int_equal(nic_violations(nic), 0);

	link_up_with_frames_arriving(nic);
	nic_write32(nic, RXCTRL, RXCTRL_RXEN);
	assert_int_equal(violated(nic, NIC_VIOLATION_RXEN_UNQUIESCED), 1);
}

static void test_the_arbiter_must_rest_while_its_limits_change_under_running_transmit(void **state)
{
	struct nic *nic = fixture_nic(state);
	nic_write32(nic, DTXMXSZRQ, 0x20);
	nic_write32(nic, DMATXCTL, DMATXCTL_TE);
	nic_write32(nic, DTXMXSZRQ, 0x20); /* no change */
	nic_write32(nic, RTTDCS, RTTDCS_ARBDIS);
	nic_write32(nic, DTXMXSZRQ, 0xFFF);
	nic_write32(nic, TXPBSIZE(1), 0x400);
	nic_write32(nic, MTQC, 1);
	nic_write32(nic, RTTDCS, 0);
	assert_int_equal(nic_violations(nic), 0);
	nic_write32(nic, MTQC, 0);
	nic_write32(nic, TXPBSIZE(1), 0);
	assert_int_equal(violated(nic, NIC_VIOLATION_ARBITER), 2);
}

static void test_an_mdio_command_ends_at_once_and_finds_no_phy(void **state)
{
	struct nic *nic = fixture_nic(state);
	nic_write32(nic, MSCA, MSCA_MDI_COMMAND | 0x2);
	assert_int_equal(nic_read32(nic, MSCA), 0x2);
	assert_int_equal(nic_read32(nic, MSRWD) >> 16, 0xFFFF);
}

/* Features that the model lacks: full drivers initialize them, and some wait for a bit. */
static void test_registers_of_features_that_are_not_modelled_are_remembered_or_ready(void **state)
{
	static const uint32_t offsets[] = {
		0x0EE68, /* FDIRHKEY */
		0x0EE28, /* FDIRHASH */
		0x05100, /* FCRXCTRL */
		0x02418, /* FCBUFF */
		0x04910, /* RTTDT2C */
		0x0C800, /* RTTUP2TC */
		0x0F000, /* PFVML2FLT */
		0x04B00, /* PFMAILBOX */
		0x13FFC, /* PFMBMEM */
		0x08908, /* IPSTXKEY */
		0x08F04, /* LSECRXCTRL */
		0x08C14, /* TIMINCA */
		0x05808, /* WUFC */
		0x09000, /* FHFT */
		0x11050, /* GCR_EXT */
	};
	struct nic *nic = fixture_nic(state);
	for (size_t i = 0; i < sizeof offsets / sizeof *offsets; i++) {
		nic_write32(nic, offsets[i], 0x01020304);
		assert_int_equal(nic_read32(nic, offsets[i]), 0x01020304);
	}
	nic_write32(nic, FDIRCTRL, 1);
	assert_int_equal(nic_read32(nic, FDIRCTRL), BIT(3) | 1); /* INIT_DONE */
	nic_write32(nic, 0x0EE2C, 1);
	assert_int_equal(nic_read32(nic, 0x0EE2C) & 3, 0); /* FDIRCMD is over */
	assert_int_equal(nic_violations(nic), 0);
}

static void test_a_removed_device_reads_all_ones_and_takes_no_writes(void **state)
{
	struct nic *nic = fixture_nic(state);
	assert_int_equal(nic_fault_set(nic, "removed", UINT64_MAX), 0);
	assert_int_equal(nic_read32(nic, STATUS), UINT32_MAX);
	assert_int_equal(nic_read32(nic, 0x05FFC), UINT32_MAX);
	assert_int_equal(nic_msix_read32(nic, 0), UINT32_MAX);
	assert_int_equal(nic_config_read(nic, 0, 2), 0xFFFF);
	nic_write32(nic, FCTRL, FCTRL_UPE);
	nic_write32(nic, 0x05FFC, 1);
	nic_config_write(nic, 4, 2, 4);
	nic->pages_mapped = true;
	nic_reg_set(nic, TDT(0), 7); /* a doorbell from a client that has not noticed yet */
	nic_scan_mapped(nic);
	nic_fault_set(nic, "removed", 0);
	assert_int_equal(nic_read32(nic, FCTRL), 0);
	assert_false(nic_bus_master(nic));
	assert_int_equal(nic_violations(nic), 0);
}

static void test_faults_strike_as_often_as_asked_and_states_stay(void **state)
{
	struct nic *nic = fixture_nic(state);
	assert_int_equal(nic_fault_set(nic, "no-such-fault", 1), -22);
	nic_fault_set(nic, "rx-no-eop", 2);
	assert_true(nic_fault(nic, NIC_FAULT_RX_NO_EOP));
	assert_true(nic_fault(nic, NIC_FAULT_RX_NO_EOP));
	assert_false(nic_fault(nic, NIC_FAULT_RX_NO_EOP));
	nic_fault_set(nic, "tx-hang", 1);
	assert_true(nic_fault(nic, NIC_FAULT_TX_HANG));
	assert_true(nic_fault(nic, NIC_FAULT_TX_HANG));
	nic_write32(nic, CTRL, CTRL_RST);
	assert_false(nic_fault(nic, NIC_FAULT_TX_HANG));
}

static void test_a_store_to_the_shared_page_is_a_write_of_the_register(void **state)
{
	struct nic *nic = fixture_nic(state);
	uint8_t *bar = mmap(NULL, NIC_BAR0_SIZE, PROT_READ | PROT_WRITE, MAP_SHARED, nic->regs_fd, 0);
	assert_ptr_not_equal(bar, MAP_FAILED);
	*(volatile uint32_t *)(bar + TDT(63)) = 12;
	*(volatile uint32_t *)(bar + RDT(64)) = 13;
	*(volatile uint32_t *)(bar + FCTRL) = 14;
	assert_int_equal(nic_read32(nic, TDT(63)), 12);
	assert_int_equal(nic_read32(nic, RDT(64)), 13);
	assert_int_equal(nic_read32(nic, FCTRL), 0); /* beyond the client's reach */
	assert_int_equal(ftruncate(nic->regs_fd, 0), -1);

	/* Whoever keeps the mapping after he has gone writes to nobody's registers. */
	nic_client_gone(nic);
	*(volatile uint32_t *)(bar + TDT(63)) = 15;
	assert_int_equal(nic_read32(nic, TDT(63)), 0);
	munmap(bar, NIC_BAR0_SIZE);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		nic_test(test_a_register_that_does_not_exist_reads_0_and_a_write_to_it_is_counted),
		nic_test(test_an_access_that_is_not_aligned_or_outside_is_counted_and_has_no_effect),
		nic_test(test_each_word_of_the_table_belongs_to_one_register),
		nic_test(test_an_alias_is_the_same_register),
		nic_test(test_a_counter_clears_on_read_by_either_of_its_names),
		nic_test(test_a_counter_sticks_at_its_end_instead_of_wrapping),
		nic_test(test_reading_the_semaphore_takes_it),
		nic_test(test_registers_store_the_bits_that_silicon_has),
		nic_test(test_read_only_registers_ignore_writes),
		nic_test(test_peeking_changes_nothing),
		nic_test(test_a_device_reset_is_over_at_once_and_restores_the_registers),
		nic_test(test_a_device_reset_leaves_pins_and_semaphores_alone_but_a_function_reset_does_not),
		nic_test(test_status_shows_when_the_master_is_disabled),
		nic_test(test_a_stuck_reset_ends_when_the_fault_is_cleared),
		nic_test(test_a_reset_under_running_queues_is_a_violation_unless_the_master_is_disabled),
		nic_test(test_turning_receive_on_amid_traffic_needs_the_security_block_to_hold_it_back),
		nic_test(test_the_arbiter_must_rest_while_its_limits_change_under_running_transmit),
		nic_test(test_an_mdio_command_ends_at_once_and_finds_no_phy),
		nic_test(test_registers_of_features_that_are_not_modelled_are_remembered_or_ready),
		nic_test(test_a_removed_device_reads_all_ones_and_takes_no_writes),
		nic_test(test_faults_strike_as_often_as_asked_and_states_stay),
		nic_test(test_a_store_to_the_shared_page_is_a_write_of_the_register),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
