/*
 * Netlink and ethtool for one interface. See interface.h.
 *
 * Two netlink sockets: one for questions and orders, whose answers are waited for, and one that only listens
 * to RTNLGRP_LINK. A notification is a hint to ask, never an answer: so one that is lost, doubled or
 * overtaken does no harm, and there is one place that reads attributes.
 */
#include "bridge/interface.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/ethtool.h>
#include <linux/if_link.h>
#include <linux/if_tun.h>
#include <linux/sockios.h>
#include <net/if.h>
#include <netlink/msg.h>
#include <netlink/netlink.h>
#include <netlink/route/link.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

struct interface {
	int index;
	struct nl_sock *requests;
	struct nl_sock *events;
	int ioctl_fd;     /* any socket of the namespace, for ethtool */
	int multicast_fd; /* the namespace's dev_mcast */
	bool changed;     /* set by the event callback */
};

/* libnl has its own error numbers; those that callers tell apart become errnos again. */
static int from_nl(int error)
{
	static const struct {
		int nl, err;
	} map[] = {
		{NLE_NODEV, ENODEV},
		{NLE_OBJ_NOTFOUND, ENODEV},
		{NLE_PERM, EPERM},
		{NLE_NOACCESS, EACCES},
		{NLE_NOMEM, ENOMEM},
		{NLE_INVAL, EINVAL},
		{NLE_RANGE, ERANGE},
		{NLE_BUSY, EBUSY},
		{NLE_OPNOTSUPP, EOPNOTSUPP},
		{NLE_AGAIN, EAGAIN},
		{NLE_AF_NOSUPPORT, EAFNOSUPPORT},
	};

	if (error >= 0)
		return 0;
	for (size_t i = 0; i < sizeof(map) / sizeof(map[0]); i++)
		if (-error == map[i].nl)
			return -map[i].err;
	return -EIO;
}

/* IFLA_LINKINFO of a tun or tap device: IFLA_INFO_KIND "tun" and the IFLA_TUN_* attributes. */
static void parse_tap(struct nlattr *linkinfo, struct interface_state *state)
{
	struct nlattr *info[IFLA_INFO_MAX + 1], *tun[IFLA_TUN_MAX + 1];

	if (nla_parse_nested(info, IFLA_INFO_MAX, linkinfo, NULL) < 0 || !info[IFLA_INFO_KIND] ||
		nla_strcmp(info[IFLA_INFO_KIND], "tun") != 0 || !info[IFLA_INFO_DATA] ||
		nla_parse_nested(tun, IFLA_TUN_MAX, info[IFLA_INFO_DATA], NULL) < 0)
		return;
	state->is_tap = tun[IFLA_TUN_TYPE] && nla_get_u8(tun[IFLA_TUN_TYPE]) == IFF_TAP;
	state->tap_persistent = tun[IFLA_TUN_PERSIST] && nla_get_u8(tun[IFLA_TUN_PERSIST]);
	state->tap_multi_queue = tun[IFLA_TUN_MULTI_QUEUE] && nla_get_u8(tun[IFLA_TUN_MULTI_QUEUE]);
	/* Only a multi-queue tap tells how many. */
	if (tun[IFLA_TUN_NUM_QUEUES])
		state->tap_queues += nla_get_u32(tun[IFLA_TUN_NUM_QUEUES]);
	if (tun[IFLA_TUN_NUM_DISABLED_QUEUES])
		state->tap_queues += nla_get_u32(tun[IFLA_TUN_NUM_DISABLED_QUEUES]);
}

static int parse_link(struct nl_msg *msg, void *arg)
{
	struct interface_state *state = arg;
	const struct nlmsghdr *header = nlmsg_hdr(msg);
	const struct ifinfomsg *link = nlmsg_data(header);
	struct nlattr *attr[IFLA_MAX + 1];

	if (header->nlmsg_type != RTM_NEWLINK ||
		nlmsg_parse(nlmsg_hdr(msg), sizeof(*link), attr, IFLA_MAX, NULL) < 0)
		return NL_SKIP;
	state->index = link->ifi_index;
	state->up = link->ifi_flags & IFF_UP;
	/*
	 * The flags hold what users set. What programs set for themselves (a packet socket's membership, a
	 * macvlan on top) only shows in the counts.
	 */
	state->promisc = (link->ifi_flags & IFF_PROMISC) ||
			 (attr[IFLA_PROMISCUITY] && nla_get_u32(attr[IFLA_PROMISCUITY]) > 0);
	state->allmulti = (link->ifi_flags & IFF_ALLMULTI) ||
			  (attr[IFLA_ALLMULTI] && nla_get_u32(attr[IFLA_ALLMULTI]) > 0);
	if (attr[IFLA_IFNAME])
		nla_strlcpy(state->name, attr[IFLA_IFNAME], sizeof(state->name));
	if (attr[IFLA_MTU])
		state->mtu = nla_get_u32(attr[IFLA_MTU]);
	if (attr[IFLA_TXQLEN])
		state->tx_queue = nla_get_u32(attr[IFLA_TXQLEN]);
	if (attr[IFLA_ADDRESS] && nla_len(attr[IFLA_ADDRESS]) == sizeof(state->mac.addr))
		memcpy(state->mac.addr, nla_data(attr[IFLA_ADDRESS]), sizeof(state->mac.addr));
	if (attr[IFLA_LINKINFO])
		parse_tap(attr[IFLA_LINKINFO], state);
	return NL_OK;
}

