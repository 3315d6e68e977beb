/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Orders about queues and connections: purge, delete, close.
 *
 * Method: as test_admin.c; connections of fake shards do not go by themselves.
 */
#include "admin_rig.h"

#define OK "{\"ok\":true}"
#define MISSING                                                                            \
    "{\"ok\":false,\"exit\":65,\"error\":\"Object (queue, stream, exchange, etc) was not " \
    "found\",\"bare\":true}"

static struct world *
queue_world(struct lp_store_memory **ret_store)
{
    struct world *world = rig_open(ret_store);
    const uint32_t vhost = world_connect(world, 0, 1);
    (void)fake_queue_declare(&world->shard[0], 1, vhost, "q", LP_OBJECT_DURABLE);
    world_settle(world);
    return world;
}

/* Where the only queue lives. */
static struct fake_shard *
home(struct world *world)
{
    return &world->shard[fake_object_named(&world->shard[0], LP_CONTROL_QUEUE_UP, "q")->home];
}

static void
a_purge_asks_the_home_of_the_queue(void **unused)
{
    (void)unused;
    struct lp_store_memory *store;
    struct world *world = queue_world(&store);
    rig_expect(world, "{\"command\":\"purge_queue\",\"args\":[\"q\"]}", OK);
    assert_int_equal(home(world)->purges, 1);
    assert_int_equal(world->shard[0].purges + world->shard[1].purges, 1);
    rig_expect(world, "{\"command\":\"purge_queue\",\"args\":[\"r\"]}", MISSING);
    rig_expect(world,
               "{\"command\":\"purge_queue\",\"args\":[\"q\"],\"options\":{\"vhost\":\"none\"}}",
               MISSING);
    rig_close(world, store);
}

static void
a_purge_that_outlives_the_topology_fails(void **unused)
{
    (void)unused;
    json_t *answer;
    struct lp_store_memory *store;
    struct world *world = queue_world(&store);
    struct fake_shard *shard = home(world);
    shard->lazy = true;
    rig_tell(world, "{\"command\":\"purge_queue\",\"args\":[\"q\"]}", &answer);
    world_settle(world);
    assert_null(answer);
    lp_store_memory_fail(store, 1, false);
    json_t *other = rig_ask(world, "{\"command\":\"add_vhost\",\"args\":[\"v\"]}");
    json_decref(other);
    assert_non_null(answer);
    assert_int_equal(json_integer_value(json_object_get(answer, "exit")), 75);
    json_decref(answer);
    /* Its answer comes late, and is for nobody. */
    uint8_t room[6] = {0};
    fake_shard_send(shard, LP_CONTROL_QUEUE_PURGED, shard->purge_kept, lp_bytes_of(room, 6));
    world_settle(world);
    rig_close(world, store);
}

static void
a_queue_is_deleted_unless_it_is_in_use_or_not_empty(void **unused)
{
    (void)unused;
    struct lp_store_memory *store;
    struct world *world = queue_world(&store);
    struct fake_shard *shard = home(world);
    rig_expect(world, "{\"command\":\"delete_queue\",\"args\":[\"\"]}",
               "{\"ok\":false,\"exit\":65,\"validation\":\"Bad argument: queue name cannot be an "
               "empty string\"}");
    rig_expect(world, "{\"command\":\"delete_queue\",\"args\":[\"r\"]}",
               "{\"ok\":false,\"exit\":64,\"error\":\"Queue not found\"}");
    shard->verdict = LP_DELETE_NOT_EMPTY;
    rig_expect(world,
               "{\"command\":\"delete_queue\",\"args\":[\"q\"],\"options\":{\"if-empty\":true}}",
               "{\"ok\":false,\"exit\":64,\"error\":\"Queue is not empty\"}");
    shard->verdict = LP_DELETE_IN_USE;
    rig_expect(world,
               "{\"command\":\"delete_queue\",\"args\":[\"q\"],\"options\":{\"if-unused\":true}}",
               "{\"ok\":false,\"exit\":69,\"error\":\"{:amqp_error, :precondition_failed, "
               "~c\\\"queue 'q' in vhost '/' in use\\\", :none}\"}");
    shard->verdict = LP_DELETE_ALLOWED;
    shard->count = 5;
    rig_expect(world, "{\"command\":\"delete_queue\",\"args\":[\"q\"]}",
               "{\"ok\":true,\"text\":\"Queue was successfully deleted with 5 ready messages\"}");
    assert_int_equal(fake_object_count(&world->shard[0], LP_CONTROL_QUEUE_UP), 0);
    assert_int_equal(fake_object_count(&world->shard[1], LP_CONTROL_QUEUE_UP), 0);
    rig_close(world, store);
}

