/*
 * One queue of the way into the kernel: frames go in and come out as chains of pkt_bufs.
 *
 * A worker owns a port, moves bursts through it and sleeps on its descriptor. How the port gets them into the
 * kernel (a tap's queue, see tap.c) is its own affair. In front of a frame's first byte the buffer's headroom
 * takes the virtio_net header that the kernel wants there, so that header and frame are one piece of memory.
 *
 * Threads: a port belongs to one thread at a time, with the pool that its buffers come from.
 */
#ifndef BRIDGE_KERNEL_PORT_H
#define BRIDGE_KERNEL_PORT_H

#include <stdint.h>

#include "bridge/stats.h"
#include "driver/ixy.h"

struct kernel_port;

/*
 * Hand count frames to the kernel. All are consumed: those that it does not take are counted in
 * counters->drops, the others in counters->rx. Returns 0, or -EBADFD once the interface has been deleted.
 */
int kernel_port_send(
	struct kernel_port *port, struct pkt_buf *frames[], uint32_t count, struct queue_counters *counters);

/*
 * Take up to count frames that the kernel wants sent; the caller owns them. None but a super-frame is shorter than
 * an Ethernet frame has to be (60 bytes without CRC). Those longer than the port was made for are counted in
 * counters->drops. Never blocks. Returns how many (less than count: the kernel has no more for now); or, if
 * there are none, -ENOBUFS when the pool is empty, -EBADFD once the interface has been deleted.
 */
int kernel_port_recv(
	struct kernel_port *port, struct pkt_buf *frames[], uint32_t count, struct queue_counters *counters);

/* Readable when the kernel has frames, and when the interface has been deleted. */
int kernel_port_fd(const struct kernel_port *port);

#endif
