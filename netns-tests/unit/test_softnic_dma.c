/*
 * The door to the client's memory: what may be mapped, what an access may reach, and a client that takes its
 * memory away.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/memfd.h>
#include <sys/mman.h>
#include <unistd.h>

#include "dma_at.h"
#include "nic_fixture.h"

#define PAGE 4096u
#define IOVA 0x100000000ull

static int memory(size_t size)
{
	int fd = memfd_create("test", MFD_CLOEXEC);
	assert_true(fd >= 0);
	assert_int_equal(ftruncate(fd, (off_t)size), 0);
	return fd;
}

static int map(struct nic *nic, uint64_t iova, uint64_t size)
{
	return nic_dma_map(nic, iova, size, memory(4 * PAGE), 0, true, true);
}

static struct nic *master_on(void **state)
{
	struct nic *nic = fixture_nic(state);
	nic_config_write(nic, 4, 2, 0x6);
	return nic;
}

static void test_an_access_reaches_the_bytes_of_the_file_at_the_offset(void **state)
{
	struct nic *nic = master_on(state);
	int fd = memory(4 * PAGE);
	assert_int_equal(pwrite(fd, "here", 4, 2 * PAGE + 10), 4);
	assert_int_equal(nic_dma_map(nic, IOVA, PAGE, dup(fd), 2 * PAGE, true, true), 0);
	char *p = dma_at(nic, IOVA + 10, 4, false);
	assert_non_null(p);
	assert_memory_equal(p, "here", 4);
	memcpy(dma_at(nic, IOVA + PAGE - 2, 2, true), "!!", 2);
	char end[2];
	assert_int_equal(pread(fd, end, 2, 3 * PAGE - 2), 2);
	assert_memory_equal(end, "!!", 2);
	close(fd);
	assert_int_equal(nic_violations(nic), 0);
}

static void test_an_access_outside_of_a_region_is_refused_and_counted(void **state)
{
	struct nic *nic = master_on(state);
	assert_int_equal(map(nic, IOVA, 2 * PAGE), 0);
	const struct {
		uint64_t iova;
		size_t size;
	} outside[] = {
		{IOVA - 1, 1},
		{IOVA - 1, 2},
		{IOVA + 2 * PAGE, 1},
		{IOVA + 2 * PAGE - 1, 2},
		{IOVA, 2 * PAGE + 1},
		{IOVA + 1, SIZE_MAX},
		{IOVA, 0},
		{UINT64_MAX, 16},
		{0, 16},
	};
	for (size_t i = 0; i < sizeof outside / sizeof *outside; i++) {
		assert_null(dma_at(nic, outside[i].iova, outside[i].size, false));
		assert_int_equal(nic->violation[NIC_VIOLATION_DMA_UNMAPPED], i + 1);
	}
	assert_non_null(dma_at(nic, IOVA, 2 * PAGE, true));
}

static void test_a_request_over_two_regions_comes_in_two_parts(void **state)
{
	struct nic *nic = master_on(state);
	static const char text[] = "0123456789abcdef";
	struct iovec spans[NIC_DMA_SPANS];
	char bytes[16];
	assert_int_equal(map(nic, IOVA, PAGE), 0);
	assert_int_equal(map(nic, IOVA + 4 * PAGE, PAGE), 0); /* lies between them for us */
	assert_int_equal(map(nic, IOVA + PAGE, PAGE), 0);
	unsigned n = nic_dma(nic, IOVA + PAGE - 10, 16, true, spans);
	assert_in_range(n, 1, 2);
	for (unsigned i = 0, at = 0; i < n; at += (unsigned)spans[i++].iov_len)
		memcpy(spans[i].iov_base, &text[at], spans[i].iov_len);
	assert_memory_equal(dma_at(nic, IOVA + PAGE - 10, 10, false), "0123456789", 10);
	assert_memory_equal(dma_at(nic, IOVA + PAGE, 6, false), "abcdef", 6);
	assert_true(nic_dma_read(nic, IOVA + PAGE - 10, bytes, 16));
	assert_memory_equal(bytes, text, 16);
	assert_int_equal(nic_violations(nic), 0);
	/* All or nothing. */
	assert_int_equal(nic_dma(nic, IOVA + PAGE - 8, PAGE + 16, true, spans), 0);
	assert_int_equal(nic->violation[NIC_VIOLATION_DMA_UNMAPPED], 1);
}

