/*
 * A layer-2 forwarder: what comes in at one interface goes out at the other, both ways, as it lies in memory. With
 * one interface, what comes in goes back to its sender.
 *
 * Both interfaces share one packet memory, and a frame's addresses change owner four times on its way:
 *
 *	fill ring of A -> RX ring of A -> TX ring of B -> completion ring of B -> fill ring of A
 *
 * It takes from the RX ring no more than the other side's TX ring has room for. So it drops nothing: when the
 * other side is too slow, the kernel drops at A and counts it (rx_ring_full in the statistics).
 */
#include <net/ethernet.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>

#include "contrib/apps/app.h"
#include "driver/ixy.h"
#include "driver/xdp/xsk.h"

/*
 * Frames, for both interfaces together: enough for some milliseconds in which others have our CPU, and just what
 * RLIMIT_MEMLOCK allows as a rule (8 MiB). No ring can overflow that holds them all.
 */
#define FRAMES    4096
#define MAX_BATCH 256

static uint64_t batch = 64, queue, busy_poll;
static unsigned mode;
static bool spin, jumbo;

static const struct app_option options[] = {
	{'b', "batch", "N", "frames a call", APP_NUMBER, &batch, 1, MAX_BATCH, NULL},
	{'q', "queue", "N", "queue of each interface", APP_NUMBER, &queue, 0, 1023, NULL},
	{'m', "mode", "auto|zero-copy|native|generic", "how frames get to us", APP_CHOICE, &mode, 0, 0, NULL},
	{'s', "spin", NULL, "never sleep: a core for the last microsecond", APP_FLAG, &spin, 0, 0, NULL},
	{'p', "busy-poll", "TIME", "our system calls drive the NIC, as in 20us", APP_DURATION, &busy_poll, 0,
		0, NULL},
	{'j', "jumbo", NULL, "frames over a buffer too (Linux 6.6)", APP_FLAG, &jumbo, 0, 0, NULL},
	APP_COMMON_OPTIONS,
};

static const struct app app = {
	.about = "Forward frames between two interfaces, or back to where they came from with the MAC "
		 "addresses swapped.",
	.arguments = "IFNAME [IFNAME]",
	.least = 1,
	.most = 2,
	.example = "eth1 eth2",
	.options = options,
};

struct port {
	struct xsk_socket *socket;
	struct xsk_program *program;
	struct xsk_deferral interrupts; /* as they were before */
	bool deferred;
	struct app_rate rate; /* of what came in here and went out there */
	char name[64];
	uint32_t under_way; /* handed to the kernel to send there and not yet back */
	bool inside;        /* a frame of several buffers, of which only the first has addresses */
};

/* The mode's two halves: the socket's is the option itself, this is the program's. */
static const enum xsk_attach attach[] = {
	XSK_ATTACH_AUTO, XSK_ATTACH_NATIVE, XSK_ATTACH_NATIVE, XSK_ATTACH_GENERIC};

/* With `share` of the frames in its fill ring. */
static void open_port(
	struct port *port, struct xsk_umem *umem, const char *ifname, const char *to, uint32_t share)
{
	struct xsk_socket_config config = {
		.ifname = ifname,
		.queue_id = (uint32_t)queue,
		.rx_size = FRAMES,
		.tx_size = FRAMES,
		.fill_size = FRAMES,
		.completion_size = FRAMES,
		.mode = (enum xsk_mode)mode,
		.flags = jumbo ? XSK_MULTI_BUFFER : 0,
		.busy_poll_us = (uint32_t)(busy_poll / 1000),
		.busy_poll_budget = (uint32_t)batch,
		.tx_budget = MAX_BATCH,
	};
	uint64_t frames[FRAMES];

	app_check(xsk_socket_open(umem, &config, &port->socket));
	if (busy_poll && xsk_defer_interrupts(ifname, &XSK_DEFERRAL_BUSY_POLL, &port->interrupts) < 0)
		fprintf(stderr, "l2fwd: interrupts stay as they are: %s\n", ixy_last_error());
	else
		port->deferred = busy_poll;
	app_check(xsk_fill(
		xsk_socket_queues(port->socket), frames, xsk_frame_alloc_batch(umem, frames, share)));
	app_check(xsk_program_load(&(struct xsk_program_config){.frags = jumbo}, &port->program));
	app_check(xsk_program_register(port->program, (uint32_t)queue, xsk_socket_fd(port->socket)));
	app_check(xsk_program_attach(port->program, ifname, attach[mode]));
	snprintf(port->name, sizeof(port->name), "%s to %s", ifname, to);
	port->rate.name = port->name;
	printf("%s: %s program, %s\n", ifname, xsk_attach_name(xsk_program_mode(port->program)),
		xsk_socket_zero_copy(port->socket) ? "zero copy" : "copy");
}

