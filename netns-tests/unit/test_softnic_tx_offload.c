/* What the software NIC completes in frames that it sends: checksums, tags, segments. */
#include "tx_rig.h"

#include "driver/checksum.h"

/* --- offloads ------------------------------------------------------------------------------------------- */

static size_t checksum_at(const struct frame_layout *at, uint8_t protocol)
{
	return at->l4 + (protocol == TCP ? 16 : 6);
}

static void checksums_are_completed_and_client_memory_is_left_alone(void **state)
{
	struct rig *rig = *state;
	unsigned slot = 0, sent = 0;

	for (unsigned i = 0; i < 16; i++) {
		uint8_t want[700], *data = buffer(rig, 0), before[700];
		struct frame_spec spec = {.v6 = i & 1,
			.protocol = i & 2 ? TCP : UDP,
			.tag = i & 4 ? 100 : 0,
			.ip_options = i & 8 && !(i & 1) ? 8 : 0,
			.payload = 1 + i * 31};
		struct frame_layout at = build_frame(want, &spec);
		struct context context = {.index = i & 1,
			.maclen = (unsigned)at.l3,
			.iplen = (unsigned)(at.l4 - at.l3),
			.l4t = spec.protocol == TCP ? TXC_L4T_TCP : TXC_L4T_UDP,
			.ipv4 = !spec.v6};

		memcpy(data, want, at.size);
		put16(data + checksum_at(&at, spec.protocol),
			naive_pseudo(want + at.l3, spec.protocol, at.size - at.l4));
		if (!spec.v6)
			put16(data + at.l3 + 10, 0);
		memcpy(before, data, at.size);
		put_context(rig, slot, &context);
		put_data(rig, slot + 1, 0, 0, (uint32_t)at.size, TXD_CMD_EOP | TXD_CMD_RS,
			(uint32_t)at.size << TXD_OL_PAYLEN_SHIFT | TXD_OL_POPTS_TXSM |
				(spec.v6 ? 0 : TXD_OL_POPTS_IXSM) | context.index << TXD_OL_IDX_SHIFT);
		slot += 2;
		ring_doorbell(rig, slot);
		/* Short ones are padded. */
		assert_int_equal(rig->sent_count, sent + 1);
		assert_memory_equal(rig->sent[sent].data, want, at.size);
		assert_memory_equal(data, before, at.size);
		sent++;
	}
}

static void a_udp_checksum_of_zero_is_sent_as_ones(void **state)
{
	struct rig *rig = *state;
	uint8_t *data = buffer(rig, 0);
	struct frame_layout at = build_frame(data, &(struct frame_spec){.protocol = UDP, .payload = 40});

	/* Choose the payload's first word so that the sum over everything is all ones. */
	put16(data + at.l4 + 6, 0);
	put16(data + at.payload, 0);
	uint32_t sum =
		naive_sum(naive_pseudo(data + at.l3, UDP, at.size - at.l4), data + at.l4, at.size - at.l4);

	put16(data + at.payload, 0xffff - sum);
	put16(data + at.l4 + 6, naive_pseudo(data + at.l3, UDP, at.size - at.l4));
	put_context(rig, 0, &(struct context){.maclen = 14, .iplen = 20, .l4t = TXC_L4T_UDP, .ipv4 = true});
	put_data(rig, 1, 0, 0, (uint32_t)at.size, TXD_CMD_EOP | TXD_CMD_RS,
		(uint32_t)at.size << TXD_OL_PAYLEN_SHIFT | TXD_OL_POPTS_TXSM);
	ring_doorbell(rig, 2);
	assert_int_equal(get16(rig->sent[0].data + at.l4 + 6), 0xffff);
}

static void an_sctp_checksum_is_a_crc32c(void **state)
{
	struct rig *rig = *state;
	uint8_t *data = buffer(rig, 0);
	struct frame_layout at = build_frame(data, &(struct frame_spec){.payload = 64});
	uint32_t crc;

	put32(data + at.l4 + 8, 0);
	data[at.l3 + 9] = SCTP;
	put_context(rig, 0, &(struct context){.maclen = 14, .iplen = 20, .l4t = TXC_L4T_SCTP, .ipv4 = true});
	put_data(rig, 1, 0, 0, (uint32_t)at.size, TXD_CMD_EOP | TXD_CMD_RS,
		(uint32_t)at.size << TXD_OL_PAYLEN_SHIFT | TXD_OL_POPTS_TXSM);
	ring_doorbell(rig, 2);

	memcpy(&crc, rig->sent[0].data + at.l4 + 8, 4);
	assert_int_equal(crc, (uint32_t)~crc32c_add(~0u, data + at.l4, at.size - at.l4));
	struct frame_info info;

	frame_parse(rig->sent[0].data, rig->sent[0].size, 0x8100, &info);
	assert_true(info.sctp && info.l4_csum_ok);
}

