/*
 * The tap: an Ethernet interface whose other end is a file descriptor.
 *
 * Each queue is one descriptor on /dev/net/tun. A write() is a frame that the kernel receives on the
 * interface, a read() one that it sends through it, each with a 12-byte virtio_net header in front (offload
 * requests; all zero for a plain frame; see vnet_hdr.h). That header lives in the buffer's
 * headroom, right before the frame, so that a frame in one buffer is one write() without a copy, and a longer
 * one a writev() over its chain.
 *
 * Reading never truncates: the iovec spans buffers for the longest frame there can be and one byte more, and
 * a frame that fills it all is dropped and counted. Buffers that a frame left unused serve the next read.
 *
 * Two things in the kernel's fast path (tun_build_skb) depend on how the descriptor is set up: it must be
 * O_NONBLOCK, and its send buffer must stay unlimited (INT_MAX). IFF_NAPI would make each write schedule NAPI
 * for a single frame, which costs more than it saves; it is for vhost-net (vhost.c), which brings bursts.
 */
#include "bridge/tap.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/if_tun.h>
#include <net/if.h>
#include <net/if_arp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/uio.h>
#include <sysexits.h>
#include <unistd.h>

#include "bridge/interface.h"
#include "bridge/log.h"
#include "bridge/netns.h"
#include "bridge/vnet_hdr.h"

/* Debian 12's headers are older than UDP super-frames (Linux 6.2). */
#ifndef TUN_F_USO4
#define TUN_F_USO4 0x20
#define TUN_F_USO6 0x40
#endif

/* Buffers that a frame of 65,535 bytes, the longest that the kernel can hand out, takes: 33 of 2 KiB. */
#define MAX_CHAIN 40

/* Buffers of a super-frame on its way into the kernel: all frames of a burst, jumbo frames among them. */
#define MAX_PIECES 256

#define likely(x)   __builtin_expect(!!(x), 1)
#define unlikely(x) __builtin_expect(!!(x), 0)

struct tap_port {
	struct kernel_port port;
	int fd;
	struct mempool *pool;
	uint32_t chain;     /* buffers that a read spans */
	uint32_t data_size; /* of each */
	size_t capacity;    /* of all together, with the header */
	/*
	 * A stack of the buffers that wait for the next frame; the topmost is the frame's first. So those
	 * that a frame takes leave from the top, fresh ones come there, and the rest keep their places in the
	 * iovec.
	 */
	struct pkt_buf *bufs[MAX_CHAIN];
	uint32_t ready;              /* height of the stack */
	struct iovec iov[MAX_CHAIN]; /* iov[i] is bufs[chain - 1 - i] */
} __attribute__((aligned(WORKER_LINES)));

struct tap {
	bool attached;
	uint16_t queues;
	struct tap_port ports[]; /* one a queue */
};

/* --- the interface ------------------------------------------------------------------------------------ */

/* What the kernel's dev_valid_name() takes, and no '%', which TUNSETIFF would replace by a number. */
static const char *name_fault(const char *name)
{
	if (*name == '\0')
		return "it is empty";
	if (strlen(name) >= IFNAMSIZ)
		return "it has more than 15 characters";
	if (strcmp(name, ".") == 0 || strcmp(name, "..") == 0 || strpbrk(name, "/:% \t\n\v\f\r"))
		return "an interface name cannot have '/', ':', '%' or blanks";
	return NULL;
}

static int log_open_failure(void)
{
	switch (errno) {
	case ENOENT:
	case ENODEV:
	case ENXIO:
		log_error("/dev/net/tun: the kernel's tun driver is not there: modprobe tun");
		return EX_UNAVAILABLE;
	case EACCES:
	case EPERM:
		log_error("/dev/net/tun: not permitted: run as root, or have root open it to all, as most "
			  "systems have it: chmod 666 /dev/net/tun");
		return EX_NOPERM;
	default: log_error("/dev/net/tun: %m"); return EXIT_FAILURE;
	}
}

