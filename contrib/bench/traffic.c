/*
 * traffic: UDP frames as fast as one core makes them, and how long a round trip takes.
 *
 *	traffic count PORT SECONDS
 *		receive, from the first frame on; print frames a second, and how many
 *	traffic flood ADDRESS PORT SIZE SECONDS RATE
 *		send frames of SIZE bytes on the wire (CRC included), RATE a second (0: as fast as possible);
 *		print the same
 *	traffic flows IFNAME MAC ADDRESS PORT FLOWS SECONDS
 *		the same with 64 bytes, as fast as possible, from FLOWS addresses and ports in turn, for the
 *		station MAC; through a packet socket
 *	traffic echo PORT
 *		send back whatever comes, until killed
 *	traffic rtt ADDRESS PORT COUNT
 *		one datagram at a time; print the percentiles 50, 99 and 99.9 in microseconds, and how many
 *		were lost
 *	traffic trips ADDRESS PORT RATE SECONDS
 *		RATE datagrams a second, whether answered or not; print lines of SHARE MICROSECONDS, the curve
 *		below which that share of the round trips lies, and at its end how many were sent and lost
 *
 * iperf3 makes one system call a datagram and measures mostly itself at 64 bytes; here sendmmsg() and
 * recvmmsg() take 64 frames a call at both ends, so that what lies between them is the bottleneck.
 */
#include <arpa/inet.h>
#include <err.h>
#include <errno.h>
#include <inttypes.h>
#include <net/ethernet.h>
#include <net/if.h>
#include <netinet/ip.h>
#include <netinet/udp.h>
#include <poll.h>
#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>
#include <linux/if_packet.h>

#include "driver/checksum.h"
#include "driver/clock.h"

#define BATCH        64
#define MAX_PAYLOAD  1472
#define FRAME_AROUND (14 + 20 + 8 + 4) /* Ethernet, IPv4 and UDP headers, CRC */
#define PATIENCE_MS  5000              /* how long count waits for its first frame */
#define REPLY_MS     200               /* after that long a round trip is lost */
#define PACE_NS      100000            /* a sender with a rate sleeps so long between two batches */

static long number(const char *text, long min, long max)
{
	char *end;
	long value;

	errno = 0;
	value = strtol(text, &end, 10);
	if (errno || end == text || *end || value < min || value > max)
		errx(2, "%s: not a number between %ld and %ld", text, min, max);
	return value;
}

static struct sockaddr_in address(const char *host, const char *port)
{
	struct sockaddr_in addr = {
		.sin_family = AF_INET, .sin_port = htons((uint16_t)number(port, 1, 65535))};

	if (host && inet_pton(AF_INET, host, &addr.sin_addr) != 1)
		errx(2, "%s: not an IPv4 address", host);
	return addr;
}

/* A UDP socket bound to port (host NULL) or connected to host and port. */
static int udp_socket(const char *host, const char *port)
{
	struct sockaddr_in addr = address(host, port);
	int buffer = 4 << 20, fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);

	if (fd < 0)
		err(1, "socket");
	if (setsockopt(fd, SOL_SOCKET, SO_RCVBUFFORCE, &buffer, sizeof(buffer)) < 0)
		warn("receive buffer stays small");
	if ((host ? connect : bind)(fd, (struct sockaddr *)&addr, sizeof(addr)) < 0)
		err(1, "%s port %s", host ? host : "bind", port);
	return fd;
}

/* BATCH messages of one buffer each, for sendmmsg() and recvmmsg(). */
struct batch {
	struct mmsghdr message[BATCH];
	struct iovec iov[BATCH];
	char payload[BATCH][MAX_PAYLOAD];
};

static void batch_init(struct batch *batch, size_t size)
{
	memset(batch, 0, sizeof(*batch));
	for (int i = 0; i < BATCH; i++) {
		batch->iov[i] = (struct iovec){batch->payload[i], size};
		batch->message[i].msg_hdr.msg_iov = &batch->iov[i];
		batch->message[i].msg_hdr.msg_iovlen = 1;
	}
}

static void wait_readable(int fd, int timeout_ms)
{
	struct pollfd pfd = {.fd = fd, .events = POLLIN};

	if (poll(&pfd, 1, timeout_ms) == 0)
		errx(1, "nothing arrived within %d ms", timeout_ms);
}

static void print_rate(uint64_t frames, uint64_t ns)
{
	printf("%.0f %" PRIu64 "\n", (double)frames * 1e9 / (double)ns, frames);
}

