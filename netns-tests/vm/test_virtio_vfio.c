/*
 * ixy-tapd on QEMU's own virtio-net through VFIO, behind an IOMMU that enforces: what the daemon has not mapped, the
 * function cannot reach. With interrupts, which are remapped, and without any privilege.
 *
 * The function honours the IOMMU when it is told to (iommu_platform=on, which the driver sees as
 * VIRTIO_F_ACCESS_PLATFORM); without that its DMA goes past it, to physical addresses, and nobody but root may have it.
 */
#include <unistd.h>

#include "slot.h"
#include "tapd.h"
#include "traffic.h"

#define FUNCTION "/sys/bus/pci/devices/" SLOT_NIC
#define FILE_MIB 8

/* A user of the guest that nobody has heard of, without any capability. */
#define USER "54321"
#define AS_USER                                                                                 \
	"prlimit --memlock=134217728 setpriv --reuid=" USER " --regid=" USER " --clear-groups " \
	"--bounding-set=-all --inh-caps=-all --ambient-caps=-all --no-new-privs"

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
	vm_ok(vm, "modprobe -a tun vhost_net vfio-pci virtio_net && chmod 666 /dev/net/tun && "
		  "echo 48 >/proc/sys/vm/nr_hugepages && grep -x 48 /proc/sys/vm/nr_hugepages");
	return 0;
}

/* Into the slot, and to vfio-pci; for USER, or root only. */
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
	traffic_pings(vm);
	traffic_sizes(vm);
	traffic_streams(vm);
	traffic_file_of(vm, FILE_MIB);
	traffic_jumbo_and_back(vm, "ixy0");
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
	uint64_t ticks, sleeps, wakeups;

	plug(vm, &modern);
	tapd_up(vm, "");
	traffic_pings(vm);
	wakeups = tapd_count(vm, ".queues[0].wakeups");
	sleeps = tapd_count(vm, ".queues[0].sleeps");
	/* Without interrupts it would nap at least a thousand times a second. */
	ticks = vm_number(vm,
		"f=/proc/$(cat /run/tapd.pid)/stat; a=$(awk '{ print $14 + $15 }' $f); sleep 3; "
		"awk -v a=$a '{ print $14 + $15 - a }' $f");
	assert_in_range(tapd_count(vm, ".queues[0].sleeps") - sleeps, 0, 300);
	assert_in_range(ticks, 0, 3 * (uint64_t)sysconf(_SC_CLK_TCK) / 4);
	command_ok(vm->rig->peer, "ping -nqc20 -i0.05 -W5 %s", vm->rig->v4_host);
	assert_true(tapd_count(vm, ".queues[0].wakeups") >= wakeups + 20);
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

	plug_for(vm, &modern, "--user " USER);
	vm_ok(vm, "ip tuntap add ixy0 mode tap user " USER " && chmod 666 /dev/vhost-net");
	for (unsigned i = 0; i < 2; i++) {
		tapd_up_behind(vm, AS_USER, kernels[i]);
		vm_ok(vm, "! grep -E '^Cap(Inh|Prm|Eff|Bnd|Amb):.*[1-9a-f]' /proc/$(cat "
			  "/run/tapd.pid)/status && "
			  "grep '^Uid:.*" USER "' /proc/$(cat /run/tapd.pid)/status");
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

/* Frames pass again, sooner or later. */
static void await_recovery(struct vm *vm)
{
	vm_ok(vm, "i=0; until ping -nqc1 -W1 %s; do i=$((i + 1)); test $i -lt 15 || exit 1; done",
		vm->rig->v4_peer);
}

static void a_function_reset_under_traffic_is_recovered_from(void **state)
{
	struct vm *vm = *state;

	plug(vm, &modern_4);
	tapd_up(vm, "--queues 4");
	vm_ok(vm, "ping -nqf -w 60 %s >/dev/null 2>&1 & echo $! >/run/ping; sleep 0.5", vm->rig->v4_peer);
	vm_ok(vm, "echo 1 >" FUNCTION "/reset");
	await_recovery(vm);
	vm_ok(vm, "kill $(cat /run/ping)");
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
		vm_ok(vm, "ping -nqf -w 60 %s >/dev/null 2>&1 & echo $! >/run/ping; sleep 0.5",
			vm->rig->v4_peer);
		tapd_kill(vm);
		vm_ok(vm, "kill $(cat /run/ping)");
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
		vm_ok(vm, "ping -nqf -w 60 %s >/dev/null 2>&1 & echo $! >/run/ping; sleep 0.5",
			vm->rig->v4_peer);
		slot_eject(vm);
		tapd_await_end(vm, TAPD_DEVICE);
		tapd_assert_said(vm, SLOT_NIC ": the device has to go");
		slot_await_empty(vm);
		vm_ok(vm, "kill $(cat /run/ping); ! test -e " FUNCTION);
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
