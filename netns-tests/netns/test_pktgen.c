/*
 * ixy-pktgen: what it sends, and what it finds out about what it receives.
 *
 *	namespace host		x0 ==== x1	a device on each end, of any kind; or two ports of one software NIC
 *
 *	namespace peer			namespace host
 *	p0 =========================== d0 -- ixy-pktgen's sending device
 *	   the test loses, doubles and mixes up frames
 *	p1 =========================== d1 -- ixy-pktgen's receiving device
 */
#include "app_rig.h"

#include <linux/if_ether.h>
#include <pcap/pcap.h>
#include <signal.h>
#include <unistd.h>

#define COUNT 2000

/* --- pairs of devices ----------------------------------------------------------------------------------- */

enum pair { CABLE, SOFT, XDP, SOFT_TO_XDP, XDP_TO_SOFT };

static char specs[2][192];

/* Two ends of a cable in one namespace, without any noise of the host's own. */
static void lay_loop(struct rig *rig, unsigned mtu)
{
	command_ok(rig->host,
		"sysctl -qw net.ipv6.conf.default.disable_ipv6=1 && ip link add x0 type veth peer name x1 && "
		"ip link set x0 mtu %u up arp off && ip link set x1 mtu %u up arp off",
		mtu, mtu);
}

static void choose(struct rig *rig, enum pair pair, unsigned mtu)
{
	static const struct {
		const char *first, *second;
	} kinds[] = {[SOFT] = {"soft", "soft"},
		[XDP] = {"xdp", "xdp"},
		[SOFT_TO_XDP] = {"soft", "xdp"},
		[XDP_TO_SOFT] = {"xdp", "soft"}};
	char ports[640];

	if (pair == CABLE) {
		for (unsigned i = 0; i < 2; i++)
			snprintf(specs[i], sizeof(specs[i]), "vfio-user:%s", rig_socket(i));
		snprintf(ports, sizeof(ports), "%s=cable %s=cable", specs[0] + strlen("vfio-user:"),
			specs[1] + strlen("vfio-user:"));
		rig_start_softnic(rig, ports);
		return;
	}
	lay_loop(rig, mtu);
	snprintf(specs[0], sizeof(specs[0]), "%s:x0", kinds[pair].first);
	snprintf(specs[1], sizeof(specs[1]), "%s:x1", kinds[pair].second);
}

/* The programs and what they leave behind. */
static void finish(struct rig *rig, struct process *p)
{
	if (strstr(process_stderr(p), "violation "))
		fail_msg("%s", process_stderr(p));
	rig_finish_softnic(rig);
	assert_null(strstr(command_ok(rig->host, "ip -details link"), "prog/xdp"));
}

static void assert_all_arrived(struct process *p, unsigned sent)
{
	app_assert_result(p,
		".sent.frames == %u and (.received | .frames == %u and .lost == 0 and .reordered == 0 and "
		".duplicates == 0 and .bad_checksum == 0)",
		sent, sent);
}

/* --- all that is sent arrives --------------------------------------------------------------------------- */

static void arrives(struct rig *rig, enum pair pair, unsigned mtu, const char *options)
{
	struct process *p;

	choose(rig, pair, mtu);
	p = app_start(
		rig->host, "ixy-pktgen", "--json --count %u %s %s %s", COUNT, options, specs[0], specs[1]);
	app_assert_exits(p, 0);
	assert_all_arrived(p, COUNT);
	app_assert_result(p,
		".latency_us | .frames == %u and .min > 0 and .min <= .p50 and .p50 <= .p90 and .p90 <= .p99 "
		"and "
		".p99 <= .[\"p99.9\"] and .[\"p99.9\"] <= .max",
		COUNT);
	finish(rig, p);
}

