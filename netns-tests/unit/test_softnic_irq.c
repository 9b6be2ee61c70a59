/*
 * The software NIC's interrupts: causes to vectors, auto clear and auto mask, moderation, MSI-X masks. No test
 * waits: where EITR is to hold a vector back, its next time is put out of reach.
 */
#include "netns-tests/softnic/registers.h"
#include "nic_fixture.h"

#define RX_ENTRY(vector) ((vector) | IVAR_VALID)
#define TX_ENTRY(vector) (RX_ENTRY(vector) << 8)
#define FAR_AWAY         (INT64_MAX / 2)
#define COMMAND          0x04 /* in config space */
#define MEMORY           BIT(1)
#define MASTER           BIT(2)

static unsigned raised(void **state, unsigned vector)
{
	return ((struct nic_fixture *)*state)->raised[vector];
}

/* As a driver with a vector a queue and one for the rest sets it up: auto clear, auto mask. */
static struct nic *msix_setup(void **state)
{
	struct nic *nic = fixture_nic(state);
	nic_config_write(nic, COMMAND, 2, MEMORY | MASTER);
	nic_msix_enable(nic, 0x7);
	nic_write32(nic, GPIE, GPIE_MULTIPLE_MSIX | GPIE_PBA_SUPPORT | GPIE_EIAME);
	nic_write32(nic, IVAR(0), RX_ENTRY(0) | TX_ENTRY(0) | RX_ENTRY(1) << 16);
	nic_write32(nic, IVAR_MISC, RX_ENTRY(2) << 8);
	nic_write32(nic, EIAC, EICR_RTXQ);
	nic_write32(nic, EIAM, EICR_RTXQ);
	nic_write32(nic, EIMS, 0x3 | EICR_LSC);
	return nic;
}

static void test_a_queue_raises_the_vector_that_ivar_gives_it(void **state)
{
	struct nic *nic = msix_setup(state);
	nic_irq_rx(nic, 1);
	assert_int_equal(raised(state, 1), 1);
	assert_int_equal(raised(state, 0), 0);
	nic_irq_tx(nic, 0);
	assert_int_equal(raised(state, 0), 1);
	nic_irq_tx(nic, 1); /* its entry is not valid */
	nic_irq_rx(nic, 127);
	assert_int_equal(raised(state, 0) + raised(state, 1) + raised(state, 2), 2);
	assert_int_equal(nic->irq.raised[1], 1);
}

static void test_a_link_change_raises_the_vector_of_the_other_causes(void **state)
{
	struct nic *nic = msix_setup(state);
	nic_wire_carrier(nic, true);
	assert_int_equal(raised(state, 2), 1);
	assert_int_equal(nic_read32(nic, EICS) & EICR_LSC, EICR_LSC); /* a look that clears nothing */
	assert_int_equal(nic_read32(nic, EICR), EICR_LSC);
	assert_int_equal(nic_read32(nic, EICR), 0);
}

static void test_the_message_clears_the_cause_and_masks_the_vector(void **state)
{
	struct nic *nic = msix_setup(state);
	nic_irq_rx(nic, 0);
	assert_int_equal(nic_read32(nic, EICS) & EICR_RTXQ, 0);
	assert_int_equal(nic_read32(nic, EIMS), 0x2 | EICR_LSC);
	nic_irq_rx(nic, 0);
	nic_irq_rx(nic, 0);
	assert_int_equal(raised(state, 0), 1);
}

static void test_a_cause_that_came_while_masked_fires_when_it_is_enabled(void **state)
{
	struct nic *nic = msix_setup(state);
	nic_irq_rx(nic, 0);
	nic_irq_rx(nic, 0);
	assert_int_equal(raised(state, 0), 1);
	nic_write32(nic, EIMS, 0x1);
	assert_int_equal(raised(state, 0), 2);
	nic_write32(nic, EIMS, 0x1);
	assert_int_equal(raised(state, 0), 2);
}

static void test_a_write_of_one_clears_a_cause_and_it_does_not_fire_later(void **state)
{
	struct nic *nic = msix_setup(state);
	nic_write32(nic, EIMC, 0x2);
	nic_irq_rx(nic, 1);
	assert_int_equal(nic_read32(nic, EICS), 0x2);
	nic_write32(nic, EICR, 0x2);
	nic_write32(nic, EIMS, 0x2);
	assert_int_equal(raised(state, 1), 0);
}

/* A handler clears what it has seen; what came after its look must not wait for the next event. */
static void test_another_cause_that_came_during_the_handler_fires_again(void **state)
{
	struct nic *nic = msix_setup(state);
	nic_write32(nic, EIMS, EICR_MAILBOX);
	nic_irq_cause(nic, EICR_LSC);
	uint32_t seen = nic_read32(nic, EICS);
	nic_irq_cause(nic, EICR_MAILBOX);
	unsigned before = raised(state, 2);
	nic_write32(nic, EICR, seen);
	assert_int_equal(raised(state, 2), before + 1);
	assert_int_equal(nic_read32(nic, EICR), EICR_MAILBOX);
}

