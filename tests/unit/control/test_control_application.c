/* SPDX-License-Identifier: Apache-2.0 */
/*
 * stop_app, start_app and reset: what goes, what stays, and that the death of
 * the control process half way changes neither.
 *
 * Method: fake shards whose connections the test closes when they are told to.
 */
#include "admin_rig.h"

#define STOP  "{\"command\":\"stop_app\"}"
#define START "{\"command\":\"start_app\"}"
#define RESET "{\"command\":\"reset\"}"
#define OK    "{\"ok\":true}"

/* A durable and a transient queue, and an exchange of each kind, of connection 1 on shard 0. */
static struct world *
busy_world(struct lp_store_memory **ret_store)
{
    struct world *world = rig_open(ret_store);
    struct fake_shard *shard = &world->shard[0];
    const uint32_t vhost = world_connect(world, 0, 1);
    const uint32_t ids[2] = {1, vhost};
    (void)fake_queue_declare(shard, 1, vhost, "durable", LP_OBJECT_DURABLE);
    (void)fake_queue_declare(shard, 1, vhost, "transient", 0);
    (void)fake_exchange_declare(shard, 1, vhost, "x-durable", LP_OBJECT_DURABLE);
    (void)fake_exchange_declare(shard, 1, vhost, "x-transient", 0);
    world_settle(world);
    (void)fake_bind(shard, LP_CONTROL_BIND, ids, "x-transient", "durable");
    (void)fake_bind(shard, LP_CONTROL_BIND, ids, "x-durable", "durable");
    world_settle(world);
    assert_int_equal(fake_object_count(shard, LP_CONTROL_BIND_UP), 2);
    return world;
}

static void
expect_only_durable(struct world *world)
{
    for (uint32_t i = 0; i < 2; i++) {
        struct fake_shard *shard = &world->shard[i];
        assert_int_equal(fake_object_count(shard, LP_CONTROL_QUEUE_UP), 1);
        assert_non_null(fake_object_named(shard, LP_CONTROL_QUEUE_UP, "durable"));
        assert_non_null(fake_object_named(shard, LP_CONTROL_EXCHANGE_UP, "x-durable"));
        assert_null(fake_object_named(shard, LP_CONTROL_EXCHANGE_UP, "x-transient"));
        assert_int_equal(fake_object_count(shard, LP_CONTROL_BIND_UP), 1);
    }
}

static void
a_stop_waits_for_connections_and_then_drops_what_is_transient(void **unused)
{
    (void)unused;
    json_t *answer;
    struct lp_store_memory *store;
    struct world *world = busy_world(&store);
    rig_tell(world, STOP, &answer);
    world_settle(world);
    assert_null(answer);
    assert_false(world->shard[0].running);
    assert_false(world->shard[1].running);
    assert_non_null(fake_object_named(&world->shard[0], LP_CONTROL_QUEUE_UP, "transient"));
    (void)fake_closed(&world->shard[0], 1);
    world_settle(world);
    assert_non_null(answer);
    assert_true(json_is_true(json_object_get(answer, "ok")));
    json_decref(answer);
    expect_only_durable(world);
    assert_int_equal(world->shard[0].transient_purges + world->shard[1].transient_purges, 1);
    rig_expect(world, STOP, OK); /* again is fine */
    rig_expect(world, START, OK);
    assert_true(world->shard[0].running);
    assert_true(world->shard[1].running);
    rig_expect(world, START, OK);
    rig_close(world, store);
}

static void
a_stopped_application_lets_nobody_in(void **unused)
{
    (void)unused;
    struct lp_store_memory *store;
    struct world *world = rig_open(&store);
    rig_expect(world, STOP, OK);
    const struct fake_request *request = fake_open(&world->shard[0], 7, "guest", "/");
    world_settle(world);
    assert_int_equal(request->code, LP_FAULT_CONNECTION_FORCED);
    (void)fake_closed(&world->shard[0], 7);
    rig_expect(world, START, OK);
    (void)world_connect(world, 0, 8);
    rig_close(world, store);
}

static void
commands_say_what_they_need(void **unused)
{
    (void)unused;
    struct lp_store_memory *store;
    struct world *world = rig_open(&store);
    rig_expect(world, RESET,
               "{\"ok\":false,\"exit\":64,\"environment\":\"this command requires the 'rabbit' app "
               "to be stopped on the target node. Stop it with 'rabbitmqctl stop_app'.\"}");
    rig_expect(world, STOP, OK);
    rig_expect(world, "{\"command\":\"list_users\"}",
               "{\"ok\":false,\"exit\":64,\"environment\":\"this command requires the 'rabbit' app "
               "to be running on the target node. Start it with 'rabbitmqctl start_app'.\"}");
    rig_expect(world, "{\"command\":\"list_users\",\"check\":true}",
               "{\"ok\":false,\"exit\":64,\"environment\":\"this command requires the 'rabbit' app "
               "to be running on the target node. Start it with 'rabbitmqctl start_app'.\"}");
    rig_expect(world, "{\"command\":\"ping\"}", "{\"ok\":true,\"pid\":0}");
    rig_expect(world, "{\"command\":\"await_startup\"}",
               "{\"ok\":false,\"exit\":69,\"error\":\"rabbit_is_not_running\"}");
    rig_expect(world, "{\"command\":\"check_running\"}",
               "{\"ok\":false,\"exit\":69,\"error\":\"RabbitMQ on node lepus is not running or has "
               "not fully booted yet (check with is_booting)\"}");
    rig_close(world, store);
}

