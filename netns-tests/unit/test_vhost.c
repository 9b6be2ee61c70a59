/*
 * The vhost port against a kernel that the test plays (vhost_rig.h): what it is told and in which order, frames both
 * ways, who wakes whom, rings that break, and the end.
 */
#include <stdarg.h>
#include <setjmp.h>
#include <stddef.h>
#include <stdint.h>
#include <dirent.h>
#include <errno.h>
#include <linux/virtio_config.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <cmocka.h>

#include "bridge/log.h"
#include "bridge/vhost.h"
#include "bridge/worker.h"
#include "fake_device.h"
#include "own_netns.h"
#include "vhost_rig.h"

#define HEADER    12
#define BUFFER    2048
#define BUFFERS   1024
#define RX_FRAMES 1600
#define BIT(n)    (UINT64_C(1) << (n))

static struct fake_device fake;
static struct vhost_rig rig;

struct fixture {
	struct mempool *pool, *received;
	struct kernel_port *port;
	struct queue_counters counters;
};

static int try_open(struct fixture *f, struct kernel_port **port)
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

/* Wait, at most five seconds, for something that another thread does. */
#define eventually(condition)                                                        \
	({                                                                           \
		bool holds = false;                                                  \
		for (int tries = 0; tries < 5000 && !(holds = (condition)); tries++) \
			usleep(1000);                                                \
		holds;                                                               \
	})

#define dropped(reason) (f->counters.drops[IXY_DROP_##reason])

/* A frame from the NIC, in as many buffers as it takes. */
static struct pkt_buf *received(struct fixture *f, const uint8_t *data, uint32_t size)
{
	struct pkt_buf *first = pkt_buf_alloc(f->received), *buf = first;

	assert_non_null(first);
	first->frame_size = size;
	for (;;) {
		buf->size = size < BUFFER ? size : BUFFER;
		memcpy(buf->data, data, buf->size);
		data += buf->size;
		size -= buf->size;
		if (!size)
			return first;
		buf->next = pkt_buf_alloc(f->received);
		assert_non_null(buf->next);
		buf = buf->next;
		first->segments++;
	}
}

static void pattern(uint8_t *data, uint32_t size)
{
	for (uint32_t i = 0; i < size; i++)
		data[i] = (uint8_t)(i * 7 + i / 251);
}

static void assert_frame(const struct pkt_buf *frame, const uint8_t *data, uint32_t size)
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

static bool signalled(int fd)
{
	return poll(&(struct pollfd){.fd = fd, .events = POLLIN}, 1, 0) == 1;
}

/* Frames that the daemon takes out of the kernel now. */
static int take(struct fixture *f, struct pkt_buf *frames[], uint32_t count)
{
	vhost_rig_serve(&rig);
	return kernel_port_recv(f->port, frames, count, &f->counters);
}

/* --- setting up --------------------------------------------------------------------------------------- */

static void the_kernel_is_told_all_in_the_order_that_it_wants(void **state)
{
	static const unsigned long order[] = {VHOST_SET_OWNER, VHOST_GET_FEATURES, VHOST_SET_FEATURES,
		VHOST_SET_MEM_TABLE, VHOST_SET_VRING_NUM, VHOST_SET_VRING_ADDR, VHOST_SET_VRING_BASE,
		VHOST_SET_VRING_ERR, VHOST_SET_VRING_CALL, VHOST_SET_VRING_KICK, VHOST_SET_VRING_NUM,
		VHOST_SET_VRING_ADDR, VHOST_SET_VRING_BASE, VHOST_SET_VRING_ERR, VHOST_SET_VRING_CALL,
		VHOST_SET_VRING_KICK, VHOST_NET_SET_BACKEND, VHOST_NET_SET_BACKEND};
	struct fixture *f = *state;

	assert_int_equal(rig.request_count, sizeof(order) / sizeof(order[0]));
	assert_memory_equal(rig.requests, order, sizeof(order));
	/* Of all that was offered: no header of vhost's own, no IOMMU, no log, no offload bit. */
	assert_int_equal(rig.features,
		BIT(VIRTIO_F_VERSION_1) | BIT(VIRTIO_NET_F_MRG_RXBUF) | BIT(VIRTIO_RING_F_EVENT_IDX));
	assert_int_equal(rig.region_count, 2);
	assert_int_equal(rig.regions[0].guest_phys_addr, (uintptr_t)f->pool->dma->virt);
	assert_int_equal(rig.regions[0].userspace_addr, (uintptr_t)f->pool->dma->virt);
	assert_int_equal(rig.regions[0].memory_size, f->pool->dma->size);
	assert_int_equal(rig.regions[1].guest_phys_addr, (uintptr_t)f->received->dma->virt);
	/* Empty buffers lie ready, and nobody is to signal. */
	assert_int_equal(rig.rings[0].avail->idx, VHOST_PORT_BUFFERS);
	assert_true(rig.rings[0].call >= 0);
	assert_int_equal(rig.rings[1].call, VHOST_FILE_UNBIND);
	assert_int_equal(rig.rings[0].busy_usecs, 0);
	for (int i = 0; i < 2; i++)
		assert_int_equal(rig.rings[i].error, vhost_port_error_fd(f->port));
}

