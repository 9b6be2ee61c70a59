/*
 * The software NIC's configuration space: identity, capabilities where drivers look for them, BAR sizing,
 * write masks, function-level reset.
 */
#include "nic_fixture.h"

static uint32_t rd(struct nic *nic, uint32_t offset, unsigned size)
{
	return nic_config_read(nic, offset, size);
}

static void test_it_is_an_82599_with_sfp(void **state)
{
	struct nic *nic = fixture_nic(state);
	assert_int_equal(rd(nic, 0x00, 4), 0x10FB8086);
	assert_int_equal(rd(nic, 0x08, 4) >> 8, 0x020000);
	assert_int_equal(rd(nic, 0x2C, 2), 0x8086);
	assert_int_equal(rd(nic, 0x28, 4), 0);
}

static void test_the_capabilities_lie_where_drivers_look_for_them(void **state)
{
	static const struct {
		uint8_t offset, id;
	} chain[] = {{0x40, 0x01}, {0x50, 0x05}, {0x70, 0x11}, {0xA0, 0x10}};
	struct nic *nic = fixture_nic(state);
	assert_int_equal(rd(nic, 0x06, 2) & 0x10, 0x10);
	uint32_t at = rd(nic, 0x34, 1);
	for (size_t i = 0; i < sizeof chain / sizeof *chain; i++) {
		assert_int_equal(at, chain[i].offset);
		assert_int_equal(rd(nic, at, 1), chain[i].id);
		at = rd(nic, at + 1, 1);
	}
	assert_int_equal(at, 0);
	assert_int_equal(rd(nic, 0x72, 2), 63);           /* 64 vectors */
	assert_int_equal(rd(nic, 0x74, 4), NIC_MSIX_BAR); /* table at the start of BAR 4 */
	assert_int_equal(rd(nic, 0x78, 4), NIC_MSIX_PBA | 4);
	assert_int_equal(rd(nic, 0xAA, 2) & BIT(5), 0);         /* no transactions pending */
	assert_int_equal(rd(nic, 0xB2, 2) & 0x3FF, 8 << 4 | 2); /* x8 at 5 GT/s */
	assert_int_equal(rd(nic, 0xA4, 4) & BIT(28), BIT(28));  /* FLR */
	assert_int_equal(rd(nic, 0x100, 2), 0x0001);
	assert_int_equal(rd(nic, rd(nic, 0x102, 2) >> 4, 2), 0x0003);
}

static void test_the_serial_number_is_the_address(void **state)
{
	struct nic *nic = fixture_nic(state);
	assert_int_equal(rd(nic, 0x144, 4), 0xFF334455);
	assert_int_equal(rd(nic, 0x148, 4), 0x021122FF);
}

static uint32_t size_bar(struct nic *nic, uint32_t offset)
{
	uint32_t before = rd(nic, offset, 4);
	nic_config_write(nic, offset, 4, UINT32_MAX);
	uint32_t mask = rd(nic, offset, 4);
	nic_config_write(nic, offset, 4, before);
	assert_int_equal(rd(nic, offset, 4), before);
	return mask;
}

static void test_bars_are_64_bit_and_tell_their_sizes(void **state)
{
	struct nic *nic = fixture_nic(state);
	assert_int_equal(size_bar(nic, 0x10), (uint32_t)-NIC_BAR0_SIZE | 0xC);
	assert_int_equal(size_bar(nic, 0x14), UINT32_MAX);
	assert_int_equal(size_bar(nic, 0x18), 0);
	assert_int_equal(size_bar(nic, 0x20), (uint32_t)-NIC_MSIX_SIZE | 0xC);
	assert_int_equal(size_bar(nic, 0x24), UINT32_MAX);
	nic_config_write(nic, 0x10, 4, 0xFEB81234);
	assert_int_equal(rd(nic, 0x10, 4), 0xFEB8000C);
}

static void test_bars_are_32_bit_where_the_bus_wants_that(void **state)
{
	struct nic *nic = fixture_nic(state);
	nic->bar32 = true;
	nic_reset_function(nic);
	assert_int_equal(size_bar(nic, 0x10), (uint32_t)-NIC_BAR0_SIZE);
	assert_int_equal(size_bar(nic, 0x14), 0);
	assert_int_equal(size_bar(nic, 0x20), (uint32_t)-NIC_MSIX_SIZE);
	assert_int_equal(size_bar(nic, 0x24), 0);
}

