/* SPDX-License-Identifier: Apache-2.0 */
/*
 * log_private.h - what the files of this folder share.
 *
 *   batch.c       the open batch, buffers, the durable prefix
 *   segment.c     the table of segments: made ahead, filled, held, removed
 *   root.c        the root's two slots
 *   checkpoint.c  from where recovery begins, and what that frees
 *   read.c        reading back
 *   recover.c     from the root to LP_LOG_OPEN, with beyond.c (end or damage?) and window.c
 *                 (reading ahead)
 *   log.c         puts them together
 */
#pragma once

#include "dataplane/log/format.h"
#include "dataplane/log/log.h"

#define LP_LOG_MAGIC 0x4c70304cu
/* Removals under way at a time; they may take a driver's thread a while. */
#define LOG_REMOVALS 4u
/* Two reads on their way hide one's latency; more would only cost memory. */
#define LOG_WINDOW_READS 2u
/* To read a block, or a slot of the root, in recovery: an error may pass. */
#define LOG_READ_ATTEMPTS 3u
/* Recovery reads into the buffers of batches: nothing is written yet. */
#define LOG_WINDOW_BYTES (LP_LOG_BATCHES * LP_LOG_BATCH_BYTES)

/* --- what an operation is for: its `user` ------------------------------------ */

enum log_purpose {
    LOG_FOR_BATCH,   /* index: the buffer's */
    LOG_FOR_READ,    /* index: the read's */
    LOG_FOR_WINDOW,  /* index: of LOG_WINDOW_READS */
    LOG_FOR_ROOT,    /* a write of the root; while it is looked for: a read of both slots */
    LOG_FOR_SEGMENT, /* index: its number; 0: the root's file */
    LOG_FOR_REMOVAL, /* index: its number */
};

/* --- parts -------------------------------------------------------------------- */

enum log_buffer_state {
    LOG_BUFFER_FREE,
    LOG_BUFFER_OPEN,
    LOG_BUFFER_SEALED, /* waits for lp_log_flush() */
    LOG_BUFFER_FLYING,
    LOG_BUFFER_WRITTEN, /* waits for those before it */
};

/* The batch with number n is in buffer n % LP_LOG_BATCHES from begin() until it is durable. */
struct log_buffer {
    uint8_t *data;
    enum log_buffer_state state;
    uint32_t bytes; /* padded */
    uint32_t segment;
    uint64_t offset;
};

enum log_segment_state {
    LOG_SEGMENT_WANTED, /* CREATE is not submitted yet */
    LOG_SEGMENT_CREATING,
    LOG_SEGMENT_READY, /* nothing in it yet */
    LOG_SEGMENT_CURRENT,
    LOG_SEGMENT_FULL,   /* nobody writes to it any more */
    LOG_SEGMENT_DOOMED, /* REMOVE is not submitted yet */
    LOG_SEGMENT_REMOVING,
};

struct log_segment {
    uint32_t number;
    uint8_t state;
    bool free_then; /* nothing was held when the checkpoint began */
    uint16_t reads; /* under way */
    uint64_t bytes;
    uint64_t held_bytes;
    uint64_t audited; /* lp_log_audit() */
};

struct log_segments {
    struct log_segment *at; /* ascending by number */
    uint32_t count;
    uint32_t room;
    uint32_t hint; /* the one that was looked for last */
    uint32_t number_next;
    uint64_t bytes_next;   /* of the next one to be made */
    uint64_t bytes_wanted; /* a chain of batches waits for one as large as this; 0: none */
    uint32_t made;         /* by this run */
    uint32_t removing;
    /* Sums over the table, kept up to date by segment.c. */
    uint32_t wanted; /* by state: not asked for yet */
    uint32_t creating;
    uint32_t ahead; /* ... wanted, creating, ready */
    uint32_t doomed;
    uint32_t idle;   /* full, nothing held */
    uint32_t sparse; /* full, less than a quarter held: victims */
    uint64_t idle_bytes;
    uint64_t bytes;
    uint64_t held_bytes;
};

struct log_read {
    uint8_t *data;
    bool busy;
    bool sent;
    bool failed;
    struct lp_log_place place;
    uint32_t bytes; /* that the caller wants */
    uint64_t user;
};

struct log_window_read {
    uint64_t offset;
    uint32_t bytes;
    bool flying;
    bool done; /* and the one before it is not yet */
};

