/*
 * The built-in XDP program, assembled here: no object file, no compiler, nothing to install.
 *
 *	int redirect(struct xdp_md *ctx)
 *	{
 *		if (the frame is of none of the wanted kinds)	// only with filters
 *			return XDP_PASS;
 *		return bpf_redirect_map(&sockets, ctx->rx_queue_index, XDP_PASS);
 *	}
 *
 * The last argument is what the helper returns for a queue that has no socket in the map (kernel 5.3). How
 * instructions look: Documentation/bpf/standardization/instruction-set.rst in the kernel's tree.
 */
#include "driver/xdp/program_parts.h"

#include <arpa/inet.h>
#include <errno.h>
#include <linux/bpf.h>
#include <linux/if_ether.h>
#include <netinet/ip.h>
#include <netinet/ip6.h>
#include <string.h>
#include <unistd.h>

#include "driver/error.h"

/* --- a tiny assembler ---------------------------------------------------------------------------------------- */

/* Start and end, and three instructions a filter. */
#define MAX_INSTRUCTIONS (32 + 3 * XSK_PROGRAM_FILTERS)

/* Jumps go forward only, to labels; their distances are filled in when the label's place is known. */
enum label { NONE, RULES, NOT_IPV4, NEXT_RULE, REDIRECT, PASS };

struct assembler {
	struct bpf_insn code[MAX_INSTRUCTIONS];
	enum label target[MAX_INSTRUCTIONS]; /* where an instruction jumps to */
	unsigned count;
};

/* Who is in which register. BPF's convention: r1 the argument, r0 the result, r1..r5 a call's arguments. */
enum {
	RESULT = BPF_REG_0,
	CONTEXT = BPF_REG_6,
	DATA = BPF_REG_2,
	DATA_END = BPF_REG_3,
	LIMIT = BPF_REG_4,
	TYPE = BPF_REG_5,     /* EtherType, as it lies in the frame */
	PROTOCOL = BPF_REG_7, /* of the IP header, NO_PROTOCOL if there is none */
};
#define NO_PROTOCOL 0x100

static void emit(struct assembler *as, struct bpf_insn instruction)
{
	as->target[as->count] = NONE;
	as->code[as->count++] = instruction;
}

static void set(struct assembler *as, uint8_t dst, int32_t value)
{
	emit(as, (struct bpf_insn){.code = BPF_ALU64 | BPF_MOV | BPF_K, .dst_reg = dst, .imm = value});
}

static void copy(struct assembler *as, uint8_t dst, uint8_t src)
{
	emit(as, (struct bpf_insn){.code = BPF_ALU64 | BPF_MOV | BPF_X, .dst_reg = dst, .src_reg = src});
}

/* BPF_K, a constant operand, is 0, and so is BPF_ADD. */
static void add(struct assembler *as, uint8_t dst, int32_t value)
{
	emit(as, (struct bpf_insn){.code = BPF_ALU64 | BPF_ADD, .dst_reg = dst, .imm = value});
}

/* dst = *(base + offset); size: BPF_B, BPF_H, BPF_W. */
static void load(struct assembler *as, uint8_t size, uint8_t dst, uint8_t base, size_t offset)
{
	emit(as, (struct bpf_insn){.code = BPF_LDX | BPF_MEM | size,
			 .dst_reg = dst,
			 .src_reg = base,
			 .off = (int16_t)offset});
}

/* dst = the map behind a file descriptor: the one instruction of double length. */
static void load_map(struct assembler *as, uint8_t dst, int fd)
{
	emit(as, (struct bpf_insn){.code = BPF_LD | BPF_IMM | BPF_DW,
			 .dst_reg = dst,
			 .src_reg = BPF_PSEUDO_MAP_FD,
			 .imm = fd});
	emit(as, (struct bpf_insn){0});
}

static void jump(struct assembler *as, enum label target)
{
	emit(as, (struct bpf_insn){.code = BPF_JMP | BPF_JA});
	as->target[as->count - 1] = target;
}

static void jump_if_not(struct assembler *as, uint8_t reg, int32_t value, enum label target)
{
	emit(as, (struct bpf_insn){.code = BPF_JMP | BPF_JNE | BPF_K, .dst_reg = reg, .imm = value});
	as->target[as->count - 1] = target;
}

/* The verifier wants to see this before each access: DATA + size is within the frame, or jump. */
static void jump_if_shorter(struct assembler *as, int32_t size, enum label target)
{
	copy(as, LIMIT, DATA);
	add(as, LIMIT, size);
	emit(as, (struct bpf_insn){.code = BPF_JMP | BPF_JGT | BPF_X, .dst_reg = LIMIT, .src_reg = DATA_END});
	as->target[as->count - 1] = target;
}

