/*
 * Reaching each other: address resolution, ping of every size, multicast and broadcast, both directions.
 */
#include "rig.h"

#include <arpa/inet.h>
#include <errno.h>
#include <net/if.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include "driver/ixgbe/regs.h"

/* --- sockets of the two hosts ----------------------------------------------------------------------------- */

struct end { /* one side of the cable */
	const char *netns, *ifname;
};

static struct end peer_end(const struct rig *rig)
{
	return (struct end){rig->peer, "p0"};
}

static struct end host_end(const struct rig *rig)
{
	return (struct end){rig->host, "ixy0"};
}

/* A UDP socket that hears and speaks on this interface only. */
static int udp_socket(struct end end, int family, uint16_t port)
{
	int fd = netns_socket(end.netns, family, SOCK_DGRAM, 0);
	struct sockaddr_in6 any6 = {.sin6_family = AF_INET6, .sin6_port = htons(port)};
	struct sockaddr_in any4 = {.sin_family = AF_INET, .sin_port = htons(port)};
	struct timeval bound = {.tv_sec = 5 * slow_factor()};
	int on = 1;

	assert_int_equal(
		setsockopt(fd, SOL_SOCKET, SO_BINDTODEVICE, end.ifname, (socklen_t)strlen(end.ifname)), 0);
	assert_int_equal(setsockopt(fd, SOL_SOCKET, SO_BROADCAST, &on, sizeof(on)), 0);
	assert_int_equal(setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &bound, sizeof(bound)), 0);
	if (family == AF_INET)
		assert_int_equal(bind(fd, (struct sockaddr *)&any4, sizeof(any4)), 0);
	else
		assert_int_equal(bind(fd, (struct sockaddr *)&any6, sizeof(any6)), 0);
	return fd;
}

static void send_text(
	int fd, int family, const char *address, uint16_t port, unsigned scope, const char *text)
{
	struct sockaddr_in6 to6 = {.sin6_family = AF_INET6, .sin6_port = htons(port), .sin6_scope_id = scope};
	struct sockaddr_in to4 = {.sin_family = AF_INET, .sin_port = htons(port)};
	void *to = family == AF_INET ? (void *)&to4 : &to6;
	socklen_t size = family == AF_INET ? sizeof(to4) : sizeof(to6);

	assert_int_equal(
		inet_pton(family, address, family == AF_INET ? (void *)&to4.sin_addr : &to6.sin6_addr), 1);
	if (sendto(fd, text, strlen(text), 0, to, size) != (ssize_t)strlen(text))
		fail_msg("sending to %s: %s", address, strerror(errno));
}

static void assert_receives(int fd, const char *text)
{
	char got[64] = {0};
	ssize_t n = recv(fd, got, sizeof(got) - 1, 0);

	if (n < 0)
		fail_msg("\"%s\" did not arrive: %s", text, strerror(errno));
	assert_string_equal(got, text);
}

static void join(int fd, int family, const char *group, unsigned ifindex)
{
	struct ipv6_mreq request6 = {.ipv6mr_interface = ifindex};
	struct ip_mreqn request4 = {.imr_ifindex = (int)ifindex};

	if (family == AF_INET) {
		inet_pton(family, group, &request4.imr_multiaddr);
		assert_int_equal(
			setsockopt(fd, IPPROTO_IP, IP_ADD_MEMBERSHIP, &request4, sizeof(request4)), 0);
	} else {
		inet_pton(family, group, &request6.ipv6mr_multiaddr);
		assert_int_equal(
			setsockopt(fd, IPPROTO_IPV6, IPV6_JOIN_GROUP, &request6, sizeof(request6)), 0);
	}
}

/* --- address resolution ------------------------------------------------------------------------------------- */

static void assert_neighbour(const char *netns, const char *ifname, const char *address, const uint8_t mac[6])
{
	const char *shown = command_ok(netns, "ip neigh show %s dev %s", address, ifname);
	char want[32];

	snprintf(want, sizeof(want), "lladdr %02x:%02x:%02x:%02x:%02x:%02x", mac[0], mac[1], mac[2], mac[3],
		mac[4], mac[5]);
	if (!strstr(shown, want))
		fail_msg("%s is not at %s but: %s", address, want, shown);
}