static void each_queue_has_two_contexts(void **state)
{
	struct rig *rig = *state;

	put_context(rig, 0, &(struct context){.index = 0, .vlan = 10});
	put_context(rig, 1, &(struct context){.index = 1, .vlan = 20});
	put_data(rig, 2, 0, 0, 100, TXD_CMD_EOP | TXD_CMD_RS | TXD_CMD_VLE,
		100u << TXD_OL_PAYLEN_SHIFT | 1 << TXD_OL_IDX_SHIFT);
	put_data(rig, 3, 0, 0, 100, TXD_CMD_EOP | TXD_CMD_RS | TXD_CMD_VLE, 100u << TXD_OL_PAYLEN_SHIFT);
	ring_doorbell(rig, 4);
	assert_int_equal(rig->sent[0].size, 104);
	assert_int_equal(get32(rig->sent[0].data + 12), 0x81000014);
	assert_int_equal(get32(rig->sent[1].data + 12), 0x8100000a);
}

/* --- segmentation --------------------------------------------------------------------------------------- */

struct tso_case {
	struct frame_spec spec;
	unsigned mss;
	int insert_tag;
	uint16_t flags_first, flags_middle, flags_last; /* what the masks leave of tcp_flags */
};

/* The segment that the NIC should make: the whole frame's header with its own piece of payload. */
static size_t expected_segment(uint8_t *out, const uint8_t *whole, const struct frame_layout *at,
	const struct tso_case *c, unsigned index)
{
	const struct frame_spec *spec = &c->spec;
	size_t from = (size_t)index * c->mss, left = spec->payload - from;
	size_t payload = left < c->mss ? left : c->mss, size = at->payload + payload;
	bool only = spec->payload <= c->mss, last = left <= c->mss;
	uint8_t frame[2048];

	memcpy(frame, whole, at->payload);
	memcpy(frame + at->payload, whole + at->payload + from, payload);
	uint8_t *l3 = frame + at->l3, *l4 = frame + at->l4;

	if (spec->v6) {
		put16(l3 + 4, (uint32_t)(size - at->l4));
	} else {
		put16(l3 + 2, (uint32_t)(size - at->l3));
		put16(l3 + 4, get16(whole + at->l3 + 4) + index);
		put16(l3 + 10, 0);
		put16(l3 + 10, 0xffff & ~naive_sum(0, l3, at->l4 - at->l3));
	}
	if (spec->protocol == TCP) {
		put32(l4 + 4, get32(whole + at->l4 + 4) + (uint32_t)from);
		l4[13] = only ? spec->tcp_flags
			      : (uint8_t)(index == 0 ? c->flags_first
					  : last     ? c->flags_last
						     : c->flags_middle);
		put16(l4 + 16, 0);
		put16(l4 + 16, 0xffff & ~naive_sum(naive_pseudo(l3, TCP, size - at->l4), l4, size - at->l4));
	} else {
		put16(l4 + 4, (uint32_t)(size - at->l4));
		put16(l4 + 6, 0);
		uint32_t sum = 0xffff & ~naive_sum(naive_pseudo(l3, UDP, size - at->l4), l4, size - at->l4);

		put16(l4 + 6, sum ? sum : 0xffff);
	}
	size_t tag = c->insert_tag ? 4 : 0;

	memcpy(out, frame, 12);
	if (tag) {
		put16(out + 12, 0x8100);
		put16(out + 14, (uint32_t)c->insert_tag);
	}
	memcpy(out + 12 + tag, frame + 12, size - 12);
	size += tag;
	if (size < 60)
		memset(out + size, 0, 60 - size);
	return size < 60 ? 60 : size;
}

/* Give the NIC the frame in pieces of piece bytes, and compare each frame that comes out. */
static void run_tso(struct rig *rig, const struct tso_case *c, uint32_t piece)
{
	static uint8_t whole[300000];
	struct frame_layout at = build_frame(whole, &c->spec);
	uint8_t *data = buffer(rig, 0);
	unsigned i = nic_peek32(rig->nic, TDT(0)), first = rig->sent_count;

	memcpy(data, whole, at.size);
	if (!c->spec.v6) {
		put16(data + at.l3 + 2, 0); /* the NIC writes the length */
		put16(data + at.l3 + 10, 0);
	}
	put16(data + checksum_at(&at, c->spec.protocol), naive_pseudo(whole + at.l3, c->spec.protocol, 0));
	put_context(rig, i,
		&(struct context){.maclen = (unsigned)at.l3,
			.iplen = (unsigned)(at.l4 - at.l3),
			.l4len = (unsigned)(at.payload - at.l4),
			.l4t = c->spec.protocol == TCP ? TXC_L4T_TCP : TXC_L4T_UDP,
			.ipv4 = !c->spec.v6,
			.mss = c->mss,
			.vlan = (unsigned)c->insert_tag});
	i = (i + 1) % RING;
	for (size_t offset = 0; offset < at.size; offset += piece) {
		bool last = at.size - offset <= piece;

		put_data(rig, i, 0, (uint32_t)offset, last ? (uint32_t)(at.size - offset) : piece,
			TXD_CMD_TSE | (c->insert_tag ? TXD_CMD_VLE : 0) |
				(last ? TXD_CMD_EOP | TXD_CMD_RS : 0),
			(uint32_t)c->spec.payload << TXD_OL_PAYLEN_SHIFT | TXD_OL_POPTS_TXSM |
				(c->spec.v6 ? 0 : TXD_OL_POPTS_IXSM));
		i = (i + 1) % RING;
	}
	unsigned segments = (unsigned)((c->spec.payload + c->mss - 1) / c->mss);

	assert_int_equal(ring_doorbell(rig, i), segments);
	assert_int_equal(rig->sent_count - first, segments);
	for (unsigned s = 0; s < segments; s++) {
		uint8_t want[2048];
		size_t size = expected_segment(want, whole, &at, c, s);

		assert_sent(rig, first + s, want, size);
	}
	assert_true(done(rig, (i + RING - 1) % RING));
	rig_forget_sent(rig);
}

