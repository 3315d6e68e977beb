/* SPDX-License-Identifier: Apache-2.0 */
/* The contract of nic.h over an end of the wire: rings, lending, offloads. */
#include "wire_internal.h"

#include <string.h>

/* A number that is nobody's descriptor; only whether there is one matters. */
#define NO_REAL_FD 1000

static struct wire_end *
end_of(const struct wire_queue *queue)
{
    return &queue->wire->end[queue->end];
}

static void
push(struct wire_frame **first, struct wire_frame **last, struct wire_frame *frame)
{
    frame->next = NULL;
    *(*first == NULL ? first : &(*last)->next) = frame;
    *last = frame;
}

static struct wire_frame *
pop(struct wire_frame **first)
{
    struct wire_frame *frame = *first;
    *first = frame->next;
    frame->next = NULL;
    return frame;
}

static void
lend(struct wire_queue *queue, struct wire_frame *frame)
{
    frame->previous = NULL;
    frame->next = queue->lent;
    if (queue->lent != NULL) {
        queue->lent->previous = frame;
    }
    queue->lent = frame;
    queue->lent_count++;
}

static struct wire_frame *
unlend(struct wire_queue *queue, const struct lp_nic_frame *nic_frame)
{
    struct wire_frame *frame = (struct wire_frame *)(uintptr_t)nic_frame->driver_frame;
    LP_ASSERT(frame != NULL && queue->lent_count > 0);
    LP_ASSERT(nic_frame->data == frame->data);
    if (frame->next != NULL) {
        frame->next->previous = frame->previous;
    }
    *(frame->previous == NULL ? &queue->lent : &frame->previous->next) = frame->next;
    queue->lent_count--;
    frame->next = NULL;
    frame->previous = NULL;
    return frame;
}

/* --- Receiving. ------------------------------------------------------------------------------ */

static uint32_t
steer(struct lp_sim_wire *wire, const struct wire_end *end, const struct wire_frame *frame)
{
    const uint32_t queues = end->config.queues;
    switch (end->config.steering) {
    case LP_SIM_WIRE_HASH:
        return wire_flow_hash(frame, end->config.rss_key) % 128 % queues;
    case LP_SIM_WIRE_LEARN:
        return end->flow_queue[wire_flow_name(frame) % WIRE_FLOWS];
    case LP_SIM_WIRE_RANDOM:
        return (uint32_t)lp_sim_random_below(&wire->random, queues);
    }
    return 0;
}

static void
look(const struct wire_end *end, struct wire_frame *frame)
{
    if (end->config.partial && frame->partial) {
        wire_checksum_fill(frame, true);
        frame->flags = LP_NIC_L4_GOOD | LP_NIC_IP_GOOD;
    } else if (end->config.rx_checksum || end->config.gro) {
        frame->flags = wire_verify(frame);
    }
    if (end->config.hash && end->config.steering == LP_SIM_WIRE_HASH) {
        frame->flow_hash = wire_flow_hash(frame, end->config.rss_key);
    }
}

void
wire_card_arrive(struct lp_sim_wire *wire, struct wire_end *end, struct wire_frame *frame)
{
    struct wire_queue *queue = &end->queue[steer(wire, end, frame)];
    if (!end->up || queue->ring_count == end->config.receive_ring) {
        wire->counts.missed++;
        queue->counters.missed_frames += end->up ? 1 : 0;
        wire_frame_free(frame);
        return;
    }
    look(end, frame);
    wire->counts.arrived++;
    push(&queue->ring, &queue->ring_last, frame);
    queue->ring_count++;
}

/* As many of those behind `head` as continue it. */
static void
join(struct wire_queue *queue, struct wire_frame *head)
{
    const uint16_t good = LP_NIC_L4_GOOD;
    while (queue->ring != NULL && (head->flags & good) != 0 && (queue->ring->flags & good) != 0) {
        struct wire_frame *after = queue->ring->next;
        if (!wire_segments_join(head, queue->ring)) {
            return;
        }
        queue->ring = after;
        queue->ring_count--;
    }
}

