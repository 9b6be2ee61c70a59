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
 * What a plain frame of a batch of 32 costs, in instructions (`make bench-cost`): 4 to see that it is plain, 14 to fill
 * in its pkt_buf, 8 to refill the descriptor, 5 are its part of what a batch costs as a whole.
 *
 * One descriptor always stays empty: tail == head means that the NIC owns nothing, not that it owns
 * everything.
 */
#include <endian.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#ifdef __SSE2__
#include <emmintrin.h>
#endif

#include "driver/ixgbe/ixgbe.h"
#include "driver/mempool.h"

#define likely(x)   __builtin_expect(!!(x), 1)
#define unlikely(x) __builtin_expect(!!(x), 0)

/* --- hot path ------------------------------------------------------------------------------------ */

#define RX_LINE 4u /* descriptors in a cache line */

typedef uint64_t desc_halves __attribute__((vector_size(16)));

/*
 * Put fresh buffers into count descriptors, which do not wrap. Returns how many there were. Their fields stay as they
 * are: receiving sets all of them anyway. 7 instructions a buffer: 1 to copy its pointer, 5 for the descriptor.
 */
static inline uint32_t rx_post(struct ixgbe_rx_queue *q, uint32_t count)
{
	struct pkt_buf **bufs = &q->bufs[q->fill];
	volatile desc_halves *desc = (volatile desc_halves *)&q->descs[q->fill];
	size_t got = mempool_take(q->pool, bufs, count), i = 0;

	/* One store for both halves: the zero also clears DD of the write-back that lay here. */
	for (size_t whole = got / RX_LINE * RX_LINE; i != whole; i += RX_LINE) {
		desc[i] = (desc_halves){htole64(pkt_buf_start_iova(bufs[i])), 0};
		desc[i + 1] = (desc_halves){htole64(pkt_buf_start_iova(bufs[i + 1])), 0};
		desc[i + 2] = (desc_halves){htole64(pkt_buf_start_iova(bufs[i + 2])), 0};
		desc[i + 3] = (desc_halves){htole64(pkt_buf_start_iova(bufs[i + 3])), 0};
	}
	for (; i != got; i++)
		desc[i] = (desc_halves){htole64(pkt_buf_start_iova(bufs[i])), 0};
	q->fill = (q->fill + (uint32_t)got) & q->mask;
	return (uint32_t)got;
}

/*
 * Put fresh buffers into the empty descriptors and move the tail. Done in batches, because the tail write is an
 * uncached store, and because a batch of buffers costs one look at the pool. When the pool runs dry the ring just
 * gets shorter for a while; the NIC counts what it then has to drop.
 */
static void rx_refill(struct ixgbe_rx_queue *q, uint32_t empty)
{
	uint32_t end = q->mask + 1 - q->fill, before = q->fill;

	if (unlikely(!q->running))
		return;
	if (likely(empty <= end))
		rx_post(q, empty);
	else if (rx_post(q, end) == end) /* around the ring's end */
		rx_post(q, empty - end);
	if (likely(q->fill != before))
		pci_doorbell_ring(&q->tail, q->fill);
}

/*
 * A plain frame: complete (DD), in one buffer (EOP, 1 to PKT_BUF_DATA_SIZE bytes), nothing wrong. One subtraction
 * and one AND tell: from the upper half of the descriptor, length in bits 47:32, we take the least that is plain,
 * a length of 1 with DD and EOP. Then none of these bits may be left: DD and EOP (both were set), the errors, and
 * of the length less one those that count whole buffers. Where the length was 0, or DD or EOP missing, the borrow
 * leaves some.
 */
#define RX_LEAST_PLAIN (1ull << 32 | RXD_STAT_EOP | RXD_STAT_DD)
#define RX_NOT_PLAIN                                                                                  \
	((0xFFFFull & ~(PKT_BUF_DATA_SIZE - 1ull)) << 32 | RXD_ERR_RXE | RXD_ERR_TCPE | RXD_ERR_IPE | \
		RXD_STAT_EOP | RXD_STAT_DD)
