/*
 * What is done to ixy0 reaches the NIC, and what happens to the NIC shows at ixy0: MTU, MAC, promiscuity,
 * multicast, up and down, cable and speed. Looked at from the far side: in the NIC's registers, or at the
 * interface that an AF_XDP device is on.
 */
#include "rig.h"

#include <unistd.h>

#include "driver/ixgbe/regs.h"

/* From the cable to what `ip link` shows: a second is promised. */
#define CARRIER_MS 1000
/* Of the other end of a veth pair the kernel itself tells up to a second later: it spaces link events so. */
#define LINK_EVENT_MS 1000

static void an_mtu_set_on_the_interface_reaches_the_nic(void **state)
{
	static const unsigned mtus[] = {4000, 68, 1280, 1501, 9000, 9710, 1500};
	struct rig *rig = *state;

	rig_start(rig, "--mtu 2000");
	assert_int_equal(link_mtu(rig->host, "ixy0"), 2000);
	assert_int_equal(rig_device_mtu(rig), 2000);
	for (size_t i = 0; i < sizeof(mtus) / sizeof(mtus[0]); i++) {
		command_ok(rig->host, "ip link set ixy0 mtu %u", mtus[i]);
		assert_soon(5, rig_device_mtu(rig) == mtus[i]);
		assert_int_equal(tapd_number(rig->tapd, ".mtu"), mtus[i]);
		if (!rig_xdp())
			assert_int_equal(!!(rig_peek(rig, HLREG0) & HLREG0_JUMBOEN), mtus[i] > 1500);
	}
	rig_addresses(rig); /* an MTU under 1280 had taken the IPv6 address */
	rig_await_ping(rig);
	rig_finish(rig);
}

static void an_mtu_that_the_nic_cannot_do_is_clamped_back(void **state)
{
	struct rig *rig = *state;
	unsigned max = rig_device_max_mtu();
	char text[16];

	rig_start(rig, "");
	command_ok(rig->host, "ip link set ixy0 mtu 20000");
	assert_soon(5, link_mtu(rig->host, "ixy0") == max);
	assert_soon(5, rig_device_mtu(rig) == max);
	command_ok(rig->host, "ip link set ixy0 mtu %u", max + 1);
	assert_soon(5, link_mtu(rig->host, "ixy0") == max);
	snprintf(text, sizeof(text), "%u", max);
	assert_non_null(strstr(process_stderr(rig->tapd), text));
	assert_true(rig_ping(rig));
	rig_finish(rig);
}

static void the_mac_is_the_nics_and_a_new_one_set_on_the_interface_reaches_it(void **state)
{
	struct rig *rig = *state;
	uint8_t mac[6];

	rig_start(rig, "");
	link_mac(rig->host, "ixy0", mac);
	assert_true(rig_device_has_mac(rig, mac));
	for (uint8_t i = 1; i < 4; i++) {
		const uint8_t wanted[6] = {0x02, 0x82, 0x59, 0x9e, 0xf0, i};

		command_ok(rig->host, "ip link set ixy0 address 02:82:59:9e:f0:%02x", i);
		assert_soon(5, rig_device_has_mac(rig, wanted));
		/* The peer still sends to the old one: it has to ask anew. */
		command_ok(rig->peer, "ip neigh flush dev p0");
		assert_soon(5, rig_ping(rig));
	}
	rig_finish(rig);
}

static void frames_for_other_macs_are_filtered_by_the_nic_unless_promiscuous(void **state)
{
	static const uint8_t other[6] = {0x02, 0xAA, 0xBB, 0xCC, 0xDD, 0xEE};
	struct rig *rig = *state;
	struct captured *got = malloc(sizeof(*got));
	uint8_t frame[128], from[6], own[6];
	int peer, host;

	rig_start(rig, "");
	peer = raw_open(rig->peer, "p0");
	host = raw_open(rig->host, "ixy0");
	link_mac(rig->peer, "p0", from);
	link_mac(rig->host, "ixy0", own);

	/* One to somebody else, one to us: only the second may come. */
	frame_test(frame, 100, other, from, 1);
	raw_send(peer, frame, 100);
	frame_test(frame, 100, own, from, 2);
	raw_send(peer, frame, 100);
	assert_true(raw_receive_type(host, got, ETHERTYPE_TEST, 5));
	assert_memory_equal(got->data, frame, 100);

	command_ok(rig->host, "ip link set ixy0 promisc on");
	assert_soon(5, rig_device_promisc(rig));
	frame_test(frame, 100, other, from, 3);
	raw_send(peer, frame, 100);
	assert_true(raw_receive_type(host, got, ETHERTYPE_TEST, 5));
	assert_memory_equal(got->data, frame, 100);

	command_ok(rig->host, "ip link set ixy0 promisc off");
	assert_soon(5, !rig_device_promisc(rig));
	raw_send(peer, frame, 100);
	frame_test(frame, 100, own, from, 4);
	raw_send(peer, frame, 100);
	assert_true(raw_receive_type(host, got, ETHERTYPE_TEST, 5));
	assert_memory_equal(got->data, frame, 100);
	close(peer);
	close(host);
	free(got);
	rig_finish(rig);
}

