/*
 * QEMU's own virtio-net in the guest, its cable and the monitor that plugs it in. See slot.h.
 *
 * The monitor speaks QMP: a line of JSON a command, a line an answer, and lines between them that tell of events. The
 * commands are those of the monitor for people, which take a device's properties as the command line does.
 */
#include "slot.h"

#include <poll.h>
#include <stdarg.h>
#include <unistd.h>

#include "traffic.h"

#define ANSWER_SECONDS 20
#define EJECT_SECONDS  30
#define LINE_ROOM      65536 /* an answer may name 4096 VLANs: those of a driver that does not filter them */

/* Longer than the frames of any test: how long they may be on the cable is for its other parts to say. */
#define TAP_MTU 16000

/* --- the monitor ---------------------------------------------------------------------------------------- */

/*
 * The next line; what is longer than the room is cut. That the slot is empty is remembered, whoever is told of it.
 * False: no line before the deadline.
 */
static bool read_line(struct vm *vm, char line[LINE_ROOM], int64_t deadline)
{
	size_t n = 0;
	char c = 0;

	while (c != '\n') {
		struct pollfd p = {.fd = vm->monitor, .events = POLLIN};
		int64_t left = deadline - clock_ms();

		if (left <= 0 || poll(&p, 1, (int)left) <= 0 || read(vm->monitor, &c, 1) != 1)
			return false;
		if (n < LINE_ROOM - 1)
			line[n++] = c;
	}
	line[n] = 0;
	if (strstr(line, "\"DEVICE_DELETED\", \"data\": {\"device\": \"nic\""))
		vm->ejected = true;
	return true;
}

static int64_t in_seconds(unsigned seconds)
{
	return clock_ms() + 1000 * (int64_t)seconds * slow_factor();
}

/* The answer is the next line that tells of no event. */
static bool ask(struct vm *vm, const char *request, char answer[LINE_ROOM])
{
	int64_t deadline = in_seconds(ANSWER_SECONDS);

	if (write(vm->monitor, request, strlen(request)) != (ssize_t)strlen(request))
		return false;
	do {
		if (!read_line(vm, answer, deadline))
			return false;
	} while (strstr(answer, "\"event\": "));
	return true;
}

bool slot_connect(struct vm *vm)
{
	char line[LINE_ROOM];

	vm->monitor = vm_connect("monitor");
	return vm->monitor >= 0 && read_line(vm, line, in_seconds(ANSWER_SECONDS)) &&
	       strstr(line, "{\"QMP\"") && ask(vm, "{\"execute\": \"qmp_capabilities\"}\n", line) &&
	       strstr(line, "\"return\": {}");
}

const char *slot_filter(struct vm *vm)
{
	static char answer[LINE_ROOM];

	if (!ask(vm, "{\"execute\": \"query-rx-filter\", \"arguments\": {\"name\": \"nic\"}}\n", answer) ||
		!strstr(answer, "\"return\": ["))
		fail_msg("QEMU does not tell of filters: %s", answer);
	return answer;
}

/* The text of a JSON string up to its end, in place. */
static char *unescape(char *text)
{
	char *to = text;

	for (char *at = text; *at && *at != '"'; at++) {
		if (*at == '\\' && *++at == 'r')
			continue;
		*to++ = *at == 'n' && at[-1] == '\\' ? '\n' : *at;
	}
	*to = '\0';
	return text;
}

const char *slot_ask(struct vm *vm, const char *command)
{
	static const char answered[] = "\"return\": \"";
	static char answer[LINE_ROOM];
	char request[1200];

	snprintf(request, sizeof(request),
		"{\"execute\": \"human-monitor-command\", \"arguments\": {\"command-line\": \"%s\"}}\n",
		command);
	if (!ask(vm, request, answer) || !strstr(answer, answered))
		fail_msg("QEMU's monitor, to \"%s\": %s", command, answer);
	return unescape(strstr(answer, answered) + strlen(answered));
}

void slot_monitor(struct vm *vm, const char *format, ...)
{
	char command[1024];
	const char *answer;
	va_list args;

	va_start(args, format);
	vsnprintf(command, sizeof(command), format, args);
	va_end(args);
	answer = slot_ask(vm, command);
	if (*answer)
		fail_msg("QEMU's monitor, to \"%s\": %s", command, answer);
}

