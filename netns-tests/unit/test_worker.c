/*
 * A worker between a device that the test plays and a real tap: frames pass both ways, awake and asleep; none
 * strands, none disappears uncounted, and the main thread's requests are kept.
 */
#include <stdarg.h>
#include <setjmp.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <cmocka.h>

#include "bridge/log.h"
#include "bridge/tap.h"
#include "bridge/worker_parts.h"
#include "eventually.h"
#include "fake_device.h"
#include "own_netns.h"
#include "super_frame.h"

#define FRAME_SIZE 100
#define RX_FRAMES  512

static struct fake_device fake;

struct fixture {
	struct tap *tap;
	struct mempool *tx_pool, *rx_pool;
	struct pkt_buf
		*rx[RX_FRAMES]; /* taken from rx_pool before the worker starts, as pools have one thread */
	unsigned rx_used;
	struct kernel_port *port;
	struct worker *worker;
	struct queue_counters counters;
	int socket;
	int gone; /* calls of interface_gone() */
	struct worker_config config;
};

static void on_gone(void *arg)
{
	__atomic_add_fetch((int *)arg, 1, __ATOMIC_SEQ_CST);
}

#define counted(counter) __atomic_load_n(&f->counters.counter, __ATOMIC_RELAXED)
#define asleep()         (counted(asleep_since_ns) != 0)

static int setup(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));

	fake_device_init(&fake);
	f->tx_pool = ixy_mempool_create(&fake.dev, 2048, 0);
	f->rx_pool = ixy_mempool_create(&fake.dev, RX_FRAMES, 0);
	if (!f->tx_pool || !f->rx_pool || tap_open("t0", -1, 1, false, &f->tap) ||
		tap_set_carrier(f->tap, true) < 0 || !shell("ip link set t0 txqueuelen 1000 up"))
		return -1;
	f->port = tap_port_bind(f->tap, 0, f->tx_pool, 1518);
	f->socket = packet_socket("t0");
	pkt_buf_alloc_batch(f->rx_pool, f->rx, RX_FRAMES);
	for (int i = 0; i < RX_FRAMES; i++) {
		fill_frame(f->rx[i]->data, FRAME_SIZE);
		f->rx[i]->data[20] = (uint8_t)i;
		f->rx[i]->size = f->rx[i]->frame_size = FRAME_SIZE;
	}
	f->config = (struct worker_config){
		.dev = &fake.dev,
		.port = f->port,
		.counters = &f->counters,
		.name = "test",
		.cpu = -1,
		.idle_usecs = 50,
		.interface_gone = on_gone,
		.arg = &f->gone,
	};
	*state = f;
	return f->socket < 0 ? -1 : 0;
}

static void start(struct fixture *f)
{
	assert_int_equal(worker_start(&f->config, &f->worker), 0);
}

static void stop(struct fixture *f)
{
	workers_drain(&f->worker, 1);
	workers_stop(&f->worker, 1);
	f->worker = NULL;
}

static int teardown(void **state)
{
	struct fixture *f = *state;
	int rc;

	if (f->worker)
		stop(f);
	close(f->socket);
	pkt_buf_free_batch(f->rx + f->rx_used, RX_FRAMES - f->rx_used);
	kernel_port_unbind(f->port);
	tap_close(f->tap);
	/* Both fail if a buffer was lost. */
	rc = ixy_mempool_free(f->rx_pool) | ixy_mempool_free(f->tx_pool);
	fake_device_close(&fake);
	free(f);
	return rc;
}

/* Let count frames arrive at the NIC. */
static void arrive(struct fixture *f, unsigned count)
{
	fake_device_receive(&fake, f->rx + f->rx_used, count);
	f->rx_used += count;
}

/* Take count frames from the kernel's side; they come in the order in which they arrived, from number first on. */
static void assert_kernel_got(struct fixture *f, unsigned first, unsigned count)
{
	uint8_t got[2048];

	for (unsigned i = first; i < first + count; i++) {
		assert_true(readable(f->socket));
		assert_int_equal(recv(f->socket, got, sizeof(got), 0), FRAME_SIZE);
		assert_int_equal(got[20], (uint8_t)i);
	}
}

/* Let the kernel send count frames, numbered from first on. */
static void kernel_sends(struct fixture *f, unsigned first, unsigned count)
{
	uint8_t data[FRAME_SIZE];

	fill_frame(data, sizeof(data));
	for (unsigned i = first; i < first + count; i++) {
		data[20] = (uint8_t)i;
		assert_int_equal(send(f->socket, data, sizeof(data), 0), sizeof(data));
	}
}

