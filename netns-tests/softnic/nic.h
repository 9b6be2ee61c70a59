/*
 * ixy-softnic: a software 82599.
 *
 *	vfio_user.c, qemu_pci.c  ->  config.c, registers.c      what a driver writes and reads over PCI
 *	                             register_table.c            the registers as data
 *	                             register_hooks.c            their effects
 *	                             eeprom.c sfp.c link.c       the parts behind those registers
 *	doorbells, wire          ->  tx.c, tx_packet.c           rings to packets, packets to frames
 *	                             rx.c, filter.c              frames to queues and descriptors
 *	                             offload.c segment.c mac.c   what is worked out from and done to frames
 *	                             irq.c, msix.c               EICR/EIMS/EITR -> vectors -> the front end
 *	                             dma.c, vtd.c                the only door to the client's memory
 *	                             violation.c fault.c         what it refuses, what it can be told to break
 *	wire.h, wire_*.c, pace.c                                 what the cable is plugged into, and how fast it is
 *	control.c main.c                                         the process
 *
 * One process, one thread, one event loop (libev): nothing here is locked. Only the memory shared with the
 * client changes under our feet: mapped register pages, rings and buffers. So the state that the device acts
 * on (ring base, length, head) is latched in struct rx_queue / tx_queue when a queue is enabled, tails are
 * read once and range-checked, and a descriptor is copied once and the copy checked.
 *
 * Register offsets and bits: driver/ixgbe/regs.h, shared with the driver. Section numbers: 82599 datasheet
 * (Intel 331520).
 */
#ifndef SOFTNIC_NIC_H
#define SOFTNIC_NIC_H

#include <ev.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>
#include <sys/uio.h>

#include "driver/clock.h"
#include "driver/ixgbe/regs.h"

#define NIC_BAR0_SIZE    (512u << 10)
#define NIC_MSIX_BAR     4
#define NIC_MSIX_SIZE    (16u << 10)
#define NIC_MSIX_VECTORS 64
#define NIC_MSIX_PBA     0x2000
#define NIC_CONFIG_SIZE  4096
#define NIC_QUEUES       128
#define NIC_FRAME_MAX    16384 /* longest frame the MAC can take in, CRC included (MAXFRS limits it further) */
#define NIC_TSO_MAX      (256u << 10)

struct nic;
struct vtd;
struct wire;

/* --- violation.c: what silicon would suffer from ------------------------------------------------- */

#define NIC_VIOLATIONS(X)                                                                                   \
	X(DMA_UNMAPPED, "dma-unmapped",                                                                     \
		"DMA to an address that the client did not map, or not for this direction")                 \
	X(DMA_IOMMU, "dma-iommu",                                                                           \
		"DMA outside the IOMMU's map: an address, or a direction, that it does not allow")          \
	X(DMA_NO_MASTER, "dma-no-master", "DMA needed while bus mastering is off")                          \
	X(TAIL_RANGE, "tail-range", "tail at or past the end of the ring")                                  \
	X(RING_ALIGN, "ring-align",                                                                         \
		"ring base not 128-byte aligned, or length zero or not a multiple of 128")                  \
	X(RING_CHANGED, "ring-changed", "base, length or head written while the queue is enabled")          \
	X(QUEUE_HALF_CONFIGURED, "queue-half-configured",                                                   \
		"queue enabled before its ring, buffer size or DMA engine was set up")                      \
	X(TAIL_DISABLED, "tail-disabled", "tail moved on a queue that is not enabled")                      \
	X(RS_WTHRESH, "rs-wthresh",                                                                         \
		"sparse RS, or head write-back, with TXDCTL.WTHRESH not 0: RS is ignored")                  \
	X(TX_DESCRIPTOR, "tx-descriptor",                                                                   \
		"malformed transmit descriptor: type, length, PAYLEN or missing EOP")                       \
	X(TX_TOO_MANY, "tx-too-many-descriptors", "more than 40 descriptors for one packet")                \
	X(TX_CONTEXT, "tx-context", "offload requested with a context that does not fit the frame")         \
	X(TX_FRAME_SIZE, "tx-frame-size",                                                                   \
		"frame under 17 bytes (before padding), or over MAXFRS / 15.5 KiB")                         \
	X(RX_BUFFER, "rx-buffer",                                                                           \
		"receive buffer size 0 or over 16 KiB, or split header without a header buffer")            \
	X(RX_DCA_RESERVED, "rx-dca-reserved", "DCA_RXCTRL bit 12 set: payloads corrupt under load")         \
	X(RXEN_UNQUIESCED, "rxen-unquiesced",                                                               \
		"RXCTRL.RXEN set while frames came in, without SECRXCTRL.RX_DIS and SECRXSTAT.RDY before")  \
	X(ARBITER, "arbiter",                                                                               \
		"DTXMXSZRQ, TXPBSIZE or MTQC changed while transmit runs and RTTDCS.ARBDIS is clear")       \
	X(REG_UNALIGNED, "register-unaligned", "register access that is not an aligned 32-bit access")      \
	X(REG_RESERVED, "register-reserved", "write of a non-zero value to a register that does not exist") \
	X(MASTER_RESET, "reset-while-master",                                                               \
		"device reset while queues ran and the GIO master was still enabled")

