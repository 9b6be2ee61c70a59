/*
 * ixy-fwd between devices of each kind.
 *
 *	namespace peer			namespace host
 *	p0 =========================== d0 -- one device --+
 *	                                                  ixy-fwd
 *	p1 =========================== d1 -- the other ---+
 *
 * What the test sends into p0 must come out of p1, and the other way round.
 */
#include "app_rig.h"

#include <linux/if_ether.h>
#include <netinet/ip.h>
#include <signal.h>
#include <unistd.h>

#define FRAMES 200
#define LOST   5 /* frames sent where they cannot pass */
/* Fits every ring, an eighth of which may not be refilled yet, so none of it may be lost: in descriptors. */
#define BURST 400

enum pair { SOFT, XDP, MIXED };

struct ports {
	struct process *fwd;
	char names[2][16]; /* as ixy-fwd calls the devices */
	char control[2][96];
	int fds[2];
};

/* --- the rig -------------------------------------------------------------------------------------------- */

static bool is_soft(enum pair pair, unsigned port)
{
	return pair == SOFT || (pair == MIXED && port == 0);
}

/* The second cable, and no host on either of the two. */
static void lay_cables(struct rig *rig, unsigned mtu, unsigned queues)
{
	rig_cable(rig->peer, "p1", rig->host, "d1");
	for (unsigned i = 0; i < 2; i++) {
		command_ok(rig->peer, "sysctl -qw net.ipv6.conf.p%u.disable_ipv6=1 && ip link set p%u mtu %u",
			i, i, mtu);
		command_ok(rig->host, "ip link set d%u mtu %u && ethtool -L d%u rx %u tx %u", i, mtu, i,
			queues, queues);
		command_ok(rig->peer, "ethtool -L p%u rx %u tx %u", i, queues, queues);
	}
}

static void start(struct rig *rig, struct ports *ports, enum pair pair, const char *options)
{
	char specs[2][128];

	for (unsigned i = 0; i < 2; i++) {
		const char *kind = is_soft(pair, i) ? "soft" : "xdp";

		snprintf(ports->names[i], sizeof(ports->names[i]), "%s:d%u", kind, i);
		snprintf(ports->control[i], sizeof(ports->control[i]), "%s%u", rig->control, i);
		snprintf(specs[i], sizeof(specs[i]), "%s:d%u%s%s", kind, i,
			is_soft(pair, i) ? ",control=" : "", is_soft(pair, i) ? ports->control[i] : "");
	}
	ports->fwd = app_start(rig->host, "ixy-fwd", "%s %s %s", options, specs[0], specs[1]);
	for (unsigned i = 0; i < 2; i++) {
		char text[160];

		snprintf(text, sizeof(text), "%s: link up", specs[i]);
		app_await(ports->fwd, text);
		snprintf(text, sizeof(text), "p%u", i);
		ports->fds[i] = raw_open(rig->peer, text);
	}
}

static const char *ctl(struct ports *ports, unsigned port, const char *line)
{
	return command_ok(NULL, "%s ctl %s %s", rig_program("ixy-softnic"), ports->control[port], line);
}

static uint64_t total(struct ports *ports, unsigned from)
{
	char name[512];

	snprintf(name, sizeof(name), "%s to %s", ports->names[from], ports->names[!from]);
	return app_total(ports->fwd, name);
}

static void finish(struct rig *rig, struct ports *ports, enum pair pair, int signal)
{
	for (unsigned i = 0; i < 2; i++)
		if (is_soft(pair, i))
			assert_non_null(strstr(ctl(ports, i, "violations 0"), "total 0"));
	app_assert_ends_by(ports->fwd, signal);
	for (unsigned i = 0; i < 2; i++) {
		close(ports->fds[i]);
		assert_null(strstr(command_ok(rig->host, "ip -details link show dev d%u", i), "prog/xdp"));
	}
}

/* --- frames --------------------------------------------------------------------------------------------- */