/* --- the slot ------------------------------------------------------------------------------------------- */

/*
 * A root port of its own, as libvirt gives each function: only there can one come and go. It keeps I/O space for a
 * legacy one, and memory for one with a page for each queue (page-per-vq=on).
 */
const char *slot_arguments(void)
{
	static char text[256];

	snprintf(text, sizeof(text),
		"-qmp unix:%s/monitor,server=on,wait=off "
		"-device pcie-root-port,id=root,addr=05.0,chassis=1,io-reserve=4096,pref64-reserve=32M",
		commands_folder());
	return text;
}

static const char *layout(enum slot_kind kind)
{
	switch (kind) {
	case SLOT_MODERN: return "disable-legacy=on,disable-modern=off";
	case SLOT_LEGACY: return "disable-legacy=off,disable-modern=on";
	case SLOT_TRANSITIONAL: return "disable-legacy=off,disable-modern=off";
	}
	return "";
}

/* A bridge that learns nothing is a piece of cable; nobody on this host speaks on it. */
void slot_lay_cable(struct vm *vm)
{
	command_ok(vm->rig->host,
		"ip link add cable type bridge stp_state 0 mcast_snooping 0 && "
		"sysctl -qw net.ipv6.conf.cable.disable_ipv6=1 && "
		"ip link set d0 master cable && ip link set d0 type bridge_slave learning off && "
		"ethtool -K d0 tx off tso off gso off >/dev/null && ip link set cable up");
}

/* The function's end of it, which QEMU makes. */
static void plug_tap(struct vm *vm, unsigned queues)
{
	slot_monitor(
		vm, "netdev_add tap,id=wire,ifname=t0,script=no,downscript=no,vhost=off,queues=%u", queues);
	command_ok(vm->rig->host,
		"sysctl -qw net.ipv6.conf.t0.disable_ipv6=1 && ip link set t0 mtu %u master cable up && ip "
		"link set t0 type bridge_slave learning off",
		TAP_MTU);
}

/* One failure is not to be the next test's, too. */
static void clean_up(struct vm *vm)
{
	vm_run(vm, COMMAND_SECONDS,
		"pids=$(pidof ixy-tapd ping socat iperf3) && kill -9 $pids; ip link del ixy0");
	slot_unplug(vm);
	traffic_cable_mtu(vm, 1500);
	vm_excuse_iommu_faults(vm);
}

void slot_plug(struct vm *vm, const struct slot_nic *nic)
{
	unsigned queues = nic->queues ? nic->queues : 1;

	if (vm->plugged)
		clean_up(vm);
	plug_tap(vm, queues);
	vm->plugged = true;
	vm->ejected = false;
	/* The two vectors beside those of the queues are the configuration's and the control queue's. */
	slot_monitor(vm,
		"device_add virtio-net-pci,id=nic,bus=root,netdev=wire,mac=" SLOT_MAC ",romfile=,"
		"%s,mq=%s,vectors=%u,iommu_platform=%s%s%s",
		layout(nic->kind), nic->queues ? "on" : "off", 2 * queues + 2, nic->translated ? "on" : "off",
		nic->properties ? "," : "", nic->properties ? nic->properties : "");
	vm_ok(vm, "until test -e /sys/bus/pci/devices/" SLOT_NIC "/driver_override; do sleep 0.02; done");
}

void slot_eject(struct vm *vm)
{
	slot_monitor(vm, "device_del nic");
}

void slot_await_empty(struct vm *vm)
{
	char line[LINE_ROOM];
	int64_t deadline = in_seconds(EJECT_SECONDS);

	while (!vm->ejected)
		if (!read_line(vm, line, deadline))
			fail_msg("the guest does not let go of the function");
	slot_monitor(vm, "netdev_del wire");
	vm->plugged = false;
}

void slot_unplug(struct vm *vm)
{
	slot_eject(vm);
	slot_await_empty(vm);
}

void slot_link(struct vm *vm, bool up)
{
	slot_monitor(vm, "set_link nic %s", up ? "on" : "off");
}
