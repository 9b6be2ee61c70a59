/*
 * Finding the checksums of a frame, and summing up. See verify.h.
 */
#include "driver/verify.h"

#include <netinet/in.h>
#include <stdbool.h>
#include <string.h>

#include "driver/checksum.h"

#define unlikely(x) __builtin_expect(!!(x), 0)

#define ETH_HEADER    14
#define VLAN_TAG      4
#define VLAN_TAGS     2
#define IPV4_SIZE     20
#define IPV6_SIZE     40
#define TCP_SIZE      20
#define UDP_SIZE      8
#define TCP_CSUM      16 /* offsets of the checksum in the L4 header */
#define UDP_CSUM      6
#define FRAGMENT_MASK 0x3FFF /* more fragments, fragment offset */

static uint16_t get16(const uint8_t *p)
{
	return (uint16_t)(p[0] << 8 | p[1]);
}

/* The sum of size bytes from offset `at` of a frame, which has them. */
static uint64_t sum_frame(const struct pkt_buf *buf, uint32_t at, uint32_t size)
{
	uint64_t sum = 0;
	bool odd = false;

	for (; buf && size > 0; buf = buf->next) {
		uint32_t n;
		uint64_t part;

		if (at >= buf->size) {
			at -= buf->size;
			continue;
		}
		n = buf->size - at < size ? buf->size - at : size;
		part = checksum_add(0, buf->data + at, n);
		/* A piece at an odd offset has its bytes in the other halves of the words (RFC 1071, 2B). */
		sum += odd ? __builtin_bswap16(checksum_fold(part)) : part;
		odd ^= n & 1;
		size -= n;
		at = 0;
	}
	return sum;
}

/* Where the L4 header of a frame lies that IP has not cut up. */
struct l4 {
	uint32_t offset, size; /* of the header and all behind it */
	uint8_t protocol;
	const uint8_t *addresses; /* of IP */
	bool ipv6;
};

/*
 * Walk down to L4, and on the way look at IPv4's checksum. False: there is no L4 header to be found, or one that
 * stands for a fragment.
 */
static bool find_l4(struct pkt_buf *frame, struct l4 *l4)
{
	const uint8_t *data = frame->data;
	uint32_t size = frame->size, l3 = ETH_HEADER;
	uint16_t type;

	if (size < ETH_HEADER + IPV4_SIZE + UDP_SIZE)
		return false;
	type = get16(data + 12);
	for (unsigned tags = 0; tags < VLAN_TAGS && (type == 0x8100 || type == 0x88A8); tags++) {
		type = get16(data + l3 + 2);
		l3 += VLAN_TAG;
	}
	if (type == 0x0800) {
		uint32_t header = (uint32_t)(data[l3] & 15) * 4, total = get16(data + l3 + 2);

		l4->offset = l3 + header;
		if (size < l3 + IPV4_SIZE || data[l3] >> 4 != 4 || header < IPV4_SIZE || size < l4->offset ||
			total < header || l3 + total > frame->frame_size ||
			checksum_finish(checksum_add(0, data + l3, header)) != 0)
			return false;
		frame->flags |= PKT_RX_IP_CSUM_GOOD;
		l4->ipv6 = false;
		l4->protocol = data[l3 + 9];
		l4->size = total - header;
		l4->addresses = data + l3 + 12;
		return !(get16(data + l3 + 6) & FRAGMENT_MASK);
	}
	if (type != 0x86DD)
		return false;
	l4->offset = l3 + IPV6_SIZE;
	if (size < l4->offset || data[l3] >> 4 != 6)
		return false;
	l4->ipv6 = true;
	l4->protocol = data[l3 + 6]; /* extension headers are not followed: the kernel will check those */
	l4->size = get16(data + l3 + 4);
	l4->addresses = data + l3 + 8;
	return l4->offset + l4->size <= frame->frame_size;
}

static uint64_t pseudo_sum(const struct l4 *l4)
{
	return l4->ipv6 ? checksum_pseudo6(l4->addresses, l4->addresses + 16, l4->protocol, l4->size)
			: checksum_pseudo4(l4->addresses, l4->addresses + 4, l4->protocol, l4->size);
}

void verify_ip_checksum(struct pkt_buf *frame)
{
	struct l4 l4;

	find_l4(frame, &l4);
}

void verify_checksums(struct pkt_buf *frame)
{
	struct l4 l4;
	uint32_t field;
	uint64_t pseudo;
	uint16_t sum;

	if (!find_l4(frame, &l4))
		return;
	if (l4.protocol == IPPROTO_TCP && l4.size >= TCP_SIZE)
		field = l4.offset + TCP_CSUM;
	else if (l4.protocol == IPPROTO_UDP && l4.size >= UDP_SIZE)
		field = l4.offset + UDP_CSUM;
	else
		return;
	if (unlikely(frame->size < field + 2))
		return;
	memcpy(&sum, frame->data + field, sizeof(sum));
	if (unlikely(sum == 0 && l4.protocol == IPPROTO_UDP)) /* it has none (RFC 768) */
		return;
	pseudo = pseudo_sum(&l4);
	if (sum == checksum_fold(pseudo)) {
		frame->flags |= PKT_TX_L4_CSUM;
		frame->csum_start = (uint16_t)l4.offset;
		frame->csum_offset = (uint16_t)(field - l4.offset);
		return;
	}
	if (checksum_finish(pseudo + sum_frame(frame, l4.offset, l4.size)) == 0)
		frame->flags |= PKT_RX_L4_CSUM_GOOD;
	else
		frame->flags |= PKT_RX_L4_CSUM_BAD;
}
