/* SPDX-License-Identifier: Apache-2.0 */
/*
 * gate_net.c - what a received segment takes, from the device to the event and
 * through the turn's end, over a device that is nothing but memory.
 */
#include "gate_net.h"

#include <stdlib.h>
#include <string.h>

#include "dataplane/net/net.h"
#include "dataplane/net/net_private.h"
#include "dataplane/net/tcp/tcp.h"

#define MEMORY_BYTES (16u << 20)
#define FRAME_BYTES  2048u
#define HEADERS      (NET_ETHERNET_BYTES + NET_IPV4_BYTES)
#define TCP_BYTES    32u /* with a time stamp */
#define TURN_NS      20000u
#define EVENTS_MAX   256u

static const uint8_t our_mac[6] = {2, 0, 0, 0, 0, 1};
static const uint8_t peer_mac[6] = {2, 0, 0, 0, 0, 2};

struct net_bed {
    struct lp_net *net;
    struct lp_transport transport;
    uint64_t now_ns;
    uint32_t waiting; /* frames for receive() */
    uint32_t waiting_bytes;
    uint32_t seq;
    uint32_t ack;
    uint8_t in[LP_NIC_BURST_MAX][FRAME_BYTES];
    uint8_t out[FRAME_BYTES]; /* the last that was sent */
};

/* ---- a device ---- */

static void
bed_caps(void *self, struct lp_nic_caps *ret_caps)
{
    (void)self;
    *ret_caps = (struct lp_nic_caps){.mac = {2, 0, 0, 0, 0, 1},
                                     .mtu_bytes = 1500,
                                     .l4_fill = true,
                                     .frame_bytes_max = FRAME_BYTES};
}

static uint32_t
bed_receive(void *self, struct lp_nic_frame *frames, uint32_t frames_max)
{
    struct net_bed *bed = self;
    const uint32_t count = LP_MIN(bed->waiting, frames_max);
    for (uint32_t i = 0; i < count; i++) {
        frames[i] = (struct lp_nic_frame){.data = bed->in[i],
                                          .bytes = bed->waiting_bytes,
                                          .flags = LP_NIC_IP_GOOD | LP_NIC_L4_GOOD};
    }
    bed->waiting = 0;
    return count;
}

static bool
bed_get(void *self, uint32_t bytes, struct lp_nic_frame *ret_frame)
{
    struct net_bed *bed = self;
    (void)bytes;
    *ret_frame = (struct lp_nic_frame){.data = bed->out};
    return true;
}

static void
bed_put(void *self, struct lp_nic_frame *frame)
{
    (void)self;
    (void)frame;
}

static uint32_t
bed_transmit(void *self, struct lp_nic_frame *frames, uint32_t count)
{
    (void)self;
    (void)frames;
    return count;
}

static void
bed_flush(void *self)
{
    (void)self;
}

static const struct lp_nic_ops bed_ops = {
    .name = "gate",
    .caps = bed_caps,
    .receive = bed_receive,
    .get = bed_get,
    .put = bed_put,
    .transmit = bed_transmit,
    .flush = bed_flush,
};

static uint64_t
bed_clock(void *self)
{
    return ((struct net_bed *)self)->now_ns;
}

static void
bed_entropy(void *self, void *data, size_t bytes)
{
    (void)self;
    memset(data, 0x5a, bytes);
}

/* ---- its peer ---- */

static void
segment_write(struct net_bed *bed, uint8_t *frame, uint8_t flags, uint32_t payload_bytes)
{
    uint8_t *at = lp_put_bytes(frame, our_mac, 6);
    at = lp_put_bytes(at, peer_mac, 6);
    at = lp_put_u16be(at, NET_TYPE_IPV4);
    at = lp_put_u16be(at, 0x4500);
    at = lp_put_u16be(at, (uint16_t)(NET_IPV4_BYTES + TCP_BYTES + payload_bytes));
    at = lp_put_u32be(at, 0x4000);
    at = lp_put_u32be(at, 0x40060000);
    at = lp_put_u32be(at, 0x0a000002);
    at = lp_put_u32be(at, 0x0a000001);
    at = lp_put_u32be(at, 40000u << 16 | 5672u);
    at = lp_put_u32be(at, bed->seq);
    at = lp_put_u32be(at, bed->ack);
    at = lp_put_u32be(at, TCP_BYTES << 26 | (uint32_t)flags << 16 | 0xffffu);
    at = lp_put_u32be(at, 0);
    at = lp_put_u32be(at, 0x0101080a);
    at = lp_put_u32be(at, 1000);
    lp_put_u32be(at, 0);
}

