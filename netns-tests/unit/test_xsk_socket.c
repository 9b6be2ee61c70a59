/*
 * Sockets on a veth pair: who shares what, what is refused and in which words, each kind of socket in use,
 * and that under load every frame is in exactly one place.
 */
#include <errno.h>
#include <linux/capability.h>
#include <pthread.h>
#include <stdarg.h>
#include <setjmp.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <cmocka.h>

#include "xsk_rig.h"

static struct xsk_umem *small_umem(void)
{
	struct xsk_umem *umem;

	assert_int_equal(xsk_umem_create(&(struct xsk_umem_config){.frames = 64}, &umem), 0);
	return umem;
}

/* Open, with more patience than the library itself has. */
static int open_socket(
	struct xsk_umem *umem, const char *ifname, uint32_t queue, uint32_t flags, struct xsk_socket **xsk)
{
	return xsk_socket_open(umem,
		&(struct xsk_socket_config){.ifname = ifname,
			.queue_id = queue,
			.flags = flags,
			.busy_timeout_ms = XSK_PATIENCE_MS},
		xsk);
}

static void assert_says(const char *word)
{
	if (!strstr(ixy_last_error(), word))
		fail_msg("no word of \"%s\" in: %s", word, ixy_last_error());
}

/* --- what the kernel can -------------------------------------------------------------------------------- */

static void this_kernel_is_asked_for_everything_it_has(void **state)
{
	struct xsk_features features;

	(void)state;
	assert_int_equal(xsk_probe(&features), 0);
	/* What any kernel has on which the other tests here pass. */
	assert_true(features.sockets);
	assert_true(features.need_wakeup);
	assert_true(features.unaligned);
	assert_true(features.multi_buffer);
	assert_true(features.tx_metadata);
	assert_true(features.tx_sw_csum);
	assert_true(features.busy_poll);
	assert_true(features.full_statistics);
}

static void the_driver_of_an_interface_is_asked_too(void **state)
{
	struct xsk_interface veth, lo;

	(void)state;
	assert_int_equal(xsk_probe_interface("va", &veth), 0);
	assert_int_equal(veth.ifindex, if_nametoindex("va"));
	assert_int_equal(veth.queues, XSK_QUEUES_MADE);
	assert_int_equal(veth.max_queues, XSK_QUEUES_MADE);
	assert_true(veth.features_known);
	assert_true(veth.native);
	assert_false(veth.zero_copy);
	assert_int_equal(xsk_probe_interface("lo", &lo), 0);
	assert_false(lo.native);
	assert_int_equal(xsk_probe_interface("nosuch", &lo), -ENODEV);
}

/* --- sharing -------------------------------------------------------------------------------------------- */

static void sockets_on_different_interfaces_have_rings_of_their_own(void **state)
{
	struct xsk_umem *umem = small_umem();
	struct xsk_socket *a, *b;

	(void)state;
	assert_int_equal(open_socket(umem, "va", 0, 0, &a), 0);
	assert_int_equal(open_socket(umem, "vb", 0, 0, &b), 0);
	assert_ptr_not_equal(xsk_socket_queues(a), xsk_socket_queues(b));
	assert_int_equal(xsk_fill_one(xsk_socket_queues(a), 0), 1);
	assert_int_equal(xsk_num_filled(xsk_socket_queues(a)), 1);
	assert_int_equal(xsk_num_filled(xsk_socket_queues(b)), 0);
	xsk_socket_close(a);
	xsk_socket_close(b);
	assert_int_equal(xsk_umem_free(umem), 0);
}

static void sockets_on_different_queues_have_rings_of_their_own(void **state)
{
	struct xsk_umem *umem = small_umem();
	struct xsk_socket *a, *b;

	(void)state;
	assert_int_equal(open_socket(umem, "va", 0, 0, &a), 0);
	assert_int_equal(open_socket(umem, "va", 1, 0, &b), 0);
	assert_ptr_not_equal(xsk_socket_queues(a), xsk_socket_queues(b));
	assert_int_equal(xsk_socket_queue_id(b), 1);
	assert_ptr_equal(xsk_socket_umem(b), umem);
	xsk_socket_close(b);
	xsk_socket_close(a);
	assert_int_equal(xsk_umem_free(umem), 0);
}

