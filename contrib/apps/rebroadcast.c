/*
 * Send what an interface receives to everybody there: each frame goes back out with the broadcast address as its
 * destination. The example for the endpoint, which reads and writes frames as one does with a file, the rings
 * and the program behind it.
 *
 * Frames that are broadcasts already are left out, or two such programs on one cable would never come to rest.
 */
#include <errno.h>
#include <net/ethernet.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "contrib/apps/app.h"
#include "driver/xdp/endpoint.h"

static uint64_t count, queue;

static const struct app_option options[] = {
	{'n', "count", "N", "end after so many frames", APP_NUMBER, &count, 0, 0, NULL},
	{'q', "queue", "N", "queue of the interface", APP_NUMBER, &queue, 0, 1023, NULL},
	APP_COMMON_OPTIONS,
};

static const struct app app = {
	.about = "Send each frame that an interface receives back out there as a broadcast.",
	.arguments = "IFNAME",
	.least = 1,
	.most = 1,
	.example = "--time 10s eth1",
	.options = options,
};

static struct app_rate sent = {.name = "rebroadcast"}, *rates[] = {&sent, NULL};

/* Whatever happens to the interface, go on: it may come back. */
static bool passing(int error)
{
	return error == -EINTR || error == -ETIMEDOUT || error == -ENETDOWN;
}

static void rebroadcast(struct xsk_endpoint *endpoint, uint8_t *frame, uint32_t length)
{
	int result;

	memset(frame, 0xff, ETH_ALEN);
	do
		result = xsk_endpoint_write(endpoint, frame, length, 1000);
	while (result == -EINTR && app_running());
	if (!result)
		app_count(&sent, 1, length);
	else if (passing(result) || result == -EMSGSIZE)
		app_drop(&sent, 1);
	else
		app_check(result);
}

int main(int argc, char **argv)
{
	static const uint8_t everybody[ETH_ALEN] = {0xff, 0xff, 0xff, 0xff, 0xff, 0xff};
	char **ifnames = app_begin(&app, argc, argv);
	struct xsk_endpoint_config config = {.ifname = ifnames[0], .queue_id = (uint32_t)queue};
	struct xsk_endpoint *endpoint;
	uint8_t *frame;
	uint32_t size;

	app_check(xsk_endpoint_open(&config, &endpoint));
	printf("%s: %s\n", ifnames[0], xsk_mode_name(xsk_endpoint_mode(endpoint)));
	size = xsk_endpoint_max_frame(endpoint);
	frame = malloc(size);
	if (!frame) {
		perror("rebroadcast");
		return 1;
	}

	app_rates(rates);
	while (app_running() && (!count || app_frames(&sent) < count)) {
		int length = xsk_endpoint_read(endpoint, frame, size, 1000);

		if (length >= ETH_HLEN && memcmp(frame, everybody, ETH_ALEN))
			rebroadcast(endpoint, frame, (uint32_t)length);
		else if (!passing(length))
			app_check(length);
	}
	app_end();
	xsk_endpoint_close(endpoint);
	free(frame);
	return 0;
}
