/*
 * The software NIC under the Linux kernel's own ixgbe driver, which nobody here wrote: whatever that driver
 * checks or relies on is a statement about the model.
 *
 * In the guest the interface is eth0. All tests share one guest, and each leaves the interface up, with its
 * addresses and MTU 1500.
 */
#include <unistd.h>

#include "traffic.h"

#define FRAMES 50 /* test frames sent at a filter */

static const uint8_t guest_mac[6] = {0x02, 0x82, 0x59, 0x90, 0x00, 0x01}; /* as the rig gives it to the NIC */

/* --- bring-up ------------------------------------------------------------------------------------------- */

static int boot_and_load_driver(void **state)
{
	struct vm *vm;

	vm_boot(state);
	vm = *state;
	vm_ok(vm, "dmesg --clear && modprobe ixgbe");
	traffic_set_up(vm, "eth0");
	return 0;
}

/* --- asking --------------------------------------------------------------------------------------------- */

static uint64_t ethtool_statistic(struct vm *vm, const char *name)
{
	return vm_number(vm, "ethtool -S eth0 | awk '$1 == \"%s:\" { print $2 }'", name);
}

static uint64_t interrupts(struct vm *vm, const char *vector)
{
	return vm_number(vm, "awk '$NF == \"%s\" { print $2 + $3 }' /proc/interrupts", vector);
}

/*
 * Since the last time the kernel has found nothing to complain of (but that emulated clocks run unevenly, and that
 * UDP by ports may reorder fragments), and the NIC neither.
 *
 * When the driver sees that the link is down, by a cable or after a reset of its own, and has sent something that it
 * has not yet seen completed, it resets the NIC to be rid of it. That is a matter of moments, with any NIC. (A queue
 * that hangs has a message of its own.)
 */
static void assert_no_complaint(struct vm *vm)
{
	vm_ok(vm, "dmesg --level=emerg,alert,crit,err,warn >/run/warnings; dmesg --clear; "
		  "grep -v -e clock -e hrtimer -e 'kernel command line' -e 'enabling UDP RSS' "
		  "-e 'reset to clear Tx work after link loss' -e 'Reset adapter' /run/warnings; [ $? = 1 ]");
	vm_assert_no_violation(vm);
}

/* --- first contact -------------------------------------------------------------------------------------- */

static void the_driver_finds_the_device_without_a_warning(void **state)
{
	struct vm *vm = *state;

	vm_ok(vm, "readlink /sys/bus/pci/devices/" VM_NIC "/driver | grep /ixgbe$");
	vm_ok(vm, "dmesg | grep 'ixgbe " VM_NIC ": 02:82:59:90:00:01' && dmesg | grep 'eth0: detected SFP+'");
	vm_ok(vm, "ethtool eth0 | grep 'Speed: 10000Mb/s' && ethtool eth0 | grep 'Link detected: yes'");
	assert_no_complaint(vm);
}

static void both_sides_reach_each_other(void **state)
{
	struct vm *vm = *state;

	traffic_pings(vm);
	traffic_sizes(vm);
	vm_ok(vm, "ping -nqf -c 1000 %s", vm->rig->v4_peer);
	assert_no_complaint(vm);
}

/* --- transfer ------------------------------------------------------------------------------------------- */

static void tcp_streams_run_in_both_directions(void **state)
{
	struct vm *vm = *state;

	traffic_streams(vm);
	assert_no_complaint(vm);
}

static void a_file_arrives_as_it_was_sent(void **state)
{
	struct vm *vm = *state;

	traffic_file(vm);
	assert_no_complaint(vm);
}

static void jumbo_frames_pass(void **state)
{
	struct vm *vm = *state;

	traffic_jumbo_and_back(vm, "eth0");
	assert_no_complaint(vm);
}

/* --- queues --------------------------------------------------------------------------------------------- */

struct queues {
	uint64_t packets[2], interrupts[2];
};

static struct queues queues(struct vm *vm)
{
	struct queues q;

	for (unsigned i = 0; i < 2; i++) {
		char name[32];

		snprintf(name, sizeof(name), "rx_queue_%u_packets", i);
		q.packets[i] = ethtool_statistic(vm, name);
		snprintf(name, sizeof(name), "eth0-TxRx-%u", i);
		q.interrupts[i] = interrupts(vm, name);
	}
	return q;
}

