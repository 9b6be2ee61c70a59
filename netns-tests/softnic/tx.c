/*
 * The transmit engine (7.2): from descriptors in the client's ring to frames on the wire.
 *
 * A poll takes each enabled queue in turn: read the tail once, copy descriptors one after another until they
 * make up a packet, check the copies, read the data, send. Then all that was done is written back, the head
 * register follows, and one interrupt tells of it. A packet is taken when its last descriptor is there; until
 * then its descriptors stay where they are.
 *
 * Data is copied once from client memory, into the frame that is built here, or, if nothing is to be changed in
 * it, by the wire. A packet that is refused counts as a violation and is completed like one that was sent: the
 * ring moves on, where silicon would hang.
 *
 * While the link is down, frames are fetched, completed and dropped (silicon would hold them until a reset).
 */
#include "datapath.h"

#include <endian.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "driver/checksum.h"

#define TX_PIECES         40          /* descriptors a packet (7.2.1.1) */
#define TX_TURN           32          /* frames from one queue before the next has its turn */
#define TX_SMALLEST       17          /* 7.2.3.2.4, PAYLEN */
#define TX_LARGEST        (31u << 9)  /* 15.5 KiB */
#define TX_DATA_MAX       (16u << 10) /* of one descriptor */
#define RING_MAX          65528
#define TAGS_MAX          2 /* tags that a frame may have over MAXFRS */
#define FRAME_ROOM        (TX_LARGEST + VLAN_TAG)
#define NO_TAIL           UINT32_MAX
#define TSO_HEADER_PIECES 4 /* 7.2.4.1 */

struct tx_counters {
	struct mac_counters good;
	uint64_t dma_octets;
	uint32_t dma_frames;
	uint32_t queue_frames[STATISTIC_UNITS];
	uint64_t queue_octets[STATISTIC_UNITS];
};

struct nic_tx_state {
	uint8_t active[NIC_QUEUES]; /* enabled queues, in no order */
	unsigned actives, turn;
	/* as they stand in this poll */
	bool loopback, pad, crc;
	uint16_t vlan_type;
	size_t max_frame;
	struct tx_counters counters;
	uint8_t frame[VLAN_TAG +
		      FRAME_ROOM]; /* room in front, so that a tag can be inserted by moving 12 bytes */
};

/* A packet as its descriptors describe it. */
struct tx_packet {
	struct {
		uint64_t iova;
		uint32_t size;
	} piece[TX_PIECES];
	unsigned pieces, descriptors;
	uint32_t size; /* sum of the pieces */
	union ixgbe_tx_desc first;
	bool advanced, rs;
	/* Why it is refused, if it is */
	bool refused;
	enum nic_violation violation;
	const char *reason;
};

/* Where in a packet's data to read next. */
struct tx_cursor {
	const struct tx_packet *packet;
	unsigned piece;
	uint32_t offset;
};

/* --- life cycle ----------------------------------------------------------------------------------------------- */

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
		.bad_tail = NO_TAIL,
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

void nic_tx_queue_update(struct nic *nic, unsigned n)
{
	uint32_t txdctl = nic_reg(nic, TXDCTL(n));
	bool enable = txdctl & TXDCTL_ENABLE;

	/* A poll writes everything back at its end, so there is nothing to flush; the bit clears itself. */
	if (txdctl & TXDCTL_SWFLSH)
		__atomic_fetch_and(&nic->regs[TXDCTL(n) / 4], ~TXDCTL_SWFLSH, __ATOMIC_RELEASE);
	if (enable == nic->txq[n].enabled)
		return;
	if (enable) {
		queue_enable(nic, n, txdctl);
	} else {
		queue_disable(nic, n);
	}
}

/* --- descriptors to a packet ------------------------------------------------------------------------------------ */

