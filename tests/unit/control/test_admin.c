/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Administrators' commands: requests and answers as lepusctl sees them.
 *
 * Method: rows of request and answer in JSON, in order, against a control
 * process with two fake shards.
 */
#include "admin_rig.h"
#include <lepus/net_page.h>
#include <lepus/transport.h>

static const struct {
    const char *request, *answer;
} command_rows[] = {
    {"{\"command\":\"ping\"}", "{\"ok\":true,\"pid\":0}"},
    {"[]", "{\"ok\":false,\"exit\":64,\"error\":\"a request is "
           "{\\\"command\\\":text,\\\"args\\\":[text,...],\\\"options\\\":{...}}\"}"},
    {"{\"command\":\"nonsense\"}",
     "{\"ok\":false,\"exit\":64,\"error\":\"Command 'nonsense' not found.\"}"},
    {"{\"command\":\"add_user\",\"args\":[\"u\"]}",
     "{\"ok\":false,\"exit\":64,\"validation\":\"not enough arguments.\"}"},
    {"{\"command\":\"add_user\",\"args\":[\"u\",\"p\"]}", "{\"ok\":true}"},
    {"{\"command\":\"add_user\",\"args\":[\"u\",\"p\"]}",
     "{\"ok\":false,\"exit\":70,\"error\":\"User \\\"u\\\" already "
     "exists\",\"data\":{\"message\":\"User u "
     "already exists\",\"node\":\"lepus\",\"result\":\"error\"}}"},
    {"{\"command\":\"add_user\",\"args\":[\"\",\"p\"]}",
     "{\"ok\":false,\"exit\":65,\"validation\":\"Bad argument: user cannot be an empty string\"}"},
    {"{\"command\":\"authenticate_user\",\"args\":[\"u\",\"p\"]}", "{\"ok\":true}"},
    {"{\"command\":\"change_password\",\"args\":[\"u\",\"p2\"]}", "{\"ok\":true}"},
    {"{\"command\":\"authenticate_user\",\"args\":[\"u\",\"p\"]}",
     "{\"ok\":false,\"exit\":65,\"error\":\"Error: failed to authenticate user "
     "\\\"u\\\"\\nuser 'u' - invalid credentials\"}"},
    {"{\"command\":\"set_user_tags\",\"args\":[\"u\",\"monitoring\",\"policymaker\"]}",
     "{\"ok\":true}"},
    {"{\"command\":\"list_users\"}",
     "{\"ok\":true,\"columns\":[\"user\",\"tags\"],\"rows\":[[\"guest\",[\"administrator\"]],"
     "[\"u\",[\"monitoring\",\"policymaker\"]]]}"},
    {"{\"command\":\"set_permissions\",\"args\":[\"u\",\"^a\",\"\",\".*\"],\"options\":{"
     "\"vhost\":\"/\"}}",
     "{\"ok\":true}"},
    {"{\"command\":\"set_permissions\",\"args\":[\"u\",\"^a\",\"\",\".*\"],\"options\":{"
     "\"vhost\":\"v\"}}",
     "{\"ok\":false,\"exit\":69,\"error\":\"Virtual host v does not exist\",\"data\":{\"message\":"
     "\"Virtual host v does not exist\",\"node\":\"lepus\",\"result\":\"error\"}}"},
    {"{\"command\":\"list_permissions\"}",
     "{\"ok\":true,\"columns\":[\"user\",\"configure\",\"write\",\"read\"],\"rows\":[["
     "\"guest\",\".*\",\".*\",\".*\"],[\"u\",\"^a\",\"\",\".*\"]]}"},
    {"{\"command\":\"list_user_permissions\",\"args\":[\"u\"]}",
     "{\"ok\":true,\"columns\":[\"vhost\",\"configure\",\"write\",\"read\"],\"rows\":[["
     "\"/\",\"^a\",\"\",\".*\"]]}"},
    {"{\"command\":\"clear_permissions\",\"args\":[\"u\"]}", "{\"ok\":true}"},
    {"{\"command\":\"delete_user\",\"args\":[\"u\"]}", "{\"ok\":true}"},
    {"{\"command\":\"delete_user\",\"args\":[\"u\"]}", "{\"ok\":true}"},
    {"{\"command\":\"add_vhost\",\"args\":[\"v\"]}", "{\"ok\":true}"},
    {"{\"command\":\"add_vhost\",\"args\":[\"v\"]}", "{\"ok\":true}"},
    {"{\"command\":\"list_vhosts\"}",
     "{\"ok\":true,\"columns\":[\"name\"],\"rows\":[[\"/\"],[\"v\"]]}"},
    {"{\"command\":\"delete_vhost\",\"args\":[\"v\"]}", "{\"ok\":true}"},
    {"{\"command\":\"delete_vhost\",\"args\":[\"v\"]}",
     "{\"ok\":false,\"exit\":65,\"error\":\"Virtual host 'v' does not exist\",\"bare\":true}"},
    {"{\"command\":\"list_exchanges\",\"args\":[\"name\",\"internal\"]}",
     "{\"ok\":true,\"columns\":[\"name\",\"internal\"],\"rows\":[[\"\",false],[\"amq.direct\","
     "false],[\"amq.fanout\",false],[\"amq.headers\",false],[\"amq.match\",false],[\"amq."
     "rabbitmq.trace\",true],[\"amq.topic\",false]]}"},
    {"{\"command\":\"list_queues\",\"args\":[\"name\",\"nonsense\"]}",
     "{\"ok\":false,\"exit\":64,\"validation\":\"Info key(s) nonsense are not supported\"}"},
    {"{\"command\":\"list_queues\"}",
     "{\"ok\":true,\"columns\":[\"name\",\"messages\"],\"rows\":[[\"q\",5],[\"r\",5]]}"},
    {"{\"command\":\"list_queues\",\"args\":[\"name\",\"messages_ready\",\"consumers\","
     "\"durable\",\"arguments\",\"policy\"]}",
     "{\"ok\":true,\"columns\":[\"name\",\"messages_ready\",\"consumers\",\"durable\","
     "\"arguments\",\"policy\"],\"rows\":[[\"q\",3,1,true,[[\"x-queue-type\",\"longstr\","
     "\"classic\"]],\"\"],[\"r\",3,1,false,[[\"x-queue-type\",\"longstr\",\"classic\"]],\"\"]]}"},
    {"{\"command\":\"list_queues\",\"args\":[\"name\",\"messages_ram\",\"messages_ready_ram\","
     "\"messages_persistent\",\"messages_paged_out\",\"message_bytes\",\"message_bytes_ram\","
     "\"message_bytes_persistent\",\"message_bytes_paged_out\"]}",
     "{\"ok\":true,\"columns\":[\"name\",\"messages_ram\",\"messages_ready_ram\",\"messages_"
     "persistent\",\"messages_paged_out\",\"message_bytes\",\"message_bytes_ram\",\"message_bytes_"
     "persistent\",\"message_bytes_paged_out\"],\"rows\":[[\"q\",3,1,4,2,700,300,600,400],"
     "[\"r\",3,1,4,2,700,300,600,400]]}"},
    {"{\"command\":\"list_bindings\"}",
     "{\"ok\":true,\"columns\":[\"source_name\",\"source_kind\",\"destination_name\","
     "\"destination_kind\",\"routing_key\",\"arguments\"],\"rows\":[[\"\",\"exchange\",\"q\","
     "\"queue\",\"q\",[]],[\"\",\"exchange\",\"r\",\"queue\",\"r\",[]],[\"amq.direct\","
     "\"exchange\",\"q\",\"queue\",\"key\",[]]]}"},
    {"{\"command\":\"list_connections\"}",
     "{\"ok\":true,\"columns\":[\"user\",\"peer_host\",\"peer_port\",\"state\"],\"rows\":[["
     "\"guest\",\"127.0.0.1\",40000,\"running\"],[\"guest\",\"127.0.0.1\",40000,\"running\"]]"
     "}"},
    {"{\"command\":\"list_connections\",\"args\":[\"name\",\"channels\",\"recv_oct\"]}",
     "{\"ok\":true,\"columns\":[\"name\",\"channels\",\"recv_oct\"],\"rows\":[[\"127.0.0.1:"
     "40000 -> 127.0.0.1:5672\",1,1000],[\"127.0.0.1:40000 -> 127.0.0.1:5672\",1,1000]]}"},
    {"{\"command\":\"stop\"}", "{\"ok\":true}"},
};

