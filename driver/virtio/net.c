/*
 * The life of a virtio NIC. Read this file first: net_open() takes a PCI function and learns what the device can do,
 * start() brings it up in the order that the standard gives (virtio 1.2, 3.1.1 and 5.1.5), stop() takes it down. A
 * reset is a stop and a start; the settings live in struct net_device and survive it.
 */
#include "driver/virtio/net.h"

#include <endian.h>
#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

/* --- the link --------------------------------------------------------------------------------------- */

/* Without STATUS a link is always up; with SPEED_DUPLEX the device may say how fast (5.1.4.2). */
static bool link_poll(struct net_device *dev)
{
	struct ixy_link link = {.up = dev->live && dev->up}, before = dev->ixy.link;

	if (link.up && virtio_has(dev->virtio, VIRTIO_NET_F_STATUS))
		link.up = NET_CONFIG(dev, status) & VIRTIO_NET_S_LINK_UP;
	if (link.up && virtio_has(dev->virtio, VIRTIO_NET_F_SPEED_DUPLEX))
		link.speed = NET_CONFIG(dev, speed);
	if (link.speed > INT_MAX) /* unknown */
		link.speed = 0;
	__atomic_store_n(&dev->ixy.link.speed, link.speed, __ATOMIC_RELAXED);
	__atomic_store_n(&dev->ixy.link.up, link.up, __ATOMIC_RELAXED);
	if (link.up != before.up)
		stat_add(&dev->link_changes, 1);
	return link.up != before.up || link.speed != before.speed;
}

/* --- memory of the rings ------------------------------------------------------------------------------ */

static size_t ring_align(const struct net_device *dev)
{
	return dev->virtio->modern ? 64 : VIRTIO_LEGACY_ALIGN;
}

/*
 * A place for size bytes behind *end, in one piece for the device: on its own page, and not across two huge ones,
 * which is where memory may be in pieces. Without a region yet it is only counted.
 */
static uint8_t *place(const struct net_device *dev, size_t *end, size_t size)
{
	size_t at = (*end + VIRTIO_LEGACY_ALIGN - 1) & ~(size_t)(VIRTIO_LEGACY_ALIGN - 1);

	if (at / DMA_HUGE_PAGE != (at + size - 1) / DMA_HUGE_PAGE)
		at = (at / DMA_HUGE_PAGE + 1) * DMA_HUGE_PAGE;
	*end = at + size;
	return dev->memory ? dev->memory->virt + at : NULL;
}

/* Where everything lies; called twice, before and after there is memory. Returns how much it takes. */
static size_t lay_out(struct net_device *dev)
{
	const size_t align = ring_align(dev);
	const size_t tables = virtqueue_indirect_bytes(dev->tx_size);
	size_t end = 0;
	uint16_t n = 0;

	for (uint16_t i = 0; i < dev->ixy.rx_queues; i++) {
		dev->rings[n++] = place(dev, &end, virtqueue_bytes(dev->rx_size, align));
		dev->rings[n++] = place(dev, &end, virtqueue_bytes(dev->tx_size, align));
		if (net_wants(dev, VIRTIO_RING_F_INDIRECT_DESC) && tables <= DMA_HUGE_PAGE)
			dev->tx[i].tables = place(dev, &end, tables);
	}
	if (net_wants(dev, VIRTIO_NET_F_CTRL_VQ))
		dev->rings[n++] = place(dev, &end, virtqueue_bytes(dev->ctrl.size, align));
	dev->ctrl.memory = (struct net_ctrl_memory *)(void *)place(dev, &end, sizeof(*dev->ctrl.memory));
	dev->zero_header = place(dev, &end, NET_HEADER_SIZE);
	return end;
}

static int alloc_memory(struct net_device *dev)
{
	int err = dma_alloc(dev->ixy.pci, lay_out(dev), &dev->memory);

	if (err)
		return err;
	lay_out(dev);
	for (uint16_t i = 0; i < dev->ixy.rx_queues && !err; i++) {
		err = net_rx_alloc(dev, i);
		if (!err)
			err = net_tx_alloc(dev, i);
	}
	return err;
}