static void sockets_on_the_same_queue_share_its_rings_and_the_last_one_frees_them(void **state)
{
	struct xsk_umem *umem = small_umem();
	struct xsk_socket *xsk[3];

	(void)state;
	for (int i = 0; i < 3; i++) {
		assert_int_equal(open_socket(umem, "va", 0, 0, &xsk[i]), 0);
		assert_ptr_equal(xsk_socket_queues(xsk[i]), xsk_socket_queues(xsk[0]));
	}
	/* The rings outlive the socket that made them, in our memory and in the kernel's. */
	xsk_socket_close(xsk[0]);
	for (uint32_t i = 0; i < 8; i++)
		assert_int_equal(xsk_fill_one(xsk_socket_queues(xsk[1]), xsk_frame_alloc(umem)), 1);
	for (int i = 1; i < 3; i++) {
		struct xdp_desc desc = xsk_frame_desc(umem, xsk_frame_alloc(umem));
		uint64_t addr;

		fill_frame(xsk_data(umem, &desc), 100);
		desc.len = 100;
		assert_int_equal(xsk_transmit_and_wake(xsk[i], &desc, 1), 1);
		assert_int_equal(xsk_complete_one(xsk_socket_queues(xsk[2]), &addr), 1);
		assert_int_equal(addr, desc.addr);
	}
	assert_int_equal(xsk_num_transmitted(xsk_socket_queues(xsk[2])), 0);
	xsk_socket_close(xsk[1]);
	xsk_socket_close(xsk[2]);
	xsk_socket_close(NULL);
	assert_int_equal(xsk_umem_free(umem), 0);
}

/* The kernel lets a socket onto a queue only by way of one that is on it already. */
static void a_queue_is_shared_also_when_the_newest_socket_is_elsewhere(void **state)
{
	struct xsk_umem *umem = small_umem();
	struct xsk_socket *a, *b, *again;

	(void)state;
	assert_int_equal(open_socket(umem, "va", 0, 0, &a), 0);
	assert_int_equal(open_socket(umem, "vb", 0, 0, &b), 0);
	assert_int_equal(open_socket(umem, "va", 0, 0, &again), 0);
	assert_ptr_equal(xsk_socket_queues(again), xsk_socket_queues(a));
	xsk_socket_close(a);
	xsk_socket_close(b);
	xsk_socket_close(again);
	assert_int_equal(xsk_umem_free(umem), 0);
}

/* The kernel knows a UMEM by a bound socket: any will do, not just the one that registered it. */
static void a_umem_outlives_the_socket_that_registered_it_and_all_of_them(void **state)
{
	struct xsk_umem *umem = small_umem();
	struct xsk_socket *a, *b, *c;

	(void)state;
	assert_int_equal(open_socket(umem, "va", 0, 0, &a), 0);
	assert_int_equal(open_socket(umem, "vb", 0, 0, &b), 0);
	xsk_socket_close(a);
	assert_int_equal(open_socket(umem, "va", 1, 0, &c), 0);
	xsk_socket_close(b);
	xsk_socket_close(c);
	assert_int_equal(open_socket(umem, "va", 0, 0, &a), 0);
	xsk_socket_close(a);
	assert_int_equal(xsk_umem_free(umem), 0);
}

