#include "contrib/apps/pktgen/report.h"

#include <inttypes.h>
#include <stdio.h>

static const struct {
	const char *name;
	double part;
} quantiles[] = {{"p50", 0.5}, {"p90", 0.9}, {"p99", 0.99}, {"p99.9", 0.999}, {"p99.99", 0.9999}};
#define QUANTILES (sizeof(quantiles) / sizeof(quantiles[0]))

struct report_sent report_sent(const struct sender *sender, double asked)
{
	uint64_t dropped = sender_dropped(sender);

	return (struct report_sent){.asked = asked,
		.achieved = sender_achieved(sender),
		.frames = sender->frames > dropped ? sender->frames - dropped : 0,
		.bytes = sender->bytes,
		.dropped = dropped,
		.time_ns = sender->last_ns - sender->first_ns,
		.held_up_ns = sender->held_up_ns};
}

uint64_t report_lost(const struct report_sent *sent, const struct received *received)
{
	return sent->frames > received->unique ? sent->frames - received->unique : 0;
}

/* --- in words ------------------------------------------------------------------------------------------- */

void report_print_sent(const struct report_sent *sent)
{
	printf("sent: %" PRIu64 " frames, %" PRIu64 " bytes in %.3f s: ", sent->frames, sent->bytes,
		(double)sent->time_ns / 1e9);
	if (sent->asked > 0)
		printf("asked for %.1f a second, ", sent->asked);
	printf("achieved %.1f a second", sent->achieved);
	if (sent->held_up_ns)
		printf(", held up for %.1f ms", (double)sent->held_up_ns / 1e6);
	if (sent->dropped)
		printf(", %" PRIu64 " dropped before the wire", sent->dropped);
	putchar('\n');
}

void report_print_received(
	const struct received *received, const struct report_sent *sent, const struct histogram *latency)
{
	uint64_t lost = sent ? report_lost(sent, received) : received->lost;

	printf("received: %" PRIu64 " frames, %" PRIu64 " bytes: lost %" PRIu64 ", reordered %" PRIu64
	       ", duplicates %" PRIu64 ", bad checksums %" PRIu64 ", others %" PRIu64 "\n",
		received->frames, received->bytes, lost, received->reordered, received->duplicates,
		received->bad_checksum, received->other);
	if (latency->count) {
		printf("latency, us: min %.1f", (double)latency->min / 1e3);
		for (size_t i = 0; i < QUANTILES; i++)
			printf(", %s %.1f", quantiles[i].name,
				(double)histogram_quantile(latency, quantiles[i].part) / 1e3);
		printf(", max %.1f, mean %.1f\n", (double)latency->max / 1e3,
			(double)histogram_mean(latency) / 1e3);
	}
	if (received->other_clock)
		printf("latency: none of %" PRIu64 " frames, whose stamps are of another clock\n",
			received->other_clock);
}

/* --- as JSON -------------------------------------------------------------------------------------------- */

void report_json_sent(const struct report_sent *sent)
{
	if (!sent) {
		printf("null");
		return;
	}
	printf("{\"asked\":");
	if (sent->asked > 0)
		printf("%.3f", sent->asked);
	else
		printf("null");
	printf(",\"achieved\":%.3f,\"frames\":%" PRIu64 ",\"bytes\":%" PRIu64 ",\"dropped\":%" PRIu64
	       ",\"seconds\":%.6f,\"held_up_seconds\":%.6f}",
		sent->achieved, sent->frames, sent->bytes, sent->dropped, (double)sent->time_ns / 1e9,
		(double)sent->held_up_ns / 1e9);
}

void report_json_received(const struct received *received, uint64_t lost)
{
	if (!received) {
		printf("null");
		return;
	}
	printf("{\"frames\":%" PRIu64 ",\"bytes\":%" PRIu64 ",\"lost\":%" PRIu64 ",\"reordered\":%" PRIu64
	       ",\"duplicates\":%" PRIu64 ",\"bad_checksum\":%" PRIu64 ",\"other\":%" PRIu64
	       ",\"other_clock\":%" PRIu64 "}",
		received->frames, received->bytes, lost, received->reordered, received->duplicates,
		received->bad_checksum, received->other, received->other_clock);
}

void report_json_latency(const struct histogram *latency)
{
	if (!latency || !latency->count) {
		printf("null");
		return;
	}
	printf("{\"frames\":%" PRIu64 ",\"min\":%.3f", latency->count, (double)latency->min / 1e3);
	for (size_t i = 0; i < QUANTILES; i++)
		printf(",\"%s\":%.3f", quantiles[i].name,
			(double)histogram_quantile(latency, quantiles[i].part) / 1e3);
	printf(",\"max\":%.3f,\"mean\":%.3f}", (double)latency->max / 1e3,
		(double)histogram_mean(latency) / 1e3);
}
