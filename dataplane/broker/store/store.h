/* SPDX-License-Identifier: Apache-2.0 */
/*
 * store.h - what a shard keeps of its durable queues: persistent messages,
 * who has them, and what became of them, as records of the shard's log.
 *
 * Whatever happens to a stored entry is first *noted*: an operation in a
 * window, in order.  With the flush of the turn those that still matter are
 * written into batches; a message that is gone by then was never written.
 * When a batch is durable what waited for its operations goes on: confirms,
 * and deliveries that were not to be made before (struct lp_stored).
 *
 *   Memory    40 bytes an operation until it is durable; reads and batches are the log's
 *   Runs on   the queues' home core
 *   Errors    a fenced log: nothing becomes durable, so nothing is confirmed any more
 *   Overload  no memory for an operation: a publish is refused; an
 *             acknowledgement is forgotten until the next checkpoint, and its message may come back
 *             after a crash, marked as redelivered
 *
 * README.md says what is in the records and why a crash at any point is harmless.
 */
#pragma once

#include "dataplane/broker/queue.h"
#include "dataplane/broker/store/records.h"

struct lp_store;

/* What of a long queue stays in memory, and how the rest is cut. */
struct lp_store_paging {
    uint32_t head_entries; /* stay at the head of a queue */
    uint32_t head_bytes;   /* of their large messages */
    uint32_t page_entries; /* of a full page; at most LP_STORE_PAGE_ENTRIES */
    uint32_t ahead_ms;     /* no delayed message leaves memory that is due so soon */
};

struct lp_store_options {
    struct lp_disk disk;
    uint64_t segment_bytes;
    uint64_t segment_bytes_first;
    uint64_t backlog_bytes; /* of stored messages in memory; beyond it they are paged out */
    uint64_t delay_ns;      /* what was noted may wait so long for more to be written with it */
    struct lp_store_paging paging; /* zeros: as usual */
};

/* LP_OK also when there is no disk: then broker->store is NULL, and nothing is kept. */
LP_MUST_CHECK enum lp_err lp_store_init_boot(struct lp_broker *broker,
                                             const struct lp_store_options *options);

/* Everything that was kept is known again: queues may come up. */
bool lp_store_ready(const struct lp_broker *broker);

/* What the disk has done, and what waited for it; gives how much.  At the turn's beginning. */
uint32_t lp_store_step(struct lp_broker *broker);
/* What was noted goes to the disk.  At the turn's end. */
void lp_store_flush(struct lp_broker *broker);
uint64_t lp_store_next_ns(const struct lp_broker *broker);
/* There is more for another turn, whether the disk says something or not. */
bool lp_store_goes_on(const struct lp_broker *broker);
/* A write failed: nothing becomes durable any more, publishes to queues that are kept are refused.
 * NULL: all is well. */
const struct lp_log_fault *lp_store_fault(const struct lp_broker *broker);
/* All clients have gone, and nobody will come: everything is written down as it is now. */
void lp_store_close_begin(struct lp_broker *broker);
bool lp_store_closed(const struct lp_broker *broker);
/* The control process has named every queue there is: what belongs to none goes. */
struct lp_store_dropped {
    uint32_t queues; /* that had messages */
    uint64_t messages;
};
void lp_store_synced(struct lp_broker *broker, struct lp_store_dropped *ret_dropped);
/* It has: what dies in queues that came up with messages can be routed. */
bool lp_store_all_known(const struct lp_broker *broker);

/* ---- queues ---- */

/*
 * The queue is `queue->stored.on` if it is to be kept; then its entries that
 * the log has are given one by one, in the order of their positions, READY,
 * without messages, counted nowhere; NULL: that were all.  They are the caller's, who says
 * lp_store_adopted() when he has them.  False: there is nothing of it.
 */
struct lp_store_found {
    struct store_found *found;
    uint32_t slot;
    uint32_t page;
};
bool lp_store_adopt(struct lp_queue *queue, struct lp_store_found *ret_found);
struct lp_entry *lp_store_found_next(const struct lp_queue *queue, struct lp_store_found *at);
void lp_store_adopted(struct lp_queue *queue, struct lp_store_found *at);
/* It is deleted: its entries are lp_store_forget()'s from here on. */
void lp_store_dropped(struct lp_queue *queue);

/* ---- entries: only of queues that are stored, and that are LP_ENTRY_STORED ---- */

/*
 * A message has come; it is confirmed when it is durable.  False: there is no
 * memory, and nothing was done.  `entry` is new, and has its position, level and times.
 */
