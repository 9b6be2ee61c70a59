/*
 * Which capability a refused system call wanted, in words. Not for users of the library.
 */
#ifndef IXY_XDP_CAPABILITY_H
#define IXY_XDP_CAPABILITY_H

#include <linux/capability.h>
#include <stddef.h>
#include <stdint.h>

/* A set of capabilities is a bit mask: XSK_CAP(CAP_NET_RAW) | XSK_CAP(CAP_BPF). */
#define XSK_CAP(number) (UINT64_C(1) << (number))

/*
 * Write into text why the kernel answered EPERM: those of `wanted` that this thread lacks ("CAP_BPF is missing"),
 * or that it has them all and something else is in the way. Returns text.
 */
const char *xsk_missing_capability(uint64_t wanted, char *text, size_t size);

#endif
