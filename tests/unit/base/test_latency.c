/* SPDX-License-Identifier: Apache-2.0 */
/* The buckets of latencies: in order, without gaps, and narrow enough for two digits. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <lepus/latency.h>

static void
every_bucket_begins_where_the_one_before_ends(void **unused)
{
    (void)unused;
    assert_int_equal(lp_latency_lower(0), 0);
    for (uint32_t i = 0; i + 1 < LP_LATENCY_BUCKETS; i++) {
        assert_int_equal(lp_latency_lower(i) + lp_latency_width(i), lp_latency_lower(i + 1));
    }
    assert_int_equal(lp_latency_lower(LP_LATENCY_BUCKETS - 1) +
                         lp_latency_width(LP_LATENCY_BUCKETS - 1),
                     (uint64_t)1 << LP_LATENCY_REACH_LOG2);
}

static void
the_first_and_the_last_value_of_a_bucket_are_in_it(void **unused)
{
    (void)unused;
    for (uint32_t i = 0; i < LP_LATENCY_BUCKETS; i++) {
        assert_int_equal(lp_latency_bucket(lp_latency_lower(i)), i);
        assert_int_equal(lp_latency_bucket(lp_latency_lower(i) + lp_latency_width(i) - 1), i);
    }
}

static void
a_buckets_middle_is_within_one_percent_of_all_that_is_in_it(void **unused)
{
    (void)unused;
    for (uint32_t i = LP_LATENCY_LINEAR; i < LP_LATENCY_BUCKETS; i++) {
        assert_true(lp_latency_width(i) * 50 <= lp_latency_lower(i));
    }
}

static void
what_is_beyond_its_reach_is_in_the_last_one(void **unused)
{
    (void)unused;
    assert_int_equal(lp_latency_bucket(UINT64_MAX), LP_LATENCY_BUCKETS - 1);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_bucket_begins_where_the_one_before_ends),
        cmocka_unit_test(the_first_and_the_last_value_of_a_bucket_are_in_it),
        cmocka_unit_test(a_buckets_middle_is_within_one_percent_of_all_that_is_in_it),
        cmocka_unit_test(what_is_beyond_its_reach_is_in_the_last_one),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
