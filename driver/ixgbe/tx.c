/*
 * Sending: one descriptor ring a queue (datasheet 7.2).
 *
 * A frame takes one descriptor for each of its buffers; EOP marks the last. We write descriptors at `next`
 * and move the tail once a batch. The NIC fetches, sends, and reports back only where RS (report status) is
 * set: it then sets DD in that descriptor, which means that all before it have left as well. So RS is set
 * sparsely, on each 32nd descriptor of a batch and on its last: fewer write-backs over PCIe, and none is
 * stranded. TXDCTL.WTHRESH stays 0, because the NIC ignores RS otherwise (7.2.3.5.2).
 *
 *	      clean              next = tail
 *	 free | sent or in flight | free ...
 *
 * Descriptors from one report to the next are a run. Reclaiming looks at one descriptor a run, and `bufs` holds one
 * buffer a data descriptor, so what a run has used goes back to its pool by copying the pointers, whether they are
 * frames or segments; nothing that lies in the buffers themselves is looked at again.
 *
 * What a plain frame of a batch of 32 costs, in instructions (`make bench-cost`): 6 to see that it is plain, 12 for
 * its descriptor, 6 for pool, bytes and loop; 4 to reclaim it, and 4 are its part of what a batch costs as a whole.
 *
 * With offloads, a frame needs a context in the NIC, of which there are two a queue (offload.c). TCP's acknowledgements
 * and short segments come by the thousand with one and the same: for these, too, one look tells that no more than a
 * descriptor is needed (tx_same_checksum()).
 */
#include <endian.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "driver/ixgbe/ixgbe.h"
#include "driver/mempool.h"

#define likely(x)   __builtin_expect(!!(x), 1)
#define unlikely(x) __builtin_expect(!!(x), 0)

/*
 * The shortest frame on the wire, without CRC. The NIC pads too (TXPADEN), but not frames under 17 bytes
 * (7.2.1.2).
 */
#define ETH_MIN_FRAME        60u
#define ETH_HEADER           14u
#define ETHERTYPE_OFFSET     12u
#define IXGBE_TX_SEGMENT_MAX (16u << 10)

/* --- hot path ------------------------------------------------------------------------------------ */

/* Give back the buffers of count descriptors, which do not wrap. */
static inline void tx_free(struct pkt_buf *bufs[], uint32_t count, struct mempool *pool)
{
	if (likely(pool))
		mempool_put(pool, bufs, count);
	else
		mempool_put_mixed(bufs, count);
}

/* Take back what has left: run by run, as far as DD is set. */
static inline __attribute__((always_inline)) void tx_reclaim(struct ixgbe_tx_queue *q)
{
	const uint32_t mask = q->mask, next = q->next;
	uint32_t clean = q->clean;

	if (clean == next)
		return;
	__atomic_store_n(&q->reclaims, q->reclaims + 1, __ATOMIC_RELAXED);
	do {
		const struct ixgbe_tx_run *run = &q->runs[clean];
		uint32_t end = (run->last + 1) & mask;

		if (!(le32toh(__atomic_load_n(&q->descs[run->last].wb.status, __ATOMIC_ACQUIRE)) &
			    TXD_STAT_DD))
			break;
		if (likely(end > clean)) {
			tx_free(&q->bufs[clean], end - clean, run->pool);
		} else { /* around the ring's end */
			tx_free(&q->bufs[clean], mask + 1 - clean, run->pool);
			tx_free(q->bufs, end, run->pool);
		}
		clean = end;
	} while (clean != next);
	/* The control thread watches it (stats.c). */
	__atomic_store_n(&q->completed, q->completed + ((clean - q->clean) & mask), __ATOMIC_RELAXED);
	q->clean = clean;
}

/* What a frame's descriptors have in common. */
struct tx_plan {
	enum ixy_drop drop; /* IXY_DROP_COUNT: it can be sent */
	bool new_context;   /* a context descriptor goes first */
	uint32_t command, olinfo;
	struct ixgbe_context context;
};

/* What a run of frames, those up to the next report, adds up to. */
struct tx_run {
	uint64_t frames, bytes; /* on the wire */
	struct mempool *pool;   /* of all buffers; NULL: of several, or there is a context among them */
};

#define TX_OFFLOADS (PKT_TX_L4_CSUM | PKT_TX_SUPER)

