/*
 * The AF_XDP examples of contrib/apps: what they print, what arrives, and that nothing is left when they end.
 *
 *	namespace peer			namespace host
 *	p0 =========================== d0		an application on d0, the test's own sockets on p0
 *	p1 =========================== d1		for those that want two ports
 *					x0 ==== x1	for those that bring both ends of a cable
 */
#include "app_rig.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <poll.h>
#include <signal.h>
#include <sys/socket.h>
#include <unistd.h>

#define SECONDS 20
#define FRAMES  200

static const uint8_t mac_a[6] = {2, 0, 0, 0, 0, 0xa}, mac_b[6] = {2, 0, 0, 0, 0, 0xb};
static const uint8_t everybody[6] = {0xff, 0xff, 0xff, 0xff, 0xff, 0xff};

/* --- running one ---------------------------------------------------------------------------------------- */

static const char *app_path(const char *name)
{
	char path[32];

	snprintf(path, sizeof(path), "apps/%s", name);
	return rig_program(path);
}

static struct process *start(const char *netns, const char *name, const char *format, ...)
	__attribute__((format(printf, 3, 4)));
static struct process *start(const char *netns, const char *name, const char *format, ...)
{
	char path[32], arguments[256];
	va_list args;

	snprintf(path, sizeof(path), "apps/%s", name);
	va_start(args, format);
	vsnprintf(arguments, sizeof(arguments), format, args);
	va_end(args);
	return app_start(netns, path, "%s", arguments);
}

static void assert_no_program(const char *netns, const char *ifname)
{
	assert_null(strstr(command_ok(netns, "ip -details link show dev %s", ifname), "prog/xdp"));
}

static void assert_program(const char *netns, const char *ifname)
{
	assert_non_null(strstr(command_ok(netns, "ip -details link show dev %s", ifname), "prog/xdp"));
}

/* Both ends of a cable in one namespace, both up, without any noise of the host's own. */
static void add_cable(const char *netns, const char *one, const char *other)
{
	command_ok(netns,
		"sysctl -qw net.ipv6.conf.default.disable_ipv6=1 && "
		"ip link add %s numrxqueues 2 numtxqueues 2 type veth peer name %s numrxqueues 2 numtxqueues "
		"2 && "
		"ip link set %s up && ip link set %s up",
		one, other, one, other);
}

/* --- the command line ----------------------------------------------------------------------------------- */

static void every_example_explains_itself(void **state)
{
	static const struct {
		const char *name, *arguments;
	} apps[] = {{"hello_xdp", "no0 no1"}, {"dev1_to_dev2", "no0 no1"}, {"shared_umem", "no0 no1"},
		{"dumpframes", "no0"}, {"l2fwd", "no0 no1"}, {"rebroadcast", "no0"},
		{"sendudp", "--to 192.0.2.1 no0"}, {"xdpbench", "rxdrop no0"}};

	(void)state;
	for (size_t i = 0; i < sizeof(apps) / sizeof(apps[0]); i++) {
		const char *path = app_path(apps[i].name);
		char example[64];

		command_ok(NULL, "%s --help", path);
		snprintf(example, sizeof(example), "example: %s ", apps[i].name);
		assert_non_null(strstr(command_output(), example));
		assert_non_null(strstr(command_output(), "-t, --time TIME"));
		assert_int_equal(command(NULL, "%s", path), 2);
		assert_non_null(strstr(command_output(), "--help"));
		assert_int_equal(command(NULL, "%s --nonsense %s", path, apps[i].arguments), 2);
		assert_int_equal(command(NULL, "%s --time soon %s", path, apps[i].arguments), 2);
		assert_non_null(strstr(command_output(), "--time soon: expected TIME"));
		/* No such interface: the library's own words. */
		assert_int_equal(command(NULL, "%s %s", path, apps[i].arguments), 1);
		assert_non_null(strstr(command_output(), "no0"));
	}
}

