/*
 * The driver's side of a split virtqueue. See virtqueue.h.
 *
 *	descriptor table   address, length, flags, next of each piece        written by us
 *	available ring     heads of chains that the device may use           written by us
 *	used ring          heads of chains that it has used, bytes written   written by the device
 *
 * Free descriptors are a list, last in first out: few descriptors stay warm in the caches of both sides. A chain is a
 * piece of that list, cut off at its head and put back as a whole.
 *
 * Memory order. Each index says "the entries before me are written": stored with release, loaded with acquire. The
 * questions "does the other side want to be told?" (publish) and "has it used something before it could see that I
 * want to be told?" (arm) are a store followed by a load of what the other side writes, while it does the same the
 * other way round. For one of the two to see the other no CPU may swap the store with the load, which all do, x86
 * too: hence a full fence in both, the only ones.
 */
#include "driver/virtio/virtqueue.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "driver/error.h"

#define likely(x)   __builtin_expect(!!(x), 1)
#define unlikely(x) __builtin_expect(!!(x), 0)

#define CACHE_LINE 64

_Static_assert(sizeof(struct vring_desc) == 16 && sizeof(struct vring_used_elem) == 8, "2.7.5, 2.7.8");
_Static_assert(
	VIRTQUEUE_INDIRECT_MAX % (CACHE_LINE / sizeof(struct vring_desc)) == 0, "tables on cache lines");

/* --- layout: 2.7.2 ------------------------------------------------------------------------------------ */

static size_t round_up(size_t size, size_t align)
{
	return (size + align - 1) & ~(align - 1);
}

static size_t real_align(size_t align)
{
	return align > CACHE_LINE ? align : CACHE_LINE;
}

static size_t avail_offset(uint16_t num)
{
	return num * sizeof(struct vring_desc);
}

/* flags, idx, ring[num], used_event: the last one is there without EVENT_IDX, too. */
static size_t used_offset(uint16_t num, size_t align)
{
	return round_up(avail_offset(num) + sizeof(uint16_t) * (3 + (size_t)num), real_align(align));
}

size_t virtqueue_bytes(uint16_t num, size_t align)
{
	size_t used = sizeof(uint16_t) * 3 + sizeof(struct vring_used_elem) * num;

	return used_offset(num, align) + round_up(used, real_align(align));
}

/* Behind each ring lies the index at which the other side of it is to tell. */
static uint16_t *used_event(const struct virtqueue *vq)
{
	return &vq->avail->ring[vq->num];
}

static const uint16_t *avail_event(const struct virtqueue *vq)
{
	return (const uint16_t *)&vq->used->ring[vq->num];
}

/* --- life --------------------------------------------------------------------------------------------- */

int virtqueue_init(struct virtqueue *vq, uint16_t num, void *memory, size_t align, uint64_t features)
{
	uint8_t *ring = memory;

	memset(vq, 0, sizeof(*vq));
	if (num == 0 || num > VIRTQUEUE_MAX_SIZE || (num & (num - 1)))
		return ixy_fail(EINVAL, "a virtqueue of %u entries: a power of two up to %u is wanted", num,
			VIRTQUEUE_MAX_SIZE);
	if ((align & (align - 1)) || (uintptr_t)memory % real_align(align))
		return ixy_fail(EINVAL, "a virtqueue's memory at %p: it must be aligned to %zu bytes", memory,
			real_align(align));
	vq->slots = calloc(num, sizeof(vq->slots[0]));
	if (!vq->slots)
		return ixy_fail(ENOMEM, "no memory for a virtqueue of %u entries", num);
	memset(memory, 0, virtqueue_bytes(num, align));
	vq->num = num;
	vq->avail_offset = avail_offset(num);
	vq->used_offset = used_offset(num, align);
	vq->desc = memory;
	vq->avail = (struct vring_avail *)(ring + vq->avail_offset);
	vq->used = (struct vring_used *)(ring + vq->used_offset);
	vq->event_idx = features & UINT64_C(1) << VIRTIO_RING_F_EVENT_IDX;
	for (uint16_t i = 0; i < num; i++)
		vq->slots[i].next = (uint16_t)(i + 1);
	vq->free_count = num;
	vq->armed = true; /* as zeros say */
	virtqueue_disarm(vq);
	return 0;
}

