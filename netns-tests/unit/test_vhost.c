/*
 * The vhost port against a kernel that the test plays (vhost_rig.h): what it is told and in which order, frames both
 * ways, lies, and rings that break. Who wakes whom, and the end, are in test_vhost_worker.c.
 */
#include "vhost_fixture.h"

#include <dirent.h>
#include <errno.h>
#include <sys/stat.h>
#include <unistd.h>

#include "bridge/log.h"
#include "bridge/worker.h"
#include "own_netns.h"

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

int main(void)
{
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
		TEST(lengths_and_numbers_that_no_frame_has_are_counted_and_lose_no_buffer),
		TEST(a_frame_of_too_many_buffers_is_lost_as_a_whole),
		TEST(broken_rings_are_told_and_set_up_anew),
		TEST(frames_that_were_in_the_rings_at_an_error_are_counted_both_ways),
		TEST(a_restart_that_the_kernel_refuses_leaves_a_port_that_can_be_closed),
	};

	return cmocka_run_group_tests_name("vhost", tests, NULL, NULL);
}
