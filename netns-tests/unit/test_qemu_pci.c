/*
 * The software NIC's front end for QEMU's remote PCI protocol, spoken to by a test in QEMU's place: what it
 * answers, where its interrupts go, and that nothing a peer sends can do more than end the connection.
 */
#include "dma_at.h"
#include "nic_rig.h"

#include <dirent.h>
#include <ev.h>
#include <fcntl.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/un.h>

#include "netns-tests/softnic/log.h"
#include "netns-tests/softnic/qemu_pci.h"
#include "netns-tests/softnic/qemu_proto.h"
#include "netns-tests/softnic/vtd.h"

#define BAR0_AT  0xFE000000u
#define MSIX_AT  0xFE100000u
#define RAM_SIZE (1u << 20)
#define ALL_ONES UINT64_MAX

struct bench {
	struct ev_loop *loop;
	struct nic *nic;
	struct qemu_pci *qemu;
	int fd;         /* QEMU's end */
	char qtest[64]; /* path */
	int listener, qtest_fd;
	unsigned fds_before; /* open descriptors when all stood */
};

static unsigned open_fds(void)
{
	DIR *dir = opendir("/proc/self/fd");
	unsigned n = 0;

	while (readdir(dir))
		n++;
	closedir(dir);
	return n;
}

static int setup_with(void **state, bool vtd)
{
	static const uint8_t mac[6] = {0x02, 0x11, 0x22, 0x33, 0x44, 0x55};
	struct bench *b = calloc(1, sizeof(*b));
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	int pair[2];

	assert_non_null(b);
	softnic_log_level(LOG_LEVEL_ERROR);
	b->qtest_fd = -1;
	snprintf(b->qtest, sizeof(b->qtest), "/tmp/ixy-qtest-%d", (int)getpid());
	strcpy(address.sun_path, b->qtest);
	unlink(b->qtest);
	b->listener = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0);
	assert_int_equal(bind(b->listener, (struct sockaddr *)&address, sizeof(address)), 0);
	assert_int_equal(listen(b->listener, 1), 0);

	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, pair), 0);
	b->loop = ev_loop_new(EVFLAG_AUTO);
	b->nic = nic_create(0, "bench", mac);
	assert_non_null(b->nic);
	const struct qemu_pci_options options = {.qtest = b->qtest, .vtd = vtd, .requester = 4 << 3};

	b->qemu = qemu_pci_adopt(pair[0], &options, b->nic, b->loop);
	assert_non_null(b->qemu);
	b->fd = pair[1];
	b->fds_before = open_fds();
	*state = b;
	return 0;
}

static int setup(void **state)
{
	return setup_with(state, false);
}

static int setup_vtd(void **state)
{
	return setup_with(state, true);
}

static int teardown(void **state)
{
	struct bench *b = *state;

	qemu_pci_free(b->qemu);
	nic_free(b->nic);
	ev_loop_destroy(b->loop);
	close(b->fd);
	close(b->listener);
	if (b->qtest_fd >= 0)
		close(b->qtest_fd);
	unlink(b->qtest);
	free(b);
	return 0;
}

#define TEST(name)     cmocka_unit_test_setup_teardown(name, setup, teardown)
#define TEST_VTD(name) cmocka_unit_test_setup_teardown(name, setup_vtd, teardown)

/* --- speaking as QEMU does ------------------------------------------------------------------------------ */

