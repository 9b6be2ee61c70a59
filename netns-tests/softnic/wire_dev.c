/*
 * The cable plugged into an existing interface, through AF_PACKET.
 *
 * Receiving: whatever the stack or the veth peer leaves to hardware arrives with a virtio_net_hdr in front
 * (PACKET_VNET_HDR): super-frames of up to 64 KiB, checksums that are only pseudo-header sums, VLAN tags in
 * the auxiliary data. They are made into the frames that a real wire would carry: tag put back, segmented,
 * checksums complete, padded to 60 bytes.
 *
 * Sending: the NIC's frames are complete. They are collected back to back and handed over 64 at once, past the
 * queueing discipline. A frame that the interface's queue does not take is tried again for a few turns of the
 * loop, and then counted as dropped.
 *
 * Carrier: rtnetlink says that some link has changed; what it is now is asked of the interface itself. So a
 * lost netlink message costs nothing, and an interface that has gone is found out the same way.
 */
#include "wire.h"

#include <errno.h>
#include <arpa/inet.h>
#include <linux/if_ether.h>
#include <linux/if_packet.h>
#include <linux/netlink.h>
#include <linux/rtnetlink.h>
#include <net/if.h>
#include <net/if_arp.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#include "driver/gso.h"
#include "log.h"

#ifndef PACKET_IGNORE_OUTGOING
#define PACKET_IGNORE_OUTGOING 23
#endif

#define RX_BATCH    16
#define RX_HEADROOM 64          /* a VLAN tag is put back in here */
#define RX_SIZE     (68u << 10) /* headroom and the longest frame, 65,535 bytes of IP packet and its headers */
#define RCVBUF      (32 << 20)  /* super-frames are charged with all the pages they occupy */
#define SNDBUF      (8 << 20)

#define TX_BATCH 64
#define TX_SIZE  (256u << 10)
#define TX_TRIES 8 /* turns of the loop */

#define VLAN_SIZE 4
#define MACS_SIZE 12

struct dev {
	struct wire wire;
	struct ev_loop *loop;
	char name[IFNAMSIZ];
	int ifindex;
	bool gone;
	bool carrier;
	int rx_fd, tx_fd, link_fd;
	struct ev_io rx_watcher, link_watcher;

	uint8_t *rx_memory; /* RX_BATCH buffers of RX_SIZE */
	struct virtio_net_hdr rx_vnet[RX_BATCH];
	struct iovec rx_iov[RX_BATCH][2];
	union {
		char bytes[CMSG_SPACE(sizeof(struct tpacket_auxdata))];
		struct cmsghdr align;
	} rx_control[RX_BATCH];
	struct mmsghdr rx_msgs[RX_BATCH];
	unsigned rx_next, rx_have; /* messages next..have-1 are still to be delivered */

	uint8_t *tx_memory;
	size_t tx_used;
	unsigned tx_first, tx_count; /* frames first..count-1 are still to be sent */
	unsigned tx_tries;
	struct iovec tx_iov[TX_BATCH];
	struct mmsghdr tx_msgs[TX_BATCH];
};

/* --- receive --------------------------------------------------------------------------------------------------- */

/* Put back the VLAN tag that the kernel keeps beside the frame. */
static uint8_t *restore_vlan(struct msghdr *msg, struct virtio_net_hdr *vnet, uint8_t *frame, size_t *size)
{
	struct tpacket_auxdata aux;
	struct cmsghdr *cmsg = CMSG_FIRSTHDR(msg);
	if (!cmsg || cmsg->cmsg_level != SOL_PACKET || cmsg->cmsg_type != PACKET_AUXDATA ||
		cmsg->cmsg_len < CMSG_LEN(sizeof aux) || *size < MACS_SIZE)
		return frame;
	memcpy(&aux, CMSG_DATA(cmsg), sizeof aux);
	if (!(aux.tp_status & TP_STATUS_VLAN_VALID))
		return frame;
	uint16_t tpid = aux.tp_status & TP_STATUS_VLAN_TPID_VALID ? aux.tp_vlan_tpid : ETH_P_8021Q;
	const uint8_t tag[VLAN_SIZE] = {
		(uint8_t)(tpid >> 8),
		(uint8_t)tpid,
		(uint8_t)(aux.tp_vlan_tci >> 8),
		(uint8_t)aux.tp_vlan_tci,
	};
	memmove(frame - VLAN_SIZE, frame, MACS_SIZE);
	memcpy(frame - VLAN_SIZE + MACS_SIZE, tag, sizeof tag);
	if (vnet->flags & VIRTIO_NET_HDR_F_NEEDS_CSUM)
		vnet->csum_start += VLAN_SIZE;
	*size += VLAN_SIZE;
	return frame - VLAN_SIZE;
}

