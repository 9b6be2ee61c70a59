/*
 * The rings of the virtio function that a test plays, from the device's side (virtio 1.2, 2.7). See virtio_rig.h.
 *
 * Written from the specification alone, and not from virtqueue.c, which it is to test.
 */
#include "virtio_rig.h"

#include <string.h>
#include <linux/pci_regs.h>
#include <linux/virtio_config.h>
#include <linux/virtio_ring.h>

static bool accepted(const struct virtio_rig *rig, unsigned feature)
{
	return rig->accepted >> feature & 1;
}

void *virtio_rig_memory(struct virtio_rig *rig, uint64_t iova, size_t size)
{
	for (unsigned i = 0; i < rig->region_count; i++) {
		const struct dma_region *region = rig->regions[i];
		struct dma_run run = {0};

		while (dma_next_run(region, &run))
			if (iova >= run.iova && iova - run.iova < run.size &&
				size <= run.size - (iova - run.iova))
				return region->virt + run.offset + (iova - run.iova);
	}
	return NULL;
}

/* As DMA meets it: bus mastering must be on, and the memory mapped. */
static void *reach(struct virtio_rig *rig, uint64_t iova, size_t size, const char *what)
{
	void *memory = virtio_rig_memory(rig, iova, size);

	if (!(rig->space[PCI_COMMAND] & PCI_COMMAND_MASTER)) {
		virtio_rig_violation(rig, "%s while the function is no bus master", what);
		return NULL;
	}
	if (!memory)
		virtio_rig_violation(
			rig, "%s: %zu bytes at 0x%llx are not mapped", what, size, (unsigned long long)iova);
	return memory;
}

/* The queue, if the device may work on it. */
static struct rig_queue *live(struct virtio_rig *rig, uint16_t index)
{
	struct rig_queue *q = &rig->queues[index];

	if (index >= RIG_QUEUES || !q->enabled || !(rig->status & VIRTIO_CONFIG_S_DRIVER_OK) ||
		rig->status & VIRTIO_CONFIG_S_NEEDS_RESET)
		return NULL;
	return q;
}

static struct vring_avail *avail_of(struct virtio_rig *rig, const struct rig_queue *q)
{
	return reach(rig, q->avail, 6 + 2u * q->size, "available ring");
}

static struct vring_used *used_of(struct virtio_rig *rig, const struct rig_queue *q)
{
	return reach(rig, q->used, 6 + 8u * q->size, "used ring");
}

/* --- chains in ----------------------------------------------------------------------------------- */

static bool add_piece(struct virtio_rig *rig, struct rig_chain *chain, const struct vring_desc *desc)
{
	struct iovec piece = {.iov_len = desc->len};

	if (desc->len == 0) {
		virtio_rig_violation(rig, "a descriptor of no bytes");
		return false;
	}
	piece.iov_base = reach(rig, desc->addr, desc->len, "buffer");
	if (!piece.iov_base)
		return false;
	if (desc->flags & VRING_DESC_F_WRITE) {
		chain->in[chain->ins++] = piece;
		chain->in_bytes += desc->len;
		return true;
	}
	if (chain->ins) {
		virtio_rig_violation(rig, "a piece to be read behind one to be written");
		return false;
	}
	chain->out[chain->outs++] = piece;
	chain->out_bytes += desc->len;
	return true;
}

/* The descriptors from `at` on, in a table of count. */
static bool walk(struct virtio_rig *rig, struct rig_chain *chain, const struct vring_desc *table,
	uint32_t count, uint32_t at, bool indirect)
{
	for (uint32_t steps = 0; steps < count && steps < RIG_PIECES; steps++) {
		struct vring_desc desc;

		if (at >= count) {
			virtio_rig_violation(rig, "descriptor %u of a table of %u", at, count);
			return false;
		}
		desc = table[at];
		if (desc.flags & VRING_DESC_F_INDIRECT) {
			const struct vring_desc *inner;

			if (indirect || desc.flags & (VRING_DESC_F_NEXT | VRING_DESC_F_WRITE) || steps ||
				!accepted(rig, VIRTIO_RING_F_INDIRECT_DESC) || desc.len == 0 ||
				desc.len % sizeof(desc)) {
				virtio_rig_violation(rig, "a malformed indirect descriptor");
				return false;
			}
			inner = reach(rig, desc.addr, desc.len, "indirect table");
			return inner && walk(rig, chain, inner, desc.len / sizeof(desc), 0, true);
		}
		if (!add_piece(rig, chain, &desc))
			return false;
		if (!(desc.flags & VRING_DESC_F_NEXT))
			return true;
		at = desc.next;
	}
	virtio_rig_violation(rig, "a chain without end");
	return false;
}

