/*
 * ixy-echo: what it answers, on the software NIC (and, as test_echo-xdp, on an AF_XDP device).
 */
#include "app_rig.h"

#include <signal.h>
#include <unistd.h>

static const uint8_t one[6] = {2, 0, 0, 0, 0, 1}, other[6] = {2, 0, 0, 0, 0, 2};

static struct process *start(struct rig *rig, const char *options)
{
	struct process *echo = app_start(rig->host, "ixy-echo", "%s %s", options, rig_device(rig));

	app_await(echo, ": link up");
	return echo;
}

static void finish(struct rig *rig, struct process *echo)
{
	if (!rig_xdp())
		assert_int_equal(rig_violations(rig, 0), 0);
	app_assert_ends_by(echo, SIGTERM);
	assert_null(strstr(command_ok(rig->host, "ip -details link show dev d0"), "prog/xdp"));
}

/* What comes back for a frame must be this. */
static void assert_answer(int fd, const uint8_t *frame, const uint8_t *expected, size_t size)
{
	static struct captured seen;

	raw_send(fd, frame, size);
	assert_true(raw_receive_type(fd, &seen, frame_type(expected, size), APP_SECONDS * slow_factor()));
	assert_int_equal(seen.size, size);
	assert_memory_equal(seen.data, expected, size);
}

/* --- as a host ------------------------------------------------------------------------------------------ */

static void its_addresses_can_be_pinged(void **state)
{
	struct rig *rig = *state;
	struct process *echo;
	char options[128];
	uint8_t mac[6];
	char text[32];

	snprintf(options, sizeof(options), "--quiet --address %s --address %s", rig->v4_host, rig->v6_host);
	echo = start(rig, options);
	command_ok(rig->peer, "ip addr add %s/24 dev p0 && ip addr add %s/64 dev p0 nodad", rig->v4_peer,
		rig->v6_peer);
	/* Small ones, those that fill the MTU, and such as come in fragments. */
	command_ok(rig->peer, "ping -nqc5 -i0.01 -W5 %s", rig->v4_host);
	command_ok(rig->peer, "ping -nqc5 -i0.01 -W5 -s 1472 -M do %s", rig->v4_host);
	command_ok(rig->peer, "ping -nqc5 -i0.01 -W5 -s 4000 %s", rig->v4_host);
	command_ok(rig->peer, "ping -nqc5 -i0.01 -W5 %s", rig->v6_host);
	command_ok(rig->peer, "ping -nqc5 -i0.01 -W5 -s 1452 -M do %s", rig->v6_host);
	if (rig_xdp()) {
		link_mac(rig->host, "d0", mac);
		snprintf(text, sizeof(text), "%02x:%02x:%02x:%02x:%02x:%02x", mac[0], mac[1], mac[2], mac[3],
			mac[4], mac[5]);
		assert_non_null(strstr(command_ok(rig->peer, "ip neigh show %s", rig->v4_host), text));
		assert_non_null(strstr(command_ok(rig->peer, "ip neigh show %s", rig->v6_host), text));
	}
	finish(rig, echo);
	assert_true(app_total(echo, "tx") >= 25);
}

static void somebody_elses_addresses_are_not_answered(void **state)
{
	struct rig *rig = *state;
	struct process *echo;
	char options[64];

	snprintf(options, sizeof(options), "--address %s", rig->v4_host);
	echo = start(rig, options);
	command_ok(rig->peer, "ip addr add %s/24 dev p0 && ip addr add %s/64 dev p0 nodad", rig->v4_peer,
		rig->v6_peer);
	assert_int_equal(command(rig->peer, "ping -nqc1 -W1 %s", rig->v6_host), 1);
	assert_int_equal(command(rig->peer, "ping -nqc1 -W1 255.255.255.255 -b -I p0"), 1);
	command_ok(rig->peer, "ping -nqc1 -W5 %s", rig->v4_host);
	finish(rig, echo);
}

/* Duplicate address detection: who wants the address that it has must be told. */
static void nobody_else_can_have_its_ipv6_address(void **state)
{
	struct rig *rig = *state;
	struct process *echo;
	char options[64];

	snprintf(options, sizeof(options), "--address %s", rig->v6_host);
	echo = start(rig, options);
	command_ok(rig->peer, "ip addr add %s/64 dev p0", rig->v6_host);
	assert_soon(
		APP_SECONDS, strstr(command_ok(rig->peer, "ip -6 addr show dev p0"), "dadfailed") != NULL);
	finish(rig, echo);
}

static void datagrams_come_back_with_ports_swapped(void **state)
{
	struct rig *rig = *state;
	struct process *echo;
	uint8_t frame[256], expected[256], mac[6];
	char options[64];
	size_t size;
	int fd;

	snprintf(options, sizeof(options), "--address %s", rig->v4_host);
	echo = start(rig, options);
	command_ok(rig->peer, "ip addr add %s/24 dev p0", rig->v4_peer);
	command_ok(rig->peer, "ping -nqc1 -W5 %s", rig->v4_host);
	fd = raw_open(rig->peer, "p0");
	/* Its own address is what ARP has learnt. */
	sscanf(command_ok(rig->peer, "ip neigh show %s | sed 's/.*lladdr //'", rig->v4_host),
		"%2hhx:%2hhx:%2hhx:%2hhx:%2hhx:%2hhx", &mac[0], &mac[1], &mac[2], &mac[3], &mac[4], &mac[5]);
	size = frame_udp4(frame, mac, other, rig->v4_peer, rig->v4_host, 4000, 7, 100);
	frame_udp4(expected, other, mac, rig->v4_host, rig->v4_peer, 7, 4000, 100);
	assert_answer(fd, frame, expected, size);
	size = frame_tag(frame, size, 0x8100, 5);
	frame_tag(expected, size - 4, 0x8100, 5);
	assert_answer(fd, frame, expected, size);
	/* A group, all, or nobody is no sender: what comes next is the answer to the last one. */
	raw_send(fd, frame, frame_udp4(frame, mac, other, "224.0.0.5", rig->v4_host, 1, 2, 100));
	raw_send(fd, frame, frame_udp4(frame, mac, other, "255.255.255.255", rig->v4_host, 1, 2, 100));
	raw_send(fd, frame, frame_udp4(frame, mac, other, "0.0.0.0", rig->v4_host, 1, 2, 100));
	size = frame_udp4(frame, mac, other, rig->v4_peer, rig->v4_host, 3, 4, 50);
	frame_udp4(expected, other, mac, rig->v4_host, rig->v4_peer, 4, 3, 50);
	assert_answer(fd, frame, expected, size);
	close(fd);
	finish(rig, echo);
}

