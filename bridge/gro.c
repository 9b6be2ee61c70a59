#include "bridge/gro.h"

#include <netinet/in.h>
#include <stdbool.h>
#include <string.h>

#include "driver/checksum.h"

#define likely(x)   __builtin_expect(!!(x), 1)
#define unlikely(x) __builtin_expect(!!(x), 0)

#define ETH_HEADER   14
#define VLAN_TAG     4
#define IP4_HEADER   20
#define IP6_HEADER   40
#define TCP_HEADER   20
#define TCP_CSUM     16
#define UDP_HEADER   8
#define UDP_LENGTH   4
#define UDP_CSUM     6
#define IP_MAX       65535 /* a super-frame's IP total length */
#define FLOW_BUCKETS 64    /* one cache line of indices */
#define NO_FLOW      0xFF

/* Where things are in a frame that may be merged. Offsets and sizes in bytes. */
struct segment {
	uint8_t *l2, *l3, *l4;
	bool ipv6, udp;
	uint16_t headers; /* L2, L3 and L4 */
	uint16_t payload;
	uint32_t seq; /* TCP */
};

/* A super-frame that may still grow, or a frame that may become one. */
struct flow {
	struct segment first;
	struct pkt_buf *last; /* of the chain */
	uint32_t next_seq;
	uint32_t payload; /* of all segments */
	uint16_t segments;
	uint16_t slot; /* position among the frames that are left */
	bool pushed;   /* the last segment has PSH */
};

static uint16_t load16(const uint8_t *p)
{
	return (uint16_t)(p[0] << 8 | p[1]);
}

static uint32_t load32(const uint8_t *p)
{
	return (uint32_t)load16(p) << 16 | load16(p + 2);
}

static void store16(uint8_t *p, uint16_t value)
{
	p[0] = (uint8_t)(value >> 8);
	p[1] = (uint8_t)value;
}

/* OTHER: of no flow that is merged. ODD: perhaps of such a flow, and nothing is to be merged across it. */
enum kind { OTHER, ODD, SEGMENT };

/* IPv6 extension headers: TCP or UDP may be behind them. */
static bool is_extension(uint8_t protocol)
{
	return protocol == IPPROTO_HOPOPTS || protocol == IPPROTO_ROUTING || protocol == IPPROTO_FRAGMENT ||
	       protocol == IPPROTO_DSTOPTS || protocol == IPPROTO_AH;
}

/*
 * Find the headers. SEGMENT: TCP, or UDP where that is wanted, over IP without options, fragments or extension
 * headers, in which the lengths agree with the frame's: what flow a frame belongs to can be told then, whether
 * or not it can be merged.
 */
static enum kind parse(const struct pkt_buf *frame, bool udp, struct segment *s)
{
	uint32_t l3 = ETH_HEADER, total, l4_header;
	uint16_t type;
	uint8_t protocol;

	/* Every frame on a wire is as long as this, so headers up to UDP over IPv4 can be read. */
	if (frame->size < ETH_HEADER + VLAN_TAG + IP4_HEADER + TCP_HEADER)
		return OTHER;
	s->l2 = frame->data;
	type = load16(s->l2 + 12);
	if (type == 0x8100) {
		type = load16(s->l2 + 16);
		l3 += VLAN_TAG;
	}
	s->l3 = s->l2 + l3;
	if (likely(type == 0x0800)) {
		protocol = s->l3[9];
		if (s->l3[0] != 0x45 || load16(s->l3 + 6) & 0x3FFF)
			return protocol == IPPROTO_TCP || protocol == IPPROTO_UDP ? ODD : OTHER;
		s->ipv6 = false;
		total = load16(s->l3 + 2);
		s->l4 = s->l3 + IP4_HEADER;
	} else if (type == 0x86DD) {
		if (frame->size < l3 + IP6_HEADER + UDP_HEADER || s->l3[0] >> 4 != 6)
			return OTHER;
		s->ipv6 = true;
		protocol = s->l3[6];
		total = load16(s->l3 + 4) + (uint32_t)IP6_HEADER;
		s->l4 = s->l3 + IP6_HEADER;
	} else {
		return OTHER;
	}
	s->udp = protocol == IPPROTO_UDP;
	if (protocol == IPPROTO_TCP) {
		if ((uint32_t)(s->l4 - s->l2) + TCP_HEADER > frame->size)
			return ODD;
		l4_header = (uint32_t)(s->l4[12] >> 4) * 4;
		if (l4_header < TCP_HEADER)
			return ODD;
		s->seq = load32(s->l4 + 4);
	} else if (s->udp && udp) {
		l4_header = UDP_HEADER;
		s->seq = 0;
	} else {
		return s->ipv6 && is_extension(protocol) ? ODD : OTHER;
	}
	s->headers = (uint16_t)((uint32_t)(s->l4 - s->l2) + l4_header);
	if (s->headers > frame->size || l3 + total > frame->frame_size || s->headers > l3 + total)
		return ODD;
	s->payload = (uint16_t)(l3 + total - s->headers);
	return s->udp && load16(s->l4 + UDP_LENGTH) != UDP_HEADER + s->payload ? ODD : SEGMENT;
}

