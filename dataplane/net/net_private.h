/* SPDX-License-Identifier: Apache-2.0 */
/*
 * net_private.h - what the files of this folder share: the instance, a parsed
 * packet, a way to a peer, a frame on its way out.
 */
#pragma once

#include "net.h"

#include <lepus/atomic.h>
#include <lepus/bytes.h>

#include "dataplane/base/hash.h"
#include "dataplane/base/list.h"
#include "dataplane/base/memory.h"
#include "dataplane/base/pool.h"
#include "dataplane/base/wheel.h"
#include <lepus/net_counters.h>

/* Of a port; those that nobody asked for lately go first. */
#define NET_NEIGHBOURS_MAX 1024u
/* Of a port: the device's frames that may wait for neighbours to answer. */
#define NET_PENDING_MAX 64u
/* Of a port: neighbours that are asked for and have not answered; the oldest goes first. */
#define NET_ASKED_MAX    256u
#define NET_FORWARDS_MAX 64u /* frames a poll() takes from each other shard */

/* A received packet: pointers into its frame, all of them checked. */
struct net_packet {
    struct lp_nic_frame *frame;
    uint8_t port;   /* of the instance */
    uint8_t family; /* LP_ADDRESS_IPV4, LP_ADDRESS_IPV6 */
    uint8_t protocol;
    uint8_t hop_limit;
    bool l4_checked; /* the device vouches for TCP's checksum */
    bool lent; /* tcp/receive.c: an event points into it, so the frame stays till the next poll() */
    bool to_group; /* sent to broadcast or multicast, of link or network */
    const uint8_t *from_mac;
    const uint8_t *from; /* 4 or 16 bytes */
    const uint8_t *to;
    const uint8_t *l3; /* the header of IP: errors quote it */
    uint8_t *l4;
    uint32_t l4_bytes;
    uint16_t segment_bytes; /* nic.h: 0 unless the device joined several */
};

/*
 * A way to a peer: which port, which neighbour, from which address.  Copied
 * into each connection; a neighbour that went away is looked up again.
 */
struct net_path {
    uint8_t family;
    uint8_t port;
    uint16_t mtu_bytes; /* of the port, or less: path MTU discovery is tcp/pmtu.c's */
    uint32_t neighbour; /* neighbour.c's name for the next hop; 0: to be looked up */
    uint8_t local[16];
    uint8_t remote[16];
};

/* A frame being made: headers of link and network are there, `l4` is the caller's. */
struct net_out {
    struct lp_nic_frame frame;
    uint8_t *l4;
    uint32_t l4_room;
    uint32_t l4_offset;
    uint8_t protocol;
    uint8_t ecn; /* RFC 3168 5: the codepoint in the header of IP; 0 unless it is said */
    const struct net_path *path;
};

struct net_exception;
struct net_neighbours;
struct net_steer;
struct tcp;
struct fabric_end;

struct net_port {
    struct lp_net_port config;
    struct lp_nic_caps caps;
    uint16_t mtu_bytes;
    /* Frames for the device that wait for the end of the turn; what it refuses stays. */
    uint32_t sending_count;
    struct lp_nic_frame sending[LP_NIC_BURST_MAX];
    struct net_exception *exception;   /* exception.c; NULL: there is none */
    struct net_neighbours *neighbours; /* neighbour.c */
    uint32_t address_count;            /* those of config, and one of the link (fe80::/10) */
    struct net_address *addresses;     /* dad.c */
    bool has_ip6;
};

/* So many a second, and no more (net_bucket_take()). */
struct net_bucket {
    uint64_t filled_ns;
    uint32_t left;
};

/* Where poll() puts its events. */
struct net_sink {
    struct lp_transport_event *events;
    uint32_t count;
    uint32_t max;
};