static void deliver(void *context, const uint8_t *frame, size_t size)
{
	struct dev *dev = context;
	dev->wire.rx_frames++;
	nic_receive(dev->wire.nic, frame, size);
}

/* Returns the number of frames that it came to. */
static unsigned receive_one(struct dev *dev, unsigned i)
{
	struct mmsghdr *msg = &dev->rx_msgs[i];
	struct virtio_net_hdr *vnet = &dev->rx_vnet[i];
	uint8_t *frame = dev->rx_memory + (size_t)i * RX_SIZE + RX_HEADROOM;
	if (msg->msg_hdr.msg_flags & MSG_TRUNC || msg->msg_len < sizeof *vnet + ETH_HLEN) {
		dev->wire.rx_dropped++;
		return 0;
	}
	size_t size = msg->msg_len - sizeof *vnet;
	frame = restore_vlan(&msg->msg_hdr, vnet, frame, &size);
	if (size < WIRE_FRAME_MIN && vnet->gso_type == VIRTIO_NET_HDR_GSO_NONE) {
		/* Zeroes do not change a checksum that goes over them, but a CRC: finish that first. */
		struct iovec whole = {frame, size};
		if (vnet->flags & VIRTIO_NET_HDR_F_NEEDS_CSUM && gso_checksum(vnet, &whole, 1) < 0) {
			dev->wire.rx_dropped++;
			return 0;
		}
		vnet->flags = 0;
		memset(frame + size, 0, WIRE_FRAME_MIN - size);
		size = WIRE_FRAME_MIN;
	}
	int frames = gso_segment(vnet, frame, size, deliver, dev);
	if (frames < 0) {
		dev->wire.rx_dropped++;
		return 0;
	}
	return (unsigned)frames;
}

static int receive_batch(struct dev *dev)
{
	for (unsigned i = 0; i < RX_BATCH; i++) {
		dev->rx_msgs[i].msg_hdr.msg_controllen = sizeof dev->rx_control[i];
		dev->rx_msgs[i].msg_hdr.msg_flags = 0;
	}
	int n = recvmmsg(dev->rx_fd, dev->rx_msgs, RX_BATCH, MSG_DONTWAIT, NULL);
	if (n >= 0)
		return n;
	switch (errno) {
	case EAGAIN:
	case EINTR:
	case ENETDOWN: /* told once; the link watcher says what to make of it */ return 0;
	default: /* a kind of GSO that has no virtio_net_hdr, say: the kernel has thrown that frame away */
		dev->wire.rx_dropped++;
		return 0;
	}
}

/* How many frames a message will come to, and how long they are at most. */
static size_t frames_of(const struct dev *dev, unsigned i, size_t *size)
{
	const struct virtio_net_hdr *vnet = &dev->rx_vnet[i];
	*size = dev->rx_msgs[i].msg_len;
	if (vnet->gso_type == VIRTIO_NET_HDR_GSO_NONE || vnet->gso_size == 0)
		return 1;
	size_t frames = *size / vnet->gso_size + 1;
	*size = (size_t)vnet->gso_size + GSO_HEADER_MAX;
	return frames;
}

static unsigned deliver_batch(struct dev *dev, unsigned budget)
{
	unsigned done = 0;
	for (; dev->rx_next < dev->rx_have && done < budget; dev->rx_next++) {
		size_t size, frames = frames_of(dev, dev->rx_next, &size);
		if (!wire_deliverable(&dev->wire, frames, size))
			break;
		done += receive_one(dev, dev->rx_next);
	}
	return done;
}

/* While frames are held back, the socket stays readable: do not let it keep the loop awake. */
static void watch_frames(struct dev *dev)
{
	bool wanted = !dev->wire.held && !dev->gone;
	if (wanted && !ev_is_active(&dev->rx_watcher))
		ev_io_start(dev->loop, &dev->rx_watcher);
	else if (!wanted)
		ev_io_stop(dev->loop, &dev->rx_watcher);
}

