/*
 * Software segmentation: every segment must be a frame that a receiver accepts by itself, and all of them
 * together the stream that was handed in. Checksums are verified here by a sum written the naive way.
 */
#include <errno.h>
#include <netinet/in.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "driver/gso.h"
#include "super_frame.h"

#define FIN 0x01
#define PSH 0x08
#define ACK 0x10
#define CWR 0x80

static uint16_t get16(const uint8_t *p)
{
	return (uint16_t)(p[0] << 8 | p[1]);
}

static uint32_t get32(const uint8_t *p)
{
	return (uint32_t)get16(p) << 16 | get16(p + 2);
}

static void put16(uint8_t *p, unsigned value)
{
	p[0] = (uint8_t)(value >> 8);
	p[1] = (uint8_t)value;
}

static void put32(uint8_t *p, uint32_t value)
{
	put16(p, value >> 16);
	put16(p + 2, value & 0xFFFF);
}

/* RFC 1071 by the book: big-endian words, an odd last byte padded with zero. */
static uint32_t add_words(uint32_t sum, const uint8_t *data, size_t size)
{
	for (size_t i = 0; i < size; i++)
		sum += i % 2 ? data[i] : (uint32_t)data[i] << 8;
	while (sum >> 16)
		sum = (sum & 0xFFFF) + (sum >> 16);
	return sum;
}

/* --- frames ----------------------------------------------------------------------------------------------------- */

struct shape {
	bool ipv6;
	unsigned tags;      /* VLAN tags */
	unsigned extension; /* bytes of IPv6 hop-by-hop options, a multiple of 8 */
	uint8_t protocol;
	unsigned tcp_options; /* bytes */
	uint8_t flags;
	size_t payload;
};

struct frame {
	uint8_t bytes[70000];
	size_t size, l3, l4, payload;
	struct virtio_net_hdr vnet;
};

static uint8_t pattern(size_t i)
{
	return (uint8_t)(i * 7 + (i >> 8));
}

#define SEQ  0xFFFFF000u /* wraps within the super-frame */
#define IPID 0xFFFE      /* so does this */

static void make(struct frame *frame, const struct shape *shape, unsigned mss)
{
	uint8_t *p = frame->bytes;
	memset(frame, 0, sizeof *frame);
	memcpy(p, "\x02\x00\x00\x00\x00\x01\x02\x00\x00\x00\x00\x02", 12);
	size_t at = 12;
	for (unsigned i = 0; i < shape->tags; i++, at += 4)
		put32(p + at, 0x81000000u | (100 + i));
	put16(p + at, shape->ipv6 ? 0x86DD : 0x0800);
	at += 2;

	bool tcp = shape->protocol == IPPROTO_TCP;
	size_t l4_size = tcp ? 20 + shape->tcp_options : 8;
	uint8_t *ip = p + at;
	frame->l3 = at;
	if (shape->ipv6) {
		ip[0] = 0x60;
		put16(ip + 4, (unsigned)(shape->extension + l4_size + shape->payload) & 0xFFFF);
		ip[6] = shape->extension ? IPPROTO_HOPOPTS : shape->protocol;
		ip[7] = 64;
		for (unsigned i = 0; i < 32; i++)
			ip[8 + i] = (uint8_t)(0x20 + i);
		if (shape->extension) {
			ip[40] = shape->protocol;
			ip[41] = (uint8_t)(shape->extension / 8 - 1);
			ip[42] = 1; /* PadN over the rest */
			ip[43] = (uint8_t)(shape->extension - 4);
		}
		at += 40 + shape->extension;
	} else {
		ip[0] = 0x45;
		put16(ip + 2, (unsigned)(20 + l4_size + shape->payload) & 0xFFFF);
		put16(ip + 4, IPID);
		ip[8] = 64;
		ip[9] = shape->protocol;
		put32(ip + 12, 0x0A000001);
		put32(ip + 16, 0x0A000002);
		at += 20;
	}
	frame->l4 = at;
	uint8_t *l4 = p + at;
	put16(l4, 40000);
	put16(l4 + 2, 5001);
	if (tcp) {
		put32(l4 + 4, SEQ);
		put32(l4 + 8, 0x12345678);
		l4[12] = (uint8_t)((l4_size / 4) << 4);
		l4[13] = shape->flags;
		put16(l4 + 14, 500);
		memset(l4 + 20, 1, shape->tcp_options);
	} else {
		put16(l4 + 4, (unsigned)(8 + shape->payload) & 0xFFFF);
	}
	at += l4_size;
	frame->payload = at;
	for (size_t i = 0; i < shape->payload; i++)
		p[at + i] = pattern(i);
	frame->size = at + shape->payload;

	/* The kernel leaves the pseudo-header's sum in the checksum field; what it is must not matter. */
	put16(l4 + (tcp ? 16 : 6), 0xBEEF);
	frame->vnet = (struct virtio_net_hdr){
		.flags = VIRTIO_NET_HDR_F_NEEDS_CSUM,
		.gso_type = !tcp          ? VIRTIO_NET_HDR_GSO_UDP_L4
			    : shape->ipv6 ? VIRTIO_NET_HDR_GSO_TCPV6
					  : VIRTIO_NET_HDR_GSO_TCPV4,
		.hdr_len = (uint16_t)frame->payload,
		.gso_size = (uint16_t)mss,
		.csum_start = (uint16_t)frame->l4,
		.csum_offset = tcp ? 16 : 6,
	};
}