static void numbers_have_units_and_limits(void **state)
{
	static const struct {
		const char *options;
		bool right;
	} cases[] = {{"--batch 0", false}, {"--batch 257", false}, {"--batch 256", true},
		{"--batch 0.256k", true}, {"--batch -1", false}, {"--batch 1.5", false},
		{"--batch 0x10", false}, {"--batch ''", false}, {"--batch nan", false},
		{"--time 500ms", true}, {"--time 1.5s", true}, {"--time 3x", false}, {"--mode native", true},
		{"--mode nativ", false}, {"--mode zero-copy", true}, {"--busy-poll 20us", true}};

	(void)state;
	/* --help only after the options before it have been read. */
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
		if (command(NULL, "%s %s --help", app_path("l2fwd"), cases[i].options) !=
			(cases[i].right ? 0 : 2))
			fail_msg("l2fwd %s: %s", cases[i].options, command_output());
}

/* --- both ends in one hand ------------------------------------------------------------------------------ */

static void hello_xdp_greets_over_a_cable(void **state)
{
	struct rig *rig = *state;
	struct process *p;

	add_cable(rig->host, "x0", "x1");
	p = start(rig->host, "hello_xdp", "--count 3 x0 x1");
	app_assert_exits(p, 0);
	assert_non_null(strstr(process_stdout(p), "x1: native program"));
	assert_non_null(strstr(process_stdout(p), "x1: 60 bytes: hello from x0, number 1\n"
						  "x1: 60 bytes: hello from x0, number 2\n"
						  "x1: 60 bytes: hello from x0, number 3\n"));
	assert_int_equal(link_statistic(rig->host, "x1", "rx_packets"), 3);
	assert_no_program(rig->host, "x1");
}

static void hello_xdp_says_when_there_is_no_cable(void **state)
{
	struct rig *rig = *state;
	struct process *p;

	add_cable(rig->host, "x0", "x1");
	p = start(rig->host, "hello_xdp", "x0 d0");
	app_assert_exits(p, 1);
	assert_non_null(strstr(process_stderr(p), "nothing arrives at d0"));
	assert_no_program(rig->host, "d0");
}

static void dev1_to_dev2(struct rig *rig, const char *options)
{
	struct process *p;

	add_cable(rig->host, "x0", "x1");
	p = start(rig->host, "dev1_to_dev2", "%s x0 x1", options);
	app_assert_exits(p, 0);
	assert_non_null(strstr(process_stdout(p), "missing 0, out of order 0"));
	assert_int_equal(app_total(p, "sent"), 50000);
	assert_int_equal(app_total(p, "received"), 50000);
	assert_int_equal(link_statistic(rig->host, "x1", "rx_packets"), 50000);
	assert_no_program(rig->host, "x1");
}

static void dev1_to_dev2_loses_and_mixes_up_nothing(void **state)
{
	dev1_to_dev2(*state, "--quiet --count 50k");
}

static void dev1_to_dev2_loses_and_mixes_up_nothing_with_two_threads(void **state)
{
	dev1_to_dev2(*state, "--quiet --count 50k --multi");
}

static void dev1_to_dev2_runs_on_another_queue_in_small_batches(void **state)
{
	dev1_to_dev2(*state, "--quiet --count 50k --queue 1 --batch 7 --size 1514 --multi");
}

static void dev1_to_dev2_tells_how_many_are_missing(void **state)
{
	struct rig *rig = *state;
	struct process *p;

	add_cable(rig->host, "x0", "x1");
	p = start(rig->host, "dev1_to_dev2", "--count 3000 x0 d0"); /* no cable between these */
	app_assert_exits(p, 1);
	assert_int_equal(app_total(p, "sent"), 3000);
	assert_int_equal(app_total(p, "received"), 0);
	assert_non_null(strstr(process_stdout(p), "missing 3000, out of order 0"));
	assert_no_program(rig->host, "d0");
}

static void shared_umem_sends_frames_in_circles(void **state)
{
	struct rig *rig = *state;
	struct process *p;
	uint64_t rounds;

	add_cable(rig->host, "x0", "x1");
	p = start(rig->host, "shared_umem", "--rounds 20k --frames 16 x0 x1");
	app_assert_exits(p, 0);
	rounds = app_total(p, "rounds");
	/* The last batch may go past the mark. */
	assert_in_range(rounds, 20000, 20000 + 16);
	assert_in_range(link_statistic(rig->host, "x1", "rx_packets"), rounds, rounds + 16);
	assert_no_program(rig->host, "x1");
}

