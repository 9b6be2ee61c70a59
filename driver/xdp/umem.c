/*
 * The packet memory, who has which frame of it, and the bytes of a frame.
 *
 * The kernel is told of the memory only with the first socket (socket.c): until then a UMEM is memory and a
 * stack of frame numbers.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "driver/dma.h"
#include "driver/error.h"
#include "driver/xdp/xsk_parts.h"

#define FLAGS (XSK_UMEM_HUGE_PAGES | XSK_UMEM_UNALIGNED | XSK_UMEM_TX_METADATA | XSK_UMEM_TX_SW_CSUM)

/* The kernel's limit on one chunk, below; above it is the page (net/xdp/xdp_umem.c). */
#define MIN_FRAME_SIZE 2048u

static bool power_of_two(uint32_t n)
{
	return n && !(n & (n - 1));
}

static int check_geometry(const struct xsk_umem *umem, const struct xsk_umem_state *state)
{
	uint32_t page = (uint32_t)getpagesize();

	if (umem->flags & ~FLAGS)
		return ixy_fail(EINVAL, "UMEM: unknown flags %#x", umem->flags & ~FLAGS);
	if (umem->flags & XSK_UMEM_TX_SW_CSUM && !(umem->flags & XSK_UMEM_TX_METADATA))
		return ixy_fail(EINVAL, "UMEM: checksums in software are asked for by TX metadata, so that "
					"flag is needed too");
	if (umem->frame_size < MIN_FRAME_SIZE || umem->frame_size > page)
		return ixy_fail(EINVAL, "UMEM: frames of %u bytes: the kernel takes %u to %u",
			umem->frame_size, MIN_FRAME_SIZE, page);
	if (!(umem->flags & XSK_UMEM_UNALIGNED) && !power_of_two(umem->frame_size))
		return ixy_fail(EINVAL,
			"UMEM: frames of %u bytes: not a power of two, so the UMEM must be unaligned",
			umem->frame_size);
	if (umem->headroom >= umem->frame_size - XSK_KERNEL_HEADROOM)
		return ixy_fail(EINVAL,
			"UMEM: a headroom of %u bytes and the kernel's %u leave nothing of %u bytes",
			umem->headroom, XSK_KERNEL_HEADROOM, umem->frame_size);
	if (!power_of_two(state->fill_size) || !power_of_two(state->completion_size))
		return ixy_fail(EINVAL, "UMEM: rings of %u and %u entries: must be powers of two",
			state->fill_size, state->completion_size);
	if ((uintptr_t)umem->memory % page)
		return ixy_fail(EINVAL, "UMEM: the memory at %p does not begin with a page",
			(const void *)umem->memory);
	return 0;
}

static int map_memory(struct xsk_umem *umem)
{
	bool huge = umem->flags & XSK_UMEM_HUGE_PAGES;
	size_t unit = huge ? DMA_HUGE_PAGE : (size_t)getpagesize();
	size_t size = (umem->size + unit - 1) / unit * unit;
	int flags = MAP_PRIVATE | MAP_ANONYMOUS;
	void *memory;

	if (huge) /* reserved at once, or the first touch of a page that is not there would be a SIGBUS */
		flags = MAP_PRIVATE | MAP_ANONYMOUS | MAP_HUGETLB | 21 << MAP_HUGE_SHIFT;
	memory = mmap(NULL, size, PROT_READ | PROT_WRITE, flags, -1, 0);
	if (memory == MAP_FAILED && huge)
		return ixy_fail(ENOMEM,
			"UMEM: %zu huge pages of 2 MiB are needed and %ld are free; as root: echo %zu > "
			"/sys/kernel/mm/hugepages/hugepages-2048kB/nr_hugepages",
			dma_huge_pages(size), dma_huge_pages_free(), dma_huge_pages(size));
	if (memory == MAP_FAILED)
		return ixy_fail(ENOMEM, "UMEM: no %zu bytes of memory", size);
	umem->memory = memory;
	umem->state->map_size = size;
	return 0;
}

static void release(struct xsk_umem *umem)
{
	struct xsk_umem_state *state = umem->state;

	if (state) {
		if (state->map_size)
			munmap(umem->memory, state->map_size);
		pthread_mutex_destroy(&state->opening);
		pthread_mutex_destroy(&state->lock);
		pthread_mutex_destroy(&state->frame_lock);
		free(state->free_stack);
		free(state->taken);
		free(state);
	}
	free(umem);
}

