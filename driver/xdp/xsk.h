/*
 * AF_XDP sockets: frames straight between a kernel driver's queue and this process's memory.
 *
 * The parts, in the order in which a program meets them:
 *
 *   xsk_umem      the packet memory: frames ("chunks") of one size, which the kernel and this process pass to
 *                 and fro by address. An address is an offset into the UMEM, not a pointer.
 *   xsk_queues    the fill ring (frames that the kernel may receive into) and the completion ring (frames
 *                 that it has sent) of one queue of one interface. Made with the first socket there.
 *   xsk_socket    the RX ring (frames received) and the TX ring (frames to send) of one socket on that queue.
 *   xsk_program   the XDP program on the interface that steers frames into sockets (program.h); without one
 *                 nothing is received. Sending needs none, but in zero copy: there Intel's drivers send only while
 *                 any program is on the interface, and answer wake-ups with -ENXIO until then.
 *   xsk_endpoint  all of these in one object with blocking read and write, for who wants frames, not rings
 *                 (endpoint.h).
 *
 * Each frame is at any time in exactly one place: with this process, or in the kernel's hands by way of
 * xsk_fill() until xsk_receive(), or by way of xsk_transmit() until xsk_complete(). The library keeps
 * nothing.
 *
 *	xsk_umem_create(&(struct xsk_umem_config){0}, &umem);
 *	xsk_socket_open(umem, &(struct xsk_socket_config){.ifname = "eth1"}, &xsk);
 *	count = xsk_frame_alloc_batch(umem, addrs, 1024);
 *	xsk_fill(xsk_socket_queues(xsk), addrs, count);
 *	while ((count = xsk_receive_wait(xsk, descs, 64, -1)) >= 0) {
 *		for (int i = 0; i < count; i++)
 *			handle(xsk_data(umem, &descs[i]), descs[i].len);
 *		xsk_fill_descs(xsk_socket_queues(xsk), descs, count);
 *	}
 *
 * Errors: functions that can fail return a negative errno and leave a sentence in ixy_last_error(). A member
 * of a configuration that is 0 or NULL means the default.
 *
 * Threads: each ring has one user at a time. Of one socket, one thread may receive (xsk_fill, xsk_receive)
 * while another sends (xsk_transmit, xsk_complete) and a third asks for statistics; nothing is locked there,
 * because the two sides share no ring. Sockets that share a queue share its fill and completion ring: the
 * program says which thread has which, or locks. Wake-ups, poll and the getters may be called from any
 * thread. The frame allocator and opening and closing lock by themselves.
 *
 * Linux 5.11 is the oldest that this works on; what came later is asked for at run time (xsk_probe()).
 * Opening needs CAP_NET_RAW, programs CAP_NET_ADMIN and CAP_BPF.
 */
#ifndef IXY_XSK_H
#define IXY_XSK_H

#include <linux/if_link.h>
#include <linux/if_xdp.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "driver/xdp/program.h"

/* --- what Debian 12's headers (Linux 6.1) do not know --------------------------------------------------- */

#ifndef AF_XDP
#define AF_XDP 44
#endif
#ifndef SOL_XDP
#define SOL_XDP 283
#endif
#ifndef XDP_USE_SG
#define XDP_USE_SG (1 << 4) /* bind: frames may span several descriptors (Linux 6.6) */
#endif
#ifndef XDP_PKT_CONTD
#define XDP_PKT_CONTD (1 << 0) /* xdp_desc.options: the frame goes on in the next descriptor */
#endif
#ifndef XDP_UMEM_TX_SW_CSUM
#define XDP_UMEM_TX_SW_CSUM (1 << 1) /* copy mode computes the checksums that metadata asks for (6.8) */
#endif
#ifndef XDP_UMEM_TX_METADATA_LEN
#define XDP_UMEM_TX_METADATA_LEN (1 << 2) /* xdp_umem_reg.tx_metadata_len is meant */
#endif
#ifndef XDP_TX_METADATA
#define XDP_TX_METADATA (1 << 1) /* xdp_desc.options: a struct xsk_tx_meta stands before the frame */
#endif
#ifndef XDP_TXMD_FLAGS_TIMESTAMP
#define XDP_TXMD_FLAGS_TIMESTAMP (1 << 0)
#endif
#ifndef XDP_TXMD_FLAGS_CHECKSUM
#define XDP_TXMD_FLAGS_CHECKSUM (1 << 1)
#endif
#ifndef XDP_MAX_TX_SKB_BUDGET
#define XDP_MAX_TX_SKB_BUDGET 9 /* socket option: frames a sendto() in copy mode (6.17) */
#endif
#ifndef SO_BUSY_POLL
#define SO_BUSY_POLL 46
#endif
#ifndef SO_PREFER_BUSY_POLL
#define SO_PREFER_BUSY_POLL 69
#endif
#ifndef SO_BUSY_POLL_BUDGET
#define SO_BUSY_POLL_BUDGET 70
#endif

