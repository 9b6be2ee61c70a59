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

/*
 * The same for a failure below that has already said why: puts "prefix: " in front of its text. Returns
 * error.
 */
int ixy_fail_context(int error, const char *format, ...) __attribute__((format(printf, 2, 3)));

/*
 * Cleaning up after a failure must not replace its text by that of a second one: put the text aside, clean
 * up, take it back.
 */
#define IXY_ERROR_TEXT_SIZE 512

struct ixy_error {
	char text[IXY_ERROR_TEXT_SIZE];
};

void ixy_error_save(struct ixy_error *error);
void ixy_error_restore(const struct ixy_error *error);

/* Tell the user's log callback; nothing happens where none is set. Never called from a hot path. */
void ixy_log(enum ixy_log_level level, const char *format, ...) __attribute__((format(printf, 2, 3)));

#endif
