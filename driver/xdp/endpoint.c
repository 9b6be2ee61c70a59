/*
 * The blocking endpoint: a UMEM, two sockets on one queue, and the copying in and out.
 *
 * Why two sockets. In copy mode the kernel sends inside sendto(), and tells of a frame that the driver
 * dropped by EBUSY. poll() on a socket with a TX ring sends too, but keeps that answer to itself: a reader
 * that waits would take the writer's frames along and their losses would go unseen. So one socket only
 * receives and the other only sends; they share the queue's fill and completion ring, of which the reader
 * has one and the writer the other.
 */
#include <errno.h>
#include <net/if.h>
#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "driver/clock.h"
#include "driver/error.h"
#include "driver/xdp/endpoint_parts.h"

/* A wait is cut into these: the kernel does not tell a poll that its interface has gone. */
#define SLICE_MS 500
#define CLOSE_MS 1000

#define MAX_FRAMES (1u << 24) /* 32 GiB and more; their rings' sizes are powers of two of 32 bits */

/* --- time, and who is inside ---------------------------------------------------------------------------- */

int64_t endpoint_deadline(int timeout_ms)
{
	return timeout_ms < 0 ? ENDPOINT_FOR_EVER : clock_ms() + timeout_ms;
}

int endpoint_timed_out(int rc, int timeout_ms)
{
	return rc == -ETIMEDOUT && !timeout_ms ? -EAGAIN : rc;
}

int endpoint_enter(struct xsk_endpoint *endpoint, pthread_mutex_t *side, int64_t deadline)
{
	struct timespec until = {.tv_sec = deadline / 1000, .tv_nsec = deadline % 1000 * 1000000};
	int rc;

	pthread_mutex_lock(&endpoint->gate);
	endpoint->inside++;
	pthread_mutex_unlock(&endpoint->gate);

	rc = deadline == ENDPOINT_FOR_EVER ? pthread_mutex_lock(side)
					   : pthread_mutex_clocklock(side, CLOCK_MONOTONIC, &until);
	if (rc)
		return -rc;
	if (!endpoint_is_closed(endpoint))
		return 0;
	pthread_mutex_unlock(side);
	return -ESHUTDOWN;
}

void endpoint_leave(struct xsk_endpoint *endpoint, pthread_mutex_t *side, int entered)
{
	if (!entered)
		pthread_mutex_unlock(side);
	pthread_mutex_lock(&endpoint->gate);
	if (--endpoint->inside == 0)
		pthread_cond_signal(&endpoint->empty);
	pthread_mutex_unlock(&endpoint->gate);
}

/* --- reading -------------------------------------------------------------------------------------------- */

static int wait_readable(struct xsk_endpoint *endpoint, int64_t deadline)
{
	for (;;) {
		struct pollfd fds[] = {
			{.fd = xsk_socket_fd(endpoint->rx), .events = POLLIN},
			{.fd = endpoint->stop_fd, .events = POLLIN},
		};
		int64_t left = deadline == ENDPOINT_FOR_EVER ? SLICE_MS : deadline - clock_ms();
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
		if (left <= SLICE_MS && clock_ms() >= deadline)
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

/*
 * Take the next frame's descriptors to received[], unless they are there already. No more than that one's: what stays
 * in the RX ring keeps the descriptor that the user may poll readable. False if there is no frame.
 */
static bool next_frame(struct xsk_endpoint *endpoint)
{
	uint32_t *count = &endpoint->received_count;

	while (!*count || endpoint->received[*count - 1].options & XDP_PKT_CONTD) {
		/* The kernel delivers whole frames only, and none longer: what has no end ends here. */
		if (*count == XSK_MAX_SEGMENTS || !xsk_receive_one(endpoint->rx, &endpoint->received[*count]))
			break;
		++*count;
	}
	return *count;
}

/* Copy the next frame out. Returns 1, 0 if there is none, or -EMSGSIZE. */
static int take_frame(struct xsk_endpoint *endpoint, struct xsk_buffer *buffer)
{
	uint8_t *to = buffer->data;
	uint32_t size = 0;

	if (!next_frame(endpoint))
		return 0;
	for (uint32_t i = 0; i < endpoint->received_count; i++)
		size += endpoint->received[i].len;
	if (size > buffer->size)
		return -EMSGSIZE;
	if (endpoint->used_count + endpoint->received_count > ENDPOINT_BATCH)
		give_back(endpoint);
	for (uint32_t i = 0; i < endpoint->received_count; i++) {
		const struct xdp_desc *desc = &endpoint->received[i];

		memcpy(to, xsk_data(endpoint->umem, desc), desc->len);
		to += desc->len;
		endpoint->used[endpoint->used_count++] = desc->addr;
	}
	endpoint->received_count = 0;
	buffer->length = size;
	counter_add(&endpoint->rx_frames, 1);
	counter_add(&endpoint->rx_bytes, size);
	return 1;
}

int xsk_endpoint_read_batch(
	struct xsk_endpoint *endpoint, struct xsk_buffer buffers[], uint32_t count, int timeout_ms)
{
	int64_t deadline = endpoint_deadline(timeout_ms);
	uint32_t done = 0;
	int entered, rc;

	entered = rc = endpoint_enter(endpoint, &endpoint->rx_lock, deadline);
	if (!entered) {
		while (done < count) {
			rc = take_frame(endpoint, &buffers[done]);
			if (rc > 0)
				done++;
			else if (rc < 0 || done || (rc = wait_readable(endpoint, deadline)) < 0)
				break;
		}
		give_back(endpoint);
	}
	endpoint_leave(endpoint, &endpoint->rx_lock, entered);
	return done ? (int)done : endpoint_timed_out(rc, timeout_ms);
}

int xsk_endpoint_read(struct xsk_endpoint *endpoint, void *data, uint32_t size, int timeout_ms)
{
	struct xsk_buffer buffer = {.data = data, .size = size};
	int rc = xsk_endpoint_read_batch(endpoint, &buffer, 1, timeout_ms);

	return rc > 0 ? (int)buffer.length : rc;
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
	if (config->frames == 1)
		return ixy_fail(EINVAL, "endpoint: one frame is too few, each direction needs some");
	if (config->frames > MAX_FRAMES)
		return ixy_fail(EINVAL, "endpoint: %u frames, at most %u", config->frames, MAX_FRAMES);
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
	int64_t deadline = clock_ms() + CLOSE_MS;
	uint32_t lost, tries = 0;

	if (!endpoint)
		return 0;
	xsk_endpoint_shutdown(endpoint);
	pthread_mutex_lock(&endpoint->gate);
	while (endpoint->inside)
		pthread_cond_wait(&endpoint->empty, &endpoint->gate);
	pthread_mutex_unlock(&endpoint->gate);

	endpoint_push(endpoint, deadline, true);
	lost = endpoint->pending.count ? 1 : 0;
	/* In zero-copy mode the driver sends from our memory; in copy mode it has a copy. */
	if (endpoint->zero_copy) {
		while (endpoint_reclaim(endpoint),
			(lost = xsk_num_transmitted(endpoint->queues)) > 0 &&
				endpoint_pause(endpoint, deadline, &tries, true) == 0) {
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
