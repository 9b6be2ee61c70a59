/* AF_UNIX stream sockets: listening ones, and those that a starter hands over. */
#ifndef SOFTNIC_UNIX_LISTEN_H
#define SOFTNIC_UNIX_LISTEN_H

#include <stdbool.h>

/*
 * A non-blocking, close-on-exec socket that listens at path. A stale socket file is replaced, a live one or
 * any other file refused. -1 with a message on stderr. The caller unlinks path when it closes the socket.
 */
int unix_listen(const char *path);

/* True if the inherited descriptor fd is an AF_UNIX stream socket; else false with a message on stderr. */
bool unix_stream(int fd);

#endif
