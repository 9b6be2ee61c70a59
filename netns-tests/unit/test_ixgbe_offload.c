/* The 82599 driver: checksums and segmentation by context descriptors. */
#include "ixgbe_rig.h"
#include "driver/checksum.h"
#include "driver/gso.h"

#define TCP_HEADER 32 /* with options */

/*
 * A TCP frame as the kernel hands it over for offload: lengths filled in, the checksum field holds the
 * pseudo-header sum with the length. Payload bytes count up. Returns the size of the headers.
 */
static size_t make_tcp(uint8_t *f, bool v6, bool vlan, size_t payload)
{
	size_t l3 = vlan ? 18 : 14, l4 = l3 + (v6 ? 40 : 20), l4_size = TCP_HEADER + payload;
	uint16_t sum;

	memset(f, 0, l4 + TCP_HEADER);
	memcpy(f, peer_mac, 6);
	memcpy(f + 6, nic_mac, 6);
	if (vlan)
		memcpy(f + 12, (uint8_t[]){0x81, 0, 0, 42}, 4);
	memcpy(f + l3 - 2, v6 ? (uint8_t[]){0x86, 0xdd} : (uint8_t[]){8, 0}, 2);
	if (v6) {
		f[l3] = 0x60;
		f[l3 + 4] = (uint8_t)(l4_size >> 8);
		f[l3 + 5] = (uint8_t)l4_size;
		f[l3 + 6] = 6;
		f[l3 + 7] = 64;
		f[l3 + 23] = 1;
		f[l3 + 39] = 2;
		sum = checksum_fold(checksum_pseudo6(f + l3 + 8, f + l3 + 24, 6, (uint32_t)l4_size));
	} else {
		f[l3] = 0x45;
		f[l3 + 2] = (uint8_t)((l4_size + 20) >> 8);
		f[l3 + 3] = (uint8_t)(l4_size + 20);
		f[l3 + 4] = 0x12;
		f[l3 + 5] = 0xfe;
		f[l3 + 8] = 64;
		f[l3 + 9] = 6;
		memcpy(f + l3 + 12, (uint8_t[]){10, 0, 0, 1, 10, 0, 0, 2}, 8);
		sum = checksum_finish(checksum_add(0, f + l3, 20));
		memcpy(f + l3 + 10, &sum, 2);
		sum = checksum_fold(checksum_pseudo4(f + l3 + 12, f + l3 + 16, 6, (uint32_t)l4_size));
	}
	memcpy(f + l4, (uint8_t[]){0x30, 0x39, 0, 80, 0xff, 0xff, 0xff, 0x00},
		8); /* the sequence number wraps */
	f[l4 + 12] = TCP_HEADER / 4 << 4;
	f[l4 + 13] = 0x19; /* ACK PSH FIN */
	memcpy(f + l4 + 16, &sum, 2);
	memcpy(f + l4 + 20, (uint8_t[]){1, 1, 8, 10, 1, 2, 3, 4, 5, 6, 7, 8}, 12);
	for (size_t i = 0; i < payload; i++)
		f[l4 + TCP_HEADER + i] = (uint8_t)(i * 7 + i / 256);
	return l4 + TCP_HEADER;
}

static struct pkt_buf *offload_frame(
	struct rig *rig, bool v6, bool vlan, size_t payload, uint16_t flags, uint16_t mss, size_t *headers)
{
	static uint8_t bytes[70000];
	struct pkt_buf *frame;

	*headers = make_tcp(bytes, v6, vlan, payload);
	frame = chain_of(rig->pool, bytes, *headers + payload);
	frame->flags = flags;
	frame->csum_start = (uint16_t)(*headers - TCP_HEADER);
	frame->csum_offset = 16;
	frame->gso_size = mss;
	frame->header_size = (uint16_t)*headers;
	return frame;
}