static int count(char *argv[])
{
	static struct batch batch;
	int fd = udp_socket(NULL, argv[0]);
	uint64_t frames = 0, seconds = (uint64_t)number(argv[1], 1, 3600), start, end;
	struct timeval stall = {.tv_usec = 100000}; /* a look at the clock when frames stop coming */

	if (setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &stall, sizeof(stall)) < 0)
		err(1, "receive time-out");
	batch_init(&batch, MAX_PAYLOAD);
	wait_readable(fd, PATIENCE_MS);
	start = clock_ns();
	do {
		int n = recvmmsg(fd, batch.message, BATCH, MSG_WAITFORONE, NULL);

		if (n > 0)
			frames += (uint64_t)n;
		else if (errno != EAGAIN && errno != EINTR)
			err(1, "recvmmsg");
		end = clock_ns();
	} while (end - start < seconds * 1000000000);
	print_rate(frames, end - start);
	return 0;
}

/* Send up to n frames of the batch; returns how many went. */
static uint64_t send_some(int fd, struct batch *batch, unsigned n)
{
	int sent = sendmmsg(fd, batch->message, n, 0);

	if (sent > 0)
		return (uint64_t)sent;
	/* A full queue or a receiver that has not started are part of a flood. */
	if (errno != ENOBUFS && errno != ECONNREFUSED && errno != EAGAIN && errno != EINTR)
		err(1, "sendmmsg");
	return 0;
}

static int flood(char *argv[])
{
	static struct batch batch;
	int fd = udp_socket(argv[0], argv[1]);
	size_t size = (size_t)number(argv[2], FRAME_AROUND + 1, MAX_PAYLOAD + FRAME_AROUND) - FRAME_AROUND;
	uint64_t seconds = (uint64_t)number(argv[3], 1, 3600), rate = (uint64_t)number(argv[4], 0, 100000000);
	uint64_t frames = 0, start = clock_ns(), end;

	batch_init(&batch, size);
	do {
		uint64_t due = BATCH;

		if (rate) {
			due = (clock_ns() - start) * rate / 1000000000;
			due = due > frames ? due - frames : 0;
		}
		if (due)
			frames += send_some(fd, &batch, due < BATCH ? (unsigned)due : BATCH);
		if (due < BATCH)
			nanosleep(&(struct timespec){.tv_nsec = PACE_NS}, NULL);
		end = clock_ns();
	} while (end - start < seconds * 1000000000);
	print_rate(frames, end - start);
	return 0;
}

/* Ethernet, IPv4 and UDP headers, and the payload of a frame of 64 bytes. */
struct flow_frame {
	struct ether_header ethernet;
	struct iphdr ip;
	struct udphdr udp;
	uint8_t payload[64 - FRAME_AROUND];
} __attribute__((packed));

/* Flow n has the source 10.64.0.0 + n / 1000, port 1024 + n % 1000. */
static void address_flow(struct flow_frame *frame, uint32_t n)
{
	frame->ip.saddr = htonl(0x0a400000 + n / 1000);
	frame->udp.source = htons((uint16_t)(1024 + n % 1000));
	frame->ip.check = 0;
	frame->ip.check = checksum_finish(checksum_add(0, &frame->ip, sizeof(frame->ip)));
}

static int packet_socket(const char *ifname)
{
	struct sockaddr_ll address = {.sll_family = AF_PACKET, .sll_ifindex = (int)if_nametoindex(ifname)};
	int fd = socket(AF_PACKET, SOCK_RAW | SOCK_CLOEXEC, 0), one = 1;

	if (fd < 0 || bind(fd, (struct sockaddr *)&address, sizeof(address)) < 0)
		err(1, "packet socket on %s", ifname);
	if (setsockopt(fd, SOL_PACKET, PACKET_QDISC_BYPASS, &one, sizeof(one)) < 0)
		warn("the sender's queue stays in the way");
	return fd;
}

