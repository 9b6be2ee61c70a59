/*
 * What the files of the AF_XDP library share: the objects behind xsk.h.
 *
 * A UMEM has a list of its sockets and one of its queues. The kernel knows a UMEM by the sockets that are
 * bound to it, so a second socket joins by naming any of the others; when the last one is closed the kernel
 * forgets the UMEM, and the next socket registers it anew.
 */
#ifndef IXY_XDP_XSK_PARTS_H
#define IXY_XDP_XSK_PARTS_H

#include <pthread.h>
#include <sys/socket.h>

#include "driver/xdp/ring.h"
#include "driver/xdp/xsk.h"

#define XSK_CACHE_LINE 64

/*
 * A number that one thread writes and others look at. Who reads a counter reads what was counted before it too: a
 * frame is counted as filled before it is counted as received, and seen so.
 */
static inline uint64_t counter_read(const uint64_t *counter)
{
	return __atomic_load_n(counter, __ATOMIC_ACQUIRE);
}

static inline void counter_add(uint64_t *counter, uint64_t more)
{
	__atomic_store_n(counter, __atomic_load_n(counter, __ATOMIC_RELAXED) + more, __ATOMIC_RELEASE);
}

/* Fill and completion ring of one queue of one interface. */
struct xsk_queues {
	struct xsk_umem *umem;
	struct xsk_queues *next;
	uint32_t ifindex;
	uint32_t queue_id;
	uint32_t sockets;                   /* how many use it */
	const struct xsk_socket *mapped_by; /* whose descriptor the rings are mapped through */
	uint64_t past_received;             /* what sockets that have been closed since had received, */
	uint64_t past_transmitted;          /* and handed over to send */

	/* Receiving and sending touch different cache lines. */
	struct xsk_ring fill __attribute__((aligned(XSK_CACHE_LINE)));
	uint64_t filled;

	struct xsk_ring completion __attribute__((aligned(XSK_CACHE_LINE)));
	uint64_t completed;
	uint64_t bad_entries;
};

struct xsk_socket {
	struct xsk_umem *umem;
	struct xsk_queues *queues;
	struct xsk_socket *next;
	int fd;
	uint32_t ifindex;
	uint32_t queue_id;
	int fallback_reason; /* errno of the bind with zero copy */
	bool zero_copy;
	bool multi_buffer;
	bool need_wakeup;

	struct xsk_ring rx __attribute__((aligned(XSK_CACHE_LINE)));
	uint64_t received;
	uint64_t bad_entries;

	struct xsk_ring tx __attribute__((aligned(XSK_CACHE_LINE)));
	uint64_t transmitted;
};

struct xsk_umem_state {
	/*
	 * Sockets and queues. Opening takes seconds where a queue is busy, so it has a lock of its own: who holds
	 * both may change the lists, who holds either may read them. `opening` is taken first.
	 */
	pthread_mutex_t opening;
	pthread_mutex_t lock;
	struct xsk_socket *sockets;
	struct xsk_queues *queues;
	uint32_t fill_size;
	uint32_t completion_size;
	bool registered; /* the kernel has known it before, and may not have forgotten it quite yet */

	/* Memory of our own; map_size 0: the caller's. */
	size_t map_size;

	/* The allocator: free_stack[0 .. free_count - 1] are the addresses of free frames. */
	pthread_mutex_t frame_lock;
	uint64_t *free_stack;
	uint32_t free_count;
	uint8_t *taken; /* IXY_DEBUG: 1 while the user has the frame */
};

#endif