/* Every frame on the wire is whole: IP length, IP checksum, TCP checksum; payloads make up the sent bytes. */
static void assert_segments(const struct rig *rig, bool v6, bool vlan, size_t payload, size_t mss)
{
	size_t l3 = vlan ? 18 : 14, l4 = l3 + (v6 ? 40 : 20), at = 0;

	assert_int_equal(rig->wire.count, (payload + mss - 1) / mss);
	for (size_t i = 0; i < rig->wire.count; i++) {
		const uint8_t *f = rig->wire.frames[i];
		size_t n = payload - at < mss ? payload - at : mss, l4_size = TCP_HEADER + n;
		bool last = i == rig->wire.count - 1;
		uint32_t seq = (uint32_t)f[l4 + 4] << 24 | (uint32_t)f[l4 + 5] << 16 |
			       (uint32_t)f[l4 + 6] << 8 | f[l4 + 7];
		uint64_t pseudo;

		assert_int_equal(rig->wire.sizes[i], l4 + l4_size);
		if (v6) {
			assert_int_equal(f[l3 + 4] << 8 | f[l3 + 5], l4_size);
			pseudo = checksum_pseudo6(f + l3 + 8, f + l3 + 24, 6, (uint32_t)l4_size);
		} else {
			assert_int_equal(f[l3 + 2] << 8 | f[l3 + 3], l4_size + 20);
			assert_int_equal((uint16_t)(f[l3 + 4] << 8 | f[l3 + 5]), (uint16_t)(0x12fe + i));
			assert_int_equal(checksum_finish(checksum_add(0, f + l3, 20)), 0);
			pseudo = checksum_pseudo4(f + l3 + 12, f + l3 + 16, 6, (uint32_t)l4_size);
		}
		assert_int_equal(checksum_finish(checksum_add(pseudo, f + l4, l4_size)), 0);
		assert_int_equal(seq, (uint32_t)(0xffffff00 + at));
		assert_int_equal(f[l4 + 13], last ? 0x19 : 0x10);
		for (size_t j = 0; j < n; j++, at++)
			assert_int_equal(f[l4 + TCP_HEADER + j], (uint8_t)(at * 7 + at / 256));
	}
	assert_int_equal(at, payload);
}

static void a_partial_checksum_is_completed_by_the_nic(void **state)
{
	struct rig rig;
	size_t headers;
	(void)state;

	open_with(&rig, defaults());
	for (unsigned i = 0; i < 4; i++) {
		struct pkt_buf *frame = offload_frame(&rig, i & 1, i & 2, 999, PKT_TX_L4_CSUM, 0, &headers);

		assert_int_equal(ixy_tx_batch(rig.dev, 0, &frame, 1), 1);
		step(&rig);
		/* One segment: the IPv4 id stays, flags stay. */
		assert_segments(&rig, i & 1, i & 2, 999, 1000);
		forget(&rig.wire);
	}
	ixy_tx_batch(rig.dev, 0, NULL, 0);
	close_rig(&rig);
}

static void a_super_frame_is_cut_by_the_nic(void **state)
{
	static const size_t payloads[] = {1, 1000, 1001, 5000, 60000};
	struct rig rig;
	size_t headers;
	(void)state;

	open_with(&rig, defaults());
	for (unsigned i = 0; i < 4; i++) {
		for (unsigned j = 0; j < 5; j++) {
			bool v6 = i & 1, vlan = i & 2;
			struct pkt_buf *frame = offload_frame(
				&rig, v6, vlan, payloads[j], v6 ? PKT_TX_TSO6 : PKT_TX_TSO4, 1000, &headers);

			assert_int_equal(ixy_tx_batch(rig.dev, 0, &frame, 1), 1);
			step(&rig);
			assert_segments(&rig, v6, vlan, payloads[j], 1000);
			forget(&rig.wire);
			ixy_tx_batch(rig.dev, 0, NULL, 0);
		}
	}
	close_rig(&rig);
}

