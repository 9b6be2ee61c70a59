/*
 * Sending. What a NIC would do with a frame on its way out (checksums, segmentation) is done here, because
 * AF_XDP's metadata for it works with few drivers.
 *
 * A buffer that this queue has received goes into the ring as it is. Anything else lies in memory that the kernel
 * does not know, so it is copied into chunks that are set apart for that. In copy mode, which is what most
 * interfaces have, the kernel copies in any case; and a super-frame has to be taken apart anyway, so that its
 * checksums cost nothing extra: the copy adds them up.
 *
 * No more descriptors are ever with the kernel than the completion ring has entries, so neither ring overflows.
 * A super-frame of more segments than the ring is long is cut as far as it goes and belongs to the queue from then
 * on; the next call goes on with it.
 *
 * In copy mode the wake-up itself sends: when it returns without an error, everything has left. Super-frames have a
 * cheaper way out there, the one of super_tx.c; what decides between the two is here.
 */
#include <errno.h>
#include <string.h>

#include "driver/xdp/xdp.h"

#define likely(x)   __builtin_expect(!!(x), 1)
#define unlikely(x) __builtin_expect(!!(x), 0)

/* Where a copy begins in its chunk, and how much of it the chunk holds. */
#define COPY_OFFSET ((uint32_t)sizeof(struct pkt_buf) + PKT_BUF_HEADROOM)

static inline uint32_t copy_size(const struct xdp_queue *q)
{
	return q->chunk_size - COPY_OFFSET;
}

/* --- what the kernel is done with -------------------------------------------------------------------- */

static void take_back(struct xdp_queue *q, uint32_t chunk)
{
	q->place[chunk] = XDP_FREE;
	q->outstanding--;
	if (chunk >= q->first_copy_chunk)
		q->copy_chunks[q->copy_free++] = chunk;
	else
		pkt_buf_free(xdp_chunk(q, chunk));
}

void xdp_tx_reclaim(struct xdp_queue *q)
{
	uint64_t addrs[XDP_BURST], frames = 0;
	uint32_t n;

	do {
		n = xsk_complete(q->rings, addrs, XDP_BURST);
		for (uint32_t i = 0; i < n; i++) {
			uint64_t chunk = addrs[i] >> q->chunk_shift;

			/* What was not handed over cannot come back. */
			if (unlikely(chunk >= q->chunks || q->place[chunk] < XDP_SENT))
				continue;
			frames += q->place[chunk] == XDP_SENT_LAST;
			take_back(q, (uint32_t)chunk);
		}
	} while (n == XDP_BURST);
	if (frames)
		stat_add(&q->completed, frames);
}

/* --- into the ring ----------------------------------------------------------------------------------- */

static inline uint32_t room(const struct xdp_queue *q)
{
	return q->dev->tx_ring - q->outstanding;
}

/* Hand the staged descriptors to the kernel's ring, not yet to the kernel. */
static void push_staged(struct xdp_queue *q)
{
	uint32_t n = q->staged_count;
	uint64_t frames = 0;

	q->staged_count = 0;
	if (n == 0)
		return;
	q->unsent = true;
	if (likely(xsk_transmit(q->socket, q->staged, n) == (int)n))
		return;
	/* There is room and they lie in the UMEM, so this cannot be; all the same nothing may get lost. */
	for (uint32_t i = 0; i < n; i++) {
		frames += !(q->staged[i].options & XDP_PKT_CONTD);
		take_back(q, (uint32_t)(q->staged[i].addr >> q->chunk_shift));
	}
	stat_add(&q->tx_stats.drops[IXY_DROP_TX_BAD_OFFLOAD], frames);
	stat_add(&q->tx_stats.tx_frames, -frames);
}

static inline void stage(struct xdp_queue *q, uint64_t addr, uint32_t size, bool last)
{
	q->staged[q->staged_count++] =
		(struct xdp_desc){.addr = addr, .len = size, .options = last ? 0 : XDP_PKT_CONTD};
	q->place[addr >> q->chunk_shift] = last ? XDP_SENT_LAST : XDP_SENT;
	q->outstanding++;
	if (q->staged_count >= XDP_BURST && last) /* whole frames only */
		push_staged(q);
}

