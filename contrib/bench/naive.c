/*
 * naive WIRE IFNAME: the simplest thing that backs an interface with a wire, and the peer that a clever daemon
 * has to beat: a packet socket on WIRE, a tap called IFNAME, and a copy of each frame from one to the other.
 */
#include <arpa/inet.h>
#include <err.h>
#include <errno.h>
#include <fcntl.h>
#include <net/ethernet.h>
#include <net/if.h>
#include <poll.h>
#include <stdio.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>
#include <linux/if_packet.h>
#include <linux/if_tun.h>

#define BURST     64 /* frames of one direction before the other gets its turn */
#define MAX_FRAME 65536

static void copy_burst(int from, int to)
{
	static char frame[MAX_FRAME];

	for (int i = 0; i < BURST; i++) {
		ssize_t size = read(from, frame, sizeof(frame));

		/* Neither a full queue nor an interface that is down is a reason to end. */
		if (size <= 0 || (write(to, frame, (size_t)size) < 0 && errno == EBADFD))
			return;
	}
}

int main(int argc, char *argv[])
{
	struct sockaddr_ll wire = {.sll_family = AF_PACKET, .sll_protocol = htons(ETH_P_ALL)};
	struct ifreq tap = {.ifr_flags = IFF_TAP | IFF_NO_PI};
	struct packet_mreq promisc = {.mr_type = PACKET_MR_PROMISC};
	int one = 1;
	struct pollfd fds[2] = {{.events = POLLIN}, {.events = POLLIN}};

	if (argc != 3)
		errx(2, "usage: naive WIRE IFNAME");
	wire.sll_ifindex = promisc.mr_ifindex = (int)if_nametoindex(argv[1]);
	snprintf(tap.ifr_name, sizeof(tap.ifr_name), "%s", argv[2]);
	fds[0].fd = socket(AF_PACKET, SOCK_RAW | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	fds[1].fd = open("/dev/net/tun", O_RDWR | O_NONBLOCK | O_CLOEXEC);
	if (fds[0].fd < 0 ||
		setsockopt(fds[0].fd, SOL_PACKET, PACKET_IGNORE_OUTGOING, &one, sizeof(one)) < 0 ||
		setsockopt(fds[0].fd, SOL_PACKET, PACKET_ADD_MEMBERSHIP, &promisc, sizeof(promisc)) < 0 ||
		bind(fds[0].fd, (struct sockaddr *)&wire, sizeof(wire)) < 0)
		err(1, "packet socket on %s", argv[1]);
	if (fds[1].fd < 0 || ioctl(fds[1].fd, TUNSETIFF, &tap) < 0)
		err(1, "tap %s", argv[2]);
	puts("ready");
	fflush(stdout);
	while (poll(fds, 2, -1) >= 0 || errno == EINTR) {
		copy_burst(fds[0].fd, fds[1].fd);
		copy_burst(fds[1].fd, fds[0].fd);
	}
	err(1, "poll");
}
