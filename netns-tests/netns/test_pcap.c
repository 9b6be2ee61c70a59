/*
 * ixy-pcap: what it writes is what came in, whole, in order, with times; it ends when it was asked to, and whatever
 * happens to the file, what is in it can be read and what is not is counted.
 *
 *	namespace peer			namespace host
 *	p0 =========================== d0	ixy-pcap on soft:d0 or xdp:d0, the test's own socket on p0
 *
 * Files are read by libpcap, which is not what wrote them, and by tshark. The last block, which libpcap passes over, is
 * read here (pcapng 4.6).
 */
#include "rig.h"

#include <pcap/pcap.h>
#include <signal.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#define SECONDS   20
#define FRAMES    500
#define MAX_SIZE  1514
#define ONLY_TEST "--filter \"ether proto 0x88b5\"" /* and not what the peer's own stack says */

static const uint8_t mac_a[6] = {2, 0, 0, 0, 0, 0xa}, mac_b[6] = {2, 0, 0, 0, 0, 0xb};

/* --- running it ----------------------------------------------------------------------------------------- */

static const char *in_folder(const char *name)
{
	static char path[160];

	snprintf(path, sizeof(path), "%s/%s", commands_folder(), name);
	return path;
}

static bool has_said(struct process *p, const char *text)
{
	return strstr(process_stdout(p), text) || strstr(process_stderr(p), text);
}

/* Each text is valid until the next is asked for. */
static void fail_with_words_of(struct process *p, const char *what)
{
	print_error("%s", process_stdout(p));
	print_error("%s", process_stderr(p));
	fail_msg("%s: %s", p->name, what);
}

static void await(struct process *p, const char *text)
{
	if (!wait_for(SECONDS, has_said(p, text) || !process_running(p)) || !has_said(p, text))
		fail_with_words_of(p, text);
}

/* The command line of a capture from the rig's device. */
static const char *command_line(struct rig *rig, const char *options, const char *file)
{
	static char line[512];

	snprintf(line, sizeof(line), "%s --quiet %s %s %s", rig_program("ixy-pcap"), options, rig_device(rig),
		file);
	return line;
}

/* On return it captures. */
static struct process *start(struct rig *rig, const char *options, const char *file)
{
	struct process *pcap =
		process_start("ixy-pcap", rig->host, "exec %s", command_line(rig, options, file));

	await(pcap, "capturing to");
	return pcap;
}

/* It has ended by itself, or is ended by SIGINT, with this status. */
static void assert_ended(struct process *pcap, int status)
{
	int got = process_wait(pcap, SECONDS * slow_factor());

	if (got != status)
		fail_with_words_of(pcap, "another status");
	process_assert_sane(pcap);
	assert_null(strstr(process_stderr(pcap), "violation"));
}

static void interrupt(struct process *pcap)
{
	assert_true(process_running(pcap));
	assert_int_equal(kill(pcap->pid, SIGINT), 0);
	assert_ended(pcap, 0);
}

/* Send frames with the numbers from first on; the sizes go through all that there are between least and most. */
static void send_frames(struct rig *rig, unsigned first, unsigned count, size_t least, size_t most)
{
	uint8_t frame[16384];
	int fd = raw_open(rig->peer, "p0");

	for (unsigned i = first; i < first + count; i++) {
		size_t size = least + (size_t)i * 37 % (most - least + 1);

		frame_test(frame, size, mac_a, mac_b, i);
		raw_send(fd, frame, size);
	}
	close(fd);
}

/* --- what is in a file ---------------------------------------------------------------------------------- */

#define NANOSECONDS UINT64_C(1000000000)

static uint64_t realtime_ns(void)
{
	struct timespec now;

	clock_gettime(CLOCK_REALTIME, &now);
	return (uint64_t)now.tv_sec * NANOSECONDS + (uint64_t)now.tv_nsec;
}

struct contents {
	unsigned frames;      /* of ETHERTYPE_TEST */
	unsigned others;      /* what the peer's stack sent */
	uint64_t first, last; /* their times */
};

/*
 * All frames of the file, which has to be whole: those of the test are the numbers from 0 on, byte by byte as
 * send_frames() sent them, or their first snaplen bytes; times do not go back.
 */
static struct contents assert_frames(const char *path, size_t least, size_t most, size_t snaplen)
{
	char error[PCAP_ERRBUF_SIZE] = "";
	pcap_t *file = pcap_open_offline_with_tstamp_precision(path, PCAP_TSTAMP_PRECISION_NANO, error);
	struct contents contents = {0};
	struct pcap_pkthdr *header;
	const u_char *data;
	int rc;

