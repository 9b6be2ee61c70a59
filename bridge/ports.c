/* Pools and ports of all queues. See ports.h. */
#include "bridge/ports.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sysexits.h>

#include "bridge/log.h"
#include "bridge/vhost.h"
#include "bridge/worker.h"

#define DEFAULT_RING  512  /* of struct ixy_options */
#define MAX_IN_FLIGHT 1024 /* frames in a ring that buffers are kept for */

/* Rings that have to be set up anew more often than this would not be well the next time either. */
#define MAX_RESTARTS       10
#define RESTARTS_FORGOTTEN 60.0 /* seconds without one */

struct ports {
	struct ports_config config;
	uint16_t count; /* with a pool and a port */
	struct mempool *pools[IXY_MAX_QUEUES];
	struct kernel_port *ports[IXY_MAX_QUEUES];
	struct ev_io error_io[IXY_MAX_QUEUES];
	unsigned restarts;
	double restarted; /* when, by the loop's clock */
};

/* vhost-net cannot be had: an error for one who wants nothing else. 0, or an exit code. */
static int without_vhost(enum kernel_kind wanted, const char *ifname, int rc)
{
	if (wanted == KERNEL_VHOST) {
		log_error("%s: --kernel vhost: %s", ifname, ixy_last_error());
		return exit_code_of(rc);
	}
	log_info("%s: frames reach the kernel by system calls, not by vhost-net: %s", ifname,
		ixy_last_error());
	return 0;
}

int ports_choose(enum kernel_kind wanted, const char *ifname, bool *vhost)
{
	int rc = wanted == KERNEL_TAP ? -ENOTSUP : vhost_usable();

	*vhost = rc == 0;
	return rc == 0 || wanted == KERNEL_TAP ? 0 : without_vhost(wanted, ifname, rc);
}

/*
 * Buffers for what is read from the kernel. Super-frames lie in larger ones: five to a super-frame keep
 * readv() within the iovec that the kernel has on its stack (UIO_FASTIOV, 8 entries), and take five
 * descriptors of the ring instead of 33. A descriptor of the 82599 takes 15.5 KiB at most.
 */
uint32_t ports_buffer_size(bool offload)
{
	return offload ? 14 * 1024 : PKT_BUF_DATA_SIZE;
}

/*
 * Enough that the pool does not run dry: the ring full, a burst pending, and the next frame's chain or what vhost-net
 * has to fill.
 */
uint32_t ports_buffers(bool vhost, uint16_t ring, uint32_t max_frame, uint32_t buffer_size)
{
	uint32_t chain = tap_port_buffers(max_frame, buffer_size);
	uint32_t in_flight = ring ? ring : DEFAULT_RING;

	/* A longer ring is not filled: so many large buffers are a millisecond and more of line rate. */
	if (in_flight > MAX_IN_FLIGHT)
		in_flight = MAX_IN_FLIGHT;
	return in_flight + WORKER_BATCH * chain + (vhost ? VHOST_PORT_BUFFERS : chain);
}

/* --- life --------------------------------------------------------------------------------------------- */

static void on_error(struct ev_loop *loop, struct ev_io *io, int events)
{
	struct ports *ports = io->data;

	(void)loop;
	(void)events;
	ports->config.broken(ports->config.arg, (uint16_t)(io - ports->error_io));
}

static int make_pools(struct ports *ports)
{
	const struct ports_config *config = &ports->config;
	uint32_t size = ports_buffer_size(config->offload);
	uint32_t buffers = ports_buffers(config->vhost, config->ring, config->max_frame, size);

	for (uint16_t i = 0; i < config->queues; i++) {
		ports->pools[i] = ixy_mempool_create(config->dev, buffers, size);
		if (!ports->pools[i]) {
			int rc = -errno;

			log_error("%s: %s", ixy_device_name(config->dev), ixy_last_error());
			return exit_code_of(rc);
		}
	}
	return 0;
}

