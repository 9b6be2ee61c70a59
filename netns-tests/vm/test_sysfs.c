/*
 * ixy-tapd on a PCI function through sysfs, as a user runs it on a server: it takes the function from the
 * kernel's own driver, and gives it back.
 */
#include "traffic.h"

#define READY_SECONDS 30
#define END_SECONDS   15
#define EXIT_DEVICE   69 /* the daemon's code for a device that it cannot have */

static int boot(void **state)
{
	struct vm *vm;

	vm_boot(state);
	vm = *state;
	vm_ok(vm, "modprobe tun && modprobe ixgbe && mkdir -p /dev/hugepages && mount -t hugetlbfs huge "
		  "/dev/hugepages && "
		  "echo 64 >/proc/sys/vm/nr_hugepages && grep -x 64 /proc/sys/vm/nr_hugepages");
	return 0;
}

/* --- the daemon in the guest ---------------------------------------------------------------------------- */

/* Start it, wait until it is ready, and give its interface the addresses. */
static void start_tapd(struct vm *vm, const char *options)
{
	vm_ok(vm, "%s --json %s " VM_NIC " ixy0 >/run/tapd.out 2>/run/tapd.err & echo $! >/run/tapd.pid",
		rig_program("ixy-tapd"), options);
	if (vm_run(vm, READY_SECONDS,
		    "until grep -q 'ready on' /run/tapd.err; do sleep 0.1; kill -0 $(cat /run/tapd.pid) || "
		    "exit 1; done"))
		fail_msg("ixy-tapd does not get ready: %s", vm_ok(vm, "cat /run/tapd.err"));
	traffic_set_up(vm, "ixy0");
}

/* It has ended, and so has its interface. */
static void await_end(struct vm *vm)
{
	if (vm_run(vm, END_SECONDS, "while kill -0 $(cat /run/tapd.pid) 2>/dev/null; do sleep 0.1; done"))
		fail_msg("ixy-tapd does not end: %s", vm_ok(vm, "cat /run/tapd.err"));
	vm_ok(vm, "! test -e /sys/class/net/ixy0");
}

static void stop_tapd(struct vm *vm)
{
	vm_ok(vm, "kill $(cat /run/tapd.pid)");
	await_end(vm);
}

static void assert_no_violation(struct vm *vm)
{
	if (rig_violations(vm->rig, 0))
		fail_msg("the software NIC counted %s:\n%s", rig_ctl(vm->rig, "violations 0"),
			process_stderr(vm->rig->softnic));
}

/* The kernel's driver has the function, and it works. */
static void assert_kernel_driver_works(struct vm *vm)
{
	vm_ok(vm, "readlink /sys/bus/pci/devices/" VM_NIC "/driver | grep /ixgbe$");
	traffic_set_up(vm, "eth0");
	traffic_pings(vm);
	vm_ok(vm, "ip addr flush dev eth0 && ip link set eth0 down");
}

/* --- tests ---------------------------------------------------------------------------------------------- */

static void traffic_passes_and_the_kernel_gets_the_function_back(void **state)
{
	struct vm *vm = *state;

	start_tapd(vm, "");
	vm_ok(vm, "! test -e /sys/bus/pci/devices/" VM_NIC "/driver && ! test -e /sys/class/net/eth0");
	traffic_pings(vm);
	traffic_sizes(vm);
	traffic_streams(vm);
	traffic_file(vm);
	stop_tapd(vm);
	vm_ok(vm, "tail -n 1 /run/tapd.out | jq -e '.resets == 0 and .nic.crc_errors == 0 and .rx.frames > "
		  "1000 and "
		  ".tx.frames > 1000'");
	assert_kernel_driver_works(vm);
	assert_no_violation(vm);
}

static void jumbo_frames_and_several_queues_pass(void **state)
{
	struct vm *vm = *state;

	traffic_cable_mtu(vm, 9000);
	start_tapd(vm, "--mtu 9000 --queues 2");
	traffic_pings(vm);
	traffic_jumbo(vm);
	stop_tapd(vm);
	traffic_cable_mtu(vm, 1500);
	assert_no_violation(vm);
}

