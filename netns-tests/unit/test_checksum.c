/*
 * The fast Internet checksum against a naive one that follows RFC 1071 word by word.
 */
#include <stdarg.h>
#include <setjmp.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <arpa/inet.h>
#include <cmocka.h>

#include "driver/checksum.h"

#define ROUNDS 20000

/* Big-endian words, as the RFC writes it; the result in host order. */
static uint16_t naive_sum(const uint8_t *data, size_t size)
{
	uint32_t sum = 0;

	for (size_t i = 0; i < size; i += 2) {
		sum += (uint32_t)data[i] << 8 | (i + 1 < size ? data[i + 1] : 0);
		sum = (sum & 0xffff) + (sum >> 16);
	}
	return (uint16_t)sum;
}

/* 0 and 0xffff are the same number in one's complement. */
static uint16_t canonical(uint16_t sum)
{
	return sum == 0xffff ? 0 : sum;
}

static void fill(uint8_t *data, size_t size, unsigned kind)
{
	for (size_t i = 0; i < size; i++)
		data[i] = kind == 0 ? 0 : kind == 1 ? 0xff : (uint8_t)rand();
}

static void sum_matches_naive_for_any_size_and_alignment(void **state)
{
	static uint8_t buffer[4096 + 16];

	(void)state;
	srand(1);
	for (int round = 0; round < ROUNDS; round++) {
		size_t offset = (size_t)rand() % 16, size = (size_t)rand() % (round % 4 ? 100 : 4096);

		fill(buffer + offset, size, (unsigned)rand() % 4);
		assert_int_equal(canonical(ntohs(checksum_fold(checksum_add(0, buffer + offset, size)))),
			canonical(naive_sum(buffer + offset, size)));
	}
}

static void copying_sums_the_same_and_writes_these_bytes_only(void **state)
{
	static uint8_t from[2048 + 16], to[2048 + 32];

	(void)state;
	srand(4);
	for (int round = 0; round < ROUNDS; round++) {
		size_t offset = (size_t)rand() % 16, size = (size_t)rand() % (round % 4 ? 200 : 2048);
		size_t at = (size_t)rand() % 16;

		fill(from + offset, size, (unsigned)rand() % 4);
		memset(to, 0xa5, sizeof(to));
		assert_int_equal(checksum_fold(checksum_copy(1, to + at, from + offset, size)),
			checksum_fold(checksum_add(1, from + offset, size)));
		assert_memory_equal(to + at, from + offset, size);
		for (size_t i = 0; i < at; i++)
			assert_int_equal(to[i], 0xa5);
		for (size_t i = at + size; i < at + size + 16; i++)
			assert_int_equal(to[i], 0xa5);
	}
}

static void pieces_sum_up_to_the_whole(void **state)
{
	static uint8_t buffer[3000];

	(void)state;
	srand(2);
	for (int round = 0; round < ROUNDS; round++) {
		size_t size = (size_t)rand() % sizeof(buffer),
		       cut = ((size_t)rand() % (size + 1)) & ~(size_t)1;
		uint64_t sum;

		fill(buffer, size, (unsigned)rand() % 4);
		sum = checksum_add(0, buffer, cut);
		sum = checksum_add(sum, buffer + cut, size - cut);
		assert_int_equal(canonical(ntohs(checksum_fold(sum))), canonical(naive_sum(buffer, size)));
	}
}

static void a_running_sum_leaves_room_for_small_values(void **state)
{
	static uint8_t ones[65536];

	(void)state;
	memset(ones, 0xff, sizeof(ones));
	assert_true(checksum_add(UINT64_MAX, ones, sizeof(ones)) < UINT64_C(1) << 33);
}

static void a_full_sum_folds_without_losing_a_carry(void **state)
{
	(void)state;
	assert_int_equal(checksum_fold(UINT64_MAX), 0xffff);
	assert_int_equal(checksum_fold(0), 0);
	assert_int_equal(checksum_fold(0x10000), 1);
	assert_int_equal(checksum_fold(UINT64_C(0xffffffff00000001)), 1);
}

static void nothing_sums_to_nothing(void **state)
{
	(void)state;
	assert_int_equal(checksum_add(0, NULL, 0), 0);
	assert_int_equal(checksum_finish(0), 0xffff);
}

/* The example header of RFC 1071's readers everywhere: 0xb861 is its checksum. */
static void a_known_ipv4_header_has_its_known_checksum(void **state)
{
	const uint8_t header[20] = {0x45, 0x00, 0x00, 0x73, 0x00, 0x00, 0x40, 0x00, 0x40, 0x11, 0x00, 0x00,
		0xc0, 0xa8, 0x00, 0x01, 0xc0, 0xa8, 0x00, 0xc7};

	(void)state;
	assert_int_equal(ntohs(checksum_finish(checksum_add(0, header, sizeof(header)))), 0xb861);
}

static void pseudo_headers_match_ones_built_by_hand(void **state)
{
	uint8_t v4[12] = {192, 0, 2, 1, 198, 51, 100, 7, 0, 6, 0x12, 0x34};
	uint8_t v6[40];

	(void)state;
	srand(3);
	assert_int_equal(
		ntohs(checksum_fold(checksum_pseudo4(v4, v4 + 4, 6, 0x1234))), naive_sum(v4, sizeof(v4)));
	for (int round = 0; round < 1000; round++) {
		uint32_t length = (uint32_t)rand() % 100000, wire_length = htonl(length);
		uint8_t protocol = (uint8_t)rand();

		fill(v6, 32, 2);
		memcpy(v6 + 32, &wire_length, 4);
		memset(v6 + 36, 0, 3);
		v6[39] = protocol;
		assert_int_equal(
			canonical(ntohs(checksum_fold(checksum_pseudo6(v6, v6 + 16, protocol, length)))),
			canonical(naive_sum(v6, sizeof(v6))));
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(sum_matches_naive_for_any_size_and_alignment),
		cmocka_unit_test(copying_sums_the_same_and_writes_these_bytes_only),
		cmocka_unit_test(pieces_sum_up_to_the_whole),
		cmocka_unit_test(a_running_sum_leaves_room_for_small_values),
		cmocka_unit_test(a_full_sum_folds_without_losing_a_carry),
		cmocka_unit_test(nothing_sums_to_nothing),
		cmocka_unit_test(a_known_ipv4_header_has_its_known_checksum),
		cmocka_unit_test(pseudo_headers_match_ones_built_by_hand),
	};

	return cmocka_run_group_tests_name("checksum", tests, NULL, NULL);
}
