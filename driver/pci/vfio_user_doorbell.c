/*
 * Doorbells of a vfio-user device: how a tail register becomes a plain store.
 *
 * In order of preference:
 *   1. Shadow memory with an eventfd (GET_REGION_IO_FDS, type IOEVENTFD_SHADOW): the store goes to memory
 *      that the server polls, and the eventfd wakes it if it sleeps.
 *   2. A page of BAR 0 that the server lets be mapped (the sparse mmap capability of GET_REGION_INFO), for a
 *      server that polls without sleeping.
 *   3. A message a write.
 *
 * Memory of another process is a danger even for stores: if the file behind it shrinks, an access beyond its
 * end is SIGBUS. So it must be large enough now, and be sealed against shrinking later (a memfd with
 * F_SEAL_SHRINK); memory that is not is left alone, and its doorbells become messages.
 */
#include "driver/pci/vfio_user.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <sys/mman.h>
#include <sys/stat.h>

#include "driver/error.h"

#define MAX_CAPABILITIES 16
#define MAX_MAPPED       ((uint64_t)16 << 20) /* bytes of one offered memory that are worth mapping */

/* --- other processes' descriptors ---------------------------------------------------------------- */

/* Some other kind of descriptor could block the data path, or raise SIGPIPE. */
static bool is_eventfd(int fd)
{
	char path[32], target[32];
	ssize_t length;

	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	length = readlink(path, target, sizeof(target) - 1);
	if (length < 0)
		return false;
	target[length] = '\0';
	return strcmp(target, "anon_inode:[eventfd]") == 0;
}

/* Can [offset, offset + size) of fd be mapped and stay there? */
static bool is_lasting_memory(int fd, uint64_t offset, uint64_t size)
{
	struct stat stat;
	int seals = fcntl(fd, F_GET_SEALS);

	return seals >= 0 && (seals & F_SEAL_SHRINK) && fstat(fd, &stat) == 0 && stat.st_size >= 0 &&
	       offset <= (uint64_t)stat.st_size && size <= (uint64_t)stat.st_size - offset;
}

static void *map_shared(int fd, uint64_t offset, uint64_t size)
{
	void *virt = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, (off_t)offset);

	return virt == MAP_FAILED ? NULL : virt;
}

/* --- mapped pages of BAR 0 ----------------------------------------------------------------------- */

/*
 * Find the sparse mmap capability in the chain that starts at info->cap_offset. Returns its offset in
 * payload, 0 if there is none, or -EPROTO. size: what the server sent.
 */
static long find_sparse(struct vfio_user_device *device, const uint8_t *payload, size_t size)
{
	struct vfio_region_info info;
	uint32_t offset;

	memcpy(&info, payload, sizeof(info));
	if (!(info.flags & VFIO_REGION_INFO_FLAG_CAPS))
		return 0;
	offset = info.cap_offset;
	for (unsigned n = 0; offset != 0; n++) {
		struct vfio_info_cap_header header;

		if (n == MAX_CAPABILITIES)
			return vfio_user_breach(
				&device->channel, "the capabilities of BAR 0 go round in circles");
		if (offset < sizeof(info) || offset > size || size - offset < sizeof(header))
			return vfio_user_breach(
				&device->channel, "a capability of BAR 0 lies outside of its message");
		memcpy(&header, payload + offset, sizeof(header));
		if (header.id == VFIO_REGION_INFO_CAP_SPARSE_MMAP)
			return (long)offset;
		offset = header.next;
	}
	return 0;
}