static inline uint32_t next_index(const struct tx_queue *q, uint32_t i)
{
	return i + 1 == q->count ? 0 : i + 1;
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

static void refuse(struct tx_packet *packet, enum nic_violation v, const char *reason)
{
	if (packet->refused)
		return;
	packet->refused = true;
	packet->violation = v;
	packet->reason = reason;
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
		refuse(packet, NIC_VIOLATION_TX_DESCRIPTOR, "descriptor type is neither data nor context");
	else if (advanced != packet->advanced)
		refuse(packet, NIC_VIOLATION_TX_DESCRIPTOR, "legacy and advanced descriptors in one packet");
	else if (size > TX_DATA_MAX)
		refuse(packet, NIC_VIOLATION_TX_DESCRIPTOR, "more than 16 KiB in one descriptor");
	else if (packet->descriptors > TX_PIECES)
		refuse(packet, NIC_VIOLATION_TX_TOO_MANY, "over 40 descriptors");
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
static enum fetched fetch(
	struct tx_queue *q, const union ixgbe_tx_desc *ring, uint32_t tail, struct tx_packet *packet)
{
	packet->pieces = packet->descriptors = packet->size = 0;
	packet->refused = packet->rs = false;
	for (uint32_t i = q->head; i != tail;) {
		union ixgbe_tx_desc desc = desc_load(&ring[i]);
		uint32_t cmd = desc.read.cmd_type_len;

		i = next_index(q, i);
		if (is_context(cmd)) {
			latch_context(q, &desc);
			if (packet->descriptors > 0)
				refuse(packet, NIC_VIOLATION_TX_DESCRIPTOR,
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
static void skip_refused(struct tx_queue *q, const union ixgbe_tx_desc *ring, uint32_t tail)
{
	while (q->dropping && q->head != tail) {
		union ixgbe_tx_desc desc = desc_load(&ring[q->head]);

		q->dropping = is_context(desc.read.cmd_type_len) || !(desc.read.cmd_type_len & TXD_CMD_EOP);
		q->head = next_index(q, q->head);
	}
}

/* Append the next size bytes of the packet's data to a frame. False: not there, or DMA cannot reach them. */
static bool cursor_read(struct nic *nic, struct tx_cursor *cursor, uint8_t *to, uint32_t size)
{
	const struct tx_packet *packet = cursor->packet;

	while (size > 0) {
		if (cursor->piece == packet->pieces)
			return false;
		uint32_t left = packet->piece[cursor->piece].size - cursor->offset;
		uint32_t n = left < size ? left : size;
		const void *from = nic_dma(nic, packet->piece[cursor->piece].iova + cursor->offset, n, false);

		if (!from)
			return false;
		memcpy(to, from, n);
		to += n;
		size -= n;
		cursor->offset += n;
		if (n == left) {
			cursor->piece++;
			cursor->offset = 0;
		}
	}
	return true;
}

/* --- a packet to frames ------------------------------------------------------------------------------------------- */

/* A finished frame leaves the MAC. One of our own has room for padding behind it. */
static void emit(struct nic *nic, unsigned n, const uint8_t *frame, size_t size)
{
	struct nic_tx_state *tx = nic->tx_state;
	struct tx_counters *c = &tx->counters;
	unsigned unit = statistic_unit(nic, TQSM(0), n);

	c->dma_frames++;
	c->dma_octets += size;
	c->queue_frames[unit]++;
	c->queue_octets[unit] += size;
	if (unlikely(!nic->link.up && !tx->loopback)) {
		nic->stats.tx_dropped++;
		return;
	}
	mac_count(&c->good, frame, size);
	nic->stats.tx_frames++;
	nic->stats.tx_bytes += size;
	if (unlikely(tx->loopback))
		nic_receive_loopback(nic, frame, size);
	else
		nic_wire_send(nic, frame, size);
}

/* What is asked for a packet, whichever descriptor form asks it. */
struct tx_request {
	const struct tx_context *context; /* advanced only */
	bool ip, l4, tso, vlan, fcs;
	bool sum; /* legacy IC */
	uint8_t sum_start, sum_offset;
	uint16_t tag;
	uint32_t paylen;
};

static struct tx_request request_of(const struct tx_queue *q, const struct tx_packet *packet)
{
	uint32_t cmd = packet->first.read.cmd_type_len, olinfo = packet->first.read.olinfo_status;
	struct tx_request request = {.vlan = cmd & TXD_CMD_VLE, .fcs = cmd & TXD_CMD_IFCS};

	if (packet->advanced) {
		request.context = &q->context[olinfo >> TXD_OL_IDX_SHIFT & 1];
		request.ip = olinfo & TXD_OL_POPTS_IXSM;
		request.l4 = olinfo & TXD_OL_POPTS_TXSM;
		request.tso = cmd & TXD_CMD_TSE;
		request.tag = request.context->vlan;
		request.paylen = olinfo >> TXD_OL_PAYLEN_SHIFT;
	} else {
		request.sum = cmd & TXD_CMD_IC;
		request.sum_start = packet->first.legacy.css;
		request.sum_offset = packet->first.legacy.cso;
		request.tag = packet->first.legacy.vlan;
	}
	return request;
}

/* Write the tag in front of the EtherType; the frame then begins VLAN_TAG bytes earlier. */
static uint8_t *insert_tag(uint8_t *frame, uint16_t vlan_type, uint16_t tag)
{
	memmove(frame - VLAN_TAG, frame, 12);
	store_be16(frame + 12 - VLAN_TAG, vlan_type);
	store_be16(frame + 14 - VLAN_TAG, tag);
	return frame - VLAN_TAG;
}

static void finish(struct nic *nic, unsigned n, const struct tx_request *request, uint8_t *frame, size_t size)
{
	struct nic_tx_state *tx = nic->tx_state;

	if (request->vlan) {
		frame = insert_tag(frame, tx->vlan_type, request->tag);
		size += VLAN_TAG;
	}
	if (size < ETHER_MIN && tx->pad) {
		memset(frame + size, 0, ETHER_MIN - size);
		size = ETHER_MIN;
	}
	emit(nic, n, frame, size);
}

/* The legacy descriptor's checksum: from CSS to the end, added to what the field holds (7.2.3.2.2). */
static void insert_sum(const struct tx_request *request, uint8_t *frame, size_t size)
{
	if (request->sum_start > size || size < 2 || request->sum_offset > size - 2)
		return; /* out of range: not done */
	uint16_t sum =
		checksum_finish(checksum_add(0, frame + request->sum_start, size - request->sum_start));

	memcpy(frame + request->sum_offset, &sum, 2);
}

/* False: refused, with the violation in the packet. */
static bool check_request(
	const struct nic_tx_state *tx, const struct tx_request *request, struct tx_packet *packet)
{
	uint32_t header = request->tso ? (uint32_t)tso_header_size(request->context) : 0;
	uint32_t payload = packet->size - header, longest = packet->size;
	bool changes = request->ip || request->l4 || request->tso || request->vlan || request->sum;

	if ((request->ip || request->l4 || request->tso || (request->vlan && packet->advanced)) &&
		!request->context->valid) {
		refuse(packet, NIC_VIOLATION_TX_CONTEXT, "offload without a context descriptor before it");
		return false;
	}
	if (packet->size < header || (request->tso && payload == 0)) {
		refuse(packet, NIC_VIOLATION_TX_CONTEXT, "TSE, but the packet is no longer than its headers");
		return false;
	}
	if (request->tso && payload > request->context->mss)
		longest = header + request->context->mss;
	if (packet->size < TX_SMALLEST)
		refuse(packet, NIC_VIOLATION_TX_FRAME_SIZE, "under 17 bytes");
	else if (longest > TX_LARGEST || longest > tx->max_frame + TAGS_MAX * VLAN_TAG)
		refuse(packet, NIC_VIOLATION_TX_FRAME_SIZE, "over MAXFRS or 15.5 KiB");
	else if (packet->advanced && request->paylen != payload)
		refuse(packet, NIC_VIOLATION_TX_DESCRIPTOR,
			"PAYLEN is not the sum of the descriptors' lengths");
	else if ((changes || (packet->size < ETHER_MIN && tx->pad)) && !(request->fcs && tx->crc))
		refuse(packet, NIC_VIOLATION_TX_DESCRIPTOR,
			"frame is changed, but IFCS or HLREG0.TXCRCEN is clear");
	else if (request->tso && (!request->l4 || request->ip != request->context->ipv4))
		refuse(packet, NIC_VIOLATION_TX_CONTEXT, "TSE needs TXSM, and IXSM just for IPv4");
	else if (header > TSO_HEADER_MAX)
		refuse(packet, NIC_VIOLATION_TX_CONTEXT, "MACLEN + IPLEN + L4LEN over 512");
	return !packet->refused;
}

static uint32_t send_segments(
	struct nic *nic, unsigned n, const struct tx_request *request, struct tx_packet *packet)
{
	struct nic_tx_state *tx = nic->tx_state;
	uint32_t flags = nic_reg(nic, DTXTCPFLGL), frames = 0;
	struct tx_cursor cursor = {.packet = packet};
	uint8_t *frame = tx->frame + VLAN_TAG;
	struct tso tso = {
		.context = request->context,
		.header_size = tso_header_size(request->context),
		.l3_offset = request->context->maclen,
		.l4_offset = (size_t)request->context->maclen + request->context->iplen,
		.flags_first = flags & 0xfff,
		.flags_middle = flags >> 16 & 0xfff,
		.flags_last = nic_reg(nic, DTXTCPFLGH) & 0xfff,
	};

	tso.payload = packet->size - (uint32_t)tso.header_size;
	if (!cursor_read(nic, &cursor, tso.header, (uint32_t)tso.header_size))
		return 0; /* a violation has been counted */
	const char *wrong = checksum_check(tso.context, request->ip, true, tso.header, tso.header_size);

	if (!wrong)
		wrong = tso_check(tso.context, tso.header);
	if (!wrong && cursor.piece + (cursor.offset > 0) > TSO_HEADER_PIECES)
		wrong = "TSE, but the headers lie in more than four descriptors";
	if (wrong) {
		refuse(packet, NIC_VIOLATION_TX_CONTEXT, wrong);
		return 0;
	}
	for (uint32_t payload; (payload = tso_next_payload(&tso)) > 0; frames++) {
		if (!cursor_read(nic, &cursor, frame + tso.header_size, payload))
			break;
		tso_finish_segment(&tso, frame, payload);
		finish(nic, n, request, frame, tso.header_size + payload);
	}
	return frames;
}

static uint32_t send_frame(
	struct nic *nic, unsigned n, const struct tx_request *request, struct tx_packet *packet)
{
	struct nic_tx_state *tx = nic->tx_state;
	bool changes = request->ip || request->l4 || request->sum || request->vlan;
	struct tx_cursor cursor = {.packet = packet};
	uint8_t *frame = tx->frame + VLAN_TAG;
	uint32_t size = packet->size;

	/* Nothing to do to it: the wire copies it from where it is. */
	if (!changes && packet->pieces == 1 && size >= ETHER_MIN && request->fcs && tx->crc &&
		!tx->loopback) {
		const uint8_t *data = nic_dma(nic, packet->piece[0].iova, size, false);

		if (data)
			emit(nic, n, data, size);
		return data != NULL;
	}
	if (!cursor_read(nic, &cursor, frame, size))
		return 0;
	if (!(request->fcs && tx->crc)) { /* the client has brought the CRC: the wire leaves it out again */
		uint32_t crc;

		size -= ETHER_CRC;
		memcpy(&crc, frame + size, ETHER_CRC);
		if (le32toh(crc) != crc32_ethernet(frame, size)) {
			refuse(packet, NIC_VIOLATION_TX_DESCRIPTOR,
				"no IFCS, and the frame does not end in its CRC");
			return 0;
		}
	}
	if (request->ip || request->l4) {
		const char *wrong = checksum_check(request->context, request->ip, request->l4, frame, size);

		if (wrong) {
			refuse(packet, NIC_VIOLATION_TX_CONTEXT, wrong);
			return 0;
		}
		checksum_insert(request->context, request->ip, request->l4, frame, size);
	}
	if (request->sum)
		insert_sum(request, frame, size);
	finish(nic, n, request, frame, size);
	return 1;
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

/* Frames that a packet made; 0: dropped. */
static uint32_t send_packet(struct nic *nic, unsigned n, struct tx_queue *q, struct tx_packet *packet)
{
	uint32_t frames = 0;

	if (q->wthresh && !packet->refused)
		check_rs(nic, n, q, packet->rs);
	if (likely(!packet->refused)) {
		struct tx_request request = request_of(q, packet);

		if (check_request(nic->tx_state, &request, packet))
			frames = request.tso ? send_segments(nic, n, &request, packet)
					     : send_frame(nic, n, &request, packet);
	}
	if (unlikely(packet->refused))
		nic_violate(nic, packet->violation, "TX queue %u: %s (%u bytes in %u descriptors)", n,
			packet->reason, packet->size, packet->descriptors);
	if (unlikely(frames == 0))
		nic->stats.tx_dropped++;
	return frames;
}

/* --- write-back ---------------------------------------------------------------------------------------------------- */

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
static void write_back(struct nic *nic, unsigned n, struct tx_queue *q, union ixgbe_tx_desc *ring)
{
	bool report = false;

	nic_reg_set(nic, TDH(n), q->head);
	if (fault_strikes(nic, NIC_FAULT_TX_STALL))
		return;
	for (uint32_t i = q->written; i != q->head; i = next_index(q, i)) {
		uint32_t cmd = __atomic_load_n(&ring[i].read.cmd_type_len, __ATOMIC_RELAXED);

		if (is_context(cmd) || !((cmd & TXD_CMD_RS) || q->wthresh) || (cmd & TXD_LENGTH) == 0)
			continue;
		report = true;
		if (!q->head_wb)
			desc_done(&ring[i], cmd);
	}
	q->written = q->head;
	if (report && q->head_wb) {
		uint32_t *head = nic_dma(nic, q->head_addr, sizeof(*head), true);

		if (head)
			__atomic_store_n(head, q->head, __ATOMIC_RELEASE);
	}
	if (report)
		nic_irq_tx(nic, n);
}

/* --- polling --------------------------------------------------------------------------------------------------------- */

static bool queue_has_work(const struct nic *nic, unsigned n)
{
	const struct tx_queue *q = &nic->txq[n];
	uint32_t tail = nic_reg(nic, TDT(n));

	if (q->halted)
		return false;
	if (q->written != q->head && !nic->fault[NIC_FAULT_TX_STALL])
		return true;
	return tail != q->head && tail != q->bad_tail && tail != q->partial_tail;
}

static bool engine_runs(const struct nic *nic)
{
	return (nic_reg(nic, DMATXCTL) & DMATXCTL_TE) && !nic->fault[NIC_FAULT_TX_HANG];
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
	size_t size = (size_t)q->count * sizeof(union ixgbe_tx_desc);
	union ixgbe_tx_desc *ring = NULL;
	struct tx_packet packet;
	unsigned done = 0;

	if (!queue_has_work(nic, n))
		return 0;
	uint32_t tail = read_tail(nic, n, q);

	if (tail == NO_TAIL)
		tail = q->head;
	if (nic_dma(nic, q->base, size, false))
		ring = nic_dma(nic, q->base, size, true);
	if (unlikely(!ring)) {
		q->halted = true;
		return 0;
	}
	skip_refused(q, ring, tail);
	while (done < budget) {
		enum fetched fetched = fetch(q, ring, tail, &packet);

		if (fetched == FETCHED_PARTIAL)
			partial(nic, n, q, tail);
		if (fetched != FETCHED_PACKET)
			break;
		unsigned frames = send_packet(nic, n, q, &packet);

		done += frames + (frames == 0);
		skip_refused(q, ring, tail);
	}
	write_back(nic, n, q, ring);
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

	tx->loopback = mac_loopback(nic);
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
	return done;
}
