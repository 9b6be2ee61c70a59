/*
 * VFIO groups and containers (Documentation/driver-api/vfio.rst).
 *
 * Most of what goes wrong for a user goes wrong here: no IOMMU, a group that is only half free, permissions. Each has
 * a sentence of its own that says what to do.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <sys/ioctl.h>

#include "driver/error.h"
#include "driver/pci/vfio.h"

#define MAX_INFO 65536 /* longest answer of the kernel that we take */

static int call_kernel(int fd, unsigned long request, void *argument)
{
	return ioctl(fd, request, argument);
}

const char *vfio_root = "/dev/vfio";
int (*vfio_ioctl)(int fd, unsigned long request, void *argument) = call_kernel;

/* The groups that this process has open. */
static struct vfio_group *groups;
static pthread_mutex_t groups_lock = PTHREAD_MUTEX_INITIALIZER;

/* --- what the kernel tells ----------------------------------------------------------------------- */

const void *vfio_capability(const void *info, size_t size, uint32_t first, uint16_t id, size_t min)
{
	struct vfio_info_cap_header header;
	uint32_t offset = first;

	/* Each link leads on, so the loop ends. */
	while (offset && offset <= size && size - offset >= sizeof(header)) {
		const uint8_t *at = (const uint8_t *)info + offset;

		memcpy(&header, at, sizeof(header));
		if (header.id == id)
			return size - offset >= min ? at : NULL;
		if (header.next <= offset)
			break;
		offset = header.next;
	}
	return NULL;
}

int vfio_get_info(int fd, unsigned long request, const void *start, size_t size, void **out)
{
	/* The first member of all of them is argsz: room before the call, what is wanted after it. */
	uint32_t *info = NULL, wanted = (uint32_t)size, room = 0;

	do {
		void *larger = wanted <= MAX_INFO ? realloc(info, wanted) : NULL;

		if (!larger) {
			free(info);
			return wanted <= MAX_INFO ? -ENOMEM : -EPROTO;
		}
		info = larger;
		room = wanted;
		memset(info, 0, room);
		memcpy(info, start, size);
		*info = room;
		if (vfio_ioctl(fd, request, info) < 0) {
			int err = -errno;

			free(info);
			return err;
		}
		wanted = *info;
	} while (wanted > room);
	*info = room; /* a kernel that needs less does not make it smaller */
	*out = info;
	return 0;
}

/* --- what can be wrong --------------------------------------------------------------------------- */

static int fail_no_iommu(const char *name, const char *address)
{
	return ixy_fail(ENODEV,
		"%s: it is behind no IOMMU, which vfio-pci needs: switch VT-d or AMD-Vi on in the firmware "
		"and boot with intel_iommu=on (Intel); or go without: ixy-bind kernel %s",
		name, address);
}

static int fail_node(const char *name, const char *node, const char *address, int error)
{
	if (error == EACCES || error == EPERM)
		return ixy_fail(error, "%s: no permission for %s/%s: as root: chown USER %s/%s", name,
			vfio_root, node, vfio_root, node);
	if (error == EBUSY)
		return ixy_fail(EBUSY,
			"%s: its IOMMU group is in use by another program: fuser -v %s/%s tells which", name,
			vfio_root, node);
	if (error == ENOENT || error == ENODEV)
		return ixy_fail(ENODEV,
			"%s: there is no %s/%s: modprobe vfio-pci, then bind it again: ixy-bind vfio %s",
			name, vfio_root, node, address);
	return ixy_fail(error, "%s: %s/%s: %s", name, vfio_root, node, strerror(error));
}

/* The kernel's drivers that may stay in a group that is handed out, because they do no DMA. */
static bool harmless(const char *driver)
{
	return strncmp(driver, "vfio", 4) == 0 || strcmp(driver, "pci-stub") == 0 ||
	       strcmp(driver, "pcieport") == 0;
}

