/*
 * Receiving: descriptors from the RX ring become pkt_bufs in place, and as many fresh chunks go into the fill
 * ring.
 *
 * An XDP program sees a frame before the interface's own address filter does, or there is none (veth). So the
 * filter is here: without promiscuity only frames come out that are for this device. Those that are not count
 * nowhere, as on a NIC.
 *
 * A frame that is longer than a chunk holds comes in several descriptors; all but the last say that it goes on
 * (XDP_PKT_CONTD), also across two calls.
 */
#include <string.h>

#include "driver/verify.h"
#include "driver/xdp/xdp.h"

#define likely(x)   __builtin_expect(!!(x), 1)
#define unlikely(x) __builtin_expect(!!(x), 0)

/* --- the fill ring ----------------------------------------------------------------------------------- */

void xdp_rx_refill(struct xdp_queue *q)
{
	while (q->fill_short > 0) {
		struct pkt_buf *bufs[XDP_BURST];
		uint64_t addrs[XDP_BURST];
		uint32_t want = q->fill_short < XDP_BURST ? q->fill_short : XDP_BURST;
		uint32_t n = pkt_buf_alloc_batch(q->pool, bufs, want);

		for (uint32_t i = 0; i < n; i++)
			addrs[i] = (uint64_t)((uint8_t *)bufs[i] - q->memory);
		/* As many as the ring lacks do fit, and lie in the UMEM; anything else is a kernel unknown to us. */
		if (unlikely(n && xsk_fill_and_wake(q->socket, addrs, n) != (int)n)) {
			pkt_buf_free_batch(bufs, n);
			return;
		}
		for (uint32_t i = 0; i < n; i++)
			q->place[addrs[i] >> q->chunk_shift] = XDP_FILLED;
		q->fill_short -= n;
		if (n < want) /* the pool is empty: whoever holds its buffers will give them back */
			return;
	}
}

/*
 * In zero copy a driver that found the fill ring empty asks for a wake-up, without looking at the ring again. If we
 * filled it in between, that came too late for xsk_fill_and_wake(), and there may be nothing more to fill.
 */
static void wake_starved_driver(const struct xdp_queue *q)
{
	if (xsk_fill_needs_wakeup(q->rings) && xsk_num_free_fill_slots(q->rings) < q->dev->rx_ring)
		xsk_wake_rx(q->socket);
}

/* --- frames ------------------------------------------------------------------------------------------ */

static bool wanted_by_lists(const struct xdp_filter *filter, const uint8_t *dst, uint64_t mac)
{
	static const uint8_t broadcast[6] = {0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF};

	if (__atomic_load_n(&filter->changing, __ATOMIC_ACQUIRE))
		return true;
	if (dst[0] & 1) {
		unsigned bit = xdp_group_hash(dst);

		return __atomic_load_n(&filter->allmulti, __ATOMIC_RELAXED) ||
		       memcmp(dst, broadcast, sizeof(broadcast)) == 0 ||
		       __atomic_load_n(&filter->groups[bit / 64], __ATOMIC_RELAXED) >> bit % 64 & 1;
	}
	for (uint32_t i = 0; i < __atomic_load_n(&filter->unicast_count, __ATOMIC_ACQUIRE); i++)
		if (__atomic_load_n(&filter->unicast[i], __ATOMIC_RELAXED) == mac)
			return true;
	return false;
}

static inline bool wanted(const struct xdp_filter *filter, const uint8_t *dst)
{
	uint64_t mac = xdp_mac_number(dst);

	return mac == __atomic_load_n(&filter->mac, __ATOMIC_RELAXED) ||
	       __atomic_load_n(&filter->promisc, __ATOMIC_RELAXED) || wanted_by_lists(filter, dst, mac);
}

static void give_up(struct xdp_queue *q, struct pkt_buf *buf, bool goes_on, enum ixy_drop reason)
{
	pkt_buf_free(buf);
	pkt_buf_free(q->chain);
	q->chain = NULL;
	if (!q->discard)
		stat_add(&q->rx_stats.drops[reason], 1);
	q->discard = goes_on;
}

/* A piece of a longer frame. Returns the frame if this completes it. */
static struct pkt_buf *add_piece(struct xdp_queue *q, struct pkt_buf *buf, bool goes_on)
{
	struct pkt_buf *first = q->chain;

