/*
 * Commands and daemons of the namespace tests.
 *
 * Each child leads a process group of its own, so that a pipeline ends as a whole, and its end is awaited
 * through a pidfd with a deadline. `ip netns exec` puts it into a namespace: that execs in place, so the
 * child's pid is the program's. Output goes to a file, which never blocks the writer.
 */
#include "command.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#define MAX_PROCESSES 64
#define STOP_SECONDS  10

static struct process *processes[MAX_PROCESSES];
static volatile pid_t running_command; /* the child of command(), for the signal handler */
static char *output;
static char folder[64];
static unsigned started; /* numbers the output files */

/* --- time ---------------------------------------------------------------------------------------------- */

void pause_ms(unsigned ms)
{
	sleep_us(ms * 1000);
}

unsigned slow_factor(void)
{
#ifdef __SANITIZE_ADDRESS__
	return 3;
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
	return 3;
#else
	return 1;
#endif
#else
	return 1;
#endif
}

/* --- starting and reaping --------------------------------------------------------------------------------- */

/* In the child: never returns. out and err are descriptors. */
__attribute__((noreturn)) static void exec_shell(const char *netns, const char *line, int out, int err)
{
	int null = open("/dev/null", O_RDONLY);
	sigset_t none;

	setpgid(0, 0);
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	dup2(null, 0);
	dup2(out, 1);
	dup2(err, 2);
	for (int sig = 1; sig < NSIG; sig++)
		signal(sig, SIG_DFL);
	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
	if (netns)
		execlp("ip", "ip", "netns", "exec", netns, "sh", "-c", line, (char *)NULL);
	else
		execlp("sh", "sh", "-c", line, (char *)NULL);
	dprintf(2, "cannot run the shell: %s\n", strerror(errno));
	_exit(127);
}

/* Signals wait until the child has put off our handlers: it must not clean up in our place. */
static pid_t spawn(const char *netns, const char *line, int out, int err)
{
	sigset_t all, before;
	pid_t pid;

	sigfillset(&all);
	sigprocmask(SIG_BLOCK, &all, &before);
	pid = fork();
	if (pid == 0)
		exec_shell(netns, line, out, err);
	sigprocmask(SIG_SETMASK, &before, NULL);
	if (pid < 0)
		fail_msg("fork: %s", strerror(errno));
	setpgid(pid, pid); /* whoever comes first, child or parent: kill(-pid) works from here on */
	return pid;
}

static int status_of(int wait_status)
{
	return WIFSIGNALED(wait_status) ? STATUS_SIGNAL + WTERMSIG(wait_status) : WEXITSTATUS(wait_status);
}

/* Wait for a child's end until the deadline (CLOCK_MONOTONIC ms). True if it has ended: *status is set. */
static bool reap(pid_t pid, int64_t deadline, int *status)
{
	int fd = (int)syscall(SYS_pidfd_open, pid, 0);
	int wait_status;
	pid_t got;

	for (;;) {
		int64_t left = deadline - clock_ms();
		struct pollfd p = {.fd = fd, .events = POLLIN};

		got = waitpid(pid, &wait_status, WNOHANG);
		if (got != 0 || left <= 0)
			break;
		poll(&p, 1, (int)left);
	}
	close(fd);
	if (got == 0)
		return false;
	*status = got < 0 ? STATUS_TIMEOUT : status_of(wait_status);
	return true;
}

static char *read_all(int fd)
{
	size_t size = 0, room = 4096;
	char *text = malloc(room);

	for (;;) {
		ssize_t n = pread(fd, text + size, room - size - 1, (off_t)size);

		if (n <= 0)
			break;
		size += (size_t)n;
		if (room - size < 2)
			text = realloc(text, room *= 2);
	}
	text[size] = 0;
	return text;
}

/* --- commands ------------------------------------------------------------------------------------------ */

const char *command_output(void)
{
	return output ? output : "";
}

