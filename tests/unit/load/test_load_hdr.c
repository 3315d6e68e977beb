/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Is what lepus-bench's histogram says of a distribution true to three digits?
 *
 * Method: known samples, quantiles compared with those of the sorted samples.
 */
#include "bench/load/hdr.h"
#include "bench/load/thousands.h"

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

static void
a_thousand_has_the_p99_that_its_histogram_has(void **unused)
{
    (void)unused;
    struct load_thousands thousands;
    struct load_hdr *hdr = load_hdr_new();
    assert_true(load_thousands_init(&thousands) && hdr != NULL);
    uint64_t state = 1;
    for (uint32_t round = 0; round < 100; round++) {
        load_hdr_clear(hdr);
        load_thousands_clear(&thousands);
        for (uint32_t i = 0; i < LOAD_THOUSAND; i++) {
            assert_int_equal(thousands.p99->count, 0);
            state = state * 6364136223846793005u + 1442695040888963407u;
            const uint64_t ns =
                state >> 33 & (round % 2 == 0 ? 7u : 0xffffffu); /* many are equal */
            load_hdr_add(hdr, ns, 1);
            load_thousands_add(&thousands, ns);
        }
        assert_int_equal(thousands.p99->count, 1);
        assert_near(load_hdr_quantile(hdr, 0.99), thousands.p99->max_ns);
    }
    load_thousands_free(&thousands);
    free(hdr);
}

static void
a_stop_is_in_the_p99_of_one_thousand_only(void **unused)
{
    (void)unused;
    struct load_thousands thousands;
    assert_true(load_thousands_init(&thousands));
    load_thousands_add(&thousands, 7000000); /* while it warmed up */
    load_thousands_clear(&thousands);
    for (uint32_t i = 0; i < 5 * LOAD_THOUSAND + 999; i++) {
        load_thousands_add(&thousands, i / 50 == 42 ? 5000000 : 3000 + i % 100);
    }
    assert_int_equal(thousands.p99->count, 5);
    assert_near(load_hdr_quantile(thousands.p99, 0.5), 3098);
    assert_int_equal(thousands.p99->max_ns, 5000000);
    load_thousands_free(&thousands);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_bucket_begins_where_the_one_before_ends),
        cmocka_unit_test(quantiles_are_those_of_the_samples_to_three_digits),
        cmocka_unit_test(quantiles_since_a_copy_leave_out_what_was_before),
        cmocka_unit_test(a_thousand_has_the_p99_that_its_histogram_has),
        cmocka_unit_test(a_stop_is_in_the_p99_of_one_thousand_only),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
