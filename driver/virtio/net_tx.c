/*
 * Sending.
 *
 * A frame takes one chain of descriptors, its header first. The header is written into the first buffer's headroom,
 * right before the frame, so that a frame in one buffer is one piece of memory. What is asked for in pkt_buf.flags is
 * the header's own language (gso_request()).
 *
 * What a device does not do is done here before: checksums in place, super-frames by cutting them into buffers of
 * ours, whose checksums are summed up as they are copied. So all devices look alike to the caller. A super-frame of
 * more segments than the ring has room for is cut as far as it goes and belongs to the queue from then on; the next
 * call goes on with it.
 *
 * The device is notified once a batch, and only if it asks for it. It raises no interrupt for what it has sent:
 * buffers are taken back at the next call, which an idle caller makes now and then (ixy_tx_batch() with count 0).
 *
 * There is no watch for a hung queue as on a NIC: a host that gives its guest no time looks just the same, and
 * nothing that a reset could mend is known to stop a device without a word (needs-reset).
 */
#include <endian.h>
#include <errno.h>
#include <string.h>

#include "driver/virtio/net.h"

#define likely(x)   __builtin_expect(!!(x), 1)
#define unlikely(x) __builtin_expect(!!(x), 0)

#define OFFLOAD_FLAGS (PKT_TX_SUPER | PKT_TX_L4_CSUM)

/* --- what the device is done with --------------------------------------------------------------------- */

static void reclaim(struct net_device *dev, struct net_tx_queue *q)
{
	struct virtqueue_used used[NET_BURST];
	struct pkt_buf *frames[NET_BURST];
	uint64_t completed = 0;
	int n;

	do {
		n = virtqueue_take(&q->vq, used, NET_BURST);
		if (unlikely(n < 0)) {
			net_queue_broke(dev, &q->broken, NULL);
			break;
		}
		for (int i = 0; i < n; i++) {
			frames[i] = used[i].cookie;
			completed += pkt_buf_wire_frames(frames[i]);
		}
		pkt_buf_free_batch(frames, (uint32_t)n);
	} while (n == NET_BURST);
	if (completed)
		stat_add(&q->completed, completed);
}

/* --- into the ring ------------------------------------------------------------------------------------ */

/* The buffer has room for the header in front of its data. */
static inline bool has_headroom(const struct net_device *dev, const struct pkt_buf *frame)
{
	return frame->data - (const uint8_t *)(frame + 1) >= dev->header_size;
}

/*
 * Queue a frame of count buffers with this request, host order; what is left of offloads is the device's to do. 0 or
 * -ENOSPC, or -EINVAL for more buffers than the ring has entries.
 */
static inline int put(struct net_device *dev, struct net_tx_queue *q, struct pkt_buf *frame, uint32_t count,
	const struct virtio_net_hdr *request)
{
	struct virtqueue_piece pieces[1 + NET_TX_PIECES];
	struct virtio_net_hdr_v1 *header = (struct virtio_net_hdr_v1 *)(frame->data - NET_HEADER_SIZE);
	const uint64_t iova = pkt_buf_data_iova(frame);
	uint32_t n = 0;

	if (likely(has_headroom(dev, frame))) {
		uint8_t *start = frame->data - dev->header_size;
		struct virtio_net_hdr_v1 h = {
			.flags = request->flags,
			.gso_type = request->gso_type,
			.hdr_len = htole16(request->hdr_len),
			.gso_size = htole16(request->gso_size),
			.csum_start = htole16(request->csum_start),
			.csum_offset = htole16(request->csum_offset),
		};

		if (likely(dev->header_size == NET_HEADER_SIZE))
			memcpy(header, &h, NET_HEADER_SIZE);
		else
			memcpy(start, &h, sizeof(struct virtio_net_hdr));
		if (likely(!dev->split_header)) {
			pieces[n++] = (struct virtqueue_piece){
				iova - dev->header_size, dev->header_size + frame->size};
		} else {
			pieces[n++] = (struct virtqueue_piece){iova - dev->header_size, dev->header_size};
			pieces[n++] = (struct virtqueue_piece){iova, frame->size};
		}
	} else { /* no offloads either: a frame without headroom has been finished in software */
		pieces[n++] =
			(struct virtqueue_piece){dma_iova(dev->memory, dev->zero_header), dev->header_size};
		pieces[n++] = (struct virtqueue_piece){iova, frame->size};
	}
	if (likely(count == 1))
		return virtqueue_add(&q->vq, pieces, n, 0, frame);
	for (const struct pkt_buf *buf = frame->next; buf; buf = buf->next)
		pieces[n++] = (struct virtqueue_piece){pkt_buf_data_iova(buf), buf->size};
	return virtqueue_add(&q->vq, pieces, n, 0, frame);
}

