/*
 * ixy-bind on a real PCI bus: the guest's, with an IOMMU, the software NIC and a stock kernel.
 */
#include <unistd.h>

#include "traffic.h"

#define EXIT_NO_DEVICE 69
#define EXIT_NOT_ROOT  77

static char *ixy_bind; /* its path, in the guest as here */

static int boot(void **state)
{
	/* The kernel's own driver is given physical addresses, as on a server that runs both kinds of driver. */
	const struct vm_options options = {.iommu = true, .append = "iommu=pt"};
	struct vm *vm;

	ixy_bind = realpath("contrib/ixy-bind", NULL);
	if (!ixy_bind)
		fail_msg("no contrib/ixy-bind here: run this in the project's own folder");
	vm_boot_with(state, &options);
	vm = *state;
	vm_ok(vm, "modprobe ixgbe");
	return 0;
}

/* --- asking it -------------------------------------------------------------------------------------------- */

static void assert_says(struct vm *vm, const char *text)
{
	if (!strstr(vm->output, text))
		fail_msg("does not say \"%s\" but:\n%s", text, vm->output);
}

static void assert_ends(struct vm *vm, int expected, const char *arguments)
{
	int status = vm_run(vm, COMMAND_SECONDS, "%s %s", ixy_bind, arguments);

	if (status != expected)
		fail_msg("ixy-bind %s ended with %d, not %d:\n%s", arguments, status, expected, vm->output);
}

/* What it says of the NIC in JSON satisfies the expression. */
static void assert_shows(struct vm *vm, const char *expression)
{
	if (vm_run(vm, COMMAND_SECONDS,
		    "%s -j >/run/show; jq -e '.[] | select(.address == \"" VM_NIC "\") | %s' /run/show || "
		    "{ cat /run/show; false; }",
		    ixy_bind, expression))
		fail_msg("not so: %s\n%s", expression, vm->output);
}

static void assert_driver(struct vm *vm, const char *driver)
{
	vm_ok(vm, "readlink /sys/bus/pci/devices/" VM_NIC "/driver | grep /%s$", driver);
}

/* The kernel's driver has the function, and it works. */
static void assert_kernel_driver_works(struct vm *vm)
{
	assert_driver(vm, "ixgbe");
	vm_ok(vm, "until test -e /sys/class/net/eth0; do sleep 0.1; done");
	traffic_set_up(vm, "eth0");
	traffic_pings(vm);
	vm_ok(vm, "ip addr flush dev eth0 && ip link set eth0 down");
}

/* --- tests ------------------------------------------------------------------------------------------------ */

static void the_card_is_shown_with_its_driver_group_and_link(void **state)
{
	struct vm *vm = *state;

	traffic_set_up(vm, "eth0");
	assert_ends(vm, 0, "");
	assert_says(vm, "\n* " VM_NIC "  8086:10fb  ixgbe ");
	assert_says(vm, " eth0 ");
	assert_says(vm, " up 10G ");
	assert_says(vm, vm->rig->v4_host);
	assert_shows(vm, ".supported and .driver == \"ixgbe\" and "
			 ".iommu_group.shared_with == [] and .iommu_group.type == \"identity\" and "
			 "(.interfaces[0] | .ifname == \"eth0\" and .up and .carrier and .speed == 10000)");
	/* Nothing but network cards. */
	vm_ok(vm, "jq -e length /run/show | grep -x $(grep -l ^0x02 /sys/bus/pci/devices/*/class | wc -l)");
	vm_ok(vm, "ip addr flush dev eth0 && ip link set eth0 down");
	assert_ends(vm, 0, "show");
	assert_says(vm, " eth0       down");
}

static void the_card_goes_to_vfio_pci_and_back_and_works(void **state)
{
	struct vm *vm = *state;

	/* The module is not loaded yet. */
	vm_ok(vm, "! test -e /sys/bus/pci/drivers/vfio-pci");
	for (unsigned i = 0; i < 2; i++) {
		assert_ends(vm, 0, "vfio " VM_NIC);
		assert_says(vm, VM_NIC ": vfio-pci (was ixgbe)");
		assert_driver(vm, "vfio-pci");
		vm_ok(vm, "! test -e /sys/class/net/eth0 && "
			  "test -c /dev/vfio/$(basename $(readlink /sys/bus/pci/devices/" VM_NIC
			  "/iommu_group))");
		assert_shows(vm, ".driver == \"vfio-pci\" and .interfaces == []");
		assert_ends(vm, 0, "kernel " VM_NIC);
		assert_says(vm, VM_NIC ": ixgbe (was vfio-pci)");
		assert_kernel_driver_works(vm);
	}
}

static void a_driver_that_is_not_loaded_is_loaded(void **state)
{
	struct vm *vm = *state;

	assert_ends(vm, 0, "vfio " VM_NIC);
	vm_ok(vm, "rmmod ixgbe");
	assert_ends(vm, 0, "kernel " VM_NIC);
	assert_driver(vm, "ixgbe");
}

static void a_live_interface_is_taken_only_by_force(void **state)
{
	struct vm *vm = *state;

	traffic_set_up(vm, "eth0");
	assert_ends(vm, 1, "vfio " VM_NIC);
	assert_says(vm, "its interface eth0 is up with the address ");
	assert_says(vm, "ip link set eth0 down");
	traffic_pings(vm);
	vm_ok(vm, "ip route add default via %s", vm->rig->v4_peer);
	assert_ends(vm, 1, "vfio " VM_NIC);
	assert_says(vm, "eth0 carries the default route");
	if (vm_run(vm, COMMAND_SECONDS, "SSH_CONNECTION='%s 50000 %s 22' %s vfio " VM_NIC, vm->rig->v4_peer,
		    vm->rig->v4_host, ixy_bind) != 1)
		fail_msg("the ssh connection does not matter: %s", vm->output);
	assert_says(vm, "eth0 carries your ssh connection from ");
	traffic_pings(vm);
	assert_ends(vm, 0, "vfio --force " VM_NIC);
	assert_driver(vm, "vfio-pci");
	assert_ends(vm, 0, "kernel " VM_NIC);
	assert_kernel_driver_works(vm);
}