/* The kernel's own headroom at the start of each chunk that it receives into (XDP_PACKET_HEADROOM). */
#define XSK_KERNEL_HEADROOM 256u

#define XSK_DEFAULT_FRAME_SIZE 2048u
#define XSK_DEFAULT_FRAMES     4096u
#define XSK_DEFAULT_RING_SIZE  2048u

/*
 * Descriptors a frame, at most, in copy mode: the kernel's skb has a head and 17 fragments. A zero-copy
 * driver may take fewer (xsk_interface.max_segments).
 */
#define XSK_MAX_SEGMENTS 18

/* What the allocator says when it has no frame. Never the address of one. */
#define XSK_NO_FRAME UINT64_MAX

/* --- modes ---------------------------------------------------------------------------------------------- */

/*
 * How frames get from the driver into the UMEM, best first. Which of the last two it is, the XDP program's
 * attachment decides (program.h): a socket knows zero copy and copy only.
 */
enum xsk_mode {
	XSK_MODE_AUTO,      /* the best that works, tried in the order below */
	XSK_MODE_ZERO_COPY, /* the NIC's DMA goes to the UMEM; needs the driver's support */
	XSK_MODE_NATIVE,    /* the program runs in the driver, the kernel copies frames that are for us */
	XSK_MODE_GENERIC,   /* the program runs on finished skbs: any interface, slowest */
};

/* "auto", "zero-copy", "native", "generic"; the words in specs and messages. Constant strings. */
const char *xsk_mode_name(enum xsk_mode mode);

/* --- what this kernel and this interface can ------------------------------------------------------------ */

struct xsk_features {
	bool sockets;         /* AF_XDP sockets at all */
	bool need_wakeup;     /* XDP_USE_NEED_WAKEUP (5.4) */
	bool unaligned;       /* unaligned chunks (5.4) */
	bool multi_buffer;    /* XDP_USE_SG (6.6) */
	bool tx_metadata;     /* TX checksum offload and timestamps by metadata (6.8) */
	bool tx_sw_csum;      /* XDP_UMEM_TX_SW_CSUM (6.8) */
	bool busy_poll;       /* SO_PREFER_BUSY_POLL and its budget (5.11) */
	bool tx_budget;       /* XDP_MAX_TX_SKB_BUDGET (6.17) */
	bool full_statistics; /* all six counters (5.9) */
};

/*
 * Ask the running kernel, by trying; nothing stays behind. Returns 0; -EPERM without CAP_NET_RAW;
 * -EAFNOSUPPORT, with features all false, where the kernel has no AF_XDP.
 */
int xsk_probe(struct xsk_features *features);

struct xsk_interface {
	uint32_t ifindex;
	uint32_t queues; /* pairs in use: valid queue ids are 0 .. queues - 1; 0: the driver does not tell */
	uint32_t max_queues; /* the most that `ethtool -L IFNAME combined N` can set; 0: unknown */
	/* From Linux 6.3 on; features_known says whether the kernel answered. */
	bool features_known;
	bool native;           /* the driver runs XDP programs */
	bool zero_copy;        /* and can do AF_XDP zero copy */
	bool multi_buffer;     /* programs with frags are accepted in native mode: MTU over a page */
	bool tx_checksum;      /* checksum offload by TX metadata in zero-copy mode */
	uint32_t max_segments; /* descriptors a frame in zero-copy mode; 0: unknown, 1: none */
};

