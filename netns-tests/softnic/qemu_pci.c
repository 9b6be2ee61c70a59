/*
 * Messages are read exactly, first the header and then what it announces, so descriptors belong to the
 * message being read (as in vfio_user.c). Each message is executed and answered before the next one is read.
 *
 * A guest kernel is as untrusted as any client, but it speaks through QEMU: what breaks the protocol's frame
 * is no guest's doing and ends the connection; what a guest can bring about (an access beside the BARs, of an
 * odd size, a BAR at a strange place) is answered as a bus would, with all-ones.
 */
#include "qemu_pci.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "log.h"
#include "qemu_proto.h"
#include "qtest.h"
#include "unix_listen.h"
#include "vtd.h"

#define MESSAGES_A_TURN  64 /* then frames get their turn */
#define CONFIG_BAR(n)    (0x10 + 4 * (n))
#define CONFIG_BAR_FLAGS 0xFu
#define ALL_ONES         UINT64_MAX

struct qemu_pci {
	struct nic *nic;
	struct ev_loop *loop;
	char name[32]; /* for messages */
	int fd;        /* -1: QEMU has hung up */
	struct ev_io watcher;

	/* The message being received. */
	struct {
		struct qemu_pci_header header;
		union {
			struct qemu_pci_config config;
			struct qemu_pci_bar bar;
			struct qemu_pci_sysmem sysmem;
			uint8_t bytes[sizeof(struct qemu_pci_sysmem)];
		};
	} in;
	size_t in_size;
	int in_fds[QEMU_PCI_REGIONS];
	unsigned in_fd_count;

	struct qtest *qtest;
	uint64_t waiting; /* vectors whose message has not been sent yet */

	/* With an IOMMU; nic->dma.iommu is this. */
	struct vtd vtd;
	bool asking;            /* its registers are being read */
	unsigned era, asked_in; /* eras end with forget_iommu() */
};

/* --- interrupts ----------------------------------------------------------------------------------------- */

/* A message is a 32-bit write to memory. What comes while QEMU has not acknowledged many waits, and is merged. */
static void raise_vector(void *context, unsigned vector)
{
	struct qemu_pci *qemu = context;
	const struct nic_msix_entry *entry = &qemu->nic->msix[vector];
	if (qtest_write32(qemu->qtest, (uint64_t)entry->address_high << 32 | entry->address_low,
		    entry->data) == QTEST_NO_ROOM)
		qemu->waiting |= UINT64_C(1) << vector;
}

/* Meanwhile the guest may have masked a vector, changed its entry, or reset the function: they are raised anew. */
static void raise_waiting(void *context)
{
	struct qemu_pci *qemu = context;
	uint64_t waiting = qemu->waiting;
	qemu->waiting = 0;
	for (; waiting; waiting &= waiting - 1)
		nic_msix_raise(qemu->nic, (unsigned)__builtin_ctzll(waiting));
}

/* --- the guest's IOMMU ---------------------------------------------------------------------------------- */

static void read_iommu(void *context);

/*
 * An answer to a question from before a reset says nothing: ask again. Nor do registers that are all zeroes: QEMU
 * shows them so while the guest's own access to them is under way, and what was known before still holds then.
 */
static void on_registers(void *context, const uint8_t *bytes)
{
	struct qemu_pci *qemu = context;
	uint32_t version = 0, gsts;
	uint64_t rtaddr;
	qemu->asking = false;
	if (qemu->asked_in != qemu->era) {
		read_iommu(qemu);
		return;
	}
	if (bytes) {
		memcpy(&version, bytes + VTD_VER, sizeof version);
		memcpy(&gsts, bytes + VTD_GSTS, sizeof gsts);
		memcpy(&rtaddr, bytes + VTD_RTADDR, sizeof rtaddr);
	}
	if (version)
		vtd_registers(&qemu->vtd, gsts, rtaddr);
	else if (nic_dma_held(qemu->nic))
		softnic_error("%s: the IOMMU's registers cannot be read: is there -device intel-iommu?",
			qemu->name);
}

static void read_iommu(void *context)
{
	struct qemu_pci *qemu = context;
	if (qemu->asking)
		return;
	qemu->asked_in = qemu->era;
	qemu->asking = qtest_read(qemu->qtest, VTD_REGISTERS, VTD_SIZE, on_registers, qemu) == QTEST_SENT;
}