static void three_capabilities_are_enough_and_a_missing_one_is_named(void **state)
{
	static const struct {
		const char *capabilities, *missing;
	} cases[] = {{"+net_raw,+net_admin,+bpf", NULL}, {"+net_raw,+net_admin", "CAP_BPF is missing"},
		{"+net_raw,+bpf", "CAP_NET_ADMIN is missing"},
		{"+net_raw", "CAP_NET_ADMIN, CAP_BPF are missing"}, {"+net_admin,+bpf", "CAP_NET_RAW"}};
	struct rig *rig = *state;

	add_cable(rig->host, "x0", "x1");
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		int status = command(rig->host, "setpriv --bounding-set=-all,%s %s x0 x1",
			cases[i].capabilities, app_path("hello_xdp"));

		if (status != (cases[i].missing ? 1 : 0) ||
			(cases[i].missing && !strstr(command_output(), cases[i].missing)))
			fail_msg("with %s: status %d: %s", cases[i].capabilities, status, command_output());
		assert_no_program(rig->host, "x1");
	}
}

/* --- looking and answering ------------------------------------------------------------------------------ */

static void dumpframes_shows_the_protocol_and_leaves_the_rest_to_the_kernel(void **state)
{
	struct rig *rig = *state;
	struct process *p = start(rig->host, "dumpframes", "--protocol udp --protocol arp --count 3 d0");
	static struct captured seen;
	uint8_t frame[128], other[60];
	size_t size;
	int from, kernel;

	app_await(p, "native program");
	from = raw_open(rig->peer, "p0");
	kernel = raw_open(rig->host, "d0");
	size = frame_udp4(frame, mac_b, mac_a, "192.0.2.1", "192.0.2.2", 1234, 53, 30);
	frame_test(other, sizeof(other), mac_b, mac_a, 7);
	for (unsigned i = 0; i < 3; i++) {
		raw_send(from, frame, size);
		raw_send(from, other, sizeof(other));
	}
	app_assert_exits(p, 0);
	app_await(p, "02:00:00:00:00:0a > 02:00:00:00:00:0b  0800 72 bytes  192.0.2.1 > 192.0.2.2 UDP 1234 > "
		     "53\n");
	assert_null(strstr(process_stdout(p), "88b5"));
	assert_non_null(strstr(process_stderr(p), "\n3 frames\n"));
	/* The kernel got the others, and none of these. */
	for (unsigned i = 0; i < 3; i++) {
		assert_true(raw_receive(kernel, &seen, 5000));
		assert_int_equal(frame_type(seen.data, seen.size), ETHERTYPE_TEST);
	}
	close(from);
	close(kernel);
	assert_no_program(rig->host, "d0");
}

static void dumpframes_listens_on_all_queues_and_ends_by_signal(void **state)
{
	struct rig *rig = *state;
	struct process *p, *sender;

	add_cable(rig->host, "x0", "x1");
	p = start(rig->host, "dumpframes", "x1");
	app_await(p, "2 queues");
	assert_program(rig->host, "x1");
	for (unsigned queue = 0; queue < 2; queue++) {
		char text[64];

		sender = start(rig->host, "sendudp",
			"--queue %u --to 192.0.2.2 --from 192.0.2.1 --mac 2:0:0:0:0:b --port %u --count 1 x0",
			queue, 1000 + queue);
		app_assert_exits(sender, 0);
		snprintf(text, sizeof(text), "UDP 9 > %u\n", 1000 + queue);
		app_await(p, text);
	}
	assert_non_null(strstr(process_stdout(p), "queue 1  "));
	app_assert_ends_by(p, SIGTERM);
	assert_non_null(strstr(process_stderr(p), "\n2 frames\n"));
	assert_no_program(rig->host, "x1");
}

static void a_killed_example_leaves_no_program(void **state)
{
	struct rig *rig = *state;
	struct process *p = start(rig->host, "dumpframes", "d0");

	app_await(p, "native program");
	assert_program(rig->host, "d0");
	process_kill(p);
	assert_no_program(rig->host, "d0");
	/* The next one gets the interface, its queue too. */
	p = start(rig->host, "l2fwd", "d0");
	app_await(p, "native program");
	app_assert_ends_by(p, SIGTERM);
}

