/*
 * The tap, against the real kernel in a namespace of its own: who gets an interface and who is refused, and
 * whether frames of all sizes survive the way in and out.
 */
#include <stdarg.h>
#include <setjmp.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sysexits.h>
#include <cmocka.h>

#include "bridge/interface.h"
#include "bridge/log.h"
#include "bridge/tap.h"
#include "fake_device.h"
#include "own_netns.h"

#define MAX_FRAME 9732

static struct fake_device fake;

/* A tap that is up, with a port and a packet socket on its kernel side. */
struct fixture {
	struct tap *tap;
	struct kernel_port *port;
	struct mempool *pool;
	struct queue_counters counters;
	int socket;
};

static int setup(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));

	fake_device_init(&fake);
	f->pool = ixy_mempool_create(&fake.dev, 64, 0);
	if (!f->pool || tap_open("t0", -1, 1, &f->tap) || tap_set_carrier(f->tap, true) < 0 ||
		!shell("ip link set t0 mtu 9710 up"))
		return -1;
	f->port = tap_port_bind(f->tap, 0, f->pool, MAX_FRAME);
	f->socket = packet_socket("t0");
	*state = f;
	return f->socket < 0 ? -1 : 0;
}

static int teardown(void **state)
{
	struct fixture *f = *state;
	int rc;

	close(f->socket);
	tap_port_unbind(f->port);
	tap_close(f->tap);
	rc = ixy_mempool_free(f->pool); /* fails if a buffer was lost */
	fake_device_close(&fake);
	free(f);
	return rc;
}

/* --- getting an interface ----------------------------------------------------------------------------- */

static void names_that_cannot_be_are_refused(void **state)
{
	static const char *const names[] = {
		"", ".", "..", "a/b", "a:b", "a b", "a\tb", "tap%d", "sixteen-letters-"};
	struct tap *tap;

	(void)state;
	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
		assert_int_equal(tap_open(names[i], -1, 1, &tap), EX_CONFIG);
	assert_int_equal(tap_open("fifteen-letters", -1, 1, &tap), 0);
	assert_int_not_equal(if_nametoindex("fifteen-letters"), 0);
	tap_close(tap);
	assert_int_equal(if_nametoindex("fifteen-letters"), 0);
}

static void a_new_tap_has_no_carrier_until_told(void **state)
{
	struct tap *tap;

	(void)state;
	assert_int_equal(tap_open("t1", -1, 1, &tap), 0);
	assert_false(tap_attached(tap));
	assert_true(shell("ip link set t1 up && ip link show t1 | grep -q NO-CARRIER"));
	assert_int_equal(tap_set_carrier(tap, true), 0);
	assert_true(shell("ip link show t1 | grep -q LOWER_UP"));
	assert_int_equal(tap_set_carrier(tap, false), 0);
	assert_true(shell("ip link show t1 | grep -q NO-CARRIER"));
	tap_close(tap);
}

static void a_name_of_something_else_is_refused(void **state)
{
	struct tap *tap;

	(void)state;
	assert_true(shell("ip link add d0 type veth peer name d1"));
	assert_int_equal(tap_open("d0", -1, 1, &tap), EX_CONFIG);
	assert_true(shell("ip link show d0 | grep -q d0 && ip link del d0"));
	assert_int_equal(tap_open("lo", -1, 1, &tap), EX_CONFIG);
	/* A tun, persistent and idle, is a layer 3 device all the same. */
	assert_true(shell("ip tuntap add mode tun name n0"));
	assert_int_equal(tap_open("n0", -1, 1, &tap), EX_CONFIG);
	assert_true(shell("ip link del n0"));
}

static void a_tap_that_somebody_uses_is_refused(void **state)
{
	/* Single and multi-queue: the kernel itself would let a second program into the latter. */
	static const uint16_t queues[] = {1, 2};
	struct tap *tap, *second;

	(void)state;
	for (int persistent = 0; persistent < 2; persistent++) {
		for (size_t i = 0; i < 2; i++) {
			assert_int_equal(tap_open("t1", -1, queues[i], &tap), 0);
			if (persistent)
				assert_int_equal(tap_persist(tap, (uid_t)-1, (gid_t)-1), 0);
			assert_int_equal(tap_open("t1", -1, 1, &second), EX_CONFIG);
			assert_int_equal(tap_open("t1", -1, 2, &second), EX_CONFIG);
			tap_close(tap);
			if (persistent)
				assert_true(shell("ip link del t1"));
		}
	}
}