static void busy_polling_is_asked_for_and_may_be_refused(void **state)
{
	struct fixture *f = *state;
	struct vhost_config config = {
		.tap_fd = VHOST_RIG_TAP, .pool = f->pool, .received = f->received, .busy_poll_usecs = 50};

	for (int refused = 0; refused < 2; refused++) {
		rig.refuse = refused ? VHOST_SET_VRING_BUSYLOOP_TIMEOUT : 0;
		rig.refuse_error = ENOTTY;
		rig.refuse_after = 0;
		assert_int_equal(vhost_port_open(&config, &f->port), 0);
		if (!refused)
			assert_int_equal(rig.rings[0].busy_usecs, 50);
		assert_int_equal(rig.rings[1].busy_usecs, 50);
		kernel_port_unbind(f->port);
		f->port = NULL;
	}
}

static void a_kernel_without_the_features_that_it_takes_is_refused(void **state)
{
	static const int needed[] = {VIRTIO_F_VERSION_1, VIRTIO_NET_F_MRG_RXBUF};
	struct fixture *f = *state;
	uint64_t all = rig.offered;

	for (size_t i = 0; i < 2; i++) {
		rig.offered = all & ~BIT(needed[i]);
		assert_int_equal(vhost_usable(), -ENOTSUP);
		assert_int_equal(try_open(f, &f->port), -ENOTSUP);
		assert_non_null(strstr(ixy_last_error(), "does not know mergeable buffers"));
		f->port = NULL;
	}
	rig.offered = all;
	assert_int_equal(vhost_usable(), 0);
}

static int not_permitted(void *arg)
{
	(void)arg;
	return vhost_usable() == -EACCES && strstr(ixy_last_error(), "chown 65534 ") ? 0 : 1;
}

static void what_is_missing_is_named_with_the_command_that_mends_it(void **state)
{
	char node[] = "/tmp/vhost-net-XXXXXX";
	int fd = mkstemp(node);

	(void)state;
	vhost_path = "/dev/no-such-node";
	assert_int_equal(vhost_usable(), -ENOENT);
	assert_non_null(strstr(ixy_last_error(), "modprobe vhost_net"));
	assert_true(fd >= 0 && fchmod(fd, 0600) == 0);
	close(fd);
	vhost_path = node;
	assert_int_equal(as_nobody(not_permitted, NULL), 0);
	unlink(node);
}

static unsigned open_descriptors(void)
{
	DIR *dir = opendir("/proc/self/fd");
	unsigned count = 0;

	while (readdir(dir))
		count++;
	closedir(dir);
	return count;
}

static void whatever_the_kernel_refuses_leaves_nothing_behind(void **state)
{
	static const unsigned long requests[] = {VHOST_SET_OWNER, VHOST_GET_FEATURES, VHOST_SET_FEATURES,
		VHOST_SET_MEM_TABLE, VHOST_SET_VRING_NUM, VHOST_SET_VRING_ADDR, VHOST_SET_VRING_BASE,
		VHOST_SET_VRING_ERR, VHOST_SET_VRING_CALL, VHOST_SET_VRING_KICK, VHOST_NET_SET_BACKEND};
	struct fixture *f = *state;
	unsigned before = open_descriptors();

	for (size_t i = 0; i < sizeof(requests) / sizeof(requests[0]); i++) {
		/* At the first and, where there is one, at the second ring. */
		for (unsigned after = 0; after < (i < 4 ? 1 : 2); after++) {
			struct kernel_port *port;

			rig.refuse = requests[i];
			rig.refuse_error = EMFILE;
			rig.refuse_after = after;
			assert_int_equal(try_open(f, &port), -EMFILE);
			assert_non_null(strstr(ixy_last_error(), "the kernel refuses"));
			assert_non_null(strstr(ixy_last_error(), strerror(EMFILE)));
			assert_int_equal(open_descriptors(), before);
			assert_int_equal(f->pool->free_count, BUFFERS);
			assert_int_equal(vhost_rig_served(&rig), 0);
		}
	}
}

