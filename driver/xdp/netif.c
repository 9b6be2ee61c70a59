/*
 * The interface under an AF_XDP device, by three sockets: a plain one for ioctls, a packet socket that receives
 * nothing and only holds memberships, and a netlink socket that tells of changes. One question to netlink
 * (RTM_GETLINK) answers most of what there is to know.
 */
#include "driver/xdp/netif.h"

#include <errno.h>
#include <linux/ethtool.h>
#include <linux/if_packet.h>
#include <linux/rtnetlink.h>
#include <linux/sockios.h>
#include <net/if_arp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "driver/error.h"
#include "driver/ifaddr.h"

#define ANSWER_SIZE 32768 /* of RTM_GETLINK; the kernel's own tools ask with as much */

/* What RTM_GETLINK says of an interface. */
struct link_info {
	char name[IFNAMSIZ];
	unsigned index, master;
	unsigned flags;        /* IFF_UP, IFF_RUNNING ... */
	uint16_t type;         /* ARPHRD_ETHER ... */
	uint32_t mtu, max_mtu; /* max_mtu 0: unknown */
	struct ixy_mac mac;
	bool has_qdisc;
	struct netif_counters counters;
};

/* --- asking ------------------------------------------------------------------------------------------ */

static void copy_attribute(void *to, size_t size, const struct rtattr *attribute)
{
	size_t length = RTA_PAYLOAD(attribute);

	memcpy(to, RTA_DATA(attribute), length < size ? length : size);
}

static void parse_link(const struct nlmsghdr *header, struct link_info *info)
{
	const struct ifinfomsg *link = NLMSG_DATA(header);
	int length = (int)IFLA_PAYLOAD(header);

	memset(info, 0, sizeof(*info));
	info->index = (unsigned)link->ifi_index;
	info->flags = link->ifi_flags;
	info->type = link->ifi_type;
	for (const struct rtattr *a = IFLA_RTA(link); RTA_OK(a, length); a = RTA_NEXT(a, length)) {
		struct rtnl_link_stats64 stats = {0};

		switch (a->rta_type) {
		case IFLA_IFNAME: copy_attribute(info->name, sizeof(info->name) - 1, a); break;
		case IFLA_MTU: copy_attribute(&info->mtu, sizeof(info->mtu), a); break;
		case IFLA_MAX_MTU: copy_attribute(&info->max_mtu, sizeof(info->max_mtu), a); break;
		case IFLA_MASTER: copy_attribute(&info->master, sizeof(info->master), a); break;
		case IFLA_ADDRESS: copy_attribute(&info->mac, sizeof(info->mac), a); break;
		case IFLA_QDISC:
			info->has_qdisc = strncmp(RTA_DATA(a), "noqueue", RTA_PAYLOAD(a)) != 0;
			break;
		case IFLA_STATS64:
			copy_attribute(&stats, sizeof(stats), a);
			info->counters = (struct netif_counters){
				.multicast = stats.multicast,
				.crc_errors = stats.rx_crc_errors,
				.length_errors = stats.rx_length_errors,
				.other_errors = stats.rx_frame_errors,
				.missed = stats.rx_missed_errors,
			};
			break;
		default: break;
		}
	}
}

/* By index, or by name where that is given. 0 or a negative errno without a text. */
static int get_link(unsigned index, const char *name, struct link_info *info)
{
	struct {
		struct nlmsghdr header;
		struct ifinfomsg link;
		struct rtattr attribute;
		char name[IFNAMSIZ];
	} request = {
		.header = {.nlmsg_len = NLMSG_LENGTH(sizeof(struct ifinfomsg)),
			.nlmsg_type = RTM_GETLINK,
			.nlmsg_flags = NLM_F_REQUEST},
		.link = {.ifi_family = AF_UNSPEC, .ifi_index = (int)index},
	};
	const struct timeval patience = {.tv_sec = 2};
	struct nlmsghdr *answer;
	ssize_t size;
	int fd, err = 0;

	if (name) {
		request.attribute = (struct rtattr){
			.rta_len = (unsigned short)RTA_LENGTH(strlen(name) + 1), .rta_type = IFLA_IFNAME};
		memcpy(request.name, name, strlen(name) + 1);
		request.header.nlmsg_len += RTA_SPACE(strlen(name) + 1);
	}
	fd = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_ROUTE);
	if (fd < 0)
		return -errno;
	answer = malloc(ANSWER_SIZE);
	if (!answer) {
		close(fd);
		return -ENOMEM;
	}
	setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience));
	if (send(fd, &request, request.header.nlmsg_len, 0) < 0) {
		err = -errno;
		goto done;
	}
	size = recv(fd, answer, ANSWER_SIZE, 0);
	if (size < 0) {
		err = -errno;
	} else if (!NLMSG_OK(answer, (size_t)size)) {
		err = -EPROTO;
	} else if (answer->nlmsg_type == NLMSG_ERROR) {
		err = ((struct nlmsgerr *)NLMSG_DATA(answer))->error;
		if (err >= 0)
			err = -EPROTO;
	} else if (answer->nlmsg_type != RTM_NEWLINK ||
		   answer->nlmsg_len < NLMSG_LENGTH(sizeof(struct ifinfomsg))) {
		err = -EPROTO;
	} else {
		parse_link(answer, info);
	}
