/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Is a number open exactly from append to close, and is memory held only for
 * chunks that have one open?
 */
#include "tests/unit/base/base_test.h"

#include "dataplane/base/window.h"

#define ARENA_BYTES (4u << 20)

static struct lp_window
window_make(struct arena *arena, uint32_t slot_bytes)
{
    struct lp_window window;
    arena_init(arena, ARENA_BYTES);
    lp_window_init(&window, arena->memory, slot_bytes);
    return window;
}

static uint64_t
append(struct lp_window *window)
{
    uint64_t number = 0;
    uint64_t *slot = lp_window_append(window, &number);
    assert_true(slot != NULL && *slot == 0);
    *slot = ~number;
    return number;
}

static void
an_untouched_window_holds_no_memory(void **unused)
{
    (void)unused;
    struct arena arena;
    struct lp_window window = window_make(&arena, 8);
    uint64_t number = 77;
    assert_int_equal(lp_memory_used_bytes(arena.memory), 0);
    assert_null(lp_window_get(&window, 0));
    assert_null(lp_window_get(&window, 1));
    assert_null(lp_window_get(&window, UINT64_MAX));
    assert_null(lp_window_next_open(&window, 0, &number));
    assert_int_equal(number, 77);
    assert_int_equal(window.first_open, 1);
    lp_window_fini(&window);
    arena_fini(&arena);
}

static void
numbers_begin_at_one_and_slots_are_zeroed(void **unused)
{
    (void)unused;
    static const uint32_t sizes[] = {1, 7, 8, 9, 31, 32, 33, 63, 64};
    for (size_t n = 0; n < LP_COUNT_OF(sizes); n++) {
        const uint32_t slot_bytes = sizes[n];
        struct arena arena;
        struct lp_window window = window_make(&arena, slot_bytes);
        for (uint64_t i = 1; i < 400; i++) {
            uint64_t number = 0;
            uint8_t *slot = lp_window_append(&window, &number);
            assert_non_null(slot);
            assert_int_equal(number, i);
            assert_int_equal((uintptr_t)slot % 8, 0);
            for (uint32_t at = 0; at < slot_bytes; at++) {
                assert_int_equal(slot[at], 0);
            }
            memset(slot, 0xff, slot_bytes);
            assert_ptr_equal(lp_window_get(&window, number), slot);
            if (i % 3 == 0) {
                lp_window_close(&window, number);
            }
        }
        assert_null(lp_window_get(&window, 0));
        assert_null(lp_window_get(&window, 400));
        lp_window_fini(&window);
        arena_fini(&arena);
    }
}

static void
a_closed_number_is_closed_for_good(void **unused)
{
    (void)unused;
    struct arena arena;
    struct lp_window window = window_make(&arena, 8);
    for (uint64_t i = 1; i <= 1000; i++) {
        assert_int_equal(append(&window), i);
        lp_window_close(&window, i);
        assert_null(lp_window_get(&window, i));
        assert_int_equal(window.first_open, i + 1);
        assert_int_equal(window.open_count, 0);
    }
    lp_window_fini(&window);
    arena_fini(&arena);
}

static void
skipped_numbers_are_never_open(void **unused)
{
    (void)unused;
    struct arena arena;
    struct lp_window window = window_make(&arena, 8);
    for (uint32_t i = 0; i < 1000; i++) {
        lp_window_skip(&window);
    }
    assert_int_equal(window.first_open, 1001);
    assert_int_equal(lp_memory_used_bytes(arena.memory), 0);
    assert_int_equal(append(&window), 1001);
    for (uint32_t i = 0; i < 100000; i++) {
        lp_window_skip(&window);
    }
    assert_int_equal(window.first_open, 1001);
    assert_int_equal(append(&window), 101002);
    assert_null(lp_window_get(&window, 101001));
    assert_null(lp_window_get(&window, 50000));
    uint64_t number = 0;
    assert_non_null(lp_window_next_open(&window, 1002, &number));
    assert_int_equal(number, 101002);
    lp_window_close(&window, 1001);
    assert_int_equal(window.first_open, 101002);
    lp_window_close(&window, 101002);
    assert_null(lp_window_next_open(&window, 0, &number));
    lp_window_fini(&window);
    arena_fini(&arena);
}

static void
a_straggler_holds_only_its_own_chunk(void **unused)
{
    (void)unused;
    struct arena arena;
    struct lp_window window = window_make(&arena, 32);
    assert_int_equal(append(&window), 1);
    for (uint64_t i = 2; i <= 200000; i++) {
        assert_int_equal(append(&window), i);
        lp_window_close(&window, i);
    }
    assert_int_equal(window.first_open, 1);
    /* Its chunk, and eight bytes for each chunk since, at most doubled. */
    const uint64_t directory_bytes = 2 * 8 * (200000 / LP_WINDOW_CHUNK_SLOTS + 1);
    assert_true(lp_memory_used_bytes(arena.memory) <= 4096 + LP_MAX(directory_bytes, 65536));
    assert_int_equal(*(uint64_t *)lp_window_get(&window, 1), ~1ull);
    lp_window_close(&window, 1);
    assert_int_equal(window.first_open, 200001);
    assert_int_equal(lp_memory_used_bytes(arena.memory), 0);
    lp_window_fini(&window);
    arena_fini(&arena);
}

static void
a_full_chunk_fills_a_class(void **unused)
{
    (void)unused;
    static const uint32_t sizes[][2] = {{8, 1024},  {16, 2048}, {24, 3072},
                                        {32, 4096}, {48, 6144}, {64, 8192}};
    for (size_t i = 0; i < LP_COUNT_OF(sizes); i++) {
        struct arena arena;
        struct lp_window window = window_make(&arena, sizes[i][0]);
        (void)append(&window);
        assert_int_equal(lp_memory_used_bytes(arena.memory), sizes[i][1] + 64);
        lp_window_fini(&window);
        arena_fini(&arena);
    }
}