static void drop(struct net_tx_queue *q, struct pkt_buf *frame, enum ixy_drop reason)
{
	stat_add(&q->stats.drops[reason], pkt_buf_wire_frames(frame));
	pkt_buf_free(frame);
}

/* --- super-frames that the device does not cut ---------------------------------------------------------- */

/* Copy the pieces, size bytes of them and not none, into a chain of buffers. NULL: not enough buffers. */
static struct pkt_buf *gather(struct mempool *pool, const struct iovec *iov, uint32_t size)
{
	struct pkt_buf *first = NULL, *last = NULL;
	size_t used = 0; /* of *iov */
	uint32_t left = size;

	do {
		struct pkt_buf *buf = pkt_buf_alloc(pool);

		if (!buf) {
			pkt_buf_free(first);
			return NULL;
		}
		while (left > 0 && buf->size < pool->data_size) {
			size_t n = iov->iov_len - used, room = pool->data_size - buf->size;

			if (n == 0) {
				iov++;
				used = 0;
				continue;
			}
			n = n < room ? n : room;
			memcpy(buf->data + buf->size, (const uint8_t *)iov->iov_base + used, n);
			used += n;
			buf->size += (uint32_t)n;
			left -= (uint32_t)n;
		}
		if (first) {
			last->next = buf;
			first->segments++;
		} else {
			first = buf;
		}
		last = buf;
	} while (left > 0);
	first->frame_size = size;
	return first;
}

/* The next segment of the super-frame in hand, for which there are buffers. NULL: it cannot be cut any further. */
static struct pkt_buf *next_segment(struct net_tx_queue *q)
{
	struct iovec pieces[1 + GSO_PIECES_MAX];
	uint8_t header[GSO_HEADER_MAX];
	unsigned count;
	ssize_t size;

	if (likely(q->gso.header_size + q->gso.mss <= q->segments->data_size)) {
		struct pkt_buf *segment = pkt_buf_alloc(q->segments);

		if (segment)
			segment->size = segment->frame_size = (uint32_t)gso_next_copy(&q->gso, segment->data);
		return segment;
	}
	size = gso_next(&q->gso, header, pieces + 1, &count);
	if (unlikely(size < 0)) /* scattered over too many pieces */
		return NULL;
	pieces[0] = (struct iovec){header, q->gso.header_size};
	return gather(q->segments, pieces, (uint32_t)size);
}

/* Buffers, and descriptors, that a segment may take. */
static inline uint32_t segment_buffers(const struct net_tx_queue *q)
{
	return ((uint32_t)q->gso.header_size + q->gso.mss - 1) / q->segments->data_size + 1;
}

/* Cut the super-frame in hand as far as there is room. False: it is not finished. */
static bool cut(struct net_device *dev, struct net_tx_queue *q)
{
	static const struct virtio_net_hdr complete;
	const uint32_t buffers = segment_buffers(q);
	uint64_t frames = 0, bytes = 0;

	/* A header may have to stand apart. */
	while (q->gso.emitted < q->gso.segments && virtqueue_free_count(&q->vq) > buffers &&
		q->segments->free_count >= buffers) {
		struct pkt_buf *segment = next_segment(q);

		if (unlikely(!segment || put(dev, q, segment, segment->segments, &complete) < 0)) {
			pkt_buf_free(segment);
			stat_add(&q->stats.drops[IXY_DROP_TX_BAD_OFFLOAD], q->gso.segments - q->gso.emitted);
			q->gso.emitted = q->gso.segments;
			break;
		}
		frames++;
		bytes += segment->frame_size;
	}
	stat_add(&q->stats.tx_frames, frames);
	stat_add(&q->stats.tx_bytes, bytes);
	if (q->gso.emitted < q->gso.segments)
		return false;
	pkt_buf_free(q->super);
	q->super = NULL;
	return true;
}

/* --- frames ------------------------------------------------------------------------------------------- */

/* The buffers of a frame; 0 if they are too many, or not what the first of them says they are. */
static uint32_t pieces_of(const struct pkt_buf *frame, struct iovec iov[NET_TX_PIECES])
{
	const uint32_t n = gso_pieces(frame, iov, NET_TX_PIECES);

	for (uint32_t i = 0; i < n; i++)
		if (iov[i].iov_len == 0) /* no descriptor can be */
			return 0;
	return n == frame->segments ? n : 0;
}

