/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Limits of connections and channels (C20) and rights beyond patterns, over
 * real rings; counts are exact when the control process comes back.
 *
 * Method: fake shards, as in test_control_link.c; limits are put straight into
 * the catalog, as a command would.
 */
#include "fake_requests.h"

#include "control/link/control_internal.h"
#include "control/topology/administer.h"

static struct world *
world_new(struct lp_store_memory **ret_store)
{
    *ret_store = lp_store_memory_open();
    struct world *world = world_open(2, lp_store_memory_store(*ret_store));
    world_control_start(world);
    world_settle(world);
    return world;
}

static void
world_end(struct world *world, struct lp_store_memory *store)
{
    control_tallies_check(world->control);
    world_close(world);
    lp_store_memory_close(&store);
}

static void
expect_fault(const struct fake_request *request, uint16_t code, const char *text)
{
    assert_true(request->answered);
    assert_string_equal(request->text, text);
    assert_int_equal(request->code, code);
}

static struct lp_catalog_vhost *
root(struct world *world)
{
    return lp_catalog_vhost(world->control->catalog, lp_bytes_of_text("/"));
}

static void
vhost_limit(struct world *world, const char *definition)
{
    struct lp_refusal refusal;
    assert_true(lp_catalog_vhost_limits_set(world->control->catalog, root(world),
                                            lp_bytes_of_text(definition), &refusal));
    world_settle(world);
}

static void
user_limit(struct world *world, const char *definition)
{
    struct lp_refusal refusal;
    assert_true(lp_catalog_user_limits_set(world->control->catalog, lp_bytes_of_text("guest"),
                                           lp_bytes_of_text(definition), &refusal));
    world_settle(world);
}

static void
expect_open(struct world *world, uint32_t shard, uint32_t number, const char *text)
{
    const struct fake_request *request = fake_open(&world->shard[shard], number, "guest", "/");
    world_settle(world);
    expect_fault(request, text[0] ? 530 : 0, text);
    control_tallies_check(world->control);
    if (text[0] == '\0') {
        struct fake_shard *s = &world->shard[shard];
        s->connections[s->connection_count] = fake_connection_id(shard, number);
        s->connection_vhosts[s->connection_count++] = root(world)->id;
    }
}

#define VHOST_FULL(n) \
    "access to vhost '/' refused for user 'guest': connection limit (" n ") is reached"
#define USER_FULL(n) "connection refused for user 'guest': user connection limit (" n ") is reached"

static void
a_vhost_and_a_user_have_as_many_connections_as_they_may_C20(void **unused)
{
    (void)unused;
    struct lp_store_memory *store;
    struct world *world = world_new(&store);
    vhost_limit(world, "{\"max-connections\":2}");
    expect_open(world, 0, 1, "");
    expect_open(world, 1, 1, "");
    expect_open(world, 1, 2, VHOST_FULL("2"));
    /* One goes, one may come; a refused one that goes changes nothing. */
    (void)fake_closed(&world->shard[1], 2);
    (void)fake_closed(&world->shard[0], 1);
    world_settle(world);
    user_limit(world, "{\"max-connections\":1}");
    expect_open(world, 0, 3, USER_FULL("1"));
    user_limit(world, "{\"max-connections\":-1}");
    expect_open(world, 0, 3, "");
    expect_open(world, 0, 4, VHOST_FULL("2"));
    vhost_limit(world, "{\"max-connections\":0}");
    expect_open(world, 0, 5, VHOST_FULL("0"));
    vhost_limit(world, "{}");
    world->control->options.settings.connections_max = 2;
    expect_open(world, 0, 6, "connection refused: node connection limit (2) is reached");
    world_end(world, store);
}

static void
counts_are_the_same_after_the_control_process_died(void **unused)
{
    (void)unused;
    struct lp_store_memory *store;
    struct world *world = world_new(&store);
    vhost_limit(world, "{\"max-connections\":2}");
    expect_open(world, 0, 1, "");
    expect_open(world, 1, 1, "");
    for (int i = 0; i < 3; i++) {
        world_control_kill(world);
        world_control_start(world);
        world_settle(world);
        assert_int_equal(world->control->connections_open, 2);
        control_tallies_check(world->control);
        expect_open(world, 0, 9, VHOST_FULL("2"));
    }
    /* One that closes while nobody listens does not count any more. */
    world_control_kill(world);
    (void)fake_closed(&world->shard[0], 1);
    world_control_start(world);
    world_settle(world);
    expect_open(world, 0, 10, "");
    expect_open(world, 0, 11, VHOST_FULL("2"));
    world_end(world, store);
}

