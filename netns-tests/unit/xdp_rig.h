/*
 * An ixy device on one end of a veth pair, in a namespace of the test program's own, and packet sockets on the
 * other end.
 */
#ifndef UNIT_XDP_RIG_H
#define UNIT_XDP_RIG_H

#include <errno.h>
#include <stdarg.h>
#include <setjmp.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <cmocka.h>

#include "driver/checksum.h"
#include "driver/clock.h"
#include "driver/device.h"
#include "driver/xdp/xdp.h"
#include "own_netns.h"

struct xdp_rig {
	struct ixy_device *dev;
	int peer; /* sends on p0, and receives what comes out of d0 */
	struct ixy_mac mac;
};

static inline int capture(const char *ifname)
{
	int one = 1, room = 64 << 20, fd = socket(AF_PACKET, SOCK_RAW | SOCK_CLOEXEC, htons(ETH_P_ALL));
	struct sockaddr_ll address = {
		.sll_family = AF_PACKET,
		.sll_protocol = htons(ETH_P_ALL),
		.sll_ifindex = (int)if_nametoindex(ifname),
	};

	if (fd >= 0 && (setsockopt(fd, SOL_PACKET, PACKET_IGNORE_OUTGOING, &one, sizeof(one)) < 0 ||
			       setsockopt(fd, SOL_SOCKET, SO_RCVBUFFORCE, &room, sizeof(room)) < 0 ||
			       bind(fd, (struct sockaddr *)&address, sizeof(address)) < 0)) {
		close(fd);
		return -1;
	}
	return fd;
}

static inline bool make_pair(unsigned queues, unsigned mtu)
{
	return shell("ip link add d0 numtxqueues %u numrxqueues %u type veth peer name p0 numtxqueues %u "
		     "numrxqueues %u",
		       queues, queues, queues, queues) &&
	       shell("ip link set p0 mtu %u up && ip link set d0 mtu %u up", mtu, mtu);
}

static inline void rig_open(struct xdp_rig *rig, const char *spec, const struct ixy_options *options)
{
	if (ixy_open(spec, options, &rig->dev) < 0)
		fail_msg("%s", ixy_last_error());
	rig->mac = ixy_mac_get(rig->dev);
}

static inline int rig_setup(void **state)
{
	struct xdp_rig *rig = calloc(1, sizeof(*rig));

	*state = rig;
	if (!rig || !make_pair(1, 1500))
		return -1;
	rig->peer = capture("p0");
	return rig->peer < 0 ? -1 : 0;
}

static inline int rig_teardown(void **state)
{
	struct xdp_rig *rig = *state;

	ixy_close(rig->dev);
	close(rig->peer);
	shell("ip link del p0 2>/dev/null");
	free(rig);
	return 0;
}

static inline struct xdp_queue *rig_queue(struct xdp_rig *rig)
{
	return &xdp_device(rig->dev)->queues[0];
}

/* The peer sends a frame. */
static inline void rig_send(struct xdp_rig *rig, const uint8_t *frame, size_t size)
{
	assert_int_equal(send(rig->peer, frame, size, 0), size);
}

/* The next frame from the device, within two seconds, or NULL. */
static inline struct pkt_buf *rig_take(struct xdp_rig *rig)
{
	int64_t end = clock_ms() + 2000;
	struct pkt_buf *frame;

	do {
		if (ixy_rx_batch(rig->dev, 0, &frame, 1) == 1) {
			assert_ptr_equal(frame->pool, ixy_rx_pool(rig->dev, 0));
			return frame;
		}
	} while (clock_ms() < end);
	return NULL;
}

/* What the peer receives next, within two seconds; 0: nothing. */
static inline size_t rig_receive(struct xdp_rig *rig, uint8_t *frame, size_t size)
{
	ssize_t n;

	if (!readable(rig->peer))
		return 0;
	n = recv(rig->peer, frame, size, 0);
	return n < 0 ? 0 : (size_t)n;
}

/* Wait, at most two seconds, until the queue has nothing on its way. */
static inline bool rig_drained(struct xdp_rig *rig)
{
	int64_t end = clock_ms() + 2000;

	while (ixy_tx_pending(rig->dev, 0) && clock_ms() < end)
		ixy_tx_batch(rig->dev, 0, NULL, 0);
	return ixy_tx_pending(rig->dev, 0) == 0;
}

/* Chunks of the pool that are neither free nor with the kernel to receive into. */
static inline uint32_t rig_missing(struct xdp_rig *rig)
{
	struct xdp_queue *q = rig_queue(rig);
	uint32_t filled = 0;

	for (uint32_t i = 0; i < q->chunks; i++)
		filled += q->place[i] == XDP_FILLED;
	return q->pool->buf_count - q->pool->free_count - filled;
}

/* A frame for the device: headers, then a pattern that depends on seed. */
static inline void make_frame(uint8_t *frame, size_t size, const struct ixy_mac *to, uint32_t seed)
{
	memcpy(frame, to->addr, 6);
	memcpy(frame + 6, (const uint8_t[]){2, 0, 0, 0, 0, 9, TEST_ETHERTYPE >> 8, TEST_ETHERTYPE & 0xff}, 8);
	for (size_t i = 14; i < size; i++)
		frame[i] = (uint8_t)(i * 7 + seed * 31 + (i >> 8));
	if (size >= 18)
		memcpy(frame + 14, &seed, 4);
}

/* The bytes of a frame in one piece. */
static inline size_t flatten(const struct pkt_buf *frame, uint8_t *to, size_t room)
{
	size_t size = 0;

	for (const struct pkt_buf *buf = frame; buf; buf = buf->next) {
		assert_true(buf->size <= room - size);
		memcpy(to + size, buf->data, buf->size);
		size += buf->size;
	}
	assert_int_equal(size, frame->frame_size);
	return size;
}

#endif
