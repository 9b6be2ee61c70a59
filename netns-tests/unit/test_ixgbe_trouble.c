/* The 82599 driver on a NIC that hangs, lies, or goes: recovery, or a clear end. */
#include "ixgbe_rig.h"

static void a_bad_write_back_is_counted_and_nothing_leaks(void **state)
{
	static const struct {
		const char *fault;
		enum ixy_drop reason;
		unsigned frames; /* to send; the fault strikes on the first */
	} cases[] = {
		{"rx-length-zero", IXY_DROP_RX_BAD_DESCRIPTOR, 1},
		{"rx-length-over", IXY_DROP_RX_BAD_DESCRIPTOR, 1},
		{"rx-bad-status", IXY_DROP_RX_ERROR, 1},
	};
	struct rig rig;
	(void)state;

	open_with(&rig, defaults());
	for (unsigned i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		uint64_t before = drops(&rig, cases[i].reason);

		assert_int_equal(nic_fault_set(rig.nic, cases[i].fault, 1), 0);
		arrive(&rig, 1, 64);
		assert_nothing_received(&rig);
		assert_int_equal(drops(&rig, cases[i].reason), before + 1);
		assert_traffic_flows(&rig);
	}
	close_rig(&rig);
}

static void a_short_buffer_without_eop_is_dropped_and_the_next_frame_is_whole(void **state)
{
	struct rig rig;
	struct pkt_buf *frame;
	(void)state;

	open_with(&rig, defaults());
	assert_int_equal(nic_fault_set(rig.nic, "rx-no-eop", 200), 0);
	for (uint32_t i = 0; i < 200; i++) {
		arrive(&rig, i, 64);
		assert_int_equal(ixy_rx_batch(rig.dev, 0, &frame, 1), 0);
	}
	assert_int_equal(drops(&rig, IXY_DROP_RX_BAD_DESCRIPTOR), 200);
	assert_traffic_flows(&rig);
	close_rig(&rig);
}

static void a_frame_that_never_ends_is_given_up(void **state)
{
	struct ixy_options options = defaults();
	struct rig rig;
	struct pkt_buf *frame;
	(void)state;

	options.mtu = 9000;
	open_with(&rig, options);
	/* Full buffers, so that each may well go on in the next. */
	assert_int_equal(nic_fault_set(rig.nic, "rx-no-eop", 200), 0);
	for (uint32_t i = 0; i < 200; i++) {
		arrive(&rig, i, 2048);
		assert_int_equal(ixy_rx_batch(rig.dev, 0, &frame, 1), 0);
	}
	assert_true(drops(&rig, IXY_DROP_RX_BAD_DESCRIPTOR) > 0);
	arrive(&rig, 1, 64); /* its EOP ends what was given up */
	assert_nothing_received(&rig);
	assert_traffic_flows(&rig);
	close_rig(&rig);
}

static void keep_sending(struct rig *rig)
{
	struct pkt_buf *frame = outgoing(rig, 1, 64);

	if (ixy_tx_batch(rig->dev, 0, &frame, 1) == 0)
		pkt_buf_free(frame);
	step(rig);
}

static void a_hung_transmit_queue_is_reset(void **state)
{
	static const char *const faults[] = {"tx-hang", "tx-stall"};
	struct rig rig;
	(void)state;

	open_with(&rig, defaults());
	for (unsigned i = 0; i < 2; i++) {
		assert_int_equal(nic_fault_set(rig.nic, faults[i], UINT64_MAX), 0);
		assert_true(event_within_a_second(&rig, IXY_EVENT_RESET, keep_sending));
		assert_int_equal(ixy_reset(rig.dev), 0);
		nic_fault_set(rig.nic, faults[i], 0);
		ixy_poll_events(rig.dev);
		assert_true(ixy_link_get(rig.dev).up);
		assert_true(drops(&rig, IXY_DROP_TX_RESET) > 0);
		assert_traffic_flows(&rig);
	}
	close_rig(&rig);
}

static void keep_receiving(struct rig *rig)
{
	struct pkt_buf *frame;

	arrive(rig, 1, 64);
	if (ixy_rx_batch(rig->dev, 0, &frame, 1))
		pkt_buf_free(frame);
}

