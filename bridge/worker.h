/*
 * A worker: the thread of one queue pair. It moves frames between a NIC queue and a kernel_port until told
 * otherwise, polls while that pays and sleeps when it does not.
 *
 * The functions here belong to the main thread.
 */
#ifndef BRIDGE_WORKER_H
#define BRIDGE_WORKER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "bridge/kernel_port.h"
#include "bridge/stats.h"
#include "driver/ixy.h"

struct worker;

#define WORKER_BATCH 64 /* frames a burst, at most */

struct worker_config {
	struct ixy_device *dev;
	uint16_t queue; /* receive and transmit queue of dev */
	struct kernel_port *port;
	struct queue_counters *counters; /* zeroed; written by the worker alone, and outlive it */
	const char *name;                /* of the thread, in ps and top */
	int cpu;                         /* where it runs; -1: the scheduler chooses */
	bool offload;                    /* the kernel takes super-frames and checksums yet to be completed */
	bool gro, gro_udp;               /* with offload: coalesce TCP, and UDP as well, toward the kernel */
	bool poll;                       /* never sleep */
	uint32_t idle_usecs;             /* longest time to poll in vain before sleeping */
	/* How long frames that nobody answers may gather, from the NIC (rx) and from the kernel (tx); 0: never. */
	uint32_t rx_usecs, tx_usecs;
	uint16_t rx_ring;  /* of dev, as asked for when it was opened; 0: the default */
	uint32_t tx_queue; /* frames that the kernel keeps for this queue (txqueuelen); 0: as many as usual */
	/* Called once, in the worker's thread, when the interface has been deleted. The worker then waits. */
	void (*interface_gone)(void *arg);
	void *arg;
};

/* Start the thread. config is copied, its pointers stay. 0 or a negative errno (-EINVAL: no such cpu). */
int worker_start(const struct worker_config *config, struct worker **worker);

/*
 * Park the workers where they touch neither device nor port, and wait until all have got there; let them go
 * on. For ixy_reset().
 */
void workers_pause(struct worker *workers[], size_t count);
void workers_resume(struct worker *workers[], size_t count);

/* Coalesce or not (config->gro) from the next burst on, with config->offload. */
void workers_set_gro(struct worker *workers[], size_t count, bool on);

/* The kernel's queue has got another length (config->tx_queue). */
void workers_set_tx_queue(struct worker *workers[], size_t count, uint32_t frames);

/*
 * The end, in two steps. Drain: read no more from the kernel, see all frames off that were read, for at most
 * 200 ms, park. (Here the caller shuts the NIC's port, so that nothing more comes in.) Stop: hand what
 * has been received to the kernel, end the threads, free the workers.
 */
void workers_drain(struct worker *workers[], size_t count);
void workers_stop(struct worker *workers[], size_t count);

/*
 * The end without touching the device once more, from workers_pause() on: it has gone or is in no state to be
 * used.
 */
void workers_abandon(struct worker *workers[], size_t count);

#endif
