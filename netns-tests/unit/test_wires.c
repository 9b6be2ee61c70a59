/*
 * Wires without an interface behind them: the cable between two ports, captures in and out, and the waiting
 * for receive descriptors that all wires share.
 */
#include <errno.h>
#include <pcap/pcap.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "netns-tests/softnic/log.h"
#include "netns-tests/softnic/wire.h"

struct rig {
	struct ev_loop *loop;
	struct nic *nic[2];
	char directory[64];
};

static int setup(void **state)
{
	static struct rig rig;
	rig = (struct rig){.directory = "/tmp/test_wires.XXXXXX"};
	softnic_log_level(LOG_LEVEL_ERROR);
	rig.loop = ev_loop_new(EVFLAG_AUTO);
	assert_non_null(rig.loop);
	for (unsigned i = 0; i < 2; i++) {
		rig.nic[i] = nic_create(i, "test", (const uint8_t[6]){2, 0, 0, 0, 0, (uint8_t)i});
		assert_non_null(rig.nic[i]);
	}
	assert_non_null(mkdtemp(rig.directory));
	*state = &rig;
	return 0;
}

static int teardown(void **state)
{
	struct rig *rig = *state;
	char command[128];
	for (unsigned i = 0; i < 2; i++) {
		wire_close(rig->nic[i]->wire);
		nic_free(rig->nic[i]);
	}
	ev_loop_destroy(rig->loop);
	snprintf(command, sizeof command, "rm -r %s", rig->directory);
	return system(command);
}

static struct wire *plug(struct rig *rig, unsigned port, const char *spec)
{
	struct wire *wire = wire_open(spec, rig->nic[port], rig->loop);
	assert_non_null(wire);
	return wire;
}

/* The least that makes the receiver take frames off the wire: they find no queue, and are counted as missed. */
static void listen_to_all(struct nic *nic)
{
	nic_write32(nic, FCTRL, FCTRL_UPE | FCTRL_MPE | FCTRL_BAM);
	nic_write32(nic, SECRXCTRL, SECRXCTRL_RX_DIS);
	nic_write32(nic, RXCTRL, RXCTRL_RXEN);
	nic_write32(nic, SECRXCTRL, 0);
}

static uint8_t frame[1514];

/* --- cable ---------------------------------------------------------------------------------------------------- */

static void poll_both(struct rig *rig)
{
	for (unsigned i = 0; i < 2; i++) {
		rig->nic[i]->wire->ops->poll(rig->nic[i]->wire, 64);
		nic_receive_flush(rig->nic[i]);
	}
}

static void a_cable_with_one_end_loose_is_dark(void **state)
{
	struct rig *rig = *state;
	struct wire *wire = plug(rig, 0, "cable");
	wire->ops->poll(wire, 64);
	assert_false(rig->nic[0]->link.carrier);
	wire->ops->send(wire, frame, sizeof frame);
	assert_int_equal(wire->tx_dropped, 1);
}

static void light_needs_both_lasers_and_both_plugs(void **state)
{
	struct rig *rig = *state;
	plug(rig, 0, "cable");
	plug(rig, 1, "cable");
	poll_both(rig);
	assert_true(rig->nic[0]->link.carrier && rig->nic[1]->link.carrier);

	for (unsigned i = 0; i < 2; i++) {
		rig->nic[i]->link.cable_out = true;
		poll_both(rig);
		assert_false(rig->nic[0]->link.carrier || rig->nic[1]->link.carrier);
		rig->nic[i]->link.cable_out = false;
		poll_both(rig);
		assert_true(rig->nic[0]->link.carrier && rig->nic[1]->link.carrier);
	}

	nic_write32(rig->nic[1], ESDP, ESDP_SDP3 | ESDP_SDP3_DIR);
	assert_false(nic_laser_on(rig->nic[1]));
	poll_both(rig);
	assert_false(rig->nic[0]->link.carrier);
}

static void a_frame_arrives_at_the_other_end_when_that_is_polled(void **state)
{
	struct rig *rig = *state;
	struct wire *a = plug(rig, 0, "cable"), *b = plug(rig, 1, "cable");
	poll_both(rig);
	a->ops->send(a, frame, sizeof frame);
	assert_int_equal(b->rx_frames, 0); /* not from inside the sender */
	assert_int_equal(b->ops->poll(b, 64), 1);
	assert_int_equal(a->tx_frames, 1);
	assert_int_equal(b->rx_frames, 1);
	assert_int_equal(a->rx_frames, 0);
	assert_int_equal(b->ops->poll(b, 64), 0);
}

