/*
 * The second front end: a slot of the PCI bus of a stock QEMU, so that an unmodified guest kernel finds the
 * NIC there and its own driver drives it.
 *
 * QEMU's device x-pci-proxy-dev forwards each access to config space and BARs as a message over a socket, and
 * waits for the answer. It hands over the guest's memory as file descriptors. Interrupts go another way: the
 * proxy knows only INTx, so an MSI-X message is written to the address that the guest put into the vector's
 * table entry, as a card would do it, through QEMU's -qtest socket.
 */
#ifndef SOFTNIC_QEMU_PCI_H
#define SOFTNIC_QEMU_PCI_H

#include "nic.h"

struct qemu_pci;

struct qemu_pci_options {
	const char *qtest; /* the path of QEMU's -qtest socket, connected to when it is first needed */
	/*
	 * DMA goes through the guest's Intel IOMMU (vtd.h), as that of the other devices on the bus does. requester:
	 * the NIC's bus << 8 | device << 3 | function, which the protocol does not tell.
	 */
	bool vtd;
	uint16_t requester;
};

/*
 * Serve nic on fd, a connected AF_UNIX stream socket whose other end QEMU gets as x-pci-proxy-dev,fd= (owned
 * from here on, unless this fails). NULL with a message on stderr.
 */
struct qemu_pci *qemu_pci_adopt(
	int fd, const struct qemu_pci_options *options, struct nic *nic, struct ev_loop *loop);
void qemu_pci_free(struct qemu_pci *qemu);

bool qemu_pci_hung_up(const struct qemu_pci *qemu);

#endif
