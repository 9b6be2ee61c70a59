/*
 * soft:IFNAME[,control=PATH]: a software 82599 of one's own, with its cable plugged into an interface.
 *
 * Starts ixy-softnic as a child that serves one client on an inherited socket, and becomes that client. The
 * child ends when the socket is closed, so it cannot outlive this process; where it would not (it hangs), it
 * is killed. It is led through a pidfd, as a program that uses this library may have a SIGCHLD handler that
 * reaps every child, after which the pid may belong to somebody else.
 */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <net/if.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#include "driver/ixy.h"
#include "driver/pci/transport.h"

#define PROGRAM         "ixy-softnic"
#define CHILD_SOCKET    3    /* the descriptor that the child finds its socket at */
#define GRACE_HANGUP_MS 3000 /* to end by itself once its client has gone: it prints its statistics then */
#define GRACE_TERM_MS   1000 /* to end on SIGTERM */

struct child {
	pid_t pid;
	int pidfd;
};

/* --- finding the program ------------------------------------------------------------------------- */

/* Beside the running program. Returns false if there is none. */
static bool find_beside(char path[PATH_MAX])
{
	ssize_t length = readlink("/proc/self/exe", path, PATH_MAX - 1);
	char *slash;

	if (length <= 0)
		return false;
	path[length] = '\0';
	slash = strrchr(path, '/');
	if (!slash || (size_t)(slash + 1 - path) + sizeof(PROGRAM) > PATH_MAX)
		return false;
	strcpy(slash + 1, PROGRAM);
	return access(path, X_OK) == 0;
}

static bool find_in_path(char path[PATH_MAX])
{
	const char *list = getenv("PATH");

	while (list && *list) {
		size_t length = strcspn(list, ":");

		if (length > 0 && length + 1 + sizeof(PROGRAM) <= PATH_MAX) {
			snprintf(path, PATH_MAX, "%.*s/" PROGRAM, (int)length, list);
			if (access(path, X_OK) == 0)
				return true;
		}
		list += length + (list[length] == ':');
	}
	return false;
}

static int find_program(const char *name, const struct ixy_options *options, char path[PATH_MAX])
{
	const char *told = options->softnic_path ? options->softnic_path : getenv("IXY_SOFTNIC");

	if (!told) {
		if (find_beside(path) || find_in_path(path))
			return 0;
		return ixy_fail(ENODEV,
			"%s: " PROGRAM " is neither beside this program nor in PATH: "
			"set IXY_SOFTNIC=/path/to/" PROGRAM,
			name);
	}
	if (strlen(told) >= PATH_MAX)
		return ixy_fail(EINVAL, "%s: the path of " PROGRAM " is too long", name);
	strcpy(path, told);
	if (access(path, X_OK) < 0)
		return ixy_fail(errno == EACCES ? EACCES : ENODEV, "%s: cannot run %s: %s", name, path,
			strerror(errno));
	return 0;
}

/* --- the child ----------------------------------------------------------------------------------- */

/* Between fork and exec of a program that may have threads: async-signal-safe calls only. */
static void __attribute__((noreturn))
become(const char *path, char *const argv[], int socket, int report, pid_t parent, bool tie_to_parent)
{
	struct sigaction action = {.sa_handler = SIG_DFL};
	sigset_t none;
	int null, err;

	/* A session of its own: Ctrl-C at the terminal ends the daemon first, which then ends this. */
	setsid();
	/*
	 * Should the parent die while the child hangs. The signal comes when the *thread* that forked ends,
	 * so this is only for the main thread.
	 */
	if (tie_to_parent) {
		prctl(PR_SET_PDEATHSIG, SIGTERM);
		if (getppid() != parent)
			_exit(1);
	}
	sigemptyset(&none);
	for (int signal = 1; signal < _NSIG; signal++)
		sigaction(signal, &action, NULL);
	sigprocmask(SIG_SETMASK, &none, NULL);

	/* stdout belongs to the parent's user, who may parse it; what the child has to say is on stderr. */
	null = open("/dev/null", O_RDWR);
	if (null >= 0) {
		dup2(null, STDIN_FILENO);
		dup2(null, STDOUT_FILENO);
	}
	/* Out of the way of CHILD_SOCKET, then everything but the socket and the report closed on exec. */
	socket = fcntl(socket, F_DUPFD_CLOEXEC, 10);
	report = fcntl(report, F_DUPFD_CLOEXEC, 10);
	if (socket >= 0 && report >= 0 && dup2(socket, CHILD_SOCKET) >= 0) {
		syscall(SYS_close_range, CHILD_SOCKET + 1, ~0U, 1U << 2 /* CLOSE_RANGE_CLOEXEC */);
		execv(path, argv);
	}
	err = errno;
	if (write(report, &err, sizeof(err)) < 0)
		_exit(126);
	_exit(127);
}

static bool ended_within(const struct child *child, int ms)
{
	struct pollfd pollfd = {.fd = child->pidfd, .events = POLLIN};
	int ready;

	do
		ready = poll(&pollfd, 1, ms);
	while (ready < 0 && errno == EINTR);
	return ready > 0;
}

/* Its exit status is the child's own business: it has printed what there is to say. */
static int reap(struct child *child, int grace_ms)
{
	int status = -1;

	if (!ended_within(child, grace_ms)) {
		syscall(SYS_pidfd_send_signal, child->pidfd, SIGTERM, NULL, 0);
		if (!ended_within(child, GRACE_TERM_MS)) {
			syscall(SYS_pidfd_send_signal, child->pidfd, SIGKILL, NULL, 0);
			ended_within(child, -1);
		}
	}
	if (waitpid(child->pid, &status, 0) != child->pid)
		status = -1;
	close(child->pidfd);
	return status;
}

