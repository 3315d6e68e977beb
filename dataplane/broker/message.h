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
 *   Memory    one block of the owner's lp_memory: header, names, properties and as much of the
 *             body as fits; the rest of it in chunks
 *   Runs on   owner core to make, append, lend and release; any borrower to read
 *   Limits    LP_CHUNK_BYTES_MAX a block, unless names and properties alone are more; the body's
 *             size is the protocol's to check
 *
 * Content: exchange name and routing key, each behind an octet that is its
 * length, raw properties (the header frame's property flags and list, as they
 * came), then the body.  All but the body are contiguous.
 *
 * A handle says where in the reservation the message lies: there is no table
 * to look it up in.  It is good as long as its holder has a loan, or is the
 * owner; the generation in it only finds mistakes.
 */
#pragma once

#include <lepus/bytes.h>

#include "dataplane/base/memory.h"

#define LP_CHUNK_BYTES_MAX (32u * 1024u)

struct lp_chunk {
    struct lp_chunk *next;
    struct lp_chunk *last; /* of a body's first chunk: the last one */
    uint64_t total;        /* of a body's first chunk: bytes in all of them */
    uint32_t used;
    uint32_t room;
    uint8_t data[];
};

/* The messages of a shard. */
struct lp_messages {
    struct lp_memory *memory;
    uint32_t used;       /* that there are */
    uint16_t generation; /* of the one made last; odd */
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
    LP_ANNOTATION_VHOST = 5,  /* u32: the vhost of a delayed message that is on disk */
};

/* Of all sections together, without their content. */
#define LP_ANNOTATION_EXTRA_BYTES (5u * 5u)

struct lp_message {
    uint32_t loans;   /* the owner's alone */
    uint8_t protocol; /* enum lp_protocol_id */
    uint8_t flags;    /* enum lp_message_flag */
    uint8_t priority; /* 0 when absent */
    uint8_t exchange_bytes;
    uint8_t key_bytes;
    bool annotated;      /* the first of `more` holds annotations */
    uint16_t generation; /* of its handle; 0 once it is freed */
    uint32_t properties_bytes;
    uint32_t used; /* of `data` */
    uint32_t body_bytes;
    struct lp_chunk *more; /* annotations, then what of the body is not in `data`; NULL: neither */
    uint8_t data[];        /* with LP_MESSAGE_EXPIRES its milliseconds, then the content */
};
LP_STATIC_ASSERT(sizeof(struct lp_message) == 32, "there may be a great many");

enum lp_protocol_id {
    LP_PROTOCOL_AMQP091 = 1,
};

/* What a message is made from; all borrowed. */
struct lp_message_parts {
    struct lp_bytes exchange;   /* at most 255 */
    struct lp_bytes key;        /* at most 255 */
    struct lp_bytes properties; /* as a client sends them at most 128 KiB: one frame */
    struct lp_bytes annotations;
    uint64_t body_bytes; /* less than 4 GiB */
    uint64_t expiration_ms;
    const struct lp_message *body_from; /* whose body it will have: lp_message_move_body() follows,
                                           not lp_message_append() */
    uint8_t protocol;
    uint8_t flags;
    uint8_t priority;
};

static inline void
lp_messages_init(struct lp_messages *messages, struct lp_memory *memory)
{
    *messages = (struct lp_messages){.memory = memory, .generation = 1};
}

/* The message of a handle that its owner, or who was lent it, holds. */
static inline struct lp_message *
lp_message_of(const struct lp_messages *messages, lp_handle handle)
{
    struct lp_message *message = lp_memory_at(messages->memory, lp_handle_index(handle));
    LP_ASSERT(message->generation == lp_handle_generation(handle));
    return message;
}

/*
 * A message without its body yet, with no loans; NULL: memory is short.
 * Chunks for the body are taken as it arrives.  Whether a client's may begin
 * at all is asked before (lp_connection_content_begin()).
 */
struct lp_message *lp_message_make(struct lp_messages *messages,
                                   const struct lp_message_parts *parts, lp_handle *ret_handle);
/* The same with its whole body. */
struct lp_message *lp_message_whole(struct lp_messages *messages,
                                    const struct lp_message_parts *parts, struct lp_bytes body,
                                    lp_handle *ret_handle);
/*
 * One that comes back in pieces: of `properties` and `annotations` only the
 * sizes count, their bytes come with those of the body, in this order.  It is
 * whole when none are to come; until then nobody else may see it.
 */
struct lp_message *lp_message_begin(struct lp_messages *messages,
                                    const struct lp_message_parts *parts, lp_handle *ret_handle);
/* The next bytes, no more than are to come.  False: memory is short, and some may be there. */
LP_MUST_CHECK bool lp_message_fill(struct lp_messages *messages, struct lp_message *message,
                                   struct lp_bytes bytes);
uint64_t lp_message_to_come(const struct lp_message *message);
/* Append body bytes; false: memory is short and nothing was appended (try again, or give up). */
LP_MUST_CHECK bool lp_message_append(struct lp_messages *messages, struct lp_message *message,
                                     struct lp_bytes body);
