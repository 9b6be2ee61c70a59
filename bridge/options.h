/* The command line of ixy-tapd. */
#ifndef BRIDGE_OPTIONS_H
#define BRIDGE_OPTIONS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <sys/types.h>

#include "driver/ixy.h"

/*
 * Exit codes: 0, EXIT_FAILURE at run time, this one, and EX_UNAVAILABLE, EX_NOPERM, EX_CONFIG of sysexits.h.
 */
#define EXIT_USAGE 2

#define OPTIONS_MAX_CPUS 64

enum multicast_policy {
	MULTICAST_ALL,  /* the NIC passes every multicast frame, the kernel filters */
	MULTICAST_LIST, /* the NIC follows the interface's list of groups */
};

enum kernel_kind {
	KERNEL_TAP,   /* a system call a frame */
	KERNEL_VHOST, /* vhost-net's rings */
	KERNEL_AUTO,  /* these where this process may use them */
};

struct options {
	const char *device; /* device spec, see ixy.h */
	const char *ifname;
	const char *netns;  /* name or path of the namespace that the interface lives in; NULL: this one */
	uint16_t queues;    /* queue pairs, each with a thread */
	uint16_t ring;      /* descriptors a ring; 0: the driver's default */
	uint16_t mtu;       /* 0: not given */
	bool has_mac;       /* mac is given */
	struct ixy_mac mac; /* address of interface and NIC */
	bool persist;       /* the interface stays when the daemon ends */
	bool has_owner;     /* owner is given */
	bool has_group;     /* group is given */
	uid_t owner;        /* may attach to the persistent interface */
	gid_t group;        /* the same for a group */
	enum kernel_kind kernel;         /* how frames pass between the daemon and the kernel */
	bool poll;                       /* never sleep */
	uint32_t idle_usecs;             /* longest time to poll in vain before sleeping */
	uint32_t rx_usecs;               /* how long received frames that nobody answers may gather */
	uint32_t tx_usecs;               /* the same for those that the kernel sends */
	unsigned cpus[OPTIONS_MAX_CPUS]; /* worker i runs on cpus[i % cpu_count] */
	size_t cpu_count;                /* 0: the scheduler chooses */
	enum multicast_policy multicast;
	bool no_offload;         /* neither coalesce toward the kernel nor let the NIC segment */
	bool force;              /* take a NIC that is a live interface of this host */
	bool reserve_huge_pages; /* reserve what is missing */
	enum ixy_iova iova;      /* addresses that the NIC is given */
	bool json;               /* statistics as JSON */
	enum ixy_log_level log_level;
	bool help, version; /* print that and end; nothing else is set then */
};

/*
 * Read argv into *options; its strings keep pointing into argv.
 * Returns 0; or EXIT_USAGE or EX_CONFIG with a line for the user in error (no newline).
 */
int options_parse(int argc, char *argv[], struct options *options, char *error, size_t error_size);

/* The text of --help. */
void options_print_help(FILE *out);

#endif
