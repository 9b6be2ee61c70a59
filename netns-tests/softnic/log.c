/*
 * One line on stderr per message, written at once so that lines of several processes do not mix.
 *
 * What a client does may cause messages as fast as it can connect, so errors and information are limited to a
 * few dozen a second; the number of lines left out is printed when there is room again.
 */
#include "log.h"

#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <time.h>
#include <unistd.h>

#define LINES_A_SECOND 50

static enum log_level highest = LOG_LEVEL_INFO;

void softnic_log_level(enum log_level level)
{
	highest = level;
}

static void print_line(const char *format, va_list args)
{
	char line[512];
	int head = snprintf(line, sizeof line, "ixy-softnic: ");
	int body = vsnprintf(line + head, sizeof line - (size_t)head - 1, format, args);
	size_t size = (size_t)head + (body < 0 ? 0 : (size_t)body);
	if (size > sizeof line - 2)
		size = sizeof line - 2;
	line[size++] = '\n';
	if (write(STDERR_FILENO, line, size) < 0)
		return; /* nobody to tell */
}

static void print_omitted(const char *format, ...)
{
	va_list args;
	va_start(args, format);
	print_line(format, args);
	va_end(args);
}

static void log_line(enum log_level level, const char *format, va_list args)
{
	static time_t second;
	static unsigned lines, omitted;
	if (level > highest)
		return;
	struct timespec now;
	clock_gettime(CLOCK_MONOTONIC, &now);
	if (now.tv_sec != second) {
		if (omitted)
			print_omitted("%u messages omitted", omitted);
		second = now.tv_sec;
		lines = omitted = 0;
	}
	if (highest < LOG_LEVEL_DEBUG && ++lines > LINES_A_SECOND) {
		omitted++;
		return;
	}
	print_line(format, args);
}

void softnic_error(const char *format, ...)
{
	va_list args;
	va_start(args, format);
	log_line(LOG_LEVEL_ERROR, format, args);
	va_end(args);
}

void softnic_info(const char *format, ...)
{
	va_list args;
	va_start(args, format);
	log_line(LOG_LEVEL_INFO, format, args);
	va_end(args);
}

void softnic_debug(const char *format, ...)
{
	va_list args;
	va_start(args, format);
	log_line(LOG_LEVEL_DEBUG, format, args);
	va_end(args);
}
