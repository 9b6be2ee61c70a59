/* The tap interface: made, attached to, set up and removed; and its queues, each a kernel_port. */
#ifndef BRIDGE_TAP_H
#define BRIDGE_TAP_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "bridge/kernel_port.h"

struct tap;

/*
 * Make interface `name` in namespace netns (a descriptor, -1: the current one) with so many queues, or attach
 * to it where it exists as a persistent tap that nobody uses. To make one takes CAP_NET_ADMIN; to attach to one
 * takes that or being its owner. It has no carrier yet. napi (IFF_NAPI): the kernel's own GRO sees what is received,
 * which pays for vhost-net's bursts, and costs with a write() a frame. Returns 0, or the exit code that fits, having
 * logged why.
 */
int tap_open(const char *name, int netns, uint16_t queues, bool napi, struct tap **tap);

/* Close all queues. The interface goes with the last queue, unless persistent. */
void tap_close(struct tap *tap);

/* True if the interface was there before. */
bool tap_attached(const struct tap *tap);

/*
 * Keep the interface after tap_close(), for owner and group (-1: nobody but root) to attach to again.
 * 0 or a negative errno.
 */
int tap_persist(struct tap *tap, uid_t owner, gid_t group);

/*
 * What the kernel may leave for the NIC to finish: nothing; checksums and TCP super-frames of up to 64 KiB; or
 * UDP super-frames as well, for which it takes Linux 6.2 (-EINVAL before). 0 or a negative errno.
 */
enum tap_offload { TAP_OFFLOAD_NONE, TAP_OFFLOAD_TCP, TAP_OFFLOAD_TCP_UDP };
int tap_set_offload(struct tap *tap, enum tap_offload offload);

/* What the interface shows as its cable's state: NO-CARRIER or LOWER_UP. 0 or a negative errno. */
int tap_set_carrier(struct tap *tap, bool on);

/* The interface's MAC address; unlike through netlink, whoever holds the tap may set it. 0 or a negative errno. */
int tap_set_mac(struct tap *tap, struct ixy_mac mac);

/*
 * A descriptor of the namespace that the interface is in now, which the caller closes; its present name goes
 * to name. -ENODEV when it has been deleted, or another negative errno.
 */
int tap_find(struct tap *tap, char name[16]);

/*
 * The port that reads and writes this queue, with buffers from pool, for frames of up to max_frame bytes. The thread of
 * the queue is the pool's too. kernel_port_unbind() it before the pool is freed and the tap closed.
 */
struct kernel_port *tap_port_bind(struct tap *tap, uint16_t queue, struct mempool *pool, uint32_t max_frame);

/* The queue's descriptor, for vhost-net; it stays the tap's. */
int tap_queue_fd(const struct tap *tap, uint16_t queue);

/* Buffers of data_size bytes that one frame of max_frame bytes takes, and that a port holds ready. */
uint32_t tap_port_buffers(uint32_t max_frame, uint32_t data_size);

#endif