/* Frames that are there already move on by their numbers. */
static void
segments_say(struct net_bed *bed, uint32_t count, uint32_t payload_bytes)
{
    for (uint32_t i = 0; i < count; i++) {
        lp_put_u32be(bed->in[i] + HEADERS + 4, bed->seq);
        bed->seq += payload_bytes;
    }
    bed->waiting = count;
    bed->waiting_bytes = HEADERS + TCP_BYTES + payload_bytes;
}

static uint32_t
turn(struct net_bed *bed)
{
    struct lp_transport_event events[EVENTS_MAX];
    bed->now_ns += TURN_NS;
    const uint32_t count = bed->transport.ops->poll(bed->net, events, EVENTS_MAX);
    bed->transport.ops->flush(bed->net);
    return count;
}

static void
peer_arrives(struct net_bed *bed)
{
    uint8_t *arp = bed->in[0];
    memset(arp, 0, 60);
    memset(arp, 0xff, 6);
    memcpy(arp + 6, peer_mac, 6);
    lp_put_u16be(arp + 12, NET_TYPE_ARP);
    memcpy(arp + 14, "\0\1\10\0\6\4\0\1\2\0\0\0\0\2\12\0\0\2\0\0\0\0\0\0\12\0\0\1", 28);
    bed->waiting = 1;
    bed->waiting_bytes = 60;
    LP_ASSERT(turn(bed) == 0);
    bed->seq = 1000;
    segment_write(bed, bed->in[0], TCP_SYN, 0);
    bed->waiting = 1;
    bed->waiting_bytes = HEADERS + TCP_BYTES;
    LP_ASSERT(turn(bed) == 0);
    memcpy(&bed->ack, bed->out + HEADERS + 4, 4);
    bed->ack = __builtin_bswap32(bed->ack) + 1;
    bed->seq++;
    segment_write(bed, bed->in[0], TCP_ACK, 0);
    bed->waiting = 1;
    LP_ASSERT(turn(bed) == 1);
}

static void
bed_open(struct net_bed *bed)
{
    void *memory = aligned_alloc(LP_SPAN_BYTES, MEMORY_BYTES);
    LP_ASSERT(memory != NULL);
    memset(memory, 0, MEMORY_BYTES);
    struct lp_net_config config = {.shard_count = 1,
                                   .port_count = 1,
                                   .streams_max = 64,
                                   .receive_bytes_first = 256u << 10,
                                   .listener_count = 1};
    config.port[0].nic = (struct lp_nic){&bed_ops, bed};
    config.port[0].address_count = 1;
    config.port[0].address[0] =
        (struct lp_net_prefix){.family = LP_ADDRESS_IPV4, .bits = 24, .ip = {10, 0, 0, 1}};
    config.listener[0] = (struct lp_address){.family = LP_ADDRESS_IPV4, .port = 5672};
    const struct lp_net_env env = {
        .memory = memory,
        .memory_bytes = MEMORY_BYTES,
        .clock = {.monotonic_ns = bed_clock, .wall_ns = bed_clock, .self = bed},
        .entropy = {.fill = bed_entropy, .self = bed},
    };
    bed->now_ns = 1000000000u;
    LP_ASSERT(lp_net_open_boot(&config, &env, &bed->net) == LP_OK);
    bed->transport = lp_net_transport(bed->net);
    peer_arrives(bed);
}

void
gate_segments(uint32_t count, uint32_t burst, uint32_t payload_bytes)
{
    static struct net_bed bed;
    bed_open(&bed);
    for (uint32_t i = 0; i < burst; i++) {
        const uint8_t flags = i + 1 == burst ? TCP_ACK | TCP_PSH : TCP_ACK;
        segment_write(&bed, bed.in[i], flags, payload_bytes);
    }
    for (uint32_t done = 0; done < count; done += burst) {
        segments_say(&bed, burst, payload_bytes);
        LP_ASSERT(turn(&bed) == burst);
    }
}
