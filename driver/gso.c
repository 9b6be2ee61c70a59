/*
 * Segmentation offload and checksum completion in software.
 *
 * A super-frame is one header and up to 64 KiB of payload; on the wire it is many frames of at most mss bytes
 * of payload, each with a copy of that header in which few fields differ:
 *
 *	IPv4     total length, identification (counts up), header checksum
 *	IPv6     payload length
 *	TCP      sequence number, checksum; FIN and PSH only on the last, CWR only on the first (RFC 3168)
 *	UDP      length, checksum
 *
 * The header is copied once, when the super-frame is opened; so the caller may build a segment's header on top
 * of payload that has already been sent, and a sender that shares the memory cannot change a header after it
 * has been checked.
 */
#include "driver/gso.h"

#include <errno.h>
#include <netinet/in.h>
#include <string.h>

#include "driver/checksum.h"

#define ETH_SIZE      14
#define VLAN_SIZE     4
#define VLAN_TAGS     2
#define IPV4_SIZE     20
#define IPV6_SIZE     40
#define TCP_SIZE      20
#define UDP_SIZE      8
#define IP_PACKET_MAX 65535
#define MAX_PIECES    64 /* of a frame that gso_complete() is given */

#define TCP_FIN 0x01
#define TCP_PSH 0x08
#define TCP_CWR 0x80

#define TCP_CSUM  16 /* offsets of the checksum in the L4 header */
#define UDP_CSUM  6
#define SCTP_CSUM 8

static uint16_t get16(const uint8_t *p)
{
	return (uint16_t)(p[0] << 8 | p[1]);
}

static uint32_t get32(const uint8_t *p)
{
	return (uint32_t)get16(p) << 16 | get16(p + 2);
}

static void put16(uint8_t *p, uint32_t value)
{
	p[0] = (uint8_t)(value >> 8);
	p[1] = (uint8_t)value;
}

static void put32(uint8_t *p, uint32_t value)
{
	put16(p, value >> 16);
	put16(p + 2, value);
}

/* --- what is asked for ----------------------------------------------------------------------------------------- */

/* TCP with CWR set, of which only the first segment may keep the flag (RFC 3168, 6.1.2). */
static bool has_cwr(const struct pkt_buf *frame)
{
	uint32_t at = frame->csum_start + 13u;

	if (!(frame->flags & (PKT_TX_TSO4 | PKT_TX_TSO6)))
		return false;
	for (const struct pkt_buf *buf = frame; buf; buf = buf->next) {
		if (at < buf->size)
			return buf->data[at] & TCP_CWR;
		at -= buf->size;
	}
	return false;
}

struct virtio_net_hdr gso_request(const struct pkt_buf *frame)
{
	struct virtio_net_hdr request = {0};

	if (!(frame->flags & (PKT_TX_L4_CSUM | PKT_TX_SUPER)))
		return request;
	request.flags = frame->flags & PKT_TX_L4_CSUM ? VIRTIO_NET_HDR_F_NEEDS_CSUM : 0;
	request.csum_start = frame->csum_start;
	request.csum_offset = frame->csum_offset;
	if (frame->flags & PKT_TX_SUPER) {
		request.gso_type = frame->flags & PKT_TX_TSO4   ? VIRTIO_NET_HDR_GSO_TCPV4
				   : frame->flags & PKT_TX_TSO6 ? VIRTIO_NET_HDR_GSO_TCPV6
								: VIRTIO_NET_HDR_GSO_UDP_L4;
		if (has_cwr(frame))
			request.gso_type |= VIRTIO_NET_HDR_GSO_ECN;
		request.hdr_len = frame->header_size;
		request.gso_size = frame->gso_size;
	}
	return request;
}

uint16_t gso_flags(uint8_t gso_type)
{
	switch (gso_type & ~VIRTIO_NET_HDR_GSO_ECN) {
	case VIRTIO_NET_HDR_GSO_NONE: return 0;
	case VIRTIO_NET_HDR_GSO_TCPV4: return PKT_TX_TSO4;
	case VIRTIO_NET_HDR_GSO_TCPV6: return PKT_TX_TSO6;
	default: return PKT_TX_USO;
	}
}

/* --- scattered frames ------------------------------------------------------------------------------------------ */

static size_t iov_size(const struct iovec *iov, size_t count)
{
	size_t size = 0;
	for (size_t i = 0; i < count; i++)
		size += iov[i].iov_len;
	return size;
}

