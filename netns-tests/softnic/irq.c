/*
 * Interrupts: causes, their masks, moderation, and which vector they end up on (7.3).
 *
 *	event -> cause bit (EICR)  --EIMS-->  vector  --EITR-->  message  (msix.c)
 *
 * There are 64 queue causes, one a vector: IVAR maps a queue to a cause. Causes 0..15 are EICR's low half, all
 * 64 are in the two extended registers, whose low 16 bits are the same ones again. EICR's high half has the
 * other causes (link and the like), which share one vector by IVAR_MISC, and the TCP timer.
 *
 * A message goes out when an enabled cause comes up, or when a pending one is enabled. With it go the auto
 * clear (EIAC) of the cause and the auto mask (EIAM), so a driver need not touch EICR in its handler. A
 * vector whose last message is younger than its EITR interval is deferred, never dropped: nic_irq_poll() sends
 * it when the interval has passed and the cause is still there.
 *
 * Not in MSI-X mode (GPIE.Multiple_MSIX clear) all causes raise vector 0.
 */
#include "registers.h"

#define QUEUE_CAUSES     EICR_RTXQ
#define OTHER_CAUSES     0x3FFF0000u  /* those that IVAR_MISC's byte 1 maps */
#define ALWAYS_AUTOCLEAR (~0xFFFFull) /* EIAC has no bits for causes 16..63 */
#define EITR_UNIT_US     2
#define EITR_COUNTER(v)  ((int64_t)((v) >> 21 & 0x7F) * 4 * EITR_UNIT_US)

/* A set of causes: the 64 of queues, and EICR's high half. */
struct causes {
	uint64_t queue;
	uint32_t other;
};

/* EICR, EIMS and EIAM exist twice: the plain register and its extension. */
struct cause_register {
	uint32_t plain, extended;
};
static const struct cause_register CAUSE = {EICR, EICR_EX(0)};
static const struct cause_register MASK = {EIMS, EIMS_EX(0)};
static const struct cause_register AUTO_MASK = {EIAM, EIAM_EX(0)};

static struct causes get(const struct nic *nic, struct cause_register r)
{
	return (struct causes){
		.queue = nic_reg(nic, r.extended) | (uint64_t)nic_reg(nic, r.extended + 4) << 32,
		.other = nic_reg(nic, r.plain) & ~QUEUE_CAUSES,
	};
}

static void set(struct nic *nic, struct cause_register r, struct causes c)
{
	nic_reg_set(nic, r.plain, c.other | (c.queue & QUEUE_CAUSES));
	nic_reg_set(nic, r.extended, (uint32_t)c.queue);
	nic_reg_set(nic, r.extended + 4, (uint32_t)(c.queue >> 32));
}

static struct causes both(struct causes a, struct causes b)
{
	return (struct causes){a.queue & b.queue, a.other & b.other};
}

static struct causes either(struct causes a, struct causes b)
{
	return (struct causes){a.queue | b.queue, a.other | b.other};
}

static struct causes without(struct causes a, struct causes b)
{
	return (struct causes){a.queue & ~b.queue, a.other & ~b.other};
}

/* --- causes and vectors ------------------------------------------------------------------------------ */

static bool multiple_msix(const struct nic *nic)
{
	return nic_reg(nic, GPIE) & GPIE_MULTIPLE_MSIX;
}

/* One byte of an IVAR register: the vector, or -1. */
static int ivar(const struct nic *nic, uint32_t reg, unsigned byte)
{
	uint32_t entry = nic_reg(nic, reg) >> (8 * byte) & 0xFF;
	return entry & IVAR_VALID ? (int)(entry & (NIC_MSIX_VECTORS - 1)) : -1;
}

static uint64_t misc_vector(const struct nic *nic, unsigned byte)
{
	int vector = ivar(nic, IVAR_MISC, byte);
	return vector < 0 ? 0 : 1ull << vector;
}

static uint64_t vectors_of(const struct nic *nic, struct causes c)
{
	if (!multiple_msix(nic))
		return c.queue || c.other ? 1 : 0;
	uint64_t vectors = c.queue;
	if (c.other & EICR_TCP_TIMER)
		vectors |= misc_vector(nic, 0);
	if (c.other & (OTHER_CAUSES | EICR_OTHER))
		vectors |= misc_vector(nic, 1);
	return vectors;
}

