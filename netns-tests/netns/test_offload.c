/*
 * Offloads: what is sent arrives, byte for byte and datagram for datagram, whoever cuts, coalesces and sums up; the
 * switches (`ethtool -K`, --no-offload) do what they say; and no checksum on the wire is wrong.
 */
#include "flow.h"
#include "rig.h"

#include <arpa/inet.h>
#include <linux/if_packet.h>
#include <linux/virtio_net.h>
#include <net/if.h>
#include <sys/socket.h>
#include <unistd.h>

#include "driver/gso.h"

#define ETH_MAX (1514 + 2 * 4) /* the longest frame at MTU 1500; what is longer is a super-frame */

/* --- traffic ----------------------------------------------------------------------------------------------- */

/* The four ways that bytes can go: out of ixy0 and in, IPv4 and IPv6. */
struct way {
	const char *from, *to, *address;
};

static struct way way_of(const struct rig *rig, unsigned i)
{
	bool in = i & 1, v6 = i & 2;

	return (struct way){
		.from = in ? rig->peer : rig->host,
		.to = in ? rig->host : rig->peer,
		.address = in   ? v6 ? rig->v6_host : rig->v4_host
			   : v6 ? rig->v6_peer
				: rig->v4_peer,
	};
}

static void open_tcp(const struct rig *rig, struct tcp_flow flows[4])
{
	for (unsigned i = 0; i < 4; i++) {
		struct way way = way_of(rig, i);

		tcp_flow_open(&flows[i], way.from, way.to, way.address);
	}
}

static void close_tcp(struct tcp_flow flows[4])
{
	for (unsigned i = 0; i < 4; i++)
		tcp_flow_close(&flows[i]);
}

static void open_udp(const struct rig *rig, struct udp_flow flows[4], bool segment, bool coalesce)
{
	for (unsigned i = 0; i < 4; i++) {
		struct way way = way_of(rig, i);

		udp_flow_open(&flows[i], way.from, way.to, way.address, segment, coalesce);
	}
}

static void close_udp(struct udp_flow flows[4])
{
	for (unsigned i = 0; i < 4; i++)
		udp_flow_close(&flows[i]);
}

/* Bursts of datagrams of many lengths, the shortest and the longest that fit the MTU among them. */
static void send_datagrams(struct udp_flow flows[4])
{
	static const struct {
		size_t size;
		unsigned count;
	} bursts[] = {{1, 50}, {2, 3}, {18, 64}, {19, 2}, {333, 17}, {512, 64}, {1000, 40}, {1452, 44}};

	for (size_t b = 0; b < sizeof(bursts) / sizeof(bursts[0]); b++)
		for (unsigned i = 0; i < 4; i++)
			udp_flow_send(&flows[i], bursts[b].size, bursts[b].count);
}

static void pass_everything(const struct rig *rig)
{
	struct tcp_flow tcp[4];
	struct udp_flow udp[4];

	open_tcp(rig, tcp);
	tcp_flows_send(tcp, 4, 1 << 20);
	close_tcp(tcp);
	for (unsigned how = 0; how < 4; how++) {
		open_udp(rig, udp, how & 1, how & 2);
		send_datagrams(udp);
		close_udp(udp);
	}
}

/* --- what ixy0 carries ------------------------------------------------------------------------------------- */

/* Between kernel and daemon, of TCP and UDP over IPv4. */
struct seen {
	unsigned tcp_super, udp_super, partial; /* partial: checksums that the receiver is left with */
};

struct watch {
	int fd;
	uint8_t mac[6];
	struct seen out, in;
	struct captured frame;
};

static struct watch *watch_open(const struct rig *rig)
{
	struct watch *w = calloc(1, sizeof(*w));
	int off = 0;

	assert_non_null(w);
	link_mac(rig->host, "ixy0", w->mac);
	w->fd = raw_open(rig->host, "ixy0");
	assert_int_equal(setsockopt(w->fd, SOL_PACKET, PACKET_IGNORE_OUTGOING, &off, sizeof(off)), 0);
	return w;
}

static void watch_close(struct watch *w)
{
	close(w->fd);
	free(w);
}

