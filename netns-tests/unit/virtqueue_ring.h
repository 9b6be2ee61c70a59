/*
 * A virtqueue in memory of a test's, and the device's side of it as the test plays it: bytes are read and written where
 * virtio 1.2, 2.7 lays them out, by none of the code under test.
 */
#ifndef UNIT_VIRTQUEUE_RING_H
#define UNIT_VIRTQUEUE_RING_H

#include <stdarg.h>
#include <setjmp.h>
#include <stddef.h>
#include <stdint.h>
#include <errno.h>
#include <linux/virtio_config.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "driver/ixy.h"
#include "driver/virtio/virtqueue.h"

#define MODERN    (UINT64_C(1) << VIRTIO_F_VERSION_1)
#define EVENT_IDX (UINT64_C(1) << VIRTIO_RING_F_EVENT_IDX)
#define INDIRECT  (UINT64_C(1) << VIRTIO_RING_F_INDIRECT_DESC)

/* A queue in memory of the test's, and the device's own indices. */
struct ring {
	struct virtqueue vq;
	uint8_t *memory;
	size_t bytes;
	uint16_t num;
	uint16_t avail_seen; /* the device's next entry of the available ring */
	uint16_t used;       /* used->idx */
};

/* --- bytes of the ring -------------------------------------------------------------------------------- */

static inline uint64_t get(const struct ring *r, size_t offset, size_t size)
{
	uint64_t value = 0;

	assert_true(offset + size <= r->bytes);
	for (size_t i = size; i-- > 0;)
		value = value << 8 | r->memory[offset + i];
	return value;
}

static inline void put(struct ring *r, size_t offset, size_t size, uint64_t value)
{
	assert_true(offset + size <= r->bytes);
	for (size_t i = 0; i < size; i++)
		r->memory[offset + i] = (uint8_t)(value >> 8 * i);
}

/* Where things are by the standard's structures; used_at is what is to be checked first. */
static inline size_t desc_at(uint16_t id)
{
	return 16u * id;
}

static inline size_t avail_at(const struct ring *r)
{
	return 16u * r->num;
}

static inline size_t used_at(const struct ring *r)
{
	return virtqueue_used_offset(&r->vq);
}

static inline uint16_t avail_flags(const struct ring *r)
{
	return (uint16_t)get(r, avail_at(r), 2);
}

static inline uint16_t avail_idx(const struct ring *r)
{
	return (uint16_t)get(r, avail_at(r) + 2, 2);
}

static inline uint16_t avail_entry(const struct ring *r, uint16_t index)
{
	return (uint16_t)get(r, avail_at(r) + 4 + 2u * (index % r->num), 2);
}

static inline uint16_t used_event(const struct ring *r)
{
	return (uint16_t)get(r, avail_at(r) + 4 + 2u * r->num, 2);
}

static inline void set_used_flags(struct ring *r, uint16_t flags)
{
	put(r, used_at(r), 2, flags);
}

static inline void set_used_idx(struct ring *r, uint16_t idx)
{
	r->used = idx;
	put(r, used_at(r) + 2, 2, idx);
}

static inline void set_used_entry(struct ring *r, uint16_t index, uint32_t id, uint32_t length)
{
	put(r, used_at(r) + 4 + 8u * (index % r->num), 4, id);
	put(r, used_at(r) + 8 + 8u * (index % r->num), 4, length);
}

static inline void set_avail_event(struct ring *r, uint16_t index)
{
	put(r, used_at(r) + 4 + 8u * r->num, 2, index);
}

/* --- a ring and its device ---------------------------------------------------------------------------- */

static inline void ring_open_at(struct ring *r, uint16_t num, size_t align, uint64_t features)
{
	memset(r, 0, sizeof(*r));
	r->num = num;
	r->bytes = virtqueue_bytes(num, align);
	r->memory = aligned_alloc(4096, (r->bytes + 4095) / 4096 * 4096);
	assert_non_null(r->memory);
	memset(r->memory, 0xa5, r->bytes);
	assert_int_equal(virtqueue_init(&r->vq, num, r->memory, align, features), 0);
}

static inline void ring_open(struct ring *r, uint16_t num, uint64_t features)
{
	ring_open_at(r, num, 64, features);
}

static inline void ring_close(struct ring *r)
{
	virtqueue_free(&r->vq);
	free(r->memory);
}

/* The device uses what was made available next. */
static inline uint16_t device_takes(struct ring *r)
{
	assert_int_not_equal(r->avail_seen, avail_idx(r));
	return avail_entry(r, r->avail_seen++);
}

static inline void device_uses(struct ring *r, uint32_t id, uint32_t length)
{
	set_used_entry(r, r->used, id, length);
	set_used_idx(r, (uint16_t)(r->used + 1));
}

static inline void *cookie(size_t n)
{
	return (void *)(uintptr_t)(n + 1);
}

static const struct virtqueue_piece small[] = {{0x1000, 100}};

/* One buffer goes round: added, published, used, taken. */
static inline void go_round(struct ring *r, size_t n)
{
	struct virtqueue_used used;

	assert_int_equal(virtqueue_add(&r->vq, small, 0, 1, cookie(n)), 0);
	virtqueue_publish(&r->vq);
	device_uses(r, device_takes(r), 100);
	assert_int_equal(virtqueue_take(&r->vq, &used, 1), 1);
	assert_ptr_equal(used.cookie, cookie(n));
	assert_int_equal(used.written, 100);
}

#endif
