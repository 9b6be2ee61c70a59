/*
 * The built-in XDP program for AF_XDP sockets: where it can be attached, and who gets which frame.
 */
#include "xsk_program_rig.h"

/* --- attaching ------------------------------------------------------------------------------------------ */

static void frames_arrive(enum xsk_attach mode)
{
	struct xsk_program *program = loaded(NULL);
	struct end to = open_end("x0", 0), from = open_end("x1", 0);

	ok(xsk_program_attach(program, "x0", mode));
	assert_int_equal(xsk_program_mode(program), mode);
	assert_string_equal(xsk_program_fallback(program), "");
	assert_int_equal(xsk_program_ifindex(program), if_nametoindex("x0"));
	assert_int_equal(program_on("x0"), xsk_program_id(program));
	ok(xsk_program_register(program, 0, xsk_socket_fd(to.socket)));
	send_from(&from);
	assert_true(arrives(&to));

	close_end(&from);
	close_end(&to);
	xsk_program_free(program);
	assert_int_equal(program_on("x0"), 0);
}

static void the_built_in_program_brings_frames_in_native_mode(void **state)
{
	(void)state;
	frames_arrive(XSK_ATTACH_NATIVE);
}

static void the_built_in_program_brings_frames_in_generic_mode(void **state)
{
	(void)state;
	frames_arrive(XSK_ATTACH_GENERIC);
}

static void auto_is_native_where_the_driver_can(void **state)
{
	struct xsk_program *program = loaded(NULL);

	(void)state;
	ok(xsk_program_attach(program, "x0", XSK_ATTACH_AUTO));
	assert_int_equal(xsk_program_mode(program), XSK_ATTACH_NATIVE);
	assert_string_equal(xsk_program_fallback(program), "");
	xsk_program_free(program);
}

static char notice[IXY_ERROR_TEXT_SIZE];

static void keep_notice(enum ixy_log_level level, const char *text)
{
	if (level == IXY_LOG_WARNING)
		snprintf(notice, sizeof(notice), "%s", text);
}

/* veth takes a program without frags only while a frame fits into a page. */
static void jumbo_frames_without_frags_fall_back_to_generic_and_say_why(void **state)
{
	struct xsk_program *program = loaded(NULL);

	(void)state;
	assert_true(shell("ip link set x0 mtu 9000 && ip link set x1 mtu 9000"));
	assert_int_equal(xsk_program_attach(program, "x0", XSK_ATTACH_NATIVE), -ERANGE);
	says("x0");
	says("MTU 9000, program without frags");
	assert_int_equal(program_on("x0"), 0);

	ixy_set_log(keep_notice);
	ok(xsk_program_attach(program, "x0", XSK_ATTACH_AUTO));
	ixy_set_log(NULL);
	assert_int_equal(xsk_program_mode(program), XSK_ATTACH_GENERIC);
	assert_non_null(strstr(xsk_program_fallback(program), "MTU 9000, program without frags"));
	assert_non_null(strstr(notice, xsk_program_fallback(program)));
	xsk_program_free(program);
}

static void jumbo_frames_with_frags_are_native(void **state)
{
	struct xsk_program *program = loaded(&(struct xsk_program_config){.frags = true});

	(void)state;
	assert_true(shell("ip link set x0 mtu 9000 && ip link set x1 mtu 9000"));
	ok(xsk_program_attach(program, "x0", XSK_ATTACH_NATIVE));
	xsk_program_free(program);
}

static void an_interface_without_xdp_in_its_driver_gets_generic(void **state)
{
	struct xsk_program *program = loaded(NULL);

	(void)state;
	assert_int_equal(xsk_program_attach(program, "lo", XSK_ATTACH_NATIVE), -EOPNOTSUPP);
	says("lo takes no XDP program in native mode");
	ok(xsk_program_attach(program, "lo", XSK_ATTACH_AUTO));
	assert_int_equal(xsk_program_mode(program), XSK_ATTACH_GENERIC);
	xsk_program_free(program);
}

static void attaching_twice_or_to_nothing_is_an_error(void **state)
{
	struct xsk_program *program = loaded(NULL);

	(void)state;
	assert_int_equal(xsk_program_attach(program, "x7", XSK_ATTACH_AUTO), -ENODEV);
	says("there is no interface x7");
	ok(xsk_program_attach(program, "x0", XSK_ATTACH_AUTO));
	assert_int_equal(xsk_program_attach(program, "x1", XSK_ATTACH_AUTO), -EALREADY);
	assert_int_equal(program_on("x1"), 0);
	xsk_program_free(program);
}