static void frames_go_from_one_interface_to_the_other_within_one_umem(void **state)
{
	struct xsk_umem *umem = small_umem();
	struct xsk_end a = {.umem = umem}, b = {.umem = umem};
	struct xdp_desc desc, got;
	uint64_t addr;

	(void)state;
	assert_int_equal(open_socket(umem, "va", 0, XSK_TX_ONLY, &a.xsk), 0);
	assert_int_equal(open_socket(umem, "vb", 0, XSK_RX_ONLY, &b.xsk), 0);
	a.queues = xsk_socket_queues(a.xsk);
	b.queues = xsk_socket_queues(b.xsk);
	b.program = steer("vb", b.xsk, XSK_ATTACH_AUTO);
	fill_some(&b, 1);
	desc = test_frame(&a, 700, 3);
	send_and_complete(&a, &desc, 1, &addr);
	receive_all(&b, &got, 1);
	assert_int_equal(addr, desc.addr);
	assert_int_not_equal(xsk_addr_frame(umem, got.addr), xsk_addr_frame(umem, addr));
	assert_int_equal(got.len, 700);
	assert_memory_equal(xsk_data(umem, &got), xsk_data(umem, &desc), 700);
	xsk_program_free(b.program);
	xsk_socket_close(a.xsk);
	xsk_socket_close(b.xsk);
	assert_int_equal(xsk_umem_free(umem), 0);
}

static void a_queue_of_another_umem_is_busy_and_comes_free_with_its_last_socket(void **state)
{
	struct xsk_umem *first = small_umem(), *second = small_umem();
	struct xsk_socket_config config = {.ifname = "va", .busy_timeout_ms = -1};
	struct xsk_socket *a, *b;

	(void)state;
	assert_int_equal(open_socket(first, "va", 0, 0, &a), 0);
	for (int i = 0; i < 3; i++) { /* and the failure leaves nothing to be freed twice */
		assert_int_equal(xsk_socket_open(second, &config, &b), -EBUSY);
		assert_says("va: queue 0 is in use");
	}
	config.busy_timeout_ms = 50;
	assert_int_equal(xsk_socket_open(second, &config, &b), -EBUSY);
	xsk_socket_close(a);
	assert_int_equal(open_socket(second, "va", 0, 0, &b), 0);
	xsk_socket_close(b);
	assert_int_equal(xsk_umem_free(first), 0);
	assert_int_equal(xsk_umem_free(second), 0);
}

struct opener {
	struct xsk_umem *umem;
	struct xsk_socket *xsk;
	int tid, rc;
};

static void *open_queue_1(void *arg)
{
	struct opener *opener = arg;

	__atomic_store_n(&opener->tid, (int)syscall(SYS_gettid), __ATOMIC_RELEASE);
	opener->rc = open_socket(opener->umem, "va", 1, 0, &opener->xsk);
	return NULL;
}

/* If the getters waited for the opener, the queue would come free only after it has given up. */
static void who_waits_for_a_queue_keeps_nobody_from_the_umems_other_sockets(void **state)
{
	struct opener opener = {.umem = small_umem()};
	struct xsk_umem *other = small_umem();
	struct xsk_socket *mine, *in_the_way;
	pthread_t thread;

	(void)state;
	assert_int_equal(open_socket(opener.umem, "va", 0, 0, &mine), 0);
	assert_int_equal(open_socket(other, "va", 1, 0, &in_the_way), 0);
	assert_int_equal(pthread_create(&thread, NULL, open_queue_1, &opener), 0);
	wait_for_call(&opener.tid, SYS_nanosleep, SYS_clock_nanosleep);
	assert_int_equal(xsk_num_filled(xsk_socket_queues(mine)), 0);
	assert_int_equal(xsk_num_transmitted(xsk_socket_queues(mine)), 0);
	xsk_socket_close(in_the_way);
	assert_int_equal(pthread_join(thread, NULL), 0);
	assert_int_equal(opener.rc, 0);
	xsk_socket_close(opener.xsk);
	xsk_socket_close(mine);
	assert_int_equal(xsk_umem_free(opener.umem), 0);
	assert_int_equal(xsk_umem_free(other), 0);
}

/* asavie/xdp#32: the kernel lets go of a closed queue only later. */
static void a_queue_is_opened_again_at_once_ten_times_in_a_row(void **state)
{
	struct xsk_socket *xsk;

	(void)state;
	for (int i = 0; i < 10; i++) {
		struct xsk_umem *umem = small_umem();

		if (open_socket(umem, "va", 0, 0, &xsk) < 0)
			fail_msg("time %d: %s", i, ixy_last_error());
		xsk_socket_close(xsk);
		assert_int_equal(xsk_umem_free(umem), 0);
	}
}