done:
	free(answer);
	close(fd);
	return err;
}

/* Fill in the interface's present name and make the ioctl. 0 or a negative errno. */
static int control(struct netif *netif, unsigned long number, struct ifreq *ifr)
{
	struct ifreq named = {.ifr_ifindex = (int)netif->index};

	if (ioctl(netif->control, SIOCGIFNAME, &named) < 0)
		return -errno;
	memcpy(netif->name, named.ifr_name, sizeof(netif->name));
	memcpy(ifr->ifr_name, named.ifr_name, sizeof(ifr->ifr_name));
	return ioctl(netif->control, number, ifr) < 0 ? -errno : 0;
}

static int ethtool(struct netif *netif, void *command)
{
	struct ifreq ifr = {.ifr_data = command};

	return control(netif, SIOCETHTOOL, &ifr);
}

/* Mbit/s; 0 where the driver does not say. */
static uint32_t speed(struct netif *netif)
{
	union {
		struct ethtool_link_settings settings;
		uint8_t room[sizeof(struct ethtool_link_settings) +
			     3 * sizeof(uint32_t) * INT8_MAX]; /* its three masks */
	} request = {.settings = {.cmd = ETHTOOL_GLINKSETTINGS}};

	/* The first answer tells how long the masks are, as a negative number; only the second has the rest. */
	if (ethtool(netif, &request) < 0 || request.settings.link_mode_masks_nwords >= 0)
		return 0;
	request.settings.cmd = ETHTOOL_GLINKSETTINGS;
	request.settings.link_mode_masks_nwords = (int8_t)-request.settings.link_mode_masks_nwords;
	if (ethtool(netif, &request) < 0 || request.settings.speed == (uint32_t)SPEED_UNKNOWN)
		return 0;
	return request.settings.speed;
}

static void ask_channels(struct netif *netif)
{
	struct ethtool_channels channels = {.cmd = ETHTOOL_GCHANNELS};

	if (ethtool(netif, &channels) < 0)
		return;
	netif->rx_channels = (uint16_t)(channels.combined_count + channels.rx_count);
	netif->tx_channels = (uint16_t)(channels.combined_count + channels.tx_count);
}

int netif_state(struct netif *netif, struct ixy_link *link)
{
	struct link_info info;
	int err = get_link(netif->index, NULL, &info);

	if (err)
		return err;
	memcpy(netif->name, info.name, sizeof(netif->name));
	netif->mac = info.mac;
	__atomic_store_n(&netif->has_qdisc, info.has_qdisc, __ATOMIC_RELAXED);
#define COUNT(member) \
	__atomic_store_n(&netif->counters.member, info.counters.member - netif->base.member, __ATOMIC_RELAXED)
	COUNT(multicast);
	COUNT(crc_errors);
	COUNT(length_errors);
	COUNT(other_errors);
	COUNT(missed);
#undef COUNT
	link->up = (info.flags & (IFF_UP | IFF_RUNNING)) == (IFF_UP | IFF_RUNNING);
	link->speed = link->up ? speed(netif) : 0;
	return 0;
}

void netif_read_counters(const struct netif *netif, struct netif_counters *counters)
{
#define READ(member) counters->member = __atomic_load_n(&netif->counters.member, __ATOMIC_RELAXED)
	READ(multicast);
	READ(crc_errors);
	READ(length_errors);
	READ(other_errors);
	READ(missed);
#undef READ
}

int netif_event_fd(const struct netif *netif)
{
	return netif->events;
}

void netif_drain(struct netif *netif)
{
	char text[4096];
	ssize_t size;

	/* What it says is not read: an overrun (ENOBUFS) would have lost some of it, so the state is asked for. */
	do
		size = recv(netif->events, text, sizeof(text), MSG_DONTWAIT);
	while (size > 0 || (size < 0 && errno == ENOBUFS));
}

