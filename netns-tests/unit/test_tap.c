/*
 * The tap, against the real kernel in a namespace of its own: who gets an interface and who is refused, and
 * whether frames of all sizes survive the way in and out.
 */
#include <stdarg.h>
#include <setjmp.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <linux/virtio_net.h>
#include <sysexits.h>
#include <cmocka.h>

#include "bridge/gro.h"
#include "bridge/interface.h"
#include "bridge/log.h"
#include "bridge/tap.h"
#include "chain.h"
#include "fake_device.h"
#include "own_netns.h"

#define MAX_FRAME 9732

static struct fake_device fake;

/* A tap that is up, with a port and a packet socket on its kernel side. */
struct fixture {
	struct tap *tap;
	struct kernel_port *port;
	struct mempool *pool;
	struct queue_counters counters;
	int socket;
};

static int setup(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));

	fake_device_init(&fake);
	f->pool = ixy_mempool_create(&fake.dev, 64, 0);
	if (!f->pool || tap_open("t0", -1, 1, false, &f->tap) || tap_set_carrier(f->tap, true) < 0 ||
		!shell("ip link set t0 mtu 9710 up"))
		return -1;
	f->port = tap_port_bind(f->tap, 0, f->pool, MAX_FRAME);
	f->socket = packet_socket("t0");
	*state = f;
	return f->socket < 0 ? -1 : 0;
}

static int teardown(void **state)
{
	struct fixture *f = *state;
	int rc;

	close(f->socket);
	kernel_port_unbind(f->port);
	tap_close(f->tap);
	rc = ixy_mempool_free(f->pool); /* fails if a buffer was lost */
	fake_device_close(&fake);
	free(f);
	return rc;
}

/* --- getting an interface ----------------------------------------------------------------------------- */

static void names_that_cannot_be_are_refused(void **state)
{
	static const char *const names[] = {
		"", ".", "..", "a/b", "a:b", "a b", "a\tb", "tap%d", "sixteen-letters-"};
	struct tap *tap;

	(void)state;
	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
		assert_int_equal(tap_open(names[i], -1, 1, false, &tap), EX_CONFIG);
	assert_int_equal(tap_open("fifteen-letters", -1, 1, false, &tap), 0);
	assert_int_not_equal(if_nametoindex("fifteen-letters"), 0);
	tap_close(tap);
	assert_int_equal(if_nametoindex("fifteen-letters"), 0);
}

static void a_new_tap_has_no_carrier_until_told(void **state)
{
	struct tap *tap;

	(void)state;
	assert_int_equal(tap_open("t1", -1, 1, false, &tap), 0);
	assert_false(tap_attached(tap));
	assert_true(shell("ip link set t1 up && ip link show t1 | grep -q NO-CARRIER"));
	assert_int_equal(tap_set_carrier(tap, true), 0);
	assert_true(shell("ip link show t1 | grep -q LOWER_UP"));
	assert_int_equal(tap_set_carrier(tap, false), 0);
	assert_true(shell("ip link show t1 | grep -q NO-CARRIER"));
	tap_close(tap);
}

static void a_name_of_something_else_is_refused(void **state)
{
	struct tap *tap;

	(void)state;
	assert_true(shell("ip link add d0 type veth peer name d1"));
	assert_int_equal(tap_open("d0", -1, 1, false, &tap), EX_CONFIG);
	assert_true(shell("ip link show d0 | grep -q d0 && ip link del d0"));
	assert_int_equal(tap_open("lo", -1, 1, false, &tap), EX_CONFIG);
	/* A tun, persistent and idle, is a layer 3 device all the same. */
	assert_true(shell("ip tuntap add mode tun name n0"));
	assert_int_equal(tap_open("n0", -1, 1, false, &tap), EX_CONFIG);
	assert_true(shell("ip link del n0"));
}