static void
commands_answer_as_rabbitmqctl_does(void **unused)
{
    (void)unused;
    struct lp_store_memory *store;
    struct world *world = rig_open(&store);
    const uint32_t vhost = world_connect(world, 0, 1);
    const uint32_t ids[2] = {1, vhost};
    (void)world_connect(world, 1, 1);
    (void)fake_queue_declare(&world->shard[0], 1, vhost, "q", LP_OBJECT_DURABLE);
    world_settle(world);
    (void)fake_queue_declare(&world->shard[1], 1, vhost, "r", 0);
    (void)fake_bind(&world->shard[0], LP_CONTROL_BIND, ids, "amq.direct", "q");
    world_settle(world);
    for (size_t i = 0; i < LP_COUNT_OF(command_rows); i++) {
        json_t *answer = rig_ask(world, command_rows[i].request);
        char *text = json_dumps(answer, JSON_COMPACT);
        assert_string_equal(text, command_rows[i].answer);
        free(text);
        json_decref(answer);
    }
    rig_close(world, store);
}

static void
a_deleted_user_is_thrown_out(void **unused)
{
    (void)unused;
    struct lp_store_memory *store;
    struct world *world = rig_open(&store);
    (void)world_connect(world, 1, 4);
    const uint32_t epoch = world->shard[0].epoch;
    json_t *answer = rig_ask(world, "{\"command\":\"delete_user\",\"args\":[\"guest\"]}");
    assert_true(json_is_true(json_object_get(answer, "ok")));
    json_decref(answer);
    assert_int_equal(world->shard[1].closed_connection, fake_connection_id(1, 4));
    assert_int_equal(world->shard[0].epoch, epoch + 1);
    const struct fake_request *login = fake_login(&world->shard[0], "guest", "guest", true);
    world_settle(world);
    assert_int_equal(login->code, 403);
    rig_close(world, store);
}

