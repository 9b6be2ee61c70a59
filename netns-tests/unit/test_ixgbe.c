/* The 82599 driver: frames out and in, filters, queues, interrupts, link, statistics. */
#include "ixgbe_rig.h"

/* --- sending --------------------------------------------------------------------------------------- */

static void an_opened_device_has_the_eeprom_mac_and_a_link(void **state)
{
	struct rig rig;
	(void)state;

	open_with(&rig, defaults());
	assert_memory_equal(ixy_mac_get(rig.dev).addr, nic_mac, 6);
	assert_int_equal(ixy_link_get(rig.dev).speed, 10000);
	assert_int_equal(ixy_max_mtu(rig.dev), 9710);
	assert_true(ixy_capabilities(rig.dev) & IXY_CAP_INTERRUPTS);
	assert_string_equal(ixy_driver_name(rig.dev), "ixgbe");
	close_rig(&rig);
}

static void frames_leave_as_they_were_queued(void **state)
{
	struct rig rig;
	(void)state;

	open_with(&rig, defaults());
	for (uint32_t size = 60; size <= 1514; size += 97) {
		struct pkt_buf *frame = outgoing(&rig, size, size);

		assert_int_equal(ixy_tx_batch(rig.dev, 0, &frame, 1), 1);
		step(&rig);
		assert_on_wire(&rig, rig.wire.count - 1, size, size);
	}
	ixy_tx_batch(rig.dev, 0, NULL, 0);
	assert_int_equal(ixy_tx_pending(rig.dev, 0), 0);
	close_rig(&rig);
}

static void a_short_frame_is_padded_with_zeroes(void **state)
{
	struct rig rig;
	struct pkt_buf *frame;
	(void)state;

	open_with(&rig, defaults());
	for (size_t size = 14; size < 60; size++) {
		frame = pkt_buf_alloc(rig.pool);
		memset(frame->data, 0xEE, 2048);
		memcpy(frame->data, peer_mac, 6);
		frame->size = frame->frame_size = (uint32_t)size;
		assert_int_equal(ixy_tx_batch(rig.dev, 0, &frame, 1), 1);
		step(&rig);
		assert_int_equal(rig.wire.sizes[rig.wire.count - 1], 60);
		for (size_t i = size; i < 60; i++)
			assert_int_equal(rig.wire.frames[rig.wire.count - 1][i], 0);
	}
	close_rig(&rig);
}

static void transmit_wraps_around_the_ring_in_any_batch_size(void **state)
{
	static const uint32_t batches[] = {1, 2, 3, 7, 31, 32, 33, 40, 63};
	struct rig rig;
	uint32_t number = 0;
	(void)state;

	open_with(&rig, defaults());
	for (unsigned round = 0; round < 45; round++) {
		struct pkt_buf *frames[64];
		uint32_t n = batches[round % 9];

		for (uint32_t i = 0; i < n; i++)
			frames[i] = outgoing(&rig, number + i, 64 + (number + i) % 500);
		assert_int_equal(ixy_tx_batch(rig.dev, 0, frames, n), n);
		step(&rig);
		number += n;
		ixy_tx_batch(rig.dev, 0, NULL, 0);
		assert_int_equal(ixy_tx_pending(rig.dev, 0), 0);
	}
	assert_int_equal(rig.wire.count, number);
	for (uint32_t i = 0; i < number; i++)
		assert_on_wire(&rig, i, i, 64 + i % 500);
	close_rig(&rig);
}

static void a_full_transmit_ring_takes_what_fits_and_the_caller_keeps_the_rest(void **state)
{
	struct rig rig;
	struct pkt_buf *frames[100];
	(void)state;

	open_with(&rig, defaults());
	for (uint32_t i = 0; i < 100; i++)
		frames[i] = outgoing(&rig, i, 64);
	assert_int_equal(ixy_tx_batch(rig.dev, 0, frames, 100), 63);
	assert_int_equal(ixy_tx_batch(rig.dev, 0, frames + 63, 37), 0);
	step(&rig);
	assert_int_equal(ixy_tx_batch(rig.dev, 0, frames + 63, 37), 37);
	step(&rig);
	for (uint32_t i = 0; i < 100; i++)
		assert_on_wire(&rig, i, i, 64);
	close_rig(&rig);
}

static void a_busy_wait_on_a_dead_ring_ends_and_counts_what_it_gave_up(void **state)
{
	struct rig rig;
	struct pkt_buf *frames[100];
	(void)state;

	open_with(&rig, defaults());
	for (uint32_t i = 0; i < 100; i++)
		frames[i] = outgoing(&rig, i, 64);
	assert_int_equal(ixy_tx_batch_busy_wait(rig.dev, 0, frames, 100), 63);
	assert_int_equal(drops(&rig, IXY_DROP_TX_RING_FULL), 37);
	close_rig(&rig);
}

