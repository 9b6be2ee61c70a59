/*
 * The control socket: its commands one by one, and clients that send garbage, too much, or nothing at all.
 */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <cmocka.h>

#include "netns-tests/softnic/control.h"
#include "netns-tests/softnic/log.h"

struct rig {
	struct ev_loop *loop;
	struct ports ports;
	struct control *control;
	char path[64], socket[80];
};

static int setup(void **state)
{
	static struct rig rig;
	char spec[100];
	rig = (struct rig){0};
	softnic_log_level(LOG_LEVEL_ERROR);
	rig.loop = ev_loop_new(EVFLAG_AUTO);
	assert_non_null(rig.loop);
	snprintf(rig.path, sizeof rig.path, "/tmp/test_softnic_control.%d", (int)getpid());
	for (unsigned i = 0; i < 2; i++) {
		snprintf(spec, sizeof spec, "%s.%u=cable", rig.path, i);
		assert_true(port_open(
			&rig.ports, spec, (const uint8_t[6]){2, 0, 0, 0, 0, (uint8_t)(0xA + i)}, rig.loop));
	}
	rig.control = control_open(rig.path, &rig.ports, rig.loop);
	assert_non_null(rig.control);
	*state = &rig;
	return 0;
}

static int teardown(void **state)
{
	struct rig *rig = *state;
	control_close(rig->control);
	ports_close(&rig->ports);
	ev_loop_destroy(rig->loop);
	assert_int_equal(access(rig->path, F_OK), -1);
	return 0;
}

static void poll_wires(struct rig *rig)
{
	for (unsigned i = 0; i < rig->ports.count; i++)
		rig->ports.port[i].wire->ops->poll(rig->ports.port[i].wire, 64);
}

/* Execute a command; the reply is good until the next one. */
static const char *command(struct rig *rig, const char *text)
{
	static char reply[4096];
	char line[256];
	memset(reply, 0, sizeof reply);
	snprintf(line, sizeof line, "%s", text);
	FILE *stream = fmemopen(reply, sizeof reply, "w");
	assert_non_null(stream);
	control_execute(&rig->ports, line, stream);
	fclose(stream);
	return reply;
}

static bool is_error(const char *reply)
{
	return strncmp(reply, "error: ", 7) == 0 && strchr(reply, '\n') == reply + strlen(reply) - 1;
}

/* --- commands ------------------------------------------------------------------------------------------- */

static void ports_are_listed(void **state)
{
	struct rig *rig = *state;
	poll_wires(rig);
	assert_string_equal(command(rig, "ports"), "0 02:00:00:00:00:0a client no link up\n"
						   "1 02:00:00:00:00:0b client no link up\n"
						   "ok\n");
}

static void the_cable_is_pulled_and_plugged(void **state)
{
	struct rig *rig = *state;
	poll_wires(rig);
	assert_string_equal(command(rig, "link 1 out"), "ok\n");
	poll_wires(rig);
	assert_false(rig->ports.port[0].nic->link.up);
	assert_false(rig->ports.port[1].nic->link.up);
	assert_string_equal(command(rig, "link 1 in"), "ok\n");
	poll_wires(rig);
	assert_true(rig->ports.port[0].nic->link.up);
	assert_true(is_error(command(rig, "link 1 sideways")));
}

static void the_speed_is_set(void **state)
{
	struct rig *rig = *state;
	assert_string_equal(command(rig, "speed 0 1000"), "ok\n");
	assert_int_equal(rig->ports.port[0].nic->link.speed, 1000);
	assert_string_equal(command(rig, "speed 0 10000"), "ok\n");
	assert_int_equal(rig->ports.port[0].nic->link.speed, 10000);
	assert_true(is_error(command(rig, "speed 0 100")));
}

static void faults_are_armed_counted_and_cleared(void **state)
{
	struct rig *rig = *state;
	struct nic *nic = rig->ports.port[0].nic;
	assert_string_equal(command(rig, "fault 0 rx-length-zero"), "ok\n");
	assert_int_equal(nic->fault[NIC_FAULT_RX_LENGTH_ZERO], 1);
	assert_string_equal(command(rig, "fault 0 rx-length-zero 17"), "ok\n");
	assert_int_equal(nic->fault[NIC_FAULT_RX_LENGTH_ZERO], 17);
	assert_string_equal(command(rig, "fault 0 rx-length-zero off"), "ok\n");
	assert_int_equal(nic->fault[NIC_FAULT_RX_LENGTH_ZERO], 0);
	assert_string_equal(command(rig, "fault 0 tx-hang on"), "ok\n");
	assert_true(nic->fault[NIC_FAULT_TX_HANG] > 1000000);
	assert_true(is_error(command(rig, "fault 0 tx-hang -1")));
	assert_true(is_error(command(rig, "fault 0 tx-hang 1x")));
	assert_true(is_error(command(rig, "fault 0 tx-hang 99999999999999999999999")));
	assert_true(is_error(command(rig, "fault 0 headache")));
	assert_non_null(strstr(command(rig, "faults"), "rx-no-eop"));
}

