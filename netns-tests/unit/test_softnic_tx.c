/* The software NIC's transmit side: what its descriptors make, and what it refuses. */
#include "nic_rig.h"

#include <fcntl.h>

#define RING       64            /* descriptors, unless a test says otherwise */
#define RING_AT(n) ((n)*0x1000u) /* offset of queue n's ring in the memory */

static union ixgbe_tx_desc *ring(struct rig *rig, unsigned n)
{
	return (union ixgbe_tx_desc *)(rig->memory + RING_AT(n));
}

static void configure_queue(struct rig *rig, unsigned n, uint32_t count)
{
	rig_write(rig, TDBAL(n), (uint32_t)(RIG_IOVA + RING_AT(n)));
	rig_write(rig, TDBAH(n), (uint32_t)((RIG_IOVA + RING_AT(n)) >> 32));
	rig_write(rig, TDLEN(n), count * 16);
	rig_write(rig, TDH(n), 0);
	rig_write(rig, TDT(n), 0);
}

static void start_queue(struct rig *rig, unsigned n, uint32_t count)
{
	rig_set(rig, DMATXCTL, DMATXCTL_TE);
	rig_write(rig, TXDCTL(n), 0);
	configure_queue(rig, n, count);
	rig_set(rig, TXDCTL(n), TXDCTL_ENABLE);
	assert_true(nic_peek32(rig->nic, TXDCTL(n)) & TXDCTL_ENABLE);
}

static int setup_with_queue(void **state)
{
	rig_setup(state);
	start_queue(*state, 0, RING);
	return 0;
}

static uint8_t *buffer(struct rig *rig, unsigned i)
{
	return rig->memory + RIG_BUFFERS + i * 0x8000u;
}

static uint64_t buffer_iova(unsigned i)
{
	return RIG_IOVA + RIG_BUFFERS + i * 0x8000u;
}

/* Advanced data descriptor number i of queue 0, for size bytes at offset of buffer b. */
static void put_data(struct rig *rig, unsigned i, unsigned b, uint32_t offset, uint32_t size, uint32_t cmd,
	uint32_t olinfo)
{
	ring(rig, 0)[i] = (union ixgbe_tx_desc){
		.read = {.addr = buffer_iova(b) + offset,
			.cmd_type_len = TXD_CMD_DEXT | TXD_DTYP_DATA | TXD_CMD_IFCS | cmd | size,
			.olinfo_status = olinfo}};
}

static void put_single(struct rig *rig, unsigned i, unsigned b, uint32_t size)
{
	put_data(rig, i, b, 0, size, TXD_CMD_EOP | TXD_CMD_RS, size << TXD_OL_PAYLEN_SHIFT);
}

struct context {
	unsigned index, maclen, iplen, l4len, mss, l4t, vlan;
	bool ipv4;
};

static void put_context(struct rig *rig, unsigned i, const struct context *c)
{
	ring(rig, 0)[i].context.vlan_maclen_iplen =
		c->vlan << TXC_VLAN_SHIFT | c->maclen << TXC_MACLEN_SHIFT | c->iplen;
	ring(rig, 0)[i].context.fcoef_ipsec = 0;
	ring(rig, 0)[i].context.tucmd = TXD_CMD_DEXT | TXD_DTYP_CONTEXT | c->l4t << TXC_TUCMD_L4T_SHIFT |
					(c->ipv4 ? TXC_TUCMD_IPV4 : 0);
	ring(rig, 0)[i].context.mss_l4len_idx =
		c->mss << TXC_MSS_SHIFT | c->l4len << TXC_L4LEN_SHIFT | c->index << TXC_IDX_SHIFT;
}

static void put_legacy(struct rig *rig, unsigned i, unsigned b, uint32_t size, uint8_t cmd)
{
	ring(rig, 0)[i] = (union ixgbe_tx_desc){
		.legacy = {.addr = buffer_iova(b), .length = (uint16_t)size, .cmd = cmd}};
}

enum { LEGACY_EOP = 1, LEGACY_IFCS = 2, LEGACY_IC = 4, LEGACY_RS = 8, LEGACY_VLE = 64 };

static unsigned ring_doorbell(struct rig *rig, uint32_t tail)
{
	rig_write(rig, TDT(0), tail);
	unsigned sent = nic_tx_poll(rig->nic, 1000);

	assert_false(nic_tx_work(rig->nic));
	return sent;
}

static bool done(struct rig *rig, unsigned i)
{
	return ring(rig, 0)[i].wb.status & TXD_STAT_DD;
}

static void fill(uint8_t *data, size_t size, uint8_t seed)
{
	for (size_t i = 0; i < size; i++)
		data[i] = (uint8_t)(seed + i * 13);
}

static void assert_sent(struct rig *rig, unsigned i, const void *data, size_t size)
{
	assert_in_range(i, 0, rig->sent_count - 1);
	assert_int_equal(rig->sent[i].size, size);
	assert_memory_equal(rig->sent[i].data, data, size);
}

/* --- plain frames ------------------------------------------------------------------------------------------------ */

static void a_frame_leaves_as_it_is_and_is_written_back(void **state)
{
	struct rig *rig = *state;

	fill(buffer(rig, 0), 300, 1);
	put_single(rig, 0, 0, 300);
	assert_int_equal(ring_doorbell(rig, 1), 1);
	assert_int_equal(rig->sent_count, 1);
	assert_sent(rig, 0, buffer(rig, 0), 300);
	assert_true(done(rig, 0));
	assert_int_equal(ring(rig, 0)[0].read.addr, 0); /* all 16 bytes are written back */
	assert_int_equal(nic_peek32(rig->nic, TDH(0)), 1);
}

static void nothing_happens_without_a_doorbell(void **state)
{
	struct rig *rig = *state;

	put_single(rig, 0, 0, 300);
	assert_false(nic_tx_work(rig->nic));
	assert_int_equal(nic_tx_poll(rig->nic, 10), 0);
	assert_int_equal(rig->sent_count, 0);
}

