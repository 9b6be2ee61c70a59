/*
 * What a virtio NIC can do, and what of it is used: feature bits (virtio 1.2, 5.1.3) and the device's configuration
 * (5.1.4), settled before it is started.
 */
#include <endian.h>
#include <errno.h>
#include <string.h>
#include <sys/random.h>
#include <unistd.h>

#include "driver/virtio/net.h"

/* Entries of rings: what the longest frame, or command, takes at the least; of the control queue's at most. */
#define NET_MIN_RING  16 /* 16 KiB in buffers of 2 KiB, and a header in front */
#define CTRL_MIN_RING 4  /* header, two lists, answer */
#define CTRL_RING     64

/* --- features ----------------------------------------------------------------------------------------- */

static bool several_queues(const struct ixy_options *options)
{
	return options->rx_queues > 1;
}

static bool super_frames(const struct ixy_options *options)
{
	return options->rx_super_frames;
}

static bool udp_super_frames(const struct ixy_options *options)
{
	return options->rx_super_frames && options->rx_super_frames_udp;
}

/*
 * What is asked for, if the device offers it: when (NULL: always), and what else has to be had for it (5.1.3.1), which
 * stands further up. The layer below adds what is its own (virtio_negotiate()). Left alone are, with reason:
 *
 *	RING_PACKED          another format of ring. It saves a device on a PCIe bus reads; those of hypervisors, which
 *	                     read memory, offer it seldom (QEMU not by default, vhost-net not at all).
 *	IN_ORDER             see virtqueue.h
 *	CTRL_VLAN            with it all tags are filtered but those on a list; without it all pass, as they should
 *	CTRL_GUEST_OFFLOADS  would change while running what was negotiated; nobody asks for that
 *	RSS, HASH_REPORT     would choose the hash by which flows are spread; the device's own way serves as well
 *	GUEST_ANNOUNCE       who has an address announces it: the interface above, not the NIC
 *	NOTF_COAL            the worker gathers frames by itself
 *	GUEST_UFO, HOST_UFO  are about fragments, and gone from Linux since 4.14
 */
#define NEEDS(bit) (UINT64_C(1) << (bit))

static const struct feature {
	uint8_t bit;
	const char *name;
	uint64_t needs;
	bool (*when)(const struct ixy_options *options);
	const char *gives;
} features[] = {
	{VIRTIO_F_ANY_LAYOUT, "ANY_LAYOUT", 0, NULL,
		"header and frame in one descriptor, with a legacy device"},
	{VIRTIO_RING_F_INDIRECT_DESC, "INDIRECT_DESC", 0, NULL, "long chains take one entry of the ring"},
	{VIRTIO_RING_F_EVENT_IDX, "EVENT_IDX", 0, NULL, "few notifications, either way"},
	{VIRTIO_NET_F_MAC, "MAC", 0, NULL, "the device has a MAC address"},
	{VIRTIO_NET_F_MTU, "MTU", 0, NULL, "it knows its longest MTU"},
	{VIRTIO_NET_F_STATUS, "STATUS", 0, NULL, "the link can be down"},
	{VIRTIO_NET_F_SPEED_DUPLEX, "SPEED_DUPLEX", 0, NULL, "the link's speed"},
	{VIRTIO_NET_F_MRG_RXBUF, "MRG_RXBUF", 0, NULL, "received frames of several buffers"},
	{VIRTIO_NET_F_CSUM, "CSUM", 0, NULL, "it completes checksums"},
	{VIRTIO_NET_F_HOST_TSO4, "HOST_TSO4", NEEDS(VIRTIO_NET_F_CSUM), NULL, "it cuts TCP over IPv4"},
	{VIRTIO_NET_F_HOST_TSO6, "HOST_TSO6", NEEDS(VIRTIO_NET_F_CSUM), NULL, "it cuts TCP over IPv6"},
	{VIRTIO_NET_F_HOST_ECN, "HOST_ECN", NEEDS(VIRTIO_NET_F_HOST_TSO4), NULL, "also where CWR is set"},
	{VIRTIO_NET_F_HOST_USO, "HOST_USO", NEEDS(VIRTIO_NET_F_CSUM), NULL, "it cuts UDP"},
	{VIRTIO_NET_F_GUEST_CSUM, "GUEST_CSUM", 0, NULL, "it tells what is known of checksums"},
	{VIRTIO_NET_F_GUEST_TSO4, "GUEST_TSO4",
		NEEDS(VIRTIO_NET_F_GUEST_CSUM) | NEEDS(VIRTIO_NET_F_MRG_RXBUF), super_frames,
		"TCP over IPv4 comes uncut"},
	{VIRTIO_NET_F_GUEST_TSO6, "GUEST_TSO6",
		NEEDS(VIRTIO_NET_F_GUEST_CSUM) | NEEDS(VIRTIO_NET_F_MRG_RXBUF), super_frames,
		"TCP over IPv6 comes uncut"},
	{VIRTIO_NET_F_GUEST_ECN, "GUEST_ECN", NEEDS(VIRTIO_NET_F_GUEST_TSO4), super_frames,
		"also where CWR is set"},
	{VIRTIO_NET_F_GUEST_USO4, "GUEST_USO4",
		NEEDS(VIRTIO_NET_F_GUEST_CSUM) | NEEDS(VIRTIO_NET_F_MRG_RXBUF), udp_super_frames,
		"UDP over IPv4 comes uncut"},
	{VIRTIO_NET_F_GUEST_USO6, "GUEST_USO6",
		NEEDS(VIRTIO_NET_F_GUEST_CSUM) | NEEDS(VIRTIO_NET_F_MRG_RXBUF), udp_super_frames,
		"UDP over IPv6 comes uncut"},
	{VIRTIO_NET_F_CTRL_VQ, "CTRL_VQ", 0, NULL, "the control queue"},
	{VIRTIO_NET_F_CTRL_RX, "CTRL_RX", NEEDS(VIRTIO_NET_F_CTRL_VQ), NULL, "filters"},
	{VIRTIO_NET_F_CTRL_MAC_ADDR, "CTRL_MAC_ADDR", NEEDS(VIRTIO_NET_F_CTRL_VQ), NULL,
		"another MAC address"},
	{VIRTIO_NET_F_MQ, "MQ", NEEDS(VIRTIO_NET_F_CTRL_VQ), several_queues, "several queue pairs"},
};