static void a_tap_that_somebody_uses_is_refused(void **state)
{
	/* Single and multi-queue: the kernel itself would let a second program into the latter. */
	static const uint16_t queues[] = {1, 2};
	struct tap *tap, *second;

	(void)state;
	for (int persistent = 0; persistent < 2; persistent++) {
		for (size_t i = 0; i < 2; i++) {
			assert_int_equal(tap_open("t1", -1, queues[i], false, &tap), 0);
			if (persistent)
				assert_int_equal(tap_persist(tap, (uid_t)-1, (gid_t)-1), 0);
			assert_int_equal(tap_open("t1", -1, 1, false, &second), EX_CONFIG);
			assert_int_equal(tap_open("t1", -1, 2, false, &second), EX_CONFIG);
			tap_close(tap);
			if (persistent)
				assert_true(shell("ip link del t1"));
		}
	}
}

static void a_persistent_tap_outlives_its_program_and_is_attached_to_again(void **state)
{
	struct tap *tap;
	unsigned index;

	(void)state;
	assert_int_equal(tap_open("t1", -1, 2, false, &tap), 0);
	assert_int_equal(tap_persist(tap, 65534, 65534), 0);
	index = if_nametoindex("t1");
	tap_close(tap);
	assert_int_equal(if_nametoindex("t1"), index);
	assert_true(shell("ip -d link show t1 | grep -Eq 'user (nobody|65534) group (nogroup|65534)'"));
	/* With as many queues, and with fewer. */
	assert_int_equal(tap_open("t1", -1, 2, false, &tap), 0);
	assert_true(tap_attached(tap));
	tap_close(tap);
	assert_int_equal(tap_open("t1", -1, 1, false, &tap), 0);
	assert_int_equal(if_nametoindex("t1"), index);
	tap_close(tap);
	assert_true(shell("ip link del t1"));
	/* One that was made with a single queue has no second. */
	assert_true(shell("ip tuntap add mode tap name t1"));
	assert_int_equal(tap_open("t1", -1, 2, false, &tap), EX_CONFIG);
	assert_int_equal(tap_open("t1", -1, 1, false, &tap), 0);
	tap_close(tap);
	assert_true(shell("ip link del t1"));
}

static void who_holds_the_tap_sets_its_mac_address(void **state)
{
	struct tap *tap;

	(void)state;
	assert_int_equal(tap_open("t1", -1, 1, false, &tap), 0);
	assert_int_equal(tap_set_mac(tap, (struct ixy_mac){{2, 0, 0, 0, 0, 9}}), 0);
	assert_true(shell("ip link show t1 | grep -q 02:00:00:00:00:09"));
	assert_true(tap_set_mac(tap, (struct ixy_mac){{1, 0, 0, 0, 0, 9}}) < 0); /* a group's */
	assert_true(shell("ip link show t1 | grep -q 02:00:00:00:00:09"));
	tap_close(tap);
}

/* All that the daemon does with a tap. 0, the exit code of tap_open(), or the step that failed. */
static int use_tap(void *queues)
{
	struct tap *tap;
	int rc = tap_open("t1", -1, *(uint16_t *)queues, false, &tap);

	if (rc)
		return rc;
	if (tap_set_mac(tap, (struct ixy_mac){{2, 0, 0, 0, 0, 9}}))
		return 1;
	if (tap_set_offload(tap, TAP_OFFLOAD_TCP))
		return 2;
	if (tap_set_carrier(tap, true))
		return 3;
	tap_close(tap);
	return 0;
}

static void a_tap_made_for_a_user_needs_no_privilege(void **state)
{
	uint16_t queues;

	(void)state;
	/* As `ip tuntap add` makes them: without vnet headers, which attaching adds. */
	for (queues = 1; queues <= 2; queues++) {
		assert_true(shell("ip tuntap add mode tap %s name t1 user %u",
			queues > 1 ? "multi_queue" : "", NOBODY));
		assert_int_equal(as_nobody(use_tap, &queues), 0);
		assert_true(shell("ip link show t1 | grep -q 02:00:00:00:00:09"));
		assert_true(shell("ip link del t1"));
	}
}

