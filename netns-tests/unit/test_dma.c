/*
 * DMA memory: what it is made of, what its addresses are, and what is said when there is none.
 *
 * Huge pages are the machine's: tests that need them reserve a few, give them back, and are skipped where that
 * is not allowed.
 */
#include <stdarg.h>
#include <setjmp.h>
#include <stddef.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdlib.h>
#include <unistd.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <cmocka.h>

#include "driver/dma_place.h"
#include "fake_pci.h"
#include "huge_pages.h"

static struct fake_pci fake;
static long pages_before;
static unsigned logged;

static void count_log(enum ixy_log_level level, const char *text)
{
	(void)level;
	(void)text;
	logged++;
}

static int setup(void **state)
{
	(void)state;
	fake_pci_init(&fake, DMA_IOVA_VA);
	pages_before = huge_pages();
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	ixy_set_log(NULL);
	if (huge_pages() != pages_before)
		set_huge_pages(pages_before);
	return fake.mapped ? -1 : 0;
}

static void need_huge_pages(long count)
{
	long missing = count - dma_huge_pages_free();

	if (missing > 0 && dma_huge_pages_reserve((size_t)missing) != missing) {
		print_message("cannot reserve %ld huge pages\n", missing);
		skip();
	}
}

static void memory_is_zeroed_mapped_and_writable_to_its_end(void **state)
{
	struct dma_region *region;

	(void)state;
	assert_int_equal(dma_alloc(&fake.pci, 100000, &region), 0);
	assert_int_equal(fake.mapped, 1);
	assert_true(region->size >= 100000);
	assert_int_equal(region->size % region->page_size, 0);
	for (size_t i = 0; i < region->size; i += 512)
		assert_int_equal(region->virt[i], 0);
	memset(region->virt, 0xaa, region->size);
	dma_free(&fake.pci, region);
	assert_int_equal(fake.mapped, 0);
}

static void virtual_addresses_are_device_addresses(void **state)
{
	struct dma_region *region;

	(void)state;
	assert_int_equal(dma_alloc(&fake.pci, 8192, &region), 0);
	assert_int_equal(dma_iova(region, region->virt + 5000), (uintptr_t)region->virt + 5000);
	assert_true(dma_contiguous(region, region->virt, region->size));
	dma_free(&fake.pci, region);
}

/* The other process's mapping would be SIGBUS beyond the end. */
static void the_memfd_cannot_be_resized(void **state)
{
	struct dma_region *region;
	struct stat stat;

	(void)state;
	assert_int_equal(dma_alloc(&fake.pci, 8192, &region), 0);
	assert_int_equal(fstat(region->fd, &stat), 0);
	assert_int_equal(stat.st_size, region->size);
	assert_int_equal(ftruncate(region->fd, 0), -1);
	assert_int_equal(ftruncate(region->fd, (off_t)region->size * 2), -1);
	assert_int_equal(fcntl(region->fd, F_ADD_SEALS, F_SEAL_WRITE), -1);
	dma_free(&fake.pci, region);
}

static void a_second_mapping_sees_what_the_first_writes(void **state)
{
	struct dma_region *region;
	uint8_t *theirs;

	(void)state;
	assert_int_equal(dma_alloc(&fake.pci, 8192, &region), 0);
	theirs = mmap(NULL, region->size, PROT_READ | PROT_WRITE, MAP_SHARED, region->fd, 0);
	assert_true(theirs != MAP_FAILED);
	region->virt[4097] = 42;
	assert_int_equal(theirs[4097], 42);
	munmap(theirs, region->size);
	dma_free(&fake.pci, region);
}

static void ordinary_pages_do_where_addresses_are_translated(void **state)
{
	struct dma_region *first, *second;

	(void)state;
	if (dma_huge_pages_free() != 0)
		skip();
	ixy_set_log(count_log);
	logged = 0;
	assert_int_equal(dma_alloc(&fake.pci, 5000, &first), 0);
	assert_int_equal(dma_alloc(&fake.pci, 5000, &second), 0);
	assert_int_equal(first->page_size, sysconf(_SC_PAGESIZE));
	assert_int_equal(logged, 1); /* said once a device */
	dma_free(&fake.pci, second);
	dma_free(&fake.pci, first);
}

