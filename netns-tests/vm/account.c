/*
 * What one script puts on the wire. See account.h. The frames are captured here, where none gets lost unnoticed, and
 * taken to pieces by tshark.
 */
#include "account.h"

#include <sys/socket.h>
#include <unistd.h>

#include "traffic.h"

#define QUIET_MS 300 /* after which no frame of the script is still on its way */

/* --- the capture ---------------------------------------------------------------------------------------- */

static void write_words(FILE *file, const uint32_t *words, size_t count)
{
	assert_int_equal(fwrite(words, sizeof(*words), count, file), count);
}

/* A pcap file of microseconds and Ethernet frames; times do not matter here. */
static FILE *open_pcap(const char *path)
{
	const uint32_t header[] = {0xA1B2C3D4, 4 << 16 | 2, 0, 0, RAW_FRAME_MAX, 1};
	FILE *file = fopen(path, "we");

	assert_non_null(file);
	write_words(file, header, 6);
	return file;
}

static void write_frame(FILE *file, const struct captured *frame)
{
	const uint32_t header[] = {0, 0, (uint32_t)frame->size, (uint32_t)frame->size};

	write_words(file, header, 4);
	assert_int_equal(fwrite(frame->data, 1, frame->size, file), frame->size);
}

/* What was there before the script is no part of it. */
static void await_quiet(int fd)
{
	static struct captured frame;

	assert_soon(10, !raw_receive(fd, &frame, QUIET_MS));
}

/* All that has come in since the socket was opened. A wire carries frames that fit, with whole checksums. */
static void save(int fd, const char *path)
{
	static struct captured frame;
	FILE *file = open_pcap(path);

	while (raw_receive(fd, &frame, QUIET_MS)) {
		const char *fault = frame_fault(frame.data, frame.size);

		if (fault || frame.checksum_partial)
			fail_msg("a frame of %zu bytes on the wire: %s", frame.size,
				fault ? fault : "its checksum is not filled in");
		assert_in_range(frame.size, 14, 14 + 4 + 1500);
		write_frame(file, &frame);
	}
	assert_int_equal(raw_lost(fd), 0);
	assert_int_equal(fclose(file), 0);
}

/* --- the script ----------------------------------------------------------------------------------------- */

/* The peer's receivers; they keep what comes, and the test waits for that to be all. */
#define UDP_BYTES 9541 /* what send_datagrams() sends to each */
#define TCP_BYTES (1u << 20)

static const char *receivers[] = {
	"UDP4-RECV:4001", "UDP6-RECV:4002,ipv6only=1", "TCP4-LISTEN:4003", "TCP6-LISTEN:4004,ipv6only=1"};

static void start_receivers(struct vm *vm, struct process *receiver[4])
{
	for (unsigned i = 0; i < 4; i++)
		receiver[i] = process_start("socat", vm->rig->peer,
			"exec socat -u %s OPEN:%s/received%u,creat,trunc", receivers[i], commands_folder(),
			i);
	assert_soon(10, command(vm->rig->peer,
				"[ $(ss -Hltun '( sport >= 4001 and sport <= 4004 )' | wc -l) = 4 ]") == 0);
}

static void await_received(unsigned receiver, uint64_t bytes)
{
	if (!wait_for(20, command(NULL, "[ $(stat -c %%s %s/received%u) = %lu ]", commands_folder(), receiver,
				  bytes) == 0))
		fail_msg("%s got not %lu bytes: %s", receivers[receiver], bytes,
			command_ok(NULL, "stat -c %%s %s/received%u", commands_folder(), receiver));
}

/* Either side has to ask who the other is. */
static void send_pings(struct vm *vm)
{
	static const char script[] = "for s in 0 64 1472 1473 8000; do "
				     "ping -nqc1 -W5 -s $s %s && ping -nqc1 -W5 -s $s %s || exit 1; done";

	vm_ok(vm, "ip neigh flush all");
	vm_ok(vm, script, vm->rig->v4_peer, vm->rig->v6_peer);
	command_ok(vm->rig->peer, "ip neigh flush all");
	command_ok(vm->rig->peer, script, vm->rig->v4_host, vm->rig->v6_host);
}

/*
 * From a port of its own; the contents are a piece of a fixed file, read at once: out of a pipe it would come in as many
 * datagrams as its writer has been interrupted times.
 */
static void send_datagrams(struct vm *vm)
{
	vm_ok(vm,
		"seq 100000 110000 >/run/contents; for n in 1 100 1472 1473 6495; do "
		"head -c $n /run/contents >/run/piece && "
		"socat -u -b 8000 OPEN:/run/piece UDP4-SENDTO:%s:4001,sourceport=4000 && "
		"socat -u -b 8000 OPEN:/run/piece 'UDP6-SENDTO:[%s]:4002,sourceport=4000' || exit 1; done",
		vm->rig->v4_peer, vm->rig->v6_peer);
	await_received(0, UDP_BYTES);
	await_received(1, UDP_BYTES);
}

/* With ECN, whose bits super-frames have a way of their own to carry. */
static void send_streams(struct vm *vm)
{
	vm_ok(vm,
		"sysctl -qw net.ipv4.tcp_ecn=1; seq 1000000 1200000 | head -c %u >/run/contents && "
		"socat -u OPEN:/run/contents TCP4:%s:4003 && "
		"socat -u OPEN:/run/contents TCP6:[%s]:4004",
		TCP_BYTES, vm->rig->v4_peer, vm->rig->v6_peer);
	await_received(2, TCP_BYTES);
	await_received(3, TCP_BYTES);
	command_ok(NULL,
		"cd %s && seq 1000000 1200000 | head -c %u | tee sent | cmp - received2 && cmp sent "
		"received3",
		commands_folder(), TCP_BYTES);
}