/* --- changing ---------------------------------------------------------------------------------------- */

static int refused(const struct netif *netif, int err, const char *what)
{
	return ixy_fail(-err, "%s: cannot %s: %s%s", netif->name, what, strerror(-err),
		err == -EPERM || err == -EACCES ? " (CAP_NET_ADMIN is missing)" : "");
}

int netif_set_up(struct netif *netif, bool up)
{
	struct ifreq ifr = {0};
	int err = control(netif, SIOCGIFFLAGS, &ifr);

	if (!err && up != !!(ifr.ifr_flags & IFF_UP)) {
		ifr.ifr_flags = (short)(up ? ifr.ifr_flags | IFF_UP : ifr.ifr_flags & ~IFF_UP);
		err = control(netif, SIOCSIFFLAGS, &ifr);
	}
	return err ? refused(netif, err, up ? "set it up" : "set it down") : 0;
}

int netif_set_mtu(struct netif *netif, uint16_t mtu)
{
	struct ifreq ifr = {.ifr_mtu = mtu};
	int err;

	if (mtu == netif->mtu)
		return 0;
	err = control(netif, SIOCSIFMTU, &ifr);
	if (err == -EINVAL || err == -ERANGE || err == -EOPNOTSUPP)
		return ixy_fail(-err,
			"%s: its driver does not take an MTU of %u (with an XDP program, many take less than "
			"without)",
			netif->name, mtu);
	if (err)
		return refused(netif, err, "set its MTU");
	netif->mtu = mtu;
	return 0;
}

/* --- filters ----------------------------------------------------------------------------------------- */

static int member(struct netif *netif, int option, unsigned short type, const struct ixy_mac *mac)
{
	struct packet_mreq request = {.mr_ifindex = (int)netif->index, .mr_type = type};

	if (mac) {
		request.mr_alen = sizeof(mac->addr);
		memcpy(request.mr_address, mac->addr, sizeof(mac->addr));
	}
	if (setsockopt(netif->members, SOL_PACKET, option, &request, sizeof(request)) == 0)
		return 0;
	/* Leaving an interface that has gone: the memberships went with it. */
	if (option == PACKET_DROP_MEMBERSHIP)
		return 0;
	return refused(netif, -errno, "change its filters");
}

static int set_switch(struct netif *netif, bool *is, bool on, unsigned short type)
{
	int err;

	if (*is == on)
		return 0;
	err = member(netif, on ? PACKET_ADD_MEMBERSHIP : PACKET_DROP_MEMBERSHIP, type, NULL);
	if (!err)
		*is = on;
	return err;
}

int netif_set_promisc(struct netif *netif, bool on)
{
	return set_switch(netif, &netif->promisc, on, PACKET_MR_PROMISC);
}

int netif_set_allmulti(struct netif *netif, bool on)
{
	return set_switch(netif, &netif->allmulti, on, PACKET_MR_ALLMULTI);
}

/* The new ones first, so that an address in both lists is never without membership. */
static int replace_list(struct netif *netif, struct ixy_mac **list, size_t *list_count, unsigned short type,
	const struct ixy_mac macs[], size_t count)
{
	struct ixy_mac *copy = calloc(count ? count : 1, sizeof(*copy));
	size_t joined = 0;
	int err = 0;

	if (!copy)
		return ixy_fail(ENOMEM, "%s: out of memory", netif->name);
	if (count)
		memcpy(copy, macs, count * sizeof(*copy));
	while (joined < count && !err) {
		err = member(netif, PACKET_ADD_MEMBERSHIP, type, &copy[joined]);
		joined += !err;
	}
	if (err) {
		while (joined-- > 0)
			member(netif, PACKET_DROP_MEMBERSHIP, type, &copy[joined]);
		free(copy);
		return err;
	}
	for (size_t i = 0; i < *list_count; i++)
		member(netif, PACKET_DROP_MEMBERSHIP, type, &(*list)[i]);
	free(*list);
	*list = copy;
	*list_count = count;
	return 0;
}

int netif_set_unicast(struct netif *netif, const struct ixy_mac macs[], size_t count)
{
	return replace_list(netif, &netif->unicast, &netif->unicast_count, PACKET_MR_UNICAST, macs, count);
}

int netif_set_multicast(struct netif *netif, const struct ixy_mac macs[], size_t count)
{
	return replace_list(
		netif, &netif->multicast, &netif->multicast_count, PACKET_MR_MULTICAST, macs, count);
}

