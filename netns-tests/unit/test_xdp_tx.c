/*
 * The ixy device on AF_XDP: what it sends, byte by byte, from whose buffers ever; super-frames, jumbo frames and
 * checksums in both directions.
 */
#include <stdio.h>

#include "chain.h"
#include "driver/error.h"
#include "xdp_rig.h"

#define JUMBO 9014

/* The interface finishes all by itself, so that the peer sees what a wire would carry. */
static int wire_setup(void **state)
{
	if (rig_setup(state) < 0)
		return -1;
	return shell("ethtool -K d0 tx off tso off gso off >/dev/null") ? 0 : -1;
}

/* From now on super-frames are cut in software, as they are where the kernel's way is not to be had. */
static void cut_in_software(struct xdp_rig *rig)
{
	xdp_super_close(rig_queue(rig));
}

/* --- sending ----------------------------------------------------------------------------------------- */

static void frames_from_other_pools_are_copied_and_given_back(void **state)
{
	struct xdp_rig *rig = *state;
	struct mempool *pool;
	uint8_t want[1600], got[2048];

	rig_open(rig, "xdp:d0", NULL);
	pool = ixy_mempool_create(rig->dev, 16, 1024);
	assert_non_null(pool);
	for (uint32_t size = 14; size <= 1514; size += size < 70 ? 1 : 37) {
		struct pkt_buf *bufs[2];
		size_t n;

		/* In one piece, or cut at an odd place into two. */
		make_frame(want, size, &rig->mac, size);
		assert_int_equal(pkt_buf_alloc_batch(pool, bufs, 2), 2);
		bufs[0]->frame_size = size;
		bufs[0]->size = size > 900 ? 555 : size;
		memcpy(bufs[0]->data, want, bufs[0]->size);
		if (bufs[0]->size < size) {
			bufs[0]->next = bufs[1];
			bufs[0]->segments = 2;
			bufs[1]->size = size - bufs[0]->size;
			memcpy(bufs[1]->data, want + bufs[0]->size, bufs[1]->size);
		} else {
			pkt_buf_free(bufs[1]);
		}
		assert_int_equal(ixy_tx_batch(rig->dev, 0, bufs, 1), 1);
		assert_int_equal(pool->free_count, 16);
		n = rig_receive(rig, got, sizeof(got));
		assert_int_equal(n, size < 60 ? 60 : size);
		assert_memory_equal(got, want, size);
		for (size_t i = size; i < n; i++)
			assert_int_equal(got[i], 0);
	}
	assert_true(rig_drained(rig));
	assert_int_equal(ixy_mempool_free(pool), 0);
}

static void received_buffers_are_sent_on_as_they_are(void **state)
{
	struct xdp_rig *rig = *state;
	uint8_t frame[1600], got[2048];

	rig_open(rig, "xdp:d0", NULL);
	for (uint32_t round = 0; round < 5000; round += 50) {
		for (uint32_t i = 0; i < 50; i++) {
			struct pkt_buf *buf;
			uint32_t size = 14 + (round + i) % 1500;

			make_frame(frame, size, &rig->mac, round + i);
			rig_send(rig, frame, size);
			buf = rig_take(rig);
			assert_non_null(buf);
			buf->data[0] = 2; /* what a router does, more or less */
			frame[0] = 2;
			assert_int_equal(ixy_tx_batch(rig->dev, 0, &buf, 1), 1);
			assert_int_equal(rig_receive(rig, got, sizeof(got)), size < 60 ? 60 : size);
			assert_memory_equal(got, frame, size);
		}
	}
	assert_true(rig_drained(rig));
	assert_int_equal(rig_missing(rig), 0);
}

