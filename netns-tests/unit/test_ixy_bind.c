/*
 * The script ixy-bind: what it shows, what it changes and changes back, and what it refuses.
 */
#include "bind_rig.h"

/* --- show ------------------------------------------------------------------------------------------------ */

static void the_table_has_a_line_for_each_network_card_and_for_nothing_else(void **state)
{
	(void)state;
	set_up(NIC, "nic0");
	sh("ip addr add 192.0.2.5/24 dev nic0 && ip route add default via 192.0.2.1 && echo 1 >" DEVICES NIC
	   "/numa_node");
	assert_ends(0, "show");
	assert_says("\n* 0000:03:00.0  8086:10fb  ixgbe   17     1     nic0       up 10G  default route, "
		    "192.0.2.5/24\n");
	assert_says("\n  0000:03:00.1  8086:1572  ixgbe   18     -     nic1       down\n");
	assert_says("* ixy-tapd can drive it");
	assert_null(strstr(output, DISK));
}

static void json_holds_what_the_table_shows(void **state)
{
	(void)state;
	set_up(NIC, "nic0");
	sh("ip addr add 192.0.2.5/24 dev nic0");
	assert_json("length == 2");
	assert_json(".[0] | .address == \"" NIC
		    "\" and .vendor == \"8086\" and .device == \"10fb\" and .supported");
	assert_json(".[0] | .driver == \"ixgbe\" and .driver_override == null and .name == null and "
		    ".numa_node == null");
	assert_json(".[0].iommu_group == {\"number\":17,\"type\":\"DMA\",\"shared_with\":[]}");
	assert_json(
		".[0].interfaces == [{\"ifname\":\"nic0\",\"up\":true,\"operstate\":\"up\",\"carrier\":true,"
		"\"speed\":10000,\"addresses\":[\"192.0.2.5/24\"]}]");
	assert_json(".[1] | (.supported | not) and .interfaces[0].up == false and .interfaces[0].carrier == "
		    "null");
}

static void a_machine_without_cards_has_an_empty_list(void **state)
{
	(void)state;
	sh("rm -r " DEVICES NIC " " DEVICES OTHER);
	assert_json(". == []");
	assert_ends(0, "show");
	assert_says("no network card");
}

static void names_come_from_lspci_and_are_quoted_for_json(void **state)
{
	char path[256];
	FILE *file = fopen(at(path, "bin/lspci"), "we");

	(void)state;
	assert_non_null(file);
	fputs("#!/bin/sh\necho '03:00.0 \"Ethernet controller\" \"Intel\" \"X520 \\ <$7>\" -r01'\n", file);
	fclose(file);
	assert_ends(0, "show");
	assert_says("\n    Intel X520 \\ <$7>\n");
	assert_json(".[0].name == \"Intel X520 \\\\ <$7>\"");
}

static void a_shared_group_and_an_interface_on_top_are_shown(void **state)
{
	(void)state;
	add_function("0000:03:00.2", "0c0300", "1234", "xhci_hcd", 17);
	set_up(NIC, "nic0");
	sh("ip link add nic0.7 type veth peer name nic0.8 && ip link set nic0.7 up && "
	   "ip addr add 192.0.2.9/24 dev nic0.7 && u=" DEVICES NIC "/net/nic0/upper_nic0.7 && mkdir $u && "
	   "echo 0x1003 >$u/flags");
	assert_ends(0, "show");
	assert_says(" 17+1 ");
	assert_says("192.0.2.9/24 on nic0.7");
	assert_json(".[0].iommu_group.shared_with == [\"0000:03:00.2\"]");
}

static void what_a_program_holds_is_shown_with_its_owner(void **state)
{
	(void)state;
	assert_ends(0, "vfio --user nobody " NIC);
	sh("exec 3<>dev/vfio/17; sleep 60 >/dev/null 2>&1 & echo $! >holder");
	assert_ends(0, "show");
	assert_says("/dev/vfio/17 of nobody, sleep (pid ");
	sh("kill $(cat holder)");
}

/* --- to vfio-pci and back -------------------------------------------------------------------------------- */

static void a_card_goes_to_vfio_pci_and_back(void **state)
{
	(void)state;
	assert_ends(0, "vfio " NIC);
	assert_says(NIC ": vfio-pci (was ixgbe)");
	assert_string_equal(driver_of(NIC), "vfio-pci");
	assert_string_equal(line_of(DEVICES NIC "/driver_override"), "vfio-pci");
	assert_string_equal(driver_of(OTHER), "ixgbe");
	assert_ends(0, "vfio " NIC); /* once more changes nothing */
	assert_ends(0, "kernel " NIC);
	assert_says(NIC ": ixgbe (was vfio-pci)");
	assert_string_equal(driver_of(NIC), "ixgbe");
	assert_string_equal(line_of(DEVICES NIC "/driver_override"), "");
	assert_ends(0, "kernel " NIC);
	assert_says(NIC ": ixgbe has it");
}