	if (!file)
		fail_msg("%s: %s", path, error);
	assert_int_equal(pcap_datalink(file), DLT_EN10MB);
	while ((rc = pcap_next_ex(file, &header, &data)) == 1) {
		uint64_t time = (uint64_t)header->ts.tv_sec * NANOSECONDS + (uint64_t)header->ts.tv_usec;
		size_t size = least + (size_t)contents.frames * 37 % (most - least + 1);
		uint8_t expected[16384];

		assert_true(time >= contents.last);
		contents.last = time;
		if (!contents.first)
			contents.first = time;
		if (frame_type(data, header->caplen) != ETHERTYPE_TEST) {
			contents.others++;
			continue;
		}
		frame_test(expected, size, mac_a, mac_b, contents.frames++);
		assert_int_equal(header->len, size);
		assert_int_equal(header->caplen, size < snaplen ? size : snaplen);
		assert_memory_equal(data, expected, header->caplen);
	}
	if (rc != PCAP_ERROR_BREAK)
		fail_msg("%s after %u frames: %s", path, contents.frames, pcap_geterr(file));
	pcap_close(file);
	return contents;
}

/* The numbers of the statistics block, by the codes of its options. */
struct statistics {
	unsigned frames; /* frame blocks in the file */
	uint64_t option
		[9]; /* 4: received, 5: NIC's drops, 6: passed the filter, 7: our drops, 8: in the file */
	char comment[512];
};
enum { RECEIVED = 4, NIC_DROPS = 5, ACCEPTED = 6, OUR_DROPS = 7, IN_FILE = 8 };

static void read_options(const uint8_t *next, const uint8_t *end, struct statistics *statistics)
{
	while (next + 4 <= end) {
		uint16_t head[2];

		memcpy(head, next, sizeof(head));
		next += sizeof(head);
		if (!head[0])
			return;
		assert_true(next + head[1] <= end);
		if (head[0] == 1)
			snprintf(statistics->comment, sizeof(statistics->comment), "%.*s", head[1], next);
		else if (head[0] < 9 && head[1] == 8)
			memcpy(&statistics->option[head[0]], next, 8);
		next += (head[1] + 3u) & ~3u;
	}
	fail_msg("the statistics have no end of options");
}

/* Walk the blocks from the first to the last, which are the statistics. */
static struct statistics read_statistics(const char *path)
{
	struct statistics statistics = {0};
	uint32_t last_type = 0;
	struct stat status;
	uint8_t *bytes;
	FILE *file = fopen(path, "r");

	assert_non_null(file);
	assert_int_equal(fstat(fileno(file), &status), 0);
	bytes = malloc((size_t)status.st_size);
	assert_non_null(bytes);
	assert_int_equal(fread(bytes, 1, (size_t)status.st_size, file), status.st_size);
	fclose(file);
	for (uint8_t *block = bytes; block < bytes + status.st_size;) {
		uint32_t head[2], tail;

		memcpy(head, block, sizeof(head));
		assert_true(head[1] >= 12 && head[1] % 4 == 0 && head[1] <= bytes + status.st_size - block);
		memcpy(&tail, block + head[1] - 4, sizeof(tail));
		assert_int_equal(tail, head[1]);
		statistics.frames += head[0] == 6;
		if (head[0] == 5)
			read_options(block + 20, block + head[1] - 4, &statistics);
		last_type = head[0];
		block += head[1];
	}
	free(bytes);
	assert_int_equal(last_type, 5);
	assert_int_equal(statistics.option[IN_FILE], statistics.frames);
	assert_int_equal(statistics.option[ACCEPTED], statistics.frames + statistics.option[OUR_DROPS]);
	return statistics;
}

/* --- tests ---------------------------------------------------------------------------------------------- */

