/*
 * A PCI function that another process serves over the vfio-user protocol: the client.
 *
 * Registers and config space go by message, always: the pages of BAR 0 that a server lets be mapped also hold
 * counters that clear when read, which only the server can do. Doorbells (the tails of the queues) are the
 * exception; see vfio_user_doorbell.c.
 *
 * DMA memory is sent as a file descriptor with its addresses as IOVA, virtual ones unless the user wants it
 * otherwise. Interrupts are eventfds.
 */
#include "driver/pci/vfio_user.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <sys/socket.h>
#include <sys/un.h>

#include "driver/error.h"
#include "driver/pci/transport.h"

static struct vfio_user_device *device_of(struct pci_device *pci)
{
	return (struct vfio_user_device *)pci; /* its first member */
}

/* --- registers and config space ------------------------------------------------------------------ */

struct access_message {
	struct vfio_user_region_access access;
	uint8_t data[4];
};

static int region_read(
	struct vfio_user_device *device, uint32_t region, uint64_t offset, void *data, uint32_t size)
{
	struct access_message answer = {.access = {.count = 0}};
	struct vfio_user_region_access access = {.offset = offset, .region = region, .count = size};
	struct vfio_user_request request = {
		.command = VFIO_USER_REGION_READ, .data = &access, .size = sizeof(access)};
	struct vfio_user_reply reply = {
		.data = &answer, .min = sizeof(access) + size, .capacity = sizeof(access) + size};
	int err = vfio_user_call(&device->channel, &request, &reply);

	if (!err && answer.access.count != size)
		err = vfio_user_breach(
			&device->channel, "%u bytes answered where %u were read", answer.access.count, size);
	/* As on a real bus: nobody answers, so the lines stay high. */
	if (err)
		memset(data, 0xff, size);
	else
		memcpy(data, answer.data, size);
	return err;
}

static struct access_message write_message(uint32_t region, uint64_t offset, const void *data, uint32_t size)
{
	struct access_message message = {.access = {.offset = offset, .region = region, .count = size}};

	memcpy(message.data, data, size);
	return message;
}

/* Regions 0 to 5 are the BARs, of which only the first is used here (vfio_user_doorbell.c). */
static void bar_read(struct pci_device *pci, unsigned bar, uint32_t offset, void *data, uint32_t len)
{
	region_read(device_of(pci), VFIO_PCI_BAR0_REGION_INDEX + bar, offset, data, len);
}

static void bar_write(struct pci_device *pci, unsigned bar, uint32_t offset, const void *data, uint32_t len)
{
	struct access_message message = write_message(VFIO_PCI_BAR0_REGION_INDEX + bar, offset, data, len);
	struct vfio_user_request request = {
		.command = VFIO_USER_REGION_WRITE, .data = &message, .size = sizeof(message.access) + len};

	vfio_user_post(&device_of(pci)->channel, &request);
}

static int check_config_access(struct pci_device *pci, uint32_t offset, uint32_t len)
{
	if ((len == 1 || len == 2 || len == 4) && offset < 4096 && offset % len == 0)
		return 0;
	return ixy_fail(EINVAL, "%s: no config access of %u bytes at 0x%x", pci->name, len, offset);
}

static int config_read(struct pci_device *pci, uint32_t offset, void *data, uint32_t len)
{
	int err = check_config_access(pci, offset, len);

	return err ? err : region_read(device_of(pci), VFIO_PCI_CONFIG_REGION_INDEX, offset, data, len);
}

static int config_write(struct pci_device *pci, uint32_t offset, const void *data, uint32_t len)
{
	struct vfio_user_device *device = device_of(pci);
	struct vfio_user_region_access answer = {.count = 0};
	struct vfio_user_reply reply = {.data = &answer, .min = sizeof(answer), .capacity = sizeof(answer)};
	struct access_message message;
	struct vfio_user_request request = {.command = VFIO_USER_REGION_WRITE, .data = &message};
	int err = check_config_access(pci, offset, len);

	if (err)
		return err;
	message = write_message(VFIO_PCI_CONFIG_REGION_INDEX, offset, data, len);
	request.size = sizeof(message.access) + len;
	err = vfio_user_call(&device->channel, &request, &reply);
	if (!err && answer.count != len)
		err = vfio_user_breach(
			&device->channel, "%u bytes written where %u were sent", answer.count, len);
	return err;
}

/* --- DMA ----------------------------------------------------------------------------------------- */

