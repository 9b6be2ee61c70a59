/*
 * The table of names, and reading by it; see registers.h. The offsets are those of the driver (regs.h).
 *
 * Not in it: write-only registers, tables of the filters (hundreds of words each), what no driver of ours uses, and
 * SWSM, whose reading takes the semaphore that it is.
 */
#include "contrib/apps/stats/registers.h"

#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "driver/error.h"
#include "driver/ixgbe/regs.h"

enum number { ONE = 1, TWO = 2, EIGHT = 8, SIXTEEN = 16, RX_QUEUES = 256, TX_QUEUES, VECTORS, QUEUE_PAIRS };

struct entry {
	const char *name;
	uint32_t offset, next; /* of the second one, where there are several */
	enum number number;
	bool clears; /* is 0 after it was read */
};

#define ONE_OF(name)                       \
	{                                  \
#name, name, 0, ONE, false \
	}
#define SOME_OF(name, number)                          \
	{                                              \
#name, name(0), name(1), number, false \
	}
#define CLEARING(name)                    \
	{                                 \
#name, name, 0, ONE, true \
	}
#define SOME_CLEARING(name, number)                   \
	{                                             \
#name, name(0), name(1), number, true \
	}

static const struct entry table[] = {
	/* general */
	ONE_OF(CTRL), ONE_OF(STATUS), ONE_OF(CTRL_EXT), ONE_OF(ESDP), ONE_OF(I2CCTL), ONE_OF(LEDCTL),
	ONE_OF(FRTIMER), ONE_OF(EEC), ONE_OF(EERD), ONE_OF(EEMNGCTL), ONE_OF(FWSM), ONE_OF(SW_FW_SYNC),
	ONE_OF(FACTPS), ONE_OF(MANC), ONE_OF(GCR), ONE_OF(GCR_EXT),
	/* interrupts */
	CLEARING(EICR), ONE_OF(EIMS), ONE_OF(EIAC), ONE_OF(EIAM), SOME_OF(EIMS_EX, TWO), ONE_OF(GPIE),
	SOME_OF(EITR, VECTORS), SOME_OF(IVAR, QUEUE_PAIRS), ONE_OF(IVAR_MISC), ONE_OF(PBACL),
	/* MAC and link */
	ONE_OF(HLREG0), ONE_OF(HLREG1), ONE_OF(MAXFRS), ONE_OF(AUTOC), ONE_OF(AUTOC2), ONE_OF(LINKS),
	ONE_OF(LINKS2), ONE_OF(ANLP1), ONE_OF(ANLP2), ONE_OF(MACC), ONE_OF(MFLCN), ONE_OF(FCCFG),
	SOME_OF(FCRTL, EIGHT), SOME_OF(FCRTH, EIGHT), ONE_OF(FCRTV),
	/* receive */
	ONE_OF(FCTRL), ONE_OF(VLNCTRL), ONE_OF(MCSTCTRL), ONE_OF(RXCSUM), ONE_OF(RFCTL), ONE_OF(MRQC),
	SOME_OF(RAL, SIXTEEN), SOME_OF(RAH, SIXTEEN), ONE_OF(RXCTRL), ONE_OF(RDRXCTL), ONE_OF(SECRXCTRL),
	ONE_OF(SECRXSTAT), ONE_OF(RSCDBU), SOME_OF(RXPBSIZE, EIGHT), SOME_OF(RDBAL, RX_QUEUES),
	SOME_OF(RDBAH, RX_QUEUES), SOME_OF(RDLEN, RX_QUEUES), SOME_OF(RDH, RX_QUEUES),
	SOME_OF(RDT, RX_QUEUES), SOME_OF(RXDCTL, RX_QUEUES), SOME_OF(SRRCTL, RX_QUEUES),
	SOME_OF(DCA_RXCTRL, RX_QUEUES), SOME_OF(RSCCTL, RX_QUEUES),
	/* transmit */
	ONE_OF(DMATXCTL), ONE_OF(DTXTCPFLGL), ONE_OF(DTXTCPFLGH), ONE_OF(DTXMXSZRQ), ONE_OF(MTQC),
	ONE_OF(RTTDCS), ONE_OF(SECTXCTRL), ONE_OF(SECTXSTAT), ONE_OF(SECTXMINIFG), SOME_OF(TXPBSIZE, EIGHT),
	SOME_OF(TXPBTHRESH, EIGHT), SOME_OF(TDBAL, TX_QUEUES), SOME_OF(TDBAH, TX_QUEUES),
	SOME_OF(TDLEN, TX_QUEUES), SOME_OF(TDH, TX_QUEUES), SOME_OF(TDT, TX_QUEUES),
	SOME_OF(TXDCTL, TX_QUEUES), SOME_OF(TDWBAL, TX_QUEUES), SOME_OF(TDWBAH, TX_QUEUES),
	SOME_OF(DCA_TXCTRL, TX_QUEUES),
	/* statistics */
	CLEARING(CRCERRS), CLEARING(ILLERRC), CLEARING(ERRBC), CLEARING(MSPDC), SOME_CLEARING(MPC, EIGHT),
	SOME_CLEARING(RNBC, EIGHT), CLEARING(MLFC), CLEARING(MRFC), CLEARING(RLEC), CLEARING(LXONTXC),
	CLEARING(LXOFFTXC), CLEARING(LXONRXCNT), CLEARING(LXOFFRXCNT), CLEARING(PRC64), CLEARING(PRC127),
	CLEARING(PRC255), CLEARING(PRC511), CLEARING(PRC1023), CLEARING(PRC1522), CLEARING(GPRC),
	CLEARING(BPRC), CLEARING(MPRC), CLEARING(GPTC), CLEARING(GORCL), CLEARING(GORCH), CLEARING(GOTCL),
	CLEARING(GOTCH), CLEARING(RUC), CLEARING(RFC), CLEARING(ROC), CLEARING(RJC), CLEARING(MNGPRC),
	CLEARING(MNGPDC), CLEARING(MNGPTC), CLEARING(TORL), CLEARING(TORH), CLEARING(TPR), CLEARING(TPT),
	CLEARING(PTC64), CLEARING(PTC127), CLEARING(PTC255), CLEARING(PTC511), CLEARING(PTC1023),
	CLEARING(PTC1522), CLEARING(MPTC), CLEARING(BPTC), CLEARING(XEC), SOME_CLEARING(QPRC, RX_QUEUES),
	SOME_CLEARING(QPRDC, RX_QUEUES), SOME_CLEARING(QBRC_L, RX_QUEUES), SOME_CLEARING(QBRC_H, RX_QUEUES),
	SOME_CLEARING(QPTC, TX_QUEUES), SOME_CLEARING(QBTC_L, TX_QUEUES), SOME_CLEARING(QBTC_H, TX_QUEUES)};

