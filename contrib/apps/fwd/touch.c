/*
 * Touching frames; see touch.h. Headers are looked at in the first buffer only: a NIC splits no frame there.
 */
#include "contrib/apps/fwd/touch.h"

#include <net/ethernet.h>
#include <netinet/ip.h>
#include <netinet/ip6.h>
#include <stddef.h>
#include <string.h>

#include "driver/checksum.h"

#define VLAN_TAG       4
#define ETHERTYPE_QINQ 0x88A8 /* IEEE 802.1ad */

static void read_all(struct touched *touched, const struct pkt_buf *frame)
{
	for (const struct pkt_buf *buf = frame; buf; buf = buf->next) {
		touched->sum = checksum_add(touched->sum, buf->data, buf->size);
		touched->bytes += buf->size;
	}
}

static void swap_macs(struct pkt_buf *frame)
{
	uint8_t mac[ETH_ALEN];

	if (frame->size < ETH_HLEN)
		return;
	memcpy(mac, frame->data, ETH_ALEN);
	memcpy(frame->data, frame->data + ETH_ALEN, ETH_ALEN);
	memcpy(frame->data + ETH_ALEN, mac, ETH_ALEN);
}

/* Where the network header begins, behind up to two VLAN tags, and its EtherType. */
static size_t network_header(const struct pkt_buf *frame, uint16_t *ether_type)
{
	size_t offset = ETH_HLEN;

	for (int tags = 0;; tags++) {
		if (frame->size < offset)
			return 0;
		*ether_type = (uint16_t)(frame->data[offset - 2] << 8 | frame->data[offset - 1]);
		if ((*ether_type != ETHERTYPE_VLAN && *ether_type != ETHERTYPE_QINQ) || tags == 2)
			return offset;
		offset += VLAN_TAG;
	}
}

/* By bytes: behind an Ethernet header nothing is aligned. */
static void one_hop(struct pkt_buf *frame)
{
	uint16_t type = 0, before, after, check;
	size_t offset = network_header(frame, &type);
	uint8_t *ip = frame->data + offset;
	uint8_t *ttl = ip + offsetof(struct iphdr, ttl), *hop_limit = ip + offsetof(struct ip6_hdr, ip6_hlim);

	if (type == ETHERTYPE_IPV6 && frame->size >= offset + sizeof(struct ip6_hdr))
		*hop_limit -= *hop_limit > 1;
	if (type != ETHERTYPE_IP || frame->size < offset + sizeof(struct iphdr) || *ttl <= 1)
		return;
	/* RFC 1624, eqn. 3: HC' = ~(~HC + ~m + m'), of the word that TTL and protocol are. */
	memcpy(&before, ttl, sizeof(before));
	--*ttl;
	memcpy(&after, ttl, sizeof(after));
	memcpy(&check, ip + offsetof(struct iphdr, check), sizeof(check));
	check = checksum_finish((uint64_t)(uint16_t)~check + (uint16_t)~before + after);
	memcpy(ip + offsetof(struct iphdr, check), &check, sizeof(check));
}

void touch_frames(struct touched *touched, enum touch touch, struct pkt_buf *frames[], uint32_t count)
{
	for (uint32_t i = 0; i < count; i++) {
		switch (touch) {
		case TOUCH_NONE: return;
		case TOUCH_READ: read_all(touched, frames[i]); break;
		case TOUCH_MACS: swap_macs(frames[i]); break;
		case TOUCH_TTL: one_hop(frames[i]); break;
		}
	}
}
