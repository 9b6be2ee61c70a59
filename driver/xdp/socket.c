/*
 * AF_XDP sockets from the first system call to the last: register the UMEM, make the rings, map them, bind.
 *
 * bind() is where the kernel decides: zero copy or not, and whether the queue is free. Everything it may
 * refuse is told in words, for its errno alone says little.
 */
#include <errno.h>
#include <limits.h>
#include <net/if.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <unistd.h>

#include "driver/clock.h"
#include "driver/error.h"
#include "driver/xdp/capability.h"
#include "driver/xdp/xsk_parts.h"

#define SOCKET_FLAGS        (XSK_RX_ONLY | XSK_TX_ONLY | XSK_NO_NEED_WAKEUP | XSK_MULTI_BUFFER)
#define BUSY_TIMEOUT_MS     3000 /* a loaded machine takes more than one second to let go of a queue */
#define BUSY_RETRY_INTERVAL 5    /* ms */
#define DEFAULT_TX_BUDGET   32

/* struct xdp_umem_reg as of Linux 6.8. An older kernel reads the part that it knows. */
struct umem_registration {
	uint64_t addr;
	uint64_t len;
	uint32_t chunk_size;
	uint32_t headroom;
	uint32_t flags;
	uint32_t tx_metadata_len;
};

/* --- the UMEM, told to the kernel ----------------------------------------------------------------------- */

static int explain_memlock(const struct xsk_umem *umem, int error)
{
	struct rlimit limit = {0};

	getrlimit(RLIMIT_MEMLOCK, &limit);
	return ixy_fail(error,
		"UMEM: the kernel locks its %zu KiB in memory, and this user may lock %llu KiB in all: raise "
		"RLIMIT_MEMLOCK (ulimit -l, or LimitMEMLOCK= in a systemd unit), grant CAP_IPC_LOCK, or make "
		"the UMEM "
		"smaller",
		umem->size / 1024, (unsigned long long)limit.rlim_cur / 1024);
}

static int register_umem(struct xsk_umem *umem, int fd, int64_t deadline)
{
	struct umem_registration registration = {
		.addr = (uintptr_t)umem->memory,
		.len = umem->size,
		.chunk_size = umem->frame_size,
		.headroom = umem->headroom,
	};

	if (umem->flags & XSK_UMEM_UNALIGNED)
		registration.flags |= XDP_UMEM_UNALIGNED_CHUNK_FLAG;
	if (umem->flags & XSK_UMEM_TX_SW_CSUM)
		registration.flags |= XDP_UMEM_TX_SW_CSUM;
	if (umem->flags & XSK_UMEM_TX_METADATA) {
		registration.flags |= XDP_UMEM_TX_METADATA_LEN;
		registration.tx_metadata_len = sizeof(struct xsk_tx_meta);
	}
	/*
	 * The kernel forgets a UMEM a moment after its last socket was closed; until then its pages count
	 * against the limit.
	 */
	while (setsockopt(fd, SOL_XDP, XDP_UMEM_REG, &registration, sizeof(registration)) < 0) {
		if (errno == ENOBUFS && umem->state->registered && clock_ms() < deadline)
			sleep_us(BUSY_RETRY_INTERVAL * 1000);
		else if (errno == ENOBUFS || errno == EPERM)
			return explain_memlock(umem, errno);
		else if (errno == EINVAL && umem->flags & (XSK_UMEM_TX_METADATA | XSK_UMEM_TX_SW_CSUM))
			return ixy_fail(
				EOPNOTSUPP, "UMEM: this kernel has no TX metadata (Linux 6.8 and later do)");
		else
			return ixy_fail(errno, "UMEM: the kernel refuses %u frames of %u bytes: %s",
				umem->frames, umem->frame_size, strerror(errno));
	}
	umem->state->registered = true;
	return 0;
}

/* --- the rings ------------------------------------------------------------------------------------------ */

static int set_ring_size(int fd, int option, uint32_t size, const char *name)
{
	if (!size || size & (size - 1))
		return ixy_fail(EINVAL, "%s ring: %u entries, must be a power of two", name, size);
	if (setsockopt(fd, SOL_XDP, option, &size, sizeof(size)) < 0)
		return ixy_fail(errno, "%s ring of %u entries: %s", name, size, strerror(errno));
	return 0;
}