static void a_second_example_on_the_same_interface_says_who_has_it(void **state)
{
	struct rig *rig = *state;
	struct process *first, *second;
	char text[64];

	add_cable(rig->host, "x0", "x1");
	first = start(rig->host, "l2fwd", "--queue 0 --mode generic x0");
	app_await(first, "x0: generic program");
	second = start(rig->host, "dumpframes", "--queue 1 x0");
	app_assert_exits(second, 1);
	snprintf(text, sizeof(text), "held by process %d (l2fwd)", (int)first->pid);
	assert_non_null(strstr(process_stderr(second), "x0 has another XDP program"));
	assert_non_null(strstr(process_stderr(second), text));

	/* The same queue is taken even before that. */
	second = start(rig->host, "dumpframes", "--queue 0 x0");
	app_assert_exits(second, 1);
	assert_non_null(strstr(process_stderr(second), "queue 0"));
	assert_program(rig->host, "x0");
	app_assert_ends_by(first, SIGTERM);
	assert_no_program(rig->host, "x0");
}

static void rebroadcast_sends_to_everybody(void **state)
{
	struct rig *rig = *state;
	static struct captured seen;
	uint8_t frame[100], expected[100];
	struct process *p;
	int fd;

	/* The multicast frames of IPv6 would count among the twenty. */
	command_ok(rig->peer, "sysctl -qw net.ipv6.conf.p0.disable_ipv6=1");
	p = start(rig->host, "rebroadcast", "--count 20 d0");
	app_await(p, "d0: native");
	fd = raw_open(rig->peer, "p0");
	frame_test(frame, sizeof(frame), everybody, mac_a, 99); /* not a second time */
	raw_send(fd, frame, sizeof(frame));
	for (uint32_t i = 0; i < 20; i++) {
		frame_test(frame, sizeof(frame), mac_b, mac_a, i);
		frame_test(expected, sizeof(expected), everybody, mac_a, i);
		raw_send(fd, frame, sizeof(frame));
		assert_true(raw_receive_type(fd, &seen, ETHERTYPE_TEST, SECONDS));
		assert_int_equal(seen.size, sizeof(expected));
		assert_memory_equal(seen.data, expected, sizeof(expected));
	}
	app_assert_exits(p, 0);
	assert_int_equal(app_total(p, "rebroadcast"), 20);
	close(fd);
	assert_no_program(rig->host, "d0");
}

/* --- forwarding ----------------------------------------------------------------------------------------- */

/* Each frame that goes in at one socket comes out at the other as it was, in order. */
static void assert_passes(int from, int to, size_t size)
{
	static struct captured seen;
	static uint8_t frame[9018];

	for (uint32_t i = 0; i < FRAMES; i++) {
		frame_test(frame, size, mac_b, mac_a, i);
		raw_send(from, frame, size);
		assert_true(raw_receive_type(to, &seen, ETHERTYPE_TEST, SECONDS));
		assert_int_equal(seen.size, size);
		assert_memory_equal(seen.data, frame, size);
	}
}

static void forward_both_ways(struct rig *rig, const char *options, size_t size)
{
	struct process *p;
	int fds[2];

	rig_cable(rig->peer, "p1", rig->host, "d1");
	if (size > 1514)
		for (unsigned i = 0; i < 2; i++) {
			command_ok(rig->peer, "ip link set p%u mtu 9000", i);
			command_ok(rig->host, "ip link set d%u mtu 9000", i);
		}
	p = start(rig->host, "l2fwd", "--quiet %s d0 d1", options);
	app_await(p, "d1: ");
	fds[0] = raw_open(rig->peer, "p0");
	fds[1] = raw_open(rig->peer, "p1");
	assert_passes(fds[0], fds[1], size);
	assert_passes(fds[1], fds[0], size);
	app_assert_ends_by(p, SIGTERM);
	/* IPv6 of the peers' stacks comes on top. */
	assert_in_range(app_total(p, "d0 to d1"), FRAMES, FRAMES + 50);
	assert_in_range(app_total(p, "d1 to d0"), FRAMES, FRAMES + 50);
	assert_non_null(strstr(
		process_stdout(p), "d0: 0 lost because this program was too slow, 0 for other reasons"));
	close(fds[0]);
	close(fds[1]);
	assert_no_program(rig->host, "d0");
	assert_no_program(rig->host, "d1");
}

static void l2fwd_forwards_between_two_interfaces(void **state)
{
	forward_both_ways(*state, "", 60);
}

