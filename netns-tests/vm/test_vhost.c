/*
 * ixy-tapd whose frames the kernel's vhost-net thread moves (--kernel vhost), under every device that a guest can have
 * without a virtio one of its own: the 82599 through sysfs, and on a second guest's virtio-net, which the kernel's
 * driver keeps, the software 82599 (soft:) and AF_XDP (xdp:). The 82599 through VFIO is in test_vfio.c, virtio in
 * test_virtio.c and test_virtio_vfio.c.
 */
#include <unistd.h>

#include "slot.h"
#include "tapd.h"
#include "traffic.h"

#define FUNCTION "/sys/bus/pci/devices/" VM_NIC
#define VHOST    "--kernel vhost"
#define FILE_MIB 8

/* --- asking ------------------------------------------------------------------------------------------------- */

/* The kernel's threads that work for the daemon: one a queue. */
static uint64_t vhost_threads(struct vm *vm)
{
	return vm_number(vm, "cat /proc/[0-9]*/comm 2>/dev/null | grep -cx vhost-$(cat /run/tapd.pid); true");
}

/* Bytes that the daemon has read or written by system calls of its own. */
static uint64_t bytes_by_call(struct vm *vm)
{
	return vm_number(vm, "awk '/^[rw]char/ { n += $2 } END { print n }' /proc/$(cat /run/tapd.pid)/io");
}

/* Megabytes pass, and hardly a byte of them through a system call of the daemon's. */
static void assert_frames_pass_without_system_calls(struct vm *vm)
{
	uint64_t before = bytes_by_call(vm);

	traffic_file_of(vm, FILE_MIB);
	assert_in_range(bytes_by_call(vm) - before, 0, 1u << 20);
}

static void all_traffic_passes(struct vm *vm, unsigned queues)
{
	assert_int_equal(vhost_threads(vm), queues);
	traffic_pings(vm);
	traffic_sizes(vm);
	traffic_streams(vm);
	assert_frames_pass_without_system_calls(vm);
}

/* --- the 82599 through sysfs -------------------------------------------------------------------------------- */

static int boot(void **state)
{
	struct vm *vm;

	vm_boot(state);
	vm = *state;
	vm_ok(vm, "modprobe -a tun vhost_net");
	vm_huge_pages(vm, 64);
	return 0;
}

static void all_traffic_passes_an_82599(void **state)
{
	struct vm *vm = *state;

	tapd_up(vm, VHOST);
	all_traffic_passes(vm, 1);
	tapd_down(vm, ".resets == 0 and .rx.frames > 1000 and .tx.frames > 1000");
	vm_ok(vm, "! cat /proc/[0-9]*/comm 2>/dev/null | grep ^vhost-");
	vm_assert_no_violation(vm);
}

static void jumbo_frames_vlans_and_several_queues_pass(void **state)
{
	struct vm *vm = *state;

	tapd_up(vm, VHOST " --queues 2");
	assert_int_equal(vhost_threads(vm), 2);
	traffic_jumbo_and_back(vm, "ixy0");
	traffic_begin_vlan(vm, "ixy0");
	traffic_vlan(vm);
	traffic_end_vlan(vm);
	traffic_streams(vm);
	tapd_down(vm, ".resets == 0 and ([.queues[] | select(.rx.frames > 0)] | length) == 2");
	vm_assert_no_violation(vm);
}

static void offloads_can_be_switched_while_frames_pass(void **state)
{
	static const char *const switches[] = {"tso off", "tx off", "gro off", "tx on", "tso on", "gro on"};
	struct vm *vm = *state;

	tapd_up(vm, VHOST);
	vm_ok(vm, "ping -nqf -s 4000 -w 120 %s >/dev/null 2>&1 & echo $! >/run/flood", vm->rig->v4_peer);
	for (unsigned i = 0; i < sizeof(switches) / sizeof(switches[0]); i++) {
		vm_ok(vm, "ethtool -K ixy0 %s", switches[i]);
		traffic_file_of(vm, 1);
	}
	traffic_end_flood(vm);
	tapd_down(vm, ".resets == 0");
	tapd_up(vm, VHOST " --no-offload");
	traffic_pings(vm);
	traffic_file_of(vm, 2);
	tapd_down(vm, ".resets == 0");
	vm_assert_no_violation(vm);
}

