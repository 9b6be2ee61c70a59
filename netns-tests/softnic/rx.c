/*
 * The receive engine (7.1): from a frame on the wire to descriptors in the client's ring.
 *
 *	nic_receive()        MAC checks -> filter.c -> queue -> frame into the buffers of as many descriptors
 *	                     as it needs, or of none
 *	nic_receive_flush()  write those descriptors back, in order; interrupts, head registers, statistics
 *
 * What happens between the first frame and the flush is a burst. No message is served inside one; to be safe,
 * unmapping memory ends it, so that a descriptor's place is known from its copying to its write-back. It is
 * copied when its turn comes, and only the copy is believed. Nothing on this path can come back into it.
 *
 * Silicon's packet buffer, in which frames wait for descriptors, is the wires' affair (wire.h). What arrives
 * here and finds no descriptors is dropped at once: counted in QPRDC if the queue has DROP_EN, else in MPC, as
 * if the packet buffer had been full.
 */
#include "datapath.h"

#include <endian.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define RX_BATCH 64 /* descriptors written back together at most; a frame has 17 (16 KiB in 1 KiB buffers) */
#define RING_MAX 65528 /* descriptors */

struct rx_pending {
	unsigned queue;
	union ixgbe_rx_desc *at; /* in client memory */
	union ixgbe_rx_desc desc;
};

struct rx_counters {
	struct mac_counters good;   /* all that is well-formed */
	struct mac_counters wanted; /* and passed the filters */
	uint64_t total_octets, delivered_octets;
	uint32_t total, short_frames, long_frames, delivered, missed;
	uint32_t units; /* which of the following have counted */
	uint32_t queue_frames[STATISTIC_UNITS], queue_dropped[STATISTIC_UNITS];
	uint64_t queue_octets[STATISTIC_UNITS];
};

struct nic_rx_state {
	bool in_burst;
	bool awake; /* in this burst: in D0, and DMA is not held */
	struct rx_config config;
	struct rx_counters counters;
	unsigned pendings;
	struct rx_pending pending[RX_BATCH];
	struct nic_dma_window window[NIC_QUEUES]; /* onto the rings, in this burst */
	uint64_t touched[NIC_QUEUES / 64];        /* queues that have one */
	uint64_t interrupt[NIC_QUEUES / 64];      /* queues that got frames */
	uint8_t padded[ETHER_MIN];
};

/* A frame as it goes into buffers: without its tag if that is stripped, with its CRC if that is kept. */
struct rx_source {
	struct iovec part[3];
	unsigned parts, current;
	size_t size;
};

static void source_add(struct rx_source *source, const void *data, size_t size)
{
	source->part[source->parts++] = (struct iovec){(void *)data, size};
	source->size += size;
}

static void source_read(struct rx_source *source, uint8_t *to, size_t size)
{
	while (size > 0) {
		struct iovec *part = &source->part[source->current];
		size_t n = part->iov_len < size ? part->iov_len : size;

		if (to) {
			memcpy(to, part->iov_base, n);
			to += n;
		}
		size -= n;
		part->iov_base = (uint8_t *)part->iov_base + n;
		part->iov_len -= n;
		if (part->iov_len == 0)
			source->current++;
	}
}

/* --- life cycle --------------------------------------------------------------------------------------------- */

int nic_rx_init(struct nic *nic)
{
	nic->rx_state = calloc(1, sizeof(*nic->rx_state));
	return nic->rx_state ? 0 : -ENOMEM;
}

void nic_rx_free(struct nic *nic)
{
	free(nic->rx_state);
	nic->rx_state = NULL;
}

void nic_rx_reset(struct nic *nic)
{
	memset(nic->rx_state, 0, sizeof(*nic->rx_state));
	memset(nic->rxq, 0, sizeof(nic->rxq));
}

