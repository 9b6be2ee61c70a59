/*
 * The command line, from one table: getopt's list and the help text are made of it.
 */
#include "bridge/options.h"

#include <errno.h>
#include <getopt.h>
#include <grp.h>
#include <limits.h>
#include <pwd.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sysexits.h>

#include "bridge/log.h"

enum option_id {
	OPT_QUEUES = 256, /* above every character, as getopt_long() wants it */
	OPT_MTU,
	OPT_MAC,
	OPT_NETNS,
	OPT_PERSIST,
	OPT_OWNER,
	OPT_GROUP,
	OPT_KERNEL,
	OPT_POLL,
	OPT_IDLE_USECS,
	OPT_RX_USECS,
	OPT_TX_USECS,
	OPT_CPU,
	OPT_MULTICAST,
	OPT_RING,
	OPT_NO_OFFLOAD,
	OPT_FORCE,
	OPT_RESERVE,
	OPT_IOVA,
	OPT_JSON,
	OPT_LOG_LEVEL,
	OPT_VERSION,
	OPT_HELP,
};

static const struct {
	enum option_id id;
	const char *name, *argument, *help;
} table[] = {
	{OPT_QUEUES, "queues", "N", "queue pairs, each with a thread of its own (1-16; default 1)"},
	{OPT_MTU, "mtu", "N", "MTU of interface and NIC (default 1500; later: ip link set mtu)"},
	{OPT_MAC, "mac", "ADDRESS", "MAC address of interface and NIC (default: the NIC's own)"},
	{OPT_NETNS, "netns", "NAME|PATH", "network namespace in which the interface is made"},
	{OPT_PERSIST, "persist", NULL, "keep the interface when the daemon ends, for its next start"},
	{OPT_OWNER, "owner", "USER", "with --persist: who may attach to the interface"},
	{OPT_GROUP, "group", "GROUP", "with --persist: which group may attach to it"},
	{OPT_KERNEL, "kernel", "tap|vhost|auto",
		"frames reach the kernel by system calls (default), by vhost-net, or by that if it is there"},
	{OPT_POLL, "poll", NULL, "never sleep: a core a queue for the lowest latency"},
	{OPT_IDLE_USECS, "idle-usecs", "N", "poll at most so long in vain before sleeping (default 200)"},
	{OPT_RX_USECS, "rx-usecs", "N",
		"let received frames gather so long where nobody answers them (default 800)"},
	{OPT_TX_USECS, "tx-usecs", "N", "the same for frames that the kernel sends (default 800)"},
	{OPT_CPU, "cpu", "LIST", "run the queues' threads on these CPUs, e.g. 2,4-7"},
	{OPT_MULTICAST, "multicast", "all|list",
		"all: the NIC passes all multicast (default); list: only joined groups"},
	{OPT_RING, "ring", "N", "descriptors a ring, a power of two (64-4096; default 512)"},
	{OPT_NO_OFFLOAD, "no-offload", NULL, "no super-frames: every frame its own, checksums complete"},
	{OPT_FORCE, "force", NULL, "take a NIC although it is a live interface of this host"},
	{OPT_RESERVE, "reserve-hugepages", NULL, "reserve the huge pages that are missing"},
	{OPT_IOVA, "iova", "pa|va",
		"addresses for the NIC: physical, or virtual (default: what its way needs)"},
	{OPT_JSON, "json", NULL, "print the counters as JSON"},
	{OPT_LOG_LEVEL, "log-level", "LEVEL", "error, warning, info (default) or debug"},
	{OPT_VERSION, "version", NULL, "print the version"},
	{OPT_HELP, "help", NULL, "print this"},
};

#define OPTION_COUNT (sizeof(table) / sizeof(table[0]))

void options_print_help(FILE *out)
{
	fputs("usage: ixy-tapd [options] DEVICE IFNAME\n"
	      "\n"
	      "Drive the NIC called DEVICE from userspace and make it the Linux interface IFNAME.\n"
	      "\n"
	      "  DEVICE  0000:03:00.0        a PCI function (Intel 82599)\n"
	      "          xdp:eth1            a kernel interface, by AF_XDP; "
	      "xdp:eth1,queues=N,mode=zc|native|generic\n"
	      "          soft:veth1          the software 82599, its cable plugged into veth1\n"
	      "          vfio-user:/run/x    a PCI function that another process serves\n"
	      "\n",
		out);
	for (size_t i = 0; i < OPTION_COUNT; i++) {
		char left[40];

		snprintf(left, sizeof(left), "--%s%s%s", table[i].name, table[i].argument ? " " : "",
			table[i].argument ? table[i].argument : "");
		fprintf(out, "  %-22s %s\n", left, table[i].help);
	}
	fputs("\n"
	      "Signals: SIGUSR1 prints the counters; SIGTERM and SIGINT end the daemon in order.\n"
	      "More in ixy-tapd(8).\n",
		out);
}

/* Where a complaint goes. */
struct complaint {
	char *text;
	size_t size;
};