/* The lowest frame lies on top of the stack. */
static void all_frames_free(struct xsk_umem *umem)
{
	struct xsk_umem_state *state = umem->state;

	for (uint32_t i = 0; i < umem->frames; i++)
		state->free_stack[i] = xsk_frame_addr(umem, umem->frames - 1 - i);
	state->free_count = umem->frames;
	memset(state->taken, 0, umem->frames);
}

int xsk_umem_create(const struct xsk_umem_config *config, struct xsk_umem **result)
{
	struct xsk_umem *umem = calloc(1, sizeof(*umem));
	struct xsk_umem_state *state = calloc(1, sizeof(*state));
	int rc;

	if (!umem || !state) {
		free(umem);
		free(state);
		return ixy_fail(ENOMEM, "UMEM: out of memory");
	}
	umem->state = state;
	umem->frame_size = config->frame_size ? config->frame_size : XSK_DEFAULT_FRAME_SIZE;
	umem->headroom = config->headroom;
	umem->frames = config->frames ? config->frames : XSK_DEFAULT_FRAMES;
	umem->flags = config->flags;
	umem->memory = config->memory;
	umem->size = (size_t)umem->frames * umem->frame_size;
	umem->chunk_mask = umem->flags & XSK_UMEM_UNALIGNED ? XSK_UNALIGNED_BUF_ADDR_MASK
							    : ~(uint64_t)(umem->frame_size - 1);
	state->fill_size = config->fill_size ? config->fill_size : XSK_DEFAULT_RING_SIZE;
	state->completion_size = config->completion_size ? config->completion_size : XSK_DEFAULT_RING_SIZE;
	pthread_mutex_init(&state->opening, NULL);
	pthread_mutex_init(&state->lock, NULL);
	pthread_mutex_init(&state->frame_lock, NULL);

	rc = check_geometry(umem, state);
	if (!rc) {
		state->free_stack = calloc(umem->frames, sizeof(*state->free_stack));
		state->taken = calloc(umem->frames, 1);
		if (!state->free_stack || !state->taken)
			rc = ixy_fail(ENOMEM, "UMEM: no memory to keep account of %u frames", umem->frames);
	}
	if (!rc && !umem->memory)
		rc = map_memory(umem);
	if (rc < 0) {
		release(umem);
		return rc;
	}
	all_frames_free(umem);
	*result = umem;
	return 0;
}

int xsk_umem_free(struct xsk_umem *umem)
{
	bool used;

	if (!umem)
		return 0;
	pthread_mutex_lock(&umem->state->opening);
	used = umem->state->sockets;
	pthread_mutex_unlock(&umem->state->opening);
	if (used)
		return ixy_fail(EBUSY, "UMEM: a socket still uses it");
	release(umem);
	return 0;
}

/* --- the allocator -------------------------------------------------------------------------------------- */

#ifdef IXY_DEBUG
/* The program has lost track of its frames: everything from here on would be corruption. */
static void mark(struct xsk_umem *umem, uint64_t addr, uint8_t taken)
{
	uint32_t index = xsk_addr_index(umem, addr);

	if (index < umem->frames && umem->state->taken[index] != taken) {
		umem->state->taken[index] = taken;
		return;
	}
	fprintf(stderr, "UMEM %p: frame at %#llx %s\n", (void *)umem, (unsigned long long)addr,
		index >= umem->frames ? "is not in it"
		: taken               ? "taken twice"
				      : "freed twice");
	abort();
}
#else
static inline void mark(struct xsk_umem *umem, uint64_t addr, uint8_t taken)
{
	(void)umem, (void)addr, (void)taken;
}
#endif

static uint32_t take(struct xsk_umem *umem, uint64_t addrs[], uint32_t count)
{
	struct xsk_umem_state *state = umem->state;

	pthread_mutex_lock(&state->frame_lock);
	if (count > state->free_count)
		count = state->free_count;
	for (uint32_t i = 0; i < count; i++)
		addrs[i] = state->free_stack[--state->free_count];
	pthread_mutex_unlock(&state->frame_lock);
	return count;
}

