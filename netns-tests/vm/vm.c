/*
 * The rig of the VM tests: QEMU's life, and the conversation with the guest.
 *
 * QEMU emulates the processor (TCG): test machines rarely let a guest use theirs. With the software NIC it has one
 * thread for all virtual processors, because with more QEMU drops accesses to that NIC that meet ("Blocked re-entrant
 * IO").
 */
#include "slot.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdarg.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#define TEST_SECONDS      240 /* a test that takes longer hangs */
#define BOOT_ATTEMPTS     3
#define BOOT_SECONDS      180 /* a bound only: it takes a few where nothing else runs */
#define SOFTNIC_VIOLATION 3   /* exit code of ixy-softnic */
#define SCRIPT_MAX        16384
#define OUTPUT_MAX        (4u << 20)
#define WAKE_MS           1000
#define GRACE_SECONDS     15 /* for the guest to report a script that was killed */

/* --- bytes to and from the guest ------------------------------------------------------------------------ */

/* The guest no longer answers: no later test need wait for it. */
static void lose_guest(struct vm *vm)
{
	if (vm->agent >= 0)
		close(vm->agent);
	vm->agent = -1;
}

/* The test fails, with all that may tell why. */
static void guest_failed(struct vm *vm, const char *how)
{
	bool runs = process_running(vm->qemu);
	char *complaints = strdup(process_stderr(vm->qemu)); /* asking for the console takes it away */

	lose_guest(vm);
	fail_msg("the guest %s, QEMU %s; its console:\n%s\nQEMU: %s\nixy-softnic: %s", how,
		runs ? "runs" : "has ended", vm_console(vm), complaints,
		vm->rig->softnic ? process_stderr(vm->rig->softnic) : "none");
}

/* A path in the test's folder; constant string until the next call with the same name's slot. */
static const char *socket_path(char path[96], const char *name)
{
	snprintf(path, 96, "%s/%s", commands_folder(), name);
	return path;
}

static int connect_to(const char *name, int flags)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	char path[96];
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | flags, 0);

	strcpy(address.sun_path, socket_path(path, name));
	if (connect(fd, (struct sockaddr *)&address, sizeof(address)) == 0)
		return fd;
	close(fd);
	return -1;
}

int vm_connect(const char *name)
{
	return connect_to(name, 0);
}

/*
 * QEMU 7.2 may sleep through its guest's timers: both processors wait for one, and the thread that has to bring it does
 * not know. It has been seen to take two minutes, until the next thing happened to QEMU. So something does.
 */
static void wake_qemu(void)
{
	int fd = connect_to("wake", SOCK_NONBLOCK);

	if (fd >= 0)
		close(fd);
}

/* Read exactly size bytes. False: the deadline has passed, or the guest is gone. */
static bool read_exactly(struct vm *vm, char *data, size_t size, int64_t deadline)
{
	while (size) {
		struct pollfd p = {.fd = vm->agent, .events = POLLIN};
		int64_t left = deadline - clock_ms();
		ssize_t n;

		if (left <= 0)
			return false;
		n = poll(&p, 1, left < WAKE_MS ? (int)left : WAKE_MS);
		if (n < 0)
			return false;
		if (n == 0) {
			wake_qemu();
			continue;
		}
		n = read(vm->agent, data, size);
		if (n <= 0)
			return false;
		data += n;
		size -= (size_t)n;
	}
	return true;
}

static bool read_line(struct vm *vm, char *line, size_t room, int64_t deadline)
{
	for (size_t i = 0; i < room; i++) {
		if (!read_exactly(vm, &line[i], 1, deadline))
			return false;
		if (line[i] == '\n') {
			line[i] = 0;
			return true;
		}
	}
	return false;
}

static bool write_all(int fd, const char *data, size_t size)
{
	while (size) {
		ssize_t n = write(fd, data, size);

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return false;
		data += n;
		size -= (size_t)n;
	}
	return true;
}

/* --- scripts -------------------------------------------------------------------------------------------- */

