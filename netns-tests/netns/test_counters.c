/*
 * Where every frame is: flows spread over queues, rings that are full push back, and at each station on the way
 * what came in equals what went on plus what was counted as dropped there.
 *
 *	out:	packet socket on ixy0 -> tap queue -> ixy-tapd -> NIC -> wire (d0) -> p0
 *	in:	packet socket on p0 -> d0 -> wire -> NIC -> ixy-tapd -> ixy0
 *
 * These rigs are quiet: no IPv6, no neighbour entries that expire, so that only the test's frames are counted.
 */
#include "rig.h"

#include <arpa/inet.h>
#include <unistd.h>

#define FRAME_SIZE 100

static void quiet_namespace(const char *netns)
{
	command_ok(netns, "sysctl -qw net.ipv6.conf.all.disable_ipv6=1 net.ipv6.conf.default.disable_ipv6=1");
}

static void fix_neighbour(const char *netns, const char *ifname, const char *address, const uint8_t mac[6])
{
	command_ok(netns, "ip neigh replace %s lladdr %02x:%02x:%02x:%02x:%02x:%02x dev %s nud permanent",
		address, mac[0], mac[1], mac[2], mac[3], mac[4], mac[5], ifname);
}

struct ends { /* packet sockets at both ends, and the addresses of these */
	int peer, host;
	uint8_t peer_mac[6], host_mac[6];
};

static struct ends start_quiet(struct rig *rig, const char *options)
{
	struct ends e;

	quiet_namespace(rig->peer);
	quiet_namespace(rig->host);
	rig_start(rig, options);
	link_mac(rig->peer, "p0", e.peer_mac);
	link_mac(rig->host, "ixy0", e.host_mac);
	fix_neighbour(rig->peer, "p0", rig->v4_host, e.host_mac);
	fix_neighbour(rig->host, "ixy0", rig->v4_peer, e.peer_mac);
	e.peer = raw_open(rig->peer, "p0");
	e.host = raw_open(rig->host, "ixy0");
	return e;
}

static void close_ends(struct ends *e)
{
	close(e->peer);
	close(e->host);
}

/* --- what each station counts ------------------------------------------------------------------------------- */

struct station { /* one number of each station, in the order of the way */
	const char *name;
	uint64_t in, out, dropped;
};

struct books {
	struct station stations[8];
	unsigned count;
};

static void station(struct books *b, const char *name, uint64_t in, uint64_t out, uint64_t dropped)
{
	b->stations[b->count++] = (struct station){name, in, out, dropped};
}

/* Sum of the drops that ixy-tapd counts for this direction. */
static uint64_t tapd_drops(struct rig *rig, const char *prefixes)
{
	return tapd_last_number(
		rig->tapd, "[.drops | to_entries[] | select(.key | test(\"^(%s)-\")).value] | add", prefixes);
}

static struct books books_out(struct rig *rig)
{
	struct books b = {0};
	uint64_t tap_out = link_statistic(rig->host, "ixy0", "tx_packets");
	uint64_t tap_dropped = link_statistic(rig->host, "ixy0", "tx_dropped");
	uint64_t nic_out = tapd_number(rig->tapd, ".nic.tx_frames");
	uint64_t tapd_out = tapd_last_number(rig->tapd, ".tx.frames"), tapd_dropped = tapd_drops(rig, "tx");
	uint64_t wire_out = nic_out, peer_in, cable_dropped;