static void test_software_can_set_causes(void **state)
{
	struct nic *nic = msix_setup(state);
	nic_write32(nic, EICS, 0x1 | EICR_LSC);
	assert_int_equal(raised(state, 0), 1);
	assert_int_equal(raised(state, 2), 1);
}

static void test_the_extended_registers_reach_all_64_vectors(void **state)
{
	struct nic *nic = fixture_nic(state);
	nic_config_write(nic, COMMAND, 2, MEMORY | MASTER);
	nic_msix_enable(nic, UINT64_MAX);
	nic_write32(nic, GPIE, GPIE_MULTIPLE_MSIX | GPIE_EIAME);
	nic_write32(nic, IVAR(20), RX_ENTRY(63) | RX_ENTRY(17) << 16);
	nic_irq_rx(nic, 40);
	assert_int_equal(raised(state, 63), 0);
	nic_write32(nic, EIMS_EX(1), BIT(31));
	assert_int_equal(raised(state, 63), 1);
	nic_write32(nic, EIMS_EX(0), BIT(17) | BIT(3));
	assert_int_equal(nic_read32(nic, EIMS), BIT(3)); /* the low 16 are the same in both */
	nic_irq_rx(nic, 41);
	assert_int_equal(raised(state, 17), 1);
	assert_int_equal(nic_read32(nic, EICS_EX(0)), 0); /* always auto-cleared */

	nic_write32(nic, EIAM_EX(1), BIT(31));
	nic_irq_rx(nic, 40);
	assert_int_equal(raised(state, 63), 2);
	assert_int_equal(nic_read32(nic, EIMS_EX(1)), 0);
	nic_write32(nic, EIMC_EX(0), BIT(17));
	nic_write32(nic, EICS_EX(0), BIT(17));
	assert_int_equal(raised(state, 17), 1);
	assert_int_equal(nic_read32(nic, EICR_EX(0)), BIT(17));
	assert_int_equal(nic_read32(nic, EICR_EX(0)), 0);
}

static void test_without_msix_mode_every_cause_raises_vector_0_and_a_read_masks(void **state)
{
	struct nic *nic = fixture_nic(state);
	nic_config_write(nic, COMMAND, 2, MEMORY | MASTER);
	nic_msix_enable(nic, 1);
	nic_write32(nic, IVAR(0), RX_ENTRY(5));
	nic_write32(nic, EIAM, BIT(5));
	nic_write32(nic, EIMS, BIT(5) | EICR_LSC);
	nic_irq_rx(nic, 0);
	assert_int_equal(raised(state, 0), 1);
	assert_int_equal(nic_read32(nic, EICR), BIT(5));
	assert_int_equal(nic_read32(nic, EIMS), EICR_LSC);
	nic_irq_cause(nic, EICR_LSC);
	assert_int_equal(raised(state, 0), 2);
}

static void test_other_clear_disable_keeps_the_queue_causes_on_a_read(void **state)
{
	struct nic *nic = fixture_nic(state);
	nic_write32(nic, GPIE, GPIE_OCD);
	nic_write32(nic, EICS, 0x1 | EICR_LSC);
	assert_int_equal(nic_read32(nic, EICR), 0x1 | EICR_LSC);
	assert_int_equal(nic_read32(nic, EICR), 0x1);
}

/* --- moderation -------------------------------------------------------------------------------- */

static void test_the_first_interrupt_after_quiet_fires_at_once_and_starts_the_interval(void **state)
{
	struct nic *nic = msix_setup(state);
	int64_t before = clock_us();
	nic_write32(nic, EITR(0), EITR_INTERVAL_MASK | EITR_CNT_WDIS);
	assert_int_equal(nic_read32(nic, EITR(0)), EITR_INTERVAL_MASK);
	nic_irq_rx(nic, 0);
	assert_int_equal(raised(state, 0), 1);
	assert_true(nic->irq.next_us[0] >= before + 511 * 2);
	assert_int_equal(nic->irq.next_us[1], 0);
}

static void test_an_interrupt_within_the_interval_is_deferred_and_not_lost(void **state)
{
	struct nic *nic = msix_setup(state);
	nic->irq.next_us[1] = FAR_AWAY;
	nic_irq_rx(nic, 1);
	nic_irq_rx(nic, 1);
	assert_int_equal(raised(state, 1), 0);
	assert_int_equal(nic_irq_poll(nic, FAR_AWAY - 30), 30);
	assert_int_equal(raised(state, 1), 0);
	assert_int_equal(nic_irq_poll(nic, FAR_AWAY), -1);
	assert_int_equal(raised(state, 1), 1);
	assert_int_equal(nic_irq_poll(nic, FAR_AWAY + 1), -1);
	assert_int_equal(raised(state, 1), 1);
}

