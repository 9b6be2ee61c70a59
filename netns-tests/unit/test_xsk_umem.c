/*
 * The UMEM: its geometry, its allocator, the bytes of a frame; unaligned frames and huge pages in use.
 */
#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdarg.h>
#include <setjmp.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <cmocka.h>

#include "huge_pages.h"
#include "xsk_rig.h"

static struct xsk_umem *umem_of(const struct xsk_umem_config *config)
{
	struct xsk_umem *umem;

	if (xsk_umem_create(config, &umem) < 0)
		fail_msg("%s", ixy_last_error());
	return umem;
}

/* --- geometry ------------------------------------------------------------------------------------------- */

static void defaults_are_as_documented(void **state)
{
	struct xsk_umem *umem = umem_of(&(struct xsk_umem_config){0});

	(void)state;
	assert_int_equal(umem->frame_size, XSK_DEFAULT_FRAME_SIZE);
	assert_int_equal(umem->frames, XSK_DEFAULT_FRAMES);
	assert_int_equal(umem->size, (size_t)XSK_DEFAULT_FRAMES * XSK_DEFAULT_FRAME_SIZE);
	assert_int_equal(xsk_umem_data_size(umem), XSK_DEFAULT_FRAME_SIZE - XSK_KERNEL_HEADROOM);
	assert_int_equal(xsk_umem_free(umem), 0);
	assert_int_equal(xsk_umem_free(NULL), 0);
}

static void sizes_that_the_kernel_does_not_take_are_refused(void **state)
{
	static uint8_t memory[2 * 4096 + 1] __attribute__((aligned(4096)));
	static const struct {
		struct xsk_umem_config config;
		const char *says;
	} cases[] = {
		{{.frame_size = 1024}, "1024"},
		{{.frame_size = 8192}, "8192"},
		{{.frame_size = 3000}, "power of two"},
		{{.headroom = 2048 - 256}, "headroom"},
		{{.headroom = UINT32_MAX}, "headroom"},
		{{.fill_size = 1000}, "powers of two"},
		{{.completion_size = 3}, "powers of two"},
		{{.flags = 1u << 30}, "flags"},
		{{.flags = XSK_UMEM_TX_SW_CSUM}, "metadata"},
		{{.frames = 4, .memory = memory + 1}, "page"},
	};
	struct xsk_umem *umem;

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		assert_int_equal(xsk_umem_create(&cases[i].config, &umem), -EINVAL);
		if (!strstr(ixy_last_error(), cases[i].says))
			fail_msg("no word of \"%s\" in: %s", cases[i].says, ixy_last_error());
	}
}

static void addresses_are_taken_apart_and_put_together(void **state)
{
	struct xsk_umem *umem = umem_of(&(struct xsk_umem_config){.frames = 8});
	struct xsk_umem *unaligned = umem_of(
		&(struct xsk_umem_config){.frames = 8, .frame_size = 3000, .flags = XSK_UMEM_UNALIGNED});

	(void)state;
	assert_int_equal(xsk_frame_addr(umem, 3), 3 * 2048);
	assert_int_equal(xsk_addr_make(umem, 3 * 2048, 300), 3 * 2048 + 300);
	assert_int_equal(xsk_addr_frame(umem, 3 * 2048 + 300), 3 * 2048);
	assert_int_equal(xsk_addr_index(umem, 3 * 2048 + 2047), 3);
	assert_true(xsk_addr_valid(umem, 8 * 2048 - 60, 60));
	assert_false(xsk_addr_valid(umem, 8 * 2048 - 60, 61));
	assert_false(xsk_addr_valid(umem, 2000, 49)); /* into the next frame */
	assert_false(xsk_addr_valid(umem, UINT64_MAX, 1));
	assert_false(xsk_addr_valid(umem, 1ull << 48, 1)); /* no offset there in aligned mode */
	assert_false(xsk_addr_valid(umem, 0, UINT32_MAX));

	assert_int_equal(xsk_frame_addr(unaligned, 3), 9000);
	assert_int_equal(xsk_addr_make(unaligned, 9000, 300), 9000 | 300ull << 48);
	assert_int_equal(xsk_addr_frame(unaligned, 9000 | 300ull << 48), 9000);
	assert_int_equal(xsk_addr_offset(9000 | 300ull << 48), 9300);
	assert_int_equal(xsk_addr_index(unaligned, 9000 | 300ull << 48), 3);
	assert_true(xsk_addr_valid(unaligned, 9000 | 300ull << 48, 60));
	assert_true(xsk_addr_valid(unaligned, 9000 | 300ull << 48, 2700));
	assert_false(xsk_addr_valid(unaligned, 9000 | 300ull << 48, 2701));
	assert_true(xsk_addr_valid(unaligned, 9001, 3000));
	assert_false(xsk_addr_valid(unaligned, 9001, 3001));
	assert_false(xsk_addr_valid(unaligned, 23990 | 9ull << 48, 2));
	assert_false(xsk_addr_valid(unaligned, 23990 | 0xffffull << 48, 1));
	assert_int_equal(xsk_umem_free(umem), 0);
	assert_int_equal(xsk_umem_free(unaligned), 0);
}

