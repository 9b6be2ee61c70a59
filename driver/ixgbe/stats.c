/*
 * The NIC's counters (datasheet 8.2.3.23), and what they and the rings tell about queues that hang.
 *
 * The registers have 32 bits and are cleared by reading, so the control thread adds them to 64-bit sums at
 * least twice a second: the fastest, frames of 64 bytes at 14.88 million a second, would need five minutes to
 * saturate. Each queue's own counters are kept by the thread that drives it and are only read here.
 */
#include "driver/ixgbe/ixgbe.h"

#define HANG_CHECK_US 200000 /* shortest time between two judgements */
#define HANG_CHECKS   2      /* judgements without progress that make a hang */

static void clear_registers(struct ixgbe_device *dev)
{
	static const uint32_t counters[] = {
		GPRC, GPTC, MPRC, BPRC, CRCERRS, ILLERRC, ERRBC, RLEC, RUC, RFC, ROC, RJC};

	for (size_t i = 0; i < sizeof(counters) / sizeof(counters[0]); i++)
		reg_read(dev, counters[i]);
	for (unsigned i = 0; i < 8; i++)
		reg_read(dev, MPC(i));
	for (unsigned i = 0; i < IXY_MAX_QUEUES; i++)
		reg_read(dev, QPRDC(i));
}

void ixgbe_stats_clear(struct ixgbe_device *dev)
{
	/* Queue n counts in the n-th of 16 sets of queue counters. */
	for (unsigned i = 0; i < IXY_MAX_QUEUES / 4; i++) {
		uint32_t map = 4 * i | (4 * i + 1) << 8 | (4 * i + 2) << 16 | (4 * i + 3) << 24;

		reg_write(dev, RQSMR(i), map);
		reg_write(dev, TQSM(i), map);
	}
	clear_registers(dev);
	dev->last_check_us = clock_us();
	for (unsigned i = 0; i < dev->ixy.rx_queues; i++)
		dev->rx[i].suspicious = 0;
	for (unsigned i = 0; i < dev->ixy.tx_queues; i++)
		dev->tx[i].suspicious = 0;
}

/* A device that is removed between two reads answers all-ones, which is no count. */
static uint64_t counter(struct ixgbe_device *dev, uint32_t reg)
{
	uint32_t value = reg_read(dev, reg);

	return value == UINT32_MAX ? 0 : value;
}

void ixgbe_stats_collect(struct ixgbe_device *dev)
{
	const struct {
		uint32_t reg;
		uint64_t *sum;
	} counters[] = {
		{GPRC, &dev->stats.wire_rx_frames},
		{GPTC, &dev->stats.wire_tx_frames},
		{MPRC, &dev->stats.rx_multicast},
		{BPRC, &dev->stats.rx_broadcast},
		{CRCERRS, &dev->stats.crc_errors},
		{RLEC, &dev->stats.length_errors},
	};
	/* Frames that the MAC itself rejected, each with a kind of its own. */
	static const uint32_t rejected[] = {CRCERRS, ILLERRC, ERRBC, RLEC, RUC, RFC, ROC, RJC};
	uint64_t values[sizeof(counters) / sizeof(counters[0])];
	uint64_t errors = 0;

	for (size_t i = 0; i < sizeof(counters) / sizeof(counters[0]); i++) {
		values[i] = counter(dev, counters[i].reg);
		stat_add(counters[i].sum, values[i]);
	}
	for (size_t i = 0; i < sizeof(rejected) / sizeof(rejected[0]); i++) {
		if (rejected[i] == CRCERRS)
			errors += values[4];
		else if (rejected[i] == RLEC)
			errors += values[5];
		else
			errors += counter(dev, rejected[i]);
	}
	stat_add(&dev->stats.drops[IXY_DROP_RX_ERROR], errors);

	/*
	 * Without DROP_EN a frame without a descriptor waits in the packet buffer, and MPC counts what
	 * overflows.
	 */
	for (unsigned i = 0; i < 8; i++)
		stat_add(&dev->stats.drops[IXY_DROP_RX_NO_DESCRIPTOR], counter(dev, MPC(i)));
	for (unsigned i = 0; i < dev->ixy.rx_queues; i++)
		stat_add(&dev->rx[i].drops, counter(dev, QPRDC(i)));
}

/*
 * A transmit queue hangs when its thread has tried in vain to reclaim since the last look, and the look
 * before. That goes for a link that was lost with frames in the ring, too: they would leave, stale, when it
 * returns, and a reset is how the 82599 lets go of them.
 */
static bool tx_hung(struct ixgbe_tx_queue *q)
{
	uint32_t completed = __atomic_load_n(&q->completed, __ATOMIC_RELAXED);
	uint32_t reclaims = __atomic_load_n(&q->reclaims, __ATOMIC_RELAXED);
	bool stuck = __atomic_load_n(&q->pending, __ATOMIC_RELAXED) && completed == q->seen_completed &&
		     reclaims != q->seen_reclaims;

	q->seen_completed = completed;
	q->seen_reclaims = reclaims;
	q->suspicious = stuck ? q->suspicious + 1 : 0;
	return q->suspicious >= HANG_CHECKS;
}

