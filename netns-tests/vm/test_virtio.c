/*
 * ixy-tapd on QEMU's own virtio-net through sysfs: modern and legacy, with one and with several queues, and with what a
 * hypervisor may leave out. The kernel's own driver goes first on the same function: what passes there has to pass
 * here, and the frames on the wire have to be the same.
 */
#include <unistd.h>

#include "account.h"
#include "slot.h"
#include "tapd.h"
#include "traffic.h"

#define FUNCTION "/sys/bus/pci/devices/" SLOT_NIC
#define FRAMES   50 /* test frames sent at a filter */

static const struct slot_nic modern = {.kind = SLOT_MODERN}, legacy = {.kind = SLOT_LEGACY},
			     modern_4 = {.kind = SLOT_MODERN, .queues = 4},
			     legacy_4 = {.kind = SLOT_LEGACY, .queues = 4};

static int boot(void **state)
{
	static const struct vm_options options = {.slot = true};
	struct vm *vm;

	vm_boot_with(state, &options);
	vm = *state;
	vm_ok(vm, "modprobe -a tun vhost_net virtio_net");
	vm_huge_pages(vm, 100);
	return 0;
}

/* The slot is empty again, and nobody has done anything to the function that no driver may. */
static void unplug(struct vm *vm)
{
	slot_unplug(vm);
	vm_assert_no_violation(vm);
}

/* The function has been given back, and the kernel's driver finds it as usable as ever. */
static void assert_kernel_driver_works(struct vm *vm)
{
	vm_ok(vm, "readlink " FUNCTION "/driver | grep /virtio-pci$");
	traffic_set_up(vm, "eth0");
	traffic_pings(vm);
	vm_ok(vm, "ip addr flush dev eth0 && ip link set eth0 down");
}

/* --- the kernel's own driver ------------------------------------------------------------------------------ */

static void the_kernels_driver_passes_traffic_on_every_kind(void **state)
{
	static const struct slot_nic *const kinds[] = {&modern, &modern_4, &legacy, &legacy_4};
	struct vm *vm = *state;

	for (unsigned i = 0; i < 4; i++) {
		slot_plug(vm, kinds[i]);
		vm_ok(vm, "grep -x 0x%s " FUNCTION "/device",
			kinds[i]->kind == SLOT_MODERN ? "1041" : "1000");
		traffic_set_up(vm, "eth0");
		traffic_pings(vm);
		traffic_sizes(vm);
		traffic_jumbo_and_back(vm, "eth0");
		slot_link(vm, false);
		traffic_await_carrier(vm, "eth0", false);
		slot_link(vm, true);
		traffic_await_carrier(vm, "eth0", true);
		unplug(vm);
	}
}

/* What later tests compare with. */
static void the_kernels_driver_gives_an_account_of_its_frames(void **state)
{
	struct vm *vm = *state;

	slot_plug(vm, &modern_4);
	traffic_set_up(vm, "eth0");
	account_write(vm, "eth0", "stock");
	unplug(vm);
}

/* --- traffic ---------------------------------------------------------------------------------------------- */

static void all_traffic_passes(struct vm *vm, const struct slot_nic *nic, const char *options)
{
	unsigned queues = nic->queues ? nic->queues : 1;
	char text[160];

	slot_plug(vm, nic);
	snprintf(text, sizeof(text), "%s --queues %u", options, queues);
	tapd_up(vm, text);
	vm_ok(vm, "! test -e " FUNCTION "/driver && ! test -e /sys/class/net/eth0");
	traffic_all(vm, (struct traffic){.file_mib = 8, .jumbo = "ixy0", .vlan = "ixy0"});
	snprintf(text, sizeof(text),
		".resets == 0 and .rx.frames > 1000 and .tx.frames > 1000 and "
		"([.queues[] | select(.rx.frames > 0 and .tx.frames > 0)] | length) >= %u",
		queues > 1 ? 2 : 1);
	tapd_down(vm, text);
	assert_kernel_driver_works(vm);
	unplug(vm);
}

static void all_traffic_passes_a_modern_function(void **state)
{
	all_traffic_passes(*state, &modern, "");
}

static void all_traffic_passes_a_modern_function_with_four_queues(void **state)
{
	all_traffic_passes(*state, &modern_4, "");
}

static void all_traffic_passes_a_legacy_function(void **state)
{
	all_traffic_passes(*state, &legacy, "");
}

static void all_traffic_passes_a_legacy_function_with_four_queues(void **state)
{
	all_traffic_passes(*state, &legacy_4, "");
}

static void all_traffic_passes_a_modern_function_and_vhost(void **state)
{
	all_traffic_passes(*state, &modern_4, "--kernel vhost");
}

static void all_traffic_passes_a_legacy_function_and_vhost(void **state)
{
	all_traffic_passes(*state, &legacy, "--kernel vhost");
}