/* --- the allocator -------------------------------------------------------------------------------------- */

static void every_frame_is_given_out_once_and_then_none(void **state)
{
	struct xsk_umem *umem = umem_of(&(struct xsk_umem_config){.frames = 64});
	uint64_t addrs[65];
	bool seen[64] = {false};

	(void)state;
	assert_int_equal(xsk_frames_free(umem), 64);
	assert_int_equal(xsk_frame_alloc_batch(umem, addrs, 65), 64);
	for (int i = 0; i < 64; i++) {
		assert_int_equal(addrs[i] % 2048, 0);
		assert_in_range(addrs[i] / 2048, 0, 63);
		assert_false(seen[addrs[i] / 2048]);
		seen[addrs[i] / 2048] = true;
	}
	assert_true(xsk_frame_alloc(umem) == XSK_NO_FRAME);
	xsk_frame_free(umem, addrs[5] + 300); /* any address within it */
	assert_int_equal(xsk_frame_alloc(umem), addrs[5]);
	xsk_frame_free_batch(umem, addrs, 64);
	assert_int_equal(xsk_frames_free(umem), 64);
	assert_int_equal(xsk_frame_alloc_batch(umem, addrs, 10), 10);
	assert_int_equal(xsk_frames_reset(umem), 0);
	assert_int_equal(xsk_frames_free(umem), 64);
	assert_int_equal(xsk_umem_free(umem), 0);
}

static void a_cache_takes_and_gives_half_of_itself_and_loses_nothing(void **state)
{
	struct xsk_umem *umem = umem_of(&(struct xsk_umem_config){.frames = 1000});
	struct xsk_frame_cache cache;
	uint64_t addrs[1000];
	bool seen[1000] = {false};

	(void)state;
	xsk_frame_cache_init(&cache, umem);
	for (int i = 0; i < 1000; i++) {
		addrs[i] = xsk_frame_cache_alloc(&cache);
		assert_true(addrs[i] != XSK_NO_FRAME);
		assert_false(seen[addrs[i] / 2048]);
		seen[addrs[i] / 2048] = true;
		if (i == 0)
			assert_int_equal(xsk_frames_free(umem), 1000 - XSK_FRAME_CACHE_SIZE / 2);
	}
	assert_true(xsk_frame_cache_alloc(&cache) == XSK_NO_FRAME);
	for (int i = 0; i < 1000; i++)
		xsk_frame_cache_free(&cache, addrs[i] + 256);
	assert_int_equal(xsk_frames_free(umem) + cache.count, 1000);
	xsk_frame_cache_flush(&cache);
	assert_int_equal(xsk_frames_free(umem), 1000);
	assert_int_equal(xsk_umem_free(umem), 0);
}

#define HANDLERS 4
#define ROUNDS   20000

