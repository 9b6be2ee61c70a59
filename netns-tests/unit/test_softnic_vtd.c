/*
 * The software NIC behind a guest's IOMMU: tables made by hand, as a kernel would and as none should, and what DMA
 * through them reaches.
 */
#include "rx_rig.h"

#include "netns-tests/softnic/vtd.h"

/*
 * Guest memory: LOW bytes at 0, and HIGH bytes at HIGH_AT, where a page of 1 GiB can begin. The tables lie in its
 * first pages, one after another.
 */
#define PAGE    4096u
#define LOW     (8u << 20)
#define HIGH_AT 0x40000000ull
#define HIGH    (1u << 20)

#define ROOT     0x1000u
#define CONTEXT  0x2000u
#define LEVEL(n) (0x3000u + (5 - (n)) * PAGE) /* the table of level n, 5 to 1 */
#define DATA     0x100000u

#define BUS        3u
#define FUNCTION   0x21u /* 04.1 */
#define WIDTH_39   1u
#define WIDTH_48   2u
#define WIDTH_57   3u
#define PRESENT    1ull
#define READ       1ull
#define WRITE      2ull
#define READ_WRITE 3ull
#define LARGE      0x80ull
#define TYPE(n)    ((uint64_t)(n) << 2)

#define IOVA 0x12345678000ull /* within 48 bits, and of no level's first entry */

struct bench {
	struct nic *nic;
	struct vtd vtd;
	int fd;
	uint8_t *memory; /* of it: LOW, then HIGH */
	uint64_t refused;
};

static uint64_t *entry(struct bench *b, uint64_t table, unsigned index)
{
	return (uint64_t *)(b->memory + table) + index;
}

static unsigned index_of(uint64_t iova, unsigned level)
{
	return iova >> (12 + 9 * (level - 1)) & 511;
}

/* The entry of level n that IOVA goes through. */
static uint64_t *on_the_way(struct bench *b, unsigned level, uint64_t iova)
{
	return entry(b, LEVEL(level), index_of(iova, level));
}

static void set_context(struct bench *b, uint64_t low, uint64_t high)
{
	*entry(b, CONTEXT, 2 * FUNCTION) = low;
	*entry(b, CONTEXT, 2 * FUNCTION + 1) = high;
	vtd_new_burst(&b->vtd);
}

/* Tables for this width down to level `leaf`, whose entry is address | bits. */
static void map(struct bench *b, unsigned width, unsigned leaf, uint64_t iova, uint64_t address)
{
	unsigned levels = width + 2;

	for (unsigned level = levels; level > leaf; level--)
		*on_the_way(b, level, iova) = LEVEL(level - 1) | READ_WRITE;
	*on_the_way(b, leaf, iova) = address | READ_WRITE | (leaf > 1 ? LARGE : 0);
	set_context(b, LEVEL(levels) | PRESENT, width);
}

static int setup(void **state)
{
	static const uint8_t mac[6] = {0x02, 0x11, 0x22, 0x33, 0x44, 0x55};
	struct bench *b = calloc(1, sizeof(*b));

	assert_non_null(b);
	b->fd = memfd_create("guest", MFD_CLOEXEC);
	assert_int_equal(ftruncate(b->fd, LOW + 2 * HIGH), 0);
	b->memory = mmap(NULL, LOW + HIGH, PROT_READ | PROT_WRITE, MAP_SHARED, b->fd, 0);
	assert_ptr_not_equal(b->memory, MAP_FAILED);
	b->nic = nic_create(0, "bench", mac);
	assert_non_null(b->nic);
	nic_config_write(b->nic, 4, 2, 6); /* memory space, bus master */
	assert_int_equal(nic_dma_map(b->nic, 0, LOW, dup(b->fd), 0, true, true), 0);
	assert_int_equal(nic_dma_map(b->nic, HIGH_AT, HIGH, dup(b->fd), LOW, true, true), 0);

	b->vtd.requester = BUS << 8 | FUNCTION;
	b->nic->dma.iommu = &b->vtd;
	vtd_registers(&b->vtd, VTD_GSTS_TES, ROOT);
	*entry(b, ROOT, 2 * BUS) = CONTEXT | PRESENT;
	*state = b;
	return 0;
}

