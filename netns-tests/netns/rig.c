/*
 * The rig of the namespace tests: namespaces, cables, programs, and the way out.
 *
 * Everything has a name with this process's number in it: namespaces ixytest-PID-SUFFIX, files in the folder
 * /tmp/ixytest-PID. So several runs do not meet, and a run recognises what a killed one has left.
 */
#include "rig.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

#define MAX_NAMESPACES 8
#define NETNS_FOLDER   "/run/netns"
#define NAME_PREFIX    "ixytest-"
#define TEST_SECONDS   170 /* a test that takes longer hangs */
#define READY_SECONDS  15

static char namespaces[MAX_NAMESPACES][sizeof(NETNS_FOLDER) + 32]; /* paths; "" where the slot is free */
static char build_folder[256];
static bool xdp;
static char d0_before[256]; /* see cable_end_state() */

char rig_only_soft[] = "soft", rig_only_xdp[] = "xdp";

/* --- the way out ---------------------------------------------------------------------------------------- */

/* `ip netns del`, in calls that a signal handler may make. */
static void remove_namespaces(void)
{
	for (unsigned i = 0; i < MAX_NAMESPACES; i++) {
		if (!namespaces[i][0])
			continue;
		umount2(namespaces[i], MNT_DETACH);
		unlink(namespaces[i]);
		namespaces[i][0] = 0;
	}
}

static void on_signal(int sig)
{
	static const char text[] = "\nended by a signal (SIGALRM: the test hangs); cleaning up\n";

	commands_kill_all();
	remove_namespaces();
	commands_remove_folder();
	if (write(STDERR_FILENO, text, sizeof(text) - 1) < 0)
		_exit(STATUS_SIGNAL + sig);
	_exit(STATUS_SIGNAL + sig);
}

/* A name that some run made: true if that run is no longer. */
static bool is_stale(const char *name)
{
	size_t prefix = strlen(NAME_PREFIX);
	pid_t pid;

	if (strncmp(name, NAME_PREFIX, prefix))
		return false;
	pid = atoi(name + prefix);
	return pid > 0 && !process_exists(pid);
}

static void remove_stale(const char *folder, const char *how)
{
	DIR *dir = opendir(folder);
	struct dirent *entry;

	while (dir && (entry = readdir(dir)))
		if (is_stale(entry->d_name))
			command(NULL, "%s %s%s", how, strncmp(how, "rm", 2) ? "" : "/tmp/", entry->d_name);
	if (dir)
		closedir(dir);
}

bool rig_begin(void)
{
	static const int signals[] = {SIGINT, SIGTERM, SIGHUP, SIGQUIT, SIGALRM};
	const char *build = getenv("IXY_BUILD");
	char *absolute = realpath(build && *build ? build : "build", NULL);

	size_t name = strlen(program_invocation_short_name);

	xdp = name > 4 && strcmp(program_invocation_short_name + name - 4, "-xdp") == 0;
	if (geteuid() != 0) {
		fprintf(stderr, "the namespace tests need root (namespaces, veth, taps): sudo make test\n");
		return false;
	}
	if (!absolute || strlen(absolute) >= sizeof(build_folder)) {
		fprintf(stderr, "no programs in %s: make, or set IXY_BUILD\n", build ? build : "build");
		free(absolute);
		return false;
	}
	strcpy(build_folder, absolute);
	free(absolute);
	signal(SIGPIPE, SIG_IGN);
	for (size_t i = 0; i < sizeof(signals) / sizeof(signals[0]); i++)
		signal(signals[i], on_signal);
	remove_stale(NETNS_FOLDER, "ip netns del");
	remove_stale("/tmp", "rm -rf");
	return true;
}

int rig_end(void **state)
{
	(void)state;
	commands_cleanup();
	remove_namespaces();
	commands_remove_folder();
	return 0;
}

int rig_run(const char *subject, const struct CMUnitTest *tests, size_t count)
{
	struct CMUnitTest *chosen = calloc(count, sizeof(*chosen));
	char title[128];
	size_t n = 0;
	int status;

	if (!chosen || !rig_begin())
		return EXIT_FAILURE;
	for (size_t i = 0; i < count; i++)
		if (tests[i].initial_state != (xdp ? rig_only_soft : rig_only_xdp))
			chosen[n++] = tests[i];
	snprintf(title, sizeof(title), "%s%s", subject, xdp ? ", by AF_XDP" : "");
	status = _cmocka_run_group_tests(title, chosen, n, NULL, rig_end);
	free(chosen);
	return status;
}

bool rig_xdp(void)
{
	return xdp;
}