/* A receiver's checks of the checksums of a frame shaped like original. */
static void assert_checksums(
	const struct frame *original, const struct shape *shape, const uint8_t *p, size_t size)
{
	const uint8_t *ip = p + original->l3;
	size_t l4_size = size - original->l4;
	uint32_t sum;
	if (shape->ipv6) {
		assert_int_equal(get16(ip + 4), size - original->l3 - 40);
		sum = add_words(0, ip + 8, 32);
	} else {
		assert_int_equal(get16(ip + 2), size - original->l3);
		assert_int_equal(add_words(0, ip, 20), 0xFFFF);
		sum = add_words(0, ip + 12, 8);
	}
	sum += shape->protocol + (uint32_t)l4_size;
	assert_int_equal(add_words(sum, p + original->l4, l4_size), 0xFFFF);
}

struct receiver {
	const struct frame *original;
	const struct shape *shape;
	unsigned frames, total;
	size_t payload; /* bytes received so far */
};

static void receive(void *context, const uint8_t *p, size_t size)
{
	struct receiver *receiver = context;
	const struct frame *original = receiver->original;
	const struct shape *shape = receiver->shape;
	const uint8_t *ip = p + original->l3, *l4 = p + original->l4;
	bool first = receiver->frames == 0, last = receiver->frames + 1 == receiver->total;

	assert_checksums(original, shape, p, size);
	assert_memory_equal(p, original->bytes, original->l3);
	if (!shape->ipv6)
		assert_int_equal(get16(ip + 4), (IPID + receiver->frames) & 0xFFFF);
	if (shape->protocol == IPPROTO_TCP) {
		uint8_t flags = shape->flags;
		assert_int_equal(get32(l4 + 4), (uint32_t)(SEQ + receiver->payload));
		assert_int_equal(get32(l4 + 8), 0x12345678);
		if (!last)
			flags &= (uint8_t) ~(FIN | PSH);
		if (!first)
			flags &= (uint8_t)~CWR;
		assert_int_equal(l4[13], flags);
	} else {
		assert_int_equal(get16(l4 + 4), size - original->l4);
		assert_int_not_equal(get16(l4 + 6), 0);
	}
	size_t payload = size - original->payload;
	if (!last)
		assert_int_equal(payload, original->vnet.gso_size);
	for (size_t i = 0; i < payload; i++)
		assert_int_equal(p[original->payload + i], pattern(receiver->payload + i));
	receiver->payload += payload;
	receiver->frames++;
}

static struct frame original, work;

static void segment_and_check(const struct shape *shape, unsigned mss)
{
	struct receiver receiver = {.original = &original, .shape = shape};
	make(&original, shape, mss);
	memcpy(&work, &original, sizeof work);
	receiver.total = shape->payload ? (unsigned)((shape->payload + mss - 1) / mss) : 1;
	assert_int_equal(gso_segment(&work.vnet, work.bytes, work.size, receive, &receiver), receiver.total);
	assert_int_equal(receiver.frames, receiver.total);
	assert_int_equal(receiver.payload, shape->payload);
}

static void nobody(void *context, const uint8_t *frame, size_t size)
{
	(void)context;
	(void)frame;
	(void)size;
	fail_msg("a frame came out of a request that must be refused");
}

static void assert_refused(const struct frame *frame)
{
	memcpy(&work, frame, sizeof work);
	assert_int_equal(gso_segment(&work.vnet, work.bytes, work.size, nobody, NULL), -EINVAL);
}

/* --- segmentation --------------------------------------------------------------------------------------- */

static void tcp_over_ipv4_becomes_frames_of_one_mss(void **state)
{
	(void)state;
	segment_and_check(&(struct shape){.protocol = IPPROTO_TCP, .flags = ACK, .payload = 64000}, 1460);
	segment_and_check(
		&(struct shape){.protocol = IPPROTO_TCP, .flags = ACK, .tcp_options = 12, .payload = 64000},
		1448);
	segment_and_check(&(struct shape){.protocol = IPPROTO_TCP, .flags = ACK, .payload = 4380}, 1460);
}

static void tcp_over_ipv6_becomes_frames_of_one_mss(void **state)
{
	(void)state;
	segment_and_check(
		&(struct shape){.ipv6 = true, .protocol = IPPROTO_TCP, .flags = ACK, .payload = 64000}, 1440);
}

static void extension_headers_stay_in_every_frame(void **state)
{
	(void)state;
	segment_and_check(&(struct shape){.ipv6 = true,
				  .extension = 16,
				  .protocol = IPPROTO_TCP,
				  .flags = ACK,
				  .payload = 5000},
		1400);
}

