/* The kinds of wires by name, and the one that is not plugged in anywhere. */
#include "wire.h"

#include <stdlib.h>
#include <string.h>

#include "log.h"

static void none_send(struct wire *wire, const uint8_t *frame, size_t size)
{
	(void)frame;
	(void)size;
	wire->tx_dropped++;
}

static void none_flush(struct wire *wire)
{
	(void)wire;
}

static unsigned none_poll(struct wire *wire, unsigned budget)
{
	(void)wire;
	(void)budget;
	return 0;
}

static void none_close(struct wire *wire)
{
	free(wire);
}

static struct wire *wire_none_open(const char *argument, struct nic *nic, struct ev_loop *loop)
{
	static const struct wire_ops ops = {
		.send = none_send,
		.flush = none_flush,
		.poll = none_poll,
		.close = none_close,
	};
	(void)argument;
	(void)loop;
	struct wire *wire = calloc(1, sizeof *wire);
	if (!wire) {
		softnic_error("port %u: out of memory", nic->port);
		return NULL;
	}
	wire->ops = &ops;
	wire->nic = nic;
	return wire;
}

static const struct {
	const char *name;
	bool argument;
	struct wire *(*open)(const char *argument, struct nic *nic, struct ev_loop *loop);
} kinds[] = {
	{"dev", true, wire_dev_open},
	{"cable", false, wire_cable_open},
	{"pcap", true, wire_pcap_open},
	{"none", false, wire_none_open},
};

struct wire *wire_open(const char *spec, struct nic *nic, struct ev_loop *loop)
{
	size_t length = strcspn(spec, ":");
	const char *argument = spec[length] ? spec + length + 1 : "";
	for (size_t i = 0; i < sizeof kinds / sizeof kinds[0]; i++) {
		if (strlen(kinds[i].name) != length || memcmp(kinds[i].name, spec, length) != 0 ||
			kinds[i].argument != (*argument != '\0'))
			continue;
		struct wire *wire = kinds[i].open(argument, nic, loop);
		nic->wire = wire;
		return wire;
	}
	softnic_error("%s: no such wire: say dev:NAME, cable, pcap:IN[,OUT] or none", spec);
	return NULL;
}

void nic_wire_send(struct nic *nic, const uint8_t *frame, size_t size)
{
	if (nic->wire)
		nic->wire->ops->send(nic->wire, frame, size);
}

void wire_close(struct wire *wire)
{
	if (!wire)
		return;
	wire->nic->wire = NULL;
	wire->ops->close(wire);
}
