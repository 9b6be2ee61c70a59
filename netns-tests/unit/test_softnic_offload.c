/* What the software NIC works out from a frame's bytes: RSS, the multicast hash, the parser, CRCs. */
#include "nic_rig.h"

#include "driver/checksum.h"

#include <arpa/inet.h>

/* --- RSS ------------------------------------------------------------------------------------------------------- */

/* The key and the vectors with which hardware and drivers are verified ("Verifying the RSS hash calculation"). */
static const uint8_t key[40] = {0x6d, 0x5a, 0x56, 0xda, 0x25, 0x5b, 0x0e, 0xc2, 0x41, 0x67, 0x25, 0x3d, 0x43,
	0xa3, 0x8f, 0xb0, 0xd0, 0xca, 0x2b, 0xcb, 0xae, 0x7b, 0x30, 0xb4, 0x77, 0xcb, 0x2d, 0xa3, 0x80, 0x30,
	0xf2, 0x0c, 0x6a, 0x42, 0xb7, 0x3b, 0xbe, 0xac, 0x01, 0xfa};

static const struct vector {
	const char *dst;
	uint16_t dst_port;
	const char *src;
	uint16_t src_port;
	uint32_t ip_hash, ports_hash;
} vectors[] = {
	{"161.142.100.80", 1766, "66.9.149.187", 2794, 0x323e8fc2, 0x51ccc178},
	{"65.69.140.83", 4739, "199.92.111.2", 14230, 0xd718262a, 0xc626b0ea},
	{"12.22.207.184", 38024, "24.19.198.95", 12898, 0xd2d0a5de, 0x5c2b394a},
	{"209.142.163.6", 2217, "38.27.205.30", 48228, 0x82989176, 0xafc7327f},
	{"202.188.127.2", 1303, "153.39.163.191", 44251, 0x5d1809c5, 0x10e828a2},
	{"3ffe:2501:200:3::1", 1766, "3ffe:2501:200:1fff::7", 2794, 0x2cc18cd5, 0x40207d3d},
	{"ff02::1", 4739, "3ffe:501:8::260:97ff:fe40:efab", 14230, 0x0f0c461c, 0xdde51bbf},
	{"fe80::200:f8ff:fe21:67cf", 38024, "3ffe:1900:4545:3:200:f8ff:fe21:67cf", 44251, 0x4b61e985,
		0x02d1feef},
};

static const struct rss_table *rss_table(void)
{
	static struct rss_table table;

	rss_prepare(&table, key);
	return &table;
}

/* Addresses and ports in the order in which they are hashed. */
static size_t vector_input(const struct vector *v, uint8_t *input)
{
	bool v6 = strchr(v->dst, ':');
	size_t size = v6 ? 16 : 4;

	assert_int_equal(inet_pton(v6 ? AF_INET6 : AF_INET, v->src, input), 1);
	assert_int_equal(inet_pton(v6 ? AF_INET6 : AF_INET, v->dst, input + size), 1);
	put16(input + 2 * size, v->src_port);
	put16(input + 2 * size + 2, v->dst_port);
	return 2 * size;
}

static void toeplitz_gives_the_published_hashes(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof(vectors) / sizeof(vectors[0]); i++) {
		uint8_t input[36];
		size_t addresses = vector_input(&vectors[i], input);

		assert_int_equal(rss_toeplitz(key, input, addresses), vectors[i].ip_hash);
		assert_int_equal(rss_toeplitz(key, input, addresses + 4), vectors[i].ports_hash);
	}
}

/* A frame between the addresses and ports of a vector, and what the NIC reports for it. */
static uint32_t hash_of(const struct vector *v, uint8_t protocol, uint32_t mrqc, uint8_t *type)
{
	uint8_t frame[256], input[36];
	struct frame_spec spec = {.v6 = strchr(v->dst, ':'), .protocol = protocol, .payload = 20};
	struct frame_layout at = build_frame(frame, &spec);
	size_t addresses = vector_input(v, input);
	struct frame_info info;

	memcpy(frame + at.l3 + (spec.v6 ? 8 : 12), input, addresses);
	if (protocol)
		memcpy(frame + at.l4, input + addresses, 4);
	frame_parse(frame, at.size, 0x8100, &info);
	return rss_hash(mrqc, rss_table(), frame, &info, type);
}

