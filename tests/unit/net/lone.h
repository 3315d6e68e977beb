/* SPDX-License-Identifier: Apache-2.0 */
/*
 * lone.h - one instance of our TCP/IP, and a test that plays all of its peers:
 * segments are written by hand, what comes out is read by hand. Virtual time.
 *
 * 10.0.0.2 is the gateway behind which any number of peers are.
 */
#pragma once

#include "tests/unit/base/base_test.h"

#include <drivers/sim/wire.h>

#include <lepus/net_counters.h>
#include <lepus/transport.h>

#include "dataplane/net/net.h"
#include "dataplane/net/tcp/inbound.h"

#define LONE_PORT         5672u
#define LONE_MS           1000000ull
#define LONE_S            1000000000ull
#define LONE_OUT_MAX      4096u
#define LONE_EVENTS_MAX   64u
#define LONE_MEMORY_BYTES (8u * 1024u * 1024u)
#define LONE_FRAME_BYTES  2048u
#define LONE_HEADERS      34u /* Ethernet's and IPv4's */

/* A segment that came out; the parsed one points into `frame`. */
struct lone_out {
    uint8_t frame[LONE_FRAME_BYTES];
    struct net_packet packet;
    struct tcp_segment segment;
};

/* A segment that goes in. */
struct lone_in {
    uint32_t peer; /* the IPv4 address; 0: 10.0.0.2 */
    uint16_t from; /* ports; 0: 40000 and LONE_PORT */
    uint16_t to;
    uint32_t seq;
    uint32_t ack;
    uint8_t flags;
    uint16_t window;
    uint16_t mss;
    bool has_shift;
    uint8_t shift;
    bool sack;
    bool has_timestamp;
    uint32_t timestamp;
    uint32_t echo;
    uint32_t bytes; /* payload: lone_byte() of its place */
    uint32_t place;
};

struct lone {
    struct lp_sim_wire *wire;
    struct lp_nic peer;
    struct lp_net *net;
    struct lp_transport transport;
    void *memory;
    uint64_t now_ns;
    uint64_t seed;
    /* What came out since lone_forget(). */
    uint32_t out_count;
    struct lone_out *out;
    uint32_t event_count;
    struct lp_transport_event events[4096];
    uint64_t received_bytes;
    bool check_places; /* what is received is lone_byte() from 0 on */
};

static inline uint8_t
lone_byte(uint32_t place)
{
    return (uint8_t)(place * 31u + (place >> 8) * 7u);
}

static inline uint64_t
lone_clock(void *self)
{
    return ((struct lone *)self)->now_ns;
}

static inline void
lone_entropy(void *self, void *data, size_t bytes)
{
    struct lone *lone = self;
    for (size_t i = 0; i < bytes; i++) {
        lone->seed = lone->seed * 6364136223846793005u + 1442695040888963407u;
        ((uint8_t *)data)[i] = (uint8_t)(lone->seed >> 56);
    }
}

/* The gateway asks for us, so that we know it: nothing has to wait for ARP. */
static inline void
lone_greet(struct lone *lone)
{
    static const uint8_t question[60] = {
        0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 2, 0,  0, 0, 0, 2, 8, 6, 0, 1, 8, 0,  6, 4, 0,
        1,    2,    0,    0,    0,    0,    2, 10, 0, 0, 2, 0, 0, 0, 0, 0, 0, 10, 0, 0, 1};
    struct lp_transport_event none[4];
    lp_sim_wire_inject(lone->wire, 0, question, sizeof(question));
    assert_int_equal(lone->transport.ops->poll(lone->net, none, 4), 0);
}

