/*
 * From the NIC out of an existing interface. The NIC's frames are complete; they are collected and handed over 64 at
 * once, past the queueing discipline.
 *
 * There are two ways. AF_XDP (wire_dev_xdp.c) costs less a frame: its system call goes along a ring, where that of a
 * packet socket takes in an address, a vector and options with each frame. It needs an interface that is up, so it is
 * tried when the carrier comes. The packet socket, which every kernel has and which nobody else can be in the way of,
 * is there all the time and sends where AF_XDP is not to be had.
 *
 * Either way, frames that the interface does not take now are tried again with the next turns of the loop, and the NIC
 * waits; what it still does not take then is counted as dropped.
 */
#include "wire_dev.h"

#include <errno.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "driver/ixy.h"
#include "log.h"

#define SNDBUF    (8 << 20)
#define SIZE      (256u << 10)
#define TRIES     8 /* turns of the loop */
#define VLAN_SIZE 4

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
	default: /* EMSGSIZE: the MTU has just become less */
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

/* --- which way -------------------------------------------------------------------------------------------------- */

static void begin_xdp(struct dev_tx *tx, const char *ifname)
{
	packet_flush(tx);
	if (tx->count)
		return; /* those go first */
	tx->xdp_wanted = false;
	if (dev_xdp_open(&tx->xdp, tx->wire, ifname) == 0 || tx->told)
		return;
	tx->told = true;
	softnic_info("port %u: %s: sending by packet socket, not by AF_XDP: %s", tx->wire->nic->port, ifname,
		ixy_last_error());
}

/* Until the interface is looked at again. */
static void end_xdp(struct dev_tx *tx)
{
	dev_xdp_close(tx->xdp);
	tx->xdp = NULL;
	tx->xdp_wanted = true;
}

static void drop_pending(struct dev_tx *tx)
{
	if (!tx->wire->tx_pending)
		return;
	if (tx->xdp) {
		end_xdp(tx); /* the kernel keeps what is in the ring, and would send it when the carrier is back */
	} else {
		drop_rest(tx);
		start_batch(tx);
		tx->wire->tx_pending = false;
	}
}

void dev_tx_link(struct dev_tx *tx, const char *ifname, bool carrier, unsigned mtu)
{
	tx->carrier = carrier;
	tx->mtu = mtu;
	if (!carrier) {
		drop_pending(tx);
		tx->xdp_wanted = !tx->xdp;
	} else if (tx->xdp_wanted) {
		begin_xdp(tx, ifname);
	}
}

/*
 * AF_XDP does not look at the MTU; the packet socket does, and lets an 802.1Q tag come on top of it. Many a virtual
 * interface would pass on what its owner has forbidden.
 */
static bool too_long(const struct dev_tx *tx, const uint8_t *frame, size_t size)
{
	size_t longest = ETH_HLEN + (size_t)tx->mtu;
	if (size <= longest)
		return false;
	bool tagged = frame[12] == ETH_P_8021Q >> 8 && frame[13] == (ETH_P_8021Q & 0xFF);
	return !tagged || size > longest + VLAN_SIZE;
}

void dev_tx_send(struct dev_tx *tx, const uint8_t *frame, size_t size)
{
	if (!tx->carrier || too_long(tx, frame, size))
		tx->wire->tx_dropped++;
	else if (tx->xdp)
		dev_xdp_send(tx->xdp, frame, size);
	else
		packet_send(tx, frame, size);
}

void dev_tx_flush(struct dev_tx *tx)
{
	if (!tx->xdp)
		packet_flush(tx);
	else if (dev_xdp_flush(tx->xdp) < 0)
		end_xdp(tx);
}

/* --- open, close ------------------------------------------------------------------------------------------------ */

int dev_tx_open(struct dev_tx *tx, struct wire *wire, int ifindex)
{
	int on = 1;
	tx->wire = wire;
	tx->xdp_wanted = true;
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
	dev_xdp_close(tx->xdp);
	if (tx->fd >= 0)
		close(tx->fd);
	if (tx->memory)
		munmap(tx->memory, SIZE);
}
