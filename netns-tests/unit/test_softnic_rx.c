/* The software NIC's receive side: a frame's way into memory, and what stops it. */
#include "rx_rig.h"

#include <fcntl.h>

/* --- a frame's way into memory -------------------------------------------------------------------------- */

static void a_frame_lands_in_the_first_buffer(void **state)
{
	struct rig *rig = *state;
	uint8_t frame[400];
	size_t size = tcp_frame(frame, 200);

	receive(rig, frame, size);
	const union ixgbe_rx_desc *desc = &ring(rig, 0)[0];

	assert_int_equal(desc->wb.status_error & (RXD_STAT_DD | RXD_STAT_EOP), RXD_STAT_DD | RXD_STAT_EOP);
	assert_int_equal(desc->wb.length, size);
	assert_memory_equal(buffer(rig, 0, 0), frame, size);
	assert_int_equal(buffer(rig, 0, 0)[size], 0); /* and not a byte more */
	assert_int_equal(nic_peek32(rig->nic, RDH(0)), 1);
	assert_false(done(rig, 0, 1));
}

static void nothing_is_written_back_before_the_flush(void **state)
{
	struct rig *rig = *state;
	uint8_t frame[400];
	size_t size = tcp_frame(frame, 200);

	for (unsigned i = 0; i < 5; i++)
		nic_receive(rig->nic, frame, size);
	assert_false(done(rig, 0, 0));
	nic_receive_flush(rig->nic);
	for (unsigned i = 0; i < 5; i++)
		assert_true(done(rig, 0, i));
	assert_int_equal(nic_peek32(rig->nic, RDH(0)), 5);
}

static void frames_go_round_the_ring(void **state)
{
	struct rig *rig = *state;
	uint8_t frame[100];
	size_t size = tcp_frame(frame, 20);
	unsigned next = 0;

	/* Through a ring of 64, whose descriptors come back as soon as they are done, flushed seldom. */
	for (unsigned i = 0; i < 500; i++) {
		nic_receive(rig->nic, frame, size);
		if (i % 60 == 59)
			nic_receive_flush(rig->nic);
		for (; done(rig, 0, next); next = (next + 1) % RING) {
			prepare(rig, 0, next);
			rig_write(rig, RDT(0), next);
		}
	}
	nic_receive_flush(rig->nic);
	assert_int_equal(rig->nic->stats.rx_delivered, 500);
}

static void a_long_burst_is_written_back_before_its_end(void **state)
{
	struct rig *rig = *state;
	uint8_t frame[9000];

	tcp_frame(frame, 8900);
	rig_set(rig, HLREG0, HLREG0_JUMBOEN);
	rig_write(rig, MAXFRS, 9728u << MAXFRS_SHIFT);
	rig_write(rig, RXDCTL(0), 0);
	configure_queue(rig, 0, SRRCTL_DESCTYPE_ADV_ONEBUF | 1);
	rig_write(rig, RDLEN(0), 256 * 16);
	rig_write(rig, RXDCTL(0), RXDCTL_ENABLE);
	for (unsigned i = 0; i < 256; i++)
		prepare(rig, 0, i);
	rig_write(rig, RDT(0), 255);
	for (unsigned i = 0; i < 28; i++)
		nic_receive(rig->nic, frame, 9000); /* 9 descriptors each */
	assert_true(done(rig, 0, 0));
	assert_false(done(rig, 0, 28 * 9 - 1));
	nic_receive_flush(rig->nic);
	for (unsigned i = 0; i < 28 * 9; i++)
		assert_int_equal(ring(rig, 0)[i].wb.status_error & (RXD_STAT_DD | RXD_STAT_EOP),
			RXD_STAT_DD | (i % 9 == 8 ? RXD_STAT_EOP : 0));
	assert_int_equal(rig->nic->stats.rx_delivered, 28);
}