static void free_memory(struct net_device *dev)
{
	for (uint16_t i = 0; i < dev->ixy.rx_queues; i++) {
		net_rx_free(dev, i);
		net_tx_free(dev, i);
	}
	dma_free(dev->ixy.pci, dev->memory);
	dev->memory = NULL;
}

/* --- interrupts: vector 0 for changes of configuration, 1 + q for receive queue q ---------------------------- */

static int irq_open(struct net_device *dev)
{
	const uint32_t n = dev->ixy.rx_queues;

	dev->event_fd = -1;
	for (uint32_t i = 0; i < n; i++)
		dev->rx[i].irq_fd = -1;
	if (!dev->interrupts)
		return 0;
	dev->event_fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
	for (uint32_t i = 0; i < n && dev->event_fd >= 0; i++) {
		dev->rx[i].irq_fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
		if (dev->rx[i].irq_fd < 0)
			return ixy_fail(errno, "%s: no eventfd for interrupts: %m", dev->ixy.name);
	}
	return dev->event_fd < 0 ? ixy_fail(errno, "%s: no eventfd for interrupts: %m", dev->ixy.name) : 0;
}

static void irq_close(struct net_device *dev)
{
	if (dev->event_fd >= 0)
		close(dev->event_fd);
	for (uint32_t i = 0; i < dev->ixy.rx_queues; i++) {
		if (dev->rx[i].irq_fd >= 0)
			close(dev->rx[i].irq_fd);
	}
}

static int irq_start(struct net_device *dev)
{
	int fds[1 + IXY_MAX_QUEUES];
	int err;

	if (!dev->interrupts)
		return 0;
	fds[0] = dev->event_fd;
	for (uint32_t i = 0; i < dev->ixy.rx_queues; i++)
		fds[1 + i] = dev->rx[i].irq_fd;
	err = dev->ixy.pci->ops->irq_set(dev->ixy.pci, 1u + dev->ixy.rx_queues, fds);
	return err ? err : virtio_config_vector(dev->virtio, 0);
}

static int net_event_fd(const struct ixy_device *ixy)
{
	return net_device_const(ixy)->event_fd;
}

/* --- up and down -------------------------------------------------------------------------------------- */

static int queue_start(struct net_device *dev, struct virtqueue *vq, uint16_t index, uint16_t size,
	uint8_t *ring, uint16_t vector)
{
	int err = virtqueue_init(vq, size, ring, ring_align(dev), dev->virtio->features);

	return err ? ixy_fail_context(err, "%s: queue %u", dev->ixy.name, index)
		   : virtio_queue_set_up(dev->virtio, index, vq, dma_iova(dev->memory, ring), vector);
}

/* All rings, empty. */
static int queues_start(struct net_device *dev)
{
	uint8_t **ring = dev->rings;
	int err = 0;

	for (uint16_t i = 0; i < dev->ixy.rx_queues && !err; i++) {
		struct net_rx_queue *rx = &dev->rx[i];
		struct net_tx_queue *tx = &dev->tx[i];

		rx->index = (uint16_t)(2 * i);
		tx->index = (uint16_t)(2 * i + 1);
		err = queue_start(dev, &rx->vq, rx->index, dev->rx_size, *ring++,
			dev->interrupts ? (uint16_t)(1 + i) : VIRTIO_NO_VECTOR);
		if (!err)
			err = queue_start(dev, &tx->vq, tx->index, dev->tx_size, *ring++, VIRTIO_NO_VECTOR);
		if (!err && tx->tables)
			virtqueue_set_indirect(&tx->vq, tx->tables, dma_iova(dev->memory, tx->tables));
	}
	if (!err && net_wants(dev, VIRTIO_NET_F_CTRL_VQ)) {
		dev->ctrl.unanswered = false;
		err = queue_start(
			dev, &dev->ctrl.vq, dev->ctrl.index, dev->ctrl.size, *ring, VIRTIO_NO_VECTOR);
	}
	return err;
}

int net_negotiate(struct net_device *dev)
{
	int err;

	dev->begun = true;
	err = virtio_negotiate(dev->virtio, dev->wanted);
	if (!err && (dev->virtio->features & dev->wanted) != dev->wanted)
		err = ixy_fail(EPROTO, "%s: the device does not offer any more what it did", dev->ixy.name);
	return err;
}

