/*
 * How fast AF_XDP is on an interface, one direction at a time: rxdrop takes frames and gives them back, txonly sends
 * the same frames again and again. For both together see l2fwd.
 *
 * The loops do what a program has to do with the rings and nothing else; no byte of a received frame is looked at.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <net/ethernet.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "contrib/apps/app.h"
#include "driver/ixy.h"
#include "driver/xdp/xsk.h"

#define RING      4096 /* and as many frames: some milliseconds in which others have our CPU */
#define MAX_BATCH 256

static uint64_t batch = 64, size = 60, queue, busy_poll;
static unsigned mode;
static bool spin;

static const struct app_option options[] = {
	{'b', "batch", "N", "frames a call", APP_NUMBER, &batch, 1, MAX_BATCH, NULL},
	{'l', "size", "BYTES", "a frame to send, without CRC", APP_SIZE, &size, ETH_HLEN, 1514, NULL},
	{'q', "queue", "N", "queue of the interface", APP_NUMBER, &queue, 0, 1023, NULL},
	{'m', "mode", "auto|zero-copy|native|generic", "how frames get to us", APP_CHOICE, &mode, 0, 0, NULL},
	{'s', "spin", NULL, "never sleep", APP_FLAG, &spin, 0, 0, NULL},
	{'p', "busy-poll", "TIME", "our system calls drive the NIC, as in 20us", APP_DURATION, &busy_poll, 0,
		0, NULL},
	APP_COMMON_OPTIONS,
};

static const struct app app = {
	.about = "Measure AF_XDP: receive and drop (rxdrop), or send (txonly; to the broadcast address).",
	.arguments = "rxdrop|txonly IFNAME",
	.least = 2,
	.most = 2,
	.example = "--spin --time 10s rxdrop eth1",
	.options = options,
};

static struct app_rate measured, *rates[] = {&measured, NULL};

static struct xsk_socket *open_socket(struct xsk_umem *umem, const char *ifname, uint32_t flags)
{
	struct xsk_socket_config config = {
		.ifname = ifname,
		.queue_id = (uint32_t)queue,
		.rx_size = RING,
		.tx_size = RING,
		.mode = (enum xsk_mode)mode,
		.flags = flags,
		.busy_poll_us = (uint32_t)(busy_poll / 1000),
		.busy_poll_budget = (uint32_t)batch,
		.tx_budget = RING,
	};
	struct xsk_socket *socket;

	app_check(xsk_socket_open(umem, &config, &socket));
	return socket;
}

static void rxdrop(struct xsk_umem *umem, const char *ifname)
{
	static const enum xsk_attach attach[] = {
		XSK_ATTACH_AUTO, XSK_ATTACH_NATIVE, XSK_ATTACH_NATIVE, XSK_ATTACH_GENERIC};
	struct xsk_socket *socket = open_socket(umem, ifname, XSK_RX_ONLY);
	struct xsk_queues *queues = xsk_socket_queues(socket);
	struct xdp_desc descs[MAX_BATCH];
	struct xsk_program *program;
	struct xsk_deferral before;
	uint64_t frames[RING];
	bool deferred = false;

	app_check(xsk_fill(queues, frames, xsk_frame_alloc_batch(umem, frames, RING)));
	app_check(xsk_program_load(NULL, &program));
	if (busy_poll && xsk_defer_interrupts(ifname, &XSK_DEFERRAL_BUSY_POLL, &before) < 0)
		fprintf(stderr, "xdpbench: interrupts stay as they are: %s\n", ixy_last_error());
	else
		deferred = busy_poll;
	app_check(xsk_program_register(program, (uint32_t)queue, xsk_socket_fd(socket)));
	app_check(xsk_program_attach(program, ifname, attach[mode]));
	printf("%s: %s program, %s\n", ifname, xsk_attach_name(xsk_program_mode(program)),
		xsk_socket_zero_copy(socket) ? "zero copy" : "copy");

	app_rates(rates);
	while (app_running()) {
		uint32_t n = xsk_receive(socket, descs, (uint32_t)batch);
		uint64_t bytes = 0;

		for (uint32_t i = 0; i < n; i++)
			bytes += descs[i].len;
		if (n) {
			app_check(xsk_fill_descs(queues, descs, n));
			app_count(&measured, n, bytes);
		}
		if (xsk_fill_needs_wakeup(queues) || (busy_poll && n < batch))
			xsk_wake_rx(socket);
		else if (!n && !spin)
			xsk_socket_poll(socket, POLLIN, 1000);
	}
	xsk_program_free(program);
	xsk_socket_close(socket);
	if (deferred)
		xsk_defer_interrupts(ifname, &before, NULL);
}

static void txonly(struct xsk_umem *umem, const char *ifname)
{
	const struct ether_header header = {.ether_dhost = {0xff, 0xff, 0xff, 0xff, 0xff, 0xff},
		.ether_shost = {2, 0, 0, 0, 0, 1},
		.ether_type = htons(0x88b5)};
	struct xsk_socket *socket = open_socket(umem, ifname, XSK_TX_ONLY);
	struct xsk_queues *queues = xsk_socket_queues(socket);
	struct xsk_program *program = app_program_to_send(socket, ifname);
	struct xdp_desc descs[MAX_BATCH];
	uint64_t frames[MAX_BATCH];

	/* All frames alike, written once. */
	for (uint32_t i = 0; i < RING; i++) {
		struct xdp_desc desc = xsk_frame_desc(umem, xsk_frame_addr(umem, i));

		memset(xsk_data(umem, &desc), 0, size);
		memcpy(xsk_data(umem, &desc), &header, sizeof(header));
	}
	printf("%s: %s\n", ifname, xsk_socket_zero_copy(socket) ? "zero copy" : "copy");

	app_rates(rates);
	while (app_running()) {
		uint32_t n = xsk_frame_alloc_batch(umem, frames, (uint32_t)batch);
		uint64_t lost = 0;
		int result;

		for (uint32_t i = 0; i < n; i++) {
			descs[i] = xsk_frame_desc(umem, frames[i]);
			descs[i].len = (uint32_t)size;
		}
		if (n && app_check(xsk_transmit(socket, descs, n)))
			app_count(&measured, n, n * size);
		else
			xsk_frame_free_batch(umem, frames, n);
		result = xsk_flush_tx(socket, &lost);
		if (result == -ENETDOWN || result == -ENXIO)
			app_check(result);
		app_drop(&measured, lost);
		xsk_frame_free_batch(umem, frames, xsk_complete(queues, frames, MAX_BATCH));
	}
	xsk_program_free(program);
	xsk_socket_close(socket);
}

int main(int argc, char **argv)
{
	static const struct {
		const char *name;
		void (*run)(struct xsk_umem *umem, const char *ifname);
	} modes[] = {{"rxdrop", rxdrop}, {"txonly", txonly}};
	char **arguments = app_begin(&app, argc, argv);
	struct xsk_umem *umem;

	for (size_t i = 0; i < sizeof(modes) / sizeof(modes[0]); i++) {
		if (strcmp(arguments[0], modes[i].name))
			continue;
		app_check(
			xsk_umem_create(&(struct xsk_umem_config){.frame_size = app_frame_size(arguments[1]),
						.frames = RING,
						.fill_size = RING,
						.completion_size = RING},
				&umem));
		measured.name = modes[i].name;
		modes[i].run(umem, arguments[1]);
		app_end();
		return app_check(xsk_umem_free(umem));
	}
	fprintf(stderr, "xdpbench: %s: expected rxdrop or txonly\n", arguments[0]);
	return 2;
}
