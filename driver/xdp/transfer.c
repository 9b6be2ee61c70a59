/*
 * Frames across the rings: fill, receive, transmit, complete; the wake-ups; how full the rings are.
 *
 * Everything from the kernel is checked before it is believed: an address must lie in the UMEM. What goes to
 * the kernel is checked too, because the kernel silently swallows what it does not like, and the frame is
 * gone.
 */
#include <errno.h>
#include <poll.h>
#include <string.h>

#include "driver/clock.h"
#include "driver/xdp/xsk_parts.h"

#define likely(x)   __builtin_expect(!!(x), 1)
#define unlikely(x) __builtin_expect(!!(x), 0)

/* Frames that the kernel sends a wake-up in copy mode, at least (TX_BATCH_SIZE in net/xdp/xsk.c). */
#define TX_BUDGET 32

/* --- receive -------------------------------------------------------------------------------------------- */

/* The kernel wants the whole chunk to lie in the UMEM; in aligned mode it does when its start does. */
static inline bool can_be_filled(const struct xsk_umem *umem, uint64_t addr)
{
	return xsk_addr_frame(umem, addr) <= umem->size - umem->frame_size;
}

int xsk_fill(struct xsk_queues *queues, const uint64_t addrs[], uint32_t count)
{
	const struct xsk_umem *umem = queues->umem;
	struct xsk_ring *ring = &queues->fill;

	if (!ring_can_produce(ring, count))
		return 0;
	for (uint32_t i = 0; i < count; i++) {
		if (unlikely(!can_be_filled(umem, addrs[i])))
			return -EINVAL;
		ring->addrs[(ring->own + i) & ring->mask] = xsk_addr_frame(umem, addrs[i]);
	}
	counter_add(&queues->filled, count);
	ring_produce(ring, count);
	return (int)count;
}

int xsk_fill_one(struct xsk_queues *queues, uint64_t addr)
{
	return xsk_fill(queues, &addr, 1);
}

int xsk_fill_descs(struct xsk_queues *queues, const struct xdp_desc descs[], uint32_t count)
{
	const struct xsk_umem *umem = queues->umem;
	struct xsk_ring *ring = &queues->fill;

	if (!ring_can_produce(ring, count))
		return 0;
	for (uint32_t i = 0; i < count; i++) {
		if (unlikely(!can_be_filled(umem, descs[i].addr)))
			return -EINVAL;
		ring->addrs[(ring->own + i) & ring->mask] = xsk_addr_frame(umem, descs[i].addr);
	}
	counter_add(&queues->filled, count);
	ring_produce(ring, count);
	return (int)count;
}

/*
 * How many of count descriptors are whole frames. A frame that is not all there yet stays in the ring, unless
 * it fills all that the caller has room for.
 */
static uint32_t whole_frames(const struct xdp_desc descs[], uint32_t count, uint32_t max)
{
	uint32_t whole = count;

	while (whole && descs[whole - 1].options & XDP_PKT_CONTD)
		whole--;
	return whole || count < max ? whole : count;
}

uint32_t xsk_receive(struct xsk_socket *socket, struct xdp_desc descs[], uint32_t max)
{
	const struct xsk_umem *umem = socket->umem;
	struct xsk_ring *ring = &socket->rx;
	uint32_t taken = ring_can_consume(ring, max), count = 0;

	if (!taken)
		return 0;
	for (uint32_t i = 0; i < taken; i++)
		descs[i] = ring->descs[(ring->own + i) & ring->mask];
	if (socket->multi_buffer)
		taken = whole_frames(descs, taken, max);
	ring_consume(ring, taken);
	counter_add(&socket->received, taken);
	for (uint32_t i = 0; i < taken; i++) {
		if (likely(xsk_addr_valid(umem, descs[i].addr, descs[i].len)))
			descs[count++] = descs[i];
		else
			counter_add(&socket->bad_entries, 1);
	}
	return count;
}

uint32_t xsk_receive_one(struct xsk_socket *socket, struct xdp_desc *desc)
{
	return xsk_receive(socket, desc, 1);
}

/* --- send ----------------------------------------------------------------------------------------------- */

/*
 * In a UMEM with TX metadata the kernel wants its room before every descriptor, also before those that have none;
 * in unaligned mode, where the room is another frame's end unless there is metadata, only within the UMEM.
 */