static void a_device_whose_buffers_cannot_be_shared_is_refused(void **state)
{
	struct fixture *f = *state;
	struct vhost_config config = {.tap_fd = VHOST_RIG_TAP, .pool = f->pool};
	struct kernel_port *port;

	assert_int_equal(vhost_port_open(&config, &port), -ENOTSUP);
}

/* --- frames ------------------------------------------------------------------------------------------- */

static void frames_of_all_sizes_reach_the_kernel_from_where_the_nic_put_them(void **state)
{
	static const uint32_t sizes[] = {14, 15, 60, 64, 1514, 2047, 2048, 2049, 4097, 9728, 65000};
	struct fixture *f = *state;
	static uint8_t data[65000];
	uint64_t bytes = 0;
	unsigned n = sizeof(sizes) / sizeof(sizes[0]);

	pattern(data, sizeof(data));
	for (unsigned i = 0; i < n; i++) {
		struct pkt_buf *frame = received(f, data, sizes[i]);
		uint32_t segments = frame->segments, before = rig.sent_buffers;

		assert_int_equal(kernel_port_send(f->port, &frame, 1, &f->counters), 0);
		vhost_rig_serve(&rig);
		assert_int_equal(rig.got_count, i + 1);
		assert_int_equal(rig.got[i].size, HEADER + sizes[i]);
		for (unsigned j = 0; j < HEADER; j++)
			assert_int_equal(rig.got[i].data[j], 0);
		assert_memory_equal(rig.got[i].data + HEADER, data, sizes[i]);
		assert_int_equal(rig.sent_buffers - before, segments); /* header and frame are one piece */
		bytes += sizes[i];
	}
	/* The buffers are back as soon as somebody asks. */
	assert_int_equal(kernel_port_reclaim(f->port, &f->counters), 0);
	assert_int_equal(f->received->free_count, RX_FRAMES);
	assert_int_equal(f->counters.rx.frames, n);
	assert_int_equal(f->counters.rx.bytes, bytes);
}

static void frames_of_all_sizes_leave_the_kernel_whole_and_padded(void **state)
{
	static const uint32_t sizes[] = {
		14, 42, 59, 60, 61, 1514, 2047, 2048, 2049, 2050, 4096, 4108, 9724, 65549};
	struct fixture *f = *state;
	static uint8_t data[65549];

	/* Often enough that the indices go round the ring. */
	for (int round = 0; round < 12; round++) {
		for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
			struct pkt_buf *frames[4];
			uint32_t expected = sizes[i] < 60 ? 60 : sizes[i];

			pattern(data, sizes[i]);
			vhost_rig_send(&rig, data, sizes[i], NULL);
			memset(data + sizes[i], 0, expected - sizes[i]);
			assert_int_equal(take(f, frames, 4), 1);
			assert_frame(frames[0], data, expected);
			assert_int_equal(frames[0]->flags, 0);
			pkt_buf_free(frames[0]);
		}
	}
	assert_int_equal(f->counters.tx.frames, 12 * sizeof(sizes) / sizeof(sizes[0]));
	assert_int_equal(dropped(KERNEL_MALFORMED), 0);
}

static void super_frames_pass_both_ways_with_what_is_left_to_do(void **state)
{
	struct fixture *f = *state;
	struct virtio_net_hdr_v1 header = {.flags = VIRTIO_NET_HDR_F_NEEDS_CSUM,
		.gso_type = VIRTIO_NET_HDR_GSO_TCPV4,
		.hdr_len = 66,
		.gso_size = 1448,
		.csum_start = 34,
		.csum_offset = 16};
	static uint8_t data[66 + 45 * 1448];
	struct pkt_buf *frame;
	struct virtio_net_hdr_v1 got;

	pattern(data, sizeof(data));
	data[34 + 12] = 8 << 4; /* a TCP header of 32 bytes */
	vhost_rig_send(&rig, data, sizeof(data), &header);
	assert_int_equal(take(f, &frame, 1), 1);
	assert_frame(frame, data, sizeof(data));
	assert_int_equal(frame->flags, PKT_TX_L4_CSUM | PKT_TX_TSO4);
	assert_int_equal(frame->gso_size, 1448);
	assert_int_equal(frame->header_size, 66);
	assert_int_equal(f->counters.tx.frames, 45);
	/* The same one back. */
	assert_int_equal(kernel_port_send(f->port, &frame, 1, &f->counters), 0);
	vhost_rig_serve(&rig);
	assert_int_equal(rig.got_count, 1);
	assert_memory_equal(rig.got[0].data + HEADER, data, sizeof(data));
	memcpy(&got, rig.got[0].data, sizeof(got));
	assert_int_equal(got.gso_type, VIRTIO_NET_HDR_GSO_TCPV4);
	assert_int_equal(got.flags, VIRTIO_NET_HDR_F_NEEDS_CSUM);
	assert_int_equal(got.gso_size, 1448);
	assert_int_equal(got.csum_start, 34);
	kernel_port_drain(f->port, &f->counters);
	assert_int_equal(f->counters.rx.frames, 45);
}

