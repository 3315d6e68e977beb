/* SPDX-License-Identifier: Apache-2.0 */
/* Vhosts, users, passwords and rights in the catalog. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "control/auth/permission.h"
#include "tests/unit/control/catalog_rig.h"

static void
deleting_a_vhost_takes_everything_in_it(void **unused)
{
    (void)unused;
    struct fixture f;
    fixture_open(&f);
    make(&f, "x", "direct", D);
    make(&f, "y", "direct", A);
    make(&f, "q", NULL, D);
    assert_true(bind(&f, "x", "q", true));
    assert_true(bind(&f, "y", "x", false));
    const struct lp_catalog_setting policy = {
        .kind = LP_SETTING_POLICY,
        .vhost_id = lp_catalog_vhost(f.catalog, lp_bytes_of_text("/"))->id,
        .name = lp_bytes_of_text("p"),
        .value = lp_bytes_of_text("{}")};
    lp_catalog_setting_put(f.catalog, &policy);
    commit(&f);
    assert_int_equal(lp_catalog_vhost_add(f.catalog, lp_bytes_of_text("/")), LP_ERR_EXISTS);
    assert_int_equal(lp_catalog_vhost_delete(f.catalog, lp_bytes_of_text("/")), LP_OK);
    assert_int_equal(lp_catalog_vhost_delete(f.catalog, lp_bytes_of_text("/")), LP_ERR_NOT_FOUND);
    commit(&f);
    assert_int_equal(f.catalog->exchange_count, 0);
    assert_int_equal(f.catalog->queue_count, 0);
    assert_int_equal(f.catalog->binding_count, 0);
    assert_true(lp_chain_is_empty(&f.catalog->settings));
    assert_true(
        lp_chain_is_empty(&lp_catalog_user(f.catalog, lp_bytes_of_text("guest"))->permissions));
    fixture_close(&f);
}

static void
every_change_of_rights_makes_a_new_epoch(void **unused)
{
    (void)unused;
    struct fixture f;
    fixture_open(&f);
    uint32_t epoch = f.catalog->permission_epoch;
    make(&f, "q", NULL, D);
    commit(&f);
    assert_int_equal(f.catalog->permission_epoch, epoch);
    struct lp_catalog_user *user = lp_catalog_user(f.catalog, lp_bytes_of_text("limited"));
    lp_catalog_permission_delete(f.catalog, user,
                                 lp_catalog_vhost(f.catalog, lp_bytes_of_text("/")));
    assert_int_equal(lp_catalog_commit(f.catalog, &f.store), LP_OK);
    assert_int_equal(f.catalog->permission_epoch, epoch + 1);
    size_t at = 0;
    uint16_t type = 0;
    struct lp_bytes payload;
    assert_true(lp_catalog_delta_next(&f.catalog->deltas, &at, &type, &payload));
    assert_int_equal(type, LP_CONTROL_PERMISSION_EPOCH);
    lp_catalog_changes_clear(f.catalog);
    assert_int_equal(lp_catalog_user_delete(f.catalog, lp_bytes_of_text("limited")), LP_OK);
    assert_int_equal(lp_catalog_user_delete(f.catalog, lp_bytes_of_text("limited")),
                     LP_ERR_NOT_FOUND);
    commit(&f);
    assert_int_equal(f.catalog->permission_epoch, epoch + 2);
    lp_catalog_close(&f.catalog);
    assert_int_equal(lp_catalog_open(&f.store, &entropy, 4, &f.catalog), LP_OK);
    assert_int_equal(f.catalog->permission_epoch, epoch + 2);
    fixture_close(&f);
}

static void
patterns_are_unanchored_and_the_empty_one_admits_the_empty_name(void **unused)
{
    (void)unused;
    static const struct {
        const char *pattern, *name;
        bool admits;
    } rows[] = {
        {".*", "anything", true},
        {".*", "", true},
        {"", "", true},
        {"", "a", false},
        {"b", "abc", true},
        {"^b", "abc", false},
        {"^(a|b)$", "b", true},
        {"^(a|b)$", "bb", false},
        {"^$", "", true},
        {"\\.default$", "amq.default", true},
        {"(a+)+$", "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaab", false}, /* gives up */
    };
    struct fixture f;
    fixture_open(&f);
    struct lp_catalog_user *user = lp_catalog_user(f.catalog, lp_bytes_of_text("guest"));
    const struct lp_catalog_vhost *vhost = lp_catalog_vhost(f.catalog, lp_bytes_of_text("/"));
    for (size_t i = 0; i < LP_COUNT_OF(rows); i++) {
        const struct lp_bytes pattern[3] = {lp_bytes_of_text(".*"), lp_bytes_of_text("x"),
                                            lp_bytes_of_text(rows[i].pattern)};
        lp_catalog_permission_put(f.catalog, user, vhost, pattern);
        struct lp_catalog_permission *permission = lp_catalog_permission(user, vhost->id);
        assert_int_equal(
            lp_permission_admits(permission, LP_PERMISSION_READ, lp_bytes_of_text(rows[i].name)),
            rows[i].admits);
        const bool all = strcmp(rows[i].pattern, ".*") == 0;
        assert_int_equal(lp_permission_unrestricted(permission),
                         LP_PERMISSION_CONFIGURE | (all ? LP_PERMISSION_READ : 0));
    }
    char why[128];
    assert_false(lp_permission_pattern_is_good(lp_bytes_of_text("a["), why, sizeof(why)));
    assert_true(lp_permission_pattern_is_good(lp_bytes_of_text("a"), why, sizeof(why)));
    fixture_close(&f);
}

