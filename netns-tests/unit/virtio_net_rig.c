/*
 * The virtio network card that a test plays. See virtio_net_rig.h.
 */
#include "virtio_net_rig.h"

#include <endian.h>
#include <linux/virtio_pci.h>
#include <stdlib.h>
#include <string.h>

#include "chain.h"

#define CHAINS 64 /* buffers of one received frame, at most */

const uint8_t net_rig_mac[6] = {0x02, 0x11, 0x22, 0x33, 0x44, 0x55};
const uint8_t net_rig_peer[6] = {0x02, 0xaa, 0xbb, 0xcc, 0xdd, 0xee};

static struct net_rig *net_rig_of(struct pci_device *pci)
{
	return (struct net_rig *)pci; /* its first member's first member */
}

/* --- the control queue: 5.1.6.5 ----------------------------------------------------------------------- */

static uint16_t control_queue(const struct net_rig *n)
{
	const struct virtio_net_config *config = (const void *)n->rig.config;

	return n->rig.accepted & F(VIRTIO_NET_F_MQ) ? (uint16_t)(2 * config->max_virtqueue_pairs) : 2;
}

/* A list of addresses at *at. */
static unsigned read_list(
	struct net_rig *n, const struct rig_chain *chain, size_t *at, uint8_t list[][6], unsigned max)
{
	uint32_t count = 0;

	virtio_rig_read(chain, *at, &count, sizeof(count));
	count = le32toh(count);
	*at += sizeof(count);
	if (count > max || chain->out_bytes - *at < count * 6) {
		virtio_rig_violation(&n->rig, "a list of %u addresses in %zu bytes", count, chain->out_bytes);
		return 0;
	}
	virtio_rig_read(chain, *at, list, count * 6);
	*at += count * 6;
	return count;
}

static bool obey(struct net_rig *n, const struct rig_chain *chain)
{
	struct net_rig_control *c = &n->control;
	struct virtio_net_ctrl_hdr header = {0};
	uint8_t byte = 0;
	size_t at = sizeof(header);

	virtio_rig_read(chain, 0, &header, sizeof(header));
	virtio_rig_read(chain, at, &byte, 1);
	if (c->refused_class == header.class + 1)
		return false;
	switch (header.class << 8 | header.cmd) {
	case VIRTIO_NET_CTRL_RX << 8 | VIRTIO_NET_CTRL_RX_PROMISC: c->promisc = byte; break;
	case VIRTIO_NET_CTRL_RX << 8 | VIRTIO_NET_CTRL_RX_ALLMULTI: c->allmulti = byte; break;
	case VIRTIO_NET_CTRL_MAC << 8 | VIRTIO_NET_CTRL_MAC_TABLE_SET:
		if (chain->outs != 3)
			virtio_rig_violation(&n->rig, "the two lists in %u pieces", chain->outs - 1);
		c->unicast_count = read_list(n, chain, &at, c->unicast, NET_MAX_UNICAST + 1);
		c->multicast_count = read_list(n, chain, &at, c->multicast, NET_MAX_MULTICAST);
		return at == chain->out_bytes;
	case VIRTIO_NET_CTRL_MAC << 8 | VIRTIO_NET_CTRL_MAC_ADDR_SET:
		virtio_rig_read(chain, at, c->mac, 6);
		at += 5;
		break;
	case VIRTIO_NET_CTRL_MQ << 8 | VIRTIO_NET_CTRL_MQ_VQ_PAIRS_SET:
		virtio_rig_read(chain, at, &c->pairs, 2);
		at += 1;
		break;
	default:
		virtio_rig_violation(&n->rig, "command %u of class %u", header.cmd, header.class);
		return false;
	}
	return at + 1 == chain->out_bytes;
}

static void answer(struct net_rig *n, struct rig_chain *chain)
{
	virtio_net_ctrl_ack ack = obey(n, chain) ? VIRTIO_NET_OK : VIRTIO_NET_ERR;

	if (chain->ins != 1 || chain->in_bytes != 1)
		virtio_rig_violation(&n->rig, "room for an answer of %zu bytes", chain->in_bytes);
	virtio_rig_write(chain, 0, &ack, 1);
	virtio_rig_give(&n->rig, control_queue(n), chain, 1);
}

static void control(struct net_rig *n)
{
	struct rig_chain chain;

	while (virtio_rig_take(&n->rig, control_queue(n), &chain)) {
		n->control.commands++;
		if (n->control.silent) {
			n->control.owed = chain;
			n->control.owes = true;
		} else {
			answer(n, &chain);
		}
	}
}

void net_rig_answer(struct net_rig *n)
{
	assert_true(n->control.owes);
	n->control.owes = false;
	answer(n, &n->control.owed);
}

