// SPDX-License-Identifier: (MIT OR Apache-2.0) OR GPL-2.0
//
// generator: makes frames and sends them on an interface. The kernel runs it for ever on pages of its own
// (BPF_PROG_TEST_RUN with live frames), so that one core makes several million frames a second. A page comes
// back with what its last reader left in it: every run writes the whole frame.
//
// At a given rate it sends the frames that are due and drops the rest of the runs: the pace is kept to
// within the time of some runs, much finer than a timer could.
//
// Documentation/bpf/bpf_prog_run.rst.
#include "traffic.h"

// An interval that says: nothing yet, or nothing more. Mirrored by `wire::generator::HOLD`.
#define HOLD ~0ULL

// Behind by more than this the generator starts afresh: a burst to catch up would be another traffic.
#define FORGIVEN 50000

// What to send. Mirrored by `wire::generator::Plan`.
struct plan {
	__u64 interval;   // nanoseconds in units of 1/1024 between two frames; 0: as fast as it goes; or HOLD
	__u32 interface;  // index
	__u32 flows;
	__u8 destination[ETH_ALEN];
	__u8 source[ETH_ALEN];
	__u32 vip;        // network byte order
};

struct progress {
	__u64 due;  // in units of 1/1024 ns
	__u64 sent; // frames
	__u64 held; // runs that were to send nothing
	__u32 flow;
	__u32 zero;
};

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct plan);
} plan SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct progress);
} progress SEC(".maps");

// A prime: with this stride each flow comes once before one comes again, in an order that no cache foresees.
#define STRIDE 611953

static __always_inline __u16 folded(__u32 sum)
{
	sum = (sum & 0xffff) + (sum >> 16);
	return (sum & 0xffff) + (sum >> 16);
}

static __always_inline void write(struct frame *frame, const struct plan *plan, __u32 flow, __u64 now)
{
	// Of 198.18.0.0/15, which is for benchmarks (RFC 2544); 256 flows of each client.
	__be32 client = bpf_htonl(0xc6120001 + (flow >> 8));
	__u32 sum;

	__builtin_memcpy(frame->ethernet.h_dest, plan->destination, ETH_ALEN);
	__builtin_memcpy(frame->ethernet.h_source, plan->source, ETH_ALEN);
	frame->ethernet.h_proto = bpf_htons(ETH_P_IP);
	*(__u8 *)&frame->ip = 0x45;
	frame->ip.tos = 0;
	frame->ip.tot_len = bpf_htons(sizeof(*frame) - sizeof(frame->ethernet));
	frame->ip.id = 0;
	frame->ip.frag_off = bpf_htons(0x4000);
	frame->ip.ttl = 64;
	frame->ip.protocol = IPPROTO_UDP;
	frame->ip.saddr = client;
	frame->ip.daddr = plan->vip;
	sum = bpf_htons(0x4500) + frame->ip.tot_len + bpf_htons(0x4000) + bpf_htons(64 << 8 | IPPROTO_UDP);
	sum += (client & 0xffff) + (client >> 16) + (plan->vip & 0xffff) + (plan->vip >> 16);
	frame->ip.check = ~folded(sum);
	frame->udp.source = bpf_htons(1024 + (flow & 0xff));
	frame->udp.dest = bpf_htons(80);
	frame->udp.len = bpf_htons(sizeof(*frame) - sizeof(frame->ethernet) - sizeof(frame->ip));
	// Nobody on the way reads it, but 0 (none) would spare a director a look.
	frame->udp.check = bpf_htons(0x5368);
	frame->mark = MARK;
	frame->sent = now;
	__builtin_memset(frame->padding, 0, sizeof(frame->padding));
}

SEC("xdp")
int generate(struct xdp_md *ctx)
{
	struct frame *frame = (void *)(long)ctx->data;
	__u32 zero = 0;
	struct plan *todo = bpf_map_lookup_elem(&plan, &zero);
	struct progress *done = bpf_map_lookup_elem(&progress, &zero);
	__u64 now = bpf_ktime_get_ns();

	if (!todo || !done || (void *)(frame + 1) > (void *)(long)ctx->data_end)
		return XDP_DROP;
	if (todo->interval == HOLD) {
		done->held++;
		return XDP_DROP;
	}
	if (todo->interval) {
		__u64 fine = now << 10;

		if (fine < done->due)
			return XDP_DROP;
		if (fine - done->due > (__u64)FORGIVEN << 10)
			done->due = fine;
		done->due += todo->interval;
	}
	done->flow += STRIDE % todo->flows;
	if (done->flow >= todo->flows)
		done->flow -= todo->flows;
	write(frame, todo, done->flow, now);
	done->sent++;
	return bpf_redirect(todo->interface, 0);
}

// GPL-only helpers need the string; the licence is the one at the top.
char _license[] SEC("license") = "Dual MIT/GPL";
