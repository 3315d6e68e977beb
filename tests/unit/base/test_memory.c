/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Does the allocator keep what it promises: alignment, no overlap, a hard
 * limit, and everything back when everything was released?
 *
 * Method: small cases by hand; then random allocations and releases against a
 * model that stamps each block and finds the stamp again; then the walk of
 * lp_memory_check().  Misuse is tried in child processes.
 */
#include "tests/unit/base/base_test.h"

#include <sys/mman.h>
#include <unistd.h>

#include "dataplane/base/poison.h"

#define ARENA_BYTES (4u << 20)

static void
init_refuses_wrong_sizes_and_watermarks(void **unused)
{
    (void)unused;
    const uint64_t bytes = 1u << 20;
    uint8_t *base = aligned_alloc(LP_SPAN_BYTES, bytes + LP_SPAN_BYTES);
    assert_non_null(base);
    memset(base, 0, bytes + LP_SPAN_BYTES);
    struct lp_memory *memory = NULL;
    assert_int_equal(lp_memory_init_boot(base + 64, bytes, 0, &memory), LP_ERR_BAD_CONFIG);
    assert_int_equal(lp_memory_init_boot(base, bytes - LP_SPAN_BYTES, 0, &memory),
                     LP_ERR_BAD_CONFIG);
    assert_int_equal(lp_memory_init_boot(base, bytes + 4096, 0, &memory), LP_ERR_BAD_CONFIG);
    assert_int_equal(lp_memory_init_boot(base, 0, 0, &memory), LP_ERR_BAD_CONFIG);
    assert_int_equal(lp_memory_init_boot(base, bytes, bytes + 1, &memory), LP_ERR_BAD_CONFIG);
    assert_null(memory);
    assert_int_equal(lp_memory_init_boot(base, bytes, bytes, &memory), LP_OK);
    assert_int_equal(lp_memory_limit_bytes(memory), bytes);
    assert_int_equal(lp_memory_watermark_bytes(memory), bytes);
    lp_memory_fini(&memory);
    assert_null(memory);
    free(base);
}

static void
a_block_is_the_smallest_class_that_holds_it(void **unused)
{
    (void)unused;
    static const uint32_t expected[] = {64,   96,   128,  160,   192,   224,  256,
                                        384,  512,  768,  1024,  1536,  2048, 3072,
                                        4096, 6144, 8192, 12288, 16384, 32768};
    struct arena arena;
    arena_init(&arena, ARENA_BYTES);
    uint32_t class_index = 0;
    for (uint32_t bytes = 1; bytes <= 32768; bytes++) {
        if (bytes > expected[class_index]) {
            class_index++;
        }
        if (lp_memory_block_bytes(bytes) != expected[class_index]) {
            fail_msg("%u bytes take %llu", bytes, (unsigned long long)lp_memory_block_bytes(bytes));
        }
    }
    assert_int_equal(class_index, LP_MEMORY_CLASS_COUNT - 1);
    assert_int_equal(lp_memory_block_bytes(32769), LP_SPAN_BYTES);
    assert_int_equal(lp_memory_block_bytes(LP_SPAN_BYTES), LP_SPAN_BYTES);
    assert_int_equal(lp_memory_block_bytes(LP_SPAN_BYTES + 1), 2 * LP_SPAN_BYTES);
    assert_int_equal(lp_memory_block_bytes(UINT64_MAX), UINT64_MAX);
    for (uint32_t i = 0; i < LP_MEMORY_CLASS_COUNT; i++) {
        struct lp_memory_class_stats stats;
        lp_memory_class_stats(arena.memory, i, &stats);
        assert_int_equal(stats.block_bytes, expected[i]);
        assert_int_equal(stats.spans, 0);
        assert_int_equal(stats.blocks_used, 0);
    }
    arena_fini(&arena);
}

