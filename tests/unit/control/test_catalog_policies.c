/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Policies and operator policies: what may be in them, which one applies, what
 * they come to together with arguments (C149), and that shards hear of exactly
 * the objects for which a change changed something.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include <cmocka.h>

#include "control/topology/administer.h"
#include "tests/unit/control/catalog_rig.h"

static struct lp_catalog_vhost *
root(struct fixture *f)
{
    return lp_catalog_vhost(f->catalog, lp_bytes_of_text("/"));
}

static bool
policy_try(struct fixture *f, const char *name, const char *const parts[4],
           struct lp_refusal *ret_refusal)
{
    const bool operator_policy = name[0] == '!';
    const struct lp_policy_set set = {.operator_policy = operator_policy,
                                      .name = lp_bytes_of_text(name + operator_policy),
                                      .pattern = lp_bytes_of_text(parts[0]),
                                      .definition = lp_bytes_of_text(parts[1]),
                                      .apply_to = lp_bytes_of_text(parts[2]),
                                      .priority = lp_bytes_of_text(parts[3])};
    return lp_catalog_policy_set(f->catalog, root(f), &set, ret_refusal);
}

/* A name with ! in front is an operator policy. */
static void
policy(struct fixture *f, const char *name, const char *pattern, const char *definition,
       const char *priority)
{
    struct lp_refusal refusal = {0};
    const char *const parts[4] = {pattern, definition, "all", priority};
    if (!policy_try(f, name, parts, &refusal)) {
        fail_msg("%s", refusal.text);
    }
}

static void
policy_clear(struct fixture *f, const char *name)
{
    struct lp_refusal refusal;
    const bool operator_policy = name[0] == '!';
    assert_true(lp_catalog_policy_clear(f->catalog, root(f), operator_policy,
                                        lp_bytes_of_text(name + operator_policy), &refusal));
}

/* ---- what may be in one ---- */

#define FAILED(text) "Validation failed\n\n" text "\n"

