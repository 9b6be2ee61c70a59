/*
 * Finishing in software what a sender left to the network card: checksums, and the segmentation of
 * super-frames (TCP over IPv4 and IPv6, UDP).
 *
 * Linux describes such a frame by a struct virtio_net_hdr, on a TAP as on a packet socket, in the byte order
 * of the host. Nothing in it is believed: the frame's own headers say where things are, and an offload request
 * that does not fit them is an error.
 *
 * Nothing is allocated, and no payload is copied unless the caller wants it (gso_next_copy): a segment is a
 * header, written where the caller likes, and pieces of the super-frame.
 *
 *	struct gso gso;
 *	int segments = gso_begin(&gso, &vnet, iov, count);     // negative: drop the frame
 *	while ((size = gso_next(&gso, header, pieces, &n)) > 0)
 *		...                                                // gso.header_size bytes at header, then pieces
 *
 * For a caller with a linear frame that he may destroy and a consumer that is done with each segment at once,
 * gso_segment() builds every header in place, in front of its payload: no byte of payload moves.
 */
#ifndef IXY_GSO_H
#define IXY_GSO_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/uio.h>
#include <linux/virtio_net.h>

#include "driver/packet.h"

#ifndef VIRTIO_NET_HDR_GSO_UDP_L4
#define VIRTIO_NET_HDR_GSO_UDP_L4 5
#endif

#define GSO_HEADER_MAX 256 /* Ethernet, two VLAN tags, IPv6 with extension headers, TCP with options */
#define GSO_PIECES_MAX 20  /* pieces that the payload of one segment may be scattered over */

struct gso {
	size_t header_size; /* of each segment's header, bytes */
	unsigned segments;  /* how many there will be, 1 or more */
	/* The rest is private. */
	bool ipv6, tcp, complete; /* complete: the checksum has to be computed */
	uint16_t l3, l4, mss;
	size_t payload_left;
	unsigned emitted;
	const struct iovec *iov;
	size_t iov_count, iov_at;
	size_t iov_offset;
	uint8_t header[GSO_HEADER_MAX]; /* of the super-frame, checksums prepared */
};

/*
 * What a frame's flags (PKT_TX_L4_CSUM, PKT_TX_TSO4, PKT_TX_TSO6, PKT_TX_USO) leave to be done, as the request that
 * the functions here and the kernel take; all zero for a frame that is complete.
 */
struct virtio_net_hdr gso_request(const struct pkt_buf *frame);

/*
 * The other way round: the flag of pkt_buf.flags that stands for this gso_type (ECN or not), 0 for NONE. Whatever
 * is not TCP is PKT_TX_USO: of UDP's kinds we ask a sender for no other.
 */
uint16_t gso_flags(uint8_t gso_type);

/*
 * Point iov[0 .. limit-1] at the buffers of a frame. Returns how many there are; 0 if they are more than limit, or do
 * not add up to frame_size. A buffer may be empty. Inline, because xdp_tx.c asks for every frame.
 */
static inline uint32_t gso_pieces(const struct pkt_buf *frame, struct iovec *iov, uint32_t limit)
{
	const struct pkt_buf *buf = frame;
	uint64_t size = 0;
	uint32_t n = 0;

	do {
		if (n == limit)
			return 0;
		iov[n++] = (struct iovec){buf->data, buf->size};
		size += buf->size;
		buf = buf->next;
	} while (buf);
	return size == frame->frame_size ? n : 0;
}

/*
 * Start on a super-frame (vnet->gso_type other than NONE) that lies in count pieces, 14-byte Ethernet header
 * first, VLAN tags inline. The pieces must stay as they are until the last gso_next(), except for the first
 * gso->header_size bytes.
 * 0: the pieces hold all of the headers; or -EINVAL: the headers do not fit the request, or an unknown kind of GSO.
 */
int gso_begin(struct gso *gso, const struct virtio_net_hdr *vnet, const struct iovec *iov, size_t count);

/*
 * Write the next segment's header (gso->header_size bytes, checksums complete) to header and point
 * pieces[0..*count-1] (room for GSO_PIECES_MAX) at its payload. Returns the whole segment's bytes, header
 * included; 0 after the last one; -EINVAL if the payload is scattered over more pieces than that.
 */
ssize_t gso_next(struct gso *gso, uint8_t *header, struct iovec *pieces, unsigned *count);

/*
 * The same for a device that wants each segment in one piece of its own memory: write all of it, header and
 * payload, to segment (room for gso->header_size + vnet->gso_size bytes), summing up as it is copied. Returns the
 * segment's bytes, 0 after the last one. Any number of pieces.
 */
ssize_t gso_next_copy(struct gso *gso, uint8_t *segment);

/*
 * For a sender who segments by himself (a packet socket): the header of the super-frame on which gso_begin() has
 * just succeeded, gso->header_size bytes, and the request that goes with it. Lengths, the IPv4 checksum and the
 * pseudo-header's sum are made to fit. 0; -EINVAL where that cannot be: longer than one IP packet, or UDP without a
 * checksum.
 */
int gso_whole(const struct gso *gso, struct virtio_net_hdr *vnet, uint8_t *header);

/*
 * Complete the checksum of a frame that is not a super-frame (vnet->flags with NEEDS_CSUM, gso_type NONE), in
 * place. The bytes of the checksum field and all behind vnet->csum_start must be in the frame. A UDP sum of 0
 * is written as 0xFFFF. SCTP gets its CRC32c. 0 or -EINVAL.
 */
int gso_checksum(const struct virtio_net_hdr *vnet, const struct iovec *iov, size_t count);

/*
 * The same for a frame with PKT_TX_L4_CSUM, on its way to somebody who does not do it. The flag is gone then. 0; -EINVAL
 * with the frame as it was, where the request does not fit it, or it has over 64 buffers or not those that it says.
 */
int gso_complete(struct pkt_buf *frame);

/*
 * Whatever vnet asks for, on a linear frame that is overwritten: emit() gets each frame, complete, and must
 * not keep it. Returns the number of frames emitted or -EINVAL (none emitted).
 */
int gso_segment(const struct virtio_net_hdr *vnet, uint8_t *frame, size_t size,
	void (*emit)(void *context, const uint8_t *frame, size_t size), void *context);

#endif