static void udp_becomes_datagrams_of_one_size(void **state)
{
	(void)state;
	segment_and_check(&(struct shape){.protocol = IPPROTO_UDP, .payload = 10000}, 1200);
	segment_and_check(&(struct shape){.ipv6 = true, .protocol = IPPROTO_UDP, .payload = 10000}, 1200);
}

static void vlan_tags_stay_in_every_frame(void **state)
{
	(void)state;
	segment_and_check(
		&(struct shape){.tags = 1, .protocol = IPPROTO_TCP, .flags = ACK, .payload = 9000}, 1460);
	segment_and_check(
		&(struct shape){.tags = 2, .ipv6 = true, .protocol = IPPROTO_TCP, .payload = 9000}, 1440);
}

static void an_odd_mss_and_an_odd_rest_sum_up_right(void **state)
{
	(void)state;
	for (size_t payload = 1; payload < 600; payload += 13)
		segment_and_check(
			&(struct shape){.protocol = IPPROTO_TCP, .flags = ACK, .payload = payload}, 101);
}

static void fin_and_push_close_the_last_frame_only(void **state)
{
	(void)state;
	segment_and_check(
		&(struct shape){.protocol = IPPROTO_TCP, .flags = ACK | PSH | FIN, .payload = 3000}, 1460);
}

static void congestion_window_reduced_is_said_once(void **state)
{
	(void)state;
	const struct shape shape = {.protocol = IPPROTO_TCP, .flags = ACK | CWR, .payload = 3000};
	segment_and_check(&shape, 1460);

	struct receiver receiver = {.original = &original, .shape = &shape, .total = 3};
	make(&original, &shape, 1460);
	original.vnet.gso_type |= VIRTIO_NET_HDR_GSO_ECN;
	memcpy(&work, &original, sizeof work);
	assert_int_equal(gso_segment(&work.vnet, work.bytes, work.size, receive, &receiver), 3);
}

static void a_super_frame_without_payload_is_one_frame(void **state)
{
	(void)state;
	segment_and_check(&(struct shape){.protocol = IPPROTO_TCP, .flags = ACK | FIN, .payload = 0}, 1460);
}

static void a_scattered_super_frame_gives_the_same_frames(void **state)
{
	(void)state;
	const struct shape shape = {.protocol = IPPROTO_TCP, .flags = ACK | PSH, .payload = 20001};
	struct receiver receiver = {.original = &original, .shape = &shape, .total = 14};
	make(&original, &shape, 1460);

	/* Cut at odd places, one of them inside the headers, with an empty piece between. */
	struct iovec iov[16];
	const size_t cuts[] = {0, 17, 17, 54, 55, 1000, 1003, 5000, 5001, 5008, 12345, original.size};
	unsigned count = sizeof cuts / sizeof cuts[0] - 1;
	for (unsigned i = 0; i < count; i++)
		iov[i] = (struct iovec){original.bytes + cuts[i], cuts[i + 1] - cuts[i]};

	struct gso gso;
	assert_int_equal(gso_begin(&gso, &original.vnet, iov, count), 0);
	assert_int_equal(gso.segments, 14);
	for (;;) {
		uint8_t linear[2048];
		struct iovec pieces[GSO_PIECES_MAX];
		unsigned piece_count;
		ssize_t size = gso_next(&gso, linear, pieces, &piece_count);
		assert_true(size >= 0);
		if (size == 0)
			break;
		size_t at = gso.header_size;
		for (unsigned i = 0; i < piece_count; i++) {
			memcpy(linear + at, pieces[i].iov_base, pieces[i].iov_len);
			at += pieces[i].iov_len;
		}
		assert_int_equal(at, size);
		receive(&receiver, linear, at);
	}
	assert_int_equal(receiver.frames, 14);
}

static void segments_that_are_copied_out_are_the_same_bytes(void **state)
{
	(void)state;
	static const struct shape shapes[] = {
		{.protocol = IPPROTO_TCP, .flags = ACK | PSH, .payload = 20001},
		{.protocol = IPPROTO_TCP, .ipv6 = true, .tcp_options = 12, .payload = 60000},
		{.protocol = IPPROTO_UDP, .payload = 9999},
		{.protocol = IPPROTO_TCP, .tags = 1, .payload = 0},
	};
	for (size_t i = 0; i < sizeof shapes / sizeof shapes[0]; i++) {
		for (unsigned mss = 1399; mss < 1402; mss++) {
			make(&original, &shapes[i], mss);
			/* Pieces of 1, 2, 3 ... bytes: more than gso_next() would take, in all parities. */
			static struct iovec iov[512];
			unsigned count = 0;
			for (size_t at = 0; at < original.size; count++) {
				size_t n = count + 1 < original.size - at ? count + 1 : original.size - at;
				iov[count] = (struct iovec){original.bytes + at, n};
				at += n;
			}
			struct iovec whole = {original.bytes, original.size};
			struct gso gso, copied;
			assert_int_equal(gso_begin(&gso, &original.vnet, &whole, 1), 0);
			assert_int_equal(gso_begin(&copied, &original.vnet, iov, count), 0);
			for (;;) {
				uint8_t want[2048], got[2048] = {0};
				struct iovec pieces[GSO_PIECES_MAX];
				unsigned piece_count;
				ssize_t size = gso_next(&gso, want, pieces, &piece_count);
				assert_int_equal(gso_next_copy(&copied, got), size);
				if (size == 0)
					break;
				assert_memory_equal(got, want, gso.header_size);
				if (piece_count)
					assert_memory_equal(got + gso.header_size, pieces[0].iov_base,
						(size_t)size - gso.header_size);
				assert_int_equal(got[size], 0);
			}
			assert_int_equal(copied.emitted, copied.segments);
		}
	}
}

