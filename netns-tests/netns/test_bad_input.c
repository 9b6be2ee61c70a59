/*
 * What cannot work: wrong arguments, names that are taken, no permission, peers that speak another protocol.
 * Each ends with the exit code for its kind and one line on stderr that names the object and the cause, and
 * leaves nothing behind: no interface, no process, no socket.
 */
#include "rig.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#define EXIT_USAGE       2
#define EXIT_UNAVAILABLE 69
#define EXIT_NO_PERM     77
#define EXIT_CONFIG      78
#define END_SECONDS      15

/*
 * What a namespace has: interfaces, and the processes in it. ip complains of namespaces that others take away while it
 * looks for those that it could name.
 */
static void inventory(const char *netns, char *text, size_t size)
{
	snprintf(text, size, "%s",
		command_ok(NULL,
			"ip -n %s -o link 2>/dev/null | cut -d: -f2,3 | cut -d' ' -f1-3 && ip netns pids %s",
			netns, netns));
}

/*
 * The program itself says one line, and that has all these words ('|' between them). A software NIC that
 * ixy-tapd had started may add its account; that is another program's.
 */
static void assert_one_line(struct process *p, const char *words)
{
	const char *text = process_stderr(p), *own = NULL;
	char line[512], copy[256], *save, *word;
	unsigned count = 0;

	for (const char *at = text; *at; at += strcspn(at, "\n"), at += *at == '\n') {
		if (strncmp(at, p->name, strlen(p->name)))
			continue;
		own = at;
		count++;
	}
	if (count != 1)
		fail_msg("%s: not one line on stderr but %u:\n%s", p->name, count, text);
	snprintf(line, sizeof(line), "%.*s", (int)strcspn(own, "\n"), own);
	snprintf(copy, sizeof(copy), "%s", words);
	for (word = strtok_r(copy, "|", &save); word; word = strtok_r(NULL, "|", &save))
		if (!strstr(line, word))
			fail_msg("\"%s\" is missing in: %s", word, line);
}

/* ixy-tapd with these arguments, in the host namespace, must fail like this. */
static void assert_refused(struct rig *rig, int want, const char *words, const char *arguments)
{
	char before[2048], after[2048];
	struct process *p;
	int status;

	inventory(rig->host, before, sizeof(before));
	p = tapd_start(rig->host, "%s", arguments);
	status = process_wait(p, END_SECONDS);
	process_assert_sane(p);
	if (status != want)
		fail_msg(
			"ixy-tapd %s: exit code %d, not %d:\n%s", arguments, status, want, process_stderr(p));
	assert_one_line(p, words);
	assert_string_equal(process_stdout(p), "");
	/* A child that was just reaped is gone; one that was forgotten stays. */
	if (!wait_for(5, (inventory(rig->host, after, sizeof(after)), !strcmp(before, after))))
		fail_msg("ixy-tapd %s: left behind, before:\n%s\nafter:\n%s", arguments, before, after);
}