static void a_short_frame_gets_the_padding_that_its_sender_left_out(void **state)
{
	struct rig *rig = *state;
	uint8_t frame[58];

	memset(frame, 0xff, sizeof(frame));
	receive(rig, frame, 58);
	memset(buffer(rig, 0, 1), 0xaa, 100);
	receive(rig, frame, 42);
	assert_int_equal(ring(rig, 0)[1].wb.length, 60);
	for (unsigned i = 42; i < 60; i++)
		assert_int_equal(buffer(rig, 0, 1)[i], 0); /* and nothing of the frame before */
	assert_int_equal(buffer(rig, 0, 1)[60], 0xaa);
}

static void a_long_frame_is_a_chain(void **state)
{
	struct rig *rig = *state;
	uint8_t frame[9100];
	size_t size = tcp_frame(frame, 9000);

	rig_set(rig, HLREG0, HLREG0_JUMBOEN);
	rig_write(rig, MAXFRS, 9728u << MAXFRS_SHIFT);
	for (unsigned i = 0; i < 60; i++) /* so that the chain crosses the end of the ring */
		receive(rig, frame, 100);
	for (unsigned i = 0; i < 20; i++)
		prepare(rig, 0, i);
	rig_write(rig, RDT(0), 20);
	receive(rig, frame, size);
	for (unsigned k = 0; k < 5; k++) {
		unsigned i = (60 + k) % RING;
		size_t want = k < 4 ? 2048 : size - 4 * 2048;

		assert_int_equal(ring(rig, 0)[i].wb.length, want);
		assert_int_equal(!!(ring(rig, 0)[i].wb.status_error & RXD_STAT_EOP), k == 4);
		assert_memory_equal(buffer(rig, 0, i), frame + k * 2048, want);
	}
	assert_int_equal(nic_peek32(rig->nic, RDH(0)), 1);
}

static void a_frame_that_just_fills_its_buffers_needs_no_further_one(void **state)
{
	struct rig *rig = *state;
	uint8_t frame[4200];
	size_t size = tcp_frame(frame, 4096 - 54);

	assert_int_equal(size, 4096);
	rig_set(rig, HLREG0, HLREG0_JUMBOEN);
	rig_write(rig, MAXFRS, 9728u << MAXFRS_SHIFT);
	receive(rig, frame, size);
	assert_int_equal(ring(rig, 0)[1].wb.length, 2048);
	assert_true(ring(rig, 0)[1].wb.status_error & RXD_STAT_EOP);
	assert_false(done(rig, 0, 2));
}

static void a_frame_that_does_not_fit_is_not_delivered_in_part(void **state)
{
	struct rig *rig = *state;
	uint8_t frame[9100];
	size_t size = tcp_frame(frame, 9000);

	rig_set(rig, HLREG0, HLREG0_JUMBOEN);
	rig_write(rig, MAXFRS, 9728u << MAXFRS_SHIFT);
	rig_write(rig, RDT(0), 4); /* it needs 5 */
	receive(rig, frame, size);
	assert_false(done(rig, 0, 0));
	assert_int_equal(nic_peek32(rig->nic, RDH(0)), 0);
	assert_int_equal(nic_read32(rig->nic, MPC(0)), 1);
	assert_true(nic_peek32(rig->nic, EICR) & EICR_RX_MISS);
	assert_int_equal(rig->nic->stats.rx_missed, 1);
	receive(rig, frame, 1000); /* a smaller one still does */
	assert_true(done(rig, 0, 0));
}

static void head_and_tail_alike_mean_no_descriptors(void **state)
{
	struct rig *rig = *state;
	uint8_t frame[200];
	size_t size = tcp_frame(frame, 100);

	rig_write(rig, RDT(0), 0);
	receive(rig, frame, size);
	assert_int_equal(rig->nic->stats.rx_missed, 1);
	rig_write(rig, RDT(0), 1);
	receive(rig, frame, size);
	receive(rig, frame, size);
	assert_int_equal(rig->nic->stats.rx_delivered, 1);
	assert_int_equal(rig->nic->stats.rx_missed, 2);
}