static void a_payload_in_too_many_pieces_is_refused(void **state)
{
	(void)state;
	const struct shape shape = {.protocol = IPPROTO_TCP, .payload = 200};
	make(&original, &shape, 100);
	struct iovec iov[1 + 200] = {{original.bytes, original.payload}};
	for (unsigned i = 0; i < 200; i++)
		iov[1 + i] = (struct iovec){original.bytes + original.payload + i, 1};
	struct gso gso;
	struct iovec pieces[GSO_PIECES_MAX];
	unsigned count;
	uint8_t header[GSO_HEADER_MAX];
	assert_int_equal(gso_begin(&gso, &original.vnet, iov, 201), 0);
	assert_int_equal(gso_next(&gso, header, pieces, &count), -EINVAL);
}

static void udp_that_came_without_checksum_leaves_without(void **state)
{
	(void)state;
	const struct shape shape = {.protocol = IPPROTO_UDP, .payload = 1000};
	make(&original, &shape, 400);
	original.vnet.flags = 0;
	put16(original.bytes + original.l4 + 6, 0);
	struct iovec whole = {original.bytes, original.size};
	struct gso gso;
	struct iovec pieces[GSO_PIECES_MAX];
	unsigned count;
	uint8_t header[GSO_HEADER_MAX];
	assert_int_equal(gso_begin(&gso, &original.vnet, &whole, 1), 0);
	assert_int_equal(gso_next(&gso, header, pieces, &count), 42 + 400);
	assert_int_equal(get16(header + original.l4 + 6), 0);
}

/* --- requests that do not fit --------------------------------------------------------------------------- */

static void a_request_of_another_protocol_is_refused(void **state)
{
	(void)state;
	make(&original, &(struct shape){.protocol = IPPROTO_TCP, .payload = 3000}, 1460);
	const uint8_t wrong[] = {
		VIRTIO_NET_HDR_GSO_TCPV6,
		VIRTIO_NET_HDR_GSO_UDP_L4,
		VIRTIO_NET_HDR_GSO_UDP,
		VIRTIO_NET_HDR_GSO_ECN,
		VIRTIO_NET_HDR_GSO_UDP_L4 | VIRTIO_NET_HDR_GSO_ECN,
		0x7F,
	};
	for (unsigned i = 0; i < sizeof wrong; i++) {
		original.vnet.gso_type = wrong[i];
		assert_refused(&original);
	}
}

static void a_checksum_at_another_place_is_refused(void **state)
{
	(void)state;
	make(&original, &(struct shape){.protocol = IPPROTO_TCP, .payload = 3000}, 1460);
	original.vnet.csum_start++;
	assert_refused(&original);
	original.vnet.csum_start--;
	original.vnet.csum_offset = 6;
	assert_refused(&original);
}

static void a_segment_size_of_zero_or_beyond_an_ip_packet_is_refused(void **state)
{
	(void)state;
	make(&original, &(struct shape){.protocol = IPPROTO_TCP, .payload = 3000}, 0);
	assert_refused(&original);
	original.vnet.gso_size = 65535;
	assert_refused(&original);
}

static void a_fragment_is_refused(void **state)
{
	(void)state;
	make(&original, &(struct shape){.protocol = IPPROTO_TCP, .payload = 3000}, 1460);
	put16(original.bytes + original.l3 + 6, 0x2000);
	assert_refused(&original);
	put16(original.bytes + original.l3 + 6, 0x0001);
	assert_refused(&original);
}

static void a_route_still_to_go_is_refused(void **state)
{
	(void)state;
	make(&original,
		&(struct shape){.ipv6 = true, .extension = 8, .protocol = IPPROTO_TCP, .payload = 3000},
		1440);
	uint8_t *ip = original.bytes + original.l3;
	ip[6] = IPPROTO_ROUTING;
	ip[43] = 1;
	assert_refused(&original);
}

static void headers_cut_anywhere_are_refused(void **state)
{
	(void)state;
	const struct shape shapes[] = {
		{.protocol = IPPROTO_TCP, .tcp_options = 12, .payload = 3000},
		{.tags = 2, .protocol = IPPROTO_UDP, .payload = 3000},
		{.ipv6 = true, .extension = 24, .protocol = IPPROTO_TCP, .payload = 3000},
	};
	for (unsigned s = 0; s < sizeof shapes / sizeof shapes[0]; s++) {
		make(&original, &shapes[s], 1400);
		/* On the heap at its exact size, so that the sanitizer sees a read beyond the end. */
		for (size_t size = 0; size < original.payload; size++) {
			uint8_t *cut = malloc(size ? size : 1);
			assert_non_null(cut);
			memcpy(cut, original.bytes, size);
			assert_int_equal(gso_segment(&original.vnet, cut, size, nobody, NULL), -EINVAL);
			free(cut);
		}
	}
}

