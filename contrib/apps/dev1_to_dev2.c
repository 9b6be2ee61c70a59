/*
 * Numbered frames from one interface to another, as fast as both ends can, by one thread or by two.
 *
 * The receiver sees to it that each number comes once and in order. The sender never has more frames under way
 * than the receiver has room for (it knows how far that one is, both being in one process), so none may be lost
 * either, unless a device between them drops some.
 *
 * Two threads need no lock here: each has a socket and a UMEM of its own, and they share two counters.
 */
#include <arpa/inet.h>
#include <net/ethernet.h>
#include <pthread.h>
#include <sched.h>
#include <stdio.h>
#include <string.h>

#include "contrib/apps/app.h"
#include "driver/xdp/xsk.h"

#define EXPERIMENTAL 0x88b5 /* EtherType (IEEE 802 local experimental) */
#define FRAMES       4096
#define WINDOW       (FRAMES / 4)         /* under way at most: half of the receiver's fill ring */
#define PATIENCE     UINT64_C(1000000000) /* ns without arrivals after which what is under way is lost */
#define MAX_BATCH    256

static uint64_t count = 1000000, size = 60, batch = 64, queue;
static bool threads;

static const struct app_option options[] = {
	{'n', "count", "N", "frames to send, 0 for no end", APP_NUMBER, &count, 0, 0, NULL},
	{'s', "size", "BYTES", "a frame, without CRC", APP_SIZE, &size, 22, 1514, NULL},
	{'b', "batch", "N", "frames a call", APP_NUMBER, &batch, 1, MAX_BATCH, NULL},
	{'m', "multi", NULL, "a thread for each side", APP_FLAG, &threads, 0, 0, NULL},
	{'q', "queue", "N", "queue of both interfaces", APP_NUMBER, &queue, 0, 1023, NULL},
	APP_COMMON_OPTIONS,
};

static const struct app app = {
	.about = "Send numbered frames from one interface to the other end of its cable, and check that all "
		 "arrive.",
	.arguments = "FROM TO",
	.least = 2,
	.most = 2,
	.example = "--multi x0 x1",
	.options = options,
};

struct message {
	struct ether_header header;
	uint64_t number;
} __attribute__((packed));

static struct app_rate tx = {.name = "sent"}, rx = {.name = "received"}, *rates[] = {&tx, &rx, NULL};
static _Atomic uint64_t next; /* the number that the receiver waits for */

/* Each of the receiving side alone. */
static uint64_t missing, misplaced;

static struct xsk_socket *open_socket(const char *ifname, uint32_t flags)
{
	struct xsk_socket_config config = {.ifname = ifname, .queue_id = (uint32_t)queue, .flags = flags};
	struct xsk_socket *socket;
	struct xsk_umem *umem;

	app_check(xsk_umem_create(&(struct xsk_umem_config){.frames = FRAMES, .fill_size = FRAMES}, &umem));
	app_check(xsk_socket_open(umem, &config, &socket));
	return socket;
}

static void close_socket(struct xsk_socket *socket)
{
	struct xsk_umem *umem = xsk_socket_umem(socket);

	xsk_socket_close(socket);
	app_check(xsk_umem_free(umem));
}

/* --- sending -------------------------------------------------------------------------------------------- */

/* How many may go now. What has not arrived for a while is not under way any more. */
static uint64_t room(void)
{
	static uint64_t seen, since, given_up;
	uint64_t sent = app_frames(&tx), arrived = atomic_load_explicit(&next, memory_order_acquire);
	uint64_t left = count ? count - sent : UINT64_MAX, under_way, now;

	if (arrived < given_up)
		arrived = given_up;
	under_way = sent - arrived;
	if (under_way == WINDOW) {
		now = app_now();
		if (arrived != seen || !since) {
			seen = arrived;
			since = now;
		} else if (now - since > PATIENCE) {
			given_up = sent;
		}
	} else {
		since = 0;
	}
	return left < WINDOW - under_way ? left : WINDOW - under_way;
}