/* --- what is refused ------------------------------------------------------------------------------------ */

static void a_queue_that_is_not_there_is_told_with_how_many_there_are(void **state)
{
	struct xsk_umem *umem = small_umem();
	struct xsk_socket *xsk;

	(void)state;
	assert_int_equal(open_socket(umem, "va", XSK_QUEUES_MADE, 0, &xsk), -EINVAL);
	assert_says("va has no queue 2: it has 2, numbered from 0");
	assert_int_equal(open_socket(umem, "nosuch", 0, 0, &xsk), -ENODEV);
	assert_says("nosuch");
	assert_int_equal(xsk_umem_free(umem), 0);
}

static void sizes_and_flags_that_cannot_be_are_refused(void **state)
{
	static const struct xsk_socket_config cases[] = {
		{.ifname = "va", .rx_size = 1000},
		{.ifname = "va", .tx_size = 3},
		{.ifname = "va", .fill_size = 5},
		{.ifname = "va", .completion_size = 6},
		{.ifname = "va", .flags = 1u << 20},
		{.ifname = "va", .flags = XSK_RX_ONLY | XSK_TX_ONLY},
		{.ifname = NULL},
	};
	struct xsk_umem *umem = small_umem();
	struct xsk_socket *xsk;

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
		assert_int_equal(xsk_socket_open(umem, &cases[i], &xsk), cases[i].ifname ? -EINVAL : -ENODEV);
	assert_int_equal(xsk_umem_free(umem), 0);
}

static void zero_copy_is_refused_or_done_without_and_told(void **state)
{
	struct xsk_umem *umem = small_umem();
	struct xsk_socket *xsk;

	(void)state;
	assert_int_equal(
		xsk_socket_open(
			umem, &(struct xsk_socket_config){.ifname = "va", .mode = XSK_MODE_ZERO_COPY}, &xsk),
		-EOPNOTSUPP);
	assert_says("no zero copy");
	assert_int_equal(open_socket(umem, "va", 0, 0, &xsk), 0);
	assert_false(xsk_socket_zero_copy(xsk));
	assert_int_equal(xsk_socket_fallback_reason(xsk), EOPNOTSUPP);
	xsk_socket_close(xsk);
	assert_int_equal(
		xsk_socket_open(umem,
			&(struct xsk_socket_config){
				.ifname = "va", .mode = XSK_MODE_NATIVE, .busy_timeout_ms = XSK_PATIENCE_MS},
			&xsk),
		0);
	assert_int_equal(xsk_socket_fallback_reason(xsk), 0);
	xsk_socket_close(xsk);
	assert_int_equal(xsk_umem_free(umem), 0);
	assert_string_equal(xsk_mode_name(XSK_MODE_ZERO_COPY), "zero-copy");
	assert_string_equal(xsk_mode_name((enum xsk_mode)17), "unknown");
}

/* Who joins a UMEM cannot have what its first socket does without. */
static void a_sharer_cannot_have_more_than_the_first_socket(void **state)
{
	struct xsk_umem *umem = small_umem();
	struct xsk_socket *a, *b;

	(void)state;
	assert_int_equal(open_socket(umem, "va", 0, 0, &a), 0);
	assert_int_equal(open_socket(umem, "vb", 0, XSK_MULTI_BUFFER, &b), -EOPNOTSUPP);
	assert_int_equal(xsk_socket_open(umem,
				 &(struct xsk_socket_config){.ifname = "vb", .mode = XSK_MODE_ZERO_COPY}, &b),
		-EOPNOTSUPP);
	xsk_socket_close(a);
	assert_int_equal(xsk_umem_free(umem), 0);
}

static bool drop_capabilities(void)
{
	struct __user_cap_header_struct header = {.version = _LINUX_CAPABILITY_VERSION_3};
	struct __user_cap_data_struct none[_LINUX_CAPABILITY_U32S_3] = {0};

	return syscall(SYS_capset, &header, none) == 0;
}

