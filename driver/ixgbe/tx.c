/*
 * Sending: one descriptor ring a queue (datasheet 7.2).
 *
 * A frame takes one descriptor for each of its buffers; EOP marks the last. We write descriptors at `next`
 * and move the tail once a batch. The NIC fetches, sends, and reports back only where RS (report status) is
 * set: it then sets DD in that descriptor, which means that all before it have left as well. So RS is set
 * sparsely, on every 32nd descriptor and on the last of a batch: fewer write-backs over PCIe, and none is
 * stranded. TXDCTL.WTHRESH stays 0, because the NIC ignores RS otherwise (7.2.3.5.2).
 *
 *	      clean              next = tail
 *	 free | sent or in flight | free ...
 *
 * `rs` remembers where RS was set, oldest first: reclaiming looks at one descriptor a step.
 */
#include <endian.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "driver/ixgbe/ixgbe.h"

#define likely(x)   __builtin_expect(!!(x), 1)
#define unlikely(x) __builtin_expect(!!(x), 0)

/*
 * The shortest frame on the wire, without CRC. The NIC pads too (TXPADEN), but not frames under 17 bytes
 * (7.2.1.2).
 */
#define ETH_MIN_FRAME        60u
#define ETH_HEADER           14u
#define IXGBE_TX_SEGMENT_MAX (16u << 10)
#define VLAN_TAG             4u

/* --- hot path ------------------------------------------------------------------------------------ */

/* Free the frames in descriptors clean .. last. */
static void tx_free_to(struct ixgbe_tx_queue *q, uint16_t last)
{
	uint16_t end = (uint16_t)(last + 1) & q->mask;

	/* The control thread watches it (stats.c). */
	__atomic_store_n(
		&q->completed, q->completed + ((uint32_t)(end - q->clean) & q->mask), __ATOMIC_RELAXED);
	if (end < q->clean) { /* around the ring's end */
		pkt_buf_free_batch(&q->bufs[q->clean], q->mask + 1u - q->clean);
		q->clean = 0;
	}
	pkt_buf_free_batch(&q->bufs[q->clean], (uint32_t)(end - q->clean));
	q->clean = end;
}

/* Take back what has left: follow the descriptors with RS as far as DD is set. */
static void tx_reclaim(struct ixgbe_tx_queue *q)
{
	if (q->rs_head == q->rs_tail)
		return;
	__atomic_store_n(&q->reclaims, q->reclaims + 1, __ATOMIC_RELAXED);
	while (q->rs_head != q->rs_tail) {
		uint16_t last = q->rs[q->rs_head & q->mask];
		uint32_t status = le32toh(__atomic_load_n(&q->descs[last].wb.status, __ATOMIC_ACQUIRE));

		if (!(status & TXD_STAT_DD))
			break;
		q->rs_head++;
		tx_free_to(q, last);
	}
}

/* What a frame's descriptors have in common. */
struct tx_plan {
	enum ixy_drop drop; /* IXY_DROP_COUNT: it can be sent */
	bool new_context;   /* a context descriptor goes first */
	uint32_t command, olinfo;
	struct ixgbe_context context;
};

/* What a batch adds up to, and what holds for all of it. */
struct tx_sum {
	uint64_t frames, bytes; /* on the wire */
	bool link_up;
};

#define TX_PLAIN    (TXD_DTYP_DATA | TXD_CMD_DEXT | TXD_CMD_IFCS | TXD_CMD_EOP)
#define TX_OFFLOADS (PKT_TX_L4_CSUM | PKT_TX_TSO4 | PKT_TX_TSO6 | PKT_TX_USO)

static void tx_plan_offload(const struct ixgbe_tx_queue *q, struct pkt_buf *frame, struct tx_plan *plan)
{
	if (ixgbe_tx_offload(frame, &plan->context, &plan->command, &plan->olinfo) < 0)
		plan->drop = IXY_DROP_TX_BAD_OFFLOAD;
	else
		plan->new_context = memcmp(&plan->context, &q->context, sizeof(q->context)) != 0;
}

/* A descriptor holds 1 byte to 16 KiB (7.2.3.2.4), and a chain must be what its first segment says it is. */
static bool tx_chain_sound(const struct pkt_buf *frame)
{
	uint64_t sum = 0;
	uint32_t segments = 0;

	for (const struct pkt_buf *buf = frame; buf; buf = buf->next, segments++) {
		if (buf->size == 0 || buf->size > IXGBE_TX_SEGMENT_MAX || segments == frame->segments)
			return false;
		sum += buf->size;
	}
	return segments == frame->segments && sum == frame->frame_size;
}

