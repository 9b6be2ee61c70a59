/*
 * Data in bulk: TCP and UDP by iperf3, files of 100 MB compared by checksum, jumbo frames.
 */
#include "rig.h"

#include <unistd.h>

#define FILE_MEGABYTES 100

static bool listens(const char *netns, const char *kind, unsigned port)
{
	return *command_ok(netns, "ss -Hn%s 'sport = :%u'", kind, port) != 0;
}

static void start_iperf_server(struct rig *rig)
{
	process_start("iperf3", rig->peer, "exec iperf3 -s -B %s", rig->v4_peer);
	assert_soon(5, listens(rig->peer, "lt", 5201));
}

/* Run a client with these options; bytes must have come out at the other end. */
static void iperf(struct rig *rig, const char *options)
{
	command_ok(rig->host, "iperf3 -c %s -J -t 2 %s > %s/iperf", rig->v4_peer, options, commands_folder());
	if (command_number(
		    NULL, "jq '.end.sum_received.bytes // .end.sum.bytes' %s/iperf", commands_folder()) == 0)
		fail_msg("iperf3 %s: nothing was received", options);
}

static void tcp_flows_in_both_directions_with_iperf3(void **state)
{
	struct rig *rig = *state;

	rig_start(rig, "");
	start_iperf_server(rig);
	iperf(rig, "");
	iperf(rig, "-R");
	iperf(rig, "-P 4");
	iperf(rig, "-P 4 -R");
	rig_finish(rig);
}

static void udp_flows_in_both_directions_with_iperf3(void **state)
{
	struct rig *rig = *state;

	rig_start(rig, "");
	start_iperf_server(rig);
	iperf(rig, "-u -b 50M");
	iperf(rig, "-u -b 50M -R");
	iperf(rig, "-u -b 50M -l 64");
	rig_finish(rig);
}

/* Send a file of random bytes over TCP; what comes out must have the same checksum. */
static void transfer(const char *from, const char *to, const char *to_address, const char *family)
{
	const char *folder = commands_folder();
	struct process *receiver = process_start("receiver", to,
		"socat -u -T20 TCP%s-LISTEN:4242,bind='%s' STDOUT | sha256sum", family, to_address);
	char want[65];

	assert_soon(5, listens(to, "lt", 4242));
	snprintf(want, sizeof(want), "%.64s", command_ok(NULL, "sha256sum %s/file", folder));
	if (command_within(60, from, "socat -u FILE:%s/file TCP%s:'%s':4242", folder, family, to_address) !=
		0)
		fail_msg("sending to %s: %s", to_address, command_output());
	assert_int_equal(process_wait(receiver, 20), 0);
	assert_memory_equal(process_stdout(receiver), want, 64);
}

static void make_file(unsigned megabytes)
{
	command_ok(NULL, "head -c %u000000 /dev/urandom > %s/file", megabytes, commands_folder());
}

static void a_file_of_100_megabytes_arrives_intact_in_both_directions(void **state)
{
	struct rig *rig = *state;
	char v6_peer[48], v6_host[48];

	snprintf(v6_peer, sizeof(v6_peer), "[%s]", rig->v6_peer);
	snprintf(v6_host, sizeof(v6_host), "[%s]", rig->v6_host);
	rig_start(rig, "");
	make_file(FILE_MEGABYTES);
	transfer(rig->host, rig->peer, rig->v4_peer, "4");
	transfer(rig->peer, rig->host, rig->v4_host, "4");
	make_file(10);
	transfer(rig->host, rig->peer, v6_peer, "6");
	transfer(rig->peer, rig->host, v6_host, "6");
	rig_finish(rig);
}

static void a_file_arrives_intact_over_four_queues_with_polling(void **state)
{
	struct rig *rig = *state;

	if (rig_xdp())
		rig_start(rig, "--queues 4 --poll");
	else
		rig_start_vfio_user(rig, "--queues 4 --poll");
	make_file(20);
	transfer(rig->host, rig->peer, rig->v4_peer, "4");
	transfer(rig->peer, rig->host, rig->v4_host, "4");
	rig_finish(rig);
}

