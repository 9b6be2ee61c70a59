/*
 * The mirror between a real tap and a device that the test plays: what `ip link` does to the interface must reach
 * the device, and the device's link must show on the interface.
 */
#include <stdarg.h>
#include <setjmp.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <linux/if_packet.h>
#include <cmocka.h>

#include "bridge/log.h"
#include "bridge/mirror.h"
#include "fake_device.h"
#include "own_netns.h"

static struct fake_device fake;

struct fixture {
	struct ev_loop *loop;
	struct tap *tap;
	struct mirror *mirror;
	struct mirror_config config;
	int gone;
	int gro_switched; /* how often */
	bool gro;
	uint32_t tx_queue; /* as told last */
};

static void on_gone(void *arg)
{
	++((struct fixture *)arg)->gone;
}

static void on_gro(void *arg, bool on)
{
	struct fixture *f = arg;

	f->gro_switched++;
	f->gro = on;
}

static void on_tx_queue(void *arg, uint32_t frames)
{
	((struct fixture *)arg)->tx_queue = frames;
}

/* Let the mirror's loop run until the condition holds; at most three seconds, as some things are only polled. */
#define eventually(condition)                                                          \
	({                                                                             \
		bool holds = false;                                                    \
		for (int tries = 0; tries < 3000 && !(holds = (condition)); tries++) { \
			ev_run(f->loop, EVRUN_NOWAIT);                                 \
			usleep(1000);                                                  \
		}                                                                      \
		holds;                                                                 \
	})

static int setup(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));

	fake_device_init(&fake);
	f->loop = ev_loop_new(EVFLAG_AUTO);
	if (!f->loop || tap_open("m0", -1, 1, false, &f->tap))
		return -1;
	f->config = (struct mirror_config){
		.loop = f->loop,
		.dev = &fake.dev,
		.tap = f->tap,
		.ifname = "m0",
		.netns = -1,
		.gro_switched = on_gro,
		.tx_queue_changed = on_tx_queue,
		.interface_gone = on_gone,
		.arg = f,
	};
	*state = f;
	return 0;
}

static int teardown(void **state)
{
	struct fixture *f = *state;

	mirror_stop(f->mirror);
	tap_close(f->tap);
	ev_loop_destroy(f->loop);
	fake_device_close(&fake);
	free(f);
	return 0;
}

static void start(struct fixture *f)
{
	assert_int_equal(mirror_start(&f->config, &f->mirror), 0);
}

static void at_the_start_both_sides_agree(void **state)
{
	struct fixture *f = *state;

	f->config.mtu = 4000;
	fake.dev.mtu = 4000;
	start(f);
	assert_true(shell("ip link show m0 | grep -q 'mtu 4000'"));
	assert_true(shell("ip link show m0 | grep -q 02:00:00:00:00:01"));
	/* The interface is down, so the port is off; all multicast comes in unless told otherwise. */
	assert_false(fake.up);
	assert_true(fake.allmulti);
	assert_false(fake.promisc);
	assert_string_equal(mirror_ifname(f->mirror), "m0");
}

static void without_a_wish_the_device_takes_the_mtu_of_the_interface(void **state)
{
	struct fixture *f = *state;

	assert_true(shell("ip link set m0 mtu 3000"));
	start(f);
	assert_int_equal(fake.dev.mtu, 3000);
	assert_true(shell("ip link show m0 | grep -q 'mtu 3000'"));
}

static void gro_is_followed_and_told_once_a_change(void **state)
{
	struct fixture *f = *state;

	assert_true(shell("ethtool -K m0 gro off"));
	start(f);
	assert_int_equal(f->gro_switched, 1);
	assert_false(f->gro);
	assert_true(shell("ethtool -K m0 gro on"));
	assert_true(eventually(f->gro));
	/* Another name: the ioctl goes by it. */
	assert_true(shell("ip link set m0 name m1 && ethtool -K m1 gro off"));
	assert_true(eventually(!f->gro));
	assert_true(shell("ethtool -K m1 tx-vlan-offload off && ip link set m1 mtu 1400"));
	assert_true(eventually(fake.dev.mtu == 1400));
	assert_int_equal(f->gro_switched, 3);
}

