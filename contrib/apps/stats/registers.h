/*
 * The registers of an 82599 by name, for a dump.
 */
#ifndef APPS_STATS_REGISTERS_H
#define APPS_STATS_REGISTERS_H

#include <stdbool.h>
#include <stdint.h>

#include "driver/ixy.h"

struct register_value {
	char name[24]; /* "CTRL", "RDT[3]" */
	uint32_t offset, value;
};

/*
 * Read those that can be read without a trace; with `clearing` also those that are 0 afterwards: the statistics, which
 * then lack in the driver's counters, and the interrupt causes. As many of each kind of queue register as the device has
 * queues. Returns how many there are in *values, to be freed; or a negative errno: -ENOTSUP where the device is none.
 */
int registers_read(struct ixy_device *dev, bool clearing, struct register_value **values);

/* One, by its name ("LINKS", "rdt[3]") or its offset ("0x42a4"). 0 or a negative errno with its reason. */
int register_read(struct ixy_device *dev, const char *name, struct register_value *value);

#endif
