/*
 * The ixy device on AF_XDP, against the real kernel: what it receives, whose each buffer is at any time, filters,
 * life and death.
 */
#include "xdp_rig.h"

#include <poll.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <linux/capability.h>

/* --- receiving --------------------------------------------------------------------------------------- */

static void frames_of_all_sizes_arrive_byte_for_byte(void **state)
{
	struct xdp_rig *rig = *state;
	uint8_t frame[1600], got[1600];

	rig_open(rig, "xdp:d0", NULL);
	for (size_t size = 14; size <= 1518; size += size < 70 ? 1 : 37) {
		struct pkt_buf *buf;

		make_frame(frame, size, &rig->mac, (uint32_t)size);
		if (size > 1514) { /* what is longer than the MTU allows has a VLAN tag */
			frame[12] = 0x81;
			frame[13] = 0x00;
		}
		rig_send(rig, frame, size);
		buf = rig_take(rig);
		assert_non_null(buf);
		assert_int_equal(buf->segments, 1);
		assert_int_equal(flatten(buf, got, sizeof(got)), size);
		assert_memory_equal(got, frame, size);
		assert_int_equal(buf->flags, 0);
		pkt_buf_free(buf);
	}
	assert_int_equal(rig_missing(rig), 0);
}

/* Strict ownership: under load no frame comes twice, none is lost unless counted, no buffer has two holders. */
static void under_load_every_frame_comes_once_and_each_buffer_has_one_holder(void **state)
{
	enum { TOTAL = 20000, HELD = 700 };
	struct xdp_rig *rig = *state;
	const struct ixy_options options = {.rx_ring = 256};
	struct pkt_buf *held[HELD] = {0};
	static bool seen[TOTAL];
	struct ixy_stats stats;
	uint32_t sent = 0, got = 0, slot = 0;
	int64_t quiet = 0;

	memset(seen, 0, sizeof(seen));
	rig_open(rig, "xdp:d0", &options);
	while (!quiet || clock_ms() < quiet + 300) {
		struct pkt_buf *bufs[64];
		uint32_t n;

		for (unsigned i = 0; i < 100 && sent < TOTAL; i++) {
			uint8_t frame[200];

			make_frame(frame, sizeof(frame), &rig->mac, sent++);
			rig_send(rig, frame, sizeof(frame));
		}
		n = ixy_rx_batch(rig->dev, 0, bufs, 64);
		if (n > 0 || sent < TOTAL)
			quiet = clock_ms();
		for (uint32_t i = 0; i < n; i++) {
			uint8_t want[200];
			uint32_t number;

			memcpy(&number, bufs[i]->data + 14, 4);
			assert_true(number < TOTAL);
			assert_false(seen[number]);
			seen[number] = true;
			make_frame(want, sizeof(want), &rig->mac, number);
			assert_int_equal(bufs[i]->size, sizeof(want));
			assert_memory_equal(bufs[i]->data, want, sizeof(want));
			/* Keep the last ones for a while, marked: nobody else may write there. */
			if (held[slot]) {
				for (unsigned j = 0; j < 200; j++)
					assert_int_equal(held[slot]->data[j], 0xEE);
				pkt_buf_free(held[slot]);
			}
			memset(bufs[i]->data, 0xEE, 200);
			held[slot] = bufs[i];
			slot = (slot + 1) % HELD;
		}
		got += n;
	}
	ixy_read_stats(rig->dev, &stats);
	assert_true(got > TOTAL / 10);
	/* The socket's losses are counted; what the veth's own ring dropped, at the sender. */
	assert_int_equal(stats.rx_frames, got);
	assert_int_equal(stats.wire_rx_frames, got + stats.drops[IXY_DROP_RX_NO_DESCRIPTOR]);
	assert_true(shell(
		"test $(($(cat /sys/class/net/p0/statistics/tx_dropped 2>/dev/null || echo 0))) -ge 0"));
	for (uint32_t i = 0; i < HELD; i++)
		pkt_buf_free(held[i]);
	assert_int_equal(rig_missing(rig), 0);
}

