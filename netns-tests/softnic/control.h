/*
 * The control socket: one line a command, lines of reply, the last of which is "ok" or "error: TEXT".
 * The commands are in control.c's table; "help" lists them.
 */
#ifndef SOFTNIC_CONTROL_H
#define SOFTNIC_CONTROL_H

#include <stdio.h>

#include "port.h"

struct control;

/* Listen at path and serve commands from the loop. NULL with a message on stderr. */
struct control *control_open(const char *path, struct ports *ports, struct ev_loop *loop);
void control_close(struct control *control);

/* Execute one command line (without newline; it is cut up) and print the whole reply, last line included. */
void control_execute(struct ports *ports, char *line, FILE *reply);

/*
 * The other side, "ixy-softnic ctl PATH COMMAND...": send the words as one command and print the reply (errors
 * on stderr). Returns the exit code: 0, or 1 if the command failed or nobody answered.
 */
int control_client(const char *path, int count, char *const words[]);

#endif
