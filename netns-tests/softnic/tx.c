/*
 * The transmit engine (7.2): from descriptors in the client's ring to frames on the wire.
 *
 * A poll takes each enabled queue in turn: read the tail once, copy descriptors one after another until they
 * make up a packet, check the copies, read the data, send. Then all that was done is written back, the head
 * register follows, and one interrupt tells of it. A packet is taken when its last descriptor is there; until
 * then its descriptors stay where they are.
 *
 * A packet that is refused counts as a violation and is completed like one that was sent: the
 * ring moves on, where silicon would hang.
 *
 * While the link is down, frames are fetched, completed and dropped (silicon would hold them until a reset).
 */
#include "tx.h"
#include "wire.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define TX_TURN     32          /* frames from one queue before the next has its turn */
#define TX_DATA_MAX (16u << 10) /* of one descriptor */
#define RING_MAX    65528       /* descriptors */
#define NO_TAIL     UINT32_MAX

/* --- life cycle ------------------------------------------------------------------------------ */

int nic_tx_init(struct nic *nic)
{
	nic->tx_state = calloc(1, sizeof(*nic->tx_state));
	return nic->tx_state ? 0 : -ENOMEM;
}

void nic_tx_free(struct nic *nic)
{
	free(nic->tx_state);
	nic->tx_state = NULL;
}

void nic_tx_reset(struct nic *nic)
{
	memset(nic->tx_state, 0, sizeof(*nic->tx_state));
	memset(nic->txq, 0, sizeof(nic->txq));
	if (nic->wire)
		wire_backlog(nic->wire, false);
}

static bool half_configured(struct nic *nic, unsigned n, const struct tx_queue *q, uint32_t length)
{
	if (q->base == 0 && length == 0) {
		nic_violate(
			nic, NIC_VIOLATION_QUEUE_HALF_CONFIGURED, "TX queue %u enabled without a ring", n);
		return true;
	}
	if (q->base % 128 != 0 || length == 0 || length % 128 != 0 || q->count > RING_MAX) {
		nic_violate(nic, NIC_VIOLATION_RING_ALIGN, "TX queue %u: base %#lx, length %u", n,
			(unsigned long)q->base, length);
		return true;
	}
	if (q->head >= q->count) {
		nic_violate(nic, NIC_VIOLATION_QUEUE_HALF_CONFIGURED, "TX queue %u: TDH %u in a ring of %u",
			n, q->head, q->count);
		return true;
	}
	if (!(nic_reg(nic, DMATXCTL) & DMATXCTL_TE)) {
		nic_violate(nic, NIC_VIOLATION_QUEUE_HALF_CONFIGURED,
			"TX queue %u enabled before DMATXCTL.TE", n);
		return true;
	}
	return false;
}

static void queue_enable(struct nic *nic, unsigned n, uint32_t txdctl)
{
	uint32_t length = nic_reg(nic, TDLEN(n)), tdwbal = nic_reg(nic, TDWBAL(n));
	struct tx_queue q = {
		.base = (uint64_t)nic_reg(nic, TDBAH(n)) << 32 | nic_reg(nic, TDBAL(n)),
		.count = length / sizeof(union ixgbe_tx_desc),
		.head = nic_reg(nic, TDH(n)),
		.partial_tail = NO_TAIL,
		.wthresh = txdctl >> TXDCTL_WTHRESH_SHIFT & 0x7f,
		.head_wb = tdwbal & TDWBAL_HEAD_WB_EN,
		.head_addr = (uint64_t)nic_reg(nic, TDWBAH(n)) << 32 | (tdwbal & ~3u),
	};

	if (half_configured(nic, n, &q, length)) {
		__atomic_fetch_and(&nic->regs[TXDCTL(n) / 4], ~TXDCTL_ENABLE, __ATOMIC_RELEASE);
		return;
	}
	if (q.head_wb && q.wthresh)
		nic_violate(nic, NIC_VIOLATION_RS_WTHRESH, "TX queue %u: head write-back with WTHRESH %u", n,
			q.wthresh);
	q.written = q.head;
	q.enabled = true;
	nic->txq[n] = q;
	nic->tx_state->active[nic->tx_state->actives++] = (uint8_t)n;
}