/*
 * Without that knowledge all DMA is held, so if QEMU did not tell, it is asked again. That the guest goes on talking
 * to the NIC is the occasion, and vtd_new_burst() sees to it that there are not too many.
 */
static void retry_iommu(struct qemu_pci *qemu)
{
	if (nic_dma_held(qemu->nic) && nic_bus_master(qemu->nic))
		nic_dma_new_burst(qemu->nic);
}

/* What was known of the IOMMU is from before a reset, or from before the guest turned to this function. */
static void forget_iommu(void *context)
{
	struct qemu_pci *qemu = context;
	qemu->era++;
	vtd_forget(&qemu->vtd);
}

/* --- what each message does: the value of the answer ---------------------------------------------------- */

static uint64_t config_read(struct qemu_pci *qemu)
{
	const struct qemu_pci_config *config = &qemu->in.config;
	return nic_config_read(qemu->nic, config->address, (unsigned)config->size);
}

static uint64_t config_write(struct qemu_pci *qemu)
{
	const struct qemu_pci_config *config = &qemu->in.config;
	bool master = nic_bus_master(qemu->nic);
	nic_config_write(qemu->nic, config->address, (unsigned)config->size, config->value);
	if (qemu->nic->dma.iommu && !master && nic_bus_master(qemu->nic)) {
		forget_iommu(qemu);
		read_iommu(qemu);
	}
	return 0;
}

/* The BAR that holds [address, address + size), and where in it; -1: none does. */
static int find_bar(struct nic *nic, uint64_t address, uint32_t size, uint64_t *offset)
{
	static const struct {
		int bar;
		uint32_t size;
	} bars[] = {{0, NIC_BAR0_SIZE}, {NIC_MSIX_BAR, NIC_MSIX_SIZE}};
	for (size_t i = 0; i < sizeof bars / sizeof *bars; i++) {
		uint64_t base = nic_config_read(nic, CONFIG_BAR(bars[i].bar), 4) & ~CONFIG_BAR_FLAGS;
		*offset = address - base;
		if (base && *offset < bars[i].size && size <= bars[i].size - *offset)
			return bars[i].bar;
	}
	return -1;
}

static uint64_t bar_access(struct qemu_pci *qemu, bool write)
{
	struct qemu_pci_bar *access = &qemu->in.bar;
	uint64_t offset;
	uint64_t value = write ? access->value : 0;
	int bar = access->memory ? find_bar(qemu->nic, access->address, access->size, &offset) : -1;
	if (bar < 0 || nic_bar_access(qemu->nic, (unsigned)bar, offset, &value, access->size, write) < 0)
		return ALL_ONES;
	return write ? 0 : value;
}

static uint64_t bar_read(struct qemu_pci *qemu)
{
	return bar_access(qemu, false);
}

static uint64_t bar_write(struct qemu_pci *qemu)
{
	return bar_access(qemu, true);
}

/* The new map replaces the old one; a region that cannot be mapped is missing, and DMA to it a violation. */
static uint64_t sync_sysmem(struct qemu_pci *qemu)
{
	const struct qemu_pci_sysmem *map = &qemu->in.sysmem;
	nic_dma_unmap_all(qemu->nic);
	for (unsigned i = 0; i < qemu->in_fd_count; i++) {
		int fd = qemu->in_fds[i];
		qemu->in_fds[i] = -1;
		int result = -EINVAL;
		if (map->offset[i] >= 0)
			result = nic_dma_map(qemu->nic, map->address[i], map->size[i], fd,
				(uint64_t)map->offset[i], true, true);
		else
			close(fd);
		if (result < 0)
			softnic_error("%s: cannot map %" PRIu64 " bytes of the guest's memory at 0x%" PRIx64
				      ": %s: is it -object memory-backend-memfd,share=on?",
				qemu->name, map->size[i], map->address[i], strerror(-result));
	}
	return 0;
}

/* INTx: the model has none, and drivers that can have MSI-X do not ask for it. */
static uint64_t set_irqfd(struct qemu_pci *qemu)
{
	(void)qemu;
	return 0;
}

static uint64_t device_reset(struct qemu_pci *qemu)
{
	nic_reset_function(qemu->nic);
	return 0;
}

