/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What exists and how it may change: RabbitMQ's checks in RabbitMQ's order,
 * with its codes and texts (without the code's name, which the shard adds).
 *
 * Method: a row is a request and the answer to it; rows run in order against
 * one catalog over a store in memory, which is checked and loaded anew at the
 * end: what was stored must be what memory held.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "tests/unit/control/catalog_rig.h"

/* ---- exchanges ---- */

static const struct {
    const char *name, *kind; /* kind NULL: delete */
    uint8_t flags;           /* of a delete: if-unused */
    uint16_t code;
    const char *text, *arguments, *user;
} exchange_rows[] = {
    {"x", "direct", D, 0, NULL, NULL, NULL},
    {"x", "direct", D, 0, NULL, NULL, NULL},
    {"x\r\n", "direct", D, 0, NULL, NULL, NULL},
    {"x", "nonsense", P, 0, NULL, NULL, NULL}, /* passive ignores the type */
    {"x", "fanout", D, 406,
     "inequivalent arg 'type' for exchange 'x' in vhost '/': received 'fanout' but current is "
     "'direct'",
     NULL, NULL},
    {"x", "direct", 0, 406,
     "inequivalent arg 'durable' for exchange 'x' in vhost '/': received 'false' but current "
     "is 'true'",
     NULL, NULL},
    {"x", "direct", D | A, 406,
     "inequivalent arg 'auto_delete' for exchange 'x' in vhost '/': received 'true' but "
     "current is 'false'",
     NULL, NULL},
    {"x", "direct", D | I, 406,
     "inequivalent arg 'internal' for exchange 'x' in vhost '/': received 'true' but current "
     "is 'false'",
     NULL, NULL},
    {"x", "direct", D, 406,
     "inequivalent arg 'alternate-exchange' for exchange 'x' in vhost '/': received the value "
     "'y' of type 'longstr' but current is none",
     "alternate-exchange:S:y", NULL},
    {"x", "direct", D, 0, NULL, "anything:S:y", NULL}, /* not compared */
    {"y", "nonsense", 0, 406, "unknown exchange type 'nonsense'", NULL, NULL},
    {"y", "", 0, 406, "invalid exchange type ''", NULL, NULL},
    {"", "nonsense", 0, 406, "unknown exchange type 'nonsense'", NULL, NULL},
    {"late", "x-delayed-message", D, 406,
     "Invalid argument, 'x-delayed-type' must be an existing exchange type", NULL, NULL},
    {"late", "x-delayed-message", D, 406,
     "Invalid argument, 'x-delayed-message' can't be used for 'x-delayed-type'",
     "x-delayed-type:S:x-delayed-message", NULL},
    {"late", "x-delayed-message", D, 406, "unknown exchange type 'nonsense'",
     "x-delayed-type:S:nonsense", NULL},
    {"late", "x-delayed-message", D, 0, NULL, "x-delayed-type:S:headers", NULL},
    {"late", "x-delayed-message", D, 0, NULL, "x-delayed-type:S:direct", NULL}, /* not compared */
    {"late", "direct", D, 406,
     "inequivalent arg 'type' for exchange 'late' in vhost '/': received 'direct' but current is "
     "'x-delayed-message'",
     NULL, NULL},
    {"y", "direct", P, 404, "no exchange 'y' in vhost '/'", NULL, NULL},
    {"", "direct", 0, 403, "operation not permitted on the default exchange", NULL, NULL},
    {"", "direct", P, 403, "operation not permitted on the default exchange", NULL, NULL},
    {"", NULL, 0, 403, "operation not permitted on the default exchange", NULL, NULL},
    {"amq.new", "direct", 0, 403, "exchange name 'amq.new' contains reserved prefix 'amq.*'", NULL,
     NULL},
    {"amq.direct", "direct", D, 0, NULL, NULL, NULL},
    {"amq.direct", "direct", 0, 406,
     "inequivalent arg 'durable' for exchange 'amq.direct' in vhost '/': received 'false' but "
     "current is 'true'",
     NULL, NULL},
    {"amq.direct", NULL, 0, 403,
     "deletion of system exchange 'amq.direct' in vhost '/' not allowed", NULL, NULL},
    {"amq.none", NULL, 0, 403, "deletion of system exchange 'amq.none' in vhost '/' not allowed",
     NULL, NULL},
    {"ae", "topic", 0, 0, NULL, "alternate-exchange:S:x", NULL},
    {"ae2", "topic", 0, 406,
     "invalid type 'signedint' for arg 'alternate-exchange' in exchange 'ae2' in vhost '/'",
     "alternate-exchange:I:1", NULL},
    {"other", "direct", 0, 403,
     "configure access to exchange 'other' in vhost '/' refused for user 'limited'", NULL,
     "limited"},
    {"mine", "direct", 0, 0, NULL, NULL, "limited"},
    {"mine2", "direct", 0, 403,
     "read access to exchange 'mine2' in vhost '/' refused for user 'limited'",
     "alternate-exchange:S:mine", "limited"},
    {"x", "direct", P, 0, NULL, NULL, "limited"}, /* passive needs no right */
    {"x", NULL, 0, 403, "configure access to exchange 'x' in vhost '/' refused for user 'limited'",
     NULL, "limited"},
    {"x", NULL, 1, 0, NULL, NULL, NULL},
    {"x", NULL, 0, 0, NULL, NULL, NULL}, /* absent: fine */
};

static void
exchanges_are_declared_and_deleted_by_the_rules(void **unused)
{
    (void)unused;
    struct fixture f;
    uint8_t room[512];
    fixture_open(&f);
    for (size_t i = 0; i < LP_COUNT_OF(exchange_rows); i++) {
        struct lp_fault fault = {0};
        const struct lp_catalog_actor who = actor(&f, exchange_rows[i].user, 0);
        struct lp_catalog_exchange *exchange;
        const struct lp_exchange_declare request = {
            .name = lp_bytes_of_text(exchange_rows[i].name),
            .kind_name = lp_bytes_of_text(exchange_rows[i].kind ? exchange_rows[i].kind : ""),
            .flags = exchange_rows[i].flags,
            .arguments = table(exchange_rows[i].arguments, room, sizeof(room))};
        const bool good =
            exchange_rows[i].kind
                ? lp_catalog_exchange_declare(f.catalog, &who, &request, &exchange, &fault)
                : lp_catalog_exchange_delete(f.catalog, &who, request.name, exchange_rows[i].flags,
                                             &fault);
        assert_int_equal(good, exchange_rows[i].code == 0);
        expect(&fault, exchange_rows[i].code, exchange_rows[i].text);
        commit(&f);
    }
    fixture_close(&f);
}

/* ---- bindings ---- */

static const struct {
    const char *source, *destination, *key;
    bool to_queue, unbind;
    uint16_t code;
    const char *text, *arguments, *user;
    uint64_t connection;
    uint32_t count; /* of bindings afterwards */
} binding_rows[] = {
    {"x", "q", "k", true, false, 0, NULL, NULL, NULL, 0, 1},
    {"x", "q", "k", true, false, 0, NULL, NULL, NULL, 0, 1}, /* a duplicate */
    {"x", "q", "k2", true, false, 0, NULL, NULL, NULL, 0, 2},
    {"x", "q", "k", true, false, 0, NULL, "a:I:1,b:I:2", NULL, 0, 3},
    {"x", "q", "k", true, false, 0, NULL, "b:I:2,a:I:1", NULL, 0, 3}, /* order is nothing */
    {"x\r", "q\n", "k3", true, false, 0, NULL, NULL, NULL, 0, 4},
    {"x", "y", "k", false, false, 0, NULL, NULL, NULL, 0, 5},
    {"none", "q", "k", true, false, 404, "no exchange 'none' in vhost '/'", NULL, NULL, 0, 5},
    {"x", "none", "k", true, false, 404, "no queue 'none' in vhost '/'", NULL, NULL, 0, 5},
    {"x", "none", "k", false, false, 404, "no exchange 'none' in vhost '/'", NULL, NULL, 0, 5},
    {"none", "none", "k", true, false, 404, "no exchange 'none' in vhost '/'", NULL, NULL, 0, 5},
    {"", "q", "k", true, false, 403, "operation not permitted on the default exchange", NULL, NULL,
     0, 5},
    {"x", "", "k", false, false, 403, "operation not permitted on the default exchange", NULL, NULL,
     0, 5},
    {"", "q", "k", true, true, 403, "operation not permitted on the default exchange", NULL, NULL,
     0, 5},
    {"x", "ex", "k", true, false, 405, LOCKED("ex"), NULL, NULL, 2, 5},
    {"x", "ex", "k", true, false, 0, NULL, NULL, NULL, 1, 6},
    {"x", "ex", "k", true, true, 405, LOCKED("ex"), NULL, NULL, 2, 6},
    {"x", "q", "k", true, false, 403,
     "write access to queue 'q' in vhost '/' refused for user 'limited'", NULL, "limited", 0, 6},
    {"x", "mine", "k", true, false, 403,
     "read access to exchange 'x' in vhost '/' refused for user 'limited'", NULL, "limited", 0, 6},
    {"h", "q", "", true, false, 406,
     "Invalid x-match field value <<\"some\">>; expected all, any, all-with-x, or any-with-x",
     "x-match:S:some", NULL, 0, 6},
    {"h", "q", "", true, false, 406,
     "Invalid x-match field type signedint (value 1); expected longstr", "x-match:I:1", NULL, 0, 6},
    {"h", "q", "", true, false, 0, NULL, "x-match:S:any", NULL, 0, 7},
    {"x", "q", "absent", true, true, 0, NULL, NULL, NULL, 0, 7},
    {"x", "none", "k", true, true, 0, NULL, NULL, NULL, 0, 7},
    {"none", "q", "k", true, true, 0, NULL, NULL, NULL, 0, 7},
    {"x", "q", "k", true, true, 0, NULL, "b:I:2,a:I:1", NULL, 0, 6},
    {"x", "q", "k", true, true, 0, NULL, NULL, NULL, 0, 5},
};

static void
bindings_follow_the_rules(void **unused)
{
    (void)unused;
    struct fixture f;
    uint8_t room[512];
    fixture_open(&f);
    make(&f, "x", "direct", D);
    make(&f, "y", "topic", D);
    make(&f, "h", "headers", 0);
    make(&f, "q", NULL, D);
    make(&f, "ex", NULL, E);
    make(&f, "mine", NULL, 0);
    for (size_t i = 0; i < LP_COUNT_OF(binding_rows); i++) {
        struct lp_fault fault = {0};
        const struct lp_catalog_actor who =
            actor(&f, binding_rows[i].user, binding_rows[i].connection);
        const struct lp_bind request = {
            .source = lp_bytes_of_text(binding_rows[i].source),
            .destination = lp_bytes_of_text(binding_rows[i].destination),
            .key = lp_bytes_of_text(binding_rows[i].key),
            .arguments = table(binding_rows[i].arguments, room, sizeof(room)),
            .destination_resource =
                binding_rows[i].to_queue ? LP_RESOURCE_QUEUE : LP_RESOURCE_EXCHANGE};
        const bool good = binding_rows[i].unbind
                              ? lp_catalog_unbind(f.catalog, &who, &request, &fault)
                              : lp_catalog_bind(f.catalog, &who, &request, &fault);
        assert_int_equal(good, binding_rows[i].code == 0);
        expect(&fault, binding_rows[i].code, binding_rows[i].text);
        assert_int_equal(f.catalog->binding_count, binding_rows[i].count);
        commit(&f);
    }
    fixture_close(&f);
}

static void
auto_delete_exchanges_go_with_their_last_binding_and_upstream(void **unused)
{
    (void)unused;
    struct fixture f;
    fixture_open(&f);
    make(&f, "a", "fanout", A);
    make(&f, "b", "fanout", A | D);
    make(&f, "c", "fanout", A);
    make(&f, "kept", "fanout", 0);
    make(&f, "q", NULL, 0);
    make(&f, "q2", NULL, 0);
    /* a -> b -> c -> q, kept -> c, a -> a; a has a second way out. */
    assert_true(bind(&f, "a", "b", false));
    assert_true(bind(&f, "b", "c", false));
    assert_true(bind(&f, "c", "q", true));
    assert_true(bind(&f, "kept", "c", false));
    assert_true(bind(&f, "a", "q2", true));
    assert_true(bind(&f, "a", "a", false));
    commit(&f);
    lp_catalog_queue_drop(f.catalog, queue_of(&f, "q"));
    assert_null(exchange_of(&f, "c"));
    assert_null(exchange_of(&f, "b"));
    assert_non_null(exchange_of(&f, "a"));
    assert_non_null(exchange_of(&f, "kept"));
    assert_int_equal(f.catalog->binding_count, 2);
    commit(&f);
    fixture_close(&f);
}

static void
in_use_means_bindings_that_start_here(void **unused)
{
    (void)unused;
    struct fixture f;
    struct lp_fault fault = {0};
    fixture_open(&f);
    const struct lp_catalog_actor who = actor(&f, NULL, 0);
    make(&f, "x", "direct", 0);
    make(&f, "y", "direct", 0);
    assert_true(bind(&f, "x", "y", false));
    assert_false(lp_catalog_exchange_delete(f.catalog, &who, lp_bytes_of_text("x"), true, &fault));
    expect(&fault, 406, "exchange 'x' in vhost '/' in use");
    assert_true(lp_catalog_exchange_delete(f.catalog, &who, lp_bytes_of_text("y"), true, &fault));
    assert_int_equal(f.catalog->binding_count, 0);
    fixture_close(&f);
}

static void
a_binding_is_as_durable_as_both_its_ends(void **unused)
{
    (void)unused;
    struct fixture f;
    fixture_open(&f);
    make(&f, "xd", "direct", D);
    make(&f, "xt", "direct", 0);
    make(&f, "qd", NULL, D);
    make(&f, "qt", NULL, 0);
    assert_true(bind(&f, "xd", "qd", true));
    assert_true(bind(&f, "xd", "qt", true));
    assert_true(bind(&f, "xt", "qd", true));
    commit(&f);
    /* The broker starts anew: what is transient is gone, and only that. */
    lp_catalog_close(&f.catalog);
    lp_store_memory_crash(f.memory);
    assert_int_equal(lp_catalog_open(&f.store, &entropy, 4, &f.catalog), LP_OK);
    assert_int_equal(f.catalog->binding_count, 1);
    assert_non_null(queue_of(&f, "qd"));
    assert_null(queue_of(&f, "qt"));
    assert_null(exchange_of(&f, "xt"));
    fixture_close(&f);
}

/* The process is replaced. */
static void
again(struct fixture *f)
{
    lp_catalog_close(&f->catalog);
    assert_int_equal(lp_catalog_open(&f->store, &entropy, 4, &f->catalog), LP_OK);
}

static uint32_t
declared_and_deleted(struct fixture *f, uint8_t flags)
{
    make(f, "q", NULL, flags);
    commit(f);
    const uint32_t id = queue_of(f, "q")->id;
    assert_int_equal((id & LP_ID_TRANSIENT) != 0, (flags & D) == 0);
    lp_catalog_queue_drop(f->catalog, queue_of(f, "q"));
    commit(f);
    return id;
}

static void
identifiers_are_never_given_twice_while_the_broker_runs(void **unused)
{
    (void)unused;
    struct fixture f;
    uint32_t durable = 0;
    uint32_t transient = 0;
    fixture_open(&f);
    for (uint32_t i = 0; i < 4; i++) {
        const uint32_t id = declared_and_deleted(&f, D);
        const uint32_t other = declared_and_deleted(&f, 0);
        assert_true(id > durable && other > transient);
        durable = id;
        transient = other;
        again(&f);
    }
    fixture_close(&f);
}

static void
a_durable_queues_identifier_is_never_given_again(void **unused)
{
    (void)unused;
    static const char *const all[3] = {".*", ".*", ".*"};
    struct fixture f;
    uint32_t last = 0;
    fixture_open(&f);
    for (uint32_t i = 0; i < 8; i++) {
        const uint32_t id = declared_and_deleted(&f, D);
        assert_true(id > last);
        last = id;
        (void)declared_and_deleted(&f, 0);
        lp_store_memory_crash(f.memory); /* and with it the transient store */
        again(&f);
        if (i == 4) { /* lepusctl reset */
            lp_catalog_wipe(f.catalog);
            assert_int_equal(lp_catalog_vhost_add(f.catalog, lp_bytes_of_text("/")), LP_OK);
            user_add(&f, "guest", all);
            commit(&f);
            again(&f);
        }
    }
    fixture_close(&f);
}

static void
transient_identifiers_begin_anew_and_pass_over_those_in_use(void **unused)
{
    (void)unused;
    struct fixture f;
    fixture_open(&f);
    make(&f, "kept", NULL, 0);
    make(&f, "x", "direct", 0);
    const uint32_t first = queue_of(&f, "kept")->id;
    assert_int_equal(first, LP_ID_TRANSIENT);
    f.catalog->next_transient_id = 2 * LP_ID_TRANSIENT - 1;
    make(&f, "last", NULL, 0);
    make(&f, "anew", NULL, 0);
    commit(&f);
    again(&f);
    make(&f, "next", NULL, 0);
    assert_int_equal(queue_of(&f, "last")->id, 2 * LP_ID_TRANSIENT - 1);
    assert_int_equal(queue_of(&f, "anew")->id, first + 2);
    assert_int_equal(queue_of(&f, "next")->id, first + 3);
    lp_catalog_check(f.catalog);
    fixture_close(&f);
}

static void
when_durable_identifiers_are_used_up_declares_are_refused(void **unused)
{
    (void)unused;
    struct fixture f;
    struct lp_fault fault;
    struct lp_queue_declared declared;
    fixture_open(&f);
    f.catalog->next_id = LP_ID_TRANSIENT - 1024;
    const struct lp_queue_declare request = {.name = lp_bytes_of_text("q"), .flags = D};
    const struct lp_catalog_actor who = actor(&f, NULL, 0);
    assert_false(lp_catalog_queue_declare(f.catalog, &who, &request, &declared, &fault));
    assert_int_equal(fault.code, LP_FAULT_RESOURCE_ERROR);
    make(&f, "t", NULL, 0);
    fixture_close(&f);
}

static void
a_durable_queue_keeps_its_shard_when_there_are_more(void **unused)
{
    (void)unused;
    struct fixture f;
    fixture_open(&f);
    make(&f, "q", NULL, D);
    commit(&f);
    const uint16_t home = queue_of(&f, "q")->home_shard;
    for (uint32_t shards = 4; shards < 9; shards++) {
        lp_catalog_close(&f.catalog);
        assert_int_equal(lp_catalog_open(&f.store, &entropy, shards, &f.catalog), LP_OK);
        assert_int_equal(queue_of(&f, "q")->home_shard, home);
        assert_int_equal(f.catalog->homes, home + 1);
        lp_catalog_check(f.catalog);
    }
    fixture_close(&f);
}

static void
a_hundred_thousand_queues_are_fine(void **unused)
{
    (void)unused;
    struct fixture f;
    fixture_open(&f);
    for (uint32_t i = 0; i < 100000; i++) {
        char name[32];
        (void)snprintf(name, sizeof(name), "queue-%u", i);
        make(&f, name, NULL, 0);
        assert_true(bind(&f, "amq.direct", name, true));
    }
    for (uint32_t i = 0; i < 100000; i++) {
        char name[32];
        (void)snprintf(name, sizeof(name), "queue-%u", i);
        lp_catalog_queue_drop(f.catalog, queue_of(&f, name));
    }
    assert_int_equal(f.catalog->queue_count, 0);
    assert_int_equal(f.catalog->binding_count, 0);
    fixture_close(&f);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(exchanges_are_declared_and_deleted_by_the_rules),
        cmocka_unit_test(bindings_follow_the_rules),
        cmocka_unit_test(auto_delete_exchanges_go_with_their_last_binding_and_upstream),
        cmocka_unit_test(in_use_means_bindings_that_start_here),
        cmocka_unit_test(a_binding_is_as_durable_as_both_its_ends),
        cmocka_unit_test(identifiers_are_never_given_twice_while_the_broker_runs),
        cmocka_unit_test(a_durable_queues_identifier_is_never_given_again),
        cmocka_unit_test(transient_identifiers_begin_anew_and_pass_over_those_in_use),
        cmocka_unit_test(when_durable_identifiers_are_used_up_declares_are_refused),
        cmocka_unit_test(a_durable_queue_keeps_its_shard_when_there_are_more),
        cmocka_unit_test(a_hundred_thousand_queues_are_fine),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