struct handler {
	struct xsk_umem *umem;
	uint32_t *owner; /* one a frame: who has it, 0: nobody */
	uint32_t id;
	uint32_t wrong;
};

/* Take frames and give them back in odd order; a frame that somebody else has at the time is a fault. */
static void *handle_frames(void *arg)
{
	struct handler *h = arg;
	struct xsk_frame_cache cache;
	uint64_t held[50];
	uint32_t count = 0, random = h->id;

	xsk_frame_cache_init(&cache, h->umem);
	for (int i = 0; i < ROUNDS; i++) {
		random = random * 1664525 + 1013904223;
		if (count < 50 && random & 1u << 20) {
			uint64_t addr = xsk_frame_cache_alloc(&cache);

			if (addr == XSK_NO_FRAME)
				continue;
			if (__atomic_exchange_n(&h->owner[addr / 2048], h->id, __ATOMIC_RELAXED))
				h->wrong++;
			held[count++] = addr;
		} else if (count) {
			uint32_t which = random % count;

			if (__atomic_exchange_n(&h->owner[held[which] / 2048], 0, __ATOMIC_RELAXED) != h->id)
				h->wrong++;
			xsk_frame_cache_free(&cache, held[which]);
			held[which] = held[--count];
		}
	}
	while (count) {
		h->owner[held[--count] / 2048] = 0;
		xsk_frame_cache_free(&cache, held[count]);
	}
	xsk_frame_cache_flush(&cache);
	return NULL;
}

static void threads_with_caches_never_have_the_same_frame(void **state)
{
	struct xsk_umem *umem = umem_of(&(struct xsk_umem_config){.frames = 300});
	struct handler handlers[HANDLERS];
	pthread_t threads[HANDLERS];
	uint32_t owner[300] = {0};

	(void)state;
	for (uint32_t i = 0; i < HANDLERS; i++) {
		handlers[i] = (struct handler){.umem = umem, .owner = owner, .id = i + 1};
		assert_int_equal(pthread_create(&threads[i], NULL, handle_frames, &handlers[i]), 0);
	}
	for (uint32_t i = 0; i < HANDLERS; i++) {
		assert_int_equal(pthread_join(threads[i], NULL), 0);
		assert_int_equal(handlers[i].wrong, 0);
	}
	assert_int_equal(xsk_frames_free(umem), 300);
	assert_int_equal(xsk_umem_free(umem), 0);
}

static void free_twice(struct xsk_umem *umem)
{
	uint64_t addr = xsk_frame_alloc(umem);

	xsk_frame_free(umem, addr);
	xsk_frame_free(umem, addr);
}

static void free_twice_through_a_cache(struct xsk_umem *umem)
{
	struct xsk_frame_cache cache;
	uint64_t addr;

	xsk_frame_cache_init(&cache, umem);
	addr = xsk_frame_cache_alloc(&cache);
	xsk_frame_cache_free(&cache, addr);
	xsk_frame_cache_free(&cache, addr);
}

static void free_a_stranger(struct xsk_umem *umem)
{
	xsk_frame_free(umem, umem->size);
}

/*
 * In a child: a build with IXY_DEBUG (as with SAN=1) ends it; another one keeps its account of frames sound,
 * and the child ends by itself.
 */
static void a_frame_freed_twice_or_never_taken_is_told_or_does_no_harm(void **state)
{
	static void (*const mistakes[])(struct xsk_umem *) = {
		free_twice, free_twice_through_a_cache, free_a_stranger};

	(void)state;
	for (size_t i = 0; i < 3; i++) {
		int status;
		pid_t child = fork();

		if (!child) {
			struct xsk_umem *umem = umem_of(&(struct xsk_umem_config){.frames = 4});

			if (!freopen("/dev/null", "w", stderr))
				_exit(2);
			signal(SIGABRT, SIG_DFL);
			mistakes[i](umem);
			_exit(xsk_frames_free(umem) <= 4 ? 0 : 1);
		}
		assert_int_equal(waitpid(child, &status, 0), child);
#ifdef IXY_DEBUG
		assert_true(WIFSIGNALED(status));
		assert_int_equal(WTERMSIG(status), SIGABRT);
#else
		assert_true(WIFEXITED(status));
		assert_int_equal(WEXITSTATUS(status), 0);
#endif
	}
}