/* What the driver of ifname says. Returns 0 or -ENODEV. Needs no privilege. */
int xsk_probe_interface(const char *ifname, struct xsk_interface *interface);

/* --- UMEM: the packet memory ---------------------------------------------------------------------------- */

#define XSK_UMEM_HUGE_PAGES (1u << 0) /* own memory in huge pages; fails where there are none free */
#define XSK_UMEM_UNALIGNED  (1u << 1) /* frame_size need not be a power of two, frames may lie anywhere */
#define XSK_UMEM_TX_METADATA \
	(1u << 2) /* frames to send may carry a struct xsk_tx_meta; see xsk_tx_checksum() */
#define XSK_UMEM_TX_SW_CSUM (1u << 3) /* with it: in copy mode the kernel computes the checksum by itself */

struct xsk_umem_config {
	/*
	 * Bytes a frame, headrooms included: 2048 .. page size, a power of two unless XSK_UMEM_UNALIGNED. In zero
	 * copy take 4096: some NICs, the 82599 among them, count receive buffers in KiB, use 1024 of the 1792 bytes
	 * that 2048 leave, and without multi-buffer frames lose all that is longer.
	 */
	uint32_t frame_size;
	/* Bytes that the kernel leaves free between its own headroom and what it receives. */
	uint32_t headroom;
	uint32_t frames;
	/*
	 * Ring entries of each queue, powers of two. A socket's first opening on a queue may say otherwise.
	 */
	uint32_t fill_size;
	uint32_t completion_size;
	uint32_t flags; /* XSK_UMEM_* */
	/*
	 * NULL: the library allocates frames * frame_size bytes. Otherwise page-aligned memory of that size
	 * or more, which stays the caller's and must outlive the UMEM.
	 */
	void *memory;
};

struct xsk_umem_state;

/* Read, never written, by the user. */
struct xsk_umem {
	uint8_t *memory;
	size_t size;         /* bytes: frames * frame_size */
	uint64_t chunk_mask; /* address & chunk_mask: where its frame starts */
	uint32_t frame_size;
	uint32_t headroom;
	uint32_t frames;
	uint32_t flags;
	struct xsk_umem_state *state;
};

/*
 * Make a UMEM. The kernel learns of it with the first socket, so a too low RLIMIT_MEMLOCK shows only there.
 * Returns 0; -EINVAL for sizes that the kernel does not take; -ENOMEM (huge pages: how many are missing). In
 * unaligned mode, zero copy wants huge pages: no frame may then straddle two pages that are not neighbours.
 */
int xsk_umem_create(const struct xsk_umem_config *config, struct xsk_umem **umem);

/* Free it, and its memory if it is its own. -EBUSY, and nothing freed, while a socket uses it. NULL: 0. */
int xsk_umem_free(struct xsk_umem *umem);

/* The most bytes that the kernel puts into one frame: what both headrooms leave. */
static inline uint32_t xsk_umem_data_size(const struct xsk_umem *umem)
{
	return umem->frame_size - XSK_KERNEL_HEADROOM - umem->headroom;
}

/* Address of a frame's first byte by its number, 0 .. frames - 1, and back. */
static inline uint64_t xsk_frame_addr(const struct xsk_umem *umem, uint32_t index)
{
	return (uint64_t)index * umem->frame_size;
}

/*
 * The byte that an address names, as an offset into the memory. In unaligned mode the kernel writes an
 * address as base | offset << 48, so that the base survives; in aligned mode the upper bits are 0 and this
 * is the same.
 */
static inline uint64_t xsk_addr_offset(uint64_t addr)
{
	return (addr & XSK_UNALIGNED_BUF_ADDR_MASK) + (addr >> XSK_UNALIGNED_BUF_OFFSET_SHIFT);
}

/* The start of the frame that an address lies in: what goes back to the allocator or the fill ring. */
static inline uint64_t xsk_addr_frame(const struct xsk_umem *umem, uint64_t addr)
{
	return addr & umem->chunk_mask;
}

