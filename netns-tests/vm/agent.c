/*
 * The guest's side of the VM rig: runs the shell scripts that a test sends, one at a time.
 *
 *	agent PORT
 *
 * PORT is the virtio port to the test. It begins with a greeting, a line, which is sent back. Then
 *
 *	to the guest	SECONDS SIZE newline, and SIZE bytes of script
 *	to the test	STATUS SIZE newline, and SIZE bytes that the script printed
 *
 * STATUS is the exit status as a shell tells it, or -1 if the script did not end within SECONDS: then all of its
 * process group has been killed. What it left running in the background stays otherwise. Ends when the test hangs up.
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#define SCRIPT_MAX (1u << 16)

/* Exactly size bytes; false: the test has left. */
static int read_exactly(int port, char *data, size_t size)
{
	while (size > 0) {
		ssize_t n = read(port, data, size);

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return 0;
		data += n;
		size -= (size_t)n;
	}
	return 1;
}

static int read_line(int port, char *line, size_t room)
{
	for (size_t i = 0; i < room; i++) {
		if (!read_exactly(port, &line[i], 1))
			return 0;
		if (line[i] == '\n') {
			line[i] = '\0';
			return 1;
		}
	}
	return 0;
}

static int write_exactly(int port, const char *data, size_t size)
{
	while (size > 0) {
		ssize_t n = write(port, data, size);

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return 0;
		data += n;
		size -= (size_t)n;
	}
	return 1;
}

/* The shell in a process group of its own, its output in a file: what it leaves running may keep that open. */
static pid_t start(char *script, int output)
{
	char *arguments[] = {"sh", "-c", script, NULL};
	posix_spawn_file_actions_t files;
	posix_spawnattr_t attributes;
	pid_t pid = -1;

	posix_spawnattr_init(&attributes);
	posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETPGROUP);
	posix_spawn_file_actions_init(&files);
	posix_spawn_file_actions_addopen(&files, STDIN_FILENO, "/dev/null", O_RDONLY, 0);
	posix_spawn_file_actions_adddup2(&files, output, STDOUT_FILENO);
	posix_spawn_file_actions_adddup2(&files, output, STDERR_FILENO);
	if (posix_spawn(&pid, "/bin/sh", &files, &attributes, arguments, environ) != 0)
		pid = -1;
	posix_spawn_file_actions_destroy(&files);
	posix_spawnattr_destroy(&attributes);
	return pid;
}

static int await(pid_t pid, unsigned seconds)
{
	struct pollfd ended = {.fd = (int)syscall(SYS_pidfd_open, pid, 0), .events = POLLIN};
	int late = poll(&ended, 1, (int)(seconds * 1000)) != 1;
	int status = 0;

	if (late)
		kill(-pid, SIGKILL);
	waitpid(pid, &status, 0);
	close(ended.fd);
	if (late)
		return -1;
	return WIFSIGNALED(status) ? 128 + WTERMSIG(status) : WEXITSTATUS(status);
}

/* Run the script and tell of it; false: the test has left, or there is no way to go on. */
static int run(int port, char *script, unsigned seconds)
{
	int output = memfd_create("output", MFD_CLOEXEC);
	pid_t pid = output < 0 ? -1 : start(script, output);
	int status = pid < 0 ? 127 : await(pid, seconds), told = 0;
	struct stat file;
	char answer[64];
	void *text;

	if (output >= 0 && fstat(output, &file) == 0) {
		snprintf(answer, sizeof(answer), "%d %lld\n", status, (long long)file.st_size);
		text = file.st_size ? mmap(NULL, (size_t)file.st_size, PROT_READ, MAP_SHARED, output, 0)
				    : answer;
		told = text != MAP_FAILED && write_exactly(port, answer, strlen(answer)) &&
		       write_exactly(port, text, (size_t)file.st_size);
		if (file.st_size && text != MAP_FAILED)
			munmap(text, (size_t)file.st_size);
	}
	if (output >= 0)
		close(output);
	return told;
}

int main(int argc, char *argv[])
{
	static char script[SCRIPT_MAX + 1];
	char line[64];
	int port = argc == 2 ? open(argv[1], O_RDWR | O_CLOEXEC) : -1;
	unsigned seconds;
	size_t size;

	if (port < 0) {
		fprintf(stderr, "agent: no port\n");
		return EXIT_FAILURE;
	}
	/* A port hears a little late that the test is there; until then reading it meets its end. */
	while (!read_line(port, line, sizeof(line)))
		usleep(20000);
	if (!write_exactly(port, line, strlen(line)) || !write_exactly(port, "\n", 1))
		return EXIT_FAILURE;
	while (read_line(port, line, sizeof(line)) && sscanf(line, "%u %zu", &seconds, &size) == 2 &&
		size <= SCRIPT_MAX && read_exactly(port, script, size)) {
		script[size] = '\0';
		if (!run(port, script, seconds))
			return EXIT_FAILURE;
	}
	return EXIT_SUCCESS;
}