/* Let the kernel send. */
static void kick(struct xdp_queue *q)
{
	uint64_t refused = 0;

	push_staged(q);
	q->unsent = xsk_flush_tx(q->socket, &refused) != 0;
	if (unlikely(refused)) {
		bool up = __atomic_load_n(&q->dev->ixy.link.up, __ATOMIC_RELAXED);

		stat_add(&q->tx_stats.drops[up ? IXY_DROP_TX_RING_FULL : IXY_DROP_TX_LINK_DOWN], refused);
		stat_add(&q->tx_stats.tx_frames, -refused);
		stat_add(&q->refused, refused);
	}
}

/* --- frames ------------------------------------------------------------------------------------------ */

static void drop(struct xdp_queue *q, struct pkt_buf *frame, enum ixy_drop reason)
{
	stat_add(&q->tx_stats.drops[reason], pkt_buf_wire_frames(frame));
	pkt_buf_free(frame);
}

/* Ethernet has no shorter frames; the room is there. Returns the frame's size. */
static inline uint32_t pad(uint8_t *frame, uint32_t size)
{
	if (likely(size >= XDP_MIN_FRAME))
		return size;
	memset(frame + size, 0, XDP_MIN_FRAME - size);
	return XDP_MIN_FRAME;
}

/* Spread pieces over free chunks and stage those as one frame, for which there is room. */
static void copy_out(struct xdp_queue *q, const struct iovec *iov, uint32_t size)
{
	const bool whole = size <= copy_size(q);
	size_t used = 0; /* of *iov */

	while (size > 0) {
		uint32_t chunk = q->copy_chunks[--q->copy_free];
		uint64_t addr = ((uint64_t)chunk << q->chunk_shift) + COPY_OFFSET;
		uint32_t part = size < copy_size(q) ? size : copy_size(q);

		for (uint32_t done = 0; done < part;) {
			size_t n = iov->iov_len - used;

			if (n == 0) {
				iov++;
				used = 0;
				continue;
			}
			if (n > part - done)
				n = part - done;
			memcpy(q->memory + addr + done, (const uint8_t *)iov->iov_base + used, n);
			used += n;
			done += (uint32_t)n;
		}
		size -= part;
		stage(q, addr, whole ? pad(q->memory + addr, part) : part, size == 0);
	}
}

/* Whether all of the frame lies in chunks of this queue's that nobody else has. */
static bool is_own(const struct xdp_queue *q, const struct pkt_buf *frame)
{
	for (const struct pkt_buf *buf = frame; buf; buf = buf->next) {
		const uint8_t *end = (const uint8_t *)buf + q->chunk_size;

		if (buf->pool != q->pool || buf->data < (const uint8_t *)(buf + 1) || buf->data > end ||
			buf->size > (size_t)(end - buf->data) || buf->size == 0)
			return false;
	}
	return frame->frame_size >= XDP_MIN_FRAME &&
	       (frame->segments == 1 || xsk_socket_multi_buffer(q->socket));
}

static void stage_own(struct xdp_queue *q, struct pkt_buf *frame)
{
	while (frame) {
		struct pkt_buf *next = frame->next;

		frame->next = NULL; /* it comes back alone */
		stage(q, (uint64_t)(frame->data - q->memory), frame->size, !next);
		frame = next;
	}
}

/* Chunks that a segment of the super-frame in hand takes. */
static inline uint32_t segment_chunks(const struct xdp_queue *q)
{
	return ((uint32_t)q->gso.header_size + q->gso.mss + copy_size(q) - 1) / copy_size(q);
}

