/*
 * Misbehaviour on demand, so that a driver's recovery can be tested: hung queues, garbage write-backs, a reset
 * that never ends, surprise removal. The parts that misbehave ask nic_fault() where it matters.
 */
#include <errno.h>
#include <string.h>

#include "nic.h"

static const char *const names[] = {
#define X(symbol, name, text) name,
	NIC_FAULTS(X)
#undef X
};

/* These last until they are cleared; the others strike a number of times. */
#define STATES                                                                       \
	(BIT(NIC_FAULT_TX_STALL) | BIT(NIC_FAULT_TX_HANG) | BIT(NIC_FAULT_RX_HANG) | \
		BIT(NIC_FAULT_REMOVED) | BIT(NIC_FAULT_RESET_STUCK) | BIT(NIC_FAULT_NO_MASTER_DONE))

bool nic_fault(struct nic *nic, enum nic_fault f)
{
	if (!nic->fault[f])
		return false;
	if (!(STATES & BIT(f)) && nic->fault[f] != UINT64_MAX)
		nic->fault[f]--;
	return true;
}

/* What happens at the moment at which a fault comes or goes. */
static void changed(struct nic *nic, enum nic_fault f)
{
	switch (f) {
	case NIC_FAULT_REMOVED: nic_reset_function(nic); break;
	case NIC_FAULT_RESET_STUCK:
		if (nic_reg(nic, CTRL) & (CTRL_RST | CTRL_LRST))
			nic_reset_device(nic);
		break;
	default: break;
	}
}

int nic_fault_set(struct nic *nic, const char *name, uint64_t count)
{
	for (unsigned f = 0; f < NIC_FAULT_COUNT; f++) {
		if (strcmp(names[f], name))
			continue;
		bool was = nic->fault[f];
		nic->fault[f] = count;
		if (was != !!count)
			changed(nic, f);
		return 0;
	}
	return -EINVAL;
}

void nic_faults_on_reset(struct nic *nic)
{
	nic->fault[NIC_FAULT_TX_HANG] = 0;
	nic->fault[NIC_FAULT_RX_HANG] = 0;
}
