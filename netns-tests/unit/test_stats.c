/*
 * Counters: how a report adds up, and how it reads as text and as JSON.
 */
#include <stdarg.h>
#include <setjmp.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>
#include <signal.h>
#include <unistd.h>

#include "bridge/log.h"
#include "bridge/stats.h"
#include "fake_device.h"

#define SECOND UINT64_C(1000000000)

static char *printed(void (*print)(const struct report *, FILE *), const struct report *report)
{
	char *text = NULL;
	size_t size = 0;
	FILE *out = open_memstream(&text, &size);

	assert_non_null(out);
	print(report, out);
	fclose(out);
	return text;
}

static void a_report_adds_what_bridge_and_nic_counted(void **state)
{
	struct queue_counters queue = {
		.rx = {10, 1000, 2},
		.tx = {6, 600, 3},
		.drops[IXY_DROP_KERNEL_DOWN] = 5,
		.started_ns = 1 * SECOND,
	};
	const struct queue_counters *counters[] = {&queue};
	static struct fake_device fake;
	struct report r;

	(void)state;
	fake_device_init(&fake);
	fake.tx_count = 4;
	report_take(&r, &fake.dev, counters, "ixy0", 1 * SECOND, 3 * SECOND);
	assert_true(r.uptime_s == 2.0);
	assert_int_equal(r.queue_count, 1);
	assert_int_equal(r.rx.frames, 10);
	assert_int_equal(r.rx.bytes, 1000);
	assert_int_equal(r.rx.bursts, 2);
	/* Sent is what the NIC took, not what was read from the kernel. */
	assert_int_equal(r.tx.frames, 4);
	assert_int_equal(r.tx.bursts, 3);
	assert_int_equal(r.drops[IXY_DROP_KERNEL_DOWN], 5);
	assert_int_equal(r.drops[IXY_DROP_RX_NO_DESCRIPTOR], 3);
	assert_int_equal(r.queues[0].drops[IXY_DROP_KERNEL_DOWN], 5);
	assert_int_equal(r.queues[0].drops[IXY_DROP_RX_NO_DESCRIPTOR], 0);
	assert_int_equal(r.nic.wire_rx_frames, 7);
	fake_device_close(&fake);
}

static void a_sleep_that_lasts_counts_as_sleep(void **state)
{
	struct queue_counters queue = {
		.started_ns = 10 * SECOND,
		.sleep_ns = 2 * SECOND,
		.asleep_since_ns = 15 * SECOND,
	};
	const struct queue_counters *counters[] = {&queue};
	static struct fake_device fake;
	struct report r;

	(void)state;
	fake_device_init(&fake);
	report_take(&r, &fake.dev, counters, "ixy0", 10 * SECOND, 20 * SECOND);
	assert_true(r.queues[0].sleep_s == 7.0);
	assert_true(r.queues[0].poll_s == 3.0);
	queue.asleep_since_ns = 0;
	report_take(&r, &fake.dev, counters, "ixy0", 10 * SECOND, 20 * SECOND);
	assert_true(r.queues[0].sleep_s == 2.0);
	assert_true(r.queues[0].poll_s == 8.0);
	/* A worker that has not begun yet has done neither. */
	memset(&queue, 0, sizeof(queue));
	report_take(&r, &fake.dev, counters, "ixy0", 10 * SECOND, 20 * SECOND);
	assert_true(r.queues[0].sleep_s == 0.0 && r.queues[0].poll_s == 0.0);
	fake_device_close(&fake);
}

static struct report sample(void)
{
	return (struct report){
		.device = "soft:veth1",
		.ifname = "ixy0",
		.driver = "ixgbe",
		.uptime_s = 1.5,
		.link = {true, 10000},
		.mtu = 1500,
		.mac = {{2, 0, 0, 0, 0xab, 1}},
		.nic = {.wire_rx_frames = 11,
			.wire_tx_frames = 12,
			.crc_errors = 13,
			.length_errors = 14,
			.resets = 1,
			.link_changes = 2},
		.rx = {1, 2, 3},
		.tx = {4, 5, 6},
		.drops[IXY_DROP_KERNEL_FULL] = 9,
		.queue_count = 2,
		.queues[0] = {.rx = {1, 2, 3},
			.poll_s = 0.25,
			.sleep_s = 1.25,
			.sleeps = 7,
			.wakeups = 5,
			.port_restarts = 2},
		.queues[1] = {.tx = {4, 5, 6}, .drops[IXY_DROP_KERNEL_FULL] = 9},
	};
}

