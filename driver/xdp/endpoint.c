/*
 * The blocking endpoint: a UMEM, two sockets on one queue, and the copying in and out.
 *
 * Why two sockets. In copy mode the kernel sends inside sendto(), and tells of a frame that the driver
 * dropped by EBUSY. poll() on a socket with a TX ring sends too, but keeps that answer to itself: a reader
 * that waits would take the writer's frames along and their losses would go unseen. So one socket only
 * receives and the other only sends; they share the queue's fill and completion ring, of which the reader
 * has one and the writer the other.
 *
 * Why one frame at a time. EBUSY says that one frame was dropped, not which. So in copy mode a writer puts
 * one frame into the ring (`pending`), calls sendto(), and knows from the answer what became of it:
 *
 *	0                  taken: written
 *	EBUSY              dropped: when its memory has come back by the completion ring, the same frame goes again
 *	EAGAIN, ENOBUFS    still in the ring: call again
 *	ENETDOWN           still in the ring, for as long as the interface is down
 *
 * A frame that is in the ring when the writer's time is over cannot be taken back. It counts as written, and
 * the next call, or close, first sees it off. In zero-copy mode the driver takes frames from the ring by
 * itself and drops none, so there frames go in as they come.
 */
#include "driver/xdp/endpoint.h"

#include <errno.h>
#include <net/if.h>
#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <time.h>
#include <unistd.h>

#include "driver/error.h"
#include "driver/xdp/xsk_parts.h"

#define BATCH 64 /* descriptors looked at a time; at least XSK_MAX_SEGMENTS */
#define SLICE_MS \
	500 /* a wait is cut into these: the kernel does not tell a poll that its interface has gone */
#define CLOSE_MS 1000
#define YIELDS   8 /* a busy device is asked again at once so many times, then each millisecond */
#define FRAME_OVERHEAD \
	18 /* Ethernet header and one VLAN tag, over the MTU (the kernel's is_skb_forwardable()) */

/* The frame of which the kernel has yet to say what became of it. Copy mode only. */
struct pending_frame {
	struct xdp_desc descs[XSK_MAX_SEGMENTS];
	uint32_t count;    /* 0: there is none */
	uint32_t size;     /* bytes */
	uint32_t returned; /* bit i: descs[i] has come back from the completion ring */
	bool dropped;      /* by the driver; else it is in the TX ring */
};

struct xsk_endpoint {
	struct xsk_umem *umem;
	struct xsk_socket *rx, *tx;
	struct xsk_queues *queues;
	struct xsk_program *program;
	bool own_program;
	bool zero_copy;
	uint32_t max_frame;
	char ifname[IF_NAMESIZE];

	/* Who is inside, so that close can wait for them. */
	pthread_mutex_t gate;
	pthread_cond_t empty;
	uint32_t inside;
	int closed;  /* atomic */
	int stop_fd; /* an eventfd, readable from shutdown on */

	/* The reader's side: descriptors taken from the RX ring and not yet read, frames to give back. */
	pthread_mutex_t rx_lock;
	struct xdp_desc received[BATCH];
	uint32_t received_at, received_count;
	uint64_t used[BATCH];
	uint32_t used_count;
	uint64_t rx_frames, rx_bytes;

	/* The writer's side. */
	pthread_mutex_t tx_lock;
	uint64_t *free_frames;
	uint32_t free_count;
	struct pending_frame pending;
	uint64_t tx_frames, tx_bytes, tx_retries;
};

/* --- time, and who is inside ---------------------------------------------------------------------------- */

#define FOR_EVER INT64_MAX

