/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Goal: a message whose publisher, queue and consumer are on one shard goes by
 * calls, and nobody can tell: nothing is overtaken that RabbitMQ would have in
 * front, nothing comes to who is none yet or no more, nothing is lost when
 * there is no room in the middle.
 *
 * Method: one shard; calls without a turn in between, so that what goes by the
 * shard's own ring is still in there.
 */
#include "tests/unit/shard/shard_client.h"

struct near {
    struct rig rig;
    struct lp_broker *broker;
    struct rig_client *one;
    struct rig_client *other;
};

static void
near_open(struct near *near)
{
    rig_open(&near->rig, 1, RIG_MEMORY_BYTES);
    rig_topology(&near->rig, 3);
    near->broker = &near->rig.shard[0]->broker;
    near->one = client_open(&near->rig, 0);
    near->other = client_open(&near->rig, 0);
}

static void
near_close(struct near *near)
{
    client_close(near->one);
    client_close(near->other);
    for (uint32_t i = 0; i < 3; i++) {
        rig_queue_down(&near->rig, 10 + i);
    }
    rig_close(&near->rig);
}

/* "q0" again, with settings. */
static void
near_configure(struct near *near, struct lp_queue_settings *settings)
{
    const struct rig_queue queue = {.id = 10, .name = "q0", .settings = settings};
    rig_queue_up(&near->rig, &queue);
    rig_settle(&near->rig);
}

/* Not waiting for the answer. */
static struct lp_consumer *
consume_begin(struct rig_client *client, const char *queue, bool no_ack)
{
    struct lp_consumer *consumer = NULL;
    const struct lp_consume consume = {
        .queue = client_queue(client, queue), .no_ack = no_ack, .user = client};
    assert_int_equal(lp_session_consume(client->session, &consume, &consumer), LP_LATER);
    return consumer;
}

static void
expect_values(const struct rig_client *client, const uint64_t *values, uint32_t count)
{
    assert_int_equal(client->delivered, count);
    for (uint32_t i = 0; i < count; i++) {
        assert_int_equal(client->delivery[i].value, values[i]);
    }
}

static struct lp_queue_counts
near_counts(const struct near *near, uint32_t id)
{
    struct lp_queue_counts counts;
    const struct lp_queue *queue = lp_queue_find(near->broker, id);
    queue->type->counts(queue, &counts);
    return counts;
}

/* ---- by a call, stored or not ---- */

static void
who_does_not_acknowledge_has_it_before_the_publish_returns(void **unused)
{
    (void)unused;
    struct near near;
    near_open(&near);
    (void)consume_begin(near.other, "q0", true);
    rig_settle(&near.rig);
    lp_session_confirm_select(near.one->session);
    for (uint64_t value = 1; value <= 300; value++) {
        client_send(near.one, "q0", value);
        assert_int_equal(near.other->delivered, value);
        /* It never was an entry, and nothing of it is left. */
        assert_int_equal(near.broker->entries.used, 0);
        assert_int_equal(near.broker->messages.used, 0);
    }
    rig_settle(&near.rig);
    assert_int_equal(near.one->confirmed, 300);
    near_close(&near);
}

static void
who_acknowledges_has_it_before_the_publish_returns(void **unused)
{
    (void)unused;
    struct near near;
    near_open(&near);
    (void)client_consume(near.other, "q0", 2);
    client_send_many(near.one, "q0", 1, 3);
    static const uint64_t values[] = {1, 2, 3};
    expect_values(near.other, values, 2);
    assert_int_equal(near_counts(&near, 10).ready, 1);
    assert_int_equal(near_counts(&near, 10).unacked, 2);
    client_ack(near.other, 1);
    rig_settle(&near.rig);
    expect_values(near.other, values, 3);
    near_close(&near);
}