static bool has_room_for_metadata(const struct xsk_umem *umem, const struct xdp_desc *desc)
{
	bool whole_umem = umem->flags & XSK_UMEM_UNALIGNED && !(desc->options & XDP_TX_METADATA);
	uint64_t start = whole_umem ? 0 : xsk_addr_frame(umem, desc->addr);

	return xsk_addr_offset(desc->addr) - start >= sizeof(struct xsk_tx_meta);
}

/* What xsk_tx_validate_desc() of the kernel demands; a descriptor that it refuses never completes. */
static inline bool can_be_sent(const struct xsk_socket *socket, const struct xdp_desc *desc)
{
	const struct xsk_umem *umem = socket->umem;
	uint32_t options = desc->options;

	if (unlikely(!desc->len || !xsk_addr_valid(umem, desc->addr, desc->len)))
		return false;
	if (unlikely(umem->flags & XSK_UMEM_TX_METADATA) && !has_room_for_metadata(umem, desc))
		return false;
	if (likely(!options))
		return true;
	if (options & XDP_PKT_CONTD && !socket->multi_buffer)
		return false;
	if (options & XDP_TX_METADATA && !(umem->flags & XSK_UMEM_TX_METADATA))
		return false;
	return !(options & ~(uint32_t)(XDP_PKT_CONTD | XDP_TX_METADATA));
}

int xsk_transmit(struct xsk_socket *socket, const struct xdp_desc descs[], uint32_t count)
{
	struct xsk_ring *ring = &socket->tx;
	uint32_t segments = 0;

	if (unlikely(!ring_can_produce(ring, count)))
		return 0;
	for (uint32_t i = 0; i < count; i++) {
		if (unlikely(!can_be_sent(socket, &descs[i])))
			return -EINVAL;
		segments = descs[i].options & XDP_PKT_CONTD ? segments + 1 : 0;
		if (unlikely(segments >= XSK_MAX_SEGMENTS))
			return -EINVAL;
		ring->descs[(ring->own + i) & ring->mask] = descs[i];
	}
	if (unlikely(segments))
		return -EINVAL; /* half a frame */
	counter_add(&socket->transmitted, count);
	ring_produce(ring, count);
	return (int)count;
}

int xsk_transmit_one(struct xsk_socket *socket, const struct xdp_desc *desc)
{
	return xsk_transmit(socket, desc, 1);
}

uint32_t xsk_complete(struct xsk_queues *queues, uint64_t addrs[], uint32_t max)
{
	const struct xsk_umem *umem = queues->umem;
	struct xsk_ring *ring = &queues->completion;
	uint32_t taken = ring_can_consume(ring, max), count = 0;

	if (!taken)
		return 0;
	for (uint32_t i = 0; i < taken; i++) {
		uint64_t addr = ring->addrs[(ring->own + i) & ring->mask];

		if (likely(xsk_addr_valid(umem, addr, 1)))
			addrs[count++] = addr;
		else
			counter_add(&queues->bad_entries, 1);
	}
	ring_consume(ring, taken);
	counter_add(&queues->completed, taken);
	return count;
}

uint32_t xsk_complete_one(struct xsk_queues *queues, uint64_t *addr)
{
	return xsk_complete(queues, addr, 1);
}

/* --- wake-ups ------------------------------------------------------------------------------------------- */

bool xsk_fill_needs_wakeup(const struct xsk_queues *queues)
{
	return ring_needs_wakeup(&queues->fill);
}

bool xsk_tx_needs_wakeup(const struct xsk_socket *socket)
{
	return socket->tx.size && (!socket->need_wakeup || ring_needs_wakeup(&socket->tx));
}

int xsk_wake_rx(const struct xsk_socket *socket)
{
	return recvfrom(socket->fd, NULL, 0, MSG_DONTWAIT, NULL, NULL) < 0 ? -errno : 0;
}

int xsk_wake_tx(const struct xsk_socket *socket)
{
	return sendto(socket->fd, NULL, 0, MSG_DONTWAIT, NULL, 0) < 0 ? -errno : 0;
}

int xsk_fill_and_wake(struct xsk_socket *socket, const uint64_t addrs[], uint32_t count)
{
	int rc = xsk_fill(socket->queues, addrs, count);

	if (rc > 0 && xsk_fill_needs_wakeup(socket->queues))
		xsk_wake_rx(socket);
	return rc;
}

