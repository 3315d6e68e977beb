/* SPDX-License-Identifier: Apache-2.0 */
#include "stream.h"

#include <stdlib.h>

static bool
bit_get(const struct load_stream *stream, uint64_t sequence)
{
    const uint64_t at = sequence & (stream->room - 1u);
    return (stream->bits[at / 64] >> (at % 64) & 1u) != 0;
}

static void
bit_flip(struct load_stream *stream, uint64_t sequence)
{
    const uint64_t at = sequence & (stream->room - 1u);
    stream->bits[at / 64] ^= 1ull << (at % 64);
}

/* Room for `sequence`; what was remembered moves to its place in the larger window. */
static bool
grow(struct load_stream *stream, uint64_t sequence)
{
    uint64_t room = LP_MAX(stream->room, 1024u);
    while (sequence - stream->base >= room && room <= LOAD_STREAM_BITS_MAX) {
        room *= 2;
    }
    uint64_t *bits = room > LOAD_STREAM_BITS_MAX ? NULL : calloc(room / 64, sizeof(*bits));
    if (bits == NULL) {
        return false;
    }
    for (uint64_t s = stream->base; s < stream->base + stream->room; s++) {
        if (bit_get(stream, s)) {
            const uint64_t at = s & (room - 1u);
            bits[at / 64] |= 1ull << (at % 64);
        }
    }
    uint64_t *old = stream->bits;
    stream->bits = bits;
    stream->room = room;
    free(old);
    return true;
}

enum load_seen
load_stream_early(struct load_stream *stream, uint64_t sequence)
{
    if (sequence < stream->base) {
        return LOAD_SEEN_AGAIN;
    }
    if (sequence - stream->base >= stream->room && !grow(stream, sequence)) {
        return LOAD_SEEN_FAR;
    }
    if (bit_get(stream, sequence)) {
        return LOAD_SEEN_AGAIN;
    }
    bit_flip(stream, sequence);
    stream->early++;
    stream->received++;
    while (stream->early > 0 && bit_get(stream, stream->base)) {
        bit_flip(stream, stream->base);
        stream->base++;
        stream->early--;
    }
    return LOAD_SEEN_FIRST;
}

void
load_stream_fini(struct load_stream *stream)
{
    free(stream->bits);
    *stream = (struct load_stream){0};
}