static const struct {
    const char *name, *parts[4], *text; /* text NULL: fine */
} valid_rows[] = {
    {"p", {"", "{\"max-length\":5}", "all", "0"}, NULL},
    {"p", {"^a[12x]$", "{\"max-length\":5}", "queues", "-3"}, NULL},
    {"p",
     {"", "{\"message-ttl\":0,\"expires\":1,\"overflow\":\"reject-publish\"}", "queues", "0"},
     NULL},
    {"p", {"", "{\"delivery-limit\":-1}", "quorum_queues", "0"}, NULL},
    {"p", {"", "{\"max-age\":\"1Y\"}", "streams", "0"}, NULL},
    {"p", {"", "{\"queue-mode\":\"lazy\",\"queue-version\":2}", "classic_queues", "0"}, NULL},
    {"p", {"", "{\"target-group-size\":3}", "exchanges", "0"}, NULL},
    {"p", {"", "{}", "all", "0"}, FAILED("no policy provided")},
    {"p", {"", "[1]", "all", "0"}, FAILED("definition must be a dictionary: [1]")},
    {"p", {"", "{\"max-length\":-1}", "all", "0"}, FAILED("-1 is not a valid maximum length")},
    {"p",
     {"", "{\"max-length\":\"x\"}", "all", "0"},
     FAILED("<<\"x\">> is not a valid maximum length")},
    {"p", {"", "{\"max-length\":1.5}", "all", "0"}, FAILED("1.5 is not a valid maximum length")},
    {"p",
     {"", "{\"max-length-bytes\":true}", "all", "0"},
     FAILED("true is not a valid maximum length in bytes")},
    {"p", {"", "{\"message-ttl\":[1,2]}", "all", "0"}, FAILED("[1,2] is not a valid message TTL")},
    {"p",
     {"", "{\"message-ttl\":{\"a\":null}}", "all", "0"},
     FAILED("#{<<\"a\">> => null} is not a valid message TTL")},
    {"p", {"", "{\"expires\":0}", "all", "0"}, FAILED("0 is not a valid queue expiry")},
    {"p",
     {"", "{\"overflow\":\"never\"}", "all", "0"},
     FAILED("<<\"never\">> is not a valid overflow value")},
    {"p",
     {"", "{\"dead-letter-exchange\":5}", "all", "0"},
     FAILED("5 is not a valid dead letter exchange name")},
    {"p",
     {"", "{\"dead-letter-routing-key\":5}", "all", "0"},
     FAILED("5 is not a valid dead letter routing key")},
    {"p",
     {"", "{\"alternate-exchange\":5}", "all", "0"},
     FAILED("5 is not a valid alternate exchange name")},
    {"p",
     {"", "{\"consumer-timeout\":-5}", "all", "0"},
     FAILED("-5 is not a valid consumer timeout")},
    {"p", {"", "{\"max-age\":\"1W\"}", "all", "0"}, FAILED("<<\"1W\">> is not a valid max age")},
    {"p",
     {"", "{\"queue-leader-locator\":\"x\"}", "all", "0"},
     FAILED("<<\"x\">> is not a valid queue leader locator value")},
    {"p",
     {"", "{\"queue-version\":3}", "all", "0"},
     FAILED("3 is not a valid queue-version value")},
    {"p",
     {"", "{\"target-group-size\":0}", "all", "0"},
     FAILED("0 is not a valid qq target count value")},
    {"p",
     {"", "{\"stream-filter-size-bytes\":5}", "all", "0"},
     FAILED("5 is not a valid filter size. Valid range is 16-255")},
    /* Classic mirroring is gone since 4.0. */
    {"p",
     {"", "{\"ha-mode\":\"all\",\"ha-params\":2}", "all", "0"},
     FAILED("[{<<\"ha-mode\">>,<<\"all\">>},{<<\"ha-params\">>,2}] are not recognised policy "
            "settings")},
    {"p",
     {"", "{\"ha-mode\":\"all\",\"max-length\":-1}", "all", "0"},
     FAILED("-1 is not a valid maximum length")},
    {"p",
     {"", "{\"dead-letter-strategy\":\"at-least-once\"}", "all", "0"},
     FAILED("dead-letter-strategy at-least-once is not implemented yet")},
    {"p",
     {"(", "{\"max-length\":5}", "all", "0"},
     FAILED("pattern should be regular expression but is invalid: {\"missing )\",1}")},
    {"p",
     {"", "{\"max-length\":5}", "some", "0"},
     FAILED("apply-to 'some' unrecognised; should be one of: 'queues', 'classic_queues',  "
            "'quorum_queues', 'streams', 'exchanges', or 'all'")},
    {"p", {"", "{\"max-length\":5}", "all", "x"}, "<<\"x\">> priority must be a number"},
    {"p",
     {"", "", "all", "0"},
     "Could not parse JSON document: {error,{failed_to_decode_json,<<>>}}"},
    {"p",
     {"", "{\"a\"", "all", "0"},
     "Could not parse JSON document: {error,{failed_to_decode_json,<<\"{\\\"a\\\"\">>}}"},
    {"p",
     {"", "{a}", "all", "0"},
     "Could not parse JSON document: {error,{failed_to_decode_json,<<\"{a}\">>}}"},
    {"!o", {"", "{\"max-length\":5,\"message-ttl\":5,\"expires\":5}", "queues", "0"}, NULL},
    {"!o", {"", "{\"overflow\":\"drop-head\"}", "queues", "0"}, NULL}, /* not in 3.10 */
    {"!o",
     {"", "{\"dead-letter-exchange\":\"x\"}", "queues", "0"},
     FAILED("[{<<\"dead-letter-exchange\">>,<<\"x\">>}] are not recognised policy settings")},
    {"!o",
     {"", "{\"alternate-exchange\":\"x\"}", "all", "0"},
     FAILED("[{<<\"alternate-exchange\">>,<<\"x\">>}] are not recognised policy settings")},
};

