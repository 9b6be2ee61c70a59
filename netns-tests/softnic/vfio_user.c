/*
 * The socket side of the vfio-user server.
 *
 * Messages are read exactly: first the 16 bytes of the header, then what the header says. The kernel never
 * hands out descriptors beyond those bytes, so each SCM_RIGHTS array is known to belong to the message being
 * read. Nothing is queued: one command is read, executed and answered, then the next one is read. If the
 * answer does not fit into the socket, the client does not read its replies; then no further command is taken
 * until it does, and a client that makes no progress for a few seconds is disconnected. So a client can
 * neither block the process nor make it hoard memory.
 *
 * Whatever is wrong with a message's frame (size, type, number of descriptors) ends the connection, because
 * the stream cannot be trusted any further; what is wrong with its content is answered with an error.
 */
#include "vfio_user.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include "log.h"
#include "unix_listen.h"

#define COMMANDS_A_TURN 64   /* then frames get their turn */
#define STALL_SECONDS   5.0  /* how long a client may leave its replies unread */
#define ACCEPT_RETRY    0.25 /* seconds, when descriptors or memory ran out */

/* --- doorbells ----------------------------------------------------------------------------------------------- */

static void on_doorbell(struct ev_loop *loop, struct ev_io *watcher, int events)
{
	(void)loop;
	(void)events;
	/* Only to wake the loop, which then looks at the tails: what was written does not matter. */
	int result = event_clear(watcher->fd);
	if (result < 0 && result != -EAGAIN)
		softnic_error("doorbell: %s", strerror(-result));
}

static void close_doorbell(struct vfio_server *server)
{
	if (server->doorbell_fd < 0)
		return;
	ev_io_stop(server->loop, &server->doorbell_watcher);
	close(server->doorbell_fd);
	server->doorbell_fd = -1;
}

/* Another eventfd for the next client: who had the last one could go on waking us. 0 or a negative errno. */
static int renew_doorbell(struct vfio_server *server)
{
	int fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
	if (fd < 0)
		return -errno;
	close_doorbell(server);
	server->doorbell_fd = fd;
	ev_io_init(&server->doorbell_watcher, on_doorbell, fd, EV_READ);
	ev_io_start(server->loop, &server->doorbell_watcher);
	return 0;
}

/* --- the connection ------------------------------------------------------------------------------------------ */

static void close_received_fds(struct vfio_server *server)
{
	for (unsigned i = 0; i < server->in_fd_count; i++)
		if (server->in_fds[i] >= 0)
			close(server->in_fds[i]);
	server->in_fd_count = 0;
}

static void disconnect(struct vfio_server *server)
{
	ev_io_stop(server->loop, &server->watcher);
	ev_timer_stop(server->loop, &server->stalled);
	close_received_fds(server);
	vfio_server_wake(server);
	server->nic->frontend = (struct nic_frontend){0};
	nic_client_gone(server->nic);
	vfio_server_irqs_reset(server);
	int err = server->doorbells_given ? renew_doorbell(server) : 0;
	if (err)
		softnic_error("%s: the last client may still ring: %s", server->name, strerror(-err));
	close(server->fd);
	server->fd = -1;
	if (server->listen_fd < 0)
		server->hung_up = true;
}

static void on_socket(struct ev_loop *loop, struct ev_io *watcher, int events);

static void connected(struct vfio_server *server, int fd)
{
	server->fd = fd;
	server->closing = false;
	server->negotiated = server->shadow_wakeup = server->doorbells_given = false;
	server->in_size = server->out_size = server->out_sent = 0;
	server->in_fd_count = server->out_fd_count = 0;
	server->nic->frontend = (struct nic_frontend){
		.raise = vfio_server_raise,
		.was_reset = vfio_server_was_reset,
		.context = server,
	};
	ev_io_init(&server->watcher, on_socket, fd, EV_READ);
	server->watcher.data = server;
	ev_io_start(server->loop, &server->watcher);
}

