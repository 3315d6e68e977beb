/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Do records cross the shared ring unharmed, and can a peer that writes
 * whatever it likes into shared memory do more than make us stop?
 *
 * Method: ordinary use and wraps with a model of what was sent; then every
 * field of header and ring forged by hand; then whole rings of seeded
 * garbage.  The ring lies in a heap block of exactly its size.
 */
#include "tests/unit/base/base_test.h"

#include <lepus/control_region.h>

#define CAPACITY (256u * 1024u)

struct pair {
    struct lp_control_ring *ring;
    struct lp_control_end producer;
    struct lp_control_end consumer;
    uint8_t *scratch; /* exactly what the contract asks for */
};

static struct pair
pair_make(void)
{
    struct pair pair;
    pair.ring = calloc(1, lp_control_ring_bytes(CAPACITY));
    pair.scratch = malloc(LP_CONTROL_PAYLOAD_MAX_BYTES);
    assert_non_null(pair.ring);
    assert_non_null(pair.scratch);
    lp_control_ring_init_boot(pair.ring, CAPACITY);
    assert_true(lp_control_end_init(&pair.producer, pair.ring, CAPACITY, true));
    assert_true(lp_control_end_init(&pair.consumer, pair.ring, CAPACITY, false));
    return pair;
}

static void
pair_free(struct pair *pair)
{
    free(pair->ring);
    free(pair->scratch);
}

static struct lp_bytes
payload_of(uint64_t sequence, uint32_t size)
{
    static uint8_t payload[LP_CONTROL_PAYLOAD_MAX_BYTES];
    memset(payload, (int)(sequence % 251), size);
    return lp_bytes_of(payload, size);
}

static uint32_t
size_of(uint64_t sequence)
{
    struct random random = {sequence};
    const uint32_t limit = random_below(&random, 8) == 0 ? LP_CONTROL_PAYLOAD_MAX_BYTES + 1 : 300;
    return random_below(&random, limit);
}

static void
expect_pop(struct pair *pair, uint64_t sequence)
{
    struct lp_control_record record = {0};
    assert_int_equal(lp_control_pop(&pair->consumer, pair->scratch, &record),
                     LP_CONTROL_POP_RECORD);
    assert_true(record.sequence == sequence);
    assert_int_equal(record.type, sequence % 1000 + 1);
    assert_true(lp_bytes_equal(record.payload, payload_of(sequence, size_of(sequence))));
}

static bool
push(struct pair *pair, uint64_t sequence)
{
    return lp_control_push(&pair->producer, (uint16_t)(sequence % 1000 + 1), sequence,
                           payload_of(sequence, size_of(sequence)));
}

static enum lp_control_pop
pop(struct pair *pair)
{
    struct lp_control_record record = {0};
    return lp_control_pop(&pair->consumer, pair->scratch, &record);
}

static void
records_arrive_in_order_and_whole_across_many_laps(void **unused)
{
    (void)unused;
    struct pair pair = pair_make();
    struct random random = {1};
    uint64_t sent = 0;
    uint64_t received = 0;
    bool was_full = false;
    while (received < 3000) {
        for (uint32_t n = random_below(&random, 30); n > 0; n--) {
            if (!push(&pair, sent)) {
                was_full = true;
                break;
            }
            sent++;
        }
        for (uint32_t n = random_below(&random, 30); n > 0 && received < sent; n--) {
            expect_pop(&pair, received++);
        }
        if (received == sent) {
            assert_int_equal(pop(&pair), LP_CONTROL_POP_EMPTY);
        }
    }
    assert_true(was_full);
    assert_true(pair.ring->tail > 4 * CAPACITY);
    pair_free(&pair);
}

static void
the_longest_payload_fits_at_every_offset(void **unused)
{
    (void)unused;
    struct pair pair = pair_make();
    const struct lp_bytes longest = payload_of(7, LP_CONTROL_PAYLOAD_MAX_BYTES);
    for (uint32_t start = 0; start < CAPACITY; start += 1000) {
        struct lp_control_record record = {0};
        assert_true(lp_control_push(&pair.producer, 1, 1, payload_of(1, 976)));
        assert_int_equal(lp_control_pop(&pair.consumer, pair.scratch, &record),
                         LP_CONTROL_POP_RECORD);
        assert_true(lp_control_push(&pair.producer, 1, 2, longest));
        assert_int_equal(lp_control_pop(&pair.consumer, pair.scratch, &record),
                         LP_CONTROL_POP_RECORD);
        assert_int_equal(record.payload.size, LP_CONTROL_PAYLOAD_MAX_BYTES);
    }
    pair_free(&pair);
}

