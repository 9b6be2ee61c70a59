/*
 * Frames in the hands of those applications that change or copy them, on any device.
 *
 * Headers are looked at in a frame's first buffer only: a NIC splits no frame there.
 */
#ifndef APPS_APP_FRAME_H
#define APPS_APP_FRAME_H

#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "driver/checksum.h"
#include "driver/packet.h"

/*
 * Where the network header begins, behind up to two VLAN tags, and its EtherType in host order. 0: the first buffer
 * ends before.
 */
size_t app_network_header(const struct pkt_buf *frame, uint16_t *ether_type);

/* Two addresses or ports change places, which changes no checksum that both are in. size: up to 16. */
static inline void app_swap(void *one, void *other, size_t size)
{
	uint8_t between[16];

	memcpy(between, one, size);
	memcpy(one, other, size);
	memcpy(other, between, size);
}

/*
 * The checksum of data of which one word has changed, by the difference: RFC 1624, eqn. 3, HC' = ~(~HC + ~m + m').
 * All as they lie in memory.
 */
static inline uint16_t app_change_checksum(uint16_t check, uint16_t before, uint16_t after)
{
	return checksum_finish((uint64_t)(uint16_t)~check + (uint16_t)~before + after);
}

/*
 * A copy of a frame in buffers of another pool, with all that is known about it; NULL if the pool has too few. The
 * thread of the pool.
 */
struct pkt_buf *app_copy_frame(struct mempool *pool, const struct pkt_buf *frame);

#endif
