/*
 * The transmit engine's second half: a packet, checked already as a chain of descriptors, becomes frames.
 *
 * Its data is read once from client memory. A frame in which nothing is to be changed goes to the wire from
 * where it is, as the wire copies it; else it is built in one buffer, with padding, checksums and tag, one
 * segment after another if it is to be segmented. What is asked is compared with the data before it is done.
 */
#include "tx.h"

#include <endian.h>
#include <string.h>

#include "driver/checksum.h"

#define TX_SMALLEST       17 /* 7.2.3.2.4, PAYLEN */
#define TAGS_MAX          2  /* tags that a frame may have over MAXFRS */
#define TSO_HEADER_PIECES 4  /* 7.2.4.1 */

/* Where in a packet's data to read next. */
struct tx_cursor {
	const struct tx_packet *packet;
	unsigned piece;
	uint32_t offset;
};

/* Append the next size bytes of the packet's data to a frame. False: not there, or DMA cannot reach them. */
static bool cursor_read(struct nic *nic, struct tx_cursor *cursor, uint8_t *to, uint32_t size)
{
	const struct tx_packet *packet = cursor->packet;

	while (size > 0) {
		if (cursor->piece == packet->pieces)
			return false;
		uint32_t left = packet->piece[cursor->piece].size - cursor->offset;
		uint32_t n = left < size ? left : size;

		if (!nic_dma_read(nic, packet->piece[cursor->piece].iova + cursor->offset, to, n))
			return false;
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
		tx_refuse(packet, NIC_VIOLATION_TX_CONTEXT, "offload without a context descriptor before it");
		return false;
	}
	if (packet->size < header || (request->tso && payload == 0)) {
		tx_refuse(packet, NIC_VIOLATION_TX_CONTEXT,
			"TSE, but the packet is no longer than its headers");
		return false;
	}
	if (request->tso && payload > request->context->mss)
		longest = header + request->context->mss;
	if (packet->size < TX_SMALLEST)
		tx_refuse(packet, NIC_VIOLATION_TX_FRAME_SIZE, "under 17 bytes");
	else if (longest > TX_LARGEST || longest > tx->max_frame + TAGS_MAX * VLAN_TAG)
		tx_refuse(packet, NIC_VIOLATION_TX_FRAME_SIZE, "over MAXFRS or 15.5 KiB");
	else if (packet->advanced && request->paylen != payload)
		tx_refuse(packet, NIC_VIOLATION_TX_DESCRIPTOR,
			"PAYLEN is not the sum of the descriptors' lengths");
	else if ((changes || (packet->size < ETHER_MIN && tx->pad)) && !(request->fcs && tx->crc))
		tx_refuse(packet, NIC_VIOLATION_TX_DESCRIPTOR,
			"frame is changed, but IFCS or HLREG0.TXCRCEN is clear");
	else if (request->tso && (!request->l4 || request->ip != request->context->ipv4))
		tx_refuse(packet, NIC_VIOLATION_TX_CONTEXT, "TSE needs TXSM, and IXSM just for IPv4");
	else if (header > TSO_HEADER_MAX)
		tx_refuse(packet, NIC_VIOLATION_TX_CONTEXT, "MACLEN + IPLEN + L4LEN over 512");
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
		tx_refuse(packet, NIC_VIOLATION_TX_CONTEXT, wrong);
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

	/* Nothing to do to it: the wire copies it from where it is, if it is there in one piece. */
	if (!changes && packet->pieces == 1 && size >= ETHER_MIN && request->fcs && tx->crc &&
		!tx->loopback) {
		struct iovec data[NIC_DMA_SPANS];
		unsigned spans = nic_dma(nic, packet->piece[0].iova, size, false, data);

		if (spans == 1)
			emit(nic, n, data[0].iov_base, size);
		if (spans <= 1)
			return spans;
	}
	if (!cursor_read(nic, &cursor, frame, size))
		return 0;
	if (!(request->fcs && tx->crc)) { /* the client has brought the CRC: the wire leaves it out again */
		uint32_t crc;

		size -= ETHER_CRC;
		memcpy(&crc, frame + size, ETHER_CRC);
		if (le32toh(crc) != crc32_ethernet(frame, size)) {
			tx_refuse(packet, NIC_VIOLATION_TX_DESCRIPTOR,
				"no IFCS, and the frame does not end in its CRC");
			return 0;
		}
	}
	if (request->ip || request->l4) {
		const char *wrong = checksum_check(request->context, request->ip, request->l4, frame, size);

		if (wrong) {
			tx_refuse(packet, NIC_VIOLATION_TX_CONTEXT, wrong);
			return 0;
		}
		checksum_insert(request->context, request->ip, request->l4, frame, size);
	}
	if (request->sum)
		insert_sum(request, frame, size);
	finish(nic, n, request, frame, size);
	return 1;
}

uint32_t tx_send_packet(struct nic *nic, unsigned n, const struct tx_queue *q, struct tx_packet *packet)
{
	uint32_t frames = 0;

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
