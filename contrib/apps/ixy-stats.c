/*
 * ixy-stats: what a device is, counts and has in its registers.
 *
 * Opens the device, which resets it, receives for a second (--time) and throws away what comes; then prints what it
 * knows: link, addresses, capabilities, counters, drops by their names, each queue's part, registers by theirs. As text,
 * or as one JSON object for jq:
 *
 *	ixy-stats --json --time 10s 0000:03:00.0 | jq .drops
 */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "contrib/apps/app.h"
#include "contrib/apps/app_device.h"
#include "contrib/apps/stats/registers.h"
#include "driver/ixy.h"

#define BATCH     64
#define MAX_NAMED 32
#define MAX_RING  4096
#define SECOND    UINT64_C(1000000000)

static bool json, registers, clearing, promisc;
static const char *named[MAX_NAMED];
static unsigned named_count;

static bool add_register(const char *name)
{
	if (named_count == MAX_NAMED || !*name)
		return false;
	named[named_count++] = name;
	return true;
}

static const struct app_option options[] = {
	{'j', "json", NULL, "as one JSON object", APP_FLAG, &json, 0, 0, NULL},
	{'r', "registers", NULL, "the registers too, those that reading does not change", APP_FLAG,
		&registers, 0, 0, NULL},
	{0, "clearing", NULL, "with --registers: also those that reading sets to 0", APP_FLAG, &clearing, 0,
		0, NULL},
	{'R', "register", "NAME", "this register, by name or offset: LINKS, RDT[0], 0x42a4; may be repeated",
		APP_CALL, NULL, 0, 0, add_register},
	{0, "promisc", NULL, "receive frames for any address", APP_FLAG, &promisc, 0, 0, NULL},
	APP_DEVICE_OPTIONS,
	APP_COMMON_OPTIONS,
};

static const struct app app = {
	.about = "Open a device, receive for a second (--time) and print what there is to know of it.\n"
		 "A device is 0000:03:00.0 (PCI), xdp:eth1, soft:veth1 or vfio-user:/run/nic.",
	.arguments = "DEVICE",
	.least = 1,
	.most = 1,
	.example = "--registers 0000:03:00.0",
	.options = options,
};

struct report {
	const struct ixy_device *dev;
	char mac[18];
	struct ixy_link link;
	struct ixy_stats stats;
	struct ixy_queue_stats queues[IXY_MAX_QUEUES];
	unsigned queue_count;
	struct register_value *values;
	unsigned value_count;
};

static const struct {
	uint32_t bit;
	const char *name;
} capabilities[] = {{IXY_CAP_RX_CSUM, "rx-csum"}, {IXY_CAP_TX_CSUM, "tx-csum"}, {IXY_CAP_TSO, "tso"},
	{IXY_CAP_USO, "uso"}, {IXY_CAP_RSS, "rss"}, {IXY_CAP_JUMBO, "jumbo"},
	{IXY_CAP_INTERRUPTS, "interrupts"}};

#define CAPABILITIES (sizeof(capabilities) / sizeof(capabilities[0]))

/* The counters by their names in the output. */
#define COUNTER(name, member)                            \
	{                                                \
		name, offsetof(struct ixy_stats, member) \
	}
static const struct {
	const char *name;
	size_t offset;
} counters[] = {COUNTER("rx_frames", rx_frames), COUNTER("rx_bytes", rx_bytes),
	COUNTER("tx_frames", tx_frames), COUNTER("tx_bytes", tx_bytes),
	COUNTER("wire_rx_frames", wire_rx_frames), COUNTER("wire_tx_frames", wire_tx_frames),
	COUNTER("rx_multicast", rx_multicast), COUNTER("rx_broadcast", rx_broadcast),
	COUNTER("crc_errors", crc_errors), COUNTER("length_errors", length_errors),
	COUNTER("pool_exhausted", pool_exhausted), COUNTER("resets", resets),
	COUNTER("link_changes", link_changes)};

#define COUNTERS (sizeof(counters) / sizeof(counters[0]))

