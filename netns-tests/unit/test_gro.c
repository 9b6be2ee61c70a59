/*
 * Coalescing received TCP segments and UDP datagrams: what must be merged, what must not, and that cutting a super-frame again
 * (gso.c) gives back the very frames that went in.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "bridge/gro.h"
#include "driver/gso.h"
#include "driver/checksum.h"

#define DATA 2048
#define L3   14
#define PSH  0x08
#define ACK  0x10

/* Buffers without a pool: the tests only look at them. */
struct entry {
	struct pkt_buf buf;
	uint8_t headroom[PKT_BUF_HEADROOM];
	uint8_t data[DATA];
};

struct burst {
	struct entry entries[GRO_BURST];
	struct pkt_buf *frames[GRO_BURST];
	uint8_t before[GRO_BURST][DATA]; /* copies of what went in */
	uint32_t sizes[GRO_BURST];
	uint32_t count, left;
};

/* One TCP segment or UDP datagram; what the tests vary. */
struct spec {
	bool v6, vlan;
	uint16_t sport;
	uint32_t seq, ack;
	uint16_t id, payload, window;
	uint8_t flags, tos, ttl, options; /* options: bytes, a multiple of 4 */
	uint32_t stamp;                   /* goes into the options */
	bool no_df, pad, bad_sum, unchecked;
	bool udp, no_sum;
	enum odd {
		NOTHING_ODD,
		QINQ,
		OPTIONS, /* of IPv4 */
		FIRST_FRAGMENT,
		LATER_FRAGMENT,
		EXTENSION, /* of IPv6 */
		SHORT_UDP, /* its length is one less than IP's */
		LONG_UDP,
		LONG_IP, /* longer than the frame */
		BAD_IP_SUM,
		ODD_KINDS
	} odd;
};

static const struct spec plain = {.sport = 4000,
	.seq = 1000,
	.ack = 77,
	.id = 5,
	.payload = 100,
	.window = 500,
	.flags = ACK,
	.ttl = 64,
	.options = 12,
	.stamp = 9};

static struct burst *new_burst(void)
{
	struct burst *b = aligned_alloc(64, (sizeof(*b) + 63) / 64 * 64);

	assert_non_null(b);
	b->count = b->left = 0;
	return b;
}

static void put16(uint8_t *p, uint32_t v)
{
	p[0] = (uint8_t)(v >> 8);
	p[1] = (uint8_t)v;
}

static void put32(uint8_t *p, uint32_t v)
{
	put16(p, v >> 16);
	put16(p + 2, v & 0xFFFF);
}

static uint32_t build(uint8_t *f, const struct spec *s)
{
	uint32_t l3 = L3 + (s->vlan ? 4 : 0), l4 = l3 + (s->v6 ? 40 : 20);
	uint32_t header = s->udp ? 8 : 20u + s->options, sum_at = s->udp ? 6 : 16;
	uint8_t protocol = s->udp ? 17 : 6;
	uint32_t l4_size = header + s->payload, size = l4 + l4_size;
	uint64_t pseudo;
	uint16_t sum;

	memset(f, 0, DATA);
	memcpy(f, (uint8_t[]){2, 0, 0, 0, 0, (uint8_t)s->sport, 2, 0, 0, 0, 0, 2}, 12); /* see flow_of() */
	if (s->vlan)
		memcpy(f + 12, (uint8_t[]){0x81, 0, 0, 7}, 4);
	put16(f + l3 - 2, s->v6 ? 0x86DD : 0x0800);
	if (s->v6) {
		f[l3] = 0x60;
		f[l3 + 1] = s->tos;
		put16(f + l3 + 4, l4_size);
		f[l3 + 6] = protocol;
		f[l3 + 7] = s->ttl;
		f[l3 + 23] = 1;
		f[l3 + 39] = 2;
		pseudo = checksum_pseudo6(f + l3 + 8, f + l3 + 24, protocol, l4_size);
	} else {
		f[l3] = 0x45;
		f[l3 + 1] = s->tos;
		put16(f + l3 + 2, 20 + l4_size);
		put16(f + l3 + 4, s->id);
		f[l3 + 6] = s->no_df ? 0 : 0x40;
		f[l3 + 8] = s->ttl;
		f[l3 + 9] = protocol;
		memcpy(f + l3 + 12, (uint8_t[]){10, 0, 0, 1, 10, 0, 0, 2}, 8);
		sum = checksum_finish(checksum_add(0, f + l3, 20));
		memcpy(f + l3 + 10, &sum, 2);
		pseudo = checksum_pseudo4(f + l3 + 12, f + l3 + 16, protocol, l4_size);
	}
	put16(f + l4, s->sport);
	put16(f + l4 + 2, 80);
	if (s->udp) {
		put16(f + l4 + 4, l4_size);
	} else {
		put32(f + l4 + 4, s->seq);
		put32(f + l4 + 8, s->ack);
		f[l4 + 12] = (uint8_t)(header / 4 << 4);
		f[l4 + 13] = s->flags;
		put16(f + l4 + 14, s->window);
		if (s->options >= 4)
			put32(f + l4 + 20, s->stamp);
	}
	for (uint32_t i = 0; i < s->payload; i++)
		f[l4 + header + i] = (uint8_t)(s->seq + i);
	sum = checksum_finish(checksum_add(pseudo, f + l4, l4_size));
	if (s->bad_sum)
		sum ^= 0x5555;
	if (!s->no_sum)
		memcpy(f + l4 + sum_at, &sum, 2);
	return size;
}

