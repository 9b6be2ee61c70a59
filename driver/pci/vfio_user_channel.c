/*
 * The vfio-user client's end of the socket: commands out, replies in, descriptors along with both.
 *
 * One exchange at a time, under a lock: the server answers in order, and a driver's control path is not worth
 * a pipeline. Register writes are posted, as they are on PCI; a later read flushes them, because the stream
 * keeps its order.
 *
 * The peer is another process and is believed nothing: each reply must echo id and command, be as long as its
 * command's reply can be, and come within a bounded time. When one does not, the stream is out of step and
 * the device counts as gone, which to a driver looks as if the card had been pulled.
 */
#include "driver/pci/vfio_user.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>
#include <sys/socket.h>

#include "driver/clock.h"
#include "driver/error.h"

#define DEFAULT_TIMEOUT_MS 5000
#define MAX_POSTED         64 /* commands that a stuck server can leave unanswered before it is noticed */

/* --- giving up ----------------------------------------------------------------------------------- */

static int lose(struct vfio_user_channel *channel, int error, const char *format, va_list args)
{
	char reason[256];

	vsnprintf(reason, sizeof(reason), format, args);
	__atomic_store_n(&channel->gone, true, __ATOMIC_RELAXED);
	/* Tells the server too, while the descriptor stays valid for other threads until close. */
	shutdown(channel->fd, SHUT_RDWR);
	if (channel->established)
		ixy_log(IXY_LOG_ERROR, "%s: device lost: %s", channel->name, reason);
	return ixy_fail(error, "%s: %s", channel->name, reason);
}

static int __attribute__((format(printf, 3, 4)))
lost(struct vfio_user_channel *channel, int error, const char *format, ...)
{
	va_list args;
	int err;

	va_start(args, format);
	err = lose(channel, error, format, args);
	va_end(args);
	return err;
}

int vfio_user_breach(struct vfio_user_channel *channel, const char *format, ...)
{
	va_list args;
	int err;

	va_start(args, format);
	err = lose(channel, EPROTO, format, args);
	va_end(args);
	return err;
}

static int lost_peer(struct vfio_user_channel *channel)
{
	if (!channel->established)
		return lost(channel, ENODEV, "the peer hung up during the vfio-user handshake");
	return lost(channel, ENODEV, "the process that serves the device has ended");
}

static int lost_patience(struct vfio_user_channel *channel)
{
	if (!channel->established)
		return lost(channel, ETIMEDOUT,
			"no answer within %u ms: the peer is no vfio-user server, or serves another client",
			channel->timeout_ms);
	return lost(channel, ETIMEDOUT, "the process that serves the device did not answer within %u ms",
		channel->timeout_ms);
}

/* --- bytes, within a deadline -------------------------------------------------------------------- */

static int wait_for(struct vfio_user_channel *channel, short events, int64_t deadline)
{
	struct pollfd pollfd = {.fd = channel->fd, .events = events};

	for (;;) {
		int64_t left = deadline - clock_ms();
		int ready = left > 0 ? poll(&pollfd, 1, (int)left) : 0;

		if (ready > 0)
			return 0;
		if (ready == 0)
			return lost_patience(channel);
		if (errno != EINTR)
			return lost(channel, errno, "poll: %s", strerror(errno));
	}
}

union control {
	struct cmsghdr align;
	char space[CMSG_SPACE(VFIO_USER_MAX_MSG_FDS * sizeof(int))];
};