static void send_message(struct bench *b, int32_t command, uint64_t announced, const void *payload,
	size_t size, const int *fds, unsigned fd_count)
{
	struct qemu_pci_header header = {.command = command, .padding = 0x5A5A5A5A, .size = announced};
	union {
		char bytes[CMSG_SPACE(64 * sizeof(int))];
		struct cmsghdr align;
	} control = {.bytes = {0}};
	struct iovec parts[2] = {{&header, sizeof(header)}, {(void *)payload, size}};
	struct msghdr msg = {.msg_iov = parts, .msg_iovlen = 2};

	if (fd_count) {
		msg.msg_control = control.bytes;
		msg.msg_controllen = CMSG_SPACE(fd_count * sizeof(int));
		struct cmsghdr *cmsg = CMSG_FIRSTHDR(&msg);
		cmsg->cmsg_level = SOL_SOCKET;
		cmsg->cmsg_type = SCM_RIGHTS;
		cmsg->cmsg_len = CMSG_LEN(fd_count * sizeof(int));
		memcpy(CMSG_DATA(cmsg), fds, fd_count * sizeof(int));
	}
	assert_int_equal(sendmsg(b->fd, &msg, MSG_NOSIGNAL), sizeof(header) + size);
	ev_run(b->loop, EVRUN_NOWAIT);
}

static bool has_answer(struct bench *b)
{
	struct pollfd p = {.fd = b->fd, .events = POLLIN};

	return poll(&p, 1, 0) == 1 && !(p.revents & POLLHUP);
}

static uint64_t answer(struct bench *b)
{
	struct qemu_pci_reply reply;

	assert_true(has_answer(b));
	assert_int_equal(recv(b->fd, &reply, sizeof(reply), MSG_DONTWAIT), sizeof(reply));
	assert_int_equal(reply.header.command, QEMU_PCI_RET);
	assert_int_equal(reply.header.size, 8);
	return reply.value;
}

static uint64_t config(struct bench *b, bool write, uint32_t address, int32_t size, uint32_t value)
{
	const struct qemu_pci_config message = {address, value, size};

	send_message(b, write ? QEMU_PCI_CONFIG_WRITE : QEMU_PCI_CONFIG_READ, sizeof(message), &message,
		sizeof(message), NULL, 0);
	return answer(b);
}

static uint64_t bar(struct bench *b, bool write, uint64_t address, uint32_t size, uint64_t value)
{
	const struct qemu_pci_bar message = {.address = address, .value = value, .size = size, .memory = 1};

	send_message(b, write ? QEMU_PCI_BAR_WRITE : QEMU_PCI_BAR_READ, sizeof(message), &message,
		sizeof(message), NULL, 0);
	return answer(b);
}

static void place_bars(struct bench *b)
{
	config(b, true, 0x10, 4, BAR0_AT);
	config(b, true, 0x20, 4, MSIX_AT);
	config(b, true, 0x04, 2, 0x0006);
}

static int memory(size_t size)
{
	int fd = memfd_create("ram", MFD_CLOEXEC);

	assert_int_equal(ftruncate(fd, (off_t)size), 0);
	return fd;
}

static void sync_sysmem(struct bench *b, const struct qemu_pci_sysmem *map, unsigned fd_count)
{
	int fds[64] = {0};

	for (unsigned i = 0; i < fd_count; i++)
		fds[i] = memory(RAM_SIZE);
	send_message(b, QEMU_PCI_SYNC_SYSMEM, sizeof(*map), map, sizeof(*map), fds, fd_count);
	for (unsigned i = 0; i < fd_count; i++)
		close(fds[i]);
}

static void assert_hung_up(struct bench *b)
{
	assert_true(qemu_pci_hung_up(b->qemu));
	assert_int_equal(open_fds(), b->fds_before - 1); /* the connection's own */
}

/* --- what is answered ----------------------------------------------------------------------------------- */

static void the_bars_are_of_32_bits_and_can_be_sized(void **state)
{
	struct bench *b = *state;
	static const uint32_t sizes[7] = {~(NIC_BAR0_SIZE - 1), 0, 0, 0, ~(NIC_MSIX_SIZE - 1), 0, 0};

	assert_int_equal(config(b, false, 0, 4, 0), 0x10FB8086);
	for (uint32_t i = 0; i < 7; i++) { /* QEMU sizes seven, the last at 0x28 */
		assert_int_equal(config(b, false, 0x10 + 4 * i, 4, 0), 0);
		assert_int_equal(config(b, true, 0x10 + 4 * i, 4, UINT32_MAX), 0);
		assert_int_equal(config(b, false, 0x10 + 4 * i, 4, 0), sizes[i]);
		config(b, true, 0x10 + 4 * i, 4, 0);
	}
	assert_int_equal(config(b, false, 0x06, 1, 0), 0x10);
}

