/*
 * XDP programs that hand frames to AF_XDP sockets.
 *
 *	struct xsk_program *program;
 *	if (xsk_program_load(NULL, &program) < 0 ||
 *	    xsk_program_attach(program, "eth1", XSK_ATTACH_AUTO) < 0 ||
 *	    xsk_program_register(program, 0, xsk_fd) < 0)
 *		errx(1, "%s", ixy_last_error());
 *
 * Sockets receive nothing by themselves: an XDP program on the interface looks at each frame before the kernel's
 * stack does, and redirects it to the socket that a map (XSKMAP) holds under the frame's receive queue. What no
 * socket is registered for goes on to the kernel. The built-in program does this and no more; it can be told to
 * take only some protocols. Whoever wants another one compiles an object file and names it.
 *
 * The program is on the interface for as long as this process holds it (a BPF link): xsk_program_free(), the
 * process's end and kill -9 all take it off. A child made by fork() holds it too, until it execs or ends.
 *
 * Permissions: CAP_NET_ADMIN and CAP_BPF (or CAP_SYS_ADMIN), in the host's first user namespace.
 * Threads: register and unregister may be called by any thread while the program lives; all else is for one
 * control thread. Functions return 0 or a negative errno, and the reason in words is in ixy_last_error().
 */
#ifndef IXY_XDP_PROGRAM_H
#define IXY_XDP_PROGRAM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct xsk_program;

/* Where the program runs: in the driver (fast), or in the stack on the finished sk_buff (every interface). */
enum xsk_attach {
	XSK_ATTACH_AUTO, /* native, and generic where the driver refuses */
	XSK_ATTACH_NATIVE,
	XSK_ATTACH_GENERIC
};

/* "native", "generic", "auto". */
const char *xsk_attach_name(enum xsk_attach mode);

/*
 * One kind of frame for the built-in program: an EtherType (host byte order, 0: any), and for IPv4 and IPv6 the
 * protocol in the IP header (0: any; IPv6 extension headers are not walked). A VLAN-tagged frame has the
 * EtherType of its tag where the driver leaves the tag in the frame.
 */
struct xsk_filter {
	uint16_t ether_type;
	uint8_t ip_protocol;
};

#define XSK_PROGRAM_QUEUES  64
#define XSK_PROGRAM_FILTERS 16

/* Zero means the default for every member. */
struct xsk_program_config {
	/* Sockets that can be registered, under keys 0 .. queues-1; default XSK_PROGRAM_QUEUES, or the file's. */
	uint32_t queues;
	bool frags; /* the program takes frames of several buffers (jumbo; kernel 5.18, sockets 6.6) */

	/* The built-in program: take only frames of one of these kinds (at most XSK_PROGRAM_FILTERS). */
	const struct xsk_filter *filters;
	size_t filter_count; /* 0: all frames */

	/* A program of the user's own, compiled by clang -target bpf -g; the names may be NULL. */
	const char *object;  /* path of the object file; NULL: the built-in program */
	const char *program; /* its function; NULL: the only XDP program there is in the file */
	const char *map;     /* its XSKMAP; NULL: the only XSKMAP in the file */
	/* An array of 32-bit integers in the file in which a registered queue holds 1; NULL: none. */
	const char *queue_map;
};

/*
 * Load a program into the kernel; it is on no interface yet. config may be NULL, and what it points to is not
 * used after return. Free *program with xsk_program_free().
 * Returns 0 or
 *	-EPERM    a capability is missing; the text says which
 *	-ENOENT   no such object file, or no such program or map in it; the text says what it has
 *	-EINVAL   bad config, or an object file that is not one
 *	-EACCES   the kernel's verifier refuses the program; the text ends with its reason
 *	-ENOMEM   and others as bpf(2) has them
 */
int xsk_program_load(const struct xsk_program_config *config, struct xsk_program **program);

/*
 * Put the program on an interface of this thread's network namespace. With XSK_ATTACH_AUTO
 * xsk_program_mode() tells afterwards which mode it became and xsk_program_fallback() why; a fallback is also
 * told to the log callback (ixy_set_log).
 * Returns 0 or
 *	-ENODEV      no such interface
 *	-EBUSY       it has another XDP program; the text names it, its owner and what removes it
 *	-EALREADY    this program is attached already
 *	-EOPNOTSUPP, -ERANGE and others
 *	             the interface takes no program in this mode; the text says why where that is known
 *	-EPERM       a capability is missing
 */
int xsk_program_attach(struct xsk_program *program, const char *ifname, enum xsk_attach mode);

/*
 * Take it off the interface; the sockets stay registered and it may be attached again, elsewhere as well.
 * Nothing happens if it is not attached.
 */
void xsk_program_detach(struct xsk_program *program);

/*
 * From now on frames of this receive queue go to the socket (its file descriptor), which should be bound to that
 * queue of that interface: the kernel drops frames for others. A socket registered before under the same key is
 * replaced. With an object file the key is whatever its program looks up. The socket may be closed at any time:
 * the kernel then forgets it by itself, and frames pass to the stack again.
 * Returns 0, -EINVAL (key out of range), -EOPNOTSUPP (not a bound AF_XDP socket), or another errno.
 */
int xsk_program_register(struct xsk_program *program, uint32_t queue, int socket);

/* Frames of this queue pass to the kernel's stack again. 0, also when none was registered; or -EINVAL. */
int xsk_program_unregister(struct xsk_program *program, uint32_t queue);

/* Native or generic; XSK_ATTACH_AUTO while it is not attached. */
enum xsk_attach xsk_program_mode(const struct xsk_program *program);
/* Why it is generic although AUTO was asked for; "" otherwise. Valid until the next attach or free. */
const char *xsk_program_fallback(const struct xsk_program *program);
/* The interface it is on (its index), 0 when it is on none. */
unsigned xsk_program_ifindex(const struct xsk_program *program);
/* The kernel's number of the program, as `ip link` and bpftool show it. */
uint32_t xsk_program_id(const struct xsk_program *program);
/* Keys that can be registered. */
uint32_t xsk_program_queues(const struct xsk_program *program);
/*
 * A map of the object file by name, for the caller's own use (counters, settings): a file descriptor that lives
 * as long as the program. -ENOENT: the text says which there are; always for the built-in program.
 */
int xsk_program_map(const struct xsk_program *program, const char *name);

/* Detach and unload. NULL is allowed. */
void xsk_program_free(struct xsk_program *program);

#endif
