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
#include <time.h>
#include <valgrind/callgrind.h>

#include "driver/ixgbe/ixgbe.h"
#include "netns-tests/softnic/inprocess.h"
#include "netns-tests/softnic/wire.h"

#define MAX_BATCH   256
#define RING        512 /* descriptors, the library's default */
#define JUMBO       9000
#define TCP_FRAME   1514
#define TCP_HEADERS 54
#define TSO_PAYLOAD 65160 /* 45 segments of 1448 */
#define TIMED_RUNS  9

struct rig {
	struct nic *nic;
	struct ixy_device *dev;
	struct mempool *pool; /* of what is sent but was not received */
	struct wire wire;
	uint8_t frame[JUMBO];
};

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

/* --- the rig --------------------------------------------------------------------------------------- */

static void swallow(struct wire *wire, const uint8_t *frame, size_t size)
{
	(void)wire, (void)frame, (void)size;
}

static void flush(struct wire *wire)
{
	(void)wire;
}

static void set_up(struct rig *rig)
{
	static const struct wire_ops ops = {.send = swallow, .flush = flush};
	static const uint8_t mac[6] = {0x02, 0, 0, 0, 0, 1};
	struct ixy_options options = {
		.rx_queues = 1, .tx_queues = 1, .rx_ring = RING, .tx_ring = RING, .mtu = JUMBO};
	struct pci_device *pci;

	rig->nic = nic_create(0, "fwd_cost", mac);
	if (!rig->nic)
		exit(1);
	rig->wire.ops = &ops;
	rig->wire.nic = rig->nic;
	rig->nic->wire = &rig->wire;
	nic_wire_carrier(rig->nic, true);
	if (inprocess_open(rig->nic, &pci) < 0 || ixgbe_driver.open(pci, &options, &rig->dev) < 0)
		errx(1, "%s", ixy_last_error());
	rig->pool = ixy_mempool_create(rig->dev, 2 * RING, 0);
	if (!rig->pool)
		errx(1, "%s", ixy_last_error());
	ixy_poll_events(rig->dev);
	if (!ixy_link_get(rig->dev).up)
		errx(1, "no link");
	memcpy(rig->frame, mac, 6);
	rig->frame[6] = 2;
	rig->frame[12] = 0x88; /* an ethertype for experiments: no header to parse */
	rig->frame[13] = 0xB5;
}

static void tear_down(struct rig *rig)
{
	ixy_stop(rig->dev);
	if (ixy_mempool_free(rig->pool) < 0)
		errx(1, "%s", ixy_last_error());
	ixy_close(rig->dev);
	for (unsigned i = 0; i < NIC_VIOLATION_COUNT; i++)
		if (rig->nic->violation[i])
			errx(1, "the NIC saw a violation: %s", nic_violation_name(i));
	rig->nic->wire = NULL;
	nic_free(rig->nic);
}

/* --- the loop -------------------------------------------------------------------------------------- */

static uint64_t now_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000000000 + (uint64_t)t.tv_nsec;
}

/* What lies between two of these is measured. Returns the time, of use where nobody counts instructions. */
static inline uint64_t border(bool counted)
{
	if (!counted)
		return 0;
	CALLGRIND_TOGGLE_COLLECT;
	return RUNNING_ON_VALGRIND ? 0 : now_ns();
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
			for (uint32_t i = 0; i < batch; i++)
				nic_receive(rig->nic, rig->frame, row->size);
			nic_receive_flush(rig->nic);
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
	run(rig, row, batch, row->receives ? 8 * RING : 4 * batch, PART_COUNT);
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
		{"jumbo", JUMBO, true, as_received},
		{"checksum", TCP_FRAME, false, checksum_frames},
	};
	static const struct row tso = {"tso", 0, false, super_frames};
	static const uint32_t batches[] = {8, 32, 64, 256};
	long frames = argc > 1 ? strtol(argv[1], NULL, 10) : RUNNING_ON_VALGRIND ? 16384 : 1 << 20;
	struct rig rig = {0};

	/* Whole batches, and whole rings, so that refill is counted in full. */
	if (argc > 2 || frames < 2 * RING || frames > 1 << 24 || frames % RING)
		errx(2, "usage: fwd_cost [FRAMES], a multiple of %u", RING);
	set_up(&rig);
	for (unsigned i = 0; i < sizeof(batches) / sizeof(batches[0]); i++)
		measure(&rig, &forward, batches[i], (uint32_t)frames);
	for (unsigned i = 0; i < sizeof(others) / sizeof(others[0]); i++)
		measure(&rig, &others[i], 32, (uint32_t)frames / 8);
	measure(&rig, &tso, 8, (uint32_t)frames / 128);
	tear_down(&rig);
	return 0;
}
