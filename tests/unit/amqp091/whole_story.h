/* SPDX-License-Identifier: Apache-2.0 */
/*
 * whole_story.h - for test_amqp091_whole.c: what a talker says, as a seed
 * chooses, and what it hears, in a form that does not depend on turns.
 */
#pragma once

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "dataplane/protocol/amqp091/method.h"
#include "dataplane/protocol/amqp091/out.h"
#include "dataplane/protocol/amqp091/properties.h"
#include "dataplane/shard/shard_private.h"
#include "tests/lib/rig.h"

#define CHANNELS       4u /* by number; 0 is the connection's */
#define PHASES         24u
#define PHASE_BYTES    (24u * 1024u)
#define OUTPUT_BYTES   (512u << 10)
#define MEMORY_BYTES   (4u << 20)
#define CONFIRMS_MAX   4096u
#define SEEDS          8u
#define BODY_BYTES_MAX 300u

/* ---- chance ---- */

struct dice {
    uint64_t state;
};

static inline uint32_t
roll(struct dice *dice, uint32_t sides)
{
    dice->state ^= dice->state << 13;
    dice->state ^= dice->state >> 7;
    dice->state ^= dice->state << 17;
    return (uint32_t)(dice->state >> 32) % sides;
}

/* ---- what comes out ---- */

/* Of one channel: digests of what is in order, and counts. */
struct heard {
    uint64_t deliveries;
    uint64_t returns;
    uint64_t others;
    uint64_t confirms; /* of numbers with their verdicts; in no order */
    uint32_t delivered, returned, other, confirmed;
    uint64_t told;  /* confirms up to here */
    uint64_t *into; /* what the content's frames that follow belong to */
    uint64_t tag;   /* of the last delivery */
    bool closed;    /* it waits for a close-ok */
    bool refused;   /* it was closed at least once */
};

struct outcome {
    struct heard channel[CHANNELS];
    struct lp_stats_page stats;
    bool gone;
};

struct world {
    struct rig *rig;
    struct rig_client *talker;
    struct rig_client *keeper;
    uint8_t *output;
    uint32_t output_bytes;
    uint32_t heard_bytes; /* of them */
    bool verdict[CONFIRMS_MAX];
    struct outcome outcome;
};

static inline void
mix(uint64_t *digest, struct lp_bytes bytes)
{
    for (uint32_t i = 0; i < bytes.size; i++) {
        *digest = (*digest ^ bytes.data[i]) * 0x100000001b3u;
    }
    *digest = (*digest ^ bytes.size) * 0x9e3779b97f4a7c15u;
}

static inline void
confirm_one(struct world *world, struct heard *heard, uint64_t number, bool nack)
{
    assert_in_range(number, 1, CONFIRMS_MAX - 1);
    assert_false(world->verdict[number]); /* one verdict for each */
    world->verdict[number] = true;
    heard->confirms += number * (nack ? 0x9e3779b97f4a7c15u : 0x100000001b3u);
    heard->confirmed++;
}

static inline void
confirm_heard(struct world *world, struct heard *heard, struct lp_bytes payload)
{
    struct lp_reader reader = lp_reader_of_bytes(payload);
    const bool nack = lp_reader_u32be(&reader) == AMQP091_BASIC_NACK;
    const uint64_t number = lp_reader_u64be(&reader);
    const bool multiple = (lp_reader_u8(&reader) & 1u) != 0;
    for (uint64_t n = multiple ? 1 : number; n <= number; n++) {
        if (!world->verdict[n]) {
            confirm_one(world, heard, n, nack);
        }
    }
}

static inline void
method_heard(struct world *world, struct heard *heard, struct lp_bytes payload)
{
    struct lp_reader reader = lp_reader_of_bytes(payload);
    const uint32_t id = lp_reader_u32be(&reader);
    switch (id) {
    case AMQP091_BASIC_ACK:
    case AMQP091_BASIC_NACK:
        confirm_heard(world, heard, payload);
        return;
    case AMQP091_BASIC_DELIVER:
        heard->into = &heard->deliveries;
        heard->delivered++;
        (void)lp_reader_short(&reader);
        heard->tag = lp_reader_u64be(&reader);
        /* What was on its way to a channel that closed comes again, and says so. */
        (void)lp_reader_u8(&reader);
        mix(heard->into, lp_bytes_of(&heard->tag, sizeof(heard->tag)));
        mix(heard->into, lp_bytes_of(reader.at, (uint32_t)lp_reader_left(&reader)));
        return;
    case AMQP091_BASIC_RETURN:
        heard->into = &heard->returns;
        heard->returned++;
        break;
    default:
        heard->into = &heard->others;
        heard->other++;
        heard->closed |= id == AMQP091_CHANNEL_CLOSE || id == AMQP091_CONNECTION_CLOSE;
        heard->refused |= heard->closed;
        break;
    }
    mix(heard->into, payload);
}

