/*
 * Checksums of received frames, in software: AF_XDP passes on nothing of what the NIC found out.
 *
 * A frame from a sender on the same machine (veth, a tap) may come with the L4 checksum yet to be completed: the
 * field then holds the folded sum of the pseudo-header, which is all that its sender had to compute. The payload
 * of such a frame is not summed up at all. It is marked as the frame's next sender wants it (PKT_TX_L4_CSUM), and
 * verified in the sense that nothing has touched it since. A frame whose complete and correct checksum happens to
 * be the same number is no harm: completing it gives that number again.
 */
#include <netinet/in.h>
#include <string.h>

#include "driver/checksum.h"
#include "driver/xdp/xdp.h"

#define unlikely(x) __builtin_expect(!!(x), 0)

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

void xdp_verify_checksums(struct pkt_buf *frame)
{
	const uint8_t *data = frame->data;
	uint32_t size = frame->size, l3 = XDP_ETH_HEADER, l4, l4_size, field;
	uint16_t type, sum;
	uint64_t pseudo;
	uint8_t protocol;

	if (size < XDP_ETH_HEADER + IPV4_SIZE + UDP_SIZE)
		return;
	type = get16(data + 12);
	for (unsigned tags = 0; tags < VLAN_TAGS && (type == 0x8100 || type == 0x88A8); tags++) {
		type = get16(data + l3 + 2);
		l3 += XDP_VLAN_TAG;
	}
	if (type == 0x0800) {
		uint32_t header = (uint32_t)(data[l3] & 15) * 4, total = get16(data + l3 + 2);

		l4 = l3 + header;
		if (size < l3 + IPV4_SIZE || data[l3] >> 4 != 4 || header < IPV4_SIZE || size < l4 ||
			total < header || l3 + total > frame->frame_size ||
			checksum_finish(checksum_add(0, data + l3, header)) != 0)
			return;
		frame->flags |= PKT_RX_IP_CSUM_GOOD;
		if (get16(data + l3 + 6) & FRAGMENT_MASK)
			return;
		protocol = data[l3 + 9];
		l4_size = total - header;
		pseudo = checksum_pseudo4(data + l3 + 12, data + l3 + 16, protocol, l4_size);
	} else if (type == 0x86DD) {
		l4 = l3 + IPV6_SIZE;
		if (size < l4 || data[l3] >> 4 != 6)
			return;
		protocol = data[l3 + 6]; /* extension headers are not followed: the kernel will check those */
		l4_size = get16(data + l3 + 4);
		if (l4 + l4_size > frame->frame_size)
			return;
		pseudo = checksum_pseudo6(data + l3 + 8, data + l3 + 24, protocol, l4_size);
	} else {
		return;
	}
	if (protocol == IPPROTO_TCP && l4_size >= TCP_SIZE)
		field = l4 + TCP_CSUM;
	else if (protocol == IPPROTO_UDP && l4_size >= UDP_SIZE)
		field = l4 + UDP_CSUM;
	else
		return;
	if (unlikely(size < field + 2))
		return;
	memcpy(&sum, data + field, sizeof(sum));
	if (unlikely(sum == 0 && protocol == IPPROTO_UDP)) /* it has none (RFC 768) */
		return;
	if (sum == checksum_fold(pseudo)) {
		frame->flags |= PKT_TX_L4_CSUM;
		frame->csum_start = (uint16_t)l4;
		frame->csum_offset = (uint16_t)(field - l4);
		return;
	}
	if (checksum_finish(pseudo + sum_frame(frame, l4, l4_size)) == 0)
		frame->flags |= PKT_RX_L4_CSUM_GOOD;
	else
		frame->flags |= PKT_RX_L4_CSUM_BAD;
}