static void the_interface_behaves_as_with_a_tap(void **state)
{
	struct vm *vm = *state;

	tapd_up(vm, VHOST);
	traffic_pings(vm);
	for (unsigned i = 0; i < 2; i++) {
		traffic_begin_flood(vm, "ixy0");
		traffic_replug(vm, "ixy0");
		traffic_end_flood(vm);
		traffic_pings(vm);
	}
	vm_ok(vm, "ip link set ixy0 down && ! ping -nqc1 -W1 %s && ip link set ixy0 up", vm->rig->v4_peer);
	traffic_set_up(vm, "ixy0");
	vm_ok(vm, "ip link set ixy0 address 02:00:00:00:00:55");
	traffic_pings(vm);
	vm_ok(vm, "ip link set ixy0 promisc on && ip link set ixy0 promisc off");
	traffic_pings(vm);
	tapd_down(vm, ".resets == 0 and .link.changes >= 4");
	vm_assert_no_violation(vm);
}

static void idle_it_sleeps(void **state)
{
	struct vm *vm = *state;

	tapd_up(vm, VHOST);
	traffic_pings(vm);
	assert_in_range(tapd_ticks(vm), 0, 3 * (uint64_t)sysconf(_SC_CLK_TCK) / 2);
	/* Frames that come one by one each wake it, whichever side they come from. */
	vm_ok(vm, "ping -nqc20 -i0.05 -W5 %s", vm->rig->v4_peer);
	command_ok(vm->rig->peer, "ping -nqc20 -i0.05 -W5 %s", vm->rig->v4_host);
	tapd_down(vm, ".resets == 0");
	vm_assert_no_violation(vm);
}

static void a_deleted_interface_ends_it(void **state)
{
	struct vm *vm = *state;

	tapd_up(vm, VHOST);
	traffic_begin_flood(vm, "ixy0");
	vm_ok(vm, "ip link del ixy0");
	tapd_await_end(vm, EXIT_FAILURE);
	tapd_assert_said(vm, "ixy0");
	traffic_end_flood(vm);
	tapd_up(vm, VHOST);
	traffic_pings(vm);
	tapd_down(vm, ".resets == 0");
	vm_assert_no_violation(vm);
}

static void a_killed_daemon_leaves_what_the_next_one_takes(void **state)
{
	struct vm *vm = *state;

	tapd_up(vm, VHOST " --persist");
	for (unsigned i = 0; i < 2; i++) {
		traffic_begin_flood(vm, "ixy0");
		tapd_kill(vm);
		traffic_end_flood(vm);
		/* The addresses are still there. */
		tapd_launch(vm, "", VHOST " --persist");
		traffic_await_carrier(vm, "ixy0", true);
		traffic_pings(vm);
		traffic_file_of(vm, 2);
	}
	tapd_down(vm, ".resets == 0");
	/* And the other way into the kernel takes over from this one. */
	tapd_launch(vm, "", "--kernel tap --persist");
	traffic_await_carrier(vm, "ixy0", true);
	traffic_pings(vm);
	assert_int_equal(vhost_threads(vm), 0);
	tapd_down(vm, ".resets == 0");
	vm_ok(vm, "ip link del ixy0");
	vm_assert_no_violation(vm);
}

static void a_hanging_nic_is_reset_and_goes_on(void **state)
{
	struct vm *vm = *state;

	tapd_up(vm, VHOST);
	rig_ctl(vm->rig, "fault 0 tx-hang on");
	vm_ok(vm, "ping -nqf -w 3 %s; true", vm->rig->v4_peer);
	traffic_await_recovery(vm);
	traffic_file_of(vm, 2);
	tapd_down(vm, ".resets >= 1");
	vm_assert_no_violation(vm);
}