static void arp_and_neighbour_discovery_find_the_macs_in_both_directions(void **state)
{
	struct rig *rig = *state;
	uint8_t peer_mac[6], host_mac[6];

	rig_start(rig, "");
	link_mac(rig->peer, "p0", peer_mac);
	link_mac(rig->host, "ixy0", host_mac);
	for (int v6 = 0; v6 < 2; v6++) {
		const char *peer = v6 ? rig->v6_peer : rig->v4_peer, *host = v6 ? rig->v6_host : rig->v4_host;

		/* Who asks first learns by request and answer; the other side from the request: so twice. */
		command_ok(rig->host, "ip neigh flush dev ixy0 && ping -nqc1 -W5 %s", peer);
		assert_neighbour(rig->host, "ixy0", peer, peer_mac);
		command_ok(rig->peer, "ip neigh flush dev p0 && ping -nqc1 -W5 %s", host);
		assert_neighbour(rig->peer, "p0", host, host_mac);
	}
	rig_finish(rig);
}

static bool address_flag(const struct end *end, const char *address, const char *flag)
{
	return strstr(command_ok(end->netns, "ip -o -6 addr show dev %s to %s", end->ifname, address), flag);
}

static void duplicate_address_detection_finds_a_taken_address_and_passes_a_free_one(void **state)
{
	struct rig *rig = *state;
	struct end ends[2] = {peer_end(rig), host_end(rig)};
	char taken[48], free_one[48];

	rig_start(rig, "");
	for (int side = 0; side < 2; side++) {
		struct end *owner = &ends[side], *late = &ends[!side];

		snprintf(taken, sizeof(taken), "fd82:99:%d::9", side);
		snprintf(free_one, sizeof(free_one), "fd82:99:%d::10", side);
		command_ok(owner->netns, "ip addr add %s/64 dev %s nodad", taken, owner->ifname);
		command_ok(late->netns, "ip addr add %s/64 dev %s && ip addr add %s/64 dev %s", taken,
			late->ifname, free_one, late->ifname);
		assert_soon(10, address_flag(late, taken, "dadfailed"));
		assert_soon(10, !address_flag(late, free_one, "tentative"));
		assert_false(address_flag(late, free_one, "dadfailed"));
	}
	rig_finish(rig);
}

/* --- ping ------------------------------------------------------------------------------------------------------ */

/* From none to the largest datagram: 46 fragments in a burst. */
static void ping_passes_with_every_size_up_to_the_largest_datagram(void **state)
{
	static const unsigned sizes[] = {0, 1, 2, 17, 18, 19, 56, 63, 64, 65, 1000, 1471, 1472, 1473, 2000,
		2960, 4096, 9000, 20000, 65507};
	struct rig *rig = *state;

	rig_start(rig, "");
	for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
		command_ok(rig->host, "ping -4nqc2 -i0.02 -W5 -s%u %s", sizes[i], rig->v4_peer);
		command_ok(rig->peer, "ping -4nqc2 -i0.02 -W5 -s%u %s", sizes[i], rig->v4_host);
		command_ok(rig->host, "ping -6nqc2 -i0.02 -W5 -s%u %s", sizes[i], rig->v6_peer);
		command_ok(rig->peer, "ping -6nqc2 -i0.02 -W5 -s%u %s", sizes[i], rig->v6_host);
	}
	rig_finish(rig);
}

static void a_long_train_of_pings_loses_none(void **state)
{
	struct rig *rig = *state;

	rig_start(rig, "");
	assert_non_null(
		strstr(command_ok(rig->host, "ping -nqc1000 -i0.001 -W5 %s", rig->v4_peer), "1000 received"));
	assert_non_null(
		strstr(command_ok(rig->peer, "ping -nqc1000 -i0.001 -W5 %s", rig->v4_host), "1000 received"));
	rig_finish(rig);
}

