/*
 * The mirror: what a user does to the interface reaches the NIC, and what happens to the NIC's cable shows on
 * the interface.
 *
 *	ip link set ixy0 up/down        port on, off (laser)
 *	ip link set ixy0 mtu N          frame length; what the NIC cannot do is set back
 *	ip link set ixy0 address ...    receive address
 *	promiscuity, of any origin      promiscuous reception
 *	multicast                       all of it, or the joined groups (enum multicast_policy)
 *	ethtool -K ixy0 gro on/off      received segments coalesced or not (gro.c)
 *	ip link set ixy0 txqueuelen N   how many frames may gather there (worker_sleep.c)
 *	cable, speed of the link        carrier, `ethtool ixy0`
 *
 * Runs in the main thread's loop.
 */
#ifndef BRIDGE_MIRROR_H
#define BRIDGE_MIRROR_H

#include <ev.h>
#include <stdbool.h>
#include <stdint.h>

#include "bridge/options.h"
#include "bridge/tap.h"
#include "driver/ixy.h"

struct mirror;

struct mirror_config {
	struct ev_loop *loop;
	struct ixy_device *dev;
	struct tap *tap;
	const char *ifname;
	int netns;    /* where the interface is; a descriptor, -1: the current namespace */
	uint16_t mtu; /* what interface and device begin with; 0: what the interface has */
	enum multicast_policy multicast;
	/* Called when the interface's GRO has been switched, and if it is off at the start. NULL: nobody asks. */
	void (*gro_switched)(void *arg, bool on);
	/* Called when the interface's txqueuelen has become another, and at the start. NULL: nobody asks. */
	void (*tx_queue_changed)(void *arg, uint32_t frames);
	/* Called when the interface has been switched up or down, and if it is down at the start. NULL: nobody asks. */
	void (*up_switched)(void *arg, bool up);
	/* Called when the interface has been deleted, or cannot be followed any more. */
	void (*interface_gone)(void *arg);
	void *arg;
};

/*
 * Give the interface the device's MAC address, agree on the MTU, and follow both from here on. config is
 * copied. Returns 0, or the exit code that fits, having logged why.
 */
int mirror_start(const struct mirror_config *config, struct mirror **mirror);
void mirror_stop(struct mirror *mirror); /* NULL is allowed */

/*
 * The device's link may have changed (IXY_EVENT_LINK, reset): show its state on the interface. To be called
 * once after mirror_start() too.
 */
void mirror_link(struct mirror *mirror);

/* The interface's present name; users may change it. Valid until the loop runs again. */
const char *mirror_ifname(const struct mirror *mirror);

#endif
