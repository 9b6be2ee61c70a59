/*
 * Frames through vhost-net's rings.
 *
 *	ring               entries hold                             the kernel's thread
 *	VHOST_RX_RING      empty buffers of our pool                fills them with frames that it sends by the interface
 *	VHOST_TX_RING      frames that the NIC received             has them received on the interface
 *
 * In front of each frame is its virtio_net header, in the buffer's headroom: descriptors for empty buffers begin
 * there, and for a frame header and first bytes are one descriptor. A frame that is longer than a buffer takes
 * several (VIRTIO_NET_F_MRG_RXBUF): the header says how many; in all but the first the frame goes on where in that
 * one the header is.
 *
 * Kicks (a system call that wakes the thread) are for a thread that sleeps: while it works it says so by its event
 * index. The other way round it signals the `call` descriptor only once the worker has armed it, before it sleeps.
 *
 * What the kernel writes is checked all the same: by virtqueue.c, and here how many buffers a frame has.
 */
#include "bridge/vhost_port.h"

#include <errno.h>
#include <stddef.h>
#include <string.h>
#include <sys/eventfd.h>

#include "bridge/vnet_hdr.h"
#include "driver/mempool.h"

#define likely(x)   __builtin_expect(!!(x), 1)
#define unlikely(x) __builtin_expect(!!(x), 0)

#define MAX_PIECES 256 /* of a super-frame on its way into the kernel, as on the tap */
#define REFILL_AT  (VHOST_PORT_BUFFERS / 8)

static struct vhost_port *vhost_port_of(const struct kernel_port *port)
{
	return (struct vhost_port *)port;
}

static inline void publish(struct vhost_ring *ring)
{
	/* Fails only when 2^64 - 2 kicks wait already. */
	if (virtqueue_publish(&ring->vq))
		eventfd_write(ring->kick, 1);
}

/* The kernel wrote nonsense: have the main thread see to it, as if the kernel had found ours. */
static void __attribute__((cold)) fail(struct vhost_port *port)
{
	if (!port->failed)
		eventfd_write(port->error, 1);
	port->failed = true;
}

/* --- into the kernel ---------------------------------------------------------------------------------- */

/* Frames count as delivered when they come back: those that are in a ring that breaks are not. */
static void free_sent(struct vhost_port *port)
{
	struct virtqueue *vq = &port->rings[VHOST_TX_RING].vq;
	struct virtqueue_used used[VHOST_BATCH];
	int n;

	do {
		n = virtqueue_take(vq, used, VHOST_BATCH);
		for (int i = 0; i < n; i++) {
			struct pkt_buf *frame = used[i].cookie;

			port->done_frames += pkt_buf_wire_frames(frame);
			port->done_bytes += pkt_buf_wire_bytes(frame);
			pkt_buf_free(frame);
		}
	} while (n == VHOST_BATCH);
	if (unlikely(n < 0))
		fail(port);
}

static void count_sent(struct vhost_port *port, struct queue_counters *counters)
{
	if (!port->done_frames)
		return;
	counter_add(&counters->rx.frames, port->done_frames);
	counter_add(&counters->rx.bytes, port->done_bytes);
	port->done_frames = port->done_bytes = 0;
}

/* Also for the other direction: buffers may have come back to the pool that the ring lacked. */
uint32_t vhost_port_reclaim(struct kernel_port *kernel_port, struct queue_counters *counters)
{
	struct vhost_port *port = vhost_port_of(kernel_port);

	free_sent(port);
	count_sent(port, counters);
	if (virtqueue_free_count(&port->rings[VHOST_RX_RING].vq) >= REFILL_AT)
		vhost_port_refill(port);
	return virtqueue_pending(&port->rings[VHOST_TX_RING].vq);
}

uint32_t vhost_port_room(struct kernel_port *kernel_port)
{
	struct vhost_port *port = vhost_port_of(kernel_port);
	struct virtqueue *vq = &port->rings[VHOST_TX_RING].vq;

	if (unlikely(port->failed))
		return 0;
	if (VHOST_TX_ENTRIES - virtqueue_free_count(vq) > VHOST_TX_IN_FLIGHT / 2) {
		free_sent(port);
		if (unlikely(VHOST_TX_ENTRIES - virtqueue_free_count(vq) > VHOST_TX_IN_FLIGHT))
			return 0;
	}
	return (VHOST_TX_ENTRIES - VHOST_TX_IN_FLIGHT) / PKT_BUF_MAX_SEGMENTS;
}

