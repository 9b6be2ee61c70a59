/*
 * The interfaces of a PCI function are the entries of its net/ directory, or of that of the virtio device on it; what
 * the system does with them is asked from the network stack.
 */
#include "driver/pci/sysfs_live.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "driver/error.h"
#include "driver/ifaddr.h"

/* The bridge or bond that it is a port of. */
static bool find_master(int net, const char *interface, char *master, size_t size)
{
	char path[sizeof(((struct dirent *)0)->d_name) + 8], target[256];
	const char *slash;
	ssize_t length;

	snprintf(path, sizeof(path), "%s/master", interface);
	length = readlinkat(net, path, target, sizeof(target) - 1);
	if (length <= 0)
		return false;
	target[length] = '\0';
	slash = strrchr(target, '/');
	snprintf(master, size, "%s", slash ? slash + 1 : target);
	return true;
}

static int refuse_interface(int net, const char *name, const char *interface)
{
	char text[256];

	if (ifaddr_find(interface, true, text, sizeof(text)))
		return ixy_fail(EBUSY,
			"%s is the live interface %s with the address %s: "
			"take it down first (ip link set %s down), or take the NIC away from it with --force",
			name, interface, text, interface);
	if (find_master(net, interface, text, sizeof(text)))
		return ixy_fail(EBUSY,
			"%s is the interface %s, a port of %s: "
			"take it out first (ip link set %s nomaster), or take the NIC away from it with "
			"--force",
			name, interface, text, interface);
	return 0;
}

/* A second descriptor of dir to read its entries by; NULL with errno. */
static DIR *list_of(int dir)
{
	int copy = openat(dir, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	DIR *list = copy < 0 ? NULL : fdopendir(copy);

	if (copy >= 0 && !list)
		close(copy);
	return list;
}

/* The function's net/, or that of its virtioN/, which a virtio NIC has in between. Negative: none. */
static int open_net(int dir)
{
	int net = openat(dir, "net", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	struct dirent *entry;
	DIR *list;

	if (net >= 0)
		return net;
	list = list_of(dir);
	while (list && net < 0 && (entry = readdir(list))) {
		char path[sizeof(entry->d_name) + 8];

		if (strncmp(entry->d_name, "virtio", strlen("virtio")) != 0)
			continue;
		snprintf(path, sizeof(path), "%s/net", entry->d_name);
		net = openat(dir, path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	}
	if (list)
		closedir(list);
	return net;
}

int sysfs_refuse_live(int dir, const char *name)
{
	int net = open_net(dir), err = 0;
	bool empty = true;
	struct dirent *entry;
	DIR *list;

	if (net < 0)
		return 0; /* its driver is none for networks, or it has no driver */
	list = list_of(net);
	if (!list) {
		err = ixy_fail(errno, "%s: cannot list its interfaces: %s", name, strerror(errno));
		close(net);
		return err;
	}
	while (!err && (entry = readdir(list))) {
		if (entry->d_name[0] == '.')
			continue;
		empty = false;
		err = refuse_interface(net, name, entry->d_name);
	}
	closedir(list);
	close(net);
	/* sysfs shows the interfaces of its own network namespace only. */
	if (empty)
		err = ixy_fail(EBUSY,
			"%s: its interface is in another network namespace: "
			"move it back first, or take the NIC away from it with --force",
			name);
	return err;
}
