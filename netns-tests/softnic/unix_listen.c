/*
 * Listening on a path of the file system: a socket that a dead process left behind is replaced, anything else
 * that lies there is not touched.
 */
#include "unix_listen.h"

#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "log.h"

#define BACKLOG 8

/* True if path may be bound: nothing there, or (after it has been removed) a socket that nobody listens on. */
static bool clear_path(const struct sockaddr_un *address)
{
	struct stat st;
	if (lstat(address->sun_path, &st) < 0)
		return true;
	if (!S_ISSOCK(st.st_mode)) {
		softnic_error(
			"%s: exists and is not a socket: name another path, or remove it", address->sun_path);
		return false;
	}
	int probe = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	bool stale = probe >= 0 && connect(probe, (const struct sockaddr *)address, sizeof *address) < 0 &&
		     errno == ECONNREFUSED;
	if (probe >= 0)
		close(probe);
	if (!stale) {
		softnic_error("%s: another process serves this socket: end it, or name another path",
			address->sun_path);
		return false;
	}
	unlink(address->sun_path);
	return true;
}

int unix_listen(const char *path)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	size_t length = strlen(path);
	if (length == 0 || length >= sizeof address.sun_path) {
		softnic_error(
			"%s: a socket's path has 1 to %zu characters", path, sizeof address.sun_path - 1);
		return -1;
	}
	memcpy(address.sun_path, path, length);
	if (!clear_path(&address))
		return -1;
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	if (fd < 0 || bind(fd, (struct sockaddr *)&address, sizeof address) < 0 || listen(fd, BACKLOG) < 0) {
		softnic_error("%s: cannot listen: %s", path, strerror(errno));
		if (fd >= 0)
			close(fd);
		return -1;
	}
	return fd;
}

bool unix_stream(int fd)
{
	int domain = -1, type = -1;
	socklen_t size = sizeof domain;
	if (getsockopt(fd, SOL_SOCKET, SO_DOMAIN, &domain, &size) == 0 &&
		getsockopt(fd, SOL_SOCKET, SO_TYPE, &type, &size) == 0 && domain == AF_UNIX &&
		type == SOCK_STREAM)
		return true;
	softnic_error("fd:%d: not a connected AF_UNIX stream socket", fd);
	return false;
}
