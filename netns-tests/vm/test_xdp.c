/*
 * AF_XDP on an interface whose driver can do zero copy: the kernel's own ixgbe on the software NIC. The daemon on
 * xdp:eth0, the example applications, and the library's own cases (guest_zero_copy.c).
 *
 * Putting an XDP program on the interface makes ixgbe begin anew: the link is gone for a moment, and so it is when
 * the program is taken off.
 */
#include <arpa/inet.h>
#include <endian.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "tapd.h"
#include "traffic.h"

static int boot(void **state)
{
	struct vm *vm;

	vm_boot(state);
	vm = *state;
	vm_ok(vm, "modprobe tun && modprobe ixgbe && "
		  "ethtool -L eth0 combined 1 && ip link set eth0 up");
	traffic_await_carrier(vm, "eth0", true);
	return 0;
}

/* The daemon on xdp:eth0DEVICE with these options: ready, and its interface up. */
static void up(struct vm *vm, const char *device, const char *options)
{
	char spec[64];

	snprintf(spec, sizeof(spec), "xdp:eth0%s", device);
	tapd_launch_on(vm, spec, "", options);
	traffic_set_up(vm, "ixy0");
}

static void assert_nothing_attached(struct vm *vm)
{
	vm_ok(vm, "ip -details link show eth0 >/run/link && ! grep prog/xdp /run/link");
}

/* The kernel has its interface back, as it was. */
static void assert_kernel_has_it(struct vm *vm)
{
	assert_nothing_attached(vm);
	vm_ok(vm, "ip link set eth0 up");
	traffic_set_up(vm, "eth0");
	traffic_pings(vm);
	vm_ok(vm, "ip addr flush dev eth0");
}

/* --- the daemon ----------------------------------------------------------------------------------------- */

static void traffic_passes_in_zero_copy(void **state)
{
	struct vm *vm = *state;

	up(vm, ",mode=zc", "");
	tapd_assert_said(vm, "native XDP, zero copy");
	traffic_all(vm, (struct traffic){0});
	tapd_down(vm, ".resets == 0 and .rx.frames > 1000 and .tx.frames > 1000 and "
		      ".drops[\"rx-bad-descriptor\"] == 0 and .drops[\"tx-bad-offload\"] == 0 and "
		      ".drops[\"rx-too-long\"] == 0");
	assert_kernel_has_it(vm);
	vm_assert_no_violation(vm);
}

static void zero_copy_is_chosen_where_there_is_a_choice(void **state)
{
	struct vm *vm = *state;

	up(vm, "", "");
	tapd_assert_said(vm, "native XDP, zero copy");
	traffic_pings(vm);
	tapd_down(vm, ".resets == 0");
	assert_kernel_has_it(vm);
	vm_assert_no_violation(vm);
}

static void traffic_passes_in_the_modes_that_copy(void **state)
{
	static const char *const modes[][2] = {
		{",mode=native", "native XDP, frames are copied"},
		{",mode=generic", "generic XDP, frames are copied"},
	};
	struct vm *vm = *state;

	for (size_t i = 0; i < 2; i++) {
		up(vm, modes[i][0], "");
		tapd_assert_said(vm, modes[i][1]);
		traffic_pings(vm);
		traffic_sizes(vm);
		traffic_file(vm);
		tapd_down(vm, ".resets == 0 and .rx.frames > 1000 and .tx.frames > 1000");
	}
	assert_kernel_has_it(vm);
	vm_assert_no_violation(vm);
}

static void every_queue_of_the_interface_is_served(void **state)
{
	struct vm *vm = *state;

	vm_ok(vm, "ethtool -L eth0 combined 2");
	tapd_refuses(vm, "", "xdp:eth0,mode=zc ixy0", TAPD_CONFIG, "has 2 receive queues");
	assert_nothing_attached(vm);
	up(vm, ",mode=zc", "--queues 2");
	tapd_assert_said(vm, "native XDP, zero copy");
	traffic_pings(vm);
	traffic_streams(vm);
	traffic_file(vm);
	tapd_down(vm, ".resets == 0 and ([.queues[] | select(.rx.frames > 0)] | length) == 2 and "
		      "([.queues[] | select(.tx.frames > 0)] | length) == 2");
	vm_ok(vm, "ethtool -L eth0 combined 1");
	assert_kernel_has_it(vm);
	vm_assert_no_violation(vm);
}