enum nic_violation {
#define X(symbol, name, text) NIC_VIOLATION_##symbol,
	NIC_VIOLATIONS(X)
#undef X
		NIC_VIOLATION_COUNT
};

/* Count a violation and print it (rate-limited) on stderr with the details. */
void nic_violate(struct nic *nic, enum nic_violation v, const char *format, ...)
	__attribute__((format(printf, 3, 4)));
const char *nic_violation_name(enum nic_violation v);
const char *nic_violation_text(enum nic_violation v);
uint64_t nic_violations(const struct nic *nic); /* sum */

/* --- fault.c: misbehaviour on demand ------------------------------------------------------------- */

#define NIC_FAULTS(X)                                                                                  \
	X(TX_STALL, "tx-stall",                                                                        \
		"frames leave, but descriptors are not completed until the fault is cleared")          \
	X(TX_HANG, "tx-hang", "transmit queues stop fetching; only a device reset helps")              \
	X(RX_HANG, "rx-hang", "receive queues stop; frames are dropped as if no descriptor was there") \
	X(RX_LENGTH_ZERO, "rx-length-zero", "write back receive descriptors with DD and length 0")     \
	X(RX_LENGTH_OVER, "rx-length-over", "write back a length larger than the buffer")              \
	X(RX_NO_EOP, "rx-no-eop", "write back frames without EOP")                                     \
	X(RX_BAD_STATUS, "rx-bad-status", "write back frames with error bits set (RXE, TCPE, IPE)")    \
	X(REMOVED, "removed", "surprise removal: every register and config read gives all-ones")       \
	X(RESET_STUCK, "reset-stuck", "CTRL.RST never clears")                                         \
	X(NO_MASTER_DONE, "no-master-done", "STATUS.GIO never clears after GIO_DIS")

enum nic_fault {
#define X(symbol, name, text) NIC_FAULT_##symbol,
	NIC_FAULTS(X)
#undef X
		NIC_FAULT_COUNT
};

/*
 * True if the fault is to strike now. A fault is armed with a count (strikes so many times, then clears) or
 * for ever (UINT64_MAX); each true answer uses one up, except for tx-hang, rx-hang, removed, reset-stuck,
 * tx-stall and no-master-done, which are states. tx-hang and rx-hang end with a device reset.
 *
 * Setting removed puts the device into its power-on state (no queue runs, no DMA, no interrupt); clearing it
 * plugs a fresh card in. Clearing reset-stuck lets a reset that hangs complete.
 */
bool nic_fault(struct nic *nic, enum nic_fault f);
int nic_fault_set(struct nic *nic, const char *name, uint64_t count); /* 0 clears; -EINVAL: no such fault */
void nic_faults_on_reset(struct nic *nic);

/* --- dma.c: the client's memory ------------------------------------------------------------------ */

#define NIC_DMA_REGIONS 64