static void missing_huge_pages_are_counted_in_the_error_with_the_command(void **state)
{
	struct dma_region *region;
	char command[256];
	long available = dma_huge_pages_free();

	(void)state;
	if (available < 0)
		skip();
	fake.pci.iova_mode = DMA_IOVA_PA;
	assert_int_equal(dma_alloc(&fake.pci, (size_t)(available + 3) * DMA_HUGE_PAGE, &region), -ENOMEM);
	snprintf(command, sizeof(command),
		"%ld huge pages of 2 MiB are needed and %ld are free: echo %ld > %s", available + 3,
		available, huge_pages() + 3, NR_HUGE_PAGES);
	assert_non_null(strstr(ixy_last_error(), command));
	assert_non_null(strstr(ixy_last_error(), "fake: "));
}

static void the_command_in_the_error_helps(void **state)
{
	struct dma_region *region;
	char *number;

	(void)state;
	if (dma_huge_pages_free() != 0)
		skip();
	fake.pci.iova_mode = DMA_IOVA_PA;
	assert_int_equal(dma_alloc(&fake.pci, 3 * DMA_HUGE_PAGE, &region), -ENOMEM);
	number = strstr(ixy_last_error(), "echo ");
	assert_non_null(number);
	if (set_huge_pages(strtol(number + 5, NULL, 10)) != 0 || dma_huge_pages_free() < 3)
		skip();
	assert_int_equal(dma_alloc(&fake.pci, 3 * DMA_HUGE_PAGE, &region), 0);
	dma_free(&fake.pci, region);
}

static void huge_pages_are_taken_where_they_are(void **state)
{
	struct dma_region *region;

	(void)state;
	need_huge_pages(2);
	assert_int_equal(dma_alloc(&fake.pci, DMA_HUGE_PAGE + 1, &region), 0);
	assert_int_equal(region->page_size, DMA_HUGE_PAGE);
	assert_int_equal(region->size, 2 * DMA_HUGE_PAGE);
	memset(region->virt, 1, region->size);
	dma_free(&fake.pci, region);
}

static void missing_huge_pages_are_reserved_on_request(void **state)
{
	struct dma_region *region;

	(void)state;
	if (dma_huge_pages_free() != 0)
		skip();
	need_huge_pages(1); /* that it is allowed at all */
	set_huge_pages(pages_before);
	fake.pci.reserve_huge_pages = true;
	fake.pci.iova_mode = DMA_IOVA_PA;
	assert_int_equal(dma_alloc(&fake.pci, 2 * DMA_HUGE_PAGE, &region), 0);
	assert_int_equal(region->page_size, DMA_HUGE_PAGE);
	dma_free(&fake.pci, region);
}

static void physical_addresses_are_those_of_the_pages(void **state)
{
	struct dma_region *region;

	(void)state;
	need_huge_pages(2);
	fake.pci.iova_mode = DMA_IOVA_PA;
	assert_int_equal(dma_alloc(&fake.pci, 2 * DMA_HUGE_PAGE, &region), 0);
	for (size_t page = 0; page < 2; page++) {
		uint64_t iova = dma_iova(region, region->virt + page * DMA_HUGE_PAGE);

		assert_int_not_equal(iova, 0);
		assert_int_equal(iova % DMA_HUGE_PAGE, 0);
		assert_int_equal(dma_iova(region, region->virt + page * DMA_HUGE_PAGE + 12345), iova + 12345);
	}
	assert_true(dma_contiguous(region, region->virt, DMA_HUGE_PAGE));
	assert_false(dma_contiguous(region, region->virt + DMA_HUGE_PAGE - 1, 2));
	dma_free(&fake.pci, region);
}

static void a_refusal_of_the_device_leaves_nothing_behind(void **state)
{
	struct dma_region *region;
	int before = dup(0), after;

	(void)state;
	close(before);
	fake.map_error = ENOSPC;
	assert_int_equal(dma_alloc(&fake.pci, 8192, &region), -ENOSPC);
	assert_string_equal(ixy_last_error(), "fake: the device refuses");
	after = dup(0);
	close(after);
	assert_int_equal(before, after); /* no descriptor was left open */
}

