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
#include "control/topology/administer.h"
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
    struct lp_refusal refusal;
    struct lp_catalog_vhost *vhost = lp_catalog_vhost(f.catalog, lp_bytes_of_text("/"));
    const struct lp_policy_set policy = {.name = lp_bytes_of_text("p"),
                                         .pattern = lp_bytes_of_text(""),
                                         .definition = lp_bytes_of_text("{\"max-length\":1}"),
                                         .apply_to = lp_bytes_of_text("all"),
                                         .priority = lp_bytes_of_text("0")};
    assert_true(lp_catalog_policy_set(f.catalog, vhost, &policy, &refusal));
    assert_true(lp_catalog_vhost_limits_set(f.catalog, vhost,
                                            lp_bytes_of_text("{\"max-queues\":5}"), &refusal));
    lp_catalog_vhost_tracing_set(f.catalog, vhost, true);
    commit(&f);
    assert_int_equal(lp_catalog_vhost_add(f.catalog, lp_bytes_of_text("/")), LP_ERR_EXISTS);
    assert_int_equal(lp_catalog_vhost_delete(f.catalog, lp_bytes_of_text("/")), LP_OK);
    assert_int_equal(lp_catalog_vhost_delete(f.catalog, lp_bytes_of_text("/")), LP_ERR_NOT_FOUND);
    commit(&f);
    assert_int_equal(f.catalog->exchange_count, 0);
    assert_int_equal(f.catalog->queue_count, 0);
    assert_int_equal(f.catalog->binding_count, 0);
    assert_true(lp_chain_is_empty(&f.catalog->parameters));
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
    struct lp_password_hash hash;
    assert_true(lp_password_matches(LP_PASSWORD_SHA256, known, lp_bytes_of_text("test12")));
    assert_false(lp_password_matches(LP_PASSWORD_SHA256, known, lp_bytes_of_text("test13")));
    assert_false(lp_password_matches(LP_PASSWORD_SHA512, known, lp_bytes_of_text("test12")));
    assert_false(lp_password_matches(LP_PASSWORD_SHA256, known, lp_bytes_of_text("")));
    assert_false(
        lp_password_matches(LP_PASSWORD_SHA256, lp_bytes_of_text(""), lp_bytes_of_text("")));
    assert_false(lp_password_matches(
        LP_PASSWORD_SHA256, lp_bytes_of_text("not base64 at all, but the same length !!!!!!!!"),
        lp_bytes_of_text("x")));
    for (unsigned algorithm = LP_PASSWORD_SHA256; algorithm <= LP_PASSWORD_MD5; algorithm++) {
        enum lp_password_algorithm found;
        lp_password_hash(&entropy, (enum lp_password_algorithm)algorithm, lp_bytes_of_text("p"),
                         &hash);
        const struct lp_bytes text = lp_bytes_of(hash.data, hash.bytes);
        assert_true(lp_password_hash_is_good(text));
        assert_true(lp_password_matches((enum lp_password_algorithm)algorithm, text,
                                        lp_bytes_of_text("p")));
        assert_false(lp_password_matches((enum lp_password_algorithm)algorithm, text,
                                         lp_bytes_of_text("q")));
        assert_true(lp_password_algorithm_find(
            lp_bytes_of_text(lp_password_algorithm_name((uint8_t)algorithm)), &found));
        assert_int_equal(found, algorithm);
    }
}