/* Why the frame is lost; -1: it is not. */
static int add_frame(struct virtqueue *vq, struct pkt_buf *frame)
{
	struct virtqueue_piece pieces[MAX_PIECES];
	unsigned count = 1;

	pieces[0].address = (uintptr_t)vnet_hdr_put(frame);
	pieces[0].size = VNET_HDR_SIZE + frame->size;
	for (const struct pkt_buf *buf = frame->next; buf; buf = buf->next) {
		if (unlikely(count == MAX_PIECES))
			return IXY_DROP_KERNEL_REFUSED;
		pieces[count++] = (struct virtqueue_piece){(uintptr_t)buf->data, buf->size};
	}
	switch (virtqueue_add(vq, pieces, count, 0, frame)) {
	case 0: return -1;
	case -ENOSPC: return IXY_DROP_KERNEL_FULL;
	default: return IXY_DROP_KERNEL_RESET;
	}
}

int vhost_port_send(struct kernel_port *kernel_port, struct pkt_buf *frames[], uint32_t count,
	struct queue_counters *counters)
{
	struct vhost_port *port = vhost_port_of(kernel_port);
	struct vhost_ring *ring = &port->rings[VHOST_TX_RING];
	const bool down = atomic_load_explicit(&port->down, memory_order_relaxed);

	free_sent(port);
	count_sent(port, counters);
	for (uint32_t i = 0; i < count; i++) {
		struct pkt_buf *frame = frames[i];
		int lost;

		/* The kernel would drop the first two kinds without a word. */
		if (unlikely(down))
			lost = IXY_DROP_KERNEL_DOWN;
		else if (unlikely(frame->frame_size < ETH_HEADER))
			lost = IXY_DROP_KERNEL_RUNT;
		else
			lost = add_frame(&ring->vq, frame);
		if (unlikely(lost >= 0)) {
			counter_add(&counters->drops[lost], pkt_buf_wire_frames(frame));
			pkt_buf_free(frame);
		}
	}
	publish(ring);
	counter_add(&counters->rx.bursts, 1);
	return 0;
}

/* --- out of the kernel -------------------------------------------------------------------------------- */

/* Where the kernel begins to write in an empty buffer. */
static inline uint8_t *buffer_start(struct pkt_buf *buf)
{
	return pkt_buf_start(buf) - VNET_HDR_SIZE;
}

void vhost_port_refill(struct vhost_port *port)
{
	struct vhost_ring *ring = &port->rings[VHOST_RX_RING];
	uint32_t room = virtqueue_free_count(&ring->vq);

	if (unlikely(virtqueue_broken(&ring->vq)))
		return;
	while (room > 0) {
		struct virtqueue_piece pieces[VHOST_BATCH];
		struct pkt_buf *bufs[VHOST_BATCH];
		uint32_t wanted = room < VHOST_BATCH ? room : VHOST_BATCH;
		uint32_t count = mempool_take(port->config.pool, bufs, wanted);

		for (uint32_t i = 0; i < count; i++)
			pieces[i] = (struct virtqueue_piece){
				(uintptr_t)buffer_start(bufs[i]), VNET_HDR_SIZE + port->data_size};
		virtqueue_add_each(&ring->vq, pieces, (void *const *)bufs, count, true);
		room -= count;
		if (count < wanted)
			break;
	}
	publish(ring);
}

/* The next buffer that the kernel has filled, or NULL. *written: bytes from buffer_start(). */
static inline struct pkt_buf *next_buffer(struct vhost_port *port, uint32_t *written)
{
	if (port->used_first == port->used_last) {
		int n = virtqueue_take(&port->rings[VHOST_RX_RING].vq, port->used, VHOST_BATCH);

		if (unlikely(n < 0))
			fail(port);
		if (n <= 0)
			return NULL;
		port->used_first = 0;
		port->used_last = (uint32_t)n;
	}
	*written = port->used[port->used_first].written;
	return port->used[port->used_first++].cookie;
}

/*
 * Hang count more buffers on a frame. All of a frame's are used at once (5.1.6.4), so one that is missing never comes.
 * Returns whether it is whole.
 */
static bool take_rest(struct vhost_port *port, struct pkt_buf *first, uint32_t count)
{
	struct pkt_buf *last = first;
	bool whole = count < PKT_BUF_MAX_SEGMENTS;

	for (; count > 0; count--) {
		uint32_t written;
		struct pkt_buf *buf = next_buffer(port, &written);

		if (unlikely(!buf))
			return false;
		buf->next = NULL;
		buf->data = buffer_start(buf);
		buf->size = written;
		last->next = buf;
		last = buf;
		first->frame_size += written;
		first->segments++;
		whole = whole && written > 0;
	}
	return whole;
}