/* --- the bytes of a frame ------------------------------------------------------------------------------- */

static void what_is_written_through_a_cursor_is_read_back(void **state)
{
	struct xsk_umem *umem = umem_of(&(struct xsk_umem_config){.frames = 4, .headroom = 64});
	struct xdp_desc desc = xsk_frame_desc(umem, xsk_frame_addr(umem, 2));
	struct xsk_cursor data = xsk_data_cursor(umem, &desc);
	char text[32] = "";

	(void)state;
	assert_int_equal(desc.addr, 2 * 2048 + 256 + 64);
	assert_int_equal(desc.len, 0);
	assert_int_equal(data.size, xsk_umem_data_size(umem));
	assert_int_equal(xsk_cursor_write(&data, "hello, ", 7), 7);
	assert_int_equal(xsk_cursor_write(&data, "world", 5), 5);
	desc.len = data.length;
	assert_int_equal(desc.len, 12);
	assert_memory_equal(umem->memory + desc.addr, "hello, world", 12);

	data = xsk_data_cursor(umem, &desc);
	assert_int_equal(xsk_cursor_read(&data, text, sizeof(text)), 12);
	assert_string_equal(text, "hello, world");
	assert_int_equal(xsk_cursor_read(&data, text, sizeof(text)), 0);
	/* Writing in the middle does not make it longer, nor does seeking past the end. */
	assert_int_equal(xsk_cursor_seek(&data, 7), 7);
	assert_int_equal(xsk_cursor_write(&data, "W", 1), 1);
	assert_int_equal(data.length, 12);
	assert_int_equal(xsk_cursor_seek(&data, 1000), 12);
	assert_memory_equal(umem->memory + desc.addr, "hello, World", 12);
	xsk_cursor_zero(&data);
	assert_int_equal(data.length, 0);
	assert_int_equal(umem->memory[desc.addr], 0);
	assert_int_equal(xsk_umem_free(umem), 0);
}

static void a_cursor_does_not_leave_its_frame(void **state)
{
	struct xsk_umem *umem = umem_of(&(struct xsk_umem_config){.frames = 2});
	struct xdp_desc desc = xsk_frame_desc(umem, 0);
	struct xsk_cursor data = xsk_data_cursor(umem, &desc);
	uint8_t block[1000];

	(void)state;
	memset(block, 0xee, sizeof(block));
	assert_int_equal(xsk_cursor_write(&data, block, 1000), 1000);
	assert_int_equal(xsk_cursor_write(&data, block, 1000), 792);
	assert_int_equal(xsk_cursor_write(&data, block, 1000), 0);
	assert_int_equal(umem->memory[2047], 0xee);
	assert_int_equal(umem->memory[2048], 0);
	xsk_cursor_zero(&data);
	desc.len = 5000; /* not what a kernel says */
	assert_int_equal(xsk_data_cursor(umem, &desc).length, 1792);
	assert_int_equal(xsk_umem_free(umem), 0);
}