/* Nothing came out of any receive queue since the last look. */
static bool rx_silent(const struct ixgbe_device *dev)
{
	for (unsigned i = 0; i < dev->ixy.rx_queues; i++) {
		if (__atomic_load_n(&dev->rx[i].stats.rx_frames, __ATOMIC_RELAXED) != dev->rx[i].seen_frames)
			return false;
	}
	return true;
}

/*
 * A receive queue hangs when frames are dropped for want of descriptors although some are posted, and the
 * NIC's head does not move. Only its own drops speak against a queue (QPRDC), or those that nobody's queue is
 * named for (MPC) while all are silent: an idle queue beside an overloaded one is well. The registers are
 * looked at only when something was dropped and nothing received.
 */
static bool rx_hung(struct ixgbe_device *dev, unsigned queue, bool dropped_before_queues)
{
	struct ixgbe_rx_queue *q = &dev->rx[queue];
	uint64_t frames = __atomic_load_n(&q->stats.rx_frames, __ATOMIC_RELAXED);

	/* A time in which nothing was to be received says nothing: on a quiet wire the next frame may be a second off. */
	if (frames != q->seen_frames) {
		q->suspicious = 0;
	} else if (dropped_before_queues || q->drops != q->seen_drops) {
		uint32_t head = reg_read(dev, RDH(queue));
		bool stuck = head == q->seen_head && head != reg_read(dev, RDT(queue));

		q->seen_head = head;
		q->suspicious = stuck ? q->suspicious + 1 : 0;
	}
	q->seen_drops = q->drops;
	return q->suspicious >= HANG_CHECKS;
}

bool ixgbe_stats_hung(struct ixgbe_device *dev)
{
	int64_t now = clock_us();
	uint64_t dropped = dev->stats.drops[IXY_DROP_RX_NO_DESCRIPTOR];
	bool hung = false, dropped_before_queues;

	if (now - dev->last_check_us < HANG_CHECK_US)
		return false;
	dev->last_check_us = now;
	for (unsigned i = 0; i < dev->ixy.tx_queues; i++) {
		if (tx_hung(&dev->tx[i])) {
			ixy_log(IXY_LOG_WARNING, "%s: transmit queue %u hangs: no completion for %u ms",
				dev->ixy.name, i, HANG_CHECKS * HANG_CHECK_US / 1000);
			hung = true;
		}
	}
	dropped_before_queues = dropped != dev->seen_drops && rx_silent(dev);
	for (unsigned i = 0; i < dev->ixy.rx_queues; i++) {
		if (rx_hung(dev, i, dropped_before_queues)) {
			ixy_log(IXY_LOG_WARNING,
				"%s: receive queue %u hangs: frames dropped beside free descriptors",
				dev->ixy.name, i);
			hung = true;
		}
	}
	for (unsigned i = 0; i < dev->ixy.rx_queues; i++)
		dev->rx[i].seen_frames = __atomic_load_n(&dev->rx[i].stats.rx_frames, __ATOMIC_RELAXED);
	dev->seen_drops = dropped;
	return hung;
}

void ixgbe_read_stats(const struct ixy_device *ixy, struct ixy_stats *stats)
{
	const struct ixgbe_device *dev = ixgbe_const(ixy);
	const struct ixy_stats *s = &dev->stats;

	for (unsigned i = 0; i < IXY_DROP_COUNT; i++)
		stats->drops[i] += __atomic_load_n(&s->drops[i], __ATOMIC_RELAXED);
	stats->rx_multicast = __atomic_load_n(&s->rx_multicast, __ATOMIC_RELAXED);
	stats->rx_broadcast = __atomic_load_n(&s->rx_broadcast, __ATOMIC_RELAXED);
	stats->wire_rx_frames = __atomic_load_n(&s->wire_rx_frames, __ATOMIC_RELAXED);
	stats->wire_tx_frames = __atomic_load_n(&s->wire_tx_frames, __ATOMIC_RELAXED);
	stats->crc_errors = __atomic_load_n(&s->crc_errors, __ATOMIC_RELAXED);
	stats->length_errors = __atomic_load_n(&s->length_errors, __ATOMIC_RELAXED);
	stats->resets = __atomic_load_n(&s->resets, __ATOMIC_RELAXED);
	stats->link_changes = __atomic_load_n(&s->link_changes, __ATOMIC_RELAXED);
	for (unsigned i = 0; i < dev->ixy.rx_queues; i++) {
		if (dev->rx[i].pool)
			stats->pool_exhausted +=
				__atomic_load_n(&dev->rx[i].pool->exhausted, __ATOMIC_RELAXED);
	}
}

void ixgbe_read_queue_stats(const struct ixy_device *ixy, uint16_t queue, struct ixy_queue_stats *stats)
{
	const struct ixgbe_device *dev = ixgbe_const(ixy);

	if (queue < ixy->rx_queues) {
		ixy_add_queue_stats(stats, &dev->rx[queue].stats);
		stats->drops[IXY_DROP_RX_NO_DESCRIPTOR] +=
			__atomic_load_n(&dev->rx[queue].drops, __ATOMIC_RELAXED);
	}
	if (queue < ixy->tx_queues)
		ixy_add_queue_stats(stats, &dev->tx[queue].stats);
}