static inline uint32_t xsk_addr_index(const struct xsk_umem *umem, uint64_t addr)
{
	return (uint32_t)(xsk_addr_frame(umem, addr) / umem->frame_size);
}

/* The address of byte `offset` of the frame that starts at `frame`, such that xsk_addr_frame() undoes it. */
static inline uint64_t xsk_addr_make(const struct xsk_umem *umem, uint64_t frame, uint32_t offset)
{
	return umem->flags & XSK_UMEM_UNALIGNED ? frame | (uint64_t)offset << XSK_UNALIGNED_BUF_OFFSET_SHIFT
						: frame + offset;
}

/*
 * Whether [addr, addr + len) lies in the UMEM and within one frame. Descriptors from the kernel are checked.
 */
static inline bool xsk_addr_valid(const struct xsk_umem *umem, uint64_t addr, uint32_t len)
{
	bool unaligned = umem->flags & XSK_UMEM_UNALIGNED;
	uint64_t at = unaligned ? xsk_addr_offset(addr) : addr;
	uint64_t within = unaligned ? addr >> XSK_UNALIGNED_BUF_OFFSET_SHIFT : addr & ~umem->chunk_mask;

	return at < umem->size && len <= umem->size - at && within + len <= umem->frame_size;
}

/* Where a descriptor's bytes are. The descriptor is one that xsk_receive() gave, or lies in the UMEM. */
static inline uint8_t *xsk_data(const struct xsk_umem *umem, const struct xdp_desc *desc)
{
	return umem->memory + xsk_addr_offset(desc->addr);
}

/* --- frames: who has which ------------------------------------------------------------------------------ */

/*
 * The allocator: a stack of free frames under a lock. All frames are free at first. A program that keeps
 * track by itself (as it must if frames begin elsewhere than at xsk_frame_addr()) need not use it. Builds
 * with IXY_DEBUG abort with a message when a frame is freed twice or never was one.
 *
 * Take up to count frames: their start addresses go to addrs[]. Returns how many there were.
 */
uint32_t xsk_frame_alloc_batch(struct xsk_umem *umem, uint64_t addrs[], uint32_t count);
uint64_t xsk_frame_alloc(struct xsk_umem *umem); /* XSK_NO_FRAME: none left */

/* Give back. Any address within a frame will do. */
void xsk_frame_free_batch(struct xsk_umem *umem, const uint64_t addrs[], uint32_t count);
void xsk_frame_free(struct xsk_umem *umem, uint64_t addr);
uint32_t xsk_frames_free(struct xsk_umem *umem); /* how many are free now; without those in caches */

/* All frames are free again, wherever they were. -EBUSY while a socket uses the UMEM. */
int xsk_frames_reset(struct xsk_umem *umem);

/*
 * A thread's own small stock, so that it takes the lock once in half a cache of frames. One thread's at a
 * time.
 */
#define XSK_FRAME_CACHE_SIZE 128

struct xsk_frame_cache {
	struct xsk_umem *umem;
	uint32_t count;
	uint64_t addrs[XSK_FRAME_CACHE_SIZE];
};

void xsk_frame_cache_init(struct xsk_frame_cache *cache, struct xsk_umem *umem);
uint64_t xsk_frame_cache_alloc(struct xsk_frame_cache *cache); /* XSK_NO_FRAME: none left */
void xsk_frame_cache_free(struct xsk_frame_cache *cache, uint64_t addr);
void xsk_frame_cache_flush(struct xsk_frame_cache *cache); /* all back to the UMEM: before the thread ends */

/* --- a frame's bytes: headroom and data ----------------------------------------------------------------- */

/*
 * A cursor writes and reads within a stretch of a frame and never leaves it. For the data, `length` is where
 * the frame ends: it grows with what is written past it.
 */
struct xsk_cursor {
	uint8_t *start;
	uint32_t size;   /* bytes that may be written */
	uint32_t length; /* bytes that there are */
	uint32_t pos;    /* where the next read or write begins, <= length */
};

/*
 * An empty frame to write to: a descriptor of length 0 behind both headrooms of the frame at `frame` (and
 * behind room for the TX metadata, which those always hold).
 */