static void json_is_one_line_with_every_drop_reason(void **state)
{
	struct report r = sample();
	char *text = printed(report_print_json, &r);

	(void)state;
	assert_ptr_equal(strchr(text, '\n'), text + strlen(text) - 1);
	for (int i = 0; i < IXY_DROP_COUNT; i++) {
		char key[64];

		snprintf(key, sizeof(key), "\"%s\":%d", ixy_drop_name(i), i == IXY_DROP_KERNEL_FULL ? 9 : 0);
		assert_non_null(strstr(text, key));
	}
	assert_ptr_equal(
		strstr(text, "{\"device\":\"soft:veth1\",\"ifname\":\"ixy0\",\"driver\":\"ixgbe\","
			     "\"uptime_s\":1.500,\"link\":{\"up\":true,\"speed\":10000,\"changes\":2},"
			     "\"mtu\":1500,\"mac\":\"02:00:00:00:ab:01\",\"resets\":1,"
			     "\"nic\":{\"rx_frames\":11,\"tx_frames\":12,\"crc_errors\":13,"
			     "\"length_errors\":14},"
			     "\"rx\":{\"frames\":1,\"bytes\":2,\"bursts\":3},"
			     "\"tx\":{\"frames\":4,\"bytes\":5,\"bursts\":6},\"drops\":{"),
		text);
	assert_non_null(strstr(text,
		"},\"queues\":[{\"rx\":{\"frames\":1,\"bytes\":2,\"bursts\":3},"
		"\"tx\":{\"frames\":0,\"bytes\":0,\"bursts\":0},\"drops\":{},"
		"\"poll_s\":0.250000,\"sleep_s\":1.250000,\"sleeps\":7,\"wakeups\":5,\"port_restarts\":2},"
		"{\"rx\":{\"frames\":0,\"bytes\":0,\"bursts\":0},"
		"\"tx\":{\"frames\":4,\"bytes\":5,\"bursts\":6},"
		"\"drops\":{\"kernel-full\":9},"
		"\"poll_s\":0.000000,\"sleep_s\":0.000000,\"sleeps\":0,\"wakeups\":0,\"port_restarts\":0}]}"
		"\n"));
	free(text);
}

static void json_survives_any_name(void **state)
{
	struct report r = sample();
	char *text;

	(void)state;
	r.device = "vfio-user:/run/a\"b\\c\nd";
	text = printed(report_print_json, &r);
	assert_non_null(strstr(text, "{\"device\":\"vfio-user:/run/a\\\"b\\\\c\\u000ad\",\"ifname\""));
	free(text);
}

static void text_explains_what_was_dropped_and_nothing_else(void **state)
{
	struct report r = sample();
	char *text = printed(report_print_text, &r);

	(void)state;
	assert_non_null(strstr(text, "ixy0 on soft:veth1 (ixgbe)"));
	assert_non_null(strstr(text, "link up, 10000 Mbit/s"));
	assert_non_null(strstr(text, ixy_drop_text(IXY_DROP_KERNEL_FULL)));
	assert_null(strstr(text, ixy_drop_name(IXY_DROP_KERNEL_DOWN)));
	free(text);
	r.link = (struct ixy_link){0};
	text = printed(report_print_text, &r);
	assert_non_null(strstr(text, "link down"));
	free(text);
}

static void output_that_nobody_reads_is_given_up(void **state)
{
	static const char text[100000];
	int fds[2];
	(void)state;

	assert_int_equal(pipe(fds), 0);
	assert_false(log_write(fds[1], text, sizeof(text)));
	close(fds[0]);
	signal(SIGPIPE, SIG_IGN);
	assert_false(log_write(fds[1], text, sizeof(text)));
	close(fds[1]);
	assert_int_equal(pipe(fds), 0);
	assert_true(log_write(fds[1], text, 10000));
	close(fds[0]);
	close(fds[1]);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_report_adds_what_bridge_and_nic_counted),
		cmocka_unit_test(a_sleep_that_lasts_counts_as_sleep),
		cmocka_unit_test(json_is_one_line_with_every_drop_reason),
		cmocka_unit_test(json_survives_any_name),
		cmocka_unit_test(text_explains_what_was_dropped_and_nothing_else),
		cmocka_unit_test(output_that_nobody_reads_is_given_up),
	};

	return cmocka_run_group_tests_name("stats", tests, NULL, NULL);
}