/* Decide whether and how this frame is sent. May pad it. */
static void tx_plan(const struct ixgbe_device *dev, const struct ixgbe_tx_queue *q, struct pkt_buf *frame,
	struct tx_plan *plan)
{
	bool tso = frame->flags & (PKT_TX_TSO4 | PKT_TX_TSO6 | PKT_TX_USO);
	uint32_t longest = __atomic_load_n(&dev->ixy.mtu, __ATOMIC_RELAXED) + ETH_HEADER + VLAN_TAG;

	plan->drop = IXY_DROP_COUNT;
	plan->new_context = false;
	plan->command = TXD_DTYP_DATA | TXD_CMD_DEXT | TXD_CMD_IFCS;
	plan->olinfo = frame->frame_size << TXD_OL_PAYLEN_SHIFT; /* without TSO: all bytes of the frame */
	if (unlikely(frame->frame_size < ETH_HEADER || frame->size < ETH_HEADER)) {
		plan->drop = IXY_DROP_TX_TOO_SHORT;
	} else if (unlikely((tso ? frame->header_size + frame->gso_size : frame->frame_size) > longest ||
			    frame->segments > PKT_BUF_MAX_SEGMENTS - 1)) {
		plan->drop = IXY_DROP_TX_TOO_LONG;
	} else if (frame->segments != 1 && unlikely(!tx_chain_sound(frame))) {
		plan->drop = IXY_DROP_TX_BAD_OFFLOAD;
	} else if (frame->flags & TX_OFFLOADS) {
		tx_plan_offload(q, frame, plan);
	} else if (unlikely(frame->frame_size < ETH_MIN_FRAME && frame->segments == 1)) {
		memset(frame->data + frame->size, 0, ETH_MIN_FRAME - frame->size);
		frame->size = frame->frame_size = ETH_MIN_FRAME;
		plan->olinfo = ETH_MIN_FRAME << TXD_OL_PAYLEN_SHIFT;
	}
}

/* The next descriptor, and what tx_free_to() is to free with it. */
static inline volatile union ixgbe_tx_desc *tx_next(struct ixgbe_tx_queue *q, struct pkt_buf *frame)
{
	volatile union ixgbe_tx_desc *desc = &q->descs[q->next];

	q->bufs[q->next] = frame;
	q->next = (uint16_t)(q->next + 1) & q->mask;
	return desc;
}

static void tx_write_context(struct ixgbe_tx_queue *q, const struct ixgbe_context *context)
{
	volatile union ixgbe_tx_desc *desc = tx_next(q, NULL);

	desc->context.vlan_maclen_iplen = htole32(context->vlan_maclen_iplen);
	desc->context.fcoef_ipsec = 0;
	desc->context.tucmd = htole32(context->tucmd);
	desc->context.mss_l4len_idx = htole32(context->mss_l4len_idx);
	q->context = *context;
}

/* DD, in the word of olinfo, is clear. */
static inline void tx_write_data(
	volatile union ixgbe_tx_desc *desc, const struct pkt_buf *buf, uint32_t command, uint32_t olinfo)
{
	desc->read.addr = htole64(pkt_buf_data_iova(buf));
	desc->half[1] = htole64((uint64_t)olinfo << 32 | command | buf->size);
}

/* Write the descriptors of one frame, for which there is room. */
static void tx_write(struct ixgbe_tx_queue *q, struct pkt_buf *frame, const struct tx_plan *plan)
{
	struct pkt_buf *buf = frame;

	if (plan->new_context)
		tx_write_context(q, &plan->context);
	for (; buf->next; buf = buf->next)
		tx_write_data(tx_next(q, NULL), buf, plan->command, plan->olinfo);
	tx_write_data(tx_next(q, frame), buf, plan->command | TXD_CMD_EOP, plan->olinfo);
}

/*
 * Ask for a report on the descriptor before `next`, an EOP. The NIC has not seen it yet: the tail is behind.
 */
static void tx_request_status(struct ixgbe_tx_queue *q)
{
	uint16_t last = (uint16_t)(q->next - 1) & q->mask;

	q->descs[last].read.cmd_type_len |= htole32(TXD_CMD_RS);
	q->rs[q->rs_tail++ & q->mask] = last;
}

/*
 * A frame that is not plain: in several buffers, with an offload, to be padded, or not to be sent at all. Returns
 * whether it was taken, that is, sent or dropped; else there is no room for it.
 */
static bool tx_special(
	struct ixgbe_device *dev, struct ixgbe_tx_queue *q, struct pkt_buf *frame, struct tx_sum *sum)
{
	uint32_t room = (uint32_t)(q->clean - q->next - 1) & q->mask;
	struct tx_plan plan = {.drop = IXY_DROP_TX_LINK_DOWN};