static void frames_that_cannot_be_sent_are_counted_by_reason(void **state)
{
	struct rig rig;
	struct pkt_buf *frame;
	(void)state;

	open_with(&rig, defaults());
	frame = outgoing(&rig, 1, 1519);
	assert_int_equal(ixy_tx_batch(rig.dev, 0, &frame, 1), 1);
	frame = outgoing(&rig, 1, 100);
	frame->size = frame->frame_size = 13;
	assert_int_equal(ixy_tx_batch(rig.dev, 0, &frame, 1), 1);
	frame = outgoing(&rig, 1, 100);
	frame->flags = PKT_TX_USO;
	assert_int_equal(ixy_tx_batch(rig.dev, 0, &frame, 1), 1);
	step(&rig);
	assert_int_equal(rig.wire.count, 0);
	assert_int_equal(drops(&rig, IXY_DROP_TX_TOO_LONG), 1);
	assert_int_equal(drops(&rig, IXY_DROP_TX_TOO_SHORT), 1);
	assert_int_equal(drops(&rig, IXY_DROP_TX_BAD_OFFLOAD), 1);
	close_rig(&rig);
}

static void a_frame_of_too_many_segments_is_dropped_even_when_the_ring_is_nearly_full(void **state)
{
	struct rig rig;
	struct pkt_buf *frames[30], *frame;
	(void)state;

	open_with(&rig, defaults());
	for (uint32_t i = 0; i < 30; i++)
		frames[i] = outgoing(&rig, i, 64);
	assert_int_equal(ixy_tx_batch(rig.dev, 0, frames, 30), 30);
	frame = outgoing(&rig, 1, 64);
	for (struct pkt_buf *last = frame; frame->segments < 70; last = last->next, frame->segments++) {
		last->next = pkt_buf_alloc(rig.pool);
		last->next->size = 1;
		frame->frame_size++;
	}
	assert_int_equal(ixy_tx_batch(rig.dev, 0, &frame, 1), 1);
	assert_int_equal(drops(&rig, IXY_DROP_TX_TOO_LONG), 1);
	close_rig(&rig);
}

/* --- receiving ----------------------------------------------------------------------------------- */

static void frames_arrive_as_they_were_on_the_wire(void **state)
{
	struct rig rig;
	(void)state;

	open_with(&rig, defaults());
	for (uint32_t i = 0; i < 500; i++) {
		arrive(&rig, i, 60 + i * 7 % 1455);
		assert_received(&rig, 0, i, 60 + i * 7 % 1455);
	}
	assert_nothing_received(&rig);
	close_rig(&rig);
}

static void a_burst_fills_the_ring_and_the_rest_is_counted_by_the_nic(void **state)
{
	struct rig rig;
	struct pkt_buf *frames[128];
	uint32_t n;
	(void)state;

	open_with(&rig, defaults());
	for (uint32_t i = 0; i < 100; i++)
		arrive(&rig, i, 64);
	n = ixy_rx_batch(rig.dev, 0, frames, 128);
	assert_int_equal(n, 63);
	pkt_buf_free_batch(frames, n);
	assert_int_equal(drops(&rig, IXY_DROP_RX_NO_DESCRIPTOR), 37);
	assert_traffic_flows(&rig);
	close_rig(&rig);
}

static void an_exhausted_pool_shortens_the_ring_and_recovers(void **state)
{
	struct rig rig;
	struct pkt_buf *held[2048];
	uint32_t n = 0, arrived = 0;
	(void)state;

	open_with(&rig, defaults());
	for (unsigned i = 0; i < 200; i++) {
		for (unsigned j = 0; j < 10; j++)
			arrive(&rig, arrived++, 64);
		n += ixy_rx_batch(rig.dev, 0, held + n, 2048 - n);
	}
	assert_int_equal(n, ixgbe(rig.dev)->rx[0].pool->buf_count);
	assert_int_equal(drops(&rig, IXY_DROP_RX_NO_DESCRIPTOR), arrived - n);
	assert_true(ixgbe(rig.dev)->rx[0].pool->exhausted > 0);
	pkt_buf_free_batch(held, n);
	assert_nothing_received(&rig); /* but this look refilled the ring */
	assert_traffic_flows(&rig);
	close_rig(&rig);
}

