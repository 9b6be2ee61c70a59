/*
 * ixy-tapd on a PCI function through sysfs, as a user runs it on a server: it takes the function from the
 * kernel's own driver, and gives it back.
 */
#include "tapd.h"
#include "traffic.h"

static int boot(void **state)
{
	struct vm *vm;

	vm_boot(state);
	vm = *state;
	vm_ok(vm, "modprobe tun && modprobe ixgbe");
	vm_huge_pages(vm, 64);
	return 0;
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

	tapd_up(vm, "");
	vm_ok(vm, "! test -e /sys/bus/pci/devices/" VM_NIC "/driver && ! test -e /sys/class/net/eth0");
	traffic_all(vm, (struct traffic){0});
	tapd_down(vm, ".resets == 0 and .nic.crc_errors == 0 and .rx.frames > 1000 and .tx.frames > 1000");
	assert_kernel_driver_works(vm);
	vm_assert_no_violation(vm);
}

static void jumbo_frames_and_several_queues_pass(void **state)
{
	struct vm *vm = *state;

	traffic_cable_mtu(vm, 9000);
	tapd_up(vm, "--mtu 9000 --queues 2");
	traffic_pings(vm);
	traffic_jumbo(vm);
	tapd_down(vm, ".resets == 0");
	traffic_cable_mtu(vm, 1500);
	vm_assert_no_violation(vm);
}

static void an_interface_in_use_is_taken_only_by_force(void **state)
{
	struct vm *vm = *state;

	traffic_set_up(vm, "eth0");
	tapd_refuses(vm, "", VM_NIC " ixy0", TAPD_DEVICE, "is the live interface eth0");
	assert_non_null(strstr(vm->output, "--force"));
	traffic_pings(vm);
	tapd_up(vm, "--force");
	traffic_pings(vm);
	tapd_down(vm, ".resets == 0");
	assert_kernel_driver_works(vm);
	vm_assert_no_violation(vm);
}

static void missing_huge_pages_are_named_and_the_function_given_back(void **state)
{
	struct vm *vm = *state;

	vm_huge_pages(vm, 0);
	tapd_refuses(vm, "", VM_NIC " ixy0", TAPD_DEVICE, "huge pages");
	vm_huge_pages(vm, 64);
	assert_kernel_driver_works(vm);
	vm_assert_no_violation(vm);
}

static void a_killed_daemon_leaves_a_function_that_the_next_one_takes(void **state)
{
	struct vm *vm = *state;

	for (unsigned i = 0; i < 2; i++) {
		tapd_up(vm, "");
		traffic_pings(vm);
		tapd_kill(vm);
	}
	tapd_up(vm, "");
	traffic_pings(vm);
	tapd_down(vm, ".resets == 0");
	assert_kernel_driver_works(vm);
	vm_assert_no_violation(vm);
}

static void a_function_reset_under_traffic_is_recovered_from(void **state)
{
	struct vm *vm = *state;

	tapd_up(vm, "");
	traffic_begin_flood(vm, "ixy0");
	vm_ok(vm, "echo 1 >/sys/bus/pci/devices/" VM_NIC "/reset");
	traffic_await_recovery(vm);
	traffic_end_flood(vm);
	traffic_pings(vm);
	tapd_down(vm, ".resets >= 1");
	assert_kernel_driver_works(vm);
	vm_assert_no_violation(vm);
}

static void a_function_without_a_driver_is_left_without_one(void **state)
{
	struct vm *vm = *state;

	vm_ok(vm, "rmmod ixgbe");
	tapd_up(vm, "");
	traffic_pings(vm);
	tapd_down(vm, ".resets == 0");
	vm_ok(vm, "! test -e /sys/bus/pci/devices/" VM_NIC "/driver && modprobe ixgbe");
	assert_kernel_driver_works(vm);
	vm_assert_no_violation(vm);
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
