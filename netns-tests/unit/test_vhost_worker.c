/*
 * The vhost port and the threads on its two sides, a worker's and the kernel's, which the test plays (vhost_rig.h):
 * who wakes whom, frames under a worker, and the end.
 */
#include "vhost_fixture.h"

#include <time.h>
#include <unistd.h>

#include "bridge/worker.h"
#include "eventually.h"

/* --- who wakes whom ----------------------------------------------------------------------------------- */

static void with_both_kinds_of_suppression(struct fixture *f, void (*test)(struct fixture *))
{
	uint64_t all = rig.offered;

	for (int i = 0; i < 2; i++) {
		rig.offered = i ? all & ~BIT(VIRTIO_RING_F_EVENT_IDX) : all;
		assert_int_equal(try_open(f, &f->port), 0);
		test(f);
		kernel_port_unbind(f->port);
		f->port = NULL;
	}
}

static void kick(struct fixture *f)
{
	eventfd_t kicks;

	vhost_rig_serve(&rig); /* and sleeps now */
	eventfd_read(rig.rings[1].kick, &kicks);
	send_one(f);
	assert_true(signalled(rig.rings[1].kick));
	eventfd_read(rig.rings[1].kick, &kicks);
	/* It has work already: with event indices it is told that only once. */
	if (rig.features & BIT(VIRTIO_RING_F_EVENT_IDX)) {
		send_one(f);
		assert_false(signalled(rig.rings[1].kick));
	}
	vhost_rig_serve(&rig);
	/* It works. */
	if (rig.features & BIT(VIRTIO_RING_F_EVENT_IDX))
		*(uint16_t *)&rig.rings[1].used->ring[rig.rings[1].num] =
			(uint16_t)(rig.rings[1].avail_idx - 1);
	else
		rig.rings[1].used->flags = VRING_USED_F_NO_NOTIFY;
	for (int i = 0; i < 20; i++)
		send_one(f);
	assert_false(signalled(rig.rings[1].kick));
}

static void the_kernel_is_kicked_only_while_it_sleeps(void **state)
{
	with_both_kinds_of_suppression(*state, kick);
}

static void signal_worker(struct fixture *f)
{
	struct pkt_buf *frames[4];
	uint8_t data[60] = {0};
	int fd = kernel_port_fd(f->port);
	eventfd_t signals;

	/* Awake: the ring is looked at, no signal is needed. */
	for (int i = 0; i < 3; i++) {
		vhost_rig_send(&rig, data, sizeof(data), NULL);
		assert_int_equal(take(f, frames, 4), 1);
		pkt_buf_free(frames[0]);
	}
	assert_false(signalled(fd));
	/* Asleep: the next frame wakes. */
	assert_false(kernel_port_arm(f->port));
	vhost_rig_send(&rig, data, sizeof(data), NULL);
	vhost_rig_serve(&rig);
	assert_true(signalled(fd));
	assert_int_equal(take(f, frames, 4), 1);
	pkt_buf_free(frames[0]);
	/* Awake again. */
	eventfd_read(fd, &signals);
	vhost_rig_send(&rig, data, sizeof(data), NULL);
	vhost_rig_serve(&rig);
	assert_false(signalled(fd));
	/* A frame that came before the arming: no signal, so no sleep. */
	assert_true(kernel_port_arm(f->port));
	assert_false(signalled(fd));
	assert_int_equal(take(f, frames, 4), 1);
	pkt_buf_free(frames[0]);
	assert_false(kernel_port_arm(f->port));
	assert_false(signalled(fd));
}

static void the_worker_is_signalled_only_when_it_is_about_to_sleep(void **state)
{
	with_both_kinds_of_suppression(*state, signal_worker);
}