static int send_message(struct vfio_user_channel *channel, const struct vfio_user_header *header,
	const struct vfio_user_request *request, int64_t deadline)
{
	struct iovec parts[2] = {{(void *)(uintptr_t)header, sizeof(*header)},
		{(void *)(uintptr_t)request->data, request->size}};
	struct msghdr message = {.msg_iov = parts, .msg_iovlen = 2};
	size_t left = sizeof(*header) + request->size;
	union control control;

	if (request->fd_count > 0) {
		struct cmsghdr *cmsg = &control.align;

		memset(&control, 0, sizeof(control));
		message.msg_control = &control;
		message.msg_controllen = CMSG_SPACE(request->fd_count * sizeof(int));
		cmsg->cmsg_level = SOL_SOCKET;
		cmsg->cmsg_type = SCM_RIGHTS;
		cmsg->cmsg_len = CMSG_LEN(request->fd_count * sizeof(int));
		memcpy(CMSG_DATA(cmsg), request->fds, request->fd_count * sizeof(int));
	}
	while (left > 0) {
		ssize_t sent = sendmsg(channel->fd, &message, MSG_NOSIGNAL | MSG_DONTWAIT);

		if (sent < 0 && errno == EAGAIN) {
			int err = wait_for(channel, POLLOUT, deadline);

			if (err)
				return err;
			continue;
		}
		if (sent < 0 && errno == EINTR)
			continue;
		if (sent < 0 && (errno == EPIPE || errno == ECONNRESET))
			return lost_peer(channel);
		if (sent < 0)
			return lost(channel, errno, "cannot send: %s", strerror(errno));
		/* What is left goes without the descriptors: they travelled with the first byte. */
		message.msg_control = NULL;
		message.msg_controllen = 0;
		left -= (size_t)sent;
		for (size_t i = 0; i < 2; i++) {
			size_t part = (size_t)sent < parts[i].iov_len ? (size_t)sent : parts[i].iov_len;

			parts[i].iov_base = (uint8_t *)parts[i].iov_base + part;
			parts[i].iov_len -= part;
			sent -= (ssize_t)part;
		}
	}
	return 0;
}

void vfio_user_close_fds(struct vfio_user_reply *reply)
{
	for (uint32_t i = 0; i < reply->fd_count; i++)
		if (reply->fds[i] >= 0)
			close(reply->fds[i]);
	reply->fd_count = 0;
}

/* Every descriptor that the kernel has installed is noted or closed here, whatever else is wrong. */
static void collect_fds(struct msghdr *message, struct vfio_user_reply *reply)
{
	for (struct cmsghdr *cmsg = CMSG_FIRSTHDR(message); cmsg; cmsg = CMSG_NXTHDR(message, cmsg)) {
		if (cmsg->cmsg_level != SOL_SOCKET || cmsg->cmsg_type != SCM_RIGHTS)
			continue;
		size_t count = (cmsg->cmsg_len - CMSG_LEN(0)) / sizeof(int);

		for (size_t i = 0; i < count; i++) {
			int fd;

			memcpy(&fd, CMSG_DATA(cmsg) + i * sizeof(fd), sizeof(fd));
			if (reply->wants_fds && reply->fd_count < VFIO_USER_MAX_MSG_FDS)
				reply->fds[reply->fd_count++] = fd;
			else
				close(fd);
		}
	}
}

static int receive_bytes(struct vfio_user_channel *channel, void *data, size_t size,
	struct vfio_user_reply *reply, int64_t deadline)
{
	size_t done = 0;

	while (done < size) {
		union control control;
		struct iovec part = {(uint8_t *)data + done, size - done};
		struct msghdr message = {.msg_iov = &part,
			.msg_iovlen = 1,
			.msg_control = &control,
			.msg_controllen = sizeof(control)};
		ssize_t got = recvmsg(channel->fd, &message, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);

		if (got < 0 && errno == EAGAIN) {
			int err = wait_for(channel, POLLIN, deadline);

			if (err)
				return err;
			continue;
		}
		if (got < 0 && errno == EINTR)
			continue;
		if (got < 0 && errno != ECONNRESET)
			return lost(channel, errno, "cannot receive: %s", strerror(errno));
		if (got <= 0)
			return lost_peer(channel);
		collect_fds(&message, reply);
		if (message.msg_flags & MSG_CTRUNC)
			return lost(channel, EPROTO, "the peer sent more than %d file descriptors at once",
				VFIO_USER_MAX_MSG_FDS);
		done += (size_t)got;
	}
	return 0;
}

/* --- messages ------------------------------------------------------------------------------------ */

static int breach_of_handshake(struct vfio_user_channel *channel, const char *what)
{
	if (!channel->established)
		return lost(channel, EPROTO, "the peer does not speak the vfio-user protocol (%s)", what);
	return lost(channel, EPROTO, "the peer broke the vfio-user protocol: %s", what);
}

static int receive_reply(struct vfio_user_channel *channel, const struct vfio_user_header *sent,
	struct vfio_user_reply *reply, int64_t deadline)
{
	struct vfio_user_header header;
	size_t payload;
	int err;

