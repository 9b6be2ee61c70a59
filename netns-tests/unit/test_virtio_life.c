/*
 * A virtio device that is in use, in both PCI layouts: interrupts, its configuration as it changes, reset; with devices
 * that need one, hang, sleep or disappear.
 */
#include <errno.h>
#include <string.h>
#include <unistd.h>
#include <linux/pci_regs.h>
#include <linux/virtio_config.h>
#include <sys/eventfd.h>

#include "virtio_pci_rig.h"

/* --- interrupts ---------------------------------------------------------------------------------- */

static void vectors_that_the_device_has_no_room_for_are_named(void **state)
{
	const enum rig_layout layouts[] = {RIG_MODERN, RIG_LEGACY};
	const int fds[4] = {-1, -1, -1, -1};
	struct virtio_device *dev;
	struct ring ring;

	(void)state;
	for (unsigned i = 0; i < 2; i++) {
		virtio_rig_init(&rig, layouts[i]);
		rig.vectors = 2;
		dev = negotiated(0);
		assert_int_equal(rig.pci.ops->irq_set(&rig.pci, 4, fds), 0);
		make_ring(&ring, dev, 256);
		assert_int_equal(virtio_config_vector(dev, 2), -ENOSPC);
		assert_says("vector 2");
		assert_int_equal(virtio_queue_set_up(dev, 1, &ring.vq, ring.iova, 3), -ENOSPC);
		assert_says("vector 3");
		assert_says("queue 1");
		assert_int_equal(rig.queues[1].enabled, 0);
		assert_int_equal(virtio_config_vector(dev, 1), 0);
		assert_int_equal(virtio_config_vector(dev, VIRTIO_NO_VECTOR), 0);
		virtio_close(dev);
		free_ring(&ring);
		finish(NULL);
	}
}

static void a_legacy_device_has_no_vectors_while_msix_is_off(void **state)
{
	struct virtio_device *dev;
	uint8_t before[RIG_CONFIG];

	(void)state;
	virtio_rig_init(&rig, RIG_LEGACY);
	memset(rig.config, 0x55, sizeof(rig.config));
	memcpy(before, rig.config, sizeof(before));
	dev = negotiated(0);
	assert_int_equal(virtio_config_vector(dev, 1), -EINVAL);
	assert_says("MSI-X is off");
	assert_int_equal(virtio_config_vector(dev, VIRTIO_NO_VECTOR), 0);
	/* There would be the first bytes of its configuration. */
	assert_memory_equal(rig.config, before, sizeof(before));
	finish(dev);
}

static void a_device_in_trouble_says_so_and_works_again_after_a_reset(void **state)
{
	struct virtio_device *dev;
	eventfd_t signals;
	int fd = eventfd(0, EFD_NONBLOCK);

	(void)state;
	virtio_rig_init(&rig, RIG_MODERN);
	rig.offered |= F(3) | F(4);
	dev = negotiated(F(3) | F(4));
	assert_int_equal(rig.pci.ops->irq_set(&rig.pci, 1, &fd), 0);
	assert_int_equal(virtio_config_vector(dev, 0), 0);
	assert_int_equal(virtio_start(dev), 0);
	virtio_rig_needs_reset(&rig);
	assert_int_equal(eventfd_read(fd, &signals), 0);
	assert_int_equal(virtio_status(dev) & VIRTIO_CONFIG_S_NEEDS_RESET, VIRTIO_CONFIG_S_NEEDS_RESET);
	assert_int_equal(virtio_reset(dev), 0);
	/* What it offers may be something else now. */
	rig.offered &= ~F(4);
	rig.queues[3].max_size = rig.queues[4].max_size = 64;
	assert_int_equal(virtio_negotiate(dev, F(3) | F(4)), 0);
	assert_true(virtio_has(dev, 3));
	assert_false(virtio_has(dev, 4));
	assert_int_equal(dev->queue_count, 5);
	assert_int_equal(virtio_start(dev), 0);
	assert_int_equal(virtio_status(dev), 15);
	close(fd);
	finish(dev);
}

/* --- reset, and devices that go ------------------------------------------------------------------ */

