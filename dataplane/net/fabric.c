/* SPDX-License-Identifier: Apache-2.0 */
/*
 * fabric.c - frames that a device gave to the wrong shard: copied into a ring
 * of bytes from that shard to the right one, and read there in place.
 *
 * One ring for each ordered pair, one producer and one consumer.  A record is
 * a header and the frame, rounded to a line; it never wraps: what is left of
 * the end is skipped.  Full rings drop, as a device's would: TCP sends again.
 */
#include <string.h>

#include "net_private.h"

#define RING_BYTES  (1024u * 1024u)
#define ALIGN_BYTES 64u
#define SKIP        UINT32_MAX
LP_STATIC_ASSERT((RING_BYTES & (RING_BYTES - 1)) == 0, "positions are taken modulo it");
LP_STATIC_ASSERT(RING_BYTES >= 3 * LP_NIC_FRAME_BYTES_MAX, "any frame fits beside another");

struct fabric_record {
    uint32_t bytes; /* of the frame; SKIP: the rest of the ring is not used */
    uint32_t flow_hash;
    uint16_t flags;
    uint16_t segment_bytes;
    uint32_t port;
};
LP_STATIC_ASSERT(sizeof(struct fabric_record) <= ALIGN_BYTES, "a skip fits what is left");

/* Positions grow without bound, modulo 2^32: 0 <= tail - head <= RING_BYTES. */
struct fabric_ring {
    /* Written by the producer only. */
    uint32_t tail;
    uint32_t staged;
    uint32_t head_seen;
    uint8_t pad0[LP_PAIR_BYTES - 12];
    /* Written by the consumer only. */
    uint32_t head;
    uint32_t taken;
    uint8_t pad1[LP_PAIR_BYTES - 8];
    uint8_t bytes[RING_BYTES];
};

struct fabric_flag {
    uint32_t sleeping;
    uint8_t pad[LP_PAIR_BYTES - 4];
};

struct lp_net_fabric {
    uint32_t shard_count;
    uint8_t pad[LP_PAIR_BYTES - 4];
    struct fabric_flag flag[NET_BUCKETS];
    struct fabric_ring ring[]; /* from * shard_count + to; those to oneself are not used */
};

/* What a shard has of it. */
struct fabric_end {
    struct lp_net_fabric *fabric;
    uint32_t self;
    uint32_t count;
};

uint64_t
lp_net_fabric_bytes(uint32_t shard_count)
{
    return sizeof(struct lp_net_fabric) +
           (uint64_t)shard_count * shard_count * sizeof(struct fabric_ring);
}

struct lp_net_fabric *
lp_net_fabric_init_boot(void *memory, uint32_t shard_count)
{
    LP_ASSERT(shard_count > 0 && shard_count <= NET_BUCKETS);
    LP_ASSERT((uintptr_t)memory % LP_PAIR_BYTES == 0);
    struct lp_net_fabric *fabric = memory;
    fabric->shard_count = shard_count;
    return fabric;
}

enum lp_err
fabric_open_boot(struct lp_net *net)
{
    struct lp_net_fabric *fabric = net->env.fabric;
    if (fabric->shard_count != net->config.shard_count) {
        return LP_ERR_BAD_CONFIG;
    }
    struct fabric_end *end = lp_memory_alloc(net->memory, sizeof(*end));
    if (end == NULL) {
        return LP_ERR_NO_MEMORY;
    }
    *end = (struct fabric_end){fabric, net->config.shard, fabric->shard_count};
    net->fabric = end;
    return LP_OK;
}

static struct fabric_ring *
ring_of(const struct fabric_end *end, uint32_t from, uint32_t to)
{
    return &end->fabric->ring[(size_t)from * end->count + to];
}

/* ---- producer ---- */

/* Room for `bytes` in one piece, staged; NULL: full. */
static uint8_t *
ring_stage(struct fabric_ring *ring, uint32_t bytes)
{
    const uint32_t at = ring->staged % RING_BYTES;
    const uint32_t skipped = RING_BYTES - at < bytes ? RING_BYTES - at : 0;
    if (RING_BYTES - (ring->staged - ring->head_seen) < skipped + bytes) {
        /* F1, pairs with F4: what the consumer gave back was read in full. */
        ring->head_seen = lp_load_acquire(&ring->head);
    }
    LP_ASSERT(ring->staged - ring->head_seen <= RING_BYTES);
    if (RING_BYTES - (ring->staged - ring->head_seen) < skipped + bytes) {
        return NULL;
    }
    if (skipped > 0) {
        const struct fabric_record skip = {.bytes = SKIP};
        memcpy(ring->bytes + at, &skip, sizeof(skip));
        ring->staged += skipped;
    }
    uint8_t *to = ring->bytes + ring->staged % RING_BYTES;
    ring->staged += bytes;
    return to;
}

static uint32_t
record_bytes(uint32_t frame_bytes)
{
    return ((uint32_t)sizeof(struct fabric_record) + frame_bytes + ALIGN_BYTES - 1) &
           ~(ALIGN_BYTES - 1);
}

