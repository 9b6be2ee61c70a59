/*
 * Several queues: each flow stays on one, both ways, and each worker on its CPU.
 *
 * The NIC chooses the receive queue of a flow by its hash (RSS). The kernel's tap notes by which queue a flow comes
 * in, and sends the flow's answers out by the same one; so one worker, one CPU, sees all of a flow.
 */
#include "flow.h"
#include "rig.h"

#include <sched.h>
#include <unistd.h>

#define QUEUES 4
#define FLOWS  12
#define TURNS  100 /* packets each way that a flow is watched for */
#define NOISE \
	10 /* of others meanwhile: neighbour solicitations, router solicitations, late acknowledgements */

struct counts {
	uint64_t rx[QUEUES], tx[QUEUES];
};

static void take(struct rig *rig, struct counts *c)
{
	/* One report, from which all is read. */
	c->rx[0] = tapd_number(rig->tapd, ".queues[0].rx.frames");
	for (unsigned i = 0; i < QUEUES; i++) {
		c->rx[i] = tapd_last_number(rig->tapd, ".queues[%u].rx.frames", i);
		c->tx[i] = tapd_last_number(rig->tapd, ".queues[%u].tx.frames", i);
	}
}

/* The one queue that a direction used since `before`. */
static unsigned only_queue(const uint64_t before[QUEUES], const uint64_t after[QUEUES], const char *direction)
{
	unsigned queue = QUEUES;

	for (unsigned i = 0; i < QUEUES; i++) {
		uint64_t n = after[i] - before[i];

		/* The last ones may not have been counted yet. */
		if (n >= TURNS / 2 && queue == QUEUES)
			queue = i;
		else if (n > NOISE)
			fail_msg("%s: %llu frames by queue %u: the flow is not on one queue", direction,
				(unsigned long long)n, i);
	}
	if (queue == QUEUES)
		fail_msg("%s: the flow is on no queue", direction);
	return queue;
}

/* Which queue a flow is on: the same both ways. */
static unsigned queue_of(struct rig *rig, struct tcp_flow *flow)
{
	struct counts before, after;
	unsigned in, out;

	take(rig, &before);
	tcp_flow_ping_pong(flow, TURNS);
	take(rig, &after);
	in = only_queue(before.rx, after.rx, "in");
	out = only_queue(before.tx, after.tx, "out");
	if (in != out)
		fail_msg("the flow comes in by queue %u and is answered by queue %u", in, out);
	return in;
}

/*
 * flows[i]'s other end is the peer; even ones are opened by it. One after the other, so that the counters tell whose
 * frames these are; then all once more, as none may have moved another.
 */
static void flows_stay_on_the_queue_that_they_came_in_by(void **state)
{
	struct rig *rig = *state;
	struct tcp_flow flows[FLOWS];
	unsigned queues[FLOWS], used[QUEUES] = {0}, different = 0;

	rig_start(rig, "--queues 4");
	for (unsigned i = 0; i < FLOWS; i++) {
		bool out = i & 1, v6 = i & 2;

		if (out)
			tcp_flow_open(&flows[i], rig->host, rig->peer, v6 ? rig->v6_peer : rig->v4_peer);
		else
			tcp_flow_open(&flows[i], rig->peer, rig->host, v6 ? rig->v6_host : rig->v4_host);
	}
	for (unsigned i = 0; i < FLOWS; i++) {
		/* The first packet of a flow that has been silent for long may go by another queue. */
		tcp_flow_ping_pong(&flows[i], 1);
		queues[i] = queue_of(rig, &flows[i]);
		different += used[queues[i]]++ == 0;
	}
	/* Ports are the kernel's choice, so the spread is chance: all twelve on one queue is one in four million. */
	assert_in_range(different, 2, QUEUES);
	for (unsigned i = 0; i < FLOWS; i++) {
		tcp_flow_ping_pong(&flows[i], 1);
		assert_int_equal(queue_of(rig, &flows[i]), queues[i]);
	}
	for (unsigned i = 0; i < FLOWS; i++)
		tcp_flow_close(&flows[i]);
	rig_finish(rig);
}

/* All flows at once, in bulk: every queue works, and nothing gets into another flow. */
static void many_flows_over_all_queues_arrive_intact(void **state)
{
	struct rig *rig = *state;
	struct tcp_flow flows[FLOWS];

	rig_start(rig, "--queues 4");
	for (unsigned i = 0; i < FLOWS; i++) {
		if (i & 1)
			tcp_flow_open(&flows[i], rig->host, rig->peer, rig->v4_peer);
		else
			tcp_flow_open(&flows[i], rig->peer, rig->host, rig->v4_host);
	}
	for (unsigned round = 0; round < 4; round++)
		tcp_flows_send(flows, FLOWS, 500000);
	for (unsigned i = 0; i < FLOWS; i++)
		tcp_flow_close(&flows[i]);
	rig_finish(rig);
}

/* The thread of this name. */
static pid_t thread_of(pid_t pid, const char *name)
{
	const char *found =
		command_ok(NULL, "grep -lx '%s' /proc/%d/task/*/comm | cut -d/ -f5", name, (int)pid);

	return (pid_t)atoi(found);
}

static void each_worker_runs_on_its_cpu_and_on_no_other(void **state)
{
	struct rig *rig = *state;
	long cpus = sysconf(_SC_NPROCESSORS_ONLN);
	char options[64];

	snprintf(options, sizeof(options), "--queues 4 --cpu 0-%ld", cpus - 1);
	rig_start(rig, options);
	for (unsigned queue = 0; queue < QUEUES; queue++) {
		char name[16];
		cpu_set_t set;
		pid_t thread;

		snprintf(name, sizeof(name), "queue-%u", queue);
		thread = thread_of(rig->tapd->pid, name);
		assert_true(thread > 0);
		CPU_ZERO(&set);
		assert_int_equal(sched_getaffinity(thread, sizeof(set), &set), 0);
		assert_int_equal(CPU_COUNT(&set), 1);
		assert_true(CPU_ISSET(queue % (unsigned long)cpus, &set));
	}
	assert_true(rig_ping(rig));
	rig_finish(rig);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		RIG_TEST(flows_stay_on_the_queue_that_they_came_in_by),
		RIG_TEST(many_flows_over_all_queues_arrive_intact),
		RIG_TEST(each_worker_runs_on_its_cpu_and_on_no_other),
	};

	return rig_main("netns: queues", tests);
}
