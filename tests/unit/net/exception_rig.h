/* SPDX-License-Identifier: Apache-2.0 */
/*
 * exception_rig.h - one or two shards with a wire at the port and a wire at the
 * exception device; the test is the peer behind the one and the kernel behind
 * the other.
 */
#pragma once

#include "tests/unit/net/net_rig.h"

#define SHARDS_MAX 2u
#define IP         FRAME_IP4
#define L4         (FRAME_IP4 + 20u)
#define L4_6       (FRAME_IP4 + 40u)
#define SYN        2u
#define RST        4u
#define ACK        16u

static const uint8_t other_mac[6] = {2, 0, 0, 0, 0, 9};
static const uint8_t lldp_mac[6] = {1, 0x80, 0xc2, 0, 0, 0x0e};
static const uint8_t other_ip4[4] = {10, 0, 0, 77};
static const uint8_t other_ip6[16] = {0xfd, [15] = 0x77};

struct both {
    struct rig rig; /* its net is the first shard's */
    uint32_t shards;
    struct lp_net *net[SHARDS_MAX];
    struct lp_transport transport[SHARDS_MAX];
    void *memory[SHARDS_MAX];
    void *fabric;
    struct lp_sim_wire_config kernel_config;
    struct lp_sim_wire *kernel_wire;
    struct lp_nic kernel;
};

static inline void
wake(void *context, uint32_t shard)
{
    (void)context;
    (void)shard;
}

static inline void
both_init(struct both *both, uint32_t shards)
{
    memset(both, 0, sizeof(*both));
    rig_init(&both->rig);
    both->shards = shards;
    both->rig.wire_config.end[0].queues = (uint8_t)shards;
    both->rig.wire_config.end[0].steering = LP_SIM_WIRE_RANDOM;
    both->rig.wire_config.end[0].promiscuous = true;
    both->rig.wire_config.end[1].promiscuous = true;
    both->kernel_config = lp_sim_wire_config_default(2);
    both->kernel_config.delay_ns = 0;
    both->kernel_config.end[0].queues = (uint8_t)shards;
    both->kernel_config.end[0].promiscuous = true;
    both->kernel_config.end[1].promiscuous = true;
}

static inline void
both_turn(struct both *both)
{
    struct lp_transport_event events[64];
    lp_sim_wire_advance(both->rig.wire, both->rig.clock.now_ns);
    lp_sim_wire_advance(both->kernel_wire, both->rig.clock.now_ns);
    /* Twice: what is forwarded is worked on in the turn after. */
    for (uint32_t i = 0; i < 2 * both->shards; i++) {
        const struct lp_transport *transport = &both->transport[i % both->shards];
        (void)transport->ops->poll(transport->self, events, LP_COUNT_OF(events));
        transport->ops->flush(transport->self);
        lp_net_check(both->net[i % both->shards]);
    }
    lp_sim_wire_advance(both->rig.wire, both->rig.clock.now_ns);
    lp_sim_wire_advance(both->kernel_wire, both->rig.clock.now_ns);
}

static inline uint32_t
kernel_drain(struct both *both)
{
    struct lp_nic_frame frames[LP_NIC_BURST_MAX];
    uint32_t count;
    uint32_t sum = 0;
    do {
        count = both->kernel.ops->receive(both->kernel.self, frames, LP_NIC_BURST_MAX);
        for (uint32_t i = 0; i < count; i++) {
            both->kernel.ops->put(both->kernel.self, &frames[i]);
        }
        sum += count;
    } while (count > 0);
    return sum;
}

static inline void
both_say(struct both *both, const struct frame *frame)
{
    lp_sim_wire_inject(both->rig.wire, 0, frame->data, frame->bytes);
    both_turn(both);
}

