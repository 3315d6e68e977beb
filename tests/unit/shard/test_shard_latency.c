/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Where the time goes: stamps of a queue's messages, and what `latency` says.
 *
 * Method: a whole broker with its control process (lib/rig.h) and a clock that
 * goes on by TICK with every look at it, so every time is known exactly.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>
#include <jansson.h>

#include "control/admin/admin.h"
#include "dataplane/broker/queue.h"
#include "dataplane/shard/shard_private.h"
#include "tests/lib/rig.h"

#define TICK         100u
#define TURN         20000u /* rig.c's, between the turns of two shards */
#define MEMORY_BYTES (32u << 20)
#define ON           "{\"command\":\"latency\",\"args\":[\"on\",\"q\"]}"
#define OFF          "{\"command\":\"latency\",\"args\":[\"off\",\"q\"]}"
#define SHOW         "{\"command\":\"latency\",\"args\":[\"q\"]}"

struct bench {
    struct rig *rig;
    struct rig_client *publisher, *consumer;
    uint32_t home;
    uint8_t segment[1u << 16];
};

/* ---- talking to the broker ---- */

static void
answered(void *context, json_t *answer)
{
    json_t **slot = context;
    *slot = answer;
}

static json_t *
ask(struct bench *bench, const char *text)
{
    json_t *request = json_loads(text, 0, NULL);
    json_t *answer = NULL;
    lp_admin_request(rig_control(bench->rig), request, answered, &answer);
    json_decref(request);
    rig_settle(bench->rig);
    assert_non_null(answer);
    return answer;
}

static void
succeed(struct bench *bench, const char *text)
{
    json_t *answer = ask(bench, text);
    assert_true(json_is_true(json_object_get(answer, "ok")));
    json_decref(answer);
}

static void
refuse(struct bench *bench, const char *text, const char *error)
{
    json_t *answer = ask(bench, text);
    assert_false(json_is_true(json_object_get(answer, "ok")));
    assert_non_null(strstr(json_string_value(json_object_get(answer, "error")), error));
    json_decref(answer);
}

/* Clients are on shard 0, the queue "q" on the last one. */
static void
bench_open(struct bench *bench, uint32_t shards)
{
    const struct rig_options options = {shards, MEMORY_BYTES};
    memset(bench, 0, sizeof(*bench));
    bench->rig = rig_open(&options);
    bench->home = shards - 1;
    struct rig_client *declarer = rig_connect(bench->rig, bench->home);
    rig_open_channel(declarer);
    rig_declare_queue(declarer, "q");
    rig_hang_up(declarer);
    bench->publisher = rig_connect(bench->rig, 0);
    rig_open_channel(bench->publisher);
    bench->consumer = rig_connect(bench->rig, 0);
    rig_open_channel(bench->consumer);
    rig_clock_tick(bench->rig, TICK);
}

static void
bench_close(struct bench *bench)
{
    rig_check(bench->rig);
    rig_close(&bench->rig);
}

/* In one segment, which is read in the next turn. */
static void
publish(struct bench *bench, uint32_t count)
{
    struct lp_writer writer = lp_writer_of(bench->segment, sizeof(bench->segment));
    for (uint32_t i = 0; i < count; i++) {
        rig_publish(&writer, "", "q", lp_bytes_of_text("x"));
    }
    assert_false(writer.failed);
    rig_feed(bench->publisher, lp_writer_bytes(&writer));
    for (uint32_t i = 0; i < 4; i++) {
        (void)rig_shards_turn(bench->rig);
    }
}

/* ---- looking into shards ---- */

static const struct lp_stamps *
stamps(const struct bench *bench, uint32_t shard)
{
    return rig_shard(bench->rig, shard)->broker.stamping.queue[0];
}

static const struct lp_latency_times *
times(const struct bench *bench, uint32_t shard, enum lp_latency which)
{
    return &stamps(bench, shard)->times[which];
}

