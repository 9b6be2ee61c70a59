/*
 * From an existing interface into the NIC, by a packet socket.
 *
 * Whatever the stack or the veth peer leaves to hardware arrives with a virtio_net_hdr in front (PACKET_VNET_HDR):
 * super-frames of up to 64 KiB, checksums that are only pseudo-header sums, VLAN tags in the auxiliary data. They are
 * made into the frames that a real wire would carry: tag put back, segmented, checksums complete, padded to 60 bytes.
 */
#include "wire_dev.h"

#include <errno.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "driver/gso.h"

#ifndef PACKET_IGNORE_OUTGOING
#define PACKET_IGNORE_OUTGOING 23
#endif

#define HEADROOM 64          /* a VLAN tag is put back in here */
#define SIZE     (68u << 10) /* headroom and the longest frame, 65,535 bytes of IP packet and its headers */
#define RCVBUF   (32 << 20)  /* super-frames are charged with all the pages they occupy */

#define VLAN_SIZE 4
#define MACS_SIZE 12

/* Put back the VLAN tag that the kernel keeps beside the frame. */
static uint8_t *restore_vlan(struct msghdr *msg, struct virtio_net_hdr *vnet, uint8_t *frame, size_t *size)
{
	struct tpacket_auxdata aux;
	struct cmsghdr *cmsg = CMSG_FIRSTHDR(msg);
	if (!cmsg || cmsg->cmsg_level != SOL_PACKET || cmsg->cmsg_type != PACKET_AUXDATA ||
		cmsg->cmsg_len < CMSG_LEN(sizeof aux) || *size < MACS_SIZE)
		return frame;
	memcpy(&aux, CMSG_DATA(cmsg), sizeof aux);
	if (!(aux.tp_status & TP_STATUS_VLAN_VALID))
		return frame;
	uint16_t tpid = aux.tp_status & TP_STATUS_VLAN_TPID_VALID ? aux.tp_vlan_tpid : ETH_P_8021Q;
	const uint8_t tag[VLAN_SIZE] = {
		(uint8_t)(tpid >> 8),
		(uint8_t)tpid,
		(uint8_t)(aux.tp_vlan_tci >> 8),
		(uint8_t)aux.tp_vlan_tci,
	};
	memmove(frame - VLAN_SIZE, frame, MACS_SIZE);
	memcpy(frame - VLAN_SIZE + MACS_SIZE, tag, sizeof tag);
	if (vnet->flags & VIRTIO_NET_HDR_F_NEEDS_CSUM)
		vnet->csum_start += VLAN_SIZE;
	*size += VLAN_SIZE;
	return frame - VLAN_SIZE;
}

static void deliver(void *context, const uint8_t *frame, size_t size)
{
	struct dev_rx *rx = context;
	rx->wire->rx_frames++;
	nic_receive(rx->wire->nic, frame, size);
}

/* Returns the number of frames that it came to. */
static unsigned receive_one(struct dev_rx *rx, unsigned i)
{
	struct mmsghdr *msg = &rx->msgs[i];
	struct virtio_net_hdr *vnet = &rx->vnet[i];
	uint8_t *frame = rx->memory + (size_t)i * SIZE + HEADROOM;
	if (msg->msg_hdr.msg_flags & MSG_TRUNC || msg->msg_len < sizeof *vnet + ETH_HLEN) {
		rx->wire->rx_dropped++;
		return 0;
	}
	size_t size = msg->msg_len - sizeof *vnet;
	frame = restore_vlan(&msg->msg_hdr, vnet, frame, &size);
	if (size < WIRE_FRAME_MIN && vnet->gso_type == VIRTIO_NET_HDR_GSO_NONE) {
		/* Zeroes do not change a checksum that goes over them, but a CRC: finish that first. */
		struct iovec whole = {frame, size};
		if (vnet->flags & VIRTIO_NET_HDR_F_NEEDS_CSUM && gso_checksum(vnet, &whole, 1) < 0) {
			rx->wire->rx_dropped++;
			return 0;
		}
		vnet->flags = 0;
		memset(frame + size, 0, WIRE_FRAME_MIN - size);
		size = WIRE_FRAME_MIN;
	}
	int frames = gso_segment(vnet, frame, size, deliver, rx);
	if (frames < 0) {
		rx->wire->rx_dropped++;
		return 0;
	}
	return (unsigned)frames;
}