/* The same for UDP: what the kernel hands over for PKT_TX_USO. Whole frames come back from the wire. */
static void a_udp_super_frame_is_cut_by_the_nic(void **state)
{
	static const size_t payloads[] = {1, 1000, 1001, 1999};
	struct rig rig;
	(void)state;

	open_with(&rig, defaults());
	for (unsigned i = 0; i < 8; i++) {
		struct pkt_buf *frame = pkt_buf_alloc(rig.pool);
		bool v6 = i & 1;
		size_t l4 = v6 ? 54 : 34, payload = payloads[i / 2], at = 0;
		uint8_t *f = frame->data;
		uint16_t sum;

		make_tcp(f, v6, false, 0);
		f[v6 ? 20 : 23] = 17;
		f[v6 ? 18 : 16] = (uint8_t)((8 + payload + (v6 ? 0 : 20)) >> 8);
		f[v6 ? 19 : 17] = (uint8_t)(8 + payload + (v6 ? 0 : 20));
		if (v6) {
			sum = checksum_fold(checksum_pseudo6(f + 22, f + 38, 17, (uint32_t)(8 + payload)));
		} else {
			memset(f + 24, 0, 2);
			sum = checksum_finish(checksum_add(0, f + 14, 20));
			memcpy(f + 24, &sum, 2);
			sum = checksum_fold(checksum_pseudo4(f + 26, f + 30, 17, (uint32_t)(8 + payload)));
		}
		f[l4 + 4] = (uint8_t)((8 + payload) >> 8);
		f[l4 + 5] = (uint8_t)(8 + payload);
		memcpy(f + l4 + 6, &sum, 2);
		for (size_t j = 0; j < payload; j++)
			f[l4 + 8 + j] = (uint8_t)(j * 7 + j / 256);
		frame->size = frame->frame_size = (uint32_t)(l4 + 8 + payload);
		frame->flags = PKT_TX_L4_CSUM | PKT_TX_USO;
		frame->csum_start = (uint16_t)l4;
		frame->csum_offset = 6;
		frame->gso_size = 400;
		frame->header_size = (uint16_t)(l4 + 8);
		assert_int_equal(ixy_tx_batch(rig.dev, 0, &frame, 1), 1);
		step(&rig);
		assert_int_equal(rig.wire.count, (payload + 399) / 400);
		for (size_t k = 0; k < rig.wire.count; k++) {
			const uint8_t *w = rig.wire.frames[k];
			size_t n = payload - at < 400 ? payload - at : 400;
			uint64_t pseudo = v6 ? checksum_pseudo6(w + 22, w + 38, 17, (uint32_t)(8 + n))
					     : checksum_pseudo4(w + 26, w + 30, 17, (uint32_t)(8 + n));

			assert_true(rig.wire.sizes[k] == l4 + 8 + n || rig.wire.sizes[k] == 60);
			assert_int_equal(w[l4 + 4] << 8 | w[l4 + 5], 8 + n);
			assert_int_equal(checksum_finish(checksum_add(pseudo, w + l4, 8 + n)), 0);
			if (!v6)
				assert_int_equal(checksum_finish(checksum_add(0, w + 14, 20)), 0);
			for (size_t j = 0; j < n; j++, at++)
				assert_int_equal(w[l4 + 8 + j], (uint8_t)(at * 7 + at / 256));
		}
		assert_int_equal(at, payload);
		forget(&rig.wire);
		ixy_tx_batch(rig.dev, 0, NULL, 0);
	}
	close_rig(&rig);
}

static void one_flow_needs_one_context(void **state)
{
	struct rig rig;
	size_t headers;
	uint32_t first;
	(void)state;

	open_with(&rig, defaults());
	for (unsigned i = 0; i < 5; i++) {
		struct pkt_buf *frame = offload_frame(&rig, false, false, 500, PKT_TX_L4_CSUM, 0, &headers);

		assert_int_equal(ixy_tx_batch(rig.dev, 0, &frame, 1), 1);
	}
	first = ixy_tx_pending(rig.dev, 0);
	assert_int_equal(first, 5 + 1);
	step(&rig);
	assert_int_equal(rig.wire.count, 5);
	close_rig(&rig);
}

/* --- contexts that are held, and those that are not ------------------------------------------------------ */