/* --- the same on the wire --------------------------------------------------------------------------------- */

static void frames_on_the_wire_are_those_of_the_kernels_driver(void **state)
{
	static const struct {
		const char *name, *options;
		const struct slot_nic *nic;
	} turns[] = {
		{"modern", "--queues 4", &modern_4},
		{"legacy", "", &legacy},
		{"vhost", "--kernel vhost --queues 4", &modern_4},
		{"no-offload", "--no-offload", &modern},
	};
	struct vm *vm = *state;

	for (unsigned i = 0; i < sizeof(turns) / sizeof(turns[0]); i++) {
		slot_plug(vm, turns[i].nic);
		tapd_up(vm, turns[i].options);
		account_write(vm, "ixy0", turns[i].name);
		tapd_down(vm, ".resets == 0");
		unplug(vm);
		account_compare("stock", turns[i].name);
	}
}

/* --- what a hypervisor may leave out, or add ---------------------------------------------------------------- */

static void some_traffic_passes(struct vm *vm, const struct slot_nic *nic)
{
	slot_plug(vm, nic);
	tapd_up(vm, "");
	traffic_pings(vm);
	vm_ok(vm, "ping -nqc2 -i0.02 -W5 -s 8000 %s", vm->rig->v4_peer);
	traffic_file_of(vm, 2);
	tapd_down(vm, ".resets == 0");
	unplug(vm);
}

static void a_modern_function_may_lack_any_feature(void **state)
{
	static const char *const properties[] = {
		"mrg_rxbuf=off",
		"event_idx=off,indirect_desc=off",
		"ctrl_vq=off",
		"status=off",
		SLOT_NO_OFFLOADS,
		"mrg_rxbuf=off,event_idx=off,indirect_desc=off,ctrl_vq=off,status=off," SLOT_NO_OFFLOADS,
	};

	for (unsigned i = 0; i < sizeof(properties) / sizeof(properties[0]); i++) {
		const struct slot_nic nic = {.kind = SLOT_MODERN, .properties = properties[i]};

		some_traffic_passes(*state, &nic);
	}
}

static void a_legacy_function_may_lack_any_feature(void **state)
{
	static const char *const properties[] = {
		"mrg_rxbuf=off",
		"any_layout=off",
		"mrg_rxbuf=off,any_layout=off,event_idx=off,indirect_desc=off,ctrl_vq=off,status="
		"off," SLOT_NO_OFFLOADS,
	};

	for (unsigned i = 0; i < sizeof(properties) / sizeof(properties[0]); i++) {
		const struct slot_nic nic = {.kind = SLOT_LEGACY, .properties = properties[i]};

		some_traffic_passes(*state, &nic);
	}
}

static void a_function_may_have_what_is_not_used(void **state)
{
	static const struct slot_nic nics[] = {
		{.kind = SLOT_TRANSITIONAL, .queues = 4},
		{.kind = SLOT_MODERN, .properties = "packed=on"},
		{.kind = SLOT_MODERN, .properties = "rx_queue_size=1024,page-per-vq=on"},
	};

	for (unsigned i = 0; i < sizeof(nics) / sizeof(nics[0]); i++)
		some_traffic_passes(*state, &nics[i]);
}

static void more_queues_than_the_function_has_are_refused(void **state)
{
	struct vm *vm = *state;

	slot_plug(vm, &modern_4);
	tapd_refuses(vm, "", "--queues 5 " SLOT_NIC " ixy0", TAPD_CONFIG, "4");
	assert_kernel_driver_works(vm);
	unplug(vm);
	slot_plug(vm, &legacy);
	tapd_refuses(vm, "", "--queues 2 " SLOT_NIC " ixy0", TAPD_CONFIG, "1");
	unplug(vm);
}

/* --- what the interface's user sets ------------------------------------------------------------------------- */

/* QEMU's description of the filters has this in it, sooner or later. */
#define assert_filter(vm, text) assert_soon(5, strstr(slot_filter(vm), text))

/* How many of FRAMES frames to this address the function hands to the guest. */
static uint64_t delivered(struct vm *vm, const uint8_t to[6])
{
	static const uint8_t from[6] = {0x02, 0, 0, 0, 0, 0x77};
	uint64_t before = tapd_count(vm, ".rx.frames");
	uint8_t frame[60];
	int fd = raw_open(vm->rig->peer, "p0");

	for (unsigned i = 0; i < FRAMES; i++) {
		frame_test(frame, sizeof(frame), to, from, i);
		raw_send(fd, frame, sizeof(frame));
	}
	close(fd);
	/* Behind them comes what is let in for sure. */
	command_ok(vm->rig->peer, "ping -nqc1 -W5 %s", vm->rig->v4_host);
	return tapd_count(vm, ".rx.frames") - before;
}

