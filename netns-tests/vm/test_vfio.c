/*
 * ixy-tapd on a PCI function through VFIO, behind an IOMMU: with interrupts, in its own addresses, and without any
 * privilege. The software NIC translates its DMA by the guest's own tables, as an IOMMU does.
 */
#include "tapd.h"
#include "traffic.h"

#define FUNCTION "/sys/bus/pci/devices/" VM_NIC
#define CHIPSET  "0000:00:1f." /* of several functions */

/* Bind the NIC to a driver, whichever has it. "" leaves it without one. */
static void bind(struct vm *vm, const char *driver)
{
	vm_ok(vm,
		"cd " FUNCTION " && { ! test -e driver || echo " VM_NIC " >driver/unbind; } && "
		"echo '%s' >driver_override && { test -z '%s' || echo " VM_NIC
		" >/sys/bus/pci/drivers_probe; } && "
		"{ test -z '%s' || readlink driver | grep '/%s$'; }",
		driver, driver, driver, driver);
}

static int boot(void **state)
{
	static const struct vm_options options = {.iommu = true};
	struct vm *vm;

	vm_boot_with(state, &options);
	vm = *state;
	vm_ok(vm, "dmesg | grep -q 'DMAR: IOMMU enabled' && test -e " FUNCTION "/iommu_group");
	vm_ok(vm, "modprobe -a tun vhost_net && modprobe vfio_iommu_type1 allow_unsafe_interrupts=1 && "
		  "modprobe vfio-pci && "
		  "chmod 666 /dev/net/tun");
	vm_huge_pages(vm, 48);
	bind(vm, "vfio-pci");
	return 0;
}

/* --- traffic -------------------------------------------------------------------------------------------- */

static void all_traffic_passes_in_the_programs_own_addresses(void **state)
{
	struct vm *vm = *state;

	tapd_up(vm, "");
	traffic_all(vm, (struct traffic){0});
	tapd_down(vm, ".resets == 0 and .nic.crc_errors == 0 and .rx.frames > 1000 and .tx.frames > 1000");
	/* It is left to the driver that it was bound to, and not to the kernel's own. */
	vm_ok(vm, "readlink " FUNCTION "/driver | grep /vfio-pci$");
	vm_assert_no_violation(vm);
}

static void all_traffic_passes_vhost(void **state)
{
	struct vm *vm = *state;

	tapd_up(vm, "--kernel vhost --queues 2");
	vm_ok(vm, "cat /proc/[0-9]*/comm 2>/dev/null | grep -cx vhost-$(cat /run/tapd.pid) | grep -x 2");
	traffic_all(vm, (struct traffic){0});
	tapd_down(vm, ".resets == 0 and .rx.frames > 1000 and .tx.frames > 1000");
	vm_assert_no_violation(vm);
}

static void an_idle_queue_sleeps_until_an_interrupt_comes(void **state)
{
	struct vm *vm = *state;

	tapd_up(vm, "");
	traffic_pings(vm);
	tapd_assert_woken_by_interrupts(vm);
	tapd_down(vm, ".resets == 0");
	vm_assert_no_violation(vm);
}

static void with_poll_no_interrupt_is_needed(void **state)
{
	struct vm *vm = *state;

	tapd_up(vm, "--poll");
	traffic_pings(vm);
	traffic_file(vm);
	tapd_down(vm, ".resets == 0 and ([.queues[].sleeps] | add) == 0");
	vm_assert_no_violation(vm);
}

static void jumbo_frames_and_several_queues_pass(void **state)
{
	struct vm *vm = *state;

	traffic_cable_mtu(vm, 9000);
	tapd_up(vm, "--mtu 9000 --queues 2");
	traffic_pings(vm);
	traffic_jumbo(vm);
	/* Flows from many ports spread: both queues have their frames. */
	command_ok(vm->rig->peer,
		"for port in $(seq 20000 20063); do echo x | socat -u - UDP4-SENDTO:%s:9,sourceport=$port; "
		"done",
		vm->rig->v4_host);
	assert_true(tapd_count(vm, "[.queues[].rx.frames] | min") > 0);
	tapd_down(vm, ".resets == 0 and ([.queues[].wakeups] | min) > 0");
	traffic_cable_mtu(vm, 1500);
	vm_assert_no_violation(vm);
}