static void a_queue_with_drop_en_counts_its_own_drops(void **state)
{
	struct rig *rig = *state;
	uint8_t frame[200];
	size_t size = tcp_frame(frame, 100);

	rig_write(rig, RQSMR(0), 5);
	start_queue(rig, 0, ONEBUF_2K | SRRCTL_DROP_EN);
	rig_write(rig, RDT(0), 0);
	receive(rig, frame, size);
	assert_int_equal(nic_read32(rig->nic, QPRDC(5)), 1);
	assert_int_equal(nic_read32(rig->nic, MPC(0)), 0);
	assert_false(nic_peek32(rig->nic, EICR) & EICR_RX_MISS);
}

static void the_crc_is_delivered_if_it_is_not_stripped(void **state)
{
	struct rig *rig = *state;
	uint8_t frame[200];
	size_t size = tcp_frame(frame, 100);
	uint32_t crc = crc32_ethernet(frame, size);

	rig_clear(rig, HLREG0, HLREG0_RXCRCSTRP);
	receive(rig, frame, size);
	assert_int_equal(ring(rig, 0)[0].wb.length, size + 4);
	assert_memory_equal(buffer(rig, 0, 0) + size, &crc, 4);
}

static void a_tag_is_stripped_into_the_descriptor(void **state)
{
	struct rig *rig = *state;
	uint8_t frame[200], untagged[200];
	struct frame_spec spec = {.protocol = TCP, .payload = 100, .dst = MAC};

	build_frame(untagged, &spec);
	spec.tag = 0x6123;
	size_t size = build_frame(frame, &spec).size;

	receive(rig, frame, size);
	assert_int_equal(ring(rig, 0)[0].wb.length, size);
	assert_false(ring(rig, 0)[0].wb.status_error & RXD_STAT_VP);

	rig_set(rig, RXDCTL(0), RXDCTL_VME);
	receive(rig, frame, size);
	assert_int_equal(ring(rig, 0)[1].wb.length, size - 4);
	assert_true(ring(rig, 0)[1].wb.status_error & RXD_STAT_VP);
	assert_int_equal(ring(rig, 0)[1].wb.vlan, 0x6123);
	assert_memory_equal(buffer(rig, 0, 1), untagged, size - 4);
	assert_true(ring(rig, 0)[1].wb.status_error & RXD_STAT_L4I);
}

static void legacy_descriptors_are_written_in_their_own_form(void **state)
{
	struct rig *rig = *state;
	uint8_t frame[200];
	size_t size = tcp_frame(frame, 100);

	start_queue(rig, 0, SRRCTL_DESCTYPE_LEGACY | 2);
	receive(rig, frame, size);
	const union ixgbe_rx_desc *desc = &ring(rig, 0)[0];

	assert_int_equal(desc->legacy.status, RXD_STAT_DD | RXD_STAT_EOP | RXD_STAT_L4I | RXD_STAT_IPCS);
	assert_int_equal(desc->legacy.errors, 0);
	assert_int_equal(desc->legacy.length, size);
	assert_int_equal(desc->legacy.addr, RIG_IOVA + buffer_at(0, 0)); /* stays */
	frame[60] ^= 1;
	receive(rig, frame, size);
	assert_int_equal(ring(rig, 0)[1].legacy.errors, 0x40); /* TCPE */
}

/* --- statistics ----------------------------------------------------------------------------------------- */

