/*
 * Commands to a running ixy-softnic, for tests and the curious.
 *
 * A client sends a line and reads lines until "ok" or "error: ..."; it may stay connected and costs nothing
 * while it is silent. The reply to a command is complete before the next command is read, so a client that
 * does not read only blocks itself; one that sends an endless line is disconnected.
 */
#include "control.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "log.h"
#include "unix_listen.h"

#define CLIENTS_MAX  16
#define LINE_SIZE    256
#define WORDS_MAX    5
#define ACCEPT_RETRY 0.25 /* seconds, when descriptors or memory ran out */
#define STEPS_A_TURN 16   /* lines and reads of one client, then frames get their turn */

/* --- commands -------------------------------------------------------------------------------------------------- */

struct request {
	struct ports *ports;
	struct port *port; /* of the commands that have one */
	int count;         /* of words, the command's name and port not among them */
	char **words;
	FILE *reply;
};

/* A handler returns NULL, or what is wrong. */
static const char *do_ports(struct request *request)
{
	for (unsigned i = 0; i < request->ports->count; i++) {
		const struct port *port = &request->ports->port[i];
		const struct nic *nic = port->nic;
		fprintf(request->reply, "%u %02x:%02x:%02x:%02x:%02x:%02x client %s link %s\n", i,
			nic->mac[0], nic->mac[1], nic->mac[2], nic->mac[3], nic->mac[4], nic->mac[5],
			port_connected(port) ? "yes" : "no", nic->link.up ? "up" : "down");
	}
	return NULL;
}

static const char *do_link(struct request *request)
{
	bool out = strcmp(request->words[0], "out") == 0;
	if (!out && strcmp(request->words[0], "in") != 0)
		return "say in or out";
	request->port->nic->link.cable_out = out;
	nic_link_update(request->port->nic);
	return NULL;
}

static const char *do_speed(struct request *request)
{
	uint32_t speed = strcmp(request->words[0], "10000") == 0  ? 10000
			 : strcmp(request->words[0], "1000") == 0 ? 1000
								  : 0;
	if (!speed)
		return "say 10000 or 1000";
	request->port->nic->link.speed = speed;
	nic_link_update(request->port->nic);
	return NULL;
}

static const char *do_fault(struct request *request)
{
	const char *how = request->count > 1 ? request->words[1] : "1";
	uint64_t count;
	if (strcmp(how, "on") == 0) {
		count = UINT64_MAX;
	} else if (strcmp(how, "off") == 0) {
		count = 0;
	} else {
		char *end;
		errno = 0;
		count = strtoull(how, &end, 10);
		if (errno || *end || *how < '0' || *how > '9')
			return "say a count, on or off";
	}
	if (nic_fault_set(request->port->nic, request->words[0], count) < 0)
		return "no such fault; 'faults' lists them";
	return NULL;
}

static const char *do_faults(struct request *request)
{
#define X(symbol, name, text) fprintf(request->reply, "%-16s %s\n", name, text);
	NIC_FAULTS(X)
#undef X
	return NULL;
}

static const char *do_peek(struct request *request)
{
	char *end;
	errno = 0;
	unsigned long long offset = strtoull(request->words[0], &end, 16);
	if (errno || *end || end == request->words[0] || offset % 4 || offset >= NIC_BAR0_SIZE)
		return "say a register's offset in BAR 0, in hexadecimal";
	fprintf(request->reply, "0x%08" PRIx32 "\n", nic_peek32(request->port->nic, (uint32_t)offset));
	return NULL;
}

static void print_counter(void *context, const char *name, uint64_t value)
{
	fprintf(context, "%s %" PRIu64 "\n", name, value);
}

static const char *do_stats(struct request *request)
{
	port_counters(request->port, print_counter, request->reply);
	return NULL;
}

static const char *do_violations(struct request *request)
{
	const struct nic *nic = request->port->nic;
	for (enum nic_violation v = 0; v < NIC_VIOLATION_COUNT; v++)
		if (nic->violation[v])
			fprintf(request->reply, "%s %" PRIu64 "\n", nic_violation_name(v), nic->violation[v]);
	fprintf(request->reply, "total %" PRIu64 "\n", nic_violations(nic));
	return NULL;
}

static const char *do_help(struct request *request);

static const struct command {
	const char *name;
	const char *arguments;
	const char *text;
	bool port;       /* the first argument is a port */
	int least, most; /* further arguments */
	const char *(*execute)(struct request *request);
} commands[] = {
	{"ports", "", "the ports, their MAC addresses, clients and links", false, 0, 0, do_ports},
	{"link", "PORT in|out", "plug or pull the cable", true, 1, 1, do_link},
	{"speed", "PORT 10000|1000", "Mbit/s of the link partner", true, 1, 1, do_speed},
	{"fault", "PORT NAME [COUNT|on|off]", "arm a fault, once if nothing is said", true, 1, 2, do_fault},
	{"faults", "", "the faults there are", false, 0, 0, do_faults},
	{"peek", "PORT OFFSET", "a register's value, without side effect", true, 1, 1, do_peek},
	{"stats", "PORT", "counters of the NIC and of its wire", true, 0, 0, do_stats},
	{"violations", "PORT", "what the driver did that silicon would suffer from", true, 0, 0,
		do_violations},
	{"help", "", "this list", false, 0, 0, do_help},
};
#define COMMANDS (sizeof commands / sizeof commands[0])