/* Open a gap of n bytes in a frame. */
static uint32_t widen(uint8_t *f, uint32_t size, uint32_t at, uint32_t n)
{
	memmove(f + at + n, f + at, size - at);
	memset(f + at, 0, n);
	return size + n;
}

/* Make a plain frame something that cannot be merged. Returns its size. */
static uint32_t make_odd(uint8_t *f, uint32_t size, const struct spec *s)
{
	uint32_t l3 = L3 + (s->vlan ? 4 : 0), l4 = l3 + (s->v6 ? 40 : 20);
	uint8_t protocol = s->udp ? 17 : 6;

	switch (s->odd) {
	case QINQ:
		size = widen(f, size, 12, 4);
		memcpy(f + 12, (uint8_t[]){0x88, 0xA8, 0, 5}, 4);
		f[5] ^= 0x80; /* another network, so another flow */
		break;
	case OPTIONS:
		size = widen(f, size, l4, 4);
		memset(f + l4, 1, 4);
		f[l3] = 0x46;
		put16(f + l3 + 2, size - l3);
		break;
	case FIRST_FRAGMENT: f[l3 + 6] |= 0x20; break;
	case LATER_FRAGMENT: f[l3 + 7] = 185; break;
	case EXTENSION:
		size = widen(f, size, l4, 8);
		f[l3 + 6] = (uint8_t[]){0, 44, 60}[s->seq % 3];
		f[l4] = protocol;
		f[l4 + 2] = 1; /* PadN; as a fragment: somewhere behind */
		f[l4 + 3] = 4;
		put16(f + l3 + 4, size - l4);
		break;
	case SHORT_UDP: put16(f + l4 + 4, size - l4 - 1); break;
	case LONG_UDP: put16(f + l4 + 4, size - l4 + 1); break;
	case LONG_IP: put16(f + l3 + (s->v6 ? 4 : 2), size); break;
	case BAD_IP_SUM: f[l3 + 11] ^= 1; break;
	default: break;
	}
	if (!s->v6 && s->odd != BAD_IP_SUM && s->odd != QINQ) {
		uint16_t sum;

		put16(f + l3 + 10, 0);
		sum = checksum_finish(checksum_add(0, f + l3, (f[l3] & 15) * 4u));
		memcpy(f + l3 + 10, &sum, 2);
	}
	return size;
}

/* What can be done to a frame of this kind. */
static enum odd odd_for(const struct spec *s, unsigned random)
{
	enum odd odd = (enum odd)(random % ODD_KINDS);

	switch (odd) {
	case EXTENSION: return s->v6 ? odd : NOTHING_ODD;
	case OPTIONS:
	case FIRST_FRAGMENT:
	case LATER_FRAGMENT:
	case BAD_IP_SUM: return s->v6 ? NOTHING_ODD : odd;
	case SHORT_UDP:
	case LONG_UDP: return s->udp ? odd : NOTHING_ODD;
	default: return odd;
	}
}

static struct pkt_buf *add(struct burst *b, const struct spec *s)
{
	struct entry *e = &b->entries[b->count];

