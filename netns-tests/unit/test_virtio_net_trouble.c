/*
 * The virtio NIC's driver on a card that the test plays: interrupts, link, up and down, resets, the end, and a card that
 * lies. Whatever it says, no buffer is lost and a reset makes it well.
 */
#include "virtio_net_rig.h"

#include <endian.h>
#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>

static struct net_rig n;
static struct net_rig_frame sent;

static bool readable(int fd)
{
	struct pollfd p = {.fd = fd, .events = POLLIN};

	return poll(&p, 1, 0) == 1;
}

static void open_usual(void)
{
	net_rig_init(&n, RIG_MODERN, NET_RIG_USUAL);
	net_rig_open(&n, NULL);
}

static void arrive(uint32_t number)
{
	uint8_t bytes[100];

	assert_true(net_rig_arrive(&n, 0, NULL, bytes, net_rig_fill(bytes, number, sizeof(bytes))));
}

static void send(uint32_t number)
{
	uint8_t bytes[100];
	struct pkt_buf *frame = net_rig_frame(&n, bytes, net_rig_fill(bytes, number, sizeof(bytes)));

	assert_int_equal(ixy_tx_batch(n.dev, 0, &frame, 1), 1);
}

static void receive(uint32_t number)
{
	uint8_t bytes[100];

	pkt_buf_free(net_rig_received(&n, 0, bytes, net_rig_fill(bytes, number, sizeof(bytes))));
}

/* --- interrupts and link ------------------------------------------------------------------------------ */

static void a_frame_signals_its_queue_once_that_has_been_armed(void **state)
{
	struct ixy_options options = net_rig_options();
	int fd;

	(void)state;
	options.rx_queues = options.tx_queues = 2;
	net_rig_init(&n, RIG_MODERN, NET_RIG_USUAL);
	net_rig_pairs(&n, 2);
	net_rig_open(&n, &options);
	fd = ixy_rx_irq_fd(n.dev, 0);
	/* While it is polled, nothing is signalled. */
	arrive(1);
	assert_false(readable(fd));
	receive(1);
	ixy_rx_irq_arm(n.dev, 0);
	assert_false(readable(fd));
	arrive(2);
	assert_true(readable(fd));
	assert_false(readable(ixy_rx_irq_fd(n.dev, 1)));
	assert_false(readable(ixy_event_fd(n.dev)));
	arrive(3);
	receive(2);
	receive(3);
	/* Arming clears what is pending; what came before is for the look that follows. */
	arrive(4);
	ixy_rx_irq_arm(n.dev, 0);
	assert_false(readable(fd));
	receive(4);
	/* Sending raises none. */
	assert_int_equal(n.rig.queues[1].vector, 0xffff);
	assert_int_equal(ixy_rx_irq_fd(n.dev, 2), -EINVAL);
	net_rig_close(&n);
}

/*
 * What came before the arming raises no signal, so the look that follows finds it. If that is nothing for the caller, he
 * goes to sleep all the same, and the next frame has to wake him.
 */
static void a_look_that_finds_only_what_is_dropped_leaves_the_queue_armed(void **state)
{
	static const uint8_t runt[12 + 13] = {[10] = 1};
	int fd;

	(void)state;
	open_usual();
	fd = ixy_rx_irq_fd(n.dev, 0);
	net_rig_arrive_raw(&n, 0, runt, sizeof(runt), sizeof(runt));
	ixy_rx_irq_arm(n.dev, 0);
	net_rig_nothing_received(&n, 0);
	assert_int_equal(net_rig_drops(&n, IXY_DROP_RX_ERROR), 1);
	assert_false(readable(fd));
	arrive(1);
	assert_true(readable(fd));
	receive(1);
	net_rig_close(&n);
}