static void registers_are_looked_at_without_side_effects(void **state)
{
	struct rig *rig = *state;
	struct nic *nic = rig->ports.port[0].nic;
	nic_count(nic, GPRC, 5); /* clear on read */
	assert_string_equal(command(rig, "peek 0 4074"), "0x00000005\nok\n");
	assert_string_equal(command(rig, "peek 0 0x4074"), "0x00000005\nok\n");
	const char *wrong[] = {
		"peek 0 4075", "peek 0 80000", "peek 0 -4", "peek 0 x", "peek 0 ffffffffffffffffff"};
	for (unsigned i = 0; i < sizeof wrong / sizeof wrong[0]; i++)
		assert_true(is_error(command(rig, wrong[i])));
}

static void counters_are_names_and_values(void **state)
{
	struct rig *rig = *state;
	rig->ports.port[1].nic->stats.rx_missed = 12;
	rig->ports.port[1].wire->tx_frames = 34;
	const char *reply = command(rig, "stats 1");
	assert_non_null(strstr(reply, "\nrx_missed 12\n"));
	assert_non_null(strstr(reply, "\nwire_tx_frames 34\n"));
	assert_non_null(strstr(reply, "\ninterrupts 0\n"));
}

static void violations_are_counted_by_name(void **state)
{
	struct rig *rig = *state;
	assert_string_equal(command(rig, "violations 0"), "total 0\nok\n");
	nic_violate(rig->ports.port[0].nic, NIC_VIOLATION_TAIL_RANGE, "made by a test");
	assert_string_equal(command(rig, "violations 0"), "tail-range 1\ntotal 1\nok\n");
	assert_string_equal(command(rig, "violations 1"), "total 0\nok\n");
}

static void malformed_commands_are_answered(void **state)
{
	struct rig *rig = *state;
	const char *wrong[] = {"", " ", "\t\r", "no-such-thing", "ports 0", "link", "link 0",
		"link 0 out now", "link 2 out", "link -1 out", "link 0x0 out", "link one out", "stats 0 1",
		"stats 99999999999999999999", "a b c d e f g h i j"};
	for (unsigned i = 0; i < sizeof wrong / sizeof wrong[0]; i++)
		assert_true(is_error(command(rig, wrong[i])));
	assert_non_null(strstr(command(rig, "help"), "violations"));
}

/* --- clients -------------------------------------------------------------------------------------------- */

static void step(struct rig *rig)
{
	for (unsigned i = 0; i < 4; i++)
		ev_run(rig->loop, EVRUN_NOWAIT);
}

static int connect_client(struct rig *rig)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	snprintf(address.sun_path, sizeof address.sun_path, "%s", rig->path);
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	assert_true(fd >= 0);
	assert_int_equal(connect(fd, (struct sockaddr *)&address, sizeof address), 0);
	step(rig);
	return fd;
}

static void say(struct rig *rig, int fd, const char *text)
{
	assert_int_equal(send(fd, text, strlen(text), MSG_NOSIGNAL), strlen(text));
	step(rig);
}

static void assert_hears(int fd, const char *text)
{
	char heard[1024] = "";
	ssize_t n = recv(fd, heard, sizeof heard - 1, MSG_DONTWAIT);
	if (n < 0)
		n = 0;
	heard[n] = '\0';
	assert_string_equal(heard, text);
}

static void a_client_may_stay_and_ask_again(void **state)
{
	struct rig *rig = *state;
	int fd = connect_client(rig);
	for (unsigned i = 0; i < 3; i++) {
		say(rig, fd, "violations 0\n");
		assert_hears(fd, "total 0\nok\n");
	}
	close(fd);
	step(rig);
}

static void commands_may_come_in_pieces_and_in_one_piece(void **state)
{
	struct rig *rig = *state;
	int fd = connect_client(rig);
	say(rig, fd, "viol");
	assert_hears(fd, "");
	say(rig, fd, "ations 0\r\nlink 0 out\nnonsense\n");
	assert_hears(fd, "total 0\nok\nok\nerror: no such command; 'help' lists them\n");
	close(fd);
}

static void an_endless_line_ends_the_connection(void **state)
{
	struct rig *rig = *state;
	char line[2000];
	int fd = connect_client(rig);
	memset(line, 'x', sizeof line);
	assert_int_equal(send(fd, line, sizeof line, MSG_NOSIGNAL), sizeof line);
	step(rig);
	char byte;
	assert_true(recv(fd, &byte, 1, MSG_DONTWAIT) <= 0 && errno != EAGAIN);
	close(fd);
	fd = connect_client(rig); /* others are served */
	say(rig, fd, "violations 0\n");
	assert_hears(fd, "total 0\nok\n");
	close(fd);
}

static void a_client_that_does_not_read_blocks_itself_only(void **state)
{
	struct rig *rig = *state;
	int deaf = connect_client(rig), other = connect_client(rig);
	unsigned sent = 0;
	while (send(deaf, "faults\n", 7, MSG_DONTWAIT | MSG_NOSIGNAL) == 7) {
		step(rig);
		assert_true(++sent < 1000000);
	}
	say(rig, other, "violations 0\n");
	assert_hears(other, "total 0\nok\n");
	close(deaf);
	step(rig);
	close(other);
}

