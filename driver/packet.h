/*
 * Packet buffers and the pools they come from.
 *
 * A pkt_buf is one cache line of metadata, a little headroom, and room for data that the NIC reads and
 * writes by DMA. A frame longer than one buffer is a chain: `next` links the segments, the first one carries
 * what is true of the whole frame.
 *
 *      pkt_buf (64 bytes) | headroom (64) | data, pool->data_size bytes (2048 unless asked otherwise)
 *
 * Threads: a mempool belongs to one thread at a time. Nothing in it is locked or atomic: the thread that
 * drives a queue has a pool of its own, and buffers go back to the pool on the thread that owns it.
 */
#ifndef IXY_PACKET_H
#define IXY_PACKET_H

#include <stddef.h>
#include <stdint.h>

struct ixy_device;
struct dma_region;
struct pci_device;
struct mempool;

#define PKT_BUF_HEADROOM     64
#define PKT_BUF_DATA_SIZE    2048 /* default; SRRCTL.BSIZEPACKET counts in KiB, so a multiple of 1024 */
#define PKT_BUF_MAX_SEGMENTS 40   /* 82599: descriptors a packet with the on-chip TX limit */

/*
 * pkt_buf.flags, receive: what the NIC verified. A missing GOOD bit means "not checked", never "bad". The values
 * are those of the 82599's own descriptor (RSS type, L4I, IPCS), so that its driver masks where it would have to
 * translate.
 */
#define PKT_RX_RSS_HASH     0xFu /* any of these: rss_hash is valid; the value is the NIC's name of the hash */
#define PKT_RX_L4_CSUM_GOOD (1u << 5)
#define PKT_RX_IP_CSUM_GOOD (1u << 6)
#define PKT_RX_L4_CSUM_BAD  (1u << 7)
/* pkt_buf.flags, transmit: what the NIC is asked to do (needs the matching IXY_CAP_*). */
#define PKT_TX_L4_CSUM (1u << 8)  /* sum from csum_start on, store at csum_start + csum_offset */
#define PKT_TX_TSO4    (1u << 9)  /* cut into gso_size payloads, TCP over IPv4 */
#define PKT_TX_TSO6    (1u << 10) /* the same over IPv6 */
#define PKT_TX_USO     (1u << 11) /* the same for UDP */
#define PKT_TX_SUPER   (PKT_TX_TSO4 | PKT_TX_TSO6 | PKT_TX_USO) /* any of these: a super-frame */

/*
 * The first 32 bytes are what receiving sets. size, flags and segments are one aligned word, so that the question
 * of every sender, "a frame in one piece, without offloads, of a fitting length?", is one load and one comparison.
 */
struct pkt_buf {
	uint8_t *data;        /* first byte of this segment's frame data */
	struct pkt_buf *next; /* next segment of the same frame, or NULL */
	union {
		struct {
			uint32_t size;     /* bytes of data in this segment */
			uint16_t flags;    /* PKT_RX_* / PKT_TX_*; valid in the first segment */
			uint16_t segments; /* buffers in the chain, 1 for a frame in one piece; as flags */
		};
		uint32_t size_and_more[2]; /* the same as two words, for drivers: pkt_buf_word() */
	};
	uint32_t frame_size; /* bytes in the whole frame; valid in the first segment */
	uint32_t rss_hash;   /* host order; with PKT_RX_RSS_HASH */
	uint64_t
		iova_offset; /* what to add to an address in this buffer to get the device's: pkt_buf_data_iova() */
	struct mempool *pool; /* where pkt_buf_free() returns it */
	uint16_t csum_start;  /* bytes from the frame's start to the first summed byte */
	uint16_t csum_offset; /* bytes from csum_start to the 16-bit checksum field */
	uint16_t gso_size;    /* payload bytes a segment */
	uint16_t header_size; /* bytes of L2 + L3 + L4 headers that each segment repeats */
	uint32_t index;       /* position in the pool */
	uint16_t in_use;      /* debug builds: 1 from alloc to free, to catch a double free */
	uint16_t reserved;
} __attribute__((aligned(64)));

_Static_assert(sizeof(struct pkt_buf) == 64, "packet metadata is one cache line");

/* Where a fresh buffer's data begins; also where the NIC's receive descriptors point. */
static inline uint8_t *pkt_buf_start(struct pkt_buf *buf)
{
	return (uint8_t *)buf + sizeof(*buf) + PKT_BUF_HEADROOM;
}

/* Device address of buf->data. The buffer is contiguous for the device, whatever the IOVA mode. */
static inline uint64_t pkt_buf_data_iova(const struct pkt_buf *buf)
{
	return (uintptr_t)buf->data + buf->iova_offset;
}