static void without_vectors_or_by_the_caller_s_wish_queues_are_polled(void **state)
{
	struct ixy_options options = net_rig_options();

	(void)state;
	for (unsigned i = 0; i < 2; i++) {
		net_rig_init(&n, RIG_MODERN, NET_RIG_USUAL);
		options.no_interrupts = i == 0;
		if (i == 1)
			n.rig.pci.irq_count = 1; /* one for the queue and none for the rest */
		net_rig_open(&n, &options);
		assert_false(ixy_capabilities(n.dev) & IXY_CAP_INTERRUPTS);
		assert_int_equal(ixy_rx_irq_fd(n.dev, 0), -ENOTSUP);
		assert_int_equal(ixy_event_fd(n.dev), -ENOTSUP);
		ixy_rx_irq_arm(n.dev, 0);
		net_rig_traffic(&n, 0);
		net_rig_close(&n);
	}
}

static void the_link_follows_the_device_s_status(void **state)
{
	const size_t field = offsetof(struct virtio_net_config, status);
	struct ixy_stats stats;

	(void)state;
	open_usual();
	assert_true(ixy_link_get(n.dev).up);
	assert_int_equal(ixy_link_get(n.dev).speed, 0); /* unknown */
	assert_int_equal(ixy_poll_events(n.dev), 0);
	net_rig_config(&n, field, 0);
	assert_true(readable(ixy_event_fd(n.dev)));
	assert_int_equal(ixy_poll_events(n.dev), IXY_EVENT_LINK);
	assert_false(readable(ixy_event_fd(n.dev)));
	assert_false(ixy_link_get(n.dev).up);
	send(1);
	assert_false(net_rig_sent(&n, 0, &sent));
	assert_int_equal(net_rig_drops(&n, IXY_DROP_TX_LINK_DOWN), 1);
	net_rig_config(&n, field, VIRTIO_NET_S_LINK_UP);
	assert_int_equal(ixy_poll_events(n.dev), IXY_EVENT_LINK);
	assert_true(ixy_link_get(n.dev).up);
	net_rig_traffic(&n, 0);
	ixy_read_stats(n.dev, &stats);
	assert_int_equal(stats.link_changes, 3);
	net_rig_close(&n);

	/* A device without a status is always connected. One with a speed tells it. */
	net_rig_init(
		&n, RIG_MODERN, (NET_RIG_USUAL | F(VIRTIO_NET_F_SPEED_DUPLEX)) & ~F(VIRTIO_NET_F_STATUS));
	net_rig_config(&n, field, 0);
	net_rig_config(&n, offsetof(struct virtio_net_config, speed), 25000);
	net_rig_open(&n, NULL);
	assert_true(ixy_link_get(n.dev).up);
	assert_int_equal(ixy_link_get(n.dev).speed, 25000);
	net_rig_config(&n, offsetof(struct virtio_net_config, speed) + 2, 0xffff);
	ixy_poll_events(n.dev);
	assert_int_equal(ixy_link_get(n.dev).speed, 0);
	net_rig_close(&n);
}

static void a_port_that_is_down_neither_receives_nor_sends(void **state)
{
	(void)state;
	open_usual();
	assert_int_equal(ixy_set_up(n.dev, false), 0);
	assert_false(ixy_link_get(n.dev).up);
	/* More than the ring holds: its buffers must go round. */
	for (uint32_t i = 0; i < 600; i++) {
		arrive(i);
		net_rig_nothing_received(&n, 0);
	}
	send(1);
	assert_int_equal(net_rig_drops(&n, IXY_DROP_TX_LINK_DOWN), 1);
	assert_int_equal(ixy_reset(n.dev), 0);
	assert_false(ixy_link_get(n.dev).up);
	assert_int_equal(ixy_set_up(n.dev, true), 0);
	assert_true(ixy_link_get(n.dev).up);
	net_rig_traffic(&n, 0);
	net_rig_close(&n);
}

/* --- resets and the end ------------------------------------------------------------------------------- */