static inline void
peer_introduce(struct both *both)
{
    struct frame frame;
    const struct frame_arp arp = {1, peer_mac, peer_ip4, our_ip4};
    frame_arp_make(&frame, all_macs, &arp);
    both_say(both, &frame);
    uint8_t solicitation[32] = {135, [24] = 1, [25] = 1, 2, 0, 0, 0, 0, 2};
    memcpy(solicitation + 8, our_ip6, 16);
    frame_ip6_make(&frame, NET_PROTOCOL_ICMP6, solicitation, 32);
    frame.data[IP + 7] = 255;
    frame_icmp6_fix(&frame, L4_6);
    both_say(both, &frame);
}

static inline void
both_open(struct both *both)
{
    struct rig *rig = &both->rig;
    struct lp_net_fabric *fabric = NULL;
    rig->wire = lp_sim_wire_create(&rig->wire_config);
    both->kernel_wire = lp_sim_wire_create(&both->kernel_config);
    rig->peer = lp_sim_wire_nic(rig->wire, 1, 0);
    both->kernel = lp_sim_wire_nic(both->kernel_wire, 1, 0);
    lp_sim_wire_advance(rig->wire, rig->clock.now_ns);
    lp_sim_wire_advance(both->kernel_wire, rig->clock.now_ns);
    if (both->shards > 1) {
        const size_t bytes = (size_t)lp_net_fabric_bytes(both->shards);
        both->fabric = aligned_alloc(LP_PAIR_BYTES, bytes);
        assert_non_null(both->fabric);
        memset(both->fabric, 0, bytes);
        fabric = lp_net_fabric_init_boot(both->fabric, both->shards);
    }
    for (uint32_t i = 0; i < both->shards; i++) {
        struct lp_net_env env = rig_env(rig);
        env.fabric = fabric;
        env.wake_shard = fabric != NULL ? wake : NULL;
        rig->config.shard_count = both->shards;
        rig->config.shard = i;
        rig->config.port[0].nic = lp_sim_wire_nic(rig->wire, 0, i);
        rig->config.port[0].exception = lp_sim_wire_nic(both->kernel_wire, 0, i);
        assert_int_equal(lp_net_open_boot(&rig->config, &env, &both->net[i]), LP_OK);
        both->transport[i] = lp_net_transport(both->net[i]);
        both->memory[i] = rig->memory;
    }
    for (uint32_t i = 0; i < RIG_SETTLE_NS / (100 * MILLISECOND); i++) {
        lp_sim_clock_set(&rig->clock, rig->clock.now_ns + 100 * MILLISECOND);
        both_turn(both);
    }
    peer_introduce(both);
    rig_drain(rig);
    (void)kernel_drain(both);
}

static inline void
both_close(struct both *both)
{
    rig_forget_heard(&both->rig);
    for (uint32_t i = 0; i < both->shards; i++) {
        lp_net_close(&both->net[i]);
        assert_int_equal(lp_sim_wire_lent(both->rig.wire, 0, i), 0);
        assert_int_equal(lp_sim_wire_lent(both->kernel_wire, 0, i), 0);
        free(both->memory[i]);
    }
    lp_sim_wire_destroy(both->rig.wire);
    lp_sim_wire_destroy(both->kernel_wire);
    free(both->fabric);
}

/* Of all shards. */
#define COUNTED(both, name) counted(both, offsetof(struct lp_net_counters, name))
static inline uint64_t
counted(const struct both *both, size_t offset)
{
    uint64_t sum = 0;
    for (uint32_t i = 0; i < both->shards; i++) {
        sum += *(const uint64_t *)(const void *)((const uint8_t *)&both->net[i]->counters + offset);
    }
    return sum;
}

/* ---- frames ---- */

static inline void
tcp_make(struct frame *frame, uint8_t family, uint16_t to_port, uint8_t flags)
{
    uint8_t tcp[20] = {0x9c, 0x40};
    lp_put_u16be(tcp + 2, to_port);
    lp_put_u32be(tcp + 4, 1000);
    tcp[12] = 0x50;
    tcp[13] = flags;
    lp_put_u16be(tcp + 14, 65535);
    const bool four = family == LP_ADDRESS_IPV4;
    const uint32_t pseudo = net_sum_pseudo(family, four ? peer_ip4 : peer_ip6,
                                           four ? our_ip4 : our_ip6, NET_PROTOCOL_TCP, 20);
    lp_put_u16be(tcp + 16, (uint16_t)~net_sum(tcp, 20, pseudo));
    if (four) {
        frame_ip4_make(frame, NET_PROTOCOL_TCP, tcp, 20);
    } else {
        frame_ip6_make(frame, NET_PROTOCOL_TCP, tcp, 20);
    }
}

