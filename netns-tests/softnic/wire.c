/* What all wires share, their kinds by name, and the one that is not plugged in anywhere. */
#include "wire.h"

#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "log.h"
#include "pace.h"

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
	int64_t now_us = clock_us();
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
	bool argument, rate;
	struct wire *(*open)(const char *argument, struct nic *nic, struct ev_loop *loop);
} kinds[] = {
	{"dev", true, true, wire_dev_open},
	{"cable", false, true, wire_cable_open},
	{"pcap", true, false, wire_pcap_open},
	{"none", false, false, wire_none_open},
};

int wire_parse_rate(const char *spec, size_t *length, uint32_t *mbit)
{
	static const char key[] = ",rate=";
	const char *at = strrchr(spec, ',');
	*length = strlen(spec);
	*mbit = 0;
	if (!at || strncmp(at, key, strlen(key)) != 0)
		return 0;
	const char *digits = at + strlen(key);
	size_t count = strspn(digits, "0123456789");
	unsigned long rate = count > 0 && count < 9 ? strtoul(digits, NULL, 10) : 0;
	*length = (size_t)(at - spec);
	if (digits[count] || rate == 0 || rate > PACE_MBIT_MAX)
		return -1;
	*mbit = (uint32_t)rate;
	return 0;
}

/* Put a packet buffer with a clock before a wire. */
static bool set_rate(struct wire *wire, uint32_t mbit)
{
	if (mbit == 0)
		return true;
	wire->pace = pace_create(mbit);
	if (!wire->pace)
		softnic_error("port %u: out of memory", wire->nic->port);
	return wire->pace != NULL;
}

struct wire *wire_open(const char *spec, struct nic *nic, struct ev_loop *loop)
{
	char what[2 * PATH_MAX]; /* two paths */
	size_t whole = strlen(spec), without;
	uint32_t mbit;
	int parsed = wire_parse_rate(spec, &without, &mbit);
	for (size_t i = 0; i < sizeof kinds / sizeof kinds[0]; i++) {
		size_t length = strlen(kinds[i].name), used = kinds[i].rate ? without : whole;
		if (used >= sizeof what)
			continue;
		snprintf(what, sizeof what, "%.*s", (int)used, spec);
		const char *argument = what[length] == ':' ? what + length + 1 : what + length;
		if (strncmp(what, kinds[i].name, length) != 0 ||
			(what[length] != '\0') != kinds[i].argument ||
			(kinds[i].argument && (what[length] != ':' || !*argument)))
			continue;
		if (kinds[i].rate && parsed < 0) {
			softnic_error(
				"\"%s\": the rate of a wire is 1 to %u, in Mbit/s", spec, PACE_MBIT_MAX);
			return NULL;
		}
		struct wire *wire = kinds[i].open(argument, nic, loop);
		nic->wire = wire;
		if (wire && kinds[i].rate && !set_rate(wire, mbit)) {
			wire_close(wire);
			return NULL;
		}
		return wire;
	}
	softnic_error(
		"\"%s\": no such wire: say dev:NAME[,rate=MBIT], cable[,rate=MBIT], pcap:IN[,OUT] or none",
		spec);
	return NULL;
}

void nic_wire_send(struct nic *nic, const uint8_t *frame, size_t size)
{
	struct wire *wire = nic->wire;
	if (!wire)
		return;
	if (!wire->pace)
		wire->ops->send(wire, frame, size);
	else if (!pace_put(wire->pace, frame, size, (int64_t)clock_ns()))
		wire->tx_dropped++;
}

unsigned wire_flush(struct wire *wire)
{
	unsigned done = 0;
	if (wire->pace && pace_due_ns(wire->pace) >= 0) {
		int64_t now = (int64_t)clock_ns();
		const uint8_t *frame;
		size_t size;
		while (!wire->tx_pending && (frame = pace_take(wire->pace, now, &size))) {
			wire->ops->send(wire, frame, size);
			done++;
		}
	}
	wire->ops->flush(wire);
	return done;
}

bool wire_full(const struct wire *wire)
{
	return wire->tx_pending || (wire->pace && pace_full(wire->pace));
}

int64_t wire_due_us(const struct wire *wire)
{
	if (wire->tx_pending)
		return 0;
	int64_t due = wire->pace ? pace_due_ns(wire->pace) : -1;
	if (due < 0)
		return -1;
	due -= (int64_t)clock_ns();
	return due > 0 ? (due + 999) / 1000 : 0;
}

void wire_backlog(struct wire *wire, bool waiting)
{
	if (wire->pace)
		pace_backlog(wire->pace, waiting);
}

void wire_close(struct wire *wire)
{
	if (!wire)
		return;
	wire->nic->wire = NULL;
	pace_free(wire->pace);
	wire->ops->close(wire);
}