LP_MUST_CHECK bool lp_store_enqueue(struct lp_queue *queue, struct lp_entry *entry, uint32_t from,
                                    const struct lp_mesh_record *record);
/* It has left the queue for good. */
void lp_store_settle(struct lp_queue *queue, struct lp_entry *entry);
/*
 * A message that is not kept, in a queue that grows: it counts, and may leave
 * memory after lp_store_brief_write().  A confirm does not wait for that, and
 * no start finds it.  `entry` is of any queue, and not LP_ENTRY_STORED.
 */
void lp_store_brief(struct lp_queue *queue, struct lp_entry *entry);
/* False: no memory.  During a flush only. */
LP_MUST_CHECK bool lp_store_brief_write(struct lp_queue *queue, struct lp_entry *entry);
/* When those are on disk the queue is lp_store_long() again. */
void lp_store_brief_written(struct lp_queue *queue);
/* It came back, and how often is to be known. */
void lp_store_returned(struct lp_queue *queue, const struct lp_entry *entry);
/* It is no queue's any more: nothing is noted, only let go of. */
void lp_store_forget(struct lp_broker *broker, struct lp_entry *entry);

/* May it be handed to a client?  False: not yet; the queue will be dirty when it may. */
bool lp_store_may_give(struct lp_queue *queue, const struct lp_entry *entry);
/* It never may be: the log takes nothing any more, not even that it was. */
bool lp_store_never_gives(struct lp_queue *queue, const struct lp_entry *entry);
/* One that comes next will soon be asked for. */
void lp_store_will_give(struct lp_queue *queue, uint64_t position);

/* Answers a SYNC when all that was noted before is on disk; at once when there is none. */
void lp_store_sync(struct lp_broker *broker, uint32_t from, const struct lp_mesh_record *record);

/* What was noted between these is on disk together, or not at all. */
void lp_store_tie(struct lp_broker *broker);
void lp_store_untie(struct lp_broker *broker);
/* What was noted is tied to what is noted next, too. */
void lp_store_untie_later(struct lp_broker *broker);

/* ---- entries that died: theirs outlives them until what they became is stored ---- */

/* Is it in the log, so that a source can be made of it, or never will be? */
bool lp_store_written(const struct lp_broker *broker, const struct lp_entry *entry);
/* The entry's part in the log goes to the source; it is settled with that. */
struct lp_store_source lp_store_source_of(struct lp_broker *broker, uint32_t queue_id,
                                          struct lp_entry *entry);
void lp_store_source_settle(struct lp_broker *broker, const struct lp_store_source *source);

/* ---- delayed messages (delay.h): entries of a queue that there is not ---- */

#define LP_STORE_DELAYED_ID UINT32_MAX

/* One that is not kept: where there are many, it may leave memory for this run. */
void lp_store_delay_brief(struct lp_broker *broker, struct lp_entry *entry);
/* As lp_store_enqueue(). */
LP_MUST_CHECK bool lp_store_delay(struct lp_broker *broker, struct lp_entry *entry,
                                  const struct lp_mesh_record *record);
/* The first position that recovery has not seen, until they were restored; then 0. */
uint64_t lp_store_delayed_next(const struct lp_broker *broker);
/* lp_delay_read() will have it.  False: too many reads are under way. */
LP_MUST_CHECK bool lp_store_delay_read(struct lp_broker *broker, struct lp_log_place place,
                                       uint32_t bytes);

/* ---- messages that are on disk only ---- */

/* Of one read. */
#define LP_STORE_READ_BYTES (LP_LOG_READ_BYTES - LP_DISK_ALIGN_BYTES)

/* type->read() will have it.  False: too many reads are under way. */
LP_MUST_CHECK bool lp_store_read(struct lp_queue *queue, struct lp_log_place place, uint32_t bytes);
/*
 * Make the message of `entry` from a record.  LP_ERR_NO_MEMORY; LP_ERR_BAD_RECORD: it is
 * not that message.  With `*ret_more` there is more of it, in records behind this.
 */
LP_MUST_CHECK enum lp_err lp_store_message(struct lp_broker *broker, struct lp_entry *entry,
                                           const struct lp_log_record *record, bool *ret_more);
LP_MUST_CHECK enum lp_err lp_store_message_more(struct lp_broker *broker, struct lp_entry *entry,
                                                const struct lp_log_record *record, bool *ret_more);
