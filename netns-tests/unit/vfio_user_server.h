/*
 * A scripted vfio-user server for tests of the client: it runs in a thread on the other end of a socketpair and
 * answers as a small device does, and a test bends one of its answers.
 */
#ifndef UNIT_VFIO_USER_SERVER_H
#define UNIT_VFIO_USER_SERVER_H

#include <stdarg.h>
#include <setjmp.h>
#include <stddef.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <linux/pci_regs.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <cmocka.h>

#include "driver/ixy.h"
#include "driver/pci/transport.h"
#include "driver/pci/vfio_user_proto.h"

#define BAR_SIZE   0x20000
#define PAGE       4096
#define TDT        0x6018 /* a doorbell, in a page that is mapped */
#define RDT        0x1018 /* another, without a shadow */
#define TIMEOUT_MS 150    /* of tests that wait for it to pass */

/* --- the server ------------------------------------------------------------------------------------------------ */

struct message {
	struct vfio_user_header header;
	uint8_t payload[VFIO_USER_MAX_MSG_SIZE];
	int fds[VFIO_USER_MAX_MSG_FDS + 8];
	uint32_t fd_count;
	bool hang_up; /* after, or instead of, the answer */
	bool silent;  /* no answer */
	uint32_t cut; /* answer so many bytes only, and hang up */
};

struct server {
	pthread_t thread;
	int fd;
	uint16_t bent;  /* the command whose answer is bent */
	unsigned spare; /* after so many good ones */
	void (*bend)(struct message *reply, const struct message *request); /* NULL: all good */
	int memory, eventfd;                                                /* of the doorbells */
	/* what it has seen */
	uint8_t config[256];
	uint32_t regs[BAR_SIZE / 4];
	unsigned seen[16], unanswered;
	uint64_t dma_addr, dma_size, dma_offset, dma_unmapped; /* of the last map; unmaps so far */
	uint32_t irqs, irq_messages, most_irqs;
	int irq_fds[64];
};

static struct server server;

static inline bool receive(int fd, struct message *message)
{
	union {
		struct cmsghdr align;
		char space[CMSG_SPACE(sizeof(int) * VFIO_USER_MAX_MSG_FDS)];
	} control;
	struct iovec part = {&message->header, sizeof(message->header)};
	struct msghdr msghdr = {.msg_iov = &part,
		.msg_iovlen = 1,
		.msg_control = &control,
		.msg_controllen = sizeof(control)};
	struct cmsghdr *cmsg;
	size_t left;

	if (recvmsg(fd, &msghdr, MSG_WAITALL) != sizeof(message->header))
		return false;
	cmsg = CMSG_FIRSTHDR(&msghdr);
	message->fd_count = cmsg ? (uint32_t)((cmsg->cmsg_len - CMSG_LEN(0)) / sizeof(int)) : 0;
	if (cmsg)
		memcpy(message->fds, CMSG_DATA(cmsg), message->fd_count * sizeof(int));
	left = message->header.size - sizeof(message->header);
	return left == 0 || recv(fd, message->payload, left, MSG_WAITALL) == (ssize_t)left;
}

static inline bool answer(int fd, struct message *reply)
{
	union {
		struct cmsghdr align;
		char space[CMSG_SPACE(sizeof(int) * (VFIO_USER_MAX_MSG_FDS + 8))];
	} control = {{0}};
	size_t size = reply->cut ? reply->cut : reply->header.size;
	struct iovec part = {reply, size < sizeof(reply->header) + sizeof(reply->payload)
					    ? size
					    : sizeof(reply->header) + sizeof(reply->payload)};
	struct msghdr msghdr = {.msg_iov = &part, .msg_iovlen = 1};

	if (reply->silent)
		return !reply->hang_up;
	if (reply->fd_count > 0) {
		msghdr.msg_control = &control;
		msghdr.msg_controllen = CMSG_SPACE(reply->fd_count * sizeof(int));
		control.align.cmsg_level = SOL_SOCKET;
		control.align.cmsg_type = SCM_RIGHTS;
		control.align.cmsg_len = CMSG_LEN(reply->fd_count * sizeof(int));
		memcpy(CMSG_DATA(&control.align), reply->fds, reply->fd_count * sizeof(int));
	}
	return sendmsg(fd, &msghdr, MSG_NOSIGNAL) >= 0 && !reply->hang_up && !reply->cut;
}

