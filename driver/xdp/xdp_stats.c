/*
 * Counters of the device: our own, those of the kernel's sockets, and those of the interface below.
 */
#include "driver/xdp/xdp.h"

void xdp_kernel_statistics(const struct xdp_queue *q, struct xdp_statistics *sum)
{
	struct xdp_statistics now;

	*sum = q->past;
	if (!q->socket || xsk_socket_statistics(q->socket, &now) < 0)
		return;
	sum->rx_dropped += now.rx_dropped;
	sum->rx_invalid_descs += now.rx_invalid_descs;
	sum->tx_invalid_descs += now.tx_invalid_descs;
	sum->rx_ring_full += now.rx_ring_full;
	sum->rx_fill_ring_empty_descs += now.rx_fill_ring_empty_descs;
}

/*
 * What the kernel has dropped before the socket got it. In copy mode a frame that found the fill ring empty
 * counts twice, in rx_dropped too; what is left of rx_dropped did not fit its chunk. In zero copy the fill ring's
 * counter says how often the driver looked there in vain, which loses nothing, and rx_dropped is 0. The RX ring
 * holds all chunks that the kernel may have: it is full only for a kernel that goes wrong.
 */
static void kernel_drops(const struct xdp_queue *q, uint64_t *no_descriptor, uint64_t *too_long, uint64_t *tx)
{
	struct xdp_statistics s;
	uint64_t starved;

	xdp_kernel_statistics(q, &s);
	starved = q->dev->multi_buffer || s.rx_dropped < s.rx_fill_ring_empty_descs
			  ? s.rx_dropped
			  : s.rx_fill_ring_empty_descs;
	*no_descriptor = s.rx_ring_full + starved;
	*too_long = s.rx_dropped - starved;
	*tx = s.tx_invalid_descs;
}

void xdp_read_queue_stats(const struct ixy_device *ixy, uint16_t queue, struct ixy_queue_stats *stats)
{
	const struct xdp_queue *q = &xdp_device_const(ixy)->queues[queue];
	uint64_t no_descriptor, too_long, tx;

	ixy_add_queue_stats(stats, &q->rx_stats);
	ixy_add_queue_stats(stats, &q->tx_stats);
	kernel_drops(q, &no_descriptor, &too_long, &tx);
	stats->drops[IXY_DROP_RX_NO_DESCRIPTOR] += no_descriptor;
	stats->drops[IXY_DROP_RX_TOO_LONG] += too_long;
	stats->drops[IXY_DROP_TX_BAD_OFFLOAD] += tx;
}

void xdp_read_stats(const struct ixy_device *ixy, struct ixy_stats *stats)
{
	const struct xdp_device *dev = xdp_device_const(ixy);
	struct netif_counters below;

	netif_read_counters(dev->netif, &below);
	stats->drops[IXY_DROP_RX_NO_DESCRIPTOR] = below.missed;
	stats->drops[IXY_DROP_RX_ERROR] = below.crc_errors + below.length_errors + below.other_errors;
	stats->rx_multicast = below.multicast;
	stats->crc_errors = below.crc_errors;
	stats->length_errors = below.length_errors;
	stats->resets = dev->resets;
	stats->link_changes = dev->link_changes;
	/* On the wire: what came for us, with what was lost on the way; and what has left. */
	stats->wire_rx_frames = below.missed;
	for (uint16_t i = 0; i < ixy->rx_queues; i++) {
		const struct xdp_queue *q = &dev->queues[i];
		struct ixy_queue_stats s = {0};

		xdp_read_queue_stats(ixy, i, &s);
		stats->wire_rx_frames +=
			s.rx_frames + s.drops[IXY_DROP_RX_NO_DESCRIPTOR] + s.drops[IXY_DROP_RX_TOO_LONG] +
			s.drops[IXY_DROP_RX_RESET] +
			__atomic_load_n(&q->rx_stats.drops[IXY_DROP_SHUTDOWN], __ATOMIC_RELAXED);
		stats->wire_tx_frames += __atomic_load_n(&q->completed, __ATOMIC_RELAXED) -
					 __atomic_load_n(&q->refused, __ATOMIC_RELAXED);
		stats->pool_exhausted += __atomic_load_n(&q->pool->exhausted, __ATOMIC_RELAXED);
	}
}
