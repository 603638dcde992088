// SPDX-License-Identifier: (MIT OR Apache-2.0) OR GPL-2.0
//
// steer: the first decision about a frame, in the kernel. A frame of a configured service goes to the
// AF_XDP socket of the queue it came in on; every other frame goes on to the kernel untouched, so that
// ssh, ARP, neighbour discovery, VRRP, echo and the other ports of a VIP work as if shunt were not there.
//
// Of a service are: packets to one of its ports, whole or the first of their fragments; later fragments
// for its VIP, unless the kernel got the first; ICMP errors about what its VIP sent. Whether such a frame
// is sound, a worker judges: here only what is needed to know whose it is gets read, and what ends too
// early for that is passed.
//
// Layouts: linux/if_ether.h, linux/ip.h, linux/ipv6.h; IEEE 802.1Q; extension headers: RFC 8200,
// section 4, and RFC 4302, section 2; redirect: Documentation/networking/af_xdp.rst.
#include <linux/bpf.h>
#include <linux/if_ether.h>
#include <linux/in.h>
#include <linux/in6.h>
#include <linux/ip.h>
#include <linux/ipv6.h>
#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>
#include "maps.h"

#define MAX_TAGS 2
#define MAX_EXTENSIONS 8
// No frame of one buffer is longer; the kernel refuses offsets from 64 KiB on.
#define MAX_OFFSET 0x7fff

#define IPV4_MORE_FRAGMENTS 0x2000
#define IPV4_OFFSET 0x1fff
#define IPV6_MORE_FRAGMENTS 0x0001
#define IPV6_OFFSET 0xfff8

// linux/icmp.h and linux/icmpv6.h would bring in headers of the C library.
#define ICMP_HEADER 8
#define ICMP_DEST_UNREACH 3
#define ICMP_SOURCE_QUENCH 4
#define ICMP_TIME_EXCEEDED 11
#define ICMP_PARAMETERPROB 12
#define ICMPV6_DEST_UNREACH 1
#define ICMPV6_PARAMPROB 4

// What an IP header says, with its options or extension headers.
struct packet {
	struct address source;
	struct address destination;
	__be32 id;      // of a fragment
	__u32 payload;  // where in the frame what the packet carries begins
	__u8 protocol;  // of what it carries
	__u8 version;
	__u8 part;      // a fragment, or not; an atomic one (RFC 6946) is whole
};

enum { WHOLE, FIRST, LATER };

struct tag {
	__be16 tci;
	__be16 type;
};

// The first eight bytes of an extension header, which are all of a fragment header.
struct extension {
	__u8 next;
	__u8 length;
	__be16 fragment;
	__be32 id;
};

// TCP, UDP and SCTP headers begin with the two ports.
struct ports {
	__be16 source;
	__be16 destination;
};

static __always_inline void count(__u32 row)
{
	__u64 *n = bpf_map_lookup_elem(&counts, &row);
	if (n)
		*n += 1;
}

// Copies `length` bytes of the frame, if it has them. Where `offset` is a constant that is a load or two. Elsewhere the
// kernel does it: to add to a packet's pointer what is not a constant takes CAP_PERFMON (kernel/bpf/verifier.c,
// sanitize_ptr_alu), and a director shall do without it.
static __always_inline int read(struct xdp_md *ctx, __u32 offset, void *to, __u32 length)
{
	void *bytes;

	if (!__builtin_constant_p(offset))
		return offset <= MAX_OFFSET && !bpf_xdp_load_bytes(ctx, offset, to, length);
	bytes = (void *)(long)ctx->data;
	if (bytes + offset + length > (void *)(long)ctx->data_end)
		return 0;
	__builtin_memcpy(to, bytes + offset, length);
	return 1;
}

static __always_inline struct address mapped(__be32 v4)
{
	return (struct address){ { 0, 0, bpf_htonl(0xffff), v4 } };
}

static __always_inline int is_same(const struct address *a, const struct address *b)
{
	return a->words[0] == b->words[0] && a->words[1] == b->words[1] && a->words[2] == b->words[2] &&
	       a->words[3] == b->words[3];
}

static __always_inline int parse_v4(struct xdp_md *ctx, __u32 offset, struct packet *packet)
{
	struct iphdr ip;
	__u16 fragment;

	if (!read(ctx, offset, &ip, sizeof(ip)) || ip.version != 4 || ip.ihl < 5)
		return 0;
	fragment = bpf_ntohs(ip.frag_off);
	packet->source = mapped(ip.saddr);
	packet->destination = mapped(ip.daddr);
	packet->id = ip.id;
	packet->payload = offset + ip.ihl * 4;
	packet->protocol = ip.protocol;
	packet->version = 4;
	packet->part = fragment & IPV4_OFFSET ? LATER : fragment & IPV4_MORE_FRAGMENTS ? FIRST : WHOLE;
	return 1;
}

