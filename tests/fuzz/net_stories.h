/* SPDX-License-Identifier: Apache-2.0 */
/*
 * net_stories.h - steps of fuzz_net_frame.c, made up: segments of connections
 * that are there, with numbers near the edges of windows, flags and options
 * that somebody might send; and stories of several, such as a loss.
 */
#pragma once

#include "tests/fuzz/net_world.h"

#define MUTATE_STEPS_MAX 256u
#define MUTATE_STEP_MAX  2200u
#define STEP_HEAD        4u    /* of a frame: kind, flags, two of length */
#define PORT_STAMPED     1008u /* from here on peers have time stamps */

struct mutate {
    uint8_t *data;
    size_t bytes;
    size_t bytes_max;
    uint32_t count;
    size_t at[MUTATE_STEPS_MAX + 1]; /* where each begins; the last: where they end */
    uint32_t random;
};

/* A step while it is changed or made. */
struct mutate_step {
    uint32_t bytes;
    uint8_t data[MUTATE_STEP_MAX];
};

static uint32_t
mutate_random(struct mutate *mutate, uint32_t below)
{
    mutate->random = mutate->random * 1664525u + 1013904223u;
    return (uint32_t)(((uint64_t)(mutate->random >> 4) * below) >> 28);
}

/* ---- steps ---- */

static size_t
mutate_size_at(const struct mutate *mutate, size_t at)
{
    const uint8_t *step = mutate->data + at;
    const size_t left = mutate->bytes - at;
    if (left < 2) {
        return 0;
    }
    if (step[0] % STEPS != STEP_FRAME) {
        return 2;
    }
    const size_t bytes =
        left < STEP_HEAD ? left : ((size_t)step[2] | (size_t)step[3] << 8) % FRAME_MAX;
    return left < STEP_HEAD ? 0 : LP_MIN(STEP_HEAD + bytes, left);
}

static void
mutate_find(struct mutate *mutate)
{
    size_t at = LP_MIN((size_t)1, mutate->bytes);
    size_t size;
    mutate->count = 0;
    while (mutate->count < MUTATE_STEPS_MAX && (size = mutate_size_at(mutate, at)) > 0) {
        mutate->at[mutate->count++] = at;
        at += size;
    }
    mutate->at[mutate->count] = at;
}

/* Put `step` in place of the `old` bytes at `at`, if there is room. */
static void
mutate_replace(struct mutate *mutate, size_t at, size_t old, const struct mutate_step *step)
{
    if (mutate->bytes - old + step->bytes <= mutate->bytes_max) {
        memmove(mutate->data + at + step->bytes, mutate->data + at + old, mutate->bytes - at - old);
        memcpy(mutate->data + at, step->data, step->bytes);
        mutate->bytes = mutate->bytes - old + step->bytes;
    }
    mutate_find(mutate);
}

static struct mutate_step
mutate_take(const struct mutate *mutate, uint32_t which)
{
    struct mutate_step step;
    const size_t size = mutate->at[which + 1] - mutate->at[which];
    step.bytes = (uint32_t)LP_MIN(size, sizeof(step.data));
    memcpy(step.data, mutate->data + mutate->at[which], step.bytes);
    return step;
}

/* ---- what a segment may say ---- */

/* Distances from what is expected: edges of numbers, of segments and of windows. */
static uint32_t
mutate_distance(struct mutate *mutate)
{
    static const uint32_t usual[] = {
        0,     0,     0,     0,      1,        2,        9,           535,        536,
        537,   1459,  1460,  1461,   2920,     10000,    32768,       65534,      65535,
        65536, 65537, 99999, 131072, 1u << 20, 1u << 30, 0x7fffffffu, 0x80000000u};
    const uint32_t distance = usual[mutate_random(mutate, LP_COUNT_OF(usual))];
    return mutate_random(mutate, 3) == 0 ? 0u - distance : distance;
}

static uint16_t
mutate_window(struct mutate *mutate)
{
    static const uint16_t usual[] = {65535, 65535, 65535, 512, 0, 0, 1, 2, 535, 1460, 32768};
    return usual[mutate_random(mutate, LP_COUNT_OF(usual))];
}

