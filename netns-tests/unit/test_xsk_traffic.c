/*
 * Frames between two AF_XDP sockets on a veth pair: jumbo frames, checksums, cables out and interfaces gone,
 * and that under load every frame is in exactly one place.
 */
#include <errno.h>
#include <netinet/in.h>
#include <netinet/ip.h>
#include <netinet/udp.h>
#include <pthread.h>
#include <stdarg.h>
#include <setjmp.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <cmocka.h>

#include "xsk_rig.h"

/* --- jumbo: frames of several descriptors --------------------------------------------------------------- */

#define JUMBO 9000

/* Write a jumbo frame into as many UMEM frames as it takes. */
static uint32_t jumbo(struct xsk_end *end, struct xdp_desc descs[], const uint8_t content[JUMBO])
{
	uint32_t count = 0;

	for (uint32_t at = 0; at < JUMBO; count++) {
		struct xdp_desc desc = xsk_frame_desc(end->umem, xsk_frame_alloc(end->umem));
		struct xsk_cursor cursor = xsk_data_cursor(end->umem, &desc);

		at += xsk_cursor_write(&cursor, content + at, JUMBO - at);
		desc.len = cursor.length;
		desc.options = at < JUMBO ? XDP_PKT_CONTD : 0;
		descs[count] = desc;
	}
	return count;
}

static void assert_jumbo(
	struct xsk_end *end, const struct xdp_desc descs[], uint32_t count, const uint8_t content[JUMBO])
{
	uint32_t at = 0;

	for (uint32_t i = 0; i < count; i++) {
		assert_int_equal(!!(descs[i].options & XDP_PKT_CONTD), i + 1 < count);
		assert_in_range(descs[i].len, 1, JUMBO - at);
		assert_memory_equal(xsk_data(end->umem, &descs[i]), content + at, descs[i].len);
		at += descs[i].len;
	}
	assert_int_equal(at, JUMBO);
}

static void jumbo_frames_pass_both_ways(void **state)
{
	struct xsk_socket_config config = {.ifname = "va", .flags = XSK_MULTI_BUFFER};
	struct xsk_umem_config umem = {.frames = 256};
	struct xsk_end ends[2];
	uint8_t content[JUMBO];

	(void)state;
	assert_true(shell("ip link set va mtu 9000 && ip link set vb mtu 9000"));
	fill_frame(content, sizeof(content));
	end_open(&ends[0], &umem, &config);
	config.ifname = "vb";
	end_open(&ends[1], &umem, &config);
	assert_true(xsk_socket_multi_buffer(ends[0].xsk));
	fill_some(&ends[0], 64);
	fill_some(&ends[1], 64);
	for (int round = 0; round < 10; round++) {
		struct xsk_end *from = &ends[round % 2], *to = &ends[1 - round % 2];
		struct xdp_desc sent[XSK_MAX_SEGMENTS + 1], got[XSK_MAX_SEGMENTS];
		uint32_t count = jumbo(from, sent, content), received = 0;

		/* A short one behind it is a frame of its own. */
		sent[count] = test_frame(from, 60, 0);
		send_and_complete(from, sent, count + 1, NULL);
		for (uint32_t i = 0; i <= count; i++)
			xsk_frame_free(from->umem, sent[i].addr);
		while (!received || got[received - 1].len != 60)
			receive_all(to, &got[received++], 1);
		assert_int_equal(got[received - 1].options, 0);
		assert_jumbo(to, got, received - 1, content);
		assert_int_equal(xsk_fill_descs(to->queues, got, received), received);
	}
	end_close(&ends[0]);
	end_close(&ends[1]);
}

