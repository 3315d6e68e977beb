/* SPDX-License-Identifier: Apache-2.0 */
/*
 * gate.c - how many instructions does one operation of the core take?
 *
 *   gate OPERATION COUNT
 *
 * runs one operation COUNT times. scripts/gates runs it under callgrind with
 * two counts; the difference, divided, is the price of one, set-up left out.
 * An instruction count is the same on a busy machine as on an idle one.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "dataplane/base/memory.h"
#include "dataplane/base/pool.h"
#include "dataplane/base/ring.h"
#include "dataplane/base/wheel.h"

#include "gate_net.h"

#define MEMORY_BYTES (16u << 20)
#define BURST        32u

struct bench {
    struct lp_memory *memory;
    struct lp_ring *ring;
    struct lp_pool pool;
    struct lp_wheel wheel;
    struct lp_timer timers[BURST];
};

void
lp_panic(const char *expr, const char *file, int line)
{
    fprintf(stderr, "%s:%d: %s\n", file, line, expr);
    abort();
}

/* One record through the mesh's ring, in bursts as a turn makes them. */
static void
ring_record(struct bench *b, uint32_t count)
{
    struct lp_record record = {{1}};
    for (uint32_t done = 0; done < count; done += BURST) {
        for (uint32_t i = 0; i < BURST; i++) {
            record.word[0] = i;
            LP_ASSERT(lp_ring_stage(b->ring, &record));
        }
        (void)lp_ring_publish(b->ring); /* there is something: just staged */
        for (uint32_t i = 0; i < BURST; i++) {
            const struct lp_record *taken = lp_ring_take(b->ring);
            LP_ASSERT(taken != NULL && taken->word[0] == i);
        }
        lp_ring_give_back(b->ring);
    }
}

/* A block of a message's size, taken and given back while others of its size are in use. */
static void
memory_block(struct bench *b, uint32_t count)
{
    for (uint32_t bytes = 200; bytes < 264; bytes++) {
        LP_ASSERT(lp_memory_alloc(b->memory, bytes) != NULL);
    }
    for (uint32_t i = 0; i < count; i++) {
        void *block = lp_memory_alloc(b->memory, 200 + i % 64);
        LP_ASSERT(block != NULL);
        lp_memory_release(b->memory, &block);
    }
}

/* An item taken, found by its handle, and given back. */
static void
pool_item(struct bench *b, uint32_t count)
{
    for (uint32_t i = 0; i < count; i++) {
        lp_handle handle = LP_HANDLE_NONE;
        LP_ASSERT(lp_pool_alloc(&b->pool, &handle) != NULL);
        LP_ASSERT(lp_pool_get(&b->pool, handle) != NULL);
        lp_pool_release(&b->pool, handle);
    }
}

static void
on_timer(void *context, struct lp_timer *timer, uint64_t now_ns)
{
    (void)context;
    (void)timer;
    (void)now_ns;
}

/* A heartbeat's timer moved further out, which happens with every packet. */
static void
timer_rearm(struct bench *b, uint32_t count)
{
    for (uint32_t i = 0; i < count; i++) {
        lp_timer_arm(&b->wheel, &b->timers[i % BURST], on_timer, 1000000000ull * 60 + i);
    }
}

/* A timer armed, waited for and fired. */
static void
timer_fire(struct bench *b, uint32_t count)
{
    static const uint64_t step_ns = 50000000ull;
    uint64_t now_ns = step_ns;
    uint32_t fired = 0;
    for (uint32_t done = 0; done < count; done += BURST) {
        for (uint32_t i = 0; i < BURST; i++) {
            lp_timer_arm(&b->wheel, &b->timers[i], on_timer, now_ns + i * 100000ull);
        }
        now_ns += step_ns;
        fired += lp_wheel_advance(&b->wheel, now_ns, UINT32_MAX, NULL);
    }
    LP_ASSERT(fired >= count);
}

/* Of a bulk transfer over frames of 1,500 bytes, a burst a turn. */
static void
segment_bulk(struct bench *b, uint32_t count)
{
    (void)b;
    gate_segments(count, BURST, 1448);
}

/* A message alone in its turn: the device, the event, and the turn's end. */
static void
segment_alone(struct bench *b, uint32_t count)
{
    (void)b;
    gate_segments(count, 1, 100);
}

static const struct {
    const char *name;
    void (*run)(struct bench *b, uint32_t count);
} operations[] = {
    {"ring_record", ring_record},     {"memory_block", memory_block},
    {"pool_item", pool_item},         {"timer_rearm", timer_rearm},
    {"timer_fire", timer_fire},       {"segment_bulk", segment_bulk},
    {"segment_alone", segment_alone},
};

static void
set_up(struct bench *b)
{
    void *memory = aligned_alloc(LP_SPAN_BYTES, MEMORY_BYTES);
    void *ring = aligned_alloc(LP_PAIR_BYTES, 1u << 20);
    LP_ASSERT(memory != NULL && ring != NULL);
    memset(memory, 0, MEMORY_BYTES);
    memset(ring, 0, 1u << 20);
    LP_ASSERT(lp_memory_init_boot(memory, MEMORY_BYTES, MEMORY_BYTES / 2, &b->memory) == LP_OK);
    LP_ASSERT(lp_ring_init_boot(ring, 1u << 20, 1024, &b->ring) == LP_OK);
    LP_ASSERT(lp_pool_init_boot(&b->pool, "gate", b->memory, 128, 4096) == LP_OK);
    lp_wheel_init(&b->wheel, 0);
    memset(b->timers, 0, sizeof(b->timers));
}

int
main(int argc, char **argv)
{
    static struct bench bench;
    if (argc != 3) {
        fprintf(stderr, "usage: gate OPERATION COUNT\n");
        return 2;
    }
    const uint32_t count = (uint32_t)strtoul(argv[2], NULL, 10);
    set_up(&bench);
    for (size_t i = 0; i < LP_COUNT_OF(operations); i++) {
        if (strcmp(operations[i].name, argv[1]) == 0) {
            operations[i].run(&bench, count);
            return 0;
        }
    }
    fprintf(stderr, "gate: no operation %s\n", argv[1]);
    return 2;
}
