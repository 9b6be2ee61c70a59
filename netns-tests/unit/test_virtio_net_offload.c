/*
 * Checksums and super-frames of the virtio NIC, on a card that the test plays. What a super-frame stands for is worked
 * out by the book (super_frame.h).
 */
#include "virtio_net_rig.h"

#include <endian.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "chain.h"

#define USO (F(VIRTIO_NET_F_HOST_USO) | F(VIRTIO_NET_F_GUEST_USO4) | F(VIRTIO_NET_F_GUEST_USO6))

static struct net_rig n;
static struct net_rig_frame sent;
static struct super_frame f;

static void open_with(uint64_t features, uint16_t mtu)
{
	struct ixy_options options = net_rig_options();

	options.mtu = mtu;
	options.rx_super_frames = options.rx_super_frames_udp = true;
	net_rig_init(&n, RIG_MODERN, features);
	net_rig_open(&n, &options);
}

/* A super-frame of two segments or more, TCP or UDP over IP as asked for, without tags. */
static void make(bool ipv6, bool udp)
{
	do
		super_frame_make(&f, 1000, 1350);
	while (f.ipv6 != ipv6 || f.udp != udp || f.l3 != 14 || super_frame_segments(&f) < 2);
}

static struct virtio_net_hdr_v1 header_of(const struct virtio_net_hdr *vnet)
{
	return (struct virtio_net_hdr_v1){
		.flags = vnet->flags,
		.gso_type = vnet->gso_type,
		.hdr_len = htole16(vnet->hdr_len),
		.gso_size = htole16(vnet->gso_size),
		.csum_start = htole16(vnet->csum_start),
		.csum_offset = htole16(vnet->csum_offset),
	};
}

static struct pkt_buf *in_buffers(const struct super_frame *s)
{
	return super_frame_chain(n.pool, s, 14, 1300);
}

static void send_one(struct pkt_buf *frame)
{
	assert_int_equal(ixy_tx_batch(n.dev, 0, &frame, 1), 1);
}

static void assert_sent(const void *bytes, size_t size)
{
	assert_true(net_rig_sent(&n, 0, &sent));
	assert_int_equal(sent.size, size);
	assert_memory_equal(sent.bytes, bytes, size);
}

/* --- checksums of what comes -------------------------------------------------------------------------- */

static void what_is_known_of_a_checksum_becomes_flags(void **state)
{
	enum { RIGHT, WRONG_L4, WRONG_IP, UNFINISHED };
	static const struct {
		uint8_t flags;
		int frame;
		uint16_t expected; /* over IPv4; over IPv6 there is no sum of IP's */
	} cases[] = {
		{0, RIGHT, PKT_RX_IP_CSUM_GOOD | PKT_RX_L4_CSUM_GOOD},
		{0, WRONG_L4, PKT_RX_IP_CSUM_GOOD | PKT_RX_L4_CSUM_BAD},
		{0, UNFINISHED, PKT_RX_IP_CSUM_GOOD | PKT_TX_L4_CSUM},
		/* The device's word is taken. */
		{VIRTIO_NET_HDR_F_DATA_VALID, RIGHT, PKT_RX_IP_CSUM_GOOD | PKT_RX_L4_CSUM_GOOD},
		{VIRTIO_NET_HDR_F_DATA_VALID, WRONG_L4, PKT_RX_IP_CSUM_GOOD | PKT_RX_L4_CSUM_GOOD},
		{VIRTIO_NET_HDR_F_NEEDS_CSUM, UNFINISHED, PKT_RX_IP_CSUM_GOOD | PKT_TX_L4_CSUM},
		/* Of IP's checksum it says nothing. */
		{VIRTIO_NET_HDR_F_DATA_VALID, WRONG_IP, PKT_RX_L4_CSUM_GOOD},
		{VIRTIO_NET_HDR_F_NEEDS_CSUM, WRONG_IP, PKT_TX_L4_CSUM},
	};

	(void)state;
	open_with(NET_RIG_USUAL, 1500);
	for (unsigned kind = 0; kind < 4; kind++) {
		const bool ipv6 = kind & 1, udp = kind & 2;

		for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
			struct virtio_net_hdr_v1 header = {.flags = cases[i].flags};
			static uint8_t bytes[NET_RIG_FRAME];
			uint16_t expected = cases[i].expected;
			struct pkt_buf *frame;
			size_t size;

			if (ipv6 && cases[i].frame == WRONG_IP)
				continue;
			do
				make(ipv6, udp);
			while (f.l4 != 14u + (ipv6 ? 40 : 20)); /* extension headers are not looked behind */
			size = super_frame_segment(&f, 1, bytes);
			if (cases[i].frame == WRONG_L4)
				bytes[size - 1] ^= 1;
			else if (cases[i].frame == WRONG_IP)
				bytes[14 + 10] ^= 1;
			if (cases[i].frame == UNFINISHED || cases[i].flags & VIRTIO_NET_HDR_F_NEEDS_CSUM) {
				header.csum_start = htole16((uint16_t)f.l4);
				header.csum_offset = htole16(udp ? 6 : 16);
				book_put16(
					bytes + f.l4 + (udp ? 6 : 16), book_pseudo(&f, bytes, size - f.l4));
			}
			if (ipv6)
				expected &= (uint16_t)~PKT_RX_IP_CSUM_GOOD;
			assert_true(net_rig_arrive(&n, 0, &header, bytes, size));
			frame = net_rig_received(&n, 0, bytes, size);
			assert_int_equal(frame->flags, expected);
			if (expected & PKT_TX_L4_CSUM) {
				assert_int_equal(frame->csum_start, f.l4);
				assert_int_equal(frame->csum_offset, udp ? 6 : 16);
			}
			pkt_buf_free(frame);
		}
	}
	net_rig_close(&n);
}

