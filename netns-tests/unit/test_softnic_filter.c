/* Which frames the software NIC lets in, to whom they go, and what their descriptors say of them. */
#include "rx_rig.h"

/* --- what the descriptor says --------------------------------------------------------------------------- */

static void types_and_checksums_are_reported(void **state)
{
	struct rig *rig = *state;
	const struct {
		struct frame_spec spec;
		uint32_t type, status;
	} cases[] = {
		{{.protocol = TCP, .payload = 90}, RXD_TYPE_IPV4 | RXD_TYPE_TCP,
			RXD_STAT_IPCS | RXD_STAT_L4I},
		{{.protocol = UDP, .payload = 90}, RXD_TYPE_IPV4 | RXD_TYPE_UDP,
			RXD_STAT_IPCS | RXD_STAT_L4I | RXD_STAT_UDPCS},
		{{.protocol = TCP, .payload = 90, .ip_options = 8},
			RXD_TYPE_IPV4 | RXD_TYPE_IPV4E | RXD_TYPE_TCP, RXD_STAT_IPCS | RXD_STAT_L4I},
		{{.payload = 90}, RXD_TYPE_IPV4, RXD_STAT_IPCS},
		{{.v6 = true, .protocol = TCP, .payload = 90}, RXD_TYPE_IPV6 | RXD_TYPE_TCP, RXD_STAT_L4I},
		{{.v6 = true, .protocol = UDP, .payload = 90}, RXD_TYPE_IPV6 | RXD_TYPE_UDP,
			RXD_STAT_L4I | RXD_STAT_UDPCS},
		{{.v6 = true, .payload = 90}, RXD_TYPE_IPV6, 0},
	};

	for (unsigned i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		uint8_t frame[300];
		struct frame_spec spec = cases[i].spec;

		memcpy(spec.dst, (const uint8_t[6])MAC, 6);
		receive(rig, frame, build_frame(frame, &spec).size);
		assert_int_equal(ring(rig, 0)[i].wb.info, cases[i].type);
		assert_int_equal(
			ring(rig, 0)[i].wb.status_error, RXD_STAT_DD | RXD_STAT_EOP | cases[i].status);
	}
}

static void wrong_checksums_are_reported(void **state)
{
	struct rig *rig = *state;
	uint8_t frame[300];
	struct frame_layout at =
		build_frame(frame, &(struct frame_spec){.protocol = TCP, .payload = 90, .dst = MAC});

	frame[at.l3 + 8] ^= 1;
	receive(rig, frame, at.size);
	assert_int_equal(ring(rig, 0)[0].wb.status_error & (RXD_ERR_IPE | RXD_ERR_TCPE), RXD_ERR_IPE);
	frame[at.l3 + 8] ^= 1;
	frame[at.payload] ^= 1;
	receive(rig, frame, at.size);
	assert_int_equal(ring(rig, 0)[1].wb.status_error & (RXD_ERR_IPE | RXD_ERR_TCPE), RXD_ERR_TCPE);
}

static void rss_spreads_flows_and_reports_the_hash(void **state)
{
	struct rig *rig = *state;
	uint8_t key[40], frame[200];

	for (unsigned n = 1; n < 4; n++)
		start_queue(rig, n, ONEBUF_2K);
	for (unsigned i = 0; i < 40; i++)
		key[i] = (uint8_t)(i * 37 + 11);
	for (unsigned i = 0; i < 10; i++)
		rig_write(rig, RSSRK(i),
			key[4 * i] | key[4 * i + 1] << 8 | key[4 * i + 2] << 16 |
				(uint32_t)key[4 * i + 3] << 24);
	for (unsigned i = 0; i < 32; i++)
		rig_write(rig, RETA(i), 0x03020100);
	rig_write(rig, MRQC, MRQC_RSS | MRQC_RSS_TCP4 | MRQC_RSS_IP4);
	rig_set(rig, RXCSUM, RXCSUM_PCSD);

	unsigned next[4] = {0};
	for (unsigned flow = 0; flow < 100; flow++) {
		struct frame_layout at =
			build_frame(frame, &(struct frame_spec){.protocol = TCP, .payload = 10, .dst = MAC});
		uint8_t input[12];

		put16(frame + at.l4, 40000 + flow);
		memcpy(input, frame + at.l3 + 12, 8);
		memcpy(input + 8, frame + at.l4, 4);
		uint32_t hash = rss_toeplitz(key, input, 12);
		unsigned n = hash % 4, i = next[n]++;

		receive(rig, frame, at.size);
		assert_true(done(rig, n, i));
		assert_int_equal(ring(rig, n)[i].wb.rss_hash, hash);
		assert_int_equal(ring(rig, n)[i].wb.info & 0xf, 1);
	}
	for (unsigned n = 0; n < 4; n++)
		assert_true(next[n] > 5);

	memset(frame, 0xff, sizeof(frame)); /* not IP */
	receive(rig, frame, 100);
	assert_true(done(rig, 0, next[0]));
	assert_int_equal(ring(rig, 0)[next[0]].wb.info & 0xf, 0);
}

