/*
 * The driver on a NIC in the same process, for meters: an 82599 model (netns-tests/softnic/inprocess.h), an ixy device
 * on it, frames to put on its wire. Nothing runs by itself, so a meter knows whose instructions it counts.
 *
 * What goes wrong here ends the program with a message.
 */
#ifndef BENCH_FORWARD_RIG_H
#define BENCH_FORWARD_RIG_H

#include <stdint.h>

#include "driver/ixgbe/ixgbe.h"
#include "netns-tests/softnic/inprocess.h"
#include "netns-tests/softnic/wire.h"

#define RIG_RING  512 /* descriptors, the library's default */
#define RIG_JUMBO 9000

struct rig {
	struct nic *nic;
	struct ixy_device *dev;
	struct mempool *pool;     /* of what is sent but was not received */
	struct wire wire;         /* what is sent ends there */
	uint8_t frame[RIG_JUMBO]; /* for the device, of no protocol that has headers to parse */
};

/* Bring the device up with so many queue pairs; its link is up on return. */
void rig_open(struct rig *rig, uint16_t queues);

/* Ends the program, too, if the NIC has seen a violation: then the figures are of a driver that does not work. */
void rig_close(struct rig *rig);

/* Put count frames of size bytes on the wire; the NIC receives them. */
void rig_feed(struct rig *rig, uint32_t size, uint32_t count);

#endif
