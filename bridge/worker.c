/*
 * The data path, and when to poll and when to sleep.
 *
 * A round takes a burst from the NIC's queue into the kernel, and a burst from the kernel into the NIC's
 * queue. While rounds move frames the worker goes round without a pause. The two directions are looked at
 * with different zeal: a look at the NIC's ring is a load from memory, a look at the tap a system call. So
 * the tap is read again at once only when it had more than a burst, or after frames went into the kernel
 * (which answers them: acknowledgements, echoes); otherwise every TAP_INTERVAL_NS. Where vhost's rings are the
 * port, both are loads, and the port is looked at in every round.
 *
 * Idle. After a quiet while the worker arms the queue's interrupt, looks at the ring once more (a frame that
 * came before the arming raises none), and blocks in its libev loop until the interrupt's eventfd, the tap,
 * or the main thread wakes it. How long a quiet while is, is learnt from whether waiting paid, the way KVM
 * halts a virtual CPU: if the next frame came so soon that idle_usecs of polling would have met it, double
 * the time to poll; if it came much later, halve it. A steady stream is polled without a system call, a lone
 * ping does not cost a core.
 *
 * Streams that nobody answers. Frames that come one by one, a tenth of a millisecond apart, would each cost a sleep
 * and a wake, several times what it takes to deliver them. Whom that delay hurts is who waits for an answer; so where
 * the kernel has answered none of many such wake-ups, the worker leaves the interrupt alone and looks every
 * rx_usecs, at the tap as soon as it has something: the moderation that NICs know as rx-usecs, but only for
 * one-way streams. The first frame that the kernel sends ends it, and so does a nap in which nothing came.
 *
 * Back pressure. Frames that the NIC's ring does not take wait here, and nothing more is read: the queue then
 * grows in the kernel, where its tail-drops show as the interface's tx_dropped. Likewise frames that the port has no
 * room for stay in the NIC's ring, where losses are counted as rx-no-descriptor. Nothing tells that there is
 * room again, so the worker naps by timerfd. The same naps, growing, stand in for interrupts on a
 * device that has none.
 */
#include "bridge/worker.h"

#include <errno.h>
#include <ev.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/timerfd.h>
#include <time.h>
#include <unistd.h>

#include "bridge/gro.h"
#include "driver/clock.h"
#include "driver/gso.h"

#define likely(x)   __builtin_expect(!!(x), 1)
#define unlikely(x) __builtin_expect(!!(x), 0)

#define TAP_INTERVAL_NS 4000      /* between two looks at a tap that was empty */
#define SPIN_FIRST_NS   5000      /* what a first doubling starts from */
#define NAP_MIN_NS      20000     /* shortest and longest nap; the longest bounds idle CPU and latency */
#define NAP_MAX_NS      1000000   /* of a device without interrupts */
#define UNANSWERED_MANY 32        /* spells of quiet in a row that only received frames ended */
#define RECLAIM_S       0.01      /* how long sent buffers may lie in the ring of a sleeping worker */
#define DRAIN_NS        200000000 /* see workers_drain() */
#define ETH_OVERHEAD    (14 + 4)  /* Ethernet header and one VLAN tag, on top of the MTU */

enum request { RUN, PAUSE, DRAIN, STOP, ABANDON };

struct worker {
	struct worker_config config;
	struct queue_counters *counters; /* = config.counters */
	pthread_t thread;

	/* What the main thread wants; read in every round, so plain atomics. */
	_Atomic enum request request;
	_Atomic bool gro;
	pthread_mutex_t lock;
	pthread_cond_t moved; /* request or parked has changed */
	bool parked;          /* under lock */
	struct ev_async wake; /* ends a sleep because of a request */

	/* All below: the worker's own. */
	struct ev_loop *loop;
	struct ev_io irq_io, tap_io, nap_io;
	struct ev_timer reclaim;
	bool has_irq;
	int nap_fd;
	bool stirred; /* the last sleep was ended by something that it waited for: */
	bool woken;   /* by a frame */
	bool slept;   /* since the last round that moved something */
	bool gone;    /* the interface */

	/* Frames from the kernel that the NIC's ring had no room for. */
	struct pkt_buf *pending[WORKER_BATCH];
	uint32_t pending_first, pending_count;
	bool starved; /* no buffer to read into */
	bool full;    /* the port has no room: frames stay in the NIC's ring */

