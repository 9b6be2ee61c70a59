/*
 * The reason of the last failure, one text a thread, and the way out for notices.
 */
#include "driver/error.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#define ERROR_TEXT_SIZE 512

static _Thread_local char last_error[ERROR_TEXT_SIZE];
static void (*log_callback)(enum ixy_log_level level, const char *text);

/* Formats aside first: the arguments may well contain the text that is about to be replaced. */
static void set_error(const char *format, va_list args)
{
	char text[ERROR_TEXT_SIZE];

	vsnprintf(text, sizeof(text), format, args);
	memcpy(last_error, text, sizeof(text));
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
	char prefix[ERROR_TEXT_SIZE], cause[ERROR_TEXT_SIZE];
	va_list args;

	va_start(args, format);
	vsnprintf(prefix, sizeof(prefix), format, args);
	va_end(args);
	memcpy(cause, last_error, sizeof(cause));
	snprintf(last_error, sizeof(last_error), "%.200s: %.300s", prefix, cause);
	return error;
}

const char *ixy_last_error(void)
{
	return last_error;
}

void ixy_set_log(void (*callback)(enum ixy_log_level level, const char *text))
{
	log_callback = callback;
}

void ixy_log(enum ixy_log_level level, const char *format, ...)
{
	char text[ERROR_TEXT_SIZE];
	va_list args;

	if (!log_callback)
		return;
	va_start(args, format);
	vsnprintf(text, sizeof(text), format, args);
	va_end(args);
	log_callback(level, text);
}
