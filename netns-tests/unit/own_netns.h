/*
 * A network namespace of the test's own, in which it may make interfaces without anybody noticing; and what
 * a test does there.
 */
#ifndef UNIT_OWN_NETNS_H
#define UNIT_OWN_NETNS_H

#include <arpa/inet.h>
#include <fcntl.h>
#include <grp.h>
#include <linux/if_packet.h>
#include <net/ethernet.h>
#include <net/if.h>
#include <poll.h>
#include <sched.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

/* An experimental EtherType (IEEE 802 local experimental 1): nobody but the test uses it. */
#define TEST_ETHERTYPE 0x88b5

/* Move the test program into a fresh namespace. False if that is not permitted: skip the tests then. */
static inline bool own_netns(void)
{
	int fd;

	if (unshare(CLONE_NEWNET) < 0)
		return false;
	/* No router solicitations and the like: frames are the test's or nobody's. */
	fd = open("/proc/sys/net/ipv6/conf/default/disable_ipv6", O_WRONLY | O_CLOEXEC);
	if (fd >= 0) {
		if (write(fd, "1", 1) < 0)
			perror("disable_ipv6");
		close(fd);
	}
	return access("/dev/net/tun", R_OK | W_OK) == 0;
}

/* Run a command; true if it succeeded. */
static inline bool shell(const char *format, ...) __attribute__((format(printf, 1, 2)));
static inline bool shell(const char *format, ...)
{
	char command[256];
	va_list args;

	va_start(args, format);
	vsnprintf(command, sizeof(command), format, args);
	va_end(args);
	return system(command) == 0;
}

/*
 * Do something in a child process without any privilege, as user and group NOBODY. Returns its result, 0 to 255;
 * -1 if it crashed.
 */
#define NOBODY 65534
static inline int as_nobody(int (*work)(void *), void *arg)
{
	pid_t pid = fork();
	int status;

	if (pid == 0) {
		if (setgroups(0, NULL) < 0 || setgid(NOBODY) < 0 || setuid(NOBODY) < 0)
			_exit(255);
		_exit(work(arg));
	}
	if (pid < 0 || waitpid(pid, &status, 0) != pid || !WIFEXITED(status))
		return -1;
	return WEXITSTATUS(status);
}

/* A packet socket on an interface, for TEST_ETHERTYPE only, so that it does not see strangers. */
static inline int packet_socket(const char *ifname)
{
	int fd = socket(AF_PACKET, SOCK_RAW | SOCK_CLOEXEC, htons(TEST_ETHERTYPE));
	struct sockaddr_ll address = {
		.sll_family = AF_PACKET,
		.sll_protocol = htons(TEST_ETHERTYPE),
		.sll_ifindex = (int)if_nametoindex(ifname),
	};

	if (fd >= 0 && bind(fd, (struct sockaddr *)&address, sizeof(address)) < 0) {
		close(fd);
		return -1;
	}
	return fd;
}

/* Wait, at most two seconds, until fd is readable. */
static inline bool readable(int fd)
{
	struct pollfd p = {.fd = fd, .events = POLLIN};

	return poll(&p, 1, 2000) == 1;
}

/* A broadcast frame of TEST_ETHERTYPE whose other bytes count upwards. */
static inline void fill_frame(uint8_t *data, size_t size)
{
	for (size_t i = 0; i < size; i++)
		data[i] = i < 6 ? 0xff : (uint8_t)(i * 7 + i / 256);
	data[6] = 2; /* a unicast source */
	data[12] = TEST_ETHERTYPE >> 8;
	data[13] = TEST_ETHERTYPE & 0xff;
}

#endif
