/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The node: room on the disk, the watermark of memory, and what an
 * administrator says about both.
 *
 * Method: a disk whose room the test decides, over fake shards.
 */
#include "admin_rig.h"

#define MB 1000000u

/* A control process with a disk of 100 MB free and a limit of 50 MB. */
static struct world *
disk_world(struct lp_store_memory **ret_store)
{
    *ret_store = lp_store_memory_open();
    struct world *world = world_open(2, lp_store_memory_store(*ret_store));
    world->has_disk = true;
    world->disk_free_bytes = 100 * MB;
    world->region_node->machine_memory_bytes = 1000 * MB;
    world->region_node->configured_watermark_bytes = 400 * MB;
    world->disk_limit_bytes = 50 * MB;
    world_control_start(world);
    world_settle(world);
    return world;
}

/* Let the next look happen. */
static void
look(struct world *world)
{
    const uint64_t wait_ns = lp_control_wait_ns(world->control);
    assert_in_range(wait_ns, 1, 10000000000ull);
    fake_now_ns += wait_ns;
    world_settle(world);
}

static void
expect_alarms(const struct world *world, uint8_t alarms)
{
    assert_int_equal(world->shard[0].alarms, alarms);
    assert_int_equal(world->shard[1].alarms, alarms);
}

static void
little_room_on_the_disk_is_an_alarm_that_does_not_flicker(void **unused)
{
    (void)unused;
    struct lp_store_memory *store;
    struct world *world = disk_world(&store);
    expect_alarms(world, 0);
    world->disk_free_bytes = 50 * MB;
    look(world);
    expect_alarms(world, 0); /* as much as the limit is enough */
    world->disk_free_bytes = 50 * MB - 1;
    look(world);
    expect_alarms(world, LP_ALARM_DISK);
    assert_non_null(strstr(world->log, "free disk space is insufficient. Free bytes: 49999999. "
                                       "Limit: 50000000"));
    world->disk_free_bytes = 53 * MB;
    look(world);
    expect_alarms(world, LP_ALARM_DISK); /* a sixteenth more than the limit is wanted */
    world->disk_free_bytes = 53125000;
    look(world);
    expect_alarms(world, 0);
    assert_non_null(strstr(world->log, "free disk space is sufficient"));
    rig_close(world, store);
}

static void
a_disk_that_cannot_be_read_changes_nothing(void **unused)
{
    (void)unused;
    struct lp_store_memory *store;
    struct world *world = disk_world(&store);
    world->disk_free_bytes = 1;
    look(world);
    expect_alarms(world, LP_ALARM_DISK);
    world->disk_broken = true;
    look(world);
    expect_alarms(world, LP_ALARM_DISK);
    assert_non_null(strstr(world->log, "cannot be read"));
    world->disk_broken = false;
    world->disk_free_bytes = 100 * MB;
    look(world);
    expect_alarms(world, 0);
    rig_close(world, store);
}

static void
a_limit_that_is_set_counts_at_once_and_anew(void **unused)
{
    (void)unused;
    struct lp_store_memory *store;
    struct world *world = disk_world(&store);
    rig_expect(world, "{\"command\":\"set_disk_free_limit\",\"args\":[\"101MB\"]}",
               "{\"ok\":true}");
    expect_alarms(world, LP_ALARM_DISK);
    /* 100 MB are free: a limit of 99 would need 105 to end an alarm of its own. */
    rig_expect(world, "{\"command\":\"set_disk_free_limit\",\"args\":[\"99MB\"]}", "{\"ok\":true}");
    expect_alarms(world, 0);
    rig_expect(world, "{\"command\":\"set_disk_free_limit\",\"args\":[\"mem_relative\",\"1.5\"]}",
               "{\"ok\":true}");
    expect_alarms(world, LP_ALARM_DISK);
    assert_int_equal(control_disk_limit_bytes(world->control), 1500u * MB);
    /* It outlives the control process, not the application. */
    world_control_kill(world);
    world->shard[0].alarms = world->shard[1].alarms = 0;
    world_control_start(world);
    world_settle(world);
    expect_alarms(world, LP_ALARM_DISK);
    rig_expect(world, "{\"command\":\"stop_app\"}", "{\"ok\":true}");
    rig_expect(world, "{\"command\":\"start_app\"}", "{\"ok\":true}");
    expect_alarms(world, 0);
    assert_int_equal(control_disk_limit_bytes(world->control), 50 * MB);
    rig_close(world, store);
}

