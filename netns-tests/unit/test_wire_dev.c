/*
 * The wire into an existing interface, against the real kernel: one end of a veth pair is the wire, the other
 * one the test's. What the frames become inside the NIC is other tests' matter; here they are counted.
 *
 * What is about sending runs twice: by AF_XDP, and by packet socket, as a wire sends if somebody else has the
 * interface's queue 0.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <errno.h>
#include <linux/if_tun.h>

#include "driver/gso.h"
#include "driver/xdp/xsk.h"
#include "netns-tests/softnic/log.h"
#include "netns-tests/softnic/wire.h"
#include "own_netns.h"

struct rig {
	struct ev_loop *loop;
	struct nic *nic;
	struct wire *wire;
	int peer;              /* packet socket on the other end */
	bool by_packet;        /* how the wire is to send */
	struct xsk_umem *umem; /* of somebody else */
	struct xsk_socket *holder;
};

/* Give the kernel's link watch the second it may take. */
static void wait_for_carrier(struct rig *rig, bool carrier)
{
	for (unsigned i = 0; i < 300 && rig->nic->link.carrier != carrier; i++) {
		ev_run(rig->loop, EVRUN_NOWAIT);
		usleep(10000);
	}
	assert_int_equal(rig->nic->link.carrier, carrier);
}

/* Try to take queue 0 of an interface, to keep it. False: somebody has it. */
static bool take_queue(struct rig *rig, const char *ifname)
{
	int rc = xsk_socket_open(rig->umem,
		&(struct xsk_socket_config){.ifname = ifname,
			.flags = XSK_TX_ONLY,
			.mode = XSK_MODE_NATIVE,
			.busy_timeout_ms = -1},
		&rig->holder);
	assert_true(rc == 0 || rc == -EBUSY);
	return rc == 0;
}

static void leave_queue(struct rig *rig)
{
	xsk_socket_close(rig->holder);
	rig->holder = NULL;
}

/* Who has queue 0 tells how the wire sends. */
static void assert_way(struct rig *rig, const char *ifname)
{
	if (rig->by_packet)
		assert_non_null(rig->holder);
	else
		assert_false(take_queue(rig, ifname));
}

static void open_wire(struct rig *rig, const char *ifname)
{
	char spec[32];
	snprintf(spec, sizeof spec, "dev:%s", ifname);
	if (rig->by_packet)
		assert_true(take_queue(rig, ifname));
	rig->wire = wire_open(spec, rig->nic, rig->loop);
	assert_non_null(rig->wire);
	wait_for_carrier(rig, true);
	assert_way(rig, ifname);
}

static void close_wire(struct rig *rig)
{
	wire_close(rig->wire);
	leave_queue(rig);
}

static int set_up(void **state, bool by_packet)
{
	static struct rig rig;
	softnic_log_level(LOG_LEVEL_ERROR);
	assert_true(shell("ip link add w0 type veth peer name w1"));
	assert_true(shell("ip link set w0 mtu 9216 addrgenmode none up"));
	assert_true(shell("ip link set w1 mtu 9216 addrgenmode none up"));
	rig = (struct rig){.by_packet = by_packet};
	assert_int_equal(xsk_umem_create(&(struct xsk_umem_config){.frames = 64}, &rig.umem), 0);
	rig.loop = ev_loop_new(EVFLAG_AUTO);
	rig.nic = nic_create(0, "test", (const uint8_t[6]){2, 0, 0, 0, 0, 1});
	assert_non_null(rig.nic);
	rig.peer = packet_socket("w1");
	assert_true(rig.peer >= 0);
	int size = 16 << 20; /* of a few hundred jumbo frames */
	assert_int_equal(setsockopt(rig.peer, SOL_SOCKET, SO_RCVBUFFORCE, &size, sizeof size), 0);
	*state = &rig;
	open_wire(&rig, "w0");

	/* Everything on the wire is taken in, and counted there; no queue is needed for that. */
	nic_write32(rig.nic, FCTRL, FCTRL_UPE | FCTRL_MPE | FCTRL_BAM);
	nic_write32(rig.nic, SECRXCTRL, SECRXCTRL_RX_DIS);
	nic_write32(rig.nic, RXCTRL, RXCTRL_RXEN);
	nic_write32(rig.nic, SECRXCTRL, 0);
	assert_true(rig.nic->link.up);
	return 0;
}

