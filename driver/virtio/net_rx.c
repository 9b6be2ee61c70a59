/*
 * Receiving.
 *
 * The ring holds empty buffers. The device writes a header and the frame behind it into one; if it may merge buffers
 * (VIRTIO_NET_F_MRG_RXBUF) it goes on in the next ones, and num_buffers in the header says how many there are in all:
 *
 *	pkt_buf | headroom ... header | frame, up to the buffer's end        first of a frame
 *	pkt_buf | headroom ... frame goes on, up to the buffer's end         those behind it
 *
 * Without merging each frame has to fit one buffer.
 *
 * What the header says of checksums becomes flags: DATA_VALID is PKT_RX_L4_CSUM_GOOD; NEEDS_CSUM, a frame from a
 * sender on the same host that has left its checksum to us, is PKT_TX_L4_CSUM, as whoever sends it on wants it. Of
 * others nobody has said anything, so they are summed up here. A super-frame, which comes only where
 * options->rx_super_frames asks for it, looks like one that is to be sent: it has to be what a sender could ask for.
 */
#include <endian.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "driver/mempool.h"
#include "driver/verify.h"
#include "driver/virtio/net.h"

#define likely(x)   __builtin_expect(!!(x), 1)
#define unlikely(x) __builtin_expect(!!(x), 0)

/* The longest frame that the device may hand over: an IP packet of 64 KiB, which only super-frames come near to. */
#define LONGEST_FRAME (NET_ETH_HEADER + 2 * NET_VLAN_TAG + 65535u)

/* Buffers of such a frame, of 2 KiB each; the device fills one before it goes on to the next. */
#define MAX_BUFFERS (LONGEST_FRAME / PKT_BUF_DATA_SIZE + 1)

/* --- empty buffers into the ring ---------------------------------------------------------------------- */

/* Descriptors that a buffer takes. */
static inline uint16_t descriptors(const struct net_device *dev)
{
	return dev->split_header && !dev->merge ? 2 : 1;
}

/* A buffer for a device that wants its header apart. */
static bool post_split(const struct net_device *dev, struct net_rx_queue *q, struct pkt_buf *buf)
{
	const uint64_t data = pkt_buf_start_iova(buf);
	const struct virtqueue_piece pieces[2] = {
		{data - dev->header_size, dev->header_size},
		{data, q->buffer_size},
	};

	return virtqueue_add(&q->vq, pieces, 0, 2, buf) == 0;
}

/* Up to NET_BURST buffers. Returns how many the ring took of them. */
static uint32_t post(
	const struct net_device *dev, struct net_rx_queue *q, struct pkt_buf *const bufs[], uint32_t n)
{
	struct virtqueue_piece pieces[NET_BURST];
	uint32_t i = 0;

	if (unlikely(descriptors(dev) == 2)) {
		while (i < n && post_split(dev, q, bufs[i]))
			i++;
		return i;
	}
	for (; i < n; i++) {
		pieces[i].address = pkt_buf_start_iova(bufs[i]) - dev->header_size;
		pieces[i].size = dev->header_size + q->buffer_size;
	}
	return virtqueue_add_each(&q->vq, pieces, (void *const *)bufs, n, true);
}

/* Fill the ring as far as the pool goes; the fields of a buffer are set when it has been received into. */
static void refill(struct net_device *dev, struct net_rx_queue *q)
{
	uint32_t room = virtqueue_free_count(&q->vq) / descriptors(dev);

	while (room) {
		struct pkt_buf *bufs[NET_BURST];
		uint32_t want = room < NET_BURST ? room : NET_BURST;
		uint32_t n = mempool_take(q->pool, bufs, want);
		uint32_t posted = post(dev, q, bufs, n);

		if (unlikely(posted < n))
			mempool_put(q->pool, bufs + posted, n - posted);
		if (posted < want)
			break;
		room -= want;
	}
	if (virtqueue_publish(&q->vq))
		virtio_notify(dev->virtio, q->index);
}

/* --- what the header says ----------------------------------------------------------------------------- */