static void registers_are_reached_through_the_bars(void **state)
{
	struct bench *b = *state;

	place_bars(b);
	assert_int_equal(bar(b, true, BAR0_AT + RDBAL(3), 4, 0x1000), 0);
	assert_int_equal(bar(b, false, BAR0_AT + RDBAL(3), 4, 0), 0x1000);
	assert_int_equal(bar(b, true, BAR0_AT + RDBAL(3), 8, 0x1200002000), 0);
	assert_int_equal(nic_peek32(b->nic, RDBAH(3)), 0x12);
	assert_int_equal(bar(b, true, MSIX_AT + 8, 4, 0x41), 0);
	assert_int_equal(b->nic->msix[0].data, 0x41);
	assert_int_equal(bar(b, false, MSIX_AT + 8, 4, 0), 0x41);
}

static void accesses_beside_the_bars_read_all_ones(void **state)
{
	struct bench *b = *state;
	struct qemu_pci_bar io = {.address = BAR0_AT, .size = 4};

	assert_true(bar(b, false, 0, 4, 0) == ALL_ONES); /* no BAR has an address yet */
	place_bars(b);
	assert_true(bar(b, false, BAR0_AT - 4, 4, 0) == ALL_ONES);
	assert_true(bar(b, false, BAR0_AT + NIC_BAR0_SIZE, 4, 0) == ALL_ONES);
	assert_true(bar(b, false, BAR0_AT + NIC_BAR0_SIZE - 4, 8, 0) == ALL_ONES);
	assert_true(bar(b, true, MSIX_AT + NIC_MSIX_SIZE, 4, 1) == ALL_ONES);
	assert_true(bar(b, false, BAR0_AT, UINT32_MAX, 0) == ALL_ONES);
	assert_true(bar(b, false, UINT64_MAX, 4, 0) == ALL_ONES);
	send_message(b, QEMU_PCI_BAR_READ, sizeof(io), &io, sizeof(io), NULL, 0);
	assert_true(answer(b) == ALL_ONES);
	assert_int_equal(nic_violations(b->nic), 0);

	assert_true(bar(b, false, BAR0_AT + 1, 4, 0) == ALL_ONES);
	assert_true(bar(b, true, BAR0_AT, 2, 0) == ALL_ONES);
	assert_int_equal(b->nic->violation[NIC_VIOLATION_REG_UNALIGNED], 2);

	assert_int_equal(config(b, false, 0, 3, 0), UINT32_MAX >> (32 - 24));
	assert_int_equal(config(b, false, UINT32_MAX, 4, 0), UINT32_MAX);
	config(b, true, UINT32_MAX, 4, 0);
	assert_false(qemu_pci_hung_up(b->qemu));
}

static void a_reset_is_answered_and_forgets_the_bars(void **state)
{
	struct bench *b = *state;

	place_bars(b);
	send_message(b, QEMU_PCI_DEVICE_RESET, 0, NULL, 0, NULL, 0);
	assert_int_equal(answer(b), 0);
	assert_int_equal(config(b, false, 0x10, 4, 0), 0);
}

/* --- memory --------------------------------------------------------------------------------------------- */

