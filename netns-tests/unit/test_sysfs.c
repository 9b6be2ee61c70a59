/*
 * Taking a PCI function through sysfs and giving it back, on a tree of plain files that looks like one.
 *
 * A plain file keeps what was written to it last, so what the kernel would have been told can be read there.
 */
#include <stdarg.h>
#include <setjmp.h>
#include <stddef.h>
#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <sched.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <linux/pci_regs.h>
#include <net/if.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <cmocka.h>

#include "driver/ixy.h"
#include "driver/pci/transport.h"

#define ADDRESS  "0000:03:00.0"
#define FUNCTION "bus/pci/devices/" ADDRESS
#define DEVICE   FUNCTION "/"
#define BAR_SIZE 0x20000

static char root[64];

static void path_of(char *path, size_t size, const char *name)
{
	snprintf(path, size, "%s/%s", root, name);
}

static void put(const char *name, const char *content)
{
	char path[256];
	FILE *file;

	path_of(path, sizeof(path), name);
	file = fopen(path, "w");
	assert_non_null(file);
	fputs(content, file);
	fclose(file);
}

static const char *get(const char *name)
{
	static char line[256];
	char path[256];
	FILE *file;

	path_of(path, sizeof(path), name);
	file = fopen(path, "r");
	assert_non_null(file);
	line[0] = '\0';
	if (!fgets(line, sizeof(line), file))
		line[0] = '\0';
	fclose(file);
	line[strcspn(line, "\n")] = '\0';
	return line;
}

static void make_dir(const char *name)
{
	char path[256];

	path_of(path, sizeof(path), name);
	assert_int_equal(mkdir(path, 0755), 0);
}

static void make_link(const char *name, const char *target)
{
	char path[256];

	path_of(path, sizeof(path), name);
	assert_int_equal(symlink(target, path), 0);
}

static void size_to(const char *name, off_t size)
{
	char path[256];

	path_of(path, sizeof(path), name);
	assert_int_equal(truncate(path, size), 0);
}

static void bind_to(const char *driver)
{
	char target[64];

	snprintf(target, sizeof(target), "../../drivers/%s", driver);
	make_link(DEVICE "driver", target);
}

static void unbind(void)
{
	char path[256];

	path_of(path, sizeof(path), DEVICE "driver");
	assert_int_equal(unlink(path), 0);
}

static void has_interface(const char *name)
{
	char path[128];

	make_dir(DEVICE "net");
	snprintf(path, sizeof(path), DEVICE "net/%s", name);
	make_dir(path);
}

/* An 82599 without a driver, and two drivers that it could have. */
static int setup(void **state)
{
	const char *dirs[] = {"bus", "bus/pci", "bus/pci/devices", "bus/pci/drivers", "bus/pci/drivers/ixgbe",
		"bus/pci/drivers/vfio-pci", FUNCTION};
	const char *empty[] = {"bus/pci/drivers_probe", "bus/pci/drivers/ixgbe/bind",
		"bus/pci/drivers/ixgbe/unbind", DEVICE "enable", DEVICE "reset"};

	(void)state;
	snprintf(root, sizeof(root), "/tmp/sysfs-XXXXXX");
	if (!mkdtemp(root))
		return -1;
	for (size_t i = 0; i < sizeof(dirs) / sizeof(dirs[0]); i++)
		make_dir(dirs[i]);
	for (size_t i = 0; i < sizeof(empty) / sizeof(empty[0]); i++)
		put(empty[i], "");
	put(DEVICE "vendor", "0x8086\n");
	put(DEVICE "device", "0x10fb\n");
	put(DEVICE "driver_override", "(null)\n");
	put(DEVICE "resource", "0x00000000fe000000 0x00000000fe01ffff 0x0000000000140204\n"
			       "0x0000000000000000 0x0000000000000000 0x0000000000000000\n");
	put(DEVICE "config", "");
	size_to(DEVICE "config", 256);
	put(DEVICE "resource0", "");
	size_to(DEVICE "resource0", BAR_SIZE);
	sysfs_root = root;
	return 0;
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
	sysfs_root = "/sys";
	return nftw(root, remove_one, 16, FTW_DEPTH | FTW_PHYS);
}

static void expect_refusal(const struct ixy_options *options, int error, const char *text)
{
	struct pci_device *pci;

	assert_int_equal(pci_open(ADDRESS, options, &pci), -error);
	if (!strstr(ixy_last_error(), text))
		fail_msg("\"%s\" does not say \"%s\"", ixy_last_error(), text);
}

