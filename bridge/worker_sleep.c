/*
 * When a worker polls and when it sleeps.
 *
 * After a quiet while the worker arms the queue's interrupt, looks at the ring once more (a frame that
 * came before the arming raises none), and blocks in its libev loop until the interrupt's eventfd, the tap,
 * or the main thread wakes it. How long a quiet while is, at most idle_usecs, is learnt (driver/spin.h).
 *
 * Streams that nobody answers. Frames that come one by one, a tenth of a millisecond apart, would each cost a sleep
 * and a wake, several times what it takes to deliver them. Whom that delay hurts is who waits for an answer; so where
 * many of them in a row had no answer, the worker leaves the side that they come from alone for rx_usecs (the NIC's
 * interrupt) or tx_usecs (the tap), and looks then; the other side wakes it as ever. It is the moderation that NICs know
 * by those names, but only for one-way streams. The first frame of the other way ends it, and so does a nap in which
 * nothing came. A stream so fast that it would overflow the NIC's ring or the kernel's queue meanwhile is looked at
 * sooner. What the worker cannot tell apart waits with the stream: all else that comes the same way on this queue.
 *
 * Nothing tells that there is room again, in the NIC's ring or in the port's, so there the worker naps by timerfd. The
 * same naps, growing, stand in for interrupts on a device that has none.
 */
#include "bridge/worker_parts.h"

#include <errno.h>
#include <sys/timerfd.h>
#include <unistd.h>

#define NAP_MAX_NS 1000000 /* bounds idle CPU and latency of a device without interrupts */
#define RECLAIM_S  0.01    /* how long sent buffers may lie in the ring of a sleeping worker */

static void on_frame(struct ev_loop *loop, struct ev_io *io, int events)
{
	struct worker *w = ev_userdata(loop);

	(void)io;
	(void)events;
	w->stirred = w->woken = true;
}

static void on_tap(struct ev_loop *loop, struct ev_io *io, int events)
{
	struct worker *w = ev_userdata(loop);

	on_frame(loop, io, events);
	w->tap_hot = true;
}

static void on_nap_end(struct ev_loop *loop, struct ev_io *io, int events)
{
	struct worker *w = ev_userdata(loop);
	uint64_t expirations;

	(void)events;
	/* Nothing to learn from the count; reading makes the descriptor quiet again. */
	if (read(io->fd, &expirations, sizeof(expirations)) > 0)
		w->stirred = true;
}

static void on_wake(struct ev_loop *loop, struct ev_async *wake, int events)
{
	struct worker *w = ev_userdata(loop);

	(void)wake;
	(void)events;
	w->stirred = true;
}

static void on_reclaim(struct ev_loop *loop, struct ev_timer *timer, int events)
{
	struct worker *w = ev_userdata(loop);

	(void)timer;
	(void)events;
	w->stirred = true;
}

/* libev's own timers count milliseconds. */
static void nap(struct worker *w, uint64_t ns)
{
	const struct itimerspec timer = {.it_value.tv_nsec = (long)ns};

	timerfd_settime(w->nap_fd, 0, &timer, NULL);
}

/* Take back the buffers of what has left, which sending does otherwise. Returns whether there is more to come. */
static bool reclaim(struct worker *w)
{
	uint32_t in_flight;

	ixy_tx_batch(w->config.dev, w->config.queue, NULL, 0);
	in_flight = kernel_port_reclaim(w->config.port, w->counters);
	return in_flight || ixy_tx_pending(w->config.dev, w->config.queue);
}

/* Frames of the kernel cannot be taken. */
static bool held_back(const struct worker *w)
{
	return w->pending_count || w->starved;
}

/* Frames are left to gather; those that find no room do not, they wait for that. */
static bool gathers(const struct worker *w)
{
	return one_way(w) && !held_back(w) && !w->full;
}

/*
 * Block until a frame, a request or the end of a nap; not at all where the kernel has a frame already that need not
 * wait. in_flight: wake for what reclaim() takes back, too, now and then.
 */
static void block(struct worker *w, bool in_flight)
{
	const bool leave_tap = held_back(w) || one_way_out(w);
	bool naps = true;
	uint64_t before = clock_ns(), after;

	if (!leave_tap && kernel_port_arm(w->config.port)) {
		w->tap_hot = true;
		return;
	}
	/*
	 * Frames that cannot be taken, or are to gather, must not wake. Starting and stopping what already is so does
	 * nothing.
	 */
	if (leave_tap)
		ev_io_stop(w->loop, &w->tap_io);
	else
		ev_io_start(w->loop, &w->tap_io);
	if (!w->has_irq)
		; /* never started */
	else if (one_way_in(w) || w->full)
		ev_io_stop(w->loop, &w->irq_io);
	else
		ev_io_start(w->loop, &w->irq_io);
	if (gathers(w)) {
		nap(w, w->gather_ns);
	} else if (held_back(w) || w->full || !w->has_irq) {
		nap(w, w->nap_ns);
		w->nap_ns = w->nap_ns * 2 < NAP_MAX_NS ? w->nap_ns * 2 : NAP_MAX_NS;
	} else {
		naps = false;
	}
	if (in_flight && !naps)
		ev_timer_again(w->loop, &w->reclaim);
	else
		ev_timer_stop(w->loop, &w->reclaim);

	w->stirred = w->woken = false;
	counter_set(&w->counters->asleep_since_ns, before);
	/* libev takes a descriptor that it need not watch any more out of epoll only when that has woken it in vain. */
	do
		ev_run(w->loop, EVRUN_ONCE);
	while (!w->stirred);
	after = clock_ns();
	counter_set(&w->counters->asleep_since_ns, 0);
	counter_add(&w->counters->sleep_ns, after - before);
	counter_add(&w->counters->sleeps, 1);
	if (one_way_out(w))
		w->tap_hot = true;
	if (w->woken)
		counter_add(&w->counters->wakeups, 1);
}