/* An IPv4 TCP super-frame in buffers of `pool`; the same bytes go to flat. */
static struct pkt_buf *make_super(struct mempool *pool, const struct ixy_mac *to, uint8_t *flat,
	uint32_t payload, uint16_t mss, struct virtio_net_hdr *vnet)
{
	static const uint8_t headers[54] = {[6] = 2,
		[11] = 9,
		[12] = 8,
		[14] = 0x45,
		[18] = 0xff,
		[19] = 0xfe,
		[20] = 0x40,
		[22] = 64,
		[23] = 6, /* IPv4 */
		[26] = 192,
		[28] = 2,
		[29] = 1,
		[30] = 192,
		[32] = 2,
		[33] = 2,
		[34] = 0x12,
		[35] = 0x34,
		[36] = 0x56,
		[37] = 0x78,
		[38] = 0xff,
		[39] = 0xff,
		[40] = 0xf0, /* TCP */
		[46] = 0x50,
		[47] = 0x18,
		[48] = 0x20};
	const uint32_t size = 54 + payload, piece = pool->data_size - 1; /* of odd length */
	struct pkt_buf *first = NULL;
	uint16_t sum;

	memcpy(flat, headers, sizeof(headers));
	memcpy(flat, to->addr, 6);
	for (uint32_t i = 54; i < size; i++)
		flat[i] = (uint8_t)(i * 13 + (i >> 8));
	flat[16] = (uint8_t)((size - 14) >> 8);
	flat[17] = (uint8_t)(size - 14);
	sum = checksum_fold(checksum_pseudo4(flat + 26, flat + 30, 6, size - 34));
	memcpy(flat + 50, &sum, 2);
	for (uint32_t at = 0; at < size; at += piece)
		chain_add(&first, pool, flat + at, size - at < piece ? size - at : piece);
	first->flags = PKT_TX_L4_CSUM | PKT_TX_TSO4;
	first->csum_start = 34;
	first->csum_offset = 16;
	first->gso_size = mss;
	first->header_size = 54;
	*vnet = (struct virtio_net_hdr){.flags = VIRTIO_NET_HDR_F_NEEDS_CSUM,
		.gso_type = VIRTIO_NET_HDR_GSO_TCPV4,
		.hdr_len = 54,
		.gso_size = mss,
		.csum_start = 34,
		.csum_offset = 16};
	return first;
}

/* What gso.c makes of the super-frame is what the peer must get. */
static void expect(void *context, const uint8_t *frame, size_t size)
{
	struct xdp_rig *rig = context;
	uint8_t got[JUMBO + 64];
	size_t n = rig_receive(rig, got, sizeof(got));

	if (n == 0) { /* the ring may be shorter than the super-frame */
		ixy_tx_batch(rig->dev, 0, NULL, 0);
		n = rig_receive(rig, got, sizeof(got));
	}
	if (n != size) /* only AF_XDP's way pads here as a NIC does */
		assert_int_equal(n, size < 60 ? 60 : size);
	assert_memory_equal(got, frame, size);
}

static void cut_and_compare(struct xdp_rig *rig, uint32_t payload, uint16_t mss)
{
	static uint8_t flat[70000];
	struct mempool *pool = ixy_mempool_create(rig->dev, 16, 14 * 1024);
	struct virtio_net_hdr vnet;
	struct pkt_buf *super;
	struct ixy_queue_stats before, after;
	uint32_t segments = (payload + mss - 1u) / mss;

	assert_non_null(pool);
	ixy_read_queue_stats(rig->dev, 0, &before);
	super = make_super(pool, &rig->mac, flat, payload, mss, &vnet);
	assert_int_equal(ixy_tx_batch(rig->dev, 0, &super, 1), 1);
	assert_int_equal(gso_segment(&vnet, flat, 54 + payload, expect, rig), segments);
	assert_true(rig_drained(rig));
	ixy_read_queue_stats(rig->dev, 0, &after);
	assert_int_equal(after.tx_frames - before.tx_frames, segments);
	assert_int_equal(after.tx_bytes - before.tx_bytes, payload + segments * 54);
	assert_int_equal(ixy_mempool_free(pool), 0);
}

static void super_frames_leave_as_the_segments_that_gso_makes(void **state)
{
	struct xdp_rig *rig = *state;

	rig_open(rig, "xdp:d0", NULL);
	for (unsigned way = 0; way < 2; way++) {
		cut_and_compare(rig, 64000, 1460);
		assert_int_equal(rig_queue(rig)->by_socket.busy, way == 0);
		cut_and_compare(rig, 1461, 1460);
		cut_and_compare(rig, 20001, 999);
		cut_and_compare(rig, 10, 3);
		cut_in_software(rig);
	}
}

