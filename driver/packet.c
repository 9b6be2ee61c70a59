/*
 * Mempools: a stack of free buffers, last in first out, so that the next buffer taken is the one whose cache
 * lines are warmest.
 *
 * The fields of a fresh buffer are set when it is taken, not when it is freed: whoever takes it writes that
 * cache line anyway, while whoever frees it often only has its pointer.
 */
#include "driver/packet.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "driver/device.h"
#include "driver/dma.h"
#include "driver/error.h"

#define OWN_LINES 128
#include "driver/mempool.h"

/* --- whose is it: checked in debug builds only ----------------------------------------------------- */

#ifdef IXY_DEBUG
/* The pool's owner has lost track of its buffers: everything from here on would be corruption. */
static void __attribute__((noreturn)) die(const struct pkt_buf *buf, const char *what)
{
	fprintf(stderr, "pkt_buf %u (%p) of pool %p: %s\n", buf->index, (const void *)buf, (void *)buf->pool,
		what);
	abort();
}

static inline void mark_taken(struct pkt_buf *buf)
{
	if (buf->in_use)
		die(buf, "taken twice");
	buf->in_use = 1;
}

static inline void mark_freed(struct pkt_buf *buf)
{
	if (!buf->in_use)
		die(buf, "freed twice");
	buf->in_use = 0;
}

void mempool_check_taken(struct pkt_buf *const bufs[], uint32_t count)
{
	for (uint32_t i = 0; i < count; i++)
		mark_taken(bufs[i]);
}

void mempool_check_freed(const struct mempool *pool, struct pkt_buf *const bufs[], uint32_t count)
{
	for (uint32_t i = 0; i < count; i++) {
		if (bufs[i]->pool != pool)
			die(bufs[i], "freed into another pool");
		mark_freed(bufs[i]);
	}
}
#else
static inline void mark_taken(struct pkt_buf *buf)
{
	(void)buf;
}

static inline void mark_freed(struct pkt_buf *buf)
{
	(void)buf;
}
#endif

/*
 * Zeroed memory for what a pool's thread writes all the time: no other object has a part of its cache lines, nor of
 * those that x86 fetches along with them (in pairs). NULL: out of memory.
 */
static void *own_lines(size_t size)
{
	const size_t rounded = (size + OWN_LINES - 1) / OWN_LINES * OWN_LINES;
	void *memory = aligned_alloc(OWN_LINES, rounded);

	return memory ? memset(memory, 0, rounded) : NULL;
}

/*
 * How many bytes of DMA memory count entries take. Where memory is contiguous by the page only, no entry may
 * straddle two pages.
 */
static size_t pool_bytes(size_t count, size_t entry_size, enum dma_iova_mode mode)
{
	size_t per_page = DMA_HUGE_PAGE / entry_size;

	if (mode == DMA_IOVA_VA)
		return count * entry_size;
	return (count + per_page - 1) / per_page * DMA_HUGE_PAGE;
}

static void carve(struct mempool *pool)
{
	uint8_t *next = pool->dma->virt;

	for (uint32_t i = 0; i < pool->buf_count; i++, next += pool->entry_size) {
		if (!dma_contiguous(pool->dma, next, pool->entry_size)) {
			size_t offset = (size_t)(next - pool->dma->virt);

			next += pool->dma->page_size - offset % pool->dma->page_size;
		}
		struct pkt_buf *buf = (struct pkt_buf *)next;

		buf->iova_offset = dma_iova(pool->dma, buf) - (uintptr_t)buf;
		buf->pool = pool;
		buf->index = i;
		/* The first buffer lies on top of the stack. */
		pool->free_stack[pool->buf_count - 1 - i] = buf;
	}
	pool->free_count = pool->buf_count;
}

/*
 * A pool of count buffers, entry_size apart, at pci or at no PCI function; with memory for so many more behind
 * them. 0 or a negative errno.
 */
static int create(struct pci_device *pci, uint32_t count, uint32_t more, uint32_t data_size,
	uint32_t entry_size, struct mempool **result)
{
	struct mempool *pool = own_lines(sizeof(*pool));
	int err;

	if (!pool)
		return ixy_fail(ENOMEM, "packet pool: out of memory");
	pool->buf_count = count;
	pool->data_size = data_size;
	pool->entry_size = entry_size;
	pool->free_stack = own_lines(count * sizeof(pool->free_stack[0]));
	pool->devices = calloc(1, sizeof(pool->devices[0]));
	if (!pool->free_stack || !pool->devices) {
		err = ixy_fail(ENOMEM, "packet pool: no memory for %u buffers", count);
		goto fail;
	}
	err = dma_alloc(pci, pool_bytes((size_t)count + more, entry_size, pci ? pci->iova_mode : DMA_IOVA_VA),
		&pool->dma);
	if (err) {
		ixy_fail_context(err, "packet pool of %u buffers", count);
		goto fail;
	}
	pool->devices[0] = pci;
	pool->device_count = 1;
	carve(pool);
	*result = pool;
	return 0;

fail:
	free(pool->devices);
	free(pool->free_stack);
	free(pool);
	return err;
}

