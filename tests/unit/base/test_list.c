/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The list's corner cases: zeroed links, the last link, links that are on no
 * list.  And the histogram's buckets, which are as small.
 */
#include "tests/unit/base/base_test.h"

#include <lepus/turn_histogram.h>

#include "dataplane/base/list.h"

struct item {
    uint32_t number;
    struct lp_list link;
};

static void
expect_order(struct lp_list *list, const char *expected)
{
    char seen[16] = {0};
    uint32_t count = 0;
    for (struct lp_list *at = list->next; at != list; at = at->next) {
        assert_ptr_equal(at->next->prev, at);
        assert_true(count < sizeof(seen) - 1);
        seen[count++] = (char)('0' + LP_LIST_ITEM(at, struct item, link)->number);
    }
    assert_string_equal(seen, expected);
}

static void
links_go_where_they_are_put(void **unused)
{
    (void)unused;
    struct lp_list list;
    struct item item[5] = {
        {.number = 0}, {.number = 1}, {.number = 2}, {.number = 3}, {.number = 4}};
    lp_list_init(&list);
    assert_true(lp_list_empty(&list));
    lp_list_push_back(&list, &item[1].link);
    lp_list_push_back(&list, &item[2].link);
    lp_list_insert_before(list.next, &item[0].link);
    lp_list_insert_before(&item[2].link, &item[3].link);
    expect_order(&list, "0132");
    lp_list_remove(&item[1].link);
    expect_order(&list, "032");
    lp_list_push_back(&list, &item[1].link);
    expect_order(&list, "0321");
    lp_list_unlink(&item[2].link);
    assert_null(item[2].link.next);
    assert_null(item[2].link.prev);
    expect_order(&list, "031");
    lp_list_insert_before(&item[1].link, &item[2].link);
    expect_order(&list, "0321");
    assert_ptr_equal(lp_list_pop_front(&list), &item[0].link);
    assert_ptr_equal(lp_list_pop_front(&list), &item[3].link);
    assert_ptr_equal(lp_list_pop_front(&list), &item[2].link);
    assert_ptr_equal(lp_list_pop_front(&list), &item[1].link);
    assert_null(lp_list_pop_front(&list));
    assert_true(lp_list_empty(&list));
}

static void
a_link_knows_whether_it_is_on_a_list(void **unused)
{
    (void)unused;
    struct lp_list list;
    struct item zeroed = {0};
    lp_list_init(&list);
    assert_false(lp_list_linked(&zeroed.link));
    lp_list_remove(&zeroed.link); /* harmless */
    lp_list_push_back(&list, &zeroed.link);
    assert_true(lp_list_linked(&zeroed.link));
    lp_list_remove(&zeroed.link);
    assert_false(lp_list_linked(&zeroed.link));
    lp_list_remove(&zeroed.link);
    assert_true(lp_list_empty(&list));
}

static void
push_twice(void *context)
{
    struct lp_list list;
    (void)context;
    struct item item = {0};
    lp_list_init(&list);
    lp_list_push_back(&list, &item.link);
    lp_list_push_back(&list, &item.link);
}

static void
a_link_on_two_lists_is_a_bug(void **unused)
{
    (void)unused;
    assert_true(lp_test_panics(push_twice, NULL));
}

static void
a_bucket_holds_its_lower_bound_and_what_is_an_eighth_above(void **unused)
{
    (void)unused;
    for (uint32_t bucket = 0; bucket < 255; bucket++) {
        const uint64_t lower = lp_turn_bucket_lower(bucket);
        const uint64_t next = lp_turn_bucket_lower(bucket + 1);
        assert_int_equal(lp_turn_bucket(lower, 256), bucket);
        assert_int_equal(lp_turn_bucket(next - 1, 256), bucket);
        assert_true(next > lower);
        assert_true(bucket < 8 || (next - lower) * 8 <= lower);
    }
    assert_int_equal(lp_turn_bucket(UINT64_MAX, 256), 255);
    assert_int_equal(lp_turn_bucket(1ull << 40, 256), 255);
}

int
main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(links_go_where_they_are_put),
        cmocka_unit_test(a_link_knows_whether_it_is_on_a_list),
        cmocka_unit_test(a_link_on_two_lists_is_a_bug),
        cmocka_unit_test(a_bucket_holds_its_lower_bound_and_what_is_an_eighth_above),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