static void a_super_frame_of_more_segments_than_the_ring_is_sent_in_turns(void **state)
{
	struct xdp_rig *rig = *state;
	const struct ixy_options options = {.tx_ring = 64};

	rig_open(rig, "xdp:d0", &options);
	cut_in_software(rig);
	cut_and_compare(rig, 60000, 200);
	cut_and_compare(rig, 64 * 200, 200);
}

static void a_full_ring_pushes_back_and_all_frames_leave_in_order(void **state)
{
	struct xdp_rig *rig = *state;
	const struct ixy_options options = {.tx_ring = 64};
	struct pkt_buf *bufs[200];
	struct mempool *pool;
	uint8_t want[100], got[2048];
	uint32_t sent = 0, refused = 0;
	int64_t end = clock_ms() + 5000;

	rig_open(rig, "xdp:d0", &options);
	pool = ixy_mempool_create(rig->dev, 200, 0);
	assert_int_equal(pkt_buf_alloc_batch(pool, bufs, 200), 200);
	for (uint32_t i = 0; i < 200; i++) {
		make_frame(bufs[i]->data, 100, &rig->mac, i);
		bufs[i]->size = bufs[i]->frame_size = 100;
	}
	while (sent < 200 && clock_ms() < end) {
		uint32_t n = ixy_tx_batch(rig->dev, 0, bufs + sent, 200 - sent);

		assert_true(n <= 64);
		refused += n < 200 - sent;
		sent += n;
		assert_true(ixy_tx_pending(rig->dev, 0) <= 64);
	}
	assert_int_equal(sent, 200);
	assert_true(refused > 0);
	for (uint32_t i = 0; i < 200; i++) {
		make_frame(want, sizeof(want), &rig->mac, i);
		assert_int_equal(rig_receive(rig, got, sizeof(got)), 100);
		assert_memory_equal(got, want, 100);
	}
	assert_true(rig_drained(rig));
	assert_int_equal(ixy_mempool_free(pool), 0);
}

static void what_cannot_be_sent_is_dropped_under_its_reason(void **state)
{
	struct xdp_rig *rig = *state;
	struct ixy_queue_stats stats;
	struct pkt_buf *bufs[6];
	struct mempool *pool;
	uint8_t got[2048];

	rig_open(rig, "xdp:d0", NULL);
	pool = ixy_mempool_create(rig->dev, 8, 0);
	assert_int_equal(pkt_buf_alloc_batch(pool, bufs, 6), 6);
	for (unsigned i = 0; i < 6; i++) {
		make_frame(bufs[i]->data, 1600, &rig->mac, i);
		bufs[i]->size = bufs[i]->frame_size = 100;
	}
	bufs[0]->size = bufs[0]->frame_size = 13;
	bufs[1]->size = bufs[1]->frame_size = 1519;
	bufs[2]->frame_size = 101; /* a chain that does not add up */
	bufs[3]->flags = PKT_TX_L4_CSUM;
	bufs[3]->csum_start = 99;
	bufs[4]->flags = PKT_TX_L4_CSUM | PKT_TX_TSO4; /* no TCP in it */
	bufs[4]->gso_size = 10;
	assert_int_equal(ixy_tx_batch(rig->dev, 0, bufs, 6), 6);
	assert_int_equal(rig_receive(rig, got, sizeof(got)), 100);
	assert_true(rig_drained(rig));
	ixy_read_queue_stats(rig->dev, 0, &stats);
	assert_int_equal(stats.drops[IXY_DROP_TX_TOO_SHORT], 1);
	assert_int_equal(stats.drops[IXY_DROP_TX_TOO_LONG], 1);
	assert_true(stats.drops[IXY_DROP_TX_BAD_OFFLOAD] >= 3);
	assert_int_equal(stats.tx_frames, 1);
	assert_int_equal(ixy_mempool_free(pool), 0);
}

/* --- super-frames by the kernel ---------------------------------------------------------------------- */

