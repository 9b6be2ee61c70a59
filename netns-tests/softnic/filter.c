/*
 * Which frames are wanted, and by whom (7.1.1, 7.1.2).
 *
 * An address passes by an exact filter (RAL/RAH), as broadcast, by the multicast hash table or because the
 * filter is open (UPE, MPE); a tag passes by VFTA. What passes goes to the queue that RSS picks from RETA, or
 * to queue 0. The unicast hash table (PFUTA) takes part only with virtualisation on, which this model does not
 * have; nor has it the ethertype, 5-tuple and flow-director filters, which choose a queue but drop nothing.
 *
 * The driver changes these registers by messages, so they are read only after one, and never inside a burst.
 */
#include "datapath.h"

#include <string.h>

#define ETHER_MAC_CONTROL 0x8808
#define RETA_ENTRIES      128

/* The address as RAL and RAH hold it: first byte lowest. */
static inline uint64_t mac_key(const uint8_t *mac)
{
	uint64_t key = 0;

	memcpy(&key, mac, 6);
	return key;
}

static void load_rss(const struct nic *nic, struct rx_config *config)
{
	uint8_t key[40];

	for (unsigned i = 0; i < 10; i++) {
		uint32_t word = nic_reg(nic, RSSRK(i));

		memcpy(key + 4 * i, &word, 4);
	}
	if (memcmp(key, config->rss_key, sizeof(key)) == 0)
		return; /* an all-zero key has an all-zero table, so this holds for the first one, too */
	memcpy(config->rss_key, key, sizeof(key));
	rss_prepare(&config->rss, key);
}

static void load_addresses(const struct nic *nic, struct rx_config *config)
{
	config->addresses = 0;
	for (unsigned i = 0; i < 128; i++) {
		uint32_t high = nic_reg(nic, RAH(i));

		if (high & RAH_AV)
			config->address[config->addresses++] =
				(uint64_t)(high & 0xffff) << 32 | nic_reg(nic, RAL(i));
	}
}

void rx_config_update(const struct nic *nic, struct rx_config *config)
{
	uint32_t hlreg0 = nic_reg(nic, HLREG0);

	if (config->register_writes == nic->register_writes)
		return;
	config->register_writes = nic->register_writes;
	config->enabled = nic_reg(nic, RXCTRL) & RXCTRL_RXEN;
	config->loopback = hlreg0 & HLREG0_LPBK;
	config->crc_strip = hlreg0 & HLREG0_RXCRCSTRP;
	config->hash_wanted = nic_reg(nic, RXCSUM) & RXCSUM_PCSD;
	config->max_frame = mac_max_frame(nic);
	config->fctrl = nic_reg(nic, FCTRL);
	config->vlnctrl = nic_reg(nic, VLNCTRL);
	config->vlan_type = config->vlnctrl & VLNCTRL_VET;
	config->mcstctrl = nic_reg(nic, MCSTCTRL);
	config->mrqc = nic_reg(nic, MRQC);
	config->psrtype = nic_reg(nic, PSRTYPE(0));
	if ((config->mrqc & MRQC_MRQE) == MRQC_RSS)
		load_rss(nic, config);
	load_addresses(nic, config);
}

static bool exact_match(const struct rx_config *config, const uint8_t *mac)
{
	uint64_t key = mac_key(mac);

	for (unsigned i = 0; i < config->addresses; i++)
		if (config->address[i] == key)
			return true;
	return false;
}

static bool multicast_table_match(const struct nic *nic, const struct rx_config *config, const uint8_t *mac)
{
	unsigned bit = multicast_hash(mac, config->mcstctrl & MCSTCTRL_MO);

	return nic_reg(nic, MTA(bit / 32)) >> bit % 32 & 1;
}

static enum rx_verdict filter_address(
	const struct nic *nic, const struct rx_config *config, const uint8_t *mac)
{
	if (exact_match(config, mac))
		return RX_EXACT;
	if (ether_is_broadcast(mac))
		return config->fctrl & FCTRL_BAM ? RX_EXACT : RX_REJECT;
	if (!ether_is_multicast(mac))
		return config->fctrl & FCTRL_UPE ? RX_INEXACT : RX_REJECT;
	if (config->fctrl & FCTRL_MPE)
		return RX_INEXACT;
	if ((config->mcstctrl & MCSTCTRL_MFE) && multicast_table_match(nic, config, mac))
		return RX_INEXACT;
	return RX_REJECT;
}

static bool filter_vlan(const struct nic *nic, const struct rx_config *config, const uint8_t *frame)
{
	uint16_t tci = load_be16(frame + ETHER_HEADER);
	unsigned id = tci & 0xfff;

	if ((config->vlnctrl & VLNCTRL_CFIEN) && !(tci & 0x1000) != !(config->vlnctrl & VLNCTRL_CFI))
		return false;
	return nic_reg(nic, VFTA(id / 32)) >> id % 32 & 1;
}

/* frame: 60 bytes or more. */
enum rx_verdict rx_filter(const struct nic *nic, const struct rx_config *config, const uint8_t *frame)
{
	uint16_t type = load_be16(frame + 12);

	if (unlikely(type == ETHER_MAC_CONTROL) && !(nic_reg(nic, MFLCN) & MFLCN_PMCF))
		return RX_REJECT; /* pause frames and their kind end in the MAC */
	if ((config->vlnctrl & VLNCTRL_VFE) && type == config->vlan_type && !filter_vlan(nic, config, frame))
		return RX_REJECT;
	return filter_address(nic, config, frame);
}

unsigned rx_choose_queue(const struct nic *nic, const struct rx_config *config, const uint8_t *frame,
	const struct frame_info *info, uint32_t *hash, uint8_t *type)
{
	*hash = 0;
	*type = 0;
	if ((config->mrqc & MRQC_MRQE) != MRQC_RSS)
		return 0;
	*hash = rss_hash(config->mrqc, &config->rss, frame, info, type);
	if (*type == 0)
		return 0;
	unsigned entry = *hash % RETA_ENTRIES;

	return nic_reg(nic, RETA(entry / 4)) >> (entry % 4 * 8) & 0xf;
}

size_t rx_header_size(const struct rx_config *config, const struct frame_info *info)
{
	uint32_t types = config->psrtype;

	/* The innermost header that PSRTYPE lets be split off. */
	if ((info->tcp && (types & PSRTYPE_TCP)) || (info->udp && (types & PSRTYPE_UDP)))
		return (size_t)info->l4_offset + info->l4_size;
	if ((info->ipv4 && (types & PSRTYPE_IPV4)) || (info->ipv6 && (types & PSRTYPE_IPV6)))
		return info->l4_offset;
	return types & PSRTYPE_L2 ? info->l3_offset : 0;
}
