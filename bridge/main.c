/*
 * ixy-tapd: a NIC driven from userspace becomes an ordinary Linux interface.
 *
 * The main thread brings everything up, then sits in its libev loop with what is not the data path: signals,
 * netlink (mirror.c), the device's housekeeping. A thread a queue pair (worker.c) moves the frames.
 *
 * Bring-up, each step undone in reverse order at the end and on failure:
 *
 *	signals      from here on a SIGTERM ends the daemon in order
 *	tap          the interface exists and holds its name, without carrier; by which way frames go is decided
 *	device       the NIC is reset and ready
 *	ports        DMA memory for frames from the kernel, and what brings them there
 *	mirror       interface and NIC agree, and follow each other
 *	workers      frames flow
 *	persistence  last, so that a failure before leaves no interface behind
 */
#include <errno.h>
#include <ev.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sysexits.h>
#include <unistd.h>

#include "bridge/log.h"
#include "bridge/mirror.h"
#include "bridge/netns.h"
#include "bridge/notify.h"
#include "bridge/options.h"
#include "bridge/ports.h"
#include "bridge/stats.h"
#include "bridge/tap.h"
#include "bridge/worker.h"
#include "driver/clock.h"
#include "driver/ixy.h"

/* Housekeeping: with interrupts its events come by descriptor, without them this interval finds them. */
#define DEVICE_INTERVAL_S        0.5
#define DEVICE_INTERVAL_NO_IRQ_S 0.25

#define VHOST_BUSY_USECS 50 /* with --poll: how long vhost-net's thread looks on before it sleeps */

#define SUPER_FRAME    65535        /* the longest IP packet that the kernel leaves to the NIC to segment */
#define FRAME_OVERHEAD (14 + 2 * 4) /* Ethernet header, two VLAN tags */

struct daemon {
	struct options options;
	struct ev_loop *loop;
	struct ev_signal terminate[2], usr1;
	struct ev_io device_io;
	struct ev_timer device_timer;
	struct ev_async gone; /* from a worker: the interface has been deleted */
	int exit_code;
	bool offload;      /* super-frames both ways: TCP */
	bool offload_udp;  /* and UDP */
	bool no_gro;       /* switched off at the interface */
	uint32_t tx_queue; /* its txqueuelen */
	bool ready;        /* was, once */
	bool vhost;        /* it moves the frames, or is meant to */
	bool device_lost;  /* gone or beyond a reset, or vhost-net is; the workers are parked */
	bool ending;
	struct ixy_link last_link; /* with ending: before we took it down ourselves */
	uint64_t start_ns;

	int netns; /* -1: the interface is in our own */
	struct tap *tap;
	struct ixy_device *dev;
	struct ports *ports;
	struct mirror *mirror;
	size_t worker_count;
	struct worker *workers[IXY_MAX_QUEUES];
	char worker_names[IXY_MAX_QUEUES][16];
	struct {
		struct queue_counters counters;
	} __attribute__((aligned(WORKER_LINES))) queue[IXY_MAX_QUEUES]; /* see stats.h */
};

static void end(struct daemon *d, int exit_code)
{
	if (d->exit_code == 0)
		d->exit_code = exit_code;
	ev_break(d->loop, EVBREAK_ALL);
}

/* --- signals and counters ----------------------------------------------------------------------------- */

static void print_report(struct daemon *d)
{
	const struct queue_counters *counters[IXY_MAX_QUEUES];
	static struct report report; /* too much for a stack that need not be large */
	char *text = NULL;
	size_t size = 0;
	FILE *out;

	for (int i = 0; i < IXY_MAX_QUEUES; i++)
		counters[i] = &d->queue[i].counters;
	report_take(&report, d->dev, counters, mirror_ifname(d->mirror), d->start_ns, clock_ns());
	if (d->ending)
		report.link = d->last_link;
	out = open_memstream(&text, &size);
	if (!out) {
		log_warning("%s: no memory to print the counters", d->options.ifname);
		return;
	}
	if (d->options.json)
		report_print_json(&report, out);
	else
		report_print_text(&report, out);
	if (fclose(out) == 0 && !log_write(STDOUT_FILENO, text, size))
		log_warning("%s: standard output takes no counters", d->options.ifname);
	free(text);
}