static void forwards(struct rig *rig, enum pair pair, const char *options, unsigned mtu, size_t size)
{
	const unsigned burst = BURST / ((unsigned)size / 2048 + 1);
	struct ports ports;

	lay_cables(rig, mtu, 1);
	start(rig, &ports, pair, options);
	frames_pass_one_by_one(ports.fds[0], ports.fds[1], size, FRAMES);
	frames_pass_one_by_one(ports.fds[1], ports.fds[0], size, FRAMES);
	frames_pass_at_once(ports.fds[0], ports.fds[1], size, burst);
	finish(rig, &ports, pair, SIGINT);
	assert_int_equal(total(&ports, 0), FRAMES + burst);
	assert_int_equal(total(&ports, 1), FRAMES);
	assert_false(app_has_said(ports.fwd, " dropped, "));
}

#define FOR_EACH_PAIR(name, options, mtu, size)                         \
	static void name##_between_software_nics(void **state)          \
	{                                                               \
		forwards(*state, SOFT, options, mtu, size);             \
	}                                                               \
	static void name##_between_xdp_devices(void **state)            \
	{                                                               \
		forwards(*state, XDP, options, mtu, size);              \
	}                                                               \
	static void name##_between_a_software_nic_and_xdp(void **state) \
	{                                                               \
		forwards(*state, MIXED, options, mtu, size);            \
	}

FOR_EACH_PAIR(frames_pass_both_ways, "", 1500, 60)
FOR_EACH_PAIR(single_frames_pass_without_sleeping, "--batch 1 --poll", 1500, 1514)
FOR_EACH_PAIR(large_batches_pass_with_a_thread_each_way, "--batch 256 --threads 2 --cpu 0,1", 1500, 300)
FOR_EACH_PAIR(jumbo_frames_pass, "--mtu 9000", 9000, 9014)
FOR_EACH_PAIR(copied_frames_pass, "--copy", 1500, 1000)

static void copied_jumbo_frames_pass(void **state)
{
	forwards(*state, MIXED, "--copy --mtu 9000", 9000, 9014);
}

/* Flows are spread over the queues; each is in order, and all arrive. */
static void flows_pass_by_several_queues(struct rig *rig, enum pair pair)
{
	static const uint8_t mac_a[6] = {2, 0, 0, 0, 0, 0xa}, mac_b[6] = {2, 0, 0, 0, 0, 0xb};
	static struct captured seen;
	bool arrived[FRAMES] = {false};
	struct ports ports;
	uint8_t frame[128];
	size_t size = 0;

	lay_cables(rig, 1500, 2);
	start(rig, &ports, pair, "--queues 2 --threads 4");
	for (uint16_t i = 0; i < FRAMES; i++) {
		size = frame_udp4(frame, mac_b, mac_a, "192.0.2.1", "192.0.2.2", (uint16_t)(1000 + i), 9, 30);
		raw_send(ports.fds[0], frame, size);
	}
	for (unsigned i = 0; i < FRAMES; i++) {
		uint16_t port;

		assert_true(raw_receive_type(ports.fds[1], &seen, ETH_P_IP, APP_SECONDS));
		assert_int_equal(seen.size, size);
		port = (uint16_t)(seen.data[34] << 8 | seen.data[35]);
		assert_in_range(port, 1000, 1000 + FRAMES - 1);
		assert_false(arrived[port - 1000]);
		arrived[port - 1000] = true;
		assert_null(frame_fault(seen.data, seen.size));
	}
	finish(rig, &ports, pair, SIGTERM);
	assert_int_equal(total(&ports, 0), FRAMES);
}

static void flows_pass_by_two_queues_of_software_nics(void **state)
{
	flows_pass_by_several_queues(*state, SOFT);
}

static void flows_pass_by_two_queues_of_xdp_devices(void **state)
{
	flows_pass_by_several_queues(*state, XDP);
}

