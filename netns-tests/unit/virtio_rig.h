/*
 * A virtio PCI function that a test plays in memory, behind struct pci_device: the registers of both layouts, and the
 * device's side of the rings.
 *
 * Registers go by call, so that the rig sees each access; those for notifications may be mapped as well (`mapped`). The
 * device does nothing by itself: the test says when it looks at a ring. All that it reads there it reads with its own
 * code, checks as an IOMMU and a strict device would, and counts what is wrong as a violation, registers accessed in
 * the wrong order or width among them: a test ends with virtio_rig_assert_clean().
 *
 *	virtio_rig_init(&rig, RIG_MODERN);
 *	rig.offered |= ...;                          // and what else it is to be, before it is opened
 *	virtio_open(&rig.pci, &dev) ...
 *	while (virtio_rig_take(&rig, 0, &chain))     // what the driver has made available
 *		virtio_rig_give(&rig, 0, &chain, written);
 *	virtio_rig_close(&rig);
 */
#ifndef UNIT_VIRTIO_RIG_H
#define UNIT_VIRTIO_RIG_H

#include <limits.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <linux/virtio_pci.h>
#include <sys/uio.h>

#include "driver/dma.h"
#include "driver/error.h"
#include "driver/pci/pci.h"

#define RIG_QUEUES     16
#define RIG_VECTORS    16
#define RIG_REGIONS    64
#define RIG_PIECES     256
#define RIG_CONFIG     64 /* bytes of configuration of its kind */
#define RIG_MULTIPLIER 4

/* Where the structures of the modern layout are: all in BAR 4, but notifications in BAR 2. */
#define RIG_COMMON_BAR 4
#define RIG_BAR_SIZE   0x4000
#define RIG_COMMON_AT  0x0000
#define RIG_ISR_AT     0x1000
#define RIG_CONFIG_AT  0x2000
#define RIG_NOTIFY_BAR 2
#define RIG_NOTIFY_AT  0x100
#define RIG_NOTIFY_LEN (RIG_QUEUES * RIG_MULTIPLIER)
#define RIG_PORTS      64 /* bytes of BAR 0, the legacy layout */

/* Where capabilities are in config space. */
#define RIG_CAP_MSIX   0x40
#define RIG_CAP_COMMON 0x50
#define RIG_CAP_NOTIFY 0x60
#define RIG_CAP_ISR    0x78
#define RIG_CAP_CONFIG 0x88
#define RIG_CAP_END    0xa0 /* nothing from here on */

enum rig_layout { RIG_MODERN = 1, RIG_LEGACY = 2, RIG_TRANSITIONAL = RIG_MODERN | RIG_LEGACY };

struct rig_queue {
	uint16_t max_size; /* 0: there is none */
	uint16_t size, vector, enabled, notify_off;
	uint64_t desc, avail, used; /* device addresses */
	uint32_t page;              /* legacy */
	uint16_t avail_idx;         /* next entry to be taken */
	uint16_t used_idx;
	unsigned notified; /* by call */
	unsigned signals;  /* raised by virtio_rig_give() */
	bool kick_off;     /* do not ask for notifications */
};

/* A chain that the driver made available: its pieces in this process's memory. */
struct rig_chain {
	uint16_t head;
	struct iovec out[RIG_PIECES], in[RIG_PIECES]; /* to be read, to be written */
	unsigned outs, ins;
	size_t out_bytes, in_bytes;
};

struct virtio_rig {
	struct pci_device pci;
	enum rig_layout layout;
	uint8_t space[256]; /* config space */

	/* What it is; set these before virtio_open(). */
	uint64_t offered;
	uint8_t config[RIG_CONFIG]; /* of its kind, e.g. struct virtio_net_config */
	uint16_t vectors;           /* MSI-X vectors that it has room for */
	struct rig_queue queues[RIG_QUEUES];

