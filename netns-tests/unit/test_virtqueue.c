/*
 * The driver's side of a virtqueue, against rings that are read and written byte by byte as virtio 1.2, 2.7 lays them
 * out, and against a device that the test plays: an honest one that uses buffers in any order, and ones that lie.
 */
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

static uint64_t get(const struct ring *r, size_t offset, size_t size)
{
	uint64_t value = 0;

	assert_true(offset + size <= r->bytes);
	for (size_t i = size; i-- > 0;)
		value = value << 8 | r->memory[offset + i];
	return value;
}

static void put(struct ring *r, size_t offset, size_t size, uint64_t value)
{
	assert_true(offset + size <= r->bytes);
	for (size_t i = 0; i < size; i++)
		r->memory[offset + i] = (uint8_t)(value >> 8 * i);
}

/* Where things are by the standard's structures; used_at is what is to be checked first. */
static size_t desc_at(uint16_t id)
{
	return 16u * id;
}

static size_t avail_at(const struct ring *r)
{
	return 16u * r->num;
}

static size_t used_at(const struct ring *r)
{
	return virtqueue_used_offset(&r->vq);
}

static uint16_t avail_flags(const struct ring *r)
{
	return (uint16_t)get(r, avail_at(r), 2);
}

static uint16_t avail_idx(const struct ring *r)
{
	return (uint16_t)get(r, avail_at(r) + 2, 2);
}

static uint16_t avail_entry(const struct ring *r, uint16_t index)
{
	return (uint16_t)get(r, avail_at(r) + 4 + 2u * (index % r->num), 2);
}

static uint16_t used_event(const struct ring *r)
{
	return (uint16_t)get(r, avail_at(r) + 4 + 2u * r->num, 2);
}

static void set_used_flags(struct ring *r, uint16_t flags)
{
	put(r, used_at(r), 2, flags);
}

static void set_used_idx(struct ring *r, uint16_t idx)
{
	r->used = idx;
	put(r, used_at(r) + 2, 2, idx);
}

static void set_used_entry(struct ring *r, uint16_t index, uint32_t id, uint32_t length)
{
	put(r, used_at(r) + 4 + 8u * (index % r->num), 4, id);
	put(r, used_at(r) + 8 + 8u * (index % r->num), 4, length);
}

static void set_avail_event(struct ring *r, uint16_t index)
{
	put(r, used_at(r) + 4 + 8u * r->num, 2, index);
}

/* --- a ring and its device ---------------------------------------------------------------------------- */

static void ring_open_at(struct ring *r, uint16_t num, size_t align, uint64_t features)
{
	memset(r, 0, sizeof(*r));
	r->num = num;
	r->bytes = virtqueue_bytes(num, align);
	r->memory = aligned_alloc(4096, (r->bytes + 4095) / 4096 * 4096);
	assert_non_null(r->memory);
	memset(r->memory, 0xa5, r->bytes);
	assert_int_equal(virtqueue_init(&r->vq, num, r->memory, align, features), 0);
}

static void ring_open(struct ring *r, uint16_t num, uint64_t features)
{
	ring_open_at(r, num, 64, features);
}

static void ring_close(struct ring *r)
{
	virtqueue_free(&r->vq);
	free(r->memory);
}

/* The device uses what was made available next. */
static uint16_t device_takes(struct ring *r)
{
	assert_int_not_equal(r->avail_seen, avail_idx(r));
	return avail_entry(r, r->avail_seen++);
}

static void device_uses(struct ring *r, uint32_t id, uint32_t length)
{
	set_used_entry(r, r->used, id, length);
	set_used_idx(r, (uint16_t)(r->used + 1));
}

static void *cookie(size_t n)
{
	return (void *)(uintptr_t)(n + 1);
}

static const struct virtqueue_piece small[] = {{0x1000, 100}};

/* One buffer goes round: added, published, used, taken. */
static void go_round(struct ring *r, size_t n)
{
	struct virtqueue_used used;

	assert_int_equal(virtqueue_add(&r->vq, small, 0, 1, cookie(n)), 0);
	virtqueue_publish(&r->vq);
	device_uses(r, device_takes(r), 100);
	assert_int_equal(virtqueue_take(&r->vq, &used, 1), 1);
	assert_ptr_equal(used.cookie, cookie(n));
	assert_int_equal(used.written, 100);
}

/* --- layout ------------------------------------------------------------------------------------------- */