static void assert_untouched(void)
{
	assert_string_equal(get(DEVICE "driver_override"), "(null)");
	assert_string_equal(get(DEVICE "enable"), "");
	assert_string_equal(get("bus/pci/drivers/ixgbe/unbind"), "");
	assert_string_equal(get("bus/pci/drivers/ixgbe/bind"), "");
}

static void a_free_function_is_opened_and_closed(void **state)
{
	struct pci_device *pci;

	(void)state;
	assert_int_equal(pci_open(ADDRESS, NULL, &pci), 0);
	assert_int_equal(pci->vendor, 0x8086);
	assert_int_equal(pci->device, 0x10fb);
	assert_int_equal(pci->bar0_size, BAR_SIZE);
	assert_int_equal(pci->iova_mode, DMA_IOVA_PA);
	assert_int_equal(pci->irq_count, 0);
	assert_string_equal(pci->name, ADDRESS);
	assert_string_equal(get(DEVICE "enable"), "1");
	assert_string_not_equal(get(DEVICE "driver_override"), "(null)");
	pci_close(pci);
	assert_string_equal(get(DEVICE "enable"), "0");
	assert_string_equal(get(DEVICE "driver_override"), "");
	/* Nobody had it, so nobody gets it. */
	assert_string_equal(get("bus/pci/drivers_probe"), "");
}

static void the_short_and_the_upper_case_address_mean_the_same(void **state)
{
	struct pci_device *pci;

	(void)state;
	assert_int_equal(pci_open("03:00.0", NULL, &pci), 0);
	assert_string_equal(pci->name, "03:00.0");
	pci_close(pci);
}

static void registers_config_and_doorbells_reach_the_function(void **state)
{
	struct pci_doorbell doorbell;
	struct pci_device *pci;
	uint8_t value[4] = {0x12, 0x34, 0x56, 0x78}, back[4];
	uint32_t bar[2];
	char path[256];
	int fd;

	(void)state;
	assert_int_equal(pci_open(ADDRESS, NULL, &pci), 0);
	pci_write32(pci, 0x1000, 0xdeadbeef);
	assert_int_equal(pci_read32(pci, 0x1000), 0xdeadbeef);
	pci_doorbell_init(pci, 0x1004, &doorbell);
	pci_doorbell_ring(&doorbell, 77);
	path_of(path, sizeof(path), DEVICE "resource0");
	fd = open(path, O_RDONLY);
	assert_int_equal(pread(fd, bar, sizeof(bar), 0x1000), sizeof(bar));
	close(fd);
	assert_int_equal(bar[0], 0xdeadbeef);
	assert_int_equal(bar[1], 77);

	assert_int_equal(pci->ops->config_write(pci, 0x40, value, 4), 0);
	assert_int_equal(pci->ops->config_read(pci, 0x40, back, 4), 0);
	assert_memory_equal(back, value, 4);
	/* Beyond what is there: all-ones, and an error. */
	assert_true(pci->ops->config_read(pci, 0x400, back, 4) < 0);
	assert_int_equal(back[0], 0xff);

	assert_int_equal(pci->ops->reset(pci), 0);
	assert_string_equal(get(DEVICE "reset"), "1");
	assert_int_equal(pci->ops->irq_set(pci, 1, (int[]){0}), -ENOTSUP);
	assert_int_equal(pci->ops->irq_set(pci, 0, NULL), 0);
	pci_close(pci);
}

static void bus_mastering_that_a_crash_left_on_is_turned_off(void **state)
{
	const uint8_t on = PCI_COMMAND_MASTER | PCI_COMMAND_MEMORY;
	struct pci_device *pci;
	uint8_t command;
	char path[256];
	int fd;

	(void)state;
	path_of(path, sizeof(path), DEVICE "config");
	fd = open(path, O_RDWR);
	assert_int_equal(pwrite(fd, &on, 1, PCI_COMMAND), 1);
	assert_int_equal(pci_open(ADDRESS, NULL, &pci), 0);
	assert_int_equal(pread(fd, &command, 1, PCI_COMMAND), 1);
	assert_int_equal(command & PCI_COMMAND_MASTER, 0);
	assert_int_equal(pci_bus_master(pci, true), 0);
	pci_close(pci);
	assert_int_equal(pread(fd, &command, 1, PCI_COMMAND), 1);
	assert_int_equal(command & PCI_COMMAND_MASTER, 0);
	close(fd);
}

