/*
 * Super-frames by a packet socket.
 *
 * In the copy modes each frame that leaves by AF_XDP costs the kernel a buffer, a copy and a way through the driver
 * of its own. A packet socket with PACKET_VNET_HDR takes 64 KiB at once, with the same request that came with it
 * from the tap; it is cut where the kernel's own TCP has it cut, in the interface's hardware or right before its
 * driver. So the switches of the interface rule what is on the wire: `ethtool -K eth1 tso off`.
 *
 * Two ways out of one queue must not let frames overtake each other. So one is taken only when the other is empty:
 * AF_XDP's when its ring is (xdp_tx.c sees to that), this one when none of its frames is still in a qdisc or with
 * the driver, which the kernel knows (SIOCOUTQ). Until then other frames follow by this way, too.
 *
 * The socket receives nothing. It is there in the copy modes only: zero copy has transmit queues apart, and waiting
 * for those would cost more than is won.
 */
#include <errno.h>
#include <linux/if_packet.h>
#include <linux/sockios.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "driver/xdp/xdp.h"

#define unlikely(x) __builtin_expect(!!(x), 0)

/*
 * Shorter ones go by AF_XDP. What a segment costs on a veth pair, by AF_XDP and by the socket, in ns: in super-frames of
 * one 2640 and 2870, of two 2400 and 2340, of four 1870 and 1390, of 44 1580 and 960.
 */
#define SEGMENTS_MIN 3

/* The kernel's UDP_MAX_SEGMENTS until 6.9; more is refused, and does not mean that it cannot. */
#define UDP_SEGMENTS_MAX 64

/* What may be on its way: enough for the wire not to run dry while we are told that there is room again. */
#define SEND_ROOM (1 << 20)

#define KIND(gso_type) (1u << ((gso_type) & (unsigned)~VIRTIO_NET_HDR_GSO_ECN))

