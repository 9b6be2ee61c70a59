/*
 * The driver's side of a virtqueue against a device that the test plays: ones that lie, one that is honest and uses
 * buffers in any order, and one that writes anything anywhere.
 */
#include "virtqueue_ring.h"

/* --- a device that lies ------------------------------------------------------------------------------- */

/* Three chains of two pieces are out, 30 bytes to be written in each; ids are the device's. */
struct out {
	struct ring r;
	uint16_t ids[3];
	struct virtqueue_used used[4]; /* what virtqueue_take() gives back */
};

static void three_out(struct out *o)
{
	static const struct virtqueue_piece pieces[] = {{0x1000, 10}, {0x2000, 20}};

	ring_open(&o->r, 16, MODERN);
	for (size_t i = 0; i < 3; i++)
		assert_int_equal(virtqueue_add(&o->r.vq, pieces, 0, 2, cookie(i)), 0);
	virtqueue_publish(&o->r.vq);
	for (size_t i = 0; i < 3; i++)
		o->ids[i] = device_takes(&o->r);
}

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

/* The next look at the used ring breaks it. */
static void assert_breaks(struct ring *r, unsigned pending, const char *words)
{
	struct virtqueue_used used[4];

	assert_int_equal(virtqueue_take(&r->vq, used, 4), -EPROTO);
	assert_broken(r, pending, words);
}

static void ids_that_are_not_out_break_the_queue(void **state)
{
	struct out o;

	(void)state;
	three_out(&o);
	const uint32_t bad[] = {16, 17, 0xffff, 0x10000, 0x10000 | o.ids[0], 0x80000000, UINT32_MAX,
		/* inside of a chain; free */
		o.r.vq.slots[o.ids[1]].next, o.r.vq.free_head};
	virtqueue_free(&o.r.vq);
	free(o.r.memory);
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		three_out(&o);
		device_uses(&o.r, bad[i], 30);
		assert_breaks(&o.r, 3, "does not have");
	}
}

static void an_id_that_comes_twice_breaks_the_queue_after_those_before(void **state)
{
	struct out o;

	(void)state;
	three_out(&o);
	device_uses(&o.r, o.ids[1], 30);
	device_uses(&o.r, o.ids[0], 30);
	device_uses(&o.r, o.ids[1], 30);
	assert_int_equal(virtqueue_take(&o.r.vq, o.used, 4), 2);
	assert_ptr_equal(o.used[0].cookie, cookie(1));
	assert_ptr_equal(o.used[1].cookie, cookie(0));
	assert_broken(&o.r, 1, "does not have");
}

static void more_bytes_than_a_chain_holds_break_the_queue(void **state)
{
	static const uint32_t bad[] = {31, 0x10000, 0x7fffffff, UINT32_MAX};
	struct out o;

	(void)state;
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		three_out(&o);
		device_uses(&o.r, o.ids[2], 30); /* to the brim */
		device_uses(&o.r, o.ids[0], bad[i]);
		assert_int_equal(virtqueue_take(&o.r.vq, o.used, 4), 1);
		assert_int_equal(o.used[0].written, 30);
		assert_broken(&o.r, 2, "more than a buffer holds");
	}
}

static void an_index_that_runs_ahead_breaks_the_queue(void **state)
{
	static const uint16_t bad[] = {4, 5, 16, 17, 0x7fff, 0x8000, 0xffff};
	struct out o;

	(void)state;
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		three_out(&o);
		set_used_idx(&o.r, bad[i]);
		assert_breaks(&o.r, 3, "more buffers than it was given");
	}
	/* It goes back behind what has been taken. */
	three_out(&o);
	device_uses(&o.r, o.ids[0], 30);
	device_uses(&o.r, o.ids[1], 30);
	assert_int_equal(virtqueue_take(&o.r.vq, o.used, 4), 2);
	set_used_idx(&o.r, 1);
	assert_breaks(&o.r, 1, "more buffers than it was given");
	/* It uses what it has not been shown. */
	three_out(&o);
	assert_int_equal(virtqueue_add(&o.r.vq, small, 0, 1, cookie(3)), 0);
	set_used_idx(&o.r, 4);
	assert_breaks(&o.r, 4, "more buffers than it was given");
}