/* 2.7.10: the index at which the driver is to notify us; a whole ring away means never. */
static void ask(struct virtio_rig *rig, const struct rig_queue *q)
{
	struct vring_used *used = used_of(rig, q);
	uint16_t event = q->kick_off ? (uint16_t)(q->avail_idx - q->size - 1) : q->avail_idx;

	if (!used)
		return;
	if (accepted(rig, VIRTIO_RING_F_EVENT_IDX))
		__atomic_store_n((uint16_t *)&used->ring[q->size], event, __ATOMIC_RELEASE);
	else
		__atomic_store_n(&used->flags, q->kick_off ? VRING_USED_F_NO_NOTIFY : 0, __ATOMIC_RELEASE);
	__atomic_thread_fence(__ATOMIC_SEQ_CST);
}

unsigned virtio_rig_available(struct virtio_rig *rig, uint16_t queue)
{
	struct rig_queue *q = live(rig, queue);
	const struct vring_avail *avail = q ? avail_of(rig, q) : NULL;
	uint16_t count;

	if (!avail)
		return 0;
	count = (uint16_t)(__atomic_load_n(&avail->idx, __ATOMIC_ACQUIRE) - q->avail_idx);
	if (count > q->size) {
		virtio_rig_violation(rig, "%u chains made available in a ring of %u", count, q->size);
		return 0;
	}
	return count;
}

bool virtio_rig_take(struct virtio_rig *rig, uint16_t queue, struct rig_chain *chain)
{
	struct rig_queue *q = live(rig, queue);
	const struct vring_avail *avail;
	const struct vring_desc *table;

	if (!virtio_rig_available(rig, queue)) {
		if (q)
			ask(rig, q);
		if (!virtio_rig_available(rig, queue))
			return false;
	}
	avail = avail_of(rig, q);
	table = reach(rig, q->desc, 16u * q->size, "descriptors");
	if (!avail || !table)
		return false;
	memset(chain, 0, sizeof(*chain));
	chain->head = avail->ring[q->avail_idx++ % q->size];
	ask(rig, q);
	return walk(rig, chain, table, q->size, chain->head, false);
}

/* --- and back ------------------------------------------------------------------------------------ */

/* 2.7.7: does the driver want to hear of the entry that has just been written? */
static bool wanted(struct virtio_rig *rig, const struct rig_queue *q)
{
	const struct vring_avail *avail = avail_of(rig, q);

	if (!avail)
		return false;
	if (!accepted(rig, VIRTIO_RING_F_EVENT_IDX))
		return !(__atomic_load_n(&avail->flags, __ATOMIC_ACQUIRE) & VRING_AVAIL_F_NO_INTERRUPT);
	/* It has named the entry. */
	return __atomic_load_n(&avail->ring[q->size], __ATOMIC_ACQUIRE) == (uint16_t)(q->used_idx - 1);
}

void virtio_rig_used(struct virtio_rig *rig, uint16_t queue, uint32_t id, uint32_t written)
{
	struct rig_queue *q = live(rig, queue);
	struct vring_used *used = q ? used_of(rig, q) : NULL;

	if (!used)
		return;
	used->ring[q->used_idx % q->size] = (struct vring_used_elem){.id = id, .len = written};
	q->used_idx++;
	__atomic_store_n(&used->idx, q->used_idx, __ATOMIC_RELEASE);
	__atomic_thread_fence(__ATOMIC_SEQ_CST);
	if (!wanted(rig, q))
		return;
	q->signals++;
	rig->isr |= 1;
	virtio_rig_signal(rig, q->vector);
}

void virtio_rig_give(struct virtio_rig *rig, uint16_t queue, const struct rig_chain *chain, uint32_t written)
{
	virtio_rig_used(rig, queue, chain->head, written);
}

/* --- bytes --------------------------------------------------------------------------------------- */

static size_t copy(
	const struct iovec *pieces, unsigned count, size_t offset, uint8_t *data, size_t size, bool into)
{
	size_t done = 0;

	for (unsigned i = 0; i < count && done < size; i++) {
		size_t length = pieces[i].iov_len, n;
		uint8_t *memory = pieces[i].iov_base;

		if (offset >= length) {
			offset -= length;
			continue;
		}
		n = length - offset < size - done ? length - offset : size - done;
		memcpy(into ? memory + offset : data + done, into ? data + done : memory + offset, n);
		done += n;
		offset = 0;
	}
	return done;
}

size_t virtio_rig_read(const struct rig_chain *chain, size_t offset, void *data, size_t size)
{
	return copy(chain->out, chain->outs, offset, data, size, false);
}

size_t virtio_rig_write(struct rig_chain *chain, size_t offset, const void *data, size_t size)
{
	return copy(chain->in, chain->ins, offset, (uint8_t *)(uintptr_t)data, size, true);
}