struct xdp_desc xsk_frame_desc(const struct xsk_umem *umem, uint64_t frame);

/*
 * The bytes between the frame's start and its data, which are the user's: put a header or a mark there. All
 * of it counts as written (length == size). Beware: once the frame is in the fill ring, the kernel may use
 * the first XSK_KERNEL_HEADROOM bytes (a program's metadata), but not the UMEM's own headroom behind them.
 */
struct xsk_cursor xsk_headroom(const struct xsk_umem *umem, const struct xdp_desc *desc);

/* The UMEM's headroom alone: config.headroom bytes right before where a received frame begins. */
struct xsk_cursor xsk_user_headroom(const struct xsk_umem *umem, const struct xdp_desc *desc);

/* The data from desc->addr to the end of its frame; length is desc->len. Then desc->len = cursor.length. */
struct xsk_cursor xsk_data_cursor(const struct xsk_umem *umem, const struct xdp_desc *desc);

/* Copy in, copy out, as much as there is room or data for; pos moves on. Both return the bytes copied. */
uint32_t xsk_cursor_write(struct xsk_cursor *cursor, const void *from, uint32_t size);
uint32_t xsk_cursor_read(struct xsk_cursor *cursor, void *to, uint32_t size);
uint32_t xsk_cursor_seek(struct xsk_cursor *cursor, uint32_t pos); /* at most length; returns the new pos */
void xsk_cursor_zero(struct xsk_cursor *cursor); /* zeroes all size bytes; length, pos = 0 */

/*
 * Grow the frame to the front by size bytes of its headroom (room for a header to put before it), or cut size
 * bytes off its front. Return the new first byte; NULL, with nothing changed, where there is no room, or not
 * so many bytes.
 */
uint8_t *xsk_desc_push(const struct xsk_umem *umem, struct xdp_desc *desc, uint32_t size);
uint8_t *xsk_desc_pull(const struct xsk_umem *umem, struct xdp_desc *desc, uint32_t size);

/* --- TX metadata: checksum offload ---------------------------------------------------------------------- */

/* Lies right before the frame's first byte. The kernel's struct xsk_tx_metadata, as of Linux 6.14. */
struct xsk_tx_meta {
	uint64_t flags; /* XDP_TXMD_FLAGS_* */
	union {
		struct {
			uint16_t csum_start;
			uint16_t csum_offset;
			uint64_t launch_time;
		} request;
		struct {
			uint64_t tx_timestamp;
		} completion;
	};
};

/*
 * Ask for an Internet checksum on the way out: the sum from csum_start on to the frame's end is stored at
 * csum_start + csum_offset, where the caller has put the pseudo-header's sum. Bytes from the frame's start.
 * Zero copy: the NIC does it, if it can (xsk_interface.tx_checksum). Copy mode: the interface's own checksum
 * offload, or with XSK_UMEM_TX_SW_CSUM the kernel at once. Writes to the sizeof(struct xsk_tx_meta) bytes
 * before desc->addr and sets XDP_TX_METADATA in desc->options. Returns 0; -EINVAL without
 * XSK_UMEM_TX_METADATA, without that room or for a field outside the frame.
 */
int xsk_tx_checksum(
	const struct xsk_umem *umem, struct xdp_desc *desc, uint16_t csum_start, uint16_t csum_offset);

/* --- sockets -------------------------------------------------------------------------------------------- */

#define XSK_RX_ONLY        (1u << 0) /* no TX ring */
#define XSK_TX_ONLY        (1u << 1) /* no RX ring */
#define XSK_NO_NEED_WAKEUP (1u << 2) /* do without XDP_USE_NEED_WAKEUP: every wake-up is needed then */
#define XSK_MULTI_BUFFER   (1u << 3) /* frames may span descriptors (XDP_PKT_CONTD), both ways */