static void what_was_received_is_in_the_statistics(void **state)
{
	struct rig *rig = *state;
	static const size_t sizes[] = {60, 61, 124, 252, 1019, 1020};
	uint8_t frame[1300];
	uint32_t octets = 0;

	rig_write(rig, RQSMR(0), 2);
	rig_set(rig, FCTRL, FCTRL_MPE);
	for (unsigned i = 0; i < 6; i++) {
		tcp_frame(frame, 1200);
		if (i == 0)
			memset(frame, 0xff, 6);
		if (i == 1)
			frame[0] = 1;
		nic_receive(rig->nic, frame, sizes[i]);
		octets += (uint32_t)sizes[i];
	}
	frame[5] ^= 1; /* to somebody else */
	nic_receive(rig->nic, frame, 1000);
	nic_receive_flush(rig->nic);

	assert_int_equal(nic_read32(rig->nic, GPRC), 6);
	assert_int_equal(nic_read32(rig->nic, GPRC), 0);
	assert_int_equal(nic_read32(rig->nic, RXNFGPC), 7);
	assert_int_equal(nic_read32(rig->nic, TPR), 7);
	assert_int_equal(nic_read32(rig->nic, BPRC), 1);
	assert_int_equal(nic_read32(rig->nic, MPRC), 1);
	assert_int_equal(nic_read32(rig->nic, GORCL), octets); /* the CRC is stripped */
	assert_int_equal(nic_read32(rig->nic, TORL), octets + 1000);
	assert_int_equal(nic_read32(rig->nic, PRC64), 1);
	assert_int_equal(nic_read32(rig->nic, PRC127), 1);
	assert_int_equal(nic_read32(rig->nic, PRC255), 1);
	assert_int_equal(nic_read32(rig->nic, PRC511), 1);
	assert_int_equal(nic_read32(rig->nic, PRC1023), 2);
	assert_int_equal(nic_read32(rig->nic, PRC1522), 1);
	assert_int_equal(nic_read32(rig->nic, RXDGPC), 6);
	assert_int_equal(nic_read32(rig->nic, QPRC(2)), 6);
	assert_int_equal(nic_read32(rig->nic, QBRC_L(2)), octets);
	assert_int_equal(rig->nic->stats.rx_frames, 7);
	assert_int_equal(rig->nic->stats.rx_filtered, 1);
}

/* --- faults, loopback ----------------------------------------------------------------------------------- */

static void faults_strike_as_often_as_they_were_armed(void **state)
{
	struct rig *rig = *state;
	uint8_t frame[200];
	size_t size = tcp_frame(frame, 100);

	nic_fault_set(rig->nic, "rx-length-zero", 1);
	receive(rig, frame, size);
	assert_int_equal(ring(rig, 0)[0].wb.length, 0);
	assert_true(done(rig, 0, 0));

	nic_fault_set(rig->nic, "rx-length-over", 1);
	receive(rig, frame, size);
	assert_true(ring(rig, 0)[1].wb.length > 2048);

	nic_fault_set(rig->nic, "rx-no-eop", 2);
	receive(rig, frame, size);
	receive(rig, frame, size);
	assert_false((ring(rig, 0)[2].wb.status_error | ring(rig, 0)[3].wb.status_error) & RXD_STAT_EOP);

	nic_fault_set(rig->nic, "rx-bad-status", 1);
	receive(rig, frame, size);
	assert_int_equal(ring(rig, 0)[4].wb.status_error & (RXD_ERR_RXE | RXD_ERR_TCPE | RXD_ERR_IPE),
		RXD_ERR_RXE | RXD_ERR_TCPE | RXD_ERR_IPE);

	receive(rig, frame, size);
	assert_int_equal(ring(rig, 0)[5].wb.length, size);
	assert_int_equal(ring(rig, 0)[5].wb.status_error & (RXD_STAT_EOP | RXD_ERR_RXE), RXD_STAT_EOP);
}

static void a_hung_receiver_drops_as_if_no_descriptor_was_there(void **state)
{
	struct rig *rig = *state;
	uint8_t frame[200];
	size_t size = tcp_frame(frame, 100);

	nic_fault_set(rig->nic, "rx-hang", UINT64_MAX);
	receive(rig, frame, size);
	assert_false(done(rig, 0, 0));
	assert_int_equal(nic_read32(rig->nic, MPC(0)), 1);
}

