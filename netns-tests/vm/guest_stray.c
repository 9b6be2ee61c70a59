/*
 * Runs in the guest: send a frame whose buffer's device address is a physical one, in the middle of the guest's memory.
 * Without an IOMMU whatever lies there would go out on the wire.
 *
 *	guest_stray DEVICE
 */
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "driver/ixy.h"

#define SOMEWHERE (256u << 20)

static void pause_ms(long ms)
{
	nanosleep(&(struct timespec){.tv_sec = ms / 1000, .tv_nsec = ms % 1000 * 1000000}, NULL);
}

int main(int argc, char *argv[])
{
	struct ixy_device *dev;
	struct mempool *pool;
	struct pkt_buf *buf;

	if (argc != 2 || ixy_open(argv[1], NULL, &dev) < 0) {
		fprintf(stderr, "%s\n", argc == 2 ? ixy_last_error() : "usage: guest_stray DEVICE");
		return 1;
	}
	for (unsigned i = 0; i < 1000 && !ixy_link_get(dev).up; i++) {
		ixy_poll_events(dev);
		pause_ms(10);
	}
	pool = ixy_mempool_create(dev, 16, 0);
	buf = pool ? pkt_buf_alloc(pool) : NULL;
	if (!buf || !ixy_link_get(dev).up)
		return 2;
	memset(buf->data, 0xFF, 60);
	buf->size = buf->frame_size = 60;
	buf->iova_offset += SOMEWHERE - pkt_buf_data_iova(buf);
	ixy_tx_batch(dev, 0, &buf, 1);
	pause_ms(200);
	ixy_stop(dev);
	ixy_mempool_free(pool);
	ixy_close(dev);
	return 0;
}
