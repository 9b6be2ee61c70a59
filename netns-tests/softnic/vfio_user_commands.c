/*
 * What the vfio-user commands do: a table of handlers, each of which gets a whole message.
 *
 * The payload has the length that the header says, nothing else is known about it: each handler has a least
 * size in the table, and checks every field by itself, ranges by subtraction. A handler that wants the
 * command's descriptors takes them out of server->in_fds; what it leaves is closed by the caller.
 */
#include "vfio_user.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "log.h"

#define REGIONS VFIO_PCI_NUM_REGIONS
#define IRQS    VFIO_PCI_NUM_IRQS

#define MSIX_ENTRY_CONTROL 12 /* offset in an entry of the MSI-X table; 1: masked */

/* Pages of BAR 0 that a client may map: queue registers, which have no side effects when read. */
static const struct vfio_region_sparse_mmap_area mappable[] = {
	{.offset = 0x1000, .size = 0x1000}, /* receive queues 0..63 */
	{.offset = 0x6000, .size = 0x1000}, /* transmit queues 0..63 */
	{.offset = 0xD000, .size = 0x1000}, /* receive queues 64..127 */
};
#define MAPPABLE (sizeof mappable / sizeof mappable[0])

/* --- command payload in, reply payload out ------------------------------------------------------------------- */

static void *payload(struct vfio_server *server)
{
	return server->in.bytes + sizeof server->in.header;
}

static size_t payload_size(const struct vfio_server *server)
{
	return server->in_size - sizeof server->in.header;
}

/* Room for size bytes more in the reply, zeroed; NULL if the client (or we) cannot take so long a message. */
static void *reply(struct vfio_server *server, size_t size)
{
	uint64_t limit =
		server->max_size < VFIO_USER_MAX_MSG_SIZE ? server->max_size : VFIO_USER_MAX_MSG_SIZE;
	if (server->out_size > limit || size > limit - server->out_size)
		return NULL;
	void *data = server->out.bytes + server->out_size;
	memset(data, 0, size);
	server->out_size += size;
	return data;
}

static void reply_fd(struct vfio_server *server, int fd)
{
	server->out_fds[server->out_fd_count++] = fd;
}

/* --- VERSION ------------------------------------------------------------------------------------------------- */

static size_t skip_space(const char *json, size_t size, size_t at)
{
	while (at < size && (json[at] == ' ' || json[at] == '\t' || json[at] == '\n' || json[at] == '\r'))
		at++;
	return at;
}

static uint64_t json_value(const char *json, size_t size, size_t at, uint64_t missing)
{
	if (size - at >= 4 && memcmp(json + at, "true", 4) == 0)
		return 1;
	if (size - at >= 5 && memcmp(json + at, "false", 5) == 0)
		return 0;
	if (at == size || json[at] < '0' || json[at] > '9')
		return missing;
	uint64_t number = 0;
	for (; at < size && json[at] >= '0' && json[at] <= '9'; at++)
		number = number > UINT32_MAX ? number : number * 10 + (uint64_t)(json[at] - '0');
	return number;
}

uint64_t vfio_server_json_number(const char *json, size_t size, const char *key, uint64_t missing)
{
	size_t length = strlen(key);
	size_t at = 0;
	while (at < size) {
		if (json[at++] != '"')
			continue;
		size_t start = at; /* of a string, which is a key if a colon follows */
		while (at < size && json[at] != '"')
			at += json[at] == '\\' ? 2 : 1;
		if (at >= size)
			return missing;
		size_t end = at++;
		size_t colon = skip_space(json, size, at);
		if (end - start == length && memcmp(json + start, key, length) == 0 && colon < size &&
			json[colon] == ':')
			return json_value(json, size, skip_space(json, size, colon + 1), missing);
	}
	return missing;
}

