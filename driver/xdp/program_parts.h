/*
 * The parts of program.c: where programs come from, and who else has one. Not for users of the library.
 */
#ifndef IXY_XDP_PROGRAM_PARTS_H
#define IXY_XDP_PROGRAM_PARTS_H

#include <bpf/bpf.h>
#include <bpf/libbpf.h>

#include "driver/xdp/program.h"

/* A program in the kernel. File descriptors are -1 where there is none. */
struct xsk_loaded {
	int program, map, queue_map;
	uint32_t queues;
	struct bpf_object
		*object; /* owns the descriptors; NULL for the built-in program, which owns its own */
};

/* redirect.c: the built-in program. */
int xsk_load_redirect(const struct xsk_program_config *config, struct xsk_loaded *loaded);

/* object.c: a program from an object file. */
int xsk_load_object(const struct xsk_program_config *config, struct xsk_loaded *loaded);

/*
 * Say why the kernel did not load something: error as libbpf gives it (negative), log: the verifier's text or "".
 * Returns a negative errno.
 */
int xsk_load_failed(const char *what, int error, const char *log);

/*
 * attached.c: the XDP program that an interface has already, its owner and what takes it off, in a sentence.
 * False if it has none.
 */
bool xsk_describe_attached(unsigned ifindex, const char *ifname, char *text, size_t size);

/*
 * libbpf_print.c: libbpf prints to stderr, or where the program that uses us has told it to. Between begin and
 * end it does not where our thread is concerned; the last warning is kept. Not to be nested.
 */
void xsk_libbpf_begin(void);
void xsk_libbpf_end(void);
const char *xsk_libbpf_said(void); /* "" if nothing; until the next begin of this thread */

#endif
