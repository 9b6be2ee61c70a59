/*
 * From the NIC out of an existing interface. The NIC's frames are complete; they are collected and handed over 64 at
 * once, past the queueing discipline.
 *
 * Frames that the interface does not take now are tried again with the next turns of the loop, and the NIC waits; what
 * it still does not take then is counted as dropped.
 */
#include "wire_dev.h"

#include <errno.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#define SNDBUF (8 << 20)
#define SIZE   (256u << 10)
#define TRIES  8 /* turns of the loop */

/* --- by the packet socket --------------------------------------------------------------------------------------- */

static void start_batch(struct dev_tx *tx)
{
	tx->first = tx->count = tx->tries = 0;
	tx->used = 0;
}

static void drop_rest(struct dev_tx *tx)
{
	tx->wire->tx_dropped += tx->count - tx->first;
	tx->first = tx->count;
}

/* One sendmmsg(). True if it is worth to go on. */
static bool send_some(struct dev_tx *tx)
{
	int n = sendmmsg(tx->fd, tx->msgs + tx->first, tx->count - tx->first, MSG_DONTWAIT);
	if (n > 0) {
		tx->first += (unsigned)n;
		tx->wire->tx_frames += (unsigned)n;
		tx->tries = 0;
		return true;
	}
	switch (errno) {
	case EINTR: return true;
	case EAGAIN:
	case ENOBUFS:
		if (++tx->tries >= TRIES)
			drop_rest(tx);
		return false;
	case ENETDOWN:
	case ENXIO: drop_rest(tx); return false;
	default: /* EMSGSIZE: longer than this interface's MTU allows */
		tx->first++;
		tx->wire->tx_dropped++;
		return true;
	}
}

static void packet_flush(struct dev_tx *tx)
{
	if (tx->first == tx->count)
		return;
	while (tx->first < tx->count && send_some(tx))
		;
	tx->wire->tx_pending = tx->first < tx->count;
	if (!tx->wire->tx_pending)
		start_batch(tx);
}

static bool batch_is_full(const struct dev_tx *tx, size_t size)
{
	return tx->count == DEV_TX_BATCH || size > SIZE - tx->used;
}

static void packet_send(struct dev_tx *tx, const uint8_t *frame, size_t size)
{
	if (batch_is_full(tx, size))
		packet_flush(tx);
	if (batch_is_full(tx, size)) {
		tx->wire->tx_dropped++;
		return;
	}
	uint8_t *place = tx->memory + tx->used;
	memcpy(place, frame, size);
	tx->iov[tx->count++] = (struct iovec){place, size};
	tx->used += (size + 63) & ~(size_t)63;
	if (tx->used > SIZE)
		tx->used = SIZE;
}

/* --- send, flush ------------------------------------------------------------------------------------------------ */

void dev_tx_link(struct dev_tx *tx, bool carrier)
{
	tx->carrier = carrier;
	if (carrier || !tx->wire->tx_pending)
		return;
	drop_rest(tx);
	start_batch(tx);
	tx->wire->tx_pending = false;
}

void dev_tx_send(struct dev_tx *tx, const uint8_t *frame, size_t size)
{
	if (tx->carrier)
		packet_send(tx, frame, size);
	else
		tx->wire->tx_dropped++;
}

void dev_tx_flush(struct dev_tx *tx)
{
	packet_flush(tx);
}

/* --- open, close ------------------------------------------------------------------------------------------------ */

int dev_tx_open(struct dev_tx *tx, struct wire *wire, int ifindex)
{
	int on = 1;
	tx->wire = wire;
	tx->fd = socket(AF_PACKET, SOCK_RAW | SOCK_CLOEXEC, 0);
	if (tx->fd < 0)
		return -errno;
	tx->memory = dev_pages(SIZE);
	if (!tx->memory)
		return -ENOMEM;
	for (unsigned i = 0; i < DEV_TX_BATCH; i++) {
		tx->msgs[i].msg_hdr.msg_iov = &tx->iov[i];
		tx->msgs[i].msg_hdr.msg_iovlen = 1;
	}
	dev_set_buffer(tx->fd, SO_SNDBUFFORCE, SO_SNDBUF, SNDBUF);
	/* Protocol 0: this socket receives nothing. */
	if (setsockopt(tx->fd, SOL_PACKET, PACKET_QDISC_BYPASS, &on, sizeof on) < 0 ||
		dev_bind_packet(tx->fd, ifindex, 0) < 0)
		return -errno;
	return 0;
}

void dev_tx_close(struct dev_tx *tx)
{
	if (tx->fd >= 0)
		close(tx->fd);
	if (tx->memory)
		munmap(tx->memory, SIZE);
}
