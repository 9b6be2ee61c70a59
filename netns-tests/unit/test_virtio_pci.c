/*
 * Finding a virtio device's registers, and bringing it up, in both PCI layouts: features, capabilities, queues; with
 * devices that are malformed, refuse, or do not keep what they are told.
 */
#include <errno.h>
#include <string.h>
#include <unistd.h>
#include <linux/pci_regs.h>
#include <linux/virtio_config.h>
#include <sys/eventfd.h>

#include "virtio_pci_rig.h"

/* --- coming up ----------------------------------------------------------------------------------- */

static void assert_statuses(const uint8_t *expected, unsigned count)
{
	assert_int_equal(rig.status_count, count);
	assert_memory_equal(rig.statuses, expected, count);
}

static void a_modern_device_comes_up_in_the_order_of_the_specification(void **state)
{
	struct virtio_device *dev;
	struct ring ring;

	(void)state;
	virtio_rig_init(&rig, RIG_MODERN);
	rig.offered |= F(63) | F(0) | F(5);
	dev = open_ok();
	assert_true(dev->modern);
	assert_int_equal(dev->offered, rig.offered);
	assert_int_equal(rig.space[PCI_COMMAND] & PCI_COMMAND_MASTER, PCI_COMMAND_MASTER);
	assert_int_equal(virtio_negotiate(dev, F(63) | F(5) | F(7)), 0);
	assert_int_equal(dev->features, F(63) | F(5) | F(VIRTIO_F_VERSION_1) | F(VIRTIO_F_ACCESS_PLATFORM));
	assert_int_equal(rig.accepted, dev->features);
	assert_true(virtio_has(dev, 63));
	assert_false(virtio_has(dev, 0));
	assert_int_equal(dev->queue_count, 3);
	assert_int_equal(virtio_queue_size(dev, 2), 256);
	assert_int_equal(virtio_queue_size(dev, 3), 0);
	make_ring(&ring, dev, 128);
	assert_int_equal(virtio_queue_set_up(dev, 1, &ring.vq, ring.iova, 5), 0);
	assert_int_equal(rig.queues[1].enabled, 1);
	assert_int_equal(rig.queues[1].size, 128);
	assert_int_equal(rig.queues[1].vector, 5);
	assert_int_equal(rig.queues[1].desc, ring.iova);
	assert_int_equal(rig.queues[1].avail, ring.iova + virtqueue_avail_offset(&ring.vq));
	assert_int_equal(rig.queues[1].used, ring.iova + virtqueue_used_offset(&ring.vq));
	assert_int_equal(virtio_config_vector(dev, 0), 0);
	assert_int_equal(rig.config_vector, 0);
	assert_int_equal(virtio_start(dev), 0);
	assert_int_equal(virtio_status(dev), 15);
	assert_statuses((const uint8_t[]){0, 1, 3, 11, 15}, 5);
	virtio_notify(dev, 1);
	assert_int_equal(rig.queues[1].notified, 1);
	virtio_close(dev);
	assert_int_equal(rig.status, 0);
	assert_int_equal(rig.queues[1].enabled, 0);
	free_ring(&ring);
	finish(NULL);
}

static void a_legacy_device_comes_up_by_its_ports(void **state)
{
	struct virtio_device *dev;
	struct ring ring;

	(void)state;
	virtio_rig_init(&rig, RIG_LEGACY);
	rig.offered |= F(5) | F(40);
	dev = open_ok();
	assert_false(dev->modern);
	assert_int_equal(dev->offered, (uint32_t)rig.offered); /* it can say no more */
	assert_int_equal(virtio_negotiate(dev, F(5) | F(40)), 0);
	assert_int_equal(dev->features, F(5));
	assert_int_equal(rig.accepted, F(5));
	assert_int_equal(dev->queue_count, 3);
	assert_int_equal(virtio_queue_size(dev, 2), 256);
	assert_int_equal(virtio_queue_size(dev, 3), 0);
	make_ring(&ring, dev, 256);
	assert_int_equal(rig.pci.ops->irq_set(&rig.pci, 2, (const int[]){-1, -1}), 0);
	assert_int_equal(virtio_config_vector(dev, 0), 0);
	assert_int_equal(virtio_queue_set_up(dev, 1, &ring.vq, ring.iova, 1), 0);
	assert_int_equal(rig.config_vector, 0);
	assert_int_equal(rig.queues[1].vector, 1);
	assert_int_equal(rig.queues[1].page, ring.iova >> 12);
	/* Where the device takes them to be, from the page alone. */
	assert_int_equal(rig.queues[1].avail, ring.iova + virtqueue_avail_offset(&ring.vq));
	assert_int_equal(rig.queues[1].used, ring.iova + virtqueue_used_offset(&ring.vq));
	assert_int_equal(virtio_start(dev), 0);
	assert_statuses((const uint8_t[]){0, 1, 3, 7}, 4);
	virtio_notify(dev, 1);
	assert_int_equal(rig.queues[1].notified, 1);
	virtio_close(dev);
	assert_int_equal(rig.queues[1].page, 0);
	free_ring(&ring);
	finish(NULL);
}

