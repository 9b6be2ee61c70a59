/*
 * Which kind of port it is to be, and what happens when vhost-net is not there, refuses, or fails: on a real tap, with
 * a device and a vhost-net that the test plays.
 */
#include <stdarg.h>
#include <setjmp.h>
#include <stddef.h>
#include <stdint.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sysexits.h>
#include <cmocka.h>

#include "bridge/log.h"
#include "bridge/ports.h"
#include "bridge/vhost.h"
#include "fake_device.h"
#include "own_netns.h"
#include "vhost_rig.h"

#define MAX_FRAME 9732

static struct fake_device fake;
static struct vhost_rig rig;
static struct mempool *received;

struct fixture {
	struct tap *tap;
	struct ixy_device_ops ops; /* the fake device's, and a pool to be shared */
	struct ports_config config;
	struct queue_counters counters;
	int broken; /* the queue that was told of; -1: none */
};

static struct mempool *fake_rx_pool(const struct ixy_device *dev, uint16_t queue)
{
	(void)dev;
	(void)queue;
	return received;
}

static void on_broken(void *arg, uint16_t queue)
{
	struct fixture *f = arg;

	f->broken = queue;
	ev_break(f->config.loop, EVBREAK_ALL);
}

static int setup(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));

	fake_device_init(&fake);
	vhost_rig_init(&rig);
	rig.tap = -1;
	received = ixy_mempool_create(&fake.dev, 64, 0);
	f->ops = *fake.dev.ops;
	f->ops.rx_pool = fake_rx_pool;
	fake.dev.ops = &f->ops;
	f->broken = -1;
	f->config = (struct ports_config){
		.loop = ev_loop_new(EVFLAG_AUTO),
		.dev = &fake.dev,
		.ifname = "t0",
		.wanted = KERNEL_VHOST,
		.vhost = true,
		.queues = 2,
		.ring = 64,
		.max_frame = MAX_FRAME,
		.broken = on_broken,
		.arg = f,
	};
	*state = f;
	if (!received || tap_open("t0", -1, 2, true, &f->tap))
		return -1;
	f->config.tap = f->tap;
	return 0;
}

static int teardown(void **state)
{
	struct fixture *f = *state;
	int rc = ixy_mempool_free(received);

	if (rig.fault)
		print_error("%s\n", rig.fault);
	rc |= rig.fault != NULL || vhost_rig_served(&rig);
	tap_close(f->tap);
	ev_loop_destroy(f->config.loop);
	vhost_rig_close(&rig);
	fake_device_close(&fake);
	free(f);
	return rc ? -1 : 0;
}

static void the_kind_is_what_is_wanted_as_far_as_it_can_be(void **state)
{
	bool vhost;

	(void)state;
	assert_int_equal(ports_choose(KERNEL_TAP, "t0", &vhost), 0);
	assert_false(vhost);
	assert_int_equal(rig.request_count, 0); /* nobody was asked */
	assert_int_equal(ports_choose(KERNEL_VHOST, "t0", &vhost), 0);
	assert_true(vhost);
	assert_int_equal(ports_choose(KERNEL_AUTO, "t0", &vhost), 0);
	assert_true(vhost);
	vhost_path = "/dev/no-such-node";
	assert_int_equal(ports_choose(KERNEL_VHOST, "t0", &vhost), EX_UNAVAILABLE);
	assert_int_equal(ports_choose(KERNEL_AUTO, "t0", &vhost), 0);
	assert_false(vhost);
}

static void each_queue_gets_a_port_of_the_kind(void **state)
{
	struct fixture *f = *state;
	struct ports *ports;

	for (int i = 0; i < 2; i++) {
		f->config.vhost = i;
		assert_int_equal(ports_start(&f->config, &ports), 0);
		assert_int_equal(kernel_port_in_memory(ports_get(ports, 0)), i);
		assert_int_equal(kernel_port_in_memory(ports_get(ports, 1)), i);
		assert_ptr_not_equal(ports_get(ports, 0), ports_get(ports, 1));
		assert_int_equal(vhost_rig_served(&rig), i ? 4 : 0);
		ports_stop(ports);
	}
}

static void vhost_that_refuses_is_an_error_or_done_without(void **state)
{
	struct fixture *f = *state;
	struct ports *ports;

	/* Its last step, at the second queue: the first one is taken back. */
	for (int i = 0; i < 2; i++) {
		rig.refuse = VHOST_NET_SET_BACKEND;
		rig.refuse_error = EBUSY;
		rig.refuse_after = 3;
		f->config.wanted = i ? KERNEL_AUTO : KERNEL_VHOST;
		assert_int_equal(ports_start(&f->config, &ports), i ? 0 : EX_UNAVAILABLE);
		assert_int_equal(vhost_rig_served(&rig), 0);
	}
	assert_false(kernel_port_in_memory(ports_get(ports, 0)));
	assert_false(kernel_port_in_memory(ports_get(ports, 1)));
	ports_stop(ports);
	/* A device whose buffers are its own affair. */
	f->ops.rx_pool = NULL;
	assert_int_equal(ports_start(&f->config, &ports), 0);
	assert_false(kernel_port_in_memory(ports_get(ports, 0)));
	ports_stop(ports);
}

static void broken_rings_are_told_set_up_anew_and_in_the_end_given_up(void **state)
{
	struct fixture *f = *state;
	struct ports *ports;
	int times = 0;

	assert_int_equal(ports_start(&f->config, &ports), 0);
	eventfd_write(rig.rings[1].error, 1); /* told last: the second queue's */
	ev_run(f->config.loop, 0);
	assert_int_equal(f->broken, 1);
	while (ports_restart(ports, 1, &f->counters) == 0) {
		assert_int_equal(vhost_rig_served(&rig), 4);
		assert_in_range(++times, 1, 50);
	}
	assert_int_equal(times, 10);
	assert_int_equal(f->counters.port_restarts, 11);
	/* Each time the old error was taken note of. */
	f->broken = -1;
	ev_run(f->config.loop, EVRUN_NOWAIT);
	assert_int_equal(f->broken, -1);
	ports_stop(ports);
}

static void an_interface_that_is_down_takes_no_frames_from_any_queue(void **state)
{
	struct fixture *f = *state;
	struct ports *ports;

	assert_int_equal(ports_start(&f->config, &ports), 0);
	ports_set_up(ports, false);
	for (uint16_t i = 0; i < 2; i++) {
		struct pkt_buf *frame = pkt_buf_alloc(received);

		frame->size = frame->frame_size = 60;
		assert_int_equal(kernel_port_send(ports_get(ports, i), &frame, 1, &f->counters), 0);
		assert_int_equal(f->counters.drops[IXY_DROP_KERNEL_DOWN], i + 1);
	}
	ports_stop(ports);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
	const struct CMUnitTest tests[] = {
		TEST(the_kind_is_what_is_wanted_as_far_as_it_can_be),
		TEST(each_queue_gets_a_port_of_the_kind),
		TEST(vhost_that_refuses_is_an_error_or_done_without),
		TEST(broken_rings_are_told_set_up_anew_and_in_the_end_given_up),
		TEST(an_interface_that_is_down_takes_no_frames_from_any_queue),
	};

	log_set_level(0);
	if (!own_netns()) {
		puts("ports: skipped: network namespaces and /dev/net/tun need root");
		return 0;
	}
	return cmocka_run_group_tests_name("ports", tests, NULL, NULL);
}
