/* SPDX-License-Identifier: Apache-2.0 */
/* log_life.c - one life of the process of log_play.h: recovery, turns, its end. */
#include <stdio.h>
#include <stdlib.h>

#include "tests/sim/log_play.h"

#define MEMORY_BYTES (8ull << 20)

/* ---- recovery ---- */

static void
stage(struct log_play *play, enum history_kind kind, const struct history_item *item)
{
    if (play->staged_count == play->staged_room) {
        play->staged_room = play->staged_room * 2 + 64;
        play->staged = realloc(play->staged, play->staged_room * sizeof(*play->staged));
        LP_ASSERT(play->staged);
    }
    play->staged[play->staged_count++] = (struct log_staged){(uint8_t)kind, *item};
}

static void
stage_snap(struct log_play *play, struct lp_bytes content)
{
    uint64_t word[4];
    LP_ASSERT((content.size - HISTORY_HEAD_BYTES) % HISTORY_ENTRY_BYTES == 0);
    for (uint32_t at = HISTORY_HEAD_BYTES; at < content.size; at += HISTORY_ENTRY_BYTES) {
        memcpy(word, content.data + at, sizeof(word));
        const struct history_item item = {
            .item = word[0],
            .serial = word[1],
            .place = {(uint32_t)(word[2] >> 32), (uint32_t)word[2]},
            .bytes = (uint32_t)word[3],
        };
        stage(play, HISTORY_SNAP, &item);
    }
}

static bool
on_record(void *context, const struct lp_log_record *record)
{
    struct log_play *play = context;
    const struct history_record *it = history_recovered(&play->history, record);
    const struct history_item item = {
        .item = it->item, .serial = it->serial, .place = it->place, .bytes = it->bytes};
    play->recovered++;
    if (it->kind == HISTORY_SNAP) {
        stage_snap(play, record->content);
    } else {
        stage(play, (enum history_kind)it->kind, &item);
    }
    return true;
}

static bool
on_commit(void *context)
{
    struct log_play *play = context;
    history_committed(&play->history);
    for (uint32_t i = 0; i < play->staged_count; i++) {
        log_write_apply(play, (enum history_kind)play->staged[i].kind, &play->staged[i].it);
    }
    play->staged_count = 0;
    return true;
}

/* G6 */
static void
on_read(void *context, uint64_t user, struct lp_bytes data, const struct lp_log_fault *fault)
{
    struct log_play *play = context;
    struct log_reading *reading = &play->reading[user];
    struct lp_log_record record;
    LP_ASSERT(user < LP_LOG_READS && reading->busy);
    reading->busy = false;
    if (data.size == 0 && play->flavour != LOG_HEALTHY) {
        LP_ASSERT(fault->err != LP_OK);
        return;
    }
    if (!lp_log_parse(data, reading->item.place, &record)) {
        LP_ASSERT(play->flavour == LOG_ROTTEN); /* G6 */
        return;
    }
    LP_ASSERT(record.kind == reading->kind && record.content.size == reading->item.bytes); /* G6 */
    LP_ASSERT(history_content_is(reading->item.serial, reading->item.item, reading->kind,
                                 record.content)); /* G6 */
    play->reads++;
}

/* The log is open: what the process knows is what its history comes to. */
static void
opened(struct log_play *play)
{
    struct history_items truth = {0};
    play->opened = true;
    play->staged_count = 0;
    history_recovery_end(&play->history);
    history_items_of(&play->history, &truth);
    LP_ASSERT(history_items_equal(&truth, &play->items)); /* G6 */
    free(truth.list);
    play->digest = play->digest * 31 + play->history.count;
    play->digest = play->digest * 31 + play->items.count;
}

/* ---- a life ---- */

void
log_life_begin(struct log_play *play)
{
    const struct lp_log_options options = {
        .disk = lp_sim_disk_contract(play->disk),
        .shard = 3,
        .salt = 77,
        .segment_bytes = play->segment_bytes,
        .segment_bytes_first = play->segment_bytes_first,
        .hooks = {.record = on_record, .commit = on_commit, .read = on_read, .context = play},
    };
    struct lp_log_options with_memory = options;
    play->block = calloc(1, MEMORY_BYTES + LP_SPAN_BYTES); /* pages nobody touches cost nothing */
    LP_ASSERT(play->block);
    uint8_t *base = play->block;
    base += LP_SPAN_BYTES - (uintptr_t)base % LP_SPAN_BYTES;
    enum lp_err err = lp_memory_init_boot(base, MEMORY_BYTES, MEMORY_BYTES, &with_memory.memory);
    LP_ASSERT(err == LP_OK);
    play->items.count = 0;
    play->staged_count = 0;
    memset(&play->writer, 0, sizeof(play->writer));
    memset(&play->snap, 0, sizeof(play->snap));
    memset(play->reading, 0, sizeof(play->reading));
    play->refused_ns = 0;
    play->checkpointed = 0;
    play->opened = false;
    play->closing = false;
    play->fenced = false;
    history_recovery_begin(&play->history);
    err = lp_log_init_boot(&with_memory, &play->log);
    LP_ASSERT(err == LP_OK);
}

void
log_life_end(struct log_play *play)
{
    history_crash(&play->history);
    free(play->block);
    play->block = NULL;
    play->log = NULL;
}

static void
look(struct log_play *play)
{
    struct lp_log_stats stats;
    const enum lp_log_state state = lp_log_state(play->log);
    const struct lp_log_fault *fault = lp_log_fault(play->log);
    if (state == LP_LOG_DAMAGED && play->flavour != LOG_ROTTEN) {
        (void)fprintf(stderr, "segment %u, offset %llu: %s\n", fault->segment,
                      (unsigned long long)fault->offset, fault->what);
        LP_ASSERT(!"the log says that it is damaged, and nothing was");
    }
    if (state == LP_LOG_FENCED && play->flavour == LOG_HEALTHY) {
        (void)fprintf(stderr, "segment %u, offset %llu: %s\n", fault->segment,
                      (unsigned long long)fault->offset, fault->what);
        LP_ASSERT(!"the log is fenced, and nothing failed");
    }
    if (state == LP_LOG_OPEN && !play->opened) {
        opened(play);
    }
    if (!play->opened) {
        return;
    }
    const uint64_t before = play->history.durable;
    history_durable(&play->history, lp_log_durable(play->log));
    LP_ASSERT(!play->fenced || play->history.durable == before);
    play->fenced = state == LP_LOG_FENCED;
    lp_log_stats(play->log, &stats);
    if (stats.checkpoints > play->checkpointed) {
        play->checkpointed = stats.checkpoints;
        play->checkpoints++;
        history_checkpoint_done(&play->history);
    }
}

void
log_life_turn(struct log_play *play)
{
    play->turns++;
    (void)lp_log_step(play->log);
    look(play);
    if (lp_log_state(play->log) == LP_LOG_OPEN && !play->closing) {
        log_write_turn(play);
    }
    lp_log_flush(play->log);
    if (log_below(play, 50) == 0) {
        lp_log_check(play->log);
    }
}