/* Its commands are all executed, but not all in one turn: frames have to move meanwhile. */
static void a_client_that_sends_a_thousand_lines_does_not_hold_the_loop(void **state)
{
	struct rig *rig = *state;
	char lines[1000 * 5], heard[64];
	size_t answers = 0;
	unsigned turns = 0;
	int fd = connect_client(rig);
	for (unsigned i = 0; i < 1000; i++)
		memcpy(lines + i * 5, "nope\n", 5);
	step(rig);
	assert_int_equal(send(fd, lines, sizeof lines, MSG_NOSIGNAL), sizeof lines);
	for (; answers < 1000 && turns < 10000; turns++) {
		ssize_t n;
		ev_run(rig->loop, EVRUN_NOWAIT);
		while ((n = recv(fd, heard, sizeof heard, MSG_DONTWAIT)) > 0)
			for (ssize_t i = 0; i < n; i++)
				answers += heard[i] == '\n';
	}
	assert_int_equal(answers, 1000);
	assert_true(turns > 20);
	close(fd);
	step(rig);
}

static void too_many_clients_are_turned_away(void **state)
{
	struct rig *rig = *state;
	int fds[40];
	unsigned away = 0;
	for (unsigned i = 0; i < 40; i++)
		fds[i] = connect_client(rig);
	for (unsigned i = 0; i < 40; i++) {
		char byte;
		away += recv(fds[i], &byte, 1, MSG_DONTWAIT) == 0;
	}
	assert_true(away > 0 && away < 40);
	for (unsigned i = 0; i < 40; i++)
		close(fds[i]);
	step(rig);
	int fd = connect_client(rig); /* there is room again */
	say(rig, fd, "violations 0\n");
	assert_hears(fd, "total 0\nok\n");
	close(fd);
}

static void zero_bytes_do_no_harm(void **state)
{
	struct rig *rig = *state;
	int fd = connect_client(rig);
	assert_int_equal(send(fd, "\0\0\nlink\0 0 out\n", 15, MSG_NOSIGNAL), 15);
	step(rig);
	say(rig, fd, "violations 0\n");
	char heard[1024] = "";
	assert_true(recv(fd, heard, sizeof heard - 1, MSG_DONTWAIT) > 0);
	assert_non_null(strstr(heard, "total 0\nok\n"));
	close(fd);
}

/* --- ports ---------------------------------------------------------------------------------------------- */

static void unfit_ports_are_refused(void **state)
{
	struct rig *rig = *state;
	struct ports ports = {0};
	const char *wrong[] = {"", "=", "=none", "/tmp/x", "/tmp/x=", "/tmp/x=wire", "fd:=none", "fd:1x=none",
		"fd:99999999999=none", "fd:987=none", "/no/such/directory/x=none"};
	for (unsigned i = 0; i < sizeof wrong / sizeof wrong[0]; i++)
		assert_false(port_open(&ports, wrong[i], NULL, rig->loop));
	assert_int_equal(ports.count, 0);
}

static void a_port_has_the_same_address_each_time(void **state)
{
	struct rig *rig = *state;
	struct ports ports = {0};
	uint8_t first[6];
	char spec[100];
	for (unsigned i = 0; i < 2; i++) {
		snprintf(spec, sizeof spec, "%s.2=none", rig->path);
		assert_true(port_open(&ports, spec, NULL, rig->loop));
		if (i == 0)
			memcpy(first, ports.port[0].nic->mac, 6);
		assert_memory_equal(ports.port[0].nic->mac, first, 6);
		assert_int_equal(first[0] & 3, 2); /* locally administered, one card's */
		ports_close(&ports);
	}
	snprintf(spec, sizeof spec, "%s.3=none", rig->path);
	assert_true(port_open(&ports, spec, NULL, rig->loop));
	assert_memory_not_equal(ports.port[0].nic->mac, first, 6);
	ports_close(&ports);
}

#define TEST(test) cmocka_unit_test_setup_teardown(test, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(ports_are_listed),
		TEST(the_cable_is_pulled_and_plugged),
		TEST(the_speed_is_set),
		TEST(faults_are_armed_counted_and_cleared),
		TEST(registers_are_looked_at_without_side_effects),
		TEST(counters_are_names_and_values),
		TEST(violations_are_counted_by_name),
		TEST(malformed_commands_are_answered),
		TEST(a_client_may_stay_and_ask_again),
		TEST(commands_may_come_in_pieces_and_in_one_piece),
		TEST(an_endless_line_ends_the_connection),
		TEST(a_client_that_does_not_read_blocks_itself_only),
		TEST(a_client_that_sends_a_thousand_lines_does_not_hold_the_loop),
		TEST(too_many_clients_are_turned_away),
		TEST(zero_bytes_do_no_harm),
		TEST(unfit_ports_are_refused),
		TEST(a_port_has_the_same_address_each_time),
	};
	return cmocka_run_group_tests_name("control socket", tests, NULL, NULL);
}
