/*
 * ixy-fwd: what one device receives the other sends, both ways, between two devices of any kind.
 *
 * All that the library wants of a forwarder is in forward(): a batch from a receive queue, the same batch into a
 * transmit queue. The frames stay where the first device has written them; the second one reads them from there,
 * because their memory is shared with it at the start (open_lane). Only where the two address memory differently, as
 * a NIC reached through sysfs and one by VFIO do, a frame is copied.
 *
 * A lane is one way for frames: a receive queue of one device, the transmit queue of the other, and the memory of the
 * frames between them. One thread does all of a lane's work, so nothing in it is locked; there are twice as many lanes
 * as queues, and up to as many threads. The main thread watches the devices and counts.
 *
 * What a transmit ring does not take is offered again before anything more is received. So nothing is dropped here:
 * when one side is too slow, the other side's NIC finds no free descriptor, drops, and counts (rx-no-descriptor).
 */
#include <errno.h>
#include <net/ethernet.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "contrib/apps/app.h"
#include "contrib/apps/app_device.h"
#include "contrib/apps/app_frame.h"
#include "contrib/apps/fwd/touch.h"
#include "driver/gso.h"
#include "driver/ixy.h"

#define MAX_BATCH 256
#define MAX_LANES (2 * IXY_MAX_QUEUES)
#define COPIES    4096 /* buffers a lane that has to copy, besides those of a ring that was asked for */
#define LOOK_MS   500  /* at the devices, at least so often */
#define DRAIN_NS  200000000

static uint64_t batch = 32, threads = 1;
static unsigned touch;
static bool no_promisc, copy;

static const struct app_option options[] = {
	{'b', "batch", "N", "frames a call", APP_NUMBER, &batch, 1, MAX_BATCH, NULL},
	{0, "touch", TOUCH_CHOICES, "what to do with each frame on its way", APP_CHOICE, &touch, 0, 0, NULL},
	{'T', "threads", "N", "that share the work: 1 to two a queue", APP_NUMBER, &threads, 1, MAX_LANES,
		NULL},
	{'c', "cpu", "LIST", "run them on these CPUs, as in 2,4-7", APP_CALL, NULL, 0, 0, app_cpu_list},
	{0, "no-promisc", NULL, "only frames for the devices' own addresses", APP_FLAG, &no_promisc, 0, 0,
		NULL},
	{0, "copy", NULL, "copy each frame, as between devices that share no memory", APP_FLAG, &copy, 0, 0,
		NULL},
	APP_DEVICE_OPTIONS,
	APP_COMMON_OPTIONS,
};

static const struct app app = {
	.about = "Forward frames between two devices, both ways.\n"
		 "A device is 0000:03:00.0 (PCI), xdp:eth1, soft:veth1 or vfio-user:/run/nic.",
	.arguments = "DEVICE DEVICE",
	.least = 2,
	.most = 2,
	.example = "--threads 2 --cpu 2,3 0000:03:00.0 xdp:eth1",
	.options = options,
};

struct lane {
	struct ixy_device *from, *to;
	uint16_t queue;
	bool checksums;         /* are to be completed here: `to` does not do it */
	struct mempool *copies; /* NULL: `to` reads frames where `from` wrote them */
	struct pkt_buf *frames[MAX_BATCH];
	uint32_t first, count; /* of these: received, and not taken by the transmit ring yet */
	struct touched touched;
	uint64_t drops[IXY_DROP_COUNT]; /* here, not by the devices; the main thread reads them */
} __attribute__((aligned(64)));

struct worker {
	pthread_t thread;
	struct app_idle idle;
	struct lane *lanes[MAX_LANES];
	unsigned count;
};

static struct ixy_device *devs[2];
static char *labels[2];
static struct lane lanes[MAX_LANES];
static struct worker workers[MAX_LANES];
static unsigned lane_count, running; /* running: threads */
static atomic_bool pausing;
static struct app_rate directions[2], *rates[] = {&directions[0], &directions[1], NULL};

/* --- the data path: all of it --------------------------------------------------------------------------- */

static void drop(struct lane *lane, struct pkt_buf *frame, enum ixy_drop reason)
{
	__atomic_store_n(&lane->drops[reason], lane->drops[reason] + 1, __ATOMIC_RELAXED);
	pkt_buf_free(frame);
}