static inline void set_payload(struct message *reply, const void *data, size_t size)
{
	memcpy(reply->payload, data, size);
	reply->header.size = (uint32_t)(sizeof(reply->header) + size);
}

/* Version 0.1 and these capabilities, with the end of the string. */
#define SET_VERSION(reply, json) set_payload(reply, "\0\0\1\0" json, sizeof("\0\0\1\0" json))

static inline void answer_region_info(struct message *reply)
{
	struct {
		struct vfio_region_info info;
		struct vfio_info_cap_header header;
		uint32_t nr_areas, reserved;
		struct vfio_region_sparse_mmap_area areas[2];
	} answer = {
		.info = {.argsz = sizeof(answer),
			.flags = VFIO_REGION_INFO_FLAG_READ | VFIO_REGION_INFO_FLAG_WRITE |
				 VFIO_REGION_INFO_FLAG_MMAP | VFIO_REGION_INFO_FLAG_CAPS,
			.cap_offset = sizeof(answer.info),
			.size = BAR_SIZE},
		.header = {.id = VFIO_REGION_INFO_CAP_SPARSE_MMAP, .version = 1},
		.nr_areas = 2,
		.areas = {{.offset = 0x1000, .size = PAGE}, {.offset = 0x6000, .size = PAGE}},
	};

	set_payload(reply, &answer, sizeof(answer));
	reply->fds[0] = server.memory;
	reply->fd_count = 1;
}

static inline void answer_io_fds(struct message *reply)
{
	struct {
		struct vfio_user_io_fds head;
		struct vfio_user_io_fd io[2];
	} answer = {
		.head = {.argsz = sizeof(answer), .count = 2},
		.io = {{.offset = TDT,
			       .size = 4,
			       .fd_index = 1,
			       .type = VFIO_USER_IO_FD_IOEVENTFD_SHADOW,
			       .shadow_fd_index = 0,
			       .shadow_offset = TDT},
			/* A kind without memory: to be passed over. */
			{.offset = RDT, .size = 4, .fd_index = 1, .type = VFIO_USER_IO_FD_IOEVENTFD}},
	};

	set_payload(reply, &answer, sizeof(answer));
	reply->fds[0] = server.memory;
	reply->fds[1] = server.eventfd;
	reply->fd_count = 2;
}

static inline void answer_access(struct message *reply, const struct message *request)
{
	struct vfio_user_region_access access;
	uint8_t *store;
	bool write = request->header.command == VFIO_USER_REGION_WRITE;

	memcpy(&access, request->payload, sizeof(access));
	store = access.region == VFIO_PCI_CONFIG_REGION_INDEX ? server.config : (uint8_t *)server.regs;
	memcpy(reply->payload, &access, sizeof(access));
	if (write)
		memcpy(store + access.offset, request->payload + sizeof(access), access.count);
	else
		memcpy(reply->payload + sizeof(access), store + access.offset, access.count);
	reply->header.size = (uint32_t)(sizeof(reply->header) + sizeof(access) + (write ? 0 : access.count));
}

static inline void answer_set_irqs(const struct message *request)
{
	struct vfio_irq_set set;

	memcpy(&set, request->payload, sizeof(set));
	server.irq_messages++;
	if (request->fd_count > server.most_irqs)
		server.most_irqs = request->fd_count;
	if (set.count == 0)
		server.irqs = 0;
	for (uint32_t i = 0; i < set.count && i < request->fd_count && set.start + i < 64; i++) {
		server.irq_fds[set.start + i] = request->fds[i];
		server.irqs = set.start + i + 1;
	}
}

