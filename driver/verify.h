/*
 * Checksums of received frames, verified in software: for devices that say nothing of them.
 *
 * A frame from a sender on the same machine (veth, a tap, another guest) may come with the L4 checksum yet to be
 * completed: the field then holds the folded sum of the pseudo-header, which is all that its sender had to compute.
 * The payload of such a frame is not summed up at all. It is marked as the frame's next sender wants it
 * (PKT_TX_L4_CSUM), and verified in the sense that nothing has touched it since. A frame whose complete and correct
 * checksum happens to be the same number is no harm: completing it gives that number again.
 */
#ifndef IXY_VERIFY_H
#define IXY_VERIFY_H

#include "driver/packet.h"

/*
 * Look at IPv4's and TCP's or UDP's checksum of a frame in any number of buffers, whose headers lie in the first. Adds
 * PKT_RX_IP_CSUM_GOOD; PKT_RX_L4_CSUM_GOOD or _BAD, or PKT_TX_L4_CSUM with csum_start and csum_offset, to
 * frame->flags, which are 0 before. None of them for what it does not know: fragments, extension headers.
 */
void verify_checksums(struct pkt_buf *frame);

/* IPv4's alone: adds PKT_RX_IP_CSUM_GOOD where it is right. The rest of the flags stay. */
void verify_ip_checksum(struct pkt_buf *frame);

#endif