/* Copy up to size bytes from the front; returns how many there were. */
static size_t iov_copy(const struct iovec *iov, size_t count, uint8_t *to, size_t size)
{
	size_t done = 0;
	for (size_t i = 0; i < count && done < size; i++) {
		size_t n = iov[i].iov_len < size - done ? iov[i].iov_len : size - done;
		if (n)
			memcpy(to + done, iov[i].iov_base, n);
		done += n;
	}
	return done;
}

/* The byte at an offset that is known to be inside. */
static uint8_t *iov_byte(const struct iovec *iov, size_t offset)
{
	for (; offset >= iov->iov_len; iov++)
		offset -= iov->iov_len;
	return (uint8_t *)iov->iov_base + offset;
}

/*
 * Internet checksum over pieces of any size. A piece that begins at an odd offset has its bytes in the other
 * halves of the 16-bit words: its sum is added with the bytes swapped (RFC 1071, 2B).
 */
static uint64_t sum_piece(uint64_t sum, const void *data, size_t size, bool odd)
{
	if (!odd)
		return checksum_add(sum, data, size);
	return sum + __builtin_bswap16(checksum_fold(checksum_add(0, data, size)));
}

static uint64_t sum_from(const struct iovec *iov, size_t count, size_t offset)
{
	uint64_t sum = 0;
	bool odd = false;
	for (size_t i = 0; i < count; i++) {
		if (offset >= iov[i].iov_len) {
			offset -= iov[i].iov_len;
			continue;
		}
		size_t size = iov[i].iov_len - offset;
		sum = sum_piece(sum, (const uint8_t *)iov[i].iov_base + offset, size, odd);
		odd ^= size & 1;
		offset = 0;
	}
	return sum;
}

/* --- finding the headers --------------------------------------------------------------------------------------- */

struct layers {
	bool ipv6;
	uint8_t protocol; /* of the L4 header */
	uint16_t l3, l4;  /* offsets */
};

/* Behind the IPv6 extension headers that may stand before TCP or UDP in every segment. */
static int skip_ipv6_extensions(const uint8_t *h, size_t size, struct layers *layers)
{
	size_t at = (size_t)layers->l3 + IPV6_SIZE;
	uint8_t next = h[layers->l3 + 6];
	while (next == IPPROTO_HOPOPTS || next == IPPROTO_DSTOPTS || next == IPPROTO_ROUTING) {
		if (size < 8 || at > size - 8)
			return -EINVAL;
		/* A route still to go: the checksum covers its last address, not the one in the header (RFC 8200, 8.1). */
		if (next == IPPROTO_ROUTING && h[at + 3] != 0)
			return -EINVAL;
		next = h[at];
		at += ((size_t)h[at + 1] + 1) * 8;
	}
	if (at > size)
		return -EINVAL;
	layers->protocol = next;
	layers->l4 = (uint16_t)at;
	return 0;
}

/* Where the headers are in h, the first size bytes (at most GSO_HEADER_MAX) of a frame. */
static int find_layers(const uint8_t *h, size_t size, struct layers *layers)
{
	size_t at = ETH_SIZE;
	if (size < at)
		return -EINVAL;
	uint16_t type = get16(h + 12);
	for (unsigned tags = 0; tags < VLAN_TAGS && (type == 0x8100 || type == 0x88A8); tags++) {
		at += VLAN_SIZE;
		if (size < at)
			return -EINVAL;
		type = get16(h + at - 2);
	}
	layers->l3 = (uint16_t)at;
	if (type == 0x0800) {
		if (size - at < IPV4_SIZE || h[at] >> 4 != 4)
			return -EINVAL;
		size_t ihl = (size_t)(h[at] & 15) * 4;
		if (ihl < IPV4_SIZE || ihl > size - at ||
			get16(h + at + 6) & 0x3FFF) /* fragments have no L4 to speak of */
			return -EINVAL;
		layers->ipv6 = false;
		layers->protocol = h[at + 9];
		layers->l4 = (uint16_t)(at + ihl);
		return 0;
	}
	if (type == 0x86DD) {
		if (size - at < IPV6_SIZE || h[at] >> 4 != 6)
			return -EINVAL;
		layers->ipv6 = true;
		return skip_ipv6_extensions(h, size, layers);
	}
	return -EINVAL;
}

/* --- segmentation ---------------------------------------------------------------------------------------------- */

