/*
 * The vfio-user server against clients of all manners: one that does everything right, and those that do not.
 * The server runs in the same thread, stepped by the test; the client is the other end of a socket. Every test
 * ends by counting the open descriptors: none may be left behind, whatever a client sent.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <cmocka.h>

#include "dma_at.h"
#include "netns-tests/softnic/log.h"
#include "netns-tests/softnic/vfio_user.h"

#define PAGE 4096u

struct rig {
	struct ev_loop *loop;
	struct nic *nic;
	struct vfio_server *server;
	int client;
	int open_fds; /* before anything was opened */
};

struct reply {
	struct vfio_user_header header;
	uint8_t payload[VFIO_USER_MAX_MSG_SIZE];
	int fds[8];
	unsigned fd_count;
};

static int count_open_fds(void)
{
	int count = 0;
	DIR *directory = opendir("/proc/self/fd");
	assert_non_null(directory);
	while (readdir(directory))
		count++;
	closedir(directory);
	return count;
}

/* --- a client, by hand ---------------------------------------------------------------------------------- */

static void step(struct rig *rig)
{
	for (unsigned i = 0; i < 4; i++)
		ev_run(rig->loop, EVRUN_NOWAIT);
}

static void send_bytes(int fd, const void *data, size_t size, const int *fds, unsigned count)
{
	union {
		char bytes[CMSG_SPACE(253 * sizeof(int))];
		struct cmsghdr align;
	} control = {.bytes = {0}};
	struct iovec iov = {(void *)data, size};
	struct msghdr msg = {.msg_iov = &iov, .msg_iovlen = 1};
	if (count) {
		msg.msg_control = control.bytes;
		msg.msg_controllen = CMSG_SPACE(count * sizeof(int));
		struct cmsghdr *cmsg = CMSG_FIRSTHDR(&msg);
		cmsg->cmsg_level = SOL_SOCKET;
		cmsg->cmsg_type = SCM_RIGHTS;
		cmsg->cmsg_len = CMSG_LEN(count * sizeof(int));
		memcpy(CMSG_DATA(cmsg), fds, count * sizeof(int));
	}
	assert_int_equal(sendmsg(fd, &msg, MSG_NOSIGNAL), size);
}

static void send_command(struct rig *rig, uint16_t command, uint32_t flags, const void *payload, size_t size,
	const int *fds, unsigned count)
{
	struct {
		struct vfio_user_header header;
		uint8_t payload[VFIO_USER_MAX_MSG_SIZE];
	} message = {.header = {.id = (uint16_t)(0x4000 + command), .command = command, .flags = flags}};
	message.header.size = (uint32_t)(sizeof message.header + size);
	if (size)
		memcpy(message.payload, payload, size);
	send_bytes(rig->client, &message, message.header.size, fds, count);
}

/* Read one reply, if there is one. */
static bool read_reply(struct rig *rig, struct reply *reply)
{
	union {
		char bytes[CMSG_SPACE(8 * sizeof(int))];
		struct cmsghdr align;
	} control;
	memset(reply, 0, sizeof *reply);
	struct iovec iov = {&reply->header, sizeof reply->header};
	struct msghdr msg = {
		.msg_iov = &iov,
		.msg_iovlen = 1,
		.msg_control = control.bytes,
		.msg_controllen = sizeof control.bytes,
	};
	ssize_t n = recvmsg(rig->client, &msg, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
	if (n <= 0)
		return false;
	assert_int_equal(n, sizeof reply->header);
	struct cmsghdr *cmsg = CMSG_FIRSTHDR(&msg);
	if (cmsg) {
		reply->fd_count = (unsigned)((cmsg->cmsg_len - CMSG_LEN(0)) / sizeof(int));
		memcpy(reply->fds, CMSG_DATA(cmsg), reply->fd_count * sizeof(int));
	}
	size_t size = reply->header.size - sizeof reply->header;
	assert_true(size <= sizeof reply->payload);
	if (size)
		assert_int_equal(recv(rig->client, reply->payload, size, MSG_DONTWAIT), size);
	return true;
}

static void close_reply(struct reply *reply)
{
	for (unsigned i = 0; i < reply->fd_count; i++)
		close(reply->fds[i]);
	reply->fd_count = 0;
}

static struct reply *call_with(
	struct rig *rig, uint16_t command, const void *payload, size_t size, const int *fds, unsigned count)
{
	static struct reply reply;
	send_command(rig, command, VFIO_USER_TYPE_COMMAND, payload, size, fds, count);
	step(rig);
	assert_true(read_reply(rig, &reply));
	assert_int_equal(reply.header.id, 0x4000 + command);
	assert_int_equal(reply.header.command, command);
	assert_int_equal(reply.header.flags & VFIO_USER_TYPE_MASK, VFIO_USER_TYPE_REPLY);
	return &reply;
}

/* A command that must succeed. */
static struct reply *call(struct rig *rig, uint16_t command, const void *payload, size_t size)
{
	struct reply *reply = call_with(rig, command, payload, size, NULL, 0);
	assert_int_equal(reply->header.error, 0);
	assert_false(reply->header.flags & VFIO_USER_ERROR);
	return reply;
}

/* A command that must fail, and with this error; a failure is a header and nothing else. */
static void call_fails(struct rig *rig, uint16_t command, const void *payload, size_t size, int error)
{
	struct reply *reply = call_with(rig, command, payload, size, NULL, 0);
	assert_true(reply->header.flags & VFIO_USER_ERROR);
	assert_int_equal(reply->header.error, error);
	assert_int_equal(reply->header.size, sizeof reply->header);
	assert_int_equal(reply->fd_count, 0);
}

static struct reply *negotiate(struct rig *rig, const char *json)
{
	struct {
		struct vfio_user_version version;
		char json[256];
	} message = {.version = {.major = VFIO_USER_MAJOR, .minor = VFIO_USER_MINOR}};
	snprintf(message.json, sizeof message.json, "%s", json);
	return call(rig, VFIO_USER_VERSION, &message, sizeof message.version + strlen(json) + 1);
}

#define OUR_JSON "{\"capabilities\":{\"max_msg_fds\":8,\"max_msg_size\":8192,\"shadow_wakeup\":true}}"

static bool is_hung_up(int fd)
{
	char byte;
	return recv(fd, &byte, 1, MSG_DONTWAIT | MSG_PEEK) == 0;
}

static uint32_t read_register(struct rig *rig, uint32_t offset)
{
	struct vfio_user_region_access access = {
		.offset = offset, .region = VFIO_PCI_BAR0_REGION_INDEX, .count = 4};
	uint32_t value;
	struct reply *reply = call(rig, VFIO_USER_REGION_READ, &access, sizeof access);
	assert_int_equal(reply->header.size, 16 + sizeof access + 4);
	memcpy(&value, reply->payload + sizeof access, 4);
	return value;
}

struct write {
	struct vfio_user_region_access access;
	uint8_t data[16];
};

static struct write write_of(uint32_t region, uint64_t offset, uint64_t value, uint32_t count)
{
	struct write write = {.access = {.offset = offset, .region = region, .count = count}};
	memcpy(write.data, &value, sizeof value);
	return write;
}

/* --- setup ---------------------------------------------------------------------------------------------- */

static int setup_unconnected(void **state)
{
	static struct rig rig;
	rig = (struct rig){.client = -1};
	softnic_log_level(LOG_LEVEL_ERROR);
	signal(SIGPIPE, SIG_IGN);
	rig.open_fds = count_open_fds();
	rig.loop = ev_loop_new(EVFLAG_AUTO);
	assert_non_null(rig.loop);
	rig.nic = nic_create(0, "test", (const uint8_t[6]){2, 0, 0, 0, 0, 1});
	assert_non_null(rig.nic);
	*state = &rig;
	return 0;
}

static int setup(void **state)
{
	int pair[2];
	setup_unconnected(state);
	struct rig *rig = *state;
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair), 0);
	rig->client = pair[0];
	rig->server = vfio_server_adopt(pair[1], rig->nic, rig->loop);
	assert_non_null(rig->server);
	return 0;
}

static int setup_negotiated(void **state)
{
	setup(state);
	negotiate(*state, OUR_JSON);
	return 0;
}

static int teardown(void **state)
{
	struct rig *rig = *state;
	vfio_server_free(rig->server);
	nic_free(rig->nic);
	ev_loop_destroy(rig->loop);
	if (rig->client >= 0)
		close(rig->client);
	assert_int_equal(count_open_fds(), rig->open_fds);
	return 0;
}

/* --- version -------------------------------------------------------------------------------------------- */