/* Is the L4 checksum of this frame right? *l4 is where that header begins. */
static bool l4_sum_right(const uint8_t *f, size_t *l4)
{
	size_t l3 = f[12] == 0x81 ? 18 : 14;
	bool v6 = f[l3 - 2] == 0x86;
	uint32_t size = (uint32_t)(f[l3 + (v6 ? 4 : 2)] << 8 | f[l3 + (v6 ? 5 : 3)]) - (v6 ? 0 : 20);
	uint64_t pseudo = v6 ? checksum_pseudo6(f + l3 + 8, f + l3 + 24, f[l3 + 6], size)
			     : checksum_pseudo4(f + l3 + 12, f + l3 + 16, f[l3 + 9], size);

	*l4 = l3 + (v6 ? 40 : 20);
	return checksum_finish(checksum_add(pseudo, f + *l4, size)) == 0;
}

static void super_frames_and_acknowledgements_of_a_flow_need_one_context_each(void **state)
{
	struct rig rig;
	size_t headers, l4;
	(void)state;

	open_with(&rig, defaults());
	for (unsigned i = 0; i < 5; i++) {
		struct pkt_buf *frames[2] = {
			offload_frame(&rig, false, false, 1500, PKT_TX_TSO4, 1000, &headers),
			offload_frame(&rig, false, false, 0, PKT_TX_L4_CSUM, 0, &headers),
		};

		assert_int_equal(ixy_tx_batch(rig.dev, 0, frames, 2), 2);
	}
	assert_int_equal(ixy_tx_pending(rig.dev, 0), 2 * 5 + 2);
	step(&rig);
	assert_int_equal(rig.wire.count, 3 * 5);
	for (size_t i = 0; i < rig.wire.count; i++)
		assert_true(l4_sum_right(rig.wire.frames[i], &l4));
	ixy_tx_batch(rig.dev, 0, NULL, 0);
	close_rig(&rig);
}

enum kind {
	PLAIN,
	TCP4,
	TCP6,
	TCP4_TAGGED,
	UDP4,
	OTHER_POOL,
	IN_TWO_BUFFERS,
	LONGEST,
	GOOD_KINDS, /* those above are sent, those below dropped */
	TOO_LONG = GOOD_KINDS,
	FIELD_BEHIND_THE_END,
	HIDDEN_SEGMENT,
	NOT_IP,
	KINDS
};

/* A frame of this kind that wants a checksum, with number where TCP acknowledges, UDP has data. */
static struct pkt_buf *frame_of_kind(struct rig *rig, enum kind kind, struct mempool *other, uint8_t number)
{
	struct mempool *pool = rig->pool;
	size_t headers, payload = kind == LONGEST ? 1518 - 66 : kind == TOO_LONG ? 1519 - 66 : 40;
	struct pkt_buf *frame;

	rig->pool = kind == OTHER_POOL ? other : pool;
	frame = offload_frame(rig, kind == TCP6, kind == TCP4_TAGGED, payload, PKT_TX_L4_CSUM, 0, &headers);
	rig->pool = pool;
	frame->data[frame->csum_start + 11] = number;
	switch (kind) {
	case PLAIN: frame->flags = 0; break;
	case UDP4: {
		uint8_t *udp = frame->data + 34;
		uint32_t size = frame->size - 34;
		uint16_t sum = checksum_fold(checksum_pseudo4(frame->data + 26, frame->data + 30, 17, size));

		frame->data[23] = 17;
		udp[4] = 0;
		udp[5] = (uint8_t)size;
		memcpy(udp + 6, &sum, 2);
		frame->csum_offset = 6;
		break;
	}
	case IN_TWO_BUFFERS:
		frame->next = pkt_buf_alloc(pool);
		memcpy(frame->next->data, frame->data + headers, payload);
		frame->next->size = (uint32_t)payload;
		frame->size = (uint32_t)headers;
		frame->segments = 2;
		break;
	case FIELD_BEHIND_THE_END: frame->size = frame->frame_size = frame->csum_start + 17u; break;
	case HIDDEN_SEGMENT: frame->next = pkt_buf_alloc(pool); break;
	case NOT_IP: frame->data[13] = 0x42; break;
	default: break;
	}
	return frame;
}