/* The label is here: all jumps to it so far now know how far. */
static void place(struct assembler *as, enum label label)
{
	for (unsigned i = 0; i < as->count; i++) {
		if (as->target[i] != label)
			continue;
		as->code[i].off = (int16_t)(as->count - i - 1);
		as->target[i] = NONE;
	}
}

static void call(struct assembler *as, int32_t helper)
{
	emit(as, (struct bpf_insn){.code = BPF_JMP | BPF_CALL, .imm = helper});
}

static void leave(struct assembler *as)
{
	emit(as, (struct bpf_insn){.code = BPF_JMP | BPF_EXIT});
}

/* --- the program ------------------------------------------------------------------------------------------------ */

/* TYPE and PROTOCOL of the frame, whose Ethernet header at least must be there. */
static void parse(struct assembler *as)
{
	load(as, BPF_W, DATA, CONTEXT, offsetof(struct xdp_md, data));
	load(as, BPF_W, DATA_END, CONTEXT, offsetof(struct xdp_md, data_end));
	jump_if_shorter(as, ETH_HLEN, PASS);
	load(as, BPF_H, TYPE, DATA, offsetof(struct ethhdr, h_proto));
	set(as, PROTOCOL, NO_PROTOCOL);

	jump_if_not(as, TYPE, htons(ETH_P_IP), NOT_IPV4);
	jump_if_shorter(as, ETH_HLEN + sizeof(struct iphdr), RULES);
	load(as, BPF_B, PROTOCOL, DATA, ETH_HLEN + offsetof(struct iphdr, protocol));
	jump(as, RULES);

	place(as, NOT_IPV4);
	jump_if_not(as, TYPE, htons(ETH_P_IPV6), RULES);
	jump_if_shorter(as, ETH_HLEN + sizeof(struct ip6_hdr), RULES);
	load(as, BPF_B, PROTOCOL, DATA, ETH_HLEN + offsetof(struct ip6_hdr, ip6_nxt));
	place(as, RULES);
}

/* Redirect what fits one of the filters, pass what fits none. */
static void match(struct assembler *as, const struct xsk_filter *filters, size_t count)
{
	for (size_t i = 0; i < count; i++) {
		if (filters[i].ether_type)
			jump_if_not(as, TYPE, htons(filters[i].ether_type), NEXT_RULE);
		if (filters[i].ip_protocol)
			jump_if_not(as, PROTOCOL, filters[i].ip_protocol, NEXT_RULE);
		jump(as, REDIRECT);
		place(as, NEXT_RULE);
	}
	place(as, PASS);
	set(as, RESULT, XDP_PASS);
	leave(as);
}

static void redirect(struct assembler *as, int map)
{
	place(as, REDIRECT);
	load_map(as, BPF_REG_1, map);
	load(as, BPF_W, BPF_REG_2, CONTEXT, offsetof(struct xdp_md, rx_queue_index));
	set(as, BPF_REG_3, XDP_PASS);
	call(as, BPF_FUNC_redirect_map);
	leave(as);
}

int xsk_load_redirect(const struct xsk_program_config *config, struct xsk_loaded *loaded)
{
	char log[4096] = "";
	LIBBPF_OPTS(bpf_prog_load_opts, options, .log_buf = log, .log_size = sizeof(log),
		.prog_flags = config->frags ? BPF_F_XDP_HAS_FRAGS : 0);
	struct assembler as = {.count = 0};
	int result;

	if (config->filter_count > XSK_PROGRAM_FILTERS)
		return ixy_fail(EINVAL, "%zu filters for the XDP program, at most %d are possible",
			config->filter_count, XSK_PROGRAM_FILTERS);
	loaded->queues = config->queues ? config->queues : XSK_PROGRAM_QUEUES;
	result = bpf_map_create(
		BPF_MAP_TYPE_XSKMAP, "xsk_sockets", sizeof(uint32_t), sizeof(int), loaded->queues, NULL);
	if (result < 0)
		return xsk_load_failed("the map of AF_XDP sockets", result, "");
	loaded->map = result;

	copy(&as, CONTEXT, BPF_REG_1);
	if (config->filter_count) {
		parse(&as);
		match(&as, config->filters, config->filter_count);
	}
	redirect(&as, loaded->map);
	/* No helper that we call is for GPL programs only. */
	result = bpf_prog_load(BPF_PROG_TYPE_XDP, "xsk_redirect", "BSD", as.code, as.count, &options);
	if (result < 0)
		return xsk_load_failed("the built-in XDP program", result, log);
	loaded->program = result;
	return 0;
}