/* Writes of registers, of which those that notify a queue make the card look at its control queue. */
static void bar_write(struct pci_device *pci, unsigned bar, uint32_t offset, const void *data, uint32_t len)
{
	struct net_rig *n = net_rig_of(pci);
	uint16_t queue;

	n->honest->bar_write(pci, bar, offset, data, len);
	if (bar != RIG_NOTIFY_BAR && (bar != 0 || offset != VIRTIO_PCI_QUEUE_NOTIFY))
		return;
	memcpy(&queue, data, sizeof(queue));
	assert_in_range(queue, 0, RIG_QUEUES - 1);
	n->kicks[queue]++;
	if (n->rig.accepted & F(VIRTIO_NET_F_CTRL_VQ) && queue == control_queue(n))
		control(n);
}

/* --- life --------------------------------------------------------------------------------------------- */

void net_rig_init(struct net_rig *n, enum rig_layout layout, uint64_t features)
{
	struct virtio_net_config *config = (void *)n->rig.config;

	memset(n, 0, sizeof(*n));
	virtio_rig_init(&n->rig, layout);
	n->rig.offered |= layout & RIG_MODERN ? features : features & UINT32_MAX;
	memcpy(config->mac, net_rig_mac, 6);
	config->status = VIRTIO_NET_S_LINK_UP;
	config->max_virtqueue_pairs = 1;
	n->honest = n->rig.pci.ops;
	n->ops = *n->honest;
	n->ops.bar_write = bar_write;
	n->rig.pci.ops = &n->ops;
}

void net_rig_pairs(struct net_rig *n, uint16_t pairs)
{
	((struct virtio_net_config *)(void *)n->rig.config)->max_virtqueue_pairs = pairs;
	n->rig.offered |= F(VIRTIO_NET_F_MQ);
	for (unsigned i = 0; i < RIG_QUEUES; i++)
		n->rig.queues[i].max_size = n->rig.queues[i].size =
			i <= 2 * pairs ? n->rig.queues[0].max_size : 0;
}

void net_rig_ring(struct net_rig *n, uint16_t entries)
{
	for (unsigned i = 0; i < RIG_QUEUES; i++)
		if (n->rig.queues[i].max_size)
			n->rig.queues[i].max_size = n->rig.queues[i].size = entries;
}

void net_rig_config(struct net_rig *n, size_t offset, uint16_t value)
{
	virtio_rig_set_config(&n->rig, offset, &value, sizeof(value));
}

struct ixy_options net_rig_options(void)
{
	return (struct ixy_options){.rx_queues = 1,
		.tx_queues = 1,
		.rx_ring = 512,
		.tx_ring = 512,
		.mtu = 1500,
		.irq_interval_us = 20};
}

int net_rig_try(struct net_rig *n, const struct ixy_options *options)
{
	const struct ixy_options usual = net_rig_options();

	return virtio_net_driver.open(&n->rig.pci, options ? options : &usual, &n->dev);
}

void net_rig_open(struct net_rig *n, const struct ixy_options *options)
{
	if (net_rig_try(n, options) < 0)
		fail_msg("%s", ixy_last_error());
	n->pool = ixy_mempool_create(n->dev, NET_RIG_BUFFERS, 0);
	assert_non_null(n->pool);
}

void net_rig_close(struct net_rig *n)
{
	ixy_stop(n->dev);
	for (unsigned i = 0; i < n->dev->rx_queues; i++) {
		const struct mempool *rx = net_device(n->dev)->rx[i].pool,
				     *tx = net_device(n->dev)->tx[i].segments;

		assert_int_equal(rx->free_count, rx->buf_count);
		if (tx)
			assert_int_equal(tx->free_count, tx->buf_count);
	}
	assert_int_equal(n->pool->free_count, n->pool->buf_count);
	assert_int_equal(ixy_mempool_free(n->pool), 0);
	ixy_close(n->dev);
	virtio_rig_assert_clean(&n->rig);
	virtio_rig_close(&n->rig);
}

/* --- frames that come --------------------------------------------------------------------------------- */

static size_t header_size(const struct net_rig *n)
{
	return n->rig.accepted & (F(VIRTIO_F_VERSION_1) | F(VIRTIO_NET_F_MRG_RXBUF)) ? 12 : 10;
}

bool net_rig_arrive(struct net_rig *n, uint16_t pair, const struct virtio_net_hdr_v1 *header,
	const uint8_t *frame, size_t size)
{
	static struct rig_chain chains[CHAINS];
	static uint8_t bytes[12 + NET_RIG_FRAME];
	struct virtio_net_hdr_v1 h = header ? *header : (struct virtio_net_hdr_v1){0};
	const size_t total = header_size(n) + size;
	unsigned count = 0;
	size_t room = 0;

	while (room < total) {
		assert_in_range(count, 0, CHAINS - 1);
		if (!virtio_rig_take(&n->rig, (uint16_t)(2 * pair), &chains[count]))
			return false;
		room += chains[count++].in_bytes;
	}
	if (n->rig.accepted & F(VIRTIO_NET_F_MRG_RXBUF))
		h.num_buffers = htole16((uint16_t)count);
	else
		assert_int_equal(count, 1);
	memcpy(bytes, &h, header_size(n));
	memcpy(bytes + header_size(n), frame, size);
	for (unsigned i = 0, at = 0; i < count; i++) {
		size_t part = virtio_rig_write(&chains[i], 0, bytes + at, total - at);

		virtio_rig_give(&n->rig, (uint16_t)(2 * pair), &chains[i], (uint32_t)part);
		at += (unsigned)part;
	}
	return true;
}