static void each_memory_map_replaces_the_one_before(void **state)
{
	struct bench *b = *state;
	struct qemu_pci_sysmem map = {
		.address = {0, 0x100000}, .size = {0x80000, 0x80000}, .offset = {0, 0x80000}};

	place_bars(b);
	for (unsigned i = 0; i < 100; i++)
		sync_sysmem(b, &map, 2);
	assert_false(has_answer(b));
	assert_int_equal(b->nic->dma.count, 2);
	assert_non_null(dma_at(b->nic, 0x17FFF0, 16, true));
	map.address[0] = 0x40000000;
	sync_sysmem(b, &map, 1);
	assert_int_equal(b->nic->dma.count, 1);
	assert_non_null(dma_at(b->nic, 0x40000000, 16, true));
	sync_sysmem(b, &map, 0);
	assert_int_equal(b->nic->dma.count, 0);
	assert_int_equal(open_fds(), b->fds_before);
}

static void regions_that_cannot_be_are_left_out(void **state)
{
	struct bench *b = *state;
	const struct qemu_pci_sysmem map = {
		.address = {0, UINT64_MAX - 0xFFF, 0x200000, 0x300000, 0x300000, 0x500001, 0x600000,
			0x700000},
		.size = {0, 0x2000, RAM_SIZE * 2, 0x10000, 0x10000, 0x1000, 0x1000, 0x1000},
		.offset = {0, 0, 0, 0, 0, 0, -4096, INT64_MAX},
	};

	sync_sysmem(b, &map, QEMU_PCI_REGIONS);
	assert_int_equal(b->nic->dma.count, 1); /* the first of the two at 0x300000 */
	assert_int_equal(b->nic->dma.regions[0].iova, 0x300000);
	assert_int_equal(open_fds(), b->fds_before);
	assert_false(qemu_pci_hung_up(b->qemu));
}

/* --- interrupts ----------------------------------------------------------------------------------------- */

static void enable_vector(struct bench *b, unsigned vector, uint32_t data)
{
	bar(b, true, MSIX_AT + 16 * vector, 4, 0xFEE00000);
	bar(b, true, MSIX_AT + 16 * vector + 4, 4, 1);
	bar(b, true, MSIX_AT + 16 * vector + 8, 4, data);
	bar(b, true, MSIX_AT + 16 * vector + 12, 4, 0);
	config(b, true, 0x72, 2, 0x8000);
}

/* What has been written to the qtest socket. */
static const char *qtest_text(struct bench *b)
{
	static char text[4096];
	ssize_t n;

	if (b->qtest_fd < 0)
		b->qtest_fd = accept(b->listener, NULL, NULL);
	if (b->qtest_fd < 0)
		return "";
	n = recv(b->qtest_fd, text, sizeof(text) - 1, MSG_DONTWAIT);
	text[n < 0 ? 0 : n] = 0;
	return text;
}

static void a_vector_is_a_write_to_the_address_in_its_table_entry(void **state)
{
	struct bench *b = *state;

	place_bars(b);
	enable_vector(b, 5, 0x4041);
	assert_string_equal(qtest_text(b), "");
	nic_msix_raise(b->nic, 5);
	assert_string_equal(qtest_text(b), "writel 0x1fee00000 0x4041\n");
	assert_int_equal(send(b->qtest_fd, "OK\n", 3, 0), 3);
	ev_run(b->loop, EVRUN_NOWAIT);
	nic_msix_raise(b->nic, 5);
	assert_string_equal(qtest_text(b), "writel 0x1fee00000 0x4041\n");
	nic_msix_raise(b->nic, 6); /* masked */
	assert_string_equal(qtest_text(b), "");
}

static size_t lines(const char *text)
{
	size_t n = 0;

	for (; *text; text++)
		n += *text == '\n';
	return n;
}

static void interrupts_that_are_not_taken_are_merged_not_hoarded(void **state)
{
	struct bench *b = *state;

	place_bars(b);
	enable_vector(b, 0, 0x40);
	enable_vector(b, 1, 0x41);
	for (unsigned i = 0; i < 1000; i++)
		nic_msix_raise(b->nic, i % 2);
	assert_int_equal(lines(qtest_text(b)), 16);
	for (unsigned i = 0; i < 16; i++)
		assert_int_equal(send(b->qtest_fd, "OK\n", 3, 0), 3);
	ev_run(b->loop, EVRUN_NOWAIT);
	assert_string_equal(qtest_text(b), "writel 0x1fee00000 0x40\nwritel 0x1fee00000 0x41\n");
}

