/* A port's life: SOCKET=WIRE makes a NIC, the wire behind it and the front end before it. */
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
#include "vtd.h"

/* The number of a descriptor at the start of text, up to end; -1 with a message. */
static int parse_fd(const char *text, const char *end)
{
	char *stop;
	errno = 0;
	unsigned long fd = strtoul(text, &stop, 10);
	if (errno || stop != end || *text < '0' || *text > '9' || fd > INT_MAX) {
		softnic_error("%.*s: no descriptor's number", (int)(end - text), text);
		return -1;
	}
	return (int)fd;
}

/* A function's place on the bus, BB:DD.F in hexadecimal as lspci has it. */
static bool parse_requester(const char *text, uint16_t *requester)
{
	unsigned bus, device, function;
	int end = 0;
	if (sscanf(text, "%2x:%2x.%1x%n", &bus, &device, &function, &end) != 3 || text[end] || bus > 255 ||
		device > 31 || function > 7)
		return false;
	*requester = (uint16_t)(bus << 8 | device << 3 | function);
	return true;
}

/* N,qtest=PATH[,vtd[=BB:DD.F]] */
static struct qemu_pci *serve_qemu(const char *where, struct nic *nic, struct ev_loop *loop)
{
	const char *end = strchrnul(where, ','), *key = ",qtest=";
	struct qemu_pci_options options = {.requester = 4 << 3};
	char path[192];
	if (strncmp(end, key, strlen(key)) != 0 || !end[strlen(key)]) {
		softnic_error("qemu:%s: say qemu:N,qtest=PATH with the path of QEMU's -qtest socket", where);
		return NULL;
	}
	snprintf(path, sizeof path, "%s", end + strlen(key));
	options.qtest = path;
	char *last = strrchr(path, ',');
	if (last && strncmp(last, ",vtd", 4) == 0 && (!last[4] || last[4] == '=')) {
		options.vtd = true;
		if (last[4] && !parse_requester(last + 5, &options.requester)) {
			softnic_error("%s: not the NIC's place on the bus, such as 00:04.0", last + 5);
			return NULL;
		}
		*last = '\0';
	}
	int fd = parse_fd(where, end);
	return fd >= 0 ? qemu_pci_adopt(fd, &options, nic, loop) : NULL;
}

static struct vfio_server *serve_inherited(const char *where, struct nic *nic, struct ev_loop *loop)
{
	int fd = parse_fd(where, where + strlen(where));
	return fd >= 0 ? vfio_server_adopt(fd, nic, loop) : NULL;
}

static bool serve(struct port *port, const char *where, struct ev_loop *loop)
{
	if (strncmp(where, "qemu:", 5) == 0)
		port->qemu = serve_qemu(where + 5, port->nic, loop);
	else if (strncmp(where, "fd:", 3) == 0)
		port->server = serve_inherited(where + 3, port->nic, loop);
	else
		port->server = vfio_server_listen(where, port->nic, loop);
	return port->server || port->qemu;
}

/*
 * An address for the port that the next start gives it again, and no other port on the same network has: from
 * the port's spec and, as names repeat in other namespaces, the address of the interface it is plugged into. How fast
 * the wire is has no part in it.
 */
static void derive_mac(const char *spec, const char *wire, uint8_t mac[6])
{
	uint64_t hash = UINT64_C(0xcbf29ce484222325); /* FNV-1a */
	struct ifreq ifr = {0};
	size_t length;
	uint32_t mbit;
	wire_parse_rate(wire, &length, &mbit);
	if (strncmp(wire, "dev:", 4) == 0 && length - 4 < IFNAMSIZ) {
		int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
		memcpy(ifr.ifr_name, wire + 4, length - 4);
		if (fd < 0 || ioctl(fd, SIOCGIFHWADDR, &ifr) < 0)
			memset(&ifr.ifr_hwaddr, 0, sizeof ifr.ifr_hwaddr);
		if (fd >= 0)
			close(fd);
	}
	for (const char *c = spec; c < wire + length; c++)
		hash = (hash ^ (uint8_t)*c) * UINT64_C(0x100000001b3);
	for (unsigned i = 0; i < 6; i++)
		hash = (hash ^ (uint8_t)ifr.ifr_hwaddr.sa_data[i]) * UINT64_C(0x100000001b3);
	mac[0] = 0x02; /* locally administered, unicast */
	for (unsigned i = 1; i < 6; i++)
		mac[i] = (uint8_t)(hash >> (8 * i));
}

/*
 * Where the wire begins in SOCKET=WIRE, or NULL. It is the last '=', as a path may contain one, but for that of a
 * wire's rate.
 */
static const char *find_wire(const char *spec)
{
	const char *equals = strrchr(spec, '='), *comma = strrchr(spec, ',');
	if (equals && comma && equals - comma == 5 && strncmp(comma, ",rate=", 6) == 0)
		equals = memrchr(spec, '=', (size_t)(comma - spec));
	return equals && equals > spec ? equals + 1 : NULL;
}

bool port_open(struct ports *ports, const char *spec, const uint8_t *mac, struct ev_loop *loop)
{
	char where[192];
	uint8_t derived[6];
	const char *wire = find_wire(spec);
	if (!wire || (size_t)(wire - spec) > sizeof where) {
		softnic_error("%s: not a port: say SOCKET=WIRE, such as /run/nic0=dev:veth1", spec);
		return false;
	}
	if (ports->count == PORTS_MAX) {
		softnic_error("%s: more than %d ports", spec, PORTS_MAX);
		return false;
	}
	snprintf(where, sizeof where, "%.*s", (int)(wire - 1 - spec), spec);

	struct port *port = &ports->port[ports->count];
	if (!mac) {
		derive_mac(spec, wire, derived);
		mac = derived;
	}
	char name[32];
	snprintf(name, sizeof name, "port %u", ports->count);
	port->nic = nic_create(ports->count, name, mac);
	if (!port->nic)
		return false;
	port->wire = wire_open(wire, port->nic, loop);
	if (!port->wire)
		goto free_nic;
	if (!serve(port, where, loop))
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
		qemu_pci_free(port->qemu);
		wire_close(port->wire);
		nic_free(port->nic);
	}
}

bool port_connected(const struct port *port)
{
	return port->qemu ? !qemu_pci_hung_up(port->qemu) : port->server->fd >= 0;
}

bool port_hung_up(const struct port *port)
{
	return port->qemu ? qemu_pci_hung_up(port->qemu) : port->server->hung_up;
}

void port_sleep(struct port *port)
{
	if (port->server)
		vfio_server_sleep(port->server);
}

void port_wake(struct port *port)
{
	if (port->server)
		vfio_server_wake(port->server);
}

bool port_silent(const struct port *port)
{
	return port->server && vfio_server_silent(port->server);
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
	if (nic->dma.iommu)
		line(context, "iommu_walks", nic->dma.iommu->walks);
}
