/*
 * Between the parts of the data path: rx.c and tx.c move descriptors, mac.c counts what passes the MAC,
 * filter.c decides whether a frame is wanted and by which queue, segment.c completes checksums and cuts TSO.
 */
#ifndef SOFTNIC_DATAPATH_H
#define SOFTNIC_DATAPATH_H

#include "nic.h"

#define ETHER_HEADER    14
#define ETHER_MIN       60 /* shortest frame on a wire, without CRC */
#define ETHER_CRC       4
#define VLAN_TAG        4
#define STATISTIC_UNITS 16 /* per-queue counters; RQSMR and TQSM map the queues to them */

static inline bool unlikely(bool condition)
{
	return __builtin_expect(condition, 0);
}

static inline bool likely(bool condition)
{
	return __builtin_expect(condition, 1);
}

static inline uint16_t load_be16(const uint8_t *p)
{
	return (uint16_t)(p[0] << 8 | p[1]);
}

static inline void store_be16(uint8_t *p, uint32_t value)
{
	p[0] = (uint8_t)(value >> 8);
	p[1] = (uint8_t)value;
}

/* A fault strikes now; the common case is that none is armed. */
static inline bool fault_strikes(struct nic *nic, enum nic_fault f)
{
	return unlikely(nic->fault[f] != 0) && nic_fault(nic, f);
}

/* --- mac.c: statistics of the MAC, gathered in a burst and added to the registers at its end ---------------- */

struct mac_counters {
	uint64_t octets; /* destination address to CRC */
	uint32_t frames, multicast, broadcast;
	uint32_t by_size[6]; /* 64, 65-127, 128-255, 256-511, 512-1023, 1024 and more */
};

static inline bool ether_is_multicast(const uint8_t *frame)
{
	return frame[0] & 1;
}

static inline bool ether_is_broadcast(const uint8_t *frame)
{
	return (frame[0] & frame[1] & frame[2] & frame[3] & frame[4] & frame[5]) == 0xff;
}

void mac_count(struct mac_counters *counters, const uint8_t *frame, size_t size);
/* Longest frame that MAXFRS and JUMBOEN allow, without CRC and tags. */
size_t mac_max_frame(const struct nic *nic);

/* The counter unit that RQSMR or TQSM (their first register) maps a queue to. */
static inline unsigned statistic_unit(const struct nic *nic, uint32_t map, unsigned queue)
{
	return nic_reg(nic, map + queue / 4 * 4) >> (queue % 4 * 8) & (STATISTIC_UNITS - 1);
}

/* --- filter.c: the receive registers as they stand, and what they decide ------------------------- */

struct rx_config {
	unsigned register_writes; /* of the registers that this was loaded from */
	bool enabled;             /* RXEN */
	bool loopback;            /* only our own frames come in */
	bool crc_strip;
	bool hash_wanted; /* PCSD: the descriptor has room for the hash */
	size_t max_frame;
	uint32_t fctrl, vlnctrl, mcstctrl, mrqc, psrtype;
	uint16_t vlan_type;
	uint8_t rss_key[40];
	struct rss_table rss; /* for that key */
	unsigned addresses;
	uint64_t address[128]; /* valid RAL/RAH, as mac_key() has them */
};

/* Load it anew if a register was written since. */
void rx_config_update(const struct nic *nic, struct rx_config *config);

enum rx_verdict { RX_REJECT, RX_EXACT, RX_INEXACT };
enum rx_verdict rx_filter(const struct nic *nic, const struct rx_config *config, const uint8_t *frame);
/* Queue for a frame; *hash and *type as the descriptor reports them. */
unsigned rx_choose_queue(const struct nic *nic, const struct rx_config *config, const uint8_t *frame,
	const struct frame_info *info, uint32_t *hash, uint8_t *type);
/* Bytes that header splitting would put into the header buffer, 0 if the frame cannot be split (7.1.10). */
size_t rx_header_size(const struct rx_config *config, const struct frame_info *info);

/* --- rx.c ---------------------------------------------------------------------------------------------------- */

/* A frame that this NIC itself sent, with HLREG0.LPBK. */
void nic_receive_loopback(struct nic *nic, const uint8_t *frame, size_t size);

/* --- segment.c: checksum insertion and TCP/UDP segmentation (7.2.4, 7.2.5) ----------------------------------- */

/* NULL if the context can be applied to the frame, else what is wrong. size: what is there of the frame. */
const char *checksum_check(
	const struct tx_context *context, bool ip, bool l4, const uint8_t *frame, size_t size);
/* Complete the checksums of a frame that checksum_check() has passed. */
void checksum_insert(const struct tx_context *context, bool ip, bool l4, uint8_t *frame, size_t size);

#define TSO_HEADER_MAX 512 /* 7.2.3.2.3 */

struct tso {
	const struct tx_context *context;
	uint8_t header[TSO_HEADER_MAX]; /* the prototype */
	size_t header_size;
	size_t l3_offset, l4_offset;
	uint32_t payload;                               /* of the whole */
	uint32_t sent;                                  /* payload that has been cut off */
	uint32_t segments;                              /* that have been made */
	uint16_t flags_first, flags_middle, flags_last; /* masks of DTXTCPFLGL/H */
};

static inline size_t tso_header_size(const struct tx_context *context)
{
	return (size_t)context->maclen + context->iplen + context->l4len;
}

/* NULL if header is a prototype that fits the context, else what is wrong. */
const char *tso_check(const struct tx_context *context, const uint8_t *header);

/* Payload of the next segment, 0 when all is sent. */
static inline uint32_t tso_next_payload(const struct tso *tso)
{
	uint32_t left = tso->payload - tso->sent;

	return left < tso->context->mss ? left : tso->context->mss;
}

/* Make the next segment's headers before the payload, which the caller has put at frame + header_size. */
void tso_finish_segment(struct tso *tso, uint8_t *frame, uint32_t payload);

#endif
