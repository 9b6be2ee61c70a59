/*
 * What is the same for every way to reach a PCI function: which spec leads to which, bus mastering, power states,
 * and the slow half of a doorbell.
 */
#include "driver/pci/pci.h"

#include <errno.h>
#include <stdint.h>
#include <string.h>
#include <unistd.h>
#include <linux/pci_regs.h>

#include "driver/clock.h"
#include "driver/pci/sysfs_file.h"
#include "driver/pci/transport.h"

#define D3_DELAY_US 10000 /* from D3hot to D0 (PCI Power Management 1.2, 5.6.1) */

static const struct {
	const char *prefix;
	int (*open)(const char *name, const char *rest, const struct ixy_options *options,
		struct pci_device **pci);
} transports[] = {
	{"vfio-user:", vfio_user_open},
	{"soft:", soft_open},
};

bool pci_spec(const char *spec)
{
	for (size_t i = 0; i < sizeof(transports) / sizeof(transports[0]); i++)
		if (strncmp(spec, transports[i].prefix, strlen(transports[i].prefix)) == 0)
			return true;
	return sysfs_address(spec);
}

/* A function of this host goes to VFIO if that has it already; else we take it ourselves. */
static int open_function(const char *spec, const struct ixy_options *options, struct pci_device **pci)
{
	char address[SYSFS_ADDRESS_SIZE], driver[SYSFS_NAME_SIZE];
	int dir, err;

	sysfs_normalize(spec, address);
	dir = sysfs_open_function(spec, address);
	if (dir < 0)
		return dir;
	err = sysfs_link(dir, "driver", driver, sizeof(driver));
	close(dir);
	if (err == 0 && strcmp(driver, "vfio-pci") == 0)
		return vfio_open(spec, address, options, pci);
	return sysfs_device_open(spec, address, options, pci);
}

int pci_open(const char *spec, const struct ixy_options *options, struct pci_device **pci)
{
	static const struct ixy_options defaults;
	int err = 0;

	*pci = NULL;
	if (!options)
		options = &defaults;
	if (strlen(spec) >= sizeof((*pci)->name))
		return ixy_fail(EINVAL, "device spec is longer than %zu bytes", sizeof((*pci)->name) - 1);
	if (sysfs_address(spec)) {
		err = open_function(spec, options, pci);
	} else {
		size_t i = 0, count = sizeof(transports) / sizeof(transports[0]);

		while (i < count && strncmp(spec, transports[i].prefix, strlen(transports[i].prefix)) != 0)
			i++;
		if (i == count)
			return ixy_fail(EINVAL,
				"%s: not a device spec; known are 0000:03:00.0, soft:IFNAME and "
				"vfio-user:PATH",
				spec);
		err = transports[i].open(spec, spec + strlen(transports[i].prefix), options, pci);
	}
	if (err)
		return err;
	(*pci)->reserve_huge_pages = options->reserve_huge_pages;
	return 0;
}

void pci_close(struct pci_device *pci)
{
	struct ixy_error error;

	if (!pci)
		return;
	ixy_error_save(&error);
	/*
	 * In this order: nothing may arrive, neither data nor interrupt, once the memory behind it is freed.
	 */
	pci_bus_master(pci, false);
	if (pci->irq_count > 0)
		pci->ops->irq_set(pci, 0, NULL);
	pci->ops->close(pci);
	ixy_error_restore(&error);
}

/* --- config space -------------------------------------------------------------------------------- */

int transport_config_read(
	struct pci_device *pci, int fd, uint64_t start, uint32_t offset, void *data, uint32_t len)
{
	ssize_t got = pread(fd, data, len, (off_t)(start + offset));
	int error;

	if (got == (ssize_t)len)
		return 0;
	error = got < 0 ? errno : EIO;
	memset(data, 0xff, len);
	return ixy_fail(
		error, "%s: cannot read config space at 0x%x: %s", pci->name, offset, strerror(error));
}

int transport_config_write(
	struct pci_device *pci, int fd, uint64_t start, uint32_t offset, const void *data, uint32_t len)
{
	ssize_t sent = pwrite(fd, data, len, (off_t)(start + offset));
	int error;

	if (sent == (ssize_t)len)
		return 0;
	error = sent < 0 ? errno : EIO;
	return ixy_fail(
		error, "%s: cannot write config space at 0x%x: %s", pci->name, offset, strerror(error));
}

