/*
 * What the running kernel and a driver can, found out by asking them.
 *
 * The kernel: each option is tried on a socket that is thrown away. Where a flag of bind() is in question,
 * the bind names an interface that cannot be: a kernel that knows the flag looks for the interface (ENODEV),
 * one that does not refuses the flag first (EINVAL).
 *
 * The driver: how many queues it has by the ethtool ioctls; what XDP it can by the generic netlink family
 * "netdev" (Linux 6.3, Documentation/netlink/specs/netdev.yaml), which Debian 12's headers do not have yet.
 */
#include <errno.h>
#include <limits.h>
#include <linux/ethtool.h>
#include <linux/genetlink.h>
#include <linux/netlink.h>
#include <linux/sockios.h>
#include <net/if.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

#include "driver/error.h"
#include "driver/xdp/capability.h"
#include "driver/xdp/xsk.h"

/* --- names ---------------------------------------------------------------------------------------------- */

const char *xsk_mode_name(enum xsk_mode mode)
{
	static const char *const names[] = {
		[XSK_MODE_AUTO] = "auto",
		[XSK_MODE_ZERO_COPY] = "zero-copy",
		[XSK_MODE_NATIVE] = "native",
		[XSK_MODE_GENERIC] = "generic",
	};

	return (unsigned)mode < sizeof(names) / sizeof(names[0]) ? names[mode] : "unknown";
}

/* --- the kernel ----------------------------------------------------------------------------------------- */

static bool knows_bind_flag(int fd, uint16_t flag)
{
	struct sockaddr_xdp nowhere = {.sxdp_family = AF_XDP, .sxdp_flags = flag, .sxdp_ifindex = INT_MAX};

	return bind(fd, (struct sockaddr *)&nowhere, sizeof(nowhere)) < 0 && errno == ENODEV;
}

/*
 * Whether a UMEM of one page can be registered with these flags: on a socket of its own, for it has but one.
 */