static void test_a_window_moves_along_what_it_looks_at(void **state)
{
	struct nic *nic = master_on(state);
	struct nic_dma_window window = {0};
	assert_int_equal(map(nic, IOVA, PAGE), 0);
	assert_int_equal(map(nic, IOVA + PAGE, PAGE), 0);
	for (unsigned i = 0; i < 2 * PAGE / 16; i++)
		memset(nic_dma_descriptor(nic, &window, IOVA + 16 * i, 2 * PAGE - 16 * i), (int)(i % 251),
			16);
	for (unsigned i = 0; i < 2 * PAGE / 16; i++)
		assert_int_equal(*(uint8_t *)dma_at(nic, IOVA + 16 * i + 15, 1, false), i % 251);
	assert_int_equal(nic_violations(nic), 0);
	assert_null(nic_dma_descriptor(nic, &window, IOVA + 2 * PAGE, 16));
	assert_null(nic_dma_descriptor(nic, &window, IOVA + 2 * PAGE, 16));
	assert_int_equal(nic->violation[NIC_VIOLATION_DMA_UNMAPPED], 2);
}

static void test_a_window_needs_both_directions(void **state)
{
	struct nic *nic = master_on(state);
	struct nic_dma_window window = {0};
	assert_int_equal(nic_dma_map(nic, IOVA, PAGE, memory(PAGE), 0, true, false), 0);
	assert_int_equal(nic_dma_map(nic, IOVA + PAGE, PAGE, memory(PAGE), 0, false, true), 0);
	assert_null(nic_dma_descriptor(nic, &window, IOVA, 16));
	assert_null(nic_dma_descriptor(nic, &window, IOVA + PAGE, 16));
	assert_int_equal(nic->violation[NIC_VIOLATION_DMA_UNMAPPED], 2);
}

static void test_the_direction_of_a_region_is_respected(void **state)
{
	struct nic *nic = master_on(state);
	assert_int_equal(nic_dma_map(nic, IOVA, PAGE, memory(PAGE), 0, true, false), 0);
	assert_int_equal(nic_dma_map(nic, IOVA + PAGE, PAGE, memory(PAGE), 0, false, true), 0);
	assert_non_null(dma_at(nic, IOVA, 4, false));
	assert_null(dma_at(nic, IOVA, 4, true));
	assert_null(dma_at(nic, IOVA + PAGE, 4, false));
	assert_non_null(dma_at(nic, IOVA + PAGE, 4, true));
	assert_int_equal(nic->violation[NIC_VIOLATION_DMA_UNMAPPED], 2);
}

static void test_without_bus_master_there_is_no_dma(void **state)
{
	struct nic *nic = fixture_nic(state);
	assert_int_equal(map(nic, IOVA, PAGE), 0);
	assert_null(dma_at(nic, IOVA, 4, false));
	assert_int_equal(nic->violation[NIC_VIOLATION_DMA_NO_MASTER], 1);
	nic_config_write(nic, 4, 2, 0x4);
	assert_non_null(dma_at(nic, IOVA, 4, false));
	nic_config_write(nic, 0x44, 2, 3); /* D3hot */
	assert_null(dma_at(nic, IOVA, 4, false));
	assert_int_equal(nic->violation[NIC_VIOLATION_DMA_NO_MASTER], 2);
}

static void test_a_removed_device_does_no_dma_and_is_not_to_blame(void **state)
{
	struct nic *nic = master_on(state);
	assert_int_equal(map(nic, IOVA, PAGE), 0);
	nic_fault_set(nic, "removed", 1);
	assert_null(dma_at(nic, IOVA, 4, false));
	assert_int_equal(nic_violations(nic), 0);
}

static void test_ranges_that_make_no_sense_are_refused(void **state)
{
	struct nic *nic = fixture_nic(state);
	assert_int_equal(map(nic, IOVA, 0), -EINVAL);
	assert_int_equal(map(nic, IOVA + 1, PAGE), -EINVAL);
	assert_int_equal(map(nic, IOVA, PAGE + 1), -EINVAL);
	assert_int_equal(map(nic, UINT64_MAX - PAGE + 1, 2 * PAGE), -EINVAL);
	assert_int_equal(map(nic, UINT64_MAX - PAGE + 1, PAGE), 0); /* the very last page */
	assert_int_equal(nic_dma_map(nic, IOVA, PAGE, memory(PAGE), 1, true, true), -EINVAL);
	assert_int_equal(nic_dma_map(nic, IOVA, PAGE, memory(PAGE), 0, false, false), -EINVAL);
	assert_int_equal(nic_dma_map(nic, IOVA, PAGE, -1, 0, true, true), -EBADF);
}