static int map_ring(struct xsk_ring *ring, int fd, uint32_t size, const struct xdp_ring_offset *at,
	size_t entry_size, uint64_t page_offset, const char *name)
{
	uint8_t *map;

	ring->map_size = at->desc + size * entry_size;
	map = mmap(NULL, ring->map_size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_POPULATE, fd,
		(off_t)page_offset);
	if (map == MAP_FAILED)
		return ixy_fail(errno, "%s ring: mapping it: %s", name, strerror(errno));
	ring->map = map;
	ring->producer = (uint32_t *)(map + at->producer);
	ring->consumer = (uint32_t *)(map + at->consumer);
	ring->flags = (uint32_t *)(map + at->flags);
	ring->addrs = (uint64_t *)(map + at->desc);
	ring->size = size;
	ring->mask = size - 1;
	ring->own = ring->other = 0;
	return 0;
}

static void unmap_ring(struct xsk_ring *ring)
{
	if (ring->map)
		munmap(ring->map, ring->map_size);
	memset(ring, 0, sizeof(*ring));
}

/*
 * Map the same ring through another socket of its queue, in place: other threads may be at work in it, and find their
 * addresses as they were (the kernel swaps under the lock that a page fault waits for). Where that fails the old
 * mapping stays.
 */
static void remap_ring(const struct xsk_ring *ring, int fd, uint64_t page_offset)
{
	void *map = mmap(NULL, ring->map_size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_POPULATE, fd,
		(off_t)page_offset);

	if (map == MAP_FAILED)
		return;
	if (mremap(map, ring->map_size, ring->map_size, MREMAP_MAYMOVE | MREMAP_FIXED, ring->map) ==
		MAP_FAILED)
		munmap(map, ring->map_size);
}

static int ring_offsets(int fd, struct xdp_mmap_offsets *offsets)
{
	socklen_t size = sizeof(*offsets);

	if (getsockopt(fd, SOL_XDP, XDP_MMAP_OFFSETS, offsets, &size) < 0)
		return ixy_fail(errno, "AF_XDP: where the rings are: %s", strerror(errno));
	if (size != sizeof(*offsets))
		return ixy_fail(EOPNOTSUPP,
			"AF_XDP: this kernel's rings have no flags; Linux 5.11 or later is needed");
	return 0;
}

static int open_queue_rings(struct xsk_queues *queues, int fd, const struct xsk_socket_config *config)
{
	const struct xsk_umem_state *state = queues->umem->state;
	uint32_t fill = config->fill_size ? config->fill_size : state->fill_size;
	uint32_t completion = config->completion_size ? config->completion_size : state->completion_size;
	struct xdp_mmap_offsets offsets;
	int rc;

	rc = set_ring_size(fd, XDP_UMEM_FILL_RING, fill, "fill");
	if (!rc)
		rc = set_ring_size(fd, XDP_UMEM_COMPLETION_RING, completion, "completion");
	if (!rc)
		rc = ring_offsets(fd, &offsets);
	if (!rc)
		rc = map_ring(&queues->fill, fd, fill, &offsets.fr, sizeof(uint64_t),
			XDP_UMEM_PGOFF_FILL_RING, "fill");
	if (!rc)
		rc = map_ring(&queues->completion, fd, completion, &offsets.cr, sizeof(uint64_t),
			XDP_UMEM_PGOFF_COMPLETION_RING, "completion");
	return rc;
}

