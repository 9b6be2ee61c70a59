/*
 * Pure functions over frames: the receive parser, RSS, the multicast hash, CRCs.
 *
 * A frame comes from a network, so each length in it is compared with what is left before it is believed: the
 * parser walks with one offset that never passes size, and stops at the first header that does not fit. What it
 * has reported until then stays true.
 */
#include "datapath.h"

#include <string.h>

#include "driver/checksum.h"

#define ETHER_IPV4    0x0800
#define ETHER_IPV6    0x86DD
#define IPV4_HEADER   20
#define IPV6_HEADER   40
#define IPV6_MAX_EXTS 8 /* extension headers walked through; no real frame has more */

enum ip_protocol {
	IP_HOP_BY_HOP = 0,
	IP_TCP = 6,
	IP_UDP = 17,
	IP_ROUTING = 43,
	IP_FRAGMENT = 44,
	IP_DESTINATION = 60,
	IP_SCTP = 132,
};

static inline uint32_t load_le32(const uint8_t *p)
{
	return p[0] | (uint32_t)p[1] << 8 | (uint32_t)p[2] << 16 | (uint32_t)p[3] << 24;
}

static inline uint64_t pseudo_sum(const uint8_t *l3, bool ipv6, uint8_t protocol, uint32_t length)
{
	return ipv6 ? checksum_pseudo6(l3 + 8, l3 + 24, protocol, length)
		    : checksum_pseudo4(l3 + 12, l3 + 16, protocol, length);
}

static void parse_tcp(const uint8_t *l3, const uint8_t *l4, size_t left, struct frame_info *info)
{
	if (left < 20)
		return;
	size_t header = (size_t)(l4[12] >> 4) * 4;
	if (header < 20 || header > left)
		return;
	info->tcp = true;
	info->l4_size = (uint16_t)header;
	info->l4_csum_checked = true;
	uint64_t sum = pseudo_sum(l3, info->ipv6, IP_TCP, (uint32_t)left);
	info->l4_csum_ok = checksum_finish(checksum_add(sum, l4, left)) == 0;
}

static void parse_udp(const uint8_t *l3, const uint8_t *l4, size_t left, struct frame_info *info)
{
	if (left < 8)
		return;
	info->udp = true;
	info->l4_size = 8;
	size_t length = load_be16(l4 + 4);
	/* A zero checksum means that the sender made none: not checked (7.1.11). */
	if (length < 8 || length > left || load_be16(l4 + 6) == 0)
		return;
	info->l4_csum_checked = true;
	uint64_t sum = pseudo_sum(l3, info->ipv6, IP_UDP, (uint32_t)length);
	info->l4_csum_ok = checksum_finish(checksum_add(sum, l4, length)) == 0;
}

static void parse_sctp(const uint8_t *l4, size_t left, struct frame_info *info)
{
	static const uint8_t zero[4];
	uint32_t crc = ~0u;

	if (left < 12)
		return;
	info->sctp = true;
	info->l4_size = 12;
	info->l4_csum_checked = true;
	crc = crc32c_add(crc, l4, 8);
	crc = crc32c_add(crc, zero, 4);
	crc = crc32c_add(crc, l4 + 12, left - 12);
	info->l4_csum_ok = ~crc == load_le32(l4 + 8);
}

/* l4: the payload of the IP packet, left bytes of it. */
static void parse_l4(
	const uint8_t *l3, const uint8_t *l4, size_t left, uint8_t protocol, struct frame_info *info)
{
	switch (protocol) {
	case IP_TCP: parse_tcp(l3, l4, left, info); break;
	case IP_UDP: parse_udp(l3, l4, left, info); break;
	case IP_SCTP: parse_sctp(l4, left, info); break;
	}
}

static void parse_ipv4(const uint8_t *frame, size_t size, struct frame_info *info)
{
	const uint8_t *l3 = frame + info->l3_offset;
	size_t left = size - info->l3_offset;

	if (left < IPV4_HEADER || l3[0] >> 4 != 4)
		return;
	size_t header = (size_t)(l3[0] & 0xf) * 4;
	size_t total = load_be16(l3 + 2);
	if (header < IPV4_HEADER || header > left)
		return;
	info->ipv4 = true;
	info->l3_size = (uint16_t)header;
	info->l4_offset = (uint16_t)(info->l3_offset + header);
	info->ip_csum_ok = checksum_finish(checksum_add(0, l3, header)) == 0;
	info->fragment = load_be16(l3 + 6) & 0x3fff;
	if (info->fragment || total < header || total > left)
		return; /* what is behind total is padding; what is missing cannot be checked */
	parse_l4(l3, l3 + header, total - header, l3[9], info);
}

static void parse_ipv6(const uint8_t *frame, size_t size, struct frame_info *info)
{
	const uint8_t *l3 = frame + info->l3_offset;
	size_t left = size - info->l3_offset;

	if (left < IPV6_HEADER || l3[0] >> 4 != 6)
		return;
	size_t total = IPV6_HEADER + (size_t)load_be16(l3 + 4);
	size_t header = IPV6_HEADER;
	uint8_t next = l3[6];

	info->ipv6 = true;
	info->ip_csum_ok = true;
	info->l3_size = IPV6_HEADER;
	info->l4_offset = (uint16_t)(info->l3_offset + IPV6_HEADER);
	if (total > left)
		return;
	for (unsigned i = 0; i < IPV6_MAX_EXTS; i++) {
		bool extension = next == IP_HOP_BY_HOP || next == IP_ROUTING || next == IP_DESTINATION;

		if (next == IP_FRAGMENT)
			info->fragment = true;
		else if (!extension)
			break;
		info->ipv6_ext = true;
		if (total - header < 8)
			return;
		size_t length = next == IP_FRAGMENT ? 8 : 8 * ((size_t)l3[header + 1] + 1);
		if (length > total - header)
			return;
		next = l3[header];
		header += length;
	}
	info->l3_size = (uint16_t)header;
	info->l4_offset = (uint16_t)(info->l3_offset + header);
	if (!info->fragment)
		parse_l4(l3, l3 + header, total - header, next, info);
}