/* --- as a reflector ------------------------------------------------------------------------------------- */

static void without_an_address_every_frame_comes_back(void **state)
{
	struct rig *rig = *state;
	struct process *echo = start(rig, "--batch 1");
	uint8_t frame[1514], expected[1514];
	size_t size;
	int fd = raw_open(rig->peer, "p0");

	command_ok(rig->peer, "sysctl -qw net.ipv6.conf.p0.disable_ipv6=1");
	for (uint32_t i = 0; i < 50; i++) {
		frame_test(frame, sizeof(frame), one, other, i);
		frame_test(expected, sizeof(expected), other, one, i);
		assert_answer(fd, frame, expected, 60 + 29 * i);
	}
	size = frame_udp4(frame, one, other, "192.0.2.1", "198.51.100.2", 1000, 2000, 99);
	frame_udp4(expected, other, one, "198.51.100.2", "192.0.2.1", 2000, 1000, 99);
	assert_null(frame_fault(expected, size));
	assert_answer(fd, frame, expected, size);
	/* Of what is no proper datagram, the MAC addresses only. */
	for (unsigned type = 0; type < 2; type++) {
		static const uint8_t types[2][2] = {{0x08, 0x00}, {0x86, 0xDD}};

		frame_test(frame, 100, one, other, type);
		frame_test(expected, 100, other, one, type);
		memcpy(frame + 12, types[type], 2);
		memcpy(expected + 12, types[type], 2);
		frame[14] = expected[14] = 0;
		assert_answer(fd, frame, expected, 100);
	}
	close(fd);
	finish(rig, echo);
}

/* Lengths that lie, headers that are not all there: what comes back is no more than what went in, or nothing. */
static void malformed_frames_do_no_harm(void **state)
{
	struct rig *rig = *state;
	char options[128];
	struct process *echo;
	uint8_t frame[256], mac[6] = {2, 0, 0, 0, 0, 9};
	int fd = raw_open(rig->peer, "p0");

	snprintf(options, sizeof(options), "--address %s --address %s", rig->v4_host, rig->v6_host);
	for (unsigned host = 0; host < 2; host++) {
		static const uint8_t types[][2] = {{8, 0}, {8, 6}, {0x86, 0xDD}, {0x81, 0}, {0x88, 0xA8}};
		uint32_t random = 1;

		echo = start(rig, host ? options : "");
		for (unsigned i = 0; i < 3000; i++) {
			size_t size = 14 + i % (sizeof(frame) - 14);

			for (size_t byte = 0; byte < size; byte++) {
				random = random * 1664525 + 1013904223;
				frame[byte] = (uint8_t)(random >> 24);
			}
			memcpy(frame, i & 1 ? mac : (const uint8_t[]){0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF}, 6);
			frame[6] &= 0xFE;
			memcpy(frame + 12, types[i % 5], 2);
			if (i % 3 == 0 && size > 20) {
				frame[14] = types[i % 5][0] == 0x86 ? 0x60 : (uint8_t)(0x40 | (i & 0xF));
				frame[types[i % 5][0] == 0x86 ? 20
					: size > 23           ? 23
							      : 20] = i & 2   ? 17
							    : i & 4 ? 58
								    : 1;
			}
			raw_send(fd, frame, size);
		}
		/* It is still there and right. */
		if (host) {
			command_ok(rig->peer, "ip addr replace %s/24 dev p0", rig->v4_peer);
			command_ok(rig->peer, "ping -nqc3 -i0.01 -W5 %s", rig->v4_host);
		}
		finish(rig, echo);
	}
	close(fd);
}

static void it_explains_itself_and_refuses_what_is_no_address(void **state)
{
	static const struct app_call calls[] = {
		{"--help", 0, "example: ixy-echo "},
		{"", 2, "usage: ixy-echo "},
		{"xdp:d0 xdp:d1", 2, "usage: "},
		{"--address 192.0.2 xdp:d0", 2, "--address 192.0.2: expected ADDRESS"},
		{"--address fe80:::1 xdp:d0", 2, "--address fe80:::1"},
		{"--batch 1000 xdp:d0", 2, "1 to 256"},
		{"xdp:no0", 69, "no0"},
		{"d0", 78, "not a device"},
	};

	app_assert_calls(*state, "ixy-echo", calls, sizeof(calls) / sizeof(calls[0]));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		RIG_TEST(its_addresses_can_be_pinged),
		RIG_TEST(somebody_elses_addresses_are_not_answered),
		RIG_TEST(nobody_else_can_have_its_ipv6_address),
		RIG_TEST(datagrams_come_back_with_ports_swapped),
		RIG_TEST(without_an_address_every_frame_comes_back),
		RIG_TEST(malformed_frames_do_no_harm),
		RIG_TEST_SOFT(it_explains_itself_and_refuses_what_is_no_address),
	};

	return rig_main("ixy-echo", tests);
}