static const char *do_help(struct request *request)
{
	for (size_t i = 0; i < COMMANDS; i++)
		fprintf(request->reply, "%s %-*s %s\n", commands[i].name,
			(int)(36 - strlen(commands[i].name)), commands[i].arguments, commands[i].text);
	return NULL;
}

static struct port *find_port(struct ports *ports, const char *word)
{
	char *end;
	errno = 0;
	unsigned long number = strtoul(word, &end, 10);
	if (errno || *end || *word < '0' || *word > '9' || number >= ports->count)
		return NULL;
	return &ports->port[number];
}

static const char *execute(struct ports *ports, int count, char **words, FILE *reply)
{
	struct request request = {.ports = ports, .count = count - 1, .words = words + 1, .reply = reply};
	const struct command *command = commands;
	if (count == 0)
		return "no command; 'help' lists them";
	while (command < commands + COMMANDS && strcmp(command->name, words[0]) != 0)
		command++;
	if (command == commands + COMMANDS)
		return "no such command; 'help' lists them";
	if (command->port) {
		request.port = request.count ? find_port(ports, request.words[0]) : NULL;
		if (!request.port)
			return "no such port; 'ports' lists them";
		request.count--;
		request.words++;
	}
	if (request.count < command->least || request.count > command->most)
		return "too few or too many arguments; 'help' tells";
	return command->execute(&request);
}

void control_execute(struct ports *ports, char *line, FILE *reply)
{
	char *words[WORDS_MAX + 1], *rest = NULL;
	int count = 0;
	for (char *word = strtok_r(line, " \t\r", &rest); word && count <= WORDS_MAX;
		word = strtok_r(NULL, " \t\r", &rest))
		words[count++] = word;
	const char *error = execute(ports, count, words, reply);
	if (error)
		fprintf(reply, "error: %s\n", error);
	else
		fprintf(reply, "ok\n");
}

/* --- clients ---------------------------------------------------------------------------------------------------- */

struct client {
	struct control *control;
	int fd; /* -1: free slot */
	struct ev_io watcher;
	char in[LINE_SIZE];
	size_t in_size;
	char *out; /* reply still to be sent */
	size_t out_size, out_sent;
};

struct control {
	struct ports *ports;
	struct ev_loop *loop;
	char path[108];
	int listen_fd;
	struct ev_io listen_watcher;
	struct ev_timer accept_retry;
	struct client clients[CLIENTS_MAX];
};

static void hang_up(struct client *client)
{
	ev_io_stop(client->control->loop, &client->watcher);
	close(client->fd);
	client->fd = -1;
	free(client->out);
	client->out = NULL;
	client->in_size = client->out_size = client->out_sent = 0;
}

static void watch(struct client *client, int events)
{
	ev_io_stop(client->control->loop, &client->watcher);
	ev_io_set(&client->watcher, client->fd, events);
	ev_io_start(client->control->loop, &client->watcher);
}

/* 1: nothing left; 0: the client does not read; -1: it has gone. */
static int send_out(struct client *client)
{
	while (client->out_sent < client->out_size) {
		ssize_t n = send(client->fd, client->out + client->out_sent,
			client->out_size - client->out_sent, MSG_DONTWAIT | MSG_NOSIGNAL);
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return errno == EAGAIN ? 0 : -1;
		client->out_sent += (size_t)n;
	}
	free(client->out);
	client->out = NULL;
	client->out_size = client->out_sent = 0;
	return 1;
}

/* Take one line out of what came in and execute it. False: no whole line yet. */
static bool execute_line(struct client *client)
{
	char line[LINE_SIZE];
	char *end = memchr(client->in, '\n', client->in_size);
	if (!end)
		return false;
	size_t size = (size_t)(end - client->in);
	memcpy(line, client->in, size);
	line[size] = '\0';
	client->in_size -= size + 1;
	memmove(client->in, end + 1, client->in_size);

	FILE *reply = open_memstream(&client->out, &client->out_size);
	if (reply) {
		control_execute(client->control->ports, line, reply);
		fclose(reply);
	}
	return true;
}

static int receive(struct client *client)
{
	if (client->in_size == sizeof client->in)
		return -1; /* no end of line in sight */
	ssize_t n = recv(
		client->fd, client->in + client->in_size, sizeof client->in - client->in_size, MSG_DONTWAIT);
	if (n < 0)
		return errno == EAGAIN || errno == EINTR ? 0 : -1;
	client->in_size += (size_t)n;
	return n ? 1 : -1;
}

