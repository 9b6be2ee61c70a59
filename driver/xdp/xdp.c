/*
 * xdp:eth1 - the ixy device on a kernel interface, by AF_XDP.
 *
 * The interface keeps its kernel driver. An XDP program on it hands the frames of each receive queue to a socket
 * of ours and lets nothing else happen to them; what we send goes to the driver's transmit queue. Everything that
 * is not frames goes through the interface itself (netif.h).
 *
 * All of it is undone at the end, most of it even after kill -9: program and sockets go with the process, and so do
 * the filters. MTU and admin state are put back by close() only.
 */
#include "driver/xdp/xdp.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "driver/xdp/device.h"

#define SPEC_PREFIX "xdp:"
#define SPEC_FORM   "xdp:IFNAME[,queues=N][,mode=zc|native|generic] is expected"

/*
 * Chunks a queue receives into: the ring, and those in the caller's hands or in a transmit ring of this length. With
 * the default rings, and those for copies, under the 8 MiB of locked memory that a process has by default.
 */
#define RX_CHUNKS(rx_ring, tx_ring) ((rx_ring) + (tx_ring) + 512u)

/* Frames of one chunk have to fit behind both headrooms. */
#define HEADROOMS            ((uint32_t)sizeof(struct pkt_buf) + XSK_KERNEL_HEADROOM)
#define ONE_CHUNK_MTU(chunk) ((chunk)-HEADROOMS - IXY_FRAME_OVERHEAD)

/* --- the spec ---------------------------------------------------------------------------------------- */

struct spec {
	char ifname[IFNAMSIZ];
	uint16_t queues; /* 0: not said */
	enum xsk_mode mode;
};

static int parse_mode(const char *spec, const char *word, size_t length, enum xsk_mode *mode)
{
	static const struct {
		const char *word;
		enum xsk_mode mode;
	} modes[] = {{"zc", XSK_MODE_ZERO_COPY}, {"native", XSK_MODE_NATIVE}, {"generic", XSK_MODE_GENERIC}};

	for (size_t i = 0; i < sizeof(modes) / sizeof(modes[0]); i++) {
		if (strlen(modes[i].word) == length && strncmp(modes[i].word, word, length) == 0) {
			*mode = modes[i].mode;
			return 0;
		}
	}
	return ixy_fail(EINVAL, "%s: mode=%.*s: zc, native or generic is expected", spec, (int)length, word);
}

static int parse_queues(const char *spec, const char *word, size_t length, uint16_t *queues)
{
	unsigned n = 0;

	for (size_t i = 0; i < length && n <= IXY_MAX_QUEUES; i++)
		n = word[i] >= '0' && word[i] <= '9' ? n * 10 + (unsigned)(word[i] - '0')
						     : IXY_MAX_QUEUES + 1;
	if (n == 0 || n > IXY_MAX_QUEUES)
		return ixy_fail(EINVAL, "%s: queues=%.*s: a number from 1 to %u is expected", spec,
			(int)length, word, IXY_MAX_QUEUES);
	*queues = (uint16_t)n;
	return 0;
}

static int parse_spec(const char *text, struct spec *spec)
{
	const char *p = text + strlen(SPEC_PREFIX);
	size_t length = strcspn(p, ",");
	int err = 0;

	memset(spec, 0, sizeof(*spec));
	if (length == 0 || length >= sizeof(spec->ifname))
		return ixy_fail(
			EINVAL, "%s: the name of an interface is missing or too long: " SPEC_FORM, text);
	memcpy(spec->ifname, p, length);
	for (p += length; *p == ',' && !err; p += length) {
		p++;
		length = strcspn(p, ",");
		if (strncmp(p, "mode=", 5) == 0)
			err = parse_mode(text, p + 5, length - 5, &spec->mode);
		else if (strncmp(p, "queues=", 7) == 0)
			err = parse_queues(text, p + 7, length - 7, &spec->queues);
		else
			err = ixy_fail(EINVAL, "%s: no option \"%.*s\": " SPEC_FORM, text, (int)length, p);
	}
	return err;
}

bool xdp_spec(const char *spec)
{
	return strncmp(spec, SPEC_PREFIX, strlen(SPEC_PREFIX)) == 0;
}

uint16_t xdp_spec_queues(const char *text)
{
	struct ixy_error error;
	struct spec spec;

	ixy_error_save(&error);
	if (parse_spec(text, &spec) < 0)
		spec.queues = 0;
	ixy_error_restore(&error);
	return spec.queues;
}

/* --- a queue's life ---------------------------------------------------------------------------------- */

