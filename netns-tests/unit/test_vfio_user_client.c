/*
 * The vfio-user client at work: with a good server, and when the server goes away or out of step.
 *
 * A device that is lost reads all-ones, like a card that was pulled; nothing blocks, no signal, no descriptor is
 * left open.
 */
#include "vfio_user_server.h"

/* --- a good server -------------------------------------------------------------------------------------- */

static void a_good_server_is_attached_to(void **state)
{
	struct pci_device *pci = attach();

	(void)state;
	assert_int_equal(pci->vendor, 0x8086);
	assert_int_equal(pci->device, 0x10fb);
	assert_int_equal(pci->bars[0].size, BAR_SIZE);
	assert_null(pci->bars[0].virt);
	assert_int_equal(pci->irq_count, 8);
	assert_int_equal(pci->iova_mode, DMA_IOVA_VA);
	pci_close(pci);
	finish();
}

static void registers_and_config_are_messages(void **state)
{
	struct pci_device *pci = attach();
	uint8_t byte = 0x77, back;

	(void)state;
	pci_write32(pci, 0x5678, 0x12345678);
	assert_int_equal(pci_read32(pci, 0x5678), 0x12345678); /* the read comes after the write */
	assert_int_equal(server.regs[0x5678 / 4], 0x12345678);
	assert_int_equal(pci->ops->config_write(pci, 0x41, &byte, 1), 0);
	assert_int_equal(pci->ops->config_read(pci, 0x41, &back, 1), 0);
	assert_int_equal(back, 0x77);
	assert_int_equal(pci->ops->config_read(pci, 0x41, &back, 3), -EINVAL);
	assert_int_equal(pci->ops->config_read(pci, 4096, &back, 1), -EINVAL);
	assert_int_equal(pci_bus_master(pci, true), 0);
	assert_int_equal(server.config[PCI_COMMAND], PCI_COMMAND_MASTER | PCI_COMMAND_MEMORY);
	pci_close(pci);
	finish();
	assert_int_equal(server.config[PCI_COMMAND] & PCI_COMMAND_MASTER, 0);
}

static void writes_are_posted_but_not_without_end(void **state)
{
	struct pci_device *pci = attach();

	(void)state;
	for (uint32_t i = 0; i < 1000; i++)
		pci_write32(pci, 0x100, i);
	assert_int_equal(pci_read32(pci, 0x100), 999);
	pci_close(pci);
	finish();
	assert_true(server.unanswered > 900);
	assert_true(server.unanswered < 1000);
}

static void doorbells_are_stores_that_wake_a_sleeper(void **state)
{
	struct pci_doorbell doorbell;
	struct pci_device *pci;
	uint32_t *memory = mmap(NULL, BAR_SIZE, PROT_READ | PROT_WRITE, MAP_SHARED, server.memory, 0);
	uint64_t count;

	(void)state;
	assert_true(memory != MAP_FAILED);
	seal();
	pci = attach();
	pci_doorbell_init(pci, TDT, &doorbell);
	pci_doorbell_ring(&doorbell, 5);
	assert_int_equal(memory[TDT / 4], 5);
	memory[TDT / 4 + 1] = 1; /* it sleeps */
	pci_doorbell_ring(&doorbell, 6);
	assert_int_equal(memory[TDT / 4], 6);
	assert_int_equal(read(server.eventfd, &count, sizeof(count)), sizeof(count));
	assert_int_equal(count, 1);

	/* No shadow, but a mapped page. */
	pci_doorbell_init(pci, RDT, &doorbell);
	pci_doorbell_ring(&doorbell, 7);
	assert_int_equal(memory[RDT / 4], 7);

	/* Neither. */
	pci_doorbell_init(pci, 0x2000, &doorbell);
	assert_null(doorbell.reg);
	pci_doorbell_ring(&doorbell, 8);
	assert_int_equal(pci_read32(pci, 0x2000), 8);
	pci_close(pci);
	finish();
	munmap(memory, BAR_SIZE);
}

