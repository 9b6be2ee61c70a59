/*
 * The virtio NIC's driver on a card that the test plays: features, queues, MTU, filters. What is about checksums and
 * super-frames is in test_virtio_net_offload.c, what about interrupts, resets and a card that lies in
 * test_virtio_net_trouble.c.
 */
#include "virtio_net_rig.h"

#include <endian.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

static struct net_rig n;
static struct net_rig_frame sent;

static void open_usual(void)
{
	net_rig_init(&n, RIG_MODERN, NET_RIG_USUAL);
	net_rig_open(&n, NULL);
}

/* --- features ----------------------------------------------------------------------------------------- */

#define ALL UINT64_MAX

static void what_is_accepted_follows_from_what_is_offered_and_asked_for(void **state)
{
	static const struct {
		uint64_t offered;
		bool super_frames, udp;
		uint64_t accepted, refused; /* of those, the rest does not matter */
		uint16_t max_mtu;
	} cases[] = {
		{NET_RIG_USUAL, false, false,
			F(VIRTIO_NET_F_CSUM) | F(VIRTIO_NET_F_HOST_TSO4) | F(VIRTIO_NET_F_GUEST_CSUM) |
				F(VIRTIO_NET_F_MRG_RXBUF) | F(VIRTIO_NET_F_CTRL_RX) | F(VIRTIO_NET_F_STATUS) |
				F(VIRTIO_RING_F_EVENT_IDX) | F(VIRTIO_RING_F_INDIRECT_DESC) |
				F(VIRTIO_F_VERSION_1),
			F(VIRTIO_NET_F_GUEST_TSO4) | F(VIRTIO_NET_F_GUEST_TSO6) | F(VIRTIO_NET_F_GUEST_ECN) |
				F(VIRTIO_NET_F_CTRL_VLAN) | F(VIRTIO_NET_F_GUEST_UFO) |
				F(VIRTIO_NET_F_HOST_UFO) | F(VIRTIO_NET_F_GUEST_ANNOUNCE) |
				F(VIRTIO_NET_F_CTRL_GUEST_OFFLOADS),
			NET_MAX_MTU},
		{NET_RIG_USUAL, true, false,
			F(VIRTIO_NET_F_GUEST_TSO4) | F(VIRTIO_NET_F_GUEST_TSO6) | F(VIRTIO_NET_F_GUEST_ECN),
			F(VIRTIO_NET_F_GUEST_UFO), NET_MAX_MTU},
		/* Not everything that is there is good for us. */
		{ALL & ~F(VIRTIO_NET_F_MTU), true, false, NET_RIG_USUAL & F(VIRTIO_NET_F_CTRL_MAC_ADDR),
			F(VIRTIO_F_RING_PACKED) | F(VIRTIO_F_IN_ORDER) | F(VIRTIO_NET_F_RSS) |
				F(VIRTIO_NET_F_HASH_REPORT) | F(VIRTIO_NET_F_NOTF_COAL) |
				F(38 /* NOTIFICATION_DATA */) | F(VIRTIO_NET_F_STANDBY) |
				F(VIRTIO_NET_F_GUEST_USO4) | F(VIRTIO_NET_F_GUEST_USO6) | F(VIRTIO_NET_F_MQ),
			NET_MAX_MTU},
		{ALL & ~F(VIRTIO_NET_F_MTU), true, true,
			F(VIRTIO_NET_F_GUEST_USO4) | F(VIRTIO_NET_F_GUEST_USO6) | F(VIRTIO_NET_F_HOST_USO), 0,
			NET_MAX_MTU},
		/* What needs another feature is not accepted without it. */
		{NET_RIG_USUAL & ~F(VIRTIO_NET_F_CSUM), true, false, F(VIRTIO_NET_F_GUEST_TSO4),
			F(VIRTIO_NET_F_HOST_TSO4) | F(VIRTIO_NET_F_HOST_TSO6) | F(VIRTIO_NET_F_HOST_ECN),
			NET_MAX_MTU},
		{NET_RIG_USUAL & ~F(VIRTIO_NET_F_GUEST_CSUM), true, false, F(VIRTIO_NET_F_HOST_TSO4),
			F(VIRTIO_NET_F_GUEST_TSO4) | F(VIRTIO_NET_F_GUEST_TSO6) | F(VIRTIO_NET_F_GUEST_ECN),
			NET_MAX_MTU},
		{NET_RIG_USUAL & ~F(VIRTIO_NET_F_CTRL_VQ), true, false, F(VIRTIO_NET_F_STATUS),
			F(VIRTIO_NET_F_CTRL_RX) | F(VIRTIO_NET_F_CTRL_MAC_ADDR), NET_MAX_MTU},
		/* Without merging, a frame has to fit one buffer. */
		{NET_RIG_USUAL & ~F(VIRTIO_NET_F_MRG_RXBUF), true, false, F(VIRTIO_NET_F_GUEST_CSUM),
			F(VIRTIO_NET_F_GUEST_TSO4) | F(VIRTIO_NET_F_GUEST_TSO6), 2030},
		{0, true, true, F(VIRTIO_F_VERSION_1), 0, 2030},
	};

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct ixy_options options = net_rig_options();

		options.rx_super_frames = cases[i].super_frames;
		options.rx_super_frames_udp = cases[i].udp;
		net_rig_init(&n, RIG_MODERN, cases[i].offered);
		net_rig_open(&n, &options);
		assert_int_equal(n.rig.accepted & cases[i].accepted, cases[i].accepted);
		assert_int_equal(n.rig.accepted & cases[i].refused, 0);
		assert_int_equal(ixy_max_mtu(n.dev), cases[i].max_mtu);
		/* The caller finds the same offloads everywhere: what is missing is made up for in software. */
		assert_int_equal(ixy_capabilities(n.dev) & ~(uint32_t)IXY_CAP_JUMBO,
			IXY_CAP_RX_CSUM | IXY_CAP_TX_CSUM | IXY_CAP_TSO | IXY_CAP_USO | IXY_CAP_INTERRUPTS);
		net_rig_traffic(&n, 0);
		net_rig_close(&n);
	}
}