static int __attribute__((format(printf, 3, 4)))
complain(const struct complaint *c, int code, const char *format, ...)
{
	va_list args;

	va_start(args, format);
	vsnprintf(c->text, c->size, format, args);
	va_end(args);
	return code;
}

/* A decimal number that ends at *end; no sign, no blank, no more digits than fit. */
static bool parse_number(const char *text, const char **end, unsigned long max, unsigned long *value)
{
	char *after;

	if (*text < '0' || *text > '9')
		return false;
	errno = 0;
	*value = strtoul(text, &after, 10);
	*end = after;
	return errno == 0 && *value <= max;
}

static int parse_range(const struct complaint *c, const char *name, const char *text, unsigned long min,
	unsigned long max, unsigned long *value)
{
	const char *end;

	if (!parse_number(text, &end, max, value) || *end || *value < min)
		return complain(
			c, EXIT_USAGE, "--%s %s: a number from %lu to %lu is wanted", name, text, min, max);
	return 0;
}

static int parse_mac(const struct complaint *c, const char *text, struct ixy_mac *mac)
{
	static const struct ixy_mac zero;
	int used = -1;

	sscanf(text, "%2hhx:%2hhx:%2hhx:%2hhx:%2hhx:%2hhx%n", &mac->addr[0], &mac->addr[1], &mac->addr[2],
		&mac->addr[3], &mac->addr[4], &mac->addr[5], &used);
	/* Seventeen characters: sscanf() alone would also take " 1:2:3:4:5:6". */
	if (used != 17 || text[used] || strspn(text, "0123456789abcdefABCDEF:") != 17)
		return complain(c, EXIT_USAGE, "--mac %s: an address like 02:00:5e:10:20:30 is wanted", text);
	if (mac->addr[0] & 1)
		return complain(c, EXIT_USAGE,
			"--mac %s: this is a multicast address; an interface needs a unicast "
			"one (first byte even)",
			text);
	if (memcmp(mac, &zero, sizeof(zero)) == 0)
		return complain(c, EXIT_USAGE, "--mac %s: all zero is not an address", text);
	return 0;
}

/* "2,4-7" */
static int parse_cpus(const struct complaint *c, const char *text, struct options *o)
{
	const char *p = text;

	o->cpu_count = 0;
	for (;;) {
		unsigned long first, last;

		if (!parse_number(p, &p, 8191, &first))
			break;
		last = first;
		if (*p == '-' && !parse_number(p + 1, &p, 8191, &last))
			break;
		if (last < first || last - first >= OPTIONS_MAX_CPUS - o->cpu_count)
			break;
		for (unsigned long cpu = first; cpu <= last; cpu++)
			o->cpus[o->cpu_count++] = (unsigned)cpu;
		if (*p == '\0')
			return 0;
		if (*p++ != ',')
			break;
	}
	return complain(c, EXIT_USAGE, "--cpu %s: a list of at most %d CPUs like 2,4-7 is wanted", text,
		OPTIONS_MAX_CPUS);
}

/* Users and groups come by name or by number. */
static int parse_owner(const struct complaint *c, const char *text, struct options *o)
{
	const struct passwd *user = getpwnam(text);
	const char *end;
	unsigned long id;

	if (user)
		o->owner = user->pw_uid;
	else if (parse_number(text, &end, UINT_MAX - 1, &id) && *end == '\0')
		o->owner = (uid_t)id;
	else
		return complain(
			c, EX_CONFIG, "--owner %s: there is no such user: adduser --system %s", text, text);
	o->has_owner = true;
	return 0;
}

static int parse_group(const struct complaint *c, const char *text, struct options *o)
{
	const struct group *group = getgrnam(text);
	const char *end;
	unsigned long id;

	if (group)
		o->group = group->gr_gid;
	else if (parse_number(text, &end, UINT_MAX - 1, &id) && *end == '\0')
		o->group = (gid_t)id;
	else
		return complain(
			c, EX_CONFIG, "--group %s: there is no such group: addgroup --system %s", text, text);
	o->has_group = true;
	return 0;
}

static int parse_multicast(const struct complaint *c, const char *text, struct options *o)
{
	if (strcmp(text, "all") == 0)
		o->multicast = MULTICAST_ALL;
	else if (strcmp(text, "list") == 0)
		o->multicast = MULTICAST_LIST;
	else
		return complain(c, EXIT_USAGE, "--multicast %s: all or list is wanted", text);
	return 0;
}

static int parse_kernel(const struct complaint *c, const char *text, struct options *o)
{
	if (strcmp(text, "tap") == 0)
		o->kernel = KERNEL_TAP;
	else if (strcmp(text, "vhost") == 0)
		o->kernel = KERNEL_VHOST;
	else if (strcmp(text, "auto") == 0)
		o->kernel = KERNEL_AUTO;
	else
		return complain(c, EXIT_USAGE, "--kernel %s: tap, vhost or auto is wanted", text);
	return 0;
}

static int parse_iova(const struct complaint *c, const char *text, struct options *o)
{
	if (strcmp(text, "pa") == 0)
		o->iova = IXY_IOVA_PA;
	else if (strcmp(text, "va") == 0)
		o->iova = IXY_IOVA_VA;
	else
		return complain(c, EXIT_USAGE, "--iova %s: pa or va is wanted", text);
	return 0;
}