static void
a_full_ring_takes_nothing_and_goes_on_when_drained(void **unused)
{
    (void)unused;
    struct pair pair = pair_make();
    uint64_t sent = 0;
    while (push(&pair, sent)) {
        sent++;
    }
    const uint64_t tail = pair.ring->tail;
    assert_false(push(&pair, sent));
    assert_true(pair.ring->tail == tail);
    for (uint64_t i = 0; i < sent; i++) {
        expect_pop(&pair, i);
    }
    assert_int_equal(pop(&pair), LP_CONTROL_POP_EMPTY);
    assert_true(push(&pair, sent));
    expect_pop(&pair, sent);
    pair_free(&pair);
}

static void
a_process_that_attaches_again_goes_on_where_the_last_one_was(void **unused)
{
    (void)unused;
    struct pair pair = pair_make();
    uint64_t sent = 0;
    uint64_t received = 0;
    for (uint32_t round = 0; round < 500; round++) {
        while (sent < received + 3 && push(&pair, sent)) {
            sent++;
        }
        expect_pop(&pair, received++);
        memset(&pair.producer, 0xee, sizeof(pair.producer));
        memset(&pair.consumer, 0xee, sizeof(pair.consumer));
        assert_true(lp_control_end_init(&pair.producer, pair.ring, CAPACITY, true));
        assert_true(lp_control_end_init(&pair.consumer, pair.ring, CAPACITY, false));
    }
    pair_free(&pair);
}

static void
a_ring_that_does_not_look_like_one_is_not_attached_to(void **unused)
{
    (void)unused;
    struct pair pair = pair_make();
    struct lp_control_ring *ring = pair.ring;
    struct lp_control_end end;
    assert_false(lp_control_end_init(&end, ring, CAPACITY * 2, true));
    ring->magic++;
    assert_false(lp_control_end_init(&end, ring, CAPACITY, true));
    ring->magic--;
    ring->capacity_bytes = CAPACITY * 2; /* told otherwise out of band */
    assert_false(lp_control_end_init(&end, ring, CAPACITY, true));
    ring->capacity_bytes = CAPACITY;
    ring->tail = CAPACITY + 8;
    assert_false(lp_control_end_init(&end, ring, CAPACITY, true));
    ring->tail = 4;
    assert_false(lp_control_end_init(&end, ring, CAPACITY, true));
    ring->tail = 8;
    ring->head = 16;
    assert_false(lp_control_end_init(&end, ring, CAPACITY, false));
    ring->head = 8;
    assert_true(lp_control_end_init(&end, ring, CAPACITY, false));
    pair_free(&pair);
}

/* --- a hostile producer --------------------------------------------------- */

static void
a_tail_beyond_the_ring_is_broken(void **unused)
{
    (void)unused;
    static const uint64_t tails[] = {CAPACITY + 8, UINT64_MAX - 7, 1ull << 63, 1, 7, 12};
    for (size_t i = 0; i < LP_COUNT_OF(tails); i++) {
        struct pair pair = pair_make();
        pair.ring->tail = tails[i];
        assert_int_equal(pop(&pair), LP_CONTROL_POP_BROKEN);
        assert_int_equal(pop(&pair), LP_CONTROL_POP_BROKEN);
        pair_free(&pair);
    }
}

