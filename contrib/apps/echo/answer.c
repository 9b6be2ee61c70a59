/*
 * Answers; see answer.h.
 *
 * Nothing that an answer changes needs a checksum to be computed anew: source and destination, and the two ports,
 * change places, which does not change the sum that they are in. An echo request becomes a reply by its type, which
 * is put right in the sum by the difference (RFC 1624). Only the answer to "who has this IPv6 address?" is written
 * from scratch.
 *
 * Lengths in headers are the network's word and are checked against what is there.
 */
#include "contrib/apps/echo/answer.h"

#include <arpa/inet.h>
#include <net/ethernet.h>
#include <netinet/icmp6.h>
#include <netinet/if_ether.h>
#include <netinet/ip.h>
#include <netinet/ip6.h>
#include <netinet/ip_icmp.h>
#include <netinet/udp.h>
#include <string.h>

#include "contrib/apps/app_frame.h"
#include "driver/checksum.h"

#define HOP_LIMIT_ND 255 /* RFC 4861, 7.1.1: from this link, or it would be less */

/* What of the frame is looked at: the first buffer, of which `size` bytes are there. */
struct view {
	struct pkt_buf *frame;
	uint8_t *data;
	size_t size;
	size_t l3; /* where the network header begins, behind VLAN tags */
	uint16_t type;
};

/* --- who ------------------------------------------------------------------------------------------------ */

bool answerer_add(struct answerer *answerer, const char *text)
{
	if (answerer->v4_count < ANSWER_MAX_ADDRESSES &&
		inet_pton(AF_INET, text, &answerer->v4[answerer->v4_count]) == 1) {
		answerer->v4_count++;
		return true;
	}
	if (answerer->v6_count < ANSWER_MAX_ADDRESSES &&
		inet_pton(AF_INET6, text, &answerer->v6[answerer->v6_count]) == 1) {
		answerer->v6_count++;
		return true;
	}
	return false;
}

size_t answerer_groups(const struct answerer *answerer, struct ixy_mac groups[ANSWER_MAX_ADDRESSES])
{
	for (unsigned i = 0; i < answerer->v6_count; i++) {
		const uint8_t *a = answerer->v6[i].s6_addr;

		groups[i] = (struct ixy_mac){{0x33, 0x33, 0xFF, a[13], a[14], a[15]}};
	}
	return answerer->v6_count;
}

static bool is_host(const struct answerer *answerer)
{
	return answerer->v4_count || answerer->v6_count;
}

static bool has_v4(const struct answerer *answerer, const void *address)
{
	for (unsigned i = 0; i < answerer->v4_count; i++)
		if (!memcmp(&answerer->v4[i], address, sizeof(answerer->v4[i])))
			return true;
	return false;
}

static bool has_v6(const struct answerer *answerer, const void *address)
{
	for (unsigned i = 0; i < answerer->v6_count; i++)
		if (!memcmp(&answerer->v6[i], address, sizeof(answerer->v6[i])))
			return true;
	return false;
}

/* --- changing frames ------------------------------------------------------------------------------------ */

/* Back to the sender, and from us: the frame may have been for a group that we are in. */
static void to_sender(const struct answerer *answerer, const struct view *view)
{
	app_swap(view->data, view->data + ETH_ALEN, ETH_ALEN);
	if (is_host(answerer))
		memcpy(view->data + ETH_ALEN, answerer->mac.addr, ETH_ALEN);
}

/* Change the first byte of an ICMP header, its type. A checksum that is yet to be computed includes it anyway. */
static void set_icmp_type(const struct view *view, uint8_t *icmp, uint8_t type)
{
	uint16_t before, after, check;

	memcpy(&before, icmp, sizeof(before));
	icmp[0] = type;
	memcpy(&after, icmp, sizeof(after));
	if (view->frame->flags & PKT_TX_L4_CSUM)
		return;
	memcpy(&check, icmp + 2, sizeof(check));
	check = app_change_checksum(check, before, after);
	memcpy(icmp + 2, &check, sizeof(check));
}

/* --- ARP (RFC 826) -------------------------------------------------------------------------------------- */

