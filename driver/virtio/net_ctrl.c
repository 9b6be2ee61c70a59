/*
 * The control queue (virtio 1.2, 5.1.6.5): commands to the device, one at a time, each answered by a byte.
 *
 *	class, command | data ... | answer
 *	        read by the device | written by it
 *
 * The control thread sends them and waits for the answer, for as long as a host may keep its guest waiting; no more.
 * A command without an answer stays with the device, memory and all: nothing else can be told to it until it answers
 * after all, or is reset.
 *
 * Settings are remembered in struct net_device before the device is told, so that net_ctrl_start() tells them again after
 * a reset, and those for the first time that were made while the device was stopped. A device without filters lets
 * everything in, which is more than was asked for and does no harm: then there is nothing to tell. Multicast groups
 * over NET_MAX_MULTICAST are all let in. VLAN tags are not filtered (VIRTIO_NET_F_CTRL_VLAN is left alone): who runs
 * VLANs on top wants all of them.
 */
#include <endian.h>
#include <errno.h>
#include <string.h>

#include "driver/virtio/net.h"

#define ANSWER_MS 2000 /* longest wait for an answer */
#define NO_ANSWER 0xff /* which none is: a device that says "done" and has written nothing refuses */

/* --- one command -------------------------------------------------------------------------------------- */

/* Has the command that is out come back? */
static int answered(struct net_device *dev)
{
	struct virtqueue_used used;
	int n = virtqueue_take(&dev->ctrl.vq, &used, 1);

	if (n < 0)
		return ixy_fail_context(n, "%s: control queue", dev->ixy.name);
	if (n)
		dev->ctrl.unanswered = false;
	return n;
}

static int await_answer(struct net_device *dev)
{
	unsigned pause = 10; /* QEMU answers before the notification returns */

	for (unsigned waited = 0;; waited += pause) {
		bool last = waited >= ANSWER_MS * 1000u;
		int n = answered(dev);

		if (n)
			return n < 0 ? n : 0;
		if (virtio_status(dev->virtio) == VIRTIO_GONE)
			return ixy_fail(ENODEV, "%s: the device has gone", dev->ixy.name);
		if (last)
			return ixy_fail(ETIMEDOUT, "%s: no answer on the control queue for %u ms",
				dev->ixy.name, ANSWER_MS);
		sleep_us(pause);
		pause = pause < 1000 ? pause * 2 : pause;
	}
}

/*
 * Send a command with the data that lies in memory->data: size bytes, in two pieces where the first is `first` bytes
 * long (0: one piece). 0; -EIO if the device says no; -ETIMEDOUT, -EPROTO, -ENODEV.
 */
static int command(struct net_device *dev, uint8_t class, uint8_t cmd, uint32_t first, uint32_t size)
{
	struct net_ctrl *ctrl = &dev->ctrl;
	struct net_ctrl_memory *m = ctrl->memory;
	const uint64_t data = dma_iova(dev->memory, m->data);
	struct virtqueue_piece pieces[4];
	unsigned n = 0;
	int err;

	m->header = (struct virtio_net_ctrl_hdr){.class = class, .cmd = cmd};
	m->ack = NO_ANSWER;
	pieces[n++] = (struct virtqueue_piece){dma_iova(dev->memory, &m->header), sizeof(m->header)};
	if (first)
		pieces[n++] = (struct virtqueue_piece){data, first};
	pieces[n++] = (struct virtqueue_piece){data + first, size - first};
	pieces[n++] = (struct virtqueue_piece){dma_iova(dev->memory, &m->ack), sizeof(m->ack)};
	err = virtqueue_add(&ctrl->vq, pieces, n - 1, 1, m);
	if (err)
		return ixy_fail(-err, "%s: the control queue takes no command: it is broken or too short",
			dev->ixy.name);
	ctrl->unanswered = true;
	if (virtqueue_publish(&ctrl->vq))
		virtio_notify(dev->virtio, ctrl->index);
	err = await_answer(dev);
	if (err)
		return err;
	if (__atomic_load_n(&m->ack, __ATOMIC_ACQUIRE) != VIRTIO_NET_OK)
		return ixy_fail(EIO, "%s: the device refuses command %u of class %u on its control queue",
			dev->ixy.name, cmd, class);
	return 0;
}

/* Whether a command can be sent: the one before has been answered, which frees the memory for its data. */
static int ready(struct net_device *dev)
{
	int n;

	if (!dev->ctrl.unanswered)
		return 0;
	n = answered(dev);
	if (n < 0)
		return n;
	return n ? 0
		 : ixy_fail(ETIMEDOUT, "%s: the device owes an answer on its control queue", dev->ixy.name);
}

static int command_byte(struct net_device *dev, uint8_t class, uint8_t cmd, uint8_t byte)
{
	int err = ready(dev);

	if (err)
		return err;
	dev->ctrl.memory->data[0] = byte;
	return command(dev, class, cmd, 0, 1);
}

/* --- what the device is told -------------------------------------------------------------------------- */

/* 5.1.6.5.1 */
static int tell_modes(struct net_device *dev)
{
	int err;

	if (!dev->live || !virtio_has(dev->virtio, VIRTIO_NET_F_CTRL_RX))
		return 0;
	err = command_byte(dev, VIRTIO_NET_CTRL_RX, VIRTIO_NET_CTRL_RX_PROMISC, dev->promisc);
	return err ? err
		   : command_byte(dev, VIRTIO_NET_CTRL_RX, VIRTIO_NET_CTRL_RX_ALLMULTI,
			     dev->allmulti || dev->too_many_groups);
}