static void a_persistent_tap_outlives_its_program_and_is_attached_to_again(void **state)
{
	struct tap *tap;
	unsigned index;

	(void)state;
	assert_int_equal(tap_open("t1", -1, 2, &tap), 0);
	assert_int_equal(tap_persist(tap, 65534, 65534), 0);
	index = if_nametoindex("t1");
	tap_close(tap);
	assert_int_equal(if_nametoindex("t1"), index);
	assert_true(shell("ip -d link show t1 | grep -Eq 'user (nobody|65534) group (nogroup|65534)'"));
	/* With as many queues, and with fewer. */
	assert_int_equal(tap_open("t1", -1, 2, &tap), 0);
	assert_true(tap_attached(tap));
	tap_close(tap);
	assert_int_equal(tap_open("t1", -1, 1, &tap), 0);
	assert_int_equal(if_nametoindex("t1"), index);
	tap_close(tap);
	assert_true(shell("ip link del t1"));
	/* One that was made with a single queue has no second. */
	assert_true(shell("ip tuntap add mode tap name t1"));
	assert_int_equal(tap_open("t1", -1, 2, &tap), EX_CONFIG);
	assert_int_equal(tap_open("t1", -1, 1, &tap), 0);
	tap_close(tap);
	assert_true(shell("ip link del t1"));
}

static void a_tap_is_made_in_the_namespace_asked_for_and_found_where_it_went(void **state)
{
	int here = open("/proc/self/ns/net", O_RDONLY | O_CLOEXEC), other, where;
	char name[16];
	struct tap *tap;

	(void)state;
	assert_int_equal(unshare(CLONE_NEWNET), 0);
	other = open("/proc/self/ns/net", O_RDONLY | O_CLOEXEC);
	assert_int_equal(setns(here, CLONE_NEWNET), 0);
	assert_int_equal(tap_open("t1", other, 1, &tap), 0);
	assert_int_equal(if_nametoindex("t1"), 0); /* and we are back at home */
	where = tap_find(tap, name);
	assert_true(where >= 0);
	assert_string_equal(name, "t1");
	assert_int_equal(setns(where, CLONE_NEWNET), 0);
	assert_int_not_equal(if_nametoindex("t1"), 0);
	assert_true(shell("ip link set t1 name t2 && ip link del t2 2>/dev/null"));
	assert_int_equal(tap_find(tap, name), -ENODEV);
	assert_int_equal(setns(here, CLONE_NEWNET), 0);
	tap_close(tap);
	close(where);
	close(other);
	close(here);
}

/* --- frames ------------------------------------------------------------------------------------------- */

/* A frame of size bytes in a chain of buffers, as the NIC would leave it. */
static struct pkt_buf *received(struct mempool *pool, const uint8_t *data, uint32_t size)
{
	struct pkt_buf *first = pkt_buf_alloc(pool), *buf = first;

	first->frame_size = size;
	for (;;) {
		buf->size = size < pool->data_size ? size : pool->data_size;
		memcpy(buf->data, data, buf->size);
		data += buf->size;
		size -= buf->size;
		if (!size)
			return first;
		buf->next = pkt_buf_alloc(pool);
		buf = buf->next;
		first->segments++;
	}
}

static void frames_of_all_sizes_reach_the_kernel_whole(void **state)
{
	static const uint32_t sizes[] = {14, 15, 42, 60, 64, 1514, 2047, 2048, 2049, 4096, 4097, 9018, 9728};
	struct fixture *f = *state;
	uint8_t sent[MAX_FRAME], got[MAX_FRAME + 1];
	uint64_t bytes = 0;

	for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
		struct pkt_buf *frame;

		fill_frame(sent, sizes[i]);
		frame = received(f->pool, sent, sizes[i]);
		assert_int_equal(kernel_port_send(f->port, &frame, 1, &f->counters), 0);
		assert_true(readable(f->socket));
		assert_int_equal(recv(f->socket, got, sizeof(got), 0), sizes[i]);
		assert_memory_equal(got, sent, sizes[i]);
		bytes += sizes[i];
	}
	assert_int_equal(f->counters.rx.frames, sizeof(sizes) / sizeof(sizes[0]));
	assert_int_equal(f->counters.rx.bytes, bytes);
}

