/*
 * What ixy-fwd does with frames besides passing them on, if it is told to.
 */
#ifndef APPS_FWD_TOUCH_H
#define APPS_FWD_TOUCH_H

#include <stdint.h>

#include "driver/packet.h"

#define TOUCH_CHOICES "none|read|macs|ttl"

enum touch {
	TOUCH_NONE, /* no byte is looked at */
	TOUCH_READ, /* every byte is read, as a program that inspects frames does */
	TOUCH_MACS, /* source and destination change places */
	TOUCH_TTL   /* one hop: IPv4's TTL, IPv6's hop limit; where it would become 0 it stays */
};

/* What has been read, by one thread. */
struct touched {
	uint64_t bytes, sum;
};

void touch_frames(struct touched *touched, enum touch touch, struct pkt_buf *frames[], uint32_t count);

#endif