/* Whatever context the NIC holds from the frame before, each leaves as it should, and in its place. */
static void frames_that_want_checksums_of_all_kinds_leave_in_order(void **state)
{
	struct rig rig;
	struct mempool *other;
	unsigned seed = 1;
	enum kind kind = TCP4;
	(void)state;

	open_with(&rig, defaults());
	other = ixy_mempool_create(rig.dev, 64, 0);
	assert_non_null(other);
	for (unsigned round = 0; round < 150; round++) {
		struct pkt_buf *frames[20];
		enum kind kinds[20];
		size_t on_wire = 0;
		uint64_t bad = drops(&rig, IXY_DROP_TX_BAD_OFFLOAD), bad_now = 0;

		for (uint8_t i = 0; i < 20; i++) {
			if (rand_r(&seed) % 2) /* some come in rows */
				kind = (enum kind)(rand_r(&seed) % KINDS);
			frames[i] = frame_of_kind(&rig, kind, other, i);
			kinds[i] = kind;
			bad_now += kind > TOO_LONG;
		}
		assert_int_equal(ixy_tx_batch(rig.dev, 0, frames, 20), 20);
		step(&rig);
		ixy_tx_batch(rig.dev, 0, NULL, 0);
		for (uint8_t i = 0; i < 20; i++) {
			const uint8_t *f = rig.wire.frames[on_wire];
			size_t l4;
			bool right;

			if (kinds[i] >= GOOD_KINDS)
				continue;
			assert_in_range(on_wire, 0, rig.wire.count - 1);
			right = l4_sum_right(f, &l4);
			assert_int_equal(f[l4 + 11], i);
			assert_int_equal(right, kinds[i] != PLAIN);
			on_wire++;
		}
		assert_int_equal(rig.wire.count, on_wire);
		assert_int_equal(drops(&rig, IXY_DROP_TX_BAD_OFFLOAD), bad + bad_now);
		assert_int_equal(ixy_tx_pending(rig.dev, 0), 0);
		assert_int_equal(rig.pool->free_count, rig.pool->buf_count);
		assert_int_equal(other->free_count, other->buf_count);
		forget(&rig.wire);
	}
	assert_int_equal(ixy_mempool_free(other), 0);
	close_rig(&rig);
}

static void a_full_ring_takes_no_more_of_what_wants_checksums(void **state)
{
	struct pkt_buf *frames[100];
	struct rig rig;
	size_t headers;
	(void)state;

	open_with(&rig, defaults());
	for (unsigned i = 0; i < 100; i++)
		frames[i] = offload_frame(&rig, false, false, 0, PKT_TX_L4_CSUM, 0, &headers);
	assert_int_equal(ixy_tx_batch(rig.dev, 0, frames, 100), 63 - 1);
	assert_int_equal(ixy_tx_batch(rig.dev, 0, frames + 62, 38), 0);
	step(&rig);
	assert_int_equal(ixy_tx_batch(rig.dev, 0, frames + 62, 38), 38);
	step(&rig);
	assert_int_equal(rig.wire.count, 100);
	ixy_tx_batch(rig.dev, 0, NULL, 0);
	close_rig(&rig);
}

