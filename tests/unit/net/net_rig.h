/* SPDX-License-Identifier: Apache-2.0 */
/*
 * net_rig.h - an instance of dataplane/net at one end of the simulator's wire,
 * and a test at the other that says and hears raw frames.
 *
 * We are 10.0.0.1/24 and fd00::1/64, 02:00:00:00:00:01; the test is whoever it
 * wants to be, as a rule 10.0.0.2, fd00::2 and 02:00:00:00:00:02.
 */
#pragma once

#include "dataplane/net/net_private.h"
#include "dataplane/net/tcp/tcp.h"
#include "drivers/sim/sim.h"
#include "drivers/sim/wire.h"
#include "tests/unit/base/base_test.h"

#define RIG_MEMORY    (16u << 20)
#define RIG_SETTLE_NS UINT64_C(12000000000) /* detection of duplicates is over by then */
#define SECOND        UINT64_C(1000000000)
#define MILLISECOND   UINT64_C(1000000)

static const uint8_t our_mac[6] = {2, 0, 0, 0, 0, 1};
static const uint8_t peer_mac[6] = {2, 0, 0, 0, 0, 2};
static const uint8_t all_macs[6] = {0xff, 0xff, 0xff, 0xff, 0xff, 0xff};
static const uint8_t our_ip4[4] = {10, 0, 0, 1};
static const uint8_t peer_ip4[4] = {10, 0, 0, 2};
static const uint8_t our_ip6[16] = {0xfd, [15] = 1};
static const uint8_t peer_ip6[16] = {0xfd, [15] = 2};
/* fe80::ff:fe00:1, from the MAC address. */
static const uint8_t our_link_local[16] = {0xfe, 0x80, [8] = 0, 0, 0, 0xff, 0xfe, 0, 0, 1};

struct rig {
    struct lp_sim_clock clock;
    struct lp_sim_random random;
    struct lp_sim_wire *wire;
    struct lp_sim_wire_config wire_config;
    struct lp_net_config config;
    void *memory;
    struct lp_net *net;
    struct lp_transport transport;
    struct lp_nic peer;
    struct lp_nic_frame heard[LP_NIC_BURST_MAX];
    uint32_t heard_count;
    uint32_t heard_next;
};

static inline struct lp_net_prefix
rig_prefix(uint8_t family, const uint8_t *ip, uint8_t bits)
{
    struct lp_net_prefix prefix = {.family = family, .bits = bits};
    memcpy(prefix.ip, ip, net_ip_bytes(family));
    return prefix;
}

/* What may be changed before rig_open(). */
static inline void
rig_init(struct rig *rig)
{
    memset(rig, 0, sizeof(*rig));
    lp_sim_clock_init(&rig->clock, 5 * SECOND, 0);
    lp_sim_random_seed(&rig->random, 1);
    rig->wire_config = lp_sim_wire_config_default(1);
    rig->wire_config.delay_ns = 0;
    rig->config = (struct lp_net_config){.shard_count = 1, .port_count = 1, .streams_max = 16};
    struct lp_net_port *port = &rig->config.port[0];
    port->address_count = 2;
    port->address[0] = rig_prefix(LP_ADDRESS_IPV4, our_ip4, 24);
    port->address[1] = rig_prefix(LP_ADDRESS_IPV6, our_ip6, 64);
    rig->config.listener_count = 2;
    rig->config.listener[0] = (struct lp_address){.family = LP_ADDRESS_IPV4, .port = 5672};
    rig->config.listener[1] = (struct lp_address){.family = LP_ADDRESS_IPV6, .port = 5672};
}

static inline struct lp_net_env
rig_env(struct rig *rig)
{
    rig->memory = aligned_alloc(LP_SPAN_BYTES, RIG_MEMORY);
    assert_non_null(rig->memory);
    memset(rig->memory, 0, RIG_MEMORY);
    return (struct lp_net_env){.memory = rig->memory,
                               .memory_bytes = RIG_MEMORY,
                               .clock = lp_sim_clock_contract(&rig->clock),
                               .entropy = lp_sim_random_entropy(&rig->random)};
}

static inline void
rig_open(struct rig *rig)
{
    rig->wire = lp_sim_wire_create(&rig->wire_config);
    lp_sim_wire_advance(rig->wire, rig->clock.now_ns);
    for (uint32_t i = 0; i < rig->config.port_count; i++) {
        /* The test is the end behind our ports. */
        rig->config.port[i].nic = lp_sim_wire_nic(rig->wire, i, 0);
    }
    rig->peer = lp_sim_wire_nic(rig->wire, rig->config.port_count, 0);
    const struct lp_net_env env = rig_env(rig);
    assert_int_equal(lp_net_open_boot(&rig->config, &env, &rig->net), LP_OK);
    rig->transport = lp_net_transport(rig->net);
}