/* Whole frames of what was sent since. */
static inline void
hear(struct world *world)
{
    struct lp_reader reader =
        lp_reader_of(world->output + world->heard_bytes, world->output_bytes - world->heard_bytes);
    while (lp_reader_left(&reader) > 0) {
        const uint8_t type = lp_reader_u8(&reader);
        const uint16_t number = lp_reader_u16be(&reader);
        const struct lp_bytes payload = lp_reader_long_be(&reader);
        assert_int_equal(lp_reader_u8(&reader), AMQP091_FRAME_END);
        assert_false(reader.failed);
        assert_in_range(number, 0, CHANNELS - 1);
        struct heard *heard = &world->outcome.channel[number];
        if (type == AMQP091_FRAME_METHOD) {
            method_heard(world, heard, payload);
        } else {
            assert_non_null(heard->into);
            mix(heard->into, payload);
        }
    }
    world->heard_bytes = world->output_bytes;
}

static inline void
sink(void *context, struct lp_bytes piece)
{
    struct world *world = context;
    assert_true(piece.size <= OUTPUT_BYTES - world->output_bytes);
    memcpy(world->output + world->output_bytes, piece.data, piece.size);
    world->output_bytes += piece.size;
}

/* ---- what is said ---- */

/* Bytes of one phase; kept, to be said again. */
struct phase {
    uint32_t bytes;
    uint8_t data[PHASE_BYTES];
};

struct story {
    uint32_t phases;
    struct phase phase[PHASES];
};

struct author {
    struct dice dice;
    struct lp_writer writer;
    struct world *world;        /* to know what can be acknowledged */
    uint64_t settled[CHANNELS]; /* of each channel, up to this tag */
    bool wild;                  /* says what is refused, too */
    bool gives;                 /* gives back what it was delivered */
};

static inline size_t
method_open(struct lp_writer *writer, uint16_t channel, uint32_t id)
{
    const size_t offset = lp_writer_size(writer);
    amqp091_frame_open(writer, channel, id);
    return offset;
}

static inline void
say_named(struct lp_writer *writer, uint16_t channel, uint32_t id, const char *name)
{
    const size_t offset = method_open(writer, channel, id);
    lp_writer_u16be(writer, 0);
    lp_writer_short(writer, lp_bytes_of_text(name));
    lp_writer_u8(writer, 1); /* passive; no-ack */
    if (id == AMQP091_QUEUE_DECLARE) {
        lp_writer_u32be(writer, 0);
    }
    amqp091_frame_close(writer, offset);
}

static inline void
say_consume(struct lp_writer *writer, uint16_t channel, const char *queue, bool no_ack)
{
    const size_t offset = method_open(writer, channel, AMQP091_BASIC_CONSUME);
    lp_writer_u16be(writer, 0);
    lp_writer_short(writer, lp_bytes_of_text(queue));
    lp_writer_short(writer, lp_bytes_of_text(queue));
    lp_writer_u8(writer, no_ack ? 2 : 0);
    lp_writer_u32be(writer, 0);
    amqp091_frame_close(writer, offset);
}

/* A method of which all arguments are in `bytes`. */
static inline void
say_plain(struct lp_writer *writer, uint16_t channel, uint32_t id, struct lp_bytes arguments)
{
    const size_t offset = method_open(writer, channel, id);
    lp_writer_copy(writer, arguments.data, arguments.size);
    amqp091_frame_close(writer, offset);
}

/*
 * Channels of the talker: 1 has confirms and a consumer that does not
 * acknowledge, 2 one that does; 3 gets from a queue of its own, and is the only
 * one that ever waits for an answer, so that its publishes can come late and
 * those of the others cannot.  Opened anew when they were closed.
 */
static inline void
say_channel_open(struct lp_writer *writer, uint16_t channel, bool wild)
{
    say_plain(writer, channel, AMQP091_CHANNEL_OPEN, lp_bytes_of("", 1));
    /* What an acknowledgement makes room for comes with the turn's end, or not, if the channel is
     * closed before. */
    if (channel == 2 && !wild) {
        say_plain(writer, channel, AMQP091_BASIC_QOS, lp_bytes_of("\0\0\0\0\0\x14\0", 7));
    }
    if (channel < 3) {
        say_consume(writer, channel, channel == 1 ? "a" : "b", channel == 1);
    }
}

