/*
 * VT-d's tables in legacy mode (3.4, 3.7), all of them in the guest's memory:
 *
 *	RTADDR -> root table[bus] -> context table[device, function] -> 3 to 5 levels of page tables -> a page
 *
 * Nothing in them is believed: each table's address is looked up in the guest's memory map, a walk has at most
 * as many steps as there are levels, whatever the entries point to, and an entry is read once.
 *
 * Invalidation. A guest that takes a page away tells its IOMMU through a queue, which we do not see, and reuses the
 * page as soon as that has been answered. So what a walk has found is kept for one burst only. That is right as
 * long as the guest's driver is: it unmaps a buffer when the device has given it back, by a descriptor written
 * back, and each write-back ends the burst here (nic_dma_new_burst()). What a driver unmaps
 * while the device still owns it may be reached until the burst ends, some tens of microseconds later, where
 * silicon would fault a little sooner. The next burst walks afresh.
 *
 * The registers change a few times in a machine's life: at boot, before any driver runs; at a reset, of which we
 * are told. They are read when bus mastering is turned on, and again every VTD_REFRESH_US while there is DMA,
 * never for a single access and never waited for: QEMU may be waiting for us.
 */
#include "vtd.h"

#define ENTRY_PRESENT  BIT(0) /* of root and context entries */
#define TABLE_ADDRESS  0xFFFFFFFFFFFFF000ull
#define RTADDR_MODE    0xC00ull /* 0: legacy */
#define CONTEXT_TYPE   0xCull
#define TYPE_SECOND    0x0ull /* second-level translation; 1: the same, with a device-side cache, for ATS only */
#define TYPE_SECOND_AT 0x4ull
#define TYPE_PASS      0x8ull
#define CONTEXT_WIDTH  7u /* in the high half */
#define WIDTH_39       1u
#define WIDTH_57       3u

#define PAGE_READ    BIT(0)
#define PAGE_WRITE   BIT(1)
#define PAGE_LARGE   BIT(7) /* at levels 2 and 3: 2 MiB, 1 GiB */
#define PAGE_ADDRESS 0x000FFFFFFFFFF000ull
#define PAGE_SHIFT   12
#define LEVEL_BITS   9

/* Memory writes there are interrupt messages, whatever the tables say (3.14); of data they are none of ours. */
#define INTERRUPT_BASE 0xFEE00000ull
#define INTERRUPT_SIZE 0x00100000ull

void vtd_registers(struct vtd *vtd, uint32_t gsts, uint64_t rtaddr)
{
	vtd->state = gsts & VTD_GSTS_TES ? VTD_ON : VTD_OFF;
	vtd->root = rtaddr;
	vtd->read_us = clock_us();
	vtd->burst++;
}

void vtd_forget(struct vtd *vtd)
{
	vtd->state = VTD_UNKNOWN;
	vtd->burst++;
}

void vtd_new_burst(struct vtd *vtd)
{
	vtd->burst++;
	int64_t now_us = clock_us();
	if (now_us - vtd->read_us < VTD_REFRESH_US)
		return;
	vtd->read_us = now_us; /* asked for; not again at the next burst */
	if (vtd->refresh)
		vtd->refresh(vtd->context);
}

/* --- tables --------------------------------------------------------------------------------------------- */

static const char not_in_memory[] = "a table lies outside the guest's memory";

static bool load(struct nic_dma *memory, uint64_t table, unsigned index, uint64_t *entry)
{
	const uint64_t *at = nic_dma_physical(memory, table + index * sizeof *entry, sizeof *entry);
	if (at)
		*entry = __atomic_load_n(at, __ATOMIC_ACQUIRE);
	return at;
}

struct context {
	uint64_t low, high;
};

/* 9.1, 9.3: entries of 16 bytes. */
static const char *find_context(const struct vtd *vtd, struct nic_dma *memory, struct context *context)
{
	uint64_t root;
	unsigned bus = vtd->requester >> 8, function = vtd->requester & 0xFF;
	if (vtd->root & RTADDR_MODE)
		return "the guest's IOMMU is not in legacy mode";
	if (!load(memory, vtd->root & TABLE_ADDRESS, 2 * bus, &root))
		return not_in_memory;
	if (!(root & ENTRY_PRESENT))
		return "no root entry for its bus";
	if (!load(memory, root & TABLE_ADDRESS, 2 * function, &context->low) ||
		!load(memory, root & TABLE_ADDRESS, 2 * function + 1, &context->high))
		return not_in_memory;
	if (!(context->low & ENTRY_PRESENT))
		return "no context entry for the function";
	return NULL;
}