	reply->size = 0;
	reply->fd_count = 0;
	err = receive_bytes(channel, &header, sizeof(header), reply, deadline);
	if (err)
		goto fail;
	/*
	 * The server may send commands of its own (DMA_READ, DMA_WRITE) for memory that it cannot map. All of
	 * ours comes with a descriptor, so there is no reason to, and none is served.
	 */
	if ((header.flags & VFIO_USER_TYPE_MASK) != VFIO_USER_TYPE_REPLY) {
		err = breach_of_handshake(channel, "a message that is no reply");
		goto fail;
	}
	if (header.id != sent->id || header.command != sent->command) {
		err = breach_of_handshake(channel, "a reply to something that was not asked");
		goto fail;
	}
	if (header.size < sizeof(header) || header.size > VFIO_USER_MAX_MSG_SIZE) {
		err = breach_of_handshake(channel, "a reply of impossible size");
		goto fail;
	}
	payload = header.size - sizeof(header);
	if (header.flags & VFIO_USER_ERROR) {
		uint8_t ignored[VFIO_USER_MAX_PAYLOAD];

		err = receive_bytes(channel, ignored, payload, reply, deadline);
		if (!err && header.error > 0 && header.error < 4096)
			err = ixy_fail((int)header.error, "%s: the server answers: %s", channel->name,
				strerror((int)header.error));
		else if (!err)
			err = ixy_fail(
				EIO, "%s: the server answers with error %u", channel->name, header.error);
		goto fail;
	}
	if (payload < reply->min || payload > reply->capacity) {
		err = breach_of_handshake(channel, "a reply of the wrong size");
		goto fail;
	}
	err = receive_bytes(channel, reply->data, payload, reply, deadline);
	if (err)
		goto fail;
	reply->size = payload;
	return 0;

fail:
	vfio_user_close_fds(reply);
	return err;
}

static int exchange(struct vfio_user_channel *channel, const struct vfio_user_request *request,
	struct vfio_user_reply *reply)
{
	struct vfio_user_header header = {
		.id = channel->next_id++,
		.command = request->command,
		.size = (uint32_t)(sizeof(header) + request->size),
		.flags = VFIO_USER_TYPE_COMMAND | (reply ? 0 : VFIO_USER_NO_REPLY),
	};
	int64_t deadline = clock_ms() + channel->timeout_ms;
	int err;

	if (vfio_user_gone(channel))
		return ixy_fail(ENODEV, "%s: the device is gone", channel->name);
	err = send_message(channel, &header, request, deadline);
	if (err)
		return err;
	channel->posted = reply ? 0 : channel->posted + 1;
	return reply ? receive_reply(channel, &header, reply, deadline) : 0;
}

int vfio_user_call(struct vfio_user_channel *channel, const struct vfio_user_request *request,
	struct vfio_user_reply *reply)
{
	int err;

	reply->fd_count = 0;
	reply->size = 0;
	pthread_mutex_lock(&channel->lock);
	err = exchange(channel, request, reply);
	pthread_mutex_unlock(&channel->lock);
	return err;
}

int vfio_user_post(struct vfio_user_channel *channel, const struct vfio_user_request *request)
{
	uint8_t ignored[VFIO_USER_MAX_PAYLOAD];
	struct vfio_user_reply reply = {.data = ignored, .capacity = sizeof(ignored)};
	int err;

	pthread_mutex_lock(&channel->lock);
	err = exchange(channel, request, channel->posted < MAX_POSTED ? NULL : &reply);
	pthread_mutex_unlock(&channel->lock);
	return err;
}

/* --- life ---------------------------------------------------------------------------------------- */

int vfio_user_channel_open(struct vfio_user_channel *channel, int fd, const char *name, unsigned timeout_ms)
{
	int err = pthread_mutex_init(&channel->lock, NULL);

	if (err) {
		close(fd);
		return ixy_fail(err, "%s: mutex: %s", name, strerror(err));
	}
	channel->fd = fd;
	channel->name = name;
	channel->timeout_ms = timeout_ms ? timeout_ms : DEFAULT_TIMEOUT_MS;
	channel->max_fds = 1; /* until the peer says otherwise, as the specification has it */
	return 0;
}

void vfio_user_channel_close(struct vfio_user_channel *channel)
{
	close(channel->fd);
	pthread_mutex_destroy(&channel->lock);
}