static void gro_that_is_on_is_not_worth_a_word(void **state)
{
	struct fixture *f = *state;

	start(f);
	assert_int_equal(f->gro_switched, 0);
}

static void the_length_of_the_kernels_queue_is_followed(void **state)
{
	struct fixture *f = *state;

	assert_true(shell("ip link set m0 txqueuelen 300"));
	start(f);
	assert_int_equal(f->tx_queue, 300);
	assert_true(shell("ip link set m0 txqueuelen 20"));
	assert_true(eventually(f->tx_queue == 20));
}

static int mirror_as_nobody(void *arg)
{
	struct fixture *f = arg;

	f->config.mtu = 4000;
	if (mirror_start(&f->config, &f->mirror))
		return 1;
	fake.dev.link = (struct ixy_link){.up = true, .speed = 10000};
	mirror_link(f->mirror);
	return fake.dev.mtu == 3000 ? 0 : 2;
}

static void without_privilege_the_device_takes_the_mtu_that_the_interface_keeps(void **state)
{
	struct fixture *f = *state;

	assert_true(shell("ip link set m0 mtu 3000 up"));
	assert_int_equal(as_nobody(mirror_as_nobody, f), 0);
	assert_true(shell("ip link show m0 | grep -q 'mtu 3000'"));
	assert_true(shell("ip link show m0 | grep -q 02:00:00:00:00:01"));
	assert_true(shell("ip link show m0 | grep -q LOWER_UP"));
}

static void up_and_down_switch_the_port(void **state)
{
	struct fixture *f = *state;

	start(f);
	assert_true(shell("ip link set m0 up"));
	assert_true(eventually(fake.up));
	assert_true(shell("ip link set m0 down"));
	assert_true(eventually(!fake.up));
}

static void the_mtu_follows_and_is_set_back_where_the_nic_cannot(void **state)
{
	struct fixture *f = *state;

	start(f);
	assert_true(shell("ip link set m0 mtu 9000"));
	assert_true(eventually(fake.dev.mtu == 9000));
	assert_true(shell("ip link set m0 mtu 9710"));
	assert_true(eventually(fake.dev.mtu == 9710));
	assert_true(shell("ip link set m0 mtu 9711"));
	assert_true(eventually(shell("ip link show m0 | grep -q 'mtu 9710'")));
	assert_true(shell("ip link set m0 mtu 65521"));
	assert_true(eventually(shell("ip link show m0 | grep -q 'mtu 9710'")));
	assert_int_equal(fake.dev.mtu, 9710);
	/* One that the device refuses, for whatever reason, is set back to what it has. */
	fake.refuse = EIO;
	assert_true(shell("ip link set m0 mtu 2000"));
	assert_true(eventually(shell("ip link show m0 | grep -q 'mtu 9710'")));
}

static void the_mac_address_follows(void **state)
{
	static const uint8_t mac[] = {0x02, 0xaa, 0xbb, 0xcc, 0xdd, 0xee};
	struct fixture *f = *state;

	start(f);
	assert_int_equal(fake.macs, 0); /* it is the device's own, so it was not set */
	assert_true(shell("ip link set m0 address 02:aa:bb:cc:dd:ee"));
	assert_true(eventually(memcmp(fake.dev.mac.addr, mac, 6) == 0));
	assert_true(shell("ip link set m0 up && ip link set m0 address 02:aa:bb:cc:dd:ef"));
	assert_true(eventually(fake.dev.mac.addr[5] == 0xef));
	assert_int_equal(fake.macs, 2);
}