static void a_qtest_socket_that_is_gone_costs_interrupts_only(void **state)
{
	struct bench *b = *state;

	place_bars(b);
	enable_vector(b, 0, 0x40);
	nic_msix_raise(b->nic, 0);
	qtest_text(b);
	close(b->qtest_fd);
	b->qtest_fd = -1;
	close(b->listener);
	nic_msix_raise(b->nic, 0);
	ev_run(b->loop, EVRUN_NOWAIT);
	nic_msix_raise(b->nic, 0);
	b->listener = open("/dev/null", O_RDONLY);
	assert_int_equal(config(b, false, 0, 2, 0), 0x8086);
}

/* 17 of vector 0: the last one waits. */
static void let_one_interrupt_wait(struct bench *b)
{
	place_bars(b);
	enable_vector(b, 0, 0x40);
	for (unsigned i = 0; i < 17; i++)
		nic_msix_raise(b->nic, 0);
	assert_int_equal(lines(qtest_text(b)), 16);
}

static void an_interrupt_that_waits_can_still_be_masked(void **state)
{
	struct bench *b = *state;

	let_one_interrupt_wait(b);
	bar(b, true, MSIX_AT + 12, 4, 1);
	assert_int_equal(send(b->qtest_fd, "OK\n", 3, 0), 3);
	ev_run(b->loop, EVRUN_NOWAIT);
	assert_string_equal(qtest_text(b), "");
	assert_int_equal(bar(b, false, MSIX_AT + NIC_MSIX_PBA, 4, 0), 1);
	bar(b, true, MSIX_AT + 8, 4, 0x50);
	bar(b, true, MSIX_AT + 12, 4, 0);
	assert_string_equal(qtest_text(b), "writel 0x1fee00000 0x50\n");
}

/* The table's entry is all zeroes then, and a message would go to the first bytes of the guest's memory. */
static void an_interrupt_that_waits_ends_with_a_reset(void **state)
{
	struct bench *b = *state;

	let_one_interrupt_wait(b);
	send_message(b, QEMU_PCI_DEVICE_RESET, 0, NULL, 0, NULL, 0);
	answer(b);
	assert_int_equal(send(b->qtest_fd, "OK\n", 3, 0), 3);
	ev_run(b->loop, EVRUN_NOWAIT);
	assert_string_equal(qtest_text(b), "");
}

static void interrupts_that_waited_for_room_go_over_the_next_connection(void **state)
{
	struct bench *b = *state;

	let_one_interrupt_wait(b);
	close(b->qtest_fd);
	b->qtest_fd = -1;
	ev_run(b->loop, EVRUN_NOWAIT);
	assert_string_equal(qtest_text(b), "writel 0x1fee00000 0x40\n");
}

static void rings_that_change_while_their_queue_runs_are_noticed(void **state)
{
	struct bench *b = *state;

	place_bars(b);
	bar(b, true, BAR0_AT + DMATXCTL, 4, DMATXCTL_TE);
	bar(b, true, BAR0_AT + TDBAL(0), 4, 0x1000);
	bar(b, true, BAR0_AT + TDLEN(0), 4, 1024);
	bar(b, true, BAR0_AT + TXDCTL(0), 4, TXDCTL_ENABLE);
	assert_int_equal(nic_violations(b->nic), 0);
	bar(b, true, BAR0_AT + TDBAL(0), 4, 0x2000);
	assert_int_equal(b->nic->violation[NIC_VIOLATION_RING_CHANGED], 1);
	bar(b, true, BAR0_AT + TDT(1), 4, 7);
	assert_int_equal(b->nic->violation[NIC_VIOLATION_TAIL_DISABLED], 1);
}