static void in_loopback_frames_come_back(void **state)
{
	struct rig *rig = *state;
	union ixgbe_tx_desc *tx = (union ixgbe_tx_desc *)(rig->memory + 0x80000);
	uint8_t *data = rig->memory + 0x90000;
	size_t size = tcp_frame(data, 500);

	nic_wire_carrier(rig->nic, false);
	rig_set(rig, AUTOC, AUTOC_FLU);
	rig_set(rig, HLREG0, HLREG0_LPBK);
	rig_set(rig, DMATXCTL, DMATXCTL_TE);
	rig_write(rig, TDBAL(0), (uint32_t)(RIG_IOVA + 0x80000));
	rig_write(rig, TDLEN(0), RING * 16);
	rig_write(rig, TXDCTL(0), TXDCTL_ENABLE);
	for (unsigned i = 0; i < 10; i++)
		tx[i] = (union ixgbe_tx_desc){
			.read = {.addr = RIG_IOVA + 0x90000,
				.cmd_type_len = TXD_CMD_DEXT | TXD_DTYP_DATA | TXD_CMD_IFCS | TXD_CMD_EOP |
						TXD_CMD_RS | (uint32_t)size,
				.olinfo_status = (uint32_t)size << TXD_OL_PAYLEN_SHIFT}};
	rig_write(rig, TDT(0), 10);
	assert_int_equal(nic_tx_poll(rig->nic, 64), 10);
	assert_int_equal(rig->sent_count, 0);
	for (unsigned i = 0; i < 10; i++) {
		assert_true(done(rig, 0, i));
		assert_int_equal(ring(rig, 0)[i].wb.length, size);
		assert_memory_equal(buffer(rig, 0, i), data, size);
	}
	receive(rig, data, size); /* the wire's own are not heard */
	assert_false(done(rig, 0, 10));
}

/* --- what is refused ------------------------------------------------------------------------------------ */

static void assert_not_enabled(struct rig *rig, unsigned n, enum nic_violation v)
{
	rig_write(rig, RXDCTL(n), RXDCTL_ENABLE);
	rig_violated(rig, v, 1);
	assert_false(nic_peek32(rig->nic, RXDCTL(n)) & RXDCTL_ENABLE);
}

static void a_queue_that_is_half_configured_is_not_enabled(void **state)
{
	struct rig *rig = *state;

	assert_not_enabled(rig, 1, NIC_VIOLATION_QUEUE_HALF_CONFIGURED); /* no ring */
	configure_queue(rig, 2, SRRCTL_DESCTYPE_ADV_ONEBUF);
	assert_not_enabled(rig, 2, NIC_VIOLATION_RX_BUFFER);
	configure_queue(rig, 3, SRRCTL_DESCTYPE_ADV_ONEBUF | 17);
	assert_not_enabled(rig, 3, NIC_VIOLATION_RX_BUFFER);
	configure_queue(rig, 4, SRRCTL_DESCTYPE_ADV_SPLIT | 2);
	assert_not_enabled(rig, 4, NIC_VIOLATION_RX_BUFFER);
	configure_queue(rig, 5, 3u << 25 | 2);
	assert_not_enabled(rig, 5, NIC_VIOLATION_QUEUE_HALF_CONFIGURED);
	configure_queue(rig, 6, ONEBUF_2K);
	rig_write(rig, RDLEN(6), 0);
	assert_not_enabled(rig, 6, NIC_VIOLATION_RING_ALIGN);
	configure_queue(rig, 7, ONEBUF_2K);
	rig_write(rig, RDBAL(7), (uint32_t)RIG_IOVA + 8);
	assert_not_enabled(rig, 7, NIC_VIOLATION_RING_ALIGN);
	configure_queue(rig, 8, ONEBUF_2K);
	rig_write(rig, RDH(8), RING);
	assert_not_enabled(rig, 8, NIC_VIOLATION_QUEUE_HALF_CONFIGURED);
}