static int receive_batch(struct dev_rx *rx)
{
	for (unsigned i = 0; i < DEV_RX_BATCH; i++) {
		rx->msgs[i].msg_hdr.msg_controllen = sizeof rx->control[i];
		rx->msgs[i].msg_hdr.msg_flags = 0;
	}
	int n = recvmmsg(rx->fd, rx->msgs, DEV_RX_BATCH, MSG_DONTWAIT, NULL);
	if (n >= 0)
		return n;
	switch (errno) {
	case EAGAIN:
	case EINTR:
	case ENETDOWN: /* told once; the link watcher says what to make of it */ return 0;
	default: /* a kind of GSO that has no virtio_net_hdr, say: the kernel has thrown that frame away */
		rx->wire->rx_dropped++;
		return 0;
	}
}

/* How many frames a message will come to, and how long they are at most. */
static size_t frames_of(const struct dev_rx *rx, unsigned i, size_t *size)
{
	const struct virtio_net_hdr *vnet = &rx->vnet[i];
	*size = rx->msgs[i].msg_len;
	if (vnet->gso_type == VIRTIO_NET_HDR_GSO_NONE || vnet->gso_size == 0)
		return 1;
	size_t frames = *size / vnet->gso_size + 1;
	*size = (size_t)vnet->gso_size + GSO_HEADER_MAX;
	return frames;
}

static unsigned deliver_batch(struct dev_rx *rx, unsigned budget)
{
	unsigned done = 0;
	for (; rx->next < rx->have && done < budget; rx->next++) {
		size_t size, frames = frames_of(rx, rx->next, &size);
		if (!wire_deliverable(rx->wire, frames, size))
			break;
		done += receive_one(rx, rx->next);
	}
	return done;
}

unsigned dev_rx_poll(struct dev_rx *rx, unsigned budget)
{
	unsigned done = 0;
	bool more = true;
	rx->wire->room = 0;
	while (more && done < budget) {
		if (rx->next == rx->have) {
			int n = receive_batch(rx);
			rx->next = 0;
			rx->have = (unsigned)n;
			more = n == DEV_RX_BATCH;
		}
		done += deliver_batch(rx, budget - done);
		if (rx->next < rx->have)
			break; /* held, or the budget is spent */
	}
	return done;
}

void dev_rx_forget(struct dev_rx *rx)
{
	rx->next = rx->have = 0;
	rx->wire->held = false;
}

void dev_rx_count(struct dev_rx *rx)
{
	struct tpacket_stats stats; /* reading them clears them */
	socklen_t size = sizeof stats;
	if (getsockopt(rx->fd, SOL_PACKET, PACKET_STATISTICS, &stats, &size) == 0)
		rx->wire->rx_dropped += stats.tp_drops;
}

/* --- open, close ---------------------------------------------------------------------------------------- */

static void prepare_messages(struct dev_rx *rx)
{
	for (unsigned i = 0; i < DEV_RX_BATCH; i++) {
		rx->iov[i][0] = (struct iovec){&rx->vnet[i], sizeof rx->vnet[i]};
		rx->iov[i][1] = (struct iovec){rx->memory + (size_t)i * SIZE + HEADROOM, SIZE - HEADROOM};
		rx->msgs[i].msg_hdr.msg_iov = rx->iov[i];
		rx->msgs[i].msg_hdr.msg_iovlen = 2;
		rx->msgs[i].msg_hdr.msg_control = rx->control[i].bytes;
	}
}

static int set_option(int fd, int option, int value)
{
	return setsockopt(fd, SOL_PACKET, option, &value, sizeof value);
}

int dev_rx_open(struct dev_rx *rx, struct wire *wire, int ifindex)
{
	struct packet_mreq promiscuous = {.mr_ifindex = ifindex, .mr_type = PACKET_MR_PROMISC};
	rx->wire = wire;
	rx->fd = socket(AF_PACKET, SOCK_RAW | SOCK_CLOEXEC, 0);
	if (rx->fd < 0)
		return -errno;
	rx->memory = dev_pages((size_t)DEV_RX_BATCH * SIZE);
	if (!rx->memory)
		return -ENOMEM;
	prepare_messages(rx);
	dev_set_buffer(rx->fd, SO_RCVBUFFORCE, SO_RCVBUF, RCVBUF);
	if (set_option(rx->fd, PACKET_VNET_HDR, 1) < 0 || set_option(rx->fd, PACKET_AUXDATA, 1) < 0 ||
		set_option(rx->fd, PACKET_IGNORE_OUTGOING, 1) < 0 ||
		setsockopt(rx->fd, SOL_PACKET, PACKET_ADD_MEMBERSHIP, &promiscuous, sizeof promiscuous) < 0 ||
		dev_bind_packet(rx->fd, ifindex, ETH_P_ALL) < 0)
		return -errno;
	return 0;
}

void dev_rx_close(struct dev_rx *rx)
{
	if (rx->fd >= 0)
		close(rx->fd);
	if (rx->memory)
		munmap(rx->memory, (size_t)DEV_RX_BATCH * SIZE);
}