static void without_privilege_no_other_tap_is_had(void **state)
{
	uint16_t one = 1, two = 2;

	(void)state;
	assert_int_equal(as_nobody(use_tap, &one), EX_NOPERM);
	assert_true(shell("ip tuntap add mode tap name t1 user %u", NOBODY - 1));
	assert_int_equal(as_nobody(use_tap, &one), EX_NOPERM);
	assert_true(shell("ip link del t1 && ip tuntap add mode tap name t1 user %u", NOBODY));
	assert_int_equal(as_nobody(use_tap, &two), EX_CONFIG);
	assert_true(shell("ip link del t1"));
}

static void a_tap_is_made_in_the_namespace_asked_for_and_found_where_it_went(void **state)
{
	int here = open("/proc/self/ns/net", O_RDONLY | O_CLOEXEC), other, where;
	char name[16];
	struct tap *tap;

	(void)state;
	assert_int_equal(unshare(CLONE_NEWNET), 0);
	other = open("/proc/self/ns/net", O_RDONLY | O_CLOEXEC);
	assert_int_equal(setns(here, CLONE_NEWNET), 0);
	assert_int_equal(tap_open("t1", other, 1, false, &tap), 0);
	assert_int_equal(if_nametoindex("t1"), 0); /* and we are back at home */
	where = tap_find(tap, name);
	assert_true(where >= 0);
	assert_string_equal(name, "t1");
	assert_int_equal(setns(where, CLONE_NEWNET), 0);
	assert_int_not_equal(if_nametoindex("t1"), 0);
	assert_true(shell("ip link set t1 name t2 && ip link del t2 2>/dev/null"));
	assert_int_equal(tap_find(tap, name), -ENODEV);
	assert_int_equal(setns(here, CLONE_NEWNET), 0);
	tap_close(tap);
	close(where);
	close(other);
	close(here);
}

/* --- frames ------------------------------------------------------------------------------------------- */

static void frames_of_all_sizes_reach_the_kernel_whole(void **state)
{
	static const uint32_t sizes[] = {14, 15, 42, 60, 64, 1514, 2047, 2048, 2049, 4096, 4097, 9018, 9728};
	struct fixture *f = *state;
	uint8_t sent[MAX_FRAME], got[MAX_FRAME + 1];
	uint64_t bytes = 0;

	for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
		struct pkt_buf *frame;

		fill_frame(sent, sizes[i]);
		frame = chain_of(f->pool, sent, sizes[i]);
		assert_int_equal(kernel_port_send(f->port, &frame, 1, &f->counters), 0);
		assert_true(readable(f->socket));
		assert_int_equal(recv(f->socket, got, sizeof(got), 0), sizes[i]);
		assert_memory_equal(got, sent, sizes[i]);
		bytes += sizes[i];
	}
	assert_int_equal(f->counters.rx.frames, sizeof(sizes) / sizeof(sizes[0]));
	assert_int_equal(f->counters.rx.bytes, bytes);
}

static void frames_of_all_sizes_leave_the_kernel_whole_and_padded(void **state)
{
	static const uint32_t sizes[] = {14, 42, 59, 60, 61, 1514, 2047, 2048, 2049, 4096, 4097, 9724};
	struct fixture *f = *state;
	uint8_t sent[MAX_FRAME];

	/* Twice, so that chains begin with buffers that an earlier frame left over. */
	for (int round = 0; round < 2; round++) {
		for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
			struct pkt_buf *frames[4];
			uint32_t expected = sizes[i] < 60 ? 60 : sizes[i], at = 0, segments = 0;

			memset(sent, 0, sizeof(sent));
			fill_frame(sent, sizes[i]);
			assert_int_equal(send(f->socket, sent, sizes[i], 0), sizes[i]);
			assert_true(readable(kernel_port_fd(f->port)));
			assert_int_equal(kernel_port_recv(f->port, frames, 4, &f->counters), 1);
			assert_int_equal(frames[0]->frame_size, expected);
			for (const struct pkt_buf *buf = frames[0]; buf; buf = buf->next) {
				assert_true(buf->size > 0);
				assert_memory_equal(buf->data, sent + at, buf->size);
				at += buf->size;
				segments++;
			}
			assert_int_equal(at, expected);
			assert_int_equal(segments, frames[0]->segments);
			pkt_buf_free(frames[0]);
		}
	}
}

