/*
 * Send UDP datagrams at a rate to an address, past the kernel's stack: headers, checksums and the receiver's MAC
 * address are this program's own business.
 *
 * Each datagram begins with its number (64 bits, network order). A frame's headers are written once; from datagram
 * to datagram only the number and what it does to the checksum change.
 */
#include <arpa/inet.h>
#include <endian.h>
#include <errno.h>
#include <net/ethernet.h>
#include <net/if.h>
#include <net/if_arp.h>
#include <netinet/ip.h>
#include <netinet/udp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <time.h>
#include <unistd.h>

#include "contrib/apps/app.h"
#include "driver/checksum.h"
#include "driver/xdp/xsk.h"

#define FRAMES    4096
#define MAX_BATCH 64
#define SECOND    UINT64_C(1000000000)

static uint64_t count, rate, size = 60, queue, to_port = 9, from_port = 9;
static const char *to_text, *from_text, *mac_text;

static const struct app_option options[] = {
	{'a', "to", "ADDRESS", "IPv4 address to send to", APP_TEXT, &to_text, 0, 0, NULL},
	{'p', "port", "N", "UDP port to send to", APP_NUMBER, &to_port, 1, 65535, NULL},
	{'f', "from", "ADDRESS", "source address (default: the interface's)", APP_TEXT, &from_text, 0, 0,
		NULL},
	{0, "from-port", "N", "source port", APP_NUMBER, &from_port, 1, 65535, NULL},
	{'M', "mac", "MAC", "the receiver's (default: what the kernel knows)", APP_TEXT, &mac_text, 0, 0,
		NULL},
	{'n', "count", "N", "datagrams to send, 0 for no end", APP_NUMBER, &count, 0, 0, NULL},
	{'r', "rate", "N", "datagrams a second, as in 500k; 0 for as many as go", APP_NUMBER, &rate, 0,
		1000000000, NULL},
	{'s', "size", "BYTES", "a frame, without CRC", APP_SIZE, &size, 60, 1514, NULL},
	{'q', "queue", "N", "queue of the interface", APP_NUMBER, &queue, 0, 1023, NULL},
	APP_COMMON_OPTIONS,
};

static const struct app app = {
	.about = "Send numbered UDP datagrams.",
	.arguments = "IFNAME",
	.least = 1,
	.most = 1,
	.example = "--to 192.0.2.2 --rate 100k --count 1M eth1",
	.options = options,
};

struct datagram {
	struct ether_header ethernet;
	struct iphdr ip;
	struct udphdr udp;
	uint64_t number;
} __attribute__((packed));

static struct app_rate sent = {.name = "sent"}, *rates[] = {&sent, NULL};

/* --- who to whom ---------------------------------------------------------------------------------------- */

__attribute__((noreturn)) static void give_up(const char *ifname, const char *what)
{
	fprintf(stderr, "sendudp: %s: %s\n", ifname, what);
	exit(1);
}

static in_addr_t address(const char *text)
{
	struct in_addr in;

	if (!text || inet_pton(AF_INET, text, &in) != 1)
		give_up(text ? text : "--to", "not an IPv4 address");
	return in.s_addr;
}

/* The interface's own addresses, and the kernel's neighbour table where --mac does not say it. */
static void find_addresses(const char *ifname, struct datagram *datagram)
{
	int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	struct ifreq request = {0};
	struct arpreq neighbour = {0};
	struct sockaddr_in in = {.sin_family = AF_INET};
	uint8_t *mac = datagram->ethernet.ether_dhost;
	char rest;

	snprintf(request.ifr_name, sizeof(request.ifr_name), "%s", ifname);
	if (fd < 0 || ioctl(fd, SIOCGIFHWADDR, &request) < 0)
		give_up(ifname, "no such interface");
	memcpy(datagram->ethernet.ether_shost, request.ifr_hwaddr.sa_data, ETH_ALEN);

	if (from_text) {
		datagram->ip.saddr = address(from_text);
	} else {
		request.ifr_addr.sa_family = AF_INET;
		if (ioctl(fd, SIOCGIFADDR, &request) < 0)
			give_up(ifname, "has no IPv4 address: use --from");
		memcpy(&in, &request.ifr_addr, sizeof(in));
		datagram->ip.saddr = in.sin_addr.s_addr;
	}

	datagram->ip.daddr = in.sin_addr.s_addr = address(to_text);
	if (mac_text) {
		if (sscanf(mac_text, "%2hhx:%2hhx:%2hhx:%2hhx:%2hhx:%2hhx%c", &mac[0], &mac[1], &mac[2],
			    &mac[3], &mac[4], &mac[5], &rest) != 6)
			give_up(mac_text, "not a MAC address");
	} else {
		memcpy(&neighbour.arp_pa, &in, sizeof(in));
		snprintf(neighbour.arp_dev, sizeof(neighbour.arp_dev), "%s", ifname);
		if (ioctl(fd, SIOCGARP, &neighbour) < 0 || !(neighbour.arp_flags & ATF_COM))
			give_up(to_text,
				"the kernel does not know its MAC address: ping it first, or use --mac");
		memcpy(mac, neighbour.arp_ha.sa_data, ETH_ALEN);
	}
	close(fd);
}