	bool tap_hot;             /* read the tap in the next round */
	uint64_t tap_interval_ns; /* between two looks at a tap that was empty */
	uint64_t tap_dry_ns;      /* when it was last read empty */
	uint64_t quiet_since_ns;  /* 0: the last round moved something */
	uint64_t spin_ns;         /* how long to poll in vain, as learnt */
	uint64_t nap_ns;          /* length of the next nap */
	uint32_t unanswered;      /* short spells of quiet since the kernel last sent something */
};

static inline void cpu_relax(void)
{
#if defined(__x86_64__) || defined(__i386__)
	__builtin_ia32_pause();
#elif defined(__aarch64__)
	__asm__ volatile("yield");
#endif
}

/* --- moving frames ------------------------------------------------------------------------------------ */

static void interface_gone(struct worker *w)
{
	if (w->gone)
		return;
	w->gone = true;
	w->config.interface_gone(w->config.arg);
}

/* How long a frame is on the wire: a super-frame goes there in segments. */
static inline uint32_t wire_size(const struct pkt_buf *frame)
{
	if (unlikely(frame->flags & PKT_TX_SUPER))
		return (uint32_t)frame->header_size + frame->gso_size;
	return frame->frame_size;
}

/*
 * The tap would take a frame of any length; what goes beyond the MTU is nothing that an interface may
 * deliver.
 */
static uint32_t drop_too_long(struct worker *w, struct pkt_buf *frames[], uint32_t count)
{
	const uint32_t max = ixy_mtu_get(w->config.dev) + ETH_OVERHEAD;
	uint32_t kept = 0;

	for (uint32_t i = 0; i < count; i++) {
		if (likely(frames[i]->frame_size <= max || wire_size(frames[i]) <= max)) {
			frames[kept++] = frames[i];
		} else {
			counter_add(
				&w->counters->drops[IXY_DROP_RX_TOO_LONG], pkt_buf_wire_frames(frames[i]));
			pkt_buf_free(frames[i]);
		}
	}
	return kept;
}

/* Without offloads no frame leaves a checksum to be completed by the kernel: see PKT_TX_L4_CSUM on receive. */
static void complete_checksums(struct pkt_buf *frames[], uint32_t count)
{
	for (uint32_t i = 0; i < count; i++) {
		struct pkt_buf *frame = frames[i];
		struct virtio_net_hdr request;
		struct iovec iov[PKT_BUF_MAX_SEGMENTS];
		uint32_t pieces = 0;

		if (likely(!(frame->flags & PKT_TX_L4_CSUM)))
			continue;
		request = gso_request(frame);
		for (const struct pkt_buf *buf = frame; buf && pieces < PKT_BUF_MAX_SEGMENTS; buf = buf->next)
			iov[pieces++] = (struct iovec){buf->data, buf->size};
		/* Where it does not fit the frame, the kernel will see for itself that the checksum is bad. */
		gso_checksum(&request, iov, pieces);
		frame->flags &= (uint16_t)~PKT_TX_L4_CSUM;
	}
}

/* One burst from the NIC to the kernel. Returns frames taken from the ring. */
static uint32_t forward_rx(struct worker *w)
{
	struct pkt_buf *frames[WORKER_BATCH];
	uint32_t room = kernel_port_room(w->config.port), count, good;

	w->full = room == 0;
	if (unlikely(room < WORKER_BATCH))
		count = room ? ixy_rx_batch(w->config.dev, w->config.queue, frames, room) : 0;
	else
		count = ixy_rx_batch(w->config.dev, w->config.queue, frames, WORKER_BATCH);
	if (count == 0)
		return 0;
	good = drop_too_long(w, frames, count);
	if (unlikely(!w->config.offload))
		complete_checksums(frames, good);
	else if (likely(atomic_load_explicit(&w->gro, memory_order_relaxed)))
		good = gro_burst(frames, good, w->config.gro_udp);
	if (good && unlikely(kernel_port_send(w->config.port, frames, good, w->counters) < 0))
		interface_gone(w);
	return count;
}

static void drop_pending(struct worker *w, enum ixy_drop reason)
{
	struct pkt_buf **frames = w->pending + w->pending_first;

	for (uint32_t i = 0; i < w->pending_count; i++)
		counter_add(&w->counters->drops[reason], pkt_buf_wire_frames(frames[i]));
	pkt_buf_free_batch(frames, w->pending_count);
	w->pending_count = 0;
}

