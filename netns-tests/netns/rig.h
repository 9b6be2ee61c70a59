/*
 * The rig of the namespace tests: two namespaces, a veth pair between them, and the real programs.
 *
 *	namespace peer                    namespace host
 *	p0  ================ veth ======  d0 -- ixy-softnic -- ixy-tapd -- ixy0
 *	10.X.Y.1, fdXX::1                 no address               10.X.Y.2, fdXX::2
 *
 * d0 is only the socket in the wall: the host's own stack must neither answer ARP there nor speak IPv6, or a
 * ping would pass beside the NIC.
 *
 * A program whose name ends in -xdp (a link to the same file) runs its tests without the software NIC: ixy-tapd
 * takes d0 itself, as xdp:d0. Those that ask for the software NIC, its faults or its cable, are not among them.
 *
 * A test is `static void name(void **state)`, listed with RIG_TEST(name); *state is a fresh rig whose
 * namespaces stand and whose programs do not run yet. It starts them, does its work, and ends with
 * rig_finish(), which asserts what must hold after any traffic. Whatever happens, the teardown removes every
 * process, namespace and file; so do a signal, and the next run if this one is killed.
 *
 * Programs are taken from the folder $IXY_BUILD (default: build).
 */
#ifndef NETNS_RIG_H
#define NETNS_RIG_H

#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "command.h"
#include "raw.h"

#define RIG_PORTS 2

struct rig {
	char peer[32], host[32]; /* the namespaces */
	char v4_peer[16], v4_host[16], v6_peer[40], v6_host[40];
	char control[64];        /* the software NIC's control socket */
	struct process *tapd;    /* NULL until started */
	struct process *softnic; /* NULL where ixy-tapd starts its own (soft:) */
};

#define RIG_TEST(name) cmocka_unit_test_setup_teardown(name, rig_setup, rig_teardown)

/* One that is about one of the devices. */
#define RIG_TEST_SOFT(name) \
	cmocka_unit_test_prestate_setup_teardown(name, rig_setup, rig_teardown, rig_only_soft)
#define RIG_TEST_XDP(name) \
	cmocka_unit_test_prestate_setup_teardown(name, rig_setup, rig_teardown, rig_only_xdp)
extern char rig_only_soft[], rig_only_xdp[];

/* main() of a test program: `return rig_main("subject", tests)`. */
#define rig_main(subject, tests) rig_run(subject, tests, sizeof(tests) / sizeof((tests)[0]))
int rig_run(const char *subject, const struct CMUnitTest *tests, size_t count);
bool rig_begin(void);
int rig_end(void **state);
int rig_setup(void **state);
int rig_teardown(void **state);

bool rig_xdp(void); /* the device under test is xdp:d0, not the software NIC */

/* The path of a program under test; constant string until the next call. */
const char *rig_program(const char *name);

/* --- namespaces and cables ----------------------------------------------------------------------------------- */

/* Make a namespace of this run, named after suffix; removed by the teardown. Writes its name. */
void rig_namespace(const char *suffix, char name[32]);
/* A veth pair between two namespaces, both ends up; `end` ("d0") gets what keeps the host's stack off it. */
void rig_cable(const char *netns, const char *ifname, const char *end_netns, const char *end);

/* --- starting ------------------------------------------------------------------------------------------- */

/* soft:d0 with its control socket, or xdp:d0. Constant string until the next call. */
const char *rig_device(const struct rig *rig);

/*
 * Start `ixy-tapd --json OPTIONS DEVICE ixy0` in the host namespace (both ends of the cable get as many queues as
 * the options ask for: xdp: has those of the interface), give ixy0 and p0 their addresses, and
 * wait until the first ping passes.
 */
void rig_start(struct rig *rig, const char *options);
/* The same over vfio-user, with a software NIC of its own process that outlives the daemon. */
void rig_start_vfio_user(struct rig *rig, const char *options);
/* The steps of these, for tests that need them one by one. */
void rig_start_softnic(struct rig *rig, const char *ports); /* returns when it is ready */
void rig_start_tapd(struct rig *rig, const char *options, const char *device);
void rig_addresses(struct rig *rig);
void rig_await_ping(struct rig *rig);
/* The vfio-user socket of a port, for the specs of both programs. Constant string until the next call. */
const char *rig_socket(unsigned port);

/* Start ixy-tapd with these arguments in a namespace, and go on at once. */
struct process *tapd_start(const char *netns, const char *format, ...) __attribute__((format(printf, 2, 3)));
/* It has said that it is ready, or the test fails with what it said instead. */
void tapd_await_ready(struct process *tapd);

/* --- asking --------------------------------------------------------------------------------------------- */

bool rig_ping(struct rig *rig); /* one echo request each way, answered within a second */

/* Send a command to the software NIC's control socket. It must succeed; returns the reply. */
const char *rig_ctl(struct rig *rig, const char *format, ...) __attribute__((format(printf, 2, 3)));
uint32_t rig_peek(struct rig *rig, uint32_t offset);
uint64_t rig_nic(struct rig *rig, const char *name); /* from `ctl stats 0` */
uint64_t rig_violations(struct rig *rig, unsigned port);

/*
 * What the device was told, asked where it must have arrived: in the software NIC's registers, or at the
 * interface d0.
 */
unsigned rig_device_mtu(struct rig *rig);
unsigned rig_device_max_mtu(void);
bool rig_device_has_mac(struct rig *rig, const uint8_t mac[6]); /* receives for this unicast address */
bool rig_device_promisc(struct rig *rig);
bool rig_device_allmulti(struct rig *rig);
bool rig_device_has_group(
	struct rig *rig, const uint8_t mac[6]); /* or for one that its filter takes for it */
bool rig_device_dark(struct rig *rig);          /* the port is off: the other end sees no carrier */

/*
 * Make ixy-tapd print its counters (SIGUSR1), and work out a number from the JSON object: a jq expression,
 * such as ".nic.rx_frames" or "[.queues[].rx.frames] | add".
 */
uint64_t tapd_number(struct process *tapd, const char *format, ...) __attribute__((format(printf, 2, 3)));
/* The same from what it printed last, at its end say. */
uint64_t tapd_last_number(struct process *tapd, const char *format, ...)
	__attribute__((format(printf, 2, 3)));

/* --- the end -------------------------------------------------------------------------------------------- */

/*
 * Every frame that the NIC or the kernel handed over is delivered or counted under a drop reason. lost_on_wire:
 * frames that the NIC took and could not send, because the link went at that moment.
 */
void tapd_assert_conserved(struct process *tapd, uint64_t lost_on_wire);
/* SIGTERM, and: exit code 0, nothing from a sanitizer. */
void tapd_assert_stops(struct process *tapd);
/*
 * After traffic: counters add up, no violation, both programs end with code 0 and without a sanitizer's
 * report, no interface is left, and d0 is as it was before.
 */
void rig_finish(struct rig *rig);
/* The parts of it that are about d0 (xdp:), for tests whose daemon has ended another way, and */
void rig_assert_cable_end_restored(struct rig *rig);
/* about the software NIC, for tests whose daemon has ended another way. */
void rig_finish_softnic(struct rig *rig);

#endif