_Static_assert((PKT_BUF_DATA_SIZE & (PKT_BUF_DATA_SIZE - 1)) == 0, "RX_NOT_PLAIN masks lengths");

/* What the NIC verified stands in the descriptor as it does in pkt_buf.flags. */
#define RX_STATUS_FLAGS (PKT_RX_L4_CSUM_GOOD | PKT_RX_IP_CSUM_GOOD)
_Static_assert(!(RX_STATUS_FLAGS & ~(RXD_STAT_L4I | RXD_STAT_IPCS)), "see packet.h");

/*
 * Fill in a buffer that holds a frame, or the first of its segments: all that mempool_take() left open. high and
 * low are the halves of its descriptor, in host order.
 */
static inline void rx_fill_in(struct pkt_buf *buf, uint64_t high, uint64_t low)
{
	uint32_t size = high >> 32 & 0xFFFF;
	uint32_t flags = (uint32_t)((low & PKT_RX_RSS_HASH) + (high & RX_STATUS_FLAGS));

	buf->data = pkt_buf_start(buf);
	buf->next = NULL;
	buf->size = size;
	pkt_buf_set_flags(buf, flags, 1);
	buf->frame_size = size;
	buf->rss_hash = (uint32_t)(low >> 32);
}

/* A checksum error (TCPE, IPE) takes back what L4I or IPCS, "was checked", have promised. */
static uint16_t rx_bad_checksum(uint16_t flags, uint32_t status, uint32_t info)
{
	if (status & RXD_ERR_IPE)
		flags &= (uint16_t)~PKT_RX_IP_CSUM_GOOD;
	if (status & RXD_ERR_TCPE && flags & PKT_RX_L4_CSUM_GOOD) {
		flags &= (uint16_t)~PKT_RX_L4_CSUM_GOOD;
		/* Erratum: UDP without a checksum may look like an error. */
		if (!(info & RXD_TYPE_UDP))
			flags |= PKT_RX_L4_CSUM_BAD;
	}
	return flags;
}

/* Give up the segment in hand and the chain it belongs to; skip what follows up to the frame's end. */
static void rx_drop(struct ixgbe_rx_queue *q, struct pkt_buf *buf, bool ends, enum ixy_drop reason)
{
	pkt_buf_free(buf);
	pkt_buf_free(q->chain);
	q->chain = NULL;
	if (!q->discard)
		stat_add(&q->stats.drops[reason], 1);
	q->discard = !ends;
}

/*
 * Take any completed descriptor's buffer: a frame, a segment of a longer one, or something wrong. Returns the
 * frame, if it is complete with this buffer.
 */
static struct pkt_buf *rx_segment(struct ixgbe_rx_queue *q, struct pkt_buf *buf, uint64_t high, uint64_t low)
{
	struct pkt_buf *first = q->chain;
	uint32_t status = (uint32_t)high, size = high >> 32 & 0xFFFF;
	bool eop = status & RXD_STAT_EOP;
	/* The NIC fills a buffer before it goes on to the next, so one that is not full ends its frame. */
	bool ends = eop || size != q->buffer_size;

	rx_fill_in(buf, high, low);
	/* What the device says about its own write must fit the buffer that it was given. */
	if (unlikely(q->discard || size == 0 || size > q->buffer_size || ends != eop)) {
		rx_drop(q, buf, ends, IXY_DROP_RX_BAD_DESCRIPTOR);
		return NULL;
	}
	if (unlikely(status & RXD_ERR_RXE)) {
		rx_drop(q, buf, eop, IXY_DROP_RX_ERROR);
		return NULL;
	}
	if (!first) {
		q->chain = first = buf;
	} else {
		q->chain_last->next = buf;
		first->frame_size += size;
		if (unlikely(++first->segments > IXGBE_RX_SEGMENTS)) {
			rx_drop(q, NULL, eop, IXY_DROP_RX_BAD_DESCRIPTOR);
			return NULL;
		}
	}
	q->chain_last = buf;
	if (!eop)
		return NULL;
	q->chain = NULL;
	/* What is true of the frame stands in the last descriptor. */
	first->flags = (uint16_t)((low & PKT_RX_RSS_HASH) + (high & RX_STATUS_FLAGS));
	if (unlikely(status & (RXD_ERR_TCPE | RXD_ERR_IPE)))
		first->flags = rx_bad_checksum(first->flags, status, (uint32_t)low);
	first->rss_hash = (uint32_t)(low >> 32);
	return first;
}