static uint8_t *append_list(
	uint8_t *to, const struct ixy_mac *extra, const struct ixy_mac macs[], size_t count)
{
	const uint32_t entries = htole32((uint32_t)count + (extra ? 1 : 0));

	memcpy(to, &entries, sizeof(entries));
	to += sizeof(entries);
	if (extra) {
		memcpy(to, extra, sizeof(*extra));
		to += sizeof(*extra);
	}
	if (count)
		memcpy(to, macs, count * sizeof(*macs));
	return to + count * sizeof(*macs);
}

/* 5.1.6.5.2: both lists at once. Our address is in the first if the device does not know it otherwise. */
static int tell_table(struct net_device *dev)
{
	const bool knows = virtio_has(dev->virtio, VIRTIO_NET_F_CTRL_MAC_ADDR) || !dev->mac_changed;
	uint8_t *data = dev->ctrl.memory->data, *second, *end;
	int err;

	if (!dev->live || !virtio_has(dev->virtio, VIRTIO_NET_F_CTRL_RX))
		return 0;
	err = ready(dev);
	if (err)
		return err;
	second = append_list(data, knows ? NULL : &dev->ixy.mac, dev->unicast, dev->unicast_count);
	end = append_list(second, NULL, dev->multicast, dev->multicast_count);
	return command(dev, VIRTIO_NET_CTRL_MAC, VIRTIO_NET_CTRL_MAC_TABLE_SET, (uint32_t)(second - data),
		(uint32_t)(end - data));
}

/* The address: by command, or in configuration space as legacy devices have it, or in the table. */
static int tell_mac(struct net_device *dev)
{
	int err;

	if (!dev->live)
		return 0;
	if (virtio_has(dev->virtio, VIRTIO_NET_F_CTRL_MAC_ADDR)) {
		err = ready(dev);
		if (err)
			return err;
		memcpy(dev->ctrl.memory->data, &dev->ixy.mac, sizeof(dev->ixy.mac));
		return command(
			dev, VIRTIO_NET_CTRL_MAC, VIRTIO_NET_CTRL_MAC_ADDR_SET, 0, sizeof(dev->ixy.mac));
	}
	if (!dev->virtio->modern && virtio_has(dev->virtio, VIRTIO_NET_F_MAC))
		return virtio_config_write(dev->virtio, 0, &dev->ixy.mac, sizeof(dev->ixy.mac));
	if (virtio_has(dev->virtio, VIRTIO_NET_F_CTRL_RX))
		return tell_table(dev);
	return ixy_fail(ENOTSUP, "%s: the device has no way to change its MAC address", dev->ixy.name);
}

/* 5.1.6.5.5: it uses one pair until it is told otherwise. */
static int tell_pairs(struct net_device *dev)
{
	const uint16_t pairs = htole16(dev->ixy.rx_queues);
	int err;

	if (!virtio_has(dev->virtio, VIRTIO_NET_F_MQ))
		return 0;
	err = ready(dev);
	if (err)
		return err;
	memcpy(dev->ctrl.memory->data, &pairs, sizeof(pairs));
	return command(dev, VIRTIO_NET_CTRL_MQ, VIRTIO_NET_CTRL_MQ_VQ_PAIRS_SET, 0, sizeof(pairs));
}

/* A filter that the device refuses lets in too much or too little: worth a word, but no reason to give up. */
static int tolerate(int err)
{
	if (err != -EIO && err != -ENOTSUP)
		return err;
	ixy_log(IXY_LOG_WARNING, "%s", ixy_last_error());
	return 0;
}

int net_ctrl_start(struct net_device *dev)
{
	int err = tell_pairs(dev);

	if (!err && dev->mac_changed)
		err = tolerate(tell_mac(dev));
	if (!err)
		err = tolerate(tell_modes(dev));
	if (!err)
		err = tolerate(tell_table(dev));
	return err;
}

/* --- what the user sets ------------------------------------------------------------------------------- */

int net_mac_set(struct ixy_device *ixy, struct ixy_mac mac)
{
	struct net_device *dev = net_device(ixy);
	const struct ixy_mac before = ixy->mac;
	const bool changed = dev->mac_changed;
	int err;

	if (memcmp(&mac, &before, sizeof(mac)) == 0)
		return 0;
	ixy->mac = mac;
	dev->mac_changed = true;
	err = tell_mac(dev);
	if (err) {
		ixy->mac = before;
		dev->mac_changed = changed;
	}
	return err;
}

int net_set_unicast(struct ixy_device *ixy, const struct ixy_mac macs[], size_t count)
{
	struct net_device *dev = net_device(ixy);

	if (count > NET_MAX_UNICAST)
		return ixy_fail(ENOSPC, "%s: %zu unicast addresses are more than the %u that can be filtered",
			ixy->name, count, NET_MAX_UNICAST);
	if (count)
		memcpy(dev->unicast, macs, count * sizeof(macs[0]));
	dev->unicast_count = count;
	return tell_table(dev);
}

int net_set_multicast(struct ixy_device *ixy, const struct ixy_mac macs[], size_t count)
{
	struct net_device *dev = net_device(ixy);
	const bool too_many = count > NET_MAX_MULTICAST;
	int err = 0;

	if (!too_many && count)
		memcpy(dev->multicast, macs, count * sizeof(macs[0]));
	dev->multicast_count = too_many ? 0 : count;
	if (too_many != dev->too_many_groups) {
		dev->too_many_groups = too_many;
		err = tell_modes(dev);
	}
	return err ? err : tell_table(dev);
}

int net_set_promisc(struct ixy_device *ixy, bool on)
{
	net_device(ixy)->promisc = on;
	return tell_modes(net_device(ixy));
}

int net_set_allmulti(struct ixy_device *ixy, bool on)
{
	net_device(ixy)->allmulti = on;
	return tell_modes(net_device(ixy));
}