/* With room for a frame and a half, the second one waits in the ring as a whole. */
static void a_batch_does_not_end_within_a_frame(void **state)
{
	struct xsk_socket_config config = {.ifname = "va", .flags = XSK_MULTI_BUFFER};
	struct xsk_umem_config umem = {.frames = 256};
	struct xdp_desc sent[XSK_MAX_SEGMENTS], got[XSK_MAX_SEGMENTS];
	struct xsk_end a, b;
	uint8_t content[JUMBO];
	uint32_t count, each;

	(void)state;
	assert_true(shell("ip link set va mtu 9000 && ip link set vb mtu 9000"));
	fill_frame(content, sizeof(content));
	end_open(&a, &umem, &config);
	config.ifname = "vb";
	end_open(&b, &umem, &config);
	fill_some(&b, 64);
	for (int i = 0; i < 2; i++) {
		count = jumbo(&a, sent, content);
		send_and_complete(&a, sent, count, NULL);
	}
	for (int i = 0; i < XSK_PATIENCE_MS && xsk_num_received(b.xsk) < 2 * count; i++)
		nanosleep(&(struct timespec){.tv_nsec = 1000000}, NULL);
	each = xsk_num_received(b.xsk) / 2;
	assert_in_range(each, 2, XSK_MAX_SEGMENTS);
	for (int i = 0; i < 2; i++) {
		assert_int_equal(xsk_receive(b.xsk, got, each + each / 2), each);
		assert_jumbo(&b, got, each, content);
	}
	/* Who has no room for a whole one gets it in parts. */
	send_and_complete(&a, sent, count, NULL);
	for (int i = 0; i < XSK_PATIENCE_MS && xsk_num_received(b.xsk) < each; i++)
		nanosleep(&(struct timespec){.tv_nsec = 1000000}, NULL);
	assert_int_equal(xsk_receive(b.xsk, got, 1), 1);
	assert_int_equal(xsk_receive(b.xsk, got + 1, each), each - 1);
	assert_jumbo(&b, got, each, content);
	end_close(&a);
	end_close(&b);
}

static void half_frames_and_endless_ones_are_not_sent(void **state)
{
	struct xsk_end a;
	struct xdp_desc descs[XSK_MAX_SEGMENTS + 1];

	(void)state;
	end_open(&a, &(struct xsk_umem_config){.frames = 64},
		&(struct xsk_socket_config){.ifname = "va", .flags = XSK_MULTI_BUFFER});
	for (uint32_t i = 0; i <= XSK_MAX_SEGMENTS; i++) {
		descs[i] = test_frame(&a, 60, 0);
		descs[i].options = XDP_PKT_CONTD;
	}
	assert_int_equal(xsk_transmit(a.xsk, descs, 3), -EINVAL);
	descs[XSK_MAX_SEGMENTS].options = 0;
	assert_int_equal(xsk_transmit(a.xsk, descs, XSK_MAX_SEGMENTS + 1), -EINVAL);
	assert_int_equal(xsk_num_transmitted(a.queues), 0);
	/* As many as may be. */
	send_and_complete(&a, descs + 1, XSK_MAX_SEGMENTS, NULL);
	end_close(&a);
}

/* A frame over one chunk is lost to a socket that takes one descriptor a frame, and the loss has a name. */
static void a_frame_too_long_for_a_chunk_is_dropped_and_counted(void **state)
{
	struct xdp_statistics statistics = {0};
	struct xsk_end a, b;
	struct xdp_desc desc;

	(void)state;
	assert_true(shell("ip link set va mtu 3400 && ip link set vb mtu 3400"));
	end_open(&a, &(struct xsk_umem_config){.frames = 64, .frame_size = 4096},
		&(struct xsk_socket_config){.ifname = "va"});
	end_open(&b, &(struct xsk_umem_config){.frames = 64}, &(struct xsk_socket_config){.ifname = "vb"});
	fill_some(&b, 4);
	desc = test_frame(&a, 3000, 0);
	send_and_complete(&a, &desc, 1, NULL);
	for (int i = 0; i < XSK_PATIENCE_MS && !statistics.rx_dropped; i++) {
		assert_int_equal(xsk_socket_statistics(b.xsk, &statistics), 0);
		nanosleep(&(struct timespec){.tv_nsec = 1000000}, NULL);
	}
	assert_int_equal(statistics.rx_dropped, 1);
	assert_int_equal(statistics.rx_fill_ring_empty_descs, 0);
	assert_int_equal(xsk_num_received(b.xsk), 0);
	end_close(&a);
	end_close(&b);
}

/* --- TX checksum by metadata ---------------------------------------------------------------------------- */

struct udp_frame {
	uint8_t ethernet[14];
	struct iphdr ip;
	struct udphdr udp;
	uint8_t payload[201];
} __attribute__((packed));

#define UDP_SIZE    (sizeof(struct udphdr) + sizeof(((struct udp_frame *)0)->payload))
#define SOURCE      0x0a000001
#define TO          0x0a000002
#define CSUM_AT     offsetof(struct udp_frame, udp)
#define CSUM_ITSELF offsetof(struct udphdr, check)