static int version(struct vfio_server *server)
{
	const struct vfio_user_version *theirs = payload(server);
	const char *json = (const char *)(theirs + 1);
	size_t size = payload_size(server) - sizeof *theirs;
	if (server->negotiated)
		return -EINVAL;
	if (theirs->major != VFIO_USER_MAJOR) {
		softnic_error("%s: client speaks vfio-user %u.%u, this is %d.%d: disconnected", server->name,
			theirs->major, theirs->minor, VFIO_USER_MAJOR, VFIO_USER_MINOR);
		server->closing = true;
		return -EPROTONOSUPPORT;
	}
	if (size && json[size - 1] != '\0') {
		softnic_error("%s: client's version data is not terminated: disconnected", server->name);
		server->closing = true;
		return -EINVAL;
	}
	/* The defaults are the protocol's, for a client that does not say. */
	server->max_fds = vfio_server_json_number(json, size, "max_msg_fds", 1);
	server->max_size = vfio_server_json_number(json, size, "max_msg_size", 4096);
	server->shadow_wakeup = vfio_server_json_number(json, size, "shadow_wakeup", 0);

	char ours[256];
	int length = snprintf(ours, sizeof ours,
		"{\"capabilities\":{\"max_msg_fds\":%d,\"max_msg_size\":%d,\"max_data_xfer_size\":%zu%s}}",
		VFIO_USER_MAX_MSG_FDS, VFIO_USER_MAX_MSG_SIZE,
		VFIO_USER_MAX_MSG_SIZE - sizeof(struct vfio_user_header) -
			sizeof(struct vfio_user_region_access),
		server->shadow_wakeup ? ",\"shadow_wakeup\":true" : "");
	struct vfio_user_version *mine = reply(server, sizeof *mine + (size_t)length + 1);
	if (!mine) {
		softnic_error("%s: client takes messages of %" PRIu64 " bytes only: disconnected",
			server->name, server->max_size);
		server->closing = true;
		return -EINVAL;
	}
	mine->major = VFIO_USER_MAJOR;
	mine->minor = theirs->minor < VFIO_USER_MINOR ? theirs->minor : VFIO_USER_MINOR;
	memcpy(mine + 1, ours, (size_t)length + 1);
	server->negotiated = true;
	return 0;
}

/* --- what there is --------------------------------------------------------------------------------------------- */

struct device_info { /* struct vfio_device_info as it was first: the protocol has no capabilities here */
	uint32_t argsz, flags, num_regions, num_irqs;
};

static int get_info(struct vfio_server *server)
{
	const struct device_info *request = payload(server);
	if (request->argsz < sizeof *request)
		return -EINVAL;
	struct device_info *info = reply(server, sizeof *info);
	if (!info)
		return -E2BIG;
	*info = (struct device_info){
		.argsz = sizeof *info,
		.flags = VFIO_DEVICE_FLAGS_RESET | VFIO_DEVICE_FLAGS_PCI,
		.num_regions = REGIONS,
		.num_irqs = IRQS,
	};
	return 0;
}

static uint64_t region_size(uint32_t region)
{
	switch (region) {
	case VFIO_PCI_BAR0_REGION_INDEX: return NIC_BAR0_SIZE;
	case VFIO_PCI_BAR0_REGION_INDEX + NIC_MSIX_BAR: return NIC_MSIX_SIZE;
	case VFIO_PCI_CONFIG_REGION_INDEX: return NIC_CONFIG_SIZE;
	default: return 0;
	}
}

static int get_region_info(struct vfio_server *server)
{
	const struct vfio_region_info *request = payload(server);
	uint32_t index = request->index, argsz = request->argsz;
	if (argsz < sizeof *request || index >= REGIONS)
		return -EINVAL;
	struct vfio_region_info *info = reply(server, sizeof *info);
	if (!info)
		return -E2BIG;
	info->argsz = sizeof *info;
	info->index = index;
	info->size = region_size(index);
	if (info->size)
		info->flags = VFIO_REGION_INFO_FLAG_READ | VFIO_REGION_INFO_FLAG_WRITE;
	if (index != VFIO_PCI_BAR0_REGION_INDEX)
		return 0;

	struct vfio_region_info_cap_sparse_mmap *sparse;
	size_t caps = sizeof *sparse + sizeof mappable;
	info->flags |= VFIO_REGION_INFO_FLAG_MMAP | VFIO_REGION_INFO_FLAG_CAPS;
	info->argsz += (uint32_t)caps;
	if (argsz < info->argsz)
		return 0; /* the client asks again with that much room */
	sparse = reply(server, caps);
	if (!sparse)
		return -E2BIG;
	info->cap_offset = sizeof *info;
	sparse->header.id = VFIO_REGION_INFO_CAP_SPARSE_MMAP;
	sparse->header.version = 1;
	sparse->nr_areas = MAPPABLE;
	memcpy(sparse->areas, mappable, sizeof mappable);
	reply_fd(server, server->nic->regs_fd);
	server->nic->pages_mapped = true;
	return 0;
}