static bool keep_capability(unsigned capability)
{
	struct __user_cap_header_struct header = {.version = _LINUX_CAPABILITY_VERSION_3};
	struct __user_cap_data_struct data[_LINUX_CAPABILITY_U32S_3] = {0};

	data[capability / 32].permitted = data[capability / 32].effective = 1u << capability % 32;
	return syscall(SYS_capset, &header, data) == 0;
}

/* In a child, which may not get its rights back. Its exit status says which step went wrong. */
static void in_a_child(int (*what)(void))
{
	int status;
	pid_t child = fork();

	if (!child)
		_exit(what());
	assert_int_equal(waitpid(child, &status, 0), child);
	assert_true(WIFEXITED(status));
	assert_int_equal(WEXITSTATUS(status), 0);
}

static int a_umem_over_the_limit(void)
{
	struct rlimit limit = {.rlim_cur = 1 << 20, .rlim_max = 1 << 20};
	struct xsk_umem *umem;
	struct xsk_socket *xsk;

	/* The kernel counts a user's pages in all processes: so be one that nobody else is. */
	if (setrlimit(RLIMIT_MEMLOCK, &limit) < 0 || prctl(PR_SET_KEEPCAPS, 1) < 0 ||
		setuid(1000000000 + (uid_t)getpid()) < 0 || !keep_capability(CAP_NET_RAW))
		return 1;
	if (xsk_umem_create(&(struct xsk_umem_config){.frames = 1024}, &umem) < 0)
		return 2;
	if (xsk_socket_open(umem, &(struct xsk_socket_config){.ifname = "va"}, &xsk) != -ENOBUFS)
		return 3;
	if (!strstr(ixy_last_error(), "2048 KiB") || !strstr(ixy_last_error(), "1024 KiB") ||
		!strstr(ixy_last_error(), "ulimit -l") || !strstr(ixy_last_error(), "CAP_IPC_LOCK"))
		return 4;
	/* One that fits does well with the one capability. */
	if (xsk_umem_free(umem) || xsk_umem_create(&(struct xsk_umem_config){.frames = 256}, &umem) < 0)
		return 5;
	return xsk_socket_open(umem, &(struct xsk_socket_config){.ifname = "va"}, &xsk) ? 6 : 0;
}

static int no_right_to_raw_sockets(void)
{
	struct xsk_features features;
	struct xsk_umem *umem;
	struct xsk_socket *xsk;

	if (!drop_capabilities() || xsk_umem_create(&(struct xsk_umem_config){.frames = 64}, &umem) < 0)
		return 1;
	if (xsk_socket_open(umem, &(struct xsk_socket_config){.ifname = "va"}, &xsk) != -EPERM ||
		!strstr(ixy_last_error(), "CAP_NET_RAW"))
		return 2;
	return xsk_probe(&features) == -EPERM ? 0 : 3;
}

static void a_memory_lock_limit_that_is_too_low_is_told_with_the_numbers(void **state)
{
	(void)state;
	in_a_child(a_umem_over_the_limit);
}

static void a_missing_capability_is_told_by_its_name(void **state)
{
	(void)state;
	in_a_child(no_right_to_raw_sockets);
}

/* --- kinds of sockets ----------------------------------------------------------------------------------- */

static void a_socket_that_only_receives_and_one_that_only_sends(void **state)
{
	struct xsk_end a, b;
	struct xdp_desc desc, got;
	uint64_t addr;

	(void)state;
	end_open(&a, &(struct xsk_umem_config){.frames = 64},
		&(struct xsk_socket_config){.ifname = "va", .flags = XSK_TX_ONLY});
	end_open(&b, &(struct xsk_umem_config){.frames = 64},
		&(struct xsk_socket_config){.ifname = "vb", .flags = XSK_RX_ONLY});
	fill_some(&b, 1);
	desc = test_frame(&a, 60, 0);
	assert_int_equal(xsk_transmit_one(b.xsk, &desc), 0);
	assert_int_equal(xsk_num_free_tx_slots(b.xsk), 0);
	assert_false(xsk_tx_needs_wakeup(b.xsk));
	assert_int_equal(xsk_receive_one(a.xsk, &got), 0);
	assert_int_equal(xsk_num_received(a.xsk), 0);
	send_and_complete(&a, &desc, 1, &addr);
	receive_all(&b, &got, 1);
	assert_int_equal(got.len, 60);
	end_close(&a);
	end_close(&b);
}