static void a_detached_program_is_gone_and_can_be_attached_elsewhere(void **state)
{
	struct xsk_program *program = loaded(NULL);

	(void)state;
	xsk_program_detach(program); /* nothing to do yet */
	ok(xsk_program_attach(program, "x0", XSK_ATTACH_AUTO));
	xsk_program_detach(program);
	assert_int_equal(program_on("x0"), 0);
	assert_int_equal(xsk_program_ifindex(program), 0);
	assert_int_equal(xsk_program_mode(program), XSK_ATTACH_AUTO);
	ok(xsk_program_attach(program, "x1", XSK_ATTACH_GENERIC));
	assert_int_equal(program_on("x1"), xsk_program_id(program));
	xsk_program_free(program);
	assert_int_equal(program_on("x1"), 0);
	xsk_program_free(NULL);
}

static void an_interface_may_vanish_under_its_program(void **state)
{
	struct xsk_program *program = loaded(NULL);

	(void)state;
	assert_true(shell("ip link add y0 type veth peer name y1"));
	ok(xsk_program_attach(program, "y0", XSK_ATTACH_AUTO));
	assert_true(shell("ip link del y0"));
	xsk_program_detach(program);
	ok(xsk_program_attach(program, "x0", XSK_ATTACH_AUTO));
	xsk_program_free(program);
}

/* --- sockets and queues --------------------------------------------------------------------------------- */

static void each_queue_of_one_program_has_its_socket(void **state)
{
	struct xsk_program *program = loaded(NULL);
	struct end to[QUEUES], from[QUEUES];

	(void)state;
	ok(xsk_program_attach(program, "x0", XSK_ATTACH_NATIVE));
	for (uint32_t q = 0; q < QUEUES; q++) {
		to[q] = open_end("x0", q);
		from[q] = open_end("x1", q);
		ok(xsk_program_register(program, q, xsk_socket_fd(to[q].socket)));
	}
	for (uint32_t q = 0; q < QUEUES; q++) {
		send_from(&from[q]);
		assert_true(arrives(&to[q]));
		assert_false(has_arrived(&to[1 - q]));
	}
	for (uint32_t q = 0; q < QUEUES; q++) {
		close_end(&to[q]);
		close_end(&from[q]);
	}
	xsk_program_free(program);
}

/* Frames of queue 0 reach the kernel's stack: a packet socket sees them. */
static void assert_kernel_gets(int kernel, struct end *from)
{
	uint8_t frame[128];

	send_from(from);
	assert_true(readable(kernel));
	assert_int_equal(recv(kernel, frame, sizeof(frame), MSG_DONTWAIT), 60);
}

static void assert_socket_gets(int kernel, struct end *from, struct end *to)
{
	uint8_t frame[128];

	send_from(from);
	assert_true(arrives(to));
	assert_int_equal(recv(kernel, frame, sizeof(frame), MSG_DONTWAIT), -1);
}

static void frames_without_a_socket_reach_the_kernel(void **state)
{
	struct xsk_program *program = loaded(NULL);
	struct end to = open_end("x0", 0), from = open_end("x1", 0);
	int kernel = packet_socket("x0");

	(void)state;
	assert_true(kernel >= 0);
	ok(xsk_program_attach(program, "x0", XSK_ATTACH_NATIVE));
	assert_kernel_gets(kernel, &from);
	ok(xsk_program_register(program, 0, xsk_socket_fd(to.socket)));
	assert_socket_gets(kernel, &from, &to);
	ok(xsk_program_unregister(program, 0));
	ok(xsk_program_unregister(program, 0)); /* no matter */
	assert_kernel_gets(kernel, &from);

	/* The kernel itself forgets a socket that is closed. */
	ok(xsk_program_register(program, 0, xsk_socket_fd(to.socket)));
	assert_socket_gets(kernel, &from, &to);
	close_end(&to);
	assert_kernel_gets(kernel, &from);

	close_end(&from);
	close(kernel);
	xsk_program_free(program);
}