static int check_kind(const struct virtio_net_hdr *vnet, const struct layers *layers)
{
	uint8_t kind = vnet->gso_type & (uint8_t)~VIRTIO_NET_HDR_GSO_ECN;
	bool ecn = vnet->gso_type & VIRTIO_NET_HDR_GSO_ECN;
	switch (kind) {
	case VIRTIO_NET_HDR_GSO_TCPV4: return !layers->ipv6 && layers->protocol == IPPROTO_TCP ? 0 : -EINVAL;
	case VIRTIO_NET_HDR_GSO_TCPV6: return layers->ipv6 && layers->protocol == IPPROTO_TCP ? 0 : -EINVAL;
	case VIRTIO_NET_HDR_GSO_UDP_L4: return !ecn && layers->protocol == IPPROTO_UDP ? 0 : -EINVAL;
	default: return -EINVAL;
	}
}

int gso_begin(struct gso *gso, const struct virtio_net_hdr *vnet, const struct iovec *iov, size_t count)
{
	size_t total = iov_size(iov, count);
	size_t size = iov_copy(iov, count, gso->header, sizeof gso->header);
	uint8_t *h = gso->header;
	struct layers layers;
	if (find_layers(h, size, &layers) < 0 || check_kind(vnet, &layers) < 0)
		return -EINVAL;
	gso->ipv6 = layers.ipv6;
	gso->tcp = layers.protocol == IPPROTO_TCP;
	gso->l3 = layers.l3;
	gso->l4 = layers.l4;
	gso->mss = vnet->gso_size;

	size_t l4_size = gso->tcp ? TCP_SIZE : UDP_SIZE;
	if (size - gso->l4 < l4_size)
		return -EINVAL;
	if (gso->tcp) {
		l4_size = (size_t)(h[gso->l4 + 12] >> 4) * 4;
		if (l4_size < TCP_SIZE || size - gso->l4 < l4_size)
			return -EINVAL;
	}
	gso->header_size = gso->l4 + l4_size;
	if (gso->mss == 0 || gso->header_size - gso->l3 + gso->mss > IP_PACKET_MAX)
		return -EINVAL;

	unsigned csum_offset = gso->tcp ? TCP_CSUM : UDP_CSUM;
	bool partial = vnet->flags & VIRTIO_NET_HDR_F_NEEDS_CSUM;
	if (partial && (vnet->csum_start != gso->l4 || vnet->csum_offset != csum_offset))
		return -EINVAL;
	/* UDP over IPv4 may do without a checksum; then all its segments do. */
	gso->complete = gso->tcp || partial || get16(h + gso->l4 + UDP_CSUM) != 0;

	gso->payload_left = total - gso->header_size;
	gso->segments = gso->payload_left ? (unsigned)((gso->payload_left + gso->mss - 1) / gso->mss) : 1;
	gso->emitted = 0;
	gso->iov = iov;
	gso->iov_count = count;
	gso->iov_at = 0;
	gso->iov_offset = gso->header_size; /* gso_next() walks on from here */
	return 0;
}

/* Point pieces at the next size bytes of payload. */
static int take_payload(struct gso *gso, size_t size, struct iovec *pieces, unsigned *count)
{
	*count = 0;
	while (size) {
		const struct iovec *iov = &gso->iov[gso->iov_at];
		if (gso->iov_offset >= iov->iov_len) {
			gso->iov_offset -= iov->iov_len;
			gso->iov_at++;
			continue;
		}
		if (*count == GSO_PIECES_MAX)
			return -EINVAL;
		size_t n = iov->iov_len - gso->iov_offset;
		if (n > size)
			n = size;
		pieces[(*count)++] = (struct iovec){(uint8_t *)iov->iov_base + gso->iov_offset, n};
		gso->iov_offset += n;
		size -= n;
	}
	return 0;
}

static void write_ip(const struct gso *gso, uint8_t *ip, size_t l4_size)
{
	size_t ip_size = gso->l4 - gso->l3;
	if (gso->ipv6) {
		put16(ip + 4, (uint32_t)(ip_size - IPV6_SIZE + l4_size));
		return;
	}
	put16(ip + 2, (uint32_t)(ip_size + l4_size));
	put16(ip + 4, get16(ip + 4) + gso->emitted);
	memset(ip + 10, 0, 2);
	uint16_t sum = checksum_finish(checksum_add(0, ip, ip_size));
	memcpy(ip + 10, &sum, sizeof sum);
}

static void write_l4(const struct gso *gso, uint8_t *l4, size_t l4_size, bool last)
{
	if (!gso->tcp) {
		put16(l4 + 4, (uint32_t)l4_size);
		return;
	}
	put32(l4 + 4, get32(l4 + 4) + gso->emitted * gso->mss);
	if (!last)
		l4[13] &= (uint8_t) ~(TCP_FIN | TCP_PSH);
	if (gso->emitted)
		l4[13] &= (uint8_t)~TCP_CWR;
}