/* Cut the super-frame in hand as far as there is room. False: it is not finished. */
static bool cut_super(struct xdp_queue *q)
{
	const uint32_t chunks = segment_chunks(q);
	uint64_t frames = 0, bytes = 0;

	while (q->gso.emitted < q->gso.segments && room(q) >= chunks) {
		ssize_t size;

		if (likely(chunks == 1)) {
			uint32_t chunk = q->copy_chunks[--q->copy_free];
			uint64_t addr = ((uint64_t)chunk << q->chunk_shift) + COPY_OFFSET;

			size = gso_next_copy(&q->gso, q->memory + addr);
			stage(q, addr, pad(q->memory + addr, (uint32_t)size), true);
		} else {
			struct iovec pieces[1 + GSO_PIECES_MAX];
			uint8_t header[GSO_HEADER_MAX];
			unsigned count;

			size = gso_next(&q->gso, header, pieces + 1, &count);
			if (unlikely(size < 0)) { /* scattered over too many pieces */
				stat_add(&q->tx_stats.drops[IXY_DROP_TX_BAD_OFFLOAD],
					q->gso.segments - q->gso.emitted);
				q->gso.emitted = q->gso.segments;
				break;
			}
			pieces[0] = (struct iovec){header, q->gso.header_size};
			copy_out(q, pieces, (uint32_t)size);
		}
		frames++;
		bytes += (uint64_t)size;
	}
	stat_add(&q->tx_stats.tx_frames, frames);
	stat_add(&q->tx_stats.tx_bytes, bytes);
	if (q->gso.emitted < q->gso.segments)
		return false;
	pkt_buf_free(q->super);
	q->super = NULL;
	return true;
}

/* Whether nothing sent by AF_XDP can be overtaken any more: by a frame for the same transmit queue, or any. */
static bool all_left(struct xdp_queue *q)
{
	if (q->outstanding == 0)
		return true;
	kick(q);
	if (q->unsent)
		return false;
	if (q->dev->netif->tx_channels == 1)
		return true;
	xdp_tx_reclaim(q);
	return q->outstanding == 0;
}

/* What sending by the packet socket has come to. False: the frame stays with the caller. */
static bool finish_by_socket(
	struct xdp_queue *q, struct pkt_buf *frame, uint32_t frames, uint64_t bytes, int rc)
{
	if (unlikely(rc == -ENETDOWN)) {
		drop(q, frame, IXY_DROP_TX_LINK_DOWN);
		return true;
	}
	if (rc)
		return false;
	stat_add(&q->tx_stats.tx_frames, frames);
	stat_add(&q->tx_stats.tx_bytes, bytes);
	stat_add(&q->completed, frames);
	pkt_buf_free(frame);
	return true;
}

/* True: the frame is ours, sent or dropped. */
static bool send_super(struct xdp_queue *q, struct pkt_buf *frame)
{
	const struct virtio_net_hdr request = gso_request(frame);
	uint32_t count = gso_pieces(frame, q->super_iov, XDP_SUPER_IOV), needed;

	if (unlikely(count == 0 || gso_begin(&q->gso, &request, q->super_iov, count) < 0)) {
		drop(q, frame, IXY_DROP_TX_BAD_OFFLOAD);
		return true;
	}
	if (unlikely(q->gso.header_size + q->gso.mss > ixy_longest_frame(&q->dev->ixy))) {
		drop(q, frame, IXY_DROP_TX_TOO_LONG);
		return true;
	}
	if (xdp_super_takes(q, &request)) {
		int rc = all_left(q) ? xdp_super_send(q, q->super_iov, count) : -EAGAIN;

		if (likely(rc != -ENOTSUP))
			return finish_by_socket(q, frame, q->gso.segments,
				frame->frame_size + (q->gso.segments - 1) * (uint64_t)q->gso.header_size, rc);
	}
	if (unlikely(xdp_super_pending(q)))
		return false;
	/* Only one that the whole ring would not hold is begun without room for all of it. */
	needed = q->gso.segments * segment_chunks(q);
	if (room(q) < (needed < q->dev->tx_ring ? needed : q->dev->tx_ring))
		return false;
	q->super = frame;
	cut_super(q);
	return true;
}