static void tcpdump_makes_the_nic_promiscuous_for_as_long_as_it_runs(void **state)
{
	struct rig *rig = *state;
	struct process *tcpdump;

	rig_start(rig, "");
	assert_false(rig_device_promisc(rig));
	tcpdump = process_start("tcpdump", rig->host, "exec tcpdump -nli ixy0 icmp");
	assert_soon(10, rig_device_promisc(rig));
	assert_soon(10, strstr(process_stderr(tcpdump), "listening on") != NULL);
	assert_true(rig_ping(rig));
	assert_soon(10, strstr(process_stdout(tcpdump), "ICMP echo reply") != NULL);
	assert_int_equal(process_stop(tcpdump), 0);
	assert_soon(5, !rig_device_promisc(rig));
	rig_finish(rig);
}

static void a_bridge_on_top_makes_the_nic_promiscuous_and_passes_traffic(void **state)
{
	struct rig *rig = *state;

	rig_start(rig, "");
	command_ok(rig->host,
		"ip link add br0 type bridge && ip link set br0 up && ip link set ixy0 master br0 && "
		"ip addr flush dev ixy0 && ip addr add %s/24 dev br0 && ip addr add %s/64 dev br0 nodad",
		rig->v4_host, rig->v6_host);
	assert_soon(5, rig_device_promisc(rig));
	command_ok(rig->peer, "ip neigh flush dev p0");
	assert_soon(10, rig_ping(rig));
	command_ok(rig->host, "ip link del br0");
	assert_soon(5, !rig_device_promisc(rig));
	rig_addresses(rig);
	command_ok(rig->peer, "ip neigh flush dev p0");
	rig_await_ping(rig);
	rig_finish(rig);
}

/* A MAC of its own on top of ixy0: netlink says nothing of it, so frames for it must not be lost for long. */
static void a_macvlan_on_top_gets_its_frames(void **state)
{
	struct rig *rig = *state;

	rig_start(rig, "");
	command_ok(rig->host,
		"ip link add link ixy0 name mac0 address 02:00:00:00:77:01 type macvlan mode bridge && "
		"ip link set mac0 up && ip addr add 10.199.3.2/24 dev mac0");
	command_ok(rig->peer, "ip addr add 10.199.3.1/24 dev p0");
	assert_soon(10, command(rig->peer, "ping -nqc1 -W1 10.199.3.2") == 0);
	assert_true(rig_ping(rig));
	command_ok(rig->host, "ip link del mac0");
	rig_finish(rig);
}

static void all_multicast_is_the_default_and_follows_the_interface_with_a_list(void **state)
{
	struct rig *rig = *state;

	rig_start(rig, "");
	assert_true(rig_device_allmulti(rig));
	rig_finish(rig);

	rig_start(rig, "--multicast list");
	assert_false(rig_device_allmulti(rig));
	command_ok(rig->host, "ip link set ixy0 allmulticast on");
	assert_soon(5, rig_device_allmulti(rig));
	command_ok(rig->host, "ip link set ixy0 allmulticast off");
	assert_soon(5, !rig_device_allmulti(rig));
	assert_true(rig_ping(rig));
	rig_finish(rig);
}

static void joined_groups_enter_the_nics_multicast_table_and_leave_it(void **state)
{
	static const uint8_t group[6] = {0x01, 0x00, 0x5E, 0x52, 0x05, 0x63};
	static const uint8_t all_nodes[6] = {0x33, 0x33, 0, 0, 0, 1};
	struct rig *rig = *state;

	rig_start(rig, "--multicast list");
	assert_soon(
		10, rig_device_has_group(rig, all_nodes)); /* IPv6's own groups, of the moment it comes up */
	assert_false(rig_device_has_group(rig, group));
	command_ok(rig->host, "ip maddr add 01:00:5e:52:05:63 dev ixy0");
	assert_soon(10, rig_device_has_group(rig, group));
	command_ok(rig->host, "ip maddr del 01:00:5e:52:05:63 dev ixy0");
	assert_soon(10, !rig_device_has_group(rig, group));
	assert_true(rig_ping(rig));
	rig_finish(rig);
}