static void
eval(struct world *world, const char *expression, const char *answer)
{
    char request[256];
    (void)snprintf(request, sizeof(request), "{\"command\":\"eval\",\"args\":[\"%s\"]}",
                   expression);
    rig_expect(world, request, answer);
}

#define EVAL_OK "{\"ok\":true,\"text\":\"ok\",\"data\":\"ok\"}"

static void
alarms_that_are_asked_for_join_those_that_are_there(void **unused)
{
    (void)unused;
    struct lp_store_memory *store;
    struct world *world = disk_world(&store);
    eval(world, "rabbit_alarm:set_alarm({{resource_limit, memory, node()}, []}).", EVAL_OK);
    expect_alarms(world, LP_ALARM_MEMORY);
    assert_true(control_memory_is_low(world->control));
    eval(world, " rabbit_alarm : set_alarm({{resource_limit,'disk',node()},[]}) . % twice",
         EVAL_OK);
    expect_alarms(world, LP_ALARM_MEMORY | LP_ALARM_DISK);
    eval(world, "rabbit_alarm:clear_alarm({resource_limit, memory, node()}).", EVAL_OK);
    expect_alarms(world, LP_ALARM_DISK);
    /* The disk's own alarm stays when the other is cleared; both outlive the control process. */
    world->disk_free_bytes = 1;
    look(world);
    world_control_kill(world);
    world->shard[0].alarms = world->shard[1].alarms = 0;
    world_control_start(world);
    world_settle(world);
    expect_alarms(world, LP_ALARM_DISK);
    eval(world, "rabbit_alarm:clear_alarm({resource_limit, disk, node()}).", EVAL_OK);
    expect_alarms(world, LP_ALARM_DISK);
    world->disk_free_bytes = 100 * MB;
    look(world);
    expect_alarms(world, 0);
    eval(world, "rabbit_alarm:set_alarm({{resource_limit, disk, node()}, []}).", EVAL_OK);
    expect_alarms(world, LP_ALARM_DISK);
    rig_expect(world, "{\"command\":\"stop_app\"}", "{\"ok\":true}");
    rig_expect(world, "{\"command\":\"start_app\"}", "{\"ok\":true}");
    expect_alarms(world, 0);
    rig_close(world, store);
}

static void
a_channel_max_that_is_set_is_told_to_every_shard(void **unused)
{
    (void)unused;
    struct lp_store_memory *store;
    struct world *world = disk_world(&store);
    eval(world, "application:set_env(rabbit, channel_max, 4094).", EVAL_OK);
    assert_int_equal(world->shard[0].channel_max, 4094);
    assert_int_equal(world->shard[1].channel_max, 4094);
    world_control_kill(world);
    world->shard[1].channel_max = 7;
    world_control_start(world);
    world_settle(world);
    assert_int_equal(world->shard[1].channel_max, 4094);
    eval(world, "application:set_env(rabbit, channel_max, 0).", EVAL_OK);
    assert_int_equal(world->shard[1].channel_max, 0);
    rig_close(world, store);
}

/* Admitted from elsewhere? */
static bool
remote_guest_enters(struct world *world)
{
    const struct fake_request *login = fake_login(&world->shard[0], "guest", "guest", false);
    world_settle(world);
    assert_true(login->answered);
    return login->code == 0;
}

