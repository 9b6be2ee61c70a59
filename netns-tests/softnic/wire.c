/* What all wires share, their kinds by name, and the one that is not plugged in anywhere. */
#include "wire.h"

#include <stdlib.h>
#include <string.h>

#include "log.h"

#define PATIENCE_US 10000 /* a few of the scheduler's time slices */

/* Find the enabled queue that has fewest free descriptors. False: none is enabled. */
static bool look_for_room(struct wire *wire)
{
	const struct nic *nic = wire->nic;
	uint32_t room = UINT32_MAX;
	for (unsigned n = 0; n < NIC_QUEUES; n++) {
		const struct rx_queue *q = &nic->rxq[n];
		uint32_t tail;
		if (!q->enabled || q->halted || (tail = nic_reg(nic, RDT(n))) >= q->count)
			continue;
		uint32_t count = tail >= q->head ? tail - q->head : tail + q->count - q->head;
		if (count >= room)
			continue;
		room = count;
		wire->ring = q->count;
		wire->buffer_size = q->buffer_size;
	}
	wire->room = room == UINT32_MAX ? 0 : room;
	return room != UINT32_MAX;
}

static uint32_t descriptors(const struct wire *wire, size_t frames, size_t size)
{
	size_t count = frames * ((size + wire->buffer_size - 1) / wire->buffer_size);
	return count < wire->ring ? (uint32_t)count
				  : wire->ring - 1; /* of more than that, part will be lost */
}

static bool has_room(struct wire *wire, size_t frames, size_t size)
{
	const struct nic *nic = wire->nic;
	if (!nic->link.up || !(nic_reg(nic, RXCTRL) & RXCTRL_RXEN))
		return true;
	if (nic_dma_held(nic))
		return false;
	if (!wire->room || wire->room < descriptors(wire, frames, size)) {
		if (!look_for_room(wire))
			return true;
		if (wire->room < descriptors(wire, frames, size))
			return false;
	}
	wire->room -= descriptors(wire, frames, size);
	return true;
}

bool wire_deliverable(struct wire *wire, size_t frames, size_t size)
{
	if (has_room(wire, frames, size)) {
		wire->held = false;
		wire->held_since_us = 0;
		return true;
	}
	int64_t now_us = nic_now_us();
	if (!wire->held_since_us)
		wire->held_since_us = now_us;
	wire->held = now_us - wire->held_since_us < PATIENCE_US;
	return !wire->held;
}

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
	softnic_error("\"%s\": no such wire: say dev:NAME, cable, pcap:IN[,OUT] or none", spec);
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
