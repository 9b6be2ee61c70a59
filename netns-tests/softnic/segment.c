/*
 * What the NIC completes in frames that it sends: IP and L4 checksums, and TCP or UDP segmentation.
 *
 * The field of an L4 checksum holds the sum of the pseudo-header when the frame comes: with the length for a
 * single frame, without it for segmentation, where the NIC adds each segment's own (7.2.4.6). It is then summed
 * over with all the rest. The context says where the headers are; as that is a driver's word, it is compared
 * with the frame before anything is done by it.
 */
#include "datapath.h"

#include <arpa/inet.h>
#include <endian.h>
#include <string.h>

#include "driver/checksum.h"

#define IPV4_ID       4
#define IPV4_LENGTH   2
#define IPV4_CHECKSUM 10
#define IPV6_HEADER   40
#define IPV6_LENGTH   4
#define TCP_SEQUENCE  4
#define TCP_FLAGS     12 /* 16 bits: data offset and flags */
#define TCP_CHECKSUM  16
#define TCP_HEADER    20
#define UDP_LENGTH    4
#define UDP_CHECKSUM  6
#define UDP_HEADER    8
#define SCTP_CHECKSUM 8
#define SCTP_HEADER   12
#define MACLEN_MIN    14
#define IPLEN_MIN     20
#define L4LEN_MAX     64

static size_t l4_checksum_offset(const struct tx_context *context)
{
	return context->l4t == TXC_L4T_TCP ? TCP_CHECKSUM : UDP_CHECKSUM;
}

const char *checksum_check(
	const struct tx_context *context, bool ip, bool l4, const uint8_t *frame, size_t size)
{
	static const size_t header[] = {
		[TXC_L4T_UDP] = UDP_HEADER, [TXC_L4T_TCP] = TCP_HEADER, [TXC_L4T_SCTP] = SCTP_HEADER};
	size_t l4_offset = (size_t)context->maclen + context->iplen;

	if (context->maclen < MACLEN_MIN || context->iplen < IPLEN_MIN)
		return "MACLEN under 14 or IPLEN under 20";
	if (l4_offset > size)
		return "MACLEN + IPLEN past the end of the frame";
	if (ip && !context->ipv4)
		return "IXSM without TUCMD.IPV4";
	if (ip && (frame[context->maclen] >> 4 != 4 || (frame[context->maclen] & 0xf) * 4 != context->iplen))
		return "IXSM, but no IPv4 header of IPLEN bytes is at MACLEN";
	if (l4 && context->l4t > TXC_L4T_SCTP)
		return "L4T is reserved";
	if (l4 && size - l4_offset < header[context->l4t])
		return "TXSM, but the frame ends inside the L4 header";
	return NULL;
}

static void insert_ip(const struct tx_context *context, uint8_t *frame)
{
	uint8_t *l3 = frame + context->maclen;
	uint16_t sum = checksum_finish(checksum_add(0, l3, context->iplen));

	memcpy(l3 + IPV4_CHECKSUM, &sum, 2);
}

static void insert_l4(const struct tx_context *context, uint8_t *frame, size_t size)
{
	size_t l4_offset = (size_t)context->maclen + context->iplen;
	uint8_t *l4 = frame + l4_offset;

	if (context->l4t == TXC_L4T_SCTP) {
		uint32_t crc = htole32(~crc32c_add(~0u, l4, size - l4_offset));

		memcpy(l4 + SCTP_CHECKSUM, &crc, 4);
		return;
	}
	uint16_t sum = checksum_finish(checksum_add(0, l4, size - l4_offset));

	if (context->l4t == TXC_L4T_UDP && sum == 0)
		sum = 0xffff; /* zero would say that there is no checksum */
	memcpy(l4 + l4_checksum_offset(context), &sum, 2);
}

void checksum_insert(const struct tx_context *context, bool ip, bool l4, uint8_t *frame, size_t size)
{
	if (ip)
		insert_ip(context, frame);
	if (l4)
		insert_l4(context, frame, size);
}

const char *tso_check(const struct tx_context *context, const uint8_t *header)
{
	const uint8_t *l3 = header + context->maclen;
	const uint8_t *l4 = l3 + context->iplen;

	if (context->mss == 0)
		return "TSE with MSS 0";
	if (context->l4t == TXC_L4T_TCP) {
		if (context->l4len < TCP_HEADER || context->l4len > L4LEN_MAX ||
			(l4[12] >> 4) * 4 != context->l4len)
			return "TSE, but L4LEN is not the length of the TCP header";
	} else if (context->l4t == TXC_L4T_UDP) {
		if (context->l4len != UDP_HEADER)
			return "TSE, but L4LEN is not that of a UDP header";
	} else {
		return "TSE with an L4T that is neither TCP nor UDP";
	}
	if (!context->ipv4 && (l3[0] >> 4 != 6 || context->iplen < IPV6_HEADER))
		return "TSE, but no IPv6 header is at MACLEN";
	return NULL;
}

static void update_ip(const struct tso *tso, uint8_t *frame, size_t l4_size)
{
	const struct tx_context *context = tso->context;
	uint8_t *l3 = frame + tso->l3_offset;

	if (context->ipv4) {
		store_be16(l3 + IPV4_LENGTH, (uint32_t)(context->iplen + l4_size));
		store_be16(l3 + IPV4_ID, load_be16(l3 + IPV4_ID) + tso->segments);
	} else {
		store_be16(l3 + IPV6_LENGTH, (uint32_t)(context->iplen - IPV6_HEADER + l4_size));
	}
}

static void update_tcp(const struct tso *tso, uint8_t *l4, bool last)
{
	uint32_t sequence;

	memcpy(&sequence, l4 + TCP_SEQUENCE, 4);
	sequence = htonl(ntohl(sequence) + tso->sent);
	memcpy(l4 + TCP_SEQUENCE, &sequence, 4);

	if (tso->segments == 0 && last)
		return; /* the flags of a lone segment stay as they are (7.2.4.7.1) */
	uint16_t mask = last ? tso->flags_last : tso->segments == 0 ? tso->flags_first : tso->flags_middle;

	store_be16(l4 + TCP_FLAGS, load_be16(l4 + TCP_FLAGS) & (0xf000 | mask));
}

void tso_finish_segment(struct tso *tso, uint8_t *frame, uint32_t payload)
{
	const struct tx_context *context = tso->context;
	bool last = tso->sent + payload == tso->payload;
	size_t l4_size = context->l4len + payload;
	uint8_t *l4 = frame + tso->l4_offset;
	uint8_t *field = l4 + l4_checksum_offset(context);
	uint16_t partial;

	memcpy(frame, tso->header, tso->header_size);
	update_ip(tso, frame, l4_size);
	if (context->l4t == TXC_L4T_TCP)
		update_tcp(tso, l4, last);
	else
		store_be16(l4 + UDP_LENGTH, (uint32_t)l4_size);
	/* The prototype's pseudo-header sum lacks the length. */
	memcpy(&partial, field, 2);
	partial = checksum_fold((uint64_t)partial + htons((uint16_t)l4_size));
	memcpy(field, &partial, 2);
	checksum_insert(context, context->ipv4, true, frame, tso->header_size + payload);
	tso->sent += payload;
	tso->segments++;
}