static void a_hung_receive_queue_is_reset(void **state)
{
	struct rig rig;
	(void)state;

	open_with(&rig, defaults());
	assert_int_equal(nic_fault_set(rig.nic, "rx-hang", UINT64_MAX), 0);
	assert_true(event_within_a_second(&rig, IXY_EVENT_RESET, keep_receiving));
	assert_int_equal(ixy_reset(rig.dev), 0);
	ixy_poll_events(rig.dev);
	assert_traffic_flows(&rig);
	close_rig(&rig);
}

/* One frame, then a time in which nothing comes: 600 ms, three looks of the driver. */
static void receive_now_and_then(struct rig *rig)
{
	static unsigned turn;

	if (turn++ % 12 == 0)
		arrive(rig, 1, 64);
}

static void a_hung_receive_queue_on_a_quiet_wire_is_reset(void **state)
{
	struct rig rig;
	bool found = false;
	(void)state;

	open_with(&rig, defaults());
	assert_int_equal(nic_fault_set(rig.nic, "rx-hang", UINT64_MAX), 0);
	for (unsigned seconds = 0; seconds < 5 && !found; seconds++)
		found = event_within_a_second(&rig, IXY_EVENT_RESET, receive_now_and_then);
	assert_true(found);
	assert_int_equal(ixy_reset(rig.dev), 0);
	ixy_poll_events(rig.dev);
	assert_traffic_flows(&rig);
	close_rig(&rig);
}

static void an_idle_or_busy_queue_is_not_taken_for_hung(void **state)
{
	struct rig rig;
	(void)state;

	open_with(&rig, defaults());
	assert_false(event_within_a_second(&rig, IXY_EVENT_RESET, step));
	assert_false(event_within_a_second(&rig, IXY_EVENT_RESET, keep_sending));
	forget(&rig.wire);
	close_rig(&rig);
}

static void overload_one_queue(struct rig *rig)
{
	for (unsigned i = 0; i < 70; i++)
		arrive(rig, 1, 64);
}

static void an_idle_queue_beside_an_overloaded_one_is_not_taken_for_hung(void **state)
{
	struct ixy_options options = defaults();
	struct rig rig;
	(void)state;

	options.rx_queues = options.tx_queues = 4;
	open_with(&rig, options);
	assert_false(event_within_a_second(&rig, IXY_EVENT_RESET, overload_one_queue));
	assert_true(drops(&rig, IXY_DROP_RX_NO_DESCRIPTOR) > 0);
	close_rig(&rig);
}

static void a_removed_device_is_noticed_and_can_be_closed(void **state)
{
	struct rig rig;
	(void)state;

	open_with(&rig, defaults());
	assert_int_equal(nic_fault_set(rig.nic, "removed", UINT64_MAX), 0);
	assert_int_equal(ixy_poll_events(rig.dev), IXY_EVENT_GONE);
	assert_non_null(strstr(ixy_last_error(), "the device was removed"));
	assert_int_equal(ixy_poll_events(rig.dev), IXY_EVENT_GONE);
	assert_false(ixy_link_get(rig.dev).up);
	assert_int_equal(ixy_reset(rig.dev), -ENODEV);
	close_rig(&rig);
}

static void a_reset_by_others_is_noticed_at_the_next_look(void **state)
{
	struct rig rig;
	(void)state;

	open_with(&rig, defaults());
	nic_reset_function(rig.nic);
	assert_int_equal(ixy_poll_events(rig.dev), IXY_EVENT_RESET);
	assert_int_equal(ixy_reset(rig.dev), 0);
	assert_false(ixy_poll_events(rig.dev) & (IXY_EVENT_RESET | IXY_EVENT_GONE));
	assert_true(ixy_link_get(rig.dev).up);
	assert_traffic_flows(&rig);
	/* A port that is down stays so, and its reset is noticed, too. */
	assert_int_equal(ixy_set_up(rig.dev, false), 0);
	assert_false(ixy_poll_events(rig.dev) & IXY_EVENT_RESET);
	nic_reset_function(rig.nic);
	assert_int_equal(ixy_poll_events(rig.dev), IXY_EVENT_RESET);
	assert_int_equal(ixy_reset(rig.dev), 0);
	assert_int_equal(ixy_poll_events(rig.dev), 0);
	assert_false(ixy_link_get(rig.dev).up);
	assert_int_equal(ixy_set_up(rig.dev, true), 0);
	ixy_poll_events(rig.dev);
	assert_traffic_flows(&rig);
	close_rig(&rig);
}