	station(&b, "the interface ixy0", tap_out + tap_dropped, tap_out, tap_dropped);
	station(&b, "ixy-tapd", tap_out, tapd_out, tapd_dropped);
	station(&b, "the NIC, as the driver counts", tapd_out, nic_out, 0);
	if (!rig_xdp()) {
		uint64_t model_out = rig_nic(rig, "tx_frames"), model_dropped = rig_nic(rig, "tx_dropped");
		uint64_t wire_dropped = rig_nic(rig, "wire_tx_dropped");

		wire_out = rig_nic(rig, "wire_tx_frames");
		station(&b, "the NIC, as it counts itself", tapd_out, model_out, model_dropped);
		station(&b, "the wire", model_out, wire_out, wire_dropped);
	}
	peer_in = link_statistic(rig->peer, "p0", "rx_packets");
	/* What the veth refuses, an AF_XDP device is told of, and counts as tx-ring-full. */
	cable_dropped = rig_xdp() ? 0 : link_statistic(rig->host, "d0", "tx_dropped");
	station(&b, "the cable d0 - p0", wire_out, peer_in, cable_dropped);
	return b;
}

static struct books books_in(struct rig *rig)
{
	struct books b = {0};
	uint64_t peer_out = link_statistic(rig->peer, "p0", "tx_packets");
	uint64_t cable_in = link_statistic(rig->host, "d0", "rx_packets"), model_in = cable_in, filtered = 0;
	uint64_t nic_in, tapd_out, tapd_dropped, host_in;

	station(&b, "the cable p0 - d0", peer_out, cable_in, 0);
	if (!rig_xdp()) {
		uint64_t wire_in = rig_nic(rig, "wire_rx_frames"),
			 wire_dropped = rig_nic(rig, "wire_rx_dropped");
		uint64_t delivered = rig_nic(rig, "rx_delivered"), missed = rig_nic(rig, "rx_missed");

		model_in = rig_nic(rig, "rx_frames");
		filtered = rig_nic(rig, "rx_filtered");
		station(&b, "the wire", cable_in, wire_in, wire_dropped);
		station(&b, "the NIC's MAC", wire_in, model_in, rig_nic(rig, "rx_bad"));
		station(&b, "the NIC, as it counts itself", model_in, delivered, missed + filtered);
	}
	nic_in = tapd_number(rig->tapd, ".nic.rx_frames");
	tapd_out = tapd_last_number(rig->tapd, ".rx.frames");
	tapd_dropped = tapd_drops(rig, "rx|kernel");
	host_in = link_statistic(rig->host, "ixy0", "rx_packets");
	station(&b, "the NIC, as the driver counts", model_in, nic_in, filtered);
	station(&b, "ixy-tapd", nic_in, tapd_out, tapd_dropped);
	station(&b, "the interface ixy0", tapd_out, host_in, link_statistic(rig->host, "ixy0", "rx_dropped"));
	return b;
}

/* The first station where the books do not balance; NULL if all do. */
static const struct station *unbalanced(
	const struct books *now, const struct books *before, struct station *delta)
{
	for (unsigned i = 0; i < now->count; i++) {
		const struct station *a = &before->stations[i], *b = &now->stations[i];

		*delta = (struct station){b->name, b->in - a->in, b->out - a->out, b->dropped - a->dropped};
		if (delta->in != delta->out + delta->dropped)
			return delta;
	}
	return NULL;
}

/*
 * Wait until all frames have passed or been counted since `before`, and `sent` of them came in at the first
 * station. Returns how many came out at the last.
 */
static uint64_t assert_balance(
	struct rig *rig, struct books (*books)(struct rig *), const struct books *before, uint64_t sent)
{
	const struct station *bad;
	struct station delta;
	struct books now;

	if (!wait_for(15, (now = books(rig), bad = unbalanced(&now, before, &delta), bad == NULL)))
		fail_msg("%s: %lu in, but %lu out and %lu dropped", bad->name, bad->in, bad->out,
			bad->dropped);
	assert_int_equal(now.stations[0].in - before->stations[0].in, sent);
	return now.stations[now.count - 1].out - before->stations[before->count - 1].out;
}

/* --- the counters that a user sees ----------------------------------------------------------------------------- */

