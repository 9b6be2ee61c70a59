/*
 * A software NIC on a bench: one port, one piece of memory that it may reach, a wire that keeps what is sent.
 * Registers are written as a driver writes them; what the memory holds is for the test to say.
 */
#ifndef UNIT_NIC_RIG_H
#define UNIT_NIC_RIG_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "netns-tests/softnic/nic.h"
#include "netns-tests/softnic/wire.h"

#define RIG_IOVA    0x40000000ull
#define RIG_SIZE    (16u << 20)
#define RIG_BUFFERS 0x200000u /* offset in the memory; rings lie before it */
#define RIG_FRAMES  8192

struct rig_frame {
	size_t size;
	uint8_t *data;
};

struct rig {
	struct wire wire; /* first, so that the wire's operations find the rest */
	struct nic *nic;
	uint8_t *memory;
	struct rig_frame sent[RIG_FRAMES];
	unsigned sent_count;
	uint64_t expected_violations[NIC_VIOLATION_COUNT];
};

static inline void rig_send(struct wire *wire, const uint8_t *frame, size_t size)
{
	struct rig *rig = (struct rig *)wire;

	if (rig->sent_count == RIG_FRAMES)
		return;
	struct rig_frame *keep = &rig->sent[rig->sent_count++];

	keep->size = size;
	keep->data = malloc(size);
	assert_non_null(keep->data);
	memcpy(keep->data, frame, size);
}

static inline void rig_forget_sent(struct rig *rig)
{
	for (unsigned i = 0; i < rig->sent_count; i++)
		free(rig->sent[i].data);
	rig->sent_count = 0;
}

static inline void rig_write(struct rig *rig, uint32_t reg, uint32_t value)
{
	nic_write32(rig->nic, reg, value);
}

static inline void rig_set(struct rig *rig, uint32_t reg, uint32_t bits)
{
	rig_write(rig, reg, nic_peek32(rig->nic, reg) | bits);
}

static inline void rig_clear(struct rig *rig, uint32_t reg, uint32_t bits)
{
	rig_write(rig, reg, nic_peek32(rig->nic, reg) & ~bits);
}