static void close_port(struct port *port, const char *ifname)
{
	struct xdp_statistics kernel;
	uint64_t no_frame;

	/* In zero copy a driver keeps what it cannot deliver, and the NIC drops, and counts, what comes then. */
	app_check(xsk_socket_statistics(port->socket, &kernel));
	if (!xsk_socket_zero_copy(port->socket)) {
		/* A frame that found no place counts twice. */
		no_frame = kernel.rx_fill_ring_empty_descs < kernel.rx_dropped
				   ? kernel.rx_fill_ring_empty_descs
				   : kernel.rx_dropped;
		printf("%s: %llu lost because this program was too slow, %llu for other reasons\n", ifname,
			(unsigned long long)(kernel.rx_ring_full + no_frame),
			(unsigned long long)(kernel.rx_dropped - no_frame));
	}
	xsk_program_free(port->program);
	xsk_socket_close(port->socket);
	if (port->deferred)
		xsk_defer_interrupts(ifname, &port->interrupts, NULL);
}

static void swap_macs(uint8_t *frame)
{
	uint8_t mac[ETH_ALEN];

	memcpy(mac, frame, ETH_ALEN);
	memcpy(frame, frame + ETH_ALEN, ETH_ALEN);
	memcpy(frame + ETH_ALEN, mac, ETH_ALEN);
}

/* One batch from `in` to `out`, which may be the same port. Returns whether there was anything. */
static bool forward(struct port *in, struct port *out)
{
	struct xsk_umem *umem = xsk_socket_umem(in->socket);
	struct xdp_desc descs[MAX_BATCH];
	uint64_t done[MAX_BATCH], bytes = 0, frames = 0, lost = 0;
	uint32_t n, back, room = xsk_num_free_tx_slots(out->socket);

	n = xsk_receive(in->socket, descs, room < batch ? room : (uint32_t)batch);
	for (uint32_t i = 0; i < n; i++) {
		bool more = descs[i].options & XDP_PKT_CONTD;

		if (in == out && !in->inside && descs[i].len >= ETH_HLEN)
			swap_macs(xsk_data(umem, &descs[i]));
		bytes += descs[i].len;
		frames += !more;
		in->inside = more;
	}
	if (n) {
		app_check(xsk_transmit(out->socket, descs, n));
		app_count(&in->rate, frames, bytes);
		out->under_way += n;
	}
	if (!out->under_way) {
		/* Nothing to send: a busy poll has to be asked for. Sending is one already. */
		if (busy_poll)
			xsk_wake_rx(in->socket);
		return false;
	}
	/* Also when nothing came: the kernel may have left some the last time. */
	xsk_flush_tx(out->socket, &lost);
	app_drop(&in->rate, lost);
	back = xsk_complete(xsk_socket_queues(out->socket), done, MAX_BATCH);
	out->under_way -= back;
	if (back)
		app_check(xsk_fill_and_wake(in->socket, done, back));
	return n || back;
}

int main(int argc, char **argv)
{
	char **ifnames = app_begin(&app, argc, argv);
	int ports = ifnames[1] ? 2 : 1;
	static struct port port[2];
	struct app_rate *rates[] = {&port[0].rate, ports > 1 ? &port[1].rate : NULL, NULL};
	struct pollfd fds[2] = {0};
	struct xsk_umem *umem;

	app_check(xsk_umem_create(
		&(struct xsk_umem_config){.frame_size = app_frame_size(ifnames[0]), .frames = FRAMES},
		&umem));
	for (int i = 0; i < ports; i++) {
		open_port(&port[i], umem, ifnames[i], ifnames[ports - 1 - i], FRAMES / (uint32_t)ports);
		fds[i] = (struct pollfd){.fd = xsk_socket_fd(port[i].socket), .events = POLLIN};
	}

	app_rates(rates);
	while (app_running()) {
		bool busy = false;

		for (int i = 0; i < ports; i++)
			busy |= forward(&port[i], &port[ports - 1 - i]);
		if (!busy && !spin)
			poll(fds, (nfds_t)ports, 1000);
	}
	app_end();

	for (int i = 0; i < ports; i++)
		close_port(&port[i], ifnames[i]);
	return app_check(xsk_umem_free(umem));
}