static void tx_plan_offload(const struct ixgbe_tx_queue *q, struct pkt_buf *frame, struct tx_plan *plan)
{
	if (ixgbe_tx_offload(frame, &plan->context, &plan->command, &plan->olinfo) < 0)
		plan->drop = IXY_DROP_TX_BAD_OFFLOAD;
	else
		plan->new_context = memcmp(&plan->context, &q->contexts[ixgbe_context_slot(&plan->context)],
					    sizeof(plan->context)) != 0;
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
	bool tso = frame->flags & PKT_TX_SUPER;
	uint32_t longest = ixy_longest_frame(&dev->ixy);

	plan->drop = IXY_DROP_COUNT;
	plan->new_context = false;
	plan->command = TXD_DTYP_DATA | TXD_CMD_DEXT | TXD_CMD_IFCS;
	plan->olinfo = frame->frame_size << TXD_OL_PAYLEN_SHIFT; /* without TSO: all bytes of the frame */
	if (unlikely(frame->frame_size < ETH_HEADER || frame->size < ETH_HEADER)) {
		plan->drop = IXY_DROP_TX_TOO_SHORT;
	} else if (unlikely((tso ? frame->header_size + frame->gso_size : frame->frame_size) > longest ||
			    frame->segments > PKT_BUF_MAX_SEGMENTS - 1)) {
		plan->drop = IXY_DROP_TX_TOO_LONG;
	} else if (unlikely(!tx_chain_sound(frame))) {
		plan->drop = IXY_DROP_TX_BAD_OFFLOAD;
	} else if (frame->flags & TX_OFFLOADS) {
		tx_plan_offload(q, frame, plan);
	} else if (unlikely(frame->frame_size < ETH_MIN_FRAME && frame->segments == 1)) {
		memset(frame->data + frame->size, 0, ETH_MIN_FRAME - frame->size);
		frame->size = frame->frame_size = ETH_MIN_FRAME;
		plan->olinfo = ETH_MIN_FRAME << TXD_OL_PAYLEN_SHIFT;
	}
}

/* The next descriptor, and the buffer that goes with it. */
static inline volatile union ixgbe_tx_desc *tx_next(struct ixgbe_tx_queue *q, struct pkt_buf *buf)
{
	volatile union ixgbe_tx_desc *desc = &q->descs[q->next];

	q->bufs[q->next] = buf;
	q->next = (q->next + 1) & q->mask;
	return desc;
}

static void tx_write_context(struct ixgbe_tx_queue *q, const struct ixgbe_context *context)
{
	volatile union ixgbe_tx_desc *desc = tx_next(q, NULL);

	desc->context.vlan_maclen_iplen = htole32(context->vlan_maclen_iplen);
	desc->context.fcoef_ipsec = 0;
	desc->context.tucmd = htole32(context->tucmd);
	desc->context.mss_l4len_idx = htole32(context->mss_l4len_idx);
	q->contexts[ixgbe_context_slot(context)] = *context;
	if (ixgbe_context_slot(context) == IXGBE_CONTEXT_CHECKSUM)
		q->checksum = ixgbe_tx_checksum(context);
}

/* DD, in the word of olinfo, is clear. */
static inline void tx_write_data(
	volatile union ixgbe_tx_desc *desc, const struct pkt_buf *buf, uint32_t command, uint32_t olinfo)
{
	desc->read.addr = htole64(pkt_buf_data_iova(buf));
	desc->half[1] = htole64((uint64_t)olinfo << 32 | command | buf->size);
}

/* Write the descriptors of one frame, for which there is room. */
static void tx_write(
	struct ixgbe_tx_queue *q, struct pkt_buf *frame, const struct tx_plan *plan, struct tx_run *run)
{
	uint32_t command = plan->command;

	if (plan->new_context) {
		tx_write_context(q, &plan->context);
		run->pool = NULL;
	}
	for (struct pkt_buf *buf = frame; buf; buf = buf->next) {
		if (!buf->next)
			command |= TXD_CMD_EOP;
		if (buf->pool != run->pool)
			run->pool = NULL;
		tx_write_data(tx_next(q, buf), buf, command, plan->olinfo);
	}
}

/* A run of descriptors ends with `last`, an EOP. The NIC has not seen it yet: the tail is behind. */
static inline void tx_end_run(struct ixgbe_tx_queue *q, uint32_t first, uint32_t last, struct mempool *pool)
{
	q->descs[last].read.cmd_type_len |= htole32(TXD_CMD_RS);
	q->runs[first] = (struct ixgbe_tx_run){.pool = pool, .last = last};
}

