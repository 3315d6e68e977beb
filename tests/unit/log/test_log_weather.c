/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Does a log keep what it said was durable, whatever happens to it?
 *
 * Method: a small store on top of the log (items that are added, acknowledged,
 * moved out of victims, and all written again for a checkpoint), on a disk
 * whose operations end in any order.  At a random moment, also in the middle of
 * recovery, everything dies, and any sectors that were on their way are there
 * or are not.  The next run must find the state as it was behind some batch k:
 * not before what was durable, and no chain in part.  Then it goes on from k.
 *
 *   test_log_weather [--from SEED] [--count N]
 *
 * A seed that fails is printed, with what to do to see it again.
 */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "dataplane/log/log.h"
#include "tests/lib/mem_disk.h"

#define SEEDS_USUALLY 700u
#define MEMORY_BYTES  (8u * 1024 * 1024)
#define VALUES_MAX    4096u
#define OPS_MAX       8192u
#define LSNS_MAX      8192u
#define PENDING_MAX   8192u
#define TURNS_MAX     20000u

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
    uint32_t bytes;
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
    if (kind == SNAP) {
        op->item = w->items[value];
    } else {
        item_set(w, &w->items[value], &op->item);
    }
    content_write(at, bytes, value, &op->item);
    return true;
}

static uint64_t
batch_end(struct weather *w, bool continues, uint32_t bytes)
{
    const uint64_t before = lp_log_sealed(w->log);
    const uint64_t lsn = lp_log_seal(w->log, continues);
    for (uint32_t i = w->op_count; i > 0 && w->ops[i - 1].lsn == 0; i--) {
        w->ops[i - 1].lsn = lsn;
    }
    CHECK(lsn < LSNS_MAX);
    if (lsn > before) {
        w->batches[lsn].continues = continues;
        w->batches[lsn].bytes = bytes;
    }
    return lsn;
}