static void l2fwd_forwards_in_generic_mode_and_single_frames(void **state)
{
	forward_both_ways(*state, "--mode generic --batch 1", 1514);
}

static void l2fwd_forwards_without_sleeping(void **state)
{
	struct rig *rig = *state;

	forward_both_ways(rig, "--spin --busy-poll 20us", 300);
	/* The interfaces' interrupts are as they were. */
	command_ok(rig->host,
		"cat /sys/class/net/d[01]/napi_defer_hard_irqs /sys/class/net/d[01]/gro_flush_timeout | "
		"{ ! grep -qvx 0; }");
}

static void l2fwd_forwards_jumbo_frames(void **state)
{
	forward_both_ways(*state, "--jumbo --mode native", 9014);
}

static void l2fwd_with_one_interface_sends_frames_back(void **state)
{
	struct rig *rig = *state;
	struct process *p = start(rig->host, "l2fwd", "d0");
	static struct captured seen;
	uint8_t frame[200], expected[200];
	int fd;

	app_await(p, "d0: native program, copy");
	fd = raw_open(rig->peer, "p0");
	for (uint32_t i = 0; i < FRAMES; i++) {
		frame_test(frame, sizeof(frame), mac_b, mac_a, i);
		frame_test(expected, sizeof(expected), mac_a, mac_b, i);
		raw_send(fd, frame, sizeof(frame));
		assert_true(raw_receive_type(fd, &seen, ETHERTYPE_TEST, SECONDS));
		assert_int_equal(seen.size, sizeof(expected));
		assert_memory_equal(seen.data, expected, sizeof(expected));
	}
	app_assert_ends_by(p, SIGTERM);
	close(fd);
	assert_no_program(rig->host, "d0");
}

/* --- sending and measuring ------------------------------------------------------------------------------ */

static void sendudp_reaches_a_socket_in_full_and_in_order(void **state)
{
	struct rig *rig = *state;
	struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons(4000)};
	struct process *p;
	int fd, size = 4 << 20;

	command_ok(rig->peer, "ip address add 192.0.2.2/24 dev p0");
	command_ok(
		rig->host, "sysctl -qw net.ipv4.conf.d0.arp_ignore=0 && ip address add 192.0.2.1/24 dev d0");
	fd = netns_socket(rig->peer, AF_INET, SOCK_DGRAM, 0);
	assert_int_equal(setsockopt(fd, SOL_SOCKET, SO_RCVBUFFORCE, &size, sizeof(size)), 0);
	assert_int_equal(bind(fd, (struct sockaddr *)&address, sizeof(address)), 0);

	/* The kernel knows nobody there yet. */
	p = start(rig->host, "sendudp", "--to 192.0.2.2 --port 4000 d0");
	app_assert_exits(p, 1);
	assert_non_null(strstr(process_stderr(p), "ping it first"));
	assert_int_equal(command(rig->host, "ping -c 1 -W 5 192.0.2.2"), 0);

	p = start(rig->host, "sendudp", "--to 192.0.2.2 --port 4000 --count 2000 --rate 20k --size 100 d0");
	/* The kernel gives a socket only datagrams whose checksum is right. */
	for (uint64_t i = 0; i < 2000; i++) {
		struct pollfd wait = {.fd = fd, .events = POLLIN};
		uint8_t data[128];
		uint64_t number = 0;

		assert_int_equal(poll(&wait, 1, SECONDS * 1000), 1);
		assert_int_equal(recv(fd, data, sizeof(data), 0), 100 - 42);
		for (unsigned byte = 0; byte < 8; byte++)
			number = number << 8 | data[byte];
		assert_int_equal(number, i);
	}
	app_assert_exits(p, 0);
	assert_int_equal(app_total(p, "sent"), 2000);
	close(fd);
}

static void sendudp_keeps_its_rate(void **state)
{
	struct rig *rig = *state;
	struct process *p = start(rig->host, "sendudp",
		"--to 192.0.2.2 --from 192.0.2.1 --mac 2:0:0:0:0:b --rate 1000 --time 2s d0");

	app_assert_exits(p, 0);
	/* Never more than are due; on a busy machine it may end late. */
	assert_in_range(app_total(p, "sent"), 1000, 1000 * (2 + SECONDS * slow_factor()));
	assert_true(link_statistic(rig->peer, "p0", "rx_packets") >= app_total(p, "sent"));
}

