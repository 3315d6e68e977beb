/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a message remembers of its deaths (C154): one record a queue and
 * reason, the newest first.
 */
#include "dataplane/broker/deaths.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>

#include <cmocka.h>

struct life {
    uint8_t room[2][4096];
    struct lp_bytes deaths;
    uint32_t next;
};

static void
die(struct life *life, const char *queue, enum lp_death why, uint64_t time_ms)
{
    uint8_t keys[16];
    struct lp_writer key = lp_writer_of(keys, sizeof(keys));
    lp_writer_long_le(&key, lp_bytes_of_text("key"));
    const struct lp_death_record now = {
        .why = (uint8_t)why,
        .expires = why == LP_DEATH_EXPIRED,
        .time_ms = time_ms,
        .expiration_ms = time_ms + 1,
        .queue = lp_bytes_of_text(queue),
        .exchange = lp_bytes_of_text(time_ms % 2 ? "odd" : "even"),
        .keys = lp_writer_bytes(&key),
    };
    struct lp_writer writer = lp_writer_of(life->room[life->next], sizeof(life->room[0]));
    lp_deaths_write(&writer, life->deaths, &now);
    assert_false(writer.failed);
    life->deaths = lp_writer_bytes(&writer);
    life->next ^= 1u;
}

static struct lp_death_record
nth(const struct life *life, uint32_t index)
{
    struct lp_reader reader = lp_reader_of_bytes(life->deaths);
    struct lp_death_record record;
    do {
        assert_true(lp_death_next(&reader, &record));
    } while (index-- > 0);
    return record;
}

static uint32_t
records(const struct life *life)
{
    struct lp_reader reader = lp_reader_of_bytes(life->deaths);
    struct lp_death_record record;
    uint32_t count = 0;
    while (lp_death_next(&reader, &record)) {
        count++;
    }
    return count;
}

static void
a_death_is_told_as_it_was(void **unused)
{
    (void)unused;
    struct life life = {0};
    die(&life, "q", LP_DEATH_EXPIRED, 1001);
    const struct lp_death_record record = nth(&life, 0);
    assert_int_equal(records(&life), 1);
    assert_int_equal(record.why, LP_DEATH_EXPIRED);
    assert_true(record.first);
    assert_true(record.expires);
    assert_int_equal(record.count, 1);
    assert_int_equal(record.time_ms, 1001);
    assert_int_equal(record.expiration_ms, 1002);
    assert_true(lp_bytes_equal_text(record.queue, "q"));
    assert_true(lp_bytes_equal_text(record.exchange, "odd"));
    struct lp_reader keys = lp_reader_of_bytes(record.keys);
    assert_true(lp_bytes_equal_text(lp_reader_long_le(&keys), "key"));
    assert_int_equal(lp_reader_left(&keys), 0);
}

static void
the_same_death_again_is_counted_and_comes_first(void **unused)
{
    (void)unused;
    struct life life = {0};
    die(&life, "a", LP_DEATH_REJECTED, 1001);
    die(&life, "b", LP_DEATH_REJECTED, 1002);
    die(&life, "a", LP_DEATH_MAXLEN, 1003);
    assert_int_equal(records(&life), 3);
    die(&life, "a", LP_DEATH_REJECTED, 1004);
    assert_int_equal(records(&life), 3);
    struct lp_death_record record = nth(&life, 0);
    assert_int_equal(record.count, 2);
    assert_int_equal(record.why, LP_DEATH_REJECTED);
    assert_true(lp_bytes_equal_text(record.queue, "a"));
    assert_int_equal(record.time_ms, 1001); /* the first one's, and so is all else */
    assert_true(lp_bytes_equal_text(record.exchange, "odd"));
    assert_true(record.first);
    record = nth(&life, 1);
    assert_int_equal(record.why, LP_DEATH_MAXLEN);
    assert_false(record.first);
    record = nth(&life, 2);
    assert_true(lp_bytes_equal_text(record.queue, "b"));
    assert_int_equal(record.count, 1);
    assert_false(record.first);
}

static void
reasons_have_rabbitmqs_names(void **unused)
{
    (void)unused;
    static const char *const names[] = {"rejected", "expired", "maxlen", "delivery_limit"};
    for (uint32_t why = 0; why < LP_DEATH_COUNT; why++) {
        assert_string_equal(lp_death_name((enum lp_death)why), names[why]);
    }
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_death_is_told_as_it_was),
        cmocka_unit_test(the_same_death_again_is_counted_and_comes_first),
        cmocka_unit_test(reasons_have_rabbitmqs_names),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
