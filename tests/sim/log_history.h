/* SPDX-License-Identifier: Apache-2.0 */
/*
 * log_history.h - all that was ever given to a log, in order, and what has to
 * be there after a crash.
 *
 * Records come in groups (what is between two commits).  PUT makes an item,
 * MOVE writes its content anew at another place, DROP lets it go, NOTE is
 * nothing but content, SNAP lists items from before a checkpoint.
 *
 *   G1  recovery gives records of the history in order and without a gap, each as it was written,
 *       at the place where it was written
 *   G2  it begins where a checkpoint began that was ended, and not before the last one that the
 *       log said was done
 *   G3  it gives all that was durable, as long as the disk keeps its promises
 *   G4  groups are whole: what comes after the last commit does not count
 *   G5  what one recovery did not give, no later one does
 *   G6  items that the records speak of can be read where they say
 *   G7  after a clean end everything is there
 */
#pragma once

#include "dataplane/log/log.h"

enum history_kind {
    HISTORY_PUT = 1,
    HISTORY_MOVE,
    HISTORY_DROP,
    HISTORY_NOTE,
    HISTORY_SNAP,
};

struct history_record {
    uint64_t serial; /* grows, and is never used again */
    uint64_t item;   /* PUT: its own serial */
    uint64_t lsn;    /* 0: its batch is not sealed */
    struct lp_log_place place;
    uint32_t bytes;
    uint8_t kind;
    bool last; /* of its group */
};

/* An item that exists. */
struct history_item {
    uint64_t item;
    uint64_t serial; /* of the record that has its content */
    struct lp_log_place place;
    uint32_t bytes;
};

struct history_items {
    struct history_item *list; /* ascending by item */
    uint32_t count, room;
};

struct history_checkpoint {
    uint64_t at; /* records before it */
    bool ended;
    bool done;
};

struct history {
    struct history_record *record;
    uint64_t count, room;
    uint64_t serial;  /* the last one */
    uint64_t durable; /* records that the log said are; whole groups */
    /* The disk does not keep its promises: the last batches may be missing unnoticed, and an older
     * copy of the root may be the best one (G2, G3). */
    bool rotten;
    struct history_checkpoint
        checkpoint[256]; /* since the last one that is done, itself included */
    uint32_t checkpoints;
    /* A recovery under way. */
    bool begun;
    uint64_t at;        /* the record that comes next */
    uint64_t committed; /* records before that count */
};

/* SNAP: serial, number of entries, entries. */
#define HISTORY_HEAD_BYTES  16u
#define HISTORY_ENTRY_BYTES 32u

/* A rotten batch is known by those behind it that say it was durable.  So many may say nothing. */
#define HISTORY_LOSSY (3u * LP_LOG_BATCHES)

void history_fini(struct history *history);

/* Makes the next record; its content is to be history_write(). */
struct history_record *history_add(struct history *history, enum history_kind kind, uint64_t item,
                                   uint32_t bytes);
/* The content of a record, all of it; not SNAP. */
void history_write(const struct history_record *record, uint8_t *to);
/* Is this the content of that record?  SNAP: of the serial only. */
bool history_content_is(uint64_t serial, uint64_t item, uint8_t kind, struct lp_bytes content);
/* All records since the last call are in this batch; `last`: and complete a group, maybe with an
 * empty batch at its end. */
void history_sealed(struct history *history, uint64_t lsn, bool last);
/* The log says that this LSN is durable. */
void history_durable(struct history *history, uint64_t lsn);
/* What was written into a batch that was not sealed never was. */
void history_crash(struct history *history);

void history_checkpoint_begin(struct history *history);
void history_checkpoint_end(struct history *history);
void history_checkpoint_done(struct history *history);

/* ---- recovery ---- */

void history_recovery_begin(struct history *history);
/* G1, G2, G5; gives the record. */
const struct history_record *history_recovered(struct history *history,
                                               const struct lp_log_record *record);
void history_committed(struct history *history);
/* G3 */
void history_recovery_end(struct history *history);

/* ---- items ---- */

struct history_item *history_item_find(const struct history_items *items, uint64_t item);
void history_item_set(struct history_items *items, const struct history_item *one);
void history_item_drop(struct history_items *items, uint64_t item);
/* What records 0 to count - 1 come to. */
void history_items_of(const struct history *history, struct history_items *ret_items);
bool history_items_equal(const struct history_items *a, const struct history_items *b);