static int attach_queue(struct tap_port *port, const char *name, short flags)
{
	struct ifreq ifr = {.ifr_flags = flags};
	int size = VNET_HDR_SIZE;

	memcpy(ifr.ifr_name, name, strlen(name) + 1);
	if (ioctl(port->fd, TUNSETIFF, &ifr) < 0)
		return -errno;
	if (ioctl(port->fd, TUNSETVNETHDRSZ, &size) < 0 || ioctl(port->fd, TUNSETOFFLOAD, 0UL) < 0)
		return -errno;
	return 0;
}

/* How `ip tuntap add` makes a tap that we may attach to. Constant string until the next call. */
static const char *for_user(void)
{
	static char text[32];

	text[0] = '\0';
	if (geteuid() != 0)
		snprintf(text, sizeof(text), " user %u", (unsigned)geteuid());
	return text;
}

static int log_not_permitted(const struct tap *tap, const char *name)
{
	const char *kind = tap->queues > 1 ? "tap multi_queue" : "tap";

	if (tap->attached)
		log_error(
			"%s: the interface exists, but not for this user: run as root, or have root make it "
			"again: ip tuntap del mode tap name %s && ip tuntap add mode %s name %s%s",
			name, name, kind, name, for_user());
	else
		log_error(
			"%s: not permitted to make the interface (CAP_NET_ADMIN is missing): run as root, or "
			"have root make it: ip tuntap add mode %s name %s%s",
			name, kind, name, for_user());
	return EX_NOPERM;
}

/* The name exists. If it is a persistent tap that nobody holds, *flags get what its kind needs. */
static int may_attach(const char *name, uint16_t queues, short *flags)
{
	struct interface_state state;
	int rc = interface_lookup(name, &state);

	if (rc < 0) {
		log_error("%s: cannot ask what interface this is: %s", name, strerror(-rc));
		return EXIT_FAILURE;
	}
	if (!state.is_tap) {
		log_error(
			"%s: the name is taken by an interface that is not a tap; choose another name", name);
		return EX_CONFIG;
	}
	if (!state.tap_persistent || state.tap_queues > 0) {
		log_error("%s: the interface is in use by another program; choose another name", name);
		return EX_CONFIG;
	}
	if (queues > 1 && !state.tap_multi_queue) {
		log_error(
			"%s: the interface exists with one queue only: --queues 1, or have it made again: ip "
			"tuntap del mode tap name %s && ip tuntap add mode tap multi_queue name %s%s",
			name, name, name, for_user());
		return EX_CONFIG;
	}
	*flags = (short)(state.tap_multi_queue ? *flags | IFF_MULTI_QUEUE : *flags & ~IFF_MULTI_QUEUE);
	return 0;
}

static int attach_queues(struct tap *tap, const char *name, bool napi)
{
	short flags = IFF_TAP | IFF_NO_PI | IFF_VNET_HDR | IFF_NO_CARRIER;
	int rc;

	if (tap->queues > 1)
		flags |= IFF_MULTI_QUEUE;
	if (napi)
		flags |= IFF_NAPI;
	/* With IFF_TUN_EXCL a taken name is an error, and not a silent second queue on somebody's tap. */
	rc = attach_queue(&tap->ports[0], name, (short)(flags | (short)IFF_TUN_EXCL));
	if (rc == -EBUSY) {
		rc = may_attach(name, tap->queues, &flags);
		if (rc > 0)
			return rc;
		tap->attached = true;
		rc = attach_queue(&tap->ports[0], name, flags);
	}
	for (uint16_t i = 1; i < tap->queues && rc == 0; i++)
		rc = attach_queue(&tap->ports[i], name, flags);
	switch (rc) {
	case 0: return 0;
	case -EPERM: return log_not_permitted(tap, name);
	case -EBUSY:
		log_error("%s: the interface is in use by another program; choose another name", name);
		break;
	case -EINVAL:
		log_error("%s: the kernel refuses this name or kind of interface; choose another name", name);
		break;
	default: log_error("%s: cannot make the interface: %s", name, strerror(-rc)); return EXIT_FAILURE;
	}
	return EX_CONFIG;
}