struct lp_net {
    struct lp_net_config config;
    struct lp_net_env env;
    struct lp_memory *memory;
    uint64_t now_ns; /* of this poll(), or of what is between two */
    struct lp_wheel wheel;
    struct lp_hash_key hash_key;
    struct net_steer *steer; /* steer.c: NULL when there is one shard */
    struct net_sink sink;
    /* Received frames whose payload events point into: they go back at the next poll(). */
    uint32_t lent_count;
    struct lp_nic_frame lent[LP_NIC_BURST_MAX * LP_NET_PORTS_MAX];
    uint8_t lent_port[LP_NIC_BURST_MAX * LP_NET_PORTS_MAX];
    bool accepting; /* until accept_stop() */
    bool accept_paused;
    bool exceptions;  /* some port has one */
    bool joining;     /* a burst: segments that continue each other are looked for (tcp/gro.c) */
    bool from_fabric; /* the frame that is worked on came from another shard: it is not given on */
    uint32_t look_ns; /* until such a device is looked at again */
    uint32_t woken;   /* wake_any(): written by any thread */
    struct net_bucket errors; /* icmp.c: RFC 1812 4.3.2.8, RFC 4443 2.4 (f) */
    struct net_bucket echoes;
    struct net_bucket reports;
    struct lp_net_counters counters;
    struct fabric_end *fabric; /* fabric.c; NULL: one shard */
    struct tcp *tcp;
    struct lp_net_capture capture; /* frame NULL: nobody looks */
    struct net_port port[LP_NET_PORTS_MAX];
};

/* An address of ours: dad.c. */
enum net_address_state {
    NET_TENTATIVE, /* nobody has objected yet */
    NET_PREFERRED,
    NET_DUPLICATE, /* somebody has: not used, and asked for again later */
    NET_RETRYING,  /* asked for again: not used before nobody has objected */
};

struct net_address {
    uint8_t family;
    uint8_t bits;
    uint8_t state;     /* enum net_address_state */
    uint8_t probes;    /* still to be sent */
    uint8_t announces; /* likewise */
    uint8_t port;
    uint8_t conflicts; /* since it was ours; dad.c */
    uint8_t ip[16];
    uint64_t defended_ns; /* RFC 5227 2.4: when a conflict was last answered; 0: never */
    struct lp_timer timer;
};

/* It is ours, or may become so; nobody else has it. */
static inline bool
net_address_held(const struct net_address *address)
{
    return address != NULL && (address->state == NET_TENTATIVE || address->state == NET_PREFERRED);
}

/* Whoever has it, or wants it, too, may have it. */
static inline bool
net_address_probed(const struct net_address *address)
{
    return address->state == NET_TENTATIVE || address->state == NET_RETRYING;
}

static inline uint32_t
net_ip_bytes(uint8_t family)
{
    return family == LP_ADDRESS_IPV4 ? 4u : 16u;
}

/* Of sizes that the compiler knows: a call costs more than what it does. */
static inline void
net_ip_copy(uint8_t family, uint8_t *to, const uint8_t *from)
{
    if (LP_LIKELY(family == LP_ADDRESS_IPV4)) {
        memcpy(to, from, 4);
    } else {
        memcpy(to, from, 16);
    }
}

static inline bool
net_ip_equal(uint8_t family, const uint8_t *a, const uint8_t *b)
{
    return LP_LIKELY(family == LP_ADDRESS_IPV4) ? memcmp(a, b, 4) == 0 : memcmp(a, b, 16) == 0;
}

/* ---- net.c ---- */
/* May one more go, at `rate` a second with bursts of as many? */
bool net_bucket_take(const struct lp_net *net, struct net_bucket *bucket, uint32_t rate);
uint32_t net_random(struct lp_net *net);
/* Of all shards only this one answers for the machine: echoes, ARP, NDP, DAD. */
static inline bool
net_answers(const struct lp_net *net)
{
    return net->config.shard == 0;
}

/* ---- report.c ---- */
/* Somebody looks: shows it. */
void net_capture(const struct lp_net *net, uint32_t port, bool sent,
                 const struct lp_nic_frame *frame);

/* ---- ethernet.c ---- */
#define NET_ETHERNET_BYTES 14u
#define NET_VLAN_BYTES     4u
#define NET_TYPE_IPV4      0x0800u
#define NET_TYPE_ARP       0x0806u
#define NET_TYPE_VLAN      0x8100u
#define NET_TYPE_IPV6      0x86ddu
/* One received frame, whatever it is.  True: an event points into it, it is lent. */
bool net_frame_input(struct lp_net *net, uint32_t port, struct lp_nic_frame *frame);
/* Ethernet's header, with a tag where the port has one; gives how many bytes. */
uint32_t net_ethernet_write(const struct net_port *port, uint8_t *to, const uint8_t *mac,
                            uint16_t type);