static void test_a_file_that_is_too_short_is_refused(void **state)
{
	struct nic *nic = fixture_nic(state);
	assert_int_equal(map(nic, IOVA, 5 * PAGE), -EINVAL);
	assert_int_equal(nic_dma_map(nic, IOVA, PAGE, memory(4 * PAGE), 4 * PAGE, true, true), -EINVAL);
	assert_int_equal(
		nic_dma_map(nic, IOVA, PAGE, memory(4 * PAGE), UINT64_MAX - PAGE + 1, true, true), -EINVAL);
	assert_int_equal(nic->dma.count, 0);
}

static void test_what_is_not_a_file_of_memory_is_refused(void **state)
{
	struct nic *nic = fixture_nic(state);
	assert_int_equal(nic_dma_map(nic, IOVA, PAGE, open("/dev/zero", O_RDWR), 0, true, true), -EINVAL);
	int ends[2];
	assert_int_equal(pipe(ends), 0);
	assert_int_equal(nic_dma_map(nic, IOVA, PAGE, ends[0], 0, true, true), -EINVAL);
	close(ends[1]);
}

static void test_the_device_does_no_dma_into_its_own_registers(void **state)
{
	struct nic *nic = fixture_nic(state);
	struct nic *neighbour = nic_create(1, "neighbour", FIXTURE_MAC);
	assert_non_null(neighbour);
	assert_int_equal(nic_dma_map(nic, IOVA, PAGE, dup(nic->regs_fd), 0x1000, true, true), -EINVAL);
	assert_int_equal(nic_dma_map(nic, IOVA, PAGE, dup(neighbour->regs_fd), 0x6000, true, true), -EINVAL);
	nic_free(neighbour);
}

static void test_overlaps_are_refused_and_neighbours_are_not(void **state)
{
	struct nic *nic = fixture_nic(state);
	assert_int_equal(map(nic, IOVA, 2 * PAGE), 0);
	assert_int_equal(map(nic, IOVA, 2 * PAGE), -EEXIST);
	assert_int_equal(map(nic, IOVA + PAGE, PAGE), -EEXIST);
	assert_int_equal(map(nic, IOVA - PAGE, 4 * PAGE), -EEXIST);
	assert_int_equal(map(nic, IOVA - PAGE, 2 * PAGE), -EEXIST);
	assert_int_equal(map(nic, IOVA - PAGE, PAGE), 0);
	assert_int_equal(map(nic, IOVA + 2 * PAGE, PAGE), 0);
	assert_int_equal(nic->dma.count, 3);
}

static unsigned open_files(void)
{
	unsigned count = 0;
	for (int fd = 0; fd < 256; fd++)
		count += fcntl(fd, F_GETFD) >= 0;
	return count;
}

static void test_the_descriptor_is_closed_whatever_happens(void **state)
{
	struct nic *nic = fixture_nic(state);
	unsigned before = open_files();
	map(nic, IOVA, PAGE);
	map(nic, IOVA, PAGE);
	map(nic, IOVA, 0);
	map(nic, IOVA + PAGE, 64 * PAGE);
	assert_int_equal(open_files(), before);
}

static void test_there_is_an_end_to_the_regions(void **state)
{
	struct nic *nic = fixture_nic(state);
	for (unsigned i = 0; i < NIC_DMA_REGIONS; i++)
		assert_int_equal(map(nic, IOVA + i * PAGE, PAGE), 0);
	assert_int_equal(map(nic, IOVA + NIC_DMA_REGIONS * PAGE, PAGE), -ENOSPC);
	nic_dma_unmap_all(nic);
	assert_int_equal(nic->dma.count, 0);
}

static void test_unmapping_takes_whole_regions_only(void **state)
{
	struct nic *nic = master_on(state);
	for (unsigned i = 0; i < 3; i++)
		assert_int_equal(map(nic, IOVA + i * 2 * PAGE, 2 * PAGE), 0);
	assert_int_equal(nic_dma_unmap(nic, IOVA + PAGE, PAGE), -EINVAL);
	assert_int_equal(nic_dma_unmap(nic, IOVA, 3 * PAGE), -EINVAL);
	assert_int_equal(nic_dma_unmap(nic, IOVA, 0), -EINVAL);
	assert_int_equal(nic_dma_unmap(nic, UINT64_MAX, 2), -EINVAL);
	assert_int_equal(nic_dma_unmap(nic, IOVA + 6 * PAGE, PAGE), -ENOENT);
	assert_int_equal(nic->dma.count, 3);
	assert_int_equal(nic_dma_unmap(nic, IOVA, 4 * PAGE), 0);
	assert_int_equal(nic->dma.count, 1);
	assert_null(dma_at(nic, IOVA, 4, false));
	assert_non_null(dma_at(nic, IOVA + 4 * PAGE, 4, false));
}