static void on_terminate(struct ev_loop *loop, struct ev_signal *signal, int events)
{
	struct daemon *d = signal->data;

	(void)loop;
	(void)events;
	log_info("%s: %s, ending", d->options.ifname, strsignal(signal->signum));
	end(d, 0);
}

static void poll_device(struct daemon *d);

static void on_usr1(struct ev_loop *loop, struct ev_signal *signal, int events)
{
	struct daemon *d = signal->data;

	(void)loop;
	(void)events;
	poll_device(d); /* the NIC's own counters as of now; with it comes what else has happened */
	print_report(d);
}

static void signals_start(struct daemon *d)
{
	static const int numbers[] = {SIGTERM, SIGINT};

	for (int i = 0; i < 2; i++) {
		ev_signal_init(&d->terminate[i], on_terminate, numbers[i]);
		d->terminate[i].data = d;
		ev_signal_start(d->loop, &d->terminate[i]);
	}
	ev_signal_init(&d->usr1, on_usr1, SIGUSR1);
	d->usr1.data = d;
	ev_signal_start(d->loop, &d->usr1);
	signal(SIGPIPE, SIG_IGN); /* a closed stdout or peer is an error where it is written to */
}

static void signals_stop(struct daemon *d)
{
	ev_signal_stop(d->loop, &d->usr1);
	for (int i = 2; i-- > 0;)
		ev_signal_stop(d->loop, &d->terminate[i]);
}

/* --- the device --------------------------------------------------------------------------------------- */

static int device_start(struct daemon *d)
{
	const struct options *o = &d->options;
	uint32_t size = ports_buffer_size(!o->no_offload);
	uint32_t buffers = ports_buffers(d->vhost, o->ring, SUPER_FRAME + FRAME_OVERHEAD, size);
	struct ixy_options options = {
		.rx_queues = o->queues,
		.tx_queues = o->queues,
		.rx_ring = o->ring,
		.tx_ring = o->ring,
		.mtu = o->mtu,
		.force = o->force,
		.reserve_huge_pages = o->reserve_huge_pages,
		.iova = o->iova,
		.no_interrupts = o->poll,
		.rx_super_frames = !o->no_offload,
		.rx_super_frames_udp = !o->no_offload && tap_set_offload(d->tap, TAP_OFFLOAD_TCP_UDP) == 0,
		.pool_buffers = o->queues * buffers * (size / PKT_BUF_DATA_SIZE), /* which counts those */
	};
	int rc = ixy_open(o->device, &options, &d->dev);

	if (rc < 0) {
		log_error("%s", ixy_last_error());
		return exit_code_of(rc);
	}
	if (o->has_mac) {
		rc = ixy_mac_set(d->dev, o->mac);
		if (rc < 0) {
			log_error("%s: %s", o->device, ixy_last_error());
			ixy_close(d->dev);
			return exit_code_of(rc);
		}
	}
	return 0;
}

/* Super-frames both ways, where the NIC can verify and complete checksums and segment. */
static int offload_start(struct daemon *d)
{
	const uint32_t needed = IXY_CAP_RX_CSUM | IXY_CAP_TX_CSUM | IXY_CAP_TSO;
	int rc;

	d->offload = !d->options.no_offload && (ixy_capabilities(d->dev) & needed) == needed;
	d->offload_udp = d->offload && ixy_capabilities(d->dev) & IXY_CAP_USO &&
			 tap_set_offload(d->tap, TAP_OFFLOAD_TCP_UDP) == 0;
	rc = d->offload_udp ? 0 : tap_set_offload(d->tap, d->offload ? TAP_OFFLOAD_TCP : TAP_OFFLOAD_NONE);
	if (rc < 0) {
		log_error("%s: cannot set the interface's offloads: %s", d->options.ifname, strerror(-rc));
		return EXIT_FAILURE;
	}
	return 0;
}

static void port_broken(void *arg, uint16_t queue);