static void the_interfaces_counters_are_those_of_the_frames_that_passed(void **state)
{
	struct rig *rig = *state;
	struct ends e = start_quiet(rig, "");
	uint64_t rx_packets = link_statistic(rig->host, "ixy0", "rx_packets");
	uint64_t rx_bytes = link_statistic(rig->host, "ixy0", "rx_bytes");
	uint64_t tx_packets = link_statistic(rig->host, "ixy0", "tx_packets");
	uint64_t tx_bytes = link_statistic(rig->host, "ixy0", "tx_bytes");
	uint64_t json_rx = tapd_number(rig->tapd, ".rx.bytes"), json_tx = tapd_number(rig->tapd, ".tx.bytes");
	uint8_t frame[512];

	/* A few at a time: no queue on the way is to drop any. */
	for (uint32_t i = 0; i < 100; i++) {
		frame_test(frame, 100, e.host_mac, e.peer_mac, i);
		for (unsigned j = 0; j < 10; j++)
			raw_send(e.peer, frame, 100);
		frame_test(frame, 200, e.peer_mac, e.host_mac, i);
		for (unsigned j = 0; j < 7; j++)
			raw_send(e.host, frame, 200);
		assert_soon(5, link_statistic(rig->host, "ixy0", "rx_packets") - rx_packets == 10 * (i + 1));
	}
	assert_soon(5, link_statistic(rig->host, "ixy0", "tx_packets") - tx_packets == 700);
	assert_int_equal(link_statistic(rig->host, "ixy0", "rx_bytes") - rx_bytes, 1000 * 100);
	assert_int_equal(link_statistic(rig->host, "ixy0", "tx_bytes") - tx_bytes, 700 * 200);
	assert_soon(5, tapd_number(rig->tapd, ".rx.bytes") - json_rx == 1000 * 100);
	assert_soon(5, tapd_number(rig->tapd, ".tx.bytes") - json_tx == 700 * 200);
	assert_non_null(strstr(command_ok(rig->host, "ip -s link show ixy0"), "RX:"));
	assert_int_equal(link_statistic(rig->host, "ixy0", "tx_errors"), 0);
	assert_int_equal(link_statistic(rig->host, "ixy0", "rx_errors"), 0);
	close_ends(&e);
	rig_finish(rig);
}

/* --- queues --------------------------------------------------------------------------------------------- */

static void four_queues_share_the_flows_in_both_directions(void **state)
{
	struct rig *rig = *state;
	struct ends e = start_quiet(rig, "--queues 4");
	struct books in = books_in(rig), out = books_out(rig);
	uint8_t frame[512];
	size_t size;

	/* Each a flow of its own: the frames of one that come together become one for the interface, which counts one. */
	for (uint16_t port = 0; port < 256; port++) {
		size = frame_udp4(frame, e.host_mac, e.peer_mac, rig->v4_peer, rig->v4_host,
			(uint16_t)(1000 + port), 9, 100);
		raw_send(e.peer, frame, size);
		size = frame_udp4(frame, e.peer_mac, e.host_mac, rig->v4_host, rig->v4_peer,
			(uint16_t)(1000 + port), 9, 100);
		raw_send(e.host, frame, size);
	}
	/* ICMP "port unreachable" comes back for some: so at least as many. */
	assert_soon(10,
		tapd_number(rig->tapd, ".rx.frames") >= 256 && tapd_number(rig->tapd, ".tx.frames") >= 256);
	for (unsigned queue = 0; queue < 4; queue++) {
		assert_true(tapd_last_number(rig->tapd, ".queues[%u].rx.frames", queue) >= 8);
		assert_true(tapd_last_number(rig->tapd, ".queues[%u].tx.frames", queue) >= 8);
	}
	assert_true(
		assert_balance(rig, books_in, &in, books_in(rig).stations[0].in - in.stations[0].in) >= 256);
	assert_true(assert_balance(
			    rig, books_out, &out, books_out(rig).stations[0].in - out.stations[0].in) >= 256);

	/* One flow stays on one queue, or its segments would overtake each other. */
	uint64_t before[4], busy = 0;

	for (unsigned queue = 0; queue < 4; queue++)
		before[queue] = tapd_number(rig->tapd, ".queues[%u].rx.frames", queue);
	size = frame_udp4(frame, e.host_mac, e.peer_mac, rig->v4_peer, rig->v4_host, 7777, 9, 100);
	for (unsigned i = 0; i < 100; i++)
		raw_send(e.peer, frame, size);
	assert_soon(10,
		tapd_number(rig->tapd, ".rx.frames") >= before[0] + before[1] + before[2] + before[3] + 100);
	for (unsigned queue = 0; queue < 4; queue++)
		busy += tapd_last_number(rig->tapd, ".queues[%u].rx.frames", queue) > before[queue] + 50;
	assert_int_equal(busy, 1);
	close_ends(&e);
	rig_finish(rig);
}