static void what_the_kernel_would_lose_in_silence_is_counted(void **state)
{
	struct fixture *f = *state;
	uint8_t data[64] = {0};
	struct pkt_buf *frames[2] = {received(f, data, 13), received(f, data, 64)};

	assert_int_equal(kernel_port_send(f->port, frames, 2, &f->counters), 0);
	assert_int_equal(dropped(KERNEL_RUNT), 1);
	kernel_port_set_up(f->port, false);
	frames[0] = received(f, data, 64);
	assert_int_equal(kernel_port_send(f->port, frames, 1, &f->counters), 0);
	assert_int_equal(dropped(KERNEL_DOWN), 1);
	kernel_port_set_up(f->port, true);
	frames[0] = received(f, data, 64);
	assert_int_equal(kernel_port_send(f->port, frames, 1, &f->counters), 0);
	vhost_rig_serve(&rig);
	assert_int_equal(rig.got_count, 2);
	kernel_port_drain(f->port, &f->counters);
	assert_int_equal(f->counters.rx.frames, 2);
}

static void an_empty_pool_is_told_and_got_over(void **state)
{
	struct fixture *f = *state;
	struct pkt_buf *hoard[BUFFERS], *frames[VHOST_PORT_BUFFERS];
	uint32_t hoarded = pkt_buf_alloc_batch(f->pool, hoard, BUFFERS);
	uint8_t data[60] = {0};
	int n = 0, got;

	for (int i = 0; i < VHOST_PORT_BUFFERS + 1; i++)
		vhost_rig_send(&rig, data, sizeof(data), NULL);
	while ((got = take(f, frames + n, 64)) > 0)
		n += got;
	assert_int_equal(n, VHOST_PORT_BUFFERS);
	assert_int_equal(got, -ENOBUFS);
	/* The kernel's thread waits for buffers. With the first ones it goes on, if it is told. */
	eventfd_t kicks;
	eventfd_read(rig.rings[0].kick, &kicks);
	pkt_buf_free_batch(frames, (uint32_t)n);
	kernel_port_reclaim(f->port, &f->counters);
	assert_true(signalled(rig.rings[0].kick));
	assert_int_equal(take(f, frames, 64), 1);
	pkt_buf_free(frames[0]);
	pkt_buf_free_batch(hoard, hoarded);
}

static void the_port_has_room_until_the_kernel_lags_behind(void **state)
{
	struct fixture *f = *state;
	uint8_t data[60] = {0};
	unsigned sent = 0;

	assert_true(kernel_port_room(f->port) >= WORKER_BATCH);
	while (kernel_port_room(f->port) >= WORKER_BATCH) {
		struct pkt_buf *frames[WORKER_BATCH];

		assert_true(sent < RX_FRAMES - WORKER_BATCH); /* the NIC keeps some for itself */
		for (unsigned i = 0; i < WORKER_BATCH; i++, sent++)
			frames[i] = received(f, data, sizeof(data));
		assert_int_equal(kernel_port_send(f->port, frames, WORKER_BATCH, &f->counters), 0);
	}
	assert_int_equal(kernel_port_room(f->port), 0);
	assert_true(sent >= 512);
	assert_int_equal(kernel_port_reclaim(f->port, &f->counters), sent);
	vhost_rig_serve(&rig);
	assert_true(kernel_port_room(f->port) >= WORKER_BATCH);
	assert_int_equal(rig.got_count, sent);
	assert_int_equal(dropped(KERNEL_FULL), 0);
}

/* --- who wakes whom ----------------------------------------------------------------------------------- */

static void with_both_kinds_of_suppression(struct fixture *f, void (*test)(struct fixture *))
{
	uint64_t all = rig.offered;

	for (int i = 0; i < 2; i++) {
		rig.offered = i ? all & ~BIT(VIRTIO_RING_F_EVENT_IDX) : all;
		assert_int_equal(try_open(f, &f->port), 0);
		test(f);
		kernel_port_unbind(f->port);
		f->port = NULL;
	}
}

static void send_one(struct fixture *f)
{
	uint8_t data[60] = {0};
	struct pkt_buf *frame = received(f, data, sizeof(data));

	assert_int_equal(kernel_port_send(f->port, &frame, 1, &f->counters), 0);
}