static struct fake_request *
channel_open(struct world *world, uint32_t shard, uint32_t number, uint16_t channel)
{
    uint8_t room[16];
    struct lp_writer w = lp_writer_of(room, sizeof(room));
    lp_writer_u64le(&w, fake_connection_id(shard, number));
    lp_writer_u16le(&w, channel);
    struct fake_request *request = fake_ask(&world->shard[shard], LP_CONTROL_CHANNEL_OPEN, &w);
    world_settle(world);
    control_tallies_check(world->control);
    return request;
}

static void
channels_tell(struct world *world, uint32_t shard, uint32_t number, uint16_t count)
{
    uint8_t room[16];
    struct lp_writer w = lp_writer_of(room, sizeof(room));
    lp_writer_u64le(&w, fake_connection_id(shard, number));
    lp_writer_u16le(&w, count);
    fake_shard_send(&world->shard[shard], LP_CONTROL_CHANNELS, 0, lp_writer_bytes(&w));
    world_settle(world);
    control_tallies_check(world->control);
}

#define CHANNELS_FULL \
    "number of channels opened for user 'guest' has reached the maximum allowed user limit of (2)"

static void
a_user_has_as_many_channels_as_it_may_over_all_connections_C20(void **unused)
{
    (void)unused;
    struct lp_store_memory *store;
    struct world *world = world_new(&store);
    user_limit(world, "{\"max-channels\":2}");
    expect_open(world, 0, 1, "");
    expect_open(world, 1, 1, "");
    expect_fault(channel_open(world, 0, 1, 1), 0, "");
    expect_fault(channel_open(world, 1, 1, 1), 0, "");
    expect_fault(channel_open(world, 1, 1, 2), 530, CHANNELS_FULL);
    channels_tell(world, 0, 1, 1);
    channels_tell(world, 1, 1, 1);
    expect_fault(channel_open(world, 0, 1, 2), 530, CHANNELS_FULL);
    channels_tell(world, 1, 1, 0);
    expect_fault(channel_open(world, 0, 1, 2), 0, "");
    channels_tell(world, 0, 1, 2);
    /* After a restart shards say what they have. */
    world_control_kill(world);
    world_control_start(world);
    world_settle(world);
    channels_tell(world, 0, 1, 2);
    expect_fault(channel_open(world, 1, 1, 5), 530, CHANNELS_FULL);
    /* The connection goes, and its channels with it. */
    (void)fake_closed(&world->shard[0], 1);
    world_settle(world);
    expect_fault(channel_open(world, 1, 1, 5), 0, "");
    world->control->options.settings.channels_max = 1;
    user_limit(world, "{\"max-channels\":-1}");
    expect_fault(channel_open(world, 1, 1, 6), 530,
                 "number of channels opened on node 'lepus@localhost' has reached the maximum "
                 "allowed limit of (1)");
    world_end(world, store);
}

static void
rights_are_told_at_open_and_when_asked_again(void **unused)
{
    (void)unused;
    struct lp_store_memory *store;
    struct world *world = world_new(&store);
    struct lp_refusal refusal;
    uint8_t room[16];
    struct lp_writer w = lp_writer_of(room, sizeof(room));
    lp_writer_u64le(&w, fake_connection_id(0, 1));
    user_limit(world, "{\"max-channels\":7}");
    const struct fake_request *request = fake_open(&world->shard[0], 1, "guest", "/");
    world_settle(world);
    struct lp_reader r = lp_reader_of(request->reply, request->reply_bytes);
    (void)lp_reader_u32le(&r);
    assert_int_equal(lp_reader_u8(&r), 7);
    assert_int_equal(lp_reader_u32le(&r), world->control->catalog->permission_epoch);
    assert_int_equal(lp_reader_u8(&r), LP_RIGHTS_CHANNELS_LIMITED);
    assert_false(r.failed);
    assert_true(lp_catalog_user_tags_set(world->control->catalog, lp_bytes_of_text("guest"),
                                         lp_bytes_of_text("administrator,impersonator"), &refusal));
    world_settle(world);
    assert_int_equal(world->shard[0].epoch, world->control->catalog->permission_epoch);
    request = fake_ask(&world->shard[0], LP_CONTROL_RIGHTS, &w);
    world_settle(world);
    r = lp_reader_of(request->reply, request->reply_bytes);
    assert_int_equal(lp_reader_u8(&r), 7);
    assert_int_equal(lp_reader_u32le(&r), world->control->catalog->permission_epoch);
    assert_int_equal(lp_reader_u8(&r), LP_RIGHTS_CHANNELS_LIMITED | LP_RIGHTS_IMPERSONATOR);
    assert_false(r.failed);
    world_end(world, store);
}