static void addresses_may_be_short_in_capitals_and_twice(void **state)
{
	(void)state;
	sh("mv " DEVICES NIC " " DEVICES "0000:0a:00.0 && mv " GROUPS "17/devices/" NIC " " GROUPS
	   "17/devices/0000:0a:00.0");
	assert_ends(0, "vfio 0A:00.0 0000:0a:00.0 03:00.1");
	assert_string_equal(driver_of("0000:0a:00.0"), "vfio-pci");
	assert_string_equal(driver_of(OTHER), "vfio-pci");
}

static void the_user_gets_the_group_and_is_told_about_locked_memory(void **state)
{
	char path[256];
	struct stat stat_of;

	(void)state;
	assert_ends(0, "vfio --user nobody " NIC);
	assert_says("\nnobody - memlock unlimited\n");
	assert_int_equal(stat(at(path, "dev/vfio/17"), &stat_of), 0);
	assert_int_equal(stat_of.st_uid, 65534);
}

static void an_unknown_user_is_refused_before_anything_is_changed(void **state)
{
	(void)state;
	assert_ends(1, "vfio --user nosuchuser " NIC);
	assert_says("nosuchuser: no such user");
	assert_untouched();
}

static void a_dry_run_prints_commands_and_does_nothing(void **state)
{
	(void)state;
	assert_ends(0, "vfio --dry-run --user nobody " NIC);
	assert_says("echo vfio-pci > ");
	assert_says("/devices/" NIC "/driver_override\n");
	assert_says("echo " NIC " > ");
	assert_says("/drivers/vfio-pci/bind\n");
	assert_says("chown nobody ");
	assert_untouched();
	/* The commands are good: run by hand they do it. */
	assert_ends(0, "vfio --dry-run " NIC " >%s/commands", root);
	sh("sh ./commands");
	assert_ends(0, "kernel --dry-run " NIC);
	assert_says("/drivers_probe\n");
	assert_string_equal(driver_of(NIC), "vfio-pci");
}

static void a_module_that_is_missing_is_loaded_or_named(void **state)
{
	(void)state;
	sh("mv " DRIVERS "vfio-pci vfio && printf '#!/bin/sh\\nmv %s/vfio %s/" DRIVERS
	   "vfio-pci\\n' >bin/modprobe",
		root, root);
	assert_ends(0, "vfio " NIC);
	assert_string_equal(driver_of(NIC), "vfio-pci");
	assert_ends(0, "kernel " NIC);
	sh("echo '(null)' >" DEVICES NIC "/driver_override && mv " DRIVERS
	   "vfio-pci vfio && printf '#!/bin/sh\\necho modprobe: FATAL: Module "
	   "vfio-pci not found >&2; exit 1\\n' >bin/modprobe");
	assert_ends(1, "vfio " NIC);
	assert_says("vfio-pci: cannot be loaded: Module vfio-pci not found");
	assert_untouched();
}

static void a_function_that_a_killed_daemon_left_goes_back_to_the_kernel(void **state)
{
	(void)state;
	sh("rm " DEVICES NIC "/driver && echo ixy-userspace >" DEVICES NIC "/driver_override");
	assert_ends(0, "show");
	assert_says("kept for ixy-userspace");
	assert_ends(0, "kernel " NIC);
	assert_string_equal(driver_of(NIC), "ixgbe");
}

/* --- refused --------------------------------------------------------------------------------------------- */

static void a_live_interface_is_refused_but_for_force(void **state)
{
	(void)state;
	set_up(NIC, "nic0");
	sh("ip addr add 192.0.2.5/24 dev nic0");
	assert_refused("nic0 is up with the address 192.0.2.5/24", "ip link set nic0 down");
	assert_ends(0, "vfio --force " NIC);
	assert_string_equal(driver_of(NIC), "vfio-pci");
}

static void an_interface_that_is_down_may_keep_its_address(void **state)
{
	(void)state;
	sh("ip addr add 192.0.2.5/24 dev nic0");
	assert_ends(0, "vfio " NIC);
}

static void the_default_route_is_refused(void **state)
{
	(void)state;
	set_up(NIC, "nic0");
	sh("ip route add default dev nic0");
	assert_refused("nic0 carries the default route", "--force");
}