static void a_poll_takes_no_more_than_its_budget(void **state)
{
	struct rig *rig = *state;
	struct wire *a = plug(rig, 0, "cable"), *b = plug(rig, 1, "cable");
	poll_both(rig);
	for (unsigned i = 0; i < 10; i++)
		a->ops->send(a, frame, 60);
	assert_int_equal(b->ops->poll(b, 4), 4);
	assert_int_equal(b->ops->poll(b, 64), 6);
}

static void a_full_cable_counts_what_it_loses(void **state)
{
	struct rig *rig = *state;
	struct wire *a = plug(rig, 0, "cable"), *b = plug(rig, 1, "cable");
	poll_both(rig);
	/* Round the ring several times, at sizes that hit its end in different ways. */
	uint64_t sent = 0;
	for (unsigned round = 0; round < 5; round++) {
		for (unsigned i = 0; i < 3000; i++, sent++)
			a->ops->send(a, frame, 60 + (i * 37 + round) % 1400);
		while (b->ops->poll(b, 64))
			;
	}
	assert_true(b->rx_dropped > 0);
	assert_true(b->rx_frames > 5 * 1000);
	assert_int_equal(a->tx_frames, sent);
	assert_int_equal(b->rx_frames + b->rx_dropped, sent);
}

static void a_cable_pulled_from_its_peer_goes_dark(void **state)
{
	struct rig *rig = *state;
	struct wire *a = plug(rig, 0, "cable");
	plug(rig, 1, "cable");
	poll_both(rig);
	wire_close(rig->nic[1]->wire);
	a->ops->poll(a, 64);
	assert_false(rig->nic[0]->link.carrier);
	a->ops->send(a, frame, 60);
	assert_int_equal(a->tx_dropped, 1);
}

/* --- waiting for descriptors ------------------------------------------------------------------------------------ */

static void pretend_queue(struct nic *nic, unsigned n, uint32_t count, uint32_t head, uint32_t tail)
{
	nic->rxq[n] = (struct rx_queue){.enabled = true, .count = count, .head = head, .buffer_size = 2048};
	nic_reg_set(nic, RDT(n), tail);
}

static void frames_wait_while_a_ring_has_no_room_for_them(void **state)
{
	struct rig *rig = *state;
	struct wire *a = plug(rig, 0, "cable"), *b = plug(rig, 1, "cable");
	(void)a;
	poll_both(rig);
	listen_to_all(rig->nic[1]);
	assert_true(rig->nic[1]->link.up);

	pretend_queue(rig->nic[1], 0, 64, 0, 63);
	pretend_queue(rig->nic[1], 5, 64, 60, 10); /* 14 free, over the ring's end */
	b->room = 0;
	assert_true(wire_deliverable(b, 14, 1514));
	b->room = 0;
	assert_false(wire_deliverable(b, 15, 1514));
	assert_true(b->held);
	assert_false(wire_deliverable(b, 3, 9000)); /* five descriptors each */
	assert_true(wire_deliverable(b, 2, 9000));
	assert_false(b->held);
}

static void more_frames_than_a_ring_holds_wait_for_an_empty_ring_only(void **state)
{
	struct rig *rig = *state;
	plug(rig, 0, "cable");
	struct wire *b = plug(rig, 1, "cable");
	poll_both(rig);
	listen_to_all(rig->nic[1]);
	pretend_queue(rig->nic[1], 0, 32, 7, 6);
	b->room = 0;
	assert_true(wire_deliverable(b, 1000, 1514));
}

static void frames_do_not_wait_for_a_receiver_that_is_off(void **state)
{
	struct rig *rig = *state;
	plug(rig, 0, "cable");
	struct wire *b = plug(rig, 1, "cable");
	poll_both(rig);
	assert_true(wire_deliverable(b, 1, 1514));
	listen_to_all(rig->nic[1]); /* and has no queue */
	assert_true(wire_deliverable(b, 1, 1514));
	pretend_queue(rig->nic[1], 0, 64, 5, 64); /* a tail that is no tail is the receiver's business */
	assert_true(wire_deliverable(b, 1, 1514));
}