/*
 * Any frame, also one in several buffers, with an offload, to be padded, or not to be sent at all. Returns whether it
 * was taken, that is, sent or dropped; else there is no room for it.
 */
static bool tx_frame(
	struct ixgbe_device *dev, struct ixgbe_tx_queue *q, struct pkt_buf *frame, struct tx_run *run)
{
	uint32_t room = (q->clean - q->next - 1) & q->mask;
	struct tx_plan plan = {.drop = IXY_DROP_TX_LINK_DOWN};

	if (likely(__atomic_load_n(&dev->ixy.link.up, __ATOMIC_RELAXED))) {
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
		stat_add(&q->stats.drops[plan.drop], pkt_buf_wire_frames(frame));
		pkt_buf_free(frame);
		return true;
	}
	tx_write(q, frame, &plan, run);
	run->frames += pkt_buf_wire_frames(frame);
	run->bytes += pkt_buf_wire_bytes(frame);
	return true;
}

/*
 * A plain frame: one buffer, no offload, of a length that neither needs padding nor exceeds the MTU. size, flags and
 * segments are one word of pkt_buf: without the bits that do not matter, and less the least that is plain, it is
 * under the number of plain lengths, or else one of them is wrong.
 */
#define TX_WORD        (0xFFFFull << 48 | (uint64_t)TX_OFFLOADS << 32 | 0xFFFFFFFFull)
#define TX_LEAST_PLAIN (1ull << 48 | ETH_MIN_FRAME)
#define TX_PLAIN       (TXD_DTYP_DATA | TXD_CMD_DEXT | TXD_CMD_IFCS | TXD_CMD_EOP)
#define TX_LINE        4u /* descriptors in a cache line */

/* How many lengths are plain, from ETH_MIN_FRAME to longest. */
static inline uint64_t tx_plain_lengths(uint32_t longest)
{
	return longest < ETH_MIN_FRAME ? 0 : longest + 1 - ETH_MIN_FRAME;
}

static inline bool tx_is_plain(const struct pkt_buf *frame, uint64_t plain_lengths)
{
	uint64_t word = pkt_buf_word(frame) & TX_WORD;

	return likely(word - TX_LEAST_PLAIN < plain_lengths && (uint32_t)word == frame->frame_size);
}

/*
 * As plain, but for the L4 checksum that it wants, and the context for that is the one that the NIC holds: its headers
 * lie as in the frame that the context was made for, and that one was checked (ixgbe_tx_offload()).
 */
#define TX_SAME_CHECKSUM (1ull << 48 | (uint64_t)PKT_TX_L4_CSUM << 32)
#define TX_CHECKSUM                                                                                        \
	(TX_PLAIN | (uint64_t)(TXD_OL_CC | TXD_OL_POPTS_TXSM | IXGBE_CONTEXT_CHECKSUM << TXD_OL_IDX_SHIFT) \
			    << 32)

static inline bool tx_same_checksum(
	const struct ixgbe_tx_queue *q, const struct pkt_buf *frame, uint32_t longest)
{
	const struct ixgbe_tx_checksum *held = &q->checksum;
	uint64_t size = (pkt_buf_word(frame) & TX_WORD) - TX_SAME_CHECKSUM;
	uint16_t ethertype;

	if (size < held->end || size > longest || size != frame->frame_size || frame->next ||
		frame->csum_start != held->start || frame->csum_offset != held->offset)
		return false;
	memcpy(&ethertype, frame->data + ETHERTYPE_OFFSET, sizeof(ethertype));
	return ethertype == held->ethertype;
}

/*
 * Write the descriptor of a frame in one buffer; kind is TX_PLAIN or TX_CHECKSUM. The length stands twice in its upper
 * half: of the buffer, and of the frame (PAYLEN). Returns the length. *odd gets bits if the frame is not of pool, or
 * if something is chained to it.
 */
static inline uint32_t tx_put(volatile union ixgbe_tx_desc *desc, struct pkt_buf **sent,
	struct pkt_buf *frame, uint64_t kind, const struct mempool *pool, uintptr_t *odd)
{
	uint32_t size = frame->size;

	desc->read.addr = htole64(pkt_buf_data_iova(frame));
	desc->half[1] = htole64(((uint64_t)size << (TXD_OL_PAYLEN_SHIFT + 32)) + size + kind);
	*sent = frame;
	*odd |= ((uintptr_t)frame->pool ^ (uintptr_t)pool) | (uintptr_t)frame->next;
	return size;
}

/*
 * Among the n frames just queued is one that tx_put() found odd. Of several pools is all right. One in a single
 * segment with another behind it is not: its number is returned, else n.
 */
