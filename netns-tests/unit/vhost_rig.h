/*
 * The kernel's side of vhost-net as a test plays it: it takes the ioctls, checks them as the kernel does and stricter,
 * and serves the two rings between them and a "tap" in memory.
 *
 *	vhost_rig_init(&rig)                        from here on the port's open() and ioctl() end here
 *	vhost_rig_send(&rig, frame, size, NULL)     the kernel has this frame to send
 *	vhost_rig_serve(&rig)                       its thread runs once: both rings, until nothing is left to do
 *	vhost_rig_run(&rig), vhost_rig_halt(&rig)   or as a thread, which sleeps when it has nothing to do and is woken
 *	                                            by kicks and by frames to send, by nothing else
 *	rig.got[0 .. rig.got_count - 1]             what the kernel received
 *
 * What vhost-net would suffer from, or have no reason to bear, is left in rig.fault, which is to stay NULL.
 */
#ifndef UNIT_VHOST_RIG_H
#define UNIT_VHOST_RIG_H

#include <linux/vhost.h>
#include <linux/virtio_net.h>
#include <linux/virtio_ring.h>
#include <pthread.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define VHOST_RIG_TAP 1000 /* what the port is given as the tap's descriptor */
#define VHOST_RIG_FRAMES \
	512 /* that wait to be sent, or were received and not looked at; twice a power of two */

struct vhost_rig_frame {
	uint8_t *data; /* with its header; the rig's */
	uint32_t size;
};

/* A ring as it was told of; where several descriptors are open, by the one that was opened last. */
struct vhost_rig_ring {
	uint32_t num;
	struct vring_desc *desc;
	struct vring_avail *avail;
	struct vring_used *used;
	int kick, call, error;
	uint32_t busy_usecs;
	bool attached; /* has the tap's descriptor as its backend */
	uint16_t avail_idx, used_idx;
	uint16_t signalled; /* used_idx when the question of a signal was last asked */
};

struct vhost_rig {
	uint64_t offered; /* features; the test may change it */
	int tap;          /* the descriptor that is to be given as the tap's: VHOST_RIG_TAP; -1: any */
	/* Fail this request with that errno, after so many of its kind. */
	unsigned long refuse;
	int refuse_error;
	unsigned refuse_after;

	/* What it was told. */
	bool owned;
	uint64_t features;
	uint8_t served[1024]; /* by descriptor: which of its rings have a backend, by bit */
	uint32_t region_count;
	struct vhost_memory_region regions[8];
	struct vhost_rig_ring rings[2];
	unsigned long requests[64]; /* in their order, since the last SET_OWNER */
	unsigned request_count;

	/* The tap's side. What has been received first is at got[got_first % VHOST_RIG_FRAMES]. */
	pthread_mutex_t lock;
	struct vhost_rig_frame out[VHOST_RIG_FRAMES], got[VHOST_RIG_FRAMES];
	unsigned out_first, out_last, got_count;
	bool keep; /* sent frames' chains are not used: the thread hangs */
	unsigned sent_buffers;

	/* Lies, each told once, on the next frame to be sent: */
	bool lie;
	uint16_t lie_buffers; /* the number of buffers in its header */
	uint32_t lie_written; /* bytes written to its first buffer; UINT32_MAX: the truth */
	uint32_t lie_id;      /* of its first buffer; UINT32_MAX: the truth */

	pthread_t thread;
	bool running;
	int wake; /* eventfd: a frame to send, or the end */
	unsigned sleeps;
	const char *fault;
};

void vhost_rig_init(struct vhost_rig *rig);
void vhost_rig_close(struct vhost_rig *rig);

/* size bytes of a frame for the daemon, with this header in front; NULL: all zero. num_buffers is the rig's. */
void vhost_rig_send(
	struct vhost_rig *rig, const void *frame, uint32_t size, const struct virtio_net_hdr_v1 *header);

/* One pass over both rings. Not while the thread runs. */
void vhost_rig_serve(struct vhost_rig *rig);
void vhost_rig_run(struct vhost_rig *rig);
void vhost_rig_halt(struct vhost_rig *rig);

/* How many rings there are that have a backend. */
unsigned vhost_rig_served(const struct vhost_rig *rig);

/* Frames received; any thread. */
unsigned vhost_rig_got(struct vhost_rig *rig);

#endif