static void the_version_is_agreed_upon(void **state)
{
	struct rig *rig = *state;
	struct reply *reply = negotiate(rig, OUR_JSON);
	struct vfio_user_version version;
	memcpy(&version, reply->payload, sizeof version);
	assert_int_equal(version.major, VFIO_USER_MAJOR);
	assert_int_equal(version.minor, VFIO_USER_MINOR);
	const char *json = (const char *)reply->payload + sizeof version;
	size_t size = reply->header.size - 16 - sizeof version;
	assert_int_equal(json[size - 1], '\0');
	assert_int_equal(vfio_server_json_number(json, size, "max_msg_fds", 0), VFIO_USER_MAX_MSG_FDS);
	assert_int_equal(vfio_server_json_number(json, size, "max_msg_size", 0), VFIO_USER_MAX_MSG_SIZE);
	assert_int_equal(vfio_server_json_number(json, size, "shadow_wakeup", 0), 1);
}

static void an_extension_is_not_claimed_to_those_who_do_not_know_it(void **state)
{
	struct rig *rig = *state;
	struct reply *reply = negotiate(rig, "{\"capabilities\":{\"max_msg_fds\":8}}");
	assert_null(strstr((const char *)reply->payload + 4, "shadow_wakeup"));
}

static void version_data_may_be_missing(void **state)
{
	struct rig *rig = *state;
	const struct vfio_user_version version = {.major = 0, .minor = 7};
	struct reply *reply = call(rig, VFIO_USER_VERSION, &version, sizeof version);
	struct vfio_user_version answer;
	memcpy(&answer, reply->payload, sizeof answer);
	assert_int_equal(answer.minor, VFIO_USER_MINOR); /* not more than we know */
}

static void another_major_version_is_refused(void **state)
{
	struct rig *rig = *state;
	const struct vfio_user_version version = {.major = 1};
	call_fails(rig, VFIO_USER_VERSION, &version, sizeof version, EPROTONOSUPPORT);
	step(rig);
	assert_true(is_hung_up(rig->client));
	assert_true(rig->server->hung_up);
}

static void a_first_message_other_than_version_is_refused(void **state)
{
	struct rig *rig = *state;
	call_fails(rig, VFIO_USER_DEVICE_RESET, NULL, 0, EPROTO);
	step(rig);
	assert_true(is_hung_up(rig->client));
}

static void version_data_without_an_end_is_refused(void **state)
{
	struct rig *rig = *state;
	const uint8_t message[] = {0, 0, 1, 0, '{', '}'};
	call_fails(rig, VFIO_USER_VERSION, message, sizeof message, EINVAL);
	step(rig);
	assert_true(is_hung_up(rig->client));
}

static void a_client_that_takes_no_message_at_all_is_refused(void **state)
{
	struct rig *rig = *state;
	static const char message[] = "\0\0\1\0{\"capabilities\":{\"max_msg_size\":20}}";
	call_fails(rig, VFIO_USER_VERSION, message, sizeof message, EINVAL);
	step(rig);
	assert_true(is_hung_up(rig->client));
}

static void json_is_read_with_tolerance(void **state)
{
	(void)state;
	const struct {
		const char *json;
		uint64_t value;
	} cases[] = {
		{"{\"key\":5}", 5},
		{" { \"a\" : { \"key\" \n:\t 12 } } ", 12},
		{"{\"key\":true}", 1},
		{"{\"key\":false}", 0},
		{"{\"key\":99999999999999999999999}", 99999999999},
		{"{\"other\":\"key\",\"key\":7}", 7},
		{"{\"o\\\"key\\\":3\":1,\"key\":8}", 8},
		{"{\"keys\":1}", 42},
		{"{\"key\":\"five\"}", 42},
		{"{\"key\":-1}", 42},
		{"{\"key\"", 42},
		{"{\"key\":", 42},
		{"{\"key", 42},
		{"\"\\", 42},
		{"", 42},
	};
	for (unsigned i = 0; i < sizeof cases / sizeof cases[0]; i++) {
		size_t size = strlen(cases[i].json);
		char *exact = malloc(size ? size : 1); /* the sanitizer sees a read beyond */
		assert_non_null(exact);
		memcpy(exact, cases[i].json, size);
		uint64_t value = vfio_server_json_number(exact, size, "key", 42);
		if (cases[i].value > UINT32_MAX)
			assert_true(value > UINT32_MAX);
		else
			assert_int_equal(value, cases[i].value);
		free(exact);
	}
}

/* --- what there is -------------------------------------------------------------------------------------- */

static void the_device_is_a_pci_function_that_can_be_reset(void **state)
{
	struct rig *rig = *state;
	const uint32_t request[4] = {16, 0, 0, 0};
	uint32_t info[4];
	struct reply *reply = call(rig, VFIO_USER_DEVICE_GET_INFO, request, sizeof request);
	memcpy(info, reply->payload, sizeof info);
	assert_int_equal(info[0], 16);
	assert_int_equal(info[1], VFIO_DEVICE_FLAGS_PCI | VFIO_DEVICE_FLAGS_RESET);
	assert_int_equal(info[2], VFIO_PCI_NUM_REGIONS);
	assert_int_equal(info[3], VFIO_PCI_NUM_IRQS);
	const uint32_t small[4] = {15, 0, 0, 0};
	call_fails(rig, VFIO_USER_DEVICE_GET_INFO, small, sizeof small, EINVAL);
}

static struct vfio_region_info region_info(
	struct rig *rig, uint32_t index, uint32_t argsz, struct reply **reply)
{
	const struct vfio_region_info request = {.argsz = argsz, .index = index};
	struct vfio_region_info info;
	*reply = call(rig, VFIO_USER_DEVICE_GET_REGION_INFO, &request, sizeof request);
	memcpy(&info, (*reply)->payload, sizeof info);
	return info;
}

static void each_region_has_its_size(void **state)
{
	struct rig *rig = *state;
	const uint64_t sizes[VFIO_PCI_NUM_REGIONS] = {
		[VFIO_PCI_BAR0_REGION_INDEX] = NIC_BAR0_SIZE,
		[VFIO_PCI_BAR4_REGION_INDEX] = NIC_MSIX_SIZE,
		[VFIO_PCI_CONFIG_REGION_INDEX] = NIC_CONFIG_SIZE,
	};
	for (uint32_t i = 0; i < VFIO_PCI_NUM_REGIONS; i++) {
		struct reply *reply;
		struct vfio_region_info info = region_info(rig, i, sizeof info, &reply);
		assert_int_equal(info.size, sizes[i]);
		assert_int_equal(info.index, i);
	}
	const struct vfio_region_info beyond = {.argsz = sizeof beyond, .index = VFIO_PCI_NUM_REGIONS};
	call_fails(rig, VFIO_USER_DEVICE_GET_REGION_INFO, &beyond, sizeof beyond, EINVAL);
}

static void a_client_with_too_little_room_learns_how_much_it_takes(void **state)
{
	struct rig *rig = *state;
	struct reply *reply;
	struct vfio_region_info info = region_info(rig, VFIO_PCI_BAR0_REGION_INDEX, sizeof info, &reply);
	assert_int_equal(reply->header.size, 16 + sizeof info);
	assert_int_equal(reply->fd_count, 0);
	assert_int_equal(info.cap_offset, 0);
	assert_true(info.argsz > sizeof info);
	info = region_info(rig, VFIO_PCI_BAR0_REGION_INDEX, info.argsz, &reply);
	assert_int_equal(reply->header.size, 16 + info.argsz);
	assert_int_equal(reply->fd_count, 1);
	close_reply(reply);
}

static void the_queue_pages_can_be_mapped(void **state)
{
	struct rig *rig = *state;
	struct reply *reply;
	struct vfio_region_info info = region_info(rig, VFIO_PCI_BAR0_REGION_INDEX, 4096, &reply);
	assert_true(info.flags & VFIO_REGION_INFO_FLAG_MMAP);
	assert_true(info.flags & VFIO_REGION_INFO_FLAG_CAPS);
	assert_int_equal(info.cap_offset, sizeof info);
	assert_int_equal(reply->fd_count, 1);
	const struct vfio_region_info_cap_sparse_mmap *sparse =
		(const void *)(reply->payload + info.cap_offset);
	assert_int_equal(sparse->header.id, VFIO_REGION_INFO_CAP_SPARSE_MMAP);
	assert_int_equal(sparse->nr_areas, 3);
	const uint64_t pages[3] = {0x1000, 0x6000, 0xD000};
	for (unsigned i = 0; i < 3; i++) {
		assert_int_equal(sparse->areas[i].offset, pages[i]);
		assert_int_equal(sparse->areas[i].size, PAGE);
	}
	/* What is stored through the mapping is what the NIC sees. */
	volatile uint32_t *page = mmap(
		NULL, PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, reply->fds[0], (off_t)(info.offset + 0x6000));
	assert_true(page != MAP_FAILED);
	close_reply(reply);
	page[(TDBAL(3) - 0x6000) / 4] = 0x12345680;
	assert_int_equal(read_register(rig, TDBAL(3)), 0x12345680);
	munmap((void *)page, PAGE);
}