/* What is received on one end goes back from the same memory, by a socket without need_wakeup as well. */
static void a_frame_is_sent_back_from_where_it_was_received(void **state)
{
	static const uint32_t flags[] = {0, XSK_NO_NEED_WAKEUP};

	(void)state;
	for (size_t i = 0; i < 2; i++) {
		struct xsk_socket_config config = {.ifname = "va", .flags = flags[i]};
		struct xsk_end a, b;
		struct xdp_desc desc, there, back;
		uint64_t addr;

		end_open(&a, &(struct xsk_umem_config){.frames = 64}, &config);
		config.ifname = "vb";
		end_open(&b, &(struct xsk_umem_config){.frames = 64}, &config);
		fill_some(&a, 1);
		fill_some(&b, 1);
		desc = test_frame(&a, 333, 9);
		send_and_complete(&a, &desc, 1, &addr);
		receive_all(&b, &there, 1);
		send_and_complete(&b, &there, 1, &addr);
		assert_int_equal(addr, there.addr);
		receive_all(&a, &back, 1);
		assert_int_equal(back.len, 333);
		assert_memory_equal(xsk_data(a.umem, &back), xsk_data(a.umem, &desc), 333);
		end_close(&a);
		end_close(&b);
	}
}

static void frames_are_received_in_generic_mode_too(void **state)
{
	struct xsk_socket_config config = {.ifname = "vb", .mode = XSK_MODE_GENERIC, .flags = XSK_TX_ONLY};
	struct xsk_end a, b;
	struct xdp_desc desc, got;

	(void)state;
	end_open(&b, &(struct xsk_umem_config){.frames = 64}, &config);
	xsk_socket_close(b.xsk);
	config.flags = 0;
	config.busy_timeout_ms = XSK_PATIENCE_MS;
	assert_int_equal(xsk_socket_open(b.umem, &config, &b.xsk), 0);
	b.queues = xsk_socket_queues(b.xsk);
	b.program = steer("vb", b.xsk, XSK_ATTACH_GENERIC);
	assert_int_equal(xsk_program_mode(b.program), XSK_ATTACH_GENERIC);
	end_open(&a, &(struct xsk_umem_config){.frames = 64}, &(struct xsk_socket_config){.ifname = "va"});
	fill_some(&b, 1);
	desc = test_frame(&a, 900, 4);
	send_and_complete(&a, &desc, 1, NULL);
	receive_all(&b, &got, 1);
	assert_int_equal(got.len, 900);
	assert_memory_equal(xsk_data(b.umem, &got), xsk_data(a.umem, &desc), 900);
	end_close(&a);
	end_close(&b);
}

static void busy_polling_and_a_larger_budget_are_set_where_asked_for(void **state)
{
	struct xsk_socket_config config = {
		.ifname = "va", .busy_poll_us = 20, .busy_poll_budget = 16, .tx_budget = 256};
	struct xsk_features features;
	struct xsk_end a;
	struct xdp_desc descs[100];
	int value = 0;
	socklen_t size = sizeof(value);

	(void)state;
	assert_int_equal(xsk_probe(&features), 0);
	end_open(&a, &(struct xsk_umem_config){.frames = 128}, &config);
	assert_int_equal(getsockopt(xsk_socket_fd(a.xsk), SOL_SOCKET, SO_BUSY_POLL, &value, &size), 0);
	assert_int_equal(value, 20);
	assert_int_equal(getsockopt(xsk_socket_fd(a.xsk), SOL_SOCKET, SO_PREFER_BUSY_POLL, &value, &size), 0);
	assert_int_equal(value, 1);
	for (uint32_t i = 0; i < 100; i++)
		descs[i] = test_frame(&a, 60, 0);
	assert_int_equal(xsk_transmit(a.xsk, descs, 100), 100);
	/* One call does it where the kernel has that option. */
	assert_int_equal(xsk_wake_tx(a.xsk), features.tx_budget ? 0 : -EAGAIN);
	end_close(&a);
}