static int open_socket_rings(struct xsk_socket *socket, const struct xsk_socket_config *config)
{
	uint32_t rx = config->rx_size ? config->rx_size : XSK_DEFAULT_RING_SIZE;
	uint32_t tx = config->tx_size ? config->tx_size : XSK_DEFAULT_RING_SIZE;
	bool receives = !(config->flags & XSK_TX_ONLY), sends = !(config->flags & XSK_RX_ONLY);
	struct xdp_mmap_offsets offsets;
	int fd = socket->fd;
	int rc;

	if ((receives && (rc = set_ring_size(fd, XDP_RX_RING, rx, "RX")) < 0) ||
		(sends && (rc = set_ring_size(fd, XDP_TX_RING, tx, "TX")) < 0))
		return rc;
	rc = ring_offsets(fd, &offsets);
	if (!rc && receives)
		rc = map_ring(
			&socket->rx, fd, rx, &offsets.rx, sizeof(struct xdp_desc), XDP_PGOFF_RX_RING, "RX");
	if (!rc && sends)
		rc = map_ring(
			&socket->tx, fd, tx, &offsets.tx, sizeof(struct xdp_desc), XDP_PGOFF_TX_RING, "TX");
	return rc;
}

/* --- bind ----------------------------------------------------------------------------------------------- */

static int explain_bind(const struct xsk_socket_config *config, int error, bool zero_copy)
{
	struct xsk_interface interface;
	const char *ifname = config->ifname;
	uint32_t queue = config->queue_id;
	bool known = xsk_probe_interface(ifname, &interface) == 0 && interface.queues;
	struct xsk_features features;

	switch (error) {
	case EINVAL:
		if (known && queue >= interface.queues)
			return ixy_fail(error,
				"%s has no queue %u: it has %u, numbered from 0 (ethtool -l and -L show and "
				"change that, up to %u)",
				ifname, queue, interface.queues, interface.max_queues);
		if (config->flags & XSK_MULTI_BUFFER && xsk_probe(&features) == 0 && !features.multi_buffer)
			return ixy_fail(EOPNOTSUPP,
				"%s: this kernel's AF_XDP has no multi-buffer frames (Linux 6.6 and later "
				"do)",
				ifname);
		break;
	case EBUSY:
		return ixy_fail(error,
			"%s: queue %u is in use by another AF_XDP socket's UMEM, of this or another process",
			ifname, queue);
	case EOPNOTSUPP:
		if (zero_copy)
			return ixy_fail(error,
				"%s: no zero copy: its driver cannot, or not with frames of this size",
				ifname);
		break;
	case ENETDOWN: return ixy_fail(error, "%s is down: ip link set %s up", ifname, ifname);
	default: break;
	}
	return ixy_fail(error, "%s: AF_XDP on queue %u%s: %s", ifname, queue,
		zero_copy ? " with zero copy" : "", strerror(error));
}

/* bind(), again and again while a queue that was just closed is still busy. Returns 0 or an errno. */
static int bind_once(const struct xsk_socket *socket, uint16_t flags, int shared_fd, int64_t deadline)
{
	struct sockaddr_xdp address = {
		.sxdp_family = AF_XDP,
		.sxdp_flags = flags,
		.sxdp_ifindex = socket->ifindex,
		.sxdp_queue_id = socket->queue_id,
		.sxdp_shared_umem_fd = shared_fd < 0 ? 0 : (uint32_t)shared_fd,
	};

	for (;;) {
		if (bind(socket->fd, (struct sockaddr *)&address, sizeof(address)) == 0)
			return 0;
		if (errno != EBUSY || clock_ms() >= deadline)
			return errno;
		sleep_us(BUSY_RETRY_INTERVAL * 1000);
	}
}

/* The first socket of a UMEM says how; those that join have the same. */
static int bind_first(struct xsk_socket *socket, const struct xsk_socket_config *config, int64_t deadline)
{
	uint16_t flags = 0;
	int error = 0;

	if (!(config->flags & XSK_NO_NEED_WAKEUP))
		flags |= XDP_USE_NEED_WAKEUP;
	if (config->flags & XSK_MULTI_BUFFER)
		flags |= XDP_USE_SG;
	if (config->mode == XSK_MODE_AUTO || config->mode == XSK_MODE_ZERO_COPY) {
		error = bind_once(socket, flags | XDP_ZEROCOPY, -1, deadline);
		if (!error)
			return 0;
		/* A queue in use, an interface that is down: copying would change nothing. */
		if (config->mode == XSK_MODE_ZERO_COPY || error == EBUSY || error == ENETDOWN)
			return explain_bind(config, error, true);
		socket->fallback_reason = error;
	}
	error = bind_once(socket, flags | XDP_COPY, -1, deadline);
	return error ? explain_bind(config, error, false) : 0;
}