static unsigned sent(void)
{
	return fake_device_sent(&fake);
}

static void assert_nic_got_in_order(unsigned count)
{
	assert_int_equal(sent(), count);
	for (unsigned i = 0; i < count; i++) {
		assert_int_equal(fake.tx[i].size, FRAME_SIZE);
		assert_int_equal(fake.tx[i].start[20], (uint8_t)i);
	}
}

/* --- frames ------------------------------------------------------------------------------------------- */

static void frames_pass_both_ways_in_order(void **state)
{
	struct fixture *f = *state;

	start(f);
	for (unsigned i = 0; i < 200; i += 50) { /* less than a packet socket holds */
		arrive(f, 50);
		assert_kernel_got(f, i, 50);
		kernel_sends(f, i, 50);
	}
	assert_true(eventually(sent() == 200));
	stop(f);
	assert_nic_got_in_order(200);
	assert_int_equal(f->counters.rx.frames, 200);
	assert_int_equal(f->counters.rx.bytes, 200 * FRAME_SIZE);
	assert_int_equal(f->counters.tx.frames, 200);
	assert_int_equal(f->counters.tx.bytes, 200 * FRAME_SIZE);
}

static void a_sleeping_worker_is_woken_by_either_side(void **state)
{
	struct fixture *f = *state;

	start(f);
	for (unsigned i = 0; i < 5; i++) {
		assert_true(eventually(asleep()));
		arrive(f, 1);
		assert_kernel_got(f, i, 1);
		assert_true(eventually(asleep()));
		kernel_sends(f, i, 1);
		assert_true(eventually(sent() == i + 1));
	}
	stop(f);
	assert_true(f->counters.sleeps > 0);
	assert_true(f->counters.wakeups > 0);
	assert_true(f->counters.wakeups <= f->counters.sleeps);
	assert_true(f->counters.sleep_ns > 0);
}

static void a_frame_that_comes_just_before_the_interrupt_is_armed_does_not_strand(void **state)
{
	struct fixture *f = *state;

	fake.rx_on_arm = f->rx[f->rx_used++];
	start(f);
	assert_kernel_got(f, 0, 1);
}

static void a_polling_worker_never_sleeps(void **state)
{
	struct fixture *f = *state;

	f->config.poll = true;
	f->config.rx_usecs = f->config.tx_usecs = 100000;
	start(f);
	for (unsigned i = 0; i < 50; i++) {
		arrive(f, 1);
		assert_kernel_got(f, i, 1);
	}
	for (unsigned i = 0; i < 50; i++) {
		kernel_sends(f, i, 1);
		assert_true(eventually(sent() == i + 1));
	}
	usleep(20000);
	workers_pause(&f->worker, 1);
	assert_int_equal(f->counters.sleeps, 0);
	assert_int_equal(fake.arms, 0);
}

static void a_device_without_interrupts_is_served_by_naps(void **state)
{
	struct fixture *f = *state;

	close(fake.irq_fd);
	fake.irq_fd = -1;
	start(f);
	for (unsigned i = 0; i < 5; i++) {
		assert_true(eventually(asleep()));
		arrive(f, 10);
		assert_kernel_got(f, i * 10, 10);
		assert_true(eventually(asleep()));
		kernel_sends(f, i * 10, 10);
		assert_true(eventually(sent() == (i + 1) * 10));
	}
	assert_true(counted(sleeps) > 0);
}

enum side { NIC, KERNEL };

/* One frame comes from a side to a sleeping worker, and gets to the other. Returns whether it woke the worker. */
static bool wakes(struct fixture *f, enum side from)
{
	unsigned before_sent = sent();
	uint64_t before;

	assert_true(eventually(asleep()));
	before = counted(wakeups);
	if (from == NIC) {
		arrive(f, 1);
		assert_kernel_got(f, f->rx_used - 1, 1);
	} else {
		kernel_sends(f, before_sent, 1);
		assert_true(eventually(sent() == before_sent + 1));
	}
	return counted(wakeups) != before;
}

/* Each frame of a stream wakes it, but for one that meets it awake for another reason. */
static void assert_each_wakes(struct fixture *f, enum side from)
{
	unsigned woken = 0;

	for (unsigned i = 0; i < 100; i++)
		woken += wakes(f, from);
	assert_in_range(woken, 80, 100);
}