static void
the_default_exchange_has_a_name_where_rights_are_concerned(void **unused)
{
    (void)unused;
    struct fixture f;
    struct lp_fault fault = {0};
    fixture_open(&f);
    const struct lp_catalog_actor who = actor(&f, "limited", 0);
    const struct lp_auth_question write = {LP_PERMISSION_WRITE, LP_RESOURCE_EXCHANGE,
                                           lp_bytes_of_text("")};
    const struct lp_auth_question read = {LP_PERMISSION_READ, LP_RESOURCE_EXCHANGE,
                                          lp_bytes_of_text("")};
    assert_true(lp_auth_check(f.catalog, &who, &write, &fault));
    assert_false(lp_auth_check(f.catalog, &who, &read, &fault));
    expect(&fault, 403,
           "read access to exchange 'amq.default' in vhost '/' refused for user 'limited'");
    fixture_close(&f);
}

static void
passwords_are_hashed_as_rabbitmq_does(void **unused)
{
    (void)unused;
    /* The documentation's example: salt 908D C60A, password test12. */
    const struct lp_bytes known =
        lp_bytes_of_text("kI3GCqW5JLMJa4iX1lo7X4D6XbYqlLgxIs30+P6tENUV2POR");
    uint8_t hash[LP_PASSWORD_HASH_BYTES];
    assert_true(lp_password_matches(known, lp_bytes_of_text("test12")));
    assert_false(lp_password_matches(known, lp_bytes_of_text("test13")));
    assert_false(lp_password_matches(known, lp_bytes_of_text("")));
    assert_false(lp_password_matches(lp_bytes_of_text(""), lp_bytes_of_text("")));
    assert_false(
        lp_password_matches(lp_bytes_of_text("not base64 at all, but the same length !!!!!!!!"),
                            lp_bytes_of_text("x")));
    lp_password_hash(&entropy, lp_bytes_of_text("p"), hash);
    assert_true(lp_password_matches(lp_bytes_of(hash, sizeof(hash)), lp_bytes_of_text("p")));
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(deleting_a_vhost_takes_everything_in_it),
        cmocka_unit_test(every_change_of_rights_makes_a_new_epoch),
        cmocka_unit_test(patterns_are_unanchored_and_the_empty_one_admits_the_empty_name),
        cmocka_unit_test(the_default_exchange_has_a_name_where_rights_are_concerned),
        cmocka_unit_test(passwords_are_hashed_as_rabbitmq_does),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
