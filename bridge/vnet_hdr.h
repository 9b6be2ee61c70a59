/*
 * The virtio_net header in front of each frame that goes to the kernel or comes from it, through a tap's descriptor or
 * through vhost's rings: 12 bytes (struct virtio_net_hdr_v1), all zero for a plain frame, else what the other side
 * has to finish. It lies in the buffer's headroom, right before the frame's first byte.
 */
#ifndef BRIDGE_VNET_HDR_H
#define BRIDGE_VNET_HDR_H

#include <linux/virtio_net.h>
#include <stdbool.h>
#include <stdint.h>

#include "driver/packet.h"

#define VNET_HDR_SIZE sizeof(struct virtio_net_hdr_v1)
_Static_assert(sizeof(struct virtio_net_hdr_v1) == 12, "what TUNSETVNETHDRSZ is told");
_Static_assert(sizeof(struct virtio_net_hdr_v1) <= PKT_BUF_HEADROOM, "the header lives in the headroom");

#define ETH_HEADER    14
#define ETH_MIN_FRAME 60 /* without CRC */

/*
 * Write the header in front of frame: what is left for the kernel to do. That is nothing, unless the frame is a
 * super-frame (gro.c), or came with a checksum that is yet to be completed. Returns where it begins.
 */
uint8_t *vnet_hdr_put(const struct pkt_buf *frame);

/*
 * Read the header in front of a frame from the kernel, whose size and frame_size are set: flags, csum_start,
 * csum_offset, gso_size and header_size get what is left for the NIC to do. Whether it fits the frame is for the
 * driver to check.
 */
void vnet_hdr_take(struct pkt_buf *frame);

/* There is a super-frame behind this header. */
bool vnet_hdr_super_frame(const uint8_t *header);

#endif