static bool half_configured(struct nic *nic, unsigned n, const struct rx_queue *q, uint32_t length)
{
	uint32_t buffer = q->buffer_size;
	bool split =
		q->desc_type == SRRCTL_DESCTYPE_ADV_SPLIT || q->desc_type == SRRCTL_DESCTYPE_ADV_SPLIT_ALWAYS;

	if (q->base == 0 && length == 0) {
		nic_violate(
			nic, NIC_VIOLATION_QUEUE_HALF_CONFIGURED, "RX queue %u enabled without a ring", n);
		return true;
	}
	if (q->base % 128 != 0 || length == 0 || length % 128 != 0 || q->count > RING_MAX) {
		nic_violate(nic, NIC_VIOLATION_RING_ALIGN, "RX queue %u: base %#lx, length %u", n,
			(unsigned long)q->base, length);
		return true;
	}
	if (q->head >= q->count) {
		nic_violate(nic, NIC_VIOLATION_QUEUE_HALF_CONFIGURED, "RX queue %u: RDH %u in a ring of %u",
			n, q->head, q->count);
		return true;
	}
	if (!split && q->desc_type != SRRCTL_DESCTYPE_LEGACY && q->desc_type != SRRCTL_DESCTYPE_ADV_ONEBUF) {
		nic_violate(nic, NIC_VIOLATION_QUEUE_HALF_CONFIGURED,
			"RX queue %u: SRRCTL.DESCTYPE is reserved", n);
		return true;
	}
	if (buffer == 0 || buffer > 16384 || (split && (q->header_size == 0 || q->header_size > 1024))) {
		nic_violate(nic, NIC_VIOLATION_RX_BUFFER,
			"RX queue %u: packet buffers of %u, header buffers of %u", n, buffer, q->header_size);
		return true;
	}
	return false;
}

static void queue_enable(struct nic *nic, unsigned n)
{
	uint32_t length = nic_reg(nic, RDLEN(n)), srrctl = nic_reg(nic, SRRCTL(n));
	struct rx_queue q = {
		.base = (uint64_t)nic_reg(nic, RDBAH(n)) << 32 | nic_reg(nic, RDBAL(n)),
		.count = length / sizeof(union ixgbe_rx_desc),
		.head = nic_reg(nic, RDH(n)),
		.buffer_size = (srrctl & SRRCTL_BSIZEPACKET) * 1024,
		.header_size = (srrctl >> SRRCTL_BSIZEHEADER_SHIFT & 0x3f) * 64,
		.desc_type = srrctl & SRRCTL_DESCTYPE,
		.drop_en = srrctl & SRRCTL_DROP_EN,
	};

	if (half_configured(nic, n, &q, length)) {
		__atomic_fetch_and(&nic->regs[RXDCTL(n) / 4], ~RXDCTL_ENABLE, __ATOMIC_RELEASE);
		return;
	}
	if (nic_reg(nic, DCA_RXCTRL(n)) & DCA_RXCTRL_BIT12)
		nic_violate(nic, NIC_VIOLATION_RX_DCA_RESERVED, "RX queue %u enabled with it", n);
	q.enabled = true;
	nic->rxq[n] = q;
}

static void check_unchanged(struct nic *nic, unsigned n, struct rx_queue *q)
{
	uint64_t base = (uint64_t)nic_reg(nic, RDBAH(n)) << 32 | nic_reg(nic, RDBAL(n));
	uint32_t count = nic_reg(nic, RDLEN(n)) / sizeof(union ixgbe_rx_desc), head = nic_reg(nic, RDH(n));

	if (q->changed || (base == q->base && count == q->count && head == q->head))
		return;
	q->changed = true;
	nic_violate(nic, NIC_VIOLATION_RING_CHANGED, "RX queue %u: base %#lx, %u descriptors, head %u", n,
		(unsigned long)base, count, head);
}

/*
 * Enabled without a ring, while nothing is received: it fetches nothing and does no harm, and the register test
 * of ethtool does just that. What it has when receive is turned on is what counts (nic_rxctrl_write()).
 */
static bool is_dormant(const struct nic *nic, unsigned n)
{
	return !(nic_reg(nic, RXCTRL) & RXCTRL_RXEN) &&
	       !(nic_reg(nic, RDBAL(n)) | nic_reg(nic, RDBAH(n)) | nic_reg(nic, RDLEN(n)));
}

/*
 * A tail moved on a queue that is yet to be enabled would have the NIC fetch descriptors of no ring. On one that
 * has just been disabled it does no harm: what polls it may ring once more (stock ixgbe does, with AF_XDP).
 */
