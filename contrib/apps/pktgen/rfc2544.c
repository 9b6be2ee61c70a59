/*
 * The benchmarks of RFC 2544: throughput (26.1), latency (26.2), frame loss rate (26.3) and back-to-back frames (26.4),
 * for each length of frame, from one device through whatever lies between to the other.
 *
 * Throughput is the highest rate at which a trial loses nothing. Two things are asked for beyond the RFC's words, as
 * both would otherwise pass for throughput: that the sender has sent at that rate, and that frames do not wait longer
 * and longer (struct trial_result). What bounds the result is said: loss, a queue that grows, the sender, or the link.
 *
 * Latencies are of all frames of a trial at the rate that was found, not of one of them.
 */
#include "contrib/apps/pktgen/rfc2544.h"

#include <errno.h>
#include <inttypes.h>
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "contrib/apps/pktgen/rfc2544_result.h"
#include "contrib/apps/pktgen/search.h"
#include "contrib/apps/pktgen/trial.h"

#define SECOND       UINT64_C(1000000000)
#define LEARNING     3 /* frames each way before the tests: section 23 */
#define BATCH        32
#define DISTURBANCES 3   /* trials that are not counted, at one rate */
#define CLOSE        0.9 /* part of the rate that must come through for a second try */
#define LEAST        1.0 /* frames a second worth trying */

/* --- what is wanted ------------------------------------------------------------------------------------- */

static uint64_t duration = 10 * SECOND, settle = SECOND, silence = 2 * SECOND, repeat, bursts = 5, max_burst;
static bool json, software_checksum, quiet;
static struct rate max_rate = {.kind = RATE_PERCENT, .value = 100};
static double resolution = 0.005, tolerance = 0.005;
static struct sizes sizes;

static unsigned tests = THROUGHPUT | LATENCY | LOSS | BACK_TO_BACK;

static bool set_sizes(const char *text)
{
	return !strchr(text, ':') && strcmp(text, "imix") != 0 && sizes_parse(text, &sizes);
}

static bool set_max_rate(const char *text)
{
	return rate_parse(text, &max_rate) && max_rate.kind != RATE_MAX;
}

static bool percent(const char *text, double *value)
{
	if (!app_decimal(&text, value))
		return false;
	*value /= 100;
	return (!*text || !strcmp(text, "%")) && *value >= 0.0001 && *value <= 0.5;
}

static bool set_resolution(const char *text)
{
	return percent(text, &resolution);
}

static bool set_tolerance(const char *text)
{
	return percent(text, &tolerance);
}

static bool set_tests(const char *text)
{
	tests = 0;
	for (;;) {
		size_t length = strcspn(text, ",");
		int test = app_choice("throughput|latency|loss|back-to-back", text, length);

		if (test < 0)
			return false;
		tests |= 1u << test;
		if (!text[length])
			return true;
		text += length + 1;
	}
}

static const struct app_option options[] = {
	{'s', "sizes", "SIZES", "lengths with CRC (default 64,128,256,512,1024,1280,1518)", APP_CALL, NULL, 0,
		0, set_sizes},
	{0, "tests", "LIST", "of throughput,latency,loss,back-to-back (default all)", APP_CALL, NULL, 0, 0,
		set_tests},
	{'d', "duration", "TIME", "of a trial", APP_DURATION, &duration, SECOND / 10, 3600 * SECOND, NULL},
	{'r', "max-rate", "RATE",
		"to begin with: N frames a second, N% of the line, Nbit a second (default 100%)", APP_CALL,
		NULL, 0, 0, set_max_rate},
	{0, "resolution", "PERCENT", "of the rate, at which the search ends (default 0.5)", APP_CALL, NULL, 0,
		0, set_resolution},
	{0, "tolerance", "PERCENT", "by which a trial may miss its rate (default 0.5)", APP_CALL, NULL, 0, 0,
		set_tolerance},
	{0, "repeat", "N", "times that a failed trial is tried again (a shared machine)", APP_NUMBER, &repeat,
		0, 100, NULL},
	{0, "bursts", "N", "back-to-back searches to take the mean of", APP_NUMBER, &bursts, 1, 1000, NULL},
	{0, "max-burst", "N", "frames of the longest burst (default: 2 s of them)", APP_NUMBER, &max_burst, 2,
		1000000000, NULL},
	{0, "settle", "TIME", "before each trial", APP_DURATION, &settle, 0, 60 * SECOND, NULL},
	{0, "silence", "TIME", "after which what is missing is lost", APP_DURATION, &silence, SECOND / 100,
		60 * SECOND, NULL},
	{0, "software-checksum", NULL, "do not have the device complete UDP checksums", APP_FLAG,
		&software_checksum, 0, 0, NULL},
	{'j', "json", NULL, "print the result as JSON", APP_FLAG, &json, 0, 0, NULL},
	APP_DEVICE_OPTIONS,
	APP_COMMON_OPTIONS,
};

