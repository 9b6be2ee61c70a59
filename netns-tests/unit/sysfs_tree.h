/*
 * A tree of plain files that looks like sysfs: an 82599 on the PCI bus, and drivers that it could have.
 *
 * A plain file keeps what was written to it last, so what the kernel would have been told can be read there.
 */
#ifndef UNIT_SYSFS_TREE_H
#define UNIT_SYSFS_TREE_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <ftw.h>
#include <sys/stat.h>
#include <cmocka.h>

#include "driver/pci/sysfs_file.h"

#define ADDRESS  "0000:03:00.0"
#define FUNCTION "bus/pci/devices/" ADDRESS
#define DEVICE   FUNCTION "/"
#define BAR_SIZE 0x20000

static char tree_root[64];

static inline void path_of(char *path, size_t size, const char *name)
{
	snprintf(path, size, "%s/%s", tree_root, name);
}

static inline void put(const char *name, const char *content)
{
	char path[256];
	FILE *file;

	path_of(path, sizeof(path), name);
	file = fopen(path, "w");
	assert_non_null(file);
	fputs(content, file);
	fclose(file);
}

static inline const char *get(const char *name)
{
	static char line[256];
	char path[256];
	FILE *file;

	path_of(path, sizeof(path), name);
	file = fopen(path, "r");
	assert_non_null(file);
	line[0] = '\0';
	if (!fgets(line, sizeof(line), file))
		line[0] = '\0';
	fclose(file);
	line[strcspn(line, "\n")] = '\0';
	return line;
}

static inline void make_dir(const char *name)
{
	char path[256];

	path_of(path, sizeof(path), name);
	assert_int_equal(mkdir(path, 0755), 0);
}

static inline void make_link(const char *name, const char *target)
{
	char path[256];

	path_of(path, sizeof(path), name);
	assert_int_equal(symlink(target, path), 0);
}

static inline void size_to(const char *name, off_t size)
{
	char path[256];

	path_of(path, sizeof(path), name);
	assert_int_equal(truncate(path, size), 0);
}

static inline void bind_to(const char *driver)
{
	char target[64];

	snprintf(target, sizeof(target), "../../drivers/%s", driver);
	make_link(DEVICE "driver", target);
}

static inline void unbind(void)
{
	char path[256];

	path_of(path, sizeof(path), DEVICE "driver");
	assert_int_equal(unlink(path), 0);
}

static inline void has_interface(const char *name)
{
	char path[128];

	make_dir(DEVICE "net");
	snprintf(path, sizeof(path), DEVICE "net/%s", name);
	make_dir(path);
}

/* An 82599 without a driver, and two drivers that it could have. */
static inline int tree_setup(void **state)
{
	const char *dirs[] = {"bus", "bus/pci", "bus/pci/devices", "bus/pci/drivers", "bus/pci/drivers/ixgbe",
		"bus/pci/drivers/vfio-pci", FUNCTION};
	const char *empty[] = {"bus/pci/drivers_probe", "bus/pci/drivers/ixgbe/bind",
		"bus/pci/drivers/ixgbe/unbind", DEVICE "enable", DEVICE "reset"};

	(void)state;
	snprintf(tree_root, sizeof(tree_root), "/tmp/sysfs-XXXXXX");
	if (!mkdtemp(tree_root))
		return -1;
	for (size_t i = 0; i < sizeof(dirs) / sizeof(dirs[0]); i++)
		make_dir(dirs[i]);
	for (size_t i = 0; i < sizeof(empty) / sizeof(empty[0]); i++)
		put(empty[i], "");
	put(DEVICE "vendor", "0x8086\n");
	put(DEVICE "device", "0x10fb\n");
	put(DEVICE "class", "0x020000\n");
	put(DEVICE "driver_override", "(null)\n");
	put(DEVICE "resource", "0x00000000fe000000 0x00000000fe01ffff 0x0000000000140204\n"
			       "0x0000000000000000 0x0000000000000000 0x0000000000000000\n");
	put(DEVICE "config", "");
	size_to(DEVICE "config", 256);
	put(DEVICE "resource0", "");
	size_to(DEVICE "resource0", BAR_SIZE);
	sysfs_root = tree_root;
	return 0;
}

static inline int remove_one(const char *path, const struct stat *stat, int type, struct FTW *ftw)
{
	(void)stat;
	(void)type;
	(void)ftw;
	return remove(path);
}

static inline int tree_teardown(void **state)
{
	(void)state;
	sysfs_root = "/sys";
	return nftw(tree_root, remove_one, 16, FTW_DEPTH | FTW_PHYS);
}

#endif
