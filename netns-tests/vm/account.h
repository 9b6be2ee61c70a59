/*
 * What one script puts on the wire, as a text: two drivers that send the same give the same one.
 */
#ifndef VM_ACCOUNT_H
#define VM_ACCOUNT_H

#include "vm.h"

/*
 * Let the guest send by this interface, which is up and has its addresses: echo requests and replies of many sizes, datagrams
 * and fragments, TCP streams, broadcast and multicast, tagged frames, over IPv4 and IPv6. Whatever leaves the guest is
 * captured at the peer, checked as frame_fault() does, and told in the file `name` of the test's folder.
 *
 * A line a frame, sorted: addresses, lengths, flags, ports, contents. What is drawn by lot, or a matter of time, is not
 * in it: IP identification, the identifier of an echo, sequence numbers, how a TCP stream is cut, and how often a
 * neighbour is asked.
 */
void account_write(struct vm *vm, const char *ifname, const char *name);
/* The same frames in both of them, or the test fails with the difference. */
void account_compare(const char *name, const char *other);

#endif