static uint8_t
mutate_flags(struct mutate *mutate)
{
    static const uint8_t usual[] = {
        TCP_ACK,           TCP_ACK,           TCP_ACK | TCP_PSH, TCP_ACK | TCP_FIN,
        TCP_ACK | TCP_PSH, TCP_SYN,           TCP_SYN | TCP_ACK, TCP_RST,
        TCP_RST | TCP_ACK, TCP_ACK | TCP_URG, TCP_FIN,           0,
        TCP_SYN | TCP_FIN, TCP_SYN | TCP_RST, 0xc0 | TCP_ACK,    0xc0 | TCP_SYN,
    };
    const uint32_t which = mutate_random(mutate, LP_COUNT_OF(usual) + 1u);
    return which < LP_COUNT_OF(usual) ? usual[which] : (uint8_t)mutate_random(mutate, 256);
}

/* What our segments to this port hold. */
static uint32_t
mutate_unit(uint16_t port)
{
    return port == 1002 ? 1440 : port >= PORT_STAMPED ? 1448 : 1460;
}

static uint8_t *
mutate_sack(struct mutate *mutate, uint8_t *to, uint16_t port)
{
    const uint32_t blocks = 1 + mutate_random(mutate, 3);
    const uint32_t unit = mutate_unit(port);
    to = lp_put_u32be(to, 0x01010500u | (2u + 8u * blocks));
    for (uint32_t i = 0; i < blocks; i++) {
        const bool odd = mutate_random(mutate, 8) == 0;
        const uint32_t start = 0u - (1u + mutate_random(mutate, 11)) * unit;
        const uint32_t end = start + unit * (1u + mutate_random(mutate, 4));
        to = lp_put_u32be(to, odd ? start + mutate_distance(mutate) : start);
        to = lp_put_u32be(to, mutate_random(mutate, 12) == 0 ? mutate_distance(mutate) : end);
    }
    return to;
}

static uint8_t *
mutate_stamp(struct mutate *mutate, uint8_t *to)
{
    static const uint32_t stamps[] = {1000, 1000, 1001, 1002, 999, 0, 0x80000000u, 0xffffffffu};
    to = lp_put_u32be(to, 0x0101080au);
    to = lp_put_u32be(to, stamps[mutate_random(mutate, LP_COUNT_OF(stamps))]);
    return lp_put_u32be(to, mutate_random(mutate, 3) == 0 ? mutate_distance(mutate) : 0);
}

/* Of a SYN, in which time stamps are agreed. */
static uint8_t *
mutate_syn_options(struct mutate *mutate, uint8_t *to)
{
    to = lp_put_u32be(to, 0x02040000u | (mutate_random(mutate, 8) == 0 ? 0 : 1460u));
    to = lp_put_u32be(to, 0x04020103u);
    to = lp_put_u32be(to, 0x03000101u | mutate_random(mutate, 16) << 16);
    return mutate_stamp(mutate, to);
}

/* Options, good and bad; up to 40 bytes, a multiple of four.  Gives where they end. */
static uint8_t *
mutate_options(struct mutate *mutate, uint8_t *to, uint16_t port)
{
    uint8_t *start = to;
    switch (mutate_random(mutate, 9)) {
    case 0:
        return mutate_syn_options(mutate, to);
    case 1:
    case 2:
        return mutate_stamp(mutate, to);
    case 3:
    case 4:
        return mutate_sack(mutate, to, port);
    case 5: /* the same twice, and an end with something behind it */
        to = lp_put_u32be(to, 0x020405b4u);
        to = lp_put_u32be(to, 0x02040001u);
        to = lp_put_u32be(to, 0x03030e00u);
        return lp_put_u32be(to, 0x08ffffffu);
    case 6: /* lengths that are none */
        to = lp_put_u8(to, (uint8_t)mutate_random(mutate, 32));
        to = lp_put_u8(to, (uint8_t)mutate_random(mutate, 4));
        return lp_put_u16be(to, 0x0101);
    case 7:
        for (uint32_t i = 0; i < 4 * (1 + mutate_random(mutate, 10)); i++) {
            *to++ = (uint8_t)mutate_random(mutate, 16);
        }
        return start + (to - start) / 4 * 4;
    default:
        return to;
    }
}

/* ---- frames ---- */

struct mutate_segment {
    uint16_t port;
    uint8_t flags;
    uint32_t seq;
    uint32_t ack;
    uint16_t window;
    uint32_t payload;
    uint8_t ecn; /* the codepoint of IP */
    bool sack;
    bool to_caller; /* we have connected to it: the port is filled in */
    uint8_t fix;    /* enum flag */
};