static int add_mapping(struct vfio_user_device *device, int fd, const struct vfio_region_info *info,
	const struct vfio_region_sparse_mmap_area *area)
{
	struct vfio_user_doorbells *doorbells = &device->doorbells;
	uint64_t page_mask = (uint64_t)sysconf(_SC_PAGESIZE) - 1;
	struct vfio_user_mapping *grown;
	void *virt;

	if (area->offset > info->size || area->size > info->size - area->offset ||
		area->offset > UINT64_MAX / 2 || info->offset > UINT64_MAX / 4)
		return vfio_user_breach(&device->channel, "a mappable part of BAR 0 lies outside of it");
	if (area->size == 0 || area->size > MAX_MAPPED || ((area->offset | info->offset) & page_mask))
		return 0;
	if (!is_lasting_memory(fd, info->offset + area->offset, area->size)) {
		ixy_log(IXY_LOG_WARNING,
			"%s: the server's BAR memory is too short or not sealed against shrinking, so it is "
			"not mapped",
			device->pci.name);
		return 0;
	}
	grown = realloc(doorbells->mappings, (doorbells->mapping_count + 1) * sizeof(*grown));
	if (!grown)
		return ixy_fail(ENOMEM, "%s: out of memory", device->pci.name);
	doorbells->mappings = grown;
	virt = map_shared(fd, info->offset + area->offset, area->size);
	if (!virt)
		return ixy_fail(errno, "%s: cannot map BAR 0: %s", device->pci.name, strerror(errno));
	grown[doorbells->mapping_count++] =
		(struct vfio_user_mapping){.offset = area->offset, .virt = virt, .size = area->size};
	return 0;
}

static int map_areas(struct vfio_user_device *device, const uint8_t *payload, size_t size, int fd,
	const struct vfio_region_info *info)
{
	struct vfio_region_info_cap_sparse_mmap sparse;
	long capability = find_sparse(device, payload, size);
	size_t room;
	int err = 0;

	if (capability < 0)
		return (int)capability;
	if (capability == 0) {
		struct vfio_region_sparse_mmap_area whole = {.offset = 0, .size = info->size};

		return add_mapping(device, fd, info, &whole);
	}
	room = size - (size_t)capability;
	if (room < sizeof(sparse))
		return vfio_user_breach(&device->channel, "a sparse mmap capability is cut short");
	memcpy(&sparse, payload + capability, sizeof(sparse));
	if (sparse.nr_areas > (room - sizeof(sparse)) / sizeof(sparse.areas[0]))
		return vfio_user_breach(&device->channel, "a sparse mmap capability is cut short");
	for (uint32_t i = 0; i < sparse.nr_areas && !err; i++) {
		struct vfio_region_sparse_mmap_area area;

		memcpy(&area, payload + (size_t)capability + sizeof(sparse) + i * sizeof(area), sizeof(area));
		err = add_mapping(device, fd, info, &area);
	}
	return err;
}

static int open_bar0(struct vfio_user_device *device)
{
	uint8_t payload[VFIO_USER_MAX_PAYLOAD];
	struct vfio_region_info info = {.argsz = sizeof(payload), .index = VFIO_PCI_BAR0_REGION_INDEX};
	struct vfio_user_request request = {
		.command = VFIO_USER_DEVICE_GET_REGION_INFO, .data = &info, .size = sizeof(info)};
	struct vfio_user_reply reply = {
		.data = payload, .min = sizeof(info), .capacity = sizeof(payload), .wants_fds = true};
	int err = vfio_user_call(&device->channel, &request, &reply);

	if (err)
		return err;
	memcpy(&info, payload, sizeof(info));
	if (info.index != VFIO_PCI_BAR0_REGION_INDEX)
		err = vfio_user_breach(
			&device->channel, "region %u answered where BAR 0 was asked", info.index);
	else if (info.size == 0)
		err = ixy_fail(ENODEV, "%s: the device has no BAR 0", device->pci.name);
	else if ((info.flags & VFIO_REGION_INFO_FLAG_MMAP) && (info.flags & VFIO_REGION_INFO_FLAG_WRITE) &&
		 reply.fd_count > 0)
		err = map_areas(device, payload, reply.size, reply.fds[0], &info);
	device->pci.bars[0].size = info.size;
	vfio_user_close_fds(&reply);
	return err;
}

/* --- shadows ------------------------------------------------------------------------------------- */

/* Memory and eventfds may be shared by many sub-regions: each descriptor is taken into use once. */
struct taken {
	uint8_t *memory[VFIO_USER_MAX_MSG_FDS];
	size_t memory_size[VFIO_USER_MAX_MSG_FDS];
	bool refused[VFIO_USER_MAX_MSG_FDS];
	bool eventfd[VFIO_USER_MAX_MSG_FDS];
};