static int setup(void **state)
{
	return set_up(state, false);
}

static int setup_by_packet(void **state)
{
	return set_up(state, true);
}

static int teardown(void **state)
{
	struct rig *rig = *state;
	close(rig->peer);
	close_wire(rig);
	assert_int_equal(xsk_umem_free(rig->umem), 0);
	nic_free(rig->nic);
	ev_loop_destroy(rig->loop);
	shell("ip link del w1 2>/dev/null");
	return 0;
}

static unsigned poll_wire(struct rig *rig)
{
	unsigned frames = rig->wire->ops->poll(rig->wire, 1000);
	nic_receive_flush(rig->nic);
	return frames;
}

/* An IPv4 UDP frame of the given size. */
static void make_frame(uint8_t *frame, size_t size)
{
	static const uint8_t header[42] = {0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 2, 0, 0, 0, 0, 9, 8, 0, 0x45,
		0, 0, 0, 0, 0, 0, 0, 64, 17, 0, 0, 10, 0, 0, 1, 10, 0, 0, 2, 0x10, 0, 0x20, 0};
	memset(frame, 0x5A, size);
	memcpy(frame, header, size < sizeof header ? size : sizeof header);
	if (size >= sizeof header) {
		*(uint16_t *)(frame + 16) = htons((uint16_t)(size - 14));
		*(uint16_t *)(frame + 38) = htons((uint16_t)(size - 34));
	}
}

static void peer_sends(struct rig *rig, const void *frame, size_t size)
{
	assert_int_equal(send(rig->peer, frame, size, 0), size);
}

/* --- receive ---------------------------------------------------------------------------------------------------- */

static void a_frame_of_the_peer_comes_in(void **state)
{
	struct rig *rig = *state;
	uint8_t frame[1514];
	make_frame(frame, sizeof frame);
	peer_sends(rig, frame, sizeof frame);
	assert_int_equal(poll_wire(rig), 1);
	assert_int_equal(rig->nic->stats.rx_frames, 1);
	assert_int_equal(rig->nic->stats.rx_bytes, 1514);
	assert_int_equal(poll_wire(rig), 0);
}

static void a_short_frame_is_padded(void **state)
{
	struct rig *rig = *state;
	uint8_t frame[42];
	make_frame(frame, sizeof frame);
	peer_sends(rig, frame, sizeof frame);
	assert_int_equal(poll_wire(rig), 1);
	assert_int_equal(rig->nic->stats.rx_bytes, 60);
}

static void a_tag_that_the_kernel_took_off_is_put_back(void **state)
{
	struct rig *rig = *state;
	uint8_t frame[104];
	make_frame(frame, sizeof frame);
	memmove(frame + 16, frame + 12, sizeof frame - 16);
	memcpy(frame + 12, "\x81\x00\x00\x64", 4);
	peer_sends(rig, frame, sizeof frame);
	assert_int_equal(poll_wire(rig), 1);
	assert_int_equal(rig->nic->stats.rx_bytes, sizeof frame);
}

/* Send with a virtio_net_hdr in front, as the peer's stack hands over what it leaves to hardware. */
static void peer_offloads(const void *message, size_t size)
{
	int on = 1, fd = socket(AF_PACKET, SOCK_RAW | SOCK_CLOEXEC, 0);
	struct sockaddr_ll to = {
		.sll_family = AF_PACKET,
		.sll_protocol = htons(ETH_P_IP),
		.sll_ifindex = (int)if_nametoindex("w1"),
	};
	assert_int_equal(setsockopt(fd, SOL_PACKET, PACKET_VNET_HDR, &on, sizeof on), 0);
	assert_int_equal(sendto(fd, message, size, 0, (struct sockaddr *)&to, sizeof to), size);
	close(fd);
}