/* A frame comes, and the same one is sent. */
static void goes_in_and_out(uint32_t number, size_t size)
{
	static uint8_t bytes[NET_RIG_FRAME];
	struct pkt_buf *frame;

	net_rig_fill(bytes, number, size);
	assert_true(net_rig_arrive(&n, 0, NULL, bytes, size));
	frame = net_rig_received(&n, 0, bytes, size);
	assert_int_equal(ixy_tx_batch(n.dev, 0, &frame, 1), 1);
	assert_true(net_rig_sent(&n, 0, &sent));
	assert_int_equal(sent.size, size);
	assert_memory_equal(sent.bytes, bytes, size);
}

static void frames_pass_in_every_layout(void **state)
{
	static const struct {
		enum rig_layout layout;
		uint64_t offered;
	} cases[] = {
		{RIG_MODERN, NET_RIG_USUAL}, {RIG_MODERN, 0}, {RIG_TRANSITIONAL, NET_RIG_USUAL},
		{RIG_LEGACY, NET_RIG_USUAL | F(VIRTIO_F_ANY_LAYOUT)},
		{RIG_LEGACY, F(VIRTIO_F_ANY_LAYOUT)}, /* a header of 10 bytes */
		{RIG_LEGACY, NET_RIG_USUAL},          /* in a descriptor of its own */
		{RIG_LEGACY, 0},                      /* both */
	};

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		net_rig_init(&n, cases[i].layout, cases[i].offered);
		net_rig_open(&n, NULL);
		assert_true(ixy_link_get(n.dev).up);
		/* Many, so that all of the ring is used over and over. */
		for (uint32_t k = 0; k < 600; k++)
			goes_in_and_out(k, 60 + k * 2);
		ixy_tx_batch(n.dev, 0, NULL, 0);
		net_rig_close(&n);
	}
}

