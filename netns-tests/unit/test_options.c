/*
 * The command line: what it becomes, and what a user is told who got it wrong.
 */
#include <stdarg.h>
#include <setjmp.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sysexits.h>
#include <cmocka.h>

#include "bridge/options.h"

static char error[256];

/* Parse "ixy-tapd ARGUMENTS", split at blanks. */
static int parse(const char *arguments, struct options *o)
{
	static char text[512];
	char *argv[64] = {(char *)"ixy-tapd"};
	int argc = 1;

	snprintf(text, sizeof(text), "%s", arguments);
	for (char *word = strtok(text, " "); word; word = strtok(NULL, " ")) {
		assert_in_range(argc, 1, sizeof(argv) / sizeof(argv[0]) - 2);
		argv[argc++] = word;
	}
	argv[argc] = NULL;
	error[0] = '\0';
	return options_parse(argc, argv, o, error, sizeof(error));
}

static void a_device_and_a_name_are_enough(void **state)
{
	struct options o;

	(void)state;
	assert_int_equal(parse("soft:veth1 ixy0", &o), 0);
	assert_string_equal(o.device, "soft:veth1");
	assert_string_equal(o.ifname, "ixy0");
	assert_int_equal(o.queues, 1);
	assert_int_equal(o.mtu, 0);
	assert_int_equal(o.ring, 0);
	assert_int_equal(o.idle_usecs, 200);
	assert_int_equal(o.rx_usecs, 800);
	assert_int_equal(o.tx_usecs, 800);
	assert_int_equal(o.cpu_count, 0);
	assert_int_equal(o.multicast, MULTICAST_ALL);
	assert_int_equal(o.iova, IXY_IOVA_AUTO);
	assert_int_equal(o.kernel, KERNEL_TAP);
	assert_int_equal(o.log_level, IXY_LOG_INFO);
	assert_null(o.netns);
	assert_false(o.no_offload || o.has_mac || o.persist || o.has_owner || o.has_group || o.poll ||
		     o.force || o.reserve_huge_pages || o.json || o.help || o.version);
}

static void every_option_arrives(void **state)
{
	static const uint8_t mac[] = {0x02, 0x00, 0x5e, 0xaB, 0xcd, 0xef};
	struct options o;

	(void)state;
	assert_int_equal(
		parse("--queues 16 --mtu=9000 --mac 02:00:5e:aB:CD:ef --netns blue --persist --owner root "
		      "--group 0 --poll --idle-usecs 0 --rx-usecs 0 --tx-usecs 70 --cpu 3,0-1 --multicast "
		      "list --ring 4096 "
		      "--no-offload "
		      "--force --iova va --kernel vhost "
		      "--reserve-hugepages --json --log-level debug 0000:03:00.0 ixy1",
			&o),
		0);
	assert_int_equal(o.queues, 16);
	assert_int_equal(o.mtu, 9000);
	assert_true(o.has_mac);
	assert_memory_equal(o.mac.addr, mac, 6);
	assert_string_equal(o.netns, "blue");
	assert_true(o.has_owner && o.owner == 0);
	assert_true(o.has_group && o.group == 0);
	assert_int_equal(o.idle_usecs, 0);
	assert_int_equal(o.rx_usecs, 0);
	assert_int_equal(o.tx_usecs, 70);
	assert_int_equal(o.cpu_count, 3);
	assert_int_equal(o.cpus[0], 3);
	assert_int_equal(o.cpus[1], 0);
	assert_int_equal(o.cpus[2], 1);
	assert_int_equal(o.multicast, MULTICAST_LIST);
	assert_int_equal(o.ring, 4096);
	assert_int_equal(o.log_level, IXY_LOG_DEBUG);
	assert_int_equal(o.iova, IXY_IOVA_VA);
	assert_int_equal(o.kernel, KERNEL_VHOST);
	assert_true(o.no_offload && o.persist && o.poll && o.force && o.reserve_huge_pages && o.json);
	assert_int_equal(parse("--kernel auto a b", &o), 0);
	assert_int_equal(o.kernel, KERNEL_AUTO);
	assert_int_equal(parse("--kernel tap a b", &o), 0);
	assert_int_equal(o.kernel, KERNEL_TAP);
}

static void help_and_version_need_nothing_else(void **state)
{
	struct options o;

	(void)state;
	assert_int_equal(parse("--help", &o), 0);
	assert_true(o.help);
	assert_int_equal(parse("--version --nonsense", &o), 0);
	assert_true(o.version);
}

