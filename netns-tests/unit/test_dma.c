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
		TEST(memory_is_shared_only_in_the_same_address_mode),
	};

	return cmocka_run_group_tests_name("dma", tests, NULL, NULL);
}