static void
what_it_would_take_is_what_it_takes(void **unused)
{
    (void)unused;
    struct arena arena;
    arena_init(&arena, ARENA_BYTES);
    static const uint64_t sizes[] = {1,     63,    64,    65,    96,    97,    8192,   8193,
                                     12289, 24577, 32768, 32769, 65536, 65537, 1000000};
    for (size_t i = 0; i < LP_COUNT_OF(sizes); i++) {
        void *block = lp_memory_alloc(arena.memory, sizes[i]);
        assert_non_null(block);
        assert_int_equal((uintptr_t)block % (sizes[i] > 32768 ? LP_SPAN_BYTES : 64), 0);
        assert_int_equal(lp_memory_used_bytes(arena.memory), lp_memory_block_bytes(sizes[i]));
        lp_memory_check(arena.memory);
        lp_memory_release(arena.memory, &block);
        assert_null(block);
        assert_int_equal(lp_memory_used_bytes(arena.memory), 0);
    }
    arena_fini(&arena);
}

static void
exhaustion_is_an_answer_and_passes(void **unused)
{
    (void)unused;
    struct arena arena;
    arena_init(&arena, 1u << 20);
    for (uint32_t round = 0; round < 3; round++) {
        const uint64_t refusals = lp_memory_refusal_count(arena.memory);
        void *chain = arena_exhaust(&arena);
        assert_true(lp_memory_refusal_count(arena.memory) > refusals);
        assert_null(lp_memory_alloc(arena.memory, 1));
        assert_null(lp_memory_alloc(arena.memory, LP_SPAN_BYTES));
        /* All but the span of tables was given out, none of it twice. */
        assert_int_equal(lp_memory_used_bytes(arena.memory), (1u << 20) - LP_SPAN_BYTES);
        lp_memory_check(arena.memory);
        arena_relax(&arena, chain);
        assert_int_equal(lp_memory_used_bytes(arena.memory), 0);
    }
    arena_fini(&arena);
}

static void
absurd_sizes_are_refused(void **unused)
{
    (void)unused;
    struct arena arena;
    arena_init(&arena, ARENA_BYTES);
    static const uint64_t sizes[] = {
        ARENA_BYTES, ARENA_BYTES + 1, 1ull << 32, 1ull << 48, UINT64_MAX - LP_SPAN_BYTES + 1,
        UINT64_MAX};
    for (size_t i = 0; i < LP_COUNT_OF(sizes); i++) {
        assert_null(lp_memory_alloc(arena.memory, sizes[i]));
        assert_int_equal(lp_memory_refusal_count(arena.memory), i + 1);
    }
    arena_fini(&arena);
}

static void
large_blocks_take_the_first_hole_that_fits(void **unused)
{
    (void)unused;
    struct arena arena;
    arena_init(&arena, ARENA_BYTES);
    uint8_t *block[8];
    for (size_t i = 0; i < LP_COUNT_OF(block); i++) {
        block[i] = lp_memory_alloc(arena.memory, 4 * LP_SPAN_BYTES);
        assert_non_null(block[i]);
        assert_true(i == 0 || block[i] == block[i - 1] + 4 * LP_SPAN_BYTES);
    }
    uint8_t *const hole_small = block[1];
    uint8_t *const hole_large = block[4];
    void *gone = block[1];
    lp_memory_release(arena.memory, &gone);
    gone = block[4];
    lp_memory_release(arena.memory, &gone);
    gone = block[5];
    lp_memory_release(arena.memory, &gone);

    void *five = lp_memory_alloc(arena.memory, 5 * LP_SPAN_BYTES);
    assert_ptr_equal(five, hole_large);
    void *one = lp_memory_alloc(arena.memory, LP_SPAN_BYTES);
    assert_ptr_equal(one, hole_small);
    void *small = lp_memory_alloc(arena.memory, 64);
    assert_ptr_equal(small, hole_small + LP_SPAN_BYTES);
    lp_memory_check(arena.memory);

    lp_memory_release(arena.memory, &five);
    lp_memory_release(arena.memory, &one);
    lp_memory_release(arena.memory, &small);
    for (size_t i = 0; i < LP_COUNT_OF(block); i++) {
        gone = block[i];
        if (i != 1 && i != 4 && i != 5) {
            lp_memory_release(arena.memory, &gone);
        }
    }
    arena_fini(&arena);
}