/* What comes between receiving and sending; in the plain case nothing. */
static void prepare(struct lane *lane)
{
	uint32_t kept = 0;

	if (touch != TOUCH_NONE)
		touch_frames(&lane->touched, touch, lane->frames, lane->count);
	if (!lane->copies && !lane->checksums)
		return;
	for (uint32_t i = 0; i < lane->count; i++) {
		struct pkt_buf *frame = lane->frames[i];

		if (lane->checksums && frame->flags & PKT_TX_L4_CSUM && gso_complete(frame) < 0) {
			drop(lane, frame, IXY_DROP_TX_BAD_OFFLOAD);
			continue;
		}
		if (lane->copies) {
			struct pkt_buf *other = app_copy_frame(lane->copies, frame);

			if (!other) {
				drop(lane, frame, IXY_DROP_TX_NO_BUFFER);
				continue;
			}
			pkt_buf_free(frame);
			frame = other;
		}
		lane->frames[kept++] = frame;
	}
	lane->count = kept;
}

/* A batch. Returns whether anything has moved. */
static bool forward(struct lane *lane)
{
	uint32_t received = 0, sent;

	if (!lane->count) {
		lane->first = 0;
		lane->count = received = ixy_rx_batch(lane->from, lane->queue, lane->frames, (uint32_t)batch);
		prepare(lane);
	}
	/* Also when there is nothing to send: buffers of frames that have left come back by it. */
	sent = ixy_tx_batch(lane->to, lane->queue, lane->frames + lane->first, lane->count);
	lane->first += sent;
	lane->count -= sent;
	return received || sent;
}

static void *work(void *argument)
{
	struct worker *worker = argument;

	while (!app_stopped() && !atomic_load_explicit(&pausing, memory_order_relaxed)) {
		enum app_sending sending = APP_QUIET;
		bool moved = false;

		for (unsigned i = 0; i < worker->count; i++)
			moved |= forward(worker->lanes[i]);
		if (moved) {
			app_busy(&worker->idle);
			continue;
		}
		for (unsigned i = 0; i < worker->count && sending != APP_FULL; i++) {
			const struct lane *lane = worker->lanes[i];

			if (lane->count)
				sending = APP_FULL;
			else if (ixy_tx_pending(lane->to, lane->queue))
				sending = APP_SENDING;
		}
		app_rest(&worker->idle, sending);
	}
	return NULL;
}

/* --- lanes and threads ---------------------------------------------------------------------------------- */

static void open_lane(struct lane *lane, struct ixy_device *from, struct ixy_device *to, uint16_t queue)
{
	struct mempool *pool = copy ? NULL : ixy_rx_pool(from, queue);
	int rc = pool ? ixy_mempool_share(pool, to) : -ENOTSUP;

	lane->from = from;
	lane->to = to;
	lane->queue = queue;
	lane->checksums = !(ixy_capabilities(to) & IXY_CAP_TX_CSUM);
	if (rc == -ENOTSUP) {
		lane->copies = ixy_mempool_create(to, COPIES + (uint32_t)app_device.ring, 0);
		rc = lane->copies ? 0 : -errno;
	}
	app_check_device(rc);
}

/* Both devices are stopped, and all buffers are where they came from. */
static void close_lane(struct lane *lane)
{
	if (lane->copies)
		app_check_device(ixy_mempool_free(lane->copies));
	else
		ixy_mempool_unshare(ixy_rx_pool(lane->from, lane->queue), lane->to);
}

/* The end of a lane whose thread has ended: what it has received is sent yet, if that goes before `end`. */
static void drain(struct lane *lane, uint64_t end)
{
	while ((lane->count || ixy_tx_pending(lane->to, lane->queue)) && app_now() < end) {
		uint32_t sent = ixy_tx_batch(lane->to, lane->queue, lane->frames + lane->first, lane->count);

		lane->first += sent;
		lane->count -= sent;
		nanosleep(&(struct timespec){.tv_nsec = 20000}, NULL);
	}
	while (lane->count) {
		drop(lane, lane->frames[lane->first++], IXY_DROP_SHUTDOWN);
		lane->count--;
	}
}

/* Returns the exit code where one could not be started, or 0. */
static int start_threads(void)
{
	atomic_store(&pausing, false);
	for (running = 0; running < threads; running++) {
		int status = app_thread_start(&workers[running].thread, running, work, &workers[running]);

		if (status)
			return status;
	}
	return 0;
}

static void stop_threads(void)
{
	atomic_store(&pausing, true);
	while (running)
		pthread_join(workers[--running].thread, NULL);
}

/* --- counting ------------------------------------------------------------------------------------------- */