static void a_reset_forgets_contexts_and_a_lost_link_sends_nothing(void **state)
{
	struct pkt_buf *frame;
	struct rig rig;
	size_t headers, l4;
	(void)state;

	open_with(&rig, defaults());
	for (unsigned i = 0; i < 2; i++) {
		frame = offload_frame(&rig, false, false, 0, PKT_TX_L4_CSUM, 0, &headers);
		assert_int_equal(ixy_tx_batch(rig.dev, 0, &frame, 1), 1);
		step(&rig);
		assert_int_equal(rig.wire.count, i + 1);
		assert_true(l4_sum_right(rig.wire.frames[i], &l4));
		assert_int_equal(ixy_reset(rig.dev), 0);
		ixy_poll_events(rig.dev);
		assert_true(ixy_link_get(rig.dev).up);
	}
	nic_wire_carrier(rig.nic, false);
	ixy_poll_events(rig.dev);
	assert_false(ixy_link_get(rig.dev).up);
	frame = offload_frame(&rig, false, false, 0, PKT_TX_L4_CSUM, 0, &headers);
	assert_int_equal(ixy_tx_batch(rig.dev, 0, &frame, 1), 1);
	assert_int_equal(ixy_tx_pending(rig.dev, 0), 0);
	assert_int_equal(drops(&rig, IXY_DROP_TX_LINK_DOWN), 1);
	close_rig(&rig);
}

static void an_offload_request_that_does_not_fit_its_frame_is_dropped(void **state)
{
	struct rig rig;
	uint64_t bad = 0;
	size_t headers;
	(void)state;

	open_with(&rig, defaults());
	for (unsigned i = 0; i < 8; i++) {
		struct pkt_buf *frame = offload_frame(&rig, false, false, 3000, PKT_TX_TSO4, 1000, &headers);

		switch (i) {
		case 0: frame->csum_start = 60000; break;
		case 1: frame->csum_start = 5; break;
		case 2: frame->csum_offset = 7; break;
		case 3: frame->gso_size = 0; break;
		case 4: frame->flags = PKT_TX_TSO6; break;
		case 5: frame->data[12] = 0x12; break;
		case 6: frame->data[46] = 0x10; break;    /* TCP data offset 1 */
		case 7: frame->flags = PKT_TX_USO; break; /* TCP's checksum field */
		}
		bad += pkt_buf_wire_frames(frame);
		assert_int_equal(ixy_tx_batch(rig.dev, 0, &frame, 1), 1);
	}
	step(&rig);
	assert_int_equal(rig.wire.count, 0);
	/* Each counts as the frames that it stands for. */
	assert_int_equal(drops(&rig, IXY_DROP_TX_BAD_OFFLOAD), bad);
	assert_traffic_flows(&rig);
	close_rig(&rig);
}

/* --- at random, against segmentation in software ------------------------------------------------------------- */

static struct super_frame super;

/* In no more than the NIC's descriptors for a packet, the headers in the first. */
static struct pkt_buf *in_buffers(struct rig *rig, const struct super_frame *f)
{
	return super_frame_chain(rig->pool, f, f->header, 1800);
}

struct compared {
	const struct recording *wire;
	size_t count;
};

static void compare_with_wire(void *context, const uint8_t *frame, size_t size)
{
	struct compared *c = context;
	const uint8_t *sent;

	assert_in_range(c->count, 0, c->wire->count - 1);
	sent = c->wire->frames[c->count];
	assert_int_equal(c->wire->sizes[c->count], size < 60 ? 60 : size);
	assert_memory_equal(sent, frame, size);
	for (size_t i = size; i < 60; i++) /* the NIC's padding */
		assert_int_equal(sent[i], 0);
	c->count++;
}

static void random_super_frames_are_cut_by_the_nic_as_in_software(void **state)
{
	struct rig rig;
	(void)state;

	open_with(&rig, defaults());
	for (unsigned round = 0; round < 1000; round++) {
		struct compared compared = {.wire = &rig.wire};
		struct pkt_buf *frame;

		super_frame_make(&super, 256, 1300);
		frame = in_buffers(&rig, &super);
		assert_int_equal(ixy_tx_batch(rig.dev, 0, &frame, 1), 1);
		step(&rig);
		ixy_tx_batch(rig.dev, 0, NULL, 0);
		assert_int_equal(rig.wire.count, super_frame_segments(&super));
		assert_int_equal(
			gso_segment(&super.vnet, super.bytes, super.size, compare_with_wire, &compared),
			super_frame_segments(&super));
		forget(&rig.wire);
	}
	assert_int_equal(drops(&rig, IXY_DROP_TX_BAD_OFFLOAD), 0);
	close_rig(&rig);
}