static void kick(struct fixture *f)
{
	eventfd_t kicks;

	vhost_rig_serve(&rig); /* and sleeps now */
	eventfd_read(rig.rings[1].kick, &kicks);
	send_one(f);
	assert_true(signalled(rig.rings[1].kick));
	eventfd_read(rig.rings[1].kick, &kicks);
	/* It has work already: with event indices it is told that only once. */
	if (rig.features & BIT(VIRTIO_RING_F_EVENT_IDX)) {
		send_one(f);
		assert_false(signalled(rig.rings[1].kick));
	}
	vhost_rig_serve(&rig);
	/* It works. */
	if (rig.features & BIT(VIRTIO_RING_F_EVENT_IDX))
		*(uint16_t *)&rig.rings[1].used->ring[rig.rings[1].num] =
			(uint16_t)(rig.rings[1].avail_idx - 1);
	else
		rig.rings[1].used->flags = VRING_USED_F_NO_NOTIFY;
	for (int i = 0; i < 20; i++)
		send_one(f);
	assert_false(signalled(rig.rings[1].kick));
}

static void the_kernel_is_kicked_only_while_it_sleeps(void **state)
{
	with_both_kinds_of_suppression(*state, kick);
}

static void signal_worker(struct fixture *f)
{
	struct pkt_buf *frames[4];
	uint8_t data[60] = {0};
	int fd = kernel_port_fd(f->port);
	eventfd_t signals;

	/* Awake: the ring is looked at, no signal is needed. */
	for (int i = 0; i < 3; i++) {
		vhost_rig_send(&rig, data, sizeof(data), NULL);
		assert_int_equal(take(f, frames, 4), 1);
		pkt_buf_free(frames[0]);
	}
	assert_false(signalled(fd));
	/* Asleep: the next frame wakes. */
	assert_false(kernel_port_arm(f->port));
	vhost_rig_send(&rig, data, sizeof(data), NULL);
	vhost_rig_serve(&rig);
	assert_true(signalled(fd));
	assert_int_equal(take(f, frames, 4), 1);
	pkt_buf_free(frames[0]);
	/* Awake again. */
	eventfd_read(fd, &signals);
	vhost_rig_send(&rig, data, sizeof(data), NULL);
	vhost_rig_serve(&rig);
	assert_false(signalled(fd));
	/* A frame that came before the arming: no signal, so no sleep. */
	assert_true(kernel_port_arm(f->port));
	assert_false(signalled(fd));
	assert_int_equal(take(f, frames, 4), 1);
	pkt_buf_free(frames[0]);
	assert_false(kernel_port_arm(f->port));
	assert_false(signalled(fd));
}

static void the_worker_is_signalled_only_when_it_is_about_to_sleep(void **state)
{
	with_both_kinds_of_suppression(*state, signal_worker);
}

/* Frames that were fetched but not handed out because the burst was full must not be slept over. */
static void a_frame_in_hand_is_no_time_to_sleep(void **state)
{
	struct fixture *f = *state;
	struct pkt_buf *frames[8];
	uint8_t data[60] = {0};

	for (int i = 0; i < 8; i++)
		vhost_rig_send(&rig, data, sizeof(data), NULL);
	assert_int_equal(take(f, frames, 4), 4);
	assert_true(kernel_port_arm(f->port));
	assert_int_equal(kernel_port_recv(f->port, frames + 4, 4, &f->counters), 4);
	assert_false(kernel_port_arm(f->port));
	pkt_buf_free_batch(frames, 8);
}

/* --- a kernel that lies ------------------------------------------------------------------------------- */

static void lengths_and_numbers_that_no_frame_has_are_counted_and_lose_no_buffer(void **state)
{
	static const struct {
		uint16_t buffers;
		uint32_t written;
		enum ixy_drop reason;
	} lies[] = {
		{1, 0, IXY_DROP_KERNEL_MALFORMED},
		{1, 11, IXY_DROP_KERNEL_MALFORMED},
		{1, 12, IXY_DROP_TX_TOO_SHORT},
		{1, 25, IXY_DROP_TX_TOO_SHORT},
		{0, UINT32_MAX, IXY_DROP_KERNEL_MALFORMED},
		{2, UINT32_MAX, IXY_DROP_KERNEL_MALFORMED}, /* the second one never comes */
		{200, UINT32_MAX, IXY_DROP_KERNEL_MALFORMED},
		{65535, UINT32_MAX, IXY_DROP_KERNEL_MALFORMED},
	};
	struct fixture *f = *state;
	uint8_t data[100] = {0};

	for (size_t i = 0; i < sizeof(lies) / sizeof(lies[0]); i++) {
		struct pkt_buf *frames[4];
		uint64_t before = f->counters.drops[lies[i].reason];

		rig.lie = true;
		rig.lie_buffers = lies[i].buffers;
		rig.lie_written = lies[i].written;
		vhost_rig_send(&rig, data, sizeof(data), NULL);
		assert_int_equal(take(f, frames, 4), 0);
		assert_int_equal(f->counters.drops[lies[i].reason], before + 1);
		/* The next frame is none the worse for it. */
		vhost_rig_send(&rig, data, sizeof(data), NULL);
		assert_int_equal(take(f, frames, 4), 1);
		assert_frame(frames[0], data, sizeof(data));
		pkt_buf_free(frames[0]);
		assert_false(signalled(vhost_port_error_fd(f->port)));
	}
}

