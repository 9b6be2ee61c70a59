/*
 * Out of an existing interface by an AF_XDP socket that only sends, in copy mode. The kernel makes an skb of each
 * frame and gives it to the driver as it does with a packet socket's; the interface's queues stay what they were, and
 * no program is needed. But queue 0 has one UMEM at a time: where somebody else's is there, opening says so.
 *
 * A frame is copied once, into chunks of the UMEM, several if it is a long one. Free chunks are a stack: what was
 * used last is still in the cache. A chunk comes back when its skb has been freed, which is up to who receives it.
 * The rings have as many entries as there are chunks: a frame that finds chunks finds room.
 *
 * One sendto() sends a whole batch. Where it does not, the frames stay in the ring and go with the next turn of the
 * loop. Only one that the interface has refused is lost: the kernel has done with it, and says so.
 */
#include "wire_dev.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "driver/error.h"
#include "driver/xdp/xsk.h"

#define CHUNK_SIZE 2048u
#define CHUNKS     2048u /* 4 MiB: half of what RLIMIT_MEMLOCK usually is */
#define FRAME_MAX  9u    /* chunks: NIC_FRAME_MAX and tags */
#define FILL_RING  64u   /* must be there, and stays empty */
#define SNDBUF     (8 << 20)

#define BUDGET_MIN  32u   /* frames a sendto() where the kernel's budget cannot be set (before Linux 6.17) */
#define PATIENCE_US 10000 /* how long nothing may move before the frames are given up */
#define BUSY_MS     500   /* the kernel takes a moment to let go of a queue that was just closed */

static_assert((CHUNKS & (CHUNKS - 1)) == 0, "rings have a power of two entries");
static_assert(
	FRAME_MAX * CHUNK_SIZE > NIC_FRAME_MAX + 8 && FRAME_MAX <= XSK_MAX_SEGMENTS, "a frame's chunks");

struct dev_xdp {
	struct wire *wire;
	struct xsk_umem *umem;
	struct xsk_socket *socket;
	struct xsk_queues *queues;
	int64_t stuck_since_us; /* 0: it is not */

	/* Staged: to go into the TX ring with the next flush. */
	unsigned staged, count; /* frames, descriptors */
	struct xdp_desc descs[DEV_TX_BATCH * FRAME_MAX];

	/* In the TX ring: frames head..tail-1, and the descriptors that each has (entry n modulo CHUNKS). */
	uint32_t head, tail;
	uint32_t in_ring; /* descriptors */
	uint8_t segments[CHUNKS];

	/* The free chunks. */
	unsigned free;
	uint64_t stack[CHUNKS];
};

/* --- chunks --------------------------------------------------------------------------------------------- */

static void reclaim(struct dev_xdp *xdp)
{
	/* Never more than there are, whatever the kernel says. */
	while (xdp->free < CHUNKS) {
		uint32_t n = xsk_complete(xdp->queues, xdp->stack + xdp->free, CHUNKS - xdp->free);
		if (n == 0)
			break;
		xdp->free += n;
	}
}

static bool has_room(const struct dev_xdp *xdp, size_t size)
{
	/* Before Linux 6.17 chunks may be back before it is known that their frames have left the ring. */
	return xdp->staged < DEV_TX_BATCH && xdp->tail + xdp->staged - xdp->head < CHUNKS &&
	       size <= (size_t)xdp->free * CHUNK_SIZE;
}

static void stage(struct dev_xdp *xdp, const uint8_t *frame, size_t size)
{
	unsigned before = xdp->count;
	while (size > 0) {
		uint64_t addr = xdp->stack[--xdp->free];
		size_t part = size < CHUNK_SIZE ? size : CHUNK_SIZE;
		memcpy(xdp->umem->memory + addr, frame, part);
		frame += part;
		size -= part;
		xdp->descs[xdp->count++] = (struct xdp_desc){
			.addr = addr,
			.len = (uint32_t)part,
			.options = size > 0 ? XDP_PKT_CONTD : 0,
		};
	}
	xdp->segments[(xdp->tail + xdp->staged++) % CHUNKS] = (uint8_t)(xdp->count - before);
}

/* --- the TX ring ---------------------------------------------------------------------------------------- */

/* What is staged into the ring. */
static void submit(struct dev_xdp *xdp)
{
	if (xsk_transmit(xdp->socket, xdp->descs, xdp->count) == (int)xdp->count) {
		xdp->tail += xdp->staged;
		xdp->in_ring += xdp->count;
	} else { /* only while a kernel before Linux 6.17 does not tell how far it has got */
		xdp->wire->tx_dropped += xdp->staged;
		while (xdp->count > 0)
			xdp->stack[xdp->free++] = xdp->descs[--xdp->count].addr;
	}
	xdp->staged = xdp->count = 0;
}

static void first_has_left(struct dev_xdp *xdp)
{
	xdp->in_ring -= xdp->segments[xdp->head++ % CHUNKS];
}

