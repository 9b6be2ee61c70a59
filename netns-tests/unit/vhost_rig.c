/* The kernel's side of vhost-net, played. See vhost_rig.h. */
#include "vhost_rig.h"

#include <errno.h>
#include <linux/virtio_config.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "bridge/vhost.h"

#define HEADER sizeof(struct virtio_net_hdr_v1)
#define BIT(n) (UINT64_C(1) << (n))

/* ioctl() knows no context: one rig at a time. */
static struct vhost_rig *rig_in_use;

static void fault(struct vhost_rig *rig, const char *what)
{
	if (!rig->fault)
		rig->fault = what;
}

/* --- ioctls ------------------------------------------------------------------------------------------- */

static int refuse(int error)
{
	errno = error;
	return -1;
}

static int set_memory(struct vhost_rig *rig, const struct vhost_memory *memory)
{
	if (memory->nregions > 8 || memory->padding)
		return refuse(EOPNOTSUPP);
	rig->region_count = memory->nregions;
	memcpy(rig->regions, memory->regions, memory->nregions * sizeof(memory->regions[0]));
	return 0;
}

static int set_addresses(struct vhost_rig_ring *ring, const struct vhost_vring_addr *a)
{
	if (a->desc_user_addr % VRING_DESC_ALIGN_SIZE || a->avail_user_addr % VRING_AVAIL_ALIGN_SIZE ||
		a->used_user_addr % VRING_USED_ALIGN_SIZE || a->log_guest_addr % VRING_USED_ALIGN_SIZE)
		return refuse(EINVAL);
	ring->desc = (struct vring_desc *)(uintptr_t)a->desc_user_addr;
	ring->avail = (struct vring_avail *)(uintptr_t)a->avail_user_addr;
	ring->used = (struct vring_used *)(uintptr_t)a->used_user_addr;
	return 0;
}

static int set_backend(struct vhost_rig *rig, int fd, const struct vhost_vring_file *file)
{
	struct vhost_rig_ring *ring = &rig->rings[file->index];

	if (file->fd == VHOST_FILE_UNBIND) {
		ring->attached = false;
		rig->served[fd] &= (uint8_t) ~(1u << file->index);
		return 0;
	}
	if (rig->tap >= 0 && file->fd != rig->tap)
		return refuse(ENOTSOCK);
	if (!ring->num || !ring->desc || ring->kick < 0 || !rig->region_count || !rig->features) {
		fault(rig, "the tap comes before all is told");
		return refuse(EFAULT);
	}
	ring->attached = true;
	rig->served[fd] |= (uint8_t)(1u << file->index);
	return 0;
}

static int answer(struct vhost_rig *rig, int fd, unsigned long request, void *argument)
{
	const struct vhost_vring_state *state = argument;
	const struct vhost_vring_file *file = argument;
	struct vhost_rig_ring *rings = rig->rings;

	if (request == VHOST_SET_OWNER) {
		/* A new descriptor. If it has the number of an old one, that was closed. */
		if (rig->served[fd])
			fault(rig, "a descriptor was closed while its rings were served");
		memset(rings, 0, sizeof(rig->rings));
		rings[0].kick = rings[1].kick = -1;
		rig->region_count = 0;
		rig->features = 0;
		rig->request_count = 0;
		rig->owned = true;
	} else if (!rig->owned) {
		return refuse(EPERM);
	}
	if (rig->request_count < 64)
		rig->requests[rig->request_count++] = request;
	if (request == rig->refuse && rig->refuse_after-- == 0)
		return refuse(rig->refuse_error);
	/* The first member of all that goes with a ring is its index. */
	if ((request == VHOST_SET_VRING_NUM || request == VHOST_SET_VRING_ADDR ||
		    request == VHOST_SET_VRING_BASE || request == VHOST_NET_SET_BACKEND) &&
		state->index > 1)
		return refuse(ENOBUFS);
	switch (request) {
	case VHOST_SET_OWNER: return 0;
	case VHOST_GET_FEATURES: *(uint64_t *)argument = rig->offered; return 0;
	case VHOST_SET_FEATURES:
		rig->features = *(uint64_t *)argument;
		return rig->features & ~rig->offered ? refuse(EOPNOTSUPP) : 0;
	case VHOST_SET_MEM_TABLE: return set_memory(rig, argument);
	case VHOST_SET_VRING_NUM:
		if (!state->num || state->num > 0xffff || (state->num & (state->num - 1)))
			return refuse(EINVAL);
		rings[state->index].num = state->num;
		return 0;
	case VHOST_SET_VRING_ADDR:
		return set_addresses(&rings[((struct vhost_vring_addr *)argument)->index], argument);
	case VHOST_SET_VRING_BASE:
		rings[state->index].avail_idx = rings[state->index].used_idx = (uint16_t)state->num;
		return 0;
	case VHOST_SET_VRING_ERR: rings[file->index].error = file->fd; return 0;
	case VHOST_SET_VRING_CALL: rings[file->index].call = file->fd; return 0;
	case VHOST_SET_VRING_KICK: rings[file->index].kick = file->fd; return 0;
	case VHOST_SET_VRING_BUSYLOOP_TIMEOUT: rings[state->index].busy_usecs = state->num; return 0;
	case VHOST_NET_SET_BACKEND: return set_backend(rig, fd, argument);
	default: fault(rig, "an ioctl that vhost-net does not need"); return refuse(ENOTTY);
	}
}

