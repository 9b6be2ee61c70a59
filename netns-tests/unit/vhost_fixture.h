/*
 * A vhost port for a test, opened before it and closed after it, between a device and a kernel that the test plays
 * (fake_device.h, vhost_rig.h). Afterwards no buffer is missing, no ring is served, and the kernel has no complaint.
 */
#ifndef UNIT_VHOST_FIXTURE_H
#define UNIT_VHOST_FIXTURE_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <linux/virtio_config.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "bridge/vhost.h"
#include "chain.h"
#include "fake_device.h"
#include "vhost_rig.h"

#define HEADER    12
#define BUFFER    2048
#define BUFFERS   1024
#define RX_FRAMES 1600
#define BIT(n)    (UINT64_C(1) << (n))

static struct fake_device fake;
static struct vhost_rig rig;

struct fixture {
	struct mempool *pool, *received; /* for frames from the kernel; from the NIC */
	struct kernel_port *port;
	struct queue_counters counters;
};

/* 0 and the port, or a negative errno. */
static inline int try_open(struct fixture *f, struct kernel_port **port)
{
	const struct vhost_config config = {
		.tap_fd = VHOST_RIG_TAP, .pool = f->pool, .received = f->received};

	return vhost_port_open(&config, port);
}

static int setup_unopened(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));

	fake_device_init(&fake);
	vhost_rig_init(&rig);
	f->pool = ixy_mempool_create(&fake.dev, BUFFERS, BUFFER);
	f->received = ixy_mempool_create(&fake.dev, RX_FRAMES, BUFFER);
	*state = f;
	return f->pool && f->received ? 0 : -1;
}

static int setup(void **state)
{
	struct fixture *f;

	if (setup_unopened(state))
		return -1;
	f = *state;
	return try_open(f, &f->port);
}

static int teardown(void **state)
{
	struct fixture *f = *state;
	int rc;

	if (f->port)
		kernel_port_unbind(f->port);
	/* They fail if a buffer was lost. */
	rc = ixy_mempool_free(f->pool) | ixy_mempool_free(f->received);
	if (vhost_rig_served(&rig))
		rig.fault = "the rings are still served";
	if (rig.fault)
		print_error("%s\n", rig.fault);
	rc |= rig.fault != NULL;
	vhost_rig_close(&rig);
	fake_device_close(&fake);
	free(f);
	return rc ? -1 : 0;
}

#define dropped(reason) (f->counters.drops[IXY_DROP_##reason])

/* A frame from the NIC, in as many buffers as it takes. */
static inline struct pkt_buf *received(struct fixture *f, const uint8_t *data, uint32_t size)
{
	return chain_of(f->received, data, size);
}

static inline void pattern(uint8_t *data, uint32_t size)
{
	for (uint32_t i = 0; i < size; i++)
		data[i] = (uint8_t)(i * 7 + i / 251);
}

static inline void assert_frame(const struct pkt_buf *frame, const uint8_t *data, uint32_t size)
{
	uint32_t at = 0, segments = 0;

	assert_int_equal(frame->frame_size, size);
	for (const struct pkt_buf *buf = frame; buf; buf = buf->next, segments++) {
		assert_true(at + buf->size <= size);
		assert_memory_equal(buf->data, data + at, buf->size);
		at += buf->size;
	}
	assert_int_equal(at, size);
	assert_int_equal(frame->segments, segments);
}

static inline bool signalled(int fd)
{
	return poll(&(struct pollfd){.fd = fd, .events = POLLIN}, 1, 0) == 1;
}

/* Frames that the daemon takes out of the kernel now. */
static inline int take(struct fixture *f, struct pkt_buf *frames[], uint32_t count)
{
	vhost_rig_serve(&rig);
	return kernel_port_recv(f->port, frames, count, &f->counters);
}

/* A frame for the kernel. */
static inline void send_one(struct fixture *f)
{
	uint8_t data[60] = {0};
	struct pkt_buf *frame = received(f, data, sizeof(data));

	assert_int_equal(kernel_port_send(f->port, &frame, 1, &f->counters), 0);
}

#define TEST(name)     cmocka_unit_test_setup_teardown(name, setup, teardown)
#define UNOPENED(name) cmocka_unit_test_setup_teardown(name, setup_unopened, teardown)

#endif
