/* Touching frames; see touch.h. */
#include "contrib/apps/fwd/touch.h"

#include <net/ethernet.h>
#include <netinet/ip.h>
#include <netinet/ip6.h>
#include <stddef.h>
#include <string.h>

#include "contrib/apps/app_frame.h"
#include "driver/checksum.h"

static void read_all(struct touched *touched, const struct pkt_buf *frame)
{
	for (const struct pkt_buf *buf = frame; buf; buf = buf->next) {
		touched->sum = checksum_add(touched->sum, buf->data, buf->size);
		touched->bytes += buf->size;
	}
}

static void swap_macs(struct pkt_buf *frame)
{
	if (frame->size >= ETH_HLEN)
		app_swap(frame->data, frame->data + ETH_ALEN, ETH_ALEN);
}

/* By bytes: behind an Ethernet header nothing is aligned. */
static void one_hop(struct pkt_buf *frame)
{
	uint16_t type = 0, before, after, check;
	size_t offset = app_network_header(frame, &type);
	uint8_t *ip = frame->data + offset;
	uint8_t *ttl = ip + offsetof(struct iphdr, ttl), *hop_limit = ip + offsetof(struct ip6_hdr, ip6_hlim);

	if (type == ETHERTYPE_IPV6 && frame->size >= offset + sizeof(struct ip6_hdr))
		*hop_limit -= *hop_limit > 1;
	if (type != ETHERTYPE_IP || frame->size < offset + sizeof(struct iphdr) || *ttl <= 1)
		return;
	/* The word that TTL and protocol are. */
	memcpy(&before, ttl, sizeof(before));
	--*ttl;
	memcpy(&after, ttl, sizeof(after));
	memcpy(&check, ip + offsetof(struct iphdr, check), sizeof(check));
	check = app_change_checksum(check, before, after);
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
