/*
 * The API of ixy.h: opens a device by its spec, checks arguments once for all drivers, and hands on.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "driver/clock.h"
#include "driver/device.h"
#include "driver/xdp/device.h"

static const struct ixy_pci_driver *const pci_drivers[] = {
	&ixgbe_driver,
	&virtio_net_driver,
};

#define BUSY_WAIT_MS 100

/* --- life of a device ---------------------------------------------------------------------------- */

static bool power_of_two(uint32_t n)
{
	return n && !(n & (n - 1));
}

/* Fill in the defaults, refuse what no driver takes. rx_ring: the default of this kind of device. */
static int complete_options(const struct ixy_options *given, uint16_t rx_ring, struct ixy_options *o)
{
	static const struct ixy_options none;

	*o = given ? *given : none;
	o->rx_queues = o->rx_queues ? o->rx_queues : 1;
	o->tx_queues = o->tx_queues ? o->tx_queues : 1;
	o->rx_ring = o->rx_ring ? o->rx_ring : rx_ring;
	o->tx_ring = o->tx_ring ? o->tx_ring : 512;
	o->mtu = o->mtu ? o->mtu : 1500;
	o->irq_interval_us = o->irq_interval_us ? o->irq_interval_us : 20;
	if (o->rx_queues > IXY_MAX_QUEUES || o->tx_queues > IXY_MAX_QUEUES)
		return ixy_fail(EINVAL, "%u receive and %u transmit queues asked for: 1 to %u are possible",
			o->rx_queues, o->tx_queues, IXY_MAX_QUEUES);
	if (!power_of_two(o->rx_ring) || !power_of_two(o->tx_ring) || o->rx_ring < 64 || o->tx_ring < 64 ||
		o->rx_ring > 4096 || o->tx_ring > 4096)
		return ixy_fail(EINVAL,
			"rings of %u and %u descriptors asked for: powers of two from 64 to 4096 are "
			"possible",
			o->rx_ring, o->tx_ring);
	if (o->mtu < IXY_MIN_MTU)
		return ixy_fail(EINVAL, "MTU %u asked for: %u is the least", o->mtu, IXY_MIN_MTU);
	return 0;
}

static const struct ixy_pci_driver *find_driver(uint16_t vendor, uint16_t device)
{
	for (size_t i = 0; i < sizeof(pci_drivers) / sizeof(pci_drivers[0]); i++) {
		for (const struct pci_id *id = pci_drivers[i]->ids; id->vendor; id++) {
			if (id->vendor == vendor && id->device == device)
				return pci_drivers[i];
		}
	}
	return NULL;
}

static int open_pci(const char *spec, const struct ixy_options *options, struct ixy_device **dev)
{
	const struct ixy_pci_driver *driver;
	struct pci_device *pci;
	int err = pci_open(spec, options, &pci);

	if (err)
		return err;
	driver = find_driver(pci->vendor, pci->device);
	if (!driver)
		err = ixy_fail(ENODEV,
			"%s: no driver for PCI device %04x:%04x; an Intel 82599 is 8086:10fb, a virtio NIC "
			"1af4:1000 or 1af4:1041",
			pci->name, pci->vendor, pci->device);
	else
		err = driver->open(pci, options, dev);
	if (err)
		pci_close(pci);
	return err;
}

/*
 * Whose spec it is, and how that kind of device is opened; options are complete. A NIC stores bursts by itself and
 * slows the wire's sender down; the kernel in front of an AF_XDP socket does neither, so its ring takes a whole
 * TCP window.
 */
static const struct {
	bool (*is)(const char *spec);
	int (*open)(const char *spec, const struct ixy_options *options, struct ixy_device **dev);
	uint16_t rx_ring;
} kinds[] = {
	{pci_spec, open_pci, 512},
	{xdp_spec, xdp_open, 2048},
};

int ixy_open(const char *spec, const struct ixy_options *options, struct ixy_device **dev)
{
	for (size_t i = 0; i < sizeof(kinds) / sizeof(kinds[0]); i++) {
		struct ixy_options complete;
		int err;

		if (!kinds[i].is(spec))
			continue;
		err = complete_options(options, kinds[i].rx_ring, &complete);
		return err ? err : kinds[i].open(spec, &complete, dev);
	}
	return ixy_fail(EINVAL,
		"%s: not a device: 0000:03:00.0 (PCI), xdp:IFNAME, soft:IFNAME or vfio-user:SOCKET is "
		"expected",
		spec);
}