static void promiscuity_follows_whoever_wants_it(void **state)
{
	struct packet_mreq wish = {.mr_type = PACKET_MR_PROMISC};
	struct fixture *f = *state;
	int sniffer;

	start(f);
	assert_true(shell("ip link set m0 up promisc on"));
	assert_true(eventually(fake.promisc));
	assert_true(shell("ip link set m0 promisc off"));
	assert_true(eventually(!fake.promisc));
	/* A packet socket, as tcpdump has one, does not set the flag. */
	sniffer = packet_socket("m0");
	wish.mr_ifindex = (int)if_nametoindex("m0");
	assert_int_equal(setsockopt(sniffer, SOL_PACKET, PACKET_ADD_MEMBERSHIP, &wish, sizeof(wish)), 0);
	assert_true(eventually(fake.promisc));
	close(sniffer);
	assert_true(eventually(!fake.promisc));
}

static bool has_group(const char *text)
{
	struct ixy_mac mac;

	sscanf(text, "%hhx:%hhx:%hhx:%hhx:%hhx:%hhx", &mac.addr[0], &mac.addr[1], &mac.addr[2], &mac.addr[3],
		&mac.addr[4], &mac.addr[5]);
	for (size_t i = 0; i < fake.group_count; i++)
		if (memcmp(&fake.groups[i], &mac, sizeof(mac)) == 0)
			return true;
	return false;
}

static void with_a_list_the_device_gets_the_groups_that_are_joined(void **state)
{
	struct fixture *f = *state;

	f->config.multicast = MULTICAST_LIST;
	start(f);
	assert_false(fake.allmulti && fake.allmultis);
	assert_true(shell("ip link set m0 up"));
	assert_true(eventually(has_group("01:00:5e:00:00:01"))); /* all hosts */
	assert_true(shell("ip maddr add 01:00:5e:11:22:33 dev m0"));
	assert_true(eventually(has_group("01:00:5e:11:22:33")));
	assert_true(shell("ip maddr del 01:00:5e:11:22:33 dev m0"));
	assert_true(eventually(!has_group("01:00:5e:11:22:33")));
	assert_true(shell("ip link set m0 allmulticast on"));
	assert_true(eventually(fake.allmulti));
	assert_true(shell("ip link set m0 allmulticast off"));
	assert_true(eventually(!fake.allmulti));
}

static void the_link_shows_as_carrier_and_speed(void **state)
{
	struct fixture *f = *state;

	assert_true(shell("ip link set m0 up"));
	start(f);
	mirror_link(f->mirror);
	assert_true(shell("ip link show m0 | grep -q LOWER_UP"));
	assert_true(shell("ethtool m0 | grep -q 'Speed: 10000Mb/s'"));
	assert_true(shell("ethtool m0 | grep -q 'Duplex: Full'"));
	fake.dev.link = (struct ixy_link){false, 0};
	mirror_link(f->mirror);
	assert_true(shell("ip link show m0 | grep -q NO-CARRIER"));
	fake.dev.link = (struct ixy_link){true, 1000};
	mirror_link(f->mirror);
	assert_true(shell("ethtool m0 | grep -q 'Speed: 1000Mb/s'"));
	assert_true(shell("ip link show m0 | grep -q LOWER_UP"));
}

static void a_new_name_is_followed(void **state)
{
	struct fixture *f = *state;

	start(f);
	assert_true(shell("ip link set m0 name m7"));
	assert_true(eventually(strcmp(mirror_ifname(f->mirror), "m7") == 0));
	fake.dev.link.speed = 1000;
	mirror_link(f->mirror);
	assert_true(shell("ethtool m7 | grep -q 'Speed: 1000Mb/s'"));
}

static void a_move_to_another_namespace_is_followed(void **state)
{
	struct fixture *f = *state;
	char name[32];

	snprintf(name, sizeof(name), "ixy-unit-%d", getpid());
	assert_true(shell("ip netns add %s", name));
	start(f);
	mirror_link(f->mirror);
	assert_true(shell("ip link set m0 netns %s", name));
	assert_true(shell("ip -n %s link set m0 up mtu 2222", name));
	assert_true(eventually(fake.dev.mtu == 2222 && fake.up));
	assert_true(shell("ip -n %s link show m0 | grep -q LOWER_UP", name));
	assert_true(shell("ip netns exec %s ethtool m0 | grep -q 10000Mb/s", name));
	assert_int_equal(f->gone, 0);
	assert_true(shell("ip -n %s link del m0 && ip netns del %s", name, name));
	assert_true(eventually(f->gone == 1));
}

