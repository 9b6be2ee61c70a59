/*
 * Keeping interface and NIC alike. See mirror.h.
 *
 * There is one function, follow(), that asks the kernel for the interface's state and changes at the NIC what
 * differs. It runs upon each netlink notification and from a timer, because some changes notify nobody (Linux
 * 6.18): promiscuity of a packet socket, secondary addresses, multicast groups. A change that the mirror
 * itself makes comes back as a notification, finds no difference, and ends there.
 *
 * An interface that leaves for another network namespace is deleted in the old one, as netlink tells it. The
 * tap still knows it (TUNGETDEVNETNS), so the mirror moves along.
 */
#include "bridge/mirror.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sysexits.h>
#include <unistd.h>

#include "bridge/interface.h"
#include "bridge/log.h"
#include "bridge/netns.h"

#define PROMISC_INTERVAL_S   1.0  /* netlink's blind spots: how late they may be seen */
#define MULTICAST_INTERVAL_S 0.2  /* with MULTICAST_LIST */
#define MAX_GROUPS           1024 /* beyond: all multicast frames */

struct mirror {
	struct mirror_config config;
	struct interface *interface;
	struct interface_state state; /* as last seen */
	struct ev_io event_io;
	struct ev_timer timer;
	/* What the NIC was told; a change that it refused is not tried again until the wish changes. */
	bool up, promisc, allmulti;
	struct ixy_mac mac;
	struct ixy_mac groups[MAX_GROUPS];
	size_t group_count;
	bool gro;             /* as told last, */
	uint32_t tx_queue;    /* this too */
	uint32_t refused_mtu; /* what the interface had last that the NIC cannot do; 0: nothing */
	struct ixy_link link; /* what the interface shows */
	bool speed_refused;   /* ... and that ethtool does not; said */
};

static const char *error_text(int rc)
{
	const char *text = ixy_last_error();

	return *text ? text : strerror(-rc);
}

/* --- interface to NIC --------------------------------------------------------------------------------- */

static void follow_up(struct mirror *m)
{
	int rc;

	if (m->state.up == m->up)
		return;
	m->up = m->state.up;
	if (m->config.up_switched)
		m->config.up_switched(m->config.arg, m->up);
	rc = ixy_set_up(m->config.dev, m->up);
	if (rc < 0)
		log_warning("%s: cannot switch the NIC's port %s: %s", m->state.name, m->up ? "on" : "off",
			error_text(rc));
}

static void follow_mtu(struct mirror *m)
{
	const uint16_t max = ixy_max_mtu(m->config.dev);
	const uint32_t wanted = m->state.mtu;
	uint16_t possible = (uint16_t)(wanted > max ? max : wanted < IXY_MIN_MTU ? IXY_MIN_MTU : wanted);
	int rc = 0;

	if (wanted != m->refused_mtu)
		m->refused_mtu = 0;
	if (possible != ixy_mtu_get(m->config.dev)) {
		rc = ixy_mtu_set(m->config.dev, possible);
		if (rc < 0) {
			log_warning("%s: the NIC does not take MTU %u: %s", m->state.name, possible,
				error_text(rc));
			possible = ixy_mtu_get(m->config.dev);
		} else {
			log_debug("%s: MTU %u", m->state.name, possible);
		}
	}
	if (possible == wanted || wanted == m->refused_mtu)
		return;
	m->refused_mtu = wanted; /* once is enough, should it stay */
	log_warning("%s: MTU %u is not possible on this NIC (%d to %u): set back to %u", m->state.name,
		wanted, IXY_MIN_MTU, max, possible);
	rc = interface_set_mtu(m->interface, possible);
	if (rc < 0)
		log_warning("%s: cannot set the MTU back to %u: %s", m->state.name, possible, strerror(-rc));
}

static void follow_mac(struct mirror *m)
{
	int rc;

	if (memcmp(&m->state.mac, &m->mac, sizeof(m->mac)) == 0)
		return;
	m->mac = m->state.mac;
	rc = ixy_mac_set(m->config.dev, m->mac);
	if (rc < 0)
		log_warning("%s: the NIC does not take the interface's new MAC address: %s", m->state.name,
			error_text(rc));
}

static void follow_promisc(struct mirror *m)
{
	int rc;

	if (m->state.promisc == m->promisc)
		return;
	m->promisc = m->state.promisc;
	log_debug("%s: promiscuous mode %s", m->state.name, m->promisc ? "on" : "off");
	rc = ixy_set_promisc(m->config.dev, m->promisc);
	if (rc < 0)
		log_warning("%s: the NIC does not change its promiscuous mode: %s", m->state.name,
			error_text(rc));
}