/* Frames that have left the ring since it was looked at last. Before Linux 6.17 the kernel may tell that late. */
static unsigned left_ring(struct dev_xdp *xdp)
{
	uint32_t before = xdp->head, still = CHUNKS - xsk_num_free_tx_slots(xdp->socket);
	while (xdp->head != xdp->tail && xdp->in_ring > still)
		first_has_left(xdp);
	return xdp->head - before;
}

/* Let the kernel send what is in the ring. Returns 0, or why there is still something in it. */
static int push(struct dev_xdp *xdp)
{
	struct wire *wire = xdp->wire;
	int rc = -EAGAIN;
	for (unsigned calls = 1 + xdp->in_ring / BUDGET_MIN; rc == -EAGAIN && calls > 0; calls--)
		rc = xsk_wake_tx(xdp->socket);
	if (rc == 0) {
		wire->tx_frames += xdp->tail - xdp->head;
		xdp->head = xdp->tail;
		xdp->in_ring = 0;
		return 0;
	}
	unsigned frames = left_ring(xdp);
	if (rc == -EBUSY) { /* the last of those was refused; the ones behind it would fare no better now */
		if (frames == 0)
			first_has_left(xdp); /* the kernel tells nothing of a call that sent no frame */
		else
			frames--;
		wire->tx_dropped++;
	}
	wire->tx_frames += frames;
	return xdp->head == xdp->tail ? 0 : rc;
}

/* --- send, flush ---------------------------------------------------------------------------------------- */

/* True while it may still go on by itself. */
static bool may_wait(struct dev_xdp *xdp)
{
	int64_t now_us = clock_us();
	if (xdp->stuck_since_us == 0)
		xdp->stuck_since_us = now_us;
	return now_us - xdp->stuck_since_us < PATIENCE_US;
}

int dev_xdp_flush(struct dev_xdp *xdp)
{
	uint32_t before = xdp->head;
	int rc = 0;
	if (xdp->count == 0 && xdp->in_ring == 0 && xdp->free >= FRAME_MAX)
		return 0;
	if (xdp->count)
		submit(xdp);
	if (xdp->in_ring)
		rc = push(xdp);
	reclaim(xdp);
	if (rc == -ENETDOWN || rc == -ENXIO)
		return rc;
	bool waits = rc != 0 || xdp->free < FRAME_MAX;
	if (!waits || (rc != 0 && xdp->head != before)) /* it moves, if slowly */
		xdp->stuck_since_us = 0;
	if (waits && !may_wait(xdp)) {
		if (rc)
			return rc;
		waits = false; /* somebody does not let go of the chunks */
	}
	xdp->wire->tx_pending = waits;
	return 0;
}

void dev_xdp_send(struct dev_xdp *xdp, const uint8_t *frame, size_t size)
{
	if (!has_room(xdp, size))
		dev_xdp_flush(xdp); /* if that fails, the flush at the turn's end will, too, and tell */
	if (has_room(xdp, size))
		stage(xdp, frame, size);
	else
		xdp->wire->tx_dropped++;
}

/* --- open, close ---------------------------------------------------------------------------------------- */

void dev_xdp_close(struct dev_xdp *xdp)
{
	if (!xdp)
		return;
	xdp->wire->tx_dropped += xdp->staged + (xdp->tail - xdp->head);
	xdp->wire->tx_pending = false;
	xsk_socket_close(xdp->socket);
	xsk_umem_free(xdp->umem);
	free(xdp);
}

int dev_xdp_open(struct dev_xdp **opened, struct wire *wire, const char *ifname)
{
	struct dev_xdp *xdp = calloc(1, sizeof *xdp);
	if (!xdp)
		return ixy_fail(ENOMEM, "out of memory");
	xdp->wire = wire;
	int rc = xsk_umem_create(
		&(struct xsk_umem_config){
			.frame_size = CHUNK_SIZE,
			.frames = CHUNKS,
			.fill_size = FILL_RING,
			.completion_size = CHUNKS,
		},
		&xdp->umem);
	if (!rc)
		rc = xsk_socket_open(xdp->umem,
			&(struct xsk_socket_config){
				.ifname = ifname,
				.tx_size = CHUNKS,
				.flags = XSK_TX_ONLY | XSK_MULTI_BUFFER,
				.mode = XSK_MODE_NATIVE,
				.tx_budget = CHUNKS,
				.busy_timeout_ms = BUSY_MS,
			},
			&xdp->socket);
	if (rc) {
		struct ixy_error why;
		ixy_error_save(&why);
		dev_xdp_close(xdp);
		ixy_error_restore(&why);
		return rc;
	}
	dev_set_buffer(xsk_socket_fd(xdp->socket), SO_SNDBUFFORCE, SO_SNDBUF, SNDBUF);
	xdp->queues = xsk_socket_queues(xdp->socket);
	/* The lowest on top. */
	while (xdp->free < CHUNKS) {
		xdp->stack[xdp->free] = xsk_frame_addr(xdp->umem, CHUNKS - 1 - xdp->free);
		xdp->free++;
	}
	*opened = xdp;
	return 0;
}