static inline int rig_setup(void **state)
{
	static const uint8_t mac[6] = {0x02, 0x11, 0x22, 0x33, 0x44, 0x55};
	static const struct wire_ops ops = {.send = rig_send};
	struct rig *rig = calloc(1, sizeof(*rig));
	int fd = memfd_create("rig", 0);

	assert_non_null(rig);
	assert_true(fd >= 0);
	assert_int_equal(ftruncate(fd, RIG_SIZE), 0);
	rig->memory = mmap(NULL, RIG_SIZE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	assert_ptr_not_equal(rig->memory, MAP_FAILED);
	rig->nic = nic_create(0, "rig", mac);
	assert_non_null(rig->nic);
	rig->wire.ops = &ops;
	rig->wire.nic = rig->nic;
	rig->nic->wire = &rig->wire;
	nic_config_write(rig->nic, 4, 2, 6); /* memory space, bus master */
	assert_int_equal(nic_dma_map(rig->nic, RIG_IOVA, RIG_SIZE, fd, 0, true, true), 0);
	rig_clear(rig, ESDP, ESDP_SDP3);
	nic_wire_carrier(rig->nic, true);
	assert_true(rig->nic->link.up);
	*state = rig;
	return 0;
}

/* A test that meant to violate something says so with rig_violated(). */
static inline int rig_teardown(void **state)
{
	struct rig *rig = *state;

	for (unsigned v = 0; v < NIC_VIOLATION_COUNT; v++)
		assert_int_equal(rig->nic->violation[v], rig->expected_violations[v]);
	rig_forget_sent(rig);
	rig->nic->wire = NULL;
	nic_free(rig->nic);
	munmap(rig->memory, RIG_SIZE);
	free(rig);
	return 0;
}

/* Since the last call of this for v, exactly times violations of this kind were counted, and none of another. */
static inline void rig_violated(struct rig *rig, enum nic_violation v, uint64_t times)
{
	rig->expected_violations[v] += times;
	for (unsigned i = 0; i < NIC_VIOLATION_COUNT; i++) {
		if (rig->nic->violation[i] != rig->expected_violations[i])
			print_error("violation %s: %lu, expected %lu\n", nic_violation_name(i),
				(unsigned long)rig->nic->violation[i],
				(unsigned long)rig->expected_violations[i]);
		assert_int_equal(rig->nic->violation[i], rig->expected_violations[i]);
	}
}

/* --- frames, made the slow and obvious way, as the other opinion ----------------------------------------------- */

static inline void put16(uint8_t *p, uint32_t value)
{
	p[0] = (uint8_t)(value >> 8);
	p[1] = (uint8_t)value;
}

static inline void put32(uint8_t *p, uint32_t value)
{
	put16(p, value >> 16);
	put16(p + 2, value & 0xffff);
}

static inline uint32_t get16(const uint8_t *p)
{
	return (uint32_t)p[0] << 8 | p[1];
}

static inline uint32_t get32(const uint8_t *p)
{
	return get16(p) << 16 | get16(p + 2);
}

/* Sum of big-endian words, added to sum, folded. */
static inline uint32_t naive_sum(uint32_t sum, const uint8_t *p, size_t size)
{
	for (size_t i = 0; i < size; i++) {
		sum += i % 2 ? p[i] : (uint32_t)p[i] << 8;
		sum = (sum & 0xffff) + (sum >> 16);
	}
	return sum;
}

static inline uint32_t naive_pseudo(const uint8_t *l3, uint8_t protocol, size_t length)
{
	bool v6 = l3[0] >> 4 == 6;
	uint32_t sum = naive_sum(protocol, l3 + (v6 ? 8 : 12), v6 ? 32 : 8);

	sum += (uint32_t)length;
	return (sum & 0xffff) + (sum >> 16);
}

enum { TCP = 6, UDP = 17, SCTP = 132 };

struct frame_spec {
	bool v6;
	uint8_t protocol;   /* TCP, UDP, or 0: no L4 header, only payload */
	int tag;            /* VLAN tag in the frame, or 0 */
	size_t ip_options;  /* bytes */
	size_t tcp_options; /* bytes */
	size_t payload;
	uint8_t tcp_flags;
	uint8_t dst[6];
};

struct frame_layout {
	size_t l3, l4, payload, size;
};

/* Build a frame with right lengths and checksums. data: room for it. */
static inline struct frame_layout build_frame(uint8_t *data, const struct frame_spec *spec)
{
	struct frame_layout at = {.l3 = spec->tag ? 18 : 14};
	size_t ip = spec->v6 ? 40 : 20 + spec->ip_options;
	size_t l4 = spec->protocol == TCP ? 20 + spec->tcp_options : spec->protocol == UDP ? 8 : 0;

	at.l4 = at.l3 + ip;
	at.payload = at.l4 + l4;
	at.size = at.payload + spec->payload;
	memset(data, 0, at.payload);
	memcpy(data, spec->dst, 6);
	memcpy(data + 6, "\x02\xaa\xbb\xcc\xdd\xee", 6);
	if (spec->tag) {
		put16(data + 12, 0x8100);
		put16(data + 14, (uint32_t)spec->tag);
	}
	put16(data + at.l3 - 2, spec->v6 ? 0x86dd : 0x0800);
	for (size_t i = 0; i < spec->payload; i++)
		data[at.payload + i] = (uint8_t)(i * 7 + i / 251);

	uint8_t *l3 = data + at.l3;

	if (spec->v6) {
		l3[0] = 0x60;
		put16(l3 + 4, (uint32_t)(at.size - at.l4));
		l3[6] = spec->protocol ? spec->protocol : 59;
		l3[7] = 64;
		for (unsigned i = 0; i < 16; i++) {
			l3[8 + i] = (uint8_t)(0x20 + i);
			l3[24 + i] = (uint8_t)(0xe0 - i);
		}
	} else {
		l3[0] = (uint8_t)(0x40 | ip / 4);
		put16(l3 + 2, (uint32_t)(at.size - at.l3));
		put16(l3 + 4, 0xfffe); /* so that the id wraps in a segmentation */
		l3[8] = 64;
		l3[9] = spec->protocol ? spec->protocol : 253;
		put32(l3 + 12, 0x0a000001);
		put32(l3 + 16, 0xc0a80102);
		memset(l3 + 20, 1, spec->ip_options);
		put16(l3 + 10, 0xffff & ~naive_sum(0, l3, ip));
	}
	uint8_t *h = data + at.l4;
	size_t length = at.size - at.l4;

	if (spec->protocol == TCP) {
		put16(h, 40000);
		put16(h + 2, 5001);
		put32(h + 4, 0xfffffc00); /* so that the sequence number wraps */
		put32(h + 8, 77);
		h[12] = (uint8_t)(l4 / 4 << 4);
		h[13] = spec->tcp_flags;
		put16(h + 14, 8192);
		memset(h + 20, 1, spec->tcp_options);
		put16(h + 16, 0xffff & ~naive_sum(naive_pseudo(l3, TCP, length), h, length));
	} else if (spec->protocol == UDP) {
		put16(h, 1234);
		put16(h + 2, 53);
		put16(h + 4, (uint32_t)length);
		uint32_t sum = 0xffff & ~naive_sum(naive_pseudo(l3, UDP, length), h, length);

		put16(h + 6, sum ? sum : 0xffff);
	}
	return at;
}

#endif