/* RTM_GETLINK by index, or by name where index is 0. */
static int query(struct nl_sock *socket, int index, const char *name, struct interface_state *state)
{
	struct ifinfomsg header = {.ifi_index = index};
	struct nl_msg *msg = nlmsg_alloc_simple(RTM_GETLINK, 0);
	int rc = -NLE_NOMEM;

	memset(state, 0, sizeof(*state));
	if (!msg || nlmsg_append(msg, &header, sizeof(header), NLMSG_ALIGNTO) < 0 ||
		(!index && nla_put_string(msg, IFLA_IFNAME, name) < 0))
		goto out;
	nl_socket_modify_cb(socket, NL_CB_VALID, NL_CB_CUSTOM, parse_link, state);
	rc = nl_send_auto(socket, msg);
	if (rc >= 0)
		rc = nl_recvmsgs_default(socket);
	/* An error is an answer by itself; a link is followed by an acknowledgement. */
	if (rc >= 0)
		rc = nl_wait_for_ack(socket);
	if (rc >= 0 && state->index == 0)
		rc = -NLE_OBJ_NOTFOUND;
out:
	nlmsg_free(msg);
	return from_nl(rc);
}

static int request_socket(struct nl_sock **socket)
{
	int rc;

	*socket = nl_socket_alloc();
	if (!*socket)
		return -ENOMEM;
	rc = nl_connect(*socket, NETLINK_ROUTE);
	if (rc < 0) {
		nl_socket_free(*socket);
		*socket = NULL;
	}
	return from_nl(rc);
}

int interface_lookup(const char *name, struct interface_state *state)
{
	struct nl_sock *socket;
	int rc = request_socket(&socket);

	if (rc < 0)
		return rc;
	rc = query(socket, 0, name, state);
	nl_socket_free(socket);
	return rc;
}

static int on_event(struct nl_msg *msg, void *arg)
{
	struct interface *interface = arg;
	const struct nlmsghdr *header = nlmsg_hdr(msg);

	if (nlmsg_datalen(header) >= (int)sizeof(struct ifinfomsg) &&
		((const struct ifinfomsg *)nlmsg_data(header))->ifi_index == interface->index)
		interface->changed = true;
	return NL_OK;
}

static int event_socket(struct interface *interface)
{
	struct nl_sock *socket = nl_socket_alloc();
	int rc;

	if (!socket)
		return -ENOMEM;
	nl_socket_disable_seq_check(socket);
	nl_socket_modify_cb(socket, NL_CB_VALID, NL_CB_CUSTOM, on_event, interface);
	rc = nl_connect(socket, NETLINK_ROUTE);
	if (rc >= 0)
		rc = nl_socket_set_nonblocking(socket);
	if (rc >= 0)
		rc = nl_socket_add_memberships(socket, RTNLGRP_LINK, 0);
	if (rc < 0) {
		nl_socket_free(socket);
		return from_nl(rc);
	}
	interface->events = socket;
	return 0;
}

int interface_open(const char *name, struct interface **result)
{
	struct interface *interface = calloc(1, sizeof(*interface));
	struct interface_state state;
	int rc;

	if (!interface)
		return -ENOMEM;
	interface->multicast_fd = -1;
	interface->ioctl_fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	if (interface->ioctl_fd < 0) {
		rc = -errno;
		goto fail;
	}
	/* This file shows the namespace in which it was opened, for as long as it is open. */
	interface->multicast_fd = open("/proc/thread-self/net/dev_mcast", O_RDONLY | O_CLOEXEC);
	if (interface->multicast_fd < 0) {
		rc = -errno;
		goto fail;
	}
	rc = request_socket(&interface->requests);
	if (rc < 0)
		goto fail;
	/* Listen first, ask then, so that no change falls between. */
	rc = event_socket(interface);
	if (rc < 0)
		goto fail;
	rc = query(interface->requests, 0, name, &state);
	if (rc < 0)
		goto fail;
	interface->index = state.index;
	*result = interface;
	return 0;
fail:
	interface_close(interface);
	return rc;
}

void interface_close(struct interface *interface)
{
	if (!interface)
		return;
	nl_socket_free(interface->events);
	nl_socket_free(interface->requests);
	if (interface->multicast_fd >= 0)
		close(interface->multicast_fd);
	if (interface->ioctl_fd >= 0)
		close(interface->ioctl_fd);
	free(interface);
}