static void a_function_is_taken_from_its_driver_and_given_back(void **state)
{
	struct pci_device *pci;

	(void)state;
	bind_to("ixgbe");
	assert_int_equal(pci_open(ADDRESS, NULL, &pci), 0);
	assert_string_equal(get("bus/pci/drivers/ixgbe/unbind"), ADDRESS);
	assert_string_equal(get("bus/pci/drivers/ixgbe/bind"), "");
	pci_close(pci);
	assert_string_equal(get("bus/pci/drivers/ixgbe/bind"), ADDRESS);
	assert_string_equal(get(DEVICE "driver_override"), "");
}

static void a_failure_after_the_unbind_gives_the_function_back(void **state)
{
	(void)state;
	bind_to("ixgbe");
	size_to(DEVICE "resource0", BAR_SIZE - 1);
	expect_refusal(NULL, EIO, "shorter than BAR 0");
	assert_string_equal(get("bus/pci/drivers/ixgbe/unbind"), ADDRESS);
	assert_string_equal(get("bus/pci/drivers/ixgbe/bind"), ADDRESS);
	assert_string_equal(get(DEVICE "driver_override"), "");
	assert_string_equal(get(DEVICE "enable"), "0");
}

static void a_function_that_a_crash_left_behind_finds_its_driver_again(void **state)
{
	struct pci_device *pci;

	(void)state;
	put(DEVICE "driver_override", "ixy-userspace\n");
	assert_int_equal(pci_open(ADDRESS, NULL, &pci), 0);
	pci_close(pci);
	assert_string_equal(get(DEVICE "driver_override"), "");
	assert_string_equal(get("bus/pci/drivers_probe"), ADDRESS);
}

static void two_owners_at_once_are_one_too_many(void **state)
{
	struct pci_device *pci;

	(void)state;
	assert_int_equal(pci_open(ADDRESS, NULL, &pci), 0);
	expect_refusal(NULL, EBUSY, "another userspace driver");
	assert_string_equal(get(DEVICE "enable"), "1");
	/* Whatever the function looks like while it is given back. */
	bind_to("vfio-pci");
	expect_refusal(NULL, EBUSY, "another userspace driver");
	unbind();
	pci_close(pci);
	assert_int_equal(pci_open(ADDRESS, NULL, &pci), 0);
	pci_close(pci);
}

static void a_function_bound_to_vfio_is_refused_with_the_way_back(void **state)
{
	(void)state;
	bind_to("vfio-pci");
	expect_refusal(NULL, EBUSY, "echo " ADDRESS " > /sys/bus/pci/drivers/vfio-pci/unbind");
	assert_untouched();
}

static void a_function_behind_a_translating_iommu_is_refused(void **state)
{
	(void)state;
	make_dir(DEVICE "iommu_group");
	put(DEVICE "iommu_group/type", "DMA-FQ\n");
	expect_refusal(NULL, ENODEV, "iommu=pt");
	assert_untouched();
	put(DEVICE "iommu_group/type", "identity\n");

	struct pci_device *pci;

	assert_int_equal(pci_open(ADDRESS, NULL, &pci), 0);
	pci_close(pci);
}

static void a_function_without_bar0_is_refused(void **state)
{
	(void)state;
	put(DEVICE "resource", "0x0000000000000000 0x0000000000000000 0x0000000000000000\n");
	expect_refusal(NULL, ENODEV, "no memory BAR 0");
	put(DEVICE "resource", "0x000000000000e000 0x000000000000e01f 0x0000000000040101\n");
	expect_refusal(NULL, ENODEV, "no memory BAR 0");
	put(DEVICE "resource", "garbage\n");
	expect_refusal(NULL, EIO, "resource");
	put(DEVICE "vendor", "eightyeightysix\n");
	expect_refusal(NULL, EIO, "vendor");
	assert_untouched();
}

static void a_function_that_is_not_there_is_refused(void **state)
{
	struct pci_device *pci;

	(void)state;
	assert_int_equal(pci_open("0000:04:00.0", NULL, &pci), -ENODEV);
	assert_non_null(strstr(ixy_last_error(), "lspci -D"));
}

/* In a network namespace of this process, whose lo is the interface that is up and has an address. */
static void loopback_up(void)
{
	struct ifreq request = {.ifr_name = "lo", .ifr_flags = IFF_UP};
	int fd;

	if (unshare(CLONE_NEWNET) < 0)
		skip();
	fd = socket(AF_INET, SOCK_DGRAM, 0);
	assert_int_equal(ioctl(fd, SIOCSIFFLAGS, &request), 0);
	close(fd);
}

