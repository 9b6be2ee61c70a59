/*
 * How ixy-echo turns a frame into the answer to it, in place.
 */
#ifndef APPS_ECHO_ANSWER_H
#define APPS_ECHO_ANSWER_H

#include <stdbool.h>
#include <netinet/in.h>

#include "driver/ixy.h"

#define ANSWER_MAX_ADDRESSES 32

/* Who answers. */
struct answerer {
	struct ixy_mac mac;
	/* None at all: every frame goes back to its sender, whomever it was for. */
	struct in_addr v4[ANSWER_MAX_ADDRESSES];
	struct in6_addr v6[ANSWER_MAX_ADDRESSES];
	unsigned v4_count, v6_count;
};

/* Add an address by its text; false if it is none, or one too many. */
bool answerer_add(struct answerer *answerer, const char *text);

/* The multicast groups by which neighbours ask for its IPv6 addresses (RFC 4291, 2.7.1); returns how many. */
size_t answerer_groups(const struct answerer *answerer, struct ixy_mac groups[ANSWER_MAX_ADDRESSES]);

/*
 * Make the answer of the frame. False: there is none, and the frame may have been changed. Only the first buffer is
 * looked at; the payload behind it goes back as it is.
 */
bool answer(const struct answerer *answerer, struct pkt_buf *frame);

#endif