static void a_reset_gives_back_all_buffers_and_counts_frames_under_its_name(void **state)
{
	struct ixy_stats stats;

	(void)state;
	open_usual();
	for (unsigned i = 0; i < 3; i++)
		net_rig_traffic(&n, 0);
	for (uint32_t i = 0; i < 10; i++)
		send(i);
	for (unsigned i = 0; i < 4; i++)
		assert_true(net_rig_sent(&n, 0, &sent));
	for (uint32_t i = 0; i < 5; i++)
		arrive(i);
	assert_int_equal(ixy_reset(n.dev), 0);
	ixy_read_stats(n.dev, &stats);
	assert_int_equal(stats.drops[IXY_DROP_TX_RESET], 6);
	assert_int_equal(stats.drops[IXY_DROP_RX_RESET], 5);
	assert_int_equal(stats.tx_frames, 7);
	assert_int_equal(stats.tx_bytes, 3 * 200 + 4 * 100);
	assert_int_equal(stats.rx_frames, 3);
	assert_int_equal(stats.wire_rx_frames, 8);
	assert_int_equal(stats.wire_tx_frames, 7);
	assert_int_equal(stats.resets, 1);
	assert_int_equal(n.pool->free_count, n.pool->buf_count);
	assert_true(ixy_link_get(n.dev).up);
	net_rig_traffic(&n, 0);
	net_rig_close(&n);
}

static void a_device_that_needs_a_reset_says_so_and_is_well_after_it(void **state)
{
	(void)state;
	open_usual();
	virtio_rig_needs_reset(&n.rig);
	assert_true(readable(ixy_event_fd(n.dev)));
	assert_int_equal(ixy_poll_events(n.dev), IXY_EVENT_RESET);
	send(1); /* it waits in the ring */
	assert_int_equal(ixy_reset(n.dev), 0);
	assert_int_equal(ixy_poll_events(n.dev) & IXY_EVENT_RESET, 0);
	assert_int_equal(net_rig_drops(&n, IXY_DROP_TX_RESET), 1);
	net_rig_traffic(&n, 0);
	/* Somebody else has reset it. */
	n.rig.pci.ops->reset(&n.rig.pci);
	assert_int_equal(ixy_poll_events(n.dev), IXY_EVENT_RESET);
	assert_int_equal(ixy_reset(n.dev), 0);
	net_rig_traffic(&n, 0);
	net_rig_close(&n);
}

static void a_device_that_has_changed_its_mind_does_not_come_back(void **state)
{
	(void)state;
	open_usual();
	n.rig.offered &= ~F(VIRTIO_NET_F_MRG_RXBUF);
	assert_int_equal(ixy_reset(n.dev), -EPROTO);
	net_rig_nothing_received(&n, 0);
	send(1);
	assert_int_equal(net_rig_drops(&n, IXY_DROP_TX_LINK_DOWN), 1);
	net_rig_close(&n);
}

static void a_device_that_goes_says_so_and_leaves_no_buffer_behind(void **state)
{
	(void)state;
	open_usual();
	send(1);
	arrive(1);
	n.rig.gone = true;
	assert_int_equal(ixy_poll_events(n.dev), IXY_EVENT_GONE);
	assert_int_equal(ixy_poll_events(n.dev), IXY_EVENT_GONE);
	assert_false(ixy_link_get(n.dev).up);
	assert_int_equal(ixy_reset(n.dev), -ENODEV);
	net_rig_close(&n);
}

/* So many readings of registers find nobody there. */
static unsigned silence;

static void silent_read(struct pci_device *pci, unsigned bar, uint32_t offset, void *data, uint32_t len)
{
	if (silence == 0) {
		n.honest->bar_read(pci, bar, offset, data, len);
		return;
	}
	silence--;
	memset(data, 0xff, len);
}