	memset(&e->buf, 0, sizeof(e->buf));
	e->buf.data = e->data;
	e->buf.size = build(e->data, s);
	if (s->odd)
		e->buf.size = make_odd(e->data, e->buf.size, s);
	if (s->pad && e->buf.size < 60)
		e->buf.size = 60;
	e->buf.frame_size = e->buf.size;
	e->buf.segments = 1;
	if (!s->bad_sum && !s->unchecked)
		e->buf.flags =
			PKT_RX_L4_CSUM_GOOD | (s->v6 || s->odd == BAD_IP_SUM ? 0 : PKT_RX_IP_CSUM_GOOD);
	memcpy(b->before[b->count], e->data, DATA);
	b->sizes[b->count] = e->buf.size;
	b->frames[b->count] = &e->buf;
	return b->frames[b->count++];
}

/* n segments in sequence. */
static void add_run(struct burst *b, struct spec s, unsigned n)
{
	while (n--) {
		add(b, &s);
		s.seq += s.payload;
		s.id++;
	}
}

static uint32_t coalesce(struct burst *b)
{
	b->left = gro_burst(b->frames, b->count, true);
	return b->left;
}

/* Where ports may be anywhere or nowhere: the flow's number is in the MAC address as well. */
static uint8_t flow_of(const uint8_t *f)
{
	return f[5];
}

/*
 * Cut all that is left; for each flow the frames must be those that went in, in their order, byte for byte.
 * Two differences are allowed: padding is gone from what was merged, and IPv4 ids that did not count up do now.
 */
static void assert_restores(struct burst *b, bool fixed_ids)
{
	static uint8_t used[GRO_BURST];

	memset(used, 0, sizeof(used));
	for (uint32_t i = 0; i < b->left; i++) {
		struct pkt_buf *super = b->frames[i];
		bool merged = super->flags & (PKT_TX_TSO4 | PKT_TX_TSO6 | PKT_TX_USO);
		struct iovec iov[GRO_BURST], pieces[GSO_PIECES_MAX];
		uint8_t header[GSO_HEADER_MAX], cut[DATA];
		uint32_t total = 0, n = 0;
		struct gso gso;
		ssize_t size;
		unsigned piece_count;

		for (struct pkt_buf *p = super; p; p = p->next) {
			total += p->size;
			iov[n++] = (struct iovec){p->data, p->size};
		}
		assert_int_equal(total, super->frame_size);
		assert_int_equal(n, super->segments);
		if (merged) {
			struct virtio_net_hdr vnet = {
				.flags = VIRTIO_NET_HDR_F_NEEDS_CSUM,
				.gso_type = super->flags & PKT_TX_USO    ? VIRTIO_NET_HDR_GSO_UDP_L4
					    : super->flags & PKT_TX_TSO4 ? VIRTIO_NET_HDR_GSO_TCPV4
									 : VIRTIO_NET_HDR_GSO_TCPV6,
				.hdr_len = super->header_size,
				.gso_size = super->gso_size,
				.csum_start = super->csum_start,
				.csum_offset = super->csum_offset,
			};
			assert_true(gso_begin(&gso, &vnet, iov, n) >= 0);
		}
		for (;;) {
			uint32_t k;

			if (merged) {
				size = gso_next(&gso, header, pieces, &piece_count);
				assert_true(size >= 0);
				if (!size)
					break;
				memcpy(cut, header, gso.header_size);
				size_t at = gso.header_size;
				for (unsigned j = 0; j < piece_count; at += pieces[j++].iov_len)
					memcpy(cut + at, pieces[j].iov_base, pieces[j].iov_len);
				assert_int_equal(at, size);
			} else {
				size = super->size;
				memcpy(cut, super->data, super->size);
			}
			/* The oldest frame of this flow that has not come out yet. */
			for (k = 0; k < b->count; k++) {
				if (!used[k] && flow_of(b->before[k]) == flow_of(cut))
					break;
			}
			assert_in_range(k, 0, b->count - 1);
			used[k] = 1;
			if (merged && fixed_ids) {
				uint32_t l3 = L3 + (cut[12] == 0x81 ? 4 : 0);

				memcpy(cut + l3 + 4, b->before[k] + l3 + 4, 2);
				memcpy(cut + l3 + 10, b->before[k] + l3 + 10, 2);
			}
			if (merged)
				assert_in_range(size, 0, b->sizes[k]);
			else
				assert_int_equal(size, b->sizes[k]);
			assert_memory_equal(cut, b->before[k], (size_t)size);
			if (!merged)
				break;
		}
	}
	for (uint32_t k = 0; k < b->count; k++)
		assert_true(used[k]);
}