static void headers_are_split_off_if_they_fit(void **state)
{
	struct rig *rig = *state;
	uint8_t frame[400];
	size_t size = tcp_frame(frame, 300);
	const uint32_t split = SRRCTL_DESCTYPE_ADV_SPLIT | 2;

	rig_write(rig, PSRTYPE(0), PSRTYPE_TCP);
	start_queue(rig, 0, split | 2 << SRRCTL_BSIZEHEADER_SHIFT);
	receive(rig, frame, size);
	assert_int_equal(ring(rig, 0)[0].wb.info & RXD_INFO_SPH, RXD_INFO_SPH);
	assert_int_equal(ring(rig, 0)[0].wb.info >> RXD_INFO_HDR_LEN_SHIFT & 0x3ff, 54);
	assert_int_equal(ring(rig, 0)[0].wb.length, 300);
	assert_memory_equal(header_buffer(rig, 0), frame, 54);
	assert_memory_equal(buffer(rig, 0, 0), frame + 54, 300);

	/* Not of a type to be split: all of it goes into the packet buffer. */
	memset(frame, 0xff, 100);
	receive(rig, frame, 100);
	assert_int_equal(ring(rig, 0)[1].wb.info >> RXD_INFO_HDR_LEN_SHIFT, 0);
	assert_int_equal(ring(rig, 0)[1].wb.length, 100);

	/* Headers longer than their buffer. */
	size = build_frame(
		frame, &(struct frame_spec){.protocol = TCP, .ip_options = 20, .payload = 200, .dst = MAC})
		       .size;
	start_queue(rig, 0, split | 1 << SRRCTL_BSIZEHEADER_SHIFT);
	receive(rig, frame, size);
	assert_true(ring(rig, 0)[0].wb.status_error & RXD_ERR_HBO);
	assert_int_equal(ring(rig, 0)[0].wb.length, size);
}

static void split_always_uses_the_header_buffer_first(void **state)
{
	struct rig *rig = *state;
	uint8_t frame[400];

	start_queue(rig, 0, SRRCTL_DESCTYPE_ADV_SPLIT_ALWAYS | 2 | 2 << SRRCTL_BSIZEHEADER_SHIFT);
	memset(frame, 0xff, sizeof(frame));
	receive(rig, frame, 100); /* whole */
	assert_int_equal(ring(rig, 0)[0].wb.info >> RXD_INFO_HDR_LEN_SHIFT, 100);
	assert_int_equal(ring(rig, 0)[0].wb.length, 0);
	assert_memory_equal(header_buffer(rig, 0), frame, 100);
	receive(rig, frame, 200);
	assert_int_equal(ring(rig, 0)[1].wb.info >> RXD_INFO_HDR_LEN_SHIFT, 128);
	assert_int_equal(ring(rig, 0)[1].wb.length, 72);
}

