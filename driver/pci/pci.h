/*
 * A PCI function and the ways to reach it.
 *
 *   sysfs.c       0000:03:00.0, a function of this host, from /sys alone; IOVA = physical address
 *   vfio.c        the same where it is bound to vfio-pci: behind an IOMMU, with interrupts, without root
 *   vfio_user.c   vfio-user:/run/x, a function that another process serves
 *   soft.c        soft:veth1, the same with a process that it starts itself
 *
 * A driver sees one interface: config space, registers, doorbells, DMA, interrupts, reset. It never asks
 * which of them it has.
 *
 * Registers lie in BARs, which pci_bar_open() opens. They go through pci_bar_read32() and its like, for BAR 0 also
 * pci_read32(): a volatile access where the BAR is mapped; where it is not, or has I/O ports, a system call or
 * a message to the other process. Doorbells (queue tails) are apart, because they are the only registers of the
 * hot path: they are always a store where the transport can offer one. A device that has gone reads all-ones,
 * as on a real bus, and never faults.
 *
 * Threads: registers, config, DMA maps and doorbells may be used from several threads; two threads must not
 * use one doorbell at once.
 */
#ifndef IXY_PCI_H
#define IXY_PCI_H

#include <stdbool.h>
#include <stdint.h>

#include "driver/dma.h"

struct pci_device;
struct ixy_options;
struct bar_place;

struct pci_ops {
	/* len 1, 2 or 4 bytes, little-endian as on the bus. 0 or negative errno. */
	int (*config_read)(struct pci_device *pci, uint32_t offset, void *buf, uint32_t len);
	int (*config_write)(struct pci_device *pci, uint32_t offset, const void *buf, uint32_t len);
	/*
	 * Where BAR `bar` lies, for pci_bar_open() (transport.h). NULL where all that there are, are open from the
	 * start. 0 or a negative errno with a text.
	 */
	int (*bar_find)(struct pci_device *pci, unsigned bar, struct bar_place *place);
	/* A BAR that is not mapped: len 1, 2 or 4 bytes. All-ones from a device that has gone. */
	void (*bar_read)(struct pci_device *pci, unsigned bar, uint32_t offset, void *data, uint32_t len);
	void (*bar_write)(
		struct pci_device *pci, unsigned bar, uint32_t offset, const void *data, uint32_t len);
	/* Make region reachable for the device at its dma_iova() addresses; take it away again. */
	int (*dma_map)(struct pci_device *pci, struct dma_region *region);
	void (*dma_unmap)(struct pci_device *pci, struct dma_region *region);
	/* Signal fds[0..count-1] (eventfds) on MSI-X vectors 0..count-1; count 0 turns MSI-X off. */
	int (*irq_set)(struct pci_device *pci, uint32_t count, const int fds[]);
	/* Function-level reset. -ENOTSUP where the transport has none. */
	int (*reset)(struct pci_device *pci);
	/*
	 * True once the function has been taken away, or the kernel asks for it back; stays true, and leaves a text
	 * each time. Optional: without it, registers and config space that read all-ones are the only sign.
	 */
	bool (*removed)(struct pci_device *pci);
	/* Give everything back (kernel driver rebound where one was taken) and free. */
	void (*close)(struct pci_device *pci);
};

/*
 * One doorbell register. `reg` is a store where it is mapped; `wanted` is a word in which a software device
 * says that it sleeps and wants `eventfd` written after the store (NULL on silicon, which never sleeps).
 * A device that wants it after each store, without such a word, gets a constant non-zero one here.
 */
struct pci_doorbell {
	volatile uint32_t *reg;
	const volatile uint32_t *wanted;
	int eventfd;
	uint32_t offset;
	struct pci_device *pci;
};

#define PCI_DMA_WINDOWS 8
#define PCI_BARS        6