	if (likely(sum->link_up)) {
		/*
		 * A context may come on top. To be known first: planning TSO changes the headers. What has more
		 * segments than the NIC takes is not waited for but dropped by the plan.
		 */
		if (frame->segments + (frame->flags & TX_OFFLOADS ? 1u : 0u) > room &&
			frame->segments < PKT_BUF_MAX_SEGMENTS)
			return false;
		tx_plan(dev, q, frame, &plan);
	}
	if (plan.drop != IXY_DROP_COUNT) {
		count(&q->stats.drops[plan.drop], pkt_buf_wire_frames(frame));
		pkt_buf_free(frame);
		return true;
	}
	tx_write(q, frame, &plan);
	sum->frames += pkt_buf_wire_frames(frame);
	sum->bytes += pkt_buf_wire_bytes(frame);
	return true;
}

uint32_t ixgbe_tx_batch(struct ixy_device *ixy, uint16_t queue, struct pkt_buf *bufs[], uint32_t limit)
{
	struct ixgbe_device *dev = ixgbe(ixy);
	struct ixgbe_tx_queue *q = &dev->tx[queue];
	struct tx_sum sum = {.link_up = __atomic_load_n(&dev->ixy.link.up, __ATOMIC_RELAXED)};
	/* With the link down no length is plain, and every frame is dropped by its name. */
	const uint32_t plain_lengths = sum.link_up ? __atomic_load_n(&dev->ixy.mtu, __ATOMIC_RELAXED) +
							     ETH_HEADER + VLAN_TAG + 1 - ETH_MIN_FRAME
						   : 0;
	uint32_t n, room, since_rs = 0;
	uint16_t start;

	tx_reclaim(q);
	start = q->next;
	room = (uint32_t)(q->clean - q->next - 1) & q->mask;
	for (n = 0; n < limit; n++) {
		struct pkt_buf *frame = bufs[n];

		if (likely(frame->segments == 1 && !(frame->flags & TX_OFFLOADS) &&
			    frame->frame_size - ETH_MIN_FRAME < plain_lengths &&
			    frame->size == frame->frame_size)) {
			if (unlikely(room == 0))
				break;
			tx_write_data(tx_next(q, frame), frame, TX_PLAIN, frame->size << TXD_OL_PAYLEN_SHIFT);
			sum.frames++;
			sum.bytes += frame->size;
			room--;
			since_rs++;
		} else {
			uint16_t before = q->next;

			if (!tx_special(dev, q, frame, &sum))
				break;
			since_rs += (uint32_t)(q->next - before) & q->mask;
			room = (uint32_t)(q->clean - q->next - 1) & q->mask;
		}
		if (unlikely(since_rs >= IXGBE_TX_RS_EVERY)) {
			tx_request_status(q);
			since_rs = 0;
		}
	}
	if (q->next != start) {
		if (since_rs)
			tx_request_status(q);
		pci_doorbell_ring(&q->tail, q->next);
		count(&q->stats.tx_frames, sum.frames);
		count(&q->stats.tx_bytes, sum.bytes);
	}
	__atomic_store_n(&q->pending, (uint32_t)(q->next - q->clean) & q->mask, __ATOMIC_RELAXED);
	return n;
}

void ixgbe_tx_drop(struct ixy_device *dev, uint16_t queue, enum ixy_drop reason)
{
	count(&ixgbe(dev)->tx[queue].stats.drops[reason], 1);
}

uint32_t ixgbe_tx_pending(struct ixy_device *dev, uint16_t queue)
{
	const struct ixgbe_tx_queue *q = &ixgbe(dev)->tx[queue];

	return (uint32_t)(q->next - q->clean) & q->mask;
}

/* --- a queue's life ------------------------------------------------------------------------------ */

int ixgbe_tx_queue_alloc(struct ixgbe_device *dev, uint16_t queue, uint8_t *ring)
{
	struct ixgbe_tx_queue *q = &dev->tx[queue];

	q->descs = (volatile union ixgbe_tx_desc *)ring;
	q->mask = dev->tx_ring - 1;
	q->bufs = calloc(dev->tx_ring, sizeof(*q->bufs));
	q->rs = calloc(dev->tx_ring, sizeof(*q->rs));
	if (!q->bufs || !q->rs)
		return ixy_fail(ENOMEM, "%s: no memory for transmit queue %u", dev->ixy.name, queue);
	return 0;
}

void ixgbe_tx_queue_free(struct ixgbe_device *dev, uint16_t queue)
{
	struct ixgbe_tx_queue *q = &dev->tx[queue];

	free(q->bufs);
	free(q->rs);
	q->bufs = NULL;
	q->rs = NULL;
}

/*
 * What is the same for all transmit queues (4.6.8). The arbiter is off while its inputs change (8.2.3.10.2).
 */