static void on_client(struct ev_loop *loop, struct ev_io *watcher, int events)
{
	(void)loop;
	(void)events;
	struct client *client = watcher->data;
	int state = send_out(client);
	for (unsigned i = 0; state > 0 && i < STEPS_A_TURN; i++) {
		state = execute_line(client) ? send_out(client) : receive(client);
		if (state > 0 && !client->out && client->in_size == 0)
			break; /* the next command may wait for the loop's next round */
	}
	/* A line that is in already makes nothing readable: come back as soon as there is room for its reply. */
	if (state < 0)
		hang_up(client);
	else
		watch(client, client->out || memchr(client->in, '\n', client->in_size) ? EV_WRITE : EV_READ);
}

static void on_accept(struct ev_loop *loop, struct ev_io *watcher, int events)
{
	(void)events;
	struct control *control = watcher->data;
	int fd = accept4(control->listen_fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
	if (fd < 0) {
		if (errno != EAGAIN && errno != EINTR && errno != ECONNABORTED) {
			softnic_error("%s: cannot accept a client: %s", control->path, strerror(errno));
			ev_io_stop(loop, watcher); /* it would be readable again at once */
			ev_timer_again(loop, &control->accept_retry);
		}
		return;
	}
	for (unsigned i = 0; i < CLIENTS_MAX; i++) {
		struct client *client = &control->clients[i];
		if (client->fd >= 0)
			continue;
		client->fd = fd;
		ev_io_init(&client->watcher, on_client, fd, EV_READ);
		client->watcher.data = client;
		ev_io_start(loop, &client->watcher);
		return;
	}
	softnic_error("%s: more than %d clients", control->path, CLIENTS_MAX);
	close(fd);
}

static void on_accept_retry(struct ev_loop *loop, struct ev_timer *timer, int events)
{
	(void)events;
	struct control *control = timer->data;
	ev_timer_stop(loop, timer);
	ev_io_start(loop, &control->listen_watcher);
}

struct control *control_open(const char *path, struct ports *ports, struct ev_loop *loop)
{
	struct control *control = calloc(1, sizeof *control);
	if (!control) {
		softnic_error("%s: out of memory", path);
		return NULL;
	}
	control->ports = ports;
	control->loop = loop;
	for (unsigned i = 0; i < CLIENTS_MAX; i++) {
		control->clients[i].control = control;
		control->clients[i].fd = -1;
	}
	control->listen_fd = unix_listen(path);
	if (control->listen_fd < 0) {
		free(control);
		return NULL;
	}
	snprintf(control->path, sizeof control->path, "%s", path);
	ev_io_init(&control->listen_watcher, on_accept, control->listen_fd, EV_READ);
	control->listen_watcher.data = control;
	ev_io_start(loop, &control->listen_watcher);
	ev_timer_init(&control->accept_retry, on_accept_retry, 0, ACCEPT_RETRY);
	control->accept_retry.data = control;
	return control;
}

void control_close(struct control *control)
{
	if (!control)
		return;
	for (unsigned i = 0; i < CLIENTS_MAX; i++)
		if (control->clients[i].fd >= 0)
			hang_up(&control->clients[i]);
	ev_timer_stop(control->loop, &control->accept_retry);
	ev_io_stop(control->loop, &control->listen_watcher);
	unlink(control->path);
	close(control->listen_fd);
	free(control);
}

/* --- the client program --------------------------------------------------------------------------------- */

static int connect_to(const char *path)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	size_t length = strlen(path);
	if (length == 0 || length >= sizeof address.sun_path) {
		errno = ENAMETOOLONG;
		return -1;
	}
	memcpy(address.sun_path, path, length);
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (fd >= 0 && connect(fd, (struct sockaddr *)&address, sizeof address) < 0) {
		close(fd);
		return -1;
	}
	return fd;
}

static bool send_command(FILE *stream, int count, char *const words[])
{
	for (int i = 0; i < count; i++)
		fprintf(stream, "%s%s", words[i], i + 1 < count ? " " : "\n");
	return fflush(stream) == 0;
}

int control_client(const char *path, int count, char *const words[])
{
	char line[512];
	int fd = connect_to(path);
	FILE *stream = fd < 0 ? NULL : fdopen(fd, "r+");
	if (!stream) {
		fprintf(stderr,
			"ixy-softnic: %s: cannot connect: %s: is ixy-softnic running with --control %s?\n",
			path, strerror(errno), path);
		return 1;
	}
	const struct timeval patience = {.tv_sec = 10};
	setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
	int result = 1;
	bool answered = false;
	if (send_command(stream, count, words))
		while (!answered && fgets(line, sizeof line, stream)) {
			line[strcspn(line, "\n")] = '\0';
			result = strcmp(line, "ok") != 0;
			answered = !result || strncmp(line, "error: ", 7) == 0;
			if (!answered)
				puts(line);
			else if (result)
				fprintf(stderr, "ixy-softnic: %s\n", line);
		}
	if (!answered)
		fprintf(stderr, "ixy-softnic: %s: no answer\n", path);
	fclose(stream);
	return result;
}