/* It may go on there. */
bool lp_store_is_readable(const struct lp_broker *broker, struct lp_log_place place);
/*
 * The same with all records of the message that were read, from `from` on:
 * which is its beginning, if it has no message yet.  LP_ERR_REFUSED: there is more
 * of it, from `*ret_next` on.
 */
LP_MUST_CHECK enum lp_err lp_store_message_take(struct lp_broker *broker, struct lp_entry *entry,
                                                struct lp_log_place from, struct lp_bytes data,
                                                struct lp_log_place *ret_next);

/* ---- pages ---- */

#define LP_STORE_PAGE_ENTRIES  2048u
#define LP_STORE_PAGE_SEGMENTS 6u

/* A page's entry (LP_ENTRY_PAGE) has one of these: what is in the page, so that it need not be
 * read to know. */
struct lp_store_page {
    uint64_t first; /* positions */
    uint64_t last;
    uint64_t body_bytes;
    uint64_t persistent_bytes; /* ... of persistent ones, as far as that is known */
    uint32_t count;            /* entries that are still wanted */
    uint32_t made_count;       /* that were written */
    uint32_t persistent_count; /* of `count`, as far as that is known */
    uint32_t hole_count;       /* of those, gone already: their positions, sorted */
    uint32_t hole_room;
    uint64_t *holes;
    bool reading;
    uint8_t segment_count;
    struct {
        uint32_t segment;
        uint32_t count;
        uint64_t bytes;
    } segment[LP_STORE_PAGE_SEGMENTS];
};

static inline struct lp_store_page *
lp_store_page_of(const struct lp_entry *entry)
{
    return (struct lp_store_page *)(uintptr_t)entry->message;
}

/*
 * Write entries of one level, in order of position, all durable, all brief or none, to a page;
 * gives how many it took, and its entry.  0: no room or memory now.  During a
 * flush only (type->spill()).  The entries that it took are to be ended by the caller,
 * each after lp_store_paged().
 */
uint32_t lp_store_page_write(struct lp_queue *queue, struct lp_entry *const *entries,
                             uint32_t count, struct lp_entry **ret_page);
void lp_store_paged(struct lp_broker *broker, struct lp_entry *entry);
bool lp_store_is_durable(const struct lp_broker *broker, struct lp_log_place place);
/* All records of the entry's message are. */
bool lp_store_message_is_durable(const struct lp_broker *broker, const struct lp_entry *entry);
/*
 * Its entries, which the content of its record has, are appended to the list, as
 * lp_store_adopt() gives them; the page is no more, its entry released.  They are what is there,
 * whatever the page's counts said.
 * LP_ERR_NO_MEMORY: nothing was done.  LP_ERR_BAD_RECORD: it is not that page.
 */
LP_MUST_CHECK enum lp_err lp_store_page_take(struct lp_queue *queue, struct lp_entry *page,
                                             struct lp_bytes content, struct lp_list *entries);
/* It is dropped, with all that is in it.  Releases the entry. */
void lp_store_page_drop(struct lp_queue *queue, struct lp_entry *page);
/* The same of a queue that is deleted: nothing is noted. */
void lp_store_page_forget(struct lp_broker *broker, struct lp_entry *page);

/* Write the entry's message anew; it is in memory.  False: nothing of the budget is left, or no
 * memory. */
bool lp_store_move(struct lp_queue *queue, const struct lp_entry *entry, uint64_t *budget);

/* Memory that a stored message takes, as lp_store_options.backlog_bytes counts it. */
static inline uint64_t
lp_store_resident_bytes(const struct lp_entry *entry)
{
    return (uint64_t)entry->record_bytes + sizeof(struct lp_entry) + sizeof(struct lp_message);
}
/* Messages came into memory, or left it otherwise than by being settled. */
void lp_store_resident(struct lp_broker *broker, int64_t bytes);
/* More of them are in memory than there should be, and: there will be soon, so what is not written
 * yet should be. */
bool lp_store_over(const struct lp_broker *broker);
bool lp_store_soon_over(const struct lp_broker *broker);
const struct lp_store_paging *lp_store_paging(const struct lp_broker *broker);
/* The queue wants to read what there is no memory for now: it is dirty when some was given back. */
void lp_store_hold_back(struct lp_queue *queue);
/* The queue has entries that could be on a page. */
void lp_store_long(struct lp_queue *queue);

/* Asserts that what is counted is what there is: a walk over all entries, and those of queues. */
void lp_store_check(struct lp_broker *broker);

/* For the host: how recovery goes, and what is wrong.  NULL: there is no disk. */
const struct lp_log *lp_store_log(const struct lp_broker *broker);