static inline void
write_headers(struct lp_writer *writer, const char *name, const char *value)
{
    const size_t offset = lp_writer_size(writer);
    lp_writer_u32be(writer, 0);
    lp_writer_short(writer, lp_bytes_of_text(name));
    if (strcmp(name, "CC") == 0) {
        lp_writer_u8(writer, 'A');
        lp_writer_u32be(writer, (uint32_t)strlen(value) + 5);
    }
    lp_writer_u8(writer, 'S');
    lp_writer_long_be(writer, lp_bytes_of_text(value));
    lp_writer_patch_u32be(writer, offset, (uint32_t)(lp_writer_size(writer) - offset - 4));
}

/* Confirms that a turn still keeps are not told when the channel is closed: not where they are. */
static inline bool
is_wild(const struct author *author, uint16_t channel)
{
    return author->wild && channel != 1;
}

/* Properties of one of many kinds. */
static inline void
write_properties(struct author *author, struct lp_writer *writer, uint16_t channel)
{
    static const char type[] = "application/x-with-a-name-that-is-longer-than-what-is-remembered";
    static const char *const text[] = {"100000", "guest", "x@y", "nobody", "soon"};
    switch (roll(&author->dice, is_wild(author, channel) ? 14 : 11)) {
    case 0:
    case 1:
        lp_writer_u16be(writer, 0);
        return;
    case 2:
    case 3:
        lp_writer_u16be(writer, AMQP091_DELIVERY_MODE);
        lp_writer_u8(writer, (uint8_t)(1 + roll(&author->dice, 2)));
        return;
    case 4:
        lp_writer_u16be(writer, AMQP091_DELIVERY_MODE | AMQP091_PRIORITY);
        lp_writer_u8(writer, 2);
        lp_writer_u8(writer, (uint8_t)roll(&author->dice, 12));
        return;
    case 5:
        lp_writer_u16be(writer, AMQP091_CONTENT_TYPE);
        lp_writer_short(writer, lp_bytes_of_text(type));
        return;
    case 6:
        lp_writer_u16be(writer, AMQP091_HEADERS);
        write_headers(writer, "colour", roll(&author->dice, 2) ? "red" : "blue");
        return;
    case 7:
        lp_writer_u16be(writer, AMQP091_HEADERS);
        write_headers(writer, "CC", channel != 3 ? "a" : "none");
        return;
    case 8:
        lp_writer_u16be(writer, AMQP091_EXPIRATION);
        lp_writer_short(writer, lp_bytes_of_text(text[0]));
        return;
    case 9:
        lp_writer_u16be(writer, AMQP091_USER_ID);
        lp_writer_short(writer, lp_bytes_of_text(text[1]));
        return;
    case 10:
        lp_writer_u16be(writer, AMQP091_REPLY_TO | AMQP091_CORRELATION_ID);
        lp_writer_short(writer, lp_bytes_of("1", 1));
        lp_writer_short(writer, lp_bytes_of_text(text[2]));
        return;
    case 11:
        lp_writer_u16be(writer, AMQP091_USER_ID);
        lp_writer_short(writer, lp_bytes_of_text(text[3])); /* 406 */
        return;
    case 12:
        lp_writer_u16be(writer, AMQP091_EXPIRATION);
        lp_writer_short(writer, lp_bytes_of_text(text[4])); /* 406 */
        return;
    default:
        lp_writer_u16be(writer, AMQP091_CONTENT_TYPE);
        lp_writer_u8(writer, roll(&author->dice, 20) ? 0 : 200); /* there are not so many: 501 */
        return;
    }
}

static inline void
say_body(struct author *author, struct lp_writer *writer, uint16_t channel)
{
    uint32_t left = roll(&author->dice, 4) ? 1 + roll(&author->dice, BODY_BYTES_MAX) : 0;
    size_t offset = lp_writer_size(writer);
    lp_writer_u8(writer, AMQP091_FRAME_HEADER);
    lp_writer_u16be(writer, channel);
    lp_writer_u32be(writer, 0);
    lp_writer_u32be(writer, (uint32_t)AMQP091_CLASS_BASIC << 16);
    lp_writer_u64be(writer, left);
    write_properties(author, writer, channel);
    amqp091_frame_close(writer, offset);
    const uint32_t pieces = 1 + (roll(&author->dice, 4) == 0 ? roll(&author->dice, 3) : 0);
    while (left > 0) {
        const uint32_t piece = pieces == 1 ? left : 1 + roll(&author->dice, left);
        offset = lp_writer_size(writer);
        lp_writer_u8(writer, AMQP091_FRAME_BODY);
        lp_writer_u16be(writer, channel);
        lp_writer_u32be(writer, 0);
        for (uint32_t i = 0; i < piece; i++) {
            lp_writer_u8(writer, (uint8_t)roll(&author->dice, 256));
        }
        amqp091_frame_close(writer, offset);
        left -= piece;
    }
}