static void a_caller_that_keeps_all_buffers_starves_and_recovers(void **state)
{
	struct xdp_rig *rig = *state;
	const struct ixy_options options = {.rx_ring = 64};
	struct pkt_buf **held = calloc(4096, sizeof(*held));
	struct ixy_stats stats;
	uint32_t count = 0, pool, got;
	uint8_t frame[100];

	rig_open(rig, "xdp:d0", &options);
	pool = rig_queue(rig)->pool->buf_count;
	make_frame(frame, sizeof(frame), &rig->mac, 1);
	for (uint32_t i = 0; i < pool + 500; i++) {
		rig_send(rig, frame, sizeof(frame));
		count += ixy_rx_batch(rig->dev, 0, held + count, 64);
	}
	assert_true(count > pool / 2 && count <= pool);
	got = count;
	pkt_buf_free_batch(held, count);
	while ((count = ixy_rx_batch(rig->dev, 0, held, 64))) {
		pkt_buf_free_batch(held, count);
		got += count;
	}
	/* The kernel counts a frame that found no chunk in two of its counters, and it is one frame. */
	ixy_read_stats(rig->dev, &stats);
	assert_int_equal(got + stats.drops[IXY_DROP_RX_NO_DESCRIPTOR], pool + 500);
	assert_int_equal(stats.drops[IXY_DROP_RX_TOO_LONG], 0);
	rig_send(rig, frame, sizeof(frame));
	held[0] = rig_take(rig);
	assert_non_null(held[0]);
	pkt_buf_free(held[0]);
	assert_int_equal(rig_missing(rig), 0);
	free(held);
}

static void the_descriptor_is_readable_while_frames_wait(void **state)
{
	struct xdp_rig *rig = *state;
	struct pollfd p = {.events = POLLIN};
	uint8_t frame[100];

	rig_open(rig, "xdp:d0", NULL);
	p.fd = ixy_rx_irq_fd(rig->dev, 0);
	assert_true(p.fd >= 0);
	ixy_rx_irq_arm(rig->dev, 0);
	assert_int_equal(poll(&p, 1, 0), 0);
	make_frame(frame, sizeof(frame), &rig->mac, 1);
	rig_send(rig, frame, sizeof(frame));
	assert_int_equal(poll(&p, 1, 2000), 1);
	pkt_buf_free(rig_take(rig));
	assert_int_equal(poll(&p, 1, 0), 0);
}

static bool arrives(struct xdp_rig *rig, struct ixy_mac to)
{
	const struct ixy_mac broadcast = {{0xff, 0xff, 0xff, 0xff, 0xff, 0xff}};
	uint8_t frame[100];
	bool found = false;

	make_frame(frame, sizeof(frame), &to, 4711);
	rig_send(rig, frame, sizeof(frame));
	make_frame(frame, sizeof(frame), &broadcast, 4712); /* comes in any case, and after it */
	rig_send(rig, frame, sizeof(frame));
	for (;;) {
		struct pkt_buf *buf = rig_take(rig);
		uint32_t number;

		assert_non_null(buf);
		memcpy(&number, buf->data + 14, 4);
		pkt_buf_free(buf);
		if (number == 4712)
			return found;
		found = true;
	}
}

static void only_frames_for_us_come_unless_promiscuous(void **state)
{
	static const struct ixy_mac other = {{2, 1, 2, 3, 4, 5}}, group = {{1, 0, 0x5e, 1, 2, 3}};
	struct xdp_rig *rig = *state;
	struct ixy_stats stats;

	rig_open(rig, "xdp:d0", NULL);
	assert_true(arrives(rig, rig->mac));
	assert_false(arrives(rig, other));
	assert_false(arrives(rig, group));
	assert_int_equal(ixy_set_promisc(rig->dev, true), 0);
	assert_true(arrives(rig, other) && arrives(rig, group));
	assert_int_equal(ixy_set_promisc(rig->dev, false), 0);
	assert_int_equal(ixy_set_allmulti(rig->dev, true), 0);
	assert_false(arrives(rig, other));
	assert_true(arrives(rig, group));
	assert_int_equal(ixy_set_allmulti(rig->dev, false), 0);
	assert_int_equal(ixy_set_multicast(rig->dev, &group, 1), 0);
	assert_true(arrives(rig, group));
	assert_int_equal(ixy_set_multicast(rig->dev, NULL, 0), 0);
	assert_false(arrives(rig, group));
	assert_int_equal(ixy_set_unicast(rig->dev, &other, 1), 0);
	assert_true(arrives(rig, other));
	assert_int_equal(ixy_set_unicast(rig->dev, NULL, 0), 0);
	assert_false(arrives(rig, other));
	assert_int_equal(ixy_mac_set(rig->dev, other), 0);
	assert_true(arrives(rig, other));
	assert_false(arrives(rig, rig->mac));
	/* Filtered is not lost. */
	ixy_read_stats(rig->dev, &stats);
	for (unsigned i = 0; i < IXY_DROP_COUNT; i++)
		assert_int_equal(stats.drops[i], 0);
	assert_int_equal(rig_missing(rig), 0);
}

/* --- life -------------------------------------------------------------------------------------------- */

