/*
 * Mempools and packet buffers: what a fresh buffer is, what exhaustion does, where buffers go back to.
 */
#include <stdarg.h>
#include <setjmp.h>
#include <stddef.h>
#include <signal.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <cmocka.h>

#include "fake_pci.h"
#include "huge_pages.h"

static struct fake_pci fake, other;
static struct ixy_device dev = {.name = "fake", .pci = &fake.pci};
static struct ixy_device other_dev = {.name = "other", .pci = &other.pci};

static int setup(void **state)
{
	fake_pci_init(&fake, DMA_IOVA_VA);
	fake_pci_init(&other, DMA_IOVA_VA);
	*state = ixy_mempool_create(&dev, 64, 0);
	return *state ? 0 : -1;
}

static int teardown(void **state)
{
	int err = ixy_mempool_free(*state);

	return err || fake.mapped || other.mapped ? -1 : 0;
}

static void fresh_buffers_are_clean_distinct_and_inside_the_pool(void **state)
{
	struct mempool *pool = *state;
	struct pkt_buf *bufs[64];

	assert_int_equal(pkt_buf_alloc_batch(pool, bufs, 64), 64);
	for (int i = 0; i < 64; i++) {
		struct pkt_buf *buf = bufs[i];

		assert_ptr_equal(buf->data, pkt_buf_start(buf));
		assert_ptr_equal(buf->pool, pool);
		assert_null(buf->next);
		assert_int_equal(buf->size, 0);
		assert_int_equal(buf->frame_size, 0);
		assert_int_equal(buf->flags, 0);
		assert_int_equal(buf->segments, 1);
		assert_int_equal((uintptr_t)buf % 64, 0);
		assert_true((uint8_t *)buf >= pool->dma->virt);
		assert_true(buf->data + pool->data_size <= pool->dma->virt + pool->dma->size);
		assert_int_equal(pkt_buf_data_iova(buf), dma_iova(pool->dma, buf->data));
		for (int j = 0; j < i; j++)
			assert_true(llabs((char *)bufs[j] - (char *)buf) >= (long long)pool->entry_size);
		/* The whole buffer is writable, and nobody else's. */
		memset(buf->data, i, pool->data_size);
	}
	for (int i = 0; i < 64; i++)
		for (uint32_t j = 0; j < pool->data_size; j++)
			assert_int_equal(bufs[i]->data[j], i);
	pkt_buf_free_batch(bufs, 64);
	assert_int_equal(pool->free_count, 64);
}

static void a_used_buffer_comes_back_clean(void **state)
{
	struct mempool *pool = *state;
	struct pkt_buf *buf = pkt_buf_alloc(pool), *again;

	buf->data += 14;
	buf->size = 100;
	buf->frame_size = 100;
	buf->flags = PKT_TX_TSO4;
	buf->segments = 3;
	pkt_buf_free(buf);
	again = pkt_buf_alloc(pool);
	assert_ptr_equal(again, buf); /* the warmest one first */
	assert_ptr_equal(again->data, pkt_buf_start(again));
	assert_int_equal(again->size, 0);
	assert_int_equal(again->flags, 0);
	assert_int_equal(again->segments, 1);
	pkt_buf_free(again);
}

static void an_empty_pool_returns_short_and_counts_it(void **state)
{
	struct mempool *pool = *state;
	struct pkt_buf *bufs[100];

	assert_int_equal(pkt_buf_alloc_batch(pool, bufs, 100), 64);
	assert_int_equal(pool->exhausted, 36);
	assert_null(pkt_buf_alloc(pool));
	assert_int_equal(pool->exhausted, 37);
	pkt_buf_free_batch(bufs, 64);
	assert_int_equal(pool->free_count, 64);
}

static void freeing_a_frame_frees_all_its_segments_to_their_own_pools(void **state)
{
	struct mempool *pool = *state, *second = ixy_mempool_create(&dev, 8, 1024);
	struct pkt_buf *chain = pkt_buf_alloc(pool), *single = pkt_buf_alloc(second);

	assert_non_null(second);
	chain->next = pkt_buf_alloc(second);
	chain->next->next = pkt_buf_alloc(pool);
	chain->segments = 3;
	pkt_buf_free_batch((struct pkt_buf *[]){chain, single}, 2);
	assert_int_equal(pool->free_count, 64);
	assert_int_equal(second->free_count, 8);
	pkt_buf_free(NULL);
	assert_int_equal(ixy_mempool_free(second), 0);
}

static void a_pool_with_buffers_outside_is_not_freed(void **state)
{
	struct mempool *pool = *state;
	struct pkt_buf *buf = pkt_buf_alloc(pool);

	assert_int_equal(ixy_mempool_free(pool), -EBUSY);
	assert_non_null(strstr(ixy_last_error(), "1 of its 64"));
	pkt_buf_free(buf);
	assert_int_equal(ixy_mempool_free(NULL), 0);
}