static void doorbells_come_with_an_eventfd_and_their_memory(void **state)
{
	struct rig *rig = *state;
	struct vfio_user_io_fds request = {.argsz = sizeof request, .index = VFIO_PCI_BAR0_REGION_INDEX},
				answer;
	struct reply *reply = call(rig, VFIO_USER_DEVICE_GET_REGION_IO_FDS, &request, sizeof request);
	memcpy(&answer, reply->payload, sizeof answer);
	assert_int_equal(reply->fd_count, 0);
	assert_int_equal(reply->header.size, 16 + sizeof answer);
	assert_false(rig->server->doorbells_given);

	request.argsz = answer.argsz;
	reply = call(rig, VFIO_USER_DEVICE_GET_REGION_IO_FDS, &request, sizeof request);
	memcpy(&answer, reply->payload, sizeof answer);
	assert_int_equal(answer.count, 64);
	assert_int_equal(reply->fd_count, 2);
	for (unsigned n = 0; n < 64; n++) {
		struct vfio_user_io_fd fd;
		memcpy(&fd, reply->payload + sizeof answer + n * sizeof fd, sizeof fd);
		assert_int_equal(fd.offset, TDT(n));
		assert_int_equal(fd.size, 4);
		assert_int_equal(fd.type, VFIO_USER_IO_FD_IOEVENTFD_SHADOW);
		assert_true(fd.fd_index < 2 && fd.shadow_fd_index < 2);
		assert_int_equal(fd.shadow_offset, TDT(n));
	}
	/* Asleep and awake are seen in the word behind the doorbell. */
	volatile uint32_t *page = mmap(NULL, PAGE, PROT_READ, MAP_SHARED, reply->fds[1], 0x6000);
	assert_true(page != MAP_FAILED);
	volatile const uint32_t *wanted = page + (TDT(5) + 4 - 0x6000) / 4;
	assert_int_equal(*wanted, 0);
	vfio_server_sleep(rig->server);
	assert_int_not_equal(*wanted, 0);
	vfio_server_wake(rig->server);
	assert_int_equal(*wanted, 0);
	munmap((void *)page, PAGE);
	close_reply(reply);
}

static void a_client_that_takes_one_descriptor_gets_no_doorbells(void **state)
{
	struct rig *rig = *state;
	negotiate(rig, "{\"capabilities\":{\"max_msg_fds\":1}}");
	const struct vfio_user_io_fds request = {.argsz = 8000, .index = VFIO_PCI_BAR0_REGION_INDEX};
	struct vfio_user_io_fds answer;
	struct reply *reply = call(rig, VFIO_USER_DEVICE_GET_REGION_IO_FDS, &request, sizeof request);
	memcpy(&answer, reply->payload, sizeof answer);
	assert_int_equal(answer.count, 0);
	assert_int_equal(reply->fd_count, 0);
	/* It may still have mapped the pages; then somebody has to look at them. */
	assert_false(vfio_server_silent(rig->server));
	region_info(rig, VFIO_PCI_BAR0_REGION_INDEX, 4096, &reply);
	close_reply(reply);
	assert_true(vfio_server_silent(rig->server));
}

static void io_fds_with_wrong_arguments_are_refused(void **state)
{
	struct rig *rig = *state;
	const struct vfio_user_io_fds wrong[] = {
		{.argsz = 15, .index = 0},
		{.argsz = 8000, .flags = 1},
		{.argsz = 8000, .index = VFIO_PCI_NUM_REGIONS},
	};
	for (unsigned i = 0; i < sizeof wrong / sizeof wrong[0]; i++)
		call_fails(rig, VFIO_USER_DEVICE_GET_REGION_IO_FDS, &wrong[i], sizeof wrong[i], EINVAL);
}

static void only_msix_has_vectors(void **state)
{
	struct rig *rig = *state;
	for (uint32_t i = 0; i < VFIO_PCI_NUM_IRQS; i++) {
		const struct vfio_irq_info request = {.argsz = sizeof request, .index = i};
		struct vfio_irq_info info;
		memcpy(&info, call(rig, VFIO_USER_DEVICE_GET_IRQ_INFO, &request, sizeof request)->payload,
			sizeof info);
		assert_int_equal(info.count, i == VFIO_PCI_MSIX_IRQ_INDEX ? NIC_MSIX_VECTORS : 0);
	}
	const struct vfio_irq_info beyond = {.argsz = sizeof beyond, .index = VFIO_PCI_NUM_IRQS};
	call_fails(rig, VFIO_USER_DEVICE_GET_IRQ_INFO, &beyond, sizeof beyond, EINVAL);
}

/* --- interrupts ----------------------------------------------------------------------------------------- */

#define TRIGGER_FDS (VFIO_IRQ_SET_DATA_EVENTFD | VFIO_IRQ_SET_ACTION_TRIGGER)

struct irq_set { /* struct vfio_irq_set without data */
	uint32_t argsz, flags, index, start, count;
};

static struct irq_set irq_set(uint32_t flags, uint32_t start, uint32_t count)
{
	return (struct irq_set){
		.argsz = sizeof(struct irq_set),
		.flags = flags,
		.index = VFIO_PCI_MSIX_IRQ_INDEX,
		.start = start,
		.count = count,
	};
}

static void set_irqs(
	struct rig *rig, uint32_t flags, uint32_t start, uint32_t count, const int *fds, unsigned fd_count)
{
	struct irq_set set = irq_set(flags, start, count);
	struct reply *reply = call_with(rig, VFIO_USER_DEVICE_SET_IRQS, &set, sizeof set, fds, fd_count);
	assert_int_equal(reply->header.error, 0);
}

static bool take_event(int fd)
{
	uint64_t count;
	return read(fd, &count, sizeof count) == sizeof count;
}

/* A function whose bus mastering is off sends no messages. */
static void enable_master(struct rig *rig)
{
	nic_config_write(rig->nic, 0x04, 2, 0x6);
}

static void a_vector_raises_its_own_eventfd(void **state)
{
	struct rig *rig = *state;
	int fds[3];
	enable_master(rig);
	for (unsigned i = 0; i < 3; i++)
		fds[i] = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
	set_irqs(rig, TRIGGER_FDS, 4, 3, fds, 3);
	nic_msix_raise(rig->nic, 5);
	assert_false(take_event(fds[0]));
	assert_true(take_event(fds[1]));
	assert_false(take_event(fds[2]));

	/* By the client's own request, as a test of its wiring. */
	set_irqs(rig, VFIO_IRQ_SET_DATA_NONE | VFIO_IRQ_SET_ACTION_TRIGGER, 6, 1, NULL, 0);
	assert_true(take_event(fds[2]));

	/* Taken away one by one, and all. */
	set_irqs(rig, TRIGGER_FDS, 5, 1, NULL, 0);
	nic_msix_raise(rig->nic, 5);
	assert_false(take_event(fds[1]));
	nic_msix_raise(rig->nic, 4);
	assert_true(take_event(fds[0]));
	set_irqs(rig, VFIO_IRQ_SET_DATA_NONE | VFIO_IRQ_SET_ACTION_TRIGGER, 0, 0, NULL, 0);
	nic_msix_raise(rig->nic, 4);
	assert_false(take_event(fds[0]));
	for (unsigned i = 0; i < 3; i++)
		close(fds[i]);
}

static void all_vectors_can_be_set_at_once_and_again(void **state)
{
	struct rig *rig = *state;
	int fds[NIC_MSIX_VECTORS];
	int fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
	enable_master(rig);
	for (unsigned i = 0; i < NIC_MSIX_VECTORS; i++)
		fds[i] = fd;
	for (unsigned again = 0; again < 3; again++)
		set_irqs(rig, TRIGGER_FDS, 0, NIC_MSIX_VECTORS, fds, NIC_MSIX_VECTORS);
	nic_msix_raise(rig->nic, NIC_MSIX_VECTORS - 1);
	assert_true(take_event(fd));
	close(fd);
}