static void a_transitional_device_is_driven_as_a_modern_one(void **state)
{
	struct virtio_device *dev;

	(void)state;
	virtio_rig_init(&rig, RIG_TRANSITIONAL);
	dev = negotiated(0);
	assert_true(dev->modern);
	assert_false(rig.legacy_used);
	finish(dev);
}

/* One chain of two pieces there and back, with the signal that it brings. */
static void exchange(enum rig_layout layout, uint64_t features)
{
	struct virtqueue_piece pieces[2];
	struct virtqueue_used used;
	struct rig_chain chain;
	struct virtio_device *dev;
	struct ring ring;
	const uint8_t hello[5] = {'h', 'e', 'l', 'l', 'o'};
	uint8_t *buffer;
	eventfd_t signals;
	char text[16];
	int fds[2] = {-1, eventfd(0, EFD_NONBLOCK)};

	virtio_rig_init(&rig, layout);
	dev = negotiated(features);
	assert_int_equal(dev->features & features, features);
	assert_int_equal(rig.pci.ops->irq_set(&rig.pci, 2, fds), 0);
	make_ring(&ring, dev, 256);
	assert_int_equal(virtio_queue_set_up(dev, 2, &ring.vq, ring.iova, 1), 0);
	assert_int_equal(virtio_start(dev), 0);
	buffer = spare(&ring);
	pieces[0] = (struct virtqueue_piece){dma_iova(ring.memory, buffer), 5};
	pieces[1] = (struct virtqueue_piece){dma_iova(ring.memory, buffer + 100), 50};
	for (unsigned round = 0; round < 70000; round++) { /* past the wrap of the indices */
		memcpy(buffer, hello, 5);
		assert_int_equal(virtqueue_add(&ring.vq, pieces, 1, 1, buffer), 0);
		if (virtqueue_publish(&ring.vq))
			virtio_notify(dev, 2);
		assert_int_equal(rig.queues[2].notified, round + 1);
		assert_false(virtqueue_arm(&ring.vq));
		assert_true(virtio_rig_take(&rig, 2, &chain));
		assert_int_equal(chain.outs, 1);
		assert_int_equal(chain.in_bytes, 50);
		assert_int_equal(virtio_rig_read(&chain, 0, text, sizeof(text)), 5);
		assert_memory_equal(text, hello, 5);
		assert_int_equal(virtio_rig_write(&chain, 0, "world!", 6), 6);
		virtio_rig_give(&rig, 2, &chain, 6);
		assert_int_equal(eventfd_read(fds[1], &signals), 0);
		assert_int_equal(virtqueue_take(&ring.vq, &used, 1), 1);
		assert_ptr_equal(used.cookie, buffer);
		assert_int_equal(used.written, 6);
		assert_memory_equal(buffer + 100, "world!", 6);
		assert_false(virtio_rig_take(&rig, 2, &chain));
	}
	virtio_close(dev);
	free_ring(&ring);
	close(fds[1]);
	finish(NULL);
}

static void buffers_go_there_and_back_in_both_layouts(void **state)
{
	(void)state;
	exchange(RIG_MODERN, 0);
	exchange(RIG_MODERN, F(VIRTIO_RING_F_EVENT_IDX) | F(VIRTIO_RING_F_INDIRECT_DESC));
	exchange(RIG_LEGACY, 0);
	exchange(RIG_LEGACY, F(VIRTIO_RING_F_EVENT_IDX));
}

/* --- features ------------------------------------------------------------------------------------ */