static int queue_alloc(struct xdp_device *dev, uint16_t number, uint32_t chunk_size)
{
	struct xdp_queue *q = &dev->queues[number];
	uint32_t rx_chunks = RX_CHUNKS(dev->rx_ring, dev->tx_ring);
	int err;

	q->dev = dev;
	q->chunk_size = chunk_size;
	q->chunk_shift = (uint32_t)__builtin_ctz(chunk_size);
	q->chunks = rx_chunks + dev->tx_ring;
	q->first_copy_chunk = rx_chunks;
	q->fill_batch = dev->rx_ring / 8 < XDP_BURST ? dev->rx_ring / 8u : XDP_BURST;
	q->place = calloc(q->chunks, sizeof(*q->place));
	q->copy_chunks = calloc(dev->tx_ring, sizeof(*q->copy_chunks));
	if (!q->place || !q->copy_chunks)
		return ixy_fail(ENOMEM, "%s: out of memory", dev->ixy.name);
	err = mempool_create_chunks(rx_chunks, dev->tx_ring, chunk_size, &q->pool);
	if (err)
		return ixy_fail_context(err, "%s", dev->ixy.name);
	q->memory = q->pool->dma->virt;
	while (q->copy_free < dev->tx_ring) {
		q->copy_chunks[q->copy_free] = rx_chunks + q->copy_free;
		q->copy_free++;
	}
	err = xsk_umem_create(
		&(struct xsk_umem_config){
			.frame_size = chunk_size,
			.headroom = sizeof(struct pkt_buf),
			.frames = q->chunks,
			.fill_size = dev->rx_ring,
			.completion_size = dev->tx_ring,
			.memory = q->memory,
		},
		&q->umem);
	return err ? ixy_fail_context(err, "%s", dev->ixy.name) : 0;
}

static void queue_free(struct xdp_queue *q)
{
	int err;

	if (q->umem && xsk_umem_free(q->umem) < 0)
		ixy_log(IXY_LOG_WARNING, "%s: %s", q->dev->ixy.name, ixy_last_error());
	err = ixy_mempool_free(q->pool);
	if (err)
		ixy_log(IXY_LOG_WARNING, "%s: the caller still holds buffers, their memory stays",
			q->dev->ixy.name);
	free(q->copy_chunks);
	free(q->place);
}

static int queue_start(struct xdp_device *dev, uint16_t number)
{
	struct xdp_queue *q = &dev->queues[number];
	/* Zero copy needs a program in the driver. */
	bool generic = xsk_program_mode(dev->program) == XSK_ATTACH_GENERIC;
	const struct xsk_socket_config config = {
		.ifname = dev->netif->name,
		.queue_id = number,
		.rx_size = dev->rx_ring,
		.tx_size = dev->tx_ring,
		.flags = dev->multi_buffer ? XSK_MULTI_BUFFER : 0,
		.mode = generic ? XSK_MODE_GENERIC : dev->mode,
		.tx_budget = dev->tx_ring,
	};
	/* What bounds a queue is its ring, not the socket's share of memory. */
	int room = dev->tx_ring * (XDP_MAX_MTU + 1024);
	int err = xsk_socket_open(q->umem, &config, &q->socket);

	if (err)
		return ixy_fail_context(err, "%s", dev->ixy.name);
	q->rings = xsk_socket_queues(q->socket);
	if (setsockopt(xsk_socket_fd(q->socket), SOL_SOCKET, SO_SNDBUFFORCE, &room, sizeof(room)) < 0)
		setsockopt(xsk_socket_fd(q->socket), SOL_SOCKET, SO_SNDBUF, &room, sizeof(room));
	xdp_super_open(q);
	q->fill_short = dev->rx_ring;
	xdp_rx_refill(q);
	err = xsk_program_register(dev->program, number, xsk_socket_fd(q->socket));
	return err ? ixy_fail_context(err, "%s", dev->ixy.name) : 0;
}

static void queue_stop(struct xdp_queue *q, enum ixy_drop rx_reason, enum ixy_drop tx_reason)
{
	uint32_t waiting;

	if (!q->socket)
		return;
	xdp_tx_reclaim(q);
	waiting = xsk_num_received(q->socket);
	xdp_kernel_statistics(q, &q->past);
	xdp_super_close(q);
	xsk_socket_close(q->socket);
	q->socket = NULL;
	q->rings = NULL;
	xdp_rx_empty(q, waiting, rx_reason);
	xdp_tx_empty(q, tx_reason);
}

/* --- link and events --------------------------------------------------------------------------------- */