static void a_masked_vector_is_delivered_when_it_is_unmasked(void **state)
{
	struct rig *rig = *state;
	int fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
	enable_master(rig);
	set_irqs(rig, TRIGGER_FDS, 0, 1, &fd, 1);
	set_irqs(rig, VFIO_IRQ_SET_DATA_NONE | VFIO_IRQ_SET_ACTION_MASK, 0, 1, NULL, 0);
	nic_msix_raise(rig->nic, 0);
	assert_false(take_event(fd));
	set_irqs(rig, VFIO_IRQ_SET_DATA_NONE | VFIO_IRQ_SET_ACTION_UNMASK, 0, 1, NULL, 0);
	assert_true(take_event(fd));
	close(fd);
}

static void write_config16(struct rig *rig, uint32_t offset, uint16_t value)
{
	struct {
		struct vfio_user_region_access access;
		uint16_t value;
	} __attribute__((packed)) message = {
		.access = {.offset = offset, .region = VFIO_PCI_CONFIG_REGION_INDEX, .count = 2},
		.value = value,
	};
	assert_int_equal(call(rig, VFIO_USER_REGION_WRITE, &message, sizeof message)->header.error, 0);
}

static void eventfds_outlive_a_reset(void **state)
{
	struct rig *rig = *state;
	int fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
	set_irqs(rig, TRIGGER_FDS, 3, 1, &fd, 1);
	for (unsigned kind = 0; kind < 3; kind++) {
		if (kind == 0) {
			call(rig, VFIO_USER_DEVICE_RESET, NULL, 0);
		} else if (kind == 1) {
			write_config16(rig, 0xA8, 0x8000); /* function-level reset */
		} else {
			write_config16(rig, 0x44, 3); /* D3hot and back */
			write_config16(rig, 0x44, 0);
		}
		nic_msix_raise(rig->nic, 3);
		assert_false(take_event(fd)); /* the reset has turned bus mastering off */
		enable_master(rig);
		assert_true(take_event(fd));
	}
	close(fd);
}

static void booleans_choose_the_vectors(void **state)
{
	struct rig *rig = *state;
	int fds[2] = {eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC), eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC)};
	set_irqs(rig, TRIGGER_FDS, 0, 2, fds, 2);
	struct {
		struct irq_set set;
		uint8_t chosen[2];
	} message = {
		.set = irq_set(VFIO_IRQ_SET_DATA_BOOL | VFIO_IRQ_SET_ACTION_TRIGGER, 0, 2),
		.chosen = {0, 1},
	};
	call(rig, VFIO_USER_DEVICE_SET_IRQS, &message, sizeof message.set + 2);
	assert_false(take_event(fds[0]));
	assert_true(take_event(fds[1]));
	call_fails(rig, VFIO_USER_DEVICE_SET_IRQS, &message, sizeof message.set + 1, EINVAL);
	close(fds[0]);
	close(fds[1]);
}

static void wrong_interrupt_requests_are_refused(void **state)
{
	struct rig *rig = *state;
	const struct irq_set wrong[] = {
		irq_set(VFIO_IRQ_SET_DATA_NONE, 0, 1),                                        /* no action */
		irq_set(VFIO_IRQ_SET_ACTION_TRIGGER, 0, 1),                                   /* no data */
		irq_set(TRIGGER_FDS | VFIO_IRQ_SET_DATA_NONE, 0, 1),                          /* two */
		irq_set(TRIGGER_FDS | VFIO_IRQ_SET_ACTION_MASK, 0, 1),                        /* two */
		irq_set(TRIGGER_FDS | 1u << 31, 0, 1),                                        /* unknown */
		irq_set(VFIO_IRQ_SET_DATA_NONE | VFIO_IRQ_SET_ACTION_TRIGGER, 64, 1),         /* beyond */
		irq_set(VFIO_IRQ_SET_DATA_NONE | VFIO_IRQ_SET_ACTION_TRIGGER, 63, 2),         /* beyond */
		irq_set(VFIO_IRQ_SET_DATA_NONE | VFIO_IRQ_SET_ACTION_TRIGGER, 1, UINT32_MAX), /* wraps */
		irq_set(VFIO_IRQ_SET_DATA_NONE | VFIO_IRQ_SET_ACTION_TRIGGER, UINT32_MAX, 2), /* wraps */
		irq_set(VFIO_IRQ_SET_DATA_NONE | VFIO_IRQ_SET_ACTION_MASK, 0, 0),             /* of none */
		irq_set(TRIGGER_FDS, 0, 0),                                                   /* of none */
	};
	for (unsigned i = 0; i < sizeof wrong / sizeof wrong[0]; i++)
		call_fails(rig, VFIO_USER_DEVICE_SET_IRQS, &wrong[i], sizeof wrong[i], EINVAL);

	/* Another number of descriptors than vectors. */
	int fds[2] = {eventfd(0, EFD_CLOEXEC), eventfd(0, EFD_CLOEXEC)};
	struct irq_set three = irq_set(TRIGGER_FDS, 0, 3);
	struct reply *reply = call_with(rig, VFIO_USER_DEVICE_SET_IRQS, &three, sizeof three, fds, 2);
	assert_int_equal(reply->header.error, EINVAL);
	close(fds[0]);
	close(fds[1]);
}

/* A server that blocks does not come back to fail the test: it ends by the alarm. */
static void a_full_eventfd_that_blocks_does_not_block_the_server(void **state)
{
	struct rig *rig = *state;
	const uint64_t full = UINT64_MAX - 1;
	int fd = eventfd(0, EFD_CLOEXEC);
	enable_master(rig);
	set_irqs(rig, TRIGGER_FDS, 0, 1, &fd, 1);
	nic_msix_raise(rig->nic, 0);
	assert_true(take_event(fd));
	assert_int_equal(write(fd, &full, sizeof full), sizeof full);
	assert_int_equal(fcntl(fd, F_SETFL, 0), 0);
	alarm(30);
	for (unsigned i = 0; i < 1000; i++)
		nic_msix_raise(rig->nic, 0);
	set_irqs(rig, VFIO_IRQ_SET_DATA_NONE | VFIO_IRQ_SET_ACTION_TRIGGER, 0, 1, NULL, 0);
	read_register(rig, 0); /* it still answers */
	alarm(0);
	assert_true(take_event(fd));
	nic_msix_raise(rig->nic, 0);
	assert_true(take_event(fd));
	close(fd);
}

static void many_interrupts_are_none_lost(void **state)
{
	struct rig *rig = *state;
	int fd = eventfd(0, EFD_CLOEXEC);
	enable_master(rig);
	set_irqs(rig, TRIGGER_FDS, 0, 1, &fd, 1);
	for (unsigned i = 0; i < 10000; i++)
		nic_msix_raise(rig->nic, 0);
	uint64_t count;
	assert_int_equal(read(fd, &count, sizeof count), sizeof count);
	assert_int_equal(count, 10000);
	close(fd);
}

/* A client can empty the doorbell itself, and take its O_NONBLOCK away. */
static void an_empty_doorbell_that_blocks_does_not_block_the_server(void **state)
{
	struct rig *rig = *state;
	assert_int_equal(fcntl(rig->server->doorbell_fd, F_SETFL, 0), 0);
	alarm(30);
	ev_feed_fd_event(rig->loop, rig->server->doorbell_fd, EV_READ);
	ev_run(rig->loop, EVRUN_NOWAIT);
	read_register(rig, 0);
	alarm(0);
}

static void only_eventfds_are_taken_for_interrupts(void **state)
{
	struct rig *rig = *state;
	int ends[2], good = eventfd(0, EFD_CLOEXEC);
	assert_int_equal(pipe2(ends, O_CLOEXEC), 0);
	const int bad[] = {ends[0], ends[1], rig->nic->regs_fd};
	for (unsigned i = 0; i < 3; i++) {
		int fds[2] = {good, bad[i]};
		struct irq_set set = irq_set(TRIGGER_FDS, 0, 2);
		struct reply *reply = call_with(rig, VFIO_USER_DEVICE_SET_IRQS, &set, sizeof set, fds, 2);
		assert_int_equal(reply->header.error, EINVAL);
	}
	enable_master(rig);
	nic_msix_raise(rig->nic, 0);
	assert_int_equal(rig->server->irq_fds[0], -1);
	close(ends[0]);
	close(ends[1]);
	close(good);
}

/* --- regions -------------------------------------------------------------------------------------------- */

static void config_space_is_read_in_all_sizes(void **state)
{
	struct rig *rig = *state;
	struct vfio_user_region_access access = {.region = VFIO_PCI_CONFIG_REGION_INDEX};
	const uint8_t ids[4] = {0x86, 0x80, 0xFB, 0x10};
	for (uint32_t count = 1; count <= 4; count++) {
		access.count = count;
		struct reply *reply = call(rig, VFIO_USER_REGION_READ, &access, sizeof access);
		assert_int_equal(reply->header.size, 16 + sizeof access + count);
		assert_memory_equal(reply->payload + sizeof access, ids, count);
	}
	access.count = 256; /* the way VMMs take it all at once */
	struct reply *reply = call(rig, VFIO_USER_REGION_READ, &access, sizeof access);
	assert_memory_equal(reply->payload + sizeof access, ids, 4);
}

