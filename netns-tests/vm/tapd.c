/* ixy-tapd in the guest. See tapd.h. */
#include "tapd.h"

#include <unistd.h>

#include "traffic.h"

#define READY_SECONDS 30
#define END_SECONDS   20
#define KILLED        (128 + 9)

/* One that a failed test has left goes first: that failure is not to be the next test's, too. */
void tapd_launch_on(struct vm *vm, const char *device, const char *prefix, const char *options)
{
	if (vm_run(vm, READY_SECONDS,
		    "test -e /run/tapd.status || ! test -e /run/tapd.pid || { kill -9 $(cat /run/tapd.pid); "
		    "until test -e /run/tapd.status; do sleep 0.1; done; }\n"
		    "rm -f /run/tapd.*\n"
		    "(%s sh -c 'echo $$ >/run/tapd.pid; exec \"$@\"' - %s --json %s %s ixy0 "
		    ">/run/tapd.out 2>/run/tapd.err; echo $? >/run/tapd.status) >/dev/null 2>&1 &\n"
		    "until grep -q ': ready on ' /run/tapd.err; do ! test -e /run/tapd.status || exit 1; "
		    "sleep "
		    "0.1; done",
		    prefix, rig_program("ixy-tapd"), options, device))
		fail_msg("ixy-tapd does not get ready: %s", tapd_words(vm));
}

void tapd_launch(struct vm *vm, const char *prefix, const char *options)
{
	tapd_launch_on(vm, vm->nic, prefix, options);
}

void tapd_up_behind(struct vm *vm, const char *prefix, const char *options)
{
	tapd_launch(vm, prefix, options);
	traffic_set_up(vm, "ixy0");
}

void tapd_up(struct vm *vm, const char *options)
{
	tapd_up_behind(vm, "", options);
}

void tapd_refuses(struct vm *vm, const char *prefix, const char *arguments, int code, const char *words)
{
	int status = vm_run(vm, READY_SECONDS, "%s %s %s", prefix, rig_program("ixy-tapd"), arguments);

	if (status != code || !strstr(vm->output, words))
		fail_msg("ixy-tapd %s: ended with %d, not %d with \"%s\":\n%s", arguments, status, code,
			words, vm->output);
}

const char *tapd_words(struct vm *vm)
{
	return vm_ok(vm, "cat /run/tapd.err");
}

void tapd_assert_said(struct vm *vm, const char *words)
{
	if (!strstr(tapd_words(vm), words))
		fail_msg("ixy-tapd did not say \"%s\" but:\n%s", words, vm->output);
}

/* Ask jq, here: it is a large program for an emulated processor. Returns its exit status. */
static int ask_jq(const char *flag, const char *expression, const char *object)
{
	char path[128];
	FILE *file;

	snprintf(path, sizeof(path), "%s/counters", commands_folder());
	file = fopen(path, "we");
	assert_non_null(file);
	fputs(object, file);
	assert_int_equal(fclose(file), 0);
	return command(NULL, "jq %s '%s' %s", flag, expression, path);
}

uint64_t tapd_count(struct vm *vm, const char *expression)
{
	vm_ok(vm, "n=$(wc -l </run/tapd.out); kill -USR1 $(cat /run/tapd.pid); "
		  "until [ $(wc -l </run/tapd.out) -gt $n ]; do sleep 0.05; done; tail -n 1 /run/tapd.out");
	if (ask_jq("", expression, vm->output) || *command_output() < '0' || *command_output() > '9')
		fail_msg("%s is no number in %s", expression, vm->output);
	return strtoull(command_output(), NULL, 10);
}

void tapd_assert_unprivileged(struct vm *vm)
{
	vm_ok(vm, "! grep -E '^Cap(Inh|Prm|Eff|Bnd|Amb):.*[1-9a-f]' /proc/$(cat /run/tapd.pid)/status && "
		  "grep '^Uid:.*" TAPD_USER "' /proc/$(cat /run/tapd.pid)/status");
}

uint64_t tapd_ticks(struct vm *vm)
{
	return vm_number(vm, "f=/proc/$(cat /run/tapd.pid)/stat; a=$(awk '{ print $14 + $15 }' $f); sleep 3; "
			     "awk -v a=$a '{ print $14 + $15 - a }' $f");
}

void tapd_assert_woken_by_interrupts(struct vm *vm)
{
	uint64_t wakeups = tapd_count(vm, ".queues[0].wakeups"), sleeps = tapd_count(vm, ".queues[0].sleeps");
	uint64_t ticks = tapd_ticks(vm);

	/* Without interrupts it would nap at least a thousand times a second. */
	assert_in_range(tapd_count(vm, ".queues[0].sleeps") - sleeps, 0, 300);
	assert_in_range(ticks, 0, 3 * (uint64_t)sysconf(_SC_CLK_TCK) / 4);
	command_ok(vm->rig->peer, "ping -nqc20 -i0.05 -W5 %s", vm->rig->v4_host);
	assert_true(tapd_count(vm, ".queues[0].wakeups") >= wakeups + 20);
}

/* A signal, if any; it ends with this code, and its interface with it. Returns what it printed last. */
static const char *end(struct vm *vm, const char *signal, int code)
{
	char *words;
	int status;

	/* The first line is the exit code, the last what it printed last on stdout. */
	if (vm_run(vm, END_SECONDS,
		    "[ -z '%s' ] || kill -%s $(cat /run/tapd.pid)\n"
		    "until test -s /run/tapd.status; do sleep 0.05; done\n"
		    "if test -e /sys/class/net/ixy0 && ! ip -d link show ixy0 | grep -q 'persist on'; then\n"
		    "	echo 'its interface is still there' >>/run/tapd.err; echo 255 >/run/tapd.status\n"
		    "fi\n"
		    "cat /run/tapd.status /run/tapd.err; echo; tail -n 1 /run/tapd.out",
		    signal, signal))
		fail_msg("ixy-tapd does not end: %s", tapd_words(vm));
	status = (int)strtol(vm->output, &words, 10);
	if (status != code || strstr(words, "Sanitizer") || strstr(words, "runtime error"))
		fail_msg("ixy-tapd ended with %d, not %d:%s", status, code, words);
	if (*words && words[strlen(words) - 1] == '\n')
		words[strlen(words) - 1] = '\0';
	return strrchr(words, '\n') ? strrchr(words, '\n') + 1 : words;
}

void tapd_await_end(struct vm *vm, int code)
{
	end(vm, "", code);
}

void tapd_down(struct vm *vm, const char *expression)
{
	const char *counters = end(vm, "TERM", 0);

	if (ask_jq("-e", expression, counters))
		fail_msg("of ixy-tapd's last counters this is not true: %s: %s", expression, counters);
}

void tapd_kill(struct vm *vm)
{
	end(vm, "KILL", KILLED);
}
