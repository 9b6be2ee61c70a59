/*
 * Which device specs there are, what bad ones are answered with, and what is common to all PCI functions: bus
 * mastering, closing, doorbells.
 */
#include <stdarg.h>
#include <setjmp.h>
#include <stddef.h>
#include <stdint.h>
#include <unistd.h>
#include <linux/pci_regs.h>
#include <sys/eventfd.h>
#include <cmocka.h>

#include "fake_pci.h"

static void addresses_with_and_without_domain_are_specs(void **state)
{
	(void)state;
	assert_true(pci_spec("0000:03:00.0"));
	assert_true(pci_spec("03:00.0"));
	assert_true(pci_spec("abcd:FF:1f.7"));
	assert_true(pci_spec("soft:veth1"));
	assert_true(pci_spec("vfio-user:/run/x"));
}

static void what_is_no_address_is_no_spec(void **state)
{
	const char *bad[] = {"", ":", "::", "0000:03:00", "0000:03:00.8", "0000:03:00.", "0000:03:00.0 ",
		"00000:03:00.0", "000:03:00.0", "3:00.0", "03:00.00", "g3:00.0", "0000:03:00.0/../x",
		"03.00:0", "soft", "eth0", "vfio:/x", "../../etc"};

	(void)state;
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		assert_false(pci_spec(bad[i]));
}

static void expect_failure(const char *spec, int error, const char *text)
{
	struct pci_device *pci = (struct pci_device *)1;

	assert_int_equal(pci_open(spec, NULL, &pci), -error);
	if (!strstr(ixy_last_error(), text))
		fail_msg("%s: \"%s\" does not say \"%s\"", spec, ixy_last_error(), text);
}

static void bad_specs_are_answered_with_the_reason(void **state)
{
	char *longest = test_malloc(5000);

	(void)state;
	memset(longest, 'a', 4999);
	longest[4999] = '\0';
	expect_failure("eth0", EINVAL, "not a device spec");
	expect_failure("", EINVAL, "not a device spec");
	expect_failure(longest, EINVAL, "longer");
	expect_failure("fffe:ff:1f.7", ENODEV, "no such PCI function");
	expect_failure("vfio-user:", EINVAL, "socket path");
	expect_failure("vfio-user:/nonexistent/socket", ENODEV, "no server listens at /nonexistent/socket");
	expect_failure("soft:", EINVAL, "1 to 15 bytes");
	expect_failure("soft:a/b", EINVAL, "slash");
	expect_failure("soft:a-name-of-16-bytes", EINVAL, "1 to 15 bytes");
	expect_failure("soft:veth1,speed=1", EINVAL, ",control=PATH");
	expect_failure("soft:veth1,control=", EINVAL, ",control=PATH");
	test_free(longest);
}

static void a_missing_or_broken_softnic_program_is_named(void **state)
{
	struct ixy_options options = {.softnic_path = "/nonexistent/ixy-softnic"};
	struct pci_device *pci;

	(void)state;
	assert_int_equal(pci_open("soft:veth1", &options, &pci), -ENODEV);
	assert_non_null(strstr(ixy_last_error(), "cannot run /nonexistent/ixy-softnic"));
	/* It ends before it serves anything. */
	options.softnic_path = "/bin/false";
	assert_int_equal(pci_open("soft:veth1", &options, &pci), -ENODEV);
	assert_non_null(
		strstr(ixy_last_error(), "/bin/false ended with status 1; see its message on stderr"));
	/* Executable, but no program. */
	options.softnic_path = "/";
	assert_int_equal(pci_open("soft:veth1", &options, &pci), -ENODEV);
	assert_non_null(strstr(ixy_last_error(), "cannot run /"));
}

static void bus_mastering_changes_its_bit_and_turns_decoding_on(void **state)
{
	struct fake_pci fake;

	(void)state;
	fake_pci_init(&fake, DMA_IOVA_VA);
	fake.config[PCI_COMMAND + 1] = PCI_COMMAND_INTX_DISABLE >> 8;
	assert_int_equal(pci_bus_master(&fake.pci, true), 0);
	assert_int_equal(fake.config[PCI_COMMAND], PCI_COMMAND_MASTER | PCI_COMMAND_MEMORY);
	assert_int_equal(pci_bus_master(&fake.pci, false), 0);
	assert_int_equal(fake.config[PCI_COMMAND], PCI_COMMAND_MEMORY);
	assert_int_equal(fake.config[PCI_COMMAND + 1], PCI_COMMAND_INTX_DISABLE >> 8);
}