static void
definitions_are_checked_with_rabbitmqs_texts(void **unused)
{
    (void)unused;
    struct fixture f;
    fixture_open(&f);
    for (size_t i = 0; i < LP_COUNT_OF(valid_rows); i++) {
        struct lp_refusal refusal = {.text = ""};
        const bool good = policy_try(&f, valid_rows[i].name, valid_rows[i].parts, &refusal);
        assert_string_equal(refusal.text, valid_rows[i].text ? valid_rows[i].text : "");
        assert_int_equal(good, valid_rows[i].text == NULL);
        commit(&f);
    }
    struct lp_refusal refusal;
    assert_false(
        lp_catalog_policy_clear(f.catalog, root(&f), false, lp_bytes_of_text("none"), &refusal));
    assert_string_equal(refusal.text, "Parameter does not exist");
    policy_clear(&f, "p");
    policy_clear(&f, "!o");
    commit(&f);
    assert_true(lp_chain_is_empty(&root(&f)->policies));
    fixture_close(&f);
}

/* ---- which one applies ---- */

static void
declare(struct fixture *f, const char *name, const char *arguments)
{
    uint8_t room[512];
    struct lp_fault fault = {0};
    struct lp_queue_declared declared;
    const struct lp_catalog_actor who = actor(f, NULL, 0);
    const struct lp_queue_declare request = {.name = lp_bytes_of_text(name),
                                             .flags = D,
                                             .arguments = table(arguments, room, sizeof(room))};
    assert_true(lp_catalog_queue_declare(f->catalog, &who, &request, &declared, &fault));
}

static const char *
applied(const struct lp_catalog_policy *policy)
{
    static char name[64];
    (void)snprintf(name, sizeof(name), "%.*s", policy ? (int)policy->name.size : 4,
                   policy ? (const char *)policy->name.data : "none");
    return name;
}

static void
the_highest_priority_that_matches_applies(void **unused)
{
    (void)unused;
    struct fixture f;
    fixture_open(&f);
    declare(&f, "alpha", NULL);
    assert_string_equal(applied(queue_of(&f, "alpha")->policy), "none");
    policy(&f, "low", "^a", "{\"max-length\":1}", "1");
    policy(&f, "high", "pha$", "{\"max-length\":2}", "2");
    policy(&f, "other", "^b", "{\"max-length\":3}", "3");
    assert_string_equal(applied(queue_of(&f, "alpha")->policy), "high");
    declare(&f, "beta", NULL); /* after them */
    assert_string_equal(applied(queue_of(&f, "beta")->policy), "other");
    /* One whose keys the type does not know is not for it. */
    policy(&f, "quorum", "", "{\"delivery-limit\":3,\"max-length\":9}", "9");
    assert_string_equal(applied(queue_of(&f, "alpha")->policy), "high");
    policy(&f, "high", "^z", "{\"max-length\":2}", "2");
    assert_string_equal(applied(queue_of(&f, "alpha")->policy), "low");
    policy(&f, "equal", "", "{\"max-length\":2}", "1"); /* the first by name */
    assert_string_equal(applied(queue_of(&f, "alpha")->policy), "equal");
    policy_clear(&f, "equal");
    policy_clear(&f, "low");
    assert_string_equal(applied(queue_of(&f, "alpha")->policy), "none");
    commit(&f);
    fixture_close(&f);
}

static void
policies_apply_to_what_they_are_for(void **unused)
{
    (void)unused;
    static const struct {
        const char *target;
        bool queue, exchange;
    } rows[] = {{"all", true, true},
                {"queues", true, false},
                {"exchanges", false, true},
                {"classic_queues", true, false},
                {"quorum_queues", false, false},
                {"streams", false, false}};
    struct fixture f;
    fixture_open(&f);
    declare(&f, "n", NULL);
    make(&f, "n", "direct", D);
    for (size_t i = 0; i < LP_COUNT_OF(rows); i++) {
        struct lp_refusal refusal;
        const char *const parts[4] = {"^n$", "{\"alternate-exchange\":\"ae\"}", rows[i].target,
                                      "0"};
        assert_true(policy_try(&f, "p", parts, &refusal));
        assert_int_equal(queue_of(&f, "n")->policy != NULL, rows[i].queue);
        assert_int_equal(exchange_of(&f, "n")->policy != NULL, rows[i].exchange);
        commit(&f);
    }
    fixture_close(&f);
}

/* ---- what they come to ---- */

static struct lp_queue_settings
settings_of(struct fixture *f, const char *name)
{
    return lp_catalog_queue_settings(f->catalog, queue_of(f, name));
}

