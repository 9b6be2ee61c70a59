/*
 * Inside the vfio-user client: the channel, which knows messages, and what the function's parts share.
 */
#ifndef IXY_VFIO_USER_H
#define IXY_VFIO_USER_H

#include <pthread.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "driver/pci/pci.h"
#include "driver/pci/vfio_user_proto.h"

#define VFIO_USER_MAX_PAYLOAD (VFIO_USER_MAX_MSG_SIZE - sizeof(struct vfio_user_header))

/* --- channel: vfio_user_channel.c ---------------------------------------------------------------- */

struct vfio_user_channel {
	int fd;
	const char *name;    /* for texts; not owned */
	unsigned timeout_ms; /* the bound of each exchange */
	bool established;    /* from here on losing the peer is worth a notice: nobody waits for an error */
	bool gone;           /* the stream is of no more use: nothing is sent, every call fails. Atomic. */
	uint16_t next_id;
	uint32_t posted;      /* commands without a reply since the last one with */
	uint32_t max_fds;     /* descriptors that the peer takes with one message */
	pthread_mutex_t lock; /* one exchange at a time; guards everything above but gone */
};

struct vfio_user_request {
	uint16_t command;
	const void *data;
	size_t size;
	const int *fds; /* lent */
	uint32_t fd_count;
};

/* Where an answer goes. The caller fills in the first part, the channel the second. */
struct vfio_user_reply {
	void *data;
	size_t min, capacity; /* shorter and longer payloads are breaches of the protocol */
	bool wants_fds;       /* otherwise descriptors that come along are closed */

	size_t size;
	int fds[VFIO_USER_MAX_MSG_FDS]; /* the caller's from here on: vfio_user_close_fds() */
	uint32_t fd_count;
};

/* Takes over fd, closing it on failure too. */
int vfio_user_channel_open(struct vfio_user_channel *channel, int fd, const char *name, unsigned timeout_ms);
void vfio_user_channel_close(struct vfio_user_channel *channel);

/*
 * Send a command and wait for its reply. Returns 0, the error that the server replied with, or
 *	-ENODEV     the peer is gone, now or earlier
 *	-ETIMEDOUT  no answer in time  } the channel counts as gone from here on
 *	-EPROTO     a malformed answer }
 * On failure no descriptor is left in reply. Any thread.
 */
int vfio_user_call(struct vfio_user_channel *channel, const struct vfio_user_request *request,
	struct vfio_user_reply *reply);

/*
 * Send a command that asks for no reply (now and then it does, so that a stuck peer is noticed). Any thread.
 */
int vfio_user_post(struct vfio_user_channel *channel, const struct vfio_user_request *request);

/* The peer broke the protocol in a way that only the caller can see. The channel is gone; returns -EPROTO. */
int vfio_user_breach(struct vfio_user_channel *channel, const char *format, ...)
	__attribute__((format(printf, 2, 3)));

void vfio_user_close_fds(struct vfio_user_reply *reply);

static inline bool vfio_user_gone(const struct vfio_user_channel *channel)
{
	return __atomic_load_n(&channel->gone, __ATOMIC_RELAXED);
}

/* --- doorbells: vfio_user_doorbell.c ------------------------------------------------------------- */

/* A doorbell with shadow memory and an eventfd. */
struct vfio_user_shadow {
	uint64_t offset; /* in BAR 0 */
	volatile uint32_t *reg;
	const volatile uint32_t *wanted;
	int eventfd;
};

/* A part of BAR 0 that is mapped, or the memory that holds shadows. */
struct vfio_user_mapping {
	uint64_t offset; /* in BAR 0; unused for shadow memory */
	uint8_t *virt;
	size_t size;
};

struct vfio_user_doorbells {
	struct vfio_user_shadow *shadows;
	uint32_t shadow_count;
	struct vfio_user_mapping *mappings; /* pages of BAR 0 */
	uint32_t mapping_count;
	struct vfio_user_mapping *memory; /* of the shadows */
	uint32_t memory_count;
	int *eventfds;
	uint32_t eventfd_count;
};

/* --- the PCI function: vfio_user.c --------------------------------------------------------------- */

struct vfio_user_device {
	struct pci_device pci;
	struct vfio_user_channel channel;
	bool resettable;
	bool shadow_wakeup; /* both sides know that extension */
	uint32_t irqs_set;  /* MSI-X vectors that have an eventfd now */
	struct vfio_user_doorbells doorbells;
	void (*released)(void *arg);
	void *released_arg;
};

/*
 * Learn where BAR 0 is (its size goes to pci->bars[0].size) and what of it can be reached by a store. What the
 * server offers but must not be trusted (memory that it could cut short) is left to messages.
 */
int vfio_user_doorbells_open(struct vfio_user_device *device);
void vfio_user_doorbells_close(struct vfio_user_doorbells *doorbells);
void vfio_user_doorbell_init(struct pci_device *pci, uint32_t offset, struct pci_doorbell *doorbell);

#endif