/* The causes that are mapped to this vector. */
static struct causes causes_of(const struct nic *nic, unsigned vector)
{
	if (!multiple_msix(nic))
		return (struct causes){UINT64_MAX, ~QUEUE_CAUSES};
	uint64_t bit = 1ull << vector;
	struct causes c = {.queue = bit};
	if (misc_vector(nic, 0) == bit)
		c.other |= EICR_TCP_TIMER;
	if (misc_vector(nic, 1) == bit)
		c.other |= OTHER_CAUSES | EICR_OTHER;
	return c;
}

static struct causes pending(const struct nic *nic)
{
	return both(get(nic, CAUSE), get(nic, MASK));
}

/* --- messages ------------------------------------------------------------------------------------------ */

static void send(struct nic *nic, unsigned vector, int64_t now_us)
{
	struct causes on_vector = causes_of(nic, vector);
	struct causes why = both(pending(nic), on_vector);
	if (!why.queue && !why.other)
		return;

	if (multiple_msix(nic)) {
		uint32_t eiac = nic_reg(nic, EIAC);
		struct causes auto_clear = {(eiac & QUEUE_CAUSES) | ALWAYS_AUTOCLEAR, eiac & EICR_TCP_TIMER};
		set(nic, CAUSE, without(get(nic, CAUSE), both(why, auto_clear)));
	}
	if (nic_reg(nic, GPIE) & GPIE_EIAME)
		set(nic, MASK, without(get(nic, MASK), both(on_vector, get(nic, AUTO_MASK))));

	uint32_t interval = (nic_reg(nic, EITR(vector)) & EITR_INTERVAL_MASK) >> EITR_INTERVAL_SHIFT;
	nic->irq.next_us[vector] = now_us + (int64_t)interval * EITR_UNIT_US;
	nic->irq.raised[vector]++;
	nic_msix_raise(nic, vector);
}

/* Send the vectors of these causes, or defer those that EITR holds back. */
static void fire(struct nic *nic, struct causes c)
{
	if (nic_fault(nic, NIC_FAULT_REMOVED))
		return;
	uint64_t vectors = vectors_of(nic, both(c, pending(nic)));
	if (!vectors)
		return;
	int64_t now_us = clock_us();
	for (; vectors; vectors &= vectors - 1) {
		unsigned vector = (unsigned)__builtin_ctzll(vectors);
		if (now_us < nic->irq.next_us[vector])
			nic->irq.deferred |= 1ull << vector;
		else
			send(nic, vector, now_us);
	}
}

int64_t nic_irq_poll(struct nic *nic, int64_t now_us)
{
	int64_t soonest = -1;
	for (uint64_t left = nic->irq.deferred; left; left &= left - 1) {
		unsigned vector = (unsigned)__builtin_ctzll(left);
		int64_t wait = nic->irq.next_us[vector] - now_us;
		if (wait <= 0) {
			nic->irq.deferred &= ~(1ull << vector);
			send(nic, vector, now_us);
		} else if (soonest < 0 || wait < soonest) {
			soonest = wait;
		}
	}
	return soonest;
}

static void raise_causes(struct nic *nic, struct causes c)
{
	set(nic, CAUSE, either(get(nic, CAUSE), c));
	fire(nic, c);
}

void nic_irq_cause(struct nic *nic, uint32_t eicr_bits)
{
	raise_causes(nic, (struct causes){eicr_bits & QUEUE_CAUSES, eicr_bits & ~QUEUE_CAUSES});
}

/* IVAR n has queues 2n (bytes 0 RX, 1 TX) and 2n + 1 (bytes 2, 3). */
static void queue_cause(struct nic *nic, unsigned queue, unsigned tx)
{
	int cause = ivar(nic, IVAR(queue / 2), 2 * (queue % 2) + tx);
	if (cause < 0)
		return;
	if (!multiple_msix(nic))
		cause %= 16;
	raise_causes(nic, (struct causes){.queue = 1ull << cause});
}

void nic_irq_rx(struct nic *nic, unsigned queue)
{
	queue_cause(nic, queue, 0);
}

void nic_irq_tx(struct nic *nic, unsigned queue)
{
	queue_cause(nic, queue, 1);
}