static inline void
udp_make(struct frame *frame, const uint8_t *to_ip)
{
    static const uint8_t udp[12] = {0x30, 0x39, 0, 53, 0, 12, 0, 0, 'd', 'a', 't', 'a'};
    frame_ip4_make(frame, NET_PROTOCOL_UDP, udp, sizeof(udp));
    memcpy(frame->data + IP + 16, to_ip, 4);
    frame_ip4_fix(frame);
}

static inline void
icmp_make(struct frame *frame, uint8_t type, const void *body, uint32_t bytes)
{
    uint8_t icmp[128] = {type};
    memcpy(icmp + 8, body, bytes);
    lp_put_u16be(icmp + 2, (uint16_t)~net_sum(icmp, 8 + bytes, 0));
    frame_ip4_make(frame, NET_PROTOCOL_ICMP, icmp, 8 + bytes);
}

static inline void
icmp6_make(struct frame *frame, uint8_t type, const uint8_t *to_ip, const uint8_t *target)
{
    uint8_t icmp[24] = {type};
    memcpy(icmp + 8, target, 16);
    frame_ip6_make(frame, NET_PROTOCOL_ICMP6, icmp, sizeof(icmp));
    frame->data[IP + 7] = 255;
    memcpy(frame->data + IP + 24, to_ip, 16);
    if (to_ip[0] == 0xff) {
        frame->data[0] = frame->data[1] = 0x33;
        memcpy(frame->data + 2, to_ip + 12, 4);
    }
    frame_icmp6_fix(frame, L4_6);
}

/* An error about a segment from our `port` to the peer's 40000. */
static inline void
unreachable_make(struct frame *frame, uint8_t protocol, uint16_t port)
{
    uint8_t quote[28] = {0x45, 0, 0, 40, 0, 0, 0, 0, 64};
    quote[9] = protocol;
    memcpy(quote + 12, our_ip4, 4);
    memcpy(quote + 16, peer_ip4, 4);
    lp_put_u16be(quote + 20, port);
    lp_put_u16be(quote + 22, 40000);
    icmp_make(frame, 3, quote, sizeof(quote));
}

static inline void
tag_put(struct frame *frame, uint16_t tag)
{
    memmove(frame->data + 16, frame->data + 12, frame->bytes - 12);
    lp_put_u16be(frame->data + 12, NET_TYPE_VLAN);
    lp_put_u16be(frame->data + 14, tag);
    frame->bytes += 4;
}

/* The kernel gets exactly this, once; the peer hears so many answers. */
static inline void
expect(struct both *both, const struct frame *frame, uint32_t to_kernel, uint32_t answers)
{
    struct lp_nic_frame got[4];
    for (uint32_t round = 0; round < 8; round++) { /* each shard's turn comes */
        const uint64_t before = COUNTED(both, exception_to_kernel);
        both_say(both, frame);
        const uint32_t count = both->kernel.ops->receive(both->kernel.self, got, 4);
        assert_int_equal(count, to_kernel);
        assert_int_equal(COUNTED(both, exception_to_kernel) - before, to_kernel);
        for (uint32_t i = 0; i < count; i++) {
            assert_int_equal(got[i].bytes, LP_MAX(frame->bytes, 60u)); /* the wire pads */
            assert_memory_equal(got[i].data, frame->data, frame->bytes);
            both->kernel.ops->put(both->kernel.self, &got[i]);
        }
        uint32_t heard = 0;
        while (rig_hear(&both->rig) != NULL) {
            heard++;
        }
        assert_int_equal(heard, answers);
    }
}