static void
who_comes_from_this_machine_only_may_be_said_and_asked(void **unused)
{
    (void)unused;
    struct lp_store_memory *store;
    struct world *world = disk_world(&store);
    const char *get = "application:get_env(rabbit, loopback_users).";
    const char *set =
        "application:set_env(rabbit, loopback_users, [<<\\\"ann\\\">>, <<\\\"gü\\\"/utf8>>]).";
    eval(world, get,
         "{\"ok\":true,\"text\":\"{ok,[<<\\\"guest\\\">>]}\",\"data\":\"{ok,[<<\\\"guest\\\">>]}"
         "\"}");
    assert_false(remote_guest_enters(world));
    eval(world, set, EVAL_OK);
    assert_true(remote_guest_enters(world));
    /* It outlives the control process. */
    world_control_kill(world);
    world_control_start(world);
    world_settle(world);
    assert_true(remote_guest_enters(world));
    eval(world, "{ok, V} = application:get_env(rabbit, loopback_users), V.",
         "{\"ok\":true,\"text\":\"[<<\\\"ann\\\">>,<<\\\"gü\\\"/utf8>>]\","
         "\"data\":\"[<<\\\"ann\\\">>,<<\\\"gü\\\"/utf8>>]\"}");
    eval(world, "application:set_env(rabbit, loopback_users, [<<\\\"guest\\\">>]).", EVAL_OK);
    assert_false(remote_guest_enters(world));
    eval(world, "application:set_env(rabbit,loopback_users,[]).", EVAL_OK);
    assert_true(remote_guest_enters(world));
    eval(world, get, "{\"ok\":true,\"text\":\"{ok,[]}\",\"data\":\"{ok,[]}\"}");
    rig_close(world, store);
}

static void
more_names_than_there_is_room_for_change_nothing(void **unused)
{
    (void)unused;
    static uint8_t letters[LP_LOOPBACK_NAMES_BYTES];
    struct lp_bytes names[LP_LOOPBACK_USERS_MAX + 1];
    struct lp_store_memory *store;
    struct world *world = disk_world(&store);
    memset(letters, 'a', sizeof(letters));
    for (size_t i = 0; i < LP_COUNT_OF(names); i++) {
        names[i] = lp_bytes_of(letters, 1);
    }
    assert_false(control_loopback_set(world->control, names, LP_LOOPBACK_USERS_MAX + 1));
    assert_true(control_loopback_set(world->control, names, LP_LOOPBACK_USERS_MAX));
    names[0] = lp_bytes_of(letters, LP_LOOPBACK_NAMES_BYTES - 1);
    assert_false(control_loopback_set(world->control, names, 1));
    assert_int_equal(world->control->loopback_user_count, LP_LOOPBACK_USERS_MAX);
    names[0].size--;
    assert_true(control_loopback_set(world->control, names, 1));
    assert_int_equal(world->control->loopback_user_count, 1);
    assert_int_equal(strlen(world->control->loopback_users[0]), LP_LOOPBACK_NAMES_BYTES - 2);
    names[0].size = 0;
    assert_false(control_loopback_set(world->control, names, 1));
    rig_close(world, store);
}

static void
names_without_an_end_are_read_to_the_end_of_their_room(void **unused)
{
    (void)unused;
    struct lp_store_memory *store;
    struct world *world = disk_world(&store);
    world_control_kill(world);
    memset(world->region_node->loopback_names, 'x', LP_LOOPBACK_NAMES_BYTES);
    world->region_node->loopback_set = 1;
    world_control_start(world);
    world_settle(world);
    assert_int_equal(world->control->loopback_user_count, 1);
    assert_int_equal(strlen(world->control->loopback_users[0]), LP_LOOPBACK_NAMES_BYTES - 1);
    rig_close(world, store);
}