int tap_open(const char *name, int netns, uint16_t queues, bool napi, struct tap **result)
{
	const char *fault = name_fault(name);
	struct tap *tap;
	size_t size;
	int rc, home;

	if (fault) {
		log_error("%s: this cannot be an interface's name: %s", name, fault);
		return EX_CONFIG;
	}
	size = sizeof(*tap) + queues * sizeof(tap->ports[0]);
	tap = aligned_alloc(WORKER_LINES, size);
	if (!tap) {
		log_error("%s: out of memory", name);
		return EXIT_FAILURE;
	}
	memset(tap, 0, size);
	tap->queues = queues;
	for (uint16_t i = 0; i < queues; i++)
		tap->ports[i].fd = -1;

	/* The interface comes into being in the namespace of the thread that says open(). */
	rc = netns_enter(netns, &home);
	if (rc < 0) {
		log_error("%s: cannot enter its network namespace: %s: run as root", name, strerror(-rc));
		rc = rc == -EPERM ? EX_NOPERM : EXIT_FAILURE;
		goto fail;
	}
	for (uint16_t i = 0; i < queues; i++) {
		tap->ports[i].fd = open("/dev/net/tun", O_RDWR | O_NONBLOCK | O_CLOEXEC);
		if (tap->ports[i].fd < 0) {
			rc = log_open_failure();
			goto fail_netns;
		}
	}
	rc = attach_queues(tap, name, napi);
	if (rc)
		goto fail_netns;
	/* A kernel before 6.1 does not know IFF_NO_CARRIER. */
	tap_set_carrier(tap, false);
	netns_leave(home);
	*result = tap;
	return 0;
fail_netns:
	netns_leave(home);
fail:
	tap_close(tap);
	return rc;
}

void tap_close(struct tap *tap)
{
	if (!tap)
		return;
	for (uint16_t i = tap->queues; i-- > 0;)
		if (tap->ports[i].fd >= 0)
			close(tap->ports[i].fd);
	free(tap);
}

bool tap_attached(const struct tap *tap)
{
	return tap->attached;
}

int tap_queue_fd(const struct tap *tap, uint16_t queue)
{
	return tap->ports[queue].fd;
}

int tap_persist(struct tap *tap, uid_t owner, gid_t group)
{
	int fd = tap->ports[0].fd;

	if (owner != (uid_t)-1 && ioctl(fd, TUNSETOWNER, (unsigned long)owner) < 0)
		return -errno;
	if (group != (gid_t)-1 && ioctl(fd, TUNSETGROUP, (unsigned long)group) < 0)
		return -errno;
	return ioctl(fd, TUNSETPERSIST, 1UL) < 0 ? -errno : 0;
}

int tap_set_offload(struct tap *tap, enum tap_offload offload)
{
	static const unsigned long features[] = {
		[TAP_OFFLOAD_NONE] = 0,
		[TAP_OFFLOAD_TCP] = TUN_F_CSUM | TUN_F_TSO4 | TUN_F_TSO6 | TUN_F_TSO_ECN,
		[TAP_OFFLOAD_TCP_UDP] =
			TUN_F_CSUM | TUN_F_TSO4 | TUN_F_TSO6 | TUN_F_TSO_ECN | TUN_F_USO4 | TUN_F_USO6,
	};

	return ioctl(tap->ports[0].fd, TUNSETOFFLOAD, features[offload]) < 0 ? -errno : 0;
}

int tap_set_carrier(struct tap *tap, bool on)
{
	int carrier = on;

	return ioctl(tap->ports[0].fd, TUNSETCARRIER, &carrier) < 0 ? -errno : 0;
}

int tap_set_mac(struct tap *tap, struct ixy_mac mac)
{
	struct ifreq ifr = {.ifr_hwaddr.sa_family = ARPHRD_ETHER};

	memcpy(ifr.ifr_hwaddr.sa_data, mac.addr, sizeof(mac.addr));
	return ioctl(tap->ports[0].fd, SIOCSIFHWADDR, &ifr) < 0 ? -errno : 0;
}