/* What ixgbe takes with a program on it: 3 KiB a frame, two VLAN tags and the CRC included. The buffers behind both headrooms are that long, too. */
static void the_longest_frames_that_the_driver_takes_pass(void **state)
{
	struct vm *vm = *state;

	traffic_cable_mtu(vm, 3046);
	up(vm, ",mode=zc", "--mtu 3046");
	vm_ok(vm, "ping -nqc3 -i0.02 -W5 -M do -s 3018 %s", vm->rig->v4_peer);
	command_ok(vm->rig->peer, "ping -nqc3 -i0.02 -W5 -M do -s 3018 %s", vm->rig->v4_host);
	vm_ok(vm, "ip link show eth0 | grep 'mtu 3046'");
	vm_ok(vm, "ip link set ixy0 mtu 1500");
	traffic_await_carrier(vm, "ixy0", true);
	traffic_pings(vm);
	tapd_down(vm, ".resets == 0");
	traffic_cable_mtu(vm, 1500);
	vm_ok(vm, "ip link show eth0 | grep 'mtu 1500'");
	assert_kernel_has_it(vm);
	vm_assert_no_violation(vm);
}

static void a_killed_daemon_leaves_nothing_and_the_next_one_starts(void **state)
{
	struct vm *vm = *state;

	for (unsigned i = 0; i < 3; i++) {
		up(vm, ",mode=zc", "");
		traffic_pings(vm);
		traffic_begin_flood(vm, "ixy0");
		tapd_kill(vm);
		traffic_end_flood(vm);
		/* The kernel takes the program off by itself, a moment later. */
		vm_ok(vm, "until ip -details link show eth0 >/run/link && ! grep -q prog/xdp /run/link; do "
			  "sleep 0.05; done");
	}
	/* And at once. */
	up(vm, ",mode=zc", "");
	tapd_kill(vm);
	up(vm, ",mode=zc", "");
	tapd_assert_said(vm, "native XDP, zero copy");
	traffic_pings(vm);
	tapd_down(vm, ".resets == 0");
	assert_kernel_has_it(vm);
	vm_assert_no_violation(vm);
}

static void the_cable_is_pulled_and_put_back_in(void **state)
{
	struct vm *vm = *state;

	up(vm, ",mode=zc", "");
	traffic_pings(vm);
	for (unsigned i = 0; i < 2; i++) {
		traffic_begin_flood(vm, "ixy0");
		traffic_replug(vm, "ixy0");
		traffic_end_flood(vm);
		traffic_pings(vm);
	}
	tapd_down(vm, ".resets == 0 and .link.changes >= 4");
	assert_kernel_has_it(vm);
	vm_assert_no_violation(vm);
}

static void the_interface_below_goes_down_and_up(void **state)
{
	struct vm *vm = *state;

	up(vm, ",mode=zc", "");
	traffic_pings(vm);
	for (unsigned i = 0; i < 2; i++) {
		traffic_begin_flood(vm, "ixy0");
		vm_ok(vm, "ip link set eth0 down");
		traffic_await_carrier(vm, "ixy0", false);
		vm_ok(vm, "ip link set eth0 up");
		traffic_await_carrier(vm, "ixy0", true);
		traffic_end_flood(vm);
		traffic_pings(vm);
	}
	/* Its own interface does the same to the one below. */
	vm_ok(vm, "ip link set ixy0 down && until ip -br link show eth0 | grep -q DOWN; do sleep 0.05; done");
	traffic_set_up(vm, "ixy0");
	traffic_pings(vm);
	tapd_down(vm, ".resets == 0");
	assert_kernel_has_it(vm);
	vm_assert_no_violation(vm);
}

/* --- the applications and the library ------------------------------------------------------------------- */

/* Everything that leaves the guest comes back, its addresses swapped. */
static struct process *start_reflector(struct vm *vm)
{
	return process_start("l2fwd", vm->rig->peer, "exec %s --quiet p0", rig_program("apps/l2fwd"));
}

static const char *app(const char *name)
{
	char path[32];

	snprintf(path, sizeof(path), "apps/%s", name);
	return rig_program(path);
}

