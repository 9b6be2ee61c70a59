/*
 * The 82599 driver's own state, shared by its files.
 *
 *	ixgbe.c      the life of the device: reset, bring-up in datasheet order, stop, close
 *	rx.c  tx.c   a ring's life (allocate, fill, enable, disable) and its hot path
 *	offload.c    checksum and TSO context descriptors
 *	link.c       SFP cage, laser, link state
 *	filters.c    which frames the MAC lets in: addresses, multicast, promiscuity, length
 *	interrupt.c  MSI-X vectors, moderation
 *	stats.c      the NIC's clear-on-read counters, and what they tell about hung queues
 *
 * One control thread calls everything but the hot path; a queue's hot path belongs to one thread. What
 * crosses between them are counters (relaxed atomics, one writer each) and dev->ixy.link, dev->ixy.mtu.
 */
#ifndef IXY_IXGBE_H
#define IXY_IXGBE_H

#include "driver/clock.h"
#include "driver/device.h"
#include "driver/ixgbe/regs.h"

#define IXGBE_MAX_MTU     9710 /* 9728 bytes with header and CRC, the longest frame of the MAC */
#define IXGBE_RX_SEGMENTS 5    /* 9728 + a VLAN tag in buffers of 2048: a longer chain is not a frame */
#define IXGBE_TX_RS_EVERY 32   /* descriptors between two that ask for a write-back */
#define IXGBE_MAX_UNICAST 127  /* RAL/RAH pairs besides the first */
#define IXGBE_MTA_WORDS   128

struct ixgbe_rx_queue {
	/* Each batch reads and writes this line and the next, and nothing else of the queue. */
	volatile union ixgbe_rx_desc *descs;
	struct pkt_buf **bufs; /* next .. fill: what is posted in each descriptor; the others are stale */
	struct mempool *pool;
	uint32_t mask; /* descriptors - 1 */
	uint32_t next; /* the descriptor that the NIC completes next */
	uint32_t fill; /* the descriptor that gets the next fresh buffer; next == fill means none posted */
	uint16_t buffer_size;
	bool running;                       /* the NIC may have buffers; else the ring stays empty */
	bool discard;                       /* inside a chain that was given up: skip to its EOP */
	struct pkt_buf *chain, *chain_last; /* segments of a frame whose EOP has not come yet */
	struct pci_doorbell tail __attribute__((aligned(64)));
	struct ixy_queue_stats stats;
	int irq_fd;
	/* Hang detection (stats.c), the control thread's own. */
	uint64_t seen_frames;
	uint32_t seen_head;
	uint64_t drops; /* rx-no-descriptor as far as the NIC counts it for this queue */
	uint64_t seen_drops;
	unsigned suspicious;
} __attribute__((aligned(64)));

/* A context descriptor's content, host order; 7.2.3.2.3. */
struct ixgbe_context {
	uint32_t vlan_maclen_iplen, tucmd, mss_l4len_idx;
};

/* The two that the NIC holds for a queue, so that a flow's super-frames and its acknowledgements do not compete. */
enum { IXGBE_CONTEXT_CHECKSUM, IXGBE_CONTEXT_SEGMENT, IXGBE_CONTEXTS };

/* Frames without a VLAN tag for whose checksum the context that the NIC holds is the right one; end has no other's. */
struct ixgbe_tx_checksum {
	uint16_t ethertype;     /* network order */
	uint16_t start, offset; /* as pkt_buf's csum_start and csum_offset */
	uint16_t end; /* of the checksum field: no such frame is shorter. UINT16_MAX: there are none */
};

/* Descriptors on whose last one the NIC reports, and who owns their buffers. */
struct ixgbe_tx_run {
	struct mempool *pool; /* one pool all of them; or NULL */
	uint32_t last;
};

struct ixgbe_tx_queue {
	/* As above. */
	volatile union ixgbe_tx_desc *descs;
	struct pkt_buf **bufs;     /* clean .. next: each data descriptor's buffer, NULL for a context */
	struct ixgbe_tx_run *runs; /* by the first descriptor of each */
	uint32_t mask;
	uint32_t next;      /* the descriptor to write next */
	uint32_t clean;     /* the oldest descriptor not reclaimed, first of a run; next: all reclaimed */
	uint32_t reclaims;  /* attempts at reclaiming with something pending */
	uint32_t completed; /* descriptors reclaimed */
	uint32_t pending;   /* a copy of next - clean for the control thread */
	struct ixgbe_tx_checksum checksum; /* of contexts[IXGBE_CONTEXT_CHECKSUM] */
	struct pci_doorbell tail __attribute__((aligned(64)));
	struct ixgbe_context contexts[IXGBE_CONTEXTS]; /* those that the NIC holds for this queue */
	struct ixy_queue_stats stats;
	/* Hang detection (stats.c), the control thread's own. */
	uint32_t seen_reclaims, seen_completed;
	unsigned suspicious;
} __attribute__((aligned(64)));