static void a_doorbell_is_work_until_it_is_done(void **state)
{
	struct rig *rig = *state;

	for (unsigned i = 0; i < 5; i++)
		put_single(rig, i, 0, 64);
	rig_write(rig, TDT(0), 5);
	assert_true(nic_tx_work(rig->nic));
	assert_int_equal(nic_tx_poll(rig->nic, 2), 2);
	assert_true(nic_tx_work(rig->nic));
	assert_int_equal(nic_tx_poll(rig->nic, 10), 3);
	assert_false(nic_tx_work(rig->nic));
}

static void short_frames_are_padded_with_zeros(void **state)
{
	struct rig *rig = *state;
	uint8_t padded[60] = {0};

	memset(buffer(rig, 0), 0xff, 100);
	memset(padded, 0xff, 42);
	put_single(rig, 0, 0, 42);
	ring_doorbell(rig, 1);
	assert_sent(rig, 0, padded, 60);

	rig_clear(rig, HLREG0, HLREG0_TXPADEN);
	put_single(rig, 1, 0, 42);
	ring_doorbell(rig, 2);
	assert_sent(rig, 1, padded, 42);
}

static void a_packet_is_gathered_from_its_descriptors_across_the_end_of_the_ring(void **state)
{
	struct rig *rig = *state;
	uint8_t whole[600];

	for (unsigned i = 0; i < RING - 1; i++)
		put_single(rig, i, 0, 64);
	ring_doorbell(rig, RING - 1);
	rig_forget_sent(rig);

	fill(buffer(rig, 1), 100, 1);
	fill(buffer(rig, 2), 200, 2);
	fill(buffer(rig, 3), 300, 3);
	memcpy(whole, buffer(rig, 1), 100);
	memcpy(whole + 100, buffer(rig, 2), 200);
	memcpy(whole + 300, buffer(rig, 3), 300);
	put_data(rig, RING - 1, 1, 0, 100, 0, 600u << TXD_OL_PAYLEN_SHIFT);
	put_data(rig, 0, 2, 0, 200, 0, 0);
	put_data(rig, 1, 3, 0, 300, TXD_CMD_EOP | TXD_CMD_RS, 0);
	ring_doorbell(rig, 2);
	assert_int_equal(rig->sent_count, 1);
	assert_sent(rig, 0, whole, 600);
	assert_false(done(rig, RING - 1));
	assert_true(done(rig, 1));
	assert_int_equal(nic_peek32(rig->nic, TDH(0)), 2);
}

static void an_empty_descriptor_adds_nothing(void **state)
{
	struct rig *rig = *state;

	fill(buffer(rig, 0), 100, 1);
	put_data(rig, 0, 0, 0, 60, 0, 100u << TXD_OL_PAYLEN_SHIFT);
	put_data(rig, 1, 0, 0, 0, 0, 0);
	put_data(rig, 2, 0, 60, 40, TXD_CMD_EOP | TXD_CMD_RS, 0);
	ring_doorbell(rig, 3);
	assert_sent(rig, 0, buffer(rig, 0), 100);
}

static void forty_descriptors_make_a_packet(void **state)
{
	struct rig *rig = *state;

	fill(buffer(rig, 0), 400, 1);
	for (unsigned i = 0; i < 40; i++)
		put_data(rig, i, 0, i * 10, 10, i == 39 ? TXD_CMD_EOP | TXD_CMD_RS : 0,
			400u << TXD_OL_PAYLEN_SHIFT);
	ring_doorbell(rig, 40);
	assert_sent(rig, 0, buffer(rig, 0), 400);
}

static void only_descriptors_with_rs_are_written_back(void **state)
{
	struct rig *rig = *state;

	for (unsigned i = 0; i < 8; i++)
		put_data(rig, i, 0, 0, 100, TXD_CMD_EOP | (i == 3 ? TXD_CMD_RS : 0),
			100u << TXD_OL_PAYLEN_SHIFT);
	ring_doorbell(rig, 8);
	assert_int_equal(rig->sent_count, 8);
	for (unsigned i = 0; i < 8; i++)
		assert_int_equal(done(rig, i), i == 3);
}

static void with_wthresh_all_descriptors_are_written_back(void **state)
{
	struct rig *rig = *state;

	rig_write(rig, TXDCTL(0), 0);
	configure_queue(rig, 0, RING);
	rig_write(rig, TXDCTL(0), TXDCTL_ENABLE | 4 << TXDCTL_WTHRESH_SHIFT);
	for (unsigned i = 0; i < 6; i++)
		put_data(rig, i, 0, 0, 100, TXD_CMD_EOP, 100u << TXD_OL_PAYLEN_SHIFT);
	ring_doorbell(rig, 6);
	for (unsigned i = 0; i < 6; i++)
		assert_true(done(rig, i));
}

static void sparse_rs_with_wthresh_is_a_violation(void **state)
{
	struct rig *rig = *state;

	rig_write(rig, TXDCTL(0), 0);
	configure_queue(rig, 0, RING);
	rig_write(rig, TXDCTL(0), TXDCTL_ENABLE | 1 << TXDCTL_WTHRESH_SHIFT);
	put_single(rig, 0, 0, 100);
	put_single(rig, 1, 0, 100);
	ring_doorbell(rig, 2);
	rig_violated(rig, NIC_VIOLATION_RS_WTHRESH, 0);
	put_data(rig, 2, 0, 0, 100, TXD_CMD_EOP, 100u << TXD_OL_PAYLEN_SHIFT);
	put_single(rig, 3, 0, 100);
	ring_doorbell(rig, 4);
	rig_violated(rig, NIC_VIOLATION_RS_WTHRESH, 1);
}

static void head_write_back_replaces_the_descriptors_write_back(void **state)
{
	struct rig *rig = *state;
	uint32_t *head = (uint32_t *)(rig->memory + 0x100000);

	rig_write(rig, TXDCTL(0), 0);
	configure_queue(rig, 0, RING);
	rig_write(rig, TDWBAL(0), (uint32_t)(RIG_IOVA + 0x100000) | TDWBAL_HEAD_WB_EN);
	rig_write(rig, TXDCTL(0), TXDCTL_ENABLE);
	*head = 99;
	put_data(rig, 0, 0, 0, 100, TXD_CMD_EOP, 100u << TXD_OL_PAYLEN_SHIFT);
	ring_doorbell(rig, 1);
	assert_int_equal(*head, 99); /* no RS, no report */
	put_single(rig, 1, 0, 100);
	ring_doorbell(rig, 2);
	assert_int_equal(*head, 2);
	assert_false(done(rig, 1));
}