/* --- up and down, cable, speed ------------------------------------------------------------------------------ */

static bool shows(const char *netns, const char *ifname, const char *what)
{
	return strstr(command_ok(netns, "ip link show %s", ifname), what) != NULL;
}

static void down_turns_the_laser_off_and_up_brings_traffic_back(void **state)
{
	struct rig *rig = *state;

	rig_start(rig, "");
	for (unsigned round = 0; round < 3; round++) {
		assert_false(rig_device_dark(rig));
		command_ok(rig->host, "ip link set ixy0 down");
		assert_soon(5, rig_device_dark(rig));
		assert_false(rig_ping(rig));
		command_ok(rig->host, "ip link set ixy0 up");
		assert_soon(5, !rig_device_dark(rig));
		rig_addresses(rig);
		rig_await_ping(rig);
	}
	rig_finish(rig);
}

/* Frames that come while the interface is down are nobody's, and none is left over for later. */
static void frames_for_a_downed_interface_are_counted_not_kept(void **state)
{
	struct rig *rig = *state;
	struct captured *got = malloc(sizeof(*got));
	uint8_t frame[128], from[6], own[6];
	int peer, host;

	rig_start(rig, "");
	link_mac(rig->peer, "p0", from);
	link_mac(rig->host, "ixy0", own);
	peer = raw_open(rig->peer, "p0");
	command_ok(rig->host, "ip link set ixy0 down");
	assert_soon(5, rig_device_dark(rig));
	frame_test(frame, 100, own, from, 1);
	assert_int_equal(raw_flood(peer, frame, 100, 100), 100);
	command_ok(rig->host, "ip link set ixy0 up");
	host = raw_open(rig->host, "ixy0");
	rig_addresses(rig);
	rig_await_ping(rig);
	while (raw_receive(host, got, 100))
		assert_int_not_equal(frame_type(got->data, got->size), ETHERTYPE_TEST);
	close(peer);
	close(host);
	free(got);
	rig_finish(rig);
}

static bool ethtool_says(struct rig *rig, const char *what)
{
	return strstr(command_ok(rig->host, "ethtool ixy0"), what) != NULL;
}

static void ethtool_shows_the_speed_of_the_cable(void **state)
{
	struct rig *rig = *state;

	rig_start(rig, "");
	assert_soon(5, ethtool_says(rig, "Speed: 10000Mb/s"));
	assert_true(ethtool_says(rig, "Duplex: Full") && ethtool_says(rig, "Link detected: yes"));
	if (!rig_xdp()) { /* a veth has but one speed */
		rig_ctl(rig, "speed 0 1000");
		assert_soon(5, ethtool_says(rig, "Speed: 1000Mb/s"));
		assert_soon(5, tapd_number(rig->tapd, ".link.speed") == 1000);
		assert_soon(5, rig_ping(rig));
		rig_ctl(rig, "speed 0 10000");
		assert_soon(5, ethtool_says(rig, "Speed: 10000Mb/s"));
		assert_soon(5, rig_ping(rig));
	}
	rig_finish(rig);
}

/* Milliseconds until the interface's carrier is like this. */
static int64_t carrier_after(struct rig *rig, bool on)
{
	int64_t start = clock_ms();

	assert_soon(10, link_carrier(rig->host, "ixy0") == on);
	return clock_ms() - start;
}

static void assert_cable_pull_shows(
	struct rig *rig, int64_t limit_ms, const char *out_netns, const char *out, const char *in)
{
	for (unsigned round = 0; round < 3; round++) {
		int64_t ms;

		command_ok(out_netns, "%s", out);
		ms = carrier_after(rig, false);
		if (ms > limit_ms)
			fail_msg("NO-CARRIER took %d ms", (int)ms);
		assert_soon(5, shows(rig->host, "ixy0", "NO-CARRIER"));
		assert_true(shows(rig->host, "ixy0", ",UP")); /* the admin state is the user's */
		assert_false(rig_ping(rig));
		command_ok(out_netns, "%s", in);
		assert_soon(5, shows(rig->host, "ixy0", "LOWER_UP"));
		rig_addresses(rig);
		rig_await_ping(rig);
	}
	assert_true(tapd_number(rig->tapd, ".link.changes") >= 6);
}

