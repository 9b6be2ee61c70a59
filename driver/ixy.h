/*
 * ixy: a NIC's rings in your own process.
 *
 *	struct ixy_device *dev;
 *	if (ixy_open("0000:03:00.0", NULL, &dev) < 0)
 *		errx(1, "%s", ixy_last_error());
 *	for (;;) {
 *		uint32_t n = ixy_rx_batch(dev, 0, bufs, 32);
 *		ixy_tx_batch_busy_wait(dev, 0, bufs, n);
 *	}
 *
 * Device specs
 *	0000:03:00.0        a PCI function (Intel 82599, virtio NIC), by VFIO if it is bound to vfio-pci, else through
 *	                    sysfs
 *	xdp:eth1            an interface that Linux drives, shared with the kernel by AF_XDP
 *	soft:veth1          the software 82599, its cable plugged into the existing interface veth1
 *	vfio-user:/run/x    a PCI function that another process serves over the vfio-user protocol
 *
 * Errors: functions return 0 (or a count) or a negative errno, and leave the reason in words in
 * ixy_last_error(). The library never prints, never exits and never waits on hardware without a bound.
 *
 * Threads: a queue (receive or transmit, by number) is used by one thread at a time, together with the
 * mempools whose buffers pass through it. Different queues may be used by different threads without any lock.
 * All other functions belong to one control thread, except where their description says "any thread".
 */
#ifndef IXY_H
#define IXY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "driver/drop.h"
#include "driver/packet.h"

struct ixy_device;

#define IXY_MAX_QUEUES 16
#define IXY_MIN_MTU    68
#define IXY_MAX_BATCH  256 /* frames a call that the statistics histogram knows; larger batches work too */

enum ixy_log_level {
	IXY_LOG_ERROR = 3,
	IXY_LOG_WARNING = 4,
	IXY_LOG_INFO = 6,
	IXY_LOG_DEBUG = 7
}; /* as syslog */

/* What a device can do; ixy_capabilities() returns a set of these. */
#define IXY_CAP_RX_CSUM    (1u << 0) /* verifies checksums: PKT_RX_*_CSUM_GOOD */
#define IXY_CAP_TX_CSUM    (1u << 1) /* PKT_TX_L4_CSUM */
#define IXY_CAP_TSO        (1u << 2) /* PKT_TX_TSO4, PKT_TX_TSO6 */
#define IXY_CAP_RSS        (1u << 3) /* spreads flows over receive queues */
#define IXY_CAP_JUMBO      (1u << 4) /* MTU over 1500 */
#define IXY_CAP_INTERRUPTS (1u << 5) /* ixy_rx_irq_fd() and ixy_event_fd() give descriptors to sleep on */
#define IXY_CAP_USO        (1u << 6) /* PKT_TX_USO */

/*
 * Which addresses a PCI function is given for its DMA. AUTO is what its way suggests: physical ones where nothing
 * translates (sysfs), otherwise virtual ones, which need neither privileges nor huge pages.
 */
enum ixy_iova {
	IXY_IOVA_AUTO,
	IXY_IOVA_PA, /* physical: huge pages, and CAP_SYS_ADMIN to learn the addresses */
	IXY_IOVA_VA, /* those of this process: an IOMMU, or a vfio-user server, translates */
};

/* Zero means the default for every member, so `struct ixy_options o = {.rx_queues = 4}` is complete. */
struct ixy_options {
	uint16_t rx_queues, tx_queues; /* 1 .. IXY_MAX_QUEUES; default 1 */
	uint16_t rx_ring,
		tx_ring; /* descriptors a ring, power of two, 64 .. 4096; default 512; xdp: 2048 to receive */
	uint16_t mtu;    /* default 1500 */
	uint16_t
		irq_interval_us; /* shortest time between two interrupts of a queue (EITR); default 20, at most 1022 */
	bool no_interrupts;       /* open without interrupts: the caller polls */
	bool force;               /* take a NIC although its kernel interface is up with an address */
	bool rx_super_frames;     /* the caller takes super-frames of TCP: see ixy_rx_batch() */
	bool rx_super_frames_udp; /* with rx_super_frames: and of UDP */
	bool reserve_huge_pages;  /* reserve missing huge pages (root) instead of failing */
	uint32_t pool_buffers;    /* buffers that the caller's own pools will hold: for the huge page count */
	enum ixy_iova iova;       /* -EINVAL where the device cannot be given such addresses */
	const char *softnic_path; /* the ixy-softnic program for soft:; default: beside this one, then PATH */
};

/* --- life of a device ---------------------------------------------------------------------------- */

/*
 * Bring the device up: reset it, set up its rings, start its link (which comes up in the background: see
 * ixy_link_get()). options may be NULL. On return *dev is ready for rx and tx.
 * Returns 0 or
 *	-ENODEV           no such device, or no driver for it
 *	-EBUSY            the NIC is a live interface of this host (options->force overrides), or another
 *	                  process has it
 *	-EACCES, -EPERM   not permitted; the text says what is missing
 *	-ENOMEM           no memory or no huge pages; the text says how many and the command
 *	-EINVAL           bad spec or options
 *	-EIO, -ETIMEDOUT, -EPROTO
 *	                  the device does not behave as its datasheet says
 */