static bool set_link(struct xdp_device *dev, struct ixy_link link)
{
	struct ixy_link *now = &dev->ixy.link;
	bool changed = now->up != link.up || now->speed != link.speed;

	if (now->up != link.up)
		dev->link_changes++;
	__atomic_store_n(&now->speed, link.speed, __ATOMIC_RELAXED);
	__atomic_store_n(&now->up, link.up, __ATOMIC_RELAXED);
	return changed;
}

static uint32_t has_gone(const struct xdp_device *dev)
{
	ixy_fail(ENODEV, "%s: the interface has gone", dev->ixy.name);
	return IXY_EVENT_GONE;
}

uint32_t xdp_poll_events(struct ixy_device *ixy)
{
	struct xdp_device *dev = xdp_device(ixy);
	struct ixy_link link;
	int err;

	if (dev->gone)
		return has_gone(dev);
	if (!dev->running)
		return 0;
	netif_drain(dev->netif);
	err = netif_state(dev->netif, &link);
	if (err == -ENODEV) {
		dev->gone = true;
		set_link(dev, (struct ixy_link){0});
		return has_gone(dev);
	}
	return !err && set_link(dev, link) ? IXY_EVENT_LINK : 0;
}

static int xdp_rx_irq_fd(const struct ixy_device *ixy, uint16_t queue)
{
	const struct xdp_device *dev = xdp_device_const(ixy);

	if (!dev->queues[queue].socket)
		return ixy_fail(ENOTSUP, "%s: it has no sockets while it is stopped", ixy->name);
	return xsk_socket_fd(dev->queues[queue].socket);
}

/* The descriptor is readable for as long as the ring is not empty: nothing to arm but a driver that sleeps. */
static void xdp_rx_irq_arm(struct ixy_device *ixy, uint16_t queue)
{
	struct xdp_queue *q = &xdp_device(ixy)->queues[queue];

	if (!q->socket)
		return;
	if (q->fill_short)
		xdp_rx_refill(q);
	if (xsk_fill_needs_wakeup(q->rings))
		xsk_wake_rx(q->socket);
}

static int xdp_event_fd(const struct ixy_device *ixy)
{
	return netif_event_fd(xdp_device_const(ixy)->netif);
}

/* --- start and stop ---------------------------------------------------------------------------------- */

static int attach(struct xdp_device *dev)
{
	static const enum xsk_attach ways[] = {[XSK_MODE_AUTO] = XSK_ATTACH_AUTO,
		[XSK_MODE_ZERO_COPY] = XSK_ATTACH_NATIVE,
		[XSK_MODE_NATIVE] = XSK_ATTACH_NATIVE,
		[XSK_MODE_GENERIC] = XSK_ATTACH_GENERIC};
	int err = xsk_program_attach(dev->program, dev->netif->name, ways[dev->mode]);

	return err ? ixy_fail_context(err, "%s", dev->ixy.name) : 0;
}

static void stop(struct xdp_device *dev, bool for_good)
{
	struct ixy_error error;

	if (!dev->running)
		return;
	ixy_error_save(&error);
	xsk_program_detach(dev->program);
	for (uint16_t i = 0; i < dev->ixy.rx_queues; i++)
		queue_stop(&dev->queues[i], for_good ? IXY_DROP_SHUTDOWN : IXY_DROP_RX_RESET,
			for_good ? IXY_DROP_SHUTDOWN : IXY_DROP_TX_RESET);
	__atomic_store_n(&dev->ixy.link.up, false, __ATOMIC_RELAXED);
	__atomic_store_n(&dev->ixy.link.speed, 0, __ATOMIC_RELAXED);
	dev->running = false;
	ixy_error_restore(&error);
}

static int start(struct xdp_device *dev)
{
	struct ixy_link link = {0};
	int err = attach(dev);

	dev->running = true; /* or there would be nothing to stop */
	for (uint16_t i = 0; i < dev->ixy.rx_queues && !err; i++)
		err = queue_start(dev, i);
	if (!err && netif_state(dev->netif, &link) == 0) {
		dev->ixy.link = link;
		dev->ixy.max_mtu =
			dev->netif->max_mtu < dev->ixy.max_mtu ? dev->netif->max_mtu : dev->ixy.max_mtu;
	}
	if (err)
		stop(dev, true);
	return err;
}

static void xdp_stop(struct ixy_device *ixy)
{
	stop(xdp_device(ixy), true);
}

static int xdp_reset(struct ixy_device *ixy)
{
	struct xdp_device *dev = xdp_device(ixy);

	if (dev->gone)
		return ixy_fail(ENODEV, "%s: the interface has gone", ixy->name);
	stop(dev, false);
	dev->resets++;
	return start(dev);
}