static void two_ports_of_one_software_nic_forward_over_vfio_user(void **state)
{
	struct rig *rig = *state;
	char specs[256], sockets[2][96];
	struct process *fwd;
	int fds[2];

	lay_cables(rig, 1500, 1);
	for (unsigned i = 0; i < 2; i++)
		snprintf(sockets[i], sizeof(sockets[i]), "%s", rig_socket(i));
	snprintf(specs, sizeof(specs), "%s=dev:d0 %s=dev:d1", sockets[0], sockets[1]);
	rig_start_softnic(rig, specs);
	fwd = app_start(rig->host, "ixy-fwd", "vfio-user:%s vfio-user:%s", sockets[0], sockets[1]);
	for (unsigned i = 0; i < 2; i++) {
		snprintf(specs, sizeof(specs), "vfio-user:%s: link up", sockets[i]);
		app_await(fwd, specs);
		fds[i] = raw_open(rig->peer, i ? "p1" : "p0");
	}
	frames_pass_one_by_one(fds[0], fds[1], 600, FRAMES);
	frames_pass_one_by_one(fds[1], fds[0], 600, FRAMES);
	assert_int_equal(rig_violations(rig, 0), 0);
	assert_int_equal(rig_violations(rig, 1), 0);

	/* It takes both devices with it. */
	process_kill(rig->softnic);
	app_assert_exits(fwd, 69);
	close(fds[0]);
	close(fds[1]);
}

/* A stack on this machine leaves the sum to the NIC (veth: tx on); what leaves at the other end must have it. */
static void checksums_left_to_the_nic_are_completed(struct rig *rig, enum pair pair)
{
	static struct captured seen;
	struct ports ports;

	lay_cables(rig, 1500, 1);
	command_ok(rig->peer, "ip address add 192.0.2.1/24 dev p1 && "
			      "ip neighbour add 192.0.2.2 lladdr 02:00:00:00:00:02 dev p1 nud permanent");
	start(rig, &ports, pair, "");
	command_ok(rig->peer, "bash -c 'echo something to be summed up >/dev/udp/192.0.2.2/9'");
	assert_true(raw_receive_type(ports.fds[0], &seen, ETH_P_IP, APP_SECONDS));
	assert_false(seen.checksum_partial);
	assert_null(frame_fault(seen.data, seen.size));
	finish(rig, &ports, pair, SIGTERM);
	assert_int_equal(total(&ports, 1), 1);
}

static void checksums_left_to_the_nic_are_completed_by_an_xdp_device(void **state)
{
	checksums_left_to_the_nic_are_completed(*state, XDP);
}

static void checksums_left_to_the_nic_are_completed_by_a_software_nic(void **state)
{
	checksums_left_to_the_nic_are_completed(*state, MIXED);
}

/* --- touched frames ------------------------------------------------------------------------------------- */

static void touched(struct rig *rig, struct ports *ports, const char *choice, const uint8_t *in,
	const uint8_t *out, size_t size)
{
	static struct captured seen;
	char options[32];

	lay_cables(rig, 1500, 1);
	snprintf(options, sizeof(options), "--touch %s", choice);
	start(rig, ports, MIXED, options);
	raw_send(ports->fds[0], in, size);
	assert_true(raw_receive_type(ports->fds[1], &seen, frame_type(out, size), APP_SECONDS));
	assert_int_equal(seen.size, size);
	assert_memory_equal(seen.data, out, size);
	finish(rig, ports, MIXED, SIGTERM);
	assert_int_equal(total(ports, 0), 1);
}

static const uint8_t one[6] = {2, 0, 0, 0, 0, 1}, other[6] = {2, 0, 0, 0, 0, 2};

static void macs_change_places_when_asked_for(void **state)
{
	struct ports ports;
	uint8_t in[200], out[200];

	frame_test(in, sizeof(in), one, other, 1);
	frame_test(out, sizeof(out), other, one, 1);
	touched(*state, &ports, "macs", in, out, sizeof(in));
}