static void
numbers_are_the_smallest_and_arguments_win_over_words_C149(void **unused)
{
    (void)unused;
    struct fixture f;
    fixture_open(&f);
    declare(&f, "q",
            "x-max-length:I:5,x-dead-letter-exchange:S:mine,x-overflow:S:drop-head,"
            "x-message-ttl:I:100");
    declare(&f, "plain", NULL);
    policy(
        &f, "p", "",
        "{\"max-length\":3,\"dead-letter-exchange\":\"policy\",\"dead-letter-routing-key\":\"k\","
        "\"overflow\":\"reject-publish\",\"message-ttl\":200,\"consumer-timeout\":7}",
        "0");
    policy(&f, "!o", "", "{\"max-length\":4,\"message-ttl\":150,\"expires\":9}", "0");
    struct lp_queue_settings s = settings_of(&f, "q");
    assert_int_equal(s.max_length, 3);
    assert_int_equal(s.message_ttl_ms, 100);
    assert_int_equal(s.expires_ms, 9);
    assert_int_equal(s.consumer_timeout_ms, 7);
    assert_true(lp_bytes_equal_text(s.dead_letter_exchange, "mine"));
    assert_true(s.has_dead_letter_key && lp_bytes_equal_text(s.dead_letter_key, "k"));
    assert_int_equal(s.overflow, LP_OVERFLOW_DROP_HEAD);
    s = settings_of(&f, "plain");
    assert_int_equal(s.max_length, 3);
    assert_int_equal(s.message_ttl_ms, 150);
    assert_true(lp_bytes_equal_text(s.dead_letter_exchange, "policy"));
    assert_int_equal(s.overflow, LP_OVERFLOW_REJECT_PUBLISH);
    /* Of the two policies' words the operator's wins. */
    policy(&f, "!o", "", "{\"overflow\":\"reject-publish-dlx\",\"max-length\":2}", "0");
    s = settings_of(&f, "plain");
    assert_int_equal(s.overflow, LP_OVERFLOW_REJECT_PUBLISH_DLX);
    assert_int_equal(s.max_length, 2);
    policy_clear(&f, "p");
    policy_clear(&f, "!o");
    s = settings_of(&f, "q");
    assert_int_equal(s.max_length, 5);
    s = settings_of(&f, "plain");
    assert_true(s.max_length == LP_SETTING_UNSET && !s.dead_letters);
    commit(&f);
    fixture_close(&f);
}

static void
on_quorum_queues_a_policys_overflow_wins_and_limits_of_returns_merge_C149(void **unused)
{
    (void)unused;
    struct fixture f;
    fixture_open(&f);
    declare(&f, "q", "x-queue-type:S:quorum,x-overflow:S:reject-publish,x-delivery-limit:I:-1");
    declare(&f, "plain", "x-queue-type:S:quorum");
    assert_true(settings_of(&f, "q").delivery_limit == LP_SETTING_UNSET);
    assert_int_equal(settings_of(&f, "plain").delivery_limit, 20);
    assert_int_equal(settings_of(&f, "q").overflow, LP_OVERFLOW_REJECT_PUBLISH);
    policy(&f, "p", "", "{\"overflow\":\"drop-head\",\"delivery-limit\":7}", "0");
    assert_int_equal(settings_of(&f, "q").overflow, LP_OVERFLOW_DROP_HEAD);
    assert_int_equal(settings_of(&f, "q").delivery_limit, 7); /* no limit, and a limit */
    policy(&f, "!o", "", "{\"delivery-limit\":-1}", "0");
    assert_int_equal(settings_of(&f, "plain").delivery_limit, 7);
    policy(&f, "!o", "", "{\"delivery-limit\":3}", "0");
    assert_int_equal(settings_of(&f, "plain").delivery_limit, 3);
    /* What classic queues know is not for them, and becomes drop-head. */
    policy(&f, "p", "", "{\"overflow\":\"reject-publish-dlx\"}", "0");
    assert_int_equal(settings_of(&f, "plain").overflow, LP_OVERFLOW_DROP_HEAD);
    policy(&f, "p", "", "{\"overflow\":\"reject-publish\",\"queue-mode\":\"lazy\"}", "0");
    assert_null(queue_of(&f, "plain")->policy);
    commit(&f);
    fixture_close(&f);
}