struct nic_dma_region {
	uint64_t iova, size;
	uint8_t *virt; /* our mapping of the client's file descriptor */
	bool readable, writeable;
	volatile bool lost; /* the client took the memory away under us: refused from then on */
	uint8_t *map;       /* what was mapped: virt's range rounded out to the file's page size */
	size_t map_size;
};

struct nic_dma {
	struct nic_dma_region regions[NIC_DMA_REGIONS];
	unsigned count, last; /* last: the region that hit most recently */
	struct vtd *iommu;    /* the guest's, before the regions; NULL: none. The front end's. */
	struct nic_dma *next; /* all of the process: the SIGBUS handler looks through them */
	dev_t bar_device;     /* identity of regs_fd: a client must not have us DMA into our registers */
	ino_t bar_inode;
};

void nic_dma_init(struct nic *nic);
void nic_dma_exit(struct nic *nic);

/*
 * Map fd at offset for [iova, iova + size). Takes ownership of fd (closed in any case).
 * -EINVAL wrap-around, misaligned, zero; -EEXIST overlap; -ENOSPC too many; else mmap's errno. The file must
 * really be that long and sealed or checked, or an access would be SIGBUS: see dma.c.
 */
int nic_dma_map(struct nic *nic, uint64_t iova, uint64_t size, int fd, uint64_t offset, bool readable,
	bool writeable);
/* Unmap every region inside [iova, iova + size). -ENOENT: none; -EINVAL: one is only partly inside. */
int nic_dma_unmap(struct nic *nic, uint64_t iova, uint64_t size);
void nic_dma_unmap_all(struct nic *nic);

#define NIC_DMA_MAX   16384u                   /* bytes of one access: the longest buffer of a descriptor */
#define NIC_DMA_SPANS (NIC_DMA_MAX / 4096 + 1) /* pages that it may touch */

/*
 * Reach size bytes of client memory for one access: they lie in spans[0 .. returned number), in order. Mostly that
 * is one; where pages or regions that follow each other lie apart for us, it is more. 0 after counting a
 * violation: bus master off, unmapped, wrong direction, refused by the IOMMU; it is all or nothing. 0 without a
 * violation while the device is removed. write: the device writes. The bytes may change at any time: copy before
 * checking. The pointers are good until control returns to the event loop.
 */
unsigned nic_dma(struct nic *nic, uint64_t iova, size_t size, bool write, struct iovec spans[NIC_DMA_SPANS]);
/* The same, and copy them. */
bool nic_dma_read(struct nic *nic, uint64_t iova, void *to, size_t size);

/*
 * A window onto something longer than one access, a ring: as much of it as lies together, moved when an access
 * leaves it. All zeroes: onto nothing yet. As short-lived as the pointers above.
 */
struct nic_dma_window {
	uint64_t start; /* I/O address */
	size_t size;
	uint8_t *virt;
};
void *nic_dma_move_window(struct nic *nic, struct nic_dma_window *window, uint64_t iova, size_t size);

/*
 * A descriptor at iova, to be read and written: 16 bytes, aligned, so it never crosses a page. rest: bytes from
 * there to the end of its ring. NULL as from nic_dma().
 */
static inline void *nic_dma_descriptor(
	struct nic *nic, struct nic_dma_window *window, uint64_t iova, size_t rest)
{
	if (__builtin_expect(iova - window->start < window->size, 1))
		return window->virt + (iova - window->start);
	return nic_dma_move_window(nic, window, iova, rest);
}

/* Translations from before may no longer be right (see vtd.c): a burst begins, or descriptors were written back. */
void nic_dma_new_burst(struct nic *nic);
/* True while no DMA can be done because the state of the IOMMU is not known yet. It is for a moment only. */
bool nic_dma_held(const struct nic *nic);
/* For the IOMMU's tables: size bytes at a physical address, in one region, or NULL. */
const void *nic_dma_physical(struct nic_dma *dma, uint64_t address, size_t size);

/* --- irq.c --------------------------------------------------------------------------------------- */

