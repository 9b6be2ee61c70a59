/* An address of a network interface: one that has any is in use, and is not taken away unasked. Any thread. */
#ifndef IXY_IFADDR_H
#define IXY_IFADDR_H

#include <stdbool.h>
#include <stddef.h>

/*
 * Find an IPv4 or IPv6 address of the interface and write it as text (size bytes; 256 are always enough). False if it has
 * none, or is down. link_local: those that the kernel gives an interface by itself (fe80::/10) count, too.
 */
bool ifaddr_find(const char *interface, bool link_local, char *text, size_t size);

#endif
