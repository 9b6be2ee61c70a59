/*
 * The Internet checksum, 64 bytes at a time.
 *
 * One's complement addition modulo 2^16 - 1 does not care how wide the words are in which it is done, because
 * 2^16, 2^32 and 2^64 all leave the remainder 1 (RFC 1071, section 2). So 32-bit halves are summed in 64-bit
 * lanes, where no carry can be lost. The lanes stand side by side in vectors: of 16 bytes, which every x86-64
 * and arm64 has, or of 32 where the CPU has AVX2, which takes 60 % of the time. What is returned is under
 * 2^33, so that callers may add small values to it without minding a carry.
 */
#include "driver/checksum.h"

#include <string.h>
#include <arpa/inet.h>

static inline uint64_t halve(uint64_t sum)
{
	return (sum & 0xffffffff) + (sum >> 32);
}

typedef uint64_t lanes __attribute__((vector_size(32)));

#define BLOCK 64

/*
 * Sum whole blocks; where to is given, copy them there on the way. Inlined into each of its callers, to be
 * compiled for the vectors that they may use.
 */
static inline __attribute__((always_inline)) uint64_t sum_blocks(
	uint8_t *to, const uint8_t *from, size_t blocks)
{
	const lanes mask = {0xffffffff, 0xffffffff, 0xffffffff, 0xffffffff};
	lanes low = {0}, high = {0}, low2 = {0}, high2 = {0}; /* so that none waits for another */

	for (; blocks > 0; blocks--, from += BLOCK) {
		lanes words, words2;

		memcpy(&words, from, sizeof(words));
		memcpy(&words2, from + sizeof(words), sizeof(words2));
		if (to) {
			memcpy(to, &words, sizeof(words));
			memcpy(to + sizeof(words), &words2, sizeof(words2));
			to += BLOCK;
		}
		low += words & mask;
		high += words >> 32;
		low2 += words2 & mask;
		high2 += words2 >> 32;
	}
	low += high + low2 + high2;
	return halve(halve(low[0]) + halve(low[1]) + halve(low[2]) + halve(low[3]));
}

#if defined(__x86_64__)
__attribute__((target("avx2"))) static uint64_t add_blocks_avx2(const uint8_t *from, size_t blocks)
{
	return sum_blocks(NULL, from, blocks);
}

__attribute__((target("avx2"))) static uint64_t copy_blocks_avx2(
	uint8_t *to, const uint8_t *from, size_t blocks)
{
	return sum_blocks(to, from, blocks);
}
#endif

static uint64_t add_blocks(const uint8_t *from, size_t blocks)
{
#if defined(__x86_64__)
	if (__builtin_cpu_supports("avx2"))
		return add_blocks_avx2(from, blocks);
#endif
	return sum_blocks(NULL, from, blocks);
}

static uint64_t copy_blocks(uint8_t *to, const uint8_t *from, size_t blocks)
{
#if defined(__x86_64__)
	if (__builtin_cpu_supports("avx2"))
		return copy_blocks_avx2(to, from, blocks);
#endif
	return sum_blocks(to, from, blocks);
}

/* The end of it, under a block. */
static uint64_t add_rest(uint64_t sum, const uint8_t *p, size_t size)
{
	uint64_t word;

	for (; size >= sizeof(word); size -= sizeof(word), p += sizeof(word)) {
		memcpy(&word, p, sizeof(word));
		sum += halve(word);
	}
	if (size > 0) {
		word = 0; /* an odd byte is padded with a zero behind it, in memory order */
		memcpy(&word, p, size);
		sum += halve(word);
	}
	return halve(sum);
}

uint64_t checksum_add(uint64_t sum, const void *data, size_t size)
{
	const uint8_t *p = data;
	size_t blocks = size / BLOCK;

	sum = halve(sum);
	if (blocks > 0)
		sum += add_blocks(p, blocks);
	return add_rest(sum, p + blocks * BLOCK, size % BLOCK);
}

uint64_t checksum_copy(uint64_t sum, void *to, const void *from, size_t size)
{
	const uint8_t *p = from;
	size_t blocks = size / BLOCK;

	sum = halve(sum);
	if (blocks > 0)
		sum += copy_blocks(to, p, blocks);
	memcpy((uint8_t *)to + blocks * BLOCK, p + blocks * BLOCK, size % BLOCK);
	return add_rest(sum, p + blocks * BLOCK, size % BLOCK);
}

uint16_t checksum_fold(uint64_t sum)
{
	sum = halve(halve(sum));
	sum = (sum & 0xffff) + (sum >> 16);
	sum = (sum & 0xffff) + (sum >> 16);
	return (uint16_t)sum;
}

/* Protocol and length have the same remainder in the 16-bit words of IPv4 and in the 32-bit ones of IPv6. */
static uint64_t pseudo_tail(uint8_t protocol, uint32_t length)
{
	return (uint64_t)htons(protocol) + htonl(length);
}

uint64_t checksum_pseudo4(const void *src, const void *dst, uint8_t protocol, uint32_t length)
{
	return checksum_add(checksum_add(pseudo_tail(protocol, length), src, 4), dst, 4);
}

uint64_t checksum_pseudo6(const void *src, const void *dst, uint8_t protocol, uint32_t length)
{
	return checksum_add(checksum_add(pseudo_tail(protocol, length), src, 16), dst, 16);
}

/* The polynomial reflected, half a byte at a time: SCTP is rare, and a larger table would be as rarely warm. */
uint32_t crc32c_add(uint32_t crc, const uint8_t *data, size_t size)
{
	static const uint32_t table[16] = {0x00000000, 0x105ec76f, 0x20bd8ede, 0x30e349b1, 0x417b1dbc,
		0x5125dad3, 0x61c69362, 0x7198540d, 0x82f63b78, 0x92a8fc17, 0xa24bb5a6, 0xb21572c9,
		0xc38d26c4, 0xd3d3e1ab, 0xe330a81a, 0xf36e6f75};
	for (size_t i = 0; i < size; i++) {
		crc ^= data[i];
		crc = crc >> 4 ^ table[crc & 15];
		crc = crc >> 4 ^ table[crc & 15];
	}
	return crc;
}