static void
an_empty_span_serves_another_class(void **unused)
{
    (void)unused;
    struct arena arena;
    arena_init(&arena, 1u << 20);
    for (uint32_t round = 0; round < 4; round++) {
        for (uint64_t bytes = 64; bytes <= 32768; bytes *= 2) {
            /* Everything as blocks of one size; the next size needs those spans again. */
            void *chain = NULL;
            uint32_t count = 0;
            void **block;
            while ((block = lp_memory_alloc(arena.memory, bytes)) != NULL) {
                *block = chain;
                chain = block;
                count++;
            }
            assert_int_equal(count, 15 * (LP_SPAN_BYTES / bytes));
            arena_relax(&arena, chain);
        }
    }
    arena_fini(&arena);
}

static void
pressure_begins_above_the_watermark(void **unused)
{
    (void)unused;
    struct arena arena;
    arena_init(&arena, ARENA_BYTES); /* the watermark is half of it */
    void *half = lp_memory_alloc(arena.memory, ARENA_BYTES / 2);
    assert_false(lp_memory_pressed(arena.memory));
    void *more = lp_memory_alloc(arena.memory, 64);
    assert_true(lp_memory_pressed(arena.memory));
    lp_memory_release(arena.memory, &more);
    assert_false(lp_memory_pressed(arena.memory));
    lp_memory_release(arena.memory, &half);
    arena_fini(&arena);
}

static void
what_is_aside_presses_nobody(void **unused)
{
    (void)unused;
    struct arena arena;
    arena_init(&arena, ARENA_BYTES);
    const uint64_t half_bytes = ARENA_BYTES / 2;
    const uint64_t waits_bytes = ARENA_BYTES / 4 + ARENA_BYTES / 8;
    void *waits = lp_memory_alloc(arena.memory, waits_bytes);
    lp_memory_aside(arena.memory, lp_memory_block_bytes(waits_bytes));
    void *half = lp_memory_alloc(arena.memory, half_bytes);
    assert_false(lp_memory_pressed(arena.memory)); /* also with little left */
    lp_memory_check(arena.memory);
    /* It turns into what counts. */
    lp_memory_aside_end(arena.memory, lp_memory_block_bytes(waits_bytes));
    assert_true(lp_memory_pressed(arena.memory));
    lp_memory_release(arena.memory, &waits);
    lp_memory_release(arena.memory, &half);
    arena_fini(&arena);
}

static void
pressure_begins_when_whole_spans_run_out(void **unused)
{
    (void)unused;
    struct arena arena;
    arena_init(&arena, ARENA_BYTES);
    /* One block left in each of 50 of 63 spans: little is used, and nothing else fits there. */
    void *block[50 * 2];
    for (size_t i = 0; i < LP_COUNT_OF(block); i++) {
        block[i] = lp_memory_alloc(arena.memory, 32768);
        assert_non_null(block[i]);
    }
    for (size_t i = 0; i < LP_COUNT_OF(block); i += 2) {
        lp_memory_release(arena.memory, &block[i]);
    }
    assert_true(lp_memory_used_bytes(arena.memory) < lp_memory_watermark_bytes(arena.memory));
    assert_true(lp_memory_pressed(arena.memory));
    lp_memory_check(arena.memory);
    for (size_t i = 1; i < LP_COUNT_OF(block); i += 2) {
        lp_memory_release(arena.memory, &block[i]);
    }
    assert_false(lp_memory_pressed(arena.memory));
    arena_fini(&arena);
}

/* Pages of the mapping that are in memory. */
static size_t
resident_pages(void *base, size_t bytes)
{
    const size_t page = (size_t)sysconf(_SC_PAGESIZE);
    unsigned char *map = malloc(bytes / page);
    assert_non_null(map);
    assert_int_equal(mincore(base, bytes, map), 0);
    size_t resident = 0;
    for (size_t i = 0; i < bytes / page; i++) {
        resident += map[i] & 1u;
    }
    free(map);
    return resident;
}

