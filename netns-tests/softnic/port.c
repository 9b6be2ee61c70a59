/* A port's life: SOCKET=WIRE makes a NIC, the wire behind it and the vfio-user server before it. */
#include "port.h"

#include <errno.h>
#include <limits.h>
#include <net/if.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "log.h"

static struct vfio_server *serve(const char *where, struct nic *nic, struct ev_loop *loop)
{
	char *end;
	if (strncmp(where, "fd:", 3) != 0)
		return vfio_server_listen(where, nic, loop);
	errno = 0;
	unsigned long fd = strtoul(where + 3, &end, 10);
	if (errno || *end || where[3] < '0' || where[3] > '9' || fd > INT_MAX) {
		softnic_error("%s: no descriptor's number", where);
		return NULL;
	}
	return vfio_server_adopt((int)fd, nic, loop);
}

/*
 * An address for the port that the next start gives it again, and no other port on the same network has: from
 * the port's spec and, as names repeat in other namespaces, the address of the interface it is plugged into.
 */
static void derive_mac(const char *spec, const char *wire, uint8_t mac[6])
{
	uint64_t hash = UINT64_C(0xcbf29ce484222325); /* FNV-1a */
	struct ifreq ifr = {0};
	if (strncmp(wire, "dev:", 4) == 0 && strlen(wire + 4) < IFNAMSIZ) {
		int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
		memcpy(ifr.ifr_name, wire + 4, strlen(wire + 4));
		if (fd < 0 || ioctl(fd, SIOCGIFHWADDR, &ifr) < 0)
			memset(&ifr.ifr_hwaddr, 0, sizeof ifr.ifr_hwaddr);
		if (fd >= 0)
			close(fd);
	}
	for (const char *c = spec; *c; c++)
		hash = (hash ^ (uint8_t)*c) * UINT64_C(0x100000001b3);
	for (unsigned i = 0; i < 6; i++)
		hash = (hash ^ (uint8_t)ifr.ifr_hwaddr.sa_data[i]) * UINT64_C(0x100000001b3);
	mac[0] = 0x02; /* locally administered, unicast */
	for (unsigned i = 1; i < 6; i++)
		mac[i] = (uint8_t)(hash >> (8 * i));
}

bool port_open(struct ports *ports, const char *spec, const uint8_t *mac, struct ev_loop *loop)
{
	char where[128];
	uint8_t derived[6];
	/* The last '=', as a path may contain one and no wire's name does. */
	const char *wire = strrchr(spec, '=');
	if (!wire || wire == spec || (size_t)(wire - spec) >= sizeof where) {
		softnic_error("%s: not a port: say SOCKET=WIRE, such as /run/nic0=dev:veth1", spec);
		return false;
	}
	if (ports->count == PORTS_MAX) {
		softnic_error("%s: more than %d ports", spec, PORTS_MAX);
		return false;
	}
	snprintf(where, sizeof where, "%.*s", (int)(wire - spec), spec);

	struct port *port = &ports->port[ports->count];
	if (!mac) {
		derive_mac(spec, wire + 1, derived);
		mac = derived;
	}
	char name[32];
	snprintf(name, sizeof name, "port %u", ports->count);
	port->nic = nic_create(ports->count, name, mac);
	if (!port->nic)
		return false;
	port->wire = wire_open(wire + 1, port->nic, loop);
	if (!port->wire)
		goto free_nic;
	port->server = serve(where, port->nic, loop);
	if (!port->server)
		goto close_wire;
	ports->count++;
	return true;

close_wire:
	wire_close(port->wire);
free_nic:
	nic_free(port->nic);
	return false;
}

void ports_close(struct ports *ports)
{
	while (ports->count) {
		struct port *port = &ports->port[--ports->count];
		vfio_server_free(port->server);
		wire_close(port->wire);
		nic_free(port->nic);
	}
}

void port_counters(
	struct port *port, void (*line)(void *context, const char *name, uint64_t value), void *context)
{
	const struct nic *nic = port->nic;
	struct wire *wire = port->wire;
	uint64_t interrupts = 0;
	for (unsigned vector = 0; vector < NIC_MSIX_VECTORS; vector++)
		interrupts += nic->irq.raised[vector];
	if (wire->ops->count)
		wire->ops->count(wire);
	const struct {
		const char *name;
		uint64_t value;
	} counters[] = {
		{"rx_frames", nic->stats.rx_frames},
		{"rx_bytes", nic->stats.rx_bytes},
		{"rx_filtered", nic->stats.rx_filtered},
		{"rx_missed", nic->stats.rx_missed},
		{"rx_bad", nic->stats.rx_bad},
		{"rx_delivered", nic->stats.rx_delivered},
		{"tx_frames", nic->stats.tx_frames},
		{"tx_bytes", nic->stats.tx_bytes},
		{"tx_dropped", nic->stats.tx_dropped},
		{"wire_rx_frames", wire->rx_frames},
		{"wire_rx_dropped", wire->rx_dropped},
		{"wire_tx_frames", wire->tx_frames},
		{"wire_tx_dropped", wire->tx_dropped},
		{"interrupts", interrupts},
		{"link_changes", nic->link.changes},
	};
	for (size_t i = 0; i < sizeof counters / sizeof counters[0]; i++)
		line(context, counters[i].name, counters[i].value);
}
