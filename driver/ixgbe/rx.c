/*
 * Receiving: one descriptor ring a queue (datasheet 7.1).
 *
 * The ring holds addresses of empty buffers. Those from `next` up to the tail belong to the NIC. It fills
 * them in order and overwrites each descriptor with what it found: length, status, RSS hash. DD in the status
 * says that the write-back has happened, EOP that the frame ends in this buffer; longer frames go on in the
 * next. We take completed descriptors, put fresh buffers in, and tell the NIC by the tail register how far it
 * may go.
 *
 *	          next                fill = tail
 *	 ...fresh | completed  posted | empty ...
 *
 * One descriptor always stays empty: tail == head means that the NIC owns nothing, not that it owns
 * everything.
 */
#include <endian.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "driver/ixgbe/ixgbe.h"

#define likely(x)   __builtin_expect(!!(x), 1)
#define unlikely(x) __builtin_expect(!!(x), 0)

/* --- hot path ------------------------------------------------------------------------------------ */

/*
 * Put fresh buffers into all empty descriptors and move the tail. Done in batches, because the tail write is
 * an uncached store, and because a batch of buffers costs one look at the pool. When the pool runs dry the
 * ring just gets shorter for a while; the NIC counts what it then has to drop.
 */
static void rx_refill(struct ixgbe_rx_queue *q, uint32_t at_least)
{
	uint32_t empty = (uint32_t)(q->next - q->fill - 1) & q->mask;
	uint16_t before = q->fill;

	if (empty < at_least || unlikely(!q->running))
		return;
	while (empty) {
		uint32_t room = q->mask + 1u - q->fill; /* up to the ring's end in one go */
		uint32_t want = empty < room ? empty : room;
		uint32_t got = pkt_buf_alloc_batch(q->pool, &q->bufs[q->fill], want);

		for (uint32_t i = 0; i < got; i++) {
			volatile union ixgbe_rx_desc *desc = &q->descs[q->fill + i];

			desc->read.packet_addr = htole64(pkt_buf_start_iova(q->bufs[q->fill + i]));
			desc->read.header_addr = 0; /* also clears DD of the write-back that lay here */
		}
		q->fill = (uint16_t)(q->fill + got) & q->mask;
		empty -= got;
		if (got < want)
			break;
	}
	if (likely(q->fill != before))
		pci_doorbell_ring(&q->tail, q->fill);
}

/*
 * What the NIC verified, by the bits that say which checksums it looked at (L4I, IPCS: status bits 5 and 6) and
 * which it found wrong (TCPE, IPE: bits 30 and 31).
 */
static inline uint16_t rx_flags(uint32_t status, uint32_t info)
{
	enum { L4 = 1, IP = 2, L4_WRONG = 4, IP_WRONG = 8 };
	static const uint8_t verified[16] = {
		[L4] = PKT_RX_L4_CSUM_GOOD,
		[L4 | IP_WRONG] = PKT_RX_L4_CSUM_GOOD,
		[L4 | L4_WRONG] = PKT_RX_L4_CSUM_BAD,
		[L4 | L4_WRONG | IP_WRONG] = PKT_RX_L4_CSUM_BAD,
		[IP] = PKT_RX_IP_CSUM_GOOD,
		[IP | L4_WRONG] = PKT_RX_IP_CSUM_GOOD,
		[IP | L4] = PKT_RX_IP_CSUM_GOOD | PKT_RX_L4_CSUM_GOOD,
		[IP | L4 | L4_WRONG] = PKT_RX_IP_CSUM_GOOD | PKT_RX_L4_CSUM_BAD,
		[IP | L4 | IP_WRONG] = PKT_RX_L4_CSUM_GOOD,
		[IP | L4 | L4_WRONG | IP_WRONG] = PKT_RX_L4_CSUM_BAD,
	};
	uint16_t flags = verified[(status >> 5 & 3) | status >> 30 << 2];

	if (unlikely(flags & PKT_RX_L4_CSUM_BAD && info & RXD_TYPE_UDP))
		flags &=
			(uint16_t)~PKT_RX_L4_CSUM_BAD; /* erratum: UDP without a checksum may look like an error */
	return info & 0xF ? flags | PKT_RX_RSS_HASH : flags;
}