static int64_t now_ms(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

static int64_t deadline_in(int timeout_ms)
{
	return timeout_ms < 0 ? FOR_EVER : now_ms() + timeout_ms;
}

static bool is_closed(const struct xsk_endpoint *endpoint)
{
	return __atomic_load_n(&endpoint->closed, __ATOMIC_ACQUIRE);
}

static void enter(struct xsk_endpoint *endpoint)
{
	pthread_mutex_lock(&endpoint->gate);
	endpoint->inside++;
	pthread_mutex_unlock(&endpoint->gate);
}

static void leave(struct xsk_endpoint *endpoint)
{
	pthread_mutex_lock(&endpoint->gate);
	if (--endpoint->inside == 0)
		pthread_cond_signal(&endpoint->empty);
	pthread_mutex_unlock(&endpoint->gate);
}

/* One reader and one writer at a time; the others wait here, no longer than they have time. */
static int lock_side(struct xsk_endpoint *endpoint, pthread_mutex_t *side, int64_t deadline)
{
	struct timespec until = {.tv_sec = deadline / 1000, .tv_nsec = deadline % 1000 * 1000000};
	int rc = deadline == FOR_EVER ? pthread_mutex_lock(side)
				      : pthread_mutex_clocklock(side, CLOCK_MONOTONIC, &until);

	if (rc)
		return -rc;
	if (!is_closed(endpoint))
		return 0;
	pthread_mutex_unlock(side);
	return -ESHUTDOWN;
}

/* Time over is EAGAIN for who did not want to wait. */
static int timed_out(int rc, int timeout_ms)
{
	return rc == -ETIMEDOUT && !timeout_ms ? -EAGAIN : rc;
}

/* --- reading -------------------------------------------------------------------------------------------- */

static int wait_readable(struct xsk_endpoint *endpoint, int64_t deadline)
{
	for (;;) {
		struct pollfd fds[] = {
			{.fd = xsk_socket_fd(endpoint->rx), .events = POLLIN},
			{.fd = endpoint->stop_fd, .events = POLLIN},
		};
		int64_t left = deadline == FOR_EVER ? SLICE_MS : deadline - now_ms();
		int rc = poll(fds, 2, left < 0 ? 0 : left < SLICE_MS ? (int)left : SLICE_MS);

		if (rc < 0)
			return -errno;
		if (fds[1].revents)
			return -ESHUTDOWN;
		if (fds[0].revents & POLLIN)
			return 0;
		/* Wakes up a driver that wants it, and says whether there is still an interface. */
		rc = xsk_wake_rx(endpoint->rx);
		if (rc == -ENETDOWN || rc == -ENXIO)
			return -ENETDOWN;
		if (left <= SLICE_MS && now_ms() >= deadline)
			return -ETIMEDOUT;
	}
}

static void give_back(struct xsk_endpoint *endpoint)
{
	if (!endpoint->used_count)
		return;
	/* The ring has room for all frames there are on this side. */
	xsk_fill_and_wake(endpoint->rx, endpoint->used, endpoint->used_count);
	endpoint->used_count = 0;
}

/* Descriptors of the next frame, at received[received_at]; 0 if there is none. */
static uint32_t next_frame(struct xsk_endpoint *endpoint, uint32_t *size)
{
	if (endpoint->received_at == endpoint->received_count) {
		endpoint->received_at = 0;
		endpoint->received_count = xsk_receive(endpoint->rx, endpoint->received, BATCH);
	}
	*size = 0;
	for (uint32_t i = endpoint->received_at; i < endpoint->received_count; i++) {
		*size += endpoint->received[i].len;
		if (!(endpoint->received[i].options & XDP_PKT_CONTD))
			return i + 1 - endpoint->received_at;
	}
	/* The kernel delivers whole frames only: what is left here without an end is none. */
	return endpoint->received_count - endpoint->received_at;
}

/* Copy the next frame out. Returns 1, 0 if there is none, or -EMSGSIZE. */
static int take_frame(struct xsk_endpoint *endpoint, struct xsk_buffer *buffer)
{
	uint32_t size, segments = next_frame(endpoint, &size);
	uint8_t *to = buffer->data;

	if (!segments)
		return 0;
	if (size > buffer->size)
		return -EMSGSIZE;
	if (endpoint->used_count + segments > BATCH)
		give_back(endpoint);
	for (uint32_t i = 0; i < segments; i++) {
		const struct xdp_desc *desc = &endpoint->received[endpoint->received_at++];

		memcpy(to, xsk_data(endpoint->umem, desc), desc->len);
		to += desc->len;
		endpoint->used[endpoint->used_count++] = desc->addr;
	}
	buffer->length = size;
	counter_add(&endpoint->rx_frames, 1);
	counter_add(&endpoint->rx_bytes, size);
	return 1;
}

int xsk_endpoint_read_batch(
	struct xsk_endpoint *endpoint, struct xsk_buffer buffers[], uint32_t count, int timeout_ms)
{
	int64_t deadline = deadline_in(timeout_ms);
	uint32_t done = 0;
	int rc;

	enter(endpoint);
	rc = lock_side(endpoint, &endpoint->rx_lock, deadline);
	if (!rc) {
		while (done < count) {
			rc = take_frame(endpoint, &buffers[done]);
			if (rc > 0)
				done++;
			else if (rc < 0 || done || (rc = wait_readable(endpoint, deadline)) < 0)
				break;
		}
		give_back(endpoint);
		pthread_mutex_unlock(&endpoint->rx_lock);
	}
	leave(endpoint);
	return done ? (int)done : timed_out(rc, timeout_ms);
}

int xsk_endpoint_read(struct xsk_endpoint *endpoint, void *data, uint32_t size, int timeout_ms)
{
	struct xsk_buffer buffer = {.data = data, .size = size};
	int rc = xsk_endpoint_read_batch(endpoint, &buffer, 1, timeout_ms);

	return rc > 0 ? (int)buffer.length : rc;
}

/* --- writing -------------------------------------------------------------------------------------------- */

/* Which of the pending frame's descriptors has this address; -1: none. */
static int pending_index(const struct pending_frame *pending, uint64_t addr)
{
	for (uint32_t i = 0; i < pending->count; i++)
		if (pending->descs[i].addr == addr)
			return (int)i;
	return -1;
}

/* Sent frames are free again; but those of a frame that was dropped are kept for its next attempt. */
static void reclaim(struct xsk_endpoint *endpoint)
{
	struct pending_frame *pending = &endpoint->pending;
	uint64_t addrs[BATCH];
	uint32_t count;

	while ((count = xsk_complete(endpoint->queues, addrs, BATCH)) > 0) {
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

/* Before asking a busy device again. The eventfd ends the pause, except in close, which has set it itself. */
static int pause_writer(struct xsk_endpoint *endpoint, int64_t deadline, uint32_t *tries, bool closing)
{
	struct pollfd p = {.fd = closing ? -1 : endpoint->stop_fd, .events = POLLIN};

	if (now_ms() >= deadline)
		return -ETIMEDOUT;
	if (++*tries <= YIELDS)
		sched_yield();
	else if (poll(&p, 1, 1) < 0)
		return -errno;
	return !closing && is_closed(endpoint) ? -ESHUTDOWN : 0;
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
		reclaim(endpoint);
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

/* Until the pending frame is with the driver. */
static int push(struct xsk_endpoint *endpoint, int64_t deadline, bool closing)
{
	uint32_t tries = 0;
	int rc;

	while (endpoint->pending.count) {
		rc = push_once(endpoint);
		if (rc == -EAGAIN)
			rc = pause_writer(endpoint, deadline, &tries, closing);
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

	reclaim(endpoint);
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
		rc = pause_writer(endpoint, deadline, &tries, false);
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
	rc = push(endpoint, deadline, false);
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
	int64_t deadline = deadline_in(timeout_ms);
	uint32_t done = 0;
	int rc;

	enter(endpoint);
	rc = lock_side(endpoint, &endpoint->tx_lock, deadline);
	if (!rc) {
		while (done < count) {
			rc = push(endpoint, deadline, false); /* what an earlier call left in the ring */
			if (!rc)
				rc = write_one(endpoint, &buffers[done], deadline);
			if (rc < 0)
				break;
			done++;
		}
		if (endpoint->zero_copy && xsk_tx_needs_wakeup(endpoint->tx))
			xsk_wake_tx(endpoint->tx);
		pthread_mutex_unlock(&endpoint->tx_lock);
	}
	leave(endpoint);
	return done ? (int)done : timed_out(rc, timeout_ms);
}

int xsk_endpoint_write(struct xsk_endpoint *endpoint, const void *data, uint32_t size, int timeout_ms)
{
	/* Only read from: xsk_buffer serves both directions. */
	struct xsk_buffer buffer = {.data = (void *)(uintptr_t)data, .size = size};
	int rc = xsk_endpoint_write_batch(endpoint, &buffer, 1, timeout_ms);

	return rc > 0 ? 0 : rc;
}

/* --- open, close ---------------------------------------------------------------------------------------- */

static int open_program(struct xsk_endpoint *endpoint, const struct xsk_endpoint_config *config, bool frags)
{
	static const enum xsk_attach attach[] = {
		[XSK_MODE_AUTO] = XSK_ATTACH_AUTO,
		[XSK_MODE_ZERO_COPY] = XSK_ATTACH_NATIVE,
		[XSK_MODE_NATIVE] = XSK_ATTACH_NATIVE,
		[XSK_MODE_GENERIC] = XSK_ATTACH_GENERIC,
	};
	int rc;

	endpoint->program = config->program;
	if (endpoint->program)
		return 0;
	rc = xsk_program_load(&(struct xsk_program_config){.queues = config->queue_id + 1, .frags = frags},
		&endpoint->program);
	if (rc < 0)
		return rc;
	endpoint->own_program = true;
	return xsk_program_attach(endpoint->program, config->ifname, attach[config->mode]);
}

static int open_sockets(struct xsk_endpoint *endpoint, const struct xsk_endpoint_config *config, bool frags)
{
	uint32_t frames = config->frames ? config->frames : XSK_DEFAULT_FRAMES;
	uint32_t ring = 1;
	struct xsk_umem_config umem = {.frame_size = config->frame_size, .frames = frames};
	struct xsk_socket_config socket = {
		.ifname = config->ifname,
		.queue_id = config->queue_id,
		.mode = config->mode,
		.flags = XSK_RX_ONLY | (frags ? XSK_MULTI_BUFFER : 0),
	};
	int rc;

	/* Rings that hold all frames never overflow: what is lost, the kernel counts as "fill ring empty". */
	while (ring < frames)
		ring *= 2;
	umem.fill_size = umem.completion_size = socket.rx_size = socket.tx_size = ring;
	/* Zero copy needs a program in the driver. */
	if (socket.mode == XSK_MODE_AUTO && xsk_program_mode(endpoint->program) == XSK_ATTACH_GENERIC)
		socket.mode = XSK_MODE_GENERIC;
	rc = xsk_umem_create(&umem, &endpoint->umem);
	if (!rc)
		rc = xsk_socket_open(endpoint->umem, &socket, &endpoint->rx);
	if (rc < 0)
		return rc;
	socket.flags ^= XSK_RX_ONLY | XSK_TX_ONLY;
	rc = xsk_socket_open(endpoint->umem, &socket, &endpoint->tx);
	if (rc < 0)
		return rc;
	endpoint->queues = xsk_socket_queues(endpoint->rx);
	endpoint->zero_copy = xsk_socket_zero_copy(endpoint->rx);
	endpoint->max_frame = xsk_umem_data_size(endpoint->umem) * (frags ? XSK_MAX_SEGMENTS : 1);
	return xsk_program_register(endpoint->program, config->queue_id, xsk_socket_fd(endpoint->rx));
}

static int share_out_frames(struct xsk_endpoint *endpoint)
{
	uint32_t frames = endpoint->umem->frames, receive = frames / 2;
	uint64_t *addrs = calloc(frames, sizeof(*addrs));

	if (!addrs)
		return ixy_fail(ENOMEM, "endpoint: out of memory");
	endpoint->free_frames = addrs;
	xsk_frame_alloc_batch(endpoint->umem, addrs, receive);
	xsk_fill_and_wake(endpoint->rx, addrs, receive);
	endpoint->free_count = xsk_frame_alloc_batch(endpoint->umem, addrs, frames - receive);
	return 0;
}

static void release(struct xsk_endpoint *endpoint)
{
	if (endpoint->program && endpoint->rx)
		xsk_program_unregister(endpoint->program, xsk_socket_queue_id(endpoint->rx));
	xsk_socket_close(endpoint->tx);
	xsk_socket_close(endpoint->rx);
	if (endpoint->own_program)
		xsk_program_free(endpoint->program);
	xsk_umem_free(endpoint->umem);
	if (endpoint->stop_fd >= 0)
		close(endpoint->stop_fd);
	pthread_cond_destroy(&endpoint->empty);
	pthread_mutex_destroy(&endpoint->gate);
	pthread_mutex_destroy(&endpoint->rx_lock);
	pthread_mutex_destroy(&endpoint->tx_lock);
	free(endpoint->free_frames);
	free(endpoint);
}

int xsk_endpoint_open(const struct xsk_endpoint_config *config, struct xsk_endpoint **result)
{
	struct xsk_endpoint *endpoint;
	struct xsk_features features;
	struct ixy_error error;
	bool frags;
	int rc;

	if (!config->ifname || strlen(config->ifname) >= IF_NAMESIZE)
		return ixy_fail(ENODEV, "no interface %s", config->ifname ? config->ifname : "(no name)");
	if ((unsigned)config->mode > XSK_MODE_GENERIC)
		return ixy_fail(EINVAL, "endpoint: no mode %d", (int)config->mode);
	rc = xsk_probe(&features);
	if (rc < 0)
		return rc;
	frags = config->multi_buffer && features.multi_buffer;

	endpoint = calloc(1, sizeof(*endpoint));
	if (!endpoint)
		return ixy_fail(ENOMEM, "endpoint: out of memory");
	snprintf(endpoint->ifname, sizeof(endpoint->ifname), "%s", config->ifname);
	pthread_mutex_init(&endpoint->gate, NULL);
	pthread_cond_init(&endpoint->empty, NULL);
	pthread_mutex_init(&endpoint->rx_lock, NULL);
	pthread_mutex_init(&endpoint->tx_lock, NULL);
	endpoint->stop_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (endpoint->stop_fd < 0)
		rc = ixy_fail(errno, "endpoint: eventfd: %s", strerror(errno));
	if (!rc)
		rc = open_program(endpoint, config, frags);
	if (!rc)
		rc = open_sockets(endpoint, config, frags);
	if (!rc)
		rc = share_out_frames(endpoint);
	if (rc < 0) {
		ixy_error_save(&error);
		release(endpoint);
		ixy_error_restore(&error);
		return rc;
	}
	*result = endpoint;
	return 0;
}

void xsk_endpoint_shutdown(struct xsk_endpoint *endpoint)
{
	uint64_t one = 1;
	int saved = errno;

	__atomic_store_n(&endpoint->closed, 1, __ATOMIC_RELEASE);
	if (write(endpoint->stop_fd, &one, sizeof(one)) < 0)
		errno = saved; /* full: it is readable already */
}

int xsk_endpoint_close(struct xsk_endpoint *endpoint)
{
	int64_t deadline = now_ms() + CLOSE_MS;
	uint32_t lost, tries = 0;

	if (!endpoint)
		return 0;
	xsk_endpoint_shutdown(endpoint);
	pthread_mutex_lock(&endpoint->gate);
	while (endpoint->inside)
		pthread_cond_wait(&endpoint->empty, &endpoint->gate);
	pthread_mutex_unlock(&endpoint->gate);

	push(endpoint, deadline, true);
	lost = endpoint->pending.count ? 1 : 0;
	/* In zero-copy mode the driver sends from our memory; in copy mode it has a copy. */
	if (endpoint->zero_copy) {
		while (reclaim(endpoint), (lost = xsk_num_transmitted(endpoint->queues)) > 0 &&
						  pause_writer(endpoint, deadline, &tries, true) == 0) {
			if (xsk_tx_needs_wakeup(endpoint->tx))
				xsk_wake_tx(endpoint->tx);
		}
	}
	release(endpoint);
	return (int)lost;
}

/* --- what it is ----------------------------------------------------------------------------------------- */

uint32_t xsk_endpoint_max_frame(const struct xsk_endpoint *endpoint)
{
	return endpoint->max_frame;
}

enum xsk_mode xsk_endpoint_mode(const struct xsk_endpoint *endpoint)
{
	if (endpoint->zero_copy)
		return XSK_MODE_ZERO_COPY;
	return xsk_program_mode(endpoint->program) == XSK_ATTACH_GENERIC ? XSK_MODE_GENERIC : XSK_MODE_NATIVE;
}

int xsk_endpoint_fd(const struct xsk_endpoint *endpoint)
{
	return xsk_socket_fd(endpoint->rx);
}

int xsk_endpoint_statistics(struct xsk_endpoint *endpoint, struct xsk_endpoint_statistics *statistics)
{
	*statistics = (struct xsk_endpoint_statistics){
		.rx_frames = counter_read(&endpoint->rx_frames),
		.rx_bytes = counter_read(&endpoint->rx_bytes),
		.tx_frames = counter_read(&endpoint->tx_frames),
		.tx_bytes = counter_read(&endpoint->tx_bytes),
		.tx_retries = counter_read(&endpoint->tx_retries),
	};
	return xsk_socket_statistics(endpoint->rx, &statistics->kernel);
}
