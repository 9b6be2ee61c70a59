/*
 * Capture what a device receives into a pcapng file, for tshark, Wireshark, tcpdump.
 *
 *	device -> ixy_rx_batch() -> filter (BPF) -> record in memory -> a thread that writes (pcap/writer.c)
 *
 * This loop never waits for the disk: when that is too slow for longer than the memory lasts, frames are dropped here
 * and counted, not in the NIC where nobody would know which. A frame's time is when its batch was taken from the
 * ring, one clock for all queues, so times never go back. What was lost, and why, is in the file's last block.
 */
#include <errno.h>
#include <fcntl.h>
#include <pcap/pcap.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "contrib/apps/app.h"
#include "contrib/apps/app_device.h"
#include "contrib/apps/pcap/pcapng.h"
#include "contrib/apps/pcap/writer.h"
#include "driver/ixy.h"

#define BATCH     64
#define MAX_FRAME 65535
#define EVENTS_NS UINT64_C(100000000) /* between two looks at the device's own counters and link */
#define NAP_NS    100000              /* of a device without interrupts */
#define RING      4096                /* a device buffers what comes while others have our CPU */

static uint64_t snaplen = MAX_FRAME, memory = 16 << 20, most_frames, most_bytes;
static const char *filter;
static bool no_promisc;

static const struct app_option options[] = {
	{'f', "filter", "EXPRESSION", "only these frames, as in pcap-filter(7)", APP_TEXT, &filter, 0, 0,
		NULL},
	{'n', "count", "N", "end after so many frames in the file", APP_NUMBER, &most_frames, 0, 0, NULL},
	{0, "size", "SIZE", "end before the file is longer", APP_SIZE, &most_bytes, 0, 0, NULL},
	{'s', "snaplen", "N", "bytes to keep of a frame", APP_NUMBER, &snaplen, 14, MAX_FRAME, NULL},
	{'b', "buffer", "SIZE", "memory for what the disk has yet to take", APP_SIZE, &memory,
		2 * WRITER_CHUNK, UINT64_C(16) << 30, NULL},
	{0, "no-promisc", NULL, "only frames for the device's own addresses", APP_FLAG, &no_promisc, 0, 0,
		NULL},
	APP_DEVICE_OPTIONS,
	APP_COMMON_OPTIONS,
};

static const struct app app = {
	.about = "Capture what a device receives into a pcapng file; - is the standard output.\n"
		 "A device is 0000:03:00.0 (PCI), xdp:eth1, soft:veth1 or vfio-user:/run/nic. Nobody else "
		 "gets\n"
		 "its frames meanwhile.",
	.arguments = "DEVICE FILE",
	.least = 2,
	.most = 2,
	.example = "--filter 'tcp port 443' --time 10s 0000:03:00.0 out.pcapng",
	.options = options,
};

struct capture {
	struct ixy_device *dev;
	const char *file; /* for messages */
	struct writer *writer;
	struct bpf_program program; /* the filter; bf_len 0: none */
	uint64_t epoch;             /* what to add to CLOCK_MONOTONIC to get nanoseconds since 1970 */
	uint64_t start, now;        /* so many */
	uint64_t accepted;          /* frames that passed the filter */
	uint64_t lost;              /* of these, no memory for them */
	uint64_t size;              /* bytes for the file, without its end block */
	struct app_idle idle;
	struct app_rate rate;
	bool full;  /* as many frames or bytes as were asked for */
	int status; /* the exit code when it is over with the device, or 0 */
};

/* --- the file ------------------------------------------------------------------------------------------- */

/* What goes wrong with the file rather than with the device. */
static void __attribute__((noreturn)) fail(const char *what, const char *why)
{
	fprintf(stderr, "%s: %s: %s\n", program_invocation_short_name, what, why);
	exit(1);
}

/* It keeps what it holds until the device is open, too: a typing error must not cost a capture. */
static int open_file(struct capture *capture, const char *path)
{
	int fd;

	if (strcmp(path, "-")) {
		capture->file = path;
		fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0666);
	} else {
		capture->file = "standard output";
		if (isatty(STDOUT_FILENO))
			fail(capture->file, "it is a terminal; redirect it, or name a file");
		/* What is said from here on must not come between the frames. */
		fd = fcntl(STDOUT_FILENO, F_DUPFD_CLOEXEC, STDERR_FILENO + 1);
		if (fd >= 0 && dup2(STDERR_FILENO, STDOUT_FILENO) < 0)
			fd = -1;
	}
	if (fd < 0)
		fail(capture->file, strerror(errno));
	return fd;
}

