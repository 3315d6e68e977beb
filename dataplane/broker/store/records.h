/* SPDX-License-Identifier: Apache-2.0 */
/*
 * records.h - what the records of a shard's log say.  Numbers are
 * little-endian; a struct here is what is on disk, byte for byte.
 *
 *   MESSAGE  store_message_head, the message's own head (expiration, names, properties),
 *            annotations, body; with it it is in one queue
 *   MORE     what of a message did not fit: records behind it, in order
 *   ENQUEUE  store_enqueue: a message that is there already is in a queue, too
 *   ACKS     store_acks: entries have left their queue
 *   RETURN   store_enqueue: an entry came back, and is so now
 *   GIVEN    store_given: entries below may have been handed out
 *   DROP     queue id: the queue is no more
 *   PAGE     store_page_head, store_item...: entries that are in memory no longer
 *   UNPAGE   store_unpage: a page, and all that is in it, is dropped
 *   QUEUE    store_queue_head, then of each entry a position and a store_item, which of a page is
 *            followed by store_page_item and its holes: all there is of the queue now, whatever
 *            was said before; one or more records
 *   BRIEF, BRIEF_PAGE  as MESSAGE and PAGE, of what ends with the run that wrote it: recovery
 *            passes over them
 */
#pragma once

#include "dataplane/log/log.h"

enum store_kind {
    STORE_MESSAGE = 1,
    STORE_MORE,
    STORE_ENQUEUE,
    STORE_ACKS,
    STORE_RETURN,
    STORE_GIVEN,
    STORE_DROP,
    STORE_PAGE,
    STORE_UNPAGE,
    STORE_QUEUE,
    STORE_BRIEF,
    STORE_BRIEF_PAGE,
    STORE_KIND_COUNT,
};

/* An entry.  expires_ms: wall time, 0 never.  flags: enum lp_entry_flag. */
struct store_item {
    struct lp_log_place place; /* of its message */
    uint32_t record_bytes;     /* all records of the message */
    uint32_t body_bytes;
    uint64_t expires_ms;
    uint32_t position_low; /* in a page: from its first */
    uint8_t level;
    uint8_t flags;
    uint16_t returns;
};
LP_STATIC_ASSERT(sizeof(struct store_item) == 32, "pages have a great many");

struct store_message_head {
    uint32_t queue;
    uint32_t body_bytes;
    uint64_t position;
    uint64_t expires_ms;
    uint32_t head_bytes; /* expiration, names, properties */
    uint32_t annotations_bytes;
    uint8_t protocol;
    uint8_t message_flags;
    uint8_t priority;
    uint8_t level;
    uint8_t flags;
    uint8_t moved; /* written anew: the entry is there already, if it is still wanted */
    uint16_t returns;
};
LP_STATIC_ASSERT(sizeof(struct store_message_head) == 40, "no padding");

struct store_enqueue {
    uint32_t queue;
    uint32_t moved;
    uint64_t position;
    struct store_item item;
};
LP_STATIC_ASSERT(sizeof(struct store_enqueue) == 48, "no padding");

/* A record speaks of no more than so many. */
#define STORE_ACKS_MAX 65536u

struct store_acks {
    uint32_t queue;
    uint32_t count; /* in a row */
    uint64_t first;
};

struct store_given {
    uint32_t queue;
    uint32_t zero;
    uint64_t below;
};

struct store_page_head {
    uint32_t queue;
    uint32_t count;
    uint64_t first;
};

struct store_unpage {
    uint32_t queue;
    uint32_t zero;
    uint64_t first;
};

struct store_queue_head {
    uint32_t queue;
    uint8_t first; /* what was known before is void */
    uint8_t zero[3];
    uint64_t given;
    uint64_t next_position;
};

struct store_page_item {
    uint64_t last;
    uint64_t body_bytes;
    uint32_t made_count;
    uint32_t hole_count; /* positions follow */
    uint32_t segment_count;
    uint32_t persistent_count; /* of made_count */
    struct {
        uint32_t segment;
        uint32_t count;
        uint64_t bytes;
    } segment[6];
};
LP_STATIC_ASSERT(sizeof(struct store_page_item) == 32 + 6 * 16, "no padding");

/* Of an entry that died: what the log has of it outlives it, until what it became is stored. */
struct lp_store_source {
    uint32_t queue_id; /* 0: it was not stored */
    uint64_t position;
    struct store_item item;
};