static void physical_addresses_work_too(void **state)
{
	struct vm *vm = *state;

	tapd_up(vm, "--iova pa");
	traffic_pings(vm);
	traffic_file(vm);
	tapd_down(vm, ".resets == 0");
	vm_assert_no_violation(vm);
}

static void without_huge_pages_ordinary_ones_do(void **state)
{
	struct vm *vm = *state;

	vm_huge_pages(vm, 0);
	tapd_up(vm, "");
	tapd_assert_said(vm, "no free huge pages");
	traffic_pings(vm);
	traffic_file(vm);
	tapd_down(vm, ".resets == 0");
	/* Physical addresses are another matter. */
	tapd_refuses(vm, "", "--iova pa " VM_NIC " ixy0", TAPD_DEVICE, "huge pages");
	vm_huge_pages(vm, 48);
	vm_assert_no_violation(vm);
}

/* --- without privilege ---------------------------------------------------------------------------------- */

/* What root does once for a user. */
static void prepare_for_user(struct vm *vm, const char *kind)
{
	vm_ok(vm,
		"chown " TAPD_USER " /dev/vfio/$(basename $(readlink " FUNCTION "/iommu_group)) && "
		"ip tuntap add ixy0 mode tap %s user " TAPD_USER,
		kind);
}

static void forget_user(struct vm *vm)
{
	vm_ok(vm, "chown root /dev/vfio/[0-9]* && ip link del ixy0");
}

/* How often the daemon has said this. */
static unsigned said_times(struct vm *vm, const char *words)
{
	const char *at = tapd_words(vm);
	unsigned n = 0;

	while ((at = strstr(at, words))) {
		at++;
		n++;
	}
	return n;
}

static void a_user_without_any_capability_runs_it(void **state)
{
	struct vm *vm = *state;

	prepare_for_user(vm, "");
	tapd_up_behind(vm, TAPD_AS_USER, "--mtu 4000");
	tapd_assert_unprivileged(vm);
	traffic_all(vm, (struct traffic){0});
	/* What takes CAP_NET_ADMIN is root's, and the daemon follows. */
	vm_ok(vm, "ip link set ixy0 mtu 9000 && ip link set ixy0 promisc on");
	assert_soon(10, strtoul(rig_ctl(vm->rig, "peek 0 4268"), NULL, 16) >> 16 == 9018);
	assert_soon(10, strtoul(rig_ctl(vm->rig, "peek 0 5080"), NULL, 16) & 0x200); /* FCTRL.UPE */
	vm_ok(vm, "ip link set ixy0 mtu 1500 && ip link set ixy0 promisc off");
	traffic_replug(vm, "ixy0");
	traffic_pings(vm);
	tapd_down(vm, ".resets == 0 and .mtu == 1500");
	/* Each thing that it could not do has been said, once. */
	assert_int_equal(said_times(vm, "CAP_NET_ADMIN"), 2);
	assert_int_equal(said_times(vm, "ethtool"), 1);
	assert_int_equal(said_times(vm, "ip link set ixy0 mtu 4000"), 1);
	vm_ok(vm, "ip link show ixy0 | grep NO-CARRIER");
	/* And once more, on the interface that has kept its addresses. */
	tapd_up_behind(vm, TAPD_AS_USER, "--poll");
	traffic_pings(vm);
	tapd_down(vm, ".resets == 0");
	forget_user(vm);
	vm_assert_no_violation(vm);
}