static void places_of_checksums_outside_of_the_frame_are_refused(void **state)
{
	static const struct {
		uint16_t start, offset;
		bool right;
	} cases[] = {
		{34, 16, true}, {14, 0, true}, {98, 0, true}, {14, 84, true},      /* to the last byte */
		{99, 0, false}, {100, 0, false}, {14, 85, false}, {34, 65, false}, /* past it */
		{13, 0, false}, {0, 16, false},                                    /* in Ethernet's header */
		{0xffff, 0, false}, {34, 0xffff, false}, {0xffff, 0xffff, false},  /* far past it */
	};
	uint8_t bytes[100];
	uint64_t dropped = 0;

	(void)state;
	open_with(NET_RIG_USUAL, 1500);
	net_rig_fill(bytes, 1, sizeof(bytes));
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct virtio_net_hdr_v1 header = {.flags = VIRTIO_NET_HDR_F_NEEDS_CSUM,
			.csum_start = htole16(cases[i].start),
			.csum_offset = htole16(cases[i].offset)};
		struct pkt_buf *frame;

		/* The same both ways. */
		assert_true(net_rig_arrive(&n, 0, &header, bytes, sizeof(bytes)));
		if (cases[i].right)
			pkt_buf_free(net_rig_received(&n, 0, bytes, sizeof(bytes)));
		else
			net_rig_nothing_received(&n, 0);
		frame = net_rig_frame(&n, bytes, sizeof(bytes));
		frame->flags = PKT_TX_L4_CSUM;
		frame->csum_start = cases[i].start;
		frame->csum_offset = cases[i].offset;
		send_one(frame);
		assert_int_equal(net_rig_sent(&n, 0, &sent), cases[i].right);
		if (cases[i].right)
			assert_memory_equal(&sent.header, &header, 10);
		dropped += !cases[i].right;
		assert_int_equal(net_rig_drops(&n, IXY_DROP_RX_BAD_DESCRIPTOR), dropped);
		assert_int_equal(net_rig_drops(&n, IXY_DROP_TX_BAD_OFFLOAD), dropped);
	}
	ixy_tx_batch(n.dev, 0, NULL, 0);
	net_rig_close(&n);
}

/* --- super-frames that come --------------------------------------------------------------------------- */