static void
expect(const struct bench *bench, uint32_t shard, enum lp_latency which, uint64_t ns)
{
    const struct lp_latency_times *found = times(bench, shard, which);
    assert_int_equal(found->count, 1);
    assert_int_equal(found->sum_ns, ns);
    assert_int_equal(found->min_ns, ns);
    assert_int_equal(found->max_ns, ns);
    assert_int_equal(found->bucket[lp_latency_bucket(ns)], 1);
}

/* Stages are in order, so what they take adds up. */
static void
expect_sums(const struct bench *bench, uint64_t count)
{
    uint64_t sum[LP_LATENCY_COUNT] = {0};
    uint64_t counted[LP_LATENCY_COUNT] = {0};
    for (uint32_t i = 0; i <= bench->home; i++) {
        for (uint32_t k = 0; k < LP_LATENCY_COUNT; k++) {
            sum[k] += times(bench, i, (enum lp_latency)k)->sum_ns;
            counted[k] += times(bench, i, (enum lp_latency)k)->count;
        }
    }
    for (uint32_t k = 0; k < LP_LATENCY_COUNT; k++) {
        assert_int_equal(counted[k], count);
    }
    assert_int_equal(sum[LP_LATENCY_OWN_WORK], sum[LP_LATENCY_ROUTING] + sum[LP_LATENCY_STORING] +
                                                   sum[LP_LATENCY_WRITING] +
                                                   sum[LP_LATENCY_SENDING]);
    assert_int_equal(sum[LP_LATENCY_TOTAL], sum[LP_LATENCY_OWN_WORK] + sum[LP_LATENCY_WAITING]);
}

/* ---- tests ---- */

static void
a_message_on_one_shard_is_measured_to_the_tick(void **unused)
{
    (void)unused;
    struct bench bench;
    bench_open(&bench, 1);
    rig_consume(bench.consumer, "q", 0);
    succeed(&bench, ON);
    publish(&bench, 1);
    expect(&bench, 0, LP_LATENCY_ROUTING, TICK);
    expect(&bench, 0, LP_LATENCY_STORING, TICK);
    expect(&bench, 0, LP_LATENCY_WAITING, TICK);
    expect(&bench, 0, LP_LATENCY_WRITING, TICK);
    expect(&bench, 0, LP_LATENCY_SENDING, TICK);
    expect(&bench, 0, LP_LATENCY_TOTAL, 5 * TICK);
    expect(&bench, 0, LP_LATENCY_OWN_WORK, 4 * TICK);
    publish(&bench, 600); /* in one turn */
    expect_sums(&bench, 601);
    bench_close(&bench);
}

static void
the_ways_between_shards_are_in_the_stage_that_they_belong_to(void **unused)
{
    (void)unused;
    struct bench bench;
    bench_open(&bench, 2);
    rig_consume(bench.consumer, "q", 10);
    succeed(&bench, ON);
    publish(&bench, 1);
    expect(&bench, 1, LP_LATENCY_ROUTING, TICK);
    expect(&bench, 1, LP_LATENCY_STORING, TURN);
    expect(&bench, 1, LP_LATENCY_WAITING, TICK);
    expect(&bench, 0, LP_LATENCY_WRITING, TURN - TICK);
    expect(&bench, 0, LP_LATENCY_SENDING, TICK);
    expect(&bench, 0, LP_LATENCY_TOTAL, 2 * TURN + 2 * TICK);
    expect(&bench, 0, LP_LATENCY_OWN_WORK, 2 * TURN + TICK);
    expect_sums(&bench, 1);
    bench_close(&bench);
}

static void
what_waits_for_a_consumer_is_no_work_of_the_brokers(void **unused)
{
    (void)unused;
    struct bench bench;
    bench_open(&bench, 1);
    succeed(&bench, ON);
    publish(&bench, 1);
    assert_int_equal(times(&bench, 0, LP_LATENCY_WAITING)->count, 0);
    rig_time_pass(bench.rig, 3000000000u);
    rig_consume(bench.consumer, "q", 0);
    assert_true(times(&bench, 0, LP_LATENCY_WAITING)->min_ns > 3000000000u);
    expect(&bench, 0, LP_LATENCY_OWN_WORK, 4 * TICK);
    expect_sums(&bench, 1);
    bench_close(&bench);
}