static void the_parts_lie_where_the_standard_puts_them(void **state)
{
	/* 2.7.10's virtq_size(): by hand for each. */
	static const struct {
		uint16_t num;
		size_t align, used, bytes;
	} cases[] = {
		{8, 64, 192, 320},             /* 128, then 6 + 16 */
		{8, 4, 192, 320},              /* never less than a cache line */
		{256, 64, 4672, 6784},         /* 4096, then 6 + 512 = 4614; 6 + 2048 */
		{256, 4096, 8192, 12288},      /* as legacy devices have it */
		{1024, 4096, 20480, 32768},    /* 16384 + 2054; 8198 */
		{32768, 4096, 593920, 860160}, /* 524288 + 65542 = 589830; 262150 */
		{1, 64, 64, 128},
	};

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct ring r;

		ring_open_at(&r, cases[i].num, cases[i].align, MODERN | EVENT_IDX);
		assert_int_equal(virtqueue_desc_offset(&r.vq), 0);
		assert_int_equal(virtqueue_avail_offset(&r.vq), 16u * cases[i].num);
		assert_int_equal(virtqueue_used_offset(&r.vq), cases[i].used);
		assert_int_equal(virtqueue_bytes(cases[i].num, cases[i].align), cases[i].bytes);
		/* Zeroed, but for what says "no signals". */
		assert_int_equal(used_event(&r), 0xffff);
		for (size_t at = 0; at < r.bytes; at++)
			if (at / 2 != (avail_at(&r) + 4 + 2u * r.num) / 2)
				assert_int_equal(r.memory[at], 0);
		ring_close(&r);
	}
}

static void sizes_and_places_that_cannot_be_are_refused(void **state)
{
	static uint8_t memory[8192] __attribute__((aligned(4096)));
	struct virtqueue vq;

	(void)state;
	assert_int_equal(virtqueue_init(&vq, 0, memory, 64, MODERN), -EINVAL);
	assert_int_equal(virtqueue_init(&vq, 3, memory, 64, MODERN), -EINVAL);
	assert_int_equal(virtqueue_init(&vq, 32769, memory, 64, MODERN), -EINVAL);
	assert_int_equal(virtqueue_init(&vq, 8, memory + 32, 64, MODERN), -EINVAL);
	assert_int_equal(virtqueue_init(&vq, 8, memory + 64, 4096, 0), -EINVAL);
	assert_int_equal(virtqueue_init(&vq, 8, memory, 96, 0), -EINVAL);
	assert_non_null(strstr(ixy_last_error(), "aligned"));
}

/* --- chains ------------------------------------------------------------------------------------------- */

static void a_chain_is_written_as_descriptors_that_point_at_each_other(void **state)
{
	static const struct virtqueue_piece pieces[] = {
		{0x1122334455667788, 12}, {0x2000, 0xfffffffe}, {0x3000, 7}};
	struct ring r;
	uint16_t id;

	(void)state;
	ring_open(&r, 8, MODERN);
	assert_int_equal(virtqueue_add(&r.vq, pieces, 1, 2, cookie(0)), 0);
	assert_int_equal(virtqueue_free_count(&r.vq), 5);
	assert_int_equal(virtqueue_pending(&r.vq), 1);
	assert_int_equal(avail_idx(&r), 0); /* not to be seen before it is published */
	virtqueue_publish(&r.vq);
	assert_int_equal(avail_idx(&r), 1);

	id = device_takes(&r);
	assert_int_equal(get(&r, desc_at(id), 8), 0x1122334455667788);
	assert_int_equal(get(&r, desc_at(id) + 8, 4), 12);
	assert_int_equal(get(&r, desc_at(id) + 12, 2), 1); /* NEXT */
	id = (uint16_t)get(&r, desc_at(id) + 14, 2);
	assert_int_equal(get(&r, desc_at(id), 8), 0x2000);
	assert_int_equal(get(&r, desc_at(id) + 8, 4), 0xfffffffe);
	assert_int_equal(get(&r, desc_at(id) + 12, 2), 1 | 2); /* NEXT, WRITE */
	id = (uint16_t)get(&r, desc_at(id) + 14, 2);
	assert_int_equal(get(&r, desc_at(id), 8), 0x3000);
	assert_int_equal(get(&r, desc_at(id) + 8, 4), 7);
	assert_int_equal(get(&r, desc_at(id) + 12, 2), 2); /* WRITE, and the last */
	ring_close(&r);
}

static void used_chains_come_back_with_their_cookies_and_give_their_room_back(void **state)
{
	static const struct virtqueue_piece pieces[] = {{0x1000, 10}, {0x2000, 20}, {0x3000, 30}};
	struct virtqueue_used used[4];
	uint16_t ids[3];
	struct ring r;

	(void)state;
	ring_open(&r, 8, MODERN);
	assert_int_equal(virtqueue_take(&r.vq, used, 4), 0);
	assert_int_equal(virtqueue_add(&r.vq, pieces, 0, 3, cookie(0)), 0);
	assert_int_equal(virtqueue_add(&r.vq, pieces, 3, 0, cookie(1)), 0);
	assert_int_equal(virtqueue_add(&r.vq, pieces, 0, 3, cookie(2)), -ENOSPC);
	assert_int_equal(virtqueue_add(&r.vq, pieces, 1, 1, cookie(2)), 0);
	assert_int_equal(virtqueue_free_count(&r.vq), 0);
	assert_int_equal(virtqueue_add(&r.vq, pieces, 1, 0, cookie(3)), -ENOSPC);
	virtqueue_publish(&r.vq);
	for (int i = 0; i < 3; i++)
		ids[i] = device_takes(&r);
	/* In another order than they were given. */
	assert_false(virtqueue_has_used(&r.vq));
	device_uses(&r, ids[2], 20);
	device_uses(&r, ids[0], 60);
	device_uses(&r, ids[1], 0);
	assert_true(virtqueue_has_used(&r.vq));
	assert_int_equal(virtqueue_take(&r.vq, used, 2), 2);
	assert_ptr_equal(used[0].cookie, cookie(2));
	assert_int_equal(used[0].written, 20);
	assert_ptr_equal(used[1].cookie, cookie(0));
	assert_int_equal(used[1].written, 60);
	assert_int_equal(virtqueue_take(&r.vq, used, 4), 1);
	assert_ptr_equal(used[0].cookie, cookie(1));
	assert_int_equal(used[0].written, 0);
	assert_int_equal(virtqueue_free_count(&r.vq), 8);
	assert_int_equal(virtqueue_pending(&r.vq), 0);
	ring_close(&r);
}

