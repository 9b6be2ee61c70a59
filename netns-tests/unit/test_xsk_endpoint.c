/*
 * The blocking endpoint on a veth pair: what is written is read, time-outs, partial counts, close from
 * another thread, and that nothing that was reported as written is lost, not even where the device drops it.
 */
#include <errno.h>
#include <pthread.h>
#include <stdarg.h>
#include <setjmp.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <cmocka.h>

#include "driver/xdp/endpoint.h"
#include "xsk_rig.h"

struct pair {
	struct xsk_endpoint *a, *b;
};

static struct xsk_endpoint *endpoint(const struct xsk_endpoint_config *config)
{
	struct xsk_endpoint *result;

	if (xsk_endpoint_open(config, &result) < 0)
		fail_msg("%s", ixy_last_error());
	return result;
}

static int setup(void **state)
{
	struct pair *pair = calloc(1, sizeof(*pair));

	if (!pair || !make_veth())
		return -1;
	pair->a = endpoint(&(struct xsk_endpoint_config){.ifname = "va", .frames = 128});
	pair->b = endpoint(&(struct xsk_endpoint_config){.ifname = "vb", .frames = 128});
	*state = pair;
	return 0;
}

static int teardown(void **state)
{
	struct pair *pair = *state;
	int lost = xsk_endpoint_close(pair->a) + xsk_endpoint_close(pair->b);

	delete_veth();
	free(pair);
	return lost;
}

static void *shut_down(void *arg)
{
	nanosleep(&(struct timespec){.tv_nsec = 50000000}, NULL);
	xsk_endpoint_shutdown(arg);
	return NULL;
}

/* --- plain reading and writing -------------------------------------------------------------------------- */

static void what_is_written_is_read(void **state)
{
	struct pair *pair = *state;
	uint8_t out[1514], in[2048];

	fill_frame(out, sizeof(out));
	for (uint32_t size = 14; size <= 1514; size += 100) {
		assert_int_equal(xsk_endpoint_write(pair->a, out, size, XSK_PATIENCE_MS), 0);
		assert_int_equal(xsk_endpoint_read(pair->b, in, sizeof(in), XSK_PATIENCE_MS), size);
		assert_memory_equal(in, out, size);
		assert_int_equal(xsk_endpoint_write(pair->b, out, size, 0), 0);
		assert_int_equal(xsk_endpoint_read(pair->a, in, sizeof(in), -1), size);
		assert_memory_equal(in, out, size);
	}
}

/* Who polls the descriptor and then reads one frame must hear of the others. */
static void the_descriptor_is_readable_until_the_last_frame_is_read(void **state)
{
	struct pair *pair = *state;
	uint8_t out[100], in[2048];
	struct pollfd p = {.fd = xsk_endpoint_fd(pair->b), .events = POLLIN};

	fill_frame(out, sizeof(out));
	assert_int_equal(poll(&p, 1, 0), 0);
	for (int i = 0; i < 3; i++)
		assert_int_equal(xsk_endpoint_write(pair->a, out, sizeof(out), XSK_PATIENCE_MS), 0);
	for (int i = 0; i < 3; i++) {
		assert_int_equal(poll(&p, 1, XSK_PATIENCE_MS), 1);
		assert_int_equal(xsk_endpoint_read(pair->b, in, sizeof(in), 0), sizeof(out));
	}
	assert_int_equal(poll(&p, 1, 0), 0);
}

static void a_batch_is_written_and_read_in_order(void **state)
{
	struct pair *pair = *state;
	static uint8_t out[50][100], in[50][2048];
	struct xsk_buffer writes[50], reads[50];
	uint32_t got = 0;

	for (uint32_t i = 0; i < 50; i++) {
		fill_frame(out[i], 60 + i % 40);
		out[i][20] = (uint8_t)i;
		writes[i] = (struct xsk_buffer){.data = out[i], .size = 60 + i % 40};
		reads[i] = (struct xsk_buffer){.data = in[i], .size = sizeof(in[i])};
	}
	assert_int_equal(xsk_endpoint_write_batch(pair->a, writes, 50, XSK_PATIENCE_MS), 50);
	while (got < 50) {
		int rc = xsk_endpoint_read_batch(pair->b, reads + got, 50 - got, XSK_PATIENCE_MS);

		assert_in_range(rc, 1, 50 - got);
		got += (uint32_t)rc;
	}
	for (uint32_t i = 0; i < 50; i++) {
		assert_int_equal(reads[i].length, writes[i].size);
		assert_memory_equal(in[i], out[i], writes[i].size);
	}
}

