/*
 * The vfio-user protocol's messages, as they travel over the AF_UNIX stream socket.
 *
 * The client (the driver) sends commands, the server (the device) replies; file descriptors travel as
 * SCM_RIGHTS with the first bytes of a message. Everything is little-endian and naturally laid out.
 * Source: the vfio-user protocol specification 0.9; the payloads of GET_INFO, GET_REGION_INFO, GET_IRQ_INFO
 * and SET_IRQS are those of <linux/vfio.h>, used from there.
 *
 * Version data is JSON: {"capabilities":{"max_msg_fds":8,"max_msg_size":4096,"shadow_wakeup":true}}.
 *
 * shadow_wakeup is an extension of this project, used when both sides name it: a sub-region of type
 * IOEVENTFD_SHADOW has 4 bytes of doorbell, as in the protocol, and the word that follows the doorbell in the
 * shadow memory is non-zero while the server sleeps. A client then stores the doorbell, passes a full
 * barrier, and writes the eventfd only if that word is set; the server sets the word, passes a full barrier,
 * looks at the doorbells once more, and sleeps. Without the extension a client writes the eventfd each time.
 *
 * Memory that the server offers for mapping (pages of a BAR, shadows) is mapped by our client only if it is a
 * memfd sealed with F_SEAL_SHRINK: otherwise the server could turn the client's stores into SIGBUS.
 */
#ifndef IXY_VFIO_USER_PROTO_H
#define IXY_VFIO_USER_PROTO_H

#include <stdint.h>
#include <linux/vfio.h>

#define VFIO_USER_MAJOR 0
#define VFIO_USER_MINOR 1

#define VFIO_USER_MAX_MSG_SIZE 8192 /* the longest message either side of ours sends or takes */
#define VFIO_USER_MAX_MSG_FDS  72   /* 64 MSI-X vectors and a few */
#define VFIO_USER_MAX_JSON     1024

enum vfio_user_command {
	VFIO_USER_VERSION = 1,
	VFIO_USER_DMA_MAP = 2,
	VFIO_USER_DMA_UNMAP = 3,
	VFIO_USER_DEVICE_GET_INFO = 4,
	VFIO_USER_DEVICE_GET_REGION_INFO = 5,
	VFIO_USER_DEVICE_GET_REGION_IO_FDS = 6,
	VFIO_USER_DEVICE_GET_IRQ_INFO = 7,
	VFIO_USER_DEVICE_SET_IRQS = 8,
	VFIO_USER_REGION_READ = 9,
	VFIO_USER_REGION_WRITE = 10,
	VFIO_USER_DMA_READ = 11,
	VFIO_USER_DMA_WRITE = 12,
	VFIO_USER_DEVICE_RESET = 13,
};

struct vfio_user_header {
	uint16_t id;      /* echoed in the reply */
	uint16_t command; /* enum vfio_user_command */
	uint32_t size;    /* of the whole message, this header included */
	uint32_t flags;
#define VFIO_USER_TYPE_MASK    0xfu
#define VFIO_USER_TYPE_COMMAND 0x0u
#define VFIO_USER_TYPE_REPLY   0x1u
#define VFIO_USER_NO_REPLY     0x10u
#define VFIO_USER_ERROR        0x20u
	uint32_t error; /* errno, in a reply with VFIO_USER_ERROR */
};

struct vfio_user_version {
	uint16_t major;
	uint16_t minor;
	/* then NUL-terminated JSON, up to the message's size; may be missing */
};

struct vfio_user_dma_map {
	uint32_t argsz;
	uint32_t flags;
#define VFIO_USER_DMA_READABLE  (1u << 0)
#define VFIO_USER_DMA_WRITEABLE (1u << 1)
	uint64_t offset; /* into the file descriptor that comes with the message */
	uint64_t addr;   /* IOVA */
	uint64_t size;
};

struct vfio_user_dma_unmap {
	uint32_t argsz;
	uint32_t flags; /* VFIO_DMA_UNMAP_FLAG_ALL: everything, addr and size 0 */
	uint64_t addr;
	uint64_t size;
};

struct vfio_user_region_access {
	uint64_t offset;
	uint32_t region; /* VFIO_PCI_BAR0_REGION_INDEX ..., VFIO_PCI_CONFIG_REGION_INDEX */
	uint32_t count;  /* then that many bytes: in a write and in the reply to a read */
};

struct vfio_user_io_fds {
	uint32_t argsz;
	uint32_t flags; /* 0 */
	uint32_t index; /* region */
	uint32_t count; /* sub-regions that follow */
};

struct vfio_user_io_fd {
	uint64_t offset; /* of the doorbell in the region */
	uint64_t size;
	uint32_t fd_index; /* eventfd, among the message's descriptors; may be shared */
	uint32_t type;
#define VFIO_USER_IO_FD_IOEVENTFD        0u
#define VFIO_USER_IO_FD_IOREGIONFD       1u
#define VFIO_USER_IO_FD_IOEVENTFD_SHADOW 2u
	uint32_t flags;
	uint32_t shadow_fd_index; /* memory to mmap, among the message's descriptors; may be shared */
	uint64_t shadow_offset;   /* of the doorbell's shadow in that memory */
	uint64_t datamatch;
};

_Static_assert(sizeof(struct vfio_user_header) == 16, "vfio-user header");
_Static_assert(sizeof(struct vfio_user_dma_map) == 32, "vfio-user DMA map");
_Static_assert(sizeof(struct vfio_user_region_access) == 16, "vfio-user region access");
_Static_assert(sizeof(struct vfio_user_io_fd) == 48, "vfio-user sub-region");

#endif
