/* The software NIC's transmit side: rings and plain frames. */
#include "tx_rig.h"

#include <fcntl.h>

/* --- plain frames --------------------------------------------------------------------------------------- */

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
	put_data(rig, 1, 0, 0, 0, TXD_CMD_RS, 0);
	put_data(rig, 2, 0, 60, 40, TXD_CMD_EOP | TXD_CMD_RS, 0);
	ring_doorbell(rig, 3);
	assert_sent(rig, 0, buffer(rig, 0), 100);
	assert_false(done(rig, 1)); /* nor is it reported */
	assert_true(done(rig, 2));
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

/* --- link, faults, wire --------------------------------------------------------------------------------- */

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
	static const uint32_t sizes[] = {60, 61, 124, 252, 1019, 1020};

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
	assert_int_equal(nic_read32(rig->nic, GOTCL), 60 + 61 + 124 + 252 + 1019 + 1020 + 6 * 4);
	assert_int_equal(nic_read32(rig->nic, PTC64), 1);
	assert_int_equal(nic_read32(rig->nic, PTC127), 1);
	assert_int_equal(nic_read32(rig->nic, PTC255), 1);
	assert_int_equal(nic_read32(rig->nic, PTC511), 1);
	assert_int_equal(nic_read32(rig->nic, PTC1023), 1);
	assert_int_equal(nic_read32(rig->nic, PTC1522), 1);
	assert_int_equal(nic_read32(rig->nic, TXDGPC), 6);
	assert_int_equal(nic_read32(rig->nic, QPTC(3)), 6);
	assert_int_equal(nic_read32(rig->nic, QBTC_L(3)), 60 + 61 + 124 + 252 + 1019 + 1020);
	assert_int_equal(rig->nic->stats.tx_frames, 6);
	assert_int_equal(rig->nic->stats.tx_bytes, 60 + 61 + 124 + 252 + 1019 + 1020);
}

/* --- hostile clients ------------------------------------------------------------------------------------ */

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
		for (unsigned polls = 0; nic_tx_work(rig->nic); polls++) {
			assert_true(polls < 100); /* work that does not end would keep a core busy for ever */
			nic_tx_poll(rig->nic, 64);
		}
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
		TEST(without_link_frames_are_completed_and_dropped),
		TEST(stalled_completions_come_when_the_fault_is_over),
		TEST(a_hung_transmitter_needs_a_reset),
		TEST(a_busy_wire_holds_the_ring),
		TEST(what_was_sent_is_in_the_statistics),
		TEST(random_descriptors_are_survived),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