uint16_t ixy_spec_queues(const char *spec)
{
	return xdp_spec(spec) ? xdp_spec_queues(spec) : 0;
}

void ixy_shut(struct ixy_device *dev)
{
	if (dev->ops->shut)
		dev->ops->shut(dev);
	else
		dev->ops->set_up(dev, false);
}

void ixy_stop(struct ixy_device *dev)
{
	dev->ops->stop(dev);
}

void ixy_close(struct ixy_device *dev)
{
	if (dev)
		dev->ops->close(dev);
}

int ixy_reset(struct ixy_device *dev)
{
	return dev->ops->reset(dev);
}

/* --- frames -------------------------------------------------------------------------------------- */

uint32_t ixy_rx_batch(struct ixy_device *dev, uint16_t queue, struct pkt_buf *bufs[], uint32_t count)
{
	return dev->ops->rx_batch(dev, queue, bufs, count);
}

uint32_t ixy_tx_batch(struct ixy_device *dev, uint16_t queue, struct pkt_buf *bufs[], uint32_t count)
{
	return dev->ops->tx_batch(dev, queue, bufs, count);
}

uint32_t ixy_tx_batch_busy_wait(
	struct ixy_device *dev, uint16_t queue, struct pkt_buf *bufs[], uint32_t count)
{
	uint32_t sent = ixy_tx_batch(dev, queue, bufs, count);
	int64_t end = 0;

	while (sent < count) {
		uint32_t n = ixy_tx_batch(dev, queue, bufs + sent, count - sent);
		int64_t now = clock_ms();

		sent += n;
		if (n || !end)
			end = now + BUSY_WAIT_MS;
		else if (now >= end)
			break;
	}
	for (uint32_t i = sent; i < count; i++) {
		dev->ops->tx_drop(dev, queue, IXY_DROP_TX_RING_FULL);
		pkt_buf_free(bufs[i]);
	}
	return sent;
}

uint32_t ixy_tx_pending(struct ixy_device *dev, uint16_t queue)
{
	return dev->ops->tx_pending(dev, queue);
}

/* --- sleeping ------------------------------------------------------------------------------------ */

static int check_interrupts(const struct ixy_device *dev)
{
	if (dev->capabilities & IXY_CAP_INTERRUPTS)
		return 0;
	return ixy_fail(
		ENOTSUP, "%s: the device has no interrupts, or was opened without: poll it", dev->name);
}

int ixy_rx_irq_fd(const struct ixy_device *dev, uint16_t queue)
{
	int err;

	if (queue >= dev->rx_queues)
		return ixy_fail(EINVAL, "%s: there is no receive queue %u", dev->name, queue);
	err = check_interrupts(dev);
	return err ? err : dev->ops->rx_irq_fd(dev, queue);
}

void ixy_rx_irq_arm(struct ixy_device *dev, uint16_t queue)
{
	dev->ops->rx_irq_arm(dev, queue);
}

int ixy_event_fd(const struct ixy_device *dev)
{
	int err = check_interrupts(dev);

	return err ? err : dev->ops->event_fd(dev);
}

uint32_t ixy_poll_events(struct ixy_device *dev)
{
	return dev->ops->poll_events(dev);
}

/* --- what a device is ---------------------------------------------------------------------------- */

const char *ixy_driver_name(const struct ixy_device *dev)
{
	return dev->driver_name;
}

const char *ixy_device_name(const struct ixy_device *dev)
{
	return dev->name;
}

uint32_t ixy_capabilities(const struct ixy_device *dev)
{
	return dev->capabilities;
}

uint16_t ixy_rx_queues(const struct ixy_device *dev)
{
	return dev->rx_queues;
}

uint16_t ixy_tx_queues(const struct ixy_device *dev)
{
	return dev->tx_queues;
}

uint16_t ixy_max_mtu(const struct ixy_device *dev)
{
	return dev->max_mtu;
}

struct mempool *ixy_rx_pool(const struct ixy_device *dev, uint16_t queue)
{
	return dev->ops->rx_pool ? dev->ops->rx_pool(dev, queue) : NULL;
}

struct ixy_link ixy_link_get(const struct ixy_device *dev)
{
	return (struct ixy_link){
		.up = __atomic_load_n(&dev->link.up, __ATOMIC_RELAXED),
		.speed = __atomic_load_n(&dev->link.speed, __ATOMIC_RELAXED),
	};
}

int ixy_set_up(struct ixy_device *dev, bool up)
{
	return dev->ops->set_up(dev, up);
}

