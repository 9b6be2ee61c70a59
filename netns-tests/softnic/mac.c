/*
 * What the MAC knows of frames: how many passed, and how long they may be.
 */
#include "datapath.h"

#define STANDARD_FRAME (1518 - ETHER_CRC) /* hardwired while JUMBOEN is off (8.2.3.22.13) */

void mac_count(struct mac_counters *counters, const uint8_t *frame, size_t size)
{
	size += ETHER_CRC;
	unsigned bucket = 0;

	if (size > 64)
		bucket = size >= 1024 ? 5 : 1 + (size >= 128) + (size >= 256) + (size >= 512);
	counters->frames++;
	counters->octets += size;
	counters->by_size[bucket]++;
	if (ether_is_broadcast(frame))
		counters->broadcast++;
	else if (ether_is_multicast(frame))
		counters->multicast++;
}

size_t mac_max_frame(const struct nic *nic)
{
	size_t max = STANDARD_FRAME;

	if (nic_reg(nic, HLREG0) & HLREG0_JUMBOEN) {
		size_t maxfrs = nic_reg(nic, MAXFRS) >> MAXFRS_SHIFT;

		max = (maxfrs < NIC_FRAME_MAX ? maxfrs : NIC_FRAME_MAX);
		max -= max < ETHER_CRC ? max : ETHER_CRC;
	}
	return max;
}