void nic_irq_evaluate(struct nic *nic)
{
	fire(nic, pending(nic));
}

void nic_irq_reset(struct nic *nic)
{
	nic->irq.deferred = 0;
	for (unsigned i = 0; i < NIC_MSIX_VECTORS; i++)
		nic->irq.next_us[i] = 0;
}

/* --- registers --------------------------------------------------------------------------------------- */

/* The causes that a value of a plain or an extended register, which has queue causes only, speaks of. */
static struct causes named(uint32_t offset, uint32_t value)
{
	switch (offset) {
	case EICR_EX(0):
	case EICS_EX(0):
	case EIMS_EX(0):
	case EIMC_EX(0):
	case EIAM_EX(0): return (struct causes){.queue = value};
	case EICR_EX(1):
	case EICS_EX(1):
	case EIMS_EX(1):
	case EIMC_EX(1):
	case EIAM_EX(1): return (struct causes){.queue = (uint64_t)value << 32};
	default: return (struct causes){value & QUEUE_CAUSES, value & ~QUEUE_CAUSES};
	}
}

static struct causes written(const struct register_write *w)
{
	return named(w->offset, w->written);
}

static void auto_mask(struct nic *nic)
{
	set(nic, MASK, without(get(nic, MASK), get(nic, AUTO_MASK)));
}

/* Clear on read; with GPIE.OCD only the other causes. A read masks by EIAM, unless messages do (EIAME). */
uint32_t nic_eicr_read(struct nic *nic, uint32_t offset)
{
	uint32_t value = nic_reg(nic, offset);
	uint32_t gpie = nic_reg(nic, GPIE);
	struct causes seen = named(offset, value);
	if (gpie & GPIE_OCD)
		seen = (struct causes){.other = seen.other & OTHER_CAUSES};
	set(nic, CAUSE, without(get(nic, CAUSE), seen));
	if (!(gpie & GPIE_EIAME))
		auto_mask(nic);
	return value;
}

/* Drivers read EICS to see the causes without clearing them. */
uint32_t nic_eics_read(struct nic *nic, uint32_t offset)
{
	return nic_reg(nic, offset == EICS ? EICR : offset - EICS_EX(0) + EICR_EX(0));
}

void nic_eicr_write(struct nic *nic, const struct register_write *w)
{
	set(nic, CAUSE, without(get(nic, CAUSE), written(w)));
	/* What came between the driver's read and this write would else wait for the next event. */
	struct causes left = pending(nic);
	left.queue = 0;
	fire(nic, left);
}

void nic_eics_write(struct nic *nic, const struct register_write *w)
{
	raise_causes(nic, written(w));
}

void nic_eims_write(struct nic *nic, const struct register_write *w)
{
	struct causes before = get(nic, MASK), enable = written(w);
	set(nic, MASK, either(before, enable));
	fire(nic, without(enable, before));
}

void nic_eimc_write(struct nic *nic, const struct register_write *w)
{
	set(nic, MASK, without(get(nic, MASK), written(w)));
}

void nic_eiam_write(struct nic *nic, const struct register_write *w)
{
	struct causes c = get(nic, AUTO_MASK), new = written(w);
	switch (w->offset) {
	case EIAM_EX(0): c.queue = (c.queue & ~0xFFFFFFFFull) | new.queue; break;
	case EIAM_EX(1): c.queue = (c.queue & 0xFFFFFFFFull) | new.queue; break;
	default: c.queue = (c.queue & ~(uint64_t)QUEUE_CAUSES) | new.queue; c.other = new.other;
	}
	set(nic, AUTO_MASK, c);
}

/* Without CNT_WDIS the write sets the running counter too, and a vector may become due sooner. */
void nic_eitr_write(struct nic *nic, const struct register_write *w)
{
	unsigned vector = w->index;
	if (!(w->written & EITR_CNT_WDIS) && vector < NIC_MSIX_VECTORS)
		nic->irq.next_us[vector] = clock_us() + EITR_COUNTER(w->written);
}

/* Causes that were pending may have got a vector. */
void nic_ivar_write(struct nic *nic, const struct register_write *w)
{
	if (w->now != w->old)
		nic_irq_evaluate(nic);
}
