/*
 * The PCI function goes, comes back, is reset or put to sleep, all by other hands than the daemon's, while frames
 * pass; once through sysfs and once through VFIO.
 *
 * The IOMMU lets the kernel's own users and sysfs pass (iommu=pt), as a server's administrator would have it who
 * wants both; and it translates 39 bits only, fewer than a program's addresses have.
 */
#include "tapd.h"
#include "traffic.h"

#define FUNCTION "/sys/bus/pci/devices/" VM_NIC

/* PMCSR, 16 bits: the power management capability of an 82599 is at 0x40 in config space. */
#define SLEEP_D3 "printf '\\003\\000' | dd of=" FUNCTION "/config bs=2 seek=34 conv=notrunc status=none"

static int boot(void **state)
{
	static const struct vm_options options = {.iommu = true, .address_bits = 39, .append = "iommu=pt"};
	struct vm *vm;

	vm_boot_with(state, &options);
	vm = *state;
	vm_ok(vm, "modprobe tun && modprobe vfio_iommu_type1 allow_unsafe_interrupts=1 && modprobe vfio-pci");
	vm_huge_pages(vm, 48);
	return 0;
}

/* How the daemon reaches the function: vfio-pci has it, or no driver. */
static void prepare(struct vm *vm, bool vfio)
{
	vm_ok(vm,
		"cd " FUNCTION " && { ! test -e driver || echo " VM_NIC " >driver/unbind; } && "
		"echo '%s' >driver_override && %s",
		vfio ? "vfio-pci" : "",
		vfio ? "echo " VM_NIC " >/sys/bus/pci/drivers_probe && readlink driver | grep /vfio-pci$"
		     : "true");
}

/* --- gone ----------------------------------------------------------------------------------------------- */

/*
 * Through sysfs nobody can stop the NIC any more, neither the kernel, which has no driver for it, nor the daemon,
 * which has lost its registers: it goes on with its rings. The IOMMU stops that. When the function is back, its
 * kernel's map lets the NIC write again, where other memory may be by then: until its next user has reset it, no
 * frame must come.
 */
static void remove_and_bring_back(struct vm *vm, bool vfio, bool traffic)
{
	prepare(vm, vfio);
	tapd_up(vm, "--queues 2");
	traffic_pings(vm);
	if (traffic)
		traffic_begin_flood(vm, "ixy0");
	vm_ok(vm, "echo 1 >" FUNCTION "/remove && ! test -e " FUNCTION);
	tapd_await_end(vm, TAPD_DEVICE);
	tapd_assert_said(vm, vfio ? VM_NIC ": the device has to go" : VM_NIC ": the device was removed");
	if (traffic)
		traffic_end_flood(vm);
	tapd_refuses(vm, "", VM_NIC " ixy0", TAPD_DEVICE, VM_NIC);

	rig_ctl(vm->rig, "link 0 out");
	if (!vfio)
		vm_excuse_iommu_faults(vm);
	vm_ok(vm, "echo 1 >/sys/bus/pci/rescan && test -e " FUNCTION);
	prepare(vm, vfio);
	tapd_launch(vm, "", "");
	rig_ctl(vm->rig, "link 0 in");
	traffic_set_up(vm, "ixy0");
	traffic_pings(vm);
	traffic_file(vm);
	tapd_down(vm, ".resets == 0");
	vm_assert_no_violation(vm);
}

static void removed_under_traffic_it_ends_and_comes_back_through_sysfs(void **state)
{
	remove_and_bring_back(*state, false, true);
}

static void removed_under_traffic_it_ends_and_comes_back_through_vfio(void **state)
{
	remove_and_bring_back(*state, true, true);
}

static void removed_when_idle_it_ends_too(void **state)
{
	remove_and_bring_back(*state, false, false);
	remove_and_bring_back(*state, true, false);
}

static void what_the_kernel_wants_back_from_vfio_it_gets(void **state)
{
	struct vm *vm = *state;

	/* Unbinding waits until the user has let go, and tells it to. */
	prepare(vm, true);
	tapd_up(vm, "");
	traffic_begin_flood(vm, "ixy0");
	vm_ok(vm, "echo " VM_NIC " >/sys/bus/pci/drivers/vfio-pci/unbind && ! test -e " FUNCTION "/driver");
	tapd_await_end(vm, TAPD_DEVICE);
	tapd_assert_said(vm, VM_NIC);
	traffic_end_flood(vm);
	vm_assert_no_violation(vm);
}

/* --- reset and sleep ------------------------------------------------------------------------------------ */

static void reset_is_recovered_from(struct vm *vm, bool vfio)
{
	prepare(vm, vfio);
	tapd_up(vm, "");
	traffic_begin_flood(vm, "ixy0");
	for (unsigned i = 1; i <= 3; i++) {
		vm_ok(vm, "echo 1 >" FUNCTION "/reset");
		traffic_await_recovery(vm);
		assert_true(tapd_count(vm, ".resets") >= i);
	}
	traffic_end_flood(vm);
	/* Nobody would miss anything in silence, but for the next frame. */
	vm_ok(vm, "echo 1 >" FUNCTION "/reset");
	traffic_await_recovery(vm);
	traffic_file(vm);
	tapd_down(vm, ".resets >= 4");
	vm_assert_no_violation(vm);
}

static void resets_by_other_hands_are_recovered_from(void **state)
{
	reset_is_recovered_from(*state, false);
	reset_is_recovered_from(*state, true);
}

static void sleep_is_recovered_from(struct vm *vm, bool vfio)
{
	prepare(vm, vfio);
	tapd_up(vm, "");
	traffic_begin_flood(vm, "ixy0");
	vm_ok(vm, SLEEP_D3);
	traffic_await_recovery(vm);
	tapd_assert_said(vm, "D3");
	traffic_end_flood(vm);
	vm_ok(vm, SLEEP_D3);
	traffic_await_recovery(vm);
	traffic_file(vm);
	tapd_down(vm, ".resets >= 2");
	vm_assert_no_violation(vm);
}

static void a_function_put_to_sleep_is_woken(void **state)
{
	sleep_is_recovered_from(*state, false);
	sleep_is_recovered_from(*state, true);
}

static void a_function_found_asleep_is_woken(void **state)
{
	struct vm *vm = *state;

	for (int vfio = 0; vfio < 2; vfio++) {
		prepare(vm, vfio);
		vm_ok(vm, SLEEP_D3);
		tapd_up(vm, "");
		traffic_pings(vm);
		tapd_down(vm, ".resets == 0");
	}
	vm_assert_no_violation(vm);
}

static void everything_ends_without_a_violation(void **state)
{
	vm_finish(*state);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		VM_TEST(removed_under_traffic_it_ends_and_comes_back_through_sysfs),
		VM_TEST(removed_under_traffic_it_ends_and_comes_back_through_vfio),
		VM_TEST(removed_when_idle_it_ends_too),
		VM_TEST(what_the_kernel_wants_back_from_vfio_it_gets),
		VM_TEST(resets_by_other_hands_are_recovered_from),
		VM_TEST(a_function_put_to_sleep_is_woken),
		VM_TEST(a_function_found_asleep_is_woken),
		VM_TEST(everything_ends_without_a_violation),
	};

	return vm_main("ixy-tapd on a PCI function that goes or sleeps", tests, boot);
}
