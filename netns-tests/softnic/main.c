/* ixy-softnic: options, signals, and the account at the end. */
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "control.h"
#include "log.h"
#include "port.h"

#define EXIT_USAGE     2
#define EXIT_VIOLATION 3

static const char usage[] =
	"Usage: ixy-softnic [OPTION]... SOCKET=WIRE...\n"
	"       ixy-softnic ctl CONTROL COMMAND...\n"
	"\n"
	"A software Intel 82599: each port is a PCI function that a driver reaches over the vfio-user "
	"protocol.\n"
	"\n"
	"SOCKET is where the port's client comes from:\n"
	"  PATH            listen there; clients may come and go, one at a time\n"
	"  fd:N            the connected socket inherited as descriptor N; the process ends with that "
	"client\n"
	"  qemu:N,qtest=PATH[,vtd[=BB:DD.F]]\n"
	"                  a slot of QEMU's PCI bus: the same for -device x-pci-proxy-dev, PATH its -qtest "
	"socket;\n"
	"                  vtd: behind the guest's IOMMU (-device intel-iommu), as function BB:DD.F "
	"(00:04.0)\n"
	"WIRE is what the port's cable is plugged into:\n"
	"  dev:NAME[,rate=MBIT]\n"
	"                  an existing interface, for example one end of a veth pair\n"
	"  cable[,rate=MBIT]\n"
	"                  the other port here that says so\n"
	"  pcap:IN[,OUT]   frames from the capture IN, frames sent into OUT (- for none)\n"
	"  none            nothing\n"
	"With a rate, the port sends no more than that many Mbit/s, counted as a wire does: CRC, preamble "
	"and gap\n"
	"included. What it is given beyond that waits in its rings, as on a real card.\n"
	"\n"
	"Options:\n"
	"  --control PATH  take commands there; 'ixy-softnic ctl PATH help' lists them\n"
	"  --mac ADDRESS   MAC address of the first port, one more for each further port;\n"
	"                  by default derived from the socket and the wire, the same each time\n"
	"  --log-level N   0 errors, 1 clients and carriers too (default), 2 each message\n"
	"  --version, --help\n"
	"\n"
	"Prints 'ready' when all sockets listen. Ends on SIGTERM and SIGINT, with counters on stderr. Exit "
	"code: 0,\n"
	"1 could not start, 2 usage, 3 if a driver did what a real 82599 would suffer from (a violation).\n"
	"\n"
	"Example:\n"
	"  ixy-softnic --control /run/nic.ctl /run/nic0=dev:veth1 &\n"
	"  ixy-tapd vfio-user:/run/nic0 ixy0\n"
	"  ixy-softnic ctl /run/nic.ctl link 0 out\n";

struct options {
	const char *control;
	uint8_t mac[6];
	bool mac_given;
	enum log_level log_level;
};

static bool parse_mac(const char *text, uint8_t mac[6])
{
	int end = 0;
	if (sscanf(text, "%2hhx:%2hhx:%2hhx:%2hhx:%2hhx:%2hhx%n", &mac[0], &mac[1], &mac[2], &mac[3], &mac[4],
		    &mac[5], &end) != 6 ||
		text[end])
		return false;
	return !(mac[0] & 1); /* a group's address cannot be a card's */
}

/* Returns the index of the first port, or -1 after --help, --version or a complaint, with *code set. */
static int parse_options(int argc, char **argv, struct options *options, int *code)
{
	enum { CONTROL, MAC, LOG_LEVEL, VERSION, HELP };
	static const struct option known[] = {
		{"control", required_argument, NULL, CONTROL},
		{"mac", required_argument, NULL, MAC},
		{"log-level", required_argument, NULL, LOG_LEVEL},
		{"version", no_argument, NULL, VERSION},
		{"help", no_argument, NULL, HELP},
		{0},
	};
	*code = EXIT_USAGE;
	opterr = 0; /* the complaint below is the only one */
	for (int option; (option = getopt_long(argc, argv, "h", known, NULL)) != -1;) {
		switch (option) {
		case CONTROL: options->control = optarg; break;
		case MAC:
			options->mac_given = parse_mac(optarg, options->mac);
			if (!options->mac_given) {
				softnic_error("--mac %s: not a card's MAC address, such as 02:00:00:00:00:01",
					optarg);
				return -1;
			}
			break;
		case LOG_LEVEL:
			if (optarg[0] < '0' || optarg[0] > '2' || optarg[1]) {
				softnic_error("--log-level %s: not 0, 1 or 2", optarg);
				return -1;
			}
			options->log_level = (enum log_level)(optarg[0] - '0');
			break;
		case VERSION:
			puts("ixy-softnic " IXY_VERSION);
			*code = 0;
			return -1;
		case HELP:
		case 'h':
			fputs(usage, stdout);
			*code = 0;
			return -1;
		default:
			softnic_error("%s: no such option, or without its value; --help tells the options",
				argv[optind - 1]);
			return -1;
		}
	}
	if (optind < argc)
		return optind;
	softnic_error("no port given: say SOCKET=WIRE, such as /run/nic0=dev:veth1 (--help tells more)");
	return -1;
}