static void a_queue_that_gets_frames_is_an_interrupt_cause(void **state)
{
	struct rig *rig = *state;
	uint8_t frame[200];

	rig_write(rig, IVAR(0), IVAR_VALID | 7);
	nic_receive(rig->nic, frame, tcp_frame(frame, 100));
	assert_false(nic_peek32(rig->nic, EICR) & BIT(7));
	nic_receive_flush(rig->nic);
	assert_true(nic_peek32(rig->nic, EICR) & BIT(7));
}

/* --- filters -------------------------------------------------------------------------------------------- */

/* Whether a frame to this address, with this tag or none, is let in. */
static bool let_in(struct rig *rig, const uint8_t dst[6], int tag)
{
	uint8_t frame[100];
	struct frame_spec spec = {.protocol = UDP, .payload = 40, .tag = tag};
	uint64_t delivered = rig->nic->stats.rx_delivered, filtered = rig->nic->stats.rx_filtered;

	memcpy(spec.dst, dst, 6);
	receive(rig, frame, build_frame(frame, &spec).size);
	bool in = rig->nic->stats.rx_delivered == delivered + 1;

	assert_int_equal(rig->nic->stats.rx_filtered, filtered + !in);
	return in;
}

static void unicast_passes_by_exact_address_or_promiscuity(void **state)
{
	struct rig *rig = *state;
	static const uint8_t mine[6] = MAC, other[6] = {0x02, 0x11, 0x22, 0x33, 0x44, 0x56};

	assert_true(let_in(rig, mine, 0));
	assert_false(let_in(rig, other, 0));
	assert_false(ring(rig, 0)[0].wb.status_error & RXD_STAT_PIF);

	rig_write(rig, RAL(100), 0x33221102);
	rig_write(rig, RAH(100), 0x5644); /* not valid yet */
	assert_false(let_in(rig, other, 0));
	rig_write(rig, RAH(100), RAH_AV | 0x5644);
	assert_true(let_in(rig, other, 0));

	static const uint8_t third[6] = {0x06, 1, 2, 3, 4, 5};

	rig_set(rig, FCTRL, FCTRL_UPE);
	assert_true(let_in(rig, third, 0));
	assert_true(ring(rig, 0)[2].wb.status_error & RXD_STAT_PIF);
}

static void broadcast_passes_if_it_is_accepted(void **state)
{
	struct rig *rig = *state;
	static const uint8_t all[6] = {0xff, 0xff, 0xff, 0xff, 0xff, 0xff};

	assert_true(let_in(rig, all, 0));
	rig_clear(rig, FCTRL, FCTRL_BAM);
	assert_false(let_in(rig, all, 0));
}

static void multicast_passes_by_table_or_promiscuity(void **state)
{
	struct rig *rig = *state;
	static const uint8_t group[6] = {0x01, 0x00, 0x5e, 0x00, 0x34, 0x12};

	assert_false(let_in(rig, group, 0));
	rig_write(rig, MTA(0x123 / 32), 1u << 0x123 % 32);
	assert_false(let_in(rig, group, 0)); /* the table is not in use */
	rig_write(rig, MCSTCTRL, MCSTCTRL_MFE);
	assert_true(let_in(rig, group, 0));
	assert_true(ring(rig, 0)[0].wb.status_error & RXD_STAT_PIF);
	rig_write(rig, MCSTCTRL, MCSTCTRL_MFE | 3);
	assert_false(let_in(rig, group, 0)); /* other bits of the address */
	rig_set(rig, FCTRL, FCTRL_MPE);
	assert_true(let_in(rig, group, 0));
	rig_clear(rig, FCTRL, FCTRL_MPE);
	rig_set(rig, FCTRL, FCTRL_UPE);
	assert_false(let_in(rig, group, 0));
}

static void tags_pass_by_the_vlan_table(void **state)
{
	struct rig *rig = *state;
	static const uint8_t mine[6] = MAC;

	assert_true(let_in(rig, mine, 100));
	rig_set(rig, VLNCTRL, VLNCTRL_VFE);
	assert_false(let_in(rig, mine, 100));
	assert_true(let_in(rig, mine, 0));
	rig_write(rig, VFTA(100 / 32), 1u << 100 % 32);
	assert_true(let_in(rig, mine, 100));
	assert_true(let_in(rig, mine, 0x6000 | 100)); /* priority does not matter */
	assert_false(let_in(rig, mine, 101));
	rig_set(rig, VLNCTRL, VLNCTRL_CFIEN);
	assert_false(let_in(rig, mine, 0x1000 | 100));
	assert_true(let_in(rig, mine, 100));
}

