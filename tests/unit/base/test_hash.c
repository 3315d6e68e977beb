/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Is it SipHash-1-3, and does the index find what was put in and nothing
 * else while it grows, shrinks, or cannot grow?
 */
#include "tests/unit/base/base_test.h"

#include "dataplane/base/hash.h"
#include "tests/lib/fault.h"

#define ARENA_BYTES (4u << 20)

struct item {
    struct lp_hash_node node;
    uint32_t number;
    bool in;
};

static struct item *
item_of(struct lp_hash_node *node)
{
    return LP_CONTAINER_OF(node, struct item, node);
}

/* The bytes 0, 1, 2, ... under two keys; values from CPython 3.11, which hashes bytes with
 * SipHash-1-3. */
static void
bytes_hash_to_the_published_function(void **unused)
{
    (void)unused;
    static const struct {
        size_t bytes;
        uint64_t plain, keyed;
    } cases[] = {
        {1, 0x68a914128e01e473, 0xecd3e5afcecda4b9},  {7, 0x2f098ab0c751325a, 0xfd15e78052a69ddf},
        {8, 0xead411e67ebe2eea, 0xc0b5739e7e28dd01},  {9, 0x75927f9d95124362, 0x208a1a5a0cbbf778},
        {15, 0xf30eb725bb91c9ea, 0xfa87985f39e97a53}, {16, 0x8972188433a5c5b7, 0x12e9d283f9f37002},
        {17, 0x4883c49a2c009c1d, 0x9f5bb4237f61907f}, {63, 0x385d3e39e5f37359, 0x542052345bc68274},
        {64, 0x75e05fd5bbc870c6, 0x7e644b6edc375dc8}, {65, 0x9551550c825974c6, 0xb7f31cb8ad709d50},
    };
    static const struct lp_hash_key no_key = {{0, 0}};
    static const struct lp_hash_key key = {{0xaed66ce184be2329, 0xebe9bbf1f1499052}};
    for (size_t i = 0; i < LP_COUNT_OF(cases); i++) {
        /* A block of exactly the size, at an odd address: a byte too far would be seen. */
        uint8_t *block = malloc(cases[i].bytes + 1);
        assert_non_null(block);
        for (size_t at = 0; at < cases[i].bytes; at++) {
            block[at + 1] = (uint8_t)at;
        }
        assert_true(lp_hash_bytes(&no_key, block + 1, cases[i].bytes) == cases[i].plain);
        assert_true(lp_hash_bytes(&key, block + 1, cases[i].bytes) == cases[i].keyed);
        free(block);
    }
    assert_true(lp_hash_bytes(&key, NULL, 0) == lp_hash_bytes(&key, "", 0));
    assert_true(lp_hash_bytes(&key, NULL, 0) != lp_hash_bytes(&no_key, NULL, 0));
}

static void
mixing_a_number_in_is_not_commutative(void **unused)
{
    (void)unused;
    assert_true(lp_hash_mix(1, 2) != lp_hash_mix(2, 1));
    assert_true(lp_hash_mix(0, 0) != 0);
    uint64_t seen = 0;
    for (uint64_t i = 0; i < 64; i++) {
        seen |= 1ull << (lp_hash_mix(77, i) & 63u);
    }
    assert_true(__builtin_popcountll(seen) > 30); /* 64 draws from 64: about 40 different ones */
}

