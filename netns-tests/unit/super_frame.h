/*
 * Super-frames at random, and the frames that they stand for, worked out by the book and one by one: what each way
 * of segmenting has to come to, byte for byte. Nothing here is shared with the code under test.
 *
 * IPv4 (RFC 791): total length, identification counting up, header checksum. IPv6 (RFC 8200): payload length. TCP
 * (RFC 9293): sequence number; FIN and PSH on the last segment, CWR (RFC 3168) on the first. UDP (RFC 768): length;
 * a sum of 0 is sent as 0xFFFF. The sums by RFC 1071.
 */
#ifndef UNIT_SUPER_FRAME_H
#define UNIT_SUPER_FRAME_H

#include <linux/virtio_net.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#ifndef VIRTIO_NET_HDR_GSO_UDP_L4
#define VIRTIO_NET_HDR_GSO_UDP_L4 5
#endif

struct super_frame {
	bool ipv6, udp;
	size_t l3, l4, header; /* offsets; header: of the payload */
	size_t size;
	struct virtio_net_hdr vnet;
	uint8_t bytes[70000];
};

static uint32_t dice_state = 82599;

/* 0 .. sides - 1; the same throws in every run. */
static inline uint32_t dice(uint32_t sides)
{
	dice_state = dice_state * 1664525 + 1013904223;
	return (uint32_t)((uint64_t)dice_state * sides >> 32);
}

static inline void book_put16(uint8_t *p, size_t value)
{
	p[0] = (uint8_t)(value >> 8);
	p[1] = (uint8_t)value;
}

static inline uint32_t book_sum(uint32_t sum, const uint8_t *p, size_t size)
{
	for (size_t i = 0; i < size; i++) {
		sum += i & 1 ? p[i] : (uint32_t)p[i] << 8;
		sum = (sum & 0xFFFF) + (sum >> 16);
	}
	return sum;
}

static inline uint32_t book_pseudo(const struct super_frame *f, const uint8_t *frame, size_t l4_size)
{
	const uint8_t tail[4] = {0, f->udp ? 17 : 6, (uint8_t)(l4_size >> 8), (uint8_t)l4_size};

	return book_sum(book_sum(0, frame + f->l3 + (f->ipv6 ? 8 : 12), f->ipv6 ? 32 : 8), tail, 4);
}

static inline void book_ip(const struct super_frame *f, uint8_t *frame, size_t size, unsigned id)
{
	uint8_t *ip = frame + f->l3;

	if (f->ipv6) {
		book_put16(ip + 4, size - f->l3 - 40);
		return;
	}
	book_put16(ip + 2, size - f->l3);
	book_put16(ip + 4, id & 0xFFFF);
	book_put16(ip + 10, 0);
	book_put16(ip + 10, 0xFFFF ^ book_sum(0, ip, f->l4 - f->l3));
}

