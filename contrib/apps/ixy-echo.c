/*
 * ixy-echo: sends back what comes, to measure how long that takes.
 *
 * Without --address a reflector: each frame goes back to its sender, with the addresses of its headers swapped, so
 * that both ends of a latency measurement may be one machine. With --address a host that has just these addresses, and
 * can be pinged:
 *
 *	ixy-echo --address 192.0.2.2 --address 2001:db8::2 0000:03:00.0
 *
 * The loop in main() is the shortest that the library allows: receive, change in place, send. Buffers need no care:
 * what is sent comes back to its pool by itself, what is not sent is freed. What the changes are is in answer.c.
 */
#include <errno.h>
#include <stdio.h>

#include "contrib/apps/app.h"
#include "contrib/apps/app_device.h"
#include "contrib/apps/echo/answer.h"
#include "driver/gso.h"
#include "driver/ixy.h"

#define MAX_BATCH 256

static uint64_t batch = 32;
static struct answerer answerer;
static bool checksums; /* are to be completed here: the device does not do it */

static bool add_address(const char *text)
{
	return answerer_add(&answerer, text);
}

static const struct app_option options[] = {
	{'a', "address", "ADDRESS", "answer for this IPv4 or IPv6 address, and nothing else; may be repeated",
		APP_CALL, NULL, 0, 0, add_address},
	{'b', "batch", "N", "frames a call", APP_NUMBER, &batch, 1, MAX_BATCH, NULL},
	APP_DEVICE_OPTIONS,
	APP_COMMON_OPTIONS,
};

static const struct app app = {
	.about = "Send frames back to where they came from.\n"
		 "A device is 0000:03:00.0 (PCI), xdp:eth1, soft:veth1 or vfio-user:/run/nic.",
	.arguments = "DEVICE",
	.least = 1,
	.most = 1,
	.example = "--poll --address 192.0.2.2 0000:03:00.0",
	.options = options,
};

static struct app_rate rx = {.name = "rx"}, tx = {.name = "tx"}, *rates[] = {&rx, &tx, NULL};

/* What of a batch has an answer moves to the front; the rest is freed. Returns how many there are. */
static uint32_t answer_batch(struct pkt_buf *frames[], uint32_t count)
{
	uint32_t answers = 0;

	for (uint32_t i = 0; i < count; i++) {
		if (!answer(&answerer, frames[i])) {
			pkt_buf_free(frames[i]);
			continue;
		}
		/* What does not fit its frame the device refuses, and counts. */
		if (checksums && frames[i]->flags & PKT_TX_L4_CSUM)
			gso_complete(frames[i]);
		frames[answers++] = frames[i];
	}
	return answers;
}

/* As a host we hear what is for us; as a reflector, everything. */
static void listen_to(struct ixy_device *dev)
{
	struct ixy_mac groups[ANSWER_MAX_ADDRESSES];
	size_t count = answerer_groups(&answerer, groups);

	checksums = !(ixy_capabilities(dev) & IXY_CAP_TX_CSUM);
	answerer.mac = ixy_mac_get(dev);
	if (answerer.v4_count || answerer.v6_count)
		app_check_device(ixy_set_multicast(dev, groups, count));
	else
		app_check_device(ixy_set_promisc(dev, true));
}

static void count(const struct ixy_device *dev, struct ixy_stats *stats)
{
	ixy_read_stats(dev, stats);
	/* Of what the rings held at the end nobody says on which way it was. */
	app_set(&rx, stats->rx_frames, stats->rx_bytes,
		app_sum_drops(stats->drops, "rx-") + stats->drops[IXY_DROP_SHUTDOWN]);
	app_set(&tx, stats->tx_frames, stats->tx_bytes, app_sum_drops(stats->drops, "tx-"));
}

/* Ten times a second. Returns the exit code when it is over with the device, or 0. */
static int look_after(struct ixy_device *dev)
{
	uint32_t events = app_poll_events(dev);
	struct ixy_stats stats;

	count(dev, &stats);
	if (events & IXY_EVENT_RESET && ixy_reset(dev) < 0) {
		fprintf(stderr, "ixy-echo: %s\n", ixy_last_error());
		return app_device_status(-EIO);
	}
	return events & IXY_EVENT_GONE ? app_device_status(-ENODEV) : 0;
}

int main(int argc, char **argv)
{
	struct ixy_device *dev = app_open(*app_begin(&app, argc, argv), NULL);
	struct pkt_buf *frames[MAX_BATCH];
	struct app_idle idle = {0};
	struct ixy_stats stats;
	unsigned ticks = 0;
	int status = 0;

	listen_to(dev);
	for (uint16_t queue = 0; queue < ixy_rx_queues(dev); queue++)
		app_idle_add(&idle, dev, queue);
	app_await_links(&dev, 1);

	app_rates(rates);
	while (!status && app_running()) {
		bool moved = false, sending = false;

		for (uint16_t queue = 0; queue < ixy_rx_queues(dev); queue++) {
			uint32_t n = ixy_rx_batch(dev, queue, frames, (uint32_t)batch);

			moved |= n > 0;
			n = answer_batch(frames, n);
			ixy_tx_batch_busy_wait(dev, queue, frames, n);
			sending |= ixy_tx_pending(dev, queue) > 0;
		}
		if (moved)
			app_busy(&idle);
		else
			app_rest(&idle, sending ? APP_SENDING : APP_QUIET);
		if (ticks != app_ticks)
			status = look_after(dev);
		ticks = app_ticks;
	}
	ixy_stop(dev);
	count(dev, &stats);
	app_end();
	app_print_drops(ixy_device_name(dev), stats.drops);
	app_close(dev);
	return status;
}