static void headers_are_put_before_and_cut_off(void **state)
{
	static const uint32_t flags[] = {0, XSK_UMEM_UNALIGNED};

	(void)state;
	for (size_t i = 0; i < 2; i++) {
		struct xsk_umem *umem = umem_of(&(struct xsk_umem_config){
			.frames = 4, .headroom = 64, .frame_size = flags[i] ? 2500 : 0, .flags = flags[i]});
		uint64_t frame = xsk_frame_addr(umem, 1);
		struct xdp_desc desc = xsk_frame_desc(umem, frame);
		struct xsk_cursor room = xsk_headroom(umem, &desc);
		uint8_t *data = xsk_data(umem, &desc);

		desc.len = 100;
		assert_ptr_equal(room.start, umem->memory + frame);
		assert_int_equal(room.size, 256 + 64);
		assert_ptr_equal(xsk_user_headroom(umem, &desc).start, data - 64);
		assert_int_equal(xsk_user_headroom(umem, &desc).size, 64);

		assert_ptr_equal(xsk_desc_push(umem, &desc, 20), data - 20);
		assert_int_equal(desc.len, 120);
		assert_ptr_equal(xsk_desc_pull(umem, &desc, 50), data + 30);
		assert_int_equal(desc.len, 70);
		assert_int_equal(xsk_addr_frame(umem, desc.addr), frame);
		assert_null(xsk_desc_pull(umem, &desc, 71));
		assert_null(xsk_desc_push(umem, &desc, 256 + 64 + 31));
		assert_ptr_equal(xsk_desc_push(umem, &desc, 256 + 64 + 30), umem->memory + frame);
		assert_int_equal(xsk_umem_free(umem), 0);
	}
}

/* --- in use --------------------------------------------------------------------------------------------- */

/* Frames of several sizes go from va to vb and are the same there. */
static void exchange(const struct xsk_umem_config *config)
{
	struct xsk_end a, b;
	struct xdp_desc sent[8], got[8];
	uint64_t addrs[8];

	end_open(&a, config, &(struct xsk_socket_config){.ifname = "va"});
	end_open(&b, config, &(struct xsk_socket_config){.ifname = "vb"});
	fill_some(&b, 8);
	for (uint32_t i = 0; i < 8; i++)
		sent[i] = test_frame(&a, 60 + i * 200, (uint8_t)i);
	send_and_complete(&a, sent, 8, addrs);
	receive_all(&b, got, 8);
	for (uint32_t i = 0; i < 8; i++) {
		assert_int_equal(addrs[i], sent[i].addr);
		assert_int_equal(got[i].len, sent[i].len);
		assert_memory_equal(xsk_data(b.umem, &got[i]), xsk_data(a.umem, &sent[i]), got[i].len);
		assert_int_equal(xsk_addr_frame(b.umem, got[i].addr) % b.umem->frame_size, 0);
		assert_int_equal(xsk_headroom(b.umem, &got[i]).size, XSK_KERNEL_HEADROOM + config->headroom);
		xsk_frame_free(b.umem, got[i].addr);
		xsk_frame_free(a.umem, addrs[i]);
	}
	assert_int_equal(xsk_frames_free(a.umem), a.umem->frames);
	assert_int_equal(xsk_frames_free(b.umem), b.umem->frames);
	end_close(&a);
	end_close(&b);
}

static void frames_pass_in_a_umem_of_each_frame_size(void **state)
{
	(void)state;
	exchange(&(struct xsk_umem_config){.frames = 64});
	exchange(&(struct xsk_umem_config){.frames = 64, .frame_size = 4096});
	exchange(&(struct xsk_umem_config){.frames = 64, .frame_size = 4096, .headroom = 300});
}

/* Frames of 3000 bytes lie back to back, most of them over a page boundary. */
static void frames_pass_in_an_unaligned_umem(void **state)
{
	(void)state;
	exchange(&(struct xsk_umem_config){.frames = 64, .frame_size = 3000, .flags = XSK_UMEM_UNALIGNED});
	exchange(&(struct xsk_umem_config){
		.frames = 65, .frame_size = 2222, .headroom = 77, .flags = XSK_UMEM_UNALIGNED});
}