static void a_device_that_answers_again_is_left_alone(void **state)
{
	(void)state;
	open_usual();
	n.ops.bar_read = silent_read;
	for (silence = 1; silence < 4; silence++) {
		const unsigned before = silence;

		assert_int_equal(ixy_poll_events(n.dev), 0);
		assert_int_equal(silence, 0);
		silence = before;
	}
	silence = 100;
	assert_int_equal(ixy_poll_events(n.dev), IXY_EVENT_RESET);
	silence = 0;
	assert_int_equal(ixy_poll_events(n.dev), 0);
	net_rig_traffic(&n, 0);
	net_rig_close(&n);
}

static void a_reset_that_does_not_end_is_an_error_after_a_while(void **state)
{
	(void)state;
	open_usual();
	send(1);
	n.rig.reset_takes = UINT32_MAX;
	assert_int_equal(ixy_reset(n.dev), -ETIMEDOUT);
	assert_int_equal(n.pool->free_count, n.pool->buf_count);
	n.rig.reset_takes = 0;
	net_rig_close(&n);
}

static void at_the_end_what_has_come_can_still_be_taken(void **state)
{
	(void)state;
	open_usual();
	for (uint32_t i = 0; i < 100; i++)
		arrive(i);
	ixy_shut(n.dev);
	for (uint32_t i = 0; i < 99; i++)
		receive(i);
	assert_false(virtio_rig_available(&n.rig, 0));
	send(1);
	assert_int_equal(net_rig_drops(&n, IXY_DROP_TX_LINK_DOWN), 1);
	assert_int_equal(ixy_poll_events(n.dev), 0);
	assert_int_equal(ixy_set_promisc(n.dev, true), 0);
	ixy_stop(n.dev);
	assert_int_equal(net_rig_drops(&n, IXY_DROP_SHUTDOWN), 1);
	net_rig_nothing_received(&n, 0);
	net_rig_close(&n);
}

/* --- a card that lies --------------------------------------------------------------------------------- */

/* The driver has seen through it: it wants a reset, takes and sends nothing until then, and is well after it. */
static void assert_seen_through(void)
{
	struct pkt_buf *frame;
	uint8_t bytes[60];

	net_rig_nothing_received(&n, 0);
	assert_true(readable(ixy_event_fd(n.dev)));
	assert_int_equal(ixy_poll_events(n.dev), IXY_EVENT_RESET);
	net_rig_nothing_received(&n, 0);
	frame = net_rig_frame(&n, bytes, net_rig_fill(bytes, 1, sizeof(bytes)));
	if (ixy_tx_batch(n.dev, 0, &frame, 1) == 0)
		pkt_buf_free(frame);
	assert_int_equal(ixy_reset(n.dev), 0);
	assert_int_equal(ixy_poll_events(n.dev), 0);
	net_rig_traffic(&n, 0);
}

static void used_entries_that_cannot_be_are_seen_through(void **state)
{
	struct rig_chain chain;

	(void)state;
	open_usual();
	for (unsigned i = 0; i < 6; i++) {
		virtio_rig_take(&n.rig, 0, &chain);
		switch (i) {
		case 0: virtio_rig_used(&n.rig, 0, 256, 100); break;               /* no such descriptor */
		case 1: virtio_rig_used(&n.rig, 0, UINT32_MAX, 100); break;        /* the same */
		case 2: virtio_rig_used(&n.rig, 0, chain.head, 2061); break;       /* over the buffer's end */
		case 3: virtio_rig_used(&n.rig, 0, chain.head, UINT32_MAX); break; /* far over it */
		case 4:                                                            /* given back twice */
			virtio_rig_used(&n.rig, 0, chain.head, 100);
			virtio_rig_used(&n.rig, 0, chain.head, 100);
			((struct virtio_net_hdr_v1 *)chain.in[0].iov_base)->num_buffers = htole16(2);
			break;
		default:
			for (unsigned k = 0; k < 300; k++) /* more than there are */
				virtio_rig_used(&n.rig, 0, k, 100);
		}
		assert_seen_through();
	}
	/* The same where frames leave. */
	for (unsigned i = 0; i < 2; i++) {
		send(i);
		virtio_rig_used(&n.rig, 1, i ? 77 : 256, 0);
		ixy_tx_batch(n.dev, 0, NULL, 0);
		assert_seen_through();
	}
	net_rig_close(&n);
}