static void a_user_has_several_queues_where_the_tap_has_them(void **state)
{
	struct vm *vm = *state;
	const char *prefix = TAPD_AS_USER;

	prepare_for_user(vm, "");
	tapd_refuses(vm, prefix, "--queues 2 " VM_NIC " ixy0", TAPD_CONFIG,
		"multi_queue name ixy0 user " TAPD_USER);
	forget_user(vm);
	prepare_for_user(vm, "multi_queue");
	tapd_up_behind(vm, prefix, "--queues 2");
	traffic_pings(vm);
	traffic_file(vm);
	tapd_down(vm, ".resets == 0");
	forget_user(vm);
	vm_assert_no_violation(vm);
}

static void each_thing_that_a_user_lacks_is_named(void **state)
{
	struct vm *vm = *state;
	const char *enough = TAPD_AS_USER, *arguments = VM_NIC " ixy0";

	tapd_refuses(
		vm, enough, arguments, TAPD_PERMISSION, "ip tuntap add mode tap name ixy0 user " TAPD_USER);
	vm_ok(vm, "ip tuntap add ixy0 mode tap user 1");
	tapd_refuses(vm, enough, arguments, TAPD_PERMISSION, "not for this user");
	vm_ok(vm, "ip link del ixy0 && ip tuntap add ixy0 mode tap user " TAPD_USER);
	tapd_refuses(vm, enough, arguments, TAPD_PERMISSION, "/dev/vfio/");
	vm_ok(vm, "ip link del ixy0");

	prepare_for_user(vm, "");
	tapd_refuses(vm, "prlimit --memlock=1048576 " TAPD_DROP, arguments, TAPD_DEVICE, "RLIMIT_MEMLOCK");
	tapd_refuses(vm, enough, "--iova pa " VM_NIC " ixy0", TAPD_PERMISSION, "CAP_SYS_ADMIN");
	/* Nothing of all this is in the way of the next one. */
	tapd_up_behind(vm, enough, "");
	traffic_pings(vm);
	tapd_down(vm, ".resets == 0");
	forget_user(vm);
	vm_assert_no_violation(vm);
}

/* --- what goes wrong ------------------------------------------------------------------------------------ */

static void a_function_that_vfio_cannot_give_is_named(void **state)
{
	struct vm *vm = *state;

	/* Bound to no driver at all the way is through sysfs, where an IOMMU that translates is in it. */
	bind(vm, "");
	tapd_refuses(vm, "", VM_NIC " ixy0", TAPD_DEVICE, "IOMMU");
	bind(vm, "vfio-pci");

	/* Interrupts are not remapped here, and the module was told to allow that. */
	vm_ok(vm, "echo 0 >/sys/module/vfio_iommu_type1/parameters/allow_unsafe_interrupts");
	tapd_refuses(vm, "", VM_NIC " ixy0", TAPD_PERMISSION, "parameters/allow_unsafe_interrupts");
	vm_ok(vm, "echo 1 >/sys/module/vfio_iommu_type1/parameters/allow_unsafe_interrupts");

	/* The chipset's functions are one group: one with VFIO, another with a kernel driver. */
	vm_ok(vm, "modprobe ahci && cd /sys/bus/pci/devices && readlink " CHIPSET "2/driver | grep /ahci$ && "
		  "echo vfio-pci >" CHIPSET "3/driver_override && echo " CHIPSET
		  "3 >/sys/bus/pci/drivers_probe");
	tapd_refuses(vm, "", CHIPSET "3 ixy0", TAPD_DEVICE, "cannot be handed out while kernel drivers");
	assert_non_null(strstr(vm->output, CHIPSET "2"));
	vm_ok(vm, "echo " CHIPSET "3 >/sys/bus/pci/drivers/vfio-pci/unbind");

	/* Two programs: the first has it. */
	tapd_up(vm, "");
	tapd_refuses(vm, "", VM_NIC " ixy1", TAPD_DEVICE, "in use");
	traffic_pings(vm);
	tapd_down(vm, ".resets == 0");
	vm_assert_no_violation(vm);
}

