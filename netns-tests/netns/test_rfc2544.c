/*
 * ixy-pktgen rfc2544: the benchmarks between two ports of a software NIC, on wires of known capacity.
 *
 * They run with real-time priority where the system allows it: what is measured is the wire, not who else wants the
 * processor.
 */
#include "app_rig.h"

#include <signal.h>

#define MBIT 10 /* of the slow wires */

static char devices[2][192];

static const char *with_priority(void)
{
	return command(NULL, "chrt --fifo 10 true") == 0 ? "chrt --fifo 10" : "";
}

static void start_wires(struct rig *rig, const char *format, ...) __attribute__((format(printf, 2, 3)));
static void start_wires(struct rig *rig, const char *format, ...)
{
	char ports[640];
	va_list args;

	va_start(args, format);
	vsnprintf(ports, sizeof(ports), format, args);
	va_end(args);
	rig->softnic = process_start("ixy-softnic", rig->host, "exec %s %s --control %s %s", with_priority(),
		rig_program("ixy-softnic"), rig->control, ports);
	app_await(rig->softnic, "ready\n");
}

/* One wire between the two devices; rate: ",rate=10", or nothing. */
static void lay_cable(struct rig *rig, const char *rate)
{
	for (unsigned i = 0; i < 2; i++)
		snprintf(devices[i], sizeof(devices[i]), "vfio-user:%s", rig_socket(i));
	start_wires(
		rig, "%s=cable%s %s=cable%s", strchr(devices[0], '/'), rate, strchr(devices[1], '/'), rate);
}

static void finish(struct rig *rig)
{
	for (unsigned i = 0; i < 2; i++)
		assert_int_equal(rig_violations(rig, i), 0);
	rig_finish_softnic(rig);
}

/*
 * Trials are as short as they may be: what a sender makes up for when it was late, 10 ms of queue, must be within the
 * tolerance.
 */
static struct process *start_rfc2544(struct rig *rig, const char *options)
{
	char path[256];

	snprintf(path, sizeof(path), "%s", rig_program("ixy-pktgen"));
	return process_start("ixy-pktgen", rig->host,
		"exec %s %s rfc2544 --json --duration 1s --tolerance 1 --settle 0 --silence 1s --repeat 1 %s "
		"%s %s",
		with_priority(), path, options, devices[0], devices[1]);
}

static void assert_exits_within(struct process *p, unsigned seconds, int status)
{
	int got = process_wait(p, seconds * slow_factor());

	if (got != status)
		fail_msg("%s: status %d: %s%s", p->name, got, process_stdout(p), process_stderr(p));
	process_assert_sane(p);
}

/*
 * A size's throughput: no more than 1 % over what MBIT carries, and not much less. A trial does not pass during which
 * somebody else has had the processor, real-time priority or not.
 */
static void assert_capacity(struct process *p, unsigned index, unsigned size)
{
	double right = MBIT * 1e6 / ((size + 20) * 8);

	app_assert_result(p, ".sizes[%u] | .size == %u and .throughput.fps > %f and .throughput.fps < %f",
		index, size, right * 0.9, right * 1.01);
}

static void rfc2544_finds_the_capacity_of_a_wire(void **state)
{
	struct rig *rig = *state;
	struct process *p;

	lay_cable(rig, ",rate=10");
	p = start_rfc2544(rig, "--sizes 128,1518 --tests throughput");
	assert_exits_within(p, 300, 0);
	assert_capacity(p, 0, 128);
	assert_capacity(p, 1, 1518);
	finish(rig);
}

/*
 * Behind a fast wire is a forwarder, and the slow one behind that: nothing holds the sender back, so what does not fit
 * is lost, or waits longer and longer. The answer must be the same.
 */
static void rfc2544_finds_the_capacity_of_a_wire_behind_a_forwarder(void **state)
{
	struct rig *rig = *state;
	struct process *p, *fwd;
	char sockets[4][128], path[256];

	for (unsigned i = 0; i < 4; i++)
		snprintf(sockets[i], sizeof(sockets[i]), "%s", rig_socket(i));
	start_wires(rig, "%s=cable %s=cable %s=cable,rate=10 %s=cable", sockets[0], sockets[1], sockets[2],
		sockets[3]);
	snprintf(path, sizeof(path), "%s", rig_program("ixy-fwd"));
	fwd = process_start("ixy-fwd", rig->host, "exec %s %s --wait 1s --quiet vfio-user:%s vfio-user:%s",
		with_priority(), path, sockets[1], sockets[2]);
	app_await(fwd, "link ");
	snprintf(devices[0], sizeof(devices[0]), "vfio-user:%s", sockets[0]);
	snprintf(devices[1], sizeof(devices[1]), "vfio-user:%s", sockets[3]);
	p = start_rfc2544(rig, "--sizes 512 --tests throughput --max-rate 50Mbit");
	assert_exits_within(p, 300, 0);
	assert_capacity(p, 0, 512);
	assert_non_null(strstr(process_stderr(p), ": loss"));
	app_assert_ends_by(fwd, SIGTERM);
	finish(rig);
}

