/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A heap gives back what was put in, the least first, and no operation is long.
 *
 * Method: random pushes and pops beside an array that is searched; a walk over
 * the tree after each; comparisons are counted, for the orders that heaps like
 * least.
 */
#include "dataplane/base/binary_heap.h"

#include "tests/unit/base/base_test.h"

#define ITEMS 500u

struct item {
    struct lp_heap_node node;
    uint32_t value; /* different from all others */
    bool in;
};

static uint64_t comparisons;

static struct item *
item_of(struct lp_heap_node *node)
{
    return LP_CONTAINER_OF(node, struct item, node);
}

static bool
item_before(const struct lp_heap_node *a, const struct lp_heap_node *b)
{
    comparisons++;
    return ((const struct item *)(const void *)a)->value <
           ((const struct item *)(const void *)b)->value;
}

static uint32_t
log2_of(uint64_t count)
{
    uint32_t log2 = 0;
    while (count >>= 1) {
        log2++;
    }
    return log2;
}

static void
push(struct lp_binary_heap *heap, struct item *item)
{
    comparisons = 0;
    lp_binary_heap_push(heap, &item->node, item_before);
    assert_true(comparisons <= log2_of(heap->count));
}

static struct item *
pop(struct lp_binary_heap *heap)
{
    const uint64_t count = heap->count;
    comparisons = 0;
    struct lp_heap_node *node = lp_binary_heap_pop(heap, item_before);
    if (!node) {
        assert_int_equal(count, 0);
        return NULL;
    }
    assert_int_equal(heap->count, count - 1);
    assert_true(comparisons <= 2ull * log2_of(count));
    assert_null(node->child[0]);
    assert_null(node->child[1]);
    return item_of(node);
}

/* Every place up to the count has a node, and none comes before the one above it. */
static void
tree_check(struct lp_binary_heap *heap)
{
    static struct item *at[2 * ITEMS + 2];
    at[1] = heap->first ? item_of(heap->first) : NULL;
    for (uint64_t place = 1; place <= heap->count; place++) {
        assert_non_null(at[place]);
        assert_true(place == 1 || at[place / 2]->value < at[place]->value);
        for (uint32_t side = 0; side < 2; side++) {
            struct lp_heap_node *child = at[place]->node.child[side];
            assert_true((child != NULL) == (2 * place + side <= heap->count));
            at[2 * place + side] = child ? item_of(child) : NULL;
        }
    }
}

static struct item *
search(struct item *items)
{
    struct item *least = NULL;
    for (uint32_t i = 0; i < ITEMS; i++) {
        if (items[i].in && (!least || items[i].value < least->value)) {
            least = &items[i];
        }
    }
    return least;
}

static void
the_least_comes_first(void **unused)
{
    (void)unused;
    static struct item items[ITEMS];
    struct random random = {9};
    struct lp_binary_heap heap = {NULL, 0};
    for (uint32_t i = 0; i < ITEMS; i++) {
        items[i].value = i * 7919u % 65521u;
    }
    for (uint32_t step = 0; step < 20000; step++) {
        struct item *item = &items[random_below(&random, ITEMS)];
        const bool mostly_pushes = step / 1000 % 2 == 0;
        if (!item->in && (mostly_pushes || random_below(&random, 3) == 0)) {
            item->in = true;
            push(&heap, item);
        } else {
            struct item *least = search(items);
            assert_ptr_equal(pop(&heap), least);
            if (least) {
                least->in = false;
            }
        }
        tree_check(&heap);
    }
    while (heap.count > 0) {
        struct item *least = pop(&heap);
        assert_ptr_equal(least, search(items));
        least->in = false;
        tree_check(&heap);
    }
    assert_null(heap.first);
    assert_null(pop(&heap));
}

/* The i-th of `count` values, each once: rising, falling, from both ends, shuffled. */
static uint32_t
value_at(uint32_t order, uint32_t i, uint32_t count)
{
    switch (order) {
    case 0:
        return i;
    case 1:
        return count - 1 - i;
    case 2:
        return i % 2 == 0 ? i / 2 : count - 1 - i / 2;
    default:
        return (uint32_t)((uint64_t)i * 7919u % count);
    }
}

static void
no_order_makes_an_operation_long(void **unused)
{
    (void)unused;
    const uint32_t count = 200000; /* no multiple of 7919 */
    struct item *items = calloc(count, sizeof(*items));
    assert_non_null(items);
    for (uint32_t order = 0; order < 4; order++) {
        struct lp_binary_heap heap = {NULL, 0};
        for (uint32_t i = 0; i < count; i++) {
            items[i].value = value_at(order, i, count);
            push(&heap, &items[i]);
        }
        for (uint32_t i = 0; i < count; i++) {
            struct item *item = pop(&heap);
            assert_non_null(item);
            assert_int_equal(item->value, i);
        }
        assert_null(heap.first);
    }
    free(items);
}

/* As messages with one delay do: the first goes, one comes behind the last. */
static void
a_queue_in_order_stays_one(void **unused)
{
    (void)unused;
    static struct item items[ITEMS];
    struct lp_binary_heap heap = {NULL, 0};
    for (uint32_t i = 0; i < 20 * ITEMS; i++) {
        if (i >= ITEMS) {
            assert_int_equal(pop(&heap)->value, i - ITEMS);
        }
        items[i % ITEMS].value = i;
        push(&heap, &items[i % ITEMS]);
    }
    tree_check(&heap);
    assert_int_equal(heap.count, ITEMS);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_least_comes_first),
        cmocka_unit_test(no_order_makes_an_operation_long),
        cmocka_unit_test(a_queue_in_order_stays_one),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