static void more_frames_than_there_is_memory_for_go_through(void **state)
{
	struct pair *pair = *state;
	uint8_t out[64], in[2048];

	fill_frame(out, sizeof(out));
	for (uint32_t i = 0; i < 1000; i++) {
		memcpy(out + 16, &i, sizeof(i));
		assert_int_equal(xsk_endpoint_write(pair->a, out, sizeof(out), XSK_PATIENCE_MS), 0);
		assert_int_equal(xsk_endpoint_read(pair->b, in, sizeof(in), XSK_PATIENCE_MS), sizeof(out));
		assert_memory_equal(in, out, sizeof(out));
	}
}

static void counters_and_properties_are_right(void **state)
{
	struct pair *pair = *state;
	struct xsk_endpoint_statistics statistics;
	uint8_t out[100], in[2048];

	assert_int_equal(xsk_endpoint_max_frame(pair->a), 2048 - XSK_KERNEL_HEADROOM);
	assert_int_equal(xsk_endpoint_mode(pair->a), XSK_MODE_NATIVE);
	fill_frame(out, sizeof(out));
	for (int i = 0; i < 3; i++) {
		struct pollfd p = {.fd = xsk_endpoint_fd(pair->b), .events = POLLIN};

		assert_int_equal(xsk_endpoint_write(pair->a, out, sizeof(out), -1), 0);
		assert_int_equal(poll(&p, 1, XSK_PATIENCE_MS), 1);
		assert_int_equal(xsk_endpoint_read(pair->b, in, sizeof(in), 0), sizeof(out));
	}
	assert_int_equal(xsk_endpoint_statistics(pair->a, &statistics), 0);
	assert_int_equal(statistics.tx_frames, 3);
	assert_int_equal(statistics.tx_bytes, 300);
	assert_int_equal(statistics.rx_frames, 0);
	assert_int_equal(statistics.tx_retries, 0);
	assert_int_equal(xsk_endpoint_statistics(pair->b, &statistics), 0);
	assert_int_equal(statistics.rx_frames, 3);
	assert_int_equal(statistics.rx_bytes, 300);
	assert_int_equal(statistics.kernel.rx_dropped, 0);
}

/* --- what is refused, and time-outs --------------------------------------------------------------------- */

static void a_buffer_too_small_loses_no_frame(void **state)
{
	struct pair *pair = *state;
	uint8_t out[1000], in[2048];
	struct xsk_buffer reads[2] = {{.data = in, .size = 100}, {.data = in, .size = 999}};

	fill_frame(out, sizeof(out));
	assert_int_equal(xsk_endpoint_write(pair->a, out, 100, XSK_PATIENCE_MS), 0);
	assert_int_equal(xsk_endpoint_write(pair->a, out, 1000, XSK_PATIENCE_MS), 0);
	/* A batch ends before the frame that does not fit. */
	assert_int_equal(xsk_endpoint_read_batch(pair->b, reads, 2, XSK_PATIENCE_MS), 1);
	assert_int_equal(reads[0].length, 100);
	for (int i = 0; i < 3; i++)
		assert_int_equal(xsk_endpoint_read(pair->b, in, 999, XSK_PATIENCE_MS), -EMSGSIZE);
	assert_int_equal(xsk_endpoint_read(pair->b, in, 1000, XSK_PATIENCE_MS), 1000);
	assert_memory_equal(in, out, 1000);
}