static const struct {
	uint64_t (*execute)(struct qemu_pci *qemu);
	size_t size; /* of the payload */
	bool answered;
} commands[QEMU_PCI_COMMANDS] = {
	[QEMU_PCI_SYNC_SYSMEM] = {sync_sysmem, sizeof(struct qemu_pci_sysmem), false},
	[QEMU_PCI_CONFIG_WRITE] = {config_write, sizeof(struct qemu_pci_config), true},
	[QEMU_PCI_CONFIG_READ] = {config_read, sizeof(struct qemu_pci_config), true},
	[QEMU_PCI_BAR_WRITE] = {bar_write, sizeof(struct qemu_pci_bar), true},
	[QEMU_PCI_BAR_READ] = {bar_read, sizeof(struct qemu_pci_bar), true},
	[QEMU_PCI_SET_IRQFD] = {set_irqfd, 0, false},
	[QEMU_PCI_DEVICE_RESET] = {device_reset, 0, true},
};

/* --- the connection ------------------------------------------------------------------------------------- */

static void close_received_fds(struct qemu_pci *qemu)
{
	for (unsigned i = 0; i < qemu->in_fd_count; i++)
		if (qemu->in_fds[i] >= 0)
			close(qemu->in_fds[i]);
	qemu->in_fd_count = 0;
}

static void disconnect(struct qemu_pci *qemu)
{
	ev_io_stop(qemu->loop, &qemu->watcher);
	close_received_fds(qemu);
	qemu->nic->frontend = (struct nic_frontend){0};
	nic_client_gone(qemu->nic);
	qemu->nic->dma.iommu = NULL;
	qtest_free(qemu->qtest);
	qemu->qtest = NULL;
	close(qemu->fd);
	qemu->fd = -1;
}

/* Keep the descriptors that came with some bytes. False: more than a message may have. */
static bool take_fds(struct qemu_pci *qemu, struct msghdr *msg)
{
	bool fit = !(msg->msg_flags & MSG_CTRUNC);
	for (struct cmsghdr *cmsg = CMSG_FIRSTHDR(msg); cmsg; cmsg = CMSG_NXTHDR(msg, cmsg)) {
		if (cmsg->cmsg_level != SOL_SOCKET || cmsg->cmsg_type != SCM_RIGHTS)
			continue;
		size_t count = (cmsg->cmsg_len - CMSG_LEN(0)) / sizeof(int);
		for (size_t i = 0; i < count; i++) {
			int fd;
			memcpy(&fd, CMSG_DATA(cmsg) + i * sizeof fd, sizeof fd);
			if (qemu->in_fd_count < QEMU_PCI_REGIONS) {
				qemu->in_fds[qemu->in_fd_count++] = fd;
			} else {
				close(fd);
				fit = false;
			}
		}
	}
	return fit;
}

