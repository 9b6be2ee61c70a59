/*
 * The guest's IOMMU, an Intel VT-d, as the NIC behind it meets it: an I/O address becomes a guest physical one, or
 * the access is a fault.
 *
 * Section numbers: Intel Virtualization Technology for Directed I/O, architecture specification (3.0 and later).
 */
#ifndef SOFTNIC_VTD_H
#define SOFTNIC_VTD_H

#include "nic.h"

/* The registers that say whether there is anything to do, and where the tables are (10.4). */
#define VTD_REGISTERS 0xFED90000ull /* where QEMU has them */
#define VTD_VER       0x00          /* 32 bits, never 0 */
#define VTD_GSTS      0x1C          /* 32 bits */
#define VTD_GSTS_TES  BIT(31)       /* translation is enabled */
#define VTD_RTADDR    0x20          /* 64 bits */
#define VTD_SIZE      0x28          /* of all these together */

#define VTD_REFRESH_US 100000 /* the registers are read again when they are older than this and DMA goes on */

#define VTD_TLB 64

enum vtd_state {
	VTD_UNKNOWN, /* the registers have not been read since the last reset: no DMA until they are */
	VTD_OFF,
	VTD_ON,
};

struct vtd_leaf { /* what a walk has found: [start, start + size) lies at address */
	uint64_t start, size, address;
	bool readable, writeable;
	uint64_t burst; /* in which it was found; it is good for no other */
};

struct vtd {
	enum vtd_state state;
	uint64_t root;                  /* RTADDR */
	uint16_t requester;             /* bus in the high byte, device << 3 | function in the low one */
	int64_t read_us;                /* when the registers were read, as clock_us() */
	void (*refresh)(void *context); /* read the registers, and tell vtd_registers(); it must not wait */
	void *context;
	uint64_t walks; /* statistics */
	uint64_t burst;
	struct vtd_leaf tlb[VTD_TLB];
};

/* The registers were read. */
void vtd_registers(struct vtd *vtd, uint32_t gsts, uint64_t rtaddr);
/* The machine was reset, or may have been. */
void vtd_forget(struct vtd *vtd);

/*
 * What was translated may no longer be right: before each burst, and once descriptors have been written back, as
 * the guest may then unmap their buffers.
 */
void vtd_new_burst(struct vtd *vtd);

/*
 * Translate iova; *address is guest physical, and *size shrinks to what lies together from there. NULL, or why
 * it is a fault. memory: where the tables are; the guest may change them under us.
 */
const char *vtd_translate(
	struct vtd *vtd, struct nic_dma *memory, uint64_t iova, size_t *size, bool write, uint64_t *address);

#endif