static bool
mutate_vlan(const struct mutate *mutate)
{
    return mutate->bytes > 0 && (mutate->data[0] & WORLD_VLAN) != 0;
}

static uint8_t *
mutate_network(const struct mutate *mutate, uint8_t *to, bool ip4)
{
    to = lp_put_bytes(to, our_mac, 6);
    to = lp_put_bytes(to, peer_mac, 6);
    if (mutate_vlan(mutate)) {
        to = lp_put_u32be(to, NET_TYPE_VLAN << 16 | 42u);
    }
    to = lp_put_u16be(to, ip4 ? NET_TYPE_IPV4 : NET_TYPE_IPV6);
    if (ip4) {
        to = lp_put_u64be(to, 0x4500000000000000u);
        to = lp_put_u32be(to, 0x40060000u);
        to = lp_put_bytes(to, peer_ip4, 4);
        return lp_put_bytes(to, our_ip4, 4);
    }
    to = lp_put_u64be(to, 0x6000000000000640u);
    to = lp_put_bytes(to, peer_ip6, 16);
    return lp_put_bytes(to, our_ip6, 16);
}

/* A step of a frame says how long that is. */
static void
mutate_length(struct mutate_step *step)
{
    step->data[2] = (uint8_t)(step->bytes - STEP_HEAD);
    step->data[3] = (uint8_t)((step->bytes - STEP_HEAD) >> 8);
}

static struct mutate_step
mutate_segment_make(struct mutate *mutate, const struct mutate_segment *segment)
{
    struct mutate_step step;
    uint8_t *to = mutate_network(mutate, step.data + STEP_HEAD, segment->port != 1002);
    step.data[STEP_HEAD + (mutate_vlan(mutate) ? 19 : 15)] |=
        (uint8_t)(segment->port != 1002 ? segment->ecn : segment->ecn << 4);
    to = lp_put_u16be(to, segment->port);
    to = lp_put_u16be(to, segment->to_caller ? 0 : 5672);
    to = lp_put_u32be(to, segment->seq);
    to = lp_put_u32be(to, segment->ack);
    uint8_t *offset = to;
    to = lp_put_u16be(to, segment->flags);
    to = lp_put_u16be(to, segment->window);
    to = lp_put_u32be(to, 0);
    const bool stamped = segment->port >= PORT_STAMPED && mutate_random(mutate, 8) != 0;
    if (stamped && (segment->flags & TCP_SYN) != 0) {
        to = mutate_syn_options(mutate, to);
    } else if (stamped) {
        to = mutate_stamp(mutate, to);
        to = segment->sack ? mutate_sack(mutate, to, segment->port) : to;
    } else if (segment->sack) {
        to = mutate_sack(mutate, to, segment->port);
    } else if (mutate_random(mutate, 3) == 0) {
        to = mutate_options(mutate, to, segment->port);
    }
    *offset = (uint8_t)((to - offset + 12) / 4 << 4);
    memset(to, (int)segment->seq, segment->payload);
    to += segment->payload;
    step.data[0] = STEP_FRAME;
    step.data[1] = segment->fix;
    step.bytes = (uint32_t)(to - step.data);
    mutate_length(&step);
    return step;
}

static struct mutate_segment
mutate_segment_any(struct mutate *mutate)
{
    static const uint16_t sizes[] = {0, 0, 0, 1, 8, 100, 536, 1448};
    struct mutate_segment segment = {
        .port = (uint16_t)(1001 + mutate_random(mutate, mutate_random(mutate, 3) == 0 ? 16 : 2)),
        .flags = TCP_ACK,
        .window = 65535,
        .payload = sizes[mutate_random(mutate, LP_COUNT_OF(sizes))],
        .fix = FLAG_IP | FLAG_L4 | FLAG_RELATIVE,
    };
    if (mutate_random(mutate, 2) == 0) {
        segment.flags = mutate_flags(mutate);
    }
    if (mutate_random(mutate, 2) == 0) {
        segment.seq = mutate_distance(mutate);
    }
    if (mutate_random(mutate, 2) == 0) {
        segment.ack = 0u - mutate_random(mutate, 12) * mutate_unit(segment.port);
    } else if (mutate_random(mutate, 4) == 0) {
        segment.ack = mutate_distance(mutate);
    }
    if (mutate_random(mutate, 4) == 0) {
        segment.window = mutate_window(mutate);
    }
    segment.ecn = mutate_random(mutate, 3) == 0 ? (uint8_t)mutate_random(mutate, 4) : 0;
    segment.flags |= mutate_random(mutate, 4) == 0 ? TCP_ECE : 0;
    segment.flags |= mutate_random(mutate, 8) == 0 ? TCP_CWR : 0;
    segment.fix |= mutate_random(mutate, 8) == 0 ? FLAG_GOOD : 0;
    segment.fix |= mutate_random(mutate, 8) == 0 ? FLAG_SECOND : 0;
    segment.fix |= mutate_random(mutate, 4) == 0 ? FLAG_MORE : 0;
    return segment;
}