static void
status_adds_up_what_shards_count(void **unused)
{
    (void)unused;
    struct lp_store_memory *store;
    struct world *world = rig_open(&store);
    for (uint32_t i = 0; i < 2; i++) {
        struct lp_stats_page *page = lp_control_region_stats(world->region, i);
        page->messages_published = 10;
        page->memory_used_bytes = 6;
        page->memory_alarm = i == 0;
        page->memory_watermark_bytes = 10;
        page->turn_ns[40] = 99;
        page->turn_ns[80] = 1;
    }
    json_t *answer = rig_ask(world, "{\"command\":\"status\"}");
    const json_t *data = json_object_get(answer, "data");
    const json_t *counters = json_object_get(data, "counters");
    assert_int_equal(json_integer_value(json_object_get(counters, "messages_published")), 20);
    assert_int_equal(json_array_size(json_object_get(data, "alarms")), 1);
    const long p50 = (long)json_integer_value(json_object_get(data, "turn_p50_ns"));
    const long p99 = (long)json_integer_value(json_object_get(data, "turn_p99_ns"));
    assert_int_equal(p50, 9 << 4); /* the upper edge of bucket 40 */
    assert_int_equal(p99, 9 << 4);
    assert_non_null(strstr(json_string_value(json_object_get(answer, "text")), "Memory alarm"));
    json_decref(answer);
    rig_close(world, store);
}

static json_t *
rig_ask_data(struct world *world, const char *command, json_t **ret_answer)
{
    char request[64];
    (void)snprintf(request, sizeof(request), "{\"command\":\"%s\"}", command);
    *ret_answer = rig_ask(world, request);
    assert_true(json_is_true(json_object_get(*ret_answer, "ok")));
    return json_object_get(*ret_answer, "data");
}

static void
a_node_without_ports_says_how_to_get_one(void **unused)
{
    (void)unused;
    struct lp_store_memory *store;
    struct world *world = rig_open(&store);
    json_t *answer;
    const json_t *data = rig_ask_data(world, "list_ports", &answer);
    assert_int_equal(json_array_size(json_object_get(data, "ports")), 0);
    assert_non_null(strstr(json_string_value(json_object_get(answer, "text")), "lepus.net.port"));
    json_decref(answer);
    (void)rig_ask_data(world, "tcp_stats", &answer);
    assert_non_null(strstr(json_string_value(json_object_get(answer, "text")), "kernel's sockets"));
    json_decref(answer);
    rig_close(world, store);
}