static void wrong_arguments_are_refused_with_exit_code_2(void **state)
{
	static const struct {
		const char *arguments, *words;
	} wrong[] = {
		{"", "ixy-tapd soft:veth1 ixy0"},
		{"soft:d0", "interface name"},
		{"soft:d0 ixy0 more", "--help"},
		{"--no-such-option soft:d0 ixy0", "--no-such-option"},
		{"--queues 0 soft:d0 ixy0", "--queues 0|1|16"},
		{"--queues 17 soft:d0 ixy0", "--queues 17|16"},
		{"--queues 4x soft:d0 ixy0", "--queues 4x"},
		{"--queues '' soft:d0 ixy0", "--queues"},
		{"--queues -1 soft:d0 ixy0", "--queues -1"},
		{"soft:d0 ixy0 --queues", "--queues|argument"},
		{"--mtu 67 soft:d0 ixy0", "--mtu 67|68"},
		{"--mtu 99999999999999999999 soft:d0 ixy0", "--mtu 9999"},
		{"--mac 02:00:00:00:00 soft:d0 ixy0", "--mac 02:00:00:00:00"},
		{"--mac 02:00:00:00:00:zz soft:d0 ixy0", "--mac"},
		{"--mac 01:00:5e:00:00:01 soft:d0 ixy0", "multicast"},
		{"--mac 00:00:00:00:00:00 soft:d0 ixy0", "--mac|zero"},
		{"--multicast some soft:d0 ixy0", "--multicast some|list"},
		{"--ring 100 soft:d0 ixy0", "--ring 100|power of two"},
		{"--ring 8192 soft:d0 ixy0", "--ring 8192|4096"},
		{"--cpu 1-a soft:d0 ixy0", "--cpu 1-a"},
		{"--idle-usecs never soft:d0 ixy0", "--idle-usecs never"},
		{"--log-level loud soft:d0 ixy0", "--log-level loud"},
	};
	struct rig *rig = *state;

	for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++)
		assert_refused(rig, EXIT_USAGE, wrong[i].words, wrong[i].arguments);
}

static void values_that_only_show_wrong_at_run_time_are_refused_with_exit_code_78(void **state)
{
	struct rig *rig = *state;

	assert_refused(rig, EXIT_CONFIG, "nosuchuser", "--persist --owner nosuchuser soft:d0 ixy0");
	assert_refused(rig, EXIT_CONFIG, "nosuchgroup", "--persist --group nosuchgroup soft:d0 ixy0");
	assert_refused(rig, EXIT_CONFIG, "nosuchnamespace", "--netns nosuchnamespace soft:d0 ixy0");
	assert_refused(rig, EXIT_CONFIG, "/proc/version", "--netns /proc/version soft:d0 ixy0");
	assert_refused(rig, EXIT_CONFIG, "20000|9710", "--mtu 20000 soft:d0 ixy0");
	assert_refused(rig, EXIT_CONFIG, "4000", "--log-level error --cpu 4000 soft:d0 ixy0");
}

static void an_interface_name_that_cannot_be_used_is_refused_with_exit_code_78(void **state)
{
	struct rig *rig = *state;

	assert_refused(rig, EXIT_CONFIG, "ixy0123456789abc|15", "soft:d0 ixy0123456789abc");
	assert_refused(rig, EXIT_CONFIG, "d0", "soft:none d0"); /* a veth has that name */
	assert_refused(rig, EXIT_CONFIG, "a/b", "soft:none a/b");
	assert_refused(rig, EXIT_CONFIG, "a b", "soft:none 'a b'");
	assert_refused(rig, EXIT_CONFIG, "..", "soft:none ..");
	/* A tap in use by another daemon. */
	rig_start(rig, "");
	assert_refused(rig, EXIT_CONFIG, "ixy0", "soft:none ixy0");
	assert_true(rig_ping(rig));
	rig_finish(rig);
	/* Somebody's persistent interface of the other kind. */
	command_ok(rig->host, "ip tuntap add mode tun name tunnel");
	assert_refused(rig, EXIT_CONFIG, "tunnel", "soft:none tunnel");
	assert_true(link_exists(rig->host, "tunnel"));
}