struct xsk_socket_config {
	const char *ifname;
	uint32_t queue_id;
	uint32_t rx_size; /* ring entries, powers of two */
	uint32_t tx_size;
	uint32_t fill_size; /* as in xsk_umem_config, for this queue alone; 0: as there */
	uint32_t completion_size;
	uint32_t flags; /* XSK_RX_ONLY ... */
	/*
	 * ZERO_COPY: that or -EOPNOTSUPP; NATIVE and GENERIC: copy; AUTO: zero copy, and copy where there is
	 * none.
	 */
	enum xsk_mode mode;
	/* Let the socket's own system calls drive the NIC instead of interrupts. 0: off. Microseconds. */
	uint32_t busy_poll_us;
	uint32_t busy_poll_budget; /* frames a round; 0: the kernel's own default */
	uint32_t tx_budget;        /* copy mode: frames a wake-up, where the kernel can (tx_budget); 0: 32 */
	/*
	 * A queue that was just closed is busy for a moment; how long to retry. 0: 3000 ms; negative: not at
	 * all.
	 */
	int busy_timeout_ms;
};

struct xsk_socket;
struct xsk_queues;

/*
 * Open a socket on a queue of an interface.
 *
 * Sockets of one UMEM: on the same interface and queue they share that queue's fill and completion ring (and
 * the mode of the first); on any other they get rings of their own. All of a UMEM's sockets are zero copy or
 * none is. A queue that a socket of another UMEM has (of any process) is -EBUSY.
 *
 * Returns 0, or with a reason in ixy_last_error():
 *   -ENODEV      no such interface
 *   -EINVAL      no such queue (the text says how many there are), ring sizes that are no powers of two, ...
 *   -EBUSY       another UMEM has the queue
 *   -EOPNOTSUPP  the mode, multi-buffer frames or TX metadata are not to be had
 *   -ENOBUFS     RLIMIT_MEMLOCK is too low for the UMEM (the text says how much it takes)
 *   -EPERM       CAP_NET_RAW is missing
 */
int xsk_socket_open(
	struct xsk_umem *umem, const struct xsk_socket_config *config, struct xsk_socket **socket);

/*
 * Close it; NULL is allowed. No other call on it may be under way. The queue's rings go with its last
 * socket, and what the kernel still had in them is the caller's again (in zero-copy mode the driver lets go
 * a moment later).
 */
void xsk_socket_close(struct xsk_socket *socket);

int xsk_socket_fd(const struct xsk_socket *socket); /* for poll, epoll, libev; closed by xsk_socket_close() */
struct xsk_umem *xsk_socket_umem(const struct xsk_socket *socket);
struct xsk_queues *xsk_socket_queues(const struct xsk_socket *socket);
uint32_t xsk_socket_ifindex(const struct xsk_socket *socket);
uint32_t xsk_socket_queue_id(const struct xsk_socket *socket);
bool xsk_socket_zero_copy(const struct xsk_socket *socket);    /* by the kernel's word (XDP_OPTIONS) */
bool xsk_socket_multi_buffer(const struct xsk_socket *socket); /* frames may span descriptors */

/*
 * Why zero copy was not to be had with XSK_MODE_AUTO: a positive errno of the kernel. 0: it was, or not
 * asked.
 */
int xsk_socket_fallback_reason(const struct xsk_socket *socket);

/*
 * The kernel's counters of this socket, since it was opened. They name what was lost:
 *   rx_dropped                frames that did not fit their chunk, or found no chunk (in copy mode those are in
 *                             rx_fill_ring_empty_descs too)
 *   rx_invalid_descs          addresses in the fill ring that lie outside the UMEM
 *   tx_invalid_descs          descriptors in the TX ring that the kernel did not accept
 *   rx_ring_full              frames lost because xsk_receive() was too slow
 *   rx_fill_ring_empty_descs  times that the fill ring was empty: xsk_fill() was too slow
 *   tx_ring_empty_descs       times that the driver wanted frames and found none: no loss
 * In zero copy they are no losses: the driver counts rx_fill_ring_empty_descs each time it looks in vain, and with a
 * full RX ring many (ixgbe, i40e, ice) keep the frame, count rx_ring_full each time they try, and ask for a wake-up.
 * What is lost then the NIC has dropped (rx_missed_errors of `ip -s link`).
 * Returns 0 or a negative errno.
 */
int xsk_socket_statistics(const struct xsk_socket *socket, struct xdp_statistics *statistics);

