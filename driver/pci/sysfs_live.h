/*
 * Is a PCI function somebody's network interface at this moment?
 */
#ifndef IXY_SYSFS_LIVE_H
#define IXY_SYSFS_LIVE_H

/*
 * dir: descriptor of /sys/bus/pci/devices/ADDRESS. Returns 0 where the function carries no live interface, or
 * -EBUSY with a text that names the interface and the ways out. Live is an interface that is up and has an
 * address, one that is a port of a bridge or bond, and one that lives out of sight in another namespace.
 */
int sysfs_refuse_live(int dir, const char *name);

#endif
