/* Between the two halves of the vhost port: its life and the ioctls (vhost.c), and the frames (vhost_port.c). */
#ifndef BRIDGE_VHOST_PORT_H
#define BRIDGE_VHOST_PORT_H

#include <stdatomic.h>

#include "bridge/vhost.h"
#include "driver/virtio/virtqueue.h"

/* vhost-net's rings are named as a virtual machine sees them, which receives what the kernel sends. */
enum { VHOST_RX_RING, VHOST_TX_RING, VHOST_RINGS };

/*
 * The longest burst of the longest chains finds room in the ring for frames to the kernel; but it is not filled so far,
 * as each entry may hold one of the NIC's receive buffers, of which there are not so many.
 */
#define VHOST_TX_ENTRIES   4096
#define VHOST_TX_IN_FLIGHT 512

#define VHOST_BATCH 64 /* chains at a time */

struct vhost_ring {
	struct virtqueue vq;
	void *memory;
	int kick; /* eventfd: the kernel's thread has something to do */
};

struct vhost_port {
	struct kernel_port port;
	struct vhost_config config;
	uint32_t data_size; /* of the pool's buffers */
	struct vhost_ring rings[VHOST_RINGS];
	/* What came back from the receive ring and has not been looked at: used[used_first .. used_last - 1]. */
	struct virtqueue_used used[VHOST_BATCH];
	uint32_t used_first, used_last;
	uint64_t done_frames, done_bytes; /* the kernel has taken, and no counter says so yet */
	bool failed;                      /* the rings are broken, and that has been told */
	_Atomic bool down;                /* the interface, by its user's will */
	int vhost;                        /* the descriptor of /dev/vhost-net; -1: none */
	int call;                         /* eventfd: there are frames from the kernel */
	int error;                        /* eventfd: see vhost_port_error_fd() */
} __attribute__((aligned(WORKER_LINES)));

/* The operations; those for the port's end are in vhost.c. */
int vhost_port_send(
	struct kernel_port *port, struct pkt_buf *frames[], uint32_t count, struct queue_counters *counters);
int vhost_port_recv(
	struct kernel_port *port, struct pkt_buf *frames[], uint32_t count, struct queue_counters *counters);
int vhost_port_fd(const struct kernel_port *port);
uint32_t vhost_port_room(struct kernel_port *port);
uint32_t vhost_port_reclaim(struct kernel_port *port, struct queue_counters *counters);
bool vhost_port_arm(struct kernel_port *port);

/* Put empty buffers into the receive ring, as many as there is room for and the pool has. */
void vhost_port_refill(struct vhost_port *port);

/*
 * The kernel has let go of the rings: free all buffers that are in them, if there are any rings. Frames among them, in
 * both directions, are counted under reason; counters may be NULL. Returns how many.
 */
uint32_t vhost_port_empty(struct vhost_port *port, struct queue_counters *counters, enum ixy_drop reason);

#endif