/* One frame, whose checksum alone is left to the NIC: the driver's other kind of context, among super-frames. */
static void random_partial_checksums_are_completed_by_the_nic_as_in_software(void **state)
{
	struct rig rig;
	(void)state;

	open_with(&rig, defaults());
	for (unsigned round = 0; round < 1000; round++) {
		struct compared compared = {.wire = &rig.wire};
		struct pkt_buf *frame;

		do
			super_frame_make(&super, 256, 1300);
		while (super.size > 1518);
		if (dice(4) != 0)
			super.vnet.gso_type = VIRTIO_NET_HDR_GSO_NONE;
		frame = in_buffers(&rig, &super);
		assert_int_equal(ixy_tx_batch(rig.dev, 0, &frame, 1), 1);
		step(&rig);
		ixy_tx_batch(rig.dev, 0, NULL, 0);
		assert_true(
			gso_segment(&super.vnet, super.bytes, super.size, compare_with_wire, &compared) > 0);
		assert_int_equal(compared.count, rig.wire.count);
		forget(&rig.wire);
	}
	close_rig(&rig);
}

/*
 * Bytes of the headers and of the request changed at random: such a frame is dropped, or sent as what its sender
 * made of it; but the driver never tells the NIC what silicon could choke on (close_rig() asserts that).
 */
static void mutilated_super_frames_are_dropped_or_sent_and_never_a_violation(void **state)
{
	uint64_t sent = 0;
	struct rig rig;
	(void)state;

	open_with(&rig, defaults());
	for (unsigned round = 0; round < 5000; round++) {
		struct pkt_buf *frame;

		super_frame_make(&super, 256, 1300);
		frame = in_buffers(&rig, &super);
		for (unsigned i = dice(3); i-- > 0;)
			frame->data[12 + dice((uint32_t)super.header - 12)] = (uint8_t)dice(256);
		switch (dice(8)) {
		case 0: frame->flags = (uint16_t)(PKT_TX_L4_CSUM | 1u << (9 + dice(3))); break;
		case 1: frame->csum_start = (uint16_t)dice(dice(2) ? 200 : 65536); break;
		case 2: frame->csum_offset = (uint16_t)dice(dice(2) ? 20 : 65536); break;
		case 3: frame->gso_size = (uint16_t)(dice(2) ? 0 : 20 + dice(65516)); break;
		case 4: frame->header_size = (uint16_t)dice(65536); break;
		}
		assert_int_equal(ixy_tx_batch(rig.dev, 0, &frame, 1), 1);
		step(&rig);
		ixy_tx_batch(rig.dev, 0, NULL, 0);
		sent += rig.wire.count;
		forget(&rig.wire);
	}
	assert_true(sent > 5000);
	assert_true(drops(&rig, IXY_DROP_TX_BAD_OFFLOAD) > 500);
	assert_traffic_flows(&rig);
	close_rig(&rig);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_partial_checksum_is_completed_by_the_nic),
		cmocka_unit_test(a_super_frame_is_cut_by_the_nic),
		cmocka_unit_test(a_udp_super_frame_is_cut_by_the_nic),
		cmocka_unit_test(one_flow_needs_one_context),
		cmocka_unit_test(super_frames_and_acknowledgements_of_a_flow_need_one_context_each),
		cmocka_unit_test(frames_that_want_checksums_of_all_kinds_leave_in_order),
		cmocka_unit_test(a_full_ring_takes_no_more_of_what_wants_checksums),
		cmocka_unit_test(a_reset_forgets_contexts_and_a_lost_link_sends_nothing),
		cmocka_unit_test(an_offload_request_that_does_not_fit_its_frame_is_dropped),
		cmocka_unit_test(random_super_frames_are_cut_by_the_nic_as_in_software),
		cmocka_unit_test(random_partial_checksums_are_completed_by_the_nic_as_in_software),
		cmocka_unit_test(mutilated_super_frames_are_dropped_or_sent_and_never_a_violation),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
