/*
 * Raw frames of the namespace tests: sockets in another namespace, sending and capturing by AF_PACKET, frames
 * to send, and a checker for those that arrive.
 */
#ifndef NETNS_RAW_H
#define NETNS_RAW_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define RAW_FRAME_MAX  (66 * 1024) /* room for a segmentation super-frame that should not be there */
#define ETHERTYPE_TEST 0x88B5      /* IEEE 802.1: local experimental */

/* A socket that lives in a namespace; close-on-exec. Fails the test when there is none to have. */
int netns_socket(const char *netns, int domain, int type, int protocol);

/* --- what an interface is, asked without a process ---------------------------------------------------------- */

bool link_exists(const char *netns, const char *ifname);
bool link_carrier(
	const char *netns, const char *ifname); /* ETHTOOL_GLINK: settles pending link events first */
void link_mac(const char *netns, const char *ifname, uint8_t mac[6]);
unsigned link_mtu(const char *netns, const char *ifname);
unsigned link_index(const char *netns, const char *ifname);
/* A counter under /sys/class/net/IFNAME/statistics, as `ip -s link` shows it. */
uint64_t link_statistic(const char *netns, const char *ifname, const char *name);

/* --- sockets --------------------------------------------------------------------------------------------------- */

struct captured {
	uint8_t data[RAW_FRAME_MAX]; /* with the VLAN tag that the kernel had taken out put back */
	size_t size;
	bool checksum_partial; /* the kernel says that somebody has yet to complete the checksum */
	bool vlan;             /* a tag was put back */
};

/* All incoming frames of an interface (not what this host sends there). */
int raw_open(const char *netns, const char *ifname);
/* The next captured frame, waiting up to ms for it; false when none came. */
bool raw_receive(int fd, struct captured *frame, unsigned ms);
/* The next frame whose (outermost) EtherType is this one, others are skipped; false after so many seconds. */
bool raw_receive_type(int fd, struct captured *frame, uint16_t ether_type, unsigned seconds);
/* Send one frame whole, or fail the test. */
void raw_send(int fd, const uint8_t *frame, size_t size);
/*
 * Send a frame count times as fast as the kernel takes it. Returns how many it took: a full queue refuses
 * some, which are not sent and not tried again.
 */
uint64_t raw_flood(int fd, const uint8_t *frame, size_t size, uint64_t count);
/* Packets that the capturing socket lost for want of room since the last call. */
unsigned raw_lost(int fd);

/* --- frames --------------------------------------------------------------------------------------------- */

/*
 * A frame of ETHERTYPE_TEST: addresses, type, sequence number (32 bits, network order), then a pattern that
 * depends on it. size: 14 or more, without CRC; under 18 the number is cut.
 */
void frame_test(uint8_t *frame, size_t size, const uint8_t dst[6], const uint8_t src[6], uint32_t sequence);
/* Put a tag of this type between the addresses and the rest; frame has room for 4 more bytes. */
size_t frame_tag(uint8_t *frame, size_t size, uint16_t tpid, uint16_t tci);
/* A UDP datagram over IPv4 in an Ethernet frame, checksums filled in. Returns the frame's size. */
size_t frame_udp4(uint8_t *frame, const uint8_t dst[6], const uint8_t src[6], const char *from,
	const char *to, uint16_t from_port, uint16_t to_port, size_t payload);
uint16_t frame_type(const uint8_t *frame, size_t size); /* EtherType, host order; 0 for a runt */

/*
 * Is this frame as a wire carries it: IPv4 header checksum right, TCP, UDP and ICMP checksums complete and
 * right? NULL if so (and for what is not IP, or a later fragment), else what is wrong.
 */
const char *frame_fault(const uint8_t *frame, size_t size);

#endif