static __always_inline int is_extension(__u8 protocol)
{
	return protocol == IPPROTO_HOPOPTS || protocol == IPPROTO_ROUTING || protocol == IPPROTO_FRAGMENT ||
	       protocol == IPPROTO_DSTOPTS || protocol == IPPROTO_AH;
}

// Moves on by one extension header. Global, so that the verifier judges it alone, once, and not for every
// way that leads there through the headers before.
__noinline int skip_extension(struct xdp_md *ctx, struct packet *packet)
{
	struct extension extension;
	__u32 length;

	if (!packet || !read(ctx, packet->payload, &extension, sizeof(extension)))
		return 0;
	if (packet->protocol == IPPROTO_FRAGMENT) {
		if (extension.fragment & bpf_htons(IPV6_OFFSET))
			packet->part = LATER;
		else if (extension.fragment & bpf_htons(IPV6_MORE_FRAGMENTS))
			packet->part = FIRST;
		packet->id = extension.id;
		length = sizeof(extension);
	} else if (packet->protocol == IPPROTO_AH) {
		length = (extension.length + 2) * 4;
	} else {
		length = (extension.length + 1) * 8;
	}
	packet->protocol = extension.next;
	packet->payload += length;
	return 1;
}

// Behind MAX_EXTENSIONS headers `protocol` may be that of yet another, which is the protocol of no service.
static __always_inline int parse_v6(struct xdp_md *ctx, __u32 offset, struct packet *packet)
{
	struct ipv6hdr ip;

	if (!read(ctx, offset, &ip, sizeof(ip)) || ip.version != 6)
		return 0;
	packet->source = *(struct address *)&ip.saddr;
	packet->destination = *(struct address *)&ip.daddr;
	packet->payload = offset + sizeof(ip);
	packet->protocol = ip.nexthdr;
	packet->version = 6;
	packet->part = WHOLE;
	for (int n = 0; n < MAX_EXTENSIONS && packet->part != LATER && is_extension(packet->protocol); n++) {
		if (!skip_extension(ctx, packet))
			return 0;
	}
	return 1;
}

static __always_inline int parse_ip(struct xdp_md *ctx, __be16 type, __u32 offset, struct packet *packet)
{
	if (type == bpf_htons(ETH_P_IP))
		return parse_v4(ctx, offset, packet);
	if (type == bpf_htons(ETH_P_IPV6))
		return parse_v6(ctx, offset, packet);
	return 0;
}

static __always_inline int is_tag(__be16 type)
{
	return type == bpf_htons(ETH_P_8021Q) || type == bpf_htons(ETH_P_8021AD) || type == bpf_htons(ETH_P_QINQ1);
}

// The packet of a frame with up to MAX_TAGS VLAN tags; behind more is none.
static __always_inline int parse(struct xdp_md *ctx, struct packet *packet)
{
	__u32 offset = sizeof(struct ethhdr);
	struct ethhdr ethernet;
	struct mac_key mac = {};
	struct tag tag;
	__be16 type;

	if (!read(ctx, 0, &ethernet, sizeof(ethernet)))
		return 0;
	// A switch that floods, or a promiscuous port, shows frames that are for another host; one of
	// them forwarded would come back for ever. The kernel calls them PACKET_OTHERHOST and drops them.
	__builtin_memcpy(mac.mac, ethernet.h_dest, ETH_ALEN);
	if (!bpf_map_lookup_elem(&macs, &mac))
		return 0;
	type = ethernet.h_proto;
	if (!is_tag(type))
		return parse_ip(ctx, type, sizeof(struct ethhdr), packet);
	for (int n = 0; n < MAX_TAGS && is_tag(type); n++) {
		if (!read(ctx, offset, &tag, sizeof(tag)))
			return 0;
		type = tag.type;
		offset += sizeof(tag);
	}
	return parse_ip(ctx, type, offset, packet);
}

static __always_inline int is_service(const struct address *address, __be16 port, __u8 protocol)
{
	struct port_key one = { .address = *address, .port = port, .protocol = protocol };
	struct prefix_key several = { .bits = ALL_PREFIX_BITS, .address = *address, .protocol = protocol };

	if (bpf_map_lookup_elem(&services, &one))
		return 1;
	__builtin_memcpy(several.port, &port, sizeof(several.port));
	return bpf_map_lookup_elem(&ranges, &several) != 0;
}

static __always_inline int is_vip(const struct packet *packet)
{
	struct vip_key key = { .address = packet->destination, .protocol = packet->protocol };

	return bpf_map_lookup_elem(&vips, &key) != 0;
}

static __always_inline struct datagram_key datagram(const struct packet *packet)
{
	return (struct datagram_key){
		.source = packet->source,
		.destination = packet->destination,
		.id = packet->id,
		.protocol = packet->version == 4 ? packet->protocol : 0,
	};
}