static void a_report_is_an_interrupt_cause(void **state)
{
	struct rig *rig = *state;

	rig_write(rig, IVAR(0), (IVAR_VALID | 5) << 8); /* TX queue 0 */
	put_data(rig, 0, 0, 0, 100, TXD_CMD_EOP, 100u << TXD_OL_PAYLEN_SHIFT);
	ring_doorbell(rig, 1);
	assert_false(nic_peek32(rig->nic, EICR) & BIT(5));
	put_single(rig, 1, 0, 100);
	ring_doorbell(rig, 2);
	assert_true(nic_peek32(rig->nic, EICR) & BIT(5));
}

static void queues_take_turns(void **state)
{
	struct rig *rig = *state;

	for (unsigned n = 1; n < 4; n++)
		start_queue(rig, n, 256);
	for (unsigned n = 1; n < 4; n++) {
		buffer(rig, n)[0] = (uint8_t)n;
		for (unsigned i = 0; i < 200; i++)
			ring(rig, n)[i] =
				(union ixgbe_tx_desc){.read = {.addr = buffer_iova(n),
							      .cmd_type_len = TXD_CMD_DEXT | TXD_DTYP_DATA |
									      TXD_CMD_IFCS | TXD_CMD_EOP | 64,
							      .olinfo_status = 64u << TXD_OL_PAYLEN_SHIFT}};
		rig_write(rig, TDT(n), 200);
	}
	unsigned count[4] = {0};

	for (unsigned i = 0; i < 6; i++)
		nic_tx_poll(rig->nic, 32);
	for (unsigned i = 0; i < rig->sent_count; i++)
		count[rig->sent[i].data[0]]++;
	assert_int_equal(count[1], 64);
	assert_int_equal(count[2], 64);
	assert_int_equal(count[3], 64);
}

static void legacy_descriptors_send_too(void **state)
{
	struct rig *rig = *state;
	uint8_t tagged[104];

	fill(buffer(rig, 0), 100, 7);
	put_legacy(rig, 0, 0, 100, LEGACY_EOP | LEGACY_IFCS | LEGACY_RS);
	put_legacy(rig, 1, 0, 100, LEGACY_EOP | LEGACY_IFCS | LEGACY_RS | LEGACY_VLE);
	ring(rig, 0)[1].legacy.vlan = 0x6007;
	ring_doorbell(rig, 2);
	assert_sent(rig, 0, buffer(rig, 0), 100);
	assert_int_equal(ring(rig, 0)[0].legacy.status, TXD_STAT_DD);

	memcpy(tagged, buffer(rig, 0), 12);
	put16(tagged + 12, 0x8100);
	put16(tagged + 14, 0x6007);
	memcpy(tagged + 16, buffer(rig, 0) + 12, 88);
	assert_sent(rig, 1, tagged, 104);
}

static void a_legacy_checksum_is_inserted_where_cso_says(void **state)
{
	struct rig *rig = *state;
	uint8_t frame[200];
	struct frame_layout at = build_frame(frame, &(struct frame_spec){.protocol = TCP, .payload = 77});

	memcpy(buffer(rig, 0), frame, at.size);
	put16(buffer(rig, 0) + at.l4 + 16, naive_pseudo(frame + at.l3, TCP, at.size - at.l4));
	put_legacy(rig, 0, 0, (uint32_t)at.size, LEGACY_EOP | LEGACY_IFCS | LEGACY_RS | LEGACY_IC);
	ring(rig, 0)[0].legacy.css = (uint8_t)at.l4;
	ring(rig, 0)[0].legacy.cso = (uint8_t)(at.l4 + 16);
	ring_doorbell(rig, 1);
	assert_sent(rig, 0, frame, at.size);
}

static void without_ifcs_the_client_brings_the_crc(void **state)
{
	struct rig *rig = *state;
	uint8_t *data = buffer(rig, 0);

	fill(data, 100, 3);
	uint32_t crc = crc32_ethernet(data, 100);

	memcpy(data + 100, &crc, 4);
	put_legacy(rig, 0, 0, 104, LEGACY_EOP | LEGACY_RS);
	ring_doorbell(rig, 1);
	assert_sent(rig, 0, data, 100);

	data[103] ^= 1;
	put_legacy(rig, 1, 0, 104, LEGACY_EOP | LEGACY_RS);
	assert_int_equal(ring_doorbell(rig, 2), 1);
	assert_int_equal(rig->sent_count, 1);
	rig_violated(rig, NIC_VIOLATION_TX_DESCRIPTOR, 1);
}

/* --- offloads ----------------------------------------------------------------------------------------------------- */

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

/* --- segmentation ----------------------------------------------------------------------------------------------------- */

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

/* --- what is refused ---------------------------------------------------------------------------------------------------- */

/* The packet before the tail is refused with one violation of kind v; the ring goes on, and the next one is sent. */
static void assert_refused(struct rig *rig, enum nic_violation v, uint32_t tail)
{
	uint64_t dropped = rig->nic->stats.tx_dropped;
	unsigned sent = rig->sent_count;

	ring_doorbell(rig, tail);
	rig_violated(rig, v, 1);
	assert_int_equal(rig->nic->stats.tx_dropped, dropped + 1);
	assert_int_equal(rig->sent_count, sent);
	assert_int_equal(nic_peek32(rig->nic, TDH(0)), tail);

	fill(buffer(rig, 20), 80, 9);
	put_single(rig, tail, 20, 80);
	ring_doorbell(rig, tail + 1);
	assert_int_equal(rig->sent_count, sent + 1);
	assert_sent(rig, sent, buffer(rig, 20), 80);
	assert_true(done(rig, tail));
}