static int take_ioctl(int fd, unsigned long request, void *argument)
{
	struct vhost_rig *rig = rig_in_use;
	int rc;

	if (fd < 0 || fd >= (int)sizeof(rig->served))
		return refuse(EBADF);
	pthread_mutex_lock(&rig->lock);
	rc = answer(rig, fd, request, argument);
	pthread_mutex_unlock(&rig->lock);
	return rc;
}

/* --- rings -------------------------------------------------------------------------------------------- */

/* What a descriptor names, if all of it is in the memory that was told. */
static uint8_t *at(struct vhost_rig *rig, uint64_t address, uint32_t size)
{
	for (uint32_t i = 0; i < rig->region_count; i++) {
		const struct vhost_memory_region *r = &rig->regions[i];

		if (address >= r->guest_phys_addr && address - r->guest_phys_addr <= r->memory_size &&
			size <= r->memory_size - (address - r->guest_phys_addr))
			return (uint8_t *)(uintptr_t)(address - r->guest_phys_addr + r->userspace_addr);
	}
	fault(rig, "an address outside of the memory");
	return NULL;
}

static bool event_idx(const struct vhost_rig *rig)
{
	return rig->features & BIT(VIRTIO_RING_F_EVENT_IDX);
}

static bool has_available(const struct vhost_rig_ring *ring)
{
	return __atomic_load_n(&ring->avail->idx, __ATOMIC_ACQUIRE) != ring->avail_idx;
}

static void use(struct vhost_rig_ring *ring, uint32_t id, uint32_t written)
{
	ring->used->ring[ring->used_idx % ring->num].id = id;
	ring->used->ring[ring->used_idx % ring->num].len = written;
	ring->used_idx++;
}

/* Show what was used, and signal if it is asked for. */
static void show_used(struct vhost_rig *rig, struct vhost_rig_ring *ring)
{
	bool wanted;

	if (ring->used_idx == ring->signalled)
		return;
	__atomic_store_n(&ring->used->idx, ring->used_idx, __ATOMIC_RELEASE);
	__atomic_thread_fence(__ATOMIC_SEQ_CST);
	if (event_idx(rig))
		wanted = (uint16_t)(ring->used_idx - ring->avail->ring[ring->num] - 1) <
			 (uint16_t)(ring->used_idx - ring->signalled);
	else
		wanted = !(ring->avail->flags & VRING_AVAIL_F_NO_INTERRUPT);
	ring->signalled = ring->used_idx;
	if (wanted && ring->call >= 0)
		eventfd_write(ring->call, 1);
}

/* From here on the driver is to kick. */
static void want_kicks(const struct vhost_rig *rig, struct vhost_rig_ring *ring, bool on)
{
	if (event_idx(rig))
		*(uint16_t *)&ring->used->ring[ring->num] =
			on ? ring->avail_idx : (uint16_t)(ring->avail_idx - 1);
	else
		ring->used->flags = on ? 0 : VRING_USED_F_NO_NOTIFY;
	__atomic_thread_fence(__ATOMIC_SEQ_CST);
}