static void header_lengths_that_lie_are_refused(void **state)
{
	(void)state;
	make(&original, &(struct shape){.protocol = IPPROTO_TCP, .payload = 3000}, 1460);
	original.bytes[original.l3] = 0x44; /* IHL under 20 bytes */
	assert_refused(&original);
	original.bytes[original.l3] = 0x45;
	original.bytes[original.l4 + 12] = 0x40; /* TCP header under 20 bytes */
	assert_refused(&original);

	make(&original, &(struct shape){.protocol = IPPROTO_TCP, .payload = 10}, 1460);
	original.bytes[original.l4 + 12] = 0xF0; /* longer than the frame */
	assert_refused(&original);

	make(&original,
		&(struct shape){.ipv6 = true, .extension = 8, .protocol = IPPROTO_TCP, .payload = 3000},
		1440);
	original.bytes[original.l3 + 41] = 255; /* options longer than any header may be */
	assert_refused(&original);
}

/* Any bytes at all: nothing may be read or written beside the frame, whatever comes out. */
static void noise(void *context, const uint8_t *frame, size_t size)
{
	(void)frame;
	*(size_t *)context += size;
}

static void mutilated_super_frames_do_no_harm(void **state)
{
	(void)state;
	const struct shape shape = {
		.tags = 1, .ipv6 = true, .extension = 8, .protocol = IPPROTO_TCP, .payload = 500};
	uint32_t random = 1;
	make(&original, &shape, 100);
	for (unsigned round = 0; round < 20000; round++) {
		struct virtio_net_hdr vnet = original.vnet;
		uint8_t *heap = malloc(original.size);
		assert_non_null(heap);
		memcpy(heap, original.bytes, original.size);
		for (unsigned i = 0; i < 4; i++) {
			random = random * 1664525 + 1013904223;
			heap[(random >> 8) % original.payload] = (uint8_t)(random >> 24);
		}
		random = random * 1664525 + 1013904223;
		if (round % 3 == 0)
			((uint8_t *)&vnet)[(random >> 8) % sizeof vnet] = (uint8_t)(random >> 24);
		size_t bytes = 0;
		int frames = gso_segment(&vnet, heap, original.size, noise, &bytes);
		assert_true(frames == -EINVAL || frames > 0);
		free(heap);
	}
}

/* --- at random, against segmenting by the book ---------------------------------------------------------- */

struct by_the_book {
	const struct super_frame *frame;
	unsigned count;
};

static void compare(void *context, const uint8_t *p, size_t size)
{
	struct by_the_book *book = context;
	uint8_t want[10000];

	assert_true(book->count < super_frame_segments(book->frame));
	assert_int_equal(size, super_frame_segment(book->frame, book->count++, want));
	assert_memory_equal(p, want, size);
}

/* The three ways to cut: in place, into pieces, into copies; the latter two from memory that lies scattered. */
static void cut_and_compare(const struct super_frame *frame)
{
	struct by_the_book book = {.frame = frame};
	struct iovec iov[40], pieces[GSO_PIECES_MAX];
	unsigned n = 0, count;
	uint8_t *copy = malloc(frame->size); /* exactly, so that a sanitizer sees what reads beyond */
	uint8_t out[10000];
	struct gso gso;
	ssize_t size;

	assert_non_null(copy);
	memcpy(copy, frame->bytes, frame->size);
	assert_int_equal(
		gso_segment(&frame->vnet, copy, frame->size, compare, &book), super_frame_segments(frame));
	assert_int_equal(book.count, super_frame_segments(frame));

	memcpy(copy, frame->bytes, frame->size);
	for (size_t at = 0; at < frame->size; n++) {
		size_t part = n < 39 ? 1800 + dice(300) : frame->size;

		part = part < frame->size - at ? part : frame->size - at;
		iov[n] = (struct iovec){copy + at, part};
		at += part;
	}
	book.count = 0;
	assert_int_equal(gso_begin(&gso, &frame->vnet, iov, n), 0);
	while ((size = gso_next(&gso, out, pieces, &count)) > 0) {
		size_t at = gso.header_size;

		for (unsigned i = 0; i < count; at += pieces[i++].iov_len)
			memcpy(out + at, pieces[i].iov_base, pieces[i].iov_len);
		assert_int_equal(at, size);
		compare(&book, out, at);
	}
	assert_int_equal(book.count, super_frame_segments(frame));

	book.count = 0;
	assert_int_equal(gso_begin(&gso, &frame->vnet, iov, n), 0);
	while ((size = gso_next_copy(&gso, out)) > 0)
		compare(&book, out, (size_t)size);
	assert_int_equal(book.count, super_frame_segments(frame));
	free(copy);
}

