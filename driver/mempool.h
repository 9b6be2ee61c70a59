/*
 * For drivers: buffers between a pool's stack and a ring, as pointers and nothing else. No buffer's memory is
 * touched, so one costs a single instruction and no cache miss. Inline, because they are called once a batch, and
 * a batch may be of a few frames only.
 *
 * Threads: as mempools.
 */
#ifndef IXY_MEMPOOL_H
#define IXY_MEMPOOL_H

#include <string.h>

#include "driver/packet.h"

/* Debug builds: abort on a buffer that is taken or given back twice, or given to another's pool. */
#ifdef IXY_DEBUG
void mempool_check_taken(struct pkt_buf *const bufs[], uint32_t count);
void mempool_check_freed(const struct mempool *pool, struct pkt_buf *const bufs[], uint32_t count);
#else
#define mempool_check_taken(bufs, count)       ((void)0)
#define mempool_check_freed(pool, bufs, count) ((void)0)
#endif

/* Take count buffers off the stack, or as many as there are, which is returned; pool->exhausted counts the rest. */
static inline uint32_t mempool_pop(struct mempool *pool, uint32_t count)
{
	if (__builtin_expect(count > pool->free_count, 0)) {
		/* Other threads read it for their statistics. */
		__atomic_store_n(
			&pool->exhausted, pool->exhausted + (count - pool->free_count), __ATOMIC_RELAXED);
		count = pool->free_count;
	}
	pool->free_count -= count;
	return count;
}

/*
 * Take count buffers, or as many as there are: their number is returned. Their fields are as their last owner left
 * them, all but iova_offset, pool and index: the taker sets them before anybody else sees the buffer.
 */
static inline uint32_t mempool_take(struct mempool *pool, struct pkt_buf *bufs[], uint32_t count)
{
	count = mempool_pop(pool, count);
	memcpy(bufs, pool->free_stack + pool->free_count, count * sizeof(bufs[0]));
	mempool_check_taken(bufs, count);
	return count;
}

/* Give back count buffers of this pool. What `next` in them says is not followed. */
static inline void mempool_put(struct mempool *pool, struct pkt_buf *const bufs[], uint32_t count)
{
	mempool_check_freed(pool, bufs, count);
	memcpy(pool->free_stack + pool->free_count, bufs, count * sizeof(bufs[0]));
	pool->free_count += count;
}

/* The same for buffers of several pools, each to its own; NULLs among them are passed over. */
void mempool_put_mixed(struct pkt_buf *const bufs[], uint32_t count);

#endif