void virtqueue_free(struct virtqueue *vq)
{
	free(vq->slots);
	memset(vq, 0, sizeof(*vq));
}

size_t virtqueue_indirect_bytes(uint16_t num)
{
	return num * sizeof(struct vring_desc) * VIRTQUEUE_INDIRECT_MAX;
}

void virtqueue_set_indirect(struct virtqueue *vq, void *memory, uint64_t address)
{
	vq->tables = memory;
	vq->tables_address = address;
}

void *virtqueue_detach(struct virtqueue *vq)
{
	if (!vq->broken)
		vq->broken = "has been stopped";
	for (; vq->detached < vq->num; vq->detached++) {
		struct virtqueue_slot *slot = &vq->slots[vq->detached];

		if (slot->count) {
			slot->count = 0;
			vq->used_idx++;
			return slot->cookie;
		}
	}
	return NULL;
}

/* --- adding ------------------------------------------------------------------------------------------- */

/* The last three fields in one store. */
static inline void write_desc(
	struct vring_desc *desc, const struct virtqueue_piece *piece, uint16_t flags, uint16_t next)
{
	const uint64_t rest = piece->size | (uint64_t)flags << 32 | (uint64_t)next << 48;

	desc->addr = piece->address;
	memcpy(&desc->len, &rest, sizeof(rest));
}

/* The chain that begins at head, of count descriptors of the ring, is complete; next is the first free one now. */
static inline void hand_out(
	struct virtqueue *vq, uint16_t head, uint16_t count, uint16_t next, uint32_t capacity, void *cookie)
{
	struct virtqueue_slot *slot = &vq->slots[head];

	slot->cookie = cookie;
	slot->capacity = capacity;
	slot->count = count;
	vq->free_head = next;
	vq->free_count = (uint16_t)(vq->free_count - count);
	vq->avail->ring[vq->avail_idx++ & (vq->num - 1)] = head;
}

/*
 * What of the used length is to be believed of a chain: up to how many bytes. Any number where the device reads some of
 * it, as nobody asks then: the standard knows of legacy devices that say nonsense there (2.7.8.1), and among modern ones
 * cloud-hypervisor's give the bytes that they read. A sum that does not fit is no limit either: used lengths have 32
 * bits as well.
 */
#define ANY_LENGTH UINT32_MAX

static uint32_t capacity_of(const struct virtqueue_piece *pieces, unsigned out, unsigned count)
{
	uint64_t sum = 0;

	if (out)
		return ANY_LENGTH;
	for (unsigned i = 0; i < count; i++)
		sum += pieces[i].size;
	return sum < ANY_LENGTH ? (uint32_t)sum : ANY_LENGTH;
}

/* Two functions apart from virtqueue_add(), so that a frame in one piece, the usual one, saves no registers. */

/* 2.7.5.3: one descriptor of the ring points at a table that holds the chain. */
static int __attribute__((noinline)) add_indirect(struct virtqueue *vq, const struct virtqueue_piece *pieces,
	unsigned out, unsigned count, void *cookie)
{
	const uint16_t head = vq->free_head;
	const size_t first = (size_t)head * VIRTQUEUE_INDIRECT_MAX;
	struct vring_desc *table = vq->tables + first;
	const struct virtqueue_piece all = {
		.address = vq->tables_address + first * sizeof(*table),
		.size = (uint32_t)(count * sizeof(*table)),
	};

	if (unlikely(vq->free_count == 0))
		return -ENOSPC;
	for (unsigned i = 0; i < count; i++)
		write_desc(&table[i], &pieces[i],
			(uint16_t)((i < out ? 0 : VRING_DESC_F_WRITE) |
				   (i + 1 < count ? VRING_DESC_F_NEXT : 0)),
			(uint16_t)(i + 1 < count ? i + 1 : 0));
	write_desc(&vq->desc[head], &all, VRING_DESC_F_INDIRECT, 0);
	hand_out(vq, head, 1, vq->slots[head].next, capacity_of(pieces, out, count), cookie);
	return 0;
}