static int parse_ring(const struct complaint *c, const char *text, struct options *o)
{
	unsigned long n;
	int rc = parse_range(c, "ring", text, 64, 4096, &n);

	if (rc == 0 && (n & (n - 1)))
		rc = complain(c, EXIT_USAGE, "--ring %s: a power of two is wanted", text);
	if (rc == 0)
		o->ring = (uint16_t)n;
	return rc;
}

static int parse_option(const struct complaint *c, int id, const char *text, struct options *o)
{
	unsigned long n = 0;
	int rc = 0;

	switch ((enum option_id)id) {
	case OPT_QUEUES:
		rc = parse_range(c, "queues", text, 1, IXY_MAX_QUEUES, &n);
		o->queues = (uint16_t)n;
		break;
	case OPT_MTU:
		rc = parse_range(c, "mtu", text, IXY_MIN_MTU, UINT16_MAX, &n);
		o->mtu = (uint16_t)n;
		break;
	case OPT_IDLE_USECS:
		rc = parse_range(c, "idle-usecs", text, 0, 1000000, &n);
		o->idle_usecs = (uint32_t)n;
		break;
	case OPT_RX_USECS:
		rc = parse_range(c, "rx-usecs", text, 0, 1000, &n);
		o->rx_usecs = (uint32_t)n;
		break;
	case OPT_TX_USECS:
		rc = parse_range(c, "tx-usecs", text, 0, 1000, &n);
		o->tx_usecs = (uint32_t)n;
		break;
	case OPT_MAC:
		rc = parse_mac(c, text, &o->mac);
		o->has_mac = true;
		break;
	case OPT_LOG_LEVEL:
		if (!log_level_parse(text, &o->log_level))
			rc = complain(c, EXIT_USAGE,
				"--log-level %s: error, warning, info or debug is wanted", text);
		break;
	case OPT_NETNS:
		o->netns = text;
		if (!*text)
			rc = complain(c, EXIT_USAGE, "--netns: a namespace's name or path is wanted");
		break;
	case OPT_OWNER: rc = parse_owner(c, text, o); break;
	case OPT_GROUP: rc = parse_group(c, text, o); break;
	case OPT_CPU: rc = parse_cpus(c, text, o); break;
	case OPT_MULTICAST: rc = parse_multicast(c, text, o); break;
	case OPT_IOVA: rc = parse_iova(c, text, o); break;
	case OPT_KERNEL: rc = parse_kernel(c, text, o); break;
	case OPT_RING: rc = parse_ring(c, text, o); break;
	case OPT_PERSIST: o->persist = true; break;
	case OPT_POLL: o->poll = true; break;
	case OPT_NO_OFFLOAD: o->no_offload = true; break;
	case OPT_FORCE: o->force = true; break;
	case OPT_RESERVE: o->reserve_huge_pages = true; break;
	case OPT_JSON: o->json = true; break;
	case OPT_VERSION: o->version = true; break;
	case OPT_HELP: o->help = true; break;
	}
	return rc;
}

int options_parse(int argc, char *argv[], struct options *o, char *error, size_t error_size)
{
	const struct complaint c = {error, error_size};
	struct option list[OPTION_COUNT + 1] = {0};
	int id, rc;

	for (size_t i = 0; i < OPTION_COUNT; i++)
		list[i] = (struct option){table[i].name, table[i].argument ? required_argument : no_argument,
			NULL, table[i].id};
	*o = (struct options){
		.queues = 1, .idle_usecs = 200, .rx_usecs = 800, .tx_usecs = 800, .log_level = IXY_LOG_INFO};
	optind = 0; /* glibc: start afresh, also the second time */
	opterr = 0; /* the complaint below is the only one */
	/* ':' first: a missing argument is told apart from an unknown option. */
	while ((id = getopt_long(argc, argv, ":h", list, NULL)) != -1) {
		if (id == 'h')
			id = OPT_HELP;
		if (id == ':')
			return complain(&c, EXIT_USAGE, "%s: an argument is missing; see ixy-tapd --help",
				argv[optind - 1]);
		if (id == '?' && optopt > 0 && optopt < OPT_QUEUES) /* it may stand among others, as in -xy */
			return complain(&c, EXIT_USAGE, "-%c: no such option; see ixy-tapd --help", optopt);
		if (id == '?')
			return complain(&c, EXIT_USAGE,
				"%s: no such option, or not in this form; see ixy-tapd --help",
				argv[optind - 1]);
		rc = parse_option(&c, id, optarg, o);
		if (rc)
			return rc;
		if (o->help || o->version)
			return 0;
	}
	if (argc - optind != 2)
		return complain(&c, EXIT_USAGE,
			"a device and an interface name are wanted, as in: ixy-tapd soft:veth1 "
			"ixy0; see ixy-tapd --help");
	o->device = argv[optind];
	o->ifname = argv[optind + 1];
	return 0;
}
