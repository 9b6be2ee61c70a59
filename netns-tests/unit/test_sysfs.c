/*
 * Taking a PCI function through sysfs and giving it back, on a tree of plain files that looks like one.
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
#include "sysfs_tree.h"

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
	assert_int_equal(pci_bar_open(pci, 0), 0);
	assert_int_equal(pci->bars[0].size, BAR_SIZE);
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
	/* Nor does it raise its interrupt pin, which nobody would quiet. */
	assert_int_equal(pread(fd, &command, 1, PCI_COMMAND + 1), 1);
	assert_int_equal(command, PCI_COMMAND_INTX_DISABLE >> 8);
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
	size_to(DEVICE "config", 2);
	expect_refusal(NULL, EIO, "PCI command register");
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

static void virtual_addresses_are_refused_with_the_way_to_have_them(void **state)
{
	struct ixy_options options = {.iova = IXY_IOVA_VA};
	struct pci_device *pci;

	(void)state;
	bind_to("ixgbe");
	expect_refusal(&options, EINVAL, "ixy-bind vfio " ADDRESS);
	assert_untouched();
	options.iova = IXY_IOVA_PA;
	assert_int_equal(pci_open(ADDRESS, &options, &pci), 0);
	assert_int_equal(pci->iova_mode, DMA_IOVA_PA);
	pci_close(pci);
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

static void what_is_no_network_card_is_refused(void **state)
{
	(void)state;
	bind_to("ixgbe");
	put(DEVICE "class", "0x010802\n"); /* a disk: NVMe */
	expect_refusal(NULL, EINVAL, "no network card (PCI class 0x010802)");
	put(DEVICE "class", "0x020000\n");
	put(DEVICE "vendor", "eightyeightysix\n");
	expect_refusal(NULL, EIO, "vendor");
	assert_untouched();
}

#define NO_BAR     "0x0000000000000000 0x0000000000000000 0x0000000000000000\n"
#define PORTS      "0x000000000000e000 0x000000000000e01f 0x0000000000040101\n"
#define MEMORY_4K  "0x00000000fe000000 0x00000000fe000fff 0x0000000000040200\n"
#define MEMORY_MID "0x00000000fe001400 0x00000000fe0017ff 0x0000000000040200\n"

static void expect_no_bar(struct pci_device *pci, unsigned bar, int error, const char *text)
{
	assert_int_equal(pci_bar_open(pci, bar), -error);
	if (!strstr(ixy_last_error(), text))
		fail_msg("\"%s\" does not say \"%s\"", ixy_last_error(), text);
}

static void a_bar_that_is_not_there_or_cannot_be_had_is_refused_with_the_reason(void **state)
{
	struct pci_device *pci;
	int before, after;

	(void)state;
	put(DEVICE "resource", NO_BAR NO_BAR MEMORY_4K MEMORY_4K "garbage\n");
	put(DEVICE "resource3", "short");
	assert_int_equal(pci_open(ADDRESS, NULL, &pci), 0);
	before = dup(0);
	close(before);
	expect_no_bar(pci, 0, ENODEV, "no BAR 0");
	expect_no_bar(pci, 1, ENODEV, "no BAR 1");
	expect_no_bar(pci, 2, ENOENT, "open its BAR 2");
	expect_no_bar(pci, 3, EIO, "shorter than BAR 3");
	expect_no_bar(pci, 4, EIO, "odd line \"garbage\"");
	expect_no_bar(pci, 5, EIO, "odd line \"\"");
	expect_no_bar(pci, 6, EINVAL, "no BAR 6 in PCI");
	/* What was not opened reads as if nobody were there. */
	assert_int_equal(pci_bar_read16(pci, 3, 0), 0xffff);
	pci_bar_write16(pci, 3, 0, 1);
	after = dup(0);
	close(after);
	assert_int_equal(before, after);
	pci_close(pci);
}

static void ports_are_read_and_written_by_call(void **state)
{
	struct pci_device *pci;
	uint8_t command;
	char path[256];
	uint8_t back[4];
	int fd;

	(void)state;
	put(DEVICE "resource", PORTS MEMORY_4K);
	size_to(DEVICE "resource0", 0x20);
	assert_int_equal(pci_open(ADDRESS, NULL, &pci), 0);
	assert_int_equal(pci_bar_open(pci, 0), 0);
	assert_int_equal(pci_bar_open(pci, 0), 0); /* once more does no harm */
	assert_true(pci->bars[0].io);
	assert_int_equal(pci->bars[0].size, 0x20);
	assert_null((const void *)(uintptr_t)pci->bars[0].virt);
	assert_int_equal(pci->ops->config_read(pci, PCI_COMMAND, &command, 1), 0);
	assert_int_equal(command & PCI_COMMAND_IO, PCI_COMMAND_IO);
	pci_bar_write32(pci, 0, 4, 0x11223344);
	pci_bar_write16(pci, 0, 6, 0x5566);
	pci_bar_write8(pci, 0, 5, 0x77);
	assert_int_equal(pci_bar_read32(pci, 0, 4), 0x55667744);
	assert_int_equal(pci_bar_read16(pci, 0, 4), 0x7744);
	assert_int_equal(pci_bar_read8(pci, 0, 7), 0x55);
	path_of(path, sizeof(path), DEVICE "resource0");
	fd = open(path, O_RDONLY);
	assert_int_equal(pread(fd, back, 4, 4), 4);
	close(fd);
	assert_memory_equal(back, "\x44\x77\x66\x55", 4);
	/* A function that lost it gets both kinds of decoding back. */
	assert_int_equal(pci->ops->config_write(pci, PCI_COMMAND, "\0", 1), 0);
	assert_int_equal(pci_bus_master(pci, true), 0);
	assert_int_equal(pci->ops->config_read(pci, PCI_COMMAND, &command, 1), 0);
	assert_int_equal(command, PCI_COMMAND_IO | PCI_COMMAND_MEMORY | PCI_COMMAND_MASTER);
	/* Removed: the file is empty. */
	size_to(DEVICE "resource0", 0);
	assert_int_equal(pci_bar_read32(pci, 0, 4), 0xffffffff);
	assert_int_equal(pci_bar_read8(pci, 0, 4), 0xff);
	pci_close(pci);
}

static void a_bar_that_begins_amid_a_page_is_mapped_from_there(void **state)
{
	struct pci_device *pci;
	char path[256];
	uint32_t back;
	int fd;

	(void)state;
	put(DEVICE "resource", NO_BAR MEMORY_MID);
	put(DEVICE "resource1", "");
	size_to(DEVICE "resource1", 4096); /* of which the kernel maps the page that the BAR is in */
	assert_int_equal(pci_open(ADDRESS, NULL, &pci), 0);
	assert_int_equal(pci_bar_open(pci, 1), 0);
	assert_int_equal(pci->bars[1].size, 0x400);
	pci_bar_write32(pci, 1, 8, 0xcafe);
	path_of(path, sizeof(path), DEVICE "resource1");
	fd = open(path, O_RDONLY);
	assert_int_equal(pread(fd, &back, 4, 0x408), 4);
	close(fd);
	assert_int_equal(back, 0xcafe);
	pci_close(pci);
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

/* On a virtio function the interface is that of the virtio device. */
static void a_live_interface_of_a_virtio_device_is_refused(void **state)
{
	(void)state;
	bind_to("ixgbe");
	make_dir(DEVICE "virtio7");
	make_dir(DEVICE "virtio7/net");
	make_dir(DEVICE "virtio7/net/lo");
	loopback_up();
	expect_refusal(NULL, EBUSY, "the live interface lo with the address 127.0.0.1");
	assert_untouched();
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
	assert_int_equal(pci_bar_open(pci, 0), 0);
	pci_write32(pci, 0x2000, 1);
	size_to(DEVICE "resource0", 0);
	assert_int_equal(pci_read32(pci, 0x2000), 0xffffffff);
	pci_write32(pci, 0x3000, 1);
	assert_int_equal(pci_read32(pci, 0x4), 0xffffffff);
	pci_close(pci);
}

static unsigned warnings;

static void count_warnings(enum ixy_log_level level, const char *text)
{
	(void)text;
	warnings += level <= IXY_LOG_WARNING;
}

/* The kernel takes the function's whole folder away. */
static void a_function_whose_folder_has_gone_is_removed_and_closed_in_silence(void **state)
{
	struct pci_device *pci;
	char from[256], to[256];

	(void)state;
	bind_to("ixgbe");
	assert_int_equal(pci_open(ADDRESS, NULL, &pci), 0);
	assert_false(pci->ops->removed(pci));
	path_of(from, sizeof(from), FUNCTION);
	path_of(to, sizeof(to), "gone");
	assert_int_equal(rename(from, to), 0);
	assert_false(pci->ops->removed(pci)); /* a plain folder lives on under its new name */
	assert_int_equal(nftw(to, remove_one, 16, FTW_DEPTH | FTW_PHYS), 0);
	assert_true(pci->ops->removed(pci));
	warnings = 0;
	ixy_set_log(count_warnings);
	pci_close(pci);
	ixy_set_log(NULL);
	assert_int_equal(warnings, 0);
	assert_string_equal(get("bus/pci/drivers/ixgbe/bind"), "");
}

/* Config space with a power management capability behind another one: the function sleeps. */
static void put_config(uint32_t offset, const void *data, size_t size)
{
	char path[256];
	int fd;

	path_of(path, sizeof(path), DEVICE "config");
	fd = open(path, O_RDWR);
	assert_int_equal(pwrite(fd, data, size, offset), size);
	close(fd);
}

static void get_config(uint32_t offset, void *data, size_t size)
{
	char path[256];
	int fd;

	path_of(path, sizeof(path), DEVICE "config");
	fd = open(path, O_RDONLY);
	assert_int_equal(pread(fd, data, size, offset), size);
	close(fd);
}

static void put_capabilities(void)
{
	put_config(PCI_VENDOR_ID, "\x86\x80\xfb\x10", 4);
	put_config(PCI_STATUS, (uint8_t[]){PCI_STATUS_CAP_LIST}, 1);
	put_config(PCI_CAPABILITY_LIST, (uint8_t[]){0x40}, 1);
	put_config(0x40, (uint8_t[]){PCI_CAP_ID_MSIX, 0x50}, 2);
	put_config(0x50, (uint8_t[]){PCI_CAP_ID_PM, 0}, 2);
	put_config(PCI_BASE_ADDRESS_0, "\x0c\x00\x00\xfe", 4);
}

/* BARs that could not be read at the start are not known: nothing may be written to them. */
static void bars_that_could_not_be_read_are_not_written(void **state)
{
	struct pci_device *pci;
	char path[256];
	uint8_t raw[4];

	(void)state;
	put_capabilities();
	path_of(path, sizeof(path), DEVICE "config");
	assert_int_equal(truncate(path, PCI_BASE_ADDRESS_0), 0);
	assert_int_equal(pci_open(ADDRESS, NULL, &pci), 0);
	put_capabilities();
	put_config(0x50 + PCI_PM_CTRL, "\x00\x00", 2);
	assert_int_equal(pci_revive(pci), 1); /* switches memory decoding on */
	get_config(PCI_BASE_ADDRESS_0, raw, 4);
	assert_memory_equal(raw, "\x0c\x00\x00\xfe", 4);
	pci_close(pci);
}

static void a_sleeping_function_is_woken_and_gets_its_bars_back(void **state)
{
	const uint8_t asleep[2] = {3 | PCI_PM_CTRL_NO_SOFT_RESET, PCI_PM_CTRL_PME_STATUS >> 8};
	struct pci_device *pci;
	uint8_t raw[4];

	(void)state;
	put_capabilities();
	assert_int_equal(pci_open(ADDRESS, NULL, &pci), 0);
	assert_int_equal(pci_bus_master(pci, true), 0);
	assert_int_equal(pci_revive(pci), 0); /* nothing is wrong */

	put_config(0x50 + PCI_PM_CTRL, asleep, 2);
	put_config(PCI_BASE_ADDRESS_0, "\x0c\x00\x00\x00", 4);
	put_config(PCI_COMMAND, "\x00\x00", 2);
	assert_int_equal(pci_revive(pci), 1);
	get_config(0x50 + PCI_PM_CTRL, raw, 2);
	assert_int_equal(raw[0], PCI_PM_CTRL_NO_SOFT_RESET); /* D0, and nothing else changed: */
	assert_int_equal(raw[1], 0);                         /* PME_STATUS would be cleared by a one */
	get_config(PCI_BASE_ADDRESS_0, raw, 4);
	assert_memory_equal(raw, "\x0c\x00\x00\xfe", 4);
	get_config(PCI_COMMAND, raw, 2);
	assert_int_equal(raw[0], PCI_COMMAND_MEMORY);
	assert_int_equal(pci_revive(pci), 0);

	/* All-ones are no function; a chain of capabilities that leads nowhere or to itself is none. */
	put_config(PCI_VENDOR_ID, "\xff\xff", 2);
	assert_int_equal(pci_revive(pci), -ENODEV);
	put_config(PCI_VENDOR_ID, "\x86\x80", 2);
	put_config(0x40, (uint8_t[]){PCI_CAP_ID_MSIX, 0x40}, 2);
	assert_int_equal(pci_revive(pci), 0);
	put_config(0x40, (uint8_t[]){PCI_CAP_ID_MSIX, 0x08}, 2);
	assert_int_equal(pci_revive(pci), 0);
	put_config(0x40, (uint8_t[]){PCI_CAP_ID_MSIX, 0xff}, 2);
	assert_int_equal(pci_revive(pci), 0);
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
		if (pci_open(ADDRESS, NULL, &pci) < 0 || pci_bar_open(pci, 0) < 0)
			_exit(100);
		page = mmap(NULL, 4096, PROT_READ, MAP_SHARED, memfd_create("empty", 0), 0);
		_exit(page == MAP_FAILED ? 101 : page[0]);
	}
	assert_int_equal(waitpid(child, &status, 0), child);
	assert_true(WIFSIGNALED(status));
	assert_int_equal(WTERMSIG(status), SIGBUS);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, tree_setup, tree_teardown)

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
		TEST(virtual_addresses_are_refused_with_the_way_to_have_them),
		TEST(a_function_behind_a_translating_iommu_is_refused),
		TEST(what_is_no_network_card_is_refused),
		TEST(a_bar_that_is_not_there_or_cannot_be_had_is_refused_with_the_reason),
		TEST(ports_are_read_and_written_by_call),
		TEST(a_bar_that_begins_amid_a_page_is_mapped_from_there),
		TEST(a_function_that_is_not_there_is_refused),
		TEST(a_live_interface_is_refused_without_force),
		TEST(a_live_interface_of_a_virtio_device_is_refused),
		TEST(an_interface_that_is_down_is_taken),
		TEST(a_port_of_a_bridge_is_refused),
		TEST(an_interface_in_another_namespace_is_refused),
		TEST(a_removed_function_reads_all_ones),
		TEST(a_function_whose_folder_has_gone_is_removed_and_closed_in_silence),
		TEST(a_sleeping_function_is_woken_and_gets_its_bars_back),
		TEST(bars_that_could_not_be_read_are_not_written),
		TEST(a_bus_error_elsewhere_still_ends_the_process),
	};

	return cmocka_run_group_tests_name("sysfs", tests, NULL, NULL);
}