int xsk_flush_tx(struct xsk_socket *socket, uint64_t *dropped)
{
	/*
	 * That many calls are enough: each that ends early has sent TX_BUDGET frames or dropped one. Whether
	 * it made progress cannot be seen from here: older kernels publish their index only later.
	 */
	uint32_t pending = ring_count(&socket->tx);
	uint32_t budget_stops = pending / TX_BUDGET + 1, drops = pending;

	/* Nothing to send. A driver that sends by itself may want the call all the same: to complete frames. */
	if (!pending && !socket->zero_copy)
		return 0;
	while (xsk_tx_needs_wakeup(socket)) {
		int rc = xsk_wake_tx(socket);

		if (rc == -EBUSY && drops--) {
			if (dropped)
				++*dropped;
		} else if (rc != -EAGAIN || !budget_stops--) {
			return rc;
		}
	}
	return 0;
}

int xsk_transmit_and_wake(struct xsk_socket *socket, const struct xdp_desc descs[], uint32_t count)
{
	int rc = xsk_transmit(socket, descs, count);

	if (rc > 0)
		xsk_flush_tx(socket, NULL);
	return rc;
}

/* --- waiting -------------------------------------------------------------------------------------------- */

/*
 * The kernel does not wake up a poll when the interface goes away, so a long wait is cut into these, and the
 * interface looked at in between.
 */
#define SLICE_MS 500

int xsk_socket_poll(const struct xsk_socket *socket, short events, int timeout_ms)
{
	struct pollfd p = {.fd = socket->fd, .events = events};
	int rc = poll(&p, 1, timeout_ms);

	return rc < 0 ? -errno : rc == 0 ? 0 : p.revents;
}

int xsk_receive_wait(struct xsk_socket *socket, struct xdp_desc descs[], uint32_t max, int timeout_ms)
{
	const uint64_t start = clock_ns();

	for (int left = timeout_ms;;) {
		uint32_t count = xsk_receive(socket, descs, max);
		int rc;

		if (count || !left)
			return (int)count;
		rc = xsk_socket_poll(socket, POLLIN, left < 0 || left > SLICE_MS ? SLICE_MS : left);
		if (rc < 0)
			return rc;
		if (rc & POLLNVAL)
			return -EBADF;
		if (!(rc & POLLIN)) {
			/* Answers only whether the socket is alive and its interface up. */
			rc = xsk_wake_rx(socket);
			if (rc == -ENETDOWN || rc == -ENXIO)
				return -ENETDOWN;
		}
		if (timeout_ms > 0) {
			int64_t passed = (int64_t)((clock_ns() - start) / 1000000);

			left = passed < timeout_ms ? (int)(timeout_ms - passed) : 0;
		}
	}
}

/* --- how full the rings are ----------------------------------------------------------------------------- */

uint32_t xsk_num_free_fill_slots(const struct xsk_queues *queues)
{
	return queues->fill.size - ring_count(&queues->fill);
}

uint32_t xsk_num_free_tx_slots(const struct xsk_socket *socket)
{
	return socket->tx.size - ring_count(&socket->tx);
}

uint32_t xsk_num_received(const struct xsk_socket *socket)
{
	return ring_count(&socket->rx);
}

uint32_t xsk_num_completed(const struct xsk_queues *queues)
{
	return ring_count(&queues->completion);
}

/*
 * What was given less what came back, over all sockets of the queue that are or were. What came back is read
 * first, and counted after what was given: so the difference is never negative (counter_add()'s order).
 */
uint32_t xsk_num_filled(const struct xsk_queues *queues)
{
	struct xsk_umem_state *state = queues->umem->state;
	uint64_t back;

	pthread_mutex_lock(&state->lock);
	back = queues->past_received;
	for (const struct xsk_socket *s = state->sockets; s; s = s->next)
		if (s->queues == queues)
			back += counter_read(&s->received);
	pthread_mutex_unlock(&state->lock);
	return (uint32_t)(counter_read(&queues->filled) - back);
}

uint32_t xsk_num_transmitted(const struct xsk_queues *queues)
{
	struct xsk_umem_state *state = queues->umem->state;
	uint64_t back = counter_read(&queues->completed), given;

	pthread_mutex_lock(&state->lock);
	given = queues->past_transmitted;
	for (const struct xsk_socket *s = state->sockets; s; s = s->next)
		if (s->queues == queues)
			given += counter_read(&s->transmitted);
	pthread_mutex_unlock(&state->lock);
	return (uint32_t)(given - back);
}