static int run(struct vm *vm, unsigned seconds, const char *script)
{
	char header[64], answer[64];
	int64_t deadline = clock_ms() + 1000 * (int64_t)(seconds + GRACE_SECONDS) * slow_factor();
	int status = 0;
	unsigned size = 0;

	if (vm->agent < 0)
		fail_msg("the guest is gone");
	free(vm->output);
	vm->output = NULL;
	snprintf(header, sizeof(header), "%u %zu\n", seconds * slow_factor(), strlen(script));
	if (!write_all(vm->agent, header, strlen(header)) || !write_all(vm->agent, script, strlen(script)) ||
		!read_line(vm, answer, sizeof(answer), deadline) ||
		sscanf(answer, "%d %u", &status, &size) != 2 || size > OUTPUT_MAX)
		guest_failed(vm, "does not answer");
	vm->output = calloc(1, (size_t)size + 1);
	assert_non_null(vm->output);
	if (!read_exactly(vm, vm->output, size, deadline))
		guest_failed(vm, "cuts its answer off");
	return status;
}

#define FORMAT_SCRIPT(script, format)                             \
	char script[SCRIPT_MAX];                                  \
	do {                                                      \
		va_list args_;                                    \
		va_start(args_, format);                          \
		vsnprintf(script, sizeof(script), format, args_); \
		va_end(args_);                                    \
	} while (0)

int vm_run(struct vm *vm, unsigned seconds, const char *format, ...)
{
	FORMAT_SCRIPT(script, format);
	return run(vm, seconds, script);
}

static void must_succeed(struct vm *vm, const char *script)
{
	int status = run(vm, COMMAND_SECONDS, script);

	if (status)
		fail_msg("guest: `%s` ended with %d:\n%s", script, status, vm->output);
}

const char *vm_ok(struct vm *vm, const char *format, ...)
{
	FORMAT_SCRIPT(script, format);
	must_succeed(vm, script);
	return vm->output;
}

uint64_t vm_number(struct vm *vm, const char *format, ...)
{
	char *end;
	uint64_t value;

	FORMAT_SCRIPT(script, format);
	must_succeed(vm, script);
	value = strtoull(vm->output, &end, 10);
	if (end == vm->output || (*end && *end != '\n'))
		fail_msg("guest: `%s` printed no number but: %s", script, vm->output);
	return value;
}

/* --- the guest's life ----------------------------------------------------------------------------------- */

const char *vm_console(struct vm *vm)
{
	return vm->qemu ? process_stdout(vm->qemu) : "";
}

/* One end of a socket pair for a process that is about to start: inherited by that one and no other. */
static void let_inherit(int fd, bool inherit)
{
	fcntl(fd, F_SETFD, inherit ? 0 : FD_CLOEXEC);
}

/*
 * The IOMMU. The software NIC's interrupts come by QEMU's qtest socket, past the remapping; with caching-mode the guest
 * reports each new map, not only those it takes away. Constant string until the next call.
 */
static const char *iommu_device(const struct vm_options *options)
{
	static char text[80];

	snprintf(text, sizeof(text), "-device intel-iommu,intremap=%s,caching-mode=on,aw-bits=%u",
		options->slot ? "on" : "off", options->address_bits ? options->address_bits : 48);
	return options->iommu ? text : "";
}

/*
 * With the software NIC and the IOMMU, QEMU's own devices are on a bus that the IOMMU does not serve. A write to the
 * IOMMU's registers tells the software NIC of the new map, and QEMU lets go of its lock meanwhile: what a device of the
 * IOMMU interrupts with just then is dropped ("Blocked re-entrant IO on MemoryRegion: vtd-ir"), and the guest would wait
 * for its answer for ever.
 */
#define PAST_THE_IOMMU                                         \
	"-device pxb-pcie,id=past,bus_nr=128,bypass_iommu=on " \
	"-device pcie-root-port,id=own,bus=past"

/*
 * QEMU with a guest that has this NIC. no_timer_check: the kernel tests its timer against the clock, which a processor
 * that is emulated, and has to wait for a real one, fails now and then.
 */