static void config_space_is_written(void **state)
{
	struct rig *rig = *state;
	assert_false(nic_bus_master(rig->nic));
	struct write write = write_of(VFIO_PCI_CONFIG_REGION_INDEX, 4, 0x0006, 2);
	call(rig, VFIO_USER_REGION_WRITE, &write, sizeof write.access + 2);
	assert_true(nic_bus_master(rig->nic));
}

static void registers_are_read_and_written_in_32_bits_and_in_pairs(void **state)
{
	struct rig *rig = *state;
	struct write write = write_of(VFIO_PCI_BAR0_REGION_INDEX, RDBAL(0), UINT64_C(0x0000000512345680), 8);
	call(rig, VFIO_USER_REGION_WRITE, &write, sizeof write.access + 8);
	assert_int_equal(read_register(rig, RDBAL(0)), 0x12345680);
	assert_int_equal(read_register(rig, RDBAH(0)), 5);
	struct vfio_user_region_access access = {.offset = RDBAL(0), .count = 8};
	uint64_t both;
	memcpy(&both, call(rig, VFIO_USER_REGION_READ, &access, sizeof access)->payload + sizeof access, 8);
	assert_int_equal(both, UINT64_C(0x0000000512345680));
	assert_int_equal(nic_violations(rig->nic), 0);
}

static void other_register_accesses_are_violations(void **state)
{
	struct rig *rig = *state;
	const struct {
		uint64_t offset;
		uint32_t count;
	} wrong[] = {{0, 1}, {0, 2}, {1, 4}, {2, 4}, {0, 3}, {0, 12}};
	for (unsigned i = 0; i < sizeof wrong / sizeof wrong[0]; i++) {
		struct vfio_user_region_access access = {.offset = wrong[i].offset, .count = wrong[i].count};
		call_fails(rig, VFIO_USER_REGION_READ, &access, sizeof access, EINVAL);
		assert_int_equal(rig->nic->violation[NIC_VIOLATION_REG_UNALIGNED], i + 1);
	}
}

static void the_msix_table_is_a_region(void **state)
{
	struct rig *rig = *state;
	struct write write = write_of(VFIO_PCI_BAR4_REGION_INDEX, 16, 0xFEE00000, 4);
	call(rig, VFIO_USER_REGION_WRITE, &write, sizeof write.access + 4);
	struct vfio_user_region_access access = {
		.offset = 16, .region = VFIO_PCI_BAR4_REGION_INDEX, .count = 4};
	uint32_t value;
	memcpy(&value, call(rig, VFIO_USER_REGION_READ, &access, sizeof access)->payload + sizeof access, 4);
	assert_int_equal(value, 0xFEE00000);
}

static void accesses_beyond_a_region_are_refused(void **state)
{
	struct rig *rig = *state;
	const struct vfio_user_region_access wrong[] = {
		{.offset = NIC_BAR0_SIZE, .region = 0, .count = 4},
		{.offset = NIC_BAR0_SIZE - 4, .region = 0, .count = 8},
		{.offset = UINT64_MAX - 3, .region = 0, .count = 4},
		{.offset = UINT64_MAX, .region = 0, .count = UINT32_MAX},
		{.offset = 0, .region = 0, .count = UINT32_MAX},
		{.offset = 0, .region = 0, .count = 0},
		{.offset = NIC_CONFIG_SIZE - 1, .region = VFIO_PCI_CONFIG_REGION_INDEX, .count = 2},
		{.offset = NIC_MSIX_SIZE, .region = VFIO_PCI_BAR4_REGION_INDEX, .count = 4},
		{.offset = 0, .region = VFIO_PCI_BAR2_REGION_INDEX, .count = 4},
		{.offset = 0, .region = VFIO_PCI_NUM_REGIONS, .count = 4},
		{.offset = 0, .region = UINT32_MAX, .count = 4},
	};
	for (unsigned i = 0; i < sizeof wrong / sizeof wrong[0]; i++) {
		struct write write = {.access = wrong[i]};
		call_fails(rig, VFIO_USER_REGION_READ, &wrong[i], sizeof wrong[i], EINVAL);
		size_t data = wrong[i].count < sizeof write.data ? wrong[i].count : sizeof write.data;
		call_fails(rig, VFIO_USER_REGION_WRITE, &write, sizeof write.access + data, EINVAL);
	}
}

static void a_read_longer_than_a_message_is_refused(void **state)
{
	struct rig *rig = *state;
	negotiate(rig, "{\"capabilities\":{\"max_msg_size\":300}}");
	struct vfio_user_region_access access = {.region = VFIO_PCI_CONFIG_REGION_INDEX, .count = 300 - 32};
	call(rig, VFIO_USER_REGION_READ, &access, sizeof access);
	access.count++;
	call_fails(rig, VFIO_USER_REGION_READ, &access, sizeof access, E2BIG);
}

static void a_write_whose_data_is_not_its_count_is_refused(void **state)
{
	struct rig *rig = *state;
	struct write write = write_of(VFIO_PCI_BAR0_REGION_INDEX, RDBAL(0), 0x80, 4);
	call_fails(rig, VFIO_USER_REGION_WRITE, &write, sizeof write.access + 3, EINVAL);
	call_fails(rig, VFIO_USER_REGION_WRITE, &write, sizeof write.access + 8, EINVAL);
	call_fails(rig, VFIO_USER_REGION_WRITE, &write, sizeof write.access, EINVAL);
	assert_int_equal(read_register(rig, RDBAL(0)), 0);
}

/* --- DMA ------------------------------------------------------------------------------------------------ */

static int client_memory(size_t size)
{
	int fd = memfd_create("test", MFD_CLOEXEC | MFD_ALLOW_SEALING);
	assert_true(fd >= 0);
	assert_int_equal(ftruncate(fd, (off_t)size), 0);
	assert_int_equal(fcntl(fd, F_ADD_SEALS, F_SEAL_SHRINK), 0);
	return fd;
}

static int map(struct rig *rig, uint64_t iova, uint64_t size, uint64_t offset, uint32_t flags, const int *fds,
	unsigned count)
{
	const struct vfio_user_dma_map map = {
		.argsz = sizeof map,
		.flags = flags,
		.offset = offset,
		.addr = iova,
		.size = size,
	};
	return (int)call_with(rig, VFIO_USER_DMA_MAP, &map, sizeof map, fds, count)->header.error;
}

static int unmap(struct rig *rig, uint64_t iova, uint64_t size, uint32_t flags)
{
	const struct vfio_user_dma_unmap unmap = {
		.argsz = sizeof unmap, .flags = flags, .addr = iova, .size = size};
	return (int)call_with(rig, VFIO_USER_DMA_UNMAP, &unmap, sizeof unmap, NULL, 0)->header.error;
}

#define READ_WRITE (VFIO_USER_DMA_READABLE | VFIO_USER_DMA_WRITEABLE)

static void mapped_memory_is_reached_until_it_is_unmapped(void **state)
{
	struct rig *rig = *state;
	struct write master = write_of(VFIO_PCI_CONFIG_REGION_INDEX, 4, 0x0006, 2);
	call(rig, VFIO_USER_REGION_WRITE, &master, sizeof master.access + 2);

	int fd = client_memory(4 * PAGE);
	assert_int_equal(map(rig, 0x100000, 2 * PAGE, PAGE, READ_WRITE, &fd, 1), 0);
	uint8_t *reached = dma_at(rig->nic, 0x100000, 16, true);
	assert_non_null(reached);
	memcpy(reached, "through the NIC", 16);
	char there[16];
	assert_int_equal(pread(fd, there, 16, PAGE), 16);
	assert_string_equal(there, "through the NIC");

	assert_int_equal(map(rig, 0x101000, PAGE, 0, READ_WRITE, &fd, 1), EEXIST);
	assert_int_equal(unmap(rig, 0x500000, PAGE, 0), ENOENT);
	assert_int_equal(unmap(rig, 0x100000, 2 * PAGE, 0), 0);
	assert_int_equal(nic_violations(rig->nic), 0);
	assert_null(dma_at(rig->nic, 0x100000, 16, true));
	assert_int_equal(nic_violations(rig->nic), 1);
	close(fd);
}