	if (q->discard) {
		give_up(q, buf, goes_on, IXY_DROP_RX_TOO_LONG);
		return NULL;
	}
	if (!first) {
		q->chain = first = buf;
	} else {
		q->chain_last->next = buf;
		first->frame_size += buf->size;
		first->segments++;
	}
	q->chain_last = buf;
	if (first->frame_size > XDP_MAX_MTU + XDP_ETH_HEADER + 2 * XDP_VLAN_TAG) {
		give_up(q, NULL, goes_on, IXY_DROP_RX_TOO_LONG);
		return NULL;
	}
	if (goes_on)
		return NULL;
	q->chain = NULL;
	return first;
}

/* The frame that a descriptor ends; NULL if it ends none that is wanted. */
static struct pkt_buf *take(struct xdp_queue *q, const struct xdp_desc *desc)
{
	uint32_t chunk =
		(uint32_t)(desc->addr >> q->chunk_shift); /* in the UMEM: xsk_receive() has checked */
	bool goes_on = desc->options & XDP_PKT_CONTD;
	struct pkt_buf *buf = xdp_chunk(q, chunk);

	/* Whose chunk we did not hand over, it is not ours to touch. */
	if (unlikely(q->place[chunk] != XDP_FILLED ||
		     (desc->addr & (q->chunk_size - 1)) < sizeof(struct pkt_buf))) {
		stat_add(&q->rx_stats.drops[IXY_DROP_RX_BAD_DESCRIPTOR], 1);
		return NULL;
	}
	q->place[chunk] = XDP_FREE;
	q->fill_short++;
	buf->data = q->memory + desc->addr;
	buf->size = buf->frame_size = desc->len;
	if (unlikely(goes_on || q->chain || q->discard)) {
		buf = add_piece(q, buf, goes_on);
		if (!buf)
			return NULL;
	}
	if (unlikely(buf->size < XDP_ETH_HEADER)) {
		stat_add(&q->rx_stats.drops[IXY_DROP_RX_ERROR], 1);
		pkt_buf_free(buf);
		return NULL;
	}
	if (!wanted(&q->dev->filter, buf->data)) {
		pkt_buf_free(buf);
		return NULL;
	}
	verify_checksums(buf); /* AF_XDP passes on nothing of what the NIC found out */
	return buf;
}

uint32_t xdp_rx_batch(struct ixy_device *dev, uint16_t queue, struct pkt_buf *bufs[], uint32_t limit)
{
	struct xdp_queue *q = &xdp_device(dev)->queues[queue];
	uint64_t bytes = 0;
	uint32_t n = 0;

	if (unlikely(!q->socket))
		return 0;
	while (n < limit) {
		struct xdp_desc descs[XDP_BURST];
		uint32_t want = limit - n < XDP_BURST ? limit - n : XDP_BURST;
		uint32_t got = xsk_receive(q->socket, descs, want);

		for (uint32_t i = 0; i < got; i++) {
			struct pkt_buf *frame;

			/* Metadata and headers of the next: last touched a ring's length ago. */
			if (i + 1 < got) {
				uint64_t addr = descs[i + 1].addr;

				__builtin_prefetch(q->memory + addr);
				__builtin_prefetch(q->memory + (addr & ~(uint64_t)(q->chunk_size - 1)), 1);
			}
			frame = take(q, &descs[i]);
			if (!frame)
				continue;
			bytes += frame->frame_size;
			bufs[n++] = frame;
		}
		if (got < want)
			break;
	}
	if (n > 0) {
		stat_add(&q->rx_stats.rx_frames, n);
		stat_add(&q->rx_stats.rx_bytes, bytes);
	}
	if (q->fill_short >= q->fill_batch)
		xdp_rx_refill(q);
	if (unlikely(n == 0) && xsk_socket_zero_copy(q->socket))
		wake_starved_driver(q);
	return n;
}

void xdp_rx_empty(struct xdp_queue *q, uint32_t waiting, enum ixy_drop reason)
{
	stat_add(&q->rx_stats.drops[reason], waiting);
	pkt_buf_free(q->chain);
	q->chain = NULL;
	q->discard = false;
	for (uint32_t i = 0; i < q->chunks; i++) {
		if (q->place[i] != XDP_FILLED)
			continue;
		q->place[i] = XDP_FREE;
		pkt_buf_free(xdp_chunk(q, i));
	}
}