/* --- the datagram --------------------------------------------------------------------------------------- */

static void fill_headers(struct datagram *datagram)
{
	uint16_t length = (uint16_t)(size - sizeof(datagram->ethernet));

	datagram->ethernet.ether_type = htons(ETHERTYPE_IP);
	datagram->ip.version = 4;
	datagram->ip.ihl = sizeof(datagram->ip) / 4;
	datagram->ip.tot_len = htons(length);
	datagram->ip.ttl = 64;
	datagram->ip.protocol = IPPROTO_UDP;
	datagram->ip.check = checksum_finish(checksum_add(0, &datagram->ip, sizeof(datagram->ip)));
	length -= (uint16_t)sizeof(datagram->ip);
	datagram->udp.source = htons((uint16_t)from_port);
	datagram->udp.dest = htons((uint16_t)to_port);
	datagram->udp.len = htons(length);
}

/* The payload behind the number is zero, so it is in no checksum. */
static void write_datagram(uint8_t *frame, struct datagram *datagram, uint64_t number)
{
	uint64_t sum = checksum_pseudo4(
		&datagram->ip.saddr, &datagram->ip.daddr, IPPROTO_UDP, ntohs(datagram->udp.len));

	datagram->number = htobe64(number);
	datagram->udp.check = 0;
	datagram->udp.check = checksum_finish(
		checksum_add(sum, &datagram->udp, sizeof(datagram->udp) + sizeof(datagram->number)));
	if (!datagram->udp.check)
		datagram->udp.check = 0xffff; /* 0 would mean: none (RFC 768) */
	memcpy(frame, datagram, sizeof(*datagram));
}

/* --- sending -------------------------------------------------------------------------------------------- */

/* How many are due by now. */
static uint64_t due(uint64_t started)
{
	uint64_t so_far = app_frames(&sent), all = UINT64_MAX;

	if (rate)
		all = (uint64_t)((double)(app_now() - started) * (double)rate / SECOND) + 1;
	if (count && all > count)
		all = count;
	return all > so_far ? all - so_far : 0;
}

static void send_some(struct xsk_socket *socket, struct datagram *datagram, uint64_t n)
{
	struct xsk_umem *umem = xsk_socket_umem(socket);
	struct xsk_queues *queues = xsk_socket_queues(socket);
	struct xdp_desc descs[MAX_BATCH];
	uint64_t frames[MAX_BATCH], number = app_frames(&sent), lost = 0;
	int result;

	xsk_frame_free_batch(umem, frames, xsk_complete(queues, frames, MAX_BATCH));
	n = xsk_frame_alloc_batch(umem, frames, n < MAX_BATCH ? (uint32_t)n : MAX_BATCH);
	for (uint64_t i = 0; i < n; i++) {
		descs[i] = xsk_frame_desc(umem, frames[i]);
		descs[i].len = (uint32_t)size;
		write_datagram(xsk_data(umem, &descs[i]), datagram, number + i);
	}
	if (n && app_check(xsk_transmit(socket, descs, (uint32_t)n)))
		app_count(&sent, n, n * size);
	else
		xsk_frame_free_batch(umem, frames, (uint32_t)n);
	result = xsk_num_transmitted(queues) ? xsk_flush_tx(socket, &lost) : 0;
	app_drop(&sent, lost);
	/* With the interface down, or gone, nothing goes for long; all other reasons pass. */
	if (result == -ENETDOWN || result == -ENXIO)
		app_check(result);
}

int main(int argc, char **argv)
{
	const char *ifname = *app_begin(&app, argc, argv);
	struct xsk_socket_config config = {
		.ifname = ifname, .queue_id = (uint32_t)queue, .flags = XSK_TX_ONLY};
	struct datagram datagram = {0};
	struct xsk_program *program;
	struct xsk_socket *socket;
	struct xsk_umem *umem;
	uint64_t started;

	find_addresses(ifname, &datagram);
	fill_headers(&datagram);
	app_check(xsk_umem_create(&(struct xsk_umem_config){.frames = FRAMES}, &umem));
	app_check(xsk_socket_open(umem, &config, &socket));
	program = app_program_to_send(socket, ifname);

	app_rates(rates);
	started = app_now();
	while (app_running() && (!count || app_frames(&sent) < count)) {
		uint64_t n = due(started);

		if (n)
			send_some(socket, &datagram, n);
		else
			usleep(rate > 10000 ? 50 : 1000);
	}
	/* The last ones are still in the ring, perhaps. */
	while (xsk_num_transmitted(xsk_socket_queues(socket)) && app_running())
		send_some(socket, &datagram, 0);
	app_end();
	xsk_program_free(program);
	xsk_socket_close(socket);
	app_check(xsk_umem_free(umem));
	return 0;
}