static void follow_multicast(struct mirror *m)
{
	struct ixy_mac groups[MAX_GROUPS];
	bool allmulti = m->state.allmulti || m->config.multicast == MULTICAST_ALL;
	int rc;

	if (m->config.multicast == MULTICAST_LIST) {
		int count = interface_multicast(m->interface, groups, MAX_GROUPS);

		/* A list that is too long or unreadable must not cost frames. */
		if (count < 0 || count > MAX_GROUPS) {
			allmulti = true;
		} else if ((size_t)count != m->group_count ||
			   memcmp(groups, m->groups, (size_t)count * sizeof(groups[0])) != 0) {
			m->group_count = (size_t)count;
			memcpy(m->groups, groups, (size_t)count * sizeof(groups[0]));
			log_debug("%s: %d multicast groups", m->state.name, count);
			rc = ixy_set_multicast(m->config.dev, groups, (size_t)count);
			if (rc < 0)
				log_warning("%s: the NIC does not take the multicast list: %s", m->state.name,
					error_text(rc));
		}
	}
	if (allmulti == m->allmulti)
		return;
	m->allmulti = allmulti;
	rc = ixy_set_allmulti(m->config.dev, allmulti);
	if (rc < 0)
		log_warning("%s: the NIC does not change its multicast filter: %s", m->state.name,
			error_text(rc));
}

/* Not the NIC's affair, but the workers': they coalesce before the kernel could. */
static void follow_gro(struct mirror *m)
{
	int on = interface_gro(m->interface, m->state.name);

	/* An error: it has got another name since it was asked. The notification of that is on its way. */
	if (!m->config.gro_switched || on < 0 || on == m->gro)
		return;
	m->gro = on;
	log_debug("%s: GRO %s", m->state.name, on ? "on" : "off");
	m->config.gro_switched(m->config.arg, on);
}

static void follow_tx_queue(struct mirror *m)
{
	if (!m->config.tx_queue_changed || m->state.tx_queue == m->tx_queue)
		return;
	m->tx_queue = m->state.tx_queue;
	m->config.tx_queue_changed(m->config.arg, m->tx_queue);
}

static int watch_interface(struct mirror *m, const char *name, int netns);

/*
 * Watch the interface under the name and in the namespace that the tap knows it by. -ENODEV: it has been deleted.
 */
static int find_and_watch(struct mirror *m)
{
	char name[16];
	int netns = tap_find(m->config.tap, name);
	int rc;

	if (netns < 0)
		return netns;
	ev_io_stop(m->config.loop, &m->event_io);
	interface_close(m->interface);
	m->interface = NULL;
	rc = watch_interface(m, name, netns);
	close(netns);
	return rc == -ENODEV ? -EAGAIN : rc; /* away again meanwhile, which is not deleted */
}

/* The interface is not where it was. Find out where it went; true if the mirror is there now. */
static bool move_along(struct mirror *m)
{
	int rc = find_and_watch(m);

	if (rc == -ENODEV) {
		log_error("%s: the interface has been deleted", m->state.name);
		return false;
	}
	if (rc < 0) {
		log_error("%s: the interface has moved where it cannot be followed: %s: use --netns",
			m->state.name, strerror(-rc));
		return false;
	}
	log_info("%s: the interface has moved to another network namespace", m->state.name);
	/* The move took the interface down and may have lost what ethtool shows. */
	m->link = (struct ixy_link){0};
	mirror_link(m);
	return true;
}

static void give_up(struct mirror *m)
{
	ev_io_stop(m->config.loop, &m->event_io);
	ev_timer_stop(m->config.loop, &m->timer);
	m->config.interface_gone(m->config.arg);
}

static void follow(struct mirror *m)
{
	struct interface_state state;
	int rc = interface_get(m->interface, &state);

	if (rc == -ENODEV) {
		if (!move_along(m)) {
			give_up(m);
			return;
		}
		rc = interface_get(m->interface, &state);
	}
	if (rc < 0) {
		log_warning("%s: cannot ask for the interface's state: %s", m->state.name, strerror(-rc));
		return;
	}
	m->state = state;
	/* Addresses and filters first, so that they are right when the port goes on. */
	follow_mac(m);
	follow_mtu(m);
	follow_multicast(m);
	follow_promisc(m);
	follow_gro(m);
	follow_tx_queue(m);
	follow_up(m);
}

static void on_event(struct ev_loop *loop, struct ev_io *io, int events)
{
	struct mirror *m = io->data;

	(void)loop;
	(void)events;
	if (interface_changed(m->interface))
		follow(m);
}

static void on_timer(struct ev_loop *loop, struct ev_timer *timer, int events)
{
	(void)loop;
	(void)events;
	follow(timer->data);
}

/* --- NIC to interface --------------------------------------------------------------------------------- */

