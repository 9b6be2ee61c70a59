/*
 * Flows of the namespace tests. One thread holds both ends: sockets do not block, and what cannot go on is
 * waited for by poll(). A flow that stands still for STALL_SECONDS fails the test.
 */
#include "flow.h"
#include "command.h"
#include "raw.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <netinet/udp.h>
#include <poll.h>
#include <setjmp.h>
#include <stdarg.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

#ifndef UDP_SEGMENT
#define UDP_SEGMENT 103
#define UDP_GRO     104
#endif

#define STALL_SECONDS 30
#define CHUNK         65536
#define MAX_FLOWS     16
#define DATAGRAMS_MAX 65507 /* bytes in one call */
#define UDP_ROOM      (16 << 20)

union address {
	struct sockaddr any;
	struct sockaddr_in v4;
	struct sockaddr_in6 v6;
};

static socklen_t make_address(union address *a, const char *text, uint16_t port)
{
	memset(a, 0, sizeof(*a));
	if (strchr(text, ':')) {
		a->v6.sin6_family = AF_INET6;
		a->v6.sin6_port = htons(port);
		assert_int_equal(inet_pton(AF_INET6, text, &a->v6.sin6_addr), 1);
		return sizeof(a->v6);
	}
	a->v4.sin_family = AF_INET;
	a->v4.sin_port = htons(port);
	assert_int_equal(inet_pton(AF_INET, text, &a->v4.sin_addr), 1);
	return sizeof(a->v4);
}

static uint16_t port_of(int fd)
{
	union address a;
	socklen_t size = sizeof(a);

	assert_int_equal(getsockname(fd, &a.any, &size), 0);
	return ntohs(a.any.sa_family == AF_INET6 ? a.v6.sin6_port : a.v4.sin_port);
}

/* A socket of the namespace `to`, bound to one of its addresses, and one of `from` that knows where to. */
static void open_pair(int type, const char *from, const char *to, const char *address, int *sender,
	int *receiver, union address *where, socklen_t *size)
{
	*size = make_address(where, address, 0);
	*receiver = netns_socket(to, where->any.sa_family, type | SOCK_NONBLOCK, 0);
	if (bind(*receiver, &where->any, *size) < 0)
		fail_msg("%s: %s", address, strerror(errno));
	*size = make_address(where, address, port_of(*receiver));
	*sender = netns_socket(from, where->any.sa_family, type | SOCK_NONBLOCK, 0);
}

static bool ready(int fd, short events, int64_t deadline)
{
	struct pollfd p = {.fd = fd, .events = events};
	int64_t left = deadline - clock_ms();

	return poll(&p, 1, left > 0 ? (int)left : 0) == 1;
}

static int64_t stall_deadline(void)
{
	return clock_ms() + 1000 * (int64_t)STALL_SECONDS * slow_factor();
}

/* What stands at a place of a flow. Neither a shift by a segment's size nor by 2^16 gives the same. */
static void fill(uint8_t *p, size_t size, uint64_t at)
{
	for (size_t i = 0; i < size; i++, at++)
		p[i] = (uint8_t)((uint32_t)at * 0x9E3779B1u >> 24 ^ at >> 16);
}

static void assert_filled(const uint8_t *p, size_t size, uint64_t at, const char *what)
{
	uint8_t want[CHUNK];

	fill(want, size, at);
	for (size_t i = 0; i < size; i++)
		if (p[i] != want[i])
			fail_msg("%s: byte %llu is not what was sent", what, (unsigned long long)(at + i));
}

/* --- TCP --------------------------------------------------------------------------------------------------- */

