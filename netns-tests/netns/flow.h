/*
 * Flows of the namespace tests: TCP connections and UDP datagrams between the two ends of the rig, both ends held
 * by the test itself. Every byte is a function of its place in the flow, so that whatever arrives is checked where
 * it arrives: nothing missing, doubled, moved or changed, and datagrams as long as they were sent.
 */
#ifndef NETNS_FLOW_H
#define NETNS_FLOW_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct tcp_flow {
	int from, to; /* sockets */
	uint16_t from_port, to_port;
	uint64_t sent, received; /* bytes */
};

/* Connect, from one namespace to an address (IPv4 or IPv6) of another one. */
void tcp_flow_open(struct tcp_flow *flow, const char *from, const char *to, const char *address);
/* Send so many bytes by each of these flows at once, from `from` to `to`, and wait until all have arrived. */
void tcp_flows_send(struct tcp_flow flows[], size_t count, uint64_t bytes);
/* So many times: a byte there, a byte back, each a packet of its own. */
void tcp_flow_ping_pong(struct tcp_flow *flow, unsigned times);
void tcp_flow_close(struct tcp_flow *flow);

struct udp_flow {
	int from, to;
	bool segment; /* send by UDP_SEGMENT: many datagrams a call; else a call a datagram */
	uint32_t sent, received;
};

/* segment: see above; coalesce: the receiver asks for UDP_GRO, many datagrams a call. */
void udp_flow_open(struct udp_flow *flow, const char *from, const char *to, const char *address, bool segment,
	bool coalesce);
/*
 * Send count datagrams of size bytes (1 or more, together less than 64 KiB), the last one shorter if size allows,
 * and wait until all have arrived: in order, each as long as it was.
 */
void udp_flow_send(struct udp_flow *flow, size_t size, unsigned count);
void udp_flow_close(struct udp_flow *flow);

#endif