static void a_device_that_does_not_agree_is_refused(void **state)
{
	struct virtio_device *dev;

	(void)state;
	virtio_rig_init(&rig, RIG_MODERN);
	rig.offered |= F(22);
	rig.refused = F(22);
	dev = open_ok();
	assert_int_equal(virtio_negotiate(dev, F(22)), -ENOTSUP);
	assert_says("does not agree to the features 0x3");
	/* It can be asked for less. */
	assert_int_equal(virtio_reset(dev), 0);
	assert_int_equal(virtio_negotiate(dev, 0), 0);
	finish(dev);
}

static void modern_registers_without_version_1_are_refused(void **state)
{
	(void)state;
	virtio_rig_init(&rig, RIG_MODERN);
	rig.offered &= ~F(VIRTIO_F_VERSION_1);
	expect_refusal(EPROTO, "VIRTIO_F_VERSION_1");
	virtio_rig_assert_clean(&rig);
}

/* QEMU's devices reach past its IOMMU unless told otherwise, and would write to physical addresses. */
static void a_device_that_goes_past_the_iommu_gets_no_virtual_addresses(void **state)
{
	struct virtio_device *dev;

	(void)state;
	virtio_rig_init(&rig, RIG_MODERN);
	rig.pci.behind_iommu = true;
	dev = negotiated(0);
	finish(dev);
	rig.offered &= ~F(VIRTIO_F_ACCESS_PLATFORM);
	dev = open_ok();
	assert_int_equal(virtio_negotiate(dev, 0), -ENOTSUP);
	assert_says("--iova pa");
	assert_says("with iommu_platform=on");
	virtio_close(dev);
	rig.pci.iova_mode = DMA_IOVA_PA;
	finish(negotiated(0));

	virtio_rig_init(&rig, RIG_LEGACY);
	rig.pci.behind_iommu = true;
	dev = open_ok();
	assert_int_equal(virtio_negotiate(dev, 0), -ENOTSUP);
	assert_says("disable-legacy=on,iommu_platform=on");
	finish(dev);
}

/* --- capabilities -------------------------------------------------------------------------------- */

static void malformed_capabilities_are_refused_with_what_is_wrong(void **state)
{
	static const struct {
		uint32_t cap;
		size_t offset, size;
		uint32_t value;
		const char *text;
	} cases[] = {
		{RIG_CAP_COMMON, FIELD(offset), RIG_BAR_SIZE - 52, "not within BAR 4"},
		{RIG_CAP_COMMON, FIELD(offset), RIG_BAR_SIZE + 4, "not within BAR 4"},
		{RIG_CAP_COMMON, FIELD(offset), 0xfffffffc, "not within BAR 4"},
		{RIG_CAP_COMMON, FIELD(offset), 2, "no multiple of 4"},
		{RIG_CAP_COMMON, FIELD(length), 52, "common configuration has 52 bytes, 56 are the least"},
		{RIG_CAP_COMMON, FIELD(length), 0xffffffff, "not within BAR 4"},
		{RIG_CAP_COMMON, FIELD(cap_len), 15, "has 15 bytes, 16 are the least"},
		{RIG_CAP_COMMON, FIELD(bar), 3, "no BAR 3"},
		{RIG_CAP_COMMON, FIELD(bar), 6, "no capability that leads to its virtio registers"},
		{RIG_CAP_COMMON, FIELD(cfg_type), 9, "no capability that leads to its virtio registers"},
		{RIG_CAP_COMMON, FIELD(cfg_type), 0, "no capability that leads to its virtio registers"},
		{RIG_CAP_COMMON, FIELD(cap_next), 0, "no virtio capability for its notifications"},
		{RIG_CAP_COMMON, FIELD(cap_next), RIG_CAP_COMMON, "capability for its notifications"},
		{RIG_CAP_NOTIFY, FIELD(length), 1, "notifications has 1 bytes, 2 are the least"},
		{RIG_CAP_NOTIFY, FIELD(offset), RIG_NOTIFY_AT + 1, "no multiple of 2"},
		{RIG_CAP_NOTIFY, FIELD(length), 0x10000, "not within BAR 2"},
		{RIG_CAP_NOTIFY, FIELD(cap_len), 16, "(notifications) has 16 bytes, 20 are the least"},
		{RIG_CAP_CONFIG, FIELD(offset), RIG_BAR_SIZE - 60, "not within BAR 4"},
		{RIG_CAP_CONFIG, FIELD(length), 0, "device configuration has 0 bytes"},
		{PCI_CAPABILITY_LIST, 0, 1, 0, "no capability that leads to its virtio registers"},
		{PCI_CAPABILITY_LIST, 0, 1, 0xf8, "runs past config space"},
	};

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		virtio_rig_init(&rig, RIG_MODERN);
		rig.space[0xf8] = PCI_CAP_ID_VNDR;
		virtio_rig_capability(&rig, cases[i].cap, cases[i].offset, cases[i].size, cases[i].value);
		expect_refusal(EPROTO, cases[i].text);
		/* It was not even reset: nothing is known of where its registers are. */
		assert_int_equal(rig.status_count, 0);
		virtio_rig_assert_clean(&rig);
	}
}