static void padding_holds_nothing_of_earlier_frames(void **state)
{
	static const uint8_t zeros[60];
	struct fixture *f = *state;
	uint8_t sent[1514];
	struct pkt_buf *frames[1];

	/* Every other frame dirties the buffer that the next one gets. */
	for (int i = 0; i < 8; i++) {
		fill_frame(sent, sizeof(sent));
		assert_int_equal(
			send(f->socket, sent, i % 2 ? 14 : sizeof(sent), 0), i % 2 ? 14 : sizeof(sent));
		assert_int_equal(kernel_port_recv(f->port, frames, 1, &f->counters), 1);
		if (i % 2)
			assert_memory_equal(frames[0]->data + 14, zeros, 46);
		pkt_buf_free(frames[0]);
	}
}

static void a_burst_is_read_in_one_go_and_no_further_than_asked(void **state)
{
	struct fixture *f = *state;
	struct pkt_buf *frames[8];
	uint8_t sent[60];

	fill_frame(sent, sizeof(sent));
	assert_int_equal(kernel_port_recv(f->port, frames, 8, &f->counters), 0);
	for (int i = 0; i < 5; i++)
		assert_int_equal(send(f->socket, sent, sizeof(sent), 0), sizeof(sent));
	assert_int_equal(kernel_port_recv(f->port, frames, 3, &f->counters), 3);
	pkt_buf_free_batch(frames, 3);
	assert_int_equal(kernel_port_recv(f->port, frames, 8, &f->counters), 2);
	pkt_buf_free_batch(frames, 2);
	assert_int_equal(f->counters.tx.frames, 5);
	assert_int_equal(f->counters.tx.bursts, 2);
}

static void a_frame_longer_than_the_port_is_dropped_and_counted_not_cut(void **state)
{
	struct fixture *f = *state;
	static uint8_t sent[20000];
	struct pkt_buf *frames[2];

	assert_true(shell("ip link set t0 mtu 30000"));
	fill_frame(sent, sizeof(sent));
	assert_int_equal(send(f->socket, sent, sizeof(sent), 0), sizeof(sent));
	assert_int_equal(send(f->socket, sent, 60, 0), 60);
	assert_int_equal(kernel_port_recv(f->port, frames, 2, &f->counters), 1);
	assert_int_equal(frames[0]->frame_size, 60);
	pkt_buf_free(frames[0]);
	assert_int_equal(f->counters.drops[IXY_DROP_TX_TOO_LONG], 1);
}

static void an_empty_pool_leaves_the_frames_in_the_kernel(void **state)
{
	struct fixture *f = *state;
	struct pkt_buf *held[64], *frames[2];
	uint8_t sent[60];
	uint32_t n;

	fill_frame(sent, sizeof(sent));
	n = pkt_buf_alloc_batch(f->pool, held, 64);
	assert_int_equal(send(f->socket, sent, sizeof(sent), 0), sizeof(sent));
	assert_int_equal(kernel_port_recv(f->port, frames, 2, &f->counters), -ENOBUFS);
	pkt_buf_free_batch(held, n);
	assert_int_equal(kernel_port_recv(f->port, frames, 2, &f->counters), 1);
	pkt_buf_free(frames[0]);
}

static void runts_never_reach_the_kernel(void **state)
{
	struct fixture *f = *state;
	uint8_t data[13] = {0};
	struct pkt_buf *frame = chain_of(f->pool, data, sizeof(data));

	assert_int_equal(kernel_port_send(f->port, &frame, 1, &f->counters), 0);
	assert_int_equal(f->counters.drops[IXY_DROP_KERNEL_RUNT], 1);
	assert_int_equal(f->counters.rx.frames, 0);
}