/* RFC 768: source, destination, protocol and length. Not folded. */
static uint32_t pseudo_header_sum(void)
{
	return (SOURCE >> 16) + (SOURCE & 0xffff) + (TO >> 16) + (TO & 0xffff) + IPPROTO_UDP + UDP_SIZE;
}

/* A UDP frame whose checksum field holds the pseudo-header's sum only. */
static struct xdp_desc unfinished_udp(struct xsk_end *end)
{
	struct xdp_desc desc = xsk_frame_desc(end->umem, xsk_frame_alloc(end->umem));
	uint32_t sum = pseudo_header_sum();
	struct udp_frame frame = {
		.ip = {.version = 4,
			.ihl = 5,
			.ttl = 64,
			.protocol = IPPROTO_UDP,
			.tot_len = htons(sizeof(frame) - 14),
			.saddr = htonl(SOURCE),
			.daddr = htonl(TO)},
		.udp = {.source = htons(7),
			.dest = htons(9),
			.len = htons(UDP_SIZE),
			.check = htons((uint16_t)((sum & 0xffff) + (sum >> 16)))},
	};

	fill_frame(frame.ethernet, sizeof(frame.ethernet));
	frame.ethernet[12] = 8; /* IPv4 */
	frame.ethernet[13] = 0;
	for (size_t i = 0; i < sizeof(frame.payload); i++)
		frame.payload[i] = (uint8_t)(i * 13);
	memcpy(xsk_data(end->umem, &desc), &frame, sizeof(frame));
	desc.len = sizeof(frame);
	return desc;
}

static bool udp_checksum_is_right(const uint8_t *data)
{
	const uint8_t *udp = data + CSUM_AT;
	uint32_t sum = pseudo_header_sum();

	for (size_t i = 0; i < UDP_SIZE; i++)
		sum += i % 2 ? udp[i] : (uint32_t)udp[i] << 8;
	while (sum >> 16)
		sum = (sum & 0xffff) + (sum >> 16);
	return sum == 0xffff;
}

static void the_kernel_finishes_a_checksum_that_metadata_asks_for(void **state)
{
	struct xsk_umem_config umem = {.frames = 64, .flags = XSK_UMEM_TX_METADATA | XSK_UMEM_TX_SW_CSUM};
	struct xsk_end a, b;
	struct xdp_desc descs[2], got[2];

	(void)state;
	end_open(&a, &umem, &(struct xsk_socket_config){.ifname = "va"});
	end_open(&b, &(struct xsk_umem_config){.frames = 64}, &(struct xsk_socket_config){.ifname = "vb"});
	fill_some(&b, 2);
	descs[0] = unfinished_udp(&a);
	descs[1] = unfinished_udp(&a);
	assert_int_equal(xsk_tx_checksum(a.umem, &descs[1], CSUM_AT, CSUM_ITSELF), 0);
	assert_int_equal(descs[1].options, XDP_TX_METADATA);
	assert_false(udp_checksum_is_right(xsk_data(a.umem, &descs[0])));
	send_and_complete(&a, descs, 2, NULL);
	receive_all(&b, got, 2);
	/*
	 * The one that nobody asked for is as it was; the other one is right, and its metadata stayed here.
	 */
	assert_int_equal(got[0].len, descs[0].len);
	assert_memory_equal(xsk_data(b.umem, &got[0]), xsk_data(a.umem, &descs[0]), got[0].len);
	assert_int_equal(got[1].len, descs[1].len);
	assert_true(udp_checksum_is_right(xsk_data(b.umem, &got[1])));
	end_close(&a);
	end_close(&b);
}

/* The kernel swallows a frame without that room, though it carries no metadata; so the library does not let it go. */
static void in_a_umem_with_metadata_every_frame_needs_its_room(void **state)
{
	struct xsk_umem_config umem = {.frames = 64, .flags = XSK_UMEM_TX_METADATA};
	struct xdp_statistics statistics;
	struct xsk_end a;
	struct xdp_desc desc = {.addr = 2048 + sizeof(struct xsk_tx_meta) - 1, .len = 60};

	(void)state;
	end_open(&a, &umem, &(struct xsk_socket_config){.ifname = "va"});
	assert_int_equal(xsk_transmit_one(a.xsk, &desc), -EINVAL);
	desc.addr++;
	send_and_complete(&a, &desc, 1, NULL);
	assert_int_equal(xsk_socket_statistics(a.xsk, &statistics), 0);
	assert_int_equal(statistics.tx_invalid_descs, 0);
	end_close(&a);
}

