/* Traffic between the guest and the peer. */
#include "traffic.h"

#include <unistd.h>

#define CARRIER_SECONDS 15
#define FILE_MIB        24
#define TAGGED_FRAMES   50
#define FLOOD_FRAMES    100 /* that come before a flood counts as one */

/* Waits in the guest: a question from here costs more than what it asks. */
#define AWAIT_CARRIER \
	"until read -r carrier </sys/class/net/%s/carrier && [ $carrier = %d ]; do sleep 0.05; done"

void traffic_await_carrier(struct vm *vm, const char *ifname, bool up)
{
	if (vm_run(vm, CARRIER_SECONDS, AWAIT_CARRIER, ifname, up))
		fail_msg("%s gets no carrier %d", ifname, up);
}

void traffic_set_up(struct vm *vm, const char *ifname)
{
	if (vm_run(vm, CARRIER_SECONDS,
		    "ip link set %s up && ip addr replace %s/24 dev %s && ip addr replace %s/64 dev %s nodad "
		    "&& " AWAIT_CARRIER,
		    ifname, vm->rig->v4_host, ifname, vm->rig->v6_host, ifname, ifname, true))
		fail_msg("%s does not come up: %s", ifname, vm->output);
}

void traffic_replug(struct vm *vm, const char *ifname)
{
	rig_ctl(vm->rig, "link 0 out");
	traffic_await_carrier(vm, ifname, false);
	rig_ctl(vm->rig, "link 0 in");
	traffic_await_carrier(vm, ifname, true);
}

void traffic_all(struct vm *vm, struct traffic list)
{
	traffic_pings(vm);
	traffic_sizes(vm);
	traffic_streams(vm);
	traffic_file_of(vm, list.file_mib ? list.file_mib : FILE_MIB);
	if (list.jumbo)
		traffic_jumbo_and_back(vm, list.jumbo);
	if (list.vlan) {
		traffic_begin_vlan(vm, list.vlan);
		traffic_vlan(vm);
		traffic_end_vlan(vm);
	}
}

void traffic_pings(struct vm *vm)
{
	vm_ok(vm, "ping -nqc3 -i0.02 -W5 %s && ping -nqc3 -i0.02 -W5 %s", vm->rig->v4_peer, vm->rig->v6_peer);
	command_ok(vm->rig->peer, "ping -nqc3 -i0.02 -W5 %s && ping -nqc3 -i0.02 -W5 %s", vm->rig->v4_host,
		vm->rig->v6_host);
}

void traffic_sizes(struct vm *vm)
{
	static const char script[] = "for s in 0 1 18 64 1000 1471 1472 1473 8000 65000; do "
				     "ping -nqc2 -i0.01 -W5 -s $s %s || exit 1; done";

	vm_ok(vm, script, vm->rig->v4_peer);
	command_ok(vm->rig->peer, script, vm->rig->v6_host);
}

static void await_listener(struct vm *vm, unsigned port)
{
	assert_soon(10, command(vm->rig->peer, "ss -Hltn sport = %u | grep -q .", port) == 0);
}

void traffic_streams(struct vm *vm)
{
	const char *v4 = vm->rig->v4_peer, *v6 = vm->rig->v6_peer;
	struct process *server = process_start("iperf3", vm->rig->peer, "exec iperf3 -s");

	await_listener(vm, 5201);
	vm_ok(vm, "iperf3 -c %s -n 32M && iperf3 -R -c %s -n 32M", v4, v4);
	vm_ok(vm, "iperf3 -c %s -n 32M -P 4 && iperf3 -R -c %s -n 32M -P 4", v6, v6);
	process_stop(server);
}

void traffic_file(struct vm *vm)
{
	traffic_file_of(vm, FILE_MIB);
}

void traffic_file_of(struct vm *vm, unsigned mib)
{
	const char *folder = commands_folder();
	struct process *receiver;
	char sum[65] = {0};

	command_ok(NULL, "head -c %uM /dev/urandom >%s/sent", mib, folder);
	memcpy(sum, command_ok(NULL, "sha256sum <%s/sent", folder), 64);

	vm_ok(vm, "socat -u TCP4-LISTEN:5001 OPEN:/run/file,creat,trunc >/dev/null 2>&1 & "
		  "until ss -Hltn sport = 5001 | grep -q .; do sleep 0.1; done");
	command_ok(vm->rig->peer, "socat -u OPEN:%s/sent TCP4:%s:5001", folder, vm->rig->v4_host);
	vm_ok(vm, "while pidof -q socat; do sleep 0.1; done; sha256sum </run/file | grep %s", sum);

	receiver = process_start(
		"socat", vm->rig->peer, "exec socat -u TCP6-LISTEN:5002 OPEN:%s/back,creat,trunc", folder);
	await_listener(vm, 5002);
	vm_ok(vm, "socat -u OPEN:/run/file TCP6:[%s]:5002 && rm /run/file", vm->rig->v6_peer);
	assert_int_equal(process_wait(receiver, 10), 0);
	command_ok(NULL, "sha256sum <%s/back | grep %s", folder, sum);
}