static void a_pulled_cable_shows_no_carrier_within_a_second_and_recovers(void **state)
{
	struct rig *rig = *state;
	char out[256], in[256];

	rig_start(rig, "");
	snprintf(out, sizeof(out), "%s ctl %s link 0 out", rig_program("ixy-softnic"), rig->control);
	snprintf(in, sizeof(in), "%s ctl %s link 0 in", rig_program("ixy-softnic"), rig->control);
	assert_cable_pull_shows(rig, CARRIER_MS, NULL, out, in);
	rig_finish(rig);
}

static void a_peer_that_goes_down_shows_no_carrier_and_recovers(void **state)
{
	struct rig *rig = *state;

	rig_start(rig, "");
	assert_cable_pull_shows(
		rig, CARRIER_MS + LINK_EVENT_MS, rig->peer, "ip link set p0 down", "ip link set p0 up");
	rig_finish(rig);
}

static void a_daemon_started_without_a_cable_gets_its_carrier_when_it_is_plugged_in(void **state)
{
	struct rig *rig = *state;

	command_ok(rig->peer, "ip link set p0 down");
	rig_start_tapd(rig, "", rig_device(rig));
	command_ok(rig->host, "ip link set ixy0 up");
	assert_soon(5, shows(rig->host, "ixy0", "NO-CARRIER"));
	command_ok(rig->peer, "ip link set p0 up");
	assert_soon(5, link_carrier(rig->host, "ixy0"));
	rig_addresses(rig);
	rig_await_ping(rig);
	rig_finish(rig);
}

static void an_interface_that_is_renamed_and_moved_is_followed(void **state)
{
	struct rig *rig = *state;
	char inner[32];

	rig_start(rig, "");
	command_ok(rig->host,
		"ip link set ixy0 down && ip link set ixy0 name lan0 && ip link set lan0 mtu 3000 up");
	assert_soon(5, rig_device_mtu(rig) == 3000);
	rig_namespace("inner", inner);
	command_ok(rig->host, "ip link set lan0 netns %s", inner);
	command_ok(inner, "ip addr add %s/24 dev lan0 && ip link set lan0 mtu 2000 up", rig->v4_host);
	assert_soon(5, rig_device_mtu(rig) == 2000);
	assert_soon(10, command(inner, "ping -nqc1 -W1 %s", rig->v4_peer) == 0);
	command_ok(rig->peer, "ip link set p0 down");
	assert_soon(5, !link_carrier(inner, "lan0"));
	command_ok(rig->peer, "ip link set p0 up");
	assert_soon(5, link_carrier(inner, "lan0"));
	rig_finish(rig);
	assert_false(link_exists(inner, "lan0"));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		RIG_TEST(an_mtu_set_on_the_interface_reaches_the_nic),
		RIG_TEST(an_mtu_that_the_nic_cannot_do_is_clamped_back),
		RIG_TEST(the_mac_is_the_nics_and_a_new_one_set_on_the_interface_reaches_it),
		RIG_TEST(frames_for_other_macs_are_filtered_by_the_nic_unless_promiscuous),
		RIG_TEST(tcpdump_makes_the_nic_promiscuous_for_as_long_as_it_runs),
		RIG_TEST(a_bridge_on_top_makes_the_nic_promiscuous_and_passes_traffic),
		RIG_TEST(a_macvlan_on_top_gets_its_frames),
		RIG_TEST(all_multicast_is_the_default_and_follows_the_interface_with_a_list),
		RIG_TEST(joined_groups_enter_the_nics_multicast_table_and_leave_it),
		RIG_TEST(down_turns_the_laser_off_and_up_brings_traffic_back),
		RIG_TEST(frames_for_a_downed_interface_are_counted_not_kept),
		RIG_TEST(ethtool_shows_the_speed_of_the_cable),
		RIG_TEST_SOFT(a_pulled_cable_shows_no_carrier_within_a_second_and_recovers),
		RIG_TEST(a_peer_that_goes_down_shows_no_carrier_and_recovers),
		RIG_TEST(an_interface_that_is_renamed_and_moved_is_followed),
		RIG_TEST(a_daemon_started_without_a_cable_gets_its_carrier_when_it_is_plugged_in),
	};

	return rig_main("netns: interface and NIC mirror each other", tests);
}