static void interfaces_on_top_are_seen(void **state)
{
	struct vm *vm = *state;

	vm_ok(vm, "ip link set eth0 up && ip addr flush dev eth0 && sysctl -qw "
		  "net.ipv6.conf.eth0.disable_ipv6=1 && "
		  "modprobe 8021q && ip link add link eth0 name eth0.7 type vlan id 7 && ip link set eth0.7 "
		  "up && "
		  "ip addr add 198.51.100.1/24 dev eth0.7");
	assert_ends(vm, 1, "vfio " VM_NIC);
	assert_says(vm, "eth0.7 is up with the address ");
	vm_ok(vm, "ip link del eth0.7 && modprobe bridge && ip link add br0 type bridge && ip link set br0 "
		  "up && "
		  "ip link set eth0 master br0");
	assert_ends(vm, 1, "vfio " VM_NIC);
	assert_says(vm, "eth0 is a port of br0, which is up");
	vm_ok(vm, "ip link set eth0 nomaster && ip link del br0");
	vm_ok(vm, "ip netns add other && ip link set eth0 netns other");
	assert_ends(vm, 1, "vfio " VM_NIC);
	assert_says(vm, "its interface is in another network namespace");
	vm_ok(vm, "ip -n other link set eth0 netns 1 && ip netns del other && ip link set eth0 down && "
		  "sysctl -qw net.ipv6.conf.eth0.disable_ipv6=0");
	assert_ends(vm, 0, "vfio " VM_NIC);
	assert_ends(vm, 0, "kernel " VM_NIC);
	assert_driver(vm, "ixgbe");
}

static void the_user_can_open_the_group(void **state)
{
	static const char open_it[] =
		"setpriv --reuid nobody --regid nogroup --clear-groups sh -c 'exec 3<>/dev/vfio/$0' "
		"$(basename $(readlink /sys/bus/pci/devices/" VM_NIC "/iommu_group))";
	struct vm *vm = *state;

	assert_ends(vm, 0, "vfio " VM_NIC);
	assert_int_not_equal(vm_run(vm, COMMAND_SECONDS, "%s", open_it), 0);
	assert_ends(vm, 0, "vfio --user nobody " VM_NIC);
	assert_says(vm, "nobody - memlock unlimited");
	vm_ok(vm, "%s", open_it);
	assert_ends(vm, 0, "show");
	assert_says(vm, " of nobody");
	assert_ends(vm, 0, "kernel " VM_NIC);
	assert_ends(vm, 1, "vfio --user nosuchuser " VM_NIC);
	assert_says(vm, "no such user");
	assert_driver(vm, "ixgbe");
}

static void a_group_that_a_program_has_open_is_refused(void **state)
{
	struct vm *vm = *state;

	assert_ends(vm, 0, "vfio " VM_NIC);
	vm_ok(vm, "exec 3<>/dev/vfio/$(basename $(readlink /sys/bus/pci/devices/" VM_NIC
		  "/iommu_group)); sleep 600 >/dev/null 2>&1 & echo $! >/run/holder");
	assert_ends(vm, 1, "kernel " VM_NIC);
	assert_says(vm, "is in use by sleep (pid ");
	assert_driver(vm, "vfio-pci");
	assert_ends(vm, 0, "show");
	assert_says(vm, "sleep (pid ");
	vm_ok(vm, "kill $(cat /run/holder); while test -e /proc/$(cat /run/holder); do sleep 0.1; done");
	assert_ends(vm, 0, "kernel " VM_NIC);
	assert_driver(vm, "ixgbe");
}

static void bad_addresses_are_named_and_change_nothing(void **state)
{
	struct vm *vm = *state;

	assert_ends(vm, 2, "vfio eth0");
	assert_says(vm, "eth0 is an interface; its card's address is " VM_NIC);
	assert_ends(vm, 2, "vfio 04.0");
	assert_ends(vm, EXIT_NO_DEVICE, "vfio " VM_NIC " 0000:77:00.0");
	assert_says(vm, "0000:77:00.0: no such PCI function");
	assert_ends(vm, EXIT_NO_DEVICE, "vfio 00:00.0"); /* the host bridge */
	assert_says(vm, "is no network card");
	if (vm_run(vm, COMMAND_SECONDS,
		    "setpriv --reuid nobody --regid nogroup --clear-groups %s vfio " VM_NIC,
		    ixy_bind) != EXIT_NOT_ROOT)
		fail_msg("who is not root: %s", vm->output);
	assert_ends(vm, 0, "vfio --dry-run " VM_NIC);
	assert_driver(vm, "ixgbe");
}

static void everything_ends_without_a_violation(void **state)
{
	vm_finish(*state);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		VM_TEST(the_card_is_shown_with_its_driver_group_and_link),
		VM_TEST(the_card_goes_to_vfio_pci_and_back_and_works),
		VM_TEST(a_driver_that_is_not_loaded_is_loaded),
		VM_TEST(a_live_interface_is_taken_only_by_force),
		VM_TEST(interfaces_on_top_are_seen),
		VM_TEST(the_user_can_open_the_group),
		VM_TEST(a_group_that_a_program_has_open_is_refused),
		VM_TEST(bad_addresses_are_named_and_change_nothing),
		VM_TEST(everything_ends_without_a_violation),
	};

	return vm_main("ixy-bind on a PCI bus", tests, boot);
}