static bool send_some(struct xsk_socket *socket)
{
	const struct ether_header header = {.ether_dhost = {0xff, 0xff, 0xff, 0xff, 0xff, 0xff},
		.ether_shost = {2, 0, 0, 0, 0, 1},
		.ether_type = htons(EXPERIMENTAL)};
	struct xsk_umem *umem = xsk_socket_umem(socket);
	struct xdp_desc descs[MAX_BATCH];
	uint64_t frames[MAX_BATCH], n = room(), sent = app_frames(&tx);
	uint64_t lost = 0;

	/* The kernel may have refused to take all the last time; then it is to try again, and give back what it has sent. */
	if (xsk_num_transmitted(xsk_socket_queues(socket)))
		xsk_flush_tx(socket, &lost);
	app_drop(&tx, lost);
	xsk_frame_free_batch(umem, frames, xsk_complete(xsk_socket_queues(socket), frames, MAX_BATCH));

	n = n < batch ? n : batch;
	n = xsk_frame_alloc_batch(umem, frames, (uint32_t)n);
	for (uint64_t i = 0; i < n; i++) {
		struct message message = {header, sent + i};

		descs[i] = xsk_frame_desc(umem, frames[i]);
		descs[i].len = (uint32_t)size;
		memcpy(xsk_data(umem, &descs[i]), &message, sizeof(message));
	}
	if (n && app_check(xsk_transmit_and_wake(socket, descs, (uint32_t)n)))
		app_count(&tx, n, n * size);
	else
		xsk_frame_free_batch(umem, frames, (uint32_t)n);
	return n;
}

static void *sender(void *socket)
{
	while (!app_stopped())
		if (!send_some(socket))
			sched_yield();
	return NULL;
}

/* --- receiving ------------------------------------------------------------------------------------------ */

static void check(const uint8_t *data, uint32_t length)
{
	uint64_t expected = atomic_load_explicit(&next, memory_order_relaxed);
	struct message message;

	if (length < sizeof(message))
		return;
	memcpy(&message, data, sizeof(message));
	if (message.header.ether_type != htons(EXPERIMENTAL))
		return;
	app_count(&rx, 1, length);
	if (message.number < expected) {
		misplaced++;
		return;
	}
	missing += message.number - expected;
	atomic_store_explicit(&next, message.number + 1, memory_order_release);
}

/* Returns whether there was anything. */
static bool receive_some(struct xsk_socket *socket, int wait_ms)
{
	struct xdp_desc descs[MAX_BATCH];
	int n = xsk_receive_wait(socket, descs, (uint32_t)batch, wait_ms);

	for (int i = 0; i < n; i++)
		check(xsk_data(xsk_socket_umem(socket), &descs[i]), descs[i].len);
	if (n > 0)
		xsk_fill_descs(xsk_socket_queues(socket), descs, (uint32_t)n);
	return n > 0;
}

/* All have been sent, and the last one has come, or nothing comes any more. */
static bool complete(bool idle)
{
	static uint64_t since;

	if (!count || app_frames(&tx) < count)
		return false;
	if (!idle || !since)
		since = app_now();
	return atomic_load_explicit(&next, memory_order_relaxed) >= count || app_now() - since > PATIENCE;
}

int main(int argc, char **argv)
{
	char **ifnames = app_begin(&app, argc, argv);
	struct xsk_socket *from = open_socket(ifnames[0], XSK_TX_ONLY),
			  *to = open_socket(ifnames[1], XSK_RX_ONLY);
	struct xsk_program *program, *to_send;
	uint64_t frames[FRAMES];
	pthread_t thread;

	app_check(xsk_fill(
		xsk_socket_queues(to), frames, xsk_frame_alloc_batch(xsk_socket_umem(to), frames, FRAMES)));
	app_check(xsk_program_load(NULL, &program));
	app_check(xsk_program_register(program, (uint32_t)queue, xsk_socket_fd(to)));
	app_check(xsk_program_attach(program, ifnames[1], XSK_ATTACH_AUTO));
	to_send = app_program_to_send(from, ifnames[0]);

	app_rates(rates);
	if (threads && pthread_create(&thread, NULL, sender, from)) {
		perror("dev1_to_dev2: pthread_create");
		return 1;
	}
	while (app_running()) {
		if (!threads)
			send_some(from);
		if (complete(!receive_some(to, threads ? 100 : 0)))
			break;
	}
	app_stop();
	if (threads)
		pthread_join(thread, NULL);
	app_end();
	if (count && app_frames(&tx) == count)
		missing += count - atomic_load(&next);
	printf("missing %llu, out of order %llu\n", (unsigned long long)missing,
		(unsigned long long)misplaced);

	xsk_program_free(to_send);
	xsk_program_free(program);
	close_socket(from);
	close_socket(to);
	return missing || misplaced;
}