/* More buffers than a frame may have are all used up before the next frame begins. */
static void a_frame_of_too_many_buffers_is_lost_as_a_whole(void **state)
{
	struct fixture *f = *state;
	static uint8_t data[BUFFER * 50];
	struct pkt_buf *frames[4];

	vhost_rig_send(&rig, data, sizeof(data), NULL);
	vhost_rig_send(&rig, data, 100, NULL);
	assert_int_equal(take(f, frames, 4), 1);
	assert_frame(frames[0], data, 100);
	pkt_buf_free(frames[0]);
	assert_int_equal(dropped(KERNEL_MALFORMED), 1);
}

static void break_rings(struct fixture *f, bool by_length)
{
	struct pkt_buf *frames[4];
	uint8_t data[100] = {0};

	rig.lie = true;
	rig.lie_buffers = 1;
	rig.lie_written = by_length ? HEADER + BUFFER + 1 : UINT32_MAX;
	rig.lie_id = by_length ? UINT32_MAX : 77777;
	vhost_rig_send(&rig, data, sizeof(data), NULL);
	assert_int_equal(take(f, frames, 4), 0);
	rig.lie_written = rig.lie_id = UINT32_MAX;
}

static void broken_rings_are_told_and_set_up_anew(void **state)
{
	struct fixture *f = *state;
	uint8_t data[100] = {0};

	for (int by_length = 0; by_length < 2; by_length++) {
		struct pkt_buf *frames[2] = {NULL};

		/* Three frames are in the kernel's hands, and one has come back unseen. */
		rig.keep = true;
		for (int i = 0; i < 3; i++)
			send_one(f);
		break_rings(f, by_length);
		assert_true(signalled(vhost_port_error_fd(f->port)));
		/* Nothing passes until somebody sees to it; what the NIC has stays there, what is sent is lost. */
		assert_int_equal(kernel_port_room(f->port), 0);
		assert_int_equal(kernel_port_recv(f->port, frames, 2, &f->counters), 0);
		assert_false(kernel_port_arm(f->port));
		assert_int_equal(vhost_port_restart(f->port, &f->counters), 0);
		assert_int_equal(dropped(KERNEL_RESET), 3 * (by_length + 1));
		assert_false(signalled(vhost_port_error_fd(f->port)));
		rig.keep = false;
		/* As new. */
		rig.got_count = 0;
		send_one(f);
		vhost_rig_send(&rig, data, sizeof(data), NULL);
		assert_int_equal(take(f, frames, 2), 1);
		assert_frame(frames[0], data, sizeof(data));
		pkt_buf_free(frames[0]);
		assert_int_equal(rig.got_count, 1);
	}
}

/* vhost-net found our rings broken: it says so by the descriptor, and stops. */
static void frames_that_were_in_the_rings_at_an_error_are_counted_both_ways(void **state)
{
	struct fixture *f = *state;
	static uint8_t data[BUFFER * 3];

	send_one(f);
	rig.keep = true;
	send_one(f);
	vhost_rig_send(&rig, data, sizeof(data), NULL);
	vhost_rig_send(&rig, data, 100, NULL);
	vhost_rig_serve(&rig); /* both lie in the ring, not taken yet */
	eventfd_write(rig.rings[0].error, 1);
	assert_true(signalled(vhost_port_error_fd(f->port)));
	assert_int_equal(vhost_port_restart(f->port, &f->counters), 0);
	assert_int_equal(dropped(KERNEL_RESET), 4);
	assert_int_equal(f->counters.rx.frames, 0);
}

static void a_restart_that_the_kernel_refuses_leaves_a_port_that_can_be_closed(void **state)
{
	struct fixture *f = *state;
	struct queue_counters counters = {0};

	send_one(f);
	rig.refuse = VHOST_SET_VRING_KICK;
	rig.refuse_error = EBADF;
	rig.refuse_after = 1;
	assert_int_equal(vhost_port_restart(f->port, &counters), -EBADF);
	/* As the worker's end goes, whatever has happened. */
	assert_int_equal(kernel_port_drain(f->port, &counters), 0);
	assert_int_equal(f->pool->free_count, BUFFERS);
	assert_int_equal(f->received->free_count, RX_FRAMES);
}