static void
the_effective_definition_is_listed(void **unused)
{
    (void)unused;
    struct fixture f;
    struct lp_bytebuf json = {0};
    fixture_open(&f);
    declare(&f, "q", NULL);
    policy(&f, "p", "", "{\"max-length\":3,\"overflow\":\"drop-head\",\"queue-mode\":\"lazy\"}",
           "0");
    policy(&f, "!o", "", "{\"max-length\":4,\"overflow\":\"reject-publish\",\"expires\":9}", "0");
    lp_catalog_policies_merge(queue_of(&f, "q")->policy, queue_of(&f, "q")->operator_policy, &json);
    assert_true(lp_bytes_equal_text(lp_bytes_of(json.data, (uint32_t)json.size),
                                    "{\"expires\":9,\"max-length\":3,\"overflow\":\"reject-"
                                    "publish\",\"queue-mode\":\"lazy\"}"));
    lp_bytebuf_fini(&json);
    lp_catalog_policies_merge(NULL, NULL, &json);
    assert_true(lp_bytes_equal_text(lp_bytes_of(json.data, (uint32_t)json.size), "{}"));
    lp_bytebuf_fini(&json);
    fixture_close(&f);
}

static void
a_policy_gives_an_exchange_its_alternate_unless_it_has_one(void **unused)
{
    (void)unused;
    struct fixture f;
    uint8_t room[64];
    struct lp_fault fault;
    struct lp_catalog_exchange *exchange;
    fixture_open(&f);
    const struct lp_catalog_actor who = actor(&f, NULL, 0);
    make(&f, "x", "direct", D);
    const struct lp_exchange_declare own = {
        .name = lp_bytes_of_text("own"),
        .kind_name = lp_bytes_of_text("direct"),
        .arguments = table("alternate-exchange:S:mine", room, sizeof(room))};
    assert_true(lp_catalog_exchange_declare(f.catalog, &who, &own, &exchange, &fault));
    policy(&f, "p", "", "{\"alternate-exchange\":\"policy\"}", "0");
    assert_true(lp_bytes_equal_text(lp_catalog_exchange_alternate(exchange_of(&f, "x")), "policy"));
    assert_true(lp_bytes_equal_text(lp_catalog_exchange_alternate(exchange_of(&f, "own")), "mine"));
    assert_int_equal(lp_catalog_exchange_alternate(exchange_of(&f, "")).size, 0);
    fixture_close(&f);
}

/* ---- what shards hear ---- */

static uint32_t
announced(struct fixture *f, uint16_t wanted)
{
    size_t at = 0;
    uint16_t type;
    uint32_t count = 0;
    struct lp_bytes payload;
    while (lp_catalog_delta_next(&f->catalog->deltas, &at, &type, &payload)) {
        count += type == wanted;
    }
    return count;
}

static void
only_what_changed_is_announced(void **unused)
{
    (void)unused;
    struct fixture f;
    fixture_open(&f);
    declare(&f, "a1", NULL);
    declare(&f, "a2", "x-max-length:I:1");
    declare(&f, "b", NULL);
    make(&f, "ax", "direct", D);
    commit(&f);
    policy(&f, "p", "^a[12x]$", "{\"max-length\":5}", "0");
    assert_int_equal(announced(&f, LP_CONTROL_QUEUE_UP), 1); /* a2 has less already */
    assert_int_equal(announced(&f, LP_CONTROL_EXCHANGE_UP), 0);
    commit(&f);
    policy(&f, "p", "^a[12x]$", "{\"max-length\":5}",
           "4"); /* another priority is nothing to them */
    assert_int_equal(announced(&f, LP_CONTROL_QUEUE_UP), 0);
    commit(&f);
    policy(&f, "p", "^a[12x]$", "{\"max-length\":5,\"alternate-exchange\":\"y\"}", "4");
    assert_int_equal(announced(&f, LP_CONTROL_QUEUE_UP), 0);
    assert_int_equal(announced(&f, LP_CONTROL_EXCHANGE_UP), 1);
    commit(&f);
    policy_clear(&f, "p");
    assert_int_equal(announced(&f, LP_CONTROL_QUEUE_UP), 1);
    assert_int_equal(announced(&f, LP_CONTROL_EXCHANGE_UP), 1);
    commit(&f);
    fixture_close(&f);
}