static void frames_are_read_and_stay_as_they_are(void **state)
{
	struct ports ports;
	uint8_t frame[200];

	frame_test(frame, sizeof(frame), one, other, 1);
	touched(*state, &ports, "read", frame, frame, sizeof(frame));
	assert_true(app_has_said(ports.fwd, "\nread: 200 bytes\n"));
}

static void a_hop_is_counted_and_the_checksum_fits(void **state)
{
	struct ports ports;
	uint8_t in[128], out[128];
	size_t size = frame_udp4(in, one, other, "192.0.2.1", "192.0.2.2", 1, 2, 40);

	memcpy(out, in, size);
	out[14 + 8]--; /* TTL; in the sum it is the high byte of a word */
	out[14 + 10]++;
	if (out[14 + 10] == 0) /* the carry of the one's complement */
		out[14 + 11]++;
	assert_null(frame_fault(out, size));
	touched(*state, &ports, "ttl", in, out, size);
}

/* --- the cable ------------------------------------------------------------------------------------------ */

/* All that the lines a second have told. */
static uint64_t dropped_in_lines(struct process *fwd)
{
	uint64_t sum = 0;

	for (const char *at = process_stdout(fwd); (at = strstr(at, " Mbit/s ")); at++) {
		unsigned long long dropped;

		if (sscanf(at, " Mbit/s %llu dropped", &dropped) == 1)
			sum += dropped;
	}
	return sum;
}

/* Frames that the first device takes and the second one does not send. */
static void send_lost(struct ports *ports)
{
	uint8_t frame[100];

	frame_test(frame, sizeof(frame), one, other, 0);
	for (unsigned i = 0; i < LOST; i++)
		raw_send(ports->fds[0], frame, sizeof(frame));
}

/* They were lost under this name, and no others: what has passed before are 10 frames the first way. */
static void assert_only_these_are_lost(struct rig *rig, struct ports *ports, const char *name)
{
	frames_pass_one_by_one(ports->fds[0], ports->fds[1], 100, 10);
	frames_pass_one_by_one(ports->fds[1], ports->fds[0], 100, 10);
	finish(rig, ports, SOFT, SIGTERM);
	assert_int_equal(total(ports, 0), 20);
	assert_int_equal(total(ports, 1), 10);
	assert_int_equal(app_number_before(ports->fwd, name), LOST);
}

static void frames_are_dropped_by_name_while_the_cable_is_out(void **state)
{
	struct rig *rig = *state;
	struct ports ports;

	lay_cables(rig, 1500, 1);
	start(rig, &ports, SOFT, "");
	frames_pass_one_by_one(ports.fds[0], ports.fds[1], 100, 10);
	ctl(&ports, 1, "link 0 out");
	app_await(ports.fwd, "1: link down");
	send_lost(&ports);
	assert_soon(APP_SECONDS, dropped_in_lines(ports.fwd) == LOST);
	ctl(&ports, 1, "link 0 in");
	assert_soon(APP_SECONDS, strstr(ctl(&ports, 1, "ports"), "link up") != NULL);
	/* Said a second time: the first was at the start. */
	assert_soon(
		APP_SECONDS, strstr(strstr(process_stderr(ports.fwd), "1: link down"), "1: link up") != NULL);
	assert_only_these_are_lost(rig, &ports, " dropped, tx-link-down");
}

static void a_cable_that_is_out_at_the_start_is_told_and_waited_for(void **state)
{
	struct rig *rig = *state;
	struct process *fwd;

	lay_cables(rig, 1500, 1);
	command_ok(rig->peer, "ip link set p1 down");
	fwd = app_start(rig->host, "ixy-fwd", "--wait 200ms soft:d0 xdp:d1");
	app_await(fwd, "soft:d0: link up, 10000 Mbit/s");
	app_await(fwd, "xdp:d1: link down");
	command_ok(rig->peer, "ip link set p1 up");
	app_await(fwd, "xdp:d1: link up");
	app_assert_ends_by(fwd, SIGTERM);
}