static struct super_frame super;

static void random_super_frames_are_cut_as_by_the_book(void **state)
{
	(void)state;
	for (unsigned round = 0; round < 1500; round++) {
		super_frame_make(&super, round % 10 ? 500 : 1, round % 7 ? 1500 : 9000);
		if (dice(4) == 0)
			super.vnet.flags = 0; /* the sum is not asked for, and made all the same */
		if (super.udp && !super.ipv6 && dice(4) == 0)
			put16(super.bytes + super.l4 + 6, 0);
		cut_and_compare(&super);
	}
}

/* One thing wrong with each. */
static void spoil(struct super_frame *f)
{
	uint8_t *p = f->bytes;

	switch (dice(13)) {
	case 0: p[f->l3] ^= 0x20; break;             /* IP version */
	case 1: put16(p + f->l3 - 2, 0x0806); break; /* EtherType */
	case 2: f->vnet.gso_size = 0; break;
	case 3: f->vnet.csum_start ^= (uint16_t)(1u << dice(16)); break;
	case 4: f->vnet.csum_offset ^= (uint16_t)(1u << dice(16)); break;
	case 5: f->vnet.gso_type = 2; break;                      /* unknown */
	case 6: f->vnet.gso_type = VIRTIO_NET_HDR_GSO_UDP; break; /* IP fragments */
	case 7: f->vnet.gso_type ^= f->udp ? 4 : 5; break;        /* TCP over IPv4 or v6; the other version */
	case 8: f->size = dice((uint32_t)f->header); break;       /* cut in the headers */
	case 9: f->vnet.gso_size = (uint16_t)(65536 - dice(20)); break; /* no IP packet is as long */
	case 10:
		if (f->udp)
			f->vnet.gso_type |= VIRTIO_NET_HDR_GSO_ECN;
		else
			p[f->l4 + 12] = (uint8_t)(dice(5) << 4); /* data offset */
		break;
	case 11:
		if (f->ipv6)
			p[f->l4 > f->l3 + 40 ? f->l3 + 40 : f->l3 + 6] = 44; /* a fragment header */
		else
			p[f->l3 + 6 + dice(2)] |= 0x10; /* fragment offset */
		break;
	case 12:
		if (f->ipv6)
			p[f->l4 > f->l3 + 40 ? f->l3 + 40 : f->l3 + 6] = 58; /* ICMPv6 */
		else
			p[f->l3] = (uint8_t)(0x40 | dice(5)); /* header length */
		break;
	}
}

static void random_super_frames_with_a_fault_are_refused(void **state)
{
	(void)state;
	for (unsigned round = 0; round < 20000; round++) {
		uint8_t *exact;

		super_frame_make(&super, 500, 1500);
		spoil(&super);
		exact = malloc(super.size ? super.size : 1);
		assert_non_null(exact);
		memcpy(exact, super.bytes, super.size);
		assert_int_equal(gso_segment(&super.vnet, exact, super.size, nobody, NULL), -EINVAL);
		free(exact);
	}
}

/* --- checksums alone -------------------------------------------------------------------------------------------- */

static void copy_out(void *context, const uint8_t *frame, size_t size)
{
	memcpy(context, frame, size);
}

/* Leave in the checksum field what Linux leaves there: the pseudo-header's sum. */
static void make_partial(struct frame *frame, const struct shape *shape)
{
	make(frame, shape, 0);
	const uint8_t *ip = frame->bytes + frame->l3;
	uint32_t sum = shape->ipv6 ? add_words(0, ip + 8, 32) : add_words(0, ip + 12, 8);
	sum = add_words(sum + shape->protocol + (uint32_t)(frame->size - frame->l4), NULL, 0);
	put16(frame->bytes + frame->l4 + frame->vnet.csum_offset, sum);
	frame->vnet.gso_type = VIRTIO_NET_HDR_GSO_NONE;
	if (!shape->ipv6) {
		uint8_t *field = frame->bytes + frame->l3 + 10;
		put16(field, 0xFFFF & ~add_words(0, ip, 20));
	}
}

static void a_partial_checksum_is_completed(void **state)
{
	(void)state;
	static uint8_t out[70000];
	const struct shape shapes[] = {
		{.protocol = IPPROTO_TCP, .payload = 0},
		{.protocol = IPPROTO_TCP, .payload = 1001},
		{.protocol = IPPROTO_UDP, .payload = 1},
		{.ipv6 = true, .protocol = IPPROTO_UDP, .payload = 1400},
		{.tags = 1, .ipv6 = true, .protocol = IPPROTO_TCP, .payload = 333},
	};
	for (unsigned i = 0; i < sizeof shapes / sizeof shapes[0]; i++) {
		make_partial(&original, &shapes[i]);
		memcpy(&work, &original, sizeof work);
		assert_int_equal(gso_segment(&work.vnet, work.bytes, work.size, copy_out, out), 1);
		assert_checksums(&original, &shapes[i], out, original.size);
	}
}