int interface_get(struct interface *interface, struct interface_state *state)
{
	return query(interface->requests, interface->index, NULL, state);
}

int interface_gro(const struct interface *interface, const char *name)
{
	struct ethtool_value value = {.cmd = ETHTOOL_GGRO};
	struct ifreq ifr = {.ifr_data = (char *)&value};

	snprintf(ifr.ifr_name, sizeof(ifr.ifr_name), "%s", name);
	return ioctl(interface->ioctl_fd, SIOCETHTOOL, &ifr) < 0 ? -errno : value.data != 0;
}

int interface_fd(const struct interface *interface)
{
	return nl_socket_get_fd(interface->events);
}

bool interface_changed(struct interface *interface)
{
	int rc;

	interface->changed = false;
	do
		rc = nl_recvmsgs_default(interface->events);
	while (rc >= 0);
	/* -NLE_AGAIN: all read. Anything else, above all an overrun: something may have been missed. */
	if (rc != -NLE_AGAIN)
		interface->changed = true;
	return interface->changed;
}

int interface_set_mtu(struct interface *interface, uint32_t mtu)
{
	struct rtnl_link *which = rtnl_link_alloc(), *change = rtnl_link_alloc();
	int rc = -NLE_NOMEM;

	if (which && change) {
		rtnl_link_set_ifindex(which, interface->index);
		rtnl_link_set_mtu(change, mtu);
		rc = rtnl_link_change(interface->requests, which, change, 0);
	}
	rtnl_link_put(which);
	rtnl_link_put(change);
	return from_nl(rc);
}

/*
 * ETHTOOL_SLINKSETTINGS wants the exact number of words that this kernel's link mode masks have. It is asked
 * for with 0, which the kernel answers with the negative of the right number (linux/ethtool.h).
 */
int interface_set_speed(struct interface *interface, uint32_t speed)
{
	union {
		struct ethtool_link_settings base;
		/* with its masks */
		uint8_t room[sizeof(struct ethtool_link_settings) + 3 * SCHAR_MAX * sizeof(uint32_t)];
	} settings = {.base.cmd = ETHTOOL_GLINKSETTINGS};
	struct ifreq ifr = {.ifr_data = (char *)&settings};
	struct interface_state state;
	int rc = interface_get(interface, &state); /* ioctls go by name, and names change */

	if (rc < 0)
		return rc;
	memcpy(ifr.ifr_name, state.name, sizeof(ifr.ifr_name));
	if (ioctl(interface->ioctl_fd, SIOCETHTOOL, &ifr) < 0)
		return -errno;
	settings.base.link_mode_masks_nwords = (int8_t)-settings.base.link_mode_masks_nwords;
	settings.base.cmd = ETHTOOL_GLINKSETTINGS;
	if (ioctl(interface->ioctl_fd, SIOCETHTOOL, &ifr) < 0)
		return -errno;
	settings.base.cmd = ETHTOOL_SLINKSETTINGS;
	settings.base.speed = speed ? speed : (uint32_t)SPEED_UNKNOWN;
	settings.base.duplex = speed ? DUPLEX_FULL : DUPLEX_UNKNOWN;
	settings.base.port = PORT_FIBRE;
	return ioctl(interface->ioctl_fd, SIOCETHTOOL, &ifr) < 0 ? -errno : 0;
}

int interface_parse_multicast(const char *text, int index, struct ixy_mac groups[], size_t max)
{
	int count = 0;

	/* index, name, users, global users, address in hex; a name cannot have blanks */
	for (const char *line = text; *line; line++) {
		struct ixy_mac mac;
		int at, used = -1;

		if (sscanf(line, "%d %*s %*d %*d %2hhx%2hhx%2hhx%2hhx%2hhx%2hhx%n", &at, &mac.addr[0],
			    &mac.addr[1], &mac.addr[2], &mac.addr[3], &mac.addr[4], &mac.addr[5],
			    &used) == 7 &&
			used > 0 && at == index) {
			if ((size_t)count < max)
				groups[count] = mac;
			count++;
		}
		line = strchr(line, '\n');
		if (!line)
			break;
	}
	return count;
}

int interface_multicast(struct interface *interface, struct ixy_mac groups[], size_t max)
{
	size_t size = 0, room = 16384;
	char *text = malloc(room);
	int count = -ENOMEM;

	while (text) {
		ssize_t n = pread(interface->multicast_fd, text + size, room - size - 1, (off_t)size);

		if (n < 0) {
			count = -errno;
			break;
		}
		if (n == 0) {
			text[size] = '\0';
			count = interface_parse_multicast(text, interface->index, groups, max);
			break;
		}
		size += (size_t)n;
		if (room - size < 4096) {
			char *more = realloc(text, room * 2);

			if (!more)
				break;
			text = more;
			room *= 2;
		}
	}
	free(text);
	return count;
}