static void a_killed_daemon_leaves_a_function_that_the_next_one_takes(void **state)
{
	struct vm *vm = *state;

	for (unsigned i = 0; i < 3; i++) {
		tapd_up(vm, i & 1 ? "--queues 2" : "");
		traffic_pings(vm);
		traffic_begin_flood(vm, "ixy0");
		tapd_kill(vm);
		traffic_end_flood(vm);
	}
	tapd_up(vm, "");
	traffic_pings(vm);
	tapd_down(vm, ".resets == 0");
	vm_assert_no_violation(vm);
}

static void a_function_reset_under_traffic_is_recovered_from(void **state)
{
	struct vm *vm = *state;

	tapd_up(vm, "");
	traffic_begin_flood(vm, "ixy0");
	vm_ok(vm, "echo 1 >" FUNCTION "/reset");
	traffic_await_recovery(vm);
	traffic_end_flood(vm);
	traffic_pings(vm);
	traffic_file(vm);
	tapd_down(vm, ".resets >= 1");
	vm_assert_no_violation(vm);
}

static void a_hanging_nic_is_reset_and_goes_on(void **state)
{
	struct vm *vm = *state;

	tapd_up(vm, "");
	rig_ctl(vm->rig, "fault 0 tx-hang on");
	vm_ok(vm, "ping -nqf -w 3 %s; true", vm->rig->v4_peer);
	traffic_await_recovery(vm);
	traffic_file(vm);
	tapd_down(vm, ".resets >= 1");
	vm_assert_no_violation(vm);
}

static void the_kernels_driver_works_behind_the_iommu_too(void **state)
{
	struct vm *vm = *state;

	vm_ok(vm, "modprobe ixgbe");
	bind(vm, "ixgbe");
	traffic_set_up(vm, "eth0");
	traffic_pings(vm);
	traffic_file(vm);
	tapd_refuses(vm, "", VM_NIC " ixy0", TAPD_DEVICE, "ixy-bind vfio " VM_NIC);
	traffic_pings(vm);
	bind(vm, "vfio-pci");
	vm_assert_no_violation(vm);
}

/* --- the IOMMU bites ------------------------------------------------------------------------------------ */

static void dma_outside_of_the_map_is_refused(void **state)
{
	struct vm *vm = *state;
	uint64_t before = rig_nic(vm->rig, "tx_frames");

	vm_ok(vm, "%s " VM_NIC, rig_program("vm/guest_stray"));
	assert_int_equal(vm_excuse_iommu_faults(vm), 1);
	assert_int_equal(rig_nic(vm->rig, "tx_frames"), before);
	/* The next user is not touched by that. */
	tapd_up(vm, "");
	traffic_pings(vm);
	tapd_down(vm, ".resets == 0");
	vm_assert_no_violation(vm);
}

static void everything_ends_without_another_violation(void **state)
{
	vm_finish(*state);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		VM_TEST(all_traffic_passes_in_the_programs_own_addresses),
		VM_TEST(all_traffic_passes_vhost),
		VM_TEST(an_idle_queue_sleeps_until_an_interrupt_comes),
		VM_TEST(with_poll_no_interrupt_is_needed),
		VM_TEST(jumbo_frames_and_several_queues_pass),
		VM_TEST(physical_addresses_work_too),
		VM_TEST(without_huge_pages_ordinary_ones_do),
		VM_TEST(a_user_without_any_capability_runs_it),
		VM_TEST(a_user_has_several_queues_where_the_tap_has_them),
		VM_TEST(each_thing_that_a_user_lacks_is_named),
		VM_TEST(a_function_that_vfio_cannot_give_is_named),
		VM_TEST(a_killed_daemon_leaves_a_function_that_the_next_one_takes),
		VM_TEST(a_function_reset_under_traffic_is_recovered_from),
		VM_TEST(a_hanging_nic_is_reset_and_goes_on),
		VM_TEST(the_kernels_driver_works_behind_the_iommu_too),
		VM_TEST(dma_outside_of_the_map_is_refused),
		VM_TEST(everything_ends_without_another_violation),
	};

	return vm_main("ixy-tapd on a PCI function through VFIO", tests, boot);
}
