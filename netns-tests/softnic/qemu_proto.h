/*
 * What QEMU's multi-process protocol has on the wire (QEMU: docs/devel/multi-process.rst, 7.2's layout): a
 * header, `size` bytes of payload, and descriptors that come with the first byte of the header. All numbers
 * are in the host's byte order.
 *
 * Config space, BAR and reset messages are answered, writes too, by QEMU_PCI_RET with a 64-bit value. QEMU
 * waits for the answer; SYNC_SYSMEM and SET_IRQFD have none.
 */
#ifndef SOFTNIC_QEMU_PROTO_H
#define SOFTNIC_QEMU_PROTO_H

#include <stdint.h>

#define QEMU_PCI_REGIONS 8 /* of guest memory in a message, a descriptor each */

enum qemu_pci_command {
	QEMU_PCI_SYNC_SYSMEM, /* the guest's memory, all of it, each time it changes */
	QEMU_PCI_RET,
	QEMU_PCI_CONFIG_WRITE,
	QEMU_PCI_CONFIG_READ,
	QEMU_PCI_BAR_WRITE,
	QEMU_PCI_BAR_READ,
	QEMU_PCI_SET_IRQFD, /* INTx: two eventfds */
	QEMU_PCI_DEVICE_RESET,
	QEMU_PCI_COMMANDS
};

struct qemu_pci_header {
	int32_t command;
	int32_t padding; /* uninitialized in QEMU */
	uint64_t size;
};

struct qemu_pci_config {
	uint32_t address, value;
	int32_t size; /* 1, 2 or 4 */
};

struct qemu_pci_bar {
	uint64_t address; /* absolute: the BAR's address is part of it */
	uint64_t value;
	uint32_t size;
	uint8_t memory; /* 0: I/O space */
	uint8_t padding[3];
};

struct qemu_pci_sysmem { /* regions without a descriptor are not used */
	uint64_t address[QEMU_PCI_REGIONS];
	uint64_t size[QEMU_PCI_REGIONS];
	int64_t offset[QEMU_PCI_REGIONS]; /* in the descriptor's file */
};

struct qemu_pci_reply {
	struct qemu_pci_header header;
	uint64_t value;
};

#endif