static int read_word(struct pci_device *pci, uint32_t offset, uint16_t *value)
{
	uint8_t raw[2];
	int err = pci->ops->config_read(pci, offset, raw, sizeof(raw));

	*value = (uint16_t)(raw[0] | raw[1] << 8);
	return err;
}

static int write_word(struct pci_device *pci, uint32_t offset, uint16_t value)
{
	const uint8_t raw[2] = {(uint8_t)value, (uint8_t)(value >> 8)};

	return pci->ops->config_write(pci, offset, raw, sizeof(raw));
}

uint32_t pci_find_capability(struct pci_device *pci, uint8_t id, uint32_t after)
{
	uint16_t word;

	if (read_word(pci, PCI_STATUS, &word) || !(word & PCI_STATUS_CAP_LIST) ||
		read_word(pci, PCI_CAPABILITY_LIST, &word))
		return 0;
	/* 48 fit into 256 bytes, whatever the device links together. */
	for (unsigned i = 0; i < 48; i++) {
		uint32_t offset = word & 0xfc;

		if (offset < PCI_STD_HEADER_SIZEOF || read_word(pci, offset, &word))
			return 0;
		if ((word & 0xff) == id && after == 0)
			return offset;
		if (offset == after)
			after = 0;
		word >>= 8;
	}
	return 0;
}

/* What the command register must have for the BARs that are in use to answer. */
static uint16_t decoding(const struct pci_device *pci)
{
	uint16_t bits = PCI_COMMAND_MEMORY;

	for (unsigned i = 0; i < PCI_BARS; i++)
		if (pci->bars[i].size && pci->bars[i].io)
			bits |= PCI_COMMAND_IO;
	return bits;
}

int pci_bus_master(struct pci_device *pci, bool on)
{
	uint16_t command;
	int err = read_word(pci, PCI_COMMAND, &command);

	if (err)
		return ixy_fail_context(err, "PCI command register");
	if (on)
		command |= PCI_COMMAND_MASTER | decoding(pci);
	else
		command &= (uint16_t)~PCI_COMMAND_MASTER;
	err = write_word(pci, PCI_COMMAND, command);
	return err ? ixy_fail_context(err, "PCI command register") : 0;
}

int pci_intx_off(struct pci_device *pci)
{
	uint16_t command;
	int err = read_word(pci, PCI_COMMAND, &command);

	if (!err)
		err = write_word(pci, PCI_COMMAND, command | PCI_COMMAND_INTX_DISABLE);
	return err ? ixy_fail_context(err, "PCI command register") : 0;
}

bool pci_has_vectors(const struct pci_device *pci, const struct ixy_options *options)
{
	if (options->no_interrupts)
		return false;
	if (pci->irq_count > options->rx_queues)
		return true;
	if (pci->irq_count > 0) /* where there are none at all, that is how the transport is */
		ixy_log(IXY_LOG_INFO, "%s: %u interrupt vectors where %u are needed: the queues are polled",
			pci->name, pci->irq_count, options->rx_queues + 1u);
	return false;
}

/* --- power --------------------------------------------------------------------------------------- */

/* 1 if the function was in another power state than D0 and is in D0 now, 0 if it was there. */
static int power_up(struct pci_device *pci)
{
	uint32_t pm = pci_find_capability(pci, PCI_CAP_ID_PM, 0);
	uint16_t control;
	int err;

	if (!pm)
		return 0;
	err = read_word(pci, pm + PCI_PM_CTRL, &control);
	if (err || (control & PCI_PM_CTRL_STATE_MASK) == 0)
		return err;
	/* A set PME_STATUS would be cleared by writing it back. */
	err = write_word(pci, pm + PCI_PM_CTRL,
		control & (uint16_t) ~(PCI_PM_CTRL_STATE_MASK | PCI_PM_CTRL_PME_STATUS));
	if (err)
		return err;
	sleep_us(D3_DELAY_US);
	err = read_word(pci, pm + PCI_PM_CTRL, &control);
	/* A kernel that thinks it is in D0 does not pass such a write on (vfio-pci). A reset it does. */
	if (!err && control & PCI_PM_CTRL_STATE_MASK && pci->ops->reset) {
		err = pci->ops->reset(pci);
		if (!err)
			err = read_word(pci, pm + PCI_PM_CTRL, &control);
	}
	if (err)
		return err;
	if (control & PCI_PM_CTRL_STATE_MASK)
		return ixy_fail(EIO, "%s: it does not leave power state D%u", pci->name,
			control & PCI_PM_CTRL_STATE_MASK);
	return 1;
}