/* Offer the pending frames to the NIC. Returns frames that left. */
static uint32_t flush_pending(struct worker *w)
{
	uint32_t sent;

	if (unlikely(!ixy_link_get(w->config.dev).up)) {
		sent = w->pending_count;
		drop_pending(w, IXY_DROP_TX_LINK_DOWN);
		return sent;
	}
	sent = ixy_tx_batch(w->config.dev, w->config.queue, w->pending + w->pending_first, w->pending_count);
	w->pending_first += sent;
	w->pending_count -= sent;
	return sent;
}

/* One burst from the kernel to the NIC. Returns frames that moved. */
static uint32_t forward_tx(struct worker *w)
{
	int count;

	if (w->pending_count)
		return flush_pending(w);
	count = kernel_port_recv(w->config.port, w->pending, WORKER_BATCH, w->counters);
	w->tap_hot = count == WORKER_BATCH;
	if (!w->tap_hot)
		w->tap_dry_ns = clock_ns();
	w->starved = count == -ENOBUFS;
	if (unlikely(count == -EBADFD))
		interface_gone(w);
	if (count <= 0)
		return 0;
	w->pending_first = 0;
	w->pending_count = (uint32_t)count;
	flush_pending(w);
	return (uint32_t)count;
}

/* --- sleeping ----------------------------------------------------------------------------------------- */

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

/* Frames come that nobody answers. */
static inline bool one_way(const struct worker *w)
{
	return w->unanswered >= UNANSWERED_MANY;
}

/* Take back the buffers of what has left, which sending does otherwise. Returns whether there is more to come. */
static bool reclaim(struct worker *w)
{
	uint32_t in_flight;

	ixy_tx_batch(w->config.dev, w->config.queue, NULL, 0);
	in_flight = kernel_port_reclaim(w->config.port, w->counters);
	return in_flight || ixy_tx_pending(w->config.dev, w->config.queue);
}

/*
 * Block until a frame, a request or the end of a nap; not at all where the kernel has a frame already. in_flight: wake
 * for what reclaim() takes back, too, now and then.
 */
static void block(struct worker *w, bool in_flight)
{
	const bool held_back = w->pending_count || w->starved;
	uint64_t before = clock_ns(), after;

	if (!held_back && kernel_port_arm(w->config.port)) {
		w->tap_hot = true;
		return;
	}
	/*
	 * Frames that cannot be taken must not wake. Starting and stopping what already is so does nothing.
	 */
	if (held_back)
		ev_io_stop(w->loop, &w->tap_io);
	else
		ev_io_start(w->loop, &w->tap_io);
	if (!w->has_irq)
		; /* never started */
	else if (one_way(w) || w->full)
		ev_io_stop(w->loop, &w->irq_io);
	else
		ev_io_start(w->loop, &w->irq_io);
	if (!held_back && !w->full && one_way(w)) {
		nap(w, (uint64_t)w->config.rx_usecs * 1000);
	} else if (held_back || w->full || !w->has_irq) {
		nap(w, w->nap_ns);
		w->nap_ns = w->nap_ns * 2 < NAP_MAX_NS ? w->nap_ns * 2 : NAP_MAX_NS;
	} else if (in_flight) {
		ev_timer_again(w->loop, &w->reclaim);
	} else {
		ev_timer_stop(w->loop, &w->reclaim);
	}

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
	if (w->woken)
		counter_add(&w->counters->wakeups, 1);
}

/* Frames have come after a sleep: was it right to sleep? */
static void learn_to_spin(struct worker *w, uint64_t quiet_ns)
{
	const uint64_t max = (uint64_t)w->config.idle_usecs * 1000;

	if (quiet_ns > max)
		w->spin_ns /= 2;
	else if (w->spin_ns < max)
		w->spin_ns = w->spin_ns ? w->spin_ns * 2 : SPIN_FIRST_NS;
	if (w->spin_ns > max)
		w->spin_ns = max;
}

/* A spell of quiet is over, by frames that the kernel has not answered yet: is it one of many? */
static void learn_to_gather(struct worker *w, uint64_t quiet_ns)
{
	if (w->config.poll || one_way(w))
		return;
	w->unanswered = quiet_ns < (uint64_t)w->config.rx_usecs * 1000 ? w->unanswered + 1 : 0;
}