static void indices_wrap_at_65536(void **state)
{
	uint8_t bytes[60];

	(void)state;
	open_usual();
	for (uint32_t k = 0; k < 70000; k++) {
		struct pkt_buf *frame;

		net_rig_fill(bytes, k, sizeof(bytes));
		assert_true(net_rig_arrive(&n, 0, NULL, bytes, sizeof(bytes)));
		frame = net_rig_received(&n, 0, bytes, sizeof(bytes));
		assert_int_equal(ixy_tx_batch(n.dev, 0, &frame, 1), 1);
		assert_true(net_rig_sent(&n, 0, &sent));
		assert_memory_equal(sent.bytes, bytes, sizeof(bytes));
	}
	ixy_tx_batch(n.dev, 0, NULL, 0);
	net_rig_close(&n);
}

static void the_device_s_mtu_is_the_longest_and_takes_the_place_of_1500(void **state)
{
	static const struct {
		uint16_t device, wanted, mtu, max;
	} cases[] = {
		{9000, 1500, 1500, 9000},
		{9000, 9000, 9000, 9000},
		{1400, 1500, 1400, 1400},
		{9000, 9001, 0, 0},            /* refused */
		{67, 1500, 1500, NET_MAX_MTU}, /* makes no sense: as if it had none */
		{65535, 16128, 16128, NET_MAX_MTU},
	};

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct ixy_options options = net_rig_options();

		options.mtu = cases[i].wanted;
		net_rig_init(&n, RIG_MODERN, NET_RIG_USUAL | F(VIRTIO_NET_F_MTU));
		net_rig_config(&n, offsetof(struct virtio_net_config, mtu), cases[i].device);
		if (!cases[i].mtu) {
			assert_int_equal(net_rig_try(&n, &options), -EINVAL);
			assert_non_null(strstr(ixy_last_error(), "9000"));
			virtio_rig_close(&n.rig);
			continue;
		}
		net_rig_open(&n, &options);
		assert_int_equal(ixy_mtu_get(n.dev), cases[i].mtu);
		assert_int_equal(ixy_max_mtu(n.dev), cases[i].max);
		assert_int_equal(!!(n.rig.accepted & F(VIRTIO_NET_F_MTU)), cases[i].device >= 68);
		net_rig_close(&n);
	}
}

static void frames_over_the_mtu_are_dropped_both_ways(void **state)
{
	uint8_t bytes[1600];
	struct pkt_buf *frame;

	(void)state;
	open_usual();
	assert_true(net_rig_arrive(&n, 0, NULL, bytes, net_rig_fill(bytes, 1, 1519)));
	net_rig_nothing_received(&n, 0);
	assert_int_equal(net_rig_drops(&n, IXY_DROP_RX_TOO_LONG), 1);
	frame = net_rig_frame(&n, bytes, 1519);
	assert_int_equal(ixy_tx_batch(n.dev, 0, &frame, 1), 1);
	assert_false(net_rig_sent(&n, 0, &sent));
	assert_int_equal(net_rig_drops(&n, IXY_DROP_TX_TOO_LONG), 1);
	/* With a VLAN tag 1518 are right. */
	assert_true(net_rig_arrive(&n, 0, NULL, bytes, net_rig_fill(bytes, 2, 1518)));
	pkt_buf_free(net_rig_received(&n, 0, bytes, 1518));
	assert_int_equal(ixy_mtu_set(n.dev, 1501), 0);
	assert_true(net_rig_arrive(&n, 0, NULL, bytes, net_rig_fill(bytes, 3, 1519)));
	pkt_buf_free(net_rig_received(&n, 0, bytes, 1519));
	net_rig_close(&n);
}

