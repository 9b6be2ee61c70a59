/* Messages to stderr. See log.h. */
#include "bridge/log.h"

#include <errno.h>
#include <limits.h>
#include <poll.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sysexits.h>
#include <sys/stat.h>
#include <unistd.h>

#define WRITE_PATIENCE_MS 1000

static enum ixy_log_level threshold = IXY_LOG_INFO;

static const struct {
	const char *name;
	enum ixy_log_level level;
} levels[] = {
	{"error", IXY_LOG_ERROR},
	{"warning", IXY_LOG_WARNING},
	{"info", IXY_LOG_INFO},
	{"debug", IXY_LOG_DEBUG},
};

void log_set_level(enum ixy_log_level level)
{
	threshold = level;
}

bool log_level_parse(const char *name, enum ixy_log_level *level)
{
	for (size_t i = 0; i < sizeof(levels) / sizeof(levels[0]); i++)
		if (strcmp(name, levels[i].name) == 0) {
			*level = levels[i].level;
			return true;
		}
	return false;
}

/* systemd names the journal's socket in JOURNAL_STREAM; stderr may have been redirected since. */
static bool stderr_is_journal(void)
{
	const char *stream = getenv("JOURNAL_STREAM");
	unsigned long long device, inode;
	struct stat st;

	return stream && sscanf(stream, "%llu:%llu", &device, &inode) == 2 &&
	       fstat(STDERR_FILENO, &st) == 0 && st.st_dev == device && st.st_ino == inode;
}

bool log_write(int fd, const char *text, size_t size)
{
	while (size > 0) {
		struct pollfd room = {.fd = fd, .events = POLLOUT};
		ssize_t n;

		if (poll(&room, 1, WRITE_PATIENCE_MS) <= 0)
			return false;
		/* A pipe with room for PIPE_BUF bytes takes that many without waiting. */
		n = write(fd, text, size < PIPE_BUF ? size : PIPE_BUF);
		if (n < 0)
			return false;
		text += n;
		size -= (size_t)n;
	}
	return true;
}

int exit_code_of(int rc)
{
	switch (rc) {
	case -EACCES:
	case -EPERM: return EX_NOPERM;
	case -EINVAL: return EX_CONFIG;
	default: return EX_UNAVAILABLE;
	}
}

void log_print(enum ixy_log_level level, const char *format, ...)
{
	char line[1024];
	int size;
	va_list args;

	if (level > threshold)
		return;
	size = stderr_is_journal() ? snprintf(line, sizeof(line), "<%d>", level)
				   : snprintf(line, sizeof(line), "ixy-tapd: ");
	va_start(args, format);
	size += vsnprintf(line + size, sizeof(line) - (size_t)size, format, args);
	va_end(args);
	if (size > (int)sizeof(line) - 1)
		size = sizeof(line) - 1;
	line[size] = '\n';
	log_write(STDERR_FILENO, line,
		(size_t)size + 1); /* nobody is left to hear that stderr does not take it */
}