/* 3.1.1, from behind the negotiation of features on; on failure the caller stops the device again. */
static int start(struct net_device *dev)
{
	int err = irq_start(dev);

	if (!err)
		err = queues_start(dev);
	if (!err)
		err = virtio_start(dev->virtio);
	if (err)
		return err;
	dev->live = true;
	for (uint16_t i = 0; i < dev->ixy.rx_queues; i++) {
		net_rx_start(dev, i);
		dev->tx[i].running = true;
	}
	err = net_ctrl_start(dev);
	if (!err)
		link_poll(dev);
	return err;
}

static void link_down(struct net_device *dev)
{
	__atomic_store_n(&dev->ixy.link.up, false, __ATOMIC_RELAXED);
	__atomic_store_n(&dev->ixy.link.speed, 0, __ATOMIC_RELAXED);
}

/* No frame comes any more; what has come lies in the rings yet. */
static int quiet(struct net_device *dev)
{
	int err = 0;

	for (uint16_t i = 0; i < dev->ixy.rx_queues; i++) {
		__atomic_store_n(&dev->rx[i].running, false, __ATOMIC_RELAXED);
		__atomic_store_n(&dev->tx[i].running, false, __ATOMIC_RELAXED);
	}
	if (dev->begun && !dev->gone)
		err = virtio_reset(dev->virtio);
	dev->begun = dev->live = false;
	link_down(dev);
	return err;
}

/*
 * Everything off, and every buffer back from the rings. Works on a device in any state, also on one that has gone.
 * Leaves ixy_last_error() as it is, because what comes before a stop is often the failure that matters. Returns what
 * its reset came to.
 */
static int stop(struct net_device *dev, bool for_good)
{
	struct ixy_error error;
	int err;

	ixy_error_save(&error);
	err = quiet(dev);
	pci_bus_master(dev->ixy.pci, false);
	if (dev->interrupts)
		dev->ixy.pci->ops->irq_set(dev->ixy.pci, 0, NULL);
	for (uint16_t i = 0; i < dev->ixy.rx_queues; i++) {
		net_rx_empty(dev, i, for_good ? IXY_DROP_SHUTDOWN : IXY_DROP_RX_RESET);
		net_tx_empty(dev, i, for_good ? IXY_DROP_SHUTDOWN : IXY_DROP_TX_RESET);
	}
	virtqueue_free(&dev->ctrl.vq);
	ixy_error_restore(&error);
	return err;
}

static void net_shut(struct ixy_device *ixy)
{
	quiet(net_device(ixy));
}

static void net_stop(struct ixy_device *ixy)
{
	stop(net_device(ixy), true);
}

static int net_reset(struct ixy_device *ixy)
{
	struct net_device *dev = net_device(ixy);
	int err;

	if (dev->gone)
		return ixy_fail(ENODEV, "%s: the device has gone", ixy->name);
	err = stop(dev, false);
	stat_add(&dev->resets, 1);
	if (err)
		return ixy_fail(-err, "%s: the device does not finish its reset", ixy->name);
	err = net_negotiate(dev);
	if (!err)
		err = start(dev);
	if (err)
		stop(dev, true);
	return err;
}

/* A virtual cable cannot be pulled by us: down means that nothing is sent, and what comes is thrown away. */
static int net_set_up(struct ixy_device *ixy, bool up)
{
	__atomic_store_n(&net_device(ixy)->up, up, __ATOMIC_RELAXED);
	link_poll(net_device(ixy));
	return 0;
}

static int net_mtu_set(struct ixy_device *ixy, uint16_t mtu)
{
	__atomic_store_n(&ixy->mtu, mtu, __ATOMIC_RELAXED);
	return 0;
}

/* --- housekeeping ------------------------------------------------------------------------------------- */

void net_queue_broke(struct net_device *dev, bool *broken, const char *reason)
{
	if (*broken)
		return;
	ixy_log(IXY_LOG_WARNING, "%s: %s", dev->ixy.name, reason ? reason : ixy_last_error());
	__atomic_store_n(broken, true, __ATOMIC_RELEASE);
	/* A full counter is a signal, too. */
	if (dev->event_fd >= 0 && eventfd_write(dev->event_fd, 1) < 0)
		return;
}