#define FEATURES (sizeof(features) / sizeof(features[0]))

static uint64_t choose_features(uint64_t offered, const struct ixy_options *options)
{
	uint64_t chosen = 0;

	for (const struct feature *f = features; f < features + FEATURES; f++) {
		if (offered & NEEDS(f->bit) && (chosen & f->needs) == f->needs &&
			(!f->when || f->when(options)))
			chosen |= NEEDS(f->bit);
	}
	return chosen;
}

static void tell_features(const struct net_device *dev)
{
	for (const struct feature *f = features; f < features + FEATURES; f++) {
		if (dev->wanted & NEEDS(f->bit))
			ixy_log(IXY_LOG_DEBUG, "%s: %s: %s", dev->ixy.name, f->name, f->gives);
	}
}

/* What the features come to for the data path. */
static void learn_features(struct net_device *dev)
{
	const bool any_layout = dev->virtio->modern || net_wants(dev, VIRTIO_F_ANY_LAYOUT);

	dev->merge = net_wants(dev, VIRTIO_NET_F_MRG_RXBUF);
	dev->header_size =
		dev->virtio->modern || dev->merge ? NET_HEADER_SIZE : sizeof(struct virtio_net_hdr);
	dev->split_header = !any_layout;
	dev->tx_ecn = net_wants(dev, VIRTIO_NET_F_HOST_ECN);
	dev->tx_kinds = (uint32_t)net_wants(dev, VIRTIO_NET_F_HOST_TSO4) << VIRTIO_NET_HDR_GSO_TCPV4 |
			(uint32_t)net_wants(dev, VIRTIO_NET_F_HOST_TSO6) << VIRTIO_NET_HDR_GSO_TCPV6 |
			(uint32_t)net_wants(dev, VIRTIO_NET_F_HOST_USO) << VIRTIO_NET_HDR_GSO_UDP_L4;
	dev->rx_kinds =
		(uint32_t)net_wants(dev, VIRTIO_NET_F_GUEST_TSO4) << VIRTIO_NET_HDR_GSO_TCPV4 |
		(uint32_t)net_wants(dev, VIRTIO_NET_F_GUEST_TSO6) << VIRTIO_NET_HDR_GSO_TCPV6 |
		(uint32_t)(net_wants(dev, VIRTIO_NET_F_GUEST_USO4) || net_wants(dev, VIRTIO_NET_F_GUEST_USO6))
			<< VIRTIO_NET_HDR_GSO_UDP_L4;
}

/* --- configuration space: 5.1.4 ----------------------------------------------------------------------- */

uint32_t net_config_field(struct net_device *dev, size_t offset, uint32_t size)
{
	uint32_t value = 0;

	if (virtio_config_read(dev->virtio, (uint32_t)offset, &value, size) < 0)
		return 0;
	return le32toh(value);
}

/* Queue pairs that the device has; the field is there with MQ only. */
static uint16_t max_pairs(struct net_device *dev)
{
	const uint32_t pairs = net_wants(dev, VIRTIO_NET_F_MQ) ? NET_CONFIG(dev, max_virtqueue_pairs) : 1;

	/* It must have the queues that it speaks of. */
	if (pairs < VIRTIO_NET_CTRL_MQ_VQ_PAIRS_MIN || pairs > VIRTIO_NET_CTRL_MQ_VQ_PAIRS_MAX ||
		2 * pairs + 1 > dev->virtio->queue_count)
		return 1;
	return (uint16_t)pairs;
}

