/*
 * The blocks of a pcapng file, made in memory: draft-ietf-opsawg-pcapng, whose sections are cited as "pcapng 4.1".
 *
 * A file of one interface is a section header (SHB), the interface (IDB), a block a frame (EPB), and at the end what
 * was counted (ISB). Each block begins and ends with its length, so that a file can be read from any block on and a
 * file that lost its tail is whole up to there. Numbers are in the host's byte order, which the SHB tells.
 */
#ifndef APPS_PCAP_PCAPNG_H
#define APPS_PCAP_PCAPNG_H

#include <stddef.h>
#include <stdint.h>

#define PCAPNG_FRAME_BLOCK 6u    /* the type of an EPB */
#define PCAPNG_MAX_TEXT    1000u /* longer strings are cut: of names, filters, comments */
#define PCAPNG_MAX_START   8192u /* bytes of the longest SHB and IDB together */
#define PCAPNG_MAX_END     2048u /* of the longest ISB */

struct pcapng_interface {
	const char *program;     /* who writes, "ixy-pcap 0.1.0" */
	const char *name;        /* the device's spec */
	const char *description; /* its driver */
	const char *filter;      /* as the user gave it, or NULL */
	uint8_t mac[6];
	uint64_t bits_per_second; /* 0: not known */
	uint32_t snaplen;         /* longest that a frame can be in the file, bytes */
};

/* Times in nanoseconds since 1970. */
struct pcapng_statistics {
	uint64_t start, end;
	uint64_t received;  /* frames that came to the interface */
	uint64_t nic_drops; /* of these, lost before the program had them */
	uint64_t accepted;  /* those that passed the filter */
	uint64_t os_drops;  /* of these, lost between the program and the file */
	uint64_t delivered; /* in the file */
	const char *comment;
};

/* Write SHB and IDB to out, which has PCAPNG_MAX_START bytes. Returns how many it took. */
size_t pcapng_start(uint8_t *out, const struct pcapng_interface *interface);

/* The same for the ISB, PCAPNG_MAX_END bytes. */
size_t pcapng_end(uint8_t *out, const struct pcapng_statistics *statistics);

/* Bytes of the EPB of a frame of which so many bytes are kept. */
static inline uint32_t pcapng_frame_size(uint32_t captured)
{
	return 32 + ((captured + 3) & ~3u);
}

/*
 * Write an EPB to out, which has pcapng_frame_size(captured) bytes and is aligned to 4, all but the frame itself:
 * returns where its `captured` bytes go. time: nanoseconds since 1970; length: bytes of the frame on the wire.
 */
static inline uint8_t *pcapng_frame(uint8_t *out, uint64_t time, uint32_t captured, uint32_t length)
{
	uint32_t *word = (uint32_t *)(void *)out, size = pcapng_frame_size(captured);

	word[size / 4 - 2] = 0; /* the padding, pcapng 3.1; or the frame writes over it */
	word[0] = PCAPNG_FRAME_BLOCK;
	word[1] = word[size / 4 - 1] = size;
	word[2] = 0; /* the interface's number */
	word[3] = (uint32_t)(time >> 32);
	word[4] = (uint32_t)time;
	word[5] = captured;
	word[6] = length;
	return out + 28;
}

#endif