/*
 * Not a super-frame already; checksums verified (or the L4 one still to be completed, as a super-frame's is), payload,
 * no flag that stands for an event, nothing behind the payload but padding.
 */
static bool mergeable(const struct pkt_buf *frame, const struct segment *s)
{
	if (frame->flags & PKT_TX_SUPER || !(frame->flags & (PKT_RX_L4_CSUM_GOOD | PKT_TX_L4_CSUM)) ||
		!(s->ipv6 || frame->flags & PKT_RX_IP_CSUM_GOOD) || !s->payload ||
		(frame->segments != 1 && frame->frame_size != (uint32_t)s->headers + s->payload))
		return false;
	if (s->udp)
		return s->l4[UDP_CSUM] || s->l4[UDP_CSUM + 1]; /* 0: the sender computed none */
	/* ACK alone; PSH ends a super-frame, ECE must just be equal. */
	return (s->l4[13] & ~(0x08 | 0x40)) == 0x10 && !(s->l4[12] & 0x0F);
}

/* Addresses and ports, and on the way the Ethernet addresses, tags and types. */
static bool same_flow(const struct segment *a, const struct segment *b)
{
	size_t l2 = (size_t)(a->l3 - a->l2), addresses = a->ipv6 ? 8 : 12;

	return a->ipv6 == b->ipv6 && a->udp == b->udp && (size_t)(b->l3 - b->l2) == l2 &&
	       !memcmp(a->l2, b->l2, l2) && !memcmp(a->l3 + addresses, b->l3 + addresses, a->ipv6 ? 32 : 8) &&
	       !memcmp(a->l4, b->l4, 4);
}

/* Would cutting the super-frame give back this segment as its next one? */
static bool follows(const struct flow *flow, const struct segment *s)
{
	const struct segment *f = &flow->first;

	if (s->headers != f->headers || s->payload > f->payload || flow->pushed)
		return false;
	/* Acknowledgement; data offset and flags but PSH; window; urgent pointer and options. */
	if (!s->udp && (s->seq != flow->next_seq || memcmp(s->l4 + 8, f->l4 + 8, 5) ||
			       (s->l4[13] ^ f->l4[13]) & ~0x08 || memcmp(s->l4 + 14, f->l4 + 14, 2) ||
			       memcmp(s->l4 + 18, f->l4 + 18, (size_t)(f->l2 + f->headers - f->l4 - 18))))
		return false;
	if (f->ipv6) {
		if (memcmp(s->l3, f->l3, 4) || s->l3[7] != f->l3[7]) /* class, flow label; hop limit */
			return false;
	} else {
		uint16_t id = load16(s->l3 + 4), first_id = load16(f->l3 + 4);
		bool df = f->l3[6] & 0x40;

		if (s->l3[1] != f->l3[1] || s->l3[8] != f->l3[8] ||
			memcmp(s->l3 + 6, f->l3 + 6, 2)) /* TOS; TTL; DF */
			return false;
		if (id != (uint16_t)(first_id + flow->segments) && !(df && id == first_id))
			return false;
	}
	return (uint32_t)(f->headers - (f->l3 - f->l2)) + flow->payload + s->payload <= IP_MAX;
}

/* From the headers and not the NIC's hash: all frames of a flow must come here, or their order is lost. */
static unsigned bucket_of(const struct segment *s)
{
	uint32_t hash = load32(s->l4) ^ load32(s->l4 - 4) ^ load32(s->l4 - (s->ipv6 ? 20 : 8));

	return hash * 0x9E3779B1u >> 26;
}

_Static_assert(FLOW_BUCKETS == 1 << (32 - 26), "bucket_of() yields six bits");

static struct pkt_buf *last_of(struct pkt_buf *frame)
{
	while (frame->next)
		frame = frame->next;
	return frame;
}

static bool has_psh(const struct segment *s)
{
	return !s->udp && s->l4[13] & 0x08;
}

static void open_flow(struct flow *flow, struct pkt_buf *frame, const struct segment *s, uint32_t slot)
{
	flow->first = *s;
	flow->last = last_of(frame);
	flow->next_seq = s->seq + s->payload;
	flow->payload = s->payload;
	flow->segments = 1;
	flow->slot = (uint16_t)slot;
	flow->pushed = has_psh(s);
}