static void an_interface_that_is_down_drops_with_that_reason(void **state)
{
	struct fixture *f = *state;
	uint8_t data[60];
	struct pkt_buf *frames[2];

	fill_frame(data, sizeof(data));
	frames[0] = chain_of(f->pool, data, sizeof(data));
	frames[1] = chain_of(f->pool, data, sizeof(data));
	assert_true(shell("ip link set t0 down"));
	assert_int_equal(kernel_port_send(f->port, frames, 2, &f->counters), 0);
	assert_int_equal(f->counters.drops[IXY_DROP_KERNEL_DOWN], 2);
	assert_int_equal(f->counters.rx.frames, 0);
}

static void a_deleted_interface_is_told_from_both_directions(void **state)
{
	struct fixture *f = *state;
	uint8_t data[60];
	struct pkt_buf *frame;

	fill_frame(data, sizeof(data));
	frame = chain_of(f->pool, data, sizeof(data));
	assert_true(shell("ip link del t0"));
	assert_true(readable(kernel_port_fd(f->port))); /* a sleeping worker wakes */
	assert_int_equal(kernel_port_send(f->port, &frame, 1, &f->counters), -EBADFD);
	assert_int_equal(f->counters.drops[IXY_DROP_KERNEL_DOWN], 1);
	assert_int_equal(kernel_port_recv(f->port, &frame, 1, &f->counters), -EBADFD);
}

/* --- super-frames -------------------------------------------------------------------------------------- */

#define HEADERS 54 /* Ethernet, IPv4, TCP without options */
#define MSS     1000

/* A packet socket for IPv4 on t0 that shows and takes offload requests as they are. */
static int offload_socket(void)
{
	int fd = socket(AF_PACKET, SOCK_RAW | SOCK_CLOEXEC, 0), on = 1;
	struct sockaddr_ll address = {
		.sll_family = AF_PACKET,
		.sll_protocol = htons(ETH_P_IP),
		.sll_ifindex = (int)if_nametoindex("t0"),
	};

	assert_int_equal(setsockopt(fd, SOL_PACKET, PACKET_VNET_HDR, &on, sizeof(on)), 0);
	assert_int_equal(bind(fd, (struct sockaddr *)&address, sizeof(address)), 0);
	return fd;
}

/* A TCP frame whose payload counts upwards from `first`; its checksums are what the test is not about. */
static void fill_tcp(uint8_t *data, size_t payload, uint32_t seq, uint8_t first)
{
	static const uint8_t headers[HEADERS] = {0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 2, 0, 0, 0, 0, 9, 8, 0,
		0x45, 0, 0, 0, 0, 0, 0x40, 0, 64, 6, 0, 0, 10, 9, 0, 1, 10, 9, 0, 2, 0x10, 0, 0x20, 0, 0, 0,
		0, 0, 0, 0, 0, 1, 0x50, 0x10, 1, 0, 0, 0, 0, 0};

	memcpy(data, headers, HEADERS);
	data[16] = (uint8_t)((payload + 40) >> 8);
	data[17] = (uint8_t)(payload + 40);
	for (int i = 0; i < 4; i++)
		data[38 + i] = (uint8_t)(seq >> (24 - 8 * i));
	for (size_t i = 0; i < payload; i++)
		data[HEADERS + i] = (uint8_t)(first + i);
}

