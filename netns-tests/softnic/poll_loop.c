/*
 * One thread, and the decision it takes again and again: poll, or sleep.
 *
 * While frames move, all ports are polled in bursts and libev is entered now and then without blocking, for
 * messages and control. After a quiet while (driver/spin.h) the loop sleeps in libev until a frame, a message,
 * a doorbell's eventfd or a moderated interrupt ends it. Nothing periodic runs while it sleeps.
 *
 * Doorbells are plain stores into shared memory, so going to sleep takes care: the servers first tell their
 * clients that doorbells need the eventfd from now on, then, behind a full fence, the tails are looked at once
 * more. Either the client's store is seen by that look, or the client sees the word and writes the eventfd. A
 * client that was given no eventfd is polled in small sleeps instead.
 */
#include "port.h"

#include <errno.h>
#include <string.h>
#include <sys/timerfd.h>
#include <unistd.h>

#include "driver/spin.h"
#include "log.h"

#define BURST      64  /* frames a port and direction in one turn */
#define QUIET_US   200 /* without a frame, at most, before sleeping */
#define SERVE_WORK 32 /* frames between two looks at messages: a register read waits for no more than these */
#define HELD_US    50 /* between two looks for receive descriptors, while frames wait for them */
#define SILENT_US  100 /* between two looks at registers that a client may write without a word */

struct poll_loop {
	struct ports *ports;
	struct ev_loop *ev;
	int timer_fd; /* libev's own timers count in milliseconds under epoll */
	struct ev_io timer;
};

/* One turn over all ports. Returns the work done. */
static unsigned poll_ports(struct poll_loop *loop, int64_t now_us)
{
	unsigned done = 0;
	for (unsigned i = 0; i < loop->ports->count; i++) {
		struct port *port = &loop->ports->port[i];
		const struct wire_ops *ops = port->wire->ops;
		done += nic_tx_poll(port->nic, BURST);
		done += wire_flush(port->wire);
		done += port->wire->tx_pending;
		unsigned received = ops->poll(port->wire, BURST);
		if (received)
			nic_receive_flush(port->nic);
		done += received;
		nic_irq_poll(port->nic, now_us);
	}
	return done;
}

static bool hung_up(const struct ports *ports)
{
	for (unsigned i = 0; i < ports->count; i++)
		if (port_hung_up(&ports->port[i]))
			return true;
	return false;
}

/* Look for queues that a client has enabled or disabled by a store into a mapped page. */
static void scan_ports(struct poll_loop *loop)
{
	for (unsigned i = 0; i < loop->ports->count; i++)
		nic_scan_mapped(loop->ports->port[i].nic);
}

static int64_t sooner(int64_t a, int64_t b)
{
	return a < 0 || (b >= 0 && b < a) ? b : a;
}

/* What a port still has to do: 0 something right now, positive: in so many microseconds, -1: nothing. */
static int64_t port_due(struct port *port)
{
	nic_scan_mapped(port->nic);
	if (nic_tx_work(port->nic) && !wire_full(port->wire))
		return 0;
	int64_t due = sooner(wire_due_us(port->wire), nic_irq_poll(port->nic, clock_us()));
	if (port->wire->held)
		due = sooner(due, HELD_US);
	/* With all queues off as well: it may be a store into a mapped page that enables the first one. */
	if (port_silent(port))
		due = sooner(due, SILENT_US);
	return due;
}

static void set_timer(struct poll_loop *loop, int64_t us)
{
	struct itimerspec spec = {.it_value = {.tv_sec = us / 1000000, .tv_nsec = us % 1000000 * 1000}};
	timerfd_settime(loop->timer_fd, 0, &spec, NULL);
}

static void on_timer(struct ev_loop *ev, struct ev_io *watcher, int events)
{
	(void)ev;
	(void)events;
	uint64_t count;
	if (read(watcher->fd, &count, sizeof count) < 0 && errno != EAGAIN)
		softnic_error("timer: %s", strerror(errno));
}

static void sleep_until_work(struct poll_loop *loop)
{
	int64_t due = -1;
	for (unsigned i = 0; i < loop->ports->count; i++)
		port_sleep(&loop->ports->port[i]);
	__atomic_thread_fence(__ATOMIC_SEQ_CST);
	for (unsigned i = 0; i < loop->ports->count; i++)
		due = sooner(due, port_due(&loop->ports->port[i]));

	if (due > 0)
		set_timer(loop, due);
	ev_run(loop->ev, due == 0 ? EVRUN_NOWAIT : EVRUN_ONCE);
	scan_ports(loop);
	if (due > 0)
		set_timer(loop, 0);
	for (unsigned i = 0; i < loop->ports->count; i++)
		port_wake(&loop->ports->port[i]);
}

int poll_loop_run(struct ports *ports, struct ev_loop *ev)
{
	struct poll_loop loop = {.ports = ports, .ev = ev};
	loop.timer_fd = timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK | TFD_CLOEXEC);
	if (loop.timer_fd < 0)
		return -errno;
	ev_io_init(&loop.timer, on_timer, loop.timer_fd, EV_READ);
	ev_io_start(ev, &loop.timer);

	struct spin spin = {.max_ns = QUIET_US * 1000};
	uint64_t busy_ns = clock_ns();
	bool slept = false;
	for (unsigned work = 0; !ports->stop && !hung_up(ports);) {
		uint64_t now_ns = clock_ns();
		unsigned done = poll_ports(&loop, (int64_t)(now_ns / 1000));
		if (done) {
			if (slept)
				spin_learn(&spin, now_ns - busy_ns);
			slept = false;
			busy_ns = now_ns;
			work += done;
			if (work < SERVE_WORK)
				continue;
			work = 0;
			ev_run(ev, EVRUN_NOWAIT);
			scan_ports(&loop);
		} else if (spin_on(&spin, clock_ns(), now_ns - busy_ns)) { /* many ports take their time */
			ev_run(ev, EVRUN_NOWAIT);
		} else {
			sleep_until_work(&loop);
			slept = true;
		}
	}
	ev_io_stop(ev, &loop.timer);
	close(loop.timer_fd);
	return 0;
}