/* Take in what has passed so far. */
static void watch_read(struct watch *w)
{
	memset(&w->out, 0, sizeof(w->out));
	memset(&w->in, 0, sizeof(w->in));
	while (raw_receive(w->fd, &w->frame, 0)) {
		struct seen *seen = memcmp(w->frame.data + 6, w->mac, 6) == 0 ? &w->out : &w->in;
		const uint8_t *ip = w->frame.data + 14;
		bool super = w->frame.size > ETH_MAX;

		if (frame_type(w->frame.data, w->frame.size) != 0x0800)
			continue;
		seen->tcp_super += super && ip[9] == IPPROTO_TCP;
		seen->udp_super += super && ip[9] == IPPROTO_UDP;
		seen->partial += w->frame.checksum_partial;
	}
}

/* What a setting leads to. */
struct expected {
	bool tcp_out, udp_out, partial_out, in; /* in: super-frames of either kind */
};

/* Traffic that invites every super-frame there can be. */
static void watched_traffic(const struct rig *rig, struct watch *w)
{
	struct tcp_flow tcp[4];
	struct udp_flow udp[4];

	watch_read(w);
	open_tcp(rig, tcp);
	open_udp(rig, udp, true, true);
	tcp_flows_send(tcp, 4, 1 << 19);
	for (unsigned i = 0; i < 4; i++)
		udp_flow_send(&udp[i], 1000, 60);
	close_tcp(tcp);
	close_udp(udp);
	watch_read(w);
}

/* Whether received segments meet in one burst is up to the scheduler; that they sometimes do is not. */
static bool as_expected(const struct rig *rig, struct watch *w, const struct expected *e)
{
	watched_traffic(rig, w);
	return !!w->out.tcp_super == e->tcp_out && !!w->out.udp_super == e->udp_out &&
	       !!w->out.partial == e->partial_out && !!w->in.tcp_super == e->in && !!w->in.udp_super == e->in;
}

static bool is_forbidden(const struct watch *w, const struct expected *e)
{
	return (w->out.tcp_super && !e->tcp_out) || (w->out.udp_super && !e->udp_out) ||
	       (w->out.partial && !e->partial_out) || (w->in.tcp_super + w->in.udp_super && !e->in);
}

/* Never a super-frame where none may be, and once all that may be. */
static void assert_expected(
	const struct rig *rig, struct watch *w, const struct expected *e, const char *what)
{
	bool met = false;

	wait_for(30, (met = as_expected(rig, w, e)) || is_forbidden(w, e));
	if (!met)
		fail_msg("%s: out %u TCP and %u UDP super-frames, %u partial checksums; in %u TCP, %u UDP",
			what, w->out.tcp_super, w->out.udp_super, w->out.partial, w->in.tcp_super,
			w->in.udp_super);
}

/* --- the switches ------------------------------------------------------------------------------------------ */

static const struct expected all = {true, true, true, true};

static unsigned times_said(struct process *tapd, const char *what)
{
	unsigned n = 0;

	for (const char *p = process_stderr(tapd); (p = strstr(p, what)); p += strlen(what))
		n++;
	return n;
}

/* GRO is followed by notification; the kernel's own switches work at once. */
static void set(struct rig *rig, const char *features)
{
	const char *gro = strstr(features, "gro off")  ? "GRO off"
			  : strstr(features, "gro on") ? "GRO on"
						       : NULL;
	unsigned before = gro ? times_said(rig->tapd, gro) : 0;

	command_ok(rig->host, "ethtool -K ixy0 %s", features);
	if (gro)
		assert_soon(5, times_said(rig->tapd, gro) > before);
}