static void queue_disable(struct nic *nic, unsigned n)
{
	struct nic_tx_state *tx = nic->tx_state;

	nic->txq[n].enabled = false;
	for (unsigned i = 0; i < tx->actives; i++)
		if (tx->active[i] == n)
			tx->active[i] = tx->active[--tx->actives];
}

static void check_unchanged(struct nic *nic, unsigned n, struct tx_queue *q)
{
	uint64_t base = (uint64_t)nic_reg(nic, TDBAH(n)) << 32 | nic_reg(nic, TDBAL(n));
	uint32_t count = nic_reg(nic, TDLEN(n)) / sizeof(union ixgbe_tx_desc), head = nic_reg(nic, TDH(n));

	if (q->changed || (base == q->base && count == q->count && head == q->head))
		return;
	q->changed = true;
	nic_violate(nic, NIC_VIOLATION_RING_CHANGED, "TX queue %u: base %#lx, %u descriptors, head %u", n,
		(unsigned long)base, count, head);
}

void nic_tx_queue_update(struct nic *nic, unsigned n)
{
	struct tx_queue *q = &nic->txq[n];
	/* The tail first: drivers enable, then move it, so a tail seen to move on a disabled queue did so. */
	uint32_t tail = nic_reg(nic, TDT(n)), txdctl = nic_reg(nic, TXDCTL(n));
	bool enable = txdctl & TXDCTL_ENABLE;

	/* A poll writes everything back at its end, so there is nothing to flush; the bit clears itself. */
	if (txdctl & TXDCTL_SWFLSH)
		__atomic_fetch_and(&nic->regs[TXDCTL(n) / 4], ~TXDCTL_SWFLSH, __ATOMIC_RELEASE);
	if (enable && !q->enabled) {
		queue_enable(nic, n, txdctl);
	} else if (enable) {
		check_unchanged(nic, n, q);
	} else if (q->enabled) {
		queue_disable(nic, n);
		q->retired = true;
	} else if (tail != q->idle_tail) {
		if (tail != 0 && !q->retired && !nic->reset_behind)
			nic_violate(nic, NIC_VIOLATION_TAIL_DISABLED, "TX queue %u: TDT %u", n, tail);
		q->idle_tail = tail;
	}
}

/* --- descriptors to a packet ----------------------------------------------------------------- */

static inline uint32_t next_index(const struct tx_queue *q, uint32_t i)
{
	return i + 1 == q->count ? 0 : i + 1;
}

/* Where descriptor i lies, for this poll. NULL halts the queue, for no later access could fare better. */
static inline union ixgbe_tx_desc *descriptor(struct nic *nic, struct tx_queue *q, uint32_t i)
{
	const size_t size = sizeof(union ixgbe_tx_desc);
	void *at = nic_dma_descriptor(nic, &q->window, q->base + i * size, (q->count - i) * size);

	if (unlikely(!at))
		q->halted = true;
	return at;
}

static union ixgbe_tx_desc desc_load(const union ixgbe_tx_desc *from)
{
	union ixgbe_tx_desc desc;

	desc.read.addr = __atomic_load_n(&from->read.addr, __ATOMIC_RELAXED);
	uint64_t high = __atomic_load_n((const uint64_t *)&from->read.cmd_type_len, __ATOMIC_RELAXED);
	memcpy(&desc.read.cmd_type_len, &high, sizeof(high));
	return desc;
}

static inline bool is_context(uint32_t cmd_type_len)
{
	return (cmd_type_len & (TXD_CMD_DEXT | TXD_DTYP_MASK)) == (TXD_CMD_DEXT | TXD_DTYP_CONTEXT);
}

static void latch_context(struct tx_queue *q, const union ixgbe_tx_desc *desc)
{
	uint32_t lengths = desc->context.vlan_maclen_iplen, mss = desc->context.mss_l4len_idx;

	q->context[mss >> TXC_IDX_SHIFT & 1] = (struct tx_context){
		.valid = true,
		.vlan = (uint16_t)(lengths >> TXC_VLAN_SHIFT),
		.maclen = lengths >> TXC_MACLEN_SHIFT & 0x7f,
		.iplen = lengths & 0x1ff,
		.ipv4 = desc->context.tucmd & TXC_TUCMD_IPV4,
		.l4t = desc->context.tucmd >> TXC_TUCMD_L4T_SHIFT & 3,
		.mss = (uint16_t)(mss >> TXC_MSS_SHIFT),
		.l4len = (uint8_t)(mss >> TXC_L4LEN_SHIFT),
	};
}