/* What the peer receives next, as it was on the wire: the kernel takes the outer VLAN tag out and tells of it. */
static size_t receive_with_tag(struct xdp_rig *rig, uint8_t *frame, size_t room)
{
	union {
		struct cmsghdr header;
		uint8_t bytes[CMSG_SPACE(sizeof(struct tpacket_auxdata))];
	} control;
	struct iovec iov = {frame, room - 4};
	struct msghdr message = {
		.msg_iov = &iov, .msg_iovlen = 1, .msg_control = &control, .msg_controllen = sizeof(control)};
	struct tpacket_auxdata auxdata = {0};
	ssize_t n = readable(rig->peer) ? recvmsg(rig->peer, &message, 0) : -1;

	if (n < 12)
		return 0;
	for (struct cmsghdr *c = CMSG_FIRSTHDR(&message); c; c = CMSG_NXTHDR(&message, c))
		if (c->cmsg_level == SOL_PACKET && c->cmsg_type == PACKET_AUXDATA)
			memcpy(&auxdata, CMSG_DATA(c), sizeof(auxdata));
	if (!(auxdata.tp_status & TP_STATUS_VLAN_VALID))
		return (size_t)n;
	memmove(frame + 16, frame + 12, (size_t)n - 12);
	book_put16(frame + 12, auxdata.tp_vlan_tpid);
	book_put16(frame + 14, auxdata.tp_vlan_tci);
	return (size_t)n + 4;
}

static struct pkt_buf *in_buffers(struct mempool *pool, const struct super_frame *f)
{
	return super_frame_chain(pool, f, f->header, pool->data_size - 2000);
}

static void assert_on_the_wire(struct xdp_rig *rig, const struct super_frame *f)
{
	static uint8_t want[2048], got[2048];

	for (unsigned i = 0; i < super_frame_segments(f); i++) {
		size_t size = super_frame_segment(f, i, want), n = receive_with_tag(rig, got, sizeof(got));

		assert_true(n >= size);
		if (n > size)
			assert_int_equal(n, 60);
		assert_memory_equal(got, want, size);
	}
}

/* Until it is taken. */
static void send_all(struct xdp_rig *rig, struct pkt_buf *frame)
{
	int64_t end = clock_ms() + 20000;

	while (ixy_tx_batch(rig->dev, 0, &frame, 1) == 0)
		assert_true(clock_ms() < end);
}

static void super_frames_of_every_kind_leave_as_the_book_has_them(void **state)
{
	struct xdp_rig *rig = *state;
	static struct super_frame f;
	struct ixy_queue_stats before, after;
	struct mempool *pool;
	unsigned by_socket = 0;
	int one = 1;

	assert_int_equal(setsockopt(rig->peer, SOL_PACKET, PACKET_AUXDATA, &one, sizeof(one)), 0);
	rig_open(rig, "xdp:d0", NULL);
	pool = ixy_mempool_create(rig->dev, 64, 8 * 1024);
	for (unsigned i = 0; i < 600; i++) {
		struct pkt_buf *frame;
		unsigned segments;

		do /* more frames than the ring has room for would go in turns, each when it is asked for again */
			super_frame_make(&f, i & 1 ? 60 : 1000, 1350);
		while ((segments = super_frame_segments(&f)) > 512);
		f.bytes[0] &= 0xFE;
		frame = in_buffers(pool, &f);
		if (dice(4) == 0) { /* what a sender got wrong, and gso.c never looked at */
			uint32_t at = f.vnet.csum_start + f.vnet.csum_offset;

			frame->data[at] ^= 0x55;
			frame->data[at + 1] |= 1;
			frame->data[f.l3 + (f.ipv6 ? 4 : 2)] ^= 0x11;
		}
		ixy_read_queue_stats(rig->dev, 0, &before);
		send_all(rig, frame);
		by_socket += rig_queue(rig)->by_socket.busy;
		assert_on_the_wire(rig, &f);
		assert_true(rig_drained(rig));
		ixy_read_queue_stats(rig->dev, 0, &after);
		assert_int_equal(after.tx_frames - before.tx_frames, segments);
		assert_int_equal(after.tx_bytes - before.tx_bytes, f.size + (segments - 1) * f.header);
		assert_int_equal(pool->free_count, 64);
	}
	assert_in_range(by_socket, 300, 599); /* short ones, and UDP of too many segments, go the other way */
	assert_int_equal(xdp_device(rig->dev)->super_refused, 0);
	assert_int_equal(ixy_mempool_free(pool), 0);
}

static struct pkt_buf *numbered(struct mempool *pool, const struct ixy_mac *to, uint32_t number)
{
	struct pkt_buf *buf = pkt_buf_alloc(pool);

	assert_non_null(buf);
	make_frame(buf->data, 200, to, number);
	buf->size = buf->frame_size = 200;
	return buf;
}