struct ixy_mac ixy_mac_get(const struct ixy_device *dev)
{
	return dev->mac;
}

bool ixy_mac_unicast(const struct ixy_mac *mac)
{
	static const struct ixy_mac zero;

	return !(mac->addr[0] & 1) && memcmp(mac, &zero, sizeof(zero)) != 0;
}

static int check_macs(
	const struct ixy_device *dev, const struct ixy_mac macs[], size_t count, bool want_unicast)
{
	for (size_t i = 0; i < count; i++) {
		const uint8_t *a = macs[i].addr;

		if (want_unicast ? !ixy_mac_unicast(&macs[i]) : !(a[0] & 1))
			return ixy_fail(EINVAL, "%s: %02x:%02x:%02x:%02x:%02x:%02x is not a %s address",
				dev->name, a[0], a[1], a[2], a[3], a[4], a[5],
				want_unicast ? "unicast" : "multicast");
	}
	return 0;
}

int ixy_mac_set(struct ixy_device *dev, struct ixy_mac mac)
{
	int err = check_macs(dev, &mac, 1, true);

	return err ? err : dev->ops->mac_set(dev, mac);
}

int ixy_set_unicast(struct ixy_device *dev, const struct ixy_mac macs[], size_t count)
{
	int err = check_macs(dev, macs, count, true);

	return err ? err : dev->ops->set_unicast(dev, macs, count);
}

int ixy_set_multicast(struct ixy_device *dev, const struct ixy_mac macs[], size_t count)
{
	int err = check_macs(dev, macs, count, false);

	return err ? err : dev->ops->set_multicast(dev, macs, count);
}

int ixy_set_promisc(struct ixy_device *dev, bool on)
{
	return dev->ops->set_promisc(dev, on);
}

int ixy_set_allmulti(struct ixy_device *dev, bool on)
{
	return dev->ops->set_allmulti(dev, on);
}

int ixy_mtu_set(struct ixy_device *dev, uint16_t mtu)
{
	if (mtu < IXY_MIN_MTU || mtu > dev->max_mtu)
		return ixy_fail(
			EINVAL, "%s: MTU %u is outside %u .. %u", dev->name, mtu, IXY_MIN_MTU, dev->max_mtu);
	return dev->ops->mtu_set(dev, mtu);
}

uint16_t ixy_mtu_get(const struct ixy_device *dev)
{
	return __atomic_load_n(&dev->mtu, __ATOMIC_RELAXED);
}

/* --- statistics ---------------------------------------------------------------------------------- */

void ixy_add_queue_stats(struct ixy_queue_stats *sum, const struct ixy_queue_stats *queue)
{
	sum->rx_frames += __atomic_load_n(&queue->rx_frames, __ATOMIC_RELAXED);
	sum->rx_bytes += __atomic_load_n(&queue->rx_bytes, __ATOMIC_RELAXED);
	sum->tx_frames += __atomic_load_n(&queue->tx_frames, __ATOMIC_RELAXED);
	sum->tx_bytes += __atomic_load_n(&queue->tx_bytes, __ATOMIC_RELAXED);
	for (unsigned i = 0; i < IXY_DROP_COUNT; i++)
		sum->drops[i] += __atomic_load_n(&queue->drops[i], __ATOMIC_RELAXED);
}

void ixy_read_queue_stats(const struct ixy_device *dev, uint16_t queue, struct ixy_queue_stats *stats)
{
	memset(stats, 0, sizeof(*stats));
	if (queue < dev->rx_queues || queue < dev->tx_queues)
		dev->ops->read_queue_stats(dev, queue, stats);
}

void ixy_read_stats(const struct ixy_device *dev, struct ixy_stats *stats)
{
	uint16_t queues = dev->rx_queues > dev->tx_queues ? dev->rx_queues : dev->tx_queues;

	memset(stats, 0, sizeof(*stats));
	dev->ops->read_stats(dev, stats);
	for (uint16_t i = 0; i < queues; i++) {
		struct ixy_queue_stats q;

		ixy_read_queue_stats(dev, i, &q);
		stats->rx_frames += q.rx_frames;
		stats->rx_bytes += q.rx_bytes;
		stats->tx_frames += q.tx_frames;
		stats->tx_bytes += q.tx_bytes;
		for (unsigned d = 0; d < IXY_DROP_COUNT; d++)
			stats->drops[d] += q.drops[d];
	}
}

int ixy_read_register(struct ixy_device *dev, uint32_t offset, uint32_t *value)
{
	return dev->ops->read_register(dev, offset, value);
}
