/* SPDX-License-Identifier: Apache-2.0 */
#include "wire_internal.h"

#include <stdlib.h>
#include <string.h>

#define DIGEST_START 0xcbf29ce484222325u
#define DIGEST_PRIME 0x100000001b3u

enum {
    FRAME_BYTES_MIN = 60, /* Ethernet's, without the FCS */
    HEADER_BYTES = 14,
    TAG_BYTES = 4,
};

struct lp_sim_wire_config
lp_sim_wire_config_default(uint64_t seed)
{
    return (struct lp_sim_wire_config){
        .seed = seed,
        .end_count = 2,
        .delay_ns = 50000,
        .faults = {.reorder_ns_max = 200000},
    };
}

/* Microsoft's, which every card's documentation has. */
static const uint8_t usual_key[40] = {
    0x6d, 0x5a, 0x56, 0xda, 0x25, 0x5b, 0x0e, 0xc2, 0x41, 0x67, 0x25, 0x3d, 0x43, 0xa3,
    0x8f, 0xb0, 0xd0, 0xca, 0x2b, 0xcb, 0xae, 0x7b, 0x30, 0xb4, 0x77, 0xcb, 0x2d, 0xa3,
    0x80, 0x30, 0xf2, 0x0c, 0x6a, 0x42, 0xb7, 0x3b, 0xbe, 0xac, 0x01, 0xfa,
};

static bool
all_zero(const uint8_t *data, size_t bytes)
{
    for (size_t i = 0; i < bytes; i++) {
        if (data[i] != 0) {
            return false;
        }
    }
    return true;
}

static void
end_defaults(struct lp_sim_wire_end *end, uint32_t number)
{
    if (all_zero(end->mac, sizeof(end->mac))) {
        end->mac[0] = 2;
        end->mac[5] = (uint8_t)(number + 1);
    }
    if (all_zero(end->rss_key, sizeof(end->rss_key))) {
        memcpy(end->rss_key, usual_key, sizeof(end->rss_key));
    }
    end->mtu_bytes = end->mtu_bytes == 0 ? 1500 : end->mtu_bytes;
    end->queues = end->queues == 0 ? 1 : end->queues;
    end->receive_ring = end->receive_ring == 0 ? 512 : end->receive_ring;
    end->transmit_ring = end->transmit_ring == 0 ? 512 : end->transmit_ring;
    end->pool_frames = end->pool_frames == 0 ? 4096 : end->pool_frames;
    if (end->frame_bytes_max == 0) {
        end->frame_bytes_max =
            end->tso ? LP_NIC_FRAME_BYTES_MAX : end->mtu_bytes + 18u; /* Ethernet with a tag */
    }
    LP_ASSERT(end->queues <= LP_SIM_WIRE_QUEUES_MAX);
    LP_ASSERT(!end->tso || end->l4_fill);
}

struct lp_sim_wire *
lp_sim_wire_create(const struct lp_sim_wire_config *config)
{
    LP_ASSERT(config->end_count > 0 && config->end_count <= LP_SIM_WIRE_ENDS_MAX);
    struct lp_sim_wire *wire = calloc(1, sizeof(*wire));
    LP_ASSERT(wire != NULL);
    wire->config = *config;
    wire->digest = DIGEST_START;
    lp_sim_random_seed(&wire->random, config->seed);
    for (uint32_t i = 0; i < config->end_count; i++) {
        struct wire_end *end = &wire->end[i];
        end->config = config->end[i];
        end->up = true;
        end_defaults(&end->config, i);
        for (uint32_t q = 0; q < end->config.queues; q++) {
            end->queue[q] =
                (struct wire_queue){.wire = wire, .end = (uint8_t)i, .index = (uint8_t)q};
        }
    }
    return wire;
}

static void
list_free(struct wire_frame *frame)
{
    while (frame != NULL) {
        struct wire_frame *next = frame->next;
        wire_frame_free(frame);
        frame = next;
    }
}

void
lp_sim_wire_destroy(struct lp_sim_wire *wire)
{
    for (uint32_t i = 0; i < wire->config.end_count; i++) {
        for (uint32_t q = 0; q < wire->end[i].config.queues; q++) {
            list_free(wire->end[i].queue[q].ring);
            list_free(wire->end[i].queue[q].sending);
            list_free(wire->end[i].queue[q].lent);
        }
    }
    list_free(wire->flying);
    free(wire);
}

struct lp_nic
lp_sim_wire_nic(struct lp_sim_wire *wire, uint32_t end, uint32_t queue)
{
    LP_ASSERT(end < wire->config.end_count);
    LP_ASSERT(queue < wire->end[end].config.queues);
    return (struct lp_nic){.ops = &wire_card_ops, .self = &wire->end[end].queue[queue]};
}