/* Of the pseudo-header, not folded. */
static uint64_t sum_pseudo(const struct gso *gso, const uint8_t *ip, size_t l4_size)
{
	uint8_t protocol = gso->tcp ? IPPROTO_TCP : IPPROTO_UDP;
	return gso->ipv6 ? checksum_pseudo6(ip + 8, ip + 24, protocol, (uint32_t)l4_size)
			 : checksum_pseudo4(ip + 12, ip + 16, protocol, (uint32_t)l4_size);
}

static void write_checksum(
	const struct gso *gso, const uint8_t *ip, uint8_t *l4, size_t l4_size, uint64_t sum)
{
	uint8_t *field = l4 + (gso->tcp ? TCP_CSUM : UDP_CSUM);
	sum += sum_pseudo(gso, ip, l4_size);
	memset(field, 0, 2);
	uint16_t result = checksum_finish(checksum_add(sum, l4, gso->header_size - gso->l4));
	if (!gso->tcp && result == 0)
		result = 0xFFFF; /* 0 says "no checksum" (RFC 768) */
	memcpy(field, &result, sizeof result);
}

static size_t next_payload(const struct gso *gso)
{
	return gso->payload_left < gso->mss ? gso->payload_left : gso->mss;
}

/* The next segment's header, for so much payload with this sum; and on to the one after. Returns its size. */
static ssize_t write_header(struct gso *gso, uint8_t *header, size_t payload, uint64_t sum)
{
	size_t l4_size = gso->header_size - gso->l4 + payload;
	memcpy(header, gso->header, gso->header_size);
	write_ip(gso, header + gso->l3, l4_size);
	write_l4(gso, header + gso->l4, l4_size, gso->emitted + 1 == gso->segments);
	if (gso->complete)
		write_checksum(gso, header + gso->l3, header + gso->l4, l4_size, sum);
	gso->payload_left -= payload;
	gso->emitted++;
	return (ssize_t)(gso->header_size + payload);
}

ssize_t gso_next(struct gso *gso, uint8_t *header, struct iovec *pieces, unsigned *count)
{
	if (gso->emitted == gso->segments)
		return 0;
	size_t payload = next_payload(gso);
	if (take_payload(gso, payload, pieces, count) < 0)
		return -EINVAL;
	return write_header(gso, header, payload, gso->complete ? sum_from(pieces, *count, 0) : 0);
}

ssize_t gso_next_copy(struct gso *gso, uint8_t *segment)
{
	if (gso->emitted == gso->segments)
		return 0;
	size_t payload = next_payload(gso);
	uint8_t *to = segment + gso->header_size;
	uint64_t sum = 0;
	bool odd = false;
	for (size_t left = payload; left;) {
		const struct iovec *iov = &gso->iov[gso->iov_at];
		if (gso->iov_offset >= iov->iov_len) {
			gso->iov_offset -= iov->iov_len;
			gso->iov_at++;
			continue;
		}
		size_t n = iov->iov_len - gso->iov_offset;
		if (n > left)
			n = left;
		const uint8_t *from = (const uint8_t *)iov->iov_base + gso->iov_offset;
		uint64_t part = checksum_copy(0, to, from, n);
		sum += odd ? __builtin_bswap16(checksum_fold(part)) : part;
		odd ^= n & 1;
		to += n;
		gso->iov_offset += n;
		left -= n;
	}
	return write_header(gso, segment, payload, sum);
}

int gso_whole(const struct gso *gso, struct virtio_net_hdr *vnet, uint8_t *header)
{
	size_t l4_size = gso->header_size - gso->l4 + gso->payload_left;
	unsigned csum_offset = gso->tcp ? TCP_CSUM : UDP_CSUM;
	uint8_t *ip = header + gso->l3, *l4 = header + gso->l4;
	uint16_t sum;
	if (!gso->complete || gso->l4 - gso->l3 + l4_size > IP_PACKET_MAX)
		return -EINVAL;
	memcpy(header, gso->header, gso->header_size);
	write_ip(gso, ip, l4_size);
	if (!gso->tcp)
		put16(l4 + 4, (uint32_t)l4_size);
	sum = checksum_fold(sum_pseudo(gso, ip, l4_size));
	memcpy(l4 + csum_offset, &sum, sizeof sum);
	*vnet = (struct virtio_net_hdr){
		.flags = VIRTIO_NET_HDR_F_NEEDS_CSUM,
		.gso_type = !gso->tcp   ? VIRTIO_NET_HDR_GSO_UDP_L4
			    : gso->ipv6 ? VIRTIO_NET_HDR_GSO_TCPV6
					: VIRTIO_NET_HDR_GSO_TCPV4,
		.hdr_len = (uint16_t)gso->header_size,
		.gso_size = gso->mss,
		.csum_start = gso->l4,
		.csum_offset = (uint16_t)csum_offset,
	};
	if (gso->tcp && l4[13] & TCP_CWR) /* hardware may only cut it if it knows of this flag */
		vnet->gso_type |= VIRTIO_NET_HDR_GSO_ECN;
	return 0;
}