static void frames_do_not_wait_for_ever(void **state)
{
	struct rig *rig = *state;
	plug(rig, 0, "cable");
	struct wire *b = plug(rig, 1, "cable");
	poll_both(rig);
	listen_to_all(rig->nic[1]);
	pretend_queue(rig->nic[1], 0, 64, 5, 5);
	assert_false(wire_deliverable(b, 1, 60));
	b->held_since_us -= 1000000;
	assert_true(wire_deliverable(b, 1, 60));
	assert_false(b->held);
}

/* --- captures ------------------------------------------------------------------------------------------- */

static const char *path_of(const struct rig *rig, const char *name)
{
	static char path[128];
	snprintf(path, sizeof path, "%s/%s", rig->directory, name);
	return path;
}

static void write_capture(const char *path, int link_type, const size_t *sizes, unsigned count, size_t snap)
{
	pcap_t *format = pcap_open_dead(link_type, 65535);
	pcap_dumper_t *out = pcap_dump_open(format, path);
	assert_non_null(out);
	for (unsigned i = 0; i < count; i++) {
		struct pcap_pkthdr header = {.len = (bpf_u_int32)sizes[i]};
		header.caplen = (bpf_u_int32)(sizes[i] < snap ? sizes[i] : snap);
		memset(frame, (int)i, sizeof frame);
		pcap_dump((u_char *)out, &header, frame);
	}
	pcap_dump_close(out);
	pcap_close(format);
}

static struct wire *plug_capture(struct rig *rig, const char *in, const char *out)
{
	char spec[300];
	snprintf(spec, sizeof spec, "pcap:%s%s%s", in, out ? "," : "", out ? out : "");
	return plug(rig, 0, spec);
}

static void a_capture_is_replayed_once_the_nic_listens(void **state)
{
	struct rig *rig = *state;
	const size_t sizes[] = {60, 1514, 100};
	write_capture(path_of(rig, "in"), DLT_EN10MB, sizes, 3, 65535);
	struct wire *wire = plug_capture(rig, path_of(rig, "in"), NULL);
	assert_true(rig->nic[0]->link.carrier);
	assert_int_equal(wire->ops->poll(wire, 64), 0);
	listen_to_all(rig->nic[0]);
	assert_int_equal(wire->ops->poll(wire, 2), 2);
	assert_int_equal(wire->ops->poll(wire, 64), 1);
	assert_int_equal(wire->ops->poll(wire, 64), 0);
	nic_receive_flush(rig->nic[0]);
	assert_int_equal(wire->rx_frames, 3);
	assert_int_equal(rig->nic[0]->stats.rx_missed, 3); /* no queue was there for them */
}

static void short_frames_are_padded_and_cut_ones_left_out(void **state)
{
	struct rig *rig = *state;
	const size_t sizes[] = {42, 1000, 13, 64};
	write_capture(path_of(rig, "in"), DLT_EN10MB, sizes, 4, 500);
	struct wire *wire = plug_capture(rig, path_of(rig, "in"), NULL);
	listen_to_all(rig->nic[0]);
	while (wire->ops->poll(wire, 64))
		;
	nic_receive_flush(rig->nic[0]);
	assert_int_equal(wire->rx_frames, 2);
	assert_int_equal(wire->rx_dropped, 2);
	assert_int_equal(rig->nic[0]->stats.rx_bad, 0);
}

static void what_the_nic_sends_is_captured(void **state)
{
	struct rig *rig = *state;
	char error[PCAP_ERRBUF_SIZE];
	struct pcap_pkthdr *header;
	const uint8_t *data;
	struct wire *wire = plug_capture(rig, "-", path_of(rig, "out"));
	for (unsigned i = 0; i < sizeof frame; i++)
		frame[i] = (uint8_t)i;
	wire->ops->send(wire, frame, 60);
	wire->ops->send(wire, frame, 1514);
	wire->ops->flush(wire);

	/* Readable while the wire is still open. */
	pcap_t *in = pcap_open_offline_with_tstamp_precision(
		path_of(rig, "out"), PCAP_TSTAMP_PRECISION_NANO, error);
	assert_non_null(in);
	assert_int_equal(pcap_datalink(in), DLT_EN10MB);
	const size_t sizes[] = {60, 1514};
	for (unsigned i = 0; i < 2; i++) {
		assert_int_equal(pcap_next_ex(in, &header, &data), 1);
		assert_int_equal(header->caplen, sizes[i]);
		assert_true(header->ts.tv_sec > 1600000000 && header->ts.tv_usec < 1000000000);
		assert_memory_equal(data, frame, sizes[i]);
	}
	assert_int_equal(pcap_next_ex(in, &header, &data), PCAP_ERROR_BREAK);
	pcap_close(in);
	assert_int_equal(wire->tx_frames, 2);
}

