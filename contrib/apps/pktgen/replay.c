#include "contrib/apps/pktgen/replay.h"

#include <net/ethernet.h>
#include <pcap/pcap.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "contrib/apps/pktgen/frame.h"

#define SECOND UINT64_C(1000000000)

static bool make_room(struct replay *replay, size_t *capacity, uint32_t size)
{
	if (replay->count == replay->room) {
		size_t room = replay->room ? 2 * replay->room : 1024;
		struct replay_frame *frames = realloc(replay->frames, room * sizeof(*frames));

		if (!frames)
			return false;
		replay->frames = frames;
		replay->room = room;
	}
	if (*capacity - replay->bytes < size) {
		size_t more = *capacity ? 2 * *capacity : (size_t)1 << 20;
		uint8_t *data = realloc(replay->data, more);

		if (!data)
			return false;
		replay->data = data;
		*capacity = more;
	}
	return true;
}

/* Captures have been put together from others: a time that goes back counts as no time. */
static uint64_t time_of(const struct replay *replay, const struct pcap_pkthdr *header, uint64_t *first)
{
	uint64_t time = (uint64_t)header->ts.tv_sec * SECOND + (uint64_t)header->ts.tv_usec; /* nanoseconds */
	uint64_t last = replay->count ? replay->frames[replay->count - 1].time_ns : 0;

	if (!replay->count)
		*first = time;
	return time > *first + last ? time - *first : last;
}

int replay_open(struct replay *replay, const char *path, char error[256])
{
	pcap_t *pcap = pcap_open_offline_with_tstamp_precision(path, PCAP_TSTAMP_PRECISION_NANO, error);
	struct pcap_pkthdr *header;
	const uint8_t *data;
	size_t capacity = 0;
	uint64_t first = 0;
	int rc;

	_Static_assert(PCAP_ERRBUF_SIZE <= 256, "room for libpcap's words");
	*replay = (struct replay){0};
	if (!pcap)
		return -1;
	if (pcap_datalink(pcap) != DLT_EN10MB) {
		snprintf(error, 256, "%s: not a capture of Ethernet frames", path);
		goto fail;
	}
	while ((rc = pcap_next_ex(pcap, &header, &data)) == 1) {
		if (header->caplen < header->len || header->len < sizeof(struct ether_header) ||
			header->len > FRAME_MAX - FRAME_CRC) {
			replay->skipped++;
			continue;
		}
		if (!make_room(replay, &capacity, header->len)) {
			snprintf(error, 256, "%s: out of memory", path);
			goto fail;
		}
		memcpy(replay->data + replay->bytes, data, header->len);
		replay->frames[replay->count] = (struct replay_frame){.offset = replay->bytes,
			.size = header->len,
			.time_ns = time_of(replay, header, &first)};
		replay->count++;
		replay->bytes += header->len;
		if (header->len > replay->longest)
			replay->longest = header->len;
	}
	if (rc == PCAP_ERROR) {
		snprintf(error, 256, "%s: %s", path, pcap_geterr(pcap));
		goto fail;
	}
	if (!replay->count) {
		snprintf(error, 256, "%s: no whole frame in it", path);
		goto fail;
	}
	pcap_close(pcap);
	return 0;
fail:
	pcap_close(pcap);
	replay_close(replay);
	return -1;
}

void replay_close(struct replay *replay)
{
	free(replay->frames);
	free(replay->data);
	*replay = (struct replay){0};
}

uint64_t replay_period_ns(const struct replay *replay)
{
	uint64_t length = replay->frames[replay->count - 1].time_ns;

	return length + (replay->count > 1 ? length / (replay->count - 1) : 0);
}
