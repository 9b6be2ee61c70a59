/*
 * Reads of a mapped BAR give all-ones when the device has been removed, instead of ending the process.
 */
#ifndef IXY_BAR_GUARD_H
#define IXY_BAR_GUARD_H

#include <stddef.h>

/*
 * Guard the mapping [virt, virt + size), page-aligned. The first guard installs a handler for SIGBUS, which
 * passes on what is not its own. Returns 0 or a negative errno with a text. One control thread.
 */
int bar_guard_add(void *virt, size_t size);

/* Before the mapping is unmapped. */
void bar_guard_remove(void *virt);

#endif
