/*
 * libbpf tells why something failed by printing it, and has one print function for the whole process. A library
 * must not print; and if the program around us has set a function of its own, it is to stay.
 *
 * So a function of ours stands in its place while we are inside libbpf. What our thread causes is kept for the
 * error's text, what other threads cause at that time goes where it would have gone.
 */
#include "driver/xdp/program_parts.h"

#include <pthread.h>
#include <stdio.h>
#include <string.h>

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER; /* between begin and end */
static libbpf_print_fn_t before;
static _Thread_local bool inside;
static _Thread_local char said[160];

__attribute__((format(printf, 2, 0))) static int keep(
	enum libbpf_print_level level, const char *format, va_list args)
{
	char text[sizeof(said)];
	const char *start = text;

	if (!inside)
		return before ? before(level, format, args) : 0;
	if (level != LIBBPF_WARN)
		return 0;
	vsnprintf(text, sizeof(text), format, args);
	if (!strncmp(start, "libbpf: ", 8))
		start += 8;
	snprintf(said, sizeof(said), "%.*s", (int)strcspn(start, "\n"), start);
	return 0;
}

void xsk_libbpf_begin(void)
{
	pthread_mutex_lock(&lock);
	said[0] = 0;
	inside = true;
	before = libbpf_set_print(keep);
}

void xsk_libbpf_end(void)
{
	libbpf_set_print(before);
	inside = false;
	pthread_mutex_unlock(&lock);
}

const char *xsk_libbpf_said(void)
{
	return said;
}
