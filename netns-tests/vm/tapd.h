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

/* It ends by itself, with this exit code, and its interface with it. */
void tapd_await_end(struct vm *vm, int code);
/* SIGTERM: it ends with 0; and of the counters that it prints last this jq expression is true. */
void tapd_down(struct vm *vm, const char *expression);
/* SIGKILL. */
void tapd_kill(struct vm *vm);

#endif