struct mempool *ixy_mempool_create(struct ixy_device *dev, uint32_t count, uint32_t data_size)
{
	struct mempool *pool;
	int err;

	if (data_size == 0)
		data_size = PKT_BUF_DATA_SIZE;
	if (count == 0 || data_size > 65536) {
		err = ixy_fail(EINVAL,
			"packet pool: %u buffers of %u bytes; there must be at least one, of at most 65536",
			count, data_size);
	} else {
		data_size = (data_size + 1023) / 1024 * 1024;
		err = create(dev->pci, count, 0, data_size,
			(uint32_t)sizeof(struct pkt_buf) + PKT_BUF_HEADROOM + data_size, &pool);
	}
	if (err) {
		errno = -err;
		return NULL;
	}
	return pool;
}

int mempool_create_chunks(uint32_t count, uint32_t more, uint32_t chunk_size, struct mempool **pool)
{
	return create(NULL, count, more, chunk_size - (uint32_t)sizeof(struct pkt_buf) - PKT_BUF_HEADROOM,
		chunk_size, pool);
}

int ixy_mempool_free(struct mempool *pool)
{
	if (!pool)
		return 0;
	if (pool->free_count != pool->buf_count)
		return ixy_fail(EBUSY, "packet pool: %u of its %u buffers have not come back",
			pool->buf_count - pool->free_count, pool->buf_count);
	for (uint32_t i = pool->device_count - 1; i > 0; i--)
		dma_unshare(pool->devices[i], pool->dma);
	dma_free(pool->devices[0], pool->dma);
	free(pool->devices);
	free(pool->free_stack);
	free(pool);
	return 0;
}

int ixy_mempool_share(struct mempool *pool, struct ixy_device *dev)
{
	struct pci_device **devices;
	int err;

	/* A device that is no PCI function copies what is not its own: it reaches whatever this process does. */
	if (!dev->pci)
		return 0;
	for (uint32_t i = 0; i < pool->device_count; i++)
		if (pool->devices[i] == dev->pci)
			return 0;
	devices = realloc(pool->devices, (pool->device_count + 1) * sizeof(devices[0]));
	if (!devices)
		return ixy_fail(ENOMEM, "packet pool: out of memory");
	pool->devices = devices;
	err = dma_share(dev->pci, pool->dma);
	if (err)
		return err;
	pool->devices[pool->device_count++] = dev->pci;
	return 0;
}

void ixy_mempool_unshare(struct mempool *pool, struct ixy_device *dev)
{
	for (uint32_t i = 1; i < pool->device_count; i++) {
		if (pool->devices[i] != dev->pci || !dev->pci)
			continue;
		dma_unshare(dev->pci, pool->dma);
		pool->devices[i] = pool->devices[--pool->device_count];
		return;
	}
}

/* --- hot path ------------------------------------------------------------------------------------ */

static inline void push(struct pkt_buf *buf)
{
	struct mempool *pool = buf->pool;

	mark_freed(buf);
	pool->free_stack[pool->free_count++] = buf;
}

void mempool_put_mixed(struct pkt_buf *const bufs[], uint32_t count)
{
	for (uint32_t i = 0; i < count; i++)
		if (bufs[i])
			push(bufs[i]);
}

uint32_t pkt_buf_alloc_batch(struct mempool *pool, struct pkt_buf *bufs[], uint32_t count)
{
	count = mempool_pop(pool, count);
	struct pkt_buf **top = pool->free_stack + pool->free_count + count;

	for (uint32_t i = 0; i < count; i++) {
		struct pkt_buf *buf = *--top;

		mark_taken(buf);
		buf->data = pkt_buf_start(buf);
		buf->next = NULL;
		buf->size = 0;
		buf->flags = 0;
		buf->segments = 1;
		buf->frame_size = 0;
		bufs[i] = buf;
	}
	return count;
}

struct pkt_buf *pkt_buf_alloc(struct mempool *pool)
{
	struct pkt_buf *buf;

	return pkt_buf_alloc_batch(pool, &buf, 1) ? buf : NULL;
}

void pkt_buf_free(struct pkt_buf *buf)
{
	while (buf) {
		struct pkt_buf *next = buf->next;

		push(buf);
		buf = next;
	}
}

void pkt_buf_free_batch(struct pkt_buf *bufs[], uint32_t count)
{
	for (uint32_t i = 0; i < count; i++) {
		struct pkt_buf *rest;

		if (!bufs[i])
			continue;
		rest = bufs[i]->next;
		push(bufs[i]);
		if (__builtin_expect(rest != NULL, 0))
			pkt_buf_free(rest);
	}
}