static void
other_expressions_are_refused(void **unused)
{
    (void)unused;
    static const char *const others[] = {
        "1+1.",
        "node().",
        "application:set_env(rabbit, channel_max, 65536).",
        "application:set_env(rabbit, channel_max, -1).",
        "application:set_env(rabbit, channel_max, 99999999999999999999).",
        "application:set_env(rabbit, channel_max, ).",
        "application:set_env(rabbit, channel_max, 1)",
        "application:set_env(rabbit, channel_max, 1). .",
        "application:set_env(rabbit, frame_max, 1).",
        "application:set_env(rabbit, loopback_users, none).",
        "application:set_env(rabbit, loopback_users, [guest]).",
        "application:set_env(rabbit, loopback_users, [<<>>]).",
        "application:set_env(rabbit, loopback_users, [<<\\\"\\\">>]).",
        "application:set_env(rabbit, loopback_users, [<<\\\"a\\\">>,]).",
        "application:set_env(rabbit, loopback_users, [<<\\\"a\\\">>).",
        "application:set_env(rabbit, loopback_users, [<<\\\"a>>]).",
        "application:set_env(rabbit, loopback_users, [< <\\\"a\\\">>]).",
        "application:set_env(rabbit, loopback_users, [<<\\\"a\\\\b\\\">>]).",
        "application:set_env(rabbit, loopback_users, [<<\\\"ü\\\">>]).",
        "application:set_env(rabbit, loopback_users, [<<\\\"a\\\"/utf16>>]).",
        "{ok, V} = application:get_env(rabbit, loopback_users), W.",
        "{ok, v} = application:get_env(rabbit, loopback_users), v.",
        "rabbit_alarm:set_alarm({{resource_limit, 'memory, node()}, []}).",
        "rabbit_alarm:set_alarm({resource_limit, memory, node()}).",
        "rabbit_alarm:clear_alarm({resource_limit, '', node()}).",
        "",
        " ",
        "%",
        "'",
    };
    struct lp_store_memory *store;
    struct world *world = disk_world(&store);
    for (size_t i = 0; i < LP_COUNT_OF(others); i++) {
        eval(world, others[i],
             "{\"ok\":false,\"exit\":69,\"error\":\"eval is not for Lepus: there is no Erlang "
             "machine "
             "to evaluate anything in. Settings are shown by 'environment', state by 'status' and "
             "the list_ commands (--formatter json for scripts), and changed by the set_ commands; "
             "'help' lists them all.\"}");
    }
    expect_alarms(world, 0);
    rig_close(world, store);
}

static void
the_watermark_is_parted_among_the_shards(void **unused)
{
    (void)unused;
    struct lp_store_memory *store;
    struct world *world = disk_world(&store);
    struct fake_shard *shard = &world->shard[1];
    assert_int_equal(shard->watermark_bytes, 0); /* it has its own, from the launcher */
    rig_expect(world, "{\"command\":\"set_vm_memory_high_watermark\",\"args\":[\"0.2\"]}",
               "{\"ok\":true}");
    assert_int_equal(shard->watermark_bytes, 100 * MB);
    rig_expect(world,
               "{\"command\":\"set_vm_memory_high_watermark\",\"args\":[\"absolute\",\"2MiB\"]}",
               "{\"ok\":true}");
    assert_int_equal(shard->watermark_bytes, 1 << 20);
    rig_expect(world, "{\"command\":\"set_vm_memory_high_watermark\",\"args\":[\"0\"]}",
               "{\"ok\":true}");
    assert_int_equal(shard->watermark_bytes, 0);
    shard->watermark_bytes = 5;
    world_control_kill(world);
    world_control_start(world);
    world_settle(world);
    assert_int_equal(shard->watermark_bytes, 0);
    rig_expect(world, "{\"command\":\"stop_app\"}", "{\"ok\":true}");
    rig_expect(world, "{\"command\":\"start_app\"}", "{\"ok\":true}");
    assert_int_equal(shard->watermark_bytes, 200 * MB);
    rig_close(world, store);
}

#define BAD(args, code, text)                                                 \
    {                                                                         \
        args, "{\"ok\":false,\"exit\":" #code ",\"validation\":\"" text "\"}" \
    }