static void a_device_that_writes_over_the_descriptors_does_no_harm(void **state)
{
	struct out o;

	(void)state;
	three_out(&o);
	memset(o.r.memory, 0xff, used_at(&o.r)); /* also the available ring */
	device_uses(&o.r, o.ids[0], 30);
	assert_int_equal(virtqueue_take(&o.r.vq, o.used, 4), 1);
	assert_ptr_equal(o.used[0].cookie, cookie(0));
	for (size_t i = 0; i < 6; i++)
		assert_int_equal(virtqueue_add(&o.r.vq, small, 0, 1, cookie(i)), 0);
	assert_int_equal(virtqueue_free_count(&o.r.vq), 16 - 4 - 6);
	virtqueue_publish(&o.r.vq);
	assert_int_equal(avail_idx(&o.r), 9);
	ring_close(&o.r);
}

/* What devices say of chains that they read, legacy ones (2.7.8.1) and others, is not to be taken seriously. */
static void a_device_may_give_any_length_for_what_it_reads(void **state)
{
	static const struct {
		unsigned out, in;
		uint32_t length;
	} cases[] = {{1, 0, 4711}, {1, 0, UINT32_MAX}, {2, 0, 1}, {2, 1, 205}, {1, 5, UINT32_MAX}};
	struct virtqueue_used used;
	struct ring r;

	(void)state;
	for (unsigned modern = 0; modern < 2; modern++) {
		ring_open_at(&r, 16, 4096, modern ? MODERN : 0);
		for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
			struct virtqueue_piece pieces[6];

			for (unsigned k = 0; k < 6; k++)
				pieces[k] = small[0];
			assert_int_equal(
				virtqueue_add(&r.vq, pieces, cases[i].out, cases[i].in, cookie(i)), 0);
			virtqueue_publish(&r.vq);
			device_uses(&r, device_takes(&r), cases[i].length);
			assert_int_equal(virtqueue_take(&r.vq, &used, 1), 1);
			assert_ptr_equal(used.cookie, cookie(i));
		}
		/* But of what it only writes, not more than there was room for. */
		assert_int_equal(virtqueue_add(&r.vq, small, 0, 1, cookie(0)), 0);
		virtqueue_publish(&r.vq);
		device_uses(&r, device_takes(&r), 101);
		assert_breaks(&r, 1, "more than a buffer holds");
	}
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
		bool busy[16] = {false}, read[16];
		struct virtqueue_used used[16];
		struct ring r;
		void *back;

		ring_open(&r, 16, random_below(2) ? MODERN | EVENT_IDX : 0);
		for (unsigned step = 0; step < 20; step++) {
			unsigned free_one = 0, outs = random_below(2);
			int got;

			while (free_one < 16 && busy[free_one])
				free_one++;
			if (free_one < 16 && virtqueue_add(&r.vq, pieces, outs, 1 + random_below(2),
						     cookie(free_one)) == 0) {
				busy[free_one] = true;
				read[free_one] = outs;
			}
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
				assert_true(read[n] || used[i].written <= 60);
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
		cmocka_unit_test(ids_that_are_not_out_break_the_queue),
		cmocka_unit_test(an_id_that_comes_twice_breaks_the_queue_after_those_before),
		cmocka_unit_test(more_bytes_than_a_chain_holds_break_the_queue),
		cmocka_unit_test(an_index_that_runs_ahead_breaks_the_queue),
		cmocka_unit_test(a_device_that_writes_over_the_descriptors_does_no_harm),
		cmocka_unit_test(a_device_may_give_any_length_for_what_it_reads),
		cmocka_unit_test(random_traffic_with_an_honest_device_loses_nothing),
		cmocka_unit_test(random_lies_never_get_out_of_bounds),
	};

	return cmocka_run_group_tests_name("virtqueue and devices", tests, NULL, NULL);
}
