/*
 * A file that is written behind the capture's back: records go into memory at once, a thread of its own writes them
 * out in large pieces. When the disk is slower than the wire for longer than the memory lasts, records are refused,
 * never waited for. Without the thread large pieces alone would not do: a receive ring of 4096 descriptors lasts for
 * 275 us of 64-byte frames at 10 Gbit/s, and a write of 256 KiB into the page cache was measured at 100 us as a rule and
 * at half a second when the machine was busy.
 *
 * The memory is a ring of chunks. The capture fills one and submits it, the thread writes it and gives it back:
 *
 *	submitted - written chunks belong to the thread; the others, of which one is being filled, to the capture
 *
 * A chunk is submitted when it is full, or when the capture has nothing better to do and the thread has nothing left
 * to write: so that a reader at the other end of a pipe sees a frame at once when few come.
 *
 * When writing fails (disk full), a file that was empty at the start is cut back to whole records, so that it stays
 * readable, and to so many that the end block fits into what the disk gave.
 *
 * Threads: all functions belong to the capture's thread.
 */
#ifndef APPS_PCAP_WRITER_H
#define APPS_PCAP_WRITER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct writer;

#define WRITER_CHUNK ((size_t)256 << 10) /* bytes in one write; also the longest record */

/*
 * Write to fd, which is the writer's from here on (closed by writer_close()). memory: bytes to buffer, two chunks at
 * least. Ends the program when there is no memory.
 */
struct writer *writer_open(int fd, size_t memory);

/*
 * Room for the next record of size bytes, a multiple of 4, aligned to 4, which the caller fills before the next call.
 * The record begins with its type and its length, as pcapng has it. NULL: no memory is free.
 */
uint8_t *writer_record(struct writer *writer, size_t size);

/* The capture is idle: let the thread have what there is, if it has nothing else. */
void writer_idle(struct writer *writer);

/* Writing has failed; there is no sense in more records. */
bool writer_failed(const struct writer *writer);

/*
 * Write out everything and end the thread. *frames: how many records of type PCAPNG_FRAME_BLOCK are whole in the
 * file. Returns 0, or a negative errno of the first write that failed.
 */
int writer_finish(struct writer *writer, uint64_t *frames);

/*
 * After writer_finish(): add the last record, of at most PCAPNG_MAX_END bytes, and close. After a failure it goes where
 * the file was cut. Returns 0 or a negative errno.
 */
int writer_close(struct writer *writer, const uint8_t *last, size_t size);

#endif
