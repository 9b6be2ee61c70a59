#include "contrib/apps/pktgen/receiver.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "contrib/apps/pktgen/frame.h"

#define BATCH      64
#define SILENCE_NS 10000000 /* of one sender before the next one is listened to */
/* Longer than anything waits on its way: the other machine's clock began at another time. */
#define MAX_LATENCY_NS (UINT64_C(60) * 1000000000)

void receiver_open(struct receiver *receiver)
{
	receiver->sequences = app_allocate(FRAME_FLOWS, sizeof(*receiver->sequences));
	receiver->latency = app_allocate(1, sizeof(*receiver->latency));
}

void receiver_close(struct receiver *receiver)
{
	free(receiver->sequences);
	free(receiver->latency);
}

static void forget_flows(struct receiver *receiver)
{
	memset(receiver->sequences, 0, receiver->flows * sizeof(*receiver->sequences));
	receiver->flows = 0;
	receiver->missing = 0;
}

void receiver_start(struct receiver *receiver, uint16_t run)
{
	forget_flows(receiver);
	memset(receiver->latency, 0, sizeof(*receiver->latency));
	receiver->total = (struct received){0};
	receiver->early_min = receiver->late_min = UINT64_MAX;
	receiver->early_end_ns = 0;
	receiver->late_begin_ns = UINT64_MAX;
	receiver->run = run;
	receiver->started = !receiver->any_run;
}

struct received receiver_total(const struct receiver *receiver)
{
	struct received total = receiver->total;

	for (uint32_t i = 0; i < receiver->flows; i++) {
		const struct sequence *sequence = &receiver->sequences[i];

		total.unique += sequence->received;
		total.lost += sequence_lost(sequence);
		total.reordered += sequence->reordered;
		total.duplicates += sequence->duplicates;
	}
	return total;
}

/* Another sender, or the same started again: what its predecessor came to is put aside. */
static void change_run(struct receiver *receiver, uint16_t run)
{
	receiver->total = receiver_total(receiver);
	forget_flows(receiver);
	receiver->run = run;
	receiver->started = true;
}

static void take_time(struct receiver *receiver, uint64_t sent_ns, uint64_t now_ns)
{
	uint64_t latency = now_ns - sent_ns;

	if (sent_ns > now_ns || latency > MAX_LATENCY_NS) {
		receiver->total.other_clock++;
		return;
	}
	histogram_add(receiver->latency, latency);
	if (sent_ns < receiver->early_end_ns && latency < receiver->early_min)
		receiver->early_min = latency;
	if (sent_ns >= receiver->late_begin_ns && latency < receiver->late_min)
		receiver->late_min = latency;
}

static void take(struct receiver *receiver, const struct pkt_buf *frame, uint64_t now_ns)
{
	struct received *total = &receiver->total;
	struct sequence *sequence;
	struct frame_stamp stamp;

	if (!frame_read_stamp(frame->data, frame->size, &stamp)) {
		total->other++;
		return;
	}
	if (!receiver->started || stamp.run != receiver->run) {
		if (!receiver->any_run || (receiver->started && now_ns - total->last_ns < SILENCE_NS)) {
			total->other++;
			return;
		}
		change_run(receiver, stamp.run);
	}
	/* PKT_TX_L4_CSUM: a local sender has left it to a NIC that is not there. */
	if (!(frame->flags & (PKT_RX_L4_CSUM_GOOD | PKT_TX_L4_CSUM)) && !frame_checksum_right(frame)) {
		total->bad_checksum++;
		return;
	}
	if (!total->frames)
		total->first_ns = now_ns;
	total->last_ns = now_ns;
	total->frames++;
	total->bytes += frame->frame_size;
	if (stamp.flow >= receiver->flows)
		receiver->flows = stamp.flow + 1u;
	sequence = &receiver->sequences[stamp.flow];
	receiver->missing -= sequence_lost(sequence);
	sequence_add(sequence, stamp.number);
	receiver->missing += sequence_lost(sequence);
	take_time(receiver, stamp.time_ns, now_ns);
}

bool receiver_step(struct receiver *receiver)
{
	struct pkt_buf *bufs[BATCH];
	bool any = false;

	for (uint16_t queue = 0; queue < ixy_rx_queues(receiver->dev); queue++) {
		uint32_t n = ixy_rx_batch(receiver->dev, queue, bufs, BATCH);
		uint64_t now, bytes = 0;

		if (!n)
			continue;
		any = true;
		now = app_now();
		for (uint32_t i = 0; i < n; i++) {
			take(receiver, bufs[i], now);
			bytes += bufs[i]->frame_size;
		}
		pkt_buf_free_batch(bufs, n);
		if (receiver->rate)
			app_set(receiver->rate, app_frames(receiver->rate) + n,
				atomic_load_explicit(&receiver->rate->bytes, memory_order_relaxed) + bytes,
				receiver->missing);
	}
	return any;
}