/* The right answer. */
static inline void serve(struct message *reply, const struct message *request)
{
	const uint32_t info[4] = {
		16, VFIO_DEVICE_FLAGS_PCI | VFIO_DEVICE_FLAGS_RESET, VFIO_PCI_NUM_REGIONS, VFIO_PCI_NUM_IRQS};
	const struct vfio_irq_info irq = {.argsz = sizeof(irq),
		.flags = VFIO_IRQ_INFO_EVENTFD,
		.index = VFIO_PCI_MSIX_IRQ_INDEX,
		.count = 8};
	struct vfio_user_dma_map map;

	switch (request->header.command) {
	case VFIO_USER_VERSION:
		SET_VERSION(reply, "{\"capabilities\": {\"max_msg_fds\" : 3, \"shadow_wakeup\": true}}");
		break;
	case VFIO_USER_DEVICE_GET_INFO: set_payload(reply, info, sizeof(info)); break;
	case VFIO_USER_DEVICE_GET_IRQ_INFO: set_payload(reply, &irq, sizeof(irq)); break;
	case VFIO_USER_DEVICE_GET_REGION_INFO: answer_region_info(reply); break;
	case VFIO_USER_DEVICE_GET_REGION_IO_FDS: answer_io_fds(reply); break;
	case VFIO_USER_REGION_READ:
	case VFIO_USER_REGION_WRITE: answer_access(reply, request); break;
	case VFIO_USER_DEVICE_SET_IRQS: answer_set_irqs(request); break;
	case VFIO_USER_DMA_MAP:
		memcpy(&map, request->payload, sizeof(map));
		server.dma_addr = map.addr;
		server.dma_size = request->fd_count == 1 ? map.size : 0;
		server.dma_offset = map.offset;
		break;
	case VFIO_USER_DMA_UNMAP:
		memcpy(&map, request->payload, sizeof(struct vfio_user_dma_unmap));
		server.dma_unmapped++;
		break;
	case VFIO_USER_DEVICE_RESET: break;
	default: reply->header.flags |= VFIO_USER_ERROR; reply->header.error = ENOTSUP;
	}
}

static inline void *run_server(void *arg)
{
	static struct message request, reply;
	bool open = true;

	(void)arg;
	while (open && receive(server.fd, &request)) {
		bool quiet = request.header.flags & VFIO_USER_NO_REPLY;

		memset(&reply, 0, sizeof(reply));
		reply.header = (struct vfio_user_header){.id = request.header.id,
			.command = request.header.command,
			.size = sizeof(reply.header),
			.flags = VFIO_USER_TYPE_REPLY};
		serve(&reply, &request);
		server.seen[request.header.command % 16]++;
		server.unanswered += quiet;
		if (server.bend && request.header.command == server.bent) {
			if (server.spare == 0) {
				server.bend(&reply, &request);
				server.bend = NULL;
			} else {
				server.spare--;
			}
		}
		if (!quiet)
			open = answer(server.fd, &reply);
		if (request.header.command != VFIO_USER_DEVICE_SET_IRQS)
			for (uint32_t i = 0; i < request.fd_count; i++)
				close(request.fds[i]);
	}
	shutdown(server.fd, SHUT_RDWR);
	return NULL;
}

/* --- the client's side ---------------------------------------------------------------------------------- */

static inline int open_fds(void)
{
	DIR *list = opendir("/proc/self/fd");
	int count = 0;

	while (readdir(list))
		count++;
	closedir(list);
	return count;
}

static int fds_before;
static bool ended = true;

static inline int setup(void **state)
{
	(void)state;
	fds_before = open_fds();
	memset(&server, 0, sizeof(server));
	memcpy(server.config, "\x86\x80\xfb\x10", 4);
	server.memory = memfd_create("bar", MFD_CLOEXEC | MFD_ALLOW_SEALING);
	server.eventfd = eventfd(0, EFD_CLOEXEC);
	if (ftruncate(server.memory, BAR_SIZE) < 0)
		return -1;
	return 0;
}

static inline void seal(void)
{
	assert_int_equal(fcntl(server.memory, F_ADD_SEALS, F_SEAL_SHRINK), 0);
}

static inline void start(struct vfio_user_attach *how, int *fd)
{
	int sockets[2];

	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, sockets), 0);
	server.fd = sockets[0];
	*fd = sockets[1];
	ended = false;
	assert_int_equal(pthread_create(&server.thread, NULL, run_server, NULL), 0);
	*how = (struct vfio_user_attach){.name = "vfio-user:test", .timeout_ms = 2000};
}

/* After the client's end is closed; or, where a test failed before that, without it. */
static inline void finish(void)
{
	if (!ended) {
		pthread_join(server.thread, NULL);
		close(server.fd);
	}
	ended = true;
}