/* One datagram from each of 64 ports of the peer. */
static void send_64_flows(struct vm *vm)
{
	command_ok(vm->rig->peer,
		"for port in $(seq 20000 20063); do echo x | socat -u - UDP4-SENDTO:%s:9,sourceport=$port; "
		"done",
		vm->rig->v4_host);
	pause_ms(100);
}

static void flows_spread_over_queues_and_vectors(void **state)
{
	struct vm *vm = *state;
	struct queues before, after;

	vm_ok(vm, "ethtool -N eth0 rx-flow-hash udp4 sdfn");
	before = queues(vm);
	send_64_flows(vm);
	after = queues(vm);
	for (unsigned i = 0; i < 2; i++) {
		assert_in_range(after.packets[i] - before.packets[i], 10, 100);
		assert_true(after.interrupts[i] > before.interrupts[i]);
	}

	/* Addresses alone: they are the same for all, so is the queue. */
	vm_ok(vm, "ethtool -N eth0 rx-flow-hash udp4 sd");
	before = queues(vm);
	send_64_flows(vm);
	after = queues(vm);
	assert_true(
		(after.packets[0] - before.packets[0] >= 64) != (after.packets[1] - before.packets[1] >= 64));

	/* The table of queues decides. */
	vm_ok(vm, "ethtool -N eth0 rx-flow-hash udp4 sdfn && ethtool -X eth0 weight 0 1");
	before = queues(vm);
	send_64_flows(vm);
	after = queues(vm);
	assert_true(after.packets[1] - before.packets[1] >= 64);
	vm_ok(vm, "ethtool -X eth0 default && ethtool -N eth0 rx-flow-hash udp4 sd");

	vm_ok(vm, "ethtool -L eth0 combined 1");
	traffic_await_carrier(vm, "eth0", true);
	traffic_pings(vm);
	vm_ok(vm, "ethtool -L eth0 combined 2");
	traffic_await_carrier(vm, "eth0", true);
	traffic_pings(vm);
	assert_no_complaint(vm);
}

/* --- offloads ------------------------------------------------------------------------------------------- */

/*
 * What the guest sends is on the wire in frames that fit, with checksums that are right. Returns how many TCP
 * segments went by.
 */
static unsigned assert_wire_is_right(struct vm *vm, const char *address)
{
	static struct captured frame;
	struct process *sink =
		process_start("socat", vm->rig->peer, "exec socat -u TCP6-LISTEN:5003 OPEN:/dev/null");
	unsigned segments = 0;
	int fd;

	assert_soon(10, command(vm->rig->peer, "ss -Hltn sport = 5003 | grep -q .") == 0);
	fd = raw_open(vm->rig->peer, "p0");
	vm_ok(vm, "head -c 1M /dev/urandom | socat -u - TCP:%s:5003", address);
	while (raw_receive(fd, &frame, 200)) {
		const char *fault = frame_fault(frame.data, frame.size);

		if (fault || frame.checksum_partial)
			fail_msg("a frame of %zu bytes on the wire: %s", frame.size,
				fault ? fault : "checksum not filled in");
		assert_in_range(frame.size, 60, 14 + 1500);
		segments += frame.size > 1000;
	}
	assert_int_equal(raw_lost(fd), 0);
	close(fd);
	assert_int_equal(process_wait(sink, 10), 0);
	return segments;
}

/* True if the guest's stack hands the driver a segment longer than the MTU while it sends. */
static bool sends_super_frames(struct vm *vm)
{
	vm_ok(vm, "timeout 20 tcpdump -qnn -i eth0 -c 1 'tcp dst port 5003 and greater 2000' >/dev/null "
		  "2>/run/tcpdump & "
		  "until grep -q listening /run/tcpdump; do sleep 0.1; done");
	assert_in_range(assert_wire_is_right(vm, vm->rig->v4_peer), 700, 1500);
	return vm_run(vm, 10,
		       "sleep 1; pidof -q tcpdump && kill $(pidof tcpdump) && exit 1; grep -q '^1 packet' "
		       "/run/tcpdump") == 0;
}

static void segmentation_and_checksums_are_right_on_the_wire(void **state)
{
	struct vm *vm = *state;
	char v6[64];

	snprintf(v6, sizeof(v6), "[%s]", vm->rig->v6_peer);

	vm_ok(vm, "ethtool -k eth0 >/run/k; for f in tcp-segmentation-offload tx-checksumming "
		  "rx-checksumming; do "
		  "grep -q \"$f: on\" /run/k || exit 1; done");
	assert_true(sends_super_frames(vm));
	assert_wire_is_right(vm, v6);
	vm_ok(vm, "ethtool -K eth0 tso off gso off");
	assert_false(sends_super_frames(vm));
	vm_ok(vm, "ethtool -K eth0 tx off");
	assert_wire_is_right(vm, v6);
	vm_ok(vm, "ethtool -K eth0 tx on && ethtool -K eth0 gso on && ethtool -K eth0 tso on");
	assert_no_complaint(vm);
}