void net_rig_arrive_raw(struct net_rig *n, uint16_t pair, const void *bytes, size_t size, uint32_t claimed)
{
	struct rig_chain chain;

	assert_true(virtio_rig_take(&n->rig, (uint16_t)(2 * pair), &chain));
	virtio_rig_write(&chain, 0, bytes, size);
	virtio_rig_give(&n->rig, (uint16_t)(2 * pair), &chain, claimed);
}

struct pkt_buf *net_rig_received(struct net_rig *n, uint16_t pair, const uint8_t *bytes, size_t size)
{
	static uint8_t got[NET_RIG_FRAME];
	struct pkt_buf *frame = NULL;
	unsigned segments = 0;
	size_t at = 0;

	assert_int_equal(ixy_rx_batch(n->dev, pair, &frame, 1), 1);
	assert_int_equal(frame->frame_size, size);
	for (const struct pkt_buf *buf = frame; buf; buf = buf->next, segments++) {
		assert_in_range(buf->size, 1, sizeof(got) - at);
		memcpy(got + at, buf->data, buf->size);
		at += buf->size;
	}
	assert_int_equal(at, size);
	assert_int_equal(segments, frame->segments);
	assert_memory_equal(got, bytes, size);
	return frame;
}

void net_rig_nothing_received(struct net_rig *n, uint16_t pair)
{
	struct pkt_buf *frame;

	assert_int_equal(ixy_rx_batch(n->dev, pair, &frame, 1), 0);
}

/* --- frames that go ----------------------------------------------------------------------------------- */

bool net_rig_sent(struct net_rig *n, uint16_t pair, struct net_rig_frame *frame)
{
	const bool modern = n->rig.accepted & F(VIRTIO_F_VERSION_1);
	const bool any_layout = modern || n->rig.accepted & F(VIRTIO_F_ANY_LAYOUT);
	const uint16_t queue = (uint16_t)(2 * pair + 1);
	struct rig_chain chain;

	if (!virtio_rig_take(&n->rig, queue, &chain))
		return false;
	assert_in_range(chain.out_bytes, header_size(n), header_size(n) + sizeof(frame->bytes));
	if (!any_layout && chain.out[0].iov_len != header_size(n))
		virtio_rig_violation(&n->rig, "the header is not in a descriptor of its own");
	memset(&frame->header, 0, sizeof(frame->header));
	virtio_rig_read(&chain, 0, &frame->header, header_size(n));
	if (frame->header.num_buffers)
		virtio_rig_violation(
			&n->rig, "num_buffers is %u in a frame that is sent", frame->header.num_buffers);
	frame->size = chain.out_bytes - header_size(n);
	frame->pieces = chain.outs;
	virtio_rig_read(&chain, header_size(n), frame->bytes, frame->size);
	virtio_rig_give(&n->rig, queue, &chain, 0);
	return true;
}

struct pkt_buf *net_rig_frame(struct net_rig *n, const void *bytes, size_t size)
{
	return chain_of(n->pool, bytes, size);
}

size_t net_rig_fill(uint8_t *frame, uint32_t number, size_t size)
{
	memcpy(frame, net_rig_mac, 6);
	memcpy(frame + 6, net_rig_peer, 6);
	frame[12] = 0x88;
	frame[13] = 0xb5; /* for experiments (IEEE 802) */
	for (size_t i = 14; i < size; i++)
		frame[i] = (uint8_t)(number * 31 + i + (number >> 8));
	return size;
}

uint64_t net_rig_drops(struct net_rig *n, enum ixy_drop reason)
{
	struct ixy_stats stats;

	ixy_read_stats(n->dev, &stats);
	return stats.drops[reason];
}

void net_rig_traffic(struct net_rig *n, uint16_t pair)
{
	static uint32_t number;
	static struct net_rig_frame sent;
	uint8_t bytes[200];
	struct pkt_buf *frame;

	net_rig_fill(bytes, ++number, sizeof(bytes));
	assert_true(net_rig_arrive(n, pair, NULL, bytes, sizeof(bytes)));
	pkt_buf_free(net_rig_received(n, pair, bytes, sizeof(bytes)));
	net_rig_nothing_received(n, pair);

	net_rig_fill(bytes, ++number, sizeof(bytes));
	frame = net_rig_frame(n, bytes, sizeof(bytes));
	assert_int_equal(ixy_tx_batch(n->dev, pair, &frame, 1), 1);
	assert_true(net_rig_sent(n, pair, &sent));
	assert_int_equal(sent.size, sizeof(bytes));
	assert_memory_equal(sent.bytes, bytes, sizeof(bytes));
	ixy_tx_batch(n->dev, pair, NULL, 0);
	assert_int_equal(ixy_tx_pending(n->dev, pair), 0);
}
