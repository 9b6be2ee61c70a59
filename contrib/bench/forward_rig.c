/* See forward_rig.h. */
#include "contrib/bench/forward_rig.h"

#include <err.h>
#include <stdlib.h>
#include <string.h>

static void swallow(struct wire *wire, const uint8_t *frame, size_t size)
{
	(void)wire, (void)frame, (void)size;
}

static void flush(struct wire *wire)
{
	(void)wire;
}

void rig_open(struct rig *rig, uint16_t queues)
{
	static const struct wire_ops ops = {.send = swallow, .flush = flush};
	static const uint8_t mac[6] = {0x02, 0, 0, 0, 0, 1};
	struct ixy_options options = {.rx_queues = queues,
		.tx_queues = queues,
		.rx_ring = RIG_RING,
		.tx_ring = RIG_RING,
		.mtu = RIG_JUMBO};
	struct pci_device *pci;

	memset(rig, 0, sizeof(*rig));
	rig->nic = nic_create(0, "bench", mac);
	if (!rig->nic)
		exit(1);
	rig->wire.ops = &ops;
	rig->wire.nic = rig->nic;
	rig->nic->wire = &rig->wire;
	nic_wire_carrier(rig->nic, true);
	if (inprocess_open(rig->nic, &pci) < 0 || ixgbe_driver.open(pci, &options, &rig->dev) < 0)
		errx(1, "%s", ixy_last_error());
	rig->pool = ixy_mempool_create(rig->dev, 2 * RIG_RING, 0);
	if (!rig->pool)
		errx(1, "%s", ixy_last_error());
	ixy_poll_events(rig->dev);
	if (!ixy_link_get(rig->dev).up)
		errx(1, "no link");
	memcpy(rig->frame, mac, 6);
	rig->frame[6] = 2;
	rig->frame[12] = 0x88; /* an ethertype for experiments: no header to parse */
	rig->frame[13] = 0xB5;
}

void rig_close(struct rig *rig)
{
	ixy_stop(rig->dev);
	if (ixy_mempool_free(rig->pool) < 0)
		errx(1, "%s", ixy_last_error());
	ixy_close(rig->dev);
	for (unsigned i = 0; i < NIC_VIOLATION_COUNT; i++)
		if (rig->nic->violation[i])
			errx(1, "the NIC saw a violation: %s", nic_violation_name(i));
	rig->nic->wire = NULL;
	nic_free(rig->nic);
}

void rig_feed(struct rig *rig, uint32_t size, uint32_t count)
{
	for (uint32_t i = 0; i < count; i++)
		nic_receive(rig->nic, rig->frame, size);
	nic_receive_flush(rig->nic);
}