static void it_ends_with_its_totals_when_a_device_goes(void **state)
{
	struct rig *rig = *state;
	struct ports ports;

	lay_cables(rig, 1500, 1);
	start(rig, &ports, MIXED, "");
	frames_pass_one_by_one(ports.fds[0], ports.fds[1], 100, 10);
	command_ok(rig->peer, "ip link del p1");
	app_assert_exits(ports.fwd, 69);
	assert_true(app_has_said(ports.fwd, "xdp:d1: the interface has gone"));
	assert_int_equal(total(&ports, 0), 10);
	close(ports.fds[0]);
	close(ports.fds[1]);
}

/* Of the other device's memory, too: it lies in the ring of the one that is reset. */
static void a_hung_device_is_reset_and_frames_pass_again(void **state)
{
	struct rig *rig = *state;
	struct ports ports;

	lay_cables(rig, 1500, 1);
	start(rig, &ports, SOFT, "--threads 2");
	frames_pass_one_by_one(ports.fds[0], ports.fds[1], 100, 10);
	ctl(&ports, 1, "fault 0 tx-hang on");
	send_lost(&ports);
	app_await(ports.fwd, "1: has to be reset");
	assert_soon(APP_SECONDS,
		strstr(strstr(process_stderr(ports.fwd), "1: has to be reset"), "1: link up") != NULL);
	assert_only_these_are_lost(rig, &ports, " dropped, tx-reset");
}

/* --- what it hears and says ----------------------------------------------------------------------------- */

static void without_promiscuity_only_its_own_frames_pass(void **state)
{
	struct rig *rig = *state;
	static struct captured seen;
	struct ports ports;
	uint8_t frame[100], mac[6];

	lay_cables(rig, 1500, 1);
	start(rig, &ports, XDP, "--no-promisc");
	link_mac(rig->host, "d0", mac);
	frame_test(frame, sizeof(frame), one, other, 1); /* nobody's */
	raw_send(ports.fds[0], frame, sizeof(frame));
	frame_test(frame, sizeof(frame), mac, other, 2);
	raw_send(ports.fds[0], frame, sizeof(frame));
	assert_true(raw_receive_type(ports.fds[1], &seen, ETHERTYPE_TEST, APP_SECONDS));
	assert_memory_equal(seen.data, frame, sizeof(frame));
	finish(rig, &ports, XDP, SIGTERM);
	assert_int_equal(total(&ports, 0), 1);
}

static void a_line_a_second_tells_the_rates_until_the_time_is_over(void **state)
{
	struct rig *rig = *state;
	struct process *fwd;

	lay_cables(rig, 1500, 1);
	fwd = app_start(rig->host, "ixy-fwd", "xdp:d0 xdp:d1");
	app_await(fwd, " s   xdp:d0 to xdp:d1 0.000 Mpps 0 Mbit/s   xdp:d1 to xdp:d0 0.000 Mpps 0 Mbit/s\n");
	app_assert_ends_by(fwd, SIGHUP);
	fwd = app_start(rig->host, "ixy-fwd", "--quiet --time 1500ms xdp:d0 xdp:d1");
	app_assert_exits(fwd, 0);
	assert_false(app_has_said(fwd, "Mbit/s   "));
	assert_int_equal(app_total(fwd, "xdp:d0 to xdp:d1"), 0);
}

static void it_ends_in_order_when_nobody_reads_its_lines(void **state)
{
	struct rig *rig = *state;

	lay_cables(rig, 1500, 1);
	command_ok(rig->host, "bash -o pipefail -c '%s xdp:d0 soft:d1 | head -n 1'", rig_program("ixy-fwd"));
}