/* A chain that the daemon sent is a frame that the kernel receives. */
static void receive_one(struct vhost_rig *rig, struct vhost_rig_ring *ring)
{
	struct vhost_rig_frame *frame = &rig->got[rig->got_count % VHOST_RIG_FRAMES];
	uint16_t head = ring->avail->ring[ring->avail_idx % ring->num], id = head;

	frame->data = realloc(frame->data, 80000);
	frame->size = 0;
	for (unsigned i = 0; i < ring->num; i++) {
		const struct vring_desc desc = ring->desc[id % ring->num];
		const uint8_t *data = at(rig, desc.addr, desc.len);

		if (!data || desc.flags & ~VRING_DESC_F_NEXT || frame->size + desc.len > 80000) {
			fault(rig, "a sent frame's descriptor is not in order");
			return;
		}
		memcpy(frame->data + frame->size, data, desc.len);
		frame->size += desc.len;
		rig->sent_buffers++;
		if (!(desc.flags & VRING_DESC_F_NEXT))
			break;
		id = desc.next;
	}
	ring->avail_idx++;
	rig->got_count++;
	use(ring, head, 0);
}

static bool serve_tx(struct vhost_rig *rig)
{
	struct vhost_rig_ring *ring = &rig->rings[1];
	bool moved = false;

	if (!ring->attached || rig->keep)
		return false;
	for (; has_available(ring); moved = true)
		receive_one(rig, ring);
	show_used(rig, ring);
	return moved;
}

/* Write a frame into as many buffers as it takes. False: there are too few, nothing has been done. */
static bool send_one(struct vhost_rig *rig, struct vhost_rig_ring *ring, const struct vhost_rig_frame *frame)
{
	uint16_t available =
		(uint16_t)(__atomic_load_n(&ring->avail->idx, __ATOMIC_ACQUIRE) - ring->avail_idx);
	uint16_t buffers = 0, first_used = ring->used_idx;
	struct virtio_net_hdr_v1 *header = NULL;
	uint32_t room = 0, done = 0;

	while (room < frame->size && buffers < available) {
		uint16_t id = ring->avail->ring[(uint16_t)(ring->avail_idx + buffers) % ring->num];

		room += ring->desc[id % ring->num].len;
		buffers++;
	}
	if (room < frame->size)
		return false;
	for (uint16_t i = 0; i < buffers; i++) {
		uint16_t id = ring->avail->ring[(uint16_t)(ring->avail_idx + i) % ring->num];
		const struct vring_desc desc = ring->desc[id % ring->num];
		uint32_t piece = frame->size - done < desc.len ? frame->size - done : desc.len;
		uint8_t *data = at(rig, desc.addr, desc.len);

		if (!data || desc.flags != VRING_DESC_F_WRITE) {
			fault(rig, "an empty buffer's descriptor is not in order");
			return false;
		}
		memcpy(data, frame->data + done, piece);
		if (i == 0)
			header = (struct virtio_net_hdr_v1 *)data;
		use(ring, id, piece);
		done += piece;
	}
	ring->avail_idx = (uint16_t)(ring->avail_idx + buffers);
	header->num_buffers = rig->lie ? rig->lie_buffers : buffers;
	if (rig->lie && rig->lie_written != UINT32_MAX)
		ring->used->ring[first_used % ring->num].len = rig->lie_written;
	if (rig->lie && rig->lie_id != UINT32_MAX)
		ring->used->ring[first_used % ring->num].id = rig->lie_id;
	rig->lie = false;
	return true;
}

static bool serve_rx(struct vhost_rig *rig)
{
	struct vhost_rig_ring *ring = &rig->rings[0];
	bool moved = false;

	if (!ring->attached)
		return false;
	while (rig->out_first != rig->out_last &&
		send_one(rig, ring, &rig->out[rig->out_first % VHOST_RIG_FRAMES])) {
		rig->out_first++;
		moved = true;
	}
	show_used(rig, ring);
	return moved;
}

/* Before a sleep: ask for kicks, and look once more. True: there was something after all. */
static bool ask_for_kicks(struct vhost_rig *rig)
{
	bool moved;

	for (int i = 0; i < 2; i++)
		if (rig->rings[i].attached)
			want_kicks(rig, &rig->rings[i], true);
	moved = serve_tx(rig);
	return serve_rx(rig) || moved;
}