static const struct app app = {
	.about = "Measure what lies between two devices by the tests of RFC 2544. Progress goes to stderr, "
		 "the result to\n"
		 "stdout. For results to be published the RFC wants --duration 60s --settle 5s --bursts 50.",
	.arguments = "rfc2544 DEVICE DEVICE2",
	.least = 3,
	.most = 3,
	.example = "rfc2544 --sizes 64,1518 --duration 30s 0000:03:00.0 0000:03:00.1",
	.options = options,
};

/* --- what is at work ------------------------------------------------------------------------------------ */

static struct run run;
static struct sender sender;
static struct receiver receiver;
static struct ixy_device *devs[2];

__attribute__((format(printf, 1, 2))) static void progress(const char *format, ...)
{
	va_list args;

	if (quiet)
		return;
	va_start(args, format);
	vfprintf(stderr, format, args);
	va_end(args);
}

/* --- devices -------------------------------------------------------------------------------------------- */

static int open_sender(struct sender *new, unsigned from, uint32_t size)
{
	struct frame_config frames = {.to = {198, 19, 0, 1},
		.from = {198, 18, 0, 1}, /* what RFC 2544, appendix C, has set aside for it */
		.to_port = 7,
		.from_port = 49152,
		.flows = 1,
		.offload = !software_checksum && ixy_capabilities(devs[from]) & IXY_CAP_TX_CSUM};
	struct ixy_mac to = ixy_mac_get(devs[!from]), mine = ixy_mac_get(devs[from]);

	memcpy(frames.to_mac, to.addr, sizeof(to.addr));
	memcpy(frames.from_mac, mine.addr, sizeof(mine.addr));
	*new = (struct sender){.dev = devs[from], .batch = BATCH};
	new->sizes.count = new->sizes.weights = new->sizes.of[0].weight = 1;
	new->sizes.of[0].size = size;
	return sender_open(new, &frames, (uint32_t)app_device.ring);
}

/*
 * The buffers that a transmit ring still holds come back, as the device is done with them: one by one on a slow wire, and
 * by ixy_stop() of a device that has gone.
 */
static void close_sender(struct sender *old)
{
	const struct mempool *pool = old->pool;
	uint64_t since = app_now();

	while (pool->free_count < pool->buf_count && !run_lost_device() && app_now() - since < 10 * SECOND) {
		uint32_t before = pool->free_count;

		ixy_tx_batch(old->dev, 0, NULL, 0);
		if (pool->free_count > before)
			since = app_now();
		usleep(100);
	}
	if (run_lost_device()) {
		run_keeper_stop();
		ixy_stop(old->dev);
	}
	sender_close(old);
}

static void pause_between(uint64_t ns)
{
	uint64_t end = app_now() + ns;
	struct run quiet_run;

	run_open(&quiet_run, NULL, &receiver);
	while (app_now() < end && app_running() && run_turn(&quiet_run))
		;
}

/* Both devices' addresses, to whatever is between and learns them. */
static void send_learning_frames(void)
{
	for (unsigned from = 0; from < 2; from++) {
		struct trial trial = {.rate = 1000,
			.frames = LEARNING,
			.time_ns = SECOND,
			.silence_ns = SECOND / 100,
			.tolerance = 0.5};
		struct run learning;

		app_check_device(open_sender(&sender, from, 64));
		run_open(&learning, &sender, &receiver);
		trial_run(&learning, &trial);
		close_sender(&sender);
	}
}

/* --- the tests ------------------------------------------------------------------------------------------ */

static struct trial_result one_trial(double rate, uint64_t frames, uint64_t time_ns)
{
	struct trial trial = {.rate = rate,
		.frames = frames ? frames : 1,
		.time_ns = time_ns,
		.silence_ns = silence,
		.tolerance = tolerance};

	pause_between(settle);
	return trial_run(&run, &trial);
}

static const char *verdict(const struct trial_result *trial)
{
	if (trial->interrupted)
		return "interrupted";
	if (trial->lost)
		return trial->sender_limited ? "loss, and sender-limited" : "loss";
	if (trial->sender_limited)
		return "sender-limited";
	return trial->backlog ? "backlog" : "passed";
}

