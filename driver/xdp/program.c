/*
 * The life of an XDP program: load, attach, register sockets, detach, free. Where its instructions come from is
 * redirect.c's or object.c's matter.
 *
 * The program is attached by a BPF link (BPF_LINK_CREATE, kernel 5.9), a file descriptor whose close takes the
 * program off: unlike one attached by netlink, it cannot be left behind.
 */
#include "driver/xdp/program_parts.h"

#include <errno.h>
#include <linux/if_link.h>
#include <net/if.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "driver/error.h"
#include "driver/xdp/capability.h"

struct xsk_program {
	struct xsk_loaded loaded;
	bool frags;
	uint32_t id;
	int link; /* -1: not attached */
	unsigned ifindex;
	enum xsk_attach mode;
	char fallback[256];
};

const char *xsk_attach_name(enum xsk_attach mode)
{
	switch (mode) {
	case XSK_ATTACH_NATIVE: return "native";
	case XSK_ATTACH_GENERIC: return "generic";
	case XSK_ATTACH_AUTO: break;
	}
	return "auto";
}

/* --- loading -------------------------------------------------------------------------------------------- */

/* What matters in a verifier's log is its last line but the statistics: "R2 !read_ok", say. */
static const char *verifier_verdict(const char *log)
{
	static const char *const statistics[] = {"processed ", "verification time ", "stack depth "};
	const char *verdict = log;

	for (const char *line = log; *line; line += strcspn(line, "\n"), line += *line == '\n') {
		bool counts = *line == '\n';

		for (size_t i = 0; i < sizeof(statistics) / sizeof(statistics[0]); i++)
			counts |= !strncmp(line, statistics[i], strlen(statistics[i]));
		if (!counts)
			verdict = line;
	}
	return verdict;
}

int xsk_load_failed(const char *what, int error, const char *log)
{
	const char *verdict = verifier_verdict(log), *said = xsk_libbpf_said();
	char text[160];

	error = -error;
	if (*log)
		return ixy_fail(EACCES, "the kernel's verifier refuses %s: %.*s", what,
			(int)strcspn(verdict, "\n"), verdict);
	if (error == EPERM)
		return ixy_fail(EPERM, "cannot load %s into the kernel: %s", what,
			xsk_missing_capability(
				XSK_CAP(CAP_NET_ADMIN) | XSK_CAP(CAP_BPF), text, sizeof(text)));
	if (error >= __LIBBPF_ERRNO__START)
		return ixy_fail(EINVAL, "cannot load %s: %s", what, said);
	return ixy_fail(error, "cannot load %s into the kernel: %s%s%s", what, strerror(error),
		*said ? ": " : "", said);
}

int xsk_program_load(const struct xsk_program_config *config, struct xsk_program **program_out)
{
	static const struct xsk_program_config defaults;
	struct xsk_program *program = calloc(1, sizeof(*program));
	struct bpf_prog_info info = {0};
	uint32_t size = sizeof(info);
	int result;

	*program_out = NULL;
	if (!program)
		return ixy_fail(ENOMEM, "no memory for an XDP program");
	if (!config)
		config = &defaults;
	program->loaded = (struct xsk_loaded){.program = -1, .map = -1, .queue_map = -1};
	program->link = -1;
	program->frags = config->frags;

	xsk_libbpf_begin();
	if (config->object && config->filter_count)
		result = ixy_fail(
			EINVAL, "filters are the built-in XDP program's, not for %s", config->object);
	else if (config->object)
		result = xsk_load_object(config, &program->loaded);
	else
		result = xsk_load_redirect(config, &program->loaded);
	xsk_libbpf_end();
	if (!result && bpf_obj_get_info_by_fd(program->loaded.program, &info, &size) < 0)
		result = ixy_fail(
			errno, "the loaded XDP program cannot be asked for its number: %s", strerror(errno));
	if (result) {
		xsk_program_free(program);
		return result;
	}
	program->id = info.id;
	*program_out = program;
	return 0;
}