/* --- whose it is ------------------------------------------------------------------------------------- */

static int refuse_live(const struct link_info *info)
{
	char text[256];

	if (ifaddr_find(info->name, false, text, sizeof(text)))
		return ixy_fail(EBUSY,
			"%s is live, with the address %s: take it away first (ip address flush dev %s), or "
			"take "
			"its frames from it with --force",
			info->name, text, info->name);
	if (info->master) {
		if (!if_indextoname(info->master, text))
			snprintf(text, sizeof(text), "interface %u", info->master);
		return ixy_fail(EBUSY,
			"%s is a port of %s: take it out first (ip link set %s nomaster), or take its frames "
			"from it with --force",
			info->name, text, info->name);
	}
	return 0;
}

/* --- open and close ---------------------------------------------------------------------------------- */

static int open_sockets(struct netif *netif)
{
	struct sockaddr_nl groups = {.nl_family = AF_NETLINK, .nl_groups = RTMGRP_LINK};

	netif->control = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	if (netif->control < 0)
		return ixy_fail(errno, "%s: no socket: %s", netif->name, strerror(errno));
	/* Protocol 0: it receives no frame. */
	netif->members = socket(AF_PACKET, SOCK_RAW | SOCK_CLOEXEC, 0);
	if (netif->members < 0)
		return ixy_fail(errno, "%s: no packet socket: %s%s", netif->name, strerror(errno),
			errno == EPERM ? " (CAP_NET_RAW is missing)" : "");
	netif->events = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC | SOCK_NONBLOCK, NETLINK_ROUTE);
	if (netif->events < 0 || bind(netif->events, (struct sockaddr *)&groups, sizeof(groups)) < 0)
		return ixy_fail(errno, "%s: no netlink socket: %s", netif->name, strerror(errno));
	return 0;
}

static void close_sockets(struct netif *netif)
{
	if (netif->events >= 0)
		close(netif->events);
	if (netif->members >= 0)
		close(netif->members);
	if (netif->control >= 0)
		close(netif->control);
}

int netif_open(const char *name, bool force, struct netif **result)
{
	struct netif *netif;
	struct link_info info;
	int err;

	if (!*name || strlen(name) >= IFNAMSIZ)
		return ixy_fail(EINVAL, "xdp:%s: the name of an interface is wanted, as in xdp:eth1", name);
	err = get_link(0, name, &info);
	if (err == -ENODEV)
		return ixy_fail(ENODEV, "%s: there is no such interface in this network namespace", name);
	if (err)
		return ixy_fail(-err, "%s: cannot ask what interface this is: %s", name, strerror(-err));
	if (info.type != ARPHRD_ETHER || info.flags & IFF_LOOPBACK)
		return ixy_fail(EINVAL, "%s: this is no Ethernet interface", name);
	if (!force) {
		err = refuse_live(&info);
		if (err)
			return err;
	}
	netif = calloc(1, sizeof(*netif));
	if (!netif)
		return ixy_fail(ENOMEM, "%s: out of memory", name);
	memcpy(netif->name, info.name, sizeof(netif->name));
	netif->index = info.index;
	netif->mac = info.mac;
	netif->mtu = netif->first_mtu = (uint16_t)(info.mtu < UINT16_MAX ? info.mtu : UINT16_MAX);
	netif->max_mtu = (uint16_t)(info.max_mtu && info.max_mtu < UINT16_MAX ? info.max_mtu : UINT16_MAX);
	netif->was_up = info.flags & IFF_UP;
	netif->base = info.counters;
	netif->control = netif->members = netif->events = -1;
	err = open_sockets(netif);
	if (err)
		goto fail;
	ask_channels(netif);
	if (!netif->was_up) {
		err = netif_set_up(netif, true);
		if (err)
			goto fail;
		ixy_log(IXY_LOG_INFO, "%s was down: set up for as long as it is in use", netif->name);
	}
	*result = netif;
	return 0;

fail:
	close_sockets(netif);
	free(netif);
	return err;
}

/* Failures have nobody to hear of them: the interface may have gone. */
void netif_close(struct netif *netif)
{
	struct ixy_error error;

	if (!netif)
		return;
	ixy_error_save(&error);
	netif_set_mtu(netif, netif->first_mtu);
	netif_set_up(netif, netif->was_up);
	ixy_error_restore(&error);
	close_sockets(netif);
	free(netif->unicast);
	free(netif->multicast);
	free(netif);
}