const char *rig_program(const char *name)
{
	static char path[sizeof(build_folder) + 32];

	snprintf(path, sizeof(path), "%s/%s", build_folder, name);
	return path;
}

/* --- namespaces and cables ----------------------------------------------------------------------------------- */

void rig_namespace(const char *suffix, char name[32])
{
	unsigned slot = 0;

	while (slot < MAX_NAMESPACES && namespaces[slot][0])
		slot++;
	assert_true(slot < MAX_NAMESPACES);
	snprintf(name, 32, NAME_PREFIX "%d-%s", (int)getpid(), suffix);
	snprintf(namespaces[slot], sizeof(namespaces[slot]), NETNS_FOLDER "/%s", name);
	command_ok(NULL, "ip netns add %s && ip -n %s link set lo up", name, name);
}

/* A veth that is made with queues has them all in use. */
static void cable_queues(
	const char *netns, const char *ifname, const char *end_netns, const char *end, unsigned queues)
{
	command_ok(netns, "ethtool -L %s rx %u tx %u", ifname, queues, queues);
	command_ok(end_netns, "ethtool -L %s rx %u tx %u", end, queues, queues);
}

void rig_cable(const char *netns, const char *ifname, const char *end_netns, const char *end)
{
	/* No multicast noise before a test asks for it: no autoconfiguration on the end in the wall. */
	command_ok(netns,
		"ip link add %s numtxqueues 16 numrxqueues 16 type veth peer name %s numtxqueues 16 "
		"numrxqueues 16 netns %s && "
		"ip netns exec %s sysctl -qw net.ipv6.conf.%s.disable_ipv6=1 net.ipv4.conf.%s.arp_ignore=8 "
		"net.ipv4.conf.%s.rp_filter=1 && ip -n %s link set %s up && ip link set %s up",
		ifname, end, end_netns, end_netns, end, end, end, end_netns, end, ifname);
	cable_queues(netns, ifname, end_netns, end, 1);
	/* What the software NIC does by itself: the wire carries frames of its MTU with whole checksums. */
	if (xdp)
		command_ok(end_netns, "ethtool -K %s tx off tso off gso off >/dev/null", end);
}

int rig_setup(void **state)
{
	struct rig *rig = calloc(1, sizeof(*rig));
	unsigned x = (unsigned)getpid() >> 8 & 0xFF, y = (unsigned)getpid() & 0xFF;

	if (!rig)
		return -1;
	alarm(TEST_SECONDS * slow_factor());
	rig_namespace("peer", rig->peer);
	rig_namespace("host", rig->host);
	rig_cable(rig->peer, "p0", rig->host, "d0");
	snprintf(rig->v4_peer, sizeof(rig->v4_peer), "10.%u.%u.1", x, y);
	snprintf(rig->v4_host, sizeof(rig->v4_host), "10.%u.%u.2", x, y);
	snprintf(rig->v6_peer, sizeof(rig->v6_peer), "fd82:599:%x::1", x << 8 | y);
	snprintf(rig->v6_host, sizeof(rig->v6_host), "fd82:599:%x::2", x << 8 | y);
	snprintf(rig->control, sizeof(rig->control), "%s/control", commands_folder());
	*state = rig;
	return 0;
}

int rig_teardown(void **state)
{
	commands_cleanup();
	remove_namespaces();
	alarm(0);
	free(*state);
	*state = NULL;
	return 0;
}

/* --- starting ------------------------------------------------------------------------------------------- */

const char *rig_socket(unsigned port)
{
	static char path[96];

	snprintf(path, sizeof(path), "%s/port%u", commands_folder(), port);
	return path;
}

struct process *tapd_start(const char *netns, const char *format, ...)
{
	char arguments[1024];
	va_list args;

	va_start(args, format);
	vsnprintf(arguments, sizeof(arguments), format, args);
	va_end(args);
	return process_start("ixy-tapd", netns, "exec %s %s", rig_program("ixy-tapd"), arguments);
}

static bool said(const char *text, const char *what)
{
	return strstr(text, what) != NULL;
}

void tapd_await_ready(struct process *tapd)
{
	bool ready =
		wait_for(READY_SECONDS, said(process_stderr(tapd), ": ready on ") || !process_running(tapd));

	if (!ready || !said(process_stderr(tapd), ": ready on "))
		fail_msg("ixy-tapd %s:\n%s", ready ? "ended" : "does not get ready", process_stderr(tapd));
}

const char *rig_device(const struct rig *rig)
{
	static char device[128];

	if (xdp)
		return "xdp:d0";
	snprintf(device, sizeof(device), "soft:d0,control=%s", rig->control);
	return device;
}