static void
a_connection_is_closed_by_the_name_that_listings_give_it(void **unused)
{
    (void)unused;
    struct lp_store_memory *store;
    char request[256];
    struct world *world = rig_open(&store);
    (void)world_connect(world, 1, 4);
    json_t *listing = rig_ask(world, "{\"command\":\"list_connections\",\"args\":[\"pid\"]}");
    const json_t *row = json_array_get(json_object_get(listing, "rows"), 0);
    (void)snprintf(request, sizeof(request),
                   "{\"command\":\"close_connection\",\"args\":[\"%s\",\"why\"]}",
                   json_string_value(json_array_get(row, 0)));
    json_decref(listing);
    rig_expect(world, request, OK);
    assert_int_equal(world->shard[1].closed_connection, fake_connection_id(1, 4));
    assert_int_equal(world->shard[0].closed_connection, 0);
    rig_expect(world, "{\"command\":\"close_connection\",\"args\":[\"<a.1.2.3>\",\"why\"]}", OK);
    rig_expect(
        world, "{\"command\":\"close_connection\",\"args\":[\"xx\",\"why\"]}",
        "{\"ok\":false,\"exit\":69,\"error\":\"Error:\\n{:invalid_pid_syntax, \\\"xx\\\"}\"}");
    rig_close(world, store);
}

static void
all_connections_are_closed_within_a_limit_and_with_delays(void **unused)
{
    (void)unused;
    json_t *answer;
    struct lp_store_memory *store;
    struct world *world = rig_open(&store);
    (void)world_connect(world, 0, 1);
    (void)world_connect(world, 1, 2);
    (void)world_connect(world, 1, 3);
    rig_expect(world, "{\"command\":\"close_all_connections\",\"args\":[\"why\"]}",
               "{\"ok\":true,\"text\":\"Closed 3 connections\"}");
    rig_expect(world,
               "{\"command\":\"close_all_connections\",\"args\":[\"why\"],\"options\":{\"vhost\":"
               "\"none\"}}",
               "{\"ok\":true,\"text\":\"Closed 0 connections\"}");
    world->shard[1].closed_connection = 0;
    rig_tell(world,
             "{\"command\":\"close_all_connections\",\"args\":[\"why\"],\"options\":{\"limit\":2,"
             "\"per-connection-delay\":300}}",
             &answer);
    world_settle(world);
    assert_null(answer);
    assert_int_equal(world->shard[1].closed_connection, 0);
    assert_in_range(lp_control_wait_ns(world->control), 299000000u, 300000000u);
    fake_now_ns += 300000000u;
    world_settle(world);
    assert_int_equal(world->shard[1].closed_connection, fake_connection_id(1, 2));
    assert_non_null(answer);
    json_decref(answer);
    rig_expect(world,
               "{\"command\":\"close_all_connections\",\"args\":[\"why\"],\"options\":{\"limit\":"
               "-1}}",
               "{\"ok\":false,\"exit\":65,\"validation\":\"Bad argument: a limit and a delay are "
               "numbers that are not negative\"}");
    world->shard[1].closed_connection = 0;
    rig_expect(world, "{\"command\":\"close_all_user_connections\",\"args\":[\"nobody\",\"why\"]}",
               OK);
    rig_expect(world, "{\"command\":\"close_all_user_connections\",\"args\":[\"\",\"why\"]}", OK);
    assert_int_equal(world->shard[1].closed_connection, 0);
    rig_expect(world, "{\"command\":\"close_all_user_connections\",\"args\":[\"guest\",\"why\"]}",
               OK);
    assert_int_equal(world->shard[1].closed_connection, fake_connection_id(1, 3));
    rig_close(world, store);
}

static void
queues_of_a_shard_that_does_not_answer_are_unresponsive(void **unused)
{
    (void)unused;
    struct lp_store_memory *store;
    struct world *world = queue_world(&store);
    json_t *answer;
    rig_expect(world, "{\"command\":\"list_unresponsive_queues\"}",
               "{\"ok\":true,\"columns\":[\"name\"],\"rows\":[]}");
    home(world)->mute = true;
    rig_tell(world,
             "{\"command\":\"list_unresponsive_queues\",\"args\":[\"name,durable\"],"
             "\"options\":{\"queue-timeout\":20}}",
             &answer);
    world_settle(world); /* asked */
    fake_now_ns += UINT64_C(19000000000);
    world_settle(world);
    assert_null(answer);
    fake_now_ns += UINT64_C(1100000000);
    world_settle(world);
    assert_non_null(answer);
    char *text = json_dumps(answer, JSON_COMPACT);
    assert_string_equal(text,
                        "{\"ok\":true,\"columns\":[\"name\",\"durable\"],\"rows\":[[\"q\",true]]}");
    free(text);
    json_decref(answer);
    rig_close(world, store);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_purge_asks_the_home_of_the_queue),
        cmocka_unit_test(a_purge_that_outlives_the_topology_fails),
        cmocka_unit_test(a_queue_is_deleted_unless_it_is_in_use_or_not_empty),
        cmocka_unit_test(a_connection_is_closed_by_the_name_that_listings_give_it),
        cmocka_unit_test(all_connections_are_closed_within_a_limit_and_with_delays),
        cmocka_unit_test(queues_of_a_shard_that_does_not_answer_are_unresponsive),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