static inline uint32_t
net_ethernet_bytes(const struct net_port *port)
{
    return NET_ETHERNET_BYTES + (port->config.vlan != 0 ? NET_VLAN_BYTES : 0u);
}

/* ---- exception.c ---- */
LP_MUST_CHECK enum lp_err net_exception_init_boot(struct lp_net *net, uint32_t port);
void net_exception_fini(struct lp_net *net, uint32_t port);
/* Nobody here claims this frame.  True: the kernel gets it, or its loss is counted; nothing else is
 * to be done or counted.  False: the port has no exception path. */
bool net_exception_give(struct lp_net *net, const struct net_packet *packet);
/* Both want it: of those that are shown to all shards, the first to see it gives it. */
void net_exception_copy(struct lp_net *net, const struct net_packet *packet);
/* A packet from or to an address with which we have nothing to do: the kernel's, or counted. */
void net_exception_foreign(struct lp_net *net, const struct net_packet *packet);
/* A fragment; `head`: its ports are in it.  The kernel's, or counted. */
void net_exception_fragment(struct lp_net *net, const struct net_packet *packet, bool head);
/* The end of a turn, twice: what the kernel sends goes behind what we send, and when that has left,
 * the kernel gets its frames. */
void net_exception_take(struct lp_net *net);
void net_exception_flush(struct lp_net *net);
/* sleep_begin(): as with devices. */
LP_MUST_CHECK bool net_exception_sleep_begin(struct lp_net *net, uint32_t port, uint64_t *next_ns);
void net_exception_sleep_end(struct lp_net *net, uint32_t port);
/* Devices that cannot wake anybody are looked at so often, and less and less when nothing comes:
 * each empty look doubles the time to the next, up to a millisecond. */
#define NET_LOOK_NS     (50u * 1000u)
#define NET_LOOK_MAX_NS (1000u * 1000u)
/* Frames that a device would not take are offered again after this. */
#define NET_RETRY_NS (20u * 1000u)

/* ---- arp.c ---- */
void net_arp_input(struct lp_net *net, struct net_packet *packet, struct lp_reader *reader);
/* Who has `target`?  `mac`: ask this one only; NULL: all. */
void net_arp_request(struct lp_net *net, uint32_t port, const uint8_t *source,
                     const uint8_t *target, const uint8_t *mac);

/* ---- ipv4.c, ipv6.c: a frame's payload; what is not ours or not whole is counted and dropped ----
 */
#define NET_PROTOCOL_ICMP  1u
#define NET_PROTOCOL_TCP   6u
#define NET_PROTOCOL_UDP   17u
#define NET_PROTOCOL_ICMP6 58u
#define NET_IPV4_BYTES     20u
#define NET_IPV6_BYTES     40u
void net_ipv4_input(struct lp_net *net, struct net_packet *packet, struct lp_reader *reader);
void net_ipv6_input(struct lp_net *net, struct net_packet *packet, struct lp_reader *reader);
/* What was not tested by the device is tested here; `pseudo`: net_sum_pseudo(), or 0. */
bool net_l4_good(const struct net_packet *packet, uint32_t pseudo);
/* TCP to whose flow it is: here, or over the fabric. */
void net_tcp_steer(struct lp_net *net, struct net_packet *packet);

/* ---- icmp.c, icmp6.c ---- */
void net_icmp_input(struct lp_net *net, struct net_packet *packet);
void net_icmp6_input(struct lp_net *net, struct net_packet *packet);
/* Destination unreachable; sent by RFC 1122 3.2.2's and RFC 4443 2.4's rules only. */
void net_icmp_unreachable(struct lp_net *net, const struct net_packet *packet, uint8_t code);
void net_icmp6_error(struct lp_net *net, const struct net_packet *packet, uint8_t type,
                     uint8_t code, uint32_t parameter);

/* ---- ndp.c ---- */
void net_ndp_input(struct lp_net *net, struct net_packet *packet);
/* Neighbour solicitation.  `source` NULL: of DAD.  `mac`: ask this one only; NULL: its group. */
void net_ndp_solicit(struct lp_net *net, uint32_t port, const uint8_t *source,
                     const uint8_t *target, const uint8_t *mac);
