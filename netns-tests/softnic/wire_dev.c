/*
 * The cable plugged into an existing interface.
 *
 * Receiving is wire_dev_rx.c, sending wire_dev_tx.c; here is what they have in common, the interface itself.
 *
 * Carrier: rtnetlink says that some link has changed; what it is now is asked of the interface itself. So a
 * lost netlink message costs nothing, and an interface that has gone is found out the same way.
 */
#include "wire_dev.h"

#include <errno.h>
#include <arpa/inet.h>
#include <linux/netlink.h>
#include <linux/rtnetlink.h>
#include <net/if.h>
#include <net/if_arp.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <unistd.h>

#include "log.h"

struct dev {
	struct wire wire;
	struct ev_loop *loop;
	char name[IFNAMSIZ];
	int ifindex;
	bool gone;
	bool carrier;
	int link_fd;
	struct ev_io rx_watcher, link_watcher;
	struct dev_rx rx;
	struct dev_tx tx;
};

/* --- frames --------------------------------------------------------------------------------------------- */

static void dev_send(struct wire *wire, const uint8_t *frame, size_t size)
{
	dev_tx_send(&((struct dev *)wire)->tx, frame, size);
}

static void dev_flush(struct wire *wire)
{
	dev_tx_flush(&((struct dev *)wire)->tx);
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
	unsigned done = dev->gone ? 0 : dev_rx_poll(&dev->rx, budget);
	if (wire->held == ev_is_active(&dev->rx_watcher))
		watch_frames(dev);
	return done;
}

static void dev_count(struct wire *wire)
{
	dev_rx_count(&((struct dev *)wire)->rx);
}

/* --- carrier -------------------------------------------------------------------------------------------- */

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
	dev_rx_forget(&dev->rx);
	ev_io_stop(dev->loop, &dev->rx_watcher);
	ev_io_stop(dev->loop, &dev->link_watcher);
	/* What waits there would never let the loop sleep again. */
	dev_tx_link(&dev->tx, dev->name, false, 0);
	set_carrier(dev, false);
}

struct link {
	char name[IFNAMSIZ];
	bool carrier;
	unsigned mtu;
};

/* By index, so that a renamed interface is still ours and a new one with the old name is not. False: it is away. */
static bool ask_link(const struct dev *dev, struct link *link)
{
	struct ifreq ifr = {.ifr_ifindex = dev->ifindex};
	if (ioctl(dev->link_fd, SIOCGIFNAME, &ifr) < 0 || ioctl(dev->link_fd, SIOCGIFFLAGS, &ifr) < 0)
		return false;
	memcpy(link->name, ifr.ifr_name, sizeof link->name);
	link->carrier = (ifr.ifr_flags & (IFF_UP | IFF_RUNNING)) == (IFF_UP | IFF_RUNNING);
	if (ioctl(dev->link_fd, SIOCGIFMTU, &ifr) < 0)
		return false;
	link->mtu = (unsigned)ifr.ifr_mtu;
	return true;
}

static void look_at_link(struct dev *dev)
{
	struct link link;
	if (dev->gone)
		return;
	if (!ask_link(dev, &link)) {
		lost(dev);
		return;
	}
	dev_tx_link(&dev->tx, link.name, link.carrier, link.mtu);
	set_carrier(dev, link.carrier);
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

/* --- open, close ---------------------------------------------------------------------------------------- */

int dev_bind_packet(int fd, int ifindex, uint16_t protocol)
{
	struct sockaddr_ll address = {
		.sll_family = AF_PACKET,
		.sll_protocol = htons(protocol),
		.sll_ifindex = ifindex,
	};
	return bind(fd, (struct sockaddr *)&address, sizeof address);
}

void dev_set_buffer(int fd, int force, int option, int size)
{
	if (setsockopt(fd, SOL_SOCKET, force, &size, sizeof size) < 0)
		setsockopt(fd, SOL_SOCKET, option, &size, sizeof size);
}

void *dev_pages(size_t size)
{
	void *memory = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	return memory == MAP_FAILED ? NULL : memory;
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
	if (ioctl(dev->link_fd, SIOCGIFINDEX, &ifr) < 0) {
		softnic_error("dev:%s: no such interface; 'ip link' lists them", name);
		return -1;
	}
	dev->ifindex = ifr.ifr_ifindex;
	if (ioctl(dev->link_fd, SIOCGIFHWADDR, &ifr) < 0 || ifr.ifr_hwaddr.sa_family != ARPHRD_ETHER) {
		softnic_error("dev:%s: not an Ethernet interface", name);
		return -1;
	}
	return 0;
}

static void dev_free(struct dev *dev)
{
	dev_rx_close(&dev->rx);
	dev_tx_close(&dev->tx);
	if (dev->link_fd >= 0)
		close(dev->link_fd);
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
	dev->rx.fd = dev->tx.fd = -1;
	dev->link_fd = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_ROUTE);
	if (dev->link_fd < 0 || open_link(dev) < 0) {
		softnic_error("dev:%s: netlink: %s", name, strerror(errno));
		goto fail;
	}
	if (find_interface(dev, name) < 0)
		goto fail;
	int error = dev_rx_open(&dev->rx, &dev->wire, dev->ifindex);
	if (!error)
		error = dev_tx_open(&dev->tx, &dev->wire, dev->ifindex);
	if (error) {
		softnic_error("dev:%s: packet socket: %s%s", name, strerror(-error),
			error == -EPERM ? ": run as root, or with CAP_NET_RAW" : "");
		goto fail;
	}
	watch(dev, &dev->rx_watcher, dev->rx.fd, on_frame);
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
