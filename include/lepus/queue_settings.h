/* SPDX-License-Identifier: Apache-2.0 */
/*
 * queue_settings.h - what a queue's arguments, its policy and its operator
 * policy come to: one record, made by the control process, obeyed by the
 * queue's home shard.
 *
 * The control process merges (smallest number wins, arguments win over
 * policies where RabbitMQ says so: C149); shards never read arguments or
 * policies themselves.  A queue that is named again by QUEUE_UP takes the
 * settings it is named with.
 *
 *   Memory    names are borrowed from what they were read from
 *   Limits    exchange and key are short strings
 */
#pragma once

#include <lepus/bytes.h>

#ifdef __cplusplus
extern "C" {
#endif

/* A number that was not set. */
#define LP_SETTING_UNSET UINT64_MAX

enum lp_overflow {
    LP_OVERFLOW_DROP_HEAD = 0,
    LP_OVERFLOW_REJECT_PUBLISH = 1,
    LP_OVERFLOW_REJECT_PUBLISH_DLX = 2, /* the refused message is dead-lettered, too */
};

struct lp_queue_settings {
    uint64_t message_ttl_ms;
    uint64_t expires_ms;          /* unused for so long, the queue goes */
    uint64_t max_length;          /* ready messages */
    uint64_t max_length_bytes;    /* of their bodies */
    uint64_t delivery_limit;      /* returns of a message before it is dead (quorum) */
    uint64_t consumer_timeout_ms; /* age of an unacknowledged delivery */
    uint8_t overflow;             /* enum lp_overflow */
    uint8_t max_priority;         /* 0: messages have none */
    bool single_active_consumer;
    bool dead_letters;        /* there is a dead-letter exchange; its name may be "" (default) */
    bool has_dead_letter_key; /* else the message's own keys */
    struct lp_bytes dead_letter_exchange;
    struct lp_bytes dead_letter_key;
};

/* Room for the longest record. */
#define LP_QUEUE_SETTINGS_BYTES_MAX 576u

static inline struct lp_queue_settings
lp_queue_settings_none(void)
{
    const struct lp_queue_settings none = {
        .message_ttl_ms = LP_SETTING_UNSET,
        .expires_ms = LP_SETTING_UNSET,
        .max_length = LP_SETTING_UNSET,
        .max_length_bytes = LP_SETTING_UNSET,
        .delivery_limit = LP_SETTING_UNSET,
        .consumer_timeout_ms = LP_SETTING_UNSET,
    };
    return none;
}

/* Fields in the order of the struct, little-endian; names as short strings. */
static inline void
lp_queue_settings_write(struct lp_writer *writer, const struct lp_queue_settings *settings)
{
    lp_writer_u64le(writer, settings->message_ttl_ms);
    lp_writer_u64le(writer, settings->expires_ms);
    lp_writer_u64le(writer, settings->max_length);
    lp_writer_u64le(writer, settings->max_length_bytes);
    lp_writer_u64le(writer, settings->delivery_limit);
    lp_writer_u64le(writer, settings->consumer_timeout_ms);
    lp_writer_u8(writer, settings->overflow);
    lp_writer_u8(writer, settings->max_priority);
    lp_writer_u8(writer, settings->single_active_consumer);
    lp_writer_u8(writer, settings->dead_letters);
    lp_writer_u8(writer, settings->has_dead_letter_key);
    lp_writer_short(writer, settings->dead_letter_exchange);
    lp_writer_short(writer, settings->dead_letter_key);
}

/* False: malformed, or an overflow that nobody knows. */
static inline bool
lp_queue_settings_read(struct lp_bytes bytes, struct lp_queue_settings *ret_settings)
{
    struct lp_reader reader = lp_reader_of_bytes(bytes);
    struct lp_queue_settings settings;
    settings.message_ttl_ms = lp_reader_u64le(&reader);
    settings.expires_ms = lp_reader_u64le(&reader);
    settings.max_length = lp_reader_u64le(&reader);
    settings.max_length_bytes = lp_reader_u64le(&reader);
    settings.delivery_limit = lp_reader_u64le(&reader);
    settings.consumer_timeout_ms = lp_reader_u64le(&reader);
    settings.overflow = lp_reader_u8(&reader);
    settings.max_priority = lp_reader_u8(&reader);
    settings.single_active_consumer = lp_reader_u8(&reader) != 0;
    settings.dead_letters = lp_reader_u8(&reader) != 0;
    settings.has_dead_letter_key = lp_reader_u8(&reader) != 0;
    settings.dead_letter_exchange = lp_reader_short(&reader);
    settings.dead_letter_key = lp_reader_short(&reader);
    if (reader.failed || settings.overflow > LP_OVERFLOW_REJECT_PUBLISH_DLX) {
        return false;
    }
    *ret_settings = settings;
    return true;
}

#ifdef __cplusplus
}
#endif