/* A super-frame: its own headers have to say the same as the device's. Returns the reason to drop it, or COUNT. */
static enum ixy_drop super_frame(const struct net_device *dev, struct net_rx_queue *q, struct pkt_buf *frame,
	const struct virtio_net_hdr_v1 *h)
{
	struct virtio_net_hdr request = {
		.flags = h->flags & VIRTIO_NET_HDR_F_NEEDS_CSUM,
		.gso_type = h->gso_type,
		.gso_size = le16toh(h->gso_size),
		.csum_start = le16toh(h->csum_start),
		.csum_offset = le16toh(h->csum_offset),
	};
	const unsigned kind = h->gso_type & ~VIRTIO_NET_HDR_GSO_ECN;
	struct iovec iov[MAX_BUFFERS];
	size_t count = 0;

	if (kind >= 32 || !(dev->rx_kinds >> kind & 1) || !request.flags)
		return IXY_DROP_RX_BAD_DESCRIPTOR;
	for (const struct pkt_buf *buf = frame; buf; buf = buf->next)
		iov[count++] = (struct iovec){buf->data, buf->size};
	if (gso_begin(&q->gso, &request, iov, count) < 0)
		return IXY_DROP_RX_BAD_DESCRIPTOR;
	if (q->gso.header_size + request.gso_size > ixy_longest_frame(&dev->ixy))
		return IXY_DROP_RX_TOO_LONG;
	frame->flags = PKT_TX_L4_CSUM | gso_flags(h->gso_type);
	frame->csum_start = request.csum_start;
	frame->csum_offset = request.csum_offset;
	frame->gso_size = request.gso_size;
	frame->header_size = (uint16_t)q->gso.header_size;
	return IXY_DROP_COUNT;
}

/* Turn the header into flags. Returns the reason to drop the frame, or IXY_DROP_COUNT. */
static inline enum ixy_drop judge(const struct net_device *dev, struct net_rx_queue *q, struct pkt_buf *frame,
	const struct virtio_net_hdr_v1 *h)
{
	if (unlikely(frame->size < NET_ETH_HEADER))
		return IXY_DROP_RX_ERROR;
	if (unlikely(h->gso_type != VIRTIO_NET_HDR_GSO_NONE))
		return super_frame(dev, q, frame, h);
	if (unlikely(frame->frame_size > ixy_longest_frame(&dev->ixy)))
		return IXY_DROP_RX_TOO_LONG;
	if (h->flags & VIRTIO_NET_HDR_F_NEEDS_CSUM) {
		const uint32_t start = le16toh(h->csum_start), offset = le16toh(h->csum_offset);

		if (unlikely(start < NET_ETH_HEADER || start + offset + sizeof(uint16_t) > frame->frame_size))
			return IXY_DROP_RX_BAD_DESCRIPTOR;
		frame->flags = PKT_TX_L4_CSUM;
		frame->csum_start = (uint16_t)start;
		frame->csum_offset = (uint16_t)offset;
		verify_ip_checksum(frame);
	} else if (h->flags & VIRTIO_NET_HDR_F_DATA_VALID) {
		frame->flags = PKT_RX_L4_CSUM_GOOD;
		verify_ip_checksum(frame);
	} else {
		verify_checksums(frame);
	}
	return IXY_DROP_COUNT;
}

/* --- frames ------------------------------------------------------------------------------------------- */

/* The frame in hand will not be one. The buffers that it still lacks come without a chain to belong to. */
static void give_up(struct net_rx_queue *q, enum ixy_drop reason)
{
	pkt_buf_free(q->chain);
	q->chain = NULL;
	stat_add(&q->stats.drops[reason], 1);
}

/* The frame in hand is complete. Returns it, if it is one for the caller. */
static struct pkt_buf *complete(struct net_device *dev, struct net_rx_queue *q)
{
	struct pkt_buf *frame = q->chain;
	enum ixy_drop reason = judge(dev, q, frame, &q->header);

	if (unlikely(reason != IXY_DROP_COUNT)) {
		give_up(q, reason);
		return NULL;
	}
	q->chain = NULL;
	if (unlikely(!__atomic_load_n(&dev->up, __ATOMIC_RELAXED))) { /* nothing is received then */
		pkt_buf_free(frame);
		return NULL;
	}
	if (unlikely(frame->data[0] & 1)) {
		static const uint8_t broadcast[6] = {0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF};

		stat_add(
			memcmp(frame->data, broadcast, sizeof(broadcast)) ? &q->multicast : &q->broadcast, 1);
	}
	return frame;
}