static void frames_that_cannot_be_sent_are_refused_and_the_next_one_goes(void **state)
{
	struct pair *pair = *state;
	uint8_t out[2048], in[2048];
	struct xsk_buffer writes[3] = {
		{.data = out, .size = 60}, {.data = out, .size = 1700}, {.data = out, .size = 61}};

	fill_frame(out, sizeof(out));
	assert_int_equal(xsk_endpoint_write(pair->a, out, 0, -1), -EINVAL);
	assert_int_equal(
		xsk_endpoint_write(pair->a, out, xsk_endpoint_max_frame(pair->a) + 1, -1), -EMSGSIZE);
	/* Over the MTU of 1500 and two headers: the device drops it each time. */
	assert_int_equal(xsk_endpoint_write(pair->a, out, 1700, -1), -EMSGSIZE);
	/* In a batch: those before it count, and the next call tells. */
	assert_int_equal(xsk_endpoint_write_batch(pair->a, writes, 3, -1), 1);
	assert_int_equal(xsk_endpoint_write_batch(pair->a, writes + 1, 2, -1), -EMSGSIZE);
	assert_int_equal(xsk_endpoint_write_batch(pair->a, writes + 2, 1, -1), 1);
	for (uint32_t i = 0; i < 2; i++)
		assert_int_equal(xsk_endpoint_read(pair->b, in, sizeof(in), XSK_PATIENCE_MS), 60 + i);
	/* And their memory has come back: twice as many as there is. */
	for (int i = 0; i < 128; i++)
		assert_int_equal(xsk_endpoint_write(pair->a, out, 1700, -1), -EMSGSIZE);
	assert_int_equal(xsk_endpoint_write(pair->a, out, 99, XSK_PATIENCE_MS), 0);
	assert_int_equal(xsk_endpoint_read(pair->b, in, sizeof(in), XSK_PATIENCE_MS), 99);
}

static void reading_ends_when_the_time_is_over(void **state)
{
	struct pair *pair = *state;
	uint8_t in[2048];
	struct timespec before, after;

	assert_int_equal(xsk_endpoint_read(pair->a, in, sizeof(in), 0), -EAGAIN);
	clock_gettime(CLOCK_MONOTONIC, &before);
	assert_int_equal(xsk_endpoint_read(pair->a, in, sizeof(in), 30), -ETIMEDOUT);
	clock_gettime(CLOCK_MONOTONIC, &after);
	assert_true((after.tv_sec - before.tv_sec) * 1000 + (after.tv_nsec - before.tv_nsec) / 1000000 >= 29);
	/* Longer than one slice of waiting. */
	assert_int_equal(xsk_endpoint_read(pair->a, in, sizeof(in), 700), -ETIMEDOUT);
}

/* Without a cable the device drops every frame: none counts as written, and none is sent twice later. */
static void writing_without_a_cable_waits_for_it_and_loses_nothing(void **state)
{
	struct pair *pair = *state;
	uint8_t out[60], in[2048];
	struct xsk_buffer writes[2] = {{.data = out, .size = 60}, {.data = out, .size = 60}};
	struct xsk_endpoint_statistics statistics;

	fill_frame(out, sizeof(out));
	assert_true(shell("ip link set vb down"));
	assert_int_equal(xsk_endpoint_write(pair->a, out, sizeof(out), 0), -EAGAIN);
	assert_int_equal(xsk_endpoint_write(pair->a, out, sizeof(out), 20), -ETIMEDOUT);
	assert_int_equal(xsk_endpoint_write_batch(pair->a, writes, 2, 20), -ETIMEDOUT);
	assert_true(shell("ip link set vb up"));
	out[20] = 77;
	assert_int_equal(xsk_endpoint_write(pair->a, out, sizeof(out), XSK_PATIENCE_MS), 0);
	assert_int_equal(xsk_endpoint_read(pair->b, in, sizeof(in), XSK_PATIENCE_MS), sizeof(out));
	assert_int_equal(in[20], 77);
	assert_int_equal(xsk_endpoint_read(pair->b, in, sizeof(in), 50), -ETIMEDOUT);
	assert_int_equal(xsk_endpoint_statistics(pair->a, &statistics), 0);
	assert_int_equal(statistics.tx_frames, 1);
	assert_true(statistics.tx_retries > 0);
}

/* An interface that is down: the frame that finds out goes later, once; the next one is refused. */
static void writing_to_an_interface_that_is_down_is_told_and_what_was_taken_goes_later(void **state)
{
	struct pair *pair = *state;
	uint8_t out[60], in[2048];

	fill_frame(out, sizeof(out));
	assert_true(shell("ip link set va down"));
	assert_int_equal(xsk_endpoint_write(pair->a, out, sizeof(out), -1), 0);
	out[20] = 1;
	assert_int_equal(xsk_endpoint_write(pair->a, out, sizeof(out), -1), -ENETDOWN);
	assert_int_equal(xsk_endpoint_read(pair->a, in, sizeof(in), -1), -ENETDOWN);
	assert_true(shell("ip link set va up"));
	assert_int_equal(xsk_endpoint_write(pair->a, out, sizeof(out), XSK_PATIENCE_MS), 0);
	for (int i = 0; i < 2; i++) {
		assert_int_equal(xsk_endpoint_read(pair->b, in, sizeof(in), XSK_PATIENCE_MS), sizeof(out));
		if (i)
			assert_int_equal(in[20], 1);
	}
	assert_int_equal(xsk_endpoint_read(pair->b, in, sizeof(in), 20), -ETIMEDOUT);
}