#define FOR_EACH_PAIR(name, mtu, options)                                     \
	static void name##_over_a_cable_between_software_nics(void **state)   \
	{                                                                     \
		arrives(*state, CABLE, mtu, options);                         \
	}                                                                     \
	static void name##_between_software_nics_on_a_veth_pair(void **state) \
	{                                                                     \
		arrives(*state, SOFT, mtu, options);                          \
	}                                                                     \
	static void name##_between_xdp_devices(void **state)                  \
	{                                                                     \
		arrives(*state, XDP, mtu, options);                           \
	}                                                                     \
	static void name##_from_a_software_nic_to_an_xdp_device(void **state) \
	{                                                                     \
		arrives(*state, SOFT_TO_XDP, mtu, options);                   \
	}                                                                     \
	static void name##_from_an_xdp_device_to_a_software_nic(void **state) \
	{                                                                     \
		arrives(*state, XDP_TO_SOFT, mtu, options);                   \
	}
#define TESTS_FOR_EACH_PAIR(name)                                                                            \
	RIG_TEST(name##_over_a_cable_between_software_nics),                                                 \
		RIG_TEST(name##_between_software_nics_on_a_veth_pair), RIG_TEST(name##_between_xdp_devices), \
		RIG_TEST(name##_from_a_software_nic_to_an_xdp_device),                                       \
		RIG_TEST(name##_from_an_xdp_device_to_a_software_nic)

FOR_EACH_PAIR(shortest_frames_arrive, 1500, "--rate 10k")
FOR_EACH_PAIR(a_mix_of_many_ipv6_flows_in_bursts_arrives, 1500,
	"--rate 10k --size 84:7,594:4,1518:1 --flows 100 --burst 16 --to 2001:2::99")

static void jumbo_frames_arrive(void **state)
{
	arrives(*state, CABLE, 9000, "--rate 5k --size 9018,64");
}

static void frames_at_random_times_arrive(void **state)
{
	arrives(*state, CABLE, 1500, "--rate 10k --poisson --seed 5 --batch 4 --checksum software");
}

static void frames_at_a_share_of_the_line_arrive(void **state)
{
	arrives(*state, CABLE, 1500, "--rate 0.1% --size imix");
}

/* As fast as it goes: the rings fill up, and what the sender cannot send it does not lose. */
static void a_sender_without_a_rate_loses_nothing_on_its_side(void **state)
{
	struct rig *rig = *state;
	struct process *p;

	choose(rig, CABLE, 1500);
	p = app_start(rig->host, "ixy-pktgen", "--json --count 50k %s %s", specs[0], specs[1]);
	app_assert_exits(p, 0);
	app_assert_result(p,
		".sent.frames == 50000 and .sent.dropped == 0 and .received.frames + .received.lost "
		"== 50000");
	assert_int_equal(rig_nic(rig, "tx_frames"), 50000);
	finish(rig, p);
}

static void it_measures_the_way_there_and_back_when_frames_are_echoed(void **state)
{
	struct rig *rig = *state;
	struct process *echo, *p;

	choose(rig, CABLE, 1500);
	echo = app_start(rig->host, "ixy-echo", "--quiet %s", specs[1]);
	app_await(echo, ": link ");
	p = app_start(rig->host, "ixy-pktgen", "--json --rate 2k --count 500 %s %s", specs[0], specs[0]);
	app_assert_exits(p, 0);
	assert_all_arrived(p, 500);
	app_assert_ends_by(echo, SIGTERM);
	finish(rig, p);
}

/* Two processes, of which the second is started again: what each has lost is added up. */
static void a_receiver_of_its_own_counts_one_sender_after_the_other(void **state)
{
	struct rig *rig = *state;
	struct process *receiver, *sender;

	lay_loop(rig, 1500);
	receiver = app_start(rig->host, "ixy-pktgen", "--receive --json --count 1000 xdp:x1");
	app_await(receiver, "link up");
	for (unsigned i = 0; i < 2; i++) {
		sender = app_start(rig->host, "ixy-pktgen", "--json --rate 5k --count 500 --flows 3 xdp:x0");
		app_assert_exits(sender, 0);
		app_assert_result(sender, ".sent.frames == 500 and .received == null");
	}
	app_assert_exits(receiver, 0);
	app_assert_result(
		receiver, ".received.frames == 1000 and .received.lost == 0 and .latency_us.frames == 1000");
	finish(rig, receiver);
}

static void it_says_its_rates_and_its_result_in_words(void **state)
{
	struct rig *rig = *state;
	struct process *p;

	choose(rig, CABLE, 1500);
	p = app_start(rig->host, "ixy-pktgen", "--rate 1k %s %s", specs[0], specs[1]);
	app_await(p, "   rx ");
	app_assert_ends_by(p, SIGINT);
	assert_true(app_total(p, "sent") > 0);
	assert_int_equal(app_total(p, "sent"), app_total(p, "received"));
	assert_true(app_has_said(p, "asked for 1000.0 a second, achieved "));
	assert_true(app_has_said(p, "lost 0, reordered 0, duplicates 0, bad checksums 0, others 0"));
	assert_true(app_has_said(p, "latency, us: min "));
	finish(rig, p);
}

/* --- what is on the wire -------------------------------------------------------------------------------- */

static void frames_are_right(
	struct rig *rig, const char *device, const char *options, uint16_t type, size_t size)
{
	static struct captured seen;
	struct process *p;
	int fd;

	command_ok(rig->peer, "sysctl -qw net.ipv6.conf.p0.disable_ipv6=1");
	fd = raw_open(rig->peer, "p0");
	p = app_start(rig->host, "ixy-pktgen",
		"--json --rate 1k --count 100 --flows 7 --mac 2:0:0:0:0:aa %s %s:d0", options, device);
	for (uint32_t i = 0; i < 100; i++) {
		const char *fault;

		assert_true(raw_receive_type(fd, &seen, type, APP_SECONDS));
		assert_int_equal(seen.size, size);
		assert_memory_equal(seen.data, "\2\0\0\0\0\xaa", 6);
		fault = frame_fault(seen.data, seen.size);
		if (fault)
			fail_msg("frame %u: %s", i, fault);
	}
	app_assert_exits(p, 0);
	app_assert_result(p, ".sent.frames == 100");
	close(fd);
	finish(rig, p);
}

static void checksums_are_complete_by_offload(void **state)
{
	frames_are_right(*state, "soft", "--checksum offload --size 200", ETH_P_IP, 196);
}

static void checksums_are_complete_by_offload_over_ipv6(void **state)
{
	frames_are_right(*state, "soft", "--checksum offload --size 1001 --to 2001:db8::1", ETH_P_IPV6, 997);
}

static void checksums_are_complete_in_software(void **state)
{
	frames_are_right(*state, "soft", "--checksum software --size 64", ETH_P_IP, 60);
}

static void checksums_are_complete_over_af_xdp(void **state)
{
	frames_are_right(*state, "xdp", "--size 85 --to 2001:db8::1 --from 2001:db8::2", ETH_P_IPV6, 81);
}

/*
 * What the wire cannot take waits in the ring, so the sender needs at least the time that all frames take but for those
 * that the ring (512) and the packet buffer (160 KiB, 107 of these) still hold when the last one goes in.
 */
static void a_wire_of_a_given_rate_on_an_interface_holds_the_sender_back(void **state)
{
	static struct captured seen;
	struct rig *rig = *state;
	struct process *p;
	char ports[256];
	int fd;

	command_ok(rig->peer, "sysctl -qw net.ipv6.conf.p0.disable_ipv6=1");
	snprintf(ports, sizeof(ports), "%s=dev:d0,rate=10", rig_socket(0));
	rig_start_softnic(rig, ports);
	fd = raw_open(rig->peer, "p0");
	p = app_start(rig->host, "ixy-pktgen", "--json --size 1518 --count 1500 vfio-user:%s", rig_socket(0));
	for (unsigned i = 0; i < 1500; i++) {
		assert_true(raw_receive_type(fd, &seen, ETH_P_IP, APP_SECONDS));
		assert_int_equal(seen.size, 1514);
	}
	app_assert_exits(p, 0);
	app_assert_result(p, ".sent.frames == 1500 and .sent.seconds * 1000000 >= %u",
		(1500 - 512 - 108) * 1538 * 8 / 10);
	assert_int_equal(rig_violations(rig, 0), 0);
	close(fd);
	finish(rig, p);
}

/* --- what it finds out ---------------------------------------------------------------------------------- */

#define RELAYED 300

/* Take all frames off p0, and put them into p1 with some missing, some twice, some in another's place, some changed. */
static void relay_badly(int from, int to)
{
	static struct captured frames[RELAYED];

	for (unsigned i = 0; i < RELAYED; i++)
		assert_true(raw_receive_type(from, &frames[i], ETH_P_IP, APP_SECONDS));
	for (unsigned i = 0; i < RELAYED; i++) {
		/* Of each twenty: number 3 is lost, 7 comes twice, 12 after 13, 17 with a wrong bit. */
		unsigned n = i % 20 == 12 ? i + 1 : i % 20 == 13 ? i - 1 : i;

		if (i % 20 == 3)
			continue;
		frames[i].data[frames[i].size - 1] ^= i % 20 == 17;
		raw_send(to, frames[n].data, frames[n].size);
		if (i % 20 == 7)
			raw_send(to, frames[n].data, frames[n].size);
	}
}

static void bad_relay_is_found_out(struct rig *rig, const char *kind)
{
	struct process *p;
	int fds[2];

	rig_cable(rig->peer, "p1", rig->host, "d1");
	for (unsigned i = 0; i < 2; i++) {
		char name[8];

		command_ok(rig->peer, "sysctl -qw net.ipv6.conf.p%u.disable_ipv6=1", i);
		snprintf(name, sizeof(name), "p%u", i);
		fds[i] = raw_open(rig->peer, name);
	}
	p = app_start(rig->host, "ixy-pktgen", "--json --rate 1k --count %u --linger %us %s:d0 %s:d1",
		RELAYED, 3 * slow_factor(), kind, kind);
	relay_badly(fds[0], fds[1]);
	app_assert_exits(p, 0);
	/* One of twenty is lost and one is changed, which counts as lost as well; one of these comes twice. */
	app_assert_result(p,
		".sent.frames == %u and (.received | .frames == %u and .lost == %u and .reordered == %u and "
		".duplicates == %u and .bad_checksum == %u)",
		RELAYED, RELAYED - RELAYED / 20, RELAYED / 10, RELAYED / 20, RELAYED / 20, RELAYED / 20);
	for (unsigned i = 0; i < 2; i++)
		close(fds[i]);
	finish(rig, p);
}

static void loss_duplicates_and_reordering_are_found_by_software_nics(void **state)
{
	bad_relay_is_found_out(*state, "soft");
}

static void loss_duplicates_and_reordering_are_found_by_xdp_devices(void **state)
{
	bad_relay_is_found_out(*state, "xdp");
}

static void other_peoples_frames_are_told_apart(void **state)
{
	static const uint8_t mac[6] = {2, 0, 0, 0, 0, 1};
	struct rig *rig = *state;
	struct process *p, *sender;
	uint8_t frame[128];
	size_t size;
	int fd;

	command_ok(rig->peer, "sysctl -qw net.ipv6.conf.p0.disable_ipv6=1");
	p = app_start(rig->host, "ixy-pktgen", "--receive --json --count 1 soft:d0");
	app_await(p, "link up");
	fd = raw_open(rig->peer, "p0");
	size = frame_udp4(frame, mac, mac, "192.0.2.1", "192.0.2.2", 1, 2, 40);
	raw_send(fd, frame, size);
	frame[size - 1] ^= 1;
	raw_send(fd, frame, size);
	frame_test(frame, 60, mac, mac, 1);
	raw_send(fd, frame, 60);
	/* The one that ends it comes behind them. */
	sender = app_start(rig->peer, "ixy-pktgen", "--json --count 1 xdp:p0");
	app_assert_exits(sender, 0);
	app_assert_exits(p, 0);
	app_assert_result(
		p, ".received | .frames == 1 and .bad_checksum == 0 and .other == 3 and .lost == 0");
	close(fd);
	finish(rig, p);
}

/* --- captures ------------------------------------------------------------------------------------------- */

#define CAPTURED 50

static uint8_t recorded[CAPTURED][1514];
static size_t recorded_size[CAPTURED];

/* 60 to 1514 bytes, 4 ms apart. */
static void record(char path[128])
{
	static const uint8_t to[6] = {2, 0, 0, 0, 0, 1}, from[6] = {2, 0, 0, 0, 0, 2};
	pcap_t *format = pcap_open_dead_with_tstamp_precision(DLT_EN10MB, 65535, PCAP_TSTAMP_PRECISION_NANO);
	pcap_dumper_t *out;

	snprintf(path, 128, "%s/frames.pcap", commands_folder());
	out = pcap_dump_open(format, path);
	assert_non_null(out);
	for (uint32_t i = 0; i < CAPTURED; i++) {
		struct pcap_pkthdr header = {.ts = {1700000000, 4000000 * (int)i}};

		recorded_size[i] = 60 + i * 1454 / (CAPTURED - 1);
		header.caplen = header.len = (bpf_u_int32)recorded_size[i];
		frame_test(recorded[i], recorded_size[i], to, from, i);
		pcap_dump((u_char *)out, &header, recorded[i]);
	}
	pcap_dump_close(out);
	pcap_close(format);
}

static void replays(struct rig *rig, const char *device, const char *options, unsigned count)
{
	static struct captured seen;
	struct process *p;
	char path[128];
	int fd;

	command_ok(rig->peer, "sysctl -qw net.ipv6.conf.p0.disable_ipv6=1");
	record(path);
	fd = raw_open(rig->peer, "p0");
	p = app_start(rig->host, "ixy-pktgen", "--json --pcap %s --count %u %s %s:d0", path, count, options,
		device);
	for (unsigned i = 0; i < count; i++) {
		assert_true(raw_receive_type(fd, &seen, ETHERTYPE_TEST, APP_SECONDS));
		assert_int_equal(seen.size, recorded_size[i % CAPTURED]);
		assert_memory_equal(seen.data, recorded[i % CAPTURED], seen.size);
	}
	app_assert_exits(p, 0);
	app_assert_result(p, ".sent.frames == %u", count);
	/* Never sooner than recorded, but for the 10 ms that a late sender may catch up. */
	if (strstr(options, "--original-times"))
		app_assert_result(p, ".sent.seconds * 1000 >= %u", 4 * (count - 1) - 10);
	close(fd);
	finish(rig, p);
}

static void a_capture_is_sent_byte_by_byte_round_and_round(void **state)
{
	replays(*state, "soft", "--rate 1k", 3 * CAPTURED + 7);
}

static void a_capture_is_sent_byte_by_byte_over_af_xdp(void **state)
{
	replays(*state, "xdp", "--rate 5k", CAPTURED);
}

static void a_capture_is_sent_at_its_own_times(void **state)
{
	replays(*state, "soft", "--original-times", 3 * CAPTURED);
}

/* --- the command line ----------------------------------------------------------------------------------- */

static void wrong_arguments_are_refused(void **state)
{
	static const struct {
		const char *arguments, *says;
	} cases[] = {
		{"", "usage: "},
		{"a b c", "usage: "},
		{"--size 63 xdp:no0", "expected SIZES"},
		{"--size 64, xdp:no0", "expected SIZES"},
		{"--rate 0 xdp:no0", "expected RATE"},
		{"--rate 1e9 xdp:no0", "expected RATE"},
		{"--rate 101% xdp:no0", "expected RATE"},
		{"--batch 257 xdp:no0", "expected N, 1 to 256"},
		{"--flows 65537 xdp:no0", "expected N, 1 to 65536"},
		{"--flows 20000 xdp:no0", "--flows: there are not so many ports"},
		{"--mac 2:0:0:0:0 xdp:no0", "expected MAC"},
		{"--mac 2:0:0:0:0:-1 xdp:no0", "expected MAC"},
		{"--to 192.0.2 xdp:no0", "192.0.2: not an address"},
		{"--to 192.0.2.1 --from 2001:db8::1 xdp:no0", "192.0.2.1: not an address"},
		{"--to 2001:db8::1 --size 64 xdp:no0", "--size: a datagram over IPv6"},
		{"--poisson xdp:no0", "--poisson: wants a --rate"},
		{"--burst 8 xdp:no0", "--burst: wants a --rate"},
		{"--original-times xdp:no0", "--pcap is missing"},
		{"--pcap x --original-times --rate 5 xdp:no0", "--original-times: and --rate"},
		{"--receive xdp:no0 xdp:no1", "--receive: takes one device"},
		{"--receive --pcap x xdp:no0", "--pcap: is for sending"},
		{"rfc2544 xdp:no0", "usage: "},
		{"rfc2544 --sizes imix xdp:no0 xdp:no1", "expected SIZES"},
		{"rfc2544 --max-rate max xdp:no0 xdp:no1", "expected RATE"},
		{"rfc2544 --tests all xdp:no0 xdp:no1", "expected LIST"},
		{"rfc2544 --resolution 0 xdp:no0 xdp:no1", "expected PERCENT"},
		{"rfc2544 --resolution 1e1 xdp:no0 xdp:no1", "expected PERCENT"},
		{"rfc2544 --tolerance 51% xdp:no0 xdp:no1", "expected PERCENT"},
		{"rfc2544 --duration 1ms xdp:no0 xdp:no1", "expected TIME"},
		{"rfc2544 xdp:no0 xdp:no0", "the same device twice"},
	};

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		int status = command(NULL, "%s %s", rig_program("ixy-pktgen"), cases[i].arguments);

		if (status != 2 || !strstr(command_output(), cases[i].says))
			fail_msg("%s: status %d: %s", cases[i].arguments, status, command_output());
	}
	assert_int_equal(command(NULL, "%s --pcap /nonexistent xdp:no0", rig_program("ixy-pktgen")), 1);
	assert_non_null(strstr(command_output(), "/nonexistent"));
	assert_int_equal(command(NULL, "%s --pcap /dev/null xdp:no0", rig_program("ixy-pktgen")), 1);
	assert_int_not_equal(command(NULL, "%s xdp:no0", rig_program("ixy-pktgen")), 0);
	assert_non_null(strstr(command_output(), "no0"));
}

static void the_help_has_examples(void **state)
{
	(void)state;
	command_ok(NULL, "%s --help", rig_program("ixy-pktgen"));
	assert_non_null(strstr(command_output(), "ixy-pktgen rfc2544 0000:03:00.0 0000:03:00.1"));
	command_ok(NULL, "%s rfc2544 --help", rig_program("ixy-pktgen"));
	assert_non_null(strstr(command_output(), "example: ixy-pktgen rfc2544 "));
	assert_non_null(strstr(command_output(), "--max-rate RATE"));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		TESTS_FOR_EACH_PAIR(shortest_frames_arrive),
		TESTS_FOR_EACH_PAIR(a_mix_of_many_ipv6_flows_in_bursts_arrives),
		RIG_TEST(jumbo_frames_arrive),
		RIG_TEST(frames_at_random_times_arrive),
		RIG_TEST(frames_at_a_share_of_the_line_arrive),
		RIG_TEST(a_sender_without_a_rate_loses_nothing_on_its_side),
		RIG_TEST(it_measures_the_way_there_and_back_when_frames_are_echoed),
		RIG_TEST(a_receiver_of_its_own_counts_one_sender_after_the_other),
		RIG_TEST(it_says_its_rates_and_its_result_in_words),
		RIG_TEST(checksums_are_complete_by_offload),
		RIG_TEST(checksums_are_complete_by_offload_over_ipv6),
		RIG_TEST(checksums_are_complete_in_software),
		RIG_TEST(checksums_are_complete_over_af_xdp),
		RIG_TEST(a_wire_of_a_given_rate_on_an_interface_holds_the_sender_back),
		RIG_TEST(loss_duplicates_and_reordering_are_found_by_software_nics),
		RIG_TEST(loss_duplicates_and_reordering_are_found_by_xdp_devices),
		RIG_TEST(other_peoples_frames_are_told_apart),
		RIG_TEST(a_capture_is_sent_byte_by_byte_round_and_round),
		RIG_TEST(a_capture_is_sent_byte_by_byte_over_af_xdp),
		RIG_TEST(a_capture_is_sent_at_its_own_times),
		RIG_TEST(wrong_arguments_are_refused),
		RIG_TEST(the_help_has_examples),
	};
	return rig_main("pktgen", tests);
}