static void interrupts_come_again_after_a_reset_by_others(void **state)
{
	struct rig rig;
	struct pollfd p = {.events = POLLIN};
	(void)state;

	open_with(&rig, defaults());
	nic_reset_function(rig.nic);
	assert_int_equal(ixy_poll_events(rig.dev), IXY_EVENT_RESET);
	assert_int_equal(ixy_reset(rig.dev), 0);
	ixy_poll_events(rig.dev);
	ixy_rx_irq_arm(rig.dev, 0);
	p.fd = ixy_rx_irq_fd(rig.dev, 0);
	assert_int_equal(poll(&p, 1, 0), 0);
	arrive(&rig, 1, 64);
	for (unsigned i = 0; i < 1000 && poll(&p, 1, 1) == 0; i++)
		nic_irq_poll(rig.nic, clock_us());
	assert_int_equal(poll(&p, 1, 0), 1);
	assert_received(&rig, 0, 1, 64);
	close_rig(&rig);
}

#define PMCSR 0x44 /* of the model's power management capability */

static void a_function_in_d3_is_woken_and_reset(void **state)
{
	const uint8_t d3[2] = {3, 0};
	uint8_t now[2];
	struct rig rig;
	(void)state;

	open_with(&rig, defaults());
	assert_int_equal(rig.dev->pci->ops->config_write(rig.dev->pci, PMCSR, d3, sizeof(d3)), 0);
	assert_int_equal(pci_read32(rig.dev->pci, STATUS), UINT32_MAX);
	assert_int_equal(ixy_poll_events(rig.dev), IXY_EVENT_RESET);
	rig.dev->pci->ops->config_read(rig.dev->pci, PMCSR, now, sizeof(now));
	assert_int_equal(now[0] & 3, 0);
	assert_int_equal(ixy_reset(rig.dev), 0);
	ixy_poll_events(rig.dev);
	assert_true(ixy_link_get(rig.dev).up);
	assert_traffic_flows(&rig);
	close_rig(&rig);
}

static void a_nic_that_is_handed_over_asleep_is_woken(void **state)
{
	const uint8_t d3[2] = {3, 0};
	struct ixy_options options = defaults();
	struct pci_device *pci;
	struct rig rig;
	(void)state;

	plug(&rig);
	assert_int_equal(inprocess_open(rig.nic, &pci), 0);
	assert_int_equal(pci->ops->config_write(pci, PMCSR, d3, sizeof(d3)), 0);
	assert_int_equal(ixgbe_driver.open(pci, &options, &rig.dev), 0);
	rig.pool = ixy_mempool_create(rig.dev, 64, 0);
	ixy_poll_events(rig.dev);
	assert_traffic_flows(&rig);
	close_rig(&rig);
}

static void registers_that_fall_silent_alone_are_worth_a_reset(void **state)
{
	struct rig rig;
	(void)state;

	open_with(&rig, defaults());
	make_liar(rig.dev->pci);
	liar.reg = STATUS;
	liar.value = UINT32_MAX;
	assert_int_equal(ixy_poll_events(rig.dev), IXY_EVENT_RESET);
	assert_int_equal(ixy_reset(rig.dev), -ENODEV); /* which does not help this one */
	liar.reg = 0;
	close_rig(&rig);
}

static bool wanted_back;

static bool is_wanted_back(struct pci_device *pci)
{
	if (wanted_back)
		ixy_fail(ENODEV, "%s: the kernel wants it", pci->name);
	return wanted_back;
}