static void jumbo_frames_come_in_chains_also_when_their_buffers_come_one_by_one(void **state)
{
	static uint8_t bytes[12 + 9018];
	struct ixy_options options = net_rig_options();
	struct virtio_net_hdr_v1 header = {.num_buffers = htole16(3)};

	(void)state;
	options.mtu = 9000;
	net_rig_init(&n, RIG_MODERN, NET_RIG_USUAL);
	net_rig_open(&n, &options);
	for (uint32_t k = 0; k < 300; k++)
		goes_in_and_out(k, 9018 - k * 20);
	ixy_tx_batch(n.dev, 0, NULL, 0);
	memcpy(bytes, &header, sizeof(header));
	net_rig_fill(bytes + 12, 7, 6000);
	net_rig_arrive_raw(&n, 0, bytes, 2060, 2060);
	net_rig_nothing_received(&n, 0);
	net_rig_arrive_raw(&n, 0, bytes + 2060, 2060, 2060);
	net_rig_nothing_received(&n, 0);
	net_rig_arrive_raw(&n, 0, bytes + 4120, 1892, 1892);
	pkt_buf_free(net_rig_received(&n, 0, bytes + 12, 6000));
	/* A reset finds one that is not complete. */
	net_rig_arrive_raw(&n, 0, bytes, 2060, 2060);
	net_rig_nothing_received(&n, 0);
	assert_int_equal(ixy_reset(n.dev), 0);
	net_rig_traffic(&n, 0);
	net_rig_close(&n);
}

/* --- queues ------------------------------------------------------------------------------------------- */

static void queue_pairs_are_as_many_as_asked_for(void **state)
{
	struct ixy_options options = net_rig_options();

	(void)state;
	for (uint16_t pairs = 1; pairs <= 4; pairs++) {
		options.rx_queues = options.tx_queues = pairs;
		net_rig_init(&n, RIG_MODERN, NET_RIG_USUAL);
		net_rig_pairs(&n, 4);
		net_rig_open(&n, &options);
		/* One pair needs no word about it. */
		assert_int_equal(n.control.pairs, pairs > 1 ? pairs : 0);
		assert_int_equal(!!(ixy_capabilities(n.dev) & IXY_CAP_RSS), pairs > 1);
		for (uint16_t q = 0; q < pairs; q++)
			net_rig_traffic(&n, q);
		n.control.pairs = 0;
		assert_int_equal(ixy_reset(n.dev), 0);
		assert_int_equal(n.control.pairs, pairs > 1 ? pairs : 0);
		for (uint16_t q = 0; q < pairs; q++)
			net_rig_traffic(&n, q);
		net_rig_close(&n);
	}
}

static void more_queues_than_there_are_are_refused_by_their_number(void **state)
{
	struct ixy_options options = net_rig_options();

	(void)state;
	options.rx_queues = options.tx_queues = 3;
	net_rig_init(&n, RIG_MODERN, NET_RIG_USUAL);
	net_rig_pairs(&n, 2);
	assert_int_equal(net_rig_try(&n, &options), -EINVAL);
	assert_non_null(strstr(ixy_last_error(), "3 queues asked for, the device has 2"));
	virtio_rig_assert_clean(&n.rig);
	virtio_rig_close(&n.rig);
	/* It says that it has more than there are. */
	net_rig_init(&n, RIG_MODERN, NET_RIG_USUAL | F(VIRTIO_NET_F_MQ));
	net_rig_config(&n, offsetof(struct virtio_net_config, max_virtqueue_pairs), 0x8000);
	assert_int_equal(net_rig_try(&n, &options), -EINVAL);
	virtio_rig_close(&n.rig);
	options.tx_queues = 1;
	net_rig_init(&n, RIG_MODERN, NET_RIG_USUAL);
	assert_int_equal(net_rig_try(&n, &options), -EINVAL);
	virtio_rig_close(&n.rig);
}

