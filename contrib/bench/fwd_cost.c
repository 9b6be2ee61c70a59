/*
 * fwd_cost: what the driver's hot path costs a frame.
 *
 * A forwarding loop on the software NIC in this very process (netns-tests/softnic/inprocess.h): frames are put on
 * the wire, ixy_rx_batch() takes them, ixy_tx_batch() sends them back, the NIC sends. Everything that a user pays
 * is in those two calls: descriptors, the buffers' metadata, refill, reclaim, the pool, counters, doorbells. What
 * the NIC does lies outside of them and is not counted.
 *
 *	fwd_cost [FRAMES]                  nanoseconds a frame, best of several runs: cheap, but depends on the machine
 *	valgrind --tool=callgrind --collect-atstart=no fwd_cost
 *	                                   instructions: exact, and the same everywhere; fwd_cost.sh runs and adds up
 *
 * Each line of output, or label of callgrind's dumps, is ROW BATCH PART FRAMES. `none` is the cost of measuring.
 * Rows:
 *	forward     60-byte frames in, the same frames out
 *	two-pools   the same, but every other frame goes out in a buffer of another pool
 *	jumbo       9000-byte frames: chains of five buffers
 *	checksum    1514-byte TCP frames whose L4 checksum the NIC completes, sent only
 *	tso         64-KiB TCP super-frames in chains of 32 buffers, sent only
 */
#include <err.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <valgrind/callgrind.h>

#include "contrib/bench/forward_rig.h"
#include "driver/clock.h"

#define MAX_BATCH   256
#define TCP_FRAME   1514
#define TCP_HEADERS 54
#define TSO_PAYLOAD 65160 /* 45 segments of 1448 */
#define TIMED_RUNS  9

enum part { PART_RX, PART_TX, PART_NONE, PART_COUNT };

struct row {
	const char *name;
	uint32_t size;
	bool receives;
	/* Make frames[] ready to be sent; those received are in it already. */
	void (*prepare)(struct rig *rig, struct pkt_buf *frames[], uint32_t count);
};

/* --- what is sent ---------------------------------------------------------------------------------- */

static void as_received(struct rig *rig, struct pkt_buf *frames[], uint32_t count)
{
	(void)rig, (void)frames, (void)count;
}

static void every_other_from_another_pool(struct rig *rig, struct pkt_buf *frames[], uint32_t count)
{
	for (uint32_t i = 0; i < count; i += 2) {
		struct pkt_buf *copy = pkt_buf_alloc(rig->pool);

		if (!copy)
			errx(1, "the pool is empty");
		memcpy(copy->data, frames[i]->data, frames[i]->size);
		copy->size = copy->frame_size = frames[i]->size;
		pkt_buf_free(frames[i]);
		frames[i] = copy;
	}
}

/* A TCP segment over IPv4 in a chain of buffers; checksums are left to the NIC. */
static struct pkt_buf *tcp_frame(struct rig *rig, uint32_t size)
{
	static const uint8_t headers[TCP_HEADERS] = {
		0x02, 0, 0, 0, 0, 2, 0x02, 0, 0, 0, 0, 1, 0x08, 0x00,                         /* Ethernet */
		0x45, 0, 0, 0, 0, 0, 0, 0, 64, 6, 0, 0, 10, 0, 0, 1, 10, 0, 0, 2,             /* IPv4 */
		0x10, 0x00, 0x20, 0x00, 0, 0, 0, 1, 0, 0, 0, 1, 0x50, 0x10, 1, 0, 0, 0, 0, 0, /* TCP */
	};
	struct pkt_buf *first = NULL, *last = NULL;

	for (uint32_t at = 0; at < size; at += last->size) {
		struct pkt_buf *buf = pkt_buf_alloc(rig->pool);

		if (!buf)
			errx(1, "the pool is empty");
		buf->size = size - at < rig->pool->data_size ? size - at : rig->pool->data_size;
		if (first) {
			last->next = buf;
			first->segments++;
		} else {
			first = buf;
		}
		last = buf;
	}
	memcpy(first->data, headers, sizeof(headers));
	first->frame_size = size;
	first->csum_start = 34;
	first->csum_offset = 16;
	first->flags = PKT_TX_L4_CSUM;
	return first;
}

static void checksum_frames(struct rig *rig, struct pkt_buf *frames[], uint32_t count)
{
	for (uint32_t i = 0; i < count; i++)
		frames[i] = tcp_frame(rig, TCP_FRAME);
}

