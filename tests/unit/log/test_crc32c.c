/* SPDX-License-Identifier: Apache-2.0 */
/*
 * CRC-32C against the vectors of RFC 3720 B.4, and the two ways to compute it
 * against each other at every length and alignment that takes another path.
 */
#include "dataplane/log/crc32c.h"
#include "tests/unit/base/base_test.h"

static void
known_vectors(void **state)
{
    (void)state;
    uint8_t bytes[32];
    memset(bytes, 0, sizeof(bytes));
    assert_int_equal(lp_crc32c(0, bytes, sizeof(bytes)), 0x8a9136aa);
    memset(bytes, 0xff, sizeof(bytes));
    assert_int_equal(lp_crc32c(0, bytes, sizeof(bytes)), 0x62a8ab43);
    for (uint32_t i = 0; i < sizeof(bytes); i++) {
        bytes[i] = (uint8_t)i;
    }
    assert_int_equal(lp_crc32c(0, bytes, sizeof(bytes)), 0x46dd794e);
    for (uint32_t i = 0; i < sizeof(bytes); i++) {
        bytes[i] = (uint8_t)(31 - i);
    }
    assert_int_equal(lp_crc32c(0, bytes, sizeof(bytes)), 0x113fdb5c);
    assert_int_equal(lp_crc32c(0, "123456789", 9), 0xe3069283);
    assert_int_equal(lp_crc32c(0, bytes, 0), 0);
}

static void
both_ways_agree(void **state)
{
    (void)state;
    struct random random = {1};
    const uint32_t room = 16 * 1024;
    uint8_t *bytes = malloc(room + 8);
    assert_non_null(bytes);
    for (uint32_t i = 0; i < room + 8; i++) {
        bytes[i] = (uint8_t)random_next(&random);
    }
    for (uint32_t size = 0; size < room; size += size < 1100 ? 1 : 997) {
        const uint32_t seed = (uint32_t)random_next(&random);
        const uint8_t *at = bytes + size % 8;
        assert_int_equal(lp_crc32c(seed, at, size), lp_crc32c_by_table(seed, at, size));
    }
    free(bytes);
}

static void
parts_add_up(void **state)
{
    (void)state;
    uint8_t bytes[5000];
    for (uint32_t i = 0; i < sizeof(bytes); i++) {
        bytes[i] = (uint8_t)(i * 7);
    }
    const uint32_t whole = lp_crc32c(0, bytes, sizeof(bytes));
    for (uint32_t cut = 0; cut <= sizeof(bytes); cut += 13) {
        const uint32_t first = lp_crc32c(0, bytes, cut);
        assert_int_equal(lp_crc32c(first, bytes + cut, sizeof(bytes) - cut), whole);
    }
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(known_vectors),
        cmocka_unit_test(both_ways_agree),
        cmocka_unit_test(parts_add_up),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
