/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Is the memory order of lp_ring right?
 *
 * Method: two threads, rings from one slot up, batch sizes drawn anew each
 * time, every word of every record checked.  ThreadSanitizer sees a pair of
 * acquire and release that is missing even when the processor forgives it.
 */
#include <pthread.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>

#include "dataplane/base/ring.h"

#define RECORDS 200000u

struct side {
    struct lp_ring *ring;
    uint64_t seed;
    uint64_t waits; /* turns that found the ring full or empty */
};

static uint32_t
batch(struct side *side, uint32_t limit)
{
    side->seed = side->seed * 6364136223846793005u + 1442695040888963407u;
    return 1 + (uint32_t)(side->seed >> 33) % limit;
}

static void *
produce(void *context)
{
    struct side *side = context;
    uint64_t next = 0;
    while (next < RECORDS) {
        uint32_t left = batch(side, 2 * side->ring->capacity);
        while (left > 0 && next < RECORDS) {
            struct lp_record record;
            for (uint32_t i = 0; i < LP_COUNT_OF(record.word); i++) {
                record.word[i] = next * 8 + i;
            }
            if (!lp_ring_stage(side->ring, &record)) {
                break;
            }
            next++;
            left--;
        }
        (void)lp_ring_publish(side->ring); /* nothing new is fine */
        if (left > 0) {
            side->waits++;
            sched_yield();
        }
    }
    return NULL;
}

static void *
consume(void *context)
{
    struct side *side = context;
    uint64_t next = 0;
    while (next < RECORDS) {
        uint32_t left = batch(side, 2 * side->ring->capacity);
        const struct lp_record *record = NULL;
        while (left > 0 && (record = lp_ring_take(side->ring)) != NULL) {
            for (uint32_t i = 0; i < LP_COUNT_OF(record->word); i++) {
                LP_ASSERT(record->word[i] == next * 8 + i);
            }
            next++;
            left--;
        }
        lp_ring_give_back(side->ring);
        if (!lp_ring_waiting(side->ring)) {
            side->waits++;
            sched_yield();
        }
    }
    return NULL;
}

static void
run(uint32_t capacity)
{
    const size_t bytes = (lp_ring_bytes(capacity) + 63) / 64 * 64;
    void *memory = aligned_alloc(LP_CACHE_LINE_BYTES, bytes);
    struct lp_ring *ring = NULL;
    LP_ASSERT(memory != NULL);
    LP_ASSERT(lp_ring_init_boot(memory, bytes, capacity, &ring) == LP_OK);

    struct side producer = {.ring = ring, .seed = capacity};
    struct side consumer = {.ring = ring, .seed = capacity + 1000};
    pthread_t thread[2];
    LP_ASSERT(pthread_create(&thread[0], NULL, produce, &producer) == 0);
    LP_ASSERT(pthread_create(&thread[1], NULL, consume, &consumer) == 0);
    LP_ASSERT(pthread_join(thread[0], NULL) == 0);
    LP_ASSERT(pthread_join(thread[1], NULL) == 0);
    LP_ASSERT(!lp_ring_waiting(ring));
    LP_ASSERT(lp_ring_room(ring, capacity) == capacity);
    printf("%u slots: %u records, full %llu times, empty %llu times\n", capacity, RECORDS,
           (unsigned long long)producer.waits, (unsigned long long)consumer.waits);
    free(memory);
}

int
main(void)
{
    static const uint32_t capacities[] = {1, 2, 8, 64, 1024};
    for (size_t i = 0; i < LP_COUNT_OF(capacities); i++) {
        run(capacities[i]);
    }
    return 0;
}
