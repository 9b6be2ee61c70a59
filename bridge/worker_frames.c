/*
 * A worker's rounds: a burst each way between the NIC's queue and the kernel.
 *
 * Back pressure. Frames that the NIC's ring does not take wait in the worker, and nothing more is read: the queue then
 * grows in the kernel, where its tail-drops show as the interface's tx_dropped. Likewise frames that the port has no
 * room for stay in the NIC's ring, where losses are counted as rx-no-descriptor.
 */
#include "bridge/worker_parts.h"

#include <errno.h>

#include "bridge/gro.h"
#include "driver/gso.h"

#define DRAIN_NS 200000000 /* see workers_drain() */

static void interface_gone(struct worker *w)
{
	if (w->gone)
		return;
	w->gone = true;
	w->config.interface_gone(w->config.arg);
}

/* How long a frame is on the wire: a super-frame goes there in segments. */
static inline uint32_t wire_size(const struct pkt_buf *frame)
{
	if (unlikely(frame->flags & PKT_TX_SUPER))
		return (uint32_t)frame->header_size + frame->gso_size;
	return frame->frame_size;
}

/*
 * The tap would take a frame of any length; what goes beyond the MTU is nothing that an interface may
 * deliver.
 */
static uint32_t drop_too_long(struct worker *w, struct pkt_buf *frames[], uint32_t count)
{
	const uint32_t max = ixy_mtu_get(w->config.dev) + IXY_FRAME_OVERHEAD;
	uint32_t kept = 0;

	for (uint32_t i = 0; i < count; i++) {
		if (likely(frames[i]->frame_size <= max || wire_size(frames[i]) <= max)) {
			frames[kept++] = frames[i];
		} else {
			counter_add(
				&w->counters->drops[IXY_DROP_RX_TOO_LONG], pkt_buf_wire_frames(frames[i]));
			pkt_buf_free(frames[i]);
		}
	}
	return kept;
}

/* Without offloads no frame leaves a checksum to be completed by the kernel: see PKT_TX_L4_CSUM on receive. */
static void complete_checksums(struct pkt_buf *frames[], uint32_t count)
{
	for (uint32_t i = 0; i < count; i++) {
		struct pkt_buf *frame = frames[i];

		/* Where it does not fit the frame, the kernel will see for itself that the checksum is bad. */
		if (unlikely(frame->flags & PKT_TX_L4_CSUM) && gso_complete(frame) < 0)
			frame->flags &= (uint16_t)~PKT_TX_L4_CSUM;
	}
}

/* What lay in the ring after frames had gathered. A jumbo frame or a super-frame has several buffers. */
static void count_gathered(struct worker *w, struct pkt_buf *const frames[], uint32_t count)
{
	for (uint32_t i = 0; i < count; i++)
		w->gathered += frames[i]->segments;
	w->gather_rounds--;
}

uint32_t forward_rx(struct worker *w)
{
	struct pkt_buf *frames[WORKER_BATCH];
	uint32_t room = kernel_port_room(w->config.port), count, good;

	w->full = room == 0;
	if (unlikely(room < WORKER_BATCH))
		count = room ? ixy_rx_batch(w->config.dev, w->config.queue, frames, room) : 0;
	else
		count = ixy_rx_batch(w->config.dev, w->config.queue, frames, WORKER_BATCH);
	if (unlikely(w->gather_rounds) && !w->outward)
		count_gathered(w, frames, count);
	if (count == 0)
		return 0;
	good = drop_too_long(w, frames, count);
	if (unlikely(!w->config.offload))
		complete_checksums(frames, good);
	else if (likely(atomic_load_explicit(&w->gro, memory_order_relaxed)))
		good = gro_burst(frames, good, w->config.gro_udp);
	if (good && unlikely(kernel_port_send(w->config.port, frames, good, w->counters) < 0))
		interface_gone(w);
	return count;
}

void drop_pending(struct worker *w, enum ixy_drop reason)
{
	struct pkt_buf **frames = w->pending + w->pending_first;

	for (uint32_t i = 0; i < w->pending_count; i++)
		counter_add(&w->counters->drops[reason], pkt_buf_wire_frames(frames[i]));
	pkt_buf_free_batch(frames, w->pending_count);
	w->pending_count = 0;
}

/* Offer the pending frames to the NIC. Returns frames that left. */
static uint32_t flush_pending(struct worker *w)
{
	uint32_t sent;

	if (unlikely(!ixy_link_get(w->config.dev).up)) {
		sent = w->pending_count;
		drop_pending(w, IXY_DROP_TX_LINK_DOWN);
		return sent;
	}
	sent = ixy_tx_batch(w->config.dev, w->config.queue, w->pending + w->pending_first, w->pending_count);
	w->pending_first += sent;
	w->pending_count -= sent;
	return sent;
}

uint32_t forward_tx(struct worker *w)
{
	int count;

	if (w->pending_count)
		return flush_pending(w);
	count = kernel_port_recv(w->config.port, w->pending, WORKER_BATCH, w->counters);
	w->tap_hot = count == WORKER_BATCH;
	if (!w->tap_hot)
		w->tap_dry_ns = clock_ns();
	w->starved = count == -ENOBUFS;
	if (unlikely(count == -EBADFD))
		interface_gone(w);
	if (count <= 0)
		return 0;
	if (unlikely(w->gather_rounds) && w->outward) {
		w->gathered += (uint32_t)count;
		w->gather_rounds--;
	}
	w->pending_first = 0;
	w->pending_count = (uint32_t)count;
	flush_pending(w);
	return (uint32_t)count;
}

/* See off what the kernel has handed over. The NIC needs time to send it, so no hurry between two looks. */
void drain_tx(struct worker *w)
{
	const uint64_t end = clock_ns() + DRAIN_NS;
	bool more = kernel_port_shut(w->config.port);

	for (;;) {
		if (w->pending_count)
			flush_pending(w);
		else if (more)
			more = forward_tx(w) > 0;
		else
			ixy_tx_batch(w->config.dev, w->config.queue, NULL, 0);
		forward_rx(w);
		if (!w->pending_count && !more && !ixy_tx_pending(w->config.dev, w->config.queue))
			return;
		if (!ixy_link_get(w->config.dev).up || clock_ns() >= end)
			break;
		sleep_us(NAP_MIN_NS / 1000);
	}
	drop_pending(w, IXY_DROP_SHUTDOWN);
}

/* Hand over what lies in the receive ring. Bounded, should the NIC go on receiving all the same. */
void drain_rx(struct worker *w)
{
	const uint64_t end = clock_ns() + DRAIN_NS;

	while ((forward_rx(w) || w->full) && clock_ns() < end)
		;
}