static void chains_that_no_ring_takes_are_refused(void **state)
{
	static const struct virtqueue_piece pieces[9] = {{0x1000, 10}};
	struct ring r;

	(void)state;
	ring_open(&r, 8, MODERN);
	assert_int_equal(virtqueue_add(&r.vq, pieces, 0, 0, cookie(0)), -EINVAL);
	assert_int_equal(virtqueue_add(&r.vq, pieces, 4, 5, cookie(0)), -EINVAL);
	assert_int_equal(virtqueue_add(&r.vq, pieces, UINT32_MAX, 2, cookie(0)), -EINVAL);
	assert_int_equal(virtqueue_free_count(&r.vq), 8);
	assert_false(virtqueue_publish(&r.vq));
	ring_close(&r);
}

static void buffers_of_one_piece_are_added_many_at_a_time_as_far_as_there_is_room(void **state)
{
	struct virtqueue_piece pieces[10];
	struct virtqueue_used used[10];
	void *cookies[10];
	struct ring r;

	(void)state;
	ring_open(&r, 8, MODERN);
	for (uint32_t i = 0; i < 10; i++) {
		pieces[i] = (struct virtqueue_piece){0x1000 * i, 100 + i};
		cookies[i] = cookie(i);
	}
	assert_int_equal(virtqueue_add_each(&r.vq, pieces, cookies, 3, true), 3);
	assert_int_equal(virtqueue_add_each(&r.vq, pieces + 3, cookies + 3, 7, false), 5);
	assert_int_equal(virtqueue_add_each(&r.vq, pieces, cookies, 1, true), 0);
	virtqueue_publish(&r.vq);
	for (uint32_t i = 0; i < 8; i++) {
		uint16_t id = device_takes(&r);

		assert_int_equal(get(&r, desc_at(id), 8), 0x1000 * i);
		assert_int_equal(get(&r, desc_at(id) + 8, 4), 100 + i);
		assert_int_equal(get(&r, desc_at(id) + 12, 2), i < 3 ? 2 : 0);
		device_uses(&r, id, i < 3 ? 100 + i : 0);
	}
	assert_int_equal(virtqueue_take(&r.vq, used, 10), 8);
	for (uint32_t i = 0; i < 8; i++)
		assert_ptr_equal(used[i].cookie, cookie(i));
	ring_close(&r);
}

static void long_chains_take_one_entry_and_a_table_of_their_own(void **state)
{
	struct virtqueue_piece pieces[VIRTQUEUE_INDIRECT_MAX + 1];
	struct virtqueue_used used[8];
	struct vring_desc *tables;
	struct ring r;
	uint16_t id;

	(void)state;
	for (uint32_t i = 0; i <= VIRTQUEUE_INDIRECT_MAX; i++)
		pieces[i] = (struct virtqueue_piece){0x10000 + 0x100 * i, 10 + i};
	ring_open(&r, 128, MODERN | INDIRECT);
	assert_int_equal(virtqueue_indirect_bytes(128), 128 * 64 * 16);
	tables = calloc(1, virtqueue_indirect_bytes(128));
	virtqueue_set_indirect(&r.vq, tables, 0x7700000000);

	/* Short: in the ring. */
	assert_int_equal(virtqueue_add(&r.vq, pieces, VIRTQUEUE_DIRECT_MAX, 0, cookie(0)), 0);
	assert_int_equal(virtqueue_free_count(&r.vq), 128 - VIRTQUEUE_DIRECT_MAX);
	/* Longer: 30 pieces, and as many as a table holds. */
	assert_int_equal(virtqueue_add(&r.vq, pieces, 2, 28, cookie(1)), 0);
	assert_int_equal(virtqueue_add(&r.vq, pieces, VIRTQUEUE_INDIRECT_MAX, 0, cookie(2)), 0);
	assert_int_equal(virtqueue_free_count(&r.vq), 128 - VIRTQUEUE_DIRECT_MAX - 2);
	/* Too long for one: in the ring again, where there is no room for it. */
	assert_int_equal(virtqueue_add(&r.vq, pieces, VIRTQUEUE_INDIRECT_MAX + 1, 0, cookie(3)), 0);
	assert_int_equal(virtqueue_add(&r.vq, pieces, VIRTQUEUE_INDIRECT_MAX + 1, 0, cookie(4)), -ENOSPC);
	virtqueue_publish(&r.vq);

	device_takes(&r);
	id = device_takes(&r);
	assert_int_equal(get(&r, desc_at(id), 8), 0x7700000000 + 1024 * id);
	assert_int_equal(get(&r, desc_at(id) + 8, 4), 30 * 16);
	assert_int_equal(get(&r, desc_at(id) + 12, 2), 4); /* INDIRECT, nothing else */
	for (uint16_t i = 0; i < 30; i++) {
		const struct vring_desc *desc = &tables[id * 64 + i];

		assert_int_equal(desc->addr, 0x10000 + 0x100 * i);
		assert_int_equal(desc->len, 10 + i);
		assert_int_equal(desc->flags, (i < 29 ? 1 : 0) | (i < 2 ? 0 : 2));
		assert_int_equal(desc->next, i < 29 ? i + 1 : 0);
	}
	/* What its pieces hold: 12 + 13 + ... + 39 */
	device_uses(&r, id, 28 * (12 + 39) / 2);
	assert_int_equal(virtqueue_take(&r.vq, used, 8), 1);
	assert_ptr_equal(used[0].cookie, cookie(1));
	assert_int_equal(used[0].written, 714);
	id = device_takes(&r);
	device_uses(&r, id, 1); /* all of it was to be read */
	assert_int_equal(virtqueue_take(&r.vq, used, 8), -EPROTO);
	free(tables);
	ring_close(&r);
}

