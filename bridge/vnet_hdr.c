/* Offload requests between our frames' flags and the kernel's header. See vnet_hdr.h. */
#include "bridge/vnet_hdr.h"

#include <string.h>

#include "driver/gso.h"

#define UDP_HEADER 8

#define likely(x) __builtin_expect(!!(x), 1)

uint8_t *vnet_hdr_put(const struct pkt_buf *frame)
{
	uint8_t *start = frame->data - VNET_HDR_SIZE;
	struct virtio_net_hdr request = gso_request(frame);

	if (frame->flags & (PKT_TX_TSO4 | PKT_TX_TSO6)) /* the kernel knows none without */
		request.flags = VIRTIO_NET_HDR_F_NEEDS_CSUM;
	memset(start, 0, VNET_HDR_SIZE); /* num_buffers, behind the request, is of no meaning here */
	memcpy(start, &request, sizeof(request));
	return start;
}

void vnet_hdr_take(struct pkt_buf *frame)
{
	struct virtio_net_hdr_v1 header;

	memcpy(&header, frame->data - VNET_HDR_SIZE, sizeof(header));
	if (likely(!(header.flags & VIRTIO_NET_HDR_F_NEEDS_CSUM) &&
		    header.gso_type == VIRTIO_NET_HDR_GSO_NONE))
		return;
	/* A super-frame without NEEDS_CSUM has no csum_start; the driver refuses it by its name. */
	frame->flags = PKT_TX_L4_CSUM | gso_flags(header.gso_type);
	frame->csum_start = header.csum_start;
	frame->csum_offset = header.csum_offset;
	if (!(frame->flags & PKT_TX_SUPER))
		return;
	frame->gso_size = header.gso_size;
	if (frame->flags & PKT_TX_USO) {
		frame->header_size = (uint16_t)(header.csum_start + UDP_HEADER);
		return;
	}
	/* header.hdr_len is a hint of at least this. The data offset in the TCP header tells exactly. */
	if (frame->size > header.csum_start + 12u)
		frame->header_size = (uint16_t)(header.csum_start +
						(uint32_t)(frame->data[header.csum_start + 12] >> 4) * 4);
}

bool vnet_hdr_super_frame(const uint8_t *header)
{
	return ((const struct virtio_net_hdr_v1 *)header)->gso_type != VIRTIO_NET_HDR_GSO_NONE;
}
