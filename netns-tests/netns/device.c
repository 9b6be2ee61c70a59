/*
 * What the device under ixy-tapd was told, read where it must have arrived: registers of the software NIC, or the
 * interface that an AF_XDP device is on.
 */
#include "rig.h"

#include "driver/ixgbe/regs.h"

#define SOFT_MAX_MTU 9710
#define XDP_MAX_MTU  16128

static uint64_t d0(struct rig *rig, const char *what)
{
	return command_number(rig->host, "ip -d -j link show d0 | jq '.[0] | %s'", what);
}

unsigned rig_device_max_mtu(void)
{
	return rig_xdp() ? XDP_MAX_MTU : SOFT_MAX_MTU;
}

unsigned rig_device_mtu(struct rig *rig)
{
	return rig_xdp() ? link_mtu(rig->host, "d0") : (rig_peek(rig, MAXFRS) >> MAXFRS_SHIFT) - 14 - 4;
}

bool rig_device_has_mac(struct rig *rig, const uint8_t mac[6])
{
	uint32_t low, high;

	if (rig_xdp()) {
		uint8_t own[6];

		link_mac(rig->host, "d0", own);
		return memcmp(own, mac, 6) == 0 ||
		       command(rig->host,
			       "bridge fdb show dev d0 | grep -q '^%02x:%02x:%02x:%02x:%02x:%02x self'",
			       mac[0], mac[1], mac[2], mac[3], mac[4], mac[5]) == 0;
	}
	low = (uint32_t)mac[0] | (uint32_t)mac[1] << 8 | (uint32_t)mac[2] << 16 | (uint32_t)mac[3] << 24;
	high = (uint32_t)mac[4] | (uint32_t)mac[5] << 8 | RAH_AV;
	return rig_peek(rig, RAL(0)) == low && rig_peek(rig, RAH(0)) == high;
}

bool rig_device_promisc(struct rig *rig)
{
	return rig_xdp() ? d0(rig, ".promiscuity") > 0 : rig_peek(rig, FCTRL) & FCTRL_UPE;
}

bool rig_device_allmulti(struct rig *rig)
{
	return rig_xdp() ? d0(rig, ".allmulti") > 0 : rig_peek(rig, FCTRL) & FCTRL_MPE;
}

bool rig_device_has_group(struct rig *rig, const uint8_t mac[6])
{
	/* MTA bit of a group with MCSTCTRL.MO 0: bits 47:36 of the address, the last byte highest. */
	unsigned bit = (unsigned)mac[4] >> 4 | (unsigned)mac[5] << 4;

	if (rig_xdp())
		return command(rig->host,
			       "ip maddr show dev d0 | grep -q 'link *%02x:%02x:%02x:%02x:%02x:%02x'", mac[0],
			       mac[1], mac[2], mac[3], mac[4], mac[5]) == 0;
	return rig_peek(rig, MTA(bit / 32)) & BIT(bit % 32);
}

bool rig_device_dark(struct rig *rig)
{
	return rig_xdp() ? !link_carrier(rig->peer, "p0") : rig_peek(rig, ESDP) & ESDP_SDP3;
}