static void a_super_frame_that_comes_can_be_sent_on_as_it_is(void **state)
{
	(void)state;
	open_with(NET_RIG_USUAL | USO, 1500);
	for (unsigned i = 0; i < 400; i++) {
		struct virtio_net_hdr_v1 header;
		struct virtio_net_hdr request;
		struct ixy_queue_stats before, after;
		struct pkt_buf *frame;

		super_frame_make(&f, 60, 1350);
		header = header_of(&f.vnet);
		header.hdr_len = htole16((uint16_t)dice(65536)); /* a hint, which need not be right */
		ixy_read_queue_stats(n.dev, 0, &before);
		assert_true(net_rig_arrive(&n, 0, &header, f.bytes, f.size));
		frame = net_rig_received(&n, 0, f.bytes, f.size);
		ixy_read_queue_stats(n.dev, 0, &after);
		assert_int_equal(frame->flags, super_frame_flags(&f));
		request = gso_request(frame);
		assert_memory_equal(&request, &f.vnet, sizeof(request));
		/* Counted as what it is on a wire. */
		assert_int_equal(after.rx_frames - before.rx_frames, super_frame_segments(&f));
		assert_int_equal(
			after.rx_bytes - before.rx_bytes, f.size + (super_frame_segments(&f) - 1) * f.header);
		send_one(frame);
		assert_sent(f.bytes, f.size);
		header = header_of(&f.vnet);
		assert_memory_equal(&sent.header, &header, sizeof(header));
		ixy_read_queue_stats(n.dev, 0, &after);
		assert_int_equal(after.tx_frames, after.rx_frames);
		assert_int_equal(after.tx_bytes, after.rx_bytes);
	}
	ixy_tx_batch(n.dev, 0, NULL, 0);
	net_rig_close(&n);
}

static void super_frames_that_nobody_asked_for_are_dropped(void **state)
{
	(void)state;
	for (unsigned i = 0; i < 3; i++) {
		struct ixy_options options = net_rig_options();
		uint64_t dropped = 0;

		options.rx_super_frames = i > 0;
		net_rig_init(&n, RIG_MODERN, NET_RIG_USUAL | USO);
		net_rig_open(&n, &options);
		for (unsigned kind = 0; kind < 4; kind++) {
			struct virtio_net_hdr_v1 header;

			make(kind & 1, kind & 2);
			header = header_of(&f.vnet);
			assert_true(net_rig_arrive(&n, 0, &header, f.bytes, f.size));
			if (i > 0 && !f.udp) {
				pkt_buf_free(net_rig_received(&n, 0, f.bytes, f.size));
				continue;
			}
			net_rig_nothing_received(&n, 0);
			assert_int_equal(net_rig_drops(&n, IXY_DROP_RX_BAD_DESCRIPTOR), ++dropped);
		}
		net_rig_traffic(&n, 0);
		net_rig_close(&n);
	}
}

static void super_frames_that_are_none_are_dropped(void **state)
{
	enum {
		NO_SIZE,
		NO_SUM,
		WRONG_IP,
		WRONG_L4,
		UNKNOWN,
		FRAGMENTS,
		START,
		OFFSET,
		CUT_OFF,
		TOO_LONG,
		CASES
	};
	uint64_t bad = 0;

	(void)state;
	open_with(NET_RIG_USUAL | USO, 1500);
	for (unsigned i = 0; i < CASES; i++) {
		for (unsigned kind = 0; kind < 4; kind++) {
			struct virtio_net_hdr vnet;
			struct virtio_net_hdr_v1 header;

			make(kind & 1, kind & 2);
			vnet = f.vnet;
			switch (i) {
			case NO_SIZE: vnet.gso_size = 0; break;
			case NO_SUM: vnet.flags = 0; break;
			case WRONG_IP:
				vnet.gso_type = f.ipv6 ? VIRTIO_NET_HDR_GSO_TCPV4 : VIRTIO_NET_HDR_GSO_TCPV6;
				break;
			case WRONG_L4: vnet.gso_type = f.udp ? 1 : VIRTIO_NET_HDR_GSO_UDP_L4; break;
			case UNKNOWN: vnet.gso_type = 77; break;
			case FRAGMENTS: vnet.gso_type = VIRTIO_NET_HDR_GSO_UDP; break;
			case START: vnet.csum_start++; break;
			case OFFSET: vnet.csum_offset = 65535; break;
			case CUT_OFF: f.size = f.header - 1; break;
			default: vnet.gso_size = (uint16_t)(1519 - f.header); break;
			}
			header = header_of(&vnet);
			assert_true(net_rig_arrive(&n, 0, &header, f.bytes, f.size));
			net_rig_nothing_received(&n, 0);
			if (i != TOO_LONG)
				assert_int_equal(net_rig_drops(&n, IXY_DROP_RX_BAD_DESCRIPTOR), ++bad);
			else
				assert_int_equal(net_rig_drops(&n, IXY_DROP_RX_TOO_LONG), kind + 1);
		}
	}
	net_rig_traffic(&n, 0);
	net_rig_close(&n);
}