/* The sender's own link is the limit: said so, and counted as nothing else. */
static void rfc2544_says_when_it_is_the_sender_that_is_too_slow(void **state)
{
	struct rig *rig = *state;
	struct process *p;

	lay_cable(rig, ",rate=10");
	p = start_rfc2544(rig,
		"--sizes 512 --tests loss,back-to-back --max-rate 22Mbit --bursts 1 --max-burst 100 "
		"--software-checksum");
	assert_exits_within(p, 300, 0);
	/*
	 * Over twice of what the wire carries, and no frame lost: it is not the throughput. It ends where two trials
	 * pass, at 8.8 Mbit/s and less: a sender that was held up can make up for it there.
	 */
	app_assert_result(p, ".sizes[0].loss | .[0].percent == 100 and .[0].sender_limited");
	app_assert_result(p, "[.sizes[0].loss[].lost_percent] | add == 0");
	app_assert_result(p, "[.sizes[0].loss[-3:][].sender_limited] == [true, false, false]");
	app_assert_result(p, ".sizes[0].back_to_back.longest == 100");
	finish(rig);
}

/* In the middle of one that takes minutes. */
static struct process *start_long_trial(struct rig *rig)
{
	struct process *p = app_start(rig->host, "ixy-pktgen",
		"rfc2544 --json --sizes 64,128 --max-rate 1k %s %s", devices[0], devices[1]);

	app_await(p, "64 bytes: line rate");
	return p;
}

static void rfc2544_that_is_interrupted_says_that_it_is_not_complete(void **state)
{
	struct rig *rig = *state;
	struct process *p;

	lay_cable(rig, "");
	p = start_long_trial(rig);
	kill(p->pid, SIGTERM);
	app_assert_exits(p, 1);
	assert_non_null(strstr(process_stdout(p), "\"complete\":false"));
	finish(rig);
}

static void rfc2544_whose_device_goes_says_what_it_has(void **state)
{
	struct rig *rig = *state;
	struct process *p;

	lay_cable(rig, "");
	p = start_long_trial(rig);
	process_kill(rig->softnic);
	app_assert_exits(p, 69);
	assert_non_null(strstr(process_stdout(p), "\"complete\":false"));
}

static void rfc2544_prints_tables(void **state)
{
	struct rig *rig = *state;
	struct process *p;

	lay_cable(rig, "");
	/* What is printed is what matters here: no search goes far. */
	p = app_start(rig->host, "ixy-pktgen",
		"rfc2544 --sizes 64,1518 --max-rate 1k --duration 200ms --settle 0 --silence 100ms "
		"--resolution 50 --tolerance 50 --bursts 1 --max-burst 100 %s %s",
		devices[0], devices[1]);
	assert_exits_within(p, 120, 0);
	static const char *const parts[] = {"throughput: the highest rate without loss",
		"latency at that rate, us", "frame loss", "back-to-back: the longest burst", "\n    64 ",
		"\n  1518 "};
	for (size_t i = 0; i < sizeof(parts) / sizeof(parts[0]); i++)
		if (!strstr(process_stdout(p), parts[i]))
			fail_msg("no \"%s\" in:\n%s", parts[i], process_stdout(p));
	finish(rig);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		RIG_TEST(rfc2544_finds_the_capacity_of_a_wire),
		RIG_TEST(rfc2544_finds_the_capacity_of_a_wire_behind_a_forwarder),
		RIG_TEST(rfc2544_says_when_it_is_the_sender_that_is_too_slow),
		RIG_TEST(rfc2544_that_is_interrupted_says_that_it_is_not_complete),
		RIG_TEST(rfc2544_whose_device_goes_says_what_it_has),
		RIG_TEST(rfc2544_prints_tables),
	};
	return rig_main("rfc2544", tests);
}