static void a_checksum_that_cannot_be_is_refused(void **state)
{
	struct xsk_umem *with, *without;
	struct xdp_desc desc = {.addr = 256, .len = 100};

	(void)state;
	assert_int_equal(xsk_umem_create(&(struct xsk_umem_config){.frames = 4}, &without), 0);
	assert_int_equal(
		xsk_umem_create(&(struct xsk_umem_config){.frames = 4, .flags = XSK_UMEM_TX_METADATA}, &with),
		0);
	assert_int_equal(xsk_tx_checksum(without, &desc, 34, 6), -EINVAL);
	assert_int_equal(xsk_tx_checksum(with, &desc, 90, 9), -EINVAL);
	assert_int_equal(xsk_tx_checksum(with, &desc, 65535, 65535), -EINVAL);
	desc.addr = sizeof(struct xsk_tx_meta) - 1; /* no room before it */
	assert_int_equal(xsk_tx_checksum(with, &desc, 34, 6), -EINVAL);
	assert_int_equal(desc.options, 0);
	desc.addr = sizeof(struct xsk_tx_meta);
	assert_int_equal(xsk_tx_checksum(with, &desc, 90, 8), 0);
	assert_int_equal(xsk_umem_free(with), 0);
	assert_int_equal(xsk_umem_free(without), 0);
}

/* --- more than a budget; a cable out, an interface gone ------------------------------------------------- */

/* The kernel sends 32 frames a call and then says EAGAIN: flush goes on until all are gone. */
static void a_flush_sends_more_than_one_budget_of_frames(void **state)
{
	struct xsk_end a;
	struct xdp_desc descs[200];
	uint64_t addrs[200];

	(void)state;
	end_open(&a, &(struct xsk_umem_config){.frames = 256}, &(struct xsk_socket_config){.ifname = "va"});
	for (uint32_t i = 0; i < 200; i++)
		descs[i] = test_frame(&a, 60, 0);
	assert_int_equal(xsk_transmit(a.xsk, descs, 200), 200);
	assert_int_equal(xsk_wake_tx(a.xsk), -EAGAIN);
	assert_int_equal(xsk_flush_tx(a.xsk, NULL), 0);
	assert_int_equal(xsk_complete(a.queues, addrs, 200), 200);
	end_close(&a);
}

static void sending_without_a_cable_tells_of_each_frame_lost_and_completes_it(void **state)
{
	struct xsk_end a;
	struct xdp_desc descs[5];
	uint64_t dropped = 0, addrs[5];

	(void)state;
	end_open(&a, &(struct xsk_umem_config){.frames = 64}, &(struct xsk_socket_config){.ifname = "va"});
	assert_true(shell("ip link set vb down"));
	for (uint32_t i = 0; i < 5; i++)
		descs[i] = test_frame(&a, 60, 0);
	assert_int_equal(xsk_transmit(a.xsk, descs, 5), 5);
	assert_int_equal(xsk_wake_tx(a.xsk), -EBUSY);
	assert_int_equal(xsk_flush_tx(a.xsk, &dropped), 0);
	assert_int_equal(dropped, 4);
	assert_int_equal(xsk_complete(a.queues, addrs, 5), 5);
	end_close(&a);
}

static void an_interface_that_is_down_or_gone_is_told_and_closes_cleanly(void **state)
{
	struct xsk_end a;
	struct xdp_desc desc, got;
	uint64_t addr;

	(void)state;
	end_open(&a, &(struct xsk_umem_config){.frames = 64}, &(struct xsk_socket_config){.ifname = "va"});
	desc = test_frame(&a, 60, 0);
	assert_true(shell("ip link set va down"));
	assert_int_equal(xsk_transmit_one(a.xsk, &desc), 1);
	assert_int_equal(xsk_flush_tx(a.xsk, NULL), -ENETDOWN);
	assert_int_equal(xsk_num_transmitted(a.queues), 1);
	assert_int_equal(xsk_receive_wait(a.xsk, &got, 1, -1), -ENETDOWN);
	/* What was in the ring leaves when the interface is up again. */
	assert_true(shell("ip link set va up"));
	assert_int_equal(xsk_flush_tx(a.xsk, NULL), 0);
	assert_int_equal(xsk_complete_one(a.queues, &addr), 1);
	assert_int_equal(addr, desc.addr);
	assert_true(shell("ip link del va"));
	assert_int_equal(xsk_receive_wait(a.xsk, &got, 1, -1), -ENETDOWN);
	assert_int_equal(xsk_wake_tx(a.xsk), -ENXIO);
	end_close(&a);
	assert_true(make_veth());
}

