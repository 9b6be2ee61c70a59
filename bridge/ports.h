/*
 * The ports of all queues, of one kind, with the pools that they use: taps that are read and written, or vhost-net.
 *
 * The functions here belong to the main thread.
 */
#ifndef BRIDGE_PORTS_H
#define BRIDGE_PORTS_H

#include <ev.h>
#include <stdbool.h>
#include <stdint.h>

#include "bridge/kernel_port.h"
#include "bridge/options.h"
#include "bridge/tap.h"
#include "driver/ixy.h"

struct ports;

/*
 * Which kind is it to be, before there is a tap: *vhost. For KERNEL_AUTO the log says what it is and why. 0; or for
 * KERNEL_VHOST, if it cannot be, the exit code that fits, having logged why.
 */
int ports_choose(enum kernel_kind wanted, const char *ifname, bool *vhost);

/*
 * How many buffers a queue's pool gets, and how large they are (bytes of data), for frames of up to max_frame bytes:
 * for the huge page count, too. ring: descriptors of the NIC's transmit ring, 0: its default.
 */
uint32_t ports_buffers(bool vhost, uint16_t ring, uint32_t max_frame, uint32_t buffer_size);
uint32_t ports_buffer_size(bool offload);

struct ports_config {
	struct ev_loop *loop;
	struct ixy_device *dev;
	struct tap *tap; /* opened with napi for vhost */
	const char *ifname;
	enum kernel_kind wanted;
	bool vhost; /* as ports_choose() said */
	uint16_t queues, ring;
	bool offload;       /* super-frames */
	uint32_t max_frame; /* that the kernel hands over, bytes without CRC */
	uint32_t busy_poll_usecs;
	/* Called when no frame passes a queue's port any more, until ports_restart(). */
	void (*broken)(void *arg, uint16_t queue);
	void *arg;
};

/*
 * Make pools and ports. KERNEL_AUTO falls back to reading and writing the tap, should vhost-net refuse now. config is
 * copied. 0, or the exit code that fits, having logged why.
 */
int ports_start(const struct ports_config *config, struct ports **ports);

/* Take the ports off, free the pools: after ixy_stop(), before ixy_close(). NULL is allowed. */
void ports_stop(struct ports *ports);

struct kernel_port *ports_get(const struct ports *ports, uint16_t queue);

/* The interface is up or down by its user's will. */
void ports_set_up(struct ports *ports, bool up);

/*
 * Set a broken port up anew while its worker is parked, and count that. 0; or if it cannot be, or was not the first
 * time of many, the exit code that fits, having logged why.
 */
int ports_restart(struct ports *ports, uint16_t queue, struct queue_counters *counters);

#endif