static void sizes_that_cannot_be_are_refused(void **state)
{
	struct dma_region *region;

	(void)state;
	assert_int_equal(dma_alloc(&fake.pci, 0, &region), -EINVAL);
	assert_int_equal(dma_alloc(&fake.pci, SIZE_MAX, &region), -EINVAL);
	dma_free(&fake.pci, NULL);
}

/* --- where memory may lie ------------------------------------------------------------------------ */

/* As /proc/self/maps has it: a program, its heap, and at the top libraries and a stack. */
static const char maps[] = "00400000-00500000 r-xp 00000000 08:01 1234       /bin/program with blanks\n"
			   "00700000-40000000 rw-p 00000000 00:00 0          [heap]\n"
			   "7f0000000000-7f0000100000 r-xp 00000000 08:01 99 /lib/lib.so\n"
			   "7ffffffde000-7ffffffff000 rw-p 00000000 00:00 0  [stack]\n"
			   "ffffffffff600000-ffffffffff601000 --xp 00000000 00:00 0 [vsyscall]\n";

static uintptr_t place(const char *text, const struct dma_window *windows, uint32_t count, uint64_t size)
{
	FILE *file = fmemopen((void *)(uintptr_t)text, strlen(text), "r");
	uintptr_t result;

	assert_non_null(file);
	result = dma_place(file, windows, count, size, DMA_HUGE_PAGE);
	fclose(file);
	return result;
}

static void the_highest_place_below_the_limit_is_taken(void **state)
{
	static const struct dma_window bits39[] = {{0, 0xfedfffff}, {0xfef00000, 0x7fffffffff}};
	static const struct dma_window low[] = {{0, 0x3fffffff}};
	static const struct dma_window bits32[] = {{0, 0xfedfffff}};
	const uint64_t mib = 1 << 20;

	(void)state;
	assert_int_equal(place(maps, bits39, 2, 2 * mib), 0x7fffe00000);
	assert_int_equal(place(maps, bits39, 2, 2 * mib + 1), 0x7fffc00000);
	assert_int_equal(place(maps, bits32, 1, 4 * mib), 0xfea00000);
	/* Between program and heap there are two MiB, of which none is aligned; below the program four. */
	assert_int_equal(place(maps, low, 1, 2 * mib), 0x200000);
	assert_int_equal(place(maps, low, 1, 4 * mib), 0);
	assert_int_equal(place("", low, 1, 2 * mib), 0x3fe00000);
	assert_int_equal(place("garbage", low, 1, 2 * mib), 0x3fe00000);
}

static void what_fits_nowhere_has_no_place(void **state)
{
	static const struct dma_window tiny[] = {{0, 0xfff}}, high[] = {{UINT64_C(1) << 48, UINT64_MAX}};
	static const struct dma_window all[] = {{0, UINT64_MAX}};

	(void)state;
	assert_int_equal(place(maps, tiny, 1, 4096), 0);
	assert_int_equal(place(maps, high, 1, 4096), 0);
	assert_int_equal(place(maps, all, 1, UINT64_MAX), 0);
	assert_int_equal(place(maps, all, 1, UINT64_C(1) << 47), 0);
	assert_int_equal(place(maps, all, 1, 0), 0);
	assert_int_equal(place(maps, NULL, 0, 4096), 0);
}

static void a_window_holds_a_span_only_whole(void **state)
{
	static const struct dma_window windows[] = {{0x1000, 0x2fff}, {0x4000, UINT64_MAX}};

	(void)state;
	assert_true(dma_fits(windows, 2, 0x1000, 0x2000));
	assert_false(dma_fits(windows, 2, 0x1000, 0x2001));
	assert_false(dma_fits(windows, 2, 0xfff, 1));
	assert_false(dma_fits(windows, 2, 0x3000, 1));
	assert_true(dma_fits(windows, 2, UINT64_MAX, 1));
	assert_false(dma_fits(windows, 2, UINT64_MAX, 2)); /* around the end */
	assert_true(dma_fits(windows, 2, 0x4000, UINT64_MAX - 0x3fff));
	assert_true(dma_fits(NULL, 0, 0, UINT64_MAX)); /* no windows, no limits */
}