static int teardown(void **state)
{
	struct bench *b = *state;

	b->nic->dma.iommu = NULL;
	nic_free(b->nic);
	munmap(b->memory, LOW + HIGH);
	close(b->fd);
	free(b);
	return 0;
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

/* Eight bytes that the device reads at iova, which must be allowed. */
static uint64_t fetch(struct bench *b, uint64_t iova)
{
	uint64_t value;

	assert_true(nic_dma_read(b->nic, iova, &value, sizeof(value)));
	assert_int_equal(nic_violations(b->nic), b->refused);
	return value;
}

static void mark(struct bench *b, uint64_t offset, uint64_t value)
{
	memcpy(b->memory + offset, &value, sizeof(value));
}

/* That access is a fault, and counted as one. */
static void assert_refused(struct bench *b, uint64_t iova, size_t size, bool write)
{
	struct iovec spans[NIC_DMA_SPANS];

	assert_int_equal(nic_dma(b->nic, iova, size, write, spans), 0);
	b->refused++;
	assert_int_equal(b->nic->violation[NIC_VIOLATION_DMA_IOMMU], b->refused);
	assert_int_equal(nic_violations(b->nic), b->refused);
}

static void assert_both_refused(struct bench *b, uint64_t iova)
{
	assert_refused(b, iova, 8, false);
	assert_refused(b, iova, 8, true);
}

/* --- the registers -------------------------------------------------------------------------------------- */

static void while_translation_is_off_addresses_are_physical(void **state)
{
	struct bench *b = *state;

	mark(b, DATA, 0x1111);
	vtd_registers(&b->vtd, ~VTD_GSTS_TES, ROOT);
	assert_int_equal(fetch(b, DATA), 0x1111);
	assert_int_equal(b->vtd.walks, 0);
	vtd_registers(&b->vtd, VTD_GSTS_TES, ROOT);
	assert_both_refused(b, DATA);
}

static void before_the_registers_are_known_there_is_no_dma(void **state)
{
	struct bench *b = *state;

	assert_false(nic_dma_held(b->nic));
	vtd_forget(&b->vtd);
	assert_true(nic_dma_held(b->nic));
	assert_both_refused(b, DATA);
	vtd_registers(&b->vtd, 0, 0);
	assert_false(nic_dma_held(b->nic));
	fetch(b, DATA);
}

static void ask(void *context)
{
	++*(unsigned *)context;
}

static void the_registers_are_read_again_now_and_then(void **state)
{
	struct bench *b = *state;
	unsigned asked = 0;

	b->vtd.refresh = ask;
	b->vtd.context = &asked;
	b->vtd.read_us = clock_us() + 1000000000; /* however slow this is: just now */
	for (unsigned i = 0; i < 1000; i++)
		nic_dma_new_burst(b->nic);
	assert_int_equal(asked, 0);
	b->vtd.read_us = clock_us() - VTD_REFRESH_US;
	nic_dma_new_burst(b->nic);
	assert_int_equal(asked, 1);
}

static void other_modes_than_the_legacy_one_are_refused(void **state)
{
	struct bench *b = *state;

	map(b, WIDTH_48, 1, IOVA, DATA);
	fetch(b, IOVA);
	for (uint64_t mode = 0x400; mode <= 0xC00; mode += 0x400) {
		vtd_registers(&b->vtd, VTD_GSTS_TES, ROOT | mode);
		assert_both_refused(b, IOVA);
	}
}

/* --- pages ---------------------------------------------------------------------------------------------- */

static void pages_of_4_kib_are_found_at_every_width(void **state)
{
	struct bench *b = *state;
	const uint64_t iovas[] = {0x1234567000, IOVA, 0x123456789AB000};

	mark(b, DATA + 0xFF8, 0x2222);
	for (unsigned width = WIDTH_39; width <= WIDTH_57; width++) {
		uint64_t iova = iovas[width - WIDTH_39];

		map(b, width, 1, iova, DATA);
		assert_int_equal(fetch(b, iova + 0xFF8), 0x2222);
		assert_both_refused(b, iova - 8);
		assert_both_refused(b, iova + PAGE);
	}
}

static void pages_of_2_mib_are_found(void **state)
{
	struct bench *b = *state;
	uint64_t iova = IOVA & ~0x1FFFFFull;

	mark(b, 0x400000, 0x3333);
	mark(b, 0x5FFFF8, 0x4444);
	map(b, WIDTH_48, 2, iova, 0x400000);
	assert_int_equal(fetch(b, iova), 0x3333);
	assert_int_equal(fetch(b, iova + 0x1FFFF8), 0x4444);
	assert_both_refused(b, iova + 0x200000);
	assert_both_refused(b, iova - 8);
}

static void pages_of_1_gib_are_found(void **state)
{
	struct bench *b = *state;
	uint64_t iova = IOVA & ~0x3FFFFFFFull;

	mark(b, LOW + HIGH - 8, 0x5555);
	map(b, WIDTH_48, 3, iova, HIGH_AT);
	assert_int_equal(fetch(b, iova + HIGH - 8), 0x5555);
	assert_both_refused(b, iova + 0x40000000);
	/* Within the page, but where the guest has no memory. */
	struct iovec spans[NIC_DMA_SPANS];
	assert_int_equal(nic_dma(b->nic, iova + HIGH, 8, false, spans), 0);
	assert_int_equal(b->nic->violation[NIC_VIOLATION_DMA_UNMAPPED], 1);
}

static void a_large_page_with_reserved_bits_is_refused(void **state)
{
	struct bench *b = *state;

	map(b, WIDTH_48, 2, IOVA, 0x400000 | 0x1000);
	assert_both_refused(b, IOVA);
	map(b, WIDTH_48, 3, IOVA, HIGH_AT | 0x200000);
	assert_both_refused(b, IOVA);
	map(b, WIDTH_48, 4, IOVA, 0); /* 512 GiB: there is no such page */
	assert_both_refused(b, IOVA);
}

static void each_level_can_take_a_direction_away(void **state)
{
	struct bench *b = *state;

	for (unsigned level = 4; level >= 1; level--) {
		map(b, WIDTH_48, 1, IOVA, DATA);
		*on_the_way(b, level, IOVA) &= ~WRITE;
		vtd_new_burst(&b->vtd);
		fetch(b, IOVA);
		assert_refused(b, IOVA, 8, true);

		*on_the_way(b, level, IOVA) ^= READ_WRITE;
		vtd_new_burst(&b->vtd);
		assert_refused(b, IOVA, 8, false);
		struct iovec spans[NIC_DMA_SPANS];
		assert_int_equal(nic_dma(b->nic, IOVA, 8, true, spans), 1);

		*on_the_way(b, level, IOVA) &= ~READ_WRITE;
		vtd_new_burst(&b->vtd);
		assert_both_refused(b, IOVA);
	}
	/* Read at one level, write at the next: nothing is left. */
	map(b, WIDTH_48, 1, IOVA, DATA);
	*on_the_way(b, 3, IOVA) &= ~WRITE;
	*on_the_way(b, 2, IOVA) &= ~READ;
	vtd_new_burst(&b->vtd);
	assert_both_refused(b, IOVA);
}

static void tables_that_are_not_present_are_refused(void **state)
{
	struct bench *b = *state;

	map(b, WIDTH_48, 1, IOVA, DATA);
	set_context(b, LEVEL(4), WIDTH_48);
	assert_both_refused(b, IOVA);
	set_context(b, LEVEL(4) | PRESENT, WIDTH_48);
	*entry(b, ROOT, 2 * BUS) = CONTEXT;
	vtd_new_burst(&b->vtd);
	assert_both_refused(b, IOVA);
	/* Another function's entry is no help. */
	*entry(b, ROOT, 2 * BUS) = CONTEXT | PRESENT;
	b->vtd.requester = BUS << 8 | (FUNCTION + 1);
	vtd_new_burst(&b->vtd);
	assert_both_refused(b, IOVA);
	b->vtd.requester = BUS << 8 | FUNCTION;
	vtd_new_burst(&b->vtd);
	fetch(b, IOVA);
}

/* --- what an untrusted guest may write ------------------------------------------------------------------ */

static void tables_outside_of_the_guests_memory_are_not_followed(void **state)
{
	struct bench *b = *state;
	const uint64_t outside[] = {LOW, HIGH_AT + HIGH, 0x000FFFFFFFFFF000, 0x0008000000000000};

	for (size_t i = 0; i < sizeof(outside) / sizeof(outside[0]); i++) {
		for (unsigned level = 4; level > 1; level--) {
			map(b, WIDTH_48, 1, IOVA, DATA);
			*on_the_way(b, level, IOVA) = outside[i] | READ_WRITE;
			vtd_new_burst(&b->vtd);
			assert_both_refused(b, IOVA);
		}
		map(b, WIDTH_48, 1, IOVA, DATA);
		set_context(b, outside[i] | PRESENT, WIDTH_48);
		assert_both_refused(b, IOVA);
		set_context(b, LEVEL(4) | PRESENT, WIDTH_48);
		*entry(b, ROOT, 2 * BUS) = outside[i] | PRESENT;
		vtd_new_burst(&b->vtd);
		assert_both_refused(b, IOVA);
		vtd_registers(&b->vtd, VTD_GSTS_TES, outside[i]);
		assert_both_refused(b, IOVA);
		vtd_registers(&b->vtd, VTD_GSTS_TES, ROOT);
		*entry(b, ROOT, 2 * BUS) = CONTEXT | PRESENT;
	}
	/* Addresses of more bits than there are. */
	*entry(b, ROOT, 2 * BUS) = 0xFFFFFFFFFFFFF000 | PRESENT;
	vtd_new_burst(&b->vtd);
	assert_both_refused(b, IOVA);
	vtd_registers(&b->vtd, VTD_GSTS_TES, 0xFFFFFFFFFFFFF000);
	assert_both_refused(b, IOVA);
}

static void a_page_outside_of_the_guests_memory_is_refused(void **state)
{
	struct bench *b = *state;
	struct iovec spans[NIC_DMA_SPANS];

	map(b, WIDTH_48, 1, IOVA, LOW);
	assert_int_equal(nic_dma(b->nic, IOVA, 8, true, spans), 0);
	assert_int_equal(b->nic->violation[NIC_VIOLATION_DMA_UNMAPPED], 1);
}

static void a_table_that_points_to_itself_ends_the_walk(void **state)
{
	struct bench *b = *state;

	for (unsigned i = 0; i < 512; i++)
		*entry(b, LEVEL(4), i) = LEVEL(4) | READ_WRITE;
	set_context(b, LEVEL(4) | PRESENT, WIDTH_48);
	assert_int_equal(fetch(b, IOVA), LEVEL(4) | READ_WRITE);
	assert_int_equal(b->vtd.walks, 1);
	/* And the other tables as each other's. */
	set_context(b, ROOT | PRESENT, WIDTH_48);
	assert_both_refused(b, IOVA);
}

static void widths_and_types_that_do_not_exist_are_refused(void **state)
{
	struct bench *b = *state;

	map(b, WIDTH_48, 1, IOVA, DATA);
	for (uint64_t width = 0; width < 8; width++) {
		if (width >= WIDTH_39 && width <= WIDTH_57)
			continue;
		set_context(b, LEVEL(4) | PRESENT, width);
		assert_both_refused(b, IOVA);
		set_context(b, PRESENT | TYPE(2), width);
		assert_both_refused(b, DATA);
	}
	set_context(b, LEVEL(4) | PRESENT | TYPE(3), WIDTH_48);
	assert_both_refused(b, IOVA);
	/* The domain's number next to the width, and the device-side cache: neither changes anything. */
	set_context(b, LEVEL(4) | PRESENT | TYPE(1), WIDTH_48 | 0xABCD00);
	fetch(b, IOVA);
}

static void addresses_beyond_the_width_are_refused(void **state)
{
	struct bench *b = *state;

	map(b, WIDTH_39, 1, 0x1234567000, DATA);
	fetch(b, 0x1234567000);
	for (unsigned bit = 39; bit < 64; bit++)
		assert_both_refused(b, 0x1234567000 | 1ull << bit);
}

static void pass_through_leaves_addresses_within_the_width_alone(void **state)
{
	struct bench *b = *state;
	struct iovec spans[NIC_DMA_SPANS];

	mark(b, DATA, 0x6666);
	set_context(b, PRESENT | TYPE(2), WIDTH_39);
	assert_int_equal(fetch(b, DATA), 0x6666);
	assert_int_equal(fetch(b, HIGH_AT), 0);
	assert_both_refused(b, 1ull << 39);
	assert_int_equal(nic_dma(b->nic, LOW, 8, false, spans), 0);
	assert_int_equal(b->nic->violation[NIC_VIOLATION_DMA_UNMAPPED], 1);
}

static void data_does_not_go_where_interrupt_messages_do(void **state)
{
	struct bench *b = *state;

	map(b, WIDTH_39, 1, 0xFEE00000, DATA);
	assert_both_refused(b, 0xFEE00000);
	assert_both_refused(b, 0xFEEFFFF8);
	map(b, WIDTH_39, 1, 0xFEDFF000, DATA);
	fetch(b, 0xFEDFF000);
	map(b, WIDTH_39, 1, 0xFEF00000, DATA);
	fetch(b, 0xFEF00000);
	/* Nor its end, when it begins before, in a page that has both. */
	assert_int_equal(nic_dma_map(b->nic, 0xFED00000, 2 * HIGH, dup(b->fd), LOW, true, true), 0);
	set_context(b, PRESENT | TYPE(2), WIDTH_39);
	fetch(b, 0xFEE00000 - 8);
	assert_refused(b, 0xFEE00000 - 8, 16, true);
}

/* --- spans ---------------------------------------------------------------------------------------------- */

static void an_access_over_pages_that_lie_apart_comes_in_parts(void **state)
{
	struct bench *b = *state;
	struct iovec spans[NIC_DMA_SPANS];
	char bytes[16];

	map(b, WIDTH_48, 1, IOVA, DATA + 5 * PAGE);
	map(b, WIDTH_48, 1, IOVA + PAGE, DATA);
	memcpy(b->memory + DATA + 6 * PAGE - 10, "0123456789", 10);
	memcpy(b->memory + DATA, "abcdef", 6);
	assert_int_equal(nic_dma(b->nic, IOVA + PAGE - 10, 16, false, spans), 2);
	assert_int_equal(spans[0].iov_len, 10);
	assert_int_equal(spans[1].iov_len, 6);
	assert_true(nic_dma_read(b->nic, IOVA + PAGE - 10, bytes, 16));
	assert_memory_equal(bytes, "0123456789abcdef", 16);

	/* Five pages, the most of one access; those that lie together come as one. */
	const uint64_t at[5] = {7, 3, 4, 5, 1};
	for (unsigned i = 0; i < 5; i++)
		map(b, WIDTH_48, 1, IOVA + i * PAGE, DATA + at[i] * PAGE);
	assert_int_equal(nic_dma(b->nic, IOVA + PAGE - 1, NIC_DMA_MAX, true, spans), 3);
	assert_int_equal(spans[0].iov_len, 1);
	assert_int_equal(spans[1].iov_len, 3 * PAGE);
	assert_int_equal(spans[2].iov_len, PAGE - 1);
	const uint64_t scattered[5] = {7, 3, 9, 5, 1};
	for (unsigned i = 0; i < 5; i++)
		map(b, WIDTH_48, 1, IOVA + i * PAGE, DATA + scattered[i] * PAGE);
	assert_int_equal(nic_dma(b->nic, IOVA + PAGE - 1, NIC_DMA_MAX, true, spans), NIC_DMA_SPANS);
	assert_int_equal(nic_violations(b->nic), 0);
}

static void an_access_whose_last_page_is_refused_reaches_none(void **state)
{
	struct bench *b = *state;

	map(b, WIDTH_48, 1, IOVA, DATA);
	assert_refused(b, IOVA + PAGE - 1, 2, true);
	map(b, WIDTH_48, 1, IOVA + PAGE, DATA + PAGE);
	*on_the_way(b, 1, IOVA + PAGE) &= ~WRITE;
	vtd_new_burst(&b->vtd);
	assert_refused(b, IOVA + PAGE - 1, 2, true);
	assert_int_equal(fetch(b, IOVA + PAGE - 4), 0);
}

/* --- what is remembered --------------------------------------------------------------------------------- */

static void a_translation_lasts_for_one_burst(void **state)
{
	struct bench *b = *state;

	map(b, WIDTH_48, 1, IOVA, DATA);
	mark(b, DATA, 0x7777);
	mark(b, DATA + PAGE, 0x8888);
	for (unsigned i = 0; i < 10; i++)
		assert_int_equal(fetch(b, IOVA), 0x7777);
	assert_int_equal(b->vtd.walks, 1);

	*on_the_way(b, 1, IOVA) = (DATA + PAGE) | READ_WRITE;
	nic_dma_new_burst(b->nic);
	assert_int_equal(fetch(b, IOVA), 0x8888);
	*on_the_way(b, 1, IOVA) = 0;
	nic_dma_new_burst(b->nic);
	assert_both_refused(b, IOVA);
	*on_the_way(b, 1, IOVA) = DATA | READ_WRITE; /* a refusal is not remembered at all */
	assert_int_equal(fetch(b, IOVA), 0x7777);
}

static void addresses_that_share_a_slot_do_not_share_their_pages(void **state)
{
	struct bench *b = *state;
	const uint64_t other = IOVA + (uint64_t)VTD_TLB * PAGE;

	map(b, WIDTH_48, 1, IOVA, DATA);
	*on_the_way(b, 1, other) = (DATA + PAGE) | READ_WRITE;
	mark(b, DATA, 1);
	mark(b, DATA + PAGE, 2);
	for (unsigned i = 0; i < 3; i++) {
		assert_int_equal(fetch(b, IOVA), 1);
		assert_int_equal(fetch(b, other), 2);
	}
}

/* --- the engines ---------------------------------------------------------------------------------------- */

#define TABLES  (RIG_IOVA + 0x180000u) /* in the rig's memory */
#define RING_IO 0x5000000000ull
#define BUF_IO  0x6000000000ull

struct io_rig {
	struct rig *rig;
	struct vtd vtd;
	uint64_t next_table;
};

static uint64_t *at_physical(struct rig *rig, uint64_t address)
{
	return (uint64_t *)(rig->memory + (address - RIG_IOVA));
}

/* As a kernel does it: tables made as they are needed. */
static uint64_t *page_entry(struct io_rig *io, uint64_t iova)
{
	uint64_t table = TABLES + 2 * PAGE;

	for (unsigned level = 3; level > 1; level--) {
		uint64_t *e = at_physical(io->rig, table) + index_of(iova, level);

		if (!*e) {
			*e = io->next_table | READ_WRITE;
			io->next_table += PAGE;
		}
		table = *e & ~0xFFFull;
	}
	return at_physical(io->rig, table) + index_of(iova, 1);
}

static struct io_rig *behind_an_iommu(struct rig *rig)
{
	static struct io_rig io;

	io = (struct io_rig){.rig = rig, .next_table = TABLES + 3 * PAGE};
	*at_physical(rig, TABLES) = (TABLES + PAGE) | PRESENT;
	*at_physical(rig, TABLES + PAGE) = (TABLES + 2 * PAGE) | PRESENT;
	*at_physical(rig, TABLES + PAGE + 8) = WIDTH_39;
	vtd_registers(&io.vtd, VTD_GSTS_TES, TABLES);
	rig->nic->dma.iommu = &io.vtd;
	return &io;
}

static int teardown_io(void **state)
{
	((struct rig *)*state)->nic->dma.iommu = NULL;
	return rig_teardown(state);
}

#define TEST_IO(name) cmocka_unit_test_setup_teardown(name, setup_receiving, teardown_io)

/* A ring of 512 descriptors in two pages that lie the wrong way round, and buffers over two pages each. */
static void frames_pass_through_scattered_rings_and_buffers(void **state)
{
	enum { COUNT = 512, FRAMES = 3 * COUNT };
	struct rig *rig = *state;
	struct io_rig *io = behind_an_iommu(rig);
	const uint32_t ring_pages[2] = {0x60000, 0x50000}, buffer_pages[2] = {0x90000, 0x80000};
	uint8_t frame[1600], got[1600];
	size_t size = tcp_frame(frame, 1400);

	rig_write(rig, RXDCTL(0), 0);
	for (unsigned i = 0; i < 2; i++) {
		*page_entry(io, RING_IO + i * PAGE) = (RIG_IOVA + ring_pages[i]) | READ_WRITE;
		*page_entry(io, BUF_IO + i * PAGE) = (RIG_IOVA + buffer_pages[i]) | WRITE;
	}
	rig_write(rig, RDBAL(0), (uint32_t)RING_IO);
	rig_write(rig, RDBAH(0), (uint32_t)(RING_IO >> 32));
	rig_write(rig, RDLEN(0), COUNT * 16);
	rig_write(rig, RDH(0), 0);
	rig_write(rig, RDT(0), 0);
	rig_write(rig, RXDCTL(0), RXDCTL_ENABLE);

	for (unsigned n = 0; n < FRAMES; n++) {
		unsigned i = n % COUNT;
		union ixgbe_rx_desc *desc =
			(union ixgbe_rx_desc *)(rig->memory + ring_pages[i / 256]) + i % 256;

		desc->read.packet_addr = BUF_IO + PAGE - 700;
		desc->read.header_addr = 0;
		rig_write(rig, RDT(0), (i + 1) % COUNT);
		frame[size - 1] = (uint8_t)n;
		receive(rig, frame, size);
		assert_true(desc->wb.status_error & RXD_STAT_EOP);
		assert_int_equal(desc->wb.length, size);
		memcpy(got, rig->memory + buffer_pages[0] + PAGE - 700, 700);
		memcpy(got + 700, rig->memory + buffer_pages[1], size - 700);
		assert_memory_equal(got, frame, size);
	}
	assert_int_equal(rig->nic->stats.rx_delivered, FRAMES);
	rig_violated(rig, NIC_VIOLATION_DMA_IOMMU, 0);
}

static void a_buffer_outside_of_the_map_is_not_written(void **state)
{
	struct rig *rig = *state;
	uint8_t frame[200];
	size_t size = tcp_frame(frame, 100);
	struct io_rig *io = behind_an_iommu(rig);

	/* The rig's own ring, mapped where it is; its buffers are not. */
	*page_entry(io, RIG_IOVA) = RIG_IOVA | READ_WRITE;
	receive(rig, frame, size);
	rig_violated(rig, NIC_VIOLATION_DMA_IOMMU, 1);
	assert_true(ring(rig, 0)[0].wb.status_error & RXD_ERR_RXE);
	assert_int_equal(*(uint64_t *)buffer(rig, 0, 0), 0);
}

/* The guest unmaps a buffer when its descriptor has come back, and may give its address to another page at once. */
static void an_address_reused_after_write_back_is_looked_up_again(void **state)
{
	struct rig *rig = *state;
	uint8_t frame[200];
	size_t size = tcp_frame(frame, 100);
	struct io_rig *io = behind_an_iommu(rig);

	*page_entry(io, RIG_IOVA) = RIG_IOVA | READ_WRITE;
	*page_entry(io, BUF_IO) = (RIG_IOVA + 0x80000) | WRITE;
	ring(rig, 0)[0].read.packet_addr = ring(rig, 0)[1].read.packet_addr = BUF_IO;
	receive(rig, frame, size);
	memset(rig->memory + 0x80000, 0, PAGE);
	*page_entry(io, BUF_IO) = (RIG_IOVA + 0x90000) | WRITE;
	receive(rig, frame, size);
	assert_memory_equal(rig->memory + 0x90000, frame, size);
	assert_int_equal(*(uint64_t *)(rig->memory + 0x80000), 0);
}

static void frames_wait_while_the_iommus_state_is_not_known(void **state)
{
	struct rig *rig = *state;
	struct io_rig *io = behind_an_iommu(rig);

	vtd_forget(&io->vtd);
	assert_false(wire_deliverable(&rig->wire, 1, 1514));
	rig_set(rig, DMATXCTL, DMATXCTL_TE);
	rig_write(rig, TDBAL(0), (uint32_t)RIG_IOVA);
	rig_write(rig, TDLEN(0), 1024);
	rig_write(rig, TXDCTL(0), TXDCTL_ENABLE);
	rig_write(rig, TDT(0), 1);
	assert_false(nic_tx_work(rig->nic));
	assert_int_equal(nic_tx_poll(rig->nic, 64), 0);
	rig_violated(rig, NIC_VIOLATION_DMA_IOMMU, 0);
	vtd_registers(&io->vtd, 0, 0);
	assert_true(wire_deliverable(&rig->wire, 1, 1514));
	assert_true(nic_tx_work(rig->nic));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(while_translation_is_off_addresses_are_physical),
		TEST(before_the_registers_are_known_there_is_no_dma),
		TEST(the_registers_are_read_again_now_and_then),
		TEST(other_modes_than_the_legacy_one_are_refused),
		TEST(pages_of_4_kib_are_found_at_every_width),
		TEST(pages_of_2_mib_are_found),
		TEST(pages_of_1_gib_are_found),
		TEST(a_large_page_with_reserved_bits_is_refused),
		TEST(each_level_can_take_a_direction_away),
		TEST(tables_that_are_not_present_are_refused),
		TEST(tables_outside_of_the_guests_memory_are_not_followed),
		TEST(a_page_outside_of_the_guests_memory_is_refused),
		TEST(a_table_that_points_to_itself_ends_the_walk),
		TEST(widths_and_types_that_do_not_exist_are_refused),
		TEST(addresses_beyond_the_width_are_refused),
		TEST(pass_through_leaves_addresses_within_the_width_alone),
		TEST(data_does_not_go_where_interrupt_messages_do),
		TEST(an_access_over_pages_that_lie_apart_comes_in_parts),
		TEST(an_access_whose_last_page_is_refused_reaches_none),
		TEST(a_translation_lasts_for_one_burst),
		TEST(addresses_that_share_a_slot_do_not_share_their_pages),
		TEST_IO(frames_pass_through_scattered_rings_and_buffers),
		TEST_IO(a_buffer_outside_of_the_map_is_not_written),
		TEST_IO(an_address_reused_after_write_back_is_looked_up_again),
		TEST_IO(frames_wait_while_the_iommus_state_is_not_known),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