/* --- checksums alone ------------------------------------------------------------------------------------------- */

static bool is_sctp(const struct virtio_net_hdr *vnet, const struct iovec *iov, size_t count)
{
	uint8_t h[GSO_HEADER_MAX];
	struct layers layers;
	if (vnet->csum_offset != SCTP_CSUM)
		return false;
	size_t size = iov_copy(iov, count, h, sizeof h);
	return find_layers(h, size, &layers) == 0 && layers.protocol == IPPROTO_SCTP &&
	       layers.l4 == vnet->csum_start;
}

/* The CRC goes over the whole SCTP packet with its own field as 0 and is stored little-endian. */
static void complete_sctp(const struct iovec *iov, size_t count, size_t start, size_t total)
{
	(void)count;
	for (unsigned i = 0; i < 4; i++)
		*iov_byte(iov, start + SCTP_CSUM + i) = 0;
	uint32_t crc = ~0u;
	for (size_t at = start; at < total;) {
		size_t offset = at;
		const struct iovec *piece = iov;
		for (; offset >= piece->iov_len; piece++)
			offset -= piece->iov_len;
		crc = crc32c_add(crc, (const uint8_t *)piece->iov_base + offset, piece->iov_len - offset);
		at += piece->iov_len - offset;
	}
	crc = ~crc;
	for (unsigned i = 0; i < 4; i++)
		*iov_byte(iov, start + SCTP_CSUM + i) = (uint8_t)(crc >> (8 * i));
}

int gso_checksum(const struct virtio_net_hdr *vnet, const struct iovec *iov, size_t count)
{
	size_t total = iov_size(iov, count);
	size_t start = vnet->csum_start;
	size_t field = start + vnet->csum_offset;
	bool sctp = is_sctp(vnet, iov, count);
	size_t width = sctp ? 4 : 2;
	if (start < ETH_SIZE || total < width || field > total - width)
		return -EINVAL;
	if (sctp) {
		complete_sctp(iov, count, start, total);
		return 0;
	}
	/* The field holds the pseudo-header's sum, so it is simply part of what is summed up. */
	uint16_t result = checksum_finish(sum_from(iov, count, start));
	if (result == 0)
		result = 0xFFFF; /* the same number; as 0 it would mean "no checksum" in UDP (RFC 768) */
	uint8_t bytes[2];
	memcpy(bytes, &result, sizeof bytes);
	*iov_byte(iov, field) = bytes[0];
	*iov_byte(iov, field + 1) = bytes[1];
	return 0;
}

int gso_complete(struct pkt_buf *frame)
{
	const struct virtio_net_hdr request = gso_request(frame);
	struct iovec pieces[MAX_PIECES];
	uint32_t count = gso_pieces(frame, pieces, MAX_PIECES);
	if (!count || gso_checksum(&request, pieces, count) < 0)
		return -EINVAL;
	frame->flags &= (uint16_t)~PKT_TX_L4_CSUM;
	return 0;
}

/* --- both, on a linear frame ------------------------------------------------------------------------------------ */

int gso_segment(const struct virtio_net_hdr *vnet, uint8_t *frame, size_t size,
	void (*emit)(void *context, const uint8_t *frame, size_t size), void *context)
{
	struct iovec whole = {frame, size};
	if (vnet->gso_type == VIRTIO_NET_HDR_GSO_NONE) {
		if (vnet->flags & VIRTIO_NET_HDR_F_NEEDS_CSUM && gso_checksum(vnet, &whole, 1) < 0)
			return -EINVAL;
		emit(context, frame, size);
		return 1;
	}
	struct gso gso;
	if (gso_begin(&gso, vnet, &whole, 1) < 0)
		return -EINVAL;
	for (uint8_t *at = frame; gso.emitted < gso.segments; at += gso.mss) {
		struct iovec pieces[GSO_PIECES_MAX];
		unsigned count;
		/* The header lands right before its payload, over payload that has been emitted already. */
		ssize_t n = gso_next(&gso, at, pieces, &count);
		emit(context, at, (size_t)n);
	}
	return (int)gso.segments;
}
