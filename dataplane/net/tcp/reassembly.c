/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What came out of order: at most TCP_RANGES_MAX ranges, in order, apart, each
 * with its bytes in a queue; and what is said of them (RFC 2018, RFC 2883).
 *
 * A peer who leaves many gaps costs at most so many steps a segment, and at
 * most twice the window in memory: small pieces have large headers.
 */
#include "inbound.h"

static bool
reassembly_begin(struct lp_net *net, struct tcp_stream *stream)
{
    if (stream->reassembly != NULL) {
        return true;
    }
    struct tcp_reassembly *held = lp_memory_alloc(net->memory, sizeof(*held));
    if (held == NULL) {
        return false;
    }
    held->count = 0;
    held->stamp = 0;
    held->bytes = 0;
    held->fin_seq = 0;
    held->fin_known = false;
    net->tcp->buffered_bytes += sizeof(*held);
    stream->reassembly = held;
    return true;
}

void
tcp_reassembly_free(struct lp_net *net, struct tcp_stream *stream)
{
    struct tcp_reassembly *held = stream->reassembly;
    if (held == NULL) {
        return;
    }
    for (uint32_t i = 0; i < held->count; i++) {
        tcp_queue_free(net, &held->range[i].data);
    }
    void *block = held;
    stream->reassembly = NULL;
    net->tcp->buffered_bytes -= sizeof(*held);
    lp_memory_release(net->memory, &block);
}

/* --- Ranges. --------------------------------------------------------------------------------- */

static void
range_remove(struct tcp_reassembly *held, uint32_t at)
{
    held->bytes -= held->range[at].bytes;
    held->count--;
    memmove(&held->range[at], &held->range[at + 1], (held->count - at) * sizeof(held->range[0]));
}

static void
range_insert(struct tcp_reassembly *held, uint32_t at, const struct tcp_held *range)
{
    LP_ASSERT(held->count < TCP_RANGES_MAX);
    memmove(&held->range[at + 1], &held->range[at], (held->count - at) * sizeof(held->range[0]));
    held->range[at] = *range;
    held->count++;
    held->bytes += range->bytes;
}

/* Everything of `from` behind what is in `to`. */
static void
queue_join(struct tcp_queue *to, struct tcp_queue *from)
{
    if (from->head == NULL) {
        return;
    }
    if (to->head == NULL) {
        to->head = from->head;
    } else {
        LP_ASSERT(to->tail != NULL);
        to->tail->next = from->head;
    }
    to->tail = from->tail;
    to->bytes += from->bytes;
    *from = (struct tcp_queue){0};
}

/* The next one begins where this one ends now. */
static void
range_join_next(struct tcp_reassembly *held, uint32_t at)
{
    struct tcp_held *range = &held->range[at];
    struct tcp_held *next = range + 1;
    queue_join(&range->data, &next->data);
    range->end = next->end;
    range->bytes += next->bytes;
    held->bytes += next->bytes; /* range_remove() takes it off */
    range_remove(held, at + 1);
}

/* --- Adding. --------------------------------------------------------------------------------- */

/* Where an addition has got to. */
struct adding {
    struct lp_net *net;
    struct tcp_stream *stream;
    const uint8_t *data; /* of `at` */
    uint32_t at;
    uint32_t end;
    uint32_t range;
};

/* Copy up to `limit`; gives how many bytes.  `*memory` grows by what it costs. */
static uint32_t
bytes_copy(struct adding *adding, struct tcp_queue *queue, uint32_t limit, uint32_t *memory)
{
    const uint64_t before = adding->net->tcp->buffered_bytes;
    const uint32_t bytes = tcp_queue_append(adding->net, queue, adding->data, limit - adding->at);
    *memory += (uint32_t)(adding->net->tcp->buffered_bytes - before);
    adding->data += bytes;
    adding->at += bytes;
    return bytes;
}

