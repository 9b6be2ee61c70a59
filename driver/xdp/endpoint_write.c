/*
 * Writing to a blocking endpoint.
 *
 * Why one frame at a time. EBUSY says that one frame was dropped, not which. So in copy mode a writer puts
 * one frame into the ring (`pending`), calls sendto(), and knows from the answer what became of it:
 *
 *	0                  taken: written
 *	EBUSY              dropped: the same frame goes again, once its memory has come back by the
 *	                   completion ring
 *	EAGAIN, ENOBUFS    still in the ring: call again
 *	ENETDOWN           still in the ring, for as long as the interface is down
 *
 * A frame that is in the ring when the writer's time is over cannot be taken back. It counts as written, and
 * the next call, or close, first sees it off. In zero-copy mode the driver takes frames from the ring by
 * itself and drops none, so there frames go in as they come.
 */
#include <errno.h>
#include <poll.h>
#include <sched.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "driver/clock.h"
#include "driver/xdp/endpoint_parts.h"

/* A busy device is asked again at once so many times, then each millisecond. */
#define YIELDS 8

/* Over the MTU: an Ethernet header and one VLAN tag (the kernel's is_skb_forwardable()). */
#define FRAME_OVERHEAD 18

/* Which of the pending frame's descriptors has this address; -1: none. */
static int pending_index(const struct pending_frame *pending, uint64_t addr)
{
	for (uint32_t i = 0; i < pending->count; i++)
		if (pending->descs[i].addr == addr)
			return (int)i;
	return -1;
}

void endpoint_reclaim(struct xsk_endpoint *endpoint)
{
	struct pending_frame *pending = &endpoint->pending;
	uint64_t addrs[ENDPOINT_BATCH];
	uint32_t count;

	while ((count = xsk_complete(endpoint->queues, addrs, ENDPOINT_BATCH)) > 0) {
		for (uint32_t i = 0; i < count; i++) {
			int index = pending->dropped ? pending_index(pending, addrs[i]) : -1;

			if (index >= 0)
				pending->returned |= 1u << index;
			else
				endpoint->free_frames[endpoint->free_count++] = addrs[i];
		}
	}
}

/*
 * Nobody waits for the pending frame any more. What of it has yet to come back is reclaimed like any other.
 */
static void forget_pending(struct xsk_endpoint *endpoint)
{
	struct pending_frame *pending = &endpoint->pending;

	for (uint32_t i = 0; i < pending->count; i++)
		if (pending->returned & 1u << i)
			endpoint->free_frames[endpoint->free_count++] = pending->descs[i].addr;
	memset(pending, 0, sizeof(*pending));
}

/* The eventfd ends the pause, except in close, which has set it itself. */
int endpoint_pause(struct xsk_endpoint *endpoint, int64_t deadline, uint32_t *tries, bool closing)
{
	struct pollfd p = {.fd = closing ? -1 : endpoint->stop_fd, .events = POLLIN};

	if (clock_ms() >= deadline)
		return -ETIMEDOUT;
	if (++*tries <= YIELDS)
		sched_yield();
	else if (poll(&p, 1, 1) < 0)
		return -errno;
	return !closing && endpoint_is_closed(endpoint) ? -ESHUTDOWN : 0;
}

/* A frame that the device drops for ever: longer than what its MTU lets through. */
static bool over_mtu(const struct xsk_endpoint *endpoint, uint32_t size)
{
	struct ifreq ifr = {0};
	int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	bool over = false;

	if (fd < 0)
		return false;
	snprintf(ifr.ifr_name, sizeof(ifr.ifr_name), "%s", endpoint->ifname);
	if (ioctl(fd, SIOCGIFMTU, &ifr) == 0)
		over = size > (uint32_t)ifr.ifr_mtu + FRAME_OVERHEAD;
	close(fd);
	return over;
}

/*
 * One more attempt with the pending frame. Returns 0 when the kernel has it, -EAGAIN to try again, or why
 * not.
 */
static int push_once(struct xsk_endpoint *endpoint)
{
	struct pending_frame *pending = &endpoint->pending;
	int rc;

	if (pending->dropped) {
		endpoint_reclaim(endpoint);
		if (pending->returned != (1u << pending->count) - 1)
			return -EAGAIN;
		xsk_transmit(endpoint->tx, pending->descs, pending->count); /* the ring is empty: it fits */
		pending->dropped = false;
		pending->returned = 0;
		counter_add(&endpoint->tx_retries, 1);
	}
	rc = xsk_wake_tx(endpoint->tx);
	switch (rc) {
	case 0: pending->count = 0; return 0;
	case -EBUSY: pending->dropped = true; return over_mtu(endpoint, pending->size) ? -EMSGSIZE : -EAGAIN;
	case -ENOBUFS:
	case -ENOMEM: return -EAGAIN;
	case -ENXIO: return -ENETDOWN;
	default: return rc;
	}
}