static void segmentation_makes_the_frames_that_a_stack_would_make(void **state)
{
	struct rig *rig = *state;
	const struct tso_case cases[] = {
		{{.protocol = TCP, .payload = 5000, .tcp_flags = 0x10}, 1448, 0, 0x10, 0x10, 0x10},
		{{.protocol = TCP, .payload = 4344, .tcp_flags = 0x10}, 1448, 0, 0x10, 0x10, 0x10}, /* even */
		{{.protocol = TCP, .payload = 65000, .tcp_options = 12, .tcp_flags = 0x18}, 1448, 0, 0x10,
			0x10, 0x18},
		{{.protocol = TCP, .payload = 3000, .tcp_flags = 0x19}, 1000, 0, 0x10, 0x10,
			0x19},                                                            /* FIN, PSH */
		{{.protocol = TCP, .payload = 700, .tcp_flags = 0x99}, 1448, 0, 0, 0, 0}, /* a lone one */
		{{.protocol = TCP, .payload = 10, .tcp_flags = 0x10}, 9, 0, 0x10, 0x10, 0x10}, /* padded */
		{{.protocol = TCP, .payload = 4001, .ip_options = 16, .tcp_flags = 0x10}, 500, 0, 0x10, 0x10,
			0x10},
		{{.protocol = TCP, .payload = 4001, .tag = 77, .tcp_flags = 0x10}, 1440, 0, 0x10, 0x10, 0x10},
		{{.protocol = TCP, .payload = 4001, .tcp_flags = 0x10}, 1440, 0x2123, 0x10, 0x10, 0x10},
		{{.v6 = true, .protocol = TCP, .payload = 9000, .tcp_options = 12, .tcp_flags = 0x18}, 1428,
			0, 0x10, 0x10, 0x18},
		{{.v6 = true, .protocol = TCP, .payload = 9000, .tcp_flags = 0x18}, 1436, 9, 0x10, 0x10,
			0x18},
		{{.protocol = UDP, .payload = 9001}, 1472, 0, 0, 0, 0},
		{{.v6 = true, .protocol = UDP, .payload = 6000}, 1200, 0, 0, 0, 0},
	};

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		run_tso(rig, &cases[i], 16384);
		run_tso(rig, &cases[i], cases[i].spec.payload > 20000 ? 2000 : 333);
	}
}

/* Odd pieces too: the headers may lie in up to four descriptors. */
static void headers_may_span_descriptors(void **state)
{
	struct rig *rig = *state;

	run_tso(rig,
		&(struct tso_case){
			{.protocol = TCP, .payload = 500, .tcp_flags = 0x10}, 100, 0, 0x10, 0x10, 0x10},
		15);
}

static void tcp_flags_follow_the_mask_registers(void **state)
{
	struct rig *rig = *state;
	struct tso_case c = {
		{.protocol = TCP, .payload = 4000, .tcp_flags = 0xff}, 1000, 0, 0xf6, 0xf6, 0x7f};

	/* As after reset: FIN and PSH in the last segment only, CWR not in the last. */
	run_tso(rig, &c, 16384);
	/* RFC 3168: CWR in the first segment only. */
	rig_write(rig, DTXTCPFLGL, 0x0f760ff6);
	c.flags_middle = 0x76;
	run_tso(rig, &c, 16384);
}

static void the_largest_send_is_a_byte_under_256_kilobytes(void **state)
{
	struct rig *rig = *state;

	rig_set(rig, HLREG0, HLREG0_JUMBOEN);
	rig_write(rig, MAXFRS, 9728u << MAXFRS_SHIFT);
	run_tso(rig,
		&(struct tso_case){{.protocol = TCP, .payload = (1 << 18) - 1, .tcp_flags = 0x10}, 1460, 0,
			0x10, 0x10, 0x10},
		16384);
}

int main(void)
{
#define TEST(f) cmocka_unit_test_setup_teardown(f, setup_with_queue, rig_teardown)
	const struct CMUnitTest tests[] = {
		TEST(checksums_are_completed_and_client_memory_is_left_alone),
		TEST(a_udp_checksum_of_zero_is_sent_as_ones),
		TEST(an_sctp_checksum_is_a_crc32c),
		TEST(each_queue_has_two_contexts),
		TEST(segmentation_makes_the_frames_that_a_stack_would_make),
		TEST(headers_may_span_descriptors),
		TEST(tcp_flags_follow_the_mask_registers),
		TEST(the_largest_send_is_a_byte_under_256_kilobytes),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