static void a_refused_packet_is_completed(void **state)
{
	struct rig *rig = *state;

	put_data(rig, 0, 0, 0, 100, TXD_CMD_EOP | TXD_CMD_RS, 99u << TXD_OL_PAYLEN_SHIFT);
	assert_refused(rig, NIC_VIOLATION_TX_DESCRIPTOR, 1);
	assert_true(done(rig, 0));
}

static void a_wrong_paylen_is_refused(void **state)
{
	struct rig *rig = *state;

	put_data(rig, 0, 0, 0, 100, TXD_CMD_EOP | TXD_CMD_RS, 101u << TXD_OL_PAYLEN_SHIFT);
	assert_refused(rig, NIC_VIOLATION_TX_DESCRIPTOR, 1);
}

static void a_descriptor_over_16_kilobytes_is_refused(void **state)
{
	struct rig *rig = *state;

	put_single(rig, 0, 0, 16385);
	assert_refused(rig, NIC_VIOLATION_TX_DESCRIPTOR, 1);
}

static void an_unknown_descriptor_type_is_refused(void **state)
{
	struct rig *rig = *state;

	put_single(rig, 0, 0, 100);
	ring(rig, 0)[0].read.cmd_type_len ^= 4u << 20;
	assert_refused(rig, NIC_VIOLATION_TX_DESCRIPTOR, 1);
}

static void legacy_and_advanced_do_not_mix_in_a_packet(void **state)
{
	struct rig *rig = *state;

	put_data(rig, 0, 0, 0, 100, 0, 200u << TXD_OL_PAYLEN_SHIFT);
	put_legacy(rig, 1, 0, 100, LEGACY_EOP | LEGACY_RS);
	assert_refused(rig, NIC_VIOLATION_TX_DESCRIPTOR, 2);
}

static void a_context_inside_a_packet_is_refused(void **state)
{
	struct rig *rig = *state;

	put_data(rig, 0, 0, 0, 100, 0, 200u << TXD_OL_PAYLEN_SHIFT);
	put_context(rig, 1, &(struct context){.vlan = 1});
	put_data(rig, 2, 0, 0, 100, TXD_CMD_EOP | TXD_CMD_RS, 0);
	assert_refused(rig, NIC_VIOLATION_TX_DESCRIPTOR, 3);
}

static void forty_one_descriptors_are_refused(void **state)
{
	struct rig *rig = *state;

	for (unsigned i = 0; i < 41; i++)
		put_data(rig, i, 0, i * 10, 10, i == 40 ? TXD_CMD_EOP | TXD_CMD_RS : 0,
			410u << TXD_OL_PAYLEN_SHIFT);
	assert_refused(rig, NIC_VIOLATION_TX_TOO_MANY, 41);
}

static void the_end_of_a_refused_packet_may_come_later(void **state)
{
	struct rig *rig = *state;

	for (unsigned i = 0; i < 45; i++)
		put_data(rig, i, 0, i * 10, 10, i == 44 ? TXD_CMD_EOP | TXD_CMD_RS : 0, 0);
	ring_doorbell(rig, 42);
	assert_int_equal(nic_peek32(rig->nic, TDH(0)), 42);
	rig_violated(rig, NIC_VIOLATION_TX_TOO_MANY, 1);
	put_single(rig, 45, 0, 100);
	ring_doorbell(rig, 46);
	assert_int_equal(rig->sent_count, 1);
}

static void sizes_that_the_mac_cannot_send_are_refused(void **state)
{
	struct rig *rig = *state;

	put_single(rig, 0, 0, 16);
	assert_refused(rig, NIC_VIOLATION_TX_FRAME_SIZE, 1);
	put_single(rig, 2, 0, 1523); /* 1514, and room for two tags */
	assert_refused(rig, NIC_VIOLATION_TX_FRAME_SIZE, 3);
	rig_set(rig, HLREG0, HLREG0_JUMBOEN);
	rig_write(rig, MAXFRS, 9728u << MAXFRS_SHIFT);
	put_single(rig, 4, 0, 9733);
	assert_refused(rig, NIC_VIOLATION_TX_FRAME_SIZE, 5);
	rig_write(rig, MAXFRS, 0xffffu << MAXFRS_SHIFT);
	put_single(rig, 6, 0, 15873);
	assert_refused(rig, NIC_VIOLATION_TX_FRAME_SIZE, 7);
	rig_forget_sent(rig);
	fill(buffer(rig, 0), 15872, 5);
	put_single(rig, 8, 0, 15872);
	ring_doorbell(rig, 9);
	assert_sent(rig, 0, buffer(rig, 0), 15872);
	put_single(rig, 9, 0, 17);
	ring_doorbell(rig, 10);
	assert_int_equal(rig->sent_count, 2);
}

static void an_offload_without_ifcs_is_refused(void **state)
{
	struct rig *rig = *state;

	put_context(rig, 0, &(struct context){.vlan = 5});
	put_data(rig, 1, 0, 0, 100, TXD_CMD_EOP | TXD_CMD_RS | TXD_CMD_VLE, 100u << TXD_OL_PAYLEN_SHIFT);
	ring(rig, 0)[1].read.cmd_type_len &= ~TXD_CMD_IFCS;
	assert_refused(rig, NIC_VIOLATION_TX_DESCRIPTOR, 2);
}

static void an_offload_without_context_is_refused(void **state)
{
	struct rig *rig = *state;

	put_data(
		rig, 0, 0, 0, 100, TXD_CMD_EOP | TXD_CMD_RS, 100u << TXD_OL_PAYLEN_SHIFT | TXD_OL_POPTS_TXSM);
	assert_refused(rig, NIC_VIOLATION_TX_CONTEXT, 1);
}

