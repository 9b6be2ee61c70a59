/*
 * A vhost port's life: /dev/vhost-net told about memory and rings by ioctls, in the one order that it takes.
 *
 *	SET_OWNER                 this process's memory is what addresses mean
 *	GET_, SET_FEATURES        of the rings only; offloads are set at the tap, whose headers pass unchanged
 *	SET_MEM_TABLE             which addresses descriptors may hold: those of the two pools, as they are
 *	SET_VRING_NUM, _ADDR, _BASE, _ERR, _CALL, _KICK     for each ring
 *	SET_VRING_BUSYLOOP_TIMEOUT                          if asked for
 *	NET_SET_BACKEND           the tap; from here on the kernel's thread works
 *
 * NET_SET_BACKEND with -1 takes the rings back: it returns once the thread has let go of them. Closing the descriptor
 * does that as well, for both. That is all there is to end it, and after a failure everything begins anew from a
 * fresh descriptor: whatever state the kernel's side was in, it is gone with the old one.
 */
#include "bridge/vhost.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/vhost.h>
#include <linux/virtio_config.h>
#include <linux/virtio_net.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "bridge/vhost_port.h"
#include "driver/clock.h"
#include "driver/dma.h"
#include "driver/error.h"

#define RING_ALIGN 64
#define DRAIN_NS   200000000
#define NAP_US     20

#define BIT(n) (UINT64_C(1) << (n))

/* Without these frames are laid out otherwise. */
#define NEEDED_FEATURES (BIT(VIRTIO_F_VERSION_1) | BIT(VIRTIO_NET_F_MRG_RXBUF))
/*
 * Chains have their place in a ring of 4096, so INDIRECT_DESC would only have the kernel read a table besides it.
 * VHOST_NET_F_VIRTIO_NET_HDR is for sockets that know no headers; a tap does.
 */
#define USEFUL_FEATURES (NEEDED_FEATURES | BIT(VIRTIO_RING_F_EVENT_IDX))

static const uint16_t ring_entries[VHOST_RINGS] = {VHOST_PORT_BUFFERS, VHOST_TX_ENTRIES};

static int call_kernel(int fd, unsigned long request, void *argument)
{
	return ioctl(fd, request, argument);
}

const char *vhost_path = "/dev/vhost-net";
int (*vhost_ioctl)(int fd, unsigned long request, void *argument) = call_kernel;

/* --- the kernel's side -------------------------------------------------------------------------------- */

static int open_failure(int error)
{
	switch (error) {
	case ENOENT:
	case ENODEV:
	case ENXIO:
		return ixy_fail(error, "%s: the kernel's vhost_net module is not loaded: modprobe vhost_net",
			vhost_path);
	case EACCES:
	case EPERM:
		return ixy_fail(error,
			"%s: not permitted: run as root, or have root open it to this user: chown %u %s",
			vhost_path, (unsigned)geteuid(), vhost_path);
	default: return ixy_fail(error, "%s: %s", vhost_path, strerror(error));
	}
}

/* One ioctl, by what it is for. 0 or a negative errno with a text. */
static int tell(int vhost, unsigned long request, void *argument, const char *what)
{
	int error;

	if (vhost_ioctl(vhost, request, argument) >= 0)
		return 0;
	error = errno;
	return ixy_fail(error, "%s: the kernel refuses %s: %s", vhost_path, what, strerror(error));
}

/* A descriptor of our own, with its features agreed upon. Returns it, or a negative errno with a text. */
static int open_vhost(uint64_t *features)
{
	int vhost = open(vhost_path, O_RDWR | O_CLOEXEC), rc;

	if (vhost < 0)
		return open_failure(errno);
	rc = tell(vhost, VHOST_SET_OWNER, NULL, "to work for this process");
	if (rc == 0)
		rc = tell(vhost, VHOST_GET_FEATURES, features, "to tell its features");
	if (rc == 0 && (*features & NEEDED_FEATURES) != NEEDED_FEATURES)
		rc = ixy_fail(ENOTSUP,
			"%s: this kernel's vhost-net does not know mergeable buffers of virtio 1.0",
			vhost_path);
	*features &= USEFUL_FEATURES;
	if (rc == 0)
		rc = tell(vhost, VHOST_SET_FEATURES, features, "its features");
	if (rc < 0) {
		close(vhost);
		return rc;
	}
	return vhost;
}

int vhost_usable(void)
{
	uint64_t features;
	int vhost = open_vhost(&features);

	if (vhost < 0)
		return vhost;
	close(vhost);
	return 0;
}