static void super_frames(struct rig *rig, struct pkt_buf *frames[], uint32_t count)
{
	for (uint32_t i = 0; i < count; i++) {
		frames[i] = tcp_frame(rig, TCP_HEADERS + TSO_PAYLOAD);
		frames[i]->flags |= PKT_TX_TSO4;
		frames[i]->gso_size = 1448;
		frames[i]->header_size = TCP_HEADERS;
	}
}

/* --- the loop -------------------------------------------------------------------------------------- */

/* What lies between two of these is measured. Returns the time, of use where nobody counts instructions. */
static inline uint64_t border(bool counted)
{
	if (!counted)
		return 0;
	CALLGRIND_TOGGLE_COLLECT;
	return RUNNING_ON_VALGRIND ? 0 : clock_ns();
}

/* Send frames through in batches; returns the nanoseconds that went into part. */
static uint64_t run(struct rig *rig, const struct row *row, uint32_t batch, uint32_t frames, enum part part)
{
	struct pkt_buf *bufs[MAX_BATCH];
	uint64_t ns = 0;

	for (uint32_t done = 0; done < frames; done += batch) {
		uint64_t start;
		uint32_t n = batch;

		if (row->receives) {
			rig_feed(rig, row->size, batch);
			start = border(part == PART_RX);
			n = ixy_rx_batch(rig->dev, 0, bufs, batch);
			ns += border(part == PART_RX) - start;
		}
		if (n != batch)
			errx(1, "%s: %u of %u frames received", row->name, n, batch);
		row->prepare(rig, bufs, batch);
		start = border(part == PART_TX);
		n = ixy_tx_batch(rig->dev, 0, bufs, batch);
		ns += border(part == PART_TX) - start;
		if (n != batch)
			errx(1, "%s: %u of %u frames sent", row->name, n, batch);
		start = border(part == PART_NONE);
		ns += border(part == PART_NONE) - start;
		nic_tx_poll(rig->nic, 2 * MAX_BATCH);
	}
	return ns;
}

static void measure(struct rig *rig, const struct row *row, uint32_t batch, uint32_t frames)
{
	static const char *const names[] = {[PART_RX] = "rx", [PART_TX] = "tx", [PART_NONE] = "none"};

	/* Once around the rings and the pools, so that all is as in the middle of a long run. */
	run(rig, row, batch, row->receives ? 8 * RIG_RING : 4 * batch, PART_COUNT);
	for (unsigned part = row->receives ? PART_RX : PART_TX; part < PART_COUNT; part++) {
		char label[64];
		uint64_t best = UINT64_MAX;

		snprintf(label, sizeof(label), "%s %u %s %u", row->name, batch, names[part], frames);
		if (RUNNING_ON_VALGRIND) {
			CALLGRIND_ZERO_STATS;
			run(rig, row, batch, frames, (enum part)part);
			CALLGRIND_DUMP_STATS_AT(label);
			continue;
		}
		for (unsigned i = 0; i < TIMED_RUNS; i++) {
			uint64_t ns = run(rig, row, batch, frames, (enum part)part);

			best = ns < best ? ns : best;
		}
		printf("%s %.1f\n", label, (double)best / frames);
	}
}

int main(int argc, char *argv[])
{
	static const struct row forward = {"forward", 60, true, as_received};
	static const struct row others[] = {
		{"two-pools", 60, true, every_other_from_another_pool},
		{"jumbo", RIG_JUMBO, true, as_received},
		{"checksum", TCP_FRAME, false, checksum_frames},
	};
	static const struct row tso = {"tso", 0, false, super_frames};
	static const uint32_t batches[] = {8, 32, 64, 256};
	long frames = argc > 1 ? strtol(argv[1], NULL, 10) : RUNNING_ON_VALGRIND ? 16384 : 1 << 20;
	struct rig rig;

	/* Whole batches, and whole rings, so that refill is counted in full. */
	if (argc > 2 || frames < 2 * RIG_RING || frames > 1 << 24 || frames % RIG_RING)
		errx(2, "usage: fwd_cost [FRAMES], a multiple of %u", RIG_RING);
	rig_open(&rig, 1);
	for (unsigned i = 0; i < sizeof(batches) / sizeof(batches[0]); i++)
		measure(&rig, &forward, batches[i], (uint32_t)frames);
	for (unsigned i = 0; i < sizeof(others) / sizeof(others[0]); i++)
		measure(&rig, &others[i], 32, (uint32_t)frames / 8);
	measure(&rig, &tso, 8, (uint32_t)frames / 128);
	rig_close(&rig);
	return 0;
}
