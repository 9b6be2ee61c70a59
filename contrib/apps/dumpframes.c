/*
 * A line for each frame that comes to an interface: a small tcpdump on AF_XDP, and the example for programs that
 * take only some protocols and for several queues.
 *
 * There is one packet memory, and in it a socket for each queue of the interface; one XDP program steers them all.
 * What it takes does not reach the kernel's stack any more. That is why one says which protocol one wants: the
 * rest goes its usual way.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <net/ethernet.h>
#include <netinet/ip.h>
#include <netinet/ip6.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>
#include <time.h>

#include "contrib/apps/app.h"
#include "driver/xdp/xsk.h"

#define MAX_QUEUES 64
#define FRAMES     512 /* a queue */
#define BATCH      64

static uint64_t count, queue = UINT64_MAX;
static struct xsk_filter filters[XSK_PROGRAM_FILTERS];
static size_t filter_count;

static const struct {
	const char *name;
	struct xsk_filter filter;
} protocols[] = {
	{"arp", {ETHERTYPE_ARP, 0}},
	{"ipv4", {ETHERTYPE_IP, 0}},
	{"ipv6", {ETHERTYPE_IPV6, 0}},
	{"vlan", {ETHERTYPE_VLAN, 0}},
	{"icmp", {ETHERTYPE_IP, IPPROTO_ICMP}},
	{"icmp6", {ETHERTYPE_IPV6, IPPROTO_ICMPV6}},
	{"tcp", {0, IPPROTO_TCP}},
	{"udp", {0, IPPROTO_UDP}},
};

#define PROTOCOLS (sizeof(protocols) / sizeof(protocols[0]))

/* --protocol: a name, or the number of an EtherType as in 0x88b5. */
static bool add_protocol(const char *text)
{
	uint16_t type;
	char rest;
	size_t i = 0;

	if (filter_count == XSK_PROGRAM_FILTERS)
		return false;
	while (i < PROTOCOLS && strcasecmp(protocols[i].name, text))
		i++;
	if (i < PROTOCOLS)
		filters[filter_count++] = protocols[i].filter;
	else if (sscanf(text, "0x%4hx%c", &type, &rest) == 1)
		filters[filter_count++] = (struct xsk_filter){type, 0};
	else
		return false;
	return true;
}

static const struct app_option options[] = {
	{'p', "protocol", "PROTOCOL",
		"arp, ipv4, ipv6, vlan, icmp, icmp6, tcp, udp, or an EtherType as 0x88b5; several times",
		APP_CALL, NULL, 0, 0, add_protocol},
	{'n', "count", "N", "end after so many frames", APP_NUMBER, &count, 0, 0, NULL},
	{'q', "queue", "N", "this queue only", APP_NUMBER, &queue, 0, MAX_QUEUES - 1, NULL},
	APP_COMMON_OPTIONS,
};

static const struct app app = {
	.about = "Print a line for each frame that arrives. Such frames do not reach the kernel meanwhile; "
		 "all others do.",
	.arguments = "IFNAME",
	.least = 1,
	.most = 1,
	.example = "--protocol icmp --protocol arp eth1",
	.options = options,
};

/* --- what a line says ----------------------------------------------------------------------------------- */

static void print_mac(const uint8_t mac[6], const char *after)
{
	printf("%02x:%02x:%02x:%02x:%02x:%02x%s", mac[0], mac[1], mac[2], mac[3], mac[4], mac[5], after);
}

/* Ports, for the protocols that begin with them; or the protocol's number. */
static void print_transport(uint8_t protocol, const uint8_t *data, size_t size)
{
	const char *name = protocol == IPPROTO_TCP ? "TCP" : protocol == IPPROTO_UDP ? "UDP" : NULL;

	if (name && size >= 4)
		printf(" %s %u > %u", name, data[0] << 8 | data[1], data[2] << 8 | data[3]);
	else if (protocol == IPPROTO_ICMP || protocol == IPPROTO_ICMPV6)
		printf(" ICMP type %d", size ? data[0] : -1);
	else
		printf(" protocol %u", protocol);
}

static void print_addresses(int family, const void *from, const void *to)
{
	char a[INET6_ADDRSTRLEN], b[INET6_ADDRSTRLEN];

	printf("  %s > %s", inet_ntop(family, from, a, sizeof(a)), inet_ntop(family, to, b, sizeof(b)));
}

/* All lengths in a frame are somebody else's word. */
static void print_ipv4(const uint8_t *data, size_t size)
{
	struct iphdr ip;
	size_t header;

	if (size < sizeof(ip))
		return;
	memcpy(&ip, data, sizeof(ip));
	header = ip.ihl * 4u;
	print_addresses(AF_INET, &ip.saddr, &ip.daddr);
	if (header < sizeof(ip) || header > size)
		printf(" bad header length %zu", header);
	else if (ntohs(ip.frag_off) & IP_OFFMASK)
		printf(" later fragment");
	else
		print_transport(ip.protocol, data + header, size - header);
}

static void print_ipv6(const uint8_t *data, size_t size)
{
	struct ip6_hdr ip;

	if (size < sizeof(ip))
		return;
	memcpy(&ip, data, sizeof(ip));
	print_addresses(AF_INET6, &ip.ip6_src, &ip.ip6_dst);
	print_transport(ip.ip6_nxt, data + sizeof(ip), size - sizeof(ip));
}

