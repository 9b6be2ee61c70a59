/*
 * The Intel 82599, from reset to close.
 *
 * Read this file first: ixgbe_open() takes a PCI function that nobody drives, start() brings the NIC up in
 * the order that the datasheet gives (4.6.3), stop() takes it down in the reverse order. A reset is a stop
 * and a start; the settings live in struct ixgbe_device and survive it. The rings are in rx.c and tx.c.
 *
 * Every wait on the hardware is bounded. A register that reads all-ones means that the NIC has gone, or sleeps.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "driver/ixgbe/ixgbe.h"

/* --- waiting ------------------------------------------------------------------------------------- */

int ixgbe_wait(struct ixgbe_device *dev, uint32_t reg, uint32_t mask, uint32_t value, unsigned timeout_ms,
	const char *what)
{
	int64_t end = clock_us() + timeout_ms * 1000L;

	for (;;) {
		bool last = clock_us() >= end; /* before the register: a late wake-up gets its look */
		uint32_t now = reg_read(dev, reg);

		if (now == UINT32_MAX)
			return ixy_fail(ENODEV, "%s: the device has gone (register 0x%05x reads all-ones)",
				dev->ixy.name, reg);
		if ((now & mask) == value)
			return 0;
		if (last)
			return ixy_fail(ETIMEDOUT,
				"%s: waited %u ms for %s in vain (register 0x%05x is 0x%08x)", dev->ixy.name,
				timeout_ms, what, reg, now);
		sleep_us(100);
	}
}

/* --- reset --------------------------------------------------------------------------------------- */

/* Let DMA that is under way end, so that a reset does not cut a PCIe transaction (5.2.5.3.2). */
static int master_disable(struct ixgbe_device *dev)
{
	ixgbe_rx_disable(dev);
	reg_set(dev, CTRL, CTRL_GIO_DIS);
	return ixgbe_wait(dev, STATUS, STATUS_GIO, 0, 100, "outstanding DMA to end");
}

/*
 * Empty the buffers between transmit DMA and PCIe, where requests are stuck. In loopback, so that nothing
 * gets onto the wire meanwhile.
 */
static void flush_pcie_buffers(struct ixgbe_device *dev)
{
	reg_set(dev, HLREG0, HLREG0_LPBK);
	reg_read(dev, HLREG0); /* flushes the write */
	sleep_us(3000);
	reg_set(dev, GCR_EXT, GCR_EXT_BUFFERS_CLEAR);
	reg_read(dev, GCR_EXT);
	sleep_us(20);
	reg_clear(dev, GCR_EXT, GCR_EXT_BUFFERS_CLEAR);
	reg_clear(dev, HLREG0, HLREG0_LPBK);
}

static int device_reset(struct ixgbe_device *dev)
{
	int quiet = master_disable(dev);
	int err = 0;

	if (quiet == -ENODEV)
		return quiet;
	/* A NIC that does not get quiet needs its buffers flushed, and two resets (5.2.5.3.2). */
	if (quiet)
		flush_pcie_buffers(dev);
	for (int resets = quiet ? 2 : 1; resets; resets--) {
		reg_set(dev, CTRL, CTRL_RST | CTRL_LRST);
		sleep_us(1000); /* no register may be accessed before (8.2.3.1.1) */
		err = ixgbe_wait(dev, CTRL, CTRL_RST | CTRL_LRST, 0, 1000, "device reset to end");
		if (err)
			return err;
		sleep_us(10000); /* 4.6.3.2 */
	}
	return 0;
}

/* --- up and down --------------------------------------------------------------------------------- */