static void of_several_structures_of_a_kind_the_first_that_is_known_counts(void **state)
{
	struct virtio_device *dev;
	const struct virtio_pci_cap later = {.cap_vndr = PCI_CAP_ID_VNDR,
		.cap_next = RIG_CAP_COMMON,
		.cap_len = sizeof(later),
		.cfg_type = VIRTIO_PCI_CAP_COMMON_CFG,
		.bar = 7}; /* of a later version */
	struct virtio_pci_cap second = later;

	(void)state;
	virtio_rig_init(&rig, RIG_MODERN);
	memcpy(rig.space + RIG_CAP_END, &later, sizeof(later));
	second.bar = 5; /* which there is not, but it is not looked at */
	second.cap_next = 0;
	memcpy(rig.space + RIG_CAP_END + 16, &second, sizeof(second));
	rig.space[PCI_CAPABILITY_LIST] = RIG_CAP_END;
	virtio_rig_capability(&rig, RIG_CAP_CONFIG, FIELD(cap_next), RIG_CAP_END + 16);
	dev = negotiated(0);
	finish(dev);
}

static void a_device_without_configuration_of_its_kind_has_none_to_be_read(void **state)
{
	struct virtio_device *dev;
	uint8_t byte = 1;

	(void)state;
	virtio_rig_init(&rig, RIG_MODERN);
	virtio_rig_capability(&rig, RIG_CAP_ISR, FIELD(cap_next), 0);
	dev = open_ok();
	assert_int_equal(virtio_config_read(dev, 0, &byte, 1), -EPROTO);
	assert_int_equal(byte, 0);
	finish(dev);
}

static void what_is_no_legacy_device_is_refused(void **state)
{
	(void)state;
	virtio_rig_init(&rig, RIG_LEGACY);
	rig.space[PCI_REVISION_ID] = 1;
	expect_refusal(EPROTO, "revision");
	virtio_rig_init(&rig, RIG_LEGACY);
	rig.pci.bars[0].size = 0;
	expect_refusal(EPROTO, "no BAR 0");
	virtio_rig_init(&rig, RIG_LEGACY);
	rig.pci.bars[0].size = 20;
	expect_refusal(EPROTO, "20 bytes of this one's BAR 0");
}

/* --- queues -------------------------------------------------------------------------------------- */

static void notifications_are_stores_where_the_register_is_mapped(void **state)
{
	struct virtio_device *dev;
	struct ring ring;

	(void)state;
	virtio_rig_init(&rig, RIG_MODERN);
	virtio_rig_map_notify(&rig);
	rig.queues[2].notify_off = 7; /* each has its own, in any order */
	dev = negotiated(0);
	make_ring(&ring, dev, 64);
	assert_int_equal(virtio_queue_set_up(dev, 2, &ring.vq, ring.iova, VIRTIO_NO_VECTOR), 0);
	assert_int_equal(virtio_start(dev), 0);
	virtio_notify(dev, 2);
	assert_int_equal(virtio_rig_stored(&rig, 2), 2);
	assert_int_equal(rig.queues[2].notified, 0);
	virtio_close(dev);
	free_ring(&ring);

	/* One register for all: the value says which queue. */
	virtio_rig_init(&rig, RIG_MODERN);
	virtio_rig_capability(&rig, RIG_CAP_NOTIFY, VIRTIO_PCI_NOTIFY_CAP_MULT, 4, 0);
	virtio_rig_capability(&rig, RIG_CAP_NOTIFY, FIELD(length), 2);
	dev = negotiated(0);
	make_ring(&ring, dev, 64);
	assert_int_equal(virtio_queue_set_up(dev, 2, &ring.vq, ring.iova, VIRTIO_NO_VECTOR), 0);
	assert_int_equal(virtio_start(dev), 0);
	virtio_notify(dev, 2);
	assert_int_equal(rig.queues[2].notified, 1);
	virtio_close(dev);
	free_ring(&ring);
	finish(NULL);
}