struct nic_irq {
	int64_t next_us[NIC_MSIX_VECTORS]; /* EITR: earliest time of the next interrupt, as clock_us() */
	uint64_t deferred;                 /* vectors held back by EITR */
	uint64_t raised[NIC_MSIX_VECTORS]; /* statistics */
};

/* Set EICR cause bits and raise what IVAR, EIMS, EIAC, EIAM, GPIE and EITR make of them (7.3). */
void nic_irq_cause(struct nic *nic, uint32_t eicr_bits);
void nic_irq_rx(struct nic *nic, unsigned queue); /* the cause that IVAR maps for this queue */
void nic_irq_tx(struct nic *nic, unsigned queue);
/*
 * Raise deferred vectors whose EITR interval has passed; returns microseconds to the next one, or -1.
 * The loop calls it before it sleeps (and sleeps no longer than that) and after it wakes.
 */
int64_t nic_irq_poll(struct nic *nic, int64_t now_us);
void nic_irq_reset(struct nic *nic);
/* Raise every cause that is pending and enabled: after a register changed what that means. */
void nic_irq_evaluate(struct nic *nic);

/* --- queues -------------------------------------------------------------------------------------- */

struct tx_context { /* advanced context descriptor as latched, 7.2.3.2.3 */
	bool valid;
	uint16_t vlan;
	uint8_t maclen;
	uint16_t iplen;
	bool ipv4;
	uint8_t l4t; /* TXC_L4T_* */
	uint16_t mss;
	uint8_t l4len;
};

struct tx_queue {
	bool enabled;
	uint64_t base;
	uint32_t count; /* descriptors in the ring */
	uint32_t head;
	uint32_t bad_tail;     /* last tail that was refused, so that it is counted once */
	uint32_t idle_tail;    /* as last seen while the queue was disabled */
	bool retired;          /* was enabled once since the reset, and disabled again */
	bool changed;          /* ring registers were found changed */
	uint32_t partial_tail; /* the tail ended amid a packet: nothing to do until it moves */
	uint32_t written;      /* write-back has come this far; behind head only while tx-stall strikes */
	bool halted;           /* its ring cannot be reached by DMA: dead until enabled anew */
	bool dropping;         /* amid a packet that was refused, up to its EOP */
	uint32_t wthresh;      /* TXDCTL.WTHRESH, and which kinds of last descriptors were seen with it */
	bool saw_rs, saw_plain;
	bool head_wb; /* head write-back instead of DD (7.2.3.5.2) */
	uint64_t head_addr;
	struct nic_dma_window window; /* onto the ring, in one poll */
	struct tx_context context[2];
};

struct rx_queue {
	bool enabled;
	uint64_t base;
	uint32_t count;
	uint32_t head;
	uint32_t buffer_size; /* SRRCTL.BSIZEPACKET in bytes */
	uint32_t header_size; /* SRRCTL.BSIZEHEADER in bytes */
	uint32_t desc_type;   /* SRRCTL.DESCTYPE, in place */
	bool drop_en;
	bool halted;                  /* its ring cannot be reached by DMA: dead until enabled anew */
	uint32_t bad_tail, idle_tail; /* as in struct tx_queue */
	bool retired;
	bool changed;
};

/*
 * The engines' private state. init: called once by nic_create(), -ENOMEM. reset: forget every queue, without a
 * write to client memory: at device and function reset, and when the client has gone.
 */
int nic_rx_init(struct nic *nic);
int nic_tx_init(struct nic *nic);
void nic_rx_reset(struct nic *nic);
void nic_tx_reset(struct nic *nic);
void nic_rx_free(struct nic *nic);
void nic_tx_free(struct nic *nic);

/* Latch or release a queue after its RXDCTL / TXDCTL changed; checks the configuration (violations). */
void nic_rx_queue_update(struct nic *nic, unsigned queue);
void nic_tx_queue_update(struct nic *nic, unsigned queue);

/*
 * A client that has mapped the queue pages may enable or disable queues by plain stores: notice it, and ring
 * registers or tails that were changed at the wrong time. Called when the loop is about to sleep and after each
 * message.
 */
void nic_scan_mapped(struct nic *nic);

