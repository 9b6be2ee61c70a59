/*
 * The ixy device on AF_XDP, as ixy.c sees it: `xdp:eth1[,queues=N][,mode=zc|native|generic]`.
 */
#ifndef IXY_XDP_DEVICE_H
#define IXY_XDP_DEVICE_H

#include "driver/ixy.h"

/* Whether a device spec is for this driver. */
bool xdp_spec(const char *spec);

/* The queue pairs that the spec itself asks for; 0 if it does not. */
uint16_t xdp_spec_queues(const char *spec);

/* As ixy_open(); options are complete. */
int xdp_open(const char *spec, const struct ixy_options *options, struct ixy_device **dev);

#endif