static void a_dry_pool_does_not_ring_the_doorbell(void **state)
{
	struct rig rig;
	struct pkt_buf *held[2048];
	struct ixgbe_rx_queue *q;
	uint32_t n = 0;
	(void)state;

	open_with(&rig, defaults());
	q = &ixgbe(rig.dev)->rx[0];
	while (n < q->pool->buf_count) {
		arrive(&rig, n, 64);
		n += ixy_rx_batch(rig.dev, 0, held + n, 2048 - n);
	}
	make_liar(rig.dev->pci);
	liar.counted = RDT(0);
	q->tail.reg = NULL; /* from here on by message */
	for (unsigned i = 0; i < 100; i++)
		assert_nothing_received(&rig);
	assert_int_equal(liar.count, 0);
	pkt_buf_free_batch(held, n);
	assert_nothing_received(&rig);
	assert_int_equal(liar.count, 1);
	close_rig(&rig);
}

static void jumbo_frames_are_chains_both_ways(void **state)
{
	struct rig rig;
	struct ixy_options options = defaults();
	(void)state;

	options.mtu = 9710;
	open_with(&rig, options);
	for (size_t size = 2000; size <= 9724; size += 1) {
		struct pkt_buf *frame;

		if (size == 2100)
			size = 4090;
		if (size == 4110)
			size = 9720;
		frame = outgoing(&rig, (uint32_t)size, size);
		assert_int_equal(ixy_tx_batch(rig.dev, 0, &frame, 1), 1);
		step(&rig);
		assert_on_wire(&rig, rig.wire.count - 1, (uint32_t)size, size);
		arrive(&rig, (uint32_t)size, size);
		assert_received(&rig, 0, (uint32_t)size, size);
	}
	close_rig(&rig);
}

static void the_mtu_decides_what_the_nic_lets_in(void **state)
{
	struct rig rig;
	(void)state;

	open_with(&rig, defaults());
	arrive(&rig, 1, 1514);
	assert_received(&rig, 0, 1, 1514);
	arrive(&rig, 2, 1515);
	assert_nothing_received(&rig);
	assert_int_equal(drops(&rig, IXY_DROP_RX_ERROR), 1);
	assert_int_equal(ixy_mtu_set(rig.dev, 3000), 0);
	arrive(&rig, 3, 3014);
	assert_received(&rig, 0, 3, 3014);
	assert_int_equal(ixy_mtu_set(rig.dev, 9711), -EINVAL);
	assert_int_equal(ixy_mtu_set(rig.dev, 67), -EINVAL);
	assert_int_equal(ixy_mtu_get(rig.dev), 3000);
	close_rig(&rig);
}

static void only_frames_for_this_nic_come_in(void **state)
{
	static const struct ixy_mac other = {{0x02, 1, 2, 3, 4, 5}}, group = {{0x01, 0, 0x5e, 1, 2, 3}};
	struct rig rig;
	uint8_t frame[64];
	(void)state;

	open_with(&rig, defaults());
#define ARRIVES(mac, yes)                                                 \
	do {                                                              \
		struct pkt_buf *buf;                                      \
		make_frame(frame, true, 5, 64);                           \
		memcpy(frame, mac, 6);                                    \
		nic_receive(rig.nic, frame, 64);                          \
		nic_receive_flush(rig.nic);                               \
		assert_int_equal(ixy_rx_batch(rig.dev, 0, &buf, 1), yes); \
		if (yes)                                                  \
			pkt_buf_free(buf);                                \
	} while (0)
	ARRIVES(nic_mac, 1);
	ARRIVES("\xff\xff\xff\xff\xff\xff", 1);
	ARRIVES(other.addr, 0);
	ARRIVES(group.addr, 0);
	assert_int_equal(ixy_set_promisc(rig.dev, true), 0);
	ARRIVES(other.addr, 1);
	ARRIVES(group.addr, 1);
	assert_int_equal(ixy_set_promisc(rig.dev, false), 0);
	ARRIVES(other.addr, 0);
	assert_int_equal(ixy_set_allmulti(rig.dev, true), 0);
	ARRIVES(group.addr, 1);
	ARRIVES(other.addr, 0);
	assert_int_equal(ixy_set_allmulti(rig.dev, false), 0);
	assert_int_equal(ixy_set_multicast(rig.dev, &group, 1), 0);
	ARRIVES(group.addr, 1);
	assert_int_equal(ixy_reset(rig.dev), 0); /* filters survive a reset */
	nic_wire_carrier(rig.nic, true);
	ARRIVES(group.addr, 1);
	assert_int_equal(ixy_set_multicast(rig.dev, NULL, 0), 0);
	ARRIVES(group.addr, 0);
	assert_int_equal(ixy_set_unicast(rig.dev, &other, 1), 0);
	ARRIVES(other.addr, 1);
	ARRIVES(nic_mac, 1);
	assert_int_equal(ixy_set_unicast(rig.dev, NULL, 0), 0);
	ARRIVES(other.addr, 0);
	assert_int_equal(ixy_mac_set(rig.dev, other), 0);
	ARRIVES(other.addr, 1);
	ARRIVES(nic_mac, 0);
	assert_int_equal(ixy_mac_set(rig.dev, group), -EINVAL);
	assert_int_equal(ixy_mac_set(rig.dev, (struct ixy_mac){{0}}), -EINVAL);
	close_rig(&rig);
}