/* Frames that were fetched but not handed out because the burst was full must not be slept over. */
static void a_frame_in_hand_is_no_time_to_sleep(void **state)
{
	struct fixture *f = *state;
	struct pkt_buf *frames[8];
	uint8_t data[60] = {0};

	for (int i = 0; i < 8; i++)
		vhost_rig_send(&rig, data, sizeof(data), NULL);
	assert_int_equal(take(f, frames, 4), 4);
	assert_true(kernel_port_arm(f->port));
	assert_int_equal(kernel_port_recv(f->port, frames + 4, 4, &f->counters), 4);
	assert_false(kernel_port_arm(f->port));
	pkt_buf_free_batch(frames, 8);
}

/* --- with a worker ------------------------------------------------------------------------------------ */

static void never(void *arg)
{
	(void)arg;
	abort();
}

static struct worker *start_worker(struct fixture *f, uint32_t idle_usecs)
{
	const struct worker_config config = {
		.dev = &fake.dev,
		.port = f->port,
		.counters = &f->counters,
		.name = "test",
		.cpu = -1,
		.idle_usecs = idle_usecs,
		.interface_gone = never,
	};
	struct worker *worker;

	assert_int_equal(worker_start(&config, &worker), 0);
	return worker;
}

/* One at a time, so that both threads fall asleep between two frames: a wake-up that is lost would strand one. */
static void lone_frames_wake_whoever_sleeps(void **state)
{
	struct fixture *f = *state;
	uint8_t data[100] = {0};
	struct pkt_buf *frames[300];
	struct worker *worker;

	pattern(data, sizeof(data));
	for (int i = 0; i < 300; i++)
		frames[i] = received(f, data, sizeof(data));
	vhost_rig_run(&rig);
	worker = start_worker(f, 0);
	for (unsigned i = 0; i < 300; i++) {
		vhost_rig_send(&rig, data, sizeof(data), NULL);
		assert_true(eventually(fake_device_sent(&fake) == i + 1));
		fake_device_receive(&fake, &frames[i], 1);
		assert_true(eventually(vhost_rig_got(&rig) == i + 1));
	}
	workers_drain(&worker, 1);
	workers_stop(&worker, 1);
	assert_true(f->counters.wakeups > 0 && rig.sleeps > 0);
	assert_int_equal(f->counters.rx.frames, 300);
	assert_int_equal(f->counters.tx.frames, 300);
}

static void a_flood_both_ways_arrives_whole(void **state)
{
	enum { COUNT = 1500 };
	struct fixture *f = *state;
	uint8_t data[1514];
	static struct pkt_buf *frames[COUNT];
	struct worker *worker;
	uint64_t lost = 0;

	pattern(data, sizeof(data));
	for (int i = 0; i < COUNT; i++)
		frames[i] = received(f, data, sizeof(data));
	vhost_rig_run(&rig);
	worker = start_worker(f, 50);
	for (unsigned i = 0; i < COUNT; i += 10) {
		fake_device_receive(&fake, &frames[i], 10);
		for (unsigned j = 0; j < 10; j++) {
			/* No more than the tap's queue holds. */
			assert_true(eventually(i + j - fake_device_sent(&fake) < VHOST_RIG_FRAMES));
			vhost_rig_send(&rig, data, sizeof(data), NULL);
		}
	}
	assert_true(eventually(fake_device_sent(&fake) == COUNT && vhost_rig_got(&rig) == COUNT));
	workers_drain(&worker, 1);
	workers_stop(&worker, 1);
	for (int i = 0; i < IXY_DROP_COUNT; i++)
		lost += f->counters.drops[i];
	assert_int_equal(lost, 0);
	for (unsigned i = 0; i < COUNT; i++)
		assert_int_equal(fake.tx[i].size, sizeof(data));
	assert_memory_equal(rig.got[(COUNT - 1) % VHOST_RIG_FRAMES].data + HEADER, data, sizeof(data));
}