static unsigned dev_poll(struct wire *wire, unsigned budget)
{
	struct dev *dev = (struct dev *)wire;
	unsigned done = 0;
	bool more = !dev->gone;
	wire->room = 0;
	while (more && done < budget) {
		if (dev->rx_next == dev->rx_have) {
			int n = receive_batch(dev);
			dev->rx_next = 0;
			dev->rx_have = (unsigned)n;
			more = n == RX_BATCH;
		}
		done += deliver_batch(dev, budget - done);
		if (dev->rx_next < dev->rx_have)
			break; /* held, or the budget is spent */
	}
	if (wire->held == ev_is_active(&dev->rx_watcher))
		watch_frames(dev);
	return done;
}

/* --- send ------------------------------------------------------------------------------------------------------ */

static void tx_drop_rest(struct dev *dev)
{
	dev->wire.tx_dropped += dev->tx_count - dev->tx_first;
	dev->tx_first = dev->tx_count;
}

/* One sendmmsg(). True if it is worth to go on. */
static bool tx_some(struct dev *dev)
{
	int n = sendmmsg(
		dev->tx_fd, dev->tx_msgs + dev->tx_first, dev->tx_count - dev->tx_first, MSG_DONTWAIT);
	if (n > 0) {
		dev->tx_first += (unsigned)n;
		dev->wire.tx_frames += (unsigned)n;
		dev->tx_tries = 0;
		return true;
	}
	switch (errno) {
	case EINTR: return true;
	case EAGAIN:
	case ENOBUFS:
		if (++dev->tx_tries >= TX_TRIES)
			tx_drop_rest(dev);
		return false;
	case ENETDOWN:
	case ENXIO: tx_drop_rest(dev); return false;
	default: /* EMSGSIZE: longer than this interface's MTU allows */
		dev->tx_first++;
		dev->wire.tx_dropped++;
		return true;
	}
}

static void dev_flush(struct wire *wire)
{
	struct dev *dev = (struct dev *)wire;
	if (dev->tx_first == dev->tx_count)
		return;
	while (dev->tx_first < dev->tx_count && tx_some(dev))
		;
	wire->tx_pending = dev->tx_first < dev->tx_count;
	if (!wire->tx_pending) {
		dev->tx_first = dev->tx_count = dev->tx_tries = 0;
		dev->tx_used = 0;
	}
}

static void dev_send(struct wire *wire, const uint8_t *frame, size_t size)
{
	struct dev *dev = (struct dev *)wire;
	if (dev->tx_count == TX_BATCH || size > TX_SIZE - dev->tx_used)
		dev_flush(wire);
	if (dev->gone || dev->tx_count == TX_BATCH || size > TX_SIZE - dev->tx_used) {
		wire->tx_dropped++;
		return;
	}
	uint8_t *place = dev->tx_memory + dev->tx_used;
	memcpy(place, frame, size);
	dev->tx_iov[dev->tx_count++] = (struct iovec){place, size};
	dev->tx_used += (size + 63) & ~(size_t)63;
	if (dev->tx_used > TX_SIZE)
		dev->tx_used = TX_SIZE;
}

/* --- carrier ----------------------------------------------------------------------------------------------------- */

static void set_carrier(struct dev *dev, bool carrier)
{
	if (dev->carrier == carrier)
		return;
	dev->carrier = carrier;
	nic_wire_carrier(dev->wire.nic, carrier);
}

/* The interface is away: deleted, or moved to another namespace. */
static void lost(struct dev *dev)
{
	softnic_error("port %u: %s: interface has gone: the cable is out until ixy-softnic is started again",
		dev->wire.nic->port, dev->name);
	dev->gone = true;
	dev->rx_next = dev->rx_have = 0;
	dev->wire.held = false;
	ev_io_stop(dev->loop, &dev->rx_watcher);
	ev_io_stop(dev->loop, &dev->link_watcher);
	tx_drop_rest(dev);
	dev->wire.tx_pending = false; /* or the loop would never sleep again */
	set_carrier(dev, false);
}

static void look_at_link(struct dev *dev)
{
	struct ifreq ifr = {.ifr_ifindex = dev->ifindex};
	/* By index, so that a renamed interface is still ours and a new one with the old name is not. */
	if (dev->gone)
		return;
	if (ioctl(dev->rx_fd, SIOCGIFNAME, &ifr) < 0 || ioctl(dev->rx_fd, SIOCGIFFLAGS, &ifr) < 0) {
		lost(dev);
		return;
	}
	set_carrier(dev, (ifr.ifr_flags & (IFF_UP | IFF_RUNNING)) == (IFF_UP | IFF_RUNNING));
}

