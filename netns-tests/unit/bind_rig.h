/*
 * A tree of plain files that looks like sysfs, and a kernel of our own behind it, for the script ixy-bind: the files
 * bind, unbind and drivers_probe are FIFOs that a thread reads, and it moves the link "driver" as the kernel would.
 * Interfaces are real ones, in a network namespace of the test's own.
 */
#ifndef UNIT_BIND_RIG_H
#define UNIT_BIND_RIG_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <errno.h>
#include <ftw.h>
#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <cmocka.h>

#include "own_netns.h"

#define SCRIPT    "contrib/ixy-bind" /* in the project's folder, where tests are run */
#define NIC       "0000:03:00.0"     /* an 82599 with the interface nic0, in group 17 */
#define OTHER     "0000:03:00.1"     /* one with nic1, in group 18 */
#define DISK      "0000:04:00.0"
#define DEVICES   "sys/bus/pci/devices/"
#define DRIVERS   "sys/bus/pci/drivers/"
#define GROUPS    "sys/kernel/iommu_groups/"
#define UNBINDING "unbinding" /* while this is there, no driver can have a function */
#define NO_DEVICE 69
#define NOT_ROOT  77

static char root[64], model[64];
static char output[16384];

/* --- the tree -------------------------------------------------------------------------------------------- */

static const char *at(char path[256], const char *format, ...) __attribute__((format(printf, 2, 3)));
static const char *at(char path[256], const char *format, ...)
{
	va_list args;
	int size = snprintf(path, 256, "%s/", root);

	va_start(args, format);
	vsnprintf(path + size, 256 - (size_t)size, format, args);
	va_end(args);
	return path;
}

/* Run a shell command with the root of the tree as its folder; it must succeed. */
static void sh(const char *format, ...) __attribute__((format(printf, 1, 2)));
static void sh(const char *format, ...)
{
	char command[1024];
	va_list args;
	int size = snprintf(command, sizeof(command), "cd %s && ", root);

	va_start(args, format);
	vsnprintf(command + size, sizeof(command) - (size_t)size, format, args);
	va_end(args);
	if (system(command) != 0)
		fail_msg("%s", command);
}

/* The driver of a function; "" if none. Constant string until the next call. */
static const char *driver_of(const char *address)
{
	static char target[256];
	char path[256];
	ssize_t size = readlink(at(path, DEVICES "%s/driver", address), target, sizeof(target) - 1);

	if (size < 0)
		return "";
	target[size] = 0;
	return strrchr(target, '/') + 1;
}

/* The first line of a file; constant string until the next call. */
static const char *line_of(const char *name)
{
	static char line[256];
	char path[256];
	FILE *file = fopen(at(path, "%s", name), "re");

	assert_non_null(file);
	if (!fgets(line, sizeof(line), file))
		line[0] = 0;
	fclose(file);
	line[strcspn(line, "\n")] = 0;
	return line;
}

static void add_function(
	const char *address, const char *class, const char *device, const char *driver, int group)
{
	sh("d=" DEVICES "%s && mkdir -p $d/net && echo 0x8086 >$d/vendor && echo 0x%s >$d/device && "
	   "echo 0x%s >$d/class && echo '(null)' >$d/driver_override && echo -1 >$d/numa_node && : "
	   ">$d/config && "
	   "echo pci:v00008086 >$d/modalias",
		address, device, class);
	if (*driver)
		sh("mkdir -p " DRIVERS "%s && ln -s ../../drivers/%s " DEVICES
		   "%s/driver && ln -s ../../../bus/pci/drivers/%s/unbind " DEVICES "%s/unbind",
			driver, driver, address, driver, address);
	if (group >= 0)
		sh("mkdir -p " GROUPS "%d/devices && echo DMA >" GROUPS "%d/type && ln -s ../../../../kernel/"
		   "iommu_groups/%d " DEVICES "%s/iommu_group && ln -s ../../../../bus/pci/devices/%s " GROUPS
		   "%d/devices/%s",
			group, group, group, address, address, group, address);
}

/* The files of a function's interface. It is down. */
static void add_interface(const char *address, const char *ifname)
{
	sh("n=" DEVICES "%s/net/%s && mkdir $n && echo 0x1002 >$n/flags && echo down >$n/operstate && "
	   "echo 10000 >$n/speed",
		address, ifname);
}

static void set_up(const char *address, const char *ifname)
{
	sh("ip link set %s up && n=" DEVICES "%s/net/%s && echo 0x1003 >$n/flags && echo up >$n/operstate && "
	   "echo 1 >$n/carrier",
		ifname, address, ifname);
}

