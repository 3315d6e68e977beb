/* SPDX-License-Identifier: Apache-2.0 */
/*
 * sender_rig.h - the sending half of TCP alone: one connection whose frames
 * are caught where they would go to the device, a wire that loses, delays and
 * reorders, and a receiver that is obviously right.  Virtual time.
 */
#pragma once

#include "tests/unit/net/sender_wire.h"

/* --- What the rest of the stack would do. ------------------------------------------------------
 */

bool
net_out_begin(struct lp_net *net, const struct net_path *path, uint8_t protocol, uint32_t l4_bytes,
              struct net_out *out)
{
    struct rig *rig = rig_of(net);
    assert_int_equal(protocol, NET_PROTOCOL_TCP);
    if (rig->frames_left == 0) {
        return false;
    }
    rig->frames_left -= rig->frames_left == UINT32_MAX ? 0 : 1;
    *out = (struct net_out){.l4 = rig->frame, .l4_room = l4_bytes, .path = path};
    return true;
}

static inline uint32_t
rig_u32(const uint8_t *at)
{
    return (uint32_t)at[0] << 24 | (uint32_t)at[1] << 16 | (uint32_t)at[2] << 8 | at[3];
}

static inline void
rig_segment(struct rig *rig, const struct rig_event *event)
{
    if (rig->segments < LP_COUNT_OF(rig->sent_at_ns)) {
        rig->sent_at_ns[rig->segments] = rig->net.now_ns;
        rig->sent_seq[rig->segments] = rig_offset(event->seq);
        rig->sent_bytes[rig->segments] = event->bytes;
    }
    rig->segments++;
    if (rig->hole_bytes != 0 && event->bytes > rig->hole_bytes) {
        rig->drops++;
        return;
    }
    if (rig->segments >= rig->cut_from && rig->segments <= rig->cut_to) {
        rig->drops++;
        return;
    }
    const bool late = rig->segments == rig->late_number;
    rig->wire.delay_ns += late ? rig->late_ns : 0;
    rig_carry(rig, event, rig->wire.loss_data);
    rig->wire.delay_ns -= late ? rig->late_ns : 0;
}

void
net_out_send(struct lp_net *net, struct net_out *out, uint32_t l4_bytes, uint8_t tcp_header_bytes,
             uint16_t segment_bytes)
{
    struct rig *rig = rig_of(net);
    const uint8_t *l4 = out->l4;
    assert_true(l4_bytes <= out->l4_room);
    assert_int_equal((l4[12] >> 4) * 4, tcp_header_bytes);
    struct rig_event event = {.seq = rig_u32(l4 + 4), .flags = l4[13]};
    if (rig->stream->timestamps) {
        event.timestamp = rig_u32(l4 + 24);
    }
    uint32_t left = l4_bytes - tcp_header_bytes;
    const uint8_t *payload = l4 + tcp_header_bytes;
    if (left > rig->stream->send_mss && segment_bytes == 0) {
        assert_true(rig->stream->pmtu != 0); /* a probe, or what was sent before */
        assert_true(left + 52 <= rig->stream->path.mtu_bytes);
    } else if (left > rig->stream->send_mss) {
        assert_true(segment_bytes <= rig->stream->send_mss);
    }
    if ((event.flags & TCP_RST) != 0) {
        rig->resets++;
        return;
    }
    if (left == 0 && (event.flags & TCP_FIN) == 0) {
        rig->pure_acks++;
        return;
    }
    do {
        event.bytes = segment_bytes == 0 ? left : LP_MIN(left, (uint32_t)segment_bytes);
        for (uint32_t i = 0; i < event.bytes; i++) {
            assert_int_equal(payload[i], rig_byte(rig_offset(event.seq) + i));
        }
        left -= event.bytes;
        payload += event.bytes;
        event.flags = (uint8_t)(l4[13] & (left > 0 ? ~(TCP_FIN | TCP_PSH) : 0xff));
        rig_segment(rig, &event);
        event.seq += event.bytes;
    } while (left > 0);
}

uint32_t
net_out_tso_bytes(const struct lp_net *net, const struct net_path *path)
{
    (void)path;
    const struct rig *rig = (const struct rig *)(uintptr_t)net;
    return rig->tso_bytes;
}

