/* The frames of a capture, in memory, to be sent as they are. */
#ifndef PKTGEN_REPLAY_H
#define PKTGEN_REPLAY_H

#include <stddef.h>
#include <stdint.h>

struct replay_frame {
	size_t offset;    /* in data */
	uint32_t size;    /* without CRC */
	uint64_t time_ns; /* since the first one */
};

struct replay {
	struct replay_frame *frames;
	size_t count, room;
	uint8_t *data;
	size_t bytes;
	uint32_t longest;
	uint64_t skipped; /* cut short by the capture, under 14 bytes, or longer than FRAME_MAX */
};

/*
 * Read a pcap or pcapng file of Ethernet frames. Returns 0, or -1 with the reason in words in error (256 bytes):
 * no such file, another kind of link, no frame in it, no memory.
 */
int replay_open(struct replay *replay, const char *path, char error[256]);
void replay_close(struct replay *replay);

/* How long one time through takes, up to the first frame of the next: its length and a mean gap. */
uint64_t replay_period_ns(const struct replay *replay);

#endif