static void contexts_that_do_not_fit_the_frame_are_refused(void **state)
{
	struct rig *rig = *state;
	const struct context good = {
		.maclen = 14, .iplen = 20, .l4len = 20, .mss = 100, .l4t = TXC_L4T_TCP, .ipv4 = true};
	const uint32_t both = TXD_OL_POPTS_IXSM | TXD_OL_POPTS_TXSM, l4 = TXD_OL_POPTS_TXSM,
		       ip = TXD_OL_POPTS_IXSM;
	struct {
		struct context context;
		uint32_t options;
		bool tso;
	} cases[] = {{good, both, false}, {good, both, false}, {good, both, false}, {good, ip, false},
		{good, l4, false}, {good, l4, false}, {good, both, true}, {good, both, true},
		{good, both, true}, {good, ip, true}, {good, both, true}, {good, both, true},
		{good, both, true}, {good, l4, true}};
	unsigned k = 0;

	cases[k++].context.maclen = 13;
	cases[k++].context.iplen = 24;            /* the header has 20 */
	cases[k++].context.iplen = 511;           /* past the end */
	cases[k++].context.ipv4 = false;          /* IXSM on IPv6 */
	cases[k++].context.l4t = 3;               /* reserved */
	cases[k++].context.iplen = 500 - 14 - 19; /* no room for a TCP header */
	cases[k++].context.mss = 0;
	cases[k++].context.l4len = 24;         /* the header has 20 */
	cases[k++].context.l4t = TXC_L4T_SCTP; /* no TSO for it */
	k++;                                   /* TSE without TXSM */
	cases[k++].context.l4len = 255;
	cases[k++].context.l4t = TXC_L4T_UDP; /* with L4LEN 20 */
	cases[k++].context.ipv4 = false;      /* IXSM and TSE on IPv6 */
	k++;                                  /* TSE on IPv4 without IXSM */
	assert_int_equal(k, sizeof(cases) / sizeof(cases[0]));

	for (unsigned i = 0, slot = 0; i < k; i++, slot += 3) {
		const struct context *c = &cases[i].context;
		struct frame_layout at =
			build_frame(buffer(rig, 0), &(struct frame_spec){.protocol = TCP, .payload = 446});
		uint32_t paylen = (uint32_t)at.size;

		assert_int_equal(at.size, 500);
		if (cases[i].tso)
			paylen -= c->maclen + c->iplen + c->l4len;
		put_context(rig, slot, c);
		put_data(rig, slot + 1, 0, 0, (uint32_t)at.size,
			TXD_CMD_EOP | TXD_CMD_RS | (cases[i].tso ? TXD_CMD_TSE : 0),
			paylen << TXD_OL_PAYLEN_SHIFT | cases[i].options);
		assert_refused(rig, NIC_VIOLATION_TX_CONTEXT, slot + 2);
	}
}

static void headers_in_more_than_four_descriptors_are_refused(void **state)
{
	struct rig *rig = *state;
	struct frame_layout at =
		build_frame(buffer(rig, 0), &(struct frame_spec){.protocol = TCP, .payload = 100});

	put_context(rig, 0,
		&(struct context){
			.maclen = 14, .iplen = 20, .l4len = 20, .mss = 50, .l4t = TXC_L4T_TCP, .ipv4 = true});
	for (unsigned i = 0; i < 6; i++)
		put_data(rig, 1 + i, 0, i * 10, i == 5 ? (uint32_t)at.size - 50 : 10,
			TXD_CMD_TSE | (i == 5 ? TXD_CMD_EOP | TXD_CMD_RS : 0),
			100u << TXD_OL_PAYLEN_SHIFT | TXD_OL_POPTS_TXSM | TXD_OL_POPTS_IXSM);
	assert_refused(rig, NIC_VIOLATION_TX_CONTEXT, 7);
}

static void a_segmentation_no_longer_than_its_headers_is_refused(void **state)
{
	struct rig *rig = *state;
	struct frame_layout at = build_frame(buffer(rig, 0), &(struct frame_spec){.protocol = TCP});

	put_context(rig, 0,
		&(struct context){
			.maclen = 14, .iplen = 20, .l4len = 20, .mss = 50, .l4t = TXC_L4T_TCP, .ipv4 = true});
	put_data(rig, 1, 0, 0, (uint32_t)at.size, TXD_CMD_TSE | TXD_CMD_EOP | TXD_CMD_RS,
		TXD_OL_POPTS_TXSM | TXD_OL_POPTS_IXSM);
	assert_refused(rig, NIC_VIOLATION_TX_CONTEXT, 2);
	put_data(rig, 3, 0, 0, 30, TXD_CMD_TSE | TXD_CMD_EOP | TXD_CMD_RS,
		(30u - 54) << TXD_OL_PAYLEN_SHIFT | TXD_OL_POPTS_TXSM | TXD_OL_POPTS_IXSM);
	assert_refused(rig, NIC_VIOLATION_TX_CONTEXT, 4);
}

static void data_that_is_not_mapped_is_not_sent(void **state)
{
	struct rig *rig = *state;

	put_single(rig, 0, 0, 100);
	ring(rig, 0)[0].read.addr = RIG_IOVA + RIG_SIZE - 50;
	assert_refused(rig, NIC_VIOLATION_DMA_UNMAPPED, 1);
	put_single(rig, 2, 0, 100);
	ring(rig, 0)[2].read.addr = UINT64_MAX - 20;
	assert_refused(rig, NIC_VIOLATION_DMA_UNMAPPED, 3);
}

static void a_tail_amid_a_packet_waits_for_the_rest(void **state)
{
	struct rig *rig = *state;

	fill(buffer(rig, 0), 200, 4);
	put_data(rig, 0, 0, 0, 100, 0, 200u << TXD_OL_PAYLEN_SHIFT);
	assert_int_equal(ring_doorbell(rig, 1), 0);
	rig_violated(rig, NIC_VIOLATION_TX_DESCRIPTOR, 1);
	assert_int_equal(nic_tx_poll(rig->nic, 10), 0);
	rig_violated(rig, NIC_VIOLATION_TX_DESCRIPTOR, 0); /* once for a tail */
	put_data(rig, 1, 0, 100, 100, TXD_CMD_EOP | TXD_CMD_RS, 0);
	assert_int_equal(ring_doorbell(rig, 2), 1);
	assert_sent(rig, 0, buffer(rig, 0), 200);
}