static void rings_that_no_long_frame_fits_are_refused(void **state)
{
	(void)state;
	net_rig_init(&n, RIG_MODERN, NET_RIG_USUAL);
	net_rig_ring(&n, 8);
	assert_int_equal(net_rig_try(&n, NULL), -EPROTO);
	assert_non_null(strstr(ixy_last_error(), "queue 0 has 8 entries, 16 are the least"));
	virtio_rig_assert_clean(&n.rig);
	virtio_rig_close(&n.rig);
	/* Commands are shorter, but for all three of their parts. */
	for (uint16_t entries = 2; entries <= 4; entries += 2) {
		net_rig_init(&n, RIG_MODERN, NET_RIG_USUAL);
		n.rig.queues[2].max_size = n.rig.queues[2].size = entries;
		if (entries == 4) {
			net_rig_open(&n, NULL);
			assert_int_equal(ixy_set_multicast(n.dev, &(struct ixy_mac){{1}}, 1), 0);
			net_rig_close(&n);
		} else {
			assert_int_equal(net_rig_try(&n, NULL), -EPROTO);
			virtio_rig_close(&n.rig);
		}
	}
}

static void a_full_ring_takes_no_frame_and_a_batch_is_notified_once(void **state)
{
	struct pkt_buf *frames[300];
	uint8_t bytes[60];

	(void)state;
	open_usual();
	for (uint32_t i = 0; i < 300; i++)
		frames[i] = net_rig_frame(&n, bytes, net_rig_fill(bytes, i, sizeof(bytes)));
	n.kicks[1] = 0;
	assert_int_equal(ixy_tx_batch(n.dev, 0, frames, 300), 256);
	assert_int_equal(n.kicks[1], 1);
	assert_int_equal(ixy_tx_pending(n.dev, 0), 256);
	assert_int_equal(ixy_tx_batch(n.dev, 0, frames + 256, 44), 0);
	assert_int_equal(n.kicks[1], 1);
	/* A device that works does not ask. */
	n.rig.queues[1].kick_off = true;
	for (uint32_t i = 0; i < 256; i++)
		assert_true(net_rig_sent(&n, 0, &sent));
	assert_int_equal(ixy_tx_batch(n.dev, 0, frames + 256, 44), 44);
	assert_int_equal(n.kicks[1], 1);
	assert_int_equal(ixy_tx_pending(n.dev, 0), 44);
	for (uint32_t i = 256; i < 300; i++) {
		assert_true(net_rig_sent(&n, 0, &sent));
		net_rig_fill(bytes, i, sizeof(bytes));
		assert_memory_equal(sent.bytes, bytes, sizeof(bytes));
	}
	ixy_tx_batch(n.dev, 0, NULL, 0);
	assert_int_equal(ixy_tx_pending(n.dev, 0), 0);
	net_rig_close(&n);
}

/* --- filters ------------------------------------------------------------------------------------------ */

static void what_the_user_sets_reaches_the_device_and_a_reset_brings_it_back(void **state)
{
	static const struct ixy_mac mac = {{2, 9, 9, 9, 9, 9}}, unicast[2] = {{{2, 1}}, {{2, 2}}},
				    groups[3] = {{{0x33, 0x33, 1}}, {{0x33, 0x33, 2}}, {{1, 0, 0x5e}}};

	(void)state;
	open_usual();
	/* As it begins: neither promiscuity nor groups. */
	assert_false(n.control.promisc);
	assert_false(n.control.allmulti);
	assert_memory_equal(ixy_mac_get(n.dev).addr, net_rig_mac, 6);
	assert_int_equal(ixy_mac_set(n.dev, mac), 0);
	assert_int_equal(ixy_set_unicast(n.dev, unicast, 2), 0);
	assert_int_equal(ixy_set_multicast(n.dev, groups, 3), 0);
	assert_int_equal(ixy_set_promisc(n.dev, true), 0);
	assert_int_equal(ixy_set_allmulti(n.dev, true), 0);
	for (unsigned i = 0; i < 2; i++) {
		assert_memory_equal(n.control.mac, mac.addr, 6);
		assert_int_equal(n.control.unicast_count, 2);
		assert_memory_equal(n.control.unicast, unicast, 12);
		assert_int_equal(n.control.multicast_count, 3);
		assert_memory_equal(n.control.multicast, groups, 18);
		assert_true(n.control.promisc && n.control.allmulti);
		memset(&n.control, 0, sizeof(n.control));
		assert_int_equal(ixy_reset(n.dev), 0);
	}
	assert_int_equal(ixy_set_promisc(n.dev, false), 0);
	assert_int_equal(ixy_set_allmulti(n.dev, false), 0);
	assert_int_equal(ixy_set_multicast(n.dev, NULL, 0), 0);
	assert_false(n.control.promisc || n.control.allmulti || n.control.multicast_count);
	net_rig_close(&n);
}

