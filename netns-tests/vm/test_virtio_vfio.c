/*
 * ixy-tapd on QEMU's own virtio-net through VFIO, behind an IOMMU that enforces: what the daemon has not mapped, the
 * function cannot reach. With interrupts, which are remapped, and without any privilege.
 *
 * The function honours the IOMMU when it is told to (iommu_platform=on, which the driver sees as
 * VIRTIO_F_ACCESS_PLATFORM); without that its DMA goes past it, to physical addresses, and nobody but root may have it.
 */
#include <stdlib.h>

#include "slot.h"
#include "tapd.h"
#include "traffic.h"

#define FUNCTION "/sys/bus/pci/devices/" SLOT_NIC
#define FILE_MIB 8

static const struct slot_nic modern = {.kind = SLOT_MODERN, .translated = true},
			     modern_4 = {.kind = SLOT_MODERN, .queues = 4, .translated = true};

static char *ixy_bind; /* its path, in the guest as here */

static int boot(void **state)
{
	static const struct vm_options options = {.slot = true, .iommu = true};
	struct vm *vm;

	ixy_bind = realpath("contrib/ixy-bind", NULL);
	if (!ixy_bind)
		fail_msg("no contrib/ixy-bind here: run this in the project's own folder");
	vm_boot_with(state, &options);
	vm = *state;
	vm_ok(vm, "dmesg | grep -q 'DMAR: IOMMU enabled'");
	vm_ok(vm, "modprobe -a tun vhost_net vfio-pci virtio_net && chmod 666 /dev/net/tun");
	vm_huge_pages(vm, 48);
	return 0;
}

/* Into the slot, and to vfio-pci; for a user, or root only. */
static void plug_for(struct vm *vm, const struct slot_nic *nic, const char *user)
{
	slot_plug(vm, nic);
	vm_ok(vm,
		"test -e " FUNCTION "/iommu_group && %s vfio %s " SLOT_NIC " && "
		"readlink " FUNCTION "/driver | grep /vfio-pci$",
		ixy_bind, user);
}

static void plug(struct vm *vm, const struct slot_nic *nic)
{
	plug_for(vm, nic, "");
}

/* Nothing has gone where it should not, as QEMU and the guest's kernel saw it. */
static void unplug(struct vm *vm)
{
	slot_unplug(vm);
	vm_ok(vm, "! dmesg | grep 'DMAR.*[Ff]ault'");
	vm_assert_no_violation(vm);
}

/* --- traffic ---------------------------------------------------------------------------------------------- */

static void the_kernels_driver_works_behind_the_iommu(void **state)
{
	struct vm *vm = *state;

	slot_plug(vm, &modern_4);
	traffic_set_up(vm, "eth0");
	traffic_pings(vm);
	traffic_sizes(vm);
	traffic_file_of(vm, FILE_MIB);
	unplug(vm);
}

static void all_traffic_passes(struct vm *vm, const struct slot_nic *nic, const char *options)
{
	plug(vm, nic);
	tapd_up(vm, options);
	traffic_all(vm, (struct traffic){.file_mib = FILE_MIB, .jumbo = "ixy0"});
	tapd_down(vm, ".resets == 0 and .rx.frames > 1000 and .tx.frames > 1000 and "
		      "([.queues[].wakeups] | max) > 0");
	/* It is left to the driver that it was bound to. */
	vm_ok(vm, "readlink " FUNCTION "/driver | grep /vfio-pci$");
	unplug(vm);
}

static void all_traffic_passes_in_the_programs_own_addresses(void **state)
{
	all_traffic_passes(*state, &modern, "");
}

static void all_traffic_passes_four_queues(void **state)
{
	all_traffic_passes(*state, &modern_4, "--queues 4");
}

static void all_traffic_passes_vhost(void **state)
{
	all_traffic_passes(*state, &modern_4, "--queues 4 --kernel vhost");
}

static void an_idle_queue_sleeps_until_an_interrupt_comes(void **state)
{
	struct vm *vm = *state;

	plug(vm, &modern);
	tapd_up(vm, "");
	traffic_pings(vm);
	tapd_assert_woken_by_interrupts(vm);
	/* A change of the link is an interrupt of its own. */
	slot_link(vm, false);
	traffic_await_carrier(vm, "ixy0", false);
	slot_link(vm, true);
	traffic_await_carrier(vm, "ixy0", true);
	tapd_down(vm, ".resets == 0");
	unplug(vm);
}

static void too_few_interrupts_are_done_without(void **state)
{
	static const struct slot_nic nic = {
		.kind = SLOT_MODERN, .translated = true, .properties = "vectors=0"};
	struct vm *vm = *state;

	plug(vm, &nic);
	tapd_up(vm, "");
	traffic_pings(vm);
	traffic_file_of(vm, 2);
	tapd_down(vm, ".resets == 0");
	unplug(vm);
}

static void a_user_without_any_capability_runs_it(void **state)
{
	static const char *const kernels[] = {"--kernel tap", "--kernel vhost"};
	struct vm *vm = *state;

	plug_for(vm, &modern, "--user " TAPD_USER);
	vm_ok(vm, "ip tuntap add ixy0 mode tap user " TAPD_USER " && chmod 666 /dev/vhost-net");
	for (unsigned i = 0; i < 2; i++) {
		tapd_up_behind(vm, TAPD_AS_USER, kernels[i]);
		tapd_assert_unprivileged(vm);
		traffic_pings(vm);
		traffic_sizes(vm);
		traffic_file_of(vm, 2);
		tapd_down(vm, ".resets == 0");
	}
	vm_ok(vm, "ip link del ixy0 && chmod 600 /dev/vhost-net");
	unplug(vm);
}