static void a_frame_is_hashed_by_the_fields_that_mrqc_enables(void **state)
{
	(void)state;
	const struct vector *v4 = &vectors[0], *v6 = &vectors[5];
	const struct {
		const struct vector *v;
		uint8_t protocol;
		uint32_t mrqc;
		uint32_t hash;
		uint8_t type;
	} cases[] = {
		{v4, TCP, MRQC_RSS_TCP4 | MRQC_RSS_IP4, v4->ports_hash, 1},
		{v4, TCP, MRQC_RSS_IP4, v4->ip_hash, 2},
		{v4, UDP, MRQC_RSS_TCP4 | MRQC_RSS_IP4, v4->ip_hash, 2},
		{v4, UDP, MRQC_RSS_UDP4, v4->ports_hash, 7},
		{v4, TCP, MRQC_RSS_UDP4 | MRQC_RSS_TCP6 | MRQC_RSS_IP6, 0, 0},
		{v4, 0, MRQC_RSS_TCP4 | MRQC_RSS_IP4, v4->ip_hash, 2},
		{v6, TCP, MRQC_RSS_TCP6, v6->ports_hash, 3},
		{v6, TCP, MRQC_RSS_IP6, v6->ip_hash, 5},
		{v6, UDP, MRQC_RSS_UDP6 | MRQC_RSS_IP6, v6->ports_hash, 8},
		{v6, UDP, MRQC_RSS_TCP6 | MRQC_RSS_IP6, v6->ip_hash, 5},
		{v6, UDP, MRQC_RSS_UDP4 | MRQC_RSS_IP4, 0, 0},
	};

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		uint8_t type;

		assert_int_equal(hash_of(cases[i].v, cases[i].protocol, cases[i].mrqc, &type), cases[i].hash);
		assert_int_equal(type, cases[i].type);
	}
}

static void a_fragment_is_hashed_by_its_addresses_only(void **state)
{
	(void)state;
	uint8_t frame[256], type;
	struct frame_info info;
	struct frame_spec spec = {.protocol = UDP, .payload = 64};
	struct frame_layout at = build_frame(frame, &spec);

	put16(frame + at.l3 + 6, 0x2000); /* more fragments: the first one, with the UDP header */
	frame_parse(frame, at.size, 0x8100, &info);
	assert_true(info.fragment);
	assert_false(info.udp);
	assert_int_equal(rss_hash(MRQC_RSS_UDP4 | MRQC_RSS_IP4, rss_table(), frame, &info, &type),
		rss_toeplitz(key, frame + at.l3 + 12, 8));
	assert_int_equal(type, 2);
}

/* --- multicast hash ------------------------------------------------------------------------------------------- */

static void multicast_hash_takes_the_bits_that_mo_names(void **state)
{
	(void)state;
	/* Last two bytes 0x34 0x12: bits 47:32 of the address are 0x1234. */
	static const uint8_t mac[6] = {0x01, 0x00, 0x5e, 0x00, 0x34, 0x12};

	assert_int_equal(multicast_hash(mac, 0), 0x123);                 /* 47:36 */
	assert_int_equal(multicast_hash(mac, 1), (0x1234 >> 3) & 0xfff); /* 46:35 */
	assert_int_equal(multicast_hash(mac, 2), (0x1234 >> 2) & 0xfff); /* 45:34 */
	assert_int_equal(multicast_hash(mac, 3), 0x234);                 /* 43:32 */
}

/* --- parser --------------------------------------------------------------------------------------------- */