/* What answers each command is no command's buffer. */
static void lying_write(struct pci_device *pci, unsigned bar, uint32_t offset, const void *data, uint32_t len)
{
	if (bar == RIG_NOTIFY_BAR)
		virtio_rig_used(&n.rig, 2, 77, 1);
	else
		n.honest->bar_write(pci, bar, offset, data, len);
}

static void a_control_queue_that_is_broken_takes_a_reset_too(void **state)
{
	struct pci_ops honest;

	(void)state;
	open_usual();
	honest = n.ops;
	n.ops.bar_write = lying_write;
	assert_int_equal(ixy_set_promisc(n.dev, true), -EPROTO);
	n.ops = honest;
	assert_int_equal(ixy_set_allmulti(n.dev, true), -EPROTO);
	assert_int_equal(ixy_poll_events(n.dev), IXY_EVENT_RESET);
	assert_int_equal(ixy_reset(n.dev), 0);
	assert_int_equal(ixy_poll_events(n.dev), 0);
	/* What could not be told is told now. */
	assert_true(n.control.promisc);
	assert_true(n.control.allmulti);
	net_rig_traffic(&n, 0);
	net_rig_close(&n);
}

static void numbers_of_buffers_that_cannot_be_are_seen_through(void **state)
{
	static const uint16_t numbers[] = {0, 34, 257, 0xffff};
	uint8_t bytes[12 + 100];

	(void)state;
	open_usual();
	for (size_t i = 0; i < sizeof(numbers) / sizeof(numbers[0]); i++) {
		struct virtio_net_hdr_v1 header = {.num_buffers = htole16(numbers[i])};

		net_rig_fill(bytes + 12, 1, 100);
		memcpy(bytes, &header, 12);
		net_rig_arrive_raw(&n, 0, bytes, sizeof(bytes), sizeof(bytes));
		arrive(2); /* whatever this is, it is not looked at */
		assert_seen_through();
		assert_int_equal(net_rig_drops(&n, IXY_DROP_RX_BAD_DESCRIPTOR), i + 1);
	}
	/* Less than a header. */
	for (uint32_t claimed = 0; claimed < 12; claimed++) {
		struct virtio_net_hdr_v1 header = {.num_buffers = htole16(1)};

		net_rig_arrive_raw(&n, 0, &header, sizeof(header), claimed);
		assert_seen_through();
	}
	net_rig_close(&n);
}

static void a_number_that_is_too_high_by_some_costs_the_frames_it_swallows_and_no_more(void **state)
{
	struct virtio_net_hdr_v1 header = {.num_buffers = htole16(3)};
	struct pkt_buf *frame;
	uint8_t bytes[12 + 100];

	(void)state;
	open_usual();
	memcpy(bytes, &header, 12);
	net_rig_fill(bytes + 12, 1, 100);
	net_rig_arrive_raw(&n, 0, bytes, sizeof(bytes), sizeof(bytes));
	arrive(2);
	net_rig_nothing_received(&n, 0);
	arrive(3);
	/* Three of them look like one. It is of the right length for its buffers, and harmless. */
	assert_int_equal(ixy_rx_batch(n.dev, 0, &frame, 1), 1);
	assert_int_equal(frame->frame_size, 100 + 112 + 112);
	assert_int_equal(frame->segments, 3);
	pkt_buf_free(frame);
	net_rig_traffic(&n, 0);
	net_rig_close(&n);
}