static inline void
rig_forget_heard(struct rig *rig)
{
    for (uint32_t i = 0; i < rig->heard_count; i++) {
        rig->peer.ops->put(rig->peer.self, &rig->heard[i]);
    }
    rig->heard_count = 0;
    rig->heard_next = 0;
}

static inline void
rig_close(struct rig *rig)
{
    rig_forget_heard(rig);
    lp_net_close(&rig->net);
    assert_null(rig->net);
    for (uint32_t i = 0; i < rig->config.port_count; i++) {
        assert_int_equal(lp_sim_wire_lent(rig->wire, i, 0), 0);
    }
    lp_sim_wire_destroy(rig->wire);
    free(rig->memory);
}

static inline void
rig_turn(struct rig *rig)
{
    struct lp_transport_event events[64];
    lp_sim_wire_advance(rig->wire, rig->clock.now_ns);
    (void)rig->transport.ops->poll(rig->transport.self, events, LP_COUNT_OF(events));
    rig->transport.ops->flush(rig->transport.self);
    lp_net_check(rig->net);
    lp_sim_wire_advance(rig->wire, rig->clock.now_ns);
}

/* The next frame of ours, or NULL; good until the next of these calls. */
static inline const struct lp_nic_frame *
rig_hear(struct rig *rig)
{
    if (rig->heard_next == rig->heard_count) {
        rig_forget_heard(rig);
        rig->heard_count =
            rig->peer.ops->receive(rig->peer.self, rig->heard, LP_COUNT_OF(rig->heard));
    }
    return rig->heard_next < rig->heard_count ? &rig->heard[rig->heard_next++] : NULL;
}

static inline void
rig_drain(struct rig *rig)
{
    while (rig_hear(rig) != NULL) {
    }
}

/* Time passes in small steps; nothing that was said is lost. */
static inline void
rig_pass(struct rig *rig, uint64_t ns)
{
    const uint64_t end_ns = rig->clock.now_ns + ns;
    while (rig->clock.now_ns < end_ns) {
        lp_sim_clock_set(&rig->clock, LP_MIN(rig->clock.now_ns + 50 * MILLISECOND, end_ns));
        rig_turn(rig);
    }
}

/* Open, and alone on the link for long enough. */
static inline void
rig_open_settled(struct rig *rig)
{
    rig_init(rig);
    rig_open(rig);
    rig_pass(rig, RIG_SETTLE_NS);
    rig_drain(rig);
}

/* The same, and we hear what goes to others. */
static inline void
rig_open_promiscuous(struct rig *rig)
{
    rig_init(rig);
    rig->wire_config.end[1].promiscuous = true;
    rig_open(rig);
    rig_pass(rig, RIG_SETTLE_NS);
    rig_drain(rig);
}

/* ---- frames ---- */

struct frame {
    uint8_t data[4096];
    uint32_t bytes;
};

static inline void
rig_say(struct rig *rig, const struct frame *frame)
{
    lp_sim_wire_inject(rig->wire, 0, frame->data, frame->bytes);
    rig_turn(rig);
}

static inline void
frame_ethernet(struct frame *frame, const uint8_t *to, const uint8_t *from, uint16_t type)
{
    memset(frame, 0, sizeof(*frame));
    uint8_t *at = lp_put_bytes(frame->data, to, 6);
    at = lp_put_bytes(at, from, 6);
    at = lp_put_u16be(at, type);
    frame->bytes = (uint32_t)(at - frame->data);
}

static inline void
frame_add(struct frame *frame, const void *data, uint32_t bytes)
{
    assert_true(frame->bytes + bytes <= sizeof(frame->data));
    memcpy(frame->data + frame->bytes, data, bytes);
    frame->bytes += bytes;
}

struct frame_arp {
    uint16_t op;
    const uint8_t *sender_mac;
    const uint8_t *sender;
    const uint8_t *target;
};

static inline void
frame_arp_make(struct frame *frame, const uint8_t *to_mac, const struct frame_arp *arp)
{
    frame_ethernet(frame, to_mac, arp->sender_mac, NET_TYPE_ARP);
    uint8_t *at = frame->data + frame->bytes;
    at = lp_put_u16be(at, 1);
    at = lp_put_u16be(at, NET_TYPE_IPV4);
    at = lp_put_u8(at, 6);
    at = lp_put_u8(at, 4);
    at = lp_put_u16be(at, arp->op);
    at = lp_put_bytes(at, arp->sender_mac, 6);
    at = lp_put_bytes(at, arp->sender, 4);
    at += 6;
    at = lp_put_bytes(at, arp->target, 4);
    frame->bytes = 60;
}