static int bind_shared(struct xsk_socket *socket, const struct xsk_socket_config *config,
	const struct xsk_socket *with, int64_t deadline)
{
	int error;

	if (config->mode == XSK_MODE_ZERO_COPY && !with->zero_copy)
		return ixy_fail(EOPNOTSUPP,
			"%s: no zero copy: the UMEM's first socket does without, so all do", config->ifname);
	if ((config->mode == XSK_MODE_NATIVE || config->mode == XSK_MODE_GENERIC) && with->zero_copy)
		return ixy_fail(
			EOPNOTSUPP, "%s: the UMEM's first socket has zero copy, so all have", config->ifname);
	if (config->flags & XSK_MULTI_BUFFER && !with->multi_buffer)
		return ixy_fail(EOPNOTSUPP,
			"%s: no multi-buffer frames: the UMEM's first socket does without, so all do",
			config->ifname);
	error = bind_once(socket, XDP_SHARED_UMEM, with->fd, deadline);
	return error ? explain_bind(config, error, with->zero_copy) : 0;
}

/* --- options that come after bind ----------------------------------------------------------------------- */

static int set_options(struct xsk_socket *socket, const struct xsk_socket_config *config)
{
	struct xdp_options options = {0};
	socklen_t size = sizeof(options);
	int fd = socket->fd, on = 1;
	int usecs = (int)config->busy_poll_us, budget = (int)config->busy_poll_budget;
	char why[160];

	if (getsockopt(fd, SOL_XDP, XDP_OPTIONS, &options, &size) < 0)
		return ixy_fail(errno, "%s: asking for zero copy: %s", config->ifname, strerror(errno));
	socket->zero_copy = options.flags & XDP_OPTIONS_ZEROCOPY;

	if (usecs > 0 && (setsockopt(fd, SOL_SOCKET, SO_PREFER_BUSY_POLL, &on, sizeof(on)) < 0 ||
				 setsockopt(fd, SOL_SOCKET, SO_BUSY_POLL, &usecs, sizeof(usecs)) < 0 ||
				 (budget > 0 && setsockopt(fd, SOL_SOCKET, SO_BUSY_POLL_BUDGET, &budget,
							sizeof(budget)) < 0)))
		return ixy_fail(errno, "%s: busy polling for %d us, %d frames: %s", config->ifname, usecs,
			budget,
			errno == EPERM ? xsk_missing_capability(XSK_CAP(CAP_NET_ADMIN), why, sizeof(why))
				       : strerror(errno));
	/* Only speed depends on it, so a kernel that does not know it is no failure. */
	if (config->tx_budget > DEFAULT_TX_BUDGET && !(config->flags & XSK_RX_ONLY) &&
		setsockopt(fd, SOL_XDP, XDP_MAX_TX_SKB_BUDGET, &config->tx_budget,
			sizeof(config->tx_budget)) < 0 &&
		errno != ENOPROTOOPT)
		return ixy_fail(errno,
			"%s: a TX budget of %u frames: %s (it may be 32 to the TX ring's size)",
			config->ifname, config->tx_budget, strerror(errno));
	return 0;
}

/* --- open, close ---------------------------------------------------------------------------------------- */

static struct xsk_queues *find_queues(const struct xsk_umem *umem, uint32_t ifindex, uint32_t queue_id)
{
	for (struct xsk_queues *q = umem->state->queues; q; q = q->next)
		if (q->ifindex == ifindex && q->queue_id == queue_id)
			return q;
	return NULL;
}

/* A socket to join the UMEM by: one on the same queue, if there is one, for then the rings are shared too. */
static struct xsk_socket *find_sharer(const struct xsk_umem *umem, const struct xsk_queues *queues)
{
	for (struct xsk_socket *s = umem->state->sockets; s; s = s->next)
		if (!queues || s->queues == queues)
			return s;
	return NULL;
}

static void free_queues(struct xsk_queues *queues)
{
	unmap_ring(&queues->fill);
	unmap_ring(&queues->completion);
	free(queues);
}