struct lp_sim_wire_faults *
lp_sim_wire_faults(struct lp_sim_wire *wire)
{
    return &wire->config.faults;
}

const struct lp_sim_wire_counts *
lp_sim_wire_counts(const struct lp_sim_wire *wire)
{
    return &wire->counts;
}

void
lp_sim_wire_filter_set(struct lp_sim_wire *wire, lp_sim_wire_filter filter, void *context)
{
    wire->filter = filter;
    wire->filter_context = context;
}

void
lp_sim_wire_black_hole(struct lp_sim_wire *wire, uint16_t mtu_bytes)
{
    wire->black_hole_bytes = mtu_bytes;
}

void
lp_sim_wire_link_set(struct lp_sim_wire *wire, uint32_t end, bool up)
{
    wire->end[end].up = up;
}

uint32_t
lp_sim_wire_lent(const struct lp_sim_wire *wire, uint32_t end, uint32_t queue)
{
    return wire->end[end].queue[queue].lent_count;
}

uint64_t
lp_sim_wire_digest(const struct lp_sim_wire *wire)
{
    return wire->digest;
}

/* --- On the wire. ---------------------------------------------------------------------------- */

static void
fly(struct lp_sim_wire *wire, struct wire_frame *frame)
{
    struct wire_frame *before = wire->flying_last;
    while (before != NULL && before->due_ns > frame->due_ns) {
        before = before->previous;
    }
    struct wire_frame *after = before == NULL ? wire->flying : before->next;
    frame->previous = before;
    frame->next = after;
    *(before == NULL ? &wire->flying : &before->next) = frame;
    *(after == NULL ? &wire->flying_last : &after->previous) = frame;
}

static bool
chance(struct lp_sim_wire *wire, uint32_t per_mille)
{
    return per_mille > 0 && lp_sim_random_chance(&wire->random, per_mille);
}

static void
damage(struct lp_sim_wire *wire, struct wire_frame *frame)
{
    const struct lp_sim_wire_faults *faults = &wire->config.faults;
    if (chance(wire, faults->corrupt)) {
        const uint64_t bit = lp_sim_random_below(&wire->random, (uint64_t)frame->bytes * 8);
        frame->data[bit / 8] ^= (uint8_t)(1u << bit % 8);
        frame->partial = false;
        wire->counts.corrupted++;
    }
    if (chance(wire, faults->truncate)) {
        struct wire_frame *cut =
            wire_frame_make((uint32_t)lp_sim_random_between(&wire->random, 1, frame->bytes - 1));
        memcpy(cut->data, frame->data, cut->bytes);
        free(frame->data);
        frame->data = cut->data;
        frame->bytes = cut->bytes;
        frame->partial = false;
        free(cut);
        wire->counts.truncated++;
    }
}

static void
schedule(struct lp_sim_wire *wire, struct wire_frame *frame, uint64_t left_ns)
{
    const struct lp_sim_wire_faults *faults = &wire->config.faults;
    struct wire_end *to = &wire->end[frame->end];
    uint64_t due = left_ns + wire->config.delay_ns;
    if (chance(wire, faults->reorder)) {
        due += lp_sim_random_between(&wire->random, 1, LP_MAX(faults->reorder_ns_max, 1));
        wire->counts.reordered++;
    } else {
        if (faults->jitter_ns_max > 0) {
            due += lp_sim_random_between(&wire->random, 0, faults->jitter_ns_max);
        }
        due = LP_MAX(due, to->order_ns);
        to->order_ns = due;
    }
    frame->due_ns = due;
    damage(wire, frame);
    fly(wire, frame);
}

static uint32_t
ip_bytes_of(const struct wire_frame *frame)
{
    const bool tagged =
        frame->bytes >= HEADER_BYTES + TAG_BYTES && frame->data[12] == 0x81 && frame->data[13] == 0;
    const uint32_t link_bytes = HEADER_BYTES + (tagged ? TAG_BYTES : 0);
    return frame->bytes > link_bytes ? frame->bytes - link_bytes : 0;
}

static bool
is_for(const struct wire_end *end, const struct wire_frame *frame)
{
    const bool group = (frame->data[0] & 1) != 0;
    return end->config.promiscuous || group || memcmp(frame->data, end->config.mac, 6) == 0;
}

