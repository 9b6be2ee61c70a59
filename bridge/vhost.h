/*
 * vhost-net: a kernel_port whose frames a thread of the kernel moves.
 *
 * The queue's tap descriptor is handed to /dev/vhost-net, which serves it from two virtqueues in our memory, one for
 * each direction. Their descriptors point at the NIC's packet buffers, so the kernel's copy is the only one, and no
 * frame costs a system call. The thread takes a CPU of its own under load, besides the worker's.
 */
#ifndef BRIDGE_VHOST_H
#define BRIDGE_VHOST_H

#include <stdint.h>

#include "bridge/kernel_port.h"

/* Buffers that a port keeps in its ring for the kernel to fill: a pool has to have so many more. */
#define VHOST_PORT_BUFFERS 256

struct vhost_config {
	int tap_fd;               /* the queue of the tap, attached with IFF_NAPI; stays the caller's */
	struct mempool *pool;     /* for frames from the kernel; the thread of the queue is its, too */
	struct mempool *received; /* where frames for the kernel come from: ixy_rx_pool() */
	uint32_t
		busy_poll_usecs; /* how long the kernel's thread polls in vain before it sleeps; 0: not at all */
};

/*
 * May this process use vhost-net, and does it do what is needed? 0, or a negative errno with a text
 * (ixy_last_error()) that says what is missing and the command that mends it.
 */
int vhost_usable(void);

/*
 * Let vhost-net serve the queue. kernel_port_unbind() takes it off again, before the pools are freed and the tap is
 * closed. config is copied. 0 or a negative errno with a text.
 */
int vhost_port_open(const struct vhost_config *config, struct kernel_port **port);

/*
 * Readable when the rings are of no use any more: the kernel could not make sense of them, or we not of what it
 * wrote there. Then no frame passes until vhost_port_restart().
 */
int vhost_port_error_fd(const struct kernel_port *port);

/*
 * Begin anew with empty rings, while the worker is parked. Frames that were in them are lost and counted as
 * kernel-reset. 0; or a negative errno with a text: then the port is of no use but for kernel_port_unbind().
 */
int vhost_port_restart(struct kernel_port *port, struct queue_counters *counters);

/* Where the device node is: "/dev/vhost-net". Only a unit test changes it and the call below, to play the kernel. */
extern const char *vhost_path;
extern int (*vhost_ioctl)(int fd, unsigned long request, void *argument);

#endif