static int map_run(struct pci_device *pci, const struct dma_region *region, const struct dma_run *run)
{
	struct vfio_user_dma_map map = {
		.argsz = sizeof(map),
		.flags = VFIO_USER_DMA_READABLE | VFIO_USER_DMA_WRITEABLE,
		.offset = run->offset,
		.addr = run->iova,
		.size = run->size,
	};
	struct vfio_user_request request = {.command = VFIO_USER_DMA_MAP,
		.data = &map,
		.size = sizeof(map),
		.fds = &region->fd,
		.fd_count = 1};
	struct vfio_user_dma_map echo; /* some servers send the request back */
	struct vfio_user_reply reply = {.data = &echo, .capacity = sizeof(echo)};

	return vfio_user_call(&device_of(pci)->channel, &request, &reply);
}

/* Unmap the region's runs below `end`, which is where mapping stopped, or its size. */
static void unmap_runs(struct pci_device *pci, const struct dma_region *region, size_t end)
{
	struct dma_run run = {0};

	while (dma_next_run(region, &run) && run.offset < end) {
		struct vfio_user_dma_unmap unmap = {
			.argsz = sizeof(unmap),
			.addr = run.iova,
			.size = run.size,
		};
		struct vfio_user_request request = {
			.command = VFIO_USER_DMA_UNMAP, .data = &unmap, .size = sizeof(unmap)};
		struct vfio_user_dma_unmap echo;
		struct vfio_user_reply reply = {.data = &echo, .capacity = sizeof(echo)};

		/*
		 * Where this fails the server may keep its own mapping. It holds the memfd, so it can still write
		 * there, but only into memory that is no longer anybody else's.
		 */
		vfio_user_call(&device_of(pci)->channel, &request, &reply);
	}
}

static int dma_map(struct pci_device *pci, struct dma_region *region)
{
	struct dma_run run = {0};
	struct ixy_error error;

	while (dma_next_run(region, &run)) {
		int err = map_run(pci, region, &run);

		if (err) {
			ixy_error_save(&error);
			unmap_runs(pci, region, run.offset);
			ixy_error_restore(&error);
			return err;
		}
	}
	return 0;
}

static void dma_unmap(struct pci_device *pci, struct dma_region *region)
{
	unmap_runs(pci, region, region->size);
}

/* --- interrupts and reset ------------------------------------------------------------------------ */

static int set_irqs(struct vfio_user_device *device, uint32_t start, uint32_t count, const int fds[])
{
	struct vfio_irq_set set = {
		.argsz = sizeof(set),
		.flags = VFIO_IRQ_SET_ACTION_TRIGGER |
			 (count ? VFIO_IRQ_SET_DATA_EVENTFD : VFIO_IRQ_SET_DATA_NONE),
		.index = VFIO_PCI_MSIX_IRQ_INDEX,
		.start = start,
		.count = count,
	};
	struct vfio_user_request request = {.command = VFIO_USER_DEVICE_SET_IRQS,
		.data = &set,
		.size = sizeof(set),
		.fds = fds,
		.fd_count = count};
	struct vfio_irq_set echo;
	struct vfio_user_reply reply = {.data = &echo, .capacity = sizeof(echo)};

	return vfio_user_call(&device->channel, &request, &reply);
}

static int irq_set(struct pci_device *pci, uint32_t count, const int fds[])
{
	struct vfio_user_device *device = device_of(pci);
	int err = 0;

	if (count > pci->irq_count)
		return ixy_fail(EINVAL, "%s: %u interrupt vectors wanted, it has %u", pci->name, count,
			pci->irq_count);
	if (count == 0 || count < device->irqs_set) {
		err = set_irqs(device, 0, 0, NULL);
		device->irqs_set = 0;
	}
	for (uint32_t start = 0; start < count && !err;) {
		uint32_t part = count - start;

		if (part > device->channel.max_fds)
			part = device->channel.max_fds;
		err = set_irqs(device, start, part, fds + start);
		start += part;
	}
	if (err)
		return ixy_fail_context(err, "interrupts");
	device->irqs_set = count;
	return 0;
}

static int reset(struct pci_device *pci)
{
	struct vfio_user_device *device = device_of(pci);
	struct vfio_user_request request = {.command = VFIO_USER_DEVICE_RESET};
	struct vfio_user_reply reply = {.capacity = 0};

	if (!device->resettable)
		return ixy_fail(ENOTSUP, "%s: the device has no function-level reset", pci->name);
	return vfio_user_call(&device->channel, &request, &reply);
}