/* --- the kernel behind it -------------------------------------------------------------------------------- */

static const char *const fifos[] = {DRIVERS "ixgbe/unbind", DRIVERS "vfio-pci/unbind", DRIVERS "ixgbe/bind",
	DRIVERS "vfio-pci/bind", "sys/bus/pci/drivers_probe"};
enum { IXGBE_UNBIND, VFIO_UNBIND, IXGBE_BIND, VFIO_BIND, PROBE, FIFOS };

static pthread_t kernel_thread;
static int fifo_fds[FIFOS], stop_pipe[2];
static atomic_bool vfio_refuses; /* vfio-pci's probe fails */
static atomic_bool no_ixgbe;     /* the kernel has no driver for the NIC */

static bool may_have(const char *driver, const char *override)
{
	if (strcmp(driver, "vfio-pci") == 0)
		return !vfio_refuses && strcmp(override, "vfio-pci") == 0;
	return !no_ixgbe && (!*override || strcmp(override, "(null)") == 0);
}

static void try_bind(const char *driver, const char *address)
{
	char path[256], target[128], override[64] = "";
	FILE *file = fopen(at(path, DEVICES "%s/driver_override", address), "re");

	if (!file)
		return;
	if (!fgets(override, sizeof(override), file))
		override[0] = 0;
	fclose(file);
	override[strcspn(override, "\n")] = 0;
	snprintf(target, sizeof(target), "../../drivers/%s", driver);
	if (access(at(path, UNBINDING), F_OK) == 0)
		return;
	if (may_have(driver, override) && symlink(target, at(path, DEVICES "%s/driver", address)) < 0 &&
		errno != EEXIST)
		perror(path);
	if (strcmp(driver, "vfio-pci") == 0 && may_have(driver, override)) {
		FILE *node = fopen(at(path, "dev/vfio/17"), "we");

		if (node)
			fclose(node);
	}
}

static void handle(int fifo, const char *address)
{
	char path[256];

	switch (fifo) {
	case IXGBE_UNBIND:
	case VFIO_UNBIND: unlink(at(path, DEVICES "%s/driver", address)); break;
	case IXGBE_BIND: try_bind("ixgbe", address); break;
	case VFIO_BIND: try_bind("vfio-pci", address); break;
	case PROBE:
		try_bind("vfio-pci", address);
		try_bind("ixgbe", address);
		break;
	default: break;
	}
}

static void *kernel(void *unused)
{
	struct pollfd fds[FIFOS + 1] = {[FIFOS] = {.fd = stop_pipe[0], .events = POLLIN}};
	char text[256];

	for (int i = 0; i < FIFOS; i++)
		fds[i] = (struct pollfd){.fd = fifo_fds[i], .events = POLLIN};
	for (;;) {
		poll(fds, FIFOS + 1, -1);
		if (fds[FIFOS].revents)
			return unused;
		for (int i = 0; i < FIFOS; i++) {
			ssize_t size = fds[i].revents ? read(fds[i].fd, text, sizeof(text) - 1) : 0;

			if (size <= 0)
				continue;
			text[size] = 0;
			for (char *word = strtok(text, "\n"); word; word = strtok(NULL, "\n"))
				handle(i, word);
		}
	}
}

/* The tree that each test gets a copy of: to build it takes many processes. */
static int make_model(void **state)
{
	(void)state;
	snprintf(root, sizeof(root), "/tmp/ixy-bind-XXXXXX");
	if (!mkdtemp(root))
		return -1;
	snprintf(model, sizeof(model), "%s", root);
	sh("chmod 755 . && mkdir -p " DEVICES " " DRIVERS "ixgbe " DRIVERS "vfio-pci dev/vfio bin");
	add_function(NIC, "020000", "10fb", "ixgbe", 17);
	add_function(OTHER, "020000", "1572", "ixgbe", 18);
	add_function(DISK, "010802", "0a54", "", 19);
	/* What the link driver points to has unbind; the function is reached through it. */
	sh("rm " DEVICES "*/unbind");
	add_interface(NIC, "nic0");
	add_interface(OTHER, "nic1");
	/* Neither the machine's modules nor its list of names; and the kernel here is not waited for so long. */
	sh("printf '#!/bin/sh\\necho \"$@\" >>${0%%%%/*}/../modprobe.log\\n' >bin/modprobe && "
	   "printf '#!/bin/sh\\nexit 1\\n' >bin/lspci && "
	   "printf '#!/bin/sh\\nexec /bin/sleep 0.03\\n' >bin/sleep && chmod 755 bin/*");
	return 0;
}