/* Append the whole body of another, of this shard or lent to it.  False: memory is short, and some
 * of it may be there. */
LP_MUST_CHECK bool lp_message_copy_body(struct lp_messages *messages, struct lp_message *message,
                                        const struct lp_message *from);
/*
 * Give `message`, which has none yet, the body of `from`, whose last loan the
 * caller holds and returns next: no byte of it is copied but those that share
 * a block with names and properties.
 */
void lp_message_move_body(struct lp_message *message, struct lp_message *from);
/* Free a message without loans. */
void lp_message_free(struct lp_messages *messages, lp_handle handle);
/* Return `count` loans; frees the message with the last one. */
void lp_message_unlend(struct lp_messages *messages, lp_handle handle, uint32_t count);

/* Bytes before the exchange's name. */
static inline uint32_t
lp_message_expires_bytes(const struct lp_message *message)
{
    return (message->flags & LP_MESSAGE_EXPIRES) != 0 ? (uint32_t)sizeof(uint64_t) : 0;
}

/* Names as they are on the wire of AMQP 0-9-1: exchange and key, each with its length. */
static inline struct lp_bytes
lp_message_names(const struct lp_message *message)
{
    return lp_bytes_of(message->data + lp_message_expires_bytes(message),
                       2u + message->exchange_bytes + message->key_bytes);
}

static inline struct lp_bytes
lp_message_exchange(const struct lp_message *message)
{
    return lp_bytes_of(lp_message_names(message).data + 1, message->exchange_bytes);
}

static inline struct lp_bytes
lp_message_key(const struct lp_message *message)
{
    return lp_bytes_of(lp_message_names(message).data + 2 + message->exchange_bytes,
                       message->key_bytes);
}

static inline struct lp_bytes
lp_message_properties(const struct lp_message *message)
{
    const struct lp_bytes names = lp_message_names(message);
    return lp_bytes_of(names.data + names.size, message->properties_bytes);
}

/* Of all that is not its body. */
static inline uint32_t
lp_message_head_bytes(const struct lp_message *message)
{
    return lp_message_expires_bytes(message) + 2u + message->exchange_bytes + message->key_bytes +
           message->properties_bytes;
}

/* With LP_MESSAGE_EXPIRES; else 0. */
static inline uint64_t
lp_message_expiration_ms(const struct lp_message *message)
{
    uint64_t ms = 0;
    if (LP_UNLIKELY(message->flags & LP_MESSAGE_EXPIRES)) {
        memcpy(&ms, message->data, sizeof(ms));
    }
    return ms;
}

/* One section; nothing when it is empty. */
void lp_annotation_write(struct lp_writer *writer, enum lp_annotation which,
                         struct lp_bytes content);

struct lp_bytes message_annotation(const struct lp_message *message, enum lp_annotation which);

/* All of its sections, or nothing. */
static inline struct lp_bytes
lp_message_annotations(const struct lp_message *message)
{
    return LP_UNLIKELY(message->annotated) ? lp_bytes_of(message->more->data, message->more->used)
                                           : lp_bytes_of(NULL, 0);
}

/* One of its annotations, or empty. */
static inline struct lp_bytes
lp_message_annotation(const struct lp_message *message, enum lp_annotation which)
{
    return LP_UNLIKELY(message->annotated) ? message_annotation(message, which)
                                           : lp_bytes_of(NULL, 0);
}

/* The first chunk of its body; NULL: all of that is in the message's own block. */
static inline struct lp_chunk *
lp_message_chunks(const struct lp_message *message)
{
    return LP_UNLIKELY(message->annotated) ? message->more->next : message->more;
}

/* So much of the body is there. */
static inline uint64_t
lp_message_body_have(const struct lp_message *message)
{
    const struct lp_chunk *chunks = lp_message_chunks(message);
    return message->used - lp_message_head_bytes(message) + (chunks ? chunks->total : 0);
}

/* A walk over the body's pieces. */
struct lp_message_body {
    const uint8_t *at;
    uint32_t left; /* of this piece */
    const struct lp_chunk *next;
};

static inline struct lp_message_body
lp_message_body(const struct lp_message *message)
{
    const uint32_t head = lp_message_head_bytes(message);
    return (struct lp_message_body){message->data + head, message->used - head,
                                    lp_message_chunks(message)};
}

/* Up to `bytes_max` contiguous bytes of the body; size 0 at its end. */
static inline struct lp_bytes
lp_message_body_next(struct lp_message_body *body, uint32_t bytes_max)
{
    while (body->left == 0 && body->next) {
        body->at = body->next->data;
        body->left = body->next->used;
        body->next = body->next->next;
    }
    const struct lp_bytes piece = lp_bytes_of(body->at, LP_MIN(body->left, bytes_max));
    body->at += piece.size;
    body->left -= piece.size;
    return piece;
}
