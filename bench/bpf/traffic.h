/* SPDX-License-Identifier: (MIT OR Apache-2.0) OR GPL-2.0 */
// What the generator's frames look like, and what the sink knows them by. The byte order of `mark` and `sent`
// is the machine's: both ends are on it.
#pragma once

#include <linux/bpf.h>
#include <linux/if_ether.h>
#include <linux/in.h>
#include <linux/ip.h>
#include <linux/udp.h>
#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>

#define MARK 0x73687562 // "bush" in a dump: a frame of this generator

// The least that Ethernet carries, without FCS. Mirrored by `wire::generator::FRAME`.
struct frame {
	struct ethhdr ethernet;
	struct iphdr ip;
	struct udphdr udp;
	__u32 mark;
	__u64 sent; // when, in nanoseconds of the monotonic clock
	__u8 padding[6];
} __attribute__((packed, aligned(2)));

_Static_assert(sizeof(struct frame) == 60, "a minimal frame");