bool
net_path_back(const struct lp_net *net, const struct net_packet *packet, struct net_path *ret_path)
{
    (void)net;
    (void)packet;
    *ret_path = (struct net_path){.family = LP_ADDRESS_IPV4, .mtu_bytes = 1500};
    return true;
}

void
net_path_confirm(struct lp_net *net, struct net_path *path)
{
    (void)net;
    (void)path;
}

bool
net_bucket_take(const struct lp_net *net, struct net_bucket *bucket, uint32_t rate)
{
    (void)net;
    (void)rate;
    return bucket->left > 0 && bucket->left-- > 0;
}

uint32_t
tcp_receive_window(const struct lp_net *net, const struct tcp_stream *stream)
{
    (void)net;
    (void)stream;
    return 65535;
}

uint32_t
tcp_sack_blocks(const struct tcp_stream *stream, struct tcp_range *ret_blocks, uint32_t max)
{
    (void)stream;
    (void)max;
    ret_blocks[0] = (struct tcp_range){1, 2};
    return 1;
}

void
tcp_acknowledged(struct lp_net *net, struct tcp_stream *stream, uint32_t window)
{
    (void)net;
    (void)window;
    stream->dsack_due = false;
}

void
tcp_stream_fail(struct lp_net *net, struct tcp_stream *stream)
{
    rig_of(net)->failed = true;
    tcp_send_end(net, stream);
    stream->state = TCP_CLOSED;
}

void
tcp_send_continue(struct lp_net *net, struct tcp_stream *stream)
{
    (void)stream;
    rig_of(net)->continued++;
}

void
tcp_idle_fire(struct lp_net *net, struct tcp_stream *stream)
{
    (void)net;
    (void)stream;
}

struct tcp_stream *
tcp_find(const struct lp_net *net, const struct net_path *path, uint16_t local_port,
         uint16_t remote_port)
{
    (void)path;
    (void)local_port;
    (void)remote_port;
    const struct rig *rig = (const struct rig *)(uintptr_t)net; /* its first member */
    return rig->stream;
}

/* --- The rig. ----------------------------------------------------------------------------------
 */

/* A connection that is established, with SACK and time stamps, over a wire of 10 ms round trip. */
static inline struct rig *
rig_make(uint64_t seed)
{
    struct rig *rig = calloc(1, sizeof(*rig));
    assert_non_null(rig);
    rig->events = calloc(RIG_EVENTS_MAX, sizeof(*rig->events));
    rig->have = calloc(1, RIG_BYTES_MAX);
    rig->frame = calloc(1, 70000);
    rig->stream = calloc(1, sizeof(*rig->stream));
    assert_true(rig->events != NULL && rig->have != NULL && rig->frame != NULL);
    assert_non_null(rig->stream);
    arena_init(&rig->arena, RIG_MEMORY_BYTES);
    rig->random.state = seed;
    rig->frames_left = UINT32_MAX;
    rig->window = 4u << 20;
    rig->sends_dsack = true;
    rig->wire.delay_ns = 5 * RIG_MS;
    struct lp_net *net = &rig->net;
    net->memory = rig->arena.memory;
    net->tcp = &rig->tcp;
    net->now_ns = 1000 * RIG_MS;
    lp_wheel_init(&net->wheel, net->now_ns);
    lp_list_init(&rig->tcp.flush);
    net->config.rto_min_ms = 200;
    net->config.peer_mss_floor_bytes = 536;
    net->config.send_bytes_max = 4u << 20;
    net->config.user_timeout_s = 900;
    struct tcp_stream *stream = rig->stream;
    stream->state = TCP_ESTABLISHED;
    stream->isn = RIG_ISN;
    stream->send_una = stream->send_next = stream->send_end = RIG_ISN + 1u;
    stream->send_window = rig->window;
    stream->send_shift = 7;
    stream->peer_mss = 1460;
    stream->sack = true;
    stream->timestamps = true;
    stream->timestamp_offset = 0xffff0000u;
    stream->path = (struct net_path){.family = LP_ADDRESS_IPV4, .mtu_bytes = 1500};
    return rig;
}

static inline void
rig_free(struct rig **rig)
{
    tcp_send_end(&(*rig)->net, (*rig)->stream);
    assert_int_equal((*rig)->tcp.buffered_bytes, 0);
    arena_fini(&(*rig)->arena);
    free((*rig)->events);
    free((*rig)->have);
    free((*rig)->frame);
    free((*rig)->stream);
    free(*rig);
    *rig = NULL;
}

