/*
 * A virtio device that says anything at all: random capabilities, and BARs of plain memory with random content.
 *
 * Behind each BAR is a page that must not be touched; whoever follows the device there ends the process.
 */
#include <linux/virtio_config.h>
#include <sys/mman.h>

#include "virtio_pci_rig.h"

#define PAGE   0x1000
#define ROUNDS 20000

/* Numbers that are the same each time; small ones, and those at the edges, are frequent. */
static uint32_t any(void)
{
	static uint64_t seed = 42;
	static const uint32_t edges[] = {
		0, 1, 2, 4, 16, 56, 0xfff, 0x1000, 0x7fffffff, 0xfffffffc, 0xffffffff};

	seed = seed * UINT64_C(6364136223846793005) + 1442695040888963407;
	return seed >> 62 == 0 ? edges[(seed >> 32) % (sizeof(edges) / sizeof(edges[0]))]
			       : (uint32_t)(seed >> 33) % 0x800;
}

static void place_bar(unsigned bar, uint8_t *pages)
{
	static const size_t sizes[] = {64, 0x400, PAGE};
	const size_t size = sizes[any() % 3];
	uint8_t *virt = pages + bar * 2 * PAGE + PAGE - size;

	for (size_t i = 0; i < size; i++)
		virt[i] = any() % 4 ? 0 : (uint8_t)any();
	rig.pci.bars[bar] = (struct pci_bar){.virt = virt, .size = any() % 16 ? size : 0};
}

/* Where a capability leads: mostly into its BAR. */
static void make_capability(uint32_t cap)
{
	const unsigned bar = any() % PCI_BARS;
	const size_t size = rig.pci.bars[bar].size;
	const uint32_t offset = size ? any() % size & ~3u : 0;

	virtio_rig_capability(&rig, cap, FIELD(bar), bar);
	virtio_rig_capability(&rig, cap, FIELD(offset), offset);
	virtio_rig_capability(&rig, cap, FIELD(length), any() % 2 ? (uint32_t)size - offset : any());
}

static void spoil(const uint32_t caps[4])
{
	static const struct {
		size_t offset, size;
	} fields[] = {{FIELD(cap_next)}, {FIELD(cap_len)}, {FIELD(cfg_type)}, {FIELD(bar)}, {FIELD(offset)},
		{FIELD(length)}};
	const unsigned f = any() % (sizeof(fields) / sizeof(fields[0]));

	virtio_rig_capability(&rig, caps[any() % 4], fields[f].offset, fields[f].size, any());
}

/* What it offers would mostly end the matter: make it a device of virtio 1.0. */
static void offer_version_1(void)
{
	struct virtio_pci_cap cap;
	const struct pci_bar *bar;

	memcpy(&cap, rig.space + RIG_CAP_COMMON, sizeof(cap));
	bar = &rig.pci.bars[cap.bar % PCI_BARS];
	if (bar->size >= 8 && cap.offset <= bar->size - 8)
		bar->virt[cap.offset + VIRTIO_PCI_COMMON_DF] |= 1;
}

/* As far as it lets us. */
static bool bring_up(struct virtio_device *dev)
{
	struct ring ring;
	bool up;

	if (virtio_negotiate(dev, UINT64_MAX) < 0 || virtio_queue_size(dev, 0) < 4)
		return false;
	make_ring(&ring, dev, 4);
	up = virtio_config_vector(dev, 0) == 0 && virtio_queue_set_up(dev, 0, &ring.vq, ring.iova, 0) == 0 &&
	     virtio_start(dev) == 0;
	if (up)
		virtio_notify(dev, 0);
	free_ring(&ring);
	return up;
}

static void capabilities_at_random_never_lead_out_of_the_bars(void **state)
{
	static const uint32_t caps[] = {RIG_CAP_COMMON, RIG_CAP_NOTIFY, RIG_CAP_ISR, RIG_CAP_CONFIG};
	uint8_t *pages =
		mmap(NULL, PCI_BARS * 2 * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	unsigned opened = 0, up = 0, read = 0;
	struct virtio_device *dev;
	uint8_t field[8];

	(void)state;
	assert_true(pages != MAP_FAILED);
	for (unsigned bar = 0; bar < PCI_BARS; bar++)
		assert_int_equal(mprotect(pages + (bar * 2 + 1) * PAGE, PAGE, PROT_NONE), 0);
	for (unsigned round = 0; round < ROUNDS; round++) {
		virtio_rig_init(&rig, RIG_MODERN);
		for (unsigned bar = 0; bar < PCI_BARS; bar++)
			place_bar(bar, pages);
		for (unsigned i = 0; i < 4; i++)
			make_capability(caps[i]);
		virtio_rig_capability(&rig, RIG_CAP_NOTIFY, VIRTIO_PCI_NOTIFY_CAP_MULT, 4, any());
		for (unsigned i = any() % 3; i > 0; i--)
			spoil(caps);
		offer_version_1();
		if (virtio_open(&rig.pci, &dev) < 0)
			continue;
		opened++;
		for (unsigned i = 0; i < 4; i++) {
			uint32_t offset = any();

			read += virtio_config_read(dev, offset, field, any() % 9) == 0;
			virtio_config_write(dev, offset, field, any() % 9);
		}
		up += bring_up(dev);
		virtio_close(dev);
	}
	munmap(pages, PCI_BARS * 2 * PAGE);
	/* It did get somewhere. */
	print_message("%u opened, %u came up, %u fields read\n", opened, up, read);
	assert_in_range(opened, ROUNDS / 50, ROUNDS);
	assert_in_range(up, 10, ROUNDS);
	assert_in_range(read, 100, 4 * ROUNDS);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(capabilities_at_random_never_lead_out_of_the_bars),
	};

	return cmocka_run_group_tests_name("virtio fuzz", tests, NULL, NULL);
}
