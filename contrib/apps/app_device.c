/*
 * Devices of the applications: opening, links, sleeping, threads. See app_device.h.
 */
#include "contrib/apps/app_device.h"

#include <errno.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sysexits.h>
#include <time.h>

#define SECOND      UINT64_C(1000000000)
#define QUIET_NS    50000 /* polled in vain before sleeping */
#define NAP_MIN_NS  20000 /* shortest and longest nap where no interrupt ends it */
#define NAP_MAX_NS  1000000
#define RECLAIM_NS  10000000  /* how long sent buffers may lie in a ring */
#define SLEEP_NS    100000000 /* at most, for the caller to look around */
#define MAX_DEVICES 8

struct app_device_options app_device = {.wait = 10 * SECOND};

static unsigned cpus[APP_MAX_CPUS], cpu_count;
static struct ixy_device *open_devices[MAX_DEVICES];
static bool registered; /* close_all() */

/* --- devices -------------------------------------------------------------------------------------------- */

int app_device_status(int result)
{
	switch (result) {
	case -EACCES:
	case -EPERM: return EX_NOPERM;
	case -EINVAL: return EX_CONFIG;
	default: return EX_UNAVAILABLE;
	}
}

int app_check_device(int result)
{
	if (result >= 0)
		return result;
	fprintf(stderr, "%s: %s\n", program_invocation_short_name, ixy_last_error());
	exit(app_device_status(result));
}

/* Whatever of its memory the application has shared with others. */
static void unshare_received(const struct ixy_device *dev)
{
	for (uint16_t queue = 0; queue < ixy_rx_queues(dev); queue++) {
		struct mempool *pool = ixy_rx_pool(dev, queue);

		for (unsigned i = 0; pool && i < MAX_DEVICES; i++)
			if (open_devices[i] && open_devices[i] != dev)
				ixy_mempool_unshare(pool, open_devices[i]);
	}
}

static void close_all(void)
{
	for (unsigned i = 0; i < MAX_DEVICES; i++)
		if (open_devices[i])
			ixy_stop(open_devices[i]);
	for (unsigned i = 0; i < MAX_DEVICES; i++)
		if (open_devices[i])
			unshare_received(open_devices[i]);
	for (unsigned i = 0; i < MAX_DEVICES; i++)
		ixy_close(open_devices[i]);
}

void app_close(struct ixy_device *dev)
{
	for (unsigned i = 0; i < MAX_DEVICES; i++)
		if (open_devices[i] == dev)
			open_devices[i] = NULL;
	ixy_close(dev);
}

struct ixy_device *app_open(const char *spec, const struct ixy_options *more)
{
	struct ixy_options options = more ? *more : (struct ixy_options){0};
	uint16_t queues = app_device.queues ? (uint16_t)app_device.queues : ixy_spec_queues(spec);
	struct ixy_device *dev;
	unsigned slot = 0;

	while (open_devices[slot] && slot < MAX_DEVICES - 1)
		slot++;
	options.rx_queues = options.rx_queues ? options.rx_queues : queues;
	options.tx_queues = options.tx_queues ? options.tx_queues : queues;
	options.rx_ring = options.rx_ring ? options.rx_ring : (uint16_t)app_device.ring;
	options.tx_ring = options.tx_ring ? options.tx_ring : (uint16_t)app_device.ring;
	options.mtu = options.mtu ? options.mtu : (uint16_t)app_device.mtu;
	options.no_interrupts |= app_device.poll;
	options.force |= app_device.force;
	options.reserve_huge_pages |= app_device.reserve_huge_pages;
	options.iova = options.iova ? options.iova : (enum ixy_iova)app_device.iova;
	app_check_device(ixy_open(spec, &options, &dev));
	if (!open_devices[slot]) {
		if (!registered)
			atexit(close_all);
		registered = true;
		open_devices[slot] = dev;
	}
	return dev;
}

char *app_device_label(const struct ixy_device *dev)
{
	const char *name = ixy_device_name(dev);
	char *label = strndup(name, strcspn(name, ","));

	if (!label) {
		perror(program_invocation_short_name);
		exit(EX_OSERR);
	}
	return label;
}

static void tell_link(const struct ixy_device *dev)
{
	struct ixy_link link = ixy_link_get(dev);

	if (link.up)
		fprintf(stderr, "%s: %s: link up, %u Mbit/s\n", program_invocation_short_name,
			ixy_device_name(dev), link.speed);
	else
		fprintf(stderr, "%s: %s: link down\n", program_invocation_short_name, ixy_device_name(dev));
}

void app_await_links(struct ixy_device *const devs[], unsigned count)
{
	uint64_t end = app_now() + app_device.wait;
	bool all;

	do {
		all = true;
		for (unsigned i = 0; i < count; i++) {
			ixy_poll_events(devs[i]);
			all = all && ixy_link_get(devs[i]).up;
		}
		if (!all)
			nanosleep(&(struct timespec){.tv_nsec = NAP_MAX_NS * 10}, NULL);
	} while (!all && app_now() < end && app_running());
	for (unsigned i = 0; i < count; i++)
		tell_link(devs[i]);
}