/* Whatever the header and the frame are: what comes out can be sent on, and nothing is lost or written over. */
static void headers_at_random_do_no_harm(void **state)
{
	unsigned passed = 0;

	(void)state;
	open_with(NET_RIG_USUAL | USO, 1500);
	for (unsigned i = 0; i < 20000; i++) {
		struct virtio_net_hdr_v1 header;
		struct pkt_buf *frame;

		super_frame_make(&f, 60, 1350);
		header = header_of(&f.vnet);
		if (dice(3) == 0)
			((uint8_t *)&header)[dice(10)] = (uint8_t)dice(256);
		if (dice(3) == 0)
			f.bytes[12 + dice((uint32_t)f.header - 12)] = (uint8_t)dice(256);
		if (dice(3) == 0)
			f.size = 1 + dice((uint32_t)f.size);
		if (!net_rig_arrive(&n, 0, &header, f.bytes, f.size))
			fail_msg("buffers are missing after %u frames", i);
		if (ixy_rx_batch(n.dev, 0, &frame, 1) == 0)
			continue;
		passed++;
		send_one(frame);
		while (net_rig_sent(&n, 0, &sent))
			;
		ixy_tx_batch(n.dev, 0, NULL, 0);
	}
	assert_in_range(passed, 1000, 19000);
	net_rig_close(&n);
}

/* --- what goes ---------------------------------------------------------------------------------------- */

/* What comes out is the book's, frame by frame, and the plain frame behind it. ring: its entries. */
static void check_cutting(uint64_t features, uint16_t ring, uint16_t mtu, uint32_t mss_min, uint32_t mss_max)
{
	static uint8_t want[NET_RIG_FRAME];
	struct ixy_options options = net_rig_options();

	options.mtu = mtu;
	net_rig_init(&n, RIG_MODERN, features);
	net_rig_ring(&n, ring);
	net_rig_open(&n, &options);
	for (unsigned i = 0; i < 60; i++) {
		struct pkt_buf *frames[2];
		uint32_t taken = 0;
		unsigned next = 0;
		uint8_t plain[60];

		super_frame_make(&f, mss_min, mss_max);
		frames[0] = in_buffers(&f);
		frames[1] = net_rig_frame(&n, plain, net_rig_fill(plain, i, sizeof(plain)));
		/* Nothing may overtake, however often it takes. */
		while (next <= super_frame_segments(&f)) {
			assert_in_range(next, 0, super_frame_segments(&f));
			taken += ixy_tx_batch(n.dev, 0, frames + taken, 2 - taken);
			assert_true(net_rig_sent(&n, 0, &sent));
			do {
				size_t size = sizeof(plain);

				if (next < super_frame_segments(&f))
					size = super_frame_segment(&f, next, want);
				else
					memcpy(want, plain, size);
				assert_int_equal(sent.size, size);
				assert_memory_equal(sent.bytes, want, size);
				assert_int_equal(sent.header.flags | sent.header.gso_type, 0);
				next++;
			} while (net_rig_sent(&n, 0, &sent));
		}
		assert_int_equal(taken, 2);
	}
	ixy_tx_batch(n.dev, 0, NULL, 0);
	assert_int_equal(ixy_tx_pending(n.dev, 0), 0);
	net_rig_close(&n);
}

static void what_the_device_does_not_cut_is_cut_here(void **state)
{
	(void)state;
	check_cutting(0, 256, 1500, 60, 1350);
	check_cutting(F(VIRTIO_NET_F_CSUM), 256, 1500, 60, 1350); /* it could sum up, but that is done */
	check_cutting(0, 16, 1500, 60, 1350);                     /* in turns */
	check_cutting(F(VIRTIO_NET_F_MRG_RXBUF), 256, 9000, 2000, 8000); /* into chains */
	check_cutting(F(VIRTIO_NET_F_MRG_RXBUF), 16, 9000, 2000, 8000);
	check_cutting(F(VIRTIO_NET_F_MRG_RXBUF), 16, NET_MAX_MTU, 15000, 16000);
}

