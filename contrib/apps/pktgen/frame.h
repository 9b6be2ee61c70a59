/*
 * The frames: UDP datagrams whose payload begins with a stamp, by which the receiving side knows each one again.
 *
 *	Ethernet 14 | IPv4 20 or IPv6 40 | UDP 8 | stamp 18 | zeroes
 *
 * The stamp just fits into the shortest Ethernet frame with IPv4. A frame's headers are the same for each of its length,
 * so they are written into a buffer once; from then on only the stamp, the source port (the flow) and what these do to
 * the checksum change: frame_stamp().
 *
 * Lengths here are without CRC; on the command line and in results they are with it, as RFC 2544 counts.
 */
#ifndef PKTGEN_FRAME_H
#define PKTGEN_FRAME_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "driver/packet.h"

#define FRAME_CRC      4
#define FRAME_GAP      20 /* bytes on the wire beside the frame and its CRC: preamble, start, gap */
#define FRAME_WIRE     (FRAME_CRC + FRAME_GAP)
#define FRAME_MAX      9728 /* with CRC; what an 82599 sends with its longest MTU */
#define FRAME_FLOWS    65536
#define FRAME_MAX_HEAD 62 /* up to the stamp */

struct frame_config {
	uint8_t to_mac[6], from_mac[6];
	bool ipv6;
	uint8_t to[16], from[16]; /* addresses in network order; IPv4: the first four bytes */
	uint16_t to_port, from_port;
	uint32_t flows;   /* source ports from from_port on */
	bool offload;     /* the device completes the UDP checksum */
	bool no_checksum; /* of IPv4: a UDP checksum of 0, which says that there is none */
};

/* What frames of one length have in common. */
struct frame_template {
	uint32_t size;
	uint16_t stamp_offset;
	bool offload, no_checksum;
	uint16_t from_port;
	uint64_t sum; /* of the pseudo-header and what does not change */
	uint8_t head[FRAME_MAX_HEAD];
};

/* The shortest frame of this kind, without CRC. */
uint32_t frame_shortest(bool ipv6);
/* size: without CRC, frame_shortest() or more. */
void frame_template_init(struct frame_template *template, const struct frame_config *config, uint32_t size);

/* Write what does not change into a fresh buffer, which holds template->size bytes. */
void frame_prepare(const struct frame_template *template, struct pkt_buf *buf);

struct frame_stamp {
	uint16_t run; /* which program, and which of its trials: others' frames are not ours */
	uint16_t flow;
	uint32_t number;  /* in its flow, from 0 */
	uint64_t time_ns; /* CLOCK_MONOTONIC of the sending machine */
};

/*
 * Make the next frame of a prepared buffer: stamp, port, checksum, and the lengths and flags of buf, so that it can be
 * sent.
 */
void frame_stamp(const struct frame_template *template, struct pkt_buf *buf, const struct frame_stamp *stamp);

/* False: none of ours. frame: size bytes of the frame's beginning. */
bool frame_read_stamp(const uint8_t *frame, size_t size, struct frame_stamp *stamp);

/*
 * Is the UDP checksum of a frame of ours right, or is there none? In software: a device says of good ones that they are,
 * but an 82599 does not say of UDP that it is wrong.
 */
bool frame_checksum_right(const struct pkt_buf *frame);

#endif