/* The limit is the device's: where it has none the kernel chooses. */
static void memory_follows_the_limit_of_its_device(void **state)
{
	struct dma_region *high, *low;

	(void)state;
	assert_int_equal(dma_alloc(&fake.pci, 100000, &high), 0);
	fake.pci.windows[0] = (struct dma_window){0, 0xffffffff};
	fake.pci.window_count = 1;
	assert_int_equal(dma_alloc(&fake.pci, 100000, &low), 0);
	assert_true((uintptr_t)high->virt > 0xffffffff);
	assert_true((uintptr_t)low->virt + low->size - 1 <= 0xffffffff);
	memset(low->virt, 1, low->size);
	dma_free(&fake.pci, low);
	dma_free(&fake.pci, high);
}

static void runs_cover_the_region_once(void **state)
{
	uint64_t pages[5] = {0x1000, 0x2000, 0x8000, 0x3000, 0x4000};
	struct dma_region region = {.virt = (uint8_t *)0x100000,
		.size = 5 * 0x1000,
		.page_size = 0x1000,
		.mode = DMA_IOVA_PA,
		.page_iova = pages};
	static const struct dma_run expected[] = {
		{0, 0x2000, 0x1000}, {0x2000, 0x1000, 0x8000}, {0x3000, 0x2000, 0x3000}};
	struct dma_run run = {0};

	(void)state;
	for (unsigned i = 0; i < 3; i++) {
		assert_true(dma_next_run(&region, &run));
		assert_memory_equal(&run, &expected[i], sizeof(run));
	}
	assert_false(dma_next_run(&region, &run));
	region.mode = DMA_IOVA_VA;
	run = (struct dma_run){0};
	assert_true(dma_next_run(&region, &run));
	assert_int_equal(run.size, region.size);
	assert_int_equal(run.iova, 0x100000);
	assert_false(dma_next_run(&region, &run));
}

static void memory_is_shared_only_in_the_same_address_mode(void **state)
{
	struct fake_pci second;
	struct dma_region *region;

	(void)state;
	fake_pci_init(&second, DMA_IOVA_VA);
	assert_int_equal(dma_alloc(&fake.pci, 8192, &region), 0);
	assert_int_equal(dma_share(&second.pci, region), 0);
	assert_int_equal(second.mapped, 1);
	dma_unshare(&second.pci, region);
	assert_int_equal(second.mapped, 0);
	second.pci.iova_mode = DMA_IOVA_PA;
	assert_int_equal(dma_share(&second.pci, region), -ENOTSUP);
	dma_free(&fake.pci, region);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(memory_is_zeroed_mapped_and_writable_to_its_end),
		TEST(virtual_addresses_are_device_addresses),
		TEST(the_memfd_cannot_be_resized),
		TEST(a_second_mapping_sees_what_the_first_writes),
		TEST(ordinary_pages_do_where_addresses_are_translated),
		TEST(missing_huge_pages_are_counted_in_the_error_with_the_command),
		TEST(the_command_in_the_error_helps),
		TEST(huge_pages_are_taken_where_they_are),
		TEST(missing_huge_pages_are_reserved_on_request),
		TEST(physical_addresses_are_those_of_the_pages),
		TEST(a_refusal_of_the_device_leaves_nothing_behind),
		TEST(sizes_that_cannot_be_are_refused),
		TEST(the_highest_place_below_the_limit_is_taken),
		TEST(what_fits_nowhere_has_no_place),
		TEST(a_window_holds_a_span_only_whole),
		TEST(memory_follows_the_limit_of_its_device),
		TEST(runs_cover_the_region_once),
		TEST(memory_is_shared_only_in_the_same_address_mode),
	};

	return cmocka_run_group_tests_name("dma", tests, NULL, NULL);
}