static void a_device_that_is_not_there_is_refused(void **state)
{
	struct rig *rig = *state;
	char path[100], arguments[256];

	assert_refused(rig, EXIT_CONFIG, "nonsense|soft:IFNAME", "nonsense ixy0");
	assert_refused(rig, EXIT_CONFIG, "0000:00:00", "0000:00:00 ixy0");
	assert_refused(rig, EXIT_CONFIG, "soft:|name", "soft: ixy0");
	assert_refused(rig, EXIT_CONFIG, "soft:d0,speed=1|control=", "soft:d0,speed=1 ixy0");
	assert_refused(rig, EXIT_CONFIG, "vfio-user:|path", "vfio-user: ixy0");
	assert_refused(rig, EXIT_UNAVAILABLE, "/no/such/folder/control",
		"soft:d0,control=/no/such/folder/control ixy0");
	assert_refused(rig, EXIT_UNAVAILABLE, "0000:ff:1f.7", "0000:ff:1f.7 ixy0");
	assert_refused(rig, EXIT_UNAVAILABLE, "/no/such/socket", "vfio-user:/no/such/socket ixy0");

	/* A socket file whose process has gone, and a file that is no socket. */
	snprintf(path, sizeof(path), "%s/dead", commands_folder());
	{
		int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
		struct sockaddr_un address = {.sun_family = AF_UNIX};

		snprintf(address.sun_path, sizeof(address.sun_path), "%s", path);
		assert_int_equal(bind(fd, (struct sockaddr *)&address, sizeof(address)), 0);
		close(fd);
	}
	snprintf(arguments, sizeof(arguments), "vfio-user:%s ixy0", path);
	assert_refused(rig, EXIT_UNAVAILABLE, path, arguments);
	snprintf(arguments, sizeof(arguments), "vfio-user:%s ixy0", rig_program("ixy-tapd"));
	assert_refused(rig, EXIT_UNAVAILABLE, rig_program("ixy-tapd"), arguments);
}

static void ready_and_stopped(struct process *p)
{
	tapd_await_ready(p);
	tapd_assert_stops(p);
}

/* The software NIC says that the interface is missing: its line, and the daemon's about what follows. */
static void a_software_nic_whose_wire_is_missing_ends_the_daemon_with_69(void **state)
{
	struct rig *rig = *state;
	struct process *p = tapd_start(rig->host, "soft:nosuchwire ixy0");
	int status = process_wait(p, END_SECONDS);

	process_assert_sane(p);
	if (status != EXIT_UNAVAILABLE)
		fail_msg("exit code %d:\n%s", status, process_stderr(p));
	assert_non_null(strstr(process_stderr(p), "nosuchwire"));
	assert_false(link_exists(rig->host, "ixy0"));

	p = process_start("ixy-softnic", rig->host, "exec %s %s=dev:nosuchwire", rig_program("ixy-softnic"),
		rig_socket(0));
	assert_int_not_equal(process_wait(p, END_SECONDS), 0);
	process_assert_sane(p);
	assert_one_line(p, "nosuchwire");
	assert_int_not_equal(access(rig_socket(0), F_OK), 0);

	/* The same place serves once the cause is mended. */
	ready_and_stopped(tapd_start(rig->host, "soft:d0 ixy0"));
}

static void the_software_nic_refuses_wrong_arguments(void **state)
{
	static const struct {
		const char *arguments, *words;
	} wrong[] = {
		{"", "usage|PORT"},
		{"noequals", "noequals"},
		{"/tmp/nowhere=", "no such wire"},
		{"/tmp/nowhere=dev:", "dev:"},
		{"/tmp/nowhere=banana", "banana"},
		{"/no/such/folder/socket=none", "/no/such/folder/socket"},
		{"fd:99=none", "99"},
		{"--mac 1 /tmp/nowhere=none", "1"},
		{"--no-such-option /tmp/nowhere=none", "--no-such-option"},
		{"/tmp/nowhere=pcap:/no/such/file", "/no/such/file"},
	};
	struct rig *rig = *state;

	for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++) {
		struct process *p = process_start("ixy-softnic", rig->host, "exec %s %s",
			rig_program("ixy-softnic"), wrong[i].arguments);
		int status = process_wait(p, END_SECONDS);

		process_assert_sane(p);
		if (status <= 0 || status >= STATUS_SIGNAL)
			fail_msg("ixy-softnic %s: exit code %d", wrong[i].arguments, status);
		if (i > 0)
			assert_one_line(p, wrong[i].words);
		assert_int_not_equal(access("/tmp/nowhere", F_OK), 0);
	}
}

