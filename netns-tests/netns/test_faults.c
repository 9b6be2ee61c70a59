/*
 * Every way in which the software NIC can be told to misbehave ends in one of two ways: traffic flows again, with
 * the resets or drops that it took counted, or the daemon ends and says why.
 */
#include "rig.h"

#include <unistd.h>

#define END_SECONDS 15

/* The faults, and the drop reason that counts what each spoilt frame by frame; NULL: a test of its own. */
static const struct {
	const char *name, *drop;
} faults[] = {
	{"tx-stall", NULL},
	{"tx-hang", NULL},
	{"rx-hang", NULL},
	{"rx-length-zero", "rx-bad-descriptor"},
	{"rx-length-over", "rx-bad-descriptor"},
	{"rx-no-eop", "rx-bad-descriptor"},
	{"rx-bad-status", "rx-error"},
	{"removed", NULL},
	{"reset-stuck", NULL},
	{"no-master-done", NULL},
};

#define FAULTS (sizeof(faults) / sizeof(faults[0]))

static bool known(const char *name, size_t length)
{
	for (size_t i = 0; i < FAULTS; i++)
		if (strlen(faults[i].name) == length && !strncmp(faults[i].name, name, length))
			return true;
	return false;
}

static void every_fault_that_the_software_nic_lists_is_tried_here(void **state)
{
	struct rig *rig = *state;
	const char *line;
	size_t count = 0;

	rig_start(rig, "");
	for (line = rig_ctl(rig, "faults"); *line; count++) {
		size_t length = strcspn(line, " \t\n:");

		if (!known(line, length))
			fail_msg("no test for the fault %.*s", (int)length, line);
		line += strcspn(line, "\n");
		line += *line == '\n';
	}
	assert_int_equal(count, FAULTS);
	rig_finish(rig);
}

static uint64_t resets(struct rig *rig)
{
	return tapd_number(rig->tapd, ".resets");
}

static uint64_t drops(struct rig *rig, const char *reason)
{
	return tapd_number(rig->tapd, ".drops[\"%s\"]", reason);
}

/* Traffic both ways, whatever becomes of it. Floods, so that a hung queue has something to hang on. */
static struct process *start_traffic(struct rig *rig)
{
	return process_start("traffic", rig->peer, "exec ping -nqi0.002 %s", rig->v4_host);
}

static void assert_recovers(struct rig *rig)
{
	assert_soon(20, link_carrier(rig->host, "ixy0"));
	assert_soon(20, rig_ping(rig));
	/* Not just the one: */
	command_ok(rig->host, "ping -nqc50 -i0.005 -W5 %s", rig->v4_peer);
}

static void a_hung_queue_is_reset(struct rig *rig, const char *fault, const char *drop)
{
	uint64_t before = resets(rig), dropped = drops(rig, drop);
	struct process *traffic = start_traffic(rig);

	rig_ctl(rig, "fault 0 %s on", fault);
	if (!wait_for(20, resets(rig) > before))
		fail_msg("%s: no reset: %s", fault, command_ok(NULL, "tail -n 1 %s", rig->tapd->stdout_path));
	process_stop(traffic);
	assert_recovers(rig);
	assert_true(drops(rig, drop) > dropped);
}

static void a_hung_transmit_queue_is_found_and_reset(void **state)
{
	struct rig *rig = *state;

	rig_start(rig, "");
	for (unsigned round = 0; round < 3; round++)
		a_hung_queue_is_reset(rig, "tx-hang", "tx-reset");
	rig_finish(rig);
}

static void a_hung_receive_queue_is_found_and_reset(void **state)
{
	struct rig *rig = *state;

	rig_start(rig, "");
	for (unsigned round = 0; round < 3; round++)
		a_hung_queue_is_reset(rig, "rx-hang", "rx-no-descriptor");
	rig_finish(rig);
}

static void hung_queues_among_four_are_reset_with_polling_too(void **state)
{
	struct rig *rig = *state;

	rig_start_vfio_user(rig, "--queues 4 --poll");
	a_hung_queue_is_reset(rig, "tx-hang", "tx-reset");
	a_hung_queue_is_reset(rig, "rx-hang", "rx-no-descriptor");
	rig_finish(rig);
}

