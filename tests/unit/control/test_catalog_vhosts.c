/* SPDX-License-Identifier: Apache-2.0 */
/* Limits of vhosts and users, metadata of vhosts, and what new vhosts get. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "control/topology/administer.h"
#include "tests/unit/control/catalog_rig.h"

static struct lp_catalog_vhost *
root(struct fixture *f)
{
    return lp_catalog_vhost(f->catalog, lp_bytes_of_text("/"));
}

static void
limits_of_vhosts_hold_for_new_queues_C82(void **unused)
{
    (void)unused;
    struct fixture f;
    struct lp_refusal refusal;
    struct lp_fault fault;
    struct lp_queue_declared declared;
    fixture_open(&f);
    const struct lp_catalog_actor who = actor(&f, NULL, 0);
    const struct lp_queue_declare request = {.name = lp_bytes_of_text("q"), .flags = D};
    make(&f, "first", NULL, D);
    assert_false(lp_catalog_vhost_limits_set(
        f.catalog, root(&f), lp_bytes_of_text("{\"max-queues\":\"x\",\"max\":1}"), &refusal));
    assert_string_equal(refusal.text,
                        "Validation failed\n\nUnrecognised terms [{<<\"max\">>,1}] in limits\n"
                        "max-queues should be a number, actually was <<\"x\">>\n");
    assert_true(lp_catalog_vhost_limits_set(f.catalog, root(&f),
                                            lp_bytes_of_text("{\"max-queues\":1}"), &refusal));
    commit(&f);
    assert_false(lp_catalog_queue_declare(f.catalog, &who, &request, &declared, &fault));
    expect(&fault, 406, "cannot declare queue 'q': queue limit in vhost '/' (1) is reached");
    make(&f, "first", NULL, D); /* redeclaring is fine */
    /* It is there again after a restart. */
    lp_catalog_close(&f.catalog);
    assert_int_equal(lp_catalog_open(&f.store, &entropy, 4, &f.catalog), LP_OK);
    assert_int_equal(root(&f)->queues_max, 1);
    assert_true(lp_catalog_vhost_limits_set(f.catalog, root(&f),
                                            lp_bytes_of_text("{\"max-queues\":-1}"), &refusal));
    make(&f, "q", NULL, D);
    f.catalog->rules.queues_max = 2;
    const struct lp_queue_declare third = {.name = lp_bytes_of_text("r"), .flags = D};
    const struct lp_catalog_actor again = actor(&f, NULL, 0);
    assert_false(lp_catalog_queue_declare(f.catalog, &again, &third, &declared, &fault));
    expect(&fault, 406, "cannot declare queue 'r': queue limit in cluster (2) is reached");
    assert_true(lp_catalog_vhost_limits_clear(f.catalog, root(&f), &refusal));
    assert_int_equal(root(&f)->queues_max, LP_CATALOG_NO_LIMIT);
    fixture_close(&f);
}

static void
limits_of_users_are_kept(void **unused)
{
    (void)unused;
    struct fixture f;
    struct lp_refusal refusal;
    const struct lp_bytes name = lp_bytes_of_text("limited");
    fixture_open(&f);
    assert_false(lp_catalog_user_limits_set(f.catalog, name,
                                            lp_bytes_of_text("{\"max-channels\":true}"), &refusal));
    assert_string_equal(refusal.text, "max-channels should be a number, actually was true");
    assert_false(lp_catalog_user_limits_set(f.catalog, lp_bytes_of_text("nobody"),
                                            lp_bytes_of_text("{}"), &refusal));
    assert_int_equal(refusal.err, LP_ERR_NOT_FOUND);
    assert_true(lp_catalog_user_limits_set(
        f.catalog, name, lp_bytes_of_text("{\"max-channels\":4,\"max-connections\":2}"), &refusal));
    assert_true(lp_catalog_user_limits_set(f.catalog, name,
                                           lp_bytes_of_text("{\"max-connections\":3}"), &refusal));
    commit(&f);
    lp_catalog_close(&f.catalog);
    assert_int_equal(lp_catalog_open(&f.store, &entropy, 4, &f.catalog), LP_OK);
    const struct lp_catalog_user *user = lp_catalog_user(f.catalog, name);
    assert_true(user->has_channels_max && user->channels_max == 4);
    assert_true(user->has_connections_max && user->connections_max == 3);
    assert_true(
        lp_catalog_user_limits_clear(f.catalog, name, lp_bytes_of_text("max-channels"), &refusal));
    user = lp_catalog_user(f.catalog, name);
    assert_true(!user->has_channels_max && user->has_connections_max);
    assert_false(lp_chain_is_empty(&user->permissions));
    fixture_close(&f);
}