static int flows(char *argv[])
{
	static struct batch batch;
	struct flow_frame frame = {
		.ethernet.ether_shost = {2, 0, 0, 0, 0, 1},
		.ethernet.ether_type = htons(ETHERTYPE_IP),
		.ip = {.version = 4,
			.ihl = 5,
			.tot_len = htons(sizeof(frame) - sizeof(frame.ethernet)),
			.ttl = 64,
			.protocol = IPPROTO_UDP},
		.udp.len = htons(sizeof(frame.udp) + sizeof(frame.payload)), /* and no checksum */
	};
	struct sockaddr_in to = address(argv[2], argv[3]);
	uint8_t *mac = frame.ethernet.ether_dhost;
	uint32_t flow_count = (uint32_t)number(argv[4], 1, 1000000), next = 0;
	uint64_t frames = 0, seconds = (uint64_t)number(argv[5], 1, 3600), start = clock_ns(), end;
	int fd = packet_socket(argv[0]);

	if (sscanf(argv[1], "%hhx:%hhx:%hhx:%hhx:%hhx:%hhx", mac, mac + 1, mac + 2, mac + 3, mac + 4,
		    mac + 5) != 6)
		errx(2, "%s: not a MAC address", argv[1]);
	frame.ip.daddr = to.sin_addr.s_addr;
	frame.udp.dest = to.sin_port;
	batch_init(&batch, sizeof(frame));
	do {
		for (unsigned i = 0; i < BATCH; i++, next = next + 1 < flow_count ? next + 1 : 0) {
			address_flow(&frame, next);
			memcpy(batch.payload[i], &frame, sizeof(frame));
		}
		frames += send_some(fd, &batch, BATCH);
		end = clock_ns();
	} while (end - start < seconds * 1000000000);
	print_rate(frames, end - start);
	return 0;
}

static int echo(char *argv[])
{
	int fd = udp_socket(NULL, argv[0]);
	char payload[MAX_PAYLOAD];

	for (;;) {
		struct sockaddr_in from;
		socklen_t from_size = sizeof(from);
		ssize_t n = recvfrom(fd, payload, sizeof(payload), 0, (struct sockaddr *)&from, &from_size);

		if (n < 0 && errno != EINTR)
			err(1, "recvfrom");
		if (n >= 0 && sendto(fd, payload, (size_t)n, 0, (struct sockaddr *)&from, from_size) < 0)
			warn("sendto");
	}
}

static int compare(const void *a, const void *b)
{
	uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;

	return (x > y) - (x < y);
}

/* The smallest value that at least this share of all is not above. */
static double percentile(const uint32_t *sorted, size_t n, double share)
{
	size_t rank = (size_t)(share * (double)n + 0.9999);

	return sorted[rank ? rank - 1 : 0] / 1e3;
}

static int rtt(char *argv[])
{
	int fd = udp_socket(argv[0], argv[1]);
	uint32_t trips = (uint32_t)number(argv[2], 1, 10000000), got = 0, lost = 0;
	uint32_t *sample = calloc(trips, sizeof(*sample));
	struct timeval patience = {.tv_usec = REPLY_MS * 1000};

	if (!sample)
		err(1, "memory for %u samples", trips);
	if (setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience)) < 0)
		err(1, "receive time-out");
	for (uint32_t i = 0; i < trips && lost < 50; i++) {
		uint32_t sent = i, back;
		uint64_t start = clock_ns(), end;
		ssize_t n;

		if (send(fd, &sent, sizeof(sent), 0) < 0 && errno != ECONNREFUSED)
			err(1, "send");
		/* A late answer to an earlier one is passed over. */
		do
			n = recv(fd, &back, sizeof(back), 0);
		while (n == sizeof(back) && back != sent);
		end = clock_ns();
		if (n == sizeof(back))
			sample[got++] = (uint32_t)(end - start);
		else
			lost++;
	}
	if (got == 0)
		errx(1, "no answer from %s", argv[0]);
	qsort(sample, got, sizeof(*sample), compare);
	printf("%.1f %.1f %.1f %u\n", percentile(sample, got, 0.5), percentile(sample, got, 0.99),
		percentile(sample, got, 0.999), lost);
	free(sample);
	return 0;
}

/* --- round trips under a load that does not wait for answers --- */

struct trips {
	int fd;
	uint32_t *sample, max, got; /* nanoseconds */
};

/* When the kernel received the message, CLOCK_REALTIME: the reader's own wake-up does not count. */
static uint64_t received_ns(struct msghdr *message)
{
	for (struct cmsghdr *c = CMSG_FIRSTHDR(message); c; c = CMSG_NXTHDR(message, c)) {
		struct timespec t;

		if (c->cmsg_level != SOL_SOCKET || c->cmsg_type != SCM_TIMESTAMPNS)
			continue;
		memcpy(&t, CMSG_DATA(c), sizeof(t));
		return (uint64_t)t.tv_sec * 1000000000 + (uint64_t)t.tv_nsec;
	}
	errx(1, "a message without a time");
}

