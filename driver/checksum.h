/*
 * The Internet checksum (RFC 1071) and SCTP's, for whoever has to finish or verify one in software.
 *
 * A running sum is carried in 64 bits over 16-bit words in memory order, so it needs no byte swapping: the
 * folded result is stored into the packet as it is. Odd-sized pieces may only come last.
 */
#ifndef IXY_CHECKSUM_H
#define IXY_CHECKSUM_H

#include <stddef.h>
#include <stdint.h>

/* Add size bytes at data (any alignment) to a running sum; start with 0. */
uint64_t checksum_add(uint64_t sum, const void *data, size_t size);

/* The same, and copy the bytes to another place on the way. The two may not overlap. */
uint64_t checksum_copy(uint64_t sum, void *to, const void *from, size_t size);

/* Fold to 16 bits, not inverted: what a pseudo-header sum looks like in a packet. Memory order. */
uint16_t checksum_fold(uint64_t sum);

/* Folded and inverted: what goes into a checksum field. Memory order. */
static inline uint16_t checksum_finish(uint64_t sum)
{
	return (uint16_t)~checksum_fold(sum);
}

/*
 * Pseudo-header sums (RFC 793, RFC 8200 8.1): addresses in network order as they lie in the packet, protocol
 * number, length of the L4 header and payload in bytes.
 */
uint64_t checksum_pseudo4(const void *src, const void *dst, uint8_t protocol, uint32_t length);
uint64_t checksum_pseudo6(const void *src, const void *dst, uint8_t protocol, uint32_t length);

/*
 * CRC32c (RFC 9260, appendix A), the checksum of SCTP: starts as ~0, the complement of the result goes into the
 * packet, lowest byte first.
 */
uint32_t crc32c_add(uint32_t crc, const uint8_t *data, size_t size);

#endif