static void a_super_frame_comes_in_as_frames(void **state)
{
	struct rig *rig = *state;
	struct {
		struct virtio_net_hdr vnet;
		uint8_t frame[42 + 9 * 1000 + 500];
	} __attribute__((packed)) message = {
		.vnet =
			{
				.flags = VIRTIO_NET_HDR_F_NEEDS_CSUM,
				.gso_type = VIRTIO_NET_HDR_GSO_UDP_L4,
				.hdr_len = 42,
				.gso_size = 1000,
				.csum_start = 34,
				.csum_offset = 6,
			},
	};
	make_frame(message.frame, sizeof message.frame);
	peer_offloads(&message, sizeof message);
	assert_int_equal(poll_wire(rig), 10);
	assert_int_equal(rig->nic->stats.rx_frames, 10);
	assert_int_equal(rig->nic->stats.rx_bytes, 9 * 1042 + 542);
	assert_int_equal(rig->wire->rx_frames, 10);
	assert_int_equal(rig->wire->rx_dropped, 0);
}

static void what_the_nic_sent_is_not_heard_as_its_own_echo(void **state)
{
	struct rig *rig = *state;
	uint8_t frame[100];
	make_frame(frame, sizeof frame);
	nic_wire_send(rig->nic, frame, sizeof frame);
	rig->wire->ops->flush(rig->wire);
	assert_int_equal(poll_wire(rig), 0);
}

static void more_frames_than_a_budget_come_in_turns(void **state)
{
	struct rig *rig = *state;
	uint8_t frame[100];
	make_frame(frame, sizeof frame);
	for (unsigned i = 0; i < 100; i++)
		peer_sends(rig, frame, sizeof frame);
	unsigned frames = 0;
	for (unsigned turns = 0; turns < 10; turns++) {
		unsigned n = rig->wire->ops->poll(rig->wire, 15);
		assert_true(n <= 15);
		frames += n;
	}
	nic_receive_flush(rig->nic);
	assert_int_equal(frames, 100);
}

/* --- send ------------------------------------------------------------------------------------------------------- */

/* Frame number i of those sizes. */
static size_t number_frame(uint8_t *frame, unsigned i)
{
	static const size_t sizes[] = {60, 9000, 1514, 61, 2048, 2049, 64, 9230, 1000};
	size_t size = sizes[i % (sizeof sizes / sizeof sizes[0])];
	fill_frame(frame, size);
	frame[50] = (uint8_t)i;
	return size;
}

static void assert_peer_hears(struct rig *rig, const uint8_t *frame, size_t size)
{
	uint8_t heard[10000];
	assert_true(readable(rig->peer));
	assert_int_equal(recv(rig->peer, heard, sizeof heard, MSG_DONTWAIT), size);
	assert_memory_equal(heard, frame, size);
}

static void assert_peer_hears_no_more(struct rig *rig)
{
	uint8_t heard[64];
	assert_int_equal(recv(rig->peer, heard, sizeof heard, MSG_DONTWAIT), -1);
}

static void send_one(struct rig *rig, const uint8_t *frame, size_t size)
{
	nic_wire_send(rig->nic, frame, size);
	rig->wire->ops->flush(rig->wire);
}

static void sent_frames_reach_the_peer_as_they_are(void **state)
{
	struct rig *rig = *state;
	uint8_t frame[9230];
	/* More than one batch, and in all more than the memory that the wire has for them. */
	for (unsigned round = 0; round < 20; round++) {
		for (unsigned i = 0; i < 150; i++) {
			size_t size = number_frame(frame, i);
			nic_wire_send(rig->nic, frame, size);
		}
		rig->wire->ops->flush(rig->wire);
		for (unsigned i = 0; i < 150; i++) {
			size_t size = number_frame(frame, i);
			assert_peer_hears(rig, frame, size);
		}
	}
	assert_peer_hears_no_more(rig);
	assert_int_equal(rig->wire->tx_frames, 20 * 150);
	assert_int_equal(rig->wire->tx_dropped, 0);
	assert_false(rig->wire->tx_pending);
}