static void a_capture_that_ends_amid_a_frame_ends_the_replay(void **state)
{
	struct rig *rig = *state;
	const size_t sizes[] = {60, 1514};
	write_capture(path_of(rig, "in"), DLT_EN10MB, sizes, 2, 65535);
	assert_int_equal(truncate(path_of(rig, "in"), 24 + 16 + 60 + 16 + 100), 0);
	struct wire *wire = plug_capture(rig, path_of(rig, "in"), NULL);
	listen_to_all(rig->nic[0]);
	assert_int_equal(wire->ops->poll(wire, 64), 1);
	assert_int_equal(wire->ops->poll(wire, 64), 0);
}

static void unfit_captures_are_refused(void **state)
{
	struct rig *rig = *state;
	char spec[200];
	const size_t size = 60;
	write_capture(path_of(rig, "raw"), DLT_RAW, &size, 1, 65535);
	snprintf(spec, sizeof spec, "pcap:%s", path_of(rig, "raw"));
	assert_null(wire_open(spec, rig->nic[0], rig->loop));
	snprintf(spec, sizeof spec, "pcap:%s", path_of(rig, "missing"));
	assert_null(wire_open(spec, rig->nic[0], rig->loop));
	snprintf(spec, sizeof spec, "pcap:-,%s/no/such/directory", rig->directory);
	assert_null(wire_open(spec, rig->nic[0], rig->loop));
	assert_null(wire_open("pcap:/dev/null", rig->nic[0], rig->loop));
}

/* --- names ---------------------------------------------------------------------------------------------- */

static void unknown_wires_are_refused(void **state)
{
	struct rig *rig = *state;
	const char *wrong[] = {"", "wire", "none:x", "cable:1", "dev", "dev:", "pcap", "pcap:", "deva:b",
		"dev:there_is_no_such_name", "dev:a-name-longer-than-the-kernel-takes"};
	for (unsigned i = 0; i < sizeof wrong / sizeof wrong[0]; i++)
		assert_null(wire_open(wrong[i], rig->nic[0], rig->loop));
	assert_null(rig->nic[0]->wire);
}

static void nothing_plugged_in_is_dark_and_loses_everything(void **state)
{
	struct rig *rig = *state;
	struct wire *wire = plug(rig, 0, "none");
	assert_false(rig->nic[0]->link.carrier);
	nic_wire_send(rig->nic[0], frame, 60);
	wire->ops->flush(wire);
	assert_int_equal(wire->ops->poll(wire, 64), 0);
	assert_int_equal(wire->tx_dropped, 1);
}

#define TEST(test) cmocka_unit_test_setup_teardown(test, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(a_cable_with_one_end_loose_is_dark),
		TEST(light_needs_both_lasers_and_both_plugs),
		TEST(a_frame_arrives_at_the_other_end_when_that_is_polled),
		TEST(a_poll_takes_no_more_than_its_budget),
		TEST(a_full_cable_counts_what_it_loses),
		TEST(a_cable_pulled_from_its_peer_goes_dark),
		TEST(frames_wait_while_a_ring_has_no_room_for_them),
		TEST(more_frames_than_a_ring_holds_wait_for_an_empty_ring_only),
		TEST(frames_do_not_wait_for_a_receiver_that_is_off),
		TEST(frames_do_not_wait_for_ever),
		TEST(a_capture_is_replayed_once_the_nic_listens),
		TEST(short_frames_are_padded_and_cut_ones_left_out),
		TEST(what_the_nic_sends_is_captured),
		TEST(a_capture_that_ends_amid_a_frame_ends_the_replay),
		TEST(unfit_captures_are_refused),
		TEST(unknown_wires_are_refused),
		TEST(nothing_plugged_in_is_dark_and_loses_everything),
	};
	return cmocka_run_group_tests_name("wires", tests, NULL, NULL);
}
