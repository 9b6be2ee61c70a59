/*
 * What a wire carries: frames arrive byte for byte, tags stay, short ones are padded, runts stop, and whatever
 * offloads the veth peer uses, nothing over the MTU and no half-made checksum gets past the NIC.
 */
#include "rig.h"

#include <arpa/inet.h>
#include <errno.h>
#include <linux/if_ether.h>
#include <netinet/in.h>
#include <netinet/udp.h>
#include <sys/socket.h>
#include <unistd.h>

struct wires { /* raw sockets at both ends, and the addresses of these */
	int peer, host;
	uint8_t peer_mac[6], host_mac[6];
	struct captured *got;
};

static struct wires open_wires(const struct rig *rig)
{
	struct wires w = {.peer = raw_open(rig->peer, "p0"),
		.host = raw_open(rig->host, "ixy0"),
		.got = malloc(sizeof(struct captured))};

	assert_non_null(w.got);
	link_mac(rig->peer, "p0", w.peer_mac);
	link_mac(rig->host, "ixy0", w.host_mac);
	return w;
}

static void close_wires(struct wires *w)
{
	close(w->peer);
	close(w->host);
	free(w->got);
}

/* Send a frame from one socket; it must come out of the other one byte for byte. */
static void assert_passes(struct wires *w, int from, int to, const uint8_t *frame, size_t size)
{
	raw_send(from, frame, size);
	if (!raw_receive_type(to, w->got, frame_type(frame, size), 5))
		fail_msg("a frame of %zu bytes, type %04x, did not arrive %s", size, frame_type(frame, size),
			to == w->host ? "at ixy0" : "at p0");
	assert_int_equal(w->got->size, size);
	assert_memory_equal(w->got->data, frame, size);
}

static void assert_passes_both_ways(struct wires *w, uint8_t *frame, size_t size)
{
	memcpy(frame, w->host_mac, 6);
	memcpy(frame + 6, w->peer_mac, 6);
	assert_passes(w, w->peer, w->host, frame, size);
	memcpy(frame, w->peer_mac, 6);
	memcpy(frame + 6, w->host_mac, 6);
	assert_passes(w, w->host, w->peer, frame, size);
}

static void frames_of_every_length_arrive_byte_for_byte_in_both_directions(void **state)
{
	struct rig *rig = *state;
	uint8_t frame[2048];
	struct wires w;

	rig_start(rig, "");
	w = open_wires(rig);
	for (size_t size = 60; size <= 1514; size += size < 140 || size > 1490 ? 1 : 53) {
		frame_test(frame, size, w.host_mac, w.peer_mac, (uint32_t)size);
		assert_passes_both_ways(&w, frame, size);
	}
	close_wires(&w);
	rig_finish(rig);
}

static void vlan_tags_arrive_intact_in_both_directions(void **state)
{
	static const uint16_t tcis[] = {0x0001, 0x0FFF, 0x2064, 0xEFFE, 0x1000, 0x0000};
	static const size_t sizes[] = {60, 61, 100, 1000, 1513, 1514}; /* without the tag */
	struct rig *rig = *state;
	uint8_t frame[2048];
	struct wires w;

	rig_start(rig, "");
	w = open_wires(rig);
	for (size_t t = 0; t < sizeof(tcis) / sizeof(tcis[0]); t++) {
		for (size_t s = 0; s < sizeof(sizes) / sizeof(sizes[0]); s++) {
			frame_test(frame, sizes[s], w.host_mac, w.peer_mac, (uint32_t)(t * 100 + s));
			assert_passes_both_ways(&w, frame, frame_tag(frame, sizes[s], ETH_P_8021Q, tcis[t]));
			assert_true(w.got->vlan);
		}
	}
	close_wires(&w);
	rig_finish(rig);
}

static void stacked_vlan_tags_arrive_intact_in_both_directions(void **state)
{
	struct rig *rig = *state;
	uint8_t frame[2048];
	struct wires w;
	size_t size;

	rig_start(rig, "");
	w = open_wires(rig);
	for (size_t payload = 64; payload <= 1444; payload += 460) {
		frame_test(frame, payload, w.host_mac, w.peer_mac, (uint32_t)payload);
		size = frame_tag(frame, payload, ETH_P_8021Q, 0x0064);
		size = frame_tag(frame, size, ETH_P_8021AD, 0x00C8);
		assert_passes_both_ways(&w, frame, size);
	}
	close_wires(&w);
	rig_finish(rig);
}