static void frames_that_are_none_are_dropped_and_the_next_one_passes(void **state)
{
	struct virtio_net_hdr_v1 header = {.num_buffers = htole16(1)};
	static uint8_t bytes[2060];

	(void)state;
	open_usual();
	memcpy(bytes, &header, 12);
	for (uint32_t size = 0; size < 14; size++)
		net_rig_arrive_raw(&n, 0, bytes, 12 + size, 12 + size);
	net_rig_nothing_received(&n, 0);
	assert_int_equal(net_rig_drops(&n, IXY_DROP_RX_ERROR), 14);
	/* The second buffer is empty, and the third belongs to the same frame. */
	header.num_buffers = htole16(3);
	memcpy(bytes, &header, 12);
	net_rig_arrive_raw(&n, 0, bytes, 100, 100);
	net_rig_arrive_raw(&n, 0, bytes, 0, 0);
	net_rig_arrive_raw(&n, 0, bytes, 100, 100);
	net_rig_nothing_received(&n, 0);
	assert_int_equal(net_rig_drops(&n, IXY_DROP_RX_BAD_DESCRIPTOR), 1);
	/* Longer than any frame can be. */
	header.num_buffers = htole16(33);
	memcpy(bytes, &header, 12);
	for (unsigned i = 0; i < 33; i++)
		net_rig_arrive_raw(&n, 0, bytes, 2060, 2060);
	net_rig_nothing_received(&n, 0);
	assert_int_equal(net_rig_drops(&n, IXY_DROP_RX_BAD_DESCRIPTOR), 2);
	assert_int_equal(ixy_poll_events(n.dev), 0);
	net_rig_traffic(&n, 0);
	net_rig_close(&n);
}

static void a_pool_that_runs_dry_starves_the_ring_and_not_the_program(void **state)
{
	static struct pkt_buf *held[4096];
	const struct mempool *pool;
	uint32_t count = 0;

	(void)state;
	open_usual();
	pool = net_device(n.dev)->rx[0].pool;
	while (virtio_rig_available(&n.rig, 0)) {
		arrive(count);
		assert_int_equal(ixy_rx_batch(n.dev, 0, &held[count], 1), 1);
		assert_in_range(++count, 1, 4095);
	}
	assert_int_equal(pool->free_count, 0);
	assert_int_equal(count, pool->buf_count);
	net_rig_nothing_received(&n, 0);
	pkt_buf_free_batch(held, count);
	net_rig_nothing_received(&n, 0); /* but buffers are posted */
	net_rig_traffic(&n, 0);
	net_rig_close(&n);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_frame_signals_its_queue_once_that_has_been_armed),
		cmocka_unit_test(a_look_that_finds_only_what_is_dropped_leaves_the_queue_armed),
		cmocka_unit_test(without_vectors_or_by_the_caller_s_wish_queues_are_polled),
		cmocka_unit_test(the_link_follows_the_device_s_status),
		cmocka_unit_test(a_port_that_is_down_neither_receives_nor_sends),
		cmocka_unit_test(a_reset_gives_back_all_buffers_and_counts_frames_under_its_name),
		cmocka_unit_test(a_device_that_needs_a_reset_says_so_and_is_well_after_it),
		cmocka_unit_test(a_device_that_has_changed_its_mind_does_not_come_back),
		cmocka_unit_test(a_device_that_goes_says_so_and_leaves_no_buffer_behind),
		cmocka_unit_test(a_device_that_answers_again_is_left_alone),
		cmocka_unit_test(a_reset_that_does_not_end_is_an_error_after_a_while),
		cmocka_unit_test(at_the_end_what_has_come_can_still_be_taken),
		cmocka_unit_test(used_entries_that_cannot_be_are_seen_through),
		cmocka_unit_test(a_control_queue_that_is_broken_takes_a_reset_too),
		cmocka_unit_test(numbers_of_buffers_that_cannot_be_are_seen_through),
		cmocka_unit_test(a_number_that_is_too_high_by_some_costs_the_frames_it_swallows_and_no_more),
		cmocka_unit_test(frames_that_are_none_are_dropped_and_the_next_one_passes),
		cmocka_unit_test(a_pool_that_runs_dry_starves_the_ring_and_not_the_program),
	};

	return cmocka_run_group_tests_name("virtio NIC in trouble", tests, NULL, NULL);
}