static void
a_publisher_that_consumes_its_own_sees_no_difference(void **unused)
{
    (void)unused;
    struct near near;
    near_open(&near);
    (void)client_consume(near.one, "q0", 0);
    (void)consume_begin(near.one, "q1", true);
    rig_settle(&near.rig);
    for (uint64_t value = 1; value <= 20; value++) {
        struct lp_publish publish;
        assert_int_equal(client_publish(near.one, &publish, "fan", "", value), LP_DONE);
        assert_int_equal(near.one->delivered, 2 * value);
        assert_int_equal(near.one->delivery[2 * value - 1].number, 2 * value);
    }
    assert_int_equal(near_counts(&near, 12).ready, 20);
    assert_int_equal(lp_session_settle(near.one->session, 0, true, LP_SETTLE_ACK), LP_DONE);
    near_close(&near);
}

/* ---- what must not be overtaken ---- */

/* C48: a limit counts what this channel gave back before. */
static void
what_was_given_back_is_there_before_what_is_published_next(void **unused)
{
    (void)unused;
    struct near near;
    struct lp_queue_settings settings = lp_queue_settings_none();
    near_open(&near);
    settings.max_length = 1;
    settings.overflow = LP_OVERFLOW_REJECT_PUBLISH;
    near_configure(&near, &settings);
    lp_session_confirm_select(near.one->session);
    client_send(near.one, "q0", 1);
    assert_int_equal(lp_session_get(near.one->session, client_queue(near.one, "q0"), false),
                     LP_LATER);
    rig_settle(&near.rig);
    assert_int_equal(near.one->got_last.value, 1);
    assert_int_equal(lp_session_settle(near.one->session, 1, false, LP_SETTLE_REQUEUE), LP_DONE);
    client_send(near.one, "q0", 2);
    client_send(near.one, "q0", 3);
    assert_true(near.one->session->gave_back);
    rig_settle(&near.rig);
    assert_int_equal(near.one->nacked, 2);
    assert_int_equal(near_counts(&near, 10).ready, 1);
    client_send(near.one, "q0", 4); /* the ring is empty: near again */
    assert_int_equal(near.one->nacked, 3);
    assert_false(near.one->session->gave_back);
    near_close(&near);
}

/* In order for one channel and queue, by whichever way each of them went. */
static void
what_a_channel_publishes_stays_in_order_around_what_it_gives_back(void **unused)
{
    (void)unused;
    struct near near;
    near_open(&near);
    client_send(near.one, "q1", 1);
    (void)client_consume(near.one, "q1", 0);
    (void)consume_begin(near.other, "q0", true);
    rig_settle(&near.rig);
    uint64_t next = 1;
    for (uint32_t round = 0; round < 50; round++) {
        const uint64_t number = near.one->delivery[near.one->delivered - 1].number;
        client_send(near.one, "q0", next++);
        assert_int_equal(lp_session_settle(near.one->session, number, false, LP_SETTLE_REQUEUE),
                         LP_DONE);
        client_send(near.one, "q0", next++);
        client_send(near.one, "q0", next++);
        if (round % 3 == 0) {
            (void)rig_turn(&near.rig);
        }
        client_send(near.one, "q0", next++);
        rig_settle(&near.rig);
    }
    assert_int_equal(near.other->delivered, next - 1);
    for (uint32_t i = 0; i < near.other->delivered; i++) {
        assert_int_equal(near.other->delivery[i].value, i + 1);
    }
    near_close(&near);
}

/* A get's answer is still in the ring when another consumer of the same channel may take more. */
static void
what_was_got_comes_before_what_is_delivered_after_it(void **unused)
{
    (void)unused;
    struct near near;
    struct lp_queue_settings settings = lp_queue_settings_none();
    near_open(&near);
    settings.single_active_consumer = true;
    near_configure(&near, &settings);
    struct lp_consumer *active = client_consume(near.other, "q0", 1);
    (void)client_consume(near.one, "q0", 0); /* it waits to become the active one */
    client_send_many(near.other, "q0", 1, 3);
    static const uint64_t first[] = {1};
    expect_values(near.other, first, 1);
    assert_int_equal(lp_session_get(near.one->session, client_queue(near.one, "q0"), true),
                     LP_LATER);
    assert_int_equal(lp_session_cancel(near.other->session, active), LP_LATER);
    rig_settle(&near.rig);
    assert_int_equal(near.one->got_last.value, 2);
    assert_int_equal(near.one->got_last.number, 1);
    static const uint64_t then[] = {3};
    expect_values(near.one, then, 1);
    assert_int_equal(near.one->delivery[0].number, 2);
    near_close(&near);
}