static void test_a_client_that_takes_its_memory_away_harms_itself_only(void **state)
{
	struct nic *nic = master_on(state);
	int fd = memory(4 * PAGE);
	assert_int_equal(nic_dma_map(nic, IOVA, 4 * PAGE, dup(fd), 0, true, true), 0);
	assert_int_equal(map(nic, IOVA + 4 * PAGE, PAGE), 0);
	volatile uint8_t *p = dma_at(nic, IOVA, 4 * PAGE, true);
	p[3 * PAGE] = 7;
	assert_int_equal(ftruncate(fd, PAGE), 0);
	assert_int_equal(p[3 * PAGE], 0); /* no SIGBUS that kills */
	p[2 * PAGE] = 1;
	assert_int_equal(nic_violations(nic), 0);
	assert_null(dma_at(nic, IOVA, 4, false));
	assert_int_equal(nic->violation[NIC_VIOLATION_DMA_UNMAPPED], 1);
	assert_non_null(dma_at(nic, IOVA + 4 * PAGE, 4, true));
	assert_int_equal(nic_dma_unmap(nic, IOVA, 4 * PAGE), 0);
	close(fd);
}

/* Huge pages can only be replaced whole, and the client may have mapped a part of one. */
static void test_the_same_holds_for_huge_pages(void **state)
{
	const unsigned huge = 2u << 20;
	struct nic *nic = master_on(state);
	int fd = memfd_create("test", MFD_CLOEXEC | MFD_HUGETLB | MFD_HUGE_2MB);
	if (fd < 0)
		skip();
	assert_int_equal(ftruncate(fd, 3 * huge), 0);
	assert_int_equal(nic_dma_map(nic, IOVA, 2 * PAGE, dup(fd), 2 * huge - PAGE, true, true), 0);
	volatile uint8_t *p = dma_at(nic, IOVA, 2 * PAGE, true);
	assert_int_equal(ftruncate(fd, 0), 0);
	p[0] = 1;
	p[PAGE] = 2;
	assert_int_equal(p[0] + p[PAGE], 3);
	assert_null(dma_at(nic, IOVA, 2 * PAGE, true));
	assert_int_equal(nic_dma_unmap(nic, IOVA, 2 * PAGE), 0);
	close(fd);
}

static void test_nothing_of_a_client_that_has_gone_stays_mapped(void **state)
{
	struct nic *nic = master_on(state);
	assert_int_equal(map(nic, IOVA, PAGE), 0);
	assert_null(dma_at(nic, 0, 4, false));
	nic_client_gone(nic);
	assert_int_equal(nic->dma.count, 0);
	assert_false(nic_bus_master(nic));
	assert_int_equal(nic_violations(nic), 1);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		nic_test(test_an_access_reaches_the_bytes_of_the_file_at_the_offset),
		nic_test(test_an_access_outside_of_a_region_is_refused_and_counted),
		nic_test(test_a_request_over_two_regions_comes_in_two_parts),
		nic_test(test_a_window_moves_along_what_it_looks_at),
		nic_test(test_a_window_needs_both_directions),
		nic_test(test_the_direction_of_a_region_is_respected),
		nic_test(test_without_bus_master_there_is_no_dma),
		nic_test(test_a_removed_device_does_no_dma_and_is_not_to_blame),
		nic_test(test_ranges_that_make_no_sense_are_refused),
		nic_test(test_a_file_that_is_too_short_is_refused),
		nic_test(test_what_is_not_a_file_of_memory_is_refused),
		nic_test(test_the_device_does_no_dma_into_its_own_registers),
		nic_test(test_overlaps_are_refused_and_neighbours_are_not),
		nic_test(test_the_descriptor_is_closed_whatever_happens),
		nic_test(test_there_is_an_end_to_the_regions),
		nic_test(test_unmapping_takes_whole_regions_only),
		nic_test(test_a_client_that_takes_its_memory_away_harms_itself_only),
		nic_test(test_the_same_holds_for_huge_pages),
		nic_test(test_nothing_of_a_client_that_has_gone_stays_mapped),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
