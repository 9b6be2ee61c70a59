/*
 * What the software NIC's cable is plugged into.
 *
 *	dev:NAME        an existing interface (one end of a veth pair, say)
 *	cable           the other port of this process that says "cable" too
 *	pcap:IN[,OUT]   frames from a file, and into one ("-" for none)
 *	none            nothing: carrier is down
 *
 * dev:NAME,rate=MBIT and cable,rate=MBIT carry no more than that many Mbit/s of what the port sends: see pace.h.
 *
 * A wire carries real frames: 14 bytes or more, nothing over what the sender's MTU allows, checksums complete,
 * both ways, whatever segmentation offload the interface's peer uses.
 *
 * A wire keeps its watchers armed all the time: they do nothing but end the loop's sleep, the frames are
 * fetched by poll.
 */
#ifndef SOFTNIC_WIRE_H
#define SOFTNIC_WIRE_H

#include "nic.h"

#define WIRE_FRAME_MIN 60 /* without CRC: what a MAC pads to */

struct wire {
	const struct wire_ops *ops;
	struct nic *nic;   /* whose frames */
	bool tx_pending;   /* frames that could not be sent yet: flush again before sleeping */
	struct pace *pace; /* between the NIC and ops->send; NULL: as fast as it goes */
	bool held; /* frames wait for receive descriptors: poll again soon, though nothing will wake the loop */
	int64_t held_since_us;
	uint32_t room, ring,
		buffer_size; /* of the fullest queue as last seen in this poll; room 0: look again */
	uint64_t rx_frames, tx_frames, tx_dropped, rx_dropped;
};

struct wire_ops {
	/* Queue a frame (copied); sent at flush, or when the batch is full. */
	void (*send)(struct wire *wire, const uint8_t *frame, size_t size);
	void (*flush)(struct wire *wire);
	/* Hand about budget frames to nic_receive(). Never blocks. Returns how many. */
	unsigned (*poll)(struct wire *wire, unsigned budget);
	/* Bring the counters up to date with what the kernel counts. May be NULL. */
	void (*count)(struct wire *wire);
	void (*close)(struct wire *wire);
};

/*
 * The receive packet buffer. An 82599 has 512 KiB in which frames wait for descriptors while the driver's
 * thread is not scheduled, 0.4 ms at line rate. Here NIC, driver and traffic share the cores and a burst comes
 * at the speed of memory, so a wire keeps its frames where they are for longer than that, though not for ever.
 *
 * True if now is the time to deliver frames of up to size bytes: every enabled queue has room for them, or
 * nobody listens, or they have waited long enough and are to be lost. False, and wire->held set: later.
 * A poll begins with wire->room = 0.
 */
bool wire_deliverable(struct wire *wire, size_t frames, size_t size);

/*
 * The part of the spec that says what the wire is, without its rate. *mbit: the rate, 0 for none. -1: there is one, but
 * of no such number.
 */
int wire_parse_rate(const char *spec, size_t *length, uint32_t *mbit);

/* spec as above. NULL with a message on stderr: no such interface, not permitted, no such file. */
struct wire *wire_open(const char *spec, struct nic *nic, struct ev_loop *loop);
void wire_close(struct wire *wire);

/*
 * Send what is due by now and what the wire has collected. Returns the frames that have left a wire of a given rate.
 */
unsigned wire_flush(struct wire *wire);
/* No frame can be taken now: the MAC is busy, and so the rings fill up, as on silicon. */
bool wire_full(const struct wire *wire);
/* Microseconds until there is something to flush, 0: now, -1: never as things are. */
int64_t wire_due_us(const struct wire *wire);
/* What the transmit engine has left in the rings: pace_backlog(). */
void wire_backlog(struct wire *wire, bool waiting);

/* The kinds, called by wire_open(): argument is what follows the colon. */
struct wire *wire_dev_open(const char *argument, struct nic *nic, struct ev_loop *loop);
struct wire *wire_cable_open(const char *argument, struct nic *nic, struct ev_loop *loop);
struct wire *wire_pcap_open(const char *argument, struct nic *nic, struct ev_loop *loop);

#endif