/* Many in a row have to come within the time to gather of each other, which a busy machine may spoil now and then. */
static void send_until_it_gathers(struct fixture *f, enum side from)
{
	unsigned frames = 1;

	while (frames < RX_FRAMES - 8 && wakes(f, from))
		frames++;
	assert_in_range(frames, 20, RX_FRAMES - 9);
}

static void stream_until_it_gathers(struct fixture *f, enum side from)
{
	f->config.idle_usecs = 0;
	*(from == NIC ? &f->config.rx_usecs : &f->config.tx_usecs) = 100000;
	start(f);
	send_until_it_gathers(f, from);
}

static void received_frames_that_nobody_answers_gather_until_somebody_does(void **state)
{
	struct fixture *f = *state;

	stream_until_it_gathers(f, NIC);
	assert_true(wakes(f, KERNEL));
	assert_true(wakes(f, NIC));
	assert_true(wakes(f, NIC));
}

static void frames_of_the_kernel_that_nobody_answers_gather_until_somebody_does(void **state)
{
	struct fixture *f = *state;

	stream_until_it_gathers(f, KERNEL);
	assert_true(wakes(f, NIC));
	assert_true(wakes(f, KERNEL));
	assert_true(wakes(f, KERNEL));
	stop(f);
	assert_nic_got_in_order(sent());
}

static void nothing_gathers_in_a_short_queue_of_the_kernel(void **state)
{
	struct fixture *f = *state;

	f->config.idle_usecs = 0;
	f->config.tx_usecs = 100000;
	f->config.tx_queue = 4 * GATHER_MOST - 1;
	start(f);
	assert_each_wakes(f, KERNEL);
	workers_set_tx_queue(&f->worker, 1, 4 * GATHER_MOST);
	send_until_it_gathers(f, KERNEL);
	workers_set_tx_queue(&f->worker, 1, 4 * GATHER_MOST - 1);
	assert_each_wakes(f, KERNEL);
}

static void a_stream_that_is_over_leaves_the_worker_asleep(void **state)
{
	struct fixture *f = *state;
	uint64_t before;

	stream_until_it_gathers(f, KERNEL);
	usleep(400000); /* the naps grow until the longest was in vain */
	assert_true(eventually(asleep()));
	before = counted(sleeps);
	usleep(200000);
	assert_int_equal(counted(sleeps), before);
}

/* Nothing would wake the worker for an answer. */
static void nothing_gathers_on_its_way_to_a_device_without_interrupts(void **state)
{
	struct fixture *f = *state;

	close(fake.irq_fd);
	fake.irq_fd = -1;
	f->config.idle_usecs = 0;
	f->config.tx_usecs = 100000;
	start(f);
	assert_each_wakes(f, KERNEL);
}

/* A stream that leaves the worker no quiet moment must not keep it from what the kernel sends. */
static void a_flood_that_nobody_answers_does_not_silence_the_kernel(void **state)
{
	struct fixture *f = *state;

	stream_until_it_gathers(f, NIC);
	pthread_mutex_lock(&fake.lock);
	fake.flood = f->rx_pool;
	pthread_mutex_unlock(&fake.lock);
	assert_true(eventually(counted(rx.frames) > f->rx_used + 1000));
	kernel_sends(f, 0, 1);
	assert_true(eventually(sent() == 1));
	pthread_mutex_lock(&fake.lock);
	fake.flood = NULL;
	pthread_mutex_unlock(&fake.lock);
}

static void no_frame_is_left_to_gather_where_that_is_switched_off(void **state)
{
	struct fixture *f = *state;

	f->config.idle_usecs = 0;
	f->config.rx_usecs = f->config.tx_usecs = 0;
	start(f);
	assert_each_wakes(f, NIC);
	assert_each_wakes(f, KERNEL);
}

/* --- frames that do not pass -------------------------------------------------------------------------- */

static void what_the_ring_does_not_take_waits_in_the_kernel_and_arrives_in_order(void **state)
{
	struct fixture *f = *state;

	fake.tx_room = 10;
	start(f);
	kernel_sends(f, 0, 200);
	assert_true(eventually(sent() == 10));
	assert_true(eventually(asleep())); /* it does not burn a core meanwhile */
	/* No more was read than one burst. */
	assert_true(counted(tx.frames) <= WORKER_BATCH + 10);
	for (unsigned room = 1; room <= 190; room += 27) {
		pthread_mutex_lock(&fake.lock);
		fake.tx_room += 28;
		pthread_mutex_unlock(&fake.lock);
	}
	assert_true(eventually(sent() == 200));
	stop(f);
	assert_nic_got_in_order(200);
	for (int i = 0; i < IXY_DROP_COUNT; i++)
		assert_int_equal(f->counters.drops[i], 0);
}