static void the_ssh_connection_is_refused_by_either_end(void **state)
{
	(void)state;
	set_up(NIC, "nic0");
	sh("ip addr add 192.0.2.5/24 dev nic0 && ip route add 198.51.100.0/24 dev nic0");
	prefix = "SSH_CONNECTION='203.0.113.1 50000 192.0.2.5 22'";
	assert_refused("nic0 carries your ssh connection from 203.0.113.1", "--force");
	prefix = "SSH_CONNECTION='198.51.100.1 50000 192.0.2.77 22'";
	assert_refused("nic0 carries your ssh connection from 198.51.100.1", "--force");
	/* As sudo does it: only those that started it know. */
	prefix = "SSH_CONNECTION='203.0.113.1 50000 192.0.2.5 22' sh -c 'env -u SSH_CONNECTION \"$@\"; exit "
		 "$?' -";
	assert_refused("nic0 carries your ssh connection from 203.0.113.1", "--force");
	prefix = "";
}

static void a_port_of_a_bridge_that_is_up_is_refused(void **state)
{
	(void)state;
	sh("mkdir -p sys/net/br0 && echo 0x1003 >sys/net/br0/flags && ln -s "
	   "../../../../../../net/br0 " DEVICES NIC "/net/nic0/master");
	assert_refused("nic0 is a port of br0, which is up", "ip link set nic0 nomaster");
	sh("echo 0x1002 >sys/net/br0/flags");
	assert_ends(0, "vfio " NIC);
}

static void an_interface_on_top_is_refused(void **state)
{
	(void)state;
	set_up(NIC, "nic0");
	sh("ip link add nic0.7 type veth peer name nic0.8 && ip link set nic0.7 up && "
	   "ip addr add 192.0.2.9/24 dev nic0.7 && u=" DEVICES NIC "/net/nic0/upper_nic0.7 && mkdir $u && "
	   "echo 0x1003 >$u/flags");
	assert_refused("nic0.7 is up with the address 192.0.2.9/24", "ip link set nic0.7 down");
}

static void an_interface_in_another_namespace_is_refused(void **state)
{
	(void)state;
	sh("rmdir -p " DEVICES NIC "/net/nic0/* 2>/dev/null; rm -r " DEVICES NIC "/net/nic0");
	assert_refused("another network namespace", "--force");
	assert_json(".[0].interface_elsewhere");
}

static void without_an_iommu_the_kernels_option_is_named(void **state)
{
	(void)state;
	sh("rm " DEVICES NIC "/iommu_group");
	assert_refused("no IOMMU group", "_iommu=on");
	assert_says("ixy-tapd " NIC);
	assert_json(".[0].iommu_group == null");
}

static void a_group_that_is_not_viable_is_refused_with_all_that_is_in_it(void **state)
{
	(void)state;
	sh("rm " DEVICES OTHER "/iommu_group && ln -s ../../../../kernel/iommu_groups/17 " DEVICES OTHER
	   "/iommu_group && ln -s ../../../../bus/pci/devices/" OTHER " " GROUPS "17/devices/" OTHER);
	assert_refused(OTHER " (ixgbe)", "ixy-bind vfio " NIC " " OTHER);
	assert_ends(0, "vfio " OTHER " " NIC);
	assert_string_equal(driver_of(OTHER), "vfio-pci");
	assert_ends(0, "kernel " OTHER " " NIC);
	sh("echo '(null)' | tee " DEVICES NIC "/driver_override >" DEVICES OTHER "/driver_override");
	/* A bridge does no harm, a USB controller does. */
	add_function("0000:00:1c.0", "060400", "9d10", "pcieport", 17);
	add_function("0000:03:00.2", "0c0300", "1234", "xhci_hcd", 17);
	assert_refused(OTHER " (ixgbe), 0000:03:00.2 (xhci_hcd)", "another slot");
	assert_null(strstr(output, "pcieport"));
}

static void a_card_that_a_program_drives_is_refused(void **state)
{
	(void)state;
	sh("exec 3<>" DEVICES NIC "/config; sleep 60 >/dev/null 2>&1 & echo $! >holder");
	assert_refused("in use by sleep (pid ", "kill ");
	assert_ends(1, "vfio --force " NIC);
	assert_untouched();
	sh("kill $(cat holder)");
}

/*
 * While a program has the function by VFIO, the kernel does not finish an unbind. The link "driver" goes early all the
 * same, the write lasts, here for want of a reader, and no driver can have the function meanwhile. The kernel's part is
 * played by the sleep that ixy-bind waits with: at the third one the program lets go, if it does.
 */
