/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Do handles name what they were given for and nothing else, and does a pool
 * say no in time?
 */
#include "tests/unit/base/base_test.h"

#include "dataplane/base/poison.h"
#include "dataplane/base/pool.h"

#define ARENA_BYTES (1u << 20)

struct item {
    uint64_t number;
    uint8_t filler[40];
};

static struct lp_pool
pool_make(struct arena *arena, uint32_t item_bytes, uint32_t capacity)
{
    struct lp_pool pool = {0};
    assert_int_equal(lp_pool_init_boot(&pool, "test", arena->memory, item_bytes, capacity), LP_OK);
    return pool;
}

static void
init_refuses_nothing_and_too_much(void **unused)
{
    (void)unused;
    struct arena arena;
    arena_init(&arena, ARENA_BYTES);
    struct lp_pool pool = {0};
    struct lp_memory *memory = arena.memory;
    assert_int_equal(lp_pool_init_boot(&pool, "test", memory, 0, 1), LP_ERR_BAD_CONFIG);
    assert_int_equal(lp_pool_init_boot(&pool, "test", memory, 1, 0), LP_ERR_BAD_CONFIG);
    assert_int_equal(lp_pool_init_boot(&pool, "test", memory, UINT32_MAX, 1), LP_ERR_BAD_CONFIG);
    assert_int_equal(lp_pool_init_boot(&pool, "test", memory, 1, UINT32_MAX), LP_ERR_BAD_CONFIG);
    assert_int_equal(lp_pool_init_boot(&pool, "test", memory, 1u << 20, 1u << 20),
                     LP_ERR_NO_MEMORY);
    assert_null(pool.chunks);
    lp_pool_fini(&pool); /* a pool that was never made */
    arena_fini(&arena);
}

static void
an_item_is_zeroed_aligned_and_found_by_its_handle(void **unused)
{
    (void)unused;
    static const uint32_t sizes[] = {1, 8, 15, 16, 17, 48, 100, 1000, 16384, 100000};
    for (size_t i = 0; i < LP_COUNT_OF(sizes); i++) {
        struct arena arena;
        arena_init(&arena, ARENA_BYTES);
        struct lp_pool pool = pool_make(&arena, sizes[i], 4);
        for (uint32_t round = 0; round < 3; round++) {
            lp_handle handle = LP_HANDLE_NONE;
            uint8_t *item = lp_pool_alloc(&pool, &handle);
            assert_non_null(item);
            assert_int_equal((uintptr_t)item % 8, 0);
            assert_ptr_equal(lp_pool_get(&pool, handle), item);
            assert_int_equal(lp_pool_handle_of(&pool, lp_handle_index(handle)), handle);
            for (uint32_t at = 0; at < sizes[i]; at++) {
                assert_int_equal(item[at], 0);
            }
            memset(item, 0xff, sizes[i]);
            lp_pool_release(&pool, handle);
        }
        lp_pool_fini(&pool);
        arena_fini(&arena);
    }
}

static void
a_stale_or_made_up_handle_is_nobody(void **unused)
{
    (void)unused;
    struct arena arena;
    arena_init(&arena, ARENA_BYTES);
    struct lp_pool pool = pool_make(&arena, sizeof(struct item), 10);
    assert_null(lp_pool_get(&pool, LP_HANDLE_NONE));

    lp_handle old = LP_HANDLE_NONE;
    assert_non_null(lp_pool_alloc(&pool, &old));
    lp_pool_release(&pool, old);
    assert_null(lp_pool_get(&pool, old));
    /* The generation of the free item itself, and of the next one. */
    assert_null(lp_pool_get(&pool, lp_handle_make(0, lp_handle_generation(old) + 1)));
    assert_null(lp_pool_get(&pool, lp_handle_make(0, lp_handle_generation(old) + 2)));
    assert_null(lp_pool_get(&pool, lp_handle_make(0, 0)));

    lp_handle young = LP_HANDLE_NONE;
    assert_non_null(lp_pool_alloc(&pool, &young));
    assert_int_equal(lp_handle_index(young), lp_handle_index(old)); /* last in, first out */
    assert_null(lp_pool_get(&pool, old));
    assert_non_null(lp_pool_get(&pool, young));
    assert_null(lp_pool_get(&pool, lp_handle_make(5, lp_handle_generation(young))));
    assert_null(lp_pool_get(&pool, lp_handle_make(UINT32_MAX, lp_handle_generation(young))));
    lp_pool_release(&pool, young);
    lp_pool_fini(&pool);
    arena_fini(&arena);
}