static void each_switch_does_what_it_says_and_on_again(void **state)
{
	static const struct {
		const char *off, *on;
		struct expected expected;
	} switches[] = {
		{"tso off", "tso on", {false, true, true, true}},
		{"tx-udp-segmentation off", "tx-udp-segmentation on", {true, false, true, true}},
		{"tx off", "tx on tso on tx-udp-segmentation on", {false, false, false, true}},
		{"gso off", "gso on", {true, true, true, true}},
		{"gro off", "gro on", {true, true, true, false}},
		{"tso off tx-udp-segmentation off gro off", "tso on tx-udp-segmentation on gro on",
			{false, false, true, false}},
	};
	struct rig *rig = *state;
	struct watch *w;

	rig_start(rig, "--log-level debug");
	w = watch_open(rig);
	assert_expected(rig, w, &all, "all on");
	for (size_t i = 0; i < sizeof(switches) / sizeof(switches[0]); i++) {
		set(rig, switches[i].off);
		assert_expected(rig, w, &switches[i].expected, switches[i].off);
		pass_everything(rig);
		set(rig, switches[i].on);
		assert_expected(rig, w, &all, switches[i].on);
	}
	watch_close(w);
	rig_finish(rig);
}

static void with_offloads_data_arrives_as_it_was_sent(void **state)
{
	struct rig *rig = *state;

	rig_start(rig, "");
	pass_everything(rig);
	rig_finish(rig);
}

static void with_no_offload_every_frame_goes_by_itself_and_complete(void **state)
{
	static const struct expected none = {false, false, false, false};
	struct rig *rig = *state;
	struct watch *w;

	rig_start(rig, "--no-offload");
	w = watch_open(rig);
	assert_expected(rig, w, &none, "--no-offload");
	/* The interface has these switches, but the daemon has taken them back. */
	command(rig->host, "ethtool -K ixy0 tx on tso on gro on");
	assert_expected(rig, w, &none, "--no-offload, and on");
	pass_everything(rig);
	watch_close(w);
	rig_finish(rig);
}

static void switches_thrown_while_traffic_flows_change_no_byte(void **state)
{
	static const char *const switches[] = {"tso off", "gro off", "tx-udp-segmentation off", "gso off",
		"gro on", "tx off", "gro off", "tx on tso on tx-udp-segmentation on", "sg off",
		"gso on gro on", "sg on tso on tx-udp-segmentation on"};
	const size_t count = sizeof(switches) / sizeof(switches[0]);
	struct rig *rig = *state;
	struct tcp_flow tcp[4];
	struct udp_flow udp[4];

	rig_start(rig, "--queues 2");
	open_tcp(rig, tcp);
	open_udp(rig, udp, true, true);
	for (size_t i = 0; i < 3 * count; i++) {
		struct process *ethtool;

		/* Beside the traffic, not between. */
		ethtool = process_start("ethtool", rig->host, "exec ethtool -K ixy0 %s", switches[i % count]);
		do {
			tcp_flows_send(tcp, 4, 100000);
			for (unsigned k = 0; k < 4; k++)
				udp_flow_send(&udp[k], 1000, 20);
		} while (process_running(ethtool));
		assert_int_equal(process_wait(ethtool, 10), 0);
	}
	close_tcp(tcp);
	close_udp(udp);
	rig_finish(rig);
}

/* --- VLAN -------------------------------------------------------------------------------------------------- */

#define VLAN_MSS      1000
#define VLAN_SEGMENTS 40

/* IPv4 or IPv6, TCP or UDP; a tag, or two. */
enum { V6 = 1, UDP = 2, QINQ = 4, VLAN_KINDS = 8 };

/*
 * A tagged super-frame, from one end to the other, as the kernel would hand it over: *vnet says how to cut it.
 * Returns its size.
 */