/*
 * Ordinary frames and super-frames in turns, in batches of any length: none is lost, doubled or overtaken.
 */
static void no_frame_overtakes(struct xdp_rig *rig, unsigned rounds)
{
	static struct super_frame f[8];
	static uint8_t want[2048], got[2048];
	struct mempool *pool = ixy_mempool_create(rig->dev, 256, 16 * 1024);
	int64_t end = clock_ms() + 60000;
	uint32_t number = 0;

	for (unsigned i = 0; i < 8; i++) {
		do
			super_frame_make(&f[i], 1200, 1350);
		while (f[i].l3 != 14 || super_frame_segments(&f[i]) < 2);
		f[i].bytes[0] &= 0xFE;
	}
	for (unsigned round = 0; round < rounds; round++) {
		struct pkt_buf *bufs[24];
		bool super[24];
		uint32_t count = 1 + dice(24), sent = 0;

		for (uint32_t i = 0; i < count; i++) {
			super[i] = dice(3) == 0;
			bufs[i] = super[i] ? in_buffers(pool, &f[(number + i) % 8])
					   : numbered(pool, &rig->mac, number + i);
		}
		while (sent < count) {
			uint32_t n = ixy_tx_batch(rig->dev, 0, bufs + sent, count - sent);

			assert_true(clock_ms() < end);
			sent += n;
		}
		for (uint32_t i = 0; i < count; i++, number++) {
			if (super[i]) {
				assert_on_the_wire(rig, &f[number % 8]);
				continue;
			}
			make_frame(want, 200, &rig->mac, number);
			assert_int_equal(rig_receive(rig, got, sizeof(got)), 200);
			assert_memory_equal(got, want, 200);
		}
	}
	assert_true(rig_drained(rig));
	assert_int_equal(pool->free_count, 256);
	assert_int_equal(ixy_mempool_free(pool), 0);
}

static void frames_stay_in_order_across_both_ways_out(void **state)
{
	struct xdp_rig *rig = *state;

	rig_open(rig, "xdp:d0", NULL);
	no_frame_overtakes(rig, 200);
}

/* In the qdisc up to 1 MB wait, past which AF_XDP goes. */
static void frames_stay_in_order_when_the_kernel_queues_them(void **state)
{
	struct xdp_rig *rig = *state;

	assert_true(shell("tc qdisc add dev d0 root tbf rate 400mbit burst 100kb limit 1mb"));
	rig_open(rig, "xdp:d0", NULL);
	no_frame_overtakes(rig, 50);
}

static void a_full_qdisc_pushes_back_and_nothing_is_lost(void **state)
{
	static struct super_frame f;
	struct xdp_rig *rig = *state;
	struct ixy_queue_stats stats;
	struct mempool *pool;
	unsigned pushed_back = 0;

	assert_true(shell("tc qdisc add dev d0 root tbf rate 100mbit burst 100kb limit 100kb"));
	rig_open(rig, "xdp:d0", NULL);
	assert_true(xdp_device(rig->dev)->netif->has_qdisc);
	pool = ixy_mempool_create(rig->dev, 128, 16 * 1024);
	do
		super_frame_make(&f, 1300, 1350);
	while (f.l3 != 14 || f.size < 20000);
	f.bytes[0] &= 0xFE;
	for (unsigned i = 0; i < 16; i++) {
		struct pkt_buf *frame = in_buffers(pool, &f);
		int64_t end = clock_ms() + 10000;

		while (ixy_tx_batch(rig->dev, 0, &frame, 1) == 0) {
			assert_true(clock_ms() < end);
			pushed_back++;
		}
		assert_int_equal(pool->free_count, 128); /* its bytes are the kernel's, its buffers are not */
	}
	assert_true(pushed_back > 0);
	for (unsigned i = 0; i < 16; i++)
		assert_on_the_wire(rig, &f);
	ixy_read_queue_stats(rig->dev, 0, &stats);
	assert_int_equal(stats.tx_frames, 16 * super_frame_segments(&f));
	assert_int_equal(stats.drops[IXY_DROP_TX_RING_FULL], 0);
	assert_int_equal(ixy_mempool_free(pool), 0);
}

static unsigned logged;

