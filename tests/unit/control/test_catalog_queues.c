/* SPDX-License-Identifier: Apache-2.0 */
/*
 * How queues are declared: RabbitMQ's checks in RabbitMQ's order, and what
 * arguments come to.
 *
 * Method: a row is a request and the answer to it; rows run in order against
 * one catalog.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "tests/unit/control/catalog_rig.h"

static const struct {
    const char *name;
    uint8_t flags;
    uint64_t connection;
    uint16_t code;
    const char *text, *arguments, *user;
} queue_rows[] = {
    {"q", D, 0, 0, NULL, NULL, NULL},
    {"q", D, 0, 0, NULL, NULL, NULL},
    {"q\n", D, 0, 0, NULL, NULL, NULL},
    {"q", P | A, 7, 0, NULL, NULL, "limited"},
    {"none", P, 0, 404, "no queue 'none' in vhost '/'", NULL, NULL},
    {"q", 0, 0, 406,
     "inequivalent arg 'durable' for queue 'q' in vhost '/': received 'false' but current is "
     "'true'",
     NULL, NULL},
    {"q", D | A, 0, 406,
     "inequivalent arg 'auto_delete' for queue 'q' in vhost '/': received 'true' but current "
     "is 'false'",
     NULL, NULL},
    {"q", D | E, 0, 405, LOCKED("q"), NULL, NULL}, /* the owner is compared first */
    {"q", D, 0, 406,
     "inequivalent arg 'x-message-ttl' for queue 'q' in vhost '/': received the value '1000' "
     "of type 'signedint' but current is none",
     "x-message-ttl:I:1000", NULL},
    {"q", D, 0, 0, NULL, "x-queue-type:S:classic", NULL},
    {"q", D, 0, 406,
     "inequivalent arg 'x-queue-type' for queue 'q' in vhost '/': received 'quorum' but "
     "current is 'classic'",
     "x-queue-type:S:quorum", NULL},
    {"q", D, 0, 0, NULL, "x-unknown:S:v", NULL},
    {"mode", 0, 0, 0, NULL, "x-queue-mode:S:lazy", NULL},
    {"mode", 0, 0, 406,
     "inequivalent arg 'x-queue-mode' for queue 'mode' in vhost '/': received none but current "
     "is the value 'lazy' of type 'longstr'",
     NULL, NULL},
    {"mode", 0, 0, 406,
     "inequivalent arg 'x-queue-mode' for queue 'mode' in vhost '/': received 'default' but "
     "current is 'lazy'",
     "x-queue-mode:S:default", NULL},
    {"m2", 0, 0, 406,
     "invalid arg 'x-queue-mode' for queue 'm2' in vhost '/': \"unsupported queue mode 'foo'\"",
     "x-queue-mode:S:foo", NULL},
    {"ver", 0, 0, 0, NULL, "x-queue-version:I:2", NULL},
    {"ver", 0, 0, 0, NULL, "x-queue-version:l:2", NULL}, /* widths are one class (C51) */
    {"ver", 0, 0, 406,
     "inequivalent arg 'x-queue-version' for queue 'ver' in vhost '/': received '2.0' but "
     "current is '2'",
     "x-queue-version:d:2", NULL},
    {"ver", 0, 0, 406,
     "inequivalent arg 'x-queue-version' for queue 'ver' in vhost '/': received '1' but "
     "current is '2'",
     "x-queue-version:I:1", NULL},
    {"ttl", 0, 0, 0, NULL, "x-message-ttl:I:1000", NULL},
    {"ttl", 0, 0, 0, NULL, "x-message-ttl:s:1000", NULL},
    {"ttl", 0, 0, 406,
     "inequivalent arg 'x-message-ttl' for queue 'ttl' in vhost '/': received none but current is "
     "the value '1000' of type 'signedint'",
     NULL, NULL},
    {"type", D, 0, 540, "queue type stream is not implemented yet", "x-queue-type:S:stream", NULL},
    {"type", 0, 0, 406, "invalid property 'non-durable' for queue 'type' in vhost '/'",
     "x-queue-type:S:stream", NULL},
    {"type", D | A | E, 0, 406, "invalid property 'auto-delete' for queue 'type' in vhost '/'",
     "x-queue-type:S:quorum", NULL},
    {"type", D | E, 0, 406, "invalid property 'exclusive-owner' for queue 'type' in vhost '/'",
     "x-queue-type:S:quorum", NULL},
    {"sac", 0, 0, 0, NULL, "x-single-active-consumer:t:0", NULL},
    {"sac1", 0, 0, 0, NULL, "x-single-active-consumer:t:1", NULL},
    /* C87: to read here, and to write there. */
    {"mine-dlx", 0, 0, 403,
     "read access to queue 'mine-dlx' in vhost '/' refused for user 'limited'",
     "x-dead-letter-exchange:S:mine", "limited"},
    {"dlx", 0, 0, 0, NULL, "x-dead-letter-exchange:S:none", NULL},
    {"dlx2", 0, 0, 406,
     "invalid type 'signedint' for arg 'x-dead-letter-exchange' in queue 'dlx2' in vhost '/'",
     "x-dead-letter-exchange:I:1", NULL},
    {"loc", 0, 0, 0, NULL, "x-queue-master-locator:S:min-masters,own:S:v", NULL},
    {"amq.mine", 0, 0, 403, "queue name 'amq.mine' contains reserved prefix 'amq.*'", NULL, NULL},
    {"amq.gen-1", S | E, 0, 0, NULL, NULL, NULL},
    {"amq.gen-1", E, 0, 403, "queue name 'amq.gen-1' contains reserved prefix 'amq.*'", NULL, NULL},
    {"amq.gen-2", S, 0, 406, "Cannot declare a server-named queue for type rabbit_quorum_queue",
     "x-queue-type:S:quorum", NULL},
    {"ex", E | D, 1, 0, NULL, NULL, NULL},
    {"ex", E | D, 1, 0, NULL, NULL, NULL}, /* durable is dropped on both sides (C57) */
    {"ex", E, 2, 405, LOCKED("ex"), NULL, NULL},
    {"ex", 0, 1, 405, LOCKED("ex"), NULL, NULL},
    {"ex", P, 2, 405, LOCKED("ex"), NULL, NULL},
    {"ex", P, 1, 0, NULL, NULL, NULL},
    {"other", 0, 0, 403,
     "configure access to queue 'other' in vhost '/' refused for user 'limited'", NULL, "limited"},
    {"mine", 0, 0, 0, NULL, NULL, "limited"},
};

