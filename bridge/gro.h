/*
 * Generic receive offload in userspace: TCP segments, or UDP datagrams, of one receive burst that follow each
 * other become one super-frame, which costs the kernel one walk up its stack instead of up to 45.
 *
 * What a super-frame is to the kernel: the first segment's headers, with lengths that cover all payloads, the
 * payloads behind it as further pieces of memory, and the size at which they were cut, so that the kernel
 * could cut them again. It is described by the same fields of struct pkt_buf as a super-frame on its way out
 * (PKT_TX_TSO4, PKT_TX_TSO6, PKT_TX_USO, gso_size, csum_start, csum_offset, header_size). A UDP socket gets
 * the datagrams one by one all the same, unless it asks for more (UDP_GRO).
 *
 * Merged is only what cutting would restore: the same addresses, ports and VLAN tag, TOS, TTL, DF,
 * acknowledgement, window and options; consecutive sequence numbers (and IPv4 ids, unless DF makes them
 * meaningless); no IP options, fragments or extension headers; no flags but ACK, PSH, ECE; every payload as
 * long as the first, but the last, which may be shorter. PSH or a short one ends a super-frame. And only
 * frames whose checksums the NIC has found good, or whose L4 checksum has yet to be completed anyway
 * (PKT_TX_L4_CSUM), because the kernel is told that the sum has been seen to.
 * All else passes as it is, also what the NIC hands over as a super-frame. The order within a flow is kept, also that
 * of fragments and the like, whose flow is not looked for: nothing is merged across them. A burst holds nothing back,
 * so no latency is added.
 */
#ifndef BRIDGE_GRO_H
#define BRIDGE_GRO_H

#include <stdbool.h>
#include <stdint.h>

#include "driver/packet.h"

#define GRO_BURST 256 /* frames at most a call */

/*
 * Coalesce frames[0..count-1] (count up to GRO_BURST) in place. Returns how many frames there are now, in the
 * order of their first segments. Ownership does not change: a merged segment hangs on the super-frame's
 * chain. udp: UDP too; only a kernel that takes USO understands what comes out then.
 */
uint32_t gro_burst(struct pkt_buf *frames[], uint32_t count, bool udp);

#endif