static uint32_t
card_receive(void *self, struct lp_nic_frame *frames, uint32_t frames_max)
{
    struct wire_queue *queue = self;
    const struct wire_end *end = end_of(queue);
    LP_ASSERT(frames_max <= LP_NIC_BURST_MAX);
    uint32_t count = 0;
    while (count < frames_max && queue->ring != NULL &&
           queue->lent_count < end->config.pool_frames) {
        struct wire_frame *frame = pop(&queue->ring);
        queue->ring_count--;
        if (end->config.gro) {
            join(queue, frame);
        }
        frame->received = true;
        lend(queue, frame);
        queue->counters.received_frames++;
        queue->counters.received_bytes += frame->bytes;
        frames[count++] = (struct lp_nic_frame){
            .data = frame->data,
            .bytes = frame->bytes,
            .flow_hash = frame->flow_hash,
            .flags = frame->flags,
            .segment_bytes = frame->segment_bytes,
            .driver_frame = (uint64_t)(uintptr_t)frame,
        };
    }
    return count;
}

/* --- Sending. -------------------------------------------------------------------------------- */

static bool
card_get(void *self, uint32_t bytes, struct lp_nic_frame *ret_frame)
{
    struct wire_queue *queue = self;
    const struct wire_end *end = end_of(queue);
    struct lp_sim_wire *wire = queue->wire;
    LP_ASSERT(bytes <= end->config.frame_bytes_max);
    const uint32_t dry = wire->config.faults.dry;
    if (queue->lent_count >= end->config.pool_frames ||
        (dry > 0 && lp_sim_random_chance(&wire->random, dry))) {
        return false;
    }
    struct wire_frame *frame = wire_frame_make(bytes);
    lend(queue, frame);
    *ret_frame = (struct lp_nic_frame){
        .data = frame->data, .bytes = bytes, .driver_frame = (uint64_t)(uintptr_t)frame};
    return true;
}

static void
card_put(void *self, struct lp_nic_frame *frame)
{
    wire_frame_free(unlend(self, frame));
    frame->data = NULL;
    frame->driver_frame = 0;
}

/* Whoever leaves work to the device says where, and leaves the right sum. */
static void
request_check(const struct lp_sim_wire_end *end, const struct lp_nic_frame *frame)
{
    if ((frame->flags & LP_NIC_L4_FILL) == 0 && frame->segment_bytes == 0) {
        return;
    }
    const struct wire_headers headers = wire_headers_of(frame->data, frame->bytes);
    LP_ASSERT(end->l4_fill);
    LP_ASSERT(headers.l4_header_bytes > 0);
    LP_ASSERT(frame->l3_offset == headers.l3);
    LP_ASSERT(frame->l4_offset == headers.l4);
    LP_ASSERT(frame->l4_bytes == headers.l4_header_bytes);
    LP_ASSERT(frame->bytes == headers.l4 + headers.l4_bytes);
    LP_ASSERT(wire_pseudo_right(frame->data, &headers, frame->segment_bytes == 0));
    if (frame->segment_bytes > 0) {
        LP_ASSERT(end->tso);
        LP_ASSERT(headers.l4 - headers.l3 + headers.l4_header_bytes + frame->segment_bytes <=
                  end->mtu_bytes);
    }
}

static uint32_t
transmit_room(struct wire_queue *queue, uint32_t count)
{
    struct lp_sim_wire *wire = queue->wire;
    const struct wire_end *end = end_of(queue);
    uint32_t held = queue->sending_count;
    if (wire->config.bits_per_second > 0 && end->free_ns > wire->now_ns) {
        /* What is taken and not on the wire yet, in frames of 1538 bytes' time. */
        const uint64_t frame_ns = 1538u * 8u * 1000000000u / wire->config.bits_per_second;
        held += (uint32_t)((end->free_ns - wire->now_ns) / LP_MAX(frame_ns, 1));
    }
    const uint32_t ring = end->config.transmit_ring;
    uint32_t room = held >= ring ? 0 : LP_MIN(ring - held, count);
    const uint32_t refuse = wire->config.faults.refuse;
    if (refuse > 0 && lp_sim_random_chance(&wire->random, refuse)) {
        room = (uint32_t)lp_sim_random_below(&wire->random, room);
    }
    return room;
}