static void an_interface_in_use_is_taken_only_by_force(void **state)
{
	struct vm *vm = *state;

	traffic_set_up(vm, "eth0");
	assert_int_equal(vm_run(vm, 30, "%s " VM_NIC " ixy0", rig_program("ixy-tapd")), EXIT_DEVICE);
	assert_non_null(strstr(vm->output, "is the live interface eth0"));
	assert_non_null(strstr(vm->output, "--force"));
	traffic_pings(vm);
	start_tapd(vm, "--force");
	traffic_pings(vm);
	stop_tapd(vm);
	assert_kernel_driver_works(vm);
	assert_no_violation(vm);
}

static void missing_huge_pages_are_named_and_the_function_given_back(void **state)
{
	struct vm *vm = *state;

	vm_ok(vm, "echo 0 >/proc/sys/vm/nr_hugepages");
	assert_int_equal(vm_run(vm, 30, "%s " VM_NIC " ixy0", rig_program("ixy-tapd")), EXIT_DEVICE);
	assert_non_null(strstr(vm->output, "huge pages"));
	vm_ok(vm, "echo 64 >/proc/sys/vm/nr_hugepages");
	assert_kernel_driver_works(vm);
	assert_no_violation(vm);
}

static void a_killed_daemon_leaves_a_function_that_the_next_one_takes(void **state)
{
	struct vm *vm = *state;

	for (unsigned i = 0; i < 2; i++) {
		start_tapd(vm, "");
		traffic_pings(vm);
		vm_ok(vm, "kill -9 $(cat /run/tapd.pid)");
		await_end(vm);
	}
	start_tapd(vm, "");
	traffic_pings(vm);
	stop_tapd(vm);
	assert_kernel_driver_works(vm);
	assert_no_violation(vm);
}

static void a_function_reset_under_traffic_is_recovered_from(void **state)
{
	struct vm *vm = *state;

	start_tapd(vm, "");
	vm_ok(vm,
		"ping -nqf -w 2 %s & sleep 1; echo 1 >/sys/bus/pci/devices/" VM_NIC "/reset; wait; "
		"i=0; until ping -nqc1 -W1 %s; do i=$((i + 1)); test $i -lt 15 || exit 1; done",
		vm->rig->v4_peer, vm->rig->v4_peer);
	traffic_pings(vm);
	stop_tapd(vm);
	vm_ok(vm, "tail -n 1 /run/tapd.out | jq -e '.resets >= 1'");
	assert_kernel_driver_works(vm);
	assert_no_violation(vm);
}

static void a_function_without_a_driver_is_left_without_one(void **state)
{
	struct vm *vm = *state;

	vm_ok(vm, "rmmod ixgbe");
	start_tapd(vm, "");
	traffic_pings(vm);
	stop_tapd(vm);
	vm_ok(vm, "! test -e /sys/bus/pci/devices/" VM_NIC "/driver && modprobe ixgbe");
	assert_kernel_driver_works(vm);
	assert_no_violation(vm);
}

static void everything_ends_without_a_violation(void **state)
{
	vm_finish(*state);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		VM_TEST(traffic_passes_and_the_kernel_gets_the_function_back),
		VM_TEST(jumbo_frames_and_several_queues_pass),
		VM_TEST(an_interface_in_use_is_taken_only_by_force),
		VM_TEST(missing_huge_pages_are_named_and_the_function_given_back),
		VM_TEST(a_killed_daemon_leaves_a_function_that_the_next_one_takes),
		VM_TEST(a_function_reset_under_traffic_is_recovered_from),
		VM_TEST(a_function_without_a_driver_is_left_without_one),
		VM_TEST(everything_ends_without_a_violation),
	};

	return vm_main("ixy-tapd on a PCI function through sysfs", tests, boot);
}