/* Set queue 1 up with a ring of num entries, and close the device again. Returns what set-up said. */
static int try_queue(uint16_t num)
{
	struct virtio_device *dev = negotiated(0);
	struct ring ring;
	int err;

	make_ring(&ring, dev, num);
	err = virtio_queue_set_up(dev, 1, &ring.vq, ring.iova, VIRTIO_NO_VECTOR);
	virtio_close(dev);
	free_ring(&ring);
	return err;
}

static void notification_registers_outside_of_their_structure_are_refused(void **state)
{
	(void)state;
	virtio_rig_init(&rig, RIG_MODERN);
	rig.queues[1].notify_off = RIG_QUEUES;
	assert_int_equal(try_queue(64), -EPROTO);
	assert_says("a notification register at 64 of a structure of 64 bytes");
	rig.queues[1].notify_off = 0xffff;
	virtio_rig_capability(&rig, RIG_CAP_NOTIFY, VIRTIO_PCI_NOTIFY_CAP_MULT, 4, 0xffffffff);
	assert_int_equal(try_queue(64), -EPROTO);
	rig.queues[1].notify_off = 1;
	virtio_rig_capability(&rig, RIG_CAP_NOTIFY, VIRTIO_PCI_NOTIFY_CAP_MULT, 4, 3);
	assert_int_equal(try_queue(64), -EPROTO);
	virtio_rig_capability(&rig, RIG_CAP_NOTIFY, VIRTIO_PCI_NOTIFY_CAP_MULT, 4, 62);
	assert_int_equal(try_queue(64), 0); /* the very last one */
	finish(NULL);
}

static void sizes_of_queues_are_checked(void **state)
{
	struct virtio_device *dev;

	(void)state;
	virtio_rig_init(&rig, RIG_MODERN);
	assert_int_equal(try_queue(512), -EINVAL);
	assert_says("at most 256");
	rig.queues[1].max_size = 0x8001;
	dev = negotiated(0);
	assert_int_equal(virtio_queue_size(dev, 1), -EPROTO);
	assert_says("32769 entries");
	virtio_close(dev);
	rig.queues[1].max_size = 32768;
	dev = negotiated(0);
	assert_int_equal(virtio_queue_size(dev, 1), 32768);
	virtio_close(dev);
	rig.queues[1].max_size = 300; /* as a packed ring may have: of a split one, less is used */
	dev = negotiated(0);
	assert_int_equal(virtio_queue_size(dev, 1), 256);
	virtio_close(dev);
	for (unsigned i = 0; i < RIG_QUEUES; i++)
		rig.queues[i].max_size = 0;
	dev = open_ok();
	assert_int_equal(virtio_negotiate(dev, 0), -EPROTO);
	assert_says("no queues");
	finish(dev);

	virtio_rig_init(&rig, RIG_LEGACY);
	assert_int_equal(try_queue(128), -EINVAL); /* it cannot be told another size */
	assert_says("which has 256");
	rig.queues[1].max_size = 300;
	dev = negotiated(0);
	assert_int_equal(virtio_queue_size(dev, 1), -EPROTO);
	finish(dev);
}

static void what_the_device_does_not_keep_is_found_by_reading_it_back(void **state)
{
	(void)state;
	virtio_rig_init(&rig, RIG_MODERN);
	rig.loses_size = true;
	assert_int_equal(try_queue(64), -EPROTO);
	assert_says("does not take 64 entries");
	rig.loses_size = false;
	rig.loses_enable = true;
	assert_int_equal(try_queue(64), -EPROTO);
	assert_says("does not enable queue 1");
	rig.loses_enable = false;
	assert_int_equal(try_queue(64), 0);
	finish(NULL);
	virtio_rig_init(&rig, RIG_LEGACY);
	rig.loses_page = true;
	assert_int_equal(try_queue(256), -EPROTO);
	assert_says("does not take queue 1");
	finish(NULL);
}

