/*
 * Who sits on an interface already, when the kernel refuses a second XDP program: an error that says "device
 * busy" sends people searching for an hour.
 *
 * A program is attached in one of two ways. By netlink (`ip link set dev X xdp obj ...`, libxdp): it stays
 * until somebody takes it off, whoever put it there. By a BPF link, as we do: it stays while a process has
 * the link's file descriptor open, or while the link is pinned; netlink cannot take it off.
 */
#include "driver/xdp/program_parts.h"

#include <ctype.h>
#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define MAX_LINKS 100000 /* looked at, in the whole system */

struct holder {
	long pid; /* 0: nobody's that we may look at */
	char name[17];
	unsigned link; /* 0: no link */
};

/* Is this link of a process (/proc/PID/fdinfo/FD) the one of our program? Sets its number. */
static bool is_link_of(const char *fdinfo, uint32_t program, unsigned *link)
{
	FILE *file = fopen(fdinfo, "re");
	char line[128];
	unsigned number, found = 0;
	bool same = false;

	while (file && fgets(line, sizeof(line), file)) {
		if (sscanf(line, "link_id: %u", &number) == 1)
			found = number;
		else if (sscanf(line, "prog_id: %u", &number) == 1)
			same = number == program;
	}
	if (file)
		fclose(file);
	if (found && same)
		*link = found;
	return found && same;
}

/* Does this process hold the link? */
static bool holds(const char *pid, uint32_t program, unsigned *link)
{
	char path[64], fdinfo[96], target[32];
	struct dirent *entry;
	bool found = false;
	DIR *dir;

	snprintf(path, sizeof(path), "/proc/%.16s/fd", pid);
	dir = opendir(path);
	while (dir && !found && (entry = readdir(dir))) {
		ssize_t length = readlinkat(dirfd(dir), entry->d_name, target, sizeof(target) - 1);

		if (length < 0)
			continue;
		target[length] = 0;
		snprintf(fdinfo, sizeof(fdinfo), "/proc/%.16s/fdinfo/%.16s", pid, entry->d_name);
		found = strstr(target, "bpf") && is_link_of(fdinfo, program, link);
	}
	if (dir)
		closedir(dir);
	return found;
}

static void find_holder(uint32_t program, struct holder *holder)
{
	struct dirent *entry;
	char path[64];
	FILE *file;
	DIR *dir = opendir("/proc");

	while (dir && !holder->pid && (entry = readdir(dir)))
		if (isdigit(entry->d_name[0]) && holds(entry->d_name, program, &holder->link))
			holder->pid = strtol(entry->d_name, NULL, 10);
	if (dir)
		closedir(dir);
	if (!holder->pid)
		return;
	snprintf(path, sizeof(path), "/proc/%ld/comm", holder->pid);
	file = fopen(path, "re");
	if (file && fgets(holder->name, sizeof(holder->name), file))
		holder->name[strcspn(holder->name, "\n")] = 0;
	if (file)
		fclose(file);
}

/* A link that no process holds is pinned; only CAP_SYS_ADMIN may look through all of them. */
static unsigned find_link(uint32_t program)
{
	uint32_t id = 0;

	for (unsigned i = 0; i < MAX_LINKS && !bpf_link_get_next_id(id, &id); i++) {
		struct bpf_link_info info = {0};
		uint32_t size = sizeof(info);
		int fd = bpf_link_get_fd_by_id(id);

		if (fd < 0)
			continue;
		if (bpf_obj_get_info_by_fd(fd, &info, &size) < 0)
			info.prog_id = 0;
		close(fd);
		if (info.type == BPF_LINK_TYPE_XDP && info.prog_id == program)
			return id;
	}
	return 0;
}

bool xsk_describe_attached(unsigned ifindex, const char *ifname, char *text, size_t size)
{
	LIBBPF_OPTS(bpf_xdp_query_opts, query);
	struct holder holder = {0};
	const char *mode = "xdp"; /* as ip(8) names it */
	uint32_t program;
	int result;

	xsk_libbpf_begin();
	result = bpf_xdp_query((int)ifindex, 0, &query);
	xsk_libbpf_end();
	if (result < 0)
		return false;
	program = query.prog_id;
	if (query.skb_prog_id) {
		program = query.skb_prog_id;
		mode = "xdpgeneric";
	}
	if (query.drv_prog_id) {
		program = query.drv_prog_id;
		mode = "xdp";
	}
	if (query.hw_prog_id) {
		program = query.hw_prog_id;
		mode = "xdpoffload";
	}
	if (!program)
		return false;

	find_holder(program, &holder);
	if (!holder.pid)
		holder.link = find_link(program);
	if (holder.pid == getpid())
		snprintf(text, size, "%s has another XDP program (id %u), attached by this very process",
			ifname, program);
	else if (holder.pid)
		snprintf(text, size,
			"%s has another XDP program (id %u), held by process %ld (%s) through BPF link %u: "
			"end that process",
			ifname, program, holder.pid, holder.name, holder.link);
	else if (holder.link)
		snprintf(text, size,
			"%s has another XDP program (id %u) through the pinned BPF link %u: bpftool link "
			"detach id %u",
			ifname, program, holder.link, holder.link);
	else
		snprintf(text, size, "%s has another XDP program (id %u): ip link set dev %s %s off", ifname,
			program, ifname, mode);
	return true;
}