/* Send a frame from the peer FRAMES times. */
static void send_frames(struct vm *vm, const uint8_t *frame, size_t size)
{
	int fd = raw_open(vm->rig->peer, "p0");

	for (unsigned i = 0; i < FRAMES; i++)
		raw_send(fd, frame, size);
	close(fd);
}

static uint64_t udp_checksum_errors(struct vm *vm)
{
	return vm_number(vm, "nstat -asz UdpInCsumErrors | awk '/^Udp/ { print $2 }'");
}

static void a_wrong_checksum_is_found_on_receive(void **state)
{
	struct vm *vm = *state;
	struct rig *rig = vm->rig;
	uint8_t frame[256], from[6];
	uint64_t ip_before = ethtool_statistic(vm, "rx_csum_offload_errors"),
		 udp_before = udp_checksum_errors(vm);
	size_t size;

	link_mac(rig->peer, "p0", from);
	size = frame_udp4(frame, guest_mac, from, rig->v4_peer, rig->v4_host, 1000, 9, 100);
	send_frames(vm, frame, size);
	traffic_pings(vm);
	assert_int_equal(ethtool_statistic(vm, "rx_csum_offload_errors"), ip_before);
	assert_int_equal(udp_checksum_errors(vm), udp_before);

	/*
	 * For UDP Linux does not believe an 82599 that says "wrong" (errata: zero checksums), and looks
	 * itself.
	 */
	frame[size - 1] ^= 1;
	send_frames(vm, frame, size);
	assert_soon(5, udp_checksum_errors(vm) == udp_before + FRAMES);
	assert_int_equal(ethtool_statistic(vm, "rx_csum_offload_errors"), ip_before);

	frame[24] ^= 1; /* the IP header's checksum */
	send_frames(vm, frame, size);
	assert_soon(5, ethtool_statistic(vm, "rx_csum_offload_errors") == ip_before + FRAMES);
	assert_no_complaint(vm);
}

/* --- VLAN ----------------------------------------------------------------------------------------------- */

static void vlan_tags_are_inserted_stripped_and_filtered(void **state)
{
	struct vm *vm = *state;
	uint8_t tagged[256], from[6];
	uint64_t filtered;

	traffic_begin_vlan(vm, "eth0");
	traffic_vlan(vm);
	vm_ok(vm, "ethtool -K eth0 txvlan off rxvlan off");
	traffic_await_carrier(vm, "eth0", true);
	traffic_vlan(vm);
	vm_ok(vm, "ethtool -K eth0 txvlan on rxvlan on");
	traffic_await_carrier(vm, "eth0", true);
	traffic_vlan(vm);

	/* A VLAN that the guest does not have is kept out by the NIC. */
	filtered = rig_nic(vm->rig, "rx_filtered");
	link_mac(vm->rig->peer, "p0", from);
	size_t size = frame_udp4(tagged, guest_mac, from, "192.0.2.1", "192.0.2.2", 1000, 9, 100);
	send_frames(vm, tagged, frame_tag(tagged, size, 0x8100, 43));
	assert_soon(5, rig_nic(vm->rig, "rx_filtered") >= filtered + FRAMES);
	traffic_end_vlan(vm);
	traffic_pings(vm);
	assert_no_complaint(vm);
}

/* --- filters -------------------------------------------------------------------------------------------- */

/* How many of FRAMES frames to this address the NIC hands to the guest. */
static uint64_t delivered(struct vm *vm, const uint8_t to[6])
{
	const uint8_t from[6] = {0x02, 0, 0, 0, 0, 0x77};
	struct rig *rig = vm->rig;
	uint8_t frame[60];
	uint64_t filtered = rig_nic(rig, "rx_filtered"), frames = rig_nic(rig, "rx_frames");
	int fd = raw_open(rig->peer, "p0");

	for (unsigned i = 0; i < FRAMES; i++) {
		frame_test(frame, sizeof(frame), to, from, i);
		raw_send(fd, frame, sizeof(frame));
	}
	close(fd);
	assert_soon(5, rig_nic(rig, "rx_frames") >= frames + FRAMES);
	filtered = rig_nic(rig, "rx_filtered") - filtered;
	return filtered < FRAMES ? FRAMES - filtered : 0;
}