static void a_frame_too_long_for_the_interface_is_counted_and_the_next_one_sent(void **state)
{
	struct rig *rig = *state;
	uint8_t frame[1519];
	/* The peer would take it. */
	assert_true(shell("ip link set w0 mtu 1500"));
	ev_run(rig->loop, EVRUN_NOWAIT);
	fill_frame(frame, sizeof frame);
	nic_wire_send(rig->nic, frame, 1514);
	nic_wire_send(rig->nic, frame, 1515);
	nic_wire_send(rig->nic, frame, 200);
	rig->wire->ops->flush(rig->wire);
	assert_int_equal(rig->wire->tx_frames, 2);
	assert_int_equal(rig->wire->tx_dropped, 1);
	assert_false(rig->wire->tx_pending);
	assert_peer_hears(rig, frame, 1514);
	assert_peer_hears(rig, frame, 200);

	/* A tag comes on top. */
	memcpy(frame + 12, "\x81\x00\x00\x64", 4);
	nic_wire_send(rig->nic, frame, 1518);
	nic_wire_send(rig->nic, frame, 1519);
	rig->wire->ops->flush(rig->wire);
	assert_int_equal(rig->wire->tx_frames, 3);
	assert_int_equal(rig->wire->tx_dropped, 2);
	assert_peer_hears_no_more(rig); /* of its EtherType */
}

static void what_was_sent_while_the_interface_was_down_is_not_heard_later(void **state)
{
	struct rig *rig = *state;
	uint8_t frame[200];
	fill_frame(frame, sizeof frame);

	/* Before the wire knows, then while it does. */
	assert_true(shell("ip link set w0 down"));
	send_one(rig, frame, 100);
	assert_int_equal(rig->wire->tx_frames + rig->wire->tx_dropped + rig->wire->tx_pending, 1);
	wait_for_carrier(rig, false);
	assert_false(rig->wire->tx_pending);
	assert_int_equal(rig->wire->tx_dropped, 1);
	send_one(rig, frame, 100);
	assert_int_equal(rig->wire->tx_dropped, 2);
	assert_true(shell("ip link set w0 up"));
	wait_for_carrier(rig, true);
	assert_way(rig, "w0");

	send_one(rig, frame, 200);
	assert_int_equal(rig->wire->tx_frames, 1);
	assert_int_equal(rig->wire->tx_dropped, 2);
	assert_peer_hears(rig, frame, 200);
	assert_peer_hears_no_more(rig);
}

/*
 * Behind the peer is a bridge whose other port sends next to nothing: what goes there stays in its queue, and with it
 * the memory that a wire which sends by AF_XDP has for its frames.
 */
static void frames_that_the_receiver_keeps_make_the_wire_wait_and_then_drop(void **state)
{
	struct rig *rig = *state;
	uint8_t frame[60];
	assert_true(shell("ip link add name w2 type bridge && ip link add name w3 type veth peer name w4"));
	assert_true(shell("tc qdisc add dev w3 root tbf rate 8kbit burst 2000 latency 10000s"));
	assert_true(shell("for i in w2 w3 w4; do ip link set $i addrgenmode none up || exit; done"));
	assert_true(shell("ip link set w1 master w2 && ip link set w3 master w2"));
	fill_frame(frame, sizeof frame);
	frame[0] = 2; /* to somebody whom the bridge does not know: to the other port and nowhere else */
	unsigned sent = 0;
	for (; sent < 3000000 && !rig->wire->tx_pending; sent++) {
		send_one(rig, frame, sizeof frame);
		if (sent % 5000 == 4999) /* the bridge may take a second until it forwards */
			usleep(10000);
	}
	assert_true(rig->wire->tx_pending);
	assert_int_equal(rig->wire->tx_frames, sent);
	for (unsigned i = 0; i < 2000 && rig->wire->tx_pending; i++) {
		rig->wire->ops->flush(rig->wire);
		usleep(1000);
	}
	assert_false(rig->wire->tx_pending);
	for (unsigned i = 0; i < 100 && rig->wire->tx_dropped == 0; i++, sent++)
		send_one(rig, frame, sizeof frame); /* a long frame's chunks were left */
	assert_int_equal(rig->wire->tx_dropped, 1);
	assert_int_equal(rig->wire->tx_frames, sent - 1);
	assert_false(rig->wire->tx_pending);

	/* Let go, it sends as before. */
	assert_true(shell("tc qdisc del dev w3 root"));
	send_one(rig, frame, sizeof frame);
	assert_int_equal(rig->wire->tx_frames, sent);
	assert_int_equal(rig->wire->tx_dropped, 1);
	assert_false(rig->wire->tx_pending);
	assert_true(shell("ip link del w3 && ip link del w2"));
}