static void on_signal(struct ev_loop *loop, struct ev_signal *watcher, int events)
{
	(void)events;
	struct ports *ports = watcher->data;
	ports->stop = true;
	ev_break(loop, EVBREAK_ALL);
}

static void print_counter(void *context, const char *name, uint64_t value)
{
	(void)context;
	fprintf(stderr, "  %-16s %" PRIu64 "\n", name, value);
}

/* The account of all ports. Returns the number of violations. */
static uint64_t print_account(struct ports *ports)
{
	uint64_t total = 0;
	for (unsigned i = 0; i < ports->count; i++) {
		const struct nic *nic = ports->port[i].nic;
		fprintf(stderr, "ixy-softnic: port %u:\n", i);
		port_counters(&ports->port[i], print_counter, NULL);
		for (enum nic_violation v = 0; v < NIC_VIOLATION_COUNT; v++)
			if (nic->violation[v])
				fprintf(stderr, "  violation %s %" PRIu64 ": %s\n", nic_violation_name(v),
					nic->violation[v], nic_violation_text(v));
		total += nic_violations(nic);
	}
	return total;
}

static int run(const struct options *options, int count, char **specs)
{
	static struct ports ports;
	struct ev_signal terminate, interrupt;
	struct control *control = NULL;
	int code = EXIT_FAILURE;

	struct ev_loop *loop = ev_default_loop(EVFLAG_AUTO);
	if (!loop) {
		softnic_error("cannot start the event loop: %s", strerror(errno));
		return EXIT_FAILURE;
	}
	ev_signal_init(&terminate, on_signal, SIGTERM);
	ev_signal_init(&interrupt, on_signal, SIGINT);
	terminate.data = interrupt.data = &ports;
	ev_signal_start(loop, &terminate);
	ev_signal_start(loop, &interrupt);

	for (int i = 0; i < count; i++) {
		uint8_t mac[6];
		memcpy(mac, options->mac, sizeof mac);
		mac[5] = (uint8_t)(mac[5] + i);
		if (!port_open(&ports, specs[i], options->mac_given ? mac : NULL, loop))
			goto close_ports;
	}
	if (options->control) {
		control = control_open(options->control, &ports, loop);
		if (!control)
			goto close_ports;
	}
	puts("ready");
	fflush(stdout);

	int result = poll_loop_run(&ports, loop);
	if (result < 0)
		softnic_error("cannot run the loop: %s", strerror(-result));
	else
		code = print_account(&ports) ? EXIT_VIOLATION : EXIT_SUCCESS;
	control_close(control);
close_ports:
	ports_close(&ports);
	ev_signal_stop(loop, &terminate);
	ev_signal_stop(loop, &interrupt);
	ev_loop_destroy(loop);
	return code;
}

/* Whoever closed one of these for us would else find our messages in a socket, which gets the lowest free number. */
static bool open_standard_fds(void)
{
	int fd;
	do
		fd = open("/dev/null", O_RDWR);
	while (fd >= 0 && fd <= STDERR_FILENO);
	if (fd < 0)
		return false;
	close(fd);
	return true;
}

int main(int argc, char **argv)
{
	struct options options = {.log_level = LOG_LEVEL_INFO};
	int code;
	if (!open_standard_fds())
		return EXIT_FAILURE; /* and nobody to tell */
	signal(SIGPIPE, SIG_IGN);    /* who asks may hang up */
	if (argc > 1 && strcmp(argv[1], "ctl") == 0) {
		if (argc > 3)
			return control_client(argv[2], argc - 3, argv + 3);
		softnic_error("say: ixy-softnic ctl CONTROL COMMAND...; the command 'help' lists them");
		return EXIT_USAGE;
	}
	int first = parse_options(argc, argv, &options, &code);
	if (first < 0)
		return code;
	softnic_log_level(options.log_level);
	return run(&options, argc - first, argv + first);
}