static void unbind_all(struct ports *ports)
{
	while (ports->count > 0) {
		ports->count--;
		ev_io_stop(ports->config.loop, &ports->error_io[ports->count]);
		kernel_port_unbind(ports->ports[ports->count]);
	}
}

/* 0, or a negative errno with a text and no port left. */
static int open_vhost_ports(struct ports *ports)
{
	for (ports->count = 0; ports->count < ports->config.queues; ports->count++) {
		const uint16_t queue = ports->count;
		const struct vhost_config config = {
			.tap_fd = tap_queue_fd(ports->config.tap, queue),
			.pool = ports->pools[queue],
			.received = ixy_rx_pool(ports->config.dev, queue),
			.busy_poll_usecs = ports->config.busy_poll_usecs,
		};
		struct ev_io *io = &ports->error_io[queue];
		int rc = vhost_port_open(&config, &ports->ports[queue]);

		if (rc < 0) {
			unbind_all(ports);
			return rc;
		}
		ev_io_init(io, on_error, vhost_port_error_fd(ports->ports[queue]), EV_READ);
		io->data = ports;
		ev_io_start(ports->config.loop, io);
	}
	return 0;
}

static void bind_tap_ports(struct ports *ports)
{
	for (ports->count = 0; ports->count < ports->config.queues; ports->count++)
		ports->ports[ports->count] = tap_port_bind(
			ports->config.tap, ports->count, ports->pools[ports->count], ports->config.max_frame);
}

int ports_start(const struct ports_config *config, struct ports **result)
{
	struct ports *ports = calloc(1, sizeof(*ports));
	int rc;

	if (!ports) {
		log_error("%s: out of memory", config->ifname);
		return EXIT_FAILURE;
	}
	ports->config = *config;
	rc = make_pools(ports);
	if (rc)
		goto fail;
	rc = config->vhost ? open_vhost_ports(ports) : -ENOTSUP;
	if (rc == 0) {
		log_info("%s: frames reach the kernel by vhost-net", config->ifname);
	} else {
		rc = config->vhost ? without_vhost(config->wanted, config->ifname, rc) : 0;
		if (rc)
			goto fail;
		bind_tap_ports(ports);
	}
	*result = ports;
	return 0;
fail:
	ports_stop(ports);
	return rc;
}

void ports_stop(struct ports *ports)
{
	if (!ports)
		return;
	unbind_all(ports);
	for (uint16_t i = 0; i < ports->config.queues; i++)
		if (ixy_mempool_free(ports->pools[i]) < 0)
			log_warning("%s: queue %u: packet buffers are missing at the end",
				ports->config.ifname, i);
	free(ports);
}

struct kernel_port *ports_get(const struct ports *ports, uint16_t queue)
{
	return ports->ports[queue];
}

void ports_set_up(struct ports *ports, bool up)
{
	for (uint16_t i = 0; i < ports->count; i++)
		kernel_port_set_up(ports->ports[i], up);
}

int ports_restart(struct ports *ports, uint16_t queue, struct queue_counters *counters)
{
	const double now = ev_now(ports->config.loop);
	int rc;

	if (now - ports->restarted > RESTARTS_FORGOTTEN)
		ports->restarts = 0;
	ports->restarted = now;
	counter_add(&counters->port_restarts, 1);
	log_warning("%s: queue %u: vhost-net's rings are broken: setting them up anew", ports->config.ifname,
		queue);
	rc = vhost_port_restart(ports->ports[queue], counters);
	if (rc < 0) {
		log_error("%s: queue %u: vhost-net cannot be set up anew: %s", ports->config.ifname, queue,
			ixy_last_error());
		return exit_code_of(rc);
	}
	if (++ports->restarts > MAX_RESTARTS) {
		log_error("%s: vhost-net fails again and again: use --kernel tap", ports->config.ifname);
		return EXIT_FAILURE;
	}
	return 0;
}