static void
topic_rights_are_about_routing_keys_C85(void **unused)
{
    (void)unused;
    static const struct {
        uint8_t right;
        const char *exchange, *key, *text; /* text NULL: allowed */
    } rows[] = {
        {LP_PERMISSION_WRITE, "t", "limited.a", NULL},
        {LP_PERMISSION_WRITE, "t", "other.a",
         "write access to topic 'other.a' in exchange 't' in vhost '/' refused for user 'limited'"},
        {LP_PERMISSION_READ, "t", "x", NULL}, /* the vhost's name is put in as it is */
        {LP_PERMISSION_READ, "t", "/x/", NULL},
        {LP_PERMISSION_READ, "t", "y",
         "read access to topic 'y' in exchange 't' in vhost '/' refused for user 'limited'"},
        {LP_PERMISSION_WRITE, "free", "anything", NULL}, /* nothing is said about it */
    };
    struct fixture f;
    struct lp_refusal refusal;
    struct lp_fault fault;
    fixture_open(&f);
    const struct lp_catalog_vhost *vhost = lp_catalog_vhost(f.catalog, lp_bytes_of_text("/"));
    const struct lp_bytes user = lp_bytes_of_text("limited");
    const struct lp_rights_scope scope = {user, vhost, lp_bytes_of_text("t")};
    const struct lp_rights_scope other = {user, vhost, lp_bytes_of_text("u")};
    const struct lp_bytes patterns[2] = {lp_bytes_of_text("^{username}\\."),
                                         lp_bytes_of_text("x|^{vhost}x{vhost}$")};
    const struct lp_bytes broken[2] = {lp_bytes_of_text("a"), lp_bytes_of_text("(")};
    assert_int_equal(lp_auth_rights(f.catalog, user, vhost), 0);
    assert_true(lp_catalog_topic_permissions_set(f.catalog, &scope, patterns, &refusal));
    assert_true(lp_catalog_topic_permissions_set(f.catalog, &other, patterns, &refusal));
    assert_false(lp_catalog_topic_permissions_set(f.catalog, &scope, broken, &refusal));
    assert_int_equal(lp_auth_rights(f.catalog, user, vhost), LP_RIGHTS_TOPICS);
    const uint32_t epoch = f.catalog->permission_epoch;
    commit(&f);
    assert_int_equal(f.catalog->permission_epoch, epoch + 1);
    lp_catalog_close(&f.catalog);
    assert_int_equal(lp_catalog_open(&f.store, &entropy, 4, &f.catalog), LP_OK);
    const struct lp_catalog_actor who = actor(&f, "limited", 0);
    for (size_t i = 0; i < LP_COUNT_OF(rows); i++) {
        const struct lp_auth_topic_question question = {
            rows[i].right, lp_bytes_of_text(rows[i].exchange), lp_bytes_of_text(rows[i].key)};
        const bool good = lp_auth_check_topic(f.catalog, &who, &question, &fault);
        assert_int_equal(good, rows[i].text == NULL);
        if (!good) {
            expect(&fault, 403, rows[i].text);
        }
    }
    const struct lp_rights_scope again = {user, who.vhost, lp_bytes_of_text("t")};
    assert_true(lp_catalog_topic_permissions_clear(f.catalog, &again, false, &refusal));
    assert_int_equal(lp_auth_rights(f.catalog, user, who.vhost), LP_RIGHTS_TOPICS);
    assert_true(lp_catalog_topic_permissions_clear(f.catalog, &again, true, &refusal));
    assert_int_equal(lp_auth_rights(f.catalog, user, who.vhost), 0);
    fixture_close(&f);
}

static void
a_binding_to_a_topic_exchange_needs_the_right_to_read_its_key_C85(void **unused)
{
    (void)unused;
    struct fixture f;
    struct lp_refusal refusal;
    struct lp_fault fault;
    fixture_open(&f);
    make(&f, "mine", "topic", D);
    make(&f, "mine-direct", "direct", D);
    make(&f, "mine-q", NULL, D);
    const struct lp_catalog_vhost *vhost = lp_catalog_vhost(f.catalog, lp_bytes_of_text("/"));
    const struct lp_bytes user = lp_bytes_of_text("guest");
    const struct lp_bytes patterns[2] = {lp_bytes_of_text(""), lp_bytes_of_text("^a\\.")};
    const struct lp_rights_scope topic = {user, vhost, lp_bytes_of_text("mine")};
    const struct lp_rights_scope direct = {user, vhost, lp_bytes_of_text("mine-direct")};
    assert_true(lp_catalog_topic_permissions_set(f.catalog, &topic, patterns, &refusal));
    assert_true(lp_catalog_topic_permissions_set(f.catalog, &direct, patterns, &refusal));
    const struct lp_catalog_actor who = actor(&f, NULL, 0);
    struct lp_bind request = {.source = lp_bytes_of_text("mine"),
                              .destination = lp_bytes_of_text("mine-q"),
                              .destination_resource = LP_RESOURCE_QUEUE,
                              .key = lp_bytes_of_text("a.b")};
    assert_true(lp_catalog_bind(f.catalog, &who, &request, &fault));
    request.key = lp_bytes_of_text("b.b");
    assert_false(lp_catalog_bind(f.catalog, &who, &request, &fault));
    expect(&fault, 403,
           "read access to topic 'b.b' in exchange 'mine' in vhost '/' refused for user 'guest'");
    assert_false(lp_catalog_unbind(f.catalog, &who, &request, &fault));
    request.source = lp_bytes_of_text("mine-direct"); /* other types are not asked */
    assert_true(lp_catalog_bind(f.catalog, &who, &request, &fault));
    fixture_close(&f);
}