/* The ports, with pools for frames as long as the kernel may leave to us. */
static int start_ports(struct daemon *d)
{
	const struct options *o = &d->options;
	const struct ports_config config = {
		.loop = d->loop,
		.dev = d->dev,
		.tap = d->tap,
		.ifname = o->ifname,
		.wanted = o->kernel,
		.vhost = d->vhost,
		.queues = o->queues,
		.ring = o->ring,
		.offload = d->offload,
		.max_frame = (d->offload ? SUPER_FRAME : (uint32_t)ixy_max_mtu(d->dev)) + FRAME_OVERHEAD,
		.busy_poll_usecs = o->poll ? VHOST_BUSY_USECS : 0,
		.broken = port_broken,
		.arg = d,
	};

	return ports_start(&config, &d->ports);
}

/*
 * The NIC hangs, or has lost its state: stand clear, reset it, go on. Carrier goes and comes back; everything
 * else stays as it was.
 */
static void reset_device(struct daemon *d)
{
	int rc;

	log_warning("%s: resetting the NIC", d->options.device);
	workers_pause(d->workers, d->worker_count);
	rc = ixy_reset(d->dev);
	if (rc < 0) {
		log_error("%s: the NIC cannot be reset: %s", d->options.device, ixy_last_error());
		d->device_lost = true; /* and the workers stay parked */
		end(d, EX_UNAVAILABLE);
		return;
	}
	workers_resume(d->workers, d->worker_count);
}

/* The same for the kernel's side of a queue: vhost-net's rings are of no use any more. */
static void port_broken(void *arg, uint16_t queue)
{
	struct daemon *d = arg;
	int rc;

	if (d->device_lost)
		return;
	workers_pause(d->workers, d->worker_count);
	rc = ports_restart(d->ports, queue, &d->queue[queue].counters);
	if (rc) {
		d->device_lost = true; /* and the workers stay parked */
		end(d, rc);
		return;
	}
	workers_resume(d->workers, d->worker_count);
}

static void poll_device(struct daemon *d)
{
	uint32_t events;

	if (d->device_lost) /* all is said, the loop is about to end */
		return;
	events = ixy_poll_events(d->dev);
	if (events & IXY_EVENT_GONE) {
		log_error("%s", ixy_last_error());
		workers_pause(d->workers, d->worker_count);
		d->device_lost = true;
		end(d, EX_UNAVAILABLE);
		return;
	}
	if (events & IXY_EVENT_RESET)
		reset_device(d);
	/* Also without an event: a reset may have changed it, and the mirror sees what differs. */
	mirror_link(d->mirror);
}

static void on_device_event(struct ev_loop *loop, struct ev_io *io, int events)
{
	(void)loop;
	(void)events;
	poll_device(io->data);
}

static void on_device_timer(struct ev_loop *loop, struct ev_timer *timer, int events)
{
	(void)loop;
	(void)events;
	poll_device(timer->data);
}

static void housekeeping_start(struct daemon *d)
{
	int fd = ixy_event_fd(d->dev);
	double interval = fd >= 0 ? DEVICE_INTERVAL_S : DEVICE_INTERVAL_NO_IRQ_S;

	ev_timer_init(&d->device_timer, on_device_timer, interval, interval);
	d->device_timer.data = d;
	ev_timer_start(d->loop, &d->device_timer);
	ev_io_init(&d->device_io, on_device_event, fd, EV_READ);
	d->device_io.data = d;
	if (fd >= 0)
		ev_io_start(d->loop, &d->device_io);
}

static void housekeeping_stop(struct daemon *d)
{
	ev_io_stop(d->loop, &d->device_io);
	ev_timer_stop(d->loop, &d->device_timer);
}

/* --- the interface ------------------------------------------------------------------------------------ */

static void interface_gone(void *arg)
{
	end(arg, EXIT_FAILURE);
}

/* In a worker's thread, which may notice before the mirror does. */
static void tell_interface_gone(void *arg)
{
	struct daemon *d = arg;

	ev_async_send(d->loop, &d->gone);
}

static void on_interface_gone(struct ev_loop *loop, struct ev_async *async, int events)
{
	struct daemon *d = async->data;

	(void)loop;
	(void)events;
	if (d->exit_code == 0) /* else the mirror was quicker, and has said so */
		log_error("%s: the interface has been deleted", mirror_ifname(d->mirror));
	end(d, EXIT_FAILURE);
}

