/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A segment's header (RFC 9293 3.1) and the options that we know: MSS (9293
 * 3.7.1), window scale and timestamps (7323), SACK (2018).  Whatever else there
 * is, is skipped by its length (9293 3.1, MUST-6).
 */
#include "inbound.h"

enum {
    OPTION_END = 0,
    OPTION_NOP = 1,
    OPTION_MSS = 2,
    OPTION_SHIFT = 3,
    OPTION_SACK_PERMITTED = 4,
    OPTION_SACK = 5,
    OPTION_TIMESTAMP = 8,
};

#define SACK_BLOCK_BYTES 8u

static void
sack_read(struct lp_reader *reader, uint32_t bytes, struct tcp_segment *segment)
{
    if (bytes == 0 || bytes % SACK_BLOCK_BYTES != 0) {
        reader->failed = true;
        return;
    }
    for (uint32_t i = 0; i < bytes / SACK_BLOCK_BYTES; i++) {
        const uint32_t start = lp_reader_u32be(reader);
        const uint32_t end = lp_reader_u32be(reader);
        if (segment->sack_count < TCP_SACK_BLOCKS_MAX) {
            segment->sack[segment->sack_count++] = (struct tcp_range){start, end};
        }
    }
}

/* The value of one option; `bytes` without kind and length. */
static void
option_read(struct lp_reader *reader, uint8_t kind, uint32_t bytes, struct tcp_segment *segment)
{
    static const uint8_t expected[] = {
        [OPTION_MSS] = 2, [OPTION_SHIFT] = 1, [OPTION_SACK_PERMITTED] = 0, [OPTION_TIMESTAMP] = 8};
    const bool fixed = kind == OPTION_MSS || kind == OPTION_SHIFT ||
                       kind == OPTION_SACK_PERMITTED || kind == OPTION_TIMESTAMP;
    if (fixed && bytes != expected[kind]) {
        reader->failed = true;
        return;
    }
    /* RFC 9293 3.1, RFC 7323 2.2, RFC 2018 2: these three count in SYNs only. */
    const bool syn = (segment->flags & TCP_SYN) != 0;
    switch (kind) {
    case OPTION_MSS: {
        const uint16_t mss = lp_reader_u16be(reader);
        segment->mss_bytes = syn ? mss : 0;
        return;
    }
    case OPTION_SHIFT: {
        const uint8_t shift = lp_reader_u8(reader);
        segment->has_shift = syn;
        segment->shift = LP_MIN(shift, (uint8_t)TCP_WINDOW_SHIFT_MAX);
        return;
    }
    case OPTION_SACK_PERMITTED:
        segment->sack_permitted = syn;
        return;
    case OPTION_SACK:
        sack_read(reader, bytes, segment);
        return;
    case OPTION_TIMESTAMP:
        segment->has_timestamp = true;
        segment->timestamp = lp_reader_u32be(reader);
        segment->echo = lp_reader_u32be(reader);
        return;
    default:
        (void)lp_reader_take(reader, bytes);
    }
}

/* False: a length that is none (RFC 9293 3.1, MUST-7: it does not crash). */
static bool
options_read(struct lp_reader *reader, struct tcp_segment *segment)
{
    /* At most 40 bytes, each round takes one at least. */
    while (lp_reader_left(reader) > 0) {
        const uint8_t kind = lp_reader_u8(reader);
        if (kind == OPTION_END) {
            return true;
        }
        if (kind == OPTION_NOP) {
            continue;
        }
        const uint8_t length = lp_reader_u8(reader);
        if (reader->failed || length < 2 || length - 2u > lp_reader_left(reader)) {
            return false;
        }
        option_read(reader, kind, length - 2u, segment);
        if (reader->failed) {
            return false;
        }
    }
    return true;
}

/* The options of nearly every segment: two NOPs and a timestamp (RFC 7323 appendix A). */
static inline bool
options_are_timestamp(const struct lp_reader *reader)
{
    static const uint8_t usual[4] = {OPTION_NOP, OPTION_NOP, OPTION_TIMESTAMP, 10};
    return lp_reader_left(reader) == 12 && memcmp(reader->at, usual, sizeof(usual)) == 0;
}

bool
tcp_segment_parse(struct net_packet *packet, struct tcp_segment *ret_segment)
{
    struct lp_reader reader = lp_reader_of(packet->l4, packet->l4_bytes);
    struct tcp_segment segment = {.packet = packet};
    segment.from_port = lp_reader_u16be(&reader);
    segment.to_port = lp_reader_u16be(&reader);
    segment.seq = lp_reader_u32be(&reader);
    segment.ack = lp_reader_u32be(&reader);
    const uint32_t header_bytes = (lp_reader_u8(&reader) >> 4) * 4u;
    segment.flags = lp_reader_u8(&reader);
    segment.window = lp_reader_u16be(&reader);
    (void)lp_reader_take(&reader, 4); /* checksum; urgent pointer: RFC 6093 */
    if (reader.failed || header_bytes < TCP_HEADER_BYTES || header_bytes > packet->l4_bytes ||
        segment.from_port == 0 || segment.to_port == 0) {
        return false;
    }
    struct lp_reader options = lp_reader_of(reader.at, header_bytes - TCP_HEADER_BYTES);
    if (LP_LIKELY(options_are_timestamp(&options))) {
        (void)lp_reader_take(&options, 4);
        segment.has_timestamp = true;
        segment.timestamp = lp_reader_u32be(&options);
        segment.echo = lp_reader_u32be(&options);
    } else if (!options_read(&options, &segment)) {
        return false;
    }
    segment.payload = packet->l4 + header_bytes;
    segment.payload_bytes = packet->l4_bytes - header_bytes;
    *ret_segment = segment;
    return true;
}

bool
tcp_checksum_holds(const struct net_packet *packet)
{
    const uint32_t pseudo = net_sum_pseudo(packet->family, packet->from, packet->to,
                                           packet->protocol, packet->l4_bytes);
    return net_sum(packet->l4, packet->l4_bytes, pseudo) == 0xffff;
}