/* --- the end ------------------------------------------------------------------------------------------ */

static void at_the_end_the_kernel_gets_what_it_was_sent(void **state)
{
	struct fixture *f = *state;

	vhost_rig_run(&rig);
	for (int i = 0; i < 100; i++)
		send_one(f);
	assert_int_equal(kernel_port_drain(f->port, &f->counters), 0);
	assert_int_equal(vhost_rig_got(&rig), 100);
	assert_int_equal(f->counters.rx.frames, 100);
	assert_int_equal(dropped(SHUTDOWN), 0);
	assert_int_equal(vhost_rig_served(&rig), 0);
	assert_int_equal(f->pool->free_count, BUFFERS);
}

static void a_kernel_that_hangs_at_the_end_is_not_waited_for_and_its_frames_are_counted(void **state)
{
	struct fixture *f = *state;

	rig.keep = true;
	for (int i = 0; i < 7; i++)
		send_one(f);
	assert_int_equal(kernel_port_drain(f->port, &f->counters), 7);
	assert_int_equal(dropped(SHUTDOWN), 7);
	assert_int_equal(f->counters.rx.frames, 0);
	assert_int_equal(f->received->free_count, RX_FRAMES);
}

static void after_the_port_was_shut_what_the_kernel_has_handed_over_is_still_there(void **state)
{
	struct fixture *f = *state;
	struct pkt_buf *frames[8];
	uint8_t data[60] = {0};

	for (int i = 0; i < 5; i++)
		vhost_rig_send(&rig, data, sizeof(data), NULL);
	vhost_rig_serve(&rig);
	assert_true(kernel_port_shut(f->port));
	assert_false(rig.rings[0].attached);
	assert_true(rig.rings[1].attached);
	vhost_rig_send(&rig, data, sizeof(data), NULL);
	assert_int_equal(take(f, frames, 8), 5);
	pkt_buf_free_batch(frames, 5);
	assert_int_equal(take(f, frames, 8), 0);
}

/* --- with a worker ------------------------------------------------------------------------------------ */

static void never(void *arg)
{
	(void)arg;
	abort();
}

static struct worker *start_worker(struct fixture *f, uint32_t idle_usecs)
{
	const struct worker_config config = {
		.dev = &fake.dev,
		.port = f->port,
		.counters = &f->counters,
		.name = "test",
		.cpu = -1,
		.idle_usecs = idle_usecs,
		.interface_gone = never,
	};
	struct worker *worker;

	assert_int_equal(worker_start(&config, &worker), 0);
	return worker;
}

static unsigned fake_sent(void)
{
	unsigned count;

	pthread_mutex_lock(&fake.lock);
	count = fake.tx_count;
	pthread_mutex_unlock(&fake.lock);
	return count;
}

/* One at a time, so that both threads fall asleep between two frames: a wake-up that is lost would strand one. */
static void lone_frames_wake_whoever_sleeps(void **state)
{
	struct fixture *f = *state;
	uint8_t data[100] = {0};
	struct pkt_buf *frames[300];
	struct worker *worker;

	pattern(data, sizeof(data));
	for (int i = 0; i < 300; i++)
		frames[i] = received(f, data, sizeof(data));
	vhost_rig_run(&rig);
	worker = start_worker(f, 0);
	for (unsigned i = 0; i < 300; i++) {
		vhost_rig_send(&rig, data, sizeof(data), NULL);
		assert_true(eventually(fake_sent() == i + 1));
		fake_device_receive(&fake, &frames[i], 1);
		assert_true(eventually(vhost_rig_got(&rig) == i + 1));
	}
	workers_drain(&worker, 1);
	workers_stop(&worker, 1);
	assert_true(f->counters.wakeups > 0 && rig.sleeps > 0);
	assert_int_equal(f->counters.rx.frames, 300);
	assert_int_equal(f->counters.tx.frames, 300);
}