static void
capacity_is_a_limit(void **unused)
{
    (void)unused;
    for (uint32_t capacity = 1; capacity < 300; capacity += 37) {
        struct arena arena;
        arena_init(&arena, ARENA_BYTES);
        struct lp_pool pool = pool_make(&arena, 200, capacity);
        lp_handle handle[300];
        for (uint32_t i = 0; i < capacity; i++) {
            assert_non_null(lp_pool_alloc(&pool, &handle[i]));
        }
        lp_handle untouched = 77;
        assert_null(lp_pool_alloc(&pool, &untouched));
        assert_int_equal(untouched, 77);
        assert_int_equal(pool.used, capacity);
        lp_pool_release(&pool, handle[capacity / 2]);
        assert_non_null(lp_pool_alloc(&pool, &handle[capacity / 2]));
        for (uint32_t i = 0; i < capacity; i++) {
            lp_pool_release(&pool, handle[i]);
        }
        lp_pool_fini(&pool);
        arena_fini(&arena);
    }
}

static void
no_memory_is_an_answer_and_passes(void **unused)
{
    (void)unused;
    struct arena arena;
    arena_init(&arena, ARENA_BYTES);
    struct lp_pool pool = pool_make(&arena, 200, 1000);
    lp_handle first = LP_HANDLE_NONE;
    lp_handle second = LP_HANDLE_NONE;
    void *chain = arena_exhaust(&arena);
    assert_null(lp_pool_alloc(&pool, &first));
    assert_int_equal(pool.used, 0);
    arena_relax(&arena, chain);
    assert_non_null(lp_pool_alloc(&pool, &first));
    /* What was carved stays available when memory is gone. */
    chain = arena_exhaust(&arena);
    assert_non_null(lp_pool_alloc(&pool, &second));
    arena_relax(&arena, chain);
    lp_pool_release(&pool, first);
    lp_pool_release(&pool, second);
    lp_pool_fini(&pool);
    arena_fini(&arena);
}

static void
small_items_of_which_there_may_be_many_fill_their_memory(void **unused)
{
    (void)unused;
    enum { many = 9000 };
    static lp_handle handle[many];
    struct arena arena;
    arena_init(&arena, ARENA_BYTES);
    struct lp_pool pool = pool_make(&arena, 72, 64 * 1024);
    const uint64_t before = lp_memory_used_bytes(arena.memory);
    for (uint32_t i = 0; i < many; i++) {
        uint8_t *item = lp_pool_alloc(&pool, &handle[i]);
        assert_non_null(item);
        memset(item, (int)(i & 0xff), 72);
    }
    assert_true(lp_memory_used_bytes(arena.memory) - before <= (uint64_t)many * 80 * 110 / 100);
    for (uint32_t i = 0; i < many; i++) {
        const uint8_t *item = lp_pool_get(&pool, handle[i]);
        assert_int_equal(item[0], i & 0xff);
        assert_int_equal(item[71], i & 0xff);
        lp_pool_release(&pool, handle[i]);
    }
    lp_pool_fini(&pool);
    assert_true(lp_memory_used_bytes(arena.memory) < before);
    arena_fini(&arena);
}

static void
a_walk_sees_the_live_items_in_order_even_when_it_releases_them(void **unused)
{
    (void)unused;
    struct arena arena;
    arena_init(&arena, ARENA_BYTES);
    struct lp_pool pool = pool_make(&arena, sizeof(struct item), 1000);
    lp_handle handle[500];
    for (uint32_t i = 0; i < LP_COUNT_OF(handle); i++) {
        struct item *item = lp_pool_alloc(&pool, &handle[i]);
        assert_non_null(item);
        item->number = i;
    }
    for (uint32_t i = 0; i < LP_COUNT_OF(handle); i += 3) {
        lp_pool_release(&pool, handle[i]);
    }
    uint32_t cursor = 0;
    uint64_t expected = 1;
    lp_handle at = LP_HANDLE_NONE;
    struct item *item;
    while ((item = lp_pool_next(&pool, &cursor, &at)) != NULL) {
        assert_int_equal(item->number, expected);
        assert_int_equal(at, handle[expected]);
        lp_pool_release(&pool, at);
        expected += expected % 3 == 1 ? 1 : 2;
    }
    assert_int_equal(expected, 500);
    assert_int_equal(pool.used, 0);
    lp_pool_fini(&pool);
    arena_fini(&arena);
}