static void what_it_cuts_but_for_cwr_is_cut_here_where_that_is_set(void **state)
{
	static uint8_t want[NET_RIG_FRAME];

	(void)state;
	open_with(NET_RIG_USUAL & ~F(VIRTIO_NET_F_HOST_ECN), 1500);
	for (unsigned i = 0; i < 100; i++) {
		do
			super_frame_make(&f, 400, 1350);
		while (f.udp || super_frame_segments(&f) < 2 || super_frame_segments(&f) > 200);
		send_one(in_buffers(&f));
		if (!(f.vnet.gso_type & VIRTIO_NET_HDR_GSO_ECN)) {
			assert_sent(f.bytes, f.size);
			continue;
		}
		for (unsigned s = 0; s < super_frame_segments(&f); s++)
			assert_sent(want, super_frame_segment(&f, s, want));
		ixy_tx_batch(n.dev, 0, NULL, 0);
	}
	ixy_tx_batch(n.dev, 0, NULL, 0);
	net_rig_close(&n);
}

static void without_its_help_checksums_are_completed_here(void **state)
{
	static uint8_t bytes[NET_RIG_FRAME];

	(void)state;
	open_with(0, 1500);
	for (unsigned i = 0; i < 200; i++) {
		struct pkt_buf *frame;
		size_t size;

		super_frame_make(&f, 60, 1350);
		size = super_frame_segment(&f, 0, bytes);
		frame = net_rig_frame(&n, bytes, size);
		frame->flags = PKT_TX_L4_CSUM;
		frame->csum_start = (uint16_t)f.l4;
		frame->csum_offset = f.udp ? 6 : 16;
		book_put16(frame->data + f.l4 + frame->csum_offset, book_pseudo(&f, bytes, size - f.l4));
		send_one(frame);
		assert_sent(bytes, size);
		assert_int_equal(sent.header.flags, 0);
	}
	ixy_tx_batch(n.dev, 0, NULL, 0);
	net_rig_close(&n);
}

/* Whoever puts a header in front of a frame may use up the room that ours has its place in. */
static void a_frame_without_headroom_is_sent_all_the_same(void **state)
{
	static uint8_t want[NET_RIG_FRAME];
	uint8_t bytes[100];
	struct pkt_buf *frame;
	size_t size;

	(void)state;
	open_with(NET_RIG_USUAL, 1500);
	net_rig_fill(bytes, 1, sizeof(bytes));
	for (int room = 0; room <= 13; room++) {
		frame = net_rig_frame(&n, bytes, sizeof(bytes));
		frame->data = (uint8_t *)(frame + 1) + room;
		memcpy(frame->data, bytes, sizeof(bytes));
		send_one(frame);
		assert_sent(bytes, sizeof(bytes));
		assert_int_equal(sent.pieces, room < 12 ? 2 : 1);
	}
	/* With a checksum to be completed ... */
	make(false, false);
	size = super_frame_segment(&f, 0, want);
	frame = net_rig_frame(&n, want, size);
	frame->data = (uint8_t *)(frame + 1);
	memcpy(frame->data, want, size);
	book_put16(frame->data + f.l4 + 16, book_pseudo(&f, want, size - f.l4));
	frame->flags = PKT_TX_L4_CSUM;
	frame->csum_start = (uint16_t)f.l4;
	frame->csum_offset = 16;
	send_one(frame);
	assert_sent(want, size);
	assert_int_equal(sent.header.flags, 0);
	/* ... and as a super-frame. */
	frame = in_buffers(&f);
	memmove((uint8_t *)(frame + 1), frame->data, frame->size);
	frame->data = (uint8_t *)(frame + 1);
	send_one(frame);
	for (unsigned s = 0; s < super_frame_segments(&f); s++)
		assert_sent(want, super_frame_segment(&f, s, want));
	ixy_tx_batch(n.dev, 0, NULL, 0);
	net_rig_close(&n);
}

