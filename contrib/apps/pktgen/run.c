#include "contrib/apps/pktgen/run.h"

#include <net/ethernet.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define LOOK_MS   300
#define SPIN_NS   60000 /* about what falling asleep and waking up costs: not worth it for less */
#define MARGIN_NS 30000 /* to be awake before a frame is due */
#define NAP_NS    50000
#define SLEEP_NS  10000000
#define RX_RING   4096

void run_open(struct run *run, struct sender *sender, struct receiver *receiver)
{
	*run = (struct run){.sender = sender, .receiver = receiver};
	for (uint16_t queue = 0; receiver && queue < ixy_rx_queues(receiver->dev); queue++)
		app_idle_add(&run->idle, receiver->dev, queue);
}

struct ixy_device *run_open_device(const char *spec, uint32_t longest, uint32_t pool_buffers)
{
	uint32_t payload = longest - FRAME_CRC - (uint32_t)sizeof(struct ether_header);
	struct ixy_options options = {.pool_buffers = pool_buffers};

	if (!app_device.ring)
		options.rx_ring = RX_RING;
	if (!app_device.mtu && payload > ETHERMTU)
		options.mtu = (uint16_t)payload;
	return app_open(spec, &options);
}

bool run_parse_mac(const char *text, uint8_t mac[6])
{
	int end = 0;

	return sscanf(text, "%2hhx:%2hhx:%2hhx:%2hhx:%2hhx:%2hhx%n", &mac[0], &mac[1], &mac[2], &mac[3],
		       &mac[4], &mac[5], &end) == 6 &&
	       !text[end] && !strpbrk(text, "+- ");
}

uint16_t run_number(void)
{
	static uint16_t number;

	if (!number)
		number = (uint16_t)(app_now() / 1000 ^ (uint64_t)getpid());
	return ++number;
}

/* --- the keeper ----------------------------------------------------------------------------------------- */

static struct {
	pthread_t thread;
	pthread_mutex_t lock; /* held while it is inside of a device: ixy_reset() wants to be alone */
	struct ixy_device *devs[2];
	unsigned count;
	bool running;
	atomic_bool stop, lost, reset[2];
} keeper = {.lock = PTHREAD_MUTEX_INITIALIZER};

static void *keep(void *unused)
{
	while (!atomic_load(&keeper.stop)) {
		pthread_mutex_lock(&keeper.lock);
		for (unsigned i = 0; i < keeper.count; i++) {
			uint32_t events = app_poll_events(keeper.devs[i]);

			if (events & IXY_EVENT_RESET)
				atomic_store(&keeper.reset[i], true);
			if (events & IXY_EVENT_GONE)
				atomic_store(&keeper.lost, true);
		}
		pthread_mutex_unlock(&keeper.lock);
		for (unsigned i = 0; i < LOOK_MS / 10 && !atomic_load(&keeper.stop); i++)
			usleep(10000);
	}
	return unused;
}

void run_keeper_start(struct ixy_device *const devs[], unsigned count)
{
	int status;

	keeper.count = count;
	for (unsigned i = 0; i < count; i++)
		keeper.devs[i] = devs[i];
	status = app_thread_start(&keeper.thread, 0, keep, NULL);
	if (status)
		exit(status);
	keeper.running = true;
	/* Before what app_open() has registered: exit() closes devices, and nobody may be inside of one then. */
	atexit(run_keeper_stop);
}

void run_keeper_stop(void)
{
	if (!keeper.running)
		return;
	keeper.running = false;
	atomic_store(&keeper.stop, true);
	pthread_join(keeper.thread, NULL);
}

bool run_lost_device(void)
{
	return atomic_load_explicit(&keeper.lost, memory_order_relaxed);
}

/* The thread of the queues, which is the only other one that is ever inside of a device. */
static void reset_where_wanted(void)
{
	for (unsigned i = 0; i < 2; i++) {
		int result;

		if (!atomic_load_explicit(&keeper.reset[i], memory_order_relaxed))
			continue;
		pthread_mutex_lock(&keeper.lock);
		result = ixy_reset(keeper.devs[i]);
		atomic_store(&keeper.reset[i], false);
		pthread_mutex_unlock(&keeper.lock);
		app_check_device(result);
	}
}

/* --- a turn --------------------------------------------------------------------------------------------- */

/*
 * Nothing moved. Sleep until a frame is due or one comes, by interrupt where there are some: these are armed first, and
 * the queues looked at once more in the next turn.
 */
static void rest(struct run *run, uint64_t due_ns)
{
	uint64_t now = app_now(), sleep = due_ns > now ? due_ns - now : 0, longest;
	struct app_idle *idle = &run->idle;
	bool blocked = run->sender && sender_blocked(run->sender);

	if (app_device.poll || (sleep < SPIN_NS && !blocked))
		return;
	/* Nothing tells that a ring has room again, or that a queue without interrupts has a frame. */
	longest = blocked || idle->fd_count < idle->count ? NAP_NS : SLEEP_NS;
	sleep = blocked || sleep - MARGIN_NS > longest ? longest : sleep - MARGIN_NS;
	app_sleep(idle, sleep);
}

bool run_turn(struct run *run)
{
	bool moved = false;
	uint64_t due = UINT64_MAX;

	reset_where_wanted();
	if (run->sender) {
		moved |= sender_step(run->sender);
		due = sender_due_ns(run->sender);
	}
	if (run->receiver)
		moved |= receiver_step(run->receiver);
	if (moved)
		app_busy(&run->idle);
	else
		rest(run, due);
	return !run_lost_device();
}

void run_linger(struct run *run, uint64_t sent, uint64_t silence_ns)
{
	uint64_t since = app_now(), seen = run->receiver->total.frames;

	while (app_now() - since < silence_ns && (!sent || run->receiver->total.frames < sent) &&
		run_turn(run)) {
		if (run->receiver->total.frames == seen)
			continue;
		seen = run->receiver->total.frames;
		since = app_now();
	}
}