static void add_data(struct tx_packet *packet, const union ixgbe_tx_desc *desc)
{
	uint32_t cmd = desc->read.cmd_type_len, size = cmd & TXD_LENGTH;
	bool advanced = cmd & TXD_CMD_DEXT;

	if (packet->descriptors++ == 0) {
		packet->first = *desc;
		packet->advanced = advanced;
	}
	if (advanced && (cmd & TXD_DTYP_MASK) != TXD_DTYP_DATA)
		tx_refuse(packet, NIC_VIOLATION_TX_DESCRIPTOR, "descriptor type is neither data nor context");
	else if (advanced != packet->advanced)
		tx_refuse(
			packet, NIC_VIOLATION_TX_DESCRIPTOR, "legacy and advanced descriptors in one packet");
	else if (size > TX_DATA_MAX)
		tx_refuse(packet, NIC_VIOLATION_TX_DESCRIPTOR, "more than 16 KiB in one descriptor");
	else if (packet->descriptors > TX_PIECES)
		tx_refuse(packet, NIC_VIOLATION_TX_TOO_MANY, "over 40 descriptors");
	if (size == 0 || packet->refused)
		return;
	packet->piece[packet->pieces].iova = desc->read.addr;
	packet->piece[packet->pieces++].size = size;
	packet->size += size;
}

enum fetched { FETCHED_NOTHING, FETCHED_PARTIAL, FETCHED_PACKET };

/*
 * Take the next packet off the ring: q->head then is behind it. Context descriptors on the way are latched. A
 * packet that is refused is taken before its end is there: the end may never come.
 */
static enum fetched fetch(struct nic *nic, struct tx_queue *q, uint32_t tail, struct tx_packet *packet)
{
	packet->pieces = packet->descriptors = packet->size = 0;
	packet->refused = packet->rs = false;
	for (uint32_t i = q->head; i != tail;) {
		const union ixgbe_tx_desc *at = descriptor(nic, q, i);

		if (unlikely(!at))
			return FETCHED_NOTHING;
		union ixgbe_tx_desc desc = desc_load(at);
		uint32_t cmd = desc.read.cmd_type_len;

		i = next_index(q, i);
		if (is_context(cmd)) {
			latch_context(q, &desc);
			if (packet->descriptors > 0)
				tx_refuse(packet, NIC_VIOLATION_TX_DESCRIPTOR,
					"context descriptor inside a packet");
			else
				q->head = i;
			continue;
		}
		add_data(packet, &desc);
		if (cmd & TXD_CMD_EOP) {
			packet->rs = cmd & TXD_CMD_RS;
			q->head = i;
			return FETCHED_PACKET;
		}
		if (packet->refused) {
			q->dropping = true;
			q->head = i;
			return FETCHED_PACKET;
		}
	}
	return packet->descriptors > 0 ? FETCHED_PARTIAL : FETCHED_NOTHING;
}

/* Pass over what is left of a refused packet. */
static void skip_refused(struct nic *nic, struct tx_queue *q, uint32_t tail)
{
	while (q->dropping && q->head != tail) {
		const union ixgbe_tx_desc *at = descriptor(nic, q, q->head);

		if (unlikely(!at))
			return;
		uint32_t cmd = desc_load(at).read.cmd_type_len;

		q->dropping = is_context(cmd) || !(cmd & TXD_CMD_EOP);
		q->head = next_index(q, q->head);
	}
}

/* Sparse RS and WTHRESH do not go together: the NIC then completes in groups of WTHRESH, whatever RS says. */
static void check_rs(struct nic *nic, unsigned n, struct tx_queue *q, bool rs)
{
	if (q->saw_rs && q->saw_plain)
		return;
	q->saw_rs |= rs;
	q->saw_plain |= !rs;
	if (q->saw_rs && q->saw_plain)
		nic_violate(nic, NIC_VIOLATION_RS_WTHRESH, "TX queue %u: RS on some packets, WTHRESH %u", n,
			q->wthresh);
}

