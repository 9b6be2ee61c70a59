#include "contrib/apps/pktgen/sender.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "contrib/apps/app_device.h"

#define DEFAULT_RING 512

uint32_t sender_buffers(uint32_t batch, uint32_t ring)
{
	/* A frame may have two descriptors (a context), never less than one; and a batch waits outside of the ring. */
	return (ring ? ring : DEFAULT_RING) + 2 * batch;
}

int sender_open(struct sender *sender, const struct frame_config *frames, uint32_t ring)
{
	uint32_t longest =
		sender->replay ? sender->replay->longest : sizes_longest(&sender->sizes) - FRAME_CRC;

	sender->pool = ixy_mempool_create(
		sender->dev, sender_buffers(sender->batch, ring), longest > PKT_BUF_DATA_SIZE ? longest : 0);
	if (!sender->pool)
		return errno ? -errno : -ENOMEM;
	sender->holds = app_allocate(sender->pool->buf_count, sizeof(*sender->holds));
	sender->flows = frames ? frames->flows : 1;
	sender->numbers = app_allocate(sender->flows, sizeof(*sender->numbers));
	for (unsigned i = 0; frames && i < sender->sizes.count; i++)
		frame_template_init(&sender->templates[i], frames, sender->sizes.of[i].size - FRAME_CRC);
	return 0;
}

void sender_close(struct sender *sender)
{
	app_check_device(ixy_mempool_free(sender->pool));
	free(sender->holds);
	free(sender->numbers);
}

static uint64_t device_drops(const struct sender *sender)
{
	struct ixy_stats stats;

	ixy_read_stats(sender->dev, &stats);
	return app_sum_drops(stats.drops, "tx-");
}

uint64_t sender_dropped(const struct sender *sender)
{
	return device_drops(sender) - sender->drops_before;
}

void sender_start(struct sender *sender, const struct schedule_config *schedule, uint64_t limit, uint16_t run)
{
	sender->run = run;
	sender->flow = 0;
	memset(sender->numbers, 0, sender->flows * sizeof(*sender->numbers));
	for (unsigned i = 0; i < sender->sizes.count; i++)
		sender->sizes.of[i].credit = 0;
	sender->replay_next = 0;
	sender->replay_rounds = 0;
	sender->limit = limit;
	sender->over = sender->blocked = false;
	sender->held_up_ns = 0;
	sender->made = sender->frames = sender->bytes = 0;
	sender->first_ns = sender->last_ns = 0;
	sender->drops_before = device_drops(sender);
	schedule_start(&sender->schedule, schedule, app_now());
}

/* --- making frames -------------------------------------------------------------------------------------- */

static void make_numbered(struct sender *sender, struct pkt_buf *buf, uint64_t now_ns)
{
	unsigned kind = sizes_next(&sender->sizes);
	const struct frame_template *template = &sender->templates[kind];
	struct frame_stamp stamp = {.run = sender->run,
		.flow = (uint16_t)sender->flow,
		.number = sender->numbers[sender->flow]++,
		.time_ns = now_ns};

	if (++sender->flow == sender->flows)
		sender->flow = 0;
	/* A buffer keeps what was in it, so mostly its headers are there from the last time. */
	if (sender->holds[buf->index] != kind + 1) {
		frame_prepare(template, buf);
		sender->holds[buf->index] = (uint8_t)(kind + 1);
	}
	frame_stamp(template, buf, &stamp);
}

static void make_replayed(struct sender *sender, struct pkt_buf *buf)
{
	const struct replay *replay = sender->replay;
	const struct replay_frame *frame = &replay->frames[sender->replay_next];

	memcpy(buf->data, replay->data + frame->offset, frame->size);
	buf->size = buf->frame_size = frame->size;
	if (++sender->replay_next == replay->count) {
		sender->replay_next = 0;
		sender->replay_rounds++;
	}
}

static void advance(struct sender *sender, uint32_t size)
{
	const struct replay *replay = sender->replay;

	if (sender->schedule.config.unit == SCHEDULE_TIMES)
		schedule_at(&sender->schedule, sender->replay_rounds * replay_period_ns(replay) +
						       replay->frames[sender->replay_next].time_ns);
	else
		schedule_advance(&sender->schedule, size + FRAME_WIRE);
}

static uint32_t make(struct sender *sender, uint64_t now_ns)
{
	uint64_t left = sender->limit ? sender->limit - sender->made : UINT64_MAX;
	uint32_t wanted = left < sender->batch ? (uint32_t)left : sender->batch, count = 0;
	uint64_t late;

	if (sender->over || !wanted || !schedule_due(&sender->schedule, now_ns))
		return 0;
	late = schedule_catch_up(&sender->schedule, now_ns);
	if (!sender->blocked)
		sender->held_up_ns += late;
	sender->blocked = false;
	while (count < wanted && schedule_due(&sender->schedule, now_ns)) {
		struct pkt_buf *buf = pkt_buf_alloc(sender->pool);

		if (!buf)
			break;
		if (sender->replay)
			make_replayed(sender, buf);
		else
			make_numbered(sender, buf, now_ns);
		sender->ready[count++] = buf;
		advance(sender, buf->size);
	}
	sender->made += count;
	return count;
}

/* --- sending -------------------------------------------------------------------------------------------- */

bool sender_step(struct sender *sender)
{
	uint64_t now = app_now(), bytes = 0;
	uint32_t sent;
	bool made = false;

	if (!sender->count) {
		sender->first = 0;
		sender->count = make(sender, now);
		made = sender->count;
	}
	for (uint32_t i = 0; i < sender->count; i++)
		bytes += sender->ready[sender->first + i]->frame_size;
	/* Also without a frame: buffers of those that have left come back by it. */
	sent = ixy_tx_batch(sender->dev, 0, sender->ready + sender->first, sender->count);
	sender->first += sent;
	sender->count -= sent;
	sender->blocked |= sender->count > 0;
	/* What was taken is no longer ours to look at, so it is what is left that is taken off. */
	for (uint32_t i = 0; i < sender->count; i++)
		bytes -= sender->ready[sender->first + i]->frame_size;
	if (!sent)
		return made;
	if (!sender->frames)
		sender->first_ns = now;
	sender->last_ns = now;
	sender->frames += sent;
	sender->bytes += bytes;
	if (sender->rate)
		app_count(sender->rate, sent, bytes);
	return true;
}

void sender_end(struct sender *sender)
{
	uint64_t now = app_now();

	/* Time in which nothing went although it was due is part of the rate. */
	if (!sender_done(sender) && sender->frames && schedule_due(&sender->schedule, now))
		sender->last_ns = now;
	sender->over = true;
	pkt_buf_free_batch(sender->ready + sender->first, sender->count);
	sender->made -= sender->count;
	sender->count = 0;
}

double sender_achieved(const struct sender *sender)
{
	uint64_t time = sender->last_ns - sender->first_ns;

	return sender->frames > 1 && time ? (double)(sender->frames - 1) * 1e9 / (double)time : 0;
}