static void a_reset_brings_back_the_mtu_the_mac_and_the_filters(void **state)
{
	struct rig *rig = *state;

	command_ok(rig->peer, "ip link set p0 mtu 9000");
	command_ok(rig->host, "ip link set d0 mtu 9000");
	rig_start(rig, "--multicast list");
	command_ok(rig->host, "ip link set ixy0 mtu 9000 address 02:00:00:00:00:42 promisc on");
	assert_soon(5, rig_peek(rig, 0x4268) >> 16 == 9018 && rig_peek(rig, 0x5080) & 0x200);
	command_ok(rig->peer, "ip neigh flush dev p0");
	rig_await_ping(rig);
	a_hung_queue_is_reset(rig, "tx-hang", "tx-reset");
	assert_int_equal(rig_peek(rig, 0x4268) >> 16, 9018);
	assert_int_equal(rig_peek(rig, 0x5080) & 0x200, 0x200);
	assert_int_equal(rig_peek(rig, 0xA200), 0x00000002);
	assert_int_equal(rig_peek(rig, 0xA204), 0x80004200);
	command_ok(rig->peer, "ping -nqc3 -i0.01 -W5 -M do -s 8972 %s", rig->v4_host);
	rig_finish(rig);
}

static void completions_that_stall_end_in_recovery_once_they_come_again(void **state)
{
	struct rig *rig = *state;
	struct process *traffic;

	rig_start(rig, "");
	traffic = start_traffic(rig);
	rig_ctl(rig, "fault 0 tx-stall on");
	assert_soon(20, resets(rig) > 0);
	rig_ctl(rig, "fault 0 tx-stall off");
	process_stop(traffic);
	assert_recovers(rig);
	rig_finish(rig);
}

static void garbage_in_receive_descriptors_costs_the_frame_and_no_more(void **state)
{
	struct rig *rig = *state;

	rig_start(rig, "");
	for (size_t i = 0; i < FAULTS; i++) {
		uint64_t before;

		if (!faults[i].drop)
			continue;
		before = drops(rig, faults[i].drop);
		rig_ctl(rig, "fault 0 %s 5", faults[i].name);
		command(rig->peer, "ping -nqc20 -i0.01 -W1 %s", rig->v4_host);
		/* Five frames were spoilt; a missing EOP takes the frame behind it along. */
		assert_soon(5, drops(rig, faults[i].drop) > before);
		assert_in_range(drops(rig, faults[i].drop) - before, 1, 5);
		assert_recovers(rig);
		assert_int_equal(resets(rig), 0);
	}
	rig_finish(rig);
}

/* For ever, with jumbo frames in chains and small ones between: nothing may leak or run away. */
static void endless_garbage_in_receive_descriptors_is_survived(void **state)
{
	struct rig *rig = *state;

	command_ok(rig->peer, "ip link set p0 mtu 9000");
	command_ok(rig->host, "ip link set d0 mtu 9000");
	rig_start(rig, "--mtu 9000 --queues 2");
	for (size_t i = 0; i < FAULTS; i++) {
		if (!faults[i].drop)
			continue;
		rig_ctl(rig, "fault 0 %s on", faults[i].name);
		command(rig->peer, "ping -nqc300 -i0.001 -W1 -s 8000 %s", rig->v4_host);
		command(rig->peer, "ping -nqc300 -i0.001 -W1 -s 100 %s", rig->v4_host);
		assert_true(process_running(rig->tapd));
		rig_ctl(rig, "fault 0 %s off", faults[i].name);
		assert_recovers(rig);
	}
	rig_finish(rig);
}

static void a_surprise_removal_is_noticed_and_the_daemon_ends(void **state)
{
	struct rig *rig = *state;

	for (int traffic = 0; traffic < 2; traffic++) {
		rig_start_vfio_user(rig, traffic ? "--queues 2" : "");
		if (traffic)
			start_traffic(rig);
		rig_ctl(rig, "fault 0 removed on");
		assert_int_equal(process_wait(rig->tapd, END_SECONDS), 69);
		process_assert_sane(rig->tapd);
		assert_non_null(strstr(process_stderr(rig->tapd), "was removed"));
		assert_false(link_exists(rig->host, "ixy0"));
		assert_int_equal(rig_violations(rig, 0), 0);
		rig_finish_softnic(rig);
	}
}

