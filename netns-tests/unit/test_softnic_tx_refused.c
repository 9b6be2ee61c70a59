/* What the software NIC does not send, and how it goes on after that. */
#include "tx_rig.h"

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
	nic_reg_set(rig->nic, TDT(0), 4);
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

int main(void)
{
#define TEST(f) cmocka_unit_test_setup_teardown(f, setup_with_queue, rig_teardown)
	const struct CMUnitTest tests[] = {
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
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
