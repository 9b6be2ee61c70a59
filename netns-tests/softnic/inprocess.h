/*
 * A third front end: the software NIC in the driver's own process.
 *
 * Registers are function calls, doorbells stores into the model's memory, interrupts eventfds. Nothing runs by
 * itself: the caller steps the model with nic_tx_poll(), nic_receive() and nic_irq_poll(). So a test sees the
 * driver and the NIC one step at a time, and a profiler counts the driver's instructions and nothing else.
 */
#ifndef SOFTNIC_INPROCESS_H
#define SOFTNIC_INPROCESS_H

#include "driver/pci/pci.h"
#include "nic.h"

/*
 * A PCI function that is nic, as pci_open() would give it. nic must outlive it and is not freed with it.
 * Returns 0 or -ENOMEM.
 */
int inprocess_open(struct nic *nic, struct pci_device **pci);

#endif
