/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/sim/log_history.h"

#include <stdio.h>
#include <stdlib.h>

void
history_fini(struct history *history)
{
    free(history->record);
}

struct history_record *
history_add(struct history *history, enum history_kind kind, uint64_t item, uint32_t bytes)
{
    LP_ASSERT(bytes >= HISTORY_HEAD_BYTES);
    if (history->count == history->room) {
        history->room = history->room * 2 + 1024;
        history->record = realloc(history->record, history->room * sizeof(*history->record));
        LP_ASSERT(history->record);
    }
    const uint64_t serial = ++history->serial;
    struct history_record *record = &history->record[history->count++];
    *record = (struct history_record){.serial = serial,
                                      .item = kind == HISTORY_PUT ? serial : item,
                                      .bytes = bytes,
                                      .kind = (uint8_t)kind};
    return record;
}

static uint8_t
content_at(uint64_t serial, uint64_t item, uint8_t kind, uint32_t at)
{
    const uint64_t word = at < 8 ? serial : item ^ kind;
    if (at < HISTORY_HEAD_BYTES) {
        return (uint8_t)(word >> (at % 8 * 8));
    }
    return (uint8_t)((serial * 0x9e3779b97f4a7c15u >> 32) + at * 37u + (at >> 8));
}

void
history_write(const struct history_record *record, uint8_t *to)
{
    for (uint32_t i = 0; i < record->bytes; i++) {
        to[i] = content_at(record->serial, record->item, record->kind, i);
    }
}

bool
history_content_is(uint64_t serial, uint64_t item, uint8_t kind, struct lp_bytes content)
{
    const uint32_t bytes = kind == HISTORY_SNAP ? LP_MIN(content.size, 8u) : content.size;
    for (uint32_t i = 0; i < bytes; i++) {
        if (content.data[i] != content_at(serial, item, kind, i)) {
            return false;
        }
    }
    return bytes >= 8;
}

void
history_sealed(struct history *history, uint64_t lsn, bool last)
{
    for (uint64_t i = history->count; i > 0 && history->record[i - 1].lsn == 0; i--) {
        history->record[i - 1].lsn = lsn;
    }
    if (last && history->count > 0) {
        history->record[history->count - 1].last = true;
        history->record[history->count - 1].lsn = lsn;
    }
}

void
history_durable(struct history *history, uint64_t lsn)
{
    for (uint64_t i = history->durable; i < history->count; i++) {
        const struct history_record *record = &history->record[i];
        if (record->lsn == 0 || record->lsn > lsn) {
            return;
        }
        if (record->last) {
            history->durable = i + 1;
        }
    }
}

void
history_crash(struct history *history)
{
    while (history->count > 0 && history->record[history->count - 1].lsn == 0) {
        history->count--;
    }
    LP_ASSERT(history->durable <= history->count);
}

/* ---- checkpoints ---- */

void
history_checkpoint_begin(struct history *history)
{
    if (history->rotten && history->checkpoints == LP_COUNT_OF(history->checkpoint)) {
        history->checkpoints--; /* never mind the newest: it will hardly be asked for */
    }
    LP_ASSERT(history->checkpoints < LP_COUNT_OF(history->checkpoint));
    history->checkpoint[history->checkpoints++] = (struct history_checkpoint){.at = history->count};
}

void
history_checkpoint_end(struct history *history)
{
    history->checkpoint[history->checkpoints - 1].ended = true;
}

void
history_checkpoint_done(struct history *history)
{
    LP_ASSERT(history->checkpoints > 0);
    if (history->rotten) {
        return;
    }
    history->checkpoint[0] = history->checkpoint[history->checkpoints - 1];
    history->checkpoints = 1;
    LP_ASSERT(history->checkpoint[0].ended);
    history->checkpoint[0].done = true;
}

/* ---- recovery ---- */

void
history_recovery_begin(struct history *history)
{
    history->begun = false;
    history->at = 0;
    history->committed = 0;
}

/* Where recovery may begin: at the last checkpoint that is done, or at a later one. */
static uint64_t
recovery_start(const struct history *history, uint64_t serial)
{
    for (uint32_t i = 0; i < history->checkpoints; i++) {
        const struct history_checkpoint *it = &history->checkpoint[i];
        if (it->ended && it->at < history->count && history->record[it->at].serial == serial) {
            return it->at;
        }
    }
    LP_ASSERT(history->rotten || history->checkpoints == 0 ||
              !history->checkpoint[0].done);                              /* G2 */
    LP_ASSERT(history->count > 0 && history->record[0].serial == serial); /* G2 */
    return 0;
}