static void specs_that_cannot_be_are_refused(void **state)
{
	static const struct {
		const char *spec, *words;
		int error;
	} wrong[] = {
		{"xdp:", "xdp:IFNAME", -EINVAL}, {"xdp:sixteen-letters-", "too long", -EINVAL},
		{"xdp:nosuch0", "nosuch0", -ENODEV}, {"xdp:d0,mode=fast", "mode=fast", -EINVAL},
		{"xdp:d0,queues=0", "queues=0", -EINVAL}, {"xdp:d0,queues=17", "queues=17", -EINVAL},
		{"xdp:d0,queues=", "queues=", -EINVAL}, {"xdp:d0,speed=1", "speed=1", -EINVAL},
		{"xdp:d0,", "xdp:IFNAME", -EINVAL}, {"xdp:d0,queues=2", "ethtool -L d0", -EINVAL},
		{"xdp:d0,mode=zc", "xdp:d0", -EOPNOTSUPP}, /* not on a veth */
	};
	struct ixy_device *dev;

	(void)state;
	for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++) {
		assert_int_equal(ixy_open(wrong[i].spec, NULL, &dev), wrong[i].error);
		if (!strstr(ixy_last_error(), wrong[i].words))
			fail_msg("%s: %s", wrong[i].spec, ixy_last_error());
	}
	assert_int_equal(ixy_open("xdp:d0", &(struct ixy_options){.mtu = 17000}, &dev), -EINVAL);
	assert_int_equal(ixy_open("xdp:d0", &(struct ixy_options){.rx_queues = 2}, &dev), -EINVAL);
	assert_int_equal(ixy_spec_queues("xdp:d0,mode=native,queues=3"), 3);
	assert_int_equal(ixy_spec_queues("xdp:d0"), 0);
	/* And none of it leaves anything. */
	assert_true(shell(
		"ip -d link show d0 | grep -q 'promiscuity 0 ' && ! ip link show d0 | grep -q prog/xdp"));
}

static void an_interface_with_more_queues_than_sockets_is_refused_with_the_command(void **state)
{
	struct xdp_rig *rig = *state;
	struct ixy_device *dev;

	assert_true(shell("ip link del p0") && make_pair(4, 1500));
	assert_int_equal(ixy_open("xdp:d0,queues=2", NULL, &dev), -EINVAL);
	assert_non_null(strstr(ixy_last_error(), "ethtool -L d0 combined 2"));
	assert_true(shell("ethtool -L p0 rx 2 tx 2 && ethtool -L d0 rx 2 tx 2"));
	rig_open(rig, "xdp:d0,queues=2", NULL);
	assert_int_equal(ixy_rx_queues(rig->dev), 2);
}

static bool echoes(struct xdp_rig *rig)
{
	uint8_t frame[200], got[2048];
	struct pkt_buf *buf;

	make_frame(frame, sizeof(frame), &rig->mac, 99);
	rig_send(rig, frame, sizeof(frame));
	buf = rig_take(rig);
	return buf && ixy_tx_batch(rig->dev, 0, &buf, 1) == 1 &&
	       rig_receive(rig, got, sizeof(got)) == sizeof(frame) && memcmp(got, frame, sizeof(frame)) == 0;
}

static void each_mode_works(void **state)
{
	struct xdp_rig *rig = *state;

	rig_open(rig, "xdp:d0,mode=native", NULL);
	assert_true(shell("ip link show d0 | grep -q ' xdp '"));
	assert_true(echoes(rig));
	ixy_close(rig->dev);
	rig_open(rig, "xdp:d0,mode=generic", NULL);
	assert_true(shell("ip link show d0 | grep -q xdpgeneric"));
	assert_true(echoes(rig));
	ixy_close(rig->dev);
	rig_open(rig, "xdp:d0", NULL);
	assert_true(echoes(rig));
}

static void a_second_device_on_the_interface_is_busy_until_the_first_is_closed(void **state)
{
	struct xdp_rig *rig = *state;
	struct ixy_device *second;

	rig_open(rig, "xdp:d0", NULL);
	assert_int_equal(ixy_open("xdp:d0", NULL, &second), -EBUSY);
	assert_true(echoes(rig));
	/* Closed and opened again at once, many times: nothing of the old is in the way. */
	for (unsigned i = 0; i < 10; i++) {
		ixy_close(rig->dev);
		rig_open(rig, "xdp:d0", NULL);
	}
	assert_true(echoes(rig));
}