static inline void
rig_begin(struct rig *rig)
{
    const uint64_t rtt_ns = 2 * rig->wire.delay_ns;
    rig->stream->heard_ns = rig->net.now_ns;
    rig->edge = rig->stream->send_window;
    tcp_send_begin(&rig->net, rig->stream, (uint32_t)(rtt_ns / 1000u));
}

/* As much of `bytes` as there is room for; gives how much. */
static inline uint32_t
rig_send(struct rig *rig, uint32_t bytes)
{
    static uint8_t data[65536];
    uint32_t total = 0;
    while (total < bytes) {
        const uint32_t part = LP_MIN(bytes - total, (uint32_t)sizeof(data));
        for (uint32_t i = 0; i < part; i++) {
            data[i] = rig_byte(rig->queued + i);
        }
        const uint32_t taken = tcp_buffer_append(&rig->net, rig->stream, data, part);
        rig->queued += taken;
        total += taken;
        if (taken < part) {
            break;
        }
    }
    tcp_want(&rig->net, rig->stream, TCP_WANT_DATA);
    return total;
}

static inline void
rig_ack_input(struct rig *rig, const struct rig_event *event)
{
    struct tcp_segment segment = {
        .seq = 1000,
        .ack = event->seq,
        .window = event->window >> rig->stream->send_shift,
        .flags = TCP_ACK,
        .has_timestamp = rig->stream->timestamps,
        .echo = event->echo,
        .sack_count = event->sack_count,
    };
    memcpy(segment.sack, event->sack, sizeof(segment.sack));
    rig->stream->heard_ns = rig->net.now_ns;
    assert_true(tcp_ack_input(&rig->net, rig->stream, &segment));
}

/* One moment: what arrives, what is due, what is sent. */
static inline void
rig_turn(struct rig *rig)
{
    while (rig->event_count > 0 && rig->events[0].at_ns <= rig->net.now_ns) {
        const struct rig_event event = rig_pop(rig);
        if (!event.is_ack) {
            rig_receive(rig, &event);
        } else if (rig->stream->state != TCP_CLOSED) {
            rig_ack_input(rig, &event);
        }
    }
    lp_wheel_advance(&rig->net.wheel, rig->net.now_ns, UINT32_MAX, &rig->net);
    tcp_flush(&rig->net);
    if (rig->stream->state != TCP_CLOSED) {
        tcp_send_check(rig->stream);
    }
}

/* False: nothing will ever happen again, or not before `until_ns`. */
static inline bool
rig_step(struct rig *rig, uint64_t until_ns)
{
    uint64_t next_ns = lp_wheel_next_ns(&rig->net.wheel);
    if (rig->event_count > 0) {
        next_ns = LP_MIN(next_ns, rig->events[0].at_ns);
    }
    if (!lp_list_empty(&rig->tcp.flush)) {
        next_ns = rig->net.now_ns;
    }
    if (next_ns == UINT64_MAX || next_ns > until_ns) {
        return false;
    }
    rig->net.now_ns = LP_MAX(rig->net.now_ns, next_ns);
    rig_turn(rig);
    return true;
}

static inline void
rig_run(struct rig *rig, uint64_t ns)
{
    const uint64_t until_ns = rig->net.now_ns + ns;
    while (rig_step(rig, until_ns)) {
    }
    rig->net.now_ns = until_ns;
}

/* All of `bytes`, and gives how long it took; UINT64_MAX: it did not get there in `limit_ns`. */
static inline uint64_t
rig_transfer(struct rig *rig, uint32_t bytes, uint64_t limit_ns)
{
    const uint64_t began_ns = rig->net.now_ns;
    const uint32_t end = rig->queued + bytes;
    while (rig->stream->send_una != RIG_ISN + 1u + end) {
        if (rig->queued < end && rig->stream->sending.bytes < (2u << 20)) {
            (void)rig_send(rig, end - rig->queued);
        }
        if (!rig_step(rig, began_ns + limit_ns)) {
            return UINT64_MAX;
        }
    }
    assert_int_equal(rig->next, end);
    return rig->net.now_ns - began_ns;
}