void tcp_flow_open(struct tcp_flow *flow, const char *from, const char *to, const char *address)
{
	union address where;
	socklen_t size;
	int listener, one = 1;

	memset(flow, 0, sizeof(*flow));
	open_pair(SOCK_STREAM, from, to, address, &flow->from, &listener, &where, &size);
	assert_int_equal(listen(listener, 1), 0);
	if (connect(flow->from, &where.any, size) < 0 && errno != EINPROGRESS)
		fail_msg("connecting to %s: %s", address, strerror(errno));
	if (!ready(listener, POLLIN, stall_deadline()))
		fail_msg("no connection to %s", address);
	flow->to = accept4(listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
	assert_true(flow->to >= 0);
	close(listener);
	setsockopt(flow->from, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
	setsockopt(flow->to, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
	flow->from_port = port_of(flow->from);
	flow->to_port = port_of(flow->to);
}

void tcp_flow_close(struct tcp_flow *flow)
{
	close(flow->from);
	close(flow->to);
}

/* One round for one flow; true if anything moved. */
static bool pump(struct tcp_flow *flow, uint64_t end)
{
	uint8_t bytes[CHUNK];
	bool moved = false;
	ssize_t n;

	if (flow->sent < end) {
		size_t size = end - flow->sent < CHUNK ? (size_t)(end - flow->sent) : CHUNK;

		fill(bytes, size, flow->sent);
		n = send(flow->from, bytes, size, MSG_NOSIGNAL);
		if (n < 0 && errno != EAGAIN)
			fail_msg("TCP: sending: %s", strerror(errno));
		if (n > 0)
			flow->sent += (uint64_t)n;
		moved = n > 0;
	}
	n = recv(flow->to, bytes, sizeof(bytes), 0);
	if (n == 0 || (n < 0 && errno != EAGAIN))
		fail_msg("TCP: receiving: %s", n ? strerror(errno) : "closed");
	if (n > 0) {
		assert_filled(bytes, (size_t)n, flow->received, "TCP");
		flow->received += (uint64_t)n;
	}
	return moved || n > 0;
}

void tcp_flows_send(struct tcp_flow flows[], size_t count, uint64_t bytes)
{
	struct pollfd polled[2 * MAX_FLOWS];
	uint64_t ends[MAX_FLOWS];
	int64_t deadline = stall_deadline();

	assert_true(count <= MAX_FLOWS);
	for (size_t i = 0; i < count; i++)
		ends[i] = flows[i].sent + bytes;
	for (;;) {
		nfds_t waiting = 0;
		bool moved = false;

		for (size_t i = 0; i < count; i++) {
			if (flows[i].received == ends[i])
				continue;
			moved |= pump(&flows[i], ends[i]);
			polled[waiting++] = (struct pollfd){.fd = flows[i].to, .events = POLLIN};
			if (flows[i].sent < ends[i])
				polled[waiting++] = (struct pollfd){.fd = flows[i].from, .events = POLLOUT};
		}
		if (!waiting)
			return;
		if (moved)
			deadline = stall_deadline();
		else if (clock_ms() > deadline)
			fail_msg("TCP stands still after %llu bytes of the first flow",
				(unsigned long long)flows[0].received);
		else
			poll(polled, waiting, 100);
	}
}

void tcp_flow_ping_pong(struct tcp_flow *flow, unsigned times)
{
	uint8_t byte;

	for (unsigned i = 0; i < times; i++) {
		byte = (uint8_t)i;
		assert_int_equal(send(flow->from, &byte, 1, MSG_NOSIGNAL), 1);
		assert_true(ready(flow->to, POLLIN, stall_deadline()));
		assert_int_equal(recv(flow->to, &byte, 1, 0), 1);
		assert_int_equal(byte, (uint8_t)i);
		assert_int_equal(send(flow->to, &byte, 1, MSG_NOSIGNAL), 1);
		assert_true(ready(flow->from, POLLIN, stall_deadline()));
		assert_int_equal(recv(flow->from, &byte, 1, 0), 1);
	}
}

/* --- UDP --------------------------------------------------------------------------------------------------- */

void udp_flow_open(struct udp_flow *flow, const char *from, const char *to, const char *address, bool segment,
	bool coalesce)
{
	union address where;
	socklen_t size;
	int room = UDP_ROOM, on = 1;

	memset(flow, 0, sizeof(*flow));
	open_pair(SOCK_DGRAM, from, to, address, &flow->from, &flow->to, &where, &size);
	assert_int_equal(setsockopt(flow->to, SOL_SOCKET, SO_RCVBUFFORCE, &room, sizeof(room)), 0);
	assert_int_equal(setsockopt(flow->from, SOL_SOCKET, SO_SNDBUFFORCE, &room, sizeof(room)), 0);
	assert_int_equal(connect(flow->from, &where.any, size), 0);
	if (coalesce)
		assert_int_equal(setsockopt(flow->to, IPPROTO_UDP, UDP_GRO, &on, sizeof(on)), 0);
	flow->segment = segment;
}

void udp_flow_close(struct udp_flow *flow)
{
	close(flow->from);
	close(flow->to);
}

static size_t size_of(size_t size, unsigned count, unsigned i)
{
	return i + 1 == count ? (size + 1) / 2 : size;
}

/* One call's worth of datagrams; *size is how long each is (the last one may be shorter). */
static size_t receive(const struct udp_flow *flow, uint8_t *bytes, size_t *size)
{
	union {
		struct cmsghdr align;
		char room[CMSG_SPACE(sizeof(int))];
	} control;
	struct iovec iov = {bytes, CHUNK};
	struct msghdr message = {
		.msg_iov = &iov, .msg_iovlen = 1, .msg_control = &control, .msg_controllen = sizeof(control)};
	ssize_t n;

	if (!ready(flow->to, POLLIN, stall_deadline()))
		fail_msg("UDP: datagram %u did not arrive", flow->received);
	n = recvmsg(flow->to, &message, MSG_TRUNC);
	if (n < 0)
		fail_msg("UDP: receiving: %s", strerror(errno));
	*size = (size_t)n;
	for (struct cmsghdr *c = CMSG_FIRSTHDR(&message); c; c = CMSG_NXTHDR(&message, c)) {
		if (c->cmsg_level == IPPROTO_UDP && c->cmsg_type == UDP_GRO) {
			int segment;

			memcpy(&segment, CMSG_DATA(c), sizeof(segment));
			*size = (size_t)segment;
		}
	}
	return (size_t)n;
}

/* False: before Linux 6.11 the kernel did not cut for an interface that leaves checksums to it (EIO). */
static bool send_segmented(const struct udp_flow *flow, const uint8_t *bytes, size_t total, size_t size)
{
	int segment = (int)size;
	ssize_t n;

	assert_int_equal(setsockopt(flow->from, IPPROTO_UDP, UDP_SEGMENT, &segment, sizeof(segment)), 0);
	n = send(flow->from, bytes, total, 0);
	if (n != (ssize_t)total && errno != EIO)
		fail_msg("UDP: sending %zu bytes in datagrams of %zu: %s", total, size, strerror(errno));
	if (n < 0) {
		segment = 0;
		setsockopt(flow->from, IPPROTO_UDP, UDP_SEGMENT, &segment, sizeof(segment));
	}
	return n >= 0;
}

static void send_one_by_one(const struct udp_flow *flow, const uint8_t *bytes, size_t total, size_t size)
{
	for (size_t n; total; bytes += n, total -= n) {
		n = total < size ? total : size;
		if (send(flow->from, bytes, n, 0) != (ssize_t)n)
			fail_msg("UDP: sending %zu bytes: %s", n, strerror(errno));
	}
}

void udp_flow_send(struct udp_flow *flow, size_t size, unsigned count)
{
	uint8_t bytes[CHUNK];
	size_t total = 0;

	for (unsigned i = 0; i < count; i++) {
		size_t n = size_of(size, count, i);

		assert_true(total + n <= DATAGRAMS_MAX);
		fill(bytes + total, n, (uint64_t)(flow->sent + i) * CHUNK);
		total += n;
	}
	if (!flow->segment || !send_segmented(flow, bytes, total, size))
		send_one_by_one(flow, bytes, total, size);
	flow->sent += count;
	for (unsigned i = 0; i < count;) {
		size_t each, left = receive(flow, bytes, &each);

		for (const uint8_t *p = bytes; left;) {
			size_t n = left < each ? left : each;

			assert_true(i < count);
			assert_int_equal(n, size_of(size, count, i));
			assert_filled(p, n, (uint64_t)flow->received * CHUNK, "UDP");
			flow->received++;
			i++;
			p += n;
			left -= n;
		}
	}
}