/* `at` is in a range or right behind it.  False: no memory. */
static bool
range_extend(struct adding *adding)
{
    struct tcp_reassembly *held = adding->stream->reassembly;
    struct tcp_held *range = &held->range[adding->range];
    range->stamp = held->stamp;
    if (tcp_lt(adding->at, range->end)) {
        const uint32_t until = tcp_lt(range->end, adding->end) ? range->end : adding->end;
        adding->net->counters.tcp_duplicates++;
        tcp_dsack_note(adding->net, adding->stream, adding->at, until);
        adding->data += until - adding->at;
        adding->at = until;
        return true;
    }
    const bool last = adding->range + 1 == held->count;
    const bool reaches = !last && tcp_le(range[1].start, adding->end);
    const uint32_t limit = reaches ? range[1].start : adding->end;
    uint32_t memory = 0;
    const uint32_t wanted = limit - adding->at;
    const uint32_t bytes = bytes_copy(adding, &range->data, limit, &memory);
    range->end += bytes;
    range->bytes += memory;
    held->bytes += memory;
    if (bytes == wanted && reaches) {
        range_join_next(held, adding->range);
    }
    return bytes == wanted;
}

/* `at` is in a gap.  False: no memory, or too many ranges. */
static bool
range_begin(struct adding *adding)
{
    struct tcp_reassembly *held = adding->stream->reassembly;
    struct tcp_held *next = &held->range[adding->range];
    const bool reaches = adding->range < held->count && tcp_le(next->start, adding->end);
    if (!reaches && held->count == TCP_RANGES_MAX) {
        return false;
    }
    const uint32_t limit = reaches ? next->start : adding->end;
    struct tcp_held range = {.start = adding->at, .stamp = held->stamp};
    const bool whole = bytes_copy(adding, &range.data, limit, &range.bytes) == limit - range.start;
    range.end = adding->at;
    if (whole && reaches) {
        queue_join(&range.data, &next->data);
        next->data = range.data;
        next->start = range.start;
        next->stamp = range.stamp;
        next->bytes += range.bytes;
        held->bytes += range.bytes;
        return true;
    }
    if (range.data.bytes > 0 && held->count < TCP_RANGES_MAX) {
        range_insert(held, adding->range, &range);
    } else {
        tcp_queue_free(adding->net, &range.data);
    }
    return whole;
}

/* A FIN that came too early; what lies behind it cannot be true. */
static bool
fin_fits(struct tcp_reassembly *held, const struct tcp_segment *segment)
{
    const uint32_t end = segment->seq + segment->payload_bytes;
    if (held->fin_known) {
        return tcp_le(end, held->fin_seq);
    }
    if ((segment->flags & TCP_FIN) == 0) {
        return true;
    }
    if (held->count > 0 && tcp_lt(end, held->range[held->count - 1].end)) {
        return false;
    }
    held->fin_known = true;
    held->fin_seq = end;
    return true;
}

static bool
has_room(const struct lp_net *net, const struct tcp_stream *stream)
{
    const uint32_t most = lp_memory_pressed(net->memory) ? net->config.receive_bytes_first / 2u
                                                         : 2u * stream->receive_bytes_max;
    return stream->reassembly->bytes < most;
}

void
tcp_reassembly_add(struct lp_net *net, struct tcp_stream *stream, const struct tcp_segment *segment)
{
    if (!reassembly_begin(net, stream) || !has_room(net, stream) ||
        !fin_fits(stream->reassembly, segment)) {
        net->counters.tcp_out_of_order_dropped++;
        return;
    }
    struct tcp_reassembly *held = stream->reassembly;
    struct adding adding = {
        .net = net,
        .stream = stream,
        .data = segment->payload,
        .at = segment->seq,
        .end = segment->seq + segment->payload_bytes,
    };
    held->stamp++;
    /* Each round finishes a gap or a range. */
    for (uint32_t round = 0; tcp_lt(adding.at, adding.end); round++) {
        LP_ASSERT(round <= 3u * TCP_RANGES_MAX);
        while (adding.range < held->count && tcp_lt(held->range[adding.range].end, adding.at)) {
            adding.range++;
        }
        const bool inside =
            adding.range < held->count && tcp_le(held->range[adding.range].start, adding.at);
        if (!(inside ? range_extend(&adding) : range_begin(&adding))) {
            net->counters.tcp_out_of_order_dropped++;
            return;
        }
    }
}