static int setup(void **state)
{
	char path[256];

	(void)state;
	vfio_refuses = no_ixgbe = false;
	snprintf(root, sizeof(root), "/tmp/ixy-bind-XXXXXX");
	/* The interfaces of the test before go with its namespace. */
	if (!own_netns() || !mkdtemp(root))
		return -1;
	sh("cp -a %s/. . && printf 'link add nic%%d type veth peer name nic%%d.p\\nlink set nic%%d.p up\\n' "
	   "0 0 0 1 1 1 | ip -batch -",
		model);
	for (int i = 0; i < FIFOS; i++) {
		if (mkfifo(at(path, "%s", fifos[i]), 0600) < 0)
			return -1;
		fifo_fds[i] = open(path, O_RDWR | O_CLOEXEC);
	}
	if (pipe2(stop_pipe, O_CLOEXEC) < 0)
		return -1;
	return pthread_create(&kernel_thread, NULL, kernel, NULL);
}

static int remove_one(const char *path, const struct stat *stat, int type, struct FTW *ftw)
{
	(void)stat;
	(void)type;
	(void)ftw;
	return remove(path);
}

static int teardown(void **state)
{
	(void)state;
	if (write(stop_pipe[1], "x", 1) != 1)
		return -1;
	pthread_join(kernel_thread, NULL);
	close(stop_pipe[0]);
	close(stop_pipe[1]);
	for (int i = 0; i < FIFOS; i++)
		close(fifo_fds[i]);
	return nftw(root, remove_one, 16, FTW_DEPTH | FTW_PHYS);
}

static int remove_model(void **state)
{
	(void)state;
	return nftw(model, remove_one, 16, FTW_DEPTH | FTW_PHYS);
}

/* --- running it ------------------------------------------------------------------------------------------ */

/* What stands before the command; its environment, say. */
static const char *prefix = "";

/* Run ixy-bind; returns its exit status. What it printed is in output. */
static int ixy_bind(const char *format, ...) __attribute__((format(printf, 1, 2)));
static int ixy_bind(const char *format, ...)
{
	char arguments[256], command[1024];
	va_list args;
	size_t size;
	FILE *pipe;
	int status;

	va_start(args, format);
	vsnprintf(arguments, sizeof(arguments), format, args);
	va_end(args);
	snprintf(command, sizeof(command),
		"IXY_SYSFS=%s/sys IXY_DEV=%s/dev PATH=%s/bin:$PATH %s timeout 60 " SCRIPT " %s 2>&1", root,
		root, root, prefix, arguments);
	pipe = popen(command, "re");
	assert_non_null(pipe);
	size = fread(output, 1, sizeof(output) - 1, pipe);
	output[size] = 0;
	status = pclose(pipe);
	assert_true(WIFEXITED(status));
	return WEXITSTATUS(status);
}

#define assert_says(text)                                                       \
	do {                                                                    \
		if (!strstr(output, text))                                      \
			fail_msg("does not say \"%s\" but:\n%s", text, output); \
	} while (0)
#define assert_ends(expected, ...)                                                         \
	do {                                                                               \
		int status_ = ixy_bind(__VA_ARGS__);                                       \
		if (status_ != (expected))                                                 \
			fail_msg("ended with %d, not %d:\n%s", status_, expected, output); \
	} while (0)

/* Nothing has happened to the NIC. */
static void assert_untouched(void)
{
	assert_string_equal(driver_of(NIC), "ixgbe");
	assert_string_equal(line_of(DEVICES NIC "/driver_override"), "(null)");
	assert_string_equal(driver_of(OTHER), "ixgbe");
	assert_string_equal(line_of(DEVICES OTHER "/driver_override"), "(null)");
}

static void assert_refused(const char *why, const char *mend)
{
	assert_ends(1, "vfio " NIC);
	assert_says(NIC ": ");
	assert_says(why);
	assert_says(mend);
	assert_untouched();
}

/* Its JSON satisfies the expression. */
static void assert_json(const char *expression)
{
	char command[1024];

	assert_ends(0, "show -j");
	snprintf(command, sizeof(command), "cd %s && cat >json && jq -e '%s' json >/dev/null", root,
		expression);
	FILE *pipe = popen(command, "we");
	assert_non_null(pipe);
	fputs(output, pipe);
	if (pclose(pipe) != 0)
		fail_msg("not so: %s\n%s", expression, output);
}

#endif
