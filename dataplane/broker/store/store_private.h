/* SPDX-License-Identifier: Apache-2.0 */
/*
 * store_private.h - the store's own structs, for the files of this folder.
 *
 *   ops.c      what is noted, and what waits for it     encode.c   operations become records
 *   found.c    what recovery finds, queue by queue      apply.c    records become that
 *   read.c     messages read back                       page.c     entries on disk
 *   checkpoint.c  what is known, written down           move.c     messages written anew
 *   blocks.c   memory for much of it, in small pieces
 *   sense.c    what cannot be so
 */
#pragma once

#include "dataplane/base/window.h"
#include "dataplane/broker/store/records.h"
#include "dataplane/broker/store/store.h"

enum store_op_kind {
    STORE_OP_NONE, /* there is nothing to write any more */
    STORE_OP_ENQUEUE,
    STORE_OP_ACKS,
    STORE_OP_RETURN,
    STORE_OP_GIVEN,
    STORE_OP_DROP,
    STORE_OP_UNPAGE,
    STORE_OP_MOVE,
    STORE_OP_BRIEF,
};

enum store_op_flag {
    STORE_OP_TIED = 1,  /* to the next one */
    STORE_OP_WAITS = 2, /* something goes on when it is durable */
};

struct store_op {
    uint8_t kind;
    uint8_t flags;
    uint8_t from;         /* the publisher's shard */
    uint8_t record_flags; /* of its ENQUEUE */
    uint32_t queue;
    uint64_t position; /* ACKS: the first */
    union {
        lp_handle entry;
        uint64_t count;
    };
    lp_handle session;
    uint64_t number;
};
LP_STATIC_ASSERT(sizeof(struct store_op) == 40, "one for every stored message under way");

/* Operations below `end` are durable with batch `lsn`. */
struct store_sealed {
    uint64_t lsn;
    uint64_t end;
};

/* A message on its way into the log. */
struct store_stream {
    const struct lp_message *message;
    uint64_t bytes; /* all of it, without store_message_head */
    uint64_t done;
    uint32_t record_bytes; /* of the records so far */
    struct lp_message_body body;
    struct lp_log_place place; /* of the first */
};

/* The message that was written last: the next entry is often one of the same. */
struct store_last {
    lp_handle message;
    lp_handle entry;
    struct lp_log_place place;
    uint32_t record_bytes;
    uint8_t owner;
};

struct store_read {
    uint32_t queue; /* 0: free */
    uint32_t bytes;
    struct lp_log_place place;
};

/* An entry that is known by itself. */
struct store_slot {
    uint64_t position;
    struct lp_entry *entry; /* NULL: it has left */
};

/* As many lie together: a queue of any length needs no larger block. */
#define STORE_SLOTS 2048u

/* What the log has of a queue that is not up yet. */
struct store_found {
    struct lp_hash_node by_id;
    struct lp_list in_all;
    uint32_t id;
    uint32_t count; /* slots: see store_found_slot() */
    uint32_t room;
    uint32_t more_count;
    uint32_t more_room;
    uint32_t sorted; /* slots before this one are in the order of their positions */
    uint32_t gone;   /* of `count`: of entries that have left */
    uint32_t page_count;
    uint32_t page_room;
    uint64_t page_span; /* from a page's first entry to its last, at most */
    uint64_t next_position;
    uint64_t given;
    struct store_slot *slots; /* the first ones */
    struct store_slot **more; /* STORE_SLOTS each */
    struct lp_entry **pages;  /* in the order of their first positions, younger ones behind */
};

static inline struct store_slot *
store_found_slot(const struct store_found *found, uint32_t i)
{
    return i < STORE_SLOTS ? &found->slots[i] : &found->more[i / STORE_SLOTS - 1][i % STORE_SLOTS];
}

/* Bytes that come one after the other: records of a chain that is not complete yet, or of a queue.
 */
struct store_block {
    struct store_block *next;
    uint32_t used;
    uint32_t room;
    uint8_t data[];
};

struct store_blocks {
    struct store_block *first; /* NULL: there are none */
    struct store_block *last;
};

enum store_checkpoint_phase {
    STORE_CHECKPOINT_NONE,
    STORE_CHECKPOINT_QUEUES,
    STORE_CHECKPOINT_DELAYED,
};

struct store_checkpoint {
    enum store_checkpoint_phase phase;
    bool last; /* begun when all clients had gone */
    uint32_t cursor;
    struct store_blocks records; /* of one queue, being written: each a block */
};

