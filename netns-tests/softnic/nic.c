/*
 * The device as a whole: created, reset in its three ways, left by its client, freed.
 *
 * BAR 0 is private memory, but for three pages: those of the queues 0..63, and of the receive queues 64..127,
 * come from a memfd at the same offsets. A client may map that file, so its doorbells are plain stores that
 * the model sees; and it can reach nothing else through it.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "nic.h"

#define PAGE 4096u

static const uint32_t shared_pages[] = {RXQ(0), RXQ(64), TXQ(0)};

/* Put a fresh memfd behind the shared pages. The old one, if any, stays with whoever has it mapped. */
static int share_pages(struct nic *nic)
{
	struct stat st;
	int fd = memfd_create("ixy-softnic-bar0", MFD_CLOEXEC | MFD_ALLOW_SEALING);
	if (fd < 0)
		return -errno;
	/* Sealed, so that no client can shrink the file under our feet. */
	if (ftruncate(fd, NIC_BAR0_SIZE) ||
		fcntl(fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL) || fstat(fd, &st))
		goto fail;
	for (size_t i = 0; i < sizeof shared_pages / sizeof *shared_pages; i++) {
		void *at = (uint8_t *)nic->regs + shared_pages[i];
		if (mmap(at, PAGE, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_FIXED, fd, shared_pages[i]) ==
			MAP_FAILED)
			goto fail;
	}
	if (nic->regs_fd >= 0)
		close(nic->regs_fd);
	nic->regs_fd = fd;
	nic->dma.bar_device = st.st_dev;
	nic->dma.bar_inode = st.st_ino;
	return 0;
fail:;
	int err = -errno;
	close(fd);
	return err;
}

struct nic *nic_create(unsigned port, const char *name, const uint8_t mac[6])
{
	struct nic *nic = calloc(1, sizeof *nic);
	if (!nic)
		goto fail;
	nic->port = port;
	snprintf(nic->name, sizeof nic->name, "%s", name);
	memcpy(nic->mac, mac, sizeof nic->mac);
	nic->link.speed = 10000;
	nic->regs_fd = -1;

	void *regs = mmap(NULL, NIC_BAR0_SIZE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (regs == MAP_FAILED)
		goto fail_free;
	nic->regs = regs;
	if (share_pages(nic))
		goto fail_unmap;
	if (nic_rx_init(nic))
		goto fail_unmap;
	if (nic_tx_init(nic))
		goto fail_rx;

	nic_dma_init(nic);
	nic_eeprom_init(nic);
	nic_reset_function(nic);
	return nic;

fail_rx:
	nic_rx_free(nic);
fail_unmap:
	munmap(regs, NIC_BAR0_SIZE);
	if (nic->regs_fd >= 0)
		close(nic->regs_fd);
fail_free:
	free(nic);
fail:
	fprintf(stderr, "ixy-softnic: %s: out of memory or file descriptors\n", name);
	return NULL;
}

void nic_free(struct nic *nic)
{
	if (!nic)
		return;
	nic_dma_exit(nic);
	nic_tx_free(nic);
	nic_rx_free(nic);
	munmap((void *)nic->regs, NIC_BAR0_SIZE);
	close(nic->regs_fd);
	free(nic);
}

/* Registers, queues and interrupts; what is behind them is the caller's. */
static void reset_core(struct nic *nic, bool power_on)
{
	nic_faults_on_reset(nic);
	nic_rx_reset(nic);
	nic_tx_reset(nic);
	nic_registers_reset(nic, power_on);
	nic->register_writes++;
	nic_irq_reset(nic);

	const uint8_t *mac = nic->mac;
	nic_reg_set(nic, RAL(0), mac[0] | mac[1] << 8 | mac[2] << 16 | (uint32_t)mac[3] << 24);
	nic_reg_set(nic, RAH(0), RAH_AV | mac[4] | mac[5] << 8);
	nic_reg_set(nic, EEC, nic_eec_write(nic, 0));
	nic->rx_arrived = nic->stats.rx_frames + nic->stats.rx_missed;
	nic_link_update(nic);
	/* Whatever the link did meanwhile, there is no interrupt pending after a reset. */
	nic_reg_set(nic, EICR, 0);
}

void nic_reset_device(struct nic *nic)
{
	reset_core(nic, false);
	nic->reset_behind = false;
}

static bool any_queue_enabled(const struct nic *nic)
{
	for (unsigned n = 0; n < NIC_QUEUES; n++)
		if (nic->rxq[n].enabled || nic->txq[n].enabled)
			return true;
	return false;
}

void nic_reset_function(struct nic *nic)
{
	/* Another hand than the driver's may do this, and the driver rings on until it finds out. */
	nic->reset_behind |= any_queue_enabled(nic);
	nic_config_reset(nic);
	nic_msix_reset(nic);
	nic_sfp_init(nic);
	reset_core(nic, true);
	if (nic->frontend.was_reset)
		nic->frontend.was_reset(nic->frontend.context);
}

void nic_client_gone(struct nic *nic)
{
	nic_dma_unmap_all(nic);
	nic->pages_mapped = false;
	int err = share_pages(nic);
	if (err)
		fprintf(stderr, "ixy-softnic: %s: the last client may still write to the doorbells: %s\n",
			nic->name, strerror(-err));
	/* The card stays in its slot and under power: the pins hold their levels, so a laser that is off stays off. */
	uint32_t pins = nic_reg(nic, ESDP);
	nic_reset_function(nic);
	nic->reset_behind = false;
	nic_reg_set(nic, ESDP, pins);
	nic_link_update(nic);
}

/* Most queues are never touched, and a scan is done at each turn of the loop. */
static inline bool rx_asleep(const struct nic *nic, unsigned n)
{
	const struct rx_queue *q = &nic->rxq[n];
	return !(nic_reg(nic, RDT(n)) | nic_reg(nic, RXDCTL(n)) | q->enabled | q->idle_tail);
}

static inline bool tx_asleep(const struct nic *nic, unsigned n)
{
	const struct tx_queue *q = &nic->txq[n];
	return !(nic_reg(nic, TDT(n)) | nic_reg(nic, TXDCTL(n)) | q->enabled | q->idle_tail);
}

void nic_scan_mapped(struct nic *nic)
{
	/* A client that has not noticed yet that the device is gone, or asleep, goes on ringing its doorbells. */
	if (!nic->pages_mapped || nic_fault(nic, NIC_FAULT_REMOVED) || nic_asleep(nic))
		return;
	for (unsigned n = 0; n < NIC_QUEUES; n++) {
		if (!rx_asleep(nic, n))
			nic_rx_queue_update(nic, n);
		if (!tx_asleep(nic, n))
			nic_tx_queue_update(nic, n);
	}
}