/* Which addresses there are for the kernel: its own are ours, so that a buffer's pointer is its address in the ring. */
static int tell_memory(const struct vhost_port *port)
{
	const struct dma_region *regions[] = {port->config.pool->dma, port->config.received->dma};
	union {
		struct vhost_memory table;
		uint8_t room[sizeof(struct vhost_memory) + 2 * sizeof(struct vhost_memory_region)];
	} memory = {0};

	for (size_t i = 0; i < 2; i++) {
		if (i > 0 && regions[i] == regions[0])
			break;
		memory.table.regions[memory.table.nregions++] = (struct vhost_memory_region){
			.guest_phys_addr = (uintptr_t)regions[i]->virt,
			.userspace_addr = (uintptr_t)regions[i]->virt,
			.memory_size = regions[i]->size,
		};
	}
	return tell(port->vhost, VHOST_SET_MEM_TABLE, &memory, "the packet buffers' memory");
}

static int tell_ring(const struct vhost_port *port, unsigned index)
{
	const struct vhost_ring *ring = &port->rings[index];
	uintptr_t memory = (uintptr_t)ring->memory;
	struct vhost_vring_state num = {.index = index, .num = ring->vq.num};
	struct vhost_vring_state base = {.index = index, .num = 0};
	struct vhost_vring_state busy = {.index = index, .num = port->config.busy_poll_usecs};
	struct vhost_vring_addr addresses = {
		.index = index,
		.desc_user_addr = memory + virtqueue_desc_offset(&ring->vq),
		.avail_user_addr = memory + virtqueue_avail_offset(&ring->vq),
		.used_user_addr = memory + virtqueue_used_offset(&ring->vq),
	};
	struct vhost_vring_file error = {.index = index, .fd = port->error};
	/* Of sent frames' buffers nobody waits to hear. */
	struct vhost_vring_file call = {
		.index = index, .fd = index == VHOST_RX_RING ? port->call : VHOST_FILE_UNBIND};
	struct vhost_vring_file kick = {.index = index, .fd = ring->kick};
	int rc = tell(port->vhost, VHOST_SET_VRING_NUM, &num, "a ring's size");

	if (rc == 0)
		rc = tell(port->vhost, VHOST_SET_VRING_ADDR, &addresses, "a ring's place");
	if (rc == 0)
		rc = tell(port->vhost, VHOST_SET_VRING_BASE, &base, "a ring's first entry");
	if (rc == 0)
		rc = tell(port->vhost, VHOST_SET_VRING_ERR, &error, "a ring's descriptor for errors");
	if (rc == 0)
		rc = tell(port->vhost, VHOST_SET_VRING_CALL, &call, "a ring's descriptor for signals");
	if (rc == 0)
		rc = tell(port->vhost, VHOST_SET_VRING_KICK, &kick, "a ring's descriptor for kicks");
	/* Kernels before 4.6 cannot, and sleep at once: slower is all it is. */
	if (rc == 0 && busy.num)
		vhost_ioctl(port->vhost, VHOST_SET_VRING_BUSYLOOP_TIMEOUT, &busy);
	return rc;
}

static int set_backend(const struct vhost_port *port, unsigned index, int tap_fd)
{
	struct vhost_vring_file backend = {.index = index, .fd = tap_fd};

	return tell(port->vhost, VHOST_NET_SET_BACKEND, &backend, "the tap's queue");
}

/* The kernel lets go of the rings. They stay as they are. */
static void disconnect(struct vhost_port *port)
{
	if (port->vhost < 0)
		return;
	for (unsigned i = 0; i < VHOST_RINGS; i++)
		set_backend(port, i, VHOST_FILE_UNBIND);
	close(port->vhost);
	port->vhost = -1;
}

static void free_rings(struct vhost_port *port)
{
	for (unsigned i = 0; i < VHOST_RINGS; i++)
		virtqueue_free(&port->rings[i].vq);
}

/* Fresh rings, and the kernel's thread on them. 0; or a negative errno with a text, and none of both. */
static int connect_anew(struct vhost_port *port)
{
	uint64_t features;
	int rc;

	port->vhost = open_vhost(&features);
	if (port->vhost < 0)
		return port->vhost;
	rc = tell_memory(port);
	for (unsigned i = 0; i < VHOST_RINGS && rc == 0; i++) {
		struct vhost_ring *ring = &port->rings[i];

		rc = virtqueue_init(&ring->vq, ring_entries[i], ring->memory, RING_ALIGN, features);
		if (rc == 0)
			rc = tell_ring(port, i);
	}
	for (unsigned i = 0; i < VHOST_RINGS && rc == 0; i++)
		rc = set_backend(port, i, port->config.tap_fd);
	if (rc < 0) {
		struct ixy_error error;

		ixy_error_save(&error);
		disconnect(port);
		free_rings(port);
		ixy_error_restore(&error);
		return rc;
	}
	port->used_first = port->used_last = 0;
	port->failed = false;
	vhost_port_refill(port);
	return 0;
}

