/*
 * A guest like those of the tests, for looking around: each line that is typed here runs in it, with the NIC at
 * 0000:00:04.0. The cable's other end is p0 in a namespace of the host, whose name and addresses are told.
 *
 *	shell [iommu] [kernel parameters...]
 */
#include <unistd.h>

#include "vm.h"

#define LINE_SECONDS 600

int main(int argc, char *argv[])
{
	struct vm_options options = {0};
	char append[512] = "", *line = NULL;
	size_t room = 0;
	void *state = NULL;
	struct vm *vm;

	for (int i = 1; i < argc; i++) {
		if (strcmp(argv[i], "iommu") == 0)
			options.iommu = true;
		else
			snprintf(append + strlen(append), sizeof(append) - strlen(append), "%s ", argv[i]);
	}
	options.append = append;
	if (!rig_begin())
		return EXIT_FAILURE;
	vm_boot_with(&state, &options);
	alarm(0); /* the rig's limit of a test */
	vm = state;
	printf("In the guest you are root, on the host's files (a copy: write where you like); modprobe "
	       "ixgbe makes "
	       "eth0,\n%s starts the daemon on " VM_NIC ". The other end of the cable is in the namespace\n"
	       "%s (ip netns exec): %s, %s; the guest's side %s, %s.\n"
	       "Each line is a shell of its own. End it with Ctrl-D.\n",
		rig_program("ixy-tapd"), vm->rig->peer, vm->rig->v4_peer, vm->rig->v6_peer, vm->rig->v4_host,
		vm->rig->v6_host);
	for (;;) {
		int status;

		printf("guest# ");
		fflush(stdout);
		if (getline(&line, &room, stdin) < 0)
			break;
		status = vm_run(vm, LINE_SECONDS, "%s", line);
		fputs(vm->output, stdout);
		if (status)
			printf("[%d]\n", status);
	}
	putchar('\n');
	free(line);
	return vm_group_end(&state) ? EXIT_FAILURE : EXIT_SUCCESS;
}