static void closing_stops_dma_and_interrupts_first(void **state)
{
	struct fake_pci fake;

	(void)state;
	fake_pci_init(&fake, DMA_IOVA_VA);
	fake.pci.irq_count = 4;
	pci_bus_master(&fake.pci, true);
	pci_close(&fake.pci);
	assert_int_equal(fake.config[PCI_COMMAND] & PCI_COMMAND_MASTER, 0);
	assert_int_equal(fake.irqs_off, 1);
	assert_int_equal(fake.closed, 1);
	pci_close(NULL);
}

static void registers_are_stores_where_mapped_and_messages_where_not(void **state)
{
	struct fake_pci fake;
	uint32_t bar[4] = {0};

	(void)state;
	fake_pci_init(&fake, DMA_IOVA_VA);
	pci_write32(&fake.pci, 8, 42);
	assert_int_equal(fake.written, 42);
	assert_int_equal(pci_read32(&fake.pci, 8), 9);
	fake.pci.bars[0].virt = (volatile uint8_t *)bar;
	pci_write32(&fake.pci, 8, 43);
	assert_int_equal(bar[2], 43);
	assert_int_equal(pci_read32(&fake.pci, 8), 43);
	assert_int_equal(fake.written, 42);
}

static void a_doorbell_without_memory_is_a_message(void **state)
{
	struct fake_pci fake;
	struct pci_doorbell doorbell = {.eventfd = -1, .offset = 16, .pci = &fake.pci};

	(void)state;
	fake_pci_init(&fake, DMA_IOVA_VA);
	pci_doorbell_ring(&doorbell, 7);
	assert_int_equal(fake.written, 7);
}

static void a_doorbell_wakes_only_who_wants_it(void **state)
{
	volatile uint32_t shadow[2] = {0, 0};
	struct pci_doorbell doorbell = {
		.reg = &shadow[0], .wanted = &shadow[1], .eventfd = eventfd(0, EFD_NONBLOCK)};
	uint64_t count;

	(void)state;
	pci_doorbell_ring(&doorbell, 5);
	assert_int_equal(shadow[0], 5);
	assert_int_equal(read(doorbell.eventfd, &count, sizeof(count)), -1);
	shadow[1] = 1;
	pci_doorbell_ring(&doorbell, 6);
	pci_doorbell_ring(&doorbell, 7);
	assert_int_equal(shadow[0], 7);
	assert_int_equal(read(doorbell.eventfd, &count, sizeof(count)), sizeof(count));
	assert_int_equal(count, 2);
	close(doorbell.eventfd);
}

/* The other side may never read its eventfd; a store to a doorbell must not hang on that. */
static void a_full_eventfd_does_not_block_the_doorbell(void **state)
{
	volatile uint32_t shadow[2] = {0, 1};
	struct pci_doorbell doorbell = {
		.reg = &shadow[0], .wanted = &shadow[1], .eventfd = eventfd(0, EFD_NONBLOCK)};
	uint64_t full = UINT64_MAX - 1;

	(void)state;
	assert_int_equal(write(doorbell.eventfd, &full, sizeof(full)), sizeof(full));
	pci_doorbell_ring(&doorbell, 9);
	assert_int_equal(shadow[0], 9);
	close(doorbell.eventfd);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(addresses_with_and_without_domain_are_specs),
		cmocka_unit_test(what_is_no_address_is_no_spec),
		cmocka_unit_test(bad_specs_are_answered_with_the_reason),
		cmocka_unit_test(a_missing_or_broken_softnic_program_is_named),
		cmocka_unit_test(bus_mastering_changes_its_bit_and_turns_decoding_on),
		cmocka_unit_test(closing_stops_dma_and_interrupts_first),
		cmocka_unit_test(registers_are_stores_where_mapped_and_messages_where_not),
		cmocka_unit_test(a_doorbell_without_memory_is_a_message),
		cmocka_unit_test(a_doorbell_wakes_only_who_wants_it),
		cmocka_unit_test(a_full_eventfd_does_not_block_the_doorbell),
	};

	return cmocka_run_group_tests_name("pci spec", tests, NULL, NULL);
}