/* VFIO's request: the device works yet, so it is to be stopped in order. */
static void a_device_that_the_kernel_wants_back_is_given_up_in_order(void **state)
{
	struct rig rig;
	(void)state;

	open_with(&rig, defaults());
	make_liar(rig.dev->pci);
	liar.ops.removed = is_wanted_back;
	wanted_back = false;
	assert_int_equal(ixy_poll_events(rig.dev) & IXY_EVENT_GONE, 0);
	wanted_back = true;
	assert_int_equal(ixy_poll_events(rig.dev), IXY_EVENT_GONE);
	assert_non_null(strstr(ixy_last_error(), "wants it"));
	assert_int_equal(ixy_poll_events(rig.dev), IXY_EVENT_GONE);
	ixy_stop(rig.dev);
	assert_int_equal(pci_read32(rig.dev->pci, RXDCTL(0)) & RXDCTL_ENABLE, 0);
	assert_int_equal(pci_read32(rig.dev->pci, DMATXCTL) & DMATXCTL_TE, 0);
	assert_int_equal(ixy_poll_events(rig.dev), IXY_EVENT_GONE); /* also to who has only stopped it */
	close_rig(&rig);
}

static void all_ones_from_a_statistics_register_are_no_count(void **state)
{
	static const uint32_t registers[] = {GPRC, CRCERRS, RUC, MPC(3), QPRDC(0)};
	struct rig rig;
	struct ixy_stats stats;
	(void)state;

	open_with(&rig, defaults());
	make_liar(rig.dev->pci);
	liar.value = UINT32_MAX;
	for (unsigned i = 0; i < sizeof(registers) / sizeof(registers[0]); i++) {
		liar.reg = registers[i];
		ixy_poll_events(rig.dev);
		ixy_read_stats(rig.dev, &stats);
		assert_int_equal(stats.wire_rx_frames, 0);
		assert_int_equal(stats.drops[IXY_DROP_RX_ERROR], 0);
		assert_int_equal(stats.drops[IXY_DROP_RX_NO_DESCRIPTOR], 0);
	}
	liar.reg = 0;
	close_rig(&rig);
}

static void the_first_failure_is_the_one_that_is_told(void **state)
{
	struct rig rig;
	struct pci_device *pci;
	struct ixy_options options = defaults();
	(void)state;

	plug(&rig);
	assert_int_equal(inprocess_open(rig.nic, &pci), 0);
	make_liar(pci);
	liar.reg = RDRXCTL; /* its DMA never gets ready */
	liar.config_fails = false;
	assert_int_equal(ixgbe_driver.open(pci, &options, &rig.dev), -ETIMEDOUT);
	assert_non_null(strstr(ixy_last_error(), "DMA initialisation"));
	liar.config_fails = true; /* so bus mastering cannot be turned off in the end */
	pci_close(pci);
	assert_non_null(strstr(ixy_last_error(), "DMA initialisation"));
	rig.nic->wire = NULL;
	nic_free(rig.nic);
}

static void a_nic_without_a_mac_address_is_refused(void **state)
{
	static const uint8_t none[6] = {0}, group[6] = {0x03, 1, 2, 3, 4, 5};
	struct ixy_options options = defaults();
	(void)state;

	for (unsigned i = 0; i < 2; i++) {
		struct nic *nic = nic_create(0, "test", i ? group : none);
		struct ixy_device *dev;
		struct pci_device *pci;

		assert_non_null(nic);
		assert_int_equal(inprocess_open(nic, &pci), 0);
		assert_int_equal(ixgbe_driver.open(pci, &options, &dev), -EIO);
		assert_non_null(strstr(ixy_last_error(), "MAC address"));
		pci_close(pci);
		nic_free(nic);
	}
}

static void a_device_that_does_not_reset_is_refused(void **state)
{
	struct rig rig;
	struct pci_device *pci;
	struct ixy_options options = defaults();
	(void)state;

	plug(&rig);
	assert_int_equal(nic_fault_set(rig.nic, "reset-stuck", UINT64_MAX), 0);
	assert_int_equal(inprocess_open(rig.nic, &pci), 0);
	assert_int_equal(ixgbe_driver.open(pci, &options, &rig.dev), -ETIMEDOUT);
	assert_non_null(strstr(ixy_last_error(), "reset"));
	pci_close(pci);
	rig.nic->wire = NULL;
	nic_free(rig.nic);
}

static void a_device_whose_dma_does_not_get_quiet_is_reset_twice(void **state)
{
	struct rig rig;
	struct pci_device *pci;
	struct ixy_options options = defaults();
	(void)state;

	plug(&rig);
	assert_int_equal(nic_fault_set(rig.nic, "no-master-done", UINT64_MAX), 0);
	assert_int_equal(inprocess_open(rig.nic, &pci), 0);
	assert_int_equal(ixgbe_driver.open(pci, &options, &rig.dev), 0);
	rig.pool = ixy_mempool_create(rig.dev, 64, 0);
	nic_fault_set(rig.nic, "no-master-done", 0);
	ixy_poll_events(rig.dev);
	assert_traffic_flows(&rig);
	close_rig(&rig);
}

