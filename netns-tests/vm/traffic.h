/*
 * What two hosts do with each other, whatever drives the NIC between them. Each function fails the test if
 * something does not arrive as it was sent.
 */
#ifndef VM_TRAFFIC_H
#define VM_TRAFFIC_H

#include "vm.h"

/* Give the guest's interface its addresses, take it up and wait for its carrier. */
void traffic_set_up(struct vm *vm, const char *ifname);
void traffic_await_carrier(struct vm *vm, const char *ifname, bool up);

/* The cable of the software NIC is pulled and put back in; the interface sees both. */
void traffic_replug(struct vm *vm, const char *ifname);

/*
 * All that a NIC has to carry, in the words of the functions below: pings, datagrams of all sizes, TCP streams and a
 * file; and, on the interface that is named, jumbo frames and a VLAN. With {0} it is the first four.
 */
struct traffic {
	unsigned file_mib; /* 0: FILE_MIB in traffic.c */
	const char *jumbo; /* NULL: none, because the test has its own MTU */
	const char *vlan;  /* NULL: none */
};
void traffic_all(struct vm *vm, struct traffic list);

/* A few echo requests each way, over IPv4 and IPv6. */
void traffic_pings(struct vm *vm);
/* Datagrams of all sizes, fragments too. */
void traffic_sizes(struct vm *vm);
/* TCP streams each way, one and several at a time. */
void traffic_streams(struct vm *vm);
/* A file of random bytes there over IPv4 and back over IPv6, with its checksum compared. */
void traffic_file(struct vm *vm);
void traffic_file_of(struct vm *vm, unsigned mib);

/* Frames in both directions at once until the end, or for a minute; they pass when begin returns. */
void traffic_begin_flood(struct vm *vm, const char *ifname);
void traffic_end_flood(struct vm *vm);
/* Frames pass again, sooner or later: recovery renews the link, which takes a moment. */
void traffic_await_recovery(struct vm *vm);

/* The MTU of the cable and of the peer; the guest's interface has its own ways. */
void traffic_cable_mtu(struct vm *vm, unsigned mtu);
/* Where all have MTU 9000: unfragmented datagrams of that size, and a file. */
void traffic_jumbo(struct vm *vm);
/* The same on an interface and a cable that are given MTU 9000 for it, and then 1500 again. */
void traffic_jumbo_and_back(struct vm *vm, const char *ifname);

/*
 * What the guest sends in VLAN 42 of its interface carries that tag and a priority, and it gets what comes with the tag,
 * whoever handles tags. Between begin and end, as often as wanted.
 */
void traffic_begin_vlan(struct vm *vm, const char *ifname);
void traffic_vlan(struct vm *vm);
void traffic_end_vlan(struct vm *vm);

#endif
