/*
 * The wire into an existing interface, against the real kernel: one end of a veth pair is the wire, the other
 * one the test's. What the frames become inside the NIC is other tests' matter; here they are counted.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <linux/if_tun.h>

#include "driver/gso.h"
#include "netns-tests/softnic/log.h"
#include "netns-tests/softnic/wire.h"
#include "own_netns.h"

struct rig {
	struct ev_loop *loop;
	struct nic *nic;
	struct wire *wire;
	int peer; /* packet socket on the other end */
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

static int setup(void **state)
{
	static struct rig rig;
	softnic_log_level(LOG_LEVEL_ERROR);
	assert_true(shell("ip link add w0 type veth peer name w1"));
	assert_true(shell("ip link set w0 addrgenmode none up && ip link set w1 addrgenmode none up"));
	rig.loop = ev_loop_new(EVFLAG_AUTO);
	rig.nic = nic_create(0, "test", (const uint8_t[6]){2, 0, 0, 0, 0, 1});
	assert_non_null(rig.nic);
	rig.wire = wire_open("dev:w0", rig.nic, rig.loop);
	assert_non_null(rig.wire);
	rig.peer = packet_socket("w1");
	assert_true(rig.peer >= 0);
	*state = &rig;
	wait_for_carrier(&rig, true);

	/* Everything on the wire is taken in, and counted there; no queue is needed for that. */
	nic_write32(rig.nic, FCTRL, FCTRL_UPE | FCTRL_MPE | FCTRL_BAM);
	nic_write32(rig.nic, SECRXCTRL, SECRXCTRL_RX_DIS);
	nic_write32(rig.nic, RXCTRL, RXCTRL_RXEN);
	nic_write32(rig.nic, SECRXCTRL, 0);
	assert_true(rig.nic->link.up);
	return 0;
}

static int teardown(void **state)
{
	struct rig *rig = *state;
	close(rig->peer);
	wire_close(rig->wire);
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

static void sent_frames_reach_the_peer_as_they_are(void **state)
{
	struct rig *rig = *state;
	const size_t sizes[] = {60, 61, 1514, 64, 1000};
	uint8_t frame[1514], heard[2000];
	/* More than one batch. */
	for (unsigned i = 0; i < 80; i++) {
		fill_frame(frame, sizes[i % 5]);
		frame[50] = (uint8_t)i;
		nic_wire_send(rig->nic, frame, sizes[i % 5]);
	}
	rig->wire->ops->flush(rig->wire);
	for (unsigned i = 0; i < 80; i++) {
		fill_frame(frame, sizes[i % 5]);
		frame[50] = (uint8_t)i;
		assert_true(readable(rig->peer));
		assert_int_equal(recv(rig->peer, heard, sizeof heard, MSG_DONTWAIT), sizes[i % 5]);
		assert_memory_equal(heard, frame, sizes[i % 5]);
	}
	assert_int_equal(rig->wire->tx_frames, 80);
	assert_int_equal(rig->wire->tx_dropped, 0);
}

static void a_frame_too_long_for_the_interface_is_counted_and_the_next_one_sent(void **state)
{
	struct rig *rig = *state;
	uint8_t frame[4000];
	fill_frame(frame, sizeof frame);
	nic_wire_send(rig->nic, frame, 100);
	nic_wire_send(rig->nic, frame, 4000);
	nic_wire_send(rig->nic, frame, 200);
	rig->wire->ops->flush(rig->wire);
	assert_int_equal(rig->wire->tx_frames, 2);
	assert_int_equal(rig->wire->tx_dropped, 1);
	assert_false(rig->wire->tx_pending);
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
	wire_close(rig->wire);
	rig->wire = wire_open("dev:w2", rig->nic, rig->loop);
	assert_non_null(rig->wire);
	wait_for_carrier(rig, true);

	fill_frame(frame, sizeof frame);
	for (unsigned i = 0; i < 20; i++) /* nobody reads the tap */
		nic_wire_send(rig->nic, frame, sizeof frame);
	rig->wire->ops->flush(rig->wire);
	if (!rig->wire->tx_pending) { /* an older kernel does not tell that the queue is full */
		close(tap);
		skip();
	}
	close(tap);
	wait_for_carrier(rig, false);
	rig->wire->ops->flush(rig->wire);
	assert_false(rig->wire->tx_pending);
	assert_int_equal(rig->wire->tx_frames + rig->wire->tx_dropped, 20);
}

#define TEST(test) cmocka_unit_test_setup_teardown(test, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(a_frame_of_the_peer_comes_in),
		TEST(a_short_frame_is_padded),
		TEST(a_tag_that_the_kernel_took_off_is_put_back),
		TEST(a_super_frame_comes_in_as_frames),
		TEST(what_the_nic_sent_is_not_heard_as_its_own_echo),
		TEST(more_frames_than_a_budget_come_in_turns),
		TEST(sent_frames_reach_the_peer_as_they_are),
		TEST(a_frame_too_long_for_the_interface_is_counted_and_the_next_one_sent),
		TEST(the_link_follows_the_interface),
		TEST(a_renamed_interface_is_still_the_same),
		TEST(an_interface_that_goes_away_is_a_cable_pulled),
		TEST(an_interface_that_goes_away_while_frames_wait_leaves_nothing_to_do),
	};
	if (!own_netns()) {
		puts("wire into an interface: skipped: network namespaces need root");
		return 0;
	}
	return cmocka_run_group_tests_name("wire into an interface", tests, NULL, NULL);
}