/* The device address of where data begins in a fresh buffer. */
static inline uint64_t pkt_buf_start_iova(const struct pkt_buf *buf)
{
	return (uintptr_t)buf + sizeof(*buf) + PKT_BUF_HEADROOM + buf->iova_offset;
}

/* segments << 48 | flags << 32 | size, in one load; and flags and segments in one store. For drivers. */
static inline uint64_t pkt_buf_word(const struct pkt_buf *buf)
{
#if __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__
	return buf->size_and_more[0] | (uint64_t)buf->size_and_more[1] << 32;
#else
	return buf->size | (uint64_t)buf->flags << 32 | (uint64_t)buf->segments << 48;
#endif
}

static inline void pkt_buf_set_flags(struct pkt_buf *buf, uint32_t flags, uint32_t segments)
{
#if __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__
	buf->size_and_more[1] = flags + (segments << 16);
#else
	buf->flags = (uint16_t)flags;
	buf->segments = (uint16_t)segments;
#endif
}

/*
 * A super-frame (PKT_TX_TSO4, PKT_TX_TSO6, PKT_TX_USO) stands for several frames on the wire: how many, and
 * how many bytes they have together. Any other frame is one.
 */
static inline uint32_t pkt_buf_wire_frames(const struct pkt_buf *frame)
{
	if (!(frame->flags & PKT_TX_SUPER) || !frame->gso_size || frame->frame_size <= frame->header_size)
		return 1;
	return (frame->frame_size - frame->header_size + frame->gso_size - 1u) / frame->gso_size;
}

static inline uint64_t pkt_buf_wire_bytes(const struct pkt_buf *frame)
{
	return frame->frame_size + (uint64_t)(pkt_buf_wire_frames(frame) - 1) * frame->header_size;
}

struct mempool {
	struct pkt_buf **free_stack; /* free_stack[0 .. free_count-1] are free */
	uint32_t free_count;
	uint32_t buf_count;          /* buffers in the pool */
	uint32_t data_size;          /* data bytes a buffer holds (after the headroom) */
	uint32_t entry_size;         /* distance between two pkt_bufs in memory */
	uint64_t exhausted;          /* buffers that were asked for and not there, since creation */
	struct dma_region *dma;      /* the memory itself */
	struct pci_device **devices; /* those that reach it: [0] is the one it was made for, NULL if none */
	uint32_t device_count;
};

/*
 * Create a pool of count buffers of data_size bytes each (0: PKT_BUF_DATA_SIZE), in DMA memory that dev can
 * reach. data_size is rounded up to a multiple of 1024. The pool must be freed before dev is closed.
 * Returns the pool, or NULL with errno set and the reason in ixy_last_error().
 */
struct mempool *ixy_mempool_create(struct ixy_device *dev, uint32_t count, uint32_t data_size);

/*
 * Let a second device use this pool's buffers too (forwarding A -> B sends what A received: ixy_rx_pool()). The pool
 * must be freed, or unshared, before either is closed. Returns 0, or -ENOTSUP where the devices address memory
 * differently. An AF_XDP device copies what it did not receive itself, so it takes any pool's buffers without this.
 */
int ixy_mempool_share(struct mempool *pool, struct ixy_device *dev);

/*
 * The device may not use them any more. None may be in its rings: after ixy_stop(). Nothing happens where the pool
 * was not shared with it, or made for it.
 */
void ixy_mempool_unshare(struct mempool *pool, struct ixy_device *dev);

/* Free the pool. All its buffers must have come back; -EBUSY (nothing freed) where some have not. NULL: 0. */
int ixy_mempool_free(struct mempool *pool);

/*
 * Take count buffers. Each comes with data at pkt_buf_start(), size 0, no flags, one segment, next NULL.
 * Returns how many were there: fewer than asked when the pool runs dry, which pool->exhausted counts.
 * The caller owns them until it frees them or a tx function takes them.
 */
uint32_t pkt_buf_alloc_batch(struct mempool *pool, struct pkt_buf *bufs[], uint32_t count);
struct pkt_buf *pkt_buf_alloc(struct mempool *pool); /* NULL when the pool is empty */

/*
 * Give a frame back: buf and all segments chained to it, each to its own pool. NULL is allowed.
 * Builds with IXY_DEBUG abort with a message when a buffer is freed twice.
 */
void pkt_buf_free(struct pkt_buf *buf);
void pkt_buf_free_batch(struct pkt_buf *bufs[], uint32_t count); /* NULLs among them are passed over */

#endif