static int get_region_io_fds(struct vfio_server *server)
{
	const struct vfio_user_io_fds *request = payload(server);
	uint32_t index = request->index, argsz = request->argsz;
	if (argsz < sizeof *request || request->flags || index >= REGIONS)
		return -EINVAL;
	/* A doorbell needs two descriptors, eventfd and shadow memory; a client that takes fewer gets none. */
	bool doorbells = index == VFIO_PCI_BAR0_REGION_INDEX && server->max_fds >= VFIO_SERVER_REPLY_FDS;
	uint32_t count = doorbells ? VFIO_SERVER_DOORBELLS : 0;
	uint32_t needed = (uint32_t)(sizeof *request + count * sizeof(struct vfio_user_io_fd));

	struct vfio_user_io_fds *fds = reply(server, sizeof *fds);
	if (!fds)
		return -E2BIG;
	fds->argsz = needed;
	fds->index = index;
	if (argsz < needed || !count)
		return 0;
	struct vfio_user_io_fd *fd = reply(server, count * sizeof *fd);
	if (!fd)
		return -E2BIG;
	fds->count = count;
	for (uint32_t n = 0; n < count; n++)
		fd[n] = (struct vfio_user_io_fd){
			.offset = TDT(n),
			.size = sizeof(uint32_t),
			.fd_index = 0,
			.type = VFIO_USER_IO_FD_IOEVENTFD_SHADOW,
			.shadow_fd_index = 1,
			.shadow_offset = TDT(n),
		};
	reply_fd(server, server->doorbell_fd);
	reply_fd(server, server->nic->regs_fd);
	server->doorbells_given = true;
	return 0;
}

/* --- interrupts ------------------------------------------------------------------------------------------------ */

static int get_irq_info(struct vfio_server *server)
{
	const struct vfio_irq_info *request = payload(server);
	uint32_t index = request->index;
	if (request->argsz < sizeof *request || index >= IRQS)
		return -EINVAL;
	struct vfio_irq_info *info = reply(server, sizeof *info);
	if (!info)
		return -E2BIG;
	info->argsz = sizeof *info;
	info->index = index;
	if (index == VFIO_PCI_MSIX_IRQ_INDEX) {
		info->flags = VFIO_IRQ_INFO_EVENTFD | VFIO_IRQ_INFO_MASKABLE;
		info->count = NIC_MSIX_VECTORS;
	}
	return 0;
}

/*
 * The client hands over eventfds instead of writing the MSI-X table and its capability; but what is masked and
 * what is pending is kept there all the same (msix.c).
 */
static void mask_vector(struct vfio_server *server, uint32_t vector, bool masked)
{
	nic_msix_write32(
		server->nic, vector * (uint32_t)sizeof(struct nic_msix_entry) + MSIX_ENTRY_CONTROL, masked);
}

/* MSI-X is on while any vector has an eventfd. */
static void update_msix(struct vfio_server *server)
{
	bool any = false;
	for (unsigned vector = 0; vector < NIC_MSIX_VECTORS; vector++)
		any |= server->irq_fds[vector] >= 0;
	nic_msix_control(server->nic, any);
	nic_msix_update(server->nic);
}

void vfio_server_raise(void *context, unsigned vector)
{
	struct vfio_server *server = context;
	if (vector >= NIC_MSIX_VECTORS || server->irq_fds[vector] < 0)
		return;
	int result = event_signal(&server->signaller, server->irq_fds[vector]);
	if (result < 0)
		softnic_debug("%s: vector %u: %s", server->name, vector, strerror(-result));
}

void vfio_server_was_reset(void *context)
{
	struct vfio_server *server = context;
	for (uint32_t vector = 0; vector < NIC_MSIX_VECTORS; vector++)
		mask_vector(server, vector, server->irq_fds[vector] < 0);
	update_msix(server);
}

static void set_irq_fd(struct vfio_server *server, uint32_t vector, int fd)
{
	if (server->irq_fds[vector] >= 0)
		close(server->irq_fds[vector]);
	server->irq_fds[vector] = fd;
}

void vfio_server_irqs_reset(struct vfio_server *server)
{
	for (uint32_t vector = 0; vector < NIC_MSIX_VECTORS; vector++)
		set_irq_fd(server, vector, -1);
}

