/* Listening AF_UNIX stream sockets. */
#ifndef SOFTNIC_UNIX_LISTEN_H
#define SOFTNIC_UNIX_LISTEN_H

/*
 * A non-blocking, close-on-exec socket that listens at path. A stale socket file is replaced, a live one or
 * any other file refused. -1 with a message on stderr. The caller unlinks path when it closes the socket.
 */
int unix_listen(const char *path);

#endif
