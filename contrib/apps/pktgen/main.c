/*
 * ixy-pktgen: numbered, timed frames at a rate, and what becomes of them.
 *
 *	main.c                  send, receive, or both, as the command line says
 *	rfc2544.c               the tests of RFC 2544 between two devices: search.c says which trial.c comes next
 *	run.c                   the loop: sender.c and receiver.c take turns
 *	sender.c                schedule.c says when, frame.c or replay.c what
 *	receiver.c              sequence.c finds what is missing, histogram.c keeps the latencies
 *	words.c, report.c       arguments, results
 */
#include <arpa/inet.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "contrib/apps/pktgen/report.h"
#include "contrib/apps/pktgen/rfc2544.h"
#include "contrib/apps/pktgen/run.h"

static uint64_t count, batch = 32, burst, seed = 1, flows = 1, to_port = 9, from_port = 49152;
static uint64_t linger = UINT64_C(2000000000);
static const char *to_text, *from_text, *pcap_path;
static bool poisson, original_times, only_receive, json, mac_given;
static unsigned checksum;
static struct rate rate = {.kind = RATE_MAX};
static struct sizes sizes;
static uint8_t to_mac[6] = {2, 0, 0, 0, 0, 2};

enum { CHECKSUM_AUTO, CHECKSUM_OFFLOAD, CHECKSUM_SOFTWARE, CHECKSUM_NONE };

static bool set_sizes(const char *text)
{
	return sizes_parse(text, &sizes);
}

static bool set_rate(const char *text)
{
	return rate_parse(text, &rate);
}

static bool set_mac(const char *text)
{
	mac_given = true;
	return run_parse_mac(text, to_mac);
}

static const struct app_option options[] = {
	{'s', "size", "SIZES", "of frames with CRC: 64, a mix as 64:7,594:4,1518:1, or imix (default 64)",
		APP_CALL, NULL, 0, 0, set_sizes},
	{'r', "rate", "RATE", "N frames a second, N% of the line, Nbit a second, or max (default)", APP_CALL,
		NULL, 0, 0, set_rate},
	{'n', "count", "N", "frames to send or receive, then end", APP_NUMBER, &count, 0, 0, NULL},
	{'b', "batch", "N", "frames a call at most", APP_NUMBER, &batch, 1, SENDER_BATCH, NULL},
	{0, "burst", "N", "send so many back to back, with gaps that keep the rate", APP_NUMBER, &burst, 1,
		1000000, NULL},
	{0, "poisson", NULL, "random gaps, with the rate as their mean", APP_FLAG, &poisson, 0, 0, NULL},
	{0, "seed", "N", "of the random gaps", APP_NUMBER, &seed, 0, 0, NULL},
	{'f', "flows", "N", "flows, by source port, in turn", APP_NUMBER, &flows, 1, FRAME_FLOWS, NULL},
	{'a', "to", "ADDRESS", "IPv4 or IPv6 (default 198.19.0.1)", APP_TEXT, &to_text, 0, 0, NULL},
	{0, "from", "ADDRESS", "source address (default 198.18.0.1, 2001:2::1)", APP_TEXT, &from_text, 0, 0,
		NULL},
	{0, "port", "N", "UDP port to send to", APP_NUMBER, &to_port, 1, 65535, NULL},
	{0, "from-port", "N", "source port of the first flow", APP_NUMBER, &from_port, 1, 65535, NULL},
	{'M', "mac", "MAC", "to send to (default: the second device's)", APP_CALL, NULL, 0, 0, set_mac},
	{0, "checksum", "auto|offload|software|none",
		"who completes UDP checksums: the device if it can, ...", APP_CHOICE, &checksum, 0, 0, NULL},
	{0, "pcap", "FILE", "send the frames of this capture instead, as they are", APP_TEXT, &pcap_path, 0,
		0, NULL},
	{0, "original-times", NULL, "send them at the capture's own times", APP_FLAG, &original_times, 0, 0,
		NULL},
	{'R', "receive", NULL, "only receive", APP_FLAG, &only_receive, 0, 0, NULL},
	{0, "linger", "TIME", "wait for the last frames until none came for so long", APP_DURATION, &linger,
		0, 0, NULL},
	{'j', "json", NULL, "print the result as JSON, and nothing else", APP_FLAG, &json, 0, 0, NULL},
	APP_DEVICE_OPTIONS,
	APP_COMMON_OPTIONS,
};