static void a_queue_without_a_ring_offends_only_when_receive_is_on(void **state)
{
	struct rig *rig = *state;

	rig_write(rig, RXCTRL, 0);
	rig_write(rig, RXDCTL(1), RXDCTL_ENABLE);
	rig_write(rig, RXDCTL(2), RXDCTL_ENABLE);
	nic_rx_queue_update(rig->nic, 1);
	rig_write(rig, RXDCTL(1), 0);
	rig_violated(rig, NIC_VIOLATION_QUEUE_HALF_CONFIGURED, 0);
	rig_write(rig, RXCTRL, RXCTRL_RXEN);
	rig_violated(rig, NIC_VIOLATION_QUEUE_HALF_CONFIGURED, 1);
	assert_false(nic_peek32(rig->nic, RXDCTL(2)) & RXDCTL_ENABLE);
}

static void ring_registers_stay_while_the_queue_is_enabled(void **state)
{
	struct rig *rig = *state;
	const uint32_t regs[] = {RDBAL(0), RDBAH(0), RDLEN(0), RDH(0)};

	for (unsigned i = 0; i < 4; i++) {
		start_queue(rig, 0, ONEBUF_2K);
		nic_rx_queue_update(rig->nic, 0);
		rig_violated(rig, NIC_VIOLATION_RING_CHANGED, 0);
		nic_reg_set(rig->nic, regs[i], nic_reg(rig->nic, regs[i]) + 128);
		nic_rx_queue_update(rig->nic, 0);
		nic_rx_queue_update(rig->nic, 0);
		rig_violated(rig, NIC_VIOLATION_RING_CHANGED, 1);
		rig_write(rig, RXDCTL(0), 0);
	}
}

static void the_tail_of_a_disabled_queue_stays(void **state)
{
	struct rig *rig = *state;

	nic_reg_set(rig->nic, RDT(1), 5);
	nic_rx_queue_update(rig->nic, 1);
	nic_rx_queue_update(rig->nic, 1);
	rig_violated(rig, NIC_VIOLATION_TAIL_DISABLED, 1);
	nic_reg_set(rig->nic, RDT(1), 0); /* as a driver prepares it */
	nic_rx_queue_update(rig->nic, 1);
	rig_violated(rig, NIC_VIOLATION_TAIL_DISABLED, 0);

	/* What is left of an enabled queue's life does not count. */
	nic_reg_set(rig->nic, RDT(0), 3);
	rig_write(rig, RXDCTL(0), 0);
	nic_rx_queue_update(rig->nic, 0);
	nic_reg_set(rig->nic, RDT(0), 4);
	nic_rx_queue_update(rig->nic, 0);
	rig_violated(rig, NIC_VIOLATION_TAIL_DISABLED, 0);
}

static void a_driver_whose_function_is_reset_behind_its_back_may_ring_on(void **state)
{
	struct rig *rig = *state;

	start_queue(rig, 0, ONEBUF_2K);
	nic_reset_function(rig->nic);
	nic_reg_set(rig->nic, RDT(0), 5);
	nic_rx_queue_update(rig->nic, 0);
	rig_violated(rig, NIC_VIOLATION_TAIL_DISABLED, 0);
	rig_write(rig, CTRL, CTRL_RST); /* now it knows */
	nic_rx_queue_update(rig->nic, 0);
	nic_reg_set(rig->nic, RDT(0), 6);
	nic_rx_queue_update(rig->nic, 0);
	rig_violated(rig, NIC_VIOLATION_TAIL_DISABLED, 1);
}

static void the_reserved_bit_of_dca_rxctrl_is_a_violation(void **state)
{
	struct rig *rig = *state;

	rig_set(rig, DCA_RXCTRL(1), DCA_RXCTRL_BIT12);
	configure_queue(rig, 1, ONEBUF_2K);
	rig_write(rig, RXDCTL(1), RXDCTL_ENABLE);
	rig_violated(rig, NIC_VIOLATION_RX_DCA_RESERVED, 1);
	assert_true(nic_peek32(rig->nic, RXDCTL(1)) & RXDCTL_ENABLE);
}

