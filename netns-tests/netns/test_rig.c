/*
 * The rig itself, without the programs under test: a checker that finds nothing, or a capture that misses
 * frames, would make every other test pass.
 */
#include "rig.h"

#include <linux/if_ether.h>
#include <sys/stat.h>
#include <unistd.h>

static void the_checker_accepts_a_right_frame_and_finds_every_wrong_byte(void **state)
{
	uint8_t frame[256], dst[6] = {2, 0, 0, 0, 0, 1}, src[6] = {2, 0, 0, 0, 0, 2};
	size_t size = frame_udp4(frame, dst, src, "10.0.0.1", "10.0.0.2", 1000, 2000, 33);

	(void)state;
	assert_null(frame_fault(frame, size));
	for (size_t i = ETH_HLEN; i < size; i++) {
		frame[i] ^= 0x5A;
		/* A fragment's checksum cannot be told from one frame; the IPv4 header's own sum still can. */
		assert_non_null(frame_fault(frame, size));
		frame[i] ^= 0x5A;
	}
	assert_null(frame_fault(frame, frame_tag(frame, size, ETH_P_8021Q, 5)));
}

static void a_bare_cable_carries_raw_frames_and_their_tags_unchanged(void **state)
{
	struct rig *rig = *state;
	int peer = raw_open(rig->peer, "p0"), host = raw_open(rig->host, "d0");
	uint8_t frame[1600], dst[6], src[6];
	struct captured *got = malloc(sizeof(*got));

	link_mac(rig->host, "d0", dst);
	link_mac(rig->peer, "p0", src);
	frame_test(frame, 200, dst, src, 7);
	raw_send(peer, frame, 200);
	assert_true(raw_receive_type(host, got, ETHERTYPE_TEST, 5));
	assert_int_equal(got->size, 200);
	assert_memory_equal(got->data, frame, 200);
	assert_false(got->vlan);

	frame_tag(frame, 200, ETH_P_8021Q, 0x2064);
	raw_send(peer, frame, 204);
	assert_true(raw_receive_type(host, got, ETH_P_8021Q, 5));
	assert_int_equal(got->size, 204);
	assert_memory_equal(got->data, frame, 204);
	assert_true(got->vlan);
	assert_int_equal(raw_lost(host), 0);
	free(got);
	close(peer);
	close(host);
}

static void a_command_that_hangs_is_ended_and_its_children_too(void **state)
{
	struct rig *rig = *state;

	assert_int_equal(command_within(1, rig->host, "echo $$; sleep 100 | sleep 100"), STATUS_TIMEOUT);
	assert_false(process_exists(atoi(command_output())));
	assert_int_equal(command(rig->host, "exit 7"), 7);
	assert_int_equal(command(rig->host, "kill -9 $$"), STATUS_SIGNAL + 9);
}

static void a_program_is_stopped_in_bounded_time_whatever_it_does_with_sigterm(void **state)
{
	struct process *polite = process_start("polite", NULL, "exec sleep 100"), *quick;

	(void)state;
	assert_true(process_running(polite));
	assert_int_equal(process_stop(polite), STATUS_SIGNAL + 15);
	assert_false(process_running(polite));
	quick = process_start("quick", NULL, "echo out; echo err >&2; exit 3");
	assert_int_equal(process_wait(quick, 5), 3);
	assert_string_equal(process_stdout(quick), "out\n");
	assert_string_equal(process_stderr(quick), "err\n");
}

static void the_namespaces_and_files_of_a_killed_run_are_removed_by_the_next(void **state)
{
	pid_t dead;

	(void)state;
	command_ok(NULL, "echo $$"); /* a process number that is no longer in use */
	dead = atoi(command_output());
	command_ok(NULL, "ip netns add ixytest-%d-host && mkdir -p /tmp/ixytest-%d", (int)dead, (int)dead);
	assert_true(rig_begin());
	assert_int_not_equal(command(NULL, "test -e /run/netns/ixytest-%d-host", (int)dead), 0);
	assert_int_not_equal(command(NULL, "test -e /tmp/ixytest-%d", (int)dead), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		RIG_TEST(the_checker_accepts_a_right_frame_and_finds_every_wrong_byte),
		RIG_TEST(a_bare_cable_carries_raw_frames_and_their_tags_unchanged),
		RIG_TEST(a_command_that_hangs_is_ended_and_its_children_too),
		RIG_TEST(a_program_is_stopped_in_bounded_time_whatever_it_does_with_sigterm),
		RIG_TEST(the_namespaces_and_files_of_a_killed_run_are_removed_by_the_next),
	};

	return rig_main("netns: the rig", tests);
}
