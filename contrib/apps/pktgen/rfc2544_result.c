#include "contrib/apps/pktgen/rfc2544_result.h"

#include <inttypes.h>
#include <stdio.h>

#include "contrib/apps/app.h"
#include "contrib/apps/pktgen/frame.h"
#include "contrib/apps/pktgen/report.h"

static const char *const bound_names[] = {"nothing passed", "max rate", "loss", "backlog", "sender"};

static void print_throughput(const struct results *all)
{
	printf("\nthroughput: the highest rate without loss\n"
	       "  size    line fps  throughput fps  %% of line     Mbit/s  bound by        trials\n");
	for (unsigned i = 0; i < all->count; i++) {
		const struct result *r = &all->sizes[i];

		printf("%6u  %10.0f  %14.1f  %9.3f  %9.3f  %-14s  %6u\n", r->size, r->line,
			r->throughput.achieved, 100 * r->throughput.achieved / r->line,
			r->throughput.achieved * (r->size + FRAME_GAP) * 8 / 1e6,
			bound_names[r->throughput.bound], r->throughput.trials);
	}
	printf("  bound by sender: the sender, or its own link, could not do more; what is behind it may.\n");
}

static void print_latency(const struct results *all)
{
	printf("\nlatency at that rate, us\n"
	       "  size         min        p50        p90        p99      p99.9        max       mean\n");
	for (unsigned i = 0; i < all->count; i++) {
		const struct histogram *h = all->sizes[i].latency;

		if (!h->count) {
			printf("%6u  nothing passed\n", all->sizes[i].size);
			continue;
		}
		printf("%6u  %10.1f %10.1f %10.1f %10.1f %10.1f %10.1f %10.1f%s\n", all->sizes[i].size,
			(double)h->min / 1e3, (double)histogram_quantile(h, 0.5) / 1e3,
			(double)histogram_quantile(h, 0.9) / 1e3, (double)histogram_quantile(h, 0.99) / 1e3,
			(double)histogram_quantile(h, 0.999) / 1e3, (double)h->max / 1e3,
			(double)histogram_mean(h) / 1e3, all->sizes[i].latency_lost ? "  with loss" : "");
	}
}

static void print_loss(const struct results *all)
{
	printf("\nframe loss\n  size  %% of max     asked fps      sent fps    lost %%\n");
	for (unsigned i = 0; i < all->count; i++)
		for (unsigned p = 0; p < all->sizes[i].points; p++)
			printf("%6u  %8.0f  %12.1f  %12.1f  %8.4f%s\n", all->sizes[i].size,
				all->sizes[i].loss[p].percent, all->sizes[i].loss[p].asked,
				all->sizes[i].loss[p].achieved, all->sizes[i].loss[p].lost,
				all->sizes[i].loss[p].sender_limited ? "  sender-limited" : "");
}

static void print_bursts(const struct results *all)
{
	printf("\nback-to-back: the longest burst without loss, mean of %" PRIu64 "\n"
	       "  size        frames     longest      sent fps\n",
		all->bursts);
	for (unsigned i = 0; i < all->count; i++)
		printf("%6u  %12.1f  %10" PRIu64 "  %12.1f%s\n", all->sizes[i].size,
			all->sizes[i].burst.frames, all->sizes[i].burst.longest, all->sizes[i].burst.rate,
			all->sizes[i].burst.sender_limited ? "  sender-limited" : "");
}

void rfc2544_print_tables(const struct results *all)
{
	printf("RFC 2544: %s to %s, trials of %.1f s%s\n", all->from, all->to, all->seconds,
		all->complete ? "" : ", interrupted");
	if (all->tests & (THROUGHPUT | LATENCY)) {
		print_throughput(all);
		print_latency(all);
	}
	if (all->tests & LOSS)
		print_loss(all);
	if (all->tests & BACK_TO_BACK)
		print_bursts(all);
}

static void json_size(const struct result *r, unsigned tests)
{
	printf("{\"size\":%u,\"line_fps\":%.3f,\"max_fps\":%.3f", r->size, r->line, r->max);
	if (tests & (THROUGHPUT | LATENCY)) {
		printf(",\"throughput\":{\"fps\":%.3f,\"asked_fps\":%.3f,\"mbit\":%.6f,\"bound_by\":\"%s\","
		       "\"trials\":%u},\"latency_us\":",
			r->throughput.achieved, r->throughput.asked,
			r->throughput.achieved * (r->size + FRAME_GAP) * 8 / 1e6,
			bound_names[r->throughput.bound], r->throughput.trials);
		report_json_latency(r->latency);
		printf(",\"latency_lost\":%" PRIu64, r->latency_lost);
	}
	if (tests & LOSS) {
		printf(",\"loss\":[");
		for (unsigned p = 0; p < r->points; p++)
			printf("%s{\"percent\":%.0f,\"asked_fps\":%.3f,\"fps\":%.3f,\"lost_percent\":%.6f,"
			       "\"sender_limited\":%s}",
				p ? "," : "", r->loss[p].percent, r->loss[p].asked, r->loss[p].achieved,
				r->loss[p].lost, r->loss[p].sender_limited ? "true" : "false");
		printf("]");
	}
	if (tests & BACK_TO_BACK)
		printf(",\"back_to_back\":{\"frames\":%.1f,\"longest\":%" PRIu64
		       ",\"fps\":%.3f,\"sender_limited\":%s}",
			r->burst.frames, r->burst.longest, r->burst.rate,
			r->burst.sender_limited ? "true" : "false");
	printf("}");
}

void rfc2544_print_json(const struct results *all)
{
	printf("{\"from\":");
	app_json_string(all->from);
	printf(",\"to\":");
	app_json_string(all->to);
	printf(",\"seconds\":%.3f,\"complete\":%s,\"sizes\":[", all->seconds,
		all->complete ? "true" : "false");
	for (unsigned i = 0; i < all->count; i++) {
		printf("%s", i ? "," : "");
		json_size(&all->sizes[i], all->tests);
	}
	printf("]}\n");
}