/* 9.8: the leaf that iova, below the width of these tables, lies in. */
static const char *walk_pages(
	struct nic_dma *memory, uint64_t table, unsigned levels, uint64_t iova, struct vtd_leaf *leaf)
{
	leaf->readable = leaf->writeable = true;
	for (unsigned level = levels;; level--) {
		unsigned shift = PAGE_SHIFT + LEVEL_BITS * (level - 1);
		uint64_t entry, size = 1ull << shift;
		if (!load(memory, table, iova >> shift & ((1u << LEVEL_BITS) - 1), &entry))
			return not_in_memory;
		/* Present is what can be read or written, and each level may take of that. */
		leaf->readable = leaf->readable && (entry & PAGE_READ);
		leaf->writeable = leaf->writeable && (entry & PAGE_WRITE);
		if (!leaf->readable && !leaf->writeable)
			return "no page there";
		table = entry & PAGE_ADDRESS;
		if (level > 1 && !(entry & PAGE_LARGE))
			continue;
		if (level > 3 || table & (size - 1))
			return "reserved bits are set in a page entry";
		leaf->start = iova & ~(size - 1);
		leaf->size = size;
		leaf->address = table;
		return NULL;
	}
}

static const char *walk(struct vtd *vtd, struct nic_dma *memory, uint64_t iova, struct vtd_leaf *leaf)
{
	struct context context;
	vtd->walks++;
	const char *why = find_context(vtd, memory, &context);
	if (why)
		return why;

	unsigned width = context.high & CONTEXT_WIDTH;
	if (width < WIDTH_39 || width > WIDTH_57)
		return "the context entry has an address width that does not exist";
	unsigned levels = width + 2, bits = PAGE_SHIFT + LEVEL_BITS * levels;
	if (iova >> bits)
		return "beyond the address width of the context entry";
	switch (context.low & CONTEXT_TYPE) {
	case TYPE_PASS:
		*leaf = (struct vtd_leaf){.size = 1ull << bits, .readable = true, .writeable = true};
		return NULL;
	case TYPE_SECOND:
	case TYPE_SECOND_AT: return walk_pages(memory, context.low & TABLE_ADDRESS, levels, iova, leaf);
	default: return "the context entry has a translation type that does not exist";
	}
}

/* --- translation ---------------------------------------------------------------------------------------- */

static const char *translate(
	struct vtd *vtd, struct nic_dma *memory, uint64_t iova, const struct vtd_leaf **found)
{
	struct vtd_leaf *leaf = &vtd->tlb[iova >> PAGE_SHIFT & (VTD_TLB - 1)];
	*found = leaf;
	if (leaf->burst == vtd->burst && iova - leaf->start < leaf->size)
		return NULL;
	leaf->size = 0; /* a walk that fails leaves nothing that fits */
	const char *why = walk(vtd, memory, iova, leaf);
	leaf->burst = vtd->burst;
	if (why)
		leaf->size = 0;
	return why;
}

const char *vtd_translate(
	struct vtd *vtd, struct nic_dma *memory, uint64_t iova, size_t *size, bool write, uint64_t *address)
{
	const struct vtd_leaf *leaf;
	if (vtd->state == VTD_UNKNOWN)
		return "nobody knows yet whether the IOMMU translates";
	if (vtd->state == VTD_OFF) {
		*address = iova;
		return NULL;
	}
	if (iova - INTERRUPT_BASE < INTERRUPT_SIZE)
		return "data for the range of interrupt messages";
	/* A page, or the whole address space, may reach into it. */
	if (iova<INTERRUPT_BASE && * size> INTERRUPT_BASE - iova)
		*size = INTERRUPT_BASE - iova;
	const char *why = translate(vtd, memory, iova, &leaf);
	if (why)
		return why;
	if (!(write ? leaf->writeable : leaf->readable))
		return write ? "the page is not to be written" : "the page is not to be read";
	uint64_t offset = iova - leaf->start;
	*address = leaf->address + offset;
	if (*size > leaf->size - offset)
		*size = (size_t)(leaf->size - offset);
	return NULL;
}