/* The device's status, and where it was read from. */
struct status_look {
	struct virtio_device *virtio;
	uint8_t status;
};

static bool silent(void *arg)
{
	struct status_look *look = arg;

	look->status = virtio_status(look->virtio);
	return look->status == VIRTIO_GONE;
}

/* All-ones from the status: what poll_events() has to say, 0 if look->status is one again. */
static uint32_t look_after_silent(struct net_device *dev, struct status_look *look)
{
	int rc = pci_look_after_silent(dev->ixy.pci, silent, look);

	dev->gone = rc < 0;
	return rc < 0 ? IXY_EVENT_GONE : rc > 0 ? IXY_EVENT_RESET : 0;
}

static bool any_queue_broken(const struct net_device *dev)
{
	if (virtqueue_broken(&dev->ctrl.vq))
		return true;
	for (uint16_t i = 0; i < dev->ixy.rx_queues; i++) {
		if (__atomic_load_n(&dev->rx[i].broken, __ATOMIC_ACQUIRE) ||
			__atomic_load_n(&dev->tx[i].broken, __ATOMIC_ACQUIRE))
			return true;
	}
	return false;
}

static uint32_t net_poll_events(struct ixy_device *ixy)
{
	struct net_device *dev = net_device(ixy);
	struct status_look look = {.virtio = dev->virtio};
	uint32_t events = 0;
	eventfd_t signals;

	if (dev->gone) {
		ixy_fail(ENODEV, "%s: the device was removed", ixy->name);
		return IXY_EVENT_GONE;
	}
	if (!dev->live)
		return pci_removed(ixy->pci) ? IXY_EVENT_GONE : 0;
	if (dev->interrupts && eventfd_read(dev->event_fd, &signals) < 0)
		signals = 0; /* there was none, which is as good */
	if (silent(&look))
		events = look_after_silent(dev, &look);
	else if (pci_removed(ixy->pci)) /* its registers answer yet, so it is stopped in order */
		events = IXY_EVENT_GONE;
	if (events & IXY_EVENT_GONE)
		link_down(dev);
	if (events)
		return events;
	if (look.status & VIRTIO_CONFIG_S_NEEDS_RESET || !(look.status & VIRTIO_CONFIG_S_DRIVER_OK)) {
		ixy_log(IXY_LOG_WARNING, "%s: %s", ixy->name,
			look.status & VIRTIO_CONFIG_S_NEEDS_RESET ? "the device says that it needs a reset"
								  : "somebody else has reset it");
		return IXY_EVENT_RESET;
	}
	if (any_queue_broken(dev))
		return IXY_EVENT_RESET;
	return link_poll(dev) ? IXY_EVENT_LINK : 0;
}

/* --- statistics --------------------------------------------------------------------------------------- */

static void net_read_queue_stats(const struct ixy_device *ixy, uint16_t queue, struct ixy_queue_stats *stats)
{
	const struct net_device *dev = net_device_const(ixy);

	ixy_add_queue_stats(stats, &dev->rx[queue].stats);
	ixy_add_queue_stats(stats, &dev->tx[queue].stats);
}

/* The wire begins at the device: what it handed over, and what it took. It does not tell what it has dropped itself. */
static void net_read_stats(const struct ixy_device *ixy, struct ixy_stats *stats)
{
	const struct net_device *dev = net_device_const(ixy);

	stats->resets = __atomic_load_n(&dev->resets, __ATOMIC_RELAXED);
	stats->link_changes = __atomic_load_n(&dev->link_changes, __ATOMIC_RELAXED);
	for (uint16_t i = 0; i < ixy->rx_queues; i++) {
		const struct net_rx_queue *rx = &dev->rx[i];
		struct ixy_queue_stats s = {0};

		ixy_add_queue_stats(&s, &rx->stats);
		stats->wire_rx_frames += s.rx_frames;
		for (unsigned d = 0; d < IXY_DROP_COUNT; d++)
			stats->wire_rx_frames += s.drops[d];
		stats->rx_multicast += __atomic_load_n(&rx->multicast, __ATOMIC_RELAXED);
		stats->rx_broadcast += __atomic_load_n(&rx->broadcast, __ATOMIC_RELAXED);
		stats->wire_tx_frames += __atomic_load_n(&dev->tx[i].completed, __ATOMIC_RELAXED);
		if (rx->pool)
			stats->pool_exhausted += __atomic_load_n(&rx->pool->exhausted, __ATOMIC_RELAXED);
	}
}