/* Somebody new: a SYN and what answers ours. */
static void
mutate_handshake(struct mutate *mutate, size_t at)
{
    struct mutate_segment segment = {
        .port = (uint16_t)(1004 + mutate_random(mutate, 13)),
        .flags = TCP_ACK,
        .window = 65535,
        .payload = mutate_random(mutate, 3) == 0 ? 8 : 0,
        .fix = FLAG_IP | FLAG_L4 | FLAG_RELATIVE,
    };
    const struct mutate_step ack = mutate_segment_make(mutate, &segment);
    segment.flags = mutate_random(mutate, 2) == 0 ? TCP_SYN : TCP_SYN | TCP_ECE | TCP_CWR;
    segment.payload = 0;
    const struct mutate_step syn = mutate_segment_make(mutate, &segment);
    mutate_replace(mutate, at, 0, &ack);
    mutate_replace(mutate, at, 0, &syn);
}

/* A few that continue each other, in one burst: most as they should be. */
static void
mutate_burst(struct mutate *mutate, size_t at)
{
    struct mutate_segment segment = {
        .port = (uint16_t)(1001 + mutate_random(mutate, mutate_random(mutate, 3) == 0 ? 16 : 2)),
        .flags = TCP_ACK,
        .window = 65535,
        .payload = mutate_random(mutate, 2) == 0 ? 536 : 100,
    };
    const uint32_t count = 2 + mutate_random(mutate, 5);
    const uint32_t odd = mutate_random(mutate, 2 * count);
    for (uint32_t i = count; i > 0; i--) {
        segment.fix = FLAG_IP | FLAG_L4 | FLAG_RELATIVE | (i < count ? FLAG_MORE : 0);
        segment.seq = (i - 1u) * segment.payload;
        const struct mutate_segment strange = mutate_segment_any(mutate);
        const struct mutate_step step =
            mutate_segment_make(mutate, i - 1 == odd ? &strange : &segment);
        mutate_replace(mutate, at, 0, &step); /* the last first */
    }
}

static void
mutate_call_put(struct mutate *mutate, size_t at, uint8_t kind, uint8_t how)
{
    const struct mutate_step step = {.bytes = 2, .data = {kind, how}};
    mutate_replace(mutate, at, 0, &step);
}

static void
mutate_segment_put(struct mutate *mutate, size_t at, const struct mutate_segment *segment)
{
    const struct mutate_step step = mutate_segment_make(mutate, segment);
    mutate_replace(mutate, at, 0, &step);
}

/* Much is sent, some of it is lost, and SACKs say so.  The last first, as each goes before. */
static void
mutate_loss(struct mutate *mutate, size_t at)
{
    struct mutate_segment segment = {
        .port = (uint16_t)(1001 + mutate_random(mutate, mutate_random(mutate, 3) == 0 ? 16 : 2)),
        .flags = TCP_ACK,
        .window = 65535,
        .fix = FLAG_IP | FLAG_L4 | FLAG_RELATIVE,
    };
    mutate_segment_put(mutate, at, &segment);
    const uint32_t unit = mutate_unit(segment.port);
    uint32_t behind = mutate_random(mutate, 4);
    for (uint32_t i = 1 + mutate_random(mutate, 6); i > 0; i--) {
        behind += mutate_random(mutate, 3);
        segment.ack = 0u - behind * unit;
        segment.sack = mutate_random(mutate, 4) != 0;
        mutate_segment_put(mutate, at, &segment);
        if (mutate_random(mutate, 3) == 0) {
            mutate_call_put(mutate, at, STEP_TIME, (uint8_t)(1 + mutate_random(mutate, 8)));
        }
    }
    mutate_call_put(mutate, at, STEP_SEND, 255);
}

