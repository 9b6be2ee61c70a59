/*
 * What the daemon says to people: one line a message, on stderr.
 *
 * Under systemd each line carries the priority prefix that the journal understands (sd-daemon(3)); elsewhere
 * it starts with the program's name. A line is one write, so lines of several threads do not mix.
 */
#ifndef BRIDGE_LOG_H
#define BRIDGE_LOG_H

#include <stdbool.h>

#include "driver/ixy.h"

/* Only messages at least as urgent as level are printed. Default: IXY_LOG_INFO. Before threads start. */
void log_set_level(enum ixy_log_level level);

/* "error", "warning", "info" or "debug" to a level; false for anything else. */
bool log_level_parse(const char *name, enum ixy_log_level *level);

/* Any thread; not from the data path. The text comes without a newline. */
void log_print(enum ixy_log_level level, const char *format, ...) __attribute__((format(printf, 2, 3)));

#define log_error(...)   log_print(IXY_LOG_ERROR, __VA_ARGS__)
#define log_warning(...) log_print(IXY_LOG_WARNING, __VA_ARGS__)
#define log_info(...)    log_print(IXY_LOG_INFO, __VA_ARGS__)
#define log_debug(...)   log_print(IXY_LOG_DEBUG, __VA_ARGS__)

/* The exit code of the daemon (sysexits.h) that goes with a negative errno of the library. */
int exit_code_of(int rc);

/*
 * Write all of text to a descriptor that may be a pipe which nobody reads: gives up when that takes no more for
 * a second. Returns whether all went out.
 */
bool log_write(int fd, const char *text, size_t size);

#endif
