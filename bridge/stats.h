/*
 * Counters of the bridge, and how they are told: as text for people, as JSON for programs.
 *
 * A worker owns one struct queue_counters and is its only writer; others read it at any time. Each number is
 * whole, the set of them is not one instant. Those of two workers lie WORKER_LINES apart, or more.
 *
 * Directions are named from the wire: rx = from the NIC to the kernel, tx = from the kernel to the NIC.
 */
#ifndef BRIDGE_STATS_H
#define BRIDGE_STATS_H

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

#include "driver/ixy.h"

/*
 * What one worker writes shares no cache line with what another one does. Two lines, because x86 fetches them in pairs.
 */
#define WORKER_LINES 128

struct direction_counters {
	uint64_t frames, bytes, bursts;
};

struct queue_counters {
	struct direction_counters rx; /* delivered to the kernel */
	struct direction_counters
		tx; /* read from the kernel; what the NIC took of it is the driver's count */
	uint64_t drops[IXY_DROP_COUNT]; /* given up by the bridge */
	uint64_t started_ns;            /* CLOCK_MONOTONIC; 0 before the worker runs */
	uint64_t sleep_ns;              /* slept so far, without a sleep that lasts */
	uint64_t asleep_since_ns;       /* when the sleep began that lasts; 0: awake */
	uint64_t sleeps;
	uint64_t port_restarts; /* see ports_restart(); the main thread's, while the worker is parked */
	uint64_t wakeups;       /* sleeps that a frame ended, by interrupt or through the kernel's queue */
};

/* The owner's side: a plain addition that readers in other threads see whole. */
static inline void counter_add(uint64_t *counter, uint64_t n)
{
	__atomic_store_n(counter, *counter + n, __ATOMIC_RELAXED);
}

static inline void counter_set(uint64_t *counter, uint64_t value)
{
	__atomic_store_n(counter, value, __ATOMIC_RELAXED);
}

/* Everything that is told, taken down at one time. */
struct report {
	const char *device, *ifname, *driver;
	double uptime_s;
	struct ixy_link link;
	uint16_t mtu;
	struct ixy_mac mac;
	struct ixy_stats nic;
	struct direction_counters rx, tx; /* sums over the queues */
	uint64_t drops[IXY_DROP_COUNT];   /* of all layers */
	uint16_t queue_count;
	struct queue_report {
		struct direction_counters rx, tx;
		uint64_t drops[IXY_DROP_COUNT];
		double poll_s, sleep_s;
		uint64_t sleeps, wakeups, port_restarts;
	} queues[IXY_MAX_QUEUES];
};

/*
 * Take down the counters of dev and of its queues' workers (counters[0 .. queues of dev - 1]). now_ns is
 * CLOCK_MONOTONIC; ifname and start_ns are the daemon's. report keeps pointers to dev's and ifname's strings.
 */
void report_take(struct report *report, const struct ixy_device *dev,
	const struct queue_counters *const counters[], const char *ifname, uint64_t start_ns,
	uint64_t now_ns);

void report_print_text(const struct report *report, FILE *out);
void report_print_json(const struct report *report, FILE *out); /* one object on one line */

#endif
