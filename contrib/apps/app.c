/*
 * Options, end and rates of the applications; see app.h.
 *
 * Time comes by signal: a timer ten times a second sets a flag, which the main loop sees in app_running(). So the
 * fast path asks no clock, and a loop that sleeps in poll() is woken up.
 */
#include "contrib/apps/app.h"

#include <errno.h>
#include <getopt.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/time.h>

#include "driver/clock.h"
#include "driver/ixy.h"
#include "driver/xdp/xsk.h"

#define MAX_OPTIONS 32
#define SECOND      UINT64_C(1000000000)

uint64_t app_time;
bool app_quiet, app_help;
volatile sig_atomic_t app_attention;
atomic_bool app_stopping;
unsigned app_ticks;

static struct app_rate *const *all_rates;
static uint64_t started, last_line; /* when */

/* --- arguments ------------------------------------------------------------------------------------------ */

struct unit {
	const char *name;
	double factor;
};

static const struct unit durations[] = {
	{"", 1e9}, {"ns", 1}, {"us", 1e3}, {"ms", 1e6}, {"s", 1e9}, {"m", 60e9}, {"h", 3600e9}, {NULL, 0}};

/* A number of none but these characters: strtod() also takes "inf", "nan", hexadecimal and signs. */
static bool number(const char **text, const char *characters, double *value)
{
	const char *begin = *text;
	char *end;

	*value = strtod(begin, &end);
	*text = end;
	return end != begin && strspn(begin, characters) >= (size_t)(end - begin);
}

bool app_decimal(const char **text, double *value)
{
	return number(text, "0123456789.", value);
}

bool app_digits(const char **text, uint32_t max, uint32_t *value)
{
	size_t digits = strspn(*text, "0123456789");
	unsigned long long n = strtoull(*text, NULL, 10); /* of too many: the largest there is */

	*text += digits;
	*value = (uint32_t)n;
	return digits && n <= max;
}

double app_prefix(const char **text, double base)
{
	switch (**text) {
	case 'k':
	case 'K': ++*text; return base;
	case 'M': ++*text; return base * base;
	case 'G': ++*text; return base * base * base;
	default: return 1;
	}
}

int app_choice(const char *words, const char *word, size_t length)
{
	for (int i = 0;; i++) {
		size_t this = strcspn(words, "|");

		if (this == length && !strncmp(words, word, length))
			return i;
		if (!words[this])
			return -1;
		words += this + 1;
	}
}

static double duration(const char **text)
{
	const struct unit *unit = durations;

	while (unit->name && strcmp(unit->name, *text))
		unit++;
	if (unit->name)
		*text += strlen(unit->name);
	return unit->factor;
}

static bool parse(enum app_kind kind, const char *text, uint64_t *value)
{
	double n;

	if (!number(&text, "0123456789.e", &n))
		return false;
	n *= kind == APP_DURATION ? duration(&text) : app_prefix(&text, kind == APP_SIZE ? 1024 : 1000);
	/* Up to there a double counts in ones. */
	if (*text || n > 0x1p53 || (kind != APP_DURATION && n != floor(n)))
		return false;
	*value = (uint64_t)n;
	return true;
}

static bool set_option(const struct app_option *option, const char *text)
{
	uint64_t value;
	int index;

	switch (option->kind) {
	case APP_FLAG: *(bool *)option->value = true; return true;
	case APP_TEXT: *(const char **)option->value = text; return true;
	case APP_CALL: return option->call(text);
	case APP_CHOICE:
		index = app_choice(option->argument, text, strlen(text));
		if (index >= 0)
			*(unsigned *)option->value = (unsigned)index;
		return index >= 0;
	case APP_NUMBER:
	case APP_SIZE:
	case APP_DURATION: break;
	}
	if (!parse(option->kind, text, &value) || value < option->min || (option->max && value > option->max))
		return false;
	*(uint64_t *)option->value = value;
	return true;
}

/* --- help ----------------------------------------------------------------------------------------------- */

static void print_default(const struct app_option *option)
{
	uint64_t number;

	if (option->kind == APP_TEXT && *(const char **)option->value)
		printf(" (default %s)", *(const char **)option->value);
	if (option->kind != APP_NUMBER && option->kind != APP_SIZE && option->kind != APP_DURATION)
		return;
	number = *(uint64_t *)option->value;
	if (!number || number == UINT64_MAX) /* nothing, and the application's own sign for it */
		return;
	if (option->kind == APP_DURATION)
		printf(" (default %g s)", (double)number / SECOND);
	else if (option->kind == APP_SIZE && number % (1 << 20) == 0)
		printf(" (default %lluM)", (unsigned long long)number >> 20);
	else
		printf(" (default %llu)", (unsigned long long)number);
}