/* --- the port's life ---------------------------------------------------------------------------------- */

static void close_fd(int fd)
{
	if (fd >= 0)
		close(fd);
}

static void free_port(struct vhost_port *port)
{
	for (unsigned i = 0; i < VHOST_RINGS; i++) {
		free(port->rings[i].memory);
		close_fd(port->rings[i].kick);
	}
	close_fd(port->call);
	close_fd(port->error);
	free(port);
}

static void unbind(struct kernel_port *kernel_port)
{
	struct vhost_port *port = (struct vhost_port *)kernel_port;

	disconnect(port);
	vhost_port_empty(port, NULL, IXY_DROP_SHUTDOWN);
	free_rings(port);
	free_port(port);
}

static void set_up(struct kernel_port *kernel_port, bool up)
{
	struct vhost_port *port = (struct vhost_port *)kernel_port;

	atomic_store_explicit(&port->down, !up, memory_order_relaxed);
}

/* No more frames from the kernel; those that lie in the ring stay to be taken. */
static void shut(struct kernel_port *kernel_port)
{
	struct vhost_port *port = (struct vhost_port *)kernel_port;

	if (port->vhost >= 0)
		set_backend(port, VHOST_RX_RING, VHOST_FILE_UNBIND);
}

static uint32_t drain(struct kernel_port *kernel_port, struct queue_counters *counters)
{
	struct vhost_port *port = (struct vhost_port *)kernel_port;
	const uint64_t end = clock_ns() + DRAIN_NS;
	uint32_t lost;

	if (port->vhost < 0)
		return 0;
	while (vhost_port_reclaim(kernel_port, counters) && !port->failed && clock_ns() < end)
		sleep_us(NAP_US);
	disconnect(port);
	lost = vhost_port_empty(port, counters, IXY_DROP_SHUTDOWN);
	free_rings(port);
	return lost;
}

static const struct kernel_port_ops ops = {
	.send = vhost_port_send,
	.recv = vhost_port_recv,
	.fd = vhost_port_fd,
	.room = vhost_port_room,
	.reclaim = vhost_port_reclaim,
	.arm = vhost_port_arm,
	.set_up = set_up,
	.shut = shut,
	.drain = drain,
	.unbind = unbind,
};

int vhost_port_open(const struct vhost_config *config, struct kernel_port **result)
{
	struct vhost_port *port = aligned_alloc(WORKER_LINES, sizeof(*port));
	bool complete;
	int rc;

	if (!port)
		return ixy_fail(ENOMEM, "vhost-net: out of memory");
	if (!config->received) {
		free(port);
		return ixy_fail(ENOTSUP, "vhost-net: the device's receive buffers cannot be shared");
	}
	memset(port, 0, sizeof(*port));
	port->port.ops = &ops;
	port->config = *config;
	port->data_size = config->pool->data_size;
	port->vhost = -1;
	port->call = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
	port->error = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
	complete = port->call >= 0 && port->error >= 0;
	for (unsigned i = 0; i < VHOST_RINGS; i++) {
		port->rings[i].kick = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
		port->rings[i].memory =
			aligned_alloc(RING_ALIGN, virtqueue_bytes(ring_entries[i], RING_ALIGN));
		complete = complete && port->rings[i].kick >= 0 && port->rings[i].memory;
	}
	if (complete)
		rc = connect_anew(port);
	else
		rc = ixy_fail(errno ? errno : ENOMEM, "vhost-net: no memory or descriptors: %m");
	if (rc < 0) {
		free_port(port);
		return rc;
	}
	*result = &port->port;
	return 0;
}

int vhost_port_error_fd(const struct kernel_port *port)
{
	return ((const struct vhost_port *)port)->error;
}

int vhost_port_restart(struct kernel_port *kernel_port, struct queue_counters *counters)
{
	struct vhost_port *port = (struct vhost_port *)kernel_port;
	eventfd_t errors;

	disconnect(port);
	vhost_port_empty(port, counters, IXY_DROP_KERNEL_RESET);
	free_rings(port);
	eventfd_read(port->error, &errors);
	return connect_anew(port);
}
