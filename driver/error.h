/*
 * How the library reports: functions return a negative errno, and the reason in words waits here.
 *
 * The library never prints and never exits. ixy_fail() leaves a sentence in a thread-local buffer that the
 * caller reads with ixy_last_error() (ixy.h); what is worth telling without being a failure goes to the
 * callback set with ixy_set_log().
 */
#ifndef IXY_ERROR_H
#define IXY_ERROR_H

#include "driver/ixy.h"

/*
 * Record why something failed. error: a positive errno. The text names the object, the cause and, where
 * there is one, the command that mends it. Returns -error, so that `return ixy_fail(ENODEV, ...)` reads well.
 */
int ixy_fail(int error, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* The same for a failure below that has already said why: puts "prefix: " in front of its text. Returns
 * error. */
int ixy_fail_context(int error, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* Tell the user's log callback; nothing happens where none is set. Never called from a hot path. */
void ixy_log(enum ixy_log_level level, const char *format, ...) __attribute__((format(printf, 2, 3)));

#endif