/* Give up the segment in hand and the chain it belongs to; skip what follows up to the frame's end. */
static void rx_drop(struct ixgbe_rx_queue *q, struct pkt_buf *buf, bool ends, enum ixy_drop reason)
{
	pkt_buf_free(buf);
	pkt_buf_free(q->chain);
	q->chain = NULL;
	if (!q->discard)
		count(&q->stats.drops[reason], 1);
	q->discard = !ends;
}

/*
 * All but a good frame in one buffer: a segment of a longer frame, or something wrong. Returns the frame, if it
 * is complete with this buffer.
 */
static struct pkt_buf *rx_segment(
	struct ixgbe_rx_queue *q, struct pkt_buf *buf, uint32_t size, uint32_t status)
{
	struct pkt_buf *first = q->chain;
	bool eop = status & RXD_STAT_EOP;
	/* The NIC fills a buffer before it goes on to the next, so one that is not full ends its frame. */
	bool ends = eop || size != q->buffer_size;

	/* What the device says about its own write must fit the buffer that it was given. */
	if (q->discard || size == 0 || size > q->buffer_size || ends != eop) {
		rx_drop(q, buf, ends, IXY_DROP_RX_BAD_DESCRIPTOR);
		return NULL;
	}
	if (status & RXD_ERR_RXE) {
		rx_drop(q, buf, eop, IXY_DROP_RX_ERROR);
		return NULL;
	}
	buf->size = size;
	if (!first) {
		buf->frame_size = size;
		q->chain = first = buf;
	} else {
		q->chain_last->next = buf;
		first->frame_size += size;
		if (++first->segments > IXGBE_RX_SEGMENTS) {
			rx_drop(q, NULL, eop, IXY_DROP_RX_BAD_DESCRIPTOR);
			return NULL;
		}
	}
	q->chain_last = buf;
	if (!eop)
		return NULL;
	q->chain = NULL;
	return first;
}

uint32_t ixgbe_rx_batch(struct ixy_device *dev, uint16_t queue, struct pkt_buf *bufs[], uint32_t limit)
{
	struct ixgbe_rx_queue *q = &ixgbe(dev)->rx[queue];
	const uint16_t mask = q->mask, fill = q->fill;
	bool amid = q->chain || q->discard; /* in the middle of a frame */
	uint16_t next = q->next;
	uint64_t bytes = 0;
	uint32_t n = 0;

	while (n < limit && next != fill) {
		volatile union ixgbe_rx_desc *desc = &q->descs[next];
		/* The NIC writes all 16 bytes, DD with them; the acquire orders the other half behind it. */
		uint64_t high = le64toh(__atomic_load_n(&desc->half[1], __ATOMIC_ACQUIRE));
		uint32_t status = (uint32_t)high, size = high >> 32 & 0xFFFF;

		if (!(status & RXD_STAT_DD))
			break;
		uint64_t low = le64toh(desc->half[0]);
		struct pkt_buf *frame = q->bufs[next];

		q->bufs[next] = NULL;
		next = (uint16_t)(next + 1) & mask;
		__builtin_prefetch(q->bufs[next]);

		/* Most frames are good and lie in one buffer. size - 1 is huge for the length 0 that nobody wants. */
		if (likely(!amid && (status & (RXD_STAT_EOP | RXD_ERR_RXE)) == RXD_STAT_EOP &&
			    size - 1 < q->buffer_size)) {
			frame->size = frame->frame_size = size;
		} else {
			frame = rx_segment(q, frame, size, status);
			amid = q->chain || q->discard;
			if (!frame)
				continue;
		}
		frame->flags = rx_flags(status, (uint32_t)low);
		frame->rss_hash = (uint32_t)(low >> 32);
		bytes += frame->frame_size;
		bufs[n++] = frame;
	}
	q->next = next;
	if (n) {
		count(&q->stats.rx_frames, n);
		count(&q->stats.rx_bytes, bytes);
	}
	/* Refill when a sixteenth of the ring came together. */
	rx_refill(q, mask / 16 + 1u);
	return n;
}

/* --- a queue's life ------------------------------------------------------------------------------ */