static void
rights_on_topics_are_asked_by_key(void **unused)
{
    (void)unused;
    struct lp_store_memory *store;
    struct world *world = world_new(&store);
    struct lp_refusal refusal;
    const struct lp_bytes patterns[2] = {lp_bytes_of_text("^{username}$"), lp_bytes_of_text("")};
    (void)world_connect(world, 0, 1);
    const struct lp_rights_scope scope = {lp_bytes_of_text("guest"), root(world),
                                          lp_bytes_of_text("amq.topic")};
    assert_true(
        lp_catalog_topic_permissions_set(world->control->catalog, &scope, patterns, &refusal));
    world_settle(world);
    for (int i = 0; i < 2; i++) {
        uint8_t room[64];
        struct lp_writer w = lp_writer_of(room, sizeof(room));
        lp_writer_u64le(&w, fake_connection_id(0, 1));
        lp_writer_u8(&w, LP_PERMISSION_WRITE);
        lp_writer_short(&w, lp_bytes_of_text("amq.topic"));
        lp_writer_short(&w, lp_bytes_of_text(i == 0 ? "guest" : "guests"));
        const struct fake_request *request =
            fake_ask(&world->shard[0], LP_CONTROL_PERMIT_TOPIC, &w);
        world_settle(world);
        expect_fault(request, i == 0 ? 0 : 403,
                     i == 0 ? ""
                            : "write access to topic 'guests' in exchange 'amq.topic' in vhost '/' "
                              "refused for user 'guest'");
    }
    world_end(world, store);
}

static struct fake_request *
queue_expired(struct world *world, uint32_t id)
{
    uint8_t room[8];
    struct lp_writer w = lp_writer_of(room, sizeof(room));
    lp_writer_u32le(&w, id);
    struct fake_request *request = fake_ask(&world->shard[0], LP_CONTROL_QUEUE_EXPIRED, &w);
    world_settle(world);
    return request;
}

static void
a_queue_that_expired_is_deleted_unless_it_does_not_expire_any_more(void **unused)
{
    (void)unused;
    struct lp_store_memory *store;
    struct world *world = world_new(&store);
    struct lp_refusal refusal;
    const uint32_t vhost = world_connect(world, 0, 1);
    const struct lp_policy_set policy = {.name = lp_bytes_of_text("p"),
                                         .pattern = lp_bytes_of_text(""),
                                         .definition = lp_bytes_of_text("{\"expires\":5}"),
                                         .apply_to = lp_bytes_of_text("queues"),
                                         .priority = lp_bytes_of_text("0")};
    (void)fake_queue_declare(&world->shard[0], 1, vhost, "q", LP_OBJECT_DURABLE);
    world_settle(world);
    const struct lp_catalog_queue *queue =
        lp_catalog_queue(world->control->catalog, root(world), lp_bytes_of_text("q"));
    const uint32_t id = queue->id;
    expect_fault(queue_expired(world, id), 406, "the queue does not expire");
    assert_true(lp_catalog_policy_set(world->control->catalog, root(world), &policy, &refusal));
    world_settle(world);
    expect_fault(queue_expired(world, id), 0, "");
    assert_null(lp_catalog_queue_by_id(world->control->catalog, id));
    assert_int_equal(fake_object_count(&world->shard[1], LP_CONTROL_QUEUE_UP), 0);
    expect_fault(queue_expired(world, id), 0, ""); /* gone already */
    world_end(world, store);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_vhost_and_a_user_have_as_many_connections_as_they_may_C20),
        cmocka_unit_test(counts_are_the_same_after_the_control_process_died),
        cmocka_unit_test(a_user_has_as_many_channels_as_it_may_over_all_connections_C20),
        cmocka_unit_test(rights_are_told_at_open_and_when_asked_again),
        cmocka_unit_test(rights_on_topics_are_asked_by_key),
        cmocka_unit_test(a_queue_that_expired_is_deleted_unless_it_does_not_expire_any_more),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