/* ---- consumers that come and go ---- */

/* C114 */
static void
nothing_is_delivered_before_a_consumer_knows_that_it_is_one(void **unused)
{
    (void)unused;
    struct near near;
    near_open(&near);
    client_send(near.one, "q0", 1);
    (void)consume_begin(near.other, "q0", true);
    client_send(near.one, "q0", 2);
    assert_int_equal(near.other->delivered, 0);
    uint32_t turns = 0;
    while (near.other->consumed == 0) {
        assert_int_equal(near.other->delivered, 0);
        client_send(near.one, "q0", 3 + turns++);
        (void)rig_turn(&near.rig);
    }
    rig_settle(&near.rig);
    assert_int_equal(near.other->delivered, 2 + turns);
    for (uint32_t i = 0; i < near.other->delivered; i++) {
        assert_int_equal(near.other->delivery[i].value, i + 1);
    }
    near_close(&near);
}

static void
a_consumer_that_is_cancelled_has_what_came_before_and_nothing_after(void **unused)
{
    (void)unused;
    struct near near;
    near_open(&near);
    for (uint32_t no_ack = 0; no_ack < 2; no_ack++) {
        const uint32_t before = near.other->delivered;
        struct lp_consumer *consumer = consume_begin(near.other, "q0", no_ack);
        rig_settle(&near.rig);
        client_send(near.one, "q0", 1);
        assert_int_equal(lp_session_cancel(near.other->session, consumer), LP_LATER);
        client_send(near.one, "q0", 2);
        assert_int_equal(near.other->delivered, before + 2);
        near.other->output_full = true;
        client_send(near.one, "q0", 3); /* on its way, and before the answer (C114) */
        rig_settle(&near.rig);
        assert_int_equal(near.other->cancelled, no_ack);
        client_send(near.one, "q0", 4);
        near.other->output_full = false;
        lp_session_output_ready(near.other->session);
        rig_settle(&near.rig);
        assert_int_equal(near.other->cancelled, no_ack + 1);
        assert_int_equal(near.other->delivered, before + 3);
        client_send(near.one, "q0", 5);
        assert_int_equal(near.other->delivered, before + 3);
        assert_int_equal(near_counts(&near, 10).ready, 2);
        assert_int_equal(lp_session_purge(near.other->session, client_queue(near.other, "q0")),
                         LP_LATER);
        rig_settle(&near.rig);
    }
    near_close(&near);
}

/* C130 */
static void
what_comes_to_a_session_that_closes_goes_to_the_next(void **unused)
{
    (void)unused;
    for (uint32_t no_ack = 0; no_ack < 2; no_ack++) {
        struct near near;
        near_open(&near);
        struct rig_client *closing = client_open(&near.rig, 0);
        (void)consume_begin(closing, "q0", no_ack);
        rig_settle(&near.rig);
        (void)consume_begin(near.other, "q0", true);
        rig_settle(&near.rig);
        lp_session_close(closing->session);
        client_send_many(near.one, "q0", 1, 8);
        assert_int_equal(closing->delivered, 0);
        rig_settle(&near.rig);
        assert_int_equal(closing->closed, 1);
        assert_int_equal(near.other->delivered, 8);
        uint64_t sum = 0;
        for (uint32_t i = 0; i < 8; i++) {
            sum += near.other->delivery[i].value;
        }
        assert_int_equal(sum, 36);
        free(closing);
        near_close(&near);
    }
}

