/* Taking down and printing counters. See stats.h. */
#include "bridge/stats.h"

#include <inttypes.h>
#include <string.h>

#define MAC_FORMAT  "%02x:%02x:%02x:%02x:%02x:%02x"
#define MAC_ARGS(m) (m).addr[0], (m).addr[1], (m).addr[2], (m).addr[3], (m).addr[4], (m).addr[5]

static uint64_t counter_read(const uint64_t *counter)
{
	return __atomic_load_n(counter, __ATOMIC_RELAXED);
}

static void direction_add(struct direction_counters *sum, const struct direction_counters *part)
{
	sum->frames += part->frames;
	sum->bytes += part->bytes;
	sum->bursts += part->bursts;
}

static void queue_take(struct queue_report *q, const struct ixy_queue_stats *nic,
	const struct queue_counters *bridge, uint64_t now_ns)
{
	uint64_t started = counter_read(&bridge->started_ns);
	uint64_t asleep_since = counter_read(&bridge->asleep_since_ns);
	uint64_t slept = counter_read(&bridge->sleep_ns);
	uint64_t life = started && now_ns > started ? now_ns - started : 0;

	/* A frame has come in when the kernel has it, and gone out when the NIC has it. */
	q->rx.frames = counter_read(&bridge->rx.frames);
	q->rx.bytes = counter_read(&bridge->rx.bytes);
	q->rx.bursts = counter_read(&bridge->rx.bursts);
	q->tx.frames = nic->tx_frames;
	q->tx.bytes = nic->tx_bytes;
	q->tx.bursts = counter_read(&bridge->tx.bursts);
	for (int i = 0; i < IXY_DROP_COUNT; i++)
		q->drops[i] = nic->drops[i] + counter_read(&bridge->drops[i]);
	if (asleep_since && now_ns > asleep_since)
		slept += now_ns - asleep_since;
	if (slept > life)
		slept = life;
	q->sleep_s = (double)slept / 1e9;
	q->poll_s = (double)(life - slept) / 1e9;
	q->sleeps = counter_read(&bridge->sleeps);
	q->wakeups = counter_read(&bridge->wakeups);
	q->port_restarts = counter_read(&bridge->port_restarts);
}

void report_take(struct report *r, const struct ixy_device *dev,
	const struct queue_counters *const counters[], const char *ifname, uint64_t start_ns, uint64_t now_ns)
{
	memset(r, 0, sizeof(*r));
	r->device = ixy_device_name(dev);
	r->driver = ixy_driver_name(dev);
	r->ifname = ifname;
	r->uptime_s = (double)(now_ns - start_ns) / 1e9;
	r->link = ixy_link_get(dev);
	r->mtu = ixy_mtu_get(dev);
	r->mac = ixy_mac_get(dev);
	ixy_read_stats(dev, &r->nic);
	memcpy(r->drops, r->nic.drops, sizeof(r->drops));
	r->queue_count = ixy_rx_queues(dev);
	for (uint16_t i = 0; i < r->queue_count; i++) {
		struct ixy_queue_stats nic;

		ixy_read_queue_stats(dev, i, &nic);
		queue_take(&r->queues[i], &nic, counters[i], now_ns);
		direction_add(&r->rx, &r->queues[i].rx);
		direction_add(&r->tx, &r->queues[i].tx);
		for (int d = 0; d < IXY_DROP_COUNT; d++)
			r->drops[d] += counter_read(&counters[i]->drops[d]);
	}
}

/* --- text --------------------------------------------------------------------------------------------- */

static void print_direction(
	FILE *out, const char *indent, const char *name, const struct direction_counters *d)
{
	fprintf(out, "%s%s  %" PRIu64 " frames  %" PRIu64 " bytes  %" PRIu64 " bursts\n", indent, name,
		d->frames, d->bytes, d->bursts);
}

