#include "contrib/apps/pktgen/frame.h"

#include <arpa/inet.h>
#include <endian.h>
#include <net/ethernet.h>
#include <netinet/ip.h>
#include <netinet/ip6.h>
#include <netinet/udp.h>
#include <string.h>

#include "driver/checksum.h"

#define MAGIC 0x6978 /* "ix" */
#define TTL   64

struct stamp_wire {
	uint16_t magic, run, flow, number_high, number_low;
	uint64_t time_ns;
} __attribute__((packed));

_Static_assert(sizeof(struct stamp_wire) == 18, "fits into the shortest frame");

static size_t head_size(bool ipv6)
{
	return sizeof(struct ether_header) + (ipv6 ? sizeof(struct ip6_hdr) : sizeof(struct iphdr)) +
	       sizeof(struct udphdr);
}

uint32_t frame_shortest(bool ipv6)
{
	return (uint32_t)(head_size(ipv6) + sizeof(struct stamp_wire));
}

/* --- what stays ----------------------------------------------------------------------------------------- */

/* Returns the sum of the pseudo-header. */
static uint64_t fill_ipv4(uint8_t *at, const struct frame_config *config, uint16_t udp_size)
{
	struct iphdr ip = {.version = 4,
		.ihl = sizeof(ip) / 4,
		.tot_len = htons((uint16_t)(sizeof(ip) + udp_size)),
		.frag_off = htons(IP_DF),
		.ttl = TTL,
		.protocol = IPPROTO_UDP};

	memcpy(&ip.saddr, config->from, sizeof(ip.saddr));
	memcpy(&ip.daddr, config->to, sizeof(ip.daddr));
	ip.check = checksum_finish(checksum_add(0, &ip, sizeof(ip)));
	memcpy(at, &ip, sizeof(ip));
	return checksum_pseudo4(config->from, config->to, IPPROTO_UDP, udp_size);
}

static uint64_t fill_ipv6(uint8_t *at, const struct frame_config *config, uint16_t udp_size)
{
	struct ip6_hdr ip = {0};

	ip.ip6_flow = htonl(6u << 28);
	ip.ip6_plen = htons(udp_size);
	ip.ip6_nxt = IPPROTO_UDP;
	ip.ip6_hlim = TTL;
	memcpy(&ip.ip6_src, config->from, sizeof(ip.ip6_src));
	memcpy(&ip.ip6_dst, config->to, sizeof(ip.ip6_dst));
	memcpy(at, &ip, sizeof(ip));
	return checksum_pseudo6(config->from, config->to, IPPROTO_UDP, udp_size);
}

void frame_template_init(struct frame_template *template, const struct frame_config *config, uint32_t size)
{
	struct ether_header ethernet = {.ether_type = htons(config->ipv6 ? ETHERTYPE_IPV6 : ETHERTYPE_IP)};
	size_t l4 = head_size(config->ipv6) - sizeof(struct udphdr);
	uint16_t udp_size = (uint16_t)(size - l4);
	/* The source port and the checksum are a frame's own. */
	struct udphdr udp = {.dest = htons(config->to_port), .len = htons(udp_size)};
	uint8_t *l3 = template->head + sizeof(ethernet);
	uint64_t sum;

	*template = (struct frame_template){.size = size,
		.stamp_offset = (uint16_t)head_size(config->ipv6),
		.offload = config->offload,
		.no_checksum = config->no_checksum && !config->ipv6,
		.from_port = config->from_port};
	memcpy(ethernet.ether_dhost, config->to_mac, ETH_ALEN);
	memcpy(ethernet.ether_shost, config->from_mac, ETH_ALEN);
	memcpy(template->head, &ethernet, sizeof(ethernet));
	sum = config->ipv6 ? fill_ipv6(l3, config, udp_size) : fill_ipv4(l3, config, udp_size);
	memcpy(template->head + l4, &udp, sizeof(udp));
	/* With the offload the device adds the rest to the pseudo-header's sum, else it is added here. */
	template->sum = config->offload ? sum : checksum_add(sum, &udp, sizeof(udp));
}

void frame_prepare(const struct frame_template *template, struct pkt_buf *buf)
{
	memcpy(buf->data, template->head, template->stamp_offset);
	memset(buf->data + template->stamp_offset, 0, template->size - template->stamp_offset);
}

/* --- what changes --------------------------------------------------------------------------------------- */