static void a_queue_is_set_up_once(void **state)
{
	const enum rig_layout layouts[] = {RIG_MODERN, RIG_LEGACY};
	struct virtio_device *dev;
	struct ring ring;

	(void)state;
	for (unsigned i = 0; i < 2; i++) {
		virtio_rig_init(&rig, layouts[i]);
		dev = negotiated(0);
		make_ring(&ring, dev, 256);
		assert_int_equal(virtio_queue_set_up(dev, 3, &ring.vq, ring.iova, VIRTIO_NO_VECTOR), -EINVAL);
		assert_says("no queue 3");
		assert_int_equal(virtio_queue_set_up(dev, 1, &ring.vq, ring.iova, VIRTIO_NO_VECTOR), 0);
		assert_int_equal(virtio_queue_set_up(dev, 1, &ring.vq, ring.iova, VIRTIO_NO_VECTOR), -EPROTO);
		assert_says("in use already");
		/* After a reset it is free again. */
		assert_int_equal(virtio_reset(dev), 0);
		assert_int_equal(virtio_negotiate(dev, 0), 0);
		assert_int_equal(virtio_queue_set_up(dev, 1, &ring.vq, ring.iova, VIRTIO_NO_VECTOR), 0);
		virtio_close(dev);
		free_ring(&ring);
		finish(NULL);
	}
}

static void a_legacy_ring_lies_on_a_page_that_32_bits_can_name(void **state)
{
	struct virtio_device *dev;
	struct ring ring;

	(void)state;
	virtio_rig_init(&rig, RIG_LEGACY);
	dev = negotiated(0);
	make_ring(&ring, dev, 256);
	assert_int_equal(virtio_queue_set_up(dev, 0, &ring.vq, 1ull << 44, VIRTIO_NO_VECTOR), -EINVAL);
	assert_says("44 address bits");
	assert_int_equal(virtio_queue_set_up(dev, 0, &ring.vq, 0, VIRTIO_NO_VECTOR), -EINVAL);
	assert_int_equal(virtio_queue_set_up(dev, 0, &ring.vq, ring.iova + 64, VIRTIO_NO_VECTOR), -EINVAL);
	assert_says("aligned to 4096");
	virtqueue_free(&ring.vq);
	assert_int_equal(virtqueue_init(&ring.vq, 256, ring.memory->virt, 64, 0), 0);
	assert_int_equal(virtio_queue_set_up(dev, 0, &ring.vq, ring.iova, VIRTIO_NO_VECTOR), -EINVAL);
	assert_says("aligned to 4096");
	virtio_close(dev);
	free_ring(&ring);
	finish(NULL);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_modern_device_comes_up_in_the_order_of_the_specification),
		cmocka_unit_test(a_legacy_device_comes_up_by_its_ports),
		cmocka_unit_test(a_transitional_device_is_driven_as_a_modern_one),
		cmocka_unit_test(buffers_go_there_and_back_in_both_layouts),
		cmocka_unit_test(a_device_that_does_not_agree_is_refused),
		cmocka_unit_test(modern_registers_without_version_1_are_refused),
		cmocka_unit_test(a_device_that_goes_past_the_iommu_gets_no_virtual_addresses),
		cmocka_unit_test(malformed_capabilities_are_refused_with_what_is_wrong),
		cmocka_unit_test(of_several_structures_of_a_kind_the_first_that_is_known_counts),
		cmocka_unit_test(a_device_without_configuration_of_its_kind_has_none_to_be_read),
		cmocka_unit_test(what_is_no_legacy_device_is_refused),
		cmocka_unit_test(notifications_are_stores_where_the_register_is_mapped),
		cmocka_unit_test(notification_registers_outside_of_their_structure_are_refused),
		cmocka_unit_test(sizes_of_queues_are_checked),
		cmocka_unit_test(what_the_device_does_not_keep_is_found_by_reading_it_back),
		cmocka_unit_test(a_queue_is_set_up_once),
		cmocka_unit_test(a_legacy_ring_lies_on_a_page_that_32_bits_can_name),
	};

	return cmocka_run_group_tests_name("virtio pci", tests, NULL, NULL);
}