/* The first two blocks. */
static void begin_file(struct capture *capture)
{
	struct pcapng_interface interface = {
		.program = "ixy-pcap " IXY_VERSION,
		.name = ixy_device_name(capture->dev),
		.description = ixy_driver_name(capture->dev),
		.filter = filter,
		.bits_per_second = UINT64_C(1000000) * ixy_link_get(capture->dev).speed,
		.snaplen = (uint32_t)snaplen,
	};
	struct ixy_mac mac = ixy_mac_get(capture->dev);
	uint8_t start[PCAPNG_MAX_START];

	memcpy(interface.mac, mac.addr, sizeof(interface.mac));
	capture->size = pcapng_start(start, &interface);
	memcpy(writer_record(capture->writer, capture->size), start, capture->size);
}

/* --- the filter ----------------------------------------------------------------------------------------- */

static void compile_filter(struct capture *capture)
{
	pcap_t *handle = pcap_open_dead(DLT_EN10MB, MAX_FRAME);

	if (!handle)
		fail("libpcap", "no memory");
	if (pcap_compile(handle, &capture->program, filter, 1, PCAP_NETMASK_UNKNOWN) < 0)
		fail(filter, pcap_geterr(handle));
	pcap_close(handle);
}

/* --- frames --------------------------------------------------------------------------------------------- */

/* The first size bytes of a frame, which may lie in several buffers. */
static void copy_frame(uint8_t *to, const struct pkt_buf *frame, uint32_t size)
{
	for (; size && frame; frame = frame->next) {
		uint32_t part = frame->size < size ? frame->size : size;

		memcpy(to, frame->data, part);
		to += part;
		size -= part;
	}
}

static bool wanted(const struct capture *capture, const struct pkt_buf *frame)
{
	static uint8_t whole[MAX_FRAME];
	const uint8_t *data = frame->data;
	uint32_t size = frame->size;

	if (!capture->program.bf_len)
		return true;
	if (frame->next) {
		data = whole;
		size = frame->frame_size < MAX_FRAME ? frame->frame_size : MAX_FRAME;
		copy_frame(whole, frame, size);
	}
	return bpf_filter(capture->program.bf_insns, data, frame->frame_size, size);
}

static void take_frame(struct capture *capture, const struct pkt_buf *frame)
{
	uint32_t captured = frame->frame_size < snaplen ? frame->frame_size : (uint32_t)snaplen;
	uint32_t size = pcapng_frame_size(captured);
	uint8_t *record;

	if (capture->full || !wanted(capture, frame))
		return;
	capture->full = most_bytes && capture->size + size + PCAPNG_MAX_END > most_bytes;
	if (capture->full)
		return;
	capture->accepted++;
	record = writer_record(capture->writer, size);
	if (!record) {
		capture->lost++;
		return;
	}
	copy_frame(pcapng_frame(record, capture->now, captured, frame->frame_size), frame, captured);
	capture->size += size;
	app_count(&capture->rate, 1, frame->frame_size);
	capture->full = most_frames && capture->accepted - capture->lost >= most_frames;
}

/* Whether there was any frame. */
static bool take_batch(struct capture *capture, uint16_t queue)
{
	struct pkt_buf *bufs[BATCH];
	uint32_t n = ixy_rx_batch(capture->dev, queue, bufs, BATCH);

	capture->now = capture->epoch + app_now();
	for (uint32_t i = 0; i < n; i++)
		take_frame(capture, bufs[i]);
	pkt_buf_free_batch(bufs, n);
	return n;
}

static bool take_all(struct capture *capture)
{
	bool any = false;

	for (uint16_t queue = 0; queue < ixy_rx_queues(capture->dev); queue++)
		any |= take_batch(capture, queue);
	return any;
}

/* --- losses --------------------------------------------------------------------------------------------- */

/* Sum up what the device lost on the way in; comment: each reason with its number, and ours. */
static uint64_t nic_drops(
	const struct capture *capture, const struct ixy_stats *stats, char *comment, size_t size)
{
	uint64_t sum = 0;
	int at = snprintf(comment, size, "lost: buffer-full %llu", (unsigned long long)capture->lost);

	for (unsigned reason = IXY_DROP_RX_NO_DESCRIPTOR; reason <= IXY_DROP_RX_RESET; reason++) {
		sum += stats->drops[reason];
		at += snprintf(comment + at, size - (size_t)at, ", %s %llu",
			ixy_drop_name((enum ixy_drop)reason), (unsigned long long)stats->drops[reason]);
	}
	return sum;
}

