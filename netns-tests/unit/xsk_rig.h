/*
 * A pair of veth interfaces in the test's own namespace, and an AF_XDP socket on either end.
 *
 * A fresh pair for every test: "va" and "vb", with as many queues as asked for. A frame sent on one end
 * arrives at the other; an end with a program hands what arrives to its socket.
 */
#ifndef UNIT_XSK_RIG_H
#define UNIT_XSK_RIG_H

#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "driver/ixy.h"
#include "driver/xdp/xsk.h"
#include "own_netns.h"

#define XSK_QUEUES_MADE 2
#define XSK_PATIENCE_MS 10000

struct xsk_end {
	struct xsk_umem *umem;
	struct xsk_socket *xsk;
	struct xsk_queues *queues;
	struct xsk_program *program;
};

/* Two ends, va and vb. The UMEM of each is its own. */
struct xsk_rig {
	struct xsk_end a, b;
};

static inline bool make_veth(void)
{
	return shell("ip link add va numrxqueues %d numtxqueues %d type veth peer name vb numrxqueues %d "
		     "numtxqueues %d && ip link set va up && ip link set vb up",
		XSK_QUEUES_MADE, XSK_QUEUES_MADE, XSK_QUEUES_MADE, XSK_QUEUES_MADE);
}

static inline void delete_veth(void)
{
	shell("ip link del va");
}

static inline int veth_setup(void **state)
{
	(void)state;
	return make_veth() ? 0 : -1;
}

static inline int veth_teardown(void **state)
{
	(void)state;
	delete_veth();
	return 0;
}

/* A program on the interface for the frames of one socket. */
static inline struct xsk_program *steer(const char *ifname, struct xsk_socket *xsk, enum xsk_attach attach)
{
	struct xsk_program_config config = {.frags = xsk_socket_multi_buffer(xsk)};
	struct xsk_program *program;

	assert_int_equal(xsk_program_load(&config, &program), 0);
	assert_int_equal(xsk_program_attach(program, ifname, attach), 0);
	assert_int_equal(xsk_program_register(program, xsk_socket_queue_id(xsk), xsk_socket_fd(xsk)), 0);
	return program;
}

/* Open one end; where the socket can receive, with a program. */
static inline void end_open(
	struct xsk_end *end, const struct xsk_umem_config *umem, const struct xsk_socket_config *config)
{
	struct xsk_socket_config patient = *config;

	/* The kernel may be slow to let go of a queue that the test had before. */
	if (!patient.busy_timeout_ms)
		patient.busy_timeout_ms = XSK_PATIENCE_MS;
	memset(end, 0, sizeof(*end));
	assert_int_equal(xsk_umem_create(umem, &end->umem), 0);
	if (xsk_socket_open(end->umem, &patient, &end->xsk) < 0)
		fail_msg("%s", ixy_last_error());
	end->queues = xsk_socket_queues(end->xsk);
	if (!(config->flags & XSK_TX_ONLY))
		end->program = steer(config->ifname, end->xsk, XSK_ATTACH_AUTO);
}

static inline void end_close(struct xsk_end *end)
{
	xsk_program_free(end->program);
	xsk_socket_close(end->xsk);
	assert_int_equal(xsk_umem_free(end->umem), 0);
	memset(end, 0, sizeof(*end));
}

/* Give count frames of the allocator to the kernel to receive into. */
static inline void fill_some(struct xsk_end *end, uint32_t count)
{
	for (uint32_t i = 0; i < count; i++)
		assert_int_equal(xsk_fill_one(end->queues, xsk_frame_alloc(end->umem)), 1);
}

/* A frame of the test's EtherType, filled with bytes that depend on seed, in a UMEM frame of its own. */
static inline struct xdp_desc test_frame(struct xsk_end *end, uint32_t size, uint8_t seed)
{
	struct xdp_desc desc = xsk_frame_desc(end->umem, xsk_frame_alloc(end->umem));
	uint8_t *data = xsk_data(end->umem, &desc);

	fill_frame(data, size);
	for (uint32_t i = 14; i < size; i++)
		data[i] = (uint8_t)(data[i] + seed);
	desc.len = size;
	return desc;
}

/*
 * Send count descriptors at once, and wait until all have completed. Their addresses go to addrs, if not
 * NULL.
 */
static inline void send_and_complete(
	struct xsk_end *end, const struct xdp_desc descs[], uint32_t count, uint64_t addrs[])
{
	uint64_t scratch[256];
	uint32_t done = 0;

	assert_in_range(count, 1, 256);
	assert_int_equal(xsk_transmit(end->xsk, descs, count), count);
	for (int tries = 0; done < count; tries++) {
		int rc = xsk_flush_tx(end->xsk, NULL);

		if (rc != 0 && rc != -EAGAIN)
			fail_msg("flush: %s", strerror(-rc));
		done += xsk_complete(end->queues, (addrs ? addrs : scratch) + done, count - done);
		if (tries > 5000)
			fail_msg("%u of %u frames completed", done, count);
		if (done < count)
			nanosleep(&(struct timespec){.tv_nsec = 1000000}, NULL);
	}
}

/* Receive exactly count descriptors. */
static inline void receive_all(struct xsk_end *end, struct xdp_desc descs[], uint32_t count)
{
	for (uint32_t got = 0; got < count;) {
		int rc = xsk_receive_wait(end->xsk, descs + got, count - got, XSK_PATIENCE_MS);

		if (rc <= 0)
			fail_msg("%u of %u descriptors received: %d", got, count, rc);
		got += (uint32_t)rc;
	}
}

/* Wait until a thread of ours, which has stored its id there, sleeps in one of two system calls. */
static inline void wait_for_call(const int *tid, long one, long other)
{
	for (int i = 0; i < XSK_PATIENCE_MS; i++) {
		int id = __atomic_load_n(tid, __ATOMIC_ACQUIRE);
		char path[64];
		long number = -1;
		FILE *file;

		snprintf(path, sizeof(path), "/proc/self/task/%d/syscall", id);
		file = id ? fopen(path, "re") : NULL;
		if (file) {
			if (fscanf(file, "%ld", &number) != 1)
				number = -1; /* it is running */
			fclose(file);
		}
		if (number == one || number == other)
			return;
		nanosleep(&(struct timespec){.tv_nsec = 1000000}, NULL);
	}
	fail_msg("the thread does not wait");
}

#endif