static void
of_a_long_queue_samples_are_measured_and_the_others_counted(void **unused)
{
    (void)unused;
    struct bench bench;
    bench_open(&bench, 1);
    succeed(&bench, ON);
    publish(&bench, 200);
    assert_int_equal(stamps(&bench, 0)->measured, LP_PROBES);
    assert_int_equal(stamps(&bench, 0)->missed, 200 - LP_PROBES);
    rig_consume(bench.consumer, "q", 0);
    expect_sums(&bench, LP_PROBES);
    publish(&bench, 1);
    expect_sums(&bench, LP_PROBES + 1);
    bench_close(&bench);
}

/* Their places in the table are others' when they come for them. */
static void
messages_that_are_purged_are_never_heard_of_again(void **unused)
{
    (void)unused;
    struct bench bench;
    bench_open(&bench, 1);
    succeed(&bench, ON);
    publish(&bench, 100);
    succeed(&bench, "{\"command\":\"purge_queue\",\"args\":[\"q\"]}");
    publish(&bench, 100);
    assert_int_equal(stamps(&bench, 0)->measured, 2 * LP_PROBES);
    rig_consume(bench.consumer, "q", 0);
    assert_int_equal(times(&bench, 0, LP_LATENCY_TOTAL)->count, LP_PROBES);
    bench_close(&bench);
}

static void
a_consumer_that_does_not_read_makes_its_messages_late(void **unused)
{
    (void)unused;
    struct bench bench;
    bench_open(&bench, 1);
    rig_consume(bench.consumer, "q", 0);
    succeed(&bench, ON);
    bench.consumer->slow = true;
    publish(&bench, 1); /* its send is not over: the next one waits */
    publish(&bench, 1);
    assert_int_equal(times(&bench, 0, LP_LATENCY_SENDING)->count, 1);
    rig_time_pass(bench.rig, 1000000u);
    bench.consumer->slow = false;
    rig_settle(bench.rig);
    assert_int_equal(times(&bench, 0, LP_LATENCY_SENDING)->count, 2);
    assert_true(times(&bench, 0, LP_LATENCY_SENDING)->max_ns > 1000000u);
    expect_sums(&bench, 2);
    bench_close(&bench);
}

static void
stamps_cost_memory_only_while_they_are_on(void **unused)
{
    (void)unused;
    struct bench bench;
    bench_open(&bench, 2);
    const struct lp_memory *memory = rig_shard(bench.rig, 0)->broker.memory;
    const uint64_t before = lp_memory_used_bytes(memory);
    succeed(&bench, ON);
    succeed(&bench, ON); /* it is so already */
    assert_true(lp_memory_used_bytes(memory) >= before + sizeof(struct lp_stamps));
    succeed(&bench, OFF);
    succeed(&bench, OFF);
    assert_int_equal(lp_memory_used_bytes(memory), before);
    bench_close(&bench);
}

static void
a_message_that_was_measured_when_they_went_off_is_not_when_they_are_on_again(void **unused)
{
    (void)unused;
    struct bench bench;
    bench_open(&bench, 1);
    succeed(&bench, ON);
    publish(&bench, 1); /* stays in the queue, with its mark */
    succeed(&bench, OFF);
    succeed(&bench, ON);
    rig_consume(bench.consumer, "q", 0);
    expect_sums(&bench, 0);
    bench_close(&bench);
}