/* Run an application in the guest until it ends by itself; what it counted in its line "NAME: N frames ...". */
static uint64_t run_app(struct vm *vm, const char *name, const char *arguments, const char *counter)
{
	const char *output = vm_ok(vm, "%s --quiet %s", app(name), arguments), *line = output;
	size_t length = strlen(counter);
	unsigned long long frames = 0;

	while (line &&
		(strncmp(line, counter, length) != 0 || sscanf(line + length, ": %llu frames", &frames) != 1))
		line = strchr(line, '\n') ? strchr(line, '\n') + 1 : NULL;
	if (!line)
		fail_msg("%s gave no total \"%s\" but: %s", name, counter, output);
	return frames;
}

/* With the reflector and an interface that sends nothing by itself. */
static struct process *begin_reflected(struct vm *vm)
{
	vm_ok(vm, "ip addr flush dev eth0 && ip link set eth0 up");
	traffic_await_carrier(vm, "eth0", true);
	return start_reflector(vm);
}

/* Start an application in the guest, and wait until it has said on which mode it is. */
static void start_app(struct vm *vm, const char *name, const char *arguments, const char *says)
{
	vm_ok(vm,
		"rm -f /run/app.*; (%s %s >/run/app.out 2>&1 & echo $! >/run/app.pid; wait; echo $? "
		">/run/app.status) "
		">/dev/null 2>&1 &\n"
		"until grep -q '%s' /run/app.out; do ! test -e /run/app.status || { cat /run/app.out; exit "
		"1; }; "
		"sleep 0.1; done",
		app(name), arguments, says);
	traffic_await_carrier(vm, "eth0", true);
}

/* It ends by itself, or with a signal if one is named, and well. Returns what it printed. */
static const char *end_app(struct vm *vm, const char *signal)
{
	return vm_ok(vm,
		"[ -z '%s' ] || kill -%s $(cat /run/app.pid)\n"
		"until test -e /run/app.status; do sleep 0.05; done; cat /run/app.out; grep -qx 0 "
		"/run/app.status",
		signal, signal);
}

static void xdpbench_sends_and_receives(void **state)
{
	struct vm *vm = *state;
	uint64_t before = rig_nic(vm->rig, "tx_frames"), sent;
	struct process *reflector;

	sent = run_app(vm, "xdpbench", "--mode zero-copy --time 4s txonly eth0", "txonly");
	assert_true(sent > 1000);
	/* All that had been handed over in time; a ring of them may not have been. */
	assert_true(rig_nic(vm->rig, "tx_frames") - before + 4096 >= sent);
	assert_true(rig_nic(vm->rig, "tx_frames") > before);
	assert_nothing_attached(vm);

	reflector = begin_reflected(vm);
	start_app(vm, "xdpbench", "--mode zero-copy --quiet rxdrop eth0", "native program, zero copy");
	command_ok(
		vm->rig->peer, "ping -nq -c 100 -i 0.002 -W1 -b 255.255.255.255 -I p0 >/dev/null 2>&1; true");
	end_app(vm, "TERM");
	assert_int_equal(process_stop(reflector), 0);
	assert_nothing_attached(vm);
	vm_assert_no_violation(vm);
}

static void l2fwd_sends_frames_back(void **state)
{
	static const uint8_t to[6] = {0x02, 0x82, 0x59, 0x90, 0x00, 0x01}, from[6] = {2, 0, 0, 0, 0, 7};
	static const size_t sizes[] = {60, 1000, 1100, 1514};
	struct vm *vm = *state;
	struct captured frame;
	uint8_t sent[1514];
	int fd;

	start_app(vm, "l2fwd", "--mode zero-copy --quiet eth0", "zero copy");
	fd = raw_open(vm->rig->peer, "p0");
	for (uint32_t i = 0; i < 100; i++) {
		size_t size = sizes[i % 4];

		frame_test(sent, size, to, from, i);
		raw_send(fd, sent, size);
		if (!raw_receive_type(fd, &frame, ETHERTYPE_TEST, 20))
			fail_msg("frame %u of %zu bytes does not come back", i, size);
		assert_int_equal(frame.size, size);
		assert_memory_equal(frame.data, from, 6);
		assert_memory_equal(frame.data + 6, to, 6);
		assert_memory_equal(frame.data + 12, sent + 12, size - 12);
	}
	close(fd);
	end_app(vm, "TERM");
	assert_nothing_attached(vm);
	vm_assert_no_violation(vm);
}

