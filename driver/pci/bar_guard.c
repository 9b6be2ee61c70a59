/*
 * Surviving the removal of a device whose registers are mapped.
 *
 * While the card is merely unplugged, loads from its BAR give all-ones: nobody answers on the bus. But when
 * the kernel takes notice, it removes the sysfs file and with it the pages of every mapping, and the next
 * load is SIGBUS, on whichever thread is at it. The handler then puts ordinary memory full of ones in the
 * place of the BAR, so that the load can be repeated and the driver finds out in its own time. What the
 * driver stores there reads back, which is no harm: it looks for removal in a register that it never writes.
 */
#include "driver/pci/bar_guard.h"

#include <errno.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <string.h>
#include <sys/mman.h>

#include "driver/error.h"

#define MAX_BARS 32

/* Written by the control thread, size first; read by the signal handler on any thread. start 0: free. */
static struct {
	uintptr_t start;
	size_t size;
} bars[MAX_BARS];
static struct sigaction previous;

static void on_sigbus(int signal, siginfo_t *info, void *context)
{
	uintptr_t address = (uintptr_t)info->si_addr;
	int saved_errno = errno;

	(void)signal;
	(void)context;
	for (size_t i = 0; i < MAX_BARS; i++) {
		uintptr_t start = __atomic_load_n(&bars[i].start, __ATOMIC_ACQUIRE);

		if (start == 0 || address < start || address - start >= bars[i].size)
			continue;
		/* mmap() is a bare system call, hence safe here. Two threads at once do no harm. */
		if (mmap((void *)start, bars[i].size, PROT_READ | PROT_WRITE,
			    MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0) == MAP_FAILED)
			break;
		memset((void *)start, 0xff, bars[i].size);
		errno = saved_errno;
		return;
	}
	/* Somebody else's: the access is repeated when this returns, and then meets the handler of before. */
	sigaction(SIGBUS, &previous, NULL);
	errno = saved_errno;
}

int bar_guard_add(void *virt, size_t size)
{
	struct sigaction action = {.sa_sigaction = on_sigbus, .sa_flags = SA_SIGINFO}, current;

	if (sigaction(SIGBUS, NULL, &current) < 0)
		return ixy_fail(errno, "SIGBUS handler: %s", strerror(errno));
	if (!(current.sa_flags & SA_SIGINFO) || current.sa_sigaction != on_sigbus) {
		previous = current;
		sigemptyset(&action.sa_mask);
		if (sigaction(SIGBUS, &action, NULL) < 0)
			return ixy_fail(errno, "SIGBUS handler: %s", strerror(errno));
	}
	for (size_t i = 0; i < MAX_BARS; i++) {
		if (bars[i].start != 0)
			continue;
		bars[i].size = size;
		__atomic_store_n(&bars[i].start, (uintptr_t)virt, __ATOMIC_RELEASE);
		return 0;
	}
	return ixy_fail(ENOSPC, "more than %d mapped BARs in one process", MAX_BARS);
}

void bar_guard_remove(void *virt)
{
	for (size_t i = 0; i < MAX_BARS; i++)
		if (bars[i].start == (uintptr_t)virt)
			__atomic_store_n(&bars[i].start, 0, __ATOMIC_RELEASE);
}
