/*
 * Between ixy.c, which is the API, and the drivers behind it.
 *
 * A driver embeds struct ixy_device as the first member of its own and fills in the operations. What is the
 * same for all drivers (argument checks, statistics sums, the list of drivers) is done once, in ixy.c.
 */
#ifndef IXY_DEVICE_H
#define IXY_DEVICE_H

#include "driver/dma.h"
#include "driver/error.h"
#include "driver/ixy.h"
#include "driver/pci/pci.h"

struct ixy_device_ops {
	uint32_t (*rx_batch)(struct ixy_device *dev, uint16_t queue, struct pkt_buf *bufs[], uint32_t count);
	uint32_t (*tx_batch)(struct ixy_device *dev, uint16_t queue, struct pkt_buf *bufs[], uint32_t count);
	void (*tx_drop)(struct ixy_device *dev, uint16_t queue,
		enum ixy_drop reason); /* counts only; queue's thread */
	uint32_t (*tx_pending)(struct ixy_device *dev, uint16_t queue);
	struct mempool *(*rx_pool)(const struct ixy_device *dev, uint16_t queue); /* NULL: cannot be shared */
	/* rx_irq_fd and event_fd: with IXY_CAP_INTERRUPTS only */
	int (*rx_irq_fd)(const struct ixy_device *dev, uint16_t queue);
	void (*rx_irq_arm)(struct ixy_device *dev, uint16_t queue);
	int (*event_fd)(const struct ixy_device *dev);
	uint32_t (*poll_events)(struct ixy_device *dev);
	int (*reset)(struct ixy_device *dev);
	void (*shut)(struct ixy_device *dev); /* NULL: as set_up(false) */
	void (*stop)(struct ixy_device *dev);
	void (*close)(struct ixy_device *dev);
	int (*set_up)(struct ixy_device *dev, bool up);
	int (*mac_set)(struct ixy_device *dev, struct ixy_mac mac);
	int (*set_unicast)(struct ixy_device *dev, const struct ixy_mac macs[], size_t count);
	int (*set_multicast)(struct ixy_device *dev, const struct ixy_mac macs[], size_t count);
	int (*set_promisc)(struct ixy_device *dev, bool on);
	int (*set_allmulti)(struct ixy_device *dev, bool on);
	int (*mtu_set)(struct ixy_device *dev, uint16_t mtu);
	void (*read_stats)(
		const struct ixy_device *dev, struct ixy_stats *stats); /* adds what only it knows */
	/* adds it all to stats, which are zeroed */
	void (*read_queue_stats)(const struct ixy_device *dev, uint16_t queue, struct ixy_queue_stats *stats);
	int (*read_register)(struct ixy_device *dev, uint32_t offset, uint32_t *value);
};

struct ixy_device {
	const struct ixy_device_ops *ops;
	const char *driver_name;
	char name[108]; /* the spec it was opened with */
	uint32_t capabilities;
	uint16_t rx_queues, tx_queues;
	uint16_t mtu, max_mtu;
	struct ixy_mac mac;
	struct ixy_link link;
	struct pci_device *pci; /* NULL for a device that is not a PCI function */
};

struct pci_id {
	uint16_t vendor, device;
};

/*
 * A driver for PCI functions: which ids it drives, and how it takes one over. On success it owns pci, on
 * failure the caller does. options are complete: no member that has a default is zero.
 */
struct ixy_pci_driver {
	const char *name;
	const struct pci_id *ids; /* ends with {0, 0} */
	int (*open)(struct pci_device *pci, const struct ixy_options *options, struct ixy_device **dev);
};

extern const struct ixy_pci_driver ixgbe_driver;
extern const struct ixy_pci_driver virtio_net_driver;

/*
 * A pool for a device that is no PCI function and wants its buffers as chunks: chunk_size bytes each (a power of
 * two from 2048 on), one behind the other from pool->dma->virt, pkt_buf and headroom included. Behind them follow
 * `more` chunks for the device's own use. 0 or a negative errno with its reason.
 */
int mempool_create_chunks(uint32_t count, uint32_t more, uint32_t chunk_size, struct mempool **pool);

/*
 * A counter with one writer and readers in other threads. n may be the negative of a number: what was counted was not
 * so.
 */
static inline void stat_add(uint64_t *counter, uint64_t n)
{
	__atomic_store_n(counter, __atomic_load_n(counter, __ATOMIC_RELAXED) + n, __ATOMIC_RELAXED);
}

/* The longest frame, or segment of a super-frame, that may be on the wire now. Any thread. */
static inline uint32_t ixy_longest_frame(const struct ixy_device *dev)
{
	return __atomic_load_n(&dev->mtu, __ATOMIC_RELAXED) + IXY_FRAME_OVERHEAD;
}

/* Add what a queue has counted (with stat_add()) to *sum. Any thread. */
void ixy_add_queue_stats(struct ixy_queue_stats *sum, const struct ixy_queue_stats *queue);

/* An address that an interface can have: neither a multicast address nor all zero. */
bool ixy_mac_unicast(const struct ixy_mac *mac);

#endif