/* A direction's drops are those of its receiving side, of its sending side, and ours. */
static void count_direction(unsigned from)
{
	struct ixy_stats in, out;
	uint64_t drops;

	ixy_read_stats(devs[from], &in);
	ixy_read_stats(devs[!from], &out);
	drops = app_sum_drops(in.drops, "rx-") + app_sum_drops(out.drops, "tx-");
	for (unsigned lane = from; lane < lane_count; lane += 2)
		for (int i = 0; i < IXY_DROP_COUNT; i++)
			drops += __atomic_load_n(&lanes[lane].drops[i], __ATOMIC_RELAXED);
	app_set(&directions[from], out.tx_frames, out.tx_bytes, drops);
}

static void print_totals(void)
{
	uint64_t ours[IXY_DROP_COUNT] = {0}, bytes_read = 0;

	for (unsigned i = 0; i < 2; i++)
		count_direction(i);
	app_end();
	for (unsigned i = 0; i < 2; i++) {
		struct ixy_stats stats;

		ixy_read_stats(devs[i], &stats);
		app_print_drops(labels[i], stats.drops);
	}
	for (unsigned i = 0; i < lane_count; i++) {
		bytes_read += lanes[i].touched.bytes;
		for (int d = 0; d < IXY_DROP_COUNT; d++)
			ours[d] += lanes[i].drops[d];
	}
	app_print_drops("between them", ours);
	if (touch == TOUCH_READ)
		printf("read: %llu bytes\n", (unsigned long long)bytes_read);
}

/* --- the main thread ------------------------------------------------------------------------------------ */

static void set_up(char **specs)
{
	for (unsigned i = 0; i < 2; i++) {
		devs[i] = app_open(specs[i], NULL);
		labels[i] = app_device_label(devs[i]);
		if (!no_promisc)
			app_check_device(ixy_set_promisc(devs[i], true));
	}
	if (ixy_rx_queues(devs[0]) != ixy_rx_queues(devs[1])) {
		fprintf(stderr, "ixy-fwd: %s has %u queues and %s has %u: give them as many, by --queues\n",
			specs[0], ixy_rx_queues(devs[0]), specs[1], ixy_rx_queues(devs[1]));
		exit(app_device_status(-EINVAL));
	}
	lane_count = 2u * ixy_rx_queues(devs[0]);
	for (unsigned i = 0; i < lane_count; i++)
		open_lane(&lanes[i], devs[i % 2], devs[!(i % 2)], (uint16_t)(i / 2));
	threads = threads < lane_count ? threads : lane_count;
	for (unsigned i = 0; i < lane_count; i++) {
		struct worker *worker = &workers[i % threads];

		worker->lanes[worker->count++] = &lanes[i];
		app_idle_add(&worker->idle, lanes[i].from, lanes[i].queue);
	}
}

static void tear_down(void)
{
	/* Both before anything is freed: either may still read, or hold, what the other has received. */
	for (unsigned i = 0; i < 2; i++)
		ixy_stop(devs[i]);
	print_totals();
	for (unsigned i = 0; i < lane_count; i++)
		close_lane(&lanes[i]);
	for (unsigned i = 0; i < 2; i++) {
		app_close(devs[i]);
		free(labels[i]);
	}
}

/* Returns the exit code when it is over with the device, or 0. */
static int look_after(struct ixy_device *dev)
{
	uint32_t events = app_poll_events(dev);
	int rc;

	if (events & IXY_EVENT_GONE)
		return app_device_status(-ENODEV);
	if (!(events & IXY_EVENT_RESET))
		return 0;
	/* Nobody may be inside of the device meanwhile; and its frames go back to the other's memory. */
	stop_threads();
	rc = ixy_reset(dev);
	if (rc == 0)
		return start_threads();
	fprintf(stderr, "ixy-fwd: %s\n", ixy_last_error());
	return app_device_status(rc);
}

int main(int argc, char **argv)
{
	char **specs = app_begin(&app, argc, argv);
	char names[2][256];
	uint64_t end;
	int status;

	set_up(specs);
	status = start_threads();
	if (!status)
		app_await_links(devs, 2);
	for (unsigned i = 0; i < 2; i++) {
		snprintf(names[i], sizeof(names[i]), "%s to %s", labels[i], labels[!i]);
		directions[i].name = names[i];
	}
	app_rates(rates);
	while (!status && app_running()) {
		struct pollfd fds[2];

		for (unsigned i = 0; i < 2; i++)
			fds[i] = (struct pollfd){.fd = ixy_event_fd(devs[i]), .events = POLLIN};
		poll(fds, 2, LOOK_MS);
		for (unsigned i = 0; i < 2 && !status; i++) {
			status = look_after(devs[i]);
			count_direction(i);
		}
	}

	app_stop();
	stop_threads();
	end = app_now() + DRAIN_NS;
	for (unsigned i = 0; i < lane_count; i++)
		drain(&lanes[i], end);
	tear_down();
	return status;
}