static void gro_switched(void *arg, bool on)
{
	struct daemon *d = arg;

	d->no_gro = !on;
	workers_set_gro(d->workers, d->worker_count, on);
}

static void tx_queue_changed(void *arg, uint32_t frames)
{
	struct daemon *d = arg;

	d->tx_queue = frames;
	workers_set_tx_queue(d->workers, d->worker_count, frames);
}

static void up_switched(void *arg, bool up)
{
	struct daemon *d = arg;

	ports_set_up(d->ports, up);
}

static int interface_start(struct daemon *d)
{
	const struct mirror_config config = {
		.loop = d->loop,
		.dev = d->dev,
		.tap = d->tap,
		.ifname = d->options.ifname,
		.netns = d->netns,
		.mtu = d->options.mtu,
		.multicast = d->options.multicast,
		.gro_switched = gro_switched,
		.tx_queue_changed = tx_queue_changed,
		.up_switched = up_switched,
		.interface_gone = interface_gone,
		.arg = d,
	};

	return mirror_start(&config, &d->mirror);
}

/* --- the workers -------------------------------------------------------------------------------------- */

static int start_workers(struct daemon *d)
{
	const struct options *o = &d->options;

	ev_async_init(&d->gone, on_interface_gone);
	d->gone.data = d;
	ev_async_start(d->loop, &d->gone);
	for (d->worker_count = 0; d->worker_count < o->queues; d->worker_count++) {
		size_t i = d->worker_count;
		struct worker_config config = {
			.dev = d->dev,
			.queue = (uint16_t)i,
			.port = ports_get(d->ports, (uint16_t)i),
			.counters = &d->queue[i].counters,
			.name = d->worker_names[i],
			.cpu = o->cpu_count ? (int)o->cpus[i % o->cpu_count] : -1,
			.offload = d->offload,
			.gro = !d->no_gro,
			.gro_udp = d->offload_udp,
			.poll = o->poll,
			.idle_usecs = o->idle_usecs,
			.rx_usecs = o->rx_usecs,
			.tx_usecs = o->tx_usecs,
			.rx_ring = o->ring,
			.tx_queue = d->tx_queue,
			.interface_gone = tell_interface_gone,
			.arg = d,
		};
		int rc;

		snprintf(d->worker_names[i], sizeof(d->worker_names[i]), "queue-%zu", i);
		rc = worker_start(&config, &d->workers[i]);
		if (rc == -EINVAL && config.cpu >= 0) {
			log_error("--cpu: there is no CPU %d that this program may use; see: nproc, taskset "
				  "-p $$",
				config.cpu);
			return EX_CONFIG;
		}
		if (rc < 0) {
			log_error(
				"%s: cannot start the thread of queue %zu: %s", o->ifname, i, strerror(-rc));
			return EXIT_FAILURE;
		}
	}
	return 0;
}

/*
 * What the kernel has handed over goes out; then the port is shut, and what has come in goes to the kernel.
 */
static void stop_workers(struct daemon *d)
{
	d->ending = true;
	d->last_link = ixy_link_get(d->dev);
	if (d->device_lost) {
		workers_abandon(d->workers, d->worker_count);
	} else {
		workers_drain(d->workers, d->worker_count);
		ixy_shut(d->dev);
		workers_stop(d->workers, d->worker_count);
	}
	d->worker_count = 0;
	ev_async_stop(d->loop, &d->gone);
}

/* --- life --------------------------------------------------------------------------------------------- */

static int make_persistent(struct daemon *d)
{
	const struct options *o = &d->options;
	int rc;

	if (!o->persist)
		return 0;
	rc = tap_persist(d->tap, o->has_owner ? o->owner : (uid_t)-1, o->has_group ? o->group : (gid_t)-1);
	if (rc < 0) {
		log_error("%s: cannot make the interface persistent: %s%s", o->ifname, strerror(-rc),
			rc == -EPERM ? ": run as root" : "");
		return rc == -EPERM ? EX_NOPERM : EXIT_FAILURE;
	}
	return 0;
}

