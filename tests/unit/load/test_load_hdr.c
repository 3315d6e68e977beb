/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Is what lepus-bench's histogram says of a distribution true to three digits?
 *
 * Method: known samples, quantiles compared with those of the sorted samples.
 */
#include "bench/load/hdr.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>

#include <cmocka.h>

static void
assert_near(uint64_t found, uint64_t exact)
{
    assert_true(found >= exact);
    assert_true(found - exact <= exact / LOAD_HDR_SUB + 1);
}

static void
every_bucket_begins_where_the_one_before_ends(void **unused)
{
    (void)unused;
    for (uint32_t i = 1; i < LOAD_HDR_BUCKETS; i++) {
        const uint64_t lower = load_hdr_lower(i);
        assert_int_equal(load_hdr_index(lower), i);
        assert_int_equal(load_hdr_index(lower - 1), i - 1);
    }
    assert_int_equal(load_hdr_index(UINT64_MAX), LOAD_HDR_BUCKETS - 1);
}

static void
quantiles_are_those_of_the_samples_to_three_digits(void **unused)
{
    (void)unused;
    struct load_hdr *hdr = load_hdr_new();
    assert_non_null(hdr);
    assert_int_equal(load_hdr_quantile(hdr, 0.5), 0);
    for (uint64_t i = 1; i <= 100000; i++) {
        load_hdr_add(hdr, i * 137, 1);
    }
    assert_near(load_hdr_quantile(hdr, 0.5), 50000 * 137);
    assert_near(load_hdr_quantile(hdr, 0.99), 99000 * 137);
    assert_near(load_hdr_quantile(hdr, 0.9999), 99990 * 137);
    assert_int_equal(load_hdr_quantile(hdr, 1.0), 100000 * 137);
    assert_near(load_hdr_quantile(hdr, 0.0), 137);
    free(hdr);
}

static void
quantiles_since_a_copy_leave_out_what_was_before(void **unused)
{
    (void)unused;
    struct load_hdr *hdr = load_hdr_new();
    struct load_hdr *before = load_hdr_new();
    assert_true(hdr != NULL && before != NULL);
    load_hdr_add(hdr, 5000000, 1000);
    *before = *hdr;
    load_hdr_add(hdr, 1000, 10);
    assert_near(load_hdr_quantile_since(hdr, before, 0.99), 1000);
    assert_near(load_hdr_quantile(hdr, 0.99), 5000000);
    free(hdr);
    free(before);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_bucket_begins_where_the_one_before_ends),
        cmocka_unit_test(quantiles_are_those_of_the_samples_to_three_digits),
        cmocka_unit_test(quantiles_since_a_copy_leave_out_what_was_before),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