static __attribute__((noinline, cold)) size_t tx_odd(
	struct pkt_buf *const bufs[], size_t n, struct tx_run *run)
{
	run->pool = NULL;
	for (size_t i = 0; i < n; i++) {
		if (bufs[i]->next) {
			for (size_t j = i; j < n; j++)
				run->bytes -= bufs[j]->size;
			return i;
		}
	}
	return n;
}

/*
 * Queue plain frames of bufs[], up to the first that is something else. There is room for count, which do not wrap.
 * Returns how many.
 */
static inline uint32_t tx_plain(volatile union ixgbe_tx_desc *desc, struct pkt_buf *sent[],
	struct pkt_buf *const bufs[], size_t count, uint64_t plain_lengths, struct tx_run *run)
{
	const size_t lines = count / TX_LINE * TX_LINE;
	const struct mempool *pool = run->pool;
	uint64_t bytes = 0;
	uintptr_t odd = 0;
	size_t n;

	for (n = 0; n != lines; n += TX_LINE) {
#pragma GCC unroll 4
		for (unsigned i = 0; i < TX_LINE; i++) {
			if (!tx_is_plain(bufs[n + i], plain_lengths))
				goto counted;
			bytes += tx_put(&desc[n + i], &sent[n + i], bufs[n + i], TX_PLAIN, pool, &odd);
		}
	}
	for (; n != count && tx_is_plain(bufs[n], plain_lengths); n++)
		bytes += tx_put(&desc[n], &sent[n], bufs[n], TX_PLAIN, pool, &odd);
counted:
	/* If a line was left in its middle, those before are queued, too. */
	while (n != count && tx_is_plain(bufs[n], plain_lengths))
		n++;
	run->bytes += bytes;
	if (unlikely(odd))
		n = tx_odd(bufs, n, run);
	run->frames += n;
	return (uint32_t)n;
}

/* The same for frames that tx_same_checksum() knows, and whatever its descriptor: it may wrap. */
static inline uint32_t tx_checksums(struct ixgbe_tx_queue *q, struct pkt_buf *const bufs[], uint32_t count,
	uint32_t longest, struct tx_run *run)
{
	uint32_t next = q->next, room = (q->clean - next - 1) & q->mask, n;
	uint64_t bytes = 0;
	uintptr_t odd = 0;

	count = count < room ? count : room;
	for (n = 0; n != count && tx_same_checksum(q, bufs[n], longest); n++) {
		bytes += tx_put(&q->descs[next], &q->bufs[next], bufs[n], TX_CHECKSUM, run->pool, &odd);
		next = (next + 1) & q->mask;
	}
	if (odd) /* of several pools; nothing is chained to one of these */
		run->pool = NULL;
	q->next = next;
	run->frames += n;
	run->bytes += bytes;
	return n;
}

/*
 * The same for frames of any kind: at least one, if there is room, and on until a plain one comes or the run is
 * long enough.
 */
static __attribute__((noinline)) uint32_t tx_any(struct ixgbe_device *dev, struct ixgbe_tx_queue *q,
	struct pkt_buf *const bufs[], uint32_t count, uint32_t longest, struct tx_run *run)
{
	const uint64_t plain_lengths = tx_plain_lengths(longest);
	const uint32_t first = q->next;
	uint32_t n = 0;

	do {
		uint32_t ahead = IXGBE_TX_RS_EVERY - ((q->next - first) & q->mask), taken = 0;

		if (bufs[n]->flags & PKT_TX_L4_CSUM)
			taken = tx_checksums(
				q, bufs + n, ahead < count - n ? ahead : count - n, longest, run);
		if (!taken)
			taken = tx_frame(dev, q, bufs[n], run);
		if (!taken)
			break;
		n += taken;
	} while (n < count && ((q->next - first) & q->mask) < IXGBE_TX_RS_EVERY &&
		 !(tx_is_plain(bufs[n], plain_lengths) && !bufs[n]->next));
	return n;
}