static void flows_spread_over_the_queues_and_stay_on_theirs(void **state)
{
	struct rig rig;
	struct ixy_options options = defaults();
	unsigned used = 0;
	(void)state;

	options.rx_queues = options.tx_queues = 4;
	open_with(&rig, options);
	for (uint32_t flow = 0; flow < 64; flow++) {
		int queue = -1;

		for (unsigned again = 0; again < 3; again++) {
			struct pkt_buf *buf;

			arrive(&rig, flow, 100);
			for (uint16_t q = 0; q < 4; q++) {
				if (!ixy_rx_batch(rig.dev, q, &buf, 1))
					continue;
				assert_true(queue < 0 || queue == q);
				assert_true(buf->flags & PKT_RX_RSS_HASH);
				queue = q;
				pkt_buf_free(buf);
			}
			assert_true(queue >= 0);
		}
		used |= 1u << queue;
	}
	assert_int_equal(used, 0xF);
	for (uint16_t q = 0; q < 4; q++) {
		struct pkt_buf *frame = outgoing(&rig, q, 80);

		assert_int_equal(ixy_tx_batch(rig.dev, q, &frame, 1), 1);
		step(&rig);
		assert_on_wire(&rig, q, q, 80);
	}
	close_rig(&rig);
}

static void sixteen_queues_work(void **state)
{
	struct rig rig;
	struct ixy_options options = defaults();
	(void)state;

	options.rx_queues = options.tx_queues = 16;
	open_with(&rig, options);
	for (uint16_t q = 0; q < 16; q++) {
		struct pkt_buf *frame = outgoing(&rig, q, 80);

		assert_int_equal(ixy_tx_batch(rig.dev, q, &frame, 1), 1);
		step(&rig);
		assert_on_wire(&rig, q, q, 80);
	}
	close_rig(&rig);
}

static bool readable(int fd)
{
	struct pollfd p = {.fd = fd, .events = POLLIN};

	return poll(&p, 1, 0) == 1;
}

static void an_interrupt_tells_of_every_frame_after_arming(void **state)
{
	struct rig rig;
	int fd;
	(void)state;

	open_with(&rig, defaults());
	fd = ixy_rx_irq_fd(rig.dev, 0);
	assert_true(fd >= 0);
	for (uint32_t i = 0; i < 20; i++) {
		ixy_rx_irq_arm(rig.dev, 0);
		assert_nothing_received(&rig);
		assert_false(readable(fd));
		arrive(&rig, i, 64);
		/* The interval of EITR may hold the interrupt back, but not for ever. */
		for (unsigned tries = 0; tries < 1000 && !readable(fd); tries++) {
			usleep(100);
			nic_irq_poll(rig.nic, clock_us());
		}
		assert_true(readable(fd));
		assert_received(&rig, 0, i, 64);
	}
	close_rig(&rig);
}

static void a_long_interrupt_interval_is_the_longest_that_there_is(void **state)
{
	struct rig rig;
	struct ixy_options options = defaults();
	(void)state;

	options.irq_interval_us = 1024;
	open_with(&rig, options);
	assert_int_equal(nic_reg(rig.nic, EITR(0)) & EITR_INTERVAL_MASK, EITR_INTERVAL_MASK);
	close_rig(&rig);
}

static void without_interrupts_there_is_nothing_to_wait_on(void **state)
{
	struct rig rig;
	struct ixy_options options = defaults();
	(void)state;

	options.no_interrupts = true;
	open_with(&rig, options);
	assert_int_equal(ixy_rx_irq_fd(rig.dev, 0), -ENOTSUP);
	assert_non_null(strstr(ixy_last_error(), "no interrupts"));
	assert_int_equal(ixy_event_fd(rig.dev), -ENOTSUP);
	assert_false(ixy_capabilities(rig.dev) & IXY_CAP_INTERRUPTS);
	assert_traffic_flows(&rig);
	close_rig(&rig);
}

