/*
 * The reason of the last failure, one text a thread, and the way out for notices.
 */
#include "driver/error.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

static _Thread_local struct ixy_error last_error;
static void (*log_callback)(enum ixy_log_level level, const char *text);

/* Formats aside first: the arguments may well contain the text that is about to be replaced. */
static void set_error(const char *format, va_list args)
{
	struct ixy_error error;

	vsnprintf(error.text, sizeof(error.text), format, args);
	last_error = error;
}

int ixy_fail(int error, const char *format, ...)
{
	va_list args;

	va_start(args, format);
	set_error(format, args);
	va_end(args);
	return -error;
}

int ixy_fail_context(int error, const char *format, ...)
{
	char prefix[IXY_ERROR_TEXT_SIZE];
	struct ixy_error cause = last_error;
	va_list args;

	va_start(args, format);
	vsnprintf(prefix, sizeof(prefix), format, args);
	va_end(args);
	snprintf(last_error.text, sizeof(last_error.text), "%.200s: %.300s", prefix, cause.text);
	return error;
}

void ixy_error_save(struct ixy_error *error)
{
	*error = last_error;
}

void ixy_error_restore(const struct ixy_error *error)
{
	last_error = *error;
}

const char *ixy_last_error(void)
{
	return last_error.text;
}

void ixy_set_log(void (*callback)(enum ixy_log_level level, const char *text))
{
	log_callback = callback;
}

void ixy_log(enum ixy_log_level level, const char *format, ...)
{
	char text[IXY_ERROR_TEXT_SIZE];
	va_list args;

	if (!log_callback)
		return;
	va_start(args, format);
	vsnprintf(text, sizeof(text), format, args);
	va_end(args);
	log_callback(level, text);
}