/* Keep the descriptors that came with some bytes. False: more than a message may have. */
static bool take_fds(struct vfio_server *server, struct msghdr *msg)
{
	bool fit = !(msg->msg_flags & MSG_CTRUNC);
	for (struct cmsghdr *cmsg = CMSG_FIRSTHDR(msg); cmsg; cmsg = CMSG_NXTHDR(msg, cmsg)) {
		if (cmsg->cmsg_level != SOL_SOCKET || cmsg->cmsg_type != SCM_RIGHTS)
			continue;
		size_t count = (cmsg->cmsg_len - CMSG_LEN(0)) / sizeof(int);
		for (size_t i = 0; i < count; i++) {
			int fd;
			memcpy(&fd, CMSG_DATA(cmsg) + i * sizeof fd, sizeof fd);
			if (server->in_fd_count < VFIO_USER_MAX_MSG_FDS) {
				server->in_fds[server->in_fd_count++] = fd;
			} else {
				close(fd);
				fit = false;
			}
		}
	}
	return fit;
}

/* Read up to size bytes more of the command. Bytes read; 0: not now; -1: connection over, reason printed. */
static ssize_t receive(struct vfio_server *server, size_t size)
{
	union {
		char bytes[CMSG_SPACE(VFIO_USER_MAX_MSG_FDS * sizeof(int))];
		struct cmsghdr align;
	} control;
	struct iovec iov = {.iov_base = server->in.bytes + server->in_size, .iov_len = size};
	struct msghdr msg = {
		.msg_iov = &iov,
		.msg_iovlen = 1,
		.msg_control = control.bytes,
		.msg_controllen = sizeof control.bytes,
	};
	ssize_t got = recvmsg(server->fd, &msg, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
	if (got < 0) {
		if (errno == EAGAIN || errno == EINTR)
			return 0;
		softnic_info("%s: client lost: %s", server->name, strerror(errno));
		return -1;
	}
	if (!take_fds(server, &msg)) {
		softnic_error("%s: client sent more than %d descriptors in a message: disconnected",
			server->name, VFIO_USER_MAX_MSG_FDS);
		return -1;
	}
	if (got == 0) {
		if (server->in_size)
			softnic_error("%s: client left in the middle of a message", server->name);
		else
			softnic_info("%s: client disconnected", server->name);
		return -1;
	}
	server->in_size += (size_t)got;
	return got;
}

/* True if the header describes a message that can follow. */
static bool check_header(struct vfio_server *server)
{
	const struct vfio_user_header *header = &server->in.header;
	if (header->size < sizeof *header || header->size > VFIO_USER_MAX_MSG_SIZE) {
		softnic_error("%s: client sent a message of %u bytes (%zu to %d are allowed): disconnected",
			server->name, header->size, sizeof *header, VFIO_USER_MAX_MSG_SIZE);
		return false;
	}
	if ((header->flags & VFIO_USER_TYPE_MASK) != VFIO_USER_TYPE_COMMAND) {
		softnic_error("%s: client sent a message of type %u instead of a command: disconnected",
			server->name, header->flags & VFIO_USER_TYPE_MASK);
		return false;
	}
	return true;
}

/* 1: a whole command is in; 0: not yet; -1: the connection is over. */
static int receive_command(struct vfio_server *server)
{
	while (server->in_size < sizeof server->in.header) {
		ssize_t got = receive(server, sizeof server->in.header - server->in_size);
		if (got <= 0)
			return (int)got;
	}
	if (!check_header(server))
		return -1;
	while (server->in_size < server->in.header.size) {
		ssize_t got = receive(server, server->in.header.size - server->in_size);
		if (got <= 0)
			return (int)got;
	}
	return 1;
}

/* Send what is left of the reply. 1: done; 0: the client does not read; -1: the connection is over. */
static int send_reply(struct vfio_server *server)
{
	while (server->out_sent < server->out_size) {
		union {
			char bytes[CMSG_SPACE(VFIO_SERVER_REPLY_FDS * sizeof(int))];
			struct cmsghdr align;
		} control = {.bytes = {0}};
		struct iovec iov = {
			.iov_base = server->out.bytes + server->out_sent,
			.iov_len = server->out_size - server->out_sent,
		};
		struct msghdr msg = {.msg_iov = &iov, .msg_iovlen = 1};
		if (server->out_sent == 0 && server->out_fd_count) {
			size_t size = server->out_fd_count * sizeof(int);
			msg.msg_control = control.bytes;
			msg.msg_controllen = CMSG_SPACE(size);
			struct cmsghdr *cmsg = CMSG_FIRSTHDR(&msg);
			cmsg->cmsg_level = SOL_SOCKET;
			cmsg->cmsg_type = SCM_RIGHTS;
			cmsg->cmsg_len = CMSG_LEN(size);
			memcpy(CMSG_DATA(cmsg), server->out_fds, size);
		}
		ssize_t sent = sendmsg(server->fd, &msg, MSG_DONTWAIT | MSG_NOSIGNAL);
		if (sent < 0) {
			if (errno == EINTR)
				continue;
			if (errno == EAGAIN)
				return 0;
			softnic_info("%s: client lost: %s", server->name, strerror(errno));
			return -1;
		}
		server->out_sent += (size_t)sent;
	}
	server->out_size = server->out_sent = 0;
	server->out_fd_count = 0;
	return 1;
}

/* Execute the command in server->in and make the reply, if one is wanted. */
static void answer(struct vfio_server *server)
{
	const struct vfio_user_header *header = &server->in.header;
	server->out_size = sizeof server->out.header;
	server->out_fd_count = 0;
	int result = vfio_server_execute(server);
	close_received_fds(server);
	softnic_debug("%s: command %u, %u bytes: %s", server->name, header->command, header->size,
		result < 0 ? strerror(-result) : "done");

	server->in_size = 0;
	server->out_sent = 0;
	if (header->flags & VFIO_USER_NO_REPLY) {
		server->out_size = 0;
		return;
	}
	if (result < 0) {
		server->out_size = sizeof server->out.header;
		server->out_fd_count = 0;
	}
	server->out.header = (struct vfio_user_header){
		.id = header->id,
		.command = header->command,
		.size = (uint32_t)server->out_size,
		.flags = VFIO_USER_TYPE_REPLY | (result < 0 ? VFIO_USER_ERROR : 0),
		.error = result < 0 ? (uint32_t)-result : 0,
	};
}

static void watch(struct vfio_server *server, int events)
{
	if ((server->watcher.events & (EV_READ | EV_WRITE)) == events)
		return;
	ev_io_stop(server->loop, &server->watcher);
	ev_io_set(&server->watcher, server->fd, events);
	ev_io_start(server->loop, &server->watcher);
}

static void on_socket(struct ev_loop *loop, struct ev_io *watcher, int events)
{
	(void)events;
	struct vfio_server *server = watcher->data;
	for (unsigned i = 0; i < COMMANDS_A_TURN; i++) {
		int state = send_reply(server);
		if (state == 0) {
			if (!ev_is_active(&server->stalled))
				ev_timer_again(loop, &server->stalled);
			watch(server, EV_WRITE);
			return;
		}
		ev_timer_stop(loop, &server->stalled);
		if (state > 0 && !server->closing)
			state = receive_command(server);
		else
			state = -1;
		if (state < 0) {
			disconnect(server);
			return;
		}
		if (state == 0)
			break;
		answer(server);
		nic_scan_mapped(server->nic);
	}
	/* A reply may be left when the turn is over: then come back as soon as it can be sent. */
	watch(server, server->out_size ? EV_WRITE : EV_READ);
}

static void on_stalled(struct ev_loop *loop, struct ev_timer *timer, int events)
{
	(void)loop;
	(void)events;
	struct vfio_server *server = timer->data;
	softnic_error("%s: client has not read its replies for %.0f seconds: disconnected", server->name,
		STALL_SECONDS);
	disconnect(server);
}

/* --- clients come -------------------------------------------------------------------------------------------- */

static void on_accept(struct ev_loop *loop, struct ev_io *watcher, int events)
{
	(void)events;
	struct vfio_server *server = watcher->data;
	int fd = accept4(server->listen_fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
	if (fd < 0) {
		if (errno == EAGAIN || errno == EINTR || errno == ECONNABORTED)
			return;
		/* No descriptors or memory: the client stays in the backlog. Looking again at once would spin. */
		softnic_error("%s: cannot accept a client: %s", server->name, strerror(errno));
		ev_io_stop(loop, watcher);
		ev_timer_again(loop, &server->accept_retry);
		return;
	}
	/* The last one may have ended just before: the two events come in any order. */
	if (server->fd >= 0)
		on_socket(loop, &server->watcher, EV_READ);
	if (server->fd >= 0) {
		softnic_error("%s: a second client was refused: one at a time", server->name);
		close(fd);
		return;
	}
	softnic_info("%s: client connected", server->name);
	connected(server, fd);
}

static void on_accept_retry(struct ev_loop *loop, struct ev_timer *timer, int events)
{
	(void)events;
	struct vfio_server *server = timer->data;
	ev_timer_stop(loop, timer);
	ev_io_start(loop, &server->listen_watcher);
}

/* --- life ------------------------------------------------------------------------------------------------------ */

static struct vfio_server *server_new(struct nic *nic, struct ev_loop *loop)
{
	struct vfio_server *server = calloc(1, sizeof *server);
	if (!server) {
		softnic_error("port %u: out of memory", nic->port);
		return NULL;
	}
	server->nic = nic;
	server->loop = loop;
	server->listen_fd = server->fd = server->doorbell_fd = -1;
	for (unsigned i = 0; i < NIC_MSIX_VECTORS; i++)
		server->irq_fds[i] = -1;
	int err = renew_doorbell(server);
	if (err) {
		softnic_error("port %u: eventfd: %s", nic->port, strerror(-err));
		free(server);
		return NULL;
	}
	event_signaller_open(&server->signaller);
	ev_timer_init(&server->stalled, on_stalled, 0, STALL_SECONDS);
	server->stalled.data = server;
	ev_timer_init(&server->accept_retry, on_accept_retry, 0, ACCEPT_RETRY);
	server->accept_retry.data = server;
	return server;
}

struct vfio_server *vfio_server_listen(const char *path, struct nic *nic, struct ev_loop *loop)
{
	struct vfio_server *server = server_new(nic, loop);
	if (!server)
		return NULL;
	server->listen_fd = unix_listen(path);
	if (server->listen_fd < 0) {
		vfio_server_free(server);
		return NULL;
	}
	snprintf(server->path, sizeof server->path, "%s", path);
	snprintf(server->name, sizeof server->name, "port %u (%s)", nic->port, path);
	ev_io_init(&server->listen_watcher, on_accept, server->listen_fd, EV_READ);
	server->listen_watcher.data = server;
	ev_io_start(loop, &server->listen_watcher);
	return server;
}

struct vfio_server *vfio_server_adopt(int fd, struct nic *nic, struct ev_loop *loop)
{
	if (!unix_stream(fd))
		return NULL;
	struct vfio_server *server = server_new(nic, loop);
	if (!server)
		return NULL;
	fcntl(fd, F_SETFD, FD_CLOEXEC);
	snprintf(server->name, sizeof server->name, "port %u", nic->port);
	connected(server, fd);
	return server;
}

void vfio_server_free(struct vfio_server *server)
{
	if (!server)
		return;
	if (server->fd >= 0)
		disconnect(server);
	if (server->listen_fd >= 0) {
		ev_io_stop(server->loop, &server->listen_watcher);
		ev_timer_stop(server->loop, &server->accept_retry);
		unlink(server->path);
		close(server->listen_fd);
	}
	close_doorbell(server);
	event_signaller_close(&server->signaller);
	free(server);
}

/* --- sleep ---------------------------------------------------------------------------------------------- */

/*
 * The word behind each tail is reserved on silicon. It is set for queues that are off too: a client enables a
 * queue by a plain store into the mapped page, which a sleeping process does not see.
 */
static void set_wanted(struct vfio_server *server, uint32_t wanted)
{
	if (!server->doorbells_given)
		return;
	for (unsigned n = 0; n < VFIO_SERVER_DOORBELLS; n++)
		nic_reg_set(server->nic, TDT(n) + 4, wanted);
}

void vfio_server_sleep(struct vfio_server *server)
{
	set_wanted(server, 1);
}

void vfio_server_wake(struct vfio_server *server)
{
	set_wanted(server, 0);
}

bool vfio_server_silent(const struct vfio_server *server)
{
	return server->fd >= 0 && server->nic->pages_mapped && !server->doorbells_given;
}