static void print_help(const struct app *app)
{
	printf("usage: %s [OPTION]... %s\n\n%s\n\n", program_invocation_short_name, app->arguments,
		app->about);
	for (const struct app_option *option = app->options; option->name; option++) {
		char letter[] = {option->letter ? '-' : ' ', option->letter ? option->letter : ' ',
			option->letter ? ',' : ' ', 0};
		char left[64];

		snprintf(left, sizeof(left), "--%s%s%s", option->name, option->argument ? " " : "",
			option->argument ? option->argument : "");
		printf("  %s %-22s ", letter, left);
		if (strlen(left) > 22) /* too long for its column */
			printf("\n%29s", "");
		printf("%s", option->help);
		print_default(option);
		putchar('\n');
	}
	if (app->example)
		printf("\nexample: %s %s\n", program_invocation_short_name, app->example);
}

/* --- signals -------------------------------------------------------------------------------------------- */

static void on_signal(int number)
{
	if (number != SIGALRM)
		atomic_store(&app_stopping, true);
	app_attention = 1;
}

/*
 * Whatever usually ends a program ends it in order, as devices have to be stopped: a terminal that is closed (unless
 * nohup has said that this does not matter), a reader of the output that has seen enough.
 * SA_RESTART: output must not be cut short by the timer; poll() returns EINTR all the same.
 * SA_RESETHAND: who sends a second signal means it. The lines after the first that nobody reads are no such signal.
 */
static void catch_signals(void)
{
	struct sigaction action = {.sa_handler = on_signal, .sa_flags = SA_RESTART}, before;
	struct itimerval interval = {{.tv_usec = 100000}, {.tv_usec = 100000}};

	sigaction(SIGALRM, &action, NULL);
	sigaction(SIGPIPE, &action, NULL);
	action.sa_flags |= SA_RESETHAND;
	if (sigaction(SIGHUP, NULL, &before) == 0 && before.sa_handler != SIG_IGN)
		sigaction(SIGHUP, &action, NULL);
	sigaction(SIGINT, &action, NULL);
	sigaction(SIGTERM, &action, NULL);
	setitimer(ITIMER_REAL, &interval, NULL);
}

static void print_notice(enum ixy_log_level level, const char *text)
{
	if (level <= IXY_LOG_INFO)
		fprintf(stderr, "%s: %s\n", program_invocation_short_name, text);
}

/* --- begin and end -------------------------------------------------------------------------------------- */

static void wrong_usage(void)
{
	fprintf(stderr, "try: %s --help\n", program_invocation_short_name);
	exit(2);
}

char **app_begin(const struct app *app, int argc, char **argv)
{
	struct option longs[MAX_OPTIONS + 1] = {0};
	char letters[2 * MAX_OPTIONS + 1] = "";
	unsigned arguments;
	int index;

	for (unsigned i = 0; i < MAX_OPTIONS && app->options[i].name; i++) {
		const struct app_option *option = &app->options[i];

		longs[i] = (struct option){option->name,
			option->kind == APP_FLAG ? no_argument : required_argument, NULL, (int)i + 256};
		if (option->letter)
			sprintf(letters + strlen(letters), "%c%s", option->letter,
				option->kind == APP_FLAG ? "" : ":");
	}
	while ((index = getopt_long(argc, argv, letters, longs, NULL)) != -1) {
		const struct app_option *option = app->options;

		if (index == '?')
			wrong_usage();
		if (index >= 256)
			option += index - 256;
		else
			while (option->letter != index)
				option++;
		if (!set_option(option, optarg)) {
			fprintf(stderr, "%s: --%s %s: expected %s", program_invocation_short_name,
				option->name, optarg, option->argument);
			if (option->max)
				fprintf(stderr, ", %llu to %llu", (unsigned long long)option->min,
					(unsigned long long)option->max);
			fputc('\n', stderr);
			wrong_usage();
		}
	}
	if (app_help) {
		print_help(app);
		exit(0);
	}
	arguments = (unsigned)(argc - optind);
	if (arguments < app->least || arguments > app->most) {
		fprintf(stderr, "usage: %s [OPTION]... %s\n", program_invocation_short_name, app->arguments);
		wrong_usage();
	}

	setlinebuf(stdout);
	ixy_set_log(print_notice);
	catch_signals();
	started = last_line = app_now();
	return argv + optind;
}