static void a_cable_pull_is_an_event_and_frames_are_dropped_by_name(void **state)
{
	struct rig rig;
	struct pkt_buf *frame;
	(void)state;

	open_with(&rig, defaults());
	ixy_poll_events(rig.dev);
	nic_wire_carrier(rig.nic, false);
	assert_true(readable(ixy_event_fd(rig.dev)));
	assert_int_equal(ixy_poll_events(rig.dev), IXY_EVENT_LINK);
	assert_false(ixy_link_get(rig.dev).up);
	frame = outgoing(&rig, 1, 64);
	assert_int_equal(ixy_tx_batch(rig.dev, 0, &frame, 1), 1);
	assert_int_equal(drops(&rig, IXY_DROP_TX_LINK_DOWN), 1);
	nic_wire_carrier(rig.nic, true);
	assert_int_equal(ixy_poll_events(rig.dev), IXY_EVENT_LINK);
	assert_true(ixy_link_get(rig.dev).up);
	assert_traffic_flows(&rig);
	close_rig(&rig);
}

static void admin_down_turns_the_laser_off(void **state)
{
	struct rig rig;
	(void)state;

	open_with(&rig, defaults());
	assert_true(nic_laser_on(rig.nic));
	assert_int_equal(ixy_set_up(rig.dev, false), 0);
	assert_false(nic_laser_on(rig.nic));
	ixy_poll_events(rig.dev);
	assert_false(ixy_link_get(rig.dev).up);
	arrive(&rig, 1, 64);
	assert_nothing_received(&rig);
	assert_int_equal(ixy_reset(rig.dev), 0); /* a reset does not bring it up */
	assert_false(nic_laser_on(rig.nic));
	assert_int_equal(ixy_set_up(rig.dev, true), 0);
	ixy_poll_events(rig.dev);
	assert_true(ixy_link_get(rig.dev).up);
	assert_traffic_flows(&rig);
	close_rig(&rig);
}

static void an_attempt_to_come_up_that_failed_can_be_repeated(void **state)
{
	struct rig rig;
	(void)state;

	open_with(&rig, defaults());
	make_liar(rig.dev->pci);
	assert_int_equal(ixy_set_up(rig.dev, false), 0);
	liar.reg = SECRXSTAT;
	assert_int_equal(ixy_set_up(rig.dev, true), -ETIMEDOUT);
	assert_false(nic_laser_on(rig.nic));
	liar.reg = 0;
	assert_int_equal(ixy_set_up(rig.dev, true), 0);
	assert_true(nic_laser_on(rig.nic));
	ixy_poll_events(rig.dev);
	assert_traffic_flows(&rig);
	close_rig(&rig);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(an_opened_device_has_the_eeprom_mac_and_a_link),
		cmocka_unit_test(frames_leave_as_they_were_queued),
		cmocka_unit_test(a_short_frame_is_padded_with_zeroes),
		cmocka_unit_test(transmit_wraps_around_the_ring_in_any_batch_size),
		cmocka_unit_test(a_full_transmit_ring_takes_what_fits_and_the_caller_keeps_the_rest),
		cmocka_unit_test(a_busy_wait_on_a_dead_ring_ends_and_counts_what_it_gave_up),
		cmocka_unit_test(frames_that_cannot_be_sent_are_counted_by_reason),
		cmocka_unit_test(a_frame_of_too_many_segments_is_dropped_even_when_the_ring_is_nearly_full),
		cmocka_unit_test(frames_arrive_as_they_were_on_the_wire),
		cmocka_unit_test(a_burst_fills_the_ring_and_the_rest_is_counted_by_the_nic),
		cmocka_unit_test(an_exhausted_pool_shortens_the_ring_and_recovers),
		cmocka_unit_test(a_dry_pool_does_not_ring_the_doorbell),
		cmocka_unit_test(jumbo_frames_are_chains_both_ways),
		cmocka_unit_test(the_mtu_decides_what_the_nic_lets_in),
		cmocka_unit_test(only_frames_for_this_nic_come_in),
		cmocka_unit_test(flows_spread_over_the_queues_and_stay_on_theirs),
		cmocka_unit_test(sixteen_queues_work),
		cmocka_unit_test(an_interrupt_tells_of_every_frame_after_arming),
		cmocka_unit_test(a_long_interrupt_interval_is_the_longest_that_there_is),
		cmocka_unit_test(without_interrupts_there_is_nothing_to_wait_on),
		cmocka_unit_test(a_cable_pull_is_an_event_and_frames_are_dropped_by_name),
		cmocka_unit_test(admin_down_turns_the_laser_off),
		cmocka_unit_test(an_attempt_to_come_up_that_failed_can_be_repeated),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
