/* ixy-pktgen's frames, judged by another opinion on headers and checksums. */
#include "nic_rig.h"

#include <arpa/inet.h>

#include "contrib/apps/pktgen/frame.h"

#define ROOM 10240

static struct pkt_buf *new_buffer(void)
{
	struct pkt_buf *buf = aligned_alloc(64, sizeof(*buf) + PKT_BUF_HEADROOM + ROOM);

	assert_non_null(buf);
	memset(buf, 0xee, sizeof(*buf) + PKT_BUF_HEADROOM + ROOM);
	buf->data = pkt_buf_start(buf);
	buf->flags = 0;
	buf->segments = 1;
	buf->next = NULL;
	return buf;
}

static struct frame_config config_of(bool ipv6)
{
	struct frame_config config = {.to_mac = {2, 0, 0, 0, 0, 1},
		.from_mac = {2, 0, 0, 0, 0, 2},
		.ipv6 = ipv6,
		.to_port = 9,
		.from_port = 65000,
		.flows = 500};

	assert_int_equal(
		inet_pton(ipv6 ? AF_INET6 : AF_INET, ipv6 ? "2001:2::1" : "198.18.0.1", config.from), 1);
	assert_int_equal(
		inet_pton(ipv6 ? AF_INET6 : AF_INET, ipv6 ? "2001:2::2" : "198.19.0.1", config.to), 1);
	return config;
}

/* The sum of all that an L4 checksum covers, 0xffff when it is right. */
static uint32_t l4_sum(const uint8_t *frame, size_t size, bool ipv6)
{
	size_t l3 = 14, l4 = l3 + (ipv6 ? 40 : 20);

	return naive_sum(naive_pseudo(frame + l3, UDP, size - l4), frame + l4, size - l4);
}

static void make(struct frame_template *template, struct pkt_buf *buf, const struct frame_config *config,
	uint32_t size, const struct frame_stamp *stamp)
{
	frame_template_init(template, config, size);
	frame_prepare(template, buf);
	frame_stamp(template, buf, stamp);
}

static void every_length_and_stamp_has_right_headers_and_checksums(void **state)
{
	struct pkt_buf *buf = new_buffer();
	struct frame_template template;

	(void)state;
	for (unsigned ipv6 = 0; ipv6 < 2; ipv6++) {
		struct frame_config config = config_of(ipv6);

		for (uint32_t size = frame_shortest(ipv6); size <= FRAME_MAX - FRAME_CRC; size += 97) {
			struct frame_stamp stamp = {(uint16_t)(size * 31), (uint16_t)(size % 500),
				size * 2654435761u, size * UINT64_C(0x9e3779b97f4a7c15)};

			make(&template, buf, &config, size, &stamp);
			assert_int_equal(buf->size, size);
			assert_int_equal(buf->frame_size, size);
			assert_int_equal(get16(buf->data + 12), ipv6 ? 0x86dd : 0x0800);
			assert_memory_equal(buf->data, config.to_mac, 6);
			assert_memory_equal(buf->data + 6, config.from_mac, 6);
			if (ipv6)
				assert_int_equal(get16(buf->data + 18), size - 54);
			else
				assert_int_equal(naive_sum(0, buf->data + 14, 20), 0xffff);
			assert_int_equal(get16(buf->data + (ipv6 ? 54 : 34)), (65000 + size % 500) & 0xffff);
			assert_int_equal(l4_sum(buf->data, size, ipv6), 0xffff);
			assert_int_not_equal(get16(buf->data + (ipv6 ? 60 : 40)), 0);
			assert_true(frame_checksum_right(buf));
			buf->data[size - 1] ^= 4;
			assert_false(frame_checksum_right(buf));
		}
	}
	free(buf);
}

static void a_buffer_is_prepared_once_and_stamped_again_and_again(void **state)
{
	struct frame_config config = config_of(false);
	struct pkt_buf *buf = new_buffer();
	struct frame_template template;
	struct frame_stamp stamp = {.run = 7}, seen;

	(void)state;
	make(&template, buf, &config, 60, &stamp);
	for (unsigned i = 0; i < 200000; i++) {
		stamp.flow = (uint16_t)(i % 500);
		stamp.number = i * 77777;
		stamp.time_ns += UINT64_C(123456789123);
		frame_stamp(&template, buf, &stamp);
		assert_int_equal(l4_sum(buf->data, 60, false), 0xffff);
		assert_true(frame_read_stamp(buf->data, 60, &seen));
		assert_int_equal(seen.run, 7);
		assert_int_equal(seen.flow, stamp.flow);
		assert_int_equal(seen.number, stamp.number);
		assert_int_equal(seen.time_ns, stamp.time_ns);
	}
	free(buf);
}

