/*
 * One queue of the way into the kernel: frames go in and come out as chains of pkt_bufs.
 *
 * A worker owns a port, moves bursts through it and sleeps on its descriptor. How the port gets them into the
 * kernel is its own affair: a system call for each on a tap's queue (tap.c), or rings that a thread of the kernel
 * works on (vhost.c). In front of a frame's first byte the buffer's headroom takes the virtio_net header that the
 * kernel wants there, so that header and frame are one piece of memory (vnet_hdr.h).
 *
 * Each kind of port embeds struct kernel_port as its first member and fills in the operations.
 *
 * Threads: a port belongs to one thread at a time, with the pool that its buffers come from.
 */
#ifndef BRIDGE_KERNEL_PORT_H
#define BRIDGE_KERNEL_PORT_H

#include <stdbool.h>
#include <stdint.h>

#include "bridge/stats.h"
#include "driver/ixy.h"

struct kernel_port;

/* What the functions below do. NULL, where allowed: such a port has nothing to do there. */
struct kernel_port_ops {
	int (*send)(struct kernel_port *port, struct pkt_buf *frames[], uint32_t count,
		struct queue_counters *counters);
	int (*recv)(struct kernel_port *port, struct pkt_buf *frames[], uint32_t count,
		struct queue_counters *counters);
	int (*fd)(const struct kernel_port *port);
	uint32_t (*room)(struct kernel_port *port);
	uint32_t (*reclaim)(struct kernel_port *port, struct queue_counters *counters);
	bool (*arm)(struct kernel_port *port);
	void (*set_up)(struct kernel_port *port, bool up);
	void (*shut)(struct kernel_port *port);
	uint32_t (*drain)(struct kernel_port *port, struct queue_counters *counters);
	void (*unbind)(struct kernel_port *port); /* never NULL, as send, recv and fd */
};

struct kernel_port {
	const struct kernel_port_ops *ops;
};

/* --- frames ------------------------------------------------------------------------------------------- */

/*
 * Hand count frames to the kernel. All are consumed: those that it does not take are counted in
 * counters->drops, the others in counters->rx, at the latest when they are reclaimed. Returns 0, or -EBADFD once
 * the interface has been deleted.
 */
static inline int kernel_port_send(
	struct kernel_port *port, struct pkt_buf *frames[], uint32_t count, struct queue_counters *counters)
{
	return port->ops->send(port, frames, count, counters);
}

/*
 * Take up to count frames that the kernel wants sent; the caller owns them. None but a super-frame is shorter than
 * an Ethernet frame has to be (60 bytes without CRC). Those longer than the port was made for are counted in
 * counters->drops. Never blocks. Returns how many (less than count: the kernel has no more for now); or, if
 * there are none, -ENOBUFS when the pool is empty, -EBADFD once the interface has been deleted.
 */
static inline int kernel_port_recv(
	struct kernel_port *port, struct pkt_buf *frames[], uint32_t count, struct queue_counters *counters)
{
	return port->ops->recv(port, frames, count, counters);
}

/*
 * How many frames kernel_port_send() can take now for which there is room for certain. With more, those that find
 * none are dropped (kernel-full); who leaves them in the NIC's ring instead slows the sender down.
 */
static inline uint32_t kernel_port_room(struct kernel_port *port)
{
	return port->ops->room ? port->ops->room(port) : UINT32_MAX;
}

/*
 * Take back the buffers of frames that the kernel is done with, which kernel_port_send() does otherwise: for a port
 * that nothing is sent to for now. Returns how many frames the kernel still has.
 */
static inline uint32_t kernel_port_reclaim(struct kernel_port *port, struct queue_counters *counters)
{
	return port->ops->reclaim ? port->ops->reclaim(port, counters) : 0;
}

/* A look for frames costs no system call. */
static inline bool kernel_port_in_memory(const struct kernel_port *port)
{
	return port->ops->arm != NULL;
}

/* --- sleeping ----------------------------------------------------------------------------------------- */

/* Readable when the kernel has frames, after kernel_port_arm(); and when the interface has been deleted. */
static inline int kernel_port_fd(const struct kernel_port *port)
{
	return port->ops->fd(port);
}

/* Before a sleep on the descriptor. True: there is a frame already, so do not sleep but kernel_port_recv(). */
static inline bool kernel_port_arm(struct kernel_port *port)
{
	return port->ops->arm ? port->ops->arm(port) : false;
}

/* --- life --------------------------------------------------------------------------------------------- */

/* The interface is up, or down, by its user's will. Any thread. A port is up to begin with. */
static inline void kernel_port_set_up(struct kernel_port *port, bool up)
{
	if (port->ops->set_up)
		port->ops->set_up(port, up);
}

/*
 * The end, in two steps. Shut: the kernel hands over no more frames. True: those that it has handed over already can
 * still be taken, until kernel_port_recv() finds none; false: leave them to the kernel.
 */
static inline bool kernel_port_shut(struct kernel_port *port)
{
	if (!port->ops->shut)
		return false;
	port->ops->shut(port);
	return true;
}

/*
 * The last act, after the last kernel_port_send(): see to it that the kernel gets what it was sent, and take the
 * buffers back. Waits 200 ms at most; frames that it then has not taken are counted as lost (shutdown). Returns their
 * number.
 */
static inline uint32_t kernel_port_drain(struct kernel_port *port, struct queue_counters *counters)
{
	return port->ops->drain ? port->ops->drain(port, counters) : 0;
}

/*
 * The kernel touches no buffer any more; those that it or the port had are back in their pools, which the caller
 * then may free. The port is gone.
 */
static inline void kernel_port_unbind(struct kernel_port *port)
{
	port->ops->unbind(port);
}

#endif