/* data: the frame's first buffer, of size bytes; length: the whole frame. */
static void print_frame(uint32_t in_queue, const uint8_t *data, size_t size, size_t length)
{
	struct ether_header header;
	struct timespec now;
	struct tm local;

	clock_gettime(CLOCK_REALTIME, &now);
	localtime_r(&now.tv_sec, &local);
	printf("%02d:%02d:%02d.%06ld queue %u  ", local.tm_hour, local.tm_min, local.tm_sec,
		now.tv_nsec / 1000, in_queue);
	if (size < sizeof(header)) {
		printf("%zu bytes\n", length);
		return;
	}
	memcpy(&header, data, sizeof(header));
	print_mac(header.ether_shost, " > ");
	print_mac(header.ether_dhost, "  ");
	printf("%04x %zu bytes", ntohs(header.ether_type), length);
	if (header.ether_type == htons(ETHERTYPE_IP))
		print_ipv4(data + sizeof(header), size - sizeof(header));
	else if (header.ether_type == htons(ETHERTYPE_IPV6))
		print_ipv6(data + sizeof(header), size - sizeof(header));
	putchar('\n');
}

/* --- receiving ------------------------------------------------------------------------------------------ */

/* One queue. A long frame comes in several buffers, of which the first one is kept until the last is there. */
struct source {
	struct xsk_socket *socket;
	struct xdp_desc first;
	size_t length; /* so far; 0: between two frames */
};

static struct app_rate seen = {.name = "frames"};

static void open_source(struct source *source, struct xsk_umem *umem, const char *ifname, uint32_t id,
	bool long_frames, struct xsk_program *program)
{
	struct xsk_socket_config config = {.ifname = ifname,
		.queue_id = id,
		.flags = XSK_RX_ONLY | (long_frames ? XSK_MULTI_BUFFER : 0)};
	uint64_t frames[FRAMES];

	app_check(xsk_socket_open(umem, &config, &source->socket));
	app_check(xsk_fill(
		xsk_socket_queues(source->socket), frames, xsk_frame_alloc_batch(umem, frames, FRAMES)));
	app_check(xsk_program_register(program, id, xsk_socket_fd(source->socket)));
}

static bool enough(void)
{
	return count && app_frames(&seen) >= count;
}

static void receive_from(struct source *source)
{
	struct xsk_umem *umem = xsk_socket_umem(source->socket);
	struct xsk_queues *queues = xsk_socket_queues(source->socket);
	struct xdp_desc descs[BATCH];
	uint32_t n = xsk_receive(source->socket, descs, BATCH);

	for (uint32_t i = 0; i < n; i++) {
		bool first = !source->length, last = !(descs[i].options & XDP_PKT_CONTD);

		if (first)
			source->first = descs[i];
		source->length += descs[i].len;
		if (!first)
			app_check(xsk_fill_one(queues, descs[i].addr));
		if (!last)
			continue;
		if (!enough()) {
			print_frame(xsk_socket_queue_id(source->socket), xsk_data(umem, &source->first),
				source->first.len, source->length);
			app_count(&seen, 1, source->length);
		}
		app_check(xsk_fill_one(queues, source->first.addr));
		source->length = 0;
	}
}

int main(int argc, char **argv)
{
	const char *ifname = *app_begin(&app, argc, argv);
	struct source sources[MAX_QUEUES] = {0};
	struct pollfd fds[MAX_QUEUES];
	uint32_t first = queue == UINT64_MAX ? 0 : (uint32_t)queue, n = 1;
	struct xsk_features kernel;
	struct xsk_interface interface;
	struct xsk_program *program;
	struct xsk_umem *umem;

	app_check(xsk_probe(&kernel));
	app_check(xsk_probe_interface(ifname, &interface));
	if (queue == UINT64_MAX && interface.queues > 1)
		n = interface.queues < MAX_QUEUES ? interface.queues : MAX_QUEUES;
	app_check(xsk_umem_create(
		&(struct xsk_umem_config){.frame_size = app_frame_size(ifname), .frames = n * FRAMES},
		&umem));
	app_check(xsk_program_load(
		&(struct xsk_program_config){
			.filters = filters, .filter_count = filter_count, .frags = kernel.multi_buffer},
		&program));
	for (uint32_t i = 0; i < n; i++) {
		open_source(&sources[i], umem, ifname, first + i, kernel.multi_buffer, program);
		fds[i] = (struct pollfd){.fd = xsk_socket_fd(sources[i].socket), .events = POLLIN};
	}
	app_check(xsk_program_attach(program, ifname, XSK_ATTACH_AUTO));
	fprintf(stderr, "%s: %u queue%s, %s program\n", ifname, n, n > 1 ? "s" : "",
		xsk_attach_name(xsk_program_mode(program)));

	while (app_running() && !enough()) {
		poll(fds, n, 1000);
		for (uint32_t i = 0; i < n; i++)
			receive_from(&sources[i]);
	}
	fprintf(stderr, "%llu frames\n", (unsigned long long)app_frames(&seen));

	xsk_program_free(program);
	for (uint32_t i = 0; i < n; i++)
		xsk_socket_close(sources[i].socket);
	app_check(xsk_umem_free(umem));
	return 0;
}
