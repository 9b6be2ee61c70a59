/*
 * Headers, checksums and copies of frames; see app_frame.h.
 */
#include "contrib/apps/app_frame.h"

#include <net/ethernet.h>

#define VLAN_TAG       4
#define ETHERTYPE_QINQ 0x88A8 /* IEEE 802.1ad */

size_t app_network_header(const struct pkt_buf *frame, uint16_t *ether_type)
{
	size_t offset = ETH_HLEN;

	for (int tags = 0;; tags++) {
		if (frame->size < offset)
			return 0;
		*ether_type = (uint16_t)(frame->data[offset - 2] << 8 | frame->data[offset - 1]);
		if ((*ether_type != ETHERTYPE_VLAN && *ether_type != ETHERTYPE_QINQ) || tags == 2)
			return offset;
		offset += VLAN_TAG;
	}
}

struct pkt_buf *app_copy_frame(struct mempool *pool, const struct pkt_buf *frame)
{
	struct pkt_buf *copy = pkt_buf_alloc(pool), *last = copy;

	if (!copy)
		return NULL;
	copy->flags = frame->flags;
	copy->frame_size = frame->frame_size;
	copy->rss_hash = frame->rss_hash;
	copy->csum_start = frame->csum_start;
	copy->csum_offset = frame->csum_offset;
	copy->gso_size = frame->gso_size;
	copy->header_size = frame->header_size;
	for (const struct pkt_buf *from = frame; from; from = from->next) {
		for (uint32_t done = 0; done < from->size;) {
			uint32_t part = from->size - done;

			if (last->size == pool->data_size) {
				last->next = pkt_buf_alloc(pool);
				if (!last->next) {
					pkt_buf_free(copy);
					return NULL;
				}
				last = last->next;
				copy->segments++;
			}
			if (part > pool->data_size - last->size)
				part = pool->data_size - last->size;
			memcpy(last->data + last->size, from->data + done, part);
			last->size += part;
			done += part;
		}
	}
	return copy;
}