static void a_function_removed_under_traffic_ends_it(void **state)
{
	struct vm *vm = *state;

	tapd_up(vm, VHOST);
	traffic_pings(vm);
	traffic_begin_flood(vm, "ixy0");
	vm_ok(vm, "echo 1 >" FUNCTION "/remove; ! test -e " FUNCTION);
	tapd_await_end(vm, TAPD_DEVICE);
	tapd_assert_said(vm, VM_NIC ": the device was removed");
	traffic_end_flood(vm);
	/* Until its next user has reset it, it goes on with rings that nobody has: no frame may come. */
	rig_ctl(vm->rig, "link 0 out");
	vm_ok(vm, "echo 1 >/sys/bus/pci/rescan && test -e " FUNCTION);
	tapd_launch(vm, "", VHOST);
	rig_ctl(vm->rig, "link 0 in");
	traffic_set_up(vm, "ixy0");
	traffic_pings(vm);
	tapd_down(vm, ".resets == 0");
	vm_assert_no_violation(vm);
}

static void auto_says_which_way_it_takes(void **state)
{
	struct vm *vm = *state;

	tapd_up(vm, "--kernel auto");
	tapd_assert_said(vm, "vhost");
	assert_int_equal(vhost_threads(vm), 1);
	traffic_pings(vm);
	tapd_down(vm, ".resets == 0");

	vm_ok(vm, "rmmod vhost_net && ! test -e /dev/vhost-net");
	tapd_refuses(vm, "", VHOST " " VM_NIC " ixy0", TAPD_DEVICE, "modprobe vhost_net");
	tapd_up(vm, "--kernel auto");
	tapd_assert_said(vm, "modprobe vhost_net");
	assert_int_equal(vhost_threads(vm), 0);
	traffic_pings(vm);
	tapd_down(vm, ".resets == 0");
	vm_ok(vm, "modprobe vhost_net");
	vm_assert_no_violation(vm);
}

static void everything_ends_without_a_violation(void **state)
{
	vm_finish(*state);
}

/* --- the software NIC and AF_XDP, on an interface that the kernel's driver has ---------------------------------- */

/*
 * eth0 is only the socket in the wall: the guest's own stack must not answer there. It carries frames as a wire does,
 * which a packet socket or an XDP program take one by one.
 */
static int boot_with_interface(void **state)
{
	static const struct vm_options options = {.slot = true};
	static const struct slot_nic nic = {.kind = SLOT_MODERN, .properties = SLOT_NO_OFFLOADS};
	struct vm *vm;

	vm_boot_with(state, &options);
	vm = *state;
	vm_ok(vm, "modprobe -a tun vhost_net virtio_net");
	slot_plug(vm, &nic);
	vm_ok(vm, "sysctl -qw net.ipv6.conf.eth0.disable_ipv6=1 net.ipv4.conf.eth0.arp_ignore=8 && "
		  "ip link set eth0 up");
	traffic_await_carrier(vm, "eth0", true);
	return 0;
}

static void all_traffic_passes_on(struct vm *vm, const char *device)
{
	tapd_launch_on(vm, device, "", VHOST);
	traffic_set_up(vm, "ixy0");
	all_traffic_passes(vm, 1);
	tapd_down(vm, ".resets == 0 and .rx.frames > 1000 and .tx.frames > 1000");
	vm_assert_no_violation(vm);
}

static void all_traffic_passes_the_software_82599(void **state)
{
	all_traffic_passes_on(*state, "soft:eth0");
}

static void all_traffic_passes_af_xdp(void **state)
{
	all_traffic_passes_on(*state, "xdp:eth0");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		VM_TEST(all_traffic_passes_an_82599),
		VM_TEST(jumbo_frames_vlans_and_several_queues_pass),
		VM_TEST(offloads_can_be_switched_while_frames_pass),
		VM_TEST(the_interface_behaves_as_with_a_tap),
		VM_TEST(idle_it_sleeps),
		VM_TEST(a_deleted_interface_ends_it),
		VM_TEST(a_killed_daemon_leaves_what_the_next_one_takes),
		VM_TEST(a_hanging_nic_is_reset_and_goes_on),
		VM_TEST(a_function_removed_under_traffic_ends_it),
		VM_TEST(auto_says_which_way_it_takes),
		VM_TEST(everything_ends_without_a_violation),
	};
	const struct CMUnitTest on_an_interface[] = {
		VM_TEST(all_traffic_passes_the_software_82599),
		VM_TEST(all_traffic_passes_af_xdp),
		VM_TEST(everything_ends_without_a_violation),
	};

	return vm_main("vhost-net under an 82599", tests, boot) +
	       vm_main("vhost-net under devices on an interface", on_an_interface, boot_with_interface);
}
