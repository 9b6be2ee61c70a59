/*
 * Raw frames of the namespace tests.
 *
 * A socket belongs to the namespace in which it was created, wherever its owner goes: so the test enters the
 * namespace for the one call and comes back. The kernel takes the outer VLAN tag out of a received frame and
 * tells it beside (PACKET_AUXDATA), together with the state of the checksum.
 */
#include "raw.h"
#include "command.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/ethtool.h>
#include <linux/if_ether.h>
#include <linux/if_packet.h>
#include <linux/sockios.h>
#include <net/if.h>
#include <poll.h>
#include <sched.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

#define SOCKET_BUFFER (128 << 20)
#define FLOOD_BATCH   64

int netns_socket(const char *netns, int domain, int type, int protocol)
{
	char path[128];
	int home, target, fd;

	if (!netns)
		return socket(domain, type | SOCK_CLOEXEC, protocol);
	snprintf(path, sizeof(path), "/run/netns/%s", netns);
	home = open("/proc/self/ns/net", O_RDONLY | O_CLOEXEC);
	target = open(path, O_RDONLY | O_CLOEXEC);
	if (home < 0 || target < 0 || setns(target, CLONE_NEWNET) < 0)
		fail_msg("cannot enter the namespace %s: %s", netns, strerror(errno));
	fd = socket(domain, type | SOCK_CLOEXEC, protocol);
	if (setns(home, CLONE_NEWNET) < 0)
		fail_msg("cannot leave the namespace %s: %s", netns, strerror(errno));
	close(home);
	close(target);
	if (fd < 0)
		fail_msg("%s: no socket of type %d/%d: %s", netns, domain, type, strerror(errno));
	return fd;
}

/* --- what an interface is ------------------------------------------------------------------------------------ */

static bool link_ioctl(const char *netns, const char *ifname, unsigned long request, struct ifreq *ifr)
{
	int fd = netns_socket(netns, AF_INET, SOCK_DGRAM, 0);
	bool ok;

	snprintf(ifr->ifr_name, sizeof(ifr->ifr_name), "%s", ifname);
	ok = ioctl(fd, request, ifr) == 0;
	close(fd);
	return ok;
}

bool link_exists(const char *netns, const char *ifname)
{
	struct ifreq ifr = {0};

	return link_ioctl(netns, ifname, SIOCGIFINDEX, &ifr);
}

bool link_carrier(const char *netns, const char *ifname)
{
	struct ethtool_value value = {.cmd = ETHTOOL_GLINK};
	struct ifreq ifr = {.ifr_data = (char *)&value};

	return link_ioctl(netns, ifname, SIOCETHTOOL, &ifr) && value.data;
}

void link_mac(const char *netns, const char *ifname, uint8_t mac[6])
{
	struct ifreq ifr = {0};

	assert_true(link_ioctl(netns, ifname, SIOCGIFHWADDR, &ifr));
	memcpy(mac, ifr.ifr_hwaddr.sa_data, 6);
}

unsigned link_mtu(const char *netns, const char *ifname)
{
	struct ifreq ifr = {0};

	assert_true(link_ioctl(netns, ifname, SIOCGIFMTU, &ifr));
	return (unsigned)ifr.ifr_mtu;
}

unsigned link_index(const char *netns, const char *ifname)
{
	struct ifreq ifr = {0};

	assert_true(link_ioctl(netns, ifname, SIOCGIFINDEX, &ifr));
	return (unsigned)ifr.ifr_ifindex;
}

uint64_t link_statistic(const char *netns, const char *ifname, const char *name)
{
	return command_number(netns, "cat /sys/class/net/%s/statistics/%s", ifname, name);
}

/* --- sockets --------------------------------------------------------------------------------------------------- */

int raw_open(const char *netns, const char *ifname)
{
	int fd = netns_socket(netns, AF_PACKET, SOCK_RAW, 0);
	struct sockaddr_ll address = {.sll_family = AF_PACKET, .sll_protocol = htons(ETH_P_ALL)};
	int room = SOCKET_BUFFER, on = 1;

	address.sll_ifindex = (int)link_index(netns, ifname);
	if (setsockopt(fd, SOL_SOCKET, SO_RCVBUFFORCE, &room, sizeof(room)) < 0 ||
		setsockopt(fd, SOL_SOCKET, SO_SNDBUFFORCE, &room, sizeof(room)) < 0 ||
		setsockopt(fd, SOL_PACKET, PACKET_AUXDATA, &on, sizeof(on)) < 0 ||
		setsockopt(fd, SOL_PACKET, PACKET_IGNORE_OUTGOING, &on, sizeof(on)) < 0 ||
		bind(fd, (struct sockaddr *)&address, sizeof(address)) < 0)
		fail_msg("%s: no packet socket: %s", ifname, strerror(errno));
	return fd;
}

static void put16(uint8_t *p, uint16_t value)
{
	p[0] = (uint8_t)(value >> 8);
	p[1] = (uint8_t)value;
}