/* The device's address; one of our own where it has none. */
static void read_mac(struct net_device *dev)
{
	struct ixy_mac mac = {{0}};

	if (net_wants(dev, VIRTIO_NET_F_MAC) && virtio_config_read(dev->virtio, 0, &mac, sizeof(mac)) == 0 &&
		ixy_mac_unicast(&mac)) {
		dev->ixy.mac = mac;
		return;
	}
	/* Locally administered; should there be no random bytes, any number is as good. */
	if (getrandom(&mac, sizeof(mac), GRND_NONBLOCK) < 0)
		memcpy(&mac, &(uint64_t){(uint64_t)getpid() * 0x9E3779B97F4A7C15u}, sizeof(mac));
	mac.addr[0] = (uint8_t)((mac.addr[0] & ~1) | 2);
	dev->ixy.mac = mac;
	dev->mac_changed = net_wants(dev, VIRTIO_NET_F_CTRL_MAC_ADDR) || net_wants(dev, VIRTIO_NET_F_CTRL_RX);
}

/* --- all of it ---------------------------------------------------------------------------------------- */

/* Entries that virtqueue `index` will have, as many as the user wants and the device has. Negative: an errno. */
static int ring_size(struct net_device *dev, uint16_t index, uint16_t wanted)
{
	const int least = index == dev->ctrl.index ? CTRL_MIN_RING : NET_MIN_RING;
	int size = virtio_queue_size(dev->virtio, index);

	if (size < 0)
		return size;
	if (size == 0)
		return ixy_fail(EPROTO, "%s: the device has no queue %u", dev->ixy.name, index);
	if (size < least)
		return ixy_fail(EPROTO, "%s: the device's queue %u has %d entries, %d are the least",
			dev->ixy.name, index, size, least);
	return dev->virtio->modern && size > wanted ? wanted : size;
}

/*
 * The longest MTU: what the device advises (5.1.4.1), and what received frames fit. 1500 is what is asked for where
 * nobody has said anything, so a shorter one of the device's takes its place.
 */
static int settle_mtu(struct net_device *dev, uint16_t wanted)
{
	struct ixy_device *ixy = &dev->ixy;
	uint32_t advised = net_wants(dev, VIRTIO_NET_F_MTU) ? NET_CONFIG(dev, mtu) : UINT16_MAX;

	ixy->max_mtu = dev->merge ? NET_MAX_MTU : PKT_BUF_DATA_SIZE - IXY_FRAME_OVERHEAD;
	if (advised < IXY_MIN_MTU)
		dev->wanted &= ~NEEDS(VIRTIO_NET_F_MTU);
	else if (advised < ixy->max_mtu)
		ixy->max_mtu = (uint16_t)advised;
	ixy->mtu = wanted;
	if (wanted <= ixy->max_mtu)
		return 0;
	if (wanted != 1500)
		return ixy_fail(
			EINVAL, "%s: MTU %u is over the device's %u", ixy->name, wanted, ixy->max_mtu);
	ixy->mtu = ixy->max_mtu;
	ixy_log(IXY_LOG_INFO, "%s: MTU %u, which is the most that the device takes", ixy->name, ixy->mtu);
	return 0;
}

int net_learn(struct net_device *dev, const struct ixy_options *options)
{
	int rx, tx, ctrl = 0;
	uint16_t pairs;
	int err;

	dev->wanted = choose_features(dev->virtio->offered, options);
	learn_features(dev);
	err = settle_mtu(dev, options->mtu);
	if (!err)
		err = net_negotiate(dev);
	if (err)
		return err;
	pairs = max_pairs(dev);
	if (options->rx_queues > pairs)
		return ixy_fail(EINVAL,
			"%s: %u queues asked for, the device has %u (QEMU: queues=%u, vectors=%u)",
			dev->ixy.name, options->rx_queues, pairs, options->rx_queues,
			2 * options->rx_queues + 2);
	tell_features(dev);
	read_mac(dev);
	dev->ctrl.index = (uint16_t)(2 * pairs);
	rx = ring_size(dev, 0, options->rx_ring);
	tx = rx < 0 ? rx : ring_size(dev, 1, options->tx_ring);
	if (tx >= 0 && net_wants(dev, VIRTIO_NET_F_CTRL_VQ))
		ctrl = ring_size(dev, dev->ctrl.index, CTRL_RING);
	if (tx < 0 || ctrl < 0)
		return tx < 0 ? tx : ctrl;
	dev->rx_size = (uint16_t)rx;
	dev->tx_size = (uint16_t)tx;
	dev->ctrl.size = (uint16_t)ctrl;
	for (uint16_t i = 1; i < options->rx_queues; i++) {
		if (ring_size(dev, (uint16_t)(2 * i), options->rx_ring) != rx ||
			ring_size(dev, (uint16_t)(2 * i + 1), options->tx_ring) != tx)
			return ixy_fail(EPROTO, "%s: the device's queues are not of one size", dev->ixy.name);
	}
	dev->ixy.capabilities = IXY_CAP_RX_CSUM | IXY_CAP_TX_CSUM | IXY_CAP_TSO | IXY_CAP_USO |
				(options->rx_queues > 1 ? IXY_CAP_RSS : 0) |
				(dev->ixy.max_mtu > 1500 ? IXY_CAP_JUMBO : 0) |
				(dev->interrupts ? IXY_CAP_INTERRUPTS : 0);
	return 0;
}