static void an_endpoint_that_cannot_be_is_told_and_leaves_nothing(void **state)
{
	struct pair *pair = *state;
	struct xsk_endpoint *other;

	(void)pair;
	assert_int_equal(xsk_endpoint_open(&(struct xsk_endpoint_config){0}, &other), -ENODEV);
	assert_int_equal(
		xsk_endpoint_open(&(struct xsk_endpoint_config){.ifname = "nosuch"}, &other), -ENODEV);
	assert_int_equal(xsk_endpoint_open(&(struct xsk_endpoint_config){.ifname = "va", .mode = 17}, &other),
		-EINVAL);
	assert_int_equal(
		xsk_endpoint_open(&(struct xsk_endpoint_config){.ifname = "va", .frames = 1}, &other),
		-EINVAL);
	/* Somebody's program is on va already, and this one is on none. */
	assert_int_equal(xsk_endpoint_open(&(struct xsk_endpoint_config){.ifname = "va"}, &other), -EBUSY);
	assert_true(shell("ip link add vc type veth peer name vd && ip link set vc up"));
	assert_int_equal(
		xsk_endpoint_open(
			&(struct xsk_endpoint_config){.ifname = "vc", .mode = XSK_MODE_ZERO_COPY}, &other),
		-EOPNOTSUPP);
	assert_true(shell("! ip link show vc | grep -q xdp"));
	assert_true(shell("ip link del vc"));
}

/* --- modes, queues, jumbo ------------------------------------------------------------------------------- */

static void generic_mode_reads_and_writes_too(void **state)
{
	struct xsk_endpoint *a, *b;
	uint8_t out[800], in[2048];

	(void)state;
	a = endpoint(&(struct xsk_endpoint_config){.ifname = "va", .mode = XSK_MODE_GENERIC});
	b = endpoint(&(struct xsk_endpoint_config){.ifname = "vb", .mode = XSK_MODE_GENERIC});
	assert_int_equal(xsk_endpoint_mode(b), XSK_MODE_GENERIC);
	fill_frame(out, sizeof(out));
	assert_int_equal(xsk_endpoint_write(a, out, sizeof(out), XSK_PATIENCE_MS), 0);
	assert_int_equal(xsk_endpoint_read(b, in, sizeof(in), XSK_PATIENCE_MS), sizeof(out));
	assert_memory_equal(in, out, sizeof(out));
	assert_int_equal(xsk_endpoint_close(a), 0);
	assert_int_equal(xsk_endpoint_close(b), 0);
	assert_int_equal(xsk_endpoint_close(NULL), 0);
}

static void jumbo_frames_pass_where_they_are_asked_for(void **state)
{
	static uint8_t out[9014], in[20000];
	struct xsk_endpoint_config config = {.ifname = "va", .multi_buffer = true, .frames = 256};
	struct xsk_endpoint *a, *b;

	(void)state;
	assert_true(shell("ip link set va mtu 9000 && ip link set vb mtu 9000"));
	a = endpoint(&config);
	config.ifname = "vb";
	b = endpoint(&config);
	assert_true(xsk_endpoint_max_frame(a) >= sizeof(out));
	fill_frame(out, sizeof(out));
	for (uint32_t i = 0; i < 100; i++) {
		uint32_t size = i % 3 ? 9014 - i : 60 + i;

		assert_int_equal(xsk_endpoint_write(a, out, size, XSK_PATIENCE_MS), 0);
		assert_int_equal(xsk_endpoint_read(b, in, sizeof(in), XSK_PATIENCE_MS), size);
		assert_memory_equal(in, out, size);
	}
	assert_int_equal(xsk_endpoint_write(a, out, 9014, XSK_PATIENCE_MS), 0);
	assert_int_equal(xsk_endpoint_read(b, in, 9013, XSK_PATIENCE_MS), -EMSGSIZE);
	assert_int_equal(xsk_endpoint_read(b, in, 9014, XSK_PATIENCE_MS), 9014);
	assert_int_equal(xsk_endpoint_close(a), 0);
	assert_int_equal(xsk_endpoint_close(b), 0);
}