static void ready(struct daemon *d)
{
	const struct ixy_mac mac = ixy_mac_get(d->dev);

	log_info("%s: ready on %s (%s, %u queue%s, MAC %02x:%02x:%02x:%02x:%02x:%02x)", d->options.ifname,
		ixy_device_name(d->dev), ixy_driver_name(d->dev), d->options.queues,
		d->options.queues == 1 ? "" : "s", mac.addr[0], mac.addr[1], mac.addr[2], mac.addr[3],
		mac.addr[4], mac.addr[5]);
	d->ready = true;
	notify("READY=1");
}

static int run(struct daemon *d)
{
	int rc;

	signals_start(d);
	d->netns = -1;
	if (d->options.netns) {
		d->netns = netns_open(d->options.netns);
		if (d->netns < 0) {
			rc = -d->netns;
			goto stop_signals;
		}
	}
	rc = ports_choose(d->options.kernel, d->options.ifname, &d->vhost);
	if (!rc)
		rc = tap_open(d->options.ifname, d->netns, d->options.queues, d->vhost, &d->tap);
	if (rc)
		goto close_netns;
	rc = device_start(d);
	if (rc)
		goto close_tap;
	rc = offload_start(d);
	if (!rc)
		rc = start_ports(d);
	if (rc)
		goto stop_ports;
	rc = interface_start(d);
	if (rc)
		goto stop_ports;
	housekeeping_start(d);
	poll_device(d);    /* the link, as it is now that the interface is up or not */
	rc = d->exit_code; /* interface or NIC may have gone while we came up */
	if (!rc)
		rc = start_workers(d);
	if (!rc)
		rc = make_persistent(d);
	if (rc)
		goto stop_workers;

	ready(d);
	ev_run(d->loop, 0);
	notify("STOPPING=1");
	rc = d->exit_code;

stop_workers:
	stop_workers(d);
	housekeeping_stop(d);
	if (d->ready) {
		ixy_poll_events(d->dev); /* for the NIC's last counts */
		print_report(d);
	}
	mirror_stop(d->mirror);
stop_ports:
	ixy_stop(d->dev);
	ports_stop(d->ports);
	ixy_close(d->dev);
close_tap:
	tap_close(d->tap);
close_netns:
	if (d->netns >= 0)
		close(d->netns);
stop_signals:
	signals_stop(d);
	return rc;
}

/*
 * Whoever closed one of these for us would else find log lines and counters in the tap, or in the device's socket,
 * which get the lowest free descriptors.
 */
static bool open_standard_fds(void)
{
	int fd;

	do
		fd = open("/dev/null", O_RDWR);
	while (fd >= 0 && fd <= STDERR_FILENO);
	if (fd < 0)
		return false;
	close(fd);
	return true;
}

static void library_log(enum ixy_log_level level, const char *text)
{
	log_print(level, "%s", text);
}

int main(int argc, char *argv[])
{
	static struct daemon d;
	char error[256];
	uint16_t queues;
	int rc;

	if (!open_standard_fds())
		return EXIT_FAILURE; /* and nobody to tell: no /dev/null, or no descriptors at all */
	rc = options_parse(argc, argv, &d.options, error, sizeof(error));
	if (rc) {
		log_error("%s", error);
		return rc;
	}
	if (d.options.help) {
		options_print_help(stdout);
		return 0;
	}
	if (d.options.version) {
		puts("ixy-tapd " IXY_VERSION);
		return 0;
	}
	/* A spec may say how many queues it wants; saying so twice differently is for the driver to refuse. */
	queues = ixy_spec_queues(d.options.device);
	if (d.options.queues == 1 && queues)
		d.options.queues = queues;
	log_set_level(d.options.log_level);
	ixy_set_log(library_log);
	/*
	 * Not the default loop: that one reaps every child process, and the library's children are its own.
	 */
	d.loop = ev_loop_new(EVFLAG_AUTO);
	if (!d.loop) {
		log_error("cannot make an event loop: %m");
		return EXIT_FAILURE;
	}
	d.start_ns = clock_ns();
	rc = run(&d);
	ev_loop_destroy(d.loop);
	return rc;
}