static void
stamps_end_with_their_queue(void **unused)
{
    (void)unused;
    struct bench bench;
    bench_open(&bench, 2);
    succeed(&bench, ON);
    publish(&bench, 1);
    succeed(&bench, "{\"command\":\"delete_queue\",\"args\":[\"q\"]}");
    assert_null(stamps(&bench, 0));
    assert_null(stamps(&bench, 1));
    assert_null(rig_shard(bench.rig, 1)->broker.stamping.way);
    refuse(&bench, SHOW, "Queue 'q' does not exist in vhost '/'");
    bench_close(&bench);
}

static void
stamps_outlive_the_control_process(void **unused)
{
    (void)unused;
    struct bench bench;
    bench_open(&bench, 2);
    rig_consume(bench.consumer, "q", 0);
    succeed(&bench, ON);
    publish(&bench, 3);
    rig_control_stop(bench.rig);
    publish(&bench, 4);
    rig_control_start(bench.rig);
    rig_settle(bench.rig);
    json_t *answer = ask(&bench, SHOW);
    const json_t *queue = json_array_get(json_object_get(answer, "data"), 0);
    assert_int_equal(json_integer_value(json_object_get(queue, "measured")), 7);
    const json_t *total = json_object_get(queue, "received_to_sent");
    assert_int_equal(json_integer_value(json_object_get(total, "count")), 7);
    assert_non_null(strstr(json_string_value(json_object_get(answer, "text")), "7 messages"));
    json_decref(answer);
    bench_close(&bench);
}

static void
a_queue_that_nobody_knows_or_measures_is_refused(void **unused)
{
    (void)unused;
    struct bench bench;
    bench_open(&bench, 1);
    refuse(&bench, SHOW, "queue 'q' is not measured; 'latency on q' begins to");
    refuse(&bench, "{\"command\":\"latency\",\"args\":[\"on\",\"r\"]}",
           "Queue 'r' does not exist in vhost '/'");
    refuse(&bench,
           "{\"command\":\"latency\",\"args\":[\"on\",\"q\"],\"options\":{\"vhost\":\"v\"}}",
           "Virtual host 'v' does not exist");
    bench_close(&bench);
}

static void
no_more_queues_than_there_are_places_have_stamps(void **unused)
{
    (void)unused;
    struct bench bench;
    char text[128];
    bench_open(&bench, 2);
    for (uint32_t i = 0; i < LP_STAMPED_QUEUES_MAX; i++) {
        (void)snprintf(text, sizeof(text), "q%u", i);
        rig_declare_queue(bench.publisher, text);
        (void)snprintf(text, sizeof(text), "{\"command\":\"latency\",\"args\":[\"on\",\"q%u\"]}",
                       i);
        succeed(&bench, text);
    }
    refuse(&bench, ON, "at most 32 queues can have stamps at once");
    succeed(&bench, "{\"command\":\"latency\",\"args\":[\"off\",\"q7\"]}");
    succeed(&bench, ON);
    json_t *answer = ask(&bench, "{\"command\":\"latency\"}");
    assert_int_equal(json_array_size(json_object_get(answer, "data")), LP_STAMPED_QUEUES_MAX);
    json_decref(answer);
    bench_close(&bench);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_message_on_one_shard_is_measured_to_the_tick),
        cmocka_unit_test(the_ways_between_shards_are_in_the_stage_that_they_belong_to),
        cmocka_unit_test(what_waits_for_a_consumer_is_no_work_of_the_brokers),
        cmocka_unit_test(of_a_long_queue_samples_are_measured_and_the_others_counted),
        cmocka_unit_test(messages_that_are_purged_are_never_heard_of_again),
        cmocka_unit_test(a_consumer_that_does_not_read_makes_its_messages_late),
        cmocka_unit_test(stamps_cost_memory_only_while_they_are_on),
        cmocka_unit_test(
            a_message_that_was_measured_when_they_went_off_is_not_when_they_are_on_again),
        cmocka_unit_test(stamps_end_with_their_queue),
        cmocka_unit_test(stamps_outlive_the_control_process),
        cmocka_unit_test(a_queue_that_nobody_knows_or_measures_is_refused),
        cmocka_unit_test(no_more_queues_than_there_are_places_have_stamps),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