/* What is no frame of this UMEM, and what comes back too often, is left where it is. */
static void put(struct xsk_umem *umem, const uint64_t addrs[], uint32_t count)
{
	struct xsk_umem_state *state = umem->state;

	pthread_mutex_lock(&state->frame_lock);
	for (uint32_t i = 0; i < count; i++) {
		uint64_t frame = xsk_addr_frame(umem, addrs[i]);

		if (frame <= xsk_frame_addr(umem, umem->frames - 1) && state->free_count < umem->frames)
			state->free_stack[state->free_count++] = frame;
	}
	pthread_mutex_unlock(&state->frame_lock);
}

uint32_t xsk_frame_alloc_batch(struct xsk_umem *umem, uint64_t addrs[], uint32_t count)
{
	count = take(umem, addrs, count);
	for (uint32_t i = 0; i < count; i++)
		mark(umem, addrs[i], 1);
	return count;
}

uint64_t xsk_frame_alloc(struct xsk_umem *umem)
{
	uint64_t addr;

	return xsk_frame_alloc_batch(umem, &addr, 1) ? addr : XSK_NO_FRAME;
}

void xsk_frame_free_batch(struct xsk_umem *umem, const uint64_t addrs[], uint32_t count)
{
	for (uint32_t i = 0; i < count; i++)
		mark(umem, addrs[i], 0);
	put(umem, addrs, count);
}

void xsk_frame_free(struct xsk_umem *umem, uint64_t addr)
{
	xsk_frame_free_batch(umem, &addr, 1);
}

uint32_t xsk_frames_free(struct xsk_umem *umem)
{
	uint32_t count;

	pthread_mutex_lock(&umem->state->frame_lock);
	count = umem->state->free_count;
	pthread_mutex_unlock(&umem->state->frame_lock);
	return count;
}

int xsk_frames_reset(struct xsk_umem *umem)
{
	struct xsk_umem_state *state = umem->state;
	bool used;

	pthread_mutex_lock(&state->lock);
	used = state->sockets;
	if (!used) {
		pthread_mutex_lock(&state->frame_lock);
		all_frames_free(umem);
		pthread_mutex_unlock(&state->frame_lock);
	}
	pthread_mutex_unlock(&state->lock);
	return used ? ixy_fail(EBUSY, "UMEM: a socket still uses it, and the kernel may have frames") : 0;
}

void xsk_frame_cache_init(struct xsk_frame_cache *cache, struct xsk_umem *umem)
{
	cache->umem = umem;
	cache->count = 0;
}

uint64_t xsk_frame_cache_alloc(struct xsk_frame_cache *cache)
{
	uint64_t addr;

	if (!cache->count)
		cache->count = take(cache->umem, cache->addrs, XSK_FRAME_CACHE_SIZE / 2);
	if (!cache->count)
		return XSK_NO_FRAME;
	addr = cache->addrs[--cache->count];
	mark(cache->umem, addr, 1);
	return addr;
}

/* Half stays in a full cache: neither the next alloc nor the next free takes the lock again. */
void xsk_frame_cache_free(struct xsk_frame_cache *cache, uint64_t addr)
{
	mark(cache->umem, addr, 0);
	if (cache->count == XSK_FRAME_CACHE_SIZE) {
		cache->count /= 2;
		put(cache->umem, &cache->addrs[cache->count], XSK_FRAME_CACHE_SIZE - cache->count);
	}
	cache->addrs[cache->count++] = xsk_addr_frame(cache->umem, addr);
}

void xsk_frame_cache_flush(struct xsk_frame_cache *cache)
{
	put(cache->umem, cache->addrs, cache->count);
	cache->count = 0;
}

/* --- a frame's bytes ------------------------------------------------------------------------------------ */

/* How far into its frame an address points. */
static uint32_t offset_in_frame(const struct xsk_umem *umem, uint64_t addr)
{
	return (uint32_t)(xsk_addr_offset(addr) - xsk_addr_frame(umem, addr));
}

struct xdp_desc xsk_frame_desc(const struct xsk_umem *umem, uint64_t frame)
{
	return (struct xdp_desc){
		.addr = xsk_addr_make(
			umem, xsk_addr_frame(umem, frame), XSK_KERNEL_HEADROOM + umem->headroom),
	};
}