static void pause_frames_end_in_the_mac(void **state)
{
	struct rig *rig = *state;
	uint8_t frame[60] = {0x01, 0x80, 0xc2, 0, 0, 1, 2, 2, 2, 2, 2, 2, 0x88, 0x08, 0, 1};

	rig_set(rig, FCTRL, FCTRL_MPE);
	receive(rig, frame, 60);
	assert_int_equal(rig->nic->stats.rx_filtered, 1);
	rig_set(rig, MFLCN, MFLCN_PMCF);
	receive(rig, frame, 60);
	assert_int_equal(rig->nic->stats.rx_delivered, 1);
}

static void frames_of_bad_length_are_counted_and_dropped(void **state)
{
	struct rig *rig = *state;
	uint8_t frame[16500];

	tcp_frame(frame, 16000);
	receive(rig, frame, 13);
	assert_int_equal(nic_read32(rig->nic, RUC), 1);
	receive(rig, frame, 1514);
	assert_int_equal(rig->nic->stats.rx_delivered, 1);
	receive(rig, frame, 1515);
	assert_int_equal(nic_read32(rig->nic, ROC), 1);
	put16(frame + 12, 0x8100);
	receive(rig, frame, 1518); /* a tag makes room for itself */
	assert_int_equal(rig->nic->stats.rx_delivered, 2);
	receive(rig, frame, 1519);
	assert_int_equal(nic_read32(rig->nic, ROC), 1);

	put16(frame + 12, 0x0800);
	rig_set(rig, HLREG0, HLREG0_JUMBOEN);
	rig_write(rig, MAXFRS, 9728u << MAXFRS_SHIFT);
	receive(rig, frame, 9724);
	assert_int_equal(rig->nic->stats.rx_delivered, 3);
	receive(rig, frame, 9725);
	assert_int_equal(nic_read32(rig->nic, ROC), 1);
	rig_write(rig, MAXFRS, 0xffffu << MAXFRS_SHIFT);
	receive(rig, frame, 16400);
	assert_int_equal(nic_read32(rig->nic, ROC), 1);
	assert_int_equal(rig->nic->stats.rx_bad, 5);
}

static void nothing_comes_in_without_rxen_or_link(void **state)
{
	struct rig *rig = *state;
	uint8_t frame[200];
	size_t size = tcp_frame(frame, 100);

	nic_wire_carrier(rig->nic, false);
	receive(rig, frame, size);
	nic_wire_carrier(rig->nic, true);
	rig_clear(rig, RXCTRL, RXCTRL_RXEN);
	receive(rig, frame, size);
	assert_int_equal(rig->nic->stats.rx_missed, 2);
	assert_int_equal(nic_peek32(rig->nic, GPRC), 0);
	assert_false(done(rig, 0, 0));
}

int main(void)
{
#define TEST(f) cmocka_unit_test_setup_teardown(f, setup_receiving, rig_teardown)
	const struct CMUnitTest tests[] = {
		TEST(types_and_checksums_are_reported),
		TEST(wrong_checksums_are_reported),
		TEST(rss_spreads_flows_and_reports_the_hash),
		TEST(headers_are_split_off_if_they_fit),
		TEST(split_always_uses_the_header_buffer_first),
		TEST(a_queue_that_gets_frames_is_an_interrupt_cause),
		TEST(unicast_passes_by_exact_address_or_promiscuity),
		TEST(broadcast_passes_if_it_is_accepted),
		TEST(multicast_passes_by_table_or_promiscuity),
		TEST(tags_pass_by_the_vlan_table),
		TEST(pause_frames_end_in_the_mac),
		TEST(frames_of_bad_length_are_counted_and_dropped),
		TEST(nothing_comes_in_without_rxen_or_link),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