/* --- no permission ------------------------------------------------------------------------------------------ */

static void without_privileges_it_is_refused_with_exit_code_77(void **state)
{
	static const char *const devices[] = {"soft:d0", "soft:none"};
	struct rig *rig = *state;

	/* Where nobody can read them: the build folder may be out of nobody's reach. */
	command_ok(NULL, "install -m 755 %s %s/", rig_program("ixy-tapd"), commands_folder());
	command_ok(NULL, "install -m 755 %s %s/", rig_program("ixy-softnic"), commands_folder());
	for (size_t i = 0; i < sizeof(devices) / sizeof(devices[0]); i++) {
		struct process *p = process_start("ixy-tapd", rig->host,
			"exec setpriv --reuid=65534 --regid=65534 --clear-groups --inh-caps=-all %s/ixy-tapd "
			"%s ixy0",
			commands_folder(), devices[i]);
		int status = process_wait(p, END_SECONDS);

		process_assert_sane(p);
		if (status != EXIT_NO_PERM)
			fail_msg("exit code %d:\n%s", status, process_stderr(p));
		assert_non_null(strstr(process_stderr(p), "ixy-tapd: "));
		assert_false(link_exists(rig->host, "ixy0"));
		assert_soon(5, !*command_ok(NULL, "ip netns pids %s", rig->host));
	}
}

/* --- peers that speak something else ------------------------------------------------------------------------ */

static int serve(char path[108])
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

	snprintf(path, 108, "%s/garbage", commands_folder());
	unlink(path);
	memcpy(address.sun_path, path, 108);
	assert_int_equal(bind(fd, (struct sockaddr *)&address, sizeof(address)), 0);
	assert_int_equal(listen(fd, 1), 0);
	return fd;
}

/* What comes back to the client's first message, however long it is. */
struct answer {
	const char *name;
	size_t size;
	uint8_t bytes[64];
	bool hang_up; /* afterwards; else the server falls silent */
};

static void a_peer_that_speaks_another_protocol_is_refused_in_bounded_time(void **state)
{
	/* vfio-user header: message id, command, size, flags (1 = reply, 0x20 = error), errno. */
	static const struct answer answers[] = {
		{"hangs up at once", 0, {0}, true},
		{"says nothing", 0, {0}, false},
		{"HTTP", 26, "HTTP/1.0 400 Bad Request\r\n", true},
		{"half a header", 7, {0, 0, 1, 0, 20, 0, 0}, false},
		{"size zero", 16, {0, 0, 1, 0, 0, 0, 0, 0, 1, 0, 0, 0}, false},
		{"size of 4 GiB", 16, {0, 0, 1, 0, 255, 255, 255, 255, 1, 0, 0, 0}, false},
		{"a message that never ends", 20,
			{0, 0, 1, 0, 0, 8, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0}, false},
		{"no reply but a request", 16, {0, 0, 1, 0, 16, 0, 0, 0, 0, 0, 0, 0}, false},
		{"another command's reply", 16, {0, 0, 4, 0, 16, 0, 0, 0, 1, 0, 0, 0}, false},
		{"an error without errno", 16, {0, 0, 1, 0, 16, 0, 0, 0, 0x21, 0, 0, 0, 0, 0, 0, 0}, true},
		{"major version 77", 20, {0, 0, 1, 0, 20, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 77, 0, 1, 0},
			true},
		{"a version that is not JSON", 32,
			{0, 0, 1, 0, 32, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0, '{', '{', '[', '"',
				'\\', 'u', 'd', '8', 'x', '"', ':', 0},
			true},
	};
	struct rig *rig = *state;
	char path[108];
	int listener = serve(path);

	for (size_t i = 0; i < sizeof(answers) / sizeof(answers[0]); i++) {
		struct process *p = tapd_start(rig->host, "vfio-user:%s ixy0", path);
		uint8_t request[4096];
		int fd = -1, status;

		assert_soon(END_SECONDS, (fd = accept4(listener, NULL, NULL, SOCK_CLOEXEC)) >= 0);
		if (answers[i].size) {
			assert_true(recv(fd, request, sizeof(request), 0) > 0);
			assert_int_equal(
				send(fd, answers[i].bytes, answers[i].size, MSG_NOSIGNAL), answers[i].size);
		}
		if (answers[i].hang_up)
			shutdown(fd, SHUT_RDWR);
		status = process_wait(p, 30);
		close(fd);
		process_assert_sane(p);
		if (status != EXIT_UNAVAILABLE)
			fail_msg("%s: exit code %d:\n%s", answers[i].name, status, process_stderr(p));
		assert_one_line(p, path);
		assert_false(link_exists(rig->host, "ixy0"));
	}
	close(listener);
}