/* Where the open batch begins, from its first record. */
static void
batch_place(struct weather *w, struct lp_log_place first)
{
    struct batch *batch = &w->batches[lp_log_sealed(w->log) + 1];
    batch->segment = first.segment;
    batch->offset = (uint64_t)first.unit * 8 / LP_DISK_ALIGN_BYTES * LP_DISK_ALIGN_BYTES;
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
    if (!lp_log_begin(w->log, 7000)) {
        return;
    }
    const uint32_t records = 1 + dice(w, 5);
    const uint32_t first = w->op_count;
    for (uint32_t i = 0; i < records && w->op_count - first < 5; i++) {
        const uint32_t at = w->op_count;
        if (!say_something(w)) {
            break;
        }
        if (at == first) {
            batch_place(w, w->ops[at].item.place);
        }
        if (batches > 1 && i == 0) {
            (void)batch_end(w, true, 0);
            if (!lp_log_begin(w->log, 0)) {
                return; /* the chain goes on in a later turn */
            }
            batches = 1;
        }
    }
    (void)batch_end(w, false, 0);
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
    if (lp_log_begin(w->log, 0)) {
        (void)batch_end(w, false, 0);
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
    if (!lp_log_begin(w->log, 3000)) {
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
    w->snap_lsn = batch_end(w, false, 0);
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
    if (victim == 0 || !lp_log_begin(w->log, 7000)) {
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
    (void)batch_end(w, false, 0);
}

/* --- runs ------------------------------------------------------------------------------------ */

static void
run_start(struct weather *w)
{
    /* Only pages that are touched cost anything. */
    w->memory = mmap(NULL, MEMORY_BYTES + LP_SPAN_BYTES, PROT_READ | PROT_WRITE,
                     MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    CHECK(w->memory != MAP_FAILED);
    const uintptr_t base = ((uintptr_t)w->memory + LP_SPAN_BYTES - 1) & ~(LP_SPAN_BYTES - 1ul);
    CHECK(lp_memory_init_boot((void *)base, MEMORY_BYTES, MEMORY_BYTES, &w->allocator) == LP_OK);
    w->options.disk = lp_mem_disk_contract(&w->disk);
    w->options.memory = w->allocator;
    w->pending_count = 0;
    w->reading = false;
    w->snapping = false;
    memset(w->found, 0, sizeof(w->found));
    CHECK(lp_log_init_boot(&w->options, &w->log) == LP_OK);
}

static void
run_end(struct weather *w)
{
    lp_mem_disk_crash(&w->disk, &w->random);
    lp_memory_fini(&w->allocator);
    CHECK(munmap(w->memory, MEMORY_BYTES + LP_SPAN_BYTES) == 0);
    w->log = NULL;
}

/* Some of what is in flight ends, in any order. */
static void
disk_some(struct weather *w)
{
    const bool recovering = lp_log_state(w->log) == LP_LOG_RECOVERING;
    for (uint32_t n = dice(w, recovering ? 5 : 4); n > 0 && w->disk.flight_count > 0; n--) {
        const uint32_t flight = dice(w, w->disk.flight_count);
        const enum lp_disk_op_kind kind = w->disk.flights[flight].op.kind;
        if (kind == LP_DISK_READ && dice(w, 50) == 0) {
            lp_mem_disk_complete(&w->disk, flight, LP_ERR_IO);
        } else if ((kind == LP_DISK_WRITE || kind == LP_DISK_CREATE) && (dice(w, 1000) < w->fail)) {
            lp_mem_disk_fail(&w->disk, flight, LP_ERR_IO, &w->random);
            w->failed_once = true;
        } else {
            lp_mem_disk_complete(&w->disk, flight, LP_OK);
        }
    }
}

static void
turn(struct weather *w)
{
    const uint64_t before = lp_log_durable(w->log);
    const bool fenced = lp_log_state(w->log) == LP_LOG_FENCED;
    (void)lp_log_step(w->log);
    CHECK(!fenced || lp_log_durable(w->log) == before);
    lp_log_check(w->log);
    if (lp_log_state(w->log) == LP_LOG_FENCED) {
        CHECK(w->failed_once);
    }
}

/* The state behind batch `lsn`. */
static void
state_at(struct weather *w, uint64_t lsn)
{
    memset(w->items, 0, sizeof(w->items));
    uint32_t kept = 0;
    while (kept < w->op_count && w->ops[kept].lsn != 0 && w->ops[kept].lsn <= lsn) {
        const struct op *op = &w->ops[kept++];
        if (op->kind != SNAP) {
            w->items[op->value] = op->item;
        }
    }
    w->op_count = kept;
}

static void
compare(struct weather *w)
{
    const uint64_t k = lp_log_sealed(w->log);
    uint64_t least = w->acked;
    while (least > 0 && w->batches[least].continues) {
        least--;
    }
    CHECK(k >= least);
    CHECK(k == 0 || !w->batches[k].continues);
    state_at(w, k);
    for (uint32_t value = 0; value < VALUES_MAX; value++) {
        const struct item *is = &w->found[value];
        const struct item *ought = &w->items[value];
        CHECK(is->live == ought->live);
        if (is->live) {
            CHECK(is->place.segment == ought->place.segment && is->place.unit == ought->place.unit);
            CHECK(is->bytes == ought->bytes);
        }
    }
    w->acked = k;
    w->batches[k + 1].continues = false;
}

/* Gives whether it came to be open. */
static bool
recover_until(struct weather *w, uint32_t turns)
{
    for (uint32_t i = 0; i < turns && lp_log_state(w->log) == LP_LOG_RECOVERING; i++) {
        lp_log_flush(w->log);
        disk_some(w);
        turn(w);
    }
    const enum lp_log_state state = lp_log_state(w->log);
    if (state == LP_LOG_DAMAGED) {
        const struct lp_log_fault *fault = lp_log_fault(w->log);
        (void)fprintf(stderr, "damage in %u at %llu: %s\n", fault->segment,
                      (unsigned long long)fault->offset, fault->what);
    }
    CHECK(state != LP_LOG_DAMAGED);
    if (state != LP_LOG_OPEN) {
        return false;
    }
    compare(w);
    return true;
}

static void
live_until(struct weather *w, uint32_t turns)
{
    for (uint32_t i = 0; i < turns && w->op_count + 64 < OPS_MAX; i++) {
        if (lp_log_state(w->log) == LP_LOG_OPEN) {
            if (chain_is_open(w)) {
                chain_end(w);
            } else if (w->snapping || dice(w, 6) == 0) {
                checkpoint_some(w);
            } else if (dice(w, 6) == 0) {
                copy_some(w);
            } else {
                write_some(w);
            }
        }
        read_one(w);
        lp_log_flush(w->log);
        disk_some(w);
        turn(w);
        w->acked = lp_log_durable(w->log);
    }
}

/* A clean end; what is left to do may be cut off by a crash. */
static bool
close_until(struct weather *w, uint32_t turns)
{
    lp_log_close_begin(w->log);
    for (uint32_t i = 0; i < turns && !lp_log_closed(w->log); i++) {
        lp_log_flush(w->log);
        disk_some(w);
        turn(w);
        w->acked = lp_log_durable(w->log);
    }
    return lp_log_closed(w->log);
}

static void
weather_init(struct weather *w, uint64_t seed)
{
    memset(w, 0, sizeof(*w));
    w->random = seed * 0x9e3779b97f4a7c15u | 1;
    (void)dice(w, 2);
    lp_mem_disk_init(&w->disk);
    w->disk.recycle = dice(w, 2);
    w->options.shard = dice(w, 64);
    w->options.salt = seed;
    w->options.segment_bytes_first = 32768u << dice(w, 3);
    w->options.segment_bytes = w->options.segment_bytes_first << dice(w, 3);
    w->fail = dice(w, 4) == 0 ? 5 : 0;
    const struct lp_log_hooks hooks = {hook_record, hook_commit, hook_read, w};
    w->options.hooks = hooks;
}

static void
one_seed(struct weather *w, uint64_t seed)
{
    seed_now = seed;
    weather_init(w, seed);
    const uint32_t runs = 2 + dice(w, 6);
    for (uint32_t run = 0; run < runs; run++) {
        w->failed_once = false;
        run_start(w);
        if (recover_until(w, dice(w, 4) == 0 ? dice(w, 40) : TURNS_MAX)) {
            live_until(w, dice(w, dice(w, 3) == 0 ? 600 : 60));
            if (dice(w, 3) == 0 && !chain_is_open(w)) {
                (void)close_until(w, dice(w, 60));
            }
        }
        run_end(w);
    }
    /* The last word, without faults. */
    w->fail = 0;
    w->failed_once = false;
    run_start(w);
    CHECK(recover_until(w, TURNS_MAX));
    run_end(w);
    lp_mem_disk_fini(&w->disk);
}

int
main(int argc, char **argv)
{
    uint64_t from = 1;
    uint64_t count = SEEDS_USUALLY;
    for (int i = 1; i + 1 < argc; i += 2) {
        if (strcmp(argv[i], "--from") == 0) {
            from = strtoull(argv[i + 1], NULL, 10);
        } else if (strcmp(argv[i], "--count") == 0) {
            count = strtoull(argv[i + 1], NULL, 10);
        }
    }
    (void)signal(SIGABRT, say_seed);
    struct weather *w = malloc(sizeof(*w));
    CHECK(w);
    for (uint64_t seed = from; seed < from + count; seed++) {
        one_seed(w, seed);
    }
    free(w);
    (void)printf("%llu seeds from %llu on\n", (unsigned long long)count, (unsigned long long)from);
    return 0;
}