static void a_coalesced_burst_is_one_packet_to_the_kernel_that_it_could_cut_again(void **state)
{
	static const size_t payloads[] = {MSS, MSS, MSS, 300};
	struct fixture *f = *state;
	struct pkt_buf *frames[4];
	uint8_t data[HEADERS + MSS], got[sizeof(struct virtio_net_hdr) + 4 * sizeof(data)];
	const uint8_t *packet = got + sizeof(struct virtio_net_hdr);
	struct virtio_net_hdr header;
	int socket = offload_socket();

	for (unsigned i = 0; i < 4; i++) {
		fill_tcp(data, payloads[i], i * MSS, (uint8_t)(i * MSS));
		frames[i] = chain_of(f->pool, data, HEADERS + (uint32_t)payloads[i]);
		frames[i]->flags = PKT_RX_IP_CSUM_GOOD | PKT_RX_L4_CSUM_GOOD;
	}
	assert_int_equal(gro_burst(frames, 4, false), 1);
	assert_int_equal(kernel_port_send(f->port, frames, 1, &f->counters), 0);

	assert_true(readable(socket));
	assert_int_equal(recv(socket, got, sizeof(got), 0), sizeof(header) + HEADERS + 3 * MSS + 300);
	memcpy(&header, got, sizeof(header));
	assert_int_equal(header.flags & VIRTIO_NET_HDR_F_NEEDS_CSUM, VIRTIO_NET_HDR_F_NEEDS_CSUM);
	assert_int_equal(header.gso_type, VIRTIO_NET_HDR_GSO_TCPV4);
	assert_int_equal(header.gso_size, MSS);
	assert_int_equal(header.csum_start, 34);
	assert_int_equal(header.csum_offset, 16);
	assert_int_equal(packet[16] << 8 | packet[17], 40 + 3 * MSS + 300);
	for (size_t i = 0; i < 3 * MSS + 300; i++)
		assert_int_equal(packet[HEADERS + i], (uint8_t)i);
	/* Counted as what came over the wire. */
	assert_int_equal(f->counters.rx.frames, 4);
	assert_int_equal(f->counters.rx.bytes, 4 * HEADERS + 3 * MSS + 300);
	close(socket);
}

static void a_super_frame_that_the_kernel_refuses_counts_as_its_segments(void **state)
{
	static uint8_t data[HEADERS + 3 * MSS];
	struct fixture *f = *state;
	struct pkt_buf *frame;

	fill_tcp(data, 3 * MSS, 0, 0);
	frame = chain_of(f->pool, data, sizeof(data));
	frame->flags = PKT_TX_TSO4;
	frame->gso_size = MSS;
	frame->header_size = HEADERS;
	frame->csum_start = 60000; /* no such byte: EINVAL */
	frame->csum_offset = 16;
	assert_int_equal(kernel_port_send(f->port, &frame, 1, &f->counters), 0);
	assert_int_equal(f->counters.drops[IXY_DROP_KERNEL_REFUSED], 3);
	assert_int_equal(f->counters.rx.frames, 0);
}

/* Send payload bytes of TCP behind this header through the interface, as a program with a packet socket can. */
static struct pkt_buf *sent_with(
	struct fixture *f, struct virtio_net_hdr header, size_t payload, uint8_t offset)
{
	static uint8_t message[sizeof(header) + HEADERS + 8000];
	struct pkt_buf *frame = NULL;
	int socket = offload_socket();
	size_t size = sizeof(header) + HEADERS + payload;

	memcpy(message, &header, sizeof(header));
	fill_tcp(message + sizeof(header), payload, 0, 0);
	message[sizeof(header) + 46] = offset; /* TCP's data offset */
	assert_int_equal(send(socket, message, size, 0), size);
	close(socket);
	assert_true(kernel_port_recv(f->port, &frame, 1, &f->counters) >= 0);
	return frame;
}

