/*
 * The rig of the VM tests: a guest with a stock kernel, and the software NIC on its PCI bus, or QEMU's own virtio-net
 * in its place (slot.h).
 *
 *	namespace peer                    namespace host          QEMU
 *	p0  ================ veth ======  d0 -- ixy-softnic -- PCI 0000:00:04.0
 *	10.X.Y.1, fdXX::1                 no address           the driver under test, 10.X.Y.2, fdXX::2
 *
 * The namespaces, the cable and the commands are those of the namespace tests (rig.h); "host" is the guest
 * here. The guest has the host's userspace, read-only below a layer of memory, and its own stock kernel with
 * all its modules. The test sends it shell scripts and gets back what they print and how they end.
 *
 * One guest serves all tests of a program: VM_TEST()s share it, and each must leave it as it found it.
 */
#ifndef VM_VM_H
#define VM_VM_H

#include "netns-tests/netns/rig.h"

#define VM_NIC "0000:00:04.0"

struct vm {
	struct rig *rig; /* the namespaces, and the software NIC's control socket */
	struct process *qemu;
	const char *nic;  /* the PCI function under test: VM_NIC, or SLOT_NIC where there is a slot */
	int agent;        /* the guest's side: scripts in, answers out; -1: the guest is gone */
	int monitor;      /* QEMU's, where there is a slot (slot.h); else -1 */
	bool plugged;     /* there is something in the slot */
	bool ejected;     /* of which the guest has let go */
	char *output;     /* of the last script */
	uint64_t excused; /* IOMMU faults that a test meant; with a slot, lines of QEMU's complaints */
};

/* main() of a test program. IXY_TESTS in the environment chooses among them, by a name with wildcards. */
#define VM_TEST(name) cmocka_unit_test_setup_teardown(name, vm_test_begin, vm_test_end)
#define vm_main(subject, tests, up) \
	(vm_begin() ? cmocka_run_group_tests_name(subject, tests, up, vm_group_end) : EXIT_FAILURE)
bool vm_begin(void);
int vm_test_begin(void **state);
int vm_test_end(void **state);
int vm_group_end(void **state);

struct vm_options {
	bool slot; /* for QEMU's own virtio-net, in place of the software NIC: slot.h */
	/*
	 * An Intel IOMMU (VT-d) in front of the NIC, whose DMA it translates and checks. The software NIC's
	 * interrupts are not remapped, so VFIO wants vfio_iommu_type1 loaded with allow_unsafe_interrupts=1; those of
	 * a function in the slot are. Without it DMA goes to physical addresses.
	 */
	bool iommu;
	unsigned address_bits; /* that it translates: 39 or 48; 0: 48 */
	const char *append;    /* to the kernel's command line; NULL: nothing */
};

/*
 * Boot a guest with the software NIC, or with a slot, in it; returns when the guest takes scripts. *state gets the struct vm.
 * As a group's setup: 0, or the group fails with the guest's console. NULL options: no IOMMU.
 */
int vm_boot(void **state);
int vm_boot_with(void **state, const struct vm_options *options);

/*
 * Run a shell script in the guest. Returns its exit status, or STATUS_TIMEOUT after so many seconds (then it
 * has been killed, and its children). What it printed, stdout and stderr together, is in vm->output.
 */
int vm_run(struct vm *vm, unsigned seconds, const char *format, ...) __attribute__((format(printf, 3, 4)));
/* It must succeed within COMMAND_SECONDS, or the test fails with what it printed. Returns vm->output. */
const char *vm_ok(struct vm *vm, const char *format, ...) __attribute__((format(printf, 2, 3)));
/* It must succeed and print a decimal number, which is returned. */
uint64_t vm_number(struct vm *vm, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* The guest has so many huge pages of 2 MiB, no more and no fewer. */
void vm_huge_pages(struct vm *vm, unsigned count);

/* Connect to a Unix socket in the test's folder; -1 if nobody listens. */
int vm_connect(const char *name);

/* What the guest's console shows: the kernel's messages while booting, or a panic. */
const char *vm_console(struct vm *vm);

/*
 * The software NIC has seen nothing that silicon would suffer from, but for what was excused. QEMU says on stderr
 * what a driver does to its virtio-net that no driver may: there, not a line.
 */
void vm_assert_no_violation(struct vm *vm);
/*
 * What the IOMMU has refused the NIC up to now was the test's intention. Returns how many such faults were new (with a
 * slot: lines).
 */
uint64_t vm_excuse_iommu_faults(struct vm *vm);

/*
 * Switch the guest off and assert that all has ended in order: QEMU, and the software NIC with no violation.
 */
void vm_finish(struct vm *vm);

#endif