void xsk_program_free(struct xsk_program *program)
{
	if (!program)
		return;
	xsk_program_detach(program);
	if (program->loaded.object) {
		bpf_object__close(program->loaded.object);
	} else {
		if (program->loaded.program >= 0)
			close(program->loaded.program);
		if (program->loaded.map >= 0)
			close(program->loaded.map);
	}
	free(program);
}

/* --- attaching ------------------------------------------------------------------------------------------ */

/* 0 if it cannot be known. */
static int mtu_of(const char *ifname)
{
	struct ifreq request = {0};
	int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	int mtu = 0;

	snprintf(request.ifr_name, sizeof(request.ifr_name), "%s", ifname);
	if (fd >= 0 && !ioctl(fd, SIOCGIFMTU, &request))
		mtu = request.ifr_mtu;
	if (fd >= 0)
		close(fd);
	return mtu;
}

/* What drivers mean by their errno when they refuse a program; those of veth are from drivers/net/veth.c. */
static const char *refusal(int error)
{
	switch (error) {
	case EOPNOTSUPP: return "its driver has no XDP, or none at this MTU";
	case ERANGE: return "its MTU, or its peer's, is too large";
	case ENOSPC: return "it has fewer receive queues than its peer has transmit queues";
	default: return strerror(error);
	}
}

static int attach_failed(struct xsk_program *program, const char *ifname, enum xsk_attach mode, int error)
{
	char text[256];
	int mtu = mtu_of(ifname);

	if (error == EPERM)
		return ixy_fail(EPERM, "%s: no XDP program can be attached: %s", ifname,
			xsk_missing_capability(
				XSK_CAP(CAP_NET_ADMIN) | XSK_CAP(CAP_BPF), text, sizeof(text)));
	/* EEXIST: one in the other mode. */
	if ((error == EBUSY || error == EEXIST) &&
		xsk_describe_attached(if_nametoindex(ifname), ifname, text, sizeof(text)))
		return ixy_fail(EBUSY, "%s", text);
	return ixy_fail(error, "%s takes no XDP program in %s mode: %s (MTU %d%s)", ifname,
		xsk_attach_name(mode), refusal(error), mtu,
		mtu <= 1500      ? ""
		: program->frags ? ", frags"
				 : ", program without frags");
}

static int attach(struct xsk_program *program, unsigned ifindex, enum xsk_attach mode)
{
	LIBBPF_OPTS(bpf_link_create_opts, options,
		.flags = mode == XSK_ATTACH_NATIVE ? XDP_FLAGS_DRV_MODE : XDP_FLAGS_SKB_MODE);
	int link = bpf_link_create(program->loaded.program, (int)ifindex, BPF_XDP, &options);

	if (link < 0)
		return -errno;
	program->link = link;
	program->ifindex = ifindex;
	program->mode = mode;
	return 0;
}

int xsk_program_attach(struct xsk_program *program, const char *ifname, enum xsk_attach mode)
{
	unsigned ifindex = if_nametoindex(ifname);
	int result;

	if (program->link >= 0)
		return ixy_fail(EALREADY, "the XDP program is attached already");
	if (!ifindex)
		return ixy_fail(ENODEV, "there is no interface %s", ifname);
	program->fallback[0] = 0;
	if (mode == XSK_ATTACH_GENERIC) {
		result = attach(program, ifindex, XSK_ATTACH_GENERIC);
		return result ? attach_failed(program, ifname, XSK_ATTACH_GENERIC, -result) : 0;
	}

	result = attach(program, ifindex, XSK_ATTACH_NATIVE);
	if (!result)
		return 0;
	result = attach_failed(program, ifname, XSK_ATTACH_NATIVE, -result);
	/* The generic mode would not do better with these. */
	if (mode == XSK_ATTACH_NATIVE || result == -EPERM || result == -EBUSY || result == -ENODEV)
		return result;
	snprintf(program->fallback, sizeof(program->fallback), "%s", ixy_last_error());
	result = attach(program, ifindex, XSK_ATTACH_GENERIC);
	if (result) {
		program->fallback[0] = 0;
		return attach_failed(program, ifname, XSK_ATTACH_GENERIC, -result);
	}
	ixy_log(IXY_LOG_WARNING, "%s; it is generic instead, which is slower", program->fallback);
	return 0;
}

