/*
 * Touching frames; see touch.h. Headers are looked at in the first buffer only: a NIC splits no frame there.
 */
#include "contrib/apps/fwd/touch.h"

#include <net/ethernet.h>
#include <netinet/ip.h>
#include <netinet/ip6.h>
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

static void one_hop(struct pkt_buf *frame)
{
	uint16_t type = 0;
	size_t offset = network_header(frame, &type);

	if (type == ETHERTYPE_IPV6 && frame->size >= offset + sizeof(struct ip6_hdr)) {
		struct ip6_hdr *ip = (struct ip6_hdr *)(void *)(frame->data + offset);

		ip->ip6_hlim -= ip->ip6_hlim > 1;
	} else if (type == ETHERTYPE_IP && frame->size >= offset + sizeof(struct iphdr)) {
		struct iphdr *ip = (struct iphdr *)(void *)(frame->data + offset);
		uint16_t old_word, new_word, check;

		if (ip->ttl <= 1)
			return;
		/* RFC 1624, eqn. 3: HC' = ~(~HC + ~m + m'), of the word that TTL and protocol are. */
		memcpy(&old_word, &ip->ttl, sizeof(old_word));
		ip->ttl--;
		memcpy(&new_word, &ip->ttl, sizeof(new_word));
		memcpy(&check, &ip->check, sizeof(check));
		check = checksum_finish((uint64_t)(uint16_t)~check + (uint16_t)~old_word + new_word);
		memcpy(&ip->check, &check, sizeof(check));
	}
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