static void a_ring_full_of_a_packet_without_end_is_dropped(void **state)
{
	struct rig *rig = *state;

	rig_write(rig, TXDCTL(0), 0);
	configure_queue(rig, 0, 8);
	rig_write(rig, TXDCTL(0), TXDCTL_ENABLE);
	for (unsigned i = 0; i < 7; i++)
		put_data(rig, i, 0, 0, 10, 0, 0);
	ring_doorbell(rig, 7);
	rig_violated(rig, NIC_VIOLATION_TX_DESCRIPTOR, 1);
	assert_int_equal(nic_peek32(rig->nic, TDH(0)), 7);
	put_data(rig, 7, 0, 0, 10, TXD_CMD_EOP, 0); /* its end */
	put_single(rig, 0, 0, 100);
	ring_doorbell(rig, 1);
	assert_int_equal(rig->sent_count, 1);
}

static void a_tail_past_the_ring_is_counted_once(void **state)
{
	struct rig *rig = *state;
	static const uint32_t bad[] = {RING, 0xffff};

	for (unsigned i = 0; i < 2; i++) {
		ring_doorbell(rig, bad[i]);
		nic_tx_poll(rig->nic, 10);
		rig_violated(rig, NIC_VIOLATION_TAIL_RANGE, 1);
	}
	nic_reg_set(rig->nic, TDT(0), UINT32_MAX); /* as a client's store does it */
	nic_tx_poll(rig->nic, 10);
	nic_tx_poll(rig->nic, 10);
	rig_violated(rig, NIC_VIOLATION_TAIL_RANGE, 1);
	put_single(rig, 0, 0, 100);
	nic_reg_set(rig->nic, TDT(0), 1);
	assert_int_equal(nic_tx_poll(rig->nic, 10), 1);
}

static void a_ring_that_was_unmapped_stops_its_queue(void **state)
{
	struct rig *rig = *state;

	put_single(rig, 0, 0, 100);
	nic_dma_unmap_all(rig->nic);
	ring_doorbell(rig, 1);
	nic_tx_poll(rig->nic, 10);
	rig_violated(rig, NIC_VIOLATION_DMA_UNMAPPED, 1);
	assert_int_equal(rig->sent_count, 0);
}

static void a_ring_needs_a_bus_master(void **state)
{
	struct rig *rig = *state;

	nic_config_write(rig->nic, 4, 2, 2);
	put_single(rig, 0, 0, 100);
	ring_doorbell(rig, 1);
	rig_violated(rig, NIC_VIOLATION_DMA_NO_MASTER, 1);
	assert_int_equal(rig->sent_count, 0);
}

/* ENABLE is refused, reads back clear, and the queue does nothing. */
static void assert_not_enabled(struct rig *rig, unsigned n, enum nic_violation v)
{
	rig_write(rig, TXDCTL(n), TXDCTL_ENABLE);
	rig_violated(rig, v, 1);
	assert_false(nic_peek32(rig->nic, TXDCTL(n)) & TXDCTL_ENABLE);
	rig_write(rig, TDT(n), 1);
	assert_int_equal(nic_tx_poll(rig->nic, 10), 0);
}

static void a_queue_that_is_half_configured_is_not_enabled(void **state)
{
	struct rig *rig = *state;

	rig_clear(rig, DMATXCTL, DMATXCTL_TE);
	configure_queue(rig, 1, 64);
	assert_not_enabled(rig, 1, NIC_VIOLATION_QUEUE_HALF_CONFIGURED);
	rig_set(rig, DMATXCTL, DMATXCTL_TE);
	assert_not_enabled(rig, 2, NIC_VIOLATION_QUEUE_HALF_CONFIGURED); /* no ring */
	configure_queue(rig, 3, 64);
	rig_write(rig, TDH(3), 64);
	assert_not_enabled(rig, 3, NIC_VIOLATION_QUEUE_HALF_CONFIGURED);
	configure_queue(rig, 4, 0);
	assert_not_enabled(rig, 4, NIC_VIOLATION_RING_ALIGN);
	configure_queue(rig, 5, 64);
	rig_write(rig, TDBAL(5), (uint32_t)RIG_IOVA + 64);
	assert_not_enabled(rig, 5, NIC_VIOLATION_RING_ALIGN);
}

static void ring_registers_stay_while_the_queue_is_enabled(void **state)
{
	struct rig *rig = *state;
	const uint32_t regs[] = {TDBAL(0), TDBAH(0), TDLEN(0), TDH(0)};

	for (unsigned i = 0; i < 4; i++) {
		start_queue(rig, 0, RING);
		nic_tx_queue_update(rig->nic, 0);
		rig_violated(rig, NIC_VIOLATION_RING_CHANGED, 0);
		nic_reg_set(rig->nic, regs[i], nic_reg(rig->nic, regs[i]) + 128);
		nic_tx_queue_update(rig->nic, 0);
		nic_tx_queue_update(rig->nic, 0);
		rig_violated(rig, NIC_VIOLATION_RING_CHANGED, 1);
		rig_write(rig, TXDCTL(0), 0);
	}
}

static void the_tail_of_a_disabled_queue_stays(void **state)
{
	struct rig *rig = *state;

	nic_reg_set(rig->nic, TDT(1), 5);
	nic_tx_queue_update(rig->nic, 1);
	nic_tx_queue_update(rig->nic, 1);
	rig_violated(rig, NIC_VIOLATION_TAIL_DISABLED, 1);
	nic_reg_set(rig->nic, TDT(1), 0); /* as a driver prepares it */
	nic_tx_queue_update(rig->nic, 1);
	rig_violated(rig, NIC_VIOLATION_TAIL_DISABLED, 0);

	/* What is left of an enabled queue's life does not count. */
	nic_reg_set(rig->nic, TDT(0), 3);
	rig_write(rig, TXDCTL(0), 0);
	nic_tx_queue_update(rig->nic, 0);
	rig_violated(rig, NIC_VIOLATION_TAIL_DISABLED, 0);
}

