/*
 * The link, as the MAC sees it.
 *
 * Light comes in when the wire has carrier, the cable is plugged in, and our own laser is on (the other side
 * then answers); LINKS follows, and each change is a link status change interrupt. There is no negotiation to
 * wait for: the link is up as soon as it can be.
 */
#include "nic.h"

bool nic_laser_on(const struct nic *nic)
{
	const uint32_t off = ESDP_SDP3_DIR | ESDP_SDP3;
	return (nic_reg(nic, ESDP) & off) != off;
}

static bool loopback(const struct nic *nic)
{
	return nic_reg(nic, HLREG0) & HLREG0_LPBK && nic_reg(nic, AUTOC) & AUTOC_FLU;
}

static bool link_up(const struct nic *nic)
{
	if (loopback(nic))
		return true;
	return nic->link.carrier && !nic->link.cable_out && nic_laser_on(nic) &&
	       !(nic_reg(nic, AUTOC2) & AUTOC2_LINK_DISABLE);
}

void nic_link_update(struct nic *nic)
{
	bool up = link_up(nic);
	uint32_t links = 0;
	if (up)
		links = LINKS_UP | (nic->link.speed == 1000 ? LINKS_SPEED_1G : LINKS_SPEED_10G);
	bool changed = links != nic_reg(nic, LINKS);
	nic_reg_set(nic, LINKS, links);
	if (up != nic->link.up) {
		nic->link.up = up;
		nic->link.changes++;
	}
	if (changed)
		nic_irq_cause(nic, EICR_LSC);
}

void nic_wire_carrier(struct nic *nic, bool up)
{
	nic->link.carrier = up;
	nic_link_update(nic);
}