/* Linked in the ring. */
static int __attribute__((noinline)) add_chain(struct virtqueue *vq, const struct virtqueue_piece *pieces,
	unsigned out, unsigned count, void *cookie)
{
	const uint16_t head = vq->free_head;
	uint16_t at = head, next;

	for (unsigned i = 0;; i++) {
		const bool last = i + 1 == count;

		next = vq->slots[at].next;
		write_desc(&vq->desc[at], &pieces[i],
			(uint16_t)((i < out ? 0 : VRING_DESC_F_WRITE) | (last ? 0 : VRING_DESC_F_NEXT)),
			next);
		if (last)
			break;
		at = next;
	}
	hand_out(vq, head, (uint16_t)count, next, capacity_of(pieces, out, count), cookie);
	return 0;
}

int virtqueue_add(
	struct virtqueue *vq, const struct virtqueue_piece *pieces, unsigned out, unsigned in, void *cookie)
{
	const unsigned count = out + in;

	if (unlikely(vq->broken))
		return -EPROTO;
	if (unlikely(out > vq->num || in > vq->num || count == 0 || count > vq->num))
		return -EINVAL;
	if (vq->tables && count > VIRTQUEUE_DIRECT_MAX && count <= VIRTQUEUE_INDIRECT_MAX)
		return add_indirect(vq, pieces, out, count, cookie);
	if (unlikely(vq->free_count < count))
		return -ENOSPC;
	if (likely(count == 1)) {
		const uint16_t head = vq->free_head;

		write_desc(&vq->desc[head], pieces, in ? VRING_DESC_F_WRITE : 0, 0);
		hand_out(vq, head, 1, vq->slots[head].next, in ? pieces->size : ANY_LENGTH, cookie);
		return 0;
	}
	return add_chain(vq, pieces, out, count, cookie);
}

/* The hot path of receiving: what the loop changes is kept out of memory. */
unsigned virtqueue_add_each(struct virtqueue *vq, const struct virtqueue_piece pieces[],
	void *const cookies[], unsigned count, bool in)
{
	const uint16_t flags = in ? VRING_DESC_F_WRITE : 0, mask = (uint16_t)(vq->num - 1);
	struct virtqueue_slot *const slots = vq->slots;
	struct vring_desc *const desc = vq->desc;
	__virtio16 *const ring = vq->avail->ring;
	uint16_t head = vq->free_head, avail_idx = vq->avail_idx;

	if (unlikely(vq->broken))
		return 0;
	if (count > vq->free_count)
		count = vq->free_count;
	for (unsigned i = 0; i < count; i++) {
		struct virtqueue_slot *slot = &slots[head];

		write_desc(&desc[head], &pieces[i], flags, 0);
		slot->cookie = cookies[i];
		slot->capacity = in ? pieces[i].size : ANY_LENGTH;
		slot->count = 1;
		ring[avail_idx++ & mask] = head;
		head = slot->next;
	}
	vq->free_head = head;
	vq->free_count = (uint16_t)(vq->free_count - count);
	vq->avail_idx = avail_idx;
	return count;
}

bool virtqueue_publish(struct virtqueue *vq)
{
	const uint16_t before = vq->published, now = vq->avail_idx;

	if (before == now || unlikely(vq->broken))
		return false;
	__atomic_store_n(&vq->avail->idx, now, __ATOMIC_RELEASE);
	vq->published = now;
	__atomic_thread_fence(__ATOMIC_SEQ_CST);
	/* 2.7.10: told it has to be once we have written the entry that it names; it lies in before .. now - 1 then. */
	if (vq->event_idx)
		return (uint16_t)(now - __atomic_load_n(avail_event(vq), __ATOMIC_RELAXED) - 1) <
		       (uint16_t)(now - before);
	return !(__atomic_load_n(&vq->used->flags, __ATOMIC_RELAXED) & VRING_USED_F_NO_NOTIFY);
}

