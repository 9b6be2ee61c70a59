/*
 * A split virtqueue, seen by the side that makes buffers available (virtio 1.2, 2.7).
 *
 * Two users stand on it: the virtio NIC, where the device is the hypervisor's, and the vhost port of the bridge, where
 * it is a thread of the kernel. Both hand over chains of buffers and get them back when they have been used:
 *
 *	virtqueue_add(&vq, pieces, out, in, cookie)		// as often as there is room
 *	if (virtqueue_publish(&vq))				// all of them at once
 *		notify the device
 *	n = virtqueue_take(&vq, used, 64)			// cookies come back
 *
 * What the device writes is not believed: an index that runs ahead, an id that was not handed out, more bytes than
 * there is room for. Any of these breaks the queue: -EPROTO from there on, until the device has been reset and
 * virtqueue_init() begins anew. Only the length of a chain that it reads does not matter, as many say nonsense there.
 *
 * What is used of the features, and why:
 *
 *	EVENT_IDX      each side says at which index it wants to be told: what makes notifications rare
 *	INDIRECT_DESC  a chain of more than VIRTQUEUE_DIRECT_MAX pieces takes one entry of the ring: 256 super-frames
 *	               fit a ring of 256, and not eight. Shorter ones are linked in the ring, which saves the
 *	               device a read. Only with memory for the tables: virtqueue_set_indirect().
 *	IN_ORDER       is not worth its code: it would save eight bytes to read for each chain, of a line that is
 *	               read anyway, and hardly a device offers it (QEMU from 9.2 on).
 *
 * Threads: a queue belongs to one thread at a time. All fields in the ring are little-endian; a legacy device's are
 * in the guest's order, which is the same here.
 */
#ifndef IXY_VIRTQUEUE_H
#define IXY_VIRTQUEUE_H

#include <linux/virtio_ring.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define VIRTQUEUE_MAX_SIZE 32768 /* entries; a power of two */

#define VIRTQUEUE_DIRECT_MAX 4 /* pieces that are linked in the ring although there are indirect tables */
#define VIRTQUEUE_INDIRECT_MAX \
	64 /* entries of an indirect table: a multiple of 4, so that it begins a cache line */

/* A piece of a buffer as the device sees it. */
struct virtqueue_piece {
	uint64_t address; /* of the device (IOVA); for vhost as its memory table says */
	uint32_t size;    /* bytes, not 0 */
};

/* A chain that came back. */
struct virtqueue_used {
	void *cookie;     /* as it was given to virtqueue_add() */
	uint32_t written; /* bytes, at most what the chain holds; any number if it had `out` pieces */
};

/*
 * What we know of a descriptor. The device could write over its table, so nothing is ever read back from there: here is
 * what we told it. Private.
 */
struct virtqueue_slot {
	void *cookie;
	uint32_t capacity; /* bytes that the device may say it has written */
	uint16_t count;    /* in a chain's first descriptor: how many of the ring it takes. Else 0. */
	uint16_t next;     /* of the chain, or of the free ones */
};

/* All members are private; where the ring lies the functions below tell. */
struct virtqueue {
	/* The three parts of the ring. */
	struct vring_desc *desc;
	struct vring_avail *avail;
	struct vring_used *used;
	uint16_t num; /* entries; masked with num - 1, an index is a place in the rings */
	bool event_idx;
	bool armed;         /* the device is asked for a signal */
	const char *broken; /* how; NULL while it is not */
	struct virtqueue_slot *slots;
	/* Indices only grow, and wrap at 65536. */
	uint16_t avail_idx; /* our next entry of the available ring */
	uint16_t published; /* avail->idx, as the device sees it */
	uint16_t used_idx;  /* the used ring's next entry to be taken */
	uint16_t used_seen; /* used->idx, as last read */
	uint16_t free_head, free_count;
	uint16_t pending;          /* chains handed out */
	uint16_t detached;         /* where virtqueue_detach() goes on to look */
	struct vring_desc *tables; /* VIRTQUEUE_INDIRECT_MAX for each entry; NULL: none */
	uint64_t tables_address;   /* the device's */
	size_t avail_offset, used_offset;
};

/* --- life --------------------------------------------------------------------------------------------- */

/*
 * Memory of a ring of num entries: descriptors, available ring, padding up to align, used ring, padding. align: 4096
 * as legacy devices have it (2.7.2), anything less for others: taken as 64 then, so that what the two sides write
 * lies on different cache lines.
 */
size_t virtqueue_bytes(uint16_t num, size_t align);

