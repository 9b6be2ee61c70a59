/* The process: its ports, and the loop that drives them. */
#ifndef SOFTNIC_PORT_H
#define SOFTNIC_PORT_H

#include "nic.h"
#include "qemu_pci.h"
#include "vfio_user.h"
#include "wire.h"

#define PORTS_MAX 16

/* A NIC with what is in front of it, one of two, and what is behind it. */
struct port {
	struct nic *nic;
	struct vfio_server *server;
	struct qemu_pci *qemu;
	struct wire *wire;
};

struct ports {
	struct port port[PORTS_MAX];
	unsigned count;
	bool stop; /* poll_loop_run() is to return */
};

/*
 * Open port number ports->count: spec is SOCKET=WIRE. mac NULL: one that is the same for this socket and this
 * wire each time. False with a message on stderr.
 */
bool port_open(struct ports *ports, const char *spec, const uint8_t *mac, struct ev_loop *loop);
void ports_close(struct ports *ports);

bool port_connected(const struct port *port); /* a client is there */
bool port_hung_up(const struct port *port);   /* it was inherited and has gone */
/* As vfio_server_sleep(), _wake() and _silent(); QEMU's doorbells are messages, which need none of it. */
void port_sleep(struct port *port);
void port_wake(struct port *port);
bool port_silent(const struct port *port);

/* Call line(context, name, value) for each of the port's counters. */
void port_counters(
	struct port *port, void (*line)(void *context, const char *name, uint64_t value), void *context);

/*
 * poll_loop.c: move frames and serve clients until ports->stop, or until an inherited client has hung up. 0, or a negative errno.
 */
int poll_loop_run(struct ports *ports, struct ev_loop *loop);

#endif