/* --- what must be merged --------------------------------------------------------------------------- */

static void consecutive_segments_become_one(void **state)
{
	(void)state;
	for (unsigned kind = 0; kind < 4; kind++) {
		struct burst *b = new_burst();
		struct spec s = plain;

		s.v6 = kind & 1;
		s.vlan = kind & 2;
		s.payload = 1400;
		add_run(b, s, 40);
		assert_int_equal(coalesce(b), 1);
		assert_int_equal(b->frames[0]->gso_size, 1400);
		assert_int_equal(b->frames[0]->segments, 40);
		assert_restores(b, false);
		free(b);
	}
}

static void datagrams_of_one_flow_become_one(void **state)
{
	(void)state;
	for (unsigned kind = 0; kind < 4; kind++) {
		struct burst *b = new_burst();
		struct spec s = plain;

		s.udp = true;
		s.v6 = kind & 1;
		s.vlan = kind & 2;
		s.payload = 18; /* the shortest frame */
		s.pad = true;
		add_run(b, s, 63);
		s.payload = 7; /* a shorter one is the last */
		add(b, &s);
		s.payload = 18;
		add(b, &s);
		assert_int_equal(coalesce(b), 2);
		assert_int_equal(
			b->frames[0]->flags & (PKT_TX_USO | PKT_TX_L4_CSUM | PKT_TX_TSO4 | PKT_TX_TSO6),
			PKT_TX_USO | PKT_TX_L4_CSUM);
		assert_int_equal(b->frames[0]->gso_size, 18);
		assert_int_equal(b->frames[0]->csum_offset, 6);
		assert_int_equal(b->frames[0]->segments, 64);
		assert_restores(b, true);
		free(b);
	}
}

/* A virtio NIC hands such over. What is before it and what is behind it stays there. */
static void a_super_frame_that_the_nic_made_passes_as_it_is_in_its_place(void **state)
{
	struct burst *made = new_burst(), *b = new_burst();
	struct spec s = plain;
	struct pkt_buf *super, as_it_was;
	(void)state;

	s.seq += 2 * s.payload;
	s.id += 2;
	add_run(made, s, 3);
	assert_int_equal(coalesce(made), 1);
	super = made->frames[0];
	as_it_was = *super;
	add_run(b, plain, 2);
	b->frames[b->count++] = super;
	s.seq += 3 * s.payload;
	s.id += 3;
	add_run(b, s, 2);
	assert_int_equal(coalesce(b), 3);
	assert_ptr_equal(b->frames[1], super);
	assert_memory_equal(super, &as_it_was, sizeof(as_it_was));
	assert_int_equal(pkt_buf_wire_frames(b->frames[0]), 2);
	assert_int_equal(pkt_buf_wire_frames(b->frames[2]), 2);
	assert_restores(made, true);
	free(made);
	free(b);
}

static void udp_is_left_alone_where_the_kernel_takes_no_udp_super_frames(void **state)
{
	struct burst *b = new_burst();
	struct spec s = plain;
	(void)state;

	s.udp = true;
	add_run(b, s, 5);
	s = plain;
	add_run(b, s, 5);
	assert_int_equal(gro_burst(b->frames, b->count, false), 6);
	b->left = 6;
	for (unsigned i = 0; i < 5; i++)
		assert_false(b->frames[i]->flags & PKT_TX_USO);
	free(b);
}

static void a_super_frame_ends_at_64_kib(void **state)
{
	struct burst *b = new_burst();
	struct spec s = plain;
	(void)state;

	s.payload = 1460;
	s.options = 0;
	add_run(b, s, 100);
	assert_int_equal(coalesce(b), 3);
	for (unsigned i = 0; i < 3; i++)
		assert_in_range(b->frames[i]->frame_size, 1, L3 + 65535);
	assert_restores(b, false);
	free(b);
}

