/*
 * Transmit offloads: what a frame asks for (PKT_TX_*) turned into a context descriptor (datasheet 7.2.3.2.3,
 * 7.2.4, 7.2.5).
 *
 * A context says where the headers lie and how to cut. It stays in the queue until another one replaces it,
 * and each data descriptor that uses offloads refers to it; so the frames of one flow need only one. A queue has
 * room for two: we use one for frames that are cut, the other for those that only want a checksum.
 *
 * The pseudo-header sum in the L4 checksum field is the sender's work. To segment, TCP or UDP, the NIC wants it without the
 * length, which differs from segment to segment; and it fills in the IP and UDP lengths and the IPv4 header
 * checksum itself. The kernel hands frames over with all of these filled in, so they are taken out here, in the frame.
 */
#include <endian.h>
#include <errno.h>
#include <string.h>

#include "driver/checksum.h"
#include "driver/ixgbe/ixgbe.h"

#define ETH_HEADER      14u
#define ETHERTYPE_IPV4  0x0800
#define ETHERTYPE_IPV6  0x86DD
#define ETHERTYPE_VLAN  0x8100
#define ETHERTYPE_QINQ  0x88A8
#define TCP_HEADER      20u
#define UDP_HEADER      8u
#define TCP_CSUM_OFFSET 16
#define UDP_CSUM_OFFSET 6
#define IXGBE_TSO_MAX   ((256u << 10) - 1) /* PAYLEN has 18 bits */

static uint16_t load16(const uint8_t *p)
{
	return (uint16_t)(p[0] << 8 | p[1]);
}

static void store16(uint8_t *p, uint16_t value)
{
	memcpy(p, &value, sizeof(value));
}

/* Take the L4 length out of the pseudo-header sum at field, one's complement arithmetic in memory order. */
static void remove_length(uint8_t *field, uint32_t length)
{
	uint16_t sum;
	uint64_t minus =
		(uint16_t)~htobe16((uint16_t)length) + (uint64_t)(uint16_t)~htobe16((uint16_t)(length >> 16));

	memcpy(&sum, field, sizeof(sum));
	store16(field, checksum_fold(minus + sum));
}

int ixgbe_tx_offload(
	struct pkt_buf *frame, struct ixgbe_context *context, uint32_t *command, uint32_t *olinfo)
{
	uint8_t *p = frame->data;
	bool segment = frame->flags & PKT_TX_SUPER;
	uint32_t slot = segment ? IXGBE_CONTEXT_SEGMENT : IXGBE_CONTEXT_CHECKSUM;
	uint32_t maclen = ETH_HEADER, iplen, l4len = 0, ethertype, l4t;

	if (frame->size < ETH_HEADER + 20)
		return -EINVAL;
	ethertype = load16(p + 12);
	while ((ethertype == ETHERTYPE_VLAN || ethertype == ETHERTYPE_QINQ) &&
		maclen + 4 + 20 <= frame->size && maclen < 22) {
		ethertype = load16(p + maclen + 2);
		maclen += 4;
	}
	if (ethertype != ETHERTYPE_IPV4 && ethertype != ETHERTYPE_IPV6)
		return -EINVAL;
	if (frame->csum_start < maclen + (ethertype == ETHERTYPE_IPV4 ? 20u : 40u))
		return -EINVAL;
	iplen = frame->csum_start - maclen; /* IPv6 extension headers count as IP header */
	if (iplen > 511 || frame->csum_start + frame->csum_offset + 2u > frame->size)
		return -EINVAL;
	if (frame->csum_offset == TCP_CSUM_OFFSET)
		l4t = TXC_L4T_TCP;
	else if (frame->csum_offset == UDP_CSUM_OFFSET)
		l4t = TXC_L4T_UDP;
	else
		return -EINVAL;

	*olinfo = TXD_OL_CC | TXD_OL_POPTS_TXSM | slot << TXD_OL_IDX_SHIFT;
	if (segment) {
		uint32_t payload;

		/* The NIC rewrites the IP header by what the context says of it. */
		if (ethertype == ETHERTYPE_IPV4 ? p[maclen] != (4 << 4 | iplen / 4) || iplen % 4
						: p[maclen] >> 4 != 6)
			return -EINVAL;
		/* All headers in the first buffer, something behind them, sizes that the fields can hold. */
		if (frame->flags & PKT_TX_USO) {
			if (l4t != TXC_L4T_UDP)
				return -EINVAL;
			l4len = UDP_HEADER;
		} else {
			if (l4t != TXC_L4T_TCP || frame->csum_start + TCP_HEADER > frame->size ||
				!!(frame->flags & PKT_TX_TSO4) != (ethertype == ETHERTYPE_IPV4))
				return -EINVAL;
			l4len = (uint32_t)(p[frame->csum_start + 12] >> 4) * 4;
			if (l4len < TCP_HEADER)
				return -EINVAL;
		}
		if (!frame->gso_size || frame->csum_start + l4len > frame->size ||
			frame->csum_start + l4len >= frame->frame_size)
			return -EINVAL;
		payload = frame->frame_size - frame->csum_start - l4len;
		if (payload > IXGBE_TSO_MAX || frame->header_size != frame->csum_start + l4len)
			return -EINVAL;
		if (ethertype == ETHERTYPE_IPV4) {
			store16(p + maclen + 2, 0);
			store16(p + maclen + 10, 0);
			*olinfo |= TXD_OL_POPTS_IXSM;
		} else {
			store16(p + maclen + 4, 0);
		}
		remove_length(p + frame->csum_start + frame->csum_offset, l4len + payload);
		*command |= TXD_CMD_TSE;
		*olinfo |= payload << TXD_OL_PAYLEN_SHIFT;
	} else {
		*olinfo |= frame->frame_size << TXD_OL_PAYLEN_SHIFT;
	}
	context->vlan_maclen_iplen = maclen << TXC_MACLEN_SHIFT | iplen;
	context->tucmd = TXD_CMD_DEXT | TXD_DTYP_CONTEXT | l4t << TXC_TUCMD_L4T_SHIFT |
			 (ethertype == ETHERTYPE_IPV4 ? TXC_TUCMD_IPV4 : 0);
	context->mss_l4len_idx = slot << TXC_IDX_SHIFT;
	if (segment)
		context->mss_l4len_idx |=
			(uint32_t)frame->gso_size << TXC_MSS_SHIFT | l4len << TXC_L4LEN_SHIFT;
	return 0;
}

unsigned ixgbe_context_slot(const struct ixgbe_context *context)
{
	return context->mss_l4len_idx >> TXC_IDX_SHIFT & 1;
}

struct ixgbe_tx_checksum ixgbe_tx_checksum(const struct ixgbe_context *context)
{
	uint32_t maclen = context->vlan_maclen_iplen >> TXC_MACLEN_SHIFT;
	uint32_t start = maclen + (context->vlan_maclen_iplen & ((1u << TXC_MACLEN_SHIFT) - 1));
	bool tcp = context->tucmd >> TXC_TUCMD_L4T_SHIFT & TXC_L4T_TCP;
	uint32_t offset = tcp ? TCP_CSUM_OFFSET : UDP_CSUM_OFFSET;

	if (maclen != ETH_HEADER)
		return (struct ixgbe_tx_checksum){.end = UINT16_MAX};
	return (struct ixgbe_tx_checksum){
		.ethertype = htobe16(context->tucmd & TXC_TUCMD_IPV4 ? ETHERTYPE_IPV4 : ETHERTYPE_IPV6),
		.start = (uint16_t)start,
		.offset = (uint16_t)offset,
		.end = (uint16_t)(start + offset + 2),
	};
}