const struct history_record *
history_recovered(struct history *history, const struct lp_log_record *record)
{
    uint64_t serial;
    LP_ASSERT(record->content.size >= HISTORY_HEAD_BYTES); /* G1 */
    memcpy(&serial, record->content.data, sizeof(serial));
    if (!history->begun) {
        history->at = recovery_start(history, serial);
        history->committed = history->at;
        history->begun = true;
    }
    LP_ASSERT(history->at < history->count); /* G1, G5: it never was, or is void */
    const struct history_record *it = &history->record[history->at++];
    LP_ASSERT(it->serial == serial && it->kind == record->kind); /* G1, G5 */
    LP_ASSERT(it->bytes == record->content.size);                /* G1 */
    LP_ASSERT(it->place.segment == record->place.segment &&
              it->place.unit == record->place.unit);                                /* G1 */
    LP_ASSERT(history_content_is(it->serial, it->item, it->kind, record->content)); /* G1 */
    return it;
}

void
history_committed(struct history *history)
{
    if (history->begun) {
        LP_ASSERT(history->at > 0 && history->record[history->at - 1].last); /* G4 */
        history->committed = history->at;
    }
}

void
history_recovery_end(struct history *history)
{
    const uint64_t lossy = history->rotten ? HISTORY_LOSSY : 0;
    if (history->committed < history->durable) {
        const uint64_t missing = history->record[history->committed].lsn;
        const uint64_t durable = history->record[history->durable - 1].lsn;
        if (missing + lossy <= durable) {
            (void)fprintf(stderr, "durable to %llu, recovered up to before %llu\n",
                          (unsigned long long)durable, (unsigned long long)missing);
            LP_ASSERT(!"what was durable is gone"); /* G3 */
        }
        history->durable = history->committed;
    }
    history->count = history->committed; /* G5: from now on the rest never was */
    while (history->checkpoints > 0 &&
           history->checkpoint[history->checkpoints - 1].at >= history->count) {
        history->checkpoints--;
    }
}

/* ---- items ---- */

/* Of the first one that is not before it. */
static uint32_t
item_index(const struct history_items *items, uint64_t item)
{
    uint32_t low = 0;
    uint32_t high = items->count;
    while (low < high) {
        const uint32_t middle = low + (high - low) / 2;
        if (items->list[middle].item < item) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    return low;
}

struct history_item *
history_item_find(const struct history_items *items, uint64_t item)
{
    const uint32_t index = item_index(items, item);
    return index < items->count && items->list[index].item == item ? &items->list[index] : NULL;
}

void
history_item_set(struct history_items *items, const struct history_item *one)
{
    const uint32_t index = item_index(items, one->item);
    if (index < items->count && items->list[index].item == one->item) {
        items->list[index] = *one;
        return;
    }
    if (items->count == items->room) {
        items->room = items->room * 2 + 64;
        items->list = realloc(items->list, items->room * sizeof(*items->list));
        LP_ASSERT(items->list);
    }
    memmove(&items->list[index + 1], &items->list[index],
            (items->count - index) * sizeof(*items->list));
    items->list[index] = *one;
    items->count++;
}

void
history_item_drop(struct history_items *items, uint64_t item)
{
    const uint32_t index = item_index(items, item);
    if (index < items->count && items->list[index].item == item) {
        items->count--;
        memmove(&items->list[index], &items->list[index + 1],
                (items->count - index) * sizeof(*items->list));
    }
}

void
history_items_of(const struct history *history, struct history_items *ret_items)
{
    ret_items->count = 0;
    for (uint64_t i = 0; i < history->count; i++) {
        const struct history_record *record = &history->record[i];
        if (record->kind == HISTORY_DROP) {
            history_item_drop(ret_items, record->item);
        } else if (record->kind == HISTORY_PUT || record->kind == HISTORY_MOVE) {
            const struct history_item one = {.item = record->item,
                                             .serial = record->serial,
                                             .place = record->place,
                                             .bytes = record->bytes};
            history_item_set(ret_items, &one);
        }
    }
}

bool
history_items_equal(const struct history_items *a, const struct history_items *b)
{
    if (a->count != b->count) {
        return false;
    }
    for (uint32_t i = 0; i < a->count; i++) {
        const struct history_item *x = &a->list[i];
        const struct history_item *y = &b->list[i];
        if (x->item != y->item || x->serial != y->serial || x->bytes != y->bytes ||
            x->place.segment != y->place.segment || x->place.unit != y->place.unit) {
            return false;
        }
    }
    return true;
}