int ixgbe_rx_queue_alloc(struct ixgbe_device *dev, uint16_t queue, uint8_t *ring)
{
	struct ixgbe_rx_queue *q = &dev->rx[queue];
	/* The ring's buffers, as many again in the caller's hands or in another device's transmit ring. */
	uint32_t buffers = dev->rx_ring * 2u + 1024;

	q->descs = (volatile union ixgbe_rx_desc *)ring;
	q->mask = dev->rx_ring - 1;
	q->bufs = calloc(dev->rx_ring, sizeof(*q->bufs));
	if (!q->bufs)
		return ixy_fail(ENOMEM, "%s: no memory for receive queue %u", dev->ixy.name, queue);
	q->pool = ixy_mempool_create(&dev->ixy, buffers, 0);
	if (!q->pool)
		return -errno;
	q->buffer_size = PKT_BUF_DATA_SIZE;
	return 0;
}

void ixgbe_rx_queue_free(struct ixgbe_device *dev, uint16_t queue)
{
	struct ixgbe_rx_queue *q = &dev->rx[queue];
	int err = ixy_mempool_free(q->pool);

	if (err)
		ixy_log(IXY_LOG_WARNING,
			"%s: receive queue %u: the caller still holds buffers, their memory stays",
			dev->ixy.name, queue);
	q->pool = NULL;
	free(q->bufs);
	q->bufs = NULL;
}

/* What is the same for all receive queues (4.6.7, 4.6.10.1). RXCTRL.RXEN is off. */
void ixgbe_rx_setup(struct ixgbe_device *dev)
{
	/* A key with many bit changes; any will do, the same everywhere makes flows repeatable. */
	static const uint32_t rss_key[10] = {0x9d3ba7c5, 0x6f1e24d8, 0xb2587a13, 0x45cc90e7, 0xd8063bf9,
		0x1a974e62, 0xe57dc138, 0x3c82f60b, 0x74b95da1, 0xc90ea846};

	/*
	 * No flow control: we send no pause frames, heed none, and keep them from the host (8.2.3.22.34). The
	 * threshold is to be set all the same (4.6.3.2).
	 */
	reg_write(dev, FCCFG, 0);
	reg_write(dev, MFLCN, MFLCN_DPF);
	reg_write(dev, FCRTH(0), (RXPB_TOTAL_KIB << 10) - 0x6000);

	/* One traffic class: all of the packet buffer to the first of the eight, none to the others. */
	reg_write(dev, RXPBSIZE(0), RXPB_TOTAL_KIB << RXPBSIZE_SHIFT);
	for (unsigned i = 1; i < 8; i++)
		reg_write(dev, RXPBSIZE(i), 0);

	/*
	 * The CRC is stripped by two units that must agree; the other fields' values are demanded by
	 * 8.2.3.8.8.
	 */
	reg_set(dev, HLREG0, HLREG0_RXCRCSTRP);
	reg_write(dev, RDRXCTL,
		(reg_read(dev, RDRXCTL) & ~RDRXCTL_RSCFRSTSIZE) | RDRXCTL_CRCSTRIP | RDRXCTL_RSCACKC |
			RDRXCTL_FCOE_WRFIX);

	/*
	 * IP and L4 checksums are always verified; PCSD puts the RSS hash where a fragment checksum would be.
	 */
	reg_write(dev, RXCSUM, RXCSUM_IPPCSE | RXCSUM_PCSD);

	/* RSS (7.1.2.8): the hash's low 7 bits choose one of 128 entries, each names a queue. */
	for (unsigned i = 0; i < 10; i++)
		reg_write(dev, RSSRK(i), rss_key[i]);
	for (unsigned i = 0; i < 32; i++) {
		uint32_t entries = 0;

		for (unsigned j = 0; j < 4; j++)
			entries |= (uint32_t)((i * 4 + j) % dev->ixy.rx_queues) << (8 * j);
		reg_write(dev, RETA(i), entries);
	}
	/*
	 * UDP ports are hashed too: a fragmented datagram may overtake its flow, but many flows get spread.
	 */
	reg_write(dev, MRQC,
		dev->ixy.rx_queues == 1 ? 0
					: MRQC_RSS | MRQC_RSS_TCP4 | MRQC_RSS_IP4 | MRQC_RSS_IP6 |
						  MRQC_RSS_TCP6 | MRQC_RSS_UDP4 | MRQC_RSS_UDP6);

	reg_set(dev, CTRL_EXT, CTRL_EXT_NS_DIS); /* 4.6.7: no-snoop off, or reads may see stale memory */
}