/* --- the guest's IOMMU ---------------------------------------------------------------------------------- */

#define QUESTION "read 0xfed90000 0x28\n"

/* The registers from VER to RTADDR, each in memory's order. */
#define REGISTERS(version, status, root) \
	"OK 0x" version "000000000000000000000000000000000000000000000000" status root "\n"
#define ROOT_1000 "0010000000000000"
#define ON        REGISTERS("10000000", "00000080", ROOT_1000)
#define OFF       REGISTERS("10000000", "00000000", ROOT_1000)
#define NOTHING   REGISTERS("00000000", "00000000", "0000000000000000")

static void qtest_answer(struct bench *b, const char *text)
{
	assert_int_equal(send(b->qtest_fd, text, strlen(text), 0), strlen(text));
	ev_run(b->loop, EVRUN_NOWAIT);
}

static void set_master(struct bench *b, bool on)
{
	config(b, true, 0x04, 2, on ? 0x6 : 0x2);
}

/* The test's end of the socket pair gets its answer while nobody has answered on qtest: nothing waits for that. */
static void the_iommu_is_looked_at_when_bus_mastering_is_turned_on(void **state)
{
	struct bench *b = *state;

	assert_true(nic_dma_held(b->nic));
	assert_string_equal(qtest_text(b), "");
	set_master(b, true);
	assert_string_equal(qtest_text(b), QUESTION);
	assert_true(nic_dma_held(b->nic));
	assert_int_equal(config(b, false, 0, 4, 0), 0x10FB8086);
	set_master(b, true); /* no change */
	assert_string_equal(qtest_text(b), "");
	qtest_answer(b, REGISTERS("10000000", "000000c0", "00b0522500000000"));
	assert_false(nic_dma_held(b->nic));
	assert_int_equal(b->nic->dma.iommu->state, VTD_ON);
	assert_int_equal(b->nic->dma.iommu->root, 0x2552b000);
	assert_int_equal(b->nic->dma.iommu->requester, 0x20);

	set_master(b, false);
	set_master(b, true);
	assert_true(nic_dma_held(b->nic));
	qtest_text(b);
	qtest_answer(b, REGISTERS("10000000", "00000040", ROOT_1000));
	assert_int_equal(b->nic->dma.iommu->state, VTD_OFF);
}

static void answers_come_in_pieces_and_among_those_to_interrupts(void **state)
{
	struct bench *b = *state;
	static const char answers[] = "OK\n" ON "OK\n" OFF;

	place_bars(b); /* bus mastering, too */
	qtest_text(b);
	qtest_answer(b, OFF);
	enable_vector(b, 0, 0x40);
	nic_msix_raise(b->nic, 0);
	set_master(b, false);
	set_master(b, true);
	nic_msix_raise(b->nic, 0);
	assert_string_equal(qtest_text(b), "writel 0x1fee00000 0x40\n" QUESTION "writel 0x1fee00000 0x40\n");
	for (size_t i = 0; i < sizeof(answers) - 1; i++) {
		const char piece[2] = {answers[i], 0};

		qtest_answer(b, piece);
	}
	assert_int_equal(b->nic->dma.iommu->state, VTD_ON);
	assert_int_equal(b->nic->dma.iommu->root, 0x1000);
}

static void an_answer_from_before_a_reset_is_not_believed(void **state)
{
	struct bench *b = *state;

	set_master(b, true);
	qtest_text(b);
	send_message(b, QEMU_PCI_DEVICE_RESET, 0, NULL, 0, NULL, 0);
	answer(b);
	set_master(b, true);
	assert_string_equal(qtest_text(b), ""); /* a question is under way already */
	qtest_answer(b, ON);
	assert_true(nic_dma_held(b->nic));
	assert_string_equal(qtest_text(b), QUESTION);
	qtest_answer(b, OFF);
	assert_int_equal(b->nic->dma.iommu->state, VTD_OFF);
}