/* --- strict ownership under load ------------------------------------------------------------------------ */

#define LOAD_FRAMES  256
#define LOAD_SENDER  64  /* of them go round at the sender, */
#define LOAD_FILL    192 /* and at the receiver */
#define LOAD_PACKETS 100000
#define LOAD_SIZE    128

/* Where a frame is: at hand, or with the kernel to be sent or to be received into. */
enum place { AT_HAND, SENDING, FILLED };

struct load {
	struct xsk_end end;
	enum place place[LOAD_FRAMES];
	uint64_t wrong; /* frames that came from where they were not */
	uint64_t sent, dropped;
	int done;
};

static void move_frame(struct load *l, uint64_t addr, enum place from, enum place to)
{
	enum place *place = &l->place[xsk_addr_index(l->end.umem, addr)];

	if (*place != from)
		l->wrong++;
	*place = to;
}

static uint32_t send_numbered(struct load *l, uint64_t stock[], uint32_t held)
{
	struct xsk_end *end = &l->end;
	struct xdp_desc descs[16];
	uint32_t count = 0;

	while (held && count < 16 && l->sent + count < LOAD_PACKETS) {
		struct xdp_desc desc = xsk_frame_desc(end->umem, stock[--held]);
		uint64_t number = l->sent + count;
		uint8_t *data = xsk_data(end->umem, &desc);

		fill_frame(data, LOAD_SIZE);
		memcpy(data + 16, &number, sizeof(number));
		desc.len = LOAD_SIZE;
		move_frame(l, desc.addr, AT_HAND, SENDING);
		descs[count++] = desc;
	}
	if (count && xsk_transmit(end->xsk, descs, count) != (int)count)
		l->wrong++;
	l->sent += count;
	return held;
}

/*
 * Frames with a number in them, as fast as they go. Memory that comes back by the completion ring must have
 * been sent, and only then is it used again.
 */
static void *send_load(void *arg)
{
	struct load *l = arg;
	struct xsk_end *end = &l->end;
	uint64_t stock[LOAD_SENDER], addrs[LOAD_SENDER];
	uint32_t held = xsk_frame_alloc_batch(end->umem, stock, LOAD_SENDER);

	for (int idle = 0; (l->sent < LOAD_PACKETS || held < LOAD_SENDER) && idle < 10000000; idle++) {
		uint32_t count;

		held = send_numbered(l, stock, held);
		xsk_flush_tx(end->xsk, &l->dropped);
		count = xsk_complete(end->queues, addrs, LOAD_SENDER);
		for (uint32_t i = 0; i < count; i++) {
			move_frame(l, addrs[i], SENDING, AT_HAND);
			if (held < LOAD_SENDER)
				stock[held++] = addrs[i];
			else
				l->wrong++;
		}
		if (count)
			idle = 0;
	}
	xsk_frame_free_batch(end->umem, stock, held);
	__atomic_store_n(&l->done, 1, __ATOMIC_RELEASE);
	return NULL;
}

/* Receive until the sender is done and nothing more comes: each number at most once, and in order. */
static uint64_t receive_load(struct load *l, const struct load *from)
{
	struct xsk_end *end = &l->end;
	struct xdp_desc descs[64];
	uint64_t received = 0, next = 0;

	for (int quiet = 0; quiet < 5;) {
		bool done = __atomic_load_n(&from->done, __ATOMIC_ACQUIRE);
		int count = xsk_receive_wait(end->xsk, descs, 64, 100);

		assert_true(count >= 0);
		quiet = count || !done ? 0 : quiet + 1;
		for (int i = 0; i < count; i++) {
			uint64_t number;

			assert_int_equal(descs[i].len, LOAD_SIZE);
			memcpy(&number, xsk_data(end->umem, &descs[i]) + 16, sizeof(number));
			if (number < next || number >= LOAD_PACKETS)
				fail_msg("frame %llu, when %llu was the next that could be",
					(unsigned long long)number, (unsigned long long)next);
			next = number + 1;
			move_frame(l, descs[i].addr, FILLED, AT_HAND);
		}
		for (int i = 0; i < count; i++)
			move_frame(l, descs[i].addr, AT_HAND, FILLED);
		assert_int_equal(xsk_fill_descs(end->queues, descs, (uint32_t)count), count);
		received += (uint64_t)count;
	}
	return received;
}

