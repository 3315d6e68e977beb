/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A heap gives back what was put in, the least first.
 *
 * Method: random pushes and pops beside an array that is searched.
 */
#include "dataplane/base/pairing.h"

#include "tests/unit/base/base_test.h"

#define ITEMS 500u

struct item {
    struct lp_pairing node;
    uint32_t value; /* different from all others */
    bool in;
};

static bool
item_before(const struct lp_pairing *a, const struct lp_pairing *b)
{
    return ((const struct item *)(const void *)a)->value <
           ((const struct item *)(const void *)b)->value;
}

static void
the_least_comes_first(void **unused)
{
    (void)unused;
    static struct item items[ITEMS];
    struct random random = {9};
    struct lp_pairing *heap = NULL;
    uint32_t in = 0;
    for (uint32_t i = 0; i < ITEMS; i++) {
        items[i].value = i * 7919u % 65521u;
    }
    for (uint32_t step = 0; step < 20000; step++) {
        struct item *item = &items[random_below(&random, ITEMS)];
        const bool mostly_pushes = step / 1000 % 2 == 0;
        if (!item->in && (mostly_pushes || random_below(&random, 3) == 0)) {
            item->in = true;
            in++;
            lp_pairing_push(&heap, &item->node, item_before);
            continue;
        }
        struct item *least = NULL;
        for (uint32_t i = 0; i < ITEMS; i++) {
            if (items[i].in && (!least || items[i].value < least->value)) {
                least = &items[i];
            }
        }
        assert_ptr_equal(lp_pairing_pop(&heap, item_before), least);
        if (least) {
            least->in = false;
            in--;
        }
    }
    while (in > 0) {
        assert_non_null(lp_pairing_pop(&heap, item_before));
        in--;
    }
    assert_null(heap);
    assert_null(lp_pairing_pop(&heap, item_before));
}

/* All children of one root, as after many pushes in order: no recursion, whatever its shape. */
static void
a_flat_heap_and_a_deep_one_are_emptied(void **unused)
{
    (void)unused;
    const uint32_t count = 200000;
    struct item *items = calloc(count, sizeof(*items));
    assert_non_null(items);
    for (uint32_t down = 0; down < 2; down++) {
        struct lp_pairing *heap = NULL;
        for (uint32_t i = 0; i < count; i++) {
            items[i].value = down ? count - i : i;
            lp_pairing_push(&heap, &items[i].node, item_before);
        }
        for (uint32_t i = 0; i < count; i++) {
            const struct lp_pairing *node = lp_pairing_pop(&heap, item_before);
            assert_non_null(node);
            assert_int_equal(((const struct item *)(const void *)node)->value, down ? i + 1 : i);
        }
        assert_null(heap);
    }
    free(items);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_least_comes_first),
        cmocka_unit_test(a_flat_heap_and_a_deep_one_are_emptied),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
