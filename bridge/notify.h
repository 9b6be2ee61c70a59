/*
 * Tell the service manager how we are (sd_notify(3)'s protocol: a datagram to the socket in NOTIFY_SOCKET).
 */
#ifndef BRIDGE_NOTIFY_H
#define BRIDGE_NOTIFY_H

/* state: newline-separated assignments, "READY=1\nSTATUS=...". Does nothing where no manager listens. */
void notify(const char *state);

#endif