/* asavie/xdp#24: under load the same frame was delivered twice. */
static void under_load_every_frame_is_in_exactly_one_place(void **state)
{
	struct xsk_umem_config umem = {.frames = LOAD_FRAMES, .fill_size = 256, .completion_size = 64};
	struct load *from = calloc(1, sizeof(*from)), *to = calloc(1, sizeof(*to));
	struct xdp_statistics statistics;
	uint64_t received, filled[LOAD_FILL];
	pthread_t sender;

	(void)state;
	end_open(&from->end, &umem,
		&(struct xsk_socket_config){.ifname = "va", .tx_size = 64, .flags = XSK_TX_ONLY});
	end_open(&to->end, &umem, &(struct xsk_socket_config){.ifname = "vb", .rx_size = 256});
	assert_int_equal(xsk_frame_alloc_batch(to->end.umem, filled, LOAD_FILL), LOAD_FILL);
	for (int i = 0; i < LOAD_FILL; i++)
		move_frame(to, filled[i], AT_HAND, FILLED);
	assert_int_equal(xsk_fill(to->end.queues, filled, LOAD_FILL), LOAD_FILL);

	assert_int_equal(pthread_create(&sender, NULL, send_load, from), 0);
	received = receive_load(to, from);
	assert_int_equal(pthread_join(sender, NULL), 0);

	/* All memory came from where it had been put; the sender's is all back. */
	assert_int_equal(from->wrong, 0);
	assert_int_equal(to->wrong, 0);
	assert_int_equal(xsk_frames_free(from->end.umem), LOAD_FRAMES);
	assert_int_equal(xsk_num_transmitted(from->end.queues), 0);
	assert_int_equal(xsk_num_filled(to->end.queues), LOAD_FILL);
	for (int i = 0; i < LOAD_FILL; i++)
		assert_int_equal(to->place[xsk_addr_index(to->end.umem, filled[i])], FILLED);
	/* Each frame has arrived, or was counted where it was lost: by the device, or for want of room. */
	assert_int_equal(xsk_socket_statistics(to->end.xsk, &statistics), 0);
	assert_int_equal(from->sent, LOAD_PACKETS);
	assert_int_equal(
		received + from->dropped + statistics.rx_ring_full + statistics.rx_dropped, LOAD_PACKETS);
	assert_true(received > LOAD_FILL);
	assert_int_equal(xsk_socket_bad_entries(to->end.xsk) + xsk_socket_bad_entries(from->end.xsk), 0);
	end_close(&from->end);
	end_close(&to->end);
	free(from);
	free(to);
}

#define TEST(test) cmocka_unit_test_setup_teardown(test, veth_setup, veth_teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(jumbo_frames_pass_both_ways),
		TEST(a_batch_does_not_end_within_a_frame),
		TEST(half_frames_and_endless_ones_are_not_sent),
		TEST(a_frame_too_long_for_a_chunk_is_dropped_and_counted),
		TEST(the_kernel_finishes_a_checksum_that_metadata_asks_for),
		TEST(in_a_umem_with_metadata_every_frame_needs_its_room),
		TEST(a_checksum_that_cannot_be_is_refused),
		TEST(a_flush_sends_more_than_one_budget_of_frames),
		TEST(sending_without_a_cable_tells_of_each_frame_lost_and_completes_it),
		TEST(an_interface_that_is_down_or_gone_is_told_and_closes_cleanly),
		TEST(under_load_every_frame_is_in_exactly_one_place),
	};
	if (!own_netns()) {
		puts("AF_XDP traffic: skipped: network namespaces need root");
		return 0;
	}
	return cmocka_run_group_tests_name("AF_XDP traffic", tests, NULL, NULL);
}