/* What the end of a run must find as its beginning left it. */
static void cable_end_state(const struct rig *rig, char *text, size_t size)
{
	snprintf(text, size, "%s",
		command_ok(rig->host, "ip -d -j link show d0 | jq -c '.[0] | [.mtu, .address, .promiscuity, "
				      ".allmulti, .xdp, "
				      "(.flags | index(\"UP\") != null)]'"));
}

void rig_start_tapd(struct rig *rig, const char *options, const char *device)
{
	const char *queues = strstr(options, "--queues ");

	if (strncmp(device, "xdp:", 4) == 0) {
		cable_queues(rig->peer, "p0", rig->host, "d0",
			queues ? (unsigned)atoi(queues + strlen("--queues ")) : 1);
		cable_end_state(rig, d0_before, sizeof(d0_before));
	}
	rig->tapd = tapd_start(rig->host, "--json %s %s ixy0", options, device);
	tapd_await_ready(rig->tapd);
}

void rig_start_softnic(struct rig *rig, const char *ports)
{
	rig->softnic = process_start("ixy-softnic", rig->host, "exec %s --control %s %s",
		rig_program("ixy-softnic"), rig->control, ports);
	bool ready = wait_for(READY_SECONDS,
		said(process_stdout(rig->softnic), "ready\n") || !process_running(rig->softnic));

	if (!ready || !said(process_stdout(rig->softnic), "ready\n"))
		fail_msg("ixy-softnic %s:\n%s", ready ? "ended" : "does not get ready",
			process_stderr(rig->softnic));
}

/* nodad: the addresses are usable at once. Duplicate address detection has a test of its own. */
void rig_addresses(struct rig *rig)
{
	command_ok(rig->peer,
		"ip addr replace %s/24 dev p0 && { test $(cat /proc/sys/net/ipv6/conf/p0/disable_ipv6) = 1 "
		"|| "
		"ip addr replace %s/64 dev p0 nodad; }",
		rig->v4_peer, rig->v6_peer);
	command_ok(rig->host,
		"ip link set ixy0 up && ip addr replace %s/24 dev ixy0 && "
		"{ test $(cat /proc/sys/net/ipv6/conf/ixy0/disable_ipv6) = 1 || ip addr replace %s/64 dev "
		"ixy0 nodad; }",
		rig->v4_host, rig->v6_host);
}

bool rig_ping(struct rig *rig)
{
	return command(rig->host, "ping -nqc1 -W1 %s", rig->v4_peer) == 0 &&
	       command(rig->peer, "ping -nqc1 -W1 %s", rig->v4_host) == 0;
}

void rig_await_ping(struct rig *rig)
{
	assert_soon(READY_SECONDS, link_carrier(rig->host, "ixy0"));
	assert_soon(READY_SECONDS, rig_ping(rig));
}

void rig_start(struct rig *rig, const char *options)
{
	rig_start_tapd(rig, options, rig_device(rig));
	rig_addresses(rig);
	rig_await_ping(rig);
}

void rig_start_vfio_user(struct rig *rig, const char *options)
{
	char text[128];

	snprintf(text, sizeof(text), "%s=dev:d0", rig_socket(0));
	rig_start_softnic(rig, text);
	snprintf(text, sizeof(text), "vfio-user:%s", rig_socket(0));
	rig_start_tapd(rig, options, text);
	rig_addresses(rig);
	rig_await_ping(rig);
}

/* --- asking --------------------------------------------------------------------------------------------- */

const char *rig_ctl(struct rig *rig, const char *format, ...)
{
	char line[256];
	va_list args;

	va_start(args, format);
	vsnprintf(line, sizeof(line), format, args);
	va_end(args);
	return command_ok(NULL, "%s ctl %s %s", rig_program("ixy-softnic"), rig->control, line);
}

uint32_t rig_peek(struct rig *rig, uint32_t offset)
{
	return (uint32_t)strtoul(rig_ctl(rig, "peek 0 0x%x", offset), NULL, 16);
}

/* The number after name, a word of its own at the start of a line. */
static uint64_t named_number(const char *text, const char *name)
{
	size_t length = strlen(name);

	for (const char *line = text; line; line = strchr(line, '\n')) {
		line += *line == '\n';
		if (!strncmp(line, name, length) && line[length] == ' ')
			return strtoull(line + length, NULL, 10);
	}
	fail_msg("no \"%s\" in:\n%s", name, text);
	return 0;
}

