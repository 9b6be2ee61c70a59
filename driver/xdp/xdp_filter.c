/*
 * What the user sets at the device: addresses, promiscuity, MTU, up and down.
 *
 * A filter is in two places. The interface below is told, so that its hardware lets through what is wanted; and
 * xdp_rx.c looks again, because an XDP program sees what the hardware has no filter for.
 */
#include <errno.h>
#include <string.h>

#include "driver/xdp/xdp.h"

/* The lists while they change let everything pass. */
static void begin_change(struct xdp_filter *filter)
{
	__atomic_store_n(&filter->changing, true, __ATOMIC_SEQ_CST);
}

static void end_change(struct xdp_filter *filter)
{
	__atomic_store_n(&filter->changing, false, __ATOMIC_RELEASE);
}

/* Tell the interface which addresses it has to let through: the user's, and ours if that is not its own. */
static int apply_unicast(
	struct xdp_device *dev, struct ixy_mac mac, const struct ixy_mac macs[], size_t count)
{
	struct ixy_mac all[XDP_MAX_UNICAST + 1];
	size_t n = 0;

	if (memcmp(&mac, &dev->netif->mac, sizeof(mac)) != 0)
		all[n++] = mac;
	if (count)
		memcpy(all + n, macs, count * sizeof(macs[0]));
	return netif_set_unicast(dev->netif, all, n + count);
}

int xdp_mac_set(struct ixy_device *ixy, struct ixy_mac mac)
{
	struct xdp_device *dev = xdp_device(ixy);
	int err = apply_unicast(dev, mac, dev->unicast, dev->unicast_count);

	if (err)
		return err;
	ixy->mac = mac;
	__atomic_store_n(&dev->filter.mac, xdp_mac_number(mac.addr), __ATOMIC_RELAXED);
	return 0;
}

int xdp_set_unicast(struct ixy_device *ixy, const struct ixy_mac macs[], size_t count)
{
	struct xdp_device *dev = xdp_device(ixy);
	int err;

	if (count > XDP_MAX_UNICAST)
		return ixy_fail(ENOSPC, "%s: %zu unicast addresses are more than the %u that can be filtered",
			ixy->name, count, XDP_MAX_UNICAST);
	err = apply_unicast(dev, ixy->mac, macs, count);
	if (err)
		return err;
	begin_change(&dev->filter);
	for (size_t i = 0; i < count; i++) {
		dev->unicast[i] = macs[i];
		__atomic_store_n(&dev->filter.unicast[i], xdp_mac_number(macs[i].addr), __ATOMIC_RELAXED);
	}
	dev->unicast_count = count;
	__atomic_store_n(&dev->filter.unicast_count, (uint32_t)count, __ATOMIC_RELEASE);
	end_change(&dev->filter);
	return 0;
}

int xdp_set_multicast(struct ixy_device *ixy, const struct ixy_mac macs[], size_t count)
{
	struct xdp_device *dev = xdp_device(ixy);
	uint64_t groups[XDP_GROUP_WORDS] = {0};
	int err = netif_set_multicast(dev->netif, macs, count);

	if (err)
		return err;
	for (size_t i = 0; i < count; i++) {
		unsigned bit = xdp_group_hash(macs[i].addr);

		groups[bit / 64] |= UINT64_C(1) << bit % 64;
	}
	begin_change(&dev->filter);
	for (size_t i = 0; i < XDP_GROUP_WORDS; i++)
		__atomic_store_n(&dev->filter.groups[i], groups[i], __ATOMIC_RELAXED);
	end_change(&dev->filter);
	return 0;
}

int xdp_set_promisc(struct ixy_device *ixy, bool on)
{
	struct xdp_device *dev = xdp_device(ixy);
	int err = netif_set_promisc(dev->netif, on);

	if (!err)
		__atomic_store_n(&dev->filter.promisc, on, __ATOMIC_RELAXED);
	return err;
}

int xdp_set_allmulti(struct ixy_device *ixy, bool on)
{
	struct xdp_device *dev = xdp_device(ixy);
	int err = netif_set_allmulti(dev->netif, on);

	if (!err)
		__atomic_store_n(&dev->filter.allmulti, on, __ATOMIC_RELAXED);
	return err;
}

int xdp_mtu_set(struct ixy_device *ixy, uint16_t mtu)
{
	int err = netif_set_mtu(xdp_device(ixy)->netif, mtu);

	if (!err)
		__atomic_store_n(&ixy->mtu, mtu, __ATOMIC_RELAXED);
	return err;
}

int xdp_set_up(struct ixy_device *ixy, bool up)
{
	struct xdp_device *dev = xdp_device(ixy);
	int err = netif_set_up(dev->netif, up);

	if (!err)
		xdp_poll_events(ixy);
	return err;
}