/* --- indices wrap ------------------------------------------------------------------------------------- */

static void indices_wrap_at_65536(void **state)
{
	static const uint16_t sizes[] = {1, 2, 8, 256, 32768};

	(void)state;
	for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
		struct ring r;

		ring_open(&r, sizes[i], MODERN | EVENT_IDX);
		for (size_t n = 0; n < 65536 + 100; n++)
			go_round(&r, n);
		assert_int_equal(avail_idx(&r), 100);
		assert_int_equal(virtqueue_free_count(&r.vq), sizes[i]);
		ring_close(&r);
	}
}

static void a_full_ring_of_the_largest_size_is_used_at_once(void **state)
{
	static struct virtqueue_used used[VIRTQUEUE_MAX_SIZE];
	struct ring r;

	(void)state;
	ring_open(&r, VIRTQUEUE_MAX_SIZE, MODERN | EVENT_IDX);
	for (int round = 0; round < 3; round++) {
		for (size_t n = 0; n < VIRTQUEUE_MAX_SIZE; n++)
			assert_int_equal(virtqueue_add(&r.vq, small, 0, 1, cookie(n)), 0);
		assert_int_equal(virtqueue_add(&r.vq, small, 0, 1, cookie(0)), -ENOSPC);
		virtqueue_publish(&r.vq);
		for (size_t n = 0; n < VIRTQUEUE_MAX_SIZE; n++)
			device_uses(&r, device_takes(&r), 1);
		assert_int_equal(virtqueue_take(&r.vq, used, VIRTQUEUE_MAX_SIZE), VIRTQUEUE_MAX_SIZE);
		for (size_t n = 0; n < VIRTQUEUE_MAX_SIZE; n++)
			assert_ptr_equal(used[n].cookie, cookie(n));
	}
	ring_close(&r);
}

/* --- who is told -------------------------------------------------------------------------------------- */

static void without_event_indices_flags_say_who_is_told(void **state)
{
	struct ring r;

	(void)state;
	ring_open(&r, 8, MODERN);
	assert_int_equal(avail_flags(&r), 1);   /* NO_INTERRUPT from the beginning */
	assert_false(virtqueue_publish(&r.vq)); /* nothing was added */
	assert_int_equal(virtqueue_add(&r.vq, small, 1, 0, cookie(0)), 0);
	assert_true(virtqueue_publish(&r.vq));
	assert_false(virtqueue_publish(&r.vq)); /* nothing new */
	set_used_flags(&r, 1);                  /* NO_NOTIFY */
	assert_int_equal(virtqueue_add(&r.vq, small, 1, 0, cookie(1)), 0);
	assert_false(virtqueue_publish(&r.vq));
	assert_int_equal(avail_idx(&r), 2);

	assert_false(virtqueue_arm(&r.vq));
	assert_int_equal(avail_flags(&r), 0);
	device_uses(&r, device_takes(&r), 0);
	assert_true(virtqueue_arm(&r.vq));
	virtqueue_disarm(&r.vq);
	assert_int_equal(avail_flags(&r), 1);
	ring_close(&r);
}

static void the_device_is_told_when_its_event_index_is_passed(void **state)
{
	/* Published so many up to now, the index that the device named, then so many more: is it to be told? */
	static const struct {
		uint32_t before;
		uint16_t event;
		unsigned more;
		bool told;
	} cases[] = {
		{0, 0, 1, true},  /* the entry that it names */
		{0, 0, 5, true},  /* and those behind it */
		{0, 1, 1, false}, /* not there yet */
		{0, 1, 2, true},  /* just there */
		{0, 4, 4, false},
		{0, 4, 5, true},
		{5, 4, 1, false}, /* long past it: it is busy */
		{5, 5, 1, true},
		{65535, 65535, 1, true}, /* across the wrap */
		{65535, 65534, 1, false},
		{65535, 0, 1, false},
		{65535, 0, 2, true},
		{65530, 3, 8, false},
		{65530, 3, 10, true},
		{65536, 65535, 4, false},
		{65536, 0, 1, true},
	};

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct ring r;

		ring_open(&r, 16, MODERN | EVENT_IDX);
		for (size_t n = 0; n < cases[i].before; n++)
			go_round(&r, n);
		set_used_flags(&r, 1); /* of no meaning with event indices */
		set_avail_event(&r, cases[i].event);
		for (unsigned n = 0; n < cases[i].more; n++)
			assert_int_equal(virtqueue_add(&r.vq, small, 1, 0, cookie(n)), 0);
		assert_int_equal(virtqueue_publish(&r.vq), cases[i].told);
		ring_close(&r);
	}
}

