/* SPDX-License-Identifier: Apache-2.0 */
/*
 * net_private.h - what the files of this folder share: the instance, a parsed
 * packet, a way to a peer, a frame on its way out.
 */
#pragma once

#include "net.h"

#include <lepus/bytes.h>

#include "counters.h"
#include "dataplane/base/hash.h"
#include "dataplane/base/list.h"
#include "dataplane/base/memory.h"
#include "dataplane/base/pool.h"
#include "dataplane/base/wheel.h"

#define NET_NEIGHBOURS_MAX                                                                    \
    1024u                    /* of a port; the oldest that nobody asked for lately goes first \
                              */
#define NET_FORWARDS_MAX 64u /* frames a poll() takes from each other shard */

/* A received packet: pointers into its frame, all of them checked. */
struct net_packet {
    struct lp_nic_frame *frame;
    uint8_t port;   /* of the instance */
    uint8_t family; /* LP_ADDRESS_IPV4, LP_ADDRESS_IPV6 */
    uint8_t protocol;
    uint8_t hop_limit;
    bool l4_checked; /* the device vouches for TCP's checksum */
    bool to_group;   /* sent to broadcast or multicast, of link or network */
    const uint8_t *from_mac;
    const uint8_t *from; /* 4 or 16 bytes */
    const uint8_t *to;
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
    uint32_t neighbour; /* index + 1 into the port's table; 0: to be looked up */
    uint8_t local[16];
    uint8_t remote[16];
};

/* A frame being made: headers of link and network are there, `l4` is the caller's. */
struct net_out {
    struct lp_nic_frame frame;
    uint8_t *l4;
    uint32_t l4_room;
    const struct net_path *path;
};

struct net_neighbour;
struct tcp;
struct fabric_end;

struct net_port {
    struct lp_net_port config;
    struct lp_nic_caps caps;
    uint16_t mtu_bytes;
    /* Frames for the device that wait for the end of the turn; what it refuses stays. */
    uint32_t sending_count;
    struct lp_nic_frame sending[LP_NIC_BURST_MAX];
    struct net_neighbour *neighbours;    /* neighbour.c */
    struct net_address_state *addresses; /* dad.c: one each of config.address, and link-local's */
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
    uint64_t now_ns; /* of this poll() */
    struct lp_wheel wheel;
    struct lp_hash_key hash_key;
    uint8_t rss_key[40]; /* steer.c: the device's when it has one */
    struct net_sink sink;
    /* Received frames whose payload events point into: they go back at the next poll(). */
    uint32_t lent_count;
    struct lp_nic_frame lent[LP_NIC_BURST_MAX * LP_NET_PORTS_MAX];
    uint32_t ip_id;
    bool accepting; /* accept_stop() */
    bool accept_paused;
    bool woken;
    struct lp_net_counters counters;
    struct fabric_end *fabric; /* fabric.c; NULL: one shard */
    struct tcp *tcp;
    struct net_port port[LP_NET_PORTS_MAX];
};

/* ---- ethernet.c ---- */
/* One received frame, whatever it is.  True: an event points into it, it is lent. */
bool net_frame_input(struct lp_net *net, uint32_t port, struct lp_nic_frame *frame);

/* ---- ipv4.c, ipv6.c: a frame's payload; what is not ours or not whole is counted and dropped ----
 */
void net_ipv4_input(struct lp_net *net, struct net_packet *packet, struct lp_reader *reader);
void net_ipv6_input(struct lp_net *net, struct net_packet *packet, struct lp_reader *reader);

/* ---- steer.c ---- */
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

/* ---- output.c ---- */
/*
 * A frame for `l4_bytes` to be filled in by the caller: up to the path's MTU,
 * or, with TSO, up to what caps.frame_bytes_max holds.  False: the device has
 * none now.  net_out_send() takes it in any case: to the device, to wait for
 * the neighbour's address, or to nobody.
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

/* ---- checksum.c ---- */
/* Ones' complement sum (RFC 1071), folded to 16 bits, not complemented; `sum` is added. */
uint16_t net_sum(const void *data, size_t bytes, uint32_t sum);
/* The pseudo-header's (RFC 9293 3.1, RFC 8200 8.1). */
uint32_t net_sum_pseudo(uint8_t family, const uint8_t *from, const uint8_t *to, uint8_t protocol,
                        uint32_t l4_bytes);

/* ---- fabric.c ---- */
/* Hand a frame's bytes to the shard that owns its flow; it is copied.  Full: dropped and counted.
 */
void net_fabric_forward(struct lp_net *net, uint32_t shard, uint32_t port,
                        const struct lp_nic_frame *frame);
