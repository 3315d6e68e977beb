/* SPDX-License-Identifier: Apache-2.0 */
/*
 * pair.h - two instances of our TCP/IP on a simulated wire, in virtual time:
 * one listens, one opens connections.
 */
#pragma once

#include "tests/unit/base/base_test.h"

#include <drivers/sim/wire.h>

#include <lepus/transport.h>

#include "dataplane/net/net.h"
#include "dataplane/net/tcp/inbound.h"

#define PAIR_PORT         5672u
#define PAIR_EVENTS       64u
#define PAIR_MEMORY_BYTES (16u * 1024u * 1024u)
#define PAIR_MS           1000000ull
#define PAIR_STREAMS      64u

struct pair_end {
    struct pair *pair;
    struct lp_net *net;
    struct lp_transport transport;
    void *memory;
    void *ledger; /* of a test that has one */
    uint64_t seed;
    /* What the last events said. */
    lp_handle stream;
    uint32_t accepted;
    uint32_t connected;
    uint32_t ended;
    uint32_t closed;
    uint32_t sends; /* SENT events */
    uint64_t sent_bytes;
    uint64_t received_bytes;
    uint64_t digest; /* of what was received */
    bool echo;       /* what is received is sent back */
    bool close_when_ended;
    uint8_t *out; /* memory of an echo that is on its way */
    uint32_t out_bytes;
};

struct pair {
    struct lp_sim_wire *wire;
    uint64_t now_ns;
    struct pair_end end[2];
};

static uint64_t
pair_clock(void *self)
{
    return ((struct pair *)self)->now_ns;
}

static void
pair_entropy(void *self, void *data, size_t bytes)
{
    struct pair_end *end = self;
    uint8_t *to = data;
    for (size_t i = 0; i < bytes; i++) {
        end->seed = end->seed * 6364136223846793005u + 1442695040888963407u;
        to[i] = (uint8_t)(end->seed >> 56);
    }
}

static void
pair_end_open(struct pair *pair, uint32_t i, const struct lp_net_config *base)
{
    struct pair_end *end = &pair->end[i];
    struct lp_net_config config = *base;
    end->pair = pair;
    end->seed += 1000 + i;
    end->memory = aligned_alloc(LP_SPAN_BYTES, PAIR_MEMORY_BYTES);
    assert_non_null(end->memory);
    memset(end->memory, 0, PAIR_MEMORY_BYTES);
    config.shard_count = 1;
    config.port_count = 1;
    config.port[0].nic = lp_sim_wire_nic(pair->wire, i, 0);
    config.port[0].address_count = 1;
    config.port[0].address[0] = (struct lp_net_prefix){
        .family = LP_ADDRESS_IPV4, .bits = 24, .ip = {10, 0, 0, (uint8_t)(i + 1)}};
    config.listener_count = i == 0 ? 1 : 0;
    config.listener[0] = (struct lp_address){.family = LP_ADDRESS_IPV4, .port = PAIR_PORT};
    if (config.streams_max == 0) {
        config.streams_max = PAIR_STREAMS;
    }
    const struct lp_net_env env = {
        .memory = end->memory,
        .memory_bytes = PAIR_MEMORY_BYTES,
        .clock = {.monotonic_ns = pair_clock, .wall_ns = pair_clock, .self = pair},
        .entropy = {.fill = pair_entropy, .self = end},
        .ledger = end->ledger,
    };
    assert_int_equal(lp_net_open_boot(&config, &env, &end->net), LP_OK);
    end->transport = lp_net_transport(end->net);
}

static void
pair_open(struct pair *pair, const struct lp_sim_wire_config *wire,
          const struct lp_net_config *config)
{
    *pair = (struct pair){.now_ns = 1000000000ull};
    pair->wire = lp_sim_wire_create(wire);
    lp_sim_wire_advance(pair->wire, pair->now_ns);
    for (uint32_t i = 0; i < 2; i++) {
        pair_end_open(pair, i, config);
    }
}

static void
pair_close(struct pair *pair)
{
    for (uint32_t i = 0; i < 2; i++) {
        lp_net_close(&pair->end[i].net);
        free(pair->end[i].out);
        free(pair->end[i].memory);
    }
    lp_sim_wire_destroy(pair->wire);
}