static void tagged_frames_with_ip_inside_arrive_intact(void **state)
{
	struct rig *rig = *state;
	uint8_t frame[2048];
	struct wires w;
	size_t size;

	rig_start(rig, "--queues 2");
	w = open_wires(rig);
	for (uint16_t port = 1; port <= 20; port++) {
		size = frame_udp4(
			frame, w.host_mac, w.peer_mac, "192.0.2.1", "192.0.2.2", port, 9, 60u * port);
		size = frame_tag(frame, size, ETH_P_8021Q, 0x0064);
		assert_passes_both_ways(&w, frame, size);
		assert_null(frame_fault(w.got->data, w.got->size));
	}
	close_wires(&w);
	rig_finish(rig);
}

/* ARP has 42 bytes when the kernel hands it over; the shortest frame on a wire has 60 before the CRC. */
static void short_frames_are_padded_with_zeros_to_60_bytes_on_the_wire(void **state)
{
	static const uint8_t zeros[60];
	struct rig *rig = *state;
	uint8_t frame[64];
	struct wires w;

	rig_start(rig, "");
	w = open_wires(rig);
	for (size_t size = 18; size < 60; size++) {
		frame_test(frame, size, w.peer_mac, w.host_mac, (uint32_t)size);
		raw_send(w.host, frame, size);
		assert_true(raw_receive_type(w.peer, w.got, ETHERTYPE_TEST, 5));
		assert_int_equal(w.got->size, 60);
		assert_memory_equal(w.got->data, frame, size);
		assert_memory_equal(w.got->data + size, zeros, 60 - size);
	}
	/* The veth peer pads nothing: such frames must be received all the same. */
	for (size_t size = 18; size < 60; size++) {
		frame_test(frame, size, w.host_mac, w.peer_mac, (uint32_t)size);
		raw_send(w.peer, frame, size);
		assert_true(raw_receive_type(w.host, w.got, ETHERTYPE_TEST, 5));
		assert_true(w.got->size == size || w.got->size == 60);
		assert_memory_equal(w.got->data, frame, size);
		assert_memory_equal(w.got->data + size, zeros, w.got->size - size);
	}
	close_wires(&w);
	rig_finish(rig);
}

/* --- a cable made of files ---------------------------------------------------------------------------------- */

static void put_pcap(FILE *f, const uint8_t *frame, uint32_t size)
{
	const uint32_t record[4] = {1, 0, size, size};

	fwrite(record, sizeof(record), 1, f);
	fwrite(frame, size, 1, f);
}