/* Everything up to the rings of the queue, which are in *queues already if another socket has made them. */
static int prepare(struct xsk_socket *xsk, struct xsk_queues **queues, const struct xsk_socket_config *config,
	int64_t deadline)
{
	struct xsk_umem *umem = xsk->umem;
	char why[160];
	int rc;

	xsk->fd = socket(AF_XDP, SOCK_RAW | SOCK_CLOEXEC, 0);
	if (xsk->fd < 0 && errno == EPERM)
		return ixy_fail(EPERM, "AF_XDP socket: %s",
			xsk_missing_capability(XSK_CAP(CAP_NET_RAW), why, sizeof(why)));
	if (xsk->fd < 0)
		return ixy_fail(errno, "AF_XDP socket: %s", strerror(errno));
	if (!umem->state->sockets) {
		rc = register_umem(umem, xsk->fd, deadline);
		if (rc < 0)
			return rc;
	}
	if (!*queues) {
		*queues = aligned_alloc(XSK_CACHE_LINE, sizeof(**queues));
		if (!*queues)
			return ixy_fail(ENOMEM, "AF_XDP socket: out of memory");
		memset(*queues, 0, sizeof(**queues));
		(*queues)->umem = umem;
		(*queues)->ifindex = xsk->ifindex;
		(*queues)->queue_id = xsk->queue_id;
		rc = open_queue_rings(*queues, xsk->fd, config);
		if (rc < 0)
			return rc;
	}
	return open_socket_rings(xsk, config);
}

/* Under the lock `opening`. */
static int open_locked(struct xsk_socket *xsk, const struct xsk_socket_config *config)
{
	struct xsk_umem *umem = xsk->umem;
	struct xsk_queues *shared = find_queues(umem, xsk->ifindex, xsk->queue_id);
	struct xsk_queues *queues = shared;
	const struct xsk_socket *with = find_sharer(umem, shared);
	int wait = config->busy_timeout_ms ? config->busy_timeout_ms : BUSY_TIMEOUT_MS;
	int64_t deadline = clock_ms() + (wait < 0 ? 0 : wait);
	int rc = prepare(xsk, &queues, config, deadline);

	if (!rc)
		rc = with ? bind_shared(xsk, config, with, deadline) : bind_first(xsk, config, deadline);
	if (!rc)
		rc = set_options(xsk, config);
	if (rc < 0) {
		if (queues && !shared)
			free_queues(queues);
		return rc;
	}
	xsk->multi_buffer = with ? with->multi_buffer : config->flags & XSK_MULTI_BUFFER;
	xsk->need_wakeup = with ? with->need_wakeup : !(config->flags & XSK_NO_NEED_WAKEUP);
	xsk->queues = queues;
	pthread_mutex_lock(&umem->state->lock);
	if (!shared) {
		queues->next = umem->state->queues;
		umem->state->queues = queues;
		queues->mapped_by = xsk;
	}
	queues->sockets++;
	xsk->next = umem->state->sockets;
	umem->state->sockets = xsk;
	pthread_mutex_unlock(&umem->state->lock);
	return 0;
}

static void free_socket(struct xsk_socket *xsk)
{
	unmap_ring(&xsk->rx);
	unmap_ring(&xsk->tx);
	if (xsk->fd >= 0)
		close(xsk->fd);
	free(xsk);
}

int xsk_socket_open(struct xsk_umem *umem, const struct xsk_socket_config *config, struct xsk_socket **result)
{
	struct xsk_socket *xsk;
	uint32_t ifindex = config->ifname ? if_nametoindex(config->ifname) : 0;
	int rc;

	if (!ifindex)
		return ixy_fail(ENODEV, "no interface %s", config->ifname ? config->ifname : "(no name)");
	if (config->flags & ~SOCKET_FLAGS)
		return ixy_fail(EINVAL, "%s: unknown socket flags %#x", config->ifname,
			config->flags & ~SOCKET_FLAGS);
	if (config->flags & XSK_RX_ONLY && config->flags & XSK_TX_ONLY)
		return ixy_fail(EINVAL, "%s: a socket that neither receives nor sends", config->ifname);
	xsk = aligned_alloc(XSK_CACHE_LINE, sizeof(*xsk));
	if (!xsk)
		return ixy_fail(ENOMEM, "AF_XDP socket: out of memory");
	memset(xsk, 0, sizeof(*xsk));
	xsk->umem = umem;
	xsk->fd = -1;
	xsk->ifindex = ifindex;
	xsk->queue_id = config->queue_id;

	pthread_mutex_lock(&umem->state->opening);
	rc = open_locked(xsk, config);
	pthread_mutex_unlock(&umem->state->opening);
	if (rc < 0) {
		free_socket(xsk);
		return rc;
	}
	*result = xsk;
	return 0;
}