static inline uint8_t
pair_byte(uint64_t at)
{
    return (uint8_t)(at * 7u + (at >> 8) * 13u + (at >> 16));
}

static void
pair_received(struct pair_end *end, const struct lp_transport_event *event)
{
    for (uint32_t i = 0; i < event->bytes; i++) {
        assert_int_equal(event->data[i], pair_byte(end->received_bytes + i));
    }
    end->received_bytes += event->bytes;
    if (!end->echo) {
        return;
    }
    end->out = realloc(end->out, end->out_bytes + event->bytes);
    assert_non_null(end->out);
    memcpy(end->out + end->out_bytes, event->data, event->bytes);
    end->out_bytes += event->bytes;
}

static void
pair_event(struct pair_end *end, const struct lp_transport_event *event)
{
    const struct lp_transport_ops *ops = end->transport.ops;
    switch (event->kind) {
    case LP_TRANSPORT_ACCEPTED:
        end->accepted++;
        end->stream = event->stream;
        ops->attach(end->net, event->stream, 17);
        return;
    case LP_TRANSPORT_CONNECTED:
        end->connected++;
        return;
    case LP_TRANSPORT_RECEIVED:
        assert_true(event->bytes > 0);
        pair_received(end, event);
        return;
    case LP_TRANSPORT_SENT:
        end->sends++;
        end->sent_bytes += event->bytes;
        return;
    case LP_TRANSPORT_ENDED:
        end->ended++;
        if (end->close_when_ended) {
            ops->close(end->net, event->stream);
        }
        return;
    case LP_TRANSPORT_CLOSED:
        end->closed++;
        return;
    }
}

static void
pair_turn(struct pair_end *end)
{
    struct lp_transport_event events[PAIR_EVENTS];
    const struct lp_transport_ops *ops = end->transport.ops;
    const uint32_t count = ops->poll(end->net, events, PAIR_EVENTS);
    for (uint32_t i = 0; i < count; i++) {
        pair_event(end, &events[i]);
    }
    if (end->echo && end->out_bytes > 0) {
        const struct lp_iovec piece = {end->out, end->out_bytes};
        if (ops->send(end->net, end->stream, &piece, 1)) {
            /* Small enough to be copied at once, here. */
            end->out_bytes = 0;
        }
    }
    ops->flush(end->net);
    lp_net_check(end->net);
}

/* Both ends take a turn, and time goes on to what happens next; at most `step_ns`. */
static void
pair_step(struct pair *pair, uint64_t step_ns)
{
    pair_turn(&pair->end[0]);
    pair_turn(&pair->end[1]);
    uint64_t next = pair->now_ns + step_ns;
    next = LP_MIN(next, lp_sim_wire_next_ns(pair->wire));
    pair->now_ns = LP_MAX(next, pair->now_ns + 1000u);
    lp_sim_wire_advance(pair->wire, pair->now_ns);
}

static inline void
pair_run(struct pair *pair, uint64_t for_ns)
{
    const uint64_t until = pair->now_ns + for_ns;
    while (pair->now_ns < until) {
        pair_step(pair, PAIR_MS);
    }
}

static void
pair_connect(struct pair *pair)
{
    struct lp_address to = {.family = LP_ADDRESS_IPV4, .port = PAIR_PORT, .ip = {10, 0, 0, 1}};
    pair->end[1].stream = lp_net_connect(pair->end[1].net, &to);
    assert_true(pair->end[1].stream != LP_HANDLE_NONE);
    pair->end[1].transport.ops->flush(pair->end[1].net);
}

static void
pair_send(struct pair_end *end, const uint8_t *data, uint32_t bytes)
{
    const struct lp_iovec piece = {data, bytes};
    assert_true(end->transport.ops->send(end->net, end->stream, &piece, 1));
}

static inline bool
pair_at_rest(const struct pair *pair)
{
    const char *why = "";
    return lp_net_at_rest(pair->end[0].net, &why) && lp_net_at_rest(pair->end[1].net, &why);
}