static void a_short_segment_or_push_is_the_last(void **state)
{
	struct burst *b = new_burst();
	struct spec s = plain;
	(void)state;

	add_run(b, s, 3);
	s.seq += 300;
	s.id += 3;
	s.payload = 50;
	add(b, &s); /* ends the first */
	s.seq += 50;
	s.id++;
	s.payload = 100;
	s.flags = ACK | PSH;
	add_run(b, s, 2); /* pushed at once: nothing may follow either */
	assert_int_equal(coalesce(b), 3);
	assert_restores(b, false);
	free(b);
}

static void flows_are_merged_side_by_side(void **state)
{
	struct burst *b = new_burst();
	struct spec s = plain;
	(void)state;

	for (unsigned i = 0; i < 10; i++) {
		for (uint16_t flow = 0; flow < 4; flow++) {
			s.sport = (uint16_t)(4000 + flow);
			add(b, &s);
		}
		s.seq += s.payload;
		s.id++;
	}
	assert_int_equal(coalesce(b), 4);
	assert_restores(b, false);
	free(b);
}

static void more_flows_than_buckets_lose_nothing(void **state)
{
	struct burst *b = new_burst();
	struct spec s = plain;
	(void)state;

	for (unsigned i = 0; i < 250; i++) {
		s.sport = (uint16_t)(4000 + i % 125);
		if (i == 125) {
			s.seq += s.payload;
			s.id++;
		}
		add(b, &s);
	}
	assert_in_range(coalesce(b), 125, 250);
	assert_restores(b, false);
	free(b);
}

static void ids_that_stand_still_are_merged_only_with_df(void **state)
{
	(void)state;
	for (unsigned no_df = 0; no_df < 2; no_df++) {
		struct burst *b = new_burst();
		struct spec s = plain;

		s.no_df = no_df;
		for (unsigned i = 0; i < 5; i++) {
			add(b, &s);
			s.seq += s.payload;
		}
		assert_int_equal(coalesce(b), no_df ? 5 : 1);
		assert_restores(b, true);
		free(b);
	}
}

static void padding_is_not_payload(void **state)
{
	struct burst *b = new_burst();
	struct spec s = plain;
	(void)state;

	s.payload = 2;
	s.options = 0;
	s.pad = true;
	add_run(b, s, 6);
	assert_int_equal(coalesce(b), 1);
	assert_int_equal(b->frames[0]->frame_size, 14 + 20 + 20 + 6 * 2);
	assert_restores(b, false);
	free(b);
}

static void segments_in_several_buffers_are_merged_too(void **state)
{
	struct burst *b = new_burst();
	struct spec s = plain;
	struct pkt_buf *second;
	(void)state;

	s.payload = 1000;
	add_run(b, s, 4);
	/* Move the end of frames 0 and 2 into buffers of their own. */
	for (unsigned i = 0; i < 4; i += 2) {
		struct entry *spare = &b->entries[200 + i];

		second = &spare->buf;
		memset(second, 0, sizeof(*second));
		second->data = spare->data;
		second->size = 500;
		second->segments = 1;
		memcpy(second->data, b->frames[i]->data + b->frames[i]->size - 500, 500);
		b->frames[i]->size -= 500;
		b->frames[i]->next = second;
		b->frames[i]->segments = 2;
	}
	assert_int_equal(coalesce(b), 1);
	assert_int_equal(b->frames[0]->segments, 6);
	assert_restores(b, false);
	free(b);
}

/* --- what must not ----------------------------------------------------------------------------------- */