static void a_live_interface_is_refused_without_force(void **state)
{
	struct ixy_options force = {.force = true};
	struct pci_device *pci;

	(void)state;
	bind_to("ixgbe");
	has_interface("lo");
	loopback_up();
	expect_refusal(NULL, EBUSY, "the live interface lo with the address 127.0.0.1");
	assert_non_null(strstr(ixy_last_error(), "ip link set lo down"));
	assert_non_null(strstr(ixy_last_error(), "--force"));
	assert_untouched();
	assert_int_equal(pci_open(ADDRESS, &force, &pci), 0);
	assert_string_equal(get("bus/pci/drivers/ixgbe/unbind"), ADDRESS);
	pci_close(pci);
}

static void an_interface_that_is_down_is_taken(void **state)
{
	struct pci_device *pci;

	(void)state;
	bind_to("ixgbe");
	has_interface("lo");
	if (unshare(CLONE_NEWNET) < 0) /* a new namespace's lo is down */
		skip();
	assert_int_equal(pci_open(ADDRESS, NULL, &pci), 0);
	pci_close(pci);
}

static void a_port_of_a_bridge_is_refused(void **state)
{
	(void)state;
	bind_to("ixgbe");
	has_interface("eth9");
	make_link(DEVICE "net/eth9/master", "../../../../br7");
	expect_refusal(NULL, EBUSY, "eth9, a port of br7");
	assert_untouched();
}

static void an_interface_in_another_namespace_is_refused(void **state)
{
	(void)state;
	bind_to("ixgbe");
	make_dir(DEVICE "net");
	expect_refusal(NULL, EBUSY, "another network namespace");
	assert_untouched();
}

/* A file that is cut short behaves as the kernel's mapping of a removed device does: SIGBUS. */
static void a_removed_function_reads_all_ones(void **state)
{
	struct pci_device *pci;

	(void)state;
	assert_int_equal(pci_open(ADDRESS, NULL, &pci), 0);
	pci_write32(pci, 0x2000, 1);
	size_to(DEVICE "resource0", 0);
	assert_int_equal(pci_read32(pci, 0x2000), 0xffffffff);
	pci_write32(pci, 0x3000, 1);
	assert_int_equal(pci_read32(pci, 0x4), 0xffffffff);
	pci_close(pci);
}

static void a_bus_error_elsewhere_still_ends_the_process(void **state)
{
	pid_t child;
	int status;

	(void)state;
	child = fork();
	if (child == 0) {
		struct pci_device *pci;
		volatile uint8_t *page;

		signal(SIGBUS, SIG_DFL);
		setrlimit(RLIMIT_CORE, &(struct rlimit){0, 0});
		if (pci_open(ADDRESS, NULL, &pci) < 0)
			_exit(100);
		page = mmap(NULL, 4096, PROT_READ, MAP_SHARED, memfd_create("empty", 0), 0);
		_exit(page == MAP_FAILED ? 101 : page[0]);
	}
	assert_int_equal(waitpid(child, &status, 0), child);
	assert_true(WIFSIGNALED(status));
	assert_int_equal(WTERMSIG(status), SIGBUS);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(a_free_function_is_opened_and_closed),
		TEST(the_short_and_the_upper_case_address_mean_the_same),
		TEST(registers_config_and_doorbells_reach_the_function),
		TEST(bus_mastering_that_a_crash_left_on_is_turned_off),
		TEST(a_function_is_taken_from_its_driver_and_given_back),
		TEST(a_failure_after_the_unbind_gives_the_function_back),
		TEST(a_function_that_a_crash_left_behind_finds_its_driver_again),
		TEST(two_owners_at_once_are_one_too_many),
		TEST(a_function_bound_to_vfio_is_refused_with_the_way_back),
		TEST(a_function_behind_a_translating_iommu_is_refused),
		TEST(a_function_without_bar0_is_refused),
		TEST(a_function_that_is_not_there_is_refused),
		TEST(a_live_interface_is_refused_without_force),
		TEST(an_interface_that_is_down_is_taken),
		TEST(a_port_of_a_bridge_is_refused),
		TEST(an_interface_in_another_namespace_is_refused),
		TEST(a_removed_function_reads_all_ones),
		TEST(a_bus_error_elsewhere_still_ends_the_process),
	};

	return cmocka_run_group_tests_name("sysfs", tests, NULL, NULL);
}