static void a_flood_both_ways_arrives_whole(void **state)
{
	enum { COUNT = 1500 };
	struct fixture *f = *state;
	uint8_t data[1514];
	static struct pkt_buf *frames[COUNT];
	struct worker *worker;
	uint64_t lost = 0;

	pattern(data, sizeof(data));
	for (int i = 0; i < COUNT; i++)
		frames[i] = received(f, data, sizeof(data));
	vhost_rig_run(&rig);
	worker = start_worker(f, 50);
	for (unsigned i = 0; i < COUNT; i += 10) {
		fake_device_receive(&fake, &frames[i], 10);
		for (unsigned j = 0; j < 10; j++) {
			/* No more than the tap's queue holds. */
			assert_true(eventually(i + j - fake_sent() < VHOST_RIG_FRAMES));
			vhost_rig_send(&rig, data, sizeof(data), NULL);
		}
	}
	assert_true(eventually(fake_sent() == COUNT && vhost_rig_got(&rig) == COUNT));
	workers_drain(&worker, 1);
	workers_stop(&worker, 1);
	for (int i = 0; i < IXY_DROP_COUNT; i++)
		lost += f->counters.drops[i];
	assert_int_equal(lost, 0);
	for (unsigned i = 0; i < COUNT; i++)
		assert_int_equal(fake.tx[i].size, sizeof(data));
	assert_memory_equal(rig.got[(COUNT - 1) % VHOST_RIG_FRAMES].data + HEADER, data, sizeof(data));
}

/* The kernel's thread stands still: frames stay in the NIC's ring, none is dropped here. */
static void frames_wait_in_the_nics_ring_while_the_kernel_lags_behind(void **state)
{
	enum { COUNT = 1500 };
	struct fixture *f = *state;
	uint8_t data[60] = {0};
	static struct pkt_buf *frames[COUNT];
	struct worker *worker;
	unsigned taken = 0;

	for (int i = 0; i < COUNT; i++)
		frames[i] = received(f, data, sizeof(data));
	worker = start_worker(f, 50);
	fake_device_receive(&fake, frames, COUNT);
	/* What is in flight is bounded, whatever comes. */
	assert_true(eventually(({
		usleep(2000);
		pthread_mutex_lock(&fake.lock);
		bool same = taken == fake.rx_first && taken > 0;
		taken = fake.rx_first;
		pthread_mutex_unlock(&fake.lock);
		same;
	})));
	assert_in_range(taken, 512, 512 + WORKER_BATCH);
	vhost_rig_run(&rig);
	assert_true(eventually(vhost_rig_got(&rig) == COUNT));
	workers_drain(&worker, 1);
	workers_stop(&worker, 1);
	assert_int_equal(dropped(KERNEL_FULL), 0);
}

int main(void)
{
#define TEST(name)     cmocka_unit_test_setup_teardown(name, setup, teardown)
#define UNOPENED(name) cmocka_unit_test_setup_teardown(name, setup_unopened, teardown)
	const struct CMUnitTest tests[] = {
		TEST(the_kernel_is_told_all_in_the_order_that_it_wants),
		UNOPENED(busy_polling_is_asked_for_and_may_be_refused),
		UNOPENED(a_kernel_without_the_features_that_it_takes_is_refused),
		UNOPENED(what_is_missing_is_named_with_the_command_that_mends_it),
		UNOPENED(whatever_the_kernel_refuses_leaves_nothing_behind),
		UNOPENED(a_device_whose_buffers_cannot_be_shared_is_refused),
		TEST(frames_of_all_sizes_reach_the_kernel_from_where_the_nic_put_them),
		TEST(frames_of_all_sizes_leave_the_kernel_whole_and_padded),
		TEST(super_frames_pass_both_ways_with_what_is_left_to_do),
		TEST(what_the_kernel_would_lose_in_silence_is_counted),
		TEST(an_empty_pool_is_told_and_got_over),
		TEST(the_port_has_room_until_the_kernel_lags_behind),
		UNOPENED(the_kernel_is_kicked_only_while_it_sleeps),
		UNOPENED(the_worker_is_signalled_only_when_it_is_about_to_sleep),
		TEST(a_frame_in_hand_is_no_time_to_sleep),
		TEST(lengths_and_numbers_that_no_frame_has_are_counted_and_lose_no_buffer),
		TEST(a_frame_of_too_many_buffers_is_lost_as_a_whole),
		TEST(broken_rings_are_told_and_set_up_anew),
		TEST(frames_that_were_in_the_rings_at_an_error_are_counted_both_ways),
		TEST(a_restart_that_the_kernel_refuses_leaves_a_port_that_can_be_closed),
		TEST(at_the_end_the_kernel_gets_what_it_was_sent),
		TEST(a_kernel_that_hangs_at_the_end_is_not_waited_for_and_its_frames_are_counted),
		TEST(after_the_port_was_shut_what_the_kernel_has_handed_over_is_still_there),
		TEST(lone_frames_wake_whoever_sleeps),
		TEST(a_flood_both_ways_arrives_whole),
		TEST(frames_wait_in_the_nics_ring_while_the_kernel_lags_behind),
	};

	return cmocka_run_group_tests_name("vhost", tests, NULL, NULL);
}