#define ENTRIES (sizeof(table) / sizeof(table[0]))

static unsigned number_of(const struct ixy_device *dev, const struct entry *entry)
{
	unsigned rx = ixy_rx_queues(dev), tx = ixy_tx_queues(dev), most = rx > tx ? rx : tx;

	switch (entry->number) {
	case RX_QUEUES: return rx;
	case TX_QUEUES: return tx;
	case VECTORS: return rx + 1;             /* and one for all other causes */
	case QUEUE_PAIRS: return (most + 1) / 2; /* two queues of each direction in one */
	default: return entry->number;
	}
}

static void name_of(const struct entry *entry, unsigned n, char *name, size_t size)
{
	if (entry->number == ONE)
		snprintf(name, size, "%s", entry->name);
	else
		snprintf(name, size, "%s[%u]", entry->name, n);
}

static int read_one(
	struct ixy_device *dev, const struct entry *entry, unsigned n, struct register_value *value)
{
	value->offset = entry->offset + n * (entry->next - entry->offset) * (entry->number != ONE);
	name_of(entry, n, value->name, sizeof(value->name));
	return ixy_read_register(dev, value->offset, &value->value);
}

static int refuse(const struct ixy_device *dev)
{
	return ixy_fail(ENOTSUP, "%s: its driver is %s; names of registers are known for ixgbe",
		ixy_device_name(dev), ixy_driver_name(dev));
}

int registers_read(struct ixy_device *dev, bool clearing, struct register_value **values)
{
	unsigned all = 0, got = 0;
	int rc = 0;

	if (strcmp(ixy_driver_name(dev), "ixgbe") != 0)
		return refuse(dev);
	for (size_t i = 0; i < ENTRIES; i++)
		all += number_of(dev, &table[i]);
	*values = calloc(all, sizeof(**values));
	if (!*values)
		return ixy_fail(ENOMEM, "%s: out of memory", ixy_device_name(dev));
	for (size_t i = 0; i < ENTRIES; i++)
		for (unsigned n = 0; n < number_of(dev, &table[i]) && rc == 0; n++)
			if (clearing || !table[i].clears)
				rc = read_one(dev, &table[i], n, &(*values)[got++]);
	if (rc == 0)
		return (int)got;
	free(*values);
	return rc;
}

/* Letter case does not matter. */
static bool same_name(const char *name, const char *text)
{
	while (*name && toupper((unsigned char)*text) == *name) {
		name++;
		text++;
	}
	return !*name && !*text;
}

int register_read(struct ixy_device *dev, const char *text, struct register_value *value)
{
	char *end;
	unsigned long offset = strtoul(text, &end, 0);

	if (*text >= '0' && *text <= '9' && !*end && offset <= UINT32_MAX) {
		snprintf(value->name, sizeof(value->name), "%s", text);
		value->offset = (uint32_t)offset;
		return ixy_read_register(dev, value->offset, &value->value);
	}
	if (strcmp(ixy_driver_name(dev), "ixgbe") != 0)
		return refuse(dev);
	for (size_t i = 0; i < ENTRIES; i++) {
		for (unsigned n = 0; n < number_of(dev, &table[i]); n++) {
			char name[sizeof(value->name)];

			name_of(&table[i], n, name, sizeof(name));
			if (same_name(name, text))
				return read_one(dev, &table[i], n, value);
		}
	}
	return ixy_fail(EINVAL,
		"%s: no register %s: a name like LINKS, RDT[0], or an offset like 0x42a4 is wanted",
		ixy_device_name(dev), text);
}