static void a_signal_is_asked_for_at_the_next_used_chain(void **state)
{
	struct virtqueue_used used;
	struct ring r;

	(void)state;
	ring_open(&r, 8, MODERN | EVENT_IDX);
	assert_int_equal(avail_flags(&r), 0); /* 2.7.7.1: must be */
	for (size_t n = 0; n < 65536 + 3; n++)
		go_round(&r, n);
	assert_int_equal(virtqueue_add(&r.vq, small, 1, 0, cookie(0)), 0);
	virtqueue_publish(&r.vq);
	assert_false(virtqueue_arm(&r.vq));
	assert_int_equal(used_event(&r), 3);
	device_uses(&r, device_takes(&r), 0);
	assert_true(virtqueue_arm(&r.vq)); /* there is one already */
	assert_int_equal(virtqueue_take(&r.vq, &used, 1), 1);
	assert_false(virtqueue_arm(&r.vq));
	assert_int_equal(used_event(&r), 4);
	virtqueue_disarm(&r.vq);
	assert_int_equal(used_event(&r), 3); /* just behind: 65535 chains from being passed */
	assert_int_equal(avail_flags(&r), 0);
	ring_close(&r);
}

/* --- a device that lies ------------------------------------------------------------------------------- */

/* It stays broken whatever comes, and gives out what is needed to clean up. */
static void assert_broken(struct ring *r, unsigned pending, const char *words)
{
	struct virtqueue_used used[4];
	unsigned count = 0;

	assert_true(virtqueue_broken(&r->vq));
	assert_int_equal(virtqueue_take(&r->vq, used, 4), -EPROTO);
	assert_non_null(strstr(ixy_last_error(), words));
	assert_int_equal(virtqueue_add(&r->vq, small, 0, 1, cookie(0)), -EPROTO);
	assert_int_equal(virtqueue_add_each(&r->vq, small, (void *[]){cookie(0)}, 1, true), 0);
	assert_false(virtqueue_publish(&r->vq));
	while (virtqueue_detach(&r->vq))
		count++;
	assert_int_equal(count, pending);
	ring_close(r);
}

/* Three chains of two pieces are out, 30 bytes to be written in each; ids are the device's. */
static void three_out(struct ring *r, uint64_t features, uint16_t ids[3])
{
	static const struct virtqueue_piece pieces[] = {{0x1000, 10}, {0x2000, 20}};

	ring_open(r, 16, features);
	for (size_t i = 0; i < 3; i++)
		assert_int_equal(virtqueue_add(&r->vq, pieces, 0, 2, cookie(i)), 0);
	virtqueue_publish(&r->vq);
	for (size_t i = 0; i < 3; i++)
		ids[i] = device_takes(r);
}

static void ids_that_are_not_out_break_the_queue(void **state)
{
	struct virtqueue_used used[4];
	uint16_t ids[3];
	struct ring r;

	(void)state;
	three_out(&r, MODERN, ids);
	const uint32_t bad[] = {16, 17, 0xffff, 0x10000, 0x10000 | ids[0], 0x80000000, UINT32_MAX,
		/* inside of a chain; free */
		r.vq.slots[ids[1]].next, r.vq.free_head};
	virtqueue_free(&r.vq);
	free(r.memory);
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		three_out(&r, MODERN, ids);
		device_uses(&r, bad[i], 30);
		assert_int_equal(virtqueue_take(&r.vq, used, 4), -EPROTO);
		assert_broken(&r, 3, "does not have");
	}
}

static void an_id_that_comes_twice_breaks_the_queue_after_those_before(void **state)
{
	struct virtqueue_used used[4];
	uint16_t ids[3];
	struct ring r;

	(void)state;
	three_out(&r, MODERN, ids);
	device_uses(&r, ids[1], 30);
	device_uses(&r, ids[0], 30);
	device_uses(&r, ids[1], 30);
	assert_int_equal(virtqueue_take(&r.vq, used, 4), 2);
	assert_ptr_equal(used[0].cookie, cookie(1));
	assert_ptr_equal(used[1].cookie, cookie(0));
	assert_broken(&r, 1, "does not have");
}

static void more_bytes_than_a_chain_holds_break_the_queue(void **state)
{
	static const uint32_t bad[] = {31, 0x10000, 0x7fffffff, UINT32_MAX};
	struct virtqueue_used used[4];
	uint16_t ids[3];
	struct ring r;

	(void)state;
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		three_out(&r, MODERN, ids);
		device_uses(&r, ids[2], 30); /* to the brim */
		device_uses(&r, ids[0], bad[i]);
		assert_int_equal(virtqueue_take(&r.vq, used, 4), 1);
		assert_int_equal(used[0].written, 30);
		assert_broken(&r, 2, "more than a buffer holds");
	}
}