static void filters_follow_the_interface(struct vm *vm, const struct slot_nic *nic)
{
	static const uint8_t stranger[6] = {0x02, 0, 0, 0, 0, 0x55};
	static const uint8_t group[6] = {0x01, 0, 0x5E, 0x11, 0x22, 0x33};

	slot_plug(vm, nic);
	tapd_up(vm, "--multicast list");
	traffic_pings(vm);
	assert_filter(vm, "\"promiscuous\": false");
	assert_true(delivered(vm, stranger) < FRAMES);
	assert_true(delivered(vm, group) < FRAMES);

	vm_ok(vm, "ip maddr add 01:00:5e:11:22:33 dev ixy0");
	assert_filter(vm, "01:00:5e:11:22:33");
	assert_true(delivered(vm, group) >= FRAMES);
	vm_ok(vm, "ip maddr del 01:00:5e:11:22:33 dev ixy0");
	assert_soon(5, !strstr(slot_filter(vm), "01:00:5e:11:22:33"));

	vm_ok(vm, "ip link set ixy0 promisc on");
	assert_filter(vm, "\"promiscuous\": true");
	assert_true(delivered(vm, stranger) >= FRAMES);
	vm_ok(vm, "ip link set ixy0 promisc off");
	assert_filter(vm, "\"promiscuous\": false");
	assert_true(delivered(vm, stranger) < FRAMES);

	vm_ok(vm, "ip link set ixy0 address 02:00:00:00:00:55");
	assert_filter(vm, "\"main-mac\": \"02:00:00:00:00:55\"");
	command_ok(vm->rig->peer, "ip neigh flush dev p0");
	assert_true(delivered(vm, stranger) >= FRAMES);
	traffic_pings(vm);
	tapd_down(vm, ".resets == 0");
	unplug(vm);
}

static void filters_follow_the_interface_on_both_kinds(void **state)
{
	filters_follow_the_interface(*state, &modern);
	filters_follow_the_interface(*state, &legacy);
}

static void the_longest_mtu_is_the_functions(void **state)
{
	static const struct slot_nic nic = {.kind = SLOT_MODERN, .properties = "host_mtu=3000"};
	struct vm *vm = *state;

	slot_plug(vm, &nic);
	traffic_cable_mtu(vm, 3000);
	tapd_up(vm, "");
	vm_ok(vm,
		"ip link set ixy0 mtu 9000; until ip link show ixy0 | grep 'mtu 3000 '; do sleep 0.05; done");
	tapd_assert_said(vm, "3000");
	vm_ok(vm, "ping -nqc3 -i0.02 -W5 -M do -s 2972 %s", vm->rig->v4_peer);
	command_ok(vm->rig->peer, "ping -nqc3 -i0.02 -W5 -M do -s 2972 %s", vm->rig->v4_host);
	tapd_down(vm, ".resets == 0");
	traffic_cable_mtu(vm, 1500);
	unplug(vm);
}

static void carrier_follows_the_link(void **state)
{
	static const struct slot_nic *const nics[] = {&modern, &legacy};
	struct vm *vm = *state;

	for (unsigned i = 0; i < 2; i++) {
		slot_plug(vm, nics[i]);
		tapd_up(vm, "");
		for (unsigned turn = 0; turn < 2; turn++) {
			traffic_begin_flood(vm, "ixy0");
			slot_link(vm, false);
			traffic_await_carrier(vm, "ixy0", false);
			slot_link(vm, true);
			traffic_await_carrier(vm, "ixy0", true);
			traffic_end_flood(vm);
			traffic_pings(vm);
		}
		/* Down by its own user, frames stay out. */
		vm_ok(vm, "ip link set ixy0 down && ! ping -nqc1 -W1 %s && ip link set ixy0 up",
			vm->rig->v4_peer);
		traffic_set_up(vm, "ixy0");
		traffic_pings(vm);
		tapd_down(vm, ".resets == 0 and .link.changes >= 4");
		unplug(vm);
	}
}

/* --- what goes wrong ---------------------------------------------------------------------------------------- */

static void an_interface_in_use_is_taken_only_by_force(void **state)
{
	struct vm *vm = *state;

	slot_plug(vm, &modern);
	traffic_set_up(vm, "eth0");
	tapd_refuses(vm, "", SLOT_NIC " ixy0", TAPD_DEVICE, "is the live interface eth0");
	traffic_pings(vm);
	tapd_up(vm, "--force");
	traffic_pings(vm);
	tapd_down(vm, ".resets == 0");
	assert_kernel_driver_works(vm);
	unplug(vm);
}