/* The queue's rings were mapped through the socket that opened it: they must not keep it in the kernel. */
static void a_closed_socket_gets_nothing_though_another_keeps_its_queue(void **state)
{
	struct xsk_program *program = loaded(NULL);
	struct end to = open_end("x0", 0), from = open_end("x1", 0);
	struct xsk_queues *queues = xsk_socket_queues(to.socket);
	struct xsk_socket *other;
	int kernel = packet_socket("x0");

	(void)state;
	ok(xsk_program_attach(program, "x0", XSK_ATTACH_NATIVE));
	ok(xsk_program_register(program, 0, xsk_socket_fd(to.socket)));
	ok(xsk_socket_open(to.umem, &(struct xsk_socket_config){.ifname = "x0"}, &other));
	assert_ptr_equal(xsk_socket_queues(other), queues);
	assert_socket_gets(kernel, &from, &to);
	xsk_socket_close(to.socket);
	to.socket = other;
	assert_kernel_gets(kernel, &from);

	/* And the rings are those that the other one always had. */
	assert_int_equal(xsk_num_filled(queues), FRAMES / 2 - 1);
	ok(xsk_program_register(program, 0, xsk_socket_fd(other)));
	assert_socket_gets(kernel, &from, &to);
	assert_int_equal(xsk_fill_one(queues, xsk_frame_alloc(to.umem)), 1);
	assert_int_equal(xsk_num_filled(queues), FRAMES / 2 - 1);
	assert_int_equal(xsk_num_free_fill_slots(queues), XSK_DEFAULT_RING_SIZE - (FRAMES / 2 - 1));

	close_end(&to);
	close_end(&from);
	close(kernel);
	xsk_program_free(program);
}

static void sockets_stay_registered_while_the_program_is_detached(void **state)
{
	struct xsk_program *program = loaded(NULL);
	struct end to = open_end("x0", 0), from = open_end("x1", 0);
	int kernel = packet_socket("x0");

	(void)state;
	ok(xsk_program_register(program, 0, xsk_socket_fd(to.socket)));
	assert_kernel_gets(kernel, &from);
	ok(xsk_program_attach(program, "x0", XSK_ATTACH_NATIVE));
	assert_socket_gets(kernel, &from, &to);
	xsk_program_detach(program);
	assert_kernel_gets(kernel, &from);
	ok(xsk_program_attach(program, "x0", XSK_ATTACH_NATIVE));
	assert_socket_gets(kernel, &from, &to);
	close_end(&to);
	close_end(&from);
	close(kernel);
	xsk_program_free(program);
}

static void what_cannot_be_registered_is_refused(void **state)
{
	struct xsk_program *program = loaded(NULL),
			   *small = loaded(&(struct xsk_program_config){.queues = 3});
	struct end end = open_end("x0", 0);
	int other = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);

	(void)state;
	assert_int_equal(xsk_program_queues(program), XSK_PROGRAM_QUEUES);
	assert_int_equal(
		xsk_program_register(program, XSK_PROGRAM_QUEUES, xsk_socket_fd(end.socket)), -EINVAL);
	says("room for queues 0 to 63");
	assert_int_equal(xsk_program_unregister(program, UINT32_MAX), -EINVAL);
	assert_int_equal(xsk_program_queues(small), 3);
	ok(xsk_program_register(small, 2, xsk_socket_fd(end.socket)));
	assert_int_equal(xsk_program_register(small, 3, xsk_socket_fd(end.socket)), -EINVAL);

	assert_int_equal(xsk_program_register(program, 0, other), -EOPNOTSUPP);
	says("not an AF_XDP socket");
	assert_int_equal(xsk_program_register(program, 0, -1), -EBADF);
	close(other);
	close_end(&end);
	xsk_program_free(small);
	xsk_program_free(program);
}

/* --- filters -------------------------------------------------------------------------------------------- */

/* What the program does with a frame, which the kernel lets it do without an interface. */
static uint32_t verdict(const struct xsk_program *program, const uint8_t *frame, size_t size)
{
	LIBBPF_OPTS(bpf_test_run_opts, run, .data_in = frame, .data_size_in = (uint32_t)size, .repeat = 1);
	int fd = bpf_prog_get_fd_by_id(xsk_program_id(program));

	assert_true(fd >= 0);
	assert_int_equal(bpf_prog_test_run_opts(fd, &run), 0);
	close(fd);
	return run.retval;
}