static void end_quiet(struct worker *w)
{
	if (w->quiet_since_ns) {
		const uint64_t quiet_ns = clock_ns() - w->quiet_since_ns;

		if (w->slept)
			learn_to_spin(w, quiet_ns);
		learn_to_gather(w, quiet_ns);
	}
	w->slept = false;
	w->quiet_since_ns = 0;
	w->nap_ns = NAP_MIN_NS;
}

/* Nothing moved in the last round. */
static void idle(struct worker *w)
{
	uint64_t now = clock_ns();
	bool in_flight;

	if (!w->quiet_since_ns)
		w->quiet_since_ns = now;
	if (one_way(w)) {
		if (!w->slept) {
			block(w, reclaim(w));
			w->slept = true;
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
	if (w->config.poll || now - w->quiet_since_ns < w->spin_ns) {
		cpu_relax();
		return;
	}
	in_flight = reclaim(w);
	if (w->has_irq) {
		ixy_rx_irq_arm(w->config.dev, w->config.queue);
		if (forward_rx(w)) {
			end_quiet(w);
			w->tap_hot = true;
			return;
		}
	}
	block(w, in_flight);
	w->slept = true;
}

/* --- requests ----------------------------------------------------------------------------------------- */

/* Stand still until the main thread wants something else than `seen`. */
static void park(struct worker *w, enum request seen)
{
	uint64_t before = clock_ns();

	counter_set(&w->counters->asleep_since_ns, before);
	pthread_mutex_lock(&w->lock);
	while (w->request == seen) {
		/* Each time: the same request may have come anew before this thread saw the one between. */
		w->parked = true;
		pthread_cond_broadcast(&w->moved);
		pthread_cond_wait(&w->moved, &w->lock);
	}
	w->parked = false;
	pthread_mutex_unlock(&w->lock);
	counter_set(&w->counters->asleep_since_ns, 0);
	counter_add(&w->counters->sleep_ns, clock_ns() - before);
	end_quiet(w);
	w->tap_hot = true;
}

/* See off what the kernel has handed over. The NIC needs time to send it, so no hurry between two looks. */
static void drain_tx(struct worker *w)
{
	const uint64_t end = clock_ns() + DRAIN_NS;
	bool more = kernel_port_shut(w->config.port);

	for (;;) {
		if (w->pending_count)
			flush_pending(w);
		else if (more)
			more = forward_tx(w) > 0;
		else
			ixy_tx_batch(w->config.dev, w->config.queue, NULL, 0);
		forward_rx(w);
		if (!w->pending_count && !more && !ixy_tx_pending(w->config.dev, w->config.queue))
			return;
		if (!ixy_link_get(w->config.dev).up || clock_ns() >= end)
			break;
		sleep_us(NAP_MIN_NS / 1000);
	}
	drop_pending(w, IXY_DROP_SHUTDOWN);
}

/* Hand over what lies in the receive ring. Bounded, should the NIC go on receiving all the same. */
static void drain_rx(struct worker *w)
{
	const uint64_t end = clock_ns() + DRAIN_NS;

	while ((forward_rx(w) || w->full) && clock_ns() < end)
		;
}

static void run(struct worker *w)
{
	while (likely(w->request == RUN)) {
		uint32_t received, sent = 0;

		if (unlikely(w->gone)) {
			park(w, RUN);
			continue;
		}
		received = forward_rx(w);
		if ((received && !one_way(w)) || w->tap_hot || w->pending_count)
			sent = forward_tx(w);
		if (received || sent)
			end_quiet(w);
		else
			idle(w);
		if (sent)
			w->unanswered = 0;
	}
}

static void *worker_thread(void *arg)
{
	struct worker *w = arg;

	counter_set(&w->counters->started_ns, clock_ns());
	for (;;) {
		enum request request = w->request;

		switch (request) {
		case RUN: run(w); break;
		case DRAIN:
			drain_tx(w);
			park(w, request);
			break;
		case PAUSE: park(w, request); break;
		case STOP: drain_rx(w); /* fall through */
		case ABANDON:
			drop_pending(w, IXY_DROP_SHUTDOWN);
			kernel_port_drain(w->config.port, w->counters);
			return NULL;
		}
	}
}

/* --- the main thread's side --------------------------------------------------------------------------- */

static int open_loop(struct worker *w)
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

static void close_loop(struct worker *w)
{
	ev_loop_destroy(w->loop);
	close(w->nap_fd);
}

static int start_thread(struct worker *w)
{
	pthread_attr_t attr;
	sigset_t all, before;
	int error;

	pthread_attr_init(&attr);
	if (w->config.cpu >= 0) {
		cpu_set_t *set = CPU_ALLOC(w->config.cpu + 1);
		size_t size = CPU_ALLOC_SIZE(w->config.cpu + 1);

		if (!set) {
			pthread_attr_destroy(&attr);
			return -ENOMEM;
		}
		CPU_ZERO_S(size, set);
		CPU_SET_S((size_t)w->config.cpu, size, set);
		pthread_attr_setaffinity_np(&attr, size, set);
		CPU_FREE(set);
	}
	/* Signals are the main thread's affair. */
	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &before);
	error = pthread_create(&w->thread, &attr, worker_thread, w);
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	pthread_attr_destroy(&attr);
	if (error)
		return -error;
	pthread_setname_np(w->thread, w->config.name);
	return 0;
}

int worker_start(const struct worker_config *config, struct worker **result)
{
	struct worker *w =
		aligned_alloc(WORKER_LINES, (sizeof(*w) + WORKER_LINES - 1) / WORKER_LINES * WORKER_LINES);
	int rc;

	if (!w)
		return -ENOMEM;
	memset(w, 0, sizeof(*w));
	w->config = *config;
	w->counters = config->counters;
	w->request = RUN;
	w->gro = config->gro;
	w->nap_ns = NAP_MIN_NS;
	w->tap_hot = true;
	w->tap_interval_ns = kernel_port_in_memory(config->port) ? 0 : TAP_INTERVAL_NS;
	pthread_mutex_init(&w->lock, NULL);
	pthread_cond_init(&w->moved, NULL);
	rc = open_loop(w);
	if (rc < 0)
		goto fail;
	rc = start_thread(w);
	if (rc < 0)
		goto fail_loop;
	*result = w;
	return 0;
fail_loop:
	close_loop(w);
fail:
	pthread_cond_destroy(&w->moved);
	pthread_mutex_destroy(&w->lock);
	free(w);
	return rc;
}

static void ask(struct worker *workers[], size_t count, enum request request)
{
	for (size_t i = 0; i < count; i++) {
		struct worker *w = workers[i];

		pthread_mutex_lock(&w->lock);
		w->request = request;
		w->parked = false; /* as far as this request goes */
		pthread_cond_broadcast(&w->moved);
		pthread_mutex_unlock(&w->lock);
		ev_async_send(w->loop, &w->wake);
	}
}

static void wait_until_parked(struct worker *workers[], size_t count)
{
	for (size_t i = 0; i < count; i++) {
		struct worker *w = workers[i];

		pthread_mutex_lock(&w->lock);
		while (!w->parked)
			pthread_cond_wait(&w->moved, &w->lock);
		pthread_mutex_unlock(&w->lock);
	}
}

void workers_pause(struct worker *workers[], size_t count)
{
	ask(workers, count, PAUSE);
	wait_until_parked(workers, count);
}

void workers_resume(struct worker *workers[], size_t count)
{
	ask(workers, count, RUN);
}

void workers_set_gro(struct worker *workers[], size_t count, bool on)
{
	/* Nothing is ordered by it: a burst more or less in the old way does no harm. */
	for (size_t i = 0; i < count; i++)
		atomic_store_explicit(&workers[i]->gro, on, memory_order_relaxed);
}

void workers_drain(struct worker *workers[], size_t count)
{
	ask(workers, count, DRAIN);
	wait_until_parked(workers, count);
}

static void end(struct worker *workers[], size_t count, enum request how)
{
	ask(workers, count, how);
	for (size_t i = 0; i < count; i++) {
		struct worker *w = workers[i];

		pthread_join(w->thread, NULL);
		close_loop(w);
		pthread_cond_destroy(&w->moved);
		pthread_mutex_destroy(&w->lock);
		free(w);
	}
}

void workers_stop(struct worker *workers[], size_t count)
{
	end(workers, count, STOP);
}

void workers_abandon(struct worker *workers[], size_t count)
{
	end(workers, count, ABANDON);
}