void nic_rx_queue_update(struct nic *nic, unsigned n)
{
	struct rx_queue *q = &nic->rxq[n];
	/* The tail first: drivers enable, then move it, so a tail seen to move on a disabled queue did so. */
	uint32_t tail = nic_reg(nic, RDT(n));
	bool enable = nic_reg(nic, RXDCTL(n)) & RXDCTL_ENABLE;

	if (enable && !q->enabled) {
		if (!is_dormant(nic, n))
			queue_enable(nic, n);
	} else if (enable) {
		check_unchanged(nic, n, q);
	} else if (q->enabled) {
		nic_receive_flush(nic);
		q->enabled = false;
		q->retired = true;
	} else if (tail != q->idle_tail) {
		if (tail != 0 && !q->retired && !nic->reset_behind)
			nic_violate(nic, NIC_VIOLATION_TAIL_DISABLED, "RX queue %u: RDT %u", n, tail);
		q->idle_tail = tail;
	}
}

/* --- write-back ----------------------------------------------------------------------------------------------- */

static void desc_load(const union ixgbe_rx_desc *from, union ixgbe_rx_desc *to)
{
	to->read.packet_addr = __atomic_load_n(&from->read.packet_addr, __ATOMIC_RELAXED);
	to->read.header_addr = __atomic_load_n(&from->read.header_addr, __ATOMIC_RELAXED);
}

/* DD, status and length are in the second half and land together; the first half is there before them. */
static void desc_store(union ixgbe_rx_desc *to, const union ixgbe_rx_desc *from)
{
	__atomic_store_n(&to->read.packet_addr, from->read.packet_addr, __ATOMIC_RELAXED);
	__atomic_store_n(&to->read.header_addr, from->read.header_addr, __ATOMIC_RELEASE);
}

static void write_back(struct nic *nic)
{
	struct nic_rx_state *rx = nic->rx_state;

	for (unsigned i = 0; i < rx->pendings; i++) {
		const struct rx_pending *pending = &rx->pending[i];

		desc_store(pending->at, &pending->desc);
		if (i + 1 == rx->pendings || rx->pending[i + 1].queue != pending->queue)
			nic_reg_set(nic, RDH(pending->queue), nic->rxq[pending->queue].head);
	}
	rx->pendings = 0;
	nic_dma_new_burst(nic); /* the client may now do with their buffers what it likes */
}

static void flush_counters(struct nic *nic)
{
	static const uint32_t by_size[6] = {PRC64, PRC127, PRC255, PRC511, PRC1023, PRC1522};
	struct nic_rx_state *rx = nic->rx_state;
	const struct rx_counters *c = &rx->counters;
	/* Octets are counted with the CRC unless it is stripped; the ones per queue, too. */
	uint64_t crc = rx->config.crc_strip ? ETHER_CRC : 0;
	const struct {
		uint32_t reg, n;
	} words[] = {
		{TPR, c->total},
		{RUC, c->short_frames},
		{ROC, c->long_frames},
		{RXNFGPC, c->good.frames},
		{GPRC, c->wanted.frames},
		{BPRC, c->wanted.broadcast},
		{MPRC, c->wanted.multicast},
		{RXDGPC, c->delivered},
		{MPC(0), c->missed},
	};

	for (unsigned i = 0; i < sizeof(words) / sizeof(words[0]); i++)
		if (words[i].n)
			nic_count(nic, words[i].reg, words[i].n);
	for (unsigned i = 0; i < 6; i++)
		if (c->good.by_size[i])
			nic_count(nic, by_size[i], c->good.by_size[i]);
	nic_count64(nic, TORL, c->total_octets - crc * c->total);
	if (c->good.frames)
		nic_count64(nic, RXNFGBCL, c->good.octets - crc * c->good.frames);
	if (c->wanted.frames)
		nic_count64(nic, GORCL, c->wanted.octets - crc * c->wanted.frames);
	if (c->delivered)
		nic_count64(nic, RXDGBCL, c->delivered_octets);
	for (uint32_t set = c->units; set; set &= set - 1) {
		unsigned i = (unsigned)__builtin_ctz(set);

		if (c->queue_frames[i]) {
			nic_count(nic, QPRC(i), c->queue_frames[i]);
			nic_count64(nic, QBRC_L(i), c->queue_octets[i]);
		}
		if (c->queue_dropped[i])
			nic_count(nic, QPRDC(i), c->queue_dropped[i]);
	}
}