static size_t tagged_super_frame(
	uint8_t *f, unsigned kind, const uint8_t to[6], const uint8_t from[6], struct virtio_net_hdr *vnet)
{
	size_t l3 = kind & QINQ ? 22 : 18, l4 = l3 + (kind & V6 ? 40 : 20), header = kind & UDP ? 8 : 20;
	size_t payload = VLAN_MSS * (VLAN_SEGMENTS - 1) + 7, l4_size = header + payload;
	uint8_t protocol = kind & UDP ? IPPROTO_UDP : IPPROTO_TCP;
	uint32_t sum = 0;

	memset(f, 0, l4 + header);
	memcpy(f, to, 6);
	memcpy(f + 6, from, 6);
	memcpy(f + 12, kind & QINQ ? "\x88\xa8\x00\x63" : "\x81\x00\x20\x2a", 4);
	if (kind & QINQ)
		memcpy(f + 16, "\x81\x00\x20\x2a", 4);
	memcpy(f + l3 - 2, kind & V6 ? "\x86\xdd" : "\x08\x00", 2);
	if (kind & V6) {
		f[l3] = 0x60;
		f[l3 + 4] = (uint8_t)(l4_size >> 8);
		f[l3 + 5] = (uint8_t)l4_size;
		f[l3 + 6] = protocol;
		f[l3 + 7] = 64;
		f[l3 + 8] = f[l3 + 24] = 0xfd;
		f[l3 + 23] = 1;
		f[l3 + 39] = 2;
	} else {
		f[l3] = 0x45;
		f[l3 + 2] = (uint8_t)((l4_size + 20) >> 8);
		f[l3 + 3] = (uint8_t)(l4_size + 20);
		f[l3 + 6] = 0x40;
		f[l3 + 8] = 64;
		f[l3 + 9] = protocol;
		memcpy(f + l3 + 12, "\x0a\x63\x00\x01\x0a\x63\x00\x02", 8);
		for (size_t i = 0; i < 20; i += 2)
			sum += (uint32_t)f[l3 + i] << 8 | f[l3 + i + 1];
		sum = ~((sum & 0xFFFF) + (sum >> 16));
		f[l3 + 10] = (uint8_t)(sum >> 8);
		f[l3 + 11] = (uint8_t)sum;
	}
	memcpy(f + l4, "\x82\x59\x00\x09", 4);
	if (kind & UDP) {
		f[l4 + 4] = (uint8_t)(l4_size >> 8);
		f[l4 + 5] = (uint8_t)l4_size;
	} else {
		memcpy(f + l4 + 4, "\xff\xff\xfe\x00\0\0\0\x01\x50\x18\x01\x00", 12);
	}
	/* The pseudo-header's sum. */
	sum = protocol + (uint32_t)l4_size;
	for (size_t i = l3 + (kind & V6 ? 8 : 12); i < l4; i += 2)
		sum += (uint32_t)f[i] << 8 | f[i + 1];
	while (sum >> 16)
		sum = (sum & 0xFFFF) + (sum >> 16);
	f[l4 + (kind & UDP ? 6 : 16)] = (uint8_t)(sum >> 8);
	f[l4 + (kind & UDP ? 7 : 17)] = (uint8_t)sum;
	for (size_t i = 0; i < payload; i++)
		f[l4 + header + i] = (uint8_t)(i * 7 + i / 251);
	*vnet = (struct virtio_net_hdr){
		.flags = VIRTIO_NET_HDR_F_NEEDS_CSUM,
		.gso_type = kind & UDP  ? VIRTIO_NET_HDR_GSO_UDP_L4
			    : kind & V6 ? VIRTIO_NET_HDR_GSO_TCPV6
					: VIRTIO_NET_HDR_GSO_TCPV4,
		.hdr_len = (uint16_t)(l4 + header),
		.gso_size = VLAN_MSS,
		.csum_start = (uint16_t)l4,
		.csum_offset = kind & UDP ? 6 : 16,
	};
	return l4 + l4_size;
}

struct segments {
	uint8_t frames[VLAN_SEGMENTS][VLAN_MSS + 128];
	size_t sizes[VLAN_SEGMENTS];
	unsigned count;
};

static void keep(void *context, const uint8_t *frame, size_t size)
{
	struct segments *s = context;

	assert_true(s->count < VLAN_SEGMENTS && size <= sizeof(s->frames[0]));
	memcpy(s->frames[s->count], frame, size);
	s->sizes[s->count++] = size;
}

static void cut(struct segments *s, unsigned kind, const uint8_t to[6], const uint8_t from[6])
{
	static uint8_t frame[RAW_FRAME_MAX];
	struct virtio_net_hdr vnet;
	size_t size = tagged_super_frame(frame, kind, to, from, &vnet);

	s->count = 0;
	assert_int_equal(gso_segment(&vnet, frame, size, keep, s), VLAN_SEGMENTS);
	for (unsigned i = 0; i < s->count; i++)
		assert_null(frame_fault(s->frames[i], s->sizes[i]));
}