static void address_filters_let_in_what_the_guest_wants(void **state)
{
	struct vm *vm = *state;
	const uint8_t stranger[6] = {0x02, 0, 0, 0, 0, 0x55};
	const uint8_t group[6] = {0x01, 0, 0x5E, 0x11, 0x22, 0x33};

	assert_int_equal(delivered(vm, guest_mac), FRAMES);
	assert_int_equal(delivered(vm, stranger), 0);
	assert_int_equal(delivered(vm, group), 0);

	vm_ok(vm, "ip maddr add 01:00:5e:11:22:33 dev eth0");
	assert_int_equal(delivered(vm, group), FRAMES);
	vm_ok(vm, "ip maddr del 01:00:5e:11:22:33 dev eth0");
	assert_int_equal(delivered(vm, group), 0);

	vm_ok(vm, "ip link set eth0 allmulticast on");
	assert_int_equal(delivered(vm, group), FRAMES);
	assert_int_equal(delivered(vm, stranger), 0);
	vm_ok(vm, "ip link set eth0 allmulticast off");

	/* A second unicast address, as a MAC-based virtual interface has it. */
	vm_ok(vm, "ip link add link eth0 name mac0 address 02:00:00:00:00:55 type macvlan mode bridge && "
		  "ip link set mac0 up");
	assert_int_equal(delivered(vm, stranger), FRAMES);
	vm_ok(vm, "ip link del mac0");
	assert_int_equal(delivered(vm, stranger), 0);

	vm_ok(vm, "ip link set eth0 promisc on");
	assert_int_equal(delivered(vm, stranger), FRAMES);
	assert_int_equal(delivered(vm, group), FRAMES);
	vm_ok(vm, "ip link set eth0 promisc off");
	assert_int_equal(delivered(vm, stranger), 0);
	assert_int_equal(delivered(vm, group), 0);

	vm_ok(vm, "ip link set eth0 address 02:00:00:00:00:55");
	assert_int_equal(delivered(vm, stranger), FRAMES);
	assert_int_equal(delivered(vm, guest_mac), 0);
	vm_ok(vm, "ip link set eth0 address 02:82:59:90:00:01");
	traffic_pings(vm);
	assert_no_complaint(vm);
}

/* --- what ethtool shows --------------------------------------------------------------------------------- */

/*
 * The driver's counters, its queues' and the NIC's own registers. The NIC counts the CRC of what it sends,
 * not of what it strips, and the padding of short frames (ARP).
 */
static bool counters_agree(struct vm *vm)
{
	static const char script[] =
		"ethtool -S eth0 | awk '{ sub(\":\", \"\", $1); n[$1] = $2 }\n"
		"$1 ~ /^rx_queue_[0-9]+_packets$/ { rx += $2 }\n"
		"$1 ~ /^rx_queue_[0-9]+_bytes$/ { rx_bytes += $2 }\n"
		"$1 ~ /^tx_queue_[0-9]+_packets$/ { tx += $2 }\n"
		"$1 ~ /^tx_queue_[0-9]+_bytes$/ { tx_bytes += $2 }\n"
		"END {\n"
		"	padding = n[\"tx_bytes_nic\"] - tx_bytes - 4 * tx\n"
		"	exit !(rx >= 1000 && n[\"rx_packets\"] == rx && n[\"rx_pkts_nic\"] == rx &&\n"
		"		n[\"rx_bytes\"] == rx_bytes && n[\"rx_bytes_nic\"] == rx_bytes &&\n"
		"		tx >= 1000 && n[\"tx_packets\"] == tx && n[\"tx_pkts_nic\"] == tx &&\n"
		"		n[\"tx_bytes\"] == tx_bytes && padding >= 0 && padding <= 200)\n"
		"}'";

	return vm_run(vm, 10, "%s", script) == 0;
}

static void the_statistics_add_up(void **state)
{
	struct vm *vm = *state;

	vm_ok(vm, "rmmod ixgbe && modprobe ixgbe");
	traffic_set_up(vm, "eth0");
	vm_ok(vm, "ping -nqf -c 1000 -s 200 %s && ping -nqf -c 500 -s 1400 %s", vm->rig->v4_peer,
		vm->rig->v4_peer);
	if (!wait_for(10, counters_agree(vm)))
		fail_msg(
			"counters disagree: %s%s", vm->output, vm_ok(vm, "ethtool -S eth0 | grep -v ': 0$'"));
	assert_int_equal(ethtool_statistic(vm, "rx_missed_errors"), 0);
	assert_int_equal(ethtool_statistic(vm, "rx_crc_errors"), 0);
	assert_no_complaint(vm);
}