static void only_frames_that_fit_a_filter_are_taken(void **state)
{
	enum { ARP = 0x0806, IPV4 = 0x0800, IPV6 = 0x86dd, VLAN = 0x8100, ANY = 0 };
	static const struct xsk_filter filters[] = {{ARP, ANY}, {IPV4, IPPROTO_UDP}, {ANY, IPPROTO_ICMPV6}};
	static const struct {
		uint16_t type;
		uint8_t protocol;
		size_t size;
		uint32_t verdict;
	} cases[] = {
		{ARP, 0, 60, XDP_REDIRECT},
		{ARP, 0, 14, XDP_REDIRECT},
		{IPV4, IPPROTO_UDP, 60, XDP_REDIRECT},
		{IPV4, IPPROTO_UDP, 34, XDP_REDIRECT},
		{IPV4, IPPROTO_UDP, 33, XDP_PASS}, /* no whole IP header */
		{IPV4, IPPROTO_TCP, 60, XDP_PASS},
		{IPV4, IPPROTO_ICMPV6, 60, XDP_REDIRECT},
		{IPV6, IPPROTO_ICMPV6, 60, XDP_REDIRECT},
		{IPV6, IPPROTO_ICMPV6, 54, XDP_REDIRECT},
		{IPV6, IPPROTO_ICMPV6, 53, XDP_PASS},
		{IPV6, IPPROTO_UDP, 60, XDP_PASS},
		{VLAN, IPPROTO_UDP, 60, XDP_PASS},
		{TEST_ETHERTYPE, 0, 60, XDP_PASS},
	};
	struct xsk_program *program =
		loaded(&(struct xsk_program_config){.filters = filters, .filter_count = 3});
	struct end end = open_end("x0", 0);

	(void)state;
	ok(xsk_program_register(program, 0, xsk_socket_fd(end.socket)));
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		uint8_t frame[60] = {0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 2};

		frame[12] = cases[i].type >> 8;
		frame[13] = cases[i].type & 0xff;
		frame[14 + 9] = cases[i].type == IPV4 ? cases[i].protocol : 0;
		frame[14 + 6] = cases[i].type == IPV6 ? cases[i].protocol : 0;
		if (verdict(program, frame, cases[i].size) != cases[i].verdict)
			fail_msg("case %zu: type %04x, protocol %u, %zu bytes", i, cases[i].type,
				cases[i].protocol, cases[i].size);
	}
	close_end(&end);
	xsk_program_free(program);
}

static void as_many_filters_as_promised_are_taken_and_no_more(void **state)
{
	struct xsk_filter filters[XSK_PROGRAM_FILTERS + 1];
	struct xsk_program_config config = {.filters = filters, .filter_count = XSK_PROGRAM_FILTERS};
	struct xsk_program *program;

	(void)state;
	for (size_t i = 0; i <= XSK_PROGRAM_FILTERS; i++)
		filters[i] = (struct xsk_filter){(uint16_t)(0x800 + i), (uint8_t)(1 + i)};
	xsk_program_free(loaded(&config));
	config.filter_count++;
	assert_int_equal(xsk_program_load(&config, &program), -EINVAL);
	assert_null(program);
	says("at most 16");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		PROGRAM_TEST(the_built_in_program_brings_frames_in_native_mode),
		PROGRAM_TEST(the_built_in_program_brings_frames_in_generic_mode),
		PROGRAM_TEST(auto_is_native_where_the_driver_can),
		PROGRAM_TEST(jumbo_frames_without_frags_fall_back_to_generic_and_say_why),
		PROGRAM_TEST(jumbo_frames_with_frags_are_native),
		PROGRAM_TEST(an_interface_without_xdp_in_its_driver_gets_generic),
		PROGRAM_TEST(attaching_twice_or_to_nothing_is_an_error),
		PROGRAM_TEST(a_detached_program_is_gone_and_can_be_attached_elsewhere),
		PROGRAM_TEST(an_interface_may_vanish_under_its_program),
		PROGRAM_TEST(each_queue_of_one_program_has_its_socket),
		PROGRAM_TEST(frames_without_a_socket_reach_the_kernel),
		PROGRAM_TEST(a_closed_socket_gets_nothing_though_another_keeps_its_queue),
		PROGRAM_TEST(sockets_stay_registered_while_the_program_is_detached),
		PROGRAM_TEST(what_cannot_be_registered_is_refused),
		PROGRAM_TEST(only_frames_that_fit_a_filter_are_taken),
		PROGRAM_TEST(as_many_filters_as_promised_are_taken_and_no_more),
	};

	if (!own_netns()) {
		fprintf(stderr, "these tests need root (network namespaces, eBPF)\n");
		return EXIT_FAILURE;
	}
	shell("ip link set lo up");
	return cmocka_run_group_tests_name("XDP program", tests, NULL, NULL);
}