static void
append_without_memory_uses_no_number(void **unused)
{
    (void)unused;
    struct arena arena;
    struct lp_window window = window_make(&arena, 8);
    uint64_t number = 77;
    void *chain = arena_exhaust(&arena);
    assert_null(lp_window_append(&window, &number));
    assert_int_equal(number, 77);
    assert_int_equal(window.next, 1);
    arena_relax(&arena, chain);

    for (uint64_t i = 1; i < LP_WINDOW_CHUNK_SLOTS; i++) {
        (void)append(&window);
    }
    /* The next one needs a chunk. */
    chain = arena_exhaust(&arena);
    assert_null(lp_window_append(&window, &number));
    assert_int_equal(window.next, LP_WINDOW_CHUNK_SLOTS);
    assert_null(lp_window_get(&window, LP_WINDOW_CHUNK_SLOTS));
    arena_relax(&arena, chain);
    assert_int_equal(append(&window), LP_WINDOW_CHUNK_SLOTS);
    lp_window_fini(&window);
    arena_fini(&arena);
}

/* --- against a model ------------------------------------------------------ */

#define MODEL_NUMBERS 40000u

struct model {
    struct lp_window window;
    struct random random;
    bool open[MODEL_NUMBERS];
    uint64_t next;
    uint64_t count;
    uint64_t first_open; /* it only grows: no need to search from the beginning each time */
};

static uint64_t
model_next_open(const struct model *model, uint64_t from)
{
    while (from < model->next && !model->open[from]) {
        from++;
    }
    return from;
}

static void
model_step(struct model *model)
{
    struct lp_window *window = &model->window;
    const uint32_t choice = random_below(&model->random, 20);
    if (choice < 9) {
        model->open[model->next] = true;
        model->count++;
        assert_int_equal(append(window), model->next);
        model->next++;
    } else if (choice == 9) {
        lp_window_skip(window);
        model->next++;
    } else {
        /* Mostly the oldest, sometimes anywhere, sometimes everything up to a number. */
        uint64_t at =
            choice < 18 ? window->first_open : 1 + random_next(&model->random) % model->next;
        at = model_next_open(model, at);
        const uint64_t end = choice == 19 ? at + random_below(&model->random, 600) : at;
        for (; at <= end && at < model->next; at++) {
            if (model->open[at]) {
                assert_int_equal(*(uint64_t *)lp_window_get(window, at), ~at);
                lp_window_close(window, at);
                model->open[at] = false;
                model->count--;
            }
        }
    }
}

static void
model_compare(struct model *model)
{
    const struct lp_window *window = &model->window;
    const uint64_t from = random_next(&model->random) % (model->next + 10);
    const uint64_t first = model_next_open(model, LP_MAX(from, model->first_open));
    uint64_t number = 0;
    const uint64_t *slot = lp_window_next_open(window, from, &number);
    if (first < model->next) {
        assert_true(slot != NULL && *slot == ~first);
        assert_int_equal(number, first);
    } else {
        assert_null(slot);
    }
    assert_int_equal(window->next, model->next);
    assert_int_equal(window->open_count, model->count);
    model->first_open = model_next_open(model, model->first_open);
    assert_int_equal(window->first_open, model->first_open);
    const bool open = from > 0 && from < model->next && model->open[from];
    assert_int_equal(lp_window_get(window, from) != NULL, open);
}

static void
random_use_agrees_with_an_array(void **unused)
{
    (void)unused;
    for (uint64_t seed = 1; seed <= 6; seed++) {
        struct arena arena;
        struct model *model = calloc(1, sizeof(*model));
        assert_non_null(model);
        model->window = window_make(&arena, seed % 2 == 0 ? 8 : 32);
        model->random.state = seed;
        model->next = 1;
        model->first_open = 1;
        while (model->next < MODEL_NUMBERS - 1) {
            model_step(model);
            if (random_below(&model->random, 16) == 0) {
                model_compare(model);
            }
        }
        lp_memory_check(arena.memory);
        lp_window_fini(&model->window);
        free(model);
        arena_fini(&arena);
    }
}

static void
close_what_was_never_open(void *context)
{
    lp_window_close(context, 1000);
}

static void
close_twice(void *context)
{
    uint64_t number = 0;
    (void)lp_window_append(context, &number);
    lp_window_close(context, number);
    lp_window_close(context, number);
}

static void
misuse_is_found(void **unused)
{
    (void)unused;
    struct arena arena;
    struct lp_window window = window_make(&arena, 8);
    (void)append(&window);
    assert_true(lp_test_panics(close_what_was_never_open, &window));
    assert_true(lp_test_panics(close_twice, &window));
    lp_window_fini(&window);
    lp_window_fini(&window); /* again: nothing left to do */
    arena_fini(&arena);
}

int
main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_untouched_window_holds_no_memory),
        cmocka_unit_test(numbers_begin_at_one_and_slots_are_zeroed),
        cmocka_unit_test(a_closed_number_is_closed_for_good),
        cmocka_unit_test(skipped_numbers_are_never_open),
        cmocka_unit_test(a_straggler_holds_only_its_own_chunk),
        cmocka_unit_test(a_full_chunk_fills_a_class),
        cmocka_unit_test(append_without_memory_uses_no_number),
        cmocka_unit_test(random_use_agrees_with_an_array),
        cmocka_unit_test(misuse_is_found),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