/* The program gone, frames pass to the kernel's stack; what is in the rings stays there. */
static void xdp_shut(struct ixy_device *ixy)
{
	xsk_program_detach(xdp_device(ixy)->program);
}

/* --- open and close ---------------------------------------------------------------------------------- */

static void xdp_close(struct ixy_device *ixy)
{
	struct xdp_device *dev = xdp_device(ixy);

	xdp_stop(ixy);
	for (uint16_t i = 0; i < ixy->rx_queues; i++)
		queue_free(&dev->queues[i]);
	xsk_program_free(dev->program);
	netif_close(dev->netif);
	free(dev->unicast);
	free(dev->queues);
	free(dev);
}

static struct mempool *xdp_rx_pool(const struct ixy_device *ixy, uint16_t queue)
{
	return xdp_device_const(ixy)->queues[queue].pool;
}

static int xdp_read_register(struct ixy_device *ixy, uint32_t offset, uint32_t *value)
{
	(void)offset;
	(void)value;
	return ixy_fail(ENOTSUP, "%s: an AF_XDP device has no registers", ixy->name);
}

static const struct ixy_device_ops xdp_ops = {
	.rx_batch = xdp_rx_batch,
	.tx_batch = xdp_tx_batch,
	.tx_drop = xdp_tx_drop,
	.tx_pending = xdp_tx_pending,
	.rx_pool = xdp_rx_pool,
	.rx_irq_fd = xdp_rx_irq_fd,
	.rx_irq_arm = xdp_rx_irq_arm,
	.event_fd = xdp_event_fd,
	.poll_events = xdp_poll_events,
	.reset = xdp_reset,
	.shut = xdp_shut,
	.stop = xdp_stop,
	.close = xdp_close,
	.set_up = xdp_set_up,
	.mac_set = xdp_mac_set,
	.set_unicast = xdp_set_unicast,
	.set_multicast = xdp_set_multicast,
	.set_promisc = xdp_set_promisc,
	.set_allmulti = xdp_set_allmulti,
	.mtu_set = xdp_mtu_set,
	.read_stats = xdp_read_stats,
	.read_queue_stats = xdp_read_queue_stats,
	.read_register = xdp_read_register,
};

/* Frames of receive queues without a socket would go past us, to the kernel's stack. */
static int check_queues(const struct xdp_device *dev, uint16_t queues)
{
	const struct netif *netif = dev->netif;

	if (netif->rx_channels > queues)
		return ixy_fail(EINVAL,
			"%s: %s has %u receive queues, and the frames of %u would go past %u socket%s: "
			"ethtool -L %s combined %u (or rx %u), or ask for %u queues",
			dev->ixy.name, netif->name, netif->rx_channels, netif->rx_channels - queues, queues,
			queues == 1 ? "" : "s", netif->name, queues, queues, netif->rx_channels);
	if ((netif->rx_channels && netif->rx_channels < queues) ||
		(netif->tx_channels && netif->tx_channels < queues))
		return ixy_fail(EINVAL,
			"%s: %u queues asked for, but %s has %u to receive and %u to send: "
			"ethtool -L %s combined %u (or rx %u tx %u), or ask for fewer",
			dev->ixy.name, queues, netif->name, netif->rx_channels, netif->tx_channels,
			netif->name, queues, queues, queues);
	return 0;
}

static void tell_mode(const struct xdp_device *dev)
{
	const struct xsk_socket *socket = dev->queues[0].socket;
	int reason = xsk_socket_fallback_reason(socket);

	ixy_log(IXY_LOG_INFO, "%s: %s XDP, %s%s%s%s%s", dev->ixy.name,
		xsk_attach_name(xsk_program_mode(dev->program)),
		xsk_socket_zero_copy(socket) ? "zero copy" : "frames are copied",
		reason ? " (no zero copy: " : "", reason ? strerror(reason) : "", reason ? ")" : "",
		dev->multi_buffer ? "" : "; no jumbo frames");
}

/*
 * Zero copy is worth more than frames of several chunks, which many drivers do not have together: true where it has
 * to be without, and the MTU asked for fits one chunk. Kernels before 6.3 do not tell, and have no such frames.
 */
static bool zero_copy_takes_one_chunk(const struct xdp_device *dev, uint16_t mtu)
{
	struct xsk_interface interface;

	return (dev->mode == XSK_MODE_AUTO || dev->mode == XSK_MODE_ZERO_COPY) &&
	       mtu <= ONE_CHUNK_MTU(4096) && xsk_probe_interface(dev->netif->name, &interface) == 0 &&
	       interface.features_known && interface.zero_copy && interface.max_segments <= 1;
}