static const struct app app = {
	.about = "Send numbered UDP datagrams on DEVICE; count loss, order and latency at DEVICE2 (which may "
		 "be the\n"
		 "same one, if something sends the frames back). Or --receive only. Or measure what lies "
		 "between\n"
		 "two devices: ixy-pktgen rfc2544 --help.\n"
		 "A device is 0000:03:00.0 (PCI), xdp:eth1, soft:veth1 or vfio-user:/run/nic.\n"
		 "\n"
		 "  ixy-pktgen --rate 1M --size 64 --time 10s 0000:03:00.0 0000:03:00.1\n"
		 "  ixy-pktgen --rate 50% --size imix --flows 1000 --poisson xdp:eth1\n"
		 "  ixy-pktgen --pcap trace.pcap --original-times --count 100k xdp:eth1\n"
		 "  ixy-pktgen --receive --time 1m --json xdp:eth2\n"
		 "  ixy-pktgen rfc2544 0000:03:00.0 0000:03:00.1",
	.arguments = "DEVICE [DEVICE2]",
	.least = 1,
	.most = 2,
	.example = "--rate 100Mbit --size 1518 --time 10s xdp:eth1 xdp:eth2",
	.options = options,
};

static struct app_rate tx = {.name = "tx"}, rx = {.name = "rx"};

__attribute__((noreturn)) static void wrong(const char *what, const char *why)
{
	fprintf(stderr, "ixy-pktgen: %s: %s\ntry: ixy-pktgen --help\n", what, why);
	exit(2);
}

static void set_addresses(struct frame_config *config)
{
	config->ipv6 = (to_text && strchr(to_text, ':')) || (from_text && strchr(from_text, ':'));
	if (!to_text)
		to_text = config->ipv6 ? "2001:2::2" : "198.19.0.1";
	if (!from_text)
		from_text = config->ipv6 ? "2001:2::1" : "198.18.0.1";
	if (inet_pton(config->ipv6 ? AF_INET6 : AF_INET, to_text, config->to) != 1)
		wrong(to_text, "not an address, or not of the other one's family");
	if (inet_pton(config->ipv6 ? AF_INET6 : AF_INET, from_text, config->from) != 1)
		wrong(from_text, "not an address, or not of the other one's family");
}

/* What can be known before a device is opened. */
static void check_options(unsigned devices, struct frame_config *config)
{
	if (!sizes.count)
		set_sizes("64");
	set_addresses(config);
	if (sizes_shortest(&sizes) - FRAME_CRC < frame_shortest(config->ipv6) && !pcap_path && !only_receive)
		wrong("--size", "a datagram over IPv6 with a stamp is 84 bytes, with CRC");
	if (only_receive && devices > 1)
		wrong("--receive", "takes one device");
	if (only_receive && pcap_path)
		wrong("--pcap", "is for sending, --receive is not");
	if (original_times && !pcap_path)
		wrong("--original-times", "whose? --pcap is missing");
	if (original_times && rate.kind != RATE_MAX)
		wrong("--original-times", "and --rate say both when frames are due");
	if ((burst > 1 || poisson) && rate.kind == RATE_MAX)
		wrong(poisson ? "--poisson" : "--burst", "wants a --rate");
	if (from_port + flows > 65536)
		wrong("--flows", "there are not so many ports from --from-port on");
	config->to_port = (uint16_t)to_port;
	config->from_port = (uint16_t)from_port;
	config->flows = (uint32_t)flows;
}

static void print_result(const struct sender *sender, double asked, struct receiver *receiver)
{
	struct report_sent sent = {0};
	struct received received = {0};
	uint64_t lost = 0;

	if (sender)
		sent = report_sent(sender, asked);
	if (receiver) {
		received = receiver_total(receiver);
		lost = sender && !sender->replay ? report_lost(&sent, &received) : received.lost;
	}
	if (!json) {
		if (sender)
			report_print_sent(&sent);
		if (receiver)
			report_print_received(
				&received, sender && !sender->replay ? &sent : NULL, receiver->latency);
		return;
	}
	printf("{\"sent\":");
	report_json_sent(sender ? &sent : NULL);
	printf(",\"received\":");
	report_json_received(receiver ? &received : NULL, lost);
	printf(",\"latency_us\":");
	report_json_latency(receiver ? receiver->latency : NULL);
	printf("}\n");
}

static bool offload(struct ixy_device *dev)
{
	bool able = ixy_capabilities(dev) & IXY_CAP_TX_CSUM;

	if (checksum == CHECKSUM_OFFLOAD && !able)
		wrong("--checksum offload", "this device does not complete checksums");
	return able && (checksum == CHECKSUM_AUTO || checksum == CHECKSUM_OFFLOAD);
}

/* Everybody's frames at DEVICE2: they are sent to an address that need not be its own. */
static void set_up(char **specs, struct run *run, struct sender *sender, struct receiver *receiver,
	struct frame_config *frames, struct replay *replay)
{
	uint32_t longest = pcap_path ? replay->longest + FRAME_CRC : sizes_longest(&sizes);
	struct ixy_device *first, *second;

