/* A client's eventfds: raised, and emptied, without ever blocking. */
#ifndef SOFTNIC_EVENT_SIGNAL_H
#define SOFTNIC_EVENT_SIGNAL_H

#include <linux/aio_abi.h>
#include <stdbool.h>

/* True if fd is an eventfd and no pipe, socket or file, which could block in ways of their own. */
bool event_is_eventfd(int fd);

struct event_signaller {
	aio_context_t context; /* 0: none */
	int null;
	unsigned unreaped;
};

/* It works in any case, but see event_signal.c. */
void event_signaller_open(struct event_signaller *signaller);
void event_signaller_close(struct event_signaller *signaller);

/* Add 1 to an eventfd's counter; a full one stays full. 0 or a negative errno. */
int event_signal(struct event_signaller *signaller, int fd);

/* Take what its counter holds, if anything. 0 (there was something), -EAGAIN, or another negative errno. */
int event_clear(int fd);

#endif
