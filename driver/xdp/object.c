/*
 * XDP programs from object files: what clang -target bpf -g makes of C. libbpf reads the ELF file, creates its
 * maps and loads it; we say which program and which maps are meant.
 *
 * The usual failure is a wrong name, so errors list the names that are there.
 */
#include "driver/xdp/program_parts.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "driver/error.h"

#define LOG_SIZE \
	(1u << 20) /* the verifier explains itself at length; before Linux 6.4 a full log is an error */

/* --- which one is meant --------------------------------------------------------------------------------- */

struct names {
	char text[160];
	unsigned count;
};

static void note_name(struct names *names, const char *name)
{
	size_t length = strlen(names->text);

	snprintf(
		names->text + length, sizeof(names->text) - length, "%s%s", names->count++ ? ", " : "", name);
}

/* Of a program's kind are those that an interface takes; SEC("xdp/devmap") and SEC("xdp/cpumap") belong elsewhere. */
static bool for_interfaces(const struct bpf_program *program)
{
	enum bpf_attach_type type = bpf_program__expected_attach_type(program);

	return bpf_program__type(program) == BPF_PROG_TYPE_XDP && (type == BPF_XDP || type == 0);
}

/* The program of this name, or the only one, loaded without the file's others. */
static int choose_program(
	struct bpf_object *object, const struct xsk_program_config *config, struct bpf_program **chosen)
{
	struct names names = {0};
	struct bpf_program *program;

	*chosen = NULL;
	bpf_object__for_each_program(program, object)
	{
		bpf_program__set_autoload(program, false);
		if (!for_interfaces(program))
			continue;
		note_name(&names, bpf_program__name(program));
		if (!config->program || !strcmp(config->program, bpf_program__name(program)))
			*chosen = program;
	}
	if (!names.count)
		return ixy_fail(
			ENOENT, "%s has no XDP program: mark the function with SEC(\"xdp\")", config->object);
	if (!*chosen)
		return ixy_fail(ENOENT, "%s has no XDP program %s; it has %s", config->object,
			config->program, names.text);
	if (!config->program && names.count > 1)
		return ixy_fail(
			ENOENT, "%s has several XDP programs, name one: %s", config->object, names.text);
	bpf_program__set_autoload(*chosen, true);
	if (config->frags)
		bpf_program__set_flags(*chosen, bpf_program__flags(*chosen) | BPF_F_XDP_HAS_FRAGS);
	return 0;
}

/* The map of this type and name, or (NULL) the only one of this type. */
static int choose_map(struct bpf_object *object, const char *path, const char *name, enum bpf_map_type type,
	struct bpf_map **chosen)
{
	const char *kind = libbpf_bpf_map_type_str(type);
	struct names names = {0};
	struct bpf_map *map;

	*chosen = NULL;
	bpf_object__for_each_map(map, object)
	{
		if (bpf_map__is_internal(map) || bpf_map__type(map) != type)
			continue;
		note_name(&names, bpf_map__name(map));
		if (!name || !strcmp(name, bpf_map__name(map)))
			*chosen = map;
	}
	if (!names.count)
		return ixy_fail(ENOENT, "%s has no map of type %s", path, kind);
	if (!*chosen)
		return ixy_fail(
			ENOENT, "%s has no map %s of type %s; it has %s", path, name, kind, names.text);
	if (!name && names.count > 1)
		return ixy_fail(
			ENOENT, "%s has several maps of type %s, name one: %s", path, kind, names.text);
	return 0;
}

/* --- loading -------------------------------------------------------------------------------------------- */

static int open_object(const char *path, char *log, struct bpf_object **object)
{
	LIBBPF_OPTS(bpf_object_open_opts, options, .kernel_log_buf = log, .kernel_log_size = LOG_SIZE);
	int error;

	if (access(path, R_OK) < 0)
		return ixy_fail(errno, "%s: %s", path, strerror(errno));
	*object = bpf_object__open_file(path, &options);
	if (*object)
		return 0;
	error = errno;
	return ixy_fail(error < __LIBBPF_ERRNO__START ? error : EINVAL,
		"%s is no eBPF object file (clang -g -target bpf): %s", path, xsk_libbpf_said());
}

static int choose_parts(struct bpf_object *object, const struct xsk_program_config *config,
	struct bpf_program **program, struct bpf_map **map, struct bpf_map **queue_map)
{
	int result = choose_program(object, config, program);

	*queue_map = NULL;
	if (!result)
		result = choose_map(object, config->object, config->map, BPF_MAP_TYPE_XSKMAP, map);
	if (!result && config->queue_map) {
		result = choose_map(object, config->object, config->queue_map, BPF_MAP_TYPE_ARRAY, queue_map);
		if (!result && bpf_map__value_size(*queue_map) != sizeof(uint32_t))
			result = ixy_fail(EINVAL, "%s: map %s holds values of %u bytes, not 4",
				config->object, config->queue_map, bpf_map__value_size(*queue_map));
	}
	if (!result && config->queues) {
		bpf_map__set_max_entries(*map, config->queues);
		if (*queue_map)
			bpf_map__set_max_entries(*queue_map, config->queues);
	}
	return result;
}

static int load(const struct xsk_program_config *config, char *log, struct xsk_loaded *loaded)
{
	struct bpf_program *program;
	struct bpf_map *map, *queue_map;
	int result = open_object(config->object, log, &loaded->object);

	if (!result)
		result = choose_parts(loaded->object, config, &program, &map, &queue_map);
	if (result)
		return result;
	result = bpf_object__load(loaded->object);
	if (result)
		return xsk_load_failed(config->object, result, log);
	loaded->program = bpf_program__fd(program);
	loaded->map = bpf_map__fd(map);
	loaded->queues = bpf_map__max_entries(map);
	if (queue_map) {
		loaded->queue_map = bpf_map__fd(queue_map);
		if (bpf_map__max_entries(queue_map) < loaded->queues)
			loaded->queues = bpf_map__max_entries(queue_map);
	}
	return 0;
}

int xsk_load_object(const struct xsk_program_config *config, struct xsk_loaded *loaded)
{
	char *log = calloc(1, LOG_SIZE);
	int result;

	if (!log)
		return ixy_fail(ENOMEM, "no memory to load %s", config->object);
	result = load(config, log, loaded);
	if (result) {
		bpf_object__close(loaded->object);
		loaded->object = NULL;
	}
	free(log);
	return result;
}