static void dumpframes_shows_what_arrives(void **state)
{
	static const uint8_t to[6] = {0x02, 0x82, 0x59, 0x90, 0x00, 0x01}, from[6] = {2, 0, 0, 0, 0, 7};
	struct vm *vm = *state;
	uint8_t frame[1514];
	int fd;

	start_app(vm, "dumpframes", "--protocol 0x88b5 --count 3 eth0", "native program");
	fd = raw_open(vm->rig->peer, "p0");
	for (uint32_t i = 0; i < 3; i++) {
		frame_test(frame, sizeof(frame), to, from, i);
		raw_send(fd, frame, sizeof(frame));
	}
	close(fd);
	assert_non_null(strstr(end_app(vm, ""), "02:00:00:00:00:07"));
	assert_non_null(strstr(vm->output, "3 frames"));
	assert_nothing_attached(vm);
	vm_assert_no_violation(vm);
}

static void sendudp_reaches_a_socket(void **state)
{
	struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons(4000)};
	struct vm *vm = *state;
	uint8_t mac[6];
	int fd;

	link_mac(vm->rig->peer, "p0", mac);
	fd = netns_socket(vm->rig->peer, AF_INET, SOCK_DGRAM, 0);
	assert_int_equal(bind(fd, (struct sockaddr *)&address, sizeof(address)), 0);
	vm_ok(vm,
		"%s --quiet --from %s --to %s --mac %02x:%02x:%02x:%02x:%02x:%02x --port 4000 --count 200 "
		"--rate 1k eth0",
		app("sendudp"), vm->rig->v4_host, vm->rig->v4_peer, mac[0], mac[1], mac[2], mac[3], mac[4],
		mac[5]);
	/* The kernel gives a socket only datagrams whose checksum is right. */
	for (uint64_t i = 0; i < 200; i++) {
		struct pollfd wait = {.fd = fd, .events = POLLIN};
		uint64_t number = 0;

		assert_int_equal(poll(&wait, 1, 10000), 1);
		assert_int_equal(recv(fd, &number, sizeof(number), 0), sizeof(number));
		assert_int_equal(be64toh(number), i);
	}
	close(fd);
	assert_nothing_attached(vm);
	vm_assert_no_violation(vm);
}

static void the_library_in_zero_copy(void **state)
{
	struct vm *vm = *state;
	struct process *reflector;

	vm_ok(vm, "ethtool -L eth0 combined 2");
	reflector = begin_reflected(vm);
	if (vm_run(vm, 200, "%s eth0", rig_program("vm/guest_zero_copy")))
		fail_msg("%s", vm->output);
	assert_int_equal(process_stop(reflector), 0);
	vm_ok(vm, "ethtool -L eth0 combined 1");
	assert_kernel_has_it(vm);
	vm_assert_no_violation(vm);
}

static void everything_ends_without_a_violation(void **state)
{
	vm_finish(*state);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		VM_TEST(traffic_passes_in_zero_copy),
		VM_TEST(zero_copy_is_chosen_where_there_is_a_choice),
		VM_TEST(traffic_passes_in_the_modes_that_copy),
		VM_TEST(every_queue_of_the_interface_is_served),
		VM_TEST(the_longest_frames_that_the_driver_takes_pass),
		VM_TEST(a_killed_daemon_leaves_nothing_and_the_next_one_starts),
		VM_TEST(the_cable_is_pulled_and_put_back_in),
		VM_TEST(the_interface_below_goes_down_and_up),
		VM_TEST(xdpbench_sends_and_receives),
		VM_TEST(l2fwd_sends_frames_back),
		VM_TEST(dumpframes_shows_what_arrives),
		VM_TEST(sendudp_reaches_a_socket),
		VM_TEST(the_library_in_zero_copy),
		VM_TEST(everything_ends_without_a_violation),
	};

	return vm_main("AF_XDP on the kernel's ixgbe driver", tests, boot);
}