static void
a_vhost_has_metadata_and_a_default_type(void **unused)
{
    (void)unused;
    struct fixture f;
    struct lp_refusal refusal;
    fixture_open(&f);
    const struct lp_vhost_metadata metadata = {.has_description = true,
                                               .has_tags = true,
                                               .has_default_queue_type = true,
                                               .description = lp_bytes_of_text("ours"),
                                               .tags = lp_bytes_of_text("a,b"),
                                               .default_queue_type = lp_bytes_of_text("classic")};
    const struct lp_vhost_metadata bad = {.has_default_queue_type = true,
                                          .default_queue_type = lp_bytes_of_text("mirrored")};
    const struct lp_bytes name = lp_bytes_of_text("v");
    assert_false(lp_catalog_vhost_create(f.catalog, name, &bad, &refusal));
    assert_string_equal(refusal.text, "Unsupported default queue type");
    assert_true(lp_catalog_vhost_create(f.catalog, name, &metadata, &refusal));
    assert_false(lp_catalog_vhost_create(f.catalog, name, &metadata, &refusal));
    assert_int_equal(refusal.err, LP_ERR_EXISTS);
    lp_catalog_vhost_tracing_set(f.catalog, lp_catalog_vhost(f.catalog, name), true);
    commit(&f);
    lp_catalog_close(&f.catalog);
    assert_int_equal(lp_catalog_open(&f.store, &entropy, 4, &f.catalog), LP_OK);
    const struct lp_catalog_vhost *vhost = lp_catalog_vhost(f.catalog, name);
    assert_true(vhost->tracing && vhost->has_default_kind);
    assert_true(lp_bytes_equal_text(vhost->description, "ours"));
    assert_true(lp_bytes_equal_text(vhost->tags, "a,b"));
    /* Tracing ends with the broker. */
    lp_catalog_close(&f.catalog);
    lp_store_memory_crash(f.memory);
    assert_int_equal(lp_catalog_open(&f.store, &entropy, 4, &f.catalog), LP_OK);
    assert_false(lp_catalog_vhost(f.catalog, name)->tracing);
    f.catalog->rules.vhosts_max = 2;
    assert_false(lp_catalog_vhost_create(f.catalog, lp_bytes_of_text("w"), &metadata, &refusal));
    assert_string_equal(refusal.text, "cannot create vhost 'w': vhost limit of 2 is reached");
    fixture_close(&f);
}

static void
new_vhosts_get_what_the_configuration_gives_them(void **unused)
{
    (void)unused;
    static const struct lp_catalog_default_user users[] = {
        {"^v", "everywhere", "secret", "monitoring", {"^a", "^b", "^c"}},
        {"^w", "elsewhere", "secret", "", {".*", ".*", ".*"}},
    };
    static const struct lp_catalog_default_policy policies[] = {
        {".*", "cap", "^q", "{\"max-length\":7}"},
        {"^w", "no", ".*", "{\"max-length\":1}"},
    };
    static const struct lp_catalog_default_limits limits[] = {
        {"^w", "{\"max-queues\":1}"},
        {"^v", "{\"max-queues\":2,\"max-connections\":3}"},
        {".*", "{\"max-queues\":9}"},
    };
    struct fixture f;
    struct lp_refusal refusal;
    const struct lp_vhost_metadata none = {0};
    const struct lp_bytes name = lp_bytes_of_text("v1");
    fixture_open(&f);
    f.catalog->rules.default_users = users;
    f.catalog->rules.default_user_count = 2;
    f.catalog->rules.default_policies = policies;
    f.catalog->rules.default_policy_count = 2;
    f.catalog->rules.default_limits = limits;
    f.catalog->rules.default_limits_count = 3;
    for (int again = 0; again < 2; again++) { /* made once, and not made again */
        assert_true(lp_catalog_vhost_create(f.catalog, name, &none, &refusal));
        const struct lp_catalog_vhost *vhost = lp_catalog_vhost(f.catalog, name);
        assert_int_equal(vhost->queues_max, 2);
        assert_int_equal(vhost->connections_max, 3);
        assert_non_null(lp_catalog_policy(vhost, true, lp_bytes_of_text("cap")));
        assert_null(lp_catalog_policy(vhost, true, lp_bytes_of_text("no")));
        const struct lp_catalog_user *user =
            lp_catalog_user(f.catalog, lp_bytes_of_text("everywhere"));
        assert_non_null(user);
        assert_true(lp_bytes_equal_text(user->tags, again ? "changed" : "monitoring"));
        assert_true(lp_bytes_equal_text(lp_catalog_permission(user, vhost->id)->pattern[2], "^c"));
        assert_null(lp_catalog_user(f.catalog, lp_bytes_of_text("elsewhere")));
        assert_true(
            lp_catalog_user_tags_set(f.catalog, user->name, lp_bytes_of_text("changed"), &refusal));
        commit(&f);
        if (!again) {
            assert_int_equal(lp_catalog_vhost_delete(f.catalog, name), LP_OK);
            commit(&f);
        }
    }
    fixture_close(&f);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(limits_of_vhosts_hold_for_new_queues_C82),
        cmocka_unit_test(limits_of_users_are_kept),
        cmocka_unit_test(a_vhost_has_metadata_and_a_default_type),
        cmocka_unit_test(new_vhosts_get_what_the_configuration_gives_them),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