	first = run_open_device(specs[0], longest,
		only_receive ? 0 : sender_buffers((uint32_t)batch, (uint32_t)app_device.ring));
	second = only_receive || (specs[1] && !strcmp(specs[0], specs[1])) ? first
		 : specs[1] ? run_open_device(specs[1], longest, 0)
			    : NULL;
	if (second) {
		*receiver = (struct receiver){.dev = second, .rate = &rx, .any_run = only_receive};
		receiver_open(receiver);
		app_check_device(ixy_set_promisc(second, true));
	}
	if (!only_receive) {
		struct ixy_mac mine = ixy_mac_get(first), other = ixy_mac_get(second ? second : first);

		if (second && !mac_given)
			memcpy(to_mac, other.addr, sizeof(to_mac));
		memcpy(frames->to_mac, to_mac, sizeof(to_mac));
		memcpy(frames->from_mac, mine.addr, sizeof(mine.addr));
		frames->offload = offload(first);
		frames->no_checksum = checksum == CHECKSUM_NONE;
		*sender = (struct sender){.dev = first,
			.rate = &tx,
			.batch = (uint32_t)batch,
			.sizes = sizes,
			.replay = pcap_path ? replay : NULL};
		app_check_device(sender_open(sender, pcap_path ? NULL : frames, (uint32_t)app_device.ring));
	}
	run_open(run, only_receive ? NULL : sender, second ? receiver : NULL);
	app_await_links((struct ixy_device *[]){first, second}, second && second != first ? 2 : 1);
	run_keeper_start((struct ixy_device *[]){first, second}, second && second != first ? 2 : 1);
}

static void tear_down(struct run *run)
{
	struct ixy_device *sends = run->sender ? run->sender->dev : NULL;
	struct ixy_device *receives = run->receiver ? run->receiver->dev : NULL;

	if (sends) {
		ixy_stop(sends);
		sender_close(run->sender);
		app_close(sends);
	}
	if (receives && receives != sends)
		app_close(receives);
	if (receives)
		receiver_close(run->receiver);
}

/* Frames a second that a schedule stands for. */
static double asked_for(const struct schedule_config *schedule, const struct replay *replay)
{
	double wire =
		replay ? (double)replay->bytes / (double)replay->count + FRAME_WIRE : sizes_mean_wire(&sizes);

	switch (schedule->unit) {
	case SCHEDULE_TIMES: /* of a capture, as the options say */
		return replay && replay_period_ns(replay)
			       ? (double)replay->count * 1e9 / (double)replay_period_ns(replay)
			       : 0;
	case SCHEDULE_FRAMES: return schedule->rate;
	case SCHEDULE_BITS: return schedule->rate / (wire * 8);
	case SCHEDULE_MAX: break;
	}
	return 0;
}

static void measure(struct run *run, const struct replay *replay)
{
	struct schedule_config schedule = {.burst = (uint32_t)burst, .poisson = poisson, .seed = seed};
	uint16_t number = run_number();
	struct sender *sender = run->sender;

	if (run->receiver)
		receiver_start(run->receiver, number);
	if (sender) {
		uint32_t mbit = ixy_link_get(sender->dev).speed;

		rate_schedule(&rate, mbit ? mbit : 10000, &schedule);
		if (original_times)
			schedule.unit = SCHEDULE_TIMES;
		sender_start(sender, &schedule, count, number);
	}
	while (app_running() && run_turn(run)) {
		if (sender && sender_done(sender))
			break;
		if (!sender && count && run->receiver->total.frames >= count)
			break;
	}
	if (sender)
		sender_end(sender);
	if (run->receiver && sender && !run_lost_device())
		run_linger(run, replay ? 0 : sender->frames, linger);
	/* What the ring still holds has left, or not, when the device says so. */
	for (uint64_t end = app_now() + linger;
		sender && !run_lost_device() && ixy_tx_pending(sender->dev, 0) && app_now() < end;)
		run_turn(run);
	print_result(sender, sender ? asked_for(&sender->schedule.config, replay) : 0, run->receiver);
}

int main(int argc, char **argv)
{
	static struct app_rate *rates[3];
	struct frame_config frames = {0};
	struct replay replay = {0};
	struct receiver receiver;
	struct sender sender;
	struct run run;
	char **specs, error[256];
	unsigned devices = 1;
	int status;

	if (argc > 1 && !strcmp(argv[1], "rfc2544"))
		return rfc2544_main(argc, argv);
	specs = app_begin(&app, argc, argv);
	if (specs[1])
		devices = 2;
	check_options(devices, &frames);
	if (pcap_path && replay_open(&replay, pcap_path, error) < 0) {
		fprintf(stderr, "ixy-pktgen: %s\n", error);
		return 1;
	}
	if (replay.skipped)
		fprintf(stderr, "ixy-pktgen: %s: %llu frames left out: cut short, or too long\n", pcap_path,
			(unsigned long long)replay.skipped);
	app_quiet |= json;
	set_up(specs, &run, &sender, &receiver, &frames, &replay);
	rates[0] = run.sender ? &tx : &rx;
	rates[1] = run.sender && run.receiver ? &rx : NULL;
	app_rates(rates);
	measure(&run, pcap_path ? &replay : NULL);
	run_keeper_stop();
	status = run_lost_device() ? app_device_status(-ENODEV) : 0;
	tear_down(&run);
	if (pcap_path)
		replay_close(&replay);
	return status;
}
