/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a ring promises to its two sides, looked at from one thread.  Whether
 * the memory order is right is stress_ring's question.
 */
#include "tests/unit/base/base_test.h"

#include "dataplane/base/ring.h"

#define CAPACITY 8u

static struct lp_ring *
ring_make(uint32_t capacity)
{
    const size_t bytes = (lp_ring_bytes(capacity) + 63u) / 64u * 64u;
    void *memory = aligned_alloc(LP_CACHE_LINE_BYTES, bytes);
    assert_non_null(memory);
    struct lp_ring *ring = NULL;
    assert_int_equal(lp_ring_init_boot(memory, bytes, capacity, &ring), LP_OK);
    return ring;
}

static uint32_t
stage(struct lp_ring *ring, uint64_t *next, uint32_t count)
{
    uint32_t staged = 0;
    while (staged < count) {
        const struct lp_record record = {{*next, ~*next}};
        if (!lp_ring_stage(ring, &record)) {
            break;
        }
        (*next)++;
        staged++;
    }
    return staged;
}

static uint32_t
take(struct lp_ring *ring, uint64_t *expected, uint32_t count)
{
    uint32_t taken = 0;
    while (taken < count) {
        const struct lp_record *record = lp_ring_take(ring);
        if (record == NULL) {
            break;
        }
        assert_int_equal(record->word[0], *expected);
        assert_int_equal(record->word[1], ~*expected);
        (*expected)++;
        taken++;
    }
    return taken;
}

static void
init_refuses_capacities_that_are_no_power_of_two(void **unused)
{
    (void)unused;
    static const uint32_t bad[] = {0, 3, 5, 6, 7, 9, 100, UINT32_MAX};
    _Alignas(64) uint8_t memory[1024] = {0};
    struct lp_ring *const untouched = (struct lp_ring *)(void *)memory;
    for (size_t i = 0; i < LP_COUNT_OF(bad); i++) {
        struct lp_ring *ring = untouched;
        assert_int_equal(lp_ring_init_boot(memory, sizeof(memory), bad[i], &ring),
                         LP_ERR_BAD_CONFIG);
        assert_ptr_equal(ring, untouched);
    }
}

static void
init_refuses_memory_that_is_a_byte_short(void **unused)
{
    (void)unused;
    _Alignas(64) uint8_t memory[1024];
    _Alignas(64) uint8_t before[1024];
    memset(memory, 0x5a, sizeof(memory));
    memcpy(before, memory, sizeof(before));
    struct lp_ring *ring = NULL;
    assert_int_equal(lp_ring_init_boot(memory, lp_ring_bytes(CAPACITY) - 1, CAPACITY, &ring),
                     LP_ERR_NO_SPACE);
    assert_null(ring);
    assert_memory_equal(memory, before, sizeof(memory));
    assert_int_equal(lp_ring_init_boot(memory, lp_ring_bytes(CAPACITY), CAPACITY, &ring), LP_OK);
}

static void
what_is_staged_is_invisible_until_published(void **unused)
{
    (void)unused;
    struct lp_ring *ring = ring_make(CAPACITY);
    uint64_t next = 1;
    uint64_t expected = 1;

    assert_false(lp_ring_publish(ring));
    assert_int_equal(stage(ring, &next, 3), 3);
    assert_false(lp_ring_waiting(ring));
    assert_null(lp_ring_take(ring));
    assert_true(lp_ring_publish(ring));
    assert_false(lp_ring_publish(ring));
    assert_true(lp_ring_waiting(ring));
    assert_int_equal(take(ring, &expected, 10), 3);
    assert_false(lp_ring_waiting(ring));
    free(ring);
}

static void
a_full_ring_refuses_until_slots_are_given_back(void **unused)
{
    (void)unused;
    struct lp_ring *ring = ring_make(CAPACITY);
    uint64_t next = 1;
    uint64_t expected = 1;

    assert_int_equal(stage(ring, &next, CAPACITY + 1), CAPACITY);
    assert_int_equal(lp_ring_room(ring, 1), 0);
    assert_true(lp_ring_publish(ring));
    assert_int_equal(take(ring, &expected, 2), 2);
    /* Taken is not given back: the consumer still reads them. */
    assert_int_equal(stage(ring, &next, 1), 0);
    lp_ring_give_back(ring);
    assert_int_equal(lp_ring_room(ring, CAPACITY), 2);
    assert_int_equal(stage(ring, &next, 3), 2);
    free(ring);
}

static void
a_borrowed_record_stays_as_it_is_until_given_back(void **unused)
{
    (void)unused;
    struct lp_ring *ring = ring_make(2);
    uint64_t next = 1;
    assert_int_equal(stage(ring, &next, 2), 2);
    (void)lp_ring_publish(ring);
    const struct lp_record *first = lp_ring_take(ring);
    const struct lp_record *second = lp_ring_take(ring);
    assert_int_equal(stage(ring, &next, 1), 0);
    assert_true(first != NULL && first->word[0] == 1);
    assert_true(second != NULL && second->word[0] == 2);
    free(ring);
}

static void
order_holds_across_the_wrap_of_the_cursors(void **unused)
{
    (void)unused;
    for (uint32_t capacity = 1; capacity <= 16; capacity *= 2) {
        struct lp_ring *ring = ring_make(capacity);
        /* A few records before 2^32, as if it had run for days. */
        const uint32_t start = UINT32_MAX - 20;
        ring->tail = ring->staged = ring->head_seen = start;
        ring->head = ring->taken = ring->tail_seen = start;
        struct random random = {capacity};
        uint64_t next = 1;
        uint64_t expected = 1;
        while (expected < 1000) {
            (void)stage(ring, &next, random_below(&random, 2 * capacity + 1));
            (void)lp_ring_publish(ring);
            (void)take(ring, &expected, random_below(&random, 2 * capacity + 1));
            if (random_below(&random, 2) == 0) {
                lp_ring_give_back(ring);
            }
            assert_true(next - expected <= capacity);
        }
        free(ring);
    }
}

static void
misaligned_init(void *memory)
{
    struct lp_ring *ring = NULL;
    (void)!lp_ring_init_boot((uint8_t *)memory + 8, 1000, 1, &ring);
}

static void
a_ring_off_a_cache_line_is_a_bug(void **unused)
{
    (void)unused;
    _Alignas(64) uint8_t memory[1024] = {0};
    assert_true(lp_test_panics(misaligned_init, memory));
}

int
main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(init_refuses_capacities_that_are_no_power_of_two),
        cmocka_unit_test(init_refuses_memory_that_is_a_byte_short),
        cmocka_unit_test(what_is_staged_is_invisible_until_published),
        cmocka_unit_test(a_full_ring_refuses_until_slots_are_given_back),
        cmocka_unit_test(a_borrowed_record_stays_as_it_is_until_given_back),
        cmocka_unit_test(order_holds_across_the_wrap_of_the_cursors),
        cmocka_unit_test(a_ring_off_a_cache_line_is_a_bug),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