static void sixteen_queues_work(void **state)
{
	struct rig *rig = *state;

	rig_start(rig, "--queues 16 --ring 64");
	command_ok(rig->host, "ping -nqc100 -i0.002 -W5 %s", rig->v4_peer);
	assert_int_equal(tapd_number(rig->tapd, ".queues | length"), 16);
	rig_finish(rig);
}

/* --- floods --------------------------------------------------------------------------------------------- */

static void flood_out(struct rig *rig, struct ends *e, uint64_t count)
{
	struct books before = books_out(rig);
	uint8_t frame[FRAME_SIZE];
	uint64_t sent;

	frame_test(frame, sizeof(frame), e->peer_mac, e->host_mac, 1);
	sent = raw_flood(e->host, frame, sizeof(frame), count);
	assert_true(sent > 0);
	assert_true(assert_balance(rig, books_out, &before, sent) > 0);
	assert_true(rig_ping(rig));
}

static void flood_in(struct rig *rig, struct ends *e, uint64_t count)
{
	struct books before = books_in(rig);
	uint8_t frame[FRAME_SIZE];
	uint64_t sent, dropped = link_statistic(rig->peer, "p0", "tx_dropped");

	frame_test(frame, sizeof(frame), e->host_mac, e->peer_mac, 1);
	sent = raw_flood(e->peer, frame, sizeof(frame), count);
	assert_true(sent > 0);
	/* What the veth itself drops (its peer's backlog is full) it does not count as sent. */
	dropped = link_statistic(rig->peer, "p0", "tx_dropped") - dropped;
	assert_true(assert_balance(rig, books_in, &before, sent - (dropped < sent ? dropped : 0)) > 0);
	assert_true(rig_ping(rig));
}

static void a_flood_out_of_the_interface_is_counted_frame_by_frame(void **state)
{
	struct rig *rig = *state;
	struct ends e = start_quiet(rig, "");

	flood_out(rig, &e, 200000);
	close_ends(&e);
	rig_finish(rig);
}

static void a_flood_into_the_interface_is_counted_frame_by_frame(void **state)
{
	struct rig *rig = *state;
	struct ends e = start_quiet(rig, "");

	flood_in(rig, &e, 200000);
	close_ends(&e);
	rig_finish(rig);
}

static void floods_through_the_smallest_rings_leave_nothing_wedged(void **state)
{
	struct rig *rig = *state;
	struct ends e = start_quiet(rig, "--ring 64 --queues 2");

	for (unsigned round = 0; round < 3; round++) {
		flood_in(rig, &e, 50000);
		flood_out(rig, &e, 50000);
	}
	close_ends(&e);
	rig_finish(rig);
}

static void floods_in_both_directions_at_once_leave_nothing_wedged(void **state)
{
	struct rig *rig = *state;
	struct ends e = start_quiet(rig, "");
	struct books in = books_in(rig), out = books_out(rig);
	uint64_t sent_in = 0, sent_out = 0, dropped = link_statistic(rig->peer, "p0", "tx_dropped");
	uint8_t to_host[FRAME_SIZE], to_peer[FRAME_SIZE];

	frame_test(to_host, sizeof(to_host), e.host_mac, e.peer_mac, 1);
	frame_test(to_peer, sizeof(to_peer), e.peer_mac, e.host_mac, 2);
	for (unsigned i = 0; i < 500; i++) {
		sent_in += raw_flood(e.peer, to_host, sizeof(to_host), 200);
		sent_out += raw_flood(e.host, to_peer, sizeof(to_peer), 200);
	}
	dropped = link_statistic(rig->peer, "p0", "tx_dropped") - dropped;
	assert_true(assert_balance(rig, books_in, &in, sent_in - dropped) > 0);
	assert_true(assert_balance(rig, books_out, &out, sent_out) > 0);
	assert_true(rig_ping(rig));
	close_ends(&e);
	rig_finish(rig);
}