static void sendudp_ends_when_the_interface_goes_down(void **state)
{
	struct rig *rig = *state;
	struct process *p = start(
		rig->host, "sendudp", "--to 192.0.2.2 --from 192.0.2.1 --mac 2:0:0:0:0:b --rate 10k d0");

	assert_int_equal(
		command(rig->peer,
			"timeout %d sh -c 'until [ $(cat /sys/class/net/p0/statistics/rx_packets) -gt 500 ]; "
			"do sleep 0.05; done'",
			SECONDS),
		0);
	command_ok(rig->host, "ip link set d0 down");
	app_assert_exits(p, 1);
	assert_non_null(strstr(process_stderr(p), "down"));
}

static void xdpbench_counts_what_arrives(void **state)
{
	struct rig *rig = *state;
	struct process *receiver, *sender;
	uint64_t before, sent;

	receiver = start(rig->host, "xdpbench", "rxdrop d0");
	app_await(receiver, "d0: native program");
	command_ok(rig->peer, "sysctl -qw net.ipv6.conf.p0.disable_ipv6=1");
	before = link_statistic(rig->host, "d0", "rx_packets");
	sender = start(rig->peer, "sendudp",
		"--to 192.0.2.2 --from 192.0.2.1 --mac 2:0:0:0:0:b --rate 5k --count 5000 p0");
	app_assert_exits(sender, 0);
	assert_soon(SECONDS, link_statistic(rig->host, "d0", "rx_packets") - before >= 5000);
	assert_soon(SECONDS, app_has_said(receiver, "rxdrop 0.000 Mpps")); /* all has been taken */
	app_assert_ends_by(receiver, SIGTERM);
	assert_in_range(app_total(receiver, "rxdrop"), 5000, 5000 + 50);
	assert_no_program(rig->host, "d0");

	before = link_statistic(rig->peer, "p0", "rx_packets");
	sender = start(rig->host, "xdpbench", "--time 1s --size 128 txonly d0");
	app_assert_exits(sender, 0);
	sent = app_total(sender, "txonly");
	assert_true(sent > 1000);
	/* Those of its last batch may not have left any more. */
	assert_in_range(link_statistic(rig->peer, "p0", "rx_packets") - before, sent - 256, sent);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		RIG_TEST(every_example_explains_itself),
		RIG_TEST(numbers_have_units_and_limits),
		RIG_TEST(hello_xdp_greets_over_a_cable),
		RIG_TEST(hello_xdp_says_when_there_is_no_cable),
		RIG_TEST(dev1_to_dev2_loses_and_mixes_up_nothing),
		RIG_TEST(dev1_to_dev2_loses_and_mixes_up_nothing_with_two_threads),
		RIG_TEST(dev1_to_dev2_runs_on_another_queue_in_small_batches),
		RIG_TEST(dev1_to_dev2_tells_how_many_are_missing),
		RIG_TEST(shared_umem_sends_frames_in_circles),
		RIG_TEST(three_capabilities_are_enough_and_a_missing_one_is_named),
		RIG_TEST(dumpframes_shows_the_protocol_and_leaves_the_rest_to_the_kernel),
		RIG_TEST(dumpframes_listens_on_all_queues_and_ends_by_signal),
		RIG_TEST(a_killed_example_leaves_no_program),
		RIG_TEST(a_second_example_on_the_same_interface_says_who_has_it),
		RIG_TEST(rebroadcast_sends_to_everybody),
		RIG_TEST(l2fwd_forwards_between_two_interfaces),
		RIG_TEST(l2fwd_forwards_in_generic_mode_and_single_frames),
		RIG_TEST(l2fwd_forwards_without_sleeping),
		RIG_TEST(l2fwd_forwards_jumbo_frames),
		RIG_TEST(l2fwd_with_one_interface_sends_frames_back),
		RIG_TEST(sendudp_reaches_a_socket_in_full_and_in_order),
		RIG_TEST(sendudp_keeps_its_rate),
		RIG_TEST(sendudp_ends_when_the_interface_goes_down),
		RIG_TEST(xdpbench_counts_what_arrives),
	};

	return rig_main("applications", tests);
}