static void what_cannot_be_sent_is_dropped_by_its_name(void **state)
{
	enum {
		SHORT,
		SHORT_FIRST,
		LONG,
		WRONG_SUM,
		EMPTY_PIECE,
		WRONG_COUNT,
		MANY_PIECES,
		NO_SIZE,
		NO_HEADERS,
		CASES
	};
	static const enum ixy_drop reasons[CASES] = {IXY_DROP_TX_TOO_SHORT, IXY_DROP_TX_TOO_SHORT,
		IXY_DROP_TX_TOO_LONG, IXY_DROP_TX_BAD_OFFLOAD, IXY_DROP_TX_BAD_OFFLOAD,
		IXY_DROP_TX_BAD_OFFLOAD, IXY_DROP_TX_BAD_OFFLOAD, IXY_DROP_TX_BAD_OFFLOAD,
		IXY_DROP_TX_BAD_OFFLOAD};
	uint64_t counts[IXY_DROP_COUNT] = {0};

	(void)state;
	open_with(NET_RIG_USUAL, 9000);
	for (unsigned i = 0; i < CASES; i++) {
		static uint8_t bytes[9100];
		struct pkt_buf *frame = NULL, *buf;

		make(false, false);
		net_rig_fill(bytes, i, sizeof(bytes));
		switch (i) {
		case SHORT: frame = net_rig_frame(&n, bytes, 13); break;
		case SHORT_FIRST:
			frame = net_rig_frame(&n, bytes, 3000);
			frame->size = 13;
			break;
		case LONG: frame = net_rig_frame(&n, bytes, 9019); break;
		case WRONG_SUM:
			frame = net_rig_frame(&n, bytes, 3000);
			frame->frame_size = 2999;
			break;
		case EMPTY_PIECE:
			frame = net_rig_frame(&n, bytes, 3000);
			frame->frame_size -= frame->next->size;
			frame->next->size = 0;
			break;
		case WRONG_COUNT:
			frame = net_rig_frame(&n, bytes, 100);
			frame->segments = 2;
			break;
		case MANY_PIECES:
			frame = buf = net_rig_frame(&n, bytes, 60);
			for (unsigned k = 1; k < NET_TX_PIECES + 1; k++, buf = buf->next) {
				buf->next = net_rig_frame(&n, bytes, 60);
				frame->segments++;
				frame->frame_size += 60;
			}
			break;
		case NO_SIZE:
			frame = in_buffers(&f);
			frame->gso_size = 0;
			break;
		default:
			frame = net_rig_frame(&n, bytes, 3000);
			frame->flags = PKT_TX_L4_CSUM | PKT_TX_TSO4;
			frame->csum_start = 34;
			frame->csum_offset = 16;
			frame->gso_size = 1000;
			frame->header_size = 54;
		}
		counts[reasons[i]] += pkt_buf_wire_frames(frame);
		send_one(frame);
		assert_false(net_rig_sent(&n, 0, &sent));
		assert_int_equal(net_rig_drops(&n, reasons[i]), counts[reasons[i]]);
		assert_int_equal(n.pool->free_count, n.pool->buf_count);
	}
	net_rig_traffic(&n, 0);
	net_rig_close(&n);
}

static void a_super_frame_half_cut_is_counted_when_the_device_is_reset(void **state)
{
	struct ixy_stats stats;
	unsigned segments;

	(void)state;
	net_rig_init(&n, RIG_MODERN, 0);
	net_rig_ring(&n, 16);
	net_rig_open(&n, NULL);
	do
		make(false, false);
	while (super_frame_segments(&f) < 30);
	segments = super_frame_segments(&f);
	send_one(in_buffers(&f));
	for (unsigned i = 0; i < 5; i++)
		assert_true(net_rig_sent(&n, 0, &sent));
	assert_int_equal(ixy_tx_pending(n.dev, 0), segments);
	assert_int_equal(ixy_reset(n.dev), 0);
	ixy_read_stats(n.dev, &stats);
	assert_int_equal(stats.tx_frames, 5);
	assert_int_equal(stats.drops[IXY_DROP_TX_RESET], segments - 5);
	net_rig_traffic(&n, 0);
	net_rig_close(&n);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(what_is_known_of_a_checksum_becomes_flags),
		cmocka_unit_test(places_of_checksums_outside_of_the_frame_are_refused),
		cmocka_unit_test(a_super_frame_that_comes_can_be_sent_on_as_it_is),
		cmocka_unit_test(super_frames_that_nobody_asked_for_are_dropped),
		cmocka_unit_test(super_frames_that_are_none_are_dropped),
		cmocka_unit_test(headers_at_random_do_no_harm),
		cmocka_unit_test(what_the_device_does_not_cut_is_cut_here),
		cmocka_unit_test(what_it_cuts_but_for_cwr_is_cut_here_where_that_is_set),
		cmocka_unit_test(without_its_help_checksums_are_completed_here),
		cmocka_unit_test(a_frame_without_headroom_is_sent_all_the_same),
		cmocka_unit_test(what_cannot_be_sent_is_dropped_by_its_name),
		cmocka_unit_test(a_super_frame_half_cut_is_counted_when_the_device_is_reset),
	};

	return cmocka_run_group_tests_name("offloads of the virtio NIC", tests, NULL, NULL);
}