/* Handed to the kernel for ixy0 as one piece (PACKET_VNET_HDR). */
static void send_super_frame(int fd, unsigned kind, const uint8_t to[6], const uint8_t from[6])
{
	static struct {
		struct virtio_net_hdr vnet;
		uint8_t frame[RAW_FRAME_MAX];
	} __attribute__((packed)) whole;
	struct virtio_net_hdr vnet;
	size_t size = tagged_super_frame(whole.frame, kind, to, from, &vnet);

	whole.vnet = vnet;
	raw_send(fd, (const uint8_t *)&whole, sizeof(vnet) + size);
}

/* The NIC pads what is too short for Ethernet. */
static void assert_wire_size(size_t got, size_t want)
{
	if (got != want && (got != 60 || want > 60))
		fail_msg("a frame of %zu bytes came out with %zu", want, got);
}

static void tagged_super_frames_leave_as_tagged_segments(void **state)
{
	struct rig *rig = *state;
	struct segments *want = malloc(sizeof(*want));
	struct captured *got = malloc(sizeof(*got));
	uint8_t peer_mac[6], host_mac[6];
	int peer, host, on = 1;

	rig_start(rig, "");
	link_mac(rig->peer, "p0", peer_mac);
	link_mac(rig->host, "ixy0", host_mac);
	peer = raw_open(rig->peer, "p0");
	host = raw_open(rig->host, "ixy0");
	assert_int_equal(setsockopt(host, SOL_PACKET, PACKET_VNET_HDR, &on, sizeof(on)), 0);
	for (unsigned kind = 0; kind < VLAN_KINDS; kind++) {
		cut(want, kind, peer_mac, host_mac);
		send_super_frame(host, kind, peer_mac, host_mac);
		for (unsigned i = 0; i < want->count; i++) {
			assert_true(raw_receive_type(peer, got, kind & QINQ ? 0x88A8 : 0x8100, 10));
			assert_wire_size(got->size, want->sizes[i]);
			assert_memory_equal(got->data, want->frames[i], want->sizes[i]);
		}
	}
	close(peer);
	close(host);
	free(want);
	free(got);
	rig_finish(rig);
}

/* What came in as one piece, or several, must be the same segments; returns how many pieces. */
static unsigned receive_pieces(int fd, struct captured *got, const struct segments *want, unsigned kind)
{
	size_t headers = (kind & QINQ ? 22u : 18u) + (kind & V6 ? 40 : 20) + (kind & UDP ? 8 : 20);
	unsigned pieces = 0;

	for (unsigned i = 0; i < want->count; pieces++) {
		size_t at = headers;

		assert_true(raw_receive_type(fd, got, kind & QINQ ? 0x88A8 : 0x8100, 10));
		/* Tags, addresses, ports. */
		assert_memory_equal(got->data, want->frames[i], kind & QINQ ? 22 : 18);
		assert_memory_equal(got->data + headers - (kind & UDP ? 8 : 20),
			want->frames[i] + headers - (kind & UDP ? 8 : 20), kind & UDP ? 4 : 8);
		if (want->sizes[i] < 60 && got->size == 60)
			got->size = want->sizes[i]; /* without the wire's padding */
		for (; at < got->size; i++) {
			size_t n = want->sizes[i] - headers;

			assert_true(i < want->count && at + n <= got->size);
			assert_memory_equal(got->data + at, want->frames[i] + headers, n);
			at += n;
		}
	}
	return pieces;
}