static bool is_running(struct rig *rig, const char *ifname)
{
	struct ifreq ifr = {0};
	snprintf(ifr.ifr_name, sizeof ifr.ifr_name, "%s", ifname);
	assert_int_equal(ioctl(rig->peer, SIOCGIFFLAGS, &ifr), 0);
	return ifr.ifr_flags & IFF_RUNNING;
}

/* Down and up again before the wire looks: it never sees a change. */
static void an_interface_that_was_down_for_a_moment_is_sent_to_as_before(void **state)
{
	struct rig *rig = *state;
	uint8_t frame[200];
	fill_frame(frame, sizeof frame);
	assert_true(shell("ip link set w0 down"));
	send_one(rig, frame, 100);
	assert_int_equal(rig->wire->tx_dropped, 1);
	assert_true(shell("ip link set w0 up"));
	for (unsigned i = 0; i < 300 && !is_running(rig, "w0"); i++)
		usleep(10000);
	ev_run(rig->loop, EVRUN_NOWAIT);
	assert_true(rig->nic->link.carrier);
	assert_way(rig, "w0");
	send_one(rig, frame, 200);
	assert_int_equal(rig->wire->tx_frames, 1);
	assert_int_equal(rig->wire->tx_dropped, 1);
	assert_peer_hears(rig, frame, 200);
	assert_peer_hears_no_more(rig);
}

static void an_interface_that_is_down_at_first_is_sent_to_once_it_is_up(void **state)
{
	struct rig *rig = *state;
	uint8_t frame[200];
	assert_true(shell("ip link set w0 down"));
	wait_for_carrier(rig, false);
	close_wire(rig);
	rig->wire = wire_open("dev:w0", rig->nic, rig->loop);
	assert_non_null(rig->wire);
	assert_false(rig->nic->link.carrier);
	assert_true(shell("ip link set w0 up"));
	wait_for_carrier(rig, true);
	assert_way(rig, "w0");
	fill_frame(frame, sizeof frame);
	send_one(rig, frame, sizeof frame);
	assert_int_equal(rig->wire->tx_frames, 1);
	assert_peer_hears(rig, frame, sizeof frame);
}

static void a_queue_that_has_become_free_is_taken_when_the_carrier_comes(void **state)
{
	struct rig *rig = *state;
	uint8_t frame[200];
	fill_frame(frame, sizeof frame);
	leave_queue(rig);
	send_one(rig, frame, 100);
	assert_peer_hears(rig, frame, 100);
	assert_true(shell("ip link set w1 down"));
	wait_for_carrier(rig, false);
	assert_true(shell("ip link set w1 up"));
	wait_for_carrier(rig, true);
	rig->by_packet = false;
	assert_way(rig, "w0");
	assert_peer_hears_no_more(rig); /* (its socket tells once that the interface was down) */
	send_one(rig, frame, 200);
	assert_int_equal(rig->wire->tx_frames, 2);
	assert_peer_hears(rig, frame, 200);
}

/* --- carrier ---------------------------------------------------------------------------------------------------- */

static void the_link_follows_the_interface(void **state)
{
	struct rig *rig = *state;
	assert_true(shell("ip link set w1 down"));
	wait_for_carrier(rig, false);
	assert_true(shell("ip link set w1 up"));
	wait_for_carrier(rig, true);
	assert_true(shell("ip link set w0 down"));
	wait_for_carrier(rig, false);
	assert_int_equal(poll_wire(rig), 0);
	assert_true(shell("ip link set w0 up"));
	wait_for_carrier(rig, true);

	/* Frames come in again afterwards. (The peer's socket tells once that it was down.) */
	uint8_t frame[100];
	assert_int_equal(recv(rig->peer, frame, sizeof frame, MSG_DONTWAIT), -1);
	fill_frame(frame, sizeof frame);
	peer_sends(rig, frame, sizeof frame);
	assert_int_equal(poll_wire(rig), 1);
}

static void a_renamed_interface_is_still_the_same(void **state)
{
	struct rig *rig = *state;
	assert_true(shell("ip link set w0 name elsewhere"));
	ev_run(rig->loop, EVRUN_NOWAIT);
	assert_true(rig->nic->link.carrier);
}

