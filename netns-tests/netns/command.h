/*
 * Commands and daemons of the namespace tests: run something in a namespace with a deadline, keep a program
 * running beside the test, wait for a condition. Nothing started here outlives the test program: children
 * die with it (PR_SET_PDEATHSIG), and commands_cleanup() ends and reaps those that still run.
 *
 * A namespace is named as `ip netns` knows it; NULL is the one the test itself runs in.
 */
#ifndef NETNS_COMMAND_H
#define NETNS_COMMAND_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "driver/clock.h"

#define COMMAND_SECONDS 30 /* how long command() lets a command run */
#define STATUS_TIMEOUT  (-1)
#define STATUS_SIGNAL   128 /* status of a process that a signal ended: 128 + its number, as the shell has it */

/* --- time ---------------------------------------------------------------------------------------------- */

void pause_ms(unsigned ms); /* the step of wait_for(); never a substitute for a condition */

/* Programs with sanitizers are slower: every bound is multiplied by this (SAN builds 3, else 1). */
unsigned slow_factor(void);

/* True as soon as condition holds; false if it still does not after so many seconds. */
#define wait_for(seconds, condition)                                                      \
	({                                                                                \
		int64_t deadline_ = clock_ms() + 1000 * (int64_t)(seconds)*slow_factor(); \
		bool late_ = false, met_;                                                 \
		while (!(met_ = (condition)) && !late_) {                                 \
			pause_ms(10);                                                     \
			late_ = clock_ms() >= deadline_;                                  \
		}                                                                         \
		met_;                                                                     \
	})

#define assert_soon(seconds, condition)                                                                 \
	do {                                                                                            \
		if (!wait_for(seconds, condition))                                                      \
			fail_msg("not within %u s: %s", (unsigned)(seconds)*slow_factor(), #condition); \
	} while (0)

/* --- commands ------------------------------------------------------------------------------------------ */

/*
 * Run a shell command and wait for it. Returns its exit status, 128 + signal, or STATUS_TIMEOUT after
 * COMMAND_SECONDS (then it and its children have been killed). What it printed, stdout and stderr together,
 * is in command_output() until the next command.
 */
int command(const char *netns, const char *format, ...) __attribute__((format(printf, 2, 3)));
/* The same with a time limit of its own. */
int command_within(unsigned seconds, const char *netns, const char *format, ...)
	__attribute__((format(printf, 3, 4)));
/* The command must succeed, or the test fails with what it printed. Returns command_output(). */
const char *command_ok(const char *netns, const char *format, ...) __attribute__((format(printf, 2, 3)));
const char *command_output(void);
/* The command must succeed and print a decimal number, which is returned. */
uint64_t command_number(const char *netns, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* --- programs beside the test ---------------------------------------------------------------------------- */

struct process {
	pid_t pid;  /* 0: not running (any more) */
	int status; /* how it ended, as command() tells it */
	char name[32];
	char stdout_path[128], stderr_path[128];
	char *stdout_text, *stderr_text; /* what process_stdout() and process_stderr() returned last */
};

/* Start a shell command (which should `exec` its program, so that signals reach it). Never NULL. */
struct process *process_start(const char *name, const char *netns, const char *format, ...)
	__attribute__((format(printf, 3, 4)));
bool process_running(struct process *p); /* reaps it when it has ended */
/* Wait for its own end. Returns the status, STATUS_TIMEOUT if it still runs after that time. */
int process_wait(struct process *p, unsigned seconds);
/* SIGTERM, and SIGKILL if that does not end it in time (status then STATUS_TIMEOUT). Returns the status. */
int process_stop(struct process *p);
/* SIGKILL, and wait. */
void process_kill(struct process *p);
/* Everything it printed up to now; valid until the next call of the same function for the same process. */
const char *process_stdout(struct process *p);
const char *process_stderr(struct process *p);
/* Fails the test if it printed a report of AddressSanitizer, LeakSanitizer or UBSan. */
void process_assert_sane(struct process *p);
/* Some child process of pid whose command name begins with name (15 characters as in /proc), or 0. */
pid_t process_child(pid_t pid, const char *name);
bool process_exists(pid_t pid); /* false for a zombie */
/* User and system time used so far, in clock ticks. */
uint64_t process_ticks(pid_t pid);

/* End every process started here and forget it. Called by the rig after each test. */
void commands_cleanup(void);
/* What of that may be called in a signal handler: SIGKILL to all. */
void commands_kill_all(void);

/*
 * A folder of this test program under /tmp, made at the first call. Removing it is for the program's end, and may
 * be done in a signal handler.
 */
const char *commands_folder(void);
void commands_remove_folder(void);

#endif