static void a_frame_that_asks_for_nothing_is_left_alone(void **state)
{
	(void)state;
	static uint8_t out[70000];
	make(&original, &(struct shape){.protocol = IPPROTO_UDP, .payload = 100}, 0);
	original.vnet = (struct virtio_net_hdr){0};
	memcpy(&work, &original, sizeof work);
	assert_int_equal(gso_segment(&work.vnet, work.bytes, work.size, copy_out, out), 1);
	assert_memory_equal(out, original.bytes, original.size);
}

static void a_udp_sum_of_zero_is_written_as_all_ones(void **state)
{
	(void)state;
	make_partial(&original, &(struct shape){.protocol = IPPROTO_UDP, .payload = 2});
	/* Choose the payload so that the datagram sums up to 0xFFFF, whose complement is 0. */
	uint8_t *payload = original.bytes + original.payload;
	put16(payload, 0);
	uint32_t sum = add_words(0, original.bytes + original.l4, original.size - original.l4);
	put16(payload, 0xFFFF - sum);
	struct iovec whole = {original.bytes, original.size};
	assert_int_equal(gso_checksum(&original.vnet, &whole, 1), 0);
	assert_int_equal(get16(original.bytes + original.l4 + 6), 0xFFFF);
}

static void a_scattered_frame_gets_the_same_checksum(void **state)
{
	(void)state;
	make_partial(&original, &(struct shape){.protocol = IPPROTO_TCP, .payload = 1001});
	memcpy(&work, &original, sizeof work);
	struct iovec whole = {original.bytes, original.size};
	assert_int_equal(gso_checksum(&original.vnet, &whole, 1), 0);
	/* One cut through the middle of the checksum field, others at odd offsets. */
	for (size_t cut = 1; cut < 100; cut++) {
		struct frame *again = malloc(sizeof *again);
		assert_non_null(again);
		memcpy(again, &work, sizeof *again);
		struct iovec iov[3] = {{again->bytes, cut}, {again->bytes + cut, 500},
			{again->bytes + cut + 500, again->size - cut - 500}};
		assert_int_equal(gso_checksum(&again->vnet, iov, 3), 0);
		assert_memory_equal(again->bytes, original.bytes, original.size);
		free(again);
	}
}

static void a_frame_in_two_buffers_is_completed_once_or_left_as_it_is(void **state)
{
	(void)state;
	make_partial(&original, &(struct shape){.protocol = IPPROTO_TCP, .payload = 1001});
	memcpy(&work, &original, sizeof work);
	struct iovec whole = {original.bytes, original.size};
	assert_int_equal(gso_checksum(&original.vnet, &whole, 1), 0);
	struct pkt_buf second = {.data = work.bytes + 100, .size = (uint32_t)work.size - 100};
	struct pkt_buf first = {.data = work.bytes,
		.next = &second,
		.size = 100,
		.frame_size = (uint32_t)work.size,
		.flags = PKT_TX_L4_CSUM,
		.csum_start = work.vnet.csum_start,
		.csum_offset = work.vnet.csum_offset};
	struct frame *before = malloc(sizeof *before);
	assert_non_null(before);
	memcpy(before, &work, sizeof *before);

	first.frame_size--; /* not what the buffers add up to */
	assert_int_equal(gso_complete(&first), -EINVAL);
	first.frame_size++;
	first.csum_start = 0xFFFF;
	assert_int_equal(gso_complete(&first), -EINVAL);
	assert_int_equal(first.flags, PKT_TX_L4_CSUM);
	assert_memory_equal(work.bytes, before->bytes, work.size);

	first.csum_start = work.vnet.csum_start;
	assert_int_equal(gso_complete(&first), 0);
	assert_int_equal(first.flags, 0);
	assert_memory_equal(work.bytes, original.bytes, original.size);
	free(before);
}

static void a_checksum_beyond_the_frame_is_refused(void **state)
{
	(void)state;
	make_partial(&original, &(struct shape){.protocol = IPPROTO_TCP, .payload = 10});
	struct iovec whole = {original.bytes, original.size};
	const struct virtio_net_hdr good = original.vnet;

	original.vnet.csum_start = (uint16_t)(original.size - 17); /* field one byte beyond */
	assert_int_equal(gso_checksum(&original.vnet, &whole, 1), -EINVAL);
	original.vnet.csum_start = 0xFFFF;
	original.vnet.csum_offset = 0xFFFF;
	assert_int_equal(gso_checksum(&original.vnet, &whole, 1), -EINVAL);
	original.vnet = good;
	original.vnet.csum_start = 13; /* inside the Ethernet header */
	assert_int_equal(gso_checksum(&original.vnet, &whole, 1), -EINVAL);
	whole.iov_len = 0;
	assert_int_equal(gso_checksum(&good, &whole, 1), -EINVAL);
}

