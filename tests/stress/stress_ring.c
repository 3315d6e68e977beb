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
#include <time.h>

#include "dataplane/base/ring.h"

/* So many through each ring, or fewer when a machine that has other things to do gives each turn
 * away: one slot takes two turns a record. */
#define RECORDS     200000u
#define RECORDS_MIN 4096u
#define LONG_NS     (4ull * 1000000000u)
#define LAST        UINT64_MAX /* the first word of the record that ends it */

struct side {
    struct lp_ring *ring;
    uint64_t seed;
    uint64_t waits; /* turns that found the ring full or empty */
    uint64_t records;
    uint64_t until_ns;
};

static uint64_t
now_ns(void)
{
    struct timespec now;
    LP_ASSERT(clock_gettime(CLOCK_MONOTONIC, &now) == 0);
    return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

static uint32_t
batch(struct side *side, uint32_t limit)
{
    side->seed = side->seed * 6364136223846793005u + 1442695040888963407u;
    return 1 + (uint32_t)(side->seed >> 33) % limit;
}

static bool
is_enough(const struct side *side, uint64_t count)
{
    return count >= RECORDS || (count >= RECORDS_MIN && now_ns() >= side->until_ns);
}

static bool
stage(struct side *side, uint64_t first_word)
{
    struct lp_record record;
    for (uint32_t i = 0; i < LP_COUNT_OF(record.word); i++) {
        record.word[i] = first_word + i;
    }
    return lp_ring_stage(side->ring, &record);
}

static void
wait_turn(struct side *side)
{
    side->waits++;
    sched_yield();
}

static void *
produce(void *context)
{
    struct side *side = context;
    while (!is_enough(side, side->records)) {
        uint32_t left = batch(side, 2 * side->ring->capacity);
        while (left > 0 && side->records < RECORDS && stage(side, side->records * 8)) {
            side->records++;
            left--;
        }
        (void)lp_ring_publish(side->ring); /* nothing new is fine */
        if (left > 0) {
            wait_turn(side);
        }
    }
    while (!stage(side, LAST)) {
        (void)lp_ring_publish(side->ring);
        wait_turn(side);
    }
    (void)lp_ring_publish(side->ring);
    return NULL;
}

static void *
consume(void *context)
{
    struct side *side = context;
    bool over = false;
    while (!over) {
        uint32_t left = batch(side, 2 * side->ring->capacity);
        const struct lp_record *record = NULL;
        while (left > 0 && !over && (record = lp_ring_take(side->ring)) != NULL) {
            over = record->word[0] == LAST;
            for (uint32_t i = 0; i < LP_COUNT_OF(record->word); i++) {
                LP_ASSERT(record->word[i] == (over ? LAST : side->records * 8) + i);
            }
            side->records += !over;
            left--;
        }
        lp_ring_give_back(side->ring);
        if (!over && !lp_ring_waiting(side->ring)) {
            wait_turn(side);
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

    struct side producer = {.ring = ring, .seed = capacity, .until_ns = now_ns() + LONG_NS};
    struct side consumer = {.ring = ring, .seed = capacity + 1000};
    pthread_t thread[2];
    LP_ASSERT(pthread_create(&thread[0], NULL, produce, &producer) == 0);
    LP_ASSERT(pthread_create(&thread[1], NULL, consume, &consumer) == 0);
    LP_ASSERT(pthread_join(thread[0], NULL) == 0);
    LP_ASSERT(pthread_join(thread[1], NULL) == 0);
    LP_ASSERT(consumer.records == producer.records);
    LP_ASSERT(!lp_ring_waiting(ring));
    LP_ASSERT(lp_ring_room(ring, capacity) == capacity);
    printf("%u slots: %llu records, full %llu times, empty %llu times\n", capacity,
           (unsigned long long)producer.records, (unsigned long long)producer.waits,
           (unsigned long long)consumer.waits);
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
