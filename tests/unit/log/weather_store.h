/* SPDX-License-Identifier: Apache-2.0 */
/*
 * weather_store.h - a small store on top of a log, for test_log_weather.c:
 * items that are added, acknowledged, moved out of victims, and all written
 * again for a checkpoint.  It remembers what it wrote, so that what recovery
 * gives can be compared with the state behind any batch.
 */
#pragma once

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "dataplane/log/log.h"
#include "tests/lib/mem_disk.h"

#define VALUES_MAX  4096u
#define OPS_MAX     8192u
#define LSNS_MAX    8192u
#define PENDING_MAX 8192u

#define CHECK(condition) ((condition) ? (void)0 : failed(#condition, __LINE__))

enum kind { ADD = 1, ACK, MOVE, SNAP };

struct item {
    bool live;
    struct lp_log_place place;
    uint32_t bytes; /* of the content; a multiple of 8, at least 8 */
};

struct op {
    enum kind kind;
    uint32_t value;
    uint64_t lsn;
    struct item item;
};

struct batch {
    bool continues;
    uint32_t segment;
    uint64_t offset;
    uint64_t end; /* of its last record */
};

struct weather {
    uint64_t random;
    struct lp_mem_disk disk;
    void *memory;
    struct lp_memory *allocator;
    struct lp_log *log;
    struct lp_log_options options;
    uint32_t fail; /* of 1000 writes */
    bool failed_once;

    /* What was written: of all runs, without what a crash made void. */
    struct op ops[OPS_MAX];
    uint32_t op_count;
    struct batch batches[LSNS_MAX];
    uint32_t value_next;
    uint64_t acked; /* was durable */
    struct item items[VALUES_MAX];

    /* What recovery gave. */
    struct op pending[PENDING_MAX];
    uint32_t pending_count;
    struct item found[VALUES_MAX];

    /* A read that is under way. */
    bool reading;
    uint32_t read_value;
    struct item read_item;

    bool snapping; /* a checkpoint's items are being written */
    uint32_t snap_next;
    uint64_t snap_lsn;
};

static uint64_t seed_now;

static void
say_seed(int signal_number)
{
    char text[128];
    const int size = snprintf(text, sizeof(text),
                              "seed %llu failed; again: test_log_weather --from %llu --count 1\n",
                              (unsigned long long)seed_now, (unsigned long long)seed_now);
    (void)!write(STDERR_FILENO, text, (size_t)size);
    _exit(signal_number == SIGABRT ? 1 : 2);
}

static LP_NORETURN void
failed(const char *what, int line)
{
    (void)fprintf(stderr, "%s:%d: not so: %s\n", __FILE__, line, what);
    abort();
}

static uint32_t
dice(struct weather *w, uint32_t sides)
{
    w->random ^= w->random << 13;
    w->random ^= w->random >> 7;
    w->random ^= w->random << 17;
    return (uint32_t)((w->random * 0x2545f4914f6cdd1du >> 33) % sides);
}

/* --- contents: value, place and bytes of an item, then the value over and over --------- */

#define HEAD_BYTES 24u

static void
content_write(uint8_t *to, uint32_t bytes, uint32_t value, const struct item *item)
{
    for (uint32_t at = 0; at < bytes; at += 4) {
        memcpy(to + at, &value, 4);
    }
    if (bytes >= HEAD_BYTES) {
        memcpy(to + 8, &item->place, 8);
        memcpy(to + 16, &item->bytes, 4);
    }
}

static uint32_t
content_value(struct lp_bytes content)
{
    uint32_t value;
    uint32_t again;
    CHECK(content.size >= HEAD_BYTES);
    memcpy(&value, content.data, 4);
    for (uint32_t at = HEAD_BYTES; at + 4 <= content.size; at += 4) {
        memcpy(&again, content.data + at, 4);
        CHECK(again == value);
    }
    CHECK(value < VALUES_MAX);
    return value;
}