static void ethtool_reads_the_module_the_eeprom_and_the_registers(void **state)
{
	struct vm *vm = *state;

	vm_ok(vm, "ethtool -m eth0 >/run/m && grep 'Transceiver type *: 10G Ethernet: 10G Base-SR' /run/m && "
		  "grep 'Identifier *: 0x03 (SFP)' /run/m && grep 'Vendor name *: ixy softnic' /run/m && "
		  "grep 'Module temperature *: 35.00' /run/m");
	vm_ok(vm, "ethtool -m eth0 hex on | grep -c '^0x' | grep -x 32");
	vm_ok(vm, "ethtool -e eth0 raw on | wc -c | grep -x 16384");
	vm_ok(vm,
		"ethtool -d eth0 | grep 'Link Speed: *10G' && ethtool -i eth0 | grep 'bus-info: " VM_NIC "'");
	vm_ok(vm, "ethtool -p eth0 1");
	assert_no_complaint(vm);
}

static void the_self_test_passes_whole(void **state)
{
	struct vm *vm = *state;

	vm_ok(vm, "ethtool -t eth0 offline");
	assert_non_null(strstr(vm->output, "The test result is PASS"));
	traffic_await_carrier(vm, "eth0", true);
	vm_ok(vm, "ethtool -t eth0 online");
	assert_non_null(strstr(vm->output, "The test result is PASS"));
	traffic_pings(vm);
	assert_no_complaint(vm);
}

/* --- lives ---------------------------------------------------------------------------------------------- */

static void the_driver_can_be_unloaded_and_loaded_20_times(void **state)
{
	struct vm *vm = *state;

	for (unsigned i = 0; i < 20; i++)
		vm_ok(vm, "rmmod ixgbe && modprobe ixgbe && ip link set eth0 up");
	traffic_set_up(vm, "eth0");
	traffic_pings(vm);
	assert_no_complaint(vm);
}

static void the_interface_goes_down_and_up_under_traffic(void **state)
{
	struct vm *vm = *state;
	struct process *traffic =
		process_start("traffic", vm->rig->peer, "exec ping -nqf -s 1000 %s", vm->rig->v4_host);

	for (unsigned i = 0; i < 5; i++) {
		vm_ok(vm, "ip link set eth0 down && ip link set eth0 up");
		traffic_set_up(vm, "eth0");
		traffic_pings(vm);
	}
	process_kill(traffic);
	assert_no_complaint(vm);
}

static void the_cable_can_be_pulled_and_plugged(void **state)
{
	struct vm *vm = *state;

	for (unsigned i = 0; i < 3; i++) {
		traffic_replug(vm, "eth0");
		traffic_pings(vm);
	}
	vm_ok(vm, "dmesg | grep -c 'eth0: NIC Link is Down' | grep -x 3");
	assert_no_complaint(vm);
}

static void everything_ends_without_a_violation(void **state)
{
	struct vm *vm = *state;

	assert_no_complaint(vm);
	vm_finish(vm);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		VM_TEST(the_driver_finds_the_device_without_a_warning),
		VM_TEST(both_sides_reach_each_other),
		VM_TEST(tcp_streams_run_in_both_directions),
		VM_TEST(a_file_arrives_as_it_was_sent),
		VM_TEST(jumbo_frames_pass),
		VM_TEST(flows_spread_over_queues_and_vectors),
		VM_TEST(segmentation_and_checksums_are_right_on_the_wire),
		VM_TEST(a_wrong_checksum_is_found_on_receive),
		VM_TEST(vlan_tags_are_inserted_stripped_and_filtered),
		VM_TEST(address_filters_let_in_what_the_guest_wants),
		VM_TEST(the_statistics_add_up),
		VM_TEST(ethtool_reads_the_module_the_eeprom_and_the_registers),
		VM_TEST(the_self_test_passes_whole),
		VM_TEST(the_interface_goes_down_and_up_under_traffic),
		VM_TEST(the_cable_can_be_pulled_and_plugged),
		VM_TEST(the_driver_can_be_unloaded_and_loaded_20_times),
		VM_TEST(everything_ends_without_a_violation),
	};

	return vm_main("the kernel's ixgbe driver", tests, boot_and_load_driver);
}