/* What is read ahead of one segment: [base, end) is in memory, and more is on its way. */
struct log_window {
    uint32_t segment; /* 0: none */
    uint64_t base;
    uint64_t end;
    uint64_t wanted; /* what is before this is not needed any more */
    uint64_t next;   /* where the next read begins */
    uint64_t limit;
    uint32_t flying;
    bool stale;         /* the reads that are under way are for another place */
    uint64_t piecewise; /* up to here single blocks are read, because a large read failed */
    uint32_t attempts;  /* to read one block */
    bool unread;        /* some block could not be read */
    struct log_window_read reads[LOG_WINDOW_READS];
};

enum log_recovery_phase {
    LOG_RECOVERY_FORMAT_FILE,
    LOG_RECOVERY_READ_ROOT,
    LOG_RECOVERY_BATCHES,
    LOG_RECOVERY_BEYOND,
    LOG_RECOVERY_WRITE_ROOT,
    LOG_RECOVERY_OVER,
};

/* A place between batches. */
struct log_cursor {
    uint64_t lsn;          /* of the batch behind it */
    uint32_t previous_crc; /* of the header of the batch before it */
    uint32_t segment;
    uint64_t offset;
};

struct log_recovery {
    enum log_recovery_phase phase;
    uint64_t root_bytes; /* of the root's file; 0: there is none */
    bool sent;           /* the phase's one operation is under way */
    uint32_t slot;       /* of the root, to be read next */
    uint32_t attempts;
    struct log_cursor expected;
    struct log_cursor committed; /* behind the last batch that does not continue */
    /* Where the expected batch is looked for: behind the last one, then where segments begin. */
    uint32_t segment;
    uint64_t offset;
    /* A batch with the expected number was found, and is not whole. */
    bool broken;
    uint32_t broken_segment;
    uint64_t broken_offset;
    /* The first valid header beyond the expected place. */
    bool later;
    uint32_t later_segment;
    uint64_t later_offset;
    uint64_t later_lsn;
    bool damage; /* something says that the expected batch was durable */
    uint64_t done;
    uint64_t total;
};

enum log_root_state {
    LOG_ROOT_REST,
    LOG_ROOT_WANTED, /* log->root is newer than what is on disk */
    LOG_ROOT_FLYING,
};

enum log_checkpoint_state {
    LOG_CHECKPOINT_NONE,
    LOG_CHECKPOINT_BEGUN,
    LOG_CHECKPOINT_ENDED, /* waits for its last batch */
    LOG_CHECKPOINT_ROOT,  /* waits for the root */
};

struct log_checkpoint {
    enum log_checkpoint_state state;
    struct log_cursor from;
    uint64_t lsn;     /* the last one that it needs */
    uint64_t written; /* bytes since the last one began */
};

enum log_closing {
    LOG_CLOSING_NOT,
    LOG_CLOSING_BATCHES, /* waits for all that was sealed */
    LOG_CLOSING_ROOT,
    LOG_CLOSING_DONE,
};

LP_STATIC_ASSERT(LP_LOG_HEADER_BYTES == LOG_BATCH_HEADER_BYTES, "log.h says where records begin");
LP_STATIC_ASSERT(LP_LOG_RECORD_BYTES_MAX + LOG_RECORD_HEADER_BYTES <=
                     LP_LOG_READ_BYTES - LP_DISK_ALIGN_BYTES,
                 "every record can be read in one go");

struct lp_log {
    uint32_t magic;
    enum lp_log_state state;

    /* The open batch. */
    bool open;
    bool chained; /* the one before continues in it */
    uint8_t *data;
    uint32_t fill;
    uint32_t limit;
    uint32_t records;
    uint32_t records_crc;
    uint32_t pending; /* where the record begins whose checksum is not there yet; 0: none */
    uint32_t segment;
    uint64_t offset; /* of the batch that is open, or will be next */
    uint64_t segment_bytes;
    bool segment_there; /* `segment` is this run's */

    uint64_t sealed;
    uint64_t durable;
    struct lp_log_place durable_place;
    uint32_t previous_crc;
    uint32_t seed;
    struct log_buffer buffers[LP_LOG_BATCHES];
    uint64_t submitted; /* LSN */