/* What is to become of a frame. */
enum verdict {
	QUEUED,
	CUT,     /* by us: it is q->super */
	NO_ROOM, /* it stays with the caller */
	DROPPED,
};

/* A segment that carries CWR has to be known as such: only the first of its parts may keep the flag (RFC 3168). */
static inline bool device_cuts(const struct net_device *dev, const struct virtio_net_hdr *request)
{
	const unsigned kind = request->gso_type & ~VIRTIO_NET_HDR_GSO_ECN;

	return dev->tx_kinds >> kind & 1 && (dev->tx_ecn || !(request->gso_type & VIRTIO_NET_HDR_GSO_ECN));
}

static enum verdict send_super(struct net_device *dev, struct net_tx_queue *q, struct pkt_buf *frame)
{
	struct virtio_net_hdr request = gso_request(frame);
	uint32_t count = pieces_of(frame, q->super_iov);
	enum ixy_drop reason = IXY_DROP_TX_BAD_OFFLOAD;
	int err;

	/* The headers are looked at in any case: what the device is told must be true of the frame. */
	if (unlikely(!count || gso_begin(&q->gso, &request, q->super_iov, count) < 0))
		goto bad;
	if (unlikely(q->gso.header_size + q->gso.mss > ixy_longest_frame(&dev->ixy))) {
		reason = IXY_DROP_TX_TOO_LONG;
		goto bad;
	}
	if (likely(device_cuts(dev, &request) && request.flags && has_headroom(dev, frame))) {
		request.hdr_len = (uint16_t)q->gso.header_size;
		err = put(dev, q, frame, count, &request);
		if (unlikely(err == -EINVAL))
			goto bad;
		return likely(!err) ? QUEUED : NO_ROOM;
	}
	if (unlikely(!q->segments))
		goto bad;
	q->super = frame;
	cut(dev, q);
	return CUT;
bad:
	drop(q, frame, reason);
	return DROPPED;
}

/* A frame that is one on the wire: anything that is not plain about it. */
static enum verdict send_odd(struct net_device *dev, struct net_tx_queue *q, struct pkt_buf *frame)
{
	struct virtio_net_hdr request = gso_request(frame);
	struct iovec iov[NET_TX_PIECES];
	enum ixy_drop reason = IXY_DROP_TX_BAD_OFFLOAD;
	uint32_t count;
	int err;

	if (frame->frame_size < NET_ETH_HEADER || frame->size < NET_ETH_HEADER) {
		reason = IXY_DROP_TX_TOO_SHORT;
		goto bad;
	}
	if (frame->frame_size > ixy_longest_frame(&dev->ixy)) {
		reason = IXY_DROP_TX_TOO_LONG;
		goto bad;
	}
	count = pieces_of(frame, iov);
	if (!count)
		goto bad;
	if (virtqueue_free_count(&q->vq) == 0)
		return NO_ROOM;
	if (request.flags && (!virtio_has(dev->virtio, VIRTIO_NET_F_CSUM) || !has_headroom(dev, frame))) {
		if (gso_checksum(&request, iov, count) < 0)
			goto bad;
		frame->flags &=
			(uint16_t)~PKT_TX_L4_CSUM; /* must not be done twice, should it have to wait */
		request = gso_request(frame);
	} else if (request.flags &&
		   (request.csum_start < NET_ETH_HEADER ||
			   (uint32_t)request.csum_start + request.csum_offset + sizeof(uint16_t) >
				   frame->frame_size)) {
		goto bad;
	}
	err = put(dev, q, frame, count, &request);
	if (err == -EINVAL)
		goto bad;
	return err ? NO_ROOM : QUEUED;
bad:
	drop(q, frame, reason);
	return DROPPED;
}

/* The frames of a batch, until one finds no room. Returns how many are off the caller's hands. */
static uint32_t send_frames(
	struct net_device *dev, struct net_tx_queue *q, struct pkt_buf *bufs[], uint32_t limit)
{
	static const struct virtio_net_hdr plain;
	const uint32_t max = ixy_longest_frame(&dev->ixy);
	uint64_t frames = 0, bytes = 0;
	uint32_t n = 0;