static void bend_no_wakeup(struct message *reply, const struct message *request)
{
	(void)request;
	SET_VERSION(reply, "{\"capabilities\":{\"max_msg_fds\":8}}");
}

static void without_the_extension_each_store_is_followed_by_the_eventfd(void **state)
{
	struct pci_doorbell doorbell;
	struct pci_device *pci;
	uint64_t count;

	(void)state;
	seal();
	server.bent = VFIO_USER_VERSION;
	server.bend = bend_no_wakeup;
	pci = attach();
	pci_doorbell_init(pci, TDT, &doorbell);
	for (uint32_t i = 0; i < 3; i++)
		pci_doorbell_ring(&doorbell, i);
	assert_int_equal(read(server.eventfd, &count, sizeof(count)), sizeof(count));
	assert_int_equal(count, 3);
	pci_close(pci);
	finish();
}

static void bend_no_io_fds(struct message *reply, const struct message *request)
{
	(void)request;
	reply->header.flags |= VFIO_USER_ERROR;
	reply->header.error = ENOTSUP;
	reply->header.size = sizeof(reply->header);
	reply->fd_count = 0;
}

static void a_server_without_io_fds_is_fine(void **state)
{
	struct pci_doorbell doorbell;
	struct pci_device *pci;

	(void)state;
	seal();
	server.bent = VFIO_USER_DEVICE_GET_REGION_IO_FDS;
	server.bend = bend_no_io_fds;
	pci = attach();
	pci_doorbell_init(pci, TDT, &doorbell);
	assert_non_null(doorbell.reg);
	assert_null(doorbell.wanted);
	pci_close(pci);
	finish();
}

/* Or the server could cut the file and turn the next store into SIGBUS. */
static void memory_that_may_shrink_is_not_mapped(void **state)
{
	struct pci_doorbell doorbell;
	struct pci_device *pci = attach(); /* not sealed */

	(void)state;
	pci_doorbell_init(pci, TDT, &doorbell);
	assert_null(doorbell.reg);
	assert_int_equal(ftruncate(server.memory, 0), 0);
	pci_doorbell_ring(&doorbell, 11);
	assert_int_equal(pci_read32(pci, TDT), 11);
	pci_close(pci);
	finish();
}

static void memory_that_is_too_short_is_not_mapped(void **state)
{
	struct pci_doorbell doorbell;
	struct pci_device *pci;

	(void)state;
	assert_int_equal(ftruncate(server.memory, 0x6800), 0); /* the page of TDT is there by half */
	seal();
	pci = attach();
	pci_doorbell_init(pci, 0x6ffc, &doorbell);
	assert_null(doorbell.reg);
	pci_doorbell_init(pci, RDT, &doorbell);
	assert_non_null(doorbell.reg);
	pci_doorbell_ring(&doorbell, 1);
	pci_close(pci);
	finish();
}

static void dma_memory_travels_as_a_descriptor(void **state)
{
	struct pci_device *pci = attach();
	struct dma_region *region;

	(void)state;
	assert_int_equal(dma_alloc(pci, 100000, &region), 0);
	assert_int_equal(server.dma_addr, (uintptr_t)region->virt);
	assert_int_equal(server.dma_size, region->size);
	dma_free(pci, region);
	pci_close(pci);
	finish();
	assert_int_equal(server.dma_unmapped, 1);
}

/* Two pages of physical memory, and another one elsewhere: two maps. */
static void physical_memory_travels_by_its_runs(void **state)
{
	uint64_t pages[3] = {0x10000000, 0x10200000, 0x40000000};
	struct dma_region region = {.virt = (uint8_t *)(uintptr_t)(UINT64_C(1) << 40),
		.size = 3 * DMA_HUGE_PAGE,
		.page_size = DMA_HUGE_PAGE,
		.fd = memfd_create("pages", MFD_CLOEXEC),
		.mode = DMA_IOVA_PA,
		.page_iova = pages};
	struct pci_device *pci = attach();

	(void)state;
	assert_int_equal(pci->ops->dma_map(pci, &region), 0);
	assert_int_equal(server.seen[VFIO_USER_DMA_MAP], 2);
	assert_int_equal(server.dma_addr, 0x40000000);
	assert_int_equal(server.dma_size, DMA_HUGE_PAGE);
	assert_int_equal(server.dma_offset, 2 * DMA_HUGE_PAGE);
	pci->ops->dma_unmap(pci, &region);
	assert_int_equal(server.dma_unmapped, 2);
	close(region.fd);
	pci_close(pci);
	finish();
}