/* What went over the rings since the socket was opened, or its queue: frames, in descriptors. */
struct xsk_counters {
	uint64_t filled;      /* given to the kernel to receive into, by all sockets of the queue */
	uint64_t received;    /* taken from this socket's RX ring */
	uint64_t transmitted; /* put on this socket's TX ring */
	uint64_t completed;   /* taken from the queue's completion ring */
};

void xsk_socket_counters(const struct xsk_socket *socket, struct xsk_counters *counters);

/*
 * Entries that the library itself refused, because what the kernel's side of a ring said cannot be: an
 * address outside the UMEM, an index past the ring. Always 0 on a sound kernel.
 */
uint64_t xsk_socket_bad_entries(const struct xsk_socket *socket);

/* --- receive: fill ring and RX ring --------------------------------------------------------------------- */

/*
 * Give frames to the kernel to receive into; any address within each will do. All or nothing: returns count,
 * or 0 where the ring has not so many free slots, or -EINVAL where an address is outside the UMEM.
 */
int xsk_fill(struct xsk_queues *queues, const uint64_t addrs[], uint32_t count);
int xsk_fill_one(struct xsk_queues *queues, uint64_t addr);

/* The same for frames as xsk_receive() gave them. */
int xsk_fill_descs(struct xsk_queues *queues, const struct xdp_desc descs[], uint32_t count);

/* The driver sleeps until somebody calls xsk_wake_rx() (or polls); only ever true in zero-copy mode. */
bool xsk_fill_needs_wakeup(const struct xsk_queues *queues);

/*
 * recvfrom(): let the driver look at the fill ring. Returns 0 or -ENETDOWN, -ENXIO (the interface is gone).
 */
int xsk_wake_rx(const struct xsk_socket *socket);

/*
 * Fill, and wake the driver up if it asks for that. Returns what xsk_fill() does; a failed wake-up is no
 * error.
 */
int xsk_fill_and_wake(struct xsk_socket *socket, const uint64_t addrs[], uint32_t count);

/*
 * Take up to max received frames; never waits. Returns how many. Each descriptor lies in the UMEM (checked):
 * addr is the first byte of data, len its bytes. options & XDP_PKT_CONTD: the frame goes on in the next
 * descriptor; with room for XSK_MAX_SEGMENTS a frame never falls into two calls. The frames are the caller's
 * until it gives them to xsk_fill(), xsk_transmit() or the allocator.
 */
uint32_t xsk_receive(struct xsk_socket *socket, struct xdp_desc descs[], uint32_t max);
uint32_t xsk_receive_one(struct xsk_socket *socket, struct xdp_desc *desc);

/*
 * Wait until there is something to receive, then receive. timeout_ms: negative for ever, 0 not at all.
 * Returns how many; 0 when the time is over; -EINTR; -ENETDOWN when the interface went down or away.
 */
int xsk_receive_wait(struct xsk_socket *socket, struct xdp_desc descs[], uint32_t max, int timeout_ms);

/* --- send: TX ring and completion ring ------------------------------------------------------------------ */

/*
 * Hand frames to the kernel; they leave with the next wake-up. All or nothing: returns count, or 0 where the
 * ring has not so many free slots, or -EINVAL where a descriptor does not lie in the UMEM, is empty, has
 * unknown options, too many continuations or, in a UMEM with TX metadata, less than sizeof(struct xsk_tx_meta)
 * bytes before it (the kernel would swallow it and never complete it). A frame in several descriptors has
 * XDP_PKT_CONTD in all but its last, needs XSK_MULTI_BUFFER, and is given whole.
 */
int xsk_transmit(struct xsk_socket *socket, const struct xdp_desc descs[], uint32_t count);
int xsk_transmit_one(struct xsk_socket *socket, const struct xdp_desc *desc);

/* Whether the kernel needs a wake-up to look at the TX ring: in copy mode always. */
bool xsk_tx_needs_wakeup(const struct xsk_socket *socket);

