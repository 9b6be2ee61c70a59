/*
 * A cable between two ports of this process: the first port that asks for one waits, the second gets its other
 * end.
 *
 * A frame is copied once into the ring of the port that it goes to, and handed to that port's receiver when
 * the loop polls it: never from inside the sender's transmit, or one port's doorbell would run the other's
 * receive path inside its own.
 *
 * Light: both ends see carrier while both lasers are on and nobody has pulled either plug.
 */
#include "wire.h"

#include <stdlib.h>
#include <string.h>

#include "log.h"

#define RING_SIZE (2u << 20) /* bytes, a power of two; an 82599 has 512 KiB, but a poll here takes longer */
#define ALIGN(n)  (((n) + 7u) & ~(size_t)7)

struct record { /* in the ring, followed by the frame */
	uint32_t size;
	uint32_t skip; /* bytes from here to the next record */
};

struct cable {
	struct wire wire;
	struct cable *peer;
	bool carrier;
	size_t head, tail; /* bytes ever taken out and put in */
	uint8_t *ring;     /* frames on their way to this end */
};

static struct cable *loose_end;

/* Room for one frame in one piece, or NULL. */
static struct record *ring_put(struct cable *cable, size_t size)
{
	size_t needed = ALIGN(sizeof(struct record) + size);
	size_t at = cable->tail % RING_SIZE;
	size_t lost =
		RING_SIZE - at < needed ? RING_SIZE - at : 0; /* does not fit before the end: start over */
	if (needed + lost > RING_SIZE - (cable->tail - cable->head))
		return NULL;
	if (lost) {
		*(struct record *)(cable->ring + at) = (struct record){.size = 0, .skip = (uint32_t)lost};
		cable->tail += lost;
		at = 0;
	}
	struct record *record = (struct record *)(cable->ring + at);
	*record = (struct record){.size = (uint32_t)size, .skip = (uint32_t)needed};
	cable->tail += needed;
	return record;
}

static void cable_send(struct wire *wire, const uint8_t *frame, size_t size)
{
	struct cable *peer = ((struct cable *)wire)->peer;
	if (!peer || !peer->carrier) {
		wire->tx_dropped++;
		return;
	}
	wire->tx_frames++;
	struct record *record = ring_put(peer, size);
	if (!record) {
		peer->wire.rx_dropped++;
		return;
	}
	memcpy(record + 1, frame, size);
}

static void cable_flush(struct wire *wire)
{
	(void)wire;
}

static bool end_lit(const struct cable *cable)
{
	return nic_laser_on(cable->wire.nic) && !cable->wire.nic->link.cable_out;
}

/* The lights can change with every register write, so they are looked at, not told. */
static void follow_light(struct cable *cable)
{
	bool lit = cable->peer && end_lit(cable) && end_lit(cable->peer);
	if (lit == cable->carrier)
		return;
	cable->carrier = lit;
	nic_wire_carrier(cable->wire.nic, lit);
}

static unsigned cable_poll(struct wire *wire, unsigned budget)
{
	struct cable *cable = (struct cable *)wire;
	unsigned done = 0;
	wire->room = 0;
	follow_light(cable);
	while (done < budget && cable->head != cable->tail) {
		struct record *record = (struct record *)(cable->ring + cable->head % RING_SIZE);
		if (record->size) {
			if (!wire_deliverable(wire, 1, record->size))
				break;
			wire->rx_frames++;
			nic_receive(wire->nic, (const uint8_t *)(record + 1), record->size);
			done++;
		}
		cable->head += record->skip;
	}
	return done;
}

static void cable_close(struct wire *wire)
{
	struct cable *cable = (struct cable *)wire;
	if (loose_end == cable)
		loose_end = NULL;
	if (cable->peer)
		cable->peer->peer = NULL;
	free(cable->ring);
	free(cable);
}

struct wire *wire_cable_open(const char *argument, struct nic *nic, struct ev_loop *loop)
{
	static const struct wire_ops ops = {
		.send = cable_send,
		.flush = cable_flush,
		.poll = cable_poll,
		.close = cable_close,
	};
	(void)argument;
	(void)loop;
	struct cable *cable = calloc(1, sizeof *cable);
	if (cable)
		cable->ring = malloc(RING_SIZE);
	if (!cable || !cable->ring) {
		softnic_error("port %u: out of memory", nic->port);
		free(cable);
		return NULL;
	}
	cable->wire.ops = &ops;
	cable->wire.nic = nic;
	if (loose_end) {
		cable->peer = loose_end;
		loose_end->peer = cable;
		loose_end = NULL;
	} else {
		loose_end = cable;
	}
	return &cable->wire;
}