/* Fetch and send what the tails allow, at most budget frames. Returns frames sent. */
unsigned nic_tx_poll(struct nic *nic, unsigned budget);

/* True if some enabled TX queue has descriptors to fetch: the question before sleeping. */
bool nic_tx_work(const struct nic *nic);

/*
 * A frame arrived from the wire (no CRC, 14 bytes or more): filter, choose the queue, write descriptors.
 * Nothing is returned: what happens to it is in the statistics registers, as on silicon.
 */
void nic_receive(struct nic *nic, const uint8_t *frame, size_t size);
/* Write back and interrupt for what nic_receive() left batched: call after each burst from the wire. */
void nic_receive_flush(struct nic *nic);

/* --- offload.c: pure functions, unit-tested ------------------------------------------------------ */

struct frame_info {          /* what the receive parser found */
	uint16_t ether_type; /* after VLAN tags, host order */
	bool vlan;
	uint16_t vlan_tci;
	uint8_t l3_offset;           /* bytes */
	uint16_t l3_size;            /* the IP header with its options or extension headers */
	uint16_t l4_offset, l4_size; /* size of the L4 header */
	bool ipv4, ipv6, ipv6_ext, tcp, udp, sctp, fragment;
	bool ip_csum_ok, l4_csum_checked, l4_csum_ok;
};
/* vlan_type: the EtherType that marks a tag (VLNCTRL.VET). One tag is looked through, as on silicon. */
void frame_parse(const uint8_t *frame, size_t size, uint16_t vlan_type, struct frame_info *info);
/* Toeplitz (7.1.2.8.1): key of 40 bytes, input in network order. */
uint32_t rss_toeplitz(const uint8_t key[40], const uint8_t *input, size_t size);
/* The same by table, for every frame: what each half byte of the input contributes. */
struct rss_table {
	uint32_t nibble[36 * 2][16];
};
void rss_prepare(struct rss_table *table, const uint8_t key[40]);
/* Hash and RSS type nibble for a frame under MRQC's enabled fields; type 0 if none applies. */
uint32_t rss_hash(uint32_t mrqc, const struct rss_table *table, const uint8_t *frame,
	const struct frame_info *info, uint8_t *type);
/* MTA bit number (0..4095) for a multicast address under MCSTCTRL.MO. */
unsigned multicast_hash(const uint8_t mac[6], unsigned mo);
/* Ethernet's frame check sequence, stored little-endian. */
uint32_t crc32_ethernet(const uint8_t *data, size_t size);

/* --- wire ---------------------------------------------------------------------------------------- */

/*
 * The NIC sends a frame (whole, padded, no CRC). It may lie in client memory, which changes at any time: copy it
 * once and look at the copy.
 */
void nic_wire_send(struct nic *nic, const uint8_t *frame, size_t size);
/* The wire's carrier changed; link.c works out what the link registers say. */
void nic_wire_carrier(struct nic *nic, bool up);

/* --- statistics registers: kept as 64 bits, shown clear-on-read as the datasheet has them -------- */

struct nic_stats { /* for people and tests: since start, never cleared */
	uint64_t rx_frames, rx_bytes, tx_frames,
		tx_bytes;      /* good frames at the MAC, both sides of the wire */
	uint64_t rx_filtered;  /* address, VLAN or type filters */
	uint64_t rx_missed;    /* no descriptor, queue or RX off, link down */
	uint64_t rx_bad;       /* too long, too short */
	uint64_t rx_delivered; /* written to descriptors */
	uint64_t tx_dropped;   /* link down, malformed */
};

/* Add to a clear-on-read counter register (saturating, as the datasheet says). */
void nic_count(struct nic *nic, uint32_t reg, uint32_t n);
/* Octet counters: low register, high one at low + 4 (36 bits). */
void nic_count64(struct nic *nic, uint32_t reg_low, uint64_t n);

/* --- the device ---------------------------------------------------------------------------------- */

struct nic_msix_entry {
	uint32_t address_low, address_high, data, control; /* control bit 0: masked */
};

#define NIC_EEPROM_WORDS 0x2000 /* 16 KiB */