static void what_the_kernel_leaves_to_the_nic_stands_in_the_frame(void **state)
{
	struct fixture *f = *state;
	struct virtio_net_hdr header = {
		.flags = VIRTIO_NET_HDR_F_NEEDS_CSUM, .csum_start = 34, .csum_offset = 16};
	struct pkt_buf *frame;

	assert_int_equal(tap_set_offload(f->tap, TAP_OFFLOAD_TCP), 0);
	frame = sent_with(f, header, 500, 0x50);
	assert_non_null(frame);
	assert_int_equal(frame->flags, PKT_TX_L4_CSUM);
	assert_int_equal(frame->csum_start, 34);
	assert_int_equal(frame->csum_offset, 16);
	pkt_buf_free(frame);
	assert_int_equal(f->counters.tx.frames, 1);

	/* Over four buffers; with twelve bytes of TCP options, which each segment repeats. */
	header.gso_type = VIRTIO_NET_HDR_GSO_TCPV4 | VIRTIO_NET_HDR_GSO_ECN;
	header.gso_size = MSS;
	header.hdr_len = HEADERS + 12;
	frame = sent_with(f, header, 7012, 0x80);
	assert_non_null(frame);
	assert_int_equal(frame->flags, PKT_TX_L4_CSUM | PKT_TX_TSO4);
	assert_int_equal(frame->csum_start, 34);
	assert_int_equal(frame->csum_offset, 16);
	assert_int_equal(frame->gso_size, MSS);
	assert_int_equal(frame->header_size, HEADERS + 12);
	assert_int_equal(frame->frame_size, HEADERS + 7012);
	assert_int_equal(frame->segments, 4);
	pkt_buf_free(frame);
	assert_int_equal(f->counters.tx.frames, 1 + 7);
	assert_int_equal(f->counters.tx.bytes, HEADERS + 500 + 7 * (HEADERS + 12) + 7000);
}

static void without_offload_the_kernel_does_it_all_itself(void **state)
{
	const struct virtio_net_hdr header = {.flags = VIRTIO_NET_HDR_F_NEEDS_CSUM,
		.gso_type = VIRTIO_NET_HDR_GSO_TCPV4,
		.gso_size = MSS,
		.hdr_len = HEADERS,
		.csum_start = 34,
		.csum_offset = 16};
	struct fixture *f = *state;
	struct pkt_buf *frames[8];

	assert_int_equal(tap_set_offload(f->tap, TAP_OFFLOAD_TCP), 0);
	assert_int_equal(tap_set_offload(f->tap, TAP_OFFLOAD_NONE), 0);
	/* Nobody can switch on behind our back what the NIC would then have to do. */
	shell("ethtool -K t0 tx-checksum-ip-generic on tso on >/dev/null 2>&1");
	frames[0] = sent_with(f, header, 3 * MSS, 0x50);
	assert_non_null(frames[0]);
	assert_int_equal(kernel_port_recv(f->port, frames + 1, 7, &f->counters), 2);
	for (unsigned i = 0; i < 3; i++) {
		assert_int_equal(frames[i]->flags, 0);
		assert_int_equal(frames[i]->frame_size, HEADERS + MSS);
		pkt_buf_free(frames[i]);
	}
	assert_int_equal(f->counters.tx.frames, 3);
}

/*
 * Put a message of the test's making where the tap's next frame is read from: 5,000 bytes behind this header. The
 * descriptor's number stays what it was. (The tap itself goes with it.)
 */
static void tap_hands_over(struct kernel_port *port, struct virtio_net_hdr header)
{
	static uint8_t message[12 + 5000];
	int pair[2];

	assert_int_equal(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_NONBLOCK, 0, pair), 0);
	memset(message, 0xff,
		sizeof(message)); /* the longest TCP header there can be, wherever it is looked for */
	memset(message, 0, 12);
	memcpy(message, &header, sizeof(header));
	assert_int_equal(send(pair[1], message, sizeof(message), 0), sizeof(message));
	assert_int_equal(dup3(pair[0], kernel_port_fd(port), O_CLOEXEC), kernel_port_fd(port));
	close(pair[0]);
	close(pair[1]);
}