/* A base address register: a window onto the device. */
struct pci_bar {
	volatile uint8_t *virt; /* mapped here; NULL: by call */
	uint64_t size;          /* bytes; 0: the function has none, or it is not open */
	bool io;                /* I/O ports, which cannot be mapped */
	/* bar.c's */
	void *map;
	size_t map_size;
	int fd;
	bool owns_fd;
	uint64_t file_offset;
};

struct pci_device {
	const struct pci_ops *ops;
	char name[108]; /* for messages: 0000:03:00.0, vfio-user:/run/x, soft:veth1 */
	uint16_t vendor, device;
	struct pci_bar bars[PCI_BARS];
	enum dma_iova_mode iova_mode;
	/* Device addresses that the IOMMU takes, ascending; none: all. */
	struct dma_window windows[PCI_DMA_WINDOWS];
	uint32_t window_count;
	bool pins_memory; /* dma_map() pins what it maps: it need not be locked besides */
	/*
	 * Only the IOMMU makes sense of device addresses that are not physical ones (VFIO). A hypervisor may have made
	 * the function so that its DMA goes past the IOMMU: its driver has to ask.
	 */
	bool behind_iommu;
	uint32_t irq_count; /* MSI-X vectors that irq_set() takes; 0: the device must be polled */
	uint8_t addresses[PCI_BARS]
			 [4];    /* of BARs, as configuration space had them at open, for pci_revive() */
	bool remembered;         /* addresses is valid */
	bool reserve_huge_pages; /* options->reserve_huge_pages, for dma_alloc() */
	bool ordinary_pages;     /* dma_alloc() has said in the log that it fell back to ordinary pages */
	/* How to make a doorbell of a BAR 0 offset, where it is not just the register there. NULL allowed. */
	void (*doorbell_init)(struct pci_device *pci, uint32_t offset, struct pci_doorbell *doorbell);
};

/*
 * Reach the PCI function that spec names (0000:03:00.0, vfio-user:PATH, soft:WIRE).
 * Takes it from its kernel driver where it has one; refuses (-EBUSY) a NIC that is somebody's live interface
 * unless options->force. Bus mastering is still off. Returns 0 or a negative errno; nothing is changed on
 * the system then.
 */
int pci_open(const char *spec, const struct ixy_options *options, struct pci_device **pci);

/* Bus master off, interrupts off, function given back to the driver that it came from. NULL is allowed. */
void pci_close(struct pci_device *pci);

/* True if spec is of a form that pci_open() takes. */
bool pci_spec(const char *spec);

int pci_bus_master(struct pci_device *pci, bool on);

/*
 * True if the options want interrupts and there are enough vectors, one for each receive queue and one for the rest. Too
 * few are told in the log.
 */
bool pci_has_vectors(const struct pci_device *pci, const struct ixy_options *options);

/*
 * For a function whose registers read all-ones: see whether it sleeps (D3) or has lost the addresses of its BARs,
 * and mend that. Its registers are those of a fresh reset then. Returns 1 if something was mended, 0 if nothing
 * had to be, -ENODEV if configuration space is silent, too, or another negative errno where it stays broken.
 */
int pci_revive(struct pci_device *pci);

/*
 * True if the function was taken away, or has to be given up while it still works; leaves the reason as text. False
 * does not mean that it is there (pci_ops.removed).
 */
static inline bool pci_removed(struct pci_device *pci)
{
	return pci->ops->removed && pci->ops->removed(pci);
}

/*
 * For a driver whose device was silent: a register read all-ones. silent(arg) reads it again, and is true if it still
 * does. A bus error may pass, a function in D3 can be woken, a removed one does not come back: five looks over 15 ms.
 * Returns 0 if the register answers again, which silent() was the last to see; 1 if the device needs a reset; -ENODEV
 * with a text if it has gone.
 */
int pci_look_after_silent(struct pci_device *pci, bool (*silent)(void *arg), void *arg);

/*
 * The offset of a capability in config space: the first one with this id behind the capability at `after` (0: the
 * first at all). 0 if there is none.
 */