static void a_stopped_device_has_given_everything_back(void **state)
{
	struct xdp_rig *rig = *state;
	struct ixy_stats stats;
	struct pkt_buf *held, *buf;
	uint8_t frame[100];

	rig_open(rig, "xdp:d0", NULL);
	make_frame(frame, sizeof(frame), &rig->mac, 5);
	for (unsigned i = 0; i < 30; i++)
		rig_send(rig, frame, sizeof(frame));
	held = rig_take(rig);
	assert_non_null(held);
	ixy_stop(rig->dev);
	assert_int_equal(rig_queue(rig)->pool->free_count, rig_queue(rig)->pool->buf_count - 1);
	ixy_read_stats(rig->dev, &stats);
	assert_int_equal(stats.drops[IXY_DROP_SHUTDOWN], 29);
	assert_false(ixy_link_get(rig->dev).up);
	assert_int_equal(ixy_rx_batch(rig->dev, 0, &buf, 1), 0);
	assert_int_equal(ixy_tx_batch(rig->dev, 0, &held, 1), 1);
	ixy_read_stats(rig->dev, &stats);
	assert_int_equal(stats.drops[IXY_DROP_TX_LINK_DOWN], 1);
	assert_int_equal(rig_queue(rig)->pool->free_count, rig_queue(rig)->pool->buf_count);
}

static void a_reset_device_goes_on_as_it_was(void **state)
{
	static const struct ixy_mac other = {{2, 1, 2, 3, 4, 5}};
	struct xdp_rig *rig = *state;
	struct ixy_stats stats;

	rig_open(rig, "xdp:d0", NULL);
	assert_int_equal(ixy_mac_set(rig->dev, other), 0);
	rig->mac = other;
	assert_true(echoes(rig));
	assert_int_equal(ixy_reset(rig->dev), 0);
	assert_true(echoes(rig));
	ixy_read_stats(rig->dev, &stats);
	assert_int_equal(stats.resets, 1);
	assert_int_equal(stats.rx_frames, 2);
	assert_int_equal(stats.tx_frames, 2);
	assert_true(rig_drained(rig));
	assert_int_equal(rig_missing(rig), 0);
}

static void what_has_come_before_the_port_was_shut_can_be_taken(void **state)
{
	struct xdp_rig *rig = *state;
	uint8_t frame[100];
	struct pollfd p = {.events = POLLIN};
	struct pkt_buf *buf;

	rig_open(rig, "xdp:d0", NULL);
	make_frame(frame, sizeof(frame), &rig->mac, 5);
	rig_send(rig, frame, sizeof(frame));
	p.fd = ixy_rx_irq_fd(rig->dev, 0);
	assert_int_equal(poll(&p, 1, 2000), 1);
	ixy_shut(rig->dev);
	assert_true(shell("! ip link show d0 | grep -q prog/xdp"));
	rig_send(rig, frame, sizeof(frame));
	buf = rig_take(rig);
	assert_non_null(buf);
	pkt_buf_free(buf);
	assert_int_equal(ixy_rx_batch(rig->dev, 0, &buf, 1), 0);
}

static void the_end_of_the_interface_is_told(void **state)
{
	struct xdp_rig *rig = *state;
	struct pollfd p = {.events = POLLIN};
	uint32_t events = 0;

	rig_open(rig, "xdp:d0", NULL);
	ixy_poll_events(rig->dev);
	p.fd = ixy_event_fd(rig->dev);
	assert_true(p.fd >= 0);
	assert_true(shell("ip link del d0"));
	while (!(events & IXY_EVENT_GONE)) {
		assert_int_equal(poll(&p, 1, 2000), 1);
		events |= ixy_poll_events(rig->dev);
	}
	assert_false(ixy_link_get(rig->dev).up);
	assert_int_equal(ixy_reset(rig->dev), -ENODEV);
}

static void a_killed_process_leaves_no_program_and_no_filter(void **state)
{
	struct xdp_rig *rig = *state;
	int ready[2];
	char byte;
	pid_t child;

	assert_int_equal(pipe(ready), 0);
	child = fork();
	if (child == 0) {
		struct ixy_device *dev;

		if (ixy_open("xdp:d0", NULL, &dev) == 0 && ixy_set_promisc(dev, true) == 0 &&
			write(ready[1], "x", 1) == 1)
			pause();
		_exit(1);
	}
	close(ready[1]);
	assert_int_equal(read(ready[0], &byte, 1), 1);
	assert_true(
		shell("ip -d link show d0 | grep -q 'promiscuity 1 ' && ip link show d0 | grep -q prog/xdp"));
	kill(child, SIGKILL);
	assert_int_equal(waitpid(child, NULL, 0), child);
	assert_true(shell(
		"ip -d link show d0 | grep -q 'promiscuity 0 ' && ! ip link show d0 | grep -q prog/xdp"));
	close(ready[0]);
	rig_open(rig, "xdp:d0", NULL);
	assert_true(echoes(rig));
}

