/*
 * A wire of a given rate: the transmit packet buffer of the port, and the time that each frame takes to leave it.
 *
 * A frame occupies the wire for its bytes, the CRC, and 20 bytes of preamble and gap (802.3, 3.1.1, 4.4.2). Times are
 * worked out from the end of the frame before, with the remainder of each division carried on, so that n frames take
 * exactly n times as long as one, however late the process looks at the clock. A frame has left at its last bit.
 *
 * The buffer holds 160 KiB, as an 82599's does (TXPBSIZE, 8.2.3.9.13). When it is full, frames wait in their ring: see
 * wire_full(). So it is filled at the speed of memory and emptied at that of the wire, as on silicon.
 *
 * A reset leaves the buffer alone: a card of 10 Gbit/s is through with it in 131 us, which drivers do not notice. A slow
 * wire goes on with it after its driver has gone.
 *
 * Silicon never sleeps; this process may be off the processor when a frame could have followed. What was seen waiting
 * in the rings before that (pace_backlog()) then leaves as if it had been fetched in time, but for more than
 * PACE_LATE_NS, and the wire has lost nothing. It never carries more than its rate from the moment at which it was idle
 * last.
 */
#ifndef SOFTNIC_PACE_H
#define SOFTNIC_PACE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define PACE_BUFFER   (160u << 10) /* bytes of frames */
#define PACE_OVERHEAD 24u          /* bytes: CRC 4, preamble and start 8, gap 12 */
#define PACE_LATE_NS  100000000
#define PACE_MBIT_MAX 100000u

struct pace;

/* NULL: out of memory. mbit: 1 .. PACE_MBIT_MAX, in Mbit/s. */
struct pace *pace_create(uint32_t mbit);
void pace_free(struct pace *pace);

/* There is no room for the longest frame any more. */
bool pace_full(const struct pace *pace);
/*
 * Copy a frame into the buffer, at this time (CLOCK_MONOTONIC). False: no room, the frame is lost. That is for a packet
 * of several hundred KiB of segments, which begins while the buffer is not full.
 */
bool pace_put(struct pace *pace, const uint8_t *frame, size_t size, int64_t now_ns);
/*
 * Take the oldest frame out of the buffer, if it has left by now; NULL: none has. Good until the next pace_put().
 */
const uint8_t *pace_take(struct pace *pace, int64_t now_ns, size_t *size);
/* When the oldest frame will have left; -1: there is none. */
int64_t pace_due_ns(const struct pace *pace);
/* Frames wait in the rings, or none do, as the transmit engine leaves them. */
void pace_backlog(struct pace *pace, bool waiting);

#endif