static void
a_forged_record_header_is_broken(void **unused)
{
    (void)unused;
    static const struct {
        uint32_t size;
        uint16_t version, type;
        uint32_t published;
    } forged[] = {
        {0, 1, 1, 64}, /* shorter than its own header */
        {15, 1, 1, 64},
        {64 + 1, 1, 1, 64}, /* longer than what was published */
        {UINT32_MAX, 1, 1, 64},
        {UINT32_MAX - 6, 1, 1, CAPACITY},                    /* its padding overflows 32 bits */
        {LP_CONTROL_PAYLOAD_MAX_BYTES + 17, 1, 1, CAPACITY}, /* longer than any record */
        {16, 2, 1, 64},                                      /* a version of the future */
        {16, 0, 1, 64},
        {16, UINT16_MAX, 0, 64},
        {8, 0, 0, 64}, /* a skip that ends before the lap does */
        {CAPACITY - 8, 0, 0, CAPACITY},
        {CAPACITY + 8, 0, 0, CAPACITY},
        {CAPACITY, 0, 0, 64}, /* a skip beyond what was published */
        {0, 0, 0, 64},
        {16, 1, 1, 8}, /* a header cut by the tail */
    };
    for (size_t i = 0; i < LP_COUNT_OF(forged); i++) {
        struct pair pair = pair_make();
        memcpy(pair.ring->data, &forged[i].size, 4);
        memcpy(pair.ring->data + 4, &forged[i].version, 2);
        memcpy(pair.ring->data + 6, &forged[i].type, 2);
        pair.ring->tail = forged[i].published;
        if (pop(&pair) != LP_CONTROL_POP_BROKEN) {
            fail_msg("forgery %zu was believed", i);
        }
        assert_true(pair.ring->head == 0); /* nothing was given back for it */
        pair_free(&pair);
    }
}

static void
what_changes_after_the_pop_does_not_change_the_record(void **unused)
{
    (void)unused;
    struct pair pair = pair_make();
    struct lp_control_record record = {0};
    assert_true(lp_control_push(&pair.producer, 5, 6, lp_bytes_of_text("hello")));
    assert_int_equal(lp_control_pop(&pair.consumer, pair.scratch, &record), LP_CONTROL_POP_RECORD);
    memset(pair.ring->data, 0xff, CAPACITY);
    assert_int_equal(record.type, 5);
    assert_true(lp_bytes_equal_text(record.payload, "hello"));
    pair_free(&pair);
}

static void
garbage_ends_in_broken_or_empty_and_never_outside_the_ring(void **unused)
{
    (void)unused;
    for (uint64_t seed = 1; seed <= 3000; seed++) {
        static struct pair pair;
        if (seed == 1) {
            pair = pair_make();
        }
        struct random random = {seed};
        uint8_t *data = pair.ring->data;
        /* Plausible enough to go on for a while: small sizes, the right version, odd skips. */
        uint32_t offset = random_below(&random, CAPACITY / 8) * 8;
        pair.consumer.own = pair.consumer.seen = offset;
        pair.ring->head = offset;
        for (uint32_t i = 0; i < 40; i++) {
            const uint32_t size = random_below(&random, 4) == 0 ? (uint32_t)random_next(&random)
                                                                : random_below(&random, 6000);
            const uint32_t kind = random_below(&random, 20);
            const uint16_t version = kind == 0 ? 0 : kind == 1 ? (uint16_t)size : 1;
            const uint16_t type = kind == 0 ? 0 : (uint16_t)random_next(&random);
            memcpy(data + offset, &size, 4);
            memcpy(data + offset + 4, &version, 2);
            memcpy(data + offset + 6, &type, 2);
            offset = (uint32_t)((offset + ((size + 7u) & ~7u)) & (CAPACITY - 8));
        }
        pair.ring->tail = pair.ring->head + random_below(&random, CAPACITY / 8 + 2) * 8;
        enum lp_control_pop result = LP_CONTROL_POP_RECORD;
        uint32_t records = 0;
        while (result == LP_CONTROL_POP_RECORD) {
            struct lp_control_record record = {0};
            result = lp_control_pop(&pair.consumer, pair.scratch, &record);
            assert_true(record.payload.size <= LP_CONTROL_PAYLOAD_MAX_BYTES);
            assert_true(++records <= CAPACITY / LP_CONTROL_RECORD_HEADER_BYTES + 1);
        }
        if (seed == 3000) {
            pair_free(&pair);
        }
    }
}

/* --- a hostile consumer --------------------------------------------------- */

static void
a_forged_head_makes_no_room_that_is_not_there(void **unused)
{
    (void)unused;
    static const uint64_t heads[] = {UINT64_MAX, UINT64_MAX - 7, 1ull << 63, CAPACITY * 2,
                                     CAPACITY + 8};
    for (size_t i = 0; i < LP_COUNT_OF(heads); i++) {
        struct pair pair = pair_make();
        uint64_t sent = 0;
        while (push(&pair, sent)) {
            sent++;
        }
        pair.ring->head = heads[i];
        assert_false(push(&pair, sent));
        pair.ring->head = 0;
        assert_false(push(&pair, sent));
        /* Every record is still there. */
        for (uint64_t at = 0; at < sent; at++) {
            expect_pop(&pair, at);
        }
        assert_true(push(&pair, sent));
        pair_free(&pair);
    }
}