static void interrupts_go_in_as_many_messages_as_the_server_needs(void **state)
{
	struct pci_device *pci = attach();
	int fds[8];
	uint64_t one = 1, count;

	(void)state;
	for (int i = 0; i < 8; i++)
		fds[i] = eventfd(0, EFD_NONBLOCK);
	assert_int_equal(pci->ops->irq_set(pci, 8, fds), 0);
	assert_int_equal(server.irqs, 8);
	assert_int_equal(server.most_irqs, 3); /* its max_msg_fds */
	for (int i = 0; i < 8; i++) {
		assert_int_equal(write(server.irq_fds[i], &one, sizeof(one)), sizeof(one));
		assert_int_equal(read(fds[i], &count, sizeof(count)), sizeof(count));
		close(server.irq_fds[i]);
	}
	assert_int_equal(pci->ops->irq_set(pci, 9, fds), -EINVAL);
	assert_int_equal(pci->ops->irq_set(pci, 0, NULL), 0);
	assert_int_equal(server.irqs, 0);
	for (int i = 0; i < 8; i++)
		close(fds[i]);
	pci_close(pci);
	finish();
}

static void a_reset_is_a_message(void **state)
{
	struct pci_device *pci = attach();

	(void)state;
	assert_int_equal(pci->ops->reset(pci), 0);
	assert_int_equal(server.seen[VFIO_USER_DEVICE_RESET], 1);
	pci_close(pci);
	finish();
}

static void an_error_of_the_server_is_passed_on_and_the_device_lives(void **state)
{
	struct pci_device *pci;
	struct dma_region *region;

	(void)state;
	server.bent = VFIO_USER_DMA_MAP;
	server.bend = bend_error;
	pci = attach();
	assert_int_equal(dma_alloc(pci, 4096, &region), -EEXIST);
	assert_non_null(strstr(ixy_last_error(), "the server answers"));
	server.regs[4] = 44;
	assert_int_equal(pci_read32(pci, 16), 44);
	pci_close(pci);
	finish();
}

static void *read_registers(void *arg)
{
	struct pci_device *pci = arg;
	uintptr_t wrong = 0;

	for (uint32_t i = 0; i < 500; i++)
		wrong += pci_read32(pci, i * 4) != i * 3;
	return (void *)wrong;
}

static void several_threads_get_their_own_answers(void **state)
{
	struct pci_device *pci = attach();
	pthread_t threads[3];
	void *wrong;

	(void)state;
	for (uint32_t i = 0; i < 500; i++)
		server.regs[i] = i * 3;
	for (int i = 0; i < 3; i++)
		assert_int_equal(pthread_create(&threads[i], NULL, read_registers, pci), 0);
	for (int i = 0; i < 3; i++) {
		pthread_join(threads[i], &wrong);
		assert_null(wrong);
	}
	pci_close(pci);
	finish();
}

/* --- the device is lost -------------------------------------------------------------------------------- */

