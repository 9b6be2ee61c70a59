/*
 * The vfio-user server of one port: a client (a driver, a VMM) connects to its AF_UNIX socket and finds the
 * NIC's config space, BARs, interrupts and DMA there.
 *
 *	vfio_user.c           the socket: listen, accept, whole messages in, replies out
 *	vfio_user_commands.c  what each command does
 *
 * One client at a time; a second is turned away. A client that breaks the protocol is disconnected with a
 * line that says why; the port then waits for the next one.
 */
#ifndef SOFTNIC_VFIO_USER_H
#define SOFTNIC_VFIO_USER_H

#include "driver/pci/vfio_user_proto.h"
#include "event_signal.h"
#include "nic.h"

#define VFIO_SERVER_REPLY_FDS 2
#define VFIO_SERVER_DOORBELLS 64 /* transmit queues whose registers lie in the mapped page 0x6000 */

/* One message, in either direction: the header first, the payload 8-byte aligned behind it. */
struct vfio_server_buffer {
	union {
		struct vfio_user_header header;
		uint8_t bytes[VFIO_USER_MAX_MSG_SIZE];
		uint64_t align;
	};
};

struct vfio_server {
	struct nic *nic;
	struct ev_loop *loop;
	char name[160];  /* for messages */
	char path[108];  /* of the listening socket; empty: the connection was inherited */
	int listen_fd;   /* -1: inherited connection */
	int fd;          /* the client, or -1 */
	int doorbell_fd; /* eventfd behind all doorbells of this port, another one for each client */
	bool hung_up;    /* an inherited connection has ended */
	bool closing;    /* disconnect once the current command has been answered */
	struct ev_io listen_watcher, watcher, doorbell_watcher;
	struct ev_timer accept_retry, stalled;

	/* What this client negotiated. */
	bool negotiated, shadow_wakeup;
	bool doorbells_given; /* it got the doorbells' eventfd, so the process may sleep */
	uint64_t max_fds, max_size;

	/* The command being received, and its descriptors; a handler that keeps one sets its slot to -1. */
	struct vfio_server_buffer in;
	size_t in_size;
	int in_fds[VFIO_USER_MAX_MSG_FDS];
	unsigned in_fd_count;

	/* The reply being sent. While it does not fit into the socket no further command is read. */
	struct vfio_server_buffer out;
	size_t out_size, out_sent;
	int out_fds[VFIO_SERVER_REPLY_FDS]; /* borrowed */
	unsigned out_fd_count;

	int irq_fds[NIC_MSIX_VECTORS]; /* an eventfd a vector; -1: none */
	struct event_signaller signaller;
};

/*
 * Serve nic on a new socket at path (a stale socket there is replaced, a live one refused), or on the
 * connected AF_UNIX stream socket fd (owned from here on, unless this fails).
 * NULL with a message on stderr. The server outlives its clients; free it before the nic and the loop.
 */
struct vfio_server *vfio_server_listen(const char *path, struct nic *nic, struct ev_loop *loop);
struct vfio_server *vfio_server_adopt(int fd, struct nic *nic, struct ev_loop *loop);
void vfio_server_free(struct vfio_server *server);

/*
 * Around the process's sleep: tell the client that doorbells need a write to the eventfd (or no longer do).
 * After vfio_server_sleep() the caller passes a full fence and looks for work once more before it blocks.
 */
void vfio_server_sleep(struct vfio_server *server);
void vfio_server_wake(struct vfio_server *server);

/* True if the client can move tails without telling: it mapped the pages, and has no eventfd to write. */
bool vfio_server_silent(const struct vfio_server *server);

/* --- between vfio_user.c and vfio_user_commands.c --------------------------------------------------------- */

/*
 * Execute the whole command in server->in. On 0 the reply's payload is in server->out and server->out_size
 * says how long the reply is (header included); a negative errno goes to the client as an error reply.
 */
int vfio_server_execute(struct vfio_server *server);

/* Deliver MSI-X vector (nic_frontend.raise). */
void vfio_server_raise(void *context, unsigned vector);
/*
 * The client's eventfds outlive a reset of the function, however it came about (nic_frontend.was_reset), as those
 * given to VFIO do.
 */
void vfio_server_was_reset(void *context);
/* Close all interrupt eventfds. */
void vfio_server_irqs_reset(struct vfio_server *server);

/*
 * In the version message's JSON, the number behind "key", or missing where there is none. true counts as 1,
 * false as 0. Tolerant: neither nesting nor anything that is not asked for is looked at.
 */
uint64_t vfio_server_json_number(const char *json, size_t size, const char *key, uint64_t missing);

#endif