static void
what_is_no_limit_is_refused_in_rabbitmqs_words(void **unused)
{
    static const struct {
        const char *args, *answer;
    } memory[] = {
        BAD("\"1.1\"", 65, "Bad argument: The threshold should be a fraction between 0.0 and 1.0"),
        BAD("\"-0.1\"", 65, "Bad argument: The threshold should be a fraction between 0.0 and 1.0"),
        BAD("\"x\"", 65, "Bad argument."),
        BAD("\"inf\"", 65, "Bad argument."),
        BAD("\"0x1\"", 65, "Bad argument."),
        BAD("\"absolute\"", 64, "not enough arguments."),
        BAD("\"0.1\",\"0.2\"", 64, "too many arguments."),
        BAD("\"absolute\",\"xx\"", 65, "Bad argument."),
        BAD("\"absolute\",\"1XB\"", 65, "Bad argument: Invalid units."),
        BAD("\"absolute\",\"1.5GB\"", 65, "Bad argument: The threshold should be an integer."),
        BAD("\"absolute\",\"-1\"", 65, "Bad argument."),
    };
    static const struct {
        const char *args, *answer;
    } disk[] = {
        BAD("\"xx\"", 65, "Bad argument."),
        BAD("\"1XB\"", 65, "Bad argument."),
        BAD("\"mem_relative\"", 64, "not enough arguments."),
        BAD("\"mem_relative\",\"x\"", 65, "Bad argument."),
        BAD("\"mem_relative\",\"-1\"", 65, "Bad argument."),
        BAD("\"1\",\"2\"", 64, "too many arguments."),
        {"\"-1\"", "{\"ok\":true}"},
    };
    (void)unused;
    char request[256];
    struct lp_store_memory *store;
    struct world *world = disk_world(&store);
    for (size_t i = 0; i < LP_COUNT_OF(memory); i++) {
        (void)snprintf(request, sizeof(request),
                       "{\"command\":\"set_vm_memory_high_watermark\",\"args\":[%s]}",
                       memory[i].args);
        rig_expect(world, request, memory[i].answer);
    }
    for (size_t i = 0; i < LP_COUNT_OF(disk); i++) {
        (void)snprintf(request, sizeof(request),
                       "{\"command\":\"set_disk_free_limit\",\"args\":[%s]}", disk[i].args);
        rig_expect(world, request, disk[i].answer);
    }
    rig_close(world, store);
}

static void
alarms_are_told_to_people_and_to_monitors(void **unused)
{
    (void)unused;
    struct lp_store_memory *store;
    struct world *world = disk_world(&store);
    rig_expect(world, "{\"command\":\"check_alarms\"}",
               "{\"ok\":true,\"text\":\"Node lepus reported no alarms, local or clusterwide\","
               "\"data\":{\"result\":\"ok\"}}");
    world->disk_free_bytes = 1;
    look(world);
    rig_expect(world, "{\"command\":\"check_alarms\"}",
               "{\"ok\":false,\"exit\":69,\"error\":\"Free disk space alarm on node lepus\","
               "\"bare\":true,\"data\":{\"global\":[],\"local\":[\"Free disk space alarm on node "
               "lepus\"],\"message\":\"Node lepus reported alarms\",\"result\":\"error\"}}");
    rig_expect(world, "{\"command\":\"check_local_alarms\"}",
               "{\"ok\":false,\"exit\":69,\"error\":\"Free disk space alarm on node lepus\","
               "\"data\":{\"local\":[\"Free disk space alarm on node lepus\"],\"message\":\"Node "
               "lepus reported local alarms\",\"result\":\"error\"}}");
    rig_close(world, store);
}

static uint64_t
seconds_x10(const struct world *world)
{
    return (lp_control_wait_ns(world->control) + 50000000u) / 100000000u; /* settling took some */
}

static void
the_disk_is_looked_at_more_often_when_it_could_be_full_soon(void **unused)
{
    (void)unused;
    struct lp_store_memory *store;
    struct world *world = disk_world(&store);
    look(world);
    assert_int_equal(seconds_x10(world), 4); /* 50 MB at 250 MB a second, twice */
    world->disk_free_bytes = 51 * MB;
    look(world);
    assert_int_equal(seconds_x10(world), 1);
    world->disk_free_bytes = 5000ull * MB;
    look(world);
    assert_int_equal(seconds_x10(world), 20);
    world->disk_free_bytes = 1;
    look(world);
    expect_alarms(world, LP_ALARM_DISK);
    assert_int_equal(seconds_x10(world), 20);
    rig_close(world, store);
}

static void
publishers_that_wait_for_memory_are_an_alarm_and_a_line_of_the_log(void **unused)
{
    (void)unused;
    struct lp_store_memory *store;
    struct world *world = disk_world(&store);
    struct lp_stats_page *page = lp_control_region_stats(world->region, 1);
    page->memory_alarm = 1;
    look(world);
    assert_non_null(strstr(world->log, "memory is above its high watermark; publishers wait"));
    world->disk_free_bytes = 1;
    look(world);
    rig_expect(world, "{\"command\":\"check_local_alarms\"}",
               "{\"ok\":false,\"exit\":69,\"error\":\"Free disk space alarm on node lepus\\nMemory "
               "alarm on node lepus\",\"data\":{\"local\":[\"Free disk space alarm on node lepus\","
               "\"Memory alarm on node lepus\"],\"message\":\"Node lepus reported local alarms\","
               "\"result\":\"error\"}}");
    page->memory_alarm = 0;
    look(world);
    assert_non_null(strstr(world->log, "memory is below its high watermark again"));
    rig_close(world, store);
}