static void frames_are_in_the_file_byte_by_byte_with_their_times_until_sigint(void **state)
{
	struct rig *rig = *state;
	const char *path = in_folder("frames.pcapng");
	struct process *pcap = start(rig, "", path);
	uint64_t before = realtime_ns();
	struct contents contents;
	struct statistics statistics;

	send_frames(rig, 0, FRAMES, 60, MAX_SIZE);
	/* The last one is in the file without anything more coming: the writer is told when the wire falls silent. */
	assert_soon(SECONDS,
		command(NULL, "test $(tshark -r %s -Y 'eth.type == 0x88b5' 2>/dev/null | wc -l) = %u", path,
			FRAMES) == 0);
	interrupt(pcap);
	contents = assert_frames(path, 60, MAX_SIZE, SIZE_MAX);
	assert_int_equal(contents.frames, FRAMES);
	/* The program's clock began a moment before ours was asked, and may have been set since: not by much. */
	assert_true(
		contents.first > before - NANOSECONDS * 60 && contents.last < realtime_ns() + NANOSECONDS);
	statistics = read_statistics(path);
	assert_int_equal(statistics.frames, FRAMES + contents.others);
	assert_int_equal(statistics.option[RECEIVED], statistics.frames);
	assert_int_equal(statistics.option[NIC_DROPS], 0);
	assert_int_equal(statistics.option[OUR_DROPS], 0);
	assert_non_null(strstr(statistics.comment, "rx-no-descriptor 0"));
	command_ok(NULL, "capinfos -M %s", path);
	assert_non_null(strstr(command_output(), "nanoseconds (9)"));
	assert_non_null(strstr(command_output(), "Strict time order:   True"));
	assert_non_null(strstr(command_output(), "Name = "));
}

static void it_ends_after_so_many_frames(void **state)
{
	struct rig *rig = *state;
	const char *path = in_folder("count.pcapng");
	struct process *pcap = start(rig, "--count 100 " ONLY_TEST, path);

	send_frames(rig, 0, FRAMES, 60, MAX_SIZE);
	assert_ended(pcap, 0);
	assert_int_equal(assert_frames(path, 60, MAX_SIZE, SIZE_MAX).frames, 100);
	assert_int_equal(read_statistics(path).frames, 100);
}

static void it_ends_before_the_file_is_too_long(void **state)
{
	struct rig *rig = *state;
	const char *path = in_folder("size.pcapng");
	struct process *pcap = start(rig, "--size 40K " ONLY_TEST, path);
	struct stat status;

	send_frames(rig, 0, FRAMES, 60, MAX_SIZE);
	assert_ended(pcap, 0);
	assert_int_equal(stat(path, &status), 0);
	assert_in_range(status.st_size, 30 << 10, 40 << 10);
	assert_int_equal(assert_frames(path, 60, MAX_SIZE, SIZE_MAX).frames, read_statistics(path).frames);
}

static void a_frame_that_is_not_wanted_does_not_make_the_file_too_long(void **state)
{
	struct rig *rig = *state;
	const char *path = in_folder("unwanted.pcapng");
	/* What is left for frames is less than 1000 bytes. */
	struct process *pcap = start(rig, "--size 3K " ONLY_TEST, path);
	uint8_t frame[1514];
	int fd = raw_open(rig->peer, "p0");

	raw_send(fd, frame, frame_udp4(frame, mac_a, mac_b, "192.0.2.1", "192.0.2.2", 1, 2, 1000));
	close(fd);
	send_frames(rig, 0, FRAMES, 60, 60);
	assert_ended(pcap, 0);
	assert_in_range(assert_frames(path, 60, 60, SIZE_MAX).frames, 5, 1000 / 60);
}

static void the_file_is_whole_when_the_device_goes(void **state)
{
	struct rig *rig = *state;
	const char *path = in_folder("gone.pcapng");
	struct process *pcap =
		process_start("ixy-pcap", rig->host, "exec %s xdp:d0 %s", rig_program("ixy-pcap"), path);

	await(pcap, "capturing to");
	send_frames(rig, 0, 10, 60, 60);
	assert_soon(SECONDS,
		command(NULL, "test $(tshark -r %s -Y 'eth.type == 0x88b5' 2>/dev/null | wc -l) = 10",
			path) == 0);
	command_ok(rig->peer, "ip link del p0");
	assert_ended(pcap, 69);
	assert_int_equal(assert_frames(path, 60, 60, SIZE_MAX).frames, 10);
	assert_in_range(read_statistics(path).frames, 10, 1000);
}

static void it_ends_after_a_time(void **state)
{
	struct rig *rig = *state;
	const char *path = in_folder("time.pcapng");
	struct process *pcap = start(rig, "--time 300ms " ONLY_TEST, path);

	assert_ended(pcap, 0);
	assert_int_equal(read_statistics(path).frames, 0);
}