	/* How it misbehaves. */
	uint64_t refused;        /* FEATURES_OK does not stick where one of these was accepted */
	unsigned reset_takes;    /* readings of the status until a reset is done; UINT_MAX: for ever */
	unsigned config_changes; /* so many readings of the configuration find it changed */
	bool gone;               /* all-ones, in config space, too */
	bool loses_size, loses_enable, loses_page; /* what is written there is not kept */

	/* What the driver made of it. */
	uint64_t accepted;
	uint8_t status;
	uint8_t statuses[16]; /* those that were written, in order */
	unsigned status_count;
	uint16_t config_vector;
	uint8_t generation, isr;
	unsigned resets; /* of the function (FLR) */

	unsigned violations;
	char violation[160]; /* the last one */

	/* private */
	bool legacy_used; /* the driver has accessed the legacy layout */
	uint32_t device_select, driver_select, queue_select;
	unsigned resetting;
	uint16_t notify_page[RIG_NOTIFY_LEN / 2 + RIG_NOTIFY_AT / 2];
	struct dma_region *regions[RIG_REGIONS];
	unsigned region_count;
	int irq_fds[RIG_VECTORS];
	uint32_t irq_count;
};

/*
 * A network function (transitional id 1000, modern 1041) with three queues of 256 entries, which offers VERSION_1 and
 * ACCESS_PLATFORM where it is modern, and INDIRECT_DESC and EVENT_IDX. Its addresses are virtual ones.
 */
void virtio_rig_init(struct virtio_rig *rig, enum rig_layout layout);

/* No memory may be mapped any more. */
void virtio_rig_close(struct virtio_rig *rig);

/* The driver has done nothing wrong so far. */
void virtio_rig_assert_clean(const struct virtio_rig *rig);

/* Count a violation; the text of the last one is kept. */
void virtio_rig_violation(struct virtio_rig *rig, const char *format, ...)
	__attribute__((format(printf, 2, 3)));

/* Signal a vector of the device's, if it is one that somebody listens to. */
void virtio_rig_signal(struct virtio_rig *rig, uint16_t vector);

/* Put the registers for notifications into memory; virtio_rig_stored() tells what is there (0xffff at first). */
void virtio_rig_map_notify(struct virtio_rig *rig);
uint16_t virtio_rig_stored(const struct virtio_rig *rig, uint16_t queue);

/* Write over a virtio capability in config space: offset as in struct virtio_pci_cap, size bytes. */
void virtio_rig_capability(
	struct virtio_rig *rig, uint32_t capability, size_t offset, size_t size, uint32_t value);

/* Change `size` bytes of the configuration of its kind, count that, and signal its vector. */
void virtio_rig_set_config(struct virtio_rig *rig, size_t offset, const void *data, size_t size);

/* The device is in trouble: DEVICE_NEEDS_RESET, signalled as a change of configuration. */
void virtio_rig_needs_reset(struct virtio_rig *rig);

/* The memory behind [iova, iova + size), NULL if it is not mapped as a whole. */
void *virtio_rig_memory(struct virtio_rig *rig, uint64_t iova, size_t size);

/*
 * Take the next chain that is available, checked; false if there is none. virtio_rig_available() only counts them.
 * The driver is asked for a notification at the next one, unless kick_off.
 */
bool virtio_rig_take(struct virtio_rig *rig, uint16_t queue, struct rig_chain *chain);
unsigned virtio_rig_available(struct virtio_rig *rig, uint16_t queue);

/*
 * Give a chain back, of which `written` bytes were written, and signal the driver if it has asked for that.
 * virtio_rig_used() writes an entry of the used ring as a device that lies would.
 */
void virtio_rig_give(struct virtio_rig *rig, uint16_t queue, const struct rig_chain *chain, uint32_t written);
void virtio_rig_used(struct virtio_rig *rig, uint16_t queue, uint32_t id, uint32_t written);

/* Copy from the pieces that the driver wrote; into those that the device writes. Return how many bytes. */
size_t virtio_rig_read(const struct rig_chain *chain, size_t offset, void *data, size_t size);
size_t virtio_rig_write(struct rig_chain *chain, size_t offset, const void *data, size_t size);

#endif
