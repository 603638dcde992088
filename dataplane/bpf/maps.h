/* SPDX-License-Identifier: (MIT OR Apache-2.0) OR GPL-2.0 */
// What steer.bpf.c is fed by: its maps and their keys. Control writes `services`, `ranges`, `vips`, `macs` and
// `sockets` (xsk/steering.rs), and reads `counts`; each worker writes its cells of `beats` (xsk/beat.rs); `passed` is
// the program's own.
#pragma once

#include <linux/bpf.h>
#include <linux/if_ether.h>
#include <bpf/bpf_helpers.h>

// An IPv4 address stands in its mapped form ::ffff:a.b.c.d (RFC 4291, section 2.5.5.2), so that one map
// serves both families.
struct address {
	__be32 words[4];
};

// One port of a VIP. Mirrored by `xsk::steering::PortKey`.
struct port_key {
	struct address address;
	__be16 port;
	__u8 protocol;
	__u8 zero;
};

// Ports of a VIP whose numbers begin with the same bits. Mirrored by `xsk::steering::PrefixKey`.
struct prefix_key {
	__u32 bits; // how many count, from the first of `address` on
	struct address address;
	__u8 protocol;
	__u8 port[2];
	__u8 zero;
};

#define ALL_PREFIX_BITS (8 * (sizeof(struct address) + 1 + 2))

// A VIP with a service of this protocol. Mirrored by `xsk::steering::VipKey`.
struct vip_key {
	struct address address;
	__u8 protocol;
	__u8 zero[3];
};

// A destination MAC address that means this director. Mirrored by `xsk::steering::MacKey`.
struct mac_key {
	__u8 mac[ETH_ALEN];
	__u8 zero[2];
};

// What fragments of one datagram have in common: RFC 791, section 3.2, and, without the protocol, RFC 8200,
// section 4.5.
struct datagram_key {
	struct address source;
	struct address destination;
	__be32 id;
	__u8 protocol; // 0 in IPv6
	__u8 zero[3];
};

// Until when the worker of a queue may be taken for alive, in nanoseconds of CLOCK_MONOTONIC; 0: nobody has ever said
// so. A cache line of its own for each: the worker writes it a thousand times a second. Mirrored by `xsk::beat::Cell`.
struct beat {
	__u64 until;
	__u64 zero[7];
};

// Rows of `counts`; mirrored by `xsk::steering::SteerCounts`.
enum { COUNT_PASSED, COUNT_REDIRECTED, COUNT_NO_SOCKET, COUNT_WORKER_STALLED, COUNT_ROWS };

// Services with one port.
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 65536);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, struct port_key);
	__type(value, __u8);
} services SEC(".maps");

// Services with several: their ports, split into prefixes, at most 30 a service.
struct {
	__uint(type, BPF_MAP_TYPE_LPM_TRIE);
	__uint(max_entries, 1 << 20);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, struct prefix_key);
	__type(value, __u8);
} ranges SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 65536);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, struct vip_key);
	__type(value, __u8);
} vips SEC(".maps");

// The interface's own, and a virtual one for each VRID and family (RFC 9568, section 7.3): 511 at most.
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 1024);
	__type(key, struct mac_key);
	__type(value, __u8);
} macs SEC(".maps");

// Datagrams to a VIP, though to no service, whose first fragment was passed.
struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, 4096);
	__type(key, struct datagram_key);
	__type(value, __u8);
} passed SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_XSKMAP);
	__uint(max_entries, 256); // = xsk::steering::MAX_QUEUES
	__type(key, __u32);
	__type(value, __u32);
} sockets SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 256); // = xsk::steering::MAX_QUEUES
	__uint(map_flags, BPF_F_MMAPABLE);
	__type(key, __u32);
	__type(value, struct beat);
} beats SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, COUNT_ROWS);
	__type(key, __u32);
	__type(value, __u64);
} counts SEC(".maps");
