/* SPDX-License-Identifier: Apache-2.0 */
/* log_write.c - what the process of log_play.h writes and reads in a turn. */
#include "tests/sim/log_play.h"

#include <stdlib.h>

/* Without a segment or a buffer for so long: it will never have one. */
#define REFUSED_NS_MAX 120000000000u

static void
drop(struct log_play *play, const struct history_item *item)
{
    lp_log_let_go(play->log, item->place, lp_log_record_bytes(item->bytes));
    history_item_drop(&play->items, item->item);
}

void
log_write_apply(struct log_play *play, enum history_kind kind, const struct history_item *item)
{
    const struct history_item *old = history_item_find(&play->items, item->item);
    if (kind == HISTORY_DROP) {
        if (old) {
            drop(play, old);
        }
        return;
    }
    if (kind == HISTORY_NOTE || (old && old->serial == item->serial)) {
        return;
    }
    if (old) {
        drop(play, old);
    }
    lp_log_hold(play->log, item->place, lp_log_record_bytes(item->bytes));
    history_item_set(&play->items, item);
}

/* ---- what a group will be ---- */

static uint32_t
draw_bytes(struct log_play *play)
{
    static const uint32_t sizes[] = {40, 40, 200, 200, 200, 3000, 20000};
    const uint32_t most = (uint32_t)LP_MIN(play->segment_bytes / 8, LP_LOG_RECORD_BYTES_MAX);
    if (play->writer.large) {
        return most;
    }
    if (log_below(play, 40) == 0) {
        return HISTORY_HEAD_BYTES + log_below(play, most - HISTORY_HEAD_BYTES + 1);
    }
    const uint32_t size = sizes[log_below(play, LP_COUNT_OF(sizes))];
    return HISTORY_HEAD_BYTES + log_below(play, LP_MIN(size, most - HISTORY_HEAD_BYTES));
}

static void
plan_add(struct log_play *play, enum history_kind kind, uint64_t item, uint32_t bytes)
{
    struct log_writer *writer = &play->writer;
    const uint64_t takes = lp_log_record_bytes(bytes);
    if (writer->count < LOG_GROUP_MAX && writer->chain_bytes + takes <= play->segment_bytes / 2) {
        writer->step[writer->count++] =
            (struct log_step){.kind = (uint8_t)kind, .item = item, .bytes = bytes};
        writer->chain_bytes += takes;
    }
}

static const struct history_item *
any_item(struct log_play *play)
{
    const struct history_items *items = &play->items;
    return items->count > 0 ? &items->list[log_below(play, items->count)] : NULL;
}

static void
plan_any(struct log_play *play)
{
    const uint32_t pick = log_below(play, 10);
    const struct history_item *item = any_item(play);
    const bool many = play->items.count > play->items_wanted;
    if (pick < 2) {
        plan_add(play, HISTORY_NOTE, 0, draw_bytes(play));
    } else if (pick == 2 && item) {
        plan_add(play, HISTORY_MOVE, item->item, draw_bytes(play));
    } else if ((pick < (many ? 8u : 5u)) && item) {
        plan_add(play, HISTORY_DROP, item->item, HISTORY_HEAD_BYTES);
    } else {
        plan_add(play, HISTORY_PUT, 0, draw_bytes(play));
    }
}

/* What is held in a victim is written anew. */
static void
plan_victim(struct log_play *play, uint32_t segment)
{
    for (uint32_t i = 0; i < play->items.count && play->writer.count < LOG_GROUP_MAX; i++) {
        const struct history_item *item = &play->items.list[i];
        if (item->place.segment == segment) {
            plan_add(play, HISTORY_MOVE, item->item, item->bytes);
        }
    }
}

/* The next piece of a checkpoint's list; its length is all that is known yet. */
static void
plan_snap(struct log_play *play)
{
    uint32_t entries = 0;
    const uint32_t most = 1 + log_below(play, 60);
    for (uint32_t i = 0; i < play->items.count && entries < most; i++) {
        const uint64_t item = play->items.list[i].item;
        entries += item >= play->snap.next && item <= play->snap.serial;
    }
    plan_add(play, HISTORY_SNAP, entries, HISTORY_HEAD_BYTES + entries * HISTORY_ENTRY_BYTES);
}

static void
plan_group(struct log_play *play)
{
    memset(&play->writer, 0, sizeof(play->writer));
    play->writer.large = log_below(play, 60) == 0;
    const uint32_t victim = lp_log_victim(play->log);
    if (play->snap.writing && log_below(play, 3) > 0) {
        plan_snap(play);
    } else if (victim > 0 && log_below(play, 3) == 0) {
        plan_victim(play, victim);
    }
    const bool many = play->writer.large || log_below(play, 4) == 0;
    const uint32_t more = 1 + log_below(play, many ? LOG_GROUP_MAX : 4);
    for (uint32_t i = 0; i < more && play->writer.count < more; i++) {
        plan_any(play);
    }
}

/* ---- writing it ---- */

static void
put_u64(uint8_t *to, uint64_t value)
{
    memcpy(to, &value, sizeof(value));
}