static inline int teardown(void **state)
{
	(void)state;
	if (!ended)
		shutdown(server.fd, SHUT_RDWR);
	finish();
	close(server.memory);
	close(server.eventfd);
	for (uint32_t i = 0; i < server.irqs; i++)
		close(server.irq_fds[i]);
	if (open_fds() != fds_before) {
		print_error("%d descriptors open, %d before\n", open_fds(), fds_before);
		return -1;
	}
	return 0;
}

static inline struct pci_device *attach(void)
{
	struct vfio_user_attach how;
	struct pci_device *pci;
	int fd;

	start(&how, &fd);
	if (vfio_user_attach(fd, &how, &pci) != 0)
		fail_msg("%s", ixy_last_error());
	return pci;
}

static inline void expect_refusal(
	uint16_t command, void (*bend)(struct message *, const struct message *), int error, const char *text)
{
	struct vfio_user_attach how;
	struct pci_device *pci = NULL;
	int fd, err;

	server.bent = command;
	server.bend = bend;
	server.spare = 0;
	start(&how, &fd);
	if (error == ETIMEDOUT)
		how.timeout_ms = TIMEOUT_MS;
	err = vfio_user_attach(fd, &how, &pci);
	pci_close(pci);
	finish();
	if (err != -error || !strstr(ixy_last_error(), text))
		fail_msg("%d \"%s\", and not %d with \"%s\"", err, ixy_last_error(), -error, text);
}

/* --- answers bent, such as several tests want them ------------------------------------------------------- */

static inline void bend_hang_up(struct message *reply, const struct message *request)
{
	(void)request;
	reply->silent = reply->hang_up = true;
}

static inline void bend_silence(struct message *reply, const struct message *request)
{
	(void)request;
	reply->silent = true;
}

static inline void bend_error(struct message *reply, const struct message *request)
{
	(void)request;
	reply->header.flags |= VFIO_USER_ERROR;
	reply->header.error = EEXIST;
	reply->header.size = sizeof(reply->header);
	reply->fd_count = 0;
}

static inline void bend_id(struct message *reply, const struct message *request)
{
	(void)request;
	reply->header.id++;
}

static inline void bend_command(struct message *reply, const struct message *request)
{
	(void)request;
	reply->header.command++;
}

static inline void bend_type(struct message *reply, const struct message *request)
{
	(void)request;
	reply->header.flags = VFIO_USER_TYPE_COMMAND;
}

static inline void bend_size_zero(struct message *reply, const struct message *request)
{
	(void)request;
	reply->header.size = 0;
	reply->cut = sizeof(reply->header);
}

static inline void bend_size_giant(struct message *reply, const struct message *request)
{
	(void)request;
	reply->header.size = UINT32_MAX;
}

static inline void bend_size_short(struct message *reply, const struct message *request)
{
	(void)request;
	reply->header.size = sizeof(reply->header) + 3;
}

static inline void bend_size_long(struct message *reply, const struct message *request)
{
	(void)request;
	reply->header.size += 400;
}

static inline void bend_cut_in_header(struct message *reply, const struct message *request)
{
	(void)request;
	reply->cut = 7;
}

static inline void bend_cut_in_payload(struct message *reply, const struct message *request)
{
	(void)request;
	reply->cut = reply->header.size - 1;
}

static inline void bend_stray_fds(struct message *reply, const struct message *request)
{
	(void)request;
	reply->fds[0] = reply->fds[1] = server.eventfd;
	reply->fd_count = 2;
}

static inline void bend_error_and_fds(struct message *reply, const struct message *request)
{
	bend_error(reply, request);
	bend_stray_fds(reply, request);
	reply->header.size += 40;
}

static inline void bend_too_many_fds(struct message *reply, const struct message *request)
{
	(void)request;
	reply->fd_count = VFIO_USER_MAX_MSG_FDS + 8;
	for (uint32_t i = 0; i < reply->fd_count; i++)
		reply->fds[i] = server.eventfd;
}

static inline void bend_count(struct message *reply, const struct message *request)
{
	const uint32_t count = 0x7fffffff;

	(void)request;
	memcpy(reply->payload + offsetof(struct vfio_user_region_access, count), &count, sizeof(count));
}

typedef void bend_function(struct message *, const struct message *);

#endif