static void start_qemu(struct vm *vm, const struct vm_options *options, const char *threads, const char *nic)
{
	bool past = options->iommu && !options->slot;
	const char *image = getenv("IXY_VM"), *place = past ? "own,addr=0" : "pcie.0,addr=2";
	char agent[96], wake[96];

	if (!image)
		fail_msg("IXY_VM does not name the folder of the guest's kernel: make test-vm");
	vm->qemu = process_start("qemu", vm->rig->host,
		"ulimit -c 0; exec qemu-system-x86_64 -M q35,kernel-irqchip=%s,memory-backend=ram "
		"-accel tcg,thread=%s -cpu max -smp 2 -m 1G %s "
		"-object memory-backend-memfd,id=ram,size=1G,share=on "
		"-nographic -nodefaults -no-reboot -serial stdio -monitor unix:%s,server=on,wait=off %s %s "
		"-fsdev local,id=host,path=/,security_model=none,readonly=on,multidevs=remap "
		"-device virtio-9p-pci,fsdev=host,mount_tag=host,bus=%s.0,multifunction=on "
		"-chardev socket,id=agent,path=%s,server=on,wait=off "
		"-device virtio-serial-pci,bus=%s.1 -device virtserialport,chardev=agent,name=agent "
		"-kernel %s/kernel -initrd %s/initrd.gz -append 'console=ttyS0 panic=-1 quiet no_timer_check "
		"tsc=reliable clocksource=tsc agent=%s %s %s'",
		options->iommu ? "split" : "on", threads, iommu_device(options), socket_path(wake, "wake"),
		nic, past ? PAST_THE_IOMMU : "", place, socket_path(agent, "agent"), place, image, image,
		rig_program("vm/agent"), options->iommu ? "intel_iommu=on" : "",
		options->append ? options->append : "");
}

/* The software NIC and QEMU hold the two ends of a socket pair. */
static void start_with_softnic(struct vm *vm, const struct vm_options *options)
{
	char qtest[96], text[256];
	int pair[2];

	socket_path(qtest, "qtest");
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair), 0);
	snprintf(text, sizeof(text), "--mac 02:82:59:90:00:01 qemu:%d,qtest=%s%s=dev:d0", pair[0], qtest,
		options->iommu ? ",vtd" : "");
	let_inherit(pair[0], true);
	rig_start_softnic(vm->rig, text);
	close(pair[0]);

	snprintf(text, sizeof(text),
		"-qtest unix:%s,server=on,wait=off -qtest-log none -device "
		"x-pci-proxy-dev,id=nic0,fd=%d,addr=04.0",
		qtest, pair[1]);
	let_inherit(pair[1], true);
	start_qemu(vm, options, "single", text);
	close(pair[1]);
}

static void start_programs(struct vm *vm, const struct vm_options *options)
{
	if (options->slot)
		start_qemu(vm, options, "multi", slot_arguments());
	else
		start_with_softnic(vm, options);
}

static bool crashed(struct process *process)
{
	return process_wait(process, 5) == STATUS_SIGNAL + SIGSEGV;
}

void vm_huge_pages(struct vm *vm, unsigned count)
{
	vm_ok(vm, "echo %u >/proc/sys/vm/nr_hugepages && grep -x %u /proc/sys/vm/nr_hugepages", count, count);
}

/* True: it takes scripts. */
static bool guest_comes_up(struct vm *vm)
{
	int64_t patience = BOOT_SECONDS * 1000 * (int64_t)slow_factor();
	char line[16];

	return wait_for(BOOT_SECONDS, (vm->agent = vm_connect("agent")) >= 0 || !process_running(vm->qemu)) &&
	       vm->agent >= 0 && write_all(vm->agent, "hello\n", 6) &&
	       read_line(vm, line, sizeof(line), clock_ms() + patience) && strcmp(line, "hello") == 0;
}

int vm_boot(void **state)
{
	return vm_boot_with(state, NULL);
}

static void make_rig(struct vm *vm, bool slot)
{
	void *rig = NULL;

	assert_int_equal(rig_setup(&rig), 0);
	vm->rig = rig;
	command_ok(vm->rig->peer, "ip addr replace %s/24 dev p0 && ip addr replace %s/64 dev p0 nodad",
		vm->rig->v4_peer, vm->rig->v6_peer);
	if (slot)
		slot_lay_cable(vm);
}

static void unmake_rig(struct vm *vm)
{
	void *rig = vm->rig;

	lose_guest(vm);
	if (vm->monitor >= 0)
		close(vm->monitor);
	vm->monitor = -1;
	rig_teardown(&rig);
	vm->rig = NULL;
	vm->qemu = NULL;
}