uint64_t rig_nic(struct rig *rig, const char *name)
{
	return named_number(rig_ctl(rig, "stats 0"), name);
}

uint64_t rig_violations(struct rig *rig, unsigned port)
{
	return named_number(rig_ctl(rig, "violations %u", port), "total");
}

static size_t lines(const char *text)
{
	size_t n = 0;

	while ((text = strchr(text, '\n'))) {
		text++;
		n++;
	}
	return n;
}

static uint64_t last_number(struct process *tapd, const char *format, va_list args)
{
	char expression[512];

	vsnprintf(expression, sizeof(expression), format, args);
	return command_number(NULL, "tail -n 1 %s | jq '%s'", tapd->stdout_path, expression);
}

uint64_t tapd_last_number(struct process *tapd, const char *format, ...)
{
	va_list args;
	uint64_t value;

	va_start(args, format);
	value = last_number(tapd, format, args);
	va_end(args);
	return value;
}

uint64_t tapd_number(struct process *tapd, const char *format, ...)
{
	size_t before = lines(process_stdout(tapd));
	va_list args;
	uint64_t value;

	kill(tapd->pid, SIGUSR1);
	assert_soon(5, lines(process_stdout(tapd)) > before);
	va_start(args, format);
	value = last_number(tapd, format, args);
	va_end(args);
	return value;
}

/* --- the end -------------------------------------------------------------------------------------------- */

/*
 * In: the NIC's count of good frames holds those that it then had no descriptor for (as on silicon, which is
 * why Linux subtracts them); a frame marked bad in its descriptor is among them, one that the MAC rejected is
 * not, and both are rx-error. Out: the NIC has sent what it was given, but for what a reset or a lost link cost.
 */
static const char conserved[] = "def sum(p): [.drops | to_entries[] | select(.key | test(p)).value] | add;"
				"(.rx.frames + sum(\"^(rx|kernel)-\")) as $in |"
				"[.nic.rx_frames <= $in and .nic.rx_frames >= $in - .drops[\"rx-error\"],"
				" (.tx.frames - .nic.tx_frames <= %lu or .resets > 0),"
				" (.tx.frames >= .nic.tx_frames or .resets > 0)] | if all then 1 else 0 end";

void tapd_assert_conserved(struct process *tapd, uint64_t lost_on_wire)
{
	/* Frames may still be on their way. */
	if (!wait_for(5, tapd_number(tapd, conserved, lost_on_wire) == 1))
		fail_msg("frames disappeared: %s", command_ok(NULL, "tail -n 1 %s", tapd->stdout_path));
}

void tapd_assert_stops(struct process *tapd)
{
	int status = process_stop(tapd);

	process_assert_sane(tapd);
	if (status)
		fail_msg("ixy-tapd ended with %d:\n%s", status, process_stderr(tapd));
}

void rig_finish_softnic(struct rig *rig)
{
	int status;

	if (!rig->softnic)
		return;
	status = process_stop(rig->softnic);
	process_assert_sane(rig->softnic);
	if (status)
		fail_msg("ixy-softnic ended with %d:\n%s", status, process_stderr(rig->softnic));
}

/* The software NIC that ixy-tapd started itself: its end is the daemon's business, its last words are ours. */
static void assert_account(struct process *tapd)
{
	const char *text = process_stderr(tapd);

	if (!strstr(text, "ixy-softnic: port 0:") || strstr(text, "violation"))
		fail_msg("ixy-softnic's account is missing or bad:\n%s", text);
}

/* Nothing of ours is on d0 any more: no program, no filter, no MTU, and it is up. */
void rig_assert_cable_end_restored(struct rig *rig)
{
	char after[sizeof(d0_before)];

	if (!wait_for(5, (cable_end_state(rig, after, sizeof(after)), strcmp(after, d0_before) == 0)))
		fail_msg("d0 was %s and is %s", d0_before, after);
}

void rig_finish(struct rig *rig)
{
	if (xdp && !rig->softnic) {
		tapd_assert_conserved(rig->tapd, 0);
		tapd_assert_stops(rig->tapd);
		assert_false(link_exists(rig->host, "ixy0"));
		rig_assert_cable_end_restored(rig);
		return;
	}
	if (rig_violations(rig, 0))
		fail_msg("the software NIC counted %s", rig_ctl(rig, "violations 0"));
	tapd_assert_conserved(rig->tapd, rig_nic(rig, "tx_dropped"));
	tapd_assert_stops(rig->tapd);
	assert_false(link_exists(rig->host, "ixy0"));
	if (!rig->softnic)
		assert_account(rig->tapd);
	rig_finish_softnic(rig);
}