/* Bring-up as in datasheet 4.6.3; on failure the caller stops the device again. */
static int start(struct ixgbe_device *dev)
{
	int err;

	/* 4.6.3.1, 4.6.3.2: no interrupts; a global reset, which enables them again; no interrupts. */
	dev->running = true;
	ixgbe_irq_mask_all(dev);
	err = device_reset(dev);
	if (err)
		return err;
	ixgbe_irq_mask_all(dev);
	err = pci_bus_master(dev->ixy.pci, true);
	if (err)
		return err;

	/* 4.6.3: the EEPROM has been read, the DMA unit has initialised itself. */
	err = ixgbe_wait(dev, EEC, EEC_ARD | EEC_PRES, EEC_ARD | EEC_PRES, 1000, "a valid EEPROM to be read");
	if (err)
		return err;
	err = ixgbe_wait(dev, RDRXCTL, RDRXCTL_DMAIDONE, RDRXCTL_DMAIDONE, 1000, "DMA initialisation");
	if (err)
		return err;
	reg_set(dev, CTRL_EXT, CTRL_EXT_DRV_LOAD); /* tell the firmware that somebody drives the NIC */

	/* The first time, our address is the one that the reset loaded from the EEPROM. */
	if (!ixy_mac_unicast(&dev->ixy.mac)) {
		struct ixy_mac mac = ixgbe_permanent_mac(dev);

		if (!ixy_mac_unicast(&mac))
			return ixy_fail(EIO,
				"%s: the EEPROM holds no MAC address: %02x:%02x:%02x:%02x:%02x:%02x",
				dev->ixy.name, mac.addr[0], mac.addr[1], mac.addr[2], mac.addr[3],
				mac.addr[4], mac.addr[5]);
		dev->ixy.mac = mac;
	}

	/* 4.6.4 link, 4.6.5 statistics, 4.6.7 receive, 4.6.8 transmit, 4.6.6 interrupts. */
	if (dev->up) {
		err = ixgbe_link_start(dev);
		if (err)
			return err;
	} else {
		ixgbe_link_stop(dev); /* the reset has lit the laser */
	}
	ixgbe_stats_clear(dev);
	ixgbe_filters_apply(dev);
	ixgbe_rx_setup(dev);
	ixgbe_tx_setup(dev);
	for (uint16_t i = 0; i < dev->ixy.tx_queues; i++) {
		err = ixgbe_tx_queue_start(dev, i);
		if (err)
			return err;
	}
	for (uint16_t i = 0; i < dev->ixy.rx_queues; i++) {
		err = ixgbe_rx_queue_start(dev, i);
		if (err)
			return err;
	}
	if (dev->up) {
		err = ixgbe_rx_enable(dev);
		if (err)
			return err;
	}
	ixgbe_irq_start(dev);
	return 0;
}

/*
 * Everything off, and every buffer back from the rings. Works on a device in any state, also on one that has
 * gone: then nothing can be waited for, and nothing can DMA any more. Leaves ixy_last_error() as it is,
 * because what comes before a stop is often the failure that matters. Frames in the rings are lost: to the end,
 * or to a reset.
 */
static void stop(struct ixgbe_device *dev, bool for_good)
{
	struct ixy_error error;

	if (!dev->running)
		return;
	ixy_error_save(&error);
	if (!dev->gone) {
		ixgbe_irq_mask_all(dev);
		ixgbe_rx_disable(dev);
		for (uint16_t i = 0; i < dev->ixy.rx_queues; i++)
			ixgbe_rx_queue_stop(dev, i);
		for (uint16_t i = 0; i < dev->ixy.tx_queues; i++)
			ixgbe_tx_queue_stop(dev, i);
		ixgbe_stats_collect(
			dev); /* nothing is counted any more, and the reset clears the registers */
		/* Queues can refuse to stop; a device after a reset, without bus mastering, cannot DMA. */
		device_reset(dev);
		/* The reset has lit the laser. The other side must not take us for a NIC that listens. */
		ixgbe_link_stop(dev);
	}
	pci_bus_master(dev->ixy.pci, false);
	for (uint16_t i = 0; i < dev->ixy.rx_queues; i++)
		ixgbe_rx_queue_empty(dev, i, for_good ? IXY_DROP_SHUTDOWN : IXY_DROP_RX_RESET);
	for (uint16_t i = 0; i < dev->ixy.tx_queues; i++)
		ixgbe_tx_queue_empty(dev, i, for_good ? IXY_DROP_SHUTDOWN : IXY_DROP_TX_RESET);
	__atomic_store_n(&dev->ixy.link.up, false, __ATOMIC_RELAXED);
	__atomic_store_n(&dev->ixy.link.speed, 0, __ATOMIC_RELAXED);
	dev->running = false;
	ixy_error_restore(&error);
}

static void ixgbe_stop(struct ixy_device *ixy)
{
	stop(ixgbe(ixy), true);
}

static int ixgbe_reset(struct ixy_device *ixy)
{
	struct ixgbe_device *dev = ixgbe(ixy);
	int err;

	if (dev->gone)
		return ixy_fail(ENODEV, "%s: the device has gone", ixy->name);
	stop(dev, false);
	stat_add(&dev->stats.resets, 1);
	err = ixgbe_irq_rewire(dev);
	if (!err)
		err = start(dev);
	if (err)
		stop(dev, true);
	return err;
}

/* --- housekeeping -------------------------------------------------------------------------------- */

static bool silent(void *arg)
{
	return reg_read(arg, STATUS) == UINT32_MAX;
}