static void test_a_deferred_vector_that_was_masked_meanwhile_fires_when_it_is_enabled(void **state)
{
	struct nic *nic = msix_setup(state);
	nic->irq.next_us[1] = FAR_AWAY;
	nic_irq_rx(nic, 1);
	nic_write32(nic, EIMC, 0x2);
	assert_int_equal(nic_irq_poll(nic, FAR_AWAY), -1);
	assert_int_equal(raised(state, 1), 0);
	nic->irq.next_us[1] = 0;
	nic_write32(nic, EIMS, 0x2);
	assert_int_equal(raised(state, 1), 1);
}

static void test_the_soonest_of_the_deferred_vectors_is_told(void **state)
{
	struct nic *nic = msix_setup(state);
	nic->irq.next_us[0] = FAR_AWAY;
	nic->irq.next_us[1] = FAR_AWAY - 7;
	nic_irq_rx(nic, 0);
	nic_irq_rx(nic, 1);
	assert_int_equal(nic_irq_poll(nic, FAR_AWAY - 10), 3);
}

static void test_writing_the_counter_too_lets_a_vector_go_at_once(void **state)
{
	struct nic *nic = msix_setup(state);
	nic->irq.next_us[0] = FAR_AWAY;
	nic_write32(nic, EITR(0), 8 | EITR_CNT_WDIS);
	nic_irq_rx(nic, 0);
	assert_int_equal(raised(state, 0), 0);
	nic_write32(nic, EITR(0), 8);
	nic_irq_poll(nic, clock_us());
	assert_int_equal(raised(state, 0), 1);
}

static void test_a_reset_forgets_what_was_deferred(void **state)
{
	struct nic *nic = msix_setup(state);
	nic->irq.next_us[1] = FAR_AWAY;
	nic_irq_rx(nic, 1);
	nic_write32(nic, CTRL, CTRL_RST);
	assert_int_equal(nic_irq_poll(nic, FAR_AWAY), -1);
	assert_int_equal(raised(state, 1), 0);
	assert_int_equal(nic_read32(nic, EICR), 0);
	assert_int_equal(nic_read32(nic, EIMS_EX(0)), 0);
}

/* --- MSI-X ---------------------------------------------------------------------------------------- */

#define ENTRY(vector)     ((vector)*16)
#define FUNCTION_MASK     0x4000
#define MSIX_CONTROL      0x72
#define MSIX_ENABLE_BIT   0x8000
#define VECTOR_CONTROL(v) (ENTRY(v) + 12)

static void test_a_masked_vector_is_pending_and_goes_out_when_unmasked(void **state)
{
	struct nic *nic = msix_setup(state);
	nic_msix_write32(nic, VECTOR_CONTROL(1), 1);
	nic_irq_rx(nic, 1);
	assert_int_equal(raised(state, 1), 0);
	assert_int_equal(nic_msix_read32(nic, NIC_MSIX_PBA), 0x2);
	nic_msix_write32(nic, VECTOR_CONTROL(1), 0);
	assert_int_equal(raised(state, 1), 1);
	assert_int_equal(nic_msix_read32(nic, NIC_MSIX_PBA), 0);
}

static void test_the_function_mask_holds_all_vectors(void **state)
{
	struct nic *nic = msix_setup(state);
	nic_config_write(nic, MSIX_CONTROL, 2, MSIX_ENABLE_BIT | FUNCTION_MASK);
	nic_irq_rx(nic, 0);
	nic_irq_rx(nic, 1);
	assert_int_equal(raised(state, 0) + raised(state, 1), 0);
	nic_config_write(nic, MSIX_CONTROL, 2, MSIX_ENABLE_BIT);
	assert_int_equal(raised(state, 0), 1);
	assert_int_equal(raised(state, 1), 1);
}

static void test_messages_wait_for_bus_mastering(void **state)
{
	struct nic *nic = msix_setup(state);
	nic_config_write(nic, COMMAND, 2, MEMORY);
	nic_irq_rx(nic, 0);
	nic_irq_cause(nic, EICR_LSC);
	assert_int_equal(raised(state, 0) + raised(state, 2), 0);
	assert_int_equal(nic_msix_read32(nic, NIC_MSIX_PBA), 0x5);
	nic_config_write(nic, COMMAND, 2, MEMORY | MASTER);
	assert_int_equal(raised(state, 0), 1);
	assert_int_equal(raised(state, 2), 1);
	assert_int_equal(nic_msix_read32(nic, NIC_MSIX_PBA), 0);
	/* Once each: the link's cause is still set, but that it comes up again is no news. */
	nic_config_write(nic, COMMAND, 1, MEMORY);
	nic_config_write(nic, COMMAND, 1, MEMORY | MASTER);
	assert_int_equal(raised(state, 0) + raised(state, 1) + raised(state, 2), 2);
}