static void reception_goes_on_while_sending_is_stuck(void **state)
{
	struct fixture *f = *state;

	fake.tx_room = 0;
	start(f);
	kernel_sends(f, 0, 100);
	assert_true(eventually(counted(tx.frames) > 0));
	arrive(f, 50);
	assert_kernel_got(f, 0, 50);
	stop(f);
	/* What could not leave by the end is accounted for. */
	assert_int_equal(f->counters.tx.frames, f->counters.drops[IXY_DROP_SHUTDOWN]);
}

static void frames_for_a_link_that_is_down_are_dropped_with_that_reason(void **state)
{
	struct fixture *f = *state;

	fake.dev.link.up = false;
	start(f);
	kernel_sends(f, 0, 30);
	assert_true(eventually(counted(drops[IXY_DROP_TX_LINK_DOWN]) == 30));
	assert_int_equal(sent(), 0);
}

static void frames_beyond_the_mtu_do_not_enter_the_kernel(void **state)
{
	struct fixture *f = *state;
	static const uint32_t sizes[] = {500 + 14, 500 + 18, 500 + 19, 1514};

	fake.dev.mtu = 500;
	for (int i = 0; i < 4; i++) {
		f->rx[i]->size = f->rx[i]->frame_size = sizes[i];
		memset(f->rx[i]->data + FRAME_SIZE, 0, sizes[i] - FRAME_SIZE);
	}
	start(f);
	arrive(f, 4);
	assert_true(eventually(counted(drops[IXY_DROP_RX_TOO_LONG]) == 2));
	assert_true(eventually(counted(rx.frames) == 2));
	assert_int_equal(counted(rx.bytes), 514 + 518);
}

/* As a virtio NIC hands it over. */
static void a_super_frame_is_judged_by_the_length_of_its_segments(void **state)
{
	static struct super_frame super;
	struct fixture *f = *state;
	unsigned segments;

	fake.dev.mtu = 500;
	f->config.offload = true;
	do
		super_frame_make(&super, 300, 400);
	while (super.udp || super.ipv6 || super.l4 != 34 || super_frame_segments(&super) < 2 ||
		super.size < 600 || super.size > 2048);
	segments = super_frame_segments(&super);
	for (int i = 0; i < 2; i++) {
		struct pkt_buf *frame = f->rx[i];

		memcpy(frame->data, super.bytes, super.size);
		frame->size = frame->frame_size = (uint32_t)super.size;
		frame->flags = PKT_TX_L4_CSUM | PKT_TX_TSO4;
		frame->csum_start = super.vnet.csum_start;
		frame->csum_offset = super.vnet.csum_offset;
		frame->header_size = super.vnet.hdr_len;
		frame->gso_size = i ? (uint16_t)(519 - super.header) : super.vnet.gso_size;
	}
	start(f);
	arrive(f, 2);
	assert_true(eventually(counted(drops[IXY_DROP_RX_TOO_LONG]) > 0));
	assert_int_equal(counted(drops[IXY_DROP_RX_TOO_LONG]), pkt_buf_wire_frames(f->rx[1]));
	assert_true(eventually(counted(rx.frames) == segments));
	assert_int_equal(counted(rx.bytes), super.size + (segments - 1) * super.header);
}

static void a_deleted_interface_is_reported_once_and_the_worker_waits(void **state)
{
	struct fixture *f = *state;
	uint64_t sleeps;

	start(f);
	assert_true(eventually(asleep()));
	assert_true(shell("ip link del t0"));
	assert_true(eventually(__atomic_load_n(&f->gone, __ATOMIC_SEQ_CST) == 1));
	assert_true(eventually(asleep()));
	sleeps = counted(sleeps);
	usleep(20000);
	assert_int_equal(counted(sleeps), sleeps); /* no spinning on a descriptor in error */
	stop(f);
	assert_int_equal(f->gone, 1);
}

/* --- requests ----------------------------------------------------------------------------------------- */

static void a_paused_worker_touches_nothing_until_resumed(void **state)
{
	struct fixture *f = *state;

	start(f);
	/* Again and again, from sleep and from work: a request must not get lost. */
	for (unsigned i = 0; i < 40; i++) {
		if (i % 2)
			assert_true(eventually(asleep()));
		workers_pause(&f->worker, 1);
		arrive(f, 1);
		kernel_sends(f, i, 1);
		usleep(1000);
		assert_int_equal(counted(rx.frames), i);
		assert_int_equal(sent(), i);
		workers_resume(&f->worker, 1);
		assert_kernel_got(f, i, 1);
		assert_true(eventually(sent() == i + 1));
	}
	/* A resume that is followed by a pause at once is a pause. */
	for (unsigned i = 0; i < 200; i++) {
		workers_pause(&f->worker, 1);
		workers_resume(&f->worker, 1);
	}
}

