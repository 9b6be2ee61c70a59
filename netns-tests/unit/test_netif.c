/*
 * The interface below an AF_XDP device, on veth pairs in a namespace of the test's own: whose it is, what is
 * changed on it, and that all of it is put back.
 */
#include <stdarg.h>
#include <setjmp.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <unistd.h>
#include <sys/wait.h>
#include <cmocka.h>

#include "driver/xdp/netif.h"
#include "own_netns.h"

static int setup(void **state)
{
	(void)state;
	return shell("ip link add d0 type veth peer name p0 && ip link set p0 up && ip link set d0 up") ? 0
													: -1;
}

static int teardown(void **state)
{
	(void)state;
	shell("ip link del p0 2>/dev/null");
	return 0;
}

static struct netif *open_d0(void)
{
	struct netif *netif;

	if (netif_open("d0", false, &netif) < 0)
		fail_msg("%s", ixy_last_error());
	return netif;
}

static bool says(const char *what)
{
	return shell("ip -d -o link show d0 | grep -q '%s'", what);
}

/* --- whose it is ------------------------------------------------------------------------------------- */

static void what_is_no_ethernet_interface_is_refused(void **state)
{
	struct netif *netif;

	(void)state;
	assert_int_equal(netif_open("nosuch0", false, &netif), -ENODEV);
	assert_non_null(strstr(ixy_last_error(), "nosuch0"));
	assert_int_equal(netif_open("", false, &netif), -EINVAL);
	assert_int_equal(netif_open("sixteen-letters-", false, &netif), -EINVAL);
	assert_int_equal(netif_open("lo", false, &netif), -EINVAL);
}

static void an_interface_with_an_address_is_refused_unless_forced(void **state)
{
	static const char *const addresses[] = {"192.0.2.7/24", "2001:db8::7/64"};
	struct netif *netif;

	(void)state;
	assert_true(shell("echo 0 >/proc/sys/net/ipv6/conf/d0/disable_ipv6"));
	for (size_t i = 0; i < 2; i++) {
		assert_true(shell("ip addr add %s dev d0", addresses[i]));
		assert_int_equal(netif_open("d0", false, &netif), -EBUSY);
		assert_non_null(strstr(ixy_last_error(), i ? "2001:db8::7" : "192.0.2.7"));
		assert_non_null(strstr(ixy_last_error(), "--force"));
		assert_int_equal(netif_open("d0", true, &netif), 0);
		netif_close(netif);
		assert_true(shell("ip addr del %s dev d0", addresses[i]));
	}
	/* The kernel's own link-local address is nobody's wish. */
	assert_true(shell("ip -6 addr show dev d0 | grep -q fe80 || ip addr add fe80::7/64 dev d0"));
	netif_close(open_d0());
}

static void a_port_of_a_bridge_is_refused(void **state)
{
	struct netif *netif;

	(void)state;
	assert_true(shell("ip link add br0 type bridge && ip link set d0 master br0"));
	assert_int_equal(netif_open("d0", false, &netif), -EBUSY);
	assert_non_null(strstr(ixy_last_error(), "br0"));
	assert_non_null(strstr(ixy_last_error(), "nomaster"));
	assert_true(shell("ip link del br0"));
	netif_close(open_d0());
}

/* --- what is changed --------------------------------------------------------------------------------- */

static void an_interface_that_is_down_is_up_while_in_use(void **state)
{
	struct netif *netif;

	(void)state;
	assert_true(shell("ip link set d0 down"));
	netif = open_d0();
	assert_true(says(",UP"));
	netif_close(netif);
	assert_false(says(",UP"));
	assert_true(shell("ip link set d0 up"));
	netif = open_d0();
	assert_int_equal(netif_set_up(netif, false), 0);
	assert_false(says(",UP"));
	netif_close(netif);
	assert_true(says(",UP"));
}

static void the_mtu_is_put_back(void **state)
{
	struct netif *netif;

	(void)state;
	assert_true(shell("ip link set d0 mtu 2345"));
	netif = open_d0();
	assert_int_equal(netif->mtu, 2345);
	assert_int_equal(netif_set_mtu(netif, 9000), 0);
	assert_true(says("mtu 9000 "));
	assert_int_equal(netif_set_mtu(netif, 20), -EINVAL);
	assert_non_null(strstr(ixy_last_error(), "20"));
	assert_int_equal(netif->mtu, 9000);
	netif_close(netif);
	assert_true(says("mtu 2345 "));
}