static uint16_t get16(const uint8_t *p)
{
	return (uint16_t)(p[0] << 8 | p[1]);
}

bool raw_receive(int fd, struct captured *frame, unsigned ms)
{
	union {
		struct cmsghdr align;
		char room[CMSG_SPACE(sizeof(struct tpacket_auxdata))];
	} control;
	struct iovec iov = {.iov_base = frame->data, .iov_len = sizeof(frame->data) - 4};
	struct msghdr message = {.msg_iov = &iov, .msg_iovlen = 1};
	struct pollfd p = {.fd = fd, .events = POLLIN};
	ssize_t n;

	message.msg_control = control.room;
	message.msg_controllen = sizeof(control);
	n = recvmsg(fd, &message, MSG_TRUNC | MSG_DONTWAIT);
	if (n < 0 && poll(&p, 1, (int)ms) == 1) {
		message.msg_controllen = sizeof(control);
		n = recvmsg(fd, &message, MSG_TRUNC | MSG_DONTWAIT);
	}
	if (n < 0)
		return false;
	frame->size = (size_t)n;
	frame->vlan = frame->checksum_partial = false;
	for (struct cmsghdr *c = CMSG_FIRSTHDR(&message); c; c = CMSG_NXTHDR(&message, c)) {
		struct tpacket_auxdata aux;

		if (c->cmsg_level != SOL_PACKET || c->cmsg_type != PACKET_AUXDATA)
			continue;
		memcpy(&aux, CMSG_DATA(c), sizeof(aux));
		frame->checksum_partial = aux.tp_status & TP_STATUS_CSUMNOTREADY;
		if (aux.tp_status & TP_STATUS_VLAN_VALID) {
			uint16_t tpid =
				aux.tp_status & TP_STATUS_VLAN_TPID_VALID ? aux.tp_vlan_tpid : ETH_P_8021Q;

			frame->size = frame_tag(frame->data, frame->size, tpid, aux.tp_vlan_tci);
			frame->vlan = true;
		}
	}
	return true;
}

bool raw_receive_type(int fd, struct captured *frame, uint16_t ether_type, unsigned seconds)
{
	int64_t deadline = clock_ms() + 1000 * (int64_t)seconds * slow_factor();

	for (int64_t left = 1; left > 0; left = deadline - clock_ms())
		if (raw_receive(fd, frame, left > 100 ? 100 : (unsigned)left) &&
			frame_type(frame->data, frame->size) == ether_type)
			return true;
	return false;
}

void raw_send(int fd, const uint8_t *frame, size_t size)
{
	ssize_t n = send(fd, frame, size, 0);

	if (n != (ssize_t)size)
		fail_msg("sending a frame of %zu bytes: %s", size, n < 0 ? strerror(errno) : "cut");
}

uint64_t raw_flood(int fd, const uint8_t *frame, size_t size, uint64_t count)
{
	struct iovec iov = {.iov_base = (void *)(uintptr_t)frame, .iov_len = size};
	struct mmsghdr messages[FLOOD_BATCH] = {0};
	uint64_t taken = 0;

	for (unsigned i = 0; i < FLOOD_BATCH; i++) {
		messages[i].msg_hdr.msg_iov = &iov;
		messages[i].msg_hdr.msg_iovlen = 1;
	}
	for (uint64_t tried = 0; tried < count;) {
		unsigned batch = count - tried < FLOOD_BATCH ? (unsigned)(count - tried) : FLOOD_BATCH;
		int n = sendmmsg(fd, messages, batch, 0);

		/* An error belongs to one frame: the first of this batch. */
		if (n < 0 && errno != ENOBUFS)
			fail_msg("flooding: %s", strerror(errno));
		taken += n > 0 ? (uint64_t)n : 0;
		tried += n > 0 ? (uint64_t)n : 1;
	}
	return taken;
}

unsigned raw_lost(int fd)
{
	struct tpacket_stats stats = {0};
	socklen_t size = sizeof(stats);

	getsockopt(fd, SOL_PACKET, PACKET_STATISTICS, &stats, &size);
	return stats.tp_drops;
}

/* --- frames --------------------------------------------------------------------------------------------- */

uint16_t frame_type(const uint8_t *frame, size_t size)
{
	return size < ETH_HLEN ? 0 : get16(frame + 12);
}

void frame_test(uint8_t *frame, size_t size, const uint8_t dst[6], const uint8_t src[6], uint32_t sequence)
{
	uint32_t number = htonl(sequence);

	memcpy(frame, dst, 6);
	memcpy(frame + 6, src, 6);
	put16(frame + 12, ETHERTYPE_TEST);
	for (size_t i = 14; i < size; i++)
		frame[i] = (uint8_t)(sequence * 31 + i * 7 + (i >> 8));
	memcpy(frame + 14, &number, size < 18 ? size - 14 : 4);
}