static void a_disabled_queue_starts_anew(void **state)
{
	struct rig *rig = *state;

	put_single(rig, 0, 0, 100);
	ring_doorbell(rig, 1);
	rig_clear(rig, TXDCTL(0), TXDCTL_ENABLE);
	assert_false(nic_peek32(rig->nic, TXDCTL(0)) & TXDCTL_ENABLE);
	put_single(rig, 1, 0, 100);
	nic_reg_set(rig->nic, TDT(0), 2);
	assert_int_equal(nic_tx_poll(rig->nic, 10), 0);
	nic_tx_queue_update(rig->nic, 0);
	rig_violated(rig, NIC_VIOLATION_TAIL_DISABLED, 1);

	memset(ring(rig, 0), 0, RING * 16);
	start_queue(rig, 0, RING);
	put_single(rig, 0, 0, 100);
	assert_int_equal(ring_doorbell(rig, 1), 1);
	assert_true(done(rig, 0));
}

static void software_flush_clears_itself(void **state)
{
	struct rig *rig = *state;

	rig_set(rig, TXDCTL(0), TXDCTL_SWFLSH);
	assert_false(nic_peek32(rig->nic, TXDCTL(0)) & TXDCTL_SWFLSH);
	assert_true(nic_peek32(rig->nic, TXDCTL(0)) & TXDCTL_ENABLE);
}

/* --- link, faults, wire ------------------------------------------------------------------------------------------------ */

static void without_link_frames_are_completed_and_dropped(void **state)
{
	struct rig *rig = *state;

	nic_wire_carrier(rig->nic, false);
	put_single(rig, 0, 0, 100);
	ring_doorbell(rig, 1);
	assert_true(done(rig, 0));
	assert_int_equal(rig->sent_count, 0);
	assert_int_equal(rig->nic->stats.tx_dropped, 1);
	assert_int_equal(nic_peek32(rig->nic, GPTC), 0);
}

static void stalled_completions_come_when_the_fault_is_over(void **state)
{
	struct rig *rig = *state;

	nic_fault_set(rig->nic, "tx-stall", UINT64_MAX);
	for (unsigned i = 0; i < 3; i++)
		put_single(rig, i, 0, 100);
	ring_doorbell(rig, 3);
	assert_int_equal(rig->sent_count, 3);
	assert_false(done(rig, 0) || done(rig, 1) || done(rig, 2));
	nic_fault_set(rig->nic, "tx-stall", 0);
	assert_true(nic_tx_work(rig->nic));
	nic_tx_poll(rig->nic, 10);
	assert_true(done(rig, 0) && done(rig, 1) && done(rig, 2));
	assert_false(nic_tx_work(rig->nic));
}

static void a_hung_transmitter_needs_a_reset(void **state)
{
	struct rig *rig = *state;

	nic_fault_set(rig->nic, "tx-hang", UINT64_MAX);
	put_single(rig, 0, 0, 100);
	assert_int_equal(ring_doorbell(rig, 1), 0);
	assert_int_equal(nic_peek32(rig->nic, TDH(0)), 0);
	rig_write(rig, CTRL, CTRL_GIO_DIS);
	rig_write(rig, CTRL, CTRL_RST);
	rig_clear(rig, ESDP, ESDP_SDP3);
	start_queue(rig, 0, RING);
	assert_int_equal(ring_doorbell(rig, 1), 1);
}

static void a_busy_wire_holds_the_ring(void **state)
{
	struct rig *rig = *state;

	rig->wire.tx_pending = true;
	put_single(rig, 0, 0, 100);
	rig_write(rig, TDT(0), 1);
	assert_int_equal(nic_tx_poll(rig->nic, 10), 0);
	assert_true(nic_tx_work(rig->nic));
	rig->wire.tx_pending = false;
	assert_int_equal(nic_tx_poll(rig->nic, 10), 1);
}

static void what_was_sent_is_in_the_statistics(void **state)
{
	struct rig *rig = *state;
	static const uint32_t sizes[] = {60, 61, 200, 400, 900, 1200};

	rig_write(rig, TQSM(0), 3);
	for (unsigned i = 0; i < 6; i++) {
		memset(buffer(rig, i), i == 0 ? 0xff : i == 1 ? 0x01 : 0x02, 6);
		put_single(rig, i, i, sizes[i]);
	}
	ring_doorbell(rig, 6);
	assert_int_equal(nic_read32(rig->nic, GPTC), 6);
	assert_int_equal(nic_read32(rig->nic, GPTC), 0); /* clear on read */
	assert_int_equal(nic_read32(rig->nic, TPT), 6);
	assert_int_equal(nic_read32(rig->nic, BPTC), 1);
	assert_int_equal(nic_read32(rig->nic, MPTC), 1);
	assert_int_equal(nic_read32(rig->nic, GOTCL), 60 + 61 + 200 + 400 + 900 + 1200 + 6 * 4);
	assert_int_equal(nic_read32(rig->nic, PTC64), 1);
	assert_int_equal(nic_read32(rig->nic, PTC127), 1);
	assert_int_equal(nic_read32(rig->nic, PTC255), 1);
	assert_int_equal(nic_read32(rig->nic, PTC511), 1);
	assert_int_equal(nic_read32(rig->nic, PTC1023), 1);
	assert_int_equal(nic_read32(rig->nic, PTC1522), 1);
	assert_int_equal(nic_read32(rig->nic, TXDGPC), 6);
	assert_int_equal(nic_read32(rig->nic, QPTC(3)), 6);
	assert_int_equal(nic_read32(rig->nic, QBTC_L(3)), 60 + 61 + 200 + 400 + 900 + 1200);
	assert_int_equal(rig->nic->stats.tx_frames, 6);
	assert_int_equal(rig->nic->stats.tx_bytes, 60 + 61 + 200 + 400 + 900 + 1200);
}

/* --- hostile clients ------------------------------------------------------------------------------------------------------ */