static void a_tail_past_the_ring_is_counted_once(void **state)
{
	struct rig *rig = *state;
	uint8_t frame[200];
	size_t size = tcp_frame(frame, 100);

	nic_reg_set(rig->nic, RDT(0), RING);
	receive(rig, frame, size);
	receive(rig, frame, size);
	rig_violated(rig, NIC_VIOLATION_TAIL_RANGE, 1);
	assert_int_equal(rig->nic->stats.rx_missed, 2);
	nic_reg_set(rig->nic, RDT(0), RING - 1);
	receive(rig, frame, size);
	assert_true(done(rig, 0, 0));
}

static void a_buffer_that_is_not_mapped_makes_a_bad_frame(void **state)
{
	struct rig *rig = *state;
	uint8_t frame[200];
	size_t size = tcp_frame(frame, 100);

	ring(rig, 0)[0].read.packet_addr = RIG_IOVA + RIG_SIZE - 10;
	receive(rig, frame, size);
	rig_violated(rig, NIC_VIOLATION_DMA_UNMAPPED, 1);
	assert_true(ring(rig, 0)[0].wb.status_error & RXD_ERR_RXE);
	receive(rig, frame, size);
	assert_false(ring(rig, 0)[1].wb.status_error & RXD_ERR_RXE);
}

static void a_ring_that_was_unmapped_stops_its_queue(void **state)
{
	struct rig *rig = *state;
	uint8_t frame[200];
	size_t size = tcp_frame(frame, 100);

	receive(rig, frame, size);
	nic_dma_unmap_all(rig->nic);
	receive(rig, frame, size);
	receive(rig, frame, size);
	rig_violated(rig, NIC_VIOLATION_DMA_UNMAPPED, 1);
	assert_int_equal(rig->nic->stats.rx_missed, 2);
}

/* D3hot under running queues, as when a function's power is managed behind its driver's back. */
static void a_sleeping_function_receives_nothing_and_forgives_late_doorbells(void **state)
{
	struct rig *rig = *state;
	uint8_t frame[200];
	size_t size = tcp_frame(frame, 100);

	rig->nic->pages_mapped = true;
	nic_config_write(rig->nic, 0x44, 2, 3);
	receive(rig, frame, size);
	assert_int_equal(rig->nic->stats.rx_missed, 1);
	assert_false(done(rig, 0, 0));
	nic_reg_set(rig->nic, RDT(0), RING); /* a store into a mapped page, and not even in range */
	nic_scan_mapped(rig->nic);
	nic_config_write(rig->nic, 0x44, 2, 0);
	assert_false(rig->nic->rxq[0].enabled);
	nic_reg_set(rig->nic, RDT(0), 5); /* the driver has not noticed yet */
	nic_scan_mapped(rig->nic);
	receive(rig, frame, size);
	assert_false(done(rig, 0, 0));
}

static void a_reset_within_a_burst_forgets_it(void **state)
{
	struct rig *rig = *state;
	uint8_t frame[200];

	nic_receive(rig->nic, frame, tcp_frame(frame, 100));
	nic_reset_device(rig->nic);
	nic_receive_flush(rig->nic);
	assert_false(done(rig, 0, 0));
}

static void unmapping_within_a_burst_ends_it_first(void **state)
{
	struct rig *rig = *state;
	uint8_t frame[200];

	nic_receive(rig->nic, frame, tcp_frame(frame, 100));
	nic_dma_unmap_all(rig->nic);
	assert_true(done(rig, 0, 0));
	nic_receive_flush(rig->nic);
}