void frame_stamp(const struct frame_template *template, struct pkt_buf *buf, const struct frame_stamp *stamp)
{
	struct stamp_wire wire = {.magic = htons(MAGIC),
		.run = htons(stamp->run),
		.flow = htons(stamp->flow),
		.number_high = htons((uint16_t)(stamp->number >> 16)),
		.number_low = htons((uint16_t)stamp->number),
		.time_ns = htobe64(stamp->time_ns)};
	uint16_t l4 = (uint16_t)(template->stamp_offset - sizeof(struct udphdr));
	uint16_t port = htons((uint16_t)(template->from_port + stamp->flow)), check;
	uint64_t sum = template->sum;

	if (template->no_checksum) {
		check = 0;
	} else if (template->offload) {
		check = checksum_fold(sum);
		buf->csum_start = l4;
		buf->csum_offset = offsetof(struct udphdr, check);
		buf->flags = PKT_TX_L4_CSUM;
	} else {
		sum += port + (uint64_t)wire.magic + wire.run + wire.flow + wire.number_high +
		       wire.number_low;
		sum += (wire.time_ns & 0xffff) + (wire.time_ns >> 16 & 0xffff) +
		       (wire.time_ns >> 32 & 0xffff) + (wire.time_ns >> 48);
		check = checksum_finish(sum);
		if (!check)
			check = 0xffff; /* 0 would mean: none (RFC 768) */
	}
	memcpy(buf->data + l4, &port, sizeof(port));
	memcpy(buf->data + l4 + offsetof(struct udphdr, check), &check, sizeof(check));
	memcpy(buf->data + template->stamp_offset, &wire, sizeof(wire));
	buf->size = buf->frame_size = template->size;
}

bool frame_read_stamp(const uint8_t *frame, size_t size, struct frame_stamp *stamp)
{
	struct stamp_wire wire;
	size_t l3 = sizeof(struct ether_header), l4;
	uint16_t type;

	if (size < frame_shortest(false))
		return false;
	memcpy(&type, frame + offsetof(struct ether_header, ether_type), sizeof(type));
	if (type == htons(ETHERTYPE_IP)) {
		if (frame[l3] != (4 << 4 | sizeof(struct iphdr) / 4) ||
			frame[l3 + offsetof(struct iphdr, protocol)] != IPPROTO_UDP)
			return false;
		l4 = l3 + sizeof(struct iphdr);
	} else {
		if (type != htons(ETHERTYPE_IPV6) || size < frame_shortest(true) || frame[l3] >> 4 != 6 ||
			frame[l3 + offsetof(struct ip6_hdr, ip6_nxt)] != IPPROTO_UDP)
			return false;
		l4 = l3 + sizeof(struct ip6_hdr);
	}
	memcpy(&wire, frame + l4 + sizeof(struct udphdr), sizeof(wire));
	if (wire.magic != htons(MAGIC))
		return false;
	stamp->run = ntohs(wire.run);
	stamp->flow = ntohs(wire.flow);
	stamp->number = (uint32_t)ntohs(wire.number_high) << 16 | ntohs(wire.number_low);
	stamp->time_ns = be64toh(wire.time_ns);
	return true;
}

bool frame_checksum_right(const struct pkt_buf *frame)
{
	const size_t l3 = sizeof(struct ether_header);
	const uint8_t *ip = frame->data + l3;
	bool ipv6 = *ip >> 4 == 6;
	size_t l4 = head_size(ipv6) - sizeof(struct udphdr), addresses;
	struct udphdr udp;
	uint64_t sum;
	uint32_t left;

	memcpy(&udp, frame->data + l4, sizeof(udp));
	left = ntohs(udp.len);
	if (!udp.check && !ipv6)
		return true;
	if (left < sizeof(udp) || left > frame->frame_size - l4)
		return false;
	addresses = ipv6 ? offsetof(struct ip6_hdr, ip6_src) : offsetof(struct iphdr, saddr);
	sum = ipv6 ? checksum_pseudo6(ip + addresses, ip + addresses + 16, IPPROTO_UDP, left)
		   : checksum_pseudo4(ip + addresses, ip + addresses + 4, IPPROTO_UDP, left);
	for (const struct pkt_buf *buf = frame; buf && left; buf = buf->next, l4 = 0) {
		uint32_t part = buf->size - (uint32_t)l4 < left ? buf->size - (uint32_t)l4 : left;

		if (part % 2 && part < left)
			return true; /* a sum does not go on from an odd place: not judged */
		sum = checksum_add(sum, buf->data + l4, part);
		left -= part;
	}
	return checksum_finish(sum) == 0;
}