static struct mempool *net_rx_pool(const struct ixy_device *ixy, uint16_t queue)
{
	return net_device_const(ixy)->rx[queue].pool;
}

static int net_read_register(struct ixy_device *ixy, uint32_t offset, uint32_t *value)
{
	if (offset % 4)
		return ixy_fail(
			EINVAL, "%s: no register at 0x%x: a multiple of 4 is wanted", ixy->name, offset);
	return virtio_config_read(net_device(ixy)->virtio, offset, value, sizeof(*value));
}

/* --- open and close ----------------------------------------------------------------------------------- */

static void net_free(struct net_device *dev)
{
	virtio_close(dev->virtio);
	irq_close(dev);
	free_memory(dev);
	free(dev);
}

static void net_close(struct ixy_device *ixy)
{
	struct pci_device *pci = ixy->pci;

	net_stop(ixy);
	net_free(net_device(ixy));
	pci_close(pci);
}

static const struct ixy_device_ops net_ops = {
	.rx_batch = net_rx_batch,
	.tx_batch = net_tx_batch,
	.tx_drop = net_tx_drop,
	.tx_pending = net_tx_pending,
	.rx_irq_fd = net_rx_irq_fd,
	.rx_irq_arm = net_rx_irq_arm,
	.rx_pool = net_rx_pool,
	.event_fd = net_event_fd,
	.poll_events = net_poll_events,
	.reset = net_reset,
	.shut = net_shut,
	.stop = net_stop,
	.close = net_close,
	.set_up = net_set_up,
	.mac_set = net_mac_set,
	.set_unicast = net_set_unicast,
	.set_multicast = net_set_multicast,
	.set_promisc = net_set_promisc,
	.set_allmulti = net_set_allmulti,
	.mtu_set = net_mtu_set,
	.read_stats = net_read_stats,
	.read_queue_stats = net_read_queue_stats,
	.read_register = net_read_register,
};

/* options are complete (ixy.c has filled in the defaults). On failure pci stays the caller's. */
static int net_open(struct pci_device *pci, const struct ixy_options *options, struct ixy_device **out)
{
	struct net_device *dev;
	struct ixy_error error;
	int err;

	if (options->rx_queues != options->tx_queues)
		return ixy_fail(EINVAL, "%s: as many queues to receive as to send are needed, not %u and %u",
			pci->name, options->rx_queues, options->tx_queues);
	dev = aligned_alloc(64, sizeof(*dev));
	if (!dev)
		return ixy_fail(ENOMEM, "%s: out of memory", pci->name);
	memset(dev, 0, sizeof(*dev));
	dev->ixy.ops = &net_ops;
	dev->ixy.driver_name = virtio_net_driver.name;
	snprintf(dev->ixy.name, sizeof(dev->ixy.name), "%s", pci->name);
	dev->ixy.pci = pci;
	dev->ixy.rx_queues = dev->ixy.tx_queues = options->rx_queues;
	dev->interrupts = pci_has_vectors(pci, options);
	dev->up = true;
	err = irq_open(dev);
	if (!err)
		err = virtio_open(pci, &dev->virtio);
	if (!err)
		err = net_learn(dev, options);
	if (!err)
		err = alloc_memory(dev);
	if (!err)
		err = start(dev);
	if (!err) {
		*out = &dev->ixy;
		return 0;
	}
	ixy_error_save(&error);
	stop(dev, true);
	net_free(dev);
	ixy_error_restore(&error);
	return err;
}

static const struct pci_id net_ids[] = {
	{VIRTIO_PCI_VENDOR, 0x1000}, /* transitional */
	{VIRTIO_PCI_VENDOR, 0x1041}, /* modern: 0x1040 + 1, a network card (4.1.2.1) */
	{0, 0},
};

const struct ixy_pci_driver virtio_net_driver = {
	.name = "virtio",
	.ids = net_ids,
	.open = net_open,
};