size_t frame_tag(uint8_t *frame, size_t size, uint16_t tpid, uint16_t tci)
{
	memmove(frame + 16, frame + 12, size - 12);
	put16(frame + 12, tpid);
	put16(frame + 14, tci);
	return size + 4;
}

/* RFC 1071, on plain bytes and one at a time: this one is meant to be independent of the code under test. */
static uint32_t sum(const uint8_t *p, size_t size, uint32_t start)
{
	for (size_t i = 0; i < size; i++)
		start += i & 1 ? p[i] : (uint32_t)p[i] << 8;
	return start;
}

static uint16_t fold(uint32_t value)
{
	while (value >> 16)
		value = (value & 0xFFFF) + (value >> 16);
	return (uint16_t)value;
}

size_t frame_udp4(uint8_t *frame, const uint8_t dst[6], const uint8_t src[6], const char *from,
	const char *to, uint16_t from_port, uint16_t to_port, size_t payload)
{
	uint8_t *ip = frame + ETH_HLEN, *udp = ip + 20;
	size_t udp_size = 8 + payload;
	uint16_t check;

	memcpy(frame, dst, 6);
	memcpy(frame + 6, src, 6);
	put16(frame + 12, ETH_P_IP);
	memset(ip, 0, 28);
	ip[0] = 0x45;
	put16(ip + 2, (uint16_t)(20 + udp_size));
	ip[6] = 0x40; /* DF */
	ip[8] = 64;
	ip[9] = IPPROTO_UDP;
	inet_pton(AF_INET, from, ip + 12);
	inet_pton(AF_INET, to, ip + 16);
	put16(ip + 10, (uint16_t)~fold(sum(ip, 20, 0)));
	put16(udp, from_port);
	put16(udp + 2, to_port);
	put16(udp + 4, (uint16_t)udp_size);
	for (size_t i = 0; i < payload; i++)
		udp[8 + i] = (uint8_t)i;
	check = (uint16_t)~fold(sum(udp, udp_size, sum(ip + 12, 8, IPPROTO_UDP + (uint32_t)udp_size)));
	put16(udp + 6, check ? check : 0xFFFF);
	return ETH_HLEN + 20 + udp_size;
}

static const char *l4_fault(const uint8_t *l4, size_t size, uint8_t protocol, uint32_t pseudo)
{
	switch (protocol) {
	case IPPROTO_TCP:
		if (size < 20)
			return "TCP header cut";
		return fold(sum(l4, size, pseudo)) == 0xFFFF ? NULL : "TCP checksum wrong";
	case IPPROTO_UDP:
		if (size < 8 || get16(l4 + 4) != size)
			return "UDP length wrong";
		if (get16(l4 + 6) == 0)
			return NULL; /* sent without one */
		return fold(sum(l4, size, pseudo)) == 0xFFFF ? NULL : "UDP checksum wrong";
	case IPPROTO_ICMP: return fold(sum(l4, size, 0)) == 0xFFFF ? NULL : "ICMP checksum wrong";
	case IPPROTO_ICMPV6: return fold(sum(l4, size, pseudo)) == 0xFFFF ? NULL : "ICMPv6 checksum wrong";
	default: return NULL;
	}
}

static const char *ipv4_fault(const uint8_t *ip, size_t room)
{
	size_t header, total;

	if (room < 20)
		return "IPv4 header cut";
	header = (ip[0] & 15u) * 4;
	total = get16(ip + 2);
	if (header < 20 || total < header || total > room)
		return "IPv4 length wrong";
	if (fold(sum(ip, header, 0)) != 0xFFFF)
		return "IPv4 header checksum wrong";
	if (get16(ip + 6) & 0x3FFF)
		return NULL; /* a fragment: its checksum covers the whole datagram */
	return l4_fault(ip + header, total - header, ip[9],
		sum(ip + 12, 8, (uint32_t)ip[9] + (uint32_t)(total - header)));
}

static const char *ipv6_fault(const uint8_t *ip, size_t room)
{
	size_t payload;

	if (room < 40)
		return "IPv6 header cut";
	payload = get16(ip + 4);
	if (payload > room - 40)
		return "IPv6 length wrong";
	/* Extension headers (fragments, MLD's hop-by-hop option) are not followed. */
	return l4_fault(ip + 40, payload, ip[6], sum(ip + 8, 32, (uint32_t)ip[6] + (uint32_t)payload));
}

const char *frame_fault(const uint8_t *frame, size_t size)
{
	size_t offset = 12;

	while (size >= offset + 6 &&
		(get16(frame + offset) == ETH_P_8021Q || get16(frame + offset) == ETH_P_8021AD))
		offset += 4;
	if (size < offset + 2)
		return "runt";
	switch (get16(frame + offset)) {
	case ETH_P_IP: return ipv4_fault(frame + offset + 2, size - offset - 2);
	case ETH_P_IPV6: return ipv6_fault(frame + offset + 2, size - offset - 2);
	default: return NULL;
	}
}