/* Workers have a pool each, and write it for every frame. */
static void pools_share_no_cache_line(void **state)
{
	struct mempool *pools[4];
	uintptr_t lines[8][2]; /* first and last line of each piece */

	(void)state;
	for (unsigned i = 0; i < 4; i++) {
		pools[i] = ixy_mempool_create(&dev, 3 + i, 0);
		assert_non_null(pools[i]);
		lines[i][0] = (uintptr_t)pools[i] / 64;
		lines[i][1] = ((uintptr_t)(pools[i] + 1) - 1) / 64;
		lines[4 + i][0] = (uintptr_t)pools[i]->free_stack / 64;
		lines[4 + i][1] = ((uintptr_t)(pools[i]->free_stack + pools[i]->buf_count) - 1) / 64;
	}
	for (unsigned i = 0; i < 8; i++)
		for (unsigned j = 0; j < i; j++)
			assert_true(lines[i][0] > lines[j][1] || lines[i][1] < lines[j][0]);
	for (unsigned i = 0; i < 4; i++)
		assert_int_equal(ixy_mempool_free(pools[i]), 0);
}

static void data_size_is_rounded_up_to_kibibytes(void **state)
{
	struct mempool *pool = ixy_mempool_create(&dev, 3, 1500);

	(void)state;
	assert_non_null(pool);
	assert_int_equal(pool->data_size, 2048);
	assert_int_equal(ixy_mempool_free(pool), 0);
}

static void impossible_pools_are_refused_with_a_reason(void **state)
{
	(void)state;
	assert_null(ixy_mempool_create(&dev, 0, 0));
	assert_int_equal(errno, EINVAL);
	assert_null(ixy_mempool_create(&dev, 1, 1 << 20));
	assert_int_equal(errno, EINVAL);
	assert_null(ixy_mempool_create(&dev, 1, UINT32_MAX));
	assert_int_equal(errno, EINVAL);
	fake.map_error = EACCES;
	assert_null(ixy_mempool_create(&dev, 1, 0));
	assert_int_equal(errno, EACCES);
	assert_non_null(strstr(ixy_last_error(), "the device refuses"));
	fake.map_error = 0;
}

static void a_shared_pool_is_mapped_once_at_each_device(void **state)
{
	struct mempool *pool = *state;

	assert_int_equal(ixy_mempool_share(pool, &other_dev), 0);
	assert_int_equal(ixy_mempool_share(pool, &other_dev), 0);
	assert_int_equal(ixy_mempool_share(pool, &dev), 0);
	assert_int_equal(fake.mapped, 1);
	assert_int_equal(other.mapped, 1);
	/* teardown sees that both are unmapped */
}

static void a_device_that_is_to_be_closed_is_taken_off_a_shared_pool(void **state)
{
	struct mempool *pool = *state;

	assert_int_equal(ixy_mempool_share(pool, &other_dev), 0);
	ixy_mempool_unshare(pool, &other_dev);
	assert_int_equal(other.mapped, 0);
	/* Not a second time; and whose pool it is cannot be taken off. */
	ixy_mempool_unshare(pool, &other_dev);
	ixy_mempool_unshare(pool, &dev);
	assert_int_equal(other.mapped, 0);
	assert_int_equal(fake.mapped, 1);
	assert_int_equal(ixy_mempool_share(pool, &other_dev), 0);
	assert_int_equal(other.mapped, 1);
}

static void devices_that_address_memory_differently_share_no_pool(void **state)
{
	struct mempool *pool = *state;

	other.pci.iova_mode = DMA_IOVA_PA;
	assert_int_equal(ixy_mempool_share(pool, &other_dev), -ENOTSUP);
	assert_int_equal(other.mapped, 0);
}

/* An AF_XDP device reaches what the process reaches: its pools are plain memory, and it takes any other's. */
static void a_device_that_is_no_pci_function_has_pools_and_shares_them_with_those_that_are(void **state)
{
	struct ixy_device no_pci = {.name = "xdp:eth1"};
	struct mempool *own = *state, *pool = ixy_mempool_create(&no_pci, 8, 14 * 1024);
	struct pkt_buf *buf;

	assert_non_null(pool);
	buf = pkt_buf_alloc(pool);
	memset(buf->data, 1, 14 * 1024);
	assert_int_equal(pkt_buf_data_iova(buf), (uintptr_t)buf->data);
	pkt_buf_free(buf);
	assert_int_equal(ixy_mempool_share(pool, &dev), 0);
	assert_int_equal(fake.mapped, 2);
	other.pci.iova_mode = DMA_IOVA_PA;
	assert_int_equal(ixy_mempool_share(pool, &other_dev), -ENOTSUP);
	assert_int_equal(ixy_mempool_free(pool), 0);
	assert_int_equal(fake.mapped, 1);
	assert_int_equal(ixy_mempool_share(own, &no_pci), 0);
	assert_int_equal(fake.mapped, 1);
}

