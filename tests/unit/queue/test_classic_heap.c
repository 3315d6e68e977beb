/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The heap of returned messages gives the lowest position first, whatever
 * came in between.
 *
 * Method: random pushes and pops beside a sorted array; then the shapes that
 * a heap likes least.
 */
#include "dataplane/queue/classic/heap.h"

#include "tests/unit/base/base_test.h"

#define ENTRIES 2000u

static struct lp_entry entries[ENTRIES];

/* The model: positions in the heap, ascending. */
struct model {
    uint64_t position[ENTRIES];
    uint32_t count;
};

static void
model_add(struct model *model, uint64_t position)
{
    uint32_t at = model->count++;
    for (; at > 0 && model->position[at - 1] > position; at--) {
        model->position[at] = model->position[at - 1];
    }
    model->position[at] = position;
}

static uint64_t
model_take(struct model *model)
{
    const uint64_t least = model->position[0];
    model->count--;
    memmove(model->position, model->position + 1, model->count * sizeof(model->position[0]));
    return least;
}

/* Entries that are not in the heap, by index. */
struct idle {
    uint32_t index[ENTRIES];
    uint32_t count;
};

static void
pop_and_compare(struct lp_binary_heap *heap, struct model *model, struct idle *idle)
{
    struct lp_entry *entry = classic_heap_pop(heap);
    if (model->count == 0) {
        assert_null(entry);
        return;
    }
    assert_non_null(entry);
    assert_int_equal(entry->position, model_take(model));
    assert_null(entry->link.next); /* it may go on a list */
    assert_null(entry->link.prev);
    idle->index[idle->count++] = (uint32_t)(entry - entries);
}

static void
random_traffic_comes_out_as_from_a_sorted_list(void **unused)
{
    (void)unused;
    for (uint64_t seed = 1; seed <= 20; seed++) {
        static struct model model;
        static struct idle idle;
        struct random random = {seed};
        struct lp_binary_heap heap = {NULL, 0};
        uint64_t next = 1;
        model.count = 0;
        idle.count = ENTRIES;
        for (uint32_t i = 0; i < ENTRIES; i++) {
            idle.index[i] = i;
        }
        for (uint32_t step = 0; step < 6000; step++) {
            /* Seeds lean to growing or to shrinking. */
            if (idle.count == 0 || random_below(&random, 20) < seed) {
                pop_and_compare(&heap, &model, &idle);
                continue;
            }
            const uint32_t pick = random_below(&random, idle.count);
            struct lp_entry *entry = &entries[idle.index[pick]];
            idle.index[pick] = idle.index[--idle.count];
            /* Unique, in no order. */
            entry->position = ((uint64_t)random_below(&random, 1000) << 32) | next++;
            model_add(&model, entry->position);
            classic_heap_push(&heap, entry);
        }
        while (model.count > 0) {
            pop_and_compare(&heap, &model, &idle);
        }
        assert_null(classic_heap_peek(&heap));
        assert_null(classic_heap_pop(&heap));
    }
}

/* Ascending (a requeued channel), descending, and zigzag, as a whole and in rounds. */
static void
orders_that_come_in_practice_come_out_sorted(void **unused)
{
    (void)unused;
    for (uint32_t order = 0; order < 3; order++) {
        struct lp_binary_heap heap = {NULL, 0};
        for (uint32_t i = 0; i < ENTRIES; i++) {
            const uint32_t zigzag = i % 2 == 0 ? i / 2 : ENTRIES - 1 - i / 2;
            const uint32_t position = order == 0 ? i : order == 1 ? ENTRIES - 1 - i : zigzag;
            entries[i].position = position;
            classic_heap_push(&heap, &entries[i]);
        }
        for (uint32_t i = 0; i < ENTRIES; i++) {
            struct lp_entry *entry = classic_heap_pop(&heap);
            assert_non_null(entry);
            assert_int_equal(entry->position, i);
            if (i % 3 == 0 && i > 0) { /* back, and out again */
                classic_heap_push(&heap, entry);
                assert_ptr_equal(classic_heap_pop(&heap), entry);
            }
        }
        assert_null(classic_heap_peek(&heap));
    }
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(random_traffic_comes_out_as_from_a_sorted_list),
        cmocka_unit_test(orders_that_come_in_practice_come_out_sorted),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