/* Make a frame of the buffer that the kernel has filled with so many bytes, and those that follow. NULL: lost. */
static struct pkt_buf *take_frame(
	struct vhost_port *port, struct pkt_buf *frame, uint32_t written, enum ixy_drop *reason)
{
	uint16_t buffers;

	frame->next = NULL;
	frame->data = pkt_buf_start(frame);
	frame->segments = 1;
	frame->flags = 0;
	frame->frame_size = frame->size = written - (uint32_t)VNET_HDR_SIZE;
	*reason = IXY_DROP_KERNEL_MALFORMED;
	if (unlikely(written < VNET_HDR_SIZE))
		goto lost;
	memcpy(&buffers, buffer_start(frame) + offsetof(struct virtio_net_hdr_v1, num_buffers),
		sizeof(buffers));
	if (unlikely(buffers != 1) && (buffers == 0 || !take_rest(port, frame, buffers - 1u)))
		goto lost;
	if (unlikely(frame->size < ETH_HEADER)) {
		*reason = frame->next ? IXY_DROP_KERNEL_MALFORMED : IXY_DROP_TX_TOO_SHORT;
		goto lost;
	}
	vnet_hdr_take(frame);
	if (unlikely(frame->frame_size < ETH_MIN_FRAME) && !vnet_hdr_super_frame(buffer_start(frame))) {
		if (unlikely(frame->next))
			goto lost;
		memset(frame->data + frame->size, 0, ETH_MIN_FRAME - frame->size);
		frame->frame_size = frame->size = ETH_MIN_FRAME;
	}
	return frame;
lost:
	pkt_buf_free(frame);
	return NULL;
}

int vhost_port_recv(struct kernel_port *kernel_port, struct pkt_buf *frames[], uint32_t count,
	struct queue_counters *counters)
{
	struct vhost_port *port = vhost_port_of(kernel_port);
	struct virtqueue *vq = &port->rings[VHOST_RX_RING].vq;
	uint64_t wire_frames = 0, bytes = 0;
	uint32_t n = 0;

	count_sent(port, counters);
	virtqueue_disarm(vq);
	while (n < count) {
		enum ixy_drop reason;
		uint32_t written;
		struct pkt_buf *buf = next_buffer(port, &written);

		if (!buf)
			break;
		frames[n] = take_frame(port, buf, written, &reason);
		if (unlikely(!frames[n])) {
			counter_add(&counters->drops[reason], 1);
			continue;
		}
		wire_frames += pkt_buf_wire_frames(frames[n]);
		bytes += pkt_buf_wire_bytes(frames[n++]);
	}
	if (virtqueue_free_count(vq) >= REFILL_AT)
		vhost_port_refill(port);
	if (n == 0)
		return virtqueue_pending(vq) || port->failed ? 0 : -ENOBUFS;
	counter_add(&counters->tx.frames, wire_frames);
	counter_add(&counters->tx.bytes, bytes);
	counter_add(&counters->tx.bursts, 1);
	return (int)n;
}

/* --- sleeping, and the end ---------------------------------------------------------------------------- */

int vhost_port_fd(const struct kernel_port *port)
{
	return vhost_port_of(port)->call;
}

bool vhost_port_arm(struct kernel_port *kernel_port)
{
	struct vhost_port *port = vhost_port_of(kernel_port);
	eventfd_t signals;

	/* Those up to now are answered by the look that arming takes. */
	eventfd_read(port->call, &signals);
	if (unlikely(port->failed))
		return false;
	return virtqueue_arm(&port->rings[VHOST_RX_RING].vq) || port->used_first != port->used_last;
}

uint32_t vhost_port_empty(struct vhost_port *port, struct queue_counters *counters, enum ixy_drop reason)
{
	uint32_t lost = 0, written;
	struct pkt_buf *buf;

	if (!port->rings[VHOST_RX_RING].vq.num) /* there are none, nor is anything in them */
		return 0;
	free_sent(port);
	while ((buf = next_buffer(port, &written)) != NULL) {
		enum ixy_drop malformed;
		struct pkt_buf *frame = take_frame(port, buf, written, &malformed);

		lost += frame ? pkt_buf_wire_frames(frame) : 1;
		pkt_buf_free(frame);
	}
	while ((buf = virtqueue_detach(&port->rings[VHOST_TX_RING].vq)) != NULL) {
		lost += pkt_buf_wire_frames(buf);
		pkt_buf_free(buf);
	}
	while ((buf = virtqueue_detach(&port->rings[VHOST_RX_RING].vq)) != NULL) {
		buf->next = NULL;
		pkt_buf_free(buf);
	}
	if (counters) {
		count_sent(port, counters);
		counter_add(&counters->drops[reason], lost);
	}
	return lost;
}