struct nic_eeprom {
	uint16_t words[NIC_EEPROM_WORDS];
	/* The SPI chip behind EEC's bit-banged pins */
	uint32_t pins;    /* EEC as last written */
	uint8_t state;    /* enum spi_state */
	uint8_t count;    /* bits shifted in this state */
	uint16_t shift;   /* shift register, in or out */
	uint16_t address; /* of the next byte */
	bool data_out;    /* DO */
};

struct nic_sfp {
	uint8_t a0[256]; /* SFF-8472 serial id page of a 10GBASE-SR module */
	uint8_t a2[256]; /* diagnostics page */
	/* The I2C slave behind I2CCTL's pins */
	uint8_t state; /* enum i2c_state */
	uint8_t phase; /* enum i2c_phase: what the byte that comes in means */
	uint8_t bits;  /* of the byte that is under way */
	uint8_t byte;
	uint8_t device;   /* 0xA0 or 0xA2 */
	uint8_t address;  /* kept from transfer to transfer, as in the real chip */
	bool clock, data; /* what the master drives */
	bool drive_low;   /* what we drive: SDA is open drain */
	bool nack;
};

struct nic_link {
	bool carrier;   /* what the wire says */
	bool cable_out; /* by the control socket */
	bool up;        /* what LINKS shows */
	uint32_t speed; /* Mbit/s: 10000 or 1000 */
	uint32_t changes;
};

/* What the front end does for the NIC; any may be NULL. */
struct nic_frontend {
	void (*raise)(void *context, unsigned vector); /* deliver an interrupt, vector < NIC_MSIX_VECTORS */
	void (*was_reset)(void *context); /* the function was reset: MSI-X is off, all is masked */
	void *context;
};

struct nic {
	unsigned port;
	char name[64];            /* for messages */
	uint8_t mac[6];           /* in the EEPROM */
	unsigned register_writes; /* when it changes, what was derived from registers is stale */
	volatile uint32_t *regs;  /* BAR 0's backing memory; its queue pages are regs_fd's */
	int regs_fd;              /* queue pages only, at their offsets in BAR 0: all that a client may map */
	bool pages_mapped;        /* a client may store into the queue pages: nic_scan_mapped() */
	bool reset_behind;        /* a function reset met running queues, and their driver may not know yet */
	uint8_t config[NIC_CONFIG_SIZE];
	uint8_t config_mask[NIC_CONFIG_SIZE]; /* which bits a write changes */
	struct nic_msix_entry msix[NIC_MSIX_VECTORS];
	uint64_t msix_pending;
	bool bar32; /* report BARs as 32-bit, from the next function reset on (QEMU's remote PCI wants that) */
	struct nic_dma dma;
	struct nic_irq irq;
	struct tx_queue txq[NIC_QUEUES];
	struct rx_queue rxq[NIC_QUEUES];
	struct nic_eeprom eeprom;
	struct nic_sfp sfp;
	struct nic_link link;
	struct nic_frontend frontend;
	struct wire *wire;
	struct nic_stats stats;
	uint64_t rx_arrived; /* frames that had come in when the receive path was last off and quiet */
	uint64_t violation[NIC_VIOLATION_COUNT];
	uint64_t fault[NIC_FAULT_COUNT];
	struct nic_rx_state *rx_state; /* private to rx.c */
	struct nic_tx_state *tx_state; /* private to tx.c */
};

/* Create a port with its power-on state. NULL: out of memory, message printed. */
struct nic *nic_create(unsigned port, const char *name, const uint8_t mac[6]);
void nic_free(struct nic *nic);

/* Function-level or PCI reset, or awake from D3hot: everything as after power-on, config space too. */
void nic_reset_function(struct nic *nic);
/* CTRL.RST / LRST: all but config space, EEPROM and what the datasheet keeps (4.2.1). */
void nic_reset_device(struct nic *nic);
/*
 * The client has gone: stop DMA, forget its memory and interrupts, everything as after power-on. Counters and
 * violations stay. regs_fd is another one afterwards, as the old client may have kept its mapping.
 */