static void
passwords_keep_the_configured_rules(void **unused)
{
    (void)unused;
    struct fixture f;
    struct lp_refusal refusal;
    fixture_open(&f);
    const struct lp_bytes name = lp_bytes_of_text("new");
    f.catalog->rules.password_bytes_min = 6;
    assert_false(lp_catalog_user_add(f.catalog, name, lp_bytes_of_text("short"), &refusal));
    assert_string_equal(refusal.text, "minimum required password length is 6");
    f.catalog->rules.password_pattern = "[0-9]$";
    assert_false(lp_catalog_user_add(f.catalog, name, lp_bytes_of_text("longer"), &refusal));
    assert_string_equal(refusal.text,
                        "provided password does not match the validator regular expression");
    f.catalog->rules.password_algorithm = LP_PASSWORD_SHA512;
    assert_true(lp_catalog_user_add(f.catalog, name, lp_bytes_of_text("longer1"), &refusal));
    assert_false(lp_catalog_user_add(f.catalog, name, lp_bytes_of_text("longer1"), &refusal));
    assert_int_equal(refusal.err, LP_ERR_EXISTS);
    commit(&f);
    lp_catalog_close(&f.catalog);
    assert_int_equal(lp_catalog_open(&f.store, &entropy, 4, &f.catalog), LP_OK);
    const struct lp_catalog_user *user = lp_catalog_user(f.catalog, name);
    assert_int_equal(user->algorithm, LP_PASSWORD_SHA512); /* known to be so after a restart */
    assert_true(lp_password_matches(LP_PASSWORD_SHA512, user->hash, lp_bytes_of_text("longer1")));
    assert_true(lp_catalog_user_password_clear(f.catalog, name, &refusal));
    assert_int_equal(lp_catalog_user(f.catalog, name)->hash.size, 0);
    fixture_close(&f);
}

static void
a_user_comes_with_a_hash_and_its_algorithm(void **unused)
{
    (void)unused;
    struct fixture f;
    struct lp_refusal refusal;
    const char *why;
    struct lp_fault fault;
    fixture_open(&f);
    /* MD5, salt 00000000, password "guest". */
    const struct lp_bytes hash = lp_bytes_of_text("AAAAAM8qHlIgCoMtmqYAu+KVRI8=");
    const struct lp_bytes md5 = lp_bytes_of_text("rabbit_password_hashing_md5");
    assert_false(lp_catalog_user_add_hashed(f.catalog, lp_bytes_of_text("old"), hash,
                                            lp_bytes_of_text("rot13"), &refusal));
    assert_false(lp_catalog_user_add_hashed(f.catalog, lp_bytes_of_text("old"),
                                            lp_bytes_of_text("!"), md5, &refusal));
    assert_true(
        lp_catalog_user_add_hashed(f.catalog, lp_bytes_of_text("old"), hash, md5, &refusal));
    struct lp_auth_login login = {.mechanism = lp_bytes_of_text("PLAIN"),
                                  .user = lp_bytes_of_text("old"),
                                  .password = lp_bytes_of_text("guest")};
    assert_true(lp_auth_login(f.catalog, &login, &why, &fault));
    login.password = lp_bytes_of_text("");
    assert_false(lp_auth_login(f.catalog, &login, &why, &fault));
    assert_true(lp_catalog_user_tags_set(f.catalog, lp_bytes_of_text("old"),
                                         lp_bytes_of_text("monitoring,impersonator"), &refusal));
    assert_int_equal(lp_auth_rights(f.catalog, lp_bytes_of_text("old"),
                                    lp_catalog_vhost(f.catalog, lp_bytes_of_text("/"))),
                     LP_RIGHTS_IMPERSONATOR);
    fixture_close(&f);
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
        cmocka_unit_test(topic_rights_are_about_routing_keys_C85),
        cmocka_unit_test(a_binding_to_a_topic_exchange_needs_the_right_to_read_its_key_C85),
        cmocka_unit_test(passwords_keep_the_configured_rules),
        cmocka_unit_test(a_user_comes_with_a_hash_and_its_algorithm),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