static void count_log(enum ixy_log_level level, const char *text)
{
	(void)level;
	logged += strstr(text, "does not segment TCP over IPv4") != NULL;
}

/* A socket that takes no super-frames stands in for an interface or a kernel that does not. */
static void what_the_kernel_refuses_is_cut_in_software(void **state)
{
	struct xdp_rig *rig = *state;
	struct sockaddr_ll address = {.sll_family = AF_PACKET, .sll_ifindex = (int)if_nametoindex("d0")};
	int fd = socket(AF_PACKET, SOCK_RAW | SOCK_CLOEXEC, 0);

	rig_open(rig, "xdp:d0", NULL);
	assert_int_equal(bind(fd, (struct sockaddr *)&address, sizeof(address)), 0);
	assert_true(dup2(fd, rig_queue(rig)->by_socket.fd) >= 0);
	close(fd);
	logged = 0;
	ixy_set_log(count_log);
	cut_and_compare(rig, 64000, 1460);
	cut_and_compare(rig, 30000, 1460);
	ixy_set_log(NULL);
	assert_int_equal(logged, 1);
	assert_int_equal(xdp_device(rig->dev)->super_refused, 1u << VIRTIO_NET_HDR_GSO_TCPV4);
}

static void super_frames_survive_an_interface_that_goes_down_and_up(void **state)
{
	struct xdp_rig *rig = *state;
	static uint8_t flat[70000];
	struct mempool *pool;
	struct ixy_queue_stats stats;
	struct virtio_net_hdr vnet;
	struct pkt_buf *super;

	rig_open(rig, "xdp:d0", NULL);
	pool = ixy_mempool_create(rig->dev, 16, 14 * 1024);
	assert_true(shell("ip link set d0 down"));
	super = make_super(pool, &rig->mac, flat, 14600, 1460, &vnet);
	assert_int_equal(ixy_tx_batch(rig->dev, 0, &super, 1), 1);
	ixy_read_queue_stats(rig->dev, 0, &stats);
	assert_int_equal(stats.drops[IXY_DROP_TX_LINK_DOWN], 10);
	assert_int_equal(stats.tx_frames, 0);
	assert_int_equal(pool->free_count, 16);
	assert_int_equal(ixy_mempool_free(pool), 0);
	assert_true(shell("ip link set d0 up"));
	cut_and_compare(rig, 64000, 1460);
	assert_true(rig_queue(rig)->by_socket.busy);
}

static void the_packet_socket_receives_nothing(void **state)
{
	struct xdp_rig *rig = *state;
	uint8_t frame[100];
	struct pkt_buf *buf;

	rig_open(rig, "xdp:d0", NULL);
	make_frame(frame, sizeof(frame), &rig->mac, 1);
	rig_send(rig, frame, sizeof(frame));
	buf = rig_take(rig);
	assert_non_null(buf);
	pkt_buf_free(buf);
	assert_int_equal(recv(rig_queue(rig)->by_socket.fd, frame, sizeof(frame), MSG_DONTWAIT), -1);
	assert_int_equal(errno, EAGAIN);
}

/* --- jumbo frames ------------------------------------------------------------------------------------ */

static void jumbo_frames_pass_in_several_buffers(void **state)
{
	struct xdp_rig *rig = *state;
	static uint8_t want[JUMBO], got[JUMBO + 64];
	const uint16_t opened_with[] = {9000, 1500}; /* chunks of 4096 bytes, and of 2048 */

	for (size_t i = 0; i < 2; i++) {
		const struct ixy_options options = {.mtu = opened_with[i]};

		assert_true(shell("ip link set p0 mtu 9000"));
		rig_open(rig, "xdp:d0", &options);
		assert_int_equal(ixy_mtu_set(rig->dev, 9000), 0);
		for (uint32_t size = 1700; size <= JUMBO; size += 61) {
			struct pkt_buf *buf;

			make_frame(want, size, &rig->mac, size);
			rig_send(rig, want, size);
			buf = rig_take(rig);
			assert_non_null(buf);
			assert_int_equal(flatten(buf, got, sizeof(got)), size);
			assert_memory_equal(got, want, size);
			assert_int_equal(ixy_tx_batch(rig->dev, 0, &buf, 1), 1);
			assert_int_equal(rig_receive(rig, got, sizeof(got)), size);
			assert_memory_equal(got, want, size);
		}
		cut_and_compare(rig, 60000, 8960);
		assert_true(rig_drained(rig));
		assert_int_equal(rig_missing(rig), 0);
		ixy_close(rig->dev);
		rig->dev = NULL;
	}
}