static void it_explains_itself_and_refuses_what_it_cannot_do(void **state)
{
	static const struct app_call calls[] = {
		{"--help", 0, "example: ixy-fwd "},
		{"", 2, "usage: ixy-fwd "},
		{"xdp:d0", 2, "usage: "},
		{"xdp:d0 xdp:d1 xdp:d2", 2, "usage: "},
		{"--batch 0 xdp:d0 xdp:d1", 2, "--batch 0: expected N, 1 to 256"},
		{"--batch 257 xdp:d0 xdp:d1", 2, "1 to 256"},
		{"--threads 0 xdp:d0 xdp:d1", 2, "--threads 0"},
		{"--queues 17 xdp:d0 xdp:d1", 2, "1 to 16"},
		{"--touch all xdp:d0 xdp:d1", 2, "none|read|macs|ttl"},
		{"--cpu 1- xdp:d0 xdp:d1", 2, "--cpu 1-"},
		{"--cpu 3-1 xdp:d0 xdp:d1", 2, "--cpu 3-1"},
		{"--nonsense xdp:d0 xdp:d1", 2, "nonsense"},
		{"--cpu 1023 xdp:d0 xdp:d1", 71, "on CPU 1023"},
		/* The first thread runs when the second one cannot be started. */
		{"--threads 2 --cpu 0,1023 --poll soft:d0 xdp:d1", 71, "on CPU 1023"},
		{"--ring 100 xdp:d0 xdp:d1", 78, "powers of two"},
		{"--mtu 20000 xdp:d0 xdp:d1", 78, "20000"},
		{"eth d1", 78, "eth: not a device"},
		{"xdp:d0 xdp:no1", 69, "no1"},
		{"xdp:d0 soft:no1", 69, "no1"},
		{"--queues 2 xdp:d0 xdp:d1", 78, "ethtool -L"},
		{"xdp:d0,queues=2 xdp:d1", 78, "queues"},
	};
	struct rig *rig = *state;

	lay_cables(rig, 1500, 1);
	app_assert_calls(rig, "ixy-fwd", calls, sizeof(calls) / sizeof(calls[0]));
}

#define EACH_PAIR(name)                                                               \
	RIG_TEST(name##_between_software_nics), RIG_TEST(name##_between_xdp_devices), \
		RIG_TEST(name##_between_a_software_nic_and_xdp)

int main(void)
{
	const struct CMUnitTest tests[] = {
		EACH_PAIR(frames_pass_both_ways),
		EACH_PAIR(single_frames_pass_without_sleeping),
		EACH_PAIR(large_batches_pass_with_a_thread_each_way),
		EACH_PAIR(jumbo_frames_pass),
		EACH_PAIR(copied_frames_pass),
		RIG_TEST(copied_jumbo_frames_pass),
		RIG_TEST(flows_pass_by_two_queues_of_software_nics),
		RIG_TEST(flows_pass_by_two_queues_of_xdp_devices),
		RIG_TEST(two_ports_of_one_software_nic_forward_over_vfio_user),
		RIG_TEST(checksums_left_to_the_nic_are_completed_by_an_xdp_device),
		RIG_TEST(checksums_left_to_the_nic_are_completed_by_a_software_nic),
		RIG_TEST(macs_change_places_when_asked_for),
		RIG_TEST(frames_are_read_and_stay_as_they_are),
		RIG_TEST(a_hop_is_counted_and_the_checksum_fits),
		RIG_TEST(frames_are_dropped_by_name_while_the_cable_is_out),
		RIG_TEST(a_cable_that_is_out_at_the_start_is_told_and_waited_for),
		RIG_TEST(it_ends_with_its_totals_when_a_device_goes),
		RIG_TEST(a_hung_device_is_reset_and_frames_pass_again),
		RIG_TEST(without_promiscuity_only_its_own_frames_pass),
		RIG_TEST(a_line_a_second_tells_the_rates_until_the_time_is_over),
		RIG_TEST(it_ends_in_order_when_nobody_reads_its_lines),
		RIG_TEST(it_explains_itself_and_refuses_what_it_cannot_do),
	};

	return rig_main("ixy-fwd", tests);
}