static void what_is_wrong_is_named_with_its_exit_code(void **state)
{
	static const struct {
		const char *arguments;
		int code;
		const char *named;
	} wrong[] = {
		{"", EXIT_USAGE, "a device and an interface name"},
		{"soft:veth1", EXIT_USAGE, "a device and an interface name"},
		{"soft:veth1 ixy0 ixy1", EXIT_USAGE, "a device and an interface name"},
		{"--nonsense a b", EXIT_USAGE, "--nonsense"},
		{"-xy a b", EXIT_USAGE, "-x: no such"},
		{"--mtu", EXIT_USAGE, "--mtu"},
		{"--queues 0 a b", EXIT_USAGE, "1 to 16"},
		{"--queues 17 a b", EXIT_USAGE, "--queues 17"},
		{"--queues -1 a b", EXIT_USAGE, "--queues -1"},
		{"--queues +1 a b", EXIT_USAGE, "--queues +1"},
		{"--queues 2x a b", EXIT_USAGE, "--queues 2x"},
		{"--queues 99999999999999999999999 a b", EXIT_USAGE, "--queues 9999"},
		{"--mtu 67 a b", EXIT_USAGE, "--mtu 67"},
		{"--mtu 65536 a b", EXIT_USAGE, "--mtu 65536"},
		{"--mac 02:00:00:00:00 a b", EXIT_USAGE, "--mac 02:00:00:00:00:"},
		{"--mac 2:0:0:0:0:1 a b", EXIT_USAGE, "--mac 2:"},
		{"--mac 02:00:00:00:00:01: a b", EXIT_USAGE, "--mac"},
		{"--mac 02:00:00:00:00:0g a b", EXIT_USAGE, "--mac"},
		{"--mac 01:00:5e:00:00:01 a b", EXIT_USAGE, "multicast"},
		{"--mac 00:00:00:00:00:00 a b", EXIT_USAGE, "zero"},
		{"--owner no-such-user-here a b", EX_CONFIG, "no-such-user-here"},
		{"--group no-such-group-here a b", EX_CONFIG, "no-such-group-here"},
		{"--owner 4294967295 a b", EX_CONFIG, "4294967295"}, /* (uid_t)-1 means none */
		{"--idle-usecs 1000001 a b", EXIT_USAGE, "--idle-usecs"},
		{"--rx-usecs 1001 a b", EXIT_USAGE, "--rx-usecs"},
		{"--tx-usecs -1 a b", EXIT_USAGE, "--tx-usecs"},
		{"--cpu 1- a b", EXIT_USAGE, "--cpu 1-"},
		{"--cpu 3-1 a b", EXIT_USAGE, "--cpu 3-1"},
		{"--cpu 1,,2 a b", EXIT_USAGE, "--cpu 1,,2"},
		{"--cpu 1, a b", EXIT_USAGE, "--cpu 1,"},
		{"--cpu 0-8191 a b", EXIT_USAGE, "--cpu 0-8191"},
		{"--cpu 0-63,64 a b", EXIT_USAGE, "at most 64"},
		{"--multicast some a b", EXIT_USAGE, "--multicast some"},
		{"--iova dma a b", EXIT_USAGE, "--iova dma"},
		{"--kernel vhost-net a b", EXIT_USAGE, "--kernel vhost-net"},
		{"--ring 100 a b", EXIT_USAGE, "power of two"},
		{"--ring 32 a b", EXIT_USAGE, "64 to 4096"},
		{"--ring 8192 a b", EXIT_USAGE, "64 to 4096"},
		{"--log-level loud a b", EXIT_USAGE, "--log-level loud"},
		{"--json=yes a b", EXIT_USAGE, "--json=yes"},
	};
	struct options o;

	(void)state;
	for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++) {
		int code = parse(wrong[i].arguments, &o);

		if (code != wrong[i].code || !strstr(error, wrong[i].named) || strchr(error, '\n'))
			fail_msg("'%s': code %d, text '%s'", wrong[i].arguments, code, error);
	}
}

static void a_full_cpu_list_fits(void **state)
{
	struct options o;

	(void)state;
	assert_int_equal(parse("--cpu 0-62,8191 a b", &o), 0);
	assert_int_equal(o.cpu_count, OPTIONS_MAX_CPUS);
	assert_int_equal(o.cpus[63], 8191);
}

static void help_names_every_option(void **state)
{
	static const char *const names[] = {"--queues", "--mtu", "--mac", "--netns", "--persist", "--owner",
		"--group", "--poll", "--idle-usecs", "--rx-usecs", "--tx-usecs", "--cpu", "--multicast",
		"--ring", "--no-offload", "--force", "--reserve-hugepages", "--iova", "--kernel", "--json",
		"--log-level", "--version", "--help", "soft:", "vfio-user:", "SIGUSR1"};
	char *text = NULL;
	size_t size = 0;
	FILE *out = open_memstream(&text, &size);

	(void)state;
	options_print_help(out);
	fclose(out);
	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
		assert_non_null(strstr(text, names[i]));
	free(text);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_device_and_a_name_are_enough),
		cmocka_unit_test(every_option_arrives),
		cmocka_unit_test(help_and_version_need_nothing_else),
		cmocka_unit_test(what_is_wrong_is_named_with_its_exit_code),
		cmocka_unit_test(a_full_cpu_list_fits),
		cmocka_unit_test(help_names_every_option),
	};

	return cmocka_run_group_tests_name("options", tests, NULL, NULL);
}