static int in_child(int (*work)(void *), void *arg)
{
	pid_t pid = fork();
	int status;

	if (pid == 0)
		_exit(work(arg));
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_true(WIFEXITED(status));
	return WEXITSTATUS(status);
}

/* A deferral as the files have it, in a child whose /sys is that of our namespace. */
static int defer_and_undo(void *unused)
{
	struct xsk_deferral first, second, third;

	(void)unused;
	if (unshare(CLONE_NEWNS) < 0 || mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0 ||
		mount("sysfs", "/sys", "sysfs", 0, NULL) < 0)
		return 1;
	if (xsk_defer_interrupts("va", &XSK_DEFERRAL_BUSY_POLL, &first) != 0)
		return 2;
	if (!shell("grep -qx 2 /sys/class/net/va/napi_defer_hard_irqs") ||
		!shell("grep -qx 200000 /sys/class/net/va/gro_flush_timeout"))
		return 3;
	if (xsk_defer_interrupts("va", &first, &second) != 0 || second.rounds != 2 ||
		second.timeout_ns != 200000)
		return 4;
	if (xsk_defer_interrupts("va", &first, &third) != 0 || third.rounds != first.rounds ||
		third.timeout_ns != first.timeout_ns)
		return 5;
	return xsk_defer_interrupts("../va", &first, NULL) == -ENODEV ? 0 : 6;
}

static int defer_without_privilege(void *unused)
{
	(void)unused;
	return -xsk_defer_interrupts("va", &XSK_DEFERRAL_BUSY_POLL, NULL);
}

static void interrupts_are_deferred_and_set_back(void **state)
{
	(void)state;
	assert_int_equal(in_child(defer_and_undo, NULL), 0);
	assert_int_equal(as_nobody(defer_without_privilege, NULL), ENOENT); /* another namespace's /sys */
	assert_int_equal(xsk_defer_interrupts("nosuch", &XSK_DEFERRAL_BUSY_POLL, NULL), -ENODEV);
}

#define TEST(test) cmocka_unit_test_setup_teardown(test, veth_setup, veth_teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(this_kernel_is_asked_for_everything_it_has),
		TEST(the_driver_of_an_interface_is_asked_too),
		TEST(sockets_on_different_interfaces_have_rings_of_their_own),
		TEST(sockets_on_different_queues_have_rings_of_their_own),
		TEST(sockets_on_the_same_queue_share_its_rings_and_the_last_one_frees_them),
		TEST(a_queue_is_shared_also_when_the_newest_socket_is_elsewhere),
		TEST(a_umem_outlives_the_socket_that_registered_it_and_all_of_them),
		TEST(frames_go_from_one_interface_to_the_other_within_one_umem),
		TEST(a_queue_of_another_umem_is_busy_and_comes_free_with_its_last_socket),
		TEST(who_waits_for_a_queue_keeps_nobody_from_the_umems_other_sockets),
		TEST(a_queue_is_opened_again_at_once_ten_times_in_a_row),
		TEST(a_queue_that_is_not_there_is_told_with_how_many_there_are),
		TEST(sizes_and_flags_that_cannot_be_are_refused),
		TEST(zero_copy_is_refused_or_done_without_and_told),
		TEST(a_sharer_cannot_have_more_than_the_first_socket),
		TEST(a_memory_lock_limit_that_is_too_low_is_told_with_the_numbers),
		TEST(a_missing_capability_is_told_by_its_name),
		TEST(a_socket_that_only_receives_and_one_that_only_sends),
		TEST(a_frame_is_sent_back_from_where_it_was_received),
		TEST(frames_are_received_in_generic_mode_too),
		TEST(busy_polling_and_a_larger_budget_are_set_where_asked_for),
		TEST(interrupts_are_deferred_and_set_back),
	};
	if (!own_netns()) {
		puts("AF_XDP sockets: skipped: network namespaces need root");
		return 0;
	}
	return cmocka_run_group_tests_name("AF_XDP sockets", tests, NULL, NULL);
}