/* Neighbour advertisement to all nodes (RFC 4861 7.2.6). */
void net_ndp_announce(struct lp_net *net, const struct net_address *address);
/* RFC 3810: which groups we listen to; and what a router wants to know. */
void net_mld_report(struct lp_net *net, uint32_t port);
void net_mld_query(struct lp_net *net, const struct net_packet *packet);
/* ff02::1:ff00:0/104 and the target's last bytes (RFC 4291 2.7.1). */
void net_ndp_group(const uint8_t *target, uint8_t *ret_group);

/* ---- address.c ---- */
/* RFC 1122 3.2.1.3 (c) to (g), RFC 4291 2.5.2, 2.5.3, 2.7: may it be one machine's on a link? */
bool net_ip4_host(const uint8_t *ip);
bool net_ip6_host(const uint8_t *ip);
bool net_ip6_link_local(const uint8_t *ip);
/* An address of ours, whatever its state, or NULL. */
struct net_address *net_address_find(const struct lp_net *net, uint32_t port, uint8_t family,
                                     const uint8_t *ip);
/* May it be used and answered for? */
bool net_address_usable(const struct lp_net *net, const struct net_address *address);
/* Of IPv4: all ones, or all ones or zeros behind the prefix of one of the port's addresses. */
bool net_ip4_broadcast(const struct lp_net *net, uint32_t port, const uint8_t *ip);

/* ---- dad.c ---- */
LP_MUST_CHECK enum lp_err dad_init_boot(struct lp_net *net, uint32_t port);
/* Somebody else uses it, as a packet of ARP or NDP shows. */
void dad_conflict(struct lp_net *net, struct net_address *address);

/* ---- config.c ---- */
/* Usual values where there are zeros; LP_ERR_BAD_CONFIG for what contradicts itself. */
LP_MUST_CHECK enum lp_err net_config_check(struct lp_net_config *config);

/* ---- steer.c ---- */
#define NET_BUCKETS         128u
#define NET_STEER_KEY_BYTES 40u
LP_MUST_CHECK enum lp_err net_steer_init_boot(struct lp_net *net);
/* Toeplitz (the "RSS hash" of devices) of up to 36 bytes, with this key. */
uint32_t net_toeplitz(const uint8_t *key, const uint8_t *data, uint32_t bytes);
/* The shard that owns this flow: Toeplitz over addresses and ports as received, 128 buckets. */
uint32_t net_steer_owner(const struct lp_net *net, const struct net_packet *packet,
                         uint16_t from_port, uint16_t to_port);
/* Likewise for a connection that we would open: what its answers will hash to. */
uint32_t net_steer_owner_of(const struct lp_net *net, const struct net_path *path,
                            uint16_t local_port, uint16_t remote_port);

/* ---- route.c ---- */
/* The way to `remote`.  `local`: from this address of ours, or NULL: the first that fits.  False:
 * there is none. */
LP_MUST_CHECK bool net_path_find(const struct lp_net *net, uint8_t family, const uint8_t *remote,
                                 const uint8_t *local, struct net_path *ret_path);
/* The way back to who sent `packet`. */
LP_MUST_CHECK bool net_path_back(const struct lp_net *net, const struct net_packet *packet,
                                 struct net_path *ret_path);
/* Whose MAC address a packet on this path needs: the gateway's, or the peer's own.  False: there is
 * no route any more. */
LP_MUST_CHECK bool net_next_hop(const struct lp_net *net, const struct net_path *path,
                                uint8_t *ret_hop);
/* Do the first `bits` bits agree? */
bool net_prefix_equal(const uint8_t *a, const uint8_t *b, uint32_t bits);

/* ---- neighbour.c ---- */
LP_MUST_CHECK enum lp_err net_neighbours_init_boot(struct lp_net *net, uint32_t port);
void net_neighbours_fini(struct lp_net *net, uint32_t port);
void net_neighbours_check(const struct lp_net *net, uint32_t port);
/* Its name for net_path.neighbour; 0: nobody knows it. */
uint32_t net_neighbour_find(const struct lp_net *net, uint32_t port, uint8_t family,
                            const uint8_t *ip);
/*
 * Where frames for this path go: true and the MAC address.  False: it is not
 * known yet; the neighbour is being asked and takes the frame, or drops it.
 */
LP_MUST_CHECK bool net_neighbour_resolve(struct lp_net *net, const struct net_path *path,
                                         struct lp_nic_frame *frame, uint8_t *ret_mac);