static void chunks_lie_one_behind_the_other_at_multiples_of_their_size(void **state)
{
	struct mempool *pool;
	struct pkt_buf *buf;
	bool seen[32] = {false};

	(void)state;
	assert_int_equal(mempool_create_chunks(32, 5, 2048, &pool), 0);
	assert_true(pool->dma->size >= (size_t)37 * 2048);
	assert_int_equal(pool->data_size, 2048 - 128);
	while ((buf = pkt_buf_alloc(pool))) {
		size_t offset = (size_t)((uint8_t *)buf - pool->dma->virt);

		assert_int_equal(offset % 2048, 0);
		assert_false(seen[offset / 2048]);
		seen[offset / 2048] = true;
	}
	for (unsigned i = 0; i < 32; i++)
		pkt_buf_free((struct pkt_buf *)(pool->dma->virt + (size_t)i * 2048));
	assert_int_equal(ixy_mempool_free(pool), 0);
}

/* Physical memory is contiguous by the huge page only: an entry across two would be written elsewhere. */
static void no_buffer_straddles_two_huge_pages(void **state)
{
	struct mempool *pool;
	struct pkt_buf *buf;
	uint32_t taken = 0;
	long pages_before = huge_pages();

	(void)state;
	fake.pci.iova_mode = DMA_IOVA_PA;
	fake.pci.reserve_huge_pages = true;
	pool = ixy_mempool_create(&dev, 2000, 2048); /* 963 a page, so three pages */
	if (!pool) {
		print_message("no huge pages: %s\n", ixy_last_error());
		skip();
	}
	while ((buf = pkt_buf_alloc(pool))) {
		taken++;
		assert_true(dma_contiguous(pool->dma, buf, pool->entry_size));
		assert_int_equal(pkt_buf_data_iova(buf), dma_iova(pool->dma, buf->data));
	}
	assert_int_equal(taken, 2000);
	for (uint8_t *p = pool->dma->virt; taken > 0; p += pool->entry_size) {
		if (!dma_contiguous(pool->dma, p, pool->entry_size))
			p += pool->dma->page_size - (size_t)(p - pool->dma->virt) % pool->dma->page_size;
		pkt_buf_free((struct pkt_buf *)p);
		taken--;
	}
	assert_int_equal(ixy_mempool_free(pool), 0);
	if (huge_pages() != pages_before)
		set_huge_pages(pages_before);
}

#ifdef IXY_DEBUG
static void a_double_free_aborts(void **state)
{
	pid_t child = fork();
	int status;

	if (child == 0) {
		struct pkt_buf *buf = pkt_buf_alloc(*state);

		setrlimit(RLIMIT_CORE, &(struct rlimit){0, 0});
		close(STDERR_FILENO);
		signal(SIGABRT, SIG_DFL);
		pkt_buf_free(buf);
		pkt_buf_free(buf);
		_exit(0);
	}
	assert_int_equal(waitpid(child, &status, 0), child);
	assert_true(WIFSIGNALED(status));
	assert_int_equal(WTERMSIG(status), SIGABRT);
}
#endif

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(fresh_buffers_are_clean_distinct_and_inside_the_pool),
		TEST(a_used_buffer_comes_back_clean),
		TEST(an_empty_pool_returns_short_and_counts_it),
		TEST(freeing_a_frame_frees_all_its_segments_to_their_own_pools),
		TEST(a_pool_with_buffers_outside_is_not_freed),
		TEST(pools_share_no_cache_line),
		TEST(data_size_is_rounded_up_to_kibibytes),
		TEST(impossible_pools_are_refused_with_a_reason),
		TEST(a_shared_pool_is_mapped_once_at_each_device),
		TEST(a_device_that_is_to_be_closed_is_taken_off_a_shared_pool),
		TEST(devices_that_address_memory_differently_share_no_pool),
		TEST(a_device_that_is_no_pci_function_has_pools_and_shares_them_with_those_that_are),
		TEST(chunks_lie_one_behind_the_other_at_multiples_of_their_size),
		TEST(no_buffer_straddles_two_huge_pages),
#ifdef IXY_DEBUG
		TEST(a_double_free_aborts),
#endif
	};

	return cmocka_run_group_tests_name("packet", tests, NULL, NULL);
}
