/*
 * The interrupt side of busy polling: how long the kernel leaves a queue to the sockets that poll it before it turns
 * to interrupts again. Two numbers of the interface, in sysfs (Documentation/networking/napi.rst, "IRQ mitigation").
 */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <net/if.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "driver/error.h"
#include "driver/xdp/xsk.h"

static int open_number(const char *ifname, const char *name, int how)
{
	char path[IF_NAMESIZE + 64];
	int fd;

	snprintf(path, sizeof(path), "/sys/class/net/%s/%s", ifname, name);
	fd = open(path, how | O_CLOEXEC);
	return fd < 0 ? ixy_fail(errno, "%s: %s", path, strerror(errno)) : fd;
}

static int read_number(const char *ifname, const char *name, uint32_t *number)
{
	int fd = open_number(ifname, name, O_RDONLY);
	char text[32] = "";
	ssize_t n;

	if (fd < 0)
		return fd;
	n = read(fd, text, sizeof(text) - 1);
	close(fd);
	if (n <= 0)
		return ixy_fail(EIO, "%s: %s cannot be read", ifname, name);
	*number = (uint32_t)strtoul(text, NULL, 10);
	return 0;
}

static int write_number(const char *ifname, const char *name, uint32_t number)
{
	int fd = open_number(ifname, name, O_WRONLY), error;
	ssize_t n;

	if (fd < 0)
		return fd;
	n = dprintf(fd, "%" PRIu32 "\n", number);
	error = errno;
	close(fd);
	return n < 0 ? ixy_fail(error, "%s: %s cannot be %" PRIu32 ": %s", ifname, name, number,
			       strerror(error))
		     : 0;
}

int xsk_defer_interrupts(const char *ifname, const struct xsk_deferral *deferral, struct xsk_deferral *before)
{
	static const char rounds[] = "napi_defer_hard_irqs", timeout[] = "gro_flush_timeout";
	struct xsk_deferral was;
	struct ixy_error error;
	int rc;

	/* A name with a slash would lead elsewhere in sysfs. */
	if (!ifname || !if_nametoindex(ifname))
		return ixy_fail(ENODEV, "no interface %s", ifname ? ifname : "(no name)");
	if ((rc = read_number(ifname, rounds, &was.rounds)) < 0 ||
		(rc = read_number(ifname, timeout, &was.timeout_ns)) < 0 ||
		(rc = write_number(ifname, rounds, deferral->rounds)) < 0)
		return rc;
	rc = write_number(ifname, timeout, deferral->timeout_ns);
	if (rc < 0) {
		ixy_error_save(&error);
		write_number(ifname, rounds, was.rounds);
		ixy_error_restore(&error);
		return rc;
	}
	if (before)
		*before = was;
	return 0;
}
