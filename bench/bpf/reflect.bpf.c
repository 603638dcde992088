// SPDX-License-Identifier: (MIT OR Apache-2.0) OR GPL-2.0
//
// Two reflectors that decide nothing. `reflect` sends every frame back from the driver, with other MAC
// addresses: the limit of the device. `redirect` gives every frame to the AF_XDP socket of its queue.
#include "traffic.h"

struct {
	__uint(type, BPF_MAP_TYPE_XSKMAP);
	__uint(max_entries, 64);
	__type(key, __u32);
	__type(value, __u32);
} sockets SEC(".maps");

SEC("xdp")
int reflect(struct xdp_md *ctx)
{
	const __u8 real_server[ETH_ALEN] = { 0x02, 0x00, 0x00, 0x00, 0xe0, 0x21 };
	struct ethhdr *ethernet = (void *)(long)ctx->data;

	if ((void *)(ethernet + 1) > (void *)(long)ctx->data_end || ethernet->h_proto != bpf_htons(ETH_P_IP))
		return XDP_PASS;
	__builtin_memcpy(ethernet->h_source, ethernet->h_dest, ETH_ALEN);
	__builtin_memcpy(ethernet->h_dest, real_server, ETH_ALEN);
	return XDP_TX;
}

SEC("xdp")
int redirect(struct xdp_md *ctx)
{
	return bpf_redirect_map(&sockets, ctx->rx_queue_index, XDP_DROP);
}

// GPL-only helpers need the string; the licence is the one at the top.
char _license[] SEC("license") = "Dual MIT/GPL";