static void frames_pass_in_memory_that_the_caller_brings(void **state)
{
	const size_t size = (size_t)64 * 2048;
	uint8_t *memory = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	struct xsk_umem *umem;

	(void)state;
	assert_true(memory != MAP_FAILED);
	umem = umem_of(&(struct xsk_umem_config){.frames = 64, .memory = memory});
	assert_ptr_equal(umem->memory, memory);
	assert_int_equal(xsk_umem_free(umem), 0);
	memory[0] = memory[size - 1] = 1; /* still ours */
	/* Both ends on the same memory would overwrite each other: one sends from it. */
	struct xsk_end a, b;
	struct xdp_desc sent, got;

	end_open(&a, &(struct xsk_umem_config){.frames = 64, .memory = memory},
		&(struct xsk_socket_config){.ifname = "va"});
	end_open(&b, &(struct xsk_umem_config){.frames = 64}, &(struct xsk_socket_config){.ifname = "vb"});
	fill_some(&b, 1);
	sent = test_frame(&a, 500, 1);
	send_and_complete(&a, &sent, 1, NULL);
	receive_all(&b, &got, 1);
	assert_memory_equal(xsk_data(b.umem, &got), memory + sent.addr, 500);
	end_close(&a);
	end_close(&b);
	assert_int_equal(munmap(memory, size), 0);
}

static void frames_pass_in_huge_pages_and_their_lack_is_told(void **state)
{
	long before = huge_pages();
	struct xsk_umem *umem;

	(void)state;
	assert_true(before >= 0);
	assert_int_equal(set_huge_pages(before + 4), 0);
	if (huge_pages() < before + 4) {
		set_huge_pages(before);
		skip(); /* this machine's memory is too fragmented */
	}
	exchange(&(struct xsk_umem_config){.frames = 1024, .flags = XSK_UMEM_HUGE_PAGES});
	exchange(&(struct xsk_umem_config){
		.frames = 64, .frame_size = 3000, .flags = XSK_UMEM_HUGE_PAGES | XSK_UMEM_UNALIGNED});
	assert_int_equal(set_huge_pages(before), 0);

	/* 1 TiB of them */
	assert_int_equal(
		xsk_umem_create(
			&(struct xsk_umem_config){.frames = 1u << 29, .flags = XSK_UMEM_HUGE_PAGES}, &umem),
		-ENOMEM);
	assert_non_null(strstr(ixy_last_error(), "huge pages"));
}

static void a_umem_that_a_socket_uses_is_not_freed(void **state)
{
	struct xsk_umem *umem = umem_of(&(struct xsk_umem_config){.frames = 64});
	struct xsk_socket *xsk;

	(void)state;
	assert_int_equal(xsk_socket_open(umem, &(struct xsk_socket_config){.ifname = "va"}, &xsk), 0);
	assert_int_equal(xsk_umem_free(umem), -EBUSY);
	assert_int_equal(xsk_frames_reset(umem), -EBUSY);
	xsk_socket_close(xsk);
	assert_int_equal(xsk_frames_reset(umem), 0);
	assert_int_equal(xsk_umem_free(umem), 0);
}

#define VETH(test) cmocka_unit_test_setup_teardown(test, veth_setup, veth_teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(defaults_are_as_documented),
		cmocka_unit_test(sizes_that_the_kernel_does_not_take_are_refused),
		cmocka_unit_test(addresses_are_taken_apart_and_put_together),
		cmocka_unit_test(every_frame_is_given_out_once_and_then_none),
		cmocka_unit_test(a_cache_takes_and_gives_half_of_itself_and_loses_nothing),
		cmocka_unit_test(threads_with_caches_never_have_the_same_frame),
		cmocka_unit_test(a_frame_freed_twice_or_never_taken_is_told_or_does_no_harm),
		cmocka_unit_test(what_is_written_through_a_cursor_is_read_back),
		cmocka_unit_test(a_cursor_does_not_leave_its_frame),
		cmocka_unit_test(headers_are_put_before_and_cut_off),
		VETH(frames_pass_in_a_umem_of_each_frame_size),
		VETH(frames_pass_in_an_unaligned_umem),
		VETH(frames_pass_in_memory_that_the_caller_brings),
		VETH(frames_pass_in_huge_pages_and_their_lack_is_told),
		VETH(a_umem_that_a_socket_uses_is_not_freed),
	};
	if (!own_netns()) {
		puts("UMEM: skipped: network namespaces need root");
		return 0;
	}
	return cmocka_run_group_tests_name("UMEM", tests, NULL, NULL);
}
