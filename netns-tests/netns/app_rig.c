/*
 * Applications under test; see app_rig.h.
 */
#include "app_rig.h"

#include <ctype.h>
#include <signal.h>

static const uint8_t mac_a[6] = {2, 0, 0, 0, 0, 0xa}, mac_b[6] = {2, 0, 0, 0, 0, 0xb};

struct process *app_start(const char *netns, const char *name, const char *format, ...)
{
	const char *last = strrchr(name, '/');
	char arguments[512];
	va_list args;

	va_start(args, format);
	vsnprintf(arguments, sizeof(arguments), format, args);
	va_end(args);
	return process_start(last ? last + 1 : name, netns, "exec %s %s", rig_program(name), arguments);
}

bool app_has_said(struct process *p, const char *text)
{
	return strstr(process_stdout(p), text) || strstr(process_stderr(p), text);
}

void app_await(struct process *p, const char *text)
{
	if (!wait_for(APP_SECONDS, app_has_said(p, text) || !process_running(p)) || !app_has_said(p, text)) {
		print_error("%s", process_stdout(p));
		fail_msg("%s did not say \"%s\" but: %s", p->name, text, process_stderr(p));
	}
}

uint64_t app_total(struct process *p, const char *name)
{
	const char *line = process_stdout(p);
	size_t length = strlen(name);
	unsigned long long frames;

	while (line && (strncmp(line, name, length) || sscanf(line + length, ": %llu frames", &frames) != 1))
		line = strchr(line, '\n') ? strchr(line, '\n') + 1 : NULL;
	if (!line)
		fail_msg("%s gave no total \"%s\" but: %s", p->name, name, process_stdout(p));
	return line ? frames : 0;
}

uint64_t app_number_before(struct process *p, const char *text)
{
	const char *all = process_stdout(p), *at = strstr(all, text);

	if (!at)
		return 0;
	while (at > all && at[-1] == ' ')
		at--;
	while (at > all && isdigit((unsigned char)at[-1]))
		at--;
	return strtoull(at, NULL, 10);
}

void app_assert_result(struct process *p, const char *format, ...)
{
	char condition[480];
	va_list args;

	va_start(args, format);
	vsnprintf(condition, sizeof(condition), format, args);
	va_end(args);
	if (tapd_last_number(p, "if %s then 1 else 0 end", condition) != 1)
		fail_msg("not so: %s\n%s%s", condition, process_stdout(p), process_stderr(p));
}

void app_assert_exits(struct process *p, int status)
{
	int got = process_wait(p, APP_SECONDS * slow_factor());

	if (got != status) {
		print_error("%s", process_stdout(p));
		fail_msg("%s: status %d: %s", p->name, got, process_stderr(p));
	}
	process_assert_sane(p);
}

void app_assert_ends_by(struct process *p, int signal)
{
	assert_true(process_running(p));
	assert_int_equal(kill(p->pid, signal), 0);
	app_assert_exits(p, 0);
}

void app_assert_calls(struct rig *rig, const char *name, const struct app_call calls[], size_t count)
{
	for (size_t i = 0; i < count; i++) {
		int status = command(rig->host, "%s %s", rig_program(name), calls[i].arguments);

		if (status != calls[i].status || !strstr(command_output(), calls[i].said))
			fail_msg("%s %s: status %d: %s", name, calls[i].arguments, status, command_output());
		assert_null(strstr(command_ok(rig->host, "ip -details link"), "prog/xdp"));
	}
}

static void assert_arrives(int to, size_t size, uint32_t number)
{
	static uint8_t expected[RAW_FRAME_MAX];
	static struct captured seen;

	frame_test(expected, size, mac_b, mac_a, number);
	if (!raw_receive_type(to, &seen, ETHERTYPE_TEST, APP_SECONDS * slow_factor()))
		fail_msg("frame %u did not arrive", number);
	assert_int_equal(seen.size, size);
	assert_memory_equal(seen.data, expected, size);
}

static void send_number(int from, size_t size, uint32_t number)
{
	static uint8_t frame[RAW_FRAME_MAX];

	frame_test(frame, size, mac_b, mac_a, number);
	raw_send(from, frame, size);
}

void frames_pass_one_by_one(int from, int to, size_t size, unsigned count)
{
	for (uint32_t i = 0; i < count; i++) {
		send_number(from, size, i);
		assert_arrives(to, size, i);
	}
}

void frames_pass_at_once(int from, int to, size_t size, unsigned count)
{
	for (uint32_t i = 0; i < count; i++)
		send_number(from, size, i);
	for (uint32_t i = 0; i < count; i++)
		assert_arrives(to, size, i);
}
