/* The sending half of sd_notify(3), so that the daemon needs no libsystemd. See notify.h. */
#include "bridge/notify.h"

#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "bridge/log.h"

void notify(const char *state)
{
	const char *path = getenv("NOTIFY_SOCKET");
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	socklen_t size;
	int fd;

	if (!path || !*path)
		return;
	size_t length = strlen(path);

	if (length >= sizeof(address.sun_path)) {
		log_warning("NOTIFY_SOCKET is longer than a socket's name can be; the service manager is not "
			    "told");
		return;
	}
	memcpy(address.sun_path, path, length);
	if (path[0] == '@') /* an abstract socket */
		address.sun_path[0] = '\0';
	size = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + length);

	fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	if (fd < 0 || sendto(fd, state, strlen(state), MSG_NOSIGNAL | MSG_DONTWAIT,
			      (struct sockaddr *)&address, size) < 0)
		log_warning("%s: the service manager cannot be told: %m", path);
	if (fd >= 0)
		close(fd);
}
