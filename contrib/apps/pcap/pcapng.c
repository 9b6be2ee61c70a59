/* See pcapng.h. */
#include "contrib/apps/pcap/pcapng.h"

#include <string.h>

/* Block types, pcapng 4.1, 4.2, 4.6 */
#define SECTION_HEADER       0x0A0D0D0Au
#define INTERFACE            1u
#define INTERFACE_STATISTICS 5u

#define BYTE_ORDER_MAGIC  0x1A2B3C4Du
#define SECTION_LENGTH    UINT64_MAX /* not given: the file goes on to its end */
#define LINKTYPE_ETHERNET 1
#define NANOSECONDS       9 /* if_tsresol: as a negative power of ten */

#define END_OF_OPTIONS 0u

/* Options, pcapng 3.5 and at each block. */
enum {
	COMMENT = 1,
	SHB_OS = 3,
	SHB_PROGRAM = 4,
	IF_NAME = 2,
	IF_DESCRIPTION = 3,
	IF_MAC = 6,
	IF_SPEED = 8,
	IF_TIME_RESOLUTION = 9,
	IF_FILTER = 11,
	ISB_START = 2,
	ISB_END = 3,
	ISB_RECEIVED = 4,
	ISB_DROPPED = 5,
	ISB_ACCEPTED = 6,
	ISB_OS_DROPPED = 7,
	ISB_DELIVERED = 8
};

/* A block that grows. */
struct block {
	uint8_t *start, *next;
};

static void put(struct block *block, const void *bytes, size_t size)
{
	memcpy(block->next, bytes, size);
	block->next += size;
}

static void put16(struct block *block, uint16_t value)
{
	put(block, &value, sizeof(value));
}

static void put32(struct block *block, uint32_t value)
{
	put(block, &value, sizeof(value));
}

static void pad(struct block *block)
{
	while ((size_t)(block->next - block->start) % 4)
		*block->next++ = 0;
}

static struct block block_begin(uint8_t *out, uint32_t type)
{
	struct block block = {out, out};

	put32(&block, type);
	put32(&block, 0); /* its length: block_end() knows */
	return block;
}

static uint8_t *block_end(struct block *block)
{
	uint32_t size = (uint32_t)(block->next - block->start) + 4;

	put32(block, size);
	memcpy(block->start + 4, &size, sizeof(size));
	return block->next;
}

static void option(struct block *block, uint16_t code, const void *value, size_t size)
{
	put16(block, code);
	put16(block, (uint16_t)size);
	put(block, value, size);
	pad(block);
}

static void text_option(struct block *block, uint16_t code, const char *text)
{
	if (text && *text)
		option(block, code, text, strnlen(text, PCAPNG_MAX_TEXT));
}

static void number_option(struct block *block, uint16_t code, uint64_t value)
{
	option(block, code, &value, sizeof(value));
}

/* A time is two words, the high one first, whatever the byte order: pcapng 4.3. */
static void time_option(struct block *block, uint16_t code, uint64_t time)
{
	uint32_t words[2] = {(uint32_t)(time >> 32), (uint32_t)time};

	option(block, code, words, sizeof(words));
}

size_t pcapng_start(uint8_t *out, const struct pcapng_interface *interface)
{
	static const uint8_t resolution = NANOSECONDS;
	const uint64_t length = SECTION_LENGTH;
	char filter[PCAPNG_MAX_TEXT + 1] = ""; /* the first byte says what it is: a string of libpcap's */
	struct block block = block_begin(out, SECTION_HEADER);

	put32(&block, BYTE_ORDER_MAGIC);
	put16(&block, 1); /* version 1.0 */
	put16(&block, 0);
	put(&block, &length, sizeof(length));
	text_option(&block, SHB_OS, "Linux");
	text_option(&block, SHB_PROGRAM, interface->program);
	put32(&block, END_OF_OPTIONS);

	block = block_begin(block_end(&block), INTERFACE);
	put16(&block, LINKTYPE_ETHERNET);
	put16(&block, 0);
	put32(&block, interface->snaplen);
	text_option(&block, IF_NAME, interface->name);
	text_option(&block, IF_DESCRIPTION, interface->description);
	option(&block, IF_MAC, interface->mac, sizeof(interface->mac));
	if (interface->bits_per_second)
		number_option(&block, IF_SPEED, interface->bits_per_second);
	option(&block, IF_TIME_RESOLUTION, &resolution, 1);
	if (interface->filter) {
		strncpy(filter + 1, interface->filter, sizeof(filter) - 2);
		option(&block, IF_FILTER, filter, 1 + strlen(filter + 1));
	}
	put32(&block, END_OF_OPTIONS);
	return (size_t)(block_end(&block) - out);
}

size_t pcapng_end(uint8_t *out, const struct pcapng_statistics *statistics)
{
	struct block block = block_begin(out, INTERFACE_STATISTICS);

	put32(&block, 0); /* the interface's number */
	put32(&block, (uint32_t)(statistics->end >> 32));
	put32(&block, (uint32_t)statistics->end);
	text_option(&block, COMMENT, statistics->comment);
	time_option(&block, ISB_START, statistics->start);
	time_option(&block, ISB_END, statistics->end);
	number_option(&block, ISB_RECEIVED, statistics->received);
	number_option(&block, ISB_DROPPED, statistics->nic_drops);
	number_option(&block, ISB_ACCEPTED, statistics->accepted);
	number_option(&block, ISB_OS_DROPPED, statistics->os_drops);
	number_option(&block, ISB_DELIVERED, statistics->delivered);
	put32(&block, END_OF_OPTIONS);
	return (size_t)(block_end(&block) - out);
}