static void everything_can_be_unmapped_at_once(void **state)
{
	struct rig *rig = *state;
	int fd = client_memory(4 * PAGE);
	for (unsigned i = 0; i < 4; i++)
		assert_int_equal(map(rig, (i + 1) * 0x100000, PAGE, i * PAGE, READ_WRITE, &fd, 1), 0);
	assert_int_equal(unmap(rig, 1, 0, VFIO_DMA_UNMAP_FLAG_ALL), EINVAL);
	assert_int_equal(rig->nic->dma.count, 4);
	assert_int_equal(unmap(rig, 0, 0, VFIO_DMA_UNMAP_FLAG_ALL), 0);
	assert_int_equal(rig->nic->dma.count, 0);
	close(fd);
}

static void wrong_mappings_are_refused(void **state)
{
	struct rig *rig = *state;
	int fds[2] = {client_memory(PAGE), client_memory(PAGE)};
	assert_int_equal(map(rig, 0x100000, PAGE, 0, READ_WRITE, NULL, 0), ENOTSUP);
	assert_int_equal(map(rig, 0x100000, PAGE, 0, READ_WRITE, fds, 2), EINVAL);
	assert_int_equal(map(rig, 0x100000, PAGE, 0, 1u << 31, fds, 1), EINVAL);
	assert_int_equal(map(rig, 0x100000, 0, 0, READ_WRITE, fds, 1), EINVAL);
	assert_int_equal(map(rig, 0x100001, PAGE, 0, READ_WRITE, fds, 1), EINVAL);
	assert_int_equal(map(rig, UINT64_MAX - PAGE + 1, 2 * PAGE, 0, READ_WRITE, fds, 1), EINVAL);
	assert_int_not_equal(
		map(rig, 0x100000, 2 * PAGE, 0, READ_WRITE, fds, 1), 0); /* longer than the file */
	assert_int_not_equal(map(rig, 0x100000, PAGE, UINT64_MAX - PAGE + 1, READ_WRITE, fds, 1), 0);
	int null = open("/dev/null", O_RDWR | O_CLOEXEC);
	assert_int_not_equal(map(rig, 0x100000, PAGE, 0, READ_WRITE, &null, 1), 0);
	assert_int_equal(rig->nic->dma.count, 0);
	close(null);
	close(fds[0]);
	close(fds[1]);
}

/* --- reset, and messages as such ------------------------------------------------------------------------ */

static void a_reset_takes_the_device_back_to_its_start(void **state)
{
	struct rig *rig = *state;
	struct write write = write_of(VFIO_PCI_CONFIG_REGION_INDEX, 4, 0x0006, 2);
	call(rig, VFIO_USER_REGION_WRITE, &write, sizeof write.access + 2);
	write = write_of(VFIO_PCI_BAR0_REGION_INDEX, RDBAL(0), 0x80, 4);
	call(rig, VFIO_USER_REGION_WRITE, &write, sizeof write.access + 4);
	call(rig, VFIO_USER_DEVICE_RESET, NULL, 0);
	assert_false(nic_bus_master(rig->nic));
	assert_int_equal(read_register(rig, RDBAL(0)), 0);
}

static void a_command_without_reply_is_executed_silently(void **state)
{
	struct rig *rig = *state;
	struct reply reply;
	struct write write = write_of(VFIO_PCI_BAR0_REGION_INDEX, RDBAL(0), 0x80, 4);
	send_command(
		rig, VFIO_USER_REGION_WRITE, VFIO_USER_NO_REPLY, &write, sizeof write.access + 4, NULL, 0);
	send_command(rig, 999, VFIO_USER_NO_REPLY, NULL, 0, NULL, 0); /* an error, as silently */
	step(rig);
	assert_false(read_reply(rig, &reply));
	assert_int_equal(read_register(rig, RDBAL(0)), 0x80);
}

static void pipelined_commands_are_answered_in_order(void **state)
{
	struct rig *rig = *state;
	struct reply reply;
	for (uint32_t i = 0; i < 100; i++) {
		struct vfio_user_region_access access = {.offset = 4ull * (i % 2), .count = 4, .region = 7};
		send_command(rig, VFIO_USER_REGION_READ, 0, &access, sizeof access, NULL, 0);
	}
	step(rig);
	for (uint32_t i = 0; i < 100; i++) {
		struct vfio_user_region_access access;
		assert_true(read_reply(rig, &reply));
		memcpy(&access, reply.payload, sizeof access);
		assert_int_equal(access.offset, 4 * (i % 2));
	}
	assert_false(read_reply(rig, &reply));
}

static void descriptors_go_with_the_message_they_came_with(void **state)
{
	struct rig *rig = *state;
	struct reply reply;
	/* Two messages in the socket before the server looks: the second one's eventfd must not become the first's. */
	int fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
	struct irq_set first = irq_set(TRIGGER_FDS, 0, 1), second = irq_set(TRIGGER_FDS, 1, 1);
	send_command(rig, VFIO_USER_DEVICE_SET_IRQS, 0, &first, sizeof first, NULL, 0);
	send_command(rig, VFIO_USER_DEVICE_SET_IRQS, 0, &second, sizeof second, &fd, 1);
	step(rig);
	assert_true(read_reply(rig, &reply));
	assert_true(read_reply(rig, &reply));
	assert_true(rig->server->irq_fds[0] < 0);
	assert_true(rig->server->irq_fds[1] >= 0);
	close(fd);
}

static void a_message_may_come_byte_by_byte(void **state)
{
	struct rig *rig = *state;
	struct reply reply;
	const struct {
		struct vfio_user_header header;
		struct vfio_user_region_access access;
	} message = {
		.header = {.id = 7, .command = VFIO_USER_REGION_READ, .size = sizeof message},
		.access = {.region = VFIO_PCI_CONFIG_REGION_INDEX, .count = 4},
	};
	for (size_t i = 0; i < sizeof message; i++) {
		assert_false(read_reply(rig, &reply));
		send_bytes(rig->client, (const uint8_t *)&message + i, 1, NULL, 0);
		step(rig);
	}
	assert_true(read_reply(rig, &reply));
	assert_int_equal(reply.header.id, 7);
	assert_int_equal(reply.header.error, 0);
}

static void unknown_commands_are_answered_so(void **state)
{
	struct rig *rig = *state;
	call_fails(rig, 0, NULL, 0, ENOTSUP);
	call_fails(rig, VFIO_USER_DMA_READ, NULL, 0, ENOTSUP);
	call_fails(rig, 14, NULL, 0, ENOTSUP);
	call_fails(rig, 0x3FFF, NULL, 0, ENOTSUP);
	read_register(rig, 0);
}

static void payloads_cut_short_are_refused(void **state)
{
	struct rig *rig = *state;
	static const uint8_t zeroes[64];
	const struct {
		uint16_t command;
		size_t size;
	} commands[] = {
		{VFIO_USER_DMA_MAP, 32},
		{VFIO_USER_DMA_UNMAP, 24},
		{VFIO_USER_DEVICE_GET_INFO, 16},
		{VFIO_USER_DEVICE_GET_REGION_INFO, 32},
		{VFIO_USER_DEVICE_GET_REGION_IO_FDS, 16},
		{VFIO_USER_DEVICE_GET_IRQ_INFO, 16},
		{VFIO_USER_DEVICE_SET_IRQS, 20},
		{VFIO_USER_REGION_READ, 16},
		{VFIO_USER_REGION_WRITE, 16},
	};
	for (unsigned i = 0; i < sizeof commands / sizeof commands[0]; i++)
		for (size_t size = 0; size < commands[i].size; size++)
			call_fails(rig, commands[i].command, zeroes, size, EINVAL);
}

static void descriptors_nobody_asked_for_are_closed(void **state)
{
	struct rig *rig = *state;
	int before = count_open_fds();
	int fds[8];
	for (unsigned i = 0; i < 8; i++)
		fds[i] = eventfd(0, EFD_CLOEXEC);
	const uint16_t commands[] = {VFIO_USER_DEVICE_RESET, VFIO_USER_REGION_READ, VFIO_USER_DMA_MAP,
		VFIO_USER_DEVICE_SET_IRQS, VFIO_USER_VERSION, 999};
	for (unsigned i = 0; i < sizeof commands / sizeof commands[0]; i++)
		call_with(rig, commands[i], NULL, 0, fds, 8);
	for (unsigned i = 0; i < 8; i++)
		close(fds[i]);
	assert_int_equal(count_open_fds(), before);
}

/* --- messages that end the connection ------------------------------------------------------------------- */

static void hang_up_after(struct rig *rig, struct vfio_user_header header, const int *fds, unsigned count)
{
	send_bytes(rig->client, &header, sizeof header, fds, count);
	step(rig);
	assert_true(is_hung_up(rig->client));
	assert_true(rig->server->hung_up);
	assert_int_equal(rig->server->fd, -1);
}

