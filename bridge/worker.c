/*
 * The data path's thread.
 *
 * A round takes a burst from the NIC's queue into the kernel, and a burst from the kernel into the NIC's
 * queue (worker_frames.c). While rounds move frames the worker goes round without a pause; when they do not,
 * worker_sleep.c decides. The two directions are looked at with different zeal: a look at the NIC's ring is a
 * load from memory, a look at the tap a system call. So the tap is read again at once only when it had more than
 * a burst, or after frames went into the kernel (which answers them: acknowledgements, echoes); otherwise every
 * TAP_INTERVAL_NS. Where vhost's rings are the port, both are loads, and the port is looked at in every round.
 */
#include "bridge/worker_parts.h"

#include <errno.h>
#include <sched.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>

#define TAP_INTERVAL_NS 4000 /* between two looks at a tap that was empty */

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
	forget_quiet(w);
	w->tap_hot = true;
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
		/* Frames that had gathered are no reason to ask the tap. But if that is a flood, it may never end. */
		if ((received && !(one_way_in(w) && w->gather_rounds)) || w->tap_hot || w->pending_count)
			sent = forward_tx(w);
		if (received || sent)
			end_quiet(w, received, sent);
		else
			idle(w);
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
	w->tx_queue = config->tx_queue;
	w->nap_ns = NAP_MIN_NS;
	w->spin.max_ns = (uint64_t)config->idle_usecs * 1000;
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

void workers_set_tx_queue(struct worker *workers[], size_t count, uint32_t frames)
{
	for (size_t i = 0; i < count; i++)
		atomic_store_explicit(&workers[i]->tx_queue, frames, memory_order_relaxed);
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