static void the_parser_finds_headers_and_verifies_checksums(void **state)
{
	(void)state;
	for (unsigned i = 0; i < 32; i++) {
		uint8_t frame[512];
		struct frame_info info;
		struct frame_spec spec = {
			.v6 = i & 1,
			.protocol = i & 2 ? TCP : UDP,
			.tag = i & 4 ? 0x6123 : 0,
			.ip_options = i & 8 && !(i & 1) ? 12 : 0,
			.payload = i & 16 ? 101 : 0,
		};
		struct frame_layout at = build_frame(frame, &spec);

		memset(frame + at.size, 0xee, 6); /* padding behind the IP packet belongs to nothing */
		frame_parse(frame, at.size + 6, 0x8100, &info);
		assert_int_equal(info.vlan, spec.tag != 0);
		assert_int_equal(info.vlan_tci, spec.tag);
		assert_int_equal(info.ether_type, spec.v6 ? 0x86dd : 0x0800);
		assert_int_equal(info.ipv4, !spec.v6);
		assert_int_equal(info.ipv6, spec.v6);
		assert_int_equal(info.l3_offset, at.l3);
		assert_int_equal(info.l3_size, at.l4 - at.l3);
		assert_int_equal(info.l4_offset, at.l4);
		assert_int_equal(info.l4_size, at.payload - at.l4);
		assert_int_equal(info.tcp, spec.protocol == TCP);
		assert_int_equal(info.udp, spec.protocol == UDP);
		assert_true(info.ip_csum_ok && info.l4_csum_checked && info.l4_csum_ok);

		frame[at.payload - 3] ^= 0x10; /* in the L4 header */
		frame_parse(frame, at.size + 6, 0x8100, &info);
		assert_true(info.ip_csum_ok && !info.l4_csum_ok);
		if (!spec.v6) {
			frame[at.l3 + 8]++; /* TTL */
			frame_parse(frame, at.size + 6, 0x8100, &info);
			assert_false(info.ip_csum_ok);
		}
	}
}

static void a_udp_datagram_without_checksum_is_not_checked(void **state)
{
	(void)state;
	uint8_t frame[256];
	struct frame_info info;
	struct frame_layout at = build_frame(frame, &(struct frame_spec){.protocol = UDP, .payload = 30});

	put16(frame + at.l4 + 6, 0);
	frame_parse(frame, at.size, 0x8100, &info);
	assert_true(info.udp);
	assert_false(info.l4_csum_checked);
}

static void ipv6_extension_headers_are_walked_through(void **state)
{
	(void)state;
	uint8_t frame[512];
	struct frame_info info;
	struct frame_layout at =
		build_frame(frame, &(struct frame_spec){.v6 = true, .protocol = TCP, .payload = 9});

	/* A destination options header of 16 bytes between IPv6 and TCP. */
	memmove(frame + at.l4 + 16, frame + at.l4, at.size - at.l4);
	memset(frame + at.l4, 0, 16);
	frame[at.l4] = TCP;
	frame[at.l4 + 1] = 1;
	frame[at.l3 + 6] = 60;
	put16(frame + at.l3 + 4, (uint32_t)(at.size + 16 - at.l4));
	frame_parse(frame, at.size + 16, 0x8100, &info);
	assert_true(info.ipv6 && info.ipv6_ext && info.tcp);
	assert_int_equal(info.l4_offset, at.l4 + 16);
	assert_true(info.l4_csum_checked && info.l4_csum_ok);

	uint8_t type;

	rss_hash(MRQC_RSS_TCP6 | MRQC_RSS_IP6, rss_table(), frame, &info, &type);
	assert_int_equal(type, 5);

	frame[at.l4] = 44; /* the next one is called a fragment header: no L4 behind it */
	frame_parse(frame, at.size + 16, 0x8100, &info);
	assert_true(info.fragment);
	assert_false(info.tcp);
}

static void headers_that_contradict_themselves_are_not_reported(void **state)
{
	(void)state;
	uint8_t frame[256];
	struct frame_info info;
	struct frame_layout at = build_frame(frame, &(struct frame_spec){.protocol = TCP, .payload = 10});
	const struct {
		size_t offset;
		uint8_t value;
		bool ipv4, tcp;
	} cases[] = {
		{at.l3, 0x65, false, false},     /* version 6 under the EtherType of IPv4 */
		{at.l3, 0x44, false, false},     /* header of 16 bytes */
		{at.l3 + 2, 0xff, true, false},  /* total length past the frame */
		{at.l4 + 12, 0x40, true, false}, /* TCP header of 16 bytes */
		{at.l4 + 12, 0xf0, true, false}, /* TCP header past the packet */
		{at.l3 + 6, 0x20, true, false},  /* fragment */
		{at.l3 + 9, 47, true, false},    /* another protocol */
		{12, 0x88, false, false},        /* another EtherType */
	};

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		uint8_t was = frame[cases[i].offset];

		frame[cases[i].offset] = cases[i].value;
		frame_parse(frame, at.size, 0x8100, &info);
		assert_int_equal(info.ipv4, cases[i].ipv4);
		assert_int_equal(info.tcp, cases[i].tcp);
		assert_false(info.l4_csum_checked);
		frame[cases[i].offset] = was;
	}
}