/* A trial whose sender was kept off the processor says nothing, not even that the sender is too slow. */
static bool disturbed(const struct trial_result *trial)
{
	return trial->sender_limited && !trial->lost &&
	       (double)trial->sent.held_up_ns > (double)trial->sent.time_ns * tolerance / 2;
}

/* A failed trial is tried again only where that may help: something of the order of the rate came through. */
static struct trial_result rate_trial(double rate, uint64_t time_ns)
{
	struct trial_result trial;
	unsigned disturbances = 0;
	uint64_t tries = 0;

	do {
		trial = one_trial(rate, (uint64_t)(rate * (double)time_ns / SECOND), time_ns);
		progress("  %.1f/s: sent %.1f/s, lost %" PRIu64 " of %" PRIu64 ": %s", rate,
			trial.sent.achieved, trial.lost, trial.sent.frames, verdict(&trial));
		if (disturbed(&trial))
			progress(", held up for %.1f ms", (double)trial.sent.held_up_ns / 1e6);
		progress("\n");
	} while (!trial_passed(&trial) && !trial.interrupted && trial.forwarded > CLOSE * rate &&
		 ((disturbed(&trial) && disturbances++ < DISTURBANCES) || tries++ < repeat));
	return trial;
}

static enum bound why(const struct trial_result *trial)
{
	if (trial->sender_limited)
		return BOUND_SENDER;
	return trial->lost ? BOUND_LOSS : BOUND_BACKLOG;
}

static void find_throughput(struct result *result)
{
	struct search search;
	enum bound bound = BOUND_LINK;
	double rate;

	search_start(&search, result->max, LEAST, resolution);
	while ((rate = search_next(&search)) > 0) {
		struct trial_result trial = rate_trial(rate, duration);
		bool passed = trial_passed(&trial);

		if (trial.interrupted)
			break;
		search_tell(&search, rate, passed, passed ? 0 : trial.forwarded);
		if (passed) {
			result->throughput.asked = rate;
			/* A sender that was late and has caught up sent faster for a while: that is not the rate. */
			result->throughput.achieved = fmax(result->throughput.achieved,
				fmin(rate, fmin(trial.sent.achieved, trial.forwarded)));
			memcpy(result->latency, receiver.latency, sizeof(*result->latency));
		} else {
			bound = why(&trial);
		}
	}
	result->throughput.trials = search.trials;
	result->throughput.bound = search.passed > 0 ? bound : BOUND_NONE;
}

/* A trial of its own, at the rate that was found. */
static void measure_latency(struct result *result)
{
	struct trial_result trial;

	if (result->throughput.asked <= 0)
		return;
	progress("  latency:\n");
	trial = rate_trial(result->throughput.asked, duration);
	result->latency_lost = trial.lost;
	memcpy(result->latency, receiver.latency, sizeof(*result->latency));
}

static void measure_loss(struct result *result)
{
	unsigned clean = 0;

	progress("  loss:\n");
	for (unsigned i = 0; i < RFC2544_POINTS && clean < 2 && !app_stopped(); i++) {
		double part = 1 - (double)i / RFC2544_POINTS;
		struct trial_result trial = rate_trial(result->max * part, duration);

		if (trial.interrupted)
			break;
		result->loss[i].percent = part * 100;
		result->loss[i].asked = result->max * part;
		result->loss[i].achieved = trial.sent.achieved;
		result->loss[i].sender_limited = trial.sender_limited;
		if (trial.sent.frames)
			result->loss[i].lost = 100 * (double)trial.lost / (double)trial.sent.frames;
		result->points++;
		clean = trial.lost || trial.sender_limited ? 0 : clean + 1;
	}
}

/* The longest burst at the highest rate that arrives whole. */
static uint64_t search_burst(struct result *result, double longest, double *rate)
{
	struct search search;
	uint64_t best = 0;
	double frames;

	search_start(&search, longest, 2, resolution);
	while ((frames = search_next(&search)) > 0) {
		uint64_t count = (uint64_t)llround(frames);
		struct trial_result trial = one_trial(
			result->max, count, (uint64_t)((double)count / result->max * SECOND) + 2 * SECOND);
		bool passed = !trial.lost && trial.sent.frames;

		progress("  burst of %" PRIu64 ": sent %" PRIu64 " at %.1f/s, lost %" PRIu64 "%s\n", count,
			trial.sent.frames, trial.sent.achieved, trial.lost,
			trial.sender_limited ? ", sender-limited" : "");
		if (trial.interrupted)
			break;
		search_tell(&search, frames, passed, passed ? 0 : (double)trial.received.unique);
		if (!passed)
			continue;
		best = trial.sent.frames;
		*rate = trial.sent.achieved;
		result->burst.sender_limited |= trial.sender_limited;
	}
	return best;
}

