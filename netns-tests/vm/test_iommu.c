/*
 * The kernel's own ixgbe driver on the software NIC behind an IOMMU: what the driver maps, and the kernel writes
 * into the IOMMU's tables, is all that the NIC may touch. That the driver, known to be good, does so without a
 * violation is a statement about the model's walk through those tables; that DMA past them is stopped, one about
 * its worth.
 *
 * Three guests: in two the kernel maps each buffer by itself, and unmaps it at once; the third has the identity
 * map.
 */
#include "traffic.h"

/* Memory that the guest's kernel leaves alone, and so no driver maps: a test writes there what it likes. */
#define APART         0x30000000u
#define APART_ON_BOOT "memmap=1M$0x30000000 iomem=relaxed"

static int boot(void **state, const char *append)
{
	const struct vm_options options = {.iommu = true, .append = append};
	struct vm *vm;

	vm_boot_with(state, &options);
	vm = *state;
	vm_ok(vm, "modprobe ixgbe");
	traffic_set_up(vm, "eth0");
	return 0;
}

static int boot_translated(void **state)
{
	return boot(state, "iommu.strict=1");
}

static int boot_with_memory_apart(void **state)
{
	return boot(state, APART_ON_BOOT);
}

static int boot_identity(void **state)
{
	return boot(state, "iommu=pt " APART_ON_BOOT);
}

/* What the kernel made of the NIC's IOMMU group. */
static void assert_domain(struct vm *vm, const char *type)
{
	vm_ok(vm, "dmesg | grep 'DMAR: IOMMU enabled'");
	vm_ok(vm, "grep -x %s /sys/bus/pci/devices/" VM_NIC "/iommu_group/type", type);
}

/* The NIC looks into the tables for what it does. */
static void assert_translated(struct vm *vm)
{
	uint64_t before = rig_nic(vm->rig, "iommu_walks");

	traffic_pings(vm);
	assert_true(rig_nic(vm->rig, "iommu_walks") > before);
}

static void assert_no_violation(struct vm *vm)
{
	if (rig_violations(vm->rig, 0))
		fail_msg("the software NIC counted %s:\n%s", rig_ctl(vm->rig, "violations 0"),
			process_stderr(vm->rig->softnic));
}

/* --- traffic -------------------------------------------------------------------------------------------- */

static void traffic_passes_when_each_page_is_unmapped_at_once(void **state)
{
	struct vm *vm = *state;

	assert_domain(vm, "DMA");
	vm_ok(vm, "dmesg | grep 'invalidation policy: strict'");
	assert_translated(vm);
	traffic_sizes(vm);
	traffic_streams(vm);
	traffic_file(vm);
	assert_no_violation(vm);
}

static void jumbo_frames_pass_over_pages_that_lie_apart(void **state)
{
	struct vm *vm = *state;

	traffic_jumbo_and_back(vm, "eth0");
	assert_no_violation(vm);
}

/* Each time the rings get other addresses; the old ones are gone from the tables. */
static void the_driver_can_be_unloaded_and_loaded(void **state)
{
	struct vm *vm = *state;

	for (unsigned i = 0; i < 3; i++) {
		vm_ok(vm, "modprobe -r ixgbe && modprobe ixgbe");
		traffic_set_up(vm, "eth0");
		traffic_pings(vm);
	}
	assert_no_violation(vm);
}

static void everything_ends_without_a_violation(void **state)
{
	vm_finish(*state);
}

/* --- DMA that nobody allowed ---------------------------------------------------------------------------- */

/*
 * Behind the driver's back: queue 127, which it does not use, gets a ring at APART with one descriptor for a frame
 * of 60 bytes at APART + 4 KiB, and its tail is moved. A NIC that gets there sends the frame, and writes to the
 * descriptor that this is done.
 */
static void send_from_apart(struct vm *vm)
{
	vm_ok(vm,
		"bar=$(awk 'NR == 1 { print $1 }' /sys/bus/pci/devices/" VM_NIC "/resource)\n"
		"apart() { busybox devmem $((%u + $1)) 64 $2; }\n"
		"register() { busybox devmem $((bar + $1)) 32 $2; }\n"
		"apart 0 $((%u + 4096))\n"
		"apart 8 0x000F00002B30003C\n" /* PAYLEN 60; EOP, IFCS, RS, advanced data, 60 bytes */
		"apart 0x1000 0xFFFFFFFFFFFF && apart 0x1008 0xB588000000000000\n"
		"[ $(busybox devmem $((%u + 8)) 64) = 0x000F00002B30003C ] || exit 1\n"
		"register 0x7FC0 %u && register 0x7FC4 0 && register 0x7FC8 128\n" /* TDBAL, TDBAH, TDLEN */
		"register 0x7FE8 0x02000000\n"                                     /* TXDCTL.ENABLE */
		"register 0x7FD8 1\n",                                             /* TDT */
		APART, APART, APART, APART);
}

static uint64_t descriptor_at_apart(struct vm *vm)
{
	return vm_number(vm, "printf '%%d\\n' $(busybox devmem $((%u + 8)) 64)", APART);
}

static void dma_outside_the_map_is_stopped_and_reported(void **state)
{
	struct vm *vm = *state;
	const char *report;
	char expected[64];

	assert_domain(vm, "DMA");
	assert_translated(vm);
	send_from_apart(vm);
	assert_soon(10, rig_violations(vm->rig, 0) > 0);
	assert_non_null(strstr(rig_ctl(vm->rig, "violations 0"), "dma-iommu 1\ntotal 1\n"));
	assert_int_equal(descriptor_at_apart(vm), 0x000F00002B30003C);
	/* Where, which way, and why not. */
	snprintf(expected, sizeof(expected), "read of 128 bytes at 0x%x: no page", APART);
	report = process_stderr(vm->rig->softnic);
	if (!strstr(report, "violation dma-iommu") || !strstr(report, expected))
		fail_msg("no \"%s\" in: %s", expected, report);
	/* The driver's own queues know nothing of it. */
	traffic_pings(vm);
	assert_int_equal(rig_violations(vm->rig, 0), 1);
}

/* The counter-proof: the same DMA where the tables allow it. */
static void the_same_dma_passes_the_identity_map(void **state)
{
	struct vm *vm = *state;
	uint64_t sent;

	assert_domain(vm, "identity");
	assert_translated(vm);
	sent = rig_nic(vm->rig, "tx_frames");
	send_from_apart(vm);
	assert_soon(10, descriptor_at_apart(vm) == 0x0000000100000000);
	assert_true(rig_nic(vm->rig, "tx_frames") > sent);
	assert_no_violation(vm);
}

int main(void)
{
	const struct CMUnitTest translated[] = {
		VM_TEST(traffic_passes_when_each_page_is_unmapped_at_once),
		VM_TEST(jumbo_frames_pass_over_pages_that_lie_apart),
		VM_TEST(the_driver_can_be_unloaded_and_loaded),
		VM_TEST(everything_ends_without_a_violation),
	};
	const struct CMUnitTest astray[] = {
		VM_TEST(dma_outside_the_map_is_stopped_and_reported),
	};
	const struct CMUnitTest identity[] = {
		VM_TEST(the_same_dma_passes_the_identity_map),
		VM_TEST(everything_ends_without_a_violation),
	};

	return vm_main("ixgbe behind an IOMMU", translated, boot_translated) +
	       vm_main("DMA gone astray behind an IOMMU", astray, boot_with_memory_apart) +
	       vm_main("ixgbe behind an IOMMU with the identity map", identity, boot_identity);
}