static void without_a_sound_answer_there_is_no_dma(void **state)
{
	struct bench *b = *state;
	static const char *const wrong[] = {"FAIL Unknown command 'read'\n", "ERR\n", "OK\n", "OK 0x\n",
		"OK 0x80000000\n", "OK nonsense\n", NOTHING,
		REGISTERS("10000000", "00000080", "001000000000000g"),
		REGISTERS("10000000", "00000080", ROOT_1000 "00")};

	for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++) {
		set_master(b, false);
		set_master(b, true);
		assert_string_equal(qtest_text(b), QUESTION);
		qtest_answer(b, wrong[i]);
		assert_true(nic_dma_held(b->nic));
	}
	qtest_answer(b, ON); /* to what nobody asked */
	assert_true(nic_dma_held(b->nic));
}

/* QEMU shows zeroes while the guest's own access to the IOMMU is under way: that is not "off". */
static void registers_that_cannot_be_read_change_nothing(void **state)
{
	struct bench *b = *state;

	set_master(b, true);
	qtest_text(b);
	qtest_answer(b, ON);
	b->nic->dma.iommu->read_us = clock_us() - VTD_REFRESH_US;
	nic_dma_new_burst(b->nic);
	assert_string_equal(qtest_text(b), QUESTION);
	qtest_answer(b, NOTHING);
	assert_int_equal(b->nic->dma.iommu->state, VTD_ON);
	assert_int_equal(b->nic->dma.iommu->root, 0x1000);
}

static void a_qtest_socket_that_goes_amid_the_question_is_asked_again(void **state)
{
	struct bench *b = *state;

	set_master(b, true);
	assert_string_equal(qtest_text(b), QUESTION);
	close(b->qtest_fd);
	b->qtest_fd = -1;
	ev_run(b->loop, EVRUN_NOWAIT);
	assert_true(nic_dma_held(b->nic));
	set_master(b, false);
	set_master(b, true);
	assert_string_equal(qtest_text(b), QUESTION);
	qtest_answer(b, ON);
	assert_false(nic_dma_held(b->nic));
}

/* A question whose answer was no good is put again when the guest turns to the NIC, though not each time. */
static void dma_is_not_held_for_ever(void **state)
{
	struct bench *b = *state;

	set_master(b, true);
	assert_string_equal(qtest_text(b), QUESTION);
	qtest_answer(b, "ERR\n");
	b->nic->dma.iommu->read_us = clock_us() + 1000000000; /* however slow this is: just now */
	config(b, false, 0, 4, 0);
	assert_string_equal(qtest_text(b), "");
	b->nic->dma.iommu->read_us = clock_us() - VTD_REFRESH_US;
	config(b, false, 0, 4, 0);
	assert_string_equal(qtest_text(b), QUESTION);
	qtest_answer(b, ON);
	assert_false(nic_dma_held(b->nic));
	b->nic->dma.iommu->read_us = clock_us() - VTD_REFRESH_US;
	config(b, false, 0, 4, 0); /* no need */
	assert_string_equal(qtest_text(b), "");
}

/* --- what breaks the protocol --------------------------------------------------------------------------- */

static void a_message_of_a_wrong_size_ends_the_connection(void **state)
{
	struct bench *b = *state;
	const uint8_t payload[256] = {0};

	send_message(b, QEMU_PCI_CONFIG_READ, UINT64_MAX, payload, 12, NULL, 0);
	assert_hung_up(b);
}

static void an_unknown_command_ends_the_connection(void **state)
{
	struct bench *b = *state;

	send_message(b, -1, 0, NULL, 0, NULL, 0);
	assert_hung_up(b);
}

static void an_answer_sent_as_a_command_ends_the_connection(void **state)
{
	struct bench *b = *state;

	send_message(b, QEMU_PCI_RET, 8, "12345678", 8, NULL, 0);
	assert_hung_up(b);
}

