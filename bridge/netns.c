/* Network namespaces by setns(2), which moves one thread only. See netns.h. */
#include "bridge/netns.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/nsfs.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sysexits.h>
#include <unistd.h>

#include "bridge/log.h"

static const char own[] = "/proc/thread-self/ns/net";

int netns_open(const char *name)
{
	char path[PATH_MAX];
	int fd;

	snprintf(path, sizeof(path), "%s%s", strchr(name, '/') ? "" : "/run/netns/", name);
	fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK); /* a FIFO would wait for its writer */
	if (fd >= 0) {
		if (ioctl(fd, NS_GET_NSTYPE) == CLONE_NEWNET)
			return fd;
		close(fd);
		log_error("network namespace %s: this is something else: ip netns list shows those there are",
			path);
		return -EX_CONFIG;
	}
	switch (errno) {
	case ENOENT:
		if (strchr(name, '/'))
			log_error("network namespace %s: there is no such file: ls -l %s", name, name);
		else
			log_error("network namespace %s: there is none: ip netns add %s", name, name);
		return -EX_CONFIG;
	case EACCES:
	case EPERM: log_error("network namespace %s: not permitted: run as root", path); return -EX_NOPERM;
	default: log_error("network namespace %s: %m", path); return -EX_CONFIG;
	}
}

int netns_enter(int netns, int *home)
{
	int err;

	*home = -1;
	if (netns < 0)
		return 0;
	*home = open(own, O_RDONLY | O_CLOEXEC);
	if (*home < 0)
		return -errno;
	if (setns(netns, CLONE_NEWNET) == 0)
		return 0;
	err = errno;
	close(*home);
	*home = -1;
	return -err;
}

void netns_leave(int home)
{
	if (home < 0)
		return;
	if (setns(home, CLONE_NEWNET) < 0) {
		log_error("cannot return to the own network namespace: %m");
		exit(EXIT_FAILURE);
	}
	close(home);
}