static void
queues_are_declared_by_the_rules(void **unused)
{
    (void)unused;
    struct fixture f;
    uint8_t room[512];
    fixture_open(&f);
    for (size_t i = 0; i < LP_COUNT_OF(queue_rows); i++) {
        struct lp_fault fault = {0};
        struct lp_queue_declared declared;
        const struct lp_catalog_actor who = actor(&f, queue_rows[i].user, queue_rows[i].connection);
        const struct lp_queue_declare request = {
            .name = lp_bytes_of_text(queue_rows[i].name),
            .flags = queue_rows[i].flags,
            .home_shard = 2,
            .arguments = table(queue_rows[i].arguments, room, sizeof(room))};
        const bool good = lp_catalog_queue_declare(f.catalog, &who, &request, &declared, &fault);
        assert_int_equal(good, queue_rows[i].code == 0);
        expect(&fault, queue_rows[i].code, queue_rows[i].text);
        commit(&f);
    }
    assert_int_equal(lp_catalog_connection_gone(f.catalog, 1), 2);
    fixture_close(&f);
}

/* ---- C73 to C76: what arguments may be; %s is the queue ---- */

#define Q "queue 'q' in vhost '/'"

static const struct {
    const char *arguments, *text; /* text NULL: fine */
} argument_rows[] = {
    {"x-expires:I:1", NULL},
    {"x-expires:l:315360000000", NULL},
    {"x-expires:I:0", "invalid arg 'x-expires' for " Q ": {value_zero,0}"},
    {"x-expires:I:-1", "invalid arg 'x-expires' for " Q ": {value_negative,-1}"},
    {"x-expires:l:315360000001",
     "invalid arg 'x-expires' for " Q ": {value_too_large,315360000001}"},
    {"x-expires:S:1", "invalid arg 'x-expires' for " Q ": \"expected integer, got longstr\""},
    {"x-message-ttl:I:0", NULL},
    {"x-message-ttl:I:-1", "invalid arg 'x-message-ttl' for " Q ": {value_negative,-1}"},
    {"x-message-ttl:t:1", "invalid arg 'x-message-ttl' for " Q ": \"expected integer, got bool\""},
    {"x-message-ttl:d:1",
     "invalid arg 'x-message-ttl' for " Q ": \"expected integer, got double\""},
    {"x-message-ttl:T:1",
     "invalid arg 'x-message-ttl' for " Q ": \"expected integer, got timestamp\""},
    {"x-max-length:I:0", NULL},
    {"x-max-length:I:-1", "invalid arg 'x-max-length' for " Q ": {value_negative,-1}"},
    {"x-max-length:S:x", "invalid arg 'x-max-length' for " Q ": \"expected integer, got longstr\""},
    {"x-max-length-bytes:l:-9", "invalid arg 'x-max-length-bytes' for " Q ": {value_negative,-9}"},
    {"x-max-priority:I:255", NULL},
    {"x-max-priority:I:0", NULL},
    {"x-max-priority:I:256", "invalid arg 'x-max-priority' for " Q ": {max_value_exceeded,256}"},
    {"x-max-priority:I:-1", "invalid arg 'x-max-priority' for " Q ": {value_negative,-1}"},
    {"x-overflow:S:drop-head", NULL},
    {"x-overflow:S:reject-publish", NULL},
    {"x-overflow:S:reject-publish-dlx", NULL},
    {"x-overflow:S:x", "invalid arg 'x-overflow' for " Q ": invalid_overflow"},
    {"x-overflow:I:1", "invalid arg 'x-overflow' for " Q ": {unacceptable_type,signedint}"},
    {"x-queue-mode:S:lazy", NULL},
    {"x-queue-mode:S:x", "invalid arg 'x-queue-mode' for " Q ": \"unsupported queue mode 'x'\""},
    {"x-queue-mode:I:1", "invalid arg 'x-queue-mode' for " Q ": {unacceptable_type,signedint}"},
    {"x-queue-version:I:1", NULL},
    {"x-queue-version:I:3",
     "invalid arg 'x-queue-version' for " Q ": \"unsupported queue version '3'\""},
    {"x-queue-version:S:2",
     "invalid arg 'x-queue-version' for " Q ": \"expected integer, got longstr\""},
    {"x-single-active-consumer:S:true",
     "invalid arg 'x-single-active-consumer' for " Q ": {unacceptable_type,longstr}"},
    {"x-dead-letter-routing-key:S:k",
     "invalid arg 'x-dead-letter-routing-key' for " Q ": routing_key_but_no_dlx_defined"},
    {"x-dead-letter-routing-key:S:k,x-dead-letter-exchange:S:x", NULL},
    {"x-dead-letter-routing-key:I:1,x-dead-letter-exchange:S:x",
     "invalid arg 'x-dead-letter-routing-key' for " Q ": {unacceptable_type,signedint}"},
    {"x-queue-leader-locator:S:balanced", NULL},
    {"x-queue-leader-locator:S:here",
     "invalid arg 'x-queue-leader-locator' for " Q ": invalid_queue_locator_arg"},
    {"x-queue-master-locator:S:whatever", NULL},
    {"x-queue-type:S:classic", NULL},
    {"x-queue-type:S:mirrored",
     "invalid arg 'x-queue-type' for " Q ": \"unsupported queue type 'mirrored'\""},
    {"x-queue-type:I:1", "invalid arg 'x-queue-type' for " Q ": {unacceptable_type,signedint}"},
    {"x-consumer-timeout:I:5", NULL},
    {"x-nobody-knows:I:5", NULL},
    /* Of other types. */
    {"x-delivery-limit:I:5",
     "invalid arg 'x-delivery-limit' for " Q " of queue type rabbit_classic_queue"},
    {"x-dead-letter-strategy:S:at-most-once",
     "invalid arg 'x-dead-letter-strategy' for " Q " of queue type rabbit_classic_queue"},
    {"x-max-in-memory-length:I:5",
     "invalid arg 'x-max-in-memory-length' for " Q " of queue type rabbit_classic_queue"},
    {"x-max-age:S:1D", "invalid arg 'x-max-age' for " Q " of queue type rabbit_classic_queue"},
    {"x-queue-type:S:quorum,x-max-priority:I:5",
     "invalid arg 'x-max-priority' for " Q " of queue type rabbit_quorum_queue"},
    {"x-queue-type:S:quorum,x-queue-mode:S:lazy",
     "invalid arg 'x-queue-mode' for " Q " of queue type rabbit_quorum_queue"},
    {"x-queue-type:S:quorum,x-dead-letter-strategy:S:never",
     "invalid arg 'x-dead-letter-strategy' for " Q ": invalid_dlx_strategy"},
    {"x-queue-type:S:quorum,x-quorum-initial-group-size:I:0",
     "invalid arg 'x-quorum-initial-group-size' for " Q ": {value_zero,0}"},
    {"x-queue-type:S:stream,x-max-length:I:5",
     "invalid arg 'x-max-length' for " Q " of queue type rabbit_stream_queue"},
    {"x-queue-type:S:stream,x-message-ttl:I:5",
     "invalid arg 'x-message-ttl' for " Q " of queue type rabbit_stream_queue"},
    {"x-queue-type:S:stream,x-max-age:S:0D", "invalid arg 'x-max-age' for " Q ": invalid_max_age"},
    {"x-queue-type:S:stream,x-max-age:S:7W", "invalid arg 'x-max-age' for " Q ": invalid_max_age"},
    {"x-queue-type:S:stream,x-stream-max-segment-size-bytes:l:3000000001",
     "Exceeded max value for x-stream-max-segment-size-bytes"},
    /* The value is looked at before the keys of other types. */
    {"x-delivery-limit:I:5,x-max-length:I:-1",
     "invalid arg 'x-max-length' for " Q ": {value_negative,-1}"},
};

