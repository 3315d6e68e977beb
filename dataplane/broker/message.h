/* SPDX-License-Identifier: Apache-2.0 */
/*
 * message.h - a message: the bytes of the protocol it came in, and a small
 * common header.
 *
 * It belongs to the shard it was published on.  Queues on any shard hold it
 * by {owner shard, handle}; each queue entry is one loan, and the owner counts
 * loans with a plain integer.  Once lent, a message never changes, so a
 * borrower reads it in place.
 *
 *   Memory    header from the owner's pool; content in chunks of its lp_memory
 *   Runs on   owner core to make, append, lend and release; any borrower to read
 *   Limits    LP_CHUNK_BYTES_MAX a chunk; the body's size is the protocol's to check
 *
 * Content: exchange name, routing key, raw properties (the header frame's
 * property flags and list, as they came), then the body, running over chunks.
 * The first three are contiguous in the first chunk.
 */
#pragma once

#include <lepus/bytes.h>

#include "dataplane/base/pool.h"

#define LP_CHUNK_BYTES_MAX (32u * 1024u)

struct lp_chunk {
    struct lp_chunk *next;
    uint32_t used;
    uint32_t room;
    uint8_t data[];
};

enum lp_message_flag {
    LP_MESSAGE_PERSISTENT = 1,
    LP_MESSAGE_EXPIRES = 2, /* expiration_ms counts, from when a queue takes it (C141) */
    LP_MESSAGE_OWN = 4,     /* made by the broker: the watermark is not for it (own.h) */
};

/* What the broker notes about a message beside its content: sections of a tag and a long_le. */
enum lp_annotation {
    LP_ANNOTATION_KEYS = 1,   /* further routing keys, long_le each: CC's, then BCC's (C99) */
    LP_ANNOTATION_HIDDEN = 2, /* BCC's alone: told to nobody */
    LP_ANNOTATION_DEATHS = 3, /* deaths.h */
    LP_ANNOTATION_START = 4,  /* the exchange that routing begins at, if not its own (delay.h) */
};

/* Of all sections together, without their content. */
#define LP_ANNOTATION_EXTRA_BYTES (4u * 5u)

/* Stage stamps, in nanoseconds of the shard's clock at the turn; 0: not taken. */
enum lp_message_stage {
    LP_STAGE_RECEIVED,
    LP_STAGE_ROUTED,
    LP_STAGE_STORED,
    LP_STAGE_REPLICATED,
    LP_STAGE_SENT,
    LP_STAGE_COUNT,
};

struct lp_message {
    uint32_t loans;   /* the owner's alone */
    uint8_t protocol; /* enum lp_protocol_id */
    uint8_t flags;    /* enum lp_message_flag */
    uint8_t priority; /* 0 when absent */
    uint8_t exchange_bytes;
    uint8_t key_bytes;
    uint8_t pad[3];
    uint32_t properties_bytes;
    uint64_t body_bytes;
    uint64_t body_have; /* while it is being made */
    struct lp_chunk *head;
    struct lp_chunk *tail;
    struct lp_chunk *annotations; /* NULL: none; enum lp_annotation */
    uint64_t expiration_ms;       /* with LP_MESSAGE_EXPIRES */
    uint64_t stage_ns[LP_STAGE_COUNT];
};

enum lp_protocol_id {
    LP_PROTOCOL_AMQP091 = 1,
};

/* What a message is made from; all borrowed. */
struct lp_message_parts {
    struct lp_bytes exchange;   /* at most 255 */
    struct lp_bytes key;        /* at most 255 */
    struct lp_bytes properties; /* as a client sends them at most 128 KiB: one frame */
    struct lp_bytes annotations;
    uint64_t body_bytes;
    uint64_t expiration_ms;
    uint8_t protocol;
    uint8_t flags;
    uint8_t priority;
    bool body_moves; /* lp_message_move_body() follows, not lp_message_append() */
};

/*
 * A message without its body yet, with no loans; NULL: memory is short.
 * Chunks for the body are taken as it arrives.  Whether a client's may begin
 * at all is asked before (lp_connection_content_begin()).
 */
struct lp_message *lp_message_make(struct lp_pool *messages, const struct lp_message_parts *parts,
                                   lp_handle *ret_handle);
/* Append body bytes; false: memory is short and nothing was appended (try again, or give up). */
LP_MUST_CHECK bool lp_message_append(struct lp_pool *messages, struct lp_message *message,
                                     struct lp_bytes body);
/* Append the whole body of another, of this shard or lent to it.  False: memory is short, and some
 * of it may be there. */
LP_MUST_CHECK bool lp_message_copy_body(struct lp_pool *messages, struct lp_message *message,
                                        const struct lp_message *from);
/*
 * Give `message`, which has none yet, the body of `from`, whose last loan the
 * caller holds and returns next: no byte of it is copied but those that share
 * a chunk with names and properties.
 */
void lp_message_move_body(struct lp_message *message, struct lp_message *from);
/* Free a message without loans. */
void lp_message_free(struct lp_pool *messages, lp_handle handle);
/* Return `count` loans; frees the message with the last one. */
void lp_message_unlend(struct lp_pool *messages, lp_handle handle, uint32_t count);

static inline struct lp_bytes
lp_message_exchange(const struct lp_message *message)
{
    return lp_bytes_of(message->head->data, message->exchange_bytes);
}

static inline struct lp_bytes
lp_message_key(const struct lp_message *message)
{
    return lp_bytes_of(message->head->data + message->exchange_bytes, message->key_bytes);
}

static inline struct lp_bytes
lp_message_properties(const struct lp_message *message)
{
    return lp_bytes_of(message->head->data + message->exchange_bytes + message->key_bytes,
                       message->properties_bytes);
}

/* One section; nothing when it is empty. */
void lp_annotation_write(struct lp_writer *writer, enum lp_annotation which,
                         struct lp_bytes content);

struct lp_bytes message_annotation(const struct lp_message *message, enum lp_annotation which);

/* One of its annotations, or empty. */
static inline struct lp_bytes
lp_message_annotation(const struct lp_message *message, enum lp_annotation which)
{
    return LP_UNLIKELY(message->annotations) ? message_annotation(message, which)
                                             : lp_bytes_of(NULL, 0);
}

/* A walk over the body's pieces. */
struct lp_message_body {
    const struct lp_chunk *chunk;
    uint32_t offset;
};

static inline struct lp_message_body
lp_message_body(const struct lp_message *message)
{
    const uint32_t offset =
        (uint32_t)message->exchange_bytes + message->key_bytes + message->properties_bytes;
    struct lp_message_body body = {message->head, offset};
    return body;
}

/* Up to `bytes_max` contiguous bytes of the body; size 0 at its end. */
static inline struct lp_bytes
lp_message_body_next(struct lp_message_body *body, uint32_t bytes_max)
{
    while (body->chunk && body->offset == body->chunk->used) {
        body->chunk = body->chunk->next;
        body->offset = 0;
    }
    if (!body->chunk) {
        return lp_bytes_of(NULL, 0);
    }
    const uint32_t left = body->chunk->used - body->offset;
    struct lp_bytes piece = lp_bytes_of(body->chunk->data + body->offset, LP_MIN(left, bytes_max));
    body->offset += piece.size;
    return piece;
}