static void take_memory(struct vfio_user_device *device, int fd, uint32_t index, struct taken *taken)
{
	struct vfio_user_doorbells *doorbells = &device->doorbells;
	struct stat stat;

	if (taken->memory[index] || taken->refused[index])
		return;
	taken->refused[index] = true;
	if (fstat(fd, &stat) < 0 || stat.st_size <= 0 || (uint64_t)stat.st_size > MAX_MAPPED ||
		!is_lasting_memory(fd, 0, (uint64_t)stat.st_size)) {
		ixy_log(IXY_LOG_WARNING,
			"%s: the server's doorbell memory is not a memfd sealed against shrinking, so "
			"doorbells go by message",
			device->pci.name);
		return;
	}
	taken->memory[index] = map_shared(fd, 0, (uint64_t)stat.st_size);
	if (!taken->memory[index])
		return;
	taken->refused[index] = false;
	taken->memory_size[index] = (size_t)stat.st_size;
	doorbells->memory[doorbells->memory_count++] =
		(struct vfio_user_mapping){.virt = taken->memory[index], .size = (size_t)stat.st_size};
}

/* Without the wake-up extension the eventfd is written after each store. */
static const uint32_t always_wanted = 1;

static int add_shadow(struct vfio_user_device *device, const struct vfio_user_io_fd *io,
	const struct vfio_user_reply *reply, struct taken *taken)
{
	struct vfio_user_doorbells *doorbells = &device->doorbells;
	size_t size = device->shadow_wakeup ? 2 * sizeof(uint32_t) : sizeof(uint32_t);
	uint32_t fd, memory;

	/* The other types carry no value, or not through memory: no use for a tail register. */
	if (io->type != VFIO_USER_IO_FD_IOEVENTFD_SHADOW)
		return 0;
	/* Copied once, so that the checked index is the one that is used. */
	fd = io->fd_index;
	memory = io->shadow_fd_index;
	if (fd >= reply->fd_count || memory >= reply->fd_count)
		return vfio_user_breach(
			&device->channel, "a doorbell names a file descriptor that did not come");
	if (device->pci.bars[0].size < sizeof(uint32_t) ||
		io->offset > device->pci.bars[0].size - sizeof(uint32_t))
		return vfio_user_breach(&device->channel, "a doorbell lies outside of BAR 0");
	if (io->size != sizeof(uint32_t) || io->offset % sizeof(uint32_t) ||
		io->shadow_offset % sizeof(uint32_t))
		return 0;
	if (!is_eventfd(reply->fds[fd]))
		return vfio_user_breach(&device->channel, "the descriptor of a doorbell is no eventfd");
	take_memory(device, reply->fds[memory], memory, taken);
	if (taken->refused[memory])
		return 0;
	if (taken->memory_size[memory] < size || io->shadow_offset > taken->memory_size[memory] - size)
		return vfio_user_breach(
			&device->channel, "the shadow of a doorbell lies outside of its memory");

	volatile uint32_t *reg = (volatile uint32_t *)(taken->memory[memory] + io->shadow_offset);

	taken->eventfd[fd] = true;
	doorbells->shadows[doorbells->shadow_count++] = (struct vfio_user_shadow){
		.offset = io->offset,
		.reg = reg,
		.wanted = device->shadow_wakeup ? reg + 1 : &always_wanted,
		.eventfd = reply->fds[fd],
	};
	return 0;
}

/* The descriptors in use stay open; those of them that would block are made not to. */
static void keep_eventfds(
	struct vfio_user_doorbells *doorbells, struct vfio_user_reply *reply, struct taken *taken)
{
	for (uint32_t i = 0; i < reply->fd_count; i++) {
		if (!taken->eventfd[i])
			continue;
		int flags = fcntl(reply->fds[i], F_GETFL);

		if (flags >= 0)
			fcntl(reply->fds[i], F_SETFL, flags | O_NONBLOCK);
		doorbells->eventfds[doorbells->eventfd_count++] = reply->fds[i];
		reply->fds[i] = -1;
	}
}

