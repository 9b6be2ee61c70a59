/*
 * Eventfds that another process shares: raised and emptied whatever that process does to them. A call that blocks
 * does not come back to fail its test: the alarm ends it.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <errno.h>
#include <fcntl.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "netns-tests/softnic/event_signal.h"

struct bench {
	struct event_signaller signaller;
	int fd; /* an eventfd, blocking */
};

static int setup(void **state)
{
	static struct bench bench;

	event_signaller_open(&bench.signaller);
	bench.fd = eventfd(0, EFD_CLOEXEC);
	assert_true(bench.fd >= 0);
	alarm(30);
	*state = &bench;
	return 0;
}

static int teardown(void **state)
{
	struct bench *b = *state;

	alarm(0);
	close(b->fd);
	event_signaller_close(&b->signaller);
	return 0;
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

/* As where the kernel has no asynchronous I/O. */
static void take_asynchronous_io_away(struct bench *b)
{
	event_signaller_close(&b->signaller);
	b->signaller = (struct event_signaller){.null = -1};
}

static void assert_counted(struct bench *b, unsigned times)
{
	uint64_t count;

	for (unsigned i = 0; i < times; i++)
		assert_int_equal(event_signal(&b->signaller, b->fd), 0);
	assert_int_equal(read(b->fd, &count, sizeof(count)), sizeof(count));
	assert_int_equal(count, times);
}

static void assert_full_stays_full(struct bench *b)
{
	const uint64_t most = UINT64_MAX - 1;

	assert_int_equal(write(b->fd, &most, sizeof(most)), sizeof(most));
	for (unsigned i = 0; i < 3; i++) {
		assert_int_equal(fcntl(b->fd, F_SETFL, 0), 0);
		assert_int_equal(event_signal(&b->signaller, b->fd), 0);
	}
	assert_int_equal(event_clear(b->fd), 0);
	assert_int_equal(event_clear(b->fd), -EAGAIN);
}

static void each_signal_counts(void **state)
{
	struct bench *b = *state;

	assert_true(b->signaller.context);
	assert_counted(b, 1);
	assert_counted(b, 1000);
}

static void a_full_counter_is_left_as_it_is(void **state)
{
	assert_full_stays_full(*state);
}

static void without_asynchronous_io_both_hold(void **state)
{
	take_asynchronous_io_away(*state);
	assert_counted(*state, 1000);
	assert_full_stays_full(*state);
}

static void an_empty_one_is_not_waited_for(void **state)
{
	struct bench *b = *state;

	assert_int_equal(event_clear(b->fd), -EAGAIN);
	assert_int_equal(event_signal(&b->signaller, b->fd), 0);
	assert_int_equal(event_clear(b->fd), 0);
	assert_int_equal(event_clear(b->fd), -EAGAIN);
}

static void other_descriptors_are_told_apart(void **state)
{
	struct bench *b = *state;
	int ends[2];

	assert_int_equal(pipe2(ends, O_CLOEXEC), 0);
	assert_true(event_is_eventfd(b->fd));
	assert_false(event_is_eventfd(ends[1]));
	assert_false(event_is_eventfd(-1));
	assert_int_equal(event_signal(&b->signaller, ends[1]), -EINVAL);
	close(ends[0]);
	close(ends[1]);
	assert_int_equal(event_signal(&b->signaller, ends[1]), -EBADF);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(each_signal_counts),
		TEST(a_full_counter_is_left_as_it_is),
		TEST(without_asynchronous_io_both_hold),
		TEST(an_empty_one_is_not_waited_for),
		TEST(other_descriptors_are_told_apart),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