uint32_t app_poll_events(struct ixy_device *dev)
{
	uint32_t events = ixy_poll_events(dev);

	if (events & IXY_EVENT_GONE)
		fprintf(stderr, "%s: %s\n", program_invocation_short_name, ixy_last_error());
	else if (events & IXY_EVENT_RESET)
		fprintf(stderr, "%s: %s: has to be reset\n", program_invocation_short_name,
			ixy_device_name(dev));
	else if (events & IXY_EVENT_LINK)
		tell_link(dev);
	return events;
}

uint64_t app_sum_drops(const uint64_t drops[IXY_DROP_COUNT], const char *way)
{
	uint64_t sum = 0;

	for (int i = 0; i < IXY_DROP_COUNT; i++)
		if (!strncmp(ixy_drop_name(i), way, strlen(way)))
			sum += drops[i];
	return sum;
}

void app_print_drops(const char *name, const uint64_t drops[IXY_DROP_COUNT])
{
	for (int i = 0; i < IXY_DROP_COUNT; i++)
		if (drops[i])
			printf("%s: %llu dropped, %s: %s\n", name, (unsigned long long)drops[i],
				ixy_drop_name(i), ixy_drop_text(i));
}

/* --- sleeping ------------------------------------------------------------------------------------------- */

void app_idle_add(struct app_idle *idle, struct ixy_device *dev, uint16_t queue)
{
	int fd = ixy_rx_irq_fd(dev, queue);

	idle->queues[idle->count].dev = dev;
	idle->queues[idle->count++].queue = queue;
	if (fd >= 0)
		idle->fds[idle->fd_count++] = (struct pollfd){.fd = fd, .events = POLLIN};
}

static void sleep_ns(struct pollfd *fds, nfds_t count, uint64_t ns)
{
	const struct timespec time = {(time_t)(ns / SECOND), (long)(ns % SECOND)};

	ppoll(fds, count, &time, NULL);
}

bool app_sleep(struct app_idle *idle, uint64_t ns)
{
	if (!idle->armed) {
		for (unsigned i = 0; i < idle->count; i++)
			ixy_rx_irq_arm(idle->queues[i].dev, idle->queues[i].queue);
		idle->armed = true; /* and the caller looks once more */
		return false;
	}
	idle->armed = false;
	sleep_ns(idle->fds, idle->fd_count, ns);
	return true;
}

static void lengthen_nap(struct app_idle *idle)
{
	idle->nap = idle->nap * 2 < NAP_MAX_NS ? idle->nap * 2 : NAP_MAX_NS;
}

void app_rest(struct app_idle *idle, enum app_sending sending)
{
	uint64_t now;

	if (app_device.poll)
		return;
	now = app_now();
	if (!idle->since) {
		idle->since = now;
		idle->nap = NAP_MIN_NS;
	}
	if (now - idle->since < QUIET_NS)
		return;

	if (sending == APP_FULL) {
		/* No interrupt tells that a ring has room again; and a queue that nobody reads must not wake. */
		sleep_ns(NULL, 0, idle->nap);
		lengthen_nap(idle);
	} else if (idle->fd_count < idle->count) {
		if (app_sleep(idle, idle->nap))
			lengthen_nap(idle);
	} else {
		app_sleep(idle, sending == APP_SENDING ? RECLAIM_NS : SLEEP_NS);
	}
}

/* --- threads -------------------------------------------------------------------------------------------- */

bool app_cpu_list(const char *text)
{
	cpu_count = 0;
	for (;;) {
		uint32_t first, last;

		if (!app_digits(&text, CPU_SETSIZE - 1, &first))
			return false;
		last = first;
		if (*text == '-') {
			text++;
			if (!app_digits(&text, CPU_SETSIZE - 1, &last))
				return false;
		}
		if (last < first || last - first >= APP_MAX_CPUS - cpu_count)
			return false;
		while (first <= last)
			cpus[cpu_count++] = first++;
		if (!*text)
			return true;
		if (*text++ != ',')
			return false;
	}
}

int app_thread_start(pthread_t *thread, unsigned number, void *(*run)(void *), void *argument)
{
	pthread_attr_t attributes;
	sigset_t all, before;
	cpu_set_t set;
	int error;

	pthread_attr_init(&attributes);
	if (number < cpu_count) {
		CPU_ZERO(&set);
		CPU_SET(cpus[number], &set);
		pthread_attr_setaffinity_np(&attributes, sizeof(set), &set);
	}
	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &before);
	error = pthread_create(thread, &attributes, run, argument);
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	pthread_attr_destroy(&attributes);
	if (!error)
		return 0;
	fprintf(stderr, "%s: cannot start a thread", program_invocation_short_name);
	if (number < cpu_count)
		fprintf(stderr, " on CPU %u", cpus[number]);
	fprintf(stderr, ": %s\n", strerror(error));
	return EX_OSERR;
}