static int open_shadows(struct vfio_user_device *device)
{
	struct vfio_user_doorbells *doorbells = &device->doorbells;
	uint8_t payload[VFIO_USER_MAX_PAYLOAD];
	struct vfio_user_io_fds head = {.argsz = sizeof(payload), .index = VFIO_PCI_BAR0_REGION_INDEX};
	struct vfio_user_request request = {
		.command = VFIO_USER_DEVICE_GET_REGION_IO_FDS, .data = &head, .size = sizeof(head)};
	struct vfio_user_reply reply = {
		.data = payload, .min = sizeof(head), .capacity = sizeof(payload), .wants_fds = true};
	struct taken taken = {.memory = {NULL}};
	int err = vfio_user_call(&device->channel, &request, &reply);

	/* Optional in the protocol: a server without it answers with an error, and lives on. */
	if (err)
		return vfio_user_gone(&device->channel) ? err : 0;
	memcpy(&head, payload, sizeof(head));
	if (head.index != VFIO_PCI_BAR0_REGION_INDEX ||
		head.count > (reply.size - sizeof(head)) / sizeof(struct vfio_user_io_fd)) {
		err = vfio_user_breach(
			&device->channel, "%u doorbells in a message of %zu bytes", head.count, reply.size);
		goto out;
	}
	if (head.count == 0)
		goto out;
	doorbells->shadows = calloc(head.count, sizeof(doorbells->shadows[0]));
	doorbells->memory = calloc(VFIO_USER_MAX_MSG_FDS, sizeof(doorbells->memory[0]));
	doorbells->eventfds = calloc(VFIO_USER_MAX_MSG_FDS, sizeof(doorbells->eventfds[0]));
	if (!doorbells->shadows || !doorbells->memory || !doorbells->eventfds) {
		err = ixy_fail(ENOMEM, "%s: out of memory", device->pci.name);
		goto out;
	}
	for (uint32_t i = 0; i < head.count && !err; i++) {
		struct vfio_user_io_fd io;

		memcpy(&io, payload + sizeof(head) + i * sizeof(io), sizeof(io));
		err = add_shadow(device, &io, &reply, &taken);
	}
	keep_eventfds(doorbells, &reply, &taken);

out:
	vfio_user_close_fds(&reply);
	return err;
}

/* --- together ------------------------------------------------------------------------------------ */

int vfio_user_doorbells_open(struct vfio_user_device *device)
{
	int err = open_bar0(device);

	if (!err)
		err = open_shadows(device);
	if (err)
		vfio_user_doorbells_close(&device->doorbells);
	return err;
}

void vfio_user_doorbells_close(struct vfio_user_doorbells *doorbells)
{
	for (uint32_t i = 0; i < doorbells->eventfd_count; i++)
		close(doorbells->eventfds[i]);
	for (uint32_t i = 0; i < doorbells->memory_count; i++)
		munmap(doorbells->memory[i].virt, doorbells->memory[i].size);
	for (uint32_t i = 0; i < doorbells->mapping_count; i++)
		munmap(doorbells->mappings[i].virt, doorbells->mappings[i].size);
	free(doorbells->eventfds);
	free(doorbells->memory);
	free(doorbells->mappings);
	free(doorbells->shadows);
	memset(doorbells, 0, sizeof(*doorbells));
}

void vfio_user_doorbell_init(struct pci_device *pci, uint32_t offset, struct pci_doorbell *doorbell)
{
	const struct vfio_user_doorbells *doorbells = &((struct vfio_user_device *)pci)->doorbells;

	*doorbell = (struct pci_doorbell){.eventfd = -1, .offset = offset, .pci = pci};
	for (uint32_t i = 0; i < doorbells->shadow_count; i++) {
		const struct vfio_user_shadow *shadow = &doorbells->shadows[i];

		if (shadow->offset == offset) {
			doorbell->reg = shadow->reg;
			doorbell->wanted = shadow->wanted;
			doorbell->eventfd = shadow->eventfd;
			return;
		}
	}
	for (uint32_t i = 0; i < doorbells->mapping_count; i++) {
		const struct vfio_user_mapping *mapping = &doorbells->mappings[i];

		if (offset >= mapping->offset && mapping->size >= sizeof(uint32_t) &&
			offset - mapping->offset <= mapping->size - sizeof(uint32_t)) {
			doorbell->reg = (volatile uint32_t *)(mapping->virt + (offset - mapping->offset));
			return;
		}
	}
}
