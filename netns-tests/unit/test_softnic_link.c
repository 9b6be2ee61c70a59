/*
 * The software NIC's link: what light, cable, laser and the MAC's registers make of LINKS.
 */
#include "nic_fixture.h"

static bool up(struct nic *nic)
{
	uint32_t links = nic_read32(nic, LINKS);
	assert_int_equal(!!(links & LINKS_UP), nic->link.up);
	return links & LINKS_UP;
}

static void test_the_link_follows_the_carrier_and_the_cable(void **state)
{
	struct nic *nic = fixture_nic(state);
	assert_false(up(nic));
	nic_wire_carrier(nic, true);
	assert_true(up(nic));
	nic->link.cable_out = true;
	nic_link_update(nic);
	assert_false(up(nic));
	nic->link.cable_out = false;
	nic_link_update(nic);
	assert_true(up(nic));
	nic_wire_carrier(nic, false);
	assert_false(up(nic));
	assert_int_equal(nic->link.changes, 4);
}

static void test_the_link_needs_the_laser(void **state)
{
	struct nic *nic = fixture_nic(state);
	nic_wire_carrier(nic, true);
	assert_true(nic_laser_on(nic));
	nic_write32(nic, ESDP, ESDP_SDP3_DIR | ESDP_SDP3);
	assert_false(nic_laser_on(nic));
	assert_false(up(nic));
	nic_write32(nic, CTRL, CTRL_RST);
	assert_false(up(nic)); /* whoever takes over must turn it on */
	nic_write32(nic, ESDP, nic_read32(nic, ESDP) & ~ESDP_SDP3);
	assert_true(up(nic));
}

static void test_a_pin_that_is_an_input_cannot_be_written(void **state)
{
	struct nic *nic = fixture_nic(state);
	nic_write32(nic, ESDP, 0);
	assert_int_equal(nic_read32(nic, ESDP), ESDP_SDP2); /* the cage is occupied */
	nic_write32(nic, ESDP, ESDP_SDP3);
	assert_int_equal(nic_read32(nic, ESDP), ESDP_SDP2);
	assert_true(nic_laser_on(nic));
}

static void test_the_link_can_be_disabled_by_autoc2(void **state)
{
	struct nic *nic = fixture_nic(state);
	nic_wire_carrier(nic, true);
	uint32_t autoc2 = nic_read32(nic, AUTOC2);
	nic_write32(nic, AUTOC2, autoc2 | AUTOC2_LINK_DISABLE);
	assert_false(up(nic));
	nic_write32(nic, AUTOC2, autoc2);
	assert_true(up(nic));
}

static void test_the_speed_is_the_cables(void **state)
{
	struct nic *nic = fixture_nic(state);
	nic_wire_carrier(nic, true);
	assert_int_equal(nic_read32(nic, LINKS) & LINKS_SPEED, LINKS_SPEED_10G);
	nic_read32(nic, EICR);
	nic->link.speed = 1000;
	nic_link_update(nic);
	assert_int_equal(nic_read32(nic, LINKS) & LINKS_SPEED, LINKS_SPEED_1G);
	assert_int_equal(nic_read32(nic, EICR), EICR_LSC);
}

static void test_each_change_is_one_cause(void **state)
{
	struct nic *nic = fixture_nic(state);
	nic_wire_carrier(nic, true);
	assert_int_equal(nic_read32(nic, EICR), EICR_LSC);
	nic_wire_carrier(nic, true);
	nic_link_update(nic);
	assert_int_equal(nic_read32(nic, EICR), 0);
	nic_wire_carrier(nic, false);
	assert_int_equal(nic_read32(nic, EICR), EICR_LSC);
}

static void test_the_link_stays_over_a_device_reset(void **state)
{
	struct nic *nic = fixture_nic(state);
	nic_wire_carrier(nic, true);
	nic_write32(nic, CTRL, CTRL_RST);
	assert_true(up(nic));
	nic_write32(nic, CTRL, CTRL_LRST);
	assert_true(up(nic));
	nic_client_gone(nic);
	assert_true(up(nic));
	assert_int_equal(nic->link.changes, 1);
}

static void test_a_restart_of_autonegotiation_ends_at_once_and_shows(void **state)
{
	struct nic *nic = fixture_nic(state);
	uint32_t autoc = nic_read32(nic, AUTOC);
	assert_int_equal(autoc & AUTOC_LMS_MASK, AUTOC_LMS_10G_SFI);
	assert_int_equal(nic_read32(nic, ANLP1), 0);
	nic_write32(nic, AUTOC, autoc | AUTOC_AN_RESTART);
	assert_int_equal(nic_read32(nic, AUTOC), autoc);
	assert_int_not_equal(nic_read32(nic, ANLP1) & 0xF0000, 0);
}

static void test_in_loopback_the_link_is_up_without_a_cable(void **state)
{
	struct nic *nic = fixture_nic(state);
	nic_write32(nic, HLREG0, nic_read32(nic, HLREG0) | HLREG0_LPBK);
	assert_false(up(nic));
	nic_write32(nic, AUTOC, nic_read32(nic, AUTOC) | AUTOC_FLU);
	assert_true(up(nic));
	nic_write32(nic, HLREG0, nic_read32(nic, HLREG0) & ~HLREG0_LPBK);
	assert_false(up(nic));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		nic_test(test_the_link_follows_the_carrier_and_the_cable),
		nic_test(test_the_link_needs_the_laser),
		nic_test(test_a_pin_that_is_an_input_cannot_be_written),
		nic_test(test_the_link_can_be_disabled_by_autoc2),
		nic_test(test_the_speed_is_the_cables),
		nic_test(test_each_change_is_one_cause),
		nic_test(test_the_link_stays_over_a_device_reset),
		nic_test(test_a_restart_of_autonegotiation_ends_at_once_and_shows),
		nic_test(test_in_loopback_the_link_is_up_without_a_cable),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