/* The data plane's memory is not trusted: counts are bounded, texts need no end. */
static void
ports_and_what_they_count_are_told(void **unused)
{
    (void)unused;
    struct lp_store_memory *store;
    struct world *world = rig_open(&store);
    for (uint32_t i = 0; i < 2; i++) {
        struct lp_net_page *page = lp_control_region_net(world->region, i);
        memset(page, 'x', sizeof(*page));
        page->counters.tcp_rto = 20 + i;
        page->port[0].counters.received_frames = 5;
        (void)snprintf(page->port[0].name, sizeof(page->port[0].name), "tap:lepus0");
        page->port[0].address[0] = (struct lp_net_page_address){
            .family = LP_ADDRESS_IPV4, .bits = 24, .ip = {10, 1, 2, 3}};
        page->port_count = UINT32_MAX;
    }
    json_t *answer;
    const json_t *data = rig_ask_data(world, "list_ports", &answer);
    const json_t *ports = json_object_get(data, "ports");
    assert_int_equal(json_array_size(ports), LP_NET_PAGE_PORTS);
    const json_t *first = json_array_get(ports, 0);
    assert_string_equal(json_string_value(json_object_get(first, "device")), "tap:lepus0");
    assert_int_equal(json_integer_value(json_object_get(first, "received_frames")), 10);
    assert_int_equal(json_integer_value(json_object_get(first, "queues")), 2);
    const json_t *addresses = json_object_get(first, "addresses");
    assert_int_equal(json_array_size(addresses), LP_NET_PAGE_ADDRESSES);
    assert_string_equal(json_string_value(json_array_get(addresses, 0)), "10.1.2.3/24");
    const json_t *endless = json_object_get(json_array_get(ports, 1), "device");
    assert_int_equal(json_string_length(endless), LP_NET_PORT_NAME_BYTES);
    json_decref(answer);
    data = rig_ask_data(world, "tcp_stats", &answer);
    assert_int_equal(json_integer_value(json_object_get(data, "tcp_rto")), 41);
    json_decref(answer);
    rig_close(world, store);
}

static void
a_listing_that_a_shard_does_not_answer_fails_in_time(void **unused)
{
    (void)unused;
    struct lp_store_memory *store;
    struct world *world = rig_open(&store);
    json_t *request = json_loads("{\"command\":\"list_queues\"}", 0, NULL);
    json_t *answer = NULL;
    lp_admin_request(world->control, request, rig_answered, &answer);
    json_decref(request);
    while (lp_control_turn(world->control)) {
    }
    assert_null(answer);
    assert_in_range(lp_control_wait_ns(world->control), 1, 5000000000u);
    fake_now_ns += 6000000000u;
    (void)lp_control_turn(world->control); /* what matters is the answer */
    assert_non_null(answer);
    assert_int_equal(json_integer_value(json_object_get(answer, "exit")), 75);
    json_decref(answer);
    rig_close(world, store);
}

static void
a_change_that_cannot_be_stored_is_not_called_done(void **unused)
{
    (void)unused;
    struct lp_store_memory *store;
    struct world *world = rig_open(&store);
    lp_store_memory_fail(store, 1, false);
    json_t *answer = rig_ask(world, "{\"command\":\"add_vhost\",\"args\":[\"v\"]}");
    assert_int_equal(json_integer_value(json_object_get(answer, "exit")), 75);
    json_decref(answer);
    answer = rig_ask(world, "{\"command\":\"add_vhost\",\"args\":[\"v\"]}");
    assert_true(json_is_true(json_object_get(answer, "ok")));
    json_decref(answer);
    rig_close(world, store);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(commands_answer_as_rabbitmqctl_does),
        cmocka_unit_test(a_deleted_user_is_thrown_out),
        cmocka_unit_test(a_node_without_ports_says_how_to_get_one),
        cmocka_unit_test(ports_and_what_they_count_are_told),
        cmocka_unit_test(status_adds_up_what_shards_count),
        cmocka_unit_test(a_listing_that_a_shard_does_not_answer_fails_in_time),
        cmocka_unit_test(a_change_that_cannot_be_stored_is_not_called_done),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