int ixy_open(const char *spec, const struct ixy_options *options, struct ixy_device **dev);

/*
 * Stop DMA and interrupts, release memory, give the device back to where it came from. All buffers that the
 * rings hold return to their pools; free pools made for this device (ixy_mempool_free) after ixy_stop() and
 * before ixy_close(). NULL is allowed.
 */
void ixy_close(struct ixy_device *dev);

/*
 * The queue pairs that a spec itself asks for (xdp:eth1,queues=4): what rx_queues and tx_queues of the options have
 * to be, or 1. 0: it does not say.
 */
uint16_t ixy_spec_queues(const char *spec);

/*
 * The first step of an end without losses: no frame comes in any more, those that have been received can still be
 * taken. Sending may be over, too. Nothing brings the device back from there.
 */
void ixy_shut(struct ixy_device *dev);

/*
 * Stop DMA, both directions, and take all buffers out of the rings, back into their pools. The queues may
 * still be called: nothing is received, what is sent counts as tx-link-down.
 */
void ixy_stop(struct ixy_device *dev);

/* The sentence that goes with the last failure in this thread; "" if none. Valid until the next failure. */
const char *ixy_last_error(void);

/* Where notices go (link changes, resets, fallbacks). Default: nowhere. Set before ixy_open(). */
void ixy_set_log(void (*callback)(enum ixy_log_level level, const char *text));

/* --- frames -------------------------------------------------------------------------------------- */

/*
 * Take up to count received frames from a queue. Never blocks. Returns how many are in bufs[]; the caller
 * owns them. frame_size, segments, flags and rss_hash are set in each first segment. A frame has no CRC.
 *
 * A sender on the same host may have left a frame's L4 checksum to be completed (virtio, AF_XDP on a veth): the frame
 * has PKT_TX_L4_CSUM then, with csum_start and csum_offset set, and can be sent on as it is. With
 * options->rx_super_frames it may also be a super-frame (virtio): PKT_TX_TSO4, PKT_TX_TSO6 or PKT_TX_USO, gso_size and
 * header_size besides, in up to 40 buffers.
 */
uint32_t ixy_rx_batch(struct ixy_device *dev, uint16_t queue, struct pkt_buf *bufs[], uint32_t count);

/*
 * Queue up to count frames for sending. Never blocks. The first n that fit belong to the device from here
 * on, n being the return value; the caller keeps bufs[n..]. A frame that the NIC cannot send (too long, bad
 * offload request) counts as taken: it is freed and counted under its drop reason.
 * Also reclaims the buffers of frames that have left. With count 0 it does only that: call it now and then
 * on an idle queue.
 */
uint32_t ixy_tx_batch(struct ixy_device *dev, uint16_t queue, struct pkt_buf *bufs[], uint32_t count);

/*
 * The same until all are queued, or nothing moved for 100 ms (link down, hung device): what could not be
 * sent by then is freed and counted as tx-ring-full. Returns how many were queued.
 */
uint32_t ixy_tx_batch_busy_wait(
	struct ixy_device *dev, uint16_t queue, struct pkt_buf *bufs[], uint32_t count);

/* Frames or descriptors still on their way out of this queue; 0 when all have left. Same thread as tx. */
uint32_t ixy_tx_pending(struct ixy_device *dev, uint16_t queue);

/* --- sleeping ------------------------------------------------------------------------------------ */

/*
 * File descriptor that becomes readable when a frame arrives at queue; -ENOTSUP where the device has no
 * interrupts. Wait on it only after ixy_rx_irq_arm() and one more look at the queue:
 *
 *	while (ixy_rx_batch() returned frames) ...
 *	ixy_rx_irq_arm(dev, queue);
 *	if (ixy_rx_batch() returns nothing) poll(fd)		// or the last frames would strand
 */
int ixy_rx_irq_fd(const struct ixy_device *dev, uint16_t queue);

/* Clear what is pending on the descriptor and let the next frame signal it. The thread of the queue. */
void ixy_rx_irq_arm(struct ixy_device *dev, uint16_t queue);

/* Readable when something else happened (link change, device gone): call ixy_poll_events(). Or -ENOTSUP. */
int ixy_event_fd(const struct ixy_device *dev);

/*
 * The device's housekeeping: reads the link, accumulates the NIC's 32-bit counters, looks for a hung
 * transmit queue and for a device that has gone. Call it when ixy_event_fd() is readable and at least every
 * 500 ms. Bits of what happened since the last call:
 */