/* A segment that is to be used again. */
struct store_move {
    uint32_t segment; /* 0: none */
    uint32_t cursor;  /* in lp_broker.queues */
    uint32_t delayed; /* in lp_broker.entries */
    bool found;       /* something, in this round over all queues */
    bool moved;       /* ... in any round */
    uint64_t after;   /* checkpoints: the next one is looked for when there was one more */
};

struct lp_store {
    struct lp_broker *broker;
    struct lp_log *log;
    struct lp_window ops;
    uint64_t encode_next; /* the operation to be written next */
    uint64_t delay_ns;
    uint64_t noted_ns; /* when it was noted */
    struct store_sealed sealed[2 * LP_LOG_BATCHES];
    uint32_t sealed_first;
    uint32_t sealed_count;
    uint64_t sealed_end; /* the last one's */
    uint32_t tying;
    uint64_t tie_first;         /* the first operation noted since */
    bool open;                  /* a batch is */
    bool chained;               /* the operation written last is tied to the next */
    struct store_stream stream; /* .message: NULL: none is half-written */
    struct store_last last;
    struct store_read reads[LP_LOG_READS];
    struct lp_hash found;
    struct lp_list found_all;
    struct store_blocks pending;
    struct store_checkpoint checkpoint;
    struct store_move move;
    uint64_t resident_bytes;
    uint64_t backlog_bytes;
    uint64_t wall_ahead_ns; /* of monotonic time */
    struct lp_store_paging paging;
    struct lp_list queues_long; /* lp_stored.in_long */
    struct lp_list queues_held; /* lp_stored.in_held: they wait for memory to read into */
    uint64_t held_used_bytes;   /* of all memory, when one of them had to */
    uint32_t delayed_cursor;    /* in lp_broker.entries: of those that leave memory */
    bool chain_open;            /* the last batch that was sealed continues */
    bool synced;
    bool closing; /* all clients have gone: what is written now is for a start after it */
    bool closed;  /* it has been written */
    bool closing_log;
    bool fenced; /* nothing becomes durable any more, and who waited has been told */
    bool failed; /* recovery: records that make no sense, or no memory for what they say */
};

/* ---- blocks.c ---- */
/* One more, with room for so much.  NULL: no memory, and all is as it was. */
struct store_block *store_blocks_add(struct lp_store *store, struct store_blocks *blocks,
                                     uint64_t bytes);
/* So many bytes behind the last ones, to be written.  NULL: the same. */
uint8_t *store_blocks_take(struct lp_store *store, struct store_blocks *blocks, uint64_t bytes);
void store_blocks_drop_first(struct lp_store *store, struct store_blocks *blocks);
void store_blocks_free(struct lp_store *store, struct store_blocks *blocks);

/* ---- ops.c ---- */
/* NULL: no memory.  Tied to the next one while it is said so. */
struct store_op *store_note(struct lp_store *store, enum store_op_kind kind, uint32_t queue,
                            uint64_t position);
/* What waited for what is durable now goes on; gives how much. */
uint32_t store_durable(struct lp_store *store);
/* Nothing will be: who waits hears of it. */
void store_fence(struct lp_store *store);
/* What must be known of an entry is this: as a record has it. */
struct store_item store_item_of(const struct lp_broker *broker, const struct lp_entry *entry);
void store_item_take(const struct lp_broker *broker, struct lp_entry *entry,
                     const struct store_item *item, uint64_t position);
uint64_t store_wall_ms(const struct lp_broker *broker, uint64_t expires_ns);
uint64_t store_expires_ns(const struct lp_broker *broker, uint64_t wall_ms);

/* A message has come: lp_store_enqueue(). */
bool store_note_enqueue(struct lp_broker *broker, uint32_t queue, struct lp_entry *entry,
                        uint32_t from, const struct lp_mesh_record *record);

/* As lp_store_brief() and lp_store_brief_write(). */
void store_brief(struct lp_broker *broker, struct lp_entry *entry);
bool store_brief_write(struct lp_store *store, uint32_t queue, struct lp_entry *entry);

/* ---- encode.c ---- */
/* A batch with room for a record of `bytes`; false: not now. */
bool store_room(struct lp_store *store, uint32_t bytes, uint64_t chain_bytes);
void store_seal(struct lp_store *store);
/* What was encoded since without anything to write is as durable as what was written before. */
void store_sealed_unwritten(struct lp_store *store);
/* A whole record; there is room. */
struct lp_log_place store_put(struct lp_store *store, enum store_kind kind, const void *content,
                              uint32_t bytes);