/*
 * The upper half of a descriptor, in host order. The NIC writes all 16 bytes at once, DD with them; the acquire
 * orders our look at the lower half behind this one. Read once: what is checked must be what is used.
 */
static inline uint64_t rx_high(volatile union ixgbe_rx_desc *desc)
{
	return le64toh(__atomic_load_n(&desc->half[1], __ATOMIC_ACQUIRE));
}

#ifdef __SSE2__
/*
 * rx_fill_in() by the line: four descriptors are looked at, and either all four are plain and taken, or none. *sizes
 * has their sizes added to its lowest word. 18 instructions a frame, where plain C takes 24: what C has to shift
 * and mask field by field, the shuffle moves in one go.
 *
 * An aligned load of 16 bytes is one access on all processors with AVX. An older one might split it, and catch the
 * lower half as it was before the write-back: a buffer's address, whose low bits are zero, so that the frame seems to
 * have no RSS hash, no more.
 */
static inline bool rx_line(volatile union ixgbe_rx_desc *line, struct pkt_buf *const posted[],
	struct pkt_buf *bufs[], __m128i *sizes)
{
	const __m128i least = _mm_set1_epi64x(RX_LEAST_PLAIN), not_plain = _mm_set1_epi64x(RX_NOT_PLAIN);
	/* 32-bit words, the lowest last: rss_hash; frame_size; flags and segments; size */
	const __m128i fields = _mm_set_epi32(-1, 0xFFFF, RX_STATUS_FLAGS, 0xFFFF);
	const __m128i hash_kind = _mm_set_epi32(0, 0, PKT_RX_RSS_HASH, 0);
	const __m128i one_segment = _mm_set_epi32(0, 0, 1 << 16, 0);
	__m128i desc[RX_LINE], odd;

#pragma GCC unroll 4
	for (unsigned i = 0; i < RX_LINE; i++)
		desc[i] = *(volatile __m128i *)&line[i];
	__atomic_thread_fence(__ATOMIC_ACQUIRE);
	odd = _mm_or_si128(_mm_sub_epi64(_mm_unpackhi_epi64(desc[0], desc[1]), least),
		_mm_sub_epi64(_mm_unpackhi_epi64(desc[2], desc[3]), least));
	odd = _mm_and_si128(odd, not_plain);
	if (unlikely(_mm_movemask_epi8(_mm_cmpeq_epi32(odd, _mm_setzero_si128())) != 0xFFFF))
		return false;
#pragma GCC unroll 4
	for (unsigned i = 0; i < RX_LINE; i++) {
		struct pkt_buf *buf = posted[i];
		/* What lies in the descriptor as info, hash, status, length | tag goes to these places. */
		__m128i words = _mm_and_si128(_mm_shuffle_epi32(desc[i], _MM_SHUFFLE(1, 3, 2, 3)), fields);
		__m128i info = _mm_and_si128(_mm_slli_epi64(desc[i], 32), hash_kind);

		words = _mm_or_si128(_mm_or_si128(words, info), one_segment);
		_mm_store_si128((__m128i *)&buf->size, words);
		*sizes = _mm_add_epi32(*sizes, words);
		buf->data = pkt_buf_start(buf);
		buf->next = NULL;
		bufs[i] = buf;
	}
	return true;
}
_Static_assert(offsetof(struct pkt_buf, size) == 16 && offsetof(struct pkt_buf, flags) == 20 &&
		       offsetof(struct pkt_buf, segments) == 22 &&
		       offsetof(struct pkt_buf, frame_size) == 24 && offsetof(struct pkt_buf, rss_hash) == 28,
	"rx_line() stores these as one");