/* Hang the payload of frame on the super-frame. Padding behind a payload goes. */
static void append(struct flow *flow, struct pkt_buf *super, struct pkt_buf *frame, const struct segment *s)
{
	if (flow->segments == 1 && super->segments == 1)
		super->size = super->frame_size = (uint32_t)flow->first.headers + flow->first.payload;
	if (frame->segments == 1)
		frame->size = (uint32_t)s->headers + s->payload;
	frame->data += s->headers;
	frame->size -= s->headers;
	flow->last->next = frame;
	flow->last = last_of(frame);
	super->segments += frame->segments;
	super->frame_size += s->payload;
	flow->payload += s->payload;
	flow->next_seq += s->payload;
	flow->segments++;
	flow->pushed = has_psh(s);
}

/* Nothing follows any more: let the headers speak of the whole, and leave the checksum to whoever cuts. */
static void close_flow(struct flow *flow, struct pkt_buf *super)
{
	const struct segment *f = &flow->first;
	const uint8_t protocol = f->udp ? IPPROTO_UDP : IPPROTO_TCP;
	uint32_t l4_size = (uint32_t)(f->l2 + f->headers - f->l4) + flow->payload;
	uint16_t sum;

	if (flow->segments == 1)
		return;
	if (f->ipv6) {
		store16(f->l3 + 4, (uint16_t)l4_size);
		sum = checksum_fold(checksum_pseudo6(f->l3 + 8, f->l3 + 24, protocol, l4_size));
	} else {
		store16(f->l3 + 2, (uint16_t)(IP4_HEADER + l4_size));
		store16(f->l3 + 10, 0);
		sum = checksum_finish(checksum_add(0, f->l3, IP4_HEADER));
		memcpy(f->l3 + 10, &sum, sizeof(sum));
		sum = checksum_fold(checksum_pseudo4(f->l3 + 12, f->l3 + 16, protocol, l4_size));
	}
	super->csum_offset = f->udp ? UDP_CSUM : TCP_CSUM;
	memcpy(f->l4 + super->csum_offset, &sum, sizeof(sum));
	if (f->udp)
		store16(f->l4 + UDP_LENGTH, (uint16_t)l4_size);
	if (flow->pushed)
		f->l4[13] |= 0x08;
	super->flags |= PKT_TX_L4_CSUM | (f->udp ? PKT_TX_USO : f->ipv6 ? PKT_TX_TSO6 : PKT_TX_TSO4);
	super->gso_size = f->payload;
	super->header_size = f->headers;
	super->csum_start = (uint16_t)(f->l4 - f->l2);
}

static void close_all(struct flow flows[], uint8_t open[], struct pkt_buf *frames[])
{
	for (unsigned bucket = 0; bucket < FLOW_BUCKETS; bucket++) {
		if (open[bucket] != NO_FLOW)
			close_flow(&flows[bucket], frames[flows[bucket].slot]);
		open[bucket] = NO_FLOW;
	}
}

uint32_t gro_burst(struct pkt_buf *frames[], uint32_t count, bool udp)
{
	struct flow flows[FLOW_BUCKETS];
	uint8_t open[FLOW_BUCKETS]; /* bucket in use: its own number, else NO_FLOW */
	uint32_t left = 0;

	if (count < 2)
		return count;
	/*
	 * We are the first of this CPU to look at the headers. With 64-byte frames, waiting for one after the other took
	 * 4 % of all that the daemon does.
	 */
	for (uint32_t i = 0; i < count; i++)
		__builtin_prefetch(frames[i]->data);
	memset(open, NO_FLOW, sizeof(open));
	for (uint32_t i = 0; i < count; i++) {
		struct pkt_buf *frame = frames[i];
		struct segment s;

		enum kind kind = parse(frame, udp, &s);

		if (kind != SEGMENT) {
			if (kind == ODD)
				close_all(flows, open, frames);
			frames[left++] = frame;
			continue;
		}
		unsigned bucket = bucket_of(&s);
		struct flow *flow = &flows[bucket];
		bool can_merge = mergeable(frame, &s);

		if (open[bucket] != NO_FLOW) {
			struct pkt_buf *super = frames[flow->slot];

			if (can_merge && same_flow(&flow->first, &s) && follows(flow, &s)) {
				append(flow, super, frame, &s);
				if (s.payload == flow->first.payload)
					continue;
				close_flow(flow, super); /* a short one is the last */
				open[bucket] = NO_FLOW;
				continue;
			}
			/* Its successor, or another flow with the same bucket: either way, order is kept. */
			close_flow(flow, super);
			open[bucket] = NO_FLOW;
		}
		if (can_merge) {
			open_flow(flow, frame, &s, left);
			open[bucket] = (uint8_t)bucket;
		}
		frames[left++] = frame;
	}
	close_all(flows, open, frames);
	return left;
}