/* What somebody says to all. */
static inline void
rig_say_arp(struct rig *rig, const struct frame_arp *arp)
{
    struct frame frame;
    frame_arp_make(&frame, all_macs, arp);
    rig_say(rig, &frame);
}

/* IPv4 from the peer to us; `fix` recomputes the header's checksum after changes. */
#define FRAME_IP4 14u
static inline void
frame_ip4_fix(struct frame *frame)
{
    uint8_t *ip = frame->data + FRAME_IP4;
    const uint32_t header = (ip[0] & 0x0fu) * 4u;
    lp_put_u16be(ip + 10, 0);
    lp_put_u16be(ip + 10, (uint16_t)~net_sum(ip, header, 0));
}

static inline void
frame_ip4_make(struct frame *frame, uint8_t protocol, const void *l4, uint32_t l4_bytes)
{
    frame_ethernet(frame, our_mac, peer_mac, NET_TYPE_IPV4);
    uint8_t *ip = frame->data + FRAME_IP4;
    ip[0] = 0x45;
    lp_put_u16be(ip + 2, (uint16_t)(20 + l4_bytes));
    ip[8] = 64;
    ip[9] = protocol;
    memcpy(ip + 12, peer_ip4, 4);
    memcpy(ip + 16, our_ip4, 4);
    frame->bytes += 20;
    frame_add(frame, l4, l4_bytes);
    frame_ip4_fix(frame);
}

static inline void
frame_ip6_make(struct frame *frame, uint8_t next, const void *body, uint32_t bytes)
{
    frame_ethernet(frame, our_mac, peer_mac, NET_TYPE_IPV6);
    uint8_t *ip = frame->data + FRAME_IP4;
    ip[0] = 0x60;
    lp_put_u16be(ip + 4, (uint16_t)bytes);
    ip[6] = next;
    ip[7] = 64;
    memcpy(ip + 8, peer_ip6, 16);
    memcpy(ip + 24, our_ip6, 16);
    frame->bytes += 40;
    frame_add(frame, body, bytes);
}

/* ICMPv6's checksum, at `at` in the frame, over addresses as they are there now. */
static inline void
frame_icmp6_fix(struct frame *frame, uint32_t at)
{
    uint8_t *icmp = frame->data + at;
    const uint8_t *ip = frame->data + FRAME_IP4;
    const uint32_t bytes = frame->bytes - at;
    lp_put_u16be(icmp + 2, 0);
    const uint32_t pseudo =
        net_sum_pseudo(LP_ADDRESS_IPV6, ip + 8, ip + 24, NET_PROTOCOL_ICMP6, bytes);
    lp_put_u16be(icmp + 2, (uint16_t)~net_sum(icmp, bytes, pseudo));
}

/* An echo request of so many bytes of data; `icmp` has room for 8 more. */
static inline uint32_t
icmp_echo_make(uint8_t *icmp, uint32_t data_bytes)
{
    memset(icmp, 0, 8);
    icmp[0] = 8;
    lp_put_u16be(icmp + 4, 0x1234);
    lp_put_u16be(icmp + 6, 7);
    for (uint32_t i = 0; i < data_bytes; i++) {
        icmp[8 + i] = (uint8_t)i;
    }
    lp_put_u16be(icmp + 2, (uint16_t)~net_sum(icmp, 8 + data_bytes, 0));
    return 8 + data_bytes;
}

static inline uint16_t
frame_type(const struct lp_nic_frame *frame)
{
    return (uint16_t)(frame->data[12] << 8 | frame->data[13]);
}

static inline uint32_t
get_u32(const uint8_t *at)
{
    return (uint32_t)at[0] << 24 | (uint32_t)at[1] << 16 | (uint32_t)at[2] << 8 | at[3];
}

static inline uint32_t
get_u16(const uint8_t *at)
{
    return (uint32_t)at[0] << 8 | at[1];
}

/* The peer asks for our address: from now on it is known as a neighbour. */
static inline void
rig_introduce(struct rig *rig)
{
    const struct frame_arp arp = {1, peer_mac, peer_ip4, our_ip4};
    rig_say_arp(rig, &arp);
    rig_drain(rig);
}

/* A packet of `protocol` with four bytes, on its way to `remote`. */
static inline bool
rig_send(struct rig *rig, uint8_t family, const uint8_t *remote)
{
    struct net_path path;
    struct net_out out;
    if (!net_path_find(rig->net, family, remote, NULL, &path) ||
        !net_out_begin(rig->net, &path, 99, 4, &out)) {
        return false;
    }
    memcpy(out.l4, "data", 4);
    net_out_send(rig->net, &out, 4, 0, 0);
    net_out_flush(rig->net);
    lp_sim_wire_advance(rig->wire, rig->clock.now_ns);
    return true;
}