static void measure_bursts(struct result *result)
{
	double longest = max_burst ? (double)max_burst : result->max * 2;
	double frames = 0, rates = 0;
	unsigned done = 0;

	progress("  back-to-back:\n");
	for (unsigned i = 0; i < bursts && !app_stopped(); i++, done++) {
		double rate = 0;
		uint64_t best = search_burst(result, longest, &rate);

		frames += (double)best;
		rates += rate;
		if (best > result->burst.longest)
			result->burst.longest = best;
	}
	result->burst.frames = done ? frames / done : 0;
	result->burst.rate = done ? rates / done : 0;
}

/* 0, or a negative errno with a reason in ixy_last_error(), and nothing measured: the device may have gone just now. */
static int measure_size(struct result *result, uint32_t mbit)
{
	double wire = result->size + FRAME_GAP;
	struct schedule_config schedule = {0};
	int rc;

	result->line = rate_line(mbit, wire);
	rate_schedule(&max_rate, mbit, &schedule);
	result->max = schedule.unit == SCHEDULE_BITS ? schedule.rate / (wire * 8) : schedule.rate;
	if (result->max > result->line)
		result->max = result->line;
	result->latency = app_allocate(1, sizeof(*result->latency));
	progress("%u bytes: line rate %.1f/s, trials of %.1f s, at most %.1f/s\n", result->size, result->line,
		(double)duration / SECOND, result->max);
	rc = open_sender(&sender, 0, result->size);
	if (rc < 0)
		return rc;
	run_open(&run, &sender, &receiver);
	if (tests & (THROUGHPUT | LATENCY))
		find_throughput(result);
	if (tests & LATENCY && !app_stopped())
		measure_latency(result);
	if (tests & LOSS && !app_stopped())
		measure_loss(result);
	if (tests & BACK_TO_BACK && !app_stopped())
		measure_bursts(result);
	close_sender(&sender);
	return 0;
}

/* --- all of it ------------------------------------------------------------------------------------------ */

static int usage(const char *what, const char *why)
{
	fprintf(stderr, "ixy-pktgen: %s: %s\ntry: ixy-pktgen rfc2544 --help\n", what, why);
	return 2;
}

int rfc2544_main(int argc, char **argv)
{
	static struct result results[WORDS_SIZES];
	char **specs = app_begin(&app, argc, argv) + 1;
	struct results all = {
		.tests = tests, .seconds = (double)duration / SECOND, .bursts = bursts, .sizes = results};
	unsigned count = 0;
	uint32_t longest, mbit;
	int rc = 0;

	quiet = app_quiet;
	app_quiet = true; /* the line of rates has no place between trials */
	if (!sizes.count)
		set_sizes("64,128,256,512,1024,1280,1518");
	if (!strcmp(specs[0], specs[1]))
		return usage(specs[1], "the same device twice");
	longest = sizes_longest(&sizes);
	devs[0] = run_open_device(specs[0], longest, sender_buffers(BATCH, (uint32_t)app_device.ring));
	devs[1] = run_open_device(specs[1], longest, 0);
	receiver.dev = devs[1];
	receiver_open(&receiver);
	all.from = ixy_device_name(devs[0]);
	all.to = ixy_device_name(devs[1]);
	app_check_device(ixy_set_promisc(devs[1], true));
	app_await_links(devs, 2);
	run_keeper_start(devs, 2);
	mbit = ixy_link_get(devs[0]).speed;
	send_learning_frames();
	for (; count < sizes.count && app_running() && !run_lost_device() && !rc; count++) {
		results[count].size = sizes.of[count].size;
		rc = measure_size(&results[count], mbit ? mbit : 10000);
	}
	if (rc < 0)
		fprintf(stderr, "ixy-pktgen: %s\n", ixy_last_error());
	all.count = count;
	all.complete = !app_stopped() && !run_lost_device() && !rc;
	if (json)
		rfc2544_print_json(&all);
	else
		rfc2544_print_tables(&all);

	run_keeper_stop();
	for (unsigned i = 0; i < count; i++)
		free(results[i].latency);
	for (unsigned i = 0; i < 2; i++)
		ixy_stop(devs[i]);
	for (unsigned i = 0; i < 2; i++)
		app_close(devs[i]);
	receiver_close(&receiver);
	if (rc < 0)
		return app_device_status(rc);
	return run_lost_device() ? app_device_status(-ENODEV) : app_stopped() ? 1 : 0;
}
