/* See writer.h. */
#include "contrib/apps/pcap/writer.h"

#include <errno.h>
#include <pthread.h>
#include <semaphore.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "contrib/apps/pcap/pcapng.h"

struct chunk {
	uint8_t *data;
	size_t used;
};

struct writer {
	int fd;
	pthread_t thread;
	struct chunk *chunks;
	uint32_t count;
	_Atomic uint64_t submitted, written; /* chunks since the start */
	sem_t work;                          /* one for each chunk submitted, and one for the end */
	_Atomic int error;                   /* 0, or the negative errno of the first failure */
	atomic_bool finished;
	/* The thread's own, until it has ended. */
	uint64_t frames; /* in the file */
	off_t end;       /* the file's length in whole records: where it is cut when the next one fails */
	bool may_cut;    /* it holds nothing that is not ours */
};

/* --- the thread ----------------------------------------------------------------------------------------- */

/* All of it, or a negative errno; *done: bytes that went. */
static int write_all(int fd, const uint8_t *data, size_t size, size_t *done)
{
	for (*done = 0; *done < size;) {
		ssize_t n = write(fd, data + *done, size - *done);

		if (n < 0 && errno != EINTR)
			return -errno;
		*done += n > 0 ? (size_t)n : 0;
	}
	return 0;
}

/*
 * The length of the whole records within the first `limit` bytes, and how many of them are frames. The records are
 * our own, so their lengths are right.
 */
static size_t whole_records(const uint8_t *data, size_t limit, uint64_t *frames)
{
	size_t end = 0;

	*frames = 0;
	while (end + 8 <= limit) {
		uint32_t head[2];

		memcpy(head, data + end, sizeof(head));
		if (end + head[1] > limit)
			break;
		end += head[1];
		*frames += head[0] == PCAPNG_FRAME_BLOCK;
	}
	return end;
}

/*
 * The disk took only `done` bytes of this chunk. What it has given it does not take back, so keep as many whole records
 * as leave room in there for the end block.
 */
static void cut_back(struct writer *writer, const struct chunk *chunk, size_t done)
{
	uint64_t frames;
	size_t room = done > PCAPNG_MAX_END ? done - PCAPNG_MAX_END : 0;
	size_t whole = whole_records(chunk->data, room, &frames);

	writer->frames += frames;
	writer->end += (off_t)whole;
}

static void write_chunk(struct writer *writer, const struct chunk *chunk)
{
	uint64_t frames;
	size_t done;
	int err;

	if (writer->error) /* what comes after a hole is of no use */
		return;
	err = write_all(writer->fd, chunk->data, chunk->used, &done);
	if (err) {
		cut_back(writer, chunk, done);
		atomic_store(&writer->error, err);
		return;
	}
	writer->end += (off_t)whole_records(chunk->data, chunk->used, &frames);
	writer->frames += frames;
}

static void *writer_thread(void *argument)
{
	struct writer *writer = argument;

	for (;;) {
		uint64_t next = writer->written;

		while (sem_wait(&writer->work) < 0)
			;
		if (next == atomic_load_explicit(&writer->submitted, memory_order_acquire)) {
			if (atomic_load(&writer->finished))
				return NULL;
			continue;
		}
		write_chunk(writer, &writer->chunks[next % writer->count]);
		atomic_store_explicit(&writer->written, next + 1, memory_order_release);
	}
}

/* --- the capture's side --------------------------------------------------------------------------------- */

static void *must_have(void *memory)
{
	if (!memory) {
		fprintf(stderr, "%s: no memory to buffer frames in\n", program_invocation_short_name);
		exit(1);
	}
	return memory;
}

struct writer *writer_open(int fd, size_t memory)
{
	struct writer *writer = must_have(calloc(1, sizeof(*writer)));
	struct stat status;
	sigset_t all, before;
	int err;

	writer->fd = fd;
	writer->may_cut = fstat(fd, &status) == 0 && S_ISREG(status.st_mode) && status.st_size == 0;
	writer->count = memory / WRITER_CHUNK > 2 ? (uint32_t)(memory / WRITER_CHUNK) : 2;
	writer->chunks = must_have(calloc(writer->count, sizeof(writer->chunks[0])));
	for (uint32_t i = 0; i < writer->count; i++)
		writer->chunks[i].data = must_have(malloc(WRITER_CHUNK));
	sem_init(&writer->work, 0, 0);
	/* Signals, the ten a second of app.c among them, are the main thread's. */
	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &before);
	err = pthread_create(&writer->thread, NULL, writer_thread, writer);
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	if (err) {
		fprintf(stderr, "%s: no thread to write with: %s\n", program_invocation_short_name,
			strerror(err));
		exit(1);
	}
	return writer;
}

/* Chunks that the thread has yet to write. */
static uint64_t waiting(const struct writer *writer)
{
	return writer->submitted - atomic_load_explicit(&writer->written, memory_order_acquire);
}

static void submit(struct writer *writer)
{
	atomic_store_explicit(&writer->submitted, writer->submitted + 1, memory_order_release);
	sem_post(&writer->work);
}

uint8_t *writer_record(struct writer *writer, size_t size)
{
	struct chunk *chunk = &writer->chunks[writer->submitted % writer->count];

	if (chunk->used + size > WRITER_CHUNK) {
		if (waiting(writer) + 1 == writer->count)
			return NULL; /* it is submitted when there is another one to fill */
		submit(writer);
		chunk = &writer->chunks[writer->submitted % writer->count];
		chunk->used = 0;
	}
	chunk->used += size;
	return chunk->data + chunk->used - size;
}

void writer_idle(struct writer *writer)
{
	struct chunk *chunk = &writer->chunks[writer->submitted % writer->count];

	if (chunk->used && !waiting(writer)) {
		submit(writer);
		writer->chunks[writer->submitted % writer->count].used = 0;
	}
}

bool writer_failed(const struct writer *writer)
{
	return atomic_load_explicit(&writer->error, memory_order_relaxed);
}

int writer_finish(struct writer *writer, uint64_t *frames)
{
	submit(writer); /* there is always one being filled */
	atomic_store(&writer->finished, true);
	sem_post(&writer->work);
	pthread_join(writer->thread, NULL);
	*frames = writer->frames;
	return writer->error;
}

int writer_close(struct writer *writer, const uint8_t *last, size_t size)
{
	bool failed = writer->error, cut = failed && writer->may_cut;
	size_t done;
	int err = writer->error;

	if (!failed || (cut && lseek(writer->fd, writer->end, SEEK_SET) >= 0)) {
		err = write_all(writer->fd, last, size, &done);
		if (!err)
			writer->end += (off_t)size;
		else
			cut = writer->may_cut; /* half an end block would be worse than none */
	}
	if (cut && ftruncate(writer->fd, writer->end) < 0)
		err = -errno;
	if (close(writer->fd) < 0 && !err)
		err = -errno;
	sem_destroy(&writer->work);
	for (uint32_t i = 0; i < writer->count; i++)
		free(writer->chunks[i].data);
	free(writer->chunks);
	free(writer);
	return err;
}
