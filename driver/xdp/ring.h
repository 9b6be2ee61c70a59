/*
 * The rings that an AF_XDP socket shares with the kernel: one producer, one consumer, an array of a power of
 * two entries between them, and two 32-bit indices that only ever grow and wrap by themselves. An index
 * masked by size - 1 is a slot; producer - consumer, in 32-bit arithmetic, is the number of entries.
 *
 *	fill        we produce addresses, the kernel consumes     completion  the kernel produces, we consume
 *	tx          we produce descriptors, the kernel consumes   rx          the kernel produces, we consume
 *
 * Memory order. Each index is written by one side only, and it passes something to the other:
 *
 *   producer  "the entries before this index are written". Stored with release after the entries, loaded with
 *             acquire before they are read; else the consumer could read a slot's old content. For the frames'
 *             bytes the same pair does it: who fills a frame does so before it submits the descriptor.
 *   consumer  "I have read the entries before this index". Stored with release after the reads, loaded with
 *             acquire before the slots are written anew; else the producer could overwrite an entry that the
 *             consumer has yet to read. (No CPU stores before an older load through a branch, but the compiler
 *             may move a read past a plain store.)
 *
 * The kernel's halves are in net/xdp/xsk_queue.h: smp_store_release() and smp_load_acquire() on the same two
 * words. Our own index needs no order when we load it, for nobody else writes it. On x86 all of this
 * compiles to plain loads and stores; what it forbids is the compiler's reordering.
 *
 * Each side keeps a copy of the other's index and looks at the shared one, whose cache line bounces between
 * two CPUs, only when the copy says that there is too little.
 *
 * The kernel's index is checked against the ring's size all the same: one that cannot be ends in "nothing
 * there", not in reads out of bounds.
 */
#ifndef IXY_XDP_RING_H
#define IXY_XDP_RING_H

#include <linux/if_xdp.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct xsk_ring {
	uint32_t *producer; /* in the shared mapping */
	uint32_t *consumer;
	uint32_t *flags; /* XDP_RING_NEED_WAKEUP: written by the kernel */
	union {
		uint64_t *addrs;        /* fill, completion */
		struct xdp_desc *descs; /* rx, tx */
	};
	uint32_t size; /* 0: there is no such ring */
	uint32_t mask;
	uint32_t own;   /* our index: up to where we have produced or consumed */
	uint32_t other; /* the kernel's index, as of the last look */
	void *map;
	size_t map_size;
};

/* --- our side produces: fill, tx ------------------------------------------------------------------------ */

/*
 * Whether count entries can be produced now; those are the slots own .. own + count - 1. The acquire pairs
 * with the release by which the kernel gives slots back.
 */
static inline bool ring_can_produce(struct xsk_ring *ring, uint32_t count)
{
	if (ring->size - (ring->own - ring->other) >= count)
		return true;
	if (!ring->size)
		return false; /* there is no such ring */
	uint32_t consumer = __atomic_load_n(ring->consumer, __ATOMIC_ACQUIRE);

	if (ring->own - consumer > ring->size)
		return false; /* more consumed than was ever produced: not a kernel that we know */
	ring->other = consumer;
	return ring->size - (ring->own - consumer) >= count;
}

/* Pass count entries on, which have been written. The release pairs with the kernel's acquire of producer. */
static inline void ring_produce(struct xsk_ring *ring, uint32_t count)
{
	ring->own += count;
	__atomic_store_n(ring->producer, ring->own, __ATOMIC_RELEASE);
}

/* --- our side consumes: rx, completion ------------------------------------------------------------------ */

/*
 * How many entries there are to consume, at most max: the slots own .. own + that - 1. The acquire pairs with
 * the kernel's release of producer.
 */
static inline uint32_t ring_can_consume(struct xsk_ring *ring, uint32_t max)
{
	uint32_t count = ring->other - ring->own;

	if (count < max && ring->size) {
		uint32_t producer = __atomic_load_n(ring->producer, __ATOMIC_ACQUIRE);

		if (producer - ring->own > ring->size)
			return 0; /* more than the ring holds: not a kernel that we know */
		ring->other = producer;
		count = producer - ring->own;
	}
	return count < max ? count : max;
}

/* Done with count entries, which have been read. The release pairs with the kernel's acquire of consumer. */
static inline void ring_consume(struct xsk_ring *ring, uint32_t count)
{
	ring->own += count;
	__atomic_store_n(ring->consumer, ring->own, __ATOMIC_RELEASE);
}

/* --- for both ------------------------------------------------------------------------------------------- */

/*
 * Entries in the ring now, for any thread: a number to look at, which orders nothing. The consumer is read
 * first: the other way round, both moving on between the two loads could make it look negative.
 */
static inline uint32_t ring_count(const struct xsk_ring *ring)
{
	if (!ring->size)
		return 0;
	uint32_t consumer = __atomic_load_n(ring->consumer, __ATOMIC_ACQUIRE);
	uint32_t count = __atomic_load_n(ring->producer, __ATOMIC_RELAXED) - consumer;

	return count < ring->size ? count : ring->size;
}

/*
 * Does the kernel's side sleep? We submit, then look at its flag; it puts up the flag, then looks at our index. So one
 * of the two sees the other, if no CPU swaps its store with its load, which all of them may, x86 too: hence the fence.
 * It is not paid for where the flag is up anyway, as for sending in copy mode. Drivers exist that look first and put
 * up the flag afterwards: who sleeps must ask again now and then, as xsk_receive_wait() does.
 */
static inline bool ring_needs_wakeup(const struct xsk_ring *ring)
{
	if (!ring->size)
		return false;
	if (__atomic_load_n(ring->flags, __ATOMIC_RELAXED) & XDP_RING_NEED_WAKEUP)
		return true;
	__atomic_thread_fence(__ATOMIC_SEQ_CST);
	return __atomic_load_n(ring->flags, __ATOMIC_RELAXED) & XDP_RING_NEED_WAKEUP;
}

#endif