static void runts_stop_at_the_nic_and_the_frames_between_them_arrive(void **state)
{
	static const struct {
		uint32_t magic;
		uint16_t major, minor;
		uint32_t zone, accuracy, snap_length, link_type;
	} header = {0xA1B2C3D4, 2, 4, 0, 0, 65535, 1};
	static const uint8_t mac[6] = {0x02, 0x99, 0, 0, 0, 1}, from[6] = {0x02, 0x99, 0, 0, 0, 2};
	static const uint32_t runts[] = {1, 6, 12, 13};
	struct rig *rig = *state;
	struct captured *got = malloc(sizeof(*got));
	uint8_t frame[128];
	char path[96], text[256];
	int capture;
	FILE *f;

	snprintf(path, sizeof(path), "%s/in.pcap", commands_folder());
	f = fopen(path, "we");
	assert_non_null(f);
	fwrite(&header, sizeof(header), 1, f);
	for (uint32_t i = 0; i < sizeof(runts) / sizeof(runts[0]); i++) {
		frame_test(frame, 64, mac, from, i);
		put_pcap(f, frame, runts[i]);
		put_pcap(f, frame, 64);
	}
	fclose(f);

	/* The file plays once its cable is in, so the capture is open by then. */
	snprintf(text, sizeof(text), "%s=pcap:%s,%s/out.pcap", rig_socket(0), path, commands_folder());
	rig_start_softnic(rig, text);
	rig_ctl(rig, "link 0 out");
	snprintf(text, sizeof(text), "vfio-user:%s", rig_socket(0));
	rig_start_tapd(rig, "--mac 02:99:00:00:00:01", text);
	capture = raw_open(rig->host, "ixy0");
	command_ok(rig->host, "ip link set ixy0 up");
	rig_ctl(rig, "link 0 in");

	for (uint32_t i = 0; i < sizeof(runts) / sizeof(runts[0]); i++) {
		assert_true(raw_receive_type(capture, got, ETHERTYPE_TEST, 10));
		frame_test(frame, 64, mac, from, i);
		assert_int_equal(got->size, 64);
		assert_memory_equal(got->data, frame, 64);
	}
	/* And nothing else: no runt, no frame twice. */
	assert_false(raw_receive(capture, got, 200));

	/* The other way: what ixy0 sends lies in the file. */
	frame_test(frame, 100, from, mac, 77);
	raw_send(capture, frame, 100);
	close(capture);
	free(got);
	rig_finish(rig);
	assert_non_null(strstr(command_ok(NULL, "tcpdump -r %s/out.pcap -enn 2>/dev/null", commands_folder()),
		"02:99:00:00:00:01 > 02:99:00:00:00:02, ethertype Unknown (0x88b5), length 100"));
}

/* --- offloads ------------------------------------------------------------------------------------------------- */

struct seen {
	uint64_t frames, bytes, largest;
};

/* Look at all frames that come in until the program has ended, or (without one) so many have come. */
static struct seen inspect(
	int fd, struct captured *got, struct process *until, uint64_t frames, unsigned mtu, const char *where)
{
	int64_t deadline = clock_ms() + 20000 * (int64_t)slow_factor();
	struct seen seen = {0};
	bool more = true;

	raw_lost(fd);
	while (more) {
		bool running = until ? process_running(until) : seen.frames < frames;

		more = running && clock_ms() < deadline;
		while (raw_receive(fd, got, running ? 20 : 0)) {
			size_t limit = mtu + ETH_HLEN + (got->vlan ? 4 : 0);
			const char *fault = frame_fault(got->data, got->size);

			seen.frames++;
			seen.bytes += got->size;
			seen.largest = got->size > seen.largest ? got->size : seen.largest;
			if (got->size > limit)
				fail_msg("%s: a frame of %zu bytes, over the MTU", where, got->size);
			if (got->checksum_partial)
				fail_msg("%s: a frame whose checksum is yet to be completed", where);
			if (fault)
				fail_msg("%s: a frame of %zu bytes: %s", where, got->size, fault);
		}
	}
	assert_int_equal(raw_lost(fd), 0);
	return seen;
}

static void inspect_tcp(struct rig *rig, struct wires *w, bool to_host, unsigned mtu)
{
	const char *from = to_host ? rig->peer : rig->host, *to = to_host ? rig->host : rig->peer;
	const char *address = to_host ? rig->v6_host : rig->v6_peer;
	struct process *sink = process_start("sink", to, "exec socat -u TCP6-LISTEN:4242 OPEN:/dev/null"),
		       *source;
	struct seen seen;

	assert_soon(5, *command_ok(to, "ss -Hnlt 'sport = :4242'") != 0);
	source = process_start(
		"source", from, "head -c 20000000 /dev/zero | socat -u STDIN TCP6:[%s]:4242", address);
	seen = inspect(to_host ? w->host : w->peer, w->got, source, 0, mtu, to_host ? "at ixy0" : "at p0");
	assert_int_equal(process_wait(source, 5), 0);
	assert_int_equal(process_wait(sink, 5), 0);
	assert_true(seen.bytes > 20000000 / 2); /* most of it was seen: acknowledgements alone are no proof */
	assert_true(seen.largest == mtu + ETH_HLEN);
}