/* --- what recovery gives ----------------------------------------------------------------- */

static bool
hook_record(void *context, const struct lp_log_record *record)
{
    struct weather *w = context;
    CHECK(w->pending_count < PENDING_MAX);
    struct op *op = &w->pending[w->pending_count++];
    op->kind = (enum kind)record->kind;
    op->value = content_value(record->content);
    op->item.live = op->kind != ACK;
    op->item.place = record->place;
    op->item.bytes = record->content.size;
    if (op->kind == SNAP) {
        memcpy(&op->item.place, record->content.data + 8, 8);
        memcpy(&op->item.bytes, record->content.data + 16, 4);
    }
    return true;
}

/* The item becomes another; the log is told what is needed of it. */
static void
item_set(struct weather *w, struct item *to, const struct item *from)
{
    const struct item old = *to;
    if (from->live) {
        lp_log_hold(w->log, from->place, lp_log_record_bytes(from->bytes));
    }
    if (old.live) {
        lp_log_let_go(w->log, old.place, lp_log_record_bytes(old.bytes));
    }
    *to = *from;
}

static bool
hook_commit(void *context)
{
    struct weather *w = context;
    for (uint32_t i = 0; i < w->pending_count; i++) {
        item_set(w, &w->found[w->pending[i].value], &w->pending[i].item);
    }
    w->pending_count = 0;
    return true;
}

static void
hook_read(void *context, uint64_t user, struct lp_bytes data, const struct lp_log_fault *fault)
{
    struct weather *w = context;
    struct lp_log_record record;
    CHECK(w->reading && user == w->read_value);
    w->reading = false;
    if (fault->err != LP_OK) {
        CHECK(data.size == 0);
        return;
    }
    CHECK(lp_log_parse(data, w->read_item.place, &record));
    CHECK(content_value(record.content) == w->read_value);
    CHECK(record.content.size == w->read_item.bytes);
}

static void
read_one(struct weather *w)
{
    const uint32_t value = dice(w, w->value_next + 1);
    const struct item *item = &w->items[value];
    if (w->reading || !item->live ||
        !lp_log_place_before(item->place, lp_log_durable_place(w->log))) {
        return;
    }
    w->read_value = value;
    w->read_item = *item;
    w->reading =
        lp_log_read(w->log, item->place, (uint32_t)lp_log_record_bytes(item->bytes), value);
}

/* --- what is written ----------------------------------------------------------------------- */

static bool
batch_begin(struct weather *w, uint64_t chain_bytes)
{
    w->batches[lp_log_sealed(w->log) + 1].segment = 0; /* not known before its first record */
    return lp_log_begin(w->log, chain_bytes);
}

/* LSN 0: it belongs to the batch that is open. */
static bool
say(struct weather *w, enum kind kind, uint32_t value, uint32_t bytes)
{
    if (w->op_count == OPS_MAX || lp_log_room(w->log) < bytes) {
        return false;
    }
    struct op *op = &w->ops[w->op_count++];
    op->kind = kind;
    op->value = value;
    op->lsn = 0;
    op->item.live = kind != ACK;
    op->item.bytes = bytes;
    uint8_t *at = lp_log_record(w->log, (uint8_t)kind, bytes, &op->item.place);
    const struct lp_log_place at_place = op->item.place;
    struct batch *batch = &w->batches[lp_log_sealed(w->log) + 1];
    if (batch->segment == 0) {
        batch->segment = at_place.segment;
        batch->offset = (uint64_t)at_place.unit * LP_LOG_UNIT_BYTES - LP_LOG_HEADER_BYTES;
    }
    batch->end = (uint64_t)at_place.unit * LP_LOG_UNIT_BYTES + lp_log_record_bytes(bytes);
    if (kind == SNAP) {
        op->item = w->items[value];
    } else {
        item_set(w, &w->items[value], &op->item);
    }
    content_write(at, bytes, value, &op->item);
    return true;
}

