/*
 * What netlink and /proc tell of an interface, read in a namespace of the test's own; and sd_notify's datagram.
 */
#include <stdarg.h>
#include <setjmp.h>
#include <stddef.h>
#include <stdint.h>
#include <errno.h>
#include <stdlib.h>
#include <sys/un.h>
#include <cmocka.h>

#include "bridge/interface.h"
#include "bridge/notify.h"
#include "own_netns.h"

static bool have_netns;

static void a_multicast_list_is_read_for_one_interface(void **state)
{
	static const char text[] = "1    lo              1     0     333300000001\n"
				   "12   ixy0            1     0     01005e000001\n"
				   "2    other           1     0     01005e7f0001\n"
				   "12   ixy0            2     1     3333ff0a0b0c\n"
				   "12   ib0             1     0     00ff\n";
	struct ixy_mac groups[4] = {0};

	(void)state;
	assert_int_equal(interface_parse_multicast(text, 12, groups, 4), 2);
	assert_memory_equal(groups[0].addr, "\x01\x00\x5e\x00\x00\x01", 6);
	assert_memory_equal(groups[1].addr, "\x33\x33\xff\x0a\x0b\x0c", 6);
	/* Too many for the room: said, and not written. */
	memset(groups, 0, sizeof(groups));
	assert_int_equal(interface_parse_multicast(text, 12, groups, 1), 2);
	assert_int_equal(groups[1].addr[0], 0);
	assert_int_equal(interface_parse_multicast(text, 3, groups, 4), 0);
	assert_int_equal(interface_parse_multicast("", 12, groups, 4), 0);
	assert_int_equal(interface_parse_multicast("12 ixy0 1 0 01005e000001", 12, groups, 4), 1);
	assert_int_equal(interface_parse_multicast("rubbish\n\n12\n", 12, groups, 4), 0);
}

static void an_unknown_interface_is_told_as_such(void **state)
{
	struct interface_state found;
	struct interface *interface;

	(void)state;
	if (!have_netns)
		skip();
	assert_int_equal(interface_lookup("nothing", &found), -ENODEV);
	assert_int_equal(interface_open("nothing", &interface), -ENODEV);
}

static void an_interface_is_described(void **state)
{
	struct interface_state found;

	(void)state;
	if (!have_netns)
		skip();
	assert_true(shell("ip tuntap add mode tap multi_queue name i0 && ip link set i0 up mtu 1400 address "
			  "02:11:22:33:44:55"));
	assert_int_equal(interface_lookup("i0", &found), 0);
	assert_string_equal(found.name, "i0");
	assert_int_equal(found.index, if_nametoindex("i0"));
	assert_true(found.up);
	assert_int_equal(found.mtu, 1400);
	assert_memory_equal(found.mac.addr, "\x02\x11\x22\x33\x44\x55", 6);
	assert_true(found.is_tap && found.tap_persistent && found.tap_multi_queue);
	assert_int_equal(found.tap_queues, 0);
	assert_false(found.promisc || found.allmulti);
	assert_int_equal(interface_lookup("lo", &found), 0);
	assert_false(found.is_tap);
	assert_true(shell("ip link del i0"));
}

static void a_change_is_noticed_and_only_ours(void **state)
{
	struct interface *interface;
	struct interface_state found;

	(void)state;
	if (!have_netns)
		skip();
	assert_true(shell("ip tuntap add mode tap name i0"));
	assert_int_equal(interface_open("i0", &interface), 0);
	interface_changed(interface);
	assert_true(shell("ip link set lo mtu 60000"));
	assert_true(readable(interface_fd(interface)));
	assert_false(interface_changed(interface));
	assert_true(shell("ip link set i0 mtu 1300"));
	assert_true(readable(interface_fd(interface)));
	assert_true(interface_changed(interface));
	assert_int_equal(interface_get(interface, &found), 0);
	assert_int_equal(found.mtu, 1300);
	assert_int_equal(interface_set_mtu(interface, 1200), 0);
	assert_int_equal(interface_get(interface, &found), 0);
	assert_int_equal(found.mtu, 1200);
	assert_true(interface_set_mtu(interface, 70000) < 0);
	assert_int_equal(interface_gro(interface, "i0"), 1);
	assert_true(shell("ethtool -K i0 gro off"));
	assert_true(interface_changed(interface));
	assert_int_equal(interface_gro(interface, "i0"), 0);
	assert_true(shell("ip link del i0"));
	assert_int_equal(interface_gro(interface, "i0"), -ENODEV);
	assert_int_equal(interface_get(interface, &found), -ENODEV);
	interface_close(interface);
}

static void the_service_manager_hears_us(void **state)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	char got[64];

	(void)state;
	/* An abstract socket, as systemd uses them in containers; and no socket at all, which is no error. */
	snprintf(address.sun_path + 1, sizeof(address.sun_path) - 1, "ixy-notify-%d", getpid());
	assert_int_equal(bind(fd, (struct sockaddr *)&address,
				 (socklen_t)(offsetof(struct sockaddr_un, sun_path) + 1 +
					     strlen(address.sun_path + 1))),
		0);
	address.sun_path[0] = '@';
	setenv("NOTIFY_SOCKET", address.sun_path, 1);
	notify("READY=1");
	assert_int_equal(recv(fd, got, sizeof(got), MSG_DONTWAIT), 7);
	assert_memory_equal(got, "READY=1", 7);
	unsetenv("NOTIFY_SOCKET");
	notify("STOPPING=1");
	assert_int_equal(recv(fd, got, sizeof(got), MSG_DONTWAIT), -1);
	close(fd);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_multicast_list_is_read_for_one_interface),
		cmocka_unit_test(an_unknown_interface_is_told_as_such),
		cmocka_unit_test(an_interface_is_described),
		cmocka_unit_test(a_change_is_noticed_and_only_ours),
		cmocka_unit_test(the_service_manager_hears_us),
	};

	have_netns = own_netns();
	return cmocka_run_group_tests_name("interface", tests, NULL, NULL);
}