/* Random descriptors, weighted toward ones that come far: whatever they say, the ring is worked off. */
static void random_descriptors_are_survived(void **state)
{
	struct rig *rig = *state;
	uint32_t random = 12345, tail = 0;
	const int null = open("/dev/null", O_WRONLY), err = dup(STDERR_FILENO);

	dup2(null, STDERR_FILENO); /* every violation would be printed */
	rig_set(rig, HLREG0, HLREG0_JUMBOEN);
	rig_write(rig, MAXFRS, 0x3fffu << MAXFRS_SHIFT);
	for (unsigned b = 0; b < 8; b++)
		build_frame(buffer(rig, b),
			&(struct frame_spec){.v6 = b & 1, .protocol = b & 2 ? TCP : UDP, .payload = 600});
	for (unsigned round = 0; round < 40000; round++) {
		unsigned burst = 1 + round % 7;

		for (unsigned i = 0; i < burst; i++) {
			uint32_t word[4];

			for (unsigned k = 0; k < 4; k++)
				word[k] = random = random * 1664525 + 1013904223 + (random >> 16);
			union ixgbe_tx_desc *desc = &ring(rig, 0)[(tail + i) % RING];

			memcpy(desc, word, 16);
			if (word[0] & 1) /* an address that is mapped */
				desc->read.addr = buffer_iova(word[0] >> 4 & 7) + (word[1] & 63);
			if (word[0] & 2) { /* a type that exists */
				desc->read.cmd_type_len &= ~(TXD_DTYP_MASK | (word[0] & 4 ? 0xfc00u : 0));
				desc->read.cmd_type_len |= TXD_CMD_DEXT | TXD_CMD_IFCS |
							   (word[0] & 8 ? TXD_DTYP_DATA : TXD_DTYP_CONTEXT);
			}
			if ((word[0] & 0x30) == 0x30) /* PAYLEN that is right for one descriptor */
				desc->read.olinfo_status = (desc->read.olinfo_status & 0x3fff) |
							   (desc->read.cmd_type_len & 0xffff)
								   << TXD_OL_PAYLEN_SHIFT;
			if (!(desc->read.cmd_type_len & TXD_DTYP_DATA) || (word[0] & 0x300) == 0) {
				/* contexts with plausible lengths */
				desc->context.vlan_maclen_iplen =
					14u << TXC_MACLEN_SHIFT | (word[3] & 1 ? 20 : 40);
			}
		}
		tail = (tail + burst) % RING;
		rig_write(rig, TDT(0), tail);
		while (nic_tx_work(rig->nic))
			nic_tx_poll(rig->nic, 64);
		const struct tx_queue *q = &rig->nic->txq[0];

		assert_true(q->head == tail || q->partial_tail == tail);
		if (rig->sent_count > RIG_FRAMES / 2)
			rig_forget_sent(rig);
	}
	dup2(err, STDERR_FILENO);
	close(err);
	close(null);
	assert_true(rig->nic->stats.tx_frames > 100); /* some were good */
	memcpy(rig->expected_violations, rig->nic->violation, sizeof(rig->expected_violations));
}

int main(void)
{
#define TEST(f) cmocka_unit_test_setup_teardown(f, setup_with_queue, rig_teardown)
	const struct CMUnitTest tests[] = {
		TEST(a_frame_leaves_as_it_is_and_is_written_back),
		TEST(nothing_happens_without_a_doorbell),
		TEST(a_doorbell_is_work_until_it_is_done),
		TEST(short_frames_are_padded_with_zeros),
		TEST(a_packet_is_gathered_from_its_descriptors_across_the_end_of_the_ring),
		TEST(an_empty_descriptor_adds_nothing),
		TEST(forty_descriptors_make_a_packet),
		TEST(only_descriptors_with_rs_are_written_back),
		TEST(with_wthresh_all_descriptors_are_written_back),
		TEST(sparse_rs_with_wthresh_is_a_violation),
		TEST(head_write_back_replaces_the_descriptors_write_back),
		TEST(a_report_is_an_interrupt_cause),
		TEST(queues_take_turns),
		TEST(legacy_descriptors_send_too),
		TEST(a_legacy_checksum_is_inserted_where_cso_says),
		TEST(without_ifcs_the_client_brings_the_crc),
		TEST(checksums_are_completed_and_client_memory_is_left_alone),
		TEST(a_udp_checksum_of_zero_is_sent_as_ones),
		TEST(an_sctp_checksum_is_a_crc32c),
		TEST(each_queue_has_two_contexts),
		TEST(segmentation_makes_the_frames_that_a_stack_would_make),
		TEST(headers_may_span_descriptors),
		TEST(tcp_flags_follow_the_mask_registers),
		TEST(the_largest_send_is_a_byte_under_256_kilobytes),
		TEST(a_refused_packet_is_completed),
		TEST(a_wrong_paylen_is_refused),
		TEST(a_descriptor_over_16_kilobytes_is_refused),
		TEST(an_unknown_descriptor_type_is_refused),
		TEST(legacy_and_advanced_do_not_mix_in_a_packet),
		TEST(a_context_inside_a_packet_is_refused),
		TEST(forty_one_descriptors_are_refused),
		TEST(the_end_of_a_refused_packet_may_come_later),
		TEST(sizes_that_the_mac_cannot_send_are_refused),
		TEST(an_offload_without_ifcs_is_refused),
		TEST(an_offload_without_context_is_refused),
		TEST(contexts_that_do_not_fit_the_frame_are_refused),
		TEST(headers_in_more_than_four_descriptors_are_refused),
		TEST(a_segmentation_no_longer_than_its_headers_is_refused),
		TEST(data_that_is_not_mapped_is_not_sent),
		TEST(a_tail_amid_a_packet_waits_for_the_rest),
		TEST(a_ring_full_of_a_packet_without_end_is_dropped),
		TEST(a_tail_past_the_ring_is_counted_once),
		TEST(a_ring_that_was_unmapped_stops_its_queue),
		TEST(a_ring_needs_a_bus_master),
		TEST(a_queue_that_is_half_configured_is_not_enabled),
		TEST(ring_registers_stay_while_the_queue_is_enabled),
		TEST(the_tail_of_a_disabled_queue_stays),
		TEST(a_disabled_queue_starts_anew),
		TEST(software_flush_clears_itself),
		TEST(without_link_frames_are_completed_and_dropped),
		TEST(stalled_completions_come_when_the_fault_is_over),
		TEST(a_hung_transmitter_needs_a_reset),
		TEST(a_busy_wire_holds_the_ring),
		TEST(what_was_sent_is_in_the_statistics),
		TEST(random_descriptors_are_survived),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