static void jumbo_frames_of_9000_bytes_pass_whole(void **state)
{
	struct rig *rig = *state;

	command_ok(rig->peer, "ip link set p0 mtu 9000");
	command_ok(rig->host, "ip link set d0 mtu 9000");
	rig_start(rig, "--mtu 9000");
	assert_int_equal(link_mtu(rig->host, "ixy0"), 9000);
	command_ok(rig->host, "ping -4nqc3 -i0.02 -W5 -M do -s 8972 %s", rig->v4_peer);
	command_ok(rig->peer, "ping -4nqc3 -i0.02 -W5 -M do -s 8972 %s", rig->v4_host);
	command_ok(rig->host, "ping -6nqc3 -i0.02 -W5 -M do -s 8952 %s", rig->v6_peer);
	command_ok(rig->peer, "ping -6nqc3 -i0.02 -W5 -M do -s 8952 %s", rig->v6_host);
	/* Sizes around the driver's buffers of 2048 bytes. */
	for (unsigned size = 2000; size <= 2060; size += 6)
		command_ok(rig->peer, "ping -4nqc1 -W5 -M do -s %u %s", size, rig->v4_host);
	make_file(20);
	transfer(rig->host, rig->peer, rig->v4_peer, "4");
	transfer(rig->peer, rig->host, rig->v4_host, "4");
	rig_finish(rig);
}

static void the_mtu_can_grow_and_shrink_while_traffic_flows(void **state)
{
	struct rig *rig = *state;
	struct process *ping;

	command_ok(rig->peer, "ip link set p0 mtu 9000");
	command_ok(rig->host, "ip link set d0 mtu 9000");
	rig_start(rig, "");
	ping = process_start("ping", rig->peer, "exec ping -nqi0.005 -c 200 -s 1000 -W5 %s", rig->v4_host);
	for (unsigned round = 0; round < 4; round++) {
		command_ok(rig->host, "ip link set ixy0 mtu 9000");
		assert_soon(5, command(rig->peer, "ping -nqc1 -W1 -M do -s 8972 %s", rig->v4_host) == 0);
		command_ok(rig->host, "ip link set ixy0 mtu 1500");
		/* The NIC refuses now what is too long, as a real one does; short frames go on. */
		assert_soon(5, command(rig->peer, "ping -nqc1 -W1 -M do -s 8972 %s", rig->v4_host) == 1);
	}
	assert_int_equal(process_wait(ping, 30), 0);
	if (!strstr(process_stdout(ping), " 0% packet loss"))
		fail_msg("frames were lost: %s", process_stdout(ping));
	rig_finish(rig);
}

/* Frames that have passed in either direction. */
static uint64_t passed(struct rig *rig)
{
	return tapd_number(rig->tapd, ".rx.frames + .tx.frames");
}

static bool seen(struct rig *rig, const char *what)
{
	return command(NULL, "tail -n 1 %s | jq -e --slurpfile b %s/before '$b[0] as $before | %s'",
		       rig->tapd->stdout_path, commands_folder(), what) == 0;
}