/* Names the functions of the group that a kernel driver has. */
static int fail_not_viable(const char *name, const struct vfio_group *group, int dir)
{
	char others[160] = "", first[SYSFS_ADDRESS_SIZE] = "ADDRESS";
	int devices = openat(dir, "iommu_group/devices", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	DIR *list = devices < 0 ? NULL : fdopendir(devices);
	struct dirent *entry;
	size_t used = 0;

	while (list && (entry = readdir(list))) {
		char path[sizeof(entry->d_name) + 8], driver[SYSFS_NAME_SIZE];

		snprintf(path, sizeof(path), "%s/driver", entry->d_name);
		if (entry->d_name[0] == '.' || sysfs_link(devices, path, driver, sizeof(driver)) < 0 ||
			harmless(driver))
			continue;
		if (!used)
			snprintf(first, sizeof(first), "%.*s", (int)sizeof(first) - 1, entry->d_name);
		used += (size_t)snprintf(others + used, sizeof(others) - used, "%s%.40s (%.40s)",
			used ? ", " : "", entry->d_name, driver);
		if (used >= sizeof(others) - 1)
			break;
	}
	if (list)
		closedir(list);
	else if (devices >= 0)
		close(devices);
	return ixy_fail(EBUSY,
		"%s: its IOMMU group %s cannot be handed out while kernel drivers have others of it: %s: "
		"give them to vfio-pci, too: ixy-bind vfio %s",
		name, group->number, used ? others : "see /sys/kernel/iommu_groups", first);
}

static int fail_attach(const char *name, int error)
{
	if (error == EPERM)
		return ixy_fail(EPERM,
			"%s: the platform does not remap interrupts, so a device could forge them (see "
			"dmesg): switch it on in the firmware, or, where you trust this one: "
			"echo 1 > /sys/module/vfio_iommu_type1/parameters/allow_unsafe_interrupts",
			name);
	return ixy_fail(error, "%s: cannot attach it to the IOMMU: %s", name, strerror(error));
}

/* --- a group's life ------------------------------------------------------------------------------ */

static int open_node(const char *name, const char *node, const char *address)
{
	char path[256];
	int fd;

	snprintf(path, sizeof(path), "%s/%s", vfio_root, node);
	fd = open(path, O_RDWR | O_CLOEXEC);
	return fd < 0 ? fail_node(name, node, address, errno) : fd;
}

static int open_container(const char *name, const char *address)
{
	int fd = open_node(name, "vfio", address);
	int version;

	if (fd < 0)
		return fd;
	version = vfio_ioctl(fd, VFIO_GET_API_VERSION, NULL);
	if (version == VFIO_API_VERSION)
		return fd;
	close(fd);
	return ixy_fail(EPROTO, "%s: this kernel's VFIO is of version %d, ours of %d", name, version,
		VFIO_API_VERSION);
}

/* Put an IOMMU behind the container, once a group is in it. */
static int set_iommu(int container, const char *name)
{
	/* Version 2 only adds that a map may not be taken away in parts, which we never do. */
	static const unsigned long types[] = {VFIO_TYPE1v2_IOMMU, VFIO_TYPE1_IOMMU};

	for (size_t i = 0; i < sizeof(types) / sizeof(types[0]); i++) {
		if (vfio_ioctl(container, VFIO_CHECK_EXTENSION, (void *)types[i]) <= 0)
			continue;
		return vfio_ioctl(container, VFIO_SET_IOMMU, (void *)types[i]) < 0 ? fail_attach(name, errno)
										   : 0;
	}
	return ixy_fail(ENODEV, "%s: VFIO has no driver for this IOMMU: modprobe vfio_iommu_type1", name);
}

static int check_viable(const struct vfio_group *group, const char *name, int dir)
{
	struct vfio_group_status status = {.argsz = sizeof(status)};

	if (vfio_ioctl(group->fd, VFIO_GROUP_GET_STATUS, &status) < 0)
		return ixy_fail(errno, "%s: IOMMU group %s: %s", name, group->number, strerror(errno));
	if (!(status.flags & VFIO_GROUP_FLAGS_VIABLE))
		return fail_not_viable(name, group, dir);
	return 0;
}

static int open_group(const char *name, const char *address, int dir, struct vfio_group *group)
{
	int err;

	group->container = open_container(name, address);
	if (group->container < 0)
		return group->container;
	group->fd = open_node(name, group->number, address);
	if (group->fd < 0) {
		err = group->fd;
		goto fail_container;
	}
	err = check_viable(group, name, dir);
	if (err)
		goto fail_group;
	if (vfio_ioctl(group->fd, VFIO_GROUP_SET_CONTAINER, &group->container) < 0) {
		err = ixy_fail(errno, "%s: IOMMU group %s: %s", name, group->number, strerror(errno));
		goto fail_group;
	}
	err = set_iommu(group->container, name);
	if (err)
		goto fail_attached;
	err = vfio_iommu_read(group, name, dir);
	if (err)
		goto fail_attached;
	return 0;

fail_attached:
	vfio_ioctl(group->fd, VFIO_GROUP_UNSET_CONTAINER, NULL);
fail_group:
	close(group->fd);
fail_container:
	close(group->container);
	return err;
}

static void close_group(struct vfio_group *group)
{
	vfio_ioctl(group->fd, VFIO_GROUP_UNSET_CONTAINER, NULL);
	close(group->fd);
	close(group->container);
}

static struct vfio_group *find_group(const char *number)
{
	for (struct vfio_group *group = groups; group; group = group->next)
		if (strcmp(group->number, number) == 0)
			return group;
	return NULL;
}

/* Open the group and put it into the list. NULL with *err on failure. */
static struct vfio_group *new_group(
	const char *name, const char *address, const char *number, int dir, int *err)
{
	struct vfio_group *group = calloc(1, sizeof(*group));

	if (!group) {
		*err = ixy_fail(ENOMEM, "%s: out of memory", name);
		return NULL;
	}
	snprintf(group->number, sizeof(group->number), "%s", number);
	*err = open_group(name, address, dir, group);
	if (*err) {
		free(group);
		return NULL;
	}
	group->next = groups;
	groups = group;
	return group;
}

int vfio_group_get(const char *name, const char *address, int dir, struct vfio_group **out)
{
	char number[SYSFS_NAME_SIZE];
	struct vfio_group *group;
	int err = 0;

	if (sysfs_link(dir, "iommu_group", number, sizeof(number)) < 0)
		return fail_no_iommu(name, address);
	pthread_mutex_lock(&groups_lock);
	group = find_group(number);
	if (!group)
		group = new_group(name, address, number, dir, &err);
	if (group) {
		group->users++;
		*out = group;
	}
	pthread_mutex_unlock(&groups_lock);
	return err;
}

void vfio_group_put(struct vfio_group *group)
{
	pthread_mutex_lock(&groups_lock);
	if (--group->users == 0) {
		struct vfio_group **link = &groups;

		while (*link != group)
			link = &(*link)->next;
		*link = group->next;
		close_group(group);
		free(group);
	}
	pthread_mutex_unlock(&groups_lock);
}