static uint64_t counter(const struct ixy_stats *stats, size_t offset)
{
	uint64_t value;

	memcpy(&value, (const char *)stats + offset, sizeof(value));
	return value;
}

/* --- text ----------------------------------------------------------------------------------------------- */

static void print_text(const struct report *r)
{
	printf("%s: driver %s, MAC %s, MTU %u of at most %u\n", ixy_device_name(r->dev),
		ixy_driver_name(r->dev), r->mac, ixy_mtu_get(r->dev), ixy_max_mtu(r->dev));
	if (r->link.up)
		printf("link up, %u Mbit/s\n", r->link.speed);
	else
		printf("link down\n");
	printf("capabilities:");
	for (size_t i = 0; i < CAPABILITIES; i++)
		if (ixy_capabilities(r->dev) & capabilities[i].bit)
			printf(" %s", capabilities[i].name);
	putchar('\n');
	for (size_t i = 0; i < COUNTERS; i++)
		printf("%-16s %" PRIu64 "\n", counters[i].name, counter(&r->stats, counters[i].offset));
	for (unsigned i = 0; i < r->queue_count; i++)
		printf("queue %-10u rx %" PRIu64 " frames %" PRIu64 " bytes, tx %" PRIu64 " frames %" PRIu64
		       " bytes\n",
			i, r->queues[i].rx_frames, r->queues[i].rx_bytes, r->queues[i].tx_frames,
			r->queues[i].tx_bytes);
	app_print_drops(ixy_device_name(r->dev), r->stats.drops);
	for (unsigned i = 0; i < r->value_count; i++)
		printf("%-16s 0x%05x 0x%08x\n", r->values[i].name, r->values[i].offset, r->values[i].value);
}

/* --- JSON ----------------------------------------------------------------------------------------------- */

/* What is between two members; the first of an object has nothing before it. */
static const char *comma(size_t i)
{
	return i ? "," : "";
}

static void json_drops(const uint64_t drops[IXY_DROP_COUNT])
{
	printf("\"drops\":{");
	for (int i = 0; i < IXY_DROP_COUNT; i++)
		printf("%s\"%s\":%" PRIu64, comma((size_t)i), ixy_drop_name(i), drops[i]);
	putchar('}');
}

static void print_json(const struct report *r)
{
	size_t n = 0;

	printf("{\"device\":");
	app_json_string(ixy_device_name(r->dev));
	printf(",\"driver\":\"%s\",\"mac\":\"%s\",\"mtu\":%u,\"max_mtu\":%u", ixy_driver_name(r->dev), r->mac,
		ixy_mtu_get(r->dev), ixy_max_mtu(r->dev));
	printf(",\"link\":{\"up\":%s,\"speed\":%u},\"capabilities\":[", r->link.up ? "true" : "false",
		r->link.speed);
	for (size_t i = 0; i < CAPABILITIES; i++)
		if (ixy_capabilities(r->dev) & capabilities[i].bit)
			printf("%s\"%s\"", comma(n++), capabilities[i].name);
	printf("],\"counters\":{");
	for (size_t i = 0; i < COUNTERS; i++)
		printf("%s\"%s\":%" PRIu64, comma(i), counters[i].name,
			counter(&r->stats, counters[i].offset));
	printf("},");
	json_drops(r->stats.drops);
	printf(",\"queues\":[");
	for (unsigned i = 0; i < r->queue_count; i++) {
		const struct ixy_queue_stats *q = &r->queues[i];

		printf("%s{\"rx_frames\":%" PRIu64 ",\"rx_bytes\":%" PRIu64 ",\"tx_frames\":%" PRIu64
		       ",\"tx_bytes\":%" PRIu64 ",",
			comma(i), q->rx_frames, q->rx_bytes, q->tx_frames, q->tx_bytes);
		json_drops(q->drops);
		putchar('}');
	}
	printf("],\"registers\":{");
	for (unsigned i = 0; i < r->value_count; i++)
		printf("%s\"%s\":%u", comma(i), r->values[i].name, r->values[i].value);
	printf("}}\n");
}