static void hold_by_vfio(bool lets_go)
{
	sh("exec 3<>dev/vfio/17; sleep 60 >/dev/null 2>&1 & echo $! >holder");
	sh("rm " DRIVERS "vfio-pci/unbind && mkfifo " DRIVERS "vfio-pci/unbind && : >" UNBINDING);
	sh("printf '#!/bin/sh\ncd %s\necho >>slept\n"
	   "test ! -e " UNBINDING " || test $(wc -l <slept) -lt 2 || rm -f " DEVICES NIC "/driver\n"
	   "test $(wc -l <slept) -ne %d || { cat " DRIVERS "vfio-pci/unbind >unbound; rm " UNBINDING "; }\n"
	   "exec /bin/sleep 0.01\n' >bin/sleep && chmod 755 bin/sleep",
		root, lets_go ? 3 : 0);
}

static void a_program_that_has_it_by_vfio_is_asked_to_let_go_by_force(void **state)
{
	(void)state;
	assert_ends(0, "vfio " NIC);
	hold_by_vfio(true);
	assert_ends(1, "kernel " NIC);
	assert_says("in use by sleep (pid ");
	assert_says("end that first: kill ");
	assert_string_equal(driver_of(NIC), "vfio-pci");
	assert_string_equal(line_of(DEVICES NIC "/driver_override"), "vfio-pci");
	assert_ends(0, "kernel --force " NIC);
	assert_string_equal(line_of("unbound"), NIC);
	assert_string_equal(driver_of(NIC), "ixgbe");
	sh("kill $(cat holder)");
}

static void a_program_that_does_not_let_go_is_named_and_nothing_waits_for_it(void **state)
{
	(void)state;
	assert_ends(0, "vfio " NIC);
	hold_by_vfio(false);
	assert_ends(1, "kernel --force " NIC);
	assert_says("sleep (pid ");
	assert_says(") does not let go; as soon as that ends: ixy-bind kernel " NIC);
	assert_null(strstr(output, "as it was"));
	/* What writes there has to wait until the function is free: so nothing was put back. */
	assert_string_equal(line_of(DEVICES NIC "/driver_override"), "");
	sh("test \"$(cat " DRIVERS "vfio-pci/unbind)\" = " NIC " && rm " UNBINDING " && kill $(cat holder)");
	assert_ends(0, "kernel " NIC);
	assert_string_equal(driver_of(NIC), "ixgbe");
}

static void bad_addresses_and_options_are_named(void **state)
{
	static const char *const bad[] = {"''", "eth0", "3:00.0", "03:00", "03:00.8", "0000:03:00.0x",
		"000:03:00.0", "00000:03:00:0", "g000:03:00.0", "../03:00.0", "'*'", "../..", "../net"};

	(void)state;
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		assert_ends(2, "vfio %s", bad[i]);
		assert_says("is no PCI address like 0000:03:00.0");
	}
	assert_ends(2, "vfio nic0");
	assert_says("nic0 is an interface; its card's address is " NIC);
	assert_ends(NO_DEVICE, "vfio " NIC " 0000:05:00.0");
	assert_says("0000:05:00.0: no such PCI function");
	assert_ends(NO_DEVICE, "kernel 10000:e1:00.0");
	assert_ends(NO_DEVICE, "vfio " DISK);
	assert_says(DISK ": is no network card (PCI class 010802)");
	assert_ends(2, "vfio");
	assert_ends(2, "kernel --force");
	assert_ends(2, "vfio --user");
	assert_ends(2, "vfio --user= " NIC);
	assert_ends(2, "kernel --user nobody " NIC);
	assert_ends(2, "vfio --frobnicate " NIC);
	assert_ends(2, "frobnicate");
	assert_ends(2, "show " NIC);
	assert_ends(0, "--help");
	assert_untouched();
}

static void who_is_not_root_may_look_and_try_but_not_change(void **state)
{
	(void)state;
	prefix = "setpriv --reuid 65534 --regid 65534 --clear-groups";
	assert_ends(0, "show");
	assert_ends(0, "vfio --dry-run " NIC);
	assert_ends(NOT_ROOT, "vfio " NIC);
	assert_says("sudo ixy-bind vfio " NIC);
	prefix = "";
	assert_untouched();
}

/* --- half-way -------------------------------------------------------------------------------------------- */

static void when_vfio_pci_refuses_the_kernels_driver_has_it_again(void **state)
{
	(void)state;
	vfio_refuses = true;
	assert_ends(1, "vfio " NIC);
	assert_says(NIC ": vfio-pci cannot have it");
	assert_says("everything is again as it was");
	assert_string_equal(driver_of(NIC), "ixgbe");
	assert_string_equal(line_of(DEVICES NIC "/driver_override"), "");
}

