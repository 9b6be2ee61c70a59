/*
 * One packet memory for two interfaces: a frame that one has received is sent by the other as it lies there.
 *
 *	ip link add x0 type veth peer name x1 && ip link set x0 up && ip link set x1 up
 *	shared_umem x0 x1
 *
 * x0 and x1 are the two ends of a cable. A few frames go in circles: x0 sends, x1 receives, and what x1 has
 * received is given to x0's TX ring again, without a copy. Each round adds one to a number in the frame.
 *
 * Sockets of one UMEM on different interfaces (or queues) have a fill and a completion ring of their own, so it
 * is the program that carries frames from one's completion ring to the other's fill ring.
 */
#include <arpa/inet.h>
#include <net/ethernet.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>

#include "contrib/apps/app.h"
#include "driver/xdp/xsk.h"

#define EXPERIMENTAL 0x88b5 /* EtherType (IEEE 802 local experimental) */
#define FRAMES       256
#define RECEIVE      128 /* of these, in the fill ring */
#define MAX_CIRCLING 64
#define BATCH        64

static uint64_t rounds = 100000, circling = 32, queue;

static const struct app_option options[] = {
	{'n', "rounds", "N", "in all, 0 for no end", APP_NUMBER, &rounds, 0, 0, NULL},
	{'f', "frames", "N", "how many circle", APP_NUMBER, &circling, 1, MAX_CIRCLING, NULL},
	{'q', "queue", "N", "queue of both interfaces", APP_NUMBER, &queue, 0, 1023, NULL},
	APP_COMMON_OPTIONS,
};

static const struct app app = {
	.about = "Send frames round and round through a cable, by two sockets with one packet memory and no "
		 "copy.",
	.arguments = "IFNAME OTHER_END",
	.least = 2,
	.most = 2,
	.example = "x0 x1",
	.options = options,
};

struct message {
	struct ether_header header;
	uint32_t rounds;
} __attribute__((packed));

static struct app_rate circle = {.name = "rounds"}, *rates[] = {&circle, NULL};

/* The first time around. */
static void start(struct xsk_umem *umem, struct xsk_socket *from)
{
	const struct ether_header header = {.ether_dhost = {0xff, 0xff, 0xff, 0xff, 0xff, 0xff},
		.ether_shost = {2, 0, 0, 0, 0, 1},
		.ether_type = htons(EXPERIMENTAL)};

	for (uint64_t i = 0; i < circling; i++) {
		struct message message = {header, 0};
		struct xdp_desc desc = xsk_frame_desc(umem, xsk_frame_alloc(umem));

		desc.len = ETH_ZLEN;
		memcpy(xsk_data(umem, &desc), &message, sizeof(message));
		app_check(xsk_transmit_and_wake(from, &desc, 1));
	}
}

/* Another round for this frame? It may be a stranger's. */
static bool count_round(uint8_t *data, uint32_t length)
{
	struct message message;

	if (length < sizeof(message))
		return false;
	memcpy(&message, data, sizeof(message));
	if (message.header.ether_type != htons(EXPERIMENTAL))
		return false;
	message.rounds++;
	memcpy(data, &message, sizeof(message));
	app_count(&circle, 1, length);
	return true;
}

/* From the RX ring of one interface to the TX ring of the other. */
static void pass_on(struct xsk_umem *umem, struct xsk_socket *to, struct xsk_socket *from)
{
	struct xdp_desc descs[BATCH];
	uint32_t n = xsk_receive(to, descs, BATCH), ours = 0;

	for (uint32_t i = 0; i < n; i++) {
		if (count_round(xsk_data(umem, &descs[i]), descs[i].len)) {
			descs[i].options =
				0; /* of the receiving side; they mean something else in a TX ring */
			descs[ours++] = descs[i];
		} else {
			app_check(xsk_fill_one(xsk_socket_queues(to), descs[i].addr));
		}
	}
	/* There is always room: fewer frames circle than the ring has entries. */
	if (ours)
		app_check(xsk_transmit(from, descs, ours));
}

/* From the completion ring of one interface to the fill ring of the other. */
static void give_back(struct xsk_socket *from, struct xsk_socket *to)
{
	uint64_t frames[BATCH];
	uint32_t n = xsk_complete(xsk_socket_queues(from), frames, BATCH);

	if (n)
		app_check(xsk_fill_and_wake(to, frames, n));
}

int main(int argc, char **argv)
{
	char **ifnames = app_begin(&app, argc, argv);
	struct xsk_socket *from, *to;
	struct xsk_program *program, *to_send;
	struct xsk_umem *umem;
	uint64_t frames[RECEIVE];

	app_check(xsk_umem_create(&(struct xsk_umem_config){.frames = FRAMES}, &umem));
	app_check(xsk_socket_open(umem,
		&(struct xsk_socket_config){
			.ifname = ifnames[0], .queue_id = (uint32_t)queue, .flags = XSK_TX_ONLY},
		&from));
	app_check(xsk_socket_open(umem,
		&(struct xsk_socket_config){
			.ifname = ifnames[1], .queue_id = (uint32_t)queue, .flags = XSK_RX_ONLY},
		&to));
	app_check(xsk_fill(xsk_socket_queues(to), frames, xsk_frame_alloc_batch(umem, frames, RECEIVE)));
	app_check(xsk_program_load(NULL, &program));
	app_check(xsk_program_register(program, (uint32_t)queue, xsk_socket_fd(to)));
	app_check(xsk_program_attach(program, ifnames[1], XSK_ATTACH_AUTO));
	to_send = app_program_to_send(from, ifnames[0]);

	app_rates(rates);
	start(umem, from);
	while (app_running() && (!rounds || app_frames(&circle) < rounds)) {
		xsk_socket_poll(to, POLLIN, 100);
		pass_on(umem, to, from);
		xsk_flush_tx(from, NULL);
		give_back(from, to);
	}
	app_end();

	xsk_program_free(to_send);
	xsk_program_free(program);
	xsk_socket_close(from);
	xsk_socket_close(to);
	app_check(xsk_umem_free(umem));
	return 0;
}