#endif

/*
 * Take plain frames from count descriptors, which do not wrap, up to the first that is something else. Returns how
 * many; adds to *bytes.
 */
static inline uint32_t rx_plain(volatile union ixgbe_rx_desc *desc, struct pkt_buf *const posted[],
	struct pkt_buf *bufs[], uint32_t count, uint64_t *bytes)
{
	struct pkt_buf **const start = bufs, **const end = bufs + count;
	uint64_t sum = 0;

#ifdef __SSE2__
	struct pkt_buf **const last_line = bufs + count / RX_LINE * RX_LINE;
	__m128i sizes = _mm_setzero_si128();

	for (; bufs != last_line; bufs += RX_LINE, posted += RX_LINE, desc += RX_LINE)
		if (!rx_line(desc, posted, bufs, &sizes))
			break;
	sum = (uint32_t)_mm_cvtsi128_si32(sizes); /* a ring holds 8 MiB at most */
#endif
	for (; bufs != end; bufs++, posted++, desc++) {
		struct pkt_buf *buf = *posted;
		uint64_t high = rx_high(desc);

		if ((high - RX_LEAST_PLAIN) & RX_NOT_PLAIN)
			break;
		rx_fill_in(buf, high, le64toh(desc->half[0]));
		sum += high >> 32 & 0xFFFF;
		*bufs = buf;
	}
	*bytes += sum;
	return (uint32_t)(bufs - start);
}

uint32_t ixgbe_rx_batch(struct ixy_device *dev, uint16_t queue, struct pkt_buf *bufs[], uint32_t limit)
{
	struct ixgbe_rx_queue *q = &ixgbe(dev)->rx[queue];
	const uint32_t mask = q->mask, fill = q->fill;
	uint32_t next = q->next;
	uint64_t bytes = 0;
	uint32_t n = 0;

	while (n < limit && next != fill) {
		if (likely(!q->chain && !q->discard)) {
			uint32_t ahead = (fill > next ? fill : mask + 1) - next; /* up to the ring's end */
			uint32_t taken = rx_plain(&q->descs[next], &q->bufs[next], bufs + n,
				ahead < limit - n ? ahead : limit - n, &bytes);

			next = (next + taken) & mask;
			n += taken;
			if (taken == ahead)
				continue;
			if (n == limit)
				break;
		}
		uint64_t high = rx_high(&q->descs[next]);

		if (!(high & RXD_STAT_DD))
			break;
		struct pkt_buf *frame = rx_segment(q, q->bufs[next], high, le64toh(q->descs[next].half[0]));

		next = (next + 1) & mask;
		if (frame) {
			bytes += frame->frame_size;
			bufs[n++] = frame;
		}
	}
	q->next = next;
	if (n) {
		stat_add(&q->stats.rx_frames, n);
		stat_add(&q->stats.rx_bytes, bytes);
	}
	/* Refill when an eighth of the ring came together. */
	if (((next - fill - 1) & mask) > mask / 8)
		rx_refill(q, (next - fill - 1) & mask);
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

	memset((void *)q->descs, 0, (q->mask + 1) * sizeof(*q->descs));
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
	reg_write(dev, RDLEN(queue), (q->mask + 1) * (uint32_t)sizeof(*q->descs));
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
	rx_refill(q, q->mask);
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
	uint32_t first = q->next;

	if (!q->bufs)
		return;
	q->running = false;
	/* The NIC has counted these as received. Each ends once. */
	for (; q->next != q->fill; q->next = (q->next + 1) & q->mask) {
		uint32_t status = le32toh(q->descs[q->next].wb.status_error);

		if (!(status & RXD_STAT_DD))
			break;
		if (status & RXD_STAT_EOP || le16toh(q->descs[q->next].wb.length) != q->buffer_size)
			stat_add(&q->stats.drops[reason], 1);
	}
	for (; first != q->fill; first = (first + 1) & q->mask)
		mempool_put(q->pool, &q->bufs[first], 1);
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