/* One at a time, with the queue asleep before each: the interrupt must wake it every time (ixy issue 21). */
static void single_frames_after_silence_are_never_stranded(void **state)
{
	struct rig *rig = *state;

	rig_start(rig, "");
	assert_non_null(
		strstr(command_ok(rig->peer, "ping -nqc60 -i0.05 -W5 %s", rig->v4_host), "60 received"));
	rig_finish(rig);
}

/* --- many at once ------------------------------------------------------------------------------------------- */

static void broadcast_arrives_in_both_directions(void **state)
{
	struct rig *rig = *state;
	struct end ends[2] = {peer_end(rig), host_end(rig)};
	char broadcast[16];

	rig_start(rig, "");
	snprintf(broadcast, sizeof(broadcast), "%.*s.255", (int)(strrchr(rig->v4_peer, '.') - rig->v4_peer),
		rig->v4_peer);
	for (int side = 0; side < 2; side++) {
		int from = udp_socket(ends[side], AF_INET, 4000), to = udp_socket(ends[!side], AF_INET, 4001);

		send_text(from, AF_INET, broadcast, 4001, 0, "to all in the subnet");
		assert_receives(to, "to all in the subnet");
		send_text(from, AF_INET, "255.255.255.255", 4001, 0, "to all on the cable");
		assert_receives(to, "to all on the cable");
		close(from);
		close(to);
	}
	rig_finish(rig);
}

static void multicast_passes(struct rig *rig)
{
	static const struct {
		int family;
		const char *group;
	} groups[] = {{AF_INET, "239.82.5.99"}, {AF_INET, "224.1.2.3"}, {AF_INET6, "ff15::8259:9"},
		{AF_INET6, "ff02::4242"}};
	struct end ends[2] = {peer_end(rig), host_end(rig)};

	for (size_t i = 0; i < sizeof(groups) / sizeof(groups[0]); i++) {
		for (int side = 0; side < 2; side++) {
			struct end *sender = &ends[side], *member = &ends[!side];
			unsigned sender_index = link_index(sender->netns, sender->ifname);
			unsigned member_index = link_index(member->netns, member->ifname);
			int from = udp_socket(*sender, groups[i].family, 4000);
			int to = udp_socket(*member, groups[i].family, 4001);
			bool arrived;
			char got[8];

			join(to, groups[i].family, groups[i].group, member_index);
			/* A filter that follows the membership does so in its own time: send until it lets in. */
			assert_soon(10, ({
				send_text(
					from, groups[i].family, groups[i].group, 4001, sender_index, "hello");
				struct timeval moment = {.tv_usec = 200000};
				setsockopt(to, SOL_SOCKET, SO_RCVTIMEO, &moment, sizeof(moment));
				arrived = recv(to, got, sizeof(got), 0) == 5;
			}));
			assert_true(arrived);
			close(from);
			close(to);
		}
	}
}

static void multicast_groups_are_received_as_they_are_joined(void **state)
{
	struct rig *rig = *state;

	rig_start(rig, "");
	multicast_passes(rig);
	rig_finish(rig);
}

static void multicast_groups_are_received_with_the_nic_filtering_by_list(void **state)
{
	struct rig *rig = *state;

	rig_start(rig, "--multicast list");
	assert_false(rig_device_allmulti(rig));
	multicast_passes(rig);
	rig_finish(rig);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		RIG_TEST(arp_and_neighbour_discovery_find_the_macs_in_both_directions),
		RIG_TEST(duplicate_address_detection_finds_a_taken_address_and_passes_a_free_one),
		RIG_TEST(ping_passes_with_every_size_up_to_the_largest_datagram),
		RIG_TEST(a_long_train_of_pings_loses_none),
		RIG_TEST(single_frames_after_silence_are_never_stranded),
		RIG_TEST(broadcast_arrives_in_both_directions),
		RIG_TEST(multicast_groups_are_received_as_they_are_joined),
		RIG_TEST(multicast_groups_are_received_with_the_nic_filtering_by_list),
	};

	return rig_main("netns: reaching each other", tests);
}
