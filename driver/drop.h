/*
 * Every way in which a frame can be lost, in one list that all layers share.
 *
 * A frame that does not arrive has incremented exactly one of these counters, at the place where it was
 * given up: by the NIC (read from its statistics registers), by the driver, or by the bridge.
 * Add a reason here and each layer's statistics, the JSON output and the man page's table know it.
 */
#ifndef IXY_DROP_H
#define IXY_DROP_H

/* X(symbol, name as printed, one line that tells a user what happened and what helps) */
/* clang-format off */
#define IXY_DROP_REASONS(X) \
	X(RX_NO_DESCRIPTOR, "rx-no-descriptor", "the NIC had no free receive descriptor: the host was too slow") \
	X(RX_ERROR, "rx-error", "the NIC marked the frame bad: CRC, length, symbol or oversize error") \
	X(RX_BAD_DESCRIPTOR, "rx-bad-descriptor", "the NIC wrote back a length, a chain or an offload that does not fit its buffers or the frame") \
	X(RX_TOO_LONG, "rx-too-long", "the frame is longer than the interface's MTU allows") \
	X(RX_RESET, "rx-reset", "the frame was in the receive ring when the NIC had to be reset")                 \
	X(TX_RING_FULL, "tx-ring-full", "the transmit ring was full: the wire is slower than the sender") \
	X(TX_LINK_DOWN, "tx-link-down", "the cable is out, so the frame could not leave") \
	X(TX_TOO_LONG, "tx-too-long", "the frame is longer than the MTU, or than the NIC can send") \
	X(TX_TOO_SHORT, "tx-too-short", "the frame has no whole Ethernet header (14 bytes)") \
	X(TX_BAD_OFFLOAD, "tx-bad-offload", "the offload request, or the chain of buffers, does not fit the frame or the NIC") \
	X(TX_NO_BUFFER, "tx-no-buffer", "the packet pool was empty when the kernel had a frame to send") \
	X(TX_RESET, "tx-reset", "the frame was in the transmit ring when the NIC had to be reset") \
	X(KERNEL_DOWN, "kernel-down", "the kernel interface is down, so it takes no frames: ip link set IFNAME up") \
	X(KERNEL_FULL, "kernel-full", "the kernel's queue was full: the host's stack was too slow") \
	X(KERNEL_RUNT, "kernel-runt", "a frame under 14 bytes, which the kernel would refuse") \
	X(KERNEL_REFUSED, "kernel-refused", "the kernel refused the frame (error on write)") \
	X(KERNEL_MALFORMED, "kernel-malformed", "vhost-net wrote a length or a number of buffers that no frame has") \
	X(KERNEL_RESET, "kernel-reset", "the frame was in vhost-net's rings when they had to be set up anew") \
	X(SHUTDOWN, "shutdown", "the frame was in flight when the program ended")
/* clang-format on */

enum ixy_drop {
#define X(symbol, name, text) IXY_DROP_##symbol,
	IXY_DROP_REASONS(X)
#undef X
		IXY_DROP_COUNT
};

/* The printed name and the explanation of each reason; NULL past the end. Constant strings, any thread. */
const char *ixy_drop_name(enum ixy_drop reason);
const char *ixy_drop_text(enum ixy_drop reason);

#endif
