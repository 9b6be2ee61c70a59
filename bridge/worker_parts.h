/*
 * What the parts of a worker share, and nobody else sees: worker.c the thread and what the main thread asks of it,
 * worker_frames.c what moves frames, worker_sleep.c when to poll and when to sleep.
 */
#ifndef BRIDGE_WORKER_PARTS_H
#define BRIDGE_WORKER_PARTS_H

#include "bridge/worker.h"

#include <ev.h>
#include <pthread.h>
#include <stdatomic.h>

#include "driver/clock.h"
#include "driver/spin.h"

#define likely(x)   __builtin_expect(!!(x), 1)
#define unlikely(x) __builtin_expect(!!(x), 0)

#define NAP_MIN_NS      20000 /* the shortest nap */
#define UNANSWERED_MANY 32    /* spells of quiet in a row that only frames of one way ended */

enum request { RUN, PAUSE, DRAIN, STOP, ABANDON };

struct worker {
	struct worker_config config;
	struct queue_counters *counters; /* = config.counters */
	pthread_t thread;

	/* What the main thread wants; read in every round, so plain atomics. */
	_Atomic enum request request;
	_Atomic bool gro;
	_Atomic uint32_t tx_queue;
	pthread_mutex_t lock;
	pthread_cond_t moved; /* request or parked has changed */
	bool parked;          /* under lock */
	struct ev_async wake; /* ends a sleep because of a request */

	/* All below: the worker's own. */
	struct ev_loop *loop;
	struct ev_io irq_io, tap_io, nap_io;
	struct ev_timer reclaim;
	bool has_irq;
	int nap_fd;
	bool stirred; /* the last sleep was ended by something that it waited for: */
	bool woken;   /* by a frame */
	bool slept;   /* since the last round that moved something */
	bool gone;    /* the interface */

	/* Frames from the kernel that the NIC's ring had no room for. */
	struct pkt_buf *pending[WORKER_BATCH];
	uint32_t pending_first, pending_count;
	bool starved; /* no buffer to read into */
	bool full;    /* the port has no room: frames stay in the NIC's ring */

	bool tap_hot;             /* read the tap in the next round */
	uint64_t tap_interval_ns; /* between two looks at a tap that was empty */
	uint64_t tap_dry_ns;      /* when it was last read empty */
	uint64_t quiet_since_ns;  /* 0: the last round moved something */
	struct spin spin;         /* how long to poll in vain */
	uint64_t nap_ns;          /* length of the next nap */
	bool outward;             /* what came last came from the kernel, not from the NIC */
	uint32_t unanswered;      /* short spells of quiet since something came the other way */
	uint64_t gather_ns;       /* how long frames that nobody answers are left to gather */
	uint32_t gathered;        /* buffers, or places in the kernel's queue, that they had taken then */
	uint32_t gather_rounds;   /* rounds that still count for it, of GATHER_ROUNDS after each nap */
};

/* Frames come that nobody answers: see worker_sleep.c. */
static inline bool one_way(const struct worker *w)
{
	return w->unanswered >= UNANSWERED_MANY;
}

static inline bool one_way_in(const struct worker *w)
{
	return one_way(w) && !w->outward;
}

static inline bool one_way_out(const struct worker *w)
{
	return one_way(w) && w->outward;
}

#define GATHER_ROUNDS 2 /* so many full bursts are a quarter of a ring of the default size */
#define GATHER_MOST   (GATHER_ROUNDS * WORKER_BATCH)

/* How many buffers of a receive ring (0: of the default size) may gather: a quarter, if that can be seen. */
static inline uint32_t gather_most(uint32_t ring)
{
	return ring && ring / 4 < GATHER_MOST ? ring / 4 : GATHER_MOST;
}

/*
 * Whether frames may gather in a queue of the kernel (0: of the usual length): if as many as can be seen are no more
 * than a quarter. Who has made it shorter wants little to wait there, and it would overflow with the first delay.
 */
static inline bool gather_in_queue(uint32_t frames)
{
	return frames == 0 || frames / 4 >= GATHER_MOST;
}

/*
 * How long frames that nobody answers may gather next, when they had taken so much room after `ns` of it: longer, up
 * to max, as long as twice as much is no more than most; sooner where it has become as much as that.
 */
static inline uint64_t gather_time(uint64_t ns, uint32_t taken, uint32_t most, uint64_t max)
{
	if (taken >= most)
		ns = ns / 2 < NAP_MIN_NS ? NAP_MIN_NS : ns / 2;
	else if (taken <= most / 2)
		ns *= 2;
	return ns < max ? ns : max;
}

/* --- worker_frames.c ---------------------------------------------------------------------------------- */

/* One burst from the NIC to the kernel. Returns frames taken from the ring. */
uint32_t forward_rx(struct worker *w);
/* One burst from the kernel to the NIC. Returns frames that moved. */
uint32_t forward_tx(struct worker *w);
/* Count the frames that wait for the NIC as dropped. */
void drop_pending(struct worker *w, enum ixy_drop reason);
/* See off what the kernel has handed over, and hand over what lies in the receive ring. Both are bounded. */
void drain_tx(struct worker *w);
void drain_rx(struct worker *w);

/* --- worker_sleep.c ----------------------------------------------------------------------------------- */

/* What a worker sleeps in. 0 or a negative errno; close undoes it. Called before and after the thread lives. */
int open_loop(struct worker *w);
void close_loop(struct worker *w);
/* Nothing moved in the last round: poll on, or sleep. */
void idle(struct worker *w);
/* This round has moved frames: received, sent, or both. */
void end_quiet(struct worker *w, uint32_t received, uint32_t sent);
/* The quiet was no quiet: the thread stood still for another reason. */
void forget_quiet(struct worker *w);

#endif