void mirror_link(struct mirror *m)
{
	struct ixy_link link = ixy_link_get(m->config.dev);
	int rc;

	/* No interface: it was lost on a move, and the loop is about to end. */
	if (!m->interface || (link.up == m->link.up && link.speed == m->link.speed))
		return;
	m->link = link;
	/* The speed before the carrier: who looks on carrier-up sees it. It is only told, so no failure. */
	rc = interface_set_speed(m->interface, link.up ? link.speed : 0);
	if (rc == -EPERM && !m->speed_refused) {
		m->speed_refused = true;
		log_info("%s: ethtool does not know the link's speed, as telling it takes CAP_NET_ADMIN",
			m->state.name);
	} else if (rc < 0) {
		log_debug("%s: cannot tell ethtool the speed: %s", m->state.name, strerror(-rc));
	}
	rc = tap_set_carrier(m->config.tap, link.up);
	if (rc < 0)
		log_warning("%s: cannot set the carrier: %s", m->state.name, strerror(-rc));
	if (link.up)
		log_info(link.speed ? "%s: link up, %u Mbit/s" : "%s: link up", m->state.name, link.speed);
	else
		log_info("%s: link down", m->state.name);
}

const char *mirror_ifname(const struct mirror *m)
{
	return m->state.name;
}

/* --- begin and end ------------------------------------------------------------------------------------ */

/* Open the interface in its namespace, ask for its state, watch it. 0 or a negative errno. */
static int watch_interface(struct mirror *m, const char *name, int netns)
{
	int home;
	int rc = netns_enter(netns, &home);

	if (rc < 0)
		return rc;
	rc = interface_open(name, &m->interface);
	netns_leave(home);
	if (rc == 0)
		rc = interface_get(m->interface, &m->state);
	if (rc < 0)
		return rc;
	ev_io_init(&m->event_io, on_event, interface_fd(m->interface), EV_READ);
	m->event_io.data = m;
	ev_io_start(m->config.loop, &m->event_io);
	return 0;
}

/* What both sides begin with: the device's address, the wanted MTU or the interface's. */
static int agree(struct mirror *m)
{
	const uint16_t mtu = m->config.mtu;
	int rc = 0;

	m->mac = ixy_mac_get(m->config.dev);
	if (memcmp(&m->mac, &m->state.mac, sizeof(m->mac)) != 0)
		rc = tap_set_mac(m->config.tap, m->mac);
	if (rc < 0) {
		log_error("%s: cannot set the interface's MAC address: %s", m->config.ifname, strerror(-rc));
		return EXIT_FAILURE;
	}
	if (mtu && mtu != m->state.mtu)
		rc = interface_set_mtu(m->interface, mtu);
	if (rc == -EPERM) { /* on somebody else's interface; follow() then takes the NIC to its MTU */
		log_warning("%s: MTU %u remains, as setting it takes CAP_NET_ADMIN: ip link set %s mtu %u",
			m->config.ifname, m->state.mtu, m->config.ifname, mtu);
	} else if (rc < 0) {
		log_error(
			"%s: cannot set the interface's MTU to %u: %s", m->config.ifname, mtu, strerror(-rc));
		return EXIT_FAILURE;
	}
	return 0;
}

int mirror_start(const struct mirror_config *config, struct mirror **result)
{
	struct mirror *m = calloc(1, sizeof(*m));
	double interval = config->multicast == MULTICAST_LIST ? MULTICAST_INTERVAL_S : PROMISC_INTERVAL_S;
	int rc;

	if (!m) {
		log_error("%s: out of memory", config->ifname);
		return EXIT_FAILURE;
	}
	m->config = *config;
	m->up = true; /* as ixy_open() leaves the device */
	m->gro = true;
	m->tx_queue = UINT32_MAX; /* not told yet */
	rc = watch_interface(m, config->ifname, config->netns);
	/* The interface has been there for all to see since the tap was opened. Somebody may have been quick. */
	if (rc == -ENODEV)
		rc = find_and_watch(m);
	if (rc < 0) {
		if (rc == -ENODEV)
			log_error("%s: the interface has been deleted", config->ifname);
		else
			log_error("%s: cannot watch the interface: %s", config->ifname, strerror(-rc));
		rc = EXIT_FAILURE;
		goto fail;
	}
	rc = agree(m);
	if (rc)
		goto fail;
	ev_timer_init(&m->timer, on_timer, interval, interval);
	m->timer.data = m;
	ev_timer_start(config->loop, &m->timer);
	follow(m);
	*result = m;
	return 0;
fail:
	mirror_stop(m);
	return rc;
}

void mirror_stop(struct mirror *m)
{
	if (!m)
		return;
	ev_timer_stop(m->config.loop, &m->timer);
	ev_io_stop(m->config.loop, &m->event_io);
	interface_close(m->interface);
	free(m);
}