static void an_index_that_runs_ahead_breaks_the_queue(void **state)
{
	static const uint16_t bad[] = {4, 5, 16, 17, 0x7fff, 0x8000, 0xffff};
	struct virtqueue_used used[4];
	uint16_t ids[3];
	struct ring r;

	(void)state;
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		three_out(&r, MODERN, ids);
		set_used_idx(&r, bad[i]);
		assert_int_equal(virtqueue_take(&r.vq, used, 4), -EPROTO);
		assert_broken(&r, 3, "more buffers than it was given");
	}
	/* It goes back behind what has been taken. */
	three_out(&r, MODERN, ids);
	device_uses(&r, ids[0], 30);
	device_uses(&r, ids[1], 30);
	assert_int_equal(virtqueue_take(&r.vq, used, 4), 2);
	set_used_idx(&r, 1);
	assert_int_equal(virtqueue_take(&r.vq, used, 4), -EPROTO);
	assert_broken(&r, 1, "more buffers than it was given");
	/* It uses what it has not been shown. */
	three_out(&r, MODERN, ids);
	assert_int_equal(virtqueue_add(&r.vq, small, 0, 1, cookie(3)), 0);
	set_used_idx(&r, 4);
	assert_int_equal(virtqueue_take(&r.vq, used, 4), -EPROTO);
	assert_broken(&r, 4, "more buffers than it was given");
}

static void a_device_that_writes_over_the_descriptors_does_no_harm(void **state)
{
	struct virtqueue_used used[4];
	uint16_t ids[3];
	struct ring r;

	(void)state;
	three_out(&r, MODERN, ids);
	memset(r.memory, 0xff, used_at(&r)); /* also the available ring */
	device_uses(&r, ids[0], 30);
	assert_int_equal(virtqueue_take(&r.vq, used, 4), 1);
	assert_ptr_equal(used[0].cookie, cookie(0));
	for (size_t i = 0; i < 6; i++)
		assert_int_equal(virtqueue_add(&r.vq, small, 0, 1, cookie(i)), 0);
	assert_int_equal(virtqueue_free_count(&r.vq), 16 - 4 - 6);
	virtqueue_publish(&r.vq);
	assert_int_equal(avail_idx(&r), 9);
	ring_close(&r);
}

/* 2.7.8.3: what legacy devices say of chains that they only read is not to be taken seriously. */
static void a_legacy_device_may_give_any_length_for_what_it_reads(void **state)
{
	struct virtqueue_used used;
	struct ring r;

	(void)state;
	ring_open_at(&r, 16, 4096, 0);
	assert_int_equal(virtqueue_add(&r.vq, small, 1, 0, cookie(0)), 0);
	virtqueue_publish(&r.vq);
	device_uses(&r, device_takes(&r), 4711);
	assert_int_equal(virtqueue_take(&r.vq, &used, 1), 1);
	assert_int_equal(used.written, 0);
	/* But not more than there was room for. */
	assert_int_equal(virtqueue_add(&r.vq, small, 0, 1, cookie(0)), 0);
	virtqueue_publish(&r.vq);
	device_uses(&r, device_takes(&r), 101);
	assert_int_equal(virtqueue_take(&r.vq, &used, 1), -EPROTO);
	assert_broken(&r, 1, "more than a buffer holds");
	ring_open(&r, 16, MODERN);
	assert_int_equal(virtqueue_add(&r.vq, small, 1, 0, cookie(0)), 0);
	virtqueue_publish(&r.vq);
	device_uses(&r, device_takes(&r), 1);
	assert_int_equal(virtqueue_take(&r.vq, &used, 1), -EPROTO);
	assert_broken(&r, 1, "more than a buffer holds");
}

/* --- a stopped device --------------------------------------------------------------------------------- */

static void what_is_still_out_is_given_back_once_each_when_the_device_was_stopped(void **state)
{
	static const struct virtqueue_piece pieces[3] = {{1, 1}, {2, 2}, {3, 3}};
	struct virtqueue_used used;
	unsigned seen = 0;
	struct ring r;
	void *back;

	(void)state;
	ring_open(&r, 16, MODERN);
	for (size_t i = 0; i < 5; i++)
		assert_int_equal(virtqueue_add(&r.vq, pieces, 2, 1, cookie(i)), 0);
	virtqueue_publish(&r.vq);
	device_takes(&r);
	device_uses(&r, device_takes(&r), 0);
	assert_int_equal(virtqueue_take(&r.vq, &used, 1), 1);
	assert_ptr_equal(used.cookie, cookie(1));
	while ((back = virtqueue_detach(&r.vq)) != NULL) {
		unsigned bit = 1u << ((uintptr_t)back - 1);

		assert_int_equal(seen & bit, 0);
		seen |= bit;
	}
	assert_int_equal(seen, 0x1d); /* all but the second */
	assert_int_equal(virtqueue_pending(&r.vq), 0);
	assert_null(virtqueue_detach(&r.vq));
	ring_close(&r);
}