static void close_device(struct pci_device *pci)
{
	struct vfio_user_device *device = device_of(pci);
	void (*released)(void *arg) = device->released;
	void *arg = device->released_arg;

	vfio_user_doorbells_close(&device->doorbells);
	vfio_user_channel_close(&device->channel);
	free(device);
	if (released)
		released(arg);
}

static const struct pci_ops vfio_user_ops = {
	.config_read = config_read,
	.config_write = config_write,
	.bar_read = bar_read,
	.bar_write = bar_write,
	.dma_map = dma_map,
	.dma_unmap = dma_unmap,
	.irq_set = irq_set,
	.reset = reset,
	.close = close_device,
};

/* --- getting to know each other ------------------------------------------------------------------ */

/*
 * The value behind "key": in the version's JSON, or NULL. No parser: a peer that hides a key in a string
 * fools nobody but itself, as each value is checked for what it is used for.
 */
static const char *json_value(const char *json, const char *key)
{
	char quoted[32];
	const char *p;

	snprintf(quoted, sizeof(quoted), "\"%s\"", key);
	p = strstr(json, quoted);
	if (!p)
		return NULL;
	p += strlen(quoted);
	p += strspn(p, " \t\r\n");
	if (*p++ != ':')
		return NULL;
	return p + strspn(p, " \t\r\n");
}

static int negotiate_version(struct vfio_user_device *device)
{
	struct {
		struct vfio_user_version version;
		char json[VFIO_USER_MAX_JSON];
	} ours = {.version = {VFIO_USER_MAJOR, VFIO_USER_MINOR}};
	struct {
		struct vfio_user_version version;
		char json[VFIO_USER_MAX_PAYLOAD - sizeof(struct vfio_user_version)];
	} theirs;
	int json_size = snprintf(ours.json, sizeof(ours.json),
		"{\"capabilities\":{\"max_msg_fds\":%d,\"max_msg_size\":%d,\"shadow_wakeup\":true}}",
		VFIO_USER_MAX_MSG_FDS, VFIO_USER_MAX_MSG_SIZE);
	struct vfio_user_request request = {.command = VFIO_USER_VERSION,
		.data = &ours,
		.size = sizeof(ours.version) + (size_t)json_size + 1};
	struct vfio_user_reply reply = {
		.data = &theirs, .min = sizeof(theirs.version), .capacity = sizeof(theirs)};
	const char *value;
	int err = vfio_user_call(&device->channel, &request, &reply);

	if (err)
		return err;
	if (theirs.version.major != VFIO_USER_MAJOR || theirs.version.minor > VFIO_USER_MINOR)
		return vfio_user_breach(&device->channel,
			"the server speaks vfio-user %u.%u, this is a client for %u.%u", theirs.version.major,
			theirs.version.minor, VFIO_USER_MAJOR, VFIO_USER_MINOR);
	if (reply.size == sizeof(theirs.version))
		return 0;
	if (!memchr(theirs.json, '\0', reply.size - sizeof(theirs.version)))
		return vfio_user_breach(&device->channel, "the server's version data has no end");
	value = json_value(theirs.json, "max_msg_fds");
	if (value) {
		long fds = strtol(value, NULL, 10);

		if (fds < 1)
			return vfio_user_breach(
				&device->channel, "the server takes no file descriptors, so no DMA works");
		device->channel.max_fds = fds < VFIO_USER_MAX_MSG_FDS ? (uint32_t)fds : VFIO_USER_MAX_MSG_FDS;
	}
	value = json_value(theirs.json, "shadow_wakeup");
	device->shadow_wakeup = value && strncmp(value, "true", 4) == 0;
	return 0;
}

/*
 * As in <linux/vfio.h>, without the capability offset that later kernels added: the protocol has none here.
 */
struct device_info {
	uint32_t argsz, flags, num_regions, num_irqs;
};