static void
a_head_that_jumps_about_never_makes_us_write_outside(void **unused)
{
    (void)unused;
    struct pair pair = pair_make();
    struct random random = {9};
    uint64_t sent = 0;
    for (uint32_t step = 0; step < 20000; step++) {
        if (random_below(&random, 3) == 0) {
            pair.ring->head = random_next(&random) >> random_below(&random, 64);
        }
        sent += push(&pair, sent);
        assert_true(pair.producer.own - pair.producer.seen <= CAPACITY);
        assert_true(pair.producer.own % 8 == 0);
    }
    assert_true(sent > 0);
    pair_free(&pair);
}

/* --- the region ----------------------------------------------------------- */

static void
parts_of_a_region_do_not_overlap_and_end_where_it_ends(void **unused)
{
    (void)unused;
    const size_t ring_bytes = lp_control_ring_bytes(LP_CONTROL_RING_CAPACITY_BYTES);
    uint8_t *base = malloc(lp_control_region_bytes(LP_SHARDS_MAX)); /* never touched */
    assert_non_null(base);
    for (uint32_t shards = 1; shards <= LP_SHARDS_MAX; shards++) {
        const uint8_t *end = base + sizeof(struct lp_control_region);
        for (uint32_t i = 0; i < shards; i++) {
            const uint8_t *at = (const uint8_t *)lp_control_region_stats(base, i);
            assert_true(at >= end);
            end = at + LP_STATS_PAGE_BYTES;
        }
        for (uint32_t i = 0; i < 2 * shards; i++) {
            const struct lp_control_ring *ring =
                i < shards ? lp_control_region_to_control(base, shards, i)
                           : lp_control_region_to_shard(base, shards, i - shards);
            const uint8_t *at = (const uint8_t *)ring;
            assert_true(at >= end);
            assert_int_equal((at - base) % 4096, 0);
            end = at + ring_bytes;
        }
        assert_true(end <= base + lp_control_region_bytes(shards));
    }
    free(base);
}

static void
a_region_is_laid_out_for_both_ends(void **unused)
{
    (void)unused;
    const uint32_t shards = 2;
    void *base = calloc(1, lp_control_region_bytes(shards));
    assert_non_null(base);
    lp_control_region_init_boot(base, shards);
    const struct lp_control_region *region = base;
    assert_int_equal(region->magic, LP_CONTROL_REGION_MAGIC);
    assert_int_equal(region->shard_count, shards);
    for (uint32_t i = 0; i < shards; i++) {
        struct lp_control_end end;
        assert_true(lp_control_end_init(&end, lp_control_region_to_control(base, shards, i),
                                        LP_CONTROL_RING_CAPACITY_BYTES, true));
        assert_true(lp_control_end_init(&end, lp_control_region_to_shard(base, shards, i),
                                        LP_CONTROL_RING_CAPACITY_BYTES, false));
    }
    free(base);
}

int
main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(records_arrive_in_order_and_whole_across_many_laps),
        cmocka_unit_test(the_longest_payload_fits_at_every_offset),
        cmocka_unit_test(a_full_ring_takes_nothing_and_goes_on_when_drained),
        cmocka_unit_test(a_process_that_attaches_again_goes_on_where_the_last_one_was),
        cmocka_unit_test(a_ring_that_does_not_look_like_one_is_not_attached_to),
        cmocka_unit_test(a_tail_beyond_the_ring_is_broken),
        cmocka_unit_test(a_forged_record_header_is_broken),
        cmocka_unit_test(what_changes_after_the_pop_does_not_change_the_record),
        cmocka_unit_test(garbage_ends_in_broken_or_empty_and_never_outside_the_ring),
        cmocka_unit_test(a_forged_head_makes_no_room_that_is_not_there),
        cmocka_unit_test(a_head_that_jumps_about_never_makes_us_write_outside),
        cmocka_unit_test(parts_of_a_region_do_not_overlap_and_end_where_it_ends),
        cmocka_unit_test(a_region_is_laid_out_for_both_ends),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