static void a_message_shorter_than_its_header_ends_the_connection(void **state)
{
	hang_up_after(
		*state, (struct vfio_user_header){.command = VFIO_USER_DEVICE_RESET, .size = 15}, NULL, 0);
}

static void a_message_longer_than_agreed_ends_the_connection(void **state)
{
	hang_up_after(*state,
		(struct vfio_user_header){
			.command = VFIO_USER_REGION_WRITE, .size = VFIO_USER_MAX_MSG_SIZE + 1},
		NULL, 0);
}

static void a_message_of_four_gigabytes_ends_the_connection(void **state)
{
	hang_up_after(*state,
		(struct vfio_user_header){.command = VFIO_USER_REGION_WRITE, .size = UINT32_MAX}, NULL, 0);
}

static void a_reply_from_the_client_ends_the_connection(void **state)
{
	hang_up_after(*state,
		(struct vfio_user_header){
			.command = VFIO_USER_DMA_READ, .size = 16, .flags = VFIO_USER_TYPE_REPLY},
		NULL, 0);
}

static void too_many_descriptors_end_the_connection(void **state)
{
	int fds[VFIO_USER_MAX_MSG_FDS + 1];
	int fd = eventfd(0, EFD_CLOEXEC);
	for (unsigned i = 0; i < VFIO_USER_MAX_MSG_FDS + 1; i++)
		fds[i] = fd;
	hang_up_after(*state, (struct vfio_user_header){.command = VFIO_USER_DEVICE_RESET, .size = 16}, fds,
		VFIO_USER_MAX_MSG_FDS + 1);
	close(fd);
}

static void descriptors_dripped_into_one_message_end_the_connection(void **state)
{
	struct rig *rig = *state;
	const struct vfio_user_header header = {
		.command = VFIO_USER_REGION_WRITE, .size = VFIO_USER_MAX_MSG_SIZE};
	int fds[32];
	int fd = eventfd(0, EFD_CLOEXEC);
	for (unsigned i = 0; i < 32; i++)
		fds[i] = fd;
	send_bytes(rig->client, &header, sizeof header, fds, 32);
	for (unsigned i = 0; i < 2; i++) {
		step(rig);
		assert_false(is_hung_up(rig->client));
		send_bytes(rig->client, "x", 1, fds, 32);
	}
	step(rig);
	assert_true(is_hung_up(rig->client));
	close(fd);
}

static void a_client_killed_amid_a_message_leaves_nothing_behind(void **state)
{
	struct rig *rig = *state;
	int fd = client_memory(PAGE), event = eventfd(0, EFD_CLOEXEC);
	assert_int_equal(map(rig, 0x100000, PAGE, 0, READ_WRITE, &fd, 1), 0);
	set_irqs(rig, TRIGGER_FDS, 0, 1, &event, 1);
	const struct vfio_user_header half = {.command = VFIO_USER_DMA_MAP, .size = 48};
	send_bytes(rig->client, &half, sizeof half, &fd, 1);
	step(rig);
	close(rig->client);
	rig->client = -1;
	step(rig);
	assert_int_equal(rig->server->fd, -1);
	assert_int_equal(rig->nic->dma.count, 0);
	nic_msix_raise(rig->nic, 0); /* nobody to tell */
	close(fd);
	close(event);
}

static void a_client_that_does_not_read_is_not_waited_for(void **state)
{
	struct rig *rig = *state;
	struct vfio_user_region_access access = {.region = VFIO_PCI_CONFIG_REGION_INDEX, .count = 4096};
	struct {
		struct vfio_user_header header;
		struct vfio_user_region_access access;
	} message = {
		.header = {.command = VFIO_USER_REGION_READ, .size = sizeof message},
		.access = access,
	};
	/* Ask until neither side takes any more: then the server holds one reply and reads nothing. */
	unsigned sent = 0;
	while (send(rig->client, &message, sizeof message, MSG_DONTWAIT) == sizeof message) {
		sent++;
		step(rig);
		assert_true(sent < 100000);
	}
	assert_true(rig->server->out_size > 0);
	assert_true(ev_is_active(&rig->server->stalled));

	/* It reads after all: every command is answered, none lost. */
	unsigned answered = 0;
	struct reply reply;
	for (unsigned idle = 0; idle < 3;) {
		if (read_reply(rig, &reply)) {
			assert_int_equal(reply.header.error, 0);
			answered++;
			idle = 0;
		} else {
			step(rig);
			idle++;
		}
	}
	assert_int_equal(answered, sent);
	assert_false(ev_is_active(&rig->server->stalled));

	/* It never reads again: disconnected by the clock. */
	while (send(rig->client, &message, sizeof message, MSG_DONTWAIT) == sizeof message)
		step(rig);
	ev_feed_event(rig->loop, &rig->server->stalled, EV_TIMER);
	step(rig);
	assert_int_equal(rig->server->fd, -1);
}

/* Whole messages with well-formed frames and random content: whatever it says, it is answered or silently done. */
static void messages_of_noise_are_answered(void **state)
{
	struct rig *rig = *state;
	uint32_t random = 7;
	for (unsigned round = 0; round < 20000; round++) {
		struct {
			struct vfio_user_header header;
			uint32_t payload[16];
		} message;
		struct reply reply;
		uint8_t *bytes = (uint8_t *)message.payload;
		for (size_t i = 0; i < sizeof message.payload; i++) {
			random = random * 1664525 + 1013904223;
			/* Small numbers more often than not: they get further. */
			bytes[i] = random >> 28 < 11 ? (uint8_t)((random >> 20) & (i % 4 ? 0 : 0x3F))
						     : (uint8_t)(random >> 16);
		}
		random = random * 1664525 + 1013904223;
		message.header = (struct vfio_user_header){
			.id = (uint16_t)round,
			.command = (uint16_t)(2 + (random >> 16) % 13),
			.size = (uint32_t)(sizeof message.header +
					   (random >> 24) % (sizeof message.payload + 1)),
		};
		send_bytes(rig->client, &message, message.header.size, NULL, 0);
		ev_run(rig->loop, EVRUN_NOWAIT);
		assert_true(read_reply(rig, &reply));
		assert_int_equal(reply.header.id, (uint16_t)round);
		close_reply(&reply);
	}
}

/* --- listening ------------------------------------------------------------------------------------------ */

static char socket_path[64];

static int connect_client(void)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	snprintf(address.sun_path, sizeof address.sun_path, "%s", socket_path);
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	assert_true(fd >= 0);
	if (connect(fd, (struct sockaddr *)&address, sizeof address) == 0)
		return fd;
	close(fd);
	return -1;
}

static int setup_listening(void **state)
{
	setup_unconnected(state);
	struct rig *rig = *state;
	snprintf(socket_path, sizeof socket_path, "/tmp/test_vfio_user_server.%d", (int)getpid());
	rig->server = vfio_server_listen(socket_path, rig->nic, rig->loop);
	assert_non_null(rig->server);
	return 0;
}

static int teardown_listening(void **state)
{
	teardown(state);
	assert_int_equal(access(socket_path, F_OK), -1);
	return 0;
}

static void clients_come_one_after_the_other(void **state)
{
	struct rig *rig = *state;
	for (unsigned i = 0; i < 5; i++) {
		rig->client = connect_client();
		step(rig);
		negotiate(rig, OUR_JSON);
		struct write write = write_of(VFIO_PCI_BAR0_REGION_INDEX, RDBAL(0), 0x80, 4);
		assert_int_equal(read_register(rig, RDBAL(0)), 0); /* nothing left of the one before */
		call(rig, VFIO_USER_REGION_WRITE, &write, sizeof write.access + 4);
		close(rig->client);
		rig->client = -1;
		step(rig);
		assert_false(rig->server->hung_up);
	}
}

/* A client that kept its doorbell's eventfd cannot wake the process with it once another is there. */
static void the_doorbell_of_a_client_that_left_is_dead(void **state)
{
	struct rig *rig = *state;
	const struct vfio_user_io_fds request = {.argsz = 8000, .index = VFIO_PCI_BAR0_REGION_INDEX};
	struct pollfd rung = {.events = POLLIN};
	int doorbell[2];
	for (unsigned i = 0; i < 2; i++) {
		rig->client = connect_client();
		step(rig);
		negotiate(rig, OUR_JSON);
		struct reply *reply = call(rig, VFIO_USER_DEVICE_GET_REGION_IO_FDS, &request, sizeof request);
		doorbell[i] = fcntl(reply->fds[0], F_DUPFD_CLOEXEC, 0);
		close_reply(reply);
		if (i == 0)
			close(rig->client);
		step(rig);
	}
	rung.fd = rig->server->doorbell_fd;
	assert_int_equal(eventfd_write(doorbell[0], 1), 0);
	assert_int_equal(poll(&rung, 1, 0), 0);
	assert_int_equal(eventfd_write(doorbell[1], 1), 0);
	assert_int_equal(poll(&rung, 1, 0), 1);
	close(doorbell[0]);
	close(doorbell[1]);
}

