/*
 * Which frames the MAC lets in (datasheet 7.1.1): exact unicast addresses, a hash table for multicast,
 * promiscuity, and the longest frame. All can change while traffic flows.
 */
#include <errno.h>
#include <string.h>

#include "driver/ixgbe/ixgbe.h"

static void write_address(struct ixgbe_device *dev, unsigned slot, const struct ixy_mac *mac)
{
	const uint8_t *a = mac->addr;

	/* The halves are not written at once: take the old address out of use first. */
	reg_write(dev, RAH(slot), 0);
	reg_write(dev, RAL(slot),
		(uint32_t)a[0] | (uint32_t)a[1] << 8 | (uint32_t)a[2] << 16 | (uint32_t)a[3] << 24);
	reg_write(dev, RAH(slot), (uint32_t)a[4] | (uint32_t)a[5] << 8 | RAH_AV);
}

static void write_fctrl(struct ixgbe_device *dev)
{
	uint32_t fctrl = FCTRL_BAM; /* broadcast always */

	if (dev->promisc)
		fctrl |= FCTRL_UPE | FCTRL_MPE;
	if (dev->allmulti)
		fctrl |= FCTRL_MPE;
	reg_write(dev, FCTRL, fctrl);
}

/* MAXFRS counts the CRC but not a VLAN tag (8.2.3.22.13). */
static void write_max_frame(struct ixgbe_device *dev)
{
	reg_write(dev, MAXFRS, (uint32_t)(dev->ixy.mtu + 14 + 4) << MAXFRS_SHIFT);
	if (dev->ixy.mtu > 1500)
		reg_set(dev, HLREG0, HLREG0_JUMBOEN);
	else
		reg_clear(dev, HLREG0, HLREG0_JUMBOEN);
}

void ixgbe_filters_apply(struct ixgbe_device *dev)
{
	write_address(dev, 0, &dev->ixy.mac);
	for (unsigned i = 0; i < IXGBE_MAX_UNICAST; i++) {
		if (i < dev->unicast_count)
			write_address(dev, i + 1, &dev->unicast[i]);
		else
			reg_write(dev, RAH(i + 1), 0);
	}
	for (unsigned i = 0; i < IXGBE_MTA_WORDS; i++)
		reg_write(dev, MTA(i), dev->mta[i]);
	reg_write(dev, MCSTCTRL, MCSTCTRL_MFE); /* MO 0: bits 47:36 of the address */

	/* Filters that we do not use; a reset leaves them undefined: VLAN, unicast hash, 5-tuples. */
	for (unsigned i = 0; i < 128; i++) {
		reg_write(dev, VFTA(i), 0);
		reg_write(dev, PFUTA(i), 0);
		reg_write(dev, FTQF(i), 0);
		reg_write(dev, PFVLVFB(i), 0);
	}
	for (unsigned i = 0; i < 64; i++)
		reg_write(dev, PFVLVF(i), 0);
	/* Without virtualisation there is one pool of 64, pool 0: every address leads to it, two words each. */
	for (unsigned i = 0; i < 128; i++) {
		reg_write(dev, MPSAR(2 * i), BIT(0));
		reg_write(dev, MPSAR(2 * i + 1), 0);
	}
	reg_clear(dev, VLNCTRL, VLNCTRL_VFE);
	write_fctrl(dev);
	write_max_frame(dev);
}

/* The address from the EEPROM, which every reset loads into the first slot. */
struct ixy_mac ixgbe_permanent_mac(struct ixgbe_device *dev)
{
	uint32_t low = reg_read(dev, RAL(0)), high = reg_read(dev, RAH(0));

	return (struct ixy_mac){{(uint8_t)low, (uint8_t)(low >> 8), (uint8_t)(low >> 16),
		(uint8_t)(low >> 24), (uint8_t)high, (uint8_t)(high >> 8)}};
}

int ixgbe_mac_set(struct ixy_device *ixy, struct ixy_mac mac)
{
	struct ixgbe_device *dev = ixgbe(ixy);

	dev->ixy.mac = mac;
	write_address(dev, 0, &mac);
	return 0;
}

int ixgbe_set_unicast(struct ixy_device *ixy, const struct ixy_mac macs[], size_t n)
{
	struct ixgbe_device *dev = ixgbe(ixy);

	if (n > IXGBE_MAX_UNICAST)
		return ixy_fail(ENOSPC,
			"%s: %zu unicast addresses, but the NIC has %u filters: use promiscuous mode",
			ixy->name, n, IXGBE_MAX_UNICAST);
	for (size_t i = 0; i < n; i++)
		write_address(dev, (unsigned)i + 1, &macs[i]);
	for (size_t i = n; i < dev->unicast_count; i++)
		reg_write(dev, RAH(i + 1), 0);
	if (n)
		memcpy(dev->unicast, macs, n * sizeof(*macs));
	dev->unicast_count = n;
	return 0;
}

int ixgbe_set_multicast(struct ixy_device *ixy, const struct ixy_mac macs[], size_t n)
{
	struct ixgbe_device *dev = ixgbe(ixy);
	uint32_t mta[IXGBE_MTA_WORDS] = {0};

	/* 12 bits of the address, its last byte and the high half of the one before, name one bit of 4096. */
	for (size_t i = 0; i < n; i++) {
		unsigned bit = (macs[i].addr[4] >> 4 | (unsigned)macs[i].addr[5] << 4) & 0xFFF;

		mta[bit / 32] |= BIT(bit % 32);
	}
	for (unsigned i = 0; i < IXGBE_MTA_WORDS; i++) {
		if (mta[i] != dev->mta[i])
			reg_write(dev, MTA(i), mta[i]);
	}
	memcpy(dev->mta, mta, sizeof(mta));
	return 0;
}

int ixgbe_set_promisc(struct ixy_device *ixy, bool on)
{
	ixgbe(ixy)->promisc = on;
	write_fctrl(ixgbe(ixy));
	return 0;
}

int ixgbe_set_allmulti(struct ixy_device *ixy, bool on)
{
	ixgbe(ixy)->allmulti = on;
	write_fctrl(ixgbe(ixy));
	return 0;
}

int ixgbe_mtu_set(struct ixy_device *ixy, uint16_t mtu)
{
	__atomic_store_n(&ixy->mtu, mtu, __ATOMIC_RELAXED);
	write_max_frame(ixgbe(ixy));
	return 0;
}
