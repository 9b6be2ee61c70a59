/*
 * XDP programs that a user brings in an object file, and what the errors say when the file is not as expected.
 */
#include "xsk_program_rig.h"

static char folder[] = "/tmp/ixytest-xsk-XXXXXX";

/* Compile the user's program; returns the object file's path, constant until the next call. */
static const char *compiled(const char *options)
{
	static char path[64];
	/* asm/types.h is below the multiarch folder on Debian. */
	static const char *const command = "clang -O2 -g -target bpf -I/usr/include/$(uname -m)-linux-gnu %s "
					   "-c netns-tests/unit/user_program.bpf.c -o %s";

	snprintf(path, sizeof(path), "%s/program.o", folder);
	assert_true(shell(command, options, path));
	return path;
}

static void a_program_from_an_object_file_brings_frames(void **state)
{
	struct xsk_program_config config = {.object = compiled(""),
		.program = "count_and_redirect",
		.map = "my_sockets",
		.queue_map = "my_enabled"};
	struct xsk_program *program = loaded(&config);
	struct end to = open_end("x0", 1), from = open_end("x1", 1);
	uint32_t queue = 1, zero = 0, enabled = 7;
	uint64_t count = 0;

	(void)state;
	/* As many as the smaller of its maps holds. */
	assert_int_equal(xsk_program_queues(program), 4);
	ok(xsk_program_attach(program, "x0", XSK_ATTACH_NATIVE));
	ok(xsk_program_register(program, queue, xsk_socket_fd(to.socket)));
	send_from(&from);
	assert_true(arrives(&to));
	assert_int_equal(bpf_map_lookup_elem(xsk_program_map(program, "my_count"), &zero, &count), 0);
	assert_true(count >= 1);
	assert_int_equal(bpf_map_lookup_elem(xsk_program_map(program, "my_enabled"), &queue, &enabled), 0);
	assert_int_equal(enabled, 1);
	ok(xsk_program_unregister(program, queue));
	assert_int_equal(bpf_map_lookup_elem(xsk_program_map(program, "my_enabled"), &queue, &enabled), 0);
	assert_int_equal(enabled, 0);

	assert_int_equal(xsk_program_map(program, "nothing"), -ENOENT);
	says("my_sockets");
	says("my_enabled");
	says("my_count");
	close_end(&to);
	close_end(&from);
	xsk_program_free(program);
	assert_int_equal(program_on("x0"), 0);
}

static void the_size_of_a_users_maps_can_be_set(void **state)
{
	struct xsk_program_config config = {.object = compiled(""),
		.program = "count_and_redirect",
		.queue_map = "my_enabled",
		.queues = 100};
	struct xsk_program *program = loaded(&config);

	(void)state;
	assert_int_equal(xsk_program_queues(program), 100);
	xsk_program_free(program);
}

static void wrong_names_are_answered_with_those_that_there_are(void **state)
{
	struct xsk_program_config config = {.object = compiled(""), .program = "no_such_program"};
	struct xsk_program *program;

	(void)state;
	assert_int_equal(xsk_program_load(&config, &program), -ENOENT);
	assert_null(program);
	says("no XDP program no_such_program");
	says("count_and_redirect, drop_all");

	config.program = NULL;
	assert_int_equal(xsk_program_load(&config, &program), -ENOENT);
	says("several XDP programs");

	config.program = "count_and_redirect";
	config.map = "xsks_map";
	assert_int_equal(xsk_program_load(&config, &program), -ENOENT);
	says("no map xsks_map of type xskmap; it has my_sockets");

	config.map = NULL;
	config.queue_map = "my_sockets";
	assert_int_equal(xsk_program_load(&config, &program), -ENOENT);
	says("no map my_sockets of type array; it has ");
	says("my_enabled");
	says("my_count");

	config.queue_map = "my_count"; /* values of 8 bytes */
	assert_int_equal(xsk_program_load(&config, &program), -EINVAL);
	says("8 bytes");

	config.object = compiled("-DTWO_MAPS");
	config.queue_map = NULL;
	assert_int_equal(xsk_program_load(&config, &program), -ENOENT);
	says("my_sockets");
	says("more_sockets");
}

static void what_is_no_object_file_is_refused(void **state)
{
	struct xsk_program_config config = {.object = "/nonexistent/program.o"};
	struct xsk_filter filter = {0x800, 0};
	struct xsk_program *program;

	(void)state;
	assert_int_equal(xsk_program_load(&config, &program), -ENOENT);
	says("/nonexistent/program.o: No such file");
	config.object = "/etc/passwd";
	assert_int_equal(xsk_program_load(&config, &program), -EINVAL);
	says("/etc/passwd is no eBPF object file");
	config.object = "/proc/self/exe";
	assert_true(xsk_program_load(&config, &program) < 0);
	config.filters = &filter;
	config.filter_count = 1;
	assert_int_equal(xsk_program_load(&config, &program), -EINVAL);
	says("filters are the built-in");
}

static void the_verifiers_reason_is_in_the_error(void **state)
{
	struct xsk_program_config config = {.object = compiled("-DBROKEN"), .program = "count_and_redirect"};
	struct xsk_program *program;

	(void)state;
	assert_int_equal(xsk_program_load(&config, &program), -EACCES);
	says("the kernel's verifier refuses");
	says("outside of the packet");
	assert_null(strstr(ixy_last_error(), "\n"));
	assert_null(strstr(ixy_last_error(), "processed"));
}

static unsigned printed;

__attribute__((format(printf, 2, 0))) static int count_print(
	enum libbpf_print_level level, const char *format, va_list args)
{
	(void)level;
	(void)format;
	(void)args;
	printed++;
	return 0;
}

static void libbpf_prints_for_its_other_users_only(void **state)
{
	struct xsk_program_config config = {.object = compiled("-DBROKEN"), .program = "count_and_redirect"};
	libbpf_print_fn_t before = libbpf_set_print(count_print);
	struct xsk_program *program;

	(void)state;
	printed = 0;
	assert_int_equal(xsk_program_load(&config, &program), -EACCES);
	assert_int_equal(printed, 0);
	assert_null(bpf_object__open_file("/etc/passwd", NULL));
	assert_true(printed > 0);
	assert_ptr_equal(libbpf_set_print(before), count_print);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		PROGRAM_TEST(a_program_from_an_object_file_brings_frames),
		PROGRAM_TEST(the_size_of_a_users_maps_can_be_set),
		PROGRAM_TEST(wrong_names_are_answered_with_those_that_there_are),
		PROGRAM_TEST(what_is_no_object_file_is_refused),
		PROGRAM_TEST(the_verifiers_reason_is_in_the_error),
		PROGRAM_TEST(libbpf_prints_for_its_other_users_only),
	};
	int failed;

	if (!own_netns() || !mkdtemp(folder)) {
		fprintf(stderr, "these tests need root (network namespaces, eBPF)\n");
		return EXIT_FAILURE;
	}
	failed = cmocka_run_group_tests_name("XDP program from a file", tests, NULL, NULL);
	shell("rm -rf %s", folder);
	return failed;
}