/* Between the tap's opening and the mirror's start lies the device's, which takes its time. */
static void an_interface_that_went_elsewhere_before_the_start_is_found(void **state)
{
	struct fixture *f = *state;
	char name[32];

	assert_true(shell("ip link set m0 name m7"));
	start(f);
	assert_string_equal(mirror_ifname(f->mirror), "m7");
	mirror_stop(f->mirror);
	f->mirror = NULL;

	snprintf(name, sizeof(name), "ixy-unit-%d", getpid());
	assert_true(shell("ip netns add %s && ip link set m7 netns %s", name, name));
	start(f);
	assert_true(shell("ip -n %s link set m7 up mtu 2222", name));
	assert_true(eventually(fake.dev.mtu == 2222 && fake.up));
	assert_true(shell("ip -n %s link del m7 && ip netns del %s", name, name));
	mirror_stop(f->mirror);
	f->mirror = NULL;
	assert_int_equal(mirror_start(&f->config, &f->mirror), EXIT_FAILURE);
	assert_null(f->mirror);
}

static void a_deleted_interface_is_reported_once(void **state)
{
	struct fixture *f = *state;

	start(f);
	assert_true(shell("ip link del m0"));
	assert_true(eventually(f->gone == 1));
	for (int i = 0; i < 10; i++)
		ev_run(f->loop, EVRUN_NOWAIT);
	assert_int_equal(f->gone, 1);
}

static void a_change_that_the_mirror_made_does_not_echo(void **state)
{
	struct fixture *f = *state;
	unsigned told;

	start(f);
	assert_true(shell("ip link set m0 up mtu 9999"));
	assert_true(eventually(fake.up && fake.dev.mtu == 9710));
	told = fake.ups + fake.mtus + fake.macs + fake.promiscs + fake.allmultis;
	for (int i = 0; i < 1500; i++) { /* longer than the poll interval */
		ev_run(f->loop, EVRUN_NOWAIT);
		usleep(1000);
	}
	assert_int_equal(fake.ups + fake.mtus + fake.macs + fake.promiscs + fake.allmultis, told);
}

#define in_fixture(test) cmocka_unit_test_setup_teardown(test, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		in_fixture(at_the_start_both_sides_agree),
		in_fixture(without_a_wish_the_device_takes_the_mtu_of_the_interface),
		in_fixture(gro_is_followed_and_told_once_a_change),
		in_fixture(gro_that_is_on_is_not_worth_a_word),
		in_fixture(the_length_of_the_kernels_queue_is_followed),
		in_fixture(without_privilege_the_device_takes_the_mtu_that_the_interface_keeps),
		in_fixture(up_and_down_switch_the_port),
		in_fixture(the_mtu_follows_and_is_set_back_where_the_nic_cannot),
		in_fixture(the_mac_address_follows),
		in_fixture(promiscuity_follows_whoever_wants_it),
		in_fixture(with_a_list_the_device_gets_the_groups_that_are_joined),
		in_fixture(the_link_shows_as_carrier_and_speed),
		in_fixture(a_new_name_is_followed),
		in_fixture(a_move_to_another_namespace_is_followed),
		in_fixture(an_interface_that_went_elsewhere_before_the_start_is_found),
		in_fixture(a_deleted_interface_is_reported_once),
		in_fixture(a_change_that_the_mirror_made_does_not_echo),
	};

	log_set_level(0);
	if (!own_netns()) {
		puts("mirror: skipped: network namespaces and /dev/net/tun need root");
		return 0;
	}
	return cmocka_run_group_tests_name("mirror", tests, NULL, NULL);
}