/* --- write-back ------------------------------------------------------------------------------ */

/* All 16 bytes are written (7.2.3.5.1), of which only DD means anything. A legacy descriptor keeps its fields. */
static void desc_done(union ixgbe_tx_desc *desc, uint32_t cmd_type_len)
{
	if (cmd_type_len & TXD_CMD_DEXT) {
		__atomic_store_n(&desc->read.addr, 0, __ATOMIC_RELAXED);
		__atomic_store_n(&desc->wb.nxtseq, 0, __ATOMIC_RELAXED);
		__atomic_store_n(&desc->wb.status, TXD_STAT_DD, __ATOMIC_RELEASE);
	} else {
		__atomic_store_n(&desc->legacy.status, TXD_STAT_DD, __ATOMIC_RELEASE);
	}
}

/*
 * Complete what lies between the last write-back and the head. The command words are read once more to see
 * which descriptors asked for it: a client that has changed them meanwhile only confuses itself.
 */
static void write_back(struct nic *nic, unsigned n, struct tx_queue *q)
{
	bool report = false;

	nic_reg_set(nic, TDH(n), q->head);
	if (fault_strikes(nic, NIC_FAULT_TX_STALL))
		return;
	for (uint32_t i = q->written; i != q->head; i = next_index(q, i)) {
		union ixgbe_tx_desc *at = descriptor(nic, q, i);

		if (unlikely(!at))
			return;
		uint32_t cmd = __atomic_load_n(&at->read.cmd_type_len, __ATOMIC_RELAXED);

		if (is_context(cmd) || !((cmd & TXD_CMD_RS) || q->wthresh) || (cmd & TXD_LENGTH) == 0)
			continue;
		report = true;
		if (!q->head_wb)
			desc_done(at, cmd);
	}
	q->written = q->head;
	if (report && q->head_wb) {
		struct iovec head[NIC_DMA_SPANS]; /* aligned, so it is in one */

		if (nic_dma(nic, q->head_addr, sizeof(q->head), true, head))
			__atomic_store_n((uint32_t *)head[0].iov_base, q->head, __ATOMIC_RELEASE);
	}
	if (report)
		nic_irq_tx(nic, n);
}

/* --- polling --------------------------------------------------------------------------------- */

static bool queue_has_work(const struct nic *nic, unsigned n)
{
	const struct tx_queue *q = &nic->txq[n];
	uint32_t tail = nic_reg(nic, TDT(n));

	if (q->halted)
		return false;
	if (q->written != q->head && !nic->fault[NIC_FAULT_TX_STALL])
		return true;
	if (tail >= q->count)
		return tail != q->bad_tail;
	return tail != q->head && tail != q->partial_tail;
}

/* A wire that still holds frames keeps the MAC busy, and so the rings fill up, as on silicon. */
static bool wire_busy(const struct nic *nic)
{
	return nic->wire && wire_full(nic->wire);
}

static bool engine_runs(const struct nic *nic)
{
	return (nic_reg(nic, DMATXCTL) & DMATXCTL_TE) && !nic->fault[NIC_FAULT_TX_HANG] && !nic_asleep(nic) &&
	       !nic_dma_held(nic);
}

bool nic_tx_work(const struct nic *nic)
{
	if (!engine_runs(nic))
		return false;
	for (unsigned i = 0; i < nic->tx_state->actives; i++)
		if (queue_has_work(nic, nic->tx_state->active[i]))
			return true;
	return false;
}

/* The tail, read once for this turn; NO_TAIL if it is out of range. */
static uint32_t read_tail(struct nic *nic, unsigned n, struct tx_queue *q)
{
	uint32_t tail = nic_reg(nic, TDT(n));

	if (likely(tail < q->count))
		return tail;
	if (tail != q->bad_tail)
		nic_violate(nic, NIC_VIOLATION_TAIL_RANGE, "TX queue %u: TDT %u in a ring of %u", n, tail,
			q->count);
	q->bad_tail = tail;
	return NO_TAIL;
}