static void a_reset_is_waited_for(void **state)
{
	struct virtio_device *dev;

	(void)state;
	virtio_rig_init(&rig, RIG_MODERN);
	rig.status = 15; /* as somebody left it */
	rig.reset_takes = 20;
	dev = negotiated(0);
	assert_int_equal(rig.resetting, 0);
	assert_int_equal(virtio_reset(dev), 0);
	assert_int_equal(virtio_status(dev), 0);
	finish(dev);
}

static void a_reset_that_never_ends_is_given_up_and_dma_taken_away(void **state)
{
	struct virtio_device *dev;

	(void)state;
	virtio_rig_init(&rig, RIG_MODERN);
	dev = negotiated(0);
	assert_int_equal(virtio_start(dev), 0);
	rig.reset_takes = UINT_MAX;
	assert_int_equal(virtio_reset(dev), -ETIMEDOUT);
	assert_says("reset does not end (status 0x0f");
	assert_int_equal(rig.space[PCI_COMMAND] & PCI_COMMAND_MASTER, PCI_COMMAND_MASTER);
	virtio_close(dev);
	assert_int_equal(rig.space[PCI_COMMAND] & PCI_COMMAND_MASTER, 0);
	assert_says("reset does not end"); /* the text of before */
	rig.status = 15;
	expect_refusal(ETIMEDOUT, "reset does not end");
	assert_int_equal(rig.space[PCI_COMMAND] & PCI_COMMAND_MASTER, 0);
	virtio_rig_assert_clean(&rig);
}

static void a_device_that_has_gone_is_reported_by_every_call(void **state)
{
	const enum rig_layout layouts[] = {RIG_MODERN, RIG_LEGACY};
	struct virtio_device *dev;
	struct ring ring;
	uint8_t field[8];

	(void)state;
	for (unsigned i = 0; i < 2; i++) {
		virtio_rig_init(&rig, layouts[i]);
		dev = negotiated(0);
		make_ring(&ring, dev, 256);
		rig.gone = true;
		assert_int_equal(virtio_status(dev), VIRTIO_GONE);
		assert_int_equal(virtio_queue_size(dev, 0), -ENODEV);
		assert_int_equal(virtio_queue_set_up(dev, 0, &ring.vq, ring.iova, 0), -ENODEV);
		assert_int_equal(virtio_negotiate(dev, 0), -ENODEV);
		assert_int_equal(virtio_start(dev), -ENODEV);
		assert_true(virtio_config_vector(dev, 0) < 0);
		virtio_config_read(dev, 0, field, sizeof(field)); /* whatever it says, it ends */
		virtio_config_write(dev, 0, field, sizeof(field));
		virtio_notify(dev, 0);
		assert_int_equal(virtio_reset(dev), -ENODEV);
		assert_says("removed");
		virtio_close(dev);
		free_ring(&ring);
		expect_refusal(EPROTO, "virtio");
		virtio_rig_assert_clean(&rig);
	}
}

static void a_device_that_was_put_to_sleep_is_woken_by_the_reset(void **state)
{
	struct virtio_device *dev;

	(void)state;
	virtio_rig_init(&rig, RIG_TRANSITIONAL);
	dev = negotiated(0);
	rig.space[PCI_COMMAND] = 0; /* its BARs do not answer */
	assert_int_equal(virtio_status(dev), VIRTIO_GONE);
	assert_int_equal(virtio_reset(dev), 0);
	assert_int_equal(virtio_negotiate(dev, 0), 0);
	assert_int_equal(rig.space[PCI_COMMAND] & PCI_COMMAND_MASTER, PCI_COMMAND_MASTER);
	finish(dev);
}

/* --- configuration of its kind ------------------------------------------------------------------- */

static void configuration_is_read_as_it_was_at_one_time(void **state)
{
	const enum rig_layout layouts[] = {RIG_MODERN, RIG_LEGACY};
	struct virtio_device *dev;
	uint8_t field[8];

	(void)state;
	for (unsigned i = 0; i < 2; i++) {
		virtio_rig_init(&rig, layouts[i]);
		dev = open_ok();
		for (unsigned changes = 0; changes < 40; changes++) {
			rig.config_changes = changes;
			assert_int_equal(virtio_config_read(dev, 8, field, sizeof(field)), 0);
			for (unsigned k = 1; k < sizeof(field); k++)
				assert_int_equal(field[k], field[0]); /* they change all at once */
			assert_int_equal(field[0], rig.config[8]);    /* and this is the last state */
		}
		rig.config_changes = UINT_MAX;
		assert_int_equal(virtio_config_read(dev, 8, field, sizeof(field)), -EIO);
		assert_says("never holds still");
		assert_int_equal(field[0], 0);
		finish(dev);
	}
}