void nic_receive_flush(struct nic *nic)
{
	struct nic_rx_state *rx = nic->rx_state;

	if (!rx->in_burst)
		return;
	write_back(nic);
	flush_counters(nic);
	bool missed = rx->counters.missed;

	memset(&rx->counters, 0, sizeof(rx->counters));
	rx->in_burst = false;
	for (unsigned i = 0; i < NIC_QUEUES / 64; i++) {
		for (uint64_t set = rx->touched[i]; set; set &= set - 1)
			rx->window[i * 64 + (unsigned)__builtin_ctzll(set)].size = 0;
		for (uint64_t set = rx->interrupt[i]; set; set &= set - 1)
			nic_irq_rx(nic, i * 64 + (unsigned)__builtin_ctzll(set));
		rx->touched[i] = rx->interrupt[i] = 0;
	}
	if (unlikely(missed))
		nic_irq_cause(nic, EICR_RX_MISS);
}

/* --- a frame ---------------------------------------------------------------------------------------------------- */

static uint32_t available(struct nic *nic, unsigned n)
{
	struct rx_queue *q = &nic->rxq[n];
	uint32_t tail = nic_reg(nic, RDT(n));

	if (unlikely(tail >= q->count)) {
		if (tail != q->bad_tail)
			nic_violate(nic, NIC_VIOLATION_TAIL_RANGE, "RX queue %u: RDT %u in a ring of %u", n,
				tail, q->count);
		q->bad_tail = tail;
		return 0;
	}
	return tail >= q->head ? tail - q->head : tail + q->count - q->head;
}

/*
 * Copy the next count descriptors, which are there, to the end of those that are pending. One that DMA cannot
 * reach halts the queue, for no later access could fare better.
 */
static bool take(struct nic *nic, unsigned n, uint32_t count)
{
	const size_t size = sizeof(union ixgbe_rx_desc);
	struct nic_rx_state *rx = nic->rx_state;
	struct rx_queue *q = &nic->rxq[n];
	uint32_t index = q->head;

	if (rx->pendings + count > RX_BATCH)
		write_back(nic);
	rx->touched[n / 64] |= 1ull << n % 64;
	for (uint32_t i = 0; i < count; i++) {
		struct rx_pending *pending = &rx->pending[rx->pendings + i];

		pending->queue = n;
		pending->at = nic_dma_descriptor(
			nic, &rx->window[n], q->base + index * size, (q->count - index) * size);
		if (unlikely(!pending->at)) {
			q->halted = true;
			return false;
		}
		desc_load(pending->at, &pending->desc);
		index = index + 1 == q->count ? 0 : index + 1;
	}
	q->head = index;
	return true;
}

/* What a frame's descriptors say of it, beside lengths. */
struct rx_report {
	uint32_t info, hash; /* dwords of the advanced write-back */
	uint32_t status;     /* of the last descriptor */
	uint16_t vlan;
	size_t header; /* bytes that go into the header buffer */
};

static uint32_t packet_type(const struct frame_info *info)
{
	uint32_t type = 0;

	if (info->ipv4)
		type |= RXD_TYPE_IPV4 | (info->l3_size > 20 ? RXD_TYPE_IPV4E : 0);
	if (info->ipv6)
		type |= RXD_TYPE_IPV6 | (info->ipv6_ext ? RXD_TYPE_IPV6E : 0);
	return type | (info->tcp ? RXD_TYPE_TCP : 0) | (info->udp ? RXD_TYPE_UDP : 0) |
	       (info->sctp ? RXD_TYPE_SCTP : 0);
}

static uint32_t checksum_status(const struct frame_info *info)
{
	uint32_t status = 0;

	if (info->ipv4)
		status |= RXD_STAT_IPCS | (info->ip_csum_ok ? 0 : RXD_ERR_IPE);
	if (info->l4_csum_checked)
		status |= RXD_STAT_L4I | (info->udp ? RXD_STAT_UDPCS : 0) |
			  (info->l4_csum_ok ? 0 : RXD_ERR_TCPE);
	return status;
}