static void a_software_nic_survives_clients_that_speak_another_protocol(void **state)
{
	struct rig *rig = *state;
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	char text[128];
	int random = open("/dev/urandom", O_RDONLY | O_CLOEXEC);

	snprintf(text, sizeof(text), "%s=dev:d0", rig_socket(0));
	rig_start_softnic(rig, text);
	snprintf(address.sun_path, sizeof(address.sun_path), "%s", rig_socket(0));
	for (unsigned i = 0; i < 100; i++) {
		int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
		uint8_t noise[256];

		assert_int_equal(read(random, noise, sizeof(noise)), sizeof(noise));
		assert_int_equal(connect(fd, (struct sockaddr *)&address, sizeof(address)), 0);
		if (i & 1) { /* let some get past the header's checks */
			memset(noise, 0, 16);
			noise[2] = (uint8_t)(1 + i % 15);
			noise[4] = (uint8_t)(16 + i);
		}
		/* It may have hung up already. */
		if (send(fd, noise, sizeof(noise), MSG_NOSIGNAL) < 0)
			assert_true(errno == EPIPE || errno == ECONNRESET);
		close(fd);
		assert_true(process_running(rig->softnic));
	}
	close(random);
	/* And then serves a real one. */
	snprintf(text, sizeof(text), "vfio-user:%s", rig_socket(0));
	rig_start_tapd(rig, "", text);
	rig_addresses(rig);
	rig_await_ping(rig);
	rig_finish(rig);
}

static void a_second_daemon_on_a_port_in_use_is_refused_in_bounded_time(void **state)
{
	struct rig *rig = *state;
	struct process *second;
	int status;

	rig_start_vfio_user(rig, "");
	second = tapd_start(rig->host, "vfio-user:%s ixy1", rig_socket(0));
	status = process_wait(second, 30);
	process_assert_sane(second);
	if (status != EXIT_UNAVAILABLE)
		fail_msg("exit code %d:\n%s", status, process_stderr(second));
	assert_false(link_exists(rig->host, "ixy1"));
	assert_true(rig_ping(rig));
	rig_finish(rig);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		RIG_TEST(wrong_arguments_are_refused_with_exit_code_2),
		RIG_TEST(values_that_only_show_wrong_at_run_time_are_refused_with_exit_code_78),
		RIG_TEST(an_interface_name_that_cannot_be_used_is_refused_with_exit_code_78),
		RIG_TEST(a_device_that_is_not_there_is_refused),
		RIG_TEST(a_software_nic_whose_wire_is_missing_ends_the_daemon_with_69),
		RIG_TEST(the_software_nic_refuses_wrong_arguments),
		RIG_TEST(without_privileges_it_is_refused_with_exit_code_77),
		RIG_TEST(a_peer_that_speaks_another_protocol_is_refused_in_bounded_time),
		RIG_TEST(a_software_nic_survives_clients_that_speak_another_protocol),
		RIG_TEST(a_second_daemon_on_a_port_in_use_is_refused_in_bounded_time),
	};

	return rig_main("netns: bad input", tests);
}