static void bad_options_are_refused_with_a_reason(void **state)
{
	static const struct ixy_options bad[] = {
		{.rx_queues = 17},
		{.tx_queues = 1000},
		{.rx_ring = 100},
		{.tx_ring = 8192},
		{.rx_ring = 32},
		{.mtu = 67},
	};
	struct ixy_device *dev;
	(void)state;

	for (unsigned i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		assert_int_equal(ixy_open("0000:00:00.0", &bad[i], &dev), -EINVAL);
		assert_string_not_equal(ixy_last_error(), "");
	}
	assert_int_equal(ixy_open("nonsense", NULL, &dev), -EINVAL);
	assert_non_null(strstr(ixy_last_error(), "nonsense"));
}

static void statistics_add_up(void **state)
{
	struct rig rig;
	struct ixy_stats stats;
	struct ixy_queue_stats queue;
	struct pkt_buf *frame;
	(void)state;

	open_with(&rig, defaults());
	for (uint32_t i = 0; i < 10; i++) {
		frame = outgoing(&rig, i, 100);
		ixy_tx_batch(rig.dev, 0, &frame, 1);
		step(&rig);
		arrive(&rig, i, 200);
		assert_received(&rig, 0, i, 200);
	}
	ixy_poll_events(rig.dev);
	ixy_read_stats(rig.dev, &stats);
	ixy_read_queue_stats(rig.dev, 0, &queue);
	assert_int_equal(stats.rx_frames, 10);
	assert_int_equal(stats.rx_bytes, 2000);
	assert_int_equal(stats.tx_frames, 10);
	assert_int_equal(stats.tx_bytes, 1000);
	assert_int_equal(stats.wire_rx_frames, 10);
	assert_int_equal(stats.wire_tx_frames, 10);
	assert_int_equal(queue.rx_frames, 10);
	assert_int_equal(queue.tx_bytes, 1000);
	for (unsigned i = 0; i < IXY_DROP_COUNT; i++)
		assert_int_equal(stats.drops[i], 0);
	close_rig(&rig);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_bad_write_back_is_counted_and_nothing_leaks),
		cmocka_unit_test(a_short_buffer_without_eop_is_dropped_and_the_next_frame_is_whole),
		cmocka_unit_test(a_frame_that_never_ends_is_given_up),
		cmocka_unit_test(a_hung_transmit_queue_is_reset),
		cmocka_unit_test(a_hung_receive_queue_is_reset),
		cmocka_unit_test(a_hung_receive_queue_on_a_quiet_wire_is_reset),
		cmocka_unit_test(an_idle_or_busy_queue_is_not_taken_for_hung),
		cmocka_unit_test(an_idle_queue_beside_an_overloaded_one_is_not_taken_for_hung),
		cmocka_unit_test(a_removed_device_is_noticed_and_can_be_closed),
		cmocka_unit_test(a_reset_by_others_is_noticed_at_the_next_look),
		cmocka_unit_test(interrupts_come_again_after_a_reset_by_others),
		cmocka_unit_test(a_function_in_d3_is_woken_and_reset),
		cmocka_unit_test(a_nic_that_is_handed_over_asleep_is_woken),
		cmocka_unit_test(registers_that_fall_silent_alone_are_worth_a_reset),
		cmocka_unit_test(a_device_that_the_kernel_wants_back_is_given_up_in_order),
		cmocka_unit_test(all_ones_from_a_statistics_register_are_no_count),
		cmocka_unit_test(the_first_failure_is_the_one_that_is_told),
		cmocka_unit_test(a_nic_without_a_mac_address_is_refused),
		cmocka_unit_test(a_device_that_does_not_reset_is_refused),
		cmocka_unit_test(a_device_whose_dma_does_not_get_quiet_is_reset_twice),
		cmocka_unit_test(bad_options_are_refused_with_a_reason),
		cmocka_unit_test(statistics_add_up),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