static void anything_that_cutting_would_not_restore_is_left_alone(void **state)
{
	(void)state;
	for (unsigned i = 0; i < 20; i++) {
		struct burst *b = new_burst();
		struct spec s = plain;
		struct pkt_buf *frame;

		if (i == 15)
			s.v6 = true;
		add(b, &s);
		s.seq += s.payload;
		s.id++;
		switch (i) {
		case 0: s.seq++; break;            /* a gap */
		case 1: s.seq--; break;            /* an overlap */
		case 2: s.seq -= s.payload; break; /* a duplicate */
		case 3: s.ack++; break;
		case 4: s.window++; break;
		case 5: s.tos = 4; break;
		case 6: s.ttl--; break;
		case 7: s.no_df = true; break;
		case 8: s.id += 3; break;
		case 9: s.stamp++; break;
		case 10: s.options = 16; break;
		case 11: s.payload++; break;          /* longer than the first */
		case 12: s.flags = ACK | 0x01; break; /* FIN */
		case 13: s.flags = ACK | 0x02; break; /* SYN */
		case 14: s.flags = ACK | 0x80; break; /* CWR */
		case 15: s.tos = 1; break;            /* the IPv6 flow label */
		case 16: s.bad_sum = true; break;
		case 17: s.unchecked = true; break;
		case 18: s.payload = 0; break;        /* a pure acknowledgement */
		case 19: s.flags = ACK | 0x20; break; /* URG */
		}
		frame = add(b, &s);
		assert_int_equal(coalesce(b), 2);
		assert_false(frame->flags & (PKT_TX_TSO4 | PKT_TX_TSO6));
		assert_restores(b, false);
		free(b);
	}
}

static void datagrams_that_differ_are_left_alone(void **state)
{
	(void)state;
	for (unsigned i = 0; i < 9; i++) {
		struct burst *b = new_burst();
		struct spec s = plain;
		struct pkt_buf *frame;

		s.udp = true;
		s.no_df = i == 3;
		s.no_sum = i == 5;
		add(b, &s);
		s.id++;
		switch (i) {
		case 0: s.payload++; break; /* longer than the first */
		case 1: s.tos = 4; break;
		case 2: s.ttl--; break;
		case 3: s.id += 3; break;
		case 4: s.bad_sum = true; break;
		case 5: break; /* neither has a checksum */
		case 6: s.unchecked = true; break;
		case 7: s.payload = 0; break;
		case 8: s.udp = false; break; /* TCP with the same ports */
		}
		frame = add(b, &s);
		assert_int_equal(coalesce(b), 2);
		assert_false(frame->flags & PKT_TX_USO);
		assert_restores(b, false);
		free(b);
	}
}

static void a_datagram_whose_length_disagrees_passes_untouched(void **state)
{
	(void)state;
	for (int off = -1; off <= 1; off += 2) {
		struct burst *b = new_burst();
		struct spec s = plain;

		s.udp = true;
		add_run(b, s, 3);
		for (unsigned i = 0; i < 3; i++)
			put16(b->frames[i]->data + L3 + 20 + 4, (uint32_t)(8 + s.payload + off));
		assert_int_equal(coalesce(b), 3);
		free(b);
	}
}

static void what_is_no_plain_tcp_passes_untouched(void **state)
{
	struct burst *b = new_burst();
	(void)state;

	for (unsigned i = 0; i < 8; i++) {
		struct spec s = plain;
		struct pkt_buf *frame;

		s.seq += i * s.payload;
		s.id = (uint16_t)(s.id + i);
		frame = add(b, &s);
		switch (i) {
		case 0: frame->data[L3] = 0x46; break;             /* IP options */
		case 1: frame->data[L3 + 6] = 0x20; break;         /* more fragments */
		case 2: frame->data[L3 + 7] = 9; break;            /* a later fragment */
		case 3: frame->data[L3 + 9] = 17; break;           /* UDP, but no UDP header */
		case 4: put16(frame->data + L3 + 2, 60000); break; /* longer than the frame */
		case 5: put16(frame->data + L3 + 2, 30); break;    /* shorter than its headers */
		case 6:
			frame->data[L3 + 20 + 12] = 0xF0;
			break; /* TCP header beyond its payload, still in the frame */
		case 7: frame->size = frame->frame_size = 40; break; /* cut off in the TCP header */
		}
		memcpy(b->before[b->count - 1], frame->data, DATA);
		b->sizes[b->count - 1] = frame->size;
	}
	assert_int_equal(coalesce(b), 8);
	for (unsigned i = 0; i < 8; i++) {
		assert_int_equal(b->frames[i]->size, b->sizes[i]);
		assert_memory_equal(b->frames[i]->data, b->before[i], b->sizes[i]);
	}
	free(b);
}

