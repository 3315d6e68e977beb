/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Is the memory order of the control ring right, and do the cursors survive
 * an end that is thrown away and attached again?
 *
 * Method: two threads as the two processes, payloads from nothing to the
 * longest, each side re-attached every few hundred records.
 */
#include <pthread.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>

#include <lepus/control_ring.h>

#define CAPACITY  (256u * 1024u)
#define RECORDS   60000u
#define RE_ATTACH 500u

struct side {
    struct lp_control_ring *ring;
    uint64_t waits;
};

/* Both sides know how long record n is and what is in it. */
static uint32_t
payload_bytes(uint64_t n)
{
    uint64_t x = (n + 1) * 0x9e3779b97f4a7c15u;
    x ^= x >> 29;
    const bool is_long = x % 512 == 0;
    return (uint32_t)((x >> 16) % (is_long ? LP_CONTROL_PAYLOAD_MAX_BYTES + 1 : 200));
}

static void *
produce(void *context)
{
    struct side *side = context;
    struct lp_control_end end;
    uint8_t *payload = malloc(LP_CONTROL_PAYLOAD_MAX_BYTES);
    LP_ASSERT(payload != NULL);
    LP_ASSERT(lp_control_end_init(&end, side->ring, CAPACITY, true));
    for (uint64_t n = 0; n < RECORDS; n++) {
        const uint32_t bytes = payload_bytes(n);
        memset(payload, (int)(n % 256), bytes);
        while (!lp_control_push(&end, (uint16_t)(n % 60000 + 1), n, lp_bytes_of(payload, bytes))) {
            side->waits++;
            sched_yield();
        }
        if (n % RE_ATTACH == 0) {
            LP_ASSERT(lp_control_end_init(&end, side->ring, CAPACITY, true));
        }
    }
    free(payload);
    return NULL;
}

static void *
consume(void *context)
{
    struct side *side = context;
    struct lp_control_end end;
    uint8_t *scratch = malloc(LP_CONTROL_PAYLOAD_MAX_BYTES);
    LP_ASSERT(scratch != NULL);
    LP_ASSERT(lp_control_end_init(&end, side->ring, CAPACITY, false));
    for (uint64_t n = 0; n < RECORDS; n++) {
        struct lp_control_record record = {0};
        enum lp_control_pop result;
        while ((result = lp_control_pop(&end, scratch, &record)) == LP_CONTROL_POP_EMPTY) {
            side->waits++;
            sched_yield();
        }
        LP_ASSERT(result == LP_CONTROL_POP_RECORD);
        LP_ASSERT(record.sequence == n);
        LP_ASSERT(record.type == n % 60000 + 1);
        LP_ASSERT(record.payload.size == payload_bytes(n));
        for (uint32_t i = 0; i < record.payload.size; i++) {
            LP_ASSERT(record.payload.data[i] == n % 256);
        }
        if (n % RE_ATTACH == RE_ATTACH / 2) {
            LP_ASSERT(lp_control_end_init(&end, side->ring, CAPACITY, false));
        }
    }
    free(scratch);
    return NULL;
}

int
main(void)
{
    struct lp_control_ring *ring = calloc(1, lp_control_ring_bytes(CAPACITY));
    LP_ASSERT(ring != NULL);
    lp_control_ring_init_boot(ring, CAPACITY);
    struct side producer = {.ring = ring};
    struct side consumer = {.ring = ring};
    pthread_t thread[2];
    LP_ASSERT(pthread_create(&thread[0], NULL, produce, &producer) == 0);
    LP_ASSERT(pthread_create(&thread[1], NULL, consume, &consumer) == 0);
    LP_ASSERT(pthread_join(thread[0], NULL) == 0);
    LP_ASSERT(pthread_join(thread[1], NULL) == 0);
    LP_ASSERT(ring->head == ring->tail);
    printf("%u records, full %llu times, empty %llu times\n", RECORDS,
           (unsigned long long)producer.waits, (unsigned long long)consumer.waits);
    free(ring);
    return 0;
}