static int open_socket(const struct xdp_queue *q)
{
	const struct sockaddr_ll address = {
		.sll_family = AF_PACKET,
		.sll_ifindex = (int)q->dev->netif->index,
		.sll_protocol = 0, /* none: it receives nothing */
	};
	int one = 1, room = SEND_ROOM, err;
	int fd = socket(AF_PACKET, SOCK_RAW | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

	if (fd < 0)
		return -errno;
	/* No PACKET_QDISC_BYPASS: behind it only the first segment would be sent. */
	if (setsockopt(fd, SOL_PACKET, PACKET_VNET_HDR, &one, sizeof(one)) < 0 ||
		bind(fd, (const struct sockaddr *)&address, sizeof(address)) < 0) {
		err = -errno;
		close(fd);
		return err;
	}
	if (setsockopt(fd, SOL_SOCKET, SO_SNDBUFFORCE, &room, sizeof(room)) < 0)
		setsockopt(fd, SOL_SOCKET, SO_SNDBUF, &room, sizeof(room));
	return fd;
}

void xdp_super_open(struct xdp_queue *q)
{
	q->by_socket = (struct xdp_super_tx){.fd = -1};
	if (xsk_socket_zero_copy(q->socket))
		return;
	q->by_socket.fd = open_socket(q);
	if (q->by_socket.fd < 0)
		ixy_log(IXY_LOG_WARNING, "%s: no packet socket, so super-frames are cut in software: %s",
			q->dev->ixy.name, strerror(-q->by_socket.fd));
}

void xdp_super_close(struct xdp_queue *q)
{
	if (q->by_socket.fd >= 0)
		close(q->by_socket.fd);
	q->by_socket = (struct xdp_super_tx){.fd = -1};
}

bool xdp_super_pending(struct xdp_queue *q)
{
	int bytes = 0;

	if (q->by_socket.busy && (ioctl(q->by_socket.fd, SIOCOUTQ, &bytes) < 0 || bytes == 0))
		q->by_socket.busy = false;
	return q->by_socket.busy;
}

bool xdp_super_takes(struct xdp_queue *q, const struct virtio_net_hdr *request)
{
	if (q->by_socket.fd < 0 ||
		__atomic_load_n(&q->dev->super_refused, __ATOMIC_RELAXED) & KIND(request->gso_type))
		return false;
	if (request->gso_type == VIRTIO_NET_HDR_GSO_UDP_L4 && q->gso.segments > UDP_SEGMENTS_MAX)
		return false;
	return q->gso.segments >= SEGMENTS_MIN || xdp_super_pending(q);
}

/* From now on this kind is cut in software. */
static int refuse(struct xdp_device *dev, const struct virtio_net_hdr *vnet, int err)
{
	static const char *const kinds[] = {
		[VIRTIO_NET_HDR_GSO_TCPV4] = "TCP over IPv4",
		[VIRTIO_NET_HDR_GSO_TCPV6] = "TCP over IPv6",
		[VIRTIO_NET_HDR_GSO_UDP_L4] = "UDP",
	};
	unsigned kind = vnet->gso_type & (unsigned)~VIRTIO_NET_HDR_GSO_ECN;

	if (!(__atomic_fetch_or(&dev->super_refused, KIND(kind), __ATOMIC_RELAXED) & KIND(kind)))
		ixy_log(IXY_LOG_INFO,
			"%s: the kernel does not segment %s here, so it is done in software: %s",
			dev->ixy.name, kinds[kind], strerror(-err));
	return -ENOTSUP;
}

/* All pieces, the request first. 0, -EAGAIN, -ENETDOWN or another negative errno. */
static int send_pieces(struct xdp_queue *q, struct iovec *iov, uint32_t count)
{
	const struct msghdr message = {.msg_iov = iov, .msg_iovlen = count};
	int err;

	if (sendmsg(q->by_socket.fd, &message, MSG_DONTWAIT | MSG_NOSIGNAL) >= 0) {
		q->by_socket.busy = true;
		return 0;
	}
	err = errno;
	switch (err) {
	case EINTR:
	case EAGAIN: return -EAGAIN;
	case ENOBUFS:
		/* A full qdisc has taken nothing. */
		if (__atomic_load_n(&q->dev->netif->has_qdisc, __ATOMIC_RELAXED))
			return -EAGAIN;
		/*
		 * Without one, the driver was given the frames one by one, and the last of them, at least, did not
		 * fit. To send all of it again would only double those that did.
		 */
		q->by_socket.busy = true;
		stat_add(&q->tx_stats.drops[IXY_DROP_TX_RING_FULL], 1);
		stat_add(&q->tx_stats.tx_frames, -UINT64_C(1));
		stat_add(&q->refused, 1);
		return 0;
	case ENETDOWN:
	case ENODEV:
	case ENXIO: return -ENETDOWN;
	default: return -err;
	}
}

int xdp_super_send(struct xdp_queue *q, const struct iovec *iov, uint32_t count)
{
	uint8_t header[GSO_HEADER_MAX];
	struct virtio_net_hdr vnet;
	struct iovec pieces[2 + XDP_SUPER_IOV];
	size_t skip = q->gso.header_size;
	uint32_t n = 0;
	int err;

	/* The header as it was checked, made to fit what is sent. */
	if (gso_whole(&q->gso, &vnet, header) < 0)
		return -ENOTSUP;
	pieces[n++] = (struct iovec){&vnet, sizeof(vnet)};
	pieces[n++] = (struct iovec){header, q->gso.header_size};
	for (uint32_t i = 0; i < count; i++) {
		if (iov[i].iov_len <= skip) {
			skip -= iov[i].iov_len;
			continue;
		}
		pieces[n++] = (struct iovec){(uint8_t *)iov[i].iov_base + skip, iov[i].iov_len - skip};
		skip = 0;
	}
	err = send_pieces(q, pieces, n);
	if (unlikely(err && err != -EAGAIN && err != -ENETDOWN))
		return refuse(q->dev, &vnet, err);
	return err;
}

int xdp_super_follow(struct xdp_queue *q, const struct iovec *iov, uint32_t count, uint32_t size)
{
	static const uint8_t zeros[XDP_MIN_FRAME];
	struct virtio_net_hdr vnet = {0};
	struct iovec pieces[2 + XDP_SUPER_IOV];
	int err;

	pieces[0] = (struct iovec){&vnet, sizeof(vnet)};
	memcpy(pieces + 1, iov, count * sizeof(*iov));
	count++;
	if (size < XDP_MIN_FRAME)
		pieces[count++] = (struct iovec){(void *)(uintptr_t)zeros, XDP_MIN_FRAME - size};
	err = send_pieces(q, pieces, count);
	/* What is refused here may pass by AF_XDP, when all of this has left. */
	return err && err != -ENETDOWN ? -EAGAIN : err;
}