/* All-ones from STATUS: what poll_events() has to say, 0 if the registers answer again. */
static uint32_t look_after_silent(struct ixgbe_device *dev)
{
	int rc = pci_look_after_silent(dev->ixy.pci, silent, dev);

	dev->gone = rc < 0;
	return rc < 0 ? IXY_EVENT_GONE : rc > 0 ? IXY_EVENT_RESET : 0;
}

static uint32_t ixgbe_poll_events(struct ixy_device *ixy)
{
	struct ixgbe_device *dev = ixgbe(ixy);
	uint32_t events = 0;

	if (dev->gone) {
		ixy_fail(ENODEV, "%s: the device was removed", ixy->name);
		return IXY_EVENT_GONE;
	}
	if (!dev->running)
		return pci_removed(ixy->pci) ? IXY_EVENT_GONE : 0;
	if (dev->interrupts)
		ixgbe_event_clear(dev);
	if (silent(dev))
		events = look_after_silent(dev);
	else if (pci_removed(ixy->pci)) /* its registers answer yet, so it is stopped in order */
		events = IXY_EVENT_GONE;
	if (events & IXY_EVENT_GONE)
		__atomic_store_n(&ixy->link.up, false, __ATOMIC_RELAXED);
	if (events)
		return events;
	/* Every kind of reset clears this bit, which is ours for as long as we run. */
	if (!(reg_read(dev, DMATXCTL) & DMATXCTL_TE)) {
		ixy_log(IXY_LOG_WARNING, "%s: somebody else has reset it", ixy->name);
		return IXY_EVENT_RESET;
	}
	if (ixgbe_link_poll(dev))
		events |= IXY_EVENT_LINK;
	ixgbe_stats_collect(dev);
	if (ixgbe_stats_hung(dev))
		events |= IXY_EVENT_RESET;
	return events;
}

static struct mempool *ixgbe_rx_pool(const struct ixy_device *ixy, uint16_t queue)
{
	return ixgbe_const(ixy)->rx[queue].pool;
}

static int ixgbe_read_register(struct ixy_device *ixy, uint32_t offset, uint32_t *value)
{
	if (offset % 4 || offset >= ixy->pci->bars[0].size)
		return ixy_fail(EINVAL, "%s: no register at 0x%x: a multiple of 4 below 0x%llx is wanted",
			ixy->name, offset, (unsigned long long)ixy->pci->bars[0].size);
	*value = reg_read(ixgbe(ixy), offset);
	return 0;
}

/* --- open and close ------------------------------------------------------------------------------ */

static void ixgbe_close(struct ixy_device *ixy)
{
	struct ixgbe_device *dev = ixgbe(ixy);
	struct pci_device *pci = ixy->pci;

	ixgbe_stop(ixy);
	if (!dev->gone)
		reg_clear(dev, CTRL_EXT, CTRL_EXT_DRV_LOAD);
	ixgbe_irq_close(dev);
	for (uint16_t i = 0; i < ixy->rx_queues; i++)
		ixgbe_rx_queue_free(dev, i);
	for (uint16_t i = 0; i < ixy->tx_queues; i++)
		ixgbe_tx_queue_free(dev, i);
	dma_free(pci, dev->rings);
	free(dev);
	pci_close(pci);
}

static const struct pci_id ixgbe_ids[] = {
	{PCI_VENDOR_INTEL, PCI_DEVICE_82599_SFP},
	{0, 0},
};

static const struct ixy_device_ops ixgbe_ops = {
	.rx_batch = ixgbe_rx_batch,
	.tx_batch = ixgbe_tx_batch,
	.tx_drop = ixgbe_tx_drop,
	.tx_pending = ixgbe_tx_pending,
	.rx_pool = ixgbe_rx_pool,
	.rx_irq_fd = ixgbe_rx_irq_fd,
	.rx_irq_arm = ixgbe_rx_irq_arm,
	.event_fd = ixgbe_event_fd,
	.poll_events = ixgbe_poll_events,
	.reset = ixgbe_reset,
	.stop = ixgbe_stop,
	.close = ixgbe_close,
	.set_up = ixgbe_set_up,
	.mac_set = ixgbe_mac_set,
	.set_unicast = ixgbe_set_unicast,
	.set_multicast = ixgbe_set_multicast,
	.set_promisc = ixgbe_set_promisc,
	.set_allmulti = ixgbe_set_allmulti,
	.mtu_set = ixgbe_mtu_set,
	.read_stats = ixgbe_read_stats,
	.read_queue_stats = ixgbe_read_queue_stats,
	.read_register = ixgbe_read_register,
};