/* A fragment has no ports, so whose it is cannot be told: what came before it stays before, what came later, later. */
static void nothing_is_merged_across_a_frame_whose_flow_cannot_be_told(void **state)
{
	(void)state;
	for (unsigned i = 0; i < 3; i++) {
		struct burst *b = new_burst();
		struct spec s = plain;

		s.udp = true;
		s.v6 = i == 0;
		add_run(b, s, 2);
		s.odd = (const enum odd[]){EXTENSION, LATER_FRAGMENT, SHORT_UDP}[i];
		s.id = 7;
		add(b, &s);
		s.odd = NOTHING_ODD;
		add_run(b, s, 2); /* with the id that would follow */
		assert_int_equal(coalesce(b), 3);
		assert_restores(b, false);
		free(b);
	}
}

/* --- both, at random --------------------------------------------------------------------------------- */

static void random_bursts_are_restored_byte_for_byte(void **state)
{
	unsigned merged = 0, odd = 0;
	(void)state;

	srand(82599);
	for (unsigned round = 0; round < 3000; round++) {
		struct burst *b = new_burst();
		struct spec flows[5];
		unsigned n = 2 + (unsigned)rand() % 60;

		for (unsigned i = 0; i < 5; i++) {
			flows[i] = plain;
			flows[i].sport = (uint16_t)(100 + i);
			flows[i].v6 = rand() % 2;
			flows[i].vlan = rand() % 2;
			flows[i].udp = rand() % 3 == 0;
			flows[i].options = (uint8_t)(rand() % 4 * 4);
			flows[i].payload = (uint16_t)(1 + rand() % 1400);
			flows[i].seq = (uint32_t)rand() * 2u + 1;
			flows[i].id = (uint16_t)rand();
			flows[i].pad = true;
		}
		for (unsigned i = 0; i < n; i++) {
			struct spec *f = &flows[rand() % 5], s = *f;

			switch (rand() % 40) {
			case 0: s.flags |= PSH; break;
			case 1: s.flags |= (uint8_t)(1 << rand() % 8); break;
			case 2: s.seq += (uint32_t)(rand() % 3 - 1); break;
			case 3: f->ack = s.ack = s.ack + 1; break;
			case 4: s.payload = (uint16_t)(rand() % (s.payload + 1)); break;
			case 5: s.bad_sum = true; break;
			case 6: s.tos = (uint8_t)(rand() % 4); break;
			case 7: s.id++; break;
			case 8: s.window++; break;
			case 9: s.odd = odd_for(&s, (unsigned)rand()); break;
			case 10: s.no_sum = s.udp; break;
			case 11: s.unchecked = true; break;
			case 12: s.seq -= (uint32_t)rand() % (s.payload + 1u); break;
			case 13: s.flags |= 0xC0; break; /* CWR, ECE */
			case 14: s.no_df = true; break;
			}
			add(b, &s);
			odd += s.odd != NOTHING_ODD;
			f->seq = s.seq + s.payload;
			f->id = (uint16_t)(s.id + 1);
		}
		merged += n - coalesce(b);
		assert_restores(b, false);
		free(b);
	}
	/* Or this test has tested little. */
	assert_true(merged > 10000);
	assert_true(odd > 1000);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(consecutive_segments_become_one),
		cmocka_unit_test(datagrams_of_one_flow_become_one),
		cmocka_unit_test(a_super_frame_that_the_nic_made_passes_as_it_is_in_its_place),
		cmocka_unit_test(udp_is_left_alone_where_the_kernel_takes_no_udp_super_frames),
		cmocka_unit_test(a_super_frame_ends_at_64_kib),
		cmocka_unit_test(a_short_segment_or_push_is_the_last),
		cmocka_unit_test(flows_are_merged_side_by_side),
		cmocka_unit_test(more_flows_than_buckets_lose_nothing),
		cmocka_unit_test(ids_that_stand_still_are_merged_only_with_df),
		cmocka_unit_test(padding_is_not_payload),
		cmocka_unit_test(segments_in_several_buffers_are_merged_too),
		cmocka_unit_test(anything_that_cutting_would_not_restore_is_left_alone),
		cmocka_unit_test(datagrams_that_differ_are_left_alone),
		cmocka_unit_test(a_datagram_whose_length_disagrees_passes_untouched),
		cmocka_unit_test(what_is_no_plain_tcp_passes_untouched),
		cmocka_unit_test(nothing_is_merged_across_a_frame_whose_flow_cannot_be_told),
		cmocka_unit_test(random_bursts_are_restored_byte_for_byte),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