static void test_a_write_changes_only_what_may_change(void **state)
{
	struct nic *nic = fixture_nic(state);
	for (uint32_t at = 0; at < 0xA8; at += 4)
		nic_config_write(nic, at, 4, UINT32_MAX);
	assert_int_equal(rd(nic, 0x00, 4), 0x10FB8086);
	assert_int_equal(rd(nic, 0x04, 4), 0x00100547);
	assert_int_equal(rd(nic, 0x34, 1), 0x40);
	assert_int_equal(rd(nic, 0x3C, 2), 0x01FF);
	assert_int_equal(rd(nic, 0x70, 4), 0xC03FA011);
}

static void test_bytes_and_unaligned_accesses_see_the_same_bytes(void **state)
{
	struct nic *nic = fixture_nic(state);
	assert_int_equal(rd(nic, 0x01, 1), 0x80);
	assert_int_equal(rd(nic, 0x01, 2), 0xFB80);
	assert_int_equal(rd(nic, 0x01, 4), 0x0010FB80 | rd(nic, 4, 1) << 24);
	nic_config_write(nic, 0x04, 1, 0x04);
	assert_true(nic_bus_master(nic));
	nic_config_write(nic, 0x03, 2, 0);
	assert_false(nic_bus_master(nic));
}

static void test_accesses_past_the_end_or_of_odd_sizes_do_nothing(void **state)
{
	struct nic *nic = fixture_nic(state);
	assert_int_equal(rd(nic, NIC_CONFIG_SIZE - 2, 4), UINT32_MAX);
	assert_int_equal(rd(nic, UINT32_MAX, 4), UINT32_MAX);
	assert_int_equal(rd(nic, NIC_CONFIG_SIZE, 1), 0xFF);
	assert_int_equal(rd(nic, NIC_CONFIG_SIZE - 4, 4), 0);
	nic_config_write(nic, NIC_CONFIG_SIZE - 1, 4, UINT32_MAX);
	nic_config_write(nic, 4, 3, UINT32_MAX);
	nic_config_write(nic, 4, 0, UINT32_MAX);
	assert_int_equal(rd(nic, 4, 2), 0);
}

#define PMCSR 0x44
#define D3HOT 3

static void test_power_management_knows_d0_and_d3_and_its_reset(void **state)
{
	struct nic *nic = fixture_nic(state);
	assert_int_equal(rd(nic, 0x42, 2) & 0x0600, 0);        /* neither D1 nor D2 */
	assert_int_equal(rd(nic, 0x42, 2) >> 11, 0x09);        /* PME from D0 and D3hot */
	assert_int_equal(rd(nic, PMCSR, 2) & (BIT(3) | 3), 0); /* D0; No_Soft_Reset clear */
	nic_config_write(nic, PMCSR, 2, 1);
	assert_int_equal(rd(nic, PMCSR, 2), 0);
	nic_config_write(nic, PMCSR, 2, 2);
	assert_int_equal(rd(nic, PMCSR, 2), 0);
	nic_config_write(nic, PMCSR, 2, D3HOT);
	assert_int_equal(rd(nic, PMCSR, 2), D3HOT);
	nic_config_write(nic, PMCSR, 2, 2);
	assert_int_equal(rd(nic, PMCSR, 2), D3HOT);
}

static void test_in_d3_only_configuration_is_answered(void **state)
{
	struct nic *nic = fixture_nic(state);
	nic_config_write(nic, 4, 2, 0x6);
	nic_write32(nic, FCTRL, FCTRL_UPE);
	nic_config_write(nic, PMCSR, 2, D3HOT);
	assert_true(nic_asleep(nic));
	assert_false(nic_bus_master(nic));
	assert_int_equal(nic_read32(nic, STATUS), UINT32_MAX);
	assert_int_equal(nic_msix_read32(nic, 12), UINT32_MAX);
	nic_write32(nic, FCTRL, 0);
	nic_write32(nic, 2, 1); /* not even looked at */
	nic_msix_write32(nic, 8, 0x41);
	assert_int_equal(nic_peek32(nic, FCTRL), FCTRL_UPE);
	assert_int_equal(nic->msix[0].data, 0);
	assert_int_equal(rd(nic, 0, 4), 0x10FB8086);
	assert_int_equal(rd(nic, 4, 2), 0x6);
	assert_int_equal(nic_violations(nic), 0);
}