static void a_nic_that_never_leaves_reset_is_refused_and_taken_once_it_does(void **state)
{
	struct rig *rig = *state;
	struct process *tapd;
	char text[128];

	snprintf(text, sizeof(text), "%s=dev:d0", rig_socket(0));
	rig_start_softnic(rig, text);
	rig_ctl(rig, "fault 0 reset-stuck on");
	tapd = tapd_start(rig->host, "vfio-user:%s ixy0", rig_socket(0));
	assert_int_equal(process_wait(tapd, END_SECONDS), 69);
	process_assert_sane(tapd);
	assert_non_null(strstr(process_stderr(tapd), "reset"));
	assert_false(link_exists(rig->host, "ixy0"));

	rig_ctl(rig, "fault 0 reset-stuck off");
	snprintf(text, sizeof(text), "vfio-user:%s", rig_socket(0));
	rig_start_tapd(rig, "", text);
	rig_addresses(rig);
	rig_await_ping(rig);
	rig_finish(rig);
}

static void a_nic_that_hangs_and_cannot_be_reset_ends_the_daemon(void **state)
{
	struct rig *rig = *state;

	rig_start_vfio_user(rig, "");
	start_traffic(rig);
	rig_ctl(rig, "fault 0 reset-stuck on");
	rig_ctl(rig, "fault 0 tx-hang on");
	assert_int_equal(process_wait(rig->tapd, END_SECONDS), 69);
	process_assert_sane(rig->tapd);
	assert_non_null(strstr(process_stderr(rig->tapd), "reset"));
	assert_false(link_exists(rig->host, "ixy0"));
	rig_ctl(rig, "fault 0 reset-stuck off");
	rig_finish_softnic(rig);
}

static void a_nic_that_does_not_quiesce_is_stopped_and_taken_all_the_same(void **state)
{
	struct rig *rig = *state;
	char text[128];
	int status;

	rig_start_vfio_user(rig, "");
	rig_ctl(rig, "fault 0 no-master-done on");
	/* It stops in bounded time, and a next one starts, although the NIC never says that DMA is over. */
	status = process_stop(rig->tapd);
	process_assert_sane(rig->tapd);
	assert_int_equal(status, 0);
	snprintf(text, sizeof(text), "vfio-user:%s", rig_socket(0));
	rig_start_tapd(rig, "", text);
	rig_addresses(rig);
	rig_await_ping(rig);
	rig_ctl(rig, "fault 0 no-master-done off");
	rig_finish(rig);
}

static void a_fault_that_does_not_exist_is_refused(void **state)
{
	struct rig *rig = *state;

	rig_start(rig, "");
	assert_int_equal(
		command(NULL, "%s ctl %s fault 0 no-such-fault on", rig_program("ixy-softnic"), rig->control),
		1);
	assert_int_equal(
		command(NULL, "%s ctl %s fault 7 tx-hang on", rig_program("ixy-softnic"), rig->control), 1);
	assert_int_equal(command(NULL, "%s ctl %s nonsense", rig_program("ixy-softnic"), rig->control), 1);
	assert_int_equal(command(NULL, "%s ctl /no/such/socket ports", rig_program("ixy-softnic")), 1);
	assert_true(rig_ping(rig));
	rig_finish(rig);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		RIG_TEST(every_fault_that_the_software_nic_lists_is_tried_here),
		RIG_TEST(a_hung_transmit_queue_is_found_and_reset),
		RIG_TEST(a_hung_receive_queue_is_found_and_reset),
		RIG_TEST(hung_queues_among_four_are_reset_with_polling_too),
		RIG_TEST(a_reset_brings_back_the_mtu_the_mac_and_the_filters),
		RIG_TEST(completions_that_stall_end_in_recovery_once_they_come_again),
		RIG_TEST(garbage_in_receive_descriptors_costs_the_frame_and_no_more),
		RIG_TEST(endless_garbage_in_receive_descriptors_is_survived),
		RIG_TEST(a_surprise_removal_is_noticed_and_the_daemon_ends),
		RIG_TEST(a_nic_that_never_leaves_reset_is_refused_and_taken_once_it_does),
		RIG_TEST(a_nic_that_hangs_and_cannot_be_reset_ends_the_daemon),
		RIG_TEST(a_nic_that_does_not_quiesce_is_stopped_and_taken_all_the_same),
		RIG_TEST(a_fault_that_does_not_exist_is_refused),
	};

	return rig_main("netns: a NIC that misbehaves", tests);
}
