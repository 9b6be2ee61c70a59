/*
 * What the two files of the blocking endpoint share: endpoint.c opens, closes and reads, endpoint_write.c
 * writes.
 */
#ifndef IXY_XDP_ENDPOINT_PARTS_H
#define IXY_XDP_ENDPOINT_PARTS_H

#include <net/if.h>
#include <pthread.h>

#include "driver/xdp/endpoint.h"
#include "driver/xdp/xsk_parts.h"

#define ENDPOINT_BATCH 64 /* frames given back at a time; at least XSK_MAX_SEGMENTS */

/* The frame of which the kernel has yet to say what became of it. Copy mode only. */
struct pending_frame {
	struct xdp_desc descs[XSK_MAX_SEGMENTS];
	uint32_t count;    /* 0: there is none */
	uint32_t size;     /* bytes */
	uint32_t returned; /* bit i: descs[i] has come back from the completion ring */
	bool dropped;      /* by the driver; else it is in the TX ring */
};

struct xsk_endpoint {
	struct xsk_umem *umem;
	struct xsk_socket *rx, *tx;
	struct xsk_queues *queues;
	struct xsk_program *program;
	bool own_program;
	bool zero_copy;
	uint32_t max_frame;
	char ifname[IF_NAMESIZE];

	/* Who is inside, so that close can wait for them. */
	pthread_mutex_t gate;
	pthread_cond_t empty;
	uint32_t inside;
	int closed;  /* atomic */
	int stop_fd; /* an eventfd, readable from shutdown on */

	/* The reader's side: a frame taken from the RX ring and not yet read, frames to give back. */
	pthread_mutex_t rx_lock;
	struct xdp_desc received[XSK_MAX_SEGMENTS];
	uint32_t received_count;
	uint64_t used[ENDPOINT_BATCH];
	uint32_t used_count;
	uint64_t rx_frames, rx_bytes;

	/* The writer's side. */
	pthread_mutex_t tx_lock;
	uint64_t *free_frames;
	uint32_t free_count;
	struct pending_frame pending;
	uint64_t tx_frames, tx_bytes, tx_retries;
};

/* --- time ----------------------------------------------------------------------------------------------- */

/* Deadlines are times of clock_ms(); one that never comes. */
#define ENDPOINT_FOR_EVER INT64_MAX
int64_t endpoint_deadline(int timeout_ms);

/* Time over is EAGAIN for who did not want to wait. */
int endpoint_timed_out(int rc, int timeout_ms);

/* --- who is inside -------------------------------------------------------------------------------------- */

static inline bool endpoint_is_closed(const struct xsk_endpoint *endpoint)
{
	return __atomic_load_n(&endpoint->closed, __ATOMIC_ACQUIRE);
}

/*
 * Into a call and out of it, with the lock of its side: one reader and one writer at a time, the others wait
 * no longer than they have time. Every enter is followed by a leave with what it returned.
 */
int endpoint_enter(struct xsk_endpoint *endpoint, pthread_mutex_t *side, int64_t deadline);
void endpoint_leave(struct xsk_endpoint *endpoint, pthread_mutex_t *side, int entered);

/* --- for close, which writes what is left --------------------------------------------------------------- */

/* Sent frames are free again; but those of a frame that was dropped are kept for its next attempt. */
void endpoint_reclaim(struct xsk_endpoint *endpoint);

/*
 * Before asking a busy device again. 0, or -ETIMEDOUT, -EINTR, -ESHUTDOWN (but not to close, which did
 * that).
 */
int endpoint_pause(struct xsk_endpoint *endpoint, int64_t deadline, uint32_t *tries, bool closing);

/* Until the pending frame is with the driver. 0, also where there is none, or why not. */
int endpoint_push(struct xsk_endpoint *endpoint, int64_t deadline, bool closing);

#endif
