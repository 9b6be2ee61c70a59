#include "contrib/apps/pktgen/trial.h"

/* After its time a trial goes on for what is late by no more than the tolerance, and a schedule's slack. */
#define SLACK_NS (2 * SCHEDULE_LATE_NS)

static double forwarded(const struct received *received)
{
	uint64_t time = received->last_ns - received->first_ns;

	return received->unique > 1 && time ? (double)(received->unique - 1) * 1e9 / (double)time : 0;
}

/*
 * Frames sent in the last tenth are compared with those of the first, the quickest with the quickest: a queue delays all
 * of them, a pause of some thread only some.
 */
static bool queue_grew(const struct receiver *receiver, double seconds, double tolerance)
{
	if (receiver->early_min == UINT64_MAX || receiver->late_min == UINT64_MAX ||
		receiver->late_min < receiver->early_min)
		return false;
	return (double)(receiver->late_min - receiver->early_min) / 1e9 > seconds * tolerance;
}

struct trial_result trial_run(struct run *run, const struct trial *trial)
{
	struct schedule_config schedule = {.unit = SCHEDULE_FRAMES, .rate = trial->rate};
	struct trial_result result = {0};
	struct receiver *receiver = run->receiver;
	struct sender *sender = run->sender;
	uint16_t number = run_number();
	uint64_t planned = (uint64_t)((double)trial->frames * 1e9 / trial->rate), begin, end;
	bool going = true;

	if (planned > trial->time_ns)
		planned = trial->time_ns;
	receiver_start(receiver, number);
	sender_start(sender, &schedule, trial->frames, number);
	begin = sender->schedule.start_ns;
	end = begin + planned + (uint64_t)((double)planned * trial->tolerance) + SLACK_NS;
	receiver->early_end_ns = begin + planned / 10;
	receiver->late_begin_ns = begin + planned / 10 * 9;
	while (!sender_done(sender) && app_now() < end && going)
		going = app_running() && run_turn(run);
	result.sender_limited = !sender_done(sender);
	sender_end(sender);
	if (going)
		run_linger(run, sender->frames, trial->silence_ns);

	result.interrupted = !going || app_stopped() || run_lost_device();
	result.sent = report_sent(sender, trial->rate);
	result.received = receiver_total(receiver);
	result.lost = report_lost(&result.sent, &result.received);
	result.forwarded = forwarded(&result.received);
	if (result.sent.achieved > 0 && result.sent.achieved < trial->rate * (1 - trial->tolerance))
		result.sender_limited = true;
	result.backlog = queue_grew(receiver, (double)planned / 1e9, trial->tolerance);
	return result;
}
