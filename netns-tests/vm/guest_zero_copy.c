/*
 * The AF_XDP library in zero copy: where it differs from copying. This program runs in the guest, on the interface
 * of the stock ixgbe driver; the cable's other end sends each frame back with its addresses swapped.
 *
 *	guest_zero_copy IFNAME
 *
 * The interface has two queue pairs. Frames that are not IP arrive on queue 0. One program steers all tests: putting
 * it on the interface makes the driver begin anew.
 */
#include <errno.h>
#include <net/if.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "driver/clock.h"
#include "driver/ixy.h"
#include "driver/xdp/endpoint.h"

#define SECONDS    20 /* a bound only, for an emulated processor */
#define ETHER_TYPE 0x88B5
#define HEADROOM   128
#define FRAME_SIZE 4096 /* of 2048 the 82599, which counts in KiB, would use 1024 (8.2.3.8.7) */
#define MANY       256

struct lane {
	struct xsk_umem *umem;
	struct xsk_socket *xsk;
	struct xsk_queues *queues;
};

static const char *ifname;
static uint8_t header[14] = {2, 0, 0, 0, 0, 1, [12] = ETHER_TYPE >> 8, ETHER_TYPE & 0xff};
static struct xsk_program *program;

/* --- time and the interface ----------------------------------------------------------------------------- */

static void nap(void)
{
	sleep_us(1000);
}

