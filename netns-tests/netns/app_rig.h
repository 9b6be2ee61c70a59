/*
 * The applications of contrib/apps under test: started in a namespace, asked for what they have said and counted,
 * ended.
 */
#ifndef NETNS_APP_RIG_H
#define NETNS_APP_RIG_H

#include "rig.h"

#define APP_SECONDS 20 /* for anything that has to happen */

/* Start $IXY_BUILD/NAME with these arguments; name may have a folder ("apps/l2fwd"). */
struct process *app_start(const char *netns, const char *name, const char *format, ...)
	__attribute__((format(printf, 3, 4)));

/* It has printed this, on either way out. */
bool app_has_said(struct process *p, const char *text);
/* Wait until it has, or fail with what it said instead. */
void app_await(struct process *p, const char *text);

/* What it counted: the number before " frames" in its line "NAME: ...". */
uint64_t app_total(struct process *p, const char *name);
/* The number that stands before this text, as in "12 dropped, tx-link-down"; 0 if the text is not there. */
uint64_t app_number_before(struct process *p, const char *text);

/* What it printed last is JSON for which this condition holds, in jq's words: one jq for all parts of it. */
void app_assert_result(struct process *p, const char *condition, ...) __attribute__((format(printf, 2, 3)));

/* It ends by itself, with this status, and nothing from a sanitizer. */
void app_assert_exits(struct process *p, int status);
/* It runs; after this signal it ends with status 0. */
void app_assert_ends_by(struct process *p, int signal);

/*
 * A call that ends by itself: what it is given, its exit status, and what it says, on either way out. None leaves an XDP
 * program in rig->host.
 */
struct app_call {
	const char *arguments;
	int status;
	const char *said;
};
void app_assert_calls(struct rig *rig, const char *name, const struct app_call calls[], size_t count);

/*
 * Each of count frames that goes in at one socket comes out at the other as it was, in order: one after the other, or
 * all at once.
 */
void frames_pass_one_by_one(int from, int to, size_t size, unsigned count);
void frames_pass_at_once(int from, int to, size_t size, unsigned count);

#endif