static void test_the_way_back_from_d3_is_a_reset(void **state)
{
	struct nic *nic = fixture_nic(state);
	nic_config_write(nic, 4, 2, 0x6);
	nic_config_write(nic, 0x10, 4, 0xFEB80000);
	nic_write32(nic, FCTRL, FCTRL_UPE);
	nic_config_write(nic, PMCSR, 2, 0x100 | D3HOT);
	nic_config_write(nic, PMCSR, 1, D3HOT); /* already there */
	assert_int_equal(rd(nic, 4, 2), 0x6);
	nic_config_write(nic, PMCSR, 1, 0);
	assert_int_equal(rd(nic, PMCSR, 2), 0x100); /* PME enable is what stays */
	assert_int_equal(rd(nic, 4, 2), 0);
	assert_int_equal(rd(nic, 0x10, 4), 0xC);
	assert_int_equal(nic_read32(nic, FCTRL), 0);
	nic_write32(nic, FCTRL, FCTRL_UPE);
	nic_config_write(nic, PMCSR, 2, 0); /* D0 to D0 is nothing */
	assert_int_equal(nic_read32(nic, FCTRL), FCTRL_UPE);
}

static void test_a_function_level_reset_wakes_from_d3(void **state)
{
	struct nic *nic = fixture_nic(state);
	nic_config_write(nic, PMCSR, 2, D3HOT);
	nic_config_write(nic, 0xA8, 2, 0x8000);
	assert_int_equal(rd(nic, PMCSR, 2), 0);
	assert_int_not_equal(nic_read32(nic, STATUS), UINT32_MAX);
}

/* Link changes and expired moderation meet a function that must not speak. */
static void test_no_interrupt_comes_from_d3_nor_of_it_later(void **state)
{
	struct nic_fixture *fixture = *state;
	struct nic *nic = fixture->nic;
	nic_config_write(nic, 4, 2, 0x6);
	nic_msix_enable(nic, 1);
	nic_write32(nic, EIMS, EICR_LSC);
	nic_config_write(nic, PMCSR, 2, D3HOT);
	nic_wire_carrier(nic, true);
	nic_irq_poll(nic, INT64_MAX / 2);
	nic_config_write(nic, PMCSR, 2, 0);
	nic_config_write(nic, 4, 2, 0x6);
	nic_msix_enable(nic, 1);
	assert_int_equal(fixture->raised[0], 0);
}

static void test_a_function_level_reset_ends_everything(void **state)
{
	struct nic *nic = fixture_nic(state);
	nic_config_write(nic, 4, 2, 0x6);
	nic_msix_enable(nic, 1);
	nic_write32(nic, FCTRL, FCTRL_UPE);
	nic_config_write(nic, 0xA8, 2, 0x2810);
	assert_int_equal(nic_read32(nic, FCTRL), FCTRL_UPE);
	nic_config_write(nic, 0xA8, 2, 0x2810 | 0x8000);
	assert_int_equal(nic_read32(nic, FCTRL), 0);
	assert_int_equal(rd(nic, 0xA8, 2), 0x2810);
	assert_int_equal(rd(nic, 4, 2), 0);
	assert_false(nic_msix_enabled(nic));
	assert_int_equal(nic_msix_read32(nic, 12), 1);

	nic_write32(nic, FCTRL, FCTRL_UPE);
	nic_config_write(nic, 0xA9, 1, 0xA8);
	assert_int_equal(nic_read32(nic, FCTRL), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		nic_test(test_it_is_an_82599_with_sfp),
		nic_test(test_the_capabilities_lie_where_drivers_look_for_them),
		nic_test(test_the_serial_number_is_the_address),
		nic_test(test_bars_are_64_bit_and_tell_their_sizes),
		nic_test(test_bars_are_32_bit_where_the_bus_wants_that),
		nic_test(test_a_write_changes_only_what_may_change),
		nic_test(test_bytes_and_unaligned_accesses_see_the_same_bytes),
		nic_test(test_accesses_past_the_end_or_of_odd_sizes_do_nothing),
		nic_test(test_power_management_knows_d0_and_d3_and_its_reset),
		nic_test(test_in_d3_only_configuration_is_answered),
		nic_test(test_the_way_back_from_d3_is_a_reset),
		nic_test(test_a_function_level_reset_wakes_from_d3),
		nic_test(test_no_interrupt_comes_from_d3_nor_of_it_later),
		nic_test(test_a_function_level_reset_ends_everything),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