/*
 * Begin with an empty ring of num entries (a power of two up to VIRTQUEUE_MAX_SIZE) in memory of
 * virtqueue_bytes(num, align), which begins on a multiple of align and which it zeroes. features: those that were
 * negotiated with the device, by bit; VIRTIO_RING_F_EVENT_IDX matters. *vq is overwritten:
 * virtqueue_free() first, if it was in use. 0, -EINVAL, -ENOMEM with a text.
 */
int virtqueue_init(struct virtqueue *vq, uint16_t num, void *memory, size_t align, uint64_t features);

/* Release what virtqueue_init() allocated; not the ring's memory. A vq of zeros is allowed. */
void virtqueue_free(struct virtqueue *vq);

/*
 * With VIRTIO_RING_F_INDIRECT_DESC negotiated: use these tables from now on. memory: virtqueue_indirect_bytes(num) on
 * a multiple of 16, contiguous for the device, which sees it at address. May be left out: longer chains then take
 * as many entries of the ring as they have pieces.
 */
size_t virtqueue_indirect_bytes(uint16_t num);
void virtqueue_set_indirect(struct virtqueue *vq, void *memory, uint64_t address);

/* Entries of the ring. */
static inline uint16_t virtqueue_num(const struct virtqueue *vq)
{
	return vq->num;
}

/* Where the three parts of the ring lie in its memory, in bytes. */
static inline size_t virtqueue_desc_offset(const struct virtqueue *vq)
{
	(void)vq;
	return 0;
}

static inline size_t virtqueue_avail_offset(const struct virtqueue *vq)
{
	return vq->avail_offset;
}

static inline size_t virtqueue_used_offset(const struct virtqueue *vq)
{
	return vq->used_offset;
}

/* --- buffers out and back ----------------------------------------------------------------------------- */

/*
 * Put a chain into the ring: first `out` pieces for the device to read, then `in` pieces for it to write; together 1 to
 * num. cookie (not NULL) comes back with it. The device sees it after virtqueue_publish(). 0; -ENOSPC: no room, try
 * again after virtqueue_take(); -EINVAL: more pieces than the ring could ever take; -EPROTO: broken. Without a text.
 */
int virtqueue_add(
	struct virtqueue *vq, const struct virtqueue_piece *pieces, unsigned out, unsigned in, void *cookie);

/*
 * The same for count chains of one piece each, all of them for the device to write (in) or to read: pieces[i] with
 * cookies[i]. Returns how many there was room for, from the first on; 0 if broken.
 */
unsigned virtqueue_add_each(struct virtqueue *vq, const struct virtqueue_piece pieces[],
	void *const cookies[], unsigned count, bool in);

/* Show the device all that has been added. True: it wants to be notified. */
bool virtqueue_publish(struct virtqueue *vq);

/*
 * Up to max chains that the device is done with, in its order. Returns how many (0: none for now), or -EPROTO with a
 * text once the queue is broken; those before the fault come first.
 */
int virtqueue_take(struct virtqueue *vq, struct virtqueue_used used[], unsigned max);

/* Descriptors that are free: what is left for virtqueue_add(); a chain with an indirect table takes one. */
static inline uint16_t virtqueue_free_count(const struct virtqueue *vq)
{
	return vq->free_count;
}

/* Chains that were added and have not come back. */
static inline uint16_t virtqueue_pending(const struct virtqueue *vq)
{
	return (uint16_t)(vq->avail_idx - vq->used_idx);
}

/* Used chains wait to be taken. One load of a line that the device writes. */
static inline bool virtqueue_has_used(const struct virtqueue *vq)
{
	return __atomic_load_n(&vq->used->idx, __ATOMIC_RELAXED) != vq->used_idx;
}

static inline bool virtqueue_broken(const struct virtqueue *vq)
{
	return vq->broken != NULL;
}

/*
 * The device has been stopped and writes no more: the cookie of some chain that is still out, each of them once, then
 * NULL. The queue is of no use afterwards but for virtqueue_free().
 */
void *virtqueue_detach(struct virtqueue *vq);

/* --- signals from the device -------------------------------------------------------------------------- */

/*
 * Ask for a signal (interrupt, eventfd) at the next used chain; true: there is one already, so do not wait for it. The
 * device may signal without having been asked. Once asked it is asked until virtqueue_disarm(); with EVENT_IDX only
 * for the one next chain, so ask again before each sleep.
 */
bool virtqueue_arm(struct virtqueue *vq);

/* Ask for none; costs nothing where that is so already. A queue begins disarmed. */
void virtqueue_disarm(struct virtqueue *vq);

#endif