static void child_released(void *arg)
{
	struct child *child = arg;

	reap(child, GRACE_HANGUP_MS);
	free(child);
}

/* Starts the program; its socket becomes *fd. */
static int spawn(const char *name, const char *path, char *const argv[], struct child *child, int *fd)
{
	pid_t parent = getpid();
	bool main_thread = syscall(SYS_gettid) == parent;
	int sockets[2], report[2], child_errno, err;
	sigset_t all, before;
	ssize_t got;

	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, sockets) < 0)
		return ixy_fail(errno, "%s: socketpair: %s", name, strerror(errno));
	/* Closes by exec, so that end of file says that the program runs. */
	if (pipe2(report, O_CLOEXEC) < 0) {
		err = ixy_fail(errno, "%s: pipe: %s", name, strerror(errno));
		goto fail_sockets;
	}
	/* No handler of the parent may run in the child: it would write to the parent's own pipes. */
	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &before);
	child->pid = fork();
	if (child->pid == 0)
		become(path, argv, sockets[1], report[1], parent, main_thread);
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	if (child->pid < 0) {
		err = ixy_fail(errno, "%s: fork: %s", name, strerror(errno));
		goto fail_report;
	}
	close(sockets[1]);
	close(report[1]);
	sockets[1] = report[1] = -1;
	child->pidfd = (int)syscall(SYS_pidfd_open, child->pid, 0);
	if (child->pidfd < 0) {
		err = ixy_fail(errno, "%s: pidfd_open: %s", name, strerror(errno));
		kill(child->pid, SIGKILL);
		waitpid(child->pid, NULL, 0);
		goto fail_report;
	}
	do
		got = read(report[0], &child_errno, sizeof(child_errno));
	while (got < 0 && errno == EINTR);
	if (got != 0) {
		child_errno = got == sizeof(child_errno) ? child_errno : EIO;
		err = ixy_fail(ENODEV, "%s: cannot run %s: %s", name, path, strerror(child_errno));
		reap(child, GRACE_TERM_MS);
		goto fail_report;
	}
	close(report[0]);
	*fd = sockets[0];
	return 0;

fail_report:
	close(report[0]);
	if (report[1] >= 0)
		close(report[1]);
fail_sockets:
	close(sockets[0]);
	if (sockets[1] >= 0)
		close(sockets[1]);
	return err;
}

/* --- the device ---------------------------------------------------------------------------------- */

struct soft_spec {
	char port[64];          /* fd:3=dev:veth1 */
	char control[PATH_MAX]; /* "" if none */
};

static int parse(const char *name, const char *text, struct soft_spec *spec)
{
	size_t length = strcspn(text, ",");
	const char *rest = text + length;

	if (length == 0 || length >= IFNAMSIZ || memchr(text, '/', length))
		return ixy_fail(EINVAL, "%s: the name of an interface has 1 to %d bytes and no slash", name,
			IFNAMSIZ - 1);
	if (length == strlen("none") && memcmp(text, "none", length) == 0)
		snprintf(spec->port, sizeof(spec->port), "fd:%d=none", CHILD_SOCKET);
	else
		snprintf(spec->port, sizeof(spec->port), "fd:%d=dev:%.*s", CHILD_SOCKET, (int)length, text);
	spec->control[0] = '\0';
	if (*rest == '\0')
		return 0;
	if (strncmp(rest, ",control=", 9) != 0 || rest[9] == '\0' ||
		strlen(rest + 9) >= sizeof(spec->control))
		return ixy_fail(EINVAL, "%s: what may follow the interface is ,control=PATH", name);
	strcpy(spec->control, rest + 9);
	return 0;
}

int soft_open(const char *name, const char *wire, const struct ixy_options *options, struct pci_device **pci)
{
	struct soft_spec spec;
	char path[PATH_MAX];
	struct child *child;
	int fd = -1, status, err;

	err = parse(name, wire, &spec);
	if (err)
		return err;
	err = find_program(name, options, path);
	if (err)
		return err;
	child = calloc(1, sizeof(*child));
	if (!child)
		return ixy_fail(ENOMEM, "%s: out of memory", name);

	char program[] = PROGRAM, control[] = "--control";
	char *const plain[] = {program, spec.port, NULL};
	char *const controlled[] = {program, control, spec.control, spec.port, NULL};

	err = spawn(name, path, spec.control[0] ? controlled : plain, child, &fd);
	if (err)
		goto fail;

	const struct vfio_user_attach how = {.name = name,
		.iova_mode = transport_iova(options, DMA_IOVA_VA),
		.released = child_released,
		.arg = child};

	/* The first answer comes when the child has set itself up, which is all the waiting there is. */
	err = vfio_user_attach(fd, &how, pci);
	if (!err)
		return 0;
	/* A child that has ended knows better what was wrong than its client does. */
	if (err == -ENODEV && ended_within(child, GRACE_TERM_MS)) {
		status = reap(child, 0);
		if (status == -1)
			ixy_fail(ENODEV, "%s: %s ended at once; see its message on stderr", name, path);
		else if (WIFSIGNALED(status))
			ixy_fail(ENODEV, "%s: %s was killed by signal %d", name, path, WTERMSIG(status));
		else
			ixy_fail(ENODEV, "%s: %s ended with status %d; see its message on stderr", name, path,
				WEXITSTATUS(status));
	} else {
		reap(child, 0);
	}
fail:
	free(child);
	return err;
}
