/*
 * The Internet checksum, eight bytes at a time.
 *
 * One's complement addition modulo 2^16 - 1 does not care how wide the words are in which it is done, because
 * 2^16, 2^32 and 2^64 all leave the remainder 1 (RFC 1071, section 2). So 64-bit words are added with the
 * carry brought round, on two sums at once, as one add-with-carry chain waits for itself. What is returned is
 * under 2^33, so that callers may add small values to it without minding a carry.
 */
#include "driver/checksum.h"

#include <string.h>
#include <arpa/inet.h>

static inline uint64_t load64(const uint8_t *p)
{
	uint64_t word;

	memcpy(&word, p, sizeof(word));
	return word;
}

static inline uint64_t add_carry(uint64_t sum, uint64_t word)
{
	sum += word;
	return sum + (sum < word);
}

static inline uint64_t halve(uint64_t sum)
{
	return (sum & 0xffffffff) + (sum >> 32);
}

uint64_t checksum_add(uint64_t sum, const void *data, size_t size)
{
	const uint8_t *p = data;
	uint64_t other = 0;

	for (; size >= 32; size -= 32, p += 32) {
		sum = add_carry(sum, load64(p));
		other = add_carry(other, load64(p + 8));
		sum = add_carry(sum, load64(p + 16));
		other = add_carry(other, load64(p + 24));
	}
	for (; size >= 8; size -= 8, p += 8)
		sum = add_carry(sum, load64(p));
	if (size > 0) {
		uint64_t last = 0; /* an odd byte is padded with a zero behind it, in memory order */

		memcpy(&last, p, size);
		other = add_carry(other, last);
	}
	return halve(add_carry(sum, other));
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