/* One region for all rings. Each is a power of two and aligned to its size, so none crosses a page. */
static int alloc_queues(struct ixgbe_device *dev)
{
	size_t rx_size = dev->rx_ring * sizeof(union ixgbe_rx_desc),
	       tx_size = dev->tx_ring * sizeof(union ixgbe_tx_desc);
	size_t larger = rx_size > tx_size ? rx_size : tx_size;
	uint8_t *ring;
	int err = dma_alloc(dev->ixy.pci, larger * (dev->ixy.rx_queues + dev->ixy.tx_queues), &dev->rings);

	if (err)
		return err;
	ring = dev->rings->virt;
	for (uint16_t i = 0; i < dev->ixy.rx_queues; i++, ring += larger) {
		err = ixgbe_rx_queue_alloc(dev, i, ring);
		if (err)
			return err;
	}
	for (uint16_t i = 0; i < dev->ixy.tx_queues; i++, ring += larger) {
		err = ixgbe_tx_queue_alloc(dev, i, ring);
		if (err)
			return err;
	}
	return 0;
}

/* A card that was handed over asleep is woken. */
static int await_registers(struct ixgbe_device *dev)
{
	if (!silent(dev))
		return 0;
	if (pci_look_after_silent(dev->ixy.pci, silent, dev) < 0 || silent(dev))
		return ixy_fail(ENODEV, "%s: registers read all-ones: the device is gone or powered down",
			dev->ixy.name);
	return 0;
}

/* options are complete (ixy.c has filled in the defaults). On failure pci stays the caller's. */
static int ixgbe_open(struct pci_device *pci, const struct ixy_options *options, struct ixy_device **out)
{
	struct ixgbe_device *dev = aligned_alloc(64, sizeof(*dev));
	int err;

	if (!dev)
		return ixy_fail(ENOMEM, "%s: out of memory", pci->name);
	memset(dev, 0, sizeof(*dev));
	dev->ixy.ops = &ixgbe_ops;
	dev->ixy.driver_name = ixgbe_driver.name;
	snprintf(dev->ixy.name, sizeof(dev->ixy.name), "%s", pci->name);
	dev->ixy.pci = pci;
	dev->ixy.rx_queues = options->rx_queues;
	dev->ixy.tx_queues = options->tx_queues;
	dev->ixy.mtu = options->mtu;
	dev->ixy.max_mtu = IXGBE_MAX_MTU;
	dev->rx_ring = options->rx_ring;
	dev->tx_ring = options->tx_ring;
	dev->irq_interval_us = options->irq_interval_us;
	dev->interrupts = pci_has_vectors(pci, options);
	dev->ixy.capabilities = IXY_CAP_RX_CSUM | IXY_CAP_TX_CSUM | IXY_CAP_TSO | IXY_CAP_USO | IXY_CAP_RSS |
				IXY_CAP_JUMBO | (dev->interrupts ? IXY_CAP_INTERRUPTS : 0);
	dev->event_fd = -1;
	dev->up = true;

	err = pci_bar_open(pci, 0);
	if (err)
		goto fail;
	if (pci->bars[0].size < 128u << 10) {
		err = ixy_fail(ENODEV, "%s: BAR 0 has %llu bytes, an 82599 has at least 128 KiB", pci->name,
			(unsigned long long)pci->bars[0].size);
		goto fail;
	}
	if (options->mtu > IXGBE_MAX_MTU) {
		err = ixy_fail(
			EINVAL, "%s: MTU %u is over the NIC's %u", pci->name, options->mtu, IXGBE_MAX_MTU);
		goto fail;
	}
	err = await_registers(dev);
	if (err)
		goto fail;
	err = alloc_queues(dev);
	if (err)
		goto fail_queues;
	err = ixgbe_irq_open(dev);
	if (err)
		goto fail_queues;
	err = start(dev);
	if (err)
		goto fail_start;
	ixgbe_link_poll(dev);
	*out = &dev->ixy;
	return 0;

fail_start:
	stop(dev, true);
	ixgbe_irq_close(dev);
fail_queues:
	for (uint16_t i = 0; i < dev->ixy.rx_queues; i++)
		ixgbe_rx_queue_free(dev, i);
	for (uint16_t i = 0; i < dev->ixy.tx_queues; i++)
		ixgbe_tx_queue_free(dev, i);
	dma_free(pci, dev->rings);
fail:
	free(dev);
	return err;
}

const struct ixy_pci_driver ixgbe_driver = {
	.name = "ixgbe",
	.ids = ixgbe_ids,
	.open = ixgbe_open,
};
