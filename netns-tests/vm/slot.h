/*
 * QEMU's own virtio-net in place of the software NIC (vm_options.slot): a PCI slot of the guest, empty when it boots,
 * into which a test plugs a function of the kind that it is about, and the cable from there to the peer.
 *
 *	namespace peer        namespace host                               QEMU
 *	p0 ====== veth ====== d0 -- bridge "cable" -- t0, a tap with a queue a queue pair -- PCI 0000:01:00.0
 *
 * The cable carries what a wire does: d0 completes checksums and cuts super-frames before they reach p0. The other
 * way that is for p0 to say: with its offloads on, as it is set up, the guest is given whole super-frames and sums that
 * are still to be completed, if its driver has asked for them; else t0 does that work.
 */
#ifndef VM_SLOT_H
#define VM_SLOT_H

#include "vm.h"

#define SLOT_NIC "0000:01:00.0"
#define SLOT_MAC "02:82:59:90:00:01"

/* Which of the two register layouts the function offers (virtio 1.2, 4.1). */
enum slot_kind {
	SLOT_MODERN,       /* that of virtio 1.0 and later: 1af4:1041 */
	SLOT_LEGACY,       /* the one before, in an I/O BAR: 1af4:1000 */
	SLOT_TRANSITIONAL, /* both: 1af4:1000 */
};

struct slot_nic {
	enum slot_kind kind;
	unsigned queues;        /* pairs; 0: one, and no VIRTIO_NET_F_MQ */
	bool translated;        /* VIRTIO_F_ACCESS_PLATFORM: its DMA goes through the IOMMU, not past it */
	const char *properties; /* more of QEMU's virtio-net-pci, such as "host_mtu=4000"; NULL: none */
};

/* No offload at all: neither sums nor super-frames, neither way. */
#define SLOT_NO_OFFLOADS                                                          \
	"csum=off,gso=off,host_tso4=off,host_tso6=off,host_ecn=off,host_ufo=off," \
	"guest_csum=off,guest_tso4=off,guest_tso6=off,guest_ecn=off,guest_ufo=off,ctrl_guest_offloads=off"

/* Plug a function in; returns when the guest's kernel has it. What a test that failed has left there goes first. */
void slot_plug(struct vm *vm, const struct slot_nic *nic);
/* The guest is asked to let go of it, and has; slot_eject() only asks. */
void slot_unplug(struct vm *vm);
void slot_eject(struct vm *vm);
void slot_await_empty(struct vm *vm);

/* The function's link, which the tap's carrier does not tell it. */
void slot_link(struct vm *vm, bool up);

/*
 * What the function has been told to let in, as QEMU describes it: JSON, with members such as "promiscuous": true (QEMU's
 * query-rx-filter). Constant string until the next call.
 */
const char *slot_filter(struct vm *vm);

/* Give QEMU's monitor a command. Returns its answer, constant string until the next call. */
const char *slot_ask(struct vm *vm, const char *command);
/* One of those that say nothing when they succeed. */
void slot_monitor(struct vm *vm, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* For vm.c: QEMU's arguments (constant string until the next call), connecting to its monitor, and the cable. */
const char *slot_arguments(void);
bool slot_connect(struct vm *vm);
void slot_lay_cable(struct vm *vm);

#endif
