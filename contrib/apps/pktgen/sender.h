/*
 * The sending half: frames into a transmit queue, when they are due.
 *
 * Each step looks at the clock once, makes what is due by then into a batch, and offers it to the ring. What the ring
 * does not take is offered again before anything more is made, with the stamp that it has: a frame that had to wait in
 * line is as late as that. One thread.
 */
#ifndef PKTGEN_SENDER_H
#define PKTGEN_SENDER_H

#include <stdbool.h>
#include <stdint.h>

#include "contrib/apps/app.h"
#include "contrib/apps/pktgen/frame.h"
#include "contrib/apps/pktgen/replay.h"
#include "contrib/apps/pktgen/schedule.h"
#include "contrib/apps/pktgen/words.h"
#include "driver/ixy.h"

#define SENDER_BATCH 256 /* at most */

struct sender {
	struct ixy_device *dev;
	struct app_rate *rate; /* counts what has been queued; may be NULL */
	uint32_t batch;

	/* What is sent: lengths in turn, or a capture. */
	struct sizes sizes;
	struct frame_template templates[WORDS_SIZES];
	const struct replay *replay;
	size_t replay_next;
	uint64_t replay_rounds;

	uint16_t run;
	uint32_t flows, flow;
	uint32_t *numbers; /* each flow's next */

	struct schedule schedule;
	uint64_t limit; /* frames, 0: none */
	bool over;      /* no more are made, whatever the limit */
	uint64_t made;
	struct pkt_buf *ready[SENDER_BATCH]; /* made, and not taken by the ring yet */
	uint32_t first, count;

	struct mempool *pool;
	uint8_t *holds; /* by buffer: the template that it was prepared with, and 1 */

	uint64_t frames, bytes;     /* queued; bytes without CRC */
	uint64_t first_ns, last_ns; /* when the first and the last one were */
	bool blocked;               /* the ring was full since the last frame was made */
	uint64_t
		held_up_ns; /* by which the schedule was late, though the ring had room: this thread did not run */
	uint64_t drops_before; /* of the device, at the start of the run */
};

/* Buffers that a sender of this batch has in its pool, with a ring of so many descriptors (0: the default). */
uint32_t sender_buffers(uint32_t batch, uint32_t ring);

/*
 * batch, rate and dev are set, and sizes or replay; frames: what they look like (not for a replay, NULL then). Returns 0,
 * or a negative errno with a reason in ixy_last_error(): no memory for the device, or the device has gone.
 */
int sender_open(struct sender *sender, const struct frame_config *frames, uint32_t ring);
/* The device is stopped, so that all buffers have come back. */
void sender_close(struct sender *sender);

/* Begin to send `limit` frames (0: no end) by this schedule. Frames carry this run's number and count from 0 again. */
void sender_start(
	struct sender *sender, const struct schedule_config *schedule, uint64_t limit, uint16_t run);
/* Make and send what is due. Returns whether anything moved. */
bool sender_step(struct sender *sender);

/* All have been queued. */
static inline bool sender_done(const struct sender *sender)
{
	return (sender->over || (sender->limit && sender->made == sender->limit)) && !sender->count;
}

/* The ring did not take all. */
static inline bool sender_blocked(const struct sender *sender)
{
	return sender->count;
}

/* When there is something to do, as long as it is not blocked. */
static inline uint64_t sender_due_ns(const struct sender *sender)
{
	return sender->over || (sender->limit && sender->made == sender->limit) ? UINT64_MAX
										: sender->schedule.next_ns;
}

/* Make no more, and give up what the ring has not taken. Steps go on taking back buffers. */
void sender_end(struct sender *sender);

/* Frames of this run that the device or the kernel has given up after the ring had taken them. Asks the device. */
uint64_t sender_dropped(const struct sender *sender);

/* Frames a second from the first to the last, by their number and the time that so many take. 0: under two frames. */
double sender_achieved(const struct sender *sender);

#endif