static void
equal_hashes_are_all_found_and_others_are_not(void **unused)
{
    (void)unused;
    struct arena arena;
    arena_init(&arena, ARENA_BYTES);
    struct lp_hash hash;
    assert_int_equal(lp_hash_init(&hash, arena.memory), LP_OK);
    assert_null(lp_hash_first(&hash, 5));

    struct item item[6] = {0};
    lp_hash_insert(&hash, &item[0].node, 5);
    lp_hash_insert(&hash, &item[1].node, 5 + (1ull << 32)); /* the same bucket, another hash */
    lp_hash_insert(&hash, &item[2].node, 5);
    lp_hash_insert(&hash, &item[3].node, 5 + (1ull << 40));
    lp_hash_insert(&hash, &item[4].node, 5);
    lp_hash_insert(&hash, &item[5].node, 6);

    uint32_t found = 0;
    for (struct lp_hash_node *at = lp_hash_first(&hash, 5); at != NULL; at = lp_hash_next(at)) {
        found |= 1u << (item_of(at) - item);
    }
    assert_int_equal(found, 0x15);
    lp_hash_remove(&hash, &item[2].node);
    lp_hash_remove(&hash, &item[0].node);
    assert_ptr_equal(lp_hash_first(&hash, 5), &item[4].node);
    assert_null(lp_hash_next(&item[4].node));
    lp_hash_remove(&hash, &item[4].node);
    assert_null(lp_hash_first(&hash, 5));
    lp_hash_remove(&hash, &item[1].node);
    lp_hash_remove(&hash, &item[3].node);
    lp_hash_remove(&hash, &item[5].node);
    assert_int_equal(hash.count, 0);
    lp_hash_fini(&hash);
    arena_fini(&arena);
}

static void
no_chain_is_long_and_no_memory_is_kept(void **unused)
{
    (void)unused;
    enum { count = 50000 };
    struct arena arena;
    arena_init(&arena, ARENA_BYTES);
    struct lp_hash hash;
    assert_int_equal(lp_hash_init(&hash, arena.memory), LP_OK);
    const uint64_t at_rest = lp_memory_used_bytes(arena.memory);
    struct item *item = calloc(count, sizeof(*item));
    assert_non_null(item);
    for (uint32_t i = 0; i < count; i++) {
        lp_hash_insert(&hash, &item[i].node, lp_hash_mix(1, i));
    }
    assert_in_range(hash.buckets, count - 1, count);
    uint32_t longest = 0;
    for (uint32_t i = 0; i < hash.buckets; i++) {
        const struct lp_hash_node *at =
            hash.segments[i / LP_HASH_SEGMENT_BUCKETS][i % LP_HASH_SEGMENT_BUCKETS];
        uint32_t length = 0;
        for (; at != NULL; at = at->next) {
            length++;
        }
        longest = LP_MAX(longest, length);
    }
    assert_true(longest < 20);
    for (uint32_t i = 0; i < count; i++) {
        assert_ptr_equal(lp_hash_first(&hash, lp_hash_mix(1, i)), &item[i].node);
        lp_hash_remove(&hash, &item[i].node);
    }
    assert_int_equal(hash.buckets, LP_HASH_SEGMENT_BUCKETS);
    /* Only the directory stays grown. */
    assert_in_range(lp_memory_used_bytes(arena.memory), at_rest, at_rest + 1024);
    free(item);
    lp_hash_fini(&hash);
    arena_fini(&arena);
}

static void
init_without_memory_fails_and_takes_none(void **unused)
{
    (void)unused;
    struct arena arena;
    arena_init(&arena, 1u << 20);
    void *chain = arena_exhaust(&arena);
    struct lp_hash hash = {0};
    assert_int_equal(lp_hash_init(&hash, arena.memory), LP_ERR_NO_MEMORY);
    assert_null(hash.segments);
    /* Room for a directory and no segment. */
    void *block = chain;
    chain = *(void **)block;
    lp_memory_release(arena.memory, &block);
    const uint64_t used = lp_memory_used_bytes(arena.memory);
    assert_int_equal(lp_hash_init(&hash, arena.memory), LP_ERR_NO_MEMORY);
    assert_int_equal(lp_memory_used_bytes(arena.memory), used);
    lp_hash_fini(&hash); /* half made */
    arena_relax(&arena, chain);
    arena_fini(&arena);
}