void report_print_text(const struct report *r, FILE *out)
{
	fprintf(out, "%s on %s (%s)  MAC " MAC_FORMAT "  MTU %u  ", r->ifname, r->device, r->driver,
		MAC_ARGS(r->mac), r->mtu);
	if (r->link.up)
		fprintf(out, r->link.speed ? "link up, %u Mbit/s\n" : "link up\n", r->link.speed);
	else
		fprintf(out, "link down\n");
	fprintf(out, "up %.1f s  link changes %" PRIu64 "  resets %" PRIu64 "\n", r->uptime_s,
		r->nic.link_changes, r->nic.resets);
	fprintf(out,
		"wire: rx %" PRIu64 " frames  tx %" PRIu64 " frames  CRC errors %" PRIu64
		"  length errors %" PRIu64 "\n",
		r->nic.wire_rx_frames, r->nic.wire_tx_frames, r->nic.crc_errors, r->nic.length_errors);
	print_direction(out, "", "rx", &r->rx);
	print_direction(out, "", "tx", &r->tx);
	for (int i = 0; i < IXY_DROP_COUNT; i++)
		if (r->drops[i])
			fprintf(out, "dropped  %" PRIu64 "  %s: %s\n", r->drops[i], ixy_drop_name(i),
				ixy_drop_text(i));
	for (uint16_t i = 0; i < r->queue_count; i++) {
		const struct queue_report *q = &r->queues[i];

		fprintf(out,
			"queue %u: polled %.1f s, slept %.1f s in %" PRIu64 " sleeps, woken %" PRIu64
			" times by frames\n",
			i, q->poll_s, q->sleep_s, q->sleeps, q->wakeups);
		if (q->port_restarts)
			fprintf(out, "  vhost-net's rings set up anew %" PRIu64 " times\n", q->port_restarts);
		print_direction(out, "  ", "rx", &q->rx);
		print_direction(out, "  ", "tx", &q->tx);
		for (int d = 0; d < IXY_DROP_COUNT; d++)
			if (q->drops[d])
				fprintf(out, "  dropped  %" PRIu64 "  %s\n", q->drops[d], ixy_drop_name(d));
	}
	fflush(out);
}

/* --- JSON --------------------------------------------------------------------------------------------- */

/*
 * The names come from the command line, so anything may be in them; bytes above 127 pass as the UTF-8 they
 * are.
 */
static void json_string(FILE *out, const char *text)
{
	putc('"', out);
	for (const unsigned char *p = (const unsigned char *)text; *p; p++) {
		if (*p == '"' || *p == '\\')
			fprintf(out, "\\%c", *p);
		else if (*p < 0x20)
			fprintf(out, "\\u%04x", *p);
		else
			putc(*p, out);
	}
	putc('"', out);
}

static void json_direction(FILE *out, const char *name, const struct direction_counters *d)
{
	fprintf(out, "\"%s\":{\"frames\":%" PRIu64 ",\"bytes\":%" PRIu64 ",\"bursts\":%" PRIu64 "}", name,
		d->frames, d->bytes, d->bursts);
}

static void json_drops(FILE *out, const uint64_t drops[], bool zero_too)
{
	const char *separator = "";

	fputs("\"drops\":{", out);
	for (int i = 0; i < IXY_DROP_COUNT; i++)
		if (drops[i] || zero_too) {
			fprintf(out, "%s\"%s\":%" PRIu64, separator, ixy_drop_name(i), drops[i]);
			separator = ",";
		}
	putc('}', out);
}

void report_print_json(const struct report *r, FILE *out)
{
	fputs("{\"device\":", out);
	json_string(out, r->device);
	fputs(",\"ifname\":", out);
	json_string(out, r->ifname);
	fputs(",\"driver\":", out);
	json_string(out, r->driver);
	fprintf(out, ",\"uptime_s\":%.3f,\"link\":{\"up\":%s,\"speed\":%u,\"changes\":%" PRIu64 "}",
		r->uptime_s, r->link.up ? "true" : "false", r->link.speed, r->nic.link_changes);
	fprintf(out, ",\"mtu\":%u,\"mac\":\"" MAC_FORMAT "\",\"resets\":%" PRIu64, r->mtu, MAC_ARGS(r->mac),
		r->nic.resets);
	fprintf(out,
		",\"nic\":{\"rx_frames\":%" PRIu64 ",\"tx_frames\":%" PRIu64 ",\"crc_errors\":%" PRIu64
		",\"length_errors\":%" PRIu64 "},",
		r->nic.wire_rx_frames, r->nic.wire_tx_frames, r->nic.crc_errors, r->nic.length_errors);
	json_direction(out, "rx", &r->rx);
	putc(',', out);
	json_direction(out, "tx", &r->tx);
	putc(',', out);
	json_drops(out, r->drops, true);
	fputs(",\"queues\":[", out);
	for (uint16_t i = 0; i < r->queue_count; i++) {
		const struct queue_report *q = &r->queues[i];

		fputs(i ? ",{" : "{", out);
		json_direction(out, "rx", &q->rx);
		putc(',', out);
		json_direction(out, "tx", &q->tx);
		putc(',', out);
		json_drops(out, q->drops, false);
		fprintf(out,
			",\"poll_s\":%.6f,\"sleep_s\":%.6f,\"sleeps\":%" PRIu64 ",\"wakeups\":%" PRIu64
			",\"port_restarts\":%" PRIu64 "}",
			q->poll_s, q->sleep_s, q->sleeps, q->wakeups, q->port_restarts);
	}
	fputs("]}\n", out);
	fflush(out);
}