static void more_groups_than_fit_are_all_let_in(void **state)
{
	static struct ixy_mac groups[NET_MAX_MULTICAST + 1], unicast[NET_MAX_UNICAST + 1];

	(void)state;
	for (size_t i = 0; i <= NET_MAX_MULTICAST; i++)
		groups[i] = (struct ixy_mac){{1, 0, 0, 0, (uint8_t)(i >> 8), (uint8_t)i}};
	for (size_t i = 0; i <= NET_MAX_UNICAST; i++)
		unicast[i] = (struct ixy_mac){{2, 0, 0, 0, 0, (uint8_t)i}};
	open_usual();
	assert_int_equal(ixy_set_unicast(n.dev, unicast, NET_MAX_UNICAST + 1), -ENOSPC);
	assert_int_equal(ixy_set_unicast(n.dev, unicast, NET_MAX_UNICAST), 0);
	assert_int_equal(ixy_set_multicast(n.dev, groups, NET_MAX_MULTICAST), 0);
	assert_int_equal(n.control.unicast_count, NET_MAX_UNICAST);
	assert_int_equal(n.control.multicast_count, NET_MAX_MULTICAST);
	assert_false(n.control.allmulti);
	assert_int_equal(ixy_set_multicast(n.dev, groups, NET_MAX_MULTICAST + 1), 0);
	assert_true(n.control.allmulti);
	assert_int_equal(ixy_set_multicast(n.dev, groups, 1), 0);
	assert_false(n.control.allmulti);
	assert_int_equal(n.control.multicast_count, 1);
	net_rig_close(&n);
}

static void without_a_command_for_it_the_address_goes_where_it_can(void **state)
{
	static const struct ixy_mac mac = {{2, 9, 9, 9, 9, 9}};

	(void)state;
	/* Into the table of addresses ... */
	net_rig_init(&n, RIG_MODERN, NET_RIG_USUAL & ~F(VIRTIO_NET_F_CTRL_MAC_ADDR));
	net_rig_open(&n, NULL);
	assert_int_equal(n.control.unicast_count, 0);
	assert_int_equal(ixy_mac_set(n.dev, mac), 0);
	assert_int_equal(n.control.unicast_count, 1);
	assert_memory_equal(n.control.unicast, mac.addr, 6);
	net_rig_close(&n);
	/* ... into the configuration of a legacy device ... */
	net_rig_init(&n, RIG_LEGACY, F(VIRTIO_NET_F_MAC));
	net_rig_open(&n, NULL);
	assert_int_equal(ixy_mac_set(n.dev, mac), 0);
	assert_memory_equal(n.rig.config, mac.addr, 6);
	net_rig_close(&n);
	/* ... or nowhere. */
	net_rig_init(&n, RIG_MODERN, F(VIRTIO_NET_F_MAC));
	net_rig_open(&n, NULL);
	assert_int_equal(ixy_mac_set(n.dev, mac), -ENOTSUP);
	assert_memory_equal(ixy_mac_get(n.dev).addr, net_rig_mac, 6);
	/* It filters nothing, so there is nothing to be refused. */
	assert_int_equal(ixy_set_promisc(n.dev, true), 0);
	assert_int_equal(ixy_set_multicast(n.dev, NULL, 0), 0);
	net_rig_close(&n);
}