/* 7.1.10: how much of the frame goes into the header buffer. size: of the frame as it is delivered. */
static void split(const struct nic *nic, const struct rx_queue *q, const struct frame_info *info,
	bool stripped, size_t size, struct rx_report *report)
{
	size_t header = rx_header_size(&nic->rx_state->config, info);

	if (header > 0 && stripped)
		header -= VLAN_TAG;
	if (header > 0 && header <= q->header_size) {
		report->header = header;
		report->info |= RXD_INFO_SPH;
	} else {
		if (header > q->header_size)
			report->status |= RXD_ERR_HBO;
		if (q->desc_type == SRRCTL_DESCTYPE_ADV_SPLIT_ALWAYS)
			report->header = size < q->header_size ? size : q->header_size;
	}
	report->info |= (uint32_t)report->header << RXD_INFO_HDR_LEN_SHIFT;
}

static void apply_faults(struct nic *nic, const struct rx_queue *q, uint32_t *status, uint32_t *length)
{
	if (fault_strikes(nic, NIC_FAULT_RX_LENGTH_ZERO))
		*length = 0;
	if (fault_strikes(nic, NIC_FAULT_RX_LENGTH_OVER))
		*length = q->buffer_size + 64;
	if (fault_strikes(nic, NIC_FAULT_RX_NO_EOP))
		*status &= ~RXD_STAT_EOP;
	if (fault_strikes(nic, NIC_FAULT_RX_BAD_STATUS))
		*status |= RXD_ERR_RXE | RXD_ERR_TCPE | RXD_ERR_IPE;
}

/* Turn the copy of a descriptor into its write-back. The low status byte and the errors are alike in both forms. */
static void complete(const struct rx_queue *q, const struct rx_report *report, uint32_t status,
	uint32_t length, union ixgbe_rx_desc *desc)
{
	bool last = status & RXD_STAT_EOP;

	if (q->desc_type == SRRCTL_DESCTYPE_LEGACY) {
		desc->legacy.length = (uint16_t)length;
		desc->legacy.checksum = 0;
		desc->legacy.status = (uint8_t)status;
		desc->legacy.errors = (uint8_t)(status >> 24);
		desc->legacy.vlan = last ? report->vlan : 0;
	} else {
		desc->wb.info = report->info;
		desc->wb.rss_hash = report->hash;
		desc->wb.status_error = status;
		desc->wb.length = (uint16_t)length;
		desc->wb.vlan = last ? report->vlan : 0;
	}
}

/* Write the next size bytes of the frame to client memory. If DMA cannot reach it they are passed over. */
static bool store(struct nic *nic, uint64_t iova, struct rx_source *source, size_t size)
{
	struct iovec spans[NIC_DMA_SPANS];
	unsigned n = nic_dma(nic, iova, size, true, spans);

	for (unsigned i = 0; i < n; i++)
		source_read(source, spans[i].iov_base, spans[i].iov_len);
	if (unlikely(n == 0))
		source_read(source, NULL, size);
	return n > 0;
}

/* Write the frame into the count descriptors taken. A buffer that DMA cannot reach makes it a bad frame. */
static void fill(
	struct nic *nic, unsigned n, uint32_t count, struct rx_source *source, const struct rx_report *report)
{
	struct nic_rx_state *rx = nic->rx_state;
	const struct rx_queue *q = &nic->rxq[n];
	size_t left = source->size - report->header;
	bool reached = true;

	for (uint32_t i = 0; i < count; i++) {
		union ixgbe_rx_desc *desc = &rx->pending[rx->pendings++].desc;
		size_t size = left < q->buffer_size ? left : q->buffer_size;
		uint32_t length = (uint32_t)size, status = RXD_STAT_DD;

		if (i == 0 && report->header > 0)
			reached &= store(nic, desc->read.header_addr & ~1ull, source, report->header);
		if (size > 0)
			reached &= store(nic, desc->read.packet_addr, source, size);
		if (i + 1 == count) {
			status |= report->status | (reached ? 0 : RXD_ERR_RXE);
			apply_faults(nic, q, &status, &length);
		}
		complete(q, report, status, length, desc);
		left -= size;
	}
	rx->interrupt[n / 64] |= 1ull << n % 64;
}

