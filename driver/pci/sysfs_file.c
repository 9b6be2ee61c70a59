#include "driver/pci/sysfs_file.h"

#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>
#include <sys/file.h>

#include "driver/error.h"

const char *sysfs_root = "/sys";

/* --- addresses ----------------------------------------------------------------------------------- */

/* True if exactly count hex digits stand at *p; moves *p behind them. */
static bool hex_digits(const char **p, unsigned count)
{
	for (unsigned i = 0; i < count; i++)
		if (!isxdigit((unsigned char)*(*p)++))
			return false;
	return true;
}

bool sysfs_address(const char *text)
{
	const char *p = strchr(text, ':');

	/* With a domain there are two colons. */
	if (p && strchr(p + 1, ':')) {
		p = text;
		if (!hex_digits(&p, 4) || *p++ != ':')
			return false;
	} else {
		p = text;
	}
	return hex_digits(&p, 2) && *p++ == ':' && hex_digits(&p, 2) && *p++ == '.' && *p >= '0' &&
	       *p <= '7' && p[1] == '\0';
}

void sysfs_normalize(const char *text, char address[SYSFS_ADDRESS_SIZE])
{
	snprintf(address, SYSFS_ADDRESS_SIZE, "%s%.12s", strlen(text) == 7 ? "0000:" : "", text);
	for (char *p = address; *p; p++)
		*p = (char)tolower((unsigned char)*p);
}

int sysfs_open_function(const char *name, const char *address)
{
	char path[64];
	int dir;

	snprintf(path, sizeof(path), "bus/pci/devices/%s", address);
	dir = sysfs_open(path, O_PATH | O_DIRECTORY);
	if (dir < 0)
		return ixy_fail(
			ENODEV, "%s: no such PCI function; lspci -D lists those that there are", name);
	return dir;
}

int sysfs_lock(const char *name, int dir, int flags)
{
	int fd = openat(dir, "config", flags | O_CLOEXEC), error;

	if (fd < 0)
		return ixy_fail(errno, "%s: cannot open its config space: %s", name, strerror(errno));
	if (flock(fd, LOCK_EX | LOCK_NB) == 0)
		return fd;
	error = errno;
	close(fd);
	if (error == EWOULDBLOCK)
		return ixy_fail(EBUSY, "%s is in use by another userspace driver", name);
	return ixy_fail(error, "%s: cannot lock its config space: %s", name, strerror(error));
}

/* --- files --------------------------------------------------------------------------------------- */

int sysfs_open(const char *path, int flags)
{
	char full[512];
	int fd;

	if (snprintf(full, sizeof(full), "%s/%s", sysfs_root, path) >= (int)sizeof(full))
		return -ENAMETOOLONG;
	fd = open(full, flags | O_CLOEXEC);
	return fd < 0 ? -errno : fd;
}

int sysfs_read(int dir, const char *file, char *value, size_t size)
{
	int fd = openat(dir, file, O_RDONLY | O_CLOEXEC);
	ssize_t length;

	if (fd < 0)
		return -errno;
	length = read(fd, value, size - 1);
	if (length < 0)
		length = -errno;
	close(fd);
	if (length < 0)
		return (int)length;
	value[length] = '\0';
	value[strcspn(value, "\n")] = '\0';
	return 0;
}

int sysfs_write(int dir, const char *file, const char *value)
{
	int fd = openat(dir, file, O_WRONLY | O_CLOEXEC);
	int err = 0;

	if (fd < 0)
		return -errno;
	if (write(fd, value, strlen(value)) < 0)
		err = -errno;
	close(fd);
	return err;
}

int sysfs_link(int dir, const char *file, char *value, size_t size)
{
	char target[256];
	ssize_t length = readlinkat(dir, file, target, sizeof(target) - 1);
	const char *slash;

	if (length < 0)
		return -errno;
	target[length] = '\0';
	slash = strrchr(target, '/');
	snprintf(value, size, "%.*s", (int)size - 1, slash ? slash + 1 : target);
	return 0;
}