static void tagged_segments_are_coalesced_with_their_tag(void **state)
{
	struct rig *rig = *state;
	struct segments *sent = malloc(sizeof(*sent));
	struct captured *got = malloc(sizeof(*got));
	uint8_t peer_mac[6], host_mac[6];
	int peer, host;

	rig_start(rig, "");
	link_mac(rig->peer, "p0", peer_mac);
	link_mac(rig->host, "ixy0", host_mac);
	peer = raw_open(rig->peer, "p0");
	host = raw_open(rig->host, "ixy0");
	for (unsigned kind = 0; kind < VLAN_KINDS; kind++) {
		unsigned pieces = VLAN_SEGMENTS;

		cut(sent, kind, host_mac, peer_mac);
		for (unsigned tries = 0; tries < 200 && pieces == VLAN_SEGMENTS; tries++) {
			for (unsigned i = 0; i < sent->count; i++)
				raw_send(peer, sent->frames[i], sent->sizes[i]);
			pieces = receive_pieces(host, got, sent, kind);
			if (kind & QINQ)
				break;
		}
		/* Frames with two tags pass one by one: the kernel's own GRO leaves them alone as well. */
		if (kind & QINQ)
			assert_int_equal(pieces, VLAN_SEGMENTS);
		else
			assert_in_range(pieces, 1, VLAN_SEGMENTS - 1);
	}
	close(peer);
	close(host);
	free(sent);
	free(got);
	rig_finish(rig);
}

/* --- on the wire ------------------------------------------------------------------------------------------- */

/* Frames of the capture for which a display filter holds, a line each. */
#define CHECKED                                                                         \
	"tshark -nr %s/wire.pcap -o ip.check_checksum:TRUE -o tcp.check_checksum:TRUE " \
	"-o udp.check_checksum:TRUE -Y '%s' 2>/dev/null"
#define GOOD "tcp.checksum.status==1 || udp.checksum.status==1"
/* Linux writes a TCP sum of 0 as 0xFFFF. That is the same number, but no friend of tshark's. */
#define BAD                                                   \
	"ip.checksum.status==0 || udp.checksum.status==0 || " \
	"(tcp.checksum.status==0 && !tcp.checksum.ffff)"

/* Of pass_everything(): 4 MiB of TCP make 2900 segments, and the datagrams are 284 in each of 16 flows. */
#define CAPTURED_LEAST (2900 + 16 * 284)

/* The peer leaves nothing to its own interface, so what is seen there is what a wire carries. */
static void a_capture_of_the_wire_has_no_wrong_checksum(void **state)
{
	struct rig *rig = *state;
	struct process *tcpdump;
	const char *bad;

	rig_start(rig, "");
	command_ok(rig->peer, "ethtool -K p0 tx off sg off tso off gso off gro off");
	tcpdump = process_start("tcpdump", rig->peer,
		"exec tcpdump -Uni p0 -B 65536 -s 2000 -w %s/wire.pcap tcp or udp", commands_folder());
	assert_soon(10, strstr(process_stderr(tcpdump), "listening on") != NULL);
	pass_everything(rig);
	/* What tcpdump has not read when it is ended is not in the file. */
	assert_soon(30, command_number(NULL, "tcpdump -nr %s/wire.pcap 2>/dev/null | wc -l",
				commands_folder()) > CAPTURED_LEAST);
	assert_int_equal(process_stop(tcpdump), 0);
	if (!strstr(process_stderr(tcpdump), "\n0 packets dropped by kernel"))
		fail_msg("the capture is not whole: %s", process_stderr(tcpdump));
	assert_true(command_number(NULL, CHECKED " | wc -l", commands_folder(), GOOD) > CAPTURED_LEAST);
	bad = command_ok(NULL, CHECKED, commands_folder(), BAD);
	if (*bad)
		fail_msg("wrong checksums:\n%s", bad);
	rig_finish(rig);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		RIG_TEST(with_offloads_data_arrives_as_it_was_sent),
		RIG_TEST(with_no_offload_every_frame_goes_by_itself_and_complete),
		RIG_TEST(each_switch_does_what_it_says_and_on_again),
		RIG_TEST(switches_thrown_while_traffic_flows_change_no_byte),
		RIG_TEST(tagged_super_frames_leave_as_tagged_segments),
		RIG_TEST(tagged_segments_are_coalesced_with_their_tag),
		RIG_TEST(a_capture_of_the_wire_has_no_wrong_checksum),
	};

	return rig_main("netns: offloads", tests);
}