static int get_device_info(struct vfio_user_device *device)
{
	struct device_info info = {.argsz = sizeof(info)};
	struct {
		struct device_info info;
		uint8_t more[64];
	} answer;
	struct vfio_user_request request = {
		.command = VFIO_USER_DEVICE_GET_INFO, .data = &info, .size = sizeof(info)};
	struct vfio_user_reply reply = {.data = &answer, .min = sizeof(info), .capacity = sizeof(answer)};
	int err = vfio_user_call(&device->channel, &request, &reply);

	if (err)
		return err;
	if (!(answer.info.flags & VFIO_DEVICE_FLAGS_PCI) ||
		answer.info.num_regions <= VFIO_PCI_CONFIG_REGION_INDEX)
		return ixy_fail(
			ENODEV, "%s: the server serves a device that is no PCI function", device->pci.name);
	device->resettable = answer.info.flags & VFIO_DEVICE_FLAGS_RESET;
	if (answer.info.num_irqs <= VFIO_PCI_MSIX_IRQ_INDEX)
		return 0;

	struct vfio_irq_info irq = {.argsz = sizeof(irq), .index = VFIO_PCI_MSIX_IRQ_INDEX};

	request = (struct vfio_user_request){
		.command = VFIO_USER_DEVICE_GET_IRQ_INFO, .data = &irq, .size = sizeof(irq)};
	reply = (struct vfio_user_reply){.data = &irq, .min = sizeof(irq), .capacity = sizeof(irq)};
	err = vfio_user_call(&device->channel, &request, &reply);
	if (err)
		return err;
	if (irq.index != VFIO_PCI_MSIX_IRQ_INDEX || irq.count > 2048) /* what PCI allows */
		return vfio_user_breach(&device->channel, "%u interrupts of kind %u", irq.count, irq.index);
	device->pci.irq_count = irq.flags & VFIO_IRQ_INFO_EVENTFD ? irq.count : 0;
	return 0;
}

static int get_ids(struct vfio_user_device *device)
{
	uint8_t ids[4];
	int err = config_read(&device->pci, 0, ids, sizeof(ids));

	if (err)
		return err;
	device->pci.vendor = (uint16_t)(ids[0] | ids[1] << 8);
	device->pci.device = (uint16_t)(ids[2] | ids[3] << 8);
	return 0;
}

int vfio_user_attach(int fd, const struct vfio_user_attach *how, struct pci_device **pci)
{
	struct vfio_user_device *device = calloc(1, sizeof(*device));
	int err;

	if (!device) {
		close(fd);
		return ixy_fail(ENOMEM, "%s: out of memory", how->name);
	}
	snprintf(device->pci.name, sizeof(device->pci.name), "%s", how->name);
	device->pci.ops = &vfio_user_ops;
	device->pci.iova_mode = how->iova_mode;
	device->pci.doorbell_init = vfio_user_doorbell_init;
	err = vfio_user_channel_open(&device->channel, fd, device->pci.name, how->timeout_ms);
	if (err)
		goto fail_device;
	err = negotiate_version(device);
	if (err)
		goto fail_channel;
	err = get_device_info(device);
	if (err)
		goto fail_channel;
	err = get_ids(device);
	if (err)
		goto fail_channel;
	err = vfio_user_doorbells_open(device);
	if (err)
		goto fail_channel;
	device->channel.established = true;
	device->released = how->released;
	device->released_arg = how->arg;
	*pci = &device->pci;
	return 0;

fail_channel:
	vfio_user_channel_close(&device->channel);
fail_device:
	free(device);
	return err;
}

static int connect_to(const char *name, const char *path)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	struct timeval patience = {.tv_sec = 5}; /* a full backlog would block for ever */
	int fd, err;

	if (*path == '\0' || strlen(path) >= sizeof(address.sun_path))
		return ixy_fail(
			EINVAL, "%s: a socket path has 1 to %zu bytes", name, sizeof(address.sun_path) - 1);
	strcpy(address.sun_path, path);
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return ixy_fail(errno, "%s: socket: %s", name, strerror(errno));
	setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof(patience));
	if (connect(fd, (struct sockaddr *)&address, sizeof(address)) == 0)
		return fd;
	err = errno;
	close(fd);
	if (err == ENOENT || err == ECONNREFUSED)
		return ixy_fail(ENODEV,
			"%s: no server listens at %s: start one, e.g. ixy-softnic %s=dev:IFNAME", name, path,
			path);
	if (err == EAGAIN)
		return ixy_fail(ETIMEDOUT, "%s: the server accepts no connection", name);
	return ixy_fail(err, "%s: cannot connect: %s", name, strerror(err));
}

int vfio_user_open(
	const char *name, const char *path, const struct ixy_options *options, struct pci_device **pci)
{
	const struct vfio_user_attach how = {.name = name, .iova_mode = transport_iova(options, DMA_IOVA_VA)};
	int fd = connect_to(name, path);

	return fd < 0 ? fd : vfio_user_attach(fd, &how, pci);
}