static void frames_of_all_sizes_leave_the_kernel_whole_and_padded(void **state)
{
	static const uint32_t sizes[] = {14, 42, 59, 60, 61, 1514, 2047, 2048, 2049, 4096, 4097, 9724};
	struct fixture *f = *state;
	uint8_t sent[MAX_FRAME];

	/* Twice, so that chains begin with buffers that an earlier frame left over. */
	for (int round = 0; round < 2; round++) {
		for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
			struct pkt_buf *frames[4];
			uint32_t expected = sizes[i] < 60 ? 60 : sizes[i], at = 0, segments = 0;

			memset(sent, 0, sizeof(sent));
			fill_frame(sent, sizes[i]);
			assert_int_equal(send(f->socket, sent, sizes[i], 0), sizes[i]);
			assert_true(readable(kernel_port_fd(f->port)));
			assert_int_equal(kernel_port_recv(f->port, frames, 4, &f->counters), 1);
			assert_int_equal(frames[0]->frame_size, expected);
			for (const struct pkt_buf *buf = frames[0]; buf; buf = buf->next) {
				assert_true(buf->size > 0);
				assert_memory_equal(buf->data, sent + at, buf->size);
				at += buf->size;
				segments++;
			}
			assert_int_equal(at, expected);
			assert_int_equal(segments, frames[0]->segments);
			pkt_buf_free(frames[0]);
		}
	}
}

static void padding_holds_nothing_of_earlier_frames(void **state)
{
	static const uint8_t zeros[60];
	struct fixture *f = *state;
	uint8_t sent[1514];
	struct pkt_buf *frames[1];

	/* Every other frame dirties the buffer that the next one gets. */
	for (int i = 0; i < 8; i++) {
		fill_frame(sent, sizeof(sent));
		assert_int_equal(
			send(f->socket, sent, i % 2 ? 14 : sizeof(sent), 0), i % 2 ? 14 : sizeof(sent));
		assert_int_equal(kernel_port_recv(f->port, frames, 1, &f->counters), 1);
		if (i % 2)
			assert_memory_equal(frames[0]->data + 14, zeros, 46);
		pkt_buf_free(frames[0]);
	}
}

static void a_burst_is_read_in_one_go_and_no_further_than_asked(void **state)
{
	struct fixture *f = *state;
	struct pkt_buf *frames[8];
	uint8_t sent[60];

	fill_frame(sent, sizeof(sent));
	assert_int_equal(kernel_port_recv(f->port, frames, 8, &f->counters), 0);
	for (int i = 0; i < 5; i++)
		assert_int_equal(send(f->socket, sent, sizeof(sent), 0), sizeof(sent));
	assert_int_equal(kernel_port_recv(f->port, frames, 3, &f->counters), 3);
	pkt_buf_free_batch(frames, 3);
	assert_int_equal(kernel_port_recv(f->port, frames, 8, &f->counters), 2);
	pkt_buf_free_batch(frames, 2);
	assert_int_equal(f->counters.tx.frames, 5);
	assert_int_equal(f->counters.tx.bursts, 2);
}

static void a_frame_longer_than_the_port_is_dropped_and_counted_not_cut(void **state)
{
	struct fixture *f = *state;
	static uint8_t sent[20000];
	struct pkt_buf *frames[2];

	assert_true(shell("ip link set t0 mtu 30000"));
	fill_frame(sent, sizeof(sent));
	assert_int_equal(send(f->socket, sent, sizeof(sent), 0), sizeof(sent));
	assert_int_equal(send(f->socket, sent, 60, 0), 60);
	assert_int_equal(kernel_port_recv(f->port, frames, 2, &f->counters), 1);
	assert_int_equal(frames[0]->frame_size, 60);
	pkt_buf_free(frames[0]);
	assert_int_equal(f->counters.drops[IXY_DROP_TX_TOO_LONG], 1);
}