/*
 * The tail must be on a packet boundary (7.2.3.3). What came of the packet stays in the ring until the tail
 * moves; but if the ring is full of it, its end can never come.
 */
static void partial(struct nic *nic, unsigned n, struct tx_queue *q, uint32_t tail)
{
	nic_violate(nic, NIC_VIOLATION_TX_DESCRIPTOR,
		"TX queue %u: no EOP before TDT %u, which is amid a packet", n, tail);
	q->partial_tail = tail;
	if (next_index(q, tail) == q->head) {
		q->head = tail;
		q->dropping = true;
		nic->stats.tx_dropped++;
	}
}

/* One queue's turn: at most budget frames or refused packets. */
static unsigned queue_poll(struct nic *nic, unsigned n, unsigned budget)
{
	struct tx_queue *q = &nic->txq[n];
	struct tx_packet packet;
	unsigned done = 0;

	if (!queue_has_work(nic, n))
		return 0;
	uint32_t tail = read_tail(nic, n, q);

	if (tail == NO_TAIL)
		tail = q->head;
	nic_dma_new_burst(nic);
	q->window.size = 0;
	skip_refused(nic, q, tail);
	while (done < budget && !wire_busy(nic)) {
		enum fetched fetched = fetch(nic, q, tail, &packet);

		if (fetched == FETCHED_PARTIAL)
			partial(nic, n, q, tail);
		if (fetched != FETCHED_PACKET)
			break;
		if (q->wthresh && !packet.refused)
			check_rs(nic, n, q, packet.rs);
		unsigned frames = tx_send_packet(nic, n, q, &packet);

		done += frames + (frames == 0);
		skip_refused(nic, q, tail);
	}
	write_back(nic, n, q);
	return done;
}

static void flush_counters(struct nic *nic)
{
	static const uint32_t by_size[6] = {PTC64, PTC127, PTC255, PTC511, PTC1023, PTC1522};
	struct tx_counters *c = &nic->tx_state->counters;

	if (c->dma_frames == 0)
		return;
	nic_count(nic, TXDGPC, c->dma_frames);
	nic_count64(nic, TXDGBCL, c->dma_octets);
	for (unsigned i = 0; i < STATISTIC_UNITS; i++) {
		if (c->queue_frames[i]) {
			nic_count(nic, QPTC(i), c->queue_frames[i]);
			nic_count64(nic, QBTC_L(i), c->queue_octets[i]);
		}
	}
	if (c->good.frames) {
		nic_count(nic, TPT, c->good.frames);
		nic_count(nic, GPTC, c->good.frames);
		nic_count64(nic, GOTCL, c->good.octets);
		nic_count(nic, MPTC, c->good.multicast);
		nic_count(nic, BPTC, c->good.broadcast);
		for (unsigned i = 0; i < 6; i++)
			nic_count(nic, by_size[i], c->good.by_size[i]);
	}
	memset(c, 0, sizeof(*c));
}

unsigned nic_tx_poll(struct nic *nic, unsigned budget)
{
	struct nic_tx_state *tx = nic->tx_state;
	unsigned done = 0;

	if (!engine_runs(nic))
		return 0;
	uint32_t hlreg0 = nic_reg(nic, HLREG0);

	tx->loopback = hlreg0 & HLREG0_LPBK;
	tx->pad = hlreg0 & HLREG0_TXPADEN;
	tx->crc = hlreg0 & HLREG0_TXCRCEN;
	tx->vlan_type = (uint16_t)(nic_reg(nic, DMATXCTL) >> DMATXCTL_VT_SHIFT);
	tx->max_frame = mac_max_frame(nic);
	for (unsigned idle = 0; idle < tx->actives && done < budget;) {
		unsigned left = budget - done;

		tx->turn = (tx->turn + 1) % tx->actives;
		unsigned sent = queue_poll(nic, tx->active[tx->turn], left < TX_TURN ? left : TX_TURN);

		idle = sent ? 0 : idle + 1;
		done += sent;
	}
	flush_counters(nic);
	if (tx->loopback)
		nic_receive_flush(nic);
	if (nic->wire && nic->wire->pace)
		wire_backlog(nic->wire, nic_tx_work(nic));
	return done;
}
