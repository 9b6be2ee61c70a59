/*
 * XDP programs and everybody else: what a process leaves on an interface, what the errors say of a program that is
 * there already, and of missing permissions.
 */
#include "xsk_program_rig.h"

#include <linux/capability.h>
#include <signal.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>

static char folder[] = "/tmp/ixytest-xsk-XXXXXX";

/* --- what is left behind, and who is there already ------------------------------------------------------ */

/* A child that does something, tells us so, and waits for its end. */
static pid_t child_with(void (*action)(void))
{
	int ready[2];
	char byte;
	pid_t pid;

	assert_int_equal(pipe(ready), 0);
	pid = fork();
	assert_true(pid >= 0);
	if (!pid) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		action();
		if (write(ready[1], "", 1) == 1)
			pause();
		_exit(1);
	}
	assert_int_equal(read(ready[0], &byte, 1), 1);
	close(ready[0]);
	close(ready[1]);
	return pid;
}

static void kill_and_reap(pid_t pid)
{
	int status;

	assert_int_equal(kill(pid, SIGKILL), 0);
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_true(WIFSIGNALED(status));
}

static void attach_here(void)
{
	struct xsk_program *program;

	if (xsk_program_load(NULL, &program) < 0 || xsk_program_attach(program, "x0", XSK_ATTACH_NATIVE) < 0)
		_exit(1);
}

static void a_killed_process_leaves_no_program(void **state)
{
	pid_t child = child_with(attach_here);

	(void)state;
	assert_int_not_equal(program_on("x0"), 0);
	kill_and_reap(child);
	assert_int_equal(program_on("x0"), 0);
}

static void a_program_held_by_a_process_is_named_with_it(void **state)
{
	pid_t child = child_with(attach_here);
	struct xsk_program *program = loaded(NULL);
	char text[64];

	(void)state;
	for (enum xsk_attach mode = XSK_ATTACH_AUTO; mode <= XSK_ATTACH_GENERIC; mode++) {
		assert_int_equal(xsk_program_attach(program, "x0", mode), -EBUSY);
		snprintf(text, sizeof(text), "x0 has another XDP program (id %u)", program_on("x0"));
		says(text);
		snprintf(text, sizeof(text), "held by process %d (test_xsk_attach)", (int)child);
		says(text);
	}
	kill_and_reap(child);
	ok(xsk_program_attach(program, "x0", XSK_ATTACH_NATIVE));
	xsk_program_free(program);
}

static void a_program_of_this_process_is_called_so(void **state)
{
	struct xsk_program *first = loaded(NULL), *second = loaded(NULL);

	(void)state;
	ok(xsk_program_attach(first, "x0", XSK_ATTACH_GENERIC));
	assert_int_equal(xsk_program_attach(second, "x0", XSK_ATTACH_AUTO), -EBUSY);
	says("this very process");
	xsk_program_free(first);
	ok(xsk_program_attach(second, "x0", XSK_ATTACH_AUTO));
	xsk_program_free(second);
}

/* As `ip link set x0 xdp obj ...` and libxdp do: it stays until somebody takes it off. The error says how. */
static void the_command_in_the_error_removes_a_left_over_program(void **state)
{
	static const uint32_t modes[] = {XDP_FLAGS_DRV_MODE, XDP_FLAGS_SKB_MODE};
	struct xsk_program *program = loaded(NULL);
	int fd = bpf_prog_get_fd_by_id(xsk_program_id(program));

	(void)state;
	for (size_t i = 0; i < 2; i++) {
		const char *command;

		assert_int_equal(bpf_xdp_attach((int)if_nametoindex("x0"), fd, modes[i], NULL), 0);
		assert_int_equal(xsk_program_attach(program, "x0", XSK_ATTACH_AUTO), -EBUSY);
		says("x0 has another XDP program (id ");
		command = strstr(ixy_last_error(), "ip link set dev x0 ");
		assert_non_null(command);
		assert_true(shell("%s", command));
		assert_int_equal(program_on("x0"), 0);
		ok(xsk_program_attach(program, "x0", XSK_ATTACH_AUTO));
		xsk_program_detach(program);
	}
	close(fd);
	xsk_program_free(program);
}

