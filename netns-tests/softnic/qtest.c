/* Requests go out at once; answers come in the same order, a line each, and find what they answer in a queue. */
#include "qtest.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "log.h"

#define WRITES_MAX  16 /* unanswered requests that a write may be added to */
#define REQUESTS    32
#define ANSWER_SIZE (8 + 2 * QTEST_READ_MAX) /* "OK 0x00ff..."; of a longer one the rest is not looked at */

struct request {
	void (*done)(void *context, const uint8_t *bytes); /* NULL: a write */
	void *context;
	unsigned size;
};

struct qtest {
	struct sockaddr_un path;
	const char *name;
	struct ev_loop *loop;
	void (*room)(void *context);
	void *context;

	int fd; /* -1: not connected */
	struct ev_io watcher;
	struct request requests[REQUESTS]; /* a ring */
	unsigned first, count;
	char answer[ANSWER_SIZE];
	size_t answer_size;
};

static void hang_up(struct qtest *qtest)
{
	if (qtest->fd < 0)
		return;
	ev_io_stop(qtest->loop, &qtest->watcher);
	close(qtest->fd);
	qtest->fd = -1;
	qtest->answer_size = 0;
}

static struct request next_request(struct qtest *qtest)
{
	struct request request = qtest->requests[qtest->first];
	qtest->first = (qtest->first + 1) % REQUESTS;
	qtest->count--;
	return request;
}

/* QEMU has gone: whoever waits for an answer is told. Those who ask anew meanwhile do so over a new connection. */
static void lose(struct qtest *qtest)
{
	hang_up(qtest);
	for (unsigned left = qtest->count; left; left--) {
		struct request request = next_request(qtest);
		if (request.done)
			request.done(request.context, NULL);
	}
}

/* "OK", or what was read, two digits a byte: "OK 0x00ff". */
static bool parse_answer(const char *answer, uint8_t *bytes, unsigned size)
{
	const char *digits = answer + strlen("OK 0x");
	if (!size)
		return strncmp(answer, "OK", strlen("OK")) == 0;
	if (strncmp(answer, "OK 0x", strlen("OK 0x")) != 0 || strlen(digits) != 2 * size ||
		strspn(digits, "0123456789abcdefABCDEF") != 2 * size)
		return false;
	for (unsigned i = 0; i < size; i++)
		sscanf(digits + 2 * i, "%2hhx", &bytes[i]);
	return true;
}

static void take_answer(struct qtest *qtest)
{
	uint8_t bytes[QTEST_READ_MAX];
	if (!qtest->count)
		return; /* nothing was asked */
	struct request request = next_request(qtest);
	qtest->answer[qtest->answer_size] = '\0';
	bool ok = parse_answer(qtest->answer, bytes, request.size);
	if (!ok)
		softnic_error("%s: QEMU refuses on its qtest socket: %s", qtest->name, qtest->answer);
	if (request.done)
		request.done(request.context, ok ? bytes : NULL);
}

static void on_answers(struct ev_loop *loop, struct ev_io *watcher, int events)
{
	(void)loop;
	(void)events;
	struct qtest *qtest = watcher->data;
	char bytes[512];
	ssize_t got = recv(qtest->fd, bytes, sizeof bytes, MSG_DONTWAIT);
	if (got < 0 && (errno == EAGAIN || errno == EINTR))
		return;
	if (got <= 0)
		lose(qtest);
	for (ssize_t i = 0; i < got; i++) {
		if (bytes[i] == '\n') {
			take_answer(qtest);
			qtest->answer_size = 0;
		} else if (qtest->answer_size < ANSWER_SIZE - 1) {
			qtest->answer[qtest->answer_size++] = bytes[i];
		}
	}
	qtest->room(qtest->context);
}

static bool reach(struct qtest *qtest)
{
	if (qtest->fd >= 0)
		return true;
	const char *path = qtest->path.sun_path;
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	if (fd < 0 || connect(fd, (const struct sockaddr *)&qtest->path, sizeof qtest->path) < 0) {
		softnic_error("%s: interrupts are lost: %s: %s: start QEMU with -qtest "
			      "unix:%s,server=on,wait=off",
			qtest->name, path, strerror(errno), path);
		if (fd >= 0)
			close(fd);
		return false;
	}
	qtest->fd = fd;
	ev_io_init(&qtest->watcher, on_answers, fd, EV_READ);
	qtest->watcher.data = qtest;
	ev_io_start(qtest->loop, &qtest->watcher);
	return true;
}

static enum qtest_result request(struct qtest *qtest, const char *line, struct request request)
{
	/* So few fit into any socket: if not, the other end is no QEMU. */
	if (send(qtest->fd, line, strlen(line), MSG_DONTWAIT | MSG_NOSIGNAL) != (ssize_t)strlen(line)) {
		softnic_error("%s: interrupts are lost: %s: %s", qtest->name, qtest->path.sun_path,
			strerror(errno));
		/* Not lose(): it calls back, and a caller does not expect that. The watcher will. */
		shutdown(qtest->fd, SHUT_RDWR);
		return QTEST_LOST;
	}
	qtest->requests[(qtest->first + qtest->count++) % REQUESTS] = request;
	return QTEST_SENT;
}

enum qtest_result qtest_write32(struct qtest *qtest, uint64_t address, uint32_t value)
{
	char line[64];
	if (!reach(qtest))
		return QTEST_LOST;
	if (qtest->count >= WRITES_MAX)
		return QTEST_NO_ROOM;
	snprintf(line, sizeof line, "writel 0x%" PRIx64 " 0x%" PRIx32 "\n", address, value);
	return request(qtest, line, (struct request){0});
}

enum qtest_result qtest_read(struct qtest *qtest, uint64_t address, unsigned size,
	void (*done)(void *context, const uint8_t *bytes), void *context)
{
	char line[64];
	if (!reach(qtest))
		return QTEST_LOST;
	if (qtest->count == REQUESTS)
		return QTEST_NO_ROOM;
	snprintf(line, sizeof line, "read 0x%" PRIx64 " 0x%x\n", address, size);
	return request(qtest, line, (struct request){done, context, size});
}

struct qtest *qtest_new(
	const char *path, const char *name, struct ev_loop *loop, void (*room)(void *context), void *context)
{
	struct qtest *qtest = calloc(1, sizeof *qtest);
	if (!qtest) {
		softnic_error("%s: out of memory", name);
		return NULL;
	}
	if (!*path || strlen(path) >= sizeof qtest->path.sun_path) {
		softnic_error(
			"%s: a socket's path has 1 to %zu characters", path, sizeof qtest->path.sun_path - 1);
		free(qtest);
		return NULL;
	}
	qtest->path.sun_family = AF_UNIX;
	strcpy(qtest->path.sun_path, path);
	qtest->name = name;
	qtest->loop = loop;
	qtest->room = room;
	qtest->context = context;
	qtest->fd = -1;
	return qtest;
}

void qtest_free(struct qtest *qtest)
{
	if (!qtest)
		return;
	hang_up(qtest);
	free(qtest);
}