/* Operations become records, as far as there is room. */
bool store_encode(struct lp_store *store);

/* ---- found.c ---- */
struct store_found *store_found_get(struct lp_store *store, uint32_t id, bool make);
void store_found_drop(struct lp_store *store, struct store_found *found);
/* Nothing is known of it any more. */
void store_found_clear(struct lp_store *store, struct store_found *found);
/* False: no memory. */
bool store_found_add(struct lp_store *store, struct store_found *found,
                     const struct store_item *item, uint64_t position, bool moved);
/* It came back; what is to be known of it is this.  False: no memory. */
bool store_found_return(struct lp_store *store, struct store_found *found,
                        const struct store_item *item, uint64_t position);
/* Positions in a row have left their queue, or are on another page from now on.  False: no memory.
 */
bool store_found_leave(struct lp_store *store, struct store_found *found, uint64_t first,
                       uint64_t count);
/* The youngest page that begins there goes, with all that is in it. */
void store_found_unpage(struct lp_store *store, struct store_found *found, uint64_t first);
/* One more, of which nothing else is known. False: no memory. */
bool store_found_push(struct lp_store *store, struct store_found *found, struct lp_entry *entry);
bool store_found_push_page(struct lp_store *store, struct store_found *found,
                           struct lp_entry *entry);

/* ---- sense.c: can what a record says be so? ---- */
/* No queue has ever counted so far. */
#define STORE_POSITION_MAX (1ull << 62)
static inline bool
store_position_is(uint64_t position)
{
    return position - 1 < STORE_POSITION_MAX;
}
/* Positions in a row. */
static inline bool
store_positions_are(uint64_t first, uint64_t count)
{
    return count > 0 && store_position_is(first) && count <= STORE_POSITION_MAX - first;
}
/* An entry whose message was written before `place`. */
bool store_item_is(struct lp_store *store, const struct store_item *item,
                   struct lp_log_place place);
/* A page of these that was, the same. */
bool store_page_item_is(struct lp_store *store, const struct store_item *item,
                        const struct store_page_item *said, uint64_t position,
                        struct lp_log_place place);
/* What a whole message has beside its body. */
bool store_message_is(const struct lp_broker *broker, const struct lp_message *message);

/* ---- apply.c ---- */
bool store_apply(struct lp_store *store, const struct lp_log_record *record);
bool store_apply_commit(struct lp_store *store);

/* ---- page.c ---- */
/* An entry with a page, neither filled nor held; NULL: no memory. */
struct lp_entry *store_page_make(struct lp_broker *broker);
/* Its memory, not the entry. */
void store_page_free(struct lp_broker *broker, struct lp_entry *page);
/* What is in it, and its record, is held; and let go of. */
void store_page_hold(struct lp_store *store, const struct lp_entry *page);
void store_page_let_go(struct lp_store *store, const struct lp_entry *page);
bool store_page_is_hole(const struct lp_store_page *page, uint64_t position);
/* False: no memory. */
bool store_page_hole(struct lp_broker *broker, struct lp_store_page *page, uint64_t position);
/* Recovery.  False: it makes no sense, or (store->failed) there is no memory. */
bool store_apply_page(struct lp_store *store, struct lp_log_place place, uint32_t content_bytes,
                      struct lp_reader *reader);
bool store_apply_queue(struct lp_store *store, struct lp_log_place place, struct lp_reader *reader);

/* ---- move.c ---- */
void store_move_step(struct lp_store *store);
/* As lp_store_move(). */
bool store_move_note(struct lp_store *store, uint32_t queue, const struct lp_entry *entry,
                     uint64_t *budget);

/* ---- delayed.c ---- */
/* They wait on: recovery is over, and where they go is known. */
void store_delayed_restore(struct lp_store *store);
/* For a checkpoint: all of them.  False: it goes on with another flush. */
bool store_delayed_write(struct lp_store *store);
/* Those of the segment that is to be used again are written anew.  False: as above. */
bool store_delayed_move(struct lp_store *store, uint64_t *budget);
/* Those that will not be due for long leave memory. */
void store_delayed_spill(struct lp_store *store);

/* ---- read.c ---- */
bool store_read_begin(struct lp_store *store, uint32_t queue, struct lp_log_place place,
                      uint32_t bytes);
void store_read_done(struct lp_store *store, uint64_t user, struct lp_bytes data);

/* ---- checkpoint.c ---- */
void store_checkpoint_step(struct lp_store *store);
/* What is said of one queue goes on; false: not all of it is written. */
bool store_checkpoint_go_on(struct lp_store *store);