int app_check(int result)
{
	if (result >= 0)
		return result;
	/* The functions of the fast path leave no sentence. */
	fprintf(stderr, "%s: %s\n", program_invocation_short_name,
		*ixy_last_error() ? ixy_last_error() : strerror(-result));
	exit(1);
}

uint64_t app_now(void)
{
	return clock_ns();
}

void *app_allocate(size_t count, size_t size)
{
	void *memory = calloc(count, size);

	if (memory)
		return memory;
	fprintf(stderr, "%s: out of memory\n", program_invocation_short_name);
	exit(1);
}

void app_json_string(const char *text)
{
	putchar('"');
	for (; *text; text++) {
		if ((unsigned char)*text < ' ')
			printf("\\u%04x", (unsigned char)*text);
		else
			printf("%s%c", *text == '"' || *text == '\\' ? "\\" : "", *text);
	}
	putchar('"');
}

/* --- rates ---------------------------------------------------------------------------------------------- */

void app_rates(struct app_rate *const rates[])
{
	all_rates = rates;
	started = last_line = app_now();
}

/* Bits as the frames have them: without CRC, preamble and gap. */
static void print_line(uint64_t now)
{
	double seconds = (double)(now - last_line) / SECOND;

	printf("%6.1f s", (double)(now - started) / SECOND);
	for (struct app_rate *const *r = all_rates; *r; r++) {
		struct app_rate *rate = *r;
		uint64_t frames = app_frames(rate),
			 bytes = atomic_load_explicit(&rate->bytes, memory_order_relaxed);
		uint64_t drops = atomic_load_explicit(&rate->drops, memory_order_relaxed);

		printf("   %s %.3f Mpps %.0f Mbit/s", rate->name,
			(double)(frames - rate->last_frames) / seconds / 1e6,
			(double)(bytes - rate->last_bytes) * 8 / seconds / 1e6);
		if (drops > rate->last_drops)
			printf(" %llu dropped", (unsigned long long)(drops - rate->last_drops));
		rate->last_frames = frames;
		rate->last_bytes = bytes;
		rate->last_drops = drops;
	}
	putchar('\n');
}

bool app_attend(void)
{
	uint64_t now = app_now();

	app_attention = 0; /* before looking, or a signal in between would be lost */
	app_ticks++;
	if (app_time && now - started >= app_time)
		app_stop();
	if (app_stopped()) {
		app_attention = 1;
		return false;
	}
	if (now - last_line >= SECOND && all_rates && !app_quiet) {
		print_line(now);
		last_line = now;
	}
	return true;
}

struct xsk_program *app_program_to_send(const struct xsk_socket *socket, const char *ifname)
{
	struct xsk_program *program;
	int rc;

	if (!xsk_socket_zero_copy(socket))
		return NULL;
	app_check(xsk_program_load(NULL, &program));
	rc = xsk_program_attach(program, ifname, XSK_ATTACH_NATIVE);
	if (rc != -EBUSY) /* somebody's program will do */
		app_check(rc);
	return program;
}

uint32_t app_frame_size(const char *ifname)
{
	struct xsk_interface interface;

	/* One that is not there is left to xsk_socket_open() to complain of. */
	if (xsk_probe_interface(ifname, &interface) < 0 || (interface.features_known && !interface.zero_copy))
		return XSK_DEFAULT_FRAME_SIZE;
	return 4096;
}

void app_stop(void)
{
	atomic_store(&app_stopping, true);
	app_attention = 1;
}

int app_end(void)
{
	double seconds = (double)(app_now() - started) / SECOND;

	for (struct app_rate *const *r = all_rates; r && *r; r++) {
		uint64_t frames = app_frames(*r), bytes = atomic_load(&(*r)->bytes),
			 drops = atomic_load(&(*r)->drops);

		printf("%s: %llu frames, %llu bytes, %llu dropped in %.3f s: %.3f Mpps\n", (*r)->name,
			(unsigned long long)frames, (unsigned long long)bytes, (unsigned long long)drops,
			seconds, (double)frames / seconds / 1e6);
	}
	return 0;
}