static void two_endpoints_on_two_queues_take_turns_with_one_program(void **state)
{
	struct xsk_endpoint_config config = {.ifname = "va"};
	struct xsk_endpoint *zero, *one;
	uint8_t out[60], in[2048];
	struct xsk_endpoint *b;

	(void)state;
	assert_int_equal(xsk_program_load(NULL, &config.program), 0);
	assert_int_equal(xsk_program_attach(config.program, "va", XSK_ATTACH_AUTO), 0);
	zero = endpoint(&config);
	config.queue_id = 1;
	one = endpoint(&config);
	b = endpoint(&(struct xsk_endpoint_config){.ifname = "vb", .queue_id = 1});
	fill_frame(out, sizeof(out));
	/* What is sent from queue 1 of a veth arrives on queue 1 of its peer. */
	assert_int_equal(xsk_endpoint_write(b, out, sizeof(out), XSK_PATIENCE_MS), 0);
	assert_int_equal(xsk_endpoint_read(one, in, sizeof(in), XSK_PATIENCE_MS), sizeof(out));
	assert_int_equal(xsk_endpoint_read(zero, in, sizeof(in), 0), -EAGAIN);
	assert_int_equal(xsk_endpoint_close(b), 0);
	assert_int_equal(xsk_endpoint_close(zero), 0);
	assert_int_equal(xsk_endpoint_close(one), 0);
	assert_true(shell("ip link show va | grep -q xdp")); /* the program is the caller's */
	xsk_program_free(config.program);
}

/* --- several threads ------------------------------------------------------------------------------------ */

struct reader {
	struct xsk_endpoint *endpoint;
	int rc;
	int tid;
};

static void *read_for_ever(void *arg)
{
	struct reader *r = arg;
	uint8_t in[2048];

	__atomic_store_n(&r->tid, gettid(), __ATOMIC_RELEASE);
	r->rc = xsk_endpoint_read(r->endpoint, in, sizeof(in), -1);
	return NULL;
}

static void *write_for_ever(void *arg)
{
	struct reader *r = arg;
	uint8_t out[60];

	fill_frame(out, sizeof(out));
	do
		r->rc = xsk_endpoint_write(r->endpoint, out, sizeof(out), -1);
	while (!r->rc);
	return NULL;
}

static void shutdown_wakes_readers_and_writers_for_good(void **state)
{
	struct pair *pair = *state;
	struct reader users[4] = {{pair->a, 0, 0}, {pair->a, 0, 0}, {pair->a, 0, 0}, {pair->a, 0, 0}};
	pthread_t threads[4], closer;
	uint8_t in[2048];

	/* Two that wait for a frame, one of them for the other; two that cannot get rid of one. */
	assert_true(shell("ip link set vb down"));
	for (int i = 0; i < 4; i++)
		assert_int_equal(
			pthread_create(&threads[i], NULL, i < 2 ? read_for_ever : write_for_ever, &users[i]),
			0);
	assert_int_equal(pthread_create(&closer, NULL, shut_down, pair->a), 0);
	for (int i = 0; i < 4; i++) {
		assert_int_equal(pthread_join(threads[i], NULL), 0);
		assert_int_equal(users[i].rc, -ESHUTDOWN);
	}
	assert_int_equal(pthread_join(closer, NULL), 0);
	assert_int_equal(xsk_endpoint_read(pair->a, in, sizeof(in), -1), -ESHUTDOWN);
	assert_int_equal(xsk_endpoint_write(pair->a, in, 60, -1), -ESHUTDOWN);
}

/* Close itself wakes who is inside, waits until they have left, and only then frees. */
static void close_wakes_and_waits_for_who_is_inside(void **state)
{
	struct reader reader = {0};
	pthread_t thread;

	(void)state;
	reader.endpoint = endpoint(&(struct xsk_endpoint_config){.ifname = "va"});
	assert_int_equal(pthread_create(&thread, NULL, read_for_ever, &reader), 0);
	wait_for_call(&reader.tid, SYS_poll, SYS_ppoll);
	assert_int_equal(xsk_endpoint_close(reader.endpoint), 0);
	assert_int_equal(pthread_join(thread, NULL), 0);
	assert_int_equal(reader.rc, -ESHUTDOWN);
}

#define FLOOD 30000

struct flood {
	struct xsk_endpoint *endpoint;
	uint32_t failures;
};