static void a_device_without_an_address_is_given_one(void **state)
{
	struct ixy_mac mac;

	(void)state;
	net_rig_init(&n, RIG_MODERN, NET_RIG_USUAL & ~F(VIRTIO_NET_F_MAC));
	net_rig_open(&n, NULL);
	mac = ixy_mac_get(n.dev);
	assert_int_equal(mac.addr[0] & 3, 2); /* unicast, locally administered */
	assert_memory_equal(n.control.mac, mac.addr, 6);
	net_rig_close(&n);
}

static void a_control_queue_that_does_not_answer_is_not_waited_for_without_end(void **state)
{
	unsigned commands;

	(void)state;
	/* From the start: it is no card to work with. */
	net_rig_init(&n, RIG_MODERN, NET_RIG_USUAL);
	n.control.silent = true;
	assert_int_equal(net_rig_try(&n, NULL), -ETIMEDOUT);
	assert_non_null(strstr(ixy_last_error(), "no answer on the control queue"));
	virtio_rig_close(&n.rig);
	/* Later on: what was asked for fails, at once from the second time on; frames pass. */
	open_usual();
	n.control.silent = true;
	assert_int_equal(ixy_set_promisc(n.dev, true), -ETIMEDOUT);
	commands = n.control.commands;
	assert_int_equal(ixy_set_promisc(n.dev, false), -ETIMEDOUT);
	assert_int_equal(n.control.commands, commands);
	net_rig_traffic(&n, 0);
	/* The answer comes after all. */
	n.control.silent = false;
	net_rig_answer(&n);
	assert_true(n.control.promisc);
	assert_int_equal(ixy_set_promisc(n.dev, false), 0);
	assert_false(n.control.promisc);
	net_rig_close(&n);
}

static void a_filter_that_is_refused_is_an_error_but_no_reason_to_give_up(void **state)
{
	struct ixy_options options = net_rig_options();

	(void)state;
	net_rig_init(&n, RIG_MODERN, NET_RIG_USUAL);
	n.control.refused_class = VIRTIO_NET_CTRL_RX + 1;
	net_rig_open(&n, NULL);
	assert_int_equal(ixy_set_promisc(n.dev, true), -EIO);
	net_rig_traffic(&n, 0);
	net_rig_close(&n);
	/* Queues are another matter: frames would be lost. */
	options.rx_queues = options.tx_queues = 2;
	net_rig_init(&n, RIG_MODERN, NET_RIG_USUAL);
	net_rig_pairs(&n, 2);
	n.control.refused_class = VIRTIO_NET_CTRL_MQ + 1;
	assert_int_equal(net_rig_try(&n, &options), -EIO);
	virtio_rig_close(&n.rig);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(what_is_accepted_follows_from_what_is_offered_and_asked_for),
		cmocka_unit_test(frames_pass_in_every_layout),
		cmocka_unit_test(indices_wrap_at_65536),
		cmocka_unit_test(the_device_s_mtu_is_the_longest_and_takes_the_place_of_1500),
		cmocka_unit_test(frames_over_the_mtu_are_dropped_both_ways),
		cmocka_unit_test(jumbo_frames_come_in_chains_also_when_their_buffers_come_one_by_one),
		cmocka_unit_test(queue_pairs_are_as_many_as_asked_for),
		cmocka_unit_test(more_queues_than_there_are_are_refused_by_their_number),
		cmocka_unit_test(rings_that_no_long_frame_fits_are_refused),
		cmocka_unit_test(a_full_ring_takes_no_frame_and_a_batch_is_notified_once),
		cmocka_unit_test(what_the_user_sets_reaches_the_device_and_a_reset_brings_it_back),
		cmocka_unit_test(more_groups_than_fit_are_all_let_in),
		cmocka_unit_test(without_a_command_for_it_the_address_goes_where_it_can),
		cmocka_unit_test(a_device_without_an_address_is_given_one),
		cmocka_unit_test(a_control_queue_that_does_not_answer_is_not_waited_for_without_end),
		cmocka_unit_test(a_filter_that_is_refused_is_an_error_but_no_reason_to_give_up),
	};

	return cmocka_run_group_tests_name("virtio NIC", tests, NULL, NULL);
}