uint32_t pci_find_capability(struct pci_device *pci, uint8_t id, uint32_t after);

/*
 * Open BAR number `bar` (0 to 5): its size is known, and where possible it is mapped, until pci_close(). Once more is
 * allowed. -ENODEV with a text if there is none.
 */
int pci_bar_open(struct pci_device *pci, unsigned bar);

/*
 * Registers of an open BAR, in the machine's byte order (a PCI device's is little-endian, and so is the machine).
 * offset: a multiple of the width, and within the BAR: the caller has seen to that.
 */
static inline uint8_t pci_bar_read8(struct pci_device *pci, unsigned bar, uint32_t offset)
{
	uint8_t value;

	if (pci->bars[bar].virt)
		return pci->bars[bar].virt[offset];
	pci->ops->bar_read(pci, bar, offset, &value, sizeof(value));
	return value;
}

static inline uint16_t pci_bar_read16(struct pci_device *pci, unsigned bar, uint32_t offset)
{
	uint16_t value;

	if (pci->bars[bar].virt)
		return *(volatile uint16_t *)(pci->bars[bar].virt + offset);
	pci->ops->bar_read(pci, bar, offset, &value, sizeof(value));
	return value;
}

static inline uint32_t pci_bar_read32(struct pci_device *pci, unsigned bar, uint32_t offset)
{
	uint32_t value;

	if (pci->bars[bar].virt)
		return *(volatile uint32_t *)(pci->bars[bar].virt + offset);
	pci->ops->bar_read(pci, bar, offset, &value, sizeof(value));
	return value;
}

static inline void pci_bar_write8(struct pci_device *pci, unsigned bar, uint32_t offset, uint8_t value)
{
	if (pci->bars[bar].virt)
		pci->bars[bar].virt[offset] = value;
	else
		pci->ops->bar_write(pci, bar, offset, &value, sizeof(value));
}

static inline void pci_bar_write16(struct pci_device *pci, unsigned bar, uint32_t offset, uint16_t value)
{
	if (pci->bars[bar].virt)
		*(volatile uint16_t *)(pci->bars[bar].virt + offset) = value;
	else
		pci->ops->bar_write(pci, bar, offset, &value, sizeof(value));
}

static inline void pci_bar_write32(struct pci_device *pci, unsigned bar, uint32_t offset, uint32_t value)
{
	if (pci->bars[bar].virt)
		*(volatile uint32_t *)(pci->bars[bar].virt + offset) = value;
	else
		pci->ops->bar_write(pci, bar, offset, &value, sizeof(value));
}

/* The same for BAR 0, where simple devices have all they have. */
static inline uint32_t pci_read32(struct pci_device *pci, uint32_t offset)
{
	return pci_bar_read32(pci, 0, offset);
}

static inline void pci_write32(struct pci_device *pci, uint32_t offset, uint32_t value)
{
	pci_bar_write32(pci, 0, offset, value);
}

/* Make a doorbell of the 32-bit register at `offset` of BAR 0, which is open. */
void pci_doorbell_init(struct pci_device *pci, uint32_t offset, struct pci_doorbell *doorbell);

/* The part of pci_doorbell_ring() that is not a plain store: wake the device, or send a message. */
void pci_doorbell_kick(struct pci_doorbell *doorbell, uint32_t value);

/*
 * Tell the device about new descriptors: the release store orders it behind the writes to the ring.
 * (On x86 a store to uncached memory is also ordered behind stores to write-back memory.)
 */
static inline void pci_doorbell_ring(struct pci_doorbell *doorbell, uint32_t value)
{
	if (__builtin_expect(doorbell->reg != NULL, 1)) {
		__atomic_store_n(doorbell->reg, value, __ATOMIC_RELEASE);
		if (!doorbell->wanted)
			return;
	}
	pci_doorbell_kick(doorbell, value);
}

#endif