void ixgbe_tx_setup(struct ixgbe_device *dev)
{
	reg_set(dev, HLREG0, HLREG0_TXCRCEN | HLREG0_TXPADEN);

	reg_set(dev, RTTDCS, RTTDCS_ARBDIS);
	reg_write(dev, DTXMXSZRQ, DTXMXSZRQ_MAX);
	reg_write(dev, TXPBSIZE(0), TXPB_TOTAL_KIB << TXPBSIZE_SHIFT);
	reg_write(dev, TXPBTHRESH(0), TXPB_TOTAL_KIB - 10); /* the longest frame must fit above it */
	for (unsigned i = 1; i < 8; i++) {
		reg_write(dev, TXPBSIZE(i), 0);
		reg_write(dev, TXPBTHRESH(i), 0);
	}
	reg_write(dev, MTQC, 0); /* one traffic class, no virtualisation */
	for (unsigned i = 0; i < dev->ixy.tx_queues; i++) {
		reg_write(dev, RTTDQSEL, i);
		reg_write(dev, RTTBCNRC, 0); /* no rate limit, whatever a driver before us has set */
	}
	reg_clear(dev, RTTDCS, RTTDCS_ARBDIS);

	/* TSO: FIN and PSH belong to the last segment only, CWR to the first (8.2.3.9.3, .4). */
	reg_write(dev, DTXTCPFLGL, DTXTCPFLGL_FIRST | DTXTCPFLGL_MIDDLE << 16);
	reg_write(dev, DTXTCPFLGH, DTXTCPFLGH_LAST);

	reg_set(dev, DMATXCTL, DMATXCTL_TE); /* before the first queue is enabled */
}

int ixgbe_tx_queue_start(struct ixgbe_device *dev, uint16_t queue)
{
	struct ixgbe_tx_queue *q = &dev->tx[queue];
	uint64_t base = dma_iova(dev->rings, (const void *)q->descs);

	memset((void *)q->descs, 0, (q->mask + 1u) * sizeof(*q->descs));
	q->next = q->clean = 0;
	q->rs_head = q->rs_tail = 0;
	memset(&q->context, 0, sizeof(q->context)); /* a reset forgets it; no valid context is all zero */

	reg_write(dev, TDBAL(queue), (uint32_t)base);
	reg_write(dev, TDBAH(queue), (uint32_t)(base >> 32));
	reg_write(dev, TDLEN(queue), (q->mask + 1u) * (uint32_t)sizeof(*q->descs));
	reg_write(dev, TDH(queue), 0);
	reg_write(dev, TDT(queue), 0);
	reg_write(dev, TDWBAL(queue), 0); /* status comes back in the descriptors, not as a head pointer */
	reg_clear(dev, DCA_TXCTRL(queue), DCA_TXCTRL_DESC_WRO_EN); /* DD must not overtake what it reports */

	/*
	 * Prefetch when under 32 descriptors are on the chip and one waits in memory: 14.88 Mpps on one queue
	 * need that. HTHRESH must not be 0 where PTHRESH is used (8.2.3.9.10).
	 */
	reg_write(dev, TXDCTL(queue),
		32u << TXDCTL_PTHRESH_SHIFT | 1u << TXDCTL_HTHRESH_SHIFT | 0u << TXDCTL_WTHRESH_SHIFT |
			TXDCTL_ENABLE);
	int err =
		ixgbe_wait(dev, TXDCTL(queue), TXDCTL_ENABLE, TXDCTL_ENABLE, 100, "transmit queue to start");
	if (err)
		return err;
	pci_doorbell_init(dev->ixy.pci, TDT(queue), &q->tail);
	return 0;
}

void ixgbe_tx_queue_stop(struct ixgbe_device *dev, uint16_t queue)
{
	reg_clear(dev, TXDCTL(queue), TXDCTL_ENABLE);
	if (ixgbe_wait(dev, TXDCTL(queue), TXDCTL_ENABLE, 0, 100, "transmit queue to stop") == -ETIMEDOUT)
		ixy_log(IXY_LOG_WARNING, "%s", ixy_last_error());
}

void ixgbe_tx_queue_empty(struct ixgbe_device *dev, uint16_t queue, enum ixy_drop reason)
{
	struct ixgbe_tx_queue *q = &dev->tx[queue];

	if (!q->bufs)
		return;
	tx_reclaim(q);
	for (; q->clean != q->next; q->clean = (uint16_t)(q->clean + 1) & q->mask) {
		struct pkt_buf *frame = q->bufs[q->clean];

		if (!frame)
			continue;
		/* It had been counted as sent when it was queued. */
		uint64_t frames = pkt_buf_wire_frames(frame);

		count(&q->stats.drops[reason], frames);
		count(&q->stats.tx_frames, -frames);
		count(&q->stats.tx_bytes, -pkt_buf_wire_bytes(frame));
		pkt_buf_free(frame);
	}
	q->next = q->clean = 0;
	q->rs_head = q->rs_tail = 0;
	__atomic_store_n(&q->pending, 0, __ATOMIC_RELAXED);
}
