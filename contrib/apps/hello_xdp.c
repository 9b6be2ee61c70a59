/*
 * The first AF_XDP program: frames with a greeting go from one interface to another, past both their stacks.
 *
 *	ip link add x0 type veth peer name x1 && ip link set x0 up && ip link set x1 up
 *	hello_xdp x0 x1
 *
 * Both sides are set up in full, step by step. What the frame's way is:
 *
 *	allocator -> TX ring -> (kernel, wire) -> completion ring -> allocator		at the sender
 *	allocator -> fill ring -> (kernel, wire) -> RX ring -> allocator		at the receiver
 */
#include <arpa/inet.h>
#include <net/ethernet.h>
#include <stdio.h>
#include <string.h>

#include "contrib/apps/app.h"
#include "driver/xdp/xsk.h"

#define EXPERIMENTAL 0x88b5 /* EtherType for experiments (IEEE 802), so that no stack takes it for its own */
#define FRAMES       64
#define PATIENCE     UINT64_C(5000000000) /* ns */

static uint64_t count = 3;
static uint64_t queue;

static const struct app_option options[] = {
	{'n', "count", "N", "greetings to send", APP_NUMBER, &count, 1, 0, NULL},
	{'q', "queue", "N", "queue of both interfaces", APP_NUMBER, &queue, 0, 1023, NULL},
	APP_COMMON_OPTIONS,
};

static const struct app app = {
	.about = "Send frames with a greeting from one interface, receive them at the other, which a cable "
		 "connects.",
	.arguments = "FROM TO",
	.least = 2,
	.most = 2,
	.example = "x0 x1",
	.options = options,
};

/* Packet memory, and a socket on a queue of an interface. */
static struct xsk_socket *open_socket(const char *ifname)
{
	struct xsk_socket_config config = {.ifname = ifname, .queue_id = (uint32_t)queue};
	struct xsk_socket *socket;
	struct xsk_umem *umem;

	app_check(xsk_umem_create(&(struct xsk_umem_config){.frames = FRAMES}, &umem));
	app_check(xsk_socket_open(umem, &config, &socket));
	return socket;
}

static void close_socket(struct xsk_socket *socket)
{
	struct xsk_umem *umem = xsk_socket_umem(socket);

	xsk_socket_close(socket);
	app_check(xsk_umem_free(umem));
}

/* Let a socket receive: frames in its fill ring, and a program on its interface that hands them over. */
static struct xsk_program *receive_on(struct xsk_socket *socket, const char *ifname)
{
	struct xsk_program *program;
	uint64_t frames[FRAMES];
	uint32_t n = xsk_frame_alloc_batch(xsk_socket_umem(socket), frames, FRAMES);

	app_check(xsk_fill(xsk_socket_queues(socket), frames, n));
	app_check(xsk_program_load(NULL, &program));
	app_check(xsk_program_register(program, (uint32_t)queue, xsk_socket_fd(socket)));
	app_check(xsk_program_attach(program, ifname, XSK_ATTACH_AUTO));
	printf("%s: %s program, %s\n", ifname, xsk_attach_name(xsk_program_mode(program)),
		xsk_socket_zero_copy(socket) ? "zero copy" : "copy");
	return program;
}

static void send_greeting(struct xsk_socket *socket, const char *ifname, uint64_t number)
{
	const struct ether_header header = {.ether_dhost = {0xff, 0xff, 0xff, 0xff, 0xff, 0xff},
		.ether_shost = {2, 0, 0, 0, 0, 1},
		.ether_type = htons(EXPERIMENTAL)};
	struct xsk_umem *umem = xsk_socket_umem(socket);
	uint64_t frame = xsk_frame_alloc(umem);
	struct xdp_desc desc = xsk_frame_desc(umem, frame);
	struct xsk_cursor data = xsk_data_cursor(umem, &desc);
	char text[ETH_ZLEN - ETH_HLEN] = "";

	snprintf(text, sizeof(text), "hello from %s, number %llu", ifname, (unsigned long long)number);
	xsk_cursor_write(&data, &header, sizeof(header));
	xsk_cursor_write(&data, text, sizeof(text));
	desc.len = data.length;
	app_check(xsk_transmit_and_wake(socket, &desc, 1));

	/* In copy mode the kernel has sent it by now; otherwise a later round finds it. */
	while (xsk_complete_one(xsk_socket_queues(socket), &frame))
		xsk_frame_free(umem, frame);
}

/* Wait for one, print it, and give its frame back to the fill ring. False when nothing comes. */
static bool receive_greeting(struct xsk_socket *socket, const char *ifname)
{
	uint64_t deadline = app_now() + PATIENCE;
	struct xdp_desc desc;
	bool ours = false;

	while (!ours && app_now() < deadline && app_running()) {
		const uint8_t *data;
		struct ether_header header;

		/* -EINTR: the application's timer. */
		if (xsk_receive_wait(socket, &desc, 1, 1000) <= 0)
			continue;
		data = xsk_data(xsk_socket_umem(socket), &desc);
		if (desc.len > sizeof(header)) {
			memcpy(&header, data, sizeof(header));
			ours = header.ether_type == htons(EXPERIMENTAL);
		}
		if (ours)
			printf("%s: %u bytes: %.*s\n", ifname, desc.len, (int)(desc.len - sizeof(header)),
				data + sizeof(header));
		xsk_fill_descs(xsk_socket_queues(socket), &desc, 1);
	}
	return ours;
}

int main(int argc, char **argv)
{
	char **ifnames = app_begin(&app, argc, argv);
	struct xsk_socket *from = open_socket(ifnames[0]), *to = open_socket(ifnames[1]);
	struct xsk_program *program = receive_on(to, ifnames[1]);
	int status = 0;

	for (uint64_t number = 1; number <= count && !status && app_running(); number++) {
		send_greeting(from, ifnames[0], number);
		if (!receive_greeting(to, ifnames[1]) && app_running()) {
			fprintf(stderr,
				"hello_xdp: nothing arrives at %s: are both interfaces up, with a cable "
				"between them?\n",
				ifnames[1]);
			status = 1;
		}
	}
	xsk_program_free(program);
	close_socket(to);
	close_socket(from);
	return status;
}