/* The kernel checks such headers little. The driver refuses what does not fit; until there nothing may go astray. */
static void hostile_offload_requests_are_carried_without_harm(void **state)
{
	static const uint16_t starts[] = {0, 1, 13, 14, 33, 34, 540, 551, 552, 2047, 2048, 5000, 65535};
	static const uint16_t sizes[] = {0, 1, 7, 65534, 65535};
	struct fixture *f = *state;

	assert_int_equal(tap_set_offload(f->tap, TAP_OFFLOAD_TCP), 0);
	for (size_t i = 0; i < sizeof(starts) / sizeof(starts[0]) * 2; i++) {
		for (size_t j = 0; j < sizeof(sizes) / sizeof(sizes[0]); j++) {
			struct virtio_net_hdr header = {.flags = VIRTIO_NET_HDR_F_NEEDS_CSUM,
				.gso_type = i % 2 ? VIRTIO_NET_HDR_GSO_TCPV4 : VIRTIO_NET_HDR_GSO_NONE,
				.gso_size = sizes[j],
				.hdr_len = HEADERS,
				.csum_start = starts[i / 2],
				.csum_offset = 16};
			struct pkt_buf *frame;

			tap_hands_over(f->port, header);
			assert_int_equal(kernel_port_recv(f->port, &frame, 1, &f->counters), 1);
			assert_int_equal(frame->flags & PKT_TX_L4_CSUM, PKT_TX_L4_CSUM);
			assert_int_equal(frame->csum_start, starts[i / 2]);
			assert_true(frame->header_size <= frame->size + 60u);
			assert_true(pkt_buf_wire_frames(frame) >= 1);
			assert_true(pkt_buf_wire_frames(frame) <= frame->frame_size);
			pkt_buf_free(frame);
		}
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(names_that_cannot_be_are_refused),
		cmocka_unit_test(a_new_tap_has_no_carrier_until_told),
		cmocka_unit_test(a_name_of_something_else_is_refused),
		cmocka_unit_test(a_tap_that_somebody_uses_is_refused),
		cmocka_unit_test(a_persistent_tap_outlives_its_program_and_is_attached_to_again),
		cmocka_unit_test(who_holds_the_tap_sets_its_mac_address),
		cmocka_unit_test(a_tap_made_for_a_user_needs_no_privilege),
		cmocka_unit_test(without_privilege_no_other_tap_is_had),
		cmocka_unit_test(a_tap_is_made_in_the_namespace_asked_for_and_found_where_it_went),
		cmocka_unit_test_setup_teardown(frames_of_all_sizes_reach_the_kernel_whole, setup, teardown),
		cmocka_unit_test_setup_teardown(
			frames_of_all_sizes_leave_the_kernel_whole_and_padded, setup, teardown),
		cmocka_unit_test_setup_teardown(padding_holds_nothing_of_earlier_frames, setup, teardown),
		cmocka_unit_test_setup_teardown(
			a_burst_is_read_in_one_go_and_no_further_than_asked, setup, teardown),
		cmocka_unit_test_setup_teardown(
			a_frame_longer_than_the_port_is_dropped_and_counted_not_cut, setup, teardown),
		cmocka_unit_test_setup_teardown(
			an_empty_pool_leaves_the_frames_in_the_kernel, setup, teardown),
		cmocka_unit_test_setup_teardown(runts_never_reach_the_kernel, setup, teardown),
		cmocka_unit_test_setup_teardown(
			an_interface_that_is_down_drops_with_that_reason, setup, teardown),
		cmocka_unit_test_setup_teardown(
			a_deleted_interface_is_told_from_both_directions, setup, teardown),
		cmocka_unit_test_setup_teardown(
			a_coalesced_burst_is_one_packet_to_the_kernel_that_it_could_cut_again, setup,
			teardown),
		cmocka_unit_test_setup_teardown(
			a_super_frame_that_the_kernel_refuses_counts_as_its_segments, setup, teardown),
		cmocka_unit_test_setup_teardown(
			what_the_kernel_leaves_to_the_nic_stands_in_the_frame, setup, teardown),
		cmocka_unit_test_setup_teardown(
			without_offload_the_kernel_does_it_all_itself, setup, teardown),
		cmocka_unit_test_setup_teardown(
			hostile_offload_requests_are_carried_without_harm, setup, teardown),
	};

	log_set_level(0); /* refusals are expected here */
	if (!own_netns()) {
		puts("tap: skipped: network namespaces and /dev/net/tun need root");
		return 0;
	}
	return cmocka_run_group_tests_name("tap", tests, NULL, NULL);
}