static void
write_snap(struct log_play *play, const struct history_record *record, uint32_t entries,
           uint8_t *to)
{
    play->snap.pieces++;
    put_u64(to, record->serial);
    put_u64(to + 8, entries);
    to += HISTORY_HEAD_BYTES;
    for (uint32_t i = 0; i < play->items.count && entries > 0; i++) {
        const struct history_item *item = &play->items.list[i];
        if (item->item < play->snap.next || item->item > play->snap.serial) {
            continue;
        }
        put_u64(to, item->item);
        put_u64(to + 8, item->serial);
        put_u64(to + 16, (uint64_t)item->place.segment << 32 | item->place.unit);
        put_u64(to + 24, item->bytes);
        to += HISTORY_ENTRY_BYTES;
        play->snap.next = item->item + 1;
        entries--;
    }
    LP_ASSERT(entries == 0);
}

static bool
snap_over(const struct log_play *play)
{
    for (uint32_t i = 0; i < play->items.count; i++) {
        const uint64_t item = play->items.list[i].item;
        if (item >= play->snap.next && item <= play->snap.serial) {
            return false;
        }
    }
    return true;
}

static void
write_step(struct log_play *play, const struct log_step *step)
{
    const bool old = step->kind == HISTORY_MOVE || step->kind == HISTORY_DROP;
    if (old && !history_item_find(&play->items, step->item)) {
        return; /* the same group has let it go */
    }
    struct history_record *record =
        history_add(&play->history, (enum history_kind)step->kind, step->item, step->bytes);
    uint8_t *to = lp_log_record(play->log, step->kind, step->bytes, &record->place);
    play->writer.written++;
    if (step->kind == HISTORY_SNAP) {
        write_snap(play, record, (uint32_t)step->item, to);
        return;
    }
    history_write(record, to);
    const struct history_item item = {.item = record->item,
                                      .serial = record->serial,
                                      .place = record->place,
                                      .bytes = record->bytes};
    log_write_apply(play, (enum history_kind)step->kind, &item);
}

static void
seal(struct log_play *play, bool last)
{
    const uint64_t before = lp_log_sealed(play->log);
    const uint64_t lsn = lp_log_seal(play->log, !last);
    LP_ASSERT(lsn == before || lsn == before + 1);
    play->writer.open = false;
    if (lsn > before) {
        history_sealed(&play->history, lsn, last);
    }
}

/* As much of the group as finds room; true when all of it did. */
static bool
write_group(struct log_play *play)
{
    struct log_writer *writer = &play->writer;
    for (;;) {
        if (!writer->open && !lp_log_begin(play->log, writer->chain_bytes)) {
            return false;
        }
        writer->open = true;
        while (writer->at < writer->count &&
               writer->step[writer->at].bytes <= lp_log_room(play->log)) {
            write_step(play, &writer->step[writer->at++]);
        }
        if (writer->at == writer->count) {
            seal(play, true);
            return true;
        }
        seal(play, false);
    }
}

static void
checkpoint_turn(struct log_play *play)
{
    struct log_snap *snap = &play->snap;
    if (snap->writing && snap->pieces > 0 && snap_over(play)) {
        lp_log_checkpoint_end(play->log, lp_log_sealed(play->log));
        history_checkpoint_end(&play->history);
        snap->writing = false;
    }
    if (lp_log_checkpointing(play->log) ||
        (!lp_log_checkpoint_due(play->log) && log_below(play, 300) > 0)) {
        return;
    }
    lp_log_checkpoint_begin(play->log);
    history_checkpoint_begin(&play->history);
    *snap = (struct log_snap){.writing = true, .serial = play->history.serial};
}

static void
read_some(struct log_play *play)
{
    const struct history_item *item = any_item(play);
    struct log_reading *free = NULL;
    uint64_t slot = 0;
    for (uint64_t i = 0; i < LP_LOG_READS && !free; i++) {
        free = play->reading[i].busy ? NULL : &play->reading[i];
        slot = i;
    }
    if (!item || !free || !lp_log_place_before(item->place, lp_log_durable_place(play->log))) {
        return;
    }
    free->item = *item;
    free->kind = item->item == item->serial ? HISTORY_PUT : HISTORY_MOVE;
    free->busy =
        lp_log_read(play->log, item->place, (uint32_t)lp_log_record_bytes(item->bytes), slot);
}

void
log_write_turn(struct log_play *play)
{
    struct log_writer *writer = &play->writer;
    bool refused = false;
    for (uint32_t groups = log_below(play, 4); groups > 0 && !refused; groups--) {
        if (writer->count == 0) {
            checkpoint_turn(play);
            plan_group(play);
        }
        refused = !write_group(play);
        if (!refused) {
            writer->count = 0;
        } else if (writer->at == 0) {
            writer->count = 0; /* another one next time: what it was about may be gone */
        }
    }
    if (!refused) {
        play->refused_ns = 0;
    } else if (play->refused_ns == 0) {
        play->refused_ns = play->now_ns;
    }
    LP_ASSERT(play->refused_ns == 0 || play->now_ns - play->refused_ns < REFUSED_NS_MAX);
    if (log_below(play, 3) == 0) {
        read_some(play);
    }
}