void frame_parse(const uint8_t *frame, size_t size, uint16_t vlan_type, struct frame_info *info)
{
	memset(info, 0, sizeof(*info));
	if (size < ETHER_HEADER)
		return;
	info->l3_offset = ETHER_HEADER;
	info->ether_type = load_be16(frame + 12);
	if (info->ether_type == vlan_type && size >= ETHER_HEADER + VLAN_TAG) {
		info->vlan = true;
		info->vlan_tci = load_be16(frame + 14);
		info->l3_offset = ETHER_HEADER + VLAN_TAG;
		info->ether_type = load_be16(frame + 16);
	}
	if (info->ether_type == ETHER_IPV4)
		parse_ipv4(frame, size, info);
	else if (info->ether_type == ETHER_IPV6)
		parse_ipv6(frame, size, info);
}

uint32_t rss_toeplitz(const uint8_t key[40], const uint8_t *input, size_t size)
{
	/* The hash is the sum of the 32-bit windows of the key at which the input has a one. */
	uint64_t window = 0;
	uint32_t hash = 0;

	for (unsigned i = 0; i < 8; i++)
		window = window << 8 | key[i];
	for (size_t i = 0; i < size; i++) {
		for (unsigned bit = 0; bit < 8; bit++) {
			uint32_t mask = -(uint32_t)(input[i] >> (7 - bit) & 1);

			hash ^= (uint32_t)(window >> (32 - bit)) & mask;
		}
		window = window << 8 | (i + 8 < 40 ? key[i + 8] : 0);
	}
	return hash;
}

void rss_prepare(struct rss_table *table, const uint8_t key[40])
{
	for (unsigned position = 0; position < 72; position++) {
		for (unsigned value = 0; value < 16; value++) {
			uint8_t input[36] = {0};

			input[position / 2] = (uint8_t)(position % 2 ? value : value << 4);
			table->nibble[position][value] = rss_toeplitz(key, input, position / 2 + 1);
		}
	}
}

static uint32_t toeplitz_by_table(const struct rss_table *table, const uint8_t *input, size_t size)
{
	uint32_t hash = 0;

	for (size_t i = 0; i < size; i++)
		hash ^= table->nibble[2 * i][input[i] >> 4] ^ table->nibble[2 * i + 1][input[i] & 0xf];
	return hash;
}

/* RSS types that a descriptor reports (7.1.6.2.1), by protocol. IPv6 with extension headers hashes by IP only. */
uint32_t rss_hash(uint32_t mrqc, const struct rss_table *table, const uint8_t *frame,
	const struct frame_info *info, uint8_t *type)
{
	uint8_t input[36];
	size_t addresses = info->ipv4 ? 8 : 32;
	bool ports = true;

	*type = 0;
	if (info->ipv4) {
		if (info->tcp && (mrqc & MRQC_RSS_TCP4))
			*type = 1;
		else if (info->udp && (mrqc & MRQC_RSS_UDP4))
			*type = 7;
		else if (mrqc & MRQC_RSS_IP4)
			*type = 2;
		ports = *type != 2;
		memcpy(input, frame + info->l3_offset + 12, 8);
	} else if (info->ipv6) {
		if (info->tcp && !info->ipv6_ext && (mrqc & MRQC_RSS_TCP6))
			*type = 3;
		else if (info->udp && !info->ipv6_ext && (mrqc & MRQC_RSS_UDP6))
			*type = 8;
		else if (mrqc & MRQC_RSS_IP6)
			*type = 5;
		ports = *type != 5;
		memcpy(input, frame + info->l3_offset + 8, 32);
	}
	if (*type == 0)
		return 0;
	if (ports)
		memcpy(input + addresses, frame + info->l4_offset, 4);
	return toeplitz_by_table(table, input, addresses + (ports ? 4 : 0));
}

unsigned multicast_hash(const uint8_t mac[6], unsigned mo)
{
	/* 12 bits of the last two bytes, higher up with each step of MO: 47:36, 46:35, 45:34, 43:32 (8.2.3.7.3). */
	static const uint8_t shift[4] = {4, 3, 2, 0};
	unsigned last = mac[4] | mac[5] << 8;

	return last >> shift[mo & 3] & 0xfff;
}

/* The reflected polynomial, four bits at a time: needed too rarely for a larger table. */
uint32_t crc32_ethernet(const uint8_t *data, size_t size)
{
	static const uint32_t table[16] = {0x00000000, 0x1db71064, 0x3b6e20c8, 0x26d930ac, 0x76dc4190,
		0x6b6b51f4, 0x4db26158, 0x5005713c, 0xedb88320, 0xf00f9344, 0xd6d6a3e8, 0xcb61b38c,
		0x9b64c2b0, 0x86d3d2d4, 0xa00ae278, 0xbdbdf21c};
	uint32_t crc = ~0u;

	for (size_t i = 0; i < size; i++) {
		crc ^= data[i];
		crc = crc >> 4 ^ table[crc & 0xf];
		crc = crc >> 4 ^ table[crc & 0xf];
	}
	return ~crc;
}