static void on_link(struct ev_loop *loop, struct ev_io *watcher, int events)
{
	(void)loop;
	(void)events;
	struct dev *dev = watcher->data;
	char ignored[64];
	ssize_t n;
	do
		n = recv(dev->link_fd, ignored, sizeof ignored, MSG_DONTWAIT);
	while (n >= 0 || errno == EINTR || errno == ENOBUFS);
	look_at_link(dev);
}

static void on_frame(struct ev_loop *loop, struct ev_io *watcher, int events)
{
	/* The loop's sleep is over, which is all: frames are fetched by dev_poll(). */
	(void)loop;
	(void)watcher;
	(void)events;
}

/* --- open, close --------------------------------------------------------------------------------------------------- */

static void dev_count(struct wire *wire)
{
	struct dev *dev = (struct dev *)wire;
	struct tpacket_stats stats; /* reading them clears them */
	socklen_t size = sizeof stats;
	if (getsockopt(dev->rx_fd, SOL_PACKET, PACKET_STATISTICS, &stats, &size) == 0)
		wire->rx_dropped += stats.tp_drops;
}

static int set_option(int fd, int level, int option, int value)
{
	return setsockopt(fd, level, option, &value, sizeof value);
}

/* Beyond the system's limit where that is allowed. */
static void set_buffer(int fd, int force, int option, int size)
{
	if (set_option(fd, SOL_SOCKET, force, size) < 0)
		set_option(fd, SOL_SOCKET, option, size);
}

static int bind_packet(const struct dev *dev, int fd, uint16_t protocol)
{
	struct sockaddr_ll address = {
		.sll_family = AF_PACKET,
		.sll_protocol = htons(protocol),
		.sll_ifindex = dev->ifindex,
	};
	return bind(fd, (struct sockaddr *)&address, sizeof address);
}

static int open_rx(struct dev *dev)
{
	struct packet_mreq promiscuous = {.mr_ifindex = dev->ifindex, .mr_type = PACKET_MR_PROMISC};
	set_buffer(dev->rx_fd, SO_RCVBUFFORCE, SO_RCVBUF, RCVBUF);
	if (set_option(dev->rx_fd, SOL_PACKET, PACKET_VNET_HDR, 1) < 0 ||
		set_option(dev->rx_fd, SOL_PACKET, PACKET_AUXDATA, 1) < 0 ||
		set_option(dev->rx_fd, SOL_PACKET, PACKET_IGNORE_OUTGOING, 1) < 0 ||
		setsockopt(dev->rx_fd, SOL_PACKET, PACKET_ADD_MEMBERSHIP, &promiscuous, sizeof promiscuous) <
			0)
		return -1;
	return bind_packet(dev, dev->rx_fd, ETH_P_ALL);
}

static int open_tx(struct dev *dev)
{
	set_buffer(dev->tx_fd, SO_SNDBUFFORCE, SO_SNDBUF, SNDBUF);
	if (set_option(dev->tx_fd, SOL_PACKET, PACKET_QDISC_BYPASS, 1) < 0)
		return -1;
	return bind_packet(dev, dev->tx_fd, 0); /* protocol 0: this socket receives nothing */
}

static int open_link(struct dev *dev)
{
	struct sockaddr_nl address = {.nl_family = AF_NETLINK, .nl_groups = RTMGRP_LINK};
	return bind(dev->link_fd, (struct sockaddr *)&address, sizeof address);
}

static int find_interface(struct dev *dev, const char *name)
{
	struct ifreq ifr = {0};
	if (strlen(name) >= IFNAMSIZ) {
		softnic_error("dev:%s: an interface name has at most %d characters", name, IFNAMSIZ - 1);
		return -1;
	}
	memcpy(dev->name, name, strlen(name));
	memcpy(ifr.ifr_name, dev->name, IFNAMSIZ);
	if (ioctl(dev->rx_fd, SIOCGIFINDEX, &ifr) < 0) {
		softnic_error("dev:%s: no such interface; 'ip link' lists them", name);
		return -1;
	}
	dev->ifindex = ifr.ifr_ifindex;
	if (ioctl(dev->rx_fd, SIOCGIFHWADDR, &ifr) < 0 || ifr.ifr_hwaddr.sa_family != ARPHRD_ETHER) {
		softnic_error("dev:%s: not an Ethernet interface", name);
		return -1;
	}
	return 0;
}

