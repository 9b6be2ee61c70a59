/*
 * The driver's side of a virtqueue, against rings that are read and written byte by byte as virtio 1.2, 2.7 lays them
 * out: layout, chains, indices that wrap, and who is told what.
 */
#include "virtqueue_ring.h"

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
	device_uses(&r, id, 1); /* all of it was to be read: whatever it says */
	assert_int_equal(virtqueue_take(&r.vq, used, 8), 1);
	assert_ptr_equal(used[0].cookie, cookie(2));
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
		cmocka_unit_test(what_is_still_out_is_given_back_once_each_when_the_device_was_stopped),
	};

	return cmocka_run_group_tests_name("virtqueue", tests, NULL, NULL);
}
