/*
 * What the applications share, so that each shows its own subject and little else: options with --help from one
 * table, an end by signal or after a time, and a line of rates a second.
 *
 *	static uint64_t batch = 64;
 *	static const struct app_option options[] = {
 *		{'b', "batch", "N", "frames a call", APP_NUMBER, &batch, 1, 256},
 *		APP_COMMON_OPTIONS,
 *	};
 *	static struct app_rate rx = {.name = "rx"}, *rates[] = {&rx, NULL};
 *
 *	int main(int argc, char **argv)
 *	{
 *		char **ifnames = app_begin(&(struct app){.about = "...", .arguments = "IFNAME", ...}, argc, argv);
 *		...
 *		app_rates(rates);
 *		while (app_running())
 *			app_count(&rx, frames, bytes);
 *		return app_end();
 *	}
 *
 * These are programs, not a library: what goes wrong is said on stderr and ends them.
 */
#ifndef APPS_APP_H
#define APPS_APP_H

#include <signal.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct xsk_program;
struct xsk_socket;

/* --- options -------------------------------------------------------------------------------------------- */

/* What an option's argument is, and what its value points to. */
enum app_kind {
	APP_FLAG,     /* none; bool */
	APP_NUMBER,   /* 1500000, 1500k, 1.5M: decimal; uint64_t */
	APP_SIZE,     /* 2048, 2K, 16M: powers of two; uint64_t, bytes */
	APP_DURATION, /* 500us, 20ms, 10s, 10, 2m, 1h; uint64_t, nanoseconds */
	APP_TEXT,     /* const char * */
	APP_CHOICE,   /* one of the words in `argument` (auto|fast|slow); unsigned, the word's index */
	APP_CALL      /* bool function(const char *), false if it cannot be; may come several times */
};

struct app_option {
	char letter; /* 0: only the long name */
	const char *name, *argument, *help;
	enum app_kind kind;
	void *value;       /* holds the default, which --help shows unless it is 0 */
	uint64_t min, max; /* of numbers, sizes and durations; max 0: no limit */
	bool (*call)(const char *text);
};

/* Every table ends with these: --time, --quiet, --help, and the end mark. */
/* clang-format off */
#define APP_COMMON_OPTIONS \
	{'t', "time", "TIME", "end after this time, as in 10s or 500ms", APP_DURATION, &app_time, 0, 0, NULL}, \
	{0, "quiet", NULL, "no line of rates a second", APP_FLAG, &app_quiet, 0, 0, NULL}, \
	{'h', "help", NULL, "this text", APP_FLAG, &app_help, 0, 0, NULL}, \
	{0}
/* clang-format on */
extern uint64_t app_time;
extern bool app_quiet, app_help;

struct app {
	const char *about;     /* what it does, in a sentence or some lines */
	const char *arguments; /* "IFNAME [IFNAME]" */
	unsigned least, most;  /* how many of these there may be */
	const char *example;   /* a command line as typed, after the program's name */
	const struct app_option *options;
};

/*
 * Read the command line, and from now on catch SIGINT, SIGTERM and SIGHUP (a second one ends the program at once), and
 * SIGPIPE.
 * Returns the arguments that are no options, NULL after the last. Ends the program after --help, and with
 * status 2 when the command line is wrong.
 */
char **app_begin(const struct app *app, int argc, char **argv);

/* --- parts of an argument, for APP_CALL ----------------------------------------------------------------- */

/* Digits, with or without a point, at *text, which is then behind them. False: none, or what else strtod() takes. */
bool app_decimal(const char **text, double *value);
/* Digits alone, of a number up to max. */
bool app_digits(const char **text, uint32_t max, uint32_t *value);
/* k, M or G at *text, which is then behind it: base (1000 or 1024), its square, its cube. 1 where there is none. */
double app_prefix(const char **text, double base);
/* The index of a word of so many characters in "auto|fast|slow", or -1. */
int app_choice(const char *words, const char *word, size_t length);

/* --- running -------------------------------------------------------------------------------------------- */

/* Behind the next two: a signal came; the end has come; look what it is. */
extern volatile sig_atomic_t app_attention;
extern atomic_bool app_stopping;
bool app_attend(void);

/* Counted up by app_running(), ten times a second: for what has to be done now and then. */
extern unsigned app_ticks;

/*
 * For the main thread's loop: true until a signal comes or the time is over; says the rates when a second is over.
 * Costs a load while nothing happens. Calls that wait (poll) return EINTR ten times a second, so that no loop
 * sticks in one.
 */
static inline bool app_running(void)
{
	return !app_attention || app_attend();
}

/* The same for other threads, which do not print: true when it is time to end. */
static inline bool app_stopped(void)
{
	return atomic_load_explicit(&app_stopping, memory_order_relaxed);
}

/* End as if a signal had come: the work is done. Any thread. */
void app_stop(void);

/* Say the totals. Returns what main() returns: 0. */
int app_end(void);

uint64_t app_now(void); /* CLOCK_MONOTONIC in nanoseconds */

/* calloc(); the end of the program where it fails. */
void *app_allocate(size_t count, size_t size);

/* For what the library returns: end the program with ixy_last_error() if it is negative. Returns result. */
int app_check(int result);

/*
 * For a socket that only sends. In zero copy Intel's drivers send only while an XDP program is on the interface:
 * put one there, which lets all frames pass to the kernel. NULL where none is needed. xsk_program_free() at the end.
 */
struct xsk_program *app_program_to_send(const struct xsk_socket *socket, const char *ifname);

/*
 * Bytes of a UMEM frame to receive into: 4096 where the interface may have zero copy, else 2048. The 82599 counts its
 * buffers in KiB: of 2048 bytes less the headroom it uses 1024, and its driver drops what is longer.
 */
uint32_t app_frame_size(const char *ifname);

/* Text as a JSON string with its quotes: what comes from a command line may have anything in it. */
void app_json_string(const char *text);

/* --- rates ---------------------------------------------------------------------------------------------- */

/* What one thread counts and the main thread prints. */
struct app_rate {
	const char *name; /* "rx", "eth1 to eth2" */
	_Atomic uint64_t frames, bytes, drops;
	uint64_t last_frames, last_bytes, last_drops; /* the main thread's, at the last line */
};

/* These are said from now on: pointers, NULL after the last. Static or otherwise there until app_end(). */
void app_rates(struct app_rate *const rates[]);

/* Adding is not one atomic step: each counter has one thread that writes. */
static inline void app_add(_Atomic uint64_t *counter, uint64_t more)
{
	atomic_store_explicit(
		counter, atomic_load_explicit(counter, memory_order_relaxed) + more, memory_order_relaxed);
}

static inline void app_count(struct app_rate *rate, uint64_t frames, uint64_t bytes)
{
	app_add(&rate->frames, frames);
	app_add(&rate->bytes, bytes);
}

/* What somebody else counts, a device say, instead of app_count() and app_drop(). */
static inline void app_set(struct app_rate *rate, uint64_t frames, uint64_t bytes, uint64_t drops)
{
	atomic_store_explicit(&rate->frames, frames, memory_order_relaxed);
	atomic_store_explicit(&rate->bytes, bytes, memory_order_relaxed);
	atomic_store_explicit(&rate->drops, drops, memory_order_relaxed);
}

static inline void app_drop(struct app_rate *rate, uint64_t frames)
{
	app_add(&rate->drops, frames);
}

static inline uint64_t app_frames(const struct app_rate *rate)
{
	return atomic_load_explicit(&rate->frames, memory_order_relaxed);
}

#endif
