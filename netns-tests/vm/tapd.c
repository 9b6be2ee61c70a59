/* ixy-tapd in the guest. See tapd.h. */
#include "tapd.h"

#include "traffic.h"

#define READY_SECONDS 30
#define END_SECONDS   20
#define KILLED        (128 + 9)

static const char *saved(struct vm *vm, const char *file)
{
	return vm_ok(vm, "cat /run/tapd.%s", file);
}

void tapd_launch(struct vm *vm, const char *prefix, const char *options)
{
	vm_ok(vm,
		"rm -f /run/tapd.*; (%s sh -c 'echo $$ >/run/tapd.pid; exec \"$@\"' - %s --json %s " VM_NIC
		" ixy0 >/run/tapd.out 2>/run/tapd.err; echo $? >/run/tapd.status) >/dev/null 2>&1 &",
		prefix, rig_program("ixy-tapd"), options);
	if (vm_run(vm, READY_SECONDS,
		    "until grep -q ': ready on ' /run/tapd.err; do ! test -e /run/tapd.status || exit 1; "
		    "sleep "
		    "0.1; done"))
		fail_msg("ixy-tapd does not get ready: %s", tapd_words(vm));
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

bool tapd_runs(struct vm *vm)
{
	return vm_run(vm, 10, "! test -e /run/tapd.status") == 0;
}

const char *tapd_words(struct vm *vm)
{
	return saved(vm, "err");
}

void tapd_assert_said(struct vm *vm, const char *words)
{
	if (!strstr(tapd_words(vm), words))
		fail_msg("ixy-tapd did not say \"%s\" but:\n%s", words, vm->output);
}

uint64_t tapd_count(struct vm *vm, const char *expression)
{
	return vm_number(vm,
		"n=$(wc -l </run/tapd.out); kill -USR1 $(cat /run/tapd.pid); "
		"until [ $(wc -l </run/tapd.out) -gt $n ]; do sleep 0.05; done; "
		"tail -n 1 /run/tapd.out | jq '%s'",
		expression);
}

void tapd_await_end(struct vm *vm, int code)
{
	int status;

	if (vm_run(vm, END_SECONDS, "until test -s /run/tapd.status; do sleep 0.1; done"))
		fail_msg("ixy-tapd does not end: %s", tapd_words(vm));
	status = (int)vm_number(vm, "cat /run/tapd.status");
	if (status != code)
		fail_msg("ixy-tapd ended with %d, not %d: %s", status, code, tapd_words(vm));
	if (strstr(tapd_words(vm), "Sanitizer") || strstr(vm->output, "runtime error"))
		fail_msg("ixy-tapd: %s", vm->output);
	vm_ok(vm, "! test -e /sys/class/net/ixy0 || ip -d link show ixy0 | grep 'persist on'");
}

void tapd_down(struct vm *vm, const char *expression)
{
	vm_ok(vm, "kill $(cat /run/tapd.pid)");
	tapd_await_end(vm, 0);
	if (vm_run(vm, 10, "tail -n 1 /run/tapd.out | jq -e '%s'", expression))
		fail_msg("ixy-tapd's last counters are not such that %s: %s", expression, saved(vm, "out"));
}

void tapd_kill(struct vm *vm)
{
	vm_ok(vm, "kill -9 $(cat /run/tapd.pid)");
	tapd_await_end(vm, KILLED);
}