/*
 * A mapping holds the socket that it was made through: closed, the socket would live on in the kernel, and in the XDP
 * program's map, and swallow the frames that go there.
 */
static void hand_over_rings(struct xsk_queues *queues)
{
	const struct xsk_socket *heir = find_sharer(queues->umem, queues);

	remap_ring(&queues->fill, heir->fd, XDP_UMEM_PGOFF_FILL_RING);
	remap_ring(&queues->completion, heir->fd, XDP_UMEM_PGOFF_COMPLETION_RING);
	queues->mapped_by = heir;
}

void xsk_socket_close(struct xsk_socket *xsk)
{
	struct xsk_umem_state *state;
	struct xsk_queues *queues;

	if (!xsk)
		return;
	state = xsk->umem->state;
	queues = xsk->queues;
	pthread_mutex_lock(&state->opening);
	pthread_mutex_lock(&state->lock);
	for (struct xsk_socket **s = &state->sockets; *s; s = &(*s)->next) {
		if (*s == xsk) {
			*s = xsk->next;
			break;
		}
	}
	queues->past_received += xsk->received;
	queues->past_transmitted += xsk->transmitted;
	if (--queues->sockets == 0) {
		for (struct xsk_queues **q = &state->queues; *q; q = &(*q)->next) {
			if (*q == queues) {
				*q = queues->next;
				break;
			}
		}
		free_queues(queues);
	} else if (queues->mapped_by == xsk) {
		hand_over_rings(queues);
	}
	free_socket(xsk);
	pthread_mutex_unlock(&state->lock);
	pthread_mutex_unlock(&state->opening);
}

/* --- what a socket is ----------------------------------------------------------------------------------- */

int xsk_socket_fd(const struct xsk_socket *socket)
{
	return socket->fd;
}

struct xsk_umem *xsk_socket_umem(const struct xsk_socket *socket)
{
	return socket->umem;
}

struct xsk_queues *xsk_socket_queues(const struct xsk_socket *socket)
{
	return socket->queues;
}

uint32_t xsk_socket_ifindex(const struct xsk_socket *socket)
{
	return socket->ifindex;
}

uint32_t xsk_socket_queue_id(const struct xsk_socket *socket)
{
	return socket->queue_id;
}

bool xsk_socket_zero_copy(const struct xsk_socket *socket)
{
	return socket->zero_copy;
}

bool xsk_socket_multi_buffer(const struct xsk_socket *socket)
{
	return socket->multi_buffer;
}

int xsk_socket_fallback_reason(const struct xsk_socket *socket)
{
	return socket->fallback_reason;
}

int xsk_socket_statistics(const struct xsk_socket *socket, struct xdp_statistics *statistics)
{
	socklen_t size = sizeof(*statistics);

	memset(statistics, 0, sizeof(*statistics));
	if (getsockopt(socket->fd, SOL_XDP, XDP_STATISTICS, statistics, &size) < 0)
		return ixy_fail(errno, "AF_XDP statistics: %s", strerror(errno));
	return 0;
}

void xsk_socket_counters(const struct xsk_socket *socket, struct xsk_counters *counters)
{
	*counters = (struct xsk_counters){
		.filled = counter_read(&socket->queues->filled),
		.received = counter_read(&socket->received),
		.transmitted = counter_read(&socket->transmitted),
		.completed = counter_read(&socket->queues->completed),
	};
}

uint64_t xsk_socket_bad_entries(const struct xsk_socket *socket)
{
	return counter_read(&socket->bad_entries) + counter_read(&socket->queues->bad_entries);
}