/* Until the socket is shut down, or a second has brought nothing. */
static void *receive_trips(void *argument)
{
	struct trips *trips = argument;

	for (;;) {
		uint64_t sent, now;
		char control[128];
		struct iovec iov = {&sent, sizeof(sent)};
		struct msghdr message = {.msg_iov = &iov,
			.msg_iovlen = 1,
			.msg_control = control,
			.msg_controllen = sizeof(control)};
		ssize_t n = recvmsg(trips->fd, &message, 0);

		if (n <= 0 && errno != ECONNREFUSED && errno != EINTR)
			return NULL;
		if (n != sizeof(sent) || trips->got == trips->max)
			continue;
		now = received_ns(&message);
		trips->sample[trips->got++] = now - sent > UINT32_MAX ? UINT32_MAX : (uint32_t)(now - sent);
	}
}

/* Datagrams with the time of their sending, as many as are due by the clock. Returns how many were sent. */
static uint64_t send_trips(int fd, uint64_t rate, uint64_t seconds)
{
	uint64_t start = clock_ns(), sent = 0, elapsed;
	long nap = rate > 1 ? 1000000000 / (long)rate : 500000000;

	while ((elapsed = clock_ns() - start) < seconds * 1000000000) {
		for (uint64_t due = elapsed * rate / 1000000000; sent < due; sent++) {
			struct timespec t;
			uint64_t stamp;

			clock_gettime(CLOCK_REALTIME, &t);
			stamp = (uint64_t)t.tv_sec * 1000000000 + (uint64_t)t.tv_nsec;
			if (send(fd, &stamp, sizeof(stamp), 0) < 0 && errno != ECONNREFUSED &&
				errno != ENOBUFS)
				err(1, "send");
		}
		nanosleep(&(struct timespec){.tv_nsec = nap < PACE_NS ? PACE_NS : nap}, NULL);
	}
	return sent;
}

static int trips(char *argv[])
{
	static const double tails[] = {1, 0.1, 0.01, 0.001, 0.0001};
	uint64_t rate = (uint64_t)number(argv[2], 1, 1000000), seconds = (uint64_t)number(argv[3], 1, 3600),
		 sent;
	struct trips trips = {.fd = udp_socket(argv[0], argv[1]), .max = (uint32_t)(rate * seconds + 1)};
	struct timeval patience = {.tv_sec = 1};
	pthread_t receiver;
	int one = 1;

	trips.sample = calloc(trips.max, sizeof(*trips.sample));
	if (!trips.sample)
		err(1, "memory for %u samples", trips.max);
	if (setsockopt(trips.fd, SOL_SOCKET, SO_TIMESTAMPNS, &one, sizeof(one)) < 0 ||
		setsockopt(trips.fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience)) < 0)
		err(1, "socket options");
	if (pthread_create(&receiver, NULL, receive_trips, &trips))
		errx(1, "cannot start a thread");
	sent = send_trips(trips.fd, rate, seconds);
	pthread_join(receiver, NULL);
	if (!trips.got)
		errx(1, "no answer from %s", argv[0]);
	qsort(trips.sample, trips.got, sizeof(*trips.sample), compare);
	/* As many points in each tenth of what is left: 0, 10% ... 90 %, 91 % ... 99 %, 99.1 % ... */
	for (size_t t = 0; t + 1 < sizeof(tails) / sizeof(tails[0]); t++)
		for (unsigned i = 0; i < 9; i++)
			printf("%.5f %.1f\n", 1 - tails[t] * (10 - i) / 10,
				percentile(trips.sample, trips.got, 1 - tails[t] * (10 - i) / 10));
	printf("%.5f %.1f\n", 1 - tails[4], percentile(trips.sample, trips.got, 1 - tails[4]));
	printf("sent %" PRIu64 " lost %" PRIu64 "\n", sent, sent - trips.got);
	free(trips.sample);
	return 0;
}

static const struct {
	const char *name, *arguments;
	int count;
	int (*run)(char *argv[]);
} commands[] = {
	{"count", "PORT SECONDS", 2, count},
	{"flood", "ADDRESS PORT SIZE SECONDS RATE", 5, flood},
	{"flows", "IFNAME MAC ADDRESS PORT FLOWS SECONDS", 6, flows},
	{"echo", "PORT", 1, echo},
	{"rtt", "ADDRESS PORT COUNT", 3, rtt},
	{"trips", "ADDRESS PORT RATE SECONDS", 4, trips},
};

int main(int argc, char *argv[])
{
	for (size_t i = 0; i < sizeof(commands) / sizeof(commands[0]); i++)
		if (argc >= 2 && strcmp(argv[1], commands[i].name) == 0 && argc - 2 == commands[i].count)
			return commands[i].run(argv + 2);
	fprintf(stderr, "usage:\n");
	for (size_t i = 0; i < sizeof(commands) / sizeof(commands[0]); i++)
		fprintf(stderr, "\ttraffic %s %s\n", commands[i].name, commands[i].arguments);
	return 2;
}
