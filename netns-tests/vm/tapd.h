/*
 * ixy-tapd in the guest: one at a time, beside the test, on the NIC and with the interface ixy0. What it prints is in
 * the guest's /run/tapd.out and /run/tapd.err.
 */
#ifndef VM_TAPD_H
#define VM_TAPD_H

#include "vm.h"

/* Its exit codes (sysexits.h) for a device that it cannot have, something not permitted, a setting. */
#define TAPD_DEVICE     69
#define TAPD_PERMISSION 77
#define TAPD_CONFIG     78

/*
 * A user of the guest that nobody has heard of; and a prefix to run something as that one, with no capability, now or
 * ever, neither root's nor by a file's. TAPD_AS_USER has enough memory to lock, too.
 */
#define TAPD_USER "54321"
#define TAPD_DROP                                                                                 \
	"setpriv --reuid=" TAPD_USER " --regid=" TAPD_USER " --clear-groups --bounding-set=-all " \
	"--inh-caps=-all --ambient-caps=-all --no-new-privs"
#define TAPD_AS_USER "prlimit --memlock=134217728 " TAPD_DROP
/* It runs so. */
void tapd_assert_unprivileged(struct vm *vm);

/*
 * `PREFIX ixy-tapd --json OPTIONS NIC ixy0` on the PCI function under test (vm->nic), with a prefix such as
 * "prlimit --memlock=1048576 setpriv ...": start it and wait until it is ready.
 */
void tapd_launch(struct vm *vm, const char *prefix, const char *options);
/* The same on another device, such as "xdp:eth0". */
void tapd_launch_on(struct vm *vm, const char *device, const char *prefix, const char *options);
/* Then its interface gets its addresses and has carrier. */
void tapd_up_behind(struct vm *vm, const char *prefix, const char *options);
void tapd_up(struct vm *vm, const char *options);
/* Start it where it must fail: it ends by itself with this exit code, and says this. */
void tapd_refuses(struct vm *vm, const char *prefix, const char *arguments, int code, const char *words);

/* What it has said so far. */
const char *tapd_words(struct vm *vm);
/* It has said this, or the test fails with what it said. */
void tapd_assert_said(struct vm *vm, const char *words);
/*
 * Make it print its counters, and work out a number from the JSON object: a jq expression such as
 * "[.queues[].sleeps] | add".
 */
uint64_t tapd_count(struct vm *vm, const char *expression);

/* Clock ticks of processor time that it takes in the next three seconds. */
uint64_t tapd_ticks(struct vm *vm);
/* Where nothing comes, its first queue sleeps; each frame of those that come one by one wakes it by an interrupt. */
void tapd_assert_woken_by_interrupts(struct vm *vm);

/* It ends by itself, with this exit code, and its interface with it. */
void tapd_await_end(struct vm *vm, int code);
/* SIGTERM: it ends with 0; and of the counters that it prints last this jq expression is true. */
void tapd_down(struct vm *vm, const char *expression);
/* SIGKILL. */
void tapd_kill(struct vm *vm);

#endif