uint32_t ixgbe_tx_batch(struct ixy_device *ixy, uint16_t queue, struct pkt_buf *bufs[], uint32_t limit)
{
	struct ixgbe_device *dev = ixgbe(ixy);
	struct ixgbe_tx_queue *q = &dev->tx[queue];
	const uint32_t mask = q->mask, start = q->next;
	struct tx_run run = {0};
	uint32_t next = start;
	uint32_t longest = 0; /* that has no need of tx_frame() */
	uint64_t plain_lengths;
	uint32_t n = 0;

	/* With the link down there is none, and every frame is dropped by its name. */
	if (likely(__atomic_load_n(&dev->ixy.link.up, __ATOMIC_RELAXED)))
		longest = ixy_longest_frame(&dev->ixy);
	plain_lengths = tx_plain_lengths(longest);
	tx_reclaim(q);
	while (n < limit) {
		uint32_t room = (q->clean - next - 1) & mask, end = mask + 1 - next;
		uint32_t ahead = limit - n < IXGBE_TX_RS_EVERY ? limit - n : IXGBE_TX_RS_EVERY;

		room = room < end ? room : end;
		ahead = ahead < room ? ahead : room;
		run.pool = bufs[n]->pool;

		uint32_t taken =
			tx_plain(&q->descs[next], &q->bufs[next], bufs + n, ahead, plain_lengths, &run);

		if (likely(taken)) {
			tx_end_run(q, next, next + taken - 1, run.pool);
			next = (next + taken) & mask;
		} else {
			q->next = next;
			taken = tx_any(dev, q, bufs + n, limit - n, longest, &run);
			if (!taken)
				break;
			if (q->next != next)
				tx_end_run(q, next, (q->next - 1) & mask, run.pool);
			next = q->next;
		}
		n += taken;
	}
	if (next != start) {
		q->next = next;
		pci_doorbell_ring(&q->tail, next);
		stat_add(&q->stats.tx_frames, run.frames);
		stat_add(&q->stats.tx_bytes, run.bytes);
	}
	__atomic_store_n(&q->pending, (next - q->clean) & mask, __ATOMIC_RELAXED);
	return n;
}

void ixgbe_tx_drop(struct ixy_device *dev, uint16_t queue, enum ixy_drop reason)
{
	stat_add(&ixgbe(dev)->tx[queue].stats.drops[reason], 1);
}

uint32_t ixgbe_tx_pending(struct ixy_device *dev, uint16_t queue)
{
	const struct ixgbe_tx_queue *q = &ixgbe(dev)->tx[queue];

	return (q->next - q->clean) & q->mask;
}

/* --- a queue's life ------------------------------------------------------------------------------ */

int ixgbe_tx_queue_alloc(struct ixgbe_device *dev, uint16_t queue, uint8_t *ring)
{
	struct ixgbe_tx_queue *q = &dev->tx[queue];

	q->descs = (volatile union ixgbe_tx_desc *)ring;
	q->mask = dev->tx_ring - 1;
	q->bufs = calloc(dev->tx_ring, sizeof(*q->bufs));
	q->runs = calloc(dev->tx_ring, sizeof(*q->runs));
	if (!q->bufs || !q->runs)
		return ixy_fail(ENOMEM, "%s: no memory for transmit queue %u", dev->ixy.name, queue);
	return 0;
}

void ixgbe_tx_queue_free(struct ixgbe_device *dev, uint16_t queue)
{
	struct ixgbe_tx_queue *q = &dev->tx[queue];

	free(q->bufs);
	free(q->runs);
	q->bufs = NULL;
	q->runs = NULL;
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

	memset((void *)q->descs, 0, (q->mask + 1) * sizeof(*q->descs));
	q->next = q->clean = 0;
	memset(q->contexts, 0, sizeof(q->contexts)); /* a reset forgets them; no valid context is all zero */
	q->checksum = (struct ixgbe_tx_checksum){.end = UINT16_MAX};

	reg_write(dev, TDBAL(queue), (uint32_t)base);
	reg_write(dev, TDBAH(queue), (uint32_t)(base >> 32));
	reg_write(dev, TDLEN(queue), (q->mask + 1) * (uint32_t)sizeof(*q->descs));
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
	while (q->clean != q->next) {
		struct pkt_buf *frame = q->bufs[q->clean];

		if (!frame) { /* a context */
			q->clean = (q->clean + 1) & q->mask;
			continue;
		}
		/* It had been counted as sent when it was queued. */
		uint64_t frames = pkt_buf_wire_frames(frame);

		stat_add(&q->stats.drops[reason], frames);
		stat_add(&q->stats.tx_frames, -frames);
		stat_add(&q->stats.tx_bytes, -pkt_buf_wire_bytes(frame));
		q->clean = (q->clean + frame->segments) & q->mask;
		pkt_buf_free(frame);
	}
	q->next = q->clean = 0;
	__atomic_store_n(&q->pending, 0, __ATOMIC_RELAXED);
}