/* What a packet said about a neighbour; `mac` NULL: nothing about its address. */
enum net_neighbour_news {
    NET_NEIGHBOUR_HINT, /* it asked us: STALE, made if there is room (RFC 826, RFC 4861 7.2.3) */
    NET_NEIGHBOUR_TOLD, /* unsolicited: updates, never makes */
    NET_NEIGHBOUR_KEPT, /* unsolicited, without override: never changes an address */
    NET_NEIGHBOUR_ANSWERED,      /* it answered us: REACHABLE */
    NET_NEIGHBOUR_ANSWERED_KEPT, /* likewise, without override */
};
struct net_neighbour_said {
    uint8_t port;
    uint8_t family;
    const uint8_t *ip;
    const uint8_t *mac;
    enum net_neighbour_news news;
};
void net_neighbour_learn(struct lp_net *net, const struct net_neighbour_said *said);

/* ---- output.c ---- */
/*
 * A frame for `l4_bytes` to be filled in by the caller: up to the path's MTU,
 * or, with TSO, up to what caps.frame_bytes_max holds.  False: the device has
 * none now, or takes none.  net_out_send() takes it in any case: to the
 * device, to wait for the neighbour's address, or to nobody.
 */
LP_MUST_CHECK bool net_out_begin(struct lp_net *net, const struct net_path *path, uint8_t protocol,
                                 uint32_t l4_bytes, struct net_out *ret_out);
/* `tcp_header_bytes` > 0: TCP; its checksum is filled in by the device or by us.
 * `segment_bytes`: nic.h. */
void net_out_send(struct lp_net *net, struct net_out *out, uint32_t l4_bytes,
                  uint8_t tcp_header_bytes, uint16_t segment_bytes);
/* How much payload of TCP one frame may carry with TSO; 0: the port has none. */
uint32_t net_out_tso_bytes(const struct lp_net *net, const struct net_path *path);
/* Confirmed by TCP: this neighbour hears us (RFC 4861 7.3.1). */
void net_path_confirm(struct lp_net *net, struct net_path *path);
/* Frames that wait go to the devices. */
void net_out_flush(struct lp_net *net);
/* A frame of the link (ARP), or to a MAC address that is known already (NDP): straight to the
 * device.  NULL: the device has none. */
uint8_t *net_raw_begin(struct lp_net *net, uint32_t port, uint32_t bytes,
                       struct lp_nic_frame *ret_frame);
void net_raw_send(struct lp_net *net, uint32_t port, struct lp_nic_frame *frame);
/* The header of the link for a packet of IP. */
void net_link_write(const struct net_port *port, uint8_t family, const uint8_t *mac, uint8_t *to);

/* ---- checksum.c ---- */
/* Ones' complement sum (RFC 1071), folded to 16 bits, not complemented; `sum` is added. */
uint16_t net_sum(const void *data, size_t bytes, uint32_t sum);
/* The pseudo-header's (RFC 9293 3.1, RFC 8200 8.1). */
uint32_t net_sum_pseudo(uint8_t family, const uint8_t *from, const uint8_t *to, uint8_t protocol,
                        uint32_t l4_bytes);

/* ---- fabric.c ---- */
/* When there is more than one shard; broadcast does nothing otherwise. */
LP_MUST_CHECK enum lp_err fabric_open_boot(struct lp_net *net);
/* Hand a frame's bytes to the shard that owns its flow; it is copied.  Full: dropped and counted.
 */
void net_fabric_forward(struct lp_net *net, uint32_t shard, uint32_t port,
                        const struct lp_nic_frame *frame);
/* To all others: what all have to know. */
void fabric_broadcast(struct lp_net *net, uint32_t port, const struct lp_nic_frame *frame);
/* What others gave us; it is ours to write into until fabric_give_back(). */
void fabric_receive(struct lp_net *net);
void fabric_give_back(struct lp_net *net);
/* The end of a turn: what was forwarded can be seen, who sleeps is woken. */
void fabric_publish(struct lp_net *net);
/* False: frames wait.  The flag is up until fabric_sleep_end(). */
LP_MUST_CHECK bool fabric_sleep_begin(struct lp_net *net);
void fabric_sleep_end(struct lp_net *net);