static uint64_t
batch_end(struct weather *w, bool continues)
{
    const uint64_t before = lp_log_sealed(w->log);
    const uint64_t lsn = lp_log_seal(w->log, continues);
    for (uint32_t i = w->op_count; i > 0 && w->ops[i - 1].lsn == 0; i--) {
        w->ops[i - 1].lsn = lsn;
    }
    CHECK(lsn < LSNS_MAX);
    if (lsn > before) {
        w->batches[lsn].continues = continues;
    }
    return lsn;
}

static uint32_t
some_bytes(struct weather *w)
{
    const uint32_t most = dice(w, 8) ? 300 : 6000;
    return HEAD_BYTES + 8 * dice(w, most / 8);
}

/* The first record of a batch; false: there is nothing to say. */
static bool
say_something(struct weather *w)
{
    const uint32_t before = w->op_count;
    if (dice(w, 5) < 2) {
        for (uint32_t tries = 0; tries < 8; tries++) {
            const uint32_t value = dice(w, w->value_next + 1);
            if (w->items[value].live) {
                (void)say(w, ACK, value, HEAD_BYTES);
                break;
            }
        }
    } else if (w->value_next + 1 < VALUES_MAX && say(w, ADD, w->value_next, some_bytes(w))) {
        w->value_next++;
    }
    return w->op_count > before;
}

/* One batch, or a chain of some. */
static void
write_some(struct weather *w)
{
    uint32_t batches = dice(w, 4) ? 1 : 1 + dice(w, 2);
    if (!batch_begin(w, 7000)) {
        return;
    }
    const uint32_t records = 1 + dice(w, 5);
    const uint32_t first = w->op_count;
    for (uint32_t i = 0; i < records && w->op_count - first < 5; i++) {
        if (!say_something(w)) {
            break;
        }
        if (batches > 1 && i == 0) {
            (void)batch_end(w, true);
            if (!batch_begin(w, 0)) {
                return; /* the chain goes on in a later turn */
            }
            batches = 1;
        }
    }
    (void)batch_end(w, false);
}

/* A chain that write_some() could not end. */
static bool
chain_is_open(const struct weather *w)
{
    const uint64_t lsn = lp_log_sealed(w->log);
    return lsn > 0 && w->batches[lsn].continues;
}

static void
chain_end(struct weather *w)
{
    if (batch_begin(w, 0)) {
        (void)batch_end(w, false);
    }
}

static void
checkpoint_some(struct weather *w)
{
    if (!w->snapping) {
        if (!lp_log_checkpoint_due(w->log) && dice(w, 40) > 0) {
            return;
        }
        if (lp_log_checkpointing(w->log)) {
            return;
        }
        lp_log_checkpoint_begin(w->log);
        w->snapping = true;
        w->snap_next = 0;
    }
    if (!batch_begin(w, 3000)) {
        return;
    }
    for (uint32_t i = 0; i < 40 && w->snap_next < w->value_next; w->snap_next++) {
        if (w->items[w->snap_next].live) {
            if (!say(w, SNAP, w->snap_next, HEAD_BYTES)) {
                break;
            }
            i++;
        }
    }
    w->snap_lsn = batch_end(w, false);
    if (w->snap_next == w->value_next) {
        lp_log_checkpoint_end(w->log, w->snap_lsn);
        w->snapping = false;
    }
}

/* Some of what is held in a victim is written anew. */
static void
copy_some(struct weather *w)
{
    const uint32_t victim = lp_log_victim(w->log);
    if (victim == 0 || !batch_begin(w, 7000)) {
        return;
    }
    uint32_t copied = 0;
    for (uint32_t value = 0; value < w->value_next && copied < 3; value++) {
        const struct item *item = &w->items[value];
        if (item->live && item->place.segment == victim) {
            if (!say(w, MOVE, value, item->bytes)) {
                break;
            }
            copied++;
        }
    }
    CHECK(copied > 0);
    (void)batch_end(w, false);
}