static void *write_flood(void *arg)
{
	struct flood *f = arg;
	uint8_t out[16][64];
	struct xsk_buffer writes[16];

	for (uint32_t sent = 0; sent < FLOOD;) {
		uint32_t count = FLOOD - sent < 16 ? FLOOD - sent : 16;
		int rc;

		for (uint32_t i = 0; i < count; i++) {
			uint32_t number = sent + i;

			fill_frame(out[i], 64);
			memcpy(out[i] + 16, &number, sizeof(number));
			writes[i] = (struct xsk_buffer){.data = out[i], .size = 64};
		}
		rc = xsk_endpoint_write_batch(f->endpoint, writes, count, XSK_PATIENCE_MS);
		if (rc <= 0) {
			f->failures++;
			break;
		}
		sent += (uint32_t)rc;
	}
	return NULL;
}

/*
 * As fast as it goes, into a veth whose own ring of 256 frames overflows: what the device drops is handed
 * over again. The receiver's 2048 frames are as many as there are; what it nevertheless loses for want of
 * room, the kernel counts.
 */
static void a_flood_arrives_whole_and_in_order_but_for_what_the_receiver_had_no_room_for(void **state)
{
	struct xsk_endpoint *a, *b;
	struct xsk_endpoint_statistics sent, received;
	struct flood flood;
	pthread_t writer;
	uint32_t count = 0, next = 0;
	uint8_t in[2048];
	int rc;

	(void)state;
	a = endpoint(&(struct xsk_endpoint_config){.ifname = "va"});
	b = endpoint(&(struct xsk_endpoint_config){.ifname = "vb"});
	flood = (struct flood){.endpoint = a};
	assert_int_equal(pthread_create(&writer, NULL, write_flood, &flood), 0);
	while ((rc = xsk_endpoint_read(b, in, sizeof(in), next == FLOOD ? 50 : 2000)) > 0) {
		uint32_t number;

		assert_int_equal(rc, 64);
		memcpy(&number, in + 16, sizeof(number));
		if (number < next || number >= FLOOD)
			fail_msg("frame %u, when %u was the next that could be", number, next);
		next = number + 1;
		count++;
	}
	assert_int_equal(rc, -ETIMEDOUT);
	assert_int_equal(pthread_join(writer, NULL), 0);
	assert_int_equal(flood.failures, 0);
	assert_int_equal(xsk_endpoint_statistics(a, &sent), 0);
	assert_int_equal(xsk_endpoint_statistics(b, &received), 0);
	assert_int_equal(sent.tx_frames, FLOOD);
	assert_int_equal(received.rx_frames, count);
	assert_int_equal(received.kernel.rx_ring_full, 0);
	assert_int_equal(count + received.kernel.rx_dropped, FLOOD);
	assert_int_equal(xsk_endpoint_close(a), 0);
	assert_int_equal(xsk_endpoint_close(b), 0);
}

#define TEST(test) cmocka_unit_test_setup_teardown(test, setup, teardown)
#define VETH(test) cmocka_unit_test_setup_teardown(test, veth_setup, veth_teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(what_is_written_is_read),
		TEST(the_descriptor_is_readable_until_the_last_frame_is_read),
		TEST(a_batch_is_written_and_read_in_order),
		TEST(more_frames_than_there_is_memory_for_go_through),
		TEST(counters_and_properties_are_right),
		TEST(a_buffer_too_small_loses_no_frame),
		TEST(frames_that_cannot_be_sent_are_refused_and_the_next_one_goes),
		TEST(reading_ends_when_the_time_is_over),
		TEST(writing_without_a_cable_waits_for_it_and_loses_nothing),
		TEST(writing_to_an_interface_that_is_down_is_told_and_what_was_taken_goes_later),
		TEST(an_endpoint_that_cannot_be_is_told_and_leaves_nothing),
		VETH(generic_mode_reads_and_writes_too),
		VETH(jumbo_frames_pass_where_they_are_asked_for),
		VETH(two_endpoints_on_two_queues_take_turns_with_one_program),
		TEST(shutdown_wakes_readers_and_writers_for_good),
		VETH(close_wakes_and_waits_for_who_is_inside),
		VETH(a_flood_arrives_whole_and_in_order_but_for_what_the_receiver_had_no_room_for),
	};
	if (!own_netns()) {
		puts("AF_XDP endpoint: skipped: network namespaces need root");
		return 0;
	}
	return cmocka_run_group_tests_name("AF_XDP endpoint", tests, NULL, NULL);
}
