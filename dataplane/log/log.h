/* SPDX-License-Identifier: Apache-2.0 */
/*
 * log.h - a shard's write-ahead log: records in batches, batches in segments.
 *
 * It knows nothing of what records mean: dataplane/broker/store does.  A batch
 * is filled in place, sealed and written; up to LP_LOG_BATCHES are on their way
 * at a time.  Numbers of batches (LSNs) count from 1 without a gap; a batch is
 * durable when it *and all before it* are on disk.
 *
 *   Memory    one arena of LP_LOG_ARENA_BYTES from the shard's memory at boot, and a table of
 *             segments that grows with their number
 *   Runs on   owner core; nothing here waits
 *   Errors    a failed write or create, or a sync that failed, fences the log: no batch becomes
 *             durable any more, whatever completes later
 *
 * Format of what is on disk: format.h.  How recovery decides what is the end
 * and what is damage: README.md.
 */
#pragma once

#include <lepus/bytes.h>
#include <lepus/disk.h>

#include "dataplane/base/memory.h"

#define LP_LOG_BATCHES     4u
#define LP_LOG_BATCH_BYTES (512u * 1024u)
#define LP_LOG_READS       8u
#define LP_LOG_READ_BYTES  (256u * 1024u)
/* Buffers of batches and of reads, and a slot of the root. */
#define LP_LOG_ARENA_BYTES                                                    \
    (LP_LOG_BATCHES * LP_LOG_BATCH_BYTES + LP_LOG_READS * LP_LOG_READ_BYTES + \
     2u * LP_DISK_ALIGN_BYTES)
/* Content of one record, at most: what is larger is several (lp_log_begin() keeps them together).
 */
#define LP_LOG_RECORD_BYTES_MAX (LP_LOG_READ_BYTES - 2 * LP_DISK_ALIGN_BYTES)

/* Where a record is: of 8 bytes each, from the beginning of a segment's file. Segment 0 is none. */
struct lp_log_place {
    uint32_t segment;
    uint32_t unit;
};
#define LP_LOG_UNIT_BYTES 8u

/* Where a record is that was written behind one with so much content, in the same batch ... */
static inline struct lp_log_place
lp_log_place_behind(struct lp_log_place place, uint32_t content_bytes)
{
    place.unit += 1u + (content_bytes + LP_LOG_UNIT_BYTES - 1) / LP_LOG_UNIT_BYTES;
    return place;
}

/* ... or, when that is where the batch ends, in the next one. */
#define LP_LOG_HEADER_BYTES 72u
static inline struct lp_log_place
lp_log_place_next_batch(struct lp_log_place place)
{
    const uint32_t units = LP_DISK_ALIGN_BYTES / LP_LOG_UNIT_BYTES;
    place.unit = (place.unit + units - 1) / units * units + LP_LOG_HEADER_BYTES / LP_LOG_UNIT_BYTES;
    return place;
}

/* Places are in the order of writing. */
static inline bool
lp_log_place_before(struct lp_log_place a, struct lp_log_place b)
{
    return a.segment != b.segment ? a.segment < b.segment : a.unit < b.unit;
}

struct lp_log;

struct lp_log_record {
    struct lp_log_place place;
    uint8_t kind; /* the store's; not 0 */
    struct lp_bytes content;
};

/* What is wrong, and where, for an operator. */
struct lp_log_fault {
    enum lp_err err;
    uint32_t segment;
    uint64_t offset;
    const char *what; /* a sentence without names and numbers */
};

struct lp_log_hooks {
    /*
     * Recovery: a record of a batch that is whole, in the order of writing.
     * What comes after the last commit() is no more than was never finished.
     * False: it makes no sense, which is reported as damage.
     */
    bool (*record)(void *context, const struct lp_log_record *record);
    /* Recovery: what came since the last one is complete (a batch that does not continue).  False:
     * as record(). */
    bool (*commit)(void *context);
    /* A read has ended: `data` begins with the record at its place, and is gone when this returns;
     * size 0: it failed, `fault` says how. */
    void (*read)(void *context, uint64_t user, struct lp_bytes data,
                 const struct lp_log_fault *fault);
    void *context;
};

struct lp_log_options {
    struct lp_disk disk;
    struct lp_memory *memory;
    uint32_t shard;
    /* A random number for a folder that is new: no message can contain what passes for a batch. */
    uint64_t salt;
    uint64_t segment_bytes;       /* 64 MiB; a multiple of LP_DISK_ALIGN_BYTES, at least 32 KiB */
    uint64_t segment_bytes_first; /* segments grow from this to segment_bytes, doubling */
    struct lp_log_hooks hooks;
};

enum lp_log_state {
    LP_LOG_RECOVERING,
    LP_LOG_OPEN,
    LP_LOG_FENCED,  /* a write failed: see lp_log_fault() */
    LP_LOG_DAMAGED, /* recovery met damage that it must not pass over: see lp_log_fault() */
};

/* LP_ERR_NO_MEMORY, LP_ERR_BAD_CONFIG */
LP_MUST_CHECK enum lp_err lp_log_init_boot(const struct lp_log_options *options,
                                           struct lp_log **ret_log);
/* Its memory goes back.  Nothing may be on its way: see lp_log_idle().  `*log` is cleared. */
void lp_log_fini(struct lp_log **log);

/* Completions, then what follows from them; gives how many.  Once a turn, at its beginning. */
uint32_t lp_log_step(struct lp_log *log);
/* Hands to the disk what this turn has for it.  Once a turn, at its end. */
void lp_log_flush(struct lp_log *log);