static uint32_t
card_transmit(void *self, struct lp_nic_frame *frames, uint32_t count)
{
    struct wire_queue *queue = self;
    const struct lp_sim_wire_end *end = &end_of(queue)->config;
    LP_ASSERT(count <= LP_NIC_BURST_MAX);
    const uint32_t room = transmit_room(queue, count);
    for (uint32_t i = 0; i < room; i++) {
        request_check(end, &frames[i]);
        struct wire_frame *frame = unlend(queue, &frames[i]);
        LP_ASSERT(!frame->received);
        LP_ASSERT(frames[i].bytes > 0 && frames[i].bytes <= frame->bytes);
        frame->bytes = frames[i].bytes;
        frame->segment_bytes = frames[i].segment_bytes;
        frame->flags = frames[i].flags;
        push(&queue->sending, &queue->sending_last, frame);
        queue->sending_count++;
        queue->counters.sent_frames++;
        queue->counters.sent_bytes += frame->bytes;
    }
    queue->counters.refused_frames += count - room;
    return room;
}

static void
leave(struct wire_queue *queue, struct wire_frame *frame)
{
    struct wire_end *end = end_of(queue);
    if (end->config.steering == LP_SIM_WIRE_LEARN) {
        end->flow_queue[wire_flow_name(frame) % WIRE_FLOWS] = queue->index;
    }
    if (frame->segment_bytes == 0 && (frame->flags & LP_NIC_L4_FILL) != 0) {
        wire_checksum_fill(frame, false);
        frame->partial = true;
    }
    if (frame->segment_bytes > 0) {
        frame = wire_segments_cut(frame);
    }
    while (frame != NULL) {
        wire_frame_leave(end, queue->wire, pop(&frame));
    }
}

static void
card_flush(void *self)
{
    struct wire_queue *queue = self;
    while (queue->sending != NULL) {
        queue->sending_count--;
        leave(queue, pop(&queue->sending));
    }
}

/* --- The rest. ------------------------------------------------------------------------------- */

static void
card_caps(void *self, struct lp_nic_caps *ret_caps)
{
    const struct lp_sim_wire_end *end = &end_of(self)->config;
    *ret_caps = (struct lp_nic_caps){
        .mtu_bytes = end->mtu_bytes,
        .l4_fill = end->l4_fill,
        .tso = end->tso,
        .hash = end->hash && end->steering == LP_SIM_WIRE_HASH,
        .frame_bytes_max = end->frame_bytes_max,
    };
    memcpy(ret_caps->mac, end->mac, sizeof(ret_caps->mac));
    memcpy(ret_caps->rss_key, end->rss_key, sizeof(ret_caps->rss_key));
}

static bool
card_link_up(void *self)
{
    return end_of(self)->up;
}

static int
card_wait_fd(void *self)
{
    return end_of(self)->config.can_wake ? NO_REAL_FD : -1;
}

static bool
card_sleep_begin(void *self)
{
    const struct wire_queue *queue = self;
    return queue->ring_count == 0;
}

static void
card_sleep_end(void *self)
{
    (void)self;
}

static void
card_counters(void *self, struct lp_nic_counters *ret_counters)
{
    const struct wire_queue *queue = self;
    *ret_counters = queue->counters;
}

const struct lp_nic_ops wire_card_ops = {
    .name = "sim",
    .caps = card_caps,
    .link_up = card_link_up,
    .receive = card_receive,
    .get = card_get,
    .put = card_put,
    .transmit = card_transmit,
    .flush = card_flush,
    .wait_fd = card_wait_fd,
    .sleep_begin = card_sleep_begin,
    .sleep_end = card_sleep_end,
    .counters = card_counters,
};
