/*
 * What is the same for every way to reach a PCI function: which spec leads to which, bus mastering, and the
 * slow half of a doorbell.
 */
#include "driver/pci/pci.h"

#include <errno.h>
#include <string.h>
#include <unistd.h>
#include <linux/pci_regs.h>

#include "driver/pci/transport.h"

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
		err = sysfs_open(spec, spec, options, pci);
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

int pci_bus_master(struct pci_device *pci, bool on)
{
	uint8_t raw[2];
	uint16_t command;
	int err = pci->ops->config_read(pci, PCI_COMMAND, raw, sizeof(raw));

	if (err)
		return ixy_fail_context(err, "PCI command register");
	command = (uint16_t)(raw[0] | raw[1] << 8);
	if (on)
		command |= PCI_COMMAND_MASTER | PCI_COMMAND_MEMORY;
	else
		command &= (uint16_t)~PCI_COMMAND_MASTER;
	raw[0] = (uint8_t)command;
	raw[1] = (uint8_t)(command >> 8);
	err = pci->ops->config_write(pci, PCI_COMMAND, raw, sizeof(raw));
	return err ? ixy_fail_context(err, "PCI command register") : 0;
}

void pci_doorbell_kick(struct pci_doorbell *doorbell, uint32_t value)
{
	const uint64_t one = 1;

	if (!doorbell->reg) {
		doorbell->pci->ops->write32(doorbell->pci, doorbell->offset, value);
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