static void too_many_descriptors_end_the_connection_and_are_closed(void **state)
{
	struct bench *b = *state;
	const struct qemu_pci_sysmem map = {.size = {0x1000}};

	sync_sysmem(b, &map, 60);
	assert_hung_up(b);
}

static void descriptors_that_nobody_wants_are_closed(void **state)
{
	struct bench *b = *state;
	const int fds[2] = {memory(4096), memory(4096)};

	send_message(b, QEMU_PCI_SET_IRQFD, 0, NULL, 0, fds, 2);
	assert_false(has_answer(b));
	send_message(b, QEMU_PCI_DEVICE_RESET, 0, NULL, 0, fds, 2);
	answer(b);
	close(fds[0]);
	close(fds[1]);
	assert_int_equal(open_fds(), b->fds_before);
}

static void a_message_may_come_in_pieces(void **state)
{
	struct bench *b = *state;
	struct {
		struct qemu_pci_header header;
		struct qemu_pci_config config;
	} message = {{QEMU_PCI_CONFIG_READ, 0, 12}, {0, 0, 4}};

	for (size_t i = 0; i < 28; i++) {
		assert_false(has_answer(b));
		assert_int_equal(send(b->fd, (uint8_t *)&message + i, 1, 0), 1);
		ev_run(b->loop, EVRUN_NOWAIT);
	}
	assert_int_equal(answer(b), 0x10FB8086);
}

static void a_peer_that_leaves_amid_a_message_is_let_go(void **state)
{
	struct bench *b = *state;
	const struct qemu_pci_sysmem map = {.size = {RAM_SIZE}};
	const int fd = memory(RAM_SIZE);

	send_message(b, QEMU_PCI_SYNC_SYSMEM, sizeof(map), &map, 100, &fd, 1);
	close(fd);
	assert_int_equal(shutdown(b->fd, SHUT_RDWR), 0);
	ev_run(b->loop, EVRUN_NOWAIT);
	assert_hung_up(b);
	assert_int_equal(b->nic->dma.count, 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(the_bars_are_of_32_bits_and_can_be_sized),
		TEST(registers_are_reached_through_the_bars),
		TEST(accesses_beside_the_bars_read_all_ones),
		TEST(a_reset_is_answered_and_forgets_the_bars),
		TEST(each_memory_map_replaces_the_one_before),
		TEST(regions_that_cannot_be_are_left_out),
		TEST(a_vector_is_a_write_to_the_address_in_its_table_entry),
		TEST(interrupts_that_are_not_taken_are_merged_not_hoarded),
		TEST(a_qtest_socket_that_is_gone_costs_interrupts_only),
		TEST(an_interrupt_that_waits_can_still_be_masked),
		TEST(an_interrupt_that_waits_ends_with_a_reset),
		TEST(interrupts_that_waited_for_room_go_over_the_next_connection),
		TEST(rings_that_change_while_their_queue_runs_are_noticed),
		TEST_VTD(the_iommu_is_looked_at_when_bus_mastering_is_turned_on),
		TEST_VTD(answers_come_in_pieces_and_among_those_to_interrupts),
		TEST_VTD(an_answer_from_before_a_reset_is_not_believed),
		TEST_VTD(without_a_sound_answer_there_is_no_dma),
		TEST_VTD(registers_that_cannot_be_read_change_nothing),
		TEST_VTD(a_qtest_socket_that_goes_amid_the_question_is_asked_again),
		TEST_VTD(dma_is_not_held_for_ever),
		TEST(a_message_of_a_wrong_size_ends_the_connection),
		TEST(an_unknown_command_ends_the_connection),
		TEST(an_answer_sent_as_a_command_ends_the_connection),
		TEST(too_many_descriptors_end_the_connection_and_are_closed),
		TEST(descriptors_that_nobody_wants_are_closed),
		TEST(a_message_may_come_in_pieces),
		TEST(a_peer_that_leaves_amid_a_message_is_let_go),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