static void a_filter_lets_only_what_it_names_into_the_file(void **state)
{
	struct rig *rig = *state;
	const char *path = in_folder("filter.pcapng");
	struct process *pcap = start(rig, "--filter 'udp dst port 4789 or ether[1000] = 7'", path);
	uint8_t frame[1514];
	int fd = raw_open(rig->peer, "p0");
	struct statistics statistics;

	for (uint16_t port = 4780; port < 4800; port++)
		raw_send(fd, frame, frame_udp4(frame, mac_a, mac_b, "192.0.2.1", "192.0.2.2", 1, port, 100));
	memset(frame, 0, sizeof(frame));
	frame_test(frame, 60, mac_a, mac_b, 0); /* shorter than what is asked for */
	raw_send(fd, frame, 60);
	for (uint8_t value = 0; value < 10; value++) {
		frame_test(frame, sizeof(frame), mac_a, mac_b, 0);
		frame[1000] = value;
		raw_send(fd, frame, sizeof(frame));
	}
	assert_soon(SECONDS, command(NULL, "test $(tshark -r %s 2>/dev/null | wc -l) -ge 2", path) == 0);
	close(fd);
	interrupt(pcap);
	statistics = read_statistics(path);
	assert_int_equal(statistics.frames, 2);
	assert_true(statistics.option[RECEIVED] >= 31);
	assert_int_equal(
		command_number(NULL, "tshark -r %s -Y 'udp.dstport == 4789' 2>/dev/null | wc -l", path), 1);
}

static void a_wrong_filter_or_file_is_named_and_the_old_file_stays(void **state)
{
	struct rig *rig = *state;
	const char *path = in_folder("old.pcapng");

	assert_int_equal(command(rig->host, "%s", command_line(rig, "--filter 'tcp prot 443'", path)), 1);
	assert_non_null(strstr(command_output(), "tcp prot 443: "));
	assert_int_equal(command(rig->host, "%s", command_line(rig, "", "/nowhere/file")), 1);
	assert_non_null(strstr(command_output(), "/nowhere/file: No such file or directory"));
	command_ok(NULL, "echo old >%s", path);
	assert_int_not_equal(command(rig->host, "%s xdp:nothere %s", rig_program("ixy-pcap"), path), 0);
	assert_non_null(strstr(command_output(), "nothere"));
	command_ok(NULL, "test \"$(cat %s)\" = old", path);
}

static void a_snaplen_cuts_frames_and_keeps_their_length(void **state)
{
	struct rig *rig = *state;
	const char *path = in_folder("snaplen.pcapng");
	struct process *pcap = start(rig, "--count 200 --snaplen 97 " ONLY_TEST, path);

	send_frames(rig, 0, 200, 60, 300);
	assert_ended(pcap, 0);
	assert_int_equal(assert_frames(path, 60, 300, 97).frames, 200);
}

static void frames_of_several_buffers_are_whole(void **state)
{
	struct rig *rig = *state;
	const char *path = in_folder("jumbo.pcapng");
	struct process *pcap;

	command_ok(rig->peer, "ip link set p0 mtu 9000");
	command_ok(rig->host, "ip link set d0 mtu 9000");
	pcap = start(rig, "--mtu 9000 --count 100 " ONLY_TEST, path);
	send_frames(rig, 0, 100, 60, 9014);
	assert_ended(pcap, 0);
	assert_int_equal(assert_frames(path, 60, 9014, SIZE_MAX).frames, 100);
}

static void a_full_disk_is_an_error_and_what_is_in_the_file_can_be_read(void **state)
{
	struct rig *rig = *state;
	char path[160], disk[170], file[180], expected[256];
	struct process *pcap;
	struct statistics statistics;
	struct stat status;

	snprintf(path, sizeof(path), "%s", in_folder("full.pcapng"));
	snprintf(disk, sizeof(disk), "%s.disk", path);
	snprintf(file, sizeof(file), "%s/file", disk);
	/* The disk goes with the mount namespace, so what is on it is copied before the end. */
	pcap = process_start("ixy-pcap", rig->host,
		"exec unshare -m sh -c 'mkdir %s && mount -t tmpfs -o size=600k none %s || exit 9; "
		"%s; status=$?; cp %s %s; exit $status'",
		disk, disk, command_line(rig, ONLY_TEST, file), file, path);
	await(pcap, "capturing to");
	send_frames(rig, 0, 2000, 60, MAX_SIZE);
	assert_ended(pcap, 1);
	statistics = read_statistics(path);
	snprintf(expected, sizeof(expected), "%s: No space left on device; %u frames are in it", file,
		statistics.frames);
	if (!has_said(pcap, expected))
		fail_msg("not \"%s\" but: %s", expected, process_stderr(pcap));
	assert_int_equal(assert_frames(path, 60, MAX_SIZE, SIZE_MAX).frames, statistics.frames);
	/* The disk holds 600 KiB, and what was cut for the end is little. */
	assert_int_equal(stat(path, &status), 0);
	assert_in_range(status.st_size, 590 << 10, 600 << 10);
}