/* Read up to size bytes more of the message. Bytes read; 0: not now; -1: connection over, reason printed. */
static ssize_t receive(struct qemu_pci *qemu, size_t size)
{
	union {
		char bytes[CMSG_SPACE(QEMU_PCI_REGIONS * sizeof(int))];
		struct cmsghdr align;
	} control;
	struct iovec iov = {.iov_base = (uint8_t *)&qemu->in + qemu->in_size, .iov_len = size};
	struct msghdr msg = {
		.msg_iov = &iov,
		.msg_iovlen = 1,
		.msg_control = control.bytes,
		.msg_controllen = sizeof control.bytes,
	};
	ssize_t got = recvmsg(qemu->fd, &msg, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
	if (got < 0) {
		if (errno == EAGAIN || errno == EINTR)
			return 0;
		softnic_info("%s: QEMU lost: %s", qemu->name, strerror(errno));
		return -1;
	}
	if (!take_fds(qemu, &msg)) {
		softnic_error("%s: QEMU sent more than %d descriptors in a message: disconnected", qemu->name,
			QEMU_PCI_REGIONS);
		return -1;
	}
	if (got == 0) {
		if (qemu->in_size)
			softnic_error("%s: QEMU left in the middle of a message", qemu->name);
		else
			softnic_info("%s: QEMU has ended", qemu->name);
		return -1;
	}
	qemu->in_size += (size_t)got;
	return got;
}

/* True if such a message may come: its size and descriptors are then what its command wants. */
static bool check_header(const struct qemu_pci *qemu)
{
	const struct qemu_pci_header *header = &qemu->in.header;
	if (header->command < 0 || header->command >= QEMU_PCI_COMMANDS ||
		!commands[header->command].execute) {
		softnic_error(
			"%s: QEMU sent the unknown command %d: disconnected", qemu->name, header->command);
		return false;
	}
	if (header->size != commands[header->command].size) {
		softnic_error("%s: QEMU sent command %d with %" PRIu64 " bytes instead of %zu: disconnected",
			qemu->name, header->command, header->size, commands[header->command].size);
		return false;
	}
	return true;
}

/* 1: a whole message is in; 0: not yet; -1: the connection is over. */
static int receive_message(struct qemu_pci *qemu)
{
	const size_t head = sizeof qemu->in.header;
	while (qemu->in_size < head) {
		ssize_t got = receive(qemu, head - qemu->in_size);
		if (got <= 0)
			return (int)got;
	}
	if (!check_header(qemu))
		return -1;
	while (qemu->in_size < head + qemu->in.header.size) {
		ssize_t got = receive(qemu, head + (size_t)qemu->in.header.size - qemu->in_size);
		if (got <= 0)
			return (int)got;
	}
	return 1;
}

/* Execute the message and answer it. False: the connection is over. */
static bool answer(struct qemu_pci *qemu)
{
	const int32_t command = qemu->in.header.command;
	struct qemu_pci_reply reply = {
		.header = {.command = QEMU_PCI_RET, .size = sizeof reply.value},
		.value = commands[command].execute(qemu),
	};
	softnic_debug("%s: command %d: 0x%" PRIx64, qemu->name, command, reply.value);
	close_received_fds(qemu);
	qemu->in_size = 0;
	if (!commands[command].answered)
		return true;
	/* QEMU waits for each answer, so there is room for it. */
	if (send(qemu->fd, &reply, sizeof reply, MSG_DONTWAIT | MSG_NOSIGNAL) == (ssize_t)sizeof reply)
		return true;
	softnic_error("%s: QEMU does not take its answers: disconnected", qemu->name);
	return false;
}

static void on_socket(struct ev_loop *loop, struct ev_io *watcher, int events)
{
	(void)loop;
	(void)events;
	struct qemu_pci *qemu = watcher->data;
	for (unsigned i = 0; i < MESSAGES_A_TURN; i++) {
		int state = receive_message(qemu);
		if (state == 0)
			return;
		if (state < 0 || !answer(qemu)) {
			disconnect(qemu);
			return;
		}
		nic_scan_mapped(qemu->nic);
		retry_iommu(qemu);
	}
}

struct qemu_pci *qemu_pci_adopt(
	int fd, const struct qemu_pci_options *options, struct nic *nic, struct ev_loop *loop)
{
	if (!unix_stream(fd))
		return NULL;
	struct qemu_pci *qemu = calloc(1, sizeof *qemu);
	if (!qemu) {
		softnic_error("port %u: out of memory", nic->port);
		return NULL;
	}
	snprintf(qemu->name, sizeof qemu->name, "port %u", nic->port);
	qemu->qtest = qtest_new(options->qtest, qemu->name, loop, raise_waiting, qemu);
	if (!qemu->qtest) {
		free(qemu);
		return NULL;
	}
	qemu->nic = nic;
	qemu->loop = loop;
	qemu->fd = fd;
	fcntl(fd, F_SETFD, FD_CLOEXEC);

	/* The proxy sizes each BAR as one of 32 bits. */
	nic->bar32 = true;
	nic_reset_function(nic);
	nic->frontend = (struct nic_frontend){.raise = raise_vector, .context = qemu};
	if (options->vtd) {
		qemu->vtd = (struct vtd){
			.requester = options->requester,
			.refresh = read_iommu,
			.context = qemu,
		};
		nic->dma.iommu = &qemu->vtd;
		nic->frontend.was_reset = forget_iommu;
	}
	/*
	 * Nothing is mapped here, but the checks of order hang on it: rings changed, tails moved at a wrong
	 * time.
	 */
	nic->pages_mapped = true;
	ev_io_init(&qemu->watcher, on_socket, fd, EV_READ);
	qemu->watcher.data = qemu;
	ev_io_start(loop, &qemu->watcher);
	return qemu;
}

void qemu_pci_free(struct qemu_pci *qemu)
{
	if (!qemu)
		return;
	if (qemu->fd >= 0)
		disconnect(qemu);
	free(qemu);
}

bool qemu_pci_hung_up(const struct qemu_pci *qemu)
{
	return qemu->fd < 0;
}
