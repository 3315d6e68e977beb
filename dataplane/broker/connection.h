/* SPDX-License-Identifier: Apache-2.0 */
/*
 * connection.h - a client's connection below its protocol: the stream, bytes
 * that came in and are not used up, bytes to go out, and why reading stops.
 *
 *   Memory    buffers from the shard's memory, held only while bytes wait
 *   Runs on   owner core
 *   Limits    LP_OUTPUT_FULL_BYTES of output before deliveries are held back,
 *             LP_OUTPUT_PAUSE_BYTES before reading stops; LP_INPUT_FULL_BYTES of input
 *             kept before reading stops (any at all when the shard keeps much), and
 *             LP_INPUT_MAX_BYTES ever (what was on its way)
 *   Overload  a connection that cannot have memory for a reply, or for input
 *             that came after reading was stopped, is dropped
 */
#pragma once

#include <lepus/bytes.h>
#include <lepus/fault.h>
#include <lepus/transport.h>

#include "dataplane/base/list.h"
#include "dataplane/base/wheel.h"
#include "dataplane/broker/access.h"

struct lp_broker;
struct lp_protocol;

#define LP_OUTPUT_FULL_BYTES  (256u * 1024u)
#define LP_OUTPUT_PAUSE_BYTES (1024u * 1024u)
#define LP_INPUT_FULL_BYTES   (256u * 1024u)
#define LP_INPUT_MAX_BYTES    (8u * 1024u * 1024u)

enum lp_pause {
    LP_PAUSE_PARKED = 1, /* the protocol holds parked input: it says when to go on */
    LP_PAUSE_OUTPUT = 2, /* the peer does not read what we answer */
    LP_PAUSE_MEMORY = 4, /* publishers wait while memory is above the watermark */
};

/* May a content begin? */
enum lp_content {
    LP_CONTENT_BEGUN, /* lp_connection_content_end() is owed */
    LP_CONTENT_HELD,  /* memory is above the watermark: the connection waits, input stays */
    LP_CONTENT_LATER, /* others that have begun need the memory that is left: ask again soon */
};

/* Kept input: blocks of one span, or less for little; more when a frame runs over their ends. */
struct lp_input_chunk {
    struct lp_input_chunk *next;
    uint32_t from; /* bytes before this are used up */
    uint32_t used;
    uint32_t room;
    uint32_t pad;
    uint8_t data[];
};

struct lp_output_chunk {
    struct lp_output_chunk *next;
    uint32_t sent; /* bytes the transport has taken for good */
    uint32_t used;
    uint32_t room;
    uint8_t data[];
};

struct lp_connection {
    lp_handle self;
    lp_handle stream;
    uint64_t id; /* shard << 48 | counter: the name the control process knows */
    struct lp_broker *broker;
    const struct lp_protocol *protocol;
    void *state;              /* the protocol's, protocol->connection_bytes of it, zeroed at open */
    struct lp_list in_flush;  /* output to send this turn */
    struct lp_list in_resume; /* input to go on with next turn */
    struct lp_list in_paused; /* held back by memory */
    struct lp_address peer;
    struct lp_address local;
    struct lp_access access;
    uint32_t vhost_id;
    uint8_t pauses;  /* enum lp_pause bits */
    bool sending;    /* a send is in flight */
    bool closing;    /* close after the output is flushed */
    bool ended;      /* the peer is gone, or the stream was closed */
    bool close_sent; /* transport close was called */
    bool receiving_stopped;
    bool output_was_full;
    bool input_wanted;          /* the protocol has seen what is kept, and wants more */
    uint32_t unfinished;        /* contents that have begun to arrive */
    uint32_t input_bytes;       /* not used up yet */
    uint64_t promised_bytes;    /* of those contents, still to come and sure to find memory */
    uint64_t promised_ns;       /* looked at then, */
    uint64_t promised_received; /* ... when so many bytes had been received */
    struct lp_input_chunk *input_head;
    struct lp_input_chunk *input_tail;
    struct lp_output_chunk *output_head;
    struct lp_output_chunk *output_tail;
    uint64_t output_bytes; /* written and not yet taken by the transport */
    uint64_t received_bytes;
    uint64_t sent_bytes;
    uint64_t received_ns; /* turn of the last byte in */
    uint64_t sent_ns;     /* turn of the last byte out */
};

/* Append bytes; false: no memory; the connection is then dropped (do not go on writing). */
bool lp_connection_write(struct lp_connection *connection, const void *data, uint32_t bytes);

/*
 * Room for `bytes` (<= LP_OUTPUT_RESERVE_MAX) contiguous bytes, written by the
 * caller before anything else; NULL as above.  lp_connection_commit() says how
 * many were used.
 */
#define LP_OUTPUT_RESERVE_MAX 4096u
uint8_t *lp_connection_reserve(struct lp_connection *connection, uint32_t bytes);
/* Something to send that was not announced, or much of it. */
void lp_connection_output_look(struct lp_connection *connection);

static inline void
lp_connection_commit(struct lp_connection *connection, uint32_t bytes)
{
    struct lp_output_chunk *tail = connection->output_tail;
    LP_ASSERT(tail && tail->room - tail->used >= bytes);
    tail->used += bytes;
    connection->output_bytes += bytes;
    if (LP_UNLIKELY(!lp_list_linked(&connection->in_flush) ||
                    connection->output_bytes >= LP_OUTPUT_FULL_BYTES)) {
        lp_connection_output_look(connection);
    }
}

/* Up to where in all that it sends will the transport have it after the next flush? */
uint64_t lp_connection_flush_position(const struct lp_connection *connection);

/* More output is not wanted now (deliveries should wait)? */
static inline bool
lp_connection_output_full(const struct lp_connection *connection)
{
    return connection->output_bytes >= LP_OUTPUT_FULL_BYTES;
}

/* Stop or go on reading for a reason of one's own.  Going on re-offers input that was not used up.
 */
void lp_connection_pause(struct lp_connection *connection, enum lp_pause why);
void lp_connection_resume(struct lp_connection *connection, enum lp_pause why);

/*
 * A content (a message's body) of `bytes` begins to arrive.  What has begun is
 * read to its end whatever else happens, so not more begin than memory has
 * room for; only behind another that has begun on the same connection, which
 * could not go on else, one begins without.  _arrived(): so many bytes of it
 * were stored.  _end(): it is whole, or given up; so many bytes of it had been
 * told to _arrived(), and the rest comes with this, or never.
 */
/* Could one that is here as a whole begin and end at once? */
bool lp_connection_content_fits(const struct lp_connection *connection, uint64_t bytes);
enum lp_content lp_connection_content_begin(struct lp_connection *connection, uint64_t bytes);
void lp_connection_content_arrived(struct lp_connection *connection, uint64_t bytes);
void lp_connection_content_end(struct lp_connection *connection, uint64_t arrived, uint64_t rest);

/* Who the peer is, as the transport knows; false: it does not. */
bool lp_connection_identity(const struct lp_connection *connection,
                            struct lp_transport_identity *ret_identity);

/* Flush what is written, then close the stream.  No more input is offered. */
void lp_connection_close(struct lp_connection *connection);
/* Close now, unsent output is lost. */
void lp_connection_drop(struct lp_connection *connection);