enum lp_log_state lp_log_state(const struct lp_log *log);
const struct lp_log_fault *lp_log_fault(const struct lp_log *log);
/* Of a long recovery: bytes that were read, and of how many. */
void lp_log_progress(const struct lp_log *log, uint64_t *ret_done, uint64_t *ret_total);

/* ---- writing: begin, records, seal ---- */

/* Far beyond the largest message; a segment is made for a chain that needs a larger one. */
#define LP_LOG_CHAIN_BYTES_MAX (1024ull * 1024 * 1024)

/*
 * Opens a batch.  `chain_bytes`: what this batch and those that continue it
 * will hold together (headers of records included); they will lie in one
 * segment, provided that each but the last is sealed only when a record does
 * not fit.  False: no buffer or no segment is free now;
 * ask again after lp_log_step().
 */
LP_MUST_CHECK bool lp_log_begin(struct lp_log *log, uint64_t chain_bytes);
/* Bytes of content that one more record of the open batch can have; 0: none. */
uint32_t lp_log_room(const struct lp_log *log);
/* A record of `bytes` content, to be written at what it gives before anything else is called.
 * There must be room. */
uint8_t *lp_log_record(struct lp_log *log, uint8_t kind, uint32_t bytes,
                       struct lp_log_place *ret_place);
/* The open batch is complete.  `continues`: what it holds counts only together with the next one.
 * Gives its number.  An empty batch is not written and has the number of the one before. */
uint64_t lp_log_seal(struct lp_log *log, bool continues);

/* Bytes that a record with so much content takes in a batch. */
uint64_t lp_log_record_bytes(uint32_t content_bytes);

/* Everything up to this number is on disk. */
uint64_t lp_log_durable(const struct lp_log *log);
/* ... and everything before this place. */
struct lp_log_place lp_log_durable_place(const struct lp_log *log);
/* The number that was sealed last. */
uint64_t lp_log_sealed(const struct lp_log *log);
/* No operation is under way, and none waits for its turn. */
bool lp_log_idle(const struct lp_log *log);

/*
 * A clean end.  From now on lp_log_begin() says no; when all that was sealed is
 * durable the root says that nothing comes behind it, so that a next run would
 * miss even the last batch.
 */
void lp_log_close_begin(struct lp_log *log);
/* It has ended: the root is on disk, or never will be (the log is fenced or damaged). */
bool lp_log_closed(const struct lp_log *log);

/* ---- reading back ---- */

/*
 * Read `bytes` from a place on that is durable; hooks.read() is called with
 * `user`, in a later turn.  At most LP_LOG_READ_BYTES less LP_DISK_ALIGN_BYTES.
 * False: LP_LOG_READS are under way.
 */
LP_MUST_CHECK bool lp_log_read(struct lp_log *log, struct lp_log_place place, uint32_t bytes,
                               uint64_t user);
/*
 * The record at the beginning of `data`, which lies at `place`.  False: what is
 * there is not (all of) a record of that place, or not whole.
 */
LP_MUST_CHECK bool lp_log_parse(struct lp_bytes data, struct lp_log_place place,
                                struct lp_log_record *ret_record);

/* ---- space ---- */

/*
 * Something at a place is needed beyond the tail: `bytes` of it.  Counted by
 * segment; the same is taken off again when it is not needed any more.
 */
void lp_log_hold(struct lp_log *log, struct lp_log_place place, uint64_t bytes);
void lp_log_let_go(struct lp_log *log, struct lp_log_place place, uint64_t bytes);

/* Is there so much from a place on?  Recovery: no segment of that number is damage. */
bool lp_log_has(struct lp_log *log, struct lp_log_place place, uint64_t bytes);

/* A segment that nobody writes to, with less than a quarter of its bytes held, least first; 0:
 * none.  What is held there ought to be written anew, and let go. */
uint32_t lp_log_victim(const struct lp_log *log);

/*
 * A checkpoint: begin; write what recovery needs to know of everything from
 * before; end with the number of the last batch that has some of it.  When
 * that is durable the root says so, recovery begins where begin() was called,
 * and segments from before in which nothing was held then are free.
 */
void lp_log_checkpoint_begin(struct lp_log *log);
void lp_log_checkpoint_end(struct lp_log *log, uint64_t lsn);
/* Between begin() and the root's being on disk. */
bool lp_log_checkpointing(const struct lp_log *log);
/* It is time for one: so much was written since the last, or so much could be freed. */
bool lp_log_checkpoint_due(const struct lp_log *log);

struct lp_log_stats {
    uint64_t batches;
    uint64_t bytes_written; /* to the disk, padding included */
    uint64_t bytes_records; /* in records, headers included */
    uint64_t bytes_read;
    uint64_t segments;      /* files there are */
    uint64_t segment_bytes; /* of all of them */
    uint64_t held_bytes;
    uint64_t checkpoints;
    uint64_t free_bytes; /* of the device */
};
void lp_log_stats(const struct lp_log *log, struct lp_log_stats *ret_stats);

/* Asserts that what is held is this: begin, all of it, end. */
void lp_log_audit_begin(struct lp_log *log);
void lp_log_audit(struct lp_log *log, struct lp_log_place place, uint64_t bytes);
void lp_log_audit_end(const struct lp_log *log);

/* Asserts the invariants. */
void lp_log_check(const struct lp_log *log);
