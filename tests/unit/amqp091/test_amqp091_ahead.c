/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Goal: a channel whose declares are asked ahead may fail, vanish, or have its
 * control process die, at any moment.
 *
 * Method: a whole broker of one shard; three declares are fed, the later ones
 * some turns after the first, and some turns later the control process is
 * stopped and a consumer of the channel times out (or the client hangs up).
 * All numbers of turns are tried.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>

#include <cmocka.h>

#include "dataplane/protocol/amqp091/method.h"
#include "dataplane/protocol/amqp091/out.h"
#include "tests/lib/rig.h"

enum {
    TURNS = 8,
    TIMEOUT_MS = 50,
};

static void
declare_append(struct lp_writer *writer, const char *name)
{
    const size_t offset = lp_writer_size(writer);
    amqp091_frame_open(writer, 1, AMQP091_QUEUE_DECLARE);
    lp_writer_u16be(writer, 0);
    lp_writer_short(writer, lp_bytes_of_text(name));
    lp_writer_u8(writer, 0);
    lp_writer_u32be(writer, 0);
    amqp091_frame_close(writer, offset);
}

/* A queue whose deliveries must be acknowledged soon. */
static void
declare_impatient(struct rig_client *client)
{
    struct rig_method method;
    uint8_t room[64];
    struct lp_writer table = lp_writer_of(room, sizeof(room));
    lp_writer_short(&table, lp_bytes_of_text("x-consumer-timeout"));
    lp_writer_u8(&table, 'I');
    lp_writer_u32be(&table, TIMEOUT_MS);
    rig_method_begin(&method, 1, AMQP091_QUEUE_DECLARE);
    lp_writer_u16be(&method.writer, 0);
    lp_writer_short(&method.writer, lp_bytes_of_text("slow"));
    lp_writer_u8(&method.writer, 0);
    lp_writer_long_be(&method.writer, lp_writer_bytes(&table));
    assert_true(rig_method_say(client, &method));
}

static void
turns(struct rig *rig, uint32_t count)
{
    for (uint32_t i = 0; i < count; i++) {
        (void)rig_turn(rig);
    }
}

/* Three declares, the last two `later` turns behind the first; then `more` turns. */
static void
declares_feed(struct rig *rig, struct rig_client *client, uint32_t later, uint32_t more)
{
    uint8_t first[256];
    uint8_t rest[256];
    struct lp_writer a = lp_writer_of(first, sizeof(first));
    struct lp_writer b = lp_writer_of(rest, sizeof(rest));
    declare_append(&a, "one");
    declare_append(&b, "two");
    declare_append(&b, "three");
    rig_feed(client, lp_writer_bytes(&a));
    turns(rig, 1 + later);
    rig_feed(client, lp_writer_bytes(&b));
    turns(rig, 1 + more);
    rig_check(rig);
}

static struct rig *
rig_with_consumer(struct rig_client **ret_client)
{
    const struct rig_options options = {1, 32u << 20};
    struct rig *rig = rig_open(&options);
    struct rig_client *client = rig_connect(rig, 0);
    uint8_t room[512];
    struct lp_writer writer = lp_writer_of(room, sizeof(room));
    rig_open_channel(client);
    declare_impatient(client);
    rig_consume(client, "slow", 10);
    rig_publish(&writer, "", "slow", lp_bytes_of_text("x"));
    assert_true(rig_say(client, lp_writer_bytes(&writer)));
    *ret_client = client;
    return rig;
}

static void
rig_end(struct rig *rig, struct rig_client *client)
{
    rig_settle(rig);
    rig_check(rig);
    rig_hang_up(client);
    rig_settle(rig);
    const char *why = rig_at_rest(rig);
    if (why) {
        fail_msg("%s", why);
    }
    rig_close(&rig);
}

static void
delete_say(struct rig_client *client, const char *name)
{
    struct rig_method method;
    rig_method_begin(&method, 1, AMQP091_QUEUE_DELETE);
    lp_writer_u16be(&method.writer, 0);
    lp_writer_short(&method.writer, lp_bytes_of_text(name));
    lp_writer_u8(&method.writer, 0);
    assert_true(rig_method_say(client, &method));
}

/* All that there may be, by a client of its own. */
static void
queues_delete(struct rig *rig)
{
    static const char *const names[] = {"slow", "one", "two", "three"};
    struct rig_client *client = rig_connect(rig, 0);
    rig_open_channel(client);
    for (size_t i = 0; i < LP_COUNT_OF(names); i++) {
        delete_say(client, names[i]);
    }
    rig_hang_up(client);
    rig_settle(rig);
}

static void
the_channel_may_be_closed_while_answers_are_owed(void **unused)
{
    (void)unused;
    for (uint32_t n = 0; n < TURNS * TURNS; n++) {
        struct rig_client *client;
        struct rig *rig = rig_with_consumer(&client);
        declares_feed(rig, client, n / TURNS, n % TURNS);
        rig_control_stop(rig);
        for (uint32_t i = 0; i < 40; i++) {
            rig_time_pass(rig, (uint64_t)TIMEOUT_MS * 4000000u); /* a queue looks now and then */
            (void)rig_shards_turn(rig);
        }
        rig_check(rig);
        rig_control_start(rig);
        rig_settle(rig);
        queues_delete(rig);
        rig_end(rig, client);
    }
}

static void
the_client_may_vanish_while_answers_are_owed(void **unused)
{
    (void)unused;
    for (uint32_t n = 0; n < TURNS * TURNS; n++) {
        struct rig_client *client;
        struct rig *rig = rig_with_consumer(&client);
        declares_feed(rig, client, n / TURNS, n % TURNS);
        if (n % 3 == 0) {
            rig_control_stop(rig);
            rig_hang_up(client);
            (void)rig_shards_turn(rig);
            rig_control_start(rig);
        } else {
            rig_hang_up(client);
        }
        rig_settle(rig);
        rig_check(rig);
        queues_delete(rig);
        rig_settle(rig);
        assert_null(rig_at_rest(rig));
        rig_close(&rig);
    }
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_channel_may_be_closed_while_answers_are_owed),
        cmocka_unit_test(the_client_may_vanish_while_answers_are_owed),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