static bool
declare(struct fixture *f, const char *arguments, struct lp_queue_declared *ret_declared,
        struct lp_fault *ret_fault)
{
    uint8_t room[512];
    const struct lp_catalog_actor who = actor(f, NULL, 0);
    const struct lp_queue_declare request = {.name = lp_bytes_of_text("q"),
                                             .flags = D,
                                             .arguments = table(arguments, room, sizeof(room))};
    return lp_catalog_queue_declare(f->catalog, &who, &request, ret_declared, ret_fault);
}

static void
arguments_are_checked_with_rabbitmqs_texts_C74_C75(void **unused)
{
    (void)unused;
    struct fixture f;
    fixture_open(&f);
    for (size_t i = 0; i < LP_COUNT_OF(argument_rows); i++) {
        struct lp_fault fault = {0};
        struct lp_queue_declared declared = {0};
        const bool good = declare(&f, argument_rows[i].arguments, &declared, &fault);
        expect(&fault, argument_rows[i].text ? 406 : 0, argument_rows[i].text);
        assert_int_equal(good, argument_rows[i].text == NULL);
        if (good) {
            lp_catalog_queue_drop(f.catalog, declared.queue);
        }
        commit(&f);
    }
    fixture_close(&f);
}

static struct lp_queue_settings
settings_of(struct fixture *f, const char *arguments)
{
    struct lp_fault fault = {0};
    struct lp_queue_declared declared = {0};
    struct lp_catalog_queue *old = queue_of(f, "q");
    if (old) {
        lp_catalog_queue_drop(f->catalog, old);
    }
    assert_true(declare(f, arguments, &declared, &fault));
    commit(f);
    return lp_catalog_queue_settings(f->catalog, declared.queue);
}