static void an_interface_that_goes_away_is_a_cable_pulled(void **state)
{
	struct rig *rig = *state;
	uint8_t frame[100];
	fill_frame(frame, sizeof frame);
	assert_true(shell("ip link del w0"));
	wait_for_carrier(rig, false);
	nic_wire_send(rig->nic, frame, sizeof frame);
	rig->wire->ops->flush(rig->wire);
	assert_int_equal(rig->wire->tx_dropped, 1);
	assert_int_equal(poll_wire(rig), 0);
	assert_false(rig->wire->tx_pending);
	/* Nothing is left that could keep the loop awake: no watcher holds it any more. */
	assert_false(ev_run(rig->loop, EVRUN_NOWAIT));
}

/* While frames wait that its queue did not take, too: a wire that says "not done" for ever keeps the loop spinning. */
static void an_interface_that_goes_away_while_frames_wait_leaves_nothing_to_do(void **state)
{
	struct rig *rig = *state;
	uint8_t frame[100];
	int tap = open("/dev/net/tun", O_RDWR | O_CLOEXEC);
	struct ifreq ifr = {.ifr_name = "w2", .ifr_flags = IFF_TAP | IFF_NO_PI};
	assert_int_equal(ioctl(tap, TUNSETIFF, &ifr), 0);
	assert_true(shell("ip link set w2 addrgenmode none txqueuelen 1 up"));
	close_wire(rig);
	open_wire(rig, "w2");

	fill_frame(frame, sizeof frame);
	for (unsigned i = 0; i < 20; i++) /* nobody reads the tap */
		nic_wire_send(rig->nic, frame, sizeof frame);
	rig->wire->ops->flush(rig->wire);
	if (!rig->wire->tx_pending) { /* an older kernel does not tell that the queue is full */
		close(tap);
		skip();
	}
	assert_true(rig->wire->tx_frames > 0);
	close(tap);
	wait_for_carrier(rig, false);
	rig->wire->ops->flush(rig->wire);
	assert_false(rig->wire->tx_pending);
	assert_int_equal(rig->wire->tx_frames + rig->wire->tx_dropped, 20);
}

#define TEST(test) cmocka_unit_test_setup_teardown(test, setup, teardown)
#define TEST_BY_PACKET(test)                                                                           \
	{                                                                                              \
		.name = #test " (by packet socket)", .test_func = test, .setup_func = setup_by_packet, \
		.teardown_func = teardown                                                              \
	}
#define TEST_BOTH_WAYS(test) TEST(test), TEST_BY_PACKET(test)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(a_frame_of_the_peer_comes_in),
		TEST(a_short_frame_is_padded),
		TEST(a_tag_that_the_kernel_took_off_is_put_back),
		TEST(a_super_frame_comes_in_as_frames),
		TEST_BOTH_WAYS(what_the_nic_sent_is_not_heard_as_its_own_echo),
		TEST(more_frames_than_a_budget_come_in_turns),
		TEST_BOTH_WAYS(sent_frames_reach_the_peer_as_they_are),
		TEST_BOTH_WAYS(a_frame_too_long_for_the_interface_is_counted_and_the_next_one_sent),
		TEST_BOTH_WAYS(what_was_sent_while_the_interface_was_down_is_not_heard_later),
		TEST_BOTH_WAYS(an_interface_that_was_down_for_a_moment_is_sent_to_as_before),
		TEST(frames_that_the_receiver_keeps_make_the_wire_wait_and_then_drop),
		TEST(an_interface_that_is_down_at_first_is_sent_to_once_it_is_up),
		TEST_BY_PACKET(a_queue_that_has_become_free_is_taken_when_the_carrier_comes),
		TEST(the_link_follows_the_interface),
		TEST(a_renamed_interface_is_still_the_same),
		TEST_BOTH_WAYS(an_interface_that_goes_away_is_a_cable_pulled),
		TEST_BOTH_WAYS(an_interface_that_goes_away_while_frames_wait_leaves_nothing_to_do),
	};
	if (!own_netns()) {
		puts("wire into an interface: skipped: network namespaces need root");
		return 0;
	}
	return cmocka_run_group_tests_name("wire into an interface", tests, NULL, NULL);
}