/* `base` has what is not as usual; NULL: nothing. */
static inline void
lone_open(struct lone *lone, const struct lp_net_config *base)
{
    *lone = (struct lone){.now_ns = LONE_S, .seed = 7, .check_places = true};
    const struct lp_sim_wire_config wire = lp_sim_wire_config_default(9);
    lone->wire = lp_sim_wire_create(&wire);
    lp_sim_wire_advance(lone->wire, lone->now_ns);
    lone->peer = lp_sim_wire_nic(lone->wire, 1, 0);
    lone->memory = aligned_alloc(LP_SPAN_BYTES, LONE_MEMORY_BYTES);
    lone->out = calloc(LONE_OUT_MAX, sizeof(*lone->out));
    assert_non_null(lone->memory);
    assert_non_null(lone->out);
    memset(lone->memory, 0, LONE_MEMORY_BYTES);
    struct lp_net_config config = base != NULL ? *base : (struct lp_net_config){0};
    config.shard_count = 1;
    config.port_count = 1;
    config.port[0].nic = lp_sim_wire_nic(lone->wire, 0, 0);
    config.port[0].address_count = 1;
    config.port[0].address[0] =
        (struct lp_net_prefix){.family = LP_ADDRESS_IPV4, .bits = 24, .ip = {10, 0, 0, 1}};
    config.route_count = 1;
    config.route[0] =
        (struct lp_net_route){.destination = {.family = LP_ADDRESS_IPV4}, .gateway = {10, 0, 0, 2}};
    config.listener_count = 1;
    config.listener[0] = (struct lp_address){.family = LP_ADDRESS_IPV4, .port = LONE_PORT};
    config.streams_max = config.streams_max == 0 ? 64 : config.streams_max;
    const struct lp_net_env env = {
        .memory = lone->memory,
        .memory_bytes = LONE_MEMORY_BYTES,
        .clock = {.monotonic_ns = lone_clock, .wall_ns = lone_clock, .self = lone},
        .entropy = {.fill = lone_entropy, .self = lone},
    };
    assert_int_equal(lp_net_open_boot(&config, &env, &lone->net), LP_OK);
    lone->transport = lp_net_transport(lone->net);
    lone_greet(lone);
}

static inline void
lone_close(struct lone *lone)
{
    lp_net_close(&lone->net);
    free(lone->memory);
    free(lone->out);
    lp_sim_wire_destroy(lone->wire);
}

static inline void
lone_forget(struct lone *lone)
{
    lone->out_count = 0;
    lone->event_count = 0;
}

static inline const struct lp_net_counters *
lone_counters(const struct lone *lone)
{
    return lp_net_counters_of(lone->net);
}

/* --- What comes out. ------------------------------------------------------------------------- */

/* The peer's link answers for everybody. */
static inline void
lone_arp(struct lone *lone, const struct lp_nic_frame *frame)
{
    static const uint8_t mac[6] = {2, 0, 0, 0, 0, 2};
    uint8_t answer[60] = {0};
    if (frame->data[21] != 1 || memcmp(frame->data + 38, "\x0a\x00\x00\x02", 4) != 0) {
        return;
    }
    memcpy(answer, frame->data + 6, 6);
    memcpy(answer + 6, mac, 6);
    memcpy(answer + 12, frame->data + 12, 9);
    answer[21] = 2;
    memcpy(answer + 22, mac, 6);
    memcpy(answer + 28, frame->data + 38, 4);
    memcpy(answer + 32, frame->data + 22, 10);
    lp_sim_wire_inject(lone->wire, 0, answer, sizeof(answer));
}

static inline void
lone_catch(struct lone *lone, const struct lp_nic_frame *frame)
{
    if (frame->data[13] == 6) {
        lone_arp(lone, frame);
        return;
    }
    if (frame->data[12] != 8 || frame->data[13] != 0 || frame->data[23] != 6) {
        return; /* neighbour discovery of the link's address */
    }
    assert_true(lone->out_count < LONE_OUT_MAX);
    assert_true(frame->bytes <= LONE_FRAME_BYTES);
    struct lone_out *out = &lone->out[lone->out_count++];
    memcpy(out->frame, frame->data, frame->bytes);
    const uint32_t ip_bytes = (uint32_t)out->frame[16] << 8 | out->frame[17];
    out->packet = (struct net_packet){
        .family = LP_ADDRESS_IPV4,
        .protocol = NET_PROTOCOL_TCP,
        .from = out->frame + 26,
        .to = out->frame + 30,
        .l4 = out->frame + LONE_HEADERS,
        .l4_bytes = ip_bytes - NET_IPV4_BYTES,
    };
    assert_true(tcp_checksum_holds(&out->packet));
    assert_true(tcp_segment_parse(&out->packet, &out->segment));
}