static bool turn_arp(const struct answerer *answerer, const struct view *view)
{
	struct ether_arp arp;

	if (view->size - view->l3 < sizeof(arp))
		return false;
	memcpy(&arp, view->data + view->l3, sizeof(arp));
	if (arp.ea_hdr.ar_hrd != htons(ARPHRD_ETHER) || arp.ea_hdr.ar_pro != htons(ETHERTYPE_IP) ||
		arp.ea_hdr.ar_hln != ETH_ALEN || arp.ea_hdr.ar_pln != 4 ||
		arp.ea_hdr.ar_op != htons(ARPOP_REQUEST) || !has_v4(answerer, arp.arp_tpa))
		return false;
	arp.ea_hdr.ar_op = htons(ARPOP_REPLY);
	memcpy(arp.arp_tha, arp.arp_sha, ETH_ALEN);
	memcpy(arp.arp_sha, answerer->mac.addr, ETH_ALEN);
	app_swap(arp.arp_spa, arp.arp_tpa, sizeof(arp.arp_spa));
	memcpy(view->data + view->l3, &arp, sizeof(arp));
	return true;
}

/* --- IPv4 ----------------------------------------------------------------------------------------------- */

/* Whether ports or an echo request at `l4` have become those of the answer. */
static bool turn_l4(const struct view *view, size_t l4, uint8_t protocol)
{
	uint8_t *header = view->data + l4;

	if (protocol == IPPROTO_UDP && view->size - l4 >= sizeof(struct udphdr)) {
		app_swap(header, header + 2, 2);
		return true;
	}
	if (protocol == IPPROTO_ICMP && view->size - l4 >= sizeof(struct icmphdr) && header[0] == ICMP_ECHO) {
		set_icmp_type(view, header, ICMP_ECHOREPLY);
		return true;
	}
	if (protocol == IPPROTO_ICMPV6 && view->size - l4 >= sizeof(struct icmp6_hdr) &&
		header[0] == ICMP6_ECHO_REQUEST) {
		set_icmp_type(view, header, ICMP6_ECHO_REPLY);
		return true;
	}
	return false;
}

/* Neither nobody (0.0.0.0), nor a group, nor all: RFC 1122, 3.2.1.3. */
static bool is_sender(in_addr_t address)
{
	return address != INADDR_ANY && ntohl(address) < INADDR_UNSPEC_GROUP;
}

static bool turn_v4(const struct answerer *answerer, const struct view *view)
{
	struct iphdr ip;
	size_t header;
	bool turned;

	if (view->size - view->l3 < sizeof(ip))
		return false;
	memcpy(&ip, view->data + view->l3, sizeof(ip));
	header = ip.ihl * 4u;
	if (ip.version != 4 || header < sizeof(ip) || view->size - view->l3 < header || !is_sender(ip.saddr))
		return false;
	if (is_host(answerer) && !has_v4(answerer, &ip.daddr))
		return false;
	/* Of a datagram in fragments, only the first has ports; the others follow it. */
	if (ip.frag_off & htons(IP_OFFMASK))
		turned = ip.protocol == IPPROTO_UDP || ip.protocol == IPPROTO_ICMP;
	else
		turned = ip.protocol != IPPROTO_ICMPV6 && turn_l4(view, view->l3 + header, ip.protocol);
	if (turned)
		app_swap(view->data + view->l3 + offsetof(struct iphdr, saddr),
			view->data + view->l3 + offsetof(struct iphdr, daddr), sizeof(ip.saddr));
	return turned;
}

/* --- IPv6 ----------------------------------------------------------------------------------------------- */

static uint16_t icmp6_checksum(const struct view *view, const struct ip6_hdr *ip, size_t size)
{
	return checksum_finish(
		checksum_add(checksum_pseudo6(&ip->ip6_src, &ip->ip6_dst, IPPROTO_ICMPV6, (uint32_t)size),
			view->data + view->l3 + sizeof(*ip), size));
}