/* One system call hands 40 datagrams to the stack, which keeps them in one buffer as far as it can. */
static void inspect_udp_segmentation(struct rig *rig, struct wires *w, bool to_host, unsigned mtu)
{
	static const char payload[40 * 1200];
	int fd = netns_socket(to_host ? rig->peer : rig->host, AF_INET, SOCK_DGRAM, 0), size = 1200;
	struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons(4243)};
	struct seen seen;

	inet_pton(AF_INET, to_host ? rig->v4_host : rig->v4_peer, &to.sin_addr);
	assert_int_equal(setsockopt(fd, IPPROTO_UDP, UDP_SEGMENT, &size, sizeof(size)), 0);
	for (unsigned i = 0; i < 20; i++)
		assert_int_equal(sendto(fd, payload, sizeof(payload), 0, (struct sockaddr *)&to, sizeof(to)),
			sizeof(payload));
	seen = inspect(
		to_host ? w->host : w->peer, w->got, NULL, 20 * 40, mtu, to_host ? "at ixy0" : "at p0");
	assert_true(seen.frames >= 20 * 40);
	close(fd);
}

static void nothing_over_the_mtu_and_no_partial_checksum_passes_whatever_the_veth_peer_offloads(void **state)
{
	struct rig *rig = *state;
	struct wires w;

	/* The veth defaults: TSO, GSO, USO and checksum offload on, so p0 hands over super-frames. */
	assert_non_null(strstr(command_ok(rig->peer, "ethtool -k p0"), "tcp-segmentation-offload: on"));
	rig_start(rig, "--no-offload");
	w = open_wires(rig);
	inspect_tcp(rig, &w, true, 1500);
	inspect_tcp(rig, &w, false, 1500);
	inspect_udp_segmentation(rig, &w, true, 1500);
	inspect_udp_segmentation(rig, &w, false, 1500);
	close_wires(&w);
	rig_finish(rig);
}

static void the_same_holds_with_jumbo_frames(void **state)
{
	static const char *const offloads[] = {"--mtu 9000 --no-offload", "--mtu 9000"};
	struct rig *rig = *state;

	command_ok(rig->peer, "ip link set p0 mtu 9000");
	command_ok(rig->host, "ip link set d0 mtu 9000");
	for (int on = 0; on < 2; on++) {
		struct wires w;

		rig_start(rig, offloads[on]);
		w = open_wires(rig);
		if (!on)
			inspect_tcp(rig, &w, true, 9000);
		inspect_tcp(rig, &w, false, 9000);
		close_wires(&w);
		rig_finish(rig);
	}
}

/* ixy0 hands super-frames over then, and is handed some; what the wire carries is the same. */
static void super_frames_from_the_kernel_are_frames_of_the_mtu_on_the_wire(void **state)
{
	struct rig *rig = *state;
	struct wires w;

	rig_start(rig, "");
	assert_non_null(strstr(command_ok(rig->host, "ethtool -k ixy0"), "tcp-segmentation-offload: on"));
	w = open_wires(rig);
	inspect_tcp(rig, &w, false, 1500);
	inspect_udp_segmentation(rig, &w, false, 1500);
	/* And with the switch of every other interface. */
	command_ok(rig->host, "ethtool -K ixy0 tso off tx off");
	inspect_tcp(rig, &w, false, 1500);
	close_wires(&w);
	rig_finish(rig);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		RIG_TEST(frames_of_every_length_arrive_byte_for_byte_in_both_directions),
		RIG_TEST(vlan_tags_arrive_intact_in_both_directions),
		RIG_TEST(stacked_vlan_tags_arrive_intact_in_both_directions),
		RIG_TEST(tagged_frames_with_ip_inside_arrive_intact),
		RIG_TEST(short_frames_are_padded_with_zeros_to_60_bytes_on_the_wire),
		RIG_TEST_SOFT(runts_stop_at_the_nic_and_the_frames_between_them_arrive),
		RIG_TEST(nothing_over_the_mtu_and_no_partial_checksum_passes_whatever_the_veth_peer_offloads),
		RIG_TEST(the_same_holds_with_jumbo_frames),
		RIG_TEST(super_frames_from_the_kernel_are_frames_of_the_mtu_on_the_wire),
	};

	return rig_main("netns: frames on the wire", tests);
}