static void draining_sees_off_what_was_read_and_stopping_hands_over_what_came(void **state)
{
	struct fixture *f = *state;

	fake.tx_room = 5;
	kernel_sends(f, 0, 20); /* before the worker starts, so that it finds one burst */
	start(f);
	assert_true(eventually(counted(tx.frames) == 20));
	pthread_mutex_lock(&fake.lock);
	fake.tx_room = 100;
	pthread_mutex_unlock(&fake.lock);
	workers_drain(&f->worker, 1);
	assert_nic_got_in_order(20);
	kernel_sends(f, 20, 1);
	arrive(f, 50);
	workers_stop(&f->worker, 1);
	f->worker = NULL;
	assert_kernel_got(f, 0, 50);
	assert_int_equal(sent(), 20);
	for (int i = 0; i < IXY_DROP_COUNT; i++)
		assert_int_equal(f->counters.drops[i], 0);
}

static void abandoning_does_not_touch_the_device_any_more(void **state)
{
	struct fixture *f = *state;

	fake.tx_room = 5;
	kernel_sends(f, 0, 20); /* before the worker starts, so that it finds one burst */
	start(f);
	assert_true(eventually(counted(tx.frames) == 20));
	workers_pause(&f->worker, 1);
	pthread_mutex_lock(&fake.lock);
	fake.tx_room = 100;
	pthread_mutex_unlock(&fake.lock);
	arrive(f, 5);
	workers_abandon(&f->worker, 1);
	f->worker = NULL;
	assert_int_equal(sent(), 5);
	assert_int_equal(f->counters.drops[IXY_DROP_SHUTDOWN], 15);
	assert_int_equal(fake.rx_last - fake.rx_first, 5);
	pkt_buf_free_batch(fake.rx + fake.rx_first, 5);
}

static void an_impossible_cpu_is_an_error(void **state)
{
	struct fixture *f = *state;

	f->config.cpu = 8191;
	assert_int_equal(worker_start(&f->config, &f->worker), -EINVAL);
	f->worker = NULL;
	f->config.cpu = 0;
	start(f);
}

#define in_fixture(test) cmocka_unit_test_setup_teardown(test, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		in_fixture(frames_pass_both_ways_in_order),
		in_fixture(a_sleeping_worker_is_woken_by_either_side),
		in_fixture(a_frame_that_comes_just_before_the_interrupt_is_armed_does_not_strand),
		in_fixture(a_polling_worker_never_sleeps),
		in_fixture(received_frames_that_nobody_answers_gather_until_somebody_does),
		in_fixture(frames_of_the_kernel_that_nobody_answers_gather_until_somebody_does),
		in_fixture(nothing_gathers_in_a_short_queue_of_the_kernel),
		in_fixture(a_stream_that_is_over_leaves_the_worker_asleep),
		in_fixture(nothing_gathers_on_its_way_to_a_device_without_interrupts),
		in_fixture(a_flood_that_nobody_answers_does_not_silence_the_kernel),
		in_fixture(no_frame_is_left_to_gather_where_that_is_switched_off),
		in_fixture(a_device_without_interrupts_is_served_by_naps),
		in_fixture(what_the_ring_does_not_take_waits_in_the_kernel_and_arrives_in_order),
		in_fixture(reception_goes_on_while_sending_is_stuck),
		in_fixture(frames_for_a_link_that_is_down_are_dropped_with_that_reason),
		in_fixture(frames_beyond_the_mtu_do_not_enter_the_kernel),
		in_fixture(a_super_frame_is_judged_by_the_length_of_its_segments),
		in_fixture(a_deleted_interface_is_reported_once_and_the_worker_waits),
		in_fixture(a_paused_worker_touches_nothing_until_resumed),
		in_fixture(draining_sees_off_what_was_read_and_stopping_hands_over_what_came),
		in_fixture(abandoning_does_not_touch_the_device_any_more),
		in_fixture(an_impossible_cpu_is_an_error),
	};

	log_set_level(0);
	if (!own_netns()) {
		puts("worker: skipped: network namespaces and /dev/net/tun need root");
		return 0;
	}
	return cmocka_run_group_tests_name("worker", tests, NULL, NULL);
}