/* Each prefix of many frames, in a block of just that size: a sanitizer sees the first byte read too far. */
static void a_truncated_frame_is_read_no_further_than_it_goes(void **state)
{
	(void)state;
	for (unsigned i = 0; i < 16; i++) {
		uint8_t whole[512];
		struct frame_spec spec = {.v6 = i & 1,
			.protocol = i & 2 ? TCP : UDP,
			.tag = i & 4 ? 5 : 0,
			.tcp_options = i & 8 ? 12 : 0,
			.payload = 33};
		struct frame_layout at = build_frame(whole, &spec);

		for (size_t size = 0; size < at.size; size++) {
			struct frame_info info;
			uint8_t *part = malloc(size ? size : 1);
			uint8_t type;

			assert_non_null(part);
			memcpy(part, whole, size);
			frame_parse(part, size, 0x8100, &info);
			assert_false(info.l4_csum_checked);
			rss_hash(~0u, rss_table(), part, &info, &type);
			free(part);
		}
	}
}

static void random_headers_are_survived(void **state)
{
	(void)state;
	const struct rss_table *table = rss_table();
	uint32_t random = 1;

	for (unsigned i = 0; i < 50000; i++) {
		size_t size = 14 + i % 120;
		uint8_t *frame = malloc(size), type;
		struct frame_info info;

		assert_non_null(frame);
		for (size_t k = 0; k < size; k++)
			frame[k] = (uint8_t)((random = random * 1664525 + 1013904223) >> 24);
		put16(frame + 12, i & 1 ? 0x0800 : 0x86dd);
		if (size > 20) {
			frame[14] = i & 1 ? 0x40 | (frame[14] & 15) : 0x60;
			frame[16 + 2 * !(i & 1)] = 0; /* total or payload length under 256 */
			frame[20] = (uint8_t[]){0, 43, 44, 60, 6, 17, 132, 59}[frame[20] & 7];
		}
		frame_parse(frame, size, 0x8100, &info);
		assert_true(info.l3_offset <= size && info.l4_offset <= size);
		assert_true((size_t)info.l4_offset + info.l4_size <= size);
		rss_hash(~0u, table, frame, &info, &type);
		free(frame);
	}
}

/* --- CRCs ----------------------------------------------------------------------------------------------- */

static void crcs_have_their_check_values(void **state)
{
	(void)state;
	static const uint8_t check[] = "123456789";

	assert_int_equal(crc32_ethernet(check, 9), 0xcbf43926);
	assert_int_equal(~crc32c_add(~0u, check, 9), 0xe3069283);
	assert_int_equal(~crc32c_add(crc32c_add(~0u, check, 4), check + 4, 5), 0xe3069283);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(toeplitz_gives_the_published_hashes),
		cmocka_unit_test(a_frame_is_hashed_by_the_fields_that_mrqc_enables),
		cmocka_unit_test(a_fragment_is_hashed_by_its_addresses_only),
		cmocka_unit_test(multicast_hash_takes_the_bits_that_mo_names),
		cmocka_unit_test(the_parser_finds_headers_and_verifies_checksums),
		cmocka_unit_test(a_udp_datagram_without_checksum_is_not_checked),
		cmocka_unit_test(ipv6_extension_headers_are_walked_through),
		cmocka_unit_test(headers_that_contradict_themselves_are_not_reported),
		cmocka_unit_test(a_truncated_frame_is_read_no_further_than_it_goes),
		cmocka_unit_test(random_headers_are_survived),
		cmocka_unit_test(crcs_have_their_check_values),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