static void the_standard_output_goes_into_a_pipe(void **state)
{
	struct rig *rig = *state;
	struct process *pcap =
		process_start("ixy-pcap", rig->host, "%s | tshark -lr - -T fields -e frame.len -e eth.type",
			command_line(rig, "--count 20 " ONLY_TEST, "-"));

	await(pcap, "capturing to standard output"); /* on stderr, or tshark would have choked on it */
	send_frames(rig, 0, 20, 100, 100);
	assert_ended(pcap, 0);
	for (const char *line = process_stdout(pcap); *line; line += strlen("100\t0x88b5\n"))
		assert_memory_equal(line, "100\t0x88b5\n", strlen("100\t0x88b5\n"));
	assert_int_equal(strlen(process_stdout(pcap)), 20 * strlen("100\t0x88b5\n"));
}

static void it_ends_when_nobody_reads_its_output_any_more(void **state)
{
	struct rig *rig = *state;
	struct process *pcap = process_start("ixy-pcap", rig->host,
		"{ %s; echo status $? >&2; } | head -c 1000 >/dev/null", command_line(rig, ONLY_TEST, "-"));

	await(pcap, "capturing to");
	for (unsigned i = 0; i < 100 && !has_said(pcap, "status"); i++)
		send_frames(rig, 0, 100, 60, MAX_SIZE);
	assert_ended(pcap, 0);
	await(pcap, "status 0");
}

static void a_reader_that_stalls_costs_frames_that_are_counted(void **state)
{
	struct rig *rig = *state;
	char go[160], path[160];
	struct process *pcap;
	struct statistics statistics;

	snprintf(path, sizeof(path), "%s", in_folder("stalled.pcapng"));
	snprintf(go, sizeof(go), "%s", in_folder("go"));
	pcap = process_start("ixy-pcap", rig->host,
		"%s | { until [ -e %s ]; do sleep 0.05; done; exec cat >%s; }",
		command_line(rig, "--buffer 512K", "-"), go, path);
	await(pcap, "capturing to");
	/* 2.3 MB into a buffer of half a MiB and a pipe of 64 KiB */
	send_frames(rig, 0, 3000, 60, MAX_SIZE);
	assert_soon(SECONDS, process_child(pcap->pid, "ixy-pcap") != 0);
	assert_int_equal(kill(process_child(pcap->pid, "ixy-pcap"), SIGINT), 0);
	command_ok(NULL, "touch %s", go);
	assert_ended(pcap, 0);
	statistics = read_statistics(path);
	assert_true(statistics.option[OUR_DROPS] > 0);
	assert_true(statistics.frames > 300);
	assert_true(statistics.option[RECEIVED] >= 3000);
	/* The NIC was never waited for: all that arrived is in the file or was dropped here. */
	assert_int_equal(statistics.option[RECEIVED] - statistics.option[NIC_DROPS],
		statistics.frames + statistics.option[OUR_DROPS]);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		RIG_TEST(frames_are_in_the_file_byte_by_byte_with_their_times_until_sigint),
		RIG_TEST(it_ends_after_so_many_frames),
		RIG_TEST(it_ends_before_the_file_is_too_long),
		RIG_TEST(a_frame_that_is_not_wanted_does_not_make_the_file_too_long),
		RIG_TEST(the_file_is_whole_when_the_device_goes),
		RIG_TEST(it_ends_after_a_time),
		RIG_TEST(a_filter_lets_only_what_it_names_into_the_file),
		RIG_TEST(a_wrong_filter_or_file_is_named_and_the_old_file_stays),
		RIG_TEST(a_snaplen_cuts_frames_and_keeps_their_length),
		RIG_TEST(frames_of_several_buffers_are_whole),
		RIG_TEST(a_full_disk_is_an_error_and_what_is_in_the_file_can_be_read),
		RIG_TEST(the_standard_output_goes_into_a_pipe),
		RIG_TEST(it_ends_when_nobody_reads_its_output_any_more),
		RIG_TEST(a_reader_that_stalls_costs_frames_that_are_counted),
	};

	return rig_main("captures", tests);
}