/* We end, the peer ends, its last words come again, somebody new comes from there. */
static void
mutate_goodbye(struct mutate *mutate, size_t at)
{
    struct mutate_segment segment = {
        .port = (uint16_t)(1001 + mutate_random(mutate, 2)),
        .flags = TCP_SYN,
        .window = 65535,
        .seq = mutate_distance(mutate),
        .fix = FLAG_IP | FLAG_L4 | FLAG_RELATIVE,
    };
    mutate_segment_put(mutate, at, &segment);
    mutate_call_put(mutate, at, STEP_TIME, (uint8_t)mutate_random(mutate, 256));
    segment.flags = TCP_FIN | TCP_ACK;
    segment.seq = mutate_random(mutate, 2) == 0 ? 0u - 1u : 0;
    mutate_segment_put(mutate, at, &segment);
    segment.seq = 0;
    mutate_segment_put(mutate, at, &segment);
    mutate_call_put(mutate, at, STEP_CLOSE, (uint8_t)mutate_random(mutate, 256));
}

/* We connect, and somebody answers in one of the ways there are. */
static void
mutate_connect(struct mutate *mutate, size_t at)
{
    static const uint8_t answers[] = {TCP_SYN | TCP_ACK, TCP_SYN | TCP_ACK, TCP_SYN,
                                      TCP_RST | TCP_ACK, TCP_ACK,           TCP_RST};
    const uint8_t how = (uint8_t)(2 * (2 + mutate_random(mutate, 6)));
    struct mutate_segment segment = {
        .port = (uint16_t)(1000 + how),
        .flags = answers[mutate_random(mutate, LP_COUNT_OF(answers))],
        .window = 65535,
        .ack = mutate_random(mutate, 6) == 0 ? 1 : 0,
        .to_caller = true,
        .fix = FLAG_IP | FLAG_L4 | FLAG_RELATIVE,
    };
    const struct mutate_segment first = segment;
    segment.flags = TCP_ACK;
    segment.payload = 8;
    mutate_segment_put(mutate, at, &segment);
    mutate_segment_put(mutate, at, &first);
    mutate_call_put(mutate, at, STEP_CONNECT, how);
}

/* An error about what we sent. */
static void
mutate_error(struct mutate *mutate, size_t at)
{
    static const uint16_t mtus[] = {1300, 1280, 576, 68, 0, 1500, 9000, 1400};
    struct mutate_step step = {.data = {STEP_FRAME, FLAG_IP | FLAG_L4 | FLAG_RELATIVE}};
    const bool ip4 = mutate_random(mutate, 2) == 0;
    uint8_t *to = mutate_network(mutate, step.data + STEP_HEAD, ip4);
    uint8_t *protocol = to - (ip4 ? 11 : 34);
    *protocol = ip4 ? NET_PROTOCOL_ICMP : NET_PROTOCOL_ICMP6;
    to = lp_put_u8(to, ip4 ? 3 : (uint8_t)(1 + mutate_random(mutate, 4)));
    to = lp_put_u8(to, ip4 ? (uint8_t)(2 + mutate_random(mutate, 3)) : 0);
    to = lp_put_u16be(to, 0);
    to = lp_put_u32be(to, mtus[mutate_random(mutate, LP_COUNT_OF(mtus))]);
    if (ip4) {
        to = lp_put_u64be(to, 0x450005dc00004000u);
        to = lp_put_u32be(to, 0x40060000u);
        to = lp_put_bytes(to, our_ip4, 4);
        to = lp_put_bytes(to, peer_ip4, 4);
    } else {
        to = lp_put_u64be(to, 0x6000000005b40640u);
        to = lp_put_bytes(to, our_ip6, 16);
        to = lp_put_bytes(to, peer_ip6, 16);
    }
    to = lp_put_u16be(to, 0);
    to = lp_put_u16be(to, ip4 ? 1001 : 1002);
    to = lp_put_u32be(to, 0u - mutate_random(mutate, 12) * 1440u);
    step.bytes = (uint32_t)(to - step.data);
    mutate_length(&step);
    mutate_replace(mutate, at, 0, &step);
    mutate_call_put(mutate, at, STEP_SEND, 255);
}

static void
mutate_story(struct mutate *mutate, size_t at)
{
    static void (*const stories[])(struct mutate *, size_t) = {
        mutate_burst,   mutate_handshake, mutate_loss,  mutate_loss,
        mutate_goodbye, mutate_connect,   mutate_error,
    };
    stories[mutate_random(mutate, LP_COUNT_OF(stories))](mutate, at);
}
