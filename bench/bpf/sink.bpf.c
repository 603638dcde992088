// SPDX-License-Identifier: (MIT OR Apache-2.0) OR GPL-2.0
//
// sink: counts the frames that arrived at a real server, and how long each was under way, and drops them.
// Twice the same: `sink_skb` (tc) for what arrives as an skb, `sink_frame` (XDP) for what never became one;
// either is the cheapest end of its way.
#include <linux/pkt_cls.h>
#include "traffic.h"

// Mirrored by `wire::sink::{DELIVERED, FOREIGN}`.
enum { DELIVERED, FOREIGN, COUNTS };

// Times under way: 16 buckets for each power of two of nanoseconds. Mirrored by `wire::histogram`.
#define STEPS_BITS 4
#define STEPS (1 << STEPS_BITS)
#define BUCKETS (40 * STEPS)

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, COUNTS);
	__type(key, __u32);
	__type(value, __u64);
} counts SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, BUCKETS);
	__type(key, __u32);
	__type(value, __u64);
} times SEC(".maps");

// Not 0: times are taken.
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, __u32);
} taking SEC(".maps");

static __always_inline void add(void *map, __u32 row)
{
	__u64 *n = bpf_map_lookup_elem(map, &row);
	if (n)
		*n += 1;
}

static __always_inline __u32 logarithm(__u64 value)
{
	__u32 bits = 0;

	for (int step = 32; step > 0; step >>= 1) {
		if (value >> step) {
			value >>= step;
			bits += step;
		}
	}
	return bits;
}

static __always_inline __u32 bucket(__u64 time)
{
	__u32 power, row;

	if (time < STEPS)
		return time;
	power = logarithm(time);
	row = (power - STEPS_BITS + 1) * STEPS + ((time >> (power - STEPS_BITS)) & (STEPS - 1));
	return row < BUCKETS ? row : BUCKETS - 1;
}

// 02:00:00:00:e0:xx
static __always_inline int is_real_server(const __u8 *mac)
{
	return mac[0] == 0x02 && !mac[1] && !mac[2] && !mac[3] && mac[4] == 0xe0;
}

static __always_inline void take(struct frame *frame, void *end)
{
	__u32 zero = 0, *wanted;

	if ((void *)(frame + 1) > end || frame->mark != MARK || !is_real_server(frame->ethernet.h_dest)) {
		add(&counts, FOREIGN);
		return;
	}
	add(&counts, DELIVERED);
	wanted = bpf_map_lookup_elem(&taking, &zero);
	if (wanted && *wanted)
		add(&times, bucket(bpf_ktime_get_ns() - frame->sent));
}

SEC("classifier")
int sink_skb(struct __sk_buff *skb)
{
	take((void *)(long)skb->data, (void *)(long)skb->data_end);
	return TC_ACT_SHOT;
}

SEC("xdp")
int sink_frame(struct xdp_md *ctx)
{
	take((void *)(long)ctx->data, (void *)(long)ctx->data_end);
	return XDP_DROP;
}

// GPL-only helpers need the string; the licence is the one at the top.
char _license[] SEC("license") = "Dual MIT/GPL";