/* --- the device ----------------------------------------------------------------------------------------- */

/* Twice the same name would not be JSON. */
static bool is_there(const struct report *r, const char *name)
{
	for (unsigned i = 0; i < r->value_count; i++)
		if (!strcmp(r->values[i].name, name))
			return true;
	return false;
}

/* All of what is asked for, or the end. */
static void read_registers(struct ixy_device *dev, struct report *r)
{
	struct register_value *values;

	if (registers)
		r->value_count = (unsigned)app_check_device(registers_read(dev, clearing, &r->values));
	values = realloc(r->values, (r->value_count + named_count + 1) * sizeof(*values));
	if (!values) {
		perror("ixy-stats");
		exit(1);
	}
	r->values = values;
	for (unsigned i = 0; i < named_count; i++) {
		app_check_device(register_read(dev, named[i], &values[r->value_count]));
		r->value_count += !is_there(r, values[r->value_count].name);
	}
}

static void take_report(struct ixy_device *dev, struct report *r)
{
	struct ixy_mac mac = ixy_mac_get(dev);

	r->dev = dev;
	snprintf(r->mac, sizeof(r->mac), "%02x:%02x:%02x:%02x:%02x:%02x", mac.addr[0], mac.addr[1],
		mac.addr[2], mac.addr[3], mac.addr[4], mac.addr[5]);
	ixy_poll_events(dev); /* the NIC's own counters as of now */
	r->link = ixy_link_get(dev);
	ixy_read_stats(dev, &r->stats);
	r->queue_count = ixy_rx_queues(dev) > ixy_tx_queues(dev) ? ixy_rx_queues(dev) : ixy_tx_queues(dev);
	for (unsigned i = 0; i < r->queue_count; i++)
		ixy_read_queue_stats(dev, (uint16_t)i, &r->queues[i]);
	read_registers(dev, r);
}

/* A batch from each queue, thrown away. Returns how many frames that were. */
static uint32_t take(struct ixy_device *dev)
{
	struct pkt_buf *frames[BATCH];
	uint32_t taken = 0;

	for (uint16_t queue = 0; queue < ixy_rx_queues(dev); queue++) {
		uint32_t n = ixy_rx_batch(dev, queue, frames, BATCH);

		pkt_buf_free_batch(frames, n);
		taken += n;
	}
	return taken;
}

/* Receive until the time is over. Returns the exit code when it is over with the device, or 0. */
static int receive(struct ixy_device *dev)
{
	struct app_idle idle = {0};
	unsigned ticks = 0;

	for (uint16_t queue = 0; queue < ixy_rx_queues(dev); queue++)
		app_idle_add(&idle, dev, queue);
	while (app_running()) {
		if (take(dev))
			app_busy(&idle);
		else
			app_rest(&idle, APP_QUIET);
		if (ticks != app_ticks && app_poll_events(dev) & (IXY_EVENT_GONE | IXY_EVENT_RESET))
			return app_device_status(-EIO);
		ticks = app_ticks;
	}
	/* What is in the rings; no more than they hold, should it go on coming. */
	for (unsigned i = 0; i < MAX_RING / BATCH && take(dev); i++)
		;
	return 0;
}

int main(int argc, char **argv)
{
	const char *spec = *app_begin(&app, argc, argv);
	struct app_rate *const no_rates[] = {NULL};
	static struct report report;
	struct ixy_device *dev;
	uint64_t end;
	int status;

	end = app_time ? app_time : SECOND;
	app_time = 0; /* from when there is a link */
	dev = app_open(spec, NULL);
	if (promisc)
		app_check_device(ixy_set_promisc(dev, true));
	app_await_links(&dev, 1);
	app_time = end;
	app_rates(no_rates);
	status = receive(dev);
	take_report(dev, &report);
	if (json)
		print_json(&report);
	else
		print_text(&report);
	free(report.values);
	app_close(dev);
	return status;
}