/* Eventfds for vectors start ..., or with no descriptors at all: take theirs away. */
static int set_irq_fds(struct vfio_server *server, uint32_t start, uint32_t count)
{
	if (server->in_fd_count != 0 && server->in_fd_count != count)
		return -EINVAL;
	for (unsigned i = 0; i < server->in_fd_count; i++)
		if (!event_is_eventfd(server->in_fds[i]))
			return -EINVAL;
	for (uint32_t i = 0; i < count; i++) {
		int fd = -1;
		if (server->in_fd_count) {
			fd = server->in_fds[i];
			server->in_fds[i] = -1;
		}
		set_irq_fd(server, start + i, fd);
		mask_vector(server, start + i, fd < 0);
	}
	update_msix(server);
	return 0;
}

/* Trigger, mask or unmask those of count vectors that chosen has a true byte for; NULL: all. */
static int act_on_vectors(
	struct vfio_server *server, uint32_t action, uint32_t start, uint32_t count, const uint8_t *chosen)
{
	for (uint32_t i = 0; i < count; i++) {
		if (chosen && !chosen[i])
			continue;
		if (action == VFIO_IRQ_SET_ACTION_TRIGGER)
			vfio_server_raise(server, start + i);
		else
			mask_vector(server, start + i, action == VFIO_IRQ_SET_ACTION_MASK);
	}
	return 0;
}

static int set_irqs(struct vfio_server *server)
{
	const struct vfio_irq_set *set = payload(server);
	uint32_t data = set->flags & VFIO_IRQ_SET_DATA_TYPE_MASK;
	uint32_t action = set->flags & VFIO_IRQ_SET_ACTION_TYPE_MASK;
	uint32_t count = set->count, start = set->start;
	if (set->flags & ~(VFIO_IRQ_SET_DATA_TYPE_MASK | VFIO_IRQ_SET_ACTION_TYPE_MASK) || !data ||
		data & (data - 1) || !action || action & (action - 1))
		return -EINVAL;
	if (set->index != VFIO_PCI_MSIX_IRQ_INDEX)
		/* The other kinds have no vectors; turning them off is what careful clients do at start. */
		return set->index < IRQS && count == 0 && data == VFIO_IRQ_SET_DATA_NONE ? 0 : -EINVAL;

	if (count == 0) {
		if (start || data != VFIO_IRQ_SET_DATA_NONE || action != VFIO_IRQ_SET_ACTION_TRIGGER)
			return -EINVAL;
		vfio_server_irqs_reset(server);
		update_msix(server);
		return 0;
	}
	if (start >= NIC_MSIX_VECTORS || count > NIC_MSIX_VECTORS - start)
		return -EINVAL;
	if (data == VFIO_IRQ_SET_DATA_EVENTFD)
		return action == VFIO_IRQ_SET_ACTION_TRIGGER ? set_irq_fds(server, start, count) : -ENOTSUP;
	if (data == VFIO_IRQ_SET_DATA_BOOL && payload_size(server) - sizeof *set < count)
		return -EINVAL;
	return act_on_vectors(
		server, action, start, count, data == VFIO_IRQ_SET_DATA_BOOL ? set->data : NULL);
}

/* --- region access --------------------------------------------------------------------------------------------- */

/* Config space takes 1, 2 and 4 bytes at a time; longer accesses go in pieces, as a bridge would split them. */
static void access_config(struct nic *nic, uint64_t offset, uint8_t *data, uint32_t count, bool write)
{
	while (count) {
		uint32_t size = count >= 4 && offset % 4 == 0 ? 4 : count >= 2 && offset % 2 == 0 ? 2 : 1;
		uint32_t value = 0;
		if (write) {
			memcpy(&value, data, size);
			nic_config_write(nic, (uint32_t)offset, size, value);
		} else {
			value = nic_config_read(nic, (uint32_t)offset, size);
			memcpy(data, &value, size);
		}
		offset += size;
		data += size;
		count -= size;
	}
}

static int access_region(struct vfio_server *server, bool write)
{
	struct vfio_user_region_access access;
	memcpy(&access, payload(server), sizeof access);
	uint64_t size = region_size(access.region);
	if (!access.count || access.offset >= size || access.count > size - access.offset)
		return -EINVAL;
	if (write && payload_size(server) - sizeof access != access.count)
		return -EINVAL;
	struct vfio_user_region_access *answer = reply(server, sizeof *answer + (write ? 0 : access.count));
	if (!answer)
		return -E2BIG;
	*answer = access;
	uint8_t *data = write ? (uint8_t *)payload(server) + sizeof access : (uint8_t *)(answer + 1);
	if (access.region != VFIO_PCI_CONFIG_REGION_INDEX)
		return nic_bar_access(server->nic, access.region, access.offset, data, access.count, write);
	access_config(server->nic, access.offset, data, access.count, write);
	return 0;
}

