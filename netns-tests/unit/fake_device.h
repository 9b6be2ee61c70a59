/*
 * An ixy device that a test plays: it receives what the test queues, keeps what is sent, and remembers what it
 * was told. One queue. All of it is under one lock, so that a worker's thread may use it beside the test's.
 */
#ifndef UNIT_FAKE_DEVICE_H
#define UNIT_FAKE_DEVICE_H

#include <pthread.h>
#include <stdbool.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "fake_pci.h"

#define FAKE_FRAMES 4096

struct fake_device {
	struct ixy_device dev;
	struct fake_pci pci;
	pthread_mutex_t lock;
	int irq_fd; /* -1: no interrupts */

	struct pkt_buf *rx[FAKE_FRAMES]; /* received frames that wait, rx[rx_first .. rx_last - 1] */
	unsigned rx_first, rx_last;
	struct mempool *flood; /* and always one more, of this pool, which is the worker's then */
	bool armed;
	unsigned arms;
	struct pkt_buf *rx_on_arm; /* arrives just before the next arming, and so raises no interrupt */

	unsigned tx_room; /* frames that the ring takes yet */
	unsigned tx_count, tx_in_ring;
	struct {
		uint32_t size;
		uint16_t segments;
		uint8_t start[64]; /* of the frame */
	} tx[FAKE_FRAMES];

	/* What it was told, and how often. */
	bool up, promisc, allmulti;
	unsigned ups, mtus, macs, promiscs, allmultis, multicasts;
	struct ixy_mac groups[64];
	size_t group_count;
	int refuse; /* errno that the setters fail with */
};

static inline struct fake_device *fake_of(const struct ixy_device *dev)
{
	return (struct fake_device *)dev;
}

static uint32_t fake_rx_batch(struct ixy_device *dev, uint16_t queue, struct pkt_buf *bufs[], uint32_t count)
{
	struct fake_device *f = fake_of(dev);
	uint32_t n = 0;

	(void)queue;
	pthread_mutex_lock(&f->lock);
	while (n < count && f->rx_first < f->rx_last)
		bufs[n++] = f->rx[f->rx_first++];
	if (f->flood && n < count && (bufs[n] = pkt_buf_alloc(f->flood))) {
		memset(bufs[n]->data, 0x5A, 60);
		bufs[n]->size = bufs[n]->frame_size = 60;
		n++;
	}
	pthread_mutex_unlock(&f->lock);
	return n;
}

static uint32_t fake_tx_batch(struct ixy_device *dev, uint16_t queue, struct pkt_buf *bufs[], uint32_t count)
{
	struct fake_device *f = fake_of(dev);
	uint32_t n = 0;

	(void)queue;
	pthread_mutex_lock(&f->lock);
	for (; n < count && f->tx_room > 0; n++, f->tx_room--) {
		const struct pkt_buf *frame = bufs[n];

		f->tx[f->tx_count].size = frame->frame_size;
		f->tx[f->tx_count].segments = frame->segments;
		memcpy(f->tx[f->tx_count++].start, frame->data, frame->size < 64 ? frame->size : 64);
		pkt_buf_free(bufs[n]);
	}
	pthread_mutex_unlock(&f->lock);
	return n;
}

static uint32_t fake_tx_pending(struct ixy_device *dev, uint16_t queue)
{
	(void)queue;
	return fake_of(dev)->tx_in_ring;
}

static int fake_rx_irq_fd(const struct ixy_device *dev, uint16_t queue)
{
	(void)queue;
	return fake_of(dev)->irq_fd < 0 ? -ENOTSUP : fake_of(dev)->irq_fd;
}

static void fake_rx_irq_arm(struct ixy_device *dev, uint16_t queue)
{
	struct fake_device *f = fake_of(dev);
	eventfd_t value;

	(void)queue;
	pthread_mutex_lock(&f->lock);
	if (f->rx_on_arm)
		f->rx[f->rx_last++] = f->rx_on_arm;
	f->rx_on_arm = NULL;
	eventfd_read(f->irq_fd, &value);
	f->armed = true;
	f->arms++;
	pthread_mutex_unlock(&f->lock);
}

static int fake_event_fd(const struct ixy_device *dev)
{
	(void)dev;
	return -ENOTSUP;
}

static int fake_set_up(struct ixy_device *dev, bool up)
{
	struct fake_device *f = fake_of(dev);

	f->ups++;
	f->up = up;
	return -f->refuse;
}