/* --- at random ---------------------------------------------------------------------------------------- */

static uint32_t random_state;

static uint32_t random_below(uint32_t limit)
{
	random_state ^= random_state << 13;
	random_state ^= random_state >> 17;
	random_state ^= random_state << 5;
	return random_state % limit;
}

#define RANDOM_NUM    32
#define RANDOM_ROUNDS 60000

/* A chain that is out, as the test knows it. */
struct out_chain {
	struct virtqueue_piece pieces[40];
	unsigned out, in;
	uint32_t written;
	bool busy;
};

/* The device reads a chain out of the ring, and finds what the driver's side put in. */
static void device_reads(
	const struct ring *r, const struct vring_desc *tables, uint16_t id, const struct out_chain *c)
{
	const struct vring_desc *table = (const struct vring_desc *)r->memory;

	if (table[id].flags & 4) {
		assert_int_equal(table[id].flags, 4);
		assert_int_equal(table[id].len, 16 * (c->out + c->in));
		table = tables + (table[id].addr - 0x100000) / 16;
		id = 0;
	}
	for (unsigned i = 0;; i++) {
		assert_int_equal(table[id].addr, c->pieces[i].address);
		assert_int_equal(table[id].len, c->pieces[i].size);
		assert_int_equal(table[id].flags & 2, i < c->out ? 0 : 2);
		assert_int_equal(table[id].flags & 1, i + 1 < c->out + c->in);
		if (!(table[id].flags & 1))
			break;
		id = table[id].next;
	}
}

static void random_traffic(uint64_t features, bool indirect)
{
	static struct out_chain chains[RANDOM_NUM];
	static struct vring_desc tables[RANDOM_NUM * VIRTQUEUE_INDIRECT_MAX];
	uint16_t held[RANDOM_NUM], signals = 0;
	unsigned held_count = 0, out = 0, taken = 0;
	bool asked = false;
	struct ring r;

	memset(chains, 0, sizeof(chains));
	ring_open(&r, RANDOM_NUM, features);
	if (indirect)
		virtqueue_set_indirect(&r.vq, tables, 0x100000);
	/* What each id of the ring holds, by the device's reckoning. */
	struct out_chain *by_id[RANDOM_NUM] = {0};
	struct out_chain *order[RANDOM_NUM];
	unsigned order_count = 0;

	for (unsigned round = 0; round < RANDOM_ROUNDS; round++) {
		struct virtqueue_used used[RANDOM_NUM];
		int got;

		/* Add some, in the order in which the device is going to see them. */
		for (uint32_t n = random_below(4); n > 0; n--) {
			struct out_chain *c = NULL;
			unsigned count, before = virtqueue_free_count(&r.vq), need;
			int rc;

			for (size_t i = 0; i < RANDOM_NUM && !c; i++)
				if (!chains[i].busy)
					c = &chains[i];
			if (!c)
				break;
			count = 1 + random_below(random_below(4) ? 6 : 32);
			c->out = random_below(count + 1);
			c->in = count - c->out;
			for (unsigned i = 0; i < count; i++)
				c->pieces[i] = (struct virtqueue_piece){
					(uint64_t)random_below(1u << 30) << 20, 1 + random_below(2000)};
			need = indirect && count > VIRTQUEUE_DIRECT_MAX ? 1 : count;
			rc = virtqueue_add(&r.vq, c->pieces, c->out, c->in, c);
			assert_int_equal(rc, need <= before ? 0 : -ENOSPC);
			assert_int_equal(virtqueue_free_count(&r.vq), rc ? before : before - need);
			if (rc == 0) {
				c->busy = true;
				order[order_count++] = c;
				out++;
			}
		}
		virtqueue_publish(&r.vq);
		/* The device takes what it likes, */
		while (r.avail_seen != avail_idx(&r) && random_below(3)) {
			uint16_t id = device_takes(&r);

			assert_true(id < RANDOM_NUM);
			assert_null(by_id[id]);
			by_id[id] = order[0];
			memmove(order, order + 1, --order_count * sizeof(order[0]));
			device_reads(&r, tables, id, by_id[id]);
			held[held_count++] = id;
		}
		/* and uses it in any order. */
		while (held_count && random_below(3)) {
			uint32_t pick = random_below(held_count);
			uint16_t id = held[pick];
			struct out_chain *c = by_id[id];
			uint32_t capacity = 0;

			for (unsigned i = c->out; i < c->out + c->in; i++)
				capacity += c->pieces[i].size;
			c->written = random_below(capacity + 1);
			held[pick] = held[--held_count];
			by_id[id] = NULL;
			if (asked && used_event(&r) == r.used)
				signals++;
			device_uses(&r, id, c->written);
		}
		got = virtqueue_take(&r.vq, used, random_below(RANDOM_NUM));
		assert_true(got >= 0);
		for (int i = 0; i < got; i++) {
			struct out_chain *c = used[i].cookie;

			assert_true(c >= chains && c < chains + RANDOM_NUM && c->busy);
			assert_int_equal(used[i].written, c->written);
			c->busy = false;
			out--;
			taken++;
		}
		assert_int_equal(virtqueue_pending(&r.vq), out);
		/* Who waits after arming would have been signalled, or not had to wait. */
		if (features & EVENT_IDX) {
			asked = !virtqueue_arm(&r.vq);
			assert_int_equal(asked, !virtqueue_has_used(&r.vq));
		}
	}
	assert_true(taken > RANDOM_ROUNDS / 2);
	if (features & EVENT_IDX)
		assert_true(signals > 1000);
	ring_close(&r);
}