static void an_empty_pool_leaves_the_frames_in_the_kernel(void **state)
{
	struct fixture *f = *state;
	struct pkt_buf *held[64], *frames[2];
	uint8_t sent[60];
	uint32_t n;

	fill_frame(sent, sizeof(sent));
	n = pkt_buf_alloc_batch(f->pool, held, 64);
	assert_int_equal(send(f->socket, sent, sizeof(sent), 0), sizeof(sent));
	assert_int_equal(kernel_port_recv(f->port, frames, 2, &f->counters), -ENOBUFS);
	pkt_buf_free_batch(held, n);
	assert_int_equal(kernel_port_recv(f->port, frames, 2, &f->counters), 1);
	pkt_buf_free(frames[0]);
}

static void runts_never_reach_the_kernel(void **state)
{
	struct fixture *f = *state;
	uint8_t data[13] = {0};
	struct pkt_buf *frame = received(f->pool, data, sizeof(data));

	assert_int_equal(kernel_port_send(f->port, &frame, 1, &f->counters), 0);
	assert_int_equal(f->counters.drops[IXY_DROP_KERNEL_RUNT], 1);
	assert_int_equal(f->counters.rx.frames, 0);
}

static void an_interface_that_is_down_drops_with_that_reason(void **state)
{
	struct fixture *f = *state;
	uint8_t data[60];
	struct pkt_buf *frames[2];

	fill_frame(data, sizeof(data));
	frames[0] = received(f->pool, data, sizeof(data));
	frames[1] = received(f->pool, data, sizeof(data));
	assert_true(shell("ip link set t0 down"));
	assert_int_equal(kernel_port_send(f->port, frames, 2, &f->counters), 0);
	assert_int_equal(f->counters.drops[IXY_DROP_KERNEL_DOWN], 2);
	assert_int_equal(f->counters.rx.frames, 0);
}

static void a_deleted_interface_is_told_from_both_directions(void **state)
{
	struct fixture *f = *state;
	uint8_t data[60];
	struct pkt_buf *frame;

	fill_frame(data, sizeof(data));
	frame = received(f->pool, data, sizeof(data));
	assert_true(shell("ip link del t0"));
	assert_true(readable(kernel_port_fd(f->port))); /* a sleeping worker wakes */
	assert_int_equal(kernel_port_send(f->port, &frame, 1, &f->counters), -EBADFD);
	assert_int_equal(f->counters.drops[IXY_DROP_KERNEL_DOWN], 1);
	assert_int_equal(kernel_port_recv(f->port, &frame, 1, &f->counters), -EBADFD);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(names_that_cannot_be_are_refused),
		cmocka_unit_test(a_new_tap_has_no_carrier_until_told),
		cmocka_unit_test(a_name_of_something_else_is_refused),
		cmocka_unit_test(a_tap_that_somebody_uses_is_refused),
		cmocka_unit_test(a_persistent_tap_outlives_its_program_and_is_attached_to_again),
		cmocka_unit_test(a_tap_is_made_in_the_namespace_asked_for_and_found_where_it_went),
		cmocka_unit_test_setup_teardown(frames_of_all_sizes_reach_the_kernel_whole, setup, teardown),
		cmocka_unit_test_setup_teardown(
			frames_of_all_sizes_leave_the_kernel_whole_and_padded, setup, teardown),
		cmocka_unit_test_setup_teardown(padding_holds_nothing_of_earlier_frames, setup, teardown),
		cmocka_unit_test_setup_teardown(
			a_burst_is_read_in_one_go_and_no_further_than_asked, setup, teardown),
		cmocka_unit_test_setup_teardown(
			a_frame_longer_than_the_port_is_dropped_and_counted_not_cut, setup, teardown),
		cmocka_unit_test_setup_teardown(
			an_empty_pool_leaves_the_frames_in_the_kernel, setup, teardown),
		cmocka_unit_test_setup_teardown(runts_never_reach_the_kernel, setup, teardown),
		cmocka_unit_test_setup_teardown(
			an_interface_that_is_down_drops_with_that_reason, setup, teardown),
		cmocka_unit_test_setup_teardown(
			a_deleted_interface_is_told_from_both_directions, setup, teardown),
	};

	log_set_level(0); /* refusals are expected here */
	if (!own_netns()) {
		puts("tap: skipped: network namespaces and /dev/net/tun need root");
		return 0;
	}
	return cmocka_run_group_tests_name("tap", tests, NULL, NULL);
}