static void
deliver(struct lp_sim_wire *wire, struct wire_end *to, const struct wire_frame *frame,
        uint64_t left_ns)
{
    const struct lp_sim_wire_faults *faults = &wire->config.faults;
    if (ip_bytes_of(frame) > to->config.mtu_bytes) {
        wire->counts.too_big++;
        to->queue[0].counters.bad_frames++;
        return;
    }
    if (chance(wire, faults->lose)) {
        wire->counts.lost++;
        return;
    }
    const bool twice = chance(wire, faults->duplicate);
    wire->counts.duplicated += twice ? 1 : 0;
    for (int i = 0; i < (twice ? 2 : 1); i++) {
        struct wire_frame *copy = wire_frame_copy(frame);
        copy->end = (uint8_t)(to - wire->end);
        schedule(wire, copy, left_ns);
    }
}

/* Ethernet has no shorter frames; what fills them up means nothing. */
static struct wire_frame *
padded(struct lp_sim_wire *wire, struct wire_frame *frame)
{
    if (frame->bytes >= FRAME_BYTES_MIN) {
        return frame;
    }
    struct wire_frame *longer = wire_frame_make(FRAME_BYTES_MIN);
    memcpy(longer->data, frame->data, frame->bytes);
    const struct lp_entropy entropy = lp_sim_random_entropy(&wire->random);
    entropy.fill(entropy.self, longer->data + frame->bytes, FRAME_BYTES_MIN - frame->bytes);
    longer->partial = frame->partial;
    wire_frame_free(frame);
    return longer;
}

void
wire_frame_leave(struct wire_end *end, struct lp_sim_wire *wire, struct wire_frame *frame)
{
    frame = padded(wire, frame);
    const uint64_t left_ns = LP_MAX(end->free_ns, wire->now_ns);
    if (wire->config.bits_per_second > 0) {
        /* Preamble, FCS and gap take 24 bytes' time. */
        const uint64_t bits = (uint64_t)(frame->bytes + 24) * 8;
        end->free_ns = left_ns + bits * 1000000000u / wire->config.bits_per_second;
    }
    const uint32_t ip_bytes = ip_bytes_of(frame);
    const bool swallowed = wire->black_hole_bytes > 0 && ip_bytes > wire->black_hole_bytes;
    const bool too_big = ip_bytes > end->config.mtu_bytes || swallowed;
    const bool filtered =
        !too_big && wire->filter != NULL &&
        !wire->filter(wire->filter_context, (uint32_t)(end - wire->end), frame->data, frame->bytes);
    wire->counts.sent++;
    wire->counts.too_big += too_big ? 1 : 0;
    wire->counts.lost += filtered ? 1 : 0;
    wire->counts.missed += end->up ? 0 : 1;
    for (uint32_t i = 0; i < wire->config.end_count; i++) {
        struct wire_end *to = &wire->end[i];
        if (to != end && end->up && !too_big && !filtered && is_for(to, frame)) {
            deliver(wire, to, frame, left_ns);
        }
    }
    wire_frame_free(frame);
}

static void
arrive(struct lp_sim_wire *wire, struct wire_frame *frame)
{
    uint64_t digest = (wire->digest ^ frame->due_ns) * DIGEST_PRIME;
    for (uint32_t i = 0; i < frame->bytes; i++) {
        digest = (digest ^ frame->data[i]) * DIGEST_PRIME;
    }
    wire->digest = (digest ^ frame->end) * DIGEST_PRIME;
    wire_card_arrive(wire, &wire->end[frame->end], frame);
}

void
lp_sim_wire_advance(struct lp_sim_wire *wire, uint64_t now_ns)
{
    LP_ASSERT(now_ns >= wire->now_ns);
    wire->now_ns = now_ns;
    while (wire->flying != NULL && wire->flying->due_ns <= now_ns) {
        struct wire_frame *frame = wire->flying;
        wire->flying = frame->next;
        *(frame->next == NULL ? &wire->flying_last : &frame->next->previous) = NULL;
        frame->next = NULL;
        frame->previous = NULL;
        arrive(wire, frame);
    }
}

uint64_t
lp_sim_wire_next_ns(const struct lp_sim_wire *wire)
{
    for (uint32_t i = 0; i < wire->config.end_count; i++) {
        for (uint32_t q = 0; q < wire->end[i].config.queues; q++) {
            if (wire->end[i].queue[q].ring_count > 0) {
                return wire->now_ns;
            }
        }
    }
    return wire->flying == NULL ? UINT64_MAX : wire->flying->due_ns;
}

void
lp_sim_wire_inject(struct lp_sim_wire *wire, uint32_t end, const void *data, uint32_t bytes)
{
    LP_ASSERT(end < wire->config.end_count && bytes > 0);
    struct wire_frame *frame = wire_frame_make(bytes);
    memcpy(frame->data, data, bytes);
    frame->due_ns = wire->now_ns;
    frame->end = (uint8_t)end;
    arrive(wire, frame);
}