struct ixgbe_device {
	struct ixy_device ixy;
	struct ixgbe_rx_queue rx[IXY_MAX_QUEUES];
	struct ixgbe_tx_queue tx[IXY_MAX_QUEUES];
	struct dma_region *rings; /* all descriptor rings */
	uint16_t rx_ring, tx_ring;
	uint16_t irq_interval_us;
	bool running; /* DMA may be going on */
	bool gone;    /* registers read all-ones */
	bool up;      /* admin state */
	/* What a reset has to bring back. */
	bool promisc, allmulti;
	uint32_t mta[IXGBE_MTA_WORDS];
	struct ixy_mac unicast[IXGBE_MAX_UNICAST];
	size_t unicast_count;
	/* Interrupts */
	bool interrupts;
	int event_fd;
	/* Statistics, accumulated by the control thread (stats.c). */
	struct ixy_stats stats;
	int64_t last_check_us;
	uint64_t seen_drops;
};

static inline struct ixgbe_device *ixgbe(struct ixy_device *dev)
{
	return (struct ixgbe_device *)dev;
}

static inline const struct ixgbe_device *ixgbe_const(const struct ixy_device *dev)
{
	return (const struct ixgbe_device *)dev;
}

/* --- registers ----------------------------------------------------------------------------------- */

static inline uint32_t reg_read(struct ixgbe_device *dev, uint32_t reg)
{
	return pci_read32(dev->ixy.pci, reg);
}

static inline void reg_write(struct ixgbe_device *dev, uint32_t reg, uint32_t value)
{
	pci_write32(dev->ixy.pci, reg, value);
}

static inline void reg_set(struct ixgbe_device *dev, uint32_t reg, uint32_t bits)
{
	reg_write(dev, reg, reg_read(dev, reg) | bits);
}

static inline void reg_clear(struct ixgbe_device *dev, uint32_t reg, uint32_t bits)
{
	reg_write(dev, reg, reg_read(dev, reg) & ~bits);
}

/*
 * Wait until (register & mask) == value, at most timeout_ms. Returns 0, -ETIMEDOUT, or -ENODEV when the
 * register reads all-ones; `what` goes into the error text.
 */
int ixgbe_wait(struct ixgbe_device *dev, uint32_t reg, uint32_t mask, uint32_t value, unsigned timeout_ms,
	const char *what);

/* --- rx.c ---------------------------------------------------------------------------------------- */

uint32_t ixgbe_rx_batch(struct ixy_device *dev, uint16_t queue, struct pkt_buf *bufs[], uint32_t count);
int ixgbe_rx_queue_alloc(struct ixgbe_device *dev, uint16_t queue, uint8_t *ring); /* pool, software ring */
void ixgbe_rx_queue_free(struct ixgbe_device *dev, uint16_t queue);
void ixgbe_rx_setup(struct ixgbe_device *dev); /* packet buffers, CRC, RSS; RX is off */
int ixgbe_rx_queue_start(
	struct ixgbe_device *dev, uint16_t queue); /* ring registers, buffers, ENABLE, tail */
void ixgbe_rx_queue_stop(struct ixgbe_device *dev, uint16_t queue); /* ENABLE off */
/* Buffers back to the pool; frames that nobody has fetched are counted under reason. */
void ixgbe_rx_queue_empty(struct ixgbe_device *dev, uint16_t queue, enum ixy_drop reason);
int ixgbe_rx_enable(struct ixgbe_device *dev); /* RXCTRL.RXEN, quiescing SECRX around it */
void ixgbe_rx_disable(struct ixgbe_device *dev);

/* --- tx.c ---------------------------------------------------------------------------------------- */