static inline void
lone_catch_all(struct lone *lone)
{
    struct lp_nic_frame frames[LP_NIC_BURST_MAX];
    uint32_t count;
    while ((count = lone->peer.ops->receive(lone->peer.self, frames, LP_NIC_BURST_MAX)) > 0) {
        for (uint32_t i = 0; i < count; i++) {
            lone_catch(lone, &frames[i]);
            lone->peer.ops->put(lone->peer.self, &frames[i]);
        }
    }
}

/* One turn of the shard, which does nothing by itself, with room for so many events. */
static inline void
lone_turn(struct lone *lone, uint32_t events_max)
{
    struct lp_transport_event *events = lone->events + lone->event_count;
    assert_true(lone->event_count + events_max <= LP_COUNT_OF(lone->events));
    const uint32_t count = lone->transport.ops->poll(lone->net, events, events_max);
    for (uint32_t i = 0; i < count; i++) {
        for (uint32_t at = 0; events[i].kind == LP_TRANSPORT_RECEIVED && at < events[i].bytes;
             at++) {
            const uint8_t byte = events[i].data[at];
            assert_true(!lone->check_places || byte == lone_byte((uint32_t)lone->received_bytes));
            lone->received_bytes++;
        }
    }
    lone->event_count += count;
    lone->transport.ops->flush(lone->net);
    lp_net_check(lone->net);
}

/* Time passes; turns are taken at least every `step_ns`, and frames arrive. */
static inline void
lone_pass(struct lone *lone, uint64_t for_ns, uint64_t step_ns)
{
    const uint64_t until = lone->now_ns + for_ns;
    do {
        lone_turn(lone, LONE_EVENTS_MAX);
        lone->now_ns += LP_MIN(step_ns, until - lone->now_ns);
        lp_sim_wire_advance(lone->wire, lone->now_ns);
        lone_catch_all(lone);
    } while (lone->now_ns < until);
    lone_turn(lone, LONE_EVENTS_MAX);
}

/* Long enough for what is sent to arrive, too short for a timer. */
static inline void
lone_settle(struct lone *lone)
{
    lone_pass(lone, LONE_MS / 2, LONE_MS / 10);
}

/* --- What goes in. --------------------------------------------------------------------------- */

static inline uint8_t *
lone_options(uint8_t *to, const struct lone_in *in)
{
    if (in->mss != 0) {
        to = lp_put_u32be(to, 0x02040000u | in->mss);
    }
    if (in->has_shift) {
        to = lp_put_u32be(to, 0x01030300u | in->shift);
    }
    if (in->sack) {
        to = lp_put_u32be(to, 0x01010402u);
    }
    if (in->has_timestamp) {
        to = lp_put_u32be(to, 0x0101080au);
        to = lp_put_u32be(to, in->timestamp);
        to = lp_put_u32be(to, in->echo);
    }
    return to;
}