/* Release number i if it is live, or else make it; gives the change in items used. */
static int32_t
model_step(struct lp_pool *pool, uint32_t i, lp_handle *live, lp_handle *dead)
{
    if (*live != LP_HANDLE_NONE) {
        const struct item *item = lp_pool_get(pool, *live);
        assert_true(item != NULL && item->number == i);
        lp_pool_release(pool, *live);
        *dead = *live;
        *live = LP_HANDLE_NONE;
        return -1;
    }
    struct item *item = lp_pool_alloc(pool, live);
    if (item == NULL) {
        return 0;
    }
    assert_int_equal(item->number, 0);
    item->number = i;
    return 1;
}

static void
random_use_agrees_with_an_array(void **unused)
{
    (void)unused;
    enum { slots = 400 };
    for (uint64_t seed = 1; seed <= 8; seed++) {
        struct arena arena;
        arena_init(&arena, ARENA_BYTES);
        struct random random = {seed};
        struct lp_pool pool = pool_make(&arena, sizeof(struct item), 300);
        lp_handle live[slots] = {0};
        lp_handle dead[slots] = {0};
        uint32_t used = 0;
        for (uint32_t step = 0; step < 20000; step++) {
            const uint32_t i = random_below(&random, slots);
            const bool full = used == pool.capacity;
            const int32_t change = model_step(&pool, i, &live[i], &dead[i]);
            assert_true(change != 0 || full);
            assert_true(change <= 0 || !full);
            used = (uint32_t)((int32_t)used + change);
            assert_null(lp_pool_get(&pool, dead[i]));
            assert_int_equal(pool.used, used);
        }
        for (uint32_t i = 0; i < slots; i++) {
            if (live[i] != LP_HANDLE_NONE) {
                lp_pool_release(&pool, live[i]);
            }
        }
        lp_pool_fini(&pool);
        arena_fini(&arena);
    }
}

static void
release_twice(void *context)
{
    struct lp_pool *pool = context;
    lp_handle handle = LP_HANDLE_NONE;
    (void)lp_pool_alloc(pool, &handle);
    lp_pool_release(pool, handle);
    lp_pool_release(pool, handle);
}

static void
release_nobody(void *context)
{
    struct lp_pool *pool = context;
    lp_pool_release(pool, LP_HANDLE_NONE);
}

static void
end_with_an_item_in_use(void *context)
{
    struct lp_pool *pool = context;
    lp_handle handle = LP_HANDLE_NONE;
    (void)lp_pool_alloc(pool, &handle);
    lp_pool_fini(pool);
}

static void
misuse_is_found(void **unused)
{
    (void)unused;
    struct arena arena;
    arena_init(&arena, ARENA_BYTES);
    struct lp_pool pool = pool_make(&arena, 16, 10);
    assert_true(lp_test_panics(release_twice, &pool));
    assert_true(lp_test_panics(release_nobody, &pool));
    assert_true(lp_test_panics(end_with_an_item_in_use, &pool));
    lp_pool_fini(&pool);
    arena_fini(&arena);
}

static void
a_released_item_is_poisoned(void **unused)
{
    (void)unused;
#ifdef LP_POISON
    struct arena arena;
    arena_init(&arena, ARENA_BYTES);
    struct lp_pool pool = pool_make(&arena, 48, 10);
    lp_handle handle = LP_HANDLE_NONE;
    uint8_t *item = lp_pool_alloc(&pool, &handle);
    assert_null(__asan_region_is_poisoned(item, 48));
    assert_true(__asan_address_is_poisoned(item + 48 + sizeof(struct lp_pool_header)));
    lp_pool_release(&pool, handle);
    assert_true(__asan_address_is_poisoned(item));
    assert_true(__asan_address_is_poisoned(item + 47));
    lp_pool_fini(&pool);
    arena_fini(&arena);
#else
    skip();
#endif
}

int
main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(init_refuses_nothing_and_too_much),
        cmocka_unit_test(an_item_is_zeroed_aligned_and_found_by_its_handle),
        cmocka_unit_test(a_stale_or_made_up_handle_is_nobody),
        cmocka_unit_test(capacity_is_a_limit),
        cmocka_unit_test(no_memory_is_an_answer_and_passes),
        cmocka_unit_test(small_items_of_which_there_may_be_many_fill_their_memory),
        cmocka_unit_test(a_walk_sees_the_live_items_in_order_even_when_it_releases_them),
        cmocka_unit_test(random_use_agrees_with_an_array),
        cmocka_unit_test(misuse_is_found),
        cmocka_unit_test(a_released_item_is_poisoned),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
