/*
 * QEMU's -qtest socket: lines that write and read the guest's physical memory, and device registers in it, as the
 * processor would. The software NIC needs it for what the remote PCI protocol has not: MSI-X messages, and the
 * IOMMU's registers.
 *
 * Nothing here waits. QEMU may itself be waiting for an answer of ours, and only then come to its qtest socket.
 */
#ifndef SOFTNIC_QTEST_H
#define SOFTNIC_QTEST_H

#include <ev.h>
#include <stdbool.h>
#include <stdint.h>

struct qtest;

/*
 * path: of the socket; it is connected to when something is first asked, as QEMU makes it late. name: for
 * messages (borrowed). room(context): a write that was refused for lack of room may succeed now. NULL with a
 * message on stderr.
 */
struct qtest *qtest_new(
	const char *path, const char *name, struct ev_loop *loop, void (*room)(void *context), void *context);
void qtest_free(struct qtest *qtest); /* NULL is fine; what was asked is not answered any more */

enum qtest_result { QTEST_SENT, QTEST_NO_ROOM, QTEST_LOST };

/* Write 32 bits. Only so many may be under way; then QTEST_NO_ROOM. QTEST_LOST: no QEMU there, message printed. */
enum qtest_result qtest_write32(struct qtest *qtest, uint64_t address, uint32_t value);

#define QTEST_READ_MAX 64 /* bytes */

/*
 * Read size bytes, all in one moment of the guest's. done(context, bytes) is called once if and only if this returns
 * QTEST_SENT, and not from within; bytes NULL: QEMU refused, or has gone.
 */
enum qtest_result qtest_read(struct qtest *qtest, uint64_t address, unsigned size,
	void (*done)(void *context, const uint8_t *bytes), void *context);

#endif
