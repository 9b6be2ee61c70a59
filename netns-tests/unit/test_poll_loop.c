/*
 * The loop of the process, between polling and sleeping: a thread runs it, the test is the client of its only port.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <pthread.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

#include "netns-tests/softnic/log.h"
#include "netns-tests/softnic/port.h"

static struct ports ports;
static struct ev_loop *loop;

static void *run(void *result)
{
	*(int *)result = poll_loop_run(&ports, loop);
	return NULL;
}

/* Send a command and take the reply's first descriptor, -1 if there is none. */
static int call(int client, uint16_t command, const void *payload, size_t size)
{
	uint8_t reply[4096];
	union {
		char bytes[CMSG_SPACE(sizeof(int))];
		struct cmsghdr align;
	} control;
	struct vfio_user_header header = {.command = command, .size = (uint32_t)(sizeof header + size)};
	struct iovec out[] = {{&header, sizeof header}, {(void *)payload, size}};
	struct iovec in = {reply, sizeof reply};
	struct msghdr request = {.msg_iov = out, .msg_iovlen = 2};
	struct msghdr answer = {.msg_iov = &in,
		.msg_iovlen = 1,
		.msg_control = control.bytes,
		.msg_controllen = sizeof control.bytes};
	int fd = -1;
	assert_int_equal(sendmsg(client, &request, MSG_NOSIGNAL), header.size);
	assert_true(recvmsg(client, &answer, 0) >= (ssize_t)sizeof header);
	if (CMSG_FIRSTHDR(&answer))
		memcpy(&fd, CMSG_DATA(CMSG_FIRSTHDR(&answer)), sizeof fd);
	return fd;
}

/* It has mapped the registers and was given no eventfd to ring: a VMM whose guest does the stores, say. */
static void a_client_that_writes_registers_without_a_word_is_seen_while_the_loop_sleeps(void **state)
{
	static const struct {
		struct vfio_user_version version;
		char json[40];
	} hello = {{0, 1}, "{\"capabilities\":{\"max_msg_fds\":8}}"};
	const struct vfio_region_info bar0 = {.argsz = 4096, .index = VFIO_PCI_BAR0_REGION_INDEX};
	char spec[32];
	int pair[2], result = -1, fd;
	volatile uint32_t *page;
	pthread_t thread;

	(void)state;
	softnic_log_level(LOG_LEVEL_ERROR);
	loop = ev_loop_new(EVFLAG_AUTO);
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair), 0);
	snprintf(spec, sizeof spec, "fd:%d=none", pair[1]);
	assert_true(port_open(&ports, spec, NULL, loop));
	assert_int_equal(pthread_create(&thread, NULL, run, &result), 0);

	call(pair[0], VFIO_USER_VERSION, &hello, sizeof hello);
	fd = call(pair[0], VFIO_USER_DEVICE_GET_REGION_INFO, &bar0, sizeof bar0);
	page = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, fd, TXQ(0));
	assert_ptr_not_equal(page, MAP_FAILED);
	usleep(50000); /* it falls asleep */

	/* A queue enabled without a ring: the first thing that the model would say about this store. */
	page[(TXDCTL(0) - TXQ(0)) / 4] = TXDCTL_ENABLE;
	bool noticed = false;
	for (unsigned tries = 0; tries < 3000 && !noticed; tries++) {
		usleep(1000);
		noticed = __atomic_load_n(
			&ports.port[0].nic->violation[NIC_VIOLATION_QUEUE_HALF_CONFIGURED], __ATOMIC_RELAXED);
	}
	close(pair[0]); /* which ends the loop */
	assert_int_equal(pthread_join(thread, NULL), 0);
	assert_int_equal(result, 0);
	assert_true(noticed);
	munmap((void *)page, 4096);
	close(fd);
	ports_close(&ports);
	ev_loop_destroy(loop);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_client_that_writes_registers_without_a_word_is_seen_while_the_loop_sleeps),
	};
	return cmocka_run_group_tests_name("poll loop", tests, NULL, NULL);
}