/* --- taking ------------------------------------------------------------------------------------------- */

/* An entry of the used ring, id in the lower half, which lies on a multiple of 4 only. */
typedef uint64_t used_entry __attribute__((aligned(VRING_USED_ALIGN_SIZE)));

static int __attribute__((cold)) fail_broken(const struct virtqueue *vq)
{
	return ixy_fail(EPROTO, "the virtqueue is broken: the device %s", vq->broken);
}

int virtqueue_take(struct virtqueue *vq, struct virtqueue_used used[], unsigned max)
{
	struct virtqueue_slot *const slots = vq->slots;
	const uint16_t mask = (uint16_t)(vq->num - 1);
	const struct vring_used_elem *const ring = vq->used->ring;
	const uint16_t used_idx = vq->used_idx;
	uint16_t free_head = vq->free_head, free_count = vq->free_count;
	unsigned count = (uint16_t)(vq->used_seen - used_idx), i;

	if (unlikely(vq->broken))
		return fail_broken(vq);
	if (count < max) {
		vq->used_seen = __atomic_load_n(&vq->used->idx, __ATOMIC_ACQUIRE);
		count = (uint16_t)(vq->used_seen - used_idx);
		if (unlikely(count > (uint16_t)(vq->published - used_idx))) {
			vq->broken = "says that it has used more buffers than it was given";
			return fail_broken(vq);
		}
	}
	if (count > max)
		count = max;
	for (i = 0; i < count; i++) {
		/* Read once: the memory is the device's. */
		const uint64_t entry = *(const volatile used_entry *)&ring[(used_idx + i) & mask];
		const uint32_t id = (uint32_t)entry, length = (uint32_t)(entry >> 32);
		struct virtqueue_slot *slot, *last;
		uint16_t taken;

		if (unlikely(id > mask || slots[id].count == 0)) {
			vq->broken = "returns a buffer that it does not have";
			break;
		}
		slot = last = &slots[id];
		taken = slot->count;
		if (unlikely(length > slot->capacity)) {
			vq->broken = "says that it has written more than a buffer holds";
			break;
		}
		used[i].cookie = slot->cookie;
		used[i].written = length;
		/* The chain goes in front of the free ones. */
		for (uint16_t n = taken; unlikely(n > 1); n--)
			last = &slots[last->next];
		free_count = (uint16_t)(free_count + taken);
		slot->count = 0;
		last->next = free_head;
		free_head = (uint16_t)id;
	}
	vq->free_head = free_head;
	vq->free_count = free_count;
	vq->used_idx = (uint16_t)(used_idx + i);
	return i || likely(!vq->broken) ? (int)i : fail_broken(vq);
}

/* --- signals ------------------------------------------------------------------------------------------ */

bool virtqueue_arm(struct virtqueue *vq)
{
	if (vq->event_idx)
		__atomic_store_n(used_event(vq), vq->used_idx, __ATOMIC_RELAXED);
	else
		__atomic_store_n(&vq->avail->flags, 0, __ATOMIC_RELAXED);
	vq->armed = true;
	__atomic_thread_fence(__ATOMIC_SEQ_CST);
	return virtqueue_has_used(vq);
}

/*
 * With EVENT_IDX there is no "never": the index just behind us is the farthest away. It comes round once in 65536
 * chains, and then a signal comes that nobody waits for.
 */
void virtqueue_disarm(struct virtqueue *vq)
{
	if (!vq->armed)
		return;
	if (vq->event_idx)
		__atomic_store_n(used_event(vq), (uint16_t)(vq->used_idx - 1), __ATOMIC_RELAXED);
	else
		__atomic_store_n(&vq->avail->flags, VRING_AVAIL_F_NO_INTERRUPT, __ATOMIC_RELAXED);
	vq->armed = false;
}