static void sctp_gets_its_crc(void **state)
{
	(void)state;
	/* A COOKIE ACK chunk (RFC 9260, 3.3.12) with a CRC32c computed by another implementation. */
	make(&original, &(struct shape){.protocol = IPPROTO_SCTP, .payload = 0}, 0);
	uint8_t *l4 = original.bytes + original.l4;
	static const uint8_t packet[16] = {
		0x9C, 0x40, 0x13, 0x89, 0xDE, 0xAD, 0xBE, 0xEF, 0, 0, 0, 0, 0x0B, 0, 0, 4};
	memcpy(l4, packet, sizeof packet);
	memset(l4 + 8, 0xEE, 4);
	original.size = original.l4 + sizeof packet;
	struct iovec whole = {original.bytes, original.size};
	const struct virtio_net_hdr vnet = {
		.flags = VIRTIO_NET_HDR_F_NEEDS_CSUM,
		.csum_start = (uint16_t)original.l4,
		.csum_offset = 8,
	};
	assert_int_equal(gso_checksum(&vnet, &whole, 1), 0);
	static const uint8_t crc[4] = {0xA0, 0x52, 0x65, 0x3A};
	assert_memory_equal(l4 + 8, crc, 4);
	assert_memory_equal(l4, packet, 8);
	assert_memory_equal(l4 + 12, packet + 12, 4);
}

/* Its flags byte may lie in any of a frame's buffers. */
static void cwr_is_asked_for_wherever_the_frame_is_cut(void **state)
{
	static uint8_t bytes[14 + 40 + 20 + 3000];
	const size_t flags = 14 + 40 + 13;

	(void)state;
	for (size_t cut = 1; cut < 14 + 40 + 20; cut++) {
		struct pkt_buf second = {.data = bytes + cut, .size = (uint32_t)(sizeof(bytes) - cut)},
			       first = {.data = bytes,
				       .next = &second,
				       .size = (uint32_t)cut,
				       .flags = PKT_TX_TSO6 | PKT_TX_L4_CSUM,
				       .frame_size = sizeof(bytes),
				       .csum_start = 14 + 40,
				       .csum_offset = 16,
				       .gso_size = 1000,
				       .header_size = 14 + 40 + 20};

		bytes[flags] = CWR | ACK;
		assert_int_equal(
			gso_request(&first).gso_type, VIRTIO_NET_HDR_GSO_TCPV6 | VIRTIO_NET_HDR_GSO_ECN);
		bytes[flags] = (uint8_t)~CWR;
		assert_int_equal(gso_request(&first).gso_type, VIRTIO_NET_HDR_GSO_TCPV6);
		/* Where there is no such byte, there is no flag. */
		bytes[flags] = CWR;
		first.csum_start = 65535;
		assert_int_equal(gso_request(&first).gso_type, VIRTIO_NET_HDR_GSO_TCPV6);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(tcp_over_ipv4_becomes_frames_of_one_mss),
		cmocka_unit_test(tcp_over_ipv6_becomes_frames_of_one_mss),
		cmocka_unit_test(extension_headers_stay_in_every_frame),
		cmocka_unit_test(udp_becomes_datagrams_of_one_size),
		cmocka_unit_test(vlan_tags_stay_in_every_frame),
		cmocka_unit_test(an_odd_mss_and_an_odd_rest_sum_up_right),
		cmocka_unit_test(fin_and_push_close_the_last_frame_only),
		cmocka_unit_test(congestion_window_reduced_is_said_once),
		cmocka_unit_test(cwr_is_asked_for_wherever_the_frame_is_cut),
		cmocka_unit_test(a_super_frame_without_payload_is_one_frame),
		cmocka_unit_test(a_scattered_super_frame_gives_the_same_frames),
		cmocka_unit_test(segments_that_are_copied_out_are_the_same_bytes),
		cmocka_unit_test(a_payload_in_too_many_pieces_is_refused),
		cmocka_unit_test(udp_that_came_without_checksum_leaves_without),
		cmocka_unit_test(a_request_of_another_protocol_is_refused),
		cmocka_unit_test(a_checksum_at_another_place_is_refused),
		cmocka_unit_test(a_segment_size_of_zero_or_beyond_an_ip_packet_is_refused),
		cmocka_unit_test(a_fragment_is_refused),
		cmocka_unit_test(a_route_still_to_go_is_refused),
		cmocka_unit_test(headers_cut_anywhere_are_refused),
		cmocka_unit_test(header_lengths_that_lie_are_refused),
		cmocka_unit_test(mutilated_super_frames_do_no_harm),
		cmocka_unit_test(random_super_frames_are_cut_as_by_the_book),
		cmocka_unit_test(random_super_frames_with_a_fault_are_refused),
		cmocka_unit_test(a_partial_checksum_is_completed),
		cmocka_unit_test(a_frame_that_asks_for_nothing_is_left_alone),
		cmocka_unit_test(a_udp_sum_of_zero_is_written_as_all_ones),
		cmocka_unit_test(a_scattered_frame_gets_the_same_checksum),
		cmocka_unit_test(a_frame_in_two_buffers_is_completed_once_or_left_as_it_is),
		cmocka_unit_test(a_checksum_beyond_the_frame_is_refused),
		cmocka_unit_test(sctp_gets_its_crc),
	};
	return cmocka_run_group_tests_name("gso", tests, NULL, NULL);
}