static void
a_gigabyte_at_rest_costs_a_few_pages(void **unused)
{
    (void)unused;
#ifdef LP_POISON
    skip(); /* the shadow of a gigabyte is 128 MiB */
#endif
    const size_t bytes = 1u << 30;
    uint8_t *map = mmap(NULL, bytes + LP_SPAN_BYTES, PROT_READ | PROT_WRITE,
                        MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    assert_ptr_not_equal(map, MAP_FAILED);
    (void)madvise(map, bytes + LP_SPAN_BYTES, MADV_NOHUGEPAGE); /* advice: pages are counted */
    uint8_t *base = map + (LP_SPAN_BYTES - (uintptr_t)map % LP_SPAN_BYTES) % LP_SPAN_BYTES;
    struct lp_memory *memory = NULL;
    assert_int_equal(lp_memory_init_boot(base, bytes, bytes, &memory), LP_OK);
    assert_true(resident_pages(base, bytes) <= 4);

    uint8_t *block = lp_memory_alloc(memory, 100);
    *block = 1;
    assert_true(resident_pages(base, bytes) <= 5);
    void *gone = block;
    lp_memory_release(memory, &gone);
    lp_memory_fini(&memory);
    assert_int_equal(munmap(map, bytes + LP_SPAN_BYTES), 0);
}

struct model_block {
    uint8_t *data;
    uint32_t bytes;
    uint8_t stamp;
};

static uint32_t
model_size(struct random *random)
{
    switch (random_below(random, 8)) {
    case 0:
        return 1 + random_below(random, 5 * LP_SPAN_BYTES);
    case 1:
    case 2:
        return 1 + random_below(random, 32768);
    default:
        return 1 + random_below(random, 1000);
    }
}

static void
model_release(struct arena *arena, struct model_block *block)
{
    assert_int_equal(block->data[0], block->stamp);
    assert_int_equal(block->data[block->bytes / 2], block->stamp);
    assert_int_equal(block->data[block->bytes - 1], block->stamp);
    void *gone = block->data;
    lp_memory_release(arena->memory, &gone);
    block->data = NULL;
}

/* Release it if it is live, or else make it; tells the model's numbers. */
static void
model_step(struct arena *arena, struct random *random, struct model_block *it, uint64_t *used,
           uint64_t *refused)
{
    if (it->data != NULL) {
        *used -= lp_memory_block_bytes(it->bytes);
        model_release(arena, it);
        return;
    }
    it->bytes = model_size(random);
    it->stamp = (uint8_t)random_next(random);
    it->data = lp_memory_alloc(arena->memory, it->bytes);
    if (it->data == NULL) {
        (*refused)++;
        return;
    }
    *used += lp_memory_block_bytes(it->bytes);
    memset(it->data, it->stamp, it->bytes);
}

static void
random_use_agrees_with_a_model(void **unused)
{
    (void)unused;
    enum { slots = 700 };
    for (uint64_t seed = 1; seed <= 6; seed++) {
        struct arena arena;
        arena_init(&arena, ARENA_BYTES);
        struct random random = {seed};
        struct model_block block[slots];
        memset(block, 0, sizeof(block));
        uint64_t used = 0;
        uint64_t refused = 0;
        for (uint32_t step = 0; step < 20000; step++) {
            struct model_block *it = &block[random_below(&random, slots)];
            model_step(&arena, &random, it, &used, &refused);
            assert_int_equal(lp_memory_used_bytes(arena.memory), used);
            if (step % 500 == 0) {
                lp_memory_check(arena.memory);
            }
        }
        assert_int_equal(lp_memory_refusal_count(arena.memory), refused);
        for (uint32_t i = 0; i < slots; i++) {
            if (block[i].data != NULL) {
                model_release(&arena, &block[i]);
            }
        }
        arena_fini(&arena);
    }
}

/* --- misuse ------------------------------------------------------------- */

static void
release_twice(void *context)
{
    struct arena *arena = context;
    void *keep = lp_memory_alloc(arena->memory, 64);
    void *block = lp_memory_alloc(arena->memory, 64);
    void *again = block;
    lp_memory_release(arena->memory, &block);
    lp_memory_release(arena->memory, &again);
    lp_memory_release(arena->memory, &keep);
}

static void
release_twice_with_others_between(void *context)
{
    struct arena *arena = context;
    void *block[8];
    for (size_t i = 0; i < LP_COUNT_OF(block); i++) {
        block[i] = lp_memory_alloc(arena->memory, 64);
    }
    void *again = block[2];
    for (size_t i = 0; i < LP_COUNT_OF(block) - 1; i++) {
        lp_memory_release(arena->memory, &block[i]);
    }
    lp_memory_release(arena->memory, &again);
}

static void
release_last_twice(void *context)
{
    struct arena *arena = context;
    void *block = lp_memory_alloc(arena->memory, 100000);
    void *again = block;
    lp_memory_release(arena->memory, &block);
    lp_memory_release(arena->memory, &again);
}

static void
release_a_middle(void *context)
{
    struct arena *arena = context;
    uint8_t *block = lp_memory_alloc(arena->memory, 256);
    void *middle = block + 64;
    lp_memory_release(arena->memory, &middle);
}

static void
release_a_second_span(void *context)
{
    struct arena *arena = context;
    uint8_t *block = lp_memory_alloc(arena->memory, 3 * LP_SPAN_BYTES);
    void *middle = block + LP_SPAN_BYTES;
    lp_memory_release(arena->memory, &middle);
}

static void
release_a_stranger(void *context)
{
    struct arena *arena = context;
    void *stranger = arena;
    lp_memory_release(arena->memory, &stranger);
}

static void
release_a_table(void *context)
{
    struct arena *arena = context;
    void *table = arena->base;
    lp_memory_release(arena->memory, &table);
}

static void
release_nothing(void *context)
{
    struct arena *arena = context;
    void *nothing = NULL;
    lp_memory_release(arena->memory, &nothing);
}

static void
alloc_nothing(void *context)
{
    struct arena *arena = context;
    (void)lp_memory_alloc(arena->memory, 0);
}

static void
misuse_is_found(void **unused)
{
    (void)unused;
    static void (*const misuse[])(void *context) = {
        release_twice,         release_twice_with_others_between,
        release_last_twice,    release_a_middle,
        release_a_second_span, release_a_stranger,
        release_a_table,       release_nothing,
        alloc_nothing,
    };
    struct arena arena;
    arena_init(&arena, ARENA_BYTES);
    for (size_t i = 0; i < LP_COUNT_OF(misuse); i++) {
        if (!lp_test_panics(misuse[i], &arena)) {
            fail_msg("misuse %zu went unseen", i);
        }
    }
    arena_fini(&arena);
}

static void
freed_and_unasked_bytes_are_poisoned(void **unused)
{
    (void)unused;
#ifdef LP_POISON
    struct arena arena;
    arena_init(&arena, ARENA_BYTES);
    void *keep = lp_memory_alloc(arena.memory, 100);
    uint8_t *block = lp_memory_alloc(arena.memory, 100);
    assert_null(__asan_region_is_poisoned(block, 100));
    assert_true(__asan_address_is_poisoned(block + 100));
    assert_true(__asan_address_is_poisoned(block + 128)); /* never used */
    void *gone = block;
    lp_memory_release(arena.memory, &gone);
    assert_true(__asan_address_is_poisoned(block));
    assert_true(__asan_address_is_poisoned(block + 99));
    lp_memory_release(arena.memory, &keep);
    arena_fini(&arena);
#else
    skip();
#endif
}

int
main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(init_refuses_wrong_sizes_and_watermarks),
        cmocka_unit_test(a_block_is_the_smallest_class_that_holds_it),
        cmocka_unit_test(what_it_would_take_is_what_it_takes),
        cmocka_unit_test(exhaustion_is_an_answer_and_passes),
        cmocka_unit_test(absurd_sizes_are_refused),
        cmocka_unit_test(large_blocks_take_the_first_hole_that_fits),
        cmocka_unit_test(an_empty_span_serves_another_class),
        cmocka_unit_test(pressure_begins_above_the_watermark),
        cmocka_unit_test(what_is_aside_presses_nobody),
        cmocka_unit_test(pressure_begins_when_whole_spans_run_out),
        cmocka_unit_test(a_gigabyte_at_rest_costs_a_few_pages),
        cmocka_unit_test(random_use_agrees_with_a_model),
        cmocka_unit_test(misuse_is_found),
        cmocka_unit_test(freed_and_unasked_bytes_are_poisoned),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