void nic_client_gone(struct nic *nic);

/* Config space, any aligned or unaligned access inside 0..4095; size 1, 2 or 4. */
uint32_t nic_config_read(struct nic *nic, uint32_t offset, unsigned size);
void nic_config_write(struct nic *nic, uint32_t offset, unsigned size, uint32_t value);
void nic_config_reset(struct nic *nic);
bool nic_bus_master(const struct nic *nic); /* enabled, and the function in D0 */
bool nic_asleep(const struct nic *nic);     /* in D3hot: BARs are not answered, no DMA, no interrupt */
bool nic_msix_enabled(const struct nic *nic);
bool nic_msix_masked(const struct nic *nic);         /* the function mask */
void nic_msix_control(struct nic *nic, bool enable); /* MSI-X enable as given, function mask clear */

/* BAR 0 with the register's semantics (offset is range-checked, aligned; all-ones when removed or asleep). */
uint32_t nic_read32(struct nic *nic, uint32_t offset);
void nic_write32(struct nic *nic, uint32_t offset, uint32_t value);
/* The bare value, no side effect: for tests and the control socket. Follows aliases. */
uint32_t nic_peek32(const struct nic *nic, uint32_t offset);

/* MSI-X BAR */
uint32_t nic_msix_read32(struct nic *nic, uint32_t offset);
void nic_msix_write32(struct nic *nic, uint32_t offset, uint32_t value);
/* Deliver or hold a vector according to the enable bits (MSI-X, bus master), the table's mask and the function's. */
void nic_msix_raise(struct nic *nic, unsigned vector);
/*
 * For a front end whose clients never touch the MSI-X table, because they hand over eventfds (vfio-user):
 * enable MSI-X with these vectors (a bit mask) unmasked and the others masked; 0 turns MSI-X off. To be called
 * whenever the set of vectors that have an eventfd changes; what was pending is delivered then.
 */
void nic_msix_enable(struct nic *nic, uint64_t vectors);
void nic_msix_update(struct nic *nic);  /* its enable bit or the function mask changed: deliver what waited */
void nic_msix_deliver(struct nic *nic); /* bus mastering was turned on: the same, but nothing new can fire */
void nic_msix_reset(struct nic *nic);

/*
 * An access of count bytes at offset of BAR 0 or NIC_MSIX_BAR, as it comes from a bus; data in the host's byte
 * order. The caller has checked that it lies in the BAR. -EINVAL, and a violation: not one or two aligned
 * registers.
 */
int nic_bar_access(struct nic *nic, unsigned bar, uint64_t offset, void *data, uint32_t count, bool write);

/* Inside the model: the register's word. Index by byte offset. */
static inline uint32_t nic_reg(const struct nic *nic, uint32_t offset)
{
	return __atomic_load_n(&nic->regs[offset / 4], __ATOMIC_ACQUIRE);
}
static inline void nic_reg_set(struct nic *nic, uint32_t offset, uint32_t value)
{
	__atomic_store_n(&nic->regs[offset / 4], value, __ATOMIC_RELEASE);
}

/* link.c */
/* LINKS etc. from carrier, cable, laser and the MAC's registers; LSC interrupt on a change. */
void nic_link_update(struct nic *nic);
bool nic_laser_on(const struct nic *nic);

/* registers.c: all to their values after reset; power_on: also those that CTRL.RST leaves alone. */
void nic_registers_reset(struct nic *nic, bool power_on);

/* eeprom.c, sfp.c: power-on contents; bit-bang and register hooks for register_hooks.c */
void nic_eeprom_init(struct nic *nic);
uint16_t nic_eeprom_checksum(const struct nic *nic);      /* what word 0x3F must hold */
uint32_t nic_eerd_write(struct nic *nic, uint32_t value); /* what EERD then reads */
uint32_t nic_eec_write(struct nic *nic, uint32_t value);
void nic_sfp_init(struct nic *nic);
uint32_t nic_i2cctl_write(struct nic *nic, uint32_t value);
uint32_t nic_i2cctl_read(struct nic *nic);

#endif