/* A NIC that stops fetching fills its ring, then the tap's queue, where the rest is dropped and counted. */
static void a_full_transmit_ring_pushes_back_and_every_frame_is_accounted_for(void **state)
{
	struct rig *rig = *state;
	struct ends e = start_quiet(rig, "");
	uint64_t tap_dropped = link_statistic(rig->host, "ixy0", "tx_dropped");
	struct books before = books_out(rig);
	uint8_t frame[FRAME_SIZE];
	uint64_t sent, arrived;

	frame_test(frame, sizeof(frame), e.peer_mac, e.host_mac, 1);
	rig_ctl(rig, "fault 0 tx-hang on");
	sent = raw_flood(e.host, frame, sizeof(frame), 5000);
	/* The driver notices, resets the NIC, and what had waited in the kernel leaves after all. */
	assert_soon(10, tapd_number(rig->tapd, ".resets") == 1);
	assert_soon(10, link_carrier(rig->host, "ixy0"));
	arrived = assert_balance(rig, books_out, &before, sent);
	assert_true(link_statistic(rig->host, "ixy0", "tx_dropped") > tap_dropped);
	assert_true(tapd_number(rig->tapd, ".drops[\"tx-reset\"]") > 0);
	assert_true(arrived < sent);
	assert_soon(10, rig_ping(rig));
	close_ends(&e);
	rig_finish(rig);
}

/* The same inwards: what the NIC has no descriptor for is lost, and known by number. */
static void a_full_receive_ring_drops_and_every_frame_is_accounted_for(void **state)
{
	static const char *const queues[] = {"", "--queues 2"}; /* one: counted in MPC; several: QPRDC */
	struct rig *rig = *state;

	for (size_t i = 0; i < 2; i++) {
		struct ends e = start_quiet(rig, queues[i]);
		struct books before = books_in(rig);
		uint8_t frame[FRAME_SIZE];

		frame_test(frame, sizeof(frame), e.host_mac, e.peer_mac, 1);
		rig_ctl(rig, "fault 0 rx-hang on");
		for (unsigned burst = 0; burst < 10; burst++)
			assert_int_equal(raw_flood(e.peer, frame, sizeof(frame), 50), 50);
		assert_soon(10, tapd_number(rig->tapd, ".drops[\"rx-no-descriptor\"]") > 0);
		rig_ctl(rig, "fault 0 rx-hang off");
		assert_balance(rig, books_in, &before, 500);
		assert_soon(10, rig_ping(rig));
		close_ends(&e);
		rig_finish(rig);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		RIG_TEST(the_interfaces_counters_are_those_of_the_frames_that_passed),
		RIG_TEST(four_queues_share_the_flows_in_both_directions),
		RIG_TEST(sixteen_queues_work),
		RIG_TEST(a_flood_out_of_the_interface_is_counted_frame_by_frame),
		RIG_TEST(a_flood_into_the_interface_is_counted_frame_by_frame),
		RIG_TEST(floods_through_the_smallest_rings_leave_nothing_wedged),
		RIG_TEST(floods_in_both_directions_at_once_leave_nothing_wedged),
		RIG_TEST_SOFT(a_full_transmit_ring_pushes_back_and_every_frame_is_accounted_for),
		RIG_TEST_SOFT(a_full_receive_ring_drops_and_every_frame_is_accounted_for),
	};

	return rig_main("netns: queues and counters", tests);
}
