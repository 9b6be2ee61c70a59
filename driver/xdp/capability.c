/*
 * EPERM in words: the effective capabilities of this thread, from capget(2).
 */
#include "driver/xdp/capability.h"

#include <stdio.h>
#include <sys/syscall.h>
#include <unistd.h>

static const struct {
	unsigned number;
	const char *name;
} names[] = {
	{CAP_NET_ADMIN, "CAP_NET_ADMIN"},
	{CAP_NET_RAW, "CAP_NET_RAW"},
	{CAP_IPC_LOCK, "CAP_IPC_LOCK"},
	{CAP_BPF, "CAP_BPF"},
};

static uint64_t effective_capabilities(void)
{
	struct __user_cap_header_struct header = {.version = _LINUX_CAPABILITY_VERSION_3};
	struct __user_cap_data_struct data[_LINUX_CAPABILITY_U32S_3] = {0};

	if (syscall(SYS_capget, &header, data) < 0)
		return 0;
	return data[0].effective | (uint64_t)data[1].effective << 32;
}

const char *xsk_missing_capability(uint64_t wanted, char *text, size_t size)
{
	uint64_t have = effective_capabilities();
	unsigned missing = 0;
	int length = 0;

	/* The older, wider one stands for CAP_BPF (capabilities(7)). */
	if (have & XSK_CAP(CAP_SYS_ADMIN))
		have |= XSK_CAP(CAP_BPF);
	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
		if (!(wanted & ~have & XSK_CAP(names[i].number)) || (size_t)length >= size)
			continue;
		length += snprintf(
			text + length, size - (size_t)length, "%s%s", missing++ ? ", " : "", names[i].name);
	}
	if (!missing)
		snprintf(text, size,
			"all capabilities are there, but perhaps not in the host's user namespace");
	else if ((size_t)length < size)
		snprintf(text + length, size - (size_t)length, " %s missing", missing > 1 ? "are" : "is");
	return text;
}
