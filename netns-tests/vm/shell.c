/*
 * A guest like those of the tests, for looking around: each line that is typed here runs in it, with the NIC at
 * 0000:00:04.0, or QEMU's own virtio-net at 0000:01:00.0. The cable's other end is p0 in a namespace of the host, whose
 * name and addresses are told. A line that begins with "!" is for QEMU's monitor ("!set_link nic off").
 *
 *	shell [iommu] [virtio[,modern|,legacy|,transitional][,queues=N][,translated][,PROPERTY=VALUE...]] [PARAMETER...]
 *
 * Properties are those of QEMU's virtio-net-pci, parameters the kernel's.
 */
#include <unistd.h>

#include "slot.h"

#define LINE_SECONDS 600

/* Add a word to a list of them. */
static void append_word(char list[512], const char *separator, const char *word)
{
	size_t n = strlen(list);

	snprintf(list + n, 512 - n, "%s%s", n ? separator : "", word);
}

/* What is after "virtio" in that argument, which is taken to pieces. */
static struct slot_nic parse_nic(char *text)
{
	static const char *const kinds[] = {
		[SLOT_MODERN] = "modern", [SLOT_LEGACY] = "legacy", [SLOT_TRANSITIONAL] = "transitional"};
	static char properties[512];
	struct slot_nic nic = {0};

	for (char *word = strtok(text, ","); word; word = strtok(NULL, ",")) {
		bool known = false;

		for (unsigned i = 0; i < 3; i++)
			if (strcmp(word, kinds[i]) == 0) {
				nic.kind = (enum slot_kind)i;
				known = true;
			}
		if (strcmp(word, "translated") == 0)
			nic.translated = true;
		else if (strncmp(word, "queues=", 7) == 0)
			nic.queues = (unsigned)strtoul(word + 7, NULL, 10);
		else if (!known)
			append_word(properties, ",", word);
	}
	nic.properties = properties[0] ? properties : NULL;
	return nic;
}

static void run_line(struct vm *vm, char *line)
{
	int status;

	line[strcspn(line, "\n")] = '\0';
	if (line[0] == '!' && vm->monitor >= 0) {
		fputs(slot_ask(vm, line + 1), stdout);
		return;
	}
	status = vm_run(vm, LINE_SECONDS, "%s", line);
	fputs(vm->output, stdout);
	if (status)
		printf("[%d]\n", status);
}

int main(int argc, char *argv[])
{
	struct vm_options options = {0};
	struct slot_nic nic = {0};
	char append[512] = "", *line = NULL;
	size_t room = 0;
	void *state = NULL;
	struct vm *vm;

	for (int i = 1; i < argc; i++) {
		if (strcmp(argv[i], "iommu") == 0)
			options.iommu = true;
		else if (strcmp(argv[i], "virtio") == 0 || strncmp(argv[i], "virtio,", 7) == 0) {
			options.slot = true;
			nic = parse_nic(argv[i] + strlen("virtio"));
		} else
			append_word(append, " ", argv[i]);
	}
	options.append = append;
	if (!rig_begin())
		return EXIT_FAILURE;
	vm_boot_with(&state, &options);
	alarm(0); /* the rig's limit of a test */
	vm = state;
	if (options.slot)
		slot_plug(vm, &nic);
	printf("In the guest you are root, on the host's files (a copy: write where you like); modprobe %s "
	       "makes eth0,\n%s starts the daemon on %s. The other end of the cable is in the namespace\n"
	       "%s (ip netns exec): %s, %s; the guest's side %s, %s.\n"
	       "Each line is a shell of its own. End it with Ctrl-D.\n",
		options.slot ? "virtio_net" : "ixgbe", rig_program("ixy-tapd"), vm->nic, vm->rig->peer,
		vm->rig->v4_peer, vm->rig->v6_peer, vm->rig->v4_host, vm->rig->v6_host);
	for (;;) {
		printf("guest# ");
		fflush(stdout);
		if (getline(&line, &room, stdin) < 0)
			break;
		run_line(vm, line);
	}
	putchar('\n');
	free(line);
	return vm_group_end(&state) ? EXIT_FAILURE : EXIT_SUCCESS;
}
