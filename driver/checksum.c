/*
 * The Internet checksum, 32 bytes at a time.
 *
 * One's complement addition modulo 2^16 - 1 does not care how wide the words are in which it is done, because
 * 2^16, 2^32 and 2^64 all leave the remainder 1 (RFC 1071, section 2). So 32-bit halves are summed in 64-bit
 * lanes, where no carry can be lost. Vectors of two lanes are what every x86-64 and arm64 has. What is
 * returned is under 2^33, so that callers may add small values to it without minding a carry.
 */
#include "driver/checksum.h"

#include <string.h>
#include <arpa/inet.h>

static inline uint64_t halve(uint64_t sum)
{
	return (sum & 0xffffffff) + (sum >> 32);
}

typedef uint64_t lanes __attribute__((vector_size(16)));

static inline lanes load_lanes(const uint8_t *p)
{
	lanes words;

	memcpy(&words, p, sizeof(words));
	return words;
}

/* Sum of as many whole 32 bytes as there are. */
static uint64_t add_blocks(const uint8_t *p, size_t blocks)
{
	const lanes mask = {0xffffffff, 0xffffffff};
	lanes low = {0, 0}, high = {0, 0}, low2 = {0, 0}, high2 = {0, 0}; /* so that none waits for another */

	for (; blocks > 0; blocks--, p += 32) {
		lanes words = load_lanes(p), words2 = load_lanes(p + 16);

		low += words & mask;
		high += words >> 32;
		low2 += words2 & mask;
		high2 += words2 >> 32;
	}
	low += high + low2 + high2;
	return halve(low[0]) + halve(low[1]);
}

uint64_t checksum_add(uint64_t sum, const void *data, size_t size)
{
	const uint8_t *p = data;
	uint64_t word;

	sum = halve(sum);
	if (size >= 32) {
		sum += add_blocks(p, size / 32);
		p += size & ~(size_t)31;
		size &= 31;
	}
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