#define IXY_EVENT_LINK  (1u << 0) /* link state or speed changed: ixy_link_get() */
#define IXY_EVENT_RESET (1u << 1) /* hung, or reset by others: the queues' threads must pause, ixy_reset() */
#define IXY_EVENT_GONE  (1u << 2) /* it was removed, or has to go; ixy_last_error() says more: ixy_close() */
uint32_t ixy_poll_events(struct ixy_device *dev);

/*
 * Reset the device and bring it up as it was: MAC, MTU, filters, promiscuity stay. Frames in the transmit
 * rings are freed and counted as tx-reset, those in the receive rings as rx-reset. No other thread may be
 * inside a function of this device.
 */
int ixy_reset(struct ixy_device *dev);

/* --- what a device is ---------------------------------------------------------------------------- */

struct ixy_mac {
	uint8_t addr[6]; /* in the order of the wire */
};

struct ixy_link {
	bool up;
	uint32_t speed; /* Mbit/s: 10000, 1000, 100; 0 when down */
};

const char *ixy_driver_name(const struct ixy_device *dev); /* "ixgbe", "virtio", "xdp" */
const char *ixy_device_name(const struct ixy_device *dev); /* the spec it was opened with */
uint32_t ixy_capabilities(const struct ixy_device *dev);
uint16_t ixy_rx_queues(const struct ixy_device *dev);
uint16_t ixy_tx_queues(const struct ixy_device *dev);
uint16_t ixy_max_mtu(const struct ixy_device *dev); /* 9710 on an 82599 */

/*
 * The pool whose buffers a queue receives into: to be shared with a device that is to send them as they are. It is
 * the device's own and lives until ixy_close(). NULL: none that could be shared, so frames have to be copied.
 */
struct mempool *ixy_rx_pool(const struct ixy_device *dev, uint16_t queue);

/* As of the last ixy_poll_events(); any thread. */
struct ixy_link ixy_link_get(const struct ixy_device *dev);

/*
 * Admin state of the port. Down: laser off, so that the peer sees no carrier, and no frame is received.
 * Up (the state after ixy_open): laser on, link brought up in the background.
 */
int ixy_set_up(struct ixy_device *dev, bool up);

struct ixy_mac ixy_mac_get(const struct ixy_device *dev); /* the address in use */
/* Receive for this unicast address from now on. -EINVAL for a multicast or zero address. */
int ixy_mac_set(struct ixy_device *dev, struct ixy_mac mac);

/* Receive for these unicast addresses too. -ENOSPC over the device's filters (127): use promiscuity then. */
int ixy_set_unicast(struct ixy_device *dev, const struct ixy_mac macs[], size_t count);

/*
 * Receive for these multicast groups; the list replaces the one before. May let through a few others (hash).
 */
int ixy_set_multicast(struct ixy_device *dev, const struct ixy_mac macs[], size_t count);
int ixy_set_promisc(struct ixy_device *dev, bool on);
int ixy_set_allmulti(struct ixy_device *dev, bool on);

/*
 * Longest payload of an Ethernet frame, in bytes (68 .. ixy_max_mtu()); a VLAN tag may come on top. -EINVAL
 * outside. Takes effect at once for both directions, without a reset. ixy_mtu_get(): any thread.
 */
int ixy_mtu_set(struct ixy_device *dev, uint16_t mtu);
uint16_t ixy_mtu_get(const struct ixy_device *dev);

/* Bytes of a frame beside its MTU: an Ethernet header and one VLAN tag. Lengths are without the checksum at the end. */
#define IXY_FRAME_OVERHEAD (14 + 4)

/* --- statistics: 64-bit, since open -------------------------------------------------------------- */

struct ixy_queue_stats {
	uint64_t rx_frames, rx_bytes; /* handed to the caller of ixy_rx_batch(); bytes without CRC */
	uint64_t tx_frames, tx_bytes; /* queued and not dropped since */
	uint64_t drops[IXY_DROP_COUNT];
};

struct ixy_stats {
	uint64_t rx_frames, rx_bytes, tx_frames, tx_bytes; /* sums over the queues */
	uint64_t drops[IXY_DROP_COUNT];          /* sums over the queues, and what only the device knows */
	uint64_t rx_multicast, rx_broadcast;     /* as the NIC counts good frames on the wire */
	uint64_t wire_rx_frames, wire_tx_frames; /* good frames the NIC saw on the wire (GPRC, GPTC) */
	uint64_t crc_errors, length_errors;
	uint64_t resets, link_changes;
	uint64_t pool_exhausted; /* RX buffers that the driver's own pools lacked */
};

/* Fill *stats. Any thread (each number is read whole; the set is not one instant). */
void ixy_read_stats(const struct ixy_device *dev, struct ixy_stats *stats);
void ixy_read_queue_stats(const struct ixy_device *dev, uint16_t queue, struct ixy_queue_stats *stats);

/* Read a register of the device, for diagnosis; -ENOTSUP where it has none. Beware: some clear on read. */
int ixy_read_register(struct ixy_device *dev, uint32_t offset, uint32_t *value);

#endif