/*
 * sendto(), once: let the kernel look at the TX ring. In copy mode the call itself sends, at most tx_budget
 * (32) frames. Returns
 *   0            done: copy mode, all frames have been sent; zero copy, the driver is awake
 *   -EAGAIN      not all: the budget is used up, the completion ring is full or the device busy. Nothing is
 *                lost: xsk_complete(), then once more
 *   -EBUSY       the device dropped one frame (cable out, its queue full), which completes like a sent one.
 *                The rest is still in the ring: once more
 *   -ENOBUFS, -ENOMEM  the kernel has no memory just now; frames stay in the ring
 *   -ENETDOWN    the interface is down; frames stay in the ring
 *   -ENXIO       the interface is gone, or its zero copy wants a program first
 */
int xsk_wake_tx(const struct xsk_socket *socket);

/*
 * Wake-ups until the kernel has all frames of the TX ring or cannot go on. *dropped (or NULL) grows by the
 * -EBUSY among them. Does nothing where no wake-up is needed, nor in copy mode with an empty ring. Returns 0,
 * or what stopped it: -EAGAIN means that no progress was possible (complete first).
 */
int xsk_flush_tx(struct xsk_socket *socket, uint64_t *dropped);

/* Transmit, and flush if the kernel asks for a wake-up. Returns what xsk_transmit() does. */
int xsk_transmit_and_wake(struct xsk_socket *socket, const struct xdp_desc descs[], uint32_t count);

/*
 * Take up to max addresses of frames that have been sent, as they were given to xsk_transmit(). Returns how
 * many. They are the caller's again. On a shared queue they may be another socket's.
 */
uint32_t xsk_complete(struct xsk_queues *queues, uint64_t addrs[], uint32_t max);
uint32_t xsk_complete_one(struct xsk_queues *queues, uint64_t *addr);

/* --- busy polling --------------------------------------------------------------------------------------- */

/*
 * With xsk_socket_config.busy_poll_us the calls xsk_wake_rx() and xsk_wake_tx() run the driver's receive loop on the
 * caller's CPU. Interrupts do that too, on whichever CPU they come, until they are told to stand back: a queue that
 * is polled gets no interrupt while polls find frames, and after that for so many polls or so long.
 */
struct xsk_deferral {
	uint32_t rounds; /* polls in a row that find nothing before interrupts are on again; 0: at once */
	uint32_t
		timeout_ns; /* without a poll for so long, the kernel polls by itself; 0: interrupts as ever */
};

/* What the kernel's documentation of busy polling suggests. */
#define XSK_DEFERRAL_BUSY_POLL ((struct xsk_deferral){.rounds = 2, .timeout_ns = 200000})

/*
 * Set it for all queues of an interface. The numbers belong to the interface and stay when the process ends: so
 * *before (or NULL) gets what they were, to be set again by the same call. Left behind, they do no harm but that
 * a frame on an idle queue may wait for the timeout. Returns 0; -ENODEV; -ENOENT where /sys is not this network
 * namespace's; -EACCES or -EPERM for who may not (root's files, and CAP_NET_ADMIN), with a reason.
 */
int xsk_defer_interrupts(
	const char *ifname, const struct xsk_deferral *deferral, struct xsk_deferral *before);

/* --- waiting, and how full the rings are ---------------------------------------------------------------- */

/*
 * poll(2) on the socket. events: POLLIN, something to receive; POLLOUT, at least half of the TX ring is
 * free. It also serves as a wake-up, for both directions. timeout_ms: negative for ever. Returns the events
 * (>= 0; 0: time over) or -EINTR or another negative errno.
 */
int xsk_socket_poll(const struct xsk_socket *socket, short events, int timeout_ms);

/* Snapshots; they only move in the caller's favour while the caller stands still. */
uint32_t xsk_num_free_fill_slots(const struct xsk_queues *queues);
uint32_t xsk_num_free_tx_slots(const struct xsk_socket *socket);
uint32_t xsk_num_filled(const struct xsk_queues *queues);      /* given to the kernel and not yet received */
uint32_t xsk_num_received(const struct xsk_socket *socket);    /* wait in the RX ring */
uint32_t xsk_num_transmitted(const struct xsk_queues *queues); /* handed over and not yet completed */
uint32_t xsk_num_completed(const struct xsk_queues *queues);   /* wait in the completion ring */

#endif