/* The longest that frames of the present way may gather. */
static uint64_t gather_max_ns(const struct worker *w)
{
	return (w->outward ? w->config.tx_usecs : w->config.rx_usecs) * (uint64_t)1000;
}

/* A spell of quiet is over, by frames that have no answer yet: is it one of many? */
static void learn_to_gather(struct worker *w, uint64_t quiet_ns)
{
	if (w->config.poll || one_way(w))
		return;
	w->unanswered = quiet_ns < gather_max_ns(w) ? w->unanswered + 1 : 0;
	if (one_way(w))
		w->gather_ns = NAP_MIN_NS;
}

static void begin_to_gather(struct worker *w)
{
	const uint32_t most = w->outward ? GATHER_MOST : gather_most(w->config.rx_ring);

	w->gather_ns = gather_time(w->gather_ns, w->gathered, most, gather_max_ns(w));
	w->gathered = 0;
	w->gather_rounds = GATHER_ROUNDS;
}

void forget_quiet(struct worker *w)
{
	w->slept = false;
	w->quiet_since_ns = 0;
	w->nap_ns = NAP_MIN_NS;
}

/* Without interrupts nothing would wake for what is received meanwhile. */
static bool may_gather_out(struct worker *w)
{
	return w->has_irq && gather_in_queue(atomic_load_explicit(&w->tx_queue, memory_order_relaxed));
}

void end_quiet(struct worker *w, uint32_t received, uint32_t sent)
{
	const bool outward = sent > 0;

	if (outward != w->outward || (received && sent) || (outward && !may_gather_out(w)))
		w->unanswered = 0;
	w->outward = outward;
	if (w->quiet_since_ns) {
		const uint64_t quiet_ns = clock_ns() - w->quiet_since_ns;

		if (w->slept)
			spin_learn(&w->spin, quiet_ns);
		if (!(received && sent))
			learn_to_gather(w, quiet_ns);
	}
	forget_quiet(w);
}

/* Sleep until something comes, or until the end of a nap. */
static void go_to_sleep(struct worker *w)
{
	const bool in_flight = reclaim(w);

	if (w->has_irq && !one_way_in(w)) {
		uint32_t received;

		ixy_rx_irq_arm(w->config.dev, w->config.queue);
		received = forward_rx(w);
		if (received) {
			end_quiet(w, received, 0);
			w->tap_hot = true;
			return;
		}
	}
	block(w, in_flight);
	w->slept = true;
}

void idle(struct worker *w)
{
	uint64_t now = clock_ns();

	if (!w->quiet_since_ns)
		w->quiet_since_ns = now;
	if (gathers(w)) {
		if (!w->slept || w->gather_ns < gather_max_ns(w)) {
			begin_to_gather(w);
			go_to_sleep(w);
			return;
		}
		w->unanswered = 0; /* nothing came in a whole nap: the stream is over, or too slow for this */
	}
	if (now - w->tap_dry_ns >= w->tap_interval_ns) {
		w->tap_hot = true;
		/* Who never sleeps does not come by below, where sent buffers are taken back. */
		if (w->config.poll && ixy_tx_pending(w->config.dev, w->config.queue))
			ixy_tx_batch(w->config.dev, w->config.queue, NULL, 0);
		if (w->config.poll)
			kernel_port_reclaim(w->config.port, w->counters);
	}
	if (w->config.poll) {
		spin_relax();
		return;
	}
	if (spin_on(&w->spin, now, now - w->quiet_since_ns))
		return;
	go_to_sleep(w);
}

/* --- the loop ------------------------------------------------------------------------------------------ */

int open_loop(struct worker *w)
{
	int irq_fd = ixy_rx_irq_fd(w->config.dev, w->config.queue);

	w->nap_fd = timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK | TFD_CLOEXEC);
	if (w->nap_fd < 0)
		return -errno;
	w->loop = ev_loop_new(EVFLAG_AUTO);
	if (!w->loop) {
		close(w->nap_fd);
		return -ENOMEM;
	}
	ev_set_userdata(w->loop, w);
	ev_async_init(&w->wake, on_wake);
	ev_async_start(w->loop, &w->wake);
	ev_init(&w->reclaim, on_reclaim);
	w->reclaim.repeat = RECLAIM_S;
	ev_io_init(&w->nap_io, on_nap_end, w->nap_fd, EV_READ);
	ev_io_start(w->loop, &w->nap_io);
	/*
	 * Always watched, but the loop is only entered to sleep: so arming costs no system call of libev's.
	 */
	ev_io_init(&w->tap_io, on_tap, kernel_port_fd(w->config.port), EV_READ);
	w->has_irq = irq_fd >= 0;
	if (w->has_irq) {
		ev_io_init(&w->irq_io, on_frame, irq_fd, EV_READ);
		ev_io_start(w->loop, &w->irq_io);
	}
	return 0;
}

void close_loop(struct worker *w)
{
	ev_loop_destroy(w->loop);
	close(w->nap_fd);
}
