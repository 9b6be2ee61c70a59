/*
 * The link: an SFP+ cage with a laser, and a MAC that trains with whatever is on the other side.
 *
 * We switch the laser on, restart the link's state machine and go on: on real hardware the link comes up half
 * a second to eight seconds later, and ixgbe_link_poll() notices (on the link-status-change interrupt or at
 * the next look). Nothing here waits for a link.
 */
#include <errno.h>

#include "driver/ixgbe/ixgbe.h"

/* --- the semaphore that guards AUTOC against the NIC's own firmware (10.5.4) --------------------- */

#define SW_MAC_CSR BIT(3) /* software's bit in SW_FW_SYNC; the firmware's is 5 higher */
#define FW_MAC_CSR BIT(8)

static void swsm_release(struct ixgbe_device *dev)
{
	reg_clear(dev, SWSM, SWSM_SMBI | SWSM_SWESMBI);
}

/* SMBI is between drivers (set by the read that finds it clear), SWESMBI between driver and firmware. */
static int swsm_acquire(struct ixgbe_device *dev)
{
	int err = ixgbe_wait(dev, SWSM, SWSM_SMBI, 0, 100, "driver semaphore");

	if (err == -ETIMEDOUT) { /* its owner died with it */
		swsm_release(dev);
		err = ixgbe_wait(dev, SWSM, SWSM_SMBI, 0, 100, "driver semaphore");
	}
	if (err)
		return err;
	for (unsigned tries = 0; tries < 100; tries++) {
		reg_set(dev, SWSM, SWSM_SWESMBI);
		if (reg_read(dev, SWSM) & SWSM_SWESMBI)
			return 0;
		sleep_us(1000);
	}
	swsm_release(dev);
	return ixy_fail(
		ETIMEDOUT, "%s: the NIC's firmware does not release the semaphore (SWSM)", dev->ixy.name);
}

static int mac_csr_lock(struct ixgbe_device *dev)
{
	for (unsigned tries = 0; tries < 50; tries++) {
		int err = swsm_acquire(dev);

		if (err)
			return err;
		uint32_t sync = reg_read(dev, SW_FW_SYNC);
		bool taken = sync & (SW_MAC_CSR | FW_MAC_CSR);

		if (!taken)
			reg_write(dev, SW_FW_SYNC, sync | SW_MAC_CSR);
		swsm_release(dev);
		if (!taken)
			return 0;
		sleep_us(5000);
	}
	/* The bit's owner may be a driver that died. The firmware holds it for milliseconds only. */
	ixy_log(IXY_LOG_WARNING, "%s: link registers locked for 250 ms, taking the lock over", dev->ixy.name);
	reg_write(dev, SW_FW_SYNC, (reg_read(dev, SW_FW_SYNC) & ~FW_MAC_CSR) | SW_MAC_CSR);
	return 0;
}

static void mac_csr_unlock(struct ixgbe_device *dev)
{
	if (swsm_acquire(dev))
		return;
	reg_clear(dev, SW_FW_SYNC, SW_MAC_CSR);
	swsm_release(dev);
}

/* --- laser and link ------------------------------------------------------------------------------ */

/* SDP3 drives the cage's TX_DISABLE pin. A kernel driver that lets go of the NIC leaves it high. */
static void laser(struct ixgbe_device *dev, bool on)
{
	uint32_t esdp = reg_read(dev, ESDP) | ESDP_SDP3_DIR;

	reg_write(dev, ESDP, on ? esdp & ~ESDP_SDP3 : esdp | ESDP_SDP3);
}

int ixgbe_link_start(struct ixgbe_device *dev)
{
	if (!(reg_read(dev, ESDP) & ESDP_SDP2))
		ixy_log(IXY_LOG_WARNING, "%s: no SFP+ module in the cage: plug one in", dev->ixy.name);
	laser(dev, true);

	int err = mac_csr_lock(dev);
	if (err)
		return err;
	/* 10G serial over SFI, and no leftover of a power state that disables the link (8.2.3.22.19, .22). */
	reg_write(dev, AUTOC2,
		(reg_read(dev, AUTOC2) & ~(AUTOC2_10G_SERIAL_PMA_PMD | AUTOC2_LINK_DISABLE)) |
			AUTOC2_10G_SFI);
	reg_write(dev, AUTOC,
		(reg_read(dev, AUTOC) & ~(AUTOC_LMS_MASK | AUTOC_FLU)) | AUTOC_LMS_10G_SFI |
			AUTOC_AN_RESTART);
	mac_csr_unlock(dev);
	return 0;
}

void ixgbe_link_stop(struct ixgbe_device *dev)
{
	laser(dev, false);
}

bool ixgbe_link_poll(struct ixgbe_device *dev)
{
	static const uint32_t speed_of[4] = {0, 100, 1000, 10000};
	struct ixy_link link;

	reg_read(dev, LINKS); /* latched-low: the first read may tell of a drop that is over */
	uint32_t links = reg_read(dev, LINKS);

	if (links == UINT32_MAX) /* gone: whoever asks next will find out */
		links = 0;
	link.up = dev->up && links & LINKS_UP;
	link.speed = link.up ? speed_of[(links & LINKS_SPEED) >> 28] : 0;
	if (link.up == dev->ixy.link.up && link.speed == dev->ixy.link.speed)
		return false;
	__atomic_store_n(&dev->ixy.link.speed, link.speed, __ATOMIC_RELAXED);
	__atomic_store_n(&dev->ixy.link.up, link.up, __ATOMIC_RELAXED);
	stat_add(&dev->stats.link_changes, 1);
	return true;
}

int ixgbe_set_up(struct ixy_device *ixy, bool up)
{
	struct ixgbe_device *dev = ixgbe(ixy);
	int err = 0;

	if (up == dev->up)
		return 0;
	if (up) {
		err = ixgbe_rx_enable(dev);
		if (!err)
			err = ixgbe_link_start(dev);
	}
	dev->up = up && !err;
	if (!dev->up) {
		ixgbe_link_stop(dev);
		ixgbe_rx_disable(dev);
		ixgbe_link_poll(
			dev); /* down at once, not when somebody looks: nothing is to be queued any more */
	}
	return err;
}