/* Nobody there has to answer. */
static void send_to_many(struct vm *vm, const char *ifname)
{
	vm_ok(vm,
		"echo broadcast | socat -u - "
		"UDP4-DATAGRAM:255.255.255.255:4005,broadcast,bind=:4000,so-bindtodevice=%s && "
		"echo multicast | socat -u - UDP4-DATAGRAM:239.1.2.3:4005,bind=:4000,so-bindtodevice=%s "
		"&& "
		"echo multicast | socat -u - 'UDP6-DATAGRAM:[ff02::4242%%%s]:4005,bind=[::]:4000'",
		ifname, ifname, ifname);
}

/* In a VLAN that has nobody else in it. */
static void send_tagged(struct vm *vm, const char *ifname)
{
	vm_ok(vm,
		"ip link add link %s name vlan42 type vlan id 42 egress-qos-map 0:5 && "
		"ip addr add 192.0.2.2/24 dev vlan42 && ip link set vlan42 up && "
		"ip neigh add 192.0.2.1 lladdr 02:00:00:00:00:77 dev vlan42 && "
		"for n in 1 1472 4000; do head -c $n /run/contents | "
		"socat -u -b 8000 - UDP4-SENDTO:192.0.2.1:4005,sourceport=4000 || exit 1; done; ip link del "
		"vlan42",
		ifname);
}

/* --- the account ---------------------------------------------------------------------------------------- */

/*
 * Frames of TCP but for the first of a connection are told without what depends on how the stream was cut and on what
 * had to be sent again (which a slow guest does, and then says CWR). Lines of TCP are told once, as the first may have
 * to be sent again, too; and so are those about a neighbour, who may be asked, by anybody but the first time, at any time.
 */
static void tell(struct vm *vm, const char *pcap, const char *account)
{
	static const char ip[] =
		"-e eth.dst -e eth.src -e eth.type -e vlan.id -e vlan.priority -e ip.src -e ip.dst "
		"-e ip.dsfield -e ip.ttl -e ip.flags.df -e ipv6.src -e ipv6.dst -e ipv6.tclass "
		"-e ipv6.hlim";
	char neighbours[256];

	snprintf(neighbours, sizeof(neighbours),
		"arp.opcode == 1 and eth.dst.ig == 1 or arp.opcode == 2 or icmpv6.type == 136 or "
		"icmpv6.type == 135 and eth.dst.ig == 1 and ipv6.src == %s",
		vm->rig->v6_host);
	command_ok(NULL,
		"exec >%s; fields() { tshark -n -r %s -o ip.defragment:FALSE -o ipv6.defragment:FALSE "
		"-T fields -E occurrence=a -Y \"$@\"; }\n"
		"fields 'not tcp and not arp and not igmp and not icmpv6.type in {130..143}' %s "
		"-e ip.len -e ip.flags.mf -e ip.frag_offset -e ipv6.plen -e ipv6.fraghdr.offset "
		"-e ipv6.fraghdr.more -e icmp.type -e icmp.seq -e icmpv6.type -e icmpv6.echo.sequence_number "
		"-e udp.srcport -e udp.dstport -e udp.length -e udp.payload | sort || exit 1\n"
		"fields '%s' -e eth.dst -e eth.src -e arp.opcode -e arp.src.hw_mac -e arp.src.proto_ipv4 "
		"-e arp.dst.proto_ipv4 -e icmpv6.type -e icmpv6.nd.ns.target_address "
		"-e icmpv6.nd.na.target_address | grep -v fe80 | sort -u || exit 1\n"
		"fields 'tcp.flags.syn == 1' %s -e tcp.dstport -e tcp.flags -e tcp.window_size_value "
		"-e tcp.options.mss_val -e tcp.options.wscale.shift -e tcp.options.sack_perm | sort -u || "
		"exit 1\n"
		"fields 'tcp.flags.syn == 0' %s -e tcp.dstport | sort -u",
		account, pcap, ip, neighbours, ip, ip);
}

void account_write(struct vm *vm, const char *ifname, const char *name)
{
	struct process *receiver[4];
	char pcap[160], account[160];
	int fd;

	snprintf(pcap, sizeof(pcap), "%s/%s.pcap", commands_folder(), name);
	snprintf(account, sizeof(account), "%s/%s", commands_folder(), name);
	traffic_pings(vm);
	fd = raw_open(vm->rig->peer, "p0");
	await_quiet(fd);
	start_receivers(vm, receiver);
	send_pings(vm);
	send_datagrams(vm);
	send_streams(vm);
	send_to_many(vm, ifname);
	send_tagged(vm, ifname);
	save(fd, pcap);
	close(fd);
	for (unsigned i = 0; i < 4; i++)
		process_stop(receiver[i]);
	tell(vm, pcap, account);
}

void account_compare(const char *name, const char *other)
{
	/* A line may hold a whole datagram: what it begins with says which. */
	if (command(NULL, "cd %s && [ $(wc -l <%s) -gt 60 ] && ! diff -U0 %s %s | cut -c -200 | grep .",
		    commands_folder(), name, name, other))
		fail_msg("the frames of %s and of %s are not the same:\n%s", name, other, command_output());
}