static int set_up_device(struct xdp_device *dev, const struct spec *spec, const struct ixy_options *options)
{
	struct ixy_device *ixy = &dev->ixy;
	struct xsk_features features;
	uint32_t chunk_size;
	int err;

	err = netif_open(spec->ifname, options->force, &dev->netif);
	if (!err)
		err = check_queues(dev, ixy->rx_queues);
	if (!err)
		err = xsk_probe(&features);
	if (err)
		return err;
	dev->multi_buffer = features.multi_buffer && !zero_copy_takes_one_chunk(dev, options->mtu);
	/* Small chunks keep the caches warm, if an ordinary frame fits into one. */
	chunk_size = dev->multi_buffer && options->mtu <= ONE_CHUNK_MTU(2048) ? 2048 : 4096;
	ixy->max_mtu = dev->multi_buffer ? XDP_MAX_MTU : (uint16_t)ONE_CHUNK_MTU(chunk_size);
	if (dev->netif->max_mtu < ixy->max_mtu)
		ixy->max_mtu = dev->netif->max_mtu;
	if (options->mtu > ixy->max_mtu)
		return ixy_fail(EINVAL, "%s: MTU %u asked for: %u is the most", ixy->name, options->mtu,
			ixy->max_mtu);
	if (ixy->max_mtu > 1500)
		ixy->capabilities |= IXY_CAP_JUMBO;
	ixy->mac = dev->netif->mac;
	dev->filter.mac = xdp_mac_number(ixy->mac.addr);
	err = xsk_program_load(
		&(struct xsk_program_config){.queues = ixy->rx_queues, .frags = dev->multi_buffer},
		&dev->program);
	for (uint16_t i = 0; i < ixy->rx_queues && !err; i++)
		err = queue_alloc(dev, i, chunk_size);
	if (err)
		return err;
	/* The program first: with it some drivers take only a smaller MTU, and say so best when asked for it. */
	err = start(dev);
	if (!err)
		err = ixy->ops->mtu_set(ixy, options->mtu);
	return err;
}

int xdp_open(const char *text, const struct ixy_options *options, struct ixy_device **result)
{
	struct xdp_device *dev;
	struct spec spec;
	uint16_t queues = options->rx_queues;
	int err = parse_spec(text, &spec);

	if (err)
		return err;
	if (options->rx_queues != options->tx_queues)
		return ixy_fail(EINVAL, "%s: as many queues to receive as to send are needed, not %u and %u",
			text, options->rx_queues, options->tx_queues);
	if (spec.queues && queues > 1 && spec.queues != queues)
		return ixy_fail(EINVAL, "%s: and %u queues by the options: which?", text, queues);
	if (spec.queues)
		queues = spec.queues;
	dev = calloc(1, sizeof(*dev));
	if (!dev)
		return ixy_fail(ENOMEM, "%s: out of memory", text);
	snprintf(dev->ixy.name, sizeof(dev->ixy.name), "%s", text);
	dev->queues = aligned_alloc(64, queues * sizeof(*dev->queues));
	dev->unicast = calloc(XDP_MAX_UNICAST, sizeof(*dev->unicast));
	if (!dev->queues || !dev->unicast) {
		err = ixy_fail(ENOMEM, "%s: out of memory", text);
		goto fail;
	}
	memset(dev->queues, 0, queues * sizeof(*dev->queues));
	dev->ixy.ops = &xdp_ops;
	dev->ixy.driver_name = "xdp";
	dev->ixy.capabilities = IXY_CAP_RX_CSUM | IXY_CAP_TX_CSUM | IXY_CAP_TSO | IXY_CAP_USO |
				(queues > 1 ? IXY_CAP_RSS : 0) |
				(options->no_interrupts ? 0 : IXY_CAP_INTERRUPTS);
	dev->ixy.rx_queues = dev->ixy.tx_queues = queues;
	dev->mode = spec.mode;
	dev->rx_ring = options->rx_ring;
	dev->tx_ring = options->tx_ring;
	err = set_up_device(dev, &spec, options);
	if (err)
		goto fail;
	tell_mode(dev);
	*result = &dev->ixy;
	return 0;

fail:
	if (dev->queues) {
		struct ixy_error error;

		ixy_error_save(&error);
		stop(dev, true);
		for (uint16_t i = 0; i < queues && dev->queues[i].dev; i++)
			queue_free(&dev->queues[i]);
		xsk_program_free(dev->program);
		netif_close(dev->netif);
		ixy_error_restore(&error);
	}
	free(dev->unicast);
	free(dev->queues);
	free(dev);
	return err;
}