/* How many buffers the frame takes that begins with this header; 0: the device is out of its mind. */
static inline uint16_t buffers_of(const struct net_device *dev, const struct virtio_net_hdr_v1 *header)
{
	const uint16_t n = dev->merge ? le16toh(header->num_buffers) : 1;

	return n <= MAX_BUFFERS ? n : 0;
}

/* A buffer came back with so many bytes in it. Returns the frame that it completes, if it does. */
static struct pkt_buf *take(
	struct net_device *dev, struct net_rx_queue *q, struct pkt_buf *buf, uint32_t written)
{
	uint8_t *header = pkt_buf_start(buf) - dev->header_size;
	struct pkt_buf *first;

	if (unlikely(q->broken)) {
		mempool_put(q->pool, &buf, 1);
		return NULL;
	}
	buf->next = NULL;
	if (likely(q->missing == 0)) {
		/* The device could still write there: what is judged is a copy. */
		memcpy(&q->header, header, NET_HEADER_SIZE);
		q->missing = buffers_of(dev, &q->header);
		if (unlikely(q->missing == 0 || written < dev->header_size)) {
			/* Where the next frame begins is anybody's guess now. */
			mempool_put(q->pool, &buf, 1);
			stat_add(&q->stats.drops[IXY_DROP_RX_BAD_DESCRIPTOR], 1);
			net_queue_broke(dev, &q->broken,
				q->missing ? "a received frame is shorter than its header"
					   : "a received frame says that it lies in 0 or too many buffers");
			q->missing = 0;
			return NULL;
		}
		q->missing--;
		q->chain = q->chain_last = buf;
		buf->data = pkt_buf_start(buf);
		buf->size = buf->frame_size = written - dev->header_size;
		pkt_buf_set_flags(buf, 0, 1);
		return likely(q->missing == 0) ? complete(dev, q) : NULL;
	}
	q->missing--;
	first = q->chain;
	if (unlikely(!first)) { /* it was given up */
		mempool_put(q->pool, &buf, 1);
		return NULL;
	}
	if (unlikely(written == 0 || first->frame_size + written > LONGEST_FRAME)) {
		mempool_put(q->pool, &buf, 1);
		give_up(q, IXY_DROP_RX_BAD_DESCRIPTOR);
		return NULL;
	}
	buf->data = header;
	buf->size = written;
	pkt_buf_set_flags(buf, 0, 1);
	q->chain_last->next = buf;
	q->chain_last = buf;
	first->frame_size += written;
	first->segments++;
	return q->missing == 0 ? complete(dev, q) : NULL;
}

/* Frames out of the ring, up to limit of them. */
static uint32_t take_frames(
	struct net_device *dev, struct net_rx_queue *q, struct pkt_buf *bufs[], uint32_t limit)
{
	uint64_t frames = 0, bytes = 0;
	uint32_t n = 0;

	while (n < limit) {
		struct virtqueue_used used[NET_BURST];
		unsigned want = limit - n < NET_BURST ? limit - n : NET_BURST;
		int got = virtqueue_take(&q->vq, used, want);

		if (unlikely(got < 0)) {
			net_queue_broke(dev, &q->broken, NULL);
			break;
		}
		for (int i = 0; i < got; i++) {
			struct pkt_buf *frame;

			if (i + 1 < got) {
				__builtin_prefetch(used[i + 1].cookie, 1);
				__builtin_prefetch((uint8_t *)used[i + 1].cookie + sizeof(*frame) +
						   PKT_BUF_HEADROOM - NET_HEADER_SIZE);
				__builtin_prefetch(
					(uint8_t *)used[i + 1].cookie + sizeof(*frame) + PKT_BUF_HEADROOM);
			}
			frame = take(dev, q, used[i].cookie, used[i].written);
			if (!frame)
				continue;
			frames += pkt_buf_wire_frames(frame);
			bytes += pkt_buf_wire_bytes(frame);
			bufs[n++] = frame;
		}
		if ((unsigned)got < want)
			break;
	}
	if (n) {
		stat_add(&q->stats.rx_frames, frames);
		stat_add(&q->stats.rx_bytes, bytes);
	}
	return n;
}