/* Everything that can happen to an interface, while TCP runs over it: bytes may wait, not change, not stop. */
static void a_file_arrives_intact_through_pulled_cables_hangs_and_changing_filters(void **state)
{
	static const struct {
		const char *strike;
		const char *seen; /* what it leads to, in ixy-tapd's counters; . is now, $before is then */
		const char *mend;
	} disturbances[] = {
		{"link 0 out", ".link.up | not", "link 0 in"},
		{"fault 0 tx-hang on", ".resets > $before.resets", NULL},
		{"speed 0 1000", ".link.speed == 1000", "speed 0 10000"},
		{"fault 0 rx-bad-status 3", ".drops[\"rx-error\"] > $before.drops[\"rx-error\"]", NULL},
		{"fault 0 rx-no-eop 3",
			".drops[\"rx-bad-descriptor\"] > $before.drops[\"rx-bad-descriptor\"]", NULL},
		{"fault 0 rx-hang on", ".resets > $before.resets", NULL},
		{"fault 0 rx-length-over 3",
			".drops[\"rx-bad-descriptor\"] > $before.drops[\"rx-bad-descriptor\"]", NULL},
		{"fault 0 tx-stall on", ".resets > $before.resets", "fault 0 tx-stall off"},
		{"fault 0 rx-length-zero 3",
			".drops[\"rx-bad-descriptor\"] > $before.drops[\"rx-bad-descriptor\"]", NULL},
	};
	const size_t count = sizeof(disturbances) / sizeof(disturbances[0]);
	struct rig *rig = *state;

	for (int to_host = 0; to_host < 2; to_host++) {
		const char *from = to_host ? rig->peer : rig->host, *to = to_host ? rig->host : rig->peer;
		const char *address = to_host ? rig->v4_host : rig->v4_peer;
		struct process *receiver, *sender;
		char go[96];
		size_t i;

		/* The sender repeats a file as long as another file is there; both ends sum up what passes. */
		make_file(1);
		snprintf(go, sizeof(go), "%s/go", commands_folder());
		command_ok(NULL, "touch %s", go);
		rig_start(rig, "--queues 2");
		receiver = process_start(
			"receiver", to, "socat -u TCP4-LISTEN:4242,bind=%s STDOUT | sha256sum", address);
		assert_soon(5, listens(to, "lt", 4242));
		sender = process_start("sender", from,
			"while test -e %s; do cat %s/file; sleep 0.02; done | tee %s/pipe | socat -u STDIN "
			"TCP4:%s:4242",
			go, commands_folder(), commands_folder(), address);
		for (i = 0; i < 2 * count; i++) {
			const char *strike = disturbances[i % count].strike,
				   *mend = disturbances[i % count].mend;
			uint64_t before;

			passed(rig);
			command_ok(
				NULL, "tail -n 1 %s > %s/before", rig->tapd->stdout_path, commands_folder());
			rig_ctl(rig, "%s", strike);
			command_ok(rig->host, "ip link set ixy0 promisc %s", i & 1 ? "on" : "off");
			if (!wait_for(30, (passed(rig), seen(rig, disturbances[i % count].seen))))
				fail_msg("%s: not seen: %s", strike,
					command_ok(NULL, "tail -n 1 %s", rig->tapd->stdout_path));
			if (mend)
				rig_ctl(rig, "%s", mend);
			before = passed(rig);
			if (!wait_for(30, passed(rig) > before + 200))
				fail_msg("after %s nothing passes: %s", strike,
					command_ok(NULL, "tail -n 1 %s", rig->tapd->stdout_path));
		}
		assert_true(process_running(sender));
		unlink(go);
		assert_int_equal(process_wait(sender, 60), 0);
		assert_int_equal(process_wait(receiver, 60), 0);
		assert_memory_equal(process_stdout(receiver),
			command_ok(NULL, "sha256sum %s/pipe", commands_folder()), 64);
		rig_finish(rig);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		RIG_TEST(tcp_flows_in_both_directions_with_iperf3),
		RIG_TEST(udp_flows_in_both_directions_with_iperf3),
		RIG_TEST(a_file_of_100_megabytes_arrives_intact_in_both_directions),
		RIG_TEST(a_file_arrives_intact_over_four_queues_with_polling),
		RIG_TEST(jumbo_frames_of_9000_bytes_pass_whole),
		RIG_TEST(the_mtu_can_grow_and_shrink_while_traffic_flows),
		RIG_TEST_SOFT(a_file_arrives_intact_through_pulled_cables_hangs_and_changing_filters),
	};

	return rig_main("netns: data in bulk", tests);
}