void vhost_rig_serve(struct vhost_rig *rig)
{
	pthread_mutex_lock(&rig->lock);
	do
		for (int i = 0; i < 2; i++)
			if (rig->rings[i].attached)
				want_kicks(rig, &rig->rings[i], false);
	while (ask_for_kicks(rig));
	pthread_mutex_unlock(&rig->lock);
}

static void *run(void *arg)
{
	struct vhost_rig *rig = arg;

	while (__atomic_load_n(&rig->running, __ATOMIC_ACQUIRE)) {
		struct pollfd fds[3] = {{.fd = rig->wake, .events = POLLIN}};
		eventfd_t count;

		vhost_rig_serve(rig);
		pthread_mutex_lock(&rig->lock);
		for (int i = 0; i < 2; i++)
			fds[1 + i] = (struct pollfd){
				.fd = rig->rings[i].attached ? rig->rings[i].kick : -1, .events = POLLIN};
		pthread_mutex_unlock(&rig->lock);
		poll(fds, 3, -1);
		for (int i = 0; i < 3; i++)
			if (fds[i].revents)
				eventfd_read(fds[i].fd, &count);
		rig->sleeps++;
	}
	return NULL;
}

/* --- the test's side ---------------------------------------------------------------------------------- */

void vhost_rig_init(struct vhost_rig *rig)
{
	memset(rig, 0, sizeof(*rig));
	/* What Linux 6.1 offers, and the bit of it that would take the header from the tap's hands. */
	rig->offered = BIT(VIRTIO_F_NOTIFY_ON_EMPTY) | BIT(VIRTIO_RING_F_INDIRECT_DESC) |
		       BIT(VIRTIO_RING_F_EVENT_IDX) | BIT(VHOST_F_LOG_ALL) | BIT(VIRTIO_F_ANY_LAYOUT) |
		       BIT(VIRTIO_F_VERSION_1) | BIT(VIRTIO_NET_F_MRG_RXBUF) |
		       BIT(VHOST_NET_F_VIRTIO_NET_HDR) | BIT(VIRTIO_F_ACCESS_PLATFORM);
	rig->tap = VHOST_RIG_TAP;
	rig->lie_id = rig->lie_written = UINT32_MAX;
	rig->wake = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
	pthread_mutex_init(&rig->lock, NULL);
	rig_in_use = rig;
	vhost_path = "/dev/null";
	vhost_ioctl = take_ioctl;
}

void vhost_rig_close(struct vhost_rig *rig)
{
	if (rig->running)
		vhost_rig_halt(rig);
	for (unsigned i = 0; i < VHOST_RIG_FRAMES; i++) {
		free(rig->out[i].data);
		free(rig->got[i].data);
	}
	close(rig->wake);
	pthread_mutex_destroy(&rig->lock);
	rig_in_use = NULL;
}

void vhost_rig_send(
	struct vhost_rig *rig, const void *data, uint32_t size, const struct virtio_net_hdr_v1 *header)
{
	struct vhost_rig_frame *frame;

	pthread_mutex_lock(&rig->lock);
	frame = &rig->out[rig->out_last % VHOST_RIG_FRAMES];
	frame->data = realloc(frame->data, HEADER + size);
	frame->size = (uint32_t)HEADER + size;
	memset(frame->data, 0, HEADER);
	if (header)
		memcpy(frame->data, header, HEADER);
	memcpy(frame->data + HEADER, data, size);
	rig->out_last++;
	pthread_mutex_unlock(&rig->lock);
	eventfd_write(rig->wake, 1);
}

void vhost_rig_run(struct vhost_rig *rig)
{
	rig->running = true;
	pthread_create(&rig->thread, NULL, run, rig);
}

void vhost_rig_halt(struct vhost_rig *rig)
{
	__atomic_store_n(&rig->running, false, __ATOMIC_RELEASE);
	eventfd_write(rig->wake, 1);
	pthread_join(rig->thread, NULL);
}

unsigned vhost_rig_served(const struct vhost_rig *rig)
{
	unsigned count = 0;

	for (size_t i = 0; i < sizeof(rig->served); i++)
		count += (unsigned)__builtin_popcount(rig->served[i]);
	return count;
}

unsigned vhost_rig_got(struct vhost_rig *rig)
{
	unsigned count;

	pthread_mutex_lock(&rig->lock);
	count = rig->got_count;
	pthread_mutex_unlock(&rig->lock);
	return count;
}