static void
a_start_that_comes_while_it_stops_waits_for_that(void **unused)
{
    (void)unused;
    json_t *stop;
    json_t *start;
    struct lp_store_memory *store;
    struct world *world = busy_world(&store);
    rig_tell(world, STOP, &stop);
    world_settle(world);
    rig_tell(world, START, &start);
    world_settle(world);
    assert_null(start);
    (void)fake_closed(&world->shard[0], 1);
    world_settle(world);
    assert_non_null(stop);
    assert_non_null(start);
    json_decref(stop);
    json_decref(start);
    assert_true(world->shard[0].running);
    expect_only_durable(world);
    rig_close(world, store);
}

static void
the_next_control_process_goes_on_with_a_stop(void **unused)
{
    (void)unused;
    json_t *answer;
    struct lp_store_memory *store;
    struct world *world = busy_world(&store);
    rig_tell(world, STOP, &answer);
    world_settle(world);
    world_control_kill(world);
    assert_non_null(answer); /* who waited is told that it is not known to be done */
    assert_false(json_is_true(json_object_get(answer, "ok")));
    json_decref(answer);
    world_control_start(world);
    world_settle(world);
    assert_false(world->shard[0].running);
    (void)fake_closed(&world->shard[0], 1);
    rig_expect(world, STOP, OK);
    expect_only_durable(world);
    /* ... and with being stopped. */
    world_control_kill(world);
    world->shard[0].running = true;
    world_control_start(world);
    rig_expect(world, STOP, OK);
    assert_false(world->shard[0].running);
    rig_close(world, store);
}

static void
a_control_process_that_died_at_purging_purges_again(void **unused)
{
    (void)unused;
    json_t *answer;
    struct lp_store_memory *store;
    struct world *world = busy_world(&store);
    for (uint32_t i = 0; i < 2; i++) {
        world->shard[i].lazy = true;
    }
    rig_tell(world, STOP, &answer);
    (void)fake_closed(&world->shard[0], 1);
    world_settle(world);
    assert_null(answer);
    assert_int_equal(world->shard[0].transient_purges + world->shard[1].transient_purges, 1);
    world_control_kill(world);
    json_decref(answer);
    for (uint32_t i = 0; i < 2; i++) {
        world->shard[i].lazy = false;
    }
    world_control_start(world);
    rig_expect(world, STOP, OK);
    assert_int_equal(world->shard[0].transient_purges + world->shard[1].transient_purges, 2);
    rig_close(world, store);
}

static void
a_reset_leaves_what_a_new_broker_has(void **unused)
{
    (void)unused;
    struct lp_store_memory *store;
    struct world *world = busy_world(&store);
    rig_expect(world, "{\"command\":\"add_user\",\"args\":[\"u\",\"p\"]}", OK);
    rig_expect(world, "{\"command\":\"add_vhost\",\"args\":[\"v\"]}", OK);
    rig_expect(world,
               "{\"command\":\"set_policy\",\"args\":[\"p\",\".\",\"{\\\"max-length\\\":1}\"]}",
               OK);
    rig_expect(world, "{\"command\":\"set_global_parameter\",\"args\":[\"g\",\"1\"]}", OK);
    (void)fake_closed(&world->shard[0], 1);
    rig_expect(world, STOP, OK);
    rig_expect(world, RESET, OK);
    lp_catalog_check(world->control->catalog);
    rig_expect(world, START, OK);
    rig_expect(world, "{\"command\":\"list_users\"}",
               "{\"ok\":true,\"columns\":[\"user\",\"tags\"],\"rows\":[[\"guest\","
               "[\"administrator\"]]]}");
    rig_expect(world, "{\"command\":\"list_vhosts\"}",
               "{\"ok\":true,\"columns\":[\"name\"],\"rows\":[[\"/\"]]}");
    for (uint32_t i = 0; i < 2; i++) {
        assert_int_equal(fake_object_count(&world->shard[i], LP_CONTROL_QUEUE_UP), 0);
        assert_int_equal(fake_object_count(&world->shard[i], LP_CONTROL_EXCHANGE_UP), 7);
        assert_int_equal(fake_object_count(&world->shard[i], LP_CONTROL_VHOST_UP), 1);
    }
    /* The store holds the same. */
    world_control_kill(world);
    world_control_start(world);
    rig_expect(world, "{\"command\":\"list_policies\"}",
               "{\"ok\":true,\"columns\":[\"vhost\",\"name\",\"pattern\",\"apply-to\","
               "\"definition\",\"priority\"],\"rows\":[]}");
    rig_expect(world, "{\"command\":\"list_queues\"}",
               "{\"ok\":true,\"columns\":[\"name\",\"messages\"],\"rows\":[]}");
    (void)world_connect(world, 1, 2);
    rig_close(world, store);
}

static void
a_stop_whose_change_cannot_be_stored_is_tried_again(void **unused)
{
    (void)unused;
    json_t *answer;
    struct lp_store_memory *store;
    struct world *world = busy_world(&store);
    (void)fake_closed(&world->shard[0], 1);
    world_settle(world);
    lp_store_memory_fail(store, 1, false);
    rig_tell(world, STOP, &answer);
    world_settle(world);
    assert_non_null(answer);
    json_decref(answer);
    rig_expect(world, STOP, OK);
    expect_only_durable(world);
    rig_close(world, store);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_stop_waits_for_connections_and_then_drops_what_is_transient),
        cmocka_unit_test(a_stopped_application_lets_nobody_in),
        cmocka_unit_test(commands_say_what_they_need),
        cmocka_unit_test(a_start_that_comes_while_it_stops_waits_for_that),
        cmocka_unit_test(the_next_control_process_goes_on_with_a_stop),
        cmocka_unit_test(a_control_process_that_died_at_purging_purges_again),
        cmocka_unit_test(a_reset_leaves_what_a_new_broker_has),
        cmocka_unit_test(a_stop_whose_change_cannot_be_stored_is_tried_again),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