static void
a_queue_that_is_deleted_in_the_same_turn_takes_what_is_kept_with_it(void **unused)
{
    (void)unused;
    struct near near;
    near_open(&near);
    lp_session_confirm_select(near.one->session);
    (void)client_consume(near.other, "q1", 0);
    (void)consume_begin(near.other, "q0", true);
    rig_settle(&near.rig);
    near.other->output_full = true;
    for (uint64_t value = 1; value <= 10; value++) {
        struct lp_publish publish;
        assert_int_equal(client_publish(near.one, &publish, "fan", "", value), LP_DONE);
    }
    assert_int_equal(near.other->delivered, 0);
    rig_queue_down(&near.rig, 10);
    rig_queue_down(&near.rig, 11);
    (void)rig_turn(&near.rig);
    near.other->output_full = false;
    lp_session_output_ready(near.other->session);
    rig_settle(&near.rig);
    assert_int_equal(near.other->gone, 2);
    assert_int_equal(near.one->confirmed, 10);
    assert_int_equal(near.broker->messages.used, 10); /* "q2" has them */
    near_close(&near);
}

/* Closed for newcomers by a delete that control has not decided yet: counts as taken (C105). */
static void
a_queue_that_is_about_to_go_refuses_by_a_call(void **unused)
{
    (void)unused;
    struct near near;
    near_open(&near);
    lp_session_confirm_select(near.one->session);
    uint32_t dropped = 0;
    assert_int_equal(lp_queue_delete_check(near.broker, 11, false, false, &dropped),
                     LP_DELETE_ALLOWED);
    struct lp_publish publish;
    assert_int_equal(client_publish(near.one, &publish, "fan", "", 1), LP_DONE);
    client_send(near.one, "q1", 2);
    assert_int_equal(near.broker->messages.used, 1);
    rig_settle(&near.rig);
    assert_int_equal(near.one->confirmed, 2);
    assert_int_equal(near.one->nacked, 0);
    near_close(&near);
}

/* ---- no room in the middle ---- */

static void
full_output_stores_what_would_have_passed_and_keeps_the_order(void **unused)
{
    (void)unused;
    for (uint32_t no_ack = 0; no_ack < 2; no_ack++) {
        struct near near;
        near_open(&near);
        (void)consume_begin(near.other, "q0", no_ack);
        rig_settle(&near.rig);
        uint64_t next = 1;
        for (uint32_t round = 0; round < 5; round++) {
            near.other->output_full = (round % 2) != 0;
            client_send_many(near.one, "q0", next, 400); /* more than may be on its way */
            next += 400;
            if (round == 3) {
                (void)rig_turn(&near.rig);
            }
        }
        near.other->output_full = false;
        lp_session_output_ready(near.other->session);
        client_send(near.one, "q0", next++);
        rig_settle(&near.rig);
        assert_int_equal(near.other->delivered, next - 1);
        for (uint32_t i = 0; i < near.other->delivered; i++) {
            assert_int_equal(near.other->delivery[i].value, i + 1);
            assert_int_equal(near.other->delivery[i].number, i + 1);
        }
        near_close(&near);
    }
}

static void
limits_that_channels_share_come_in_the_middle(void **unused)
{
    (void)unused;
    struct near near;
    near_open(&near);
    (void)client_consume(near.other, "q0", 0);
    client_send_many(near.one, "q0", 1, 3);
    assert_int_equal(near.other->delivered, 3);
    lp_session_prefetch_shared(near.other->session, 5);
    client_send_many(near.one, "q0", 4, 7); /* its queue has not heard of it yet */
    rig_settle(&near.rig);
    assert_int_equal(near.other->delivered, 5);
    assert_int_equal(lp_session_settle(near.other->session, 2, true, LP_SETTLE_ACK), LP_DONE);
    rig_settle(&near.rig);
    assert_int_equal(near.other->delivered, 7);
    for (uint32_t i = 0; i < 7; i++) {
        assert_int_equal(near.other->delivery[i].value, i + 1);
    }
    near_close(&near);
}

/* All of the shard's memory, in blocks of falling size. */
struct filler {
    void *block[4096];
    uint32_t count;
};