void traffic_begin_flood(struct vm *vm, const char *ifname)
{
	vm_ok(vm,
		"count=/sys/class/net/%s/statistics/rx_packets; before=$(cat $count)\n"
		"ping -nqf -w 60 %s >/dev/null 2>&1 & echo $! >/run/flood\n"
		"until [ $(cat $count) -gt $((before + %d)) ]; do sleep 0.05; done",
		ifname, vm->rig->v4_peer, FLOOD_FRAMES);
}

void traffic_end_flood(struct vm *vm)
{
	vm_ok(vm, "kill $(cat /run/flood)");
}

void traffic_await_recovery(struct vm *vm)
{
	vm_ok(vm, "i=0; until ping -nqc1 -W1 %s; do i=$((i + 1)); test $i -lt 20 || exit 1; done",
		vm->rig->v4_peer);
}

void traffic_cable_mtu(struct vm *vm, unsigned mtu)
{
	command_ok(vm->rig->peer, "ip link set p0 mtu %u", mtu);
	command_ok(vm->rig->host, "ip link set d0 mtu %u", mtu);
}

void traffic_jumbo(struct vm *vm)
{
	vm_ok(vm, "ping -nqc3 -i0.02 -W5 -M do -s 8972 %s", vm->rig->v4_peer);
	command_ok(vm->rig->peer, "ping -nqc3 -i0.02 -W5 -M do -s 8972 %s", vm->rig->v4_host);
	traffic_file_of(vm, FILE_MIB / 3);
}

/* A driver may begin anew for another MTU: its link is gone for a moment then. */
static void set_mtu(struct vm *vm, const char *ifname, unsigned mtu)
{
	traffic_cable_mtu(vm, mtu);
	vm_ok(vm, "ip link set %s mtu %u", ifname, mtu);
	traffic_await_carrier(vm, ifname, true);
}

void traffic_jumbo_and_back(struct vm *vm, const char *ifname)
{
	set_mtu(vm, ifname, 9000);
	traffic_jumbo(vm);
	set_mtu(vm, ifname, 1500);
	traffic_pings(vm);
}

/* --- VLAN ----------------------------------------------------------------------------------------------- */

void traffic_begin_vlan(struct vm *vm, const char *ifname)
{
	vm_ok(vm,
		"ip link add link %s name vlan42 type vlan id 42 egress-qos-map 0:5 && "
		"ip addr add 192.0.2.2/24 dev vlan42 && ip link set vlan42 up && "
		"ip neigh add 192.0.2.1 lladdr 02:00:00:00:00:77 dev vlan42",
		ifname);
}

static uint64_t vlan_frames(struct vm *vm)
{
	return vm_number(vm, "cat /sys/class/net/vlan42/statistics/rx_packets");
}

void traffic_vlan(struct vm *vm)
{
	static struct captured frame;
	uint8_t tagged[256], to[6], from[6];
	int fd = raw_open(vm->rig->peer, "p0");
	uint64_t before = vlan_frames(vm);
	size_t size;

	vm_ok(vm, "ping -nqc3 -i0.01 -W0.1 192.0.2.1; true");
	for (unsigned i = 0; i < 3; i++) {
		/* IPv6 looks for neighbours meanwhile, in another priority. */
		do
			assert_true(raw_receive_type(fd, &frame, 0x8100, 5));
		while ((frame.data[16] << 8 | frame.data[17]) != 0x0800);
		assert_int_equal(frame.data[14] << 8 | frame.data[15], 5 << 13 | 42);
		assert_null(frame_fault(frame.data, frame.size));
	}
	/* What comes back is for the address that they came from. */
	memcpy(to, frame.data + 6, sizeof(to));
	link_mac(vm->rig->peer, "p0", from);
	size = frame_udp4(tagged, to, from, "192.0.2.1", "192.0.2.2", 1000, 9, 100);
	size = frame_tag(tagged, size, 0x8100, 3 << 13 | 42);
	for (unsigned i = 0; i < TAGGED_FRAMES; i++)
		raw_send(fd, tagged, size);
	close(fd);
	assert_soon(5, vlan_frames(vm) >= before + TAGGED_FRAMES);
}

void traffic_end_vlan(struct vm *vm)
{
	vm_ok(vm, "ip link del vlan42");
}
