/* SPDX-License-Identifier: Apache-2.0 */
/* What a connection remembers of its rights: nothing of an older epoch. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "dataplane/broker/access.h"

static const struct lp_hash_key key = {{1, 2}};

static void
rights_are_unknown_after_an_epoch_and_known_again_when_told(void **unused)
{
    (void)unused;
    struct lp_access access = {0};
    lp_access_take(&access, 1, LP_PERMISSION_READ, LP_RIGHTS_TOPICS);
    assert_int_equal(lp_access_rights(&access, 1), LP_RIGHTS_TOPICS);
    const struct lp_access_right right = {LP_PERMISSION_READ, LP_RESOURCE_QUEUE,
                                          lp_bytes_of_text("q")};
    assert_true(lp_access_allowed(&access, 1, &key, &right));
    assert_false(lp_access_allowed(&access, 2, &key, &right));
    assert_int_equal(lp_access_rights(&access, 2), LP_ACCESS_UNKNOWN);
    /* An answer that is older than what the shard knows by now counts for nothing. */
    lp_access_take(&access, 1, LP_PERMISSION_READ, 0);
    assert_int_equal(lp_access_rights(&access, 2), LP_ACCESS_UNKNOWN);
    lp_access_take(&access, 2, 0, LP_RIGHTS_IMPERSONATOR);
    assert_int_equal(lp_access_rights(&access, 2), LP_RIGHTS_IMPERSONATOR);
    assert_false(lp_access_allowed(&access, 2, &key, &right));
}

static void
routing_keys_are_remembered_by_exchange_within_an_epoch(void **unused)
{
    (void)unused;
    struct lp_access access = {0};
    struct lp_memory *memory;
    void *block = aligned_alloc(LP_SPAN_BYTES, 32 * LP_SPAN_BYTES);
    assert_non_null(block);
    memset(block, 0, 32 * LP_SPAN_BYTES);
    assert_int_equal(lp_memory_init_boot(block, 32 * LP_SPAN_BYTES, 31 * LP_SPAN_BYTES, &memory),
                     LP_OK);
    const struct lp_bytes a = lp_bytes_of_text("a");
    const struct lp_bytes b = lp_bytes_of_text("b");
    const uint64_t first = lp_access_topic_hash(&key, a, b);
    assert_true(first != 0 && first != lp_access_topic_hash(&key, b, a));
    assert_false(lp_access_topic_allowed(&access, 1, first));
    lp_access_topic_remember(&access, memory, 1, first);
    assert_true(lp_access_topic_allowed(&access, 1, first));
    for (uint64_t other = 1; other < LP_ACCESS_TOPIC_SLOTS; other++) {
        lp_access_topic_remember(&access, memory, 1, first + other);
        assert_true(lp_access_topic_allowed(&access, 1, first));
    }
    lp_access_topic_remember(&access, memory, 1, first + LP_ACCESS_TOPIC_SLOTS); /* its place */
    assert_false(lp_access_topic_allowed(&access, 1, first));
    assert_true(lp_access_topic_allowed(&access, 1, first + LP_ACCESS_TOPIC_SLOTS));
    assert_false(lp_access_topic_allowed(&access, 2, first + LP_ACCESS_TOPIC_SLOTS));
    lp_access_fini(&access, memory);
    assert_false(lp_access_topic_allowed(&access, 2, first));
    lp_memory_fini(&memory);
    free(block);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(rights_are_unknown_after_an_epoch_and_known_again_when_told),
        cmocka_unit_test(routing_keys_are_remembered_by_exchange_within_an_epoch),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
