/*
 * Interrupts: one MSI-X vector a receive queue, and one more for everything else (datasheet 7.3).
 *
 * A queue's vector is signalled when descriptors were written back, at most once an EITR interval. Its cause
 * is cleared by the NIC itself as the message goes out (EIAC) and never masked: whoever polls pays at most
 * 50,000 eventfd increments a second that nobody reads, and whoever goes to sleep needs no register access,
 * only to empty the eventfd and look at the ring once more. What is written back after that look raises the
 * vector again, so nothing can be stranded.
 */
#include <errno.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "driver/ixgbe/ixgbe.h"

static int connect_fds(struct ixgbe_device *dev)
{
	int fds[IXY_MAX_QUEUES + 1];
	uint32_t n = dev->ixy.rx_queues;

	for (uint32_t i = 0; i < n; i++)
		fds[i] = dev->rx[i].irq_fd;
	fds[n] = dev->event_fd;
	return dev->ixy.pci->ops->irq_set(dev->ixy.pci, n + 1, fds);
}

int ixgbe_irq_rewire(struct ixgbe_device *dev)
{
	int err;

	if (!dev->interrupts)
		return 0;
	err = dev->ixy.pci->ops->irq_set(dev->ixy.pci, 0, NULL);
	return err ? err : connect_fds(dev);
}

int ixgbe_irq_open(struct ixgbe_device *dev)
{
	int fds[IXY_MAX_QUEUES + 1];
	uint32_t n = dev->ixy.rx_queues;
	int err;

	dev->event_fd = -1;
	for (unsigned i = 0; i < n; i++)
		dev->rx[i].irq_fd = -1;
	if (!dev->interrupts)
		return 0;
	for (uint32_t i = 0; i <= n; i++) {
		fds[i] = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
		if (fds[i] < 0) {
			err = ixy_fail(errno, "%s: no eventfd for interrupts: %m", dev->ixy.name);
			while (i--)
				close(fds[i]);
			dev->interrupts = false;
			return err;
		}
	}
	for (uint32_t i = 0; i < n; i++)
		dev->rx[i].irq_fd = fds[i];
	dev->event_fd = fds[n];
	err = connect_fds(dev);
	if (err)
		ixgbe_irq_close(dev);
	return err;
}

void ixgbe_irq_close(struct ixgbe_device *dev)
{
	struct ixy_error error;

	if (!dev->interrupts)
		return;
	ixy_error_save(&error);
	dev->ixy.pci->ops->irq_set(dev->ixy.pci, 0, NULL);
	ixy_error_restore(&error);
	for (unsigned i = 0; i < dev->ixy.rx_queues; i++) {
		close(dev->rx[i].irq_fd);
		dev->rx[i].irq_fd = -1;
	}
	close(dev->event_fd);
	dev->event_fd = -1;
	dev->interrupts = false;
}

void ixgbe_irq_mask_all(struct ixgbe_device *dev)
{
	reg_write(dev, EIMC, 0x7FFFFFFF); /* bit 31 is reserved in EIMC */
	reg_write(dev, EIMC_EX(0), UINT32_MAX);
	reg_write(dev, EIMC_EX(1), UINT32_MAX);
	reg_read(dev, EICR); /* clears what is pending, and flushes the writes */
}

void ixgbe_irq_start(struct ixgbe_device *dev)
{
	unsigned n = dev->ixy.rx_queues;
	uint32_t queues = BIT(n) - 1;
	uint32_t longest = EITR_INTERVAL_MASK >> EITR_INTERVAL_SHIFT, interval = dev->irq_interval_us / 2u;

	if (!dev->interrupts)
		return;
	if (interval > longest)
		interval = longest;
	/* MSI-X; reading EICR clears only the "other" causes (OCD), the queues' are EIAC's business. */
	reg_write(dev, GPIE, GPIE_MULTIPLE_MSIX | GPIE_OCD | GPIE_PBA_SUPPORT);
	reg_write(dev, EIAC, queues);
	reg_write(dev, EIAM, 0);

	/* IVAR n holds queues 2n and 2n+1, each a byte for RX and one for TX. Transmit needs no interrupt. */
	for (unsigned i = 0; i < n; i++) {
		unsigned shift = 16 * (i % 2);
		uint32_t ivar = reg_read(dev, IVAR(i / 2)) & ~(0xFFFFu << shift);

		reg_write(dev, IVAR(i / 2), ivar | (IVAR_VALID | i) << shift);
		reg_write(dev, EITR(i), interval << EITR_INTERVAL_SHIFT | EITR_CNT_WDIS);
	}
	reg_write(dev, IVAR_MISC, (IVAR_VALID | n) << 8);
	reg_write(dev, EITR(n), EITR_CNT_WDIS);

	reg_write(dev, EIMS, queues | EICR_LSC | EICR_OTHER);
}

int ixgbe_rx_irq_fd(const struct ixy_device *dev, uint16_t queue)
{
	return ixgbe_const(dev)->rx[queue].irq_fd;
}

/* The read empties an eventfd; it fails with EAGAIN where it was empty, which is as good. */
static void drain(int fd)
{
	uint64_t signals;

	if (read(fd, &signals, sizeof(signals)) < 0)
		return;
}

void ixgbe_rx_irq_arm(struct ixy_device *dev, uint16_t queue)
{
	if (ixgbe(dev)->interrupts)
		drain(ixgbe(dev)->rx[queue].irq_fd);
}

int ixgbe_event_fd(const struct ixy_device *dev)
{
	return ixgbe_const(dev)->event_fd;
}

void ixgbe_event_clear(struct ixgbe_device *dev)
{
	drain(dev->event_fd);
	reg_read(dev, EICR);
}