static bool send_frame(struct xdp_queue *q, struct pkt_buf *frame)
{
	struct iovec iov[XDP_SUPER_IOV];
	uint32_t count, needed;
	bool own, after_super;

	if (frame->flags & PKT_TX_SUPER)
		return send_super(q, frame);
	if (unlikely(frame->frame_size < XDP_ETH_HEADER || frame->size < XDP_ETH_HEADER)) {
		drop(q, frame, IXY_DROP_TX_TOO_SHORT);
		return true;
	}
	if (unlikely(frame->frame_size > ixy_longest_frame(&q->dev->ixy))) {
		drop(q, frame, IXY_DROP_TX_TOO_LONG);
		return true;
	}
	own = is_own(q, frame);
	needed = own ? frame->segments : (frame->frame_size + copy_size(q) - 1) / copy_size(q);
	after_super = xdp_super_pending(q);
	if (!after_super && room(q) < needed)
		return false;
	count = gso_pieces(frame, iov, XDP_SUPER_IOV);
	if (unlikely(count == 0 || needed > XDP_MAX_PIECES || (own && count != needed))) {
		drop(q, frame, IXY_DROP_TX_BAD_OFFLOAD);
		return true;
	}
	if (frame->flags & PKT_TX_L4_CSUM) {
		const struct virtio_net_hdr request = gso_request(frame);

		if (unlikely(gso_checksum(&request, iov, count) < 0)) {
			drop(q, frame, IXY_DROP_TX_BAD_OFFLOAD);
			return true;
		}
		frame->flags &=
			(uint16_t)~PKT_TX_L4_CSUM; /* must not be done twice, should it have to wait */
	}
	if (unlikely(after_super))
		return finish_by_socket(
			q, frame, 1, frame->frame_size, xdp_super_follow(q, iov, count, frame->frame_size));
	stat_add(&q->tx_stats.tx_frames, 1);
	stat_add(&q->tx_stats.tx_bytes, frame->frame_size);
	if (own) {
		stage_own(q, frame);
	} else {
		copy_out(q, iov, frame->frame_size);
		pkt_buf_free(frame);
	}
	return true;
}

uint32_t xdp_tx_batch(struct ixy_device *dev, uint16_t queue, struct pkt_buf *bufs[], uint32_t count)
{
	struct xdp_queue *q = &xdp_device(dev)->queues[queue];
	uint32_t n = 0;

	if (unlikely(!q->socket)) {
		for (; n < count; n++)
			drop(q, bufs[n], IXY_DROP_TX_LINK_DOWN);
		return n;
	}
	if (q->outstanding)
		xdp_tx_reclaim(q);
	if (unlikely(q->super) && !cut_super(q))
		count = 0;
	while (n < count && send_frame(q, bufs[n])) {
		n++;
		if (unlikely(q->super)) /* one at a time; this one goes first */
			break;
	}
	if (q->staged_count || q->unsent)
		kick(q);
	return n;
}

/* --- the rest ---------------------------------------------------------------------------------------- */

uint32_t xdp_tx_pending(struct ixy_device *dev, uint16_t queue)
{
	const struct xdp_queue *q = &xdp_device(dev)->queues[queue];

	return q->outstanding + (q->super ? q->gso.segments - q->gso.emitted : 0);
}

void xdp_tx_drop(struct ixy_device *dev, uint16_t queue, enum ixy_drop reason)
{
	stat_add(&xdp_device(dev)->queues[queue].tx_stats.drops[reason], 1);
}

void xdp_tx_empty(struct xdp_queue *q, enum ixy_drop reason)
{
	uint64_t lost = 0;

	for (uint32_t i = 0; i < q->chunks; i++) {
		if (q->place[i] < XDP_SENT)
			continue;
		lost += q->place[i] == XDP_SENT_LAST;
		take_back(q, i);
	}
	/* Those had been counted as on their way. */
	stat_add(&q->tx_stats.tx_frames, -lost);
	if (q->super) {
		lost += q->gso.segments - q->gso.emitted;
		pkt_buf_free(q->super);
		q->super = NULL;
	}
	stat_add(&q->tx_stats.drops[reason], lost);
	q->staged_count = 0;
	q->unsent = false;
}