static void a_pinned_link_is_named(void **state)
{
	LIBBPF_OPTS(bpf_link_create_opts, options, .flags = XDP_FLAGS_DRV_MODE);
	struct xsk_program *program = loaded(NULL);
	int fd = bpf_prog_get_fd_by_id(xsk_program_id(program)), link;
	struct bpf_link_info info = {0};
	uint32_t size = sizeof(info);
	char path[64], text[64];

	(void)state;
	snprintf(path, sizeof(path), "%s/link", folder);
	assert_int_equal(mount("bpf", folder, "bpf", 0, NULL), 0);
	link = bpf_link_create(fd, (int)if_nametoindex("x0"), BPF_XDP, &options);
	assert_true(link >= 0);
	assert_int_equal(bpf_obj_get_info_by_fd(link, &info, &size), 0);
	assert_int_equal(bpf_obj_pin(link, path), 0);
	close(link);

	assert_int_equal(xsk_program_attach(program, "x0", XSK_ATTACH_AUTO), -EBUSY);
	snprintf(text, sizeof(text), "bpftool link detach id %u", info.id);
	says(text);
	assert_int_equal(unlink(path), 0);
	assert_int_equal(umount(folder), 0);
	close(fd);
	xsk_program_free(program);
}

/* --- permissions ---------------------------------------------------------------------------------------- */

/* In a child that has no capabilities but these: loading gives -EPERM and this text. */
static void assert_refused_with(uint64_t capabilities, const char *text)
{
	int status;
	pid_t pid = fork();

	assert_true(pid >= 0);
	if (!pid) {
		struct __user_cap_header_struct header = {.version = _LINUX_CAPABILITY_VERSION_3};
		struct __user_cap_data_struct data[2] = {
			{.effective = (uint32_t)capabilities, .permitted = (uint32_t)capabilities},
			{.effective = (uint32_t)(capabilities >> 32),
				.permitted = (uint32_t)(capabilities >> 32)}};
		struct xsk_program *program;
		int result;

		if (syscall(SYS_capset, &header, data) < 0)
			_exit(2);
		result = xsk_program_load(NULL, &program);
		if (!result)
			result = xsk_program_attach(program, "x0", XSK_ATTACH_AUTO);
		if (text && (result != -EPERM || !strstr(ixy_last_error(), text)))
			fprintf(stderr, "%d: %s\n", result, ixy_last_error());
		_exit(text ? result != -EPERM || !strstr(ixy_last_error(), text) : result != 0);
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_int_equal(status, 0);
}

static void a_missing_capability_is_named(void **state)
{
	const uint64_t admin = UINT64_C(1) << CAP_NET_ADMIN, bpf = UINT64_C(1) << CAP_BPF,
		       system_admin = UINT64_C(1) << CAP_SYS_ADMIN;

	(void)state;
	assert_refused_with(0, "CAP_NET_ADMIN, CAP_BPF are missing");
	assert_refused_with(bpf, "CAP_NET_ADMIN is missing");
	assert_refused_with(admin, "CAP_BPF is missing");
	assert_refused_with(admin | bpf, NULL);
	assert_refused_with(admin | system_admin, NULL);
	assert_int_equal(program_on("x0"), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		PROGRAM_TEST(a_killed_process_leaves_no_program),
		PROGRAM_TEST(a_program_held_by_a_process_is_named_with_it),
		PROGRAM_TEST(a_program_of_this_process_is_called_so),
		PROGRAM_TEST(the_command_in_the_error_removes_a_left_over_program),
		PROGRAM_TEST(a_pinned_link_is_named),
		PROGRAM_TEST(a_missing_capability_is_named),
	};
	int failed;

	/* A mount namespace too: for the bpf file system of one test. */
	if (!own_netns() || unshare(CLONE_NEWNS) < 0 ||
		mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0 || !mkdtemp(folder)) {
		fprintf(stderr, "these tests need root (network namespaces, eBPF)\n");
		return EXIT_FAILURE;
	}
	failed = cmocka_run_group_tests_name("XDP programs of others", tests, NULL, NULL);
	rmdir(folder);
	return failed;
}