static inline uint32_t
lone_segment_write(uint8_t *frame, const struct lone_in *in)
{
    static const uint8_t ethernet[14] = {2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 2, 8, 0};
    const uint32_t peer = in->peer == 0 ? 0x0a000002u : in->peer;
    uint8_t *l4 = frame + LONE_HEADERS;
    uint8_t *to = lp_put_u16be(l4, in->from == 0 ? 40000 : in->from);
    to = lp_put_u16be(to, in->to == 0 ? LONE_PORT : in->to);
    to = lp_put_u32be(to, in->seq);
    to = lp_put_u32be(to, in->ack);
    uint8_t *offset = to;
    to = lp_put_u16be(to + 1, (uint16_t)(in->flags << 8)) - 1;
    to = lp_put_u16be(offset + 2, in->window);
    to = lp_put_u32be(to, 0);
    to = lone_options(to, in);
    *offset = (uint8_t)((to - l4) / 4 << 4);
    for (uint32_t i = 0; i < in->bytes; i++) {
        *to++ = lone_byte(in->place + i);
    }
    const uint32_t l4_bytes = (uint32_t)(to - l4);
    memcpy(frame, ethernet, sizeof(ethernet));
    uint8_t *ip = lp_put_u16be(frame + 14, 0x4500);
    ip = lp_put_u16be(ip, (uint16_t)(l4_bytes + NET_IPV4_BYTES));
    ip = lp_put_u32be(ip, 0x4000);
    ip = lp_put_u32be(ip, 0x40060000u);
    ip = lp_put_u32be(ip, peer);
    (void)lp_put_u32be(ip, 0x0a000001u);
    const uint16_t ip_sum = (uint16_t)~net_sum(frame + 14, NET_IPV4_BYTES, 0);
    memcpy(frame + 24, &(uint16_t){__builtin_bswap16(ip_sum)}, 2);
    const uint32_t pseudo =
        net_sum_pseudo(LP_ADDRESS_IPV4, frame + 26, frame + 30, NET_PROTOCOL_TCP, l4_bytes);
    const uint16_t sum = (uint16_t)~net_sum(l4, l4_bytes, pseudo);
    memcpy(l4 + 16, &(uint16_t){__builtin_bswap16(sum)}, 2);
    return LONE_HEADERS + l4_bytes;
}

static inline void
lone_in(struct lone *lone, const struct lone_in *in)
{
    uint8_t frame[LONE_FRAME_BYTES];
    lp_sim_wire_inject(lone->wire, 0, frame, lone_segment_write(frame, in));
}

/* The last segment that came out. */
static inline const struct tcp_segment *
lone_last(const struct lone *lone)
{
    assert_true(lone->out_count > 0);
    return &lone->out[lone->out_count - 1].segment;
}

/* --- A connection. --------------------------------------------------------------------------- */

struct lone_peer {
    uint32_t address;
    uint16_t port;
    uint32_t seq; /* SND.NXT of the peer */
    uint32_t ack; /* RCV.NXT */
    bool timestamps;
    uint32_t timestamp;
    lp_handle stream;
};

static inline struct lone_in
lone_of(const struct lone_peer *peer, uint8_t flags, uint32_t bytes)
{
    return (struct lone_in){
        .peer = peer->address,
        .from = peer->port,
        .seq = peer->seq,
        .ack = peer->ack,
        .flags = flags,
        .window = 65535,
        .bytes = bytes,
        .has_timestamp = peer->timestamps,
        .timestamp = peer->timestamp,
    };
}

/* A handshake; window shift 0 and SACK; gives the stream of ACCEPTED. */
static inline void
lone_accept(struct lone *lone, struct lone_peer *peer)
{
    lone_forget(lone);
    struct lone_in syn = lone_of(peer, TCP_SYN, 0);
    syn.mss = 1460;
    syn.has_shift = true;
    syn.sack = true;
    lone_in(lone, &syn);
    lone_settle(lone);
    assert_int_equal(lone->out_count, 1);
    assert_int_equal(lone_last(lone)->flags, TCP_SYN | TCP_ACK);
    peer->seq++;
    peer->ack = lone_last(lone)->seq + 1;
    const struct lone_in ack = lone_of(peer, TCP_ACK, 0);
    lone_forget(lone);
    lone_in(lone, &ack);
    lone_settle(lone);
    assert_int_equal(lone->event_count, 1);
    assert_int_equal(lone->events[0].kind, LP_TRANSPORT_ACCEPTED);
    peer->stream = lone->events[0].stream;
    lone_forget(lone);
}

/* An instance with one connection, from port 3000. */
static inline void
lone_open_with(struct lone *lone, struct lone_peer *peer, const struct lp_net_config *base)
{
    lone_open(lone, base);
    *peer = (struct lone_peer){.port = 3000, .seq = 99};
    lone_accept(lone, peer);
}

static inline struct tcp_stream *
lone_stream(const struct lone *lone, const struct lone_peer *peer)
{
    return lp_pool_get(&lone->net->tcp->streams, peer->stream);
}