void pci_remember(struct pci_device *pci)
{
	int err = 0;

	for (uint32_t i = 0; i < PCI_BARS && !err; i++)
		err = pci->ops->config_read(
			pci, PCI_BASE_ADDRESS_0 + 4 * i, pci->addresses[i], sizeof(pci->addresses[i]));
	pci->remembered = !err; /* what was not read must not be written back */
}

/* 1 if the function had lost the addresses of its BARs, as it may in D3 or by a reset. */
static int restore_bars(struct pci_device *pci)
{
	int restored = 0;

	for (uint32_t i = 0; i < PCI_BARS && pci->remembered; i++) {
		uint8_t now[4];
		int err = pci->ops->config_read(pci, PCI_BASE_ADDRESS_0 + 4 * i, now, sizeof(now));

		if (!err && memcmp(now, pci->addresses[i], sizeof(now)) != 0) {
			restored = 1;
			err = pci->ops->config_write(pci, PCI_BASE_ADDRESS_0 + 4 * i, pci->addresses[i],
				sizeof(pci->addresses[i]));
		}
		if (err)
			return err;
	}
	return restored;
}

int pci_revive(struct pci_device *pci)
{
	uint16_t vendor, command;
	int woken, restored, err = read_word(pci, PCI_VENDOR_ID, &vendor);

	if (err || vendor == UINT16_MAX)
		return ixy_fail(ENODEV, "%s: the device was removed, or is without power", pci->name);
	woken = power_up(pci);
	if (woken < 0)
		return woken;
	restored = restore_bars(pci);
	if (restored < 0)
		return restored;
	err = read_word(pci, PCI_COMMAND, &command);
	if (!err && ~command & decoding(pci)) {
		restored = 1;
		err = write_word(pci, PCI_COMMAND, command | decoding(pci));
	}
	if (err)
		return err;
	if (woken)
		ixy_log(IXY_LOG_WARNING, "%s: it was put to sleep (power state D3); woken", pci->name);
	else if (restored)
		ixy_log(IXY_LOG_WARNING, "%s: its BARs had been switched off; they are on again", pci->name);
	return woken || restored;
}

int pci_look_after_silent(struct pci_device *pci, bool (*silent)(void *arg), void *arg)
{
	int mended = -ENODEV;

	for (unsigned i = 0; i < 5 && !pci_removed(pci); i++) {
		mended = pci_revive(pci);
		if (mended > 0)
			return 1;
		sleep_us(3000);
		if (!silent(arg))
			return 0;
	}
	if (mended != 0 || pci_removed(pci))
		return -ENODEV;
	/* Configuration space finds nothing wrong: a reset will show. */
	ixy_log(IXY_LOG_WARNING, "%s: registers read all-ones", pci->name);
	return 1;
}

/* --- doorbells ----------------------------------------------------------------------------------- */

void pci_doorbell_init(struct pci_device *pci, uint32_t offset, struct pci_doorbell *doorbell)
{
	volatile uint8_t *virt = pci->bars[0].virt;

	if (pci->doorbell_init) {
		pci->doorbell_init(pci, offset, doorbell);
		return;
	}
	*doorbell = (struct pci_doorbell){
		.reg = virt ? (volatile uint32_t *)(virt + offset) : NULL,
		.eventfd = -1,
		.offset = offset,
		.pci = pci,
	};
}

void pci_doorbell_kick(struct pci_doorbell *doorbell, uint32_t value)
{
	const uint64_t one = 1;

	if (!doorbell->reg) {
		pci_write32(doorbell->pci, doorbell->offset, value);
		return;
	}
	/*
	 * The device sets *wanted, then looks at the doorbells once more; here the doorbell is stored, then
	 * *wanted is looked at. With a full barrier in between on both sides at least one sees the other.
	 */
	__atomic_thread_fence(__ATOMIC_SEQ_CST);
	if (!*doorbell->wanted)
		return;
	/* Full (EAGAIN) means that a wake-up is pending already; nothing else can fail on an eventfd. */
	if (write(doorbell->eventfd, &one, sizeof(one)) < 0)
		return;
}