static int fake_mac_set(struct ixy_device *dev, struct ixy_mac mac)
{
	fake_of(dev)->macs++;
	if (!fake_of(dev)->refuse)
		dev->mac = mac;
	return -fake_of(dev)->refuse;
}

static int fake_mtu_set(struct ixy_device *dev, uint16_t mtu)
{
	fake_of(dev)->mtus++;
	if (!fake_of(dev)->refuse)
		__atomic_store_n(&dev->mtu, mtu, __ATOMIC_RELAXED);
	return -fake_of(dev)->refuse;
}

static int fake_set_promisc(struct ixy_device *dev, bool on)
{
	fake_of(dev)->promiscs++;
	fake_of(dev)->promisc = on;
	return 0;
}

static int fake_set_allmulti(struct ixy_device *dev, bool on)
{
	fake_of(dev)->allmultis++;
	fake_of(dev)->allmulti = on;
	return 0;
}

static int fake_set_multicast(struct ixy_device *dev, const struct ixy_mac macs[], size_t count)
{
	struct fake_device *f = fake_of(dev);

	f->multicasts++;
	f->group_count = count;
	memcpy(f->groups, macs, (count < 64 ? count : 64) * sizeof(macs[0]));
	return 0;
}

static void fake_read_stats(const struct ixy_device *dev, struct ixy_stats *stats)
{
	(void)dev;
	stats->wire_rx_frames = 7;
	stats->drops[IXY_DROP_RX_NO_DESCRIPTOR] = 3;
}

static void fake_read_queue_stats(const struct ixy_device *dev, uint16_t queue, struct ixy_queue_stats *stats)
{
	(void)queue;
	stats->tx_frames = fake_of(dev)->tx_count;
}

static const struct ixy_device_ops fake_device_ops = {
	.rx_batch = fake_rx_batch,
	.tx_batch = fake_tx_batch,
	.tx_pending = fake_tx_pending,
	.rx_irq_fd = fake_rx_irq_fd,
	.rx_irq_arm = fake_rx_irq_arm,
	.event_fd = fake_event_fd,
	.set_up = fake_set_up,
	.mac_set = fake_mac_set,
	.mtu_set = fake_mtu_set,
	.set_promisc = fake_set_promisc,
	.set_allmulti = fake_set_allmulti,
	.set_multicast = fake_set_multicast,
	.read_stats = fake_read_stats,
	.read_queue_stats = fake_read_queue_stats,
};

/* Up, with its cable in, MTU 1500, MAC 02:00:00:00:00:01, and room for all that is sent. */
static inline void fake_device_init(struct fake_device *f)
{
	memset(f, 0, sizeof(*f));
	fake_pci_init(&f->pci, DMA_IOVA_VA);
	f->dev = (struct ixy_device){
		.ops = &fake_device_ops,
		.driver_name = "fake",
		.name = "fake:0",
		.rx_queues = 1,
		.tx_queues = 1,
		.capabilities = IXY_CAP_INTERRUPTS,
		.mtu = 1500,
		.max_mtu = 9710,
		.mac = {{2, 0, 0, 0, 0, 1}},
		.link = {true, 10000},
		.pci = &f->pci.pci,
	};
	pthread_mutex_init(&f->lock, NULL);
	f->irq_fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
	f->up = true;
	f->tx_room = FAKE_FRAMES;
}

static inline void fake_device_close(struct fake_device *f)
{
	if (f->irq_fd >= 0)
		close(f->irq_fd);
	pthread_mutex_destroy(&f->lock);
}

/* Let frames arrive; an armed interrupt is raised. */
static inline void fake_device_receive(struct fake_device *f, struct pkt_buf *frames[], unsigned count)
{
	pthread_mutex_lock(&f->lock);
	for (unsigned i = 0; i < count; i++)
		f->rx[f->rx_last++] = frames[i];
	if (f->armed && f->irq_fd >= 0)
		eventfd_write(f->irq_fd, 1);
	f->armed = false;
	pthread_mutex_unlock(&f->lock);
}

/* How many frames have been sent. */
static inline unsigned fake_device_sent(struct fake_device *f)
{
	unsigned count;

	pthread_mutex_lock(&f->lock);
	count = f->tx_count;
	pthread_mutex_unlock(&f->lock);
	return count;
}

#endif