	for (; n < limit; n++) {
		struct pkt_buf *frame = bufs[n];
		/* The device may be done with it, and we read its numbers later. */
		const uint32_t wire_frames = pkt_buf_wire_frames(frame);
		const uint64_t wire_bytes = pkt_buf_wire_bytes(frame);
		enum verdict verdict;

		if (likely(!(frame->flags & OFFLOAD_FLAGS) && frame->segments == 1 && !frame->next &&
			    frame->size == frame->frame_size && frame->size >= NET_ETH_HEADER &&
			    frame->size <= max)) {
			if (unlikely(put(dev, q, frame, 1, &plain) < 0))
				break;
			verdict = QUEUED;
		} else if (frame->flags & PKT_TX_SUPER) {
			verdict = send_super(dev, q, frame);
		} else {
			verdict = send_odd(dev, q, frame);
		}
		if (verdict == NO_ROOM)
			break;
		if (likely(verdict == QUEUED)) {
			frames += wire_frames;
			bytes += wire_bytes;
		}
		if (unlikely(q->super)) { /* one at a time; this one goes first */
			n++;
			break;
		}
	}
	if (frames) {
		stat_add(&q->stats.tx_frames, frames);
		stat_add(&q->stats.tx_bytes, bytes);
	}
	return n;
}

uint32_t net_tx_batch(struct ixy_device *ixy, uint16_t queue, struct pkt_buf *bufs[], uint32_t count)
{
	struct net_device *dev = net_device(ixy);
	struct net_tx_queue *q = &dev->tx[queue];
	uint32_t n = 0;

	if (unlikely(!q->running || !__atomic_load_n(&ixy->link.up, __ATOMIC_RELAXED))) {
		for (; n < count; n++)
			drop(q, bufs[n], IXY_DROP_TX_LINK_DOWN);
		if (!q->running)
			return n;
	}
	if (unlikely(q->broken)) /* until the reset, as if the ring were full */
		return n;
	if (virtqueue_pending(&q->vq))
		reclaim(dev, q);
	if (unlikely(q->super) && !cut(dev, q))
		count = n;
	n += send_frames(dev, q, bufs + n, count - n);
	if (virtqueue_publish(&q->vq))
		virtio_notify(dev->virtio, q->index);
	return n;
}

/* --- the rest ----------------------------------------------------------------------------------------- */

void net_tx_drop(struct ixy_device *ixy, uint16_t queue, enum ixy_drop reason)
{
	stat_add(&net_device(ixy)->tx[queue].stats.drops[reason], 1);
}

uint32_t net_tx_pending(struct ixy_device *ixy, uint16_t queue)
{
	const struct net_tx_queue *q = &net_device(ixy)->tx[queue];

	return virtqueue_pending(&q->vq) + (q->super ? q->gso.segments - q->gso.emitted : 0);
}

int net_tx_alloc(struct net_device *dev, uint16_t queue)
{
	struct net_tx_queue *q = &dev->tx[queue];
	const uint32_t all = 1u << VIRTIO_NET_HDR_GSO_TCPV4 | 1u << VIRTIO_NET_HDR_GSO_TCPV6 |
			     1u << VIRTIO_NET_HDR_GSO_UDP_L4;

	if (dev->tx_kinds == all && dev->tx_ecn)
		return 0;
	q->segments = ixy_mempool_create(&dev->ixy, dev->tx_size + NET_BURST, PKT_BUF_DATA_SIZE);
	return q->segments ? 0 : -errno;
}

void net_tx_free(struct net_device *dev, uint16_t queue)
{
	struct net_tx_queue *q = &dev->tx[queue];

	if (ixy_mempool_free(q->segments) < 0)
		ixy_log(IXY_LOG_WARNING, "%s: transmit queue %u: buffers are missing at the end",
			dev->ixy.name, queue);
	q->segments = NULL;
}

void net_tx_empty(struct net_device *dev, uint16_t queue, enum ixy_drop reason)
{
	struct net_tx_queue *q = &dev->tx[queue];
	struct pkt_buf *frame;
	uint64_t lost = 0, bytes = 0;

	q->running = false;
	if (virtqueue_num(&q->vq) && !q->broken)
		reclaim(dev, q);
	while (virtqueue_num(&q->vq) && (frame = virtqueue_detach(&q->vq))) {
		lost += pkt_buf_wire_frames(frame);
		bytes += pkt_buf_wire_bytes(frame);
		pkt_buf_free(frame);
	}
	/* Those had been counted as sent. */
	stat_add(&q->stats.tx_frames, -lost);
	stat_add(&q->stats.tx_bytes, -bytes);
	if (q->super) {
		lost += q->gso.segments - q->gso.emitted;
		pkt_buf_free(q->super);
		q->super = NULL;
	}
	stat_add(&q->stats.drops[reason], lost);
	virtqueue_free(&q->vq);
	__atomic_store_n(&q->broken, false, __ATOMIC_RELAXED);
}
