/*
 * What the applications on ixy devices share besides app.h: the options of a device, opening it, waiting for its link,
 * sleeping while nothing comes, threads on CPUs, and saying why frames were lost.
 *
 *	static const struct app_option options[] = {
 *		{'b', "batch", "N", "frames a call", APP_NUMBER, &batch, 1, 256, NULL},
 *		APP_DEVICE_OPTIONS,
 *		APP_COMMON_OPTIONS,
 *	};
 *	...
 *	struct ixy_device *dev = app_open(arguments[0], NULL);
 *	struct app_idle idle = {0};
 *
 *	app_idle_add(&idle, dev, 0);
 *	app_await_links(&dev, 1);
 *	while (app_running()) {
 *		n = ixy_rx_batch(dev, 0, bufs, 32);
 *		...
 *		if (n)
 *			app_busy(&idle);
 *		else
 *			app_rest(&idle, APP_QUIET);
 *	}
 */
#ifndef APPS_APP_DEVICE_H
#define APPS_APP_DEVICE_H

#include <poll.h>
#include <pthread.h>

#include "contrib/apps/app.h"
#include "driver/ixy.h"

#define APP_MAX_CPUS 64

/* --- options -------------------------------------------------------------------------------------------- */

/* What the command line says of devices. 0: nothing. */
struct app_device_options {
	uint64_t queues, ring, mtu;
	uint64_t wait; /* for the link, nanoseconds; default 10 s */
	bool poll, force, reserve_huge_pages;
	unsigned iova; /* enum ixy_iova */
};
extern struct app_device_options app_device;

/* clang-format off */
#define APP_DEVICE_OPTIONS \
	{'q', "queues", "N", "queue pairs of each device (default: as its name says, or 1)", APP_NUMBER, \
		&app_device.queues, 1, IXY_MAX_QUEUES, NULL}, \
	{0, "ring", "N", "descriptors a ring: a power of two", APP_NUMBER, &app_device.ring, 64, 4096, NULL}, \
	{0, "mtu", "N", "longest payload of a frame (default 1500)", APP_NUMBER, &app_device.mtu, IXY_MIN_MTU, \
		UINT16_MAX, NULL}, \
	{0, "wait", "TIME", "for the link, at the start; then go on without it", APP_DURATION, &app_device.wait, 0, 0, \
		NULL}, \
	{'p', "poll", NULL, "never sleep: a core a thread for the lowest latency", APP_FLAG, &app_device.poll, 0, 0, \
		NULL}, \
	{0, "force", NULL, "take a NIC although it is a live interface of this host", APP_FLAG, &app_device.force, 0, \
		0, NULL}, \
	{0, "reserve-hugepages", NULL, "reserve the huge pages that are missing", APP_FLAG, \
		&app_device.reserve_huge_pages, 0, 0, NULL}, \
	{0, "iova", "auto|pa|va", "addresses for the NIC: physical, or virtual", APP_CHOICE, &app_device.iova, 0, 0, \
		NULL}
/* clang-format on */

/* --- devices -------------------------------------------------------------------------------------------- */

/*
 * Open a device as the command line says; `more` (or NULL) holds what the application adds, of which non-zero
 * members win. Ends the program where that fails.
 */
struct ixy_device *app_open(const char *spec, const struct ixy_options *more);

/*
 * ixy_close(). A device that was opened here is closed here: what is still open when the program ends by exit(), as
 * app_check() does, is stopped and closed then, so that no NIC goes on writing into memory that is no longer ours.
 * So nobody may call exit() while another thread is inside of a device.
 */
void app_close(struct ixy_device *dev);

/*
 * As app_check(), with the exit codes of ixy-tapd: 77 not permitted, 78 a wrong spec or option, 69 anything else
 * about the device.
 */
int app_check_device(int result);
int app_device_status(int result); /* the exit code alone */

/* "soft:veth1" of "soft:veth1,control=/run/nic": a device's name in what is printed. Malloc'd; never NULL. */
char *app_device_label(const struct ixy_device *dev);

/*
 * Wait until all links are up, as long as --wait says, and say on stderr what they are. A link that stays down is no
 * error: it may come later. Not while other threads use these devices' ixy_poll_events().
 */
void app_await_links(struct ixy_device *const devs[], unsigned count);

/* ixy_poll_events(), saying on stderr what has happened. Returns the same bits. */
uint32_t app_poll_events(struct ixy_device *dev);

/* Those of a device's drops whose names begin with "rx-" or with "tx-": lost on the way in, or out. */
uint64_t app_sum_drops(const uint64_t drops[IXY_DROP_COUNT], const char *way);

/* A line for each reason for which frames were lost: "soft:veth1: 12 dropped, rx-no-descriptor: the NIC had ...". */
void app_print_drops(const char *name, const uint64_t drops[IXY_DROP_COUNT]);

/* --- sleeping ------------------------------------------------------------------------------------------- */

/* What a thread's transmit queues are up to. */
enum app_sending {
	APP_QUIET, /* nothing to send */
	APP_SENDING, /* frames are on their way out; their buffers are to be taken back (ixy_tx_batch() with 0) */
	APP_FULL     /* the ring has not taken all: it has to be tried again */
};

/*
 * One thread's sleep, until one of its receive queues has a frame. While frames keep coming the queues are polled;
 * after some quiet (50 us) it sleeps: by interrupt, or in short naps where a device has none. {0} to start with.
 */
struct app_idle {
	struct {
		struct ixy_device *dev;
		uint16_t queue;
	} queues[2 * IXY_MAX_QUEUES];
	struct pollfd fds[2 * IXY_MAX_QUEUES];
	unsigned count, fd_count; /* fewer descriptors than queues: some have no interrupts */
	bool armed;
	uint64_t since; /* when it became quiet; 0: it is not */
	uint64_t nap;   /* the next one, nanoseconds */
};

void app_idle_add(struct app_idle *idle, struct ixy_device *dev, uint16_t queue);

/* A round has moved something. */
static inline void app_busy(struct app_idle *idle)
{
	idle->since = 0;
	idle->armed = false;
}

/*
 * A round has moved nothing: sleep, or not yet. The caller goes round once more after each call, so that queues are
 * looked at between arming their interrupts and sleeping: see ixy_rx_irq_fd(). Sleeps no longer than 100 ms.
 */
void app_rest(struct app_idle *idle, enum app_sending sending);

/*
 * What app_rest() does in the end, for who knows better when: arm the queues' interrupts, and at the next call sleep
 * until one comes, or for so long. Returns whether it has slept.
 */
bool app_sleep(struct app_idle *idle, uint64_t ns);

/* --- threads -------------------------------------------------------------------------------------------- */

/* For an option {'c', "cpu", "LIST", "...", APP_CALL, NULL, 0, 0, app_cpu_list}: CPUs, as in 2,4-7. */
bool app_cpu_list(const char *text);

/*
 * Start the number-th thread, on the number-th CPU of that list (if it is that long), without signals, which are the
 * main thread's. Returns 0; or the exit code for it, having said why on stderr: the caller ends the threads that run
 * before it exits, because exit() closes the devices.
 */
int app_thread_start(pthread_t *thread, unsigned number, void *(*run)(void *), void *argument);

#endif