/* --- Taking. --------------------------------------------------------------------------------- */

/*
 * Likewise, but what fits into what is left of the last chunk goes there: bytes
 * that came one by one would else keep a chunk each, which no window counts.
 */
static void
queue_pack(struct lp_net *net, struct tcp_queue *to, struct tcp_queue *from)
{
    struct tcp_chunk *chunk;
    while ((chunk = from->head) != NULL) {
        struct tcp_chunk *last = to->tail;
        const uint32_t bytes = chunk->end - chunk->start;
        if (last == NULL || bytes > last->room - last->end) {
            struct tcp_queue rest = {.head = chunk, .tail = chunk, .bytes = bytes};
            from->head = chunk->next;
            chunk->next = NULL;
            queue_join(to, &rest);
            continue;
        }
        memcpy(last->bytes + last->end, chunk->bytes + chunk->start, bytes);
        last->end += bytes;
        to->bytes += bytes;
        from->head = chunk->next;
        tcp_chunk_free(net, chunk);
    }
    *from = (struct tcp_queue){0};
}

bool
tcp_reassembly_advance(struct lp_net *net, struct tcp_stream *stream)
{
    struct tcp_reassembly *held = stream->reassembly;
    bool moved = false;
    while (held->count > 0 && tcp_le(held->range[0].start, stream->receive_next)) {
        struct tcp_held *range = &held->range[0];
        if (tcp_lt(stream->receive_next, range->end)) {
            tcp_queue_drop(net, &range->data, stream->receive_next - range->start);
            queue_pack(net, &stream->received, &range->data);
            stream->receive_next = range->end;
            tcp_due(net, stream, TCP_DUE_RECEIVED);
        } else {
            tcp_queue_free(net, &range->data);
        }
        range_remove(held, 0);
        moved = true;
    }
    const bool gaps = held->count > 0;
    if (!gaps && !held->fin_known) {
        tcp_reassembly_free(net, stream);
    }
    return moved || gaps;
}

/* --- What is said of them. ------------------------------------------------------------------- */

/* The latest that is older than `below`; NULL: none is. */
static const struct tcp_held *
latest_below(const struct tcp_reassembly *held, uint64_t below)
{
    const struct tcp_held *found = NULL;
    for (uint32_t i = 0; i < held->count; i++) {
        const struct tcp_held *range = &held->range[i];
        /* Two of one stamp: a segment closed more than one gap. */
        const uint64_t age = (uint64_t)range->stamp * TCP_RANGES_MAX + i;
        if (age < below && (found == NULL || age > (uint64_t)found->stamp * TCP_RANGES_MAX +
                                                       (uint64_t)(found - held->range))) {
            found = range;
        }
    }
    return found;
}

/* RFC 2018 4: the block with the latest segment first, then those that were reported last; RFC 2883
 * 4: before them what came twice. */
uint32_t
tcp_sack_blocks(const struct tcp_stream *stream, struct tcp_range *ret_blocks, uint32_t max)
{
    uint32_t count = 0;
    if (!stream->sack) {
        return 0;
    }
    if (stream->dsack_due && count < max) {
        ret_blocks[count++] = stream->dsack;
    }
    const struct tcp_reassembly *held = stream->reassembly;
    uint64_t below = UINT64_MAX;
    while (held != NULL && count < max) {
        const struct tcp_held *range = latest_below(held, below);
        if (range == NULL) {
            break;
        }
        ret_blocks[count++] = (struct tcp_range){range->start, range->end};
        below = (uint64_t)range->stamp * TCP_RANGES_MAX + (uint64_t)(range - held->range);
    }
    return count;
}