static bool knows_umem_flags(uint32_t flags)
{
	size_t page = (size_t)getpagesize();
	struct { /* struct xdp_umem_reg as of Linux 6.8 */
		uint64_t addr, len;
		uint32_t chunk_size, headroom, flags, tx_metadata_len;
	} registration = {.len = page, .chunk_size = 2048, .flags = flags};
	void *memory = mmap(NULL, page, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	int fd = socket(AF_XDP, SOCK_RAW | SOCK_CLOEXEC, 0);
	bool known = false;

	if (memory != MAP_FAILED && fd >= 0) {
		registration.addr = (uintptr_t)memory;
		if (flags & XDP_UMEM_TX_METADATA_LEN)
			registration.tx_metadata_len = sizeof(struct xsk_tx_meta);
		known = setsockopt(fd, SOL_XDP, XDP_UMEM_REG, &registration, sizeof(registration)) == 0;
	}
	if (fd >= 0)
		close(fd);
	if (memory != MAP_FAILED)
		munmap(memory, page);
	return known;
}

/*
 * Whether the kernel knows a socket option: any answer but "no such option". The value is one that changes
 * nothing, and a refusal of the value or for want of a capability is an answer too.
 */
static bool knows_option(int fd, int level, int option)
{
	int value = 0;

	return setsockopt(fd, level, option, &value, sizeof(value)) == 0 || errno != ENOPROTOOPT;
}

int xsk_probe(struct xsk_features *features)
{
	struct xdp_statistics statistics;
	socklen_t size = sizeof(statistics);
	int fd = socket(AF_XDP, SOCK_RAW | SOCK_CLOEXEC, 0);
	char why[160];

	memset(features, 0, sizeof(*features));
	if (fd < 0 && errno == EPERM)
		return ixy_fail(EPERM, "AF_XDP socket: %s",
			xsk_missing_capability(XSK_CAP(CAP_NET_RAW), why, sizeof(why)));
	if (fd < 0)
		return ixy_fail(errno, "AF_XDP socket: %s", strerror(errno));
	features->sockets = true;
	features->need_wakeup = knows_bind_flag(fd, XDP_USE_NEED_WAKEUP);
	features->multi_buffer = knows_bind_flag(fd, XDP_USE_SG);
	features->unaligned = knows_umem_flags(XDP_UMEM_UNALIGNED_CHUNK_FLAG);
	features->tx_metadata = knows_umem_flags(XDP_UMEM_TX_METADATA_LEN);
	features->tx_sw_csum = knows_umem_flags(XDP_UMEM_TX_METADATA_LEN | XDP_UMEM_TX_SW_CSUM);
	features->busy_poll = knows_option(fd, SOL_SOCKET, SO_PREFER_BUSY_POLL);
	features->tx_budget = knows_option(fd, SOL_XDP, XDP_MAX_TX_SKB_BUDGET);
	features->full_statistics = getsockopt(fd, SOL_XDP, XDP_STATISTICS, &statistics, &size) == 0 &&
				    size == sizeof(statistics);
	close(fd);
	return 0;
}

/* --- the driver: queues --------------------------------------------------------------------------------- */

static int ethtool(const char *ifname, void *request)
{
	struct ifreq ifr = {.ifr_data = request};
	int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	int rc;

	if (fd < 0)
		return -1;
	snprintf(ifr.ifr_name, sizeof(ifr.ifr_name), "%s", ifname);
	rc = ioctl(fd, SIOCETHTOOL, &ifr);
	close(fd);
	return rc;
}

static uint32_t more(uint32_t a, uint32_t b)
{
	return a > b ? a : b;
}

/* A queue id is valid if it is one of the receive or one of the transmit queues (xsk_reg_pool_at_qid()). */
static void probe_queues(const char *ifname, struct xsk_interface *interface)
{
	struct ethtool_channels channels = {.cmd = ETHTOOL_GCHANNELS};
	struct ethtool_rxnfc rings = {.cmd = ETHTOOL_GRXRINGS};

	if (ethtool(ifname, &channels) == 0) {
		interface->queues = channels.combined_count + more(channels.rx_count, channels.tx_count);
		interface->max_queues = channels.max_combined + more(channels.max_rx, channels.max_tx);
	}
	if (!interface->queues && ethtool(ifname, &rings) == 0)
		interface->queues = (uint32_t)rings.data;
}

/* --- the driver: XDP features --------------------------------------------------------------------------- */

/* From linux/netdev.h of Linux 6.8. */
#define NETDEV_FAMILY            "netdev"
#define NETDEV_DEV_GET           1
#define NETDEV_ATTR_IFINDEX      1
#define NETDEV_ATTR_XDP_FEATURES 3 /* u64 of: */
#define XDP_ACT_BASIC            (1u << 0)
#define XDP_ACT_ZEROCOPY         (1u << 3)
#define XDP_ACT_RX_SG            (1u << 5)
#define NETDEV_ATTR_ZC_MAX_SEGS  4 /* u32 */
#define NETDEV_ATTR_XSK_FEATURES 6 /* u64 of: */
#define XSK_ACT_TX_CHECKSUM      (1u << 1)

struct genl_message {
	struct nlmsghdr header;
	struct genlmsghdr genl;
	uint8_t attributes[4096];
} __attribute__((aligned(NLMSG_ALIGNTO)));

/* Ask one question with one attribute. Returns the bytes of attributes that came back, or -1. */
static int genl_ask(int fd, uint16_t family, uint8_t command, uint16_t attribute, const void *value,
	size_t size, struct genl_message *answer)
{
	struct genl_message question = {
		.header = {.nlmsg_type = family, .nlmsg_flags = NLM_F_REQUEST},
		.genl = {.cmd = command, .version = 1},
	};
	struct nlattr head = {.nla_len = (uint16_t)(NLA_HDRLEN + size), .nla_type = attribute};
	ssize_t length;

	memcpy(question.attributes, &head, sizeof(head));
	memcpy(question.attributes + NLA_HDRLEN, value, size);
	question.header.nlmsg_len = (uint32_t)(NLMSG_HDRLEN + GENL_HDRLEN + NLA_ALIGN(head.nla_len));
	if (send(fd, &question, question.header.nlmsg_len, 0) < 0)
		return -1;
	length = recv(fd, answer, sizeof(*answer), 0);
	if (length < (ssize_t)(NLMSG_HDRLEN + GENL_HDRLEN) || answer->header.nlmsg_type != family ||
		answer->header.nlmsg_len > (size_t)length)
		return -1;
	return (int)(answer->header.nlmsg_len - NLMSG_HDRLEN - GENL_HDRLEN);
}

/* The number in attribute `type`, of 2, 4 or 8 bytes; false if it is not there. */
static bool genl_number(const struct genl_message *message, int length, uint16_t type, uint64_t *number)
{
	struct nlattr head;

	for (int at = 0; at + NLA_HDRLEN <= length; at += NLA_ALIGN(head.nla_len)) {
		const uint8_t *value = message->attributes + at + NLA_HDRLEN;
		int size;

		memcpy(&head, message->attributes + at, sizeof(head));
		size = head.nla_len - NLA_HDRLEN;
		if (size < 0 || at + head.nla_len > length)
			return false;
		if ((head.nla_type & NLA_TYPE_MASK) != type)
			continue;
		*number = 0;
		/* Netlink numbers are in the CPU's own byte order. */
		if (size == sizeof(uint16_t)) {
			uint16_t v;

			memcpy(&v, value, sizeof(v));
			*number = v;
		} else if (size == sizeof(uint32_t)) {
			uint32_t v;

			memcpy(&v, value, sizeof(v));
			*number = v;
		} else if (size == sizeof(uint64_t)) {
			memcpy(number, value, sizeof(*number));
		}
		return true;
	}
	return false;
}

static void probe_features(struct xsk_interface *interface)
{
	int fd = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_GENERIC);
	struct timeval patience = {.tv_sec = 1};
	uint64_t family, features = 0, xsk_features = 0, segments = 0;
	struct genl_message answer;
	int length = -1;

	if (fd < 0)
		return;
	setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience));
	length = genl_ask(fd, GENL_ID_CTRL, CTRL_CMD_GETFAMILY, CTRL_ATTR_FAMILY_NAME, NETDEV_FAMILY,
		sizeof(NETDEV_FAMILY), &answer);
	if (length > 0 && genl_number(&answer, length, CTRL_ATTR_FAMILY_ID, &family)) {
		length = genl_ask(fd, (uint16_t)family, NETDEV_DEV_GET, NETDEV_ATTR_IFINDEX,
			&interface->ifindex, sizeof(interface->ifindex), &answer);
		if (length > 0 && genl_number(&answer, length, NETDEV_ATTR_XDP_FEATURES, &features)) {
			genl_number(&answer, length, NETDEV_ATTR_ZC_MAX_SEGS, &segments);
			genl_number(&answer, length, NETDEV_ATTR_XSK_FEATURES, &xsk_features);
			interface->features_known = true;
			interface->native = features & XDP_ACT_BASIC;
			interface->zero_copy = features & XDP_ACT_ZEROCOPY;
			interface->multi_buffer = features & XDP_ACT_RX_SG;
			interface->tx_checksum = xsk_features & XSK_ACT_TX_CHECKSUM;
			interface->max_segments = (uint32_t)segments;
		}
	}
	close(fd);
}

int xsk_probe_interface(const char *ifname, struct xsk_interface *interface)
{
	memset(interface, 0, sizeof(*interface));
	interface->ifindex = if_nametoindex(ifname);
	if (!interface->ifindex)
		return ixy_fail(ENODEV, "no interface %s", ifname);
	probe_queues(ifname, interface);
	probe_features(interface);
	return 0;
}