static void
arguments_become_the_settings_of_the_home_shard(void **unused)
{
    (void)unused;
    struct fixture f;
    fixture_open(&f);
    struct lp_queue_settings s = settings_of(&f, NULL);
    assert_true(s.message_ttl_ms == LP_SETTING_UNSET && s.expires_ms == LP_SETTING_UNSET);
    assert_true(s.max_length == LP_SETTING_UNSET && s.delivery_limit == LP_SETTING_UNSET);
    assert_int_equal(s.consumer_timeout_ms, 1800000);
    assert_int_equal(s.max_priority, 0);
    assert_false(s.dead_letters || s.single_active_consumer);

    s = settings_of(&f, "x-message-ttl:I:0,x-expires:I:7,x-max-length:s:3,x-max-length-bytes:l:4");
    assert_int_equal(s.message_ttl_ms, 0);
    assert_int_equal(s.expires_ms, 7);
    assert_int_equal(s.max_length, 3);
    assert_int_equal(s.max_length_bytes, 4);

    s = settings_of(&f, "x-dead-letter-exchange:S:x,x-dead-letter-routing-key:S:k,"
                        "x-overflow:S:reject-publish-dlx,x-single-active-consumer:t:1");
    assert_true(s.dead_letters && s.has_dead_letter_key && s.single_active_consumer);
    assert_true(lp_bytes_equal_text(s.dead_letter_exchange, "x"));
    assert_true(lp_bytes_equal_text(s.dead_letter_key, "k"));
    assert_int_equal(s.overflow, LP_OVERFLOW_REJECT_PUBLISH_DLX);

    assert_int_equal(settings_of(&f, "x-max-priority:I:0").max_priority, 1);
    assert_int_equal(settings_of(&f, "x-max-priority:I:10").max_priority, 10);
    assert_int_equal(settings_of(&f, "x-consumer-timeout:I:5").consumer_timeout_ms, 5);
    s = settings_of(&f, "x-dead-letter-exchange:S:");
    assert_true(s.dead_letters && !s.has_dead_letter_key && s.dead_letter_exchange.size == 0);
    fixture_close(&f);
}

static void
malformed_argument_tables_are_refused(void **unused)
{
    (void)unused;
    static const uint8_t bad[] = {3, 'k', 'e', 'y', 'S', 0, 0, 1, 0, 'x'};
    struct fixture f;
    fixture_open(&f);
    for (uint32_t bytes = 1; bytes <= sizeof(bad); bytes++) {
        struct lp_fault fault = {0};
        struct lp_queue_declared declared;
        const struct lp_catalog_actor who = actor(&f, NULL, 0);
        const struct lp_queue_declare request = {.name = lp_bytes_of_text("q"),
                                                 .arguments = lp_bytes_of(bad, bytes)};
        assert_false(lp_catalog_queue_declare(f.catalog, &who, &request, &declared, &fault));
        assert_int_equal(fault.code, 406);
    }
    fixture_close(&f);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(queues_are_declared_by_the_rules),
        cmocka_unit_test(arguments_are_checked_with_rabbitmqs_texts_C74_C75),
        cmocka_unit_test(arguments_become_the_settings_of_the_home_shard),
        cmocka_unit_test(malformed_argument_tables_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