static void *pages(size_t size)
{
	void *memory = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	return memory == MAP_FAILED ? NULL : memory;
}

static void prepare_messages(struct dev *dev)
{
	for (unsigned i = 0; i < RX_BATCH; i++) {
		dev->rx_iov[i][0] = (struct iovec){&dev->rx_vnet[i], sizeof dev->rx_vnet[i]};
		dev->rx_iov[i][1] = (struct iovec){
			dev->rx_memory + (size_t)i * RX_SIZE + RX_HEADROOM,
			RX_SIZE - RX_HEADROOM,
		};
		dev->rx_msgs[i].msg_hdr.msg_iov = dev->rx_iov[i];
		dev->rx_msgs[i].msg_hdr.msg_iovlen = 2;
		dev->rx_msgs[i].msg_hdr.msg_control = dev->rx_control[i].bytes;
	}
	for (unsigned i = 0; i < TX_BATCH; i++) {
		dev->tx_msgs[i].msg_hdr.msg_iov = &dev->tx_iov[i];
		dev->tx_msgs[i].msg_hdr.msg_iovlen = 1;
	}
}

static void dev_free(struct dev *dev)
{
	const int fds[] = {dev->rx_fd, dev->tx_fd, dev->link_fd};
	for (unsigned i = 0; i < sizeof fds / sizeof fds[0]; i++)
		if (fds[i] >= 0)
			close(fds[i]);
	if (dev->rx_memory)
		munmap(dev->rx_memory, (size_t)RX_BATCH * RX_SIZE);
	if (dev->tx_memory)
		munmap(dev->tx_memory, TX_SIZE);
	free(dev);
}

static void dev_close(struct wire *wire)
{
	struct dev *dev = (struct dev *)wire;
	ev_io_stop(dev->loop, &dev->rx_watcher);
	ev_io_stop(dev->loop, &dev->link_watcher);
	dev_free(dev);
}

static void watch(struct dev *dev, struct ev_io *watcher, int fd,
	void (*on_event)(struct ev_loop *loop, struct ev_io *watcher, int events))
{
	ev_io_init(watcher, on_event, fd, EV_READ);
	watcher->data = dev;
	ev_io_start(dev->loop, watcher);
}

struct wire *wire_dev_open(const char *name, struct nic *nic, struct ev_loop *loop)
{
	static const struct wire_ops ops = {
		.send = dev_send,
		.flush = dev_flush,
		.poll = dev_poll,
		.count = dev_count,
		.close = dev_close,
	};
	struct dev *dev = calloc(1, sizeof *dev);
	if (!dev) {
		softnic_error("dev:%s: out of memory", name);
		return NULL;
	}
	dev->wire.ops = &ops;
	dev->wire.nic = nic;
	dev->loop = loop;
	dev->rx_memory = pages((size_t)RX_BATCH * RX_SIZE);
	dev->tx_memory = pages(TX_SIZE);
	dev->rx_fd = socket(AF_PACKET, SOCK_RAW | SOCK_CLOEXEC, 0);
	dev->tx_fd = socket(AF_PACKET, SOCK_RAW | SOCK_CLOEXEC, 0);
	dev->link_fd = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_ROUTE);
	if (!dev->rx_memory || !dev->tx_memory) {
		softnic_error("dev:%s: out of memory", name);
		goto fail;
	}
	if (dev->rx_fd < 0 || dev->tx_fd < 0 || dev->link_fd < 0) {
		softnic_error("dev:%s: packet socket: %s%s", name, strerror(errno),
			errno == EPERM ? ": run as root, or with CAP_NET_RAW" : "");
		goto fail;
	}
	if (find_interface(dev, name) < 0)
		goto fail;
	if (open_rx(dev) < 0 || open_tx(dev) < 0 || open_link(dev) < 0) {
		softnic_error("dev:%s: cannot listen on the interface: %s", name, strerror(errno));
		goto fail;
	}
	prepare_messages(dev);
	watch(dev, &dev->rx_watcher, dev->rx_fd, on_frame);
	watch(dev, &dev->link_watcher, dev->link_fd, on_link);
	look_at_link(dev);
	if (!dev->carrier)
		softnic_info("port %u: %s has no carrier: ip link set %s up, and its peer too", nic->port,
			name, name);
	return &dev->wire;
fail:
	dev_free(dev);
	return NULL;
}
