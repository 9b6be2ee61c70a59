/*
 * Sender and receiver in one thread, taking turns; while nothing is due and nothing comes it sleeps, if it may (--poll).
 *
 * The devices' housekeeping reads dozens of registers, which takes milliseconds where each is a message to another
 * process. A thread of its own, the keeper, does that, so that no frame has to wait for it.
 */
#ifndef PKTGEN_RUN_H
#define PKTGEN_RUN_H

#include "contrib/apps/app_device.h"
#include "contrib/apps/pktgen/receiver.h"
#include "contrib/apps/pktgen/sender.h"

struct run {
	struct sender *sender; /* either may be NULL */
	struct receiver *receiver;
	struct app_idle idle;
};

/* Look after these devices from now on, until run_keeper_stop() or the end of the program. */
void run_keeper_start(struct ixy_device *const devs[], unsigned count);
void run_keeper_stop(void);
/* One has gone: it is over. */
bool run_lost_device(void);

void run_open(struct run *run, struct sender *sender, struct receiver *receiver);

/* A turn. False: a device has gone, which has been said. */
bool run_turn(struct run *run);

/* Turns, until this many frames of the run have come or none came for so long. sent 0: only the latter. */
void run_linger(struct run *run, uint64_t sent, uint64_t silence_ns);

/* What all of ours need: the MTU for the longest frame (with CRC), and rings that outlast a receiver's pause. */
struct ixy_device *run_open_device(const char *spec, uint32_t longest, uint32_t pool_buffers);

/* What tells the next run's frames from those of other runs, and most likely of other programs. */
uint16_t run_number(void);

/* A MAC address as colon-separated hexadecimal. */
bool run_parse_mac(const char *text, uint8_t mac[6]);

#endif
