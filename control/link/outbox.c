/* SPDX-License-Identifier: Apache-2.0 */
/* outbox.c - records on their way to shards, and the wake that follows them. */
#include "control/link/control_internal.h"

struct lp_writer
control_writer(struct lp_control *control)
{
    return lp_writer_of(control->payload, LP_CONTROL_PAYLOAD_MAX_BYTES);
}

/* Outbox: type u16, sequence u64, payload bytes u32, payload. */
void
control_send(struct lp_control *control, uint32_t shard, uint16_t type, uint64_t sequence,
             struct lp_bytes payload)
{
    struct control_shard *s = &control->shards[shard];
    if (s->outbox_at == s->outbox.size) {
        s->outbox_at = 0;
        s->outbox.size = 0;
        /* The common case: nothing waits and there is room. */
        if (lp_control_push(&s->output, type, sequence, payload)) {
            s->pushed = true;
            return;
        }
    }
    lp_bytebuf_append(&s->outbox, &type, 2);
    lp_bytebuf_append(&s->outbox, &sequence, 8);
    lp_bytebuf_append(&s->outbox, &payload.size, 4);
    lp_bytebuf_append(&s->outbox, payload.data, payload.size);
}

static bool
outbox_flush(struct control_shard *shard)
{
    bool moved = false;
    while (shard->outbox_at < shard->outbox.size) {
        struct lp_reader r = lp_reader_of(shard->outbox.data + shard->outbox_at,
                                          shard->outbox.size - shard->outbox_at);
        const uint16_t type = lp_reader_u16le(&r);
        const uint64_t sequence = lp_reader_u64le(&r);
        const struct lp_bytes payload = lp_reader_long_le(&r);
        LP_ASSERT(!r.failed);
        if (!lp_control_push(&shard->output, type, sequence, payload)) {
            break;
        }
        shard->outbox_at = shard->outbox.size - lp_reader_left(&r);
        shard->pushed = true;
        moved = true;
    }
    if (shard->outbox_at > shard->outbox.size / 2) {
        lp_bytebuf_consume(&shard->outbox, shard->outbox_at);
        shard->outbox_at = 0;
    }
    shard->outbox_stuck = shard->outbox.size > 0 && !moved;
    return moved;
}

bool
control_outboxes_flush(struct lp_control *control)
{
    bool moved = false;
    for (uint32_t i = 0; i < control->shard_count; i++) {
        struct control_shard *shard = &control->shards[i];
        moved = outbox_flush(shard) || moved;
        if (!shard->pushed) {
            continue;
        }
        shard->pushed = false;
        /* W1, pairs with the shard's: it raises the flag, fences, looks at its ring. */
        lp_fence_full();
        if (lp_load_relaxed(&control->region->shard_sleeping[i]) != 0) {
            control->options.wake_shard(control->options.context, i);
        }
    }
    return moved;
}