static void filters_are_on_the_interface_for_as_long_as_it_is_open(void **state)
{
	static const struct ixy_mac one = {{0x02, 1, 2, 3, 4, 5}}, other = {{0x02, 1, 2, 3, 4, 6}};
	static const struct ixy_mac groups[] = {{{0x01, 0, 0x5e, 1, 2, 3}}, {{0x01, 0, 0x5e, 1, 2, 4}}};
	struct netif *netif = open_d0();

	(void)state;
	assert_int_equal(netif_set_promisc(netif, true), 0);
	assert_int_equal(netif_set_promisc(netif, true), 0);
	assert_true(says("promiscuity 1 "));
	assert_int_equal(netif_set_promisc(netif, false), 0);
	assert_true(says("promiscuity 0 "));
	assert_int_equal(netif_set_allmulti(netif, true), 0);
	assert_true(says("allmulti 1 "));
	assert_int_equal(netif_set_unicast(netif, &one, 1), 0);
	assert_true(shell("bridge fdb show dev d0 | grep -q 02:01:02:03:04:05"));
	assert_int_equal(netif_set_unicast(netif, &other, 1), 0);
	assert_false(shell("bridge fdb show dev d0 | grep -q 02:01:02:03:04:05"));
	assert_true(shell("bridge fdb show dev d0 | grep -q 02:01:02:03:04:06"));
	assert_int_equal(netif_set_multicast(netif, groups, 2), 0);
	assert_int_equal(netif_set_multicast(netif, groups + 1, 1), 0);
	assert_false(shell("ip maddr show dev d0 | grep -q 01:00:5e:01:02:03"));
	assert_true(shell("ip maddr show dev d0 | grep -q 01:00:5e:01:02:04"));
	netif_close(netif);
	assert_true(says("promiscuity 0 "));
	assert_true(says("allmulti 0 "));
	assert_false(shell("ip maddr show dev d0 | grep -q 01:00:5e:01:02:04"));
	assert_false(shell("bridge fdb show dev d0 | grep -q 02:01:02:03:04:06"));
}

static void a_killed_process_leaves_no_filter(void **state)
{
	int ready[2];
	char byte;
	pid_t child;

	(void)state;
	assert_int_equal(pipe(ready), 0);
	child = fork();
	if (child == 0) {
		struct netif *netif;

		if (netif_open("d0", false, &netif) == 0 && netif_set_promisc(netif, true) == 0 &&
			write(ready[1], "x", 1) == 1)
			pause();
		_exit(1);
	}
	assert_int_equal(read(ready[0], &byte, 1), 1);
	assert_true(says("promiscuity 1 "));
	kill(child, SIGKILL);
	assert_int_equal(waitpid(child, NULL, 0), child);
	assert_true(says("promiscuity 0 "));
	close(ready[0]);
	close(ready[1]);
}

/* --- what happens to it ------------------------------------------------------------------------------ */

/* Wait for an event after which the link is like this. */
static bool becomes(struct netif *netif, bool up)
{
	struct ixy_link link = {0};

	for (int i = 0; i < 20; i++) {
		struct pollfd p = {.fd = netif_event_fd(netif), .events = POLLIN};

		assert_int_equal(netif_state(netif, &link), 0);
		if (link.up == up)
			return true;
		if (poll(&p, 1, 5000) != 1)
			return false;
		netif_drain(netif);
	}
	return false;
}

static void the_link_follows_the_peer_and_wakes_who_waits(void **state)
{
	struct netif *netif = open_d0();
	struct ixy_link link;

	(void)state;
	assert_true(becomes(netif, true));
	assert_int_equal(netif_state(netif, &link), 0);
	assert_int_equal(link.speed, 10000); /* what a veth claims */
	assert_true(shell("ip link set p0 down"));
	assert_true(becomes(netif, false));
	assert_true(shell("ip link set p0 up"));
	assert_true(becomes(netif, true));
	netif_drain(netif);
	assert_int_equal(poll(&(struct pollfd){.fd = netif_event_fd(netif), .events = POLLIN}, 1, 0), 0);
	netif_close(netif);
}

static void a_renamed_interface_is_followed_and_a_deleted_one_has_gone(void **state)
{
	struct netif *netif = open_d0();
	struct ixy_link link;

	(void)state;
	assert_true(shell("ip link set d0 down && ip link set d0 name x0 && ip link set x0 up"));
	assert_int_equal(netif_set_mtu(netif, 1400), 0);
	assert_true(shell("ip link show x0 | grep -q 'mtu 1400 '"));
	assert_int_equal(netif_state(netif, &link), 0);
	assert_string_equal(netif->name, "x0");
	assert_true(shell("ip link del x0"));
	assert_int_equal(netif_state(netif, &link), -ENODEV);
	assert_int_equal(netif_set_promisc(netif, true), -ENODEV);
	netif_close(netif);
}

static void the_queues_in_use_are_told(void **state)
{
	struct netif *netif;

	(void)state;
	assert_true(
		shell("ip link del p0 && ip link add d0 numrxqueues 4 numtxqueues 4 type veth peer name p0"));
	assert_true(shell("ethtool -L d0 rx 3 tx 2"));
	netif = open_d0();
	assert_int_equal(netif->rx_channels, 3);
	assert_int_equal(netif->tx_channels, 2);
	netif_close(netif);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
	const struct CMUnitTest tests[] = {
		TEST(what_is_no_ethernet_interface_is_refused),
		TEST(an_interface_with_an_address_is_refused_unless_forced),
		TEST(a_port_of_a_bridge_is_refused),
		TEST(an_interface_that_is_down_is_up_while_in_use),
		TEST(the_mtu_is_put_back),
		TEST(filters_are_on_the_interface_for_as_long_as_it_is_open),
		TEST(a_killed_process_leaves_no_filter),
		TEST(the_link_follows_the_peer_and_wakes_who_waits),
		TEST(a_renamed_interface_is_followed_and_a_deleted_one_has_gone),
		TEST(the_queues_in_use_are_told),
	};

	if (!own_netns()) {
		puts("netif: skipped: network namespaces need root");
		return 0;
	}
	return cmocka_run_group_tests_name("netif", tests, NULL, NULL);
}
