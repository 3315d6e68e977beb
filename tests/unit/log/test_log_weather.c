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
 * In the end one bit rots.
 *
 *   test_log_weather [--from SEED] [--count N]
 *
 * A seed that fails is printed, with what to do to see it again.
 */
#include "tests/unit/log/weather_store.h"

#define SEEDS_USUALLY 700u
#define MEMORY_BYTES  (8u * 1024 * 1024)
#define TURNS_MAX     20000u

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

/* One bit of what was durable changes.  Gives of which batch; 0: of none that is still there. */
static uint64_t
rot(struct weather *w)
{
    const uint64_t lsn = w->acked > 0 ? 1 + dice(w, (uint32_t)w->acked) : 0;
    const struct batch *batch = &w->batches[lsn];
    struct lp_mem_disk_file *file =
        lsn > 0 && batch->segment > 0 ? lp_mem_disk_file(&w->disk, batch->segment) : NULL;
    if (!file) {
        return 0;
    }
    const uint64_t at = batch->offset + dice(w, (uint32_t)(batch->end - batch->offset));
    file->data[at] ^= (uint8_t)(1u << dice(w, 8));
    return lsn;
}

/*
 * Damage is said to be where it is, or hurts nothing that recovery reads.  Only of the last
 * batches, which may have been on their way for all that anybody knows, it may be taken for the
 * end.
 */
static void
recover_rotten(struct weather *w, uint64_t lsn)
{
    const struct batch *batch = &w->batches[lsn];
    for (uint32_t i = 0; i < TURNS_MAX && lp_log_state(w->log) == LP_LOG_RECOVERING; i++) {
        lp_log_flush(w->log);
        disk_some(w);
        turn(w);
    }
    if (lp_log_state(w->log) == LP_LOG_DAMAGED) {
        const struct lp_log_fault *fault = lp_log_fault(w->log);
        CHECK(fault->segment == batch->segment);
        CHECK(fault->offset >= batch->offset && fault->offset < batch->end);
        return;
    }
    CHECK(lp_log_state(w->log) == LP_LOG_OPEN);
    if (lp_log_sealed(w->log) < lsn) {
        CHECK(w->acked - lsn < LP_LOG_BATCHES);
        w->acked = lsn - 1;
    }
    compare(w);
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
    if (dice(w, 2) == 0) {
        run_start(w);
        CHECK(recover_until(w, TURNS_MAX));
        run_end(w);
    }
    const uint64_t rotten = rot(w);
    run_start(w);
    if (rotten > 0) {
        recover_rotten(w, rotten);
    } else {
        CHECK(recover_until(w, TURNS_MAX));
    }
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