void
net_fabric_forward(struct lp_net *net, uint32_t shard, uint32_t port,
                   const struct lp_nic_frame *frame)
{
    const struct fabric_end *end = net->fabric;
    LP_ASSERT(end != NULL && shard < end->count && shard != end->self);
    uint8_t *to = NULL;
    if (frame->bytes <= LP_NIC_FRAME_BYTES_MAX) {
        to = ring_stage(ring_of(end, end->self, shard), record_bytes(frame->bytes));
    }
    if (to == NULL) {
        net->counters.frames_forward_full++;
        return;
    }
    const struct fabric_record record = {.bytes = frame->bytes,
                                         .flow_hash = frame->flow_hash,
                                         .flags = frame->flags,
                                         .segment_bytes = frame->segment_bytes,
                                         .port = port};
    memcpy(to, &record, sizeof(record));
    memcpy(to + sizeof(record), frame->data, frame->bytes);
    net->counters.frames_forwarded++;
}

void
fabric_broadcast(struct lp_net *net, uint32_t port, const struct lp_nic_frame *frame)
{
    if (net->fabric == NULL || net->from_fabric) {
        return;
    }
    for (uint32_t i = 0; i < net->fabric->count; i++) {
        if (i != net->fabric->self) {
            net_fabric_forward(net, i, port, frame);
        }
    }
}

void
fabric_publish(struct lp_net *net)
{
    const struct fabric_end *end = net->fabric;
    bool published[NET_BUCKETS] = {false};
    bool any = false;
    for (uint32_t i = 0; i < end->count; i++) {
        struct fabric_ring *ring = ring_of(end, end->self, i);
        published[i] = i != end->self && ring->staged != ring->tail;
        any |= published[i];
        if (published[i]) {
            /* F2, pairs with F3: the frames are visible before the tail that covers them. */
            lp_store_release(&ring->tail, ring->staged);
        }
    }
    if (!any) {
        return;
    }
    /* F5, pairs with F6: what was published is visible before the flag is read. */
    lp_fence_full();
    for (uint32_t i = 0; i < end->count; i++) {
        /* pairs with F6: it may be stale; a needless wake-up is harmless */
        if (published[i] && lp_load_relaxed(&end->fabric->flag[i].sleeping) != 0) {
            net->env.wake_shard(net->env.wake_context, i);
        }
    }
}

/* ---- consumer ---- */

static void
ring_receive(struct lp_net *net, struct fabric_ring *ring)
{
    /* F3, pairs with F2. */
    const uint32_t tail = lp_load_acquire(&ring->tail);
    LP_ASSERT(tail - ring->taken <= RING_BYTES);
    for (uint32_t i = 0; i < NET_FORWARDS_MAX && ring->taken != tail; i++) {
        const uint32_t at = ring->taken % RING_BYTES;
        struct fabric_record record;
        memcpy(&record, ring->bytes + at, sizeof(record));
        if (record.bytes == SKIP) {
            ring->taken += RING_BYTES - at;
            continue;
        }
        LP_ASSERT(record.port < net->config.port_count && record.bytes <= LP_NIC_FRAME_BYTES_MAX);
        struct lp_nic_frame frame = {.data = ring->bytes + at + sizeof(record),
                                     .bytes = record.bytes,
                                     .flow_hash = record.flow_hash,
                                     .flags = record.flags,
                                     .segment_bytes = record.segment_bytes};
        ring->taken += record_bytes(record.bytes);
        /* Lent or not, it is ours until fabric_give_back(). */
        (void)net_frame_input(net, record.port, &frame);
    }
}

void
fabric_receive(struct lp_net *net)
{
    const struct fabric_end *end = net->fabric;
    for (uint32_t i = 0; i < end->count; i++) {
        if (i != end->self) {
            ring_receive(net, ring_of(end, i, end->self));
        }
    }
}

void
fabric_give_back(struct lp_net *net)
{
    const struct fabric_end *end = net->fabric;
    for (uint32_t i = 0; i < end->count; i++) {
        struct fabric_ring *ring = ring_of(end, i, end->self);
        if (i != end->self && ring->head != ring->taken) {
            /* F4, pairs with F1: we are done reading before the bytes are free. */
            lp_store_release(&ring->head, ring->taken);
        }
    }
}

/* ---- sleep ---- */

bool
fabric_sleep_begin(struct lp_net *net)
{
    const struct fabric_end *end = net->fabric;
    lp_store_relaxed(&end->fabric->flag[end->self].sleeping, 1u); /* pairs with F5, by the fence */
    /* F6, pairs with F5: who published before it saw the flag is seen by the look below. */
    lp_fence_full();
    for (uint32_t i = 0; i < end->count; i++) {
        const struct fabric_ring *ring = ring_of(end, i, end->self);
        /* F7, pairs with F2. */
        if (i != end->self && lp_load_acquire(&ring->tail) != ring->taken) {
            fabric_sleep_end(net);
            return false;
        }
    }
    return true;
}

void
fabric_sleep_end(struct lp_net *net)
{
    const struct fabric_end *end = net->fabric;
    /* A late wake-up is harmless, so nothing pairs with this. */
    lp_store_relaxed(&end->fabric->flag[end->self].sleeping, 0u);
}
