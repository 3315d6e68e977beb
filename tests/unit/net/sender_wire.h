/* SPDX-License-Identifier: Apache-2.0 */
/*
 * sender_wire.h - a wire that loses, delays and reorders, and a receiver with
 * a flag for each byte: what is on the other side of sender_rig.h.
 */
#pragma once

#include "tests/unit/base/base_test.h"

#include "dataplane/net/tcp/congestion.h"

#define RIG_MEMORY_BYTES (16u * 1024u * 1024u)
#define RIG_BYTES_MAX    (16u * 1024u * 1024u)
#define RIG_EVENTS_MAX   65536u
#define RIG_ISN          0xfffff000u /* wraps early */
#define RIG_MS           1000000ull

/* A segment or an acknowledgement under way. */
struct rig_event {
    uint64_t at_ns;
    uint64_t serial;
    bool is_ack;
    uint32_t seq; /* or what is acknowledged */
    uint32_t bytes;
    uint8_t flags;
    uint32_t timestamp;
    uint32_t echo;
    uint32_t window;
    uint32_t sack_count;
    struct tcp_range sack[TCP_SACK_BLOCKS_MAX];
};

struct rig_wire {
    uint64_t delay_ns;  /* one way */
    uint64_t jitter_ns; /* at most; reorders */
    uint32_t loss_data; /* of 10,000 */
    uint32_t loss_ack;
    uint32_t twice;          /* of 10,000 are duplicated */
    uint64_t bytes_a_second; /* 0: any number */
    uint32_t queue_bytes;    /* of the bottleneck */
};

struct rig {
    struct lp_net net;
    struct tcp tcp;
    struct arena arena;
    struct random random;
    struct tcp_stream *stream;
    struct rig_wire wire;
    uint32_t tso_bytes;
    uint32_t frames_left; /* the device's; UINT32_MAX: enough */
    uint8_t *frame;
    /* Events: a heap. */
    struct rig_event *events;
    uint32_t event_count;
    uint64_t serial;
    uint64_t link_free_ns;
    /* The receiver: a byte each; `have` says which arrived. */
    uint8_t *have;
    uint32_t next;   /* offset of the first that is missing */
    uint32_t most;   /* behind the highest that arrived */
    uint32_t recent; /* offset of the newest */
    uint32_t window;
    uint32_t edge; /* offset: all below was promised */
    uint32_t timestamp_recent;
    bool fin;
    uint32_t duplicate_start;
    uint32_t duplicate_end; /* DSACK is due when it is not 0 */
    bool sends_dsack;
    /* What was seen. */
    uint32_t queued;
    uint32_t segments;
    uint32_t drops;
    uint32_t pure_acks;
    uint32_t resets;
    uint64_t sent_at_ns[64]; /* when the first of them left */
    uint32_t sent_seq[64];
    uint32_t sent_bytes[64];
    uint32_t hole_bytes; /* larger segments vanish; 0: none */
    uint64_t cut_from;   /* drop data segments number from..to, counted from 1 */
    uint64_t cut_to;
    uint32_t late_number; /* this one takes so much longer */
    uint64_t late_ns;
    bool failed;
    uint32_t continued;
};

static inline struct rig *
rig_of(struct lp_net *net)
{
    return LP_CONTAINER_OF(net, struct rig, net);
}

static inline uint8_t
rig_byte(uint32_t offset)
{
    return (uint8_t)(offset * 31u + (offset >> 8) * 7u + (offset >> 16));
}

/* --- Events. -----------------------------------------------------------------------------------
 */

static inline bool
rig_before(const struct rig_event *a, const struct rig_event *b)
{
    return a->at_ns < b->at_ns || (a->at_ns == b->at_ns && a->serial < b->serial);
}

static inline void
rig_push(struct rig *rig, struct rig_event event)
{
    assert_true(rig->event_count < RIG_EVENTS_MAX);
    event.serial = rig->serial++;
    uint32_t at = rig->event_count++;
    while (at > 0 && rig_before(&event, &rig->events[(at - 1) / 2])) {
        rig->events[at] = rig->events[(at - 1) / 2];
        at = (at - 1) / 2;
    }
    rig->events[at] = event;
}

static inline struct rig_event
rig_pop(struct rig *rig)
{
    const struct rig_event first = rig->events[0];
    const struct rig_event last = rig->events[--rig->event_count];
    uint32_t at = 0;
    while (2 * at + 1 < rig->event_count) {
        uint32_t child = 2 * at + 1;
        if (child + 1 < rig->event_count &&
            rig_before(&rig->events[child + 1], &rig->events[child])) {
            child++;
        }
        if (!rig_before(&rig->events[child], &last)) {
            break;
        }
        rig->events[at] = rig->events[child];
        at = child;
    }
    rig->events[at] = last;
    return first;
}