uint32_t net_rx_batch(struct ixy_device *ixy, uint16_t queue, struct pkt_buf *bufs[], uint32_t limit)
{
	struct net_device *dev = net_device(ixy);
	struct net_rx_queue *q = &dev->rx[queue];
	uint16_t pending = virtqueue_pending(&q->vq);
	uint32_t n;

	if (unlikely(q->broken || !virtqueue_num(&q->vq)))
		return 0;
	n = take_frames(dev, q, bufs, limit);
	/*
	 * Buffers came back, but with nothing for the caller, who may go to sleep now. With EVENT_IDX one entry signals,
	 * and it lies behind us: the next one has to. Ends with the buffers in the ring.
	 */
	while (unlikely(n == 0 && q->armed && virtqueue_pending(&q->vq) != pending)) {
		pending = virtqueue_pending(&q->vq);
		if (virtqueue_arm(&q->vq))
			n = take_frames(dev, q, bufs, limit);
	}
	if (n && q->armed) {
		virtqueue_disarm(&q->vq);
		q->armed = false;
	}
	if (virtqueue_free_count(&q->vq) >= virtqueue_num(&q->vq) / 8 && q->running)
		refill(dev, q);
	return n;
}

/* --- sleeping ----------------------------------------------------------------------------------------- */

int net_rx_irq_fd(const struct ixy_device *ixy, uint16_t queue)
{
	return net_device_const(ixy)->rx[queue].irq_fd;
}

void net_rx_irq_arm(struct ixy_device *ixy, uint16_t queue)
{
	struct net_device *dev = net_device(ixy);
	struct net_rx_queue *q = &dev->rx[queue];
	uint64_t signals;

	if (!dev->interrupts || q->broken || !virtqueue_num(&q->vq))
		return;
	/* Empties the eventfd; it fails with EAGAIN where it was empty, which is as good. */
	if (read(q->irq_fd, &signals, sizeof(signals)) < 0)
		signals = 0;
	/* What has been used by now the caller sees when he looks once more. */
	virtqueue_arm(&q->vq);
	q->armed = true;
}

/* --- a queue's life ----------------------------------------------------------------------------------- */

int net_rx_alloc(struct net_device *dev, uint16_t queue)
{
	struct net_rx_queue *q = &dev->rx[queue];
	const bool large = dev->rx_kinds && dev->merge;
	/* The ring's, as many again in the caller's hands or in another device's transmit ring, and some. */
	const uint32_t buffers = dev->rx_size * 2u + (large ? 320 : 1024);

	q->pool = ixy_mempool_create(&dev->ixy, buffers, large ? NET_SUPER_BUFFER : PKT_BUF_DATA_SIZE);
	if (!q->pool)
		return -errno;
	q->buffer_size = q->pool->data_size;
	return 0;
}

void net_rx_free(struct net_device *dev, uint16_t queue)
{
	struct net_rx_queue *q = &dev->rx[queue];

	if (ixy_mempool_free(q->pool) < 0)
		ixy_log(IXY_LOG_WARNING,
			"%s: receive queue %u: the caller still holds buffers, their memory stays",
			dev->ixy.name, queue);
	q->pool = NULL;
}

void net_rx_start(struct net_device *dev, uint16_t queue)
{
	struct net_rx_queue *q = &dev->rx[queue];

	q->chain = NULL;
	q->missing = 0;
	q->armed = false;
	q->running = true;
	refill(dev, q);
}

void net_rx_empty(struct net_device *dev, uint16_t queue, enum ixy_drop reason)
{
	struct net_rx_queue *q = &dev->rx[queue];
	struct pkt_buf *buf;

	q->running = false;
	/* The device has handed these over. Whatever is wrong with a frame, it ends once. */
	while (virtqueue_num(&q->vq) && !q->broken) {
		struct virtqueue_used used[NET_BURST];
		int got = virtqueue_take(&q->vq, used, NET_BURST);

		if (got <= 0)
			break;
		for (int i = 0; i < got; i++) {
			struct pkt_buf *frame = take(dev, q, used[i].cookie, used[i].written);

			if (frame) {
				stat_add(&q->stats.drops[reason], pkt_buf_wire_frames(frame));
				pkt_buf_free(frame);
			}
		}
	}
	pkt_buf_free(q->chain);
	q->chain = NULL;
	while (virtqueue_num(&q->vq) && (buf = virtqueue_detach(&q->vq)))
		mempool_put(q->pool, &buf, 1);
	virtqueue_free(&q->vq);
	__atomic_store_n(&q->broken, false, __ATOMIC_RELAXED);
}
