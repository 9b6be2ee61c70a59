/*
 * An AF_XDP endpoint: blocking read and write of frames on one queue of an interface, with the copy into and
 * out of the UMEM done for the caller. Several threads may read and write at once (reads are one after
 * another, so are writes; a reader does not hold up a writer).
 *
 * No frame that was reported as written is lost on this side of the driver: where the device drops a frame
 * for want of room, or has no cable, the endpoint hands it over again until it is taken or the time is over.
 * A frame that the kernel could not take at once (no memory, interface just gone down) is sent by the next
 * call.
 */
#ifndef IXY_XSK_ENDPOINT_H
#define IXY_XSK_ENDPOINT_H

#include "driver/xdp/xsk.h"

struct xsk_endpoint_config {
	const char *ifname;
	uint32_t queue_id;
	enum xsk_mode mode;
	uint32_t frame_size; /* as in xsk_umem_config */
	uint32_t frames;     /* half for each direction */
	bool multi_buffer;   /* frames longer than frame_size - 256, where the kernel can */
	/*
	 * The program that steers frames here, already on the interface; the endpoint registers itself with
	 * it and must be closed before it is. NULL: the built-in one, attached for the life of the endpoint.
	 */
	struct xsk_program *program;
};

struct xsk_buffer {
	void *data;
	uint32_t size;   /* read: room at data; write: bytes to send */
	uint32_t length; /* read: bytes that arrived; unused in a write */
};

struct xsk_endpoint_statistics {
	uint64_t rx_frames, rx_bytes;
	uint64_t tx_frames, tx_bytes;
	uint64_t tx_retries;          /* frames handed over again because the device dropped them */
	struct xdp_statistics kernel; /* lost before they got here; see xsk_socket_statistics() */
};

struct xsk_endpoint;

/* Open. Returns 0 or what UMEM, socket and program say. */
int xsk_endpoint_open(const struct xsk_endpoint_config *config, struct xsk_endpoint **endpoint);

/*
 * Wake whoever is inside read or write, wait until they have left, and free everything. Frames that were
 * written and not yet taken get up to a second. Returns how many of them could not be delivered: 0 as a rule.
 * No call may begin after this one; who cannot promise that calls xsk_endpoint_shutdown() first.
 */
int xsk_endpoint_close(struct xsk_endpoint *endpoint);

/* All calls under way and all later ones return -ESHUTDOWN. Any thread, also a signal handler. */
void xsk_endpoint_shutdown(struct xsk_endpoint *endpoint);

/*
 * Read one frame into data. timeout_ms: negative for ever, 0 only what is there now. Returns its length;
 * -EMSGSIZE if it is longer than size (it stays and can be read with more room: xsk_endpoint_max_frame());
 * -EAGAIN (timeout_ms 0) or -ETIMEDOUT; -ESHUTDOWN; -ENETDOWN (interface down or gone); -EINTR.
 */
int xsk_endpoint_read(struct xsk_endpoint *endpoint, void *data, uint32_t size, int timeout_ms);

/*
 * Wait as above for the first frame, then take what else is there, up to count. Returns how many, >= 1, or
 * as above.
 */
int xsk_endpoint_read_batch(
	struct xsk_endpoint *endpoint, struct xsk_buffer buffers[], uint32_t count, int timeout_ms);

/*
 * Write one frame; returns 0, or as read does. -EMSGSIZE: longer than xsk_endpoint_max_frame(), or than the
 * interface's MTU allows; -EINVAL: empty.
 */
int xsk_endpoint_write(struct xsk_endpoint *endpoint, const void *data, uint32_t size, int timeout_ms);

/*
 * Write several. Returns how many were, from the first on: fewer than count when the time is over or an error
 * comes up after the first, which the next call reports. An error with nothing written is returned at once.
 */
int xsk_endpoint_write_batch(
	struct xsk_endpoint *endpoint, const struct xsk_buffer buffers[], uint32_t count, int timeout_ms);

uint32_t xsk_endpoint_max_frame(const struct xsk_endpoint *endpoint); /* the longest frame, either way */
enum xsk_mode xsk_endpoint_mode(const struct xsk_endpoint *endpoint); /* what was got; never AUTO */
/* For poll, epoll: readable while there is a frame to read; but not for one that was answered with -EMSGSIZE. */
int xsk_endpoint_fd(const struct xsk_endpoint *endpoint);
int xsk_endpoint_statistics(struct xsk_endpoint *endpoint, struct xsk_endpoint_statistics *statistics);

#endif