static void
fill(struct near *near, struct filler *filler)
{
    filler->count = 0;
    for (uint32_t bytes = LP_SPAN_BYTES; bytes >= 64; bytes /= 2) {
        void *block;
        while (filler->count < LP_COUNT_OF(filler->block) &&
               (block = lp_memory_alloc(near->broker->memory, bytes)) != NULL) {
            filler->block[filler->count++] = block;
        }
    }
}

static void
empty(struct near *near, struct filler *filler)
{
    while (filler->count > 0) {
        lp_memory_release(near->broker->memory, &filler->block[--filler->count]);
    }
}

/* With no memory for a number, an entry or the window: it waits, is refused, or is kept. */
static void
without_memory_nothing_is_lost_that_was_taken(void **unused)
{
    (void)unused;
    static struct filler filler;
    struct near near;
    near_open(&near);
    lp_session_confirm_select(near.one->session);
    (void)client_consume(near.other, "q0", 0);
    struct lp_publish publish[40];
    uint32_t taken = 0;
    uint32_t waits = 0;
    for (uint32_t i = 0; i < LP_COUNT_OF(publish); i++) {
        struct lp_messages *messages = &near.broker->messages;
        const uint64_t value = i;
        const struct lp_message_parts parts = {.key = lp_bytes_of_text("q0"),
                                               .protocol = LP_PROTOCOL_AMQP091,
                                               .body_bytes = sizeof(value)};
        memset(&publish[i], 0, sizeof(publish[i]));
        assert_non_null(lp_message_whole(messages, &parts, lp_bytes_of(&value, sizeof(value)),
                                         &publish[i].message));
        publish[i].exchange =
            lp_topology_exchange(&near.broker->topology, RIG_VHOST, lp_bytes_of(NULL, 0));
    }
    for (uint32_t i = 0; i < LP_COUNT_OF(publish); i++) {
        fill(&near, &filler);
        enum lp_result result = lp_session_publish(near.one->session, &publish[i]);
        if (i % 2 == 1) {
            (void)rig_turn(&near.rig);
        }
        empty(&near, &filler);
        if (result == LP_WAIT) {
            waits++;
            result = lp_session_publish_resume(near.one->session, &publish[i]);
        }
        assert_int_equal(result, LP_DONE);
        taken++;
        if (i % 8 == 7) {
            rig_settle(&near.rig);
        }
    }
    rig_settle(&near.rig);
    assert_true(waits > 0);
    assert_int_equal(near.one->confirmed + near.one->nacked, taken);
    assert_int_equal(near.other->delivered + near.one->nacked, taken);
    for (uint32_t i = 1; i < near.other->delivered; i++) {
        assert_true(near.other->delivery[i].value > near.other->delivery[i - 1].value);
    }
    near_close(&near);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(who_does_not_acknowledge_has_it_before_the_publish_returns),
        cmocka_unit_test(who_acknowledges_has_it_before_the_publish_returns),
        cmocka_unit_test(a_publisher_that_consumes_its_own_sees_no_difference),
        cmocka_unit_test(what_was_given_back_is_there_before_what_is_published_next),
        cmocka_unit_test(what_a_channel_publishes_stays_in_order_around_what_it_gives_back),
        cmocka_unit_test(what_was_got_comes_before_what_is_delivered_after_it),
        cmocka_unit_test(nothing_is_delivered_before_a_consumer_knows_that_it_is_one),
        cmocka_unit_test(a_consumer_that_is_cancelled_has_what_came_before_and_nothing_after),
        cmocka_unit_test(what_comes_to_a_session_that_closes_goes_to_the_next),
        cmocka_unit_test(a_queue_that_is_deleted_in_the_same_turn_takes_what_is_kept_with_it),
        cmocka_unit_test(a_queue_that_is_about_to_go_refuses_by_a_call),
        cmocka_unit_test(full_output_stores_what_would_have_passed_and_keeps_the_order),
        cmocka_unit_test(limits_that_channels_share_come_in_the_middle),
        cmocka_unit_test(without_memory_nothing_is_lost_that_was_taken),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
