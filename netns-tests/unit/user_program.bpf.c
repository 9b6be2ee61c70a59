/*
 * An XDP program as a user of the AF_XDP library may bring it, for test_xsk_program.c, which compiles it:
 *
 *	clang -O2 -g -target bpf -c user_program.bpf.c
 *
 * It counts what it sees and hands frames of queues that are enabled to their sockets, under names that are not
 * those of any library. BROKEN has the verifier refuse it, TWO_MAPS leaves open which map is meant.
 */
#include <linux/bpf.h>

#include <bpf/bpf_helpers.h>

struct {
	__uint(type, BPF_MAP_TYPE_XSKMAP);
	__uint(max_entries, 8);
	__type(key, __u32);
	__type(value, __u32);
} my_sockets SEC(".maps");

#ifdef TWO_MAPS
struct {
	__uint(type, BPF_MAP_TYPE_XSKMAP);
	__uint(max_entries, 8);
	__type(key, __u32);
	__type(value, __u32);
} more_sockets SEC(".maps");
#endif

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 4);
	__type(key, __u32);
	__type(value, __u32);
} my_enabled SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, __u64);
} my_count SEC(".maps");

SEC("xdp")
int count_and_redirect(struct xdp_md *context)
{
	__u32 queue = context->rx_queue_index, zero = 0, *enabled;
	__u64 *count = bpf_map_lookup_elem(&my_count, &zero);

	if (count)
		__sync_fetch_and_add(count, 1);
#ifdef BROKEN
	/* Whether the frame has a first byte must be asked before it is read: the verifier sees to that. */
	queue += *(__u8 *)(long)context->data;
#endif
	enabled = bpf_map_lookup_elem(&my_enabled, &queue);
	if (!enabled || !*enabled)
		return XDP_PASS;
	return bpf_redirect_map(&my_sockets, queue, XDP_PASS);
}

SEC("xdp")
int drop_all(struct xdp_md *context)
{
	(void)context;
	return XDP_DROP;
}

char LICENSE[] SEC("license") = "Dual BSD/GPL";