/* Inserts and removals at random; the fault says at which growths memory is gone. */
static void
run_against_an_array(uint64_t seed, struct lp_test_fault *fault)
{
    enum { slots = 6000 };
    struct arena arena;
    arena_init(&arena, ARENA_BYTES);
    struct random random = {seed};
    struct lp_hash hash;
    assert_int_equal(lp_hash_init(&hash, arena.memory), LP_OK);
    struct item *item = calloc(slots, sizeof(*item));
    assert_non_null(item);
    uint32_t count = 0;
    for (uint32_t step = 0; step < 60000; step++) {
        const uint32_t i = random_below(&random, slots);
        /* Grow to most of the slots, shrink to few, and again. */
        const bool want = random_below(&random, 10) < (step / 20000 % 2 == 0 ? 9u : 1u);
        if (want && !item[i].in) {
            const bool fail = hash.count >= hash.buckets && lp_test_fault_hit(fault);
            void *chain = fail ? arena_exhaust(&arena) : NULL;
            lp_hash_insert(&hash, &item[i].node, lp_hash_mix(seed, i / 2)); /* pairs collide */
            arena_relax(&arena, chain);
            item[i].in = true;
            count++;
        } else if (!want && item[i].in) {
            lp_hash_remove(&hash, &item[i].node);
            item[i].in = false;
            count--;
        }
        assert_int_equal(hash.count, count);
        uint32_t found = 0;
        struct lp_hash_node *at = lp_hash_first(&hash, lp_hash_mix(seed, i / 2));
        for (; at != NULL; at = lp_hash_next(at)) {
            found++;
            assert_true(item_of(at) == &item[i & ~1u] || item_of(at) == &item[i | 1u]);
        }
        assert_int_equal(found, item[i & ~1u].in + item[i | 1u].in);
    }
    for (uint32_t i = 0; i < slots; i++) {
        if (item[i].in) {
            lp_hash_remove(&hash, &item[i].node);
        }
    }
    free(item);
    lp_hash_fini(&hash);
    arena_fini(&arena);
}

static void
random_use_agrees_with_an_array(void **unused)
{
    (void)unused;
    for (uint64_t seed = 1; seed <= 5; seed++) {
        struct lp_test_fault none = {0};
        run_against_an_array(seed, &none);
        assert_false(lp_test_fault_reached(&none));
    }
}

static void
growth_that_fails_loses_nothing(void **unused)
{
    (void)unused;
    static const struct lp_test_fault faults[] = {
        {.first = 1, .times = 1}, {.first = 512, .times = 2}, {.first = 1, .times = 300}};
    for (size_t i = 0; i < LP_COUNT_OF(faults); i++) {
        struct lp_test_fault fault = faults[i];
        run_against_an_array(i, &fault);
        assert_true(lp_test_fault_reached(&fault));
    }
}

static void
remove_a_stranger(void *context)
{
    struct item stranger = {.node.hash = 99};
    lp_hash_remove(context, &stranger.node);
}

static void
end_with_an_item_in(void *context)
{
    struct item item = {0};
    lp_hash_insert(context, &item.node, 1);
    lp_hash_fini(context);
}

static void
misuse_is_found(void **unused)
{
    (void)unused;
    struct arena arena;
    arena_init(&arena, ARENA_BYTES);
    struct lp_hash hash;
    assert_int_equal(lp_hash_init(&hash, arena.memory), LP_OK);
    assert_true(lp_test_panics(remove_a_stranger, &hash));
    assert_true(lp_test_panics(end_with_an_item_in, &hash));
    lp_hash_fini(&hash);
    arena_fini(&arena);
}

int
main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(bytes_hash_to_the_published_function),
        cmocka_unit_test(mixing_a_number_in_is_not_commutative),
        cmocka_unit_test(equal_hashes_are_all_found_and_others_are_not),
        cmocka_unit_test(no_chain_is_long_and_no_memory_is_kept),
        cmocka_unit_test(init_without_memory_fails_and_takes_none),
        cmocka_unit_test(random_use_agrees_with_an_array),
        cmocka_unit_test(growth_that_fails_loses_nothing),
        cmocka_unit_test(misuse_is_found),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