int vm_boot_with(void **state, const struct vm_options *options)
{
	static const struct vm_options plain;
	struct vm *vm = calloc(1, sizeof(*vm));
	bool up;

	assert_non_null(vm);
	vm->agent = vm->monitor = -1;
	*state = vm;
	options = options ? options : &plain;
	vm->nic = options->slot ? SLOT_NIC : VM_NIC;
	make_rig(vm, options->slot);
	start_programs(vm, options);
	up = guest_comes_up(vm);
	/*
	 * QEMU 7.2 itself dies now and then when a guest switches its IOMMU on: its proxy for devices of other
	 * processes lets go of QEMU's lock in the middle of that. Nothing has been tested by then.
	 */
	for (unsigned i = 1; i < BOOT_ATTEMPTS && !up && options->iommu && crashed(vm->qemu); i++) {
		fprintf(stderr, "QEMU crashed while the guest booted, as it does with an IOMMU now and then: "
				"once more\n");
		unmake_rig(vm);
		make_rig(vm, options->slot);
		start_programs(vm, options);
		up = guest_comes_up(vm);
	}
	if (!up || (options->slot && !slot_connect(vm)))
		guest_failed(vm, "does not boot");
	return 0;
}

/* Lines that QEMU has said on stderr. */
static uint64_t complaints(struct vm *vm)
{
	uint64_t n = 0;

	for (const char *at = process_stderr(vm->qemu); (at = strchr(at, '\n')); at++)
		n++;
	return n;
}

/* IOMMU faults among the software NIC's violations; with a slot all of them. */
static uint64_t iommu_faults(struct vm *vm)
{
	static const char name[] = "dma-iommu ";
	const char *line;

	if (!vm->rig->softnic)
		return complaints(vm);
	line = strstr(rig_ctl(vm->rig, "violations 0"), name);
	return line ? strtoull(line + strlen(name), NULL, 10) : 0;
}

uint64_t vm_excuse_iommu_faults(struct vm *vm)
{
	uint64_t before = vm->excused;

	vm->excused = iommu_faults(vm);
	return vm->excused - before;
}

void vm_assert_no_violation(struct vm *vm)
{
	if (!vm->rig->softnic) {
		/* Each is one test's failure, not that of all that follow. */
		if (vm_excuse_iommu_faults(vm))
			fail_msg("QEMU complains:\n%s", process_stderr(vm->qemu));
		return;
	}
	if (rig_violations(vm->rig, 0) != vm->excused || iommu_faults(vm) != vm->excused)
		fail_msg("the software NIC counted %s:\n%s", rig_ctl(vm->rig, "violations 0"),
			process_stderr(vm->rig->softnic));
}

/* The software NIC's own look at the IOMMU may meet the guest's: it knows that, and looks again. */
static bool dropped_an_access(struct vm *vm)
{
	static const char warning[] = "Blocked re-entrant IO on MemoryRegion: ";
	const char *text = strstr(process_stderr(vm->qemu), warning);

	return text && strncmp(text + strlen(warning), "intel_iommu ", strlen("intel_iommu ")) != 0;
}

void vm_finish(struct vm *vm)
{
	int status;

	if (vm->agent < 0)
		fail_msg("the guest is gone");
	vm_assert_no_violation(vm);
	lose_guest(vm); /* that is what it switches off at */
	status = process_wait(vm->qemu, 20);
	if (status)
		fail_msg("QEMU ended with %d:\n%s", status, process_stderr(vm->qemu));
	if (dropped_an_access(vm))
		fail_msg("QEMU dropped accesses to the NIC:\n%s", process_stderr(vm->qemu));
	if (!vm->rig->softnic) {
		vm_assert_no_violation(vm);
		return;
	}
	status = process_wait(vm->rig->softnic, 10);
	process_assert_sane(vm->rig->softnic);
	if (status != (vm->excused ? SOFTNIC_VIOLATION : 0))
		fail_msg("ixy-softnic ended with %d:\n%s", status, process_stderr(vm->rig->softnic));
}

bool vm_begin(void)
{
	cmocka_set_test_filter(getenv("IXY_TESTS"));
	return rig_begin();
}

int vm_test_begin(void **state)
{
	(void)state;
	alarm(TEST_SECONDS * slow_factor());
	return 0;
}

int vm_test_end(void **state)
{
	(void)state;
	alarm(0);
	return 0;
}

int vm_group_end(void **state)
{
	struct vm *vm = *state;

	if (vm) {
		unmake_rig(vm);
		free(vm->output);
		free(vm);
	}
	return rig_end(NULL);
}
