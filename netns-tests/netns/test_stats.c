/*
 * ixy-stats, and its JSON as jq reads it; as test_stats-xdp on an AF_XDP device.
 */
#include "app_rig.h"

#include <signal.h>
#include <unistd.h>

#define FRAMES 100

/* A number from the last line of its output, by a jq expression. */
static uint64_t number(struct process *p, const char *expression)
{
	return command_number(NULL, "tail -n 1 %s | jq '%s'", p->stdout_path, expression);
}

static void is_true(struct process *p, const char *expression)
{
	command_ok(NULL, "tail -n 1 %s | jq -e '%s'", p->stdout_path, expression);
}

static struct process *start(struct rig *rig, const char *options)
{
	struct process *p = app_start(rig->host, "ixy-stats", "%s %s", options, rig_device(rig));

	app_await(p, ": link up");
	return p;
}

static void json_has_what_was_received_and_what_the_device_is(void **state)
{
	static const uint8_t mac_a[6] = {2, 0, 0, 0, 0, 0xa}, mac_b[6] = {2, 0, 0, 0, 0, 0xb};
	struct rig *rig = *state;
	struct process *p;
	uint8_t frame[100];
	int fd;

	command_ok(rig->peer, "sysctl -qw net.ipv6.conf.p0.disable_ipv6=1");
	p = start(rig, "--json --promisc --time 1h");
	fd = raw_open(rig->peer, "p0");
	for (uint32_t i = 0; i < FRAMES; i++) {
		frame_test(frame, sizeof(frame), mac_b, mac_a, i);
		raw_send(fd, frame, sizeof(frame));
	}
	close(fd);
	/* All are with the device; what it has, the program takes before it ends. */
	if (rig_xdp())
		assert_soon(APP_SECONDS, link_statistic(rig->host, "d0", "rx_packets") >= FRAMES);
	else
		assert_soon(APP_SECONDS, rig_nic(rig, "rx_delivered") >= FRAMES);
	app_assert_ends_by(p, SIGTERM);
	assert_int_equal(number(p, ".counters.rx_frames"), FRAMES);
	assert_int_equal(number(p, ".counters.rx_bytes"), FRAMES * sizeof(frame));
	assert_int_equal(number(p, "[.queues[].rx_frames] | add"), FRAMES);
	assert_int_equal(number(p, ".counters.tx_frames"), 0);
	assert_int_equal(number(p, "[.drops[]] | add"), 0);
	assert_int_equal(number(p, ".mtu"), 1500);
	assert_int_equal(number(p, ".max_mtu"), rig_device_max_mtu());
	is_true(p, ".link.up and .link.speed == 10000");
	is_true(p, ".capabilities | index(\"rx-csum\") != null and index(\"interrupts\") != null");
	is_true(p, ".mac | test(\"^([0-9a-f]{2}:){5}[0-9a-f]{2}$\")");
	is_true(p, rig_xdp() ? ".driver == \"xdp\" and .device == \"xdp:d0\""
			     : ".driver == \"ixgbe\" and (.device | startswith(\"soft:d0,control=\"))");
	assert_int_equal(number(p, ".registers | length"), 0);
}

static void text_has_the_same(void **state)
{
	struct rig *rig = *state;
	struct process *p = start(rig, "--time 100ms --queues 1");

	app_assert_exits(p, 0);
	assert_true(app_has_said(p, rig_xdp() ? "driver xdp, MAC " : "driver ixgbe, MAC "));
	assert_true(app_has_said(p, "\nlink up, 10000 Mbit/s\n"));
	assert_true(app_has_said(p, "\ncapabilities: rx-csum "));
	assert_true(app_has_said(p, "\nrx_frames "));
	assert_true(app_has_said(p, "\nqueue 0 "));
}

static void registers_come_by_name_and_as_the_device_has_them(void **state)
{
	struct rig *rig = *state;
	struct process *p;

	p = start(rig, "--json --registers --register links --register 'RDT[1]' --register 0x42a4 --queues 2 "
		       "--mtu 4000 --time 1h");
	assert_int_equal(rig_peek(rig, 0x4268) >> 16, 4018); /* MAXFRS */
	app_assert_ends_by(p, SIGTERM);
	assert_int_equal(number(p, ".registers.MAXFRS / 65536 | floor"), 4018);
	assert_int_equal(number(p, ".registers.LINKS / 1073741824 | floor"), 1); /* bit 30: up */
	is_true(p, ".registers | .LINKS == .[\"0x42a4\"]");
	is_true(p,
		".registers | .[\"RDLEN[0]\"] == 8192 and .[\"RDLEN[1]\"] == 8192 and .[\"RDT[1]\"] == 511");
	is_true(p, ".registers | has(\"RDLEN[2]\") or has(\"GPRC\") or has(\"EICR\") | not");

	p = start(rig, "--json --registers --clearing --time 100ms");
	app_assert_exits(p, 0);
	is_true(p, ".registers | has(\"GPRC\") and has(\"EICR\") and has(\"QPRC[0]\")");

	/* Asked for twice it is there once. */
	p = start(rig, "--registers --register links --register LINKS --time 100ms");
	app_assert_exits(p, 0);
	assert_true(app_has_said(p, "\nLINKS "));
	assert_null(strstr(strstr(process_stdout(p), "\nLINKS ") + 1, "\nLINKS "));
}

static void a_device_without_registers_says_so(void **state)
{
	struct rig *rig = *state;
	struct process *p = start(rig, "--registers --time 100ms");

	app_assert_exits(p, 69);
	assert_true(app_has_said(p, "names of registers are known for ixgbe"));
	assert_null(strstr(command_ok(rig->host, "ip -details link show dev d0"), "prog/xdp"));
	p = start(rig, "--register 0x8 --time 100ms");
	app_assert_exits(p, 69);
	assert_true(app_has_said(p, "has no registers"));
}

static void it_explains_itself_and_refuses_what_is_no_register(void **state)
{
	static const struct app_call calls[] = {
		{"--help", 0, "example: ixy-stats "},
		{"", 2, "usage: ixy-stats "},
		{"--json", 2, "usage: ixy-stats "},
		{"--time 10ms --register SWSM soft:none --wait 0", 78, "no register SWSM"},
		{"--time 10ms --register 'RDT[5]' soft:none --wait 0", 78, "no register RDT[5]"},
		{"--time 10ms --register 0x3 soft:none --wait 0", 78, "multiple of 4"},
		{"--time 10ms --register 0x7fffffff0 soft:none --wait 0", 78, "no register"},
		{"soft:no0", 69, "no0"},
	};

	app_assert_calls(*state, "ixy-stats", calls, sizeof(calls) / sizeof(calls[0]));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		RIG_TEST(json_has_what_was_received_and_what_the_device_is),
		RIG_TEST(text_has_the_same),
		RIG_TEST_SOFT(registers_come_by_name_and_as_the_device_has_them),
		RIG_TEST_XDP(a_device_without_registers_says_so),
		RIG_TEST_SOFT(it_explains_itself_and_refuses_what_is_no_register),
	};

	return rig_main("ixy-stats", tests);
}