static void configuration_is_read_and_written_within_its_bounds(void **state)
{
	struct virtio_device *dev;
	uint8_t all[RIG_CONFIG];
	uint16_t half;

	(void)state;
	virtio_rig_init(&rig, RIG_MODERN);
	dev = open_ok();
	assert_int_equal(virtio_config_write(dev, 0, "\x02\x11\x22\x33\x44\x55", 6), 0);
	assert_memory_equal(rig.config, "\x02\x11\x22\x33\x44\x55", 6);
	assert_int_equal(virtio_config_write(dev, 8, "\x01\x02", 2), 0);
	assert_int_equal(virtio_config_write(dev, 12, "abcd", 4), 0);
	assert_int_equal(virtio_config_write(dev, 16, "efghijkl", 8), 0);
	assert_int_equal(virtio_config_read(dev, 0, all, sizeof(all)), 0);
	assert_memory_equal(all, rig.config, sizeof(all));
	assert_int_equal(virtio_config_read(dev, 8, &half, 2), 0);
	assert_int_equal(half, 0x0201);
	assert_int_equal(virtio_config_read(dev, RIG_CONFIG - 1, all, 2), -EPROTO);
	assert_int_equal(all[0], 0);
	assert_int_equal(virtio_config_read(dev, 0xffffffff, all, 2), -EPROTO);
	assert_int_equal(virtio_config_read(dev, 1, all, 0), 0);
	assert_int_equal(virtio_config_write(dev, RIG_CONFIG - 1, "ab", 2), -EPROTO);
	finish(dev);
}

static void a_legacy_configuration_moves_when_msix_is_switched_on(void **state)
{
	struct virtio_device *dev;
	uint8_t mac[6];

	(void)state;
	virtio_rig_init(&rig, RIG_LEGACY);
	memcpy(rig.config, "\x02\x11\x22\x33\x44\x55", 6);
	dev = open_ok();
	assert_int_equal(virtio_config_read(dev, 0, mac, 6), 0);
	assert_memory_equal(mac, rig.config, 6);
	assert_int_equal(virtio_config_read(dev, RIG_PORTS - 21, mac, 1), 0);
	assert_int_equal(rig.pci.ops->irq_set(&rig.pci, 1, (const int[]){-1}), 0);
	assert_int_equal(virtio_config_read(dev, 0, mac, 6), 0);
	assert_memory_equal(mac, rig.config, 6);
	assert_int_equal(virtio_config_read(dev, RIG_PORTS - 21, mac, 1), -EPROTO);
	assert_int_equal(virtio_config_write(dev, 0, "\x06", 1), 0);
	assert_int_equal(rig.config[0], 6);
	assert_int_equal(rig.pci.ops->irq_set(&rig.pci, 0, NULL), 0);
	assert_int_equal(virtio_config_read(dev, 0, mac, 6), 0);
	assert_memory_equal(mac, rig.config, 6);
	finish(dev);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(vectors_that_the_device_has_no_room_for_are_named),
		cmocka_unit_test(a_legacy_device_has_no_vectors_while_msix_is_off),
		cmocka_unit_test(a_device_in_trouble_says_so_and_works_again_after_a_reset),
		cmocka_unit_test(a_reset_is_waited_for),
		cmocka_unit_test(a_reset_that_never_ends_is_given_up_and_dma_taken_away),
		cmocka_unit_test(a_device_that_has_gone_is_reported_by_every_call),
		cmocka_unit_test(a_device_that_was_put_to_sleep_is_woken_by_the_reset),
		cmocka_unit_test(configuration_is_read_as_it_was_at_one_time),
		cmocka_unit_test(configuration_is_read_and_written_within_its_bounds),
		cmocka_unit_test(a_legacy_configuration_moves_when_msix_is_switched_on),
	};

	return cmocka_run_group_tests_name("virtio life", tests, NULL, NULL);
}
