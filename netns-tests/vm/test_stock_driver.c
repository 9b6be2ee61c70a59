/*
 * The software NIC under the Linux kernel's own ixgbe driver, which nobody here wrote: everything that driver
 * checks or does is a statement about the model.
 *
 * In the guest the interface is eth0 (no renaming there).
 */
#include "vm.h"

#define CARRIER_SECONDS 15

/* --- bring-up ----------------------------------------------------------------------------------------------- */

static bool guest_carrier(struct vm *vm)
{
	return vm_run(vm, 10, "grep -q 1 /sys/class/net/eth0/carrier") == 0;
}

static void await_carrier(struct vm *vm)
{
	assert_soon(CARRIER_SECONDS, guest_carrier(vm));
}

/* Addresses on both sides, eth0 up; what a module that was just loaded needs. */
static void set_up_interface(struct vm *vm)
{
	struct rig *rig = vm->rig;

	vm_ok(vm,
		"ip link set eth0 up && ip addr replace %s/24 dev eth0 && ip addr replace %s/64 dev eth0 "
		"nodad",
		rig->v4_host, rig->v6_host);
	await_carrier(vm);
}

static void load_driver(struct vm *vm)
{
	vm_ok(vm, "modprobe ixgbe");
	set_up_interface(vm);
}

static int boot_with_driver(void **state)
{
	vm_boot(state);
	struct vm *vm = *state;
	struct rig *rig = vm->rig;

	command_ok(rig->peer, "ip addr replace %s/24 dev p0 && ip addr replace %s/64 dev p0 nodad",
		rig->v4_peer, rig->v6_peer);
	load_driver(vm);
	return 0;
}

static void assert_pings(struct vm *vm)
{
	vm_ok(vm, "ping -nqc3 -i0.2 -W5 %s && ping -nqc3 -i0.2 -W5 %s", vm->rig->v4_peer, vm->rig->v6_peer);
	command_ok(vm->rig->peer, "ping -nqc3 -i0.2 -W5 %s && ping -nqc3 -i0.2 -W5 %s", vm->rig->v4_host,
		vm->rig->v6_host);
}

/* The kernel has nothing to complain of, and the NIC neither. */
static void assert_no_complaint(struct vm *vm)
{
	vm_ok(vm,
		"dmesg --level=emerg,alert,crit,err,warn | grep -i -e ixgbe -e %s -e eth0 -e 'BUG:' -e "
		"'WARNING:' "
		"-e dma -e msi >/run/complaints; cat /run/complaints; ! test -s /run/complaints",
		VM_NIC);
	if (rig_violations(vm->rig, 0))
		fail_msg("the software NIC counted %s", rig_ctl(vm->rig, "violations 0"));
}

static void the_driver_finds_the_device_without_a_warning(void **state)
{
	struct vm *vm = *state;

	vm_ok(vm, "readlink /sys/bus/pci/devices/%s/driver | grep -q /ixgbe$ && dmesg | grep -i ixgbe",
		VM_NIC);
	fprintf(stderr, "%s", vm->output);
	vm_ok(vm, "ethtool eth0 | grep 'Speed: 10000Mb/s' && ethtool eth0 | grep 'Link detected: yes'");
	assert_no_complaint(vm);
}

static void both_sides_reach_each_other(void **state)
{
	struct vm *vm = *state;

	assert_pings(vm);
	assert_no_complaint(vm);
}

/* --- the end ------------------------------------------------------------------------------------------------ */

static void everything_ends_without_a_violation(void **state)
{
	struct vm *vm = *state;

	assert_no_complaint(vm);
	vm_finish(vm);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		VM_TEST(the_driver_finds_the_device_without_a_warning),
		VM_TEST(both_sides_reach_each_other),
		VM_TEST(everything_ends_without_a_violation),
	};
	return vm_main("stock ixgbe driver", tests, boot_with_driver);
}