static void a_killed_daemon_leaves_a_function_that_the_next_one_takes(void **state)
{
	static const struct slot_nic *const nics[] = {&modern_4, &legacy};
	struct vm *vm = *state;

	for (unsigned i = 0; i < 2; i++) {
		slot_plug(vm, nics[i]);
		tapd_up(vm, nics[i]->queues ? "--queues 4" : "");
		traffic_begin_flood(vm, "ixy0");
		tapd_kill(vm);
		traffic_end_flood(vm);
		tapd_up(vm, "");
		traffic_pings(vm);
		traffic_file_of(vm, 2);
		tapd_down(vm, ".resets == 0");
		unplug(vm);
	}
}

static void a_function_reset_under_traffic_is_recovered_from(void **state)
{
	static const struct slot_nic *const nics[] = {&modern_4, &legacy};
	struct vm *vm = *state;

	for (unsigned i = 0; i < 2; i++) {
		slot_plug(vm, nics[i]);
		tapd_up(vm, nics[i]->queues ? "--queues 4" : "");
		traffic_begin_flood(vm, "ixy0");
		vm_ok(vm, "echo 1 >" FUNCTION "/reset");
		traffic_await_recovery(vm);
		traffic_end_flood(vm);
		traffic_pings(vm);
		traffic_file_of(vm, 2);
		tapd_down(vm, ".resets >= 1");
		unplug(vm);
	}
}

/*
 * By other hands queue 1 is given a descriptor table where there is no memory (virtio 1.2, 4.1.4.3; QEMU has these
 * registers at the beginning of BAR 4). The device finds that out and says that it needs a reset.
 */
static void a_function_that_needs_a_reset_gets_it(void **state)
{
	struct vm *vm = *state;

	slot_plug(vm, &modern);
	tapd_up(vm, "");
	traffic_pings(vm);
	vm_ok(vm, "bar=$(awk 'NR == 5 { print $1 }' " FUNCTION "/resource)\n"
		  "register() { busybox devmem $((bar + $1)) $2 $3; }\n"
		  "register 0x16 16 1 && register 0x20 32 0 && register 0x24 32 0x70 && register 0x1C 16 1");
	traffic_await_recovery(vm);
	tapd_assert_said(vm, "needs a reset");
	traffic_pings(vm);
	traffic_file_of(vm, 2);
	tapd_down(vm, ".resets >= 1");
	assert_true(vm_excuse_iommu_faults(vm) > 0);
	unplug(vm);
}

static void unplugged_under_traffic_it_ends_and_the_next_function_is_taken(void **state)
{
	static const struct slot_nic *const nics[] = {&modern_4, &legacy, &modern};
	struct vm *vm = *state;

	for (unsigned i = 0; i < 3; i++) {
		slot_plug(vm, nics[i]);
		tapd_up(vm, nics[i]->queues ? "--queues 4" : "");
		traffic_pings(vm);
		traffic_begin_flood(vm, "ixy0");
		slot_eject(vm);
		tapd_await_end(vm, TAPD_DEVICE);
		tapd_assert_said(vm, SLOT_NIC ": the device was removed");
		slot_await_empty(vm);
		traffic_end_flood(vm);
		vm_ok(vm, "! test -e " FUNCTION);
		vm_assert_no_violation(vm);
	}
}

static void everything_ends_without_a_violation(void **state)
{
	vm_finish(*state);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		VM_TEST(the_kernels_driver_passes_traffic_on_every_kind),
		VM_TEST(the_kernels_driver_gives_an_account_of_its_frames),
		VM_TEST(all_traffic_passes_a_modern_function),
		VM_TEST(all_traffic_passes_a_modern_function_with_four_queues),
		VM_TEST(all_traffic_passes_a_legacy_function),
		VM_TEST(all_traffic_passes_a_legacy_function_with_four_queues),
		VM_TEST(all_traffic_passes_a_modern_function_and_vhost),
		VM_TEST(all_traffic_passes_a_legacy_function_and_vhost),
		VM_TEST(frames_on_the_wire_are_those_of_the_kernels_driver),
		VM_TEST(a_modern_function_may_lack_any_feature),
		VM_TEST(a_legacy_function_may_lack_any_feature),
		VM_TEST(a_function_may_have_what_is_not_used),
		VM_TEST(more_queues_than_the_function_has_are_refused),
		VM_TEST(filters_follow_the_interface_on_both_kinds),
		VM_TEST(the_longest_mtu_is_the_functions),
		VM_TEST(carrier_follows_the_link),
		VM_TEST(an_interface_in_use_is_taken_only_by_force),
		VM_TEST(a_killed_daemon_leaves_a_function_that_the_next_one_takes),
		VM_TEST(a_function_reset_under_traffic_is_recovered_from),
		VM_TEST(a_function_that_needs_a_reset_gets_it),
		VM_TEST(unplugged_under_traffic_it_ends_and_the_next_function_is_taken),
		VM_TEST(everything_ends_without_a_violation),
	};

	return vm_main("ixy-tapd on a virtio function through sysfs", tests, boot);
}