static void with_offload_the_field_holds_the_pseudo_headers_sum(void **state)
{
	struct frame_config config = config_of(true);
	struct pkt_buf *buf = new_buffer();
	struct frame_template template;

	(void)state;
	config.offload = true;
	make(&template, buf, &config, 300, &(struct frame_stamp){.number = 3});
	assert_int_equal(buf->flags, PKT_TX_L4_CSUM);
	assert_int_equal(buf->csum_start, 54);
	assert_int_equal(buf->csum_offset, 6);
	assert_int_equal(get16(buf->data + 60), naive_pseudo(buf->data + 14, UDP, 300 - 54));
	free(buf);
}

static void without_a_checksum_the_field_is_zero_in_ipv4_only(void **state)
{
	struct pkt_buf *buf = new_buffer();
	struct frame_template template;

	(void)state;
	for (unsigned ipv6 = 0; ipv6 < 2; ipv6++) {
		struct frame_config config = config_of(ipv6);

		config.no_checksum = true;
		make(&template, buf, &config, 100, &(struct frame_stamp){0});
		if (ipv6) /* RFC 8200, 8.1: not allowed */
			assert_int_equal(l4_sum(buf->data, 100, true), 0xffff);
		else
			assert_int_equal(get16(buf->data + 40), 0);
	}
	free(buf);
}

static void assert_each_decides(uint8_t *frame, size_t size, const size_t *at, size_t count)
{
	struct frame_stamp stamp;

	assert_true(frame_read_stamp(frame, size, &stamp));
	for (size_t i = 0; i < count; i++) {
		frame[at[i]] ^= 0x20;
		assert_false(frame_read_stamp(frame, size, &stamp));
		frame[at[i]] ^= 0x20;
	}
}

static void other_frames_have_no_stamp(void **state)
{
	struct frame_config config = config_of(false);
	struct pkt_buf *buf = new_buffer();
	struct frame_template template;
	struct frame_stamp stamp;
	uint8_t *exact;

	(void)state;
	make(&template, buf, &config, 60, &(struct frame_stamp){0});
	assert_true(frame_read_stamp(buf->data, 60, &stamp));
	/* In memory that ends where the frame does, so that a read beyond it is seen. */
	for (size_t size = 0; size < 60; size++) {
		exact = malloc(size ? size : 1);
		assert_non_null(exact);
		memcpy(exact, buf->data, size);
		assert_false(frame_read_stamp(exact, size, &stamp));
		free(exact);
	}
	/* Type, version, protocol, and the stamp's magic number. */
	static const size_t ipv4[] = {12, 13, 14, 23, 42, 43}, ipv6[] = {12, 13, 14, 20, 62, 63};
	assert_each_decides(buf->data, 60, ipv4, 6);
	config = config_of(true);
	make(&template, buf, &config, 80, &(struct frame_stamp){0});
	assert_each_decides(buf->data, 80, ipv6, 6);
	config = config_of(false);
	make(&template, buf, &config, 60, &(struct frame_stamp){0});
	/* Says that it is IPv6, and is too short for that. */
	memcpy(buf->data + 12, "\x86\xdd", 2);
	buf->data[20] = UDP;
	exact = malloc(60);
	assert_non_null(exact);
	memcpy(exact, buf->data, 60);
	assert_false(frame_read_stamp(exact, 60, &stamp));
	free(exact);
	free(buf);
}

static void lengths_that_are_not_true_are_no_right_checksum(void **state)
{
	struct frame_config config = config_of(false);
	struct pkt_buf *buf = new_buffer();
	struct frame_template template;

	(void)state;
	make(&template, buf, &config, 60, &(struct frame_stamp){0});
	for (uint32_t length = 0; length < 65536; length++) {
		put16(buf->data + 38, length);
		assert_true(frame_checksum_right(buf) == (length == 60 - 34));
	}
	free(buf);
}

static void a_checksum_goes_over_all_segments(void **state)
{
	struct frame_config config = config_of(true);
	struct pkt_buf *buf = new_buffer(), *second = new_buffer();
	struct frame_template template;

	(void)state;
	make(&template, buf, &config, 3001, &(struct frame_stamp){.number = 9});
	memcpy(second->data, buf->data + 1024, 3001 - 1024);
	second->size = 3001 - 1024;
	buf->size = 1024;
	buf->next = second;
	buf->segments = 2;
	assert_true(frame_checksum_right(buf));
	second->data[1000] ^= 1;
	assert_false(frame_checksum_right(buf));
	free(buf);
	free(second);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(every_length_and_stamp_has_right_headers_and_checksums),
		cmocka_unit_test(a_buffer_is_prepared_once_and_stamped_again_and_again),
		cmocka_unit_test(with_offload_the_field_holds_the_pseudo_headers_sum),
		cmocka_unit_test(without_a_checksum_the_field_is_zero_in_ipv4_only),
		cmocka_unit_test(other_frames_have_no_stamp),
		cmocka_unit_test(lengths_that_are_not_true_are_no_right_checksum),
		cmocka_unit_test(a_checksum_goes_over_all_segments),
	};
	return cmocka_run_group_tests_name("pktgen frame", tests, NULL, NULL);
}
