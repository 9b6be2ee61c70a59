/*
 * Frames in chains of a pool's buffers, as a driver is given them to send: segments and frame_size are in the first
 * buffer. The caller has the chain until it is sent or freed.
 */
#ifndef UNIT_CHAIN_H
#define UNIT_CHAIN_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <cmocka.h>

#include "driver/packet.h"
#include "super_frame.h"

/* One more buffer at the end of the chain, with these bytes; *chain NULL: the first one. */
static inline void chain_add(struct pkt_buf **chain, struct mempool *pool, const void *bytes, size_t size)
{
	struct pkt_buf *buf = pkt_buf_alloc(pool), *last = *chain;

	assert_non_null(buf);
	assert_in_range(size, 1, pool->data_size);
	memcpy(buf->data, bytes, size);
	buf->size = (uint32_t)size;
	if (!last) {
		buf->frame_size = (uint32_t)size;
		*chain = buf;
		return;
	}
	while (last->next)
		last = last->next;
	last->next = buf;
	(*chain)->segments++;
	(*chain)->frame_size += (uint32_t)size;
}

/* A frame in as few buffers as it takes. */
static inline struct pkt_buf *chain_of(struct mempool *pool, const void *bytes, size_t size)
{
	struct pkt_buf *chain = NULL;

	for (size_t at = 0; at < size; at += pool->data_size)
		chain_add(&chain, pool, (const uint8_t *)bytes + at,
			size - at < pool->data_size ? size - at : pool->data_size);
	return chain;
}

/* What is left to do with a super-frame, or with a frame whose checksum alone is (VIRTIO_NET_HDR_GSO_NONE). */
static inline uint16_t super_frame_flags(const struct super_frame *f)
{
	if (f->vnet.gso_type == VIRTIO_NET_HDR_GSO_NONE)
		return PKT_TX_L4_CSUM;
	return PKT_TX_L4_CSUM | (f->udp ? PKT_TX_USO : f->ipv6 ? PKT_TX_TSO6 : PKT_TX_TSO4);
}

/*
 * A super-frame as somebody might send it, cut at random: the first piece has `first` bytes or more (f->header if all
 * headers are to be in it), the others `least` or more, up to what a buffer holds.
 */
static inline struct pkt_buf *super_frame_chain(
	struct mempool *pool, const struct super_frame *f, size_t first, size_t least)
{
	struct pkt_buf *chain = NULL;

	for (size_t at = 0, size; at < f->size; at += size) {
		size = at ? least + dice((uint32_t)(pool->data_size - least + 1)) : first + dice(1000);
		if (size > f->size - at)
			size = f->size - at;
		chain_add(&chain, pool, f->bytes + at, size);
	}
	chain->flags = super_frame_flags(f);
	chain->csum_start = f->vnet.csum_start;
	chain->csum_offset = f->vnet.csum_offset;
	chain->gso_size = f->vnet.gso_size;
	chain->header_size = f->vnet.hdr_len;
	return chain;
}

#endif