/* "Who has this address?" (RFC 4861, 4.3, 7.1.1, 7.2.4) */
static bool turn_solicitation(const struct answerer *answerer, const struct view *view, struct ip6_hdr *ip)
{
	static const struct in6_addr all_nodes = {{{0xFF, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1}}};
	static const uint8_t all_nodes_mac[ETH_ALEN] = {0x33, 0x33, 0, 0, 0, 1};
	const bool unspecified =
		IN6_IS_ADDR_UNSPECIFIED(&ip->ip6_src); /* it wants to have the address itself */
	struct {
		struct nd_neighbor_advert advert;
		struct nd_opt_hdr option;
		uint8_t mac[ETH_ALEN];
	} reply = {0};
	struct nd_neighbor_solicit ask;
	size_t length = ntohs(ip->ip6_plen), l4 = view->l3 + sizeof(*ip);

	if (length < sizeof(ask) || length > view->size - l4 || view->frame->next ||
		ip->ip6_hlim != HOP_LIMIT_ND || icmp6_checksum(view, ip, length))
		return false;
	memcpy(&ask, view->data + l4, sizeof(ask));
	if (ask.nd_ns_code || !has_v6(answerer, &ask.nd_ns_target))
		return false;

	reply.advert.nd_na_type = ND_NEIGHBOR_ADVERT;
	reply.advert.nd_na_flags_reserved = ND_NA_FLAG_OVERRIDE | (unspecified ? 0 : ND_NA_FLAG_SOLICITED);
	reply.advert.nd_na_target = ask.nd_ns_target;
	reply.option.nd_opt_type = ND_OPT_TARGET_LINKADDR;
	reply.option.nd_opt_len = 1; /* times eight bytes */
	memcpy(reply.mac, answerer->mac.addr, ETH_ALEN);
	ip->ip6_dst = unspecified ? all_nodes : ip->ip6_src;
	ip->ip6_src = ask.nd_ns_target;
	ip->ip6_plen = htons(sizeof(reply));
	memcpy(view->data + view->l3, ip, sizeof(*ip));
	memcpy(view->data + l4, &reply,
		sizeof(reply)); /* eight bytes more, perhaps; a buffer has some 2000 */
	reply.advert.nd_na_cksum = icmp6_checksum(view, ip, sizeof(reply));
	memcpy(view->data + l4, &reply, sizeof(reply));
	view->frame->size = view->frame->frame_size = (uint32_t)(l4 + sizeof(reply));
	view->frame->flags &= (uint16_t)~PKT_TX_L4_CSUM;
	if (unspecified) /* as if they all had asked */
		memcpy(view->data + ETH_ALEN, all_nodes_mac, ETH_ALEN);
	return true;
}

static bool turn_v6(const struct answerer *answerer, const struct view *view)
{
	struct ip6_hdr ip;
	size_t l4 = view->l3 + sizeof(ip);
	bool turned;

	if (view->size < l4)
		return false;
	memcpy(&ip, view->data + view->l3, sizeof(ip));
	if (ip.ip6_vfc >> 4 != 6 || IN6_IS_ADDR_MULTICAST(&ip.ip6_src))
		return false;
	if (is_host(answerer) && ip.ip6_nxt == IPPROTO_ICMPV6 && view->size > l4 &&
		view->data[l4] == ND_NEIGHBOR_SOLICIT)
		return turn_solicitation(answerer, view, &ip);
	if (is_host(answerer) && (!has_v6(answerer, &ip.ip6_dst) || IN6_IS_ADDR_UNSPECIFIED(&ip.ip6_src)))
		return false;
	turned = ip.ip6_nxt != IPPROTO_ICMP && turn_l4(view, l4, ip.ip6_nxt);
	if (turned)
		app_swap(view->data + view->l3 + offsetof(struct ip6_hdr, ip6_src),
			view->data + view->l3 + offsetof(struct ip6_hdr, ip6_dst), sizeof(ip.ip6_src));
	return turned;
}

/* --- any ------------------------------------------------------------------------------------------------ */

bool answer(const struct answerer *answerer, struct pkt_buf *frame)
{
	struct view view = {.frame = frame, .data = frame->data, .size = frame->size};
	bool turned = false;

	view.l3 = app_network_header(frame, &view.type);
	if (!view.l3)
		return false;
	/* Nobody answers a group's address as if it were a sender's. */
	if (view.data[ETH_ALEN] & 1)
		return false;
	if (!is_host(answerer) && view.data[0] & 1)
		return false;
	switch (view.type) {
	case ETHERTYPE_ARP: turned = is_host(answerer) && turn_arp(answerer, &view); break;
	case ETHERTYPE_IP: turned = turn_v4(answerer, &view); break;
	case ETHERTYPE_IPV6: turned = turn_v6(answerer, &view); break;
	}
	/* A reflector sends back as it is what it cannot turn. */
	if (!turned && is_host(answerer))
		return false;
	to_sender(answerer, &view);
	return true;
}