/* --- what goes wrong -------------------------------------------------------------------------------------- */

static void a_function_whose_dma_goes_past_the_iommu_is_refused(void **state)
{
	static const struct slot_nic nics[] = {{.kind = SLOT_MODERN}, {.kind = SLOT_LEGACY}};
	struct vm *vm = *state;

	for (unsigned i = 0; i < 2; i++) {
		plug(vm, &nics[i]);
		tapd_refuses(vm, "", SLOT_NIC " ixy0", TAPD_DEVICE, "iommu_platform=on");
		assert_non_null(strstr(vm->output, "--iova pa"));
		/* The way out that it names. */
		tapd_up(vm, "--iova pa");
		traffic_pings(vm);
		traffic_file_of(vm, 2);
		tapd_down(vm, ".resets == 0");
		tapd_up(vm, "--iova pa --kernel vhost");
		traffic_pings(vm);
		traffic_file_of(vm, 2);
		tapd_down(vm, ".resets == 0");
		unplug(vm);
	}
}

static void a_function_reset_under_traffic_is_recovered_from(void **state)
{
	struct vm *vm = *state;

	plug(vm, &modern_4);
	tapd_up(vm, "--queues 4");
	traffic_begin_flood(vm, "ixy0");
	vm_ok(vm, "echo 1 >" FUNCTION "/reset");
	traffic_await_recovery(vm);
	traffic_end_flood(vm);
	traffic_pings(vm);
	traffic_file_of(vm, 2);
	tapd_down(vm, ".resets >= 1");
	unplug(vm);
}

static void a_killed_daemon_leaves_a_function_that_the_next_one_takes(void **state)
{
	struct vm *vm = *state;

	plug(vm, &modern_4);
	for (unsigned i = 0; i < 2; i++) {
		tapd_up(vm, i ? "" : "--queues 4");
		traffic_begin_flood(vm, "ixy0");
		tapd_kill(vm);
		traffic_end_flood(vm);
	}
	tapd_up(vm, "");
	traffic_pings(vm);
	traffic_file_of(vm, 2);
	tapd_down(vm, ".resets == 0");
	unplug(vm);
}

static void unplugged_under_traffic_it_ends_and_the_next_function_is_taken(void **state)
{
	static const char *const options[] = {"--queues 4", "--queues 4 --kernel vhost"};
	struct vm *vm = *state;

	for (unsigned i = 0; i < 2; i++) {
		plug(vm, &modern_4);
		tapd_up(vm, options[i]);
		traffic_pings(vm);
		traffic_begin_flood(vm, "ixy0");
		slot_eject(vm);
		tapd_await_end(vm, TAPD_DEVICE);
		tapd_assert_said(vm, SLOT_NIC ": the device has to go");
		slot_await_empty(vm);
		traffic_end_flood(vm);
		vm_ok(vm, "! test -e " FUNCTION);
		vm_assert_no_violation(vm);
	}
}

/* --- the IOMMU bites -------------------------------------------------------------------------------------- */

/* QEMU's function goes on with an empty buffer in place of the memory that it was refused. */
static void dma_outside_of_the_map_is_refused(void **state)
{
	struct vm *vm = *state;

	plug(vm, &modern);
	vm_ok(vm, "dmesg --clear; %s " SLOT_NIC, rig_program("vm/guest_stray"));
	assert_true(vm_excuse_iommu_faults(vm) > 0);
	assert_non_null(strstr(process_stderr(vm->qemu), "detected translation failure (dev=01:00:00"));
	vm_ok(vm, "dmesg | grep 'DMAR.*[Ff]ault' && dmesg --clear");
	/* The next user is not touched by that. */
	tapd_up(vm, "");
	traffic_pings(vm);
	tapd_down(vm, ".resets == 0");
	unplug(vm);
}

static void everything_ends_without_another_violation(void **state)
{
	vm_finish(*state);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		VM_TEST(the_kernels_driver_works_behind_the_iommu),
		VM_TEST(all_traffic_passes_in_the_programs_own_addresses),
		VM_TEST(all_traffic_passes_four_queues),
		VM_TEST(all_traffic_passes_vhost),
		VM_TEST(an_idle_queue_sleeps_until_an_interrupt_comes),
		VM_TEST(too_few_interrupts_are_done_without),
		VM_TEST(a_user_without_any_capability_runs_it),
		VM_TEST(a_function_whose_dma_goes_past_the_iommu_is_refused),
		VM_TEST(a_function_reset_under_traffic_is_recovered_from),
		VM_TEST(a_killed_daemon_leaves_a_function_that_the_next_one_takes),
		VM_TEST(unplugged_under_traffic_it_ends_and_the_next_function_is_taken),
		VM_TEST(dma_outside_of_the_map_is_refused),
		VM_TEST(everything_ends_without_another_violation),
	};

	return vm_main("ixy-tapd on a virtio function through VFIO", tests, boot);
}