static int run(unsigned seconds, const char *netns, const char *line)
{
	int fd = memfd_create("command-output", MFD_CLOEXEC);
	int64_t deadline = clock_ms() + 1000 * (int64_t)seconds * slow_factor();
	int status;
	pid_t pid = spawn(netns, line, fd, fd);

	running_command = pid;
	if (!reap(pid, deadline, &status)) {
		kill(-pid, SIGKILL);
		reap(pid, clock_ms() + 5000, &status);
		status = STATUS_TIMEOUT;
	}
	running_command = 0;
	free(output);
	output = read_all(fd);
	close(fd);
	return status;
}

#define FORMAT_LINE(line, format)                             \
	char line[4096];                                      \
	do {                                                  \
		va_list args_;                                \
		va_start(args_, format);                      \
		vsnprintf(line, sizeof(line), format, args_); \
		va_end(args_);                                \
	} while (0)

int command(const char *netns, const char *format, ...)
{
	FORMAT_LINE(line, format);
	return run(COMMAND_SECONDS, netns, line);
}

int command_within(unsigned seconds, const char *netns, const char *format, ...)
{
	FORMAT_LINE(line, format);
	return run(seconds, netns, line);
}

static void must_succeed(const char *netns, const char *line)
{
	int status = run(COMMAND_SECONDS, netns, line);

	if (status)
		fail_msg("%s: `%s` ended with %d:\n%s", netns ? netns : "here", line, status,
			command_output());
}

const char *command_ok(const char *netns, const char *format, ...)
{
	FORMAT_LINE(line, format);
	must_succeed(netns, line);
	return command_output();
}

uint64_t command_number(const char *netns, const char *format, ...)
{
	char *end;
	uint64_t value;

	FORMAT_LINE(line, format);
	must_succeed(netns, line);
	value = strtoull(command_output(), &end, 10);
	if (end == command_output() || (*end && *end != '\n'))
		fail_msg("`%s` printed no number but: %s", line, command_output());
	return value;
}

/* --- programs beside the test ---------------------------------------------------------------------------- */

struct process *process_start(const char *name, const char *netns, const char *format, ...)
{
	struct process *p = calloc(1, sizeof(*p));
	unsigned slot = 0;
	int out, err;

	FORMAT_LINE(line, format);
	while (slot < MAX_PROCESSES && processes[slot])
		slot++;
	assert_true(p != NULL && slot < MAX_PROCESSES);
	snprintf(p->name, sizeof(p->name), "%s", name);
	snprintf(p->stdout_path, sizeof(p->stdout_path), "%s/%u-%s.out", commands_folder(), started, name);
	snprintf(p->stderr_path, sizeof(p->stderr_path), "%s/%u-%s.err", commands_folder(), started, name);
	started++;
	out = open(p->stdout_path, O_CREAT | O_TRUNC | O_WRONLY | O_APPEND | O_CLOEXEC, 0666);
	err = open(p->stderr_path, O_CREAT | O_TRUNC | O_WRONLY | O_APPEND | O_CLOEXEC, 0666);
	p->pid = spawn(netns, line, out, err);
	close(out);
	close(err);
	processes[slot] = p;
	return p;
}

static bool await_end(struct process *p, unsigned seconds)
{
	if (p->pid && reap(p->pid, clock_ms() + 1000 * (int64_t)seconds * slow_factor(), &p->status))
		p->pid = 0;
	return p->pid == 0;
}

bool process_running(struct process *p)
{
	return !await_end(p, 0);
}

int process_wait(struct process *p, unsigned seconds)
{
	return await_end(p, seconds) ? p->status : STATUS_TIMEOUT;
}

int process_stop(struct process *p)
{
	if (!process_running(p))
		return p->status;
	kill(p->pid, SIGTERM);
	if (!await_end(p, STOP_SECONDS)) {
		process_kill(p);
		p->status = STATUS_TIMEOUT;
	}
	return p->status;
}

void process_kill(struct process *p)
{
	if (!process_running(p))
		return;
	kill(-p->pid, SIGKILL);
	await_end(p, STOP_SECONDS);
}

static const char *read_again(char **text, const char *path)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC);

	free(*text);
	*text = fd < 0 ? strdup("") : read_all(fd);
	if (fd >= 0)
		close(fd);
	return *text;
}