static inline void
say_publish(struct author *author, uint16_t channel)
{
    static const char *const exchanges[] = {"",        "",    "",      "direct", "topic",
                                            "headers", "fan", "turns", "secret", "nowhere"};
    static const char *const keys[] = {"a", "b", "c", "x.y", "x.y.z", "none"};
    const uint32_t refused = is_wild(author, channel) && roll(&author->dice, 12) == 0 ? 2 : 0;
    const uint32_t chosen = roll(&author->dice, 8 + refused);
    const char *exchange = channel == 3 && chosen < 8 ? "" : exchanges[chosen];
    const char *key = channel == 3 ? "d" : keys[roll(&author->dice, LP_COUNT_OF(keys))];
    struct lp_writer *writer = &author->writer;
    const size_t offset = method_open(writer, channel, AMQP091_BASIC_PUBLISH);
    lp_writer_u16be(writer, 0);
    lp_writer_short(writer, lp_bytes_of_text(exchange));
    lp_writer_short(writer, lp_bytes_of_text(key));
    const uint32_t immediate = is_wild(author, channel) && roll(&author->dice, 100) == 0 ? 2 : 0;
    lp_writer_u8(writer, (uint8_t)(roll(&author->dice, 2) | immediate));
    amqp091_frame_close(writer, offset);
    say_body(author, writer, channel);
}

/* Of what was delivered in phases before. */
static inline void
say_settle(struct author *author, uint16_t channel, uint32_t id)
{
    const uint64_t last = author->world->outcome.channel[channel].tag;
    const uint64_t first = author->settled[channel] + 1;
    if (channel != 2 || last < first) {
        return;
    }
    const uint64_t tag = first + roll(&author->dice, (uint32_t)(last - first + 1));
    const size_t offset = method_open(&author->writer, channel, id);
    lp_writer_u64be(&author->writer, tag);
    /* multiple, and requeue */
    lp_writer_u8(&author->writer, id == AMQP091_BASIC_ACK ? 1 : 3);
    amqp091_frame_close(&author->writer, offset);
    author->settled[channel] = tag;
}

static inline void
say_other(struct author *author, uint16_t channel)
{
    static const uint8_t unknown[] = {0, 0, 0, 0, 0, 15, 0, 0, 0};
    struct lp_writer *writer = &author->writer;
    if (is_wild(author, channel) && roll(&author->dice, 9) == 0) {
        say_plain(writer, channel, AMQP091_BASIC_ACK, lp_bytes_of(unknown, sizeof(unknown)));
    } else if (roll(&author->dice, 4) == 0) {
        lp_writer_copy(writer, "\x08\0\0\0\0\0\0\xce", 8); /* a heartbeat */
    } else if (channel == 3) {
        const bool get = roll(&author->dice, 2) == 0;
        say_named(writer, 3, get ? AMQP091_BASIC_GET : AMQP091_QUEUE_DECLARE, "d");
    } else {
        say_settle(author, channel, AMQP091_BASIC_ACK);
    }
}

/* Channels that were closed, in a phase of their own: what follows a consume waits for it. */
static inline bool
channels_reopen(struct author *author, struct phase *phase)
{
    for (uint16_t channel = 1; channel < CHANNELS; channel++) {
        struct heard *heard = &author->world->outcome.channel[channel];
        if (heard->closed) {
            heard->closed = false;
            say_plain(&author->writer, channel, AMQP091_CHANNEL_CLOSE_OK, lp_bytes_of(NULL, 0));
            say_channel_open(&author->writer, channel, author->wild);
            heard->tag = 0;
            author->settled[channel] = 0;
        }
    }
    phase->bytes = (uint32_t)lp_writer_size(&author->writer);
    return phase->bytes > 0;
}

/* Who gave something back may wait for what others asked, and what it publishes comes later then:
 * nobody else speaks where that is. */
static inline void
phase_write(struct author *author, struct phase *phase)
{
    author->writer = lp_writer_of(phase->data, sizeof(phase->data));
    if (channels_reopen(author, phase)) {
        return;
    }
    if (author->gives && roll(&author->dice, 3) == 0) {
        say_settle(author, 2, AMQP091_BASIC_NACK);
    }
    const uint32_t count = 5 + roll(&author->dice, 25);
    for (uint32_t i = 0; i < count; i++) {
        const uint16_t channel =
            author->gives ? 2 : (uint16_t)(1 + roll(&author->dice, CHANNELS - 1));
        if (roll(&author->dice, 4) == 0) {
            say_other(author, channel);
        } else {
            say_publish(author, channel);
        }
    }
    assert_false(author->writer.failed);
    phase->bytes = (uint32_t)lp_writer_size(&author->writer);
}