/* Killed and started again while this process was not scheduled: both news come at once. */
static void a_client_may_follow_before_the_end_of_the_last_was_noticed(void **state)
{
	struct rig *rig = *state;
	for (unsigned i = 0; i < 5; i++) {
		rig->client = connect_client();
		step(rig);
		negotiate(rig, OUR_JSON);
		close(rig->client);
		rig->client = connect_client();
		step(rig);
		negotiate(rig, OUR_JSON);
		close(rig->client);
		rig->client = -1;
		step(rig);
	}
}

static void a_second_client_is_turned_away(void **state)
{
	struct rig *rig = *state;
	rig->client = connect_client();
	step(rig);
	negotiate(rig, OUR_JSON);
	int second = connect_client();
	step(rig);
	assert_true(is_hung_up(second));
	close(second);
	read_register(rig, 0); /* the first one does not notice */
}

static void a_port_survives_a_client_that_speaks_another_language(void **state)
{
	struct rig *rig = *state;
	int stranger = connect_client();
	send_bytes(stranger, "GET / HTTP/1.1\r\nHost: nic\r\n\r\n", 30, NULL, 0);
	step(rig);
	assert_int_equal(rig->server->fd, -1);
	close(stranger);
	rig->client = connect_client();
	step(rig);
	negotiate(rig, OUR_JSON);
}

static void a_live_socket_is_not_taken_over(void **state)
{
	struct rig *rig = *state;
	assert_null(vfio_server_listen(socket_path, rig->nic, rig->loop));
	step(rig); /* the probe was a client that came and went */
	rig->client = connect_client();
	step(rig);
	negotiate(rig, OUR_JSON);
}

static void a_stale_socket_is_replaced(void **state)
{
	struct rig *rig = *state;
	snprintf(socket_path, sizeof socket_path, "/tmp/test_vfio_user_server.%d", (int)getpid());
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	snprintf(address.sun_path, sizeof address.sun_path, "%s", socket_path);
	int dead = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	assert_int_equal(bind(dead, (struct sockaddr *)&address, sizeof address), 0);
	close(dead);
	rig->server = vfio_server_listen(socket_path, rig->nic, rig->loop);
	assert_non_null(rig->server);
}

static void a_file_that_is_no_socket_is_left_alone(void **state)
{
	struct rig *rig = *state;
	struct stat st;
	char path[] = "/tmp/test_vfio_user_server.XXXXXX";
	int fd = mkstemp(path);
	assert_true(fd >= 0);
	assert_null(vfio_server_listen(path, rig->nic, rig->loop));
	assert_int_equal(lstat(path, &st), 0);
	assert_true(S_ISREG(st.st_mode));
	unlink(path);
	close(fd);
}

static void a_path_too_long_is_refused(void **state)
{
	struct rig *rig = *state;
	char path[200];
	memset(path, 'x', sizeof path);
	path[sizeof path - 1] = '\0';
	assert_null(vfio_server_listen(path, rig->nic, rig->loop));
	assert_null(vfio_server_listen("", rig->nic, rig->loop));
}

static void only_a_socket_can_be_adopted(void **state)
{
	struct rig *rig = *state;
	int fd = eventfd(0, EFD_CLOEXEC);
	assert_null(vfio_server_adopt(fd, rig->nic, rig->loop));
	close(fd);
	assert_null(vfio_server_adopt(987, rig->nic, rig->loop));
}

#define NEW(test)        cmocka_unit_test_setup_teardown(test, setup, teardown)
#define NEGOTIATED(test) cmocka_unit_test_setup_teardown(test, setup_negotiated, teardown)
#define LISTENING(test)  cmocka_unit_test_setup_teardown(test, setup_listening, teardown_listening)
#define ALONE(test)      cmocka_unit_test_setup_teardown(test, setup_unconnected, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		NEW(the_version_is_agreed_upon),
		NEW(an_extension_is_not_claimed_to_those_who_do_not_know_it),
		NEW(version_data_may_be_missing),
		NEW(another_major_version_is_refused),
		NEW(a_first_message_other_than_version_is_refused),
		NEW(version_data_without_an_end_is_refused),
		NEW(a_client_that_takes_no_message_at_all_is_refused),
		cmocka_unit_test(json_is_read_with_tolerance),
		NEGOTIATED(the_device_is_a_pci_function_that_can_be_reset),
		NEGOTIATED(each_region_has_its_size),
		NEGOTIATED(a_client_with_too_little_room_learns_how_much_it_takes),
		NEGOTIATED(the_queue_pages_can_be_mapped),
		NEGOTIATED(doorbells_come_with_an_eventfd_and_their_memory),
		NEW(a_client_that_takes_one_descriptor_gets_no_doorbells),
		NEGOTIATED(io_fds_with_wrong_arguments_are_refused),
		NEGOTIATED(only_msix_has_vectors),
		NEGOTIATED(a_vector_raises_its_own_eventfd),
		NEGOTIATED(all_vectors_can_be_set_at_once_and_again),
		NEGOTIATED(a_masked_vector_is_delivered_when_it_is_unmasked),
		NEGOTIATED(eventfds_outlive_a_reset),
		NEGOTIATED(booleans_choose_the_vectors),
		NEGOTIATED(wrong_interrupt_requests_are_refused),
		NEGOTIATED(a_full_eventfd_that_blocks_does_not_block_the_server),
		NEGOTIATED(many_interrupts_are_none_lost),
		NEGOTIATED(an_empty_doorbell_that_blocks_does_not_block_the_server),
		NEGOTIATED(only_eventfds_are_taken_for_interrupts),
		NEGOTIATED(config_space_is_read_in_all_sizes),
		NEGOTIATED(config_space_is_written),
		NEGOTIATED(registers_are_read_and_written_in_32_bits_and_in_pairs),
		NEGOTIATED(other_register_accesses_are_violations),
		NEGOTIATED(the_msix_table_is_a_region),
		NEGOTIATED(accesses_beyond_a_region_are_refused),
		NEW(a_read_longer_than_a_message_is_refused),
		NEGOTIATED(a_write_whose_data_is_not_its_count_is_refused),
		NEGOTIATED(mapped_memory_is_reached_until_it_is_unmapped),
		NEGOTIATED(everything_can_be_unmapped_at_once),
		NEGOTIATED(wrong_mappings_are_refused),
		NEGOTIATED(a_reset_takes_the_device_back_to_its_start),
		NEGOTIATED(a_command_without_reply_is_executed_silently),
		NEGOTIATED(pipelined_commands_are_answered_in_order),
		NEGOTIATED(descriptors_go_with_the_message_they_came_with),
		NEGOTIATED(a_message_may_come_byte_by_byte),
		NEGOTIATED(unknown_commands_are_answered_so),
		NEGOTIATED(payloads_cut_short_are_refused),
		NEGOTIATED(descriptors_nobody_asked_for_are_closed),
		NEGOTIATED(a_message_shorter_than_its_header_ends_the_connection),
		NEGOTIATED(a_message_longer_than_agreed_ends_the_connection),
		NEGOTIATED(a_message_of_four_gigabytes_ends_the_connection),
		NEGOTIATED(a_reply_from_the_client_ends_the_connection),
		NEGOTIATED(too_many_descriptors_end_the_connection),
		NEGOTIATED(descriptors_dripped_into_one_message_end_the_connection),
		NEGOTIATED(a_client_killed_amid_a_message_leaves_nothing_behind),
		NEGOTIATED(a_client_that_does_not_read_is_not_waited_for),
		NEGOTIATED(messages_of_noise_are_answered),
		LISTENING(clients_come_one_after_the_other),
		LISTENING(the_doorbell_of_a_client_that_left_is_dead),
		LISTENING(a_client_may_follow_before_the_end_of_the_last_was_noticed),
		LISTENING(a_second_client_is_turned_away),
		LISTENING(a_port_survives_a_client_that_speaks_another_language),
		LISTENING(a_live_socket_is_not_taken_over),
		cmocka_unit_test_setup_teardown(
			a_stale_socket_is_replaced, setup_unconnected, teardown_listening),
		ALONE(a_file_that_is_no_socket_is_left_alone),
		ALONE(a_path_too_long_is_refused),
		ALONE(only_a_socket_can_be_adopted),
	};
	return cmocka_run_group_tests_name("vfio-user server", tests, NULL, NULL);
}
