// SPDX-License-Identifier: (MIT OR Apache-2.0) OR GPL-2.0
//
// steer: the first decision about a frame, in the kernel. A frame of a configured service goes to the
// AF_XDP socket of the queue it came in on; every other frame goes on to the kernel untouched, so that
// ssh, ARP, VRRP and the other ports of a VIP work as if shunt were not there.
//
// Layouts: linux/if_ether.h, linux/ip.h; redirect: Documentation/networking/af_xdp.rst.
#include <linux/bpf.h>
#include <linux/if_ether.h>
#include <linux/in.h>
#include <linux/ip.h>
#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>

// What a client connects to. An IPv4 address stands in its mapped form ::ffff:a.b.c.d (RFC 4291,
// section 2.5.5.2), so that one map serves both families. Mirrored by `xsk::program::SteerKey`.
struct steer_key {
	__u8 address[16];
	__be16 port;
	__u8 protocol;
	__u8 zero;
};

// A destination MAC address that means this director, zero-padded to eight bytes.
struct mac_key {
	__u8 mac[ETH_ALEN];
	__u8 zero[2];
};

// Rows of `counts`; mirrored by `xsk::program::SteerCounts`.
enum { COUNT_PASSED, COUNT_REDIRECTED, COUNT_NO_SOCKET, COUNT_ROWS };

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 65536);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, struct steer_key);
	__type(value, __u8);
} services SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 64);
	__type(key, struct mac_key);
	__type(value, __u8);
} macs SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_XSKMAP);
	__uint(max_entries, 256); // = xsk::program::MAX_QUEUES
	__type(key, __u32);
	__type(value, __u32);
} sockets SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, COUNT_ROWS);
	__type(key, __u32);
	__type(value, __u64);
} counts SEC(".maps");

static __always_inline void count(__u32 row)
{
	__u64 *n = bpf_map_lookup_elem(&counts, &row);
	if (n)
		*n += 1;
}

// Both transport headers begin with the two ports.
struct ports {
	__be16 source;
	__be16 dest;
};

static __always_inline int is_service(void *data, void *end)
{
	struct ethhdr *eth = data;
	struct iphdr *ip = (void *)(eth + 1);
	struct mac_key mac = {};
	struct steer_key key = {};
	struct ports *ports;
	__u32 header;

	if ((void *)(ip + 1) > end || eth->h_proto != bpf_htons(ETH_P_IP) || ip->version != 4)
		return 0;
	if (ip->protocol != IPPROTO_TCP && ip->protocol != IPPROTO_UDP)
		return 0;
	header = ip->ihl * 4;
	if (header < sizeof(*ip))
		return 0;
	// A later fragment carries no ports.
	if (ip->frag_off & bpf_htons(0x1fff))
		return 0;
	ports = (void *)ip + header;
	if ((void *)(ports + 1) > end)
		return 0;

	// A switch that floods, or a promiscuous port, shows frames that are for another host; one of
	// them forwarded would come back for ever. The kernel calls them PACKET_OTHERHOST and drops them.
	__builtin_memcpy(mac.mac, eth->h_dest, ETH_ALEN);
	if (!bpf_map_lookup_elem(&macs, &mac))
		return 0;

	key.address[10] = 0xff;
	key.address[11] = 0xff;
	__builtin_memcpy(&key.address[12], &ip->daddr, 4);
	key.port = ports->dest;
	key.protocol = ip->protocol;
	return bpf_map_lookup_elem(&services, &key) != 0;
}

SEC("xdp")
int steer(struct xdp_md *ctx)
{
	int action;

	if (!is_service((void *)(long)ctx->data, (void *)(long)ctx->data_end)) {
		count(COUNT_PASSED);
		return XDP_PASS;
	}
	// Without a socket on this queue the frame is dropped, not passed: the kernel owns the VIP and
	// would answer a client of the service with a RST.
	action = bpf_redirect_map(&sockets, ctx->rx_queue_index, XDP_DROP);
	count(action == XDP_REDIRECT ? COUNT_REDIRECTED : COUNT_NO_SOCKET);
	return action;
}

// GPL-only helpers need the string; the licence is the one at the top.
char _license[] SEC("license") = "Dual MIT/GPL";