const char *process_stdout(struct process *p)
{
	return read_again(&p->stdout_text, p->stdout_path);
}

const char *process_stderr(struct process *p)
{
	return read_again(&p->stderr_text, p->stderr_path);
}

void process_assert_sane(struct process *p)
{
	static const char *const reports[] = {"ERROR: AddressSanitizer", "ERROR: LeakSanitizer",
		"runtime error:", "AddressSanitizer:DEADLYSIGNAL", "terminated by signal"};
	const char *text = process_stderr(p);

	for (size_t i = 0; i < sizeof(reports) / sizeof(reports[0]); i++)
		if (strstr(text, reports[i]))
			fail_msg("%s printed a sanitizer report:\n%s", p->name, text);
}

/* Parent and state out of /proc/PID/stat; false if there is no such process. */
static bool read_stat(pid_t pid, char name[32], char *state, pid_t *parent, uint64_t *ticks)
{
	char path[64], line[1024];
	unsigned long utime, stime;
	FILE *f;
	char *close_paren;
	bool ok;

	snprintf(path, sizeof(path), "/proc/%d/stat", (int)pid);
	f = fopen(path, "re");
	if (!f)
		return false;
	ok = fgets(line, sizeof(line), f) != NULL;
	fclose(f);
	close_paren = ok ? strrchr(line, ')') : NULL; /* the name may hold blanks and parentheses */
	if (!close_paren)
		return false;
	*close_paren = 0;
	snprintf(name, 32, "%s", strchr(line, '(') + 1);
	ok = sscanf(close_paren + 1, " %c %d %*d %*d %*d %*d %*u %*u %*u %*u %*u %lu %lu", state, parent,
		     &utime, &stime) == 4;
	*ticks = ok ? utime + stime : 0;
	return ok;
}

pid_t process_child(pid_t pid, const char *name)
{
	DIR *proc = opendir("/proc");
	struct dirent *entry;
	pid_t found = 0;

	while (proc && !found && (entry = readdir(proc))) {
		pid_t candidate = atoi(entry->d_name), parent;
		char comm[32], state;
		uint64_t ticks;

		if (candidate > 0 && read_stat(candidate, comm, &state, &parent, &ticks) && parent == pid &&
			state != 'Z' && !strncmp(comm, name, strlen(name)))
			found = candidate;
	}
	if (proc)
		closedir(proc);
	return found;
}

bool process_exists(pid_t pid)
{
	char comm[32], state;
	pid_t parent;
	uint64_t ticks;

	return read_stat(pid, comm, &state, &parent, &ticks) && state != 'Z' && state != 'X';
}

uint64_t process_ticks(pid_t pid)
{
	char comm[32], state;
	pid_t parent;
	uint64_t ticks;

	return read_stat(pid, comm, &state, &parent, &ticks) ? ticks : 0;
}

/* --- the end ------------------------------------------------------------------------------------------------ */

void commands_cleanup(void)
{
	for (unsigned i = 0; i < MAX_PROCESSES; i++) {
		struct process *p = processes[i];

		if (!p)
			continue;
		process_kill(p);
		unlink(p->stdout_path);
		unlink(p->stderr_path);
		free(p->stdout_text);
		free(p->stderr_text);
		free(p);
		processes[i] = NULL;
	}
	free(output);
	output = NULL;
}

void commands_kill_all(void)
{
	if (running_command)
		kill(-running_command, SIGKILL);
	for (unsigned i = 0; i < MAX_PROCESSES; i++)
		if (processes[i] && processes[i]->pid)
			kill(-processes[i]->pid, SIGKILL);
}

const char *commands_folder(void)
{
	if (!folder[0]) {
		snprintf(folder, sizeof(folder), "/tmp/ixytest-%d", (int)getpid());
		mkdir(folder, 0755);
	}
	return folder;
}

void commands_remove_folder(void)
{
	pid_t pid;

	if (!folder[0])
		return;
	pid = fork();
	if (pid == 0) {
		execl("/bin/rm", "rm", "-rf", folder, (char *)NULL);
		_exit(127);
	}
	waitpid(pid, NULL, 0);
	folder[0] = 0;
}