static void when_the_second_card_fails_the_first_goes_back_too(void **state)
{
	(void)state;
	/* Its driver_override cannot be written. */
	sh("rm " DEVICES OTHER "/driver_override && mkdir " DEVICES OTHER "/driver_override");
	assert_ends(1, "vfio " NIC " " OTHER);
	assert_says(OTHER ": cannot set its driver_override: Is a directory");
	assert_string_equal(driver_of(NIC), "ixgbe");
	assert_string_equal(line_of(DEVICES NIC "/driver_override"), "");
	assert_string_equal(driver_of(OTHER), "ixgbe");
}

static void where_the_kernel_has_no_driver_it_stays_with_vfio_pci(void **state)
{
	(void)state;
	assert_ends(0, "vfio " NIC);
	no_ixgbe = true;
	assert_ends(1, "kernel " NIC);
	assert_says("no driver for it (8086:10fb)");
	assert_string_equal(driver_of(NIC), "vfio-pci");
	assert_string_equal(line_of(DEVICES NIC "/driver_override"), "vfio-pci");
	sh("grep -q 'pci:v00008086' modprobe.log");
}

static void a_signal_half_way_undoes_it(void **state)
{
	(void)state;
	vfio_refuses = true; /* so that it waits for vfio-pci to take it, */
	sh("rm bin/sleep");  /* and long enough */
	prefix = "sh -c '\"$@\" & while test -e $IXY_SYSFS/bus/pci/devices/" NIC
		 "/driver; do sleep 0.05; done; "
		 "kill -TERM $!; wait $!; exit $?' -";
	assert_ends(143, "vfio " NIC);
	assert_says("everything is again as it was");
	prefix = "";
	assert_string_equal(driver_of(NIC), "ixgbe");
	assert_string_equal(line_of(DEVICES NIC "/driver_override"), "");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
		TEST(the_table_has_a_line_for_each_network_card_and_for_nothing_else),
		TEST(json_holds_what_the_table_shows),
		TEST(a_machine_without_cards_has_an_empty_list),
		TEST(names_come_from_lspci_and_are_quoted_for_json),
		TEST(a_shared_group_and_an_interface_on_top_are_shown),
		TEST(what_a_program_holds_is_shown_with_its_owner),
		TEST(a_card_goes_to_vfio_pci_and_back),
		TEST(addresses_may_be_short_in_capitals_and_twice),
		TEST(the_user_gets_the_group_and_is_told_about_locked_memory),
		TEST(an_unknown_user_is_refused_before_anything_is_changed),
		TEST(a_dry_run_prints_commands_and_does_nothing),
		TEST(a_module_that_is_missing_is_loaded_or_named),
		TEST(a_function_that_a_killed_daemon_left_goes_back_to_the_kernel),
		TEST(a_live_interface_is_refused_but_for_force),
		TEST(an_interface_that_is_down_may_keep_its_address),
		TEST(the_default_route_is_refused),
		TEST(the_ssh_connection_is_refused_by_either_end),
		TEST(a_port_of_a_bridge_that_is_up_is_refused),
		TEST(an_interface_on_top_is_refused),
		TEST(an_interface_in_another_namespace_is_refused),
		TEST(without_an_iommu_the_kernels_option_is_named),
		TEST(a_group_that_is_not_viable_is_refused_with_all_that_is_in_it),
		TEST(a_card_that_a_program_drives_is_refused),
		TEST(a_program_that_has_it_by_vfio_is_asked_to_let_go_by_force),
		TEST(a_program_that_does_not_let_go_is_named_and_nothing_waits_for_it),
		TEST(bad_addresses_and_options_are_named),
		TEST(who_is_not_root_may_look_and_try_but_not_change),
		TEST(when_vfio_pci_refuses_the_kernels_driver_has_it_again),
		TEST(when_the_second_card_fails_the_first_goes_back_too),
		TEST(where_the_kernel_has_no_driver_it_stays_with_vfio_pci),
		TEST(a_signal_half_way_undoes_it),
	};

	if (access(SCRIPT, X_OK) < 0) {
		fprintf(stderr, "no " SCRIPT " here: run this in the project's own folder\n");
		return EXIT_FAILURE;
	}
	if (!own_netns()) {
		fprintf(stderr,
			"the tests of ixy-bind need root, for interfaces in a namespace of their own\n");
		return EXIT_FAILURE;
	}
	return cmocka_run_group_tests_name("ixy-bind", tests, make_model, remove_model);
}