static void
a_policy_over_a_hundred_thousand_queues_takes_no_seconds(void **unused)
{
    (void)unused;
    struct fixture f;
    fixture_open(&f);
    for (uint32_t i = 0; i < 100000; i++) {
        char name[32];
        (void)snprintf(name, sizeof(name), "queue-%u", i);
        make(&f, name, NULL, 0);
    }
    commit(&f);
    for (uint32_t i = 0; i < 10; i++) {
        char name[32];
        char pattern[32];
        (void)snprintf(name, sizeof(name), "p%u", i);
        (void)snprintf(pattern, sizeof(pattern), "^other-%u|no$", i);
        policy(&f, name, pattern, "{\"max-length\":5}", "9");
    }
    commit(&f);
    const clock_t began = clock();
    policy(&f, "all", "^queue-.*[0-9]$", "{\"max-length\":5}", "0");
    const double seconds = (double)(clock() - began) / CLOCKS_PER_SEC;
    assert_int_equal(announced(&f, LP_CONTROL_QUEUE_UP), 100000);
    print_message("100000 queues, 11 policies: %.3f s\n", seconds);
    assert_true(seconds < 5.0); /* sanitizers included */
    lp_catalog_changes_clear(f.catalog);
    f.catalog->op_count = 0;
    policy_clear(&f, "all");
    commit(&f);
    fixture_close(&f);
}

/* ---- parameters and limits ---- */

static void
parameters_are_rabbitmqs(void **unused)
{
    (void)unused;
    struct fixture f;
    struct lp_refusal refusal;
    fixture_open(&f);
    const struct lp_bytes name = lp_bytes_of_text("n");
    const struct lp_parameter_name policies = {lp_bytes_of_text("policy"), name};
    const struct lp_parameter_name federation = {lp_bytes_of_text("federation-upstream"), name};
    assert_false(
        lp_catalog_parameter_set(f.catalog, root(&f), &policies, lp_bytes_of_text("{}"), &refusal));
    assert_string_equal(refusal.text, "policies may not be set using this method");
    assert_false(lp_catalog_parameter_set(f.catalog, root(&f), &federation, lp_bytes_of_text("{}"),
                                          &refusal));
    assert_string_equal(refusal.text,
                        "Validation failed\n\ncomponent federation-upstream not found\n");
    assert_false(lp_catalog_parameter_clear(f.catalog, root(&f), &federation, &refusal));
    assert_string_equal(refusal.text, "Parameter does not exist");
    assert_true(lp_catalog_global_parameter_set(
        f.catalog, name, lp_bytes_of_text("{\"b\": 1, \"a\": [true]}"), &refusal));
    const struct lp_catalog_parameter *stored =
        lp_catalog_parameter(f.catalog, 0, lp_bytes_of(NULL, 0), name);
    assert_true(lp_bytes_equal_text(stored->value, "{\"a\":[true],\"b\":1}"));
    commit(&f);
    assert_true(lp_catalog_global_parameter_clear(f.catalog, name, &refusal));
    assert_false(lp_catalog_global_parameter_clear(f.catalog, name, &refusal));
    fixture_close(&f);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(definitions_are_checked_with_rabbitmqs_texts),
        cmocka_unit_test(the_highest_priority_that_matches_applies),
        cmocka_unit_test(policies_apply_to_what_they_are_for),
        cmocka_unit_test(numbers_are_the_smallest_and_arguments_win_over_words_C149),
        cmocka_unit_test(on_quorum_queues_a_policys_overflow_wins_and_limits_of_returns_merge_C149),
        cmocka_unit_test(the_effective_definition_is_listed),
        cmocka_unit_test(a_policy_gives_an_exchange_its_alternate_unless_it_has_one),
        cmocka_unit_test(only_what_changed_is_announced),
        cmocka_unit_test(a_policy_over_a_hundred_thousand_queues_takes_no_seconds),
        cmocka_unit_test(parameters_are_rabbitmqs),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