int tap_find(struct tap *tap, char name[16])
{
	struct ifreq ifr = {0};
	int fd;

	if (ioctl(tap->ports[0].fd, TUNGETIFF, &ifr) < 0)
		return errno == EBADFD ? -ENODEV : -errno;
	memcpy(name, ifr.ifr_name, IFNAMSIZ);
	fd = ioctl(tap->ports[0].fd, TUNGETDEVNETNS);
	return fd < 0 ? -errno : fd;
}

/* --- a queue ------------------------------------------------------------------------------------------ */

static struct tap_port *tap_port_of(const struct kernel_port *port)
{
	return (struct tap_port *)port;
}

static int tap_port_fd(const struct kernel_port *port)
{
	return tap_port_of(port)->fd;
}

/* Why the kernel did not take a frame. */
static enum ixy_drop drop_reason(int error)
{
	switch (error) {
	case EIO: /* the interface is not up */
	case EBADFD: return IXY_DROP_KERNEL_DOWN;
	case EAGAIN:
	case ENOBUFS:
	case ENOMEM: return IXY_DROP_KERNEL_FULL;
	default: return IXY_DROP_KERNEL_REFUSED;
	}
}

/* 0 or a positive errno. */
static int write_frame(struct tap_port *port, struct pkt_buf *frame)
{
	uint8_t *start = vnet_hdr_put(frame);
	struct iovec iov[MAX_PIECES];
	int count = 0;
	ssize_t n;

	if (!frame->next) {
		n = write(port->fd, start, VNET_HDR_SIZE + frame->size);
		return unlikely(n < 0) ? errno : 0;
	}
	iov[count++] = (struct iovec){start, VNET_HDR_SIZE + frame->size};
	for (const struct pkt_buf *buf = frame->next; buf; buf = buf->next) {
		if (unlikely(count == MAX_PIECES))
			return EMSGSIZE;
		iov[count++] = (struct iovec){buf->data, buf->size};
	}
	n = writev(port->fd, iov, count);
	return unlikely(n < 0) ? errno : 0;
}

static int tap_port_send(
	struct kernel_port *port, struct pkt_buf *frames[], uint32_t count, struct queue_counters *counters)
{
	struct tap_port *tap_port = tap_port_of(port);
	uint64_t delivered = 0, bytes = 0;
	int rc = 0;

	for (uint32_t i = 0; i < count; i++) {
		uint32_t wire_frames = pkt_buf_wire_frames(frames[i]);
		int error;

		if (unlikely(frames[i]->frame_size < ETH_HEADER)) {
			counter_add(&counters->drops[IXY_DROP_KERNEL_RUNT], 1);
			continue;
		}
		error = write_frame(tap_port, frames[i]);
		if (unlikely(error)) {
			counter_add(&counters->drops[drop_reason(error)], wire_frames);
			if (error == EBADFD)
				rc = -EBADFD;
			continue;
		}
		delivered += wire_frames;
		bytes += pkt_buf_wire_bytes(frames[i]);
	}
	pkt_buf_free_batch(frames, count);
	counter_add(&counters->rx.frames, delivered);
	counter_add(&counters->rx.bytes, bytes);
	counter_add(&counters->rx.bursts, 1);
	return rc;
}

/* Fill up the stack of buffers that the next frame is read into. */
static bool prepare_read(struct tap_port *port)
{
	uint32_t from = port->ready;

	if (likely(from == port->chain))
		return true;
	port->ready += pkt_buf_alloc_batch(port->pool, port->bufs + from, port->chain - from);
	for (uint32_t i = from; i < port->ready; i++)
		port->iov[port->chain - 1 - i] = (struct iovec){port->bufs[i]->data, port->data_size};
	if (unlikely(port->ready < port->chain))
		return false;
	/* The first one takes the header too, in its headroom. */
	port->iov[0].iov_base = port->bufs[port->chain - 1]->data - VNET_HDR_SIZE;
	port->iov[0].iov_len = VNET_HDR_SIZE + port->data_size;
	return true;
}

/*
 * Take a frame of size bytes, which was read just now, off the stack of buffers.
 *
 * Two datagrams of one byte make a super-frame shorter than a frame may be. Padding it would be more payload; the
 * frames that it is cut into are padded by the NIC.
 */