#define await(condition)                                                          \
	do {                                                                      \
		int64_t deadline_ = clock_ms() + SECONDS * 1000;                  \
		while (!(condition)) {                                            \
			if (clock_ms() > deadline_)                               \
				fail_msg("not in %d s: %s", SECONDS, #condition); \
			nap();                                                    \
		}                                                                 \
	} while (0)

static bool has_carrier(void)
{
	char path[64], digit = '0';
	FILE *file;

	snprintf(path, sizeof(path), "/sys/class/net/%s/carrier", ifname);
	file = fopen(path, "re");
	if (!file)
		return false;
	if (fread(&digit, 1, 1, file) != 1) /* EINVAL while it is down */
		digit = '0';
	fclose(file);
	return digit == '1';
}

static void set_link(const char *state)
{
	char line[64];

	snprintf(line, sizeof(line), "ip link set %s %s", ifname, state);
	assert_int_equal(system(line), 0);
}

/* --- a socket and its frames ---------------------------------------------------------------------------- */

static void lane_open(struct lane *lane, const struct xsk_socket_config *config)
{
	struct xsk_socket_config zero_copy = *config;

	zero_copy.ifname = ifname;
	zero_copy.mode = XSK_MODE_ZERO_COPY;
	zero_copy.busy_timeout_ms = SECONDS * 1000;
	memset(lane, 0, sizeof(*lane));
	assert_int_equal(xsk_umem_create(
				 &(struct xsk_umem_config){
					 .frame_size = FRAME_SIZE, .headroom = HEADROOM, .frames = 4 * MANY},
				 &lane->umem),
		0);
	if (xsk_socket_open(lane->umem, &zero_copy, &lane->xsk) < 0)
		fail_msg("%s", ixy_last_error());
	lane->queues = xsk_socket_queues(lane->xsk);
	assert_int_equal(xsk_program_register(program, config->queue_id, xsk_socket_fd(lane->xsk)), 0);
	await(has_carrier());
}

static void lane_close(struct lane *lane)
{
	xsk_socket_close(lane->xsk);
	assert_int_equal(xsk_umem_free(lane->umem), 0);
}

static void fill(struct lane *lane, uint32_t count)
{
	uint64_t addrs[2 * MANY];

	assert_in_range(count, 1, 2 * MANY);
	assert_int_equal(xsk_frame_alloc_batch(lane->umem, addrs, count), count);
	assert_int_equal(xsk_fill_and_wake(lane->xsk, addrs, count), count);
}

/* A received frame's chunk goes into the fill ring again. */
static void give_back(struct lane *lane, const struct xdp_desc *desc)
{
	uint64_t addr = desc->addr;

	assert_int_equal(xsk_fill_and_wake(lane->xsk, &addr, 1), 1);
}

/* Frame `number`, to an address that nobody has, so that the cable's other end alone cares for it. */
static struct xdp_desc make_frame(struct lane *lane, uint32_t number, uint32_t size)
{
	struct xdp_desc desc = xsk_frame_desc(lane->umem, xsk_frame_alloc(lane->umem));
	uint8_t *data = xsk_data(lane->umem, &desc);

	memcpy(data, header, sizeof(header));
	memcpy(data + sizeof(header), &number, sizeof(number));
	for (uint32_t i = sizeof(header) + sizeof(number); i < size; i++)
		data[i] = (uint8_t)(i + number);
	desc.len = size;
	return desc;
}

/* Put frames first .. first + count - 1 on the wire, as many bytes each; their addresses go to addrs. */
static void send_frames(struct lane *lane, uint32_t first, uint32_t count, uint32_t size, uint64_t addrs[])
{
	for (uint32_t i = 0; i < count; i++) {
		struct xdp_desc desc = make_frame(lane, first + i, size);

		addrs[i] = desc.addr;
		assert_int_equal(xsk_transmit_one(lane->xsk, &desc), 1);
	}
	assert_int_equal(xsk_flush_tx(lane->xsk, NULL), 0);
}

/* So many come back from the completion ring, and go to the allocator. */
static void await_completions(struct lane *lane, uint64_t addrs[], uint32_t count)
{
	uint32_t done = 0;

	await((done += xsk_complete(lane->queues, addrs + done, count - done)) == count);
	xsk_frame_free_batch(lane->umem, addrs, count);
}

/* The next frame of ours, and its number. The kernel's own frames of the other end are passed over. */
static struct xdp_desc receive_frame(struct lane *lane, uint32_t *number)
{
	int64_t deadline = clock_ms() + SECONDS * 1000;
	struct xdp_desc desc;

	for (;;) {
		int rc = xsk_receive_wait(lane->xsk, &desc, 1, SECONDS * 1000);
		const uint8_t *data;

		if (rc != 1 || clock_ms() > deadline)
			fail_msg("no frame in %d s: %d", SECONDS, rc);
		data = xsk_data(lane->umem, &desc);
		if (desc.len >= 18 && (data[12] << 8 | data[13]) == ETHER_TYPE) {
			memcpy(number, data + 14, sizeof(*number));
			return desc;
		}
		give_back(lane, &desc);
	}
}

static void assert_content(struct lane *lane, const struct xdp_desc *desc, uint32_t number, uint32_t size)
{
	const uint8_t *data = xsk_data(lane->umem, desc);

	assert_int_equal(desc->len, size);
	for (uint32_t i = 18; i < size; i++)
		if (data[i] != (uint8_t)(i + number))
			fail_msg("frame %u: byte %u is %u", number, i, data[i]);
}

/* --- tests ---------------------------------------------------------------------------------------------- */

static void zero_copy_is_what_one_gets_and_what_the_socket_says(void **state)
{
	struct lane lane;
	struct xsk_socket *long_frames;

	(void)state;
	lane_open(&lane, &(struct xsk_socket_config){0});
	assert_true(xsk_socket_zero_copy(lane.xsk));
	assert_int_equal(xsk_socket_fallback_reason(lane.xsk), 0);
	assert_false(xsk_socket_multi_buffer(lane.xsk));
	/* All sockets of the UMEM are alike, and this driver has no frames of several chunks. */
	assert_int_equal(
		xsk_socket_open(lane.umem,
			&(struct xsk_socket_config){.ifname = ifname, .mode = XSK_MODE_NATIVE}, &long_frames),
		-EOPNOTSUPP);
	assert_int_equal(xsk_socket_open(lane.umem,
				 &(struct xsk_socket_config){.ifname = ifname, .flags = XSK_MULTI_BUFFER},
				 &long_frames),
		-EOPNOTSUPP);
	lane_close(&lane);
}

static void received_frames_begin_behind_both_headrooms(void **state)
{
	static const uint32_t sizes[] = {60, 61, 1000, 1024, 1025, 1514};
	struct lane lane;

	(void)state;
	lane_open(&lane, &(struct xsk_socket_config){0});
	fill(&lane, MANY);
	for (uint32_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
		struct xdp_desc desc;
		uint64_t addr;
		uint32_t number;

		send_frames(&lane, i, 1, sizes[i], &addr);
		desc = receive_frame(&lane, &number);
		assert_int_equal(number, i);
		assert_content(&lane, &desc, i, sizes[i]);
		assert_int_equal(
			desc.addr - xsk_addr_frame(lane.umem, desc.addr), XSK_KERNEL_HEADROOM + HEADROOM);
		assert_int_equal(desc.options, 0);
		assert_int_equal(xsk_headroom(lane.umem, &desc).size, XSK_KERNEL_HEADROOM + HEADROOM);
		assert_int_equal(xsk_user_headroom(lane.umem, &desc).size, HEADROOM);
		await_completions(&lane, &addr, 1);
	}
	lane_close(&lane);
}

static void frames_complete_in_order_once_the_driver_is_woken_up(void **state)
{
	uint64_t sent[64], back[64];
	struct lane lane;

	(void)state;
	lane_open(&lane, &(struct xsk_socket_config){0});
	assert_true(xsk_tx_needs_wakeup(lane.xsk));
	for (uint32_t round = 0; round < 20; round++) {
		send_frames(&lane, 0, 64, 60, sent);
		await_completions(&lane, back, 64);
		assert_memory_equal(sent, back, sizeof(sent));
		assert_int_equal(xsk_num_transmitted(lane.queues), 0);
		assert_int_equal(xsk_num_free_tx_slots(lane.xsk), XSK_DEFAULT_RING_SIZE);
	}
	lane_close(&lane);
}

/* What the driver does not find in the fill ring is no frame lost: it counts how often it looked. */
static void a_driver_without_chunks_asks_to_be_woken_up(void **state)
{
	struct xdp_statistics statistics;
	struct xdp_desc descs[1];
	uint64_t addrs[8];
	struct lane lane;
	uint32_t number;

	(void)state;
	lane_open(&lane, &(struct xsk_socket_config){0});
	await(xsk_fill_needs_wakeup(lane.queues));
	assert_int_equal(xsk_socket_statistics(lane.xsk, &statistics), 0);
	assert_true(statistics.rx_fill_ring_empty_descs > 0);
	assert_int_equal(statistics.rx_dropped, 0);
	assert_int_equal(statistics.rx_ring_full, 0);
	send_frames(&lane, 0, 8, 60, addrs);
	await_completions(&lane, addrs, 8);
	assert_int_equal(xsk_receive(lane.xsk, descs, 1), 0);

	/* More than the driver's ring of 512 takes: with room left there it would go on asking. */
	fill(&lane, 2 * MANY);
	await(!xsk_fill_needs_wakeup(lane.queues));
	send_frames(&lane, 100, 8, 60, addrs);
	await_completions(&lane, addrs, 8);
	do /* those of before that were late may be among them */
		receive_frame(&lane, &number);
	while (number < 100);
	for (uint32_t i = 101; i < 108; i++) {
		receive_frame(&lane, &number);
		assert_int_equal(number, i);
	}
	lane_close(&lane);
}

/*
 * With room for 64 the driver stops at the 65th, keeps it, and asks for a wake-up: what rx_ring_full counts is how
 * often that was, not frames lost.
 */
static void a_full_receive_ring_holds_frames_up_and_loses_none(void **state)
{
	struct xdp_statistics statistics;
	uint64_t addrs[128];
	struct lane lane;
	uint32_t number;

	(void)state;
	lane_open(&lane, &(struct xsk_socket_config){.rx_size = 64});
	fill(&lane, MANY);
	send_frames(&lane, 0, 128, 60, addrs);
	await_completions(&lane, addrs, 128);
	await(xsk_num_received(lane.xsk) == 64);
	await(xsk_socket_statistics(lane.xsk, &statistics) == 0 && statistics.rx_ring_full > 0);
	assert_int_equal(statistics.rx_dropped, 0);
	assert_true(xsk_fill_needs_wakeup(lane.queues));
	for (uint32_t i = 0; i < 128; i++) {
		struct xdp_desc desc = receive_frame(&lane, &number);

		assert_int_equal(number, i);
		give_back(&lane, &desc);
	}
	lane_close(&lane);
}

/* Each chunk is in one place at any time, and each frame comes once. */
static void no_frame_is_lost_or_seen_twice_under_load(void **state)
{
	enum { MINE, KERNEL };
	uint8_t place[4 * MANY] = {MINE};
	uint32_t expected = 0, next = 0;
	int64_t deadline = clock_ms() + 3 * SECONDS * 1000;
	struct xdp_statistics statistics;
	struct lane lane;
	uint64_t addrs[2 * MANY];

	(void)state;
	lane_open(&lane, &(struct xsk_socket_config){0});
	assert_int_equal(xsk_frame_alloc_batch(lane.umem, addrs, 2 * MANY), 2 * MANY);
	for (uint32_t i = 0; i < 2 * MANY; i++)
		place[xsk_addr_index(lane.umem, addrs[i])] = KERNEL;
	assert_int_equal(xsk_fill_and_wake(lane.xsk, addrs, 2 * MANY), 2 * MANY);

	while (expected < 4000) {
		struct xdp_desc descs[64];
		uint32_t count = xsk_complete(lane.queues, addrs, MANY);

		for (uint32_t i = 0; i < count; i++) {
			assert_int_equal(place[xsk_addr_index(lane.umem, addrs[i])]--, KERNEL);
			xsk_frame_free(lane.umem, addrs[i]);
		}
		for (; next < 4000 && next - expected < MANY; next++) {
			struct xdp_desc desc = make_frame(&lane, next, 60);

			assert_int_equal(place[xsk_addr_index(lane.umem, desc.addr)]++, MINE);
			assert_int_equal(xsk_transmit_one(lane.xsk, &desc), 1);
		}
		assert_int_equal(xsk_flush_tx(lane.xsk, NULL), 0);
		count = (uint32_t)xsk_receive_wait(lane.xsk, descs, 64, 100);
		assert_in_range(count, 0, 64);
		for (uint32_t i = 0; i < count; i++) {
			const uint8_t *data = xsk_data(lane.umem, &descs[i]);
			uint32_t number;

			assert_int_equal(place[xsk_addr_index(lane.umem, descs[i].addr)], KERNEL);
			memcpy(&number, data + 14, sizeof(number));
			if ((data[12] << 8 | data[13]) == ETHER_TYPE)
				assert_int_equal(number, expected++);
			give_back(&lane, &descs[i]);
		}
		if (clock_ms() > deadline)
			fail_msg("frame %u does not come", expected);
	}
	assert_int_equal(xsk_socket_statistics(lane.xsk, &statistics), 0);
	assert_int_equal(
		statistics.rx_dropped + statistics.rx_invalid_descs + statistics.tx_invalid_descs, 0);
	assert_int_equal(xsk_socket_bad_entries(lane.xsk), 0);
	lane_close(&lane);
}

static void an_interface_that_was_down_goes_on_where_it_was(void **state)
{
	struct lane lane;
	struct xdp_desc desc;
	uint64_t addr;
	uint32_t number;
	int rc;

	(void)state;
	lane_open(&lane, &(struct xsk_socket_config){0});
	fill(&lane, MANY);
	for (uint32_t i = 0; i < 3; i++) {
		set_link("down");
		/* Frames that came before, an echo of the last test's say, are still there. */
		while ((rc = xsk_receive_wait(lane.xsk, &desc, 1, SECONDS * 1000)) == 1)
			give_back(&lane, &desc);
		assert_int_equal(rc, -ENETDOWN);
		desc = make_frame(&lane, i, 60);
		assert_int_equal(xsk_transmit_one(lane.xsk, &desc), 1);
		assert_int_equal(xsk_wake_tx(lane.xsk), -ENETDOWN);
		assert_int_equal(xsk_num_transmitted(lane.queues), 1);
		set_link("up");
		await(has_carrier());
		assert_int_equal(xsk_flush_tx(lane.xsk, NULL), 0);
		await_completions(&lane, &addr, 1);
		assert_int_equal(addr, desc.addr);
		desc = receive_frame(&lane, &number);
		assert_int_equal(number, i);
		give_back(&lane, &desc);
	}
	lane_close(&lane);
}

static void a_queue_just_closed_can_be_had_again(void **state)
{
	uint64_t addrs[8];
	struct lane lane;
	uint32_t number;

	(void)state;
	for (uint32_t i = 0; i < 8; i++) {
		lane_open(&lane, &(struct xsk_socket_config){0});
		fill(&lane, MANY);
		send_frames(&lane, 100 * i, 8, 60, addrs);
		do /* an echo of the socket before may be among them */
			receive_frame(&lane, &number);
		while (number < 100 * i);
		lane_close(&lane); /* with frames in all rings */
	}
}

static void queues_share_a_umem(void **state)
{
	struct lane lane;
	struct xsk_socket *second;
	struct xsk_queues *rings;
	struct xdp_desc desc;
	uint32_t number;
	uint64_t addr;

	(void)state;
	lane_open(&lane, &(struct xsk_socket_config){0});
	if (xsk_socket_open(lane.umem,
		    &(struct xsk_socket_config){
			    .ifname = ifname, .queue_id = 1, .busy_timeout_ms = SECONDS * 1000},
		    &second) < 0)
		fail_msg("%s", ixy_last_error());
	assert_true(xsk_socket_zero_copy(second));
	rings = xsk_socket_queues(second);
	assert_ptr_not_equal(rings, lane.queues);
	fill(&lane, MANY);

	/* Sent on one queue, received on the other, and it completes where it was sent. */
	desc = make_frame(&lane, 7, 60);
	assert_int_equal(xsk_transmit_and_wake(second, &desc, 1), 1);
	await(xsk_complete_one(rings, &addr));
	assert_int_equal(addr, desc.addr);
	assert_int_equal(xsk_num_completed(lane.queues), 0);
	receive_frame(&lane, &number);
	assert_int_equal(number, 7);
	xsk_socket_close(second);
	send_frames(&lane, 8, 1, 60, &addr);
	receive_frame(&lane, &number);
	assert_int_equal(number, 8);
	lane_close(&lane);
}

static void an_endpoint_reads_back_what_it_wrote(void **state)
{
	const struct xsk_endpoint_config config = {
		.ifname = ifname, .mode = XSK_MODE_ZERO_COPY, .frame_size = FRAME_SIZE, .program = program};
	struct xsk_endpoint_statistics statistics;
	struct xsk_endpoint *endpoint;
	uint8_t frame[1514];

	(void)state;
	if (xsk_endpoint_open(&config, &endpoint) < 0)
		fail_msg("%s", ixy_last_error());
	assert_int_equal(xsk_endpoint_mode(endpoint), XSK_MODE_ZERO_COPY);
	memcpy(frame, header, sizeof(header));
	await(has_carrier());
	for (unsigned i = 0; i < 200; i++) {
		uint8_t back[FRAME_SIZE];
		int size;

		memset(frame + 14, (int)i, sizeof(frame) - 14);
		assert_int_equal(xsk_endpoint_write(endpoint, frame, sizeof(frame), SECONDS * 1000), 0);
		do
			size = xsk_endpoint_read(endpoint, back, sizeof(back), SECONDS * 1000);
		while (size > 0 && memcmp(back + 12, frame + 12, 2) != 0);
		assert_int_equal(size, sizeof(frame));
		assert_memory_equal(back, frame + 6, 6);
		assert_memory_equal(back + 12, frame + 12, sizeof(frame) - 12);
	}
	assert_int_equal(xsk_endpoint_statistics(endpoint, &statistics), 0);
	assert_int_equal(statistics.tx_frames, 200);
	assert_in_range(statistics.rx_frames, 200, 220);
	assert_int_equal(statistics.tx_retries, 0);
	assert_int_equal(xsk_endpoint_close(endpoint), 0);
}

/* --- the program ---------------------------------------------------------------------------------------- */

/* The interface's own address goes to header[6]: the NIC takes nothing else. */
static bool read_mac(void)
{
	char path[64];
	FILE *file;
	int read;

	snprintf(path, sizeof(path), "/sys/class/net/%s/address", ifname);
	file = fopen(path, "re");
	if (!file)
		return false;
	read = fscanf(file, "%2hhx:%2hhx:%2hhx:%2hhx:%2hhx:%2hhx", &header[6], &header[7], &header[8],
		&header[9], &header[10], &header[11]);
	fclose(file);
	return read == 6;
}

static int attach(void **state)
{
	(void)state;
	if (!read_mac())
		return -1;
	if (xsk_program_load(NULL, &program) < 0 ||
		xsk_program_attach(program, ifname, XSK_ATTACH_NATIVE) < 0) {
		print_error("%s\n", ixy_last_error());
		return -1;
	}
	return 0;
}

static int detach(void **state)
{
	(void)state;
	xsk_program_free(program);
	return 0;
}

int main(int argc, char *argv[])
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(zero_copy_is_what_one_gets_and_what_the_socket_says),
		cmocka_unit_test(received_frames_begin_behind_both_headrooms),
		cmocka_unit_test(frames_complete_in_order_once_the_driver_is_woken_up),
		cmocka_unit_test(a_driver_without_chunks_asks_to_be_woken_up),
		cmocka_unit_test(a_full_receive_ring_holds_frames_up_and_loses_none),
		cmocka_unit_test(no_frame_is_lost_or_seen_twice_under_load),
		cmocka_unit_test(an_interface_that_was_down_goes_on_where_it_was),
		cmocka_unit_test(a_queue_just_closed_can_be_had_again),
		cmocka_unit_test(queues_share_a_umem),
		cmocka_unit_test(an_endpoint_reads_back_what_it_wrote),
	};

	if (argc != 2) {
		fputs("usage: guest_zero_copy IFNAME\n", stderr);
		return 2;
	}
	ifname = argv[1];
	return cmocka_run_group_tests_name("AF_XDP in zero copy", tests, attach, detach);
}