/* --- checksums --------------------------------------------------------------------------------------- */

/* An IP frame with a UDP or TCP payload of this many bytes, its checksum complete. Returns its size. */
static uint32_t make_ip(
	uint8_t *frame, const struct ixy_mac *to, bool ipv6, uint8_t protocol, bool vlan, uint32_t payload)
{
	uint32_t l3 = vlan ? 18 : 14, l4 = l3 + (ipv6 ? 40 : 20), header = protocol == 6 ? 20 : 8;
	uint32_t field = l4 + (protocol == 6 ? 16 : 6), l4_size = header + payload;
	uint64_t pseudo;
	uint16_t sum;

	memset(frame, 0, l4 + header);
	memcpy(frame, to->addr, 6);
	frame[6] = 2;
	if (vlan)
		memcpy(frame + 12, (const uint8_t[]){0x81, 0, 0, 100}, 4);
	memcpy(frame + l3 - 2, ipv6 ? "\x86\xdd" : "\x08\x00", 2);
	for (uint32_t i = 0; i < payload; i++)
		frame[l4 + header + i] = (uint8_t)(i * 11 + 3);
	if (ipv6) {
		frame[l3] = 0x60;
		frame[l3 + 4] = (uint8_t)(l4_size >> 8);
		frame[l3 + 5] = (uint8_t)l4_size;
		frame[l3 + 6] = protocol;
		frame[l3 + 8] = 0xfd;
		frame[l3 + 24] = 0xfd;
		pseudo = checksum_pseudo6(frame + l3 + 8, frame + l3 + 24, protocol, l4_size);
	} else {
		memcpy(frame + l3,
			(const uint8_t[]){0x45, 0, (uint8_t)((20 + l4_size) >> 8), (uint8_t)(20 + l4_size)},
			4);
		frame[l3 + 8] = 64;
		frame[l3 + 9] = protocol;
		memcpy(frame + l3 + 12, (const uint8_t[]){192, 0, 2, 1, 192, 0, 2, 2}, 8);
		sum = checksum_finish(checksum_add(0, frame + l3, 20));
		memcpy(frame + l3 + 10, &sum, 2);
		pseudo = checksum_pseudo4(frame + l3 + 12, frame + l3 + 16, protocol, l4_size);
	}
	frame[l4] = 0x12;
	if (protocol == 6)
		frame[l4 + 12] = 0x50;
	else
		memcpy(frame + l4 + 4, (const uint8_t[]){(uint8_t)(l4_size >> 8), (uint8_t)l4_size}, 2);
	sum = checksum_finish(checksum_add(pseudo, frame + l4, l4_size));
	memcpy(frame + field, &sum, 2);
	return l4 + l4_size;
}

static void checksums_are_judged_as_a_nic_would(void **state)
{
	struct xdp_rig *rig = *state;
	uint8_t frame[1600], got[2048];

	rig_open(rig, "xdp:d0", NULL);
	for (unsigned kind = 0; kind < 8; kind++) {
		bool ipv6 = kind & 1, vlan = kind & 4;
		uint8_t protocol = kind & 2 ? 6 : 17;
		uint16_t ip = ipv6 ? 0 : PKT_RX_IP_CSUM_GOOD;

		for (uint32_t payload = 20; payload < 1400; payload += 97) {
			uint32_t size = make_ip(frame, &rig->mac, ipv6, protocol, vlan, payload);
			uint32_t l4 = (vlan ? 18u : 14u) + (ipv6 ? 40u : 20u);
			uint32_t field = l4 + (protocol == 6 ? 16u : 6u);
			uint16_t good, pseudo;
			struct pkt_buf *buf;

			memcpy(&good, frame + field, 2);
			rig_send(rig, frame, size);
			buf = rig_take(rig);
			assert_int_equal(buf->flags, ip | PKT_RX_L4_CSUM_GOOD);
			pkt_buf_free(buf);

			frame[size - 1] ^= 0x40;
			rig_send(rig, frame, size);
			buf = rig_take(rig);
			assert_int_equal(buf->flags, ip | PKT_RX_L4_CSUM_BAD);
			pkt_buf_free(buf);
			frame[size - 1] ^= 0x40;

			/* Only the pseudo-header's sum: yet to be completed, and so it is on its way out. */
			pseudo = ipv6 ? checksum_fold(checksum_pseudo6(
						frame + l4 - 32, frame + l4 - 16, protocol, size - l4))
				      : checksum_fold(checksum_pseudo4(
						frame + l4 - 8, frame + l4 - 4, protocol, size - l4));
			memcpy(frame + field, &pseudo, 2);
			rig_send(rig, frame, size);
			buf = rig_take(rig);
			assert_int_equal(buf->flags, ip | PKT_TX_L4_CSUM);
			assert_int_equal(buf->csum_start, l4);
			assert_int_equal(buf->csum_offset, field - l4);
			assert_int_equal(ixy_tx_batch(rig->dev, 0, &buf, 1), 1);
			assert_true(rig_receive(rig, got, sizeof(got)) >= size - (vlan ? 4 : 0));
			/* The packet socket has taken the VLAN tag out. */
			assert_memory_equal(got + field - (vlan ? 4 : 0), &good, 2);
		}
	}
	assert_true(rig_drained(rig));
	assert_int_equal(rig_missing(rig), 0);
}