static struct pkt_buf *take_frame(struct tap_port *port, uint32_t size)
{
	struct pkt_buf *first = port->bufs[--port->ready], *last = first;
	uint32_t rest;

	if (unlikely(size < ETH_MIN_FRAME) && !vnet_hdr_super_frame(first->data - VNET_HDR_SIZE)) {
		memset(first->data + size, 0, ETH_MIN_FRAME - size);
		size = ETH_MIN_FRAME;
	}
	first->frame_size = size;
	first->size = size < port->data_size ? size : port->data_size;
	for (rest = size - first->size; rest > 0; rest -= last->size) {
		last->next = port->bufs[--port->ready];
		last = last->next;
		last->size = rest < port->data_size ? rest : port->data_size;
		first->segments++;
	}
	return first;
}

static int tap_port_recv(
	struct kernel_port *port, struct pkt_buf *frames[], uint32_t count, struct queue_counters *counters)
{
	struct tap_port *tap_port = tap_port_of(port);
	uint64_t wire_frames = 0, bytes = 0;
	uint32_t n = 0;
	int rc = 0;

	while (n < count) {
		ssize_t got;

		if (unlikely(!prepare_read(tap_port))) {
			rc = -ENOBUFS;
			break;
		}
		got = readv(tap_port->fd, tap_port->iov, (int)tap_port->chain);
		if (got < 0) {
			rc = errno == EBADFD ? -EBADFD : 0;
			/* The kernel has lost a super-frame of a kind that the header cannot describe. */
			if (unlikely(errno == EINVAL))
				counter_add(&counters->drops[IXY_DROP_TX_BAD_OFFLOAD], 1);
			break;
		}
		/* A frame that fills everything may have been longer: the kernel cuts it off in silence. */
		if (unlikely((size_t)got >= tap_port->capacity)) {
			counter_add(&counters->drops[IXY_DROP_TX_TOO_LONG], 1);
			continue;
		}
		if (unlikely((size_t)got < VNET_HDR_SIZE + ETH_HEADER)) {
			counter_add(&counters->drops[IXY_DROP_TX_TOO_SHORT], 1);
			continue;
		}
		frames[n] = take_frame(tap_port, (uint32_t)got - VNET_HDR_SIZE);
		vnet_hdr_take(frames[n]);
		wire_frames += pkt_buf_wire_frames(frames[n]);
		bytes += pkt_buf_wire_bytes(frames[n++]);
	}
	if (n == 0)
		return rc;
	counter_add(&counters->tx.frames, wire_frames);
	counter_add(&counters->tx.bytes, bytes);
	counter_add(&counters->tx.bursts, 1);
	return (int)n;
}

static void tap_port_unbind(struct kernel_port *port)
{
	struct tap_port *tap_port = tap_port_of(port);

	pkt_buf_free_batch(tap_port->bufs, tap_port->ready);
	tap_port->ready = 0;
	tap_port->pool = NULL;
}

/*
 * The kernel is done with a frame when write() returns, and each read() asks it anew: so nothing is to be armed,
 * reclaimed or drained, and it drops by itself what it has no room for.
 */
static const struct kernel_port_ops tap_port_ops = {
	.send = tap_port_send,
	.recv = tap_port_recv,
	.fd = tap_port_fd,
	.unbind = tap_port_unbind,
};

uint32_t tap_port_buffers(uint32_t max_frame, uint32_t data_size)
{
	return max_frame / data_size + 1;
}

struct kernel_port *tap_port_bind(struct tap *tap, uint16_t queue, struct mempool *pool, uint32_t max_frame)
{
	struct tap_port *port = &tap->ports[queue];

	port->port.ops = &tap_port_ops;
	port->pool = pool;
	port->data_size = pool->data_size;
	port->chain = tap_port_buffers(max_frame, pool->data_size);
	if (port->chain > MAX_CHAIN)
		port->chain = MAX_CHAIN;
	port->capacity = VNET_HDR_SIZE + (size_t)port->chain * port->data_size;
	return &port->port;
}