static void deliver(struct nic *nic, const uint8_t *frame, size_t size, enum rx_verdict verdict)
{
	struct nic_rx_state *rx = nic->rx_state;
	struct rx_counters *c = &rx->counters;
	struct rx_report report = {.status = RXD_STAT_EOP};
	struct rx_source source = {0};
	struct frame_info info;
	uint32_t crc, hash;
	uint8_t type;

	frame_parse(frame, size, rx->config.vlan_type, &info);
	unsigned n = rx_choose_queue(nic, &rx->config, frame, &info, &hash, &type);
	struct rx_queue *q = &nic->rxq[n];
	unsigned unit = statistic_unit(nic, RQSMR(0), n);

	c->units |= 1u << unit;
	report.info = packet_type(&info) | type;
	report.hash = rx->config.hash_wanted ? hash : 0;
	report.status |= checksum_status(&info) | (verdict == RX_INEXACT ? RXD_STAT_PIF : 0);
	bool strip = info.vlan && (nic_reg(nic, RXDCTL(n)) & RXDCTL_VME);
	if (strip) {
		report.status |= RXD_STAT_VP;
		report.vlan = info.vlan_tci;
		source_add(&source, frame, 12);
		source_add(&source, frame + 12 + VLAN_TAG, size - 12 - VLAN_TAG);
	} else {
		source_add(&source, frame, size);
	}
	if (!rx->config.crc_strip) {
		crc = htole32(crc32_ethernet(frame, size));
		source_add(&source, &crc, ETHER_CRC);
	}
	if (q->desc_type > SRRCTL_DESCTYPE_ADV_ONEBUF)
		split(nic, q, &info, strip, source.size, &report);

	uint32_t need = 0;
	bool taken = false;

	if (q->enabled && !q->halted && !fault_strikes(nic, NIC_FAULT_RX_HANG)) {
		need = (uint32_t)((source.size - report.header + q->buffer_size - 1) / q->buffer_size);
		need += need == 0;
		taken = need <= available(nic, n) && take(nic, n, need);
	}
	if (unlikely(!taken)) {
		nic->stats.rx_missed++;
		if (q->drop_en || !q->enabled)
			c->queue_dropped[unit]++;
		else
			c->missed++;
		return;
	}
	size_t octets = size + (rx->config.crc_strip ? 0 : ETHER_CRC);

	fill(nic, n, need, &source, &report);
	nic->stats.rx_delivered++;
	c->delivered++;
	c->delivered_octets += octets;
	c->queue_frames[unit]++;
	c->queue_octets[unit] += octets;
}

static void receive(struct nic *nic, const uint8_t *frame, size_t size, bool loopback)
{
	struct nic_rx_state *rx = nic->rx_state;
	struct rx_counters *c = &rx->counters;

	if (!rx->in_burst) {
		rx_config_update(nic, &rx->config);
		nic_dma_new_burst(nic);
		rx->awake = !nic_asleep(nic) && !nic_dma_held(nic);
		rx->in_burst = true;
	}
	bool listening = rx->config.enabled && (nic->link.up || loopback) &&
			 rx->config.loopback == loopback && rx->awake;

	if (unlikely(!listening)) {
		nic->stats.rx_missed++;
		return;
	}
	c->total++;
	c->total_octets += (size < ETHER_MIN ? ETHER_MIN : size) + ETHER_CRC;
	if (unlikely(size < ETHER_HEADER)) {
		c->short_frames++;
		nic->stats.rx_bad++;
		return;
	}
	if (size < ETHER_MIN) { /* a software wire leaves out the padding that the sender's MAC makes */
		memcpy(rx->padded, frame, size);
		memset(rx->padded + size, 0, ETHER_MIN - size);
		frame = rx->padded;
		size = ETHER_MIN;
	}
	size_t tag = load_be16(frame + 12) == rx->config.vlan_type ? VLAN_TAG : 0;

	if (unlikely(size > rx->config.max_frame + tag)) {
		c->long_frames++;
		nic->stats.rx_bad++;
		return;
	}
	nic->stats.rx_frames++;
	nic->stats.rx_bytes += size;
	mac_count(&c->good, frame, size);

	enum rx_verdict verdict = rx_filter(nic, &rx->config, frame);

	if (verdict == RX_REJECT) {
		nic->stats.rx_filtered++;
		return;
	}
	mac_count(&c->wanted, frame, size);
	deliver(nic, frame, size, verdict);
}

void nic_receive(struct nic *nic, const uint8_t *frame, size_t size)
{
	receive(nic, frame, size, false);
}

void nic_receive_loopback(struct nic *nic, const uint8_t *frame, size_t size)
{
	receive(nic, frame, size, true);
}