static void random_traffic_with_an_honest_device_loses_nothing(void **state)
{
	(void)state;
	random_state = 0x9e3779b9;
	random_traffic(MODERN, false);
	random_traffic(MODERN | EVENT_IDX, false);
	random_traffic(MODERN | EVENT_IDX | INDIRECT, true);
	random_traffic(0, false);
}

/* A device that writes anything anywhere into its ring: cookies come back at most once, and never one that is not out. */
static void random_lies_never_get_out_of_bounds(void **state)
{
	static const struct virtqueue_piece pieces[] = {{0x1000, 10}, {0x2000, 20}, {0x3000, 30}};
	unsigned broken = 0;

	(void)state;
	random_state = 4711;
	for (unsigned round = 0; round < 20000; round++) {
		bool busy[16] = {false};
		struct virtqueue_used used[16];
		struct ring r;
		void *back;

		ring_open(&r, 16, random_below(2) ? MODERN | EVENT_IDX : 0);
		for (unsigned step = 0; step < 20; step++) {
			unsigned free_one = 0;
			int got;

			while (free_one < 16 && busy[free_one])
				free_one++;
			if (free_one < 16 && virtqueue_add(&r.vq, pieces, random_below(2),
						     1 + random_below(2), cookie(free_one)) == 0)
				busy[free_one] = true;
			virtqueue_publish(&r.vq);
			/* Mostly what would be true, now and then a lie. */
			if (r.avail_seen != avail_idx(&r) && random_below(16))
				device_uses(
					&r, device_takes(&r) % 16, random_below(16) ? 0 : random_below(100));
			else if (random_below(32) == 0)
				device_uses(
					&r, random_below(UINT32_MAX) >> random_below(32), random_below(40));
			else if (random_below(32) == 0)
				set_used_idx(&r, (uint16_t)random_below(65536));
			else
				r.memory[random_below((uint32_t)r.bytes)] = (uint8_t)random_below(256);
			got = virtqueue_take(&r.vq, used, 16);
			assert_true(got <= 16);
			if (got < 0)
				assert_int_equal(got, -EPROTO);
			for (int i = 0; i < got; i++) {
				size_t n = (uintptr_t)used[i].cookie - 1;

				assert_true(n < 16 && busy[n]);
				busy[n] = false;
				assert_true(used[i].written <= 60);
			}
			assert_true(virtqueue_free_count(&r.vq) <= 16);
		}
		broken += virtqueue_broken(&r.vq);
		while ((back = virtqueue_detach(&r.vq)) != NULL) {
			size_t n = (uintptr_t)back - 1;

			assert_true(n < 16 && busy[n]);
			busy[n] = false;
		}
		for (size_t i = 0; i < 16; i++)
			assert_false(busy[i]);
		ring_close(&r);
	}
	/* Some of them get through: not all that is false can be seen. */
	assert_in_range(broken, 4000, 18000);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(the_parts_lie_where_the_standard_puts_them),
		cmocka_unit_test(sizes_and_places_that_cannot_be_are_refused),
		cmocka_unit_test(a_chain_is_written_as_descriptors_that_point_at_each_other),
		cmocka_unit_test(used_chains_come_back_with_their_cookies_and_give_their_room_back),
		cmocka_unit_test(chains_that_no_ring_takes_are_refused),
		cmocka_unit_test(buffers_of_one_piece_are_added_many_at_a_time_as_far_as_there_is_room),
		cmocka_unit_test(long_chains_take_one_entry_and_a_table_of_their_own),
		cmocka_unit_test(indices_wrap_at_65536),
		cmocka_unit_test(a_full_ring_of_the_largest_size_is_used_at_once),
		cmocka_unit_test(without_event_indices_flags_say_who_is_told),
		cmocka_unit_test(the_device_is_told_when_its_event_index_is_passed),
		cmocka_unit_test(a_signal_is_asked_for_at_the_next_used_chain),
		cmocka_unit_test(ids_that_are_not_out_break_the_queue),
		cmocka_unit_test(an_id_that_comes_twice_breaks_the_queue_after_those_before),
		cmocka_unit_test(more_bytes_than_a_chain_holds_break_the_queue),
		cmocka_unit_test(an_index_that_runs_ahead_breaks_the_queue),
		cmocka_unit_test(a_device_that_writes_over_the_descriptors_does_no_harm),
		cmocka_unit_test(a_legacy_device_may_give_any_length_for_what_it_reads),
		cmocka_unit_test(what_is_still_out_is_given_back_once_each_when_the_device_was_stopped),
		cmocka_unit_test(random_traffic_with_an_honest_device_loses_nothing),
		cmocka_unit_test(random_lies_never_get_out_of_bounds),
	};

	return cmocka_run_group_tests_name("virtqueue", tests, NULL, NULL);
}