/* The kernel's thread stands still: frames stay in the NIC's ring, none is dropped here. */
static void frames_wait_in_the_nics_ring_while_the_kernel_lags_behind(void **state)
{
	enum { COUNT = 1500 };
	struct fixture *f = *state;
	uint8_t data[60] = {0};
	static struct pkt_buf *frames[COUNT];
	struct worker *worker;
	unsigned taken = 0;

	for (int i = 0; i < COUNT; i++)
		frames[i] = received(f, data, sizeof(data));
	worker = start_worker(f, 50);
	fake_device_receive(&fake, frames, COUNT);
	/* What is in flight is bounded, whatever comes. */
	assert_true(eventually(({
		usleep(2000);
		pthread_mutex_lock(&fake.lock);
		bool same = taken == fake.rx_first && taken > 0;
		taken = fake.rx_first;
		pthread_mutex_unlock(&fake.lock);
		same;
	})));
	assert_in_range(taken, 512, 512 + WORKER_BATCH);
	vhost_rig_run(&rig);
	assert_true(eventually(vhost_rig_got(&rig) == COUNT));
	workers_drain(&worker, 1);
	workers_stop(&worker, 1);
	assert_int_equal(dropped(KERNEL_FULL), 0);
}

/* --- the end ------------------------------------------------------------------------------------------ */

static void at_the_end_the_kernel_gets_what_it_was_sent(void **state)
{
	struct fixture *f = *state;

	vhost_rig_run(&rig);
	for (int i = 0; i < 100; i++)
		send_one(f);
	assert_int_equal(kernel_port_drain(f->port, &f->counters), 0);
	assert_int_equal(vhost_rig_got(&rig), 100);
	assert_int_equal(f->counters.rx.frames, 100);
	assert_int_equal(dropped(SHUTDOWN), 0);
	assert_int_equal(vhost_rig_served(&rig), 0);
	assert_int_equal(f->pool->free_count, BUFFERS);
}

static void a_kernel_that_hangs_at_the_end_is_not_waited_for_and_its_frames_are_counted(void **state)
{
	struct fixture *f = *state;

	rig.keep = true;
	for (int i = 0; i < 7; i++)
		send_one(f);
	assert_int_equal(kernel_port_drain(f->port, &f->counters), 7);
	assert_int_equal(dropped(SHUTDOWN), 7);
	assert_int_equal(f->counters.rx.frames, 0);
	assert_int_equal(f->received->free_count, RX_FRAMES);
}

static void after_the_port_was_shut_what_the_kernel_has_handed_over_is_still_there(void **state)
{
	struct fixture *f = *state;
	struct pkt_buf *frames[8];
	uint8_t data[60] = {0};

	for (int i = 0; i < 5; i++)
		vhost_rig_send(&rig, data, sizeof(data), NULL);
	vhost_rig_serve(&rig);
	assert_true(kernel_port_shut(f->port));
	assert_false(rig.rings[0].attached);
	assert_true(rig.rings[1].attached);
	vhost_rig_send(&rig, data, sizeof(data), NULL);
	assert_int_equal(take(f, frames, 8), 5);
	pkt_buf_free_batch(frames, 5);
	assert_int_equal(take(f, frames, 8), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		UNOPENED(the_kernel_is_kicked_only_while_it_sleeps),
		UNOPENED(the_worker_is_signalled_only_when_it_is_about_to_sleep),
		TEST(a_frame_in_hand_is_no_time_to_sleep),
		TEST(at_the_end_the_kernel_gets_what_it_was_sent),
		TEST(a_kernel_that_hangs_at_the_end_is_not_waited_for_and_its_frames_are_counted),
		TEST(after_the_port_was_shut_what_the_kernel_has_handed_over_is_still_there),
		TEST(lone_frames_wake_whoever_sleeps),
		TEST(a_flood_both_ways_arrives_whole),
		TEST(frames_wait_in_the_nics_ring_while_the_kernel_lags_behind),
	};

	return cmocka_run_group_tests_name("vhost and its worker", tests, NULL, NULL);
}