/* Rings full of noise: whatever the addresses say, the NIC writes inside what is mapped, or not at all. */
static void random_descriptors_are_survived(void **state)
{
	struct rig *rig = *state;
	uint8_t frame[9100];
	uint32_t random = 99;
	const int null = open("/dev/null", O_WRONLY), err = dup(STDERR_FILENO);

	dup2(null, STDERR_FILENO); /* every violation would be printed */
	rig_set(rig, HLREG0, HLREG0_JUMBOEN);
	rig_write(rig, MAXFRS, 9728u << MAXFRS_SHIFT);
	rig_set(rig, FCTRL, FCTRL_UPE | FCTRL_MPE);
	for (unsigned round = 0; round < 300; round++) {
		start_queue(rig, 0,
			(round & 1 ? SRRCTL_DESCTYPE_ADV_SPLIT_ALWAYS : SRRCTL_DESCTYPE_ADV_ONEBUF) |
				(1 + round % 3) | 2 << SRRCTL_BSIZEHEADER_SHIFT);
		rig_write(rig, RDT(0), 0);
		for (unsigned i = 0; i < RING; i++) {
			uint64_t a = random = random * 1664525 + 1013904223;
			uint64_t b = random = random * 1664525 + 1013904223;

			ring(rig, 0)[i].read.packet_addr =
				a & 1 ? RIG_IOVA + RIG_BUFFERS + b % 0x100000 : a << 31 ^ b;
			ring(rig, 0)[i].read.header_addr =
				b & 1 ? RIG_IOVA + RIG_BUFFERS + a % 0x100000 : b << 30 ^ a;
		}
		for (unsigned k = 0; k < 40; k++) {
			random = random * 1664525 + 1013904223;
			size_t size = 14 + (random >> 8) % 9000;

			memset(frame, (int)(random >> 24), sizeof(frame));
			tcp_frame(frame, 20);
			nic_receive(rig->nic, frame, size);
			nic_reg_set(rig->nic, RDT(0), random >> 16 & 0x7f); /* some past the ring */
			if (k % 8 == 0)
				nic_receive_flush(rig->nic);
		}
		nic_receive_flush(rig->nic);
	}
	dup2(err, STDERR_FILENO);
	close(err);
	close(null);
	assert_true(rig->nic->stats.rx_delivered > 1000);
	memcpy(rig->expected_violations, rig->nic->violation, sizeof(rig->expected_violations));
}

int main(void)
{
#define TEST(f) cmocka_unit_test_setup_teardown(f, setup_receiving, rig_teardown)
	const struct CMUnitTest tests[] = {
		TEST(a_frame_lands_in_the_first_buffer),
		TEST(nothing_is_written_back_before_the_flush),
		TEST(frames_go_round_the_ring),
		TEST(a_long_burst_is_written_back_before_its_end),
		TEST(a_short_frame_gets_the_padding_that_its_sender_left_out),
		TEST(a_long_frame_is_a_chain),
		TEST(a_frame_that_just_fills_its_buffers_needs_no_further_one),
		TEST(a_frame_that_does_not_fit_is_not_delivered_in_part),
		TEST(head_and_tail_alike_mean_no_descriptors),
		TEST(a_queue_with_drop_en_counts_its_own_drops),
		TEST(the_crc_is_delivered_if_it_is_not_stripped),
		TEST(a_tag_is_stripped_into_the_descriptor),
		TEST(legacy_descriptors_are_written_in_their_own_form),
		TEST(what_was_received_is_in_the_statistics),
		TEST(faults_strike_as_often_as_they_were_armed),
		TEST(a_hung_receiver_drops_as_if_no_descriptor_was_there),
		TEST(in_loopback_frames_come_back),
		TEST(a_queue_that_is_half_configured_is_not_enabled),
		TEST(a_queue_without_a_ring_offends_only_when_receive_is_on),
		TEST(ring_registers_stay_while_the_queue_is_enabled),
		TEST(the_tail_of_a_disabled_queue_stays),
		TEST(a_driver_whose_function_is_reset_behind_its_back_may_ring_on),
		TEST(the_reserved_bit_of_dca_rxctrl_is_a_violation),
		TEST(a_tail_past_the_ring_is_counted_once),
		TEST(a_buffer_that_is_not_mapped_makes_a_bad_frame),
		TEST(a_ring_that_was_unmapped_stops_its_queue),
		TEST(a_sleeping_function_receives_nothing_and_forgives_late_doorbells),
		TEST(a_reset_within_a_burst_forgets_it),
		TEST(unmapping_within_a_burst_ends_it_first),
		TEST(random_descriptors_are_survived),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