// The later fragments of a datagram carry no ports: they go where the first went. Until it has come that
// is a worker, which can hold them. (One that says not what it is a fragment of, but that an extension
// header comes first, is of no protocol that has services: passed.)
static __always_inline int is_later_of_service(const struct packet *packet)
{
	struct datagram_key key = datagram(packet);

	return is_vip(packet) && !bpf_map_lookup_elem(&passed, &key);
}

static __always_inline void remember_first(const struct packet *packet, int service)
{
	struct datagram_key key = datagram(packet);
	__u8 value = 1;

	// Identifications come again: one that was passed may now be of a service.
	if (service)
		bpf_map_delete_elem(&passed, &key);
	else if (is_vip(packet))
		bpf_map_update_elem(&passed, &key, &value, BPF_ANY);
}

static __always_inline int is_error(__u8 version, __u8 type)
{
	if (version == 6)
		return type >= ICMPV6_DEST_UNREACH && type <= ICMPV6_PARAMPROB;
	return type == ICMP_DEST_UNREACH || type == ICMP_SOURCE_QUENCH || type == ICMP_TIME_EXCEEDED ||
	       type == ICMP_PARAMETERPROB;
}

// An ICMP error quotes what the VIP has sent (RFC 792; RFC 4443, section 3): source and destination are the
// other way round.
static __always_inline int is_error_of_service(struct xdp_md *ctx, const struct packet *packet)
{
	__u32 offset = packet->payload + ICMP_HEADER;
	struct packet quoted = {};
	__u8 icmp[ICMP_HEADER];
	struct ports ports;

	if (packet->part != WHOLE || !read(ctx, packet->payload, icmp, sizeof(icmp)) ||
	    !is_error(packet->version, icmp[0]))
		return 0;
	if (!(packet->version == 4 ? parse_v4(ctx, offset, &quoted) : parse_v6(ctx, offset, &quoted)))
		return 0;
	// Routers answer to no later fragment (RFC 1812, section 4.3.2.7).
	if (quoted.part == LATER || !is_same(&quoted.source, &packet->destination))
		return 0;
	return read(ctx, quoted.payload, &ports, sizeof(ports)) &&
	       is_service(&quoted.source, ports.source, quoted.protocol);
}

// Most packets have neither tags nor options: they are read without the kernel's help.
static __always_inline int read_ports(struct xdp_md *ctx, __u32 offset, struct ports *ports)
{
	const __u32 behind_v4 = sizeof(struct ethhdr) + sizeof(struct iphdr);
	const __u32 behind_v6 = sizeof(struct ethhdr) + sizeof(struct ipv6hdr);

	if (offset == behind_v4)
		return read(ctx, behind_v4, ports, sizeof(*ports));
	if (offset == behind_v6)
		return read(ctx, behind_v6, ports, sizeof(*ports));
	return read(ctx, offset, ports, sizeof(*ports));
}

static __always_inline int is_of_service(struct xdp_md *ctx)
{
	struct packet packet = {};
	struct ports ports;
	int service;

	if (!parse(ctx, &packet))
		return 0;
	if (packet.protocol == (packet.version == 4 ? IPPROTO_ICMP : IPPROTO_ICMPV6))
		return is_error_of_service(ctx, &packet);
	if (packet.protocol != IPPROTO_TCP && packet.protocol != IPPROTO_UDP && packet.protocol != IPPROTO_SCTP)
		return 0;
	if (packet.part == LATER)
		return is_later_of_service(&packet);
	if (!read_ports(ctx, packet.payload, &ports))
		return 0;
	service = is_service(&packet.destination, ports.destination, packet.protocol);
	if (packet.part == FIRST)
		remember_first(&packet, service);
	return service;
}

// The coarse clock is late by a tick at most, a few ms of a second, and much cheaper than the fine one. (Linux 5.11)
static __always_inline int is_stalled(__u32 queue)
{
	struct beat *beat = bpf_map_lookup_elem(&beats, &queue);
	__u64 until = beat ? *(volatile __u64 *)&beat->until : 0;

	return until && bpf_ktime_get_coarse_ns() > until;
}

SEC("xdp")
int steer(struct xdp_md *ctx)
{
	int action;

	if (!is_of_service(ctx)) {
		count(COUNT_PASSED);
		return XDP_PASS;
	}
	// What nobody would look at for who knows how long is better lost now: its sender comes again, by then to
	// another director. And whoever asks is told why.
	if (is_stalled(ctx->rx_queue_index)) {
		count(COUNT_WORKER_STALLED);
		return XDP_DROP;
	}
	// Without a socket on this queue the frame is dropped, not passed: the kernel owns the VIP and
	// would answer a client of the service with a RST.
	action = bpf_redirect_map(&sockets, ctx->rx_queue_index, XDP_DROP);
	count(action == XDP_REDIRECT ? COUNT_REDIRECTED : COUNT_NO_SOCKET);
	return action;
}

// GPL-only helpers need the string; the licence is the one at the top.
char _license[] SEC("license") = "Dual MIT/GPL";