/* A valid one, cut at mss_min .. mss_max bytes, as the kernel hands it over. */
static inline void super_frame_make(struct super_frame *f, uint32_t mss_min, uint32_t mss_max)
{
	unsigned tags = dice(3), extra, l4_extra;
	uint8_t *p = f->bytes, protocol;
	size_t payload, most;
	uint32_t mss = mss_min + dice(mss_max - mss_min + 1);

	f->ipv6 = dice(2);
	f->udp = dice(3) == 0;
	protocol = f->udp ? 17 : 6;
	for (unsigned i = 0; i < 300; i++)
		p[i] = (uint8_t)dice(256);
	f->l3 = 14 + 4 * tags;
	for (unsigned i = 0; i < tags; i++)
		book_put16(p + 12 + 4 * i, tags == 2 && i == 0 && dice(2) ? 0x88A8 : 0x8100);
	book_put16(p + f->l3 - 2, f->ipv6 ? 0x86DD : 0x0800);
	extra = dice(2) ? 0 : f->ipv6 ? 8 * (1 + dice(3)) : 4 * dice(11);
	f->l4 = f->l3 + (f->ipv6 ? 40 : 20) + extra;
	if (f->ipv6) {
		p[f->l3] = (uint8_t)(0x60 | dice(16));
		p[f->l3 + 6] = protocol;
		if (extra) {
			uint8_t *option = p + f->l3 + 40;

			p[f->l3 + 6] = dice(2) ? 0 : 60; /* hop-by-hop, destination */
			memset(option, 0, extra);
			option[0] = protocol;
			option[1] = (uint8_t)(extra / 8 - 1);
			option[2] = 1; /* PadN */
			option[3] = (uint8_t)(extra - 4);
		}
	} else {
		p[f->l3] = (uint8_t)(0x40 | (20 + extra) / 4);
		p[f->l3 + 6] = dice(2) ? 0x40 : 0;
		p[f->l3 + 7] = 0;
		p[f->l3 + 9] = protocol;
		memset(p + f->l3 + 20, 1, extra);
	}
	l4_extra = f->udp ? 0 : 4 * dice(11);
	f->header = f->l4 + (f->udp ? 8 : 20 + l4_extra);
	if (!f->udp)
		p[f->l4 + 12] = (uint8_t)((20 + l4_extra) / 4 << 4);
	/* Long ones and short ones, and such that end with a whole segment. */
	most = 65535 - (f->header - f->l3);
	payload = 1 + dice(dice(2) ? (uint32_t)most : 4 * mss);
	if (dice(4) == 0)
		payload = mss * (1 + dice(5));
	if (payload > most)
		payload = most;
	for (size_t i = 0; i < payload; i++)
		p[f->header + i] = (uint8_t)(i * 151 + (i >> 7) + mss);
	f->size = f->header + payload;
	book_ip(f, p, f->size, (unsigned)(p[f->l3 + 4] << 8 | p[f->l3 + 5]));
	if (f->udp)
		book_put16(p + f->l4 + 4, f->size - f->l4);
	book_put16(p + f->l4 + (f->udp ? 6 : 16), book_pseudo(f, p, f->size - f->l4));
	f->vnet = (struct virtio_net_hdr){
		.flags = VIRTIO_NET_HDR_F_NEEDS_CSUM,
		.gso_type = f->udp    ? VIRTIO_NET_HDR_GSO_UDP_L4
			    : f->ipv6 ? VIRTIO_NET_HDR_GSO_TCPV6
				      : VIRTIO_NET_HDR_GSO_TCPV4,
		.hdr_len = (uint16_t)f->header,
		.gso_size = (uint16_t)mss,
		.csum_start = (uint16_t)f->l4,
		.csum_offset = f->udp ? 6 : 16,
	};
	if (!f->udp && p[f->l4 + 13] & 0x80)
		f->vnet.gso_type |= VIRTIO_NET_HDR_GSO_ECN;
}

static inline unsigned super_frame_segments(const struct super_frame *f)
{
	return (unsigned)((f->size - f->header + f->vnet.gso_size - 1) / f->vnet.gso_size);
}

/* The frame number i, without padding; room for header and gso_size bytes. Returns its size. */
static inline size_t super_frame_segment(const struct super_frame *f, unsigned i, uint8_t *out)
{
	size_t at = (size_t)i * f->vnet.gso_size, left = f->size - f->header - at;
	size_t payload = left < f->vnet.gso_size ? left : f->vnet.gso_size, size = f->header + payload;
	uint8_t *l4 = out + f->l4, *check = l4 + (f->udp ? 6 : 16);
	bool summed = true;
	uint32_t sum;

	memcpy(out, f->bytes, f->header);
	memcpy(out + f->header, f->bytes + f->header + at, payload);
	book_ip(f, out, size, (unsigned)(f->bytes[f->l3 + 4] << 8 | f->bytes[f->l3 + 5]) + i);
	if (f->udp) {
		book_put16(l4 + 4, size - f->l4);
		summed = f->vnet.flags || check[0] || check[1]; /* or its sender computed none */
	} else {
		uint32_t seq = (uint32_t)l4[4] << 24 | (uint32_t)l4[5] << 16 | (uint32_t)l4[6] << 8 | l4[7];

		seq += (uint32_t)at;
		book_put16(l4 + 4, seq >> 16);
		book_put16(l4 + 6, seq & 0xFFFF);
		if (payload < left)
			l4[13] &= 0xF6;
		if (i > 0)
			l4[13] &= 0x7F;
	}
	if (!summed)
		return size;
	book_put16(check, 0);
	sum = 0xFFFF ^ book_sum(book_pseudo(f, out, size - f->l4), l4, size - f->l4);
	book_put16(check, f->udp && sum == 0 ? 0xFFFF : sum);
	return size;
}

#endif