/* The device's housekeeping. What has been captured is worth its end, whatever becomes of the device. */
static void attend_device(struct capture *capture)
{
	uint32_t events = app_poll_events(capture->dev);
	struct ixy_stats stats;
	char comment[512];

	if (events & IXY_EVENT_GONE)
		capture->status = app_device_status(-ENODEV);
	else if (events & IXY_EVENT_RESET && ixy_reset(capture->dev) < 0) {
		fprintf(stderr, "%s: %s\n", program_invocation_short_name, ixy_last_error());
		capture->status = app_device_status(-EIO);
	}
	ixy_read_stats(capture->dev, &stats);
	atomic_store(
		&capture->rate.drops, capture->lost + nic_drops(capture, &stats, comment, sizeof(comment)));
}

/* --- the capture ---------------------------------------------------------------------------------------- */

static void open_device(struct capture *capture, const char *spec)
{
	capture->dev = app_open(spec, &(struct ixy_options){.rx_ring = app_device.ring ? 0 : RING});
	for (uint16_t queue = 0; queue < ixy_rx_queues(capture->dev); queue++)
		app_idle_add(&capture->idle, capture->dev, queue);
	if (!no_promisc)
		app_check_device(ixy_set_promisc(capture->dev, true));
	app_await_links(&capture->dev, 1);
}

static void run(struct capture *capture)
{
	uint64_t next_events = 0;

	while (app_running() && !capture->full && !capture->status && !writer_failed(capture->writer)) {
		if (take_all(capture)) {
			app_busy(&capture->idle);
		} else {
			writer_idle(capture->writer);
			app_rest(&capture->idle, APP_QUIET);
		}
		if (capture->now >= next_events) {
			next_events = capture->now + EVENTS_NS;
			attend_device(capture);
		}
	}
	if (capture->status)
		return;
	/* What has been received is still wanted, but nothing more. */
	ixy_shut(capture->dev);
	while (!capture->full && take_all(capture))
		;
}

/* The last block, and what there is to say. Returns what main() returns. */
static int end(struct capture *capture)
{
	struct ixy_stats stats;
	struct pcapng_statistics statistics = {.start = capture->start, .end = capture->now};
	char comment[512];
	uint8_t block[PCAPNG_MAX_END];
	int err, close_err;

	attend_device(capture);
	ixy_read_stats(capture->dev, &stats);
	err = writer_finish(capture->writer, &statistics.delivered);
	statistics.nic_drops = nic_drops(capture, &stats, comment, sizeof(comment));
	statistics.received = stats.rx_frames + statistics.nic_drops;
	statistics.accepted = capture->accepted;
	statistics.os_drops = capture->accepted - statistics.delivered;
	statistics.comment = comment;
	close_err = writer_close(capture->writer, block, pcapng_end(block, &statistics));
	err = err ? err : close_err;

	app_end();
	printf("%s: %llu frames received, %llu passed the filter, %llu in the file; %s\n",
		ixy_device_name(capture->dev), (unsigned long long)statistics.received,
		(unsigned long long)capture->accepted, (unsigned long long)statistics.delivered, comment);
	/* A reader that has seen enough is no failure. */
	if (!err || err == -EPIPE)
		return capture->status;
	fprintf(stderr, "%s: %s: %s; %llu frames are in it\n", program_invocation_short_name, capture->file,
		strerror(-err), (unsigned long long)statistics.delivered);
	return 1;
}

int main(int argc, char **argv)
{
	char **arguments = app_begin(&app, argc, argv);
	static struct capture capture = {.rate.name = "captured"};
	struct app_rate *const rates[] = {&capture.rate, NULL};
	struct timespec epoch;
	int fd, status;

	signal(SIGPIPE, SIG_IGN);
	if (filter)
		compile_filter(&capture);
	fd = open_file(&capture, arguments[1]);
	open_device(&capture, arguments[0]);
	if (strcmp(arguments[1], "-") && ftruncate(fd, 0) < 0 && errno != EINVAL) /* a pipe or the like */
		fail(capture.file, strerror(errno));
	capture.writer = writer_open(fd, memory);
	clock_gettime(CLOCK_REALTIME, &epoch);
	capture.epoch = (uint64_t)epoch.tv_sec * 1000000000 + (uint64_t)epoch.tv_nsec - app_now();
	capture.start = capture.now = capture.epoch + app_now();
	begin_file(&capture);
	printf("%s: capturing to %s\n", arguments[0], capture.file);

	app_rates(rates);
	run(&capture);
	status = end(&capture);

	if (filter)
		pcap_freecode(&capture.program);
	ixy_stop(capture.dev);
	app_close(capture.dev);
	return status;
}
