/* SPDX-License-Identifier: Apache-2.0 */
/*
 * stream.h - which of one publisher's messages one queue has handed out.
 *
 * In order and once is the usual way, and costs a comparison. What comes
 * early is a bit in a window that starts at the first one missing.
 *
 *   Memory    a bit for each message between the first one missing and the last one seen
 *   Limits    LOAD_STREAM_BITS_MAX of those
 */
#pragma once

#include <lepus/base.h>

#define LOAD_STREAM_BITS_MAX (1ull << 28)

struct load_stream {
    uint64_t base;     /* all before it have come */
    uint64_t received; /* once each */
    uint64_t *bits;    /* by sequence modulo `room` */
    uint64_t room;     /* a power of two; 0: nothing ever came early */
    uint64_t early;    /* bits that are set */
};

enum load_seen {
    LOAD_SEEN_FIRST, /* new */
    LOAD_SEEN_AGAIN,
    LOAD_SEEN_FAR, /* too far ahead to be remembered */
};

enum load_seen load_stream_early(struct load_stream *stream, uint64_t sequence);

static inline enum load_seen
load_stream_mark(struct load_stream *stream, uint64_t sequence)
{
    if (LP_LIKELY(sequence == stream->base && stream->early == 0)) {
        stream->base++;
        stream->received++;
        return LOAD_SEEN_FIRST;
    }
    return load_stream_early(stream, sequence);
}

void load_stream_fini(struct load_stream *stream);