static void
fence_say(struct world *world, uint32_t shard)
{
    uint8_t room[128];
    struct lp_writer w = lp_writer_of(room, sizeof(room));
    lp_writer_u32le(&w, 7);
    lp_writer_u64le(&w, 1ull << 33);
    lp_writer_u8(&w, LP_ERR_IO);
    lp_writer_short(&w, lp_bytes_of_text("a write failed"));
    fake_shard_send(&world->shard[shard], LP_CONTROL_LOG_FENCED, 0, lp_writer_bytes(&w));
    world_settle(world);
}

static void
a_log_that_takes_no_more_is_an_alarm_until_the_broker_ends(void **unused)
{
    static const char alarm[] =
        "{\"ok\":false,\"exit\":69,\"error\":\"Log alarm of shard 1 on node lepus: a write failed "
        "(segment 7, offset 8589934592: input/output error)\",\"data\":{\"local\":[\"Log alarm of "
        "shard 1 on node lepus: a write failed (segment 7, offset 8589934592: input/output "
        "error)\"],\"message\":\"Node lepus reported local alarms\",\"result\":\"error\"}}";
    (void)unused;
    struct lp_store_memory *store;
    struct world *world = disk_world(&store);
    fake_shard_send(&world->shard[0], LP_CONTROL_LOG_FENCED, 0, lp_bytes_of("abc", 3));
    world_settle(world);
    rig_expect(world, "{\"command\":\"check_local_alarms\"}",
               "{\"ok\":true,\"text\":\"Node lepus reported no local alarms\","
               "\"data\":{\"result\":\"ok\"}}");
    fence_say(world, 1);
    assert_non_null(strstr(world->log,
                           "the log of shard 1 takes no more: a write failed (segment 7, "
                           "offset 8589934592: input/output error)."));
    world->log[0] = '\0';
    rig_expect(world, "{\"command\":\"check_local_alarms\"}", alarm);
    fence_say(world, 1);
    assert_string_equal(world->log, ""); /* said once */
    /* The next control process hears of it with the hello. */
    world_control_kill(world);
    world_control_start(world);
    world_settle(world);
    fence_say(world, 1);
    rig_expect(world, "{\"command\":\"check_local_alarms\"}", alarm);
    expect_alarms(world, 0); /* others go on */
    rig_close(world, store);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(little_room_on_the_disk_is_an_alarm_that_does_not_flicker),
        cmocka_unit_test(a_disk_that_cannot_be_read_changes_nothing),
        cmocka_unit_test(a_limit_that_is_set_counts_at_once_and_anew),
        cmocka_unit_test(alarms_that_are_asked_for_join_those_that_are_there),
        cmocka_unit_test(a_channel_max_that_is_set_is_told_to_every_shard),
        cmocka_unit_test(who_comes_from_this_machine_only_may_be_said_and_asked),
        cmocka_unit_test(more_names_than_there_is_room_for_change_nothing),
        cmocka_unit_test(names_without_an_end_are_read_to_the_end_of_their_room),
        cmocka_unit_test(other_expressions_are_refused),
        cmocka_unit_test(the_watermark_is_parted_among_the_shards),
        cmocka_unit_test(what_is_no_limit_is_refused_in_rabbitmqs_words),
        cmocka_unit_test(alarms_are_told_to_people_and_to_monitors),
        cmocka_unit_test(the_disk_is_looked_at_more_often_when_it_could_be_full_soon),
        cmocka_unit_test(publishers_that_wait_for_memory_are_an_alarm_and_a_line_of_the_log),
        cmocka_unit_test(a_log_that_takes_no_more_is_an_alarm_until_the_broker_ends),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