static inline bool
rig_chance(struct rig *rig, uint32_t of_10000)
{
    return of_10000 > 0 && random_below(&rig->random, 10000) < of_10000;
}

static inline void
rig_carry(struct rig *rig, const struct rig_event *event, uint32_t loss)
{
    if (rig_chance(rig, loss)) {
        rig->drops++;
        return;
    }
    struct rig_event copy = *event;
    uint64_t leaves_ns = rig->net.now_ns;
    if (!event->is_ack && rig->wire.bytes_a_second > 0) {
        const uint64_t free_ns = LP_MAX(rig->link_free_ns, leaves_ns);
        const uint64_t waiting = (free_ns - leaves_ns) * rig->wire.bytes_a_second / 1000000000u;
        if (waiting + event->bytes > rig->wire.queue_bytes) {
            rig->drops++;
            return;
        }
        leaves_ns = free_ns + event->bytes * 1000000000ull / rig->wire.bytes_a_second;
        rig->link_free_ns = leaves_ns;
    }
    copy.at_ns = leaves_ns + rig->wire.delay_ns;
    if (rig->wire.jitter_ns > 0) {
        copy.at_ns += random_next(&rig->random) % rig->wire.jitter_ns;
    }
    rig_push(rig, copy);
    if (rig_chance(rig, rig->wire.twice)) {
        copy.at_ns += rig->wire.delay_ns / 3;
        rig_push(rig, copy);
    }
}

/* --- The receiver. -----------------------------------------------------------------------------
 */

static inline uint32_t
rig_offset(uint32_t seq)
{
    return seq - (RIG_ISN + 1u);
}

static inline struct tcp_range
rig_range(const struct rig *rig, uint32_t offset)
{
    uint32_t start = offset;
    uint32_t end = offset;
    while (start > rig->next && rig->have[start - 1]) {
        start--;
    }
    while (end < rig->most && rig->have[end]) {
        end++;
    }
    return (struct tcp_range){start + RIG_ISN + 1u, end + RIG_ISN + 1u};
}

static inline void
rig_sack(struct rig *rig, struct rig_event *ack)
{
    if (rig->duplicate_end != 0 && rig->sends_dsack) {
        ack->sack[ack->sack_count++] = (struct tcp_range){rig->duplicate_start + RIG_ISN + 1u,
                                                          rig->duplicate_end + RIG_ISN + 1u};
    }
    if (rig->most <= rig->next) {
        return;
    }
    if (rig->recent > rig->next && rig->have[rig->recent]) {
        ack->sack[ack->sack_count++] = rig_range(rig, rig->recent);
    }
    /* Two more, anywhere. */
    uint32_t at = rig->next;
    for (uint32_t tries = 0; tries < 200000 && at < rig->most && ack->sack_count < 3; tries++) {
        if (!rig->have[at]) {
            at++;
            continue;
        }
        const struct tcp_range range = rig_range(rig, at);
        if (ack->sack_count == 0 || range.start != ack->sack[ack->sack_count - 1].start) {
            ack->sack[ack->sack_count++] = range;
        }
        at = rig_offset(range.end);
    }
}

static inline void
rig_acknowledge(struct rig *rig)
{
    struct rig_event ack = {
        .is_ack = true,
        .seq = rig->next + RIG_ISN + 1u + (rig->fin && rig->next == rig->queued ? 1u : 0u),
        .window = rig->window,
        .echo = rig->timestamp_recent,
    };
    rig->edge = LP_MAX(rig->edge, rig->next + rig->window);
    if (rig->stream->sack) {
        rig_sack(rig, &ack);
    }
    rig->duplicate_end = 0;
    rig_carry(rig, &ack, rig->wire.loss_ack);
}

static inline void
rig_receive(struct rig *rig, const struct rig_event *event)
{
    const uint32_t start = rig_offset(event->seq);
    if ((event->flags & TCP_FIN) != 0) {
        assert_int_equal(start + event->bytes, rig->queued);
        rig->fin = true;
    }
    if (event->bytes > 0 && start + event->bytes <= rig->edge) {
        bool news = false;
        for (uint32_t i = start; i < start + event->bytes; i++) {
            news = news || !rig->have[i];
            rig->have[i] = 1;
        }
        if (!news) {
            rig->duplicate_start = start;
            rig->duplicate_end = start + event->bytes;
        }
        rig->recent = start;
        rig->most = LP_MAX(rig->most, start + event->bytes);
        if (start <= rig->next) {
            rig->timestamp_recent = event->timestamp;
        }
        while (rig->next < rig->most && rig->have[rig->next]) {
            rig->next++;
        }
    }
    rig_acknowledge(rig);
}
