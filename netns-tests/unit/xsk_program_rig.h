/*
 * The rig of the tests of XDP programs: a veth pair in a namespace of the test's own, and AF_XDP sockets at both
 * its ends.
 *
 *	x0 ====== veth, two queues each way ====== x1
 *	program, sockets                           senders: AF_XDP sockets, one a queue
 *
 * What an AF_XDP socket sends on queue q of x1 arrives on queue q of x0: veth keeps the number.
 */
#ifndef UNIT_XSK_PROGRAM_RIG_H
#define UNIT_XSK_PROGRAM_RIG_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <errno.h>
#include <linux/if_link.h>

#include "driver/error.h"
#include "driver/xdp/program.h"
#include "driver/xdp/xsk.h"
#include "own_netns.h"

#define QUEUES  2
#define FRAMES  64
#define SECONDS 10 /* a machine that does other things as well */

#define PROGRAM_TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

/* One side of a socket: its own UMEM, half of its frames in the fill ring. */
struct end {
	struct xsk_umem *umem;
	struct xsk_socket *socket;
};

static inline int setup(void **state)
{
	(void)state;
	assert_true(shell("ip link add x0 numrxqueues 2 numtxqueues 2 type veth "
			  "peer name x1 numrxqueues 2 numtxqueues 2"));
	assert_true(shell("ip link set x0 up && ip link set x1 up"));
	return 0;
}

static inline int teardown(void **state)
{
	(void)state;
	return shell("ip link del x0") ? 0 : -1;
}

static inline void ok(int result)
{
	if (result < 0)
		fail_msg("%s (%d)", ixy_last_error(), result);
}

/* The last error says this. */
static inline void says(const char *what)
{
	if (!strstr(ixy_last_error(), what))
		fail_msg("\"%s\" does not say \"%s\"", ixy_last_error(), what);
}

static inline struct end open_end(const char *ifname, uint32_t queue)
{
	struct end end;
	uint64_t frames[FRAMES / 2];

	ok(xsk_umem_create(&(struct xsk_umem_config){.frames = FRAMES}, &end.umem));
	ok(xsk_socket_open(
		end.umem, &(struct xsk_socket_config){.ifname = ifname, .queue_id = queue}, &end.socket));
	assert_int_equal(xsk_frame_alloc_batch(end.umem, frames, FRAMES / 2), FRAMES / 2);
	assert_int_equal(xsk_fill(xsk_socket_queues(end.socket), frames, FRAMES / 2), FRAMES / 2);
	return end;
}

static inline void close_end(struct end *end)
{
	xsk_socket_close(end->socket);
	ok(xsk_umem_free(end->umem));
}

/* Send one frame of TEST_ETHERTYPE from x1's queue. */
static inline void send_from(struct end *end)
{
	struct xdp_desc desc = xsk_frame_desc(end->umem, xsk_frame_alloc(end->umem));

	desc.len = 60;
	fill_frame(xsk_data(end->umem, &desc), desc.len);
	assert_int_equal(xsk_transmit_and_wake(end->socket, &desc, 1), 1);
}

/* Does the socket get a frame of ours? Waits for it. */
static inline bool arrives(struct end *end)
{
	struct xdp_desc desc;

	while (xsk_receive_wait(end->socket, &desc, 1, SECONDS * 1000) == 1) {
		const uint8_t *data = xsk_data(end->umem, &desc);

		if (desc.len >= 14 && data[12] == TEST_ETHERTYPE >> 8 && data[13] == (TEST_ETHERTYPE & 0xff))
			return true;
	}
	return false;
}

/* And here? Only for frames that have been sent before one that has arrived elsewhere. */
static inline bool has_arrived(struct end *end)
{
	struct xdp_desc desc;

	return xsk_receive_one(end->socket, &desc) == 1;
}

/* Is there a program on the interface, by the kernel's word? Its number, or 0. */
static inline uint32_t program_on(const char *ifname)
{
	LIBBPF_OPTS(bpf_xdp_query_opts, query);

	assert_int_equal(bpf_xdp_query((int)if_nametoindex(ifname), 0, &query), 0);
	return query.prog_id ? query.prog_id : query.drv_prog_id ? query.drv_prog_id : query.skb_prog_id;
}

static inline struct xsk_program *loaded(const struct xsk_program_config *config)
{
	struct xsk_program *program;

	ok(xsk_program_load(config, &program));
	return program;
}

#endif