uint32_t ixgbe_tx_batch(struct ixy_device *dev, uint16_t queue, struct pkt_buf *bufs[], uint32_t count);
void ixgbe_tx_drop(struct ixy_device *dev, uint16_t queue, enum ixy_drop reason);
uint32_t ixgbe_tx_pending(struct ixy_device *dev, uint16_t queue);
int ixgbe_tx_queue_alloc(struct ixgbe_device *dev, uint16_t queue, uint8_t *ring);
void ixgbe_tx_queue_free(struct ixgbe_device *dev, uint16_t queue);
void ixgbe_tx_setup(struct ixgbe_device *dev);
int ixgbe_tx_queue_start(struct ixgbe_device *dev, uint16_t queue);
void ixgbe_tx_queue_stop(struct ixgbe_device *dev, uint16_t queue);
/* Frames that have not left are freed and counted under reason. */
void ixgbe_tx_queue_empty(struct ixgbe_device *dev, uint16_t queue, enum ixy_drop reason);

/* --- offload.c ----------------------------------------------------------------------------------- */

/*
 * What frame's PKT_TX_* flags mean for its descriptors: the context it needs, bits for *command to add,
 * *olinfo to set. For TSO the headers are changed in place. -EINVAL: the request does not fit the frame.
 */
int ixgbe_tx_offload(
	struct pkt_buf *frame, struct ixgbe_context *context, uint32_t *command, uint32_t *olinfo);
unsigned ixgbe_context_slot(const struct ixgbe_context *context); /* IXGBE_CONTEXT_* */
struct ixgbe_tx_checksum ixgbe_tx_checksum(
	const struct ixgbe_context *context); /* of IXGBE_CONTEXT_CHECKSUM */

/* --- link.c -------------------------------------------------------------------------------------- */

int ixgbe_link_start(struct ixgbe_device *dev); /* laser on, auto-negotiation restarted; does not wait */
void ixgbe_link_stop(struct ixgbe_device *dev); /* laser off */
bool ixgbe_link_poll(struct ixgbe_device *dev); /* reads LINKS; true if the link changed */
int ixgbe_set_up(struct ixy_device *dev, bool up);

/* --- filters.c ----------------------------------------------------------------------------------- */

void ixgbe_filters_apply(struct ixgbe_device *dev); /* everything below, after a reset */
struct ixy_mac ixgbe_permanent_mac(struct ixgbe_device *dev);
int ixgbe_mac_set(struct ixy_device *dev, struct ixy_mac mac);
int ixgbe_set_unicast(struct ixy_device *dev, const struct ixy_mac macs[], size_t count);
int ixgbe_set_multicast(struct ixy_device *dev, const struct ixy_mac macs[], size_t count);
int ixgbe_set_promisc(struct ixy_device *dev, bool on);
int ixgbe_set_allmulti(struct ixy_device *dev, bool on);
int ixgbe_mtu_set(struct ixy_device *dev, uint16_t mtu);

/* --- interrupt.c --------------------------------------------------------------------------------- */

int ixgbe_irq_open(
	struct ixgbe_device *dev); /* eventfds, MSI-X; dev->interrupts says whether there are any */
void ixgbe_irq_close(struct ixgbe_device *dev);
int ixgbe_irq_rewire(struct ixgbe_device *dev); /* MSI-X off and on: a reset by others may have cleared it */
void ixgbe_irq_start(struct ixgbe_device *dev); /* vectors, moderation, EIMS */
void ixgbe_irq_mask_all(struct ixgbe_device *dev);
int ixgbe_rx_irq_fd(const struct ixy_device *dev, uint16_t queue);
void ixgbe_rx_irq_arm(struct ixy_device *dev, uint16_t queue);
int ixgbe_event_fd(const struct ixy_device *dev);
void ixgbe_event_clear(struct ixgbe_device *dev); /* empty the event fd, acknowledge EICR's other causes */

/* --- stats.c ------------------------------------------------------------------------------------- */

void ixgbe_stats_clear(struct ixgbe_device *dev);   /* after a reset: map queues to counters, read to zero */
void ixgbe_stats_collect(struct ixgbe_device *dev); /* registers into the 64-bit sums */
bool ixgbe_stats_hung(struct ixgbe_device *dev);    /* at most one judgement each 200 ms */
void ixgbe_read_stats(const struct ixy_device *dev, struct ixy_stats *stats);
void ixgbe_read_queue_stats(const struct ixy_device *dev, uint16_t queue, struct ixy_queue_stats *stats);

#endif