int ixgbe_rx_queue_start(struct ixgbe_device *dev, uint16_t queue)
{
	struct ixgbe_rx_queue *q = &dev->rx[queue];
	uint64_t base = dma_iova(dev->rings, (const void *)q->descs);
	uint32_t srrctl = SRRCTL_DESCTYPE_ADV_ONEBUF | q->buffer_size / 1024;

	memset((void *)q->descs, 0, (q->mask + 1u) * sizeof(*q->descs));
	q->next = q->fill = 0;
	q->chain = NULL;
	q->discard = false;

	/*
	 * A queue without free descriptors would hold up the packet buffer that it shares with the others:
	 * better drop for it (and count in QPRDC). A single queue lets the 512 KiB buffer absorb bursts.
	 */
	if (dev->ixy.rx_queues > 1)
		srrctl |= SRRCTL_DROP_EN;

	reg_write(dev, RDBAL(queue), (uint32_t)base);
	reg_write(dev, RDBAH(queue), (uint32_t)(base >> 32));
	reg_write(dev, RDLEN(queue), (q->mask + 1u) * (uint32_t)sizeof(*q->descs));
	reg_write(dev, RDH(queue), 0);
	reg_write(dev, RDT(queue), 0);
	reg_write(dev, SRRCTL(queue), srrctl);
	/*
	 * Bit 12 is reserved and set after reset: left so, payloads get corrupted under load. Write-backs in
	 * order.
	 */
	reg_clear(dev, DCA_RXCTRL(queue), DCA_RXCTRL_BIT12 | DCA_RXCTRL_DESC_WRO_EN);

	reg_set(dev, RXDCTL(queue), RXDCTL_ENABLE);
	int err = ixgbe_wait(dev, RXDCTL(queue), RXDCTL_ENABLE, RXDCTL_ENABLE, 100, "receive queue to start");
	if (err)
		return err;
	pci_doorbell_init(dev->ixy.pci, RDT(queue), &q->tail);
	q->running = true;
	rx_refill(q, 1);
	return 0;
}

void ixgbe_rx_queue_stop(struct ixgbe_device *dev, uint16_t queue)
{
	reg_clear(dev, RXDCTL(queue), RXDCTL_ENABLE);
	if (ixgbe_wait(dev, RXDCTL(queue), RXDCTL_ENABLE, 0, 100, "receive queue to stop") == -ETIMEDOUT)
		ixy_log(IXY_LOG_WARNING, "%s", ixy_last_error());
}

void ixgbe_rx_queue_empty(struct ixgbe_device *dev, uint16_t queue, enum ixy_drop reason)
{
	struct ixgbe_rx_queue *q = &dev->rx[queue];

	if (!q->bufs)
		return;
	q->running = false;
	/* The NIC has counted these as received. Each ends once. */
	for (; q->next != q->fill; q->next = (uint16_t)(q->next + 1) & q->mask) {
		uint32_t status = le32toh(q->descs[q->next].wb.status_error);

		if (!(status & RXD_STAT_DD))
			break;
		if (status & RXD_STAT_EOP || le16toh(q->descs[q->next].wb.length) != q->buffer_size)
			count(&q->stats.drops[reason], 1);
	}
	for (uint32_t i = 0; i <= q->mask; i++) {
		pkt_buf_free(q->bufs[i]);
		q->bufs[i] = NULL;
	}
	pkt_buf_free(q->chain);
	q->chain = NULL;
	q->next = q->fill = 0;
}

/*
 * Turn the receiver on (4.6.7): the security unit, which every frame passes, must be idle while RXEN changes,
 * or the receive DMA can hang.
 */
int ixgbe_rx_enable(struct ixgbe_device *dev)
{
	reg_set(dev, SECRXCTRL, SECRXCTRL_RX_DIS);
	int err =
		ixgbe_wait(dev, SECRXSTAT, SECRXSTAT_RDY, SECRXSTAT_RDY, 100, "receive path to become quiet");
	reg_set(dev, RXCTRL, RXCTRL_RXEN);
	reg_clear(dev, SECRXCTRL, SECRXCTRL_RX_DIS);
	return err;
}

void ixgbe_rx_disable(struct ixgbe_device *dev)
{
	reg_clear(dev, RXCTRL, RXCTRL_RXEN);
}