/* During work: the device is lost, which a driver sees as all-ones; nothing blocks or signals. */
static void expect_loss(uint16_t command, bend_function *bend)
{
	struct pci_doorbell doorbell;
	struct vfio_user_attach how;
	struct pci_device *pci;
	uint8_t config[4];
	int fd;

	server.bent = command;
	server.bend = bend;
	server.spare = command == VFIO_USER_REGION_READ; /* the ids, in the handshake */
	start(&how, &fd);
	if (bend == bend_silence)
		how.timeout_ms = TIMEOUT_MS;
	assert_int_equal(vfio_user_attach(fd, &how, &pci), 0);
	server.regs[4] = 1;
	if (command == VFIO_USER_DEVICE_RESET)
		assert_true(pci->ops->reset(pci) < 0);
	assert_int_equal(pci_read32(pci, 16), 0xffffffff);
	assert_int_equal(pci_read32(pci, 16), 0xffffffff);
	pci_write32(pci, 16, 5);
	pci_doorbell_init(pci, 0x2000, &doorbell);
	pci_doorbell_ring(&doorbell, 5);
	assert_int_equal(pci->ops->config_read(pci, 0, config, 4), -ENODEV);
	assert_memory_equal(config, "\xff\xff\xff\xff", 4);
	assert_int_equal(pci_bus_master(pci, true), -ENODEV);
	pci_close(pci);
	finish();
}

static void a_device_that_is_lost_reads_all_ones(void **state)
{
	bend_function *const bends[] = {bend_id, bend_command, bend_type, bend_size_zero, bend_size_giant,
		bend_size_short, bend_size_long, bend_cut_in_header, bend_cut_in_payload, bend_hang_up,
		bend_silence, bend_count, bend_too_many_fds};

	(void)state;
	for (size_t i = 0; i < sizeof(bends) / sizeof(bends[0]); i++)
		expect_loss(VFIO_USER_REGION_READ, bends[i]);
	expect_loss(VFIO_USER_DEVICE_RESET, bend_hang_up);
	expect_loss(VFIO_USER_DEVICE_RESET, bend_size_long);
}

static char logged[512];

static void keep_log(enum ixy_log_level level, const char *text)
{
	if (level == IXY_LOG_ERROR)
		snprintf(logged, sizeof(logged), "%s", text);
}

static void the_loss_of_a_device_is_logged_with_its_reason(void **state)
{
	(void)state;
	ixy_set_log(keep_log);
	expect_loss(VFIO_USER_REGION_READ, bend_hang_up);
	ixy_set_log(NULL);
	assert_string_equal(
		logged, "vfio-user:test: device lost: the process that serves the device has ended");
}

static void descriptors_that_nobody_asked_for_are_closed(void **state)
{
	struct pci_device *pci;

	(void)state;
	server.bent = VFIO_USER_DEVICE_RESET;
	server.bend = bend_stray_fds;
	pci = attach();
	assert_int_equal(pci->ops->reset(pci), 0);
	server.bent = VFIO_USER_DMA_MAP;
	server.bend = bend_error_and_fds;

	struct dma_region *region;

	assert_int_equal(dma_alloc(pci, 4096, &region), -EEXIST);
	assert_int_equal(dma_alloc(pci, 4096, &region), 0);
	dma_free(pci, region);
	pci_close(pci);
	finish();
	/* teardown counts them */
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(a_good_server_is_attached_to),
		TEST(registers_and_config_are_messages),
		TEST(writes_are_posted_but_not_without_end),
		TEST(doorbells_are_stores_that_wake_a_sleeper),
		TEST(without_the_extension_each_store_is_followed_by_the_eventfd),
		TEST(a_server_without_io_fds_is_fine),
		TEST(memory_that_may_shrink_is_not_mapped),
		TEST(memory_that_is_too_short_is_not_mapped),
		TEST(dma_memory_travels_as_a_descriptor),
		TEST(physical_memory_travels_by_its_runs),
		TEST(interrupts_go_in_as_many_messages_as_the_server_needs),
		TEST(a_reset_is_a_message),
		TEST(an_error_of_the_server_is_passed_on_and_the_device_lives),
		TEST(several_threads_get_their_own_answers),
		TEST(a_device_that_is_lost_reads_all_ones),
		TEST(the_loss_of_a_device_is_logged_with_its_reason),
		TEST(descriptors_that_nobody_asked_for_are_closed),
	};

	return cmocka_run_group_tests_name("vfio-user client", tests, NULL, NULL);
}