struct xsk_cursor xsk_headroom(const struct xsk_umem *umem, const struct xdp_desc *desc)
{
	uint32_t size = offset_in_frame(umem, desc->addr);

	return (struct xsk_cursor){.start = xsk_data(umem, desc) - size, .size = size, .length = size};
}

struct xsk_cursor xsk_user_headroom(const struct xsk_umem *umem, const struct xdp_desc *desc)
{
	uint32_t before = offset_in_frame(umem, desc->addr);
	uint32_t size = before < umem->headroom ? before : umem->headroom;

	return (struct xsk_cursor){.start = xsk_data(umem, desc) - size, .size = size, .length = size};
}

struct xsk_cursor xsk_data_cursor(const struct xsk_umem *umem, const struct xdp_desc *desc)
{
	uint32_t size = umem->frame_size - offset_in_frame(umem, desc->addr);

	return (struct xsk_cursor){
		.start = xsk_data(umem, desc), .size = size, .length = desc->len < size ? desc->len : size};
}

uint32_t xsk_cursor_write(struct xsk_cursor *cursor, const void *from, uint32_t size)
{
	if (size > cursor->size - cursor->pos)
		size = cursor->size - cursor->pos;
	memcpy(cursor->start + cursor->pos, from, size);
	cursor->pos += size;
	if (cursor->length < cursor->pos)
		cursor->length = cursor->pos;
	return size;
}

uint32_t xsk_cursor_read(struct xsk_cursor *cursor, void *to, uint32_t size)
{
	if (size > cursor->length - cursor->pos)
		size = cursor->length - cursor->pos;
	memcpy(to, cursor->start + cursor->pos, size);
	cursor->pos += size;
	return size;
}

uint32_t xsk_cursor_seek(struct xsk_cursor *cursor, uint32_t pos)
{
	cursor->pos = pos < cursor->length ? pos : cursor->length;
	return cursor->pos;
}

void xsk_cursor_zero(struct xsk_cursor *cursor)
{
	memset(cursor->start, 0, cursor->size);
	cursor->length = cursor->pos = 0;
}

uint8_t *xsk_desc_push(const struct xsk_umem *umem, struct xdp_desc *desc, uint32_t size)
{
	uint32_t offset = offset_in_frame(umem, desc->addr);

	if (size > offset)
		return NULL;
	desc->addr = xsk_addr_make(umem, xsk_addr_frame(umem, desc->addr), offset - size);
	desc->len += size;
	return xsk_data(umem, desc);
}

uint8_t *xsk_desc_pull(const struct xsk_umem *umem, struct xdp_desc *desc, uint32_t size)
{
	uint32_t offset = offset_in_frame(umem, desc->addr);

	if (size > desc->len)
		return NULL;
	desc->addr = xsk_addr_make(umem, xsk_addr_frame(umem, desc->addr), offset + size);
	desc->len -= size;
	return xsk_data(umem, desc);
}

_Static_assert(sizeof(struct xsk_tx_meta) == 24, "the kernel's layout, and a multiple of 8 as it demands");

int xsk_tx_checksum(
	const struct xsk_umem *umem, struct xdp_desc *desc, uint16_t csum_start, uint16_t csum_offset)
{
	struct xsk_tx_meta meta = {
		.flags = XDP_TXMD_FLAGS_CHECKSUM,
		.request = {.csum_start = csum_start, .csum_offset = csum_offset},
	};

	if (!(umem->flags & XSK_UMEM_TX_METADATA))
		return ixy_fail(EINVAL, "TX checksum: the UMEM has no TX metadata");
	if (offset_in_frame(umem, desc->addr) < sizeof(meta))
		return ixy_fail(
			EINVAL, "TX checksum: the metadata needs %zu bytes before the frame", sizeof(meta));
	if ((uint32_t)csum_start + csum_offset + sizeof(uint16_t) > desc->len)
		return ixy_fail(EINVAL, "TX checksum: the field at %u + %u is outside the frame of %u bytes",
			csum_start, csum_offset, desc->len);
	memcpy(xsk_data(umem, desc) - sizeof(meta), &meta, sizeof(meta));
	desc->options |= XDP_TX_METADATA;
	return 0;
}