static void test_the_table_is_programmed_through_its_bar(void **state)
{
	struct nic *nic = fixture_nic(state);
	assert_int_equal(nic_msix_read32(nic, VECTOR_CONTROL(63)), 1);
	nic_msix_write32(nic, ENTRY(63), 0xFEE01007);
	nic_msix_write32(nic, ENTRY(63) + 4, 1);
	nic_msix_write32(nic, ENTRY(63) + 8, 0x4041);
	nic_msix_write32(nic, VECTOR_CONTROL(63), UINT32_MAX - 1);
	assert_int_equal(nic->msix[63].address_low, 0xFEE01004);
	assert_int_equal(nic->msix[63].address_high, 1);
	assert_int_equal(nic->msix[63].data, 0x4041);
	assert_int_equal(nic->msix[63].control, 0);
	assert_int_equal(nic_msix_read32(nic, ENTRY(63) + 8), 0x4041);

	nic_msix_write32(nic, ENTRY(64), 1); /* past the table */
	nic_msix_write32(nic, NIC_MSIX_PBA, UINT32_MAX);
	assert_int_equal(nic_msix_read32(nic, ENTRY(64)), 0);
	assert_int_equal(nic_msix_read32(nic, NIC_MSIX_PBA), 0);
	assert_int_equal(nic_msix_read32(nic, NIC_MSIX_SIZE - 4), 0);
	assert_int_equal(nic_msix_read32(nic, UINT32_MAX), 0);
}

static void test_a_vector_without_an_eventfd_is_kept_until_it_has_one(void **state)
{
	struct nic *nic = msix_setup(state);
	nic_msix_enable(nic, 0x1);
	nic_irq_rx(nic, 1);
	assert_int_equal(raised(state, 1), 0);
	nic_msix_enable(nic, 0x3);
	assert_int_equal(raised(state, 1), 1);
}

static void test_with_msix_off_nothing_is_raised(void **state)
{
	struct nic *nic = msix_setup(state);
	nic_msix_enable(nic, 0);
	assert_int_equal(nic_config_read(nic, MSIX_CONTROL, 2) & MSIX_ENABLE_BIT, 0);
	nic_irq_rx(nic, 0);
	assert_int_equal(raised(state, 0), 0);
	assert_int_equal(nic_msix_read32(nic, NIC_MSIX_PBA), 0);
}

static void test_a_client_that_has_gone_gets_no_interrupts(void **state)
{
	struct nic *nic = msix_setup(state);
	nic->irq.next_us[1] = FAR_AWAY;
	nic_irq_rx(nic, 1);
	nic_client_gone(nic);
	nic_irq_poll(nic, FAR_AWAY);
	nic_wire_carrier(nic, true);
	for (unsigned i = 0; i < NIC_MSIX_VECTORS; i++)
		assert_int_equal(raised(state, i), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		nic_test(test_a_queue_raises_the_vector_that_ivar_gives_it),
		nic_test(test_a_link_change_raises_the_vector_of_the_other_causes),
		nic_test(test_the_message_clears_the_cause_and_masks_the_vector),
		nic_test(test_a_cause_that_came_while_masked_fires_when_it_is_enabled),
		nic_test(test_a_write_of_one_clears_a_cause_and_it_does_not_fire_later),
		nic_test(test_another_cause_that_came_during_the_handler_fires_again),
		nic_test(test_software_can_set_causes),
		nic_test(test_the_extended_registers_reach_all_64_vectors),
		nic_test(test_without_msix_mode_every_cause_raises_vector_0_and_a_read_masks),
		nic_test(test_other_clear_disable_keeps_the_queue_causes_on_a_read),
		nic_test(test_the_first_interrupt_after_quiet_fires_at_once_and_starts_the_interval),
		nic_test(test_an_interrupt_within_the_interval_is_deferred_and_not_lost),
		nic_test(test_a_deferred_vector_that_was_masked_meanwhile_fires_when_it_is_enabled),
		nic_test(test_the_soonest_of_the_deferred_vectors_is_told),
		nic_test(test_writing_the_counter_too_lets_a_vector_go_at_once),
		nic_test(test_a_reset_forgets_what_was_deferred),
		nic_test(test_a_masked_vector_is_pending_and_goes_out_when_unmasked),
		nic_test(test_the_function_mask_holds_all_vectors),
		nic_test(test_messages_wait_for_bus_mastering),
		nic_test(test_the_table_is_programmed_through_its_bar),
		nic_test(test_a_vector_without_an_eventfd_is_kept_until_it_has_one),
		nic_test(test_with_msix_off_nothing_is_raised),
		nic_test(test_a_client_that_has_gone_gets_no_interrupts),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
