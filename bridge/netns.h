/* Visit a network namespace: what is opened during the visit (sockets, interfaces) belongs to it for good. */
#ifndef BRIDGE_NETNS_H
#define BRIDGE_NETNS_H

/*
 * Open a namespace by its name (as `ip netns` knows it) or by a path.
 * Returns a descriptor, which the caller closes; or the negative exit code that fits, having logged why.
 */
int netns_open(const char *name);

/*
 * Move this thread into the namespace; *home receives what netns_leave() needs. netns -1: stay here, which,
 * unlike a visit, needs no privilege. Returns 0, or a negative errno.
 */
int netns_enter(int netns, int *home);

/* Back again. There is no way on for a thread in the wrong namespace, so a failure here ends the program. */
void netns_leave(int home);

#endif
