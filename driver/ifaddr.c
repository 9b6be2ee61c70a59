/* An interface's address, from the list that the system has. See ifaddr.h. */
#include "driver/ifaddr.h"

#include <ifaddrs.h>
#include <net/if.h>
#include <netdb.h>
#include <netinet/in.h>
#include <string.h>
#include <sys/socket.h>

/* The bytes of an address that counts; 0: it does not. */
static socklen_t address_length(const struct sockaddr *address, bool link_local)
{
	if (!address)
		return 0;
	if (address->sa_family == AF_INET)
		return sizeof(struct sockaddr_in);
	if (address->sa_family != AF_INET6)
		return 0;
	if (!link_local &&
		IN6_IS_ADDR_LINKLOCAL(&((const struct sockaddr_in6 *)(const void *)address)->sin6_addr))
		return 0;
	return sizeof(struct sockaddr_in6);
}

bool ifaddr_find(const char *interface, bool link_local, char *text, size_t size)
{
	struct ifaddrs *list;
	bool found = false;

	if (getifaddrs(&list) < 0)
		return false;
	for (const struct ifaddrs *entry = list; entry && !found; entry = entry->ifa_next) {
		socklen_t length = address_length(entry->ifa_addr, link_local);

		if (length && entry->ifa_flags & IFF_UP && strcmp(entry->ifa_name, interface) == 0)
			found = getnameinfo(entry->ifa_addr, length, text, (socklen_t)size, NULL, 0,
					NI_NUMERICHOST) == 0;
	}
	freeifaddrs(list);
	return found;
}