void xsk_program_detach(struct xsk_program *program)
{
	if (program->link < 0)
		return;
	/* Not close() alone: a child of ours may hold the descriptor too. The interface may have gone: no matter. */
	bpf_link_detach(program->link);
	close(program->link);
	program->link = -1;
	program->ifindex = 0;
	program->mode = XSK_ATTACH_AUTO;
	program->fallback[0] = 0;
}

/* --- sockets -------------------------------------------------------------------------------------------- */

static int check_queue(const struct xsk_program *program, uint32_t queue)
{
	if (queue < program->loaded.queues)
		return 0;
	return ixy_fail(EINVAL, "queue %u: the XDP program has room for queues 0 to %u", queue,
		program->loaded.queues - 1);
}

static int set_queue(const struct xsk_program *program, uint32_t queue, uint32_t used)
{
	if (program->loaded.queue_map < 0 ||
		!bpf_map_update_elem(program->loaded.queue_map, &queue, &used, BPF_ANY))
		return 0;
	return ixy_fail(
		errno, "queue %u cannot be marked in the XDP program's map: %s", queue, strerror(errno));
}

int xsk_program_register(struct xsk_program *program, uint32_t queue, int socket)
{
	int result = check_queue(program, queue);
	char text[160];

	if (result)
		return result;
	if (!bpf_map_update_elem(program->loaded.map, &queue, &socket, BPF_ANY))
		return set_queue(program, queue, 1);
	switch (errno) {
	case EOPNOTSUPP:
	case ENOTSOCK:
		return ixy_fail(EOPNOTSUPP,
			"queue %u: the descriptor is not an AF_XDP socket that is bound and can receive",
			queue);
	case EPERM:
		return ixy_fail(EPERM, "queue %u: %s", queue,
			xsk_missing_capability(
				XSK_CAP(CAP_BPF) | XSK_CAP(CAP_NET_ADMIN), text, sizeof(text)));
	default:
		return ixy_fail(errno, "queue %u: the socket cannot be registered with the XDP program: %s",
			queue, strerror(errno));
	}
}

int xsk_program_unregister(struct xsk_program *program, uint32_t queue)
{
	int result = check_queue(program, queue);

	if (!result)
		result = set_queue(program, queue, 0);
	if (!result && bpf_map_delete_elem(program->loaded.map, &queue) < 0 && errno != ENOENT)
		result = ixy_fail(errno, "queue %u: the socket cannot be taken from the XDP program: %s",
			queue, strerror(errno));
	return result;
}

/* --- asking --------------------------------------------------------------------------------------------- */

enum xsk_attach xsk_program_mode(const struct xsk_program *program)
{
	return program->mode;
}

const char *xsk_program_fallback(const struct xsk_program *program)
{
	return program->fallback;
}

unsigned xsk_program_ifindex(const struct xsk_program *program)
{
	return program->ifindex;
}

uint32_t xsk_program_id(const struct xsk_program *program)
{
	return program->id;
}

uint32_t xsk_program_queues(const struct xsk_program *program)
{
	return program->loaded.queues;
}

int xsk_program_map(const struct xsk_program *program, const char *name)
{
	const struct bpf_map *map = NULL;
	char has[160] = "none";
	size_t length = 0;

	if (program->loaded.object) {
		map = bpf_object__find_map_by_name(program->loaded.object, name);
		if (map)
			return bpf_map__fd(map);
		for (map = bpf_object__next_map(program->loaded.object, NULL); map && length < sizeof(has);
			map = bpf_object__next_map(program->loaded.object, map))
			length += snprintf(has + length, sizeof(has) - length, "%s%s", length ? ", " : "",
				bpf_map__name(map));
	}
	return ixy_fail(ENOENT, "the XDP program has no map %s of its own; it has %s", name, has);
}
