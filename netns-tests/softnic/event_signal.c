/*
 * An eventfd that two processes share has one set of file flags, so O_NONBLOCK is the client's to take away again.
 * And it can fill the counter, after which a write() waits until somebody reads: for ever, if it likes. So nothing
 * here depends on that flag.
 *
 * Reading has RWF_NOWAIT for it. For writing an eventfd refuses that flag (EOPNOTSUPP), and it cannot be opened
 * anew for flags of our own (ENXIO). But the kernel's own way of raising an eventfd never waits: it adds what fits.
 * Asynchronous I/O leads there (io_submit(2), IOCB_FLAG_RESFD): its completion raises an eventfd, and an operation
 * of no bytes on /dev/null completes at once. That is half a microsecond more than a write(). An io_uring with the
 * eventfd registered would save half of it, for a ring to each eventfd and where containers allow it at all.
 *
 * Where there is no asynchronous I/O (a kernel without it, or its limit of contexts reached), O_NONBLOCK is set
 * before each write: a client then has to be quick to block us, though it can.
 */
#include "event_signal.h"

#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

#include "log.h"

#define EVENTS 64 /* completions that the kernel keeps for us; they are of no interest, but take room */

void event_signaller_open(struct event_signaller *signaller)
{
	*signaller = (struct event_signaller){.null = open("/dev/null", O_RDONLY | O_CLOEXEC)};
	if (signaller->null >= 0 && syscall(SYS_io_setup, EVENTS, &signaller->context) == 0)
		return;
	softnic_info("no asynchronous I/O (%s): a client that means to can make an interrupt block",
		strerror(errno));
	signaller->context = 0;
}

void event_signaller_close(struct event_signaller *signaller)
{
	if (signaller->context)
		syscall(SYS_io_destroy, signaller->context);
	if (signaller->null >= 0)
		close(signaller->null);
}

static void reap(struct event_signaller *signaller)
{
	struct io_event events[EVENTS];
	syscall(SYS_io_getevents, signaller->context, 0, EVENTS, events, NULL);
	signaller->unreaped = 0;
}

static int signal_by_write(int fd)
{
	const uint64_t one = 1;
	if (fcntl(fd, F_SETFL, O_NONBLOCK) < 0)
		return -errno;
	/* Full: the event is pending already. */
	return write(fd, &one, sizeof one) < 0 && errno != EAGAIN ? -errno : 0;
}

int event_signal(struct event_signaller *signaller, int fd)
{
	if (!signaller->context)
		return signal_by_write(fd);
	if (++signaller->unreaped == EVENTS / 2)
		reap(signaller);
	struct iocb nothing = {
		.aio_lio_opcode = IOCB_CMD_PREAD,
		.aio_fildes = (uint32_t)signaller->null,
		.aio_flags = IOCB_FLAG_RESFD,
		.aio_resfd = (uint32_t)fd,
	};
	struct iocb *list = &nothing;
	return syscall(SYS_io_submit, signaller->context, 1, &list) == 1 ? 0 : -errno;
}

int event_clear(int fd)
{
	uint64_t count;
	struct iovec into = {&count, sizeof count};
	return preadv2(fd, &into, 1, -1, RWF_NOWAIT) < 0 ? -errno : 0;
}

bool event_is_eventfd(int fd)
{
	char link[32], target[32];
	snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
	ssize_t size = readlink(link, target, sizeof target - 1);
	target[size < 0 ? 0 : size] = '\0';
	return strcmp(target, "anon_inode:[eventfd]") == 0;
}
