/*
 * What tests of the transmit side share: rings, descriptors, doorbells.
 */
#ifndef UNIT_TX_RIG_H
#define UNIT_TX_RIG_H

#include "nic_rig.h"

#define RING       64            /* descriptors, unless a test says otherwise */
#define RING_AT(n) ((n)*0x1000u) /* offset of queue n's ring in the memory */

static inline union ixgbe_tx_desc *ring(struct rig *rig, unsigned n)
{
	return (union ixgbe_tx_desc *)(rig->memory + RING_AT(n));
}

static inline void configure_queue(struct rig *rig, unsigned n, uint32_t count)
{
	rig_write(rig, TDBAL(n), (uint32_t)(RIG_IOVA + RING_AT(n)));
	rig_write(rig, TDBAH(n), (uint32_t)((RIG_IOVA + RING_AT(n)) >> 32));
	rig_write(rig, TDLEN(n), count * 16);
	rig_write(rig, TDH(n), 0);
	rig_write(rig, TDT(n), 0);
}

static inline void start_queue(struct rig *rig, unsigned n, uint32_t count)
{
	rig_set(rig, DMATXCTL, DMATXCTL_TE);
	rig_write(rig, TXDCTL(n), 0);
	configure_queue(rig, n, count);
	rig_set(rig, TXDCTL(n), TXDCTL_ENABLE);
	assert_true(nic_peek32(rig->nic, TXDCTL(n)) & TXDCTL_ENABLE);
}

static inline int setup_with_queue(void **state)
{
	rig_setup(state);
	start_queue(*state, 0, RING);
	return 0;
}

static inline uint8_t *buffer(struct rig *rig, unsigned i)
{
	return rig->memory + RIG_BUFFERS + i * 0x8000u;
}

static inline uint64_t buffer_iova(unsigned i)
{
	return RIG_IOVA + RIG_BUFFERS + i * 0x8000u;
}

/* Advanced data descriptor number i of queue 0, for size bytes at offset of buffer b. */
static inline void put_data(struct rig *rig, unsigned i, unsigned b, uint32_t offset, uint32_t size,
	uint32_t cmd, uint32_t olinfo)
{
	ring(rig, 0)[i] = (union ixgbe_tx_desc){
		.read = {.addr = buffer_iova(b) + offset,
			.cmd_type_len = TXD_CMD_DEXT | TXD_DTYP_DATA | TXD_CMD_IFCS | cmd | size,
			.olinfo_status = olinfo}};
}

static inline void put_single(struct rig *rig, unsigned i, unsigned b, uint32_t size)
{
	put_data(rig, i, b, 0, size, TXD_CMD_EOP | TXD_CMD_RS, size << TXD_OL_PAYLEN_SHIFT);
}

struct context {
	unsigned index, maclen, iplen, l4len, mss, l4t, vlan;
	bool ipv4;
};

static inline void put_context(struct rig *rig, unsigned i, const struct context *c)
{
	ring(rig, 0)[i].context.vlan_maclen_iplen =
		c->vlan << TXC_VLAN_SHIFT | c->maclen << TXC_MACLEN_SHIFT | c->iplen;
	ring(rig, 0)[i].context.fcoef_ipsec = 0;
	ring(rig, 0)[i].context.tucmd = TXD_CMD_DEXT | TXD_DTYP_CONTEXT | c->l4t << TXC_TUCMD_L4T_SHIFT |
					(c->ipv4 ? TXC_TUCMD_IPV4 : 0);
	ring(rig, 0)[i].context.mss_l4len_idx =
		c->mss << TXC_MSS_SHIFT | c->l4len << TXC_L4LEN_SHIFT | c->index << TXC_IDX_SHIFT;
}

static inline void put_legacy(struct rig *rig, unsigned i, unsigned b, uint32_t size, uint8_t cmd)
{
	ring(rig, 0)[i] = (union ixgbe_tx_desc){
		.legacy = {.addr = buffer_iova(b), .length = (uint16_t)size, .cmd = cmd}};
}

enum { LEGACY_EOP = 1, LEGACY_IFCS = 2, LEGACY_IC = 4, LEGACY_RS = 8, LEGACY_VLE = 64 };

static inline unsigned ring_doorbell(struct rig *rig, uint32_t tail)
{
	rig_write(rig, TDT(0), tail);
	unsigned sent = nic_tx_poll(rig->nic, 1000);

	assert_false(nic_tx_work(rig->nic));
	return sent;
}

static inline bool done(struct rig *rig, unsigned i)
{
	return ring(rig, 0)[i].wb.status & TXD_STAT_DD;
}

static inline void fill(uint8_t *data, size_t size, uint8_t seed)
{
	for (size_t i = 0; i < size; i++)
		data[i] = (uint8_t)(seed + i * 13);
}

static inline void assert_sent(struct rig *rig, unsigned i, const void *data, size_t size)
{
	assert_in_range(i, 0, rig->sent_count - 1);
	assert_int_equal(rig->sent[i].size, size);
	assert_memory_equal(rig->sent[i].data, data, size);
}

#endif