int endpoint_push(struct xsk_endpoint *endpoint, int64_t deadline, bool closing)
{
	uint32_t tries = 0;
	int rc;

	while (endpoint->pending.count) {
		rc = push_once(endpoint);
		if (rc == -EAGAIN)
			rc = endpoint_pause(endpoint, deadline, &tries, closing);
		if (rc < 0)
			return rc;
	}
	return 0;
}

/* Copy a frame into the UMEM and put it on the ring. Returns 0, or -EAGAIN where there is no room. */
static int enqueue(
	struct xsk_endpoint *endpoint, const struct xsk_buffer *buffer, struct pending_frame *frame)
{
	uint32_t room = endpoint->umem->frame_size;
	uint32_t count = (buffer->size + room - 1) / room;
	const uint8_t *from = buffer->data;

	endpoint_reclaim(endpoint);
	if (count > endpoint->free_count || count > xsk_num_free_tx_slots(endpoint->tx))
		return -EAGAIN;
	for (uint32_t i = 0, left = buffer->size; i < count; i++) {
		struct xdp_desc *desc = &frame->descs[i];

		*desc = (struct xdp_desc){
			.addr = xsk_addr_frame(endpoint->umem, endpoint->free_frames[--endpoint->free_count]),
			.len = left < room ? left : room,
			.options = left > room ? XDP_PKT_CONTD : 0,
		};
		memcpy(xsk_data(endpoint->umem, desc), from, desc->len);
		from += desc->len;
		left -= desc->len;
	}
	xsk_transmit(endpoint->tx, frame->descs, count);
	frame->count = count;
	frame->size = buffer->size;
	return 0;
}

/* As enqueue(), but waits for room. */
static int enqueue_waiting(struct xsk_endpoint *endpoint, const struct xsk_buffer *buffer,
	struct pending_frame *frame, int64_t deadline)
{
	uint32_t tries = 0;
	int rc;

	while ((rc = enqueue(endpoint, buffer, frame)) == -EAGAIN) {
		if (xsk_tx_needs_wakeup(endpoint->tx))
			xsk_wake_tx(endpoint->tx);
		rc = endpoint_pause(endpoint, deadline, &tries, false);
		if (rc < 0)
			return rc;
	}
	return rc;
}

static int write_copy_mode(struct xsk_endpoint *endpoint, const struct xsk_buffer *buffer, int64_t deadline)
{
	struct pending_frame *pending = &endpoint->pending;
	int rc = enqueue_waiting(endpoint, buffer, pending, deadline);

	if (rc < 0)
		return rc;
	rc = endpoint_push(endpoint, deadline, false);
	if (rc < 0 && pending->dropped)
		forget_pending(endpoint);
	else
		rc = 0; /* taken, or in the ring, from where the next call sees it off */
	return rc;
}

static int write_zero_copy(struct xsk_endpoint *endpoint, const struct xsk_buffer *buffer, int64_t deadline)
{
	struct pending_frame frame = {0};

	return enqueue_waiting(endpoint, buffer, &frame, deadline);
}

static int write_one(struct xsk_endpoint *endpoint, const struct xsk_buffer *buffer, int64_t deadline)
{
	int rc;

	if (!buffer->size)
		return -EINVAL;
	if (buffer->size > endpoint->max_frame)
		return -EMSGSIZE;
	rc = endpoint->zero_copy ? write_zero_copy(endpoint, buffer, deadline)
				 : write_copy_mode(endpoint, buffer, deadline);
	if (rc < 0)
		return rc;
	counter_add(&endpoint->tx_frames, 1);
	counter_add(&endpoint->tx_bytes, buffer->size);
	return 0;
}

int xsk_endpoint_write_batch(
	struct xsk_endpoint *endpoint, const struct xsk_buffer buffers[], uint32_t count, int timeout_ms)
{
	int64_t deadline = endpoint_deadline(timeout_ms);
	uint32_t done = 0;
	int entered, rc;

	entered = rc = endpoint_enter(endpoint, &endpoint->tx_lock, deadline);
	if (!entered) {
		while (done < count) {
			rc = endpoint_push(
				endpoint, deadline, false); /* what an earlier call left in the ring */
			if (rc == -EMSGSIZE) {
				forget_pending(endpoint); /* the MTU has shrunk since: it can never go */
				rc = 0;
			}
			if (!rc)
				rc = write_one(endpoint, &buffers[done], deadline);
			if (rc < 0)
				break;
			done++;
		}
		if (endpoint->zero_copy && xsk_tx_needs_wakeup(endpoint->tx))
			xsk_wake_tx(endpoint->tx);
	}
	endpoint_leave(endpoint, &endpoint->tx_lock, entered);
	return done ? (int)done : endpoint_timed_out(rc, timeout_ms);
}

int xsk_endpoint_write(struct xsk_endpoint *endpoint, const void *data, uint32_t size, int timeout_ms)
{
	/* Only read from: xsk_buffer serves both directions. */
	struct xsk_buffer buffer = {.data = (void *)(uintptr_t)data, .size = size};
	int rc = xsk_endpoint_write_batch(endpoint, &buffer, 1, timeout_ms);

	return rc > 0 ? 0 : rc;
}