static int region_read(struct vfio_server *server)
{
	return access_region(server, false);
}

static int region_write(struct vfio_server *server)
{
	return access_region(server, true);
}

/* --- DMA, reset ------------------------------------------------------------------------------------------------ */

static int dma_map(struct vfio_server *server)
{
	const struct vfio_user_dma_map *map = payload(server);
	const uint32_t known = VFIO_USER_DMA_READABLE | VFIO_USER_DMA_WRITEABLE;
	if (map->argsz < sizeof *map || map->flags & ~known)
		return -EINVAL;
	if (server->in_fd_count == 0) {
		softnic_error("%s: client maps DMA memory at 0x%" PRIx64
			      " without a file descriptor, which would need DMA by "
			      "messages: refused",
			server->name, map->addr);
		return -ENOTSUP;
	}
	if (server->in_fd_count != 1)
		return -EINVAL;
	int fd = server->in_fds[0];
	server->in_fds[0] = -1;
	int result = nic_dma_map(server->nic, map->addr, map->size, fd, map->offset,
		map->flags & VFIO_USER_DMA_READABLE, map->flags & VFIO_USER_DMA_WRITEABLE);
	if (result < 0)
		softnic_error("%s: cannot map %" PRIu64 " bytes of the client's memory at 0x%" PRIx64 ": %s",
			server->name, map->size, map->addr, strerror(-result));
	return result;
}

static int dma_unmap(struct vfio_server *server)
{
	const struct vfio_user_dma_unmap *unmap = payload(server);
	struct vfio_user_dma_unmap *answer = reply(server, sizeof *answer);
	if (!answer)
		return -E2BIG;
	*answer = *unmap;
	if (unmap->argsz < sizeof *unmap)
		return -EINVAL;
	switch (unmap->flags) {
	case 0: return nic_dma_unmap(server->nic, unmap->addr, unmap->size);
	case VFIO_DMA_UNMAP_FLAG_ALL:
		if (unmap->addr || unmap->size)
			return -EINVAL;
		nic_dma_unmap_all(server->nic);
		return 0;
	default: return -ENOTSUP; /* dirty page tracking */
	}
}

static int device_reset(struct vfio_server *server)
{
	nic_reset_function(server->nic);
	return 0;
}

/* --- dispatch -------------------------------------------------------------------------------------------------- */

static const struct {
	int (*execute)(struct vfio_server *server);
	size_t least; /* bytes of payload */
} commands[] = {
	[VFIO_USER_VERSION] = {version, sizeof(struct vfio_user_version)},
	[VFIO_USER_DMA_MAP] = {dma_map, sizeof(struct vfio_user_dma_map)},
	[VFIO_USER_DMA_UNMAP] = {dma_unmap, sizeof(struct vfio_user_dma_unmap)},
	[VFIO_USER_DEVICE_GET_INFO] = {get_info, sizeof(struct device_info)},
	[VFIO_USER_DEVICE_GET_REGION_INFO] = {get_region_info, sizeof(struct vfio_region_info)},
	[VFIO_USER_DEVICE_GET_REGION_IO_FDS] = {get_region_io_fds, sizeof(struct vfio_user_io_fds)},
	[VFIO_USER_DEVICE_GET_IRQ_INFO] = {get_irq_info, sizeof(struct vfio_irq_info)},
	[VFIO_USER_DEVICE_SET_IRQS] = {set_irqs, sizeof(struct vfio_irq_set)},
	[VFIO_USER_REGION_READ] = {region_read, sizeof(struct vfio_user_region_access)},
	[VFIO_USER_REGION_WRITE] = {region_write, sizeof(struct vfio_user_region_access)},
	[VFIO_USER_DEVICE_RESET] = {device_reset, 0},
};

int vfio_server_execute(struct vfio_server *server)
{
	uint16_t command = server->in.header.command;
	if (!server->negotiated && command != VFIO_USER_VERSION) {
		softnic_error("%s: client's first message is command %u instead of VERSION: disconnected",
			server->name, command);
		server->closing = true;
		return -EPROTO;
	}
	if (command >= sizeof commands / sizeof commands[0] || !commands[command].execute)
		return -ENOTSUP;
	if (payload_size(server) < commands[command].least)
		return -EINVAL;
	return commands[command].execute(server);
}