/* Only these capabilities, in a process of its own; what it returns is the status. */
static int with_capabilities(uint64_t set, int (*body)(struct xdp_rig *rig), struct xdp_rig *rig)
{
	pid_t child = fork();
	int status;

	if (child == 0) {
		struct __user_cap_header_struct header = {.version = _LINUX_CAPABILITY_VERSION_3};
		struct __user_cap_data_struct data[2] = {0};

		for (unsigned i = 0; i < 2; i++)
			data[i].effective = data[i].permitted = (uint32_t)(set >> (32 * i));
		_exit(syscall(SYS_capset, &header, data) < 0 ? 99 : body(rig));
	}
	assert_int_equal(waitpid(child, &status, 0), child);
	return WIFEXITED(status) ? WEXITSTATUS(status) : 98;
}

#define CAP(name) (UINT64_C(1) << CAP_##name)

static int opens_and_echoes(struct xdp_rig *rig)
{
	if (ixy_open("xdp:d0", NULL, &rig->dev) < 0) {
		fprintf(stderr, "%s\n", ixy_last_error());
		return 1;
	}
	rig->mac = ixy_mac_get(rig->dev);
	if (ixy_set_promisc(rig->dev, true) < 0 || ixy_mtu_set(rig->dev, 1400) < 0 || !echoes(rig))
		return 2;
	ixy_close(rig->dev);
	return 0;
}

static int is_refused_by_name(struct xdp_rig *rig)
{
	return ixy_open("xdp:d0", NULL, &rig->dev) == -EPERM && strstr(ixy_last_error(), "CAP_") ? 0 : 1;
}

static int is_refused_for_memlock(struct xdp_rig *rig)
{
	struct rlimit little = {.rlim_cur = 1 << 20, .rlim_max = 1 << 20};

	setrlimit(RLIMIT_MEMLOCK, &little);
	return ixy_open("xdp:d0", NULL, &rig->dev) == -ENOBUFS && strstr(ixy_last_error(), "MEMLOCK") ? 0 : 1;
}

static void three_capabilities_are_enough_and_each_is_named_where_it_is_missing(void **state)
{
	const uint64_t enough = CAP(NET_RAW) | CAP(NET_ADMIN) | CAP(BPF);
	struct xdp_rig *rig = *state;

	assert_int_equal(with_capabilities(enough, opens_and_echoes, rig), 0);
	assert_int_equal(with_capabilities(enough & ~CAP(NET_RAW), is_refused_by_name, rig), 0);
	assert_int_equal(with_capabilities(enough & ~CAP(NET_ADMIN), is_refused_by_name, rig), 0);
	assert_int_equal(with_capabilities(enough & ~CAP(BPF), is_refused_by_name, rig), 0);
}

static void too_little_locked_memory_is_explained(void **state)
{
	struct xdp_rig *rig = *state;

	assert_int_equal(
		with_capabilities(CAP(NET_RAW) | CAP(NET_ADMIN) | CAP(BPF), is_refused_for_memlock, rig), 0);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, rig_setup, rig_teardown)
	const struct CMUnitTest tests[] = {
		TEST(frames_of_all_sizes_arrive_byte_for_byte),
		TEST(under_load_every_frame_comes_once_and_each_buffer_has_one_holder),
		TEST(a_caller_that_keeps_all_buffers_starves_and_recovers),
		TEST(the_descriptor_is_readable_while_frames_wait),
		TEST(only_frames_for_us_come_unless_promiscuous),
		TEST(specs_that_cannot_be_are_refused),
		TEST(an_interface_with_more_queues_than_sockets_is_refused_with_the_command),
		TEST(each_mode_works),
		TEST(a_second_device_on_the_interface_is_busy_until_the_first_is_closed),
		TEST(a_stopped_device_has_given_everything_back),
		TEST(a_reset_device_goes_on_as_it_was),
		TEST(what_has_come_before_the_port_was_shut_can_be_taken),
		TEST(the_end_of_the_interface_is_told),
		TEST(a_killed_process_leaves_no_program_and_no_filter),
		TEST(three_capabilities_are_enough_and_each_is_named_where_it_is_missing),
		TEST(too_little_locked_memory_is_explained),
	};

	if (!own_netns()) {
		puts("xdp: skipped: network namespaces need root");
		return 0;
	}
	return cmocka_run_group_tests_name("xdp", tests, NULL, NULL);
}
