/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Definitions: imported, exported, and what is wrong with them.
 *
 * Method: as test_admin.c; what is exported after an import is compared with
 * what was imported.  Files and whole brokers are tests/clients/ctl's.
 */
#include "admin_rig.h"

#include "control/admin/definitions.h"

static json_t *
import(struct world *world, const char *definitions)
{
    json_t *request =
        json_pack("{s:s,s:[s]}", "command", "import_definitions", "args", definitions);
    json_t *answer = NULL;
    lp_admin_request(world->control, request, rig_answered, &answer);
    json_decref(request);
    world_settle(world);
    assert_non_null(answer);
    return answer;
}

static void
expect_refusal(struct world *world, const char *definitions, const char *why)
{
    json_t *answer = import(world, definitions);
    assert_string_equal(json_string_value(json_object_get(answer, "error")), why);
    json_decref(answer);
}

static const char topology[] =
    "{\"vhosts\":[{\"name\":\"v\",\"metadata\":{\"description\":\"d\",\"tags\":[\"x\",\"y\"]}}],"
    "\"exchanges\":[{\"vhost\":\"v\",\"name\":\"e\",\"type\":\"headers\",\"durable\":true,"
    "\"auto_delete\":false,\"arguments\":{}}],"
    "\"queues\":[{\"vhost\":\"v\",\"name\":\"q\",\"type\":\"classic\",\"durable\":true,"
    "\"auto_delete\":false,\"arguments\":{\"x-queue-type\":\"classic\",\"x-max-length\":7}}],"
    "\"bindings\":[{\"source\":\"e\",\"vhost\":\"v\",\"destination\":\"q\",\"destination_type\":"
    "\"queue\",\"routing_key\":\"k\",\"arguments\":{\"b\":true,\"c\":false,\"i\":-5,\"r\":1.5,"
    "\"n\":"
    "null,\"t\":\"text\",\"l\":[1,[\"a\"],{\"x\":2}],\"o\":{\"p\":{\"q\":1}}}}],"
    "\"policies\":[{\"vhost\":\"v\",\"name\":\"p\",\"pattern\":\"^q\",\"apply-to\":\"queues\","
    "\"priority\":-2,\"definition\":{\"expires\":1000}}],"
    "\"parameters\":[{\"vhost\":\"v\",\"component\":\"operator_policy\",\"name\":\"o\",\"value\":{"
    "\"pattern\":\".\",\"apply-to\":\"all\",\"priority\":0,\"definition\":{\"max-length\":3}}}]}";

static void
what_was_imported_is_exported(void **unused)
{
    (void)unused;
    static const char *const categories[] = {"exchanges", "queues", "bindings", "policies",
                                             "parameters"};
    struct lp_store_memory *store;
    struct world *world = rig_open(&store);
    json_t *wanted = json_loads(topology, 0, NULL);
    for (int again = 0; again < 2; again++) {
        json_t *answer = import(world, topology);
        assert_true(json_is_true(json_object_get(answer, "ok")));
        json_decref(answer);
        answer = rig_ask(world, "{\"command\":\"export_definitions\",\"args\":[\"-\"]}");
        const json_t *data = json_object_get(answer, "data");
        for (size_t i = 0; i < LP_COUNT_OF(categories); i++) {
            assert_true(json_equal(json_object_get(data, categories[i]),
                                   json_object_get(wanted, categories[i])));
        }
        json_decref(answer);
    }
    json_decref(wanted);
    rig_close(world, store);
}

static void
queues_go_round_the_shards(void **unused)
{
    (void)unused;
    struct lp_store_memory *store;
    struct world *world = rig_open(&store);
    json_t *answer = import(
        world, "{\"queues\":[{\"vhost\":\"/\",\"name\":\"a\"},{\"vhost\":\"/\",\"name\":\"b\"}"
               "]}");
    assert_true(json_is_true(json_object_get(answer, "ok")));
    json_decref(answer);
    assert_int_not_equal(fake_object_named(&world->shard[0], LP_CONTROL_QUEUE_UP, "a")->home,
                         fake_object_named(&world->shard[0], LP_CONTROL_QUEUE_UP, "b")->home);
    rig_close(world, store);
}

static void
mistakes_end_it_and_what_was_made_stays(void **unused)
{
    (void)unused;
    struct lp_store_memory *store;
    struct world *world = rig_open(&store);
    expect_refusal(world, "[]", "definitions are an object in JSON");
    expect_refusal(world, "{\"queues\":[{\"name\":\"q\"}]}", "invalid_definitions_file");
    expect_refusal(world, "{\"users\":[{\"name\":\"u\"}]}", "tags_not_present");
    expect_refusal(world,
                   "{\"vhosts\":[{\"name\":\"kept\"}],\"exchanges\":[{\"vhost\":\"/\",\"name\":"
                   "\"e\",\"type\":\"nonsense\"}]}",
                   "precondition_failed: unknown exchange type 'nonsense'");
    assert_non_null(lp_catalog_vhost(world->control->catalog, lp_bytes_of_text("kept")));
    expect_refusal(world,
                   "{\"bindings\":[{\"vhost\":\"/\",\"source\":\"amq.topic\",\"destination\":"
                   "\"none\",\"destination_type\":\"queue\"}]}",
                   "not_found: no queue 'none' in vhost '/'");
    expect_refusal(
        world,
        "{\"policies\":[{\"vhost\":\"/\",\"name\":\"p\",\"pattern\":\"(\",\"definition\":"
        "{\"expires\":1}}]}",
        "Validation failed\n\npattern should be regular expression but is invalid: "
        "{\"missing )\",1}\n (//p)");
    /* Items that are no objects, and categories that are no lists, say nothing. */
    json_t *answer = import(world, "{\"users\":[1,null],\"queues\":5,\"vhosts\":{\"a\":1}}");
    assert_true(json_is_true(json_object_get(answer, "ok")));
    json_decref(answer);
    rig_close(world, store);
}

static void
tables_are_bounded(void **unused)
{
    (void)unused;
    struct lp_bytebuf table = {0};
    json_t *deep = json_integer(1);
    for (int i = 0; i < 9; i++) {
        assert_true(admin_table_make(NULL, &table));
        json_t *around = json_pack("{s:o}", "a", deep);
        deep = around;
    }
    assert_true(admin_table_make(deep, &table)); /* one outside, eight inside */
    json_t *around = json_pack("{s:o}", "a", deep);
    assert_false(admin_table_make(around, &table));
    json_decref(around);
    lp_bytebuf_fini(&table);
    table = (struct lp_bytebuf){0};

    char name[257];
    memset(name, 'n', 256);
    name[256] = '\0';
    json_t *named = json_pack("{s:i}", name, 1);
    assert_false(admin_table_make(named, &table));
    json_decref(named);
    json_t *list = json_array();
    assert_true(admin_table_make(list, &table));
    json_decref(list);
    lp_bytebuf_fini(&table);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_was_imported_is_exported),
        cmocka_unit_test(queues_go_round_the_shards),
        cmocka_unit_test(mistakes_end_it_and_what_was_made_stays),
        cmocka_unit_test(tables_are_bounded),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
