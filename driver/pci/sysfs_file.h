/*
 * Inside driver/pci: the small files below /sys/bus/pci that describe and steer a PCI function.
 *
 * Functions that return int give 0 or a negative errno, without a text where nothing else is said: what a missing
 * file means is the caller's to tell.
 */
#ifndef IXY_SYSFS_FILE_H
#define IXY_SYSFS_FILE_H

#include <stdbool.h>
#include <stddef.h>

#define SYSFS_ADDRESS_SIZE 24 /* 0000:03:00.0, also with a domain of eight digits, and its NUL */
#define SYSFS_NAME_SIZE    64 /* of a driver, or a group's number */

/* Where sysfs is mounted: "/sys", which only a unit test with a tree of its own changes. */
extern const char *sysfs_root;

/* True for 0000:03:00.0 and for the short form 03:00.0. */
bool sysfs_address(const char *text);

/* That address as the kernel writes it: in lower case, with the domain. */
void sysfs_normalize(const char *text, char address[SYSFS_ADDRESS_SIZE]);

/*
 * A descriptor (O_PATH) of the function's folder. Returns it or -ENODEV, with a text; name is what the user calls
 * the function.
 */
int sysfs_open_function(const char *name, const char *address);

/*
 * The function's config file, opened with flags and locked: two of us at once, by whatever way, would each think that
 * the other is no driver. Lasts until it is closed. Returns the descriptor, -EBUSY, or another negative errno, with
 * a text.
 */
int sysfs_lock(const char *name, int dir, int flags);

/* A descriptor (flags as for open()) of any path below sysfs_root, or a negative errno. */
int sysfs_open(const char *path, int flags);

/* The first line of a file in dir, without its newline. */
int sysfs_read(int dir, const char *file, char *value, size_t size);
int sysfs_write(int dir, const char *file, const char *value);

/* The last part of where a link in dir points: for "driver" the driver, for "iommu_group" its number. */
int sysfs_link(int dir, const char *file, char *value, size_t size);

#endif