    uint32_t flying; /* operations */
    bool unflushed;
    struct log_segments segments;
    struct log_read reads[LP_LOG_READS];
    uint32_t reads_busy;
    struct log_checkpoint checkpoint;
    enum log_closing closing;
    struct log_root root; /* what is on disk, or will be */
    enum log_root_state root_state;
    uint8_t *root_data; /* both slots */
    struct log_recovery recovery;
    struct log_window window;

    struct lp_log_fault fault;
    struct lp_log_stats stats;
    struct lp_log_options options;
    struct lp_memory *memory;
    uint8_t *arena;
};

/* --- log.c -------------------------------------------------------------------- */

/* False: no room now. */
LP_MUST_CHECK bool log_submit(struct lp_log *log, struct lp_disk_op *op, enum log_purpose purpose,
                              uint32_t index);
void log_fence(struct lp_log *log, enum lp_err err, uint32_t segment, uint64_t offset,
               const char *what);
void log_damaged(struct lp_log *log, enum lp_err err, uint32_t segment, uint64_t offset,
                 const char *what);

/* --- batch.c ------------------------------------------------------------------ */

void log_batch_submit(struct lp_log *log);
void log_batch_completed(struct lp_log *log, uint32_t index, enum lp_err err);
void log_batch_check(const struct lp_log *log);

/* --- segment.c ---------------------------------------------------------------- */

LP_MUST_CHECK enum lp_err log_segments_init_boot(struct lp_log *log);
/* NULL: there is none. */
struct log_segment *log_segment_find(struct lp_log *log, uint32_t number);
/* The first one with a higher number; NULL: none. */
struct log_segment *log_segment_after(struct lp_log *log, uint32_t number);
void log_segment_state_set(struct lp_log *log, struct log_segment *segment,
                           enum log_segment_state state);
/* The next batch may be at log->segment, log->offset, with so many bytes behind it.  False: later.
 */
LP_MUST_CHECK bool log_segment_room(struct lp_log *log, uint64_t bytes);
void log_segments_submit(struct lp_log *log);
void log_segment_created(struct lp_log *log, uint32_t number, enum lp_err err);
void log_segment_removed(struct lp_log *log, uint32_t number);
/* Recovery is over: what lies behind `last` was never finished. */
void log_segments_drop_after(struct lp_log *log, uint32_t last);
void log_segments_check(const struct lp_log *log);

/* --- root.c ------------------------------------------------------------------- */

/* log->root, changed by the caller, is to be written; it gets its number here. */
void log_root_want(struct lp_log *log);
void log_root_submit(struct lp_log *log);
/* The next run: generation, and the list without what no recovery will ask for.  False: it is full.
 */
LP_MUST_CHECK bool log_root_advance(struct log_root *root, uint64_t lsn);
/* The list without what is older than the checkpoint. */
void log_root_trim(struct log_root *root);

/* --- checkpoint.c ------------------------------------------------------------- */

/* What follows from what is durable now. */
void log_checkpoint_step(struct lp_log *log);
void log_root_completed(struct lp_log *log, enum lp_err err);

/* --- read.c ------------------------------------------------------------------- */

void log_read_submit(struct lp_log *log);
void log_read_completed(struct lp_log *log, uint32_t index, enum lp_err err);

/* --- recover.c, beyond.c ------------------------------------------------------ */

void log_recover_begin(struct lp_log *log);
void log_recover_step(struct lp_log *log);
void log_recover_submit(struct lp_log *log);
void log_recover_file_created(struct lp_log *log, enum lp_err err);
void log_recover_root_completed(struct lp_log *log, enum lp_err err);

/* A header that lies beyond the expected batch: what does it say of that one? */
void log_beyond_header(struct lp_log *log, const struct log_batch_header *header);
/* One block further; false: needs more of the window, or there is no more (phase moves on). */
LP_MUST_CHECK bool log_beyond_step(struct lp_log *log);

/* --- window.c ----------------------------------------------------------------- */

void log_window_seek(struct lp_log *log, const struct log_segment *segment, uint64_t offset);
/* `bytes` bytes of the window's segment from `offset` on; NULL: not yet. What is before `offset`
 * will not be asked for again. */
const uint8_t *log_window_at(struct lp_log *log, uint64_t offset, uint32_t bytes);
void log_window_submit(struct lp_log *log);
void log_window_completed(struct lp_log *log, uint32_t index, enum lp_err err);