static void what_has_no_checksum_to_judge_is_not_judged(void **state)
{
	struct xdp_rig *rig = *state;
	uint8_t frame[1600];
	uint32_t size;
	struct pkt_buf *buf;

	rig_open(rig, "xdp:d0", NULL);
	size = make_ip(frame, &rig->mac, false, 17, false, 100);
	memset(frame + 40, 0, 2); /* UDP without */
	rig_send(rig, frame, size);
	buf = rig_take(rig);
	assert_int_equal(buf->flags, PKT_RX_IP_CSUM_GOOD);
	pkt_buf_free(buf);
	frame[24] ^= 1; /* the IP header's own is wrong: nothing behind it is believed */
	rig_send(rig, frame, size);
	buf = rig_take(rig);
	assert_int_equal(buf->flags, 0);
	pkt_buf_free(buf);
	/* Every length cut, and every length that lies: no more than a look. */
	for (uint32_t cut = 14; cut < 60; cut++) {
		size = make_ip(frame, &rig->mac, cut & 1, cut & 2 ? 6 : 17, cut & 4, 100);
		rig_send(rig, frame, cut);
		buf = rig_take(rig);
		assert_non_null(buf);
		assert_int_equal(buf->flags & (PKT_RX_L4_CSUM_GOOD | PKT_TX_L4_CSUM), 0);
		pkt_buf_free(buf);
		frame[16] ^= 0x40;
		rig_send(rig, frame, size);
		pkt_buf_free(rig_take(rig));
	}
	assert_int_equal(rig_missing(rig), 0);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, wire_setup, rig_teardown)
	const struct CMUnitTest tests[] = {
		TEST(frames_from_other_pools_are_copied_and_given_back),
		TEST(received_buffers_are_sent_on_as_they_are),
		TEST(super_frames_leave_as_the_segments_that_gso_makes),
		TEST(a_super_frame_of_more_segments_than_the_ring_is_sent_in_turns),
		TEST(a_full_ring_pushes_back_and_all_frames_leave_in_order),
		TEST(what_cannot_be_sent_is_dropped_under_its_reason),
		TEST(super_frames_of_every_kind_leave_as_the_book_has_them),
		TEST(frames_stay_in_order_across_both_ways_out),
		TEST(frames_stay_in_order_when_the_kernel_queues_them),
		TEST(a_full_qdisc_pushes_back_and_nothing_is_lost),
		TEST(what_the_kernel_refuses_is_cut_in_software),
		TEST(super_frames_survive_an_interface_that_goes_down_and_up),
		TEST(the_packet_socket_receives_nothing),
		TEST(jumbo_frames_pass_in_several_buffers),
		TEST(checksums_are_judged_as_a_nic_would),
		TEST(what_has_no_checksum_to_judge_is_not_judged),
	};

	if (!own_netns()) {
		puts("xdp: sending: skipped: network namespaces need root");
		return 0;
	}
	return cmocka_run_group_tests_name("xdp: sending", tests, NULL, NULL);
}
